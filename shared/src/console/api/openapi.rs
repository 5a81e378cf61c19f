//! The OpenAPI 3.1 document, made of the table of calls and of the types that they take and give.

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{calls::Call, problem::Problem};

/// What every call may answer instead of its own.
const ALWAYS: [u16; 3] = [401, 403, 503];

/// The whole document.
pub fn document(calls: &[Call]) -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = SchemaGenerator::new(settings);
    let problem = schemas.subschema_for::<Problem>();
    let mut paths = Map::new();
    for call in calls {
        let path = paths.entry(call.path).or_insert_with(|| json!({}));
        path[call.method.to_lowercase()] = operation(call, &mut schemas, problem.as_value());
    }
    paths.insert("/api/health".to_owned(), json!({ "get": open("For probes; no detail") }));
    paths.insert("/api/openapi.json".to_owned(), json!({ "get": open("This document") }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Muster",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The console's API. Sign in with an Entra access token of the provider's own tenant for the console's \
                            application; the caller needs the app role Muster.Reader to look, Muster.Operator to change.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
        "security": [{ "bearer": [] }],
    })
}

fn operation(call: &Call, schemas: &mut SchemaGenerator, problem: &Value) -> Value {
    let (status, gives) = call.gives;
    let mut responses = Map::new();
    responses.insert(
        status.to_string(),
        json!({
            "description": "Done",
            "content": { "application/json": { "schema": gives(schemas) } },
        }),
    );
    for refused in
        ALWAYS.iter().chain(call.refuses).chain(call.takes.map(|_| [400, 413, 415].as_slice()).unwrap_or_default())
    {
        responses.insert(
            refused.to_string(),
            json!({
                "description": "A problem, with what to do about it",
                "content": { "application/problem+json": { "schema": problem } },
            }),
        );
    }
    let mut operation = json!({
        "operationId": operation_id(call),
        "summary": call.summary,
        "description": format!("Needs the app role {}.", call.role.app_role()),
        "responses": responses,
    });
    let in_path = call.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } })
    });
    let in_query = call.query.iter().map(
        |(name, what)| json!({ "name": name, "in": "query", "description": what, "schema": { "type": "string" } }),
    );
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(takes) = call.takes {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": takes(schemas) } },
        });
    }
    operation
}

/// Such as `post_tenants_id_pull`.
fn operation_id(call: &Call) -> String {
    let path = call.path.trim_start_matches("/api/").replace(['{', '}'], "").replace('/', "_");
    format!("{}_{path}", call.method.to_lowercase())
}

fn open(summary: &str) -> Value {
    json!({ "summary": summary, "security": [], "responses": { "200": { "description": "Done" } } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::api::calls::CALLS;

    #[test]
    fn the_document_names_every_call_and_every_schema_it_refers_to() {
        let document = document(CALLS);
        for call in CALLS {
            let operation = &document["paths"][call.path][call.method.to_lowercase()];
            assert_eq!(operation["summary"], call.summary, "{} {}", call.method, call.path);
        }
        let text = document.to_string();
        let references = text.split(r##""$ref":"#"##).skip(1).map(|rest| &rest[..rest.find('"').unwrap()]);
        let mut count = 0;
        for pointer in references {
            assert!(document.pointer(pointer).is_some(), "{pointer} is missing");
            count += 1;
        }
        assert!(count > 10);
    }

    #[test]
    fn every_schema_is_one() {
        let document = document(CALLS);
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            let whole = json!({ "$ref": format!("#/components/schemas/{name}"), "components": document["components"] });
            assert!(jsonschema::draft202012::new(&whole).is_ok(), "{name}: {schema}");
        }
    }
}
