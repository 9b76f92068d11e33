//! Screens beside the objects that they are made from.

use super::read::{Effective, Facts};
use super::*;
use jiff::Timestamp;
use odigos_api::instrumentation_rule::InstrumentationRule;
use odigos_api::source::Source;
use odigos_plan::configuration::Configuration;
use odigos_plan::coverage::scope::Scope;
use serde_json::json;
use std::collections::BTreeMap;

const NOW: &str = "2026-03-01T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn source(name: &str, kind: &str, target: &str, disabled: bool) -> Source {
    serde_json::from_value(json!({
        "apiVersion": "odigos.io/v1alpha1", "kind": "Source", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"workload": {"kind": kind, "name": target, "namespace": "shop"}, "disableInstrumentation": disabled},
    }))
    .unwrap()
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-03-01T11:00:00Z"})
}

fn config(conditions: &[Value]) -> InstrumentationConfig {
    serde_json::from_value(json!({
        "apiVersion": "odigos.io/v1alpha1", "kind": "InstrumentationConfig",
        "metadata": {
            "name": "deployment-cart", "namespace": "shop",
            "labels": {"odigos.io/data-stream-checkout": "true", "odigos.io/stream-class": "c12345678"},
        },
        "spec": {
            "serviceName": "cart", "agentInjectionEnabled": true, "agentsMetaHash": "aaaaaaaaaaaaaaaa",
            "agentsMetaHashChangedTime": "2026-03-01T11:00:00Z",
            "containersOverrides": [{"containerName": "app"}, {"containerName": "proxy"}],
            "containers": [
                {
                    "containerName": "app", "agentEnabled": true, "otelDistroName": "java-community",
                    "agentEnabledMessage": "Its agent cannot do what rules ask for: codeAttributes: no released agent has a switch for them.",
                    "traces": {"headersCollection": {"headerKeys": ["x-id"]}}, "envInjectionMethod": "pod-manifest",
                },
                {"containerName": "proxy", "agentEnabled": false, "agentEnabledReason": "IgnoredContainer", "agentEnabledMessage": "It is listed."},
            ],
        },
        "status": {
            "runtimeDetailsByContainer": [
                {"containerName": "app", "language": "java", "runtimeVersion": "17.0.12+7", "libCType": "glibc"},
                {"containerName": "proxy", "language": "cplusplus", "libCType": "musl"},
            ],
            "conditions": conditions,
        },
    }))
    .unwrap()
}

fn well() -> Vec<Value> {
    vec![
        condition("MarkedForInstrumentation", "True", "NamespaceSource", "A Source of the namespace asks for it."),
        condition("RuntimeDetection", "True", "DetectedSuccessfully", "It is known what runs in the containers."),
        condition(
            "AgentEnabled",
            "True",
            "EnabledSuccessfully",
            "1 of 2 containers have an agent: app (java-community).",
        ),
        condition("WorkloadRollout", "True", "RolloutFinished", "All pods were made anew."),
        condition("PodsManifestInjection", "True", "PodsAppliedSuccessfully", "Every pod carries its agents."),
    ]
}

fn pod(name: &str, hash: Option<&str>, created: &str) -> Value {
    let mut labels = json!({"pod-template-hash": "5d4f"});
    if let Some(hash) = hash {
        labels[AGENTS_META_HASH] = json!(hash);
        labels["odigos.io/stream-class"] = json!("c12345678");
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "labels": labels, "creationTimestamp": created,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-5d4f", "uid": "u", "controller": true}],
        },
        "spec": {"nodeName": "node-a", "containers": [{"name": "app"}, {"name": "proxy"}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "app", "ready": true, "restartCount": 0, "state": {"running": {}}},
            {"name": "proxy", "ready": true, "restartCount": 2, "state": {"running": {}}},
        ]},
    })
}

const LATER: &str = "2026-03-01T11:30:00Z";
const EARLIER: &str = "2026-03-01T10:00:00Z";

