//! Admin consent, v2 and v1: the page, and every documented and observed answer (MICROSOFT 1.1, 1.2, 1.7, 1.8).

use jiff::{SignedDuration, Timestamp};

use crate::aadsts::Aadsts;
use crate::access_token::DEFENDER_AUDIENCES;
use crate::application::{Application, Registration};
use crate::dice::Dice;
use crate::entra_request::{EntraRequest, Version};
use crate::http::{Request, Response};
use crate::log::Trail;
use crate::login_page::{self, Question};
use crate::refusal::Refused;
use crate::session;
use crate::sign_in::{self, Choice, Visitor, Who};
use crate::token::missing;
use crate::visit::{Parameters, Visit, mismatch};
use crate::world::World;

const GRAPH: &str = "https://graph.microsoft.com";

/// How long an approval takes to be in force; both count from the approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsentPropagation {
    /// Until the service principal exists; before, AADSTS7000229.
    pub service_principal: SignedDuration,
    /// Until tokens carry the roles; before, they carry those of the consent before it.
    pub roles: SignedDuration,
}

/// In which of two shapes a refusal at the consent page comes back: both are out there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsentErrors {
    /// As people found it: `access_denied`, and `error_subcode=cancel`.
    #[default]
    Observed,
    /// As the pages have it: `consent_required` in v2, `permission_denied` in v1.
    Documented,
}

/// A request that may be approved.
#[derive(Debug)]
struct Asked {
    visit: Visit,
    /// Empty in v1, which has none.
    scope: String,
}

pub(crate) fn admin_consent(
    world: &mut World,
    dice: &mut Dice,
    request: EntraRequest<'_>,
    trail: &mut Trail,
) -> Result<Response, Refused> {
    let asked = read(world, dice, request, trail)?;
    let request = request.request;
    if request.method == "GET" {
        return Ok(asked.page(world, request));
    }
    let (choice, who) = sign_in::choice(world, &asked.visit.realm, request)?;
    match who {
        // Nobody was chosen: the page once more.
        Who::Nobody if choice != Choice::Cancel => Ok(asked.page(world, request)),
        Who::Nobody => Ok(asked.cancelled(world.consent_errors)),
        Who::Foreign(user) => {
            let aadsts = sign_in::foreign(&user, &asked.visit.realm);
            Ok(asked.failed("access_denied", &aadsts, world.now, dice))
        }
        Who::Visitor(visitor) => {
            trail.tenant = Some(visitor.tenant_id.clone());
            let response = asked.decide(world, dice, choice, &visitor);
            Ok(session::keep(world, dice, request, &visitor, response))
        }
    }
}

/// A scripted error, in the shape of an answer to the application.
pub(crate) fn scripted(
    world: &mut World,
    dice: &mut Dice,
    request: EntraRequest<'_>,
    code: u32,
) -> Result<Response, Refused> {
    let asked = read(world, dice, request, &mut Trail::default())?;
    let error = match code {
        65004 => return Ok(asked.declined(world.consent_errors, world.now, dice)),
        650052 => "invalid_client",
        90033 | 90055 => "temporarily_unavailable",
        _ => "access_denied",
    };
    Ok(asked.failed(error, &Aadsts::scripted(code), world.now, dice))
}

fn read(world: &mut World, dice: &mut Dice, request: EntraRequest<'_>, trail: &mut Trail) -> Result<Asked, Refused> {
    let known: &[&str] = match request.version {
        Version::V1 => &["client_id", "redirect_uri", "state"],
        Version::V2 => &["client_id", "redirect_uri", "state", "scope"],
    };
    let parameters = Parameters::read(request.request.query(), known)?;
    // Personal accounts have no tenant to consent for; what the page does with them nobody has written down.
    if request.version == Version::V2 && request.segment.eq_ignore_ascii_case("common") {
        return Err(Refused::NotModelled("common at the v2 admin consent page".into()));
    }
    let visit = Visit::read(world, dice, request, &parameters, address, trail)?;
    let asked = Asked { visit, scope: parameters.text("scope").unwrap_or_default() };
    if request.version == Version::V2 {
        asked.judge_scope(world.now, dice)?;
    }
    Ok(asked)
}

