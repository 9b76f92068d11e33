//! Hosts, ports and URLs as people type them, as exporters need them.
//!
//! Owns what is complete, what is filled in and what is refused; never joins text to text without reading its parts first.

use super::value::shown;

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
    for scheme in ["http", "https"] {
        if text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with(":/") && !rest.starts_with("://")) {
            return Err(format!("a scheme ends with two slashes: {scheme}://"));
        }
    }
    let (scheme, after) = match text.split_once("://") {
        Some((scheme, after)) => (Some(scheme), after),
        None => (None, text),
    };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (authority, rest) = after.split_at(end);
    if rest.starts_with("//") && matches!(authority, "http:" | "https:" | "grpc:" | "grpcs:") {
        return Err("it has two schemes".into());
    }
    let (user, host_port) = match authority.rsplit_once('@') {
        Some((user, host_port)) => (Some(user), host_port),
        None => (None, authority),
    };
    if let Some(scheme) =
        scheme.filter(|scheme| host_port.is_empty() && matches!(*scheme, "dns" | "unix" | "passthrough"))
    {
        return Err(format!("the scheme {scheme}:// does not fit here: write host:port"));
    }
    let (host, port) = host_and_port(host_port)?;
    let without_fragment = rest.split('#').next().unwrap_or_default();
    let (path, query) = match without_fragment.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (without_fragment, None),
    };
    if let Some(glued) =
        path.trim_end_matches('/').rsplit('/').next().and_then(|last| last.rsplit_once(':')).map(|(_, end)| end)
        && (2..=5).contains(&glued.len())
        && glued.bytes().all(|byte| byte.is_ascii_digit())
        && port.is_none()
    {
        return Err(format!("the port {glued} stands behind the path; write it behind the host: host:{glued}/path"));
    }
    Ok(Parts { scheme, user, host, port, path, query, rest })
}

/// The path without slashes at its end and without what the exporter, or this product, appends to it, however often it is there.
fn base_path<'a>(path: &'a str, appended: &[&str]) -> &'a str {
    let mut path = path.trim_end_matches('/');
    while let Some(rest) = appended.iter().find_map(|one| path.strip_suffix(one)) {
        path = rest.trim_end_matches('/');
    }
    path
}

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), String> {
    if text.contains(',') {
        return Err("it names several addresses; write one".into());
    }
    if text.contains("${") || text.contains("$(") {
        return Err("variables are not replaced here; write the address itself".into());
    }
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let end = bracketed.find(']').ok_or("the bracket of the IPv6 address is not closed")?;
        let (_, after) = bracketed.split_at(end + 1);
        let host = text.get(..end + 2).unwrap_or(text);
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(format!("{after:?} follows the IPv6 address")),
        }
    } else {
        match text.matches(':').count() {
            0 => (text, None),
            1 => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
            _ if text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '%')) && text.contains("::") => {
                return Err("write an IPv6 address in brackets, e.g. [::1]:4317".into());
            }
            2 => return Err("it has two ports".into()),
            _ => return Err("it has too many colons; write an IPv6 address in brackets, e.g. [::1]:4317".into()),
        }
    };
    if host.is_empty() || host == "[]" {
        return Err("it names no host".into());
    }
    check_host(host)?;
    let port = port.map(|port| match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(format!("{port:?} is not a port between 1 and 65535")),
    });
    Ok((host, port.transpose()?))
}

/// Longest name that DNS knows, and longest part of one.
const HOST_LENGTH: (usize, usize) = (253, 63);

fn check_host(host: &str) -> Result<(), String> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address = address.split('%').next().unwrap_or_default();
        return match address.parse::<core::net::Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("{address:?} is not an IPv6 address")),
        };
    }
    if let Some(c) = host.chars().find(|c| !c.is_ascii()) {
        return Err(format!("the host holds {c:?}; write its ASCII form (xn--…)"));
    }
    if let Some(c) = host.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        return Err(format!("the host holds the character {c:?}"));
    }
    let labels = host.strip_suffix('.').unwrap_or(host).split('.');
    let is_bad =
        |label: &str| label.is_empty() || label.len() > HOST_LENGTH.1 || label.starts_with('-') || label.ends_with('-');
    if host.len() > HOST_LENGTH.0 || labels.into_iter().any(is_bad) {
        return Err(format!("{} is not the name of a host", shown(host)));
    }
    Ok(())
}

