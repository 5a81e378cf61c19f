//! An OData page taken apart while it arrives: each element of `value` as soon as it is complete, never the page whole.
//!
//! A page of 10,000 alerts with evidence can be hundreds of megabytes, and no kept JSON library parses an asynchronous
//! body element by element. This one only finds where each element ends; `serde_json` then reads it.

/// A single element larger than this is not an alert, it is a body that never ends.
const MAX_ELEMENT: usize = 16 << 20;
/// Everything beside `value` is an address or a link.
const MAX_MEMBER: usize = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// HTML, an error body, or JSON of another shape.
    #[error("the body is not a page of results: {0}")]
    NotAPage(String),
    #[error("the body ends in the middle")]
    Truncated,
    #[error("one element is longer than {MAX_ELEMENT} bytes")]
    TooLong,
}

/// What a complete page tells beside its elements.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PageEnd {
    /// `@odata.nextLink` as sent: told, never followed, for its host is anybody's.
    pub next_link: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expecting {
    Object,
    KeyOrEnd,
    Key,
    Colon,
    Member,
    AfterMember,
    ElementOrEnd,
    Element,
    AfterElement,
    Nothing,
}

/// Where one JSON value ends, found across chunks.
#[derive(Debug, Clone, Copy, Default)]
struct ValueScan {
    start: usize,
    depth: usize,
    in_string: bool,
}

/// Feed it chunks with [`PageSplitter::push`], take elements with [`PageSplitter::element`], close with
/// [`PageSplitter::finish`].
#[derive(Debug)]
pub struct PageSplitter {
    buffer: Vec<u8>,
    at: usize,
    expecting: Expecting,
    scan: Option<ValueScan>,
    key: String,
    saw_value: bool,
    end: PageEnd,
}

impl Default for PageSplitter {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            at: 0,
            expecting: Expecting::Object,
            scan: None,
            key: String::new(),
            saw_value: false,
            end: PageEnd::default(),
        }
    }
}

impl PageSplitter {
    pub fn push(&mut self, chunk: &[u8]) {
        // What lies before the value being scanned has been handed out already.
        let keep = self.scan.map_or(self.at, |scan| scan.start);
        self.buffer.drain(..keep);
        self.at -= keep;
        if let Some(scan) = &mut self.scan {
            scan.start = 0;
        }
        self.buffer.extend_from_slice(chunk);
    }

    /// The next complete element of `value`, as sent; `None` when more chunks are needed or the page is over.
    ///
    /// # Errors
    /// [`PageError`] as soon as the body can no longer become a page.
    pub fn element(&mut self) -> Result<Option<&[u8]>, PageError> {
        loop {
            if self.scan.is_some() {
                let Some((start, end)) = self.scan_value()? else { return Ok(None) };
                match self.expecting {
                    Expecting::Element | Expecting::ElementOrEnd => {
                        self.expecting = Expecting::AfterElement;
                        return Ok(Some(&self.buffer[start..end]));
                    }
                    _ => self.member(start, end)?,
                }
            } else if !self.step()? {
                return Ok(None);
            }
        }
    }

    /// # Errors
    /// [`PageError::Truncated`] unless a whole page has been seen.
    pub fn finish(self) -> Result<PageEnd, PageError> {
        match self.expecting {
            Expecting::Nothing if self.saw_value => Ok(self.end),
            Expecting::Nothing => Err(PageError::NotAPage("it has no `value`".to_owned())),
            _ => Err(PageError::Truncated),
        }
    }

