//! What a person should know about one entry, decided from what was gathered.

use jiff::{SignedDuration, Timestamp};

use super::{Finding, Kind, Severity, WARNINGS};
use crate::{
    credential::{
        Credential,
        name::{EntryKind, EntryName},
        ownership::Holding,
        rotation::{LIFETIME, end_on_aws},
    },
    microsoft::graph::{CREDENTIALS_ROLES, OWN_CREDENTIALS_ROLE, Registered},
    ports::vault::{Schedule, Stage},
};

/// A rotation takes minutes; Secrets Manager repeats a failed one for some hours.
const STUCK: SignedDuration = SignedDuration::from_hours(4);
/// How a customer's own credential is replaced.
const RENEWAL: &str = "send the renewal link from the tenant's page to whoever manages the customer's application";
/// All that gathering needs of Defender.
const DEFENDER_ROLES: [&str; 2] = ["Alert.Read.All", "Machine.Read.All"];

/// What was gathered about one entry.
#[derive(Debug, Clone)]
pub struct Facts {
    pub name: EntryName,
    /// As a person types it.
    pub short: String,
    pub holding: Holding,
    pub access: Access,
    pub listed: Listing,
    /// When this very credential ends, as an earlier check has found out.
    pub remembered_end: Option<Timestamp>,
    /// The roles in its tokens for Graph and for Defender.
    pub graph_roles: Option<Vec<String>>,
    pub defender_roles: Option<Vec<String>>,
    /// What ought to be gone and is not.
    pub stubborn: Vec<String>,
}

/// What Entra says to the current credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Granted,
    Refused(String),
    /// It has nothing against the credential, and gives no token in the home tenant all the same.
    Barred(String),
    /// There was no answer, for this reason.
    Unknown(String),
}

/// What Graph says of the application's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// There was nobody to ask as.
    NotAsked,
    Read(Vec<Registered>),
    Denied,
    /// There was no answer, for this reason.
    Unknown(String),
}

/// Every finding about one entry, and whether it is due.
pub fn examine(facts: &Facts, now: Timestamp) -> (Vec<Finding>, bool) {
    let is_due = facts.is_due(now);
    let all = [
        expiry(facts, now),
        unknown_end(facts),
        is_due.then(|| half_life_over(facts)).flatten(),
        overdue(facts, now),
        stuck(facts, now),
        drift(facts),
        refused(facts),
        may_not_rotate(facts, now),
        extra_privileges(facts),
        leftover(facts),
        not_checked(facts),
    ];
    (all.into_iter().flatten().collect(), is_due)
}

impl Facts {
    fn finding(&self, kind: Kind, severity: Severity, text: String) -> Option<Finding> {
        let expires_at = self.end();
        Some(Finding { expires_at, ..Finding::of(&self.name, &self.short, kind, severity, text) })
    }

    fn listed(&self) -> &[Registered] {
        match &self.listed {
            Listing::Read(listed) => listed,
            Listing::NotAsked | Listing::Denied | Listing::Unknown(_) => &[],
        }
    }

    /// The current credential as Entra has it, if what the vault calls it is true.
    fn at_entra(&self) -> Option<&Registered> {
        let current = &self.holding.current;
        self.holding.at_entra(current, self.listed()).filter(|registered| current.fits(registered))
    }

    pub fn end(&self) -> Option<Timestamp> {
        let told = self.at_entra().and_then(|registered| registered.end);
        told.or(self.holding.current.expires_at).or(self.remembered_end)
    }

    fn is_own(&self) -> bool {
        matches!(self.name.kind, EntryKind::Tenant(_))
    }

    /// Whether nothing could be found out about this kind today.
    pub fn is_unknown(&self, kind: Kind) -> bool {
        let is_read = matches!(self.listed, Listing::Read(_));
        match kind {
            Kind::Expiry => self.is_held() && self.end().is_none(),
            Kind::Refused => matches!(self.access, Access::Unknown(_)),
            Kind::Drift | Kind::Leftover => !is_read,
            Kind::MayNotRotate => !is_read && self.listed != Listing::Denied,
            Kind::ExtraPrivileges => self.graph_roles.is_none() || self.defender_roles.is_none(),
            _ => false,
        }
    }

