//! A platform that issues tokens, for stories of federated credentials: its key is known to the simulated Entra.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use serde_json::json;
use shared::{
    ports::identity::{Identity, IdentityError},
    secret::Secret,
};
use simulator::{FederatedCredential, FederatedIssuer, SigningKey, Simulator};

pub const ISSUER: &str = "https://a0000000-0000-4000-8000-0000000155e7.tokens.sts.global.api.aws";
/// The stage's role: the subject of its tokens.
pub const SUBJECT: &str = "arn:aws:iam::000000000000:role/Muster-entra-identity";

/// Signs by its own clock, which is right.
pub struct Issuer {
    simulator: Simulator,
    key: Mutex<SigningKey>,
    fails: Mutex<Option<IdentityError>>,
    asked: AtomicUsize,
}

impl Issuer {
    /// Entra can fetch its keys.
    pub fn known_to(simulator: &Simulator) -> Self {
        let issuer = Self {
            simulator: simulator.clone(),
            key: Mutex::new(key("first")),
            fails: Mutex::default(),
            asked: AtomicUsize::default(),
        };
        issuer.publish();
        issuer
    }

    /// The application trusts its tokens for the one subject, and has no secret.
    pub fn is_trusted_by(&self, client_id: &str) {
        self.simulator.world(|world| {
            let application = world.application(client_id).expect("an application of the world's");
            application.secrets.clear();
            application.federated.push(self.trusted());
        });
    }

    /// What an application that trusts its tokens has in Entra.
    pub fn trusted(&self) -> FederatedCredential {
        FederatedCredential {
            name: "muster".to_owned(),
            issuer: ISSUER.to_owned(),
            subject: SUBJECT.to_owned(),
            audience: "api://AzureADTokenExchange".to_owned(),
            usable_from: None,
        }
    }

    /// Another key signs from now on; Entra learns of it when it is published.
    pub fn rotate_key(&self, id: &str) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key(id);
    }

    /// Entra reads the keys anew.
    pub fn publish(&self) {
        let jwks = json!({"keys": [self.key.lock().unwrap_or_else(PoisonError::into_inner).jwk()]});
        let issuer = FederatedIssuer { issuer: ISSUER.to_owned(), jwks, usable_from: None };
        self.simulator.world(|world| world.add_issuer(issuer));
    }

    /// Nothing but this from now on, or tokens again.
    pub fn fails(&self, error: Option<IdentityError>) {
        *self.fails.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// How often it was asked for a token.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Issuer {
    /// Without the simulator, which knows everybody's secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("asked", &self.asked).finish_non_exhaustive()
    }
}

fn key(id: &str) -> SigningKey {
    SigningKey::from_pem(include_str!("../simulator/tests/keys/issuer-test-key.pem"), id).expect("a key of the tests")
}

#[async_trait]
impl Identity for Issuer {
    async fn token(&self, audience: &str) -> Result<Secret<String>, IdentityError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = self.fails.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(error);
        }
        let now = self.simulator.now().as_second();
        let claims = json!({"iss": ISSUER, "sub": SUBJECT, "aud": audience, "iat": now, "exp": now + 300, "jti": "1"});
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Secret::new(key.sign(&claims)))
    }
}
