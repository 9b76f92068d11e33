//! Routing tables that are too long for a file: their rows go on in further connectors.
//!
//! A routing connector gives an item to the first row that it matches, and to its default pipelines where none does. So the first connector
//! keeps the first rows, its default is a pipeline to the next one, and the last has the defaults of the whole. Rows stay in their order:
//! every item goes where it went. Owns where a table is cut: by the rows themselves, so that a new row changes one connector.

use crate::objects::hash;
use odigos_api::Signal;
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline, PipelineId, yaml};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Bytes of a table that are cut at the latest, and at the earliest.
const MOST: usize = 128 * 1024;
const LEAST: usize = MOST / 2;
/// Of so many rows one begins a connector where the table is long enough.
const CUT_EVERY: u8 = 16;

/// Cuts every routing table that is too long.
pub fn apply(config: &mut CollectorConfig) {
    let is_long = |settings: &Value| settings.get("table").is_some_and(|table| yaml::to_string(table).len() > MOST);
    let routers = config.section(ComponentKind::Connector).filter(|(id, _)| id.split('/').next() == Some("routing"));
    let long: Vec<(String, Value)> = routers
        .filter(|(_, settings)| is_long(settings))
        .map(|(id, settings)| (id.clone(), settings.clone()))
        .collect();
    for (id, settings) in long {
        let fed = config.pipelines.iter().find(|(_, pipeline)| pipeline.receivers.contains(&id));
        if let Some(signal) = fed.map(|(pipeline, _)| pipeline.signal) {
            cut(config, signal, &id, &settings);
        }
    }
}

/// One connector of a table.
struct Link {
    id: String,
    /// The pipeline that leads to it, behind the signal.
    pipeline: String,
    rows: Vec<Value>,
}

fn cut(config: &mut CollectorConfig, signal: Signal, id: &str, settings: &Value) {
    let rows = settings.get("table").and_then(Value::as_array).cloned().unwrap_or_default();
    let (_, tail) = id.split_once('/').unwrap_or(("", id));
    let mut links: Vec<Link> = Vec::new();
    for rows in chunks(rows) {
        let (mut link, mut pipeline) = (id.to_owned(), String::new());
        if !links.is_empty() {
            // Named by its first row: connectors before it may come and go.
            let first = rows.first().map(|row| hash(row["condition"].to_string(), 32)).unwrap_or_default();
            link = format!("{id}.from-{first}");
            pipeline = format!("routing.{tail}.from-{first}");
        }
        links.push(Link { id: link, pipeline, rows });
    }
    let defaults = settings.get("default_pipelines").cloned().unwrap_or_else(|| json!([]));
    for (position, link) in links.iter().enumerate() {
        let mut own = settings.clone();
        own["table"] = json!(link.rows);
        own["default_pipelines"] = match links.get(position + 1) {
            Some(next) => {
                let leads = PipelineId::new(signal, next.pipeline.as_str());
                let pipeline =
                    Pipeline { receivers: vec![link.id.clone()], processors: vec![], exporters: vec![next.id.clone()] };
                let target = json!([leads.to_string()]);
                config.pipelines.insert(leads, pipeline);
                target
            }
            None => defaults.clone(),
        };
        config.add(ComponentKind::Connector, link.id.clone(), own);
    }
    feed(config, id, &links);
}

/// Tells the pipelines behind a table which of its connectors feed them now.
fn feed(config: &mut CollectorConfig, id: &str, links: &[Link]) {
    let targets: Vec<(&str, BTreeSet<String>)> = links
        .iter()
        .map(|link| {
            let settings = config.get(ComponentKind::Connector, &link.id);
            (link.id.as_str(), settings.map(odigos_pipeline::graph::routed_pipelines).unwrap_or_default())
        })
        .collect();
    let leads: BTreeSet<&str> = links.iter().map(|link| link.pipeline.as_str()).collect();
    for (pipeline, body) in &mut config.pipelines {
        if leads.contains(pipeline.name.as_str()) {
            continue;
        }
        let Some(position) = body.receivers.iter().position(|receiver| receiver == id) else { continue };
        let name = pipeline.to_string();
        let feeding = targets.iter().filter(|(_, of)| of.contains(&name)).map(|(link, _)| (*link).to_owned());
        body.receivers.splice(position..=position, feeding);
    }
}

