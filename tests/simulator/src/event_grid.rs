//! What Event Grid puts into a storage queue when a blob is created (MICROSOFT 4.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Serialize;

use crate::dice::guid_of;
use crate::time::dotnet;

/// One `Microsoft.Storage.BlobCreated`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlobCreated<'a> {
    pub(crate) account: &'a str,
    pub(crate) container: &'a str,
    pub(crate) blob: &'a str,
    pub(crate) etag: &'a str,
    pub(crate) at: Timestamp,
    /// Of two events for one blob the later one has the higher number.
    pub(crate) sequence: u64,
}

impl BlobCreated<'_> {
    /// The text of the queue's message: base64 of one event object.
    pub(crate) fn message(&self) -> String {
        STANDARD.encode(self.json())
    }

    fn json(&self) -> String {
        let Self { account, container, blob, etag, at, sequence } = *self;
        let id = |what: &str| guid_of(&[what, account, container, blob, &sequence.to_string()]);
        let event = Event {
            topic: format!(
                "/subscriptions/{}/resourceGroups/telemetry/providers/Microsoft.Storage/storageAccounts/{account}",
                guid_of(&["subscription", account])
            ),
            subject: format!("/blobServices/default/containers/{container}/blobs/{blob}"),
            event_type: "Microsoft.Storage.BlobCreated",
            id: id("event"),
            data: Data {
                api: "PutBlob",
                client_request_id: id("client request"),
                request_id: id("request"),
                e_tag: etag.to_owned(),
                content_type: "application/octet-stream",
                content_length: 0,
                blob_type: "AppendBlob",
                url: format!("https://{account}.blob.core.windows.net/{container}/{blob}"),
                sequencer: format!("{sequence:064X}"),
                storage_diagnostics: StorageDiagnostics { batch_id: id("batch") },
            },
            data_version: "",
            metadata_version: "1",
            event_time: dotnet(at),
        };
        serde_json::to_string(&event).unwrap_or_default()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    topic: String,
    subject: String,
    event_type: &'static str,
    id: String,
    data: Data,
    data_version: &'static str,
    metadata_version: &'static str,
    event_time: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    api: &'static str,
    client_request_id: String,
    request_id: String,
    e_tag: String,
    content_type: &'static str,
    content_length: u64,
    blob_type: &'static str,
    url: String,
    sequencer: String,
    storage_diagnostics: StorageDiagnostics,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StorageDiagnostics {
    batch_id: String,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_event_has_the_documented_members_and_no_other() {
        let at = "2026-07-18T14:00:54.7649349Z".parse().unwrap();
        let event = BlobCreated { account: "acct", container: "c", blob: "a/b", etag: "0x8D1", at, sequence: 7 };
        let event: Value = serde_json::from_slice(&STANDARD.decode(event.message()).unwrap()).unwrap();
        let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(members(&event), "data dataVersion eventTime eventType id metadataVersion subject topic");
        assert_eq!(
            members(&event["data"]),
            "api blobType clientRequestId contentLength contentType eTag requestId sequencer storageDiagnostics url"
        );
        assert_eq!(members(&event["data"]["storageDiagnostics"]), "batchId");
        assert_eq!(event["subject"], "/blobServices/default/containers/c/blobs/a/b");
        assert_eq!(event["data"]["contentLength"], 0, "it is announced before anything is in it");
        assert_eq!(event["eventTime"], "2026-07-18T14:00:54.7649349Z");
        assert_eq!(event["data"]["url"], "https://acct.blob.core.windows.net/c/a/b");
    }
}
