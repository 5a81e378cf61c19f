//! The inventory: machines come, change, hide, merge and go; each change is delivered once, and nobody is removed on a
//! misreading.

use futures::executor::block_on;
use harness::{CLIENT, MACHINE_ROLE, Stage, TENANT, at, minutes, seconds};
use serde_json::{Value, json};
use shared::{
    audit::{Action, Actor},
    machine::accept::{Accepted, accept},
    tenant::{Ability, Feed, State},
};
use simulator::{EmptyInventory, Fault, Machine, NextLinks, PastTheEnd, Route, Tenant};

fn collected(id: &str) -> (String, String) {
    (id.to_owned(), "Collect".to_owned())
}

fn removed(id: &str) -> (String, String) {
    (id.to_owned(), "Removed".to_owned())
}

fn ids(count: u32) -> Vec<String> {
    (0..count).map(|n| format!("m{n:04}")).collect()
}

fn stage_with(count: u32) -> Stage {
    let stage = Stage::with_machines();
    stage.put_machines(ids(count).iter().map(String::as_str));
    stage
}

/// The operator's word.
fn accept_machines(stage: &Stage) -> Accepted {
    let words = || stage.deeds().into_iter().filter(|(action, _)| *action == Action::Accepted).count();
    let before = words();
    let accepted = block_on(accept(&stage.app, TENANT.parse().unwrap(), &Actor::CommandLine)).unwrap();
    let said = usize::from(matches!(accepted, Accepted::Machines(_)));
    assert_eq!(words() - before, said, "the trail knows of every such word");
    accepted
}

#[test]
fn the_first_run_brings_everybody_and_an_unchanged_one_writes_nothing_to_the_lake() {
    let stage = stage_with(3);
    stage.run_machines();
    assert_eq!(stage.machine_news(), ids(3).iter().map(|id| collected(id)).collect::<Vec<_>>());
    let (objects, state) = (stage.lake.objects(), stage.state_versions());
    stage.simulator.clear_log();
    // Everybody has been seen again meanwhile.
    let now = stage.now();
    stage.machines(|machines| {
        for id in ids(3) {
            machines.update(&id, |fields| {
                fields.insert("lastSeen".to_owned(), json!(harness::stamp(now)));
            });
        }
    });
    stage.run_machines();
    assert_eq!(stage.lake.objects(), objects);
    assert_eq!(stage.machine_calls(), ["/api/machines", "/api/machines?$skip=3"]);
    let written: Vec<_> = stage.state_versions().into_iter().filter(|item| !state.contains(item)).collect();
    assert_eq!(written.len(), 1, "one item: {written:?}");
    let feed = stage.machine_feed();
    assert_eq!((feed.machines, feed.complete_runs, feed.last_complete), (3, 2, Some(at(120))));
    assert_eq!((feed.ledger.fetched, feed.ledger.delivered, feed.ledger.deduplicated), (6, 3, 3));
    stage.assert_inventory(TENANT);
}

#[test]
fn a_change_is_one_event_and_a_repeated_message_none() {
    let stage = stage_with(3);
    stage.run_machines();
    stage.machines(|machines| {
        machines.update("m0001", |fields| {
            fields.insert("riskScore".to_owned(), json!("Catastrophic"));
        });
    });
    stage.run_machines();
    assert_eq!(stage.machine_news()[3..], [collected("m0001")]);
    stage.simulator.clear_log();
    stage.pull(Feed::Machines);
    assert_eq!(stage.machine_calls(), Vec::<String>::new(), "done before");
    // There and back again is two changes, each with an event of its own.
    for risk in ["Low", "Catastrophic", "Low"] {
        stage.machines(|machines| {
            machines.update("m0001", |fields| {
                fields.insert("riskScore".to_owned(), json!(risk));
            });
        });
        stage.run_machines();
    }
    assert_eq!(stage.machine_news().len(), 7);
    stage.assert_inventory(TENANT);
}

#[test]
fn pain_17_the_whole_list_is_read_with_next_links_and_without() {
    for (links, page_size, calls) in [
        (NextLinks::Always, 10, vec!["", "?$skip=10", "?$skip=20"]),
        (NextLinks::Never, 10, vec!["", "?$skip=10", "?$skip=20", "?$skip=25"]),
        (NextLinks::Always, 25, vec!["", "?$skip=25"]),
    ] {
        let stage = stage_with(25);
        stage.machines(|machines| (machines.next_links, machines.page_size) = (links, page_size));
        stage.run_machines();
        let expected: Vec<String> = calls.iter().map(|query| format!("/api/machines{query}")).collect();
        assert_eq!(stage.machine_calls(), expected, "{links:?}");
        assert_eq!(stage.machine_feed().machines, 25);
        stage.assert_inventory(TENANT);
    }
}