/// Refuses a `%` that does not introduce two hexadecimal digits, which no HTTP client accepts.
fn check_encoding(text: &str) -> Result<(), String> {
    let is_digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
    let mut parts = text.split('%').skip(1);
    match parts.find(|part| !(is_digit(part.bytes().next()) && is_digit(part.as_bytes().get(1).copied()))) {
        Some(_) => {
            Err("it holds a % that is not followed by two hexadecimal digits; write %25 for the sign itself".into())
        }
        None => Ok(()),
    }
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

/// What an OTLP exporter appends to the URL of a server, one for each signal.
const SIGNAL_PATHS: [&str; 4] = ["/v1/traces", "/v1/metrics", "/v1/logs", "/v1development/profiles"];

/// Paths of services behind which signals have their own.
const SERVICE_PATHS: [&str; 5] = [
    "/api/v1/prom/remote/write",
    "/api/v2/otlp",
    "/20200101/opentelemetry",
    "/20200101/opentelemetry/private",
    "/20200101/opentelemetry/public",
];

/// A URL for OTLP over HTTP, without a slash at the end; the exporter appends `/v1/traces` and the like. With `port` and `path` a type's own
/// defaults are filled in. A signal's path at its end is left out ([`appended`] says so).
///
/// # Errors
/// When it is no URL, has another path than a given one, or has a query or fragment, behind which the exporter would append.
pub fn otlp_http_url(text: &str, port: Option<u16>, path: Option<&str>) -> Result<String, String> {
    base_url(text, port, path, &SIGNAL_PATHS)
}

fn base_url(text: &str, port: Option<u16>, path: Option<&str>, appended: &[&str]) -> Result<String, String> {
    let text = text.trim();
    let parts = split(text)?;
    if parts.query.is_some() {
        return Err(
            "a query cannot be part of it: the exporter appends the path of each signal; write keys as headers".into(),
        );
    }
    let scheme = http_scheme(&parts)?;
    no_fragment(&parts)?;
    let user = parts.user.map(|user| format!("{user}@")).unwrap_or_default();
    let port = parts.port.or(port).map(|port| format!(":{port}")).unwrap_or_default();
    let written = base_path(parts.path, appended);
    let rest = match path {
        Some(path) if written.is_empty() => path,
        Some(path) if written != path => return Err(format!("its path must be {path}, not {written}")),
        _ => written,
    };
    Ok(format!("{scheme}://{user}{}{port}{rest}", parts.host))
}

/// The path of a signal at the end of a URL for OTLP, which the exporter appends by itself.
#[must_use]
pub fn signal_path(text: &str) -> Option<&'static str> {
    let bare = text.trim().trim_end_matches('/');
    SIGNAL_PATHS.into_iter().find(|path| bare.ends_with(path))
}

/// What is said of an address that ends with a path which is appended to it anyway.
#[must_use]
pub fn appended(text: &str) -> Option<String> {
    let bare = text.trim().trim_end_matches('/');
    if let Some(path) = signal_path(text) {
        return Some(format!("{path} at its end is left out: the exporter appends the path of each signal"));
    }
    let path = SERVICE_PATHS.iter().filter(|path| bare.ends_with(**path)).max_by_key(|path| path.len())?;
    Some(format!("{path} at its end is left out where it is appended anyway"))
}

/// What is said of the URL of one signal: nothing is appended to it.
#[must_use]
pub fn signal_url_remark(text: &str) -> Option<String> {
    let has_path = split(text.trim()).is_ok_and(|parts| !parts.path.trim_end_matches('/').is_empty());
    (!has_path).then(|| "it has no path, and none is appended to this setting; most servers take a signal at a path such as /v1/traces".to_owned())
}

/// A URL with `http://` or `https://`; `port` and `path` are filled in where it has none.
///
/// # Errors
/// When it is no URL, has a fragment, or has another path than a given one.
pub fn http_url(text: &str, port: Option<u16>, path: Option<&str>) -> Result<String, String> {
    let text = text.trim();
    let parts = split(text)?;
    let scheme = http_scheme(&parts)?;
    no_fragment(&parts)?;
    let user = parts.user.map(|user| format!("{user}@")).unwrap_or_default();
    let port = parts.port.or(port).map(|port| format!(":{port}")).unwrap_or_default();
    let query = parts.query.map(|query| format!("?{query}")).unwrap_or_default();
    let rest = match path {
        Some(path) if matches!(parts.path, "" | "/") => format!("{path}{query}"),
        Some(path) if parts.path.trim_end_matches('/') != path => {
            return Err(format!("its path must be {path}, not {}", parts.path));
        }
        _ => parts.rest.to_owned(),
    };
    Ok(format!("{scheme}://{user}{}{port}{rest}", parts.host))
}

