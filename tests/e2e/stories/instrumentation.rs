//! What the product is loved for: one Source, and ordinary applications in Java, Node.js, Python and Go tell of themselves,
//! with their owners' options in force and everything as it was afterwards.

use crate::release;
use anyhow::{Context, bail};
use odigos_api::API_VERSION;
use odigos_e2e::cluster::{Cluster, Pod, eventually};
use odigos_e2e::office::{self, CHAIN, Manner, Service};
use odigos_e2e::records::Records;
use odigos_e2e::shop;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const BACKEND: &str = "office";
/// Time for a rollout of a Java application on two busy cores.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// Identity that every item of an instrumented workload carries.
pub(crate) const IDENTITY: [&str; 5] =
    ["k8s.namespace.name", "k8s.pod.name", "k8s.node.name", "k8s.deployment.name", "odigos.workload.name"];

/// Services in a namespace, usually the chain, and a backend in another.
pub(crate) struct Office<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) namespace: &'static str,
    pub(crate) backends: &'static str,
    pub(crate) manner: Manner,
    /// Each asks the next one.
    pub(crate) services: &'static [Service],
}

/// A backend in a namespace of its own, and the Destination of the default stream that names it.
pub(crate) async fn a_backend_takes_all(cluster: &Cluster, (namespace, name): (&str, &str)) -> anyhow::Result<()> {
    cluster.apply(&shop::namespace(namespace)).await?;
    cluster.apply_all(shop::backend((namespace, name), &cluster.image)).await?;
    cluster.rolled_out("Deployment", (namespace, name), LIMIT).await?;
    cluster.apply(&shop::destination(&cluster.namespace, name, &format!("{name}.{namespace}:4317"), &["default"])).await
}

