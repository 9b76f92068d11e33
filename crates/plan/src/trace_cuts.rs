//! Traces that data streams cut in two: whose calls cross a border between streams that lead to different Destinations, and how often
//! (`docs/decisions`, trace integrity).
//!
//! Owns how the service graph of gateways is read, what counts as a cut, and what is remembered so that a condition does not come and go
//! with single requests. Never asks a gateway, and knows no clock of its own.

use crate::streams::{self, DEFAULT_CLASS, Selection};
use jiff::{SignedDuration, Timestamp};
use odigos_api::Signal;
use odigos_api::collectors_group::StreamClass;
use odigos_api::condition::{ConditionDraft, kind};
use odigos_api::labels::DEFAULT_STREAM;
use std::collections::{BTreeMap, BTreeSet};

/// Time between two readings of the service graph.
pub const ROUND: SignedDuration = SignedDuration::from_secs(60);
/// In how many readings calls must have been seen before they are told.
const TOLD_AFTER: u32 = 2;
/// For how long none must have been seen before it is told that there are none.
const GONE_AFTER: SignedDuration = SignedDuration::from_secs(200);
/// How many borders a condition names.
const NAMED: usize = 5;
/// The counter of the service graph, as gateways serve it.
const COUNTER: &str = "traces_service_graph_request_total";

/// One service calls another, each from the stream class of its pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// `service.name` of who calls.
    pub client: String,
    /// Its class; `default` where it carries none.
    pub client_class: String,
    /// `service.name` of who is called.
    pub server: String,
    /// Its class.
    pub server_class: String,
}

/// Calls by edge.
pub type Calls = BTreeMap<Edge, f64>;

/// Reads what a gateway has counted since it started; lines of other metrics are passed over.
#[must_use]
pub fn read(text: &str) -> Calls {
    let mut calls = Calls::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && line.contains(COUNTER)) {
        let Some((series, rest)) = line.rsplit_once('}') else { continue };
        let Some((name, labels)) = series.split_once('{') else { continue };
        let number = rest.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
        let (true, Some(number)) = (name.trim_matches('"').ends_with(COUNTER), number) else { continue };
        let labels = labels_of(labels);
        let label = |names: [&str; 2]| names.iter().find_map(|name| labels.get(*name)).cloned().unwrap_or_default();
        // A peer that sends no spans is in no stream.
        if label(["connection_type"; 2]) == "virtual_node" {
            continue;
        }
        let class = |end: &str| {
            let class = label([&format!("{end}_odigos_stream_class"), &format!("{end}_odigos.stream.class")]);
            if class.is_empty() { DEFAULT_CLASS.to_owned() } else { class }
        };
        let edge = Edge {
            client: label(["client"; 2]),
            client_class: class("client"),
            server: label(["server"; 2]),
            server_class: class("server"),
        };
        *calls.entry(edge).or_default() += number;
    }
    calls
}

/// Labels of a series in the text format: `a="b",c="d"`, with `\\`, `\"` and `\n` within values.
fn labels_of(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once("=\"") {
        let (mut value, mut characters) = (String::new(), after.char_indices());
        let mut end = after.len();
        while let Some((position, character)) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, other)) => value.push(other),
                    None => {}
                },
                '"' => {
                    end = position + 1;
                    break;
                }
                other => value.push(other),
            }
        }
        labels.insert(key.trim_matches([',', ' ', '"']).to_owned(), value);
        rest = after.get(end..).unwrap_or_default();
    }
    labels
}

/// Calls between two readings, by the gateways that were read: a counter that is lower began anew. Gateways of the first reading of all
/// only show where they stand.
#[must_use]
pub fn between(before: &BTreeMap<String, Calls>, after: &BTreeMap<String, Calls>) -> Calls {
    let mut all = Calls::new();
    if before.is_empty() {
        return all;
    }
    for (pod, calls) in after {
        for (edge, count) in calls {
            let known = before.get(pod).and_then(|calls| calls.get(edge)).copied().unwrap_or_default();
            let new = if *count < known { *count } else { count - known };
            if new > 0.0 {
                *all.entry(edge.clone()).or_default() += new;
            }
        }
    }
    all
}

/// A Destination that takes traces, with what it selects.
pub type Taker = (String, Selection);