fn facts() -> Facts {
    let destination = serde_json::from_value(json!({
        "apiVersion": "odigos.io/v1alpha1", "kind": "Destination", "metadata": {"name": "jaeger", "namespace": "odigos-system"},
        "spec": {"type": "jaeger", "destinationName": "Jaeger", "signals": ["TRACES"], "data": {}, "sourceSelector": {"dataStreams": ["checkout"]}},
    }));
    Facts {
        workload: WorkloadRef::new("shop", WorkloadKind::Deployment, "cart"),
        exists: true,
        sources: vec![source("all", "Namespace", "shop", false)],
        config: Some(config(&well())),
        pods: vec![
            pod("cart-5d4f-a", Some("aaaaaaaaaaaaaaaa"), LATER),
            pod("cart-5d4f-b", Some("aaaaaaaaaaaaaaaa"), LATER),
        ],
        instances: Vec::new(),
        destinations: Some(vec![destination.unwrap()]),
        scope: Scope::of(&Configuration::default(), "odigos-system"),
        stated: BTreeMap::new(),
        rules: Vec::new(),
        effective: Effective::default(),
    }
}

fn screen(facts: &Facts) -> String {
    workload::text(&workload::report(facts), now())
}

#[test]
fn a_workload_that_is_well() {
    let expected = "\
Deployment shop/cart: instrumented, 2 of 2 pods with the current agents

Sources   all (Source of the namespace: asks for it)
Streams   checkout → jaeger
Service   cart

CONTAINER  LANGUAGE   VERSION    LIBC   DISTRIBUTION    AGENT
app        java       17.0.12+7  glibc  java-community  yes
proxy      cplusplus  -          musl   -               no, IgnoredContainer
  app:  Its agent cannot do what rules ask for: codeAttributes: no released agent has a switch for them.
  app:  rules set OTEL_INSTRUMENTATION_HTTP_CLIENT_CAPTURE_REQUEST_HEADERS,
        OTEL_INSTRUMENTATION_HTTP_CLIENT_CAPTURE_RESPONSE_HEADERS,
        OTEL_INSTRUMENTATION_HTTP_SERVER_CAPTURE_REQUEST_HEADERS,
        OTEL_INSTRUMENTATION_HTTP_SERVER_CAPTURE_RESPONSE_HEADERS
  proxy:  It is listed.

Asked for  yes    A Source of the namespace asks for it. (NamespaceSource, for 60m)
Detected   yes    It is known what runs in the containers. (DetectedSuccessfully, for 60m)
Agent      yes    1 of 2 containers have an agent: app (java-community). (EnabledSuccessfully, for 60m)
Restarted  yes    All pods were made anew. (RolloutFinished, for 60m)
In pods    yes    Every pod carries its agents. (PodsAppliedSuccessfully, for 60m)

Pods: 2 with the current agents, 0 with older ones, 0 without
  cart-5d4f-a  current agents  Running  2/2
  cart-5d4f-b  current agents  Running  2/2

Nothing blocks it.
";
    let shown = screen(&facts());
    assert_eq!(shown, expected, "\n{shown}");
    assert!(shown.lines().count() <= 40 && shown.lines().all(|line| line.chars().count() <= 110), "one screen");
}

#[test]
fn a_workload_that_nothing_covers() {
    let mut facts = facts();
    facts.sources = vec![source("out", "Deployment", "cart", true), source("all", "Namespace", "shop", false)];
    facts.config = None;
    facts.pods.clear();
    let expected = "\
Deployment shop/cart: not covered

Sources   out (Source of the workload: excludes it), all (Source of the namespace: asks for it)

Asked for  no     A Source of the workload excludes it. (WorkloadSourceDisabled)

Blocked  WorkloadSourceDisabled: A Source of the workload excludes it.
To do    odigos sources enable deployment/cart -n shop, if it shall be covered again
";
    assert_eq!(screen(&facts), expected);
    let short = workload::first_cause(&workload::report(&facts));
    assert!(short.starts_with("Deployment shop/cart: not covered\n\nBlocked  WorkloadSourceDisabled"), "{short}");
    facts.exists = false;
    assert!(screen(&facts).starts_with("Deployment shop/cart: does not exist\n"));
}

