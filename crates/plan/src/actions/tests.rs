//! Rows 1–27, 42–44 of section 6 and the golden outputs of 2.10, as far as they are decisions; compiler and evaluator held together
//! over random Actions and items.

use super::item::{Body, Event, Item, SpanKind, Value};
use super::*;
use crate::sampling::generate::Random;
use serde_json::{Value as Json, json};

fn action(name: &str, spec: &Json) -> Action {
    Action::new(name, serde_json::from_value(spec.clone()).unwrap())
}

fn compiled(spec: &Json) -> Step {
    let compiled = compile(&action("a", spec));
    assert_eq!(compiled.problems, vec![], "{spec}");
    compiled.step.unwrap()
}

fn problems(spec: &Json) -> Vec<String> {
    compile(&action("a", spec)).problems.iter().map(ToString::to_string).collect()
}

/// What an item is afterwards, by both.
fn after(spec: &Json, item: &Item) -> Item {
    let (mut evaluated, mut interpreted) = (item.clone(), item.clone());
    evaluate(&action("a", spec).spec, &mut evaluated);
    if let Some(step) = compile(&action("a", spec)).step
        && step.signals.contains(&item.signal())
    {
        interpreter::run(&printed::read(&step.settings), &mut interpreted);
    }
    assert_eq!(evaluated, interpreted, "{spec}");
    evaluated
}

