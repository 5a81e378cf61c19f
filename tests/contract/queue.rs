//! The queue's contract: what is sent arrives.

use std::sync::Arc;

use embedded::{Database, Deliveries, SqliteQueue};
use futures::{FutureExt, future::BoxFuture};
use jiff::SignedDuration;
use shared::{
    clock::Clock,
    ports::queue::{MAX_BATCH, Outgoing, Queue},
};

use crate::aws;

suite! {
    sqlite => sqlite(),
    sqs => sqs();
    [
        nothing_may_be_sent,
        what_is_sent_arrives_as_it_was,
        more_than_a_batch_is_sent_whole,
        a_delayed_message_waits,
        a_delay_beyond_the_longest_is_refused,
    ]
}

/// A queue, and the other end of it.
struct Platform {
    queue: Arc<dyn Queue>,
    receive: Box<dyn Fn() -> BoxFuture<'static, Vec<String>>>,
}

fn sqlite() -> Platform {
    let clock = Clock::manual("2026-11-22T12:00:00Z".parse().unwrap());
    let queue = Arc::new(SqliteQueue::new(Database::in_memory().unwrap(), "alerts", clock));
    let receiver = queue.clone();
    let receive = move || {
        let receiver = receiver.clone();
        async move {
            let received = receiver.receive(1000, SignedDuration::from_mins(1)).await.unwrap();
            received.into_iter().map(|delivery| delivery.body).collect()
        }
        .boxed()
    };
    Platform { queue, receive: Box::new(receive) }
}

fn sqs() -> Platform {
    let sdk = aws::account();
    let url = aws::queue(&sdk, "alerts");
    let queue = Arc::new(::aws::SqsQueue::new(&sdk, &url));
    let receive = move || {
        let (sdk, url) = (sdk.clone(), url.clone());
        async move { aws::received(&sdk, &url).await }.boxed()
    };
    Platform { queue, receive: Box::new(receive) }
}

impl Platform {
    async fn received(&self) -> Vec<String> {
        let mut bodies = (self.receive)().await;
        bodies.sort();
        bodies
    }
}

fn message(body: impl Into<String>) -> Outgoing {
    Outgoing { body: body.into(), delay: SignedDuration::ZERO }
}

async fn nothing_may_be_sent(platform: Platform) {
    platform.queue.send(&[]).await.unwrap();
    assert_eq!(platform.received().await, Vec::<String>::new());
}

async fn what_is_sent_arrives_as_it_was(platform: Platform) {
    let mut sent = ["{\"tenant\":\"ä \u{1F980}\"}", "not JSON, <quoted> & 'escaped'", "twin", "twin"];
    platform.queue.send(&sent.map(message)).await.unwrap();
    sent.sort_unstable();
    assert_eq!(platform.received().await, sent);
}

async fn more_than_a_batch_is_sent_whole(platform: Platform) {
    let sent: Vec<String> = (0..MAX_BATCH * 2 + 5).map(|number| format!("message {number:02}")).collect();
    let messages: Vec<Outgoing> = sent.iter().map(message).collect();
    platform.queue.send(&messages).await.unwrap();
    assert_eq!(platform.received().await, sent);
}

async fn a_delayed_message_waits(platform: Platform) {
    let late = Outgoing { body: "late".to_owned(), delay: SignedDuration::from_mins(15) };
    platform.queue.send(&[late, message("now")]).await.unwrap();
    assert_eq!(platform.received().await, ["now"]);
}

async fn a_delay_beyond_the_longest_is_refused(platform: Platform) {
    let never =
        Outgoing { body: "never".to_owned(), delay: SignedDuration::from_mins(15) + SignedDuration::from_secs(1) };
    assert!(platform.queue.send(&[never]).await.is_err());
    assert_eq!(platform.received().await, Vec::<String>::new());
}
