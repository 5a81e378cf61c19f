//! One account: its tenants, its integrations, and the invitations that were sent.

pub mod invite;
mod own;

use askama::Template;
use futures::future::try_join_all;
use jiff::Timestamp;
use uuid::Uuid;

pub use invite::{invite, invite_tenant, withdraw};
pub use own::connect;

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
/// Invitations that are listed, the newest.
const INVITATIONS: usize = 30;
/// Tenants that are listed, the worst; who has more finds them by the search.
const TENANTS: usize = 40;

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
    opens_own: bool,
    /// To be sent, with what belongs to their links. Only operators see them.
    links: Vec<OpenLink>,
    invitations: Vec<InvitationRow<'a>>,
    /// Older ones that have no room.
    rows_more: usize,
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
    show(visit, 200, id, done, &Forms::new(visit).await?).await
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
    async fn new(visit: &Visit<'_>) -> Result<Self, Broken> {
        Ok(Self { invite: invite::form()?, own: own::form(visit).await? })
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
    let tenants: Vec<Glance> =
        glances.into_iter().filter(|glance| glance.account == account.name).take(TENANTS).collect();
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
        opens_own: forms.own.is_refused() || !forms.own.value("tenant_id").is_empty(),
        opens_invite: forms.invite.is_refused() || (links.is_empty() && tenants.is_empty()),
        links,
        invitations: listed.iter().take(INVITATIONS).map(|listed| InvitationRow::of(listed, visit.now)).collect(),
        rows_more: listed.len().saturating_sub(INVITATIONS),
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

    fn of(listed: &'a Listed, now: Timestamp) -> Self {
        let moment = |at| Moment { at, now };
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
            made: moment(invitation.created_at),
            turned: moment(turned),
            feeds: names(&invitation.feeds),
            used_by: invitation.used.as_ref().map(|used| used.tenant_id.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        console::page::{
            form::Mistake,
            testing::{HOSTILE, Scene, check},
        },
        tenant::{Ability, Capability, State, glance::Worst},
    };

    fn now() -> Timestamp {
        "2026-11-22T14:30:00Z".parse().unwrap()
    }

    fn moment(hours: i64) -> Moment {
        Moment { at: now() + SignedDuration::from_hours(hours), now: now() }
    }

    fn tenant(number: u128) -> Glance {
        let capability = Capability { status: Ability::Ok, since: now(), next_step: "Nothing to do.".to_owned() };
        Glance {
            tenant_id: Uuid::from_u128(number).to_string().parse().unwrap(),
            account: HOSTILE.to_owned(),
            state: State::Active,
            feeds: vec![Feed::Alerts, Feed::Machines],
            worst: Some(Worst { feed: Feed::Alerts, capability }),
            asleep_until: None,
            paused: false,
        }
    }

    fn invitation(number: u128) -> Invitation {
        Invitation {
            id: Uuid::from_u128(number),
            account: HOSTILE.to_owned(),
            feeds: vec![Feed::Alerts],
            expected_tenant: Some(tenant(1).tenant_id),
            created_at: now() - SignedDuration::from_hours(1),
            valid_until: now() + SignedDuration::from_hours(100),
            used: None,
            withdrawn_at: None,
        }
    }

    fn shown(name: &str, account: &str, tenants: &[Glance], forms: &Forms, is_operator: bool) -> String {
        let scene = Scene::new();
        let account = Account { id: Uuid::from_u128(9), name: account.to_owned(), created_at: now() };
        let made: Vec<Listed> = (0..if tenants.is_empty() { 0 } else { 60 })
            .map(|n| Listed { invitation: invitation(n), state: InvitationState::Expired })
            .collect();
        let link = OpenLink {
            id: Uuid::from_u128(7),
            link: format!("https://muster.example.com/connect/{}", "A".repeat(90)),
            draft: "mailto:?subject=Access&body=Hello".to_owned(),
            expires: moment(100),
            expected: None,
            feeds: "alerts, machines".to_owned(),
        };
        let page = AccountPage {
            chrome: scene.chrome_of(Section::Accounts, is_operator),
            account: &account,
            created: moment(-500),
            activity: activity::address(&account.name),
            done: done("invited"),
            tenants: tenants.iter().map(TenantRow::of).collect(),
            forms,
            offered: &invite::OFFERED,
            every: &Feed::ALL,
            opens_own: forms.own.is_refused(),
            opens_invite: tenants.is_empty(),
            links: if is_operator && !tenants.is_empty() { vec![link] } else { Vec::new() },
            rows_more: made.len().saturating_sub(INVITATIONS),
            invitations: made.iter().take(INVITATIONS).map(|listed| InvitationRow::of(listed, now())).collect(),
        };
        check(name, &page.render().unwrap())
    }

    fn forms() -> Forms {
        Forms { invite: invite::form().unwrap(), own: Form::new("own").with("kind", "client_secret") }
    }

    #[test]
    fn an_account_shows_its_tenants_its_links_and_both_ways_in() {
        let page = shown("account", HOSTILE, &[tenant(1), tenant(2)], &forms(), true);
        assert!(page.contains("Copy link") && page.contains("Send an invitation") && page.contains("Own application"));
        assert!(page.contains("&#60;script&#62;alert(1)") && page.contains("Older ones"));
        shown("account-new", "Contoso", &[], &forms(), true);
    }

    #[test]
    fn a_reader_sees_states_and_no_link_and_no_form() {
        let page = shown("account-reader", "Contoso", &[tenant(1)], &forms(), false);
        assert_eq!(page.matches("<form").count(), 1, "signing out");
        assert!(!page.contains("/connect/") && !page.contains("mailto:") && page.contains("Expired"));
    }

    #[test]
    fn each_thing_that_is_missing_stands_beside_its_field() {
        let sent = web::Request { body: Ok(b"tenant_id=t&client_secret=s3cret".to_vec()), ..web::Request::default() };
        let mistakes = vec![
            Mistake::new("credential", "This client secret has expired."),
            Mistake::new("storage.queue_name", "Ask the customer to give our application a role on the queue."),
        ];
        let own = Form::refused("own", &sent.form().unwrap(), &["tenant_id", "kind"], mistakes);
        let page = shown("account-refused", "Contoso", &[], &Forms { own, ..forms() }, true);
        for link in ["#own-credential\">This client secret", "#own-storage-queue_name\">Ask the customer"] {
            assert!(page.contains(link), "{link}");
        }
        assert!(page.contains("aria-describedby=\"own-storage-queue_name-hint own-storage-queue_name-error\""));
        assert!(!page.contains("s3cret") && page.contains("value=\"t\""));
    }
}
