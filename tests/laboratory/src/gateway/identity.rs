//! STS, answered by the gateway itself: roles are assumed by whom their trust policies name, and the account's own issuer
//! signs tokens for them. Ministack lets everybody in, and signs with a key that everybody has.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData, SigningKey};
use serde_json::{Value, json};

use super::{
    Role,
    answer::Answer,
    call::{Request, Service},
    condition::{Condition, Context},
    policy::texts,
};

const KEY_ID: &str = "gateway-key";
/// No role here has another one, and no session that a role gives to another role is longer in any case.
const LONGEST_SESSION: i64 = 3_600;

/// Who may assume a role.
#[derive(Debug, Clone)]
pub struct Trust(Vec<Trusted>);

#[derive(Debug, Clone)]
struct Trusted {
    /// Of roles, or of the account's root, which stands for everybody whom the account's own policies let.
    principals: Vec<String>,
    conditions: Vec<Condition>,
}

impl Trust {
    /// Reads a role's `AssumeRolePolicyDocument`. Services are passed by: none calls here.
    ///
    /// # Errors
    /// What is written there and not understood here.
    pub fn read(document: &Value) -> Result<Self, String> {
        let statements = match &document["Statement"] {
            Value::Array(several) => several.clone(),
            one => vec![one.clone()],
        };
        let mut trusted = Vec::new();
        for statement in &statements {
            for key in statement.as_object().ok_or("a statement is an object")?.keys() {
                if !["Sid", "Effect", "Principal", "Action", "Condition"].contains(&key.as_str()) {
                    return Err(format!("the element {key} of a trust is not understood"));
                }
            }
            if statement["Effect"] != "Allow" || texts(&statement["Action"])? != ["sts:AssumeRole"] {
                return Err(format!("a trust allows sts:AssumeRole: {statement}"));
            }
            let principal = statement["Principal"].as_object().ok_or("a trust names its principals")?;
            for (kind, values) in principal {
                match kind.as_str() {
                    "Service" => {}
                    "AWS" => trusted.push(Trusted {
                        principals: texts(values)?,
                        conditions: Condition::read(&statement["Condition"])?,
                    }),
                    other => return Err(format!("the principal {other} is not understood")),
                }
            }
        }
        Ok(Self(trusted))
    }

    pub fn lets_in(&self, caller: &str) -> bool {
        let account = caller.split(':').nth(4).unwrap_or_default();
        let root = format!("arn:aws:iam::{account}:root");
        let context = Context::from([("aws:principalarn".to_owned(), vec![caller.to_owned()])]);
        self.0.iter().any(|trusted| {
            let named = |principal: &String| principal == caller || *principal == root || principal == account;
            trusted.principals.iter().any(named) && trusted.conditions.iter().all(|one| one.holds(&context))
        })
    }
}

/// What came of a session's credentials.
#[derive(Debug, Clone)]
pub struct Session {
    pub name: String,
    pub role: Role,
    token: String,
    ends_at: Timestamp,
}

/// The account's STS.
pub struct Identity {
    account: String,
    enabled: AtomicBool,
    count: AtomicU64,
    roles: Mutex<BTreeMap<String, (String, Role, Trust)>>,
    sessions: Mutex<BTreeMap<String, Session>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("account", &self.account).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One key for all accounts of this process: to make one takes a while.
fn key() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(|| KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key of 2048 bits"))
}

impl Identity {
    pub fn of(account: &str) -> Self {
        Self {
            account: account.to_owned(),
            enabled: AtomicBool::new(false),
            count: AtomicU64::new(1),
            roles: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// The account's switch, which is off until somebody has turned it.
    pub fn enable(&self, on: bool) {
        self.enabled.store(on, Ordering::SeqCst);
    }

    /// As `iam:GetOutboundWebIdentityFederationInfo` tells.
    pub fn issuer(&self) -> String {
        format!("https://a0000000-0000-4000-8000-{}.tokens.sts.global.api.aws", self.account)
    }

    /// The issuer's key set, as it publishes it.
    pub fn jwks() -> Value {
        let (modulus, exponent) = numbers(key().der_bytes()).expect("an RSA key of PKCS #1");
        let (n, e) = (URL_SAFE_NO_PAD.encode(modulus), URL_SAFE_NO_PAD.encode(exponent));
        json!({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID, "n": n, "e": e}]})
    }

