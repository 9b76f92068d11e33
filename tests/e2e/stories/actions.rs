//! Actions on real agents and gateways: one stream gets spans masked, another gets them as they are; Actions come, change and go
//! under load; and traces that streams cut in two are reported.

use crate::instrumentation::LIMIT;
use crate::routing::{BACKENDS, Stage};
use anyhow::Context;
use odigos_api::{API_VERSION, names};
use odigos_e2e::cluster::{Cluster, condition, eventually};
use odigos_e2e::office::{self, CHAIN, Manner, Service};
use odigos_e2e::records::{Record, Records, WATCHED};
use odigos_e2e::shop;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const MAIL: &str = "anna@example.com";
const CARD: &str = "4111111111111111";
const STREAMS: [&str; 2] = ["audit", "raw"];

/// An Action of all signals of traces.
fn action(cluster: &Cluster, name: &str, streams: &[&str], mut spec: Value) -> Value {
    spec["signals"] = json!(["TRACES"]);
    spec["dataStreams"] = json!(streams);
    let metadata = json!({"name": name, "namespace": cluster.namespace});
    json!({"apiVersion": API_VERSION, "kind": "Action", "metadata": metadata, "spec": spec})
}

/// Waits until gateways run an Action as it is written now.
async fn in_force(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    eventually(&format!("gateways run the Action {name}"), LIMIT, || async {
        let live = cluster.get(API_VERSION, "Action", (&cluster.namespace, name)).await?.context("no Action")?;
        for kind in ["TransformedToProcessor", "AddedToCollectorConfig"] {
            let found = condition(&live, kind);
            anyhow::ensure!(found["status"] == "True", "{kind}: {found}");
            anyhow::ensure!(
                found["observedGeneration"] == live["metadata"]["generation"],
                "{found} is of an older one"
            );
        }
        Ok(())
    })
    .await?;
    at_rest(cluster).await
}

/// Waits until no gateway is replaced.
async fn at_rest(cluster: &Cluster) -> anyhow::Result<()> {
    eventually("the gateways are at rest", LIMIT, || async {
        let key = (cluster.namespace.as_str(), names::GATEWAY);
        let group = cluster.get(API_VERSION, "CollectorsGroup", key).await?.context("there is no group")?;
        let progressing = condition(&group, "Progressing");
        anyhow::ensure!(progressing["status"] == "False", "{progressing}");
        Ok(())
    })
    .await?;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::GATEWAY), LIMIT).await
}

/// Services and backends in namespaces of their own, each backend with the streams of the same name.
struct Place<'a> {
    cluster: &'a Cluster,
    applications: &'static str,
    backends: &'static str,
    services: &'static [Service],
    streams: [&'static str; 2],
}

impl Place<'_> {
    async fn set(&self) -> anyhow::Result<()> {
        let cluster = self.cluster;
        cluster.apply(&shop::namespace(self.backends)).await?;
        cluster.apply_all(office::surroundings(self.applications, Manner::Plain)).await?;
        for stream in self.streams {
            cluster.apply_all(shop::backend((self.backends, stream), &cluster.image)).await?;
            cluster.rolled_out("Deployment", (self.backends, stream), LIMIT).await?;
            let endpoint = format!("{stream}.{}:4317", self.backends);
            cluster.apply(&shop::destination(&cluster.namespace, stream, &endpoint, &[stream])).await?;
        }
        for service in self.services {
            let objects = office::deployment(self.applications, *service, &cluster.image, 1, Manner::Plain);
            cluster.apply_all(objects).await?;
        }
        for service in self.services {
            cluster.rolled_out("Deployment", (self.applications, service.name), LIMIT).await?;
        }
        Ok(())
    }

    /// Asks each service for a path, whatever it answers.
    async fn ask(&self, path: &str) -> anyhow::Result<()> {
        for service in self.services {
            let pods = self.cluster.pods(self.applications, &format!("app={}", service.name)).await?;
            let pod =
                pods.iter().find(|pod| pod.is_ready()).with_context(|| format!("no {} is ready", service.name))?;
            drop(self.cluster.ask::<Value>(self.applications, &pod.name(), path).await);
        }
        Ok(())
    }

    async fn backend(&self, stream: &str) -> anyhow::Result<String> {
        let pods = self.cluster.pods(self.backends, &format!("app={stream}")).await?;
        Ok(pods.first().with_context(|| format!("{stream} has no pod"))?.name())
    }

    async fn arrived(&self, stream: &str) -> anyhow::Result<Records> {
        self.cluster.ask(self.backends, &self.backend(stream).await?, "/").await
    }

    async fn forget(&self) -> anyhow::Result<()> {
        for stream in self.streams {
            self.cluster.tell(self.backends, &self.backend(stream).await?, "/forget").await?;
        }
        Ok(())
    }

    async fn strike(&self) -> anyhow::Result<()> {
        for stream in self.streams {
            self.cluster.delete(API_VERSION, "Destination", (&self.cluster.namespace, stream)).await?;
        }
        self.cluster.delete_namespaces(&[self.applications, self.backends]).await
    }
}

