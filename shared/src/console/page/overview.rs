//! The whole service in numbers, and who needs somebody.

use askama::Template;
use jiff::Timestamp;

use super::{
    Chrome, Section, Visit, chart,
    chart::Share,
    standing::{self, Level, Standing},
    words::{self, Moment},
};
use crate::{
    console::Broken,
    credential::status::{self, Status},
    tenant::{
        State,
        glance::{Glance, Urgency, glance},
        overview::{Overview, overview},
    },
    web,
};

/// Tenants that are named here; the others are among the accounts.
const ROWS: usize = 40;
/// Credentials likewise, those that end first.
const ENDING: usize = 20;

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage<'a> {
    chrome: Chrome<'a>,
    overview: &'a Overview,
    shares: Vec<Share>,
    states: Vec<(Level, &'static str, String)>,
    needs: Vec<Need>,
    rows: Vec<Row<'a>>,
    /// Those that need somebody, and are not named here.
    more: usize,
    ending: Vec<Ending<'a>>,
}

/// A credential that ends soon, or that somebody should know something about.
struct Ending<'a> {
    status: &'a Status,
    /// The tenant that it is for; none of our own.
    tenant: Option<&'a str>,
    kind: &'static str,
    ends: Option<(Level, Moment)>,
}

impl<'a> Ending<'a> {
    fn of(status: &'a Status, now: Timestamp) -> Self {
        Self {
            status,
            tenant: status.name.strip_prefix("tenants/"),
            kind: words::credential(status.kind.as_deref()),
            ends: status.expires_at.map(|at| (words::ending(at, now), Moment { at, now })),
        }
    }
}

/// So many tenants whose feed cannot do what it should.
struct Need {
    feed: &'static str,
    word: &'static str,
    tenants: String,
}

struct Row<'a> {
    glance: &'a Glance,
    standing: Standing<'a>,
}

pub async fn page(visit: &Visit<'_>) -> Result<web::Response, Broken> {
    let store = visit.app.ports.store.as_ref();
    let (overview, glances, pressing) =
        futures::try_join!(overview(store, visit.now), glance(store, visit.now), status::pressing(store, visit.now))?;
    Ok(visit.html(200, &made(visit.chrome(Section::Overview), &overview, &glances, &pressing, visit.now)))
}

fn made<'a>(
    chrome: Chrome<'a>,
    overview: &'a Overview,
    glances: &'a [Glance],
    credentials: &'a [Status],
    now: Timestamp,
) -> OverviewPage<'a> {
    let here = || overview.states.iter().filter(|(state, _)| **state != State::Removed);
    let of_level =
        |level| here().filter(|(state, _)| standing::state_level(**state) == level).map(|(_, count)| count).sum();
    let parts: Vec<(Level, usize)> = Level::ALL.into_iter().map(|level| (level, of_level(level))).collect();
    let mut states: Vec<(Level, &'static str, String)> = overview
        .states
        .iter()
        .map(|(state, count)| {
            (standing::state_level(*state), standing::state_word(*state), words::count(*count as u64))
        })
        .collect();
    states.sort_by_key(|(level, _, _)| *level);
    let pressing = || glances.iter().filter(|glance| glance.urgency() <= Urgency::Partly);
    OverviewPage {
        chrome,
        overview,
        shares: chart::shares(&parts),
        states,
        needs: overview
            .needs
            .iter()
            .map(|need| Need {
                feed: need.feed.name(),
                word: standing::word(need.status),
                tenants: words::plural(need.tenants, "tenant"),
            })
            .collect(),
        rows: pressing().take(ROWS).map(|glance| Row { glance, standing: Standing::of_tenant(glance) }).collect(),
        more: pressing().count().saturating_sub(ROWS),
        ending: credentials.iter().take(ENDING).map(|status| Ending::of(status, now)).collect(),
    }
}

impl OverviewPage<'_> {
    fn age(&self, seconds: &Option<i64>) -> String {
        seconds.map_or_else(|| "–".to_owned(), |seconds| words::span(jiff::SignedDuration::from_secs(seconds)))
    }

    fn count(&self, number: &usize) -> String {
        words::count(*number as u64)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        console::page::testing::{HOSTILE, Scene, check},
        credential::check::Kind,
        tenant::{
            Ability, Capability, Feed,
            glance::{Count, Worst},
            overview::Freshness,
        },
    };

    fn tenant(number: u128, state: State, status: Ability, next_step: &str) -> Glance {
        let capability = Capability { status, since: Timestamp::UNIX_EPOCH, next_step: next_step.to_owned() };
        Glance {
            tenant_id: uuid::Uuid::from_u128(number).to_string().parse().unwrap(),
            account: format!("Contoso {number} {HOSTILE}"),
            state,
            feeds: vec![Feed::Alerts],
            worst: Some(Worst { feed: Feed::Alerts, capability }),
            asleep_until: None,
            paused: false,
        }
    }

    #[test]
    fn a_thousand_tenants_are_a_few_numbers_and_the_worst_by_name() {
        let ask = "Ask an administrator of the tenant to approve the application again.";
        let mut glances: Vec<Glance> =
            (0..70).map(|n| tenant(n, State::NeedsConsent, Ability::RoleMissing, ask)).collect();
        glances.extend((100..1000).map(|n| tenant(n, State::Active, Ability::Ok, "Nothing to do.")));
        let overview = Overview {
            tenants: 1000,
            states: [
                (State::Active, 900),
                (State::NeedsConsent, 70),
                (State::Propagating, 20),
                (State::Confirming, 10),
                (State::Removed, 4),
            ]
            .into(),
            paused: 3,
            needs: vec![Count { feed: Feed::Alerts, status: Ability::RoleMissing, tenants: 70 }],
            throttled: 12,
            failing: 2,
            freshness: Freshness { tenants: 900, p50_seconds: Some(240), p99_seconds: Some(1_000) },
        };
        let scene = Scene::new();
        let now = Timestamp::UNIX_EPOCH;
        let credentials =
            [("app", 24 * 5), ("tenants/00000000-0000-4000-8000-0000000000aa", 24 * 20)].map(|(name, left)| {
                let warnings = [(Kind::Expiry, format!("It ends {HOSTILE}."))].into();
                Status {
                    expires_at: Some(now + SignedDuration::from_hours(left)),
                    warnings,
                    ..Status::new(name, None, now)
                }
            });
        let page = made(scene.chrome(Section::Overview), &overview, &glances, &credentials, now).render().unwrap();
        let page = check("overview", &page);
        assert!(page.contains("4 minutes") && page.contains("17 minutes") && page.contains("1,000"));
        assert!(page.contains("70 tenants") && page.contains("30 more"));
        assert_eq!(page.matches("/tenants/").count(), ROWS + 1, "one for each tenant, and one for its credential");
    }
}
