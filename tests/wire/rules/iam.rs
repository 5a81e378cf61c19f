//! Least privilege, as far as it can be read. `tests/wire/story` proves the rest by use.

use serde_json::{Value, json};
use shared::{cloud::Cloud, ports::vault::RECOVERY};

use super::functions::PULLERS;
use crate::template::{Template, list, target};

/// What people may do; everything else is a role's.
const OPERATOR: &str = "Operator";
/// What the stack is at Entra.
const IDENTITY: &str = "EntraIdentityRole";

/// The statements of every role and of the operator, each with the name of whose they are.
fn statements() -> Vec<(&'static str, &'static Value)> {
    let roles = Template::shared().all("AWS::IAM::Role");
    let policies = roles.flat_map(|(role, of)| list(&of["Policies"]).into_iter().map(move |policy| (role, policy)));
    let people = Template::shared().all("AWS::IAM::ManagedPolicy");
    policies
        .chain(people)
        .flat_map(|(role, policy)| list(&policy["PolicyDocument"]["Statement"]).into_iter().map(move |of| (role, of)))
        .collect()
}

fn actions(statement: &Value) -> Vec<&str> {
    list(&statement["Action"]).into_iter().map(|action| action.as_str().unwrap()).collect()
}

/// Statements about actions of a service.
fn of_service(service: &str) -> Vec<(&'static str, &'static Value)> {
    let mut found = statements();
    found.retain(|(_, statement)| actions(statement).iter().any(|action| action.starts_with(service)));
    assert!(!found.is_empty(), "nobody may do anything with {service}");
    found
}

/// The functions' roles.
fn role_of(function: &str) -> &'static str {
    target(&Template::shared().function(function).1["Role"]).unwrap()
}

#[test]
fn every_function_has_a_role_of_its_own_and_only_lambda_takes_it() {
    let template = Template::shared();
    let mut roles: Vec<&str> = super::functions::names().iter().map(|name| role_of(name)).collect();
    roles.sort_unstable();
    let functions = roles.len();
    roles.dedup();
    assert_eq!(roles.len(), functions, "two functions share a role");
    for (name, role) in template.all("AWS::IAM::Role") {
        assert!(role["ManagedPolicyArns"].is_null(), "{name}: a managed policy grants what nobody here has read");
        let trusted = &role["AssumeRolePolicyDocument"]["Statement"];
        if name == IDENTITY {
            continue;
        }
        let service = if roles.contains(&name) { "lambda.amazonaws.com" } else { "scheduler.amazonaws.com" };
        assert_eq!(list(trusted).len(), 1, "{name}");
        assert_eq!(list(trusted)[0]["Principal"], json!({"Service": service}), "{name}");
    }
    for kind in ["AWS::IAM::Policy", "AWS::IAM::RolePolicy"] {
        assert_eq!(template.all(kind).count(), 0, "policies stand in their roles, where one looks for them");
    }
}

/// The functions that ask Entra for tokens: all but the one that never does.
fn askers() -> Vec<&'static str> {
    let names = super::functions::names();
    names.iter().filter(|name| *name != "pull-dispatch").map(|name| role_of(name)).collect()
}

