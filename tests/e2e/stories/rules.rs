//! InstrumentationRules on real agents: what spans carry changes and changes back, with one restart where it takes one. The two
//! applications are covered by a pattern of names, one makes spans of its own, and what is derived of spans arrives as metrics.

use crate::instrumentation::{IDENTITY, LIMIT, a_backend_takes_all};
use anyhow::Context;
use odigos_api::API_VERSION;
use odigos_e2e::cluster::{Cluster, Pod, condition, eventually, object};
use odigos_e2e::office::{self, CHAIN, Manner, Service};
use odigos_e2e::records::Records;
use odigos_e2e::shop;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "e2e-rules";
const BACKENDS: &str = "e2e-rules-backends";
const BACKEND: &str = "rules";

/// Node.js, which asks the other one. Its agent takes no list of headers.
const FIRST: &str = "inventory";
/// Python, with spans of its own. Its agent takes one.
const SECOND: &str = "orders";
const OWN_SPANS: [&str; 2] = ["price an order", "add taxes"];

/// Begins like the first one, and the pattern leaves it out.
const STRANGER: &str = "inventory-of-others";
const SOURCE: &str = "by-pattern";
const PATTERN: &str = "^(inventory|ord.+)$";

const HEADER: &str = "x-request-id";
const CAPTURED: &str = "http.request.header.x_request_id";

/// Runs one of the services, and waits until it is ready.
async fn deploy(cluster: &Cluster, service: Service) -> anyhow::Result<()> {
    let mut objects = office::deployment(NAMESPACE, service, &cluster.image, 1, Manner::Plain);
    let container = objects[1].pointer_mut("/spec/template/spec/containers/0").context("there is a container")?;
    // Agents send metrics once a minute unless their users say otherwise.
    let interval = json!({"name": "OTEL_METRIC_EXPORT_INTERVAL", "value": "5000"});
    container["env"].as_array_mut().context("env is a list")?.push(interval);
    if service.name == SECOND {
        let arguments = ["-m", "gunicorn", "--chdir=/application", "--bind=0.0.0.0:8080", "--workers=1", "orders:app"];
        container["args"] = json!(arguments);
    }
    cluster.apply_all(objects).await?;
    cluster.rolled_out("Deployment", (NAMESPACE, service.name), LIMIT).await
}

async fn pod(cluster: &Cluster, name: &str) -> anyhow::Result<Pod> {
    let pods = cluster.pods(NAMESPACE, &format!("app={name}")).await?;
    pods.into_iter().find(Pod::is_ready).with_context(|| format!("no {name} is ready"))
}

/// One request through both.
async fn ask(cluster: &Cluster) -> anyhow::Result<()> {
    let name = pod(cluster, FIRST).await?.name();
    let answer: Value = cluster.ask(NAMESPACE, &name, "/").await?;
    anyhow::ensure!(answer["next"]["service"] == SECOND, "it answers {answer}");
    Ok(())
}

/// One request to each with a header that says which.
async fn ask_with_header(cluster: &Cluster, number: &str) -> anyhow::Result<()> {
    for service in [FIRST, SECOND] {
        let name = pod(cluster, service).await?.name();
        let _: Value = cluster.ask_with(NAMESPACE, &name, "/", &[(HEADER, number)]).await?;
    }
    Ok(())
}

async fn backend(cluster: &Cluster) -> anyhow::Result<String> {
    let pods = cluster.pods(BACKENDS, &format!("app={BACKEND}")).await?;
    Ok(pods.first().context("the backend has no pod")?.name())
}

async fn arrived(cluster: &Cluster) -> anyhow::Result<Records> {
    cluster.ask(BACKENDS, &backend(cluster).await?, "/").await
}

async fn forget(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.tell(BACKENDS, &backend(cluster).await?, "/forget").await
}

/// How many generations of pods a workload has had.
async fn generations(cluster: &Cluster, name: &str) -> anyhow::Result<usize> {
    Ok(cluster.list("apps/v1", "ReplicaSet", NAMESPACE, &format!("app={name}")).await?.len())
}

fn rule(cluster: &Cluster, name: &str, spec: &Value) -> Value {
    let mut rule = object(API_VERSION, "InstrumentationRule", &cluster.namespace, name);
    rule["spec"] = spec.clone();
    rule
}

/// The spans that the application made are in one trace with those that agents made of both services.
fn own_spans_are_in_the_trace(records: &Records) -> anyhow::Result<String> {
    let (first, second) = (records.of("traces", FIRST), records.of("traces", SECOND));
    let own: BTreeSet<String> = OWN_SPANS.map(str::to_owned).into();
    let mut whole = second
        .spans
        .iter()
        .filter(|(trace, names)| first.traces.contains_key(*trace) && own.is_subset(names) && names.len() > own.len());
    let (trace, names) = whole.next().with_context(|| format!("spans of {SECOND}: {:?}", second.spans))?;
    anyhow::ensure!(
        second.attributes.get("order.items").is_some_and(|value| value == "3"),
        "its own attribute is lost"
    );
    for record in [&first, &second] {
        let without: Vec<_> = IDENTITY.iter().filter(|key| !record.keys.contains(**key)).collect();
        anyhow::ensure!(without.is_empty(), "spans lack {without:?}: {:?}", record.keys);
    }
    Ok(format!("{trace}: {names:?}"))
}

