//! Patterns with `*` and `?`, as IAM has them in actions, resources and conditions.

/// Whether the pattern covers the text: `*` stands for any letters, `?` for exactly one.
pub fn covers(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut position) = (0, 0);
    // Where the last `*` stood, and how much of the text it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while position < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == text[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                position = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

/// Whether the pattern covers the ARN. A wildcard never reaches over a colon into the next part, save in the last one,
/// which holds the resource's own name.
pub fn covers_arn(pattern: &str, arn: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (patterns, parts): (Vec<&str>, Vec<&str>) = (pattern.splitn(6, ':').collect(), arn.splitn(6, ':').collect());
    patterns.len() == parts.len() && patterns.iter().zip(parts).all(|(pattern, part)| covers(pattern, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_take_any_letters_and_question_marks_take_one() {
        for (pattern, text, expected) in [
            ("tenants#*", "tenants#07", true),
            ("tenants#*", "tenant#a", false),
            ("tenant#*", "tenants#07", false),
            ("accounts", "accounts", true),
            ("accounts", "accounts2", false),
            ("*", "", true),
            ("?", "", false),
            ("a*b*c", "aXXbYbZc", true),
            ("a*b*c", "aXXbYbZ", false),
            ("muster/app-??????", "muster/app-0ac6da", true),
            ("muster/app-??????", "muster/app", false),
            ("muster/app-??????", "muster/app-0ac6da1", false),
            ("muster/tenants/*-??????", "muster/tenants/x", false),
        ] {
            assert_eq!(covers(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_star_stays_within_its_part_of_an_arn() {
        for (pattern, arn, expected) in [
            ("*", "arn:aws:sqs:eu-central-1:1:q", true),
            ("arn:aws:sqs:*:*:q", "arn:aws:sqs:eu-central-1:1:q", true),
            ("arn:aws:sqs:*:q", "arn:aws:sqs:eu-central-1:1:q", false),
            ("arn:aws:s3:::lake/alerts/*", "arn:aws:s3:::lake/alerts/a:b/c", true),
            ("arn:aws:s3:::lake/alerts/*", "arn:aws:s3:::lake/alert", false),
            ("arn:aws:s3:::lake*", "arn:aws:s3:::lake/alerts/x", true),
        ] {
            assert_eq!(covers_arn(pattern, arn), expected, "{pattern} on {arn}");
        }
    }
}
