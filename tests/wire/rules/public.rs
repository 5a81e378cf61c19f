//! The door that everybody can knock at.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::template::{Template, root, target};

/// The paths that the consent's card names as its trigger.
fn paths_of_the_card() -> BTreeSet<String> {
    let handler = fs::read_to_string(root().join("functions/consent-callback/src/handler.rs")).unwrap();
    let trigger = handler.lines().find(|line| line.contains("**Trigger**")).unwrap();
    trigger.split('`').filter(|part| part.starts_with("/c")).map(str::to_owned).collect()
}

/// The routes that lead to a function.
fn routes_to(function: &str) -> BTreeSet<&'static str> {
    let template = Template::shared();
    let leads = |route: &&(&str, &'static Value)| {
        let integration = target(&route.1["Target"]).unwrap();
        let integration = template.properties(integration, "AWS::ApiGatewayV2::Integration");
        target(&integration["IntegrationUri"]) == Some(template.function(function).0)
    };
    let routes: Vec<_> = template.all("AWS::ApiGatewayV2::Route").collect();
    routes.iter().filter(leads).map(|(_, route)| route["RouteKey"].as_str().unwrap()).collect()
}

#[test]
fn the_consents_routes_are_its_handlers_and_everything_else_is_the_consoles() {
    let consents = routes_to("consent-callback");
    let expected = ["GET /connect/{invitation}", "POST /connect/{invitation}/start", "GET /consent/callback"];
    assert_eq!(consents, BTreeSet::from(expected));
    let paths: BTreeSet<String> = consents.iter().map(|route| route.split_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(paths, paths_of_the_card());
    let consoles = routes_to("console");
    assert_eq!(consoles, BTreeSet::from(["$default", "GET /api/health", "GET /renew/{link}", "POST /renew/{link}"]));
    let template = Template::shared();
    assert_eq!(template.all("AWS::ApiGatewayV2::Route").count(), consents.len() + consoles.len());
    for (name, integration) in template.all("AWS::ApiGatewayV2::Integration") {
        assert_eq!(integration["PayloadFormatVersion"], "2.0", "{name}");
    }
}

#[test]
fn the_door_is_throttled() {
    let (_, stage) = Template::shared().only("AWS::ApiGatewayV2::Stage");
    let limit = |name: &str| stage["DefaultRouteSettings"][name].as_u64().unwrap();
    assert!((1..=50).contains(&limit("ThrottlingRateLimit")) && (1..=100).contains(&limit("ThrottlingBurstLimit")));
}

/// The path of an invitation is a secret link, and the queries of both callbacks carry codes.
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
fn only_this_api_may_call_the_functions_behind_it() {
    let template = Template::shared();
    let (api, _) = template.only("AWS::ApiGatewayV2::Api");
    let permissions = template.all("AWS::Lambda::Permission").map(|(_, of)| of);
    let of_the_api: Vec<_> = permissions.filter(|of| of["Principal"] == "apigateway.amazonaws.com").collect();
    let functions: Vec<_> = of_the_api.iter().filter_map(|of| target(&of["FunctionName"])).collect();
    assert_eq!(functions, ["consent-callback", "console"].map(|name| template.function(name).0));
    for permission in of_the_api {
        assert!(permission["SourceArn"]["Fn::Sub"].as_str().unwrap().contains(&format!("${{{api}}}/")));
    }
}
