//! Stories: the simulator and the handlers in one process, time moved by hand.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this crate is a test from top to bottom")]

mod api;
mod attack;
mod backfill;
mod bad_input;
mod canary;
mod certificates;
mod changes;
mod clouds;
mod conditions;
mod consent;
mod console;
mod credentials;
mod crowd;
mod doctor;
mod draining;
mod federated;
mod feeds;
mod history;
mod inventory;
mod invitations;
mod leaving;
mod machines;
mod measures;
mod ocsf;
mod overview;
mod own;
mod pages;
mod platform;
mod pulling;
mod renewal;
mod renewal_link;
mod rotation;
mod rotation_platform;
mod trouble;
