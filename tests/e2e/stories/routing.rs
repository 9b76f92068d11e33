//! Data streams: six workloads in three streams over the nodes, counted item by item at every destination.

use anyhow::{Context, bail};
use odigos_api::API_VERSION;
use odigos_e2e::cluster::{Cluster, Pod, eventually};
use odigos_e2e::records::{Record, Records, Sent};
use odigos_e2e::shop;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long items may take: a backend that was away is tried again after up to two minutes, as gRPC does.
const ARRIVAL: Duration = Duration::from_secs(150);
/// How long a moved workload may take to be re-routed. It takes some seconds; how many depends on the machine, and is printed.
const REROUTING: Duration = Duration::from_secs(60);
const SIGNALS: [&str; 3] = ["traces", "metrics", "logs"];

/// A workload of the shop: kind, name, and the streams of its own Source; without any, those of its namespace.
const WORKLOADS: [(&str, &str, &[&str]); 6] = [
    ("Deployment", "frontend", &["web", "!shop"]),
    ("Deployment", "cart", &[]),
    ("Deployment", "checkout", &[]),
    ("StatefulSet", "payments", &["shop", "audit"]),
    ("DaemonSet", "shipping", &[]),
    ("Deployment", "search", &["default", "!shop"]),
];
/// Backends with their streams.
pub(crate) const BACKENDS: [(&str, &str); 4] =
    [("web", "web"), ("shop", "shop"), ("audit", "audit"), ("rest", "default")];

/// What plays in a story: a namespace with applications, another with backends.
pub(crate) struct Stage<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) applications: &'static str,
    pub(crate) backends: &'static str,
}

