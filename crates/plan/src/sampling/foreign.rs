//! Matchers in another tool's language: regular expressions, globs, routes of web frameworks, whole URLs.
//!
//! Owns the list of shapes that are legal, are taken literally, and were probably meant as something else. Each becomes a
//! warning with the spelling that works; the rule stays as it is, since a framework may really report such a route. Never
//! decides what a rule matches.

use super::rule::{Alternative, Operation, PathRule, Scope};
use crate::spelling::hint;

/// What every warning begins with.
const LITERALLY: &str = "is taken literally";

/// Warnings about a rule: the field below the rule, and the message.
pub(super) fn remarks(operation: &Operation, scope: &Scope) -> Vec<(String, String)> {
    let mut found = Vec::new();
    match operation {
        Operation::Any => {}
        Operation::HttpServer { path, query, method } => {
            found.push(("operation.httpServer.method".to_owned(), method.as_deref().and_then(of_method)));
            let field = match path {
                Some(PathRule::Prefix(_)) => "routePrefix",
                _ => "route",
            };
            found.push((format!("operation.httpServer.{field}"), path.as_ref().and_then(of_path)));
            for (n, (name, value)) in query.iter().enumerate() {
                let field = format!("operation.httpServer.queryParams[{n}]");
                let remark = pattern_sign(name).or_else(|| pattern_sign(value));
                found.push((
                    field,
                    remark.map(|sign| format!("`{sign}` stands for itself: a parameter is compared as a whole")),
                ));
            }
        }
        Operation::HttpClient { server_address, path, method } => {
            found.push(("operation.httpClient.method".to_owned(), method.as_deref().and_then(of_method)));
            let field = match path {
                Some(PathRule::Prefix(_)) => "templatedPathPrefix",
                _ => "templatedPath",
            };
            found.push((format!("operation.httpClient.{field}"), path.as_ref().and_then(of_path)));
            found.push((
                "operation.httpClient.serverAddress".to_owned(),
                server_address.as_deref().and_then(of_address),
            ));
        }
        Operation::GrpcServer { service, method } => {
            found.extend(of_grpc("operation.grpcServer", service.as_deref(), method.as_deref()));
        }
        Operation::GrpcClient { service, method, server_address } => {
            found.extend(of_grpc("operation.grpcClient", service.as_deref(), method.as_deref()));
            found.push((
                "operation.grpcClient.serverAddress".to_owned(),
                server_address.as_deref().and_then(of_address),
            ));
        }
        Operation::KafkaConsumer { topic } => {
            found.push(("operation.kafkaConsumer.kafkaTopic".to_owned(), topic.as_deref().and_then(of_topic)));
        }
        Operation::KafkaProducer { topic } => {
            found.push(("operation.kafkaProducer.kafkaTopic".to_owned(), topic.as_deref().and_then(of_topic)));
        }
    }
    found.extend(of_scope(scope));
    let found = found.into_iter().filter_map(|(field, remark)| Some((field, remark?)));
    found.map(|(field, remark)| (field, format!("{LITERALLY}: {remark}"))).collect()
}

/// Methods that instrumentations report by their names.
const METHODS: [&str; 11] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE", "_OTHER"];

fn of_method(text: &str) -> Option<String> {
    if METHODS.iter().any(|one| one.eq_ignore_ascii_case(text)) {
        return None;
    }
    let upper = text.to_ascii_uppercase();
    let near = hint(&upper, METHODS);
    Some(format!("{text} is no HTTP method that agents know, and they report others as _OTHER{near}"))
}

/// A warning about the name of a data stream.
pub(super) fn of_stream(name: &str) -> Option<String> {
    let remark = pattern_sign(name).map(|sign| format!("`{sign}` stands for itself; list each data stream"));
    remark
        .or_else(|| name.contains(',').then(|| "a comma is part of the name; list each data stream".to_owned()))
        .map(|remark| format!("{LITERALLY}: {remark}"))
}

