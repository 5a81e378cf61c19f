//! Every call there is: how it is found, who may make it, what it takes and gives.

use futures::future::BoxFuture;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};

use super::{NotDone, Problem, accounts, activity, problem, tenants};
use crate::{
    App,
    audit::Actor,
    console::{Broken, session::Role},
    tenant::{TenantId, detail::Detail, list::TenantView},
    web,
};

/// One call.
pub struct Call {
    pub method: &'static str,
    /// `{…}` stands for one segment.
    pub path: &'static str,
    /// What the caller must be at least.
    pub role: Role,
    pub summary: &'static str,
    pub query: &'static [(&'static str, &'static str)],
    pub takes: Option<SchemaOf>,
    pub gives: (u16, SchemaOf),
    /// The statuses of its own refusals, beside those that every call has.
    pub refuses: &'static [u16],
    pub run: for<'a> fn(Asked<'a>) -> BoxFuture<'a, Result<web::Response, NotDone>>,
}

pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

fn schema<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

/// A call as it was made, by somebody who may.
pub struct Asked<'a> {
    pub app: &'a App,
    pub request: &'a web::Request,
    pub actor: Actor,
    /// What stands for the `{…}` of the path.
    pub parts: Vec<&'a str>,
    pub now: Timestamp,
}

impl Asked<'_> {
    /// What was sent.
    ///
    /// # Errors
    /// 400, 413, 415 or 422, saying where it is not what the call takes.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, NotDone> {
        let body = self.request.body.as_ref().map_err(|bad| match bad {
            web::BadBody::TooLong => Problem::new(413, format!("The body cannot be read: {bad}.")),
            web::BadBody::Encoding => Problem::new(400, format!("The body cannot be read: {bad}.")),
        })?;
        if !self.request.has_type("application/json") {
            return Err(Problem::new(415, "Send JSON, with the header Content-Type: application/json.").into());
        }
        serde_json::from_slice(body).map_err(|cause| {
            let status = if cause.is_data() { 422 } else { 400 };
            Problem::new(status, format!("The body is not what this call takes: {cause}.")).into()
        })
    }

    pub fn has_body(&self) -> bool {
        self.request.body.as_ref().is_ok_and(|body| !body.is_empty())
    }

    /// The tenant that the path names.
    ///
    /// # Errors
    /// 404: what is no id names nobody.
    pub fn tenant(&self) -> Result<TenantId, NotDone> {
        let named = self.parts.first().and_then(|text| text.parse().ok());
        named.ok_or_else(|| Problem::new(404, "There is no such tenant; its id is a GUID.").into())
    }
}

/// An answer of the call's own.
pub fn give(status: u16, value: &impl Serialize) -> Result<web::Response, NotDone> {
    let value = serde_json::to_value(value).map_err(|cause| Broken::Operation(cause.to_string()))?;
    Ok(problem::json(status, &value))
}

/// What is at an address.
pub enum Found<'a> {
    Call(&'static Call, Vec<&'a str>),
    OtherMethods(Vec<&'static str>),
    Nothing,
}

/// The call of this method and path.
pub fn find<'a>(method: &str, path: &'a str) -> Found<'a> {
    let method = if method == "HEAD" { "GET" } else { method };
    let here: Vec<_> = CALLS.iter().filter_map(|call| Some((call, parts(call.path, path)?))).collect();
    let methods: Vec<_> = here.iter().map(|(call, _)| call.method).collect();
    match here.into_iter().find(|(call, _)| call.method == method) {
        Some((call, parts)) => Found::Call(call, parts),
        None if methods.is_empty() => Found::Nothing,
        None => Found::OtherMethods(methods),
    }
}

/// What stands for the `{…}`, if the path fits.
fn parts<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let (mut pattern, mut path, mut parts) = (pattern.split('/'), path.split('/'), Vec::new());
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return Some(parts),
            (Some(expected), Some(part)) if expected.starts_with('{') && !part.is_empty() => parts.push(part),
            (Some(expected), Some(part)) if expected == part => {}
            _ => return None,
        }
    }
}

