//! The real collector: `validate` for rendered configurations, and local collectors that run them.
//!
//! What cannot be as in a cluster is adapted in one visible place, [`adapt`]: addresses, credentials of the node, and
//! discovery. Everything else runs as rendered.

use crate::http;
use crate::ports::free_port;
use crate::process::{Process, eventually};
use anyhow::{Context, bail};
use odigos_api::CollectorRole;
use odigos_pipeline::components::METRICS_ENDPOINT;
use odigos_tools as tools;
use odigos_tools::catalog::{COLLECTOR, GATEWAY, NODE_COLLECTOR};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What stands in for the cluster around a local collector.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Directory for offsets, exports and the configuration.
    pub directory: PathBuf,
    /// Port for OTLP over gRPC.
    pub grpc: u16,
    /// Port for OTLP over HTTP.
    pub http: u16,
    /// Address of that port on a node; 127.0.0.1 unless senders come by IPv6.
    pub http_host: String,
    /// Port of the health check.
    pub health: u16,
    /// Port of the collector's own metrics.
    pub metrics: u16,
    /// Address on which they are served; 127.0.0.1 unless several collectors share the port.
    pub metrics_host: String,
    /// Port of the endpoint of metrics for readers with a certificate, on the same address.
    pub secure_metrics: u16,
    /// Folder with the certificate of that endpoint, as pods mount it; without one it is left out.
    pub metrics_certificate: Option<PathBuf>,
    /// Port on which the service graph's metrics can be scraped.
    pub service_graph: u16,
    /// Port on which counts of what passes can be scraped: by source, or by sampling rule.
    pub counts: u16,
    /// Gateways, as `127.0.0.1:port`, in place of the headless Service.
    pub gateways: Vec<String>,
    /// Certificates of both sides, in the folders `gateway` and `node`; without them these collectors talk without TLS.
    pub certificates: Option<PathBuf>,
    /// Port for OTLP over gRPC of senders without a certificate, where a gateway has both.
    pub open_grpc: u16,
    /// A kubeconfig for pod metadata; without one nothing is asked of an API server.
    pub kubeconfig: Option<PathBuf>,
    /// Name of the tool that runs: the collector with the components of both roles, unless a demonstration needs only some.
    pub program: &'static str,
}

impl Surroundings {
    /// Free ports, no gateways, no cluster.
    ///
    /// # Errors
    /// When no port is free.
    pub fn new(directory: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            directory: directory.to_path_buf(),
            grpc: free_port()?,
            http: free_port()?,
            http_host: "127.0.0.1".into(),
            health: free_port()?,
            metrics: free_port()?,
            metrics_host: "127.0.0.1".into(),
            secure_metrics: free_port()?,
            metrics_certificate: None,
            service_graph: free_port()?,
            counts: free_port()?,
            gateways: Vec::new(),
            certificates: None,
            open_grpc: free_port()?,
            kubeconfig: None,
            program: COLLECTOR,
        })
    }
}

