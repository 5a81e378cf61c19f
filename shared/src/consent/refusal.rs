//! What Microsoft sends back in place of an approval: three documented and observed shapes, and the codes in them
//! (MICROSOFT.md 1.1, 1.2, 1.8).

use super::outcome::Outcome;
use crate::microsoft::{
    entra::code_in,
    token::{Refusal, TokenError},
};

/// Reads the error of a redirect. Anybody can write one, so it says something to a person and changes nothing.
pub fn read(error: &str, subcode: Option<&str>, description: &str) -> Outcome {
    if subcode == Some("cancel") {
        return Outcome::Cancelled;
    }
    match (code_in(description), error) {
        (Some(65_004), _) => Outcome::Declined,
        (Some(50_020), _) => Outcome::WrongDirectory,
        (Some(90_094 | 90_095 | 900_941), _) => Outcome::NotAdmin,
        (Some(650_052 | 500_011), _) => Outcome::NoDefender,
        (Some(650_051), _) => Outcome::TryAgainSoon,
        (Some(53_003 | 530_032 | 53_011), _) => Outcome::ConditionalAccess,
        (Some(7_000_112), _) => Outcome::Disabled,
        (Some(90_038 | 900_382 | 900_432), _) => Outcome::OtherCloud { home: None },
        (Some(90_033 | 90_055 | 90_024 | 90_006 | 90_012 | 90_090 | 50_033 | 50_087), _)
        | (_, "temporarily_unavailable" | "server_error") => Outcome::MicrosoftTrouble,
        (Some(50_058 | 65_001 | 50_076 | 50_079), _) | (_, "login_required" | "interaction_required") => {
            Outcome::NotProven
        }
        (None, "consent_required" | "permission_denied" | "access_denied") => Outcome::Declined,
        (code, "invalid_request" | "invalid_client" | "unauthorized_client" | "invalid_scope" | "invalid_resource") => {
            Outcome::OurRequest { code }
        }
        (code, _) => Outcome::Unknown { code },
    }
}

/// What a code that was not redeemed means for the person who brought it.
pub fn of_redemption(error: &TokenError) -> Outcome {
    match error {
        TokenError::Refused(refused) => match refused.refusal() {
            Refusal::OurCredential | Refusal::OurRequest => Outcome::OurRequest { code: refused.code },
            Refusal::Throttled | Refusal::Transient => Outcome::MicrosoftTrouble,
            Refusal::ConditionalAccess => Outcome::ConditionalAccess,
            Refusal::Disabled => Outcome::Disabled,
            Refusal::OtherCloud => Outcome::OtherCloud { home: None },
            // The approval has not reached the token endpoint yet.
            Refusal::NotConsented => Outcome::TryAgainSoon,
            // `invalid_grant`: a code that is spent, old, of another tenant or of another sign-in.
            _ => Outcome::NotProven,
        },
        TokenError::NoApplication { .. } | TokenError::NoIdentity(_) | TokenError::WrongToken(_) => {
            Outcome::OurRequest { code: None }
        }
        TokenError::Unreachable(_) | TokenError::Platform(_) => Outcome::MicrosoftTrouble,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pain_12_every_documented_and_observed_refusal_has_a_page_of_its_own() {
        let described = |code: u32| format!("AADSTS{code}: Words.\r\nTrace ID: t\r\nTimestamp: 2026-01-01 00:00:00Z");
        for (error, subcode, description, expected) in [
            ("access_denied", Some("cancel"), String::new(), Outcome::Cancelled),
            ("access_denied", None, described(65_004), Outcome::Declined),
            ("consent_required", None, described(65_004), Outcome::Declined),
            ("permission_denied", None, "The admin canceled the request".to_owned(), Outcome::Declined),
            ("access_denied", None, String::new(), Outcome::Declined),
            ("access_denied", None, described(50_020), Outcome::WrongDirectory),
            ("access_denied", None, described(90_094), Outcome::NotAdmin),
            ("access_denied", None, described(900_941), Outcome::NotAdmin),
            ("invalid_client", None, described(650_052), Outcome::NoDefender),
            ("access_denied", None, described(650_051), Outcome::TryAgainSoon),
            ("invalid_request", None, described(900_144), Outcome::OurRequest { code: Some(900_144) }),
            ("invalid_client", None, String::new(), Outcome::OurRequest { code: None }),
            ("temporarily_unavailable", None, String::new(), Outcome::MicrosoftTrouble),
            ("server_error", None, described(90_033), Outcome::MicrosoftTrouble),
            ("interaction_required", None, described(53_003), Outcome::ConditionalAccess),
            ("login_required", None, described(50_058), Outcome::NotProven),
            ("unauthorized_client", None, described(7_000_112), Outcome::Disabled),
            ("invalid_request", None, described(90_038), Outcome::OtherCloud { home: None }),
            ("invalid_request", None, described(900_432), Outcome::OtherCloud { home: None }),
            ("a_new_one", None, described(123_456), Outcome::Unknown { code: Some(123_456) }),
        ] {
            assert_eq!(read(error, subcode, &description), expected, "{error} {description}");
        }
    }
}