    fn is_held(&self) -> bool {
        self.holding.current.holds_a_credential()
    }

    fn lacks_the_role(&self) -> bool {
        let none = |roles: &Vec<String>| roles.iter().all(|role| !CREDENTIALS_ROLES.contains(&role.as_str()));
        self.listed == Listing::Denied || self.graph_roles.as_ref().is_some_and(none)
    }

    /// Half of the current secret's life is over, or a rotation has begun and not ended; and somebody can do it.
    fn is_due(&self, now: Timestamp) -> bool {
        let possible = self.is_held() && matches!(self.listed, Listing::Read(_)) && !self.lacks_the_role();
        let ours = self.holding.description.schedule == Schedule::Nobody;
        possible && ours && (self.half_time() <= now || self.holding.description.open_rotation().is_some())
    }

    /// When half of its life is over. Of a secret that nobody has told the end of, half of what we give ours.
    fn half_time(&self) -> Timestamp {
        let description = &self.holding.description;
        let stored = description.version(Stage::Current).and_then(|version| description.created.get(version));
        let made = self.at_entra().and_then(|password| password.start).or(stored.copied()).unwrap_or(Timestamp::MIN);
        match self.end() {
            Some(end) => made + end.duration_since(made) / 2,
            None => made.saturating_add(LIFETIME / 2).unwrap_or(Timestamp::MAX),
        }
    }

    /// What a person does to have it rotated, on one machine or on AWS. There the schedule of `app` is the stack's setting,
    /// and any other is begun by the check itself.
    fn rotate(&self) -> String {
        let rotate = format!("`aws secretsmanager rotate-secret --secret-id {}`", self.name.full);
        let on_aws = match self.holding.description.schedule {
            Schedule::Platform { .. } => rotate,
            Schedule::Nobody if self.is_of_the_stack() => {
                format!("`make configure PARAMETERS=RotateAppSecret=true`, then {rotate}")
            }
            Schedule::Nobody => "the check has it rotated as soon as it is due".to_owned(),
        };
        format!("run `muster rotate {}` (on AWS: {on_aws})", self.short)
    }

    /// Its schedule on AWS is a setting of the stack.
    fn is_of_the_stack(&self) -> bool {
        self.short == "app"
    }

    /// What a person does to replace the credential.
    fn replace(&self) -> String {
        // Without any credential that Entra takes there is nothing to rotate with.
        let shut_out = matches!(self.access, Access::Refused(_)) && !matches!(self.listed, Listing::Read(_));
        match self.is_held() && !self.lacks_the_role() && !shut_out {
            true => self.rotate(),
            false if self.is_own() => RENEWAL.to_owned(),
            false => self.by_hand(),
        }
    }

    fn by_hand(&self) -> String {
        let what = match &self.holding.current.application.credential {
            Credential::Certificate { .. } => "register a new certificate with the application",
            Credential::ClientSecret { .. } | Credential::Federated { .. } => "make a new secret in Entra",
        };
        format!("{what}, and store it with `muster vault put {}`", self.short)
    }
}

fn expiry(facts: &Facts, now: Timestamp) -> Option<Finding> {
    let end = facts.end()?;
    if end <= now {
        let text =
            format!("The current credential ended on {end}: nothing gets a token with it. Now {}.", facts.replace());
        return facts.finding(Kind::Expiry, Severity::Critical, text);
    }
    let left = end.duration_since(now);
    let (days, severity) = WARNINGS.into_iter().find(|(days, _)| left <= SignedDuration::from_hours(24 * days))?;
    let plural = if days == 1 { "day" } else { "days" };
    let text = format!("The current credential ends on {end}, in less than {days} {plural}: {}.", facts.replace());
    facts.finding(Kind::Expiry, severity, text)
}

fn unknown_end(facts: &Facts) -> Option<Finding> {
    let federated = matches!(facts.holding.current.application.credential, Credential::Federated { .. });
    if federated || facts.end().is_some() {
        return None;
    }
    let text = format!(
        "Nobody knows when the current credential ends: put it into the vault with its `key_id` or `expires_at`, or {}.",
        facts.replace()
    );
    facts.finding(Kind::UnknownEnd, Severity::Notice, text)
}

