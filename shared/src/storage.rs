//! Where a tenant's Defender drops its telemetry: a storage account of the customer's and the queue that announces blobs.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A storage account and its queue, written `ACCOUNT/QUEUE` on a command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Storage {
    pub account_name: StorageAccount,
    pub queue_name: QueueName,
}

impl FromStr for Storage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (account, queue) = text.split_once('/').ok_or_else(|| {
            format!(
                "`{}` is no storage; give the storage account and its queue as ACCOUNT/QUEUE",
                text.escape_default()
            )
        })?;
        Ok(Self { account_name: account.parse()?, queue_name: queue.parse()? })
    }
}

/// The name of a storage account. It becomes part of a host name, so nothing but Azure's own rule lets it in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct StorageAccount(String);

/// The name of a storage queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName(String);

impl FromStr for StorageAccount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (3..=24).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{}` is no storage account; its name is 3 to 24 small letters and digits, without `.blob.core.windows.net`",
                text.escape_default()
            ))
        }
    }
}

impl FromStr for QueueName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let letters = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let hyphens = text.starts_with('-') || text.ends_with('-') || text.contains("--");
        if (3..=63).contains(&text.len()) && letters && !hyphens {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{}` is no queue; its name is 3 to 63 small letters, digits and single hyphens between them",
                text.escape_default()
            ))
        }
    }
}

macro_rules! name {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(StorageAccount);
name!(QueueName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_and_a_queue_are_named_by_azures_rules_alone() {
        let storage: Storage = "contosologs1/muster-hints".parse().unwrap();
        assert_eq!((storage.account_name.as_str(), storage.queue_name.as_str()), ("contosologs1", "muster-hints"));
        for text in [
            "contosologs1",
            "/queue",
            "ab/queue",
            "Contoso/queue",
            "contoso.evil.example/queue",
            "contoso@evil/queue",
            "contoso/qu",
            "contoso/Queue",
            "contoso/-queue",
            "contoso/queue-",
            "contoso/que--ue",
            "contoso/queue/more",
            "contoso/queue?x",
        ] {
            assert!(text.parse::<Storage>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Storage>(r#"{"account_name":"../x","queue_name":"queue"}"#).is_err());
    }
}
