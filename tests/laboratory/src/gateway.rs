//! The gateway: what functions take for AWS. It judges every call by the caller's role, as IAM does, and hands it on to
//! ministack; and it is strict where AWS is and ministack is not.
//!
//! Each caller has a door of its own, which is how the gateway knows who asks.

mod answer;
mod call;
mod condition;
mod identity;
mod journal;
mod mishap;
mod pages;
mod pattern;
mod policy;
mod signature;
mod trouble;
mod vault;

use std::{
    convert::Infallible,
    fmt,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::Client;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

use self::{
    answer::Answer,
    call::{Call, Place, Request, Service},
    identity::{Identity, Session},
    mishap::Mishaps,
    vault::{Course, Vault},
};
pub use self::{
    identity::Trust,
    journal::{Entry, Journal},
    mishap::When,
    policy::{Permission, Policies, Verdict},
    trouble::Trouble,
    vault::Schedule,
};
use crate::{aws::Aws, ministack::Ministack};

/// Headers that belong to one connection, not to a message.
const OF_THE_CONNECTION: [&str; 5] = ["connection", "content-length", "host", "keep-alive", "transfer-encoding"];

/// A role that calls are judged by.
#[derive(Debug, Clone)]
pub struct Role {
    pub arn: String,
    pub policies: Policies,
}

/// Where one caller comes in. Until it is given a role, everything is allowed that is understood.
#[derive(Debug, Clone)]
pub struct Door {
    name: String,
    address: SocketAddr,
    role: Arc<OnceLock<Role>>,
}

impl Door {
    /// What the caller takes for AWS: its `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Judges every call by this role from now on.
    ///
    /// # Panics
    /// When there is one already.
    pub fn judge_by(&self, role: Role) {
        self.role.set(role).expect("a door has one role");
    }
}

struct Judge {
    account: String,
    client: Client,
    endpoint: String,
    vault: Vault,
    identity: Identity,
    journal: Journal,
    mishaps: Mishaps,
}

pub struct Gateway {
    judge: Arc<Judge>,
    runtime: Runtime,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gateway").field("journal", &self.judge.journal).finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway before this ministack. It serves until it is dropped.
    ///
    /// # Panics
    /// When the machine has no threads for it.
    pub fn before(ministack: &Ministack) -> Self {
        Self::before_account(ministack, Ministack::ACCOUNT)
    }

    /// As [`Gateway::before`], for the callers of another account.
    ///
    /// # Panics
    /// When the machine has no threads for it.
    pub fn before_account(ministack: &Ministack, account: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let client = Client::builder().no_proxy().build().expect("a client without any files");
        let vault = Vault::new(Aws::of_account(&ministack.endpoint(), account));
        let identity = Identity::of(account);
        let account = account.to_owned();
        let judge = Judge {
            account,
            client,
            endpoint: ministack.endpoint(),
            vault,
            identity,
            journal: Journal::default(),
            mishaps: Mishaps::default(),
        };
        Self { judge: Arc::new(judge), runtime: runtime.expect("a runtime") }
    }

    /// Opens a door, and says where it is.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn open(&self, name: &str, role: Option<Role>) -> String {
        let door = self.door(name);
        if let Some(role) = role {
            door.judge_by(role);
        }
        door.endpoint()
    }

    /// Opens a door for a caller whose role will be known later.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn door(&self, name: &str) -> Door {
        let listener = self.runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let door = Door { name: name.to_owned(), address, role: Arc::default() };
        self.runtime.spawn(serve(self.judge.clone(), Arc::new(door.clone()), listener));
        door
    }

    /// Cuts the callers at a door off from AWS when it is called, until the door is opened again.
    pub fn shutter(&self, door: &str) -> impl FnOnce() + Send + 'static {
        let (judge, door) = (self.judge.clone(), door.to_owned());
        move || judge.mishaps.shut(&door, true)
    }

    /// Lets the callers at a door through again.
    pub fn reopen(&self, door: &str) {
        self.judge.mishaps.shut(door, false);
    }

    /// Turns the account's switch for outbound federation, which is off at first.
    pub fn enable_federation(&self, on: bool) {
        self.judge.identity.enable(on);
    }

    /// A role that callers may assume; its calls stand under this name in the journal.
    pub fn assumable(&self, name: &str, role: Role, trust: Trust) {
        self.judge.identity.add(name, role, trust);
    }

    /// Who signs the account's tokens.
    pub fn issuer(&self) -> String {
        self.judge.identity.issuer()
    }

    /// The keys that the issuer publishes.
    pub fn jwks(&self) -> serde_json::Value {
        Identity::jwks()
    }

    pub fn journal(&self) -> &Journal {
        &self.judge.journal
    }

    /// Does this once, around the next such call at a door: that is how a process is killed at a moment of one's choice.
    pub fn upon(&self, door: &str, operation: &str, when: When, act: impl FnOnce() + Send + 'static) {
        self.upon_nth(door, operation, 1, when, act);
    }

    /// As [`Gateway::upon`], around the nth such call, the next one being the first.
    pub fn upon_nth(&self, door: &str, operation: &str, nth: usize, when: When, act: impl FnOnce() + Send + 'static) {
        self.judge.mishaps.plan(door, operation, nth, when, Box::new(act));
    }

    /// Lets AWS do this to the next such call at a door; what is planned later strikes later.
    pub fn trouble(&self, door: &str, operation: &str, trouble: Trouble) {
        self.judge.mishaps.plan_trouble(door, operation, trouble);
    }

    /// Lets `DescribeSecret` tell of a rotation schedule.
    pub fn schedule(&self, secret_arn: &str, schedule: Schedule) {
        self.judge.vault.schedule(secret_arn, schedule);
    }

    /// Labels an empty version `AWSPENDING`, as Secrets Manager does before a rotation's first step.
    ///
    /// # Errors
    /// What AWS says where another rotation is not over.
    pub fn begin_rotation(&self, secret: &str, token: &str) -> Result<(), String> {
        let begun = self.runtime.block_on(self.judge.vault.begin_rotation(secret, token));
        begun.map(drop).map_err(|answer| String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Takes a label off a version, as Secrets Manager itself tidies up.
    ///
    /// # Errors
    /// What AWS says where the version does not carry it.
    pub fn unlabel(&self, secret: &str, label: &str, version: &str) -> Result<(), String> {
        let done = self.runtime.block_on(self.judge.vault.unlabel(secret, label, version));
        done.map_err(|answer| String::from_utf8_lossy(&answer.body).into_owned())
    }
}

async fn serve(judge: Arc<Judge>, door: Arc<Door>, listener: TcpListener) {
    loop {
        // A connection that was gone before it was taken concerns nobody.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(judge.clone(), door.clone(), stream));
        }
    }
}