fn half_life_over(facts: &Facts) -> Option<Finding> {
    let text = format!(
        "It is time for a new credential: half of the current one's life is over, or a rotation has not come to its end. \
         `muster serve` rotates it by itself; elsewhere {}.",
        facts.replace()
    );
    facts.finding(Kind::HalfLifeOver, Severity::Notice, text)
}

fn overdue(facts: &Facts, now: Timestamp) -> Option<Finding> {
    let Schedule::Platform { next: Some(next) } = facts.holding.description.schedule else { return None };
    if next >= now {
        // A schedule is somebody's choice, which the check does not change.
        let end = facts.end().filter(|end| facts.is_held() && *end <= next)?;
        let text = format!(
            "The schedule begins a rotation on {next}, and the current credential ends on {end}: {}.",
            facts.rotate()
        );
        return facts.finding(Kind::RotationOverdue, Severity::Warning, text);
    }
    let text = format!(
        "A rotation was to begin on {next} and has not succeeded: the log of credential-rotation says why, and what to do."
    );
    facts.finding(Kind::RotationOverdue, Severity::Warning, text)
}

fn stuck(facts: &Facts, now: Timestamp) -> Option<Finding> {
    let description = &facts.holding.description;
    let began = description.created.get(description.open_rotation()?)?;
    if now.duration_since(*began) < STUCK {
        return None;
    }
    let text = format!(
        "A rotation has been open since {began}, and until it ends no other can begin. On one machine run \
         `muster rotate {}`, which resumes it, or ends it where there is nothing to rotate any more; on AWS take its label away: {}.",
        facts.short,
        end_on_aws(&facts.name.full)
    );
    facts.finding(Kind::RotationStuck, Severity::Warning, text)
}

fn drift(facts: &Facts) -> Option<Finding> {
    let current = &facts.holding.current;
    let (Listing::Read(listed), Some(identity)) = (&facts.listed, current.identities().next()) else { return None };
    if !facts.is_held() || facts.at_entra().is_some() {
        return None;
    }
    let how = match facts.holding.at_entra(current, listed) {
        Some(_) => "is another one's than what is stored with it",
        None => "is unknown to Entra",
    };
    let text = format!(
        "The vault calls its current credential {identity}, which {how}: correct the entry with `muster vault put {0}`, or \
         {1}.",
        facts.short,
        facts.rotate()
    );
    facts.finding(Kind::Drift, Severity::Warning, text)
}

fn refused(facts: &Facts) -> Option<Finding> {
    let why = match &facts.access {
        Access::Granted | Access::Unknown(_) => return None,
        Access::Barred(why) => {
            let text = format!(
                "Entra gives this application no token in its home tenant ({}), so nothing renews its credential: see \
                 that `client_id` and `home_tenant_id` are right, and that nobody has disabled it there.",
                why.trim_end_matches('.')
            );
            return facts.finding(Kind::Refused, Severity::Warning, text);
        }
        Access::Refused(why) => why.trim_end_matches('.'),
    };
    if matches!(facts.holding.current.application.credential, Credential::Federated { .. }) {
        let text = format!("The federated credential opens nothing: {why}.");
        return facts.finding(Kind::Refused, Severity::Critical, text);
    }
    let next_step = match facts.is_own() {
        true => RENEWAL.to_owned(),
        false => facts.by_hand(),
    };
    let text = format!("Entra does not take the current credential ({why}): {next_step}.");
    facts.finding(Kind::Refused, Severity::Critical, text)
}

/// A notice at first; past half of the secret's life it is high time. A customer's own may well stay so: its end is what
/// they are asked about.
fn may_not_rotate(facts: &Facts, now: Timestamp) -> Option<Finding> {
    if !facts.is_held() || !facts.lacks_the_role() {
        return None;
    }
    let text = format!(
        "This application may not change its own credentials, so nothing renews what it has: in its home tenant assign \
         its service principal the role {OWN_CREDENTIALS_ROLE} of Microsoft Graph, and make that service principal an \
         owner of the application. Until then {}.",
        facts.replace()
    );
    let is_late = facts.half_time() <= now && !facts.is_own();
    let severity = if is_late { Severity::Warning } else { Severity::Notice };
    facts.finding(Kind::MayNotRotate, severity, text)
}

