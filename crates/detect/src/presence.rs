//! Agents in processes, as they can be seen from outside: who carries one, and how it does (`spec/sources-and-instrumentation.md`
//! 1.3, 3.9).
//!
//! Stock agents do not report to anybody but the collector. Admission marks every container that has one by variables, and an
//! agent that works is connected to the collector of its node; both are to be seen in `/proc`. Never asks the process itself.

use crate::parse::{self, Peer};
use core::net::IpAddr;
use percent_encoding::percent_decode_str;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Instances that are told of for one pod (1.3).
pub const INSTANCES: usize = 16;
/// An agent that starts need not be connected for this long.
const STARTING: Duration = Duration::from_secs(75);
/// Agents send metrics every minute; after this long without any something is wrong.
const SILENT: Duration = Duration::from_secs(180);

const DISTRIBUTION: &str = "ODIGOS_DISTRO_NAME";
const CONTAINER: &str = "ODIGOS_CONTAINER_NAME";
const SERVICE: &str = "OTEL_SERVICE_NAME";
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const METRICS: &str = "OTEL_METRICS_EXPORTER";
const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
const READ: [&str; 9] =
    [DISTRIBUTION, CONTAINER, SERVICE, ATTRIBUTES, ENDPOINT, METRICS, INTERVAL, SAMPLER, SAMPLER_ARGUMENT];

/// What admission has put into the environment of a process with an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Name of the distribution.
    pub distribution: String,
    /// Name of the container.
    pub container: String,
    /// Name of the service in telemetry.
    pub service: String,
    /// What the telemetry is about, decoded.
    pub attributes: BTreeMap<String, String>,
    /// Where the agent sends to; empty for those that do not send from inside the process.
    pub endpoint: String,
    /// Whether it sends something every minute, even without traffic.
    pub sends_metrics: bool,
    /// Sampler that the user or a rule has set; empty when none.
    pub sampler: String,
    /// Its argument.
    pub sampler_argument: String,
}

impl Marks {
    /// Of the raw text of `/proc/PID/environ`; `None` for a process without an agent. Nothing else is copied of it.
    #[must_use]
    pub fn of(environ: &[u8]) -> Option<Self> {
        let mut values = parse::values(environ, &READ);
        let mut take = |name| values.remove(name).unwrap_or_default();
        let distribution = take(DISTRIBUTION);
        if distribution.is_empty() {
            return None;
        }
        Some(Self {
            distribution,
            container: take(CONTAINER),
            service: take(SERVICE),
            attributes: attributes(&take(ATTRIBUTES)),
            endpoint: take(ENDPOINT),
            sends_metrics: take(METRICS) == "otlp" && take(INTERVAL).is_empty(),
            sampler: take(SAMPLER),
            sampler_argument: take(SAMPLER_ARGUMENT),
        })
    }

    /// Whether one of these connections of one of these sockets goes to where the agent sends. The name of a service cannot be
    /// compared with an address, so its port tells.
    #[must_use]
    pub fn is_connected(&self, sockets: &BTreeSet<u64>, peers: &[Peer]) -> bool {
        let Some((address, port)) = target(&self.endpoint) else { return false };
        let is_it = |peer: &Peer| peer.port == port && address.is_none_or(|address| address == peer.address);
        peers.iter().any(|peer| sockets.contains(&peer.socket) && is_it(peer))
    }
}

/// `key=value,…`, values percent-encoded.
fn attributes(list: &str) -> BTreeMap<String, String> {
    let pairs = list.split(',').filter_map(|pair| pair.split_once('='));
    let decoded = pairs
        .map(|(key, value)| (key.trim().to_owned(), percent_decode_str(value.trim()).decode_utf8_lossy().into_owned()));
    decoded.filter(|(key, _)| !key.is_empty()).collect()
}

/// The address, where it is one, and the port of a URL.
fn target(endpoint: &str) -> Option<(Option<IpAddr>, u16)> {
    let (_, rest) = endpoint.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or(rest);
    let (host, port) = authority.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).parse().ok(), port.parse().ok()?))
}

/// How an agent does, in the words of 1.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it works; `None` while that is not known.
    pub healthy: Option<bool>,
    /// Why, as one word.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

/// What was seen of the agent of one process.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What admission has put there.
    pub marks: &'a Marks,
    /// Whether it is connected to the collector, or was at one of the last looks.
    pub is_connected: bool,
    /// Whether another process of the container is.
    pub is_neighbour_connected: bool,
    /// How long the process runs.
    pub age: Duration,
}

