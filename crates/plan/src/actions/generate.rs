//! Random Actions and items for property tests: small alphabets, so that they meet often, and texts that nobody may break out of.

#![allow(clippy::indexing_slicing, reason = "test data: positions are drawn below the length")]

use super::item::{self, Body, Event, Item, SpanKind, Value};
use crate::sampling::generate::Random;
use serde_json::{Value as Json, json};

const NAMES: [&str; 8] = ["a", "b", "c", "db.statement", "http.request.payload", "q\"\\", "${env:X}", "é"];
const TEXTS: [&str; 12] = [
    "",
    "a@b.io",
    "x",
    "key=v key=w",
    r#"{"key": "v", key: 'w'}"#,
    "WHERE key = 'a' AND key=b",
    "/key/1/key/2?x",
    "4111111111111111",
    "$1 ${2} $$",
    "SELECT a FROM b",
    "123e4567-e89b-12d3-a456-426614174000",
    "line\nkey: \"v\\\"w\"",
];
const PATTERNS: [&str; 9] = [
    "key=(\\S+)",
    "(a)",
    "(?i)KEY=(.)",
    "x",
    "(",
    "a|(b)",
    r"\bkey\b\s*[:=]\s*(?:'|)(\w+)",
    "(k)(e)(y)",
    "(?P<n>[^/]+)$",
];

const QUERIES: [&str; 16] = [
    "SELECT * FROM users WHERE id=1",
    "SELECT a, 'it''s' FROM \"shop\" WHERE b IN (1, 2.5e3) -- don't 5",
    "INSERT INTO `t` (a) VALUES ('x; y', 0xFF, $1, :name)",
    "UPDATE t SET a = 'cut off",
    "SELECT a::int, b::text[] FROM s.t WHERE c = 'd::e'",
    "DELETE FROM t; DROP TABLE t",
    "SELECT * FROM a JOIN b ON a.x = b.x1",
    "select /* 'it' */ count(*) from t u group by 1",
    "INSERT INTO t SELECT * FROM u",
    "UPDATE ONLY t SET a=$2",
    "/* open 'x' 7",
    "line\n-- c 1\n'2\\'3' \"4",
    "",
    "'",
    "\n'",
    "größe1 = 1.:x @p1 ?5 $$a$$",
];
const WORDS: [&str; 16] =
    ["SELECT", " ", "FROM", "t", "'", "\"", "1", "--", "\n", "/*", "*/", "::int", ",", "(", ")", "\\"];
const SEGMENTS: [&str; 24] = [
    "users",
    "1234",
    "v1",
    "",
    "2025-12-04",
    "2025-12-04T10:00:00Z",
    "a@b.io",
    "123e4567-e89b-12d3-a456-426614174000",
    "x-123e4567-e89b-12d3-a456-426614174000",
    "123e4567-e89b-12d3-a456-426614174000x",
    "deadbeefdeadbeef",
    "deadbeefdeadbee",
    "order1234567x",
    "order123456x",
    "1.2-3",
    "*",
    "{id}",
    "\u{fffd}",
    "é",
    "日本",
    "a b",
    "%20",
    "$1",
    "items",
];
const TEMPLATES: [&str; 13] = [
    "/users/{id}",
    "/v1/{team}/items/*",
    "/*/*",
    "users/{}",
    "/v1/*",
    "/users/",
    "/{a}/1234/{b}",
    "/a.b/$1/{x$1}",
    "/a*",
    "/",
    "",
    "/{a}{b}",
    "/日本/*",
];

fn one<'a, T>(dice: &mut Random, all: &'a [T]) -> &'a T {
    &all[dice.below(all.len())]
}

