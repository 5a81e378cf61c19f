//! An application in its directory: its credentials at Graph, asked for with patience.

use jiff::{SignedDuration, Timestamp};

use super::{Application, certificate::Certificate, entry::Entry};
use crate::{
    App,
    http::Request,
    microsoft::{
        graph::{
            GraphError, Listing, NewPassword, ProofClaims, Registered, add_key_request, add_request, list_request,
            parse_added, parse_list, parse_refusal, remove_key_request, remove_request, replace_keys_request,
        },
        time,
        token::{AccessToken, TokenError},
    },
    secret::Secret,
    tenant::TenantId,
};

/// From here on a proof may be refused for its times.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(1);

/// One application, with a token that may change its credentials.
#[derive(Debug)]
pub struct Directory<'a> {
    app: &'a App,
    application: Application,
    token: AccessToken,
    /// Nothing is waited for beyond this.
    until: Timestamp,
    /// How far Graph's clock is ahead of ours, as its last answer says.
    ahead: SignedDuration,
}

/// A registered certificate with its key, and the application that it speaks for by its object id.
#[derive(Debug, Clone, Copy)]
pub struct Signer<'a> {
    pub certificate: &'a Certificate,
    pub key: &'a Secret<String>,
    pub object_id: &'a str,
}

impl Signer<'_> {
    /// # Errors
    /// [`GraphError::Unauthorized`] when the key cannot sign.
    fn proof(&self, now: Timestamp) -> Result<Secret<String>, GraphError> {
        let claims = ProofClaims::new(self.object_id, now);
        self.certificate.sign(self.key, &claims).map_err(GraphError::Unauthorized)
    }
}

/// A token for Graph in the application's home tenant, by exactly this credential.
///
/// # Errors
/// [`TokenError`]
pub async fn home_token(app: &App, application: &Application) -> Result<AccessToken, TokenError> {
    let tenant: TenantId = application
        .home_tenant_id
        .parse()
        .map_err(|cause| TokenError::NoApplication { name: application.client_id.clone(), cause })?;
    app.tokens.by_credential(tenant, application, app.config.graph_audience()).await
}

impl<'a> Directory<'a> {
    pub fn new(app: &'a App, application: &Application, token: AccessToken, until: Timestamp) -> Self {
        Self { app, application: application.clone(), token, until, ahead: SignedDuration::ZERO }
    }

    /// With a token by the first of these credentials that Entra takes.
    ///
    /// # Errors
    /// [`TokenError`]: what Entra said to the first of them.
    pub async fn open(app: &'a App, entries: &[&Entry], until: Timestamp) -> Result<Self, TokenError> {
        let mut first = None;
        for entry in entries {
            match home_token(app, &entry.application).await {
                Ok(token) => return Ok(Self::new(app, &entry.application, token, until)),
                Err(error) if error.is_of_the_credential() => drop(first.get_or_insert(error)),
                Err(other) => return Err(other),
            }
        }
        let nobody = || TokenError::NoApplication { name: "vault".to_owned(), cause: "it is empty".to_owned() };
        Err(first.unwrap_or_else(nobody))
    }

    /// As the replica that answers knows them: a change of the last minute may be missing.
    ///
    /// # Errors
    /// [`GraphError`]
    pub async fn list(&mut self) -> Result<Listing, GraphError> {
        let client_id = self.application.client_id.clone();
        let request = list_request(&self.app.config.graph(), &client_id);
        parse_list(&self.call(request, Repeat::Always).await?, &client_id)
    }

    /// # Errors
    /// [`GraphError`]; unless it is one that says that nothing was done, a password may have been made.
    pub async fn add_password(&mut self, name: &str, expires_at: Timestamp) -> Result<NewPassword, GraphError> {
        let request = add_request(&self.app.config.graph(), &self.application.client_id, name, expires_at);
        parse_added(&self.call(request, Repeat::WhenNotDone).await?)
    }

    /// # Errors
    /// [`GraphError`]; one that is gone already is no error.
    pub async fn remove_password(&mut self, key_id: &str) -> Result<(), GraphError> {
        let request = remove_request(&self.app.config.graph(), &self.application.client_id, key_id);
        gone(self.call(request, Repeat::Always).await)
    }

