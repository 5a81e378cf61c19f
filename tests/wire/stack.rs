//! The template that ships, deployed: ministack with the functions' real binaries in it, each behind a door of the gateway.

mod answers;
mod package;

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use jiff::Timestamp;
use laboratory::{Door, Gateway, Method, Ministack, Operator, Policies, Role, Said, Trust, until};
use serde_json::{Value, json};

use self::answers::{all, between};
pub use self::package::{CANARY_SECRET_KEY, CANARY_SESSION};
use crate::{
    microsoft::Microsoft,
    programs::{kill, muster, program},
    rules::functions::names,
    template::{Template, target},
};

pub const PUBLIC_URL: &str = "https://muster.example.com";
/// The role whose token stands in for a secret.
pub const IDENTITY: &str = "EntraIdentityRole";
/// The one resource type that ministack does not know.
const STRIPPED: &str = "AWS::SecretsManager::RotationSchedule";
const STACK: &str = "muster";
const ARTIFACTS: &str = "artifacts";
const PATIENCE: Duration = Duration::from_secs(60);

/// Each feed's queue and its dead letters, in the order of `PULLERS`, by the outputs that tell their URLs.
pub const QUEUES: [[&str; 2]; 3] = [
    ["AlertsQueueUrl", "AlertsDeadLettersUrl"],
    ["MachinesQueueUrl", "MachinesDeadLettersUrl"],
    ["TelemetryQueueUrl", "TelemetryDeadLettersUrl"],
];

pub struct Stack {
    pub gateway: Gateway,
    /// At ministack itself: whoever may do everything.
    pub operator: Operator,
    pub outputs: BTreeMap<String, String>,
    /// Resources by their name in the template: what ministack calls them.
    pub physical: BTreeMap<String, String>,
    pub roles: BTreeMap<String, Role>,
    operators_door: Door,
    folder: PathBuf,
    /// Ends last.
    pub ministack: Ministack,
}

impl Stack {
    /// Deploys, with the simulator as Microsoft. The schedules are off: ministack would not fill in the time.
    pub fn deploy(microsoft: &Microsoft, further: &[(&str, &str)]) -> Self {
        let ministack = Ministack::start();
        let gateway = Gateway::before(&ministack);
        let operator = Operator::at(&ministack.endpoint());
        let folder = ministack.folder().join("functions");
        fs::create_dir(&folder).unwrap();
        make_bucket(&operator);
        let mut doors = BTreeMap::new();
        for name in names() {
            let door = gateway.door(&name);
            let package = package::of(&name, &door.endpoint(), &folder);
            put(&operator, &format!("release/{name}.zip"), package);
            doors.insert(name, door);
        }
        let [blobs, queues] =
            ["blob", "queue"].map(|service| format!("{}/storage/{{account}}/{service}", microsoft.origin));
        let mut parameters = vec![
            ("ArtifactBucket", ARTIFACTS),
            ("ArtifactPrefix", "release"),
            ("Architecture", "x86_64"),
            ("PublicUrl", PUBLIC_URL),
            ("LoginUrl", &microsoft.origin),
            ("DefenderUrl", &microsoft.origin),
            ("GraphUrl", &microsoft.origin),
            ("BlobUrl", &blobs),
            ("AzureQueueUrl", &queues),
            ("LogLevel", "DEBUG"),
            ("CanarySpacingSeconds", "0"),
            ("RotateAppSecret", "true"),
            ("Schedules", "DISABLED"),
        ];
        parameters.extend(further);
        create(&ministack, &operator, &parameters);
        let (outputs, physical) = described(&operator);
        let operators_door = gateway.door("operator");
        let mut stack =
            Self { gateway, operator, outputs, physical, roles: BTreeMap::new(), operators_door, folder, ministack };
        for (name, door) in doors {
            let role = stack.role_of(&name);
            door.judge_by(role.clone());
            stack.roles.insert(name, role);
        }
        stack.operators_door.judge_by(stack.operator_role());
        let (identity, trust) = stack.identity();
        stack.gateway.assumable(IDENTITY, identity, trust);
        stack
    }

    /// What people may do: the policy that the README tells one to attach to an operator's role.
    fn operator_role(&self) -> Role {
        let policy = &self.outputs["OperatorPolicy"];
        let fields = [("Action", "GetPolicyVersion"), ("PolicyArn", policy), ("VersionId", "v1")];
        let answer = self.operator.query("iam", &fields).text();
        let document = between(&answer, "Document").unwrap_or_else(|| panic!("{answer}"));
        let document = self.with_arns_of_secrets(serde_json::from_str(&answers::decoded(&document)).unwrap());
        let arn = format!("arn:aws:iam::{}:role/operator", Ministack::ACCOUNT);
        Role { arn, policies: Policies::read([&document]).unwrap_or_else(|why| panic!("the operator: {why}")) }
    }