fn of_path(rule: &PathRule) -> Option<String> {
    let (PathRule::Exact(text) | PathRule::Prefix(text)) = rule else { return None };
    let first_word = text.split_once(' ').map_or("", |(word, _)| word);
    if text.trim() != text {
        return Some("the blank at its beginning or end is part of the path; remove it".to_owned());
    }
    if first_word.len() > 2 && first_word.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Some(format!("`{first_word} ` is part of the path; move {first_word} to the field method"));
    }
    if text.contains(char::is_whitespace) {
        return Some(
            "a blank is part of the path, and no URL holds one; write %20, or make one rule for each path".to_owned(),
        );
    }
    if let Some((_, rest)) = text.split_once("://") {
        let path = rest.find('/').map_or("/", |slash| &rest[slash..]);
        return Some(format!("a path has no scheme and host; write {path}"));
    }
    if let Some(sign) = expression_sign(text) {
        return Some(format!(
            "`{sign}` is no expression here; write {{name}} or * for any one segment, or use a prefix for whatever follows"
        ));
    }
    if text.contains('?') {
        return Some("a path ends before its `?`; state the query in queryParams of a noisy rule".to_owned());
    }
    if text.contains('#') {
        return Some("servers never see what follows `#`; remove it".to_owned());
    }
    if text.contains(',') {
        return Some("a comma does not separate paths; make one rule for each".to_owned());
    }
    text.split('/').find_map(of_segment)
}

fn of_segment(segment: &str) -> Option<String> {
    let in_braces = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    if let Some(name) = in_braces {
        let catch_all = name.contains([':', '*']);
        return catch_all.then(|| {
            format!("`{segment}` stands for any one segment and never for several; use a prefix for whatever follows")
        });
    }
    if segment.len() > 1 && segment.starts_with(':') || segment.starts_with('<') && segment.ends_with('>') {
        return Some(format!(
            "`{segment}` matches only where the framework reports the route with this text; {{name}} or * stands for any one segment"
        ));
    }
    if segment == "**" {
        return Some(
            "`**` matches only a route that is reported with it; use a prefix for whatever follows".to_owned(),
        );
    }
    if segment != "*" && segment.contains(['*', '{', '}']) {
        return Some(format!("`{segment}` has no wildcard: {{name}} and * stand for whole segments only"));
    }
    None
}

/// A sign of a regular expression that no path of a web framework has.
fn expression_sign(text: &str) -> Option<&str> {
    const SIGNS: [&str; 9] = [".*", ".+", "\\", "(?", "|", "[^", "[0-9", "[a-z", "[A-Z"];
    if text.starts_with('^') {
        return Some("^");
    }
    if text.ends_with('$') {
        return Some("$");
    }
    SIGNS.into_iter().find(|sign| text.contains(sign))
}

/// A sign of an expression or a glob in a text that is compared as a whole.
fn pattern_sign(text: &str) -> Option<&str> {
    expression_sign(text).or_else(|| text.contains('*').then_some("*"))
}

fn of_address(text: &str) -> Option<String> {
    if text.trim() != text || text.contains(',') {
        return Some("blanks and commas are part of the address; make one rule for each address".to_owned());
    }
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', ':', '?']).next().unwrap_or_default();
        return Some(format!("server.address holds the host alone; write {host}"));
    }
    if let Some(sign) = pattern_sign(text) {
        return Some(format!("`{sign}` stands for itself: an address is compared as a whole"));
    }
    if let Some((host, _)) = text.split_once('/') {
        return Some(format!("server.address holds no path; write {host}"));
    }
    match text.split_once(':') {
        // More than one colon is an IPv6 address.
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(format!("server.address holds no port; write {host}"))
        }
        _ => None,
    }
}

fn of_grpc(field: &str, service: Option<&str>, method: Option<&str>) -> Vec<(String, Option<String>)> {
    let of_service = service.and_then(|text| {
        let bare = text.trim_start_matches('/');
        match bare.split_once('/') {
            Some((service, method)) => {
                Some(format!("a service has no `/`; write service {service} and method {method}"))
            }
            None if bare != text => Some(format!("a service has no `/`; write {bare}")),
            None => unusual(text, "._")
                .map(|sign| format!("no service has `{sign}` in its name; write it in full, e.g. shop.v1.Cart")),
        }
    });
    let of_method = method.and_then(|text| {
        unusual(text, "_")
            .map(|sign| format!("no method has `{sign}` in its name; write it without service, e.g. AddItem"))
    });
    vec![(format!("{field}.service"), of_service), (format!("{field}.method"), of_method)]
}

