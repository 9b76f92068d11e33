//! What is written for which Sources that exist, and the tables, beside the objects that they are made from.

use super::change::{Action, Change, Plan, Target, plan, words};
use super::*;
use odigos_api::{WorkloadKind, WorkloadRef};
use odigos_plan::configuration::Configuration;
use odigos_plan::coverage::scope::Scope;

fn cart() -> Target {
    Target::Workload(WorkloadRef::new("shop", WorkloadKind::Deployment, "cart"))
}

fn source(name: &str, kind: &str, target: &str, overlay: Value) -> Source {
    let mut object = json!({
        "apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"workload": {"kind": kind, "name": target, "namespace": "shop"}},
    });
    json_merge(&mut object, &overlay);
    serde_json::from_value(object).unwrap()
}

fn json_merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                json_merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn excluded() -> Value {
    json!({"spec": {"disableInstrumentation": true}})
}

fn in_streams(streams: &[(&str, &str)]) -> Value {
    let labels: serde_json::Map<String, Value> =
        streams.iter().map(|(name, value)| (format!("odigos.io/data-stream-{name}"), json!(value))).collect();
    json!({"metadata": {"labels": labels}})
}

fn namespace(overlay: Value) -> Source {
    source("all", "Namespace", "shop", overlay)
}

fn planned(target: &Target, action: Action, streams: &[&str], all: &[Source]) -> Plan {
    let streams: Vec<String> = streams.iter().map(|&one| one.to_owned()).collect();
    plan(target, action, &streams, all, &scope("{}")).unwrap()
}

fn scope(configuration: &str) -> Scope {
    Scope::of(&Configuration::parse(configuration).unwrap(), "odigos-system")
}

/// The change in short: what is done to which object, and its spec and labels.
fn short(plan: &Plan) -> String {
    match &plan.change {
        Change::Nothing => format!("nothing: {}", plan.why),
        Change::Create(object) => {
            let excluded = if object["spec"]["disableInstrumentation"] == true { " excluded" } else { "" };
            let labels = object["metadata"].get("labels").map(|labels| format!(" {labels}")).unwrap_or_default();
            format!(
                "create {}/{}{excluded}{labels}",
                object["spec"]["workload"]["kind"].as_str().unwrap(),
                object["spec"]["workload"]["name"].as_str().unwrap()
            )
        }
        Change::Patch { name, patch } => format!("patch {name} {patch}"),
        Change::Delete { name } => format!("delete {name}"),
    }
}