/// What decides whether an edge is a cut.
#[derive(Clone, Debug, Default)]
pub struct Borders {
    /// Classes of workloads.
    pub classes: Vec<StreamClass>,
    /// Destinations that take traces.
    pub takers: Vec<Taker>,
    /// Names of workloads by `service.name` and class.
    pub workloads: BTreeMap<(String, String), BTreeSet<String>>,
}

/// An edge whose halves reach different Destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cut {
    client: String,
    server: String,
    from: Vec<String>,
    to: Vec<String>,
    /// Destinations that get the part of the client alone.
    of_client: Vec<String>,
    /// Those that get the part of the server alone.
    of_server: Vec<String>,
    /// Streams whose condition tells it.
    streams: BTreeSet<String>,
}

impl Borders {
    fn streams(&self, class: &str) -> BTreeSet<String> {
        if class == DEFAULT_CLASS {
            return [DEFAULT_STREAM.to_owned()].into();
        }
        let found = self.classes.iter().find(|one| one.id == class && !streams::is_off(one, Signal::Traces));
        found.map(|one| one.streams.iter().cloned().collect()).unwrap_or_default()
    }

    fn reached(&self, streams: &BTreeSet<String>) -> BTreeSet<&str> {
        let takes = |(_, selection): &&Taker| streams.iter().any(|stream| selection.includes(stream));
        self.takers.iter().filter(takes).map(|(name, _)| name.as_str()).collect()
    }

    fn name(&self, service: &str, class: &str) -> String {
        let known = self.workloads.get(&(service.to_owned(), class.to_owned()));
        known.map_or_else(|| service.to_owned(), |names| names.iter().cloned().collect::<Vec<_>>().join(" or "))
    }

    /// What of a trace an edge cuts; none where both ends reach the same Destinations.
    fn cut(&self, edge: &Edge) -> Option<Cut> {
        let (from, to) = (self.streams(&edge.client_class), self.streams(&edge.server_class));
        let (client, server) = (self.reached(&from), self.reached(&to));
        if client == server {
            return None;
        }
        let shown = |streams: &BTreeSet<String>| -> BTreeSet<String> {
            streams.iter().filter(|one| !streams::is_virtual(one)).cloned().collect()
        };
        let (from, to) = (shown(&from), shown(&to));
        let only = |of: &BTreeSet<&str>, other: &BTreeSet<&str>| -> Vec<String> {
            of.difference(other).map(|name| (*name).to_owned()).collect()
        };
        let crossing: BTreeSet<String> = from.symmetric_difference(&to).cloned().collect();
        Some(Cut {
            client: self.name(&edge.client, &edge.client_class),
            server: self.name(&edge.server, &edge.server_class),
            streams: if crossing.is_empty() { from.union(&to).cloned().collect() } else { crossing },
            from: from.into_iter().collect(),
            to: to.into_iter().collect(),
            of_client: only(&client, &server),
            of_server: only(&server, &client),
        })
    }
}

/// Calls over a border that were seen.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    last: Timestamp,
    readings: u32,
    /// Calls a minute, as they are told.
    rate: f64,
}

/// What is remembered between readings.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    begun: Timestamp,
    seen: BTreeMap<Edge, Seen>,
}

