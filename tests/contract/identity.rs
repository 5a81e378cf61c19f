//! The identity's contract: a token that Entra could take, from whoever issues one.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use embedded::TokenFile;
use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use laboratory::{Policies, Role, Trust};
use serde_json::{Value, json};
use shared::{
    clock::Clock,
    ports::identity::{Identity, IdentityError},
};

use crate::{Open, aws::Strict};

const AUDIENCE: &str = "api://AzureADTokenExchange";

suite! {
    token_file => in_a_file(), sts => by_sts();
    [a_token_is_signed_with_rs256_and_names_audience_and_subject, asking_again_costs_no_other_token]
}

/// As Kubernetes would have projected it.
fn in_a_file() -> Open<dyn Identity> {
    let stage = Sts::new();
    let token = block_on(stage.identity(Clock::System).token(AUDIENCE)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, token.expose()).unwrap();
    Box::new(move || {
        let _kept_while_it_is_read = (&folder, &stage);
        Arc::new(TokenFile::at(path.clone()))
    })
}

fn by_sts() -> Open<dyn Identity> {
    let identity = Arc::new(Sts::new());
    let one = Arc::new(identity.identity(Clock::System));
    Box::new(move || {
        let _kept = &identity;
        one.clone()
    })
}

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn a_token_is_signed_with_rs256_and_names_audience_and_subject(open: Open<dyn Identity>) {
    let token = open().token(AUDIENCE).await.unwrap();
    let (header, claims) = (part(token.expose(), 0), part(token.expose(), 1));
    assert_eq!((&header["alg"], &claims["aud"]), (&json!("RS256"), &json!(AUDIENCE)));
    assert!(claims["sub"].as_str().unwrap().ends_with(":role/muster-entra-identity"), "{claims}");
    let left = claims["exp"].as_i64().unwrap() - Timestamp::now().as_second();
    assert!((120..=300).contains(&left), "{left} s are left");
}

async fn asking_again_costs_no_other_token(open: Open<dyn Identity>) {
    let first = open().token(AUDIENCE).await.unwrap();
    assert_eq!(open().token(AUDIENCE).await.unwrap().expose(), first.expose());
}

/// An account with a role that may be assumed.
struct Sts {
    strict: Strict,
    role: String,
}

impl Sts {
    fn new() -> Self {
        Self::with("root", &json!({"sts:IdentityTokenAudience": AUDIENCE, "sts:SigningAlgorithm": "RS256"}))
    }

    /// Trusting this principal of the account, and allowed tokens under these conditions.
    fn with(trusted: &str, conditions: &Value) -> Self {
        let strict = Strict::account();
        let account = strict.gateway.issuer();
        let account = account.rsplit('-').next().and_then(|rest| rest.split('.').next()).unwrap();
        let role = format!("arn:aws:iam::{account}:role/muster-entra-identity");
        let may = json!({"Statement": {"Effect": "Allow", "Action": "sts:GetWebIdentityToken", "Resource": "*",
            "Condition": {"ForAllValues:StringEquals": conditions}}});
        let trust = json!({"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": {"AWS": format!("arn:aws:iam::{account}:{trusted}")}}});
        let policies = Policies::read([&may]).unwrap();
        strict.gateway.assumable("identity", Role { arn: role.clone(), policies }, Trust::read(&trust).unwrap());
        strict.gateway.enable_federation(true);
        Self { strict, role }
    }

    fn identity(&self, clock: Clock) -> aws::StsIdentity {
        aws::StsIdentity::new(&self.strict.sdk, Some(self.role.clone()), clock)
    }

    fn refusal(&self) -> IdentityError {
        let _runtime = crate::aws::enter();
        block_on(self.identity(Clock::System).token(AUDIENCE)).unwrap_err()
    }
}

#[test]
fn sts_is_asked_again_when_half_of_a_token_is_over_and_for_a_session_within_the_hour() {
    let _runtime = crate::aws::enter();
    let sts = Sts::new();
    let clock = Clock::manual(Timestamp::now());
    let identity = sts.identity(clock.clone());
    let asked = |seconds: i64| {
        clock.advance(SignedDuration::from_secs(seconds));
        block_on(identity.token(AUDIENCE)).unwrap();
        (sts.strict.calls("AssumeRole"), sts.strict.calls("GetWebIdentityToken"))
    };
    assert_eq!(asked(0), (1, 1));
    assert_eq!(asked(150), (1, 1));
    assert_eq!(asked(1), (1, 2), "the other half is kept for the way to Entra");
    assert_eq!(asked(45 * 60), (1, 3));
    assert_eq!(asked(5 * 60), (2, 4), "no token may outlive its session");
}

#[test]
fn a_clock_that_is_wrong_changes_nothing() {
    let _runtime = crate::aws::enter();
    let sts = Sts::new();
    for minutes in [-20, 20] {
        let identity = sts.identity(Clock::manual(Timestamp::now() + SignedDuration::from_mins(minutes)));
        let before = sts.strict.calls("GetWebIdentityToken");
        for _ in 0..3 {
            block_on(identity.token(AUDIENCE)).unwrap();
        }
        assert_eq!(sts.strict.calls("GetWebIdentityToken") - before, 1, "{minutes} minutes ahead");
    }
}

#[test]
fn each_refusal_of_sts_is_told_for_what_it_is() {
    let sts = Sts::new();
    sts.strict.gateway.enable_federation(false);
    assert_eq!(sts.refusal(), IdentityError::FederationDisabled);
    let sts = Sts::with("role/somebody-else", &json!({"sts:SigningAlgorithm": "RS256"}));
    let refusal = sts.refusal();
    assert!(matches!(&refusal, IdentityError::RoleNotAssumable { role, .. } if *role == sts.role), "{refusal}");
    let sts = Sts::with("root", &json!({"sts:IdentityTokenAudience": "api://other"}));
    let refusal = sts.refusal();
    assert!(matches!(&refusal, IdentityError::NotAllowed { audience, .. } if audience == AUDIENCE), "{refusal}");
    let nobody = aws::StsIdentity::new(&sts.strict.sdk, None, Clock::System);
    let refusal = block_on(nobody.token(AUDIENCE)).unwrap_err();
    assert!(refusal.to_string().contains("MUSTER_IDENTITY_ROLE_ARN"), "{refusal}");
}

#[test]
fn what_was_refused_is_asked_for_anew() {
    let _runtime = crate::aws::enter();
    let sts = Sts::new();
    let identity = sts.identity(Clock::System);
    sts.strict.gateway.enable_federation(false);
    assert_eq!(block_on(identity.token(AUDIENCE)).unwrap_err(), IdentityError::FederationDisabled);
    sts.strict.gateway.enable_federation(true);
    assert!(block_on(identity.token(AUDIENCE)).is_ok());
    assert_eq!(sts.strict.calls("AssumeRole"), 2, "its policy may have been mended, so the session is another one");
}
