//! How a visit ended: its HTTP status, what happened in words, and the one next step.

use super::{attempt::BadState, invitation::Unusable};
use crate::{
    cloud::Home,
    tenant::{Connection, State, TenantId},
};

/// Every end that a person can come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Connected,
    Propagating,
    /// An operator must vouch for whoever signed in.
    Confirming,
    Unlicensed,
    Blocked,
    /// Our own credential or set-up is at fault.
    ProviderFault,

    Declined,
    Cancelled,
    /// Left or declined at the second page: the approval has been given already.
    NotSignedIn,
    /// An account of another directory was chosen.
    WrongDirectory,
    /// Approved in another tenant than the invited one.
    WrongTenant {
        expected: TenantId,
    },
    /// Somebody who may not approve has tried.
    NotAdmin,
    /// Somebody who may not approve has signed in after the approval.
    NotTheAdministrator,
    Guest,
    BoundElsewhere,

    /// The tenant has no Defender for Endpoint at all.
    NoDefender,
    /// The tenant lives in another of Microsoft's clouds, in this one where it is known.
    OtherCloud {
        home: Option<Home>,
    },
    TryAgainSoon,
    MicrosoftTrouble,
    ConditionalAccess,
    /// Somebody disabled the application in the tenant.
    Disabled,
    /// Microsoft does not understand what we asked.
    OurRequest {
        code: Option<u32>,
    },
    Unknown {
        code: Option<u32>,
    },

    InvitationMangled,
    InvitationExpired,
    InvitationUsed,
    /// The provider took it back.
    InvitationWithdrawn,
    /// The button was pressed on a page that is not ours.
    ForeignForm,
    /// The browser has not kept the cookie of the invitation page.
    NoCookie,
    Mangled,
    StateExpired,
    Replayed,
    /// A step of a walk that has led to a connection.
    AlreadyDone,
    OtherBrowser,
    /// A consent that nobody began here, such as one from Microsoft's own portal.
    NoState,
    /// The link that the industry mails around: a code, and nothing that says who began it.
    OldLink,
    /// The sign-in could not be proven.
    NotProven,

    NoSuchPage,
    WrongMethod,
    OutOfOrder,
}

impl From<Unusable> for Outcome {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Mangled => Self::InvitationMangled,
            Unusable::Expired => Self::InvitationExpired,
            Unusable::Used => Self::InvitationUsed,
            Unusable::Withdrawn => Self::InvitationWithdrawn,
        }
    }
}

impl From<BadState> for Outcome {
    fn from(bad: BadState) -> Self {
        match bad {
            BadState::Mangled => Self::Mangled,
            BadState::Expired => Self::StateExpired,
            BadState::Replayed(_) => Self::Replayed,
            BadState::OtherBrowser => Self::OtherBrowser,
        }
    }
}

/// How a page looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Good,
    Waiting,
    Bad,
}

impl Tone {
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Waiting => "waiting",
            Self::Bad => "bad",
        }
    }
}

/// A page in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    pub tone: Tone,
    pub heading: &'static str,
    pub happened: String,
    pub next_step: String,
    /// Whether beginning again may help.
    pub again: bool,
}

impl Outcome {
    /// What a binding came to.
    pub fn of(connection: &Connection) -> Self {
        match connection.state {
            State::Active => Self::Connected,
            State::Confirming => Self::Confirming,
            State::Unlicensed => Self::Unlicensed,
            State::Blocked => Self::Blocked,
            State::CredentialFault => Self::ProviderFault,
            State::Propagating | State::NeedsConsent | State::Invited | State::Consenting | State::Removed => {
                Self::Propagating
            }
        }
    }

    /// The same refusal, but at the sign-in that follows the approval: the approval stands all the same.
    pub fn at_sign_in(self) -> Self {
        match self {
            Self::Declined | Self::Cancelled => Self::NotSignedIn,
            Self::NotAdmin => Self::NotTheAdministrator,
            other => other,
        }
    }