fn span(attributes: &[(&str, Value)]) -> Item {
    let mut span = Item::span("GET", SpanKind::Server);
    span.attributes.extend(attributes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    span
}

fn texts(item: &Item) -> Vec<(&str, &str)> {
    item.attributes.iter().filter_map(|(key, value)| Some((key.as_str(), value.text()?))).collect()
}

#[test]
fn rows_4_to_8_add_to_resources() {
    let spec = |replaces: bool, value: &str| {
        json!({"signals": ["TRACES"], "addClusterInfo": {
            "clusterAttributes": [{"attributeName": "k8s.cluster.name", "attributeStringValue": value}], "overwriteExistingValues": replaces,
        }})
    };
    let given = |value: Option<&str>| {
        let mut item = span(&[]);
        item.resource.extend(value.map(|value| ("k8s.cluster.name".to_owned(), value.into())));
        item
    };
    let name = |spec: &Json, value: Option<&str>| after(spec, &given(value)).resource["k8s.cluster.name"].clone();
    assert_eq!(name(&spec(false, "c1"), None), "c1".into());
    assert_eq!(name(&spec(false, "c1"), Some("c0")), "c0".into());
    assert_eq!(name(&spec(true, "c1"), Some("c0")), "c1".into());
    assert_eq!(name(&spec(false, ""), None), "".into());
    let log = Item::of(Body::Log { text: "a".into() });
    assert_eq!(after(&spec(true, "c1"), &log), log, "of traces alone");
}

#[test]
fn rows_9_and_10_delete_on_every_level() {
    let spec =
        |name: &str| json!({"signals": ["TRACES", "LOGS"], "deleteAttribute": {"attributeNamesToDelete": [name]}});
    for name in ["host.name", r#"a"); set(attributes["x"], "y"#, "${env:HOME}", "line\nbreak\\"] {
        let mut item = span(&[(name, "h".into()), ("kept", "k".into())]);
        item.resource.insert(name.into(), "h".into());
        item.scope.insert(name.into(), 1.into());
        let Body::Span { events, .. } = &mut item.body else { unreachable!() };
        events.push(Event { name: "e".into(), attributes: [(name.to_owned(), "h".into())].into() });
        let mut after = after(&spec(name), &item);
        assert!(after.levels().all(|level| !level.contains_key(name)), "{name}");
        assert_eq!(texts(&after), [("kept", "k")]);
    }
    let log = Item::of(Body::Log { text: "host.name".into() });
    assert_eq!(after(&spec("host.name"), &log), log);
}

#[test]
fn rows_11_to_14_rename_at_once() {
    let rename = |renames: &Json, attributes: &[(&str, Value)]| {
        let spec = json!({"signals": ["TRACES"], "renameAttribute": {"renames": renames}});
        let after = after(&spec, &span(attributes));
        after.attributes.into_iter().collect::<Vec<_>>()
    };
    let pairs =
        |all: &[(&str, i64)]| all.iter().map(|(key, n)| ((*key).to_owned(), Value::from(*n))).collect::<Vec<_>>();
    let (a, b) = (("a", Value::from(1)), ("b", Value::from(2)));
    assert_eq!(rename(&json!({"a": "b"}), &[a.clone(), b.clone()]), pairs(&[("b", 1)]));
    assert_eq!(rename(&json!({"a": "b"}), std::slice::from_ref(&b)), pairs(&[("b", 2)]));
    assert_eq!(rename(&json!({"a": "b", "b": "c"}), &[a.clone(), b.clone()]), pairs(&[("b", 1), ("c", 2)]));
    assert_eq!(rename(&json!({"a": "b", "b": "a"}), &[a, b]), pairs(&[("a", 2), ("b", 1)]));
    let (x, y) = (("x", Value::from(1)), ("y", Value::from(2)));
    assert_eq!(rename(&json!({"x": "z", "y": "z"}), &[x.clone(), y]), pairs(&[("z", 2)]));
    assert_eq!(rename(&json!({"x": "z", "y": "z"}), &[x]), pairs(&[("z", 1)]));
}

fn masked(kind: &Json, text: &str) -> String {
    let spec = json!({"signals": ["TRACES"], "piiMasking": kind});
    assert_eq!(problems(&spec), Vec::<String>::new());
    after(&spec, &span(&[("a", text.into())])).attributes["a"].text().unwrap().to_owned()
}

#[test]
fn rows_17_to_24_mask() {
    for (category, text, expected) in [
        ("EMAIL", "mail a.b@x.io now", "mail ***EMAIL*** now"),
        ("UUID", "/u/123e4567-e89b-12d3-a456-426614174000/x", "/u/***UUID***/x"),
        ("JWT", "Bearer eyJh.eyJz.c2ln", "Bearer ***JWT***"),
        ("CREDIT_CARD", "card 4111111111111111, 5500000000000004", "card ***CREDIT_CARD***, ***CREDIT_CARD***"),
    ] {
        assert_eq!(masked(&json!({"piiCategories": [category]}), text), expected);
    }
    for (format, key, text, expected) in [
        ("json", "ssn", r#"{"ssn": "123-45-6789","n":1}"#, r#"{"ssn": "****","n":1}"#),
        ("json", "ssn", r#"{"ssn": "1\"2", "n": 1}"#, r#"{"ssn": "****", "n": 1}"#),
        ("json", "ssn", "{ssn: 123,n:1}", "{ssn: ****,n:1}"),
        ("json", "ssn", "myssn: 1", "myssn: 1"),
        ("sql", "password", "WHERE password = 'a b' AND s='ok'", "WHERE password = '****' AND s='ok'"),
        ("sql", "password", "SET a=1,password=x;", "SET a=1,password=****;"),
        ("sql", "password", "WHERE password = 'it''s' AND s='ok'", "WHERE password = '****' AND s='ok'"),
        ("resource_path", "orders", "/api/orders/abc/items", "/api/orders/****/items"),
        ("resource_path", "a.b", "/a.b/c?d /axb/c", "/a.b/****?d /axb/c"),
    ] {
        let kind = json!({"customFormatMaskings": [{"lookupKey": key, "dataFormat": format}]});
        assert_eq!(masked(&kind, text), expected, "{format} {key} {text}");
    }
    let kind = json!({"customRegexMaskings": [{"regex": r"api[_-]?key=([^\s&]+)"}]});
    assert_eq!(masked(&kind, "api_key=a&api-key=b"), "api_key=****&api-key=****");
}

#[test]
fn rows_18_19_25_and_26_of_what_is_not_masked() {
    let spec = |kind: &Json| json!({"signals": ["TRACES"], "piiMasking": kind});
    let emails = json!({"piiCategories": ["EMAIL"]});
    let list = Value::List(vec!["a@x.io".into(), "ok".into()]);
    let mut item = span(&[("list", list.clone())]);
    item.resource.insert("owner".into(), "a@x.io".into());
    assert_eq!(after(&spec(&emails), &item), item);
    assert!(compiled(&spec(&emails)).notes[0].contains("lists"), "the limit is said");

    let half = json!({"customRegexMaskings": [{"regex": "no group"}, {"regex": "k=(v)"}, {"regex": "("}]});
    let found = compile(&action("a", &spec(&half)));
    let fields: Vec<&str> = found.problems.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(
        fields,
        ["spec.piiMasking.customRegexMaskings[0].regex", "spec.piiMasking.customRegexMaskings[2].regex"]
    );
    assert_eq!(texts(&after(&spec(&half), &span(&[("a", "k=v".into())]))), [("a", "k=****")], "the others stay");

    let scoped = spec(&json!({"piiCategories": ["EMAIL"], "scopes": {"namespaces": ["a"]}}));
    for (namespace, expected) in [("a", "***EMAIL***"), ("b", "x@y.io")] {
        let mut item = span(&[("mail", "x@y.io".into())]);
        item.resource.insert("k8s.namespace.name".into(), namespace.into());
        assert_eq!(texts(&after(&scoped, &item)), [("mail", expected)], "{namespace}");
    }
    let condition = compiled(&scoped).settings.rendered()["trace_statements"][0]["conditions"].clone();
    assert_eq!(condition, json!([r#"resource.attributes["k8s.namespace.name"] == "a""#]), "golden, 2.10");
}

#[test]
fn rows_42_to_44_extract() {
    let spec = |one: &Json| json!({"signals": ["TRACES"], "extractAttribute": {"extractions": [one]}});
    let task = json!({"targetAttributeName": "task", "lookupKey": "task_id", "dataFormat": "json"});
    let payload = (r"messaging.message.payload", Value::from(r#"{"task_id": "t-1", "n": 2}"#));
    let found = |attributes: &[(&str, Value)]| after(&spec(&task), &span(attributes)).attributes.get("task").cloned();
    assert_eq!(found(std::slice::from_ref(&payload)), Some("t-1".into()));
    assert_eq!(found(&[payload.clone(), ("task", 7.into())]), Some(7.into()));
    let earlier = ("db.statement", Value::from("task_id: earlier"));
    assert_eq!(found(&[payload.clone(), earlier]), Some("earlier".into()));
    assert_eq!(found(&[("db.statement", 5.into()), payload]), Some("t-1".into()), "a number is no text");
    let regex = json!({"targetAttributeName": "r", "regex": "req-([a-z0-9]+)"});
    assert_eq!(texts(&after(&spec(&regex), &span(&[("db.statement", "x req-7a".into())])))[1], ("r", "7a"));

    let both = json!({"targetAttributeName": "t", "lookupKey": "k", "dataFormat": "sql", "regex": "(a)"});
    assert!(problems(&spec(&both))[0].contains("either regex, or lookupKey"));
    let two = json!({"signals": ["TRACES"], "extractAttribute": {"extractions": [task, task]}});
    assert_eq!(problems(&two).len(), 1, "{:?}", problems(&two));
    let groups = json!({"targetAttributeName": "t", "regex": "(a)(b)"});
    assert!(problems(&spec(&groups))[0].contains("2 capture groups"));
}

#[test]
fn spans_of_one_library_are_renamed() {
    let spec = json!({"signals": ["TRACES"], "spanRenamer": {
        "programmingLanguage": "java", "scopeName": "io.opentelemetry.jdbc",
        "regexReplacements": [{"regexPattern": "^(SELECT|INSERT) .*", "templateText": "${1}"}],
    }});
    let name = |language: &str, scope: &str| {
        let mut item = Item::span("SELECT a FROM b", SpanKind::Client);
        item.resource.insert("telemetry.sdk.language".into(), language.into());
        item.scope_name = scope.to_owned();
        match after(&spec, &item).body {
            Body::Span { name, .. } => name,
            _ => unreachable!(),
        }
    };
    assert_eq!(name("java", "io.opentelemetry.jdbc"), "SELECT");
    assert_eq!(name("go", "io.opentelemetry.jdbc"), "SELECT a FROM b");
    assert_eq!(name("java", "other"), "SELECT a FROM b");
    for (pattern, template, expected) in [
        ("^.*$", "query", "query"),
        ("((SELECT) .*)", "${2}:${1}", "SELECT:SELECT a FROM b"),
        ("^(S)", "${1}${1}", "SSELECT a FROM b"),
    ] {
        let mut spec = spec.clone();
        spec["spanRenamer"]["regexReplacements"] = json!([{"regexPattern": pattern, "templateText": template}]);
        let mut item = Item::span("SELECT a FROM b", SpanKind::Client);
        item.resource.insert("telemetry.sdk.language".into(), "java".into());
        item.scope_name = "io.opentelemetry.jdbc".to_owned();
        let Body::Span { name, .. } = after(&spec, &item).body else { unreachable!() };
        assert_eq!((name.as_str(), problems(&spec)), (expected, vec![]), "{pattern}");
    }
    let mut bad = spec.clone();
    bad["spanRenamer"]["regexReplacements"][0]["templateText"] = json!("${2}");
    assert!(problems(&bad)[0].contains("names no group"), "{:?}", problems(&bad));
}

/// A span of a request, by its path.
fn request(kind: SpanKind, path: &str) -> Item {
    let mut item = Item::span("GET", kind);
    item.attributes =
        [("http.request.method", "GET"), ("url.path", path)].map(|(key, text)| (key.to_owned(), text.into())).into();
    item
}

/// Name, template and result of a span.
fn template(item: &Item) -> (String, String, String) {
    let text = |key: &str| item.attributes.get(key).and_then(Value::text).unwrap_or_default().to_owned();
    let Body::Span { name, kind, .. } = &item.body else { unreachable!() };
    let target = if *kind == SpanKind::Client { "url.template" } else { "http.route" };
    (name.clone(), text(target), text("odigos.url_templatization.result"))
}

#[test]
fn rows_30_to_41_make_templates_of_paths() {
    let spec = |kind: Json| json!({"signals": ["TRACES"], "urlTemplatization": kind});
    let defaults = || spec(json!({"default": [{}]}));
    let of = |spec: &Json, item: &Item| template(&after(spec, item));
    let route = |path: &str| of(&defaults(), &request(SpanKind::Server, path)).1;
    let whole = of(&defaults(), &request(SpanKind::Server, "/users/1234"));
    assert_eq!(whole, ("GET /users/{id}".into(), "/users/{id}".into(), "default_heuristic".into()), "row 30");
    let mut named = request(SpanKind::Server, "/users/1234");
    named.body = Body::Span { name: "custom".into(), kind: SpanKind::Server, events: Vec::new() };
    assert_eq!(of(&defaults(), &named).0, "custom", "row 31");
    let mut routed = request(SpanKind::Server, "/users/1234");
    routed.attributes.insert("http.route".into(), "/u/:id".into());
    assert_eq!(after(&defaults(), &routed), routed, "row 32");
    routed.attributes.insert("http.route".into(), "".into());
    assert_eq!(of(&defaults(), &routed).0, "GET /", "what is there and empty is the root");
    assert_eq!(of(&defaults(), &request(SpanKind::Client, "/users/1234")).1, "/users/{id}", "row 33");
    assert_eq!(route("/reports/2025-12-04"), "/reports/{date}", "row 34");
    assert_eq!(route("/a/1/2/b"), "/a/{id}/{id}/b", "row 35");
    let custom = spec(json!({"rules": [{"templates": ["/v1/{team}/items/*"]}]}));
    let found = of(&custom, &request(SpanKind::Server, "/v1/9x/items/foo"));
    assert_eq!((found.1.as_str(), found.2.as_str()), ("/v1/{team}/items/foo", "custom_rule"), "row 36");

    let skipping = spec(
        json!({"rules": [{"templates": ["/v1/{x}"]}], "default": [{"skipPolicy": {"skipForNonSuccessCodes": true}}]}),
    );
    let failed = |kind: SpanKind, path: &str| {
        let mut item = request(kind, path);
        item.attributes.insert("http.response.status_code".into(), 404.into());
        of(&skipping, &item).1
    };
    assert_eq!(failed(SpanKind::Server, "/users/1"), "", "row 37");
    assert_eq!(failed(SpanKind::Server, "/v1/1"), "/v1/{x}", "row 37");
    assert_eq!(failed(SpanKind::Client, "/users/1"), "/users/{id}", "row 37");

    let elsewhere = spec(json!({"rules": [{"templates": ["/v2/{x}"]}]}));
    let item = request(SpanKind::Server, "/users/1");
    assert_eq!(after(&elsewhere, &item), item, "row 38");
    let empty = of(&defaults(), &request(SpanKind::Server, "///"));
    assert_eq!((empty.1.as_str(), empty.2.as_str()), ("/", "path_normalization"), "row 39");
    let plain = of(&defaults(), &request(SpanKind::Server, "/static/about"));
    assert_eq!((plain.1.as_str(), plain.2.as_str()), ("/static/about", "static_path"), "row 40");

    let off = spec(json!({"rules": [{"templates": ["/v1/{}"]}], "default": [{}, {"disabled": true}]}));
    assert_eq!(of(&off, &request(SpanKind::Server, "/users/1")).1, "", "row 41");
    assert_eq!(of(&off, &request(SpanKind::Server, "/v1/1")).1, "/v1/{id}", "row 41");

    for (key, text) in
        [("http.target", "/users/1?x=/2"), ("url.full", "http://h:1/users/1?x#y"), ("http.url", "https://h/users/1")]
    {
        let mut item = request(SpanKind::Server, "");
        item.attributes.remove("url.path");
        item.attributes.insert(key.into(), text.into());
        assert_eq!(of(&defaults(), &item).1, "/users/{id}", "{key}");
    }
    for template in ["/a*", "/", "", "/{a}{b}", "/a{b}", "/{*}"] {
        let found = problems(&spec(json!({"rules": [{"templates": [template]}]})));
        assert!(found[0].starts_with("spec.urlTemplatization.rules[0].templates[0]"), "{template}: {found:?}");
    }
    assert!(problems(&spec(json!({})))[0].contains("changes nothing"));
    assert_eq!(problems(&spec(json!({"default": [{"skipPolicy": {"skipHttpStatusCodes": [99]}}]}))).len(), 1);
    assert_eq!(problems(&spec(json!({"rules": [{"templates": vec!["/a"; 512]}]}))).len(), 0);
    assert_eq!(problems(&spec(json!({"rules": [{"templates": vec!["/a"; 513]}]}))).len(), 1);
}

#[test]
fn rows_45_and_46_of_queries() {
    let query = |system: &str, text: &str| span(&[("db.system", system.into()), ("db.query.text", text.into())]);
    let templated = |settings: Json, item: &Item| {
        let spec = json!({"signals": ["TRACES"], "dbQueryTemplatization": settings});
        after(&spec, item).attributes["db.query.text"].text().unwrap().to_owned()
    };
    let literals = || json!({"templatizeLiterals": true});
    let text = "WHERE id = 1 AND name = 'alice'";
    assert_eq!(templated(literals(), &query("mysql", text)), "WHERE id = ? AND name = ?");
    let kept = "a = $1 AND b = :name AND t1.col2 = c";
    assert_eq!(templated(literals(), &query("mysql", kept)), kept);
    assert_eq!(templated(literals(), &query("mongodb", text)), text);
    let casts = || json!({"removePostgresCastOperator": true});
    assert_eq!(templated(casts(), &query("postgresql", "a = 1::int")), "a = 1");
    assert_eq!(templated(casts(), &query("mysql", "a = 1::int")), "a = 1::int");
    let long = format!("{}1", " ".repeat(16 * 1024));
    assert_eq!(templated(literals(), &query("mysql", &long)), long, "too long to be looked at");
    assert!(problems(&json!({"signals": ["TRACES"], "dbQueryTemplatization": {}}))[0].contains("changes nothing"));

    let infer = json!({"signals": ["TRACES"], "inferDbAttributes": {}});
    let found = after(&infer, &query("postgresql", "SELECT * FROM users WHERE id=1"));
    assert_eq!(found.attributes["db.operation.name"], "SELECT".into());
    assert_eq!(found.attributes["db.collection.name"], "users".into());
    assert!(matches!(&found.body, Body::Span { name, .. } if name == "SELECT users"));
    let joined = query("postgresql", "SELECT * FROM a JOIN b ON a.x = b.x");
    assert_eq!(after(&infer, &joined), joined);
    let mut known = query("postgresql", "SELECT * FROM users");
    known.attributes.insert("db.sql.table".into(), "people".into());
    known.body = Body::Span { name: "SELECT shop.users".into(), kind: SpanKind::Client, events: Vec::new() };
    let found = after(&infer, &known);
    assert!(!found.attributes.contains_key("db.collection.name") && found.attributes.contains_key("db.operation.name"));
    assert!(matches!(&found.body, Body::Span { name, .. } if name == "SELECT shop.users"), "it contains both");
    for kind in ["dbQueryTemplatization", "inferDbAttributes"] {
        let bad = json!({"signals": ["TRACES"], kind: {"templatizeLiterals": true, "scopes": {"namespaces": [""]}}});
        assert!(problems(&bad)[0].starts_with(&format!("spec.{kind}.scopes")), "{:?}", problems(&bad));
        let scoped =
            json!({"signals": ["TRACES"], kind: {"templatizeLiterals": true, "scopes": {"namespaces": ["a"]}}});
        let item = query("mysql", "SELECT * FROM t WHERE a = 1");
        assert_eq!(after(&scoped, &item), item, "{kind} of another namespace");
        let one = action("a", &json!({"signals": ["TRACES"], kind: {"templatizeLiterals": true}}));
        let conditions = report::known([&one], &BTreeMap::new(), None, None, false)[0].conditions(None);
        let said: Vec<_> = conditions.iter().filter(|one| one.kind == "Approximate").collect();
        assert!(said.len() == 1 && said[0].message.starts_with("The collector knows no dialect"), "{conditions:?}");
    }
}

#[test]
fn golden_outputs() {
    let rendered = |spec: &Json| compiled(spec).settings.rendered();
    let cluster = json!({"signals": ["TRACES"], "addClusterInfo": {"clusterAttributes": [
        {"attributeName": "k8s.cluster.name", "attributeStringValue": "prod-${eu}"},
    ]}});
    assert_eq!(
        rendered(&cluster),
        json!({"attributes": [{"key": "k8s.cluster.name", "value": "prod-$${eu}", "action": "insert"}]})
    );
    let del =
        json!({"signals": ["TRACES", "METRICS", "LOGS"], "deleteAttribute": {"attributeNamesToDelete": ["host.name"]}});
    let group = |context: &str| json!({"context": context, "statements": [r#"delete_key(attributes, "host.name")"#]});
    let groups = |contexts: &[&str]| contexts.iter().map(|context| group(context)).collect::<Vec<_>>();
    assert_eq!(
        rendered(&del),
        json!({
            "error_mode": "ignore",
            "trace_statements": groups(&["resource", "scope", "span", "spanevent"]),
            "metric_statements": groups(&["resource", "scope", "datapoint"]),
            "log_statements": groups(&["resource", "scope", "log"]),
        })
    );
    let ren = json!({"signals": ["TRACES"], "renameAttribute": {"renames": {"a": "b", "b": "c"}}});
    assert_eq!(
        rendered(&ren)["trace_statements"][2]["statements"],
        json!([
            r#"set(cache["0"], attributes["a"]) where attributes["a"] != nil"#,
            r#"set(cache["1"], attributes["b"]) where attributes["b"] != nil"#,
            r#"delete_key(attributes, "a")"#,
            r#"delete_key(attributes, "b")"#,
            r#"set(attributes["b"], cache["0"]) where cache["0"] != nil"#,
            r#"set(attributes["c"], cache["1"]) where cache["1"] != nil"#,
        ])
    );
    let ext = json!({"signals": ["TRACES"], "extractAttribute": {"extractions": [
        {"targetAttributeName": "extracted.request_id", "regex": "req-([a-z0-9]+)"},
    ]}});
    assert_eq!(
        rendered(&ext)["trace_statements"][0]["statements"][0],
        r#"set(attributes["extracted.request_id"], ExtractPatterns(attributes["db.statement"], "req-(?P<v>[a-z0-9]+)")["v"]) where attributes["extracted.request_id"] == nil and attributes["db.statement"] != nil and IsString(attributes["db.statement"]) and IsMatch(attributes["db.statement"], "req-(?P<v>[a-z0-9]+)")"#
    );
    let pii = json!({"signals": ["TRACES"], "piiMasking": {"piiCategories": ["EMAIL"]}});
    let step = compiled(&pii);
    assert_eq!((step.id.as_str(), step.hint, step.role), ("transform/action/a", 0, CollectorRole::ClusterGateway));
    assert_eq!(
        step.settings.rendered()["trace_statements"][0]["statements"][0],
        r#"replace_all_patterns(attributes, "value", "[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\\.[A-Za-z]{2,}", "***EMAIL***")"#
    );
}

/// All Actions that make templates are one set of rules: what one of them writes would end the others.
#[test]
fn actions_of_one_kind_share_a_processor() {
    let mut dice = Random::new(3);
    let mut of_kind = || loop {
        let spec = generate::spec(&mut dice);
        if !spec["urlTemplatization"].is_null() {
            let mut spec: ActionSpec = serde_json::from_value(spec).unwrap();
            spec.signals = vec![Signal::Traces];
            break spec;
        }
    };
    let pairs: Vec<[ActionSpec; 2]> = (0..300).map(|_| [of_kind(), of_kind()]).collect();
    let mut changed = 0;
    for [first, second] in &pairs {
        let actions = [Action::new("b", first.clone()), Action::new("a", second.clone())];
        let known = report::known(&actions, &BTreeMap::new(), None, None, true);
        let steps = report::steps(&known);
        assert!(steps.len() <= 1, "{steps:?}");
        let usable: Vec<_> = known
            .iter()
            .filter(|one| one.step().is_some())
            .filter_map(|one| one.action.spec.url_templatization.as_ref())
            .collect();
        for _ in 0..10 {
            let item = generate::item(&mut dice);
            let (mut evaluated, mut interpreted) = (item.clone(), item.clone());
            url_paths::templated(&usable, &mut evaluated);
            if let ([step], Body::Span { .. }) = (&steps[..], &item.body) {
                assert_eq!(
                    (step.role, step.id.as_str()),
                    (CollectorRole::NodeCollector, "transform/actions/url-templatization")
                );
                interpreter::run(&printed::read(&step.settings), &mut interpreted);
            }
            assert_eq!(evaluated, interpreted, "{first:?} {second:?}");
            changed += usize::from(evaluated != item);
        }
    }
    assert!(changed > 100, "{changed}");
    let of = |templates: Vec<String>| {
        let kind = json!({"rules": templates.chunks(50).map(|some| json!({"templates": some})).collect::<Vec<_>>()});
        action("a", &json!({"signals": ["TRACES"], "urlTemplatization": kind}))
    };
    let many: Vec<Action> = (0..4)
        .map(|n| Action {
            metadata: Action::new(&format!("a{n}"), ActionSpec::default()).metadata,
            ..of((0..51).map(|m| format!("/{n}/{m}")).collect())
        })
        .collect();
    let known = report::known(&many, &BTreeMap::new(), None, None, false);
    let conditions = known[0].conditions(None);
    assert!(conditions[0].message.contains("204 path templates"), "{conditions:?}");
}

/// Rows 15 and 27: what Actions do one after another, in the order of their hints.
#[test]
fn rows_15_and_27_of_several_actions() {
    let one_after_another = |specs: &[Json], item: &Item| {
        let mut specs: Vec<&Json> = specs.iter().collect();
        specs.sort_by_key(|spec| compiled(spec).hint);
        specs.into_iter().fold(item.clone(), |item, spec| after(spec, &item))
    };
    let rename = json!({"signals": ["TRACES"], "renameAttribute": {"renames": {"a": "b"}}});
    let delete = json!({"signals": ["TRACES"], "deleteAttribute": {"attributeNamesToDelete": ["b"]}});
    let found = one_after_another(&[rename, delete], &span(&[("a", "1".into()), ("b", "2".into())]));
    assert_eq!(texts(&found), [("b", "1")], "row 15: deletions run first");
    let of = |category: &str| json!({"signals": ["TRACES"], "piiMasking": {"piiCategories": [category]}});
    let text = "a@b.io 123e4567-e89b-12d3-a456-426614174000";
    let found = one_after_another(&[of("EMAIL"), of("UUID")], &span(&[("t", text.into())]));
    assert_eq!(texts(&found), [("t", "***EMAIL*** ***UUID***")], "row 27");
}

/// Section 7, what is not to be copied: no statement fails a batch, whatever the kind, and templates are made before spans are measured.
#[test]
fn no_kind_fails_a_batch() {
    let mut dice = Random::new(9);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let spec = generate::spec(&mut dice);
        let Some(step) = compile(&action("a", &spec)).step else { continue };
        if let Settings::Transform(_) = step.settings {
            assert_eq!(step.settings.rendered()["error_mode"], "ignore", "{spec}");
            seen.insert(Kind::of(&action("a", &spec).spec));
        }
        assert!(step.hint < crate::processors::LATE_HINT, "before sampling and span metrics: {spec}");
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
    let paths = action("a", &json!({"signals": ["TRACES"], "urlTemplatization": {"default": [{}]}}));
    assert_eq!(shared::role(&paths.spec, true), CollectorRole::NodeCollector);
    assert_eq!(shared::role(&paths.spec, false), CollectorRole::ClusterGateway);
}

/// Each file of the samples is taken, and each kind has one.
#[test]
fn samples_hold_every_kind() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/samples/actions");
    let mut kinds = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for document in odigos_api::yaml::documents(&text) {
            let object: Action = serde_json::from_value(document.unwrap().value).unwrap();
            let reviewed = crate::admission::action::review(&object, None, "odigos-system");
            assert_eq!(reviewed, crate::admission::Review::default(), "{object:?}");
            assert!(compile(&object).step.is_some(), "{object:?}");
            kinds.insert(Kind::of(&object.spec).unwrap());
        }
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}

#[test]
fn golden_output_of_paths() {
    let defaults = json!({"signals": ["TRACES"], "urlTemplatization": {"default": [{}]}});
    let rendered = compiled(&defaults).settings.rendered();
    assert_eq!(rendered["error_mode"], "ignore");
    let statements: Vec<&str> =
        rendered["trace_statements"][1]["statements"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
    let expected = [
        r#"set(cache["t"], Concat(["/", cache["p"], "/"], ""))"#,
        r#"replace_pattern(cache["t"], "/", "//")"#,
        r#"replace_pattern(cache["t"], "/[0-9]{4}(?:-[0-9]{2}){2}(?:T[0-9]{2}(?::[0-9]{2}){1,2})?(?:Z|[-+][0-9]{4})?/", "/{date}/")"#,
        r#"replace_pattern(cache["t"], "/[^/]*\\d{7,}[^/]*/", "/{id}/")"#,
        r#"replace_pattern(cache["t"], "//", "/")"#,
    ];
    let found = expected.map(|wanted| statements.iter().position(|one| one.split(" where ").next() == Some(wanted)));
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{found:?}: {statements:#?}");
}

#[test]
fn rows_1_2_and_signals_are_refused() {
    assert_eq!(
        problems(&json!({"signals": ["TRACES"]})),
        ["spec: a kind is required, such as deleteAttribute; it holds none"],
        "row 1"
    );
    let two = json!({"signals": ["TRACES"], "deleteAttribute": {"attributeNamesToDelete": ["a"]}, "renameAttribute": {"renames": {"a": "b"}}});
    let named = "an Action holds exactly one kind, and this one holds deleteAttribute and renameAttribute; write one Action for each";
    assert_eq!(problems(&two), [format!("spec.renameAttribute: {named}")], "row 2");
    let none = json!({"signals": [], "deleteAttribute": {"attributeNamesToDelete": ["a"]}});
    assert!(problems(&none)[0].starts_with("spec.signals: it names no signal"));
    let wrong = json!({"signals": ["LOGS"], "piiMasking": {"piiCategories": ["EMAIL"]}});
    assert!(problems(&wrong)[0].contains("LOGS cannot be changed by this kind"));
    for (kind, settings) in [
        ("deleteAttribute", json!({"attributeNamesToDelete": []})),
        ("renameAttribute", json!({"renames": {}})),
        ("renameAttribute", json!({"renames": {"a": "a"}})),
        ("renameAttribute", json!({"renames": {"a": ""}})),
        ("addClusterInfo", json!({"clusterAttributes": []})),
        ("addClusterInfo", json!({"clusterAttributes": [{"attributeName": "a"}]})),
    ] {
        let found = compile(&action("a", &json!({"signals": ["TRACES"], kind: settings})));
        assert!(!found.problems.is_empty() && found.step.is_none(), "{kind} {settings}: {found:?}");
    }
    for names in [json!(["", "a"]), json!(["a", "a"]), json!(["odigos.version", "a"])] {
        let spec = json!({"signals": ["TRACES"], "deleteAttribute": {"attributeNamesToDelete": names}});
        assert_eq!(problems(&spec).len(), 1, "{spec}");
        assert_eq!(
            texts(&after(&spec, &span(&[("a", "x".into()), ("b", "y".into())]))),
            [("b", "y")],
            "the others are deleted"
        );
    }
    let off = json!({"signals": ["TRACES"], "disabled": true, "deleteAttribute": {"attributeNamesToDelete": ["a"]}});
    assert_eq!(compile(&action("a", &off)), Compiled::default());
}

/// What a gateway does not start with is left out, and its compilation is told as it is.
#[test]
fn an_action_that_is_set_aside_is_no_step() {
    let one = action("a", &json!({"signals": ["TRACES"], "deleteAttribute": {"attributeNamesToDelete": ["x"]}}));
    let set_aside = BTreeMap::from([(crate::quarantine::action_key("a"), "no such function".to_owned())]);
    let [known] = &report::known([&one], &set_aside, None, None, false)[..] else { panic!("it is one") };
    assert_eq!(known.step(), None);
    let [transformed, added] = &known.conditions(None)[..] else { panic!("there are two conditions") };
    assert!(transformed.message.contains("a transform processor"), "{transformed:?}");
    assert_eq!((transformed.reason.as_str(), added.reason.as_str()), ("ProcessorCreated", "ProcessorStartFailed"));
}

/// One Action must not take from others what all share: streams, room in the configuration, memory and time of gateways.
#[test]
fn what_would_harm_others_is_refused() {
    let of = |kind: &str, settings: Json| {
        let found = compile(&action("a", &json!({"signals": ["TRACES"], kind: settings})));
        assert!(!found.problems.is_empty(), "{kind}");
        found
    };
    for name in ["odigos.stream.class", "odigos.workload.name"] {
        assert!(of("deleteAttribute", json!({"attributeNamesToDelete": [name]})).step.is_none());
        assert!(of("renameAttribute", json!({"renames": {name: "x"}})).step.is_none());
        assert!(of("renameAttribute", json!({"renames": {"x": name}})).step.is_none());
        let added = json!({"clusterAttributes": [{"attributeName": name, "attributeStringValue": "v"}]});
        assert!(of("addClusterInfo", added).step.is_none());
        let extracted = json!({"extractions": [{"targetAttributeName": name, "regex": "(a)"}]});
        assert!(of("extractAttribute", extracted).step.is_none());
    }
    let many: std::collections::BTreeMap<String, &str> = (0..513).map(|number| (format!("a{number}"), "b")).collect();
    assert!(of("renameAttribute", json!({"renames": many})).step.is_none());
    // Deletions never fail open: those that fit are in force.
    let most =
        |count: usize| json!({"attributeNamesToDelete": (0..count).map(|n| format!("a{n}")).collect::<Vec<_>>()});
    assert!(compile(&action("a", &json!({"signals": ["TRACES"], "deleteAttribute": most(300)}))).problems.is_empty());
    let found = of("deleteAttribute", most(5000));
    assert!(found.problems[0].message.contains("of 5000 names are deleted"), "{:?}", found.problems);
    let size = found.step.unwrap().settings.rendered().to_string().len();
    assert!((60 << 10..=64 << 10).contains(&size), "{size}");
    assert!(of("deleteAttribute", json!({"attributeNamesToDelete": ["x".repeat(257)]})).step.is_none());
    for regex in ["(\\*)", "([^a]+)", "(a|)", "(.{0,500}.{0,500}x)"] {
        let found = of("piiMasking", json!({"customRegexMaskings": [{"regex": regex}]}));
        assert!(found.step.is_none(), "{regex}");
    }
    for (pattern, template) in
        [("(.+)", &*"${1}".repeat(9)), ("((a)|b)+", "${1}${2}"), ("(a*)", "x"), ("(.+)", &*"x".repeat(1025))]
    {
        let replacement = json!({"regexPattern": pattern, "templateText": template});
        of(
            "spanRenamer",
            json!({"programmingLanguage": "java", "scopeName": "lib", "regexReplacements": [replacement]}),
        );
    }
    let long: Vec<Json> = (0..64)
        .map(|n| json!({"targetAttributeName": format!("t{n}"), "regex": format!("({})", "x".repeat(500))}))
        .collect();
    let found = of("extractAttribute", json!({"extractions": long}));
    assert!(found.step.is_none() && found.problems[0].message.contains("KiB"), "{:?}", found.problems);
    let off = json!({"signals": ["TRACES"], "disabled": true, "deleteAttribute": {"attributeNamesToDelete": []}});
    assert!(report::findings(&action("a", &off)).iter().all(|one| one.severity == odigos_api::Severity::Warning));
    let blind = json!({"signals": ["TRACES"], "renameAttribute": {"renames": {"k8s.namespace.name": "ns"}}});
    assert!(report::findings(&action("a", &blind))[0].message.contains("match nothing"));
    let nameless = json!({"signals": ["TRACES"], "renameAttribute": {"renames": {"service.name": "service"}}});
    assert!(report::findings(&action("a", &nameless))[0].message.contains("TraceCut"));
    let mask = json!({"signals": ["TRACES"], "dataStreams": [], "piiMasking": {"piiCategories": ["EMAIL"]}});
    let said: Vec<String> = report::findings(&action("a", &mask)).into_iter().map(|one| one.message).collect();
    assert!(
        said.iter().any(|one| one.contains("within lists")) && said.iter().any(|one| one.contains("the list is empty")),
        "{said:?}"
    );
    let query = json!({"signals": ["TRACES"], "dbQueryTemplatization": {"templatizeLiterals": true}});
    assert!(report::findings(&action("a", &query))[0].message.contains("no dialect of SQL"));
}

/// 10,000 random Actions and items: what the compiled settings do is what the rules say; a broken Action changes nothing, and one with
/// a broken rule does what its others say.
#[test]
fn compiler_and_evaluator_agree() {
    let mut dice = Random::new(7);
    let (mut changed, mut broken) = (0, 0);
    for _ in 0..10_000 {
        let (spec, item) = (generate::spec(&mut dice), generate::item(&mut dice));
        let found = compile(&action("a", &spec));
        if found.step.is_none() {
            broken += 1;
            assert!(!found.problems.is_empty(), "nothing is ignored in silence: {spec}");
            continue;
        }
        changed += usize::from(after(&spec, &item) != item);
        let (first, second) = (found.step, compile(&action("a", &spec)).step);
        assert_eq!(first.map(|one| one.settings.rendered()), second.map(|one| one.settings.rendered()));
    }
    assert!(changed > 800 && broken > 500, "{changed} changed, {broken} broken");
}
