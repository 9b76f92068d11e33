//! Wiring: arguments, watches, the loop that keeps the links, and those that look at pods. No decisions.

use crate::container_runtime::ContainerRuntime;
use crate::files::{self, NodeLabel};
use crate::golang::GoAgent;
use crate::install::Install;
use crate::instances::Instances;
use crate::leave;
use crate::links::LogLinks;
use crate::observe::Observer;
use crate::processes::Processes;
use crate::report::Reporter;
use crate::sight::Sight;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Client;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::watcher;
use odigos_api::names::{
    AGENT, AGENT_REPORTS, CONFIGURATION_KEY, EFFECTIVE_CONFIGURATION, NODE_SERVICE, OTLP_HTTP_PORT,
};
use odigos_catalog::distribution::AGENTS_DIRECTORY;
use odigos_kit::admin::{self, Readiness};
use odigos_kit::apply::Applier;
use odigos_kit::hub::{self, Hub};
use odigos_kit::metrics::Metrics;
use odigos_kit::tasks::Tasks;
use odigos_kit::{client, telemetry};
use odigos_plan::configuration::Configuration;
use odigos_plan::detection::subject::{self, Subject};
use odigos_plan::log_links::{self, PodLogs};
use odigos_plan::name_pattern::NamePatterns;
use odigos_plan::node::LOG_LINKS;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Looks at what runs in covered pods of this node, and keeps the links to the container logs that are wanted.
#[derive(clap::Parser, Debug)]
#[command(name = AGENT, version, about)]
pub struct Arguments {
    /// Namespace of the control plane.
    #[arg(long, env = "ODIGOS_NAMESPACE", default_value = odigos_api::names::DEFAULT_NAMESPACE)]
    namespace: String,
    /// Name of the node that the agent runs on.
    #[arg(long, env = "NODE_NAME")]
    node: String,
    /// Address of health, metrics and log level.
    #[arg(long, env = "ODIGOS_ADMIN_ADDRESS", default_value = "0.0.0.0:8080")]
    admin_address: SocketAddr,
    /// Which log lines are written, e.g. info or debug,kube=info.
    #[arg(long, env = "ODIGOS_LOG", default_value = "info")]
    log: String,
    /// Directory of the links.
    #[arg(long, default_value = LOG_LINKS)]
    log_links: PathBuf,
    /// Directory in which the kubelet keeps the logs of pods.
    #[arg(long, default_value = "/var/log/pods")]
    pod_logs: PathBuf,
    /// Where the processes of the node are seen.
    #[arg(long, env = "ODIGOS_PROC_DIR", default_value = "/proc")]
    proc: PathBuf,
    /// Folder of the image with the agents' files; one that is not there means that the image carries none.
    #[arg(long, default_value = "/instrumentations")]
    agents: PathBuf,
    /// Folder of the node that pods mount agents from.
    #[arg(long, default_value = AGENTS_DIRECTORY)]
    agents_target: PathBuf,
    /// Leaves the node's labels alone.
    #[arg(long)]
    no_node_label: bool,
    /// Looks at no process.
    #[arg(long)]
    no_detection: bool,
    /// Asks the container runtime of the node what an image sets, where it cannot be told otherwise.
    #[arg(long)]
    container_runtime: bool,
    /// Socket of the container runtime that is tried before the usual ones.
    #[arg(long, env = "CONTAINER_RUNTIME_SOCK")]
    container_runtime_socket: Option<PathBuf>,
    /// Socket of the program that instruments Go processes of the node; without it none is.
    #[arg(long)]
    go_socket: Option<PathBuf>,
    /// Removes what agents keep on this node, is ready when that is done, and does nothing else: for uninstalling.
    #[arg(long)]
    leave: bool,
}

/// Changes that come together are handled together.
const GATHER: Duration = Duration::from_millis(100);
/// When to look again although nothing changed: the kubelet removes logs without telling.
const RECHECK: Duration = Duration::from_secs(30);
/// When to try again to remove what could not be removed.
const LEAVE_AGAIN: Duration = Duration::from_secs(2);

struct State {
    namespace: String,
    pods: Arc<Hub<Pod>>,
    config_maps: Arc<Hub<ConfigMap>>,
    links: LogLinks,
}

