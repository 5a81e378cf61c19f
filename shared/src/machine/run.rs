//! What a run decides: what a record tells, where the list goes on, who is missing, who may be given up.

use std::collections::BTreeMap;

use super::{
    Sighting,
    inventory::News,
    progress::Place,
    snapshot::{Known, Line, Presence, Snapshot},
};
use crate::microsoft::defender::Position;

/// Machines asked for by their id in one run, as far as the list has left calls for it: a crowd's worth, or a backlog
/// would take weeks.
const ASKED_PER_RUN: usize = 50;
/// Of them, those that were there last time: an inventory may have hundreds that are out of the list and yet there.
const UNLISTED_PER_RUN: usize = 5;
/// Fewer than these vanish on any day.
const FEW: usize = 10;
/// Complete runs that are one moment: a list that loses half its pages may lose them over the hour.
const AT_ONCE: u64 = 2;

/// What a record tells about its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Unchanged,
    /// The same machine in another place: nothing for the lake.
    Moved,
    News(News),
}

/// Compares a record with what is known. `presence` is where the record was found: in the list, or by its id.
pub fn tell(known: Option<&Known>, sighting: &Sighting, presence: Presence) -> (Told, Presence) {
    let presence = if sighting.merged_into.is_some() { Presence::Merged } else { presence };
    let same = known.filter(|known| known.content == sighting.content);
    let told = match (same, &sighting.merged_into) {
        (Some(known), _) if known.presence == presence => Told::Unchanged,
        // A merged record that the list has left out, and shows again.
        (Some(known), Some(_)) if known.presence.is_merged() => Told::Moved,
        (_, Some(into)) => Told::News(News::Merged { into: into.clone() }),
        (Some(known), None) if !known.presence.is_merged() => Told::Moved,
        (_, None) => Told::News(News::Collected),
    };
    (told, presence)
}

/// What one page came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRead {
    pub elements: u64,
    /// Elements whose id no page of this run had shown before, unreadable ones with them.
    pub new: u64,
    pub more: More,
}

/// What a page says of those behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum More {
    /// Nothing.
    Silent,
    /// They are here.
    At(Position),
    /// There are more, behind a link that is no place in this list.
    Elsewhere,
}

/// Where the list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Page(Place),
    End,
    /// It has shown all it has a second time: the service takes no notice of `$skip`, and its first page was the list.
    Repeated,
    /// It goes round in circles: there is no telling what it leaves out.
    Lost,
}

/// Follows the next link, else skips what was read, until a page is empty. A service that links says where it ends; one
/// whose link cannot be followed has said that it goes on.
pub fn next(place: &Place, page: &PageRead) -> Next {
    let read = place.read + page.elements;
    if page.elements > 0 && page.new == 0 {
        // As many as all pages so far, and every one of them known: the first page once more.
        let again = page.more == More::Silent && !place.linked && page.elements == place.read;
        return if again { Next::Repeated } else { Next::Lost };
    }
    match &page.more {
        More::At(position) if *position == place.position => Next::Lost,
        More::At(position) => Next::Page(Place { position: position.clone(), read, linked: true }),
        More::Elsewhere if page.elements == 0 => Next::Lost,
        More::Silent if page.elements == 0 || place.linked => Next::End,
        More::Silent | More::Elsewhere => Next::Page(Place { position: Position::Skip(read), read, linked: false }),
    }
}

/// The whole list has been read in the complete run of this number: writes down who is missing since. Merged records that
/// two complete runs have not shown are forgotten; after one alone, the next list might show one again, as news.
pub fn miss(snapshot: &mut Snapshot, run: u64, mut tell: impl FnMut(Line)) {
    let absent = snapshot.iter().filter(|(_, known)| !snapshot.has_seen(known));
    let absent: Vec<(String, Known)> = absent.map(|(id, known)| (id.to_owned(), *known)).collect();
    for (id, known) in absent {
        tell(match known.presence {
            Presence::Listed => snapshot.set(&id, known.content, Presence::Missed(run)),
            Presence::Merged => snapshot.set(&id, known.content, Presence::MergedMissed(run)),
            Presence::MergedMissed(since) if since < run => snapshot.remove(&id),
            Presence::MergedMissed(_) | Presence::Missed(_) | Presence::Unlisted => continue,
        });
    }
}

/// How many machines have vanished at once that nobody has accepted, if they are more than is believed: more than a fifth,
/// and more than a few (PAINS 17). Those who left one after the other and wait to be asked for are no crowd; a crowd stays
/// one, however long ago it left, until it is back or accepted.
pub fn breaker(snapshot: &Snapshot, accepted_through: u64) -> Option<u64> {
    let mut leavers: BTreeMap<u64, usize> = BTreeMap::new();
    for (_, known) in snapshot.iter() {
        if let Presence::Missed(since) = known.presence
            && since > accepted_through
        {
            *leavers.entry(since).or_default() += 1;
        }
    }
    let crowd = |first: u64| leavers.range(first..first.saturating_add(AT_ONCE)).map(|(_, count)| count).sum::<usize>();
    let largest = leavers.keys().map(|first| crowd(*first)).max().unwrap_or(0);
    (largest > FEW && largest * 5 > snapshot.count()).then_some(largest as u64)
}