fn of_topic(text: &str) -> Option<String> {
    unusual(text, "._-").map(|sign| format!("no Kafka topic has `{sign}` in its name; make one rule for each topic"))
}

/// The first character that is neither an ASCII letter, a digit, nor one of `also`.
fn unusual(text: &str, also: &str) -> Option<char> {
    text.chars().find(|sign| !sign.is_ascii_alphanumeric() && !also.contains(*sign))
}

fn of_scope(scope: &Scope) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    match scope {
        Scope::Everything | Scope::Containers(_) => {}
        Scope::Lists { sources, namespaces, .. } => {
            found.extend(namespaces.iter().map(|name| ("sourceScopes.namespaces".to_owned(), of_namespace(name))));
            for source in sources {
                let remark = of_namespace(&source.namespace).or_else(|| of_workload(&source.name));
                found.push(("sourceScopes.sources".to_owned(), remark));
            }
        }
        Scope::AnyOf(alternatives) => {
            for (n, Alternative { namespace, name, .. }) in alternatives.iter().enumerate() {
                let remark =
                    namespace.as_deref().and_then(of_namespace).or_else(|| name.as_deref().and_then(of_workload));
                found.push((format!("sourceScopes[{n}]"), remark));
            }
        }
    }
    found
}

pub(super) fn of_namespace(name: &str) -> Option<String> {
    is_unusual_name(name, "-").then(|| format!("no namespace can be called {name:?}; list each namespace by its name"))
}

fn of_workload(name: &str) -> Option<String> {
    is_unusual_name(name, "-.").then(|| format!("no workload can be called {name:?}; list each workload by its name"))
}