fn chunks(rows: Vec<Value>) -> Vec<Vec<Value>> {
    let mut all: Vec<Vec<Value>> = vec![Vec::new()];
    let mut size = 0;
    for row in rows {
        let bytes = yaml::to_string(&json!([row])).len();
        let digit = u8::from_str_radix(&hash(row["condition"].to_string(), 2), 16).unwrap_or_default();
        let is_cut = size >= LEAST && digit % CUT_EVERY == 0;
        if size > 0 && (is_cut || size + bytes > MOST) {
            all.push(Vec::new());
            size = 0;
        }
        size += bytes;
        if let Some(last) = all.last_mut() {
            last.push(row);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A router with one row for each of `ids`; every second one goes to a pipeline that all share.
    fn router(ids: impl Iterator<Item = usize>) -> CollectorConfig {
        let mut config = CollectorConfig::default();
        config.add(ComponentKind::Receiver, "otlp", json!({}));
        config.add(ComponentKind::Exporter, "nop", json!({}));
        let behind = |config: &mut CollectorConfig, name: &str| {
            *config.pipeline(Signal::Logs, name) =
                Pipeline { receivers: vec!["routing/logs".into()], processors: vec![], exporters: vec!["nop".into()] };
        };
        let mut rows = Vec::new();
        for number in ids {
            let own = format!("stream.of-a-team-{number}");
            behind(&mut config, &own);
            let shared = (number % 2 == 0).then(|| "logs/stream.shared".to_owned());
            let pipelines: Vec<String> = [format!("logs/{own}")].into_iter().chain(shared).collect();
            let condition = format!("attributes[\"odigos.stream.class\"] == \"{}\"", hash(number.to_string(), 32));
            rows.push(json!({"context": "resource", "condition": condition, "pipelines": pipelines}));
        }
        behind(&mut config, "stream.shared");
        behind(&mut config, "stream.default");
        *config.pipeline(Signal::Logs, "in") =
            Pipeline { receivers: vec!["otlp".into()], processors: vec![], exporters: vec!["routing/logs".into()] };
        let table = json!({"error_mode": "ignore", "default_pipelines": ["logs/stream.default"], "table": rows});
        config.add(ComponentKind::Connector, "routing/logs", table);
        config
    }

    fn links(config: &CollectorConfig) -> BTreeMap<String, Value> {
        config.section(ComponentKind::Connector).map(|(id, one)| (id.clone(), one.clone())).collect()
    }

    /// The rows in the order in which an item meets them, and the defaults behind them.
    fn walk(config: &CollectorConfig) -> (Vec<Value>, Value) {
        let (mut id, mut rows) = ("routing/logs".to_owned(), Vec::new());
        loop {
            let settings = config.get(ComponentKind::Connector, &id).unwrap();
            rows.extend(settings["table"].as_array().unwrap().iter().cloned());
            let default = settings["default_pipelines"][0].as_str().unwrap().to_owned();
            let target = PipelineId::new(Signal::Logs, default.split_once('/').unwrap().1);
            match config.pipelines[&target].exporters.first() {
                Some(next) if next.starts_with("routing/") => id = next.clone(),
                _ => return (rows, settings["default_pipelines"].clone()),
            }
        }
    }

    #[test]
    fn items_meet_the_same_rows_in_the_same_order() {
        let mut config = router(0..2_000);
        let before = walk(&config);
        apply(&mut config);
        assert_eq!(walk(&config), before);
        assert_eq!(config.check(), vec![]);
        assert!(links(&config).len() >= 3, "{}", links(&config).len());
        assert!(links(&config).values().all(|one| yaml::to_string(&one["table"]).len() <= MOST));
        let shared = &config.pipelines[&PipelineId::new(Signal::Logs, "stream.shared")];
        assert_eq!(shared.receivers.len(), links(&config).len(), "every connector feeds what its rows name");
        let last = &config.pipelines[&PipelineId::new(Signal::Logs, "stream.default")];
        assert_eq!(last.receivers.len(), 1, "{last:?}");
    }

    #[test]
    fn short_table_stays_as_it_is() {
        let mut config = router(0..100);
        let before = config.clone();
        apply(&mut config);
        assert_eq!(config, before);
    }

    #[test]
    fn another_row_changes_few_connectors() {
        let [mut before, mut after] = [router(0..2_000), router((0..1_000).chain(5_000..5_001).chain(1_000..2_000))];
        apply(&mut before);
        apply(&mut after);
        let (before, after) = (links(&before), links(&after));
        let changed = after.iter().filter(|(id, one)| before.get(*id) != Some(one)).count();
        assert!(changed <= 2, "{changed} of {}", after.len());
    }
}