fn extra_privileges(facts: &Facts) -> Option<Finding> {
    let extra = |roles: &Option<Vec<String>>, needed: &[&str]| -> Vec<String> {
        let roles = roles.iter().flatten();
        roles.filter(|role| !needed.contains(&role.as_str())).map(|role| role.escape_default().to_string()).collect()
    };
    let mut more = extra(&facts.graph_roles, &[OWN_CREDENTIALS_ROLE]);
    more.extend(extra(&facts.defender_roles, &DEFENDER_ROLES));
    if more.is_empty() {
        return None;
    }
    let text = format!(
        "The application holds more than it needs: {}. Take these permissions off its registration and its enterprise \
         application.",
        more.join(", ")
    );
    facts.finding(Kind::ExtraPrivileges, Severity::Warning, text)
}

fn leftover(facts: &Facts) -> Option<Finding> {
    if facts.stubborn.is_empty() {
        return None;
    }
    let text = format!(
        "Credentials of ours that nobody needs any more could not be removed and are tried again tomorrow: {}.",
        facts.stubborn.join(", ")
    );
    facts.finding(Kind::Leftover, Severity::Notice, text)
}

/// A day on which nothing could be found out must not look like one on which all is well.
fn not_checked(facts: &Facts) -> Option<Finding> {
    let why = match (&facts.access, &facts.listed) {
        (Access::Unknown(why), _) | (_, Listing::Unknown(why)) => why.trim_end_matches('.'),
        _ => return None,
    };
    let text = format!(
        "Not everything could be asked today ({why}): what was found before stands, and all of it is asked again tomorrow. \
         Should it stay so, `muster doctor` says what is in the way."
    );
    facts.finding(Kind::NotChecked, Severity::Warning, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        credential::{
            certificate,
            entry::Entry,
            ownership::tests::{description, entry, holding, hours, noon, password},
        },
        secret::Secret,
    };

    /// An entry that is well: `k1`, current for two days, ends in 178.
    fn facts() -> Facts {
        Facts {
            name: EntryName::parse("muster/app", "muster").unwrap(),
            short: "app".to_owned(),
            holding: holding(description(48, &[]), entry("current", "k1", &[])),
            access: Access::Granted,
            listed: Listing::Read(vec![password("k1", "", "cur", 48)]),
            remembered_end: None,
            graph_roles: Some(vec![OWN_CREDENTIALS_ROLE.to_owned()]),
            defender_roles: Some(vec!["Alert.Read.All".to_owned()]),
            stubborn: Vec::new(),
        }
    }

    fn examined(facts: &Facts) -> (Vec<(Kind, Severity)>, bool) {
        let (findings, due) = examine(facts, noon());
        (findings.into_iter().map(|finding| (finding.kind, finding.severity)).collect(), due)
    }

    fn ends_in(left: SignedDuration) -> Facts {
        let mut facts = facts();
        let start = Some(noon() - hours(1));
        facts.listed =
            Listing::Read(vec![Registered { start, end: Some(noon() + left), ..password("k1", "", "cur", 48) }]);
        facts
    }

    #[test]
    fn what_is_well_is_not_talked_about() {
        assert_eq!(examined(&facts()), (vec![], false));
    }

    #[test]
    fn the_end_is_announced_at_30_14_7_and_1_days() {
        for (left, severity) in [
            (hours(30 * 24 + 1), None),
            (hours(30 * 24), Some(Severity::Notice)),
            (hours(14 * 24), Some(Severity::Warning)),
            (hours(7 * 24), Some(Severity::Warning)),
            (hours(24), Some(Severity::Critical)),
            (hours(0), Some(Severity::Critical)),
            (hours(-24), Some(Severity::Critical)),
        ] {
            let expiry = expiry(&ends_in(left), noon()).map(|finding| finding.severity);
            assert_eq!(expiry, severity, "{left:?}");
        }
        // Where Graph cannot be read, what the entry says counts; certificates have nothing else.
        let mut unread = ends_in(hours(9000));
        unread.listed = Listing::NotAsked;
        unread.holding.current.expires_at = Some(noon() + hours(20));
        assert_eq!(examined(&unread).0, [(Kind::Expiry, Severity::Critical)]);
        let id = "a0000000-0000-4000-8000-00000000c11e";
        let made = certificate::make("x", noon(), "2026-11-30T00:00:00Z".parse().unwrap()).unwrap();
        let certificate = serde_json::json!({"client_id": id, "home_tenant_id": id, "credential": {
            "kind": "certificate", "certificate_pem": made.certificate_pem,
            "private_key_pem": made.private_key_pem.expose()}});
        let mut facts = facts();
        facts.holding.current = Entry::parse(&Secret::new(certificate.to_string())).unwrap();
        (facts.listed, facts.graph_roles) = (Listing::NotAsked, None);
        assert_eq!(examined(&facts), (vec![(Kind::Expiry, Severity::Warning)], false));
        let text = |facts: &Facts| expiry(facts, noon()).unwrap().text;
        let expected = "run `muster rotate app` (on AWS: `make configure PARAMETERS=RotateAppSecret=true`, then `aws";
        assert!(
            text(&facts).contains(expected),
            "without a schedule AWS would refuse the second alone: {}",
            text(&facts)
        );
        facts.short = "console".to_owned();
        assert!(text(&facts).contains("on AWS: the check has it rotated"), "{}", text(&facts));
    }

    #[test]
    fn half_of_its_life_makes_a_secret_due() {
        let aged = |age: i64, left: i64| {
            let mut facts = ends_in(hours(left));
            if let Listing::Read(listed) = &mut facts.listed {
                listed[0].start = Some(noon() - hours(age));
            }
            facts
        };
        assert!(!examined(&aged(1000, 1001)).1 && examined(&aged(1000, 1000)).1);
        let mut platform = aged(1000, 1000);
        platform.holding.description.schedule = Schedule::Platform { next: Some(noon() + hours(1)) };
        assert_eq!(examined(&platform), (vec![], false), "the platform does it");
        platform.holding.description.schedule = Schedule::Platform { next: Some(noon() - hours(1)) };
        assert_eq!(examined(&platform), (vec![(Kind::RotationOverdue, Severity::Warning)], false));
        // Where the schedule is slower than the secret, somebody is told from the first day on.
        platform.holding.description.schedule = Schedule::Platform { next: Some(noon() + hours(1000)) };
        assert_eq!(examined(&platform), (vec![(Kind::RotationOverdue, Severity::Warning)], false));
        let text = overdue(&platform, noon()).unwrap().text;
        assert!(text.ends_with("rotate-secret --secret-id muster/app`)."), "{text}");
        platform.holding.description.schedule = Schedule::Platform { next: Some(noon() + hours(999)) };
        assert_eq!(examined(&platform), (vec![], false), "in time");
        platform.holding.description.schedule = Schedule::Platform { next: None };
        assert_eq!(examined(&platform), (vec![], false), "somebody has cancelled it, and meant that");
        let mut powerless = aged(1000, 1000);
        powerless.listed = Listing::Denied;
        assert!(!examined(&powerless).1, "who may not, is not asked to");
        // Nobody knows its end: half of what we would have given it.
        for (age, due) in [(89, false), (90, true)] {
            let mut unknown = facts();
            unknown.holding = holding(description(age * 24, &[]), entry("current", "", &[]));
            let (found, is_due) = examined(&unknown);
            assert_eq!((found[0].0, is_due), (Kind::UnknownEnd, due), "{age}");
        }
    }

    #[test]
    fn an_open_rotation_is_due_and_after_four_hours_it_is_stuck() {
        for (age, stuck) in [(3, false), (4, true)] {
            let mut facts = facts();
            facts.holding.description = description(age, &[("v2", Stage::Pending)]);
            let (found, due) = examined(&facts);
            assert!(due);
            assert_eq!(found.contains(&(Kind::RotationStuck, Severity::Warning)), stuck, "{age}");
        }
        let mut over = facts();
        over.holding.description = description(9000, &[("v1", Stage::Pending)]);
        over.listed = Listing::Read(vec![password("k1", "", "cur", 48)]);
        assert!(!examined(&over).1, "AWSPENDING on the current version is the platform's own business");
    }

    #[test]
    fn what_the_vault_and_entra_say_is_compared() {
        let mut gone = facts();
        gone.listed = Listing::Read(vec![]);
        assert!(examined(&gone).0.contains(&(Kind::Drift, Severity::Warning)));
        let mut another = facts();
        another.listed = Listing::Read(vec![password("k1", "", "xyz", 48)]);
        assert!(drift(&another).unwrap().text.contains("another one's"));
        let mut refused = facts();
        refused.access = Access::Refused("AADSTS7000222: expired".to_owned());
        assert_eq!(examined(&refused).0, [(Kind::Refused, Severity::Critical)]);
        refused.listed = Listing::NotAsked;
        let barred = Facts { access: Access::Barred("AADSTS90002: no such tenant.".to_owned()), ..facts() };
        assert_eq!(examined(&barred).0, [(Kind::Refused, Severity::Warning)]);
        assert!(refused.replace().contains("muster vault put app"));
    }

    #[test]
    fn a_day_without_answers_is_told_of_and_takes_nothing_back() {
        let no_answer = || "503: out of order.".to_owned();
        let silent = Facts { access: Access::Unknown(no_answer()), listed: Listing::NotAsked, ..facts() };
        let unlisted = Facts { listed: Listing::Unknown(no_answer()), ..facts() };
        for facts in [&silent, &unlisted] {
            assert!(examined(facts).0.contains(&(Kind::NotChecked, Severity::Warning)));
            assert!(
                facts.is_unknown(Kind::Drift) && facts.is_unknown(Kind::Leftover) && facts.is_unknown(Kind::Expiry)
            );
        }
        assert!(silent.is_unknown(Kind::Refused) && !unlisted.is_unknown(Kind::Refused));
        // The credential is the one that Graph told the end of yesterday.
        let remembered = Facts { remembered_end: Some(noon() + hours(20)), ..silent };
        assert!(examined(&remembered).0.contains(&(Kind::Expiry, Severity::Critical)));
        let denied = Facts { listed: Listing::Denied, ..facts() };
        assert!(denied.is_unknown(Kind::Drift) && !denied.is_unknown(Kind::MayNotRotate));
        let half = Facts { defender_roles: None, ..facts() };
        assert!(half.is_unknown(Kind::ExtraPrivileges), "Defender's roles may be what was too much");
        let federated = entry_of_the_platform();
        let well = Facts { holding: holding(description(48, &[]), federated), listed: Listing::Denied, ..facts() };
        assert!(!well.is_unknown(Kind::Expiry), "it has no end that could be unknown");
    }

    fn entry_of_the_platform() -> Entry {
        let id = "a0000000-0000-4000-8000-00000000c11e";
        let entry = serde_json::json!({"client_id": id, "home_tenant_id": id, "credential": {"kind": "federated"}});
        Entry::parse(&Secret::new(entry.to_string())).unwrap()
    }

    #[test]
    fn more_or_less_than_the_needed_roles_is_said() {
        let mut more = facts();
        more.graph_roles = Some(vec![OWN_CREDENTIALS_ROLE.to_owned(), "Directory.Read.All".to_owned()]);
        more.defender_roles = Some(vec!["Machine.Read.All".to_owned(), "Machine.Isolate".to_owned()]);
        assert!(extra_privileges(&more).unwrap().text.contains("Directory.Read.All, Machine.Isolate"));
        let mut less = facts();
        less.graph_roles = Some(vec![]);
        assert_eq!(examined(&less).0, [(Kind::MayNotRotate, Severity::Notice)]);
        less.holding.description = description(91 * 24, &[]);
        less.listed = Listing::Denied;
        assert!(examined(&less).0.contains(&(Kind::MayNotRotate, Severity::Warning)));
        less.name = EntryName::parse("muster/tenants/a0000000-0000-4000-8000-0000000000aa", "muster").unwrap();
        let of_a_customer = may_not_rotate(&less, noon()).unwrap();
        assert!(of_a_customer.severity == Severity::Notice && of_a_customer.text.contains("send the renewal link"));
        less.access = Access::Refused("AADSTS7000222: expired".to_owned());
        assert!(refused(&less).unwrap().text.contains("send the renewal link from the tenant's page"));
    }
}
