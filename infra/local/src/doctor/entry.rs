//! One application of the vault, looked at from all sides: what is stored, what the platform says of us, what Entra says,
//! whether it may renew itself, and what a customer has approved.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::Value;
use shared::{
    App,
    credential::{
        Application, Credential,
        candidate::Candidate,
        directory::{Directory, home_token},
        name::{EntryKind, EntryName},
        renewal,
    },
    microsoft::{
        entra::Refusal,
        graph::{CREDENTIALS_ROLES, GraphError, OWN_CREDENTIALS_ROLE},
        sign_in::{NoDiscovery, discovery_request, parse_discovery},
        token::{AccessToken, TokenError},
    },
    ports::vault::{Stage, VaultError},
    secret::Secret,
    tenant::{Feed, State, TenantId, list::a_customer, load},
};

use super::{Line, UNREADABLE};

/// How a customer's own credential is replaced.
const RENEWAL: &str = "Send the renewal link from the tenant's page to whoever manages the customer's application.";

/// Everything about one entry of the vault, as far as each thing lets one see the next.
pub(super) async fn examine(app: &App, name: &EntryName, lines: &mut Vec<Line>) {
    let short = name.short(&app.config.secrets_prefix);
    let text = match app.ports.vault.read(&name.full, Stage::Current, None).await {
        Ok(version) => version.value,
        Err(error @ VaultError::NotFound(_)) => {
            let fix = format!("Store it with `muster vault put {short}`.");
            return lines.push(Line::bad(short, error.to_string(), fix));
        }
        Err(error) => return lines.push(Line::bad(short, error.to_string(), UNREADABLE)),
    };
    let store = replacement(app, name, short, &text).await;
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

/// Who stores another credential, and how: of a connected customer's application the customer does, as long as it is known
/// whose it is.
async fn replacement(app: &App, name: &EntryName, short: &str, text: &Secret<String>) -> String {
    let by_hand = format!("Store it again with `muster vault put {short}`.");
    let EntryKind::Tenant(tenant) = name.kind else { return by_hand };
    match load(app.ports.store.as_ref(), tenant).await {
        Ok(Some(known)) if known.connection.state != State::Removed => match renewal::client_id(text) {
            Some(_) => RENEWAL.to_owned(),
            None => "Connect the tenant again by its own application, with its client id.".to_owned(),
        },
        _ => by_hand,
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
        Ok(token) => match told_of(&token, app.clock.now()) {
            Ok(told) => {
                Line::good(&check, format!("the application's federated credential must say, to the letter: {told}"))
            }
            Err(why) => Line::bad(
                &check,
                format!("the platform's token is none that Entra supports: {why}"),
                "See what writes MUSTER_FEDERATED_TOKEN_FILE: a JWT, kept fresh, signed with RS256, for one audience alone.",
            ),
        },
        Err(error) => Line::bad(&check, "the platform issues no token", error.to_string()),
    }
}

/// What Entra compares of a token, or why it takes none such (MICROSOFT.md 2.8).
fn told_of(token: &Secret<String>, now: Timestamp) -> Result<String, String> {
    let part = |place: usize| -> Option<Value> {
        let part = URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(place)?).ok()?;
        serde_json::from_slice(&part).ok()
    };
    let (header, claims) = part(0).zip(part(1)).ok_or("it is no JWT")?;
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.escape_default().to_string()),
        other => Err(other.to_string()),
    };
    match text(&header["alg"]) {
        Ok(alg) if alg == "RS256" => {}
        Ok(alg) | Err(alg) => return Err(format!("it is signed with {alg}")),
    }
    if let Some(end) = claims["exp"].as_i64().and_then(|end| Timestamp::from_second(end).ok()).filter(|end| *end <= now)
    {
        return Err(format!("it ended at {end}"));
    }
    // Kubernetes lists audiences, however few they are.
    let audience = match &claims["aud"] {
        Value::Array(audiences) if audiences.len() == 1 => text(&audiences[0]),
        audience => text(audience),
    };
    let compared = [("issuer", text(&claims["iss"])), ("subject", text(&claims["sub"])), ("audience", audience)];
    let told = compared.map(|(name, value)| match value {
        Ok(value) => Ok(format!("{name} {value}")),
        Err(value) => Err(format!("its {name} is {value}")),
    });
    Ok(told.into_iter().collect::<Result<Vec<_>, _>>()?.join(", "))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(header: &Value, claims: &Value) -> Result<String, String> {
        let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let token = Secret::new(format!("{}.{}.signature", part(header), part(claims)));
        told_of(&token, "2026-11-22T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn what_entra_compares_is_told_and_what_it_never_takes_too() {
        let rs256 = json!({"alg": "RS256"});
        let claims = |aud: Value, exp: i64| json!({"iss": "https://i", "sub": "s", "aud": aud, "exp": exp});
        let (one, later) = (json!("api://AzureADTokenExchange"), 1_900_000_000);
        let expected = "issuer https://i, subject s, audience api://AzureADTokenExchange";
        for aud in [one.clone(), json!([one])] {
            assert_eq!(told(&rs256, &claims(aud, later)).unwrap(), expected, "to the letter");
        }
        for (header, claims, why) in [
            (json!({"alg": "ES256"}), claims(one.clone(), later), "it is signed with ES256"),
            (json!({}), claims(one.clone(), later), "it is signed with null"),
            (rs256.clone(), claims(json!([one, "https://cluster"]), later), "its audience is [\"api://"),
            (rs256.clone(), claims(json!([]), later), "its audience is []"),
            (rs256.clone(), claims(one.clone(), 1_700_000_000), "it ended at 2023-11-14T22:13:20Z"),
            (rs256.clone(), json!({"sub": "s", "aud": one, "exp": later}), "its issuer is null"),
        ] {
            let told = told(&header, &claims).unwrap_err();
            assert!(told.starts_with(why), "{told}");
        }
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        assert_eq!(told_of(&Secret::new("no token".to_owned()), now).unwrap_err(), "it is no JWT");
    }
}
