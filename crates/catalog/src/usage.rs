//! What a text may hold where it is used in a request: the one check for values of Secrets and for settings in their place.
//!
//! Owns which texts never arrive as they are written, and what is said of those that arrive otherwise. No answer holds a part of the
//! text: it may be a credential.

use crate::normalise;
use crate::schema::Usage;
use serde_json::Value;

/// Every usage.
pub const ALL: [Usage; 9] = [
    Usage::Setting,
    Usage::HttpHeader,
    Usage::GrpcHeader,
    Usage::UrlPassword,
    Usage::OtlpUrl,
    Usage::File,
    Usage::GoogleCredentials,
    Usage::Certificates,
    Usage::PrivateKey,
];

impl Usage {
    /// Whether the text reaches the collector as a file.
    #[must_use]
    pub const fn is_file(self) -> bool {
        matches!(self, Self::File | Self::GoogleCredentials | Self::Certificates | Self::PrivateKey)
    }

    /// Why a text can never work there.
    ///
    /// ```
    /// # use odigos_catalog::Usage;
    /// assert_eq!(Usage::HttpHeader.problem("key"), None);
    /// assert!(Usage::HttpHeader.problem("key\n").is_some());
    /// ```
    #[must_use]
    pub fn problem(self, text: &str) -> Option<&'static str> {
        match self {
            Self::Setting | Self::File => None,
            Self::HttpHeader => control_character(text),
            Self::GrpcHeader => control_character(text).or_else(|| {
                let is_ascii = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
                (!is_ascii).then_some("it is sent as a header of gRPC, which carries ASCII alone")
            }),
            Self::UrlPassword => url_password(text),
            Self::OtlpUrl => otlp_url(text),
            Self::GoogleCredentials => google_credentials(text),
            Self::Certificates => normalise::certificate_problem(text),
            Self::PrivateKey => normalise::private_key_problem(text),
        }
    }

    /// What is said of a text that arrives otherwise than it is written.
    #[must_use]
    pub fn remarks(self, text: &str) -> Vec<&'static str> {
        if self.problem(text).is_some() {
            return Vec::new();
        }
        let has_blank_end = text.trim() != text && !text.trim().is_empty();
        let found = match self {
            Self::Setting if has_blank_end => {
                Some("it begins or ends with a blank or a line break, which is sent as part of it")
            }
            Self::Setting if text.trim().chars().any(char::is_control) => {
                Some("it holds a line break or another control character, which is sent as part of it")
            }
            Self::HttpHeader if has_blank_end => Some("it begins or ends with a blank, which HTTP does not send"),
            Self::GrpcHeader if has_blank_end => Some("it begins or ends with a blank, which is sent as part of it"),
            Self::UrlPassword if text.contains('%') => Some(
                "it is part of a URL, where % and two hexadecimal digits stand for one character; write %25 for the sign itself",
            ),
            _ => None,
        };
        found.into_iter().collect()
    }
}

fn control_character(text: &str) -> Option<&'static str> {
    if text.trim_end_matches(['\n', '\r']) != text {
        return Some(
            "it ends with a line break, which no header can carry, so nothing would arrive; write the value without one (printf, not echo)",
        );
    }
    let is_refused = |c: char| c.is_ascii_control() && c != '\t';
    text.contains(is_refused).then_some("it holds a line break or another control character, which no header can carry")
}

fn url_password(text: &str) -> Option<&'static str> {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    for (position, byte) in bytes.iter().enumerate() {
        if *byte == b'%' {
            if !is_digit(bytes.get(position + 1)) || !is_digit(bytes.get(position + 2)) {
                return Some(
                    "it is part of a URL and holds a % that no two hexadecimal digits follow; write %25 for the sign itself",
                );
            }
        } else if !byte.is_ascii_alphanumeric() && !b"-._~:!$&'()*+,;=@".contains(byte) {
            return Some(
                "it is part of a URL and holds a character that must be percent-encoded there, such as %2F for / and %20 for a \
                 blank; only letters, digits and -._~:!$&'()*+,;=@ may stand as they are",
            );
        }
    }
    None
}

