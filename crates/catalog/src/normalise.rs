//! Texts to values: hosts, ports, URLs, numbers, lists (`spec/destinations.md` 5 and 6).
//!
//! Every function takes what a person typed and says in words what is wrong with it. Quirks of the reference that can
//! only be slips (an empty port, an empty host behind `http://`) are errors here.

use std::collections::BTreeMap;

/// The parts of `scheme://user@host:port/path?query#fragment`.
struct Parts<'a> {
    scheme: Option<&'a str>,
    user: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    /// Path with query and fragment, as written.
    path: &'a str,
    query: Option<&'a str>,
    /// Everything behind the authority, as written.
    rest: &'a str,
}

fn split(text: &str) -> Result<Parts<'_>, String> {
    if let Some(c) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("it holds the character {c:?}"));
    }
    let (scheme, after) = match text.split_once("://") {
        Some((scheme, after)) => (Some(scheme), after),
        None => (None, text),
    };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (authority, rest) = after.split_at(end);
    let (user, host_port) = match authority.rsplit_once('@') {
        Some((user, host_port)) => (Some(user), host_port),
        None => (None, authority),
    };
    let (host, port) = host_and_port(host_port)?;
    let without_fragment = rest.split('#').next().unwrap_or_default();
    let (path, query) = match without_fragment.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (without_fragment, None),
    };
    Ok(Parts { scheme, user, host, port, path, query, rest })
}

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let end = bracketed.find(']').ok_or("the bracket of the IPv6 address is not closed")?;
        let (_, after) = bracketed.split_at(end + 1);
        let host = text.get(..end + 2).unwrap_or(text);
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(format!("{after:?} stands behind the IPv6 address")),
        }
    } else {
        match text.matches(':').count() {
            0 => (text, None),
            1 => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
            _ => return Err("it has too many colons; write an IPv6 address in brackets, e.g. [::1]:4317".into()),
        }
    };
    if host.is_empty() || host == "[]" {
        return Err("it names no host".into());
    }
    let port = port.map(|port| match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(format!("{port:?} is not a port between 1 and 65535")),
    });
    Ok((host, port.transpose()?))
}

/// `host:port` for gRPC exporters; the scheme must fit the TLS switch; no path, query or user; port 4317 unless given.
///
/// # Errors
/// What is wrong with the text.
pub fn grpc_hostport(text: &str, secure: bool) -> Result<String, String> {
    let parts = split(text.trim())?;
    let allowed: &[&str] = if secure { &["https", "grpcs"] } else { &["http", "grpc"] };
    if let Some(scheme) = parts.scheme
        && !allowed.iter().any(|one| scheme.eq_ignore_ascii_case(one))
    {
        let hint = match (secure, scheme.to_lowercase().as_str()) {
            (false, "https" | "grpcs") => "; switch TLS on for it",
            (true, "http" | "grpc") => "; switch TLS off for it",
            _ => "",
        };
        return Err(format!("the scheme {scheme}:// does not fit here: use {}{hint}", allowed.join(":// or ") + "://"));
    }
    if parts.user.is_some() {
        return Err("user and password cannot be part of it".into());
    }
    if !parts.path.is_empty() || parts.query.is_some() {
        return Err("a path cannot be part of it: write host:port".into());
    }
    Ok(format!("{}:{}", parts.host, parts.port.unwrap_or(4317)))
}

/// A URL for OTLP over HTTP; the exporter appends `/v1/traces` and the like. With `port` and `path` a type's own
/// defaults are filled in.
///
/// # Errors
/// What is wrong with the text.
pub fn otlp_http_url(text: &str, port: Option<u16>, path: Option<&str>) -> Result<String, String> {
    let text = text.trim();
    let parts = split(text)?;
    let scheme = http_scheme(&parts)?;
    let user = parts.user.map(|user| format!("{user}@")).unwrap_or_default();
    let port = parts.port.or(port).map(|port| format!(":{port}")).unwrap_or_default();
    let rest = match path {
        Some(path) if parts.path.is_empty() => format!("{path}{}", parts.rest),
        Some(path) if parts.path != path => return Err(format!("its path must be {path}, not {}", parts.path)),
        _ => parts.rest.to_owned(),
    };
    Ok(format!("{scheme}://{user}{}{port}{rest}", parts.host))
}