/// The one place where a rendered configuration is changed so that it runs on this machine.
#[must_use]
pub fn adapt(mut config: Value, around: &Surroundings) -> Value {
    let loopback = |port: u16| json!(format!("127.0.0.1:{port}"));
    let scratch = |name: &str| json!(around.directory.join(name).display().to_string());
    let each = |config: &mut Value, section: &str, change: &dyn Fn(&str, &mut Value)| {
        for (id, settings) in config.get_mut(section).and_then(Value::as_object_mut).into_iter().flatten() {
            if settings.is_null() {
                *settings = json!({});
            }
            let component_type = id.split('/').next().unwrap_or_default().to_owned();
            change(&component_type, settings);
        }
    };
    let is_gateway = config.pointer("/receivers/otlp~1nodes").is_some();
    each(&mut config, "receivers", &|component_type, settings| match component_type {
        "otlp" if settings.pointer("/protocols/grpc/tls").is_some() => {
            let protocols = &mut settings["protocols"];
            protocols["grpc"]["endpoint"] = loopback(around.grpc);
            match certified(&protocols["grpc"]["tls"], "gateway", around) {
                Some(tls) => protocols["grpc"]["tls"] = tls,
                // Senders of tests speak without TLS, and some by HTTP.
                None => {
                    protocols["grpc"].as_object_mut().map(|grpc| grpc.remove("tls"));
                    protocols["http"] =
                        json!({"endpoint": loopback(around.http), "max_request_body_size": 4 * 1024 * 1024});
                    if let Some(middlewares) = protocols["grpc"].get("middlewares").cloned() {
                        protocols["http"]["middlewares"] = middlewares;
                        protocols["http"]["compression_algorithms"] = json!([]);
                    }
                }
            }
        }
        "otlp" if is_gateway && settings.pointer("/protocols/grpc").is_some() => {
            settings["protocols"] = json!({"grpc": settings["protocols"]["grpc"]});
            settings["protocols"]["grpc"]["endpoint"] = loopback(around.open_grpc);
        }
        "otlp" if settings.pointer("/protocols/grpc").is_some() => {
            settings["protocols"]["grpc"]["endpoint"] = loopback(around.grpc);
            settings["protocols"]["http"]["endpoint"] = json!(format!("{}:{}", around.http_host, around.http));
        }
        // There is no kubelet, and the root of the machine is not mounted elsewhere.
        "kubelet_stats" => settings["auth_type"] = json!("none"),
        "host_metrics" => settings["root_path"] = json!("/"),
        "k8s_cluster" => settings["auth_type"] = json!("none"),
        "prometheus" => {
            let jobs = settings.pointer_mut("/config/scrape_configs").and_then(Value::as_array_mut);
            for job in jobs.into_iter().flatten().filter(|job| job["job_name"] != "servicegraph") {
                job["static_configs"] = json!([{"targets": [format!("{}:{}", around.metrics_host, around.metrics)]}]);
            }
        }
        _ => {}
    });
    each(&mut config, "processors", &|component_type, settings| {
        if component_type == "k8s_attributes" {
            // Outside a pod there is no service account.
            settings["auth_type"] = json!(if around.kubeconfig.is_some() { "kubeConfig" } else { "none" });
            settings["wait_for_metadata"] = json!(around.kubeconfig.is_some());
        }
    });
    each(&mut config, "extensions", &|component_type, settings| match component_type {
        "health_check" => settings["endpoint"] = loopback(around.health),
        "file_storage" => settings["directory"] = scratch("offsets"),
        "k8s_leader_elector" => settings["auth_type"] = json!("none"),
        METRICS_ENDPOINT => adapt_metrics_endpoint(settings, around),
        _ => {}
    });
    if around.metrics_certificate.is_none() {
        config.pointer_mut("/extensions").and_then(Value::as_object_mut).map(|all| all.remove(METRICS_ENDPOINT));
        let started = config.pointer_mut("/service/extensions").and_then(Value::as_array_mut);
        if let Some(started) = started {
            started.retain(|id| id != METRICS_ENDPOINT);
        }
    }
    each(&mut config, "exporters", &|component_type, settings| match component_type {
        // The headless Service of the gateway is a list of loopback addresses here.
        "load_balancing" if !around.gateways.is_empty() => {
            let tls = &mut settings["protocol"]["otlp"]["tls"];
            *tls = certified(tls, "node", around).unwrap_or_else(|| json!({"insecure": true}));
            settings["resolver"] = json!({"static": {"hostnames": around.gateways}});
        }
        "otlp_grpc" => {
            let endpoint = settings.get("endpoint").and_then(Value::as_str).unwrap_or_default().to_owned();
            if endpoint.starts_with("odigos-gateway-otlp.")
                && let Some(first) = around.gateways.first()
            {
                settings["endpoint"] = json!(first);
                settings["tls"] =
                    certified(&settings["tls"], "node", around).unwrap_or_else(|| json!({"insecure": true}));
            }
            if endpoint.starts_with("ui.") {
                // No UI listens; the discard port refuses at once.
                settings["endpoint"] = json!("127.0.0.1:9");
            }
        }
        "file" => {
            let name =
                settings["path"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or("export.json").to_owned();
            settings["path"] = scratch(&name);
        }
        "prometheus" => settings["endpoint"] = loopback(around.service_graph),
        _ => {}
    });
    for counts in ["prometheus/sources", "prometheus/sampling-rules"] {
        if let Some(settings) = config.pointer_mut("/exporters").and_then(|exporters| exporters.get_mut(counts)) {
            settings["endpoint"] = loopback(around.counts);
        }
    }
    if let Some(readers) = config.pointer_mut("/service/telemetry/metrics/readers") {
        *readers =
            json!([{"pull": {"exporter": {"prometheus": {"host": around.metrics_host, "port": around.metrics}}}}]);
    }
    config
}

/// The endpoint of metrics, before what is served on this machine.
fn adapt_metrics_endpoint(settings: &mut Value, around: &Surroundings) {
    settings["endpoint"] = json!(format!("{}:{}", around.metrics_host, around.secure_metrics));
    for source in settings["sources"].as_array_mut().into_iter().flatten() {
        let text = source.as_str().unwrap_or_default();
        let (host, port) = match text.trim_end_matches("/metrics").rsplit(':').next() {
            Some("9090") => ("127.0.0.1", around.service_graph),
            Some("9091" | "55683") => ("127.0.0.1", around.counts),
            _ => (around.metrics_host.as_str(), around.metrics),
        };
        *source = json!(format!("http://{host}:{port}/metrics"));
    }
    if let Some(folder) = &around.metrics_certificate {
        in_folder(&mut settings["tls"], folder);
    }
}

/// TLS settings with the files of this machine; none where there are none, or where none were rendered.
fn certified(tls: &Value, side: &str, around: &Surroundings) -> Option<Value> {
    let folder = around.certificates.as_ref().filter(|_| tls.get("cert_file").is_some())?.join(side);
    let mut tls = tls.clone();
    in_folder(&mut tls, &folder);
    Some(tls)
}

fn in_folder(tls: &mut Value, folder: &Path) {
    for (key, file) in tls.as_object_mut().into_iter().flatten().filter(|(key, _)| key.ends_with("_file")) {
        let name = file.as_str().and_then(|path| path.rsplit('/').next()).unwrap_or(key).to_owned();
        *file = json!(folder.join(name).display().to_string());
    }
}

fn environment(command: &mut Command, around: &Surroundings) {
    let fixed = [
        ("NODE_NAME", "local"),
        ("NODE_IP", "127.0.0.1"),
        ("POD_NAME", "local"),
        ("POD_NAMESPACE", "odigos-system"),
        ("ODIGOS_VERSION", "local"),
    ];
    command.envs(fixed);
    if let Some(kubeconfig) = &around.kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
}

/// Components of rendered configurations that the test build lacks, with the reason. Configurations that use them are
/// counted by callers, never passed over in silence.
pub const NOT_IN_TEST_BUILD: [(&str, &str); 1] =
    [("googlecloudstorage/", "its module can be had at no release that compiles with the others")];

/// Whether the test build has every component of a configuration.
#[must_use]
pub fn is_in_test_build(text: &str) -> bool {
    !NOT_IN_TEST_BUILD.iter().any(|(component, _)| text.contains(component))
}

/// What the collector has accepted before: of many clusters, most nodes have the same configuration, and each answer takes a second.
static ACCEPTED: Mutex<BTreeSet<(CollectorRole, String)>> = Mutex::new(BTreeSet::new());

/// The tool that is shipped as the collector of a role.
#[must_use]
pub const fn shipped(role: CollectorRole) -> &'static str {
    match role {
        CollectorRole::ClusterGateway => GATEWAY,
        CollectorRole::NodeCollector => NODE_COLLECTOR,
    }
}