/// Whoever assumes it is Muster to every customer.
#[test]
fn the_identity_is_assumed_by_who_asks_entra_and_may_ask_for_that_one_token() {
    let role = Template::shared().properties(IDENTITY, "AWS::IAM::Role");
    // Its ARN is the subject of its tokens, and Entra compares that to the letter.
    assert_eq!(role["RoleName"], json!({"Fn::Sub": "${AWS::StackName}-entra-identity"}));
    let trust = list(&role["AssumeRolePolicyDocument"]["Statement"]);
    let [functions, people] = trust[..] else { panic!("{trust:?}") };
    let mut trusted: Vec<&str> = list(&functions["Principal"]["AWS"]).into_iter().filter_map(target).collect();
    trusted.sort_unstable();
    let mut askers = askers();
    askers.sort_unstable();
    assert_eq!(trusted, askers);
    assert_eq!(people["Principal"], json!({"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}));
    let narrowed = json!({"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:${Operators}"});
    assert_eq!(people["Condition"], json!({"ArnLike": {"aws:PrincipalArn": narrowed}}));
    let assumed =
        format!("arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:{}", "role/${AWS::StackName}-entra-identity");
    for cloud in Cloud::ALL {
        let audience = &Template::shared().json["Mappings"]["Clouds"][cloud.name()]["TokenAudience"];
        assert_eq!(audience, cloud.token_exchange());
    }
    let (mut assuming, mut asking) = (Vec::new(), Vec::new());
    for (role, statement) in of_service("sts:") {
        match actions(statement)[..] {
            ["sts:AssumeRole"] => {
                let resource = &statement["Resource"];
                let is_it = *resource == json!({"Fn::Sub": assumed}) || target(resource) == Some(IDENTITY);
                assert!(is_it, "{role}: {resource}");
                assuming.push(role);
            }
            ["sts:GetWebIdentityToken"] => {
                let condition = json!({
                    "ForAllValues:StringEquals": {"sts:IdentityTokenAudience": {"Fn::FindInMap": ["Clouds", {"Ref": "Cloud"}, "TokenAudience"]}},
                    "StringEquals": {"sts:SigningAlgorithm": "RS256"},
                    "NumericLessThanEquals": {"sts:DurationSeconds": "300"},
                });
                assert_eq!(statement["Condition"], condition, "{role}");
                asking.push(role);
            }
            ref others => panic!("{role}: {others:?}"),
        }
    }
    assuming.sort_unstable();
    askers.push(OPERATOR);
    askers.sort_unstable();
    assert_eq!((assuming, asking), (askers, vec![IDENTITY]));
    assert_eq!(statements().into_iter().filter(|(role, _)| *role == IDENTITY).count(), 1, "and nothing else");
}

#[test]
fn the_operators_policy_is_attached_to_nobody_here() {
    let (name, policy) = Template::shared().only("AWS::IAM::ManagedPolicy");
    assert_eq!(name, OPERATOR);
    for whom in ["Roles", "Users", "Groups"] {
        assert!(policy[whom].is_null(), "{whom}: who operates, the account knows");
    }
}

#[test]
fn no_action_has_a_wildcard() {
    for (role, statement) in statements() {
        assert!(statement["NotAction"].is_null() && statement["NotResource"].is_null(), "{role}: {statement}");
        for action in actions(statement) {
            assert!(!action.contains(['*', '?']), "{role}: {action}");
        }
    }
}

/// A line `Resource: "*"` needs a comment: in its statement, right above it, or right above its list of statements.
#[test]
fn a_star_has_its_reason_beside_it() {
    let lines: Vec<&str> = Template::shared().text.lines().map(str::trim).collect();
    let stars = |line: &&str| line.starts_with("Resource: \"*\"") || *line == "- \"*\"";
    let mut found = 0;
    for (number, _) in lines.iter().enumerate().filter(|(_, line)| stars(line)) {
        let statement = (0..number).rev().find(|at| lines[*at].starts_with("- Sid:")).unwrap();
        let first = (0..number).rev().find(|at| lines[*at] == "Statement:").unwrap() + 1;
        let reasoned = |from: usize| lines[from..number].iter().any(|line| line.starts_with('#'));
        // A key's own policy means the key by `*`, in each of its statements; it says so once.
        let key_policy = lines[first - 3] == "KeyPolicy:";
        let begin = if key_policy { first } else { statement - 1 };
        assert!(reasoned(begin), "line {}: a `*` without a reason beside it", number + 1);
        found += 1;
    }
    let in_policies = Template::shared().json["Resources"].to_string().matches("\"Resource\":\"*\"").count();
    assert!(found > 0 && found == in_policies, "{found} of {in_policies} are written as this test sees them");
    let without_level = ["secretsmanager:ListSecrets", "sts:GetWebIdentityToken"];
    for (role, statement) in statements().into_iter().filter(|(_, of)| list(&of["Resource"]).contains(&&json!("*"))) {
        let needless: Vec<_> =
            actions(statement).into_iter().filter(|action| !without_level.contains(action)).collect();
        assert!(needless.is_empty(), "{role}: {needless:?} know resources");
    }
}

/// Whether a statement lets somebody change what a secret holds, or whether it is there.
fn writes(statement: &Value) -> bool {
    let reads = ["GetSecretValue", "DescribeSecret", "ListSecrets", "ListSecretVersionIds"];
    actions(statement).iter().any(|action| !reads.contains(&action.split(':').nth(1).unwrap()))
}

#[test]
fn a_secret_is_read_by_label_and_kept_by_the_rotator_and_people_alone() {
    let (rotator, console) = (role_of("credential-rotation"), role_of("console"));
    let keeper = |role: &str| role == rotator || role == OPERATOR;
    for (role, statement) in of_service("secretsmanager:") {
        if actions(statement) == ["secretsmanager:ListSecrets"] {
            continue;
        }
        let resources = list(&statement["Resource"]);
        for resource in &resources {
            let arn = resource["Fn::Sub"].as_str().unwrap_or_default();
            let ends = |kinds: &[&str]| kinds.iter().any(|kind| arn.ends_with(kind));
            let one = ends(&["/app-??????", "/console-??????"]);
            let folder = ends(&["/apps/*-??????", "/tenants/*-??????", "/apps/*", "/tenants/*"]);
            // A name without the six letters is no secret's ARN, but how AWS names one that is not there (yet).
            let marked = resources.iter().any(|other| other["Fn::Sub"] == format!("{arn}-??????"));
            let asks = role == OPERATOR || actions(statement) == ["secretsmanager:GetSecretValue"];
            let bare = ends(&["/app", "/console"]) && marked && asks;
            let made_here = target(resource).is_some_and(|name| name == "SigningKey");
            assert!(one || folder || bare || made_here, "{role}: {resource} is more than is meant, or nothing");
            assert!(!(made_here && (role == rotator || writes(statement))), "{role}: nobody writes the signing key");
        }
        if actions(statement).contains(&"secretsmanager:GetSecretValue") {
            assert_eq!(actions(statement).len(), 1, "{role}: only reads have a label to be judged by");
            let stages = &statement["Condition"]["StringEquals"]["secretsmanager:VersionStage"];
            let stages: Vec<&str> = list(stages).into_iter().map(|stage| stage.as_str().unwrap()).collect();
            assert!(stages.contains(&"AWSCURRENT"), "{role}: {stages:?}");
            assert_eq!(stages.contains(&"AWSPENDING"), keeper(role), "{role}: {stages:?}");
        }
        let of_tenants =
            resources.iter().all(|of| of["Fn::Sub"].as_str().is_some_and(|arn| arn.ends_with("/tenants/*")));
        let may_write = keeper(role) || (role == console && of_tenants);
        assert!(!writes(statement) || may_write, "{role} writes secrets");
    }
}

/// A secret goes with the tenant that brought it, and can be restored for as long as there is.
#[test]
fn only_tenants_secrets_are_removed_and_always_for_a_month() {
    let mut removers = Vec::new();
    for (role, statement) in of_service("secretsmanager:") {
        let is_about = |action: &str| actions(statement).contains(&action);
        if is_about("secretsmanager:DeleteSecret") || is_about("secretsmanager:RestoreSecret") {
            for resource in list(&statement["Resource"]) {
                assert!(
                    resource["Fn::Sub"].as_str().unwrap().ends_with("${SecretsPrefix}/tenants/*"),
                    "{role}: {resource}"
                );
            }
        }
        if is_about("secretsmanager:DeleteSecret") {
            let days = (RECOVERY.as_hours() / 24).to_string();
            let window = json!({"NumericEquals": {"secretsmanager:RecoveryWindowInDays": days}});
            assert_eq!(statement["Condition"], window, "{role}");
            removers.push(role);
        }
    }
    assert_eq!(removers, [role_of("console"), OPERATOR]);
}

/// The folders of the lake that a statement is about.
fn folders(statement: &Value) -> Vec<&str> {
    let resources = list(&statement["Resource"]).into_iter();
    resources.map(|of| of["Fn::Sub"].as_str().and_then(|of| of.strip_prefix("${Lake.Arn}/")).unwrap()).collect()
}

/// And of those, what the state points to is all that anybody may delete.
#[test]
fn a_puller_works_in_its_own_folders_of_the_lake_and_everybody_else_in_none() {
    let mut deleters = Vec::new();
    let console = role_of("console");
    for (role, statement) in of_service("s3:").into_iter().filter(|(role, _)| *role != console) {
        let (feed, _) = *PULLERS.iter().find(|(_, name)| role_of(name) == role).unwrap_or_else(|| panic!("{role}"));
        if actions(statement) == ["s3:ListBucket"] {
            assert_eq!(statement["Resource"], json!({"Fn::GetAtt": ["Lake", "Arn"]}), "{role}");
            continue;
        }
        let (records, bad) = (format!("{feed}/*"), format!("quarantine/{feed}/*"));
        let kept = format!("snapshots/{feed}/*");
        let [action] = actions(statement)[..] else { panic!("{role}: {statement}") };
        let mut expected = match action {
            "s3:PutObject" => vec![records.as_str(), bad.as_str(), kept.as_str()],
            "s3:GetObject" => vec![records.as_str(), kept.as_str()],
            "s3:DeleteObject" => vec![kept.as_str()],
            other => panic!("{role} may {other}"),
        };
        // What is seen of alerts fits into items.
        expected.retain(|folder| feed != "alerts" || *folder != kept);
        assert_eq!(folders(statement), expected, "{role}: {action}");
        deleters.extend((action == "s3:DeleteObject").then_some(role));
    }
    assert_eq!(deleters, [role_of("machine-pull"), role_of("telemetry-drain")]);
}

/// A removal settles what workers have left open. It reads no snapshot, and writes no quarantine.
#[test]
fn the_console_touches_the_lake_as_the_successor_of_dead_workers_does_and_no_further() {
    let console = role_of("console");
    let of_it = of_service("s3:").into_iter().filter(|(role, _)| *role == console).map(|(_, statement)| statement);
    let records = ["alerts/*", "machines/*", "telemetry/*"];
    let snapshots = ["snapshots/machines/*", "snapshots/telemetry/*"];
    for statement in of_it {
        match actions(statement)[..] {
            ["s3:ListBucket"] => assert_eq!(statement["Resource"], json!({"Fn::GetAtt": ["Lake", "Arn"]})),
            ["s3:GetObject", "s3:PutObject"] => assert_eq!(folders(statement), records),
            ["s3:PutObject"] => assert_eq!(folders(statement), snapshots[..1]),
            ["s3:DeleteObject"] => assert_eq!(folders(statement), snapshots),
            ref others => panic!("{others:?}"),
        }
    }
}

#[test]
fn the_table_is_opened_partition_by_partition_and_never_scanned() {
    for (role, statement) in of_service("dynamodb:") {
        let keys = &statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
        assert!(list(keys).iter().all(|key| key.as_str().is_some_and(|key| key.len() > 2)), "{role}: {keys}");
        // `ForAllValues` is true of a call that names no key at all, and these are the calls that may name none.
        let keyless = ["dynamodb:Scan", "dynamodb:PartiQLSelect", "dynamodb:DescribeTable"];
        assert!(actions(statement).iter().all(|action| !keyless.contains(action)), "{role}: {statement}");
        if actions(statement).contains(&"dynamodb:DeleteItem") {
            let deleters = ["telemetry-drain", "console"].map(role_of);
            assert!(deleters.contains(&role) && list(keys) == [&json!("tenant#*")], "{role}: {keys}");
        }
    }
}

/// Entries of the trail are added by whoever does what it tells of. Nobody takes one away.
#[test]
fn the_trail_is_only_added_to() {
    let mut writers = Vec::new();
    for (role, statement) in of_service("dynamodb:") {
        let keys = &statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
        if list(keys).contains(&&json!("audit#*")) {
            assert_eq!(list(keys).len(), 1, "{role}: {keys}");
            let reads = role == role_of("console");
            let expected = if reads { &["dynamodb:Query", "dynamodb:PutItem"][..] } else { &["dynamodb:PutItem"] };
            assert_eq!(actions(statement), expected, "{role}");
            writers.push(role);
        }
    }
    assert_eq!(writers, [role_of("consent-callback"), role_of("console"), role_of("credential-rotation"), OPERATOR]);
}
