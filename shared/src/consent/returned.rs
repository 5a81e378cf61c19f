//! What Microsoft's pages put into the address that they send a browser back to.

use url::form_urlencoded;

use crate::secret::Secret;

/// What Microsoft's pages put into the address. Anybody can write such an address.
#[derive(Debug, Default)]
pub(super) struct Returned {
    pub(super) error: Option<String>,
    pub(super) error_subcode: Option<String>,
    pub(super) error_description: Option<String>,
    pub(super) admin_consent: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) state: Option<String>,
    pub(super) code: Option<Secret<String>>,
}

impl Returned {
    /// `None` when a parameter that decides comes twice: Microsoft does not do that.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let mut returned = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "error" => &mut returned.error,
                "error_subcode" => &mut returned.error_subcode,
                "error_description" => &mut returned.error_description,
                "admin_consent" => &mut returned.admin_consent,
                "tenant" => &mut returned.tenant,
                "state" => &mut returned.state,
                "code" => {
                    if returned.code.replace(Secret::new(value.into_owned())).is_some() {
                        return None;
                    }
                    continue;
                }
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        // `state=` is what is left where a page lost it.
        returned.state = returned.state.filter(|state| !state.is_empty());
        returned.error = returned.error.filter(|error| !error.is_empty());
        Some(returned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_comes_once_and_what_is_empty_is_absent() {
        let returned = Returned::parse("error=&state=&tenant=t&session_state=x&session_state=y").unwrap();
        assert!(returned.error.is_none() && returned.state.is_none() && returned.tenant.as_deref() == Some("t"));
        for name in ["error", "error_subcode", "error_description", "admin_consent", "tenant", "state", "code"] {
            assert!(Returned::parse(&format!("{name}=a&{name}=a")).is_none(), "{name}");
        }
    }
}
