//! The door that everybody can knock at.

use std::{collections::BTreeSet, fs};

use crate::template::{Template, root, target};

/// The paths that the handler's card names as its trigger.
fn paths_of_the_card() -> BTreeSet<String> {
    let handler = fs::read_to_string(root().join("functions/consent-callback/src/handler.rs")).unwrap();
    let trigger = handler.lines().find(|line| line.contains("**Trigger**")).unwrap();
    trigger.split('`').filter(|part| part.starts_with("/c")).map(str::to_owned).collect()
}

#[test]
fn the_routes_are_the_handlers_and_no_others() {
    let template = Template::shared();
    let routes: BTreeSet<&str> =
        template.all("AWS::ApiGatewayV2::Route").map(|(_, route)| route["RouteKey"].as_str().unwrap()).collect();
    let expected = ["GET /connect/{invitation}", "POST /connect/{invitation}/start", "GET /consent/callback"];
    assert_eq!(routes, BTreeSet::from(expected));
    let paths: BTreeSet<String> = routes.iter().map(|route| route.split_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(paths, paths_of_the_card());
    let (_, integration) = template.only("AWS::ApiGatewayV2::Integration");
    assert_eq!(target(&integration["IntegrationUri"]), Some(template.function("consent-callback").0));
    assert_eq!(integration["PayloadFormatVersion"], "2.0");
}

#[test]
fn the_door_is_throttled() {
    let (_, stage) = Template::shared().only("AWS::ApiGatewayV2::Stage");
    let limit = |name: &str| stage["DefaultRouteSettings"][name].as_u64().unwrap();
    assert!((1..=50).contains(&limit("ThrottlingRateLimit")) && (1..=100).contains(&limit("ThrottlingBurstLimit")));
}

/// The path of an invitation is a secret link, and the query of the callback carries codes.
#[test]
fn the_access_log_names_neither_path_nor_query() {
    let (_, stage) = Template::shared().only("AWS::ApiGatewayV2::Stage");
    let format = stage["AccessLogSettings"]["Format"].as_str().unwrap();
    let harmless = [
        "requestTime",
        "requestId",
        "routeKey",
        "status",
        "responseLatency",
        "identity.sourceIp",
        "error.message",
        "integrationErrorMessage",
    ];
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '.';
    let named: Vec<&str> =
        format.split("$context.").skip(1).map(|rest| rest.split(|letter| !is_name(letter)).next().unwrap()).collect();
    assert!(named.contains(&"routeKey") && named.contains(&"status"), "{named:?}");
    assert!(named.iter().all(|name| harmless.contains(name)), "{named:?}");
    let log = target(&stage["AccessLogSettings"]["DestinationArn"]).unwrap();
    Template::shared().properties(log, "AWS::Logs::LogGroup");
}

#[test]
fn only_this_api_may_call_the_function() {
    let template = Template::shared();
    let (function, _) = template.function("consent-callback");
    let (api, _) = template.only("AWS::ApiGatewayV2::Api");
    let permissions = template.all("AWS::Lambda::Permission");
    let of_the_api: Vec<_> = permissions.filter(|(_, of)| of["Principal"] == "apigateway.amazonaws.com").collect();
    let [(_, permission)] = of_the_api[..] else { panic!("{of_the_api:?}") };
    assert_eq!(target(&permission["FunctionName"]), Some(function));
    assert!(permission["SourceArn"]["Fn::Sub"].as_str().unwrap().contains(&format!("${{{api}}}/")));
}
