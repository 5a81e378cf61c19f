//! `muster doctor`: asks everything that has to be right, as it will be asked in earnest, and says of each thing that is
//! not what to do about it. It changes nothing. No check hides another.

mod entry;

use serde::Serialize;
use shared::{
    App,
    credential::name::{EntryKind, EntryName},
    microsoft::{
        sign_in::discovery_request,
        time::{self, ClockSkew},
    },
    ports::vault::{Stage, VaultError},
    signing::SigningKeys,
};

use crate::Failure;

/// What is in the vault may be well. To store it again would only hide what is not.
const UNREADABLE: &str =
    "See that the vault can be read (your rights on AWS, `vault.key` and the disk on one machine), then ask again.";

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub ok: bool,
    /// What was looked at: `login`, or an entry of the vault and which side of it.
    pub check: String,
    pub found: String,
    /// What to do, where it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Line {
    fn good(check: &str, found: impl Into<String>) -> Self {
        Self { ok: true, check: check.to_owned(), found: found.into(), fix: None }
    }

    fn bad(check: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { ok: false, check: check.to_owned(), found: found.into(), fix: Some(fix.into()) }
    }
}

/// # Errors
/// [`Failure`] when anything is not well: every line is printed before.
pub async fn run(app: &App, json: bool) -> Result<(), Failure> {
    let lines = examine(app).await;
    if json {
        println!("{}", serde_json::to_string_pretty(&lines).map_err(Failure::failed)?);
    } else {
        print!("{}", words(&lines));
    }
    match lines.iter().filter(|line| !line.ok).count() {
        0 => Ok(()),
        bad => Err(Failure::failed(format!(
            "{bad} of {} things are not well; what to do stands beneath each",
            lines.len()
        ))),
    }
}

/// For people, who need no colours to read it.
fn words(lines: &[Line]) -> String {
    let line = |Line { ok, check, found, fix }: &Line| {
        let (mark, word) = if *ok { ('✓', "well") } else { ('✗', "NOT WELL") };
        let fix = fix.as_ref().map(|fix| format!("    To do: {fix}\n")).unwrap_or_default();
        format!("{mark} {check}, {word}: {found}\n{fix}")
    };
    lines.iter().map(line).collect()
}

/// Looks at everything, one thing after the other.
pub async fn examine(app: &App) -> Vec<Line> {
    let mut lines = vec![configuration(app)];
    lines.extend(login(app).await);
    lines.push(signing_key(app).await);
    let prefix = &app.config.secrets_prefix;
    let names = match app.ports.vault.list(&format!("{prefix}/")).await {
        Ok(names) => names,
        Err(error) => {
            lines.push(Line::bad("vault", error.to_string(), UNREADABLE));
            return lines;
        }
    };
    if !names.contains(&format!("{prefix}/app")) {
        let fix = "Store the application with `muster vault put app`, as the README shows.";
        lines.push(Line::bad("app", "the vault holds no application", fix));
    }
    for full in names {
        let Some(name) = EntryName::parse(&full, prefix).filter(|name| name.kind != EntryKind::Signing) else {
            continue;
        };
        entry::examine(app, &name, &mut lines).await;
    }
    lines
}

fn configuration(app: &App) -> Line {
    let config = &app.config;
    let public = config.public_url.as_ref().map_or("none, so nobody can be invited".to_owned(), ToString::to_string);
    Line::good("configuration", format!("login {}, Graph {}, public address {public}", config.login(), config.graph()))
}

async fn login(app: &App) -> Vec<Line> {
    let asked = app.http.send(discovery_request(&app.config.login(), "organizations")).await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            let fix = "See that this machine reaches Microsoft's sign-in (DNS, proxy, firewall), and that MUSTER_LOGIN_URL \
                       and MUSTER_CLOUD are right.";
            return vec![Line::bad("login", error.to_string(), fix)];
        }
    };
    let reached = match answer.status {
        200 => Line::good("login", format!("{} answers", app.config.login())),
        status => Line::bad(
            "login",
            format!("{} answers HTTP {status}", app.config.login()),
            "See that MUSTER_LOGIN_URL and MUSTER_CLOUD name Microsoft's sign-in.",
        ),
    };
    let skew =
        answer.header("date").and_then(time::parse_date).map(|theirs| ClockSkew::between(app.clock.now(), theirs));
    let clock = match skew {
        Some(Some(skew)) => Line::bad("clock", skew.to_string(), "Set this machine's clock right, by NTP for example."),
        Some(None) => Line::good("clock", "it agrees with Microsoft's"),
        None => Line::good("clock", "Microsoft did not say what time it is"),
    };
    vec![reached, clock]
}

async fn signing_key(app: &App) -> Line {
    let (vault, prefix) = (app.ports.vault.as_ref(), &app.config.secrets_prefix);
    let name = format!("{prefix}/signing");
    match vault.read(&name, Stage::Current, None).await {
        Ok(_) => match SigningKeys::load(vault, prefix).await {
            Ok(_) => Line::good("signing", "the key of invitations and sessions is there"),
            Err(error) => Line::bad(
                "signing",
                error.to_string(),
                "On AWS make the version before it current again (`aws secretsmanager update-secret-version-stage`), on one \
                 machine restore the data folder from your backup.",
            ),
        },
        Err(VaultError::NotFound(_)) => Line::bad(
            "signing",
            "there is no key for invitations and sessions",
            "On one machine `muster vault put` and `muster serve` make it. On AWS the stack does: see that MUSTER_SECRETS_PREFIX is \
             the stack's.",
        ),
        Err(error) => Line::bad("signing", error.to_string(), UNREADABLE),
    }
}
