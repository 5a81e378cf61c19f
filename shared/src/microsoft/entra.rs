//! What Entra says when it refuses: the AADSTS codes that matter, and who must act on each.

mod advice;

use jiff::SignedDuration;
use serde_json::Value;

use super::time::ClockSkew;

/// The token endpoint's error body (MICROSOFT.md 2.7), reduced to what decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntraError {
    pub status: u16,
    pub error: String,
    pub code: Option<u32>,
    /// The first sentence, without trace ids.
    pub summary: String,
    pub retry_after: Option<SignedDuration>,
    /// How wrong our clock is, where that is what was refused.
    pub clock_skew: Option<ClockSkew>,
}

impl std::fmt::Display for EntraError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(_) => f.write_str(&self.summary),
            None => write!(f, "HTTP {} {} {}", self.status, self.error, self.summary),
        }
    }
}

/// Who must do something about a refusal, and what (MICROSOFT.md 2.8 and 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Ask again after the time Entra names.
    Throttled,
    /// Entra's own trouble; ask again at the next tick.
    Transient,
    /// Our credential is wrong, expired or not yet known everywhere. The tenants did nothing wrong.
    OurCredential,
    /// Our request or configuration is wrong.
    OurRequest,
    /// The application has no consent in the tenant.
    NotConsented,
    /// An administrator of the tenant disabled the application.
    Disabled,
    ConditionalAccess,
    /// The tenant has no Defender for Endpoint.
    NoDefender,
    /// No such tenant, or it was deleted.
    NoTenant,
    /// The tenant lives in another national cloud.
    OtherCloud,
    /// A code that we do not know: tell the operator, conclude nothing.
    Unknown,
}

impl EntraError {
    /// What is wrong and what to do about it, in a sentence or two for an operator, where the code tells.
    pub fn advice(&self) -> Option<String> {
        match self.clock_skew {
            Some(skew) => Some(format!("T{}; set it right, by NTP for example.", &skew.to_string()[1..])),
            None => self.code.and_then(advice::of).map(str::to_owned),
        }
    }

    /// What Entra said, and what to do about it.
    pub fn explained(&self) -> String {
        match self.advice() {
            Some(advice) => format!("{self} {advice}"),
            None => self.to_string(),
        }
    }

    /// Whether an assertion was refused for when it says that it was made.
    pub fn is_of_the_time(&self) -> bool {
        self.code == Some(700_024)
    }

    pub fn refusal(&self) -> Refusal {
        if self.status == 429 {
            return Refusal::Throttled;
        }
        match self.code {
            Some(
                7_000_215 | 7_000_222 | 700_027 | 700_024 | 7_000_274 | 7_000_214 | 7_000_277 | 700_030 | 1_000_502,
            ) => Refusal::OurCredential,
            Some(70_021 | 700_211 | 700_212 | 700_213 | 7_002_137 | 7_002_138 | 7_000_272) => Refusal::OurCredential,
            Some(1_002_012 | 70_011 | 90_014 | 900_144 | 7_000_216 | 7_000_218 | 9_001_023 | 50_194 | 900_023) => {
                Refusal::OurRequest
            }
            Some(700_016 | 7_000_229 | 65_001) => Refusal::NotConsented,
            Some(7_000_112) => Refusal::Disabled,
            Some(53_003 | 530_032 | 53_011) => Refusal::ConditionalAccess,
            Some(500_011 | 650_052) => Refusal::NoDefender,
            Some(90_002 | 5_000_224) => Refusal::NoTenant,
            // The latter two: a confidential client asks for a tenant of another cloud (letsencrypt-siteextension#399).
            Some(90_038) => Refusal::OtherCloud,
            Some(900_382 | 900_432) => Refusal::OurRequest,
            Some(90_033 | 90_024 | 90_006 | 90_012 | 90_090 | 90_055 | 50_033 | 50_087 | 50_196) => Refusal::Transient,
            _ if self.status >= 500 => Refusal::Transient,
            _ if matches!(self.error.as_str(), "temporarily_unavailable" | "server_error") => Refusal::Transient,
            _ => Refusal::Unknown,
        }
    }
}

/// What may go to a terminal or a page: no control characters, no novel.
pub(super) fn printable(text: &str, length: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(length).collect()
}

/// The code that a description begins with, as in `AADSTS65004: User declined …`.
pub fn code_in(description: &str) -> Option<u32> {
    let digits = description.strip_prefix("AADSTS")?;
    digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())].parse().ok()
}

/// Reads an answer other than 200 of the token endpoint.
pub(super) fn parse_error(status: u16, retry_after: Option<&str>, body: &[u8]) -> EntraError {
    let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let description = value.get("error_description").and_then(Value::as_str).unwrap_or_default();
    let code = value.pointer("/error_codes/0").and_then(Value::as_u64).and_then(|code| u32::try_from(code).ok());
    let summary = description.split(" Trace ID:").next().unwrap_or_default();
    let summary = summary.split("\r\n").next().unwrap_or_default();
    EntraError {
        status,
        error: printable(value.get("error").and_then(Value::as_str).unwrap_or_default(), 60),
        code: code.or_else(|| code_in(description)),
        summary: printable(summary, 300),
        retry_after: retry_after
            .and_then(|text| text.trim().parse().ok())
            .map(|seconds: i64| SignedDuration::from_secs(seconds.clamp(1, 3600))),
        clock_skew: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_refusal_says_who_must_act() {
        let refusal = |status, code: u32| {
            let body = serde_json::json!({
                "error": "invalid_client",
                "error_description": format!("AADSTS{code}: Words. Trace ID: t Correlation ID: c Timestamp: x"),
                "error_codes": [code],
            });
            parse_error(status, None, body.to_string().as_bytes()).refusal()
        };
        for (code, expected) in [
            (7_000_215, Refusal::OurCredential),
            (7_000_222, Refusal::OurCredential),
            (700_027, Refusal::OurCredential),
            (700_213, Refusal::OurCredential),
            (7_000_272, Refusal::OurCredential),
            (700_016, Refusal::NotConsented),
            (7_000_229, Refusal::NotConsented),
            (7_000_112, Refusal::Disabled),
            (53_003, Refusal::ConditionalAccess),
            (500_011, Refusal::NoDefender),
            (90_002, Refusal::NoTenant),
            (90_038, Refusal::OtherCloud),
            (900_382, Refusal::OurRequest),
            (900_432, Refusal::OurRequest),
            (1_002_012, Refusal::OurRequest),
            (90_033, Refusal::Transient),
            (123_456, Refusal::Unknown),
        ] {
            assert_eq!(refusal(400, code), expected, "AADSTS{code}");
        }
        assert_eq!(refusal(503, 123_456), Refusal::Transient);
        assert_eq!(parse_error(429, Some("60"), b"").refusal(), Refusal::Throttled);
        assert_eq!(parse_error(502, None, b"<html>").refusal(), Refusal::Transient);
        let absurd = parse_error(429, Some("9223372036854775807"), b"");
        assert_eq!(absurd.retry_after, Some(SignedDuration::from_hours(1)));
        let text_only = parse_error(401, None, br#"{"error_description":"AADSTS7000215: Invalid.\r\nTrace ID: x"}"#);
        assert_eq!(
            (text_only.refusal(), text_only.summary.as_str()),
            (Refusal::OurCredential, "AADSTS7000215: Invalid.")
        );
    }
}