    /// The role that stands for the stack at Entra, and whom it lets in.
    fn identity(&self) -> (Role, Trust) {
        let role = self.role(IDENTITY);
        let fields = [("Action", "GetRole"), ("RoleName", &self.physical[IDENTITY])];
        let answer = self.operator.query("iam", &fields).text();
        let document = between(&answer, "AssumeRolePolicyDocument").unwrap_or_else(|| panic!("{answer}"));
        let document = serde_json::from_str(&answers::decoded(&document)).unwrap();
        (role, Trust::read(&document).unwrap_or_else(|why| panic!("{IDENTITY}: {why}")))
    }

    /// What the identity may do.
    pub fn identity_policies(&self) -> Policies {
        self.role(IDENTITY).policies
    }

    /// What the deployed role of a function may do.
    fn role_of(&self, function: &str) -> Role {
        self.role(target(&Template::shared().function(function).1["Role"]).unwrap())
    }

    /// What a deployed role may do.
    fn role(&self, logical: &str) -> Role {
        let template = Template::shared();
        let role = &self.physical[logical];
        let policies = template.properties(logical, "AWS::IAM::Role")["Policies"].as_array().unwrap();
        let documents: Vec<Value> = policies
            .iter()
            .map(|policy| {
                let name = policy["PolicyName"].as_str().unwrap();
                let fields = [("Action", "GetRolePolicy"), ("RoleName", role), ("PolicyName", name)];
                let answer = self.operator.query("iam", &fields);
                let document = between(&answer.text(), "PolicyDocument").unwrap_or_else(|| panic!("{}", answer.text()));
                serde_json::from_str(&answers::decoded(&document)).unwrap()
            })
            .map(|document| self.with_arns_of_secrets(document))
            .collect();
        let arn = format!("arn:aws:iam::{}:role/{role}", Ministack::ACCOUNT);
        Role { arn, policies: Policies::read(&documents).unwrap_or_else(|why| panic!("{logical}: {why}")) }
    }

    /// `Ref` of a secret is its ARN (CloudFormation's reference); ministack gives its name.
    fn with_arns_of_secrets(&self, document: Value) -> Value {
        let mut text = document.to_string();
        for (logical, _) in Template::shared().all("AWS::SecretsManager::Secret") {
            let name = &self.physical[logical];
            let secret = self.secret(name);
            text = text.replace(&format!("\"{name}\""), &secret["ARN"].to_string());
        }
        serde_json::from_str(&text).unwrap()
    }

    /// What `DescribeSecret` tells.
    pub fn secret(&self, name: &str) -> Value {
        self.operator.json("secretsmanager", "secretsmanager.DescribeSecret", &json!({"SecretId": name})).json()
    }

    /// The version of a secret that is current.
    pub fn current(&self, name: &str) -> String {
        self.labelled(name, "AWSCURRENT")
    }

    /// The version of a secret that bears this label.
    pub fn labelled(&self, name: &str, label: &str) -> String {
        let secret = self.secret(name);
        let mut versions = secret["VersionIdsToStages"].as_object().into_iter().flatten();
        let found =
            versions.find(|(_, labels)| labels.as_array().is_some_and(|labels| labels.iter().any(|it| it == label)));
        found.unwrap_or_else(|| panic!("no version is {label}: {secret}")).0.clone()
    }

    /// Invokes a function and waits for its answer.
    pub fn invoke(&self, function: &str, event: &Value) -> Result<Value, Value> {
        let target = format!("/2015-03-31/functions/{STACK}-{function}/invocations");
        let said = self.operator.send("lambda", Method::POST, &target, &[], event.to_string().into_bytes());
        let answer = serde_json::from_slice(&said.body).unwrap_or_else(|_| panic!("{function}: {}", said.text()));
        if said.function_error.is_some() || said.status >= 300 { Err(answer) } else { Ok(answer) }
    }

    /// What the daily check reports.
    pub fn daily_check(&self) -> Value {
        let event = json!({"check": "credentials", "scheduled_time": Timestamp::now()});
        self.invoke("credential-rotation", &event).unwrap()
    }

