//! The self-test of a tenant's storage: each right tried for itself, so that whatever is missing has a name and a remedy.

use jiff::SignedDuration;

use super::open_account;
use crate::{
    App,
    microsoft::{
        storage::{Account, CONTAINER, StorageError},
        token::TokenError,
        tokens::ApplicationName,
    },
    storage::Storage,
    tenant::{Ability, TenantId, missing::Field},
};

/// What a leftover probe says, should we die between putting and deleting it; the drain knows it and deletes it.
pub const PROBE: &str = "eyJtdXN0ZXIiOiJwcm9iZSJ9";
/// It goes away by itself, too.
const PROBE_LIVES: SignedDuration = SignedDuration::from_mins(5);

/// A right that the feed needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    List,
    Read,
    Peek,
    Delete,
}

/// What became of trying one right. Not configured is what does not exist yet, and nobody's fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub right: Right,
    pub ability: Ability,
    /// Where an operator would look first.
    pub field: Field,
    /// What is missing, and who can give it.
    pub next_step: String,
}

impl Finding {
    fn granted(right: Right) -> Self {
        Self { right, ability: Ability::Ok, field: Field::StorageAccount, next_step: "Nothing to do.".to_owned() }
    }

    fn not_yet(right: Right, next_step: String) -> Self {
        Self { right, ability: Ability::NotConfigured, field: Field::StorageAccount, next_step }
    }

    /// Whether nobody keeps the right from us.
    pub fn is_granted(&self) -> bool {
        matches!(self.ability, Ability::Ok | Ability::NotConfigured)
    }
}

/// One finding for each right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageCheck {
    pub findings: Vec<Finding>,
}

/// Tries list, read, peek and delete, each for itself. Changes nothing but for a probe message that it deletes again.
///
/// # Errors
/// [`TokenError`] when there is no token to try anything with.
pub async fn check(
    app: &App,
    tenant: TenantId,
    application: &ApplicationName,
    storage: &Storage,
) -> Result<StorageCheck, TokenError> {
    let account = open_account(app, tenant, application, storage).await?;
    let listed = account.list(None).await;
    let read = match &listed {
        Ok(page) => match page.blobs.iter().max_by_key(|blob| &blob.name) {
            Some(blob) => match account.read(&blob.name, 0, 1).await {
                // Nothing behind the end of a blob is an answer of somebody who may read.
                Ok(_) | Err(StorageError::BeyondEnd | StorageError::NotAppendBlob) => Finding::granted(Right::Read),
                Err(error) => blob_trouble(Right::Read, storage, &error),
            },
            None => Finding::not_yet(
                Right::Read,
                "Nothing to do yet: the container is still empty; Microsoft may take a day for the first events."
                    .to_owned(),
            ),
        },
        Err(error) => blob_trouble(Right::Read, storage, error),
    };
    let found = |right, tried: Result<(), StorageError>, trouble: fn(Right, &Storage, &StorageError) -> Finding| {
        tried.map_or_else(|error| trouble(right, storage, &error), |()| Finding::granted(right))
    };
    let list = found(Right::List, listed.map(|_| ()), blob_trouble);
    let peek = found(Right::Peek, account.peek().await, queue_trouble);
    let delete = found(Right::Delete, try_delete(&account).await, queue_trouble);
    Ok(StorageCheck { findings: vec![list, read, peek, delete] })
}

/// With a message of our own where we may put one. The role that we ask for does not let us; then by deleting nothing,
/// which storage refuses to nobody who may delete.
async fn try_delete(account: &Account) -> Result<(), StorageError> {
    match account.put(PROBE, PROBE_LIVES).await {
        Ok(probe) => account.delete(&probe).await,
        Err(StorageError::RoleMissing | StorageError::Forbidden { .. }) => account.delete_nothing().await,
        Err(error) => Err(error),
    }
}

/// What an answer means that we got where blobs are, as a sentence for a person.
pub fn blob_trouble(right: Right, storage: &Storage, error: &StorageError) -> Finding {
    let account = &storage.account_name;
    match error {
        StorageError::NotFound { code } if code == "ContainerNotFound" => Finding::not_yet(
            right,
            format!(
                "Ask the customer to stream DeviceNetworkEvents to the storage account {account} (Defender portal, Settings, \
                 Microsoft Defender XDR, Streaming API): the container {CONTAINER} does not exist yet. If that is done, wait: the \
                 first events may take a day."
            ),
        ),
        StorageError::RoleMissing => Finding {
            right,
            ability: Ability::RoleMissing,
            field: Field::StorageAccount,
            next_step: format!(
                "Ask the customer to give our application the role Storage Blob Data Reader on the storage account {account}: we \
                 may not {} blobs. Owner or Contributor let nobody read data, and a new role takes some minutes.",
                if right == Right::List { "list" } else { "read" }
            ),
        },
        other => trouble(right, storage, other),
    }
}

/// As [`blob_trouble`], where the queue is.
pub fn queue_trouble(right: Right, storage: &Storage, error: &StorageError) -> Finding {
    let Storage { account_name, queue_name } = storage;
    match error {
        StorageError::NotFound { code } if code == "QueueNotFound" => Finding::not_yet(
            right,
            format!(
                "Ask the customer to make the queue {queue_name} in the storage account {account_name}, and an Event Grid \
                 subscription that sends the account's BlobCreated events there."
            ),
        ),
        StorageError::RoleMissing => Finding {
            right,
            ability: Ability::RoleMissing,
            field: Field::StorageQueue,
            next_step: format!(
                "Ask the customer to give our application the role Storage Queue Data Message Processor on the queue {queue_name} \
                 of the storage account {account_name}: we may not {} messages there. A new role takes some minutes.",
                if right == Right::Peek { "peek at" } else { "delete" }
            ),
        },
        other => trouble(right, storage, other),
    }
}

/// What blobs and queues have in common.
fn trouble(right: Right, storage: &Storage, error: &StorageError) -> Finding {
    let account = &storage.account_name;
    let (ability, next_step) = match error {
        StorageError::Busy { .. } => (
            Ability::Throttled,
            format!("Nothing to do: the storage account {account} asked us to wait, and the feed resumes by itself."),
        ),
        StorageError::Firewall => (
            Ability::Failing,
            format!(
                "Ask the customer to let us through the firewall of the storage account {account} (Networking): it keeps us out, \
                 and roles are not the trouble."
            ),
        ),
        StorageError::RoleMissing => {
            (Ability::RoleMissing, format!("Ask the customer for the data roles on the storage account {account}."))
        }
        StorageError::Unauthorized { code } => (
            Ability::Failing,
            format!(
                "Make sure that the storage account {account} belongs to this very tenant: it does not take our token ({code})."
            ),
        ),
        StorageError::Forbidden { code } => (
            Ability::Failing,
            format!(
                "Ask the customer whether the storage account {account} is enabled and takes Entra tokens: it refuses us ({code})."
            ),
        ),
        StorageError::NotFound { code } => {
            (Ability::Failing, format!("The storage account {account} does not know what we ask for ({code})."))
        }
        StorageError::NotAppendBlob | StorageError::BeyondEnd => {
            (Ability::Failing, format!("The storage account {account} answers another question than ours."))
        }
        StorageError::Unavailable { message } => (
            Ability::Failing,
            format!(
                "Make sure that the storage account is really called {account}; if it is, this passes ({message})."
            ),
        ),
    };
    Finding { right, ability, field: Field::StorageAccount, next_step }
}
