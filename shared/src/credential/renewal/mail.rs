//! The letter that carries a renewal link, as a draft that the operator's own mail program opens.

use super::Renewal;
use crate::{config::Config, mail};

/// A `mailto:` address of a draft; the operator adds to whom. The link in it is a secret, as the renewal's is.
pub fn mail_draft(config: &Config, renewal: &Renewal, client_id: &str) -> String {
    let provider = &config.provider_name;
    let until = renewal.expires_at.strftime("%-d %B %Y, %H:%M UTC");
    let contact = config.support_contact.as_deref().unwrap_or(provider);
    let text = format!(
        "Hello,\n\n\
         {provider} reads the security data of your organization by an application that you have registered in Entra: \
         {client_id}. Its client secret or certificate has to be replaced.\n\n\
         Whoever manages that application can make a new one in Entra and enter it here; the page says how:\n\n\
         {link}\n\n\
         It is tried before it is saved. The link can be used once, until {until}. Never send the secret itself by mail. If you \
         do not manage the application, forward this to whoever does and to nobody else.\n\n\
         Questions: {contact}\n",
        link = renewal.link,
    );
    mail::draft(None, &format!("{provider} needs a new credential for your application in Entra"), &text)
}
