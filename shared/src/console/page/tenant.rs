//! One tenant: how it stands, what its feeds do, who let us in, and everything an operator can do about it.

mod act;
mod feeds;
pub mod remove;

use askama::Template;

pub use act::act;

use super::{
    Chrome, Section, Visit,
    form::Form,
    message::Message,
    standing::{Level, Standing},
    words::{self, Moment},
};
use crate::{
    console::Broken,
    credential::{
        renewal,
        status::{self, Status},
    },
    microsoft::tokens::ApplicationName,
    ports::store::{Store, StoreError},
    random,
    tenant::{
        Consent, Feed, State, TenantId,
        account::{self, Account},
        detail::{Detail, detail},
        glance::Glance,
        list::{CredentialView, TenantView},
        load,
    },
    web,
};
use feeds::{Day, FeedRow, Walk};
use remove::Left;

#[derive(Template)]
#[template(path = "console/tenant.html")]
struct TenantPage<'a> {
    chrome: Chrome<'a>,
    once: String,
    view: &'a TenantView,
    /// Where its account is, if that has a record.
    account: Option<String>,
    activity: String,
    standing: Standing<'a>,
    done: Option<&'static str>,
    forms: &'a Forms,
    every: &'static [Feed],
    connected: Moment,
    /// Since when access is claimed, while it is not proven.
    claimed: Option<Moment>,
    feeds: Vec<FeedRow<'a>>,
    days: Vec<Day>,
    walk: Option<Walk>,
    consent: Option<Evidence<'a>>,
    credential: Option<Credential<'a>>,
    left: Option<Left>,
}

/// What we sign in there with.
struct Credential<'a> {
    kind: &'static str,
    expires: Option<(Level, Moment)>,
    checked: Moment,
    /// Where an operator enters a new one, if it is the customer's own.
    renew: Option<String>,
    link: Option<&'a RenewalLink>,
    warnings: &'a [String],
}

/// By which the customer's administrator enters a new one. Only operators see it.
struct RenewalLink {
    link: String,
    draft: String,
    expires: Moment,
}

/// The forms of the page, one of them perhaps refused.
#[derive(Debug, Clone)]
pub struct Forms {
    /// Confirm, pull now, pause: buttons without fields.
    action: Form,
    settings: Form,
    backfill: Form,
    account: Form,
}

/// Who let us in.
struct Evidence<'a> {
    consent: &'a Consent,
    at: Moment,
    vouched: Option<Moment>,
}

pub async fn page(visit: &Visit<'_>, id: &str) -> Result<web::Response, Broken> {
    let done = visit.request.asked("done").and_then(|text| done(&text));
    show(visit, 200, id, done, None).await
}

/// What has just been done, of a closed list: an address is anybody's to write.
fn done(text: &str) -> Option<&'static str> {
    Some(match text {
        "connected" => "Access is proven, and the credential is in the vault. The first pull is on its way.",
        "confirmed" => "Confirmed. Access is proven, and the first pull is on its way.",
        "pulled" => "Pulling now. What is new is in the lake within a minute or so; reload to see it.",
        "passed" => "No feed can be pulled just now; below stands why.",
        "backfill" => "The backfill has begun. New alerts are not delayed by it.",
        "changed" => "Changed.",
        "paused" => "Paused. Nothing is gathered until somebody resumes it.",
        "resumed" => "Resumed, from where it stopped.",
        "removed" => "Removed. Nothing is gathered from this tenant any more.",
        "moved" => "Moved to this account.",
        "accepted" => "Accepted: the machines are let go as Defender confirms it for each.",
        "renewal" => "The renewal link is ready. Send it to whoever manages the customer's application.",
        "nothing-held" => "No machines are held back any more.",
        _ => return None,
    })
}