    /// Consumes one byte of structure; false when the buffer is used up.
    fn step(&mut self) -> Result<bool, PageError> {
        let Some(&byte) = self.buffer.get(self.at) else { return Ok(false) };
        if byte.is_ascii_whitespace() {
            self.at += 1;
            return Ok(true);
        }
        let next = match (self.expecting, byte) {
            (Expecting::Object, 0xEF | 0xBB | 0xBF) => Expecting::Object,
            (Expecting::Object, b'{') => Expecting::KeyOrEnd,
            (Expecting::KeyOrEnd | Expecting::Key, b'"')
            | (Expecting::Element | Expecting::ElementOrEnd, b'{' | b'[' | b'"' | b'0'..=b'9' | b'-' | b'a'..=b'z') => {
                self.scan = Some(ValueScan { start: self.at, ..ValueScan::default() });
                return Ok(true);
            }
            (Expecting::KeyOrEnd | Expecting::AfterMember, b'}') => Expecting::Nothing,
            (Expecting::Colon, b':') => Expecting::Member,
            (Expecting::Member, b'[') if self.key == "value" && !self.saw_value => {
                self.saw_value = true;
                Expecting::ElementOrEnd
            }
            (Expecting::Member, b'{' | b'[' | b'"' | b'0'..=b'9' | b'-' | b'a'..=b'z') if self.key != "value" => {
                self.scan = Some(ValueScan { start: self.at, ..ValueScan::default() });
                return Ok(true);
            }
            (Expecting::AfterMember, b',') => Expecting::Key,
            (Expecting::ElementOrEnd | Expecting::AfterElement, b']') => Expecting::AfterMember,
            (Expecting::AfterElement, b',') => Expecting::Element,
            (expecting, byte) => {
                let begins = String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(40)]).into_owned();
                return Err(PageError::NotAPage(format!(
                    "byte {byte:#04x} where {expecting:?} was expected, near `{}`",
                    begins.escape_default()
                )));
            }
        };
        self.expecting = next;
        self.at += 1;
        Ok(true)
    }

    /// Goes on scanning the value that has begun; its bounds once it is complete.
    fn scan_value(&mut self) -> Result<Option<(usize, usize)>, PageError> {
        let Some(mut scan) = self.scan else { return Ok(None) };
        let element = matches!(self.expecting, Expecting::Element | Expecting::ElementOrEnd);
        let limit = if element { MAX_ELEMENT } else { MAX_MEMBER };
        let mut at = self.at;
        let end = loop {
            if at - scan.start > limit {
                return Err(PageError::TooLong);
            }
            if scan.in_string {
                let Some(found) = memchr::memchr2(b'"', b'\\', &self.buffer[at..]) else {
                    at = self.buffer.len();
                    break None;
                };
                at += found;
                if self.buffer[at] == b'\\' {
                    // The escaped byte may be in the next chunk; come back to the backslash then.
                    if at + 1 >= self.buffer.len() {
                        break None;
                    }
                    at += 2;
                    continue;
                }
                scan.in_string = false;
                at += 1;
                if scan.depth == 0 {
                    break Some(at);
                }
                continue;
            }
            let Some(&byte) = self.buffer.get(at) else { break None };
            match byte {
                b'"' => scan.in_string = true,
                b'{' | b'[' => scan.depth += 1,
                // A number or a word ends where the structure around it goes on.
                b'}' | b']' | b',' if scan.depth == 0 => break Some(at),
                byte if byte.is_ascii_whitespace() && scan.depth == 0 => break Some(at),
                b'}' | b']' => {
                    scan.depth -= 1;
                    if scan.depth == 0 {
                        at += 1;
                        break Some(at);
                    }
                }
                _ => {}
            }
            at += 1;
        };
        if at - scan.start > limit {
            return Err(PageError::TooLong);
        }
        self.at = at;
        self.scan = if end.is_some() { None } else { Some(scan) };
        Ok(end.map(|end| (scan.start, end)))
    }

    fn member(&mut self, start: usize, end: usize) -> Result<(), PageError> {
        let text = &self.buffer[start..end];
        let bad = |cause: serde_json::Error| PageError::NotAPage(cause.to_string());
        if self.expecting == Expecting::Member {
            if self.key == "@odata.nextLink" {
                self.end.next_link = serde_json::from_slice(text).map_err(bad)?;
            }
            self.expecting = Expecting::AfterMember;
        } else {
            self.key = serde_json::from_slice(text).map_err(bad)?;
            self.expecting = Expecting::Colon;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits `text` fed in chunks of `size` bytes.
    fn split(text: &str, size: usize) -> Result<(Vec<String>, PageEnd), PageError> {
        let mut splitter = PageSplitter::default();
        let mut elements = Vec::new();
        for chunk in text.as_bytes().chunks(size) {
            splitter.push(chunk);
            while let Some(element) = splitter.element()? {
                elements.push(String::from_utf8_lossy(element).into_owned());
            }
        }
        splitter.finish().map(|end| (elements, end))
    }

    #[test]
    fn elements_come_out_as_they_were_sent_however_the_body_is_cut() {
        let page = r#" {"@odata.context":"https://x/$metadata#Alerts", "value" : [ {"id":"a","t":"}],{\"\\"} ,
            {"id":"b","evidence":[{"x":[1,2]},{}]},42, null ,"s", [1,[2]] ] , "@odata.nextLink" : "https://x/?$skip=1" } "#;
        let whole = split(page, page.len()).unwrap();
        assert_eq!(
            whole.0,
            [
                r#"{"id":"a","t":"}],{\"\\"}"#,
                r#"{"id":"b","evidence":[{"x":[1,2]},{}]}"#,
                "42",
                "null",
                r#""s""#,
                "[1,[2]]"
            ]
        );
        assert_eq!(whole.1.next_link.as_deref(), Some("https://x/?$skip=1"));
        for size in 1..40 {
            assert_eq!(split(page, size).unwrap(), whole, "chunks of {size}");
        }
    }

    #[test]
    fn empty_pages_and_other_member_orders_are_pages() {
        assert_eq!(split(r#"{"value":[]}"#, 3).unwrap().0.len(), 0);
        assert_eq!(split("\u{feff}{\"value\":[{}],\"x\":{\"y\":[]}}", 1).unwrap().0, ["{}"]);
    }

    #[test]
    fn what_is_not_a_page_is_told_at_once() {
        for text in [
            "<html><body>Service Unavailable</body></html>",
            r#"{"error":{"code":"Unauthorized"}}"#,
            r#"{"value":{}}"#,
            r#"{"value":null}"#,
            "[]",
            "\"value\"",
            "{}",
            r#"{"value":[]} trailing"#,
            r#"{"value":[1 2]}"#,
            r#"{"value":[,]}"#,
            r#"{"value":[1,]}"#,
            r#"{"x":}"#,
            r#"{"value":[]"value":[]}"#,
        ] {
            assert!(matches!(split(text, 5), Err(PageError::NotAPage(_))), "{text}: {:?}", split(text, 5));
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_truncated_and_never_a_shorter_page() {
        let page = r#"{"value":[{"id":"a"},{"id":"b"}]}"#;
        for cut in 0..page.len() {
            assert!(split(&page[..cut], 7).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn an_element_that_never_ends_is_given_up() {
        let mut splitter = PageSplitter::default();
        splitter.push(br#"{"value":[{"x":""#);
        let filler = vec![b'x'; 1 << 20];
        let error = (0..64).find_map(|_| {
            splitter.push(&filler);
            splitter.element().err()
        });
        assert_eq!(error, Some(PageError::TooLong));
    }
}