/// Runs until the process is asked to end.
///
/// # Errors
/// When it cannot start, or when a part of it ends unexpectedly.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let level = telemetry::start(&arguments.log);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), node = arguments.node, "{AGENT} starts");
    let metrics = Metrics::default();
    let mut tasks = Tasks::new();
    let stop = tasks.stop();
    let ready = Readiness::default();
    let serving = admin::serve(arguments.admin_address, metrics.clone(), ready.clone(), level, stop.clone());
    tasks.spawn("admin server", async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the admin server ended");
        }
    });
    let install = Install { source: arguments.agents, target: arguments.agents_target, proc: arguments.proc.clone() };
    if arguments.leave {
        tasks.spawn("leaving", leave_node(install, !arguments.no_detection, ready, stop));
        return Ok(tasks.wait().await?);
    }
    let client = client::connect(AGENT).await?;
    let state = State {
        namespace: arguments.namespace.clone(),
        pods: Hub::new("Pod"),
        config_maps: Hub::new("ConfigMap"),
        links: LogLinks { links: arguments.log_links, logs: arguments.pod_logs },
    };
    let changed = Arc::new(Notify::new());
    let waker = changed.clone();
    state.pods.subscribe(move |change| {
        if change.differs(|pod| &pod.metadata.labels) {
            waker.notify_one();
        }
    });
    let looks = Arc::new(Notify::new());
    let waker = looks.clone();
    state.pods.subscribe(move |change| {
        if change.differs(Subject::of) {
            waker.notify_one();
        }
    });
    let sight = Sight {
        pods: state.pods.clone(),
        processes: Processes { root: arguments.proc },
        reporter: Reporter {
            client: client.clone(),
            applier: Applier::new(client.clone(), AGENT, metrics.clone()),
            reports: Applier::new(client.clone(), AGENT_REPORTS, metrics.clone()),
            node: arguments.node.clone(),
        },
        node: arguments.node.clone(),
    };
    let waker = changed.clone();
    state.config_maps.subscribe(move |_| waker.notify_one());
    watch(&mut tasks, &client, &state, &arguments.node, &metrics);
    let labels = NodeLabel {
        applier: sight.reporter.applier.clone(),
        node: (!arguments.no_node_label).then(|| arguments.node.clone()),
    };
    tasks.spawn("agents' files", files::keep(install, labels, stop.clone()));
    if !arguments.no_detection {
        keep_instances(&mut tasks, sight.clone(), arguments.go_socket, &arguments.namespace);
        let socket = arguments.container_runtime_socket;
        let runtime = arguments.container_runtime.then(|| ContainerRuntime::new(socket));
        tasks.spawn("runtime detection", Observer { sight, runtime }.run(looks, stop.clone()));
    }
    tasks.spawn("log links", keep_links(state, changed, ready, stop));
    tasks.wait().await?;
    tracing::info!("{AGENT} ended");
    Ok(())
}

/// Tells how agents do, and has Go processes instrumented.
fn keep_instances(tasks: &mut Tasks, sight: Sight, go_socket: Option<PathBuf>, namespace: &str) {
    let changed = Arc::new(Notify::new());
    let waker = changed.clone();
    sight.pods.subscribe(move |change| {
        if change.differs(Subject::carrying) {
            waker.notify_one();
        }
    });
    let go = go_socket.map(|socket| GoAgent::new(socket, changed.clone()));
    let stop = tasks.stop();
    if let Some(go) = go.clone() {
        tasks.spawn("connection to what instruments Go", go.run(stop.clone()));
    }
    let instances = Instances { sight, go, endpoint: format!("http://{NODE_SERVICE}.{namespace}:{OTLP_HTTP_PORT}") };
    tasks.spawn("health of agents", instances.run(changed, stop));
}

/// Removes everything, again and again until it is done, and then waits for the end.
async fn leave_node(install: Install, sees_processes: bool, ready: Readiness, stop: CancellationToken) {
    loop {
        match leave::remove(&install, sees_processes) {
            Ok(kept) => {
                tracing::info!(folder = %install.target.display(), ?kept, "this node is left");
                ready.set();
                return stop.cancelled().await;
            }
            Err(error) => tracing::warn!(%error, "not everything could be removed, it is tried again"),
        }
        tokio::select! {
            () = tokio::time::sleep(LEAVE_AGAIN) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn watch(tasks: &mut Tasks, client: &Client, state: &State, node: &str, metrics: &Metrics) {
    let stop = tasks.stop();
    let api: Api<DeserializeGuard<Pod>> = Api::all(client.clone());
    let own = watcher::Config::default().any_semantic().fields(&format!("spec.nodeName={node}"));
    tasks.spawn("watch of Pods", hub::run(state.pods.clone(), api, own, subject::prune, metrics.clone(), stop.clone()));
    let api: Api<DeserializeGuard<ConfigMap>> = Api::namespaced(client.clone(), &state.namespace);
    let one = watcher::Config::default().any_semantic().fields(&format!("metadata.name={EFFECTIVE_CONFIGURATION}"));
    let maps = state.config_maps.clone();
    tasks.spawn("watch of the configuration", hub::run(maps, api, one, |_| {}, metrics.clone(), stop));
}

async fn keep_links(state: State, changed: Arc<Notify>, ready: Readiness, stop: CancellationToken) {
    let filled = async {
        tokio::join!(state.pods.synced(), state.config_maps.synced());
    };
    tokio::select! {
        () = filled => {}
        () = stop.cancelled() => return,
    }
    loop {
        match settle(&state) {
            Ok(()) => ready.set(),
            Err(error) => {
                tracing::warn!(%error, directory = %state.links.links.display(), "the links to container logs cannot be kept")
            }
        }
        tokio::select! {
            () = changed.notified() => tokio::time::sleep(GATHER).await,
            () = tokio::time::sleep(RECHECK) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn settle(state: &State) -> std::io::Result<()> {
    let map = state.config_maps.get(&state.namespace, EFFECTIVE_CONFIGURATION);
    let text = map.and_then(|map| map.data.as_ref()?.get(CONFIGURATION_KEY).cloned()).unwrap_or_default();
    let ignored = match Configuration::parse(&text) {
        Ok(configuration) => NamePatterns::new(configuration.texts("ignoredContainers")),
        Err(_) => NamePatterns::default(),
    };
    let pods: Vec<PodLogs> = state
        .pods
        .all()
        .iter()
        .filter_map(|(_, pod)| serde_json::to_value(pod.as_ref()).ok())
        .filter_map(|pod| PodLogs::of(&pod))
        .collect();
    let known = pods.iter().map(|pod| pod.directory.clone()).collect();
    let changes = state.links.settle(&log_links::links(&pods, &ignored, &state.namespace), &known)?;
    if changes.made + changes.removed > 0 {
        tracing::info!(made = changes.made, removed = changes.removed, "links to container logs");
    }
    Ok(())
}
