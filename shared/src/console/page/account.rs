//! One account: its tenants, its integrations, and the invitations that were sent.

mod invite;
mod own;

use askama::Template;
use futures::future::try_join_all;
use uuid::Uuid;

pub use invite::{OFFERED, feeds, form as invitation_form, invite, invite_tenant, lifetime, withdraw};

use super::{
    Chrome, Section, Visit, activity,
    form::Form,
    message::Message,
    standing::{Level, Standing},
    words::Moment,
};
use crate::{
    consent::invitation::{self, Invitation, InvitationState, Listed},
    console::Broken,
    ports::store::StoreError,
    tenant::{
        Feed,
        account::{self, Account},
        glance::{self, Glance},
    },
    web,
};

/// Open invitations whose links are shown at once.
const LINKS: usize = 5;

#[derive(Template)]
#[template(path = "console/account.html")]
struct AccountPage<'a> {
    chrome: Chrome<'a>,
    account: &'a Account,
    created: Moment,
    /// Where the trail of this account is.
    activity: String,
    done: Option<&'static str>,
    tenants: Vec<TenantRow<'a>>,
    forms: &'a Forms,
    /// What an invitation and what an application can bring.
    offered: &'static [Feed],
    every: &'static [Feed],
    opens_invite: bool,
    /// To be sent, with what belongs to their links. Only operators see them.
    links: Vec<OpenLink>,
    invitations: Vec<InvitationRow<'a>>,
}

/// The forms of the page, one of them perhaps refused.
#[derive(Debug, Clone)]
pub struct Forms {
    invite: Form,
    own: Form,
}

struct TenantRow<'a> {
    glance: &'a Glance,
    standing: Standing<'a>,
    feeds: String,
}

/// An invitation that waits for its administrator.
struct OpenLink {
    id: Uuid,
    link: String,
    draft: String,
    expires: Moment,
    expected: Option<String>,
    feeds: String,
}

struct InvitationRow<'a> {
    invitation: &'a Invitation,
    level: Level,
    word: &'static str,
    made: Moment,
    /// When it was used or withdrawn, or when it ends or ended.
    turned: Moment,
    feeds: String,
    /// The tenant that used it.
    used_by: Option<String>,
}

pub async fn page(visit: &Visit<'_>, id: &str) -> Result<web::Response, Broken> {
    let done = visit.request.asked("done").and_then(|text| done(&text));
    show(visit, 200, id, done, &Forms::new()?).await
}

/// What has just been done, of a closed list: an address is anybody's to write.
fn done(text: &str) -> Option<&'static str> {
    Some(match text {
        "created" => "The account is there. Now let its administrator in: send an invitation.",
        "invited" => "The invitation is ready. Send its link to the customer's administrator.",
        "over" => "That invitation was over already; below stands what has become of it.",
        "withdrawn" => "The invitation is withdrawn. Whoever opens its link is told so.",
        _ => return None,
    })
}

impl Forms {
    fn new() -> Result<Self, Broken> {
        Ok(Self { invite: invite::form("invite")?, own: own::form() })
    }
}

async fn show(
    visit: &Visit<'_>,
    status: u16,
    id: &str,
    done: Option<&'static str>,
    forms: &Forms,
) -> Result<web::Response, Broken> {
    let store = visit.app.ports.store.as_ref();
    let Some(account) = known(visit, id).await? else { return Ok(visit.tell(&Message::NO_SUCH_PAGE)) };
    let (glances, listed) =
        futures::try_join!(glance::glance(store, visit.now), invitation::list_of(store, account.id, visit.now))?;
    let tenants: Vec<Glance> = glances.into_iter().filter(|glance| glance.account == account.name).collect();
    let chrome = visit.chrome(Section::Accounts);
    let links = if chrome.is_operator() { links(visit, &listed).await? } else { Vec::new() };
    let page = AccountPage {
        chrome,
        account: &account,
        created: visit.moment(account.created_at),
        activity: activity::address(&account.name),
        done,
        tenants: tenants.iter().map(TenantRow::of).collect(),
        forms,
        offered: &invite::OFFERED,
        every: &Feed::ALL,
        opens_invite: forms.invite.is_refused() || (links.is_empty() && tenants.is_empty()),
        links,
        invitations: listed.iter().map(|listed| InvitationRow::of(listed, visit)).collect(),
    };
    Ok(visit.html(status, &page))
}

async fn known(visit: &Visit<'_>, id: &str) -> Result<Option<Account>, StoreError> {
    let Ok(id) = id.parse() else { return Ok(None) };
    account::by_id(visit.app.ports.store.as_ref(), id).await
}

impl<'a> TenantRow<'a> {
    fn of(glance: &'a Glance) -> Self {
        let feeds: Vec<&str> = glance.feeds.iter().map(|feed| feed.name()).collect();
        Self { glance, standing: Standing::of_tenant(glance), feeds: feeds.join(", ") }
    }
}

/// The newest open ones, with their links and letters.
async fn links(visit: &Visit<'_>, listed: &[Listed]) -> Result<Vec<OpenLink>, Broken> {
    let open = listed.iter().filter(|listed| listed.state == InvitationState::Open).take(LINKS);
    let each = open.map(|Listed { invitation, .. }| async move {
        let invited = invitation::link(visit.app, invitation).await;
        let invited = invited.map_err(|error| Broken::Operation(error.to_string()))?;
        Ok::<_, Broken>(OpenLink {
            id: invitation.id,
            draft: invitation::mail_draft(&visit.app.config, &invited, None),
            link: invited.link.into(),
            expires: visit.moment(invitation.valid_until),
            expected: invitation.expected_tenant.map(|tenant| tenant.to_string()),
            feeds: names(&invitation.feeds),
        })
    });
    try_join_all(each).await
}

fn names(feeds: &[Feed]) -> String {
    let names: Vec<&str> = feeds.iter().map(|feed| feed.name()).collect();
    names.join(", ")
}

impl<'a> InvitationRow<'a> {
    fn is_open(&self) -> bool {
        self.level == Level::Passing
    }

    fn of(listed: &'a Listed, visit: &Visit<'_>) -> Self {
        let invitation = &listed.invitation;
        let (level, word, turned) = match &listed.state {
            InvitationState::Open => (Level::Passing, "Open", invitation.valid_until),
            InvitationState::Used(used) => (Level::Good, "Used", used.at),
            InvitationState::Expired => (Level::Idle, "Expired", invitation.valid_until),
            InvitationState::Withdrawn { at } => (Level::Idle, "Withdrawn", *at),
        };
        Self {
            invitation,
            level,
            word,
            made: visit.moment(invitation.created_at),
            turned: visit.moment(turned),
            feeds: names(&invitation.feeds),
            used_by: invitation.used.as_ref().map(|used| used.tenant_id.to_string()),
        }
    }
}
