//! The steps of a browser's walk: the invitation, the start, and the way back from either of Microsoft's pages.

use jiff::Timestamp;
use url::Url;

use super::{
    Answer, Broken, Request, Route, Told, admit,
    attempt::{self, Attempt, BadState, Step},
    invitation::{self, Invitation, Token, Unusable},
    outcome::Outcome,
    page, refusal,
    returned::Returned,
};
use crate::{
    App,
    microsoft::{
        id_token::Person,
        keys::NotBelieved,
        sign_in::{Discovery, SignIn, admin_consent_url, authorize_url},
        token::TokenError,
        tokens::ApplicationName,
    },
    ports::store::StoreError,
    secret::Secret,
    sign_in::{self, Browser, NotIdentified, Redemption},
    signing::SigningKeys,
    tenant::TenantId,
    web,
};

/// Where Microsoft sends the browser back to; registered as a redirect URI of the application.
pub const CALLBACK: &str = "consent/callback";

/// One request, and what its cookie says.
pub(super) struct Visit<'a> {
    app: &'a App,
    request: &'a web::Request,
    keys: SigningKeys,
    now: Timestamp,
    public_url: &'a Url,
    redirect_uri: Url,
    browser: Option<Browser>,
    /// The invitation that this browser has opened last, to begin again from.
    pub(super) invited: Option<Token>,
}

impl<'a> Visit<'a> {
    pub(super) async fn open(app: &'a App, request: &'a web::Request) -> Result<Self, Broken> {
        let public_url = app.config.public_url.as_ref().ok_or(Broken::NoPublicUrl)?;
        let mut redirect_uri = public_url.clone();
        redirect_uri.set_path(CALLBACK);
        let keys = SigningKeys::load(app.ports.vault.as_ref(), &app.config.secrets_prefix).await?;
        let cookie = page::cookie_of(request, &app.config).and_then(|cookie| cookie.split_once('.'));
        let browser = cookie.and_then(|(secret, _)| Browser::parse(secret));
        let invited = cookie.and_then(|(_, token)| Token::parse(token, &keys)).map(|(token, ..)| token);
        Ok(Self { app, request, keys, now: app.clock.now(), public_url, redirect_uri, browser, invited })
    }

    pub(super) async fn answer(&self, route: Route<'_>) -> Result<Answer, Broken> {
        match route {
            Route::Invitation(token) => self.invitation(token).await,
            Route::Start(token) => self.start(token).await,
            Route::StartByLink(token) => Ok(Answer::Redirect(self.at(&format!("connect/{token}")))),
            Route::Callback => self.callback().await,
        }
    }

    /// The page that asks. Mail scanners open it too, so it spends nothing.
    async fn invitation(&self, token: &str) -> Result<Answer, Broken> {
        // Mail programs take what follows a link for a part of it.
        let token = token.strip_suffix("%3E").unwrap_or(token).trim_end_matches(['.', ',', ';', ')', '>']);
        match invitation::open(self.app.ports.store.as_ref(), &self.keys, token, self.now).await? {
            Err(unusable) => Ok(Outcome::from(unusable).into()),
            Ok((token, open)) => {
                let browser = self.browser.clone().map_or_else(Browser::new, Ok)?;
                let client_id = self.client_id().await.ok();
                Ok(Answer::Request(Box::new(Request { invitation: open.invitation, token, browser, client_id })))
            }
        }
    }

    /// The button was pressed: to Microsoft, for the approval.
    async fn start(&self, token: &str) -> Result<Answer, Broken> {
        let store = self.app.ports.store.as_ref();
        let (token, open) = match invitation::open(store, &self.keys, token, self.now).await? {
            Err(unusable) => return Ok(Outcome::from(unusable).into()),
            Ok(opened) => opened,
        };
        // The cookie is `SameSite=Lax`, so a form on a foreign site comes without it; one on a sibling host comes with it.
        if self.request.fetch_site.as_deref().is_some_and(|site| site != "same-origin") {
            return Ok(Outcome::ForeignForm.into());
        }
        let Some(browser) = &self.browser else {
            return Ok(Answer::Told(Told { again: Some(token), ..Outcome::NoCookie.into() }));
        };
        // Microsoft's page would refuse it too, and send nobody back to be told why.
        if let Some(tenant) = open.invitation.expected_tenant
            && let Some(home) = sign_in::lives_elsewhere(self.app, tenant).await
        {
            return Ok(Outcome::OtherCloud { home: Some(home) }.into());
        }
        let client_id = self.client_id().await?;
        let attempt = Attempt::new(open.invitation.id, browser, self.now)?;
        attempt.begin(store).await?;
        let config = &self.app.config;
        let to = admin_consent_url(
            &config.login(),
            open.invitation.expected_tenant,
            &client_id,
            &self.redirect_uri,
            config.audience(),
            &attempt.state(&self.keys),
        );
        Ok(Answer::Start(to, token, browser.clone()))
    }