fn no_fragment(parts: &Parts<'_>) -> Result<(), String> {
    if parts.rest.contains('#') {
        return Err("a fragment (# and what follows) cannot be part of it".into());
    }
    Ok(())
}

fn http_scheme(parts: &Parts<'_>) -> Result<String, String> {
    for part in [parts.user.unwrap_or_default(), parts.host, parts.rest] {
        check_encoding(part)?;
    }
    match parts.scheme.map(str::to_lowercase).as_deref() {
        Some(scheme @ ("http" | "https")) => Ok(scheme.to_owned()),
        Some(scheme) => Err(format!("the scheme {scheme}:// does not fit here: use http:// or https://")),
        None => Err("it must start with http:// or https://".into()),
    }
}

/// Paths of Loki's own protocol, old and new, which take no OTLP.
const LOKI_PATHS: [&str; 4] = ["/loki/api/v1/push", "/api/prom/push", "/loki/api/v1", "/api/prom"];
const LOKI_PROTOCOL: &str = "that is the address of Loki's own protocol; write the one for OTLP, which ends with /otlp";

/// The OTLP base URL of a Loki server: http unless given, port 3100, path `/otlp`.
///
/// # Errors
/// When it is no URL, has a query or fragment, or is a path of Loki's own protocol, which takes no OTLP.
pub fn loki_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let parts = split(&with_scheme)?;
    let scheme = http_scheme(&parts)?;
    no_fragment(&parts)?;
    // A lone slash is the same address as none; kept, the exporter would push to a path that Loki does not serve.
    let path = base_path(parts.path, &SIGNAL_PATHS);
    if LOKI_PATHS.iter().any(|own| path.ends_with(own)) {
        return Err(LOKI_PROTOCOL.into());
    }
    if parts.query.is_some() {
        return Err("a query cannot be part of it: the exporter appends /v1/logs".into());
    }
    let user = parts.user.map(|user| format!("{user}@")).unwrap_or_default();
    let path = if path.is_empty() { "/otlp" } else { path };
    Ok(format!("{scheme}://{user}{}:{}{path}", parts.host, parts.port.unwrap_or(3100)))
}

/// What is said of an address of Loki with a path other than the one for OTLP.
#[must_use]
pub fn loki_remark(text: &str) -> Option<String> {
    let url = loki_url(text).ok()?;
    let path = split(&url).ok()?.path.to_owned();
    (!path.ends_with("/otlp"))
        .then(|| format!("Loki takes OTLP at a path that ends with /otlp; {path} is used as it is"))
}

/// Paths that take remote writes: Prometheus and what is compatible (Mimir, Cortex, Thanos, VictoriaMetrics, InfluxDB, GreptimeDB, New
/// Relic, the services of cloud providers).
const WRITE_PATHS: [&str; 8] = [
    "/api/v1/write",
    "/api/v1/push",
    "/api/v1/remote_write",
    "/api/v1/receive",
    "/api/v1/prom/write",
    "/api/prom/push",
    "/v1/prometheus/write",
    "/prometheus/v1/write",
];

/// A Prometheus remote write URL: http unless given, `/api/v1/write` unless the path is one that takes writes. Slashes at the end of the
/// path do not count.
///
/// # Errors
/// When it is no URL, has a fragment, or has a query without a path that takes writes.
pub fn prom_rw_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let parts = split(&with_scheme)?;
    let scheme = http_scheme(&parts)?;
    no_fragment(&parts)?;
    let user = parts.user.map(|user| format!("{user}@")).unwrap_or_default();
    let port = parts.port.map(|port| format!(":{port}")).unwrap_or_default();
    let server = format!("{scheme}://{user}{}{port}", parts.host);
    let path = parts.path.trim_end_matches('/');
    let is_complete = WRITE_PATHS.iter().any(|write| path.ends_with(write));
    match parts.query {
        Some(query) if is_complete => Ok(format!("{server}{path}?{query}")),
        Some(_) => Err(format!(
            "with a query it must be the complete URL of the write endpoint, whose path ends with one of {}",
            WRITE_PATHS.join(", ")
        )),
        None if is_complete => Ok(format!("{server}{path}")),
        None => Ok(format!("{server}{path}/api/v1/write")),
    }
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
    check_encoding(parts.rest)?;
    check_encoding(parts.user.unwrap_or_default())?;
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
    if LOKI_PATHS.iter().any(|own| parts.path.trim_end_matches('/').ends_with(own)) {
        return Err(LOKI_PROTOCOL.into());
    }
    otlp_http_url(&with_scheme, None, Some("/otlp"))
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
    if http_scheme(&parts)? != "https" || parts.path.trim_end_matches('/') != "/api/prom/push" {
        return Err("it must be the remote write URL, https://…/api/prom/push".into());
    }
    let user = parts.user.map(|user| format!("{user}@")).unwrap_or_default();
    let port = parts.port.map(|port| format!(":{port}")).unwrap_or_default();
    let query = parts.query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(format!("https://{user}{}{port}/api/prom/push{query}", parts.host))
}

