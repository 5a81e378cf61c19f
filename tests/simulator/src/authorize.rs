//! Signing in at the authorize pages: v2 with PKCE and nonce, and the legacy one that consents as well (MICROSOFT 1.3, 1.4).

use crate::aadsts::Aadsts;
use crate::admin_consent::{lacks_defender, needs_an_admin};
use crate::authorize_request::{Asked, Failure, Prompt, read};
use crate::code_grant::Issued;
use crate::dice::Dice;
use crate::entra_request::{EntraRequest, Version};
use crate::http::{Request, Response};
use crate::log::Trail;
use crate::login_page::{self, Question};
use crate::refusal::Refused;
use crate::session;
use crate::sign_in::{self, Choice, Realm, Visitor, Who};
use crate::tenant::Tenant;
use crate::world::World;

pub(crate) fn authorize(
    world: &mut World,
    dice: &mut Dice,
    request: EntraRequest<'_>,
    trail: &mut Trail,
) -> Result<Response, Refused> {
    let asked = read(world, dice, request, trail)?;
    let request = request.request;
    if request.method == "GET" {
        return Ok(asked.open(world, dice, request, trail));
    }
    let (choice, who) = sign_in::choice(world, &asked.visit.realm, request)?;
    match who {
        Who::Nobody if choice != Choice::Cancel => Ok(asked.page(world)),
        Who::Nobody => Ok(asked.visit.reply.cancelled()),
        // The person is told on Entra's own page, and the application nothing.
        Who::Foreign(user) => Ok(login_page::error(&sign_in::foreign(&user, &asked.visit.realm), world.now, dice)),
        Who::Visitor(visitor) => {
            trail.tenant = Some(visitor.tenant_id.clone());
            let outcome = asked.decide(world, dice, choice, &visitor);
            let signed_in = outcome.is_ok();
            let response = outcome.unwrap_or_else(|refusal| refusal);
            let response = session::keep(world, dice, request, &visitor, response);
            if signed_in {
                session::note(world, request, &response, &asked.visit.application.client_id);
            }
            Ok(response)
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
        90033 | 90055 => "temporarily_unavailable",
        650052 => "invalid_client",
        50058 => "login_required",
        65001 | 53003 => "interaction_required",
        _ => "access_denied",
    };
    Ok(Failure(error, Aadsts::scripted(code)).response(&asked.visit, world.now, dice))
}

impl Asked {
    /// What opening the address does: silently on, where the browser is signed in and nothing has to be asked.
    fn open(&self, world: &mut World, dice: &mut Dice, request: &Request, trail: &mut Trail) -> Response {
        let visitor = session::signed_in(world, &self.visit.realm, request);
        let consented = visitor.as_ref().is_some_and(|visitor| !self.must_consent(world, visitor));
        let now = world.now;
        match (self.prompt, visitor) {
            (Prompt::Needed | Prompt::None, Some(visitor)) if consented => {
                trail.tenant = Some(visitor.tenant_id.clone());
                if let Some(response) = self.kept_out(world, dice, &visitor) {
                    return response;
                }
                match self.answer(world, dice, &visitor, false) {
                    Ok(response) => {
                        session::note(world, request, &response, &self.visit.application.client_id);
                        response
                    }
                    Err(refusal) => refusal,
                }
            }
            (Prompt::None, None) => {
                let text = "A silent sign-in request was sent but no user is signed in.";
                Failure("login_required", Aadsts::new(50058, text)).response(&self.visit, now, dice)
            }
            (Prompt::None, Some(_)) => {
                let text = format!(
                    "The user or administrator has not consented to use the application with ID '{}' named '{}'. Send an interactive authorization request for this user and resource.",
                    self.visit.application.client_id, self.visit.application.name
                );
                Failure("interaction_required", Aadsts::new(65001, text)).response(&self.visit, now, dice)
            }
            _ => self.page(world),
        }
    }

    fn page(&self, world: &World) -> Response {
        let accounts = sign_in::accounts(world, &self.visit.realm, &self.visit.application.client_id);
        let hint = self.login_hint.as_deref();
        let hinted = world.tenants().flat_map(|tenant| &tenant.users).find(|user| Some(user.upn.as_str()) == hint);
        let delegated = self.scopes.iter().map(|scope| format!("{scope} (delegated)"));
        let roles = self.visit.application.roles.iter().map(|role| format!("{role} (application)"));
        let permissions = match self.visit.version {
            Version::V1 => delegated.chain(roles).collect(),
            Version::V2 => delegated.collect(),
        };
        login_page::question(&Question {
            heading: "Sign in",
            explanation: format!(
                "Sign in to continue to {}, and let it have what it does not have yet:",
                self.visit.application.name
            ),
            permissions,
            accounts,
            hint: hinted.map(|user| user.oid.clone()),
            approve: "Sign in",
        })
    }

    /// Whether this user has to be asked, whatever the prompt says.
    fn must_consent(&self, world: &World, visitor: &Visitor) -> bool {
        world.find_tenant(&visitor.tenant_id).is_none_or(|tenant| {
            let client_id = &self.visit.application.client_id;
            let legacy = self.visit.version == Version::V1 && tenant.consent(client_id).is_none();
            legacy || !(self.is_at_home(tenant) || tenant.has_delegated(client_id, &visitor.user.oid, &self.scopes))
        })
    }

    /// Whoever registers an application in their own tenant consents to what it asks of people there.
    fn is_at_home(&self, tenant: &Tenant) -> bool {
        let declared = &self.visit.registration.delegated_permissions;
        self.visit.application.home_tenant_id.eq_ignore_ascii_case(&tenant.id)
            && self.scopes.iter().all(|scope| declared.contains(scope))
    }

    /// AADSTS50105, for who is not assigned where that is required. The person is told on Entra's own page, and the
    /// application nothing (next-auth #5455, MSAL.js #4529), unless it asked for silence (MSAL.js #1287).
    fn kept_out(&self, world: &World, dice: &mut Dice, visitor: &Visitor) -> Option<Response> {
        let application = &self.visit.application;
        let tenant = world.find_tenant(&visitor.tenant_id)?;
        if !tenant.keeps_out(&application.client_id, &visitor.principal()) {
            return None;
        }
        let text = format!(
            "Your administrator has configured the application {} ('{}') to block users unless they are specifically granted ('assigned') access to the application. The signed in user '{}' is blocked because they are not a direct member of a group with access, nor had access directly assigned by an administrator. Please contact your administrator to assign access to this application.",
            application.name, application.client_id, visitor.user.upn
        );
        let aadsts = Aadsts::new(50105, text);
        Some(match self.prompt {
            Prompt::None => Failure("interaction_required", aadsts).response(&self.visit, world.now, dice),
            _ => login_page::error(&aadsts, world.now, dice),
        })
    }

    /// `Ok` signs in; `Err` tells why not.
    fn decide(
        &self,
        world: &mut World,
        dice: &mut Dice,
        choice: Choice,
        visitor: &Visitor,
    ) -> Result<Response, Response> {
        let now = world.now;
        let asks = matches!(self.prompt, Prompt::Consent | Prompt::AdminConsent);
        let consents = asks || self.must_consent(world, visitor);
        if choice == Choice::Decline {
            let text = format!("User declined to consent to access the app {}.", self.visit.application.name);
            return Err(Failure("access_denied", Aadsts::new(65004, text)).response(&self.visit, now, dice));
        }
        if let Some(response) = self.kept_out(world, dice, visitor) {
            return Err(response);
        }
        let granted = match self.visit.version {
            _ if !consents => Ok(()),
            Version::V1 => self.grant_all(world, visitor),
            Version::V2 => self.grant_to_user(world, visitor),
        };
        match granted {
            Ok(()) => self.answer(world, dice, visitor, consents && self.visit.version == Version::V1),
            Err(failure) => Err(failure.response(&self.visit, now, dice)),
        }
    }

    /// The legacy page asks for everything in the manifest; application roles take an admin (MICROSOFT 1.3, 1.7).
    fn grant_all(&self, world: &mut World, visitor: &Visitor) -> Result<(), Failure> {
        if let Some(aadsts) = lacks_defender(world, &self.visit.application, &visitor.tenant_id) {
            return Err(Failure("invalid_client", aadsts));
        }
        if !visitor.user.may_consent(self.visit.application.requires_graph_app_role()) {
            return Err(Failure("access_denied", needs_an_admin()));
        }
        let (now, propagation) = (world.now, world.consent_propagation);
        if let Some(tenant) = world.tenant(&visitor.tenant_id) {
            tenant.grant(&self.visit.application, &self.visit.registration, now, propagation);
        }
        Ok(())
    }

    /// A user lets the application know who they are; no application role comes of it.
    fn grant_to_user(&self, world: &mut World, visitor: &Visitor) -> Result<(), Failure> {
        let (now, propagation) = (world.now, world.consent_propagation);
        let Some(tenant) = world.tenant(&visitor.tenant_id) else { return Ok(()) };
        if !tenant.users_may_consent && !visitor.user.may_consent(false) {
            return Err(Failure("access_denied", needs_an_admin()));
        }
        tenant.grant_to_user(&self.visit.application.client_id, &visitor.user.oid, &self.scopes, now, propagation);
        Ok(())
    }

    /// As [`Self::decide`].
    fn answer(
        &self,
        world: &mut World,
        dice: &mut Dice,
        visitor: &Visitor,
        for_everybody: bool,
    ) -> Result<Response, Response> {
        let now = world.now;
        let tenant = world.tenant(&visitor.tenant_id);
        if tenant
            .and_then(|tenant| tenant.consent(&self.visit.application.client_id))
            .is_some_and(|consent| !consent.enabled)
        {
            let text = format!("Application '{}' is disabled.", self.visit.application.client_id);
            return Err(Failure("unauthorized_client", Aadsts::new(7000112, text)).response(&self.visit, now, dice));
        }
        let code = world.codes.issue(
            dice,
            Issued {
                version: self.visit.version,
                client_id: self.visit.application.client_id.clone(),
                at_one_tenant: self.visit.realm != Realm::Any,
                visitor: visitor.clone(),
                redirect_uri: self.visit.reply.redirect_uri.clone(),
                scopes: self.scopes.clone(),
                nonce: self.nonce.clone(),
                code_challenge: self.code_challenge.clone(),
                resource: self.resource.clone(),
                at: now,
                spent: false,
            },
        );
        let mut pairs = vec![("code", code), ("session_state", dice.guid())];
        if for_everybody {
            pairs.push(("admin_consent", "True".into()));
        }
        Ok(self.visit.reply.send(pairs))
    }
}
