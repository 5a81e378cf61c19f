//! What an operator does about each of Entra's refusals that is ours to mend (MICROSOFT.md 2.8).
//!
//! Customers are told elsewhere, in words of their own; here is whoever runs Muster, and knows its vault and its cloud.

/// What is wrong and the fix, in whole sentences.
pub(super) fn of(code: u32) -> Option<&'static str> {
    Some(match code {
        // A client secret.
        7_000_215 => {
            "The secret is not one of the application's: perhaps it was removed, mistyped, or it is the secret's ID. Make a \
             new secret in Entra and store its value with `muster vault put`."
        }
        7_000_222 => "The secret has expired: make a new one in Entra and store its value with `muster vault put`.",
        7_000_216 | 7_000_218 => {
            "The request bore no credential: look at the `credential` of the vault's entry, and store it again with \
             `muster vault put`."
        }
        // A certificate.
        700_027 => {
            "The certificate that signed is not among the application's, or its key is another's: upload the certificate in \
             Entra (Certificates & secrets), or store the one that is there with `muster vault put`. A new one takes minutes \
             to spread."
        }
        700_024 => {
            "The assertion's time is over or yet to come: see that this machine's clock is right, and that whatever keeps \
             MUSTER_FEDERATED_TOKEN_FILE fresh still does."
        }
        1_000_502 => {
            "The certificate is not valid yet, or not any more: upload a valid one in Entra and store it with \
             `muster vault put`."
        }
        7_000_274 | 7_000_214 | 7_000_277 | 700_030 => {
            "Entra does not accept the certificate (revoked, or made for somebody else): upload another in Entra and store it \
             with `muster vault put`."
        }
        // A federated credential: issuer, subject, audience, each to the letter.
        70_021 => {
            "No federated credential of the application fits our token: compare issuer, subject and audience with those that \
             `muster doctor` shows, and make it as infra/azure does. A new federated credential takes minutes to spread."
        }
        700_211 => {
            "No federated credential of the application has our token's issuer: compare it with the one that `muster doctor` \
             shows (on AWS `aws iam get-outbound-web-identity-federation-info` names it too), and correct it as infra/azure \
             sets it. A new federated credential takes minutes to spread."
        }
        700_212 => {
            "The federated credential has another audience than our token: both must be api://AzureADTokenExchange \
             (of GCC High and DoD api://AzureADTokenExchangeUSGov), in infra/azure and in the vault's entry. A change takes minutes to spread."
        }
        700_213 => {
            "No federated credential of that issuer has our token's subject: it must be what `muster doctor` shows to the \
             letter, capitals included (on AWS the ARN of the role in MUSTER_IDENTITY_ROLE_ARN with its path, and not that of a \
             session). Correct it as infra/azure sets it. A new federated credential takes minutes to spread."
        }
        7_002_137 | 7_002_138 => {
            "The federated credential's issuer or subject differs from our token's in capitals alone: copy both to the letter \
             from what `muster doctor` shows into infra/azure."
        }
        7_000_272 => {
            "Entra has not read the keys of our token's issuer yet, which takes up to half an hour after its first use: wait, \
             then see whether the issuer's address ends in /.well-known/openid-configuration for anybody on the Internet."
        }
        // The application, where it is asked for.
        700_016 | 7_000_229 => {
            "The application is not in this tenant: see that `client_id` and `home_tenant_id` in the vault are right, and that \
             the application has its service principal there, which approving it makes."
        }
        7_000_112 => {
            "The application is disabled in this tenant: enable it in Entra (Enterprise applications, Properties, Enabled for \
             users to sign in)."
        }
        53_003 | 530_032 | 53_011 => {
            "A Conditional Access policy for workload identities keeps the application out of this tenant: let an \
             administrator exclude it from that policy."
        }
        500_011 | 650_052 => {
            "The service that the token is for is not in this tenant: in a customer's, Microsoft Defender for Endpoint is not \
             licensed or never was opened."
        }
        65_001 => {
            "What is asked for was not approved in this tenant: let an administrator approve the application again."
        }
        // The tenant and its cloud.
        90_002 | 5_000_224 => {
            "There is no such tenant in this cloud: see that the tenant's id and MUSTER_CLOUD are right."
        }
        900_023 => "The tenant's id is no GUID: correct `home_tenant_id` in the vault's entry.",
        900_382 | 900_432 => {
            "The application belongs to another national cloud: register one in the cloud that MUSTER_CLOUD names, or set \
             MUSTER_CLOUD right."
        }
        90_038 => {
            "This tenant lives in another national cloud: serve it from a stack whose MUSTER_CLOUD is that one, with an \
             application registered there."
        }
        1_002_012 | 70_011 => {
            "The resource is not understood: see that MUSTER_DEFENDER_AUDIENCE and MUSTER_CLOUD are right."
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Refusal, parse_error};

    #[test]
    fn every_refusal_that_is_ours_comes_with_words_that_name_the_fix() {
        for (code, words) in [
            (7_000_215, "its value with `muster vault put`"),
            (7_000_222, "expired"),
            (7_000_218, "`credential`"),
            (700_027, "upload the certificate"),
            (700_024, "clock"),
            (1_000_502, "not valid"),
            (7_000_214, "revoked"),
            (70_021, "issuer, subject and audience"),
            (700_211, "get-outbound-web-identity-federation-info"),
            (700_212, "api://AzureADTokenExchange"),
            (700_213, "MUSTER_IDENTITY_ROLE_ARN"),
            (7_002_137, "capitals alone"),
            (7_002_138, "capitals alone"),
            (7_000_272, "half an hour"),
            (700_016, "`client_id`"),
            (7_000_229, "service principal"),
            (7_000_112, "disabled"),
            (53_003, "Conditional Access"),
            (500_011, "Defender"),
            (90_002, "no such tenant"),
            (900_382, "MUSTER_CLOUD"),
            (900_432, "MUSTER_CLOUD"),
            (90_038, "another national cloud"),
        ] {
            let body = serde_json::json!({"error_description": format!("AADSTS{code}: Words."), "error_codes": [code]});
            let error = parse_error(401, None, body.to_string().as_bytes());
            let explained = error.explained();
            assert!(
                explained.starts_with(&format!("AADSTS{code}: Words. ")) && explained.contains(words),
                "{explained}"
            );
            assert!(explained.ends_with('.'), "{explained}");
            assert_ne!(error.refusal(), Refusal::Unknown, "AADSTS{code}");
        }
        let federated = [70_021, 700_211, 700_212, 700_213, 7_002_137, 7_002_138];
        assert!(federated.iter().all(|code| super::of(*code).is_some_and(|words| words.contains("infra/azure"))));
    }

    #[test]
    fn what_passes_by_itself_or_is_not_known_gets_no_advice() {
        assert_eq!([90_033, 90_055, 123_456].map(super::of), [None; 3]);
    }
}