/// A namespace Source alone: one trace crosses four languages; taking it away leaves what was there before.
pub(crate) async fn one_source_tells_of_four_languages(cluster: Cluster) -> anyhow::Result<()> {
    let office = Office {
        cluster: &cluster,
        namespace: "e2e-office",
        backends: "e2e-office-backends",
        manner: Manner::Plain,
        services: &CHAIN,
    };
    office.set().await?;
    let before = office.templates().await?;
    office.is_told_of().await?;
    for pod in office.pods().await? {
        // The namespace says nothing of what it admits, so files come by init containers.
        let volumes = pod.0["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        assert!(volumes.iter().all(|volume| volume.get("hostPath").is_none()), "{}: a host path", pod.name());
    }
    office.is_left_as_it_was(&before).await?;
    office.strike().await
}

/// The same where pods may do next to nothing, and options come from elsewhere.
pub(crate) async fn guarded_applications_are_told_of(cluster: Cluster) -> anyhow::Result<()> {
    let office = Office {
        cluster: &cluster,
        namespace: "e2e-guarded",
        backends: "e2e-guarded-backends",
        manner: Manner::Guarded,
        services: &CHAIN,
    };
    // They have options in their images and take variables as a whole, which only the container runtime tells apart.
    let agents = (cluster.namespace.as_str(), odigos_api::names::AGENT_SERVICE);
    let mut values = vec!["agent.containerRuntime.enabled=true"];
    if cluster.script.is_some() {
        values.push("agent.containerRuntime.socket=/run/containerd/own/containerd.sock");
    }
    release::install(&cluster.namespace, &values).await?;
    cluster.rolled_out("DaemonSet", agents, LIMIT).await?;
    office.set().await?;
    let before = office.templates().await?;
    office.is_told_of().await?;
    for service in CHAIN.iter().filter(|service| service.has_agent_inside()) {
        for pod in cluster.pods(office.namespace, &format!("app={}", service.name)).await? {
            assert!(pod.0.pointer("/spec/initContainers/0").is_some(), "{}: no files of the node there", pod.name());
        }
    }
    office.images_are_known().await?;
    office.is_left_as_it_was(&before).await?;
    office.strike().await?;
    release::install(&cluster.namespace, &[]).await?;
    cluster.rolled_out("DaemonSet", agents, LIMIT).await
}

impl Office<'_> {
    pub(crate) async fn set(&self) -> anyhow::Result<()> {
        let cluster = self.cluster;
        cluster.apply_all(office::surroundings(self.namespace, self.manner)).await?;
        a_backend_takes_all(cluster, (self.backends, BACKEND)).await?;
        for service in self.services {
            cluster.apply_all(office::deployment(self.namespace, *service, &cluster.image, 1, self.manner)).await?;
        }
        for service in self.services {
            cluster.rolled_out("Deployment", (self.namespace, service.name), LIMIT).await?;
        }
        // Services follow their pods a moment later.
        eventually("the chain answers", Duration::from_secs(90), || self.ask()).await
    }

    /// Applies the Source of the namespace.
    pub(crate) async fn cover(&self) -> anyhow::Result<()> {
        self.cluster.apply(&shop::source(self.namespace, "Namespace", self.namespace, &[])).await
    }

    /// Applies the Source, and waits for everything that is promised.
    async fn is_told_of(&self) -> anyhow::Result<()> {
        let (cluster, namespace) = (self.cluster, self.namespace);
        let begun = Instant::now();
        self.cover().await?;
        // People go on asking: every rollout happens under requests.
        let whole = eventually("one trace crosses all services", LIMIT, || async {
            self.ask().await?;
            crossing(&self.arrived().await?, self.services)
        })
        .await?;
        println!("  first whole trace {:.1} s after the Source: {whole}", begun.elapsed().as_secs_f64());
        eventually("metrics of every runtime and logs arrived", Duration::from_secs(240), || async {
            self.ask().await?;
            signals(&self.arrived().await?)
        })
        .await?;
        println!("  metrics of every runtime and logs {:.1} s after the Source", begun.elapsed().as_secs_f64());
        for service in self.services {
            cluster.rolled_out("Deployment", (namespace, service.name), LIMIT).await?;
            let sets = cluster.list("apps/v1", "ReplicaSet", namespace, &format!("app={}", service.name)).await?;
            assert_eq!(sets.len(), 2, "{} was made anew once", service.name);
            for pod in cluster.pods(namespace, &format!("app={}", service.name)).await? {
                assert_eq!(pod.restarts(), 0, "{} never ended", pod.name());
                assert!(pod.has_agent(), "{} carries an agent", pod.name());
                self.keeps_options(*service, &pod).await?;
            }
            self.is_said_to_be_well(*service).await?;
        }
        self.every_agent_is_said_to_be_well().await
    }

    /// The container runtime told what images set, though pods take variables as a whole; what those set is referred to, not copied.
    async fn images_are_known(&self) -> anyhow::Result<()> {
        for (service, name, value, libc) in [
            ("inventory", "NODE_OPTIONS", "--title=image", "musl"),
            ("pricing", "PYTHONPATH", "/application/packages:/application/chosen", "glibc"),
        ] {
            let config = self.cluster.config(self.namespace, service).await?;
            let details = config["status"]["runtimeDetailsByContainer"][0].clone();
            assert_eq!(details["envFromContainerRuntime"], json!([{"name": name, "value": value}]), "{details}");
            assert_eq!(details.get("criErrorMessage"), None);
            assert_eq!(details["libCType"], libc, "{details}");
        }
        for pod in self.cluster.pods(self.namespace, "app=inventory").await? {
            let list = pod.0["spec"]["containers"][0]["env"].to_string();
            assert!(list.contains("$(ORIGINAL_NODE_OPTIONS)") && !list.contains("--title=kept"), "{list}");
        }
        println!("  what images set is known from the container runtime");
        Ok(())
    }

    /// Each pod has at least one instance, and all are healthy or have nothing to say yet (workers that nobody asked).
    async fn every_agent_is_said_to_be_well(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        eventually("every agent is said to be well", Duration::from_secs(180), || async {
            let instances = self.cluster.list(API_VERSION, "InstrumentationInstance", self.namespace, "").await?;
            for pod in self.pods().await? {
                let owned = |one: &&Value| one.pointer("/metadata/ownerReferences/0/name") == Some(&json!(pod.name()));
                let told: Vec<&Value> = instances.iter().filter(owned).filter_map(|one| one.get("status")).collect();
                let is_well = told.iter().any(|one| one["healthy"] == true);
                anyhow::ensure!(is_well && told.iter().all(|one| one["healthy"] != false), "{}: {told:?}", pod.name());
            }
            Ok(())
        })
        .await?;
        println!("  every agent is said to be well {:.0} s later", begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// Takes the Source away; everything is then as its owner made it.
    pub(crate) async fn is_left_as_it_was(&self, before: &BTreeMap<String, Value>) -> anyhow::Result<()> {
        let source = format!("namespace-{}", self.namespace);
        self.cluster.delete(API_VERSION, "Source", (self.namespace, &source)).await?;
        self.is_as_it_was(before).await?;
        println!("  without the Source everything is as it was");
        Ok(())
    }

    /// Waits until no pod has an agent; templates, and what pods got of them, are then as their owner wrote them.
    pub(crate) async fn is_as_it_was(&self, before: &BTreeMap<String, Value>) -> anyhow::Result<()> {
        eventually("no pod carries an agent", LIMIT, || async {
            match self.pods().await?.iter().find(|pod| pod.has_agent() || !pod.is_ready()) {
                Some(pod) => bail!("{} does", pod.name()),
                None => Ok(()),
            }
        })
        .await?;
        assert_eq!(*before, self.templates().await?, "the templates are as their owner wrote them");
        for service in self.services {
            for pod in self.cluster.pods(self.namespace, &format!("app={}", service.name)).await? {
                self.keeps_options(*service, &pod).await?;
                let (container, owner) =
                    (&pod.0["spec"]["containers"][0], &before[service.name]["spec"]["containers"][0]);
                assert_eq!(pod.0["spec"]["initContainers"], before[service.name]["spec"]["initContainers"]);
                for field in ["env", "envFrom", "securityContext", "args"] {
                    assert_eq!(container[field], owner[field], "{field} of {}", pod.name());
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn strike(&self) -> anyhow::Result<()> {
        self.cluster.delete(API_VERSION, "Destination", (&self.cluster.namespace, BACKEND)).await?;
        self.cluster.delete_namespaces(&[self.namespace, self.backends]).await
    }

    pub(crate) async fn pods(&self) -> anyhow::Result<Vec<Pod>> {
        self.cluster.pods(self.namespace, "").await
    }

    /// One request through the whole chain.
    pub(crate) async fn ask(&self) -> anyhow::Result<()> {
        let (Some(first), Some(last)) = (self.services.first(), self.services.last()) else { bail!("nobody to ask") };
        let pods = self.cluster.pods(self.namespace, &format!("app={}", first.name)).await?;
        let pod = pods.iter().find(|pod| pod.is_ready()).with_context(|| format!("no {} is ready", first.name))?;
        let answer: Value = self.cluster.ask(self.namespace, &pod.name(), "/").await?;
        let end = "/next".repeat(self.services.len() - 1) + "/service";
        anyhow::ensure!(answer.pointer(&end).and_then(Value::as_str) == Some(last.name), "the chain answers {answer}");
        Ok(())
    }

    pub(crate) async fn arrived(&self) -> anyhow::Result<Records> {
        let pods = self.cluster.pods(self.backends, &format!("app={BACKEND}")).await?;
        let pod = pods.first().context("the backend has no pod")?;
        self.cluster.ask(self.backends, &pod.name(), "/").await
    }

    /// Lets the backend forget what arrived.
    pub(crate) async fn forget(&self) -> anyhow::Result<()> {
        let pods = self.cluster.pods(self.backends, &format!("app={BACKEND}")).await?;
        let pod = pods.first().context("the backend has no pod")?;
        self.cluster.tell(self.backends, &pod.name(), "/forget").await
    }

    /// What the user passes to the runtime is in force.
    pub(crate) async fn keeps_options(&self, service: Service, pod: &Pod) -> anyhow::Result<()> {
        let answer: Value = self.cluster.ask(self.namespace, &pod.name(), "/options").await?;
        assert_eq!(answer["option"], service.answer, "{}: {answer}", pod.name());
        Ok(())
    }

    /// The templates' specs, and their metadata without the note of a restart.
    pub(crate) async fn templates(&self) -> anyhow::Result<BTreeMap<String, Value>> {
        let mut templates = BTreeMap::new();
        for service in self.services {
            let live = self
                .cluster
                .get("apps/v1", "Deployment", (self.namespace, service.name))
                .await?
                .context("no Deployment")?;
            let mut template = live["spec"]["template"].clone();
            if let Some(metadata) = template.pointer_mut("/metadata").and_then(Value::as_object_mut) {
                metadata.remove("annotations");
            }
            templates.insert(service.name.to_owned(), template);
        }
        Ok(templates)
    }

    /// The status tells what was found and done.
    pub(crate) async fn is_said_to_be_well(&self, service: Service) -> anyhow::Result<()> {
        eventually(&format!("{} is said to be well", service.name), Duration::from_secs(120), || async {
            let live = self.cluster.config(self.namespace, service.name).await?;
            let details = live.pointer("/status/runtimeDetailsByContainer/0").cloned().unwrap_or_default();
            anyhow::ensure!(details["language"] == service.language, "{details}");
            let conditions = live.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            let bad = conditions.iter().find(|one| one["status"] != "True");
            anyhow::ensure!(bad.is_none() && conditions.len() >= 5, "{} conditions, {bad:?}", conditions.len());
            Ok(())
        })
        .await
    }
}

/// A trace with spans of every one of these services, each under the name of its workload and with its identity.
pub(crate) fn crossing(records: &Records, services: &[Service]) -> anyhow::Result<String> {
    let of = |service: &Service| records.of("traces", service.name);
    let traces = |service: &Service| of(service).traces.into_keys().collect::<BTreeSet<String>>();
    let mut common = services.first().map(traces).unwrap_or_default();
    for service in services {
        let theirs = traces(service);
        common.retain(|trace| theirs.contains(trace));
    }
    let trace = common.pop_first().with_context(|| {
        let counts: Vec<_> = services.iter().map(|one| (one.name, of(one).traces.len())).collect();
        format!("traces by service: {counts:?}, none in common")
    })?;
    for service in services {
        let without: Vec<_> = IDENTITY.iter().filter(|key| !of(service).keys.contains(**key)).collect();
        assert!(without.is_empty(), "spans of {} lack {without:?}: {:?}", service.name, of(service).keys);
    }
    Ok(trace)
}

fn signals(records: &Records) -> anyhow::Result<()> {
    for (service, prefix) in CHAIN.iter().zip([Some("jvm."), Some("nodejs."), Some("cpython."), None]) {
        let metrics = records.of("metrics", service.name).names;
        // What attaches from outside sends traces only.
        anyhow::ensure!(
            prefix.is_none_or(|prefix| metrics.keys().any(|name| name.starts_with(prefix))),
            "no metric {prefix:?} of {}: {:?}",
            service.name,
            metrics.keys().collect::<Vec<_>>()
        );
        let logs = records.of("logs", service.name).names;
        let line = format!("{} served a request", service.name);
        anyhow::ensure!(
            logs.keys().any(|log| log.contains(&line)),
            "no log of {}: {:?}",
            service.name,
            logs.keys().take(5).collect::<Vec<_>>()
        );
    }
    Ok(())
}