#[test]
fn the_first_cause_comes_first_and_pods_that_lack_something_too() {
    let mut conditions = well();
    conditions[4] = condition(
        "PodsManifestInjection",
        "False",
        "RestartRequiredWebhookMissed",
        "1 pod was made without its agents.",
    );
    let mut facts = facts();
    facts.config = Some(config(&conditions));
    facts.pods = (0..12).map(|n| pod(&format!("cart-5d4f-{n:02}"), Some("aaaaaaaaaaaaaaaa"), LATER)).collect();
    facts.pods.push(pod("cart-5d4f-x", None, LATER));
    facts.pods.push(pod("cart-5d4f-y", Some("bbbb"), LATER));
    let shown = screen(&facts);
    assert!(
        shown.contains("Pods: 12 with the current agents, 1 with older ones, 1 without\n  cart-5d4f-x   no agents"),
        "{shown}"
    );
    assert!(shown.contains("  and 6 more\n"));
    assert!(shown.ends_with("To do    kubectl rollout restart deployment/cart -n shop\n"), "{shown}");
    // An earlier cause hides it; no destination is the last one of all.
    conditions[2] = condition("AgentEnabled", "False", "NoAvailableAgent", "There is no agent for rust.");
    facts.config = Some(config(&conditions));
    let blocked = workload::report(&facts).blocked.unwrap();
    assert_eq!(blocked.cause, "NoAvailableAgent: There is no agent for rust.");
    facts.config = Some(config(&well()));
    facts.destinations = Some(Vec::new());
    assert!(workload::report(&facts).blocked.unwrap().remedy.starts_with("odigos destinations add"));
    facts.destinations = None;
    assert_eq!(workload::report(&facts).blocked, None, "what may not be read blocks nothing");
}

#[test]
fn detection_that_nothing_waits_for_is_no_cause() {
    let waits = || condition("RuntimeDetection", "Unknown", "WaitingForDetection", "Waits for the node agent.");
    let mut conditions = well();
    conditions[1] = waits();
    let mut facts = facts();
    facts.config = Some(config(&conditions));
    assert_eq!(workload::report(&facts).blocked, None, "a Source states the language");
    let cause = |facts: &Facts| workload::report(facts).blocked.unwrap().cause;
    conditions[2] = condition("AgentEnabled", "False", "FailedCreate", "app: Its pods are rejected.");
    facts.config = Some(config(&conditions));
    assert_eq!(cause(&facts), "FailedCreate: app: Its pods are rejected.");
    conditions[2] = condition("AgentEnabled", "Unknown", "WaitingForRuntimeInspection", "Waits.");
    facts.config = Some(config(&conditions));
    assert_eq!(cause(&facts), "WaitingForDetection: Waits for the node agent.");
}

#[test]
fn workload_without_pods_is_not_blocked() {
    let mut conditions = well();
    conditions[4] = condition("PodsManifestInjection", "Unknown", "NoPods", "It has no pods.");
    let mut facts = facts();
    (facts.config, facts.pods) = (Some(config(&conditions)), Vec::new());
    let report = workload::report(&facts);
    assert_eq!(report.blocked, None);
    assert!(report.notices.iter().any(|one| one.cause.starts_with("it has no pods now")), "{:?}", report.notices);
}

#[test]
fn paused_workload_and_pods_that_are_left_to_the_user_have_a_remedy_that_works() {
    let mut conditions = well();
    let remedy = |conditions: &[Value]| {
        let mut facts = facts();
        facts.config = Some(config(conditions));
        workload::report(&facts).blocked.unwrap().remedy
    };
    conditions[4] = condition(
        "PodsManifestInjection",
        "False",
        "RestartRequiredAutoRolloutFailed",
        "Some pods lack their agents: the update strategy of the StatefulSet replaces them only when you delete them.",
    );
    assert!(remedy(&conditions).starts_with("delete its pods one after the other"));
    conditions[3] = condition(
        "WorkloadRollout",
        "False",
        "FailedToPatch",
        "Rollouts of it are paused; it goes on as soon as it is resumed.",
    );
    assert_eq!(remedy(&conditions), "kubectl rollout resume deployment/cart -n shop");
}