#[test]
fn pain_17_a_next_link_that_leads_elsewhere_is_never_followed() {
    for (link, then) in [
        // Not our list: what was read is skipped.
        ("https://evil.example/collect?$skip=10", "?$skip=10"),
        ("https://api.security.microsoft.com/api/alerts?$skip=10", "?$skip=10"),
        // Our list at another host: its query, and nothing else of it.
        ("https://evil.example/api/machines?$skip=10&$top=10000", "?$skip=10&$top=10000"),
    ] {
        let stage = stage_with(15);
        stage.machines(|machines| machines.page_size = 10);
        stage.script_machines([Fault::NextLink(link.to_owned())]);
        let before = stage.origins.lock().unwrap().clone();
        stage.run_machines();
        assert_eq!(stage.machine_calls()[1], format!("/api/machines{then}"), "{link}");
        assert_eq!(stage.machine_feed().machines, 15, "{link}");
        assert_eq!(*stage.origins.lock().unwrap(), before, "{link}");
        stage.assert_inventory(TENANT);
    }
}

#[test]
fn a_next_link_that_leads_in_circles_ends_the_run_without_a_word_about_who_is_missing() {
    let stage = stage_with(3);
    stage.run_machines();
    stage.machines(|machines| machines.remove("m0002"));
    let circle = "https://api.security.microsoft.com/api/machines?$skip=0".to_owned();
    stage.script_machines(vec![Fault::NextLink(circle); 9]);
    stage.simulator.clear_log();
    stage.run_machines();
    assert_eq!(stage.machine_calls().len(), 2, "{:?}", stage.machine_calls());
    assert_eq!(stage.machine_feed().complete_runs, 1);
}

#[test]
fn pain_17_a_machine_is_gone_after_two_complete_runs_without_it_and_its_own_404() {
    let stage = stage_with(3);
    stage.run_machines();
    stage.machines(|machines| machines.remove("m0001"));
    stage.run_machines();
    assert_eq!(stage.machine_news().len(), 3, "one run proves nothing");
    assert!(!stage.machine_calls().contains(&"/api/machines/m0001".to_owned()));
    // A gateway's 404 is nobody's word.
    stage.world(|world| world.script(Route::Machine, [Fault::Html(404)]));
    stage.run_machines();
    assert_eq!(stage.machine_news().len(), 3);
    stage.run_machines();
    assert_eq!(stage.machine_news()[3..], [removed("m0001")]);
    let event = stage.machine_events().pop().unwrap();
    assert_eq!((&event["activity_id"], &event["type_uid"]), (&json!(99), &json!(500_199)));
    stage.run_machines();
    assert_eq!(stage.machine_news().len(), 4, "once");
    stage.assert_inventory(TENANT);
    // It comes back as a new one.
    stage.put_machines(["m0001"]);
    stage.run_machines();
    assert_eq!(stage.machine_news()[4..], [collected("m0001")]);
    stage.assert_inventory(TENANT);
}

#[test]
fn pain_17_a_list_that_shifts_while_it_is_read_tells_nothing_about_who_is_missing() {
    let stage = stage_with(6);
    stage.run_machines();
    stage.machines(|machines| {
        machines.page_size = 3;
        machines.remove("m0005");
    });
    for _ in 0..4 {
        // m0002 is pushed onto the second page, where it has been seen already.
        stage.machines(|machines| {
            machines.between_requests(|machines| machines.put(Machine::new("a-new-one", at(0))));
            machines.between_requests(|machines| machines.remove("a-new-one"));
        });
        stage.run_machines();
    }
    assert_eq!(stage.machine_feed().complete_runs, 1);
    assert_eq!(stage.machine_news().len(), 6, "m0005 is gone, and nobody knows");
    stage.machines(|machines| {
        machines.update("m0004", |fields| {
            fields.insert("riskScore".to_owned(), json!("new"));
        });
        machines.between_requests(|machines| machines.put(Machine::new("a-new-one", at(0))));
    });
    stage.run_machines();
    assert_eq!(stage.machine_news()[6..], [collected("m0004")], "what is seen is delivered all the same");
    for _ in 0..3 {
        stage.run_machines();
    }
    stage.assert_inventory(TENANT);
}

#[test]
fn pain_17_a_machine_that_slips_through_a_page_is_not_taken_for_gone() {
    let stage = stage_with(6);
    stage.run_machines();
    stage.machines(|machines| {
        machines.page_size = 3;
        // m0003 slips onto the first page when that has been read.
        machines.between_requests(|machines| machines.remove("m0000"));
    });
    stage.run_machines();
    for _ in 0..3 {
        stage.run_machines();
    }
    assert_eq!(stage.machine_news()[6..], [removed("m0000")]);
    stage.assert_inventory(TENANT);
}

