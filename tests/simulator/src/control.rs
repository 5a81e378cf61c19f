//! Control routes under `/_simulator/`, for users outside Rust: what `Simulator` offers, as JSON over HTTP.

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::app_role_file::AssignmentFile;
use crate::fault::{Fault, Route};
use crate::http::{Request, Response};
use crate::sign_in::Choice;
use crate::simulator::Simulator;
use crate::storage_file::{BlobFile, StorageFile};
use crate::world_file::{AlertFile, ApplicationFile, IssuerFile, TenantFile};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clock {
    advance_seconds: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Faults {
    route: Route,
    tenant: Option<String>,
    faults: Vec<Fault>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PutAlert {
    tenant: String,
    alert: AlertFile,
}

/// A block for a blob of this account.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Append {
    account: String,
    blob: BlobFile,
}

/// An admin of this tenant assigns somebody there to an application.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Assign {
    tenant: String,
    assignment: AssignmentFile,
}

/// A person before a page of Entra.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Browse {
    url: String,
    choice: Choice,
    user: Option<String>,
}

/// These requests are neither logged nor counted as refusals.
pub(crate) fn handle(simulator: &Simulator, request: &Request) -> Response {
    let answer = match (request.method.as_str(), request.path()) {
        ("GET", "/_simulator/log") => Ok(json!(simulator.log())),
        ("GET", "/_simulator/refusals") => Ok(json!(simulator.refusals())),
        ("POST", "/_simulator/clock") => read(request).map(|Clock { advance_seconds }| {
            simulator.advance(SignedDuration::from_secs(advance_seconds));
            json!({"now": simulator.now()})
        }),
        ("POST", "/_simulator/faults") => read(request).map(|Faults { route, tenant, faults }| {
            simulator.world(|world| match tenant {
                Some(tenant) => world.script_tenant(&tenant, route, faults),
                None => world.script(route, faults),
            });
            done()
        }),
        ("POST", "/_simulator/tenants") => read(request).and_then(|tenant: TenantFile| {
            simulator.world(|world| tenant.add_to(world))?;
            Ok(done())
        }),
        ("POST", "/_simulator/assignments") => read(request).and_then(|Assign { tenant, assignment }| {
            simulator.world(|world| world.assign(&tenant, assignment.build()?))?;
            Ok(done())
        }),
        ("POST", "/_simulator/applications") => read(request).and_then(|application: ApplicationFile| {
            simulator.world(|world| application.add_to(world))?;
            Ok(done())
        }),
        ("POST", "/_simulator/issuers") => read(request).map(|issuer: IssuerFile| {
            simulator.world(|world| issuer.add_to(world));
            done()
        }),
        ("POST", "/_simulator/browser") => read(request).map(|Browse { url, choice, user }| {
            let response = simulator.choose(&url, choice, user.as_deref());
            json!({"status": response.status, "location": response.header("location")})
        }),
        ("POST", "/_simulator/alerts") => read(request).and_then(|PutAlert { tenant, alert }| {
            simulator.world(|world| {
                let now = world.now;
                let found = world.tenant(&tenant).ok_or_else(|| format!("there is no tenant {tenant}"))?;
                found.alerts.put(alert.build(now));
                Ok(done())
            })
        }),
        ("POST", "/_simulator/storage") => read(request).map(|account: StorageFile| {
            simulator.world(|world| account.add_to(world));
            done()
        }),
        ("POST", "/_simulator/blobs") => read(request).and_then(|Append { account, blob }| {
            simulator.world(|world| {
                let found = world.storage(&account).ok_or_else(|| format!("there is no storage account {account}"))?;
                blob.append_to(found);
                Ok(done())
            })
        }),
        (method, path) => return Response::json(404, &json!({"error": format!("no control route {method} {path}")})),
    };
    match answer {
        Ok(value) => Response::json(200, &value),
        Err(error) => Response::json(400, &json!({"error": error})),
    }
}

fn read<T: DeserializeOwned>(request: &Request) -> Result<T, String> {
    serde_json::from_slice(&request.body).map_err(|error| error.to_string())
}

fn done() -> Value {
    json!({"done": true})
}