/// A rate in round figures: 1, 2 or 5, and zeros.
fn round(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.max(1.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().rfind(|step| step * unit <= rate.max(1.0));
    step.unwrap_or(1.0) * unit
}

impl Memory {
    /// Nothing yet.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self { begun: now, seen: BTreeMap::new() }
    }

    /// What is known after `calls` in the time since the reading before.
    #[must_use]
    pub fn after(&self, calls: &Calls, time: SignedDuration, borders: &Borders, now: Timestamp) -> Self {
        let mut next = self.clone();
        let minutes = (time.as_secs_f64() / 60.0).max(1.0 / 60.0);
        for (edge, count) in calls.iter().filter(|(edge, _)| borders.cut(edge).is_some()) {
            let rate = count / minutes;
            let seen = next.seen.entry(edge.clone()).or_insert(Seen { last: now, readings: 0, rate: round(rate) });
            (seen.last, seen.readings) = (now, seen.readings.saturating_add(1));
            // What is told changes with what is another order, not with every reading.
            if rate < seen.rate / 2.0 || rate > seen.rate * 2.5 {
                seen.rate = round(rate);
            }
        }
        next.seen.retain(|edge, seen| now.duration_since(seen.last) < GONE_AFTER && borders.cut(edge).is_some());
        next
    }

    /// The condition of each stream whose traces are cut, and of those among `standing`, whose condition says so, and whose are not.
    #[must_use]
    pub fn conditions(
        &self,
        borders: &Borders,
        standing: &BTreeSet<String>,
        now: Timestamp,
    ) -> BTreeMap<String, ConditionDraft> {
        let mut told: BTreeMap<String, Vec<(f64, Cut)>> = BTreeMap::new();
        for (edge, seen) in self.seen.iter().filter(|(_, seen)| seen.readings >= TOLD_AFTER) {
            if let Some(cut) = borders.cut(edge) {
                for stream in &cut.streams {
                    told.entry(stream.clone()).or_default().push((seen.rate, cut.clone()));
                }
            }
        }
        let mut drafts: BTreeMap<String, ConditionDraft> = BTreeMap::new();
        // Who has just begun to look has not looked for long enough to take back what another one said.
        if now.duration_since(self.begun) >= GONE_AFTER {
            let message = "Nothing calls across the borders of the data stream: its traces are whole.";
            let whole = || ConditionDraft::no(kind::TRACE_CUT, "TracesWhole", message);
            drafts.extend(standing.iter().map(|stream| (stream.clone(), whole())));
        }
        for (stream, mut cuts) in told {
            cuts.sort_by(|a, b| b.0.total_cmp(&a.0));
            let more = cuts.len().saturating_sub(NAMED);
            let mut sentences: Vec<String> = cuts.iter().take(NAMED).map(|(rate, cut)| cut.sentence(*rate)).collect();
            if more > 0 {
                sentences.push(format!("And {more} more."));
            }
            drafts.insert(stream, ConditionDraft::yes(kind::TRACE_CUT, "HalvesOfTraces", sentences.join(" ")));
        }
        drafts
    }
}