async fn connection(judge: Arc<Judge>, door: Arc<Door>, stream: TcpStream) {
    let service = service_fn(move |request| {
        let (judge, door) = (judge.clone(), door.clone());
        async move { Ok::<_, Infallible>(on_the_wire(answer(&judge, &door, request).await)) }
    });
    // It ends with an error when the caller goes away.
    let _gone = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn on_the_wire(answer: Answer) -> hyper::Response<Full<Bytes>> {
    let mut response = hyper::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(answer.body)).expect("what was HTTP when it came in")
}

async fn answer(judge: &Judge, door: &Door, request: hyper::Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Answer::text(400, "half a request") };
    let headers = head.headers.iter();
    let request = Request {
        method: head.method.to_string(),
        target: head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        headers: headers
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body: body.to_bytes(),
    };
    judge.answer(door, request).await
}

impl Judge {
    async fn answer(&self, door: &Door, request: Request) -> Answer {
        let place = Place { region: Ministack::REGION, account: &self.account };
        // What anybody on the Internet may read.
        if request.method == "GET" && request.target == "/.well-known/jwks.json" {
            return Answer::json(200, &Identity::jwks());
        }
        if self.mishaps.are_shut_out(&door.name) {
            return Answer::text(503, "the door is shut");
        }
        let mut call = match call::read(&request, place) {
            Ok(call) => call,
            Err(unknown) => {
                self.journal.fault(&door.name, &unknown);
                return Answer::text(501, &unknown);
            }
        };
        if let Err(fault) = signature::check(&request, call.service.name(), place.region) {
            self.journal.fault(&door.name, &format!("{call}: {fault}"));
            return Answer::denied(call.service, &fault);
        }
        let session = match self.identity.session(&request) {
            Ok(session) => session,
            Err(answer) => return answer,
        };
        let caller = Caller { door, session: session.as_ref(), account: &self.account };
        if call.service == Service::SecretsManager {
            for permission in call
                .permissions
                .iter_mut()
                .filter(|permission| permission.action.starts_with("secretsmanager:") && permission.resource != "*")
            {
                permission.resource = self.vault.arn(&permission.resource, place.region, place.account).await;
            }
        }
        let request = pages::shortened(&call, request);
        let refused: Vec<Permission> =
            call.permissions.iter().filter(|permission| !caller.allows(permission)).cloned().collect();
        let answer = match refused.first() {
            Some(permission) => caller.denial(call.service, permission),
            None => {
                if self.mishaps.strike(&door.name, &call.operation, When::Before) {
                    return Answer::text(503, "the caller is gone");
                }
                let answer = match self.mishaps.trouble(&door.name, &call.operation) {
                    Some(trouble) => self.suffer(trouble, &call, &request, &caller).await,
                    None => self.hand_on(&call, &request, &caller).await,
                };
                self.mishaps.strike(&door.name, &call.operation, When::After);
                answer
            }
        };
        self.conclude(&caller, call, refused, answer)
    }