/// v1 lets an address go on below a registered one; v2 compares to the letter.
fn address(
    parameters: &Parameters,
    registration: &Registration,
    version: Version,
    _: &mut Dice,
) -> Result<String, Refused<Aadsts>> {
    let Some(uri) = parameters.get("redirect_uri") else {
        return Err(match version {
            Version::V1 => Refused::NotModelled("v1 admin consent without redirect_uri".into()),
            Version::V2 => missing("redirect_uri").into(),
        });
    };
    let registered = registration.redirect_uris.iter().any(|registered| {
        let below = uri.strip_prefix(registered.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'));
        registered == uri || version == Version::V1 && below
    });
    if registered { Ok(uri.to_owned()) } else { Err(mismatch(parameters, uri).into()) }
}

impl Asked {
    /// Application permissions are asked for as a whole, by `/.default`.
    fn judge_scope(&self, now: Timestamp, dice: &mut Dice) -> Result<(), Refused> {
        if self.scope.is_empty() {
            return Err(Refused::Answer(self.visit.reply.error("invalid_request", &missing("scope"), &[], now, dice)));
        }
        let resource = self.scope.strip_suffix("/.default").map(|name| name.strip_suffix('/').unwrap_or(name));
        match resource {
            Some(name) if name == GRAPH || DEFENDER_AUDIENCES.contains(&name) => Ok(()),
            _ => Err(Refused::NotModelled(format!("admin consent to the scope {}", self.scope))),
        }
    }

    fn page(&self, world: &World, request: &Request) -> Response {
        let roles = self.visit.application.roles.iter().map(|role| format!("{role} (application)"));
        let delegated =
            self.visit.registration.delegated_permissions.iter().map(|permission| format!("{permission} (delegated)"));
        login_page::question(&Question {
            heading: "Permissions requested",
            explanation: format!(
                "{} asks for these permissions for your whole organization. Only an administrator can grant them.",
                self.visit.application.name
            ),
            permissions: roles.chain(delegated).collect(),
            accounts: sign_in::accounts(world, &self.visit.realm, &self.visit.application.client_id),
            hint: session::signed_in(world, &self.visit.realm, request).map(|visitor| visitor.user.oid),
            approve: "Approve",
        })
    }

    fn decide(&self, world: &mut World, dice: &mut Dice, choice: Choice, visitor: &Visitor) -> Response {
        let now = world.now;
        if let Some(aadsts) = lacks_defender(world, &self.visit.application, &visitor.tenant_id) {
            return self.failed("invalid_client", &aadsts, now, dice);
        }
        if choice == Choice::Decline {
            return self.declined(world.consent_errors, now, dice);
        }
        if !visitor.user.may_consent(self.visit.application.requires_graph_app_role()) {
            return self.failed("access_denied", &needs_an_admin(), now, dice);
        }
        let propagation = world.consent_propagation;
        if let Some(tenant) = world.tenant(&visitor.tenant_id) {
            tenant.grant(&self.visit.application, &self.visit.registration, now, propagation);
        }
        self.granted(&visitor.tenant_id)
    }

    fn granted(&self, tenant_id: &str) -> Response {
        let mut pairs = vec![("admin_consent", "True".to_owned()), ("tenant", tenant_id.to_owned())];
        if self.visit.version == Version::V2 {
            let delegated = self.visit.registration.delegated_permissions.iter();
            let scopes = delegated.map(|permission| format!("{GRAPH}/{permission}")).chain([self.scope.clone()]);
            pairs.push(("scope", scopes.collect::<Vec<_>>().join(" ")));
        }
        self.visit.reply.send(pairs)
    }

    fn declined(&self, errors: ConsentErrors, now: Timestamp, dice: &mut Dice) -> Response {
        let aadsts =
            Aadsts::new(65004, format!("User declined to consent to access the app {}.", self.visit.application.name));
        match (errors, self.visit.version) {
            (ConsentErrors::Observed, _) => self.failed("access_denied", &aadsts, now, dice),
            (ConsentErrors::Documented, Version::V2) => {
                let pairs = vec![
                    ("admin_consent", "True".into()),
                    ("error", "consent_required".into()),
                    ("error_description", aadsts.description("\r\n", now, dice)),
                ];
                self.visit.reply.send(pairs)
            }
            (ConsentErrors::Documented, Version::V1) => self.cancelled(errors),
        }
    }

    fn cancelled(&self, errors: ConsentErrors) -> Response {
        if (errors, self.visit.version) == (ConsentErrors::Documented, Version::V1) {
            return self.visit.reply.send(vec![
                ("error", "permission_denied".into()),
                ("error_description", "The admin canceled the request".into()),
            ]);
        }
        self.visit.reply.cancelled()
    }

    /// Failures too say `admin_consent=True`, and never which tenant it was.
    fn failed(&self, error: &str, aadsts: &Aadsts, now: Timestamp, dice: &mut Dice) -> Response {
        self.visit.reply.error(error, aadsts, &[("admin_consent", "True")], now, dice)
    }
}

/// AADSTS650052, when the application asks for Defender's roles and the tenant has no Defender.
pub(crate) fn lacks_defender(world: &mut World, application: &Application, tenant_id: &str) -> Option<Aadsts> {
    let tenant = world.tenant(tenant_id)?;
    (application.asks_for_defender() && !tenant.has_defender).then(|| {
        let text = format!(
            "The app is trying to access a service 'fc780465-2017-40d4-a0c5-307022471b92'(WindowsDefenderATP) that your organization '{}' lacks a service principal for. Contact your IT Admin to review the configuration of your service subscriptions or consent to the application in order to create the required service principal.",
            tenant.name
        );
        Aadsts::new(650052, text)
    })
}

pub(crate) fn needs_an_admin() -> Aadsts {
    Aadsts::new(90094, "The grant requires admin permission.")
}
