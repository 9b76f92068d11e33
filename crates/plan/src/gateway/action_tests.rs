//! Where Actions stand in the gateway's pipelines, what takes the place of those that cannot be carried out, and which destinations get
//! several versions of an item (rows 51 and 52 of `spec/actions-and-rules.md` 6).

use super::tests::{Given, class, exporters, jaeger, otlp, row};
use super::*;
use crate::actions::scopes::{JUDGE, REMOVE};
use crate::covered::CoveredNames;
use crate::fixtures::processor;
use crate::quarantine::action_key;
use odigos_api::condition::Status;
use odigos_api::labels::STREAM_CLASS;
use odigos_pipeline::PipelineId;
use serde_json::Value;

fn action(name: &str, streams: &[&str], mut spec: Value) -> Action {
    spec["signals"] = json!(["TRACES"]);
    if !streams.is_empty() {
        spec["dataStreams"] = json!(streams);
    }
    let metadata = json!({"name": name, "namespace": "odigos-system"});
    let object = json!({"apiVersion": odigos_api::API_VERSION, "kind": "Action", "metadata": metadata, "spec": spec});
    serde_json::from_value(object).unwrap()
}

fn deletes(name: &str, streams: &[&str]) -> Action {
    action(name, streams, json!({"deleteAttribute": {"attributeNamesToDelete": ["user.id"]}}))
}

fn renames(name: &str, streams: &[&str]) -> Action {
    action(name, streams, json!({"renameAttribute": {"renames": {"user.id": "user"}}}))
}

/// Destinations of the streams a, b and c each, and one that all three share.
fn given() -> Given {
    let of = |name: &str, streams: &[&str]| otlp(name, &["TRACES"], json!({"dataStreams": streams}));
    Given::new(vec![of("da", &["a"]), of("db", &["b"]), of("dc", &["c"]), of("shared", &["a", "b", "c"])]).classes(&[
        &["a"],
        &["b"],
        &["a", "b"],
        &["a", "b", "c"],
    ])
}

/// The processors of users in a pipeline.
fn of(plan: &GatewayPlan, name: &str) -> Vec<String> {
    let all = &plan.config.pipelines[&PipelineId::new(Signal::Traces, name)].processors;
    all.iter().filter(|id| id.contains("/action/") || id.starts_with("resource/p-")).cloned().collect()
}

fn condition<'a>(plan: &'a GatewayPlan, name: &str, kind: &str) -> &'a ConditionDraft {
    plan.actions[name].iter().find(|one| one.kind == kind).unwrap()
}

/// A mask with a rule that cannot be compiled, beside one that can.
fn broken_mask(policy: Option<&str>, streams: &[&str], scopes: &Value) -> Action {
    let mut spec = json!({"piiMasking": {
        "scopes": scopes, "piiCategories": ["EMAIL"], "customRegexMaskings": [{"regex": "no group"}],
    }});
    if let Some(policy) = policy {
        spec["failurePolicy"] = json!(policy);
    }
    action("mask", streams, spec)
}