/// Runs `validate` of the collector that is shipped for `role` on a rendered configuration, unless it has accepted the same text
/// before.
///
/// # Errors
/// What the collector says.
pub fn validate(role: CollectorRole, text: &str, directory: &Path) -> anyhow::Result<()> {
    let judged = (role, text.to_owned());
    if ACCEPTED.lock().unwrap_or_else(PoisonError::into_inner).contains(&judged) {
        return Ok(());
    }
    let around = Surroundings {
        grpc: 1,
        open_grpc: 7,
        http: 2,
        health: 3,
        metrics: 4,
        secure_metrics: 8,
        metrics_certificate: Some(directory.to_path_buf()),
        service_graph: 5,
        counts: 6,
        ..Surroundings::new(directory)?
    };
    let config: Value = serde_yaml::from_str(text).context("the rendered configuration is no YAML")?;
    let file = tempfile::Builder::new().suffix(".yaml").tempfile_in(directory)?;
    std::fs::write(file.path(), odigos_pipeline::yaml::to_string(&adapt(config, &around)))?;
    let mut command = Command::new(tools::find(shipped(role))?);
    environment(&mut command, &around);
    command.envs(secret_variables(text));
    let output = command.arg("validate").arg(format!("--config={}", file.path().display())).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    ACCEPTED.lock().unwrap_or_else(PoisonError::into_inner).insert(judged);
    Ok(())
}

