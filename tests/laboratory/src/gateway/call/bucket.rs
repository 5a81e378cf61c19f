//! S3's calls, with the bucket in the path.

use url::Url;

use super::Request;
use crate::gateway::{condition::Context, policy::Permission};

/// Parts of a query that the SDK adds and that change nothing of what is asked.
const HARMLESS: [&str; 8] =
    ["x-id", "list-type", "prefix", "delimiter", "max-keys", "continuation-token", "start-after", "encoding-type"];

pub(super) fn permissions(request: &Request) -> Result<(String, Vec<Permission>), String> {
    let what = || format!("s3 {} {}", request.method, request.target);
    let url = Url::parse(&format!("http://s3{}", request.target)).map_err(|error| format!("{}: {error}", what()))?;
    if let Some((name, _)) = url.query_pairs().find(|(name, _)| !HARMLESS.contains(&name.as_ref())) {
        return Err(format!("{} has the parameter {name}, which is not known", what()));
    }
    let path = url.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let key = decoded(key)?;
    let operation = match (request.method.as_str(), key.is_empty()) {
        ("GET", true) => "ListBucket",
        ("GET" | "HEAD", false) => "GetObject",
        ("PUT", false) => "PutObject",
        ("DELETE", false) => "DeleteObject",
        _ => return Err(format!("{} is not known", what())),
    };
    let permission = if operation == "ListBucket" {
        let prefix = url.query_pairs().find(|(name, _)| name == "prefix").map(|(_, value)| value.into_owned());
        listing(bucket, prefix)
    } else {
        Permission {
            action: format!("s3:{operation}"),
            resource: format!("arn:aws:s3:::{bucket}/{key}"),
            context: Context::new(),
        }
    };
    Ok((operation.to_owned(), vec![permission]))
}

fn decoded(key: &str) -> Result<String, String> {
    let form = format!("key={}", key.replace('+', "%2B"));
    let (_, key) = url::form_urlencoded::parse(form.as_bytes()).next().ok_or("a key")?;
    Ok(key.into_owned())
}

/// May this bucket be listed?
fn listing(bucket: &str, prefix: Option<String>) -> Permission {
    let context = prefix.map(|prefix| ("s3:prefix".to_owned(), vec![prefix]));
    Permission {
        action: "s3:ListBucket".to_owned(),
        resource: format!("arn:aws:s3:::{bucket}"),
        context: context.into_iter().collect(),
    }
}

/// What must be allowed besides, to be told that an object is missing. S3 judges that with the key as the prefix; to
/// anybody else it says 403.
pub(crate) fn to_be_told_of_absence(object: &Permission) -> Option<Permission> {
    let (bucket, key) = object.resource.strip_prefix("arn:aws:s3:::")?.split_once('/')?;
    Some(listing(bucket, Some(key.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::call::tests::{needs, request};

    #[test]
    fn an_object_is_bucket_and_key() {
        for (method, target, expected) in [
            (
                "PUT",
                "/lake/alerts/tenant%3Da/x.gz?x-id=PutObject",
                "s3:PutObject on arn:aws:s3:::lake/alerts/tenant=a/x.gz",
            ),
            ("GET", "/lake/a%2Bb+c", "s3:GetObject on arn:aws:s3:::lake/a+b+c"),
            ("HEAD", "/lake/a", "s3:GetObject on arn:aws:s3:::lake/a"),
            ("DELETE", "/lake/a", "s3:DeleteObject on arn:aws:s3:::lake/a"),
            (
                "GET",
                "/lake?list-type=2&prefix=alerts%2F",
                "s3:ListBucket on arn:aws:s3:::lake, s3:prefix [\"alerts/\"]",
            ),
            ("GET", "/lake/?list-type=2", "s3:ListBucket on arn:aws:s3:::lake"),
        ] {
            assert_eq!(needs(&request(method, target, &[], "")).unwrap(), [expected], "{method} {target}");
        }
    }

    #[test]
    fn what_is_more_than_an_object_is_not_known() {
        for (method, target) in [
            ("GET", "/lake/a?acl"),
            ("PUT", "/lake"),
            ("POST", "/lake/a?uploads"),
            ("PUT", "/lake/a?partNumber=1&uploadId=x"),
            ("GET", "/lake?versions"),
        ] {
            assert!(needs(&request(method, target, &[], "")).is_err(), "{method} {target}");
        }
    }

    #[test]
    fn absence_is_told_to_those_who_may_list_the_key() {
        let (_, permissions) = permissions(&request("GET", "/lake/alerts/x", &[], "")).unwrap();
        let needed = to_be_told_of_absence(&permissions[0]).unwrap();
        assert_eq!(needed.to_string(), "s3:ListBucket on arn:aws:s3:::lake, s3:prefix [\"alerts/x\"]");
    }
}