    /// Hands on as much of the call as the trouble leaves of it.
    async fn suffer(&self, trouble: Trouble, call: &Call, request: &Request, caller: &Caller<'_>) -> Answer {
        let answer = match trouble.remainder(request) {
            Some(remainder) => Some(self.hand_on(call, &remainder, caller).await),
            None => None,
        };
        trouble.answer(request, answer)
    }

    async fn hand_on(&self, call: &Call, request: &Request, caller: &Caller<'_>) -> Answer {
        if call.service == Service::Sts {
            return self.identity.answer(&call.operation, request, &caller.arn(), caller.session);
        }
        if call.service != Service::SecretsManager {
            return self.forward(request).await;
        }
        match self.vault.before(call, request).await {
            Course::Answered(answer) => answer,
            Course::Forward(forwarded) => {
                let answer = self.forward(request).await;
                self.vault.after(forwarded, call, request, answer).await
            }
        }
    }

    async fn forward(&self, request: &Request) -> Answer {
        let method = request.method.parse().expect("a method that came over HTTP");
        let mut onward = self.client.request(method, format!("{}{}", self.endpoint, request.target));
        for (name, value) in request.headers.iter().filter(|(name, _)| !OF_THE_CONNECTION.contains(&name.as_str())) {
            onward = onward.header(name, value);
        }
        let answered = async {
            let response = onward.body(request.body.clone()).send().await?;
            let status = response.status().as_u16();
            let headers = response.headers().iter();
            let headers = headers
                .filter(|(name, _)| !OF_THE_CONNECTION.contains(&name.as_str()))
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect();
            Ok::<_, reqwest::Error>(Answer { status, headers, body: response.bytes().await? })
        };
        answered.await.unwrap_or_else(|error| Answer::text(502, &format!("ministack does not answer: {error}")))
    }

    /// Writes the call down. S3 hides what is missing from those who may not list it.
    fn conclude(
        &self,
        caller: &Caller<'_>,
        mut call: Call,
        mut refused: Vec<Permission>,
        mut answer: Answer,
    ) -> Answer {
        if call.operation == "GetObject"
            && answer.status == 404
            && let Some(needed) = call::to_be_told_of_absence(&call.permissions[0])
        {
            if caller.allows(&needed) {
                call.permissions.push(needed);
            } else {
                answer = caller.denial(call.service, &needed);
                refused.push(needed);
            }
        }
        self.journal.note(Entry {
            door: caller.name().to_owned(),
            service: call.service,
            operation: call.operation,
            permissions: call.permissions,
            refused,
            status: answer.status,
        });
        answer
    }
}

/// Who asks: whoever comes in at a door, or the role that they have assumed.
struct Caller<'a> {
    door: &'a Door,
    session: Option<&'a Session>,
    account: &'a str,
}

