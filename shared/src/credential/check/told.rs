//! What the trail is told of findings: each once when it is new or has become more pressing, and once when it is over.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Finding, Kind, Severity, WARNINGS};

/// How pressing each kind was when the trail was told last.
pub type Told = BTreeMap<Kind, u8>;

/// What of today's check is news.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// What the next check is to compare with.
    pub told: Told,
    /// Places in the list of findings.
    pub new: Vec<usize>,
    pub over: Vec<Kind>,
}

/// Compares today's findings about one entry with what was told before. Nothing is over of a kind that could not be judged
/// today: `unknown` says of which.
pub fn news(before: &Told, findings: &[Finding], unknown: impl Fn(Kind) -> bool, now: Timestamp) -> News {
    let mut news = News::default();
    for (place, finding) in findings.iter().enumerate() {
        let Some(pressing) = pressing(finding, now) else { continue };
        // One that ends later than it did, or is less of a trouble, is remembered as it is, so that it is told again.
        if before.get(&finding.kind).is_none_or(|told| *told < pressing) {
            news.new.push(place);
        }
        let most = news.told.entry(finding.kind).or_default();
        *most = pressing.max(*most);
    }
    for (kind, told) in before.iter().filter(|(kind, _)| !findings.iter().any(|finding| finding.kind == **kind)) {
        if unknown(*kind) {
            news.told.insert(*kind, *told);
        } else {
            news.over.push(*kind);
        }
    }
    news
}

/// Grows as it gets worse: of what ends with the days that are left, of all else with its severity. `None` for what is no
/// news: that Muster is about to do something by itself, or that it could.
fn pressing(finding: &Finding, now: Timestamp) -> Option<u8> {
    match (finding.kind, finding.severity) {
        (Kind::Expiry, _) => {
            let left = finding.expires_at.map_or(SignedDuration::MAX, |end| end.duration_since(now));
            let passed = WARNINGS.iter().filter(|(days, _)| left <= SignedDuration::from_hours(24 * days)).count();
            u8::try_from(passed).ok().map(|passed| passed + u8::from(left <= SignedDuration::ZERO))
        }
        (Kind::HalfLifeOver, _) | (Kind::MayNotRotate, Severity::Notice) => None,
        (_, Severity::Notice) => Some(0),
        (_, Severity::Warning) => Some(1),
        (_, Severity::Critical) => Some(2),
    }
}

impl Kind {
    /// As people read that it is over.
    pub fn over(self) -> &'static str {
        match self {
            Self::Expiry => "The current credential does not end soon any more.",
            Self::UnknownEnd => "It is known when the current credential ends.",
            Self::HalfLifeOver => "The current credential is not half over any more.",
            Self::RotationOverdue => "The rotation that was overdue has succeeded.",
            Self::RotationStuck => "The rotation that was stuck is over.",
            Self::Drift => "The vault and Entra agree about the current credential again.",
            Self::Refused => "Entra takes the current credential again.",
            Self::ExtraPrivileges => "The application holds no more than it needs.",
            Self::MayNotRotate => "The application may change its own credentials, or has a young one.",
            Self::Leftover => "Nothing of ours is left over at Entra.",
            Self::Unusable => "The entry can be used again.",
            Self::NotChecked => "The entry can be checked again.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn finding(kind: Kind, severity: Severity, left: Option<i64>) -> Finding {
        Finding {
            vault: "muster/app".to_owned(),
            name: "app".to_owned(),
            kind,
            severity,
            text: String::new(),
            tenant_id: None,
            expires_at: left.map(|hours| now() + SignedDuration::from_hours(hours)),
            is_new: false,
        }
    }

    /// The days left of each day's check on which the trail is told.
    fn told_on(days: impl Iterator<Item = i64>) -> Vec<i64> {
        let mut told = Told::new();
        let is_told = |days: &i64| {
            let found = finding(Kind::Expiry, Severity::Warning, Some(24 * days));
            let news = news(&told, if *days <= 30 { std::slice::from_ref(&found) } else { &[] }, |_| false, now());
            told = news.told;
            !news.new.is_empty()
        };
        days.filter(is_told).collect()
    }

    #[test]
    fn an_end_is_told_once_at_30_14_7_and_1_days_and_once_when_it_has_come() {
        assert_eq!(told_on((-9..40).rev()), [30, 14, 7, 1, 0]);
        // A check that did not run for days tells it when it runs again.
        assert_eq!(told_on([31, 20, 19, 3, 2, -1].into_iter()), [20, 3, -1]);
    }

    #[test]
    fn what_is_new_or_worse_is_told_once_and_that_it_is_over() {
        let warned = finding(Kind::Drift, Severity::Warning, None);
        let worse = finding(Kind::Drift, Severity::Critical, None);
        let notice = finding(Kind::HalfLifeOver, Severity::Notice, None);
        let leisure = finding(Kind::UnknownEnd, Severity::Notice, None);
        let (known, noticed): (Told, Told) = ([(Kind::Drift, 1)].into(), [(Kind::UnknownEnd, 0)].into());
        for (before, found, told, new, over) in [
            (Told::new(), vec![warned.clone()], known.clone(), vec![0], vec![]),
            (known.clone(), vec![warned.clone()], known.clone(), vec![], vec![]),
            (known.clone(), vec![notice.clone(), worse], [(Kind::Drift, 2)].into(), vec![1], vec![]),
            ([(Kind::Drift, 2)].into(), vec![warned], known.clone(), vec![], vec![]),
            (known.clone(), vec![], Told::new(), vec![], vec![Kind::Drift]),
            (Told::new(), vec![notice], Told::new(), vec![], vec![]),
            (Told::new(), vec![leisure.clone()], noticed.clone(), vec![0], vec![]),
            (noticed.clone(), vec![leisure], noticed.clone(), vec![], vec![]),
            (noticed, vec![], Told::new(), vec![], vec![Kind::UnknownEnd]),
        ] {
            assert_eq!(news(&before, &found, |_| false, now()), News { told, new, over });
        }
        let unknown = news(&known, &[], |kind| kind == Kind::Drift, now());
        assert_eq!(unknown, News { told: known, ..News::default() }, "nobody knows today whether it is over");
    }
}
