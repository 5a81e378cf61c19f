//! Reading: from each blob's offset to its last newline, a piece at a time, every blob in its turn.

use std::collections::VecDeque;

use super::{Pass, Stop};
use crate::{
    metrics::Metric,
    microsoft::storage::{Piece, StorageError},
    ports::store::Expect,
    telemetry::{
        blob::{Blob, Look, Tail, whole_lines},
        check::Right,
        progress::Part,
    },
};

/// Bytes asked for at once. A line that is longer is none.
const PIECE: u64 = 8 << 20;

/// What one look at a blob brought.
enum Found {
    /// As before, or only the beginning of a line.
    Nothing,
    /// Whole lines, or all that there is; `more` where the blob goes on behind them.
    Lines {
        text: Vec<u8>,
        torn: bool,
        more: bool,
    },
    Gone,
    /// The service failed for this blob; others go on.
    Failed(StorageError),
}

impl Pass<'_> {
    /// The newest first: what happens now is worth more than what is late already. Each gets a piece in its turn, so
    /// that none waits for the end of another.
    pub(super) async fn read_what_grew(&mut self) -> Result<(), Stop> {
        let mut due: Vec<(String, String)> = self
            .desk
            .live
            .iter()
            .filter(|(_, (blob, _))| blob.account == self.storage.account_name.as_str())
            .filter(|(id, (blob, _))| self.named.contains(*id) || blob.is_due(self.started, self.every))
            .map(|(id, (blob, _))| (blob.name.clone(), id.clone()))
            .collect();
        due.sort_unstable_by(|a, b| b.cmp(a));
        let mut turns: VecDeque<String> = due.into_iter().map(|(_, id)| id).collect();
        while let Some(id) = turns.pop_front() {
            if self.budget.bytes_left == 0 || self.out_of_time() {
                self.commit().await?;
                return Err(Stop::Spent);
            }
            if self.read_one(&id).await? {
                turns.push_back(id);
            }
            if self.batch.is_full() {
                self.commit().await?;
            }
        }
        self.commit().await
    }

    /// Reads one piece of a blob into the batch. True where more is behind it.
    async fn read_one(&mut self, id: &str) -> Result<bool, Stop> {
        let Some(stored) = self.desk.live.get(id).map(|(blob, _)| blob) else { return Ok(false) };
        let before = self.batch.blob(id).unwrap_or(stored).clone();
        let mut blob = before.clone();
        match self.look(&mut blob).await? {
            Found::Lines { text, torn, more } => {
                let retires = !more && blob.is_settled(self.started);
                self.batch.push(id, blob, text, torn);
                if retires {
                    self.batch.retire(id);
                }
                Ok(more)
            }
            Found::Nothing => {
                if blob.is_settled(self.started) {
                    self.batch.note(id, blob);
                    self.batch.retire(id);
                } else if blob != before || self.named.contains(id) {
                    // The listing may have told of growth that is no whole line yet.
                    self.batch.note(id, blob);
                }
                Ok(false)
            }
            Found::Gone => {
                // Anybody may have announced what never was.
                if blob.offset > 0 || blob.length > 0 {
                    tracing::error!(tenant.id = %self.tenant, blob = blob.name, bytes = blob.behind(), "a blob is gone before it was done");
                }
                // What the batch holds of it was read while it was there.
                self.commit().await?;
                if let Some((blob, Expect::Version(version))) = self.desk.live.get(id).cloned() {
                    self.desk.forget(vec![(Part::Live, id.to_owned(), blob, version)]).await?;
                }
                Ok(false)
            }
            Found::Failed(error) => {
                tracing::warn!(tenant.id = %self.tenant, blob = blob.name, %error, "a blob cannot be read now; the next tick tries again");
                self.complain(self.refused_blobs(Right::Read, &error));
                Ok(false)
            }
        }
    }

    /// One answer of storage about a blob, which learns from it.
    async fn look(&mut self, blob: &mut Blob) -> Result<Found, Stop> {
        let from = blob.read_from();
        let overlap = blob.offset - from;
        let piece = match self.account.read(&blob.name, from, overlap + PIECE).await {
            Ok(piece) => piece,
            Err(StorageError::BeyondEnd) if blob.offset == 0 => return Ok(Found::Nothing),
            Err(StorageError::BeyondEnd) => {
                blob.start_anew(None, 0, self.started);
                return Ok(self.replaced(blob, "it is shorter than it was"));
            }
            Err(StorageError::NotFound { code }) if code == "BlobNotFound" => return Ok(Found::Gone),
            Err(StorageError::NotAppendBlob) => return Ok(Found::Gone),
            // One blob's trouble, as far as we know.
            Err(
                error @ (StorageError::Unavailable { .. }
                | StorageError::NotFound { .. }
                | StorageError::RoleMissing
                | StorageError::Forbidden { .. }),
            ) => return Ok(Found::Failed(error)),
            Err(error) => {
                self.commit().await?;
                return Err(Stop::Condition(self.refused_blobs(Right::Read, &error)));
            }
        };
        let (length, created) = (piece.length, piece.created);
        let (mut bytes, failure) = self.receive(piece, overlap + PIECE).await;
        self.budget.bytes_left = self.budget.bytes_left.saturating_sub(bytes.len() as u64);
        self.recorded.add(Metric::BytesRead, bytes.len() as u64);
        if blob.look(created, length, self.started) == Look::Replaced {
            return Ok(self.replaced(blob, "it was made anew"));
        }
        let overlap = usize::try_from(overlap).unwrap_or(usize::MAX);
        if bytes.len() < overlap {
            return Ok(Found::Failed(failure.unwrap_or_else(cut_short)));
        }
        let news = bytes.split_off(overlap);
        if Tail::of(&bytes) != blob.tail {
            blob.start_anew(created, length, self.started);
            return Ok(self.replaced(blob, "what had been read of it is no longer there"));
        }
        Ok(self.cut(blob, news, failure))
    }

    /// What of the bytes that arrived can be taken in.
    fn cut(&self, blob: &mut Blob, mut news: Vec<u8>, failure: Option<StorageError>) -> Found {
        let at_end = failure.is_none() && blob.offset + news.len() as u64 >= blob.length;
        // What a settled blob ends with is all that will ever be of that line.
        let all = at_end && blob.is_settled(self.started);
        let whole = whole_lines(&news, all);
        let mut torn = std::mem::take(&mut blob.torn);
        let taken = if torn {
            // Up to the end of that line, wherever it is.
            memchr::memchr(b'\n', &news).map_or(news.len(), |at| at + 1)
        } else if whole == 0 && news.len() as u64 >= PIECE {
            torn = true;
            news.len()
        } else {
            whole
        };
        blob.torn = torn && !news[..taken].ends_with(b"\n");
        if taken == 0 {
            return failure.map_or(Found::Nothing, Found::Failed);
        }
        let lines_left = memchr::memrchr(b'\n', &news).is_some_and(|last| last >= taken) || (all && taken < news.len());
        let more = blob.offset + (taken as u64) < blob.length && (!at_end || lines_left);
        news.truncate(taken);
        Found::Lines { text: news, torn, more }
    }

    /// A blob that is another one is read from its first byte, at its next turn in this very pass; once, for whoever writes
    /// it may go on replacing it.
    fn replaced(&mut self, blob: &Blob, why: &str) -> Found {
        tracing::warn!(tenant.id = %self.tenant, blob = blob.name, why, "a blob has been replaced; it is read from its beginning");
        let first = self.replaced.insert(blob.name.clone());
        Found::Lines { text: Vec::new(), torn: false, more: first }
    }

    /// The body, or what of it arrived in time and before it broke. Never more than was asked for.
    async fn receive(&self, piece: Piece, most: u64) -> (Vec<u8>, Option<StorageError>) {
        let (mut body, mut bytes) = (piece.body, Vec::new());
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        loop {
            if self.out_of_time() {
                return (
                    bytes,
                    Some(StorageError::Unavailable { message: "storage did not answer in time".to_owned() }),
                );
            }
            match body.chunk().await {
                Ok(Some(chunk)) => {
                    let room = most - bytes.len();
                    bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if bytes.len() >= most {
                        return (bytes, None);
                    }
                }
                Ok(None) => return (bytes, None),
                Err(error) => return (bytes, Some(StorageError::Unavailable { message: error.to_string() })),
            }
        }
    }
}

fn cut_short() -> StorageError {
    StorageError::Unavailable { message: "storage gave less than it announced".to_owned() }
}
