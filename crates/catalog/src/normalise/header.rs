//! Headers of HTTP and gRPC requests as people type them.
//!
//! Owns which names and values a collector can send, which of them it or a server decides, and what is said about the rest. What is
//! written here was tried on a collector: a name or value that it does not send makes every request fail.

use super::value::{key_values, pairs, shown};
use crate::schema::Usage;
use std::collections::{BTreeMap, BTreeSet};

/// What carries the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/1.1 or HTTP/2, as the server offers it.
    Http,
    /// gRPC, which is HTTP/2 with names and values of its own.
    Grpc,
}

impl Transport {
    /// The transport of an exporter, by its type or id, e.g. `otlp_grpc/jaeger-d1`.
    #[must_use]
    pub fn of(component: &str) -> Self {
        match component.split('/').next().unwrap_or_default() {
            "otlp_grpc" | "otlp" | "coralogix" | "otelarrow" | "otel_arrow" => Self::Grpc,
            _ => Self::Http,
        }
    }

    /// How a value of a header is used.
    #[must_use]
    pub const fn usage(self) -> Usage {
        match self {
            Self::Http => Usage::HttpHeader,
            Self::Grpc => Usage::GrpcHeader,
        }
    }
}

/// Headers as a JSON list of `{key, value}`; names are trimmed. Those that cannot be set are left out; [`left_out`] says which.
///
/// # Errors
/// When it is no such list, the transport cannot send a name or a value, or two names differ only in case: each that is wrong.
pub fn headers(text: &str, transport: Transport) -> Result<BTreeMap<String, String>, Vec<String>> {
    checked(key_values(text).map_err(|why| vec![why])?, transport)
}

/// What is left out of headers or sent otherwise than written: one sentence each.
#[must_use]
pub fn left_out(text: &str, transport: Transport) -> Vec<String> {
    let pairs = pairs(text).unwrap_or_default();
    let repeated =
        pairs.iter().enumerate().filter(|(n, (name, _))| pairs[..*n].iter().any(|(before, _)| before == name));
    let repeated = repeated.map(|(_, (name, _))| format!("the header {name} occurs twice; the last one is sent"));
    let of_one = pairs.iter().filter_map(|(name, value)| remark(name, value, transport));
    repeated.chain(of_one).collect()
}

/// Headers with the names and values that the transport sends.
///
/// # Errors
/// When it cannot send one of them, or two names differ only in case: everything that is wrong with any of them.
pub fn checked(
    written: impl IntoIterator<Item = (String, String)>,
    transport: Transport,
) -> Result<BTreeMap<String, String>, Vec<String>> {
    let (mut headers, mut names, mut problems) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for (name, value) in written {
        let name = name.trim().to_owned();
        if let Err(why) = check_name(&name, transport).and_then(|()| check_value(&name, &value, transport)) {
            problems.push(why);
        }
        if !name.is_empty() && !names.insert(name.to_ascii_lowercase()) {
            problems.push(format!("the header {name} occurs twice; upper and lower case are the same"));
        }
        if reserved(&name, &value, transport).is_some() {
            continue;
        }
        // The exporter takes the name of the host from this spelling alone.
        let name = if name.eq_ignore_ascii_case("host") { "Host".to_owned() } else { name };
        headers.insert(name, value);
    }
    if problems.is_empty() { Ok(headers) } else { Err(problems) }
}

fn check_value(name: &str, value: &str, transport: Transport) -> Result<(), String> {
    let is_binary = transport == Transport::Grpc && name.to_ascii_lowercase().ends_with("-bin");
    if let Some(c) = value.chars().find(|c| c.is_control()) {
        return Err(format!("the value of the header {name} holds {c:?}, which no header can carry"));
    }
    match value.chars().find(|c| !c.is_ascii()).filter(|_| transport == Transport::Grpc && !is_binary) {
        Some(c) => Err(format!(
            "the value of the header {name} holds {c:?}: gRPC carries ASCII alone, unless the name ends with -bin"
        )),
        None => Ok(()),
    }
}

fn check_name(name: &str, transport: Transport) -> Result<(), String> {
    if name.is_empty() {
        return Err("a header has no name".into());
    }
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let is_sent = |c: char| match transport {
        Transport::Http => is_token(c),
        Transport::Grpc => c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'),
    };
    match name.chars().find(|c| !is_sent(*c)) {
        Some(c) if is_token(c) => {
            Err(format!("{} holds {c:?}: gRPC sends names of letters, digits, -, _ and . alone", shown(name)))
        }
        Some(c) => Err(format!("{} is not the name of a header: it holds {c:?}", shown(name))),
        None => Ok(()),
    }
}

