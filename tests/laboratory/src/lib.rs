//! The laboratory: an AWS, an Azure Storage and browsers on loopback, and the tools from other registries that tests need.
//!
//! Nothing here is installed by hand and nothing lands in the tree: tools lie beside what cargo builds.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a laboratory that cannot be set up fails the test that asked for it"
)]

mod aws;
mod azurite;
mod chromium;
mod gateway;
mod hcl;
mod ministack;
mod npm;
mod tools;
mod wait;
mod webdriver;

pub use aws::{Aws, Operator, Said};
pub use azurite::{Answer, Azurite, Storage};
pub use chromium::{Chromium, Scripts, axe_core};
pub use gateway::{Door, Entry, Gateway, Journal, Permission, Policies, Role, Schedule, Trouble, Trust, Verdict, When};
pub use hcl::formatted;
pub use ministack::Ministack;
pub use reqwest::Method;
pub use tools::{Tools, target_folder};
pub use wait::{until, within};
pub use webdriver::{Element, Refused, Session};
