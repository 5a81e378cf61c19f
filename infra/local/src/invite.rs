//! `muster invite`: a link for a customer's administrator.

use shared::{
    App,
    audit::Actor,
    config::Config,
    consent::invitation::{self, InviteError, NewInvitation, invite},
};

use crate::Failure;

/// Refuses what can be seen to be wrong before a data folder is opened or made.
///
/// # Errors
/// [`Failure::Usage`]
pub fn check(config: &Config, new: &NewInvitation) -> Result<(), Failure> {
    invitation::check(config, new).map(|_| ()).map_err(|error| Failure::Usage(error.to_string()))
}

/// Prints the link alone on standard output.
///
/// # Errors
/// [`Failure`] with what to set or to mend; there is no invitation then.
pub async fn run(app: &App, new: &NewInvitation) -> Result<(), Failure> {
    let invited = invite(app, new, &Actor::CommandLine).await.map_err(|error| match error {
        InviteError::Refused(_) | InviteError::NoPublicUrl => Failure::Usage(error.to_string()),
        InviteError::SigningKey(_) | InviteError::Platform(_) => Failure::failed(error),
    })?;
    let name = format!("{}/app", app.config.secrets_prefix);
    if let Err(error) = app.tokens.application(&name).await {
        eprintln!("The link will not work yet: {error}. Store the application with `muster vault put app`.");
    }
    eprintln!(
        "Good for one approval until {}. Send it to an administrator of {}.",
        invited.expires_at.strftime("%Y-%m-%d %H:%M UTC"),
        new.account.trim()
    );
    println!("{}", invited.link);
    Ok(())
}
