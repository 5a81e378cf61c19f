//! How a queue hands its messages out: the host's part on one machine, and SQS's on AWS.

use std::{collections::BTreeSet, sync::Arc};

use embedded::{Database, Deliveries, Delivery, SqliteQueue};
use futures::executor::block_on;
use jiff::SignedDuration;
use shared::{
    clock::Clock,
    ports::queue::{MAX_BATCH, MAX_RECEIVES, Outgoing, Queue},
};

use crate::{Open, race};

suite! {
    sqlite_in_memory => in_memory(),
    sqlite_in_a_file => in_a_file();
    [
        an_empty_queue_gives_nothing,
        a_message_arrives_as_it_was_sent,
        a_received_message_is_hidden_until_its_time_is_up,
        a_message_that_comes_back_counts_its_deliveries,
        a_deleted_message_never_comes_back,
        an_old_receipt_deletes_nothing_that_another_holds,
        deleting_twice_is_no_error,
        a_delayed_message_waits,
        after_its_last_delivery_a_message_is_a_dead_letter,
        dead_letters_are_kept_oldest_first,
        a_message_deleted_at_its_last_delivery_is_no_dead_letter,
        two_queues_know_nothing_of_each_other,
        more_than_a_batch_is_sent_and_received,
        at_most_as_many_as_asked_for_are_received,
        every_handle_is_on_the_same_queue,
        racing_receivers_share_the_messages_out,
    ]
}

trait Hosted: Queue + Deliveries {}

impl<T: Queue + Deliveries> Hosted for T {}

/// The queues of one platform, and the hand on their clock.
struct Platform {
    feed: Open<dyn Hosted>,
    other_feed: Open<dyn Hosted>,
    clock: Clock,
}

fn in_memory() -> Platform {
    let database = Database::in_memory().unwrap();
    sqlite(move || database.clone())
}

fn in_a_file() -> Platform {
    let folder = tempfile::tempdir().unwrap();
    sqlite(move || Database::open(&folder.path().join("muster.db")).unwrap())
}

fn sqlite(database: impl Fn() -> Database + 'static) -> Platform {
    let clock = Clock::manual("2026-11-22T12:00:00Z".parse().unwrap());
    let database = Arc::new(database);
    let on = |name: &'static str| -> Open<dyn Hosted> {
        let (database, clock) = (database.clone(), clock.clone());
        Box::new(move || Arc::new(SqliteQueue::new(database(), name, clock.clone())))
    };
    Platform { feed: on("alerts"), other_feed: on("machines"), clock: clock.clone() }
}

impl Platform {
    fn pass(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }
}

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn message(body: &str) -> Outgoing {
    Outgoing { body: body.to_owned(), delay: SignedDuration::ZERO }
}

async fn send(queue: &Arc<dyn Hosted>, bodies: &[&str]) {
    let messages: Vec<Outgoing> = bodies.iter().map(|body| message(body)).collect();
    queue.send(&messages).await.unwrap();
}

/// Everything visible, hidden for a minute.
async fn receive(queue: &Arc<dyn Hosted>) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    loop {
        let more = queue.receive(MAX_BATCH, MINUTE).await.unwrap();
        if more.is_empty() {
            return deliveries;
        }
        deliveries.extend(more);
    }
}

async fn receive_one(queue: &Arc<dyn Hosted>) -> Delivery {
    let mut deliveries = receive(queue).await;
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
    deliveries.remove(0)
}

async fn assert_nothing(queue: &Arc<dyn Hosted>, why: &str) {
    assert_eq!(receive(queue).await, Vec::new(), "{why}");
}

fn bodies(deliveries: &[Delivery]) -> BTreeSet<&str> {
    deliveries.iter().map(|delivery| delivery.body.as_str()).collect()
}

async fn an_empty_queue_gives_nothing(platform: Platform) {
    let queue = (platform.feed)();
    queue.send(&[]).await.unwrap();
    assert_nothing(&queue, "nothing was sent").await;
    assert_eq!(queue.dead_letters().await.unwrap(), Vec::<String>::new());
}