/// Why a header is not sent as it is written.
fn reserved(name: &str, value: &str, transport: Transport) -> Option<&'static str> {
    /// What describes one connection and not the request.
    const OF_CONNECTION: [&str; 5] = ["keep-alive", "proxy-connection", "te", "trailer", "upgrade"];
    const OF_EXPORTER: &str = "the exporter sets it itself";
    let name = name.to_ascii_lowercase();
    let name = name.as_str();
    match transport {
        _ if matches!(name, "content-length" | "transfer-encoding") => Some(OF_EXPORTER),
        _ if OF_CONNECTION.contains(&name) => Some("it belongs to a connection, not to a request"),
        Transport::Grpc if name == "content-type" || name == "user-agent" => Some(OF_EXPORTER),
        Transport::Grpc if name.starts_with("grpc-") => Some("gRPC keeps names that begin with grpc- for itself"),
        Transport::Grpc if name == "host" || name == "connection" => Some("servers of gRPC reject requests with it"),
        Transport::Http if name == "content-encoding" => {
            Some("the exporter sets it itself, by the setting of compression")
        }
        Transport::Http if name == "content-type" && value.trim() != "application/x-protobuf" => Some(OF_EXPORTER),
        Transport::Http if name == "connection" && !matches!(value.trim(), "close" | "keep-alive") => {
            Some("it belongs to a connection, not to a request")
        }
        _ => None,
    }
}

fn remark(name: &str, value: &str, transport: Transport) -> Option<String> {
    let name = name.trim();
    if let Some(why) = reserved(name, value, transport) {
        return Some(format!("the header {name} is left out: {why}"));
    }
    if transport == Transport::Http && value.trim() != value {
        return Some(format!("the value of the header {name} begins or ends with a blank, which HTTP does not send"));
    }
    let is_binary = transport == Transport::Grpc && name.to_ascii_lowercase().ends_with("-bin");
    let is_base64 = value.len() >= 8
        && value.len().is_multiple_of(4)
        && value.trim_end_matches('=').chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/'));
    (is_binary && is_base64).then(|| {
        format!("gRPC encodes the value of {name} in base64 and decodes it again: write the value itself, not its base64 text")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise;

    /// Each as a collector was seen to send it over gRPC and over HTTP: as written, under which name, or not at all.
    #[test]
    fn headers_are_those_that_a_collector_sends() {
        let list = |name: &str, value: &str| serde_json::json!([{"key": name, "value": value}]).to_string();
        let of = |name: &str, value: &str, transport: Transport| {
            headers(&list(name, value), transport).ok().map(|found| found.into_iter().next())
        };
        let kept = |name: &str, value: &str| Some(Some((name.to_owned(), value.to_owned())));
        for (name, value, grpc, http) in [
            ("X-Up", "v", kept("X-Up", "v"), kept("X-Up", "v")),
            ("x_y.z", "v", kept("x_y.z", "v"), kept("x_y.z", "v")),
            ("x!y", "v", None, kept("x!y", "v")),
            ("x y", "v", None, None),
            ("x:", "v", None, None),
            (":path", "/x", None, None),
            ("xé", "v", None, None),
            ("x", "é", None, kept("x", "é")),
            ("x-bin", "é", kept("x-bin", "é"), kept("x-bin", "é")),
            ("x", "a\nb", None, None),
            ("x", "a\u{7f}", None, None),
            ("x", "", kept("x", ""), kept("x", "")),
            ("host", "h", Some(None), kept("Host", "h")),
            ("Content-Length", "5", Some(None), Some(None)),
            ("transfer-encoding", "gzip", Some(None), Some(None)),
            ("TE", "trailers", Some(None), Some(None)),
            ("grpc-timeout", "1S", Some(None), kept("grpc-timeout", "1S")),
            ("Grpc-Foo", "x", Some(None), kept("Grpc-Foo", "x")),
            ("user-agent", "mine", Some(None), kept("user-agent", "mine")),
            ("content-type", "text/plain", Some(None), Some(None)),
            ("content-type", "application/x-protobuf", Some(None), kept("content-type", "application/x-protobuf")),
            ("content-encoding", "zstd", kept("content-encoding", "zstd"), Some(None)),
            ("connection", "close", Some(None), kept("connection", "close")),
        ] {
            assert_eq!(of(name, value, Transport::Grpc), grpc, "{name:?} {value:?} over gRPC");
            assert_eq!(of(name, value, Transport::Http), http, "{name:?} {value:?} over HTTP");
            for (transport, found) in [(Transport::Grpc, &grpc), (Transport::Http, &http)] {
                let said = left_out(&list(name, value), transport);
                if *found == Some(None) {
                    assert!(said.len() == 1 && said[0].contains(name), "{said:?}");
                }
            }
        }
        let several = r#"[{"key": "x y", "value": "v"}, {"key": "x", "value": "a\nb"}, {"key": "X", "value": "v"}, {"key": "z", "value": "v"}]"#;
        let problems = headers(several, Transport::Http).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        let three = several.replace("\"z\"", "\"é\"");
        assert_eq!(headers(&three, Transport::Grpc).unwrap_err().len(), 4);
        assert_eq!(left_out(&list("x-bin", "YWJjZGVm"), Transport::Grpc).len(), 1);
        let twice = r#"[{"key": "x", "value": "1"}, {"key": "x", "value": "2"}]"#;
        assert!(left_out(twice, Transport::Http)[0].contains("twice"));
        assert_eq!(left_out(&list("x", " v "), Transport::Http).len(), 1);
        assert_eq!(left_out(&list("x-team", "shop"), Transport::Http), Vec::<String>::new());
        assert_eq!(normalise::header::Transport::of("otlp_grpc/d"), Transport::Grpc);
    }
}
