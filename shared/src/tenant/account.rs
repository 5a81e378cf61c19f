//! Accounts: the provider's customers. A tenant belongs to one of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
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

/// The account of this name, made if it is new.
///
/// # Errors
/// [`AccountError`]
pub async fn ensure(store: &dyn Store, text: &str, now: Timestamp) -> Result<Account, AccountError> {
    let name = name(text)?;
    let key = key(name);
    if let Some(known) = read(store, &key).await? {
        return Ok(known);
    }
    let account = Account { id: random::id()?, name: name.to_owned(), created_at: now };
    let value = serde_json::to_value(&account).map_err(|cause| StoreError::Invalid(cause.to_string()))?;
    match store.commit(vec![Write::Put { key: key.clone(), value, expect: Expect::Absent }]).await {
        Ok(()) => Ok(account),
        // Somebody else made it at the same moment, and theirs is as good.
        Err(StoreError::Conflict) => read(store, &key).await?.ok_or(AccountError::Store(StoreError::Conflict)),
        Err(error) => Err(error.into()),
    }
}

/// `contoso` is not a second customer beside `Contoso`.
fn key(name: &str) -> Key {
    Key::new(PARTITION, name.to_lowercase())
}

async fn read(store: &dyn Store, key: &Key) -> Result<Option<Account>, StoreError> {
    let Some(item) = store.get(key).await? else { return Ok(None) };
    serde_json::from_value(item.value)
        .map(Some)
        .map_err(|cause| StoreError::Invalid(format!("the account {} cannot be read: {cause}", key.sort)))
}