fn http_scheme(parts: &Parts<'_>) -> Result<String, String> {
    match parts.scheme.map(str::to_lowercase).as_deref() {
        Some(scheme @ ("http" | "https")) => Ok(scheme.to_owned()),
        Some(scheme) => Err(format!("the scheme {scheme}:// does not fit here: use http:// or https://")),
        None => Err("it must start with http:// or https://".into()),
    }
}

/// The OTLP base URL of a Loki server: http unless given, port 3100, path `/otlp`.
///
/// # Errors
/// What is wrong with the text.
pub fn loki_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let parts = split(&with_scheme)?;
    let scheme = http_scheme(&parts)?;
    let user = parts.user.map(|user| format!("{user}@")).unwrap_or_default();
    // A lone slash is the same address as none; kept, the exporter would push to a path that Loki does not serve.
    let rest = if matches!(parts.rest, "" | "/") { "/otlp" } else { parts.rest };
    Ok(format!("{scheme}://{user}{}:{}{rest}", parts.host, parts.port.unwrap_or(3100)))
}

/// A Prometheus remote write URL: http unless given, `/api/v1/write` unless the path is one that takes writes.
///
/// # Errors
/// What is wrong with the text.
pub fn prom_rw_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let parts = split(&with_scheme)?;
    http_scheme(&parts)?;
    if with_scheme.ends_with("/api/v1/write") || with_scheme.ends_with("/api/v1/push") {
        return Ok(with_scheme);
    }
    if parts.query.is_some() {
        return Err("with a query it must be the complete URL of the write endpoint".into());
    }
    Ok(format!("{}/api/v1/write", with_scheme.trim_end_matches('/')))
}

/// A ClickHouse URL: `tcp://` unless given; the port is 9000 for the native protocol, 8123 or 8443 for HTTP.
///
/// # Errors
/// What is wrong with the text.
pub fn clickhouse_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("tcp://{text}") };
    let parts = split(&with_scheme)?;
    let scheme = parts.scheme.unwrap_or("tcp");
    let default = match scheme {
        "tcp" | "clickhouse" | "native" => 9000,
        "http" => 8123,
        "https" => 8443,
        other => {
            return Err(format!(
                "the scheme {other}:// does not fit here: use tcp://, clickhouse://, http:// or https://"
            ));
        }
    };
    let user = parts.user.map(|user| format!("{user}@")).unwrap_or_default();
    Ok(format!("{scheme}://{user}{}:{}{}", parts.host, parts.port.unwrap_or(default), parts.rest))
}

/// `host:port` of a Tempo server without TLS; port 4317 unless given.
///
/// # Errors
/// What is wrong with the text.
pub fn tempo_hostport(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.starts_with("https://") {
        return Err("TLS is not supported for this type: use host:port or http://host:port, or the type otlp".into());
    }
    grpc_hostport(text.trim_end_matches('/'), false)
}

/// An absolute path inside the collector's pod.
///
/// # Errors
/// What is wrong with the text.
pub fn absolute_path(text: &str) -> Result<String, String> {
    let text = text.trim();
    if !text.starts_with('/') || text.ends_with('/') || text.split('/').any(|part| part == "..") {
        return Err("it must be an absolute path of a file, e.g. /var/odigos/export/spans.json".into());
    }
    Ok(text.to_owned())
}

/// A whole number.
///
/// # Errors
/// What is wrong with the text.
pub fn integer(text: &str) -> Result<i64, String> {
    text.trim().parse().map_err(|_| format!("{} is not a whole number", shown(text)))
}