impl Stage<'_> {
    /// The streams of a workload.
    fn streams(name: &str) -> BTreeSet<&'static str> {
        let own = WORKLOADS.iter().find(|(_, one, _)| *one == name).map_or(&[][..], |(_, _, streams)| streams);
        if own.is_empty() {
            BTreeSet::from(["shop"])
        } else {
            own.iter().copied().filter(|one| !one.starts_with('!')).collect()
        }
    }

    /// Backends, Destinations and Sources first, then the applications: nothing is sent that nobody waits for.
    pub(crate) async fn set(&self, rate: u64) -> anyhow::Result<()> {
        self.set_with(rate, &[]).await
    }

    /// The same, with further arguments of the applications.
    pub(crate) async fn set_with(&self, rate: u64, more: &[&str]) -> anyhow::Result<()> {
        let cluster = self.cluster;
        cluster.apply_all([shop::namespace(self.applications), shop::namespace(self.backends)]).await?;
        for (backend, stream) in BACKENDS {
            cluster.apply_all(shop::backend((self.backends, backend), &cluster.image)).await?;
            let endpoint = format!("{backend}.{}:4317", self.backends);
            cluster.apply(&shop::destination(&cluster.namespace, backend, &endpoint, &[stream])).await?;
        }
        cluster.apply(&shop::source(self.applications, "Namespace", self.applications, &["shop"])).await?;
        for (kind, name, streams) in WORKLOADS.into_iter().filter(|(_, _, streams)| !streams.is_empty()) {
            cluster.apply(&shop::source(self.applications, kind, name, streams)).await?;
        }
        for (backend, _) in BACKENDS {
            cluster.rolled_out("Deployment", (self.backends, backend), Duration::from_secs(120)).await?;
        }
        let limit = Duration::from_secs(180);
        // Covered workloads are what brings the node collectors; the applications wait until they are told to begin.
        for (kind, name, _) in WORKLOADS {
            let arguments = shop::application(name, &cluster.namespace, rate, more);
            cluster.apply(&shop::workload(kind, (self.applications, name), 2, &cluster.image, &arguments)).await?;
        }
        cluster.rolled_out("DaemonSet", (&cluster.namespace, odigos_api::names::NODE_COLLECTOR), limit).await?;
        self.ready(limit).await
    }

    /// Waits until every application is ready and in its class, and no gateway changes.
    pub(crate) async fn ready(&self, limit: Duration) -> anyhow::Result<()> {
        for (kind, name, _) in WORKLOADS {
            self.cluster.rolled_out(kind, (self.applications, name), limit).await?;
        }
        self.every_pod_has_its_class(limit).await?;
        eventually("the gateways are at rest", limit, || async {
            for (backend, _) in BACKENDS {
                let key = (self.cluster.namespace.as_str(), backend);
                let live = self.cluster.get(API_VERSION, "Destination", key).await?.context("no destination")?;
                let seen = live.pointer("/status/conditions/0/observedGeneration");
                anyhow::ensure!(seen == live.pointer("/metadata/generation"), "{backend} is not looked at yet");
            }
            let group = (self.cluster.namespace.as_str(), odigos_api::names::GATEWAY);
            let group = self.cluster.get(API_VERSION, "CollectorsGroup", group).await?.context("there is no group")?;
            let conditions = group.pointer("/status/conditions").and_then(|all| all.as_array().cloned());
            let moving = conditions.into_iter().flatten().find(|one| one["type"] == "Progressing");
            anyhow::ensure!(moving.as_ref().is_some_and(|one| one["status"] == "False"), "{moving:?}");
            Ok(())
        })
        .await
    }

    async fn every_pod_has_its_class(&self, limit: Duration) -> anyhow::Result<()> {
        eventually("every pod carries a stream class", limit, || async {
            let pods = self.cluster.pods(self.applications, "").await?;
            let bare = pods.iter().find(|pod| pod.0["metadata"]["labels"]["odigos.io/stream-class"].is_null());
            match bare {
                Some(pod) => bail!("{} does not", pod.name()),
                None => Ok(()),
            }
        })
        .await
    }

    /// The pods of a workload.
    pub(crate) async fn pods(&self, workload: &str) -> anyhow::Result<Vec<Pod>> {
        self.cluster.pods(self.applications, &format!("app={workload}")).await
    }

    /// What arrived at a backend.
    pub(crate) async fn arrived(&self, backend: &str) -> anyhow::Result<Records> {
        let pods = self.cluster.pods(self.backends, &format!("app={backend}")).await?;
        let pod = pods.first().with_context(|| format!("{backend} has no pod"))?;
        self.cluster.ask(self.backends, &pod.name(), "/").await
    }

    /// Lets every application begin.
    pub(crate) async fn begin(&self) -> anyhow::Result<()> {
        for pod in self.cluster.pods(self.applications, "").await? {
            self.cluster.tell(self.applications, &pod.name(), "/start").await?;
        }
        Ok(())
    }

    /// The workloads of a stream.
    pub(crate) fn members(stream: &str) -> BTreeSet<&'static str> {
        WORKLOADS.iter().map(|(_, name, _)| *name).filter(|name| Self::streams(name).contains(stream)).collect()
    }

    /// Waits until a backend has everything that `workloads` sent and wrote; nothing may have come twice or from others.
    /// Returns how much it is.
    pub(crate) async fn has_exactly(
        &self,
        backend: &str,
        workloads: &BTreeSet<&str>,
        sent: &BTreeMap<String, Vec<Sent>>,
    ) -> anyhow::Result<usize> {
        let total = self.has_all(backend, workloads, sent).await?;
        let records = self.arrived(backend).await?;
        for (signal, name, items) in expected(workloads, sent)? {
            assert_eq!(compare(&records.of(signal, name), &items).1, 0, "{signal} of {name} came twice to {backend}");
        }
        Ok(total)
    }

    /// Waits until a backend has everything that `workloads` sent and wrote, with its identity; nothing may have come from
    /// others. Returns how much it is, and tells how much came twice.
    pub(crate) async fn has_all(
        &self,
        backend: &str,
        workloads: &BTreeSet<&str>,
        sent: &BTreeMap<String, Vec<Sent>>,
    ) -> anyhow::Result<usize> {
        let expected = expected(workloads, sent)?;
        let records = eventually(&format!("{backend} has everything"), ARRIVAL, || async {
            let records = self.arrived(backend).await?;
            for (signal, name, items) in &expected {
                let record = records.of(signal, name);
                let (missing, _) = compare(&record, items);
                let which = || ranges(items.iter().filter(|item| !record.names.contains_key(*item)));
                if missing > 0 {
                    let elsewhere = self.elsewhere(backend, signal, name, &record, items).await;
                    bail!("{missing} of {} {signal} of {name} are missing: {}{elsewhere}", items.len(), which());
                }
            }
            Ok(records)
        })
        .await?;
        let mut doubled = 0;
        for (signal, name, items) in &expected {
            let record = records.of(signal, name);
            doubled += compare(&record, items).1;
            let identity = ["k8s.namespace.name", "k8s.pod.name", "k8s.node.name", "odigos.workload.name"];
            let without: Vec<_> = identity.iter().filter(|key| !record.keys.contains(**key)).collect();
            assert!(without.is_empty(), "{signal} of {name} lack {without:?}: {:?}", record.keys);
        }
        if doubled > 0 {
            println!("  {doubled} items came twice to {backend}");
        }
        for signal in SIGNALS {
            let strangers: Vec<String> = WORKLOADS
                .iter()
                .map(|(_, name, _)| *name)
                .filter(|name| !workloads.contains(name))
                .filter_map(|name| {
                    let record = records.of(signal, name);
                    // Applications of another scenario have names of these too, so an item counts by the pod in its name.
                    let is_of_pod = |item: &&String| item.contains(&format!("{name}-")) && item.contains('/');
                    let items = record.names.keys().filter(is_of_pod);
                    let example = items.clone().next()?;
                    Some(format!("{} of {name}, such as {example} ({:?})", items.count(), record.resource))
                })
                .collect();
            assert!(strangers.is_empty(), "{signal} reached {backend}: {strangers:?}");
        }
        Ok(expected.iter().map(|(_, _, items)| items.len()).sum())
    }

    /// Which other backends have what is missing at one.
    async fn elsewhere(
        &self,
        backend: &str,
        signal: &str,
        workload: &str,
        record: &Record,
        wanted: &BTreeSet<String>,
    ) -> String {
        let mut found = String::new();
        for (other, _) in BACKENDS.iter().filter(|(other, _)| *other != backend) {
            let Ok(records) = self.arrived(other).await else { continue };
            let there = records.of(signal, workload);
            let is_misled = |item: &&String| !record.names.contains_key(*item) && there.names.contains_key(*item);
            let misled = wanted.iter().filter(is_misled).count();
            if misled > 0 {
                found += &format!("; {misled} of them are at {other}");
            }
        }
        found
    }

    /// Asks every application to be quiet, and returns what each has sent, by workload.
    pub(crate) async fn hush(&self) -> anyhow::Result<BTreeMap<String, Vec<Sent>>> {
        let mut sent: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
        for (_, workload, _) in WORKLOADS {
            for pod in self.pods(workload).await? {
                self.cluster.tell(self.applications, &pod.name(), "/stop").await?;
            }
        }
        for (_, workload, _) in WORKLOADS {
            for pod in self.pods(workload).await? {
                let name = pod.name();
                // What is under way when it is asked to stop still counts, however often it is tried.
                let settled = eventually("the application is quiet", Duration::from_secs(120), || async {
                    let ask = || self.cluster.ask::<Sent>(self.applications, &name, "/");
                    let before = ask().await?;
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    let after = ask().await?;
                    let same = (before.items, before.failures) == (after.items, after.failures);
                    anyhow::ensure!(same && !after.sending, "it sends");
                    Ok(after)
                })
                .await?;
                sent.entry(workload.to_owned()).or_default().push(settled);
            }
        }
        Ok(sent)
    }

    /// Removes everything.
    pub(crate) async fn strike(&self) -> anyhow::Result<()> {
        for (backend, _) in BACKENDS {
            self.cluster.delete(API_VERSION, "Destination", (&self.cluster.namespace, backend)).await?;
        }
        let mut sources = vec![("Namespace", self.applications)];
        sources.extend(
            WORKLOADS.iter().filter(|(_, _, streams)| !streams.is_empty()).map(|(kind, name, _)| (*kind, *name)),
        );
        for (kind, name) in sources {
            let source = format!("{}-{name}", kind.to_lowercase());
            self.cluster.delete(API_VERSION, "Source", (self.applications, &source)).await?;
        }
        self.cluster.delete_namespaces(&[self.applications, self.backends]).await
    }
}

