//! The demonstration behind `make run`: the whole product on one machine, with real telemetry, and a table of what reached whom.
//!
//! Real: etcd, API server, controller manager, the three controllers, three collectors, every byte of telemetry. Adapted:
//! addresses (`testkit::collector::adapt`); a stand-in says that pods run, since there are no containers.

use crate::say;
use anyhow::{Context, bail};
use kube::{Client, ResourceExt};
use odigos_api::labels::STREAM_CLASS;
use odigos_api::{Signal, WorkloadRef, names};
use odigos_plan::workload::pod_workload;
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::binaries;
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::control_plane::{
    self, BINARIES, Controller, Kubelet, Launch, NAMESPACE, apply, apply_files, get_object, list,
};
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::{SAMPLE_PORTS, free_port, reserve_sample_ports};
use odigos_testkit::process::eventually;
use odigos_tools::catalog::SAMPLE_COLLECTOR;
use odigos_tools::root;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Items of each signal that each workload sends.
const ITEMS: usize = 25;
/// Ports of the sink behind the destination `team-shop`, and of the HTTP receiver behind `audit`; named in `deploy/samples`.
const TEAM_PORT: u16 = SAMPLE_PORTS[0];
/// See [`TEAM_PORT`].
const AUDIT_PORT: u16 = SAMPLE_PORTS[1];

/// Where the kubeconfig of the demonstration stands while it runs, from the root of the repository.
const KUBECONFIG: &str = ".run/kubeconfig";

/// What to try against it.
const NEXT: [&str; 3] = ["sources list -n shop", "describe destination team-shop", "describe destination broken"];

/// Runs the demonstration; fails when anything did not arrive where it should.
pub(crate) fn run(keep: bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    reserve_sample_ports()?;
    let binaries = binaries::built()?;
    let tool = binaries.join("odigos");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async move {
        let demo = Demo::start(binaries).await?;
        let outcome = demo.show().await;
        if let Err(error) = &outcome {
            say(&format!(
                "failed: {error:#}\n{}",
                demo.controllers.iter().map(|one| one.process.tail()).collect::<Vec<_>>().join("\n")
            ));
        }
        outcome?;
        say(&format!("demonstration finished in {} s\n", begun.elapsed().as_secs()));
        if !keep {
            say("Try next: `make run KEEP=1` leaves everything running, then in another terminal");
            say_next(&tool);
            return Ok(());
        }
        let kubeconfig = root().join(KUBECONFIG);
        std::fs::create_dir_all(kubeconfig.parent().context("a file has a folder")?)?;
        std::fs::copy(demo.api.kubeconfig(), &kubeconfig)
            .with_context(|| format!("failed to write {}", kubeconfig.display()))?;
        say("Everything keeps running until Ctrl-C. Try next, in another terminal");
        say_next(&tool);
        ended().await?;
        std::fs::remove_file(&kubeconfig).with_context(|| format!("failed to remove {}", kubeconfig.display()))
    })
}

/// Waits until somebody ends the program: Ctrl-C, or a signal of a supervisor or a terminal that closes.
async fn ended() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

/// Prints what to try against the demonstration.
fn say_next(tool: &Path) {
    // Short where the repository is the current folder, as it is below `make`.
    let tool = tool.strip_prefix(root()).unwrap_or(tool).display();
    for command in NEXT {
        say(&format!("  KUBECONFIG={} {tool} {command}", root().join(KUBECONFIG).display()));
    }
}

struct Demo {
    // In the order in which they end: senders before receivers, clients before servers.
    controllers: Vec<Controller>,
    node: Collector,
    gateways: Vec<Collector>,
    _audit_receiver: Collector,
    team: Sink,
    audit: Sink,
    _kubelet: Kubelet,
    client: Client,
    scratch: PathBuf,
    api: ApiServer,
}

