//! STS's calls.

use crate::gateway::{condition::Context, policy::Permission};

pub(super) fn permissions(body: &[u8]) -> Result<(String, Vec<Permission>), String> {
    let fields: Vec<(String, String)> =
        url::form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let operation = field("Action").ok_or("the request names no action")?;
    let mut context = Context::new();
    let resource = match operation.as_str() {
        "AssumeRole" => field("RoleArn").ok_or("no role is named")?,
        "GetWebIdentityToken" => {
            let audiences = fields.iter().filter(|(name, _)| name.starts_with("Audience.member."));
            let audiences = audiences.map(|(_, value)| value.clone()).collect();
            context.insert("sts:identitytokenaudience".to_owned(), audiences);
            for (key, name) in
                [("sts:signingalgorithm", "SigningAlgorithm"), ("sts:durationseconds", "DurationSeconds")]
            {
                context.extend(field(name).map(|value| (key.to_owned(), vec![value])));
            }
            "*".to_owned()
        }
        _ => return Err(format!("the query action {operation} is not known")),
    };
    Ok((operation.clone(), vec![Permission { action: format!("sts:{operation}"), resource, context }]))
}

#[cfg(test)]
mod tests {
    use crate::gateway::call::tests::{needs, request};

    #[test]
    fn a_token_is_for_an_audience_and_a_role_is_a_resource() {
        let form = |body: &str| {
            let kind = ("content-type", "application/x-www-form-urlencoded");
            needs(&request("POST", "/", &[kind], body))
        };
        assert_eq!(
            form("Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx").unwrap(),
            ["sts:AssumeRole on arn:aws:iam::1:role/x"]
        );
        assert_eq!(
            form("Action=GetWebIdentityToken&Audience.member.1=api%3A%2F%2Fx&SigningAlgorithm=RS256").unwrap(),
            ["sts:GetWebIdentityToken on *, sts:identitytokenaudience [\"api://x\"], sts:signingalgorithm [\"RS256\"]"]
        );
        assert!(form("Action=DeleteRole").is_err());
        assert!(form("").is_err());
    }
}
