//! Signature Version 4, as far as it is to be seen: whom a request says it is from, and for what it was signed.

use super::call::Request;

/// Whether the request was signed for this service and region.
///
/// # Errors
/// What is missing or wrong. The signature itself is not computed anew: nobody here knows the secret key but ministack.
pub fn check(request: &Request, service: &str, region: &str) -> Result<(), String> {
    let authorization = request.header("authorization");
    let parts = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("the request is not signed")?;
    let part = |name: &str| {
        let found = parts.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        found.ok_or_else(|| format!("the signature has no {name}"))
    };
    let scope: Vec<&str> = part("Credential")?.split('/').collect();
    let [key, date, for_region, for_service, "aws4_request"] = scope[..] else {
        return Err(format!("the signature's scope is {scope:?}"));
    };
    if key.is_empty() || date.len() != 8 || !request.header("x-amz-date").starts_with(date) {
        return Err(format!("the signature is of {date:?} and the request of {:?}", request.header("x-amz-date")));
    }
    if (for_service, for_region) != (service, region) {
        return Err(format!("it is signed for {for_service} in {for_region}, and goes to {service} in {region}"));
    }
    if !part("SignedHeaders")?.split(';').any(|name| name == "host") {
        return Err("the host is not signed".to_owned());
    }
    let signature = part("Signature")?;
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("the signature has {} letters", signature.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::call::Request;

    const DATE: &str = "20261122T100000Z";

    fn signed(scope: &str, headers: &str, signature: &str) -> String {
        format!("AWS4-HMAC-SHA256 Credential=AKIA/{scope}, SignedHeaders={headers}, Signature={signature}")
    }

    fn judge(authorization: &str) -> Result<(), String> {
        let headers = [("authorization", authorization), ("x-amz-date", DATE)];
        let request = Request {
            method: "POST".to_owned(),
            target: "/".to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: bytes::Bytes::new(),
        };
        check(&request, "sqs", "eu-central-1")
    }

    #[test]
    fn a_request_is_signed_for_where_it_goes() {
        let good = "a".repeat(64);
        let scope = "20261122/eu-central-1/sqs/aws4_request";
        assert_eq!(judge(&signed(scope, "host;x-amz-date", &good)), Ok(()));
        for bad in [
            String::new(),
            "Bearer x".to_owned(),
            signed("20261122/eu-central-1/s3/aws4_request", "host", &good),
            signed("20261122/us-east-1/sqs/aws4_request", "host", &good),
            signed("20261121/eu-central-1/sqs/aws4_request", "host", &good),
            signed("20261122/eu-central-1/sqs", "host", &good),
            signed(scope, "x-amz-date", &good),
            signed(scope, "host", "abc"),
        ] {
            assert!(judge(&bad).is_err(), "{bad}");
        }
    }
}