/// A random value of `spec`, often broken.
#[must_use]
pub fn spec(dice: &mut Random) -> Json {
    let text = |dice: &mut Random, all: &[&str]| json!(one(dice, all));
    // Most kinds change spans alone.
    let spans = || json!(["TRACES"]);
    let signals = [spans(), spans(), spans(), spans(), json!(["TRACES", "LOGS"]), json!(["METRICS"]), json!([])];
    let signals = one(dice, &signals).clone();
    let names = |dice: &mut Random| -> Vec<Json> { (0..dice.below(4)).map(|_| json!(one(dice, &NAMES))).collect() };
    let format = |dice: &mut Random| *one(dice, &["json", "sql", "resource_path"]);
    let scopes = |dice: &mut Random| -> Json {
        one(
            dice,
            &[
                Json::Null,
                json!({"namespaces": ["shop"]}),
                json!({"languages": ["java"]}),
                json!({"sources": [{"namespace": "shop", "kind": "Deployment", "name": "web"}]}),
                json!({"namespaces": [""]}),
            ],
        )
        .clone()
    };
    let mut spec = match dice.below(10) {
        0 => {
            let all: Vec<Json> = names(dice)
                .into_iter()
                .map(|name| json!({"attributeName": name, "attributeStringValue": one(dice, &TEXTS)}))
                .collect();
            json!({"addClusterInfo": {"clusterAttributes": all, "overwriteExistingValues": dice.below(2) == 0}})
        }
        1 => json!({"deleteAttribute": {"attributeNamesToDelete": names(dice)}}),
        2 => {
            let pairs: serde_json::Map<String, Json> =
                (0..dice.below(5)).map(|_| ((*one(dice, &NAMES)).to_owned(), json!(one(dice, &NAMES)))).collect();
            json!({"renameAttribute": {"renames": pairs}})
        }
        3 => {
            let categories: Vec<Json> =
                (0..dice.below(3)).map(|_| json!(one(dice, &["EMAIL", "UUID", "CREDIT_CARD", "JWT"]))).collect();
            let formats: Vec<Json> = (0..dice.below(3))
                .map(|_| json!({"lookupKey": one(dice, &["key", "", "a.b"]), "dataFormat": format(dice)}))
                .collect();
            let regexes: Vec<Json> = (0..dice.below(3)).map(|_| json!({"regex": one(dice, &PATTERNS)})).collect();
            json!({"piiMasking": {"piiCategories": categories, "customFormatMaskings": formats, "customRegexMaskings": regexes}})
        }
        4 => {
            let all: Vec<Json> = (0..dice.below(3))
                .map(|_| match dice.below(2) {
                    0 => json!({"targetAttributeName": one(dice, &NAMES), "regex": one(dice, &PATTERNS)}),
                    _ => {
                        json!({"targetAttributeName": one(dice, &NAMES), "lookupKey": "key", "dataFormat": format(dice)})
                    }
                })
                .collect();
            json!({"extractAttribute": {"extractions": all}})
        }
        6 => json!({"dbQueryTemplatization": {
            "scopes": scopes(dice), "templatizeLiterals": dice.below(4) > 0, "removePostgresCastOperator": dice.below(2) == 0,
        }}),
        7 => json!({"inferDbAttributes": {"scopes": scopes(dice)}}),
        8 | 9 => {
            let rules: Vec<Json> = (0..dice.below(3))
                .map(|_| {
                    let templates: Vec<Json> = (0..dice.below(4)).map(|_| json!(one(dice, &TEMPLATES))).collect();
                    json!({"scopes": scopes(dice), "templates": templates})
                })
                .collect();
            let default: Vec<Json> = (0..dice.below(3))
                .map(|_| {
                    json!({"scopes": scopes(dice), "disabled": dice.below(6) == 0, "skipPolicy": {
                        "skipForNonSuccessCodes": dice.below(3) == 0, "skipHttpStatusCodes": one(dice, &[json!([]), json!([404]), json!([200, 500])]),
                    }})
                })
                .collect();
            json!({"urlTemplatization": {"rules": rules, "default": default}})
        }
        _ => json!({"spanRenamer": {
            "programmingLanguage": "java", "scopeName": "lib",
            "regexReplacements": (0..dice.below(3)).map(|_| json!({
                "regexPattern": one(dice, &PATTERNS), "templateText": text(dice, &["x", "${1}", "$2", "$$", "$", "a${1}b"]),
            })).collect::<Vec<_>>(),
        }}),
    };
    spec["signals"] = signals;
    spec
}