/// Signal, workload and names of what a backend is to have.
type Expected = Vec<(&'static str, &'static str, BTreeSet<String>)>;

fn expected(workloads: &BTreeSet<&str>, sent: &BTreeMap<String, Vec<Sent>>) -> anyhow::Result<Expected> {
    let mut expected = Vec::new();
    for (_, name, _) in WORKLOADS.into_iter().filter(|(_, name, _)| workloads.contains(name)) {
        let of = sent.get(name).context("the workload sent nothing")?;
        let items: BTreeSet<String> = of.iter().flat_map(Sent::names).collect();
        let lines: BTreeSet<String> = of.iter().flat_map(Sent::written).collect();
        anyhow::ensure!(!items.is_empty() && !lines.is_empty(), "{name} sent nothing");
        expected.extend(SIGNALS.iter().map(|signal| (*signal, name, items.clone())));
        expected.push(("logs", name, lines));
    }
    Ok(expected)
}

/// Names with running numbers, as `pod/first-last` for each run.
fn ranges<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let mut numbers: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for name in names {
        if let Some((pod, number)) = name.rsplit_once('/').and_then(|(pod, number)| Some((pod, number.parse().ok()?))) {
            numbers.entry(pod).or_default().insert(number);
        }
    }
    let mut runs: Vec<String> = Vec::new();
    for (pod, numbers) in numbers {
        let mut numbers = numbers.into_iter().peekable();
        while let Some(first) = numbers.next() {
            let mut last = first;
            while let Some(next) = numbers.next_if(|next| *next == last + 1) {
                last = next;
            }
            runs.push(format!("{pod}/{first}-{last}"));
        }
    }
    runs.truncate(12);
    runs.join(" ")
}

