//! A stage with a storage account, and how its readers ask.

use crate::stage::*;
use simulator::{Exporter, Request, Response, Simulator, StorageAccount, StorageRole};

pub(crate) const ACCOUNT: &str = "contosotelemetry";
pub(crate) const QUEUE: &str = "defender-events";
pub(crate) const CONTAINER: &str = Exporter::CONTAINER;
pub(crate) const VERSION: &str = "2026-04-06";

/// One account of the tenant's, with an empty container and queue, and both roles for the application.
pub(crate) fn storage() -> Simulator {
    let simulator = simulator();
    simulator.world(|world| {
        world.add_storage(
            StorageAccount::new(ACCOUNT, TENANT)
                .with_container(CONTAINER)
                .with_queue(QUEUE)
                .with_role(CLIENT, StorageRole::BlobDataReader)
                .with_role(CLIENT, StorageRole::QueueDataMessageProcessor),
        );
    });
    simulator
}

pub(crate) fn account<R>(simulator: &Simulator, change: impl FnOnce(&mut StorageAccount) -> R) -> R {
    simulator.world(|world| change(world.storage(ACCOUNT).unwrap()))
}

/// A token for storage, from this tenant.
pub(crate) fn storage_bearer(simulator: &Simulator, tenant: &str) -> String {
    let parameters = [
        ("client_id", CLIENT),
        ("scope", "https://storage.azure.com/.default"),
        ("grant_type", "client_credentials"),
        ("client_secret", SECRET),
    ];
    let body = body(simulator.handle(token_request(tenant, &parameters)));
    format!("Bearer {}", body["access_token"].as_str().unwrap())
}

/// A request as Microsoft's own crates send it.
pub(crate) fn request(simulator: &Simulator, method: &str, target: &str) -> Request {
    Request { method: method.into(), ..Request::get(target) }
        .with("x-ms-version", VERSION)
        .with("Authorization", &storage_bearer(simulator, TENANT))
}

pub(crate) fn send(simulator: &Simulator, method: &str, target: &str) -> Response {
    simulator.handle(request(simulator, method, target))
}

pub(crate) fn list_target(query: &str) -> String {
    format!("/storage/{ACCOUNT}/blob/{CONTAINER}?restype=container&comp=list{query}")
}

/// As the crates write it: slashes escaped.
pub(crate) fn blob_target(blob: &str) -> String {
    format!("/storage/{ACCOUNT}/blob/{CONTAINER}/{}", blob.replace('/', "%2F"))
}

pub(crate) fn queue_target(rest: &str) -> String {
    format!("/storage/{ACCOUNT}/queue/{QUEUE}/messages{rest}")
}

pub(crate) fn text(response: Response) -> String {
    String::from_utf8(response.body.collect_bytes()).unwrap()
}

/// Status and error code, which the header and the body name alike.
#[track_caller]
pub(crate) fn refusal(response: Response) -> (u16, String) {
    let code = response.header("x-ms-error-code").unwrap_or_default().to_owned();
    let status = response.status;
    let body = text(response);
    assert!(body.is_empty() || body.contains(&format!("<Error><Code>{code}</Code><Message>")), "{body}");
    (status, code)
}

/// The texts of all elements of this name.
pub(crate) fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts = xml.split(&open).skip(1).map(|part| part.split(&close).next().unwrap());
    parts.map(|text| text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")).collect()
}

pub(crate) fn escaped(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}