/// Everything but `/api/health` and `/api/openapi.json`, which need no sign-in.
pub const CALLS: &[Call] = &[
    Call {
        method: "GET",
        path: "/api/accounts",
        role: Role::Reader,
        summary: "All accounts",
        query: &[],
        takes: None,
        gives: (200, schema::<Vec<accounts::AccountView>>),
        refuses: &[],
        run: |asked| Box::pin(accounts::list(asked)),
    },
    Call {
        method: "POST",
        path: "/api/accounts",
        role: Role::Operator,
        summary: "Make an account",
        query: &[],
        takes: Some(schema::<accounts::NewAccount>),
        gives: (201, schema::<accounts::AccountView>),
        refuses: &[409, 422],
        run: |asked| Box::pin(accounts::create(asked)),
    },
    Call {
        method: "POST",
        path: "/api/invitations",
        role: Role::Operator,
        summary: "Invite an account's administrator to approve",
        query: &[],
        takes: Some(schema::<accounts::NewInvitation>),
        gives: (201, schema::<crate::consent::invitation::Invited>),
        refuses: &[404, 422],
        run: |asked| Box::pin(accounts::invite(asked)),
    },
    Call {
        method: "POST",
        path: "/api/connections",
        role: Role::Operator,
        summary: "Connect a tenant by an application of its own, after a real test",
        query: &[],
        takes: Some(schema::<tenants::NewConnection>),
        gives: (201, schema::<Detail>),
        refuses: &[404, 409, 422],
        run: |asked| Box::pin(tenants::connect(asked)),
    },
    Call {
        method: "GET",
        path: "/api/tenants",
        role: Role::Reader,
        summary: "All tenants, by account and id",
        query: &[],
        takes: None,
        gives: (200, schema::<Vec<TenantView>>),
        refuses: &[],
        run: |asked| Box::pin(tenants::list(asked)),
    },
    Call {
        method: "GET",
        path: "/api/tenants/{id}",
        role: Role::Reader,
        summary: "One tenant, with its last day by the hour",
        query: &[],
        takes: None,
        gives: (200, schema::<Detail>),
        refuses: &[404],
        run: |asked| Box::pin(tenants::one(asked)),
    },
    Call {
        method: "PATCH",
        path: "/api/tenants/{id}",
        role: Role::Operator,
        summary: "Change feeds, region, storage or account, pause or resume; what is new is tested first",
        query: &[],
        takes: Some(schema::<tenants::Change>),
        gives: (200, schema::<Detail>),
        refuses: &[404, 409, 422],
        run: |asked| Box::pin(tenants::change(asked)),
    },
    Call {
        method: "POST",
        path: "/api/tenants/{id}/pull",
        role: Role::Operator,
        summary: "Pull now, without waiting for a tick",
        query: &[],
        takes: None,
        gives: (202, schema::<crate::tenant::pull_now::Pulled>),
        refuses: &[404],
        run: |asked| Box::pin(tenants::pull(asked)),
    },
    Call {
        method: "POST",
        path: "/api/tenants/{id}/backfill",
        role: Role::Operator,
        summary: "Walk through alerts again from a date; what has left does not leave again",
        query: &[],
        takes: Some(schema::<tenants::Backfill>),
        gives: (202, schema::<Detail>),
        refuses: &[404, 409, 422],
        run: |asked| Box::pin(tenants::backfill(asked)),
    },
    Call {
        method: "POST",
        path: "/api/tenants/{id}/confirm",
        role: Role::Operator,
        summary: "Vouch for a connection in `confirming`",
        query: &[],
        takes: Some(schema::<tenants::Confirmation>),
        gives: (200, schema::<Detail>),
        refuses: &[404, 409, 422],
        run: |asked| Box::pin(tenants::confirm(asked)),
    },
    Call {
        method: "POST",
        path: "/api/tenants/{id}/renewal",
        role: Role::Operator,
        summary: "Make the link by which the customer's administrator gives the tenant's own application a new credential",
        query: &[],
        takes: None,
        gives: (201, schema::<crate::credential::renewal::Renewal>),
        refuses: &[404, 409],
        run: |asked| Box::pin(tenants::renewal(asked)),
    },
    Call {
        method: "DELETE",
        path: "/api/tenants/{id}",
        role: Role::Operator,
        summary: "Offboard: stop, delete its secrets, purge its state",
        query: &[],
        takes: None,
        gives: (200, schema::<crate::tenant::remove::Removed>),
        refuses: &[404, 409],
        run: |asked| Box::pin(tenants::remove(asked)),
    },
    Call {
        method: "GET",
        path: "/api/activity",
        role: Role::Reader,
        summary: "The audit trail, the newest first",
        query: &[("before", "Entries before this time (RFC 3339); now, if it is not given")],
        takes: None,
        gives: (200, schema::<Vec<crate::audit::Entry>>),
        refuses: &[422],
        run: |asked| Box::pin(activity::list(asked)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_with_its_parts_and_nothing_near_it() {
        assert_eq!(parts("/api/tenants/{id}/pull", "/api/tenants/x/pull"), Some(vec!["x"]));
        for path in ["/api/tenants//pull", "/api/tenants/x/pull/", "/api/tenants/x", "/api/tenants/x/y/pull", ""] {
            assert_eq!(parts("/api/tenants/{id}/pull", path), None, "{path}");
        }
        assert!(matches!(find("HEAD", "/api/accounts"), Found::Call(call, _) if call.method == "GET"));
        assert!(matches!(find("PUT", "/api/accounts"), Found::OtherMethods(methods) if methods == ["GET", "POST"]));
        assert!(matches!(find("GET", "/api/account"), Found::Nothing));
    }
}
