//! The stage that scenarios and fault runs play on: simulator and handlers in one process, one hand on both clocks.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a stage that cannot be set up fails the test that asked for it"
)]

mod canary;
mod functions;
mod issuer;
mod lake;
mod leaving;
mod machines;
mod rotation;
mod stage;
mod store;
mod telemetry;
mod transport;
mod visitor;

pub use canary::{Canary, Leak};
pub use functions::{functions, package};
pub use issuer::{ISSUER, Issuer, SUBJECT};
pub use lake::MemoryLake;
pub use rotation::{HAND_MADE, HAND_MADE_CERTIFICATE, LOOK_ALIKE, STEPS, keys, rotate, rotate_entry, step};
pub use stage::{
    ADMIN, ALERT_ROLE, CLIENT, HOME, MACHINE_ROLE, PUBLIC_URL, SECRET, Stage, TENANT, application, at, minutes,
    seconds, stamp,
};
pub use store::RecordingStore;
pub use telemetry::{ACCOUNT, HINTS, Identity, identity, line, written};
pub use transport::SimulatorTransport;
pub use visitor::{Page, Visitor};
