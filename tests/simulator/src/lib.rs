//! Entra's token side and Defender's alerts API as a deterministic function from request to response.
//!
//! The simulator is a judge: it verifies what Entra verifies and refuses what Entra refuses. What it does not know it
//! answers with 501 and remembers in [`Simulator::refusals`], so that a test can fail on it. The facts are those of
//! Microsoft's documentation and of published observations; comments cite them by section of the project's fact sheet
//! ("MICROSOFT 3.5"). It shares no code with the product it judges.

mod aadsts;
mod access_token;
mod alert;
mod alerts;
mod application;
mod certificate_assertion;
mod control;
mod credential;
mod defender;
mod dice;
mod directory;
mod discovery;
mod entra_keys;
mod fault;
mod federated_assertion;
mod filter;
mod filter_lexer;
mod flood;
mod http;
mod jwt;
mod log;
mod page;
mod query;
mod quota;
mod refusal;
mod route;
pub mod serve;
mod simulator;
mod tenant;
mod time;
mod token;
mod world;
mod world_file;

pub use alert::Alert;
pub use alerts::Alerts;
pub use application::{Application, Certificate, ClientSecret, FederatedCredential, FederatedIssuer};
pub use fault::{Fault, Route};
pub use flood::Flood;
pub use http::{Body, Chunk, Request, Response};
pub use jwt::SigningKey;
pub use log::Entry;
pub use quota::Quota;
pub use simulator::Simulator;
pub use tenant::{Consent, Licence, Tenant};
pub use time::dotnet;
pub use world::World;
pub use world_file::WorldFile;