/// Whom to ask for by id: those that two complete runs have not shown, and now and then those that were there when last
/// asked. In the order of their ids, behind the one that was asked last, so that everybody gets a turn.
pub fn to_ask(snapshot: &Snapshot, run: u64, asked: Option<&str>) -> Vec<String> {
    let mut turns: Vec<(bool, &str, bool)> = Vec::new();
    for (id, known) in snapshot.iter() {
        let unlisted = match known.presence {
            Presence::Missed(since) if since < run => false,
            Presence::Unlisted => true,
            _ => continue,
        };
        turns.push((asked.is_some_and(|asked| id <= asked), id, unlisted));
    }
    // Stable: behind the last one first, then from the beginning.
    turns.sort_by_key(|(had_its_turn, _, _)| *had_its_turn);
    let mut unlisted_left = UNLISTED_PER_RUN;
    let mut chosen = Vec::new();
    for (_, id, unlisted) in turns {
        if chosen.len() == ASKED_PER_RUN {
            break;
        }
        if unlisted {
            if unlisted_left == 0 {
                continue;
            }
            unlisted_left -= 1;
        }
        chosen.push(id.to_owned());
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(content: u8, merged_into: Option<&str>) -> Sighting {
        Sighting { id: "m".to_owned(), content: [content; 16], merged_into: merged_into.map(str::to_owned) }
    }

    fn known(content: u8, presence: Presence) -> Known {
        let mut snapshot = Snapshot::default();
        snapshot.set("m", [content; 16], presence);
        *snapshot.get("m").unwrap()
    }

    fn snapshot(machines: &[(&str, Presence)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (id, presence) in machines {
            snapshot.set(id, [1; 16], *presence);
        }
        snapshot
    }

    #[test]
    fn a_record_tells_news_a_move_or_nothing() {
        use Presence::{Listed, Merged, MergedMissed, Missed, Unlisted};
        let collected = Told::News(News::Collected);
        let merged = Told::News(News::Merged { into: "t".to_owned() });
        for (before, content, into, found, told, then) in [
            (None, 1, None, Listed, &collected, Listed),
            (Some(known(1, Listed)), 1, None, Listed, &Told::Unchanged, Listed),
            (Some(known(1, Listed)), 2, None, Listed, &collected, Listed),
            (Some(known(1, Missed(3))), 1, None, Listed, &Told::Moved, Listed),
            (Some(known(1, Missed(3))), 1, None, Unlisted, &Told::Moved, Unlisted),
            (Some(known(1, Unlisted)), 1, None, Unlisted, &Told::Unchanged, Unlisted),
            (Some(known(1, Unlisted)), 2, None, Unlisted, &collected, Unlisted),
            (Some(known(1, Listed)), 2, Some("t"), Listed, &merged, Merged),
            (None, 2, Some("t"), Listed, &merged, Merged),
            (Some(known(2, Merged)), 2, Some("t"), Listed, &Told::Unchanged, Merged),
            (Some(known(2, Merged)), 3, None, Listed, &collected, Listed),
            (Some(known(2, MergedMissed(3))), 2, Some("t"), Listed, &Told::Moved, Merged),
            (
                Some(known(2, MergedMissed(3))),
                3,
                Some("u"),
                Listed,
                &Told::News(News::Merged { into: "u".to_owned() }),
                Merged,
            ),
            (Some(known(2, MergedMissed(3))), 3, None, Listed, &collected, Listed),
        ] {
            let found = tell(before.as_ref(), &sighting(content, into), found);
            assert_eq!(found, (told.clone(), then), "{before:?} {content} {into:?}");
        }
    }

    #[test]
    fn pain_17_the_list_goes_on_by_link_or_by_what_was_read_until_it_says_that_it_ends() {
        let page = |elements, link: Option<&str>| PageRead {
            elements,
            new: elements,
            more: link.map_or(More::Silent, |query| More::At(Position::Link(query.to_owned()))),
        };
        let place = |position, read, linked| Place { position, read, linked };
        let link = |query: &str| Position::Link(query.to_owned());
        let start = Place::start();
        assert_eq!(next(&start, &page(0, None)), Next::End);
        assert_eq!(next(&start, &page(7, None)), Next::Page(place(Position::Skip(7), 7, false)));
        assert_eq!(
            next(&place(Position::Skip(7), 7, false), &page(3, None)),
            Next::Page(place(Position::Skip(10), 10, false))
        );
        assert_eq!(next(&place(Position::Skip(10), 10, false), &page(0, None)), Next::End);
        let second = place(link("a"), 7, true);
        assert_eq!(next(&start, &page(7, Some("a"))), Next::Page(second.clone()));
        assert_eq!(next(&second, &page(7, None)), Next::End, "a service that links says where it ends");
        assert_eq!(next(&second, &page(0, Some("b"))), Next::Page(place(link("b"), 7, true)));
        assert_eq!(next(&second, &page(7, Some("a"))), Next::Lost, "a link to itself");
        let old = |elements, more| PageRead { elements, new: 0, more };
        assert_eq!(next(&start, &old(7, More::Silent)), Next::Lost, "nothing but old ones");
        let elsewhere = |elements| PageRead { elements, new: elements, more: More::Elsewhere };
        let skipping = |read| place(Position::Skip(read), read, false);
        assert_eq!(next(&start, &elsewhere(7)), Next::Page(skipping(7)), "a link that cannot be followed is no end");
        assert_eq!(next(&second, &elsewhere(3)), Next::Page(skipping(10)), "nor behind others that could");
        assert_eq!(next(&skipping(10), &elsewhere(0)), Next::Lost, "it says more, and shows nothing");
        assert_eq!(next(&skipping(7), &old(7, More::Silent)), Next::Repeated, "`$skip` is not taken notice of");
        assert_eq!(next(&skipping(14), &old(7, More::Silent)), Next::Lost, "not the first page alone");
        assert_eq!(next(&skipping(7), &old(7, More::Elsewhere)), Next::Lost);
    }

    #[test]
    fn who_is_not_shown_is_missing_since_that_run_and_merged_records_are_forgotten_in_the_second() {
        let mut known = snapshot(&[("a", Presence::Listed), ("b", Presence::Listed), ("c", Presence::Unlisted)]);
        known.set("d", [1; 16], Presence::Merged);
        known.set("e", [1; 16], Presence::Missed(2));
        known.begin_page();
        known.see("a");
        let mut told = 0;
        miss(&mut known, 7, |_| told += 1);
        assert_eq!(told, 2);
        let all =
            |known: &Snapshot| -> Vec<_> { known.iter().map(|(id, known)| (id.to_owned(), known.presence)).collect() };
        let mut expected = vec![
            ("a".to_owned(), Presence::Listed),
            ("b".to_owned(), Presence::Missed(7)),
            ("c".to_owned(), Presence::Unlisted),
            ("d".to_owned(), Presence::MergedMissed(7)),
            ("e".to_owned(), Presence::Missed(2)),
        ];
        assert_eq!(all(&known), expected);
        miss(&mut known, 7, |_| told += 1);
        assert_eq!((all(&known), told), (expected.clone(), 2), "the same run once more");
        miss(&mut known, 8, |_| told += 1);
        expected.remove(3);
        assert_eq!((all(&known), told), (expected, 3));
    }

    #[test]
    fn pain_17_more_than_a_fifth_and_more_than_ten_at_once_are_not_believed() {
        for (missing, listed, held) in
            [(10, 0, false), (11, 0, true), (11, 43, true), (11, 44, false), (20, 80, false), (21, 79, true)]
        {
            let ids: Vec<String> = (0..missing + listed).map(|n| format!("{n:03}")).collect();
            let presence = |n| if n < missing { Presence::Missed(3) } else { Presence::Listed };
            let machines: Vec<_> = ids.iter().enumerate().map(|(n, id)| (id.as_str(), presence(n))).collect();
            let known = snapshot(&machines);
            assert_eq!(breaker(&known, 0), held.then_some(missing as u64), "{missing} of {}", missing + listed);
            assert_eq!(breaker(&known, 3), None, "accepted");
        }
    }

    #[test]
    fn leavers_of_many_days_are_no_crowd_and_a_crowd_of_long_ago_is_one() {
        for (leavers, held) in [
            (vec![(1, 6), (2, 4), (3, 6), (4, 4), (5, 5)], None),
            (vec![(1, 6), (2, 5)], Some(11)),
            (vec![(1, 2), (7, 5), (8, 7), (9, 4), (20, 3)], Some(12)),
            (vec![(1, 6), (3, 6), (5, 6)], None),
            (vec![(1, 30), (9, 1)], Some(30)),
        ] {
            let mut known = Snapshot::default();
            for (since, count) in &leavers {
                for n in 0..*count {
                    known.set(&format!("{since}-{n}"), [1; 16], Presence::Missed(*since));
                }
            }
            assert_eq!(breaker(&known, 0), held, "{leavers:?}");
        }
    }

    #[test]
    fn everybody_who_is_missing_gets_a_turn_and_nobody_after_one_run() {
        let known = snapshot(&[
            ("a", Presence::Missed(1)),
            ("b", Presence::Listed),
            ("c", Presence::Unlisted),
            ("d", Presence::Missed(2)),
            ("e", Presence::Missed(1)),
        ]);
        assert_eq!(to_ask(&known, 2, None), ["a", "c", "e"], "d is missing for the first time");
        assert_eq!(to_ask(&known, 3, Some("c")), ["d", "e", "a", "c"]);
        let ids: Vec<String> = (0..99).map(|n| format!("{n:03}")).collect();
        let crowd = |presence| snapshot(&ids.iter().map(|id| (id.as_str(), presence)).collect::<Vec<_>>());
        assert_eq!(to_ask(&crowd(Presence::Missed(1)), 2, None).len(), ASKED_PER_RUN);
        assert_eq!(to_ask(&crowd(Presence::Unlisted), 2, None).len(), UNLISTED_PER_RUN);
    }
}