    /// Microsoft has sent the browser back, from either of its pages.
    async fn callback(&self) -> Result<Answer, Broken> {
        let Some(returned) = Returned::parse(&self.request.query) else { return Ok(Outcome::Mangled.into()) };
        let store = self.app.ports.store.as_ref();
        let resumed = match &returned.state {
            Some(state) => Some(attempt::resume(store, &self.keys, state, self.browser.as_ref(), self.now).await?),
            None => None,
        };
        let attempt = match &resumed {
            Some(Ok(loaded)) => Some(loaded.attempt.clone()),
            Some(Err(BadState::Replayed(attempt))) => Some(attempt.clone()),
            _ => None,
        };
        let invitation = match &attempt {
            Some(attempt) => Some(invitation::load(store, attempt.invitation, self.now).await?),
            None => None,
        };
        let mut answer = match (&returned.error, resumed) {
            // First of all, since failures say `admin_consent=True` as well (MICROSOFT.md 1.1).
            (Some(error), _) => {
                let subcode = returned.error_subcode.as_deref();
                let refused = refusal::read(error, subcode, returned.error_description.as_deref().unwrap_or_default());
                let signing_in = attempt.is_some_and(|attempt| attempt.step != Step::Consenting);
                if signing_in { refused.at_sign_in().into() } else { refused.into() }
            }
            (None, None) if returned.code.is_some() => Outcome::OldLink.into(),
            (None, None) => Outcome::NoState.into(),
            (None, Some(Err(BadState::Replayed(_)))) if matches!(invitation, Some(Err(Unusable::Used))) => {
                Outcome::AlreadyDone.into()
            }
            (None, Some(Err(bad_state))) => Outcome::from(bad_state).into(),
            (None, Some(Ok(attempt))) => match &invitation {
                Some(Err(unusable)) => Outcome::from(*unusable).into(),
                Some(Ok(open)) => self.forward(attempt, &open.invitation, &returned).await?,
                None => Outcome::Mangled.into(),
            },
        };
        if let (Answer::Told(told), Some(Ok(open))) = (&mut answer, &invitation) {
            told.again = Some(Token::of(&open.invitation, &self.keys));
        }
        Ok(answer)
    }

    /// The step that this attempt's turn is.
    async fn forward(
        &self,
        attempt: attempt::Loaded,
        invitation: &Invitation,
        returned: &Returned,
    ) -> Result<Answer, Broken> {
        let Some(browser) = &self.browser else { return Ok(Outcome::OtherBrowser.into()) };
        match attempt.attempt.step {
            Step::Consenting => self.approved(attempt, invitation, browser, returned).await,
            Step::SigningIn { tenant } => self.signed_in(attempt, browser, tenant, returned).await,
            Step::Over => Ok(Outcome::Replayed.into()),
        }
    }