impl Demo {
    async fn start(binaries: PathBuf) -> anyhow::Result<Self> {
        say("starting etcd, API server and controller manager");
        let mut api = ApiServer::start().await?;
        api.start_controller_manager()?;
        let client = api.client().await?;
        control_plane::create_namespace(&client, NAMESPACE).await?;
        let kubelet = Kubelet::start(client.clone(), Duration::ZERO).await?;
        say("starting odigos-instrumentor, odigos-scheduler and odigos-autoscaler");
        let launch = Launch { binaries, webhook_port: free_port()?, lease_seconds: 5 };
        control_plane::install(&client, launch.webhook_port).await?;
        let mut controllers = Vec::new();
        for name in BINARIES {
            controllers.push(launch.start(&api, name, 0).await?);
        }
        say("applying deploy/samples: a shop with six workloads, three streams, five destinations, one of them broken");
        apply_files(&client, "deploy/samples", |_| {}).await?;
        wait_for_routes(&client).await?;

        let scratch = api.directory().join("collectors");
        std::fs::create_dir_all(&scratch)?;
        let team = Sink::listen(TEAM_PORT).await?;
        let audit_port = free_port()?;
        let audit = Sink::listen(audit_port).await?;
        let audit_receiver = start_audit_receiver(&scratch, audit_port).await?;
        say("starting two gateways and a node collector from the ConfigMaps that the autoscaler wrote");
        let text = config(&client, names::GATEWAY, names::GATEWAY_CONFIG_KEY).await?;
        let variables = secret_variables(&client).await?;
        let certificates = scratch.join("certificates");
        mount(&client, names::GATEWAY_CERTIFICATE, &certificates.join("gateway")).await?;
        mount(&client, names::NODE_CERTIFICATE, &certificates.join("node")).await?;
        let mut gateways = Vec::new();
        for position in 0..2 {
            let mut around = surroundings(&scratch.join(format!("gateway-{position}")))?;
            around.certificates = Some(certificates.clone());
            gateways.push(Collector::start("gateway", &text, around, &variables).await?);
        }
        let mut around = surroundings(&scratch.join("node"))?;
        around.gateways = gateways.iter().map(|gateway| format!("127.0.0.1:{}", gateway.around.grpc)).collect();
        around.certificates = Some(certificates);
        around.kubeconfig = Some(api.kubeconfig());
        let text = config(&client, names::NODE_COLLECTOR, names::NODE_CONFIG_KEY).await?;
        let node = Collector::start("node", &text, around, &[]).await?;
        Ok(Self {
            controllers,
            node,
            gateways,
            _audit_receiver: audit_receiver,
            team,
            audit,
            _kubelet: kubelet,
            client,
            scratch,
            api,
        })
    }

    async fn show(&self) -> anyhow::Result<()> {
        let pods = pods_by_workload(&self.client).await?;
        say(&format!(
            "sending {ITEMS} spans, {ITEMS} metrics and {ITEMS} log lines from each of {} workloads",
            pods.len()
        ));
        for (workload, uid) in &pods {
            send(&self.node.endpoint(), workload, uid, "first").await?;
        }
        let mut rows = Vec::new();
        for workload in pods.keys() {
            let (streams, destinations) = route(&self.client, workload).await?;
            for destination in destinations {
                rows.push((workload.clone(), streams.clone(), destination));
            }
        }
        self.wait_and_print(&rows, "first").await?;
        let status = get_object(&self.client, odigos_api::API_VERSION, "Destination", NAMESPACE, "broken").await?;
        let message = status.data.pointer("/status/conditions/0/message").and_then(Value::as_str).unwrap_or_default();
        say(&format!("the broken destination harms nobody and says why:\n  {message}\n"));
        self.show_a_move(&pods).await
    }