/// Whether texts of spans hold each of `parts`.
fn holds(record: &Record, parts: &[&str]) -> anyhow::Result<()> {
    for part in parts {
        anyhow::ensure!(record.watched.iter().any(|text| text.contains(part)), "no {part} in {:?}", record.watched);
    }
    Ok(())
}

/// Applications of four languages are asked for a raw URL with an address and the number of a card: the stream `audit` gets it masked,
/// the stream `raw` as it is.
pub(crate) async fn one_stream_is_masked(cluster: Cluster) -> anyhow::Result<()> {
    let place = Place {
        cluster: &cluster,
        applications: "e2e-people",
        backends: "e2e-people-backends",
        services: &CHAIN,
        streams: STREAMS,
    };
    place.set().await?;
    let mask = json!({"failurePolicy": "drop", "piiMasking": {
        "piiCategories": ["EMAIL", "CREDIT_CARD"],
        "customFormatMaskings": [{"lookupKey": WATCHED.trim_matches('/'), "dataFormat": "resource_path"}],
    }});
    cluster.apply(&action(&cluster, "mask", &["audit"], mask)).await?;
    cluster.apply(&shop::source(place.applications, "Namespace", place.applications, &STREAMS)).await?;
    let path = format!("{WATCHED}4711/{MAIL}/{CARD}");
    eventually("spans of the request arrive from every language", LIMIT, || async {
        place.ask(&path).await?;
        let raw = place.arrived("raw").await?;
        CHAIN.iter().try_for_each(|service| holds(&raw.of("traces", service.name), &[WATCHED]))
    })
    .await?;
    in_force(&cluster, "mask").await?;
    place.forget().await?;
    let begun = Instant::now();
    eventually("one stream has it masked, and the other as it is", Duration::from_secs(90), || async {
        place.ask(&path).await?;
        let (raw, audit) = (place.arrived("raw").await?, place.arrived("audit").await?);
        for service in CHAIN {
            holds(&raw.of("traces", service.name), &[MAIL, CARD, "/4711"])?;
            holds(&audit.of("traces", service.name), &["***EMAIL***", "***CREDIT_CARD***", &format!("{WATCHED}****")])?;
        }
        Ok(())
    })
    .await?;
    let mut texts = 0;
    for service in CHAIN {
        let watched = place.arrived("audit").await?.of("traces", service.name).watched;
        texts += watched.len();
        let leaks: Vec<&String> =
            watched.iter().filter(|text| [MAIL, CARD, "/4711"].iter().any(|part| text.contains(part))).collect();
        assert_eq!(leaks, Vec::<&String>::new(), "of {}", service.name);
    }
    println!("  four languages told masked after {:.1} s, in {texts} texts", begun.elapsed().as_secs_f64());
    cluster.delete(API_VERSION, "Action", (&cluster.namespace, "mask")).await?;
    place.strike().await
}

/// Whether the newest spans at a backend carry an attribute of the Action, with this value.
async fn marked(stage: &Stage<'_>, backend: &str, value: Option<&str>) -> anyhow::Result<()> {
    let records = stage.arrived(backend).await?;
    let members: BTreeSet<&str> = Stage::members(backend);
    for member in members {
        let found = records.of("traces", member).resource.get("e2e.mark").cloned();
        anyhow::ensure!(found.as_deref() == value, "{member} at {backend}: {found:?} instead of {value:?}");
    }
    Ok(())
}

