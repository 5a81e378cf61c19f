//! Accounts: the provider's customers. A tenant belongs to one of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    audit::{Action, Actor, Entry},
    plain,
    ports::store::{Expect, Key, Store, StoreError, Write},
    random::{self, NoRandomness},
};

const PARTITION: &str = "accounts";
const MAX_NAME: usize = 200;

/// A customer. Its name is what connections and invitations refer to, so no two share one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: Uuid,
    pub name: String,
    pub created_at: Timestamp,
}

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("an account needs a name of 1 to {MAX_NAME} printable characters")]
    Name,
    /// As it was first written.
    #[error("there is an account `{0}` already")]
    Taken(String),
    #[error(transparent)]
    Random(#[from] NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A name as accounts have it.
///
/// # Errors
/// [`AccountError::Name`]
pub fn name(text: &str) -> Result<&str, AccountError> {
    plain::line(text, MAX_NAME).ok_or(AccountError::Name)
}

/// The name that this customer goes by: as it was first written, or as it is written now if nobody knows it yet.
///
/// # Errors
/// [`AccountError`]
pub async fn known_as(store: &dyn Store, text: &str) -> Result<String, AccountError> {
    let name = name(text)?;
    Ok(read(store, &key(name)).await?.map_or_else(|| name.to_owned(), |account| account.name))
}

/// Makes an account, with its entry in the trail.
///
/// # Errors
/// [`AccountError`]; one of this name, in whatever case, is [`AccountError::Taken`].
pub async fn create(store: &dyn Store, text: &str, now: Timestamp, by: &Actor) -> Result<Account, AccountError> {
    let taken = |account: Account| Err(AccountError::Taken(account.name));
    match prepare(store, text, now, by).await? {
        Prepared { account, writes } if writes.is_empty() => taken(account),
        Prepared { account, writes } => match store.commit(writes).await {
            Ok(()) => Ok(account),
            Err(StoreError::Conflict) => match read(store, &key(&account.name)).await? {
                Some(theirs) => taken(theirs),
                None => Err(StoreError::Conflict.into()),
            },
            Err(error) => Err(error.into()),
        },
    }
}

/// All accounts, in the order of their names.
///
/// # Errors
/// As the store's. One that cannot be read is reported and left out.
pub async fn list(store: &dyn Store) -> Result<Vec<Account>, StoreError> {
    let items = store.query(PARTITION, "").await?;
    let readable = items.into_iter().filter_map(|(key, item)| match serde_json::from_value(item.value) {
        Ok(account) => Some(account),
        Err(error) => {
            tracing::error!(account = key.sort, %error, "an account cannot be read; it is left out");
            None
        }
    });
    Ok(readable.collect())
}

/// # Errors
/// As the store's.
pub async fn by_id(store: &dyn Store, id: Uuid) -> Result<Option<Account>, StoreError> {
    // A provider has hundreds of customers, whose names are a few kilobytes together.
    Ok(list(store).await?.into_iter().find(|account| account.id == id))
}

/// The account of this name, in whatever case.
///
/// # Errors
/// As the store's; there is none of a name that is no name.
pub async fn by_name(store: &dyn Store, text: &str) -> Result<Option<Account>, StoreError> {
    match name(text) {
        Ok(name) => read(store, &key(name)).await,
        Err(_) => Ok(None),
    }
}

/// An account, and what makes it where it is new: nothing where it is there.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub account: Account,
    pub writes: Vec<Write>,
}

/// The account of this name, or what makes one, for the transaction of whoever needs it. That transaction conflicts when
/// somebody else makes it at the same moment.
///
/// # Errors
/// [`AccountError`]
pub async fn prepare(store: &dyn Store, text: &str, now: Timestamp, by: &Actor) -> Result<Prepared, AccountError> {
    let name = name(text)?;
    let key = key(name);
    if let Some(account) = read(store, &key).await? {
        return Ok(Prepared { account, writes: Vec::new() });
    }
    let account = Account { id: random::id()?, name: name.to_owned(), created_at: now };
    let value = serde_json::to_value(&account).map_err(|cause| StoreError::Invalid(cause.to_string()))?;
    let entry = Entry::new(now, by, Action::AccountCreated).of_account(name);
    let writes = vec![Write::Put { key, value, expect: Expect::Absent }, entry.write()?];
    Ok(Prepared { account, writes })
}

/// `contoso` is not a second customer beside `Contoso`.
fn key(name: &str) -> Key {
    Key::new(PARTITION, name.to_lowercase())
}

/// What belongs to an account, by its id.
pub fn partition(id: Uuid) -> String {
    format!("account#{id}")
}

async fn read(store: &dyn Store, key: &Key) -> Result<Option<Account>, StoreError> {
    let Some(item) = store.get(key).await? else { return Ok(None) };
    serde_json::from_value(item.value)
        .map(Some)
        .map_err(|cause| StoreError::Invalid(format!("the account {} cannot be read: {cause}", key.sort)))
}