#[test]
fn pain_17_a_crowd_that_vanishes_at_once_waits_for_the_operator() {
    let stage = stage_with(50);
    stage.run_machines();
    stage.machines(|machines| ids(50)[..11].iter().for_each(|id| machines.remove(id)));
    stage.metrics();
    for _ in 0..4 {
        stage.run_machines();
    }
    assert_eq!(stage.machine_news().len(), 50, "nobody is removed");
    let capability = stage.machine_capability();
    assert!(capability.next_step.contains("11 of 50 machines"), "{capability:?}");
    assert!(capability.next_step.contains(&format!("muster accept {TENANT}")), "{capability:?}");
    assert_eq!(capability.status, Ability::Ok);
    let held: Vec<Value> =
        stage.metrics().iter().filter_map(|document| document.get("MachinesHeld").cloned()).collect();
    assert_eq!(held, [11, 11, 11, 11]);
    assert!(stage.machine_calls().iter().all(|call| !call.starts_with("/api/machines/")), "and nobody asked for");

    assert_eq!(accept_machines(&stage), Accepted::Machines(11));
    assert_eq!(accept_machines(&stage), Accepted::Nothing);
    assert!(!stage.machine_capability().next_step.contains("accept"));
    stage.run_machines();
    assert_eq!(stage.machine_news().len(), 61);
    stage.assert_inventory(TENANT);
    // The next crowd is held back anew.
    stage.machines(|machines| ids(50)[20..35].iter().for_each(|id| machines.remove(id)));
    for _ in 0..3 {
        stage.run_machines();
    }
    assert_eq!(stage.machine_news().len(), 61);
    assert_eq!(stage.machine_feed().held.map(|held| held.machines), Some(15));
}

#[test]
fn pain_17_a_list_that_was_only_cut_short_releases_the_breaker_by_itself() {
    let stage = stage_with(40);
    stage.run_machines();
    stage.machines(|machines| machines.unlisted.extend(ids(30)));
    for _ in 0..2 {
        stage.run_machines();
    }
    assert!(stage.machine_feed().held.is_some());
    stage.machines(|machines| machines.unlisted.clear());
    stage.run_machines();
    assert_eq!(stage.machine_feed().held, None);
    assert_eq!(stage.machine_capability().next_step, "Nothing to do.");
    assert_eq!(stage.machine_news().len(), 40, "and not a word in the lake");
    assert_eq!(accept_machines(&stage), Accepted::Nothing);
    stage.assert_inventory(TENANT);
}

#[test]
fn a_machine_that_the_list_leaves_out_is_kept_while_its_id_answers_and_its_changes_are_delivered() {
    let stage = stage_with(4);
    stage.run_machines();
    stage.machines(|machines| {
        machines.unlisted.insert("m0002".to_owned());
    });
    for _ in 0..4 {
        stage.run_machines();
    }
    assert_eq!(stage.machine_news().len(), 4);
    stage.machines(|machines| {
        machines.update("m0002", |fields| {
            fields.insert("riskScore".to_owned(), json!("new"));
        });
    });
    let snapshots = stage.snapshots().len();
    stage.run_machines();
    assert_eq!(stage.machine_news()[4..], [collected("m0002")]);
    assert!(stage.snapshots().len() > snapshots);
    let objects = stage.lake.objects();
    stage.run_machines();
    assert_eq!(stage.lake.objects(), objects, "asked for again, and nothing to write");
    stage.machines(|machines| machines.remove("m0002"));
    stage.run_machines();
    assert_eq!(stage.machine_news()[5..], [removed("m0002")]);
    stage.assert_inventory(TENANT);
}

#[test]
fn pain_25_a_merged_machine_is_removed_and_lives_on_as_the_other() {
    let stage = stage_with(3);
    stage.run_machines();
    stage.machines(|machines| {
        machines.put(Machine::new("m0001", at(0)).merged_into("new-identity"));
        machines.put(Machine::new("new-identity", at(0)));
        // The list does not show it yet.
        machines.unlisted.insert("new-identity".to_owned());
    });
    stage.run_machines();
    assert_eq!(stage.machine_news()[3..], [removed("m0001"), collected("new-identity")].map(|news| news));
    let merged = &stage.machine_events()[3];
    assert_eq!(merged["message"], "The machine was merged into new-identity.");
    assert_eq!(merged["unmapped"]["mergedIntoMachineId"], "new-identity");
    let objects = stage.lake.objects();
    for _ in 0..3 {
        stage.run_machines();
    }
    assert_eq!(stage.machine_news().len(), 5, "once, however often the list shows it");
    assert_eq!(stage.lake.objects(), objects);
    // Its record goes in the end, and that is no news.
    stage.machines(|machines| machines.remove("m0001"));
    for _ in 0..3 {
        stage.run_machines();
    }
    assert_eq!(stage.machine_news().len(), 5);
    assert!(stage.machine_calls().iter().all(|call| call != "/api/machines/m0001"));
    stage.assert_inventory(TENANT);
}