/// Go's lenient spelling of a boolean; anything else is `false`.
#[must_use]
pub fn lenient_bool(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

/// A duration in Go's notation.
///
/// # Errors
/// What is wrong with the text.
pub fn duration(text: &str) -> Result<String, String> {
    let text = text.trim();
    let mut rest = text;
    let mut parts = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(number);
        let unit = ["ns", "us", "ms", "s", "m", "h"]
            .into_iter()
            .filter(|unit| tail.starts_with(unit))
            .max_by_key(|unit| unit.len());
        match (digits.parse::<f64>(), unit) {
            (Ok(_), Some(unit)) => rest = tail.get(unit.len()..).unwrap_or_default(),
            _ => return Err(format!("{} is not a duration such as 5s or 250ms", shown(text))),
        }
        parts += 1;
    }
    if parts == 0 { Err("it is empty".into()) } else { Ok(text.to_owned()) }
}

/// A JSON list of strings.
///
/// # Errors
/// What is wrong with the text.
pub fn string_list(text: &str) -> Result<Vec<String>, String> {
    serde_json::from_str(text)
        .map_err(|_| format!("{} is not a JSON list of strings such as [\"a\", \"b\"]", shown(text)))
}

/// Texts between commas, trimmed.
#[must_use]
pub fn comma_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A JSON list of `{key, value}` as a map.
///
/// # Errors
/// What is wrong with the text.
pub fn key_values(text: &str) -> Result<BTreeMap<String, String>, String> {
    #[derive(serde::Deserialize)]
    struct Pair {
        key: String,
        value: String,
    }
    let pairs: Vec<Pair> = serde_json::from_str(text)
        .map_err(|_| "it is not a JSON list such as [{\"key\": \"a\", \"value\": \"b\"}]".to_owned())?;
    Ok(pairs.into_iter().filter(|pair| !pair.key.trim().is_empty()).map(|pair| (pair.key, pair.value)).collect())
}

/// PEM text with at least one certificate.
///
/// # Errors
/// What is wrong with the text.
pub fn pem(text: &str) -> Result<String, String> {
    let begins = text.contains("-----BEGIN CERTIFICATE-----");
    let ends = text.contains("-----END CERTIFICATE-----");
    if begins && ends {
        Ok(text.to_owned())
    } else {
        Err("it is not a PEM certificate (-----BEGIN CERTIFICATE----- …)".into())
    }
}

/// A number.
///
/// # Errors
/// What is wrong with the text.
pub fn float(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("{} is not a number", shown(text))),
    }
}

/// `host:port` as typed, with or without a scheme that the exporter understands. The port must be there: the exporter
/// has no default for it and would stop the collector.
///
/// # Errors
/// What is wrong with the text.
pub fn host_with_port(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches('/');
    let parts = split(text)?;
    if let Some(scheme) = parts.scheme.filter(|scheme| !matches!(*scheme, "http" | "https" | "dns" | "unix")) {
        return Err(format!("the scheme {scheme}:// does not fit here: write host:port"));
    }
    if !parts.rest.is_empty() {
        return Err("a path cannot be part of it: write host:port".into());
    }
    if parts.port.is_none() {
        return Err("it has no port: write host:port, e.g. host:4317".into());
    }
    Ok(text.to_owned())
}

/// The OTLP base URL of a Grafana Cloud Loki: https, path `/otlp`.
///
/// # Errors
/// What is wrong with the text.
pub fn grafana_loki_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let parts = split(&with_scheme)?;
    if http_scheme(&parts)? != "https" {
        return Err("it must start with https://".into());
    }
    if parts.user.is_some() {
        return Err("user and password cannot be part of it: they have settings of their own".into());
    }
    match parts.path {
        "" => otlp_http_url(&with_scheme, None, Some("/otlp")),
        "/otlp" => Ok(with_scheme),
        path => Err(format!("its path must be /otlp, not {path}")),
    }
}

/// `host:port` of a Grafana Cloud Tempo; port 443 unless given.
///
/// # Errors
/// What is wrong with the text.
pub fn grafana_tempo_hostport(text: &str) -> Result<String, String> {
    let text = text.trim();
    let bare = text.strip_prefix("https://").unwrap_or(text);
    let bare = bare.trim_end_matches('/').strip_suffix("/tempo").unwrap_or(bare.trim_end_matches('/'));
    if bare.contains("://") {
        return Err("it must be host:port or start with https://".into());
    }
    let parts = split(bare)?;
    if !parts.rest.is_empty() || parts.user.is_some() {
        return Err("only host and port can be part of it".into());
    }
    Ok(format!("{}:{}", parts.host, parts.port.unwrap_or(443)))
}