    /// Registers a certificate under this name.
    ///
    /// # Errors
    /// [`GraphError`]; `Unauthorized` where the proof is not taken.
    pub async fn add_key(
        &mut self,
        name: &str,
        certificate: &Certificate,
        signer: &Signer<'_>,
    ) -> Result<(), GraphError> {
        let graph = self.app.config.graph();
        let client_id = self.application.client_id.clone();
        let request = |proof: &Secret<String>| add_key_request(&graph, &client_id, name, certificate.der(), proof);
        self.prove(signer, request, Repeat::WhenNotDone).await.map(drop)
    }

    /// Registers a certificate where none can sign; `listed` is everything that is there, and stays.
    ///
    /// # Errors
    /// [`GraphError`]; nothing is asked for twice, because what was listed may not be what is there any more.
    pub async fn replace_keys(
        &mut self,
        name: &str,
        certificate: &Certificate,
        listed: &[Registered],
    ) -> Result<(), GraphError> {
        let graph = self.app.config.graph();
        let request = replace_keys_request(&graph, &self.application.client_id, listed, name, certificate.der());
        self.call(request, Repeat::Never).await.map(drop)
    }

    /// # Errors
    /// [`GraphError`]; one that is gone already is no error.
    pub async fn remove_key(&mut self, key_id: &str, signer: &Signer<'_>) -> Result<(), GraphError> {
        let (graph, client_id) = (self.app.config.graph(), self.application.client_id.clone());
        let request = |proof: &Secret<String>| remove_key_request(&graph, &client_id, key_id, proof);
        gone(self.prove(signer, request, Repeat::Always).await)
    }

    /// A call with a proof, made at Graph's time once that is known: a clock of ours that is wrong makes every proof so.
    async fn prove(
        &mut self,
        signer: &Signer<'_>,
        request: impl Fn(&Secret<String>) -> Request,
        repeat: Repeat,
    ) -> Result<Vec<u8>, GraphError> {
        let proof = signer.proof(self.app.clock.now())?;
        match self.call(request(&proof), repeat).await {
            Err(GraphError::Unauthorized(why)) if self.ahead.abs() >= CLOCKS_DIFFER => {
                let ahead = self.ahead.as_secs();
                tracing::warn!(
                    ahead,
                    "Graph's clock is so many seconds ahead of this machine's, which is wrong; set it right"
                );
                let proof = signer.proof(self.app.clock.now() + self.ahead)?;
                let again = self.call(request(&proof), repeat).await;
                again.map_err(|error| match error {
                    GraphError::Unauthorized(_) => GraphError::Unauthorized(format!(
                        "{why}; this machine's clock differs from Graph's by {} seconds: set it right",
                        ahead.abs()
                    )),
                    other => other,
                })
            }
            other => other,
        }
    }

    async fn call(&mut self, request: Request, repeat: Repeat) -> Result<Vec<u8>, GraphError> {
        let mut attempt = 0;
        loop {
            let error = match self.send(request.clone()).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            if matches!(error, GraphError::Unauthorized(_)) {
                self.token.renew_at = Timestamp::MIN;
            }
            let clock = &self.app.clock;
            let pause = match repeat {
                Repeat::Never => None,
                Repeat::WhenNotDone | Repeat::Always => error.pause(attempt, repeat == Repeat::Always),
            };
            match pause {
                Some(pause) if clock.now() + pause <= self.until => clock.sleep(pause).await,
                _ => return Err(error),
            }
            attempt += 1;
        }
    }

    async fn send(&mut self, mut request: Request) -> Result<Vec<u8>, GraphError> {
        // Patience may outlive a token.
        if self.app.clock.now() >= self.token.renew_at {
            let renewed = home_token(self.app, &self.application).await;
            self.token = renewed.map_err(|error| GraphError::Transient(error.to_string()))?;
        }
        request.bearer = Some(self.token.bearer.clone());
        let answer = self.app.http.send(request).await?;
        if let Some(theirs) = answer.header("date").and_then(time::parse_date) {
            self.ahead = theirs.duration_since(self.app.clock.now());
        }
        let (status, retry_after) = (answer.status, answer.header("retry-after").map(str::to_owned));
        let body = answer.body.small(&self.app.clock).await?;
        match status {
            200..300 => Ok(body),
            _ => Err(parse_refusal(status, retry_after.as_deref(), &body)),
        }
    }
}

/// After which failures a call is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Never,
    /// After those that say that nothing was done.
    WhenNotDone,
    Always,
}

fn gone(removed: Result<Vec<u8>, GraphError>) -> Result<(), GraphError> {
    match removed {
        Ok(_) | Err(GraphError::NothingToRemove) => Ok(()),
        Err(error) => Err(error),
    }
}
