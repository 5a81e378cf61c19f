//! Which of the vault's entries a name, or an ARN, stands for.

use crate::tenant::TenantId;

/// An entry of the vault that Muster knows the meaning of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryName {
    /// With the prefix, as the vault lists it.
    pub full: String,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// The provider's multi-tenant application, or one of them.
    App,
    /// The console's own.
    Console,
    /// The application of the tenant itself.
    Tenant(TenantId),
    /// The key of invitations and sessions; no application.
    Signing,
}

impl EntryName {
    /// Reads a vault's id of a secret: its name, or `arn:aws:secretsmanager:{region}:{account}:secret:{name}-{6 random}`.
    /// `None` for what does not lie under `prefix`, or means nothing there.
    pub fn parse(id: &str, prefix: &str) -> Option<Self> {
        let full = match id.strip_prefix("arn:") {
            None => id,
            // Partition, service, region, account and `secret` stand before the name; a name has no colon.
            Some(arn) => {
                let (name, suffix) = arn.rsplit_once(':')?.1.rsplit_once('-')?;
                let whole = arn.contains(":secretsmanager:") && suffix.len() == 6;
                whole.then_some(name)?
            }
        };
        let short = full.strip_prefix(prefix)?.strip_prefix('/')?;
        let kind = match short.split_once('/') {
            None if short == "app" => EntryKind::App,
            None if short == "console" => EntryKind::Console,
            None if short == "signing" => EntryKind::Signing,
            Some(("apps", name)) if is_plain(name) => EntryKind::App,
            Some(("tenants", id)) => {
                EntryKind::Tenant(id.parse().ok().filter(|tenant: &TenantId| tenant.to_string() == id)?)
            }
            _ => return None,
        };
        Some(Self { full: full.to_owned(), kind })
    }

    /// As a person types it: `app`, `tenants/{id}`.
    pub fn short<'a>(&'a self, prefix: &str) -> &'a str {
        self.full.strip_prefix(prefix).map_or(&self.full, |rest| rest.trim_start_matches('/'))
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "a0000000-0000-4000-8000-0000000000aa";

    #[test]
    fn names_and_arns_lead_to_the_same_entry() {
        let tenant = EntryKind::Tenant(TENANT.parse().unwrap());
        for (short, kind) in [
            ("app", EntryKind::App),
            ("apps/read-only.2", EntryKind::App),
            ("console", EntryKind::Console),
            ("signing", EntryKind::Signing),
            (&format!("tenants/{TENANT}"), tenant),
        ] {
            for prefix in ["muster", "stage/muster-1"] {
                let full = format!("{prefix}/{short}");
                let arn = format!("arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:{full}-AbC12x");
                let expected = EntryName { full: full.clone(), kind: kind.clone() };
                assert_eq!(EntryName::parse(&full, prefix), Some(expected.clone()), "{full}");
                assert_eq!(EntryName::parse(&arn, prefix), Some(expected.clone()), "{arn}");
                assert_eq!(expected.short(prefix), short);
            }
        }
    }

    #[test]
    fn what_is_not_ours_has_no_name() {
        let upper = format!("muster/tenants/{}", TENANT.to_uppercase());
        for id in [
            "",
            "muster",
            "muster/",
            "muster/App",
            "musterx/app",
            "muster/apps/",
            "muster/apps/a/b",
            "muster/tenants/contoso",
            &upper,
            "other/app",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:other/app-AbC12x",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:muster/app",
            "arn:aws:kms:eu-central-1:123456789012:key:muster/app-AbC12x",
        ] {
            assert_eq!(EntryName::parse(id, "muster"), None, "{id}");
        }
    }
}
