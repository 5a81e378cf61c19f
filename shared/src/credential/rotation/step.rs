//! The words of a rotation: the event that asks for a step, each single call that a step is made of, and what comes of it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::error::Reason;
use crate::{
    credential::{certificate::Made, entry::Entry},
    microsoft::graph::{Listing, NewPassword},
    ports::vault::Description,
    secret::Secret,
};

/// Secrets Manager's event. The user guide and the service spell the steps differently; both are taken.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    pub step: Act,
    /// The secret's name or ARN, given to the vault as it is.
    pub secret_id: String,
    /// The version that the rotation makes.
    #[serde(rename = "ClientRequestToken")]
    pub version: String,
    /// Proves to the vault that a write belongs to the rotation.
    #[serde(default)]
    pub rotation_token: Option<Secret<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    #[serde(alias = "create_secret")]
    CreateSecret,
    #[serde(alias = "set_secret")]
    SetSecret,
    #[serde(alias = "test_secret")]
    TestSecret,
    #[serde(alias = "finish_secret")]
    FinishSecret,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The version is current already: the rotation is over, and this event late.
    AlreadyCurrent,
    Created,
    /// The rotation may go on; a new certificate is registered.
    Verified,
    Proven,
    Finished,
    /// Nothing of ours is left that nobody needs, or nothing that can be removed.
    Tidy,
}

/// One thing to do next: one call, whose answer goes to [`State::absorb`].
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Done(Outcome),
    Abandon(Reason),
    Wait(Timestamp),
    /// Ask Entra for a token by exactly this entry.
    Try(Which),
    /// Ask Graph which credentials the application has.
    List,
    /// Find out what the vault's other entries live by.
    LookElsewhere,
    /// Ask the vault what is stored under the version, for somebody else has stored it.
    ReadPending,
    /// Ask the vault for the labels as they are now.
    Describe,
    /// Make a secret of this name at Graph.
    AddPassword {
        name: String,
        expires_at: Timestamp,
    },
    /// Make a key and its certificate, here.
    MakeCertificate {
        name: String,
        expires_at: Timestamp,
    },
    /// Put what was made, or of a federated credential what is current, under the version: [`State::to_store`].
    Store,
    /// Register the pending certificate under this name, with a proof that this one signs.
    AddKey {
        name: String,
        signer: Which,
    },
    /// Register it where no certificate is left that could sign: the whole collection is replaced, by what was listed
    /// and the new one.
    ReplaceKeys {
        name: String,
    },
    /// Take this credential away at Graph, of a certificate with a proof that this one signs. When that fails, a later
    /// rotation or the daily check does it.
    Remove {
        key_id: String,
        signer: Option<Which>,
    },
    /// Move `AWSCURRENT` off this version.
    Promote {
        from: String,
    },
}

/// What came of a step. What ends the run (a platform that fails, a Graph that refuses) is no answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A token, or a refusal and how long Entra asks us to wait.
    Token(Result<(), (String, Option<SignedDuration>)>),
    Listed(Listing),
    /// Graph does not say, and nothing depends on it.
    NotListed,
    /// `None` where one of them is damaged.
    Elsewhere(Option<Vec<Entry>>),
    Pending(Option<Entry>),
    Described(Description),
    Password(NewPassword),
    Certificate(Made),
    Stored,
    /// Another run has stored another value under this version before.
    StoredByAnother,
    /// The vault took nothing, for this reason.
    NotStored(String),
    Registered,
    /// Somebody else has changed the application a moment ago; nothing was done.
    Concurrent,
    /// Graph does not take the proof of this signer.
    ProofRefused(String),
    Removed,
    NotRemoved,
    Promoted,
    NotPromoted(String),
    Waited,
}

/// Whose credential is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    Current,
    Previous,
    Pending,
}