#[test]
fn masking_that_cannot_be_compiled_drops_its_items_where_that_is_wanted() {
    let shop = json!({"namespaces": ["shop"]});
    let mut given = given();
    given.actions = vec![broken_mask(None, &["a"], &shop)];
    let plan = given.plan();
    assert_eq!(of(&plan, "stream.a"), ["transform/action/mask"], "the other rule stays in force");
    let transformed = condition(&plan, "mask", kind::TRANSFORMED);
    assert_eq!((transformed.status, transformed.reason.as_str()), (Status::False, "InvalidAction"));
    assert!(transformed.message.contains("failurePolicy is ignore: items pass without the rest"), "{transformed:?}");

    given.actions = vec![broken_mask(Some("drop"), &["a"], &shop)];
    let plan = given.plan();
    assert_eq!((of(&plan, "stream.a"), of(&plan, "stream.b")), (vec!["filter/action/mask".to_owned()], vec![]));
    let settings = plan.config.get(ComponentKind::Processor, "filter/action/mask").unwrap();
    assert_eq!(settings["error_mode"], "propagate");
    let dropped = settings["traces"]["span"][0].as_str().unwrap();
    let flag = dropped.strip_suffix(r#" == "1""#).unwrap();
    let judged = plan.config.get(ComponentKind::Processor, JUDGE).unwrap()["trace_statements"][0].clone();
    let statement = format!(r#"set({flag}, "1") where resource.attributes["k8s.namespace.name"] == "shop""#);
    assert_eq!(judged, json!({"context": "resource", "statements": [statement]}));
    let transformed = condition(&plan, "mask", kind::TRANSFORMED);
    assert_eq!(transformed.status, Status::False);
    let expected = "failurePolicy is drop: TRACES of the data streams a within its scopes are not exported until it can be carried out";
    assert!(transformed.message.contains(expected), "{transformed:?}");
    let added = condition(&plan, "mask", kind::ADDED_TO_COLLECTOR);
    assert_eq!((added.status, added.reason.as_str()), (Status::False, "ItemsDropped"), "{added:?}");
    assert!(crate::actions::report::findings(&given.actions[0]).iter().any(|one| one.message.contains(expected)));

    // A scope that cannot be read may be for anything.
    given.actions = vec![broken_mask(Some("drop"), &[], &json!({"namespaces": [""]}))];
    let plan = given.plan();
    let settings = plan.config.get(ComponentKind::Processor, "filter/action/mask").unwrap();
    assert_eq!(settings["traces"]["span"], json!(["true"]));
    assert_eq!(of(&plan, "in"), ["filter/action/mask"]);
    given.actions[0].spec.disabled = Some(true);
    assert_eq!(of(&given.plan(), "in"), Vec::<String>::new());
}

#[test]
fn masking_that_a_collector_refused_drops_its_items_where_that_is_wanted() {
    let mut given = given();
    let mask = |policy: Value| {
        action("mask", &["a"], json!({"failurePolicy": policy, "piiMasking": {"piiCategories": ["UUID"]}}))
    };
    given.set_aside.insert(action_key("mask"), "bad regexp".into());
    given.actions = vec![mask(Value::Null)];
    let plan = given.plan();
    assert_eq!(of(&plan, "stream.a"), Vec::<String>::new());
    let said = &condition(&plan, "mask", kind::ADDED_TO_COLLECTOR).message;
    assert!(
        said.contains("bad regexp. Nothing of it is in force; failurePolicy is ignore: items pass as they are"),
        "{said}"
    );
    given.actions = vec![mask(json!("drop"))];
    let plan = given.plan();
    assert_eq!(of(&plan, "stream.a"), ["filter/action/mask"]);
    let added = condition(&plan, "mask", kind::ADDED_TO_COLLECTOR);
    assert_eq!(added.reason, "ProcessorStartFailed");
    assert!(
        added.message.contains("bad regexp. failurePolicy is drop: TRACES of the data streams a are not exported"),
        "{added:?}"
    );
    assert!(plan.findings.iter().any(|one| one.message == added.message), "render tells it");
    assert!(!plan.processor_components.contains_key("filter/action/mask"), "it is never taken for what does not start");
    given.set_aside.clear();
    let said = &condition(&given.plan(), "mask", kind::TRANSFORMED).message.clone();
    assert!(
        said.contains("failurePolicy is drop: if it could not be carried out, items would not be exported"),
        "{said}"
    );
}

#[test]
fn rows_51_and_52_hints_ascend_over_all_streams_and_one() {
    let mut given = given();
    given.actions = vec![deletes("del", &["a"])];
    given.processors = vec![processor("p-late", 12), processor("p-early", -200)];
    let plan = given.plan();
    // What is for all streams and comes after the deletion is in the pipelines of all of them, what comes before is not.
    assert_eq!(of(&plan, "in"), ["resource/p-early"]);
    assert_eq!(of(&plan, "stream.a"), ["transform/action/del", "resource/p-late"]);
    assert_eq!(of(&plan, "stream.b"), ["resource/p-late"]);
    assert_eq!(of(&plan, "stream.c"), ["resource/p-late"]);

    given.processors.clear();
    given.actions = vec![deletes("del", &["a"]), renames("ren", &[]), renames("also", &["a"])];
    let plan = given.plan();
    assert_eq!(of(&plan, "in"), Vec::<String>::new());
    // Of equal hints what is for all streams comes first, whatever its name.
    assert_eq!(of(&plan, "stream.a"), ["transform/action/del", "transform/action/ren", "transform/action/also"]);
    assert_eq!(of(&plan, "stream.b"), ["transform/action/ren"]);

    // What stands before what streams have of their own stays where it costs least.
    given.actions = vec![deletes("del", &[]), renames("ren", &["a"])];
    let plan = given.plan();
    assert_eq!((of(&plan, "in"), of(&plan, "stream.b")), (vec!["transform/action/del".to_owned()], vec![]));
    // A stream that no destination takes lowers nothing.
    given.actions = vec![deletes("del", &["nowhere"]), renames("ren", &[])];
    assert_eq!(of(&given.plan(), "in"), ["transform/action/ren"]);
}

#[test]
fn shared_destination_gets_one_version_of_each_treatment() {
    let mut given = given();
    given.actions = vec![deletes("del", &["c"])];
    let plan = given.plan();
    let all = class(&["a", "b", "c"]);
    // a and b treat items alike, so they are one; c is another.
    assert_eq!(row(&plan, "traces", &all), json!([format!("traces/class.{all}"), "traces/stream.c"]));
    let ids = |names: &[&str]| names.iter().map(|name| format!("forward/traces/generic-{name}")).collect::<Vec<_>>();
    assert_eq!(exporters(&plan, Signal::Traces, &format!("class.{all}")), ids(&["da", "db", "shared"]));
    let said = &condition(&plan, "del", kind::ADDED_TO_COLLECTOR).message;
    let expected = "Workloads are in the data streams a and b and c, which share the Destination shared and treat TRACES differently: it receives the version of each stream, also of items that no Action or Processor of them changes";
    assert!(said.contains(expected), "{said}");
    assert!(
        plan.findings.iter().any(|one| one.object.ends_with("/del") && one.message == expected),
        "{:?}",
        plan.findings
    );

    // Where all treat it alike, it arrives once, and nothing is said.
    given.actions = vec![deletes("del", &["a", "b", "c"])];
    let plan = given.plan();
    assert_eq!(row(&plan, "traces", &all), json!([format!("traces/class.{all}")]));
    assert!(!condition(&plan, "del", kind::ADDED_TO_COLLECTOR).message.contains("version"));

    given.actions.clear();
    let mut one = processor("p-one", 0);
    one.spec.data_streams = Some(vec!["a".into()]);
    given.processors = vec![one];
    let plan = given.plan();
    assert!(
        plan.processors["p-one"].message.contains("share the Destination shared"),
        "{:?}",
        plan.processors["p-one"]
    );
}

/// Rows 15, 16, 47 and 48 of `spec/actions-and-rules.md` 6: Actions and Processors stand in one order, by hint and name.
#[test]
fn actions_and_processors_stand_in_one_order() {
    let mut given = Given::new(vec![jaeger("d-1", Value::Null)]);
    given.actions = vec![
        action("z-rename", &[], json!({"renameAttribute": {"renames": {"a": "b"}}})),
        action("a-delete", &[], json!({"deleteAttribute": {"attributeNamesToDelete": ["b"]}})),
        action("m-mask", &[], json!({"piiMasking": {"piiCategories": ["EMAIL"]}})),
        action("k-query", &[], json!({"dbQueryTemplatization": {"templatizeLiterals": true}})),
        action("paths", &[], json!({"urlTemplatization": {"default": [{}]}})),
    ];
    given.processors = vec![processor("late", 12), processor("b", 0), processor("a", 0), processor("early", -5)];
    let own = |plan: &GatewayPlan| -> Vec<String> {
        let all = &plan.config.pipelines[&PipelineId::new(Signal::Traces, "in")].processors;
        let is_own = |id: &&String| {
            id.contains("/action") || ["late", "b", "a", "early"].iter().any(|name| id.ends_with(&format!("/{name}")))
        };
        all.iter().filter(is_own).map(|id| id.rsplit('/').next().unwrap().to_owned()).collect()
    };
    let expected = ["a-delete", "z-rename", "early", "a", "b", "k-query", "m-mask", "url-templatization", "late"];
    assert_eq!(
        own(&given.plan()),
        expected,
        "deletions before renames (row 15); a Processor with a higher hint after both (row 16)"
    );
    given.actions[2].spec.disabled = Some(true);
    let plan = given.plan();
    assert!(!own(&plan).contains(&"m-mask".to_owned()), "row 47");
    let reasons: Vec<&str> = plan.actions["m-mask"].iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(reasons, ["ActionDisabled", "ConfigRemovedDisabled"], "row 47");
    assert!(plan.config.get(ComponentKind::Processor, "transform/action/m-mask").is_none());
    let mut nodes = given.seen();
    nodes.senders.measures_spans = true;
    let plan = super::plan(&nodes);
    assert!(!own(&plan).contains(&"url-templatization".to_owned()), "node collectors run it before they measure spans");
    assert!(!plan.actions.contains_key("paths"), "whose conditions are theirs");
}

/// A scope is judged before anything of a user can change what it looks at, and what was judged leaves with no item.
#[test]
fn no_action_or_processor_switches_a_scope_off() {
    let mut given = given();
    let mask = |streams: &[&str]| {
        action(
            "mask",
            streams,
            json!({"failurePolicy": "drop", "piiMasking": {"scopes": {"namespaces": ["shop"]}, "piiCategories": ["EMAIL"]}}),
        )
    };
    let namespace = "k8s.namespace.name";
    given.actions = vec![
        mask(&[]),
        action("del", &[], json!({"deleteAttribute": {"attributeNamesToDelete": [namespace]}})),
        action("ren", &[], json!({"renameAttribute": {"renames": {"a": namespace}}})),
    ];
    given.processors = vec![processor("p-early", -200)];
    let users = |plan: &GatewayPlan, name: &str| -> Vec<String> {
        let all = &plan.config.pipelines[&PipelineId::new(Signal::Traces, name)].processors;
        all.iter().filter(|id| id.contains("/action") || id.starts_with("resource/p-")).cloned().collect()
    };
    let plan = given.plan();
    let expected = [JUDGE, "resource/p-early", "transform/action/del", "transform/action/ren", "transform/action/mask"];
    assert_eq!(users(&plan, "in"), expected);
    for stream in ["stream.a", "stream.b"] {
        assert_eq!(users(&plan, stream), [REMOVE], "the last of them");
    }
    let settings = plan.config.get(ComponentKind::Processor, "transform/action/mask").unwrap();
    assert!(!settings.to_string().contains(namespace), "{settings}");
    assert_eq!(settings["error_mode"], "propagate", "a statement that fails lets no item pass");
    let said = crate::actions::report::findings(&given.actions[2]);
    assert!(said.iter().any(|one| one.message.contains("sampling rules look at k8s.namespace.name")), "{said:?}");

    given.actions = vec![mask(&["a"])];
    let plan = given.plan();
    assert_eq!(users(&plan, "in"), [JUDGE, "resource/p-early"]);
    assert_eq!(users(&plan, "stream.a"), ["transform/action/mask", REMOVE]);
    given.actions = vec![renames("ren", &[])];
    let plan = given.plan();
    assert!(plan.config.get(ComponentKind::Processor, JUDGE).is_none(), "nothing is judged where nothing has a scope");
}

/// Workloads of the namespace `shop` in the class of some streams.
fn covered(streams: &[&str]) -> CoveredNames {
    let mut covered = CoveredNames::default();
    covered.add("shop", "deployment-web", Some(&[(STREAM_CLASS.to_owned(), class(streams))].into()));
    covered
}

/// What counts is what streams do to the items of a class, not whose Action it is.
#[test]
fn streams_that_do_the_same_to_a_class_deliver_once() {
    let mut given = given().classes(&[&["a"], &["b"], &["a", "b"]]);
    let mask = |namespace: &str| {
        action(
            "mask",
            &["a"],
            json!({"piiMasking": {"scopes": {"namespaces": [namespace]}, "piiCategories": ["EMAIL"]}}),
        )
    };
    let both = class(&["a", "b"]);
    let joint = format!("class.{both}");
    given.rules.covered = Some(covered(&["a", "b"]));
    given.actions = vec![mask("elsewhere")];
    let plan = given.plan();
    assert_eq!(row(&plan, "traces", &both), json!([format!("traces/{joint}")]));
    assert_eq!(of(&plan, &joint), ["transform/action/mask"], "whoever joins the class is masked at once");
    assert!(!condition(&plan, "mask", kind::ADDED_TO_COLLECTOR).message.contains("version"));
    // Of workloads that are in the scope each stream has its version.
    given.actions = vec![mask("shop")];
    let plan = given.plan();
    assert_eq!(row(&plan, "traces", &both), json!(["traces/stream.a", "traces/stream.b"]));
    assert!(condition(&plan, "mask", kind::ADDED_TO_COLLECTOR).message.contains("also of items that no Action"));
    // Where nothing is known of the class, it may be in the scope.
    given.rules.covered = None;
    given.actions = vec![mask("elsewhere")];
    assert_eq!(row(&given.plan(), "traces", &both), json!(["traces/stream.a", "traces/stream.b"]));

    given.actions = vec![deletes("one", &["a"]), deletes("two", &["b"])];
    let plan = given.plan();
    assert_eq!(row(&plan, "traces", &both), json!([format!("traces/{joint}")]));
    assert_eq!(of(&plan, &joint), ["transform/action/one"]);
    assert!(!condition(&plan, "one", kind::ADDED_TO_COLLECTOR).message.contains("version"));
    given.actions = vec![deletes("one", &["a"]), renames("two", &["b"])];
    assert_eq!(row(&given.plan(), "traces", &both), json!(["traces/stream.a", "traces/stream.b"]));
}

/// Signals that a kind cannot change are no reason to hold back those that it can, and a rule with a scope drops nothing outside of it.
#[test]
fn drop_holds_back_what_the_action_is_for() {
    let mut given = given();
    let mut mask = action("mask", &[], json!({"failurePolicy": "drop", "piiMasking": {"piiCategories": ["EMAIL"]}}));
    mask.spec.signals = vec![Signal::Traces, Signal::Logs];
    given.actions = vec![mask];
    let plan = given.plan();
    assert_eq!(of(&plan, "in"), ["transform/action/mask"]);
    let transformed = condition(&plan, "mask", kind::TRANSFORMED);
    assert_eq!((transformed.status, transformed.reason.as_str()), (Status::False, "InvalidAction"), "{transformed:?}");

    let rules = json!([{"scopes": {"namespaces": ["other"]}, "templates": ["/a*"]}]);
    given.actions = vec![action("url", &[], json!({"failurePolicy": "drop", "urlTemplatization": {"rules": rules}}))];
    let plan = given.plan();
    let settings = plan.config.get(ComponentKind::Processor, "filter/action/url").unwrap();
    assert!(
        settings["traces"]["span"][0].as_str().unwrap().starts_with(r#"resource.attributes["odigos.scope."#),
        "{settings}"
    );

    let mut deletion = deletes("del", &[]);
    deletion.spec.signals = vec![Signal::Traces, Signal::Profiles];
    deletion.spec.failure_policy = Some(odigos_api::action::FailurePolicy::Drop);
    given.actions = vec![deletion];
    let plan = given.plan();
    assert_eq!(of(&plan, "in"), ["transform/action/del"]);
    let transformed = condition(&plan, "del", kind::TRANSFORMED);
    assert!(transformed.status == Status::True && transformed.message.contains("PROFILES"), "{transformed:?}");
}