/// A header is recorded by the agent that can, after one restart of that workload alone; signals of one workload stop without any;
/// all of it ends with the rules.
pub(crate) async fn reach_traces(cluster: Cluster) -> anyhow::Result<()> {
    let begun = Instant::now();
    let say = |what: &str| println!("  {:.0} s: {what}", begun.elapsed().as_secs_f64());
    cluster.apply(&shop::namespace(NAMESPACE)).await?;
    a_backend_takes_all(&cluster, (BACKENDS, BACKEND)).await?;
    let edges = json!({"spec": {"metricsSettings": {"serviceGraphEnabled": true}}});
    cluster.merge(API_VERSION, "Destination", (&cluster.namespace, BACKEND), &edges).await?;
    deploy(&cluster, Service { name: FIRST, next: Some(SECOND), ..CHAIN[1] }).await?;
    deploy(&cluster, Service { name: STRANGER, next: None, ..CHAIN[1] }).await?;
    let stranger = pod(&cluster, STRANGER).await?.identity();
    let mut source = shop::source(NAMESPACE, "Deployment", PATTERN, &[]);
    source["metadata"]["name"] = json!(SOURCE);
    source["spec"]["matchWorkloadNameAsRegex"] = json!(true);
    cluster.apply(&source).await?;
    // It comes after the Source.
    deploy(&cluster, Service { name: SECOND, next: None, ..CHAIN[2] }).await?;
    eventually("one answers through the other", Duration::from_secs(60), || ask(&cluster)).await?;
    let trace = eventually("own spans are in one trace with automatic ones", LIMIT, || async {
        ask(&cluster).await?;
        own_spans_are_in_the_trace(&arrived(&cluster).await?)
    })
    .await?;
    say(&format!("own spans and automatic ones in trace {trace}"));
    for name in [FIRST, SECOND] {
        cluster.rolled_out("Deployment", (NAMESPACE, name), LIMIT).await?;
        assert_eq!(generations(&cluster, name).await?, 2, "{name} was restarted once for its agent");
    }
    let before = pod(&cluster, FIRST).await?.identity();
    if cluster.script.is_some() {
        let listed =
            cluster.script(&["kubectl", "get", "instrumentedapplications", "-n", NAMESPACE, "-o", "name"]).await?;
        let names: Vec<&str> = listed.lines().filter_map(|line| line.rsplit('/').next()).collect();
        assert_eq!(names, [FIRST, SECOND].map(|name| format!("deployment-{name}")), "kubectl lists by the older name");
    }

    let scope = json!({"namespaces": [NAMESPACE]});
    let headers = json!({"scopes": scope, "headersCollection": {"headerKeys": [HEADER]}});
    cluster.apply(&rule(&cluster, "headers", &headers)).await?;
    let only_first = json!({"sources": [{"namespace": NAMESPACE, "kind": "Deployment", "name": FIRST}]});
    let quiet = json!({"scopes": only_first, "metricsConfig": {"disabled": true}, "logsConfig": {"disabled": true}});
    cluster.apply(&rule(&cluster, "quiet", &quiet)).await?;
    eventually("spans carry the header", LIMIT, || async {
        ask_with_header(&cluster, "request-1").await?;
        let spans = arrived(&cluster).await?.of("traces", SECOND);
        anyhow::ensure!(
            spans.attributes.get(CAPTURED).is_some_and(|value| value == "request-1"),
            "{:?}",
            spans.attributes
        );
        Ok(())
    })
    .await?;
    say("spans carry the header");
    cluster.rolled_out("Deployment", (NAMESPACE, SECOND), LIMIT).await?;
    says(&cluster, "headers", "True", "PartiallyApplied", "nodejs-community").await?;
    says(&cluster, "quiet", "True", "Applied", "").await?;
    assert_eq!(generations(&cluster, SECOND).await?, 3, "{SECOND} was restarted once for the rule");
    assert_eq!(pod(&cluster, FIRST).await?.identity(), before, "no rule restarted {FIRST}");
    assert_eq!(
        arrived(&cluster).await?.of("traces", FIRST).attributes.get(CAPTURED),
        None,
        "its agent takes no headers"
    );

    // What was on its way arrives first; from some moment on there is none of the quiet one.
    eventually("the other one sends everything, and this one spans alone", LIMIT, || async {
        forget(&cluster).await?;
        for request in 0..5 {
            ask_with_header(&cluster, &format!("request-2-{request}")).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let records = arrived(&cluster).await?;
        anyhow::ensure!(!records.of("traces", FIRST).names.is_empty(), "no span of {FIRST}");
        for signal in ["metrics", "logs"] {
            let names = records.of(signal, FIRST).names;
            anyhow::ensure!(names.is_empty(), "{signal} of {FIRST} are switched off: {names:?}");
        }
        sends(&records, SECOND, "cpython.")
    })
    .await?;
    say("metrics and logs of one workload are switched off without a restart");

    for name in ["headers", "quiet"] {
        cluster.delete(API_VERSION, "InstrumentationRule", (&cluster.namespace, name)).await?;
    }
    eventually("the rule is taken out again", LIMIT, || async {
        let generations = generations(&cluster, SECOND).await?;
        anyhow::ensure!(generations == 4, "{generations} generations");
        cluster.rolled_out("Deployment", (NAMESPACE, SECOND), LIMIT).await
    })
    .await?;
    let seen = arrived(&cluster).await?.of("traces", SECOND).traces.len();
    eventually("the first one sends everything again", LIMIT, || async {
        ask_with_header(&cluster, "request-3").await?;
        let records = arrived(&cluster).await?;
        anyhow::ensure!(records.of("traces", SECOND).traces.len() > seen + 1, "no new trace of {SECOND}");
        sends(&records, FIRST, "nodejs.")
    })
    .await?;
    let spans = arrived(&cluster).await?.of("traces", SECOND);
    assert_ne!(spans.attributes.get(CAPTURED).map(String::as_str), Some("request-3"), "nothing records headers");
    assert_eq!(pod(&cluster, FIRST).await?.identity(), before, "{FIRST} ran all the time");
    assert_eq!(generations(&cluster, SECOND).await?, 4, "{SECOND} was restarted once more");
    say("without the rules everything is as before");
    eventually("what is derived of spans arrives", LIMIT, || async {
        ask(&cluster).await?;
        derived(&arrived(&cluster).await?)
    })
    .await?;
    assert_eq!(pod(&cluster, STRANGER).await?.identity(), stranger, "what the pattern leaves out is left alone");
    assert!(arrived(&cluster).await?.of("traces", STRANGER).names.is_empty(), "nothing of it arrives");
    say("span metrics of both, and the edge between them");

    cluster.delete(API_VERSION, "Destination", (&cluster.namespace, BACKEND)).await?;
    cluster.delete(API_VERSION, "Source", (NAMESPACE, SOURCE)).await?;
    cluster.delete_namespaces(&[NAMESPACE, BACKENDS]).await
}

/// Calls are counted for both services, and the edge from one to the other is there.
fn derived(records: &Records) -> anyhow::Result<()> {
    for service in [FIRST, SECOND] {
        let names = records.of("metrics", service).names;
        anyhow::ensure!(names.contains_key("traces.span.metrics.calls"), "{service}: {:?}", names.keys());
    }
    let all = records.0.get("metrics").into_iter().flatten();
    let edges: BTreeSet<_> = all.flat_map(|(_, record)| &record.edges).collect();
    let edge = (FIRST.to_owned(), SECOND.to_owned());
    anyhow::ensure!(edges.contains(&edge), "no edge from {FIRST} to {SECOND} among {edges:?}");
    Ok(())
}

/// Whether metrics of its runtime and lines of its output arrived.
fn sends(records: &Records, service: &str, prefix: &str) -> anyhow::Result<()> {
    let (metrics, logs) = (records.of("metrics", service).names, records.of("logs", service).names);
    anyhow::ensure!(metrics.keys().any(|name| name.starts_with(prefix)), "no {prefix} among {:?}", metrics.keys());
    anyhow::ensure!(logs.keys().any(|line| line.contains("served a request")), "no line among {:?}", logs.keys());
    Ok(())
}

/// Waits until the rule's condition `Applied` is this, with a message that contains `part`.
async fn says(cluster: &Cluster, name: &str, status: &str, reason: &str, part: &str) -> anyhow::Result<()> {
    eventually(&format!("the rule {name} is {reason}"), Duration::from_secs(60), || async {
        let key = (cluster.namespace.as_str(), name);
        let live = cluster.get(API_VERSION, "InstrumentationRule", key).await?.context("there is no rule")?;
        let (applied, valid) = (condition(&live, "Applied"), condition(&live, "InstrumentationRuleValidation"));
        anyhow::ensure!(applied["status"] == status && applied["reason"] == reason, "{applied}");
        anyhow::ensure!(applied["message"].as_str().is_some_and(|message| message.contains(part)), "{applied}");
        anyhow::ensure!(valid["status"] == "True", "{valid}");
        Ok(())
    })
    .await
}
