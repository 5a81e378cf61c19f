//! An application of the customer's own: tried for real, then saved.

use serde_json::json;

use super::{Forms, known, show};
use crate::{
    consent::connect::{ConnectError, NewConnection, connect_own},
    console::{
        Broken,
        page::{
            Visit,
            form::{self, ENDS, Form, Mistake, STORAGE_ACCOUNT, STORAGE_QUEUE},
            message::Message,
        },
    },
    ports::store::StoreError,
    secret::Secret,
    tenant::{Feed, State, TenantId, dispatch, load},
    web,
};

/// What is shown again where it was refused. No secret is among it.
const FIELDS: [&str; 8] = ["tenant_id", "client_id", "kind", ENDS, "feeds", "region", STORAGE_ACCOUNT, STORAGE_QUEUE];

/// The form, filled in as far as the tenant is known whose new credential it is to take.
pub async fn form(visit: &Visit<'_>) -> Result<Form, StoreError> {
    let tenant = visit.request.asked("own").and_then(|text| text.parse::<TenantId>().ok());
    let known = match tenant {
        Some(tenant) => load(visit.app.ports.store.as_ref(), tenant).await?,
        None => None,
    };
    let fresh = Form::new("own").with("kind", "client_secret");
    let Some(connection) = known.map(|known| known.connection).filter(|known| known.state != State::Removed) else {
        return Ok([Feed::Alerts, Feed::Machines].iter().fold(fresh, |form, feed| form.with("feeds", feed.name())));
    };
    let form = connection.feeds.keys().fold(fresh, |form, feed| form.with("feeds", feed.name()));
    let region = connection.region.map(|region| region.to_string()).unwrap_or_default();
    let form = form.with("tenant_id", connection.tenant_id.to_string()).with("region", region);
    Ok(match connection.storage {
        Some(storage) => {
            form.with(STORAGE_ACCOUNT, storage.account_name.as_str()).with(STORAGE_QUEUE, storage.queue_name.as_str())
        }
        None => form,
    })
}

/// Saves what works, and names what is missing of what does not.
pub async fn connect(visit: &Visit<'_>, id: &str, sent: &web::Form) -> Result<web::Response, Broken> {
    let Some(account) = known(visit, id).await? else { return Ok(visit.tell(&Message::NO_SUCH_PAGE)) };
    let mut mistakes = Vec::new();
    if let Some((new, application)) = read(account.name, sent, &mut mistakes) {
        match connect_own(visit.app, &new, &application, &visit.session.actor()).await {
            Ok(connection) => {
                if let Err(error) = dispatch::at_once(&visit.app.ports.queues, &connection, visit.now).await {
                    tracing::warn!(tenant.id = %new.tenant_id, %error, "the first pull waits for the next tick");
                }
                return Ok(visit.see(&format!("/tenants/{}?done=connected", new.tenant_id)));
            }
            Err(ConnectError::NotProven { missing, .. }) => mistakes = form::mistakes(&missing),
            Err(error @ ConnectError::BoundElsewhere(_)) => mistakes.push(Mistake::new("tenant_id", error.to_string())),
            Err(ConnectError::Unsupported(text)) => mistakes.push(Mistake::new("", text)),
            Err(ConnectError::Platform(cause)) => return Err(Broken::Operation(cause)),
        }
    }
    let own = Form::refused("own", sent, &FIELDS, mistakes);
    show(visit, 422, id, None, &Forms { own, ..Forms::new(visit).await? }).await
}

/// What the form asks for, as far as it can be judged without asking anybody; nothing where something is wrong with it.
fn read(account: String, sent: &web::Form, mistakes: &mut Vec<Mistake>) -> Option<(NewConnection, Secret<String>)> {
    let tenant_id = sent.text("tenant_id").unwrap_or_default().to_lowercase().parse::<TenantId>();
    let tenant_id = tenant_id
        .map_err(|_| {
            let text = "Give the directory (tenant) id: a GUID, from the application's overview page in Entra.";
            mistakes.push(Mistake::new("tenant_id", text));
        })
        .ok();
    if sent.text("client_id").is_none_or(|id| id.parse::<uuid::Uuid>().is_err()) {
        let text = "Give the application (client) id: a GUID, from the application's overview page in Entra.";
        mistakes.push(Mistake::new("client_id", text));
    }
    let (given, text) = match sent.text("kind") {
        Some("certificate") => {
            (&["certificate_pem", "private_key_pem"][..], "Give the certificate and its private key.")
        }
        Some("federated") => (&[][..], ""),
        _ => (&["client_secret"][..], "Give the client secret."),
    };
    if given.iter().any(|field| sent.text(field).is_none()) {
        mistakes.push(Mistake::new("credential", text));
    }
    let application = application(sent, mistakes);
    let feeds = form::feeds(sent, mistakes);
    let region = form::region(sent, mistakes);
    let telemetry = feeds.contains(&Feed::Telemetry);
    let storage = if telemetry { form::storage(sent, mistakes) } else { None };
    let tenant_id = tenant_id.filter(|_| mistakes.is_empty())?;
    Some((NewConnection { tenant_id, account, feeds, region, storage }, application))
}

/// The entry as the vault is to have it.
fn application(sent: &web::Form, mistakes: &mut Vec<Mistake>) -> Secret<String> {
    let text = |field| sent.text(field).unwrap_or_default();
    let credential = match sent.text("kind") {
        Some("certificate") => json!({
            "kind": "certificate",
            "certificate_pem": text("certificate_pem"),
            "private_key_pem": text("private_key_pem"),
        }),
        Some("federated") => json!({ "kind": "federated" }),
        _ => json!({
            "kind": "client_secret",
            "value": text("client_secret"),
            "expires_at": form::ends(sent, mistakes),
        }),
    };
    let client_id = text("client_id").to_lowercase();
    Secret::new(json!({ "client_id": client_id, "credential": credential }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(body: &str) -> web::Form {
        web::Request { body: Ok(body.as_bytes().to_vec()), ..web::Request::default() }.form().unwrap()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_beside_its_field() {
        let mut mistakes = Vec::new();
        let none =
            read("Contoso".to_owned(), &sent("feeds=telemetry&tenant_id=contoso.com&region=moon"), &mut mistakes);
        assert!(none.is_none());
        let fields: Vec<&str> = mistakes.iter().map(|mistake| mistake.field).collect();
        assert_eq!(fields, ["tenant_id", "client_id", "credential", ENDS, "region", STORAGE_ACCOUNT, STORAGE_QUEUE]);
    }

    #[test]
    fn a_refused_form_keeps_what_was_typed_and_no_secret() {
        let body =
            "tenant_id=t&client_id=c&kind=certificate&client_secret=s3cret&private_key_pem=k3y&certificate_pem=c3rt";
        let form = Form::refused("own", &sent(body), &FIELDS, vec![Mistake::new("credential", "no")]);
        assert_eq!((form.value("tenant_id"), form.value("kind")), ("t", "certificate"));
        let kept = format!("{form:?}");
        assert!(!kept.contains("s3cret") && !kept.contains("k3y") && !kept.contains("c3rt"), "{kept}");
    }
}