/// An Action of a stream is applied, changed and removed under load: each is seen in its stream alone, and no item is lost.
pub(crate) async fn come_and_go_under_load(cluster: Cluster) -> anyhow::Result<()> {
    let stage = Stage { cluster: &cluster, applications: "e2e-actions", backends: "e2e-actions-backends" };
    stage.set(50).await?;
    stage.begin().await?;
    let mark = |value: &str| {
        let attributes = json!([{"attributeName": "e2e.mark", "attributeStringValue": value}]);
        action(&cluster, "mark", &["shop"], json!({"addClusterInfo": {"clusterAttributes": attributes}}))
    };
    for value in ["first", "second"] {
        let begun = Instant::now();
        cluster.apply(&mark(value)).await?;
        eventually(&format!("spans of shop are marked {value}"), LIMIT, || marked(&stage, "shop", Some(value))).await?;
        println!("  the stream is marked {value} {:.1} s after the Action", begun.elapsed().as_secs_f64());
        in_force(&cluster, "mark").await?;
        marked(&stage, "web", None).await?;
    }
    cluster.delete(API_VERSION, "Action", (&cluster.namespace, "mark")).await?;
    eventually("spans of shop are as they were", LIMIT, || marked(&stage, "shop", None)).await?;
    at_rest(&cluster).await?;
    let sent = stage.hush().await?;
    let mut total = 0;
    for (backend, stream) in BACKENDS {
        total += stage.has_all(backend, &Stage::members(stream), &sent).await?;
    }
    println!("  {total} items and lines arrived where they belong, none is lost");
    stage.strike().await
}

/// Whom the trace of a request crosses.
const CALLERS: [Service; 2] = [CHAIN[0], Service { next: None, ..CHAIN[1] }];
/// How long a cut may take to be told, and to be taken back: gateways are asked once a minute, and some minutes in a row decide.
const TOLD: Duration = Duration::from_secs(420);

async fn cut(cluster: &Cluster, stream: &str) -> anyhow::Result<Value> {
    let key = (cluster.namespace.as_str(), stream);
    let live = cluster.get(API_VERSION, "DataStream", key).await?.with_context(|| format!("no stream {stream}"))?;
    Ok(condition(&live, "TraceCut"))
}

/// Two workloads of one trace in two streams with two destinations: each stream says who calls whom across the border and how often,
/// until they are in one stream again.
pub(crate) async fn traces_that_streams_cut_are_reported(cluster: Cluster) -> anyhow::Result<()> {
    let place = Place {
        cluster: &cluster,
        applications: "e2e-cut",
        backends: "e2e-cut-backends",
        services: &CALLERS,
        streams: ["upper", "lower"],
    };
    place.set().await?;
    let [caller, called] = [CALLERS[0].name, CALLERS[1].name];
    cluster.apply(&shop::source(place.applications, "Deployment", caller, &["upper"])).await?;
    cluster.apply(&shop::source(place.applications, "Deployment", called, &["lower"])).await?;
    let begun = Instant::now();
    for stream in ["upper", "lower"] {
        let told = eventually(&format!("{stream} says that traces are cut"), TOLD, || async {
            place.ask("/").await?;
            let told = cut(&cluster, stream).await?;
            anyhow::ensure!(told["status"] == "True", "{told}");
            Ok(told)
        })
        .await?;
        let message = told["message"].as_str().unwrap_or_default();
        let [whose, whom] = [caller, called].map(|name| format!("{}/{name}", place.applications));
        for part in [whose.as_str(), whom.as_str(), "a minute", "upper", "lower"] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
        println!("  after {:.0} s: {message}", begun.elapsed().as_secs_f64());
    }
    let begun = Instant::now();
    cluster.apply(&shop::source(place.applications, "Deployment", called, &["upper", "!lower"])).await?;
    eventually("no trace is cut any more", TOLD, || async {
        place.ask("/").await?;
        for stream in ["upper", "lower"] {
            // The stream that nobody is in any more may be gone.
            let told = cut(&cluster, stream).await.unwrap_or_default();
            anyhow::ensure!(told["status"] != "True", "{stream}: {told}");
        }
        Ok(())
    })
    .await?;
    println!("  taken back {:.0} s after they are in one stream", begun.elapsed().as_secs_f64());
    place.strike().await
}