impl Cut {
    fn sentence(&self, rate: f64) -> String {
        let streams = |all: &[String]| match all {
            [] => "no data stream".to_owned(),
            [one] => format!("data stream {one}"),
            all => format!("data streams {}", all.join(", ")),
        };
        let halves = [(&self.of_client, &self.client), (&self.of_server, &self.server)];
        let halves = halves.into_iter().filter(|(names, _)| !names.is_empty());
        let halves: Vec<String> =
            halves.map(|(names, whose)| format!("{} gets the part of {whose} alone", names.join(", "))).collect();
        format!(
            "{} ({}) calls {} ({}) about {rate} times a minute: of these traces {}.",
            self.client,
            streams(&self.from),
            self.server,
            streams(&self.to),
            halves.join(", and ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odigos_api::condition::Status;

    const TEXT: &str = r#"# TYPE servicegraph_traces_service_graph_request_total counter
servicegraph_traces_service_graph_request_total{client="web",client_odigos_stream_class="ca",connection_type="",failed="false",server="cart \"x\"",server_odigos_stream_class="cb"} 12
servicegraph_traces_service_graph_request_total{client="web",client_odigos_stream_class="ca",connection_type="virtual_node",server="db"} 5
servicegraph_traces_service_graph_request_total{client="mail",client_service_name="mail",server="chat"} 1 1700000000000
servicegraph_traces_service_graph_request_failed_total{client="web",server="cart"} 3
otelcol_process_uptime 8
"#;

    fn edge(client: &str, from: &str, server: &str, to: &str) -> Edge {
        let [client, client_class, server, server_class] = [client, from, server, to].map(str::to_owned);
        Edge { client, client_class, server, server_class }
    }

    fn borders() -> Borders {
        let class = |id: &str, streams: &[&str]| StreamClass {
            id: id.to_owned(),
            streams: streams.iter().map(ToString::to_string).collect(),
            retired_at: None,
        };
        let taker = |name: &str, streams: &[&str]| {
            (name.to_owned(), Selection::Streams(streams.iter().map(ToString::to_string).collect()))
        };
        Borders {
            classes: vec![class("ca", &["a"]), class("cb", &["b", "ns:shop"]), class("cab", &["a", "b"])],
            takers: vec![taker("da", &["a"]), taker("db", &["b"])],
            workloads: [(("web".to_owned(), "ca".to_owned()), BTreeSet::from(["shop/web".to_owned()]))].into(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn edges_are_read_and_counted_between_readings() {
        let first = read(TEXT);
        let across = edge("web", "ca", "cart \"x\"", "cb");
        assert_eq!(first, Calls::from([(across.clone(), 12.0), (edge("mail", "default", "chat", "default"), 1.0)]));
        let pods = |all: &[(&str, f64)]| -> BTreeMap<String, Calls> {
            all.iter().map(|(pod, count)| ((*pod).to_owned(), Calls::from([(across.clone(), *count)]))).collect()
        };
        assert_eq!(between(&BTreeMap::new(), &pods(&[("p", 12.0)])), Calls::new(), "the first reading");
        let all = between(&pods(&[("p", 12.0), ("q", 9.0)]), &pods(&[("p", 15.0), ("q", 2.0), ("new", 4.0)]));
        assert_eq!(all[&across], 3.0 + 2.0 + 4.0);
        assert_eq!(between(&pods(&[("p", 12.0)]), &pods(&[("p", 12.0)])), Calls::new());
    }

    #[test]
    fn halves_go_where_one_end_leads() {
        let borders = borders();
        assert_eq!(borders.cut(&edge("web", "ca", "cart", "ca")), None);
        let cut = borders.cut(&edge("web", "ca", "cart", "cb")).unwrap();
        assert_eq!((cut.client.as_str(), cut.server.as_str()), ("shop/web", "cart"));
        assert_eq!((cut.of_client, cut.of_server), (vec!["da".to_owned()], vec!["db".to_owned()]));
        assert_eq!(cut.streams, ["a", "b"].map(str::to_owned).into());
        // Who is in both streams has all of it at one of them.
        let cut = borders.cut(&edge("web", "ca", "cart", "cab")).unwrap();
        assert_eq!((cut.of_client, cut.of_server), (vec![], vec!["db".to_owned()]));
        assert_eq!(cut.streams, ["b"].map(str::to_owned).into());
        let mut shared = borders.clone();
        shared.takers = vec![("all".to_owned(), Selection::Every)];
        assert_eq!(shared.cut(&edge("web", "ca", "cart", "cb")), None, "one Destination has all of it");
    }

    #[test]
    fn a_cut_is_told_after_two_readings_and_taken_back_after_minutes_of_quiet() {
        let borders = borders();
        let across = |count: f64| Calls::from([(edge("web", "ca", "cart", "cb"), count)]);
        let (none, minute) = (BTreeSet::new(), SignedDuration::from_mins(1));
        let first = Memory::new(at(0)).after(&across(12.0), minute, &borders, at(60));
        assert_eq!(first.conditions(&borders, &none, at(60)), BTreeMap::new(), "a single request is not told");
        let second = first.after(&across(17.0), minute, &borders, at(120));
        let told = second.conditions(&borders, &none, at(120));
        assert_eq!(told.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(told["a"].status, Status::True);
        assert_eq!(
            told["a"].message,
            "shop/web (data stream a) calls cart (data stream b) about 10 times a minute: of these traces da gets the part of shop/web alone, and db gets the part of cart alone."
        );
        // The message is the same while the rate is of the same order.
        let third = second.after(&across(8.0), minute, &borders, at(180));
        assert_eq!(third.conditions(&borders, &none, at(180)), told);
        let more = third.after(&across(130.0), minute, &borders, at(240));
        assert!(more.conditions(&borders, &none, at(240))["a"].message.contains("about 100 times"));
        let standing: BTreeSet<String> = ["a".to_owned(), "b".to_owned()].into();
        let quiet = more.after(&Calls::new(), minute, &borders, at(300));
        assert_eq!(quiet.conditions(&borders, &standing, at(300))["a"].status, Status::True);
        let quiet = quiet.after(&Calls::new(), minute, &borders, at(441));
        let told = quiet.conditions(&borders, &standing, at(441));
        assert_eq!((told["b"].status, told["b"].reason.as_str()), (Status::False, "TracesWhole"));
        // One stream that leads to the other's Destination as well ends it at once.
        let mut joined = borders.clone();
        joined.takers = vec![("all".to_owned(), Selection::Every)];
        assert_eq!(more.conditions(&joined, &standing, at(241))["a"].status, Status::False);
        // Another leader takes back nothing before it has looked for as long.
        let other = Memory::new(at(240));
        assert_eq!(other.conditions(&borders, &standing, at(300)), BTreeMap::new());
        assert_eq!(other.conditions(&borders, &standing, at(500))["a"].status, Status::False);
    }

    #[test]
    fn rates_are_told_in_round_figures() {
        assert_eq!([0.2, 1.0, 3.0, 7.0, 49.0, 50.0, 1234.0].map(round), [1.0, 1.0, 2.0, 5.0, 20.0, 50.0, 1000.0]);
    }
}