#[test]
fn destination_that_takes_nothing_of_the_agents_is_a_note() {
    let mut facts = facts();
    let signals = |facts: &mut Facts, signals: Value| {
        let destination = facts.destinations.as_mut().unwrap().first_mut().unwrap();
        destination.spec.signals = serde_json::from_value(signals).unwrap();
    };
    signals(&mut facts, json!(["LOGS"]));
    let report = workload::report(&facts);
    assert_eq!(report.blocked, None);
    let causes: Vec<&str> = report.notices.iter().map(|one| one.cause.as_str()).collect();
    assert!(causes.iter().any(|one| one.contains("send traces") && one.contains("take only logs")), "{causes:?}");
    // Metrics alone are computed from spans, unless that is switched off.
    signals(&mut facts, json!(["METRICS"]));
    let note = |facts: &Facts| {
        let mut notices = workload::report(facts).notices.into_iter();
        notices.find(|one| one.cause.contains("take only metrics")).unwrap()
    };
    assert!(note(&facts).cause.ends_with("they get metrics that are computed from the spans, and no spans"));
    assert!(note(&facts).remedy.starts_with("nothing where such metrics are enough, else add a Destination"));
    let off = Configuration::parse("metricsSources: {spanMetrics: {disabled: true}}").unwrap();
    facts.effective.configuration = Some(off);
    assert!(note(&facts).cause.ends_with("take only metrics"), "{:?}", note(&facts));
    facts.effective.configuration = None;
    signals(&mut facts, json!(["LOGS"]));
    // A rule switches off the one signal that is taken.
    let labels = facts.config.as_mut().unwrap().metadata.labels.as_mut().unwrap();
    labels.insert("odigos.io/logs-disabled".to_owned(), "true".to_owned());
    let blocked = workload::report(&facts).blocked.unwrap();
    assert!(blocked.cause.contains("nothing of Deployment shop/cart is taken"), "{blocked:?}");
    signals(&mut facts, json!(["TRACES"]));
    assert_eq!(workload::report(&facts).blocked, None);
}

#[test]
fn warning_of_a_destination_is_a_note_of_its_workloads() {
    let mut facts = facts();
    let destination = facts.destinations.as_mut().unwrap().first_mut().unwrap();
    let message = "The destination is part of the gateway configuration. Warning: spec.secretRef: key K of Secret s: it is empty.";
    let configured = condition("DestinationConfigured", "True", "TransformedToOtelcolConfig", message);
    destination.status = serde_json::from_value(json!({"conditions": [configured]})).unwrap();
    let report = workload::report(&facts);
    let causes: Vec<&str> = report.notices.iter().map(|one| one.cause.as_str()).collect();
    assert!(causes.contains(&"Destination jaeger, spec.secretRef: key K of Secret s: it is empty"), "{causes:?}");
}

#[test]
fn destination_that_selects_the_namespace_counts() {
    let mut facts = facts();
    let destination = facts.destinations.as_mut().unwrap().first_mut().unwrap();
    destination.spec.source_selector = serde_json::from_value(json!({"namespaces": ["shop"]})).unwrap();
    let report = workload::report(&facts);
    assert_eq!(report.blocked, None);
    assert_eq!(report.destinations, Some(vec!["jaeger".to_owned()]));
    assert_eq!(report.streams, ["checkout"]);
}

