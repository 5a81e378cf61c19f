//! Talking to Microsoft: *build request → send → parse*, of which only *send* is IO.

pub mod access_token;
pub mod defender;
pub mod entra;
pub mod graph;
pub mod id_token;
pub mod keys;
pub mod page;
pub mod sign_in;
pub mod storage;
pub mod time;
pub mod token;
pub mod tokens;