#[test]
fn pain_25_a_merged_record_that_the_list_leaves_out_once_is_no_news_when_it_is_back() {
    let stage = stage_with(3);
    stage.machines(|machines| machines.put(Machine::new("m0001", at(0)).merged_into("m0002")));
    stage.run_machines();
    let told = stage.machine_news();
    for _ in 0..2 {
        stage.machines(|machines| {
            machines.unlisted.insert("m0001".to_owned());
        });
        stage.run_machines();
        stage.machines(|machines| machines.unlisted.clear());
        stage.run_machines();
    }
    assert_eq!(stage.machine_news(), told);
    assert_eq!(stage.machine_feed().machines, 2);
    stage.assert_inventory(TENANT);
}

#[test]
fn a_machine_that_changes_between_two_pages_leaves_as_two_events() {
    let stage = stage_with(4);
    stage.run_machines();
    stage.machines(|machines| {
        machines.page_size = 2;
        let risk = |risk: &'static str| {
            move |fields: &mut serde_json::Map<String, Value>| {
                fields.insert("riskScore".to_owned(), json!(risk));
            }
        };
        machines.update("m0001", risk("High"));
        // It is pushed onto the second page, and is another there, and on the third as it was.
        machines.between_requests(move |machines| {
            machines.put(Machine::new("a-new-one", at(0)));
            machines.update("m0001", risk("Low"));
        });
        machines.between_requests(move |machines| {
            machines.put(Machine::new("another", at(0)));
            machines.put(Machine::new("a-third", at(0)));
            machines.update("m0001", risk("High"));
        });
    });
    stage.run_machines();
    assert_eq!(stage.machine_news()[4..7], [collected("m0001"), collected("m0001"), collected("m0001")]);
    for _ in 0..2 {
        stage.run_machines();
    }
    stage.assert_inventory(TENANT);
}

#[test]
fn ordinary_leavers_of_many_days_are_asked_for_and_not_taken_for_a_crowd() {
    let stage = stage_with(50);
    stage.run_machines();
    // A gateway answers for those who are asked for, so that they wait and add up.
    for day in 0..6 {
        stage.machines(|machines| ids(50)[day * 4..day * 4 + 3].iter().for_each(|id| machines.remove(id)));
        stage.world(|world| world.script(Route::Machine, vec![Fault::Html(404); 3]));
        stage.run_machines();
    }
    assert_eq!((stage.machine_feed().held, stage.machine_news().len()), (None, 50));
    stage.world(|world| world.clear_scripts());
    for _ in 0..2 {
        stage.run_machines();
    }
    assert_eq!(stage.machine_news().len(), 68);
    stage.assert_inventory(TENANT);
}

#[test]
fn pain_25_chains_and_circles_of_merged_machines_come_to_an_end() {
    let stage = stage_with(1);
    stage.machines(|machines| {
        for n in 0..30 {
            let id = format!("chain{n:02}");
            machines.put(Machine::new(&id, at(0)).merged_into(&format!("chain{:02}", n + 1)));
            machines.unlisted.insert(id);
        }
        machines.put(Machine::new("chain30", at(0)));
        machines.unlisted.insert("chain30".to_owned());
        machines.put(Machine::new("start", at(0)).merged_into("chain00"));
        machines.put(Machine::new("round", at(0)).merged_into("about"));
        machines.put(Machine::new("about", at(0)).merged_into("round"));
        machines.unlisted.insert("about".to_owned());
        machines.put(Machine::new("nowhere", at(0)).merged_into("gone-long-ago"));
    });
    stage.run_machines();
    let calls = stage.machine_calls().len();
    assert!(calls < 15, "{calls} calls in one run");
    for _ in 0..8 {
        stage.run_machines();
    }
    assert!(stage.machine_news().contains(&collected("chain30")), "the end of the chain is found");
    stage.simulator.clear_log();
    stage.run_machines();
    let calls = stage.machine_calls();
    assert!(calls.len() <= 3, "nobody goes round for ever: {calls:?}");
}

