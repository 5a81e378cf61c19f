//! What a role of Azure lets its holder do with an account's data (MICROSOFT 4.6).

use jiff::Timestamp;
use serde::Deserialize;

/// The roles that matter here, each as wide as Microsoft documents the data actions of the operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageRole {
    /// Storage Blob Data Reader.
    BlobDataReader,
    /// Storage Queue Data Message Processor: peek, get, delete. Not update: that is a write.
    QueueDataMessageProcessor,
    /// Storage Queue Data Reader: peek alone.
    QueueDataReader,
    /// Storage Queue Data Message Sender: put alone.
    QueueDataMessageSender,
    /// Storage Queue Data Contributor: everything with messages.
    QueueDataContributor,
    /// Owner or Contributor of the account in Resource Manager: no data role. It lists, and reads nothing.
    Contributor,
}

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    ListBlobs,
    ReadBlob,
    PeekMessages,
    ReceiveMessages,
    DeleteMessage,
    PutMessage,
    UpdateMessage,
}

impl StorageRole {
    pub(crate) fn allows(self, operation: Operation) -> bool {
        use Operation::*;
        match self {
            Self::BlobDataReader => matches!(operation, ListBlobs | ReadBlob),
            Self::QueueDataMessageProcessor => matches!(operation, PeekMessages | ReceiveMessages | DeleteMessage),
            Self::QueueDataReader => operation == PeekMessages,
            Self::QueueDataMessageSender => operation == PutMessage,
            Self::QueueDataContributor => !matches!(operation, ListBlobs | ReadBlob),
            Self::Contributor => operation == ListBlobs,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) client_id: String,
    pub(crate) role: StorageRole,
    pub(crate) from: Timestamp,
}