fn otlp_url(text: &str) -> Option<&'static str> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Some("it holds a blank or a line break, which no URL can hold");
    }
    if text.contains(['?', '#']) {
        return Some(
            "it is a URL with a query or a fragment (? or #), behind which the exporter would append the path of each signal",
        );
    }
    if normalise::http_url(text, None, None).is_err() {
        return Some("it is not a URL such as https://host/path");
    }
    normalise::signal_path(text).map(|_| {
        "it ends with the path of one signal, such as /v1/traces, which the exporter appends by itself; leave that path out"
    })
}

fn google_credentials(text: &str) -> Option<&'static str> {
    /// What the `type` of a file of credentials may be.
    const TYPES: [&str; 6] = [
        "service_account",
        "authorized_user",
        "external_account",
        "external_account_authorized_user",
        "impersonated_service_account",
        "gdch_service_account",
    ];
    let Ok(Value::Object(map)) = serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')) else {
        return Some("it is not JSON; it must be the whole file of a service account's key");
    };
    let has = |key: &str| map.get(key).and_then(Value::as_str).is_some_and(|value| !value.trim().is_empty());
    match map.get("type").and_then(Value::as_str) {
        None => Some("it has no type; it must be the whole file of a service account's key"),
        Some(one) if !TYPES.contains(&one) => {
            Some("its type is none that Google's libraries know, such as service_account")
        }
        Some("service_account") if !has("client_email") => {
            Some("it has no client_email; it must be the whole file of a service account's key")
        }
        Some("service_account") if !has("private_key") => {
            Some("it has no private_key; it must be the whole file of a service account's key")
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_judged_by_where_they_are_used() {
        let key = "{\"type\": \"service_account\", \"client_email\": \"a@b\", \"private_key\": \"k\"}";
        for (usage, text, problem, remarks) in [
            (Usage::Setting, "a\n", false, 1),
            (Usage::Setting, "a\nb", false, 1),
            (Usage::HttpHeader, "key", false, 0),
            (Usage::HttpHeader, "key\n", true, 0),
            (Usage::HttpHeader, "k\u{1b}y", true, 0),
            (Usage::HttpHeader, " key", false, 1),
            (Usage::HttpHeader, "schlüssel", false, 0),
            (Usage::GrpcHeader, "schlüssel", true, 0),
            (Usage::GrpcHeader, "k\ty", true, 0),
            (Usage::GrpcHeader, "p@$$w0rd", false, 0),
            (Usage::UrlPassword, "p@s:s!$&'()*+,;=-._~", false, 0),
            (Usage::UrlPassword, "a/b", true, 0),
            (Usage::UrlPassword, "a b", true, 0),
            (Usage::UrlPassword, "a#b", true, 0),
            (Usage::UrlPassword, "a?b", true, 0),
            (Usage::UrlPassword, "a\n", true, 0),
            (Usage::UrlPassword, "ab%", true, 0),
            (Usage::UrlPassword, "ab%2", true, 0),
            (Usage::UrlPassword, "ab%zz", true, 0),
            (Usage::UrlPassword, "ab%2F", false, 1),
            (Usage::UrlPassword, "é", true, 0),
            (Usage::UrlPassword, "a\"b", true, 0),
            (Usage::OtlpUrl, "https://collectors.example.com/receiver/v1/otlp/ab==", false, 0),
            (Usage::OtlpUrl, "https://h/x\n", true, 0),
            (Usage::OtlpUrl, "https://h/x?y=1", true, 0),
            (Usage::OtlpUrl, "https://h/x/v1/traces", true, 0),
            (Usage::OtlpUrl, "h/x", true, 0),
            (Usage::OtlpUrl, "", true, 0),
            (Usage::GoogleCredentials, key, false, 0),
            (Usage::GoogleCredentials, "{\"type\": \"external_account\", \"audience\": \"a\"}", false, 0),
            (Usage::GoogleCredentials, "{", true, 0),
            (Usage::GoogleCredentials, "[]", true, 0),
            (Usage::GoogleCredentials, "{\"client_email\": \"a@b\"}", true, 0),
            (Usage::GoogleCredentials, "{\"type\": \"service_account\"}", true, 0),
            (Usage::GoogleCredentials, "{\"type\": \"web\"}", true, 0),
            (Usage::File, "\n\n", false, 0),
        ] {
            assert_eq!(usage.problem(text).is_some(), problem, "{usage:?} {text:?}: {:?}", usage.problem(text));
            assert_eq!(usage.remarks(text).len(), remarks, "{usage:?} {text:?}: {:?}", usage.remarks(text));
        }
    }
}