/// An Elasticsearch URL; port 9200 unless given.
///
/// # Errors
/// What is wrong with the text.
pub fn elasticsearch_url(text: &str) -> Result<String, String> {
    http_url(text, Some(9200), None)
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

/// What is said of the address of a mediator of which not everything is used.
#[must_use]
pub fn causely_remark(text: &str) -> Option<String> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let parts = split(&with_scheme).ok()?;
    if parts.scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) {
        return Some("TLS is not supported for this type: what is sent is not encrypted; write http:// for that, or use the type otlp".into());
    }
    let is_bare = parts.rest.trim_matches('/').is_empty() && parts.user.is_none();
    (!is_bare).then(|| "only host and port of it are used".into())
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
    Ok(format!("https://{}{port}{}", parts.host, base_path(parts.path, &[&SIGNAL_PATHS[..], &SERVICE_PATHS].concat())))
}

/// The data upload URL of an APM domain of Oracle Cloud, without the paths of signals.
///
/// # Errors
/// What is wrong with the text.
pub fn oracle_url(text: &str) -> Result<String, String> {
    base_url(text, None, None, &[&SIGNAL_PATHS[..], &SERVICE_PATHS].concat())
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

/// Host, port and path of a URL, without a slash at the end and without a path that is appended to it.
///
/// # Errors
/// When it is no URL, or has a user, or a query or fragment, behind which a path would be appended.
pub fn url_rest(text: &str) -> Result<String, String> {
    let whole = with_https(text);
    let parts = split(&whole)?;
    http_scheme(&parts)?;
    if parts.user.is_some() {
        return Err("user and password cannot be part of it: they have settings of their own".into());
    }
    no_fragment(&parts)?;
    if parts.query.is_some() {
        return Err("a query cannot be part of it: the path of each signal is appended".into());
    }
    let port = parts.port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("{}{port}{}", parts.host, base_path(parts.path, &[&SIGNAL_PATHS[..], &SERVICE_PATHS].concat())))
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

/// A text as user inside a URL, which is sent by basic authentication: everything but letters, digits and `-._~` is percent-encoded.
///
/// # Errors
/// When it is no user of basic authentication.
pub fn url_user(text: &str) -> Result<String, String> {
    let mut out = String::new();
    for byte in super::basic_user(text)?.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(out)
}

/// A host with this port unless it has one; `http://` or `https://` stays, a slash at the end goes.
///
/// # Errors
/// When it is no address, or has a path, a query or a user.
pub fn host_and_default_port(text: &str, port: u16) -> Result<String, String> {
    let parts = split(text.trim())?;
    let scheme = match parts.scheme {
        Some(_) => format!("{}://", http_scheme(&parts)?),
        None => String::new(),
    };
    if !matches!(parts.rest, "" | "/") || parts.user.is_some() {
        return Err("only host and port can be part of it".into());
    }
    Ok(format!("{scheme}{}:{}", parts.host, parts.port.unwrap_or(port)))
}

/// A complete URL with `http://` or `https://`, for instance of a service that gives tokens.
///
/// # Errors
/// When it is no such URL.
pub fn complete_url(text: &str) -> Result<String, String> {
    http_url(text, None, None)
}

/// The name of a domain; a scheme in front and a slash at the end are left out.
///
/// # Errors
/// When more than the name of a domain remains.
pub fn domain(text: &str) -> Result<String, String> {
    let text = text.trim();
    let parts = split(text)?;
    if parts.scheme.is_some() {
        http_scheme(&parts)?;
    }
    if !matches!(parts.rest, "" | "/") || parts.port.is_some() || parts.user.is_some() || parts.host.starts_with('[') {
        return Err("it must be the name of a domain alone, e.g. example.com".into());
    }
    Ok(parts.host.to_owned())
}