/// Judges an agent that sends from inside its process.
#[must_use]
pub fn judge(seen: &Seen<'_>) -> Health {
    let endpoint = &seen.marks.endpoint;
    let health = |healthy, reason, message| Health { healthy, reason, message };
    if seen.is_connected {
        return health(Some(true), "Healthy", format!("It is connected to {endpoint}."));
    }
    if seen.age < STARTING {
        return health(None, "Starting", "It has not sent anything yet.".into());
    }
    // Of several processes often only one sends: a supervisor serves nobody.
    if seen.marks.sends_metrics && seen.age >= SILENT && !seen.is_neighbour_connected {
        let message = format!(
            "It should send metrics every minute and has no connection to {endpoint}; the log of the container may tell what the \
             agent says."
        );
        return health(Some(false), "NoHeartbeat", message);
    }
    health(None, "Unknown", format!("It has no connection to {endpoint}; there may have been nothing to send yet."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVIRON: &[u8] = b"PATH=/bin\0SECRET=x\0ODIGOS_DISTRO_NAME=java-community\0ODIGOS_CONTAINER_NAME=app\0\
        OTEL_SERVICE_NAME=cart\0OTEL_RESOURCE_ATTRIBUTES=k8s.pod.name=cart-1,team=a%2Cb,=x,broken\0\
        OTEL_EXPORTER_OTLP_ENDPOINT=http://collector.odigos-system:4318\0OTEL_METRICS_EXPORTER=otlp\0";

    #[test]
    fn marks_are_read_and_nothing_else() {
        let marks = Marks::of(ENVIRON).unwrap();
        assert_eq!((marks.distribution.as_str(), marks.container.as_str()), ("java-community", "app"));
        assert_eq!(
            marks.attributes,
            [("k8s.pod.name", "cart-1"), ("team", "a,b")].map(|(key, value)| (key.into(), value.into())).into()
        );
        assert!(marks.sends_metrics && !format!("{marks:?}").contains("SECRET"));
        assert_eq!(Marks::of(b"PATH=/bin\0ODIGOS_CONTAINER_NAME=app\0"), None);
        assert_eq!(Marks::of(&[0xff; 100]), None);
        let slow = [ENVIRON, b"OTEL_METRIC_EXPORT_INTERVAL=600000\0"].concat();
        assert!(!Marks::of(&slow).unwrap().sends_metrics, "the user wants them rarely");
    }

    #[test]
    fn a_connection_counts_when_it_is_the_processs_own_and_goes_there() {
        let marks = |endpoint: &str| Marks { endpoint: endpoint.into(), ..Marks::default() };
        let peer = |address: &str, port, socket| Peer { address: address.parse().unwrap(), port, socket };
        let peers = [peer("10.0.0.7", 4318, 5), peer("10.0.0.8", 80, 6)];
        let own = BTreeSet::from([5, 6]);
        assert!(marks("http://collector.odigos-system:4318").is_connected(&own, &peers));
        assert!(marks("http://10.0.0.7:4318/").is_connected(&own, &peers));
        assert!(!marks("http://10.0.0.9:4318").is_connected(&own, &peers));
        assert!(!marks("http://collector:4318").is_connected(&BTreeSet::from([6]), &peers), "another process's");
        assert!(!marks("").is_connected(&own, &peers) && !marks("collector").is_connected(&own, &peers));
        assert!(
            marks("http://[fd00::1]:4318").is_connected(&BTreeSet::from([9]), &[peer("fd00::1", 4318, 9)]),
            "addresses of either family"
        );
    }

    #[test]
    fn every_judgement() {
        let marks = Marks { endpoint: "http://c:4318".into(), sends_metrics: true, ..Marks::default() };
        let quiet = Marks { sends_metrics: false, ..marks.clone() };
        let of = |marks, is_connected, is_neighbour_connected, seconds| {
            let age = Duration::from_secs(seconds);
            let health = judge(&Seen { marks, is_connected, is_neighbour_connected, age });
            (health.healthy, health.reason)
        };
        assert_eq!(of(&marks, true, false, 1), (Some(true), "Healthy"));
        assert_eq!(of(&marks, false, false, 10), (None, "Starting"));
        assert_eq!(of(&marks, false, false, 100), (None, "Unknown"));
        assert_eq!(of(&marks, false, false, 200), (Some(false), "NoHeartbeat"));
        assert_eq!(of(&marks, false, true, 200), (None, "Unknown"), "a supervisor beside its workers");
        assert_eq!(of(&quiet, false, false, 2000), (None, "Unknown"), "nobody calls it");
    }
}