/// What is missing, and what came more than once, of names that were to arrive.
pub(crate) fn compare(record: &Record, expected: &BTreeSet<String>) -> (usize, usize) {
    let missing = expected.iter().filter(|name| !record.names.contains_key(*name)).count();
    let doubled = record.names.iter().filter(|(name, count)| expected.contains(*name) && **count > 1).count();
    (missing, doubled)
}

/// The workloads and backends of the streams.
const fn stage(cluster: &Cluster) -> Stage<'_> {
    Stage { cluster, applications: "e2e-shop", backends: "e2e-backends" }
}

/// Each destination has every item of its streams' workloads once, and nothing else; lines of pods are among the logs.
pub(crate) async fn each_stream_gets_its_own(cluster: Cluster) -> anyhow::Result<()> {
    let stage = stage(&cluster);
    each_has_its_own(&stage).await?;
    crate::observability::everything_asked_for_is_exposed(&cluster).await?;
    stage.strike().await
}

/// The same without the product's own metrics: the API server, through which they are read here, is none of those whom policies let in.
pub(crate) async fn items_of_each_stream_arrive(cluster: &Cluster) -> anyhow::Result<()> {
    let stage = stage(cluster);
    each_has_its_own(&stage).await?;
    stage.strike().await
}

async fn each_has_its_own(stage: &Stage<'_>) -> anyhow::Result<()> {
    let begun = Instant::now();
    stage.set(20).await?;
    println!("  six workloads stand after {:.1} s", begun.elapsed().as_secs_f64());
    let nodes: BTreeSet<String> = stage.cluster.pods(stage.applications, "").await?.iter().map(Pod::node).collect();
    assert!(nodes.len() > 1, "they stand on several nodes");
    stage.begin().await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let sent = stage.hush().await?;
    let mut total = 0;
    for (backend, stream) in BACKENDS {
        total += stage.has_exactly(backend, &Stage::members(stream), &sent).await?;
    }
    let metrics = host_and_kubelet_metrics(stage).await?;
    println!("  {total} items and lines arrived once where they belong, and {metrics} metrics of hosts and kubelets");
    Ok(())
}

