//! Entra's errors: the body of MICROSOFT 2.7 with the status, `error` and text of each code in 2.8.

use jiff::Timestamp;
use serde_json::json;

use crate::dice::Dice;
use crate::http::Response;
use crate::time;

/// One refusal by Entra.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aadsts {
    pub(crate) code: u32,
    text: String,
}

impl Aadsts {
    pub(crate) fn new(code: u32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// A scripted error: the code is what counts, the text is short.
    pub(crate) fn scripted(code: u32) -> Self {
        Self::new(code, "Scripted by the simulator.")
    }

    /// As a page shows it.
    pub(crate) fn message(&self) -> String {
        format!("AADSTS{}: {}", self.code, self.text)
    }

    /// As it travels: the text, then the ids under which Microsoft's support would find the request.
    pub(crate) fn description(&self, separator: &str, now: Timestamp, dice: &mut Dice) -> String {
        let (trace, correlation) = (dice.guid(), dice.guid());
        let parts = [
            self.message(),
            format!("Trace ID: {trace}"),
            format!("Correlation ID: {correlation}"),
            format!("Timestamp: {}", time::entra(now)),
        ];
        parts.join(separator)
    }

    pub(crate) fn error_uri(&self) -> String {
        format!("https://login.microsoftonline.com/error?code={}", self.code)
    }

    pub(crate) fn response(&self, now: Timestamp, dice: &mut Dice) -> Response {
        let (status, error) = status_and_error(self.code);
        self.response_as(status, error, now, dice)
    }

    /// With another status and `error` than the token endpoint's.
    pub(crate) fn response_as(&self, status: u16, error: &str, now: Timestamp, dice: &mut Dice) -> Response {
        let (trace, correlation, timestamp) = (dice.guid(), dice.guid(), time::entra(now));
        let mut body = json!({
            "error": error,
            "error_description": format!(
                "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}",
                self.code, self.text
            ),
            "error_codes": [self.code],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.code),
        });
        if error == "interaction_required" {
            body["suberror"] = "message_only".into();
        }
        let response =
            Response::json(status, &body).with("x-ms-request-id", trace).with("Cache-Control", "no-store, no-cache");
        if status == 429 { response.with("Retry-After", "60") } else { response }
    }
}

/// MICROSOFT 2.8. Where the sheet does not know the status (7000229, 7000272, 53003, 5000224), the likeliest one stands here; a
/// client must not depend on it.
fn status_and_error(code: u32) -> (u16, &'static str) {
    match code {
        7000215 | 7000222 | 7000216 | 7000218 | 7000229 => (401, "invalid_client"),
        700021 | 700023 | 700027 | 700024 | 7000274 | 7000214 | 7000277 | 700030 | 1000502 | 50027 => {
            (401, "invalid_client")
        }
        700211 | 700212 | 700213 | 7002137 | 7002138 | 7000272 => (401, "invalid_client"),
        700016 | 7000112 => (400, "unauthorized_client"),
        65001 | 50196 | 50034 | 54005 | 70000 | 70008 | 700005 | 500112 | 501481 | 501051 => (400, "invalid_grant"),
        53003 | 530032 | 53011 => (400, "interaction_required"),
        500011 | 500014 => (400, "invalid_resource"),
        650052 => (400, "invalid_client"),
        1002012 | 70011 => (400, "invalid_scope"),
        70003 => (400, "unsupported_grant_type"),
        90033 | 90024 | 90006 | 90012 | 90090 | 50033 | 50087 => (503, "temporarily_unavailable"),
        90055 => (429, "temporarily_unavailable"),
        _ => (400, "invalid_request"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_body_has_every_part_of_the_documented_one() {
        let now = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let response = Aadsts::new(7000215, "Invalid client secret provided.").response(now, &mut Dice::new(1));
        assert_eq!(response.status, 401);
        let body: Value = serde_json::from_slice(&response.body.collect_bytes()).unwrap();
        assert_eq!(body["error"], "invalid_client");
        assert_eq!(body["error_codes"], json!([7000215]));
        assert_eq!(body["timestamp"], "2026-01-02 03:04:05Z");
        let description = body["error_description"].as_str().unwrap();
        let tail = format!(
            " Trace ID: {} Correlation ID: {} Timestamp: 2026-01-02 03:04:05Z",
            body["trace_id"].as_str().unwrap(),
            body["correlation_id"].as_str().unwrap()
        );
        assert_eq!(description, format!("AADSTS7000215: Invalid client secret provided.{tail}"));
        assert_eq!(body["error_uri"], "https://login.microsoftonline.com/error?code=7000215");
        assert_eq!(body.get("suberror"), None);
    }

    #[test]
    fn codes_come_with_their_status_and_error() {
        for (code, expected) in [
            (700016, (400, "unauthorized_client")),
            (500011, (400, "invalid_resource")),
            (1002012, (400, "invalid_scope")),
            (90002, (400, "invalid_request")),
            (53003, (400, "interaction_required")),
            (90033, (503, "temporarily_unavailable")),
            (70003, (400, "unsupported_grant_type")),
        ] {
            assert_eq!(status_and_error(code), expected, "{code}");
        }
    }
}