/// The remote write URL of a Grafana Cloud Prometheus, as Grafana shows it.
///
/// # Errors
/// What is wrong with the text.
pub fn grafana_prometheus_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let parts = split(text)?;
    if http_scheme(&parts)? != "https" || parts.path != "/api/prom/push" {
        return Err("it must be the remote write URL, https://…/api/prom/push".into());
    }
    Ok(text.to_owned())
}

/// An Elasticsearch URL; port 9200 unless given.
///
/// # Errors
/// What is wrong with the text.
pub fn elasticsearch_url(text: &str) -> Result<String, String> {
    otlp_http_url(text, Some(9200), None)
}

/// `host:port` of an Elastic APM server; port 8200 unless given.
///
/// # Errors
/// What is wrong with the text.
pub fn elastic_apm_hostport(text: &str) -> Result<String, String> {
    let text = text.trim();
    let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let parts = split(bare.trim_end_matches('/'))?;
    if parts.scheme.is_some() || !parts.rest.is_empty() || parts.user.is_some() {
        return Err("only http:// or https://, host and port can be part of it".into());
    }
    Ok(format!("{}:{}", parts.host, parts.port.unwrap_or(8200)))
}

/// `http://host:port` of a Causely mediator; port 4317 unless given.
///
/// # Errors
/// What is wrong with the text.
pub fn causely_hostport(text: &str) -> Result<String, String> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let parts = split(&with_scheme)?;
    http_scheme(&parts)?;
    Ok(format!("http://{}:{}", parts.host, parts.port.unwrap_or(4317)))
}

/// `host:port` of a SigNoz collector without TLS; port 4317 unless given.
///
/// # Errors
/// What is wrong with the text.
pub fn signoz_hostport(text: &str) -> Result<String, String> {
    tempo_hostport(text)
}

/// The URL of a Dynatrace environment, always https, without a slash at the end.
///
/// # Errors
/// What is wrong with the text.
pub fn dynatrace_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let parts = split(&with_scheme)?;
    http_scheme(&parts)?;
    if parts.query.is_some() || parts.user.is_some() {
        return Err("only host, port and path can be part of it".into());
    }
    let port = parts.port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("https://{}{port}{}", parts.host, parts.path.trim_end_matches('/')))
}

/// The company's name in front of `.chronosphere.io`.
///
/// # Errors
/// What is wrong with the text.
pub fn chronosphere_company(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches('/');
    let text = text.strip_prefix("https://").unwrap_or(text);
    let name = text.strip_suffix(":443").unwrap_or(text);
    let name = name.strip_suffix(".chronosphere.io").unwrap_or(name);
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if name.is_empty() || !name.chars().all(legal) {
        return Err("it must be the name in front of .chronosphere.io".into());
    }
    Ok(name.to_owned())
}

fn with_https(text: &str) -> String {
    let text = text.trim().trim_end_matches('/');
    if text.contains("://") { text.to_owned() } else { format!("https://{text}") }
}

/// The scheme of a URL, `https` unless given.
///
/// # Errors
/// What is wrong with the text.
pub fn url_scheme(text: &str) -> Result<String, String> {
    let whole = with_https(text);
    http_scheme(&split(&whole)?)
}

/// Host, port and path of a URL, without a slash at the end.
///
/// # Errors
/// What is wrong with the text.
pub fn url_rest(text: &str) -> Result<String, String> {
    let whole = with_https(text);
    let parts = split(&whole)?;
    http_scheme(&parts)?;
    if parts.user.is_some() {
        return Err("user and password cannot be part of it: they have settings of their own".into());
    }
    let port = parts.port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("{}{port}{}", parts.host, parts.rest))
}

/// The host of a URL behind its first label, e.g. `saas.example.com` of `https://a.saas.example.com/x`.
///
/// # Errors
/// What is wrong with the text.
pub fn url_domain(text: &str) -> Result<String, String> {
    let text = text.trim();
    let parts = split(text)?;
    http_scheme(&parts)?;
    match parts.host.split_once('.') {
        Some((_, domain)) if !domain.is_empty() => Ok(domain.to_owned()),
        _ => Err("its host has no domain".into()),
    }
}