/// Names of the metrics that hosts and kubelets tell.
async fn host_and_kubelet_metrics(stage: &Stage<'_>) -> anyhow::Result<usize> {
    eventually("metrics of hosts and kubelets arrive", Duration::from_secs(90), || async {
        let mut names = BTreeSet::new();
        for (backend, _) in BACKENDS {
            let records = stage.arrived(backend).await?;
            let metrics = records.0.get("metrics").into_iter().flatten().flat_map(|(_, record)| record.names.keys());
            names.extend(metrics.filter(|name| name.starts_with("system.") || name.starts_with("k8s.")).cloned());
        }
        for wanted in ["system.cpu.time", "k8s.pod.memory.working_set"] {
            if !names.contains(wanted) {
                bail!("{wanted} is not among {names:?}");
            }
        }
        Ok(names.len())
    })
    .await
}

/// Moving a workload re-routes it within seconds, with no pod restarted and nothing lost or doubled.
pub(crate) async fn a_workload_moves(cluster: Cluster) -> anyhow::Result<()> {
    let stage = Stage { cluster: &cluster, applications: "e2e-move", backends: "e2e-move-backends" };
    stage.set(50).await?;
    let pods: BTreeSet<_> = stage.pods("cart").await?.iter().map(Pod::identity).collect();
    stage.begin().await?;
    eventually("the items of cart arrive in shop", ARRIVAL, || async {
        anyhow::ensure!(!stage.arrived("shop").await?.of("traces", "cart").names.is_empty(), "none is there");
        Ok(())
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let moved = Instant::now();
    cluster.apply(&shop::source(stage.applications, "Deployment", "cart", &["web", "!shop"])).await?;
    eventually("the items of cart arrive in web", REROUTING, || async {
        anyhow::ensure!(!stage.arrived("web").await?.of("traces", "cart").names.is_empty(), "none is there");
        Ok(())
    })
    .await?;
    let seconds = moved.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let sent = stage.hush().await?;
    let items: BTreeSet<String> = sent["cart"].iter().flat_map(Sent::names).collect();
    let lines: BTreeSet<String> = sent["cart"].iter().flat_map(Sent::written).collect();
    let signals = SIGNALS.iter().map(|signal| (*signal, &items)).chain([("logs", &lines)]);
    for (signal, wanted) in signals {
        eventually(&format!("{signal} of cart are complete"), ARRIVAL, || async {
            let (old, new) =
                (stage.arrived("shop").await?.of(signal, "cart"), stage.arrived("web").await?.of(signal, "cart"));
            let missing = wanted.iter().filter(|name| !old.names.contains_key(*name) && !new.names.contains_key(*name));
            let missing: Vec<_> = missing.collect();
            anyhow::ensure!(
                missing.is_empty(),
                "{} of {} are missing, e.g. {:?}",
                missing.len(),
                wanted.len(),
                missing[0]
            );
            let times = |name: &String| old.names.get(name).unwrap_or(&0) + new.names.get(name).unwrap_or(&0);
            let doubled = wanted.iter().filter(|name| times(name) > 1).count();
            assert_eq!(doubled, 0, "{signal} of cart came twice");
            Ok(())
        })
        .await?;
    }
    let after: BTreeSet<_> = stage.pods("cart").await?.iter().map(Pod::identity).collect();
    assert_eq!(pods, after, "no pod was restarted");
    println!(
        "  re-routed after {seconds:.1} s, {} items and {} lines of cart: none lost, none doubled",
        items.len() * 3,
        lines.len()
    );
    stage.strike().await
}
