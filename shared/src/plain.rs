//! Text from outside that people will read: names of customers, of people, of providers.

/// Whether a character leaves no mark of its own, or turns the order of others around. Two names that differ in such a
/// one look the same.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text without the space around it, if it is one line of at most so many characters, all of them visible.
pub fn line(text: &str, most: usize) -> Option<&str> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= most && !text.chars().any(is_hidden);
    fits.then_some(text)
}

/// What is visible of the text, at most so many characters.
pub fn visible(text: &str, most: usize) -> String {
    text.chars().filter(|c| !is_hidden(*c)).take(most).collect()
}

/// An error as a sentence of its own. It is written to be continued, as on a command line.
pub fn sentence(text: String) -> String {
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return text };
    let is_word = text.split(' ').next().is_some_and(|word| word.chars().all(char::is_alphabetic));
    let end = if text.ends_with(['.', '!', '?', ':']) { "" } else { "." };
    if is_word { format!("{}{}{end}", first.to_uppercase(), characters.as_str()) } else { format!("{text}{end}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_it_looks_like() {
        assert_eq!(line("  Müller & Söhne ", 200), Some("Müller & Söhne"));
        for text in ["", " ", "a\nb", "\u{200b}", "Con\u{202e}oso", "Contoso\u{200b}", "ab"] {
            let most = if text == "ab" { 1 } else { 200 };
            assert_eq!(line(text, most), None, "{text:?}");
        }
        assert_eq!(visible("Ada\u{202e} <b>\n", 7), "Ada <b>");
    }
}
