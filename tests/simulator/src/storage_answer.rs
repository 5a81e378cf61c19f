//! How Azure Storage answers: its headers, and its errors as XML (MICROSOFT 4.4).

use jiff::Timestamp;

use crate::dice::Dice;
use crate::http::{Body, Request, Response};
use crate::storage_call::StorageCall;

/// Every XML document of Azure Storage begins with a byte order mark.
pub(crate) const XML_START: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>";

/// What all answers to one request have in common.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    request_id: String,
    client_request_id: Option<String>,
    version: Option<String>,
    server: &'static str,
    now: Timestamp,
    /// An answer to `HEAD` has no body, not even an error's.
    bodiless: bool,
}

impl Answer {
    pub(crate) fn to(request: &Request, call: &StorageCall, now: Timestamp, dice: &mut Dice) -> Self {
        let queue = call.is_of_a_queue();
        Self {
            request_id: dice.guid(),
            client_request_id: request.header("x-ms-client-request-id").map(str::to_owned),
            version: request.header("x-ms-version").map(str::to_owned),
            server: if queue {
                "Windows-Azure-Queue/1.0 Microsoft-HTTPAPI/2.0"
            } else {
                "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0"
            },
            now,
            bodiless: StorageCall::is_head(request),
        }
    }

    pub(crate) fn xml(&self, status: u16, document: &str) -> Response {
        let body = format!("{XML_START}{document}").into_bytes();
        self.bytes(status, "application/xml", body.len() as u64, body.into())
    }

    /// An answer that has no body and no length.
    pub(crate) fn no_content(&self) -> Response {
        self.headed(Response { status: 204, headers: Vec::new(), body: "".into() })
    }

    /// A body of a known length; the length is told even where the body is not.
    pub(crate) fn bytes(&self, status: u16, content_type: &str, length: u64, body: Body) -> Response {
        let body = if self.bodiless { "".into() } else { body };
        self.headed(Response::new(status, content_type, body).with("Content-Length", length.to_string()))
    }

    pub(crate) fn error(&self, status: u16, code: &str, message: &str) -> Response {
        self.detailed(status, code, message, &[])
    }

    /// An error with further elements after its message.
    pub(crate) fn detailed(&self, status: u16, code: &str, message: &str, details: &[(&str, &str)]) -> Response {
        let time = self.now.strftime("%Y-%m-%dT%H:%M:%S%.7fZ");
        let message = format!("{message}\nRequestId:{}\nTime:{time}", self.request_id);
        let details: String =
            details.iter().map(|(name, value)| format!("<{name}>{}</{name}>", escape(value))).collect();
        let document = format!("<Error><Code>{code}</Code><Message>{}</Message>{details}</Error>", escape(&message));
        let response = self.xml(status, &document).with("x-ms-error-code", code);
        if !self.bodiless {
            return response;
        }
        let headers =
            response.headers.into_iter().filter(|(name, _)| name != "Content-Length" && name != "Content-Type");
        Response { headers: headers.collect(), ..response }
    }

    /// 400 for a number that is out of its range.
    pub(crate) fn out_of_range(&self, parameter: &str, value: &str, least: i64, most: i64) -> Response {
        self.detailed(
            400,
            "OutOfRangeQueryParameterValue",
            "One of the query parameters specified in the request URI is outside the permissible range.",
            &[
                ("QueryParameterName", parameter),
                ("QueryParameterValue", value),
                ("MinimumAllowed", &least.to_string()),
                ("MaximumAllowed", &most.to_string()),
            ],
        )
    }

    pub(crate) fn invalid_parameter(&self, parameter: &str, value: &str) -> Response {
        self.detailed(
            400,
            "InvalidQueryParameterValue",
            "Value for one of the query parameters specified in the request URI is invalid.",
            &[("QueryParameterName", parameter), ("QueryParameterValue", value)],
        )
    }

    fn headed(&self, response: Response) -> Response {
        let optional = [("x-ms-version", &self.version), ("x-ms-client-request-id", &self.client_request_id)];
        let response = response.with("Server", self.server).with("x-ms-request-id", self.request_id.as_str());
        let present = optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        present.fold(response, |response, (name, value)| response.with(name, value))
    }
}

pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The text of an element; `None` when an entity is none of XML's own.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('&');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (entity, rest) = part.split_once(';')?;
        plain.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            other => {
                let number = other.strip_prefix('#')?;
                let code = number
                    .strip_prefix('x')
                    .map_or_else(|| number.parse(), |hexadecimal| u32::from_str_radix(hexadecimal, 16));
                char::from_u32(code.ok()?)?
            }
        });
        plain.push_str(rest);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_escaped_comes_back() {
        for text in ["", "a<b>&\"'", "&amp;", "eyJ0=="] {
            assert_eq!(unescape(&escape(text)).as_deref(), Some(text));
        }
        assert_eq!(unescape("&quot;&#65;&#x42;&apos;").as_deref(), Some("\"AB'"));
        for bad in ["a & b", "&nbsp;", "&#xD800;"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }
}
