//! A storage queue: leases by pop receipt, dequeue counts, and messages that vanish after seven days (MICROSOFT 4.4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};

use crate::dice::{guid_of, hash, mix};

/// A message nobody has deleted by then is gone, and nobody is told.
const TIME_TO_LIVE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// One queue of an account.
#[derive(Debug)]
pub struct Queue {
    name: String,
    clock: Timestamp,
    messages: Vec<Message>,
    /// How many ids and receipts there were.
    made: u64,
}

/// A message as it lies in its queue.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) inserted: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) visible_from: Timestamp,
    pub(crate) dequeue_count: u32,
    pub(crate) receipt: String,
}

/// Why a message is neither deleted nor updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotYours {
    NotFound,
    /// Somebody else has received it since.
    Mismatch,
}

impl Queue {
    pub(crate) fn new(account: &str, name: &str) -> Self {
        Self { name: format!("{account}/{name}"), clock: Timestamp::UNIX_EPOCH, messages: Vec::new(), made: 0 }
    }

    /// Puts a message whose text is this, whatever it is; visible at once, for seven days.
    pub fn put_raw(&mut self, text: &str) {
        self.put(text, SignedDuration::ZERO, Some(TIME_TO_LIVE));
    }

    /// The same, for so long.
    pub fn put_for(&mut self, text: &str, time_to_live: SignedDuration) {
        self.put(text, SignedDuration::ZERO, Some(time_to_live));
    }

    /// How many messages there are, received ones included.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The messages' texts, received ones included.
    pub fn texts(&self) -> Vec<String> {
        self.messages.iter().map(|message| message.text.clone()).collect()
    }

    /// Removes every message.
    pub fn clear(&mut self) {
        self.messages.clear();
    }

    /// Time passes, and with it what has lived too long.
    pub(crate) fn move_to(&mut self, now: Timestamp) {
        self.clock = now;
        self.messages.retain(|message| message.expires > now);
    }

    /// `None` lives for ever.
    pub(crate) fn put(
        &mut self,
        text: &str,
        hidden_for: SignedDuration,
        time_to_live: Option<SignedDuration>,
    ) -> &Message {
        let now = self.clock;
        let after = |span| now.saturating_add(span).unwrap_or(now);
        // Azure writes the last day of the calendar for a message that never expires.
        let expires = time_to_live.map_or(Timestamp::MAX, after);
        let number = self.next().to_string();
        let message = Message {
            id: guid_of(&["message", &self.name, &number]),
            text: text.into(),
            inserted: now,
            expires,
            visible_from: after(hidden_for),
            dequeue_count: 0,
            receipt: self.next_receipt(),
        };
        self.messages.push(message);
        let last = self.messages.len() - 1;
        &self.messages[last]
    }

    pub(crate) fn peek(&self, count: usize) -> Vec<Message> {
        self.visible().take(count).map(|place| self.messages[place].clone()).collect()
    }

    /// Hides up to `count` visible messages for so long; every earlier receipt of theirs is void.
    pub(crate) fn receive(&mut self, count: usize, hidden_for: SignedDuration) -> Vec<Message> {
        let until = self.clock.saturating_add(hidden_for).unwrap_or(self.clock);
        let places: Vec<usize> = self.visible().take(count).collect();
        let received = places.into_iter().map(|place| {
            let receipt = self.next_receipt();
            let message = &mut self.messages[place];
            message.dequeue_count += 1;
            message.visible_from = until;
            message.receipt = receipt;
            message.clone()
        });
        received.collect()
    }

    pub(crate) fn delete(&mut self, id: &str, receipt: &str) -> Result<(), NotYours> {
        let place = self.find(id, receipt)?;
        self.messages.remove(place);
        Ok(())
    }

    /// Hides the message for so long from now, under a new receipt; `text` takes the place of its own.
    pub(crate) fn update(
        &mut self,
        id: &str,
        receipt: &str,
        hidden_for: SignedDuration,
        text: Option<String>,
    ) -> Result<Message, NotYours> {
        let place = self.find(id, receipt)?;
        let until = self.clock.saturating_add(hidden_for).unwrap_or(self.clock);
        let receipt = self.next_receipt();
        let message = &mut self.messages[place];
        message.visible_from = until;
        message.receipt = receipt;
        if let Some(text) = text {
            message.text = text;
        }
        Ok(message.clone())
    }

    /// A receipt is good as long as it is the latest, even when the message is visible again.
    fn find(&self, id: &str, receipt: &str) -> Result<usize, NotYours> {
        let place = self.messages.iter().position(|message| message.id.eq_ignore_ascii_case(id));
        let place = place.ok_or(NotYours::NotFound)?;
        if self.messages[place].receipt == receipt { Ok(place) } else { Err(NotYours::Mismatch) }
    }

    fn visible(&self) -> impl Iterator<Item = usize> {
        (0..self.messages.len()).filter(|place| self.messages[*place].visible_from <= self.clock)
    }

    fn next(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Base64 with everything in it that an address has to escape.
    fn next_receipt(&mut self) -> String {
        let word = mix(hash(self.name.as_bytes()) ^ self.next());
        STANDARD.encode([&[0xFB, 0xFF, 0xBE], word.to_le_bytes().as_slice()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(texts: &[&str]) -> Queue {
        let mut queue = Queue::new("acct", "q");
        queue.move_to("2026-06-01T12:00:00Z".parse().unwrap());
        texts.iter().for_each(|text| queue.put_raw(text));
        queue
    }

    fn pass(queue: &mut Queue, seconds: i64) {
        queue.move_to(queue.clock + SignedDuration::from_secs(seconds));
    }

    #[test]
    fn a_received_message_comes_back_and_its_old_receipt_is_void() {
        let mut queue = queue(&["a", "b"]);
        let half_a_minute = SignedDuration::from_secs(30);
        let first = queue.receive(1, half_a_minute).remove(0);
        assert_eq!((first.text.as_str(), first.dequeue_count), ("a", 1));
        assert_eq!(queue.peek(32).len(), 1, "b alone is visible");
        pass(&mut queue, 30);
        let again = queue.receive(32, half_a_minute);
        assert_eq!(again.iter().map(|message| message.dequeue_count).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(queue.delete(&first.id, &first.receipt), Err(NotYours::Mismatch));
        pass(&mut queue, 60);
        assert_eq!(queue.delete(&first.id, &again[0].receipt), Ok(()), "nobody has received it since");
        assert_eq!(queue.delete(&first.id, &again[0].receipt), Err(NotYours::NotFound));
        assert_eq!(queue.texts(), ["b"]);
    }

    #[test]
    fn a_message_vanishes_silently_when_its_time_is_over() {
        let mut queue = queue(&["a"]);
        queue.put("for ever", SignedDuration::ZERO, None);
        queue.put_for("short", SignedDuration::from_secs(5));
        pass(&mut queue, 5);
        assert_eq!(queue.texts(), ["a", "for ever"]);
        pass(&mut queue, 7 * 86_400 - 6);
        assert_eq!(queue.len(), 2);
        pass(&mut queue, 1);
        assert_eq!(queue.texts(), ["for ever"]);
    }

    #[test]
    fn receipts_need_escaping() {
        let receipt = queue(&[]).next_receipt();
        assert!(receipt.contains('+') && receipt.contains('/') && receipt.contains('='), "{receipt}");
    }
}