impl Caller<'_> {
    fn role(&self) -> Option<&Role> {
        self.session.map(|session| &session.role).or_else(|| self.door.role.get())
    }

    fn name(&self) -> &str {
        self.session.map_or(&self.door.name, |session| &session.name)
    }

    /// Whoever has no role is the account itself.
    fn arn(&self) -> String {
        self.role().map_or_else(|| format!("arn:aws:iam::{}:root", self.account), |role| role.arn.clone())
    }

    fn allows(&self, permission: &Permission) -> bool {
        self.role().is_none_or(|role| role.policies.judge(permission) == Verdict::Allowed)
    }

    fn denial(&self, service: Service, permission: &Permission) -> Answer {
        let role = self.arn();
        let Permission { action, resource, .. } = permission;
        let message = format!(
            "User: {role} is not authorized to perform: {action} on resource: {resource} because no identity-based \
             policy allows the {action} action"
        );
        Answer::denied(service, &message)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use serde_json::json;

    use super::*;
    use crate::Operator;

    /// A bucket outside of us-east-1 says where it is to be.
    const LOCATION: &str = "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint>\
                            </CreateBucketConfiguration>";

    fn role(action: &str, resource: &str, prefix: Option<&str>) -> Role {
        let mut statements = vec![json!({"Effect": "Allow", "Action": action, "Resource": resource})];
        statements.extend(prefix.map(|prefix| {
            json!({"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::gateway-lake",
                   "Condition": {"StringLike": {"s3:prefix": prefix}}})
        }));
        let policies = Policies::read([&json!({"Statement": statements})]).unwrap();
        Role { arn: "arn:aws:iam::0:role/r".to_owned(), policies }
    }

    fn make_bucket(operator: &Operator, name: &str) {
        let made = operator.send("s3", Method::PUT, &format!("/{name}"), &[], LOCATION.into());
        assert_eq!(made.status, 200, "{}", made.text());
    }

    #[test]
    fn what_is_missing_is_told_to_those_who_may_list() {
        let ministack = Ministack::shared();
        let operator = Operator::at(&ministack.endpoint());
        make_bucket(&operator, "gateway-lake");
        let put = operator.send("s3", Method::PUT, "/gateway-lake/alerts/there", &[], b"text".to_vec());
        assert_eq!(put.status, 200, "{}", put.text());
        let gateway = Gateway::before(ministack);
        for (name, prefix, missing) in
            [("blind", None, 403), ("lister", Some("alerts/*"), 404), ("other", Some("x"), 403)]
        {
            let caller =
                Operator::at(&gateway.open(name, Some(role("s3:GetObject", "arn:aws:s3:::gateway-lake/*", prefix))));
            let get = |key: &str| caller.send("s3", Method::GET, &format!("/gateway-lake/{key}"), &[], Vec::new());
            assert_eq!(get("alerts/there").body, b"text", "{name}");
            assert_eq!(get("alerts/missing").status, missing, "{name}");
        }
        assert_eq!(gateway.journal().since(0).len(), 6);
        assert_eq!(gateway.journal().refusals().len(), 2);
    }

    #[test]
    fn what_is_refused_does_not_reach_aws() {
        let ministack = Ministack::shared();
        let operator = Operator::at(&ministack.endpoint());
        make_bucket(&operator, "gateway-closed");
        let gateway = Gateway::before(ministack);
        let caller = Operator::at(&gateway.open("reader", Some(role("s3:GetObject", "*", None))));
        let put = caller.send("s3", Method::PUT, "/gateway-closed/x", &[], b"text".to_vec());
        assert!(put.status == 403 && put.text().contains("<Code>AccessDenied</Code>"), "{}", put.text());
        let there = operator.send("s3", Method::GET, "/gateway-closed/x", &[], Vec::new());
        assert_eq!(there.status, 404);
        assert_eq!(
            gateway.journal().refusals(),
            ["reader: s3:PutObject: s3:PutObject on arn:aws:s3:::gateway-closed/x"]
        );
    }

    #[test]
    fn what_is_not_known_or_not_signed_is_a_fault() {
        let gateway = Gateway::before(Ministack::shared());
        let endpoint = gateway.open("stranger", None);
        let caller = Operator::at(&endpoint);
        assert_eq!(caller.json("dynamodb", "DynamoDB_20120810.Scan", &json!({"TableName": "x"})).status, 501);
        // Signed for another service than the one it goes to.
        let body = json!({"QueueUrl": "http://x/0/q", "MessageBody": "x"});
        assert_eq!(caller.json("s3", "AmazonSQS.SendMessage", &body).status, 403);
        let faults = gateway.journal().faults();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("dynamodb:Scan is not known") && faults[1].contains("signed for s3"), "{faults:?}");
        assert_eq!(gateway.journal().mark(), 0);
    }
}