/// Every variable that a Secret would fill, with a value of a plausible form.
pub fn secret_variables(text: &str) -> impl Iterator<Item = (String, String)> {
    let names = text.split("${env:D_").skip(1).filter_map(|rest| rest.split('}').next());
    names.map(|name| (format!("D_{name}"), "0123456789abcdef0123456789abcdef".to_owned()))
}

/// A configuration as the collector reads it, with everything in place of its references; `variables` are further environment.
///
/// # Errors
/// What the collector says.
pub fn expanded(text: &str, directory: &Path, variables: &[(String, String)]) -> anyhow::Result<String> {
    let around = Surroundings::new(directory)?;
    run_on_files(COLLECTOR, &["print-config", "--mode=unredacted"], &[text.to_owned()], &around, variables)
}

/// Writes the files of a configuration, adapted; returns the arguments that name them.
///
/// # Errors
/// When one is no YAML or cannot be written.
fn write_files(name: &str, texts: &[String], around: &Surroundings) -> anyhow::Result<Vec<String>> {
    let mut arguments = Vec::new();
    for (position, text) in texts.iter().enumerate() {
        let number = if position == 0 { String::new() } else { format!("-{position}") };
        let file = around.directory.join(format!("{name}{number}.yaml"));
        let config: Value = serde_yaml::from_str(text).context("the rendered configuration is no YAML")?;
        std::fs::write(&file, odigos_pipeline::yaml::to_string(&adapt(config, around)))?;
        arguments.push(format!("--config={}", file.display()));
    }
    Ok(arguments)
}

/// What a command of a collector's program (`validate`, `print-config …`) says of a configuration in several files; `variables` are further
/// environment.
///
/// # Errors
/// What the collector says.
pub fn run_on_files(
    program: &str,
    command: &[&str],
    texts: &[String],
    around: &Surroundings,
    variables: &[(String, String)],
) -> anyhow::Result<String> {
    let mut process = Command::new(tools::find(program)?);
    environment(&mut process, around);
    process.envs(variables.iter().cloned()).args(command).args(write_files("read", texts, around)?);
    let output = process.output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    process: Process,
    /// Where it listens.
    pub around: Surroundings,
}

impl Collector {
    /// Starts a rendered configuration, with `variables` as further environment, and waits until it is healthy.
    ///
    /// # Errors
    /// What it wrote before it ended, or that it did not become healthy.
    pub async fn start(
        name: &str,
        text: &str,
        around: Surroundings,
        variables: &[(String, String)],
    ) -> anyhow::Result<Self> {
        Self::start_with(name, text, around, variables, &[]).await
    }

    /// Starts it with feature gates.
    ///
    /// # Errors
    /// As [`Collector::start`].
    pub async fn start_with(
        name: &str,
        text: &str,
        around: Surroundings,
        variables: &[(String, String)],
        gates: &[&str],
    ) -> anyhow::Result<Self> {
        Self::start_files(name, &[text.to_owned()], around, variables, gates).await
    }

    /// Starts a configuration in several files.
    ///
    /// # Errors
    /// As [`Collector::start`].
    pub async fn start_files(
        name: &str,
        texts: &[String],
        around: Surroundings,
        variables: &[(String, String)],
        gates: &[&str],
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&around.directory)?;
        let mut command = Command::new(tools::find(around.program)?);
        environment(&mut command, &around);
        command.envs(variables.iter().cloned()).args(write_files(name, texts, &around)?);
        if !gates.is_empty() {
            command.arg(format!("--feature-gates={}", gates.join(",")));
        }
        let log = around.directory.join(format!("{name}.log"));
        let mut process = Process::start(name, &mut command, &log)?;
        let health = around.health;
        let healthy = eventually("the collector is healthy", Duration::from_secs(90), || async move {
            http::get(health, "/", None).await.is_some()
        });
        if let Err(error) = healthy.await {
            let running = process.is_running();
            return Err(error.context(format!("{} (running: {running})", process.tail())));
        }
        Ok(Self { process, around })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Ends it without warning, as a crash would.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Asks it to end, and waits until its queues are sent.
    pub fn stop(mut self) {
        self.process.stop(Duration::from_secs(90));
    }

    /// Where its OTLP receiver listens, as a URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.around.grpc)
    }
}