async fn a_message_arrives_as_it_was_sent(platform: Platform) {
    let queue = (platform.feed)();
    let sent = ["{\"tenant\":\"ä \u{1F980}\"}", "not JSON, 'quoted'", "twin", "twin"];
    send(&queue, &sent).await;
    let deliveries = receive(&queue).await;
    let mut arrived: Vec<&str> = deliveries.iter().map(|delivery| delivery.body.as_str()).collect();
    arrived.sort_unstable();
    let mut expected = sent.to_vec();
    expected.sort_unstable();
    assert_eq!(arrived, expected);
    let ids: BTreeSet<&str> = deliveries.iter().map(|delivery| delivery.message_id.as_str()).collect();
    assert_eq!(ids.len(), sent.len(), "each message has an id of its own");
    assert!(deliveries.iter().all(|delivery| delivery.receive_count == 1), "{deliveries:?}");
}

async fn a_received_message_is_hidden_until_its_time_is_up(platform: Platform) {
    let queue = (platform.feed)();
    send(&queue, &["a"]).await;
    receive_one(&queue).await;
    assert_nothing(&queue, "it is with a receiver").await;
    platform.pass(59);
    assert_nothing(&queue, "a second is left").await;
    platform.pass(1);
    assert_eq!(receive_one(&queue).await.body, "a");
}

async fn a_message_that_comes_back_counts_its_deliveries(platform: Platform) {
    let queue = (platform.feed)();
    send(&queue, &["a"]).await;
    let first = receive_one(&queue).await;
    let mut receipts = BTreeSet::from([first.receipt.clone()]);
    for count in 2..=MAX_RECEIVES {
        platform.pass(60);
        let again = receive_one(&queue).await;
        assert_eq!((again.receive_count, &again.message_id), (count, &first.message_id));
        assert!(receipts.insert(again.receipt), "a receipt belongs to one delivery");
    }
}

async fn a_deleted_message_never_comes_back(platform: Platform) {
    let queue = (platform.feed)();
    send(&queue, &["a", "b"]).await;
    for delivery in receive(&queue).await.iter().filter(|delivery| delivery.body == "a") {
        queue.delete(&delivery.receipt).await.unwrap();
    }
    platform.pass(60);
    assert_eq!(receive_one(&queue).await.body, "b");
}

async fn an_old_receipt_deletes_nothing_that_another_holds(platform: Platform) {
    let queue = (platform.feed)();
    send(&queue, &["a"]).await;
    let slow = receive_one(&queue).await;
    platform.pass(60);
    let other = receive_one(&queue).await;
    queue.delete(&slow.receipt).await.unwrap();
    platform.pass(60);
    let third = receive_one(&queue).await;
    assert_eq!((third.message_id, third.receive_count), (other.message_id, 3));
    queue.delete(&third.receipt).await.unwrap();
    platform.pass(60);
    assert_nothing(&queue, "the holder deleted it").await;
}

async fn deleting_twice_is_no_error(platform: Platform) {
    let queue = (platform.feed)();
    send(&queue, &["a"]).await;
    let delivery = receive_one(&queue).await;
    queue.delete(&delivery.receipt).await.unwrap();
    send(&queue, &["b"]).await;
    queue.delete(&delivery.receipt).await.unwrap();
    assert_eq!(receive_one(&queue).await.body, "b");
}

async fn a_delayed_message_waits(platform: Platform) {
    let queue = (platform.feed)();
    let late = Outgoing { body: "late".to_owned(), delay: SignedDuration::from_mins(15) };
    queue.send(&[late, message("now")]).await.unwrap();
    let now = receive_one(&queue).await;
    assert_eq!(now.body, "now");
    queue.delete(&now.receipt).await.unwrap();
    platform.pass(15 * 60 - 1);
    assert_nothing(&queue, "a second is left").await;
    platform.pass(1);
    let late = receive_one(&queue).await;
    assert_eq!((late.body.as_str(), late.receive_count), ("late", 1));
}

/// Delivers everything visible as often as it is ever delivered, and lets the last time pass.
async fn exhaust(platform: &Platform, queue: &Arc<dyn Hosted>, expected: usize) {
    for count in 1..=MAX_RECEIVES {
        let deliveries = receive(queue).await;
        assert_eq!(deliveries.len(), expected, "delivery {count}");
        assert!(deliveries.iter().all(|delivery| delivery.receive_count == count), "{deliveries:?}");
        platform.pass(60);
    }
}

async fn after_its_last_delivery_a_message_is_a_dead_letter(platform: Platform) {
    let queue = (platform.feed)();
    send(&queue, &["poison"]).await;
    exhaust(&platform, &queue, 1).await;
    send(&queue, &["healthy"]).await;
    assert_eq!(receive_one(&queue).await.body, "healthy");
    assert_eq!(queue.dead_letters().await.unwrap(), ["poison"]);
    platform.pass(24 * 60 * 60);
    assert_eq!(receive_one(&queue).await.body, "healthy");
    assert_eq!(queue.dead_letters().await.unwrap(), ["poison"], "reading them takes nothing away");
}