#[test]
fn every_reason_that_stays_has_a_next_step() {
    let web = WorkloadRef::new("shop", WorkloadKind::Deployment, "web");
    for reason in [
        "WorkloadSourceDisabled",
        "NoSource",
        "RetirableError",
        "NoRunningPods",
        "UnresolvedMultipleLanguages",
        "Error",
        "RuntimeDetailsUnavailable",
        "WaitingForNodeCollector",
        "IgnoredContainer",
        "NoCollectedSignals",
        "InjectionConflict",
        "UnsupportedProgrammingLanguage",
        "UnsupportedRuntimeVersion",
        "NoAvailableAgent",
        "MissingDistroParameter",
        "MissingPullSecret",
        "OtherAgentDetected",
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "FailedToPatch",
        "Disabled",
        "WorkloadNotSupporting",
        "RolloutNotSupportedForStaticPods",
        "RestartRequiredAutoRolloutDisabled",
        "RestartRequiredAutoRolloutFailed",
        "RestartRequiredWebhookMissed",
    ] {
        assert!(next_step::next_step(reason, &web).is_some(), "{reason}");
    }
    let silenced = "app: InstrumentationRule quiet switches off all that would be sent.";
    let said = next_step::next_step_for("NoCollectedSignals", silenced, &web).unwrap();
    assert!(said.contains("InstrumentationRule quiet") && !said.contains("destinations add"), "{said}");
    let sparing = "No destination takes what java-community sends, and agents.signals is asNeeded.";
    let other = "python-community is a distribution for python, and the container runs java.";
    let said = next_step::next_step_for("UnsupportedProgrammingLanguage", other, &web).unwrap();
    assert!(said.contains("take otelDistroName out"), "{said}");
    let said = next_step::next_step_for("NoCollectedSignals", sparing, &web).unwrap();
    assert!(said.contains("destinations add") && said.contains("asNeeded"), "{said}");
    for reason in [
        "WorkloadSource",
        "NamespaceSource",
        "WaitingForDetection",
        "DetectedSuccessfully",
        "ResolvedFromMultipleLanguages",
        "EnabledSuccessfully",
        "EnabledWithOtherAgents",
        "WaitingForRuntimeInspection",
        "RolloutTriggeredSuccessfully",
        "PreviousRolloutOngoing",
        "WaitingInQueue",
        "RolloutFinished",
        "NotRequired",
        "WaitingForRestart",
        "NoPods",
        "PodsAppliedSuccessfully",
        "PodsManifestInjectionNotRequired",
        "WaitingForNextJobRun",
        "WaitingInRolloutQueue",
        "RolloutInProgress",
        "WaitingForAutomaticRollout",
        "NotYetReconciled",
    ] {
        assert_eq!(next_step::next_step(reason, &web), None, "{reason}");
    }
}

fn pod_facts(pod: Value) -> pod::Facts {
    pod::Facts {
        pod,
        workload: Some(WorkloadRef::new("shop", WorkloadKind::Deployment, "cart")),
        config: Some(config(&well())),
        sources: vec![source("all", "Namespace", "shop", false)],
        configuration: Some("agentsImage: registry/agents:1\n".into()),
        control_plane: "odigos-system".into(),
        namespace_labels: Some([("kubernetes.io/metadata.name".to_owned(), "shop".to_owned())].into()),
        node_labels: Some([("odigos.io/odiglet-oss-installed".to_owned(), "true".to_owned())].into()),
        instances: Vec::new(),
    }
}