    /// Moves a workload to another stream by its label, and shows that the route follows with no collector restarted.
    async fn show_a_move(&self, pods: &BTreeMap<WorkloadRef, String>) -> anyhow::Result<()> {
        let ids = || -> Vec<u32> { self.gateways.iter().chain([&self.node]).map(Collector::id).collect() };
        let before = ids();
        say(
            "kubectl label source frontend -n shop odigos.io/data-stream-web=false odigos.io/data-stream-shop=true --overwrite",
        );
        let source = get_object(&self.client, odigos_api::API_VERSION, "Source", "shop", "frontend").await?;
        let mut labels = source.labels().clone();
        labels.insert("odigos.io/data-stream-web".into(), "false".into());
        labels.insert("odigos.io/data-stream-shop".into(), "true".into());
        let change = json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Source", "metadata": {"name": "frontend", "namespace": "shop", "labels": labels},
            "spec": source.data["spec"],
        });
        let moved = Instant::now();
        apply(&self.client, &change).await?;
        let wanted = class(&["shop"]);
        let frontend = pods.keys().find(|workload| workload.name == "frontend").context("the sample has a frontend")?;
        eventually("the frontend's pods carry the class of the stream shop", Duration::from_secs(20), || async {
            let all = list(&self.client, "v1", "Pod").await.unwrap_or_default();
            let mut own = all.iter().filter(|pod| pod_workload(&pod.metadata).as_ref() == Some(frontend)).peekable();
            own.peek().is_some() && own.all(|pod| pod.labels().get(STREAM_CLASS) == Some(&wanted))
        })
        .await?;
        let labelled = moved.elapsed();
        let uid = pods.get(frontend).context("the frontend has a pod")?;
        // The node collector's watch sees the label some time after the API server has it.
        eventually("the frontend's items take the new way", Duration::from_secs(30), || async {
            send(&self.node.endpoint(), frontend, uid, "between").await.is_ok()
                && !self.received("team-shop", service(frontend), "between").is_empty()
        })
        .await?;
        send(&self.node.endpoint(), frontend, uid, "second").await?;
        self.wait_and_print(&[(frontend.clone(), "shop".into(), "team-shop".into())], "second").await?;
        let strays = self.received("web-archive", "storefront", "second");
        if strays.values().sum::<usize>() > 0 {
            bail!("items of the moved workload still reach web-archive: {strays:?}");
        }
        if ids() != before {
            bail!("a collector was restarted");
        }
        say(&format!("pods were relabelled {} ms after the change; no collector was restarted", labelled.as_millis()));
        Ok(())
    }

    /// Waits until every row has arrived completely, then prints the table.
    async fn wait_and_print(&self, rows: &[(WorkloadRef, String, String)], phase: &str) -> anyhow::Result<()> {
        let signals = |destination: &str| {
            if destination == "console" { vec![Signal::Traces] } else { Signal::PIPELINES.to_vec() }
        };
        let complete = |row: &(WorkloadRef, String, String)| {
            let counts = self.received(&row.2, service(&row.0), phase);
            signals(&row.2).iter().all(|signal| counts.get(signal).copied().unwrap_or_default() >= ITEMS)
        };
        let all =
            eventually("everything arrives", Duration::from_secs(40), || async { rows.iter().all(complete) }).await;
        let mut lines = vec![["WORKLOAD", "STREAMS", "DESTINATION", "SENT", "RECEIVED", ""].map(str::to_owned)];
        let mut wrong = 0;
        for row in rows {
            let counts = self.received(&row.2, service(&row.0), phase);
            let signals = signals(&row.2);
            let received: usize = signals.iter().filter_map(|signal| counts.get(signal)).sum();
            let sent = ITEMS * signals.len();
            let verdict = if received == sent { "ok" } else { "DIFFERS" };
            wrong += usize::from(received != sent);
            lines.push([
                row.0.name.clone(),
                row.1.clone(),
                row.2.clone(),
                sent.to_string(),
                received.to_string(),
                verdict.into(),
            ]);
        }
        let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..6).map(width).collect();
        for line in &lines {
            let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            say(cells.join("  ").trim_end());
        }
        say("");
        all?;
        if wrong > 0 {
            bail!("{wrong} rows differ");
        }
        Ok(())
    }

    /// Items of a service that a destination has, by signal.
    fn received(&self, destination: &str, service: &str, phase: &str) -> BTreeMap<Signal, usize> {
        let mut counts = BTreeMap::new();
        let mut count = |signal: Signal| *counts.entry(signal).or_default() += 1;
        match destination {
            "team-shop" | "audit" => {
                let sink = if destination == "audit" { &self.audit } else { &self.team };
                let items =
                    sink.items().into_iter().filter(|item| item.service == service && item.name.starts_with(phase));
                items.for_each(|item| count(item.signal));
            }
            "web-archive" => exported(&self.scratch, service, phase).into_iter().for_each(count),
            "console" => {
                let printed: usize = self.gateways.iter().map(|gateway| debugged_spans(&gateway.output())).sum();
                counts.insert(Signal::Traces, printed);
            }
            _ => {}
        }
        counts
    }
}

/// A collector that has what the samples use, and no more.
fn surroundings(directory: &Path) -> anyhow::Result<Surroundings> {
    Ok(Surroundings { program: SAMPLE_COLLECTOR, ..Surroundings::new(directory)? })
}