/// A random span with a query, or something like one.
fn query(dice: &mut Random, attributes: &mut item::Attributes) {
    let text = match dice.below(3) {
        0 => (0..dice.below(12)).map(|_| *one(dice, &WORDS)).collect::<String>(),
        _ => (*one(dice, &QUERIES)).to_owned(),
    };
    let systems = ["postgresql", "mysql", "mongodb", "other_sql", ""];
    attributes.insert((*one(dice, &["db.system.name", "db.system"])).to_owned(), (*one(dice, &systems)).into());
    attributes.insert((*one(dice, &["db.query.text", "db.statement"])).to_owned(), text.as_str().into());
    if dice.below(6) == 0 {
        attributes.insert((*one(dice, &["db.sql.table", "db.operation.name"])).to_owned(), "there".into());
    }
    if dice.below(12) == 0 {
        attributes.insert("db.query.text".to_owned(), Value::Integer(1));
    }
}

/// A random span of a request, or something like one.
fn request(dice: &mut Random, attributes: &mut item::Attributes) {
    let mut path: String = one(dice, &["", "/", "/", "//"]).to_string();
    let segments: Vec<&str> = (0..dice.below(4)).map(|_| *one(dice, &SEGMENTS)).collect();
    path.push_str(&segments.join("/"));
    let key = *one(dice, &["url.path", "url.path", "http.target", "url.full", "http.url"]);
    let text = match key {
        "url.path" => path,
        "http.target" => format!("{path}?q=/1?"),
        _ => format!(
            "{}{path}{}",
            one(dice, &["http://h:80", "https://[::1]", "nohost"]),
            one(dice, &["", "?q=1", "#f"])
        ),
    };
    attributes.insert(key.to_owned(), text.as_str().into());
    attributes.insert((*one(dice, &["http.request.method", "http.method"])).to_owned(), "GET".into());
    let status = one(dice, &[Value::Integer(200), Value::Integer(404), Value::Text("404".into())]).clone();
    if dice.below(2) == 0 {
        attributes.insert((*one(dice, &["http.response.status_code", "http.status_code"])).to_owned(), status);
    }
    if dice.below(6) == 0 {
        let there = one(dice, &[Value::Text(String::new()), Value::Text("/r".into()), Value::Integer(1)]).clone();
        attributes.insert((*one(dice, &["http.route", "url.template"])).to_owned(), there);
    }
}

/// A random span, data point or log record.
#[must_use]
pub fn item(dice: &mut Random) -> Item {
    let attributes = |dice: &mut Random| -> item::Attributes {
        (0..dice.below(5))
            .map(|_| {
                let value = match dice.below(8) {
                    0 => Value::Integer(4_111_111_111_111_111),
                    1 => Value::List(vec!["a@b.io".into(), Value::Boolean(true)]),
                    2 => Value::Double(0.5),
                    _ => Value::from(*one(dice, &TEXTS)),
                };
                ((*one(dice, &NAMES)).to_owned(), value)
            })
            .collect()
    };
    let body = match dice.below(4) {
        0 => Body::Log { text: (*one(dice, &TEXTS)).to_owned() },
        1 => Body::Point { metric: "m".into() },
        _ => {
            let events = (0..dice.below(3)).map(|_| Event { name: "e".into(), attributes: attributes(dice) }).collect();
            let name = if dice.below(2) == 0 { "GET" } else { *one(dice, &TEXTS) };
            let kind = *one(dice, &[SpanKind::Server, SpanKind::Client, SpanKind::Other]);
            Body::Span { name: name.to_owned(), kind, events }
        }
    };
    let mut item = Item::of(body);
    item.resource = attributes(dice);
    item.resource.insert("telemetry.sdk.language".into(), (*one(dice, &["java", "go"])).into());
    (item.scope, item.scope_name) = (attributes(dice), (*one(dice, &["lib", "other"])).to_owned());
    item.attributes = attributes(dice);
    if dice.below(3) > 0 {
        item.resource.insert("k8s.namespace.name".into(), (*one(dice, &["shop", "other"])).into());
        item.resource.insert("odigos.workload.kind".into(), "Deployment".into());
        item.resource.insert("odigos.workload.name".into(), "web".into());
    }
    match dice.below(3) {
        0 => query(dice, &mut item.attributes),
        1 => request(dice, &mut item.attributes),
        _ => {}
    }
    item
}