    /// The first page says that somebody approved, and where. Neither is proven: on to the sign-in at that tenant.
    async fn approved(
        &self,
        attempt: attempt::Loaded,
        invitation: &Invitation,
        browser: &Browser,
        returned: &Returned,
    ) -> Result<Answer, Broken> {
        let approved = returned.admin_consent.as_deref().is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let hint = returned.tenant.as_deref().and_then(|tenant| tenant.parse::<TenantId>().ok());
        let (true, Some(tenant)) = (approved, hint) else { return Ok(Outcome::Mangled.into()) };
        if let Some(expected) = invitation.expected_tenant.filter(|expected| *expected != tenant) {
            return Ok(Outcome::WrongTenant { expected }.into());
        }
        let client_id = self.client_id().await?;
        let discovery = match self.discover(tenant).await {
            Err(outcome) => return Ok(outcome.into()),
            Ok(discovery) => discovery,
        };
        let attempt = match attempt.advance(self.app.ports.store.as_ref(), Step::SigningIn { tenant }).await {
            Err(StoreError::Conflict) => return Ok(Outcome::Replayed.into()),
            advanced => advanced?,
        };
        let sign_in = SignIn {
            client_id: &client_id,
            redirect_uri: &self.redirect_uri,
            state: &attempt.state(&self.keys),
            nonce: &browser.nonce(attempt.id),
            code_challenge: &browser.code_challenge(attempt.id),
        };
        Ok(Answer::Redirect(authorize_url(&discovery.authorization_endpoint, &sign_in)))
    }

    /// Somebody signed in at the tenant. The code is redeemed once, whatever comes of it.
    async fn signed_in(
        &self,
        attempt: attempt::Loaded,
        browser: &Browser,
        tenant: TenantId,
        returned: &Returned,
    ) -> Result<Answer, Broken> {
        let Some(code) = &returned.code else { return Ok(Outcome::Mangled.into()) };
        let attempt = match attempt.advance(self.app.ports.store.as_ref(), Step::Over).await {
            Err(StoreError::Conflict) => return Ok(Outcome::Replayed.into()),
            advanced => advanced?,
        };
        let person = match self.identify(&attempt, browser, tenant, code).await? {
            Err(outcome) => return Ok(outcome.into()),
            Ok(person) => person,
        };
        Ok(Answer::Told(admit::admit(self.app, attempt.invitation, tenant, &person).await?))
    }

    /// Who has signed in.
    async fn identify(
        &self,
        attempt: &Attempt,
        browser: &Browser,
        tenant: TenantId,
        code: &Secret<String>,
    ) -> Result<Result<Person, Outcome>, Broken> {
        let redemption = Redemption {
            entry: &ApplicationName::App.vault_name(&self.app.config.secrets_prefix, tenant),
            client_id: &self.client_id().await?,
            tenant,
            redirect_uri: &self.redirect_uri,
            code,
            browser,
            sign_in: attempt.id,
            // A guest's home is another organization: not they, but its own administrators, speak for this one.
            guests: false,
        };
        match sign_in::identify(self.app, &redemption).await {
            Ok(person) => Ok(Ok(person)),
            Err(NotIdentified::NotRedeemed(TokenError::Platform(error))) => Err(StoreError::from(error).into()),
            Err(why) => Ok(Err(self.unproven(tenant, &why))),
        }
    }

    async fn discover(&self, tenant: TenantId) -> Result<Discovery, Outcome> {
        let discovery = sign_in::discover(self.app, tenant).await.map_err(|why| self.unproven(tenant, &why))?;
        match discovery.home.filter(|home| home.refusal(self.app.config.cloud).is_some()) {
            Some(home) => Err(self.unproven(tenant, &NotIdentified::OtherCloud(home))),
            None => Ok(Discovery { home: None, ..discovery }),
        }
    }

    fn unproven(&self, tenant: TenantId, why: &NotIdentified) -> Outcome {
        tracing::warn!(request.id = self.request.id, tenant.id = %tenant, error = %why, "nobody is known to have signed in");
        match why {
            NotIdentified::NoTenant => Outcome::NotProven,
            NotIdentified::OtherCloud(home) => Outcome::OtherCloud { home: Some(home.clone()) },
            NotIdentified::Unavailable(_) => Outcome::MicrosoftTrouble,
            NotIdentified::NotRedeemed(error) => refusal::of_redemption(error),
            NotIdentified::NotBelieved(NotBelieved::Guest) => Outcome::Guest,
            NotIdentified::NotBelieved(_) => Outcome::NotProven,
        }
    }

    /// An address of our own.
    fn at(&self, path: &str) -> Url {
        let mut url = self.public_url.clone();
        url.set_path(path);
        url
    }

    async fn client_id(&self) -> Result<String, Broken> {
        let name = format!("{}/app", self.app.config.secrets_prefix);
        Ok(self.app.tokens.application(&name).await.map_err(Broken::Application)?.client_id.clone())
    }
}
