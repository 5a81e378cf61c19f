//! Faults a test asks for: what goes wrong with the next requests, in which order.

use jiff::SignedDuration;
use serde::Deserialize;

use crate::http::{Body, Chunk, Response};

/// The kinds of request a fault can be scripted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// `/{tenant}/oauth2/v2.0/token` and `/{tenant}/oauth2/token`.
    Token,
    /// The OpenID configuration and the signing keys.
    Discovery,
    /// The admin consent pages, v1 and v2: showing them, and sending their forms.
    Consent,
    /// The authorize pages, v1 and v2: opening them, and sending their forms.
    Authorize,
    /// `/{tenant}/oauth2/v2.0/logout`.
    SignOut,
    /// `GET /v1.0/applications/{id}` and `…(appId='…')`, and so on.
    GraphRead,
    GraphUpdate,
    GraphAddPassword,
    GraphRemovePassword,
    GraphAddKey,
    GraphRemoveKey,
    /// `/api/alerts`.
    Alerts,
    /// `/api/alerts/{id}`.
    Alert,
    /// `/api/machines`.
    Machines,
    /// `/api/machines/{id}`.
    Machine,
    /// The list of a container's blobs.
    BlobList,
    /// A blob's content or properties.
    Blob,
    QueuePeek,
    QueueReceive,
    QueuePut,
    /// Deleting or updating a message.
    QueueDelete,
}

/// What happens to one request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing; keeps a place in the queue.
    Normal,
    /// This status with the body documented for it on this route.
    Status(u16),
    /// 429 (MICROSOFT 3.5, 2.8); `header` sends `Retry-After`, `words` says "again in N seconds".
    Throttled {
        seconds: u32,
        header: bool,
        words: bool,
    },
    /// An Entra error by its number; on a Defender route it is not modelled.
    Aadsts(u32),
    /// A page for people, as a gateway or a proxy sends it.
    Html(u16),
    /// A well-formed response whose body ends after so many bytes.
    Truncated {
        after: usize,
    },
    /// The connection breaks after so many bytes of the body.
    Broken {
        after: usize,
    },
    /// The normal body in pieces of `chunk` bytes with a pause before each.
    Slow {
        pause: SignedDuration,
        chunk: usize,
    },
    /// A body that begins well and never ends.
    Endless,
    /// The normal page with this `@odata.nextLink`.
    NextLink(String),
    Body {
        status: u16,
        content_type: String,
        text: String,
    },
    /// 401, as if the bearer token had expired.
    ExpiredToken,
}

impl Fault {
    /// Whether the normal answer is still computed, because this fault only changes how it is delivered.
    pub(crate) fn keeps_the_answer(&self) -> bool {
        matches!(
            self,
            Self::Normal | Self::Truncated { .. } | Self::Broken { .. } | Self::Slow { .. } | Self::NextLink(_)
        )
    }

    /// The normal answer, delivered as this fault has it.
    pub(crate) fn deliver(&self, response: Response) -> Response {
        let Response { status, mut headers, body } = response;
        if let Self::Truncated { .. } = self {
            // Whoever cuts a body and closes it well has sent no length.
            headers.retain(|(name, _)| name != "Content-Length");
        }
        let body = match *self {
            Self::Truncated { after } => Body::lazy(cut_after(body, after, None)),
            Self::Broken { after } => Body::lazy(cut_after(body, after, Some(Chunk::Cut))),
            Self::Slow { pause, chunk } => Body::lazy(slowed(body, pause, chunk.max(1))),
            _ => body,
        };
        Response { status, headers, body }
    }
}

/// The first `after` bytes, then `last`. A body that is shorter is delivered whole, and then `last` all the same.
fn cut_after(mut body: Body, after: usize, last: Option<Chunk>) -> impl Iterator<Item = Chunk> + Send {
    let mut left = after;
    let mut last = last;
    std::iter::from_fn(move || {
        while left > 0 {
            match body.next() {
                Some(Chunk::Data(mut data)) => {
                    data.truncate(left);
                    left -= data.len();
                    return Some(Chunk::Data(data));
                }
                Some(other) => return Some(other),
                None => left = 0,
            }
        }
        last.take()
    })
}

fn slowed(body: Body, pause: SignedDuration, size: usize) -> impl Iterator<Item = Chunk> + Send {
    body.flat_map(move |chunk| match chunk {
        Chunk::Data(data) => {
            data.chunks(size).flat_map(|piece| [Chunk::Pause(pause), Chunk::Data(piece.to_vec())]).collect::<Vec<_>>()
        }
        other => vec![other],
    })
}

/// `start`, then filler for ever, 64 KB at a time.
pub(crate) fn endless(start: String) -> Body {
    let filler = std::iter::repeat_with(|| Chunk::Data(vec![b'A'; 64 * 1024]));
    Body::lazy(std::iter::once(Chunk::Data(start.into_bytes())).chain(filler))
}

/// What stands in front of both services says this when they do not answer; neither documents a body for it.
pub(crate) fn gateway_page(status: u16) -> Response {
    let text = format!(
        "<!DOCTYPE html>\r\n<html><head><title>{status}</title></head>\r\n<body><h2>Our services aren't available right now</h2><p>We're working to restore all services as soon as possible. Please check back soon.</p></body></html>\r\n"
    );
    Response::new(status, "text/html; charset=utf-8", text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliver(fault: Fault, text: &str) -> Vec<Chunk> {
        fault.deliver(Response::new(200, "text/plain", text)).body.collect()
    }

    fn data(text: &str) -> Chunk {
        Chunk::Data(text.as_bytes().to_vec())
    }

    #[test]
    fn a_truncated_body_ends_well_and_a_broken_one_does_not() {
        assert_eq!(deliver(Fault::Truncated { after: 3 }, "abcdef"), [data("abc")]);
        assert_eq!(deliver(Fault::Broken { after: 3 }, "abcdef"), [data("abc"), Chunk::Cut]);
        assert_eq!(deliver(Fault::Broken { after: 0 }, "abcdef"), [Chunk::Cut]);
        assert_eq!(deliver(Fault::Broken { after: 9 }, "abcdef"), [data("abcdef"), Chunk::Cut]);
    }

    #[test]
    fn a_slow_body_pauses_before_every_piece() {
        let pause = SignedDuration::from_secs(2);
        assert_eq!(
            deliver(Fault::Slow { pause, chunk: 4 }, "abcdef"),
            [Chunk::Pause(pause), data("abcd"), Chunk::Pause(pause), data("ef")]
        );
    }

    #[test]
    fn an_endless_body_goes_on() {
        assert_eq!(endless("x".into()).collect_at_most(1_000_000).len(), 1_000_000);
    }
}
