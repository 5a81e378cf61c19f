//! Stories: the simulator and the handlers in one process, time moved by hand.

mod bad_input;
mod conditions;
mod credentials;
mod ocsf;
mod pulling;
mod trouble;
