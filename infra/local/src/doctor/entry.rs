//! One application of the vault, looked at from all sides: what is stored, what the platform says of us, what Entra says,
//! whether it may renew itself, and what a customer has approved.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use shared::{
    App,
    credential::{
        Application, Credential,
        candidate::Candidate,
        directory::{Directory, home_token},
        name::{EntryKind, EntryName},
    },
    microsoft::{
        entra::Refusal,
        graph::{CREDENTIALS_ROLES, GraphError, OWN_CREDENTIALS_ROLE},
        sign_in::{NoDiscovery, discovery_request, parse_discovery},
        token::{AccessToken, TokenError},
    },
    ports::vault::Stage,
    secret::Secret,
    tenant::{Feed, TenantId, list::a_customer},
};

use super::Line;

/// How a customer's own credential is replaced.
const RENEWAL: &str = "Send the renewal link from the tenant's page to whoever manages the customer's application.";

/// Everything about one entry of the vault, as far as each thing lets one see the next.
pub(super) async fn examine(app: &App, name: &EntryName, lines: &mut Vec<Line>) {
    let short = name.short(&app.config.secrets_prefix);
    let store = match name.kind {
        EntryKind::Tenant(_) => RENEWAL.to_owned(),
        _ => format!("Store it again with `muster vault put {short}`."),
    };
    let text = match app.ports.vault.read(&name.full, Stage::Current, None).await {
        Ok(version) => version.value,
        Err(error) => return lines.push(Line::bad(short, error.to_string(), store)),
    };
    let application = match Application::parse(&text) {
        Ok(application) => application,
        Err(malformed) => return lines.push(Line::bad(short, malformed.to_string(), store)),
    };
    let kind = application.credential.kind();
    match wrong_with(app, &application, &text) {
        wrong if wrong.is_empty() => lines.push(Line::good(short, format!("a credential of the kind {kind}"))),
        wrong => lines.push(Line::bad(short, wrong.join(" "), store)),
    }
    if let Credential::Federated { audience } = &application.credential {
        let audience = audience.as_deref().unwrap_or_else(|| app.config.cloud.token_exchange());
        lines.push(identity(app, short, audience).await);
    }
    home(app, short, &application, lines).await;
    token(app, name, short, &application, lines).await;
    if name.kind == EntryKind::App && short == "app" {
        customer(app, short, &application, lines).await;
    }
}

/// What can be seen of the credential without asking anybody.
fn wrong_with(app: &App, application: &Application, text: &Secret<String>) -> Vec<String> {
    let Ok(home) = application.home_tenant_id.parse::<TenantId>() else { return Vec::new() };
    match application.credential {
        Credential::Federated { .. } => Vec::new(),
        Credential::Certificate { .. } | Credential::ClientSecret { .. } => {
            let read = Candidate::read(text, home, app.clock.now());
            read.err().into_iter().flatten().map(|missing| missing.detail).collect()
        }
    }
}

/// The platform's own token: what Entra compares, and never the token.
async fn identity(app: &App, short: &str, audience: &str) -> Line {
    let check = format!("{short}, identity");
    match app.ports.identity.token(audience).await {
        Ok(token) => match told_of(&token) {
            Some(told) => {
                Line::good(&check, format!("the application's federated credential must say, to the letter: {told}"))
            }
            None => Line::bad(
                &check,
                "the platform's token cannot be read",
                "It must be a JWT; see what writes MUSTER_FEDERATED_TOKEN_FILE.",
            ),
        },
        Err(error) => Line::bad(&check, "the platform issues no token", error.to_string()),
    }
}

fn told_of(token: &Secret<String>) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let text = |name: &str| match &claims[name] {
        Value::String(text) => text.escape_default().to_string(),
        other => other.to_string(),
    };
    Some(format!("issuer {}, subject {}, audience {}", text("iss"), text("sub"), text("aud")))
}

async fn home(app: &App, short: &str, application: &Application, lines: &mut Vec<Line>) {
    let (check, login) = (format!("{short}, home tenant"), app.config.login());
    let id = &application.home_tenant_id;
    let answer = async {
        let answer = app.http.send(discovery_request(&login, id)).await?;
        Ok::<_, shared::http::HttpError>((answer.status, answer.body.small(&app.clock).await?))
    };
    lines.push(match answer.await {
        Ok((status, body)) => match parse_discovery(status, &body, &login) {
            Ok(_) => Line::good(&check, format!("{id} is there")),
            Err(NoDiscovery::NoTenant) => Line::bad(
                &check,
                format!("there is no tenant {id} in this cloud"),
                "Correct `home_tenant_id` in the entry: the directory (tenant) ID of the application's overview page. Or \
                 MUSTER_CLOUD, if the tenant lives in another cloud.",
            ),
            Err(other) => Line::bad(&check, other.to_string(), "See that MUSTER_LOGIN_URL and MUSTER_CLOUD are right."),
        },
        Err(error) => Line::bad(&check, error.to_string(), "See that this machine reaches Microsoft's sign-in."),
    });
}