impl Forms {
    /// As the tenant is now; the one that was refused as it was sent.
    fn of(view: &TenantView, refused: Option<Form>) -> Self {
        let feeds = view.feeds.keys().fold(Form::new("settings"), |form, feed| form.with("feeds", feed.name()));
        let region = view.region.map(|region| region.to_string()).unwrap_or_default();
        let storage = view.storage.as_ref();
        let settings = feeds
            .with("region", region)
            .with("storage.account_name", storage.map_or("", |storage| storage.account_name.as_str()))
            .with("storage.queue_name", storage.map_or("", |storage| storage.queue_name.as_str()));
        let fresh = [Form::new("action"), settings, Form::new("backfill"), Form::new("move")];
        let [action, settings, backfill, account] = fresh.map(|form| match &refused {
            Some(refused) if refused.is_the(&form) => refused.clone(),
            _ => form,
        });
        Self { action, settings, backfill, account }
    }

    fn refused(&self) -> impl Iterator<Item = &Form> {
        [&self.action, &self.settings, &self.backfill, &self.account].into_iter().filter(|form| form.is_refused())
    }
}

async fn show(
    visit: &Visit<'_>,
    status: u16,
    id: &str,
    done: Option<&'static str>,
    refused: Option<Form>,
) -> Result<web::Response, Broken> {
    let store = visit.app.ports.store.as_ref();
    let Ok(tenant) = id.parse::<TenantId>() else { return Ok(visit.tell(&Message::NO_SUCH_PAGE)) };
    let (detail, known) = futures::try_join!(detail(store, tenant, visit.now), load(store, tenant))?;
    let (Some(detail), Some(known)) = (detail, known) else { return Ok(visit.tell(&Message::NO_SUCH_PAGE)) };
    let account = account::by_name(store, &detail.view.account).await?;
    let forms = Forms::of(&detail.view, refused);
    let known_of_it = match &detail.view.credential {
        Some(credential) => checked(store, tenant, &credential.application).await?,
        None => None,
    };
    let left = Left::of(visit, &known.connection).await;
    let glance = Glance::of(known.connection, visit.now);
    let chrome = visit.chrome(Section::Accounts);
    let link = if chrome.is_operator() { RenewalLink::of(visit, &detail.view).await? } else { None };
    let warnings: Vec<String> = known_of_it.map(|status| status.warnings.into_values().collect()).unwrap_or_default();
    let (link, once, now) = (link.as_ref(), random::id()?.to_string(), visit.now);
    let scene =
        Scene { chrome, account: account.as_ref(), glance: &glance, left, warnings: &warnings, link, once, now };
    Ok(visit.html(status, &made(scene, &detail, &forms, done)))
}

/// What the daily check has found about the tenant's credential.
async fn checked(store: &dyn Store, tenant: TenantId, name: &ApplicationName) -> Result<Option<Status>, StoreError> {
    let name = match name {
        ApplicationName::App => "app".to_owned(),
        ApplicationName::Own => status::own(tenant),
    };
    status::one(store, &name).await
}

/// What is known beside the tenant itself.
struct Scene<'a> {
    chrome: Chrome<'a>,
    account: Option<&'a Account>,
    glance: &'a Glance,
    left: Option<Left>,
    /// Of its credential.
    warnings: &'a [String],
    link: Option<&'a RenewalLink>,
    /// Tells one page's invitation from another's.
    once: String,
    now: jiff::Timestamp,
}

fn made<'a>(
    Scene { chrome, account, glance, left, warnings, link, once, now }: Scene<'a>,
    detail: &'a Detail,
    forms: &'a Forms,
    done: Option<&'static str>,
) -> TenantPage<'a> {
    let view = &detail.view;
    let moment = |at| Moment { at, now };
    TenantPage {
        chrome,
        once,
        view,
        account: account.map(|account| format!("/accounts/{}", account.id)),
        activity: format!("/activity?tenant={}", view.tenant_id),
        standing: Standing::of_tenant(glance),
        done,
        forms,
        every: &Feed::ALL,
        connected: moment(view.connected_at),
        claimed: view.claimed_at.map(moment),
        feeds: view.capabilities.iter().filter_map(|(feed, able)| FeedRow::of(*feed, able, view, now)).collect(),
        days: detail.history.iter().map(|(feed, hours)| Day::of(*feed, hours)).collect(),
        walk: view.backfill.as_ref().map(Walk::of),
        consent: view.consent.as_ref().map(|consent| Evidence {
            consent,
            at: moment(consent.at),
            vouched: consent.vouched_at.map(moment),
        }),
        credential: view.credential.as_ref().map(|credential| Credential {
            link,
            warnings,
            ..Credential::of(credential, account, view, now)
        }),
        left,
    }
}