    /// A role that others may assume, known by this name in the journal.
    pub fn add(&self, name: &str, role: Role, trust: Trust) {
        locked(&self.roles).insert(role.arn.clone(), (name.to_owned(), role, trust));
    }

    /// Whoever signed with the credentials of a session.
    ///
    /// # Errors
    /// When the credentials are of a session, and are not whole or not good any more.
    pub fn session(&self, request: &Request) -> Result<Option<Session>, Answer> {
        let signed = request.header("authorization");
        let key = signed.split("Credential=").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let Some(session) = locked(&self.sessions).get(key).cloned() else { return Ok(None) };
        if request.header("x-amz-security-token") != session.token {
            let message = "The security token included in the request is invalid.";
            return Err(Answer::error(Service::Sts, 403, "InvalidClientTokenId", message));
        }
        if session.ends_at <= Timestamp::now() {
            let message = "The security token included in the request is expired";
            return Err(Answer::error(Service::Sts, 403, "ExpiredToken", message));
        }
        Ok(Some(session))
    }

    /// Answers one of STS's calls, which the caller's own policies allow.
    pub fn answer(&self, operation: &str, request: &Request, caller: &str, session: Option<&Session>) -> Answer {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
        let form = Form(form);
        let answered = match operation {
            "AssumeRole" => self.assume(&form, caller, session.is_some()),
            _ => self.token(&form, caller, session),
        };
        answered.unwrap_or_else(|refusal| refusal)
    }

    fn assume(&self, form: &Form, caller: &str, chained: bool) -> Result<Answer, Answer> {
        let arn = form.text("RoleArn");
        let denied = || {
            let message = format!("User: {caller} is not authorized to perform: sts:AssumeRole on resource: {arn}");
            Answer::denied(Service::Sts, &message)
        };
        let (name, role, trust) = locked(&self.roles).get(&arn).cloned().ok_or_else(denied)?;
        if !trust.lets_in(caller) {
            return Err(denied());
        }
        let session_name = form.text("RoleSessionName");
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_=,.@-".contains(&byte);
        if !(2..=64).contains(&session_name.len()) || !session_name.bytes().all(fits) {
            return Err(invalid(&format!("Value '{session_name}' at 'roleSessionName' failed to satisfy constraint")));
        }
        let seconds = form.number("DurationSeconds").unwrap_or(3_600);
        if !(900..=43_200).contains(&seconds) {
            return Err(invalid(&format!("Value '{seconds}' at 'durationSeconds' failed to satisfy constraint")));
        }
        if seconds > LONGEST_SESSION {
            let of = if chained {
                "the 1 hour session limit for roles assumed by role chaining"
            } else {
                "the MaxSessionDuration set for this role"
            };
            return Err(invalid(&format!("The requested DurationSeconds exceeds {of}.")));
        }
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let (key, token) = (format!("ASIAGATEWAY{number:09}"), format!("canary-assumed-session-{number}"));
        let ends_at = Timestamp::now() + SignedDuration::from_secs(seconds);
        let of_session = arn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/");
        locked(&self.sessions).insert(key.clone(), Session { name, role, token: token.clone(), ends_at });
        Ok(said(
            "AssumeRole",
            &format!(
                "<AssumedRoleUser><AssumedRoleId>AROA:{session_name}</AssumedRoleId><Arn>{of_session}/{session_name}</Arn>\
                 </AssumedRoleUser><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>canary-assumed-secret-key\
                 </SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{}</Expiration></Credentials>",
                written(ends_at)
            ),
        ))
    }

