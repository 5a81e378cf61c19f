//! A feed's progress and its tenant's connection during a pass: what was read, what the pass has changed, and the versions
//! that guard both. What an intent holds, and how one is settled, is each feed's own.

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{CommitError, History, Ledger};
use crate::{
    ports::{
        lake::{Lake, Put},
        store::{Expect, Key, Store, StoreError, Write},
    },
    tenant::{self, Connection, Loaded, TenantId},
};

/// All that an item says whose tenant has left, where nothing of it is worth keeping but its version: that goes on, or a
/// tenant that returns would plan keys that it has planned before.
const LEFT_AT: &str = "left_at";

/// How far a feed has come: one item for each tenant, whose version is the guard of everything. An intent is written only
/// over the version that the plan was made from, so of two workers on one tenant one finds out before it puts anything into
/// the lake.
pub trait Progress: Clone + PartialEq + Serialize + DeserializeOwned {
    /// The item's name in the tenant's partition.
    const ITEM: &'static str;

    /// What it is before anything was written; none where that means that the tenant does not have the feed.
    fn unwritten() -> Option<Self>;

    /// Everything until here has been looked at and delivered; none before the first time.
    fn watermark(&self) -> Option<Timestamp>;

    fn ledger(&self) -> &Ledger;

    fn history(&mut self) -> &mut History;

    fn key(tenant: TenantId) -> Key {
        Key::new(tenant.partition(), Self::ITEM)
    }

    /// The progress as read, and what its next write expects.
    ///
    /// # Errors
    /// As the store's; [`StoreError::Invalid`] for an item of another make.
    fn load(
        store: &dyn Store,
        tenant: TenantId,
    ) -> impl Future<Output = Result<Option<(Self, Expect)>, StoreError>> + Send {
        async move {
            let item = store.get(&Self::key(tenant)).await?;
            let expect = Expect::as_read(item.as_ref());
            let feed = match item {
                None => Self::unwritten(),
                Some(item) if item.value.get(LEFT_AT).is_some() => Self::unwritten(),
                Some(item) => Some(serde_json::from_value(item.value).map_err(|cause| {
                    StoreError::Invalid(format!("{} of tenant {tenant} cannot be read: {cause}", Self::ITEM))
                })?),
            };
            Ok(feed.map(|feed| (feed, expect)))
        }
    }

    /// The write that replaces it.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if it cannot be encoded.
    fn put(&self, tenant: TenantId, expect: Expect) -> Result<Write, StoreError> {
        let value = serde_json::to_value(self).map_err(|cause| StoreError::Invalid(cause.to_string()))?;
        Ok(Write::Put { key: Self::key(tenant), value, expect })
    }
}

/// One feed of one tenant: the pass changes `connection` and `feed`, and [`Guarded::store`] makes that true.
#[derive(Debug)]
pub struct Guarded<F> {
    pub connection: Connection,
    connection_stored: Loaded,
    pub feed: F,
    feed_stored: F,
    expect: Expect,
}

impl<F: Progress> Guarded<F> {
    /// Reads both; `None` for a tenant that is not (or no longer) here.
    ///
    /// # Errors
    /// As the store's.
    pub async fn open(store: &dyn Store, tenant: TenantId) -> Result<Option<Self>, StoreError> {
        let Some(connection_stored) = tenant::load(store, tenant).await? else { return Ok(None) };
        let Some((feed, expect)) = F::load(store, tenant).await? else { return Ok(None) };
        let (connection, feed_stored) = (connection_stored.connection.clone(), feed.clone());
        Ok(Some(Self { connection, connection_stored, feed, feed_stored, expect }))
    }

    /// The connection as it was last read or written.
    pub fn connection_stored(&self) -> &Connection {
        &self.connection_stored.connection
    }

    /// The feed as it was last read or written.
    pub fn feed_stored(&self) -> &F {
        &self.feed_stored
    }

    /// The version that the next write makes. A key with this in it is planned once.
    pub fn attempt(&self) -> u64 {
        self.expect.next_version()
    }

    pub fn connection_has_changed(&self) -> bool {
        self.connection != self.connection_stored.connection
    }

    /// Whether somebody else has written meanwhile, and cleared away what is looked for in vain.
    ///
    /// # Errors
    /// As the store's.
    pub async fn is_outdated(&self, store: &dyn Store) -> Result<bool, StoreError> {
        let item = store.get(&F::key(self.tenant())).await?;
        Ok(Expect::as_read(item.as_ref()) != self.expect)
    }

    /// Writes an intent, over the very version that the plan was made from. It says nothing about progress, so `add` puts it
    /// to the feed as it was read, and not to what the pass has made of it.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when somebody else wrote first.
    pub async fn open_intent(&mut self, store: &dyn Store, add: impl FnOnce(&mut F)) -> Result<(), CommitError> {
        let mut with_intent = self.feed_stored.clone();
        add(&mut with_intent);
        let write = with_intent.put(self.tenant(), self.expect)?;
        store.commit(vec![write, self.connection_stored.check()]).await?;
        self.expect = Expect::Version(self.attempt());
        self.feed_stored = with_intent;
        Ok(())
    }

    /// The tenant has left, and nothing of the item is worth keeping.
    ///
    /// # Errors
    /// As [`Guarded::open_intent`].
    pub async fn leave(self, store: &dyn Store, now: Timestamp) -> Result<(), CommitError> {
        let value = json!({ LEFT_AT: now });
        let left = Write::Put { key: F::key(self.tenant()), value, expect: self.expect };
        Ok(store.commit(vec![left, self.connection_stored.check()]).await?)
    }

    /// One transaction of these writes, the feed and the connection. What it changes at `now` is the feed's history too.
    ///
    /// # Errors
    /// As [`Guarded::open_intent`].
    pub async fn store(
        &mut self,
        store: &dyn Store,
        mut writes: Vec<Write>,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        let (before, after) = (&self.feed_stored, &self.feed);
        let delivered = after.ledger().delivered.saturating_sub(before.ledger().delivered);
        let (before, after) = (before.watermark(), after.watermark());
        self.feed.history().note(before, after, delivered, now);
        let changed = self.connection_has_changed();
        let after = Loaded { connection: self.connection.clone(), version: self.connection_stored.version };
        writes.push(self.feed.put(self.tenant(), self.expect)?);
        writes.push(if changed { after.put()? } else { after.check() });
        store.commit(writes).await?;
        self.expect = Expect::Version(self.attempt());
        self.feed_stored = self.feed.clone();
        self.connection_stored = Loaded { version: after.version + u64::from(changed), ..after };
        Ok(())
    }

    fn tenant(&self) -> TenantId {
        self.connection_stored.connection.tenant_id
    }
}

/// Creates an object that an intent names.
///
/// # Errors
/// [`CommitError::Conflict`] when it is there: somebody took us for dead and settled the intent.
pub async fn create(lake: &dyn Lake, key: &str, object: Vec<u8>) -> Result<(), CommitError> {
    match lake.put_new(key, object).await? {
        Put::Created => Ok(()),
        Put::Exists => Err(CommitError::Conflict),
    }
}
