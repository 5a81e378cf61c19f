//! Entra's pages and token side, Graph's application credentials, Defender's alerts API and the Azure Storage it
//! exports to, as a deterministic function from request to response.
//!
//! The simulator is a judge: it verifies what Entra verifies and refuses what Entra refuses. What it does not know it
//! answers with 501 and remembers in [`Simulator::refusals`], so that a test can fail on it. The facts are those of
//! Microsoft's documentation and of published observations; comments cite them by section of the project's fact sheet
//! ("MICROSOFT 3.5"). It shares no code with the product it judges.

mod aadsts;
mod access_token;
mod admin_consent;
mod alert;
mod alerts;
mod api_token;
mod app_role;
mod app_role_file;
mod append_blob;
mod application;
mod authorize;
mod authorize_request;
mod blob_service;
mod certificate_assertion;
mod code_grant;
mod control;
mod credential;
mod defender;
mod dice;
mod directory;
mod discovery;
mod entra_keys;
mod entra_request;
mod entrusted;
mod event_grid;
mod exporter;
mod fault;
mod federated_assertion;
mod filter;
mod filter_lexer;
mod flood;
mod graph;
mod graph_credentials;
mod home;
mod http;
mod id_token;
mod jwt;
mod ledger;
mod log;
mod login_page;
mod machine;
mod machines;
mod machines_api;
mod network_event;
mod page;
mod query;
mod queue;
mod queue_service;
mod quota;
mod refusal;
mod replication;
mod reply;
mod route;
pub mod serve;
mod session;
mod sign_in;
mod sign_out;
mod simulator;
mod storage;
mod storage_answer;
mod storage_call;
mod storage_file;
mod storage_role;
mod storage_service;
mod tenant;
mod time;
mod token;
mod user;
mod visit;
mod world;
mod world_file;

pub use admin_consent::{ConsentErrors, ConsentPropagation};
pub use alert::Alert;
pub use alerts::Alerts;
pub use app_role::{AppRole, AppRoleAssignment, MemberType, Principal};
pub use application::{
    AccessTokenVersion, Application, Certificate, ClientSecret, FederatedCredential, FederatedIssuer,
    GroupMembershipClaims, Registration, SignInAudience,
};
pub use exporter::{Exporter, Habits, LineEnd, Step};
pub use fault::{Fault, Route};
pub use flood::Flood;
pub use home::Home;
pub use http::{Body, Chunk, Request, Response};
pub use id_token::ForgedWith;
pub use jwt::SigningKey;
pub use ledger::{BlobLedger, Ledger, Record};
pub use log::Entry;
pub use machine::Machine;
pub use machines::{EmptyInventory, Machines, NextLinks, PastTheEnd};
pub use queue::Queue;
pub use quota::Quota;
pub use replication::CredentialPropagation;
pub use sign_in::Choice;
pub use simulator::Simulator;
pub use storage::StorageAccount;
pub use storage_role::StorageRole;
pub use tenant::{Consent, DelegatedGrant, Licence, Tenant};
pub use time::dotnet;
pub use user::{AdminRole, User, UserKind};
pub use world::World;
pub use world_file::WorldFile;