/// Writes the data of a Secret as files, as a kubelet does.
async fn mount(client: &Client, secret: &str, folder: &Path) -> anyhow::Result<()> {
    let api: kube::Api<k8s_openapi::api::core::v1::Secret> = kube::Api::namespaced(client.clone(), NAMESPACE);
    let data = api.get(secret).await?.data.unwrap_or_default();
    anyhow::ensure!(!data.is_empty(), "the Secret {secret} is empty");
    std::fs::create_dir_all(folder)?;
    for (name, bytes) in data {
        std::fs::write(folder.join(name), bytes.0)?;
    }
    Ok(())
}

fn service(workload: &WorkloadRef) -> &str {
    if workload.name == "frontend" { "storefront" } else { &workload.name }
}

fn class(streams: &[&str]) -> String {
    odigos_plan::streams::class_id(&streams.iter().map(ToString::to_string).collect())
}

async fn send(endpoint: &str, workload: &WorkloadRef, pod_uid: &str, phase: &str) -> anyhow::Result<()> {
    let sender = Sender::connect_from(endpoint, control_plane::pod_address(pod_uid)).await?;
    // What an agent sends, from the address of its pod, by which it is known. The class is the platform's to add.
    let attributes = [("service.name", service(workload)), ("k8s.pod.uid", pod_uid), ("odigos.stream.class", "forged")];
    for signal in Signal::PIPELINES {
        let names: Vec<String> = (0..ITEMS).map(|n| format!("{phase}-{}-{n}", workload.name)).collect();
        sender.send(signal, &attributes, &names).await?;
    }
    Ok(())
}

/// Waits until every InstrumentationConfig and pod of the shop carries a class that the gateway serves.
async fn wait_for_routes(client: &Client) -> anyhow::Result<()> {
    eventually("every pod of the shop carries its class", Duration::from_secs(60), || async {
        let pods = list(client, "v1", "Pod").await.unwrap_or_default();
        let shop: Vec<_> = pods.iter().filter(|pod| pod.namespace().as_deref() == Some("shop")).collect();
        shop.len() >= 7 && shop.iter().all(|pod| pod.labels().contains_key(STREAM_CLASS))
    })
    .await?;
    // Gateways report one signal after another; only then node collectors receive it.
    eventually("node collectors receive every signal", Duration::from_secs(60), || async {
        let Ok(text) = config(client, names::NODE_COLLECTOR, names::NODE_CONFIG_KEY).await else { return false };
        let Ok(node) = serde_yaml::from_str::<Value>(&text) else { return false };
        Signal::PIPELINES.iter().all(|signal| {
            let receivers = &node["service"]["pipelines"][signal.as_pipeline()]["receivers"];
            receivers.as_array().is_some_and(|receivers| receivers.iter().any(|receiver| receiver == "otlp/in"))
        })
    })
    .await?;
    eventually("every gateway pod runs the newest configuration", Duration::from_secs(60), || async {
        let destinations = list(client, odigos_api::API_VERSION, "Destination").await.unwrap_or_default();
        let reported = destinations.iter().all(|one| one.data.pointer("/status/conditions/0").is_some());
        let Ok(text) = config(client, names::GATEWAY, names::GATEWAY_CONFIG_KEY).await else { return false };
        let group = get_object(client, odigos_api::API_VERSION, "CollectorsGroup", NAMESPACE, names::GATEWAY).await;
        let version = odigos_plan::objects::configuration_version(names::GATEWAY, &text);
        let runs =
            group.is_ok_and(|group| group.data.pointer("/status/configHash").and_then(Value::as_str) == Some(&version));
        reported && runs && text.contains("audit")
    })
    .await
}

async fn pods_by_workload(client: &Client) -> anyhow::Result<BTreeMap<WorkloadRef, String>> {
    let mut pods = BTreeMap::new();
    for pod in list(client, "v1", "Pod").await?.iter().filter(|pod| pod.namespace().as_deref() == Some("shop")) {
        if let (Some(workload), Some(uid)) = (pod_workload(&pod.metadata), pod.uid()) {
            pods.insert(workload, uid);
        }
    }
    Ok(pods)
}