/// Whether Kubernetes allows no object of this name.
fn is_unusual_name(name: &str, also: &str) -> bool {
    name.chars().any(|sign| !(sign.is_ascii_lowercase() || sign.is_ascii_digit() || also.contains(sign)))
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::accepted;
    use serde_json::{Value, json};

    /// The warnings about one noisy rule, or about one cost reduction rule where the operation is one of a tail.
    fn warnings(rule: Value) -> Vec<String> {
        let tail = rule.pointer("/operation/kafkaConsumer").is_some();
        let spec = match tail {
            true => {
                let mut rule = rule;
                rule["percentageAtMost"] = json!(5);
                json!({"costReductionRules": [rule]})
            }
            false => json!({"noisyOperations": [rule]}),
        };
        let accepted = accepted(&[spec]);
        assert_eq!(accepted.rules.len(), 1, "{:?}", accepted.findings);
        assert_eq!(accepted.objects["s0"].problems, Vec::<String>::new());
        accepted.findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn matcher_of_another_language_is_reported_with_what_to_write() {
        let route = |text: &str| json!({"operation": {"httpServer": {"route": text}}});
        let cases = [
            (route("^/health.*$"), "`^` is no expression here"),
            (route("/v1/name/.+"), "`.+` is no expression here"),
            (route("/a|/b"), "`|` is no expression"),
            (route("/v[0-9]/x"), "`[0-9` is no expression"),
            (route(r"/users/\d+"), "is no expression"),
            (route("/health*"), "`health*` has no wildcard"),
            (route("/files/{name}.json"), "`{name}.json` has no wildcard"),
            (route("/api/**"), "use a prefix"),
            (route("/users/:id"), "`:id` matches only where the framework"),
            (route("/users/<int:id>"), "`<int:id>` matches only where the framework"),
            (route("/files/{path:path}"), "never for several"),
            (route("/files/{*rest}"), "never for several"),
            (route("http://web.shop/health"), "write /health"),
            (route("https://web.shop"), "write /"),
            (route("/health?full=1"), "queryParams"),
            (route("/a#b"), "`#`"),
            (route(" /health"), "blank"),
            (route("/health "), "blank"),
            (route("/health,/ready"), "one rule for each"),
            (route("GET /health"), "move GET to the field method"),
            (route("/health /ready"), "no URL holds one"),
            (route("/my files/\tx"), "no URL holds one"),
            (
                json!({"operation": {"httpServer": {"routePrefix": "/api/.*"}}}),
                "spec.noisyOperations[0].operation.httpServer.routePrefix",
            ),
            (
                json!({"operation": {"httpServer": {"route": "/a", "queryParams": [{"name": "a", "valueExact": "*"}]}}}),
                "queryParams[0]: is taken literally",
            ),
            (
                json!({"operation": {"grpcServer": {"service": "grpc.health.v1.Health/Check"}}}),
                "write service grpc.health.v1.Health and method Check",
            ),
            (
                json!({"operation": {"grpcServer": {"service": "/grpc.health.v1.Health"}}}),
                "write grpc.health.v1.Health",
            ),
            (json!({"operation": {"grpcServer": {"service": "grpc.health.*"}}}), "no service has `*`"),
            (json!({"operation": {"grpcClient": {"method": "Health.Check"}}}), "no method has `.`"),
            (
                json!({"operation": {"httpClient": {"serverAddress": "https://api.example.com/v1"}}}),
                "write api.example.com",
            ),
            (json!({"operation": {"httpClient": {"serverAddress": "*.example.com"}}}), "compared as a whole"),
            (json!({"operation": {"httpClient": {"serverAddress": "api.example.com:443"}}}), "write api.example.com"),
            (json!({"operation": {"httpClient": {"serverAddress": "api.example.com/v1"}}}), "no path"),
            (
                json!({"operation": {"httpClient": {"templatedPath": "/users/:id"}}}),
                "operation.httpClient.templatedPath: is taken",
            ),
            (json!({"operation": {"kafkaConsumer": {"kafkaTopic": "orders-*"}}}), "no Kafka topic has `*`"),
            (json!({"operation": {"httpServer": {"route": "/a", "method": "GTE"}}}), "did you mean GET?"),
            (json!({"operation": {"httpClient": {"method": "FETCH"}}}), "they report others as _OTHER"),
            (json!({"sourceScopes": {"namespaces": ["shop*"]}}), "no namespace can be called \"shop*\""),
            (
                json!({"sourceScopes": {"sources": [{"namespace": "shop", "kind": "Deployment", "name": "web-.*"}]}}),
                "no workload can be called",
            ),
            (json!({"sourceScopes": [{"workloadNamespace": "Shop"}]}), "sourceScopes[0]: is taken literally"),
        ];
        for (rule, word) in cases {
            let found = warnings(rule.clone());
            let literally =
                found.len() == 1 && found[0].starts_with("warning") && found[0].contains(": is taken literally: ");
            assert!(literally && found[0].contains(word), "{rule}: {found:?}");
        }
    }

    #[test]
    fn matcher_that_can_match_is_not_reported() {
        let route = |text: &str| json!({"operation": {"httpServer": {"route": text}}});
        for rule in [
            route("/health"),
            route("health"),
            route("/metrics/"),
            route("/users/{id}/orders/*"),
            route("/{a}"),
            // Routes as Next.js and OData report them.
            route("/blog/[slug]/[...rest]"),
            route("/Products(1)"),
            route("/a%20b"),
            route("/.well-known/x.y"),
            route("/@user/~me/$count"),
            json!({"operation": {"httpServer": {"route": "/a", "queryParams": [{"name": "a[]", "valueExact": "1,2"}]}}}),
            json!({"operation": {"grpcServer": {"service": "grpc.health.v1.Health", "method": "Check"}}}),
            json!({"operation": {"httpClient": {"serverAddress": "::1"}}}),
            json!({"operation": {"httpClient": {"serverAddress": "api.example.com"}}}),
            json!({"operation": {"kafkaConsumer": {"kafkaTopic": "Shop.orders_v1-x"}}}),
            json!({"operation": {"httpServer": {"route": "/a", "method": "get"}}}),
            json!({"operation": {"httpServer": {"route": "/a", "method": "_OTHER"}}}),
            json!({"sourceScopes": {"namespaces": ["shop-1"], "sources": [{"namespace": "shop", "kind": "StaticPod", "name": "web.a-1"}]}}),
        ] {
            assert_eq!(warnings(rule.clone()), [] as [&str; 0], "{rule}");
        }
    }

    #[test]
    fn name_of_a_stream_is_no_pattern() {
        let accepted = accepted(&[json!({"dataStreams": ["team-*"], "costReductionRules": [{"percentageAtMost": 5}]})]);
        let told: Vec<String> = accepted.findings.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("spec.dataStreams[0]: is taken literally: `*`"), "{told:?}");
        assert_eq!(accepted.objects["s0"].remarks.len(), 1);
    }
}