#[test]
fn a_pod_with_its_agents() {
    let mut pod = pod("cart-5d4f-a", Some("aaaaaaaaaaaaaaaa"), LATER);
    pod["spec"]["containers"][0]["env"] = json!([
        {"name": "SECRET_TOKEN", "value": "never-show-this"}, {"name": "ODIGOS_POD_NAME"},
        {"name": "JAVA_TOOL_OPTIONS", "value": "-Dpassword=never-show-this"},
        {"name": "OTEL_INSTRUMENTATION_HTTP_SERVER_CAPTURE_REQUEST_HEADERS", "value": "x-id"},
    ]);
    pod["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "odigos-agent", "mountPath": "/var/odigos/java"}, {"name": "data", "mountPath": "/data"}]);
    pod["spec"]["volumes"] = json!([{"name": "odigos-agent"}, {"name": "data"}]);
    let report = pod::report(&pod_facts(pod));
    let expected = "\
Pod shop/cart-5d4f-a: it has its agents, and they are those that are decided now

Workload  Deployment shop/cart
Source    A Source of the namespace asks for it (all)
Agents    aaaaaaaaaaaaaaaa, as decided
Class     c12345678
Node      node-a, which holds the agents' files
Files     volume odigos-agent

Container app
  agent      java-community
  state      running
  variables  ODIGOS_POD_NAME, JAVA_TOOL_OPTIONS, OTEL_INSTRUMENTATION_HTTP_SERVER_CAPTURE_REQUEST_HEADERS
  mounts     /var/odigos/java

Container proxy
  agent      no agent, IgnoredContainer: It is listed.
  state      running, restarted 2 times

Nothing blocks it.
";
    let shown = pod::screen(&report);
    assert_eq!(shown, expected, "\n{shown}");
    assert!(!serde_json::to_string(&report).unwrap().contains("never-show-this"));
}

#[test]
fn why_a_pod_has_no_agents() {
    let cause = |facts: &pod::Facts| {
        let report = pod::report(facts);
        let blocked = report.blocked.unwrap();
        (report.verdict, blocked.cause, blocked.remedy)
    };
    let restart = "kubectl rollout restart deployment/cart -n shop";
    // Made before the decision.
    let (verdict, why, remedy) = cause(&pod_facts(pod("a", None, EARLIER)));
    assert_eq!(verdict, "it has no agents, although its workload shall have some");
    assert_eq!((why.as_str(), remedy.as_str()), ("the pod was made before the decision about its agents", restart));
    // Made afterwards: admission would do it now.
    let (_, why, remedy) = cause(&pod_facts(pod("a", None, LATER)));
    assert!(why.starts_with("admission would give it its agents now") && remedy == restart, "{why}");
    // Made afterwards, and admission refuses.
    let mut competitor = pod("a", None, LATER);
    competitor["metadata"]["annotations"] = json!({"instrumentation.opentelemetry.io/inject-java": "true"});
    let (_, why, _) = cause(&pod_facts(competitor));
    assert!(
        why.starts_with("admission leaves it as it is: its annotation instrumentation.opentelemetry.io/inject-java"),
        "{why}"
    );
    let mut windows = pod("a", None, LATER);
    windows["spec"]["os"] = json!({"name": "windows"});
    assert!(cause(&pod_facts(windows)).1.starts_with("no agent of its workload fits this pod"));
    // Nothing asks for it.
    let mut facts = pod_facts(pod("a", None, LATER));
    facts.config = None;
    facts.sources.clear();
    let (verdict, why, remedy) = cause(&facts);
    assert_eq!((verdict.as_str(), why.as_str()), ("it has no agents, as decided", "No Source covers the workload"));
    assert_eq!(remedy, "odigos sources enable deployment/cart -n shop");
    // Agents are left of one that went.
    let mut facts = pod_facts(pod("a", Some("aaaaaaaaaaaaaaaa"), LATER));
    facts.config = None;
    assert_eq!(cause(&facts).1, "no Source covers its workload any more, and the pod was made before");
    // Agents of an earlier decision; a pod that does not start; a workload that shall have none.
    assert_eq!(cause(&pod_facts(pod("a", Some("bbbb"), EARLIER))).0, "it has agents of an earlier decision");
    let mut crashing = pod("a", Some("aaaaaaaaaaaaaaaa"), LATER);
    crashing["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let (_, why, remedy) = cause(&pod_facts(crashing));
    assert_eq!(
        (why.as_str(), remedy.as_str()),
        ("container app does not start: CrashLoopBackOff", "mend the pod: kubectl logs a -n shop -c app --previous")
    );
    let mut conditions = well();
    conditions[2] =
        condition("AgentEnabled", "False", "NoCollectedSignals", "No destination takes anything; create one.");
    let mut facts = pod_facts(pod("a", None, LATER));
    let mut without = config(&conditions);
    without.spec.agent_injection_enabled = false;
    facts.config = Some(without);
    assert_eq!(cause(&facts).1, "NoCollectedSignals: No destination takes anything; create one.");
    facts.workload = None;
    facts.config = None;
    assert_eq!(cause(&facts).1, "no workload owns the pod, and Sources select workloads");
}

#[test]
fn subjects_as_people_write_them() {
    let of = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        workload_of(&words, "shop").map(|one| one.to_string()).map_err(|error| error.to_string())
    };
    for words in [
        &["deployment/cart"][..],
        &["deployment", "cart"],
        &["Deployment/cart"],
        &["deployments", "cart"],
        &["deploy/cart"],
    ] {
        assert_eq!(of(words), Ok("Deployment shop/cart".into()), "{words:?}");
    }
    assert_eq!(of(&["sts", "db"]), Ok("StatefulSet shop/db".into()));
    assert!(of(&["cart"]).unwrap_err().contains("KIND/NAME"));
    assert!(of(&["pod/x"]).unwrap_err().contains("is no kind of workload; use one of cronjob"));
    assert_eq!(layout::folded("a bb ccc dddd", 6), ["a bb", "ccc", "dddd"]);
    let at = |text: &str| layout::age(text.parse().unwrap(), now());
    assert_eq!(
        [at("2026-03-01T11:59:00Z"), at("2026-03-01T09:00:00Z"), at("2026-02-20T09:00:00Z")],
        ["60s", "3h", "9d"]
    );
}

#[test]
fn ignored_namespace_is_named_as_the_cause() {
    let configuration = "ignoredNamespaces: [shop]\n";
    let mut facts = facts();
    facts.config = None;
    facts.scope = Scope::of(&Configuration::parse(configuration).unwrap(), "odigos-system");
    let report = workload::report(&facts);
    assert_eq!(report.conditions[0].reason, "NamespaceIgnored");
    assert!(report.blocked.unwrap().cause.contains("ignoredNamespaces"));
    let mut facts = pod_facts(pod("cart-5d4f-a", None, LATER));
    facts.config = None;
    facts.configuration = Some(configuration.to_owned());
    let report = pod::report(&facts);
    assert!(report.source.contains("ignoredNamespaces"), "{}", report.source);
    assert!(report.blocked.unwrap().cause.contains("ignoredNamespaces"));
}

/// What was written for a workload and has no effect stands on its screen, and nothing that concerns others does.
#[test]
fn findings_that_concern_a_workload_are_notes_on_its_screen() {
    let mut facts = facts();
    let well = workload::report(&facts).notices;
    facts.sources[0].status = serde_json::from_value(json!({"conditions": [{
        "type": "Accepted", "status": "True", "reason": "Accepted", "lastTransitionTime": EARLIER,
        "message": "It selects 1 workload. Warning: spec.containerOverrides[0].containerName: Deployment shop/cart has no such container; it has: app.",
    }]}))
    .unwrap();
    let rule = |name: &str, spec: Value| -> InstrumentationRule {
        serde_json::from_value(json!({
            "apiVersion": "odigos.io/v1alpha1", "kind": "InstrumentationRule",
            "metadata": {"name": name, "namespace": "odigos-system"}, "spec": spec,
        }))
        .unwrap()
    };
    let elsewhere = json!([{"kind": "Deployment", "name": "other", "namespace": "shop"}]);
    facts.rules = vec![
        rule("attributes", json!({"codeAttributes": {"column": true}})),
        rule("elsewhere", json!({"codeAttributes": {"column": true}, "workloads": elsewhere})),
        rule("disabled", json!({"codeAttributes": {"column": true}, "disabled": true})),
    ];
    facts.effective.findings = "\
error ConfigMap odigos-system/odigos-configuration collectorGateway.maxReplicas: not a number
info ConfigMap odigos-system/odigos-configuration ignoredContainers: nothing
warning ConfigMap odigos-system/odigos-configuration mountMetod: there is no such key; did you mean mountMethod?
warning ConfigMap odigos-system/odigos-configuration rollout.canary.duraton: there is no such key
"
    .into();
    let mut config = facts.config.clone().unwrap();
    let app = config.spec.containers.iter_mut().find(|one| one.agent_enabled).unwrap();
    app.agent_enabled_message = format!(
        "Container app has OTEL_EXPORTER_OTLP_ENDPOINT {}; remove it.",
        odigos_plan::instrumentation::OWN_EXPORT
    );
    facts.config = Some(config);
    let notices = workload::report(&facts).notices;
    let causes: Vec<&str> = notices.iter().skip(well.len()).map(|one| one.cause.as_str()).collect();
    let starts = [
        "Source all, spec.containerOverrides[0]",
        "InstrumentationRule attributes: ",
        "container app exports",
        "configuration: warning",
    ];
    assert_eq!(causes.len(), starts.len(), "{causes:#?}");
    for (cause, start) in causes.iter().zip(starts) {
        assert!(cause.starts_with(start), "{cause}");
    }
    assert!(causes[3].contains("rollout.canary.duraton"), "{}", causes[3]);
    assert!(screen(&facts).contains("Note     Source all"), "{}", screen(&facts));
    assert!(!screen(&facts).contains("Nothing blocks it"), "it does not stand beside a cause");
}