    /// The documented limits of the API reference; the conditions of the role's policy have been judged before.
    fn token(&self, form: &Form, caller: &str, session: Option<&Session>) -> Result<Answer, Answer> {
        let Some(session) = session else {
            let message = format!("{caller} is no role that has been assumed");
            return Err(Answer::denied(Service::Sts, &message));
        };
        if !self.enabled.load(Ordering::SeqCst) {
            let message = "Outbound web identity federation is not enabled for this account.";
            return Err(Answer::error(Service::Sts, 403, "OutboundWebIdentityFederationDisabledException", message));
        }
        let audiences = form.list("Audience");
        if !(1..=10).contains(&audiences.len()) || audiences.iter().any(|one| !(1..=1000).contains(&one.len())) {
            return Err(invalid("1 to 10 audiences of 1 to 1000 characters are expected at 'audience'"));
        }
        match form.text("SigningAlgorithm").as_str() {
            "RS256" => {}
            "ES384" => return Err(Answer::text(501, "tokens signed with ES384 are not modelled; Entra takes none")),
            other => {
                return Err(invalid(&format!("Value '{other}' at 'signingAlgorithm' failed to satisfy constraint")));
            }
        }
        let seconds = form.number("DurationSeconds").unwrap_or(300);
        if !(60..=3_600).contains(&seconds) {
            return Err(invalid(&format!("Value '{seconds}' at 'durationSeconds' failed to satisfy constraint")));
        }
        let now = Timestamp::now();
        let ends_at = now + SignedDuration::from_secs(seconds);
        if ends_at > session.ends_at {
            let message = "The requested token duration exceeds the remaining duration of the session.";
            return Err(Answer::error(Service::Sts, 403, "SessionDurationEscalationException", message));
        }
        let audience = if let [one] = &audiences[..] { json!(one) } else { json!(audiences) };
        let claims = json!({
            "iss": self.issuer(), "sub": session.role.arn, "aud": audience, "iat": now.as_second(),
            "exp": ends_at.as_second(), "jti": format!("jti-{}", self.count.fetch_add(1, Ordering::SeqCst)),
            "https://sts.amazonaws.com/": {"aws_account": self.account},
        });
        let token = sign(&claims);
        Ok(said(
            "GetWebIdentityToken",
            &format!("<WebIdentityToken>{token}</WebIdentityToken><Expiration>{}</Expiration>", written(ends_at)),
        ))
    }
}

fn sign(claims: &Value) -> String {
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": KEY_ID});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = key().sign(signed.as_bytes()).expect("an RSA key signs");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// To the second, as STS writes it.
fn written(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

fn said(operation: &str, result: &str) -> Answer {
    Answer::xml(&format!(
        "<{operation}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{operation}Result>{result}\
         </{operation}Result><ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></{operation}Response>"
    ))
}

fn invalid(message: &str) -> Answer {
    Answer::error(Service::Sts, 400, "ValidationError", message)
}

/// The fields of a call, as the query protocol has them.
struct Form(Vec<(String, String)>);

impl Form {
    fn text(&self, name: &str) -> String {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.text(name).parse().ok()
    }

    fn list(&self, name: &str) -> Vec<String> {
        let prefix = format!("{name}.member.");
        self.0.iter().filter(|(field, _)| field.starts_with(&prefix)).map(|(_, value)| value.clone()).collect()
    }
}

/// Modulus and exponent of a key in PKCS #1's DER: a sequence of two positive integers.
fn numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = element(der, 0x30)?;
    let (modulus, rest) = element(sequence, 0x02)?;
    let (exponent, _) = element(rest, 0x02)?;
    let positive = |number: &'_ [u8]| number.first() == Some(&0) && number.len() > 1;
    let strip = |number| if positive(number) { &number[1..] } else { number };
    Some((strip(modulus), strip(exponent)))
}

fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*length) {
        short @ 0..=127 => (short, rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(long - 128)?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
    };
    (*first == tag).then(|| rest.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gateway, Ministack, Operator, Policies};

    const ARN: &str = "arn:aws:iam::000000000000:role/muster-entra-identity";
    const FUNCTION: &str = "arn:aws:iam::000000000000:role/puller";
    const AUDIENCE: &str = "api://AzureADTokenExchange";

    fn role(arn: &str, statement: &Value) -> Role {
        Role { arn: arn.to_owned(), policies: Policies::read([&json!({"Statement": statement})]).unwrap() }
    }

    fn trust(principal: &str) -> Trust {
        let statement = json!({"Effect": "Allow", "Principal": {"AWS": [principal]}, "Action": "sts:AssumeRole"});
        Trust::read(&json!({"Statement": [statement]})).unwrap()
    }

    /// A puller's door, and a role that it may assume, which gets tokens for Entra alone.
    fn stage(trusted: &str) -> (Gateway, Operator) {
        let gateway = Gateway::before(Ministack::shared());
        gateway.enable_federation(true);
        let condition = json!({
            "StringEquals": {"sts:SigningAlgorithm": "RS256"},
            "ForAllValues:StringEquals": {"sts:IdentityTokenAudience": AUDIENCE},
            "NumericLessThanEquals": {"sts:DurationSeconds": "300"},
        });
        let may =
            json!({"Effect": "Allow", "Action": "sts:GetWebIdentityToken", "Resource": "*", "Condition": condition});
        gateway.assumable("entra-identity", role(ARN, &may), trust(trusted));
        let may = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": ARN});
        let endpoint = gateway.open("puller", Some(role(FUNCTION, &may)));
        (gateway, Operator::at(&endpoint))
    }

    fn assume(caller: &Operator, more: &[(&str, &str)]) -> crate::Said {
        let fields = [("Action", "AssumeRole"), ("RoleArn", ARN), ("RoleSessionName", "muster")];
        caller.query("sts", &[&fields, more].concat())
    }

    fn between(text: &str, name: &str) -> String {
        let (_, rest) = text.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{text}"));
        rest.split('<').next().unwrap().to_owned()
    }

    /// As whoever has these credentials.
    fn token(caller: &Operator, credentials: &str, fields: &[(&str, &str)]) -> crate::Said {
        let (key, session) = (between(credentials, "AccessKeyId"), between(credentials, "SessionToken"));
        let fields = [&[("Action", "GetWebIdentityToken")], fields].concat();
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let scope = format!("{key}/20261122/{}/sts/aws4_request", Ministack::REGION);
        let signed = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={}", "0".repeat(64));
        let headers = [
            ("authorization", signed.as_str()),
            ("x-amz-date", "20261122T000000Z"),
            ("x-amz-security-token", session.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        caller.unsigned(crate::Method::POST, "/", &headers, form.into_bytes())
    }

    const GOOD: [(&str, &str); 3] =
        [("Audience.member.1", AUDIENCE), ("SigningAlgorithm", "RS256"), ("DurationSeconds", "300")];

    #[test]
    fn a_role_is_assumed_by_whom_its_trust_names_and_signs_for_itself() {
        let (gateway, caller) = stage(FUNCTION);
        let credentials = assume(&caller, &[]);
        assert_eq!(credentials.status, 200, "{}", credentials.text());
        let given = token(&caller, &credentials.text(), &GOOD);
        assert_eq!(given.status, 200, "{}", given.text());
        let token = between(&given.text(), "WebIdentityToken");
        let parts: Vec<Vec<u8>> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let (header, claims): (Value, Value) =
            (serde_json::from_slice(&parts[0]).unwrap(), serde_json::from_slice(&parts[1]).unwrap());
        assert_eq!((&header["alg"], &header["kid"]), (&json!("RS256"), &json!(KEY_ID)));
        assert_eq!(claims["sub"], ARN, "the role's own ARN, not the session's");
        assert_eq!((&claims["aud"], &claims["iss"]), (&json!(AUDIENCE), &json!(gateway.issuer())));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
        // What it publishes is the very key.
        let served = caller.unsigned(crate::Method::GET, "/.well-known/jwks.json", &[], Vec::new()).json();
        assert_eq!(served, gateway.jwks());
        let modulus = URL_SAFE_NO_PAD.decode(served["keys"][0]["n"].as_str().unwrap()).unwrap();
        assert_eq!((modulus.len(), parts[2].len()), (256, 256));
        let names: Vec<String> = gateway.journal().since(0).iter().map(|entry| entry.door.clone()).collect();
        assert_eq!(names, ["puller", "entra-identity"]);
    }

    #[test]
    fn nobody_else_is_let_in() {
        let (_gateway, caller) = stage("arn:aws:iam::000000000000:role/somebody-else");
        let refused = assume(&caller, &[]);
        assert!(refused.status == 403 && refused.text().contains("not authorized to perform: sts:AssumeRole"));
        let (_gateway, caller) = stage("arn:aws:iam::000000000000:root");
        assert_eq!(assume(&caller, &[]).status, 200, "the account leaves it to its policies");
        for seconds in ["899", "3601", "43201"] {
            let refused = assume(&caller, &[("DurationSeconds", seconds)]);
            assert!(refused.status == 400 && refused.text().contains("ValidationError"), "{}", refused.text());
        }
        // The puller itself is no role that may ask for tokens.
        let refused = caller.query("sts", &[&[("Action", "GetWebIdentityToken")], &GOOD[..]].concat());
        assert!(refused.status == 403 && refused.text().contains("sts:GetWebIdentityToken"), "{}", refused.text());
    }

    #[test]
    fn a_token_is_given_for_what_policy_and_session_allow() {
        let (gateway, caller) = stage(FUNCTION);
        let credentials = assume(&caller, &[("DurationSeconds", "900")]).text();
        let ask = |name: &str, value: &str| {
            let mut fields = GOOD.to_vec();
            fields.iter_mut().filter(|(field, _)| *field == name).for_each(|field| field.1 = value);
            let said = token(&caller, &credentials, &fields);
            (said.status, said.text())
        };
        for (name, value) in
            [("Audience.member.1", "api://other"), ("SigningAlgorithm", "ES384"), ("DurationSeconds", "301")]
        {
            let (status, text) = ask(name, value);
            assert!(status == 403 && text.contains("AccessDenied"), "{name} {value}: {text}");
        }
        let (status, text) = ask("DurationSeconds", "59");
        assert!(status == 400 && text.contains("ValidationError"), "{text}");
        gateway.enable_federation(false);
        let (status, text) = ask("DurationSeconds", "300");
        assert!(status == 403 && text.contains("OutboundWebIdentityFederationDisabled"), "{text}");
    }

    #[test]
    fn no_token_outlives_its_session_and_none_is_for_eleven() {
        let gateway = Gateway::before(Ministack::shared());
        gateway.enable_federation(true);
        let may = json!({"Effect": "Allow", "Action": "sts:GetWebIdentityToken", "Resource": "*"});
        gateway.assumable("entra-identity", role(ARN, &may), trust("arn:aws:iam::000000000000:root"));
        let caller = Operator::at(&gateway.open("anybody", None));
        let credentials = assume(&caller, &[("DurationSeconds", "900")]).text();
        let long = [GOOD[0], GOOD[1], ("DurationSeconds", "901")];
        let refused = token(&caller, &credentials, &long).text();
        assert!(refused.contains("SessionDurationEscalation"), "{refused}");
        let members: Vec<String> = (1..=11).map(|n| format!("Audience.member.{n}")).collect();
        let mut eleven: Vec<(&str, &str)> = members.iter().map(|member| (member.as_str(), AUDIENCE)).collect();
        eleven.extend([GOOD[1], GOOD[2]]);
        let refused = token(&caller, &credentials, &eleven).text();
        assert!(refused.contains("ValidationError"), "{refused}");
        let forged = credentials.replace("canary-assumed-session", "forged");
        assert_eq!(token(&caller, &forged, &GOOD).status, 403);
    }

    #[test]
    fn a_trust_that_is_not_understood_is_an_error() {
        for statement in [
            json!({"Effect": "Deny", "Principal": {"AWS": "x"}, "Action": "sts:AssumeRole"}),
            json!({"Effect": "Allow", "Principal": {"Federated": "x"}, "Action": "sts:AssumeRole"}),
            json!({"Effect": "Allow", "Principal": {"AWS": "x"}, "Action": "sts:TagSession"}),
            json!({"Effect": "Allow", "NotPrincipal": {"AWS": "x"}, "Action": "sts:AssumeRole"}),
        ] {
            assert!(Trust::read(&json!({"Statement": [statement.clone()]})).is_err(), "{statement}");
        }
    }
}
