//! The queue in SQLite: visibility, redelivery, dead letters.

use async_trait::async_trait;
use jiff::SignedDuration;
use rusqlite::params;
use shared::{
    clock::Clock,
    ports::{
        Unavailable,
        queue::{MAX_RECEIVES, Outgoing, Queue, validate},
    },
};

use crate::{Database, Deliveries, Delivery};

const PORT: &str = "queue";

#[derive(Debug)]
pub struct SqliteQueue {
    database: Database,
    name: &'static str,
    clock: Clock,
}

impl SqliteQueue {
    pub fn new(database: Database, name: &'static str, clock: Clock) -> Self {
        Self { database, name, clock }
    }

    fn at(&self, delay: SignedDuration) -> i64 {
        (self.clock.now() + delay).as_millisecond()
    }
}

fn failed(cause: rusqlite::Error) -> Unavailable {
    Unavailable::new(PORT, cause)
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn send(&self, messages: &[Outgoing]) -> Result<(), Unavailable> {
        validate(messages)?;
        if messages.is_empty() {
            return Ok(());
        }
        self.database.write(PORT, |transaction| {
            let mut insert = transaction
                .prepare_cached("INSERT INTO message (queue, body, visible_at) VALUES (?1, ?2, ?3)")
                .map_err(failed)?;
            for message in messages {
                insert.execute(params![self.name, message.body, self.at(message.delay)]).map_err(failed)?;
            }
            Ok(())
        })
    }
}

#[async_trait]
impl Deliveries for SqliteQueue {
    async fn receive(&self, max: usize, visibility: SignedDuration) -> Result<Vec<Delivery>, Unavailable> {
        let (now, hidden_until) = (self.at(SignedDuration::ZERO), self.at(visibility));
        // Idle workers look often; only one that finds something needs to write.
        let waiting: bool = self.database.read(PORT, |connection| {
            connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM message WHERE queue = ?1 AND visible_at <= ?2)")?
                .query_row(params![self.name, now], |row| row.get(0))
        })?;
        if !waiting {
            return Ok(Vec::new());
        }
        self.database.write(PORT, |transaction| {
            let exhausted = params![self.name, now, MAX_RECEIVES];
            transaction
                .execute(
                    "INSERT INTO dead_letter (id, queue, body) SELECT id, queue, body FROM message
                     WHERE queue = ?1 AND visible_at <= ?2 AND receive_count >= ?3",
                    exhausted,
                )
                .and_then(|_| {
                    transaction.execute(
                        "DELETE FROM message WHERE queue = ?1 AND visible_at <= ?2 AND receive_count >= ?3",
                        exhausted,
                    )
                })
                .map_err(failed)?;
            let mut update = transaction
                .prepare_cached(
                    "UPDATE message SET receive_count = receive_count + 1, visible_at = ?4 WHERE id IN (
                         SELECT id FROM message WHERE queue = ?1 AND visible_at <= ?2 ORDER BY visible_at, id LIMIT ?3)
                     RETURNING id, body, receive_count",
                )
                .map_err(failed)?;
            let max = i64::try_from(max).unwrap_or(i64::MAX);
            let rows = update
                .query_map(params![self.name, now, max, hidden_until], |row| {
                    let (id, receive_count): (i64, u32) = (row.get(0)?, row.get(2)?);
                    Ok(Delivery {
                        message_id: id.to_string(),
                        receipt: format!("{id}:{receive_count}"),
                        body: row.get(1)?,
                        receive_count,
                    })
                })
                .map_err(failed)?;
            rows.collect::<rusqlite::Result<_>>().map_err(failed)
        })
    }

    async fn delete(&self, receipt: &str) -> Result<(), Unavailable> {
        let parsed = receipt.split_once(':').and_then(|(id, count)| Some((id.parse().ok()?, count.parse().ok()?)));
        let Some((id, count)): Option<(i64, u32)> = parsed else {
            return Err(Unavailable::new(PORT, "no receipt of this queue"));
        };
        self.database.write(PORT, |transaction| {
            transaction
                .execute(
                    "DELETE FROM message WHERE queue = ?1 AND id = ?2 AND receive_count = ?3",
                    params![self.name, id, count],
                )
                .map(|_| ())
                .map_err(failed)
        })
    }

    async fn dead_letters(&self) -> Result<Vec<String>, Unavailable> {
        self.database.read(PORT, |connection| {
            connection
                .prepare_cached("SELECT body FROM dead_letter WHERE queue = ?1 ORDER BY id")?
                .query_map(params![self.name], |row| row.get(0))?
                .collect()
        })
    }
}