    /// One request of a browser or a script to the HTTP API.
    pub fn knock(&self, method: Method, path_and_query: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Said {
        let host = self.outputs["PublicApiEndpoint"].split("//").nth(1).unwrap();
        self.operator.unsigned(method, path_and_query, &[&[("host", host)], headers].concat(), body)
    }

    /// `muster … --aws`, with the environment that the stack's output tells an operator to say.
    pub fn muster(&self, words: &[&str], input: &str) -> String {
        let said = &self.outputs["OperatorEnvironment"];
        let pairs = said.strip_prefix("export ").unwrap().split_whitespace();
        let mut environment: BTreeMap<String, String> = pairs
            .map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
            .collect();
        environment.insert("AWS_ENDPOINT_URL".to_owned(), self.operators_door.endpoint());
        environment.insert("AWS_ACCESS_KEY_ID".to_owned(), "AKIAOPERATOR".to_owned());
        environment.insert("AWS_SECRET_ACCESS_KEY".to_owned(), CANARY_SECRET_KEY.to_owned());
        let output = muster(&[words, &["--aws"]].concat(), &environment, input);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `muster tenants` says of one tenant.
    pub fn tenant(&self, id: &str) -> Value {
        let all: Value = serde_json::from_str(&self.muster(&["tenants", "--json"], "")).unwrap();
        let found = all.as_array().unwrap().iter().find(|tenant| tenant["tenant_id"] == id);
        found.cloned().unwrap_or(Value::Null)
    }

    /// What ends every environment of a function, whichever are there when it is called.
    pub fn killer(&self, function: &str) -> impl FnOnce() + Send + 'static {
        let (file, program) = (self.folder.join(format!("{function}.pids")), program(function));
        move || fs::read_to_string(file).unwrap().lines().for_each(|process| kill(process, program))
    }

    /// Everything that a function has written.
    pub fn output(&self, function: &str) -> String {
        let file = self.folder.join(format!("{function}.log"));
        String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
    }

    /// An attribute of a queue.
    pub fn queue_attribute(&self, url: &str, name: &str) -> String {
        let body = json!({"QueueUrl": url, "AttributeNames": ["All"]});
        let answer = self.operator.json("sqs", "AmazonSQS.GetQueueAttributes", &body).json();
        answer["Attributes"][name].as_str().unwrap_or_default().to_owned()
    }

    /// How many messages wait in a queue or are being handled.
    pub fn waiting(&self, output: &str) -> u32 {
        let count = |name: &str| self.queue_attribute(&self.outputs[output], name).parse::<u32>().unwrap();
        count("ApproximateNumberOfMessages") + count("ApproximateNumberOfMessagesNotVisible")
    }

    /// Forgets the messages of every feed, those included that are being handled.
    pub fn purge(&self) {
        for [queue, _] in QUEUES {
            let body = json!({"QueueUrl": self.outputs[queue]});
            self.operator.json("sqs", "AmazonSQS.PurgeQueue", &body);
            assert_eq!(self.waiting(queue), 0, "{queue}");
        }
    }

    /// Waits until nothing is left to pull, of any feed.
    pub fn drained(&self) {
        let waiting = || QUEUES.iter().map(|[queue, _]| self.waiting(queue)).sum::<u32>();
        until("the queues are empty", PATIENCE, || (waiting() == 0).then_some(()));
    }

    /// Nothing has failed so often that nobody tries it any more.
    #[track_caller]
    pub fn no_dead_letters(&self) {
        for [_, dead] in QUEUES {
            assert_eq!(self.waiting(dead), 0, "{dead}");
        }
    }

    /// The objects under a prefix of the lake, each with what it holds.
    pub fn objects(&self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let bucket = &self.outputs["LakeBucket"];
        let listed = format!("/{bucket}?list-type=2&prefix={prefix}");
        let listed = self.operator.send("s3", Method::GET, &listed, &[], Vec::new()).text();
        let object = |key: String| {
            let target = format!("/{bucket}/{}", answers::encoded(&key));
            let got = self.operator.send("s3", Method::GET, &target, &[], Vec::new());
            assert_eq!(got.status, 200, "{key}: {}", got.text());
            (key, got.body)
        };
        all(&listed, "Key").into_iter().map(object).collect()
    }

    /// Puts an item that says nothing into the table, laid out as all are.
    pub fn put_item(&self, partition: &str, sort: &str) {
        let item = json!({"pk": {"S": partition}, "sk": {"S": sort}, "layout": {"N": "1"}, "version": {"N": "1"},
                          "value": {"S": "{}"}});
        let body = json!({"TableName": self.outputs["StateTableName"], "Item": item});
        let put = self.operator.json("dynamodb", "DynamoDB_20120810.PutItem", &body);
        assert_eq!(put.status, 200, "{}", put.text());
    }

    /// What an item of the table says.
    pub fn item(&self, partition: &str, sort: &str) -> Value {
        value_of(&self.whole_item(partition, sort))
    }

    /// Changes what an item of the table says, and nothing else of it.
    pub fn change_item(&self, partition: &str, sort: &str, change: impl FnOnce(&mut Value)) {
        let mut item = self.whole_item(partition, sort);
        let mut value = value_of(&item);
        change(&mut value);
        item["value"]["S"] = value.to_string().into();
        let body = json!({"TableName": self.outputs["StateTableName"], "Item": item});
        self.operator.json("dynamodb", "DynamoDB_20120810.PutItem", &body).json();
    }

    fn whole_item(&self, partition: &str, sort: &str) -> Value {
        let key = json!({"pk": {"S": partition}, "sk": {"S": sort}});
        let body = json!({"TableName": self.outputs["StateTableName"], "Key": key});
        self.operator.json("dynamodb", "DynamoDB_20120810.GetItem", &body).json()["Item"].take()
    }

    /// Everything in the table.
    pub fn items(&self) -> Value {
        let body = json!({"TableName": self.outputs["StateTableName"]});
        self.operator.json("dynamodb", "DynamoDB_20120810.Scan", &body).json()["Items"].clone()
    }
}

fn value_of(item: &Value) -> Value {
    serde_json::from_str(item["value"]["S"].as_str().unwrap()).unwrap()
}

fn make_bucket(operator: &Operator) {
    let here = format!(
        "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
        Ministack::REGION
    );
    let made = operator.send("s3", Method::PUT, &format!("/{ARTIFACTS}"), &[], here.into_bytes());
    assert_eq!(made.status, 200, "{}", made.text());
}

fn put(operator: &Operator, key: &str, bytes: Vec<u8>) {
    let put = operator.send("s3", Method::PUT, &format!("/{ARTIFACTS}/{key}"), &[], bytes);
    assert_eq!(put.status, 200, "{key}: {}", put.text());
}

/// The template as ministack can take it: whole, but for one type of resource.
fn template() -> Vec<u8> {
    let mut template = Template::shared().json.clone();
    let resources = template["Resources"].as_object_mut().unwrap();
    let before = resources.len();
    resources.retain(|_, resource| resource["Type"] != STRIPPED);
    assert_eq!(before - resources.len(), 1, "one resource is stripped, and no more");
    template.to_string().into_bytes()
}

fn create(ministack: &Ministack, operator: &Operator, parameters: &[(&str, &str)]) {
    put(operator, "template.json", template());
    let url = format!("{}/{ARTIFACTS}/template.json", ministack.endpoint());
    let mut fields = vec![
        ("Action".to_owned(), "CreateStack".to_owned()),
        ("StackName".to_owned(), STACK.to_owned()),
        ("TemplateURL".to_owned(), url),
        ("Capabilities.member.1".to_owned(), "CAPABILITY_NAMED_IAM".to_owned()),
    ];
    for (number, (key, value)) in parameters.iter().enumerate() {
        let member = format!("Parameters.member.{}", number + 1);
        fields.push((format!("{member}.ParameterKey"), (*key).to_owned()));
        fields.push((format!("{member}.ParameterValue"), (*value).to_owned()));
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let created = operator.query("cloudformation", &fields);
    assert_eq!(created.status, 200, "{}", created.text());
    let status = until("the stack is there", PATIENCE, || {
        let answer = operator.query("cloudformation", &[("Action", "DescribeStacks"), ("StackName", STACK)]).text();
        between(&answer, "StackStatus").filter(|status| !status.ends_with("_IN_PROGRESS"))
    });
    let events = || operator.query("cloudformation", &[("Action", "DescribeStackEvents"), ("StackName", STACK)]).text();
    assert_eq!(status, "CREATE_COMPLETE", "{}", events());
}

/// The stack's outputs, and what each resource is called.
fn described(operator: &Operator) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let ask = |action: &str| operator.query("cloudformation", &[("Action", action), ("StackName", STACK)]).text();
    let (stack, resources) = (ask("DescribeStacks"), ask("DescribeStackResources"));
    let pairs = |text: &str, names: &str, values: &str| -> BTreeMap<String, String> {
        all(text, names).into_iter().zip(all(text, values)).collect()
    };
    (pairs(&stack, "OutputKey", "OutputValue"), pairs(&resources, "LogicalResourceId", "PhysicalResourceId"))
}
