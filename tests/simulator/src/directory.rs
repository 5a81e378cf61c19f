//! The tenant in the path of a request to Entra.

use crate::aadsts::Aadsts;
use crate::tenant::Tenant;
use crate::world::World;

/// Which directory a path names.
#[derive(Debug)]
pub(crate) enum Directory<'a> {
    /// `common` or `organizations`: no tenant in particular.
    Any,
    Tenant(&'a Tenant),
    Refused(Aadsts),
    NotModelled(&'static str),
}

pub(crate) fn directory<'a>(world: &'a mut World, segment: &str) -> Directory<'a> {
    match segment.to_ascii_lowercase().as_str() {
        "common" | "organizations" => return Directory::Any,
        "consumers" => return Directory::NotModelled("the consumers tenant"),
        name if name.contains('.') => return Directory::NotModelled("verified domains in place of a tenant id"),
        _ => {}
    }
    if !is_guid(segment) {
        return Directory::Refused(Aadsts::new(
            900023,
            format!("Specified tenant identifier '{segment}' is neither a valid DNS name, nor a valid external domain."),
        ));
    }
    match world.tenant(segment) {
        None => Directory::Refused(Aadsts::new(
            90002,
            format!(
                "Tenant '{segment}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."
            ),
        )),
        Some(tenant) if tenant.deleted => Directory::Refused(Aadsts::new(
            5000224,
            "We are sorry, this resource is not available. If you think you are seeing this message in error, contact support.",
        )),
        Some(tenant) => Directory::Tenant(tenant),
    }
}

fn is_guid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