async fn dead_letters_are_kept_oldest_first(platform: Platform) {
    let queue = (platform.feed)();
    for body in ["z", "y", "x"] {
        send(&queue, &[body]).await;
        exhaust(&platform, &queue, 1).await;
        assert_nothing(&queue, "it has been delivered often enough").await;
    }
    assert_eq!(queue.dead_letters().await.unwrap(), ["z", "y", "x"]);
}

async fn a_message_deleted_at_its_last_delivery_is_no_dead_letter(platform: Platform) {
    let queue = (platform.feed)();
    send(&queue, &["a"]).await;
    for _ in 1..MAX_RECEIVES {
        receive_one(&queue).await;
        platform.pass(60);
    }
    let last = receive_one(&queue).await;
    assert_eq!(last.receive_count, MAX_RECEIVES);
    assert_nothing(&queue, "the last receiver is still at it").await;
    queue.delete(&last.receipt).await.unwrap();
    platform.pass(60);
    assert_nothing(&queue, "it was deleted").await;
    assert_eq!(queue.dead_letters().await.unwrap(), Vec::<String>::new());
}

async fn two_queues_know_nothing_of_each_other(platform: Platform) {
    let (alerts, machines) = ((platform.feed)(), (platform.other_feed)());
    send(&alerts, &["alert"]).await;
    assert_nothing(&machines, "nothing was sent there").await;
    send(&machines, &["machine"]).await;
    let machine = receive_one(&machines).await;
    // Whatever the other queue makes of a strange receipt, the message is not its own.
    let _refused_or_ignored = alerts.delete(&machine.receipt).await;
    platform.pass(60);
    assert_eq!(receive_one(&machines).await.body, "machine");
    exhaust(&platform, &alerts, 1).await;
    assert_nothing(&alerts, "its message is dead").await;
    assert_eq!(alerts.dead_letters().await.unwrap(), ["alert"]);
    assert_eq!(machines.dead_letters().await.unwrap(), Vec::<String>::new());
}

async fn more_than_a_batch_is_sent_and_received(platform: Platform) {
    let queue = (platform.feed)();
    let sent: Vec<String> = (0..MAX_BATCH * 2 + 5).map(|number| format!("message {number}")).collect();
    let messages: Vec<Outgoing> = sent.iter().map(|body| message(body)).collect();
    queue.send(&messages).await.unwrap();
    let first = queue.receive(MAX_BATCH * 10, MINUTE).await.unwrap();
    assert!(!first.is_empty());
    let rest = receive(&queue).await;
    assert_eq!(first.len() + rest.len(), sent.len());
    assert_eq!(&bodies(&first) | &bodies(&rest), sent.iter().map(String::as_str).collect());
}

async fn at_most_as_many_as_asked_for_are_received(platform: Platform) {
    let queue = (platform.feed)();
    send(&queue, &["a", "b", "c", "d"]).await;
    assert_eq!(queue.receive(1, MINUTE).await.unwrap().len(), 1);
    assert!(queue.receive(2, MINUTE).await.unwrap().len() <= 2);
    assert!(!receive(&queue).await.is_empty());
    assert_nothing(&queue, "all are with receivers").await;
}

async fn every_handle_is_on_the_same_queue(platform: Platform) {
    let (sender, receiver) = ((platform.feed)(), (platform.feed)());
    send(&sender, &["a"]).await;
    let delivery = receive_one(&receiver).await;
    assert_nothing(&sender, "it is with the other").await;
    sender.delete(&delivery.receipt).await.unwrap();
    platform.pass(60);
    assert_nothing(&receiver, "the other deleted it").await;
}

async fn racing_receivers_share_the_messages_out(platform: Platform) {
    let bodies: Vec<String> = (0..60).map(|number| number.to_string()).collect();
    let messages: Vec<Outgoing> = bodies.iter().map(|body| message(body)).collect();
    (platform.feed)().send(&messages).await.unwrap();
    let received = race(&platform.feed, 4, |_, queue| block_on(receive(&queue)));
    let mut all: Vec<usize> = received.iter().flatten().map(|delivery| delivery.body.parse().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..60).collect::<Vec<_>>());
}
