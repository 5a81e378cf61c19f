//! Pages that say one thing: that a sign-in failed, a form was refused, a page is not there.

use askama::Template;

use super::Chrome;
use crate::{console::sign_in::Outside, page::Pages, web};

/// One thing said, with what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    status: u16,
    heading: &'static str,
    text: &'static str,
    /// A link that goes on, and what stands on it.
    on: Option<(&'static str, &'static str)>,
}

#[derive(Template)]
#[template(path = "console/message.html")]
struct MessagePage<'a> {
    chrome: Chrome<'a>,
    message: &'a Message,
}

pub fn show(pages: &Pages<'_>, message: &Message) -> web::Response {
    let page = MessagePage { chrome: Chrome { frame: pages.frame(), who: None }, message };
    pages.html(message.status, page.render())
}

const SIGN_IN: Option<(&str, &str)> = Some(("/login", "Sign in"));
const ON: Option<(&str, &str)> = Some(("/accounts", "To the accounts"));

impl Message {
    pub const SIGNED_OUT: Self = Self {
        status: 200,
        heading: "You are signed out",
        text: "Of this console. Other pages of Microsoft's may still know you in this browser.",
        on: SIGN_IN,
    };
    pub const SESSION_OVER: Self = Self {
        status: 401,
        heading: "Your session is over",
        text: "Nothing was done. Sign in again, and then repeat what you were doing.",
        on: SIGN_IN,
    };
    pub const FOREIGN_FORM: Self = Self {
        status: 403,
        heading: "This form is not from your session",
        text: "Nothing was done. You may have signed in again since the page was opened: open it anew and repeat what you were \
               doing. If you came here from another site, somebody tried to act in your name.",
        on: ON,
    };
    pub const READER: Self = Self {
        status: 403,
        heading: "You may look, and change nothing",
        text: "Nothing was done. Your role is Muster.Reader; whoever manages the application in Entra can assign \
               Muster.Operator to you.",
        on: ON,
    };
    pub const NO_FORM: Self = Self {
        status: 400,
        heading: "This cannot be read",
        text: "Nothing was done. What was sent is no form of this console, or is too long: 256 KB at most.",
        on: ON,
    };
    pub const NO_SUCH_PAGE: Self = Self {
        status: 404,
        heading: "There is no such page",
        text: "The address may be damaged, or what it showed is gone.",
        on: ON,
    };
    pub const OUT_OF_ORDER: Self = Self {
        status: 503,
        heading: "The console is out of order",
        text: "Try again in a few minutes. If it stays like this, the log says why; the reference below finds the line.",
        on: ON,
    };

    /// Why somebody stays outside.
    pub fn outside(why: Outside) -> Self {
        let refused = |heading, text| Self { status: 403, heading, text, on: SIGN_IN };
        match why {
            Outside::Stale => Self {
                status: 400,
                heading: "This sign-in is not one of yours",
                text: "It took longer than a quarter of an hour, or was begun in another browser. Begin again.",
                on: SIGN_IN,
            },
            // User assignment is required, and this person has none (MICROSOFT.md 1.2).
            Outside::NoRole | Outside::Refused(Some(50_105)) => refused(
                "You have no role here",
                "You are signed in to Microsoft, and this console does not know you. Whoever manages the application in Entra \
                 can assign Muster.Operator or Muster.Reader to you, under Enterprise applications, Users and groups.",
            ),
            Outside::Refused(Some(65_004)) => refused(
                "You have declined",
                "Microsoft asked whether this console may know who you are, and the answer was no.",
            ),
            Outside::Refused(Some(700_016 | 500_011 | 50_011)) => refused(
                "Microsoft does not know this console",
                "The application that the vault names is not in the provider's tenant, or this address is not one of its \
                 redirect URIs. Whoever set it up can mend that; the address ends in /login/callback.",
            ),
            Outside::Refused(_) => {
                refused("Microsoft did not sign you in", "Try again. If it says no again, its own page tells why.")
            }
            Outside::NotProven => refused(
                "The sign-in could not be proven",
                "What Microsoft sent does not prove that you are one of the provider's people. Begin again; if that does not \
                 help, the log says what was wrong.",
            ),
        }
    }
}