#[test]
fn an_empty_inventory_is_404_or_an_empty_list_and_a_gateways_404_is_neither() {
    for empty in [EmptyInventory::NotFound, EmptyInventory::EmptyList] {
        let stage = Stage::with_machines();
        stage.machines(|machines| machines.empty = empty);
        stage.run_machines();
        assert_eq!((stage.machine_feed().complete_runs, stage.machine_feed().machines), (1, 0), "{empty:?}");
        assert_eq!(stage.machine_capability().status, Ability::Ok);
        assert_eq!(stage.lake.objects().len(), 0);
        stage.put_machines(["m1"]);
        stage.script_machines([Fault::Html(404)]);
        stage.run_machines();
        assert_eq!(stage.machine_feed().complete_runs, 1);
        assert!(stage.machine_capability().next_step.contains("/api/machines"), "{:?}", stage.machine_capability());
        stage.run_machines();
        assert_eq!(stage.machine_news(), [collected("m1")]);
    }
}

#[test]
fn a_404_in_the_middle_of_the_list_is_not_its_end() {
    let stage = stage_with(6);
    stage.machines(|machines| (machines.page_size, machines.next_links) = (3, NextLinks::Never));
    stage.script_machines([Fault::Normal, Fault::Html(404), Fault::Html(404), Fault::Html(404)]);
    stage.run_machines();
    assert_eq!((stage.machine_feed().complete_runs, stage.machine_news().len()), (0, 3));
    assert_eq!(stage.machine_capability().status, Ability::Failing);
    stage.run_machines();
    assert_eq!(stage.machine_feed().complete_runs, 1);
    stage.assert_inventory(TENANT);
}

#[test]
fn the_end_of_the_list_is_an_empty_page_defenders_own_404_or_the_first_page_again() {
    for past_the_end in [PastTheEnd::EmptyList, PastTheEnd::NotFound, PastTheEnd::FirstPage] {
        let stage = stage_with(3);
        stage.machines(|machines| {
            (machines.next_links, machines.past_the_end) = (NextLinks::Never, past_the_end);
        });
        stage.run_machines();
        assert_eq!(stage.machine_calls(), ["/api/machines", "/api/machines?$skip=3"], "{past_the_end:?}");
        stage.machines(|machines| machines.remove("m0001"));
        for _ in 0..3 {
            stage.run_machines();
        }
        assert_eq!(stage.machine_feed().complete_runs, 4, "{past_the_end:?}");
        assert_eq!(stage.machine_capability().status, Ability::Ok, "{past_the_end:?}");
        assert_eq!(stage.machine_news()[3..], [removed("m0001")], "{past_the_end:?}");
        stage.assert_inventory(TENANT);
    }
}

#[test]
fn pain_17_a_link_that_cannot_be_followed_is_not_the_end_however_many_could() {
    let long = format!("https://api.security.microsoft.com/api/machines?$skiptoken={}", "x".repeat(9_000));
    for link in ["/api/machines?$skip=20", "https://api.security.microsoft.com/api/v1.0/machines?$skip=20", &long] {
        let stage = stage_with(35);
        stage.machines(|machines| machines.page_size = 10);
        stage.script_machines([Fault::Normal, Fault::NextLink(link.to_owned())]);
        stage.run_machines();
        assert_eq!((stage.machine_feed().complete_runs, stage.machine_feed().machines), (1, 35), "{link}");
        assert!(stage.heard().contains("behind a link that is no place in it"), "{link}");
        stage.assert_inventory(TENANT);
    }
}

#[test]
fn a_place_that_microsoft_knows_no_more_is_given_up_and_the_list_begins_anew() {
    for refusal in [Fault::Status(400), Fault::Status(404), Fault::Html(404)] {
        let stage = stage_with(6);
        stage.machines(|machines| machines.page_size = 3);
        stage.script_machines([
            Fault::Normal,
            Fault::Throttled { seconds: 60, header: true, words: false },
            refusal.clone(),
        ]);
        stage.run_machines();
        assert!(stage.machine_feed().run.is_some());
        stage.run_machines();
        let (feed, capability) = (stage.machine_feed(), stage.machine_capability());
        assert_eq!((feed.run, feed.complete_runs), (None, 0), "{refusal:?}");
        assert!(capability.next_step.contains("begins anew"), "{capability:?}");
        stage.simulator.clear_log();
        stage.run_machines();
        assert_eq!(stage.machine_calls(), ["/api/machines", "/api/machines?$skip=3"], "{refusal:?}");
        assert_eq!((stage.machine_feed().complete_runs, stage.machine_capability().status), (1, Ability::Ok));
        stage.run_machines();
        assert_eq!(stage.snapshots().len(), stage.machine_feed().segments.len());
        stage.assert_inventory(TENANT);
    }
}

