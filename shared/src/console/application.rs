//! The application that operators and scripts sign in to.

use super::Broken;
use crate::{App, tenant::TenantId};

/// The console's own single-tenant application where the vault has one, otherwise the provider's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleApplication {
    /// Its entry in the vault.
    pub entry: String,
    pub client_id: String,
    /// The provider's tenant: the only one whose people and programs come in.
    pub home: TenantId,
}

/// # Errors
/// [`Broken::Application`] when it cannot be used.
pub async fn load(app: &App) -> Result<ConsoleApplication, Broken> {
    let prefix = &app.config.secrets_prefix;
    let own = format!("{prefix}/console");
    let (entry, application) = match app.tokens.application_if_any(&own).await.map_err(Broken::Application)? {
        Some(application) => (own, application),
        None => {
            let entry = format!("{prefix}/app");
            let application = app.tokens.application(&entry).await.map_err(Broken::Application)?;
            (entry, application)
        }
    };
    let home = application.home_tenant_id.parse().map_err(Broken::Home)?;
    Ok(ConsoleApplication { entry, client_id: application.client_id.clone(), home })
}