/// Streams of a workload and the destinations that must receive its items.
async fn route(client: &Client, workload: &WorkloadRef) -> anyhow::Result<(String, Vec<String>)> {
    let config = get_object(
        client,
        odigos_api::API_VERSION,
        "InstrumentationConfig",
        &workload.namespace,
        &workload.config_name(),
    )
    .await?;
    let streams = odigos_plan::streams::membership(config.labels(), &workload.namespace, &BTreeSet::new());
    let mut destinations = BTreeSet::new();
    for one in list(client, odigos_api::API_VERSION, "Destination").await? {
        let configured = one.data.pointer("/status/conditions/0/status").and_then(Value::as_str) == Some("True");
        let spec = serde_json::from_value(one.data["spec"].clone())?;
        let selection = odigos_plan::streams::Selection::of(&spec);
        if configured && streams.iter().any(|stream| selection.includes(stream)) {
            destinations.insert(one.name_any());
        }
    }
    Ok((streams.into_iter().collect::<Vec<_>>().join(","), destinations.into_iter().collect()))
}

async fn config(client: &Client, name: &str, key: &str) -> anyhow::Result<String> {
    let map = get_object(client, "v1", "ConfigMap", NAMESPACE, name).await?;
    let text = map.data.pointer(&format!("/data/{key}")).and_then(Value::as_str);
    text.map(str::to_owned).with_context(|| format!("ConfigMap {name} has no {key}"))
}

/// The environment that the gateway's Deployment takes from Secrets.
async fn secret_variables(client: &Client) -> anyhow::Result<Vec<(String, String)>> {
    let deployment = get_object(client, "apps/v1", "Deployment", NAMESPACE, names::GATEWAY).await?;
    let env = deployment
        .data
        .pointer("/spec/template/spec/containers/0/env")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut variables = Vec::new();
    for entry in env {
        let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (secret, key) = (text("/valueFrom/secretKeyRef/name"), text("/valueFrom/secretKeyRef/key"));
        if !secret.is_empty() {
            let api: kube::Api<k8s_openapi::api::core::v1::Secret> = kube::Api::namespaced(client.clone(), NAMESPACE);
            let data = api.get(&secret).await?.data.unwrap_or_default();
            let value = data.get(&key).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default();
            variables.push((text("/name"), value));
        }
    }
    Ok(variables)
}

/// A backend that speaks OTLP over HTTP: a collector of its own in front of the second sink.
async fn start_audit_receiver(scratch: &Path, sink: u16) -> anyhow::Result<Collector> {
    let mut around = surroundings(&scratch.join("audit"))?;
    around.http = AUDIT_PORT;
    let config = json!({
        "receivers": {"otlp": {"protocols": {"grpc": {}, "http": {}}}},
        "exporters": {"otlp_grpc": {"endpoint": format!("127.0.0.1:{sink}"), "tls": {"insecure": true}, "compression": "none"}},
        "extensions": {"health_check": {}},
        "service": {
            "extensions": ["health_check"],
            "telemetry": {"metrics": {"readers": []}},
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["otlp_grpc"]},
                "metrics": {"receivers": ["otlp"], "exporters": ["otlp_grpc"]},
                "logs": {"receivers": ["otlp"], "exporters": ["otlp_grpc"]},
            },
        },
    });
    Collector::start("audit", &odigos_pipeline::yaml::to_string(&config), around, &[]).await
}

/// Items of a service in the files that the gateways wrote.
fn exported(scratch: &Path, service: &str, phase: &str) -> Vec<Signal> {
    let mut found = Vec::new();
    for gateway in 0..2 {
        let text =
            std::fs::read_to_string(scratch.join(format!("gateway-{gateway}")).join("web.json")).unwrap_or_default();
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            for (signal, outer, scopes, items) in [
                (Signal::Traces, "resourceSpans", "scopeSpans", "spans"),
                (Signal::Metrics, "resourceMetrics", "scopeMetrics", "metrics"),
                (Signal::Logs, "resourceLogs", "scopeLogs", "logRecords"),
            ] {
                let list =
                    |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
                for resource in list(&line, outer)
                    .iter()
                    .filter(|resource| resource.to_string().contains(&format!("\"{service}\"")))
                {
                    for scope in list(resource, scopes) {
                        let own = list(&scope, items)
                            .into_iter()
                            .filter(|item| item.to_string().contains(&format!("\"{phase}-")));
                        found.extend(own.map(|_| signal));
                    }
                }
            }
        }
    }
    found
}

/// Spans that the debug exporter has counted in a collector's log.
fn debugged_spans(log: &str) -> usize {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter_map(|line| line.get("spans").and_then(Value::as_u64))
        .map(|count| usize::try_from(count).unwrap_or_default())
        .sum()
}
