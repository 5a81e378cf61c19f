//! The tenant in the path of a request to Entra.

use crate::aadsts::Aadsts;
use crate::refusal::Refused;
use crate::tenant::Tenant;
use crate::world::World;

/// The tenant a path names; `None` for `common` and `organizations`, which name none.
pub(crate) fn directory<'a>(world: &'a mut World, segment: &str) -> Result<Option<&'a Tenant>, Refused<Aadsts>> {
    match segment.to_ascii_lowercase().as_str() {
        "common" | "organizations" => return Ok(None),
        "consumers" => return Err(Refused::NotModelled("the consumers tenant".into())),
        name if world.tenants().any(|tenant| tenant.domains.iter().any(|domain| domain.eq_ignore_ascii_case(name))) => {
            return Err(Refused::NotModelled("a verified domain in place of a tenant id, but for discovery".into()));
        }
        name if name.contains('.') => {
            let text = format!(
                "Tenant '{name}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."
            );
            return Err(Aadsts::new(90002, text).into());
        }
        _ => {}
    }
    if !is_guid(segment) {
        let text = format!(
            "Specified tenant identifier '{segment}' is neither a valid DNS name, nor a valid external domain."
        );
        return Err(Aadsts::new(900023, text).into());
    }
    match world.tenant(segment) {
        None => {
            let text = format!(
                "Tenant '{segment}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."
            );
            Err(Aadsts::new(90002, text).into())
        }
        Some(tenant) if tenant.deleted => {
            let text = "We are sorry, this resource is not available. If you think you are seeing this message in error, contact support.";
            Err(Aadsts::new(5000224, text).into())
        }
        Some(tenant) => Ok(Some(tenant)),
    }
}

fn is_guid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_tenant_none_or_nonsense() {
        let mut world = World::new(jiff::Timestamp::UNIX_EPOCH);
        let mut tenant = Tenant::new("00000000-0000-4000-8000-0000000000AA", "n");
        tenant.domains = vec!["contoso.example".to_owned()];
        world.add_tenant(tenant);
        let mut of = |segment: &str| match directory(&mut world, segment) {
            Ok(None) => "any".to_owned(),
            Ok(Some(tenant)) => tenant.name.clone(),
            Err(Refused::Answer(aadsts)) => aadsts.code.to_string(),
            Err(Refused::NotModelled(_)) => "not modelled".to_owned(),
        };
        assert_eq!(of("00000000-0000-4000-8000-0000000000aa"), "n");
        assert_eq!(of("Common"), "any");
        assert_eq!(of("Contoso.example"), "not modelled");
        assert_eq!(of("fabrikam.example"), "90002");
        assert_eq!(of("00000000-0000-4000-8000-0000000000ab"), "90002");
        for nonsense in [
            "",
            "00000000-0000-4000-8000-0000000000a",
            "0000000000004000800000000000000aa",
            "g0000000-0000-4000-8000-0000000000aa",
        ] {
            assert_eq!(of(nonsense), "900023", "{nonsense}");
        }
    }
}