#[test]
fn a_throttled_run_goes_on_where_it_was() {
    let stage = stage_with(9);
    stage.run_machines();
    stage.machines(|machines| {
        machines.page_size = 3;
        machines.remove("m0000");
        machines.put(Machine::new("m0009", at(0)));
    });
    let throttled = Fault::Throttled { seconds: 600, header: true, words: false };
    stage.script_machines([Fault::Normal, Fault::Normal, throttled]);
    stage.run_machines();
    let capability = stage.machine_capability();
    assert_eq!(capability.status, Ability::Throttled);
    assert!(stage.machine_feed().run.is_some());
    stage.simulator.clear_log();
    stage.pass(minutes(5));
    stage.pull(Feed::Machines);
    assert_eq!(stage.machine_calls(), Vec::<String>::new(), "asleep");
    stage.pass(minutes(55));
    stage.pull(Feed::Machines);
    assert_eq!(stage.machine_calls(), ["/api/machines?$skip=6"], "and not from the beginning");
    let feed = stage.machine_feed();
    assert_eq!((feed.complete_runs, feed.run), (2, None));
    for _ in 0..2 {
        stage.run_machines();
    }
    assert_eq!(stage.machine_news()[9..], [collected("m0009"), removed("m0000")]);
    assert_eq!(stage.snapshots().len(), stage.machine_feed().segments.len(), "what the run had seen is cleared away");
    stage.assert_inventory(TENANT);
}

#[test]
fn an_id_seen_before_the_interruption_and_after_it_makes_the_run_incomplete_too() {
    let stage = stage_with(6);
    stage.machines(|machines| machines.page_size = 3);
    stage.script_machines([Fault::Normal, Fault::Throttled { seconds: 60, header: true, words: false }]);
    stage.run_machines();
    stage.put_machines(["a-new-one"]);
    stage.run_machines();
    let feed = stage.machine_feed();
    assert_eq!((feed.complete_runs, feed.run.is_none()), (0, true), "the list has shifted meanwhile");
    stage.run_machines();
    stage.assert_inventory(TENANT);
}

#[test]
fn an_interrupted_run_that_has_waited_too_long_begins_anew() {
    let stage = stage_with(6);
    stage.machines(|machines| machines.page_size = 3);
    stage.script_machines([Fault::Normal, Fault::Throttled { seconds: 60, header: true, words: false }]);
    stage.run_machines();
    stage.pass(minutes(6));
    stage.simulator.clear_log();
    stage.run_machines();
    assert_eq!(stage.machine_calls(), ["/api/machines", "/api/machines?$skip=3"]);
    stage.assert_inventory(TENANT);
    stage.run_machines();
    assert_eq!(stage.snapshots().len(), stage.machine_feed().segments.len());
}

#[test]
fn an_interrupted_run_is_gone_on_with_at_the_next_tick_however_far_apart_they_are() {
    let stage = stage_with(6);
    stage.machines(|machines| machines.page_size = 3);
    stage.script_machines([Fault::Normal, Fault::Throttled { seconds: 60, header: true, words: false }]);
    for _ in 0..2 {
        stage.pass(minutes(12 * 60));
        block_on(local::serve::fire(&stage.app, Feed::Machines, stage.now(), 12 * 3_600));
        stage.drain_of(Feed::Machines);
    }
    assert_eq!(stage.machine_calls().last().map(String::as_str), Some("/api/machines?$skip=3"));
    assert_eq!((stage.machine_calls().len(), stage.machine_feed().complete_runs), (3, 1));
    stage.assert_inventory(TENANT);
}

#[test]
fn a_feed_that_the_customer_refuses_is_not_late_while_another_works() {
    let refusal = |message: &str| Fault::Body {
        status: 403,
        content_type: "application/json".to_owned(),
        text: json!({"error": {"code": "Forbidden", "message": message}}).to_string(),
    };
    for refusal in [refusal("No license for this tenant."), refusal("A policy forbids it.")] {
        for (feed, route) in [(Feed::Machines, Route::Machines), (Feed::Alerts, Route::Alerts)] {
            let stage = stage_with(1);
            stage.run_machines();
            stage.tick();
            let ages = |expected: bool| {
                stage.metrics();
                stage.pass(minutes(24 * 60));
                stage.pull(feed);
                let told = stage.metrics().iter().any(|document| document.get("FreshnessSeconds").is_some());
                assert_eq!(told, expected, "{feed:?} {refusal:?}");
            };
            ages(true);
            for _ in 0..2 {
                stage.world(|world| world.script(route, vec![refusal.clone(); 3]));
                ages(false);
                assert_ne!(stage.capability_of(feed).status, Ability::Ok, "{refusal:?}");
                assert_eq!(stage.view().state, State::Active, "{refusal:?}");
            }
            stage.world(|world| world.clear_scripts());
            ages(true);
        }
    }
}