#[test]
fn asking_for_a_workload() {
    let own = |overlay: Value| source("own", "Deployment", "cart", overlay);
    let label = |value: &str| format!(r#"{{"odigos.io/data-stream-a":{value}}}"#);
    for (all, streams, expected) in [
        (vec![], &[][..], "create Deployment/cart".to_owned()),
        (vec![], &["a"], format!("create Deployment/cart {}", label(r#""true""#))),
        (vec![source("other", "StatefulSet", "cart", json!({}))], &[], "create Deployment/cart".into()),
        (
            vec![namespace(json!({}))],
            &[],
            "nothing: Source all of the namespace covers Deployment shop/cart already".into(),
        ),
        (vec![namespace(excluded())], &[], "create Deployment/cart".into()),
        (
            vec![namespace(in_streams(&[("a", "true")]))],
            &["a"],
            "nothing: Source all of the namespace covers Deployment shop/cart already".into(),
        ),
        (vec![namespace(json!({}))], &["a"], format!("create Deployment/cart {}", label(r#""true""#))),
        (vec![own(json!({}))], &[], "nothing: Source own asks for Deployment shop/cart already".into()),
        (vec![own(excluded())], &[], r#"patch own {"spec":{"disableInstrumentation":false}}"#.into()),
        (vec![own(json!({}))], &["a"], format!(r#"patch own {{"metadata":{{"labels":{}}}}}"#, label(r#""true""#))),
        (
            vec![own(in_streams(&[("a", "false")]))],
            &["a"],
            format!(r#"patch own {{"metadata":{{"labels":{}}}}}"#, label(r#""true""#)),
        ),
    ] {
        let plan = planned(&cart(), Action::Enable, streams, &all);
        assert_eq!(short(&plan), expected, "{all:?} {streams:?}");
        assert!(plan.is_covered_after);
    }
}

#[test]
fn taking_a_workload_back() {
    let own = |overlay: Value| source("own", "Deployment", "cart", overlay);
    let both = in_streams(&[("a", "true"), ("b", "true")]);
    for (all, streams, expected, covered) in [
        (vec![], &[][..], "nothing: no Source covers Deployment shop/cart", false),
        (vec![namespace(json!({}))], &[], "create Deployment/cart excluded", false),
        (vec![own(json!({}))], &[], "delete own", false),
        (vec![own(json!({})), namespace(excluded())], &[], "delete own", false),
        (
            vec![own(json!({})), namespace(json!({}))],
            &[],
            r#"patch own {"spec":{"disableInstrumentation":true}}"#,
            false,
        ),
        (
            vec![own(excluded()), namespace(json!({}))],
            &[],
            "nothing: Source own excludes Deployment shop/cart already",
            false,
        ),
        // Out of one stream of two; out of the only one; out of one of the namespace.
        (
            vec![own(both.clone())],
            &["a"],
            r#"patch own {"metadata":{"labels":{"odigos.io/data-stream-a":null}}}"#,
            true,
        ),
        (vec![own(both.clone())], &["a", "b"], "delete own", false),
        (vec![own(both.clone())], &["c"], "nothing: Deployment shop/cart is in none of the stream c", true),
        (vec![namespace(both.clone())], &["a"], r#"create Deployment/cart {"odigos.io/data-stream-a":"false"}"#, true),
        (vec![namespace(both.clone())], &["a", "b"], "create Deployment/cart excluded", false),
        (
            vec![namespace(both), own(in_streams(&[("c", "true")]))],
            &["a"],
            r#"patch own {"metadata":{"labels":{"odigos.io/data-stream-a":"false"}}}"#,
            true,
        ),
    ] {
        let plan = planned(&cart(), Action::Disable, streams, &all);
        assert_eq!(short(&plan), expected, "{all:?} {streams:?}");
        assert_eq!(plan.is_covered_after, covered, "{expected}");
    }
    let named = own(json!({"spec": {"otelServiceName": "shop-cart"}}));
    assert!(planned(&cart(), Action::Disable, &[], &[named]).notes[0].contains("service name"));
}

#[test]
fn namespaces_and_what_cannot_be_done_from_here() {
    let shop = Target::Namespace("shop".into());
    let own = |overlay: Value| source("own", "Deployment", "cart", overlay);
    assert_eq!(short(&planned(&shop, Action::Enable, &[], &[])), "create Namespace/shop");
    assert_eq!(short(&planned(&shop, Action::Disable, &[], &[namespace(json!({}))])), "delete all");
    assert_eq!(
        short(&planned(&shop, Action::Enable, &[], &[namespace(excluded())])),
        r#"patch all {"spec":{"disableInstrumentation":false}}"#
    );
    let plan = planned(&shop, Action::Enable, &[], &[own(excluded())]);
    assert_eq!(plan.notes, ["By Sources of their own stay excluded: Deployment cart."]);
    let plan = planned(&shop, Action::Disable, &[], &[namespace(json!({})), own(json!({}))]);
    assert_eq!(plan.notes, ["By Sources of their own stay covered: Deployment cart."]);
    let pattern = source("some", "Deployment", "^ca", json!({"spec": {"matchWorkloadNameAsRegex": true}}));
    assert_eq!(
        short(&planned(&cart(), Action::Enable, &[], std::slice::from_ref(&pattern))),
        "nothing: Source some asks for it by a pattern already"
    );
    let refused = |action: Action, streams: &[&str], all: &[Source]| {
        let streams: Vec<String> = streams.iter().map(|&one| one.to_owned()).collect();
        plan_error(&cart(), action, &streams, all)
    };
    assert!(
        refused(Action::Disable, &[], std::slice::from_ref(&pattern))
            .contains("and others too; edit or delete that Source")
    );
    assert!(
        refused(Action::Enable, &[], &[own(json!({})), pattern])
            .contains("several Sources select Deployment shop/cart: own, some")
    );
    assert!(refused(Action::Enable, &["a b"], &[]).contains("no name of a data stream"));
    // One that is on its way out counts no more.
    let going = own(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    assert_eq!(short(&planned(&cart(), Action::Enable, &[], &[going])), "create Deployment/cart");
}

fn plan_error(target: &Target, action: Action, streams: &[String], all: &[Source]) -> String {
    plan(target, action, streams, all, &scope("{}")).unwrap_err().to_string()
}

#[test]
fn a_dry_run_shows_the_object_and_the_pods() {
    let plan = planned(&cart(), Action::Enable, &["checkout"], &[]);
    let expected = r#"would create Source in shop: asks for Deployment shop/cart
apiVersion: odigos.io/v1alpha1
kind: Source
metadata:
  generateName: source-
  labels:
    odigos.io/data-stream-checkout: "true"
  namespace: shop
spec:
  workload:
    kind: Deployment
    name: cart
    namespace: shop
3 pods are made anew by a rolling restart, once agents are decided
"#;
    assert_eq!(words(&plan, true, 3), expected);
    assert_eq!(
        words(&planned(&cart(), Action::Disable, &[], &[]), true, 3),
        "Nothing to do: no Source covers Deployment shop/cart.\n"
    );
    let gone = planned(&cart(), Action::Disable, &[], &[source("own", "Deployment", "cart", json!({}))]);
    let expected = "deleted Source own: no longer asks for Deployment shop/cart\n1 pod is made anew by a rolling restart, if it carries agents\n";
    assert_eq!(words(&gone, false, 1), expected);
}

fn config(namespace: &str, name: &str, enabled: bool, conditions: &[(&str, &str, &str)]) -> InstrumentationConfig {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(kind, status, reason)| {
            json!({"type": kind, "status": status, "reason": reason, "message": "words", "lastTransitionTime": "2026-03-01T11:00:00Z"})
        })
        .collect();
    serde_json::from_value(json!({
        "apiVersion": API_VERSION, "kind": "InstrumentationConfig", "metadata": {"name": name, "namespace": namespace},
        "spec": {"agentInjectionEnabled": enabled}, "status": {"conditions": conditions},
    }))
    .unwrap()
}

const READY: [(&str, &str, &str); 3] = [
    ("AgentEnabled", "True", "EnabledSuccessfully"),
    ("WorkloadRollout", "True", "RolloutFinished"),
    ("PodsManifestInjection", "True", "PodsAppliedSuccessfully"),
];
const NONE: [(&str, &str, &str); 1] = [("AgentEnabled", "False", "NoAvailableAgent")];

#[test]
fn the_list() {
    let sources = [
        source("own", "Deployment", "db", excluded()),
        namespace(in_streams(&[("checkout", "true"), ("old", "false")])),
        source(
            "pays",
            "StatefulSet",
            "^pay-",
            json!({"spec": {"matchWorkloadNameAsRegex": true}, "status": {"conditions": [
                {"type": "Accepted", "status": "False", "reason": "InvalidPattern", "message": "", "lastTransitionTime": "2026-03-01T11:00:00Z"},
            ]}}),
        ),
    ];
    let configs = [config("shop", "deployment-cart", true, &READY), config("shop", "statefulset-pay-a", false, &NONE)];
    let rows = table::rows(&sources, &configs);
    let expected = "\
NAMESPACE  NAME  KIND         SELECTS  STREAMS   STATE           AGENTS
shop       all   Namespace    shop     checkout  enabled            1/2
shop       own   Deployment   db       -         excluded           0/0
shop       pays  StatefulSet  ~^pay-   -         InvalidPattern     0/1
";
    assert_eq!(table::list(&rows), expected);
    assert!(table::list(&[]).starts_with("There is no Source."));
}

#[test]
fn the_status() {
    let configs = [
        config("shop", "deployment-a", true, &READY),
        config("shop", "deployment-b", false, &NONE),
        config("web", "deployment-c", false, &NONE),
        config(
            "web",
            "deployment-d",
            true,
            &[
                READY[0],
                ("WorkloadRollout", "True", "Disabled"),
                ("PodsManifestInjection", "False", "RestartRequiredAutoRolloutDisabled"),
            ],
        ),
    ];
    let expected = "\
4 workloads covered in 2 namespaces, 3 blocked

CONDITION              REASON                              WORKLOADS  WHICH
AgentEnabled           NoAvailableAgent                            2  Deployment shop/b, Deployment web/c
AgentEnabled           EnabledSuccessfully                         2
WorkloadRollout        Disabled                                    1
WorkloadRollout        RolloutFinished                             1
PodsManifestInjection  RestartRequiredAutoRolloutDisabled          1  Deployment web/d
PodsManifestInjection  PodsAppliedSuccessfully                     1

To do  NoAvailableAgent: follow the message, or leave it uncovered
       RestartRequiredAutoRolloutDisabled: kubectl rollout restart deployment/d -n web
";
    let shown = table::status(&table::summary(&configs, false));
    assert_eq!(shown, expected, "\n{shown}");
    assert_eq!(table::summary(&configs, true).reasons.len(), 2);
    let well = table::summary(&configs[..1], true);
    assert_eq!(
        (well.blocked, table::status(&well)),
        (0, "1 workload covered in 1 namespace, nothing is blocked\n".into())
    );
}

#[test]
fn waiting_ends_by_what_the_objects_say() {
    use super::wait::{Progress, judge};
    let waiting = [
        READY[0],
        ("WorkloadRollout", "True", "WaitingInQueue"),
        ("PodsManifestInjection", "Unknown", "WaitingInRolloutQueue"),
    ];
    let one = |conditions: &[(&str, &str, &str)]| vec![config("shop", "deployment-cart", true, conditions)];
    assert_eq!(judge(&cart(), true, &one(&READY), &[]), Progress::Done("Deployment shop/cart is instrumented".into()));
    let goes = |progress: Progress| matches!(progress, Progress::Goes(_));
    assert!(goes(judge(&cart(), true, &[], &[])) && goes(judge(&cart(), true, &one(&[]), &[])));
    let line = Progress::Goes("0 of 1 ready; Deployment shop/cart: WaitingInRolloutQueue".into());
    assert_eq!(judge(&cart(), true, &one(&waiting), &[]), line);
    assert!(
        matches!(judge(&cart(), true, &one(&NONE), &[]), Progress::Stuck { cause, .. } if cause == "NoAvailableAgent: words")
    );
    // In a namespace the others are what is waited for.
    let shop = Target::Namespace("shop".into());
    let all = [one(&READY), vec![config("shop", "deployment-db", false, &NONE)]].concat();
    assert!(matches!(judge(&shop, true, &all, &[]), Progress::Done(_)));
    let pod = |hash: bool| {
        let mut pod = json!({"metadata": {"name": "p", "namespace": "shop", "labels": {"pod-template-hash": "5d4f"}, "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-5d4f", "uid": "u", "controller": true},
        ]}, "status": {"phase": "Running"}});
        if hash {
            pod["metadata"]["labels"]["odigos.io/agents-meta-hash"] = json!("aaaa");
        }
        pod
    };
    assert!(goes(judge(&cart(), false, &one(&READY), &[])));
    assert_eq!(judge(&cart(), false, &[], &[pod(true)]), Progress::Goes("1 pod still carries agents".into()));
    assert!(matches!(judge(&cart(), false, &[], &[pod(false)]), Progress::Done(_)));
    let other = Target::Workload(WorkloadRef::new("shop", WorkloadKind::Deployment, "db"));
    assert!(matches!(judge(&other, false, &one(&READY), &[pod(true)]), Progress::Done(_)));
}

#[test]
fn opt_out_is_left_by_an_exclusion_and_nothing_else() {
    let opt_out = scope("instrumentation: {mode: optOut, optOutDataStreams: [a, b]}");
    let planned = |target: &Target, action, streams: &[&str], all: &[Source]| {
        let streams: Vec<String> = streams.iter().map(|&one| one.to_owned()).collect();
        let plan = plan(target, action, &streams, all, &opt_out).unwrap();
        (short(&plan), plan.is_covered_before, plan.is_covered_after)
    };
    let shop = Target::Namespace("shop".to_owned());
    let own = source("own", "Deployment", "cart", json!({}));
    for (target, name) in [(cart(), "Deployment/cart"), (shop.clone(), "Namespace/shop")] {
        assert_eq!(planned(&target, Action::Disable, &[], &[]), (format!("create {name} excluded"), true, false));
        let (change, ..) = planned(&target, Action::Enable, &[], &[]);
        assert!(change.starts_with("nothing: instrumentation.mode: optOut covers"), "{change}");
    }
    let (change, ..) = planned(&cart(), Action::Disable, &[], std::slice::from_ref(&own));
    assert_eq!(change, r#"patch own {"spec":{"disableInstrumentation":true}}"#);
    // Where the namespace is excluded, a Source alone covers.
    let (change, ..) = planned(&cart(), Action::Disable, &[], &[own, namespace(excluded())]);
    assert_eq!(change, "delete own");
    let (change, before, after) = planned(&cart(), Action::Enable, &[], &[namespace(excluded())]);
    assert_eq!((change.as_str(), before, after), ("create Deployment/cart", false, true));
    let (change, ..) = planned(&cart(), Action::Disable, &["a"], &[]);
    let labels = r#"{"odigos.io/data-stream-a":"false","odigos.io/data-stream-b":"true"}"#;
    assert_eq!(change, format!("create Deployment/cart {labels}"));
}

#[test]
fn ignored_namespace_is_rejected_with_the_setting() {
    let ignored = scope("ignoredNamespaces: [shop]");
    let error = plan(&cart(), Action::Enable, &[], &[], &ignored).unwrap_err().to_string();
    assert!(error.contains("ignoredNamespaces"), "{error}");
    let own = source("own", "Deployment", "cart", json!({}));
    let plan = plan(&cart(), Action::Disable, &[], &[own], &ignored).unwrap();
    assert_eq!((short(&plan).as_str(), plan.is_covered_before), ("delete own", false));
}