/// A token in the home tenant and, where there is something to renew, whether the application may.
async fn token(app: &App, name: &EntryName, short: &str, application: &Application, lines: &mut Vec<Line>) {
    let check = format!("{short}, token");
    match home_token(app, application).await {
        Ok(token) => {
            lines.push(Line::good(&check, "Entra takes the credential in the home tenant"));
            if application.credential.is_held() {
                lines.push(renewal(app, name, short, application, token).await);
            }
        }
        // A customer's secret or certificate is not ours to make.
        Err(TokenError::Refused(refused))
            if matches!(name.kind, EntryKind::Tenant(_))
                && application.credential.is_held()
                && refused.refusal() == Refusal::OurCredential =>
        {
            lines.push(Line::bad(&check, refused.to_string(), RENEWAL));
        }
        Err(error) => lines.push(no_token(&check, short, &error)),
    }
}

fn no_token(check: &str, short: &str, error: &TokenError) -> Line {
    match error {
        TokenError::Refused(refused) => {
            let otherwise = || "Look at the application in Entra, then ask again.".to_owned();
            Line::bad(check, refused.to_string(), refused.advice().unwrap_or_else(otherwise))
        }
        TokenError::NoApplication { cause, .. } => {
            Line::bad(check, cause, format!("Store it again with `muster vault put {short}`."))
        }
        TokenError::NoIdentity(_) => {
            Line::bad(check, "there is no token to ask Entra with", "Mend the identity first, which is named above.")
        }
        TokenError::WrongToken(why) => {
            Line::bad(check, why, "See that MUSTER_CLOUD, MUSTER_DEFENDER_AUDIENCE and MUSTER_LOGIN_URL are right.")
        }
        TokenError::Unreachable(_) | TokenError::Platform(_) => {
            Line::bad(check, error.to_string(), "Ask again in a few minutes.")
        }
    }
}

async fn renewal(app: &App, name: &EntryName, short: &str, application: &Application, token: AccessToken) -> Line {
    let check = format!("{short}, renewal");
    let may = token.has_any(&CREDENTIALS_ROLES);
    let mut directory = Directory::new(app, application, token, app.clock.now());
    let found = match directory.list().await {
        Ok(_) if may => return Line::good(&check, "the application may renew its own credential"),
        Ok(_) => format!("the application lacks the role {OWN_CREDENTIALS_ROLE}"),
        Err(error @ (GraphError::Denied(_) | GraphError::NotFound)) => error.to_string(),
        Err(error) => return Line::bad(&check, error.to_string(), "Ask again in a few minutes."),
    };
    if let EntryKind::Tenant(_) = name.kind {
        return Line::good(&check, "the tenant's own administrator renews it, for the application may not");
    }
    let fix = format!(
        "In the home tenant assign the application's service principal the role {OWN_CREDENTIALS_ROLE} of Microsoft Graph, and \
         make that service principal an owner of the application; the README has the commands."
    );
    Line::bad(&check, found, fix)
}

/// The roles that customers have approved, at the first of them.
async fn customer(app: &App, short: &str, application: &Application, lines: &mut Vec<Line>) {
    let check = format!("{short}, at a customer");
    let connection = match a_customer(app.ports.store.as_ref()).await {
        Ok(Some(connection)) => connection,
        Ok(None) => return lines.push(Line::good(&check, "no customer is connected yet")),
        Err(error) => {
            return lines.push(Line::bad(&check, error.to_string(), "See that the state can be read, then ask again."));
        }
    };
    let tenant = connection.tenant_id;
    let asked = app.tokens.by_credential(tenant, application, app.config.audience()).await;
    lines.push(match asked {
        Err(error) => no_token(&check, short, &error),
        Ok(token) => {
            let api = connection.feeds.keys().filter(|feed| **feed != Feed::Telemetry);
            let lacking: Vec<&str> = api
                .filter(|feed| !token.has_any(feed.roles()))
                .filter_map(|feed| feed.roles().first().copied())
                .collect();
            match lacking.is_empty() {
                true => Line::good(&check, format!("{tenant} has approved what its feeds need")),
                false => Line::bad(
                    &check,
                    format!("{tenant} has not approved {}", lacking.join(", ")),
                    "Ask an administrator of that tenant to approve the application again, by a new invitation.",
                ),
            }
        }
    });
}