#[test]
fn a_day_without_a_complete_run_is_told_and_forgotten_with_the_next() {
    let stage = stage_with(6);
    stage.run_machines();
    stage.machines(|machines| machines.page_size = 3);
    for hour in 1..=24 {
        assert!(!stage.machine_capability().next_step.contains("for a day"), "after {hour} hours");
        stage.machines(|machines| {
            machines.between_requests(move |machines| machines.put(Machine::new("a-new-one", at(0))));
            machines.between_requests(move |machines| machines.remove("a-new-one"));
        });
        stage.run_machines();
    }
    let capability = stage.machine_capability();
    assert!(capability.next_step.contains("for a day"), "{capability:?}");
    assert_eq!(capability.status, Ability::Failing);
    stage.run_machines();
    assert_eq!(stage.machine_capability().status, Ability::Ok);
}

#[test]
fn pain_18_a_token_that_expires_in_the_middle_of_a_run_is_renewed_and_the_page_asked_for_again() {
    let stage = stage_with(9);
    stage.machines(|machines| machines.page_size = 3);
    stage.script_machines([Fault::Normal, Fault::ExpiredToken, Fault::Normal, Fault::ExpiredToken]);
    stage.run_machines();
    let skips = ["", "?$skip=3", "?$skip=3", "?$skip=6", "?$skip=6"];
    assert_eq!(stage.machine_calls(), skips.map(|query| format!("/api/machines{query}")));
    assert_eq!(stage.machine_feed().complete_runs, 1);
    stage.assert_inventory(TENANT);

    stage.script_machines([Fault::ExpiredToken, Fault::ExpiredToken]);
    stage.run_machines();
    assert_eq!(stage.machine_capability().status, Ability::Failing, "the second refusal holds");
}

#[test]
fn pain_18_tokens_of_a_minute_are_enough_for_a_long_run() {
    let stage = stage_with(9);
    stage.world(|world| world.token_lifetime = seconds(60));
    stage.machines(|machines| machines.page_size = 3);
    stage.script_machines(vec![Fault::Slow { pause: seconds(25), chunk: 100_000 }; 3]);
    stage.run_machines();
    assert_eq!(stage.machine_feed().complete_runs, 1);
    stage.assert_inventory(TENANT);
}

#[test]
fn a_missing_role_is_named_and_the_tenant_left_alone_for_a_day() {
    let stage = stage_with(1);
    stage.world(|world| {
        world.add_tenant(Tenant::new(TENANT, "Contoso").consented(CLIENT, &["Alert.Read.All"], at(-10_000)));
    });
    stage.run_machines();
    let capability = stage.machine_capability();
    assert_eq!(capability.status, Ability::RoleMissing);
    assert!(capability.next_step.contains(MACHINE_ROLE), "{capability:?}");
    assert_eq!(stage.machine_calls(), Vec::<String>::new(), "the token says it already");
    stage.simulator.clear_log();
    stage.run_machines();
    assert_eq!(stage.simulator.log().len(), 0);
}

#[test]
fn a_failing_service_is_asked_three_times_and_again_at_the_next_tick() {
    for fault in [Fault::Status(503), Fault::Truncated { after: 2_000 }, Fault::Broken { after: 2_500 }, Fault::Endless]
    {
        let stage = stage_with(9);
        stage.machines(|machines| machines.page_size = 3);
        stage.script_machines([vec![Fault::Normal], vec![fault.clone(); 3]].concat());
        stage.run_machines();
        assert_eq!(stage.machine_calls().len(), 4, "{fault:?}");
        assert_eq!(stage.machine_capability().status, Ability::Failing, "{fault:?}");
        stage.simulator.clear_log();
        stage.run_machines();
        assert_eq!(stage.machine_calls(), ["/api/machines?$skip=3", "/api/machines?$skip=6"], "{fault:?}");
        assert_eq!(stage.machine_capability().status, Ability::Ok, "{fault:?}");
        assert_eq!((stage.machine_feed().complete_runs, stage.view().state), (1, State::Active), "{fault:?}");
        stage.assert_inventory(TENANT);
    }
}

#[test]
fn a_page_that_fails_once_costs_one_more_call_and_nobody_counts_as_seen_twice() {
    let stage = stage_with(9);
    stage.machines(|machines| machines.page_size = 3);
    stage.script_machines([Fault::Normal, Fault::Broken { after: 2_500 }, Fault::Truncated { after: 1_500 }]);
    stage.run_machines();
    assert_eq!(stage.machine_feed().complete_runs, 1);
    stage.assert_inventory(TENANT);
}