/// A text as user or password inside a URL: everything but letters, digits and `-._~` is percent-encoded.
#[must_use]
pub fn url_user(text: &str) -> String {
    let mut out = String::new();
    for byte in text.trim().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A JSON object of strings, or the list of `{key, value}` that forms write.
///
/// # Errors
/// What is wrong with the text.
pub fn text_map(text: &str) -> Result<BTreeMap<String, String>, String> {
    if text.trim_start().starts_with('[') {
        return key_values(text);
    }
    serde_json::from_str(text).map_err(|_| "it is not a JSON object such as {\"cluster\": \"prod\"}".to_owned())
}

/// A YAML mapping.
///
/// # Errors
/// What is wrong with the text.
pub fn yaml_map(text: &str) -> Result<serde_json::Value, String> {
    match serde_yaml::from_str(text) {
        Ok(value @ serde_json::Value::Object(_)) => Ok(value),
        Ok(_) => Err("it is not a YAML mapping".into()),
        Err(error) => Err(format!("it is not YAML: {error}")),
    }
}

/// A value in a message, cut to a readable length.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_hostport_table() {
        for (input, off, on) in [
            ("collector", Some("collector:4317"), Some("collector:4317")),
            ("collector:9999", Some("collector:9999"), Some("collector:9999")),
            ("  collector:9999 ", Some("collector:9999"), Some("collector:9999")),
            ("grpc://c:1", Some("c:1"), None),
            ("http://c", Some("c:4317"), None),
            ("grpcs://c:1", None, Some("c:1")),
            ("https://c", None, Some("c:4317")),
            ("HTTPS://c", None, Some("c:4317")),
            ("[::1]", Some("[::1]:4317"), Some("[::1]:4317")),
            ("http://[::1]", Some("[::1]:4317"), None),
            ("[::1]:4317", Some("[::1]:4317"), Some("[::1]:4317")),
            ("::1", None, None),
            ("2001:db8::1:4317", None, None),
            ("c/", None, None),
            ("http://c/", None, None),
            ("c:4317/v1/traces", None, None),
            ("http://c:4317?x=1", None, None),
            ("http://u:p@c", None, None),
            (":4317", None, None),
            ("", None, None),
            ("c:port", None, None),
            ("c d:1", None, None),
            ("ftp://c", None, None),
            ("c:", None, None),
            ("c:0", None, None),
            ("c:70000", None, None),
            ("[::1", None, None),
            ("C.Example.COM:443", Some("C.Example.COM:443"), Some("C.Example.COM:443")),
        ] {
            assert_eq!(grpc_hostport(input, false).ok().as_deref(), off, "{input:?} off");
            assert_eq!(grpc_hostport(input, true).ok().as_deref(), on, "{input:?} on");
        }
    }

    #[test]
    fn otlp_http_url_table() {
        let seq = |text: &str| otlp_http_url(text, Some(5341), Some("/ingest/otlp")).ok();
        let greptime = |text: &str| otlp_http_url(text, None, Some("/v1/otlp")).ok();
        for (input, plain, with_port, with_path) in [
            ("http://h", Some("http://h"), Some("http://h:5341/ingest/otlp"), Some("http://h/v1/otlp")),
            ("https://h:80", Some("https://h:80"), Some("https://h:80/ingest/otlp"), Some("https://h:80/v1/otlp")),
            ("http://h/", Some("http://h/"), None, None),
            ("http://h/other", Some("http://h/other"), None, None),
            ("http://[::1]", Some("http://[::1]"), Some("http://[::1]:5341/ingest/otlp"), Some("http://[::1]/v1/otlp")),
            ("HTTP://h", Some("http://h"), Some("http://h:5341/ingest/otlp"), Some("http://h/v1/otlp")),
            (
                "http://u:p@h?x=1#f",
                Some("http://u:p@h?x=1#f"),
                Some("http://u:p@h:5341/ingest/otlp?x=1#f"),
                Some("http://u:p@h/v1/otlp?x=1#f"),
            ),
            ("h:4318", None, None, None),
            ("h", None, None, None),
            ("", None, None, None),
            ("ftp://h", None, None, None),
            ("http://h:port", None, None, None),
            ("http://", None, None, None),
        ] {
            assert_eq!(otlp_http_url(input, None, None).ok().as_deref(), plain, "{input:?}");
            assert_eq!(seq(input).as_deref(), with_port, "{input:?} seq");
            assert_eq!(greptime(input).as_deref(), with_path, "{input:?} greptime");
        }
    }

    #[test]
    fn other_urls_table() {
        type Rule = fn(&str) -> Result<String, String>;
        let cases: &[(Rule, &str, Option<&str>)] = &[
            (loki_url, "loki", Some("http://loki:3100/otlp")),
            (loki_url, "https://loki", Some("https://loki:3100/otlp")),
            (loki_url, "loki/otlp", Some("http://loki:3100/otlp")),
            (loki_url, "[::1]", Some("http://[::1]:3100/otlp")),
            (loki_url, "http://l/loki/api/v1/push", Some("http://l:3100/loki/api/v1/push")),
            (loki_url, "http://l/", Some("http://l:3100/otlp")),
            (loki_url, "ftp://l", None),
            (loki_url, "", None),
            (prom_rw_url, "prom:9090", Some("http://prom:9090/api/v1/write")),
            (prom_rw_url, "http://m/api/v1/push", Some("http://m/api/v1/push")),
            (prom_rw_url, "http://p/", Some("http://p/api/v1/write")),
            (prom_rw_url, "ftp://p", None),
            (prom_rw_url, "", None),
            (clickhouse_url, "ch", Some("tcp://ch:9000")),
            (clickhouse_url, "http://ch:8123", Some("http://ch:8123")),
            (clickhouse_url, "https://ch", Some("https://ch:8443")),
            (clickhouse_url, "tcp://ch/db?x=1", Some("tcp://ch:9000/db?x=1")),
            (clickhouse_url, "[::1]", Some("tcp://[::1]:9000")),
            (clickhouse_url, "", None),
            (tempo_hostport, "http://tempo", Some("tempo:4317")),
            (tempo_hostport, "tempo:443", Some("tempo:443")),
            (tempo_hostport, "tempo:443/", Some("tempo:443")),
            (tempo_hostport, "[::1]", Some("[::1]:4317")),
            (tempo_hostport, "https://tempo", None),
        ];
        for (rule, input, expected) in cases {
            assert_eq!(rule(input).ok().as_deref(), *expected, "{input:?}");
        }
    }

    #[test]
    fn values_table() {
        assert_eq!(integer(" 5 "), Ok(5));
        assert!(integer("many").unwrap_err().contains("many"));
        for yes in ["1", "t", "T", "TRUE", "true", "True"] {
            assert!(lenient_bool(yes));
        }
        assert!(!lenient_bool("yes") && !lenient_bool(""));
        assert_eq!(string_list("[\"a\"]"), Ok(vec!["a".into()]));
        assert!(string_list("a,b").is_err() && string_list("[1]").is_err());
        assert_eq!(comma_list(" a, b ,,"), ["a", "b"]);
        assert_eq!(key_values("[{\"key\":\"a\",\"value\":\"b\"}]").unwrap().len(), 1);
        assert!(key_values("{}").is_err());
        assert!(
            duration("1m30s").is_ok() && duration("250ms").is_ok() && duration("5").is_err() && duration("").is_err()
        );
        assert!(pem("nonsense").is_err());
        assert!(absolute_path("/a/../b").is_err() && absolute_path("a").is_err() && absolute_path("/a/b.json").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_them_panic(text in proptest::prelude::any::<String>()) {
            let _ = (grpc_hostport(&text, false), otlp_http_url(&text, Some(1), Some("/x")), loki_url(&text), prom_rw_url(&text));
            let _ = (clickhouse_url(&text), tempo_hostport(&text), integer(&text), string_list(&text), key_values(&text), duration(&text), pem(&text));
        }
    }
}
