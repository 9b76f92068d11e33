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

fn one<'a, T>(dice: &mut Random, all: &'a [T]) -> &'a T {
    &all[dice.below(all.len())]
}

/// A random value of `spec`, often broken.
#[must_use]
pub fn spec(dice: &mut Random) -> Json {
    let text = |dice: &mut Random, all: &[&str]| json!(one(dice, all));
    let signals = one(dice, &[json!(["TRACES"]), json!(["TRACES", "LOGS"]), json!(["METRICS"]), json!([])]).clone();
    let names = |dice: &mut Random| -> Vec<Json> { (0..dice.below(4)).map(|_| json!(one(dice, &NAMES))).collect() };
    let format = |dice: &mut Random| *one(dice, &["json", "sql", "resource_path"]);
    let mut spec = match dice.below(6) {
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
            Body::Span { name: (*one(dice, &TEXTS)).to_owned(), kind: SpanKind::Server, events }
        }
    };
    let mut item = Item::of(body);
    item.resource = attributes(dice);
    item.resource.insert("telemetry.sdk.language".into(), (*one(dice, &["java", "go"])).into());
    (item.scope, item.scope_name) = (attributes(dice), (*one(dice, &["lib", "other"])).to_owned());
    item.attributes = attributes(dice);
    item
}