impl<'a> Credential<'a> {
    fn of(credential: &CredentialView, account: Option<&Account>, view: &TenantView, now: jiff::Timestamp) -> Self {
        let renew = account.filter(|_| credential.application == ApplicationName::Own);
        Self {
            kind: words::credential(credential.kind.as_deref()),
            expires: credential.expires_at.map(|at| (words::ending(at, now), Moment { at, now })),
            checked: Moment { at: credential.checked_at, now },
            renew: renew.map(|account| format!("/accounts/{}?own={}#own", account.id, view.tenant_id)),
            link: None,
            warnings: &[],
        }
    }
}

impl RenewalLink {
    /// The one that was made last, as long as it leads somewhere.
    async fn of(visit: &Visit<'_>, view: &TenantView) -> Result<Option<Self>, Broken> {
        if view.state == State::Removed || view.application != ApplicationName::Own {
            return Ok(None);
        }
        let made = renewal::made(visit.app, view.tenant_id).await?;
        Ok(made.map(|(client_id, renewal)| Self {
            draft: renewal::mail_draft(&visit.app.config, &renewal, &client_id),
            expires: visit.moment(renewal.expires_at),
            link: renewal.link.into(),
        }))
    }
}

impl TenantPage<'_> {
    fn is_removed(&self) -> bool {
        self.view.state == State::Removed
    }

    fn is_confirming(&self) -> bool {
        self.view.state == State::Confirming
    }

    /// Whether there is anything to pull, or to set.
    fn is_in(&self) -> bool {
        !self.is_removed() && !self.is_confirming()
    }

    fn has_alerts(&self) -> bool {
        self.view.feeds.contains_key(&Feed::Alerts)
    }

    fn is_by_its_own(&self) -> bool {
        !self.is_removed() && self.view.application == ApplicationName::Own
    }

    fn held(&self) -> Option<u64> {
        self.view.feeds.get(&Feed::Machines).and_then(|machines| machines.held)
    }

    fn application(&self) -> &'static str {
        match self.view.application {
            ApplicationName::App => "ours, approved by the customer",
            ApplicationName::Own => "the customer's own",
        }
    }

    fn region(&self) -> &'static str {
        let region = self.view.region.map(|region| region.to_string());
        let known = super::REGIONS.iter().find(|(name, _)| region.as_deref() == Some(*name));
        known.map_or("wherever Microsoft sends us", |(_, place)| place)
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::{
        alert::{backfill::Backfill, progress::WalkReason},
        console::page::{
            form::Mistake,
            testing::{HOSTILE, Scene as Around, check},
        },
        record::{Hour, Ledger},
        tenant::{Ability, Capability, glance::Worst, list::FeedView},
    };

    const TENANT: &str = "9f0c2d4e-1b3a-4c5d-8e7f-0123456789ab";

    fn now() -> Timestamp {
        "2026-11-22T14:30:00Z".parse().unwrap()
    }

    fn hours(delivered: impl Fn(i64) -> u64, age: impl Fn(i64) -> Option<u32>) -> Vec<Hour> {
        let begins = |n: i64| now() - SignedDuration::from_hours(23 - n);
        let hour = |n| Hour { begins_at: begins(n), worst_seconds: age(n), delivered: delivered(n) };
        (0..24).map(hour).collect()
    }

    fn detail(name: &str, state: State, failing: Option<&str>) -> Detail {
        let capability = |words: Option<&str>| Capability {
            status: if words.is_some() { Ability::RoleMissing } else { Ability::Ok },
            since: now() - SignedDuration::from_hours(30),
            next_step: words.unwrap_or("Nothing to do.").to_owned(),
        };
        let ledger =
            |fetched, deduplicated| Ledger { fetched, delivered: fetched - deduplicated, deduplicated, quarantined: 0 };
        let at = |minutes| Some(now() - SignedDuration::from_mins(minutes));
        let feeds = [
            (Feed::Alerts, FeedView { watermark: at(2), ledger: ledger(12_345, 120), ..FeedView::default() }),
            (
                Feed::Machines,
                FeedView {
                    watermark: at(42),
                    machines: Some(480),
                    held: Some(61),
                    ledger: ledger(9_001, 0),
                    ..FeedView::default()
                },
            ),
            (
                Feed::Telemetry,
                FeedView {
                    blobs: Some(31),
                    bytes_behind: Some(1_200_000),
                    ledger: Ledger { fetched: 5, ..Ledger::default() },
                    ..FeedView::default()
                },
            ),
        ];
        let consent = Consent {
            at: now() - SignedDuration::from_hours(500),
            oid: "00000000-0000-4000-8000-00000000aaaa".to_owned(),
            name: name.to_owned(),
            admin_roles: vec!["Application Administrator".to_owned()],
            roles: vec!["Alert.Read.All".to_owned(), "Machine.Read.All".to_owned()],
            invitation: "00000000-0000-4000-8000-00000000bbbb".to_owned(),
            account: name.to_owned(),
            vouched_at: None,
        };
        let view = TenantView {
            tenant_id: TENANT.parse().unwrap(),
            account: name.to_owned(),
            state,
            capabilities: [
                (Feed::Alerts, capability(None)),
                (Feed::Machines, capability(failing)),
                (Feed::Telemetry, capability(None)),
            ]
            .into(),
            feeds: feeds.into(),
            region: Some("eu".parse().unwrap()),
            application: ApplicationName::App,
            storage: Some("contosologs1/muster-hints".parse().unwrap()),
            watermark: at(2),
            freshness_seconds: Some(120),
            ledger: ledger(12_345, 120),
            backlog: true,
            backfill: Some(Backfill {
                reason: WalkReason::Backfill,
                since: now() - SignedDuration::from_hours(24 * 30),
                until: now() - SignedDuration::from_hours(24 * 7),
                reached: now() - SignedDuration::from_hours(24 * 14),
                percent: 63,
            }),
            parked: 1,
            lateness: Default::default(),
            connected_at: now() - SignedDuration::from_hours(500),
            claimed_at: None,
            paused: false,
            consent: Some(consent),
            credential: Some(CredentialView {
                application: ApplicationName::Own,
                kind: Some("client_secret".to_owned()),
                expires_at: Some(now() + SignedDuration::from_hours(24 * 12)),
                checked_at: now() - SignedDuration::from_hours(3),
            }),
        };
        let alerts = hours(
            |n| [0, 3, 9, 4, 14, 22][(n as usize * 5) % 6],
            |n| match n {
                0..=5 => None,
                15 | 16 => Some(4_300),
                _ => Some(900),
            },
        );
        let history = [
            (Feed::Alerts, alerts),
            (Feed::Machines, hours(|n| (n % 7) as u64, |_| Some(3_600))),
            (Feed::Telemetry, hours(|n| 900 * n as u64, |_| Some(800))),
        ];
        Detail { view, history: history.into() }
    }

    fn shown(name: &str, detail: &Detail, refused: Option<Form>, is_operator: bool) -> String {
        let view = &detail.view;
        let worst = view.capabilities.iter().find(|(_, capability)| capability.status != Ability::Ok);
        let glance = Glance {
            tenant_id: view.tenant_id,
            account: view.account.clone(),
            state: view.state,
            feeds: view.feeds.keys().copied().collect(),
            worst: worst.map(|(feed, capability)| Worst { feed: *feed, capability: capability.clone() }),
            asleep_until: None,
            paused: view.paused,
        };
        let account = Account { id: uuid::Uuid::from_u128(1), name: view.account.clone(), created_at: now() };
        let around = Around::new();
        let chrome = around.chrome_of(Section::Accounts, is_operator);
        let removed = view.state == State::Removed;
        let left = removed.then(|| Left {
            at: Some(Moment { at: now(), now: now() }),
            secret_until: Some(Moment { at: now() + SignedDuration::from_hours(24 * 30), now: now() }),
            kept: crate::tenant::remove::kept(),
            link: "https://entra.microsoft.com/#view/Apps".parse().unwrap(),
            step: "An administrator of the tenant deletes the enterprise application.".to_owned(),
            taken: Some("2 feeds, 12 items of state.".to_owned()),
        });
        let warnings = ["The secret of the application ends in 12 days; make a new one.".to_owned()];
        let link = RenewalLink {
            link: "https://muster.example.com/renew/AAAA.BBBB".to_owned(),
            draft: "mailto:?subject=S&body=B".to_owned(),
            expires: Moment { at: now() + SignedDuration::from_hours(24 * 20), now: now() },
        };
        let link = (view.application == ApplicationName::Own && is_operator).then_some(&link);
        let (warnings, once) = (&warnings, String::new());
        let scene = Scene { chrome, account: Some(&account), glance: &glance, left, warnings, link, once, now: now() };
        let forms = Forms::of(view, refused);
        check(name, &made(scene, detail, &forms, done("changed")).render().unwrap())
    }

    #[test]
    fn a_tenant_shows_its_state_its_feeds_and_who_let_us_in() {
        let step = "Ask an administrator of the tenant to approve the application again: the permission Machine.Read.All is not granted.";
        let page = shown("tenant", &detail("Contoso", State::Active, Some(step)), None, true);
        for words in
            ["Role missing", "Machine.Read.All is not granted", "12,225", "5 not accounted for", "63 %", "61 vanished"]
        {
            assert!(page.contains(words), "{words}");
        }
        assert!(page.contains("later than 20 minutes in 2 hours."));
        assert!(page.contains("Application Administrator") && page.contains("contosologs1"));
    }

    #[test]
    fn a_reader_sees_no_form_but_the_one_that_signs_out() {
        let page = shown("tenant-reader", &detail("Contoso", State::Active, None), None, false);
        assert_eq!(page.matches("<form").count(), 1);
        assert!(!page.contains("the-token\"><button type=\"submit\">Pull"));
    }

    #[test]
    fn a_tenant_that_comes_by_its_own_application_has_a_link_to_renew_it_and_nobody_but_an_operator_sees_it() {
        let mut detail = detail("Contoso", State::CredentialFault, None);
        assert!(!shown("tenant-app", &detail, None, true).contains("enewal link"), "what is ours is no customer's");
        detail.view.application = ApplicationName::Own;
        let page = shown("tenant-own", &detail, None, true);
        assert!(
            page.contains("value=\"https://muster.example.com/renew/AAAA.BBBB\"") && page.contains("mailto:?subject")
        );
        assert!(!shown("tenant-own-reader", &detail, None, false).contains("enewal link"));
        detail.view.state = State::Removed;
        assert!(!shown("tenant-own-removed", &detail, None, true).contains("/renewal\""));
    }

    #[test]
    fn names_and_words_from_outside_stay_text() {
        let page = shown("tenant-hostile", &detail(HOSTILE, State::Confirming, Some(HOSTILE)), None, true);
        assert!(page.contains("&#60;script&#62;alert(1)") && page.contains("I vouch for this person"));
        assert!(!page.contains("Pull now"), "there is nothing to pull before somebody has vouched");
    }

    #[test]
    fn what_was_refused_stands_open_with_its_sentence_beside_the_field() {
        let sent = web::Request { body: Ok(b"since=tomorrow".to_vec()), ..web::Request::default() }.form().unwrap();
        let form = Form::refused("backfill", &sent, &["since"], vec![Mistake::new("since", "give a day")]);
        let page = shown("tenant-refused", &detail("Contoso", State::Active, None), Some(form), true);
        assert!(page.contains("href=\"#backfill-since\">Give a day.") && page.contains("value=\"tomorrow\""));
    }

    #[test]
    fn a_removed_tenant_has_nothing_left_to_do_but_to_come_back() {
        let mut detail = detail("Contoso", State::Removed, None);
        (detail.view.feeds, detail.view.capabilities, detail.history) = Default::default();
        let page = shown("tenant-removed", &detail, None, true);
        assert!(page.contains("2 feeds, 12 items") && page.contains("everything in the lake"));
        assert!(page.contains("New invitation") && !page.contains("Pull now") && !page.contains("Begin a backfill"));
    }
}