    /// 200 only when the tenant is connected or propagating; whatever is not proven is 400.
    pub fn status(&self) -> u16 {
        match self {
            Self::Connected | Self::Propagating => 200,
            Self::Declined
            | Self::Cancelled
            | Self::NotSignedIn
            | Self::WrongDirectory
            | Self::WrongTenant { .. }
            | Self::NotAdmin
            | Self::NotTheAdministrator
            | Self::Guest => 403,
            Self::NoSuchPage => 404,
            Self::WrongMethod => 405,
            Self::BoundElsewhere => 409,
            Self::InvitationExpired | Self::InvitationUsed | Self::InvitationWithdrawn => 410,
            Self::OutOfOrder => 503,
            _ => 400,
        }
    }

    /// `provider` asks for consent; `contact` is whom a person may write to.
    pub fn words(&self, provider: &str, contact: &str) -> Words {
        let page = |tone, heading, happened: String, next_step: String| Words {
            tone,
            heading,
            happened,
            next_step,
            again: false,
        };
        let good = |heading, happened| {
            page(Tone::Good, heading, happened, "There is nothing more to do. You can close this page.".to_owned())
        };
        let waiting = |heading, happened, next_step: String| page(Tone::Waiting, heading, happened, next_step);
        let bad = |heading, happened, next_step: String| page(Tone::Bad, heading, happened, next_step);
        // The person left the way; nothing is broken.
        let pause = |heading, happened: String, next_step: &str| Words {
            again: true,
            ..page(Tone::Waiting, heading, happened, next_step.to_owned())
        };
        let again = |heading, happened: String, next_step: &str| Words {
            again: true,
            ..page(Tone::Bad, heading, happened, next_step.to_owned())
        };
        match self {
            Self::Connected => good(
                "Connected",
                format!("{provider} can now read what you have approved of your organization's Microsoft Defender for Endpoint."),
            ),
            Self::Propagating => good(
                "Approved",
                format!(
                    "Thank you. Microsoft needs up to an hour to put your approval into force. {provider} then connects \
                     automatically."
                ),
            ),
            Self::Confirming => waiting(
                "Almost done",
                format!(
                    "You have approved and signed in. Microsoft did not say whether you are an administrator, so \
                     {provider} confirms that first."
                ),
                format!("There is nothing more to do here. If you hear nothing within a working day, write to {contact}."),
            ),
            Self::Unlicensed => pause(
                "Approved, but Microsoft Defender for Endpoint is not active",
                "Your approval has arrived. Microsoft says that Defender for Endpoint is not licensed or not set up in \
                 your organization, so there is nothing to read yet."
                    .to_owned(),
                "License and onboard Microsoft Defender for Endpoint, then open the invitation and start again.",
            ),
            Self::Blocked => pause(
                "Approved, but a policy blocks the application",
                format!(
                    "Your approval has arrived. A policy of your organization, such as Conditional Access for workload \
                     identities or a disabled enterprise application, keeps {provider} out."
                ),
                &format!("Allow the application of {provider} in that policy, then open the invitation and start again."),
            ),
            Self::ProviderFault => waiting(
                "Approved",
                format!("Your approval has arrived. {provider} has to fix something on its own side first."),
                format!("{contact} can tell you when it works. Then open the invitation again."),
            ),
            Self::Declined => pause(
                "Not approved",
                format!("The permissions were declined, so {provider} did not get any access."),
                "If that was a mistake, start again. Otherwise you can close this page.",
            ),
            Self::Cancelled => pause(
                "Not approved yet",
                "You left Microsoft's page before approving. Nothing has changed.".to_owned(),
                "Start again when you are ready.",
            ),
            Self::NotSignedIn => pause(
                "Approved, but not signed in",
                format!(
                    "Microsoft says that the approval was given, so {provider} may have access already. Without your \
                     sign-in it is not connected with your organization's account."
                ),
                "Start again and sign in. To take the approval back, delete the application in Entra under Enterprise \
                 applications.",
            ),
            Self::WrongDirectory => again(
                "The account belongs to another organization",
                "The account that was used to sign in is not a member of the organization that was asked.".to_owned(),
                "Start again, and choose your administrator account of the right organization.",
            ),
            Self::WrongTenant { expected } => again(
                "The wrong organization",
                format!(
                    "This invitation is for the organization with the tenant id {expected}. The approval was given in \
                     another one, which has not been connected."
                ),
                "Start again with an administrator account of the invited organization. In the other one, an administrator \
                 can delete the application under Enterprise applications.",
            ),
            Self::NotAdmin => again(
                "An administrator has to approve",
                "Only a Global, Privileged Role, Application or Cloud Application Administrator can approve for the whole \
                 organization, and your account has none of these roles active."
                    .to_owned(),
                "Forward the invitation to an administrator; or activate your role (in Privileged Identity Management) and \
                 start again.",
            ),
            Self::NotTheAdministrator => again(
                "An administrator has to sign in",
                "Microsoft says that the approval was given. The account that then signed in is not an administrator's, so \
                 the organization has not been connected."
                    .to_owned(),
                "Start again, and sign in with the administrator account that approved.",
            ),
            Self::Guest => again(
                "A guest cannot speak for this organization",
                "The account that signed in is a guest here; its home is another organization. Nothing has been connected."
                    .to_owned(),
                "Start again with an administrator account that belongs to the organization.",
            ),
            Self::BoundElsewhere => again(
                "Already connected elsewhere",
                format!(
                    "The organization of the account that signed in is connected with {provider} under another customer \
                     account. It has not been changed."
                ),
                &format!("If you meant another organization, start again with its account. Otherwise write to {contact}."),
            ),
            Self::NoDefender => again(
                "Your organization has no Microsoft Defender for Endpoint",
                "Microsoft cannot grant the permissions, because the service they belong to (WindowsDefenderATP) is not \
                 set up in your organization."
                    .to_owned(),
                "License and onboard Microsoft Defender for Endpoint, then start again.",
            ),
            Self::OtherCloud { home } => bad(
                "Your organization is in another Microsoft cloud",
                format!(
                    "It lives in {}. This service of {provider} is for another one, and Microsoft lets nothing from one into the \
                     other. Nothing has been connected.",
                    home.as_ref().map_or("another of Microsoft's clouds", Home::title)
                ),
                format!("Please ask {contact} for an invitation to their service for your cloud."),
            ),
            Self::TryAgainSoon => pause(
                "Microsoft needs another moment",
                "Microsoft is still setting up the application in your organization.".to_owned(),
                "Wait half a minute, then start again.",
            ),
            Self::MicrosoftTrouble => again(
                "Microsoft did not answer as it should",
                "Microsoft's sign-in service had a problem just now, so your organization has not been connected.".to_owned(),
                "Wait a few minutes, then start again.",
            ),
            Self::ConditionalAccess => again(
                "A policy did not allow the sign-in",
                "A Conditional Access policy of your organization stopped the sign-in, so it has not been connected.".to_owned(),
                "Start again from a device and network that the policy allows.",
            ),
            Self::Disabled => again(
                "The application is disabled",
                format!("An administrator of your organization has disabled the application of {provider}."),
                "Enable it in Entra (Enterprise applications, Properties, Enabled for users to sign in), then start again.",
            ),
            Self::OurRequest { code } => bad(
                "Something is not set up right",
                format!("Microsoft refused the request of {provider}{}. This is not your fault.", in_brackets(*code)),
                format!("Please send the reference below to {contact}."),
            ),
            Self::Unknown { code } => again(
                "Microsoft did not approve",
                format!(
                    "Microsoft gave a reason that we do not know{}. Your organization has not been connected.",
                    in_brackets(*code)
                ),
                &format!("Start again. If this happens again, please send the reference below to {contact}."),
            ),
            Self::InvitationMangled => bad(
                "This link is not complete",
                "The address is not one of our invitations. Often a mail program has broken or shortened it.".to_owned(),
                "Copy the whole link from the message, to its last character, into the address bar.".to_owned(),
            ),
            Self::InvitationExpired => bad(
                "This invitation has expired",
                "It could be used for a limited time only.".to_owned(),
                format!("Please ask {contact} for a new invitation."),
            ),
            Self::InvitationUsed => waiting(
                "This invitation has been used",
                "An administrator has approved with it already. Each invitation can be used once.".to_owned(),
                format!("If that was you, there is nothing more to do. Otherwise please write to {contact}."),
            ),
            Self::InvitationWithdrawn => bad(
                "This invitation has been withdrawn",
                format!("{provider} has taken it back, so it can no longer be used."),
                format!("If you still want to approve, please ask {contact} for a new invitation."),
            ),
            Self::ForeignForm => bad(
                "That button was not on our page",
                "Another page has tried to begin this in your name. Nothing has happened.".to_owned(),
                "Open the invitation link that you got, and press the button there.".to_owned(),
            ),
            Self::NoCookie => again(
                "Your browser did not keep a cookie",
                "The invitation page sets one cookie, to know you again when you come back from Microsoft.".to_owned(),
                "Allow cookies for this site, or use another browser, and start again.",
            ),
            Self::Mangled => again(
                "We could not read Microsoft's answer",
                "What came back is not what Microsoft sends. Nothing has been connected.".to_owned(),
                "Open the invitation link again and start again.",
            ),
            Self::StateExpired => again(
                "That took too long",
                "For safety the way through Microsoft's pages has to be finished within an hour.".to_owned(),
                "Open the invitation link again and start again.",
            ),
            Self::Replayed => again(
                "This step has been done already",
                "Going back or reloading does not repeat a step, and this one did not lead to a connection.".to_owned(),
                "Start again.",
            ),
            Self::AlreadyDone => waiting(
                "This is done already",
                "The invitation has been answered. Going back or reloading changes nothing about it.".to_owned(),
                "There is nothing more to do. You can close this page.".to_owned(),
            ),
            Self::OtherBrowser => again(
                "You came back in a different browser",
                "The approval was begun in another browser, or this one has lost its cookie.".to_owned(),
                "Go back to the browser in which you began; or open the invitation link in this one and start again.",
            ),
            Self::NoState => again(
                "Please start from your invitation link",
                "Nothing here says which invitation you are answering, so nothing has been connected.".to_owned(),
                "Open the invitation link that you got, and begin from there.",
            ),
            Self::OldLink => again(
                "This is an old kind of link",
                format!(
                    "The link that you opened approves an application, but it cannot tell {provider} who you are. Nothing \
                     has been connected."
                ),
                &format!("Open the invitation link that you got. If you have none, ask {contact} for one."),
            ),
            Self::NotProven => again(
                "The sign-in could not be proven",
                "What Microsoft said about the sign-in does not fit this invitation. Nothing has been connected.".to_owned(),
                "Start again, with your administrator account.",
            ),
            Self::NoSuchPage => bad(
                "There is no such page",
                "The address may be incomplete.".to_owned(),
                "Open the invitation link again, to its last character.".to_owned(),
            ),
            Self::WrongMethod => again(
                "This page is reached in another way",
                "The address cannot be used like this.".to_owned(),
                "Open the invitation link again.",
            ),
            Self::OutOfOrder => bad(
                "We are out of order",
                "Something on our side does not work. Nothing has been connected.".to_owned(),
                format!(
                    "Please try again in a few minutes. If this happens again, send the reference below to {contact}."
                ),
            ),
        }
    }
}

fn in_brackets(code: Option<u32>) -> String {
    code.map(|code| format!(" (AADSTS{code})")).unwrap_or_default()
}