#[test]
fn pain_25_a_record_that_is_no_machine_goes_to_the_quarantine_once() {
    let stage = stage_with(2);
    let raw = |id: &str, text: &str| {
        let mut machine = Machine::new(id, at(0));
        machine.raw = Some(text.to_owned());
        machine
    };
    stage.machines(|machines| {
        machines.put(raw("x1", "7"));
        machines.put(raw("x2", r#"{"computerDnsName":"nobody","lastSeen":"2026-01-01T00:00:00Z"}"#));
        machines.put(raw("x3", r#"{"id":"half a pair \ud800"}"#));
    });
    let quarantined = || stage.lake.objects().into_keys().filter(|key| key.starts_with("quarantine/machines/")).count();
    stage.run_machines();
    assert_eq!((stage.machine_news().len(), quarantined()), (2, 3));
    stage.machines(|machines| {
        machines.put(raw("x2", r#"{"computerDnsName":"nobody","lastSeen":"2026-01-02T00:00:00Z"}"#));
    });
    let objects = stage.lake.objects();
    stage.run_machines();
    assert_eq!(stage.lake.objects(), objects, "known again, seen again or not");
    let ledger = stage.machine_feed().ledger;
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!((ledger.quarantined, ledger.deduplicated), (3, 5));
    assert_eq!(stage.machine_feed().complete_runs, 2, "and nobody's neighbour suffers");
}

#[test]
fn a_crowd_leaves_in_several_objects_and_the_snapshot_stays_short() {
    let stage = Stage::with_machines();
    stage.machines(|machines| {
        machines.page_size = 1_000;
        machines.bulk(4_500, at(0));
    });
    stage.run_machines();
    let objects = stage.lake.objects().into_keys().filter(|key| key.starts_with("machines/")).count();
    assert_eq!((objects, stage.machine_news().len()), (3, 4_500));
    stage.machines(|machines| machines.bulk(0, at(0)));
    stage.put_machines(["m1"]);
    let stage = stage_with(1);
    for round in 0..40 {
        stage.machines(|machines| {
            machines.update("m0000", |fields| {
                fields.insert("riskScore".to_owned(), json!(round));
            });
        });
        stage.run_machines();
        assert!(stage.snapshots().len() <= 2 * 17, "{:?}", stage.snapshots());
        assert!(stage.machine_feed().segments.len() <= 16);
    }
    assert_eq!(stage.machine_news().len(), 41 - 1);
    stage.assert_inventory(TENANT);
}

#[test]
fn a_list_of_more_pages_than_a_pass_may_ask_for_takes_two() {
    let stage = stage_with(70);
    stage.machines(|machines| machines.page_size = 1);
    stage.run_machines();
    assert_eq!((stage.machine_calls().len(), stage.machine_feed().complete_runs), (60, 0));
    assert_eq!(stage.machine_capability().status, Ability::Ok);
    stage.run_machines();
    assert_eq!((stage.machine_calls().len(), stage.machine_feed().complete_runs), (70, 1));
    stage.assert_inventory(TENANT);
}

#[test]
fn numbers_are_recorded_as_in_the_ledger() {
    let stage = stage_with(3);
    stage.run_machines();
    stage.machines(|machines| machines.remove("m0002"));
    stage.run_machines();
    let told = |documents: Vec<Value>| -> Vec<Value> {
        documents.into_iter().filter(|document| document.get("MachinesDispatched").is_none()).collect()
    };
    let documents = told(stage.metrics());
    let number = |n: usize, name: &str| documents[n][name].as_u64().unwrap();
    assert_eq!(documents.len(), 2, "{documents:?}");
    let numbers = |n| ["Fetched", "Delivered", "Deduplicated", "LedgerImbalance"].map(|name| number(n, name));
    assert_eq!((numbers(0), numbers(1)), ([3, 3, 0, 0], [2, 0, 2, 0]));
    assert_eq!(number(1, "FreshnessSeconds"), 0);
    stage.script_machines(vec![Fault::Status(503); 3]);
    stage.run_machines();
    let documents = told(stage.metrics());
    assert_eq!(documents[0]["FreshnessSeconds"], 3_600);
}

#[test]
fn a_tenant_that_was_removed_meanwhile_gets_nothing() {
    let stage = stage_with(1);
    let store = stage.app.ports.store.clone();
    let tenant = TENANT.parse().unwrap();
    let mut known = block_on(shared::tenant::load(store.as_ref(), tenant)).unwrap().unwrap();
    known.connection.state = State::Removed;
    block_on(store.commit(vec![known.put().unwrap()])).unwrap();
    stage.run_machines();
    assert_eq!((stage.lake.objects().len(), stage.machine_calls().len()), (0, 0));
    assert_eq!(accept_machines(&stage), Accepted::Nothing);
}
