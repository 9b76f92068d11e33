//! How a destination's items wait, are batched and are tried again: `spec.delivery`, the same for every type.
//!
//! Owns what is written into `sending_queue`, `retry_on_failure`, `timeout`, `compression` and `tls` of exporters. An option
//! that an exporter does not know is reported, never rendered.

use crate::{collector, duration};
use odigos_api::destination::{Compression, Delivery};
use odigos_catalog::{QueueSupport, has_retry, queue_support};
use serde_json::{Map, Value, json};

/// Id of the extension that keeps queues on disk.
pub const QUEUE_STORAGE: &str = "file_storage/queues";
/// Directory of queues on disk, a volume of the pod.
pub const QUEUE_DIRECTORY: &str = "/var/odigos/queues";

/// What is wrong with the options, as field and message.
#[must_use]
pub fn problems(delivery: &Delivery) -> Vec<(String, String)> {
    let times = [
        ("batchTimeout", &delivery.batch_timeout, false),
        ("retryMaxElapsedTime", &delivery.retry_max_elapsed_time, true),
        ("retryMaxInterval", &delivery.retry_max_interval, false),
        ("timeout", &delivery.timeout, false),
    ];
    let mut problems = Vec::new();
    for (field, text, may_be_zero) in times {
        let Some(text) = text else { continue };
        let good = duration::is_positive(text) || (may_be_zero && duration::milliseconds(text) == Some(0));
        if !good {
            problems
                .push((format!("spec.delivery.{field}"), format!("{text:?} is not a duration such as 5s or 250ms")));
        }
    }
    let version = delivery.tls.as_ref().and_then(|tls| tls.min_version.as_deref());
    if let Some(version) = version.filter(|version| !matches!(*version, "1.2" | "1.3")) {
        problems.push(("spec.delivery.tls.minVersion".into(), format!("{version:?} is neither 1.2 nor 1.3")));
    }
    problems
}

/// What the exporter types of a destination do not know, as field and message.
#[must_use]
pub fn without_effect(delivery: &Delivery, exporter_types: &[&str]) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let mut say = |field: &str, stated: bool, knows: &dyn Fn(&str) -> bool| {
        let deaf: Vec<&str> = exporter_types.iter().copied().filter(|one| !knows(one)).collect();
        if stated && !deaf.is_empty() {
            told.push((format!("spec.delivery.{field}"), format!("the exporter {} does not know it", deaf.join(", "))));
        }
    };
    let queue = |one: &str| queue_support(one) == QueueSupport::SendingQueue;
    say("queueSizeMiB", delivery.queue_size_mib.is_some(), &queue);
    say("persistentQueue", delivery.persistent_queue == Some(true), &queue);
    say("batchItems", delivery.batch_items.is_some(), &queue);
    say("batchTimeout", delivery.batch_timeout.is_some(), &queue);
    let retry = |one: &str| queue_support(one) != QueueSupport::None && has_retry(one);
    say("retryMaxElapsedTime", delivery.retry_max_elapsed_time.is_some(), &retry);
    say("retryMaxInterval", delivery.retry_max_interval.is_some(), &retry);
    say("timeout", delivery.timeout.is_some(), &is_otlp);
    say("compression", delivery.compression.is_some(), &is_otlp);
    say("tls", delivery.tls.is_some(), &is_otlp);
    told
}

/// What exporters refuse about how often they try again: to give up before the first pause, or before the longest one, is over.
#[must_use]
pub fn retry_problem(settings: &Value) -> Option<String> {
    let retry = settings.get("retry_on_failure").filter(|retry| retry["enabled"] != json!(false))?;
    let text = |key: &str, default: &'static str| match retry.get(key) {
        Some(stated) => stated.as_str().map(str::to_owned).unwrap_or_default(),
        None => default.to_owned(),
    };
    // The defaults of every exporter.
    let elapsed = text("max_elapsed_time", "5m");
    let most = duration::milliseconds(&elapsed).filter(|most| *most > 0)?;
    let pauses =
        [("initial interval", text("initial_interval", "5s")), ("longest interval", text("max_interval", "30s"))];
    let longer = pauses.iter().find(|(_, pause)| duration::milliseconds(pause).is_some_and(|pause| pause > most))?;
    Some(format!(
        "retries end after {elapsed}, before the {} of {} is over, which the exporter refuses; give them more time or shorter intervals",
        longer.0, longer.1
    ))
}

fn is_otlp(component_type: &str) -> bool {
    matches!(component_type, "otlp_grpc" | "otlp_http")
}

/// Writes queue, retry and the options into the settings of an exporter. What the type itself states wins over defaults,
/// never over what the user states.
pub fn apply(component_type: &str, settings: &mut Map<String, Value>, delivery: &Delivery, queue_bytes: i64) {
    let support = queue_support(component_type);
    if support == QueueSupport::SendingQueue {
        let bytes = delivery.queue_size_mib.map_or(queue_bytes, |mib| i64::from(mib) * 1024 * 1024);
        let mut queue = collector::sending_queue(bytes);
        if let Some(items) = delivery.batch_items {
            queue["batch"]["max_size"] = json!(items);
            queue["batch"]["min_size"] = json!(items.min(2048));
        }
        if let Some(timeout) = &delivery.batch_timeout {
            queue["batch"]["flush_timeout"] = json!(timeout);
        }
        if delivery.persistent_queue == Some(true) {
            queue["storage"] = json!(QUEUE_STORAGE);
        }
        settings.entry("sending_queue").or_insert(queue);
    }
    if support != QueueSupport::None && has_retry(component_type) {
        let retry =
            settings.entry("retry_on_failure").or_insert_with(|| json!({"enabled": true, "max_elapsed_time": "300s"}));
        if let Some(elapsed) = &delivery.retry_max_elapsed_time {
            retry["max_elapsed_time"] = json!(elapsed);
        }
        if let Some(interval) = &delivery.retry_max_interval {
            retry["max_interval"] = json!(interval);
        }
    }
    if !is_otlp(component_type) {
        return;
    }
    if let Some(timeout) = &delivery.timeout {
        settings.insert("timeout".into(), json!(timeout));
    }
    if let Some(compression) = delivery.compression {
        let word = match compression {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Zstd => "zstd",
        };
        settings.insert("compression".into(), json!(word));
    }
    if let Some(stated) = &delivery.tls {
        let tls = settings.entry("tls").or_insert_with(|| json!({}));
        if let Some(name) = &stated.server_name {
            tls["server_name_override"] = json!(name.replace('$', "$$"));
        }
        if let Some(version) = &stated.min_version {
            tls["min_version"] = json!(version);
        }
        if let Some(skip) = stated.insecure_skip_verify {
            tls["insecure_skip_verify"] = json!(skip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_that_end_before_a_pause_are_found() {
        for (retry, found) in [
            (json!({}), false),
            (json!({"max_elapsed_time": "5s"}), true),
            (json!({"max_elapsed_time": "0s", "max_interval": "1h"}), false),
            (json!({"max_elapsed_time": "30s"}), false),
            (json!({"max_interval": "6m"}), true),
            (json!({"initial_interval": "2m", "max_elapsed_time": "1m", "max_interval": "1s"}), true),
            (json!({"enabled": false, "max_elapsed_time": "5s"}), false),
        ] {
            assert_eq!(retry_problem(&json!({"retry_on_failure": retry})).is_some(), found, "{retry}");
        }
        assert_eq!(retry_problem(&json!({})), None);
    }

    #[test]
    fn what_the_user_states_wins_and_the_rest_is_sized() {
        let delivery = Delivery {
            queue_size_mib: Some(3),
            persistent_queue: Some(true),
            batch_items: Some(100),
            retry_max_elapsed_time: Some("0s".into()),
            compression: Some(Compression::Zstd),
            ..Delivery::default()
        };
        let mut settings = Map::new();
        apply("otlp_grpc", &mut settings, &delivery, 1);
        assert_eq!(settings["sending_queue"]["queue_size"], 3 * 1024 * 1024);
        assert_eq!(settings["sending_queue"]["storage"], QUEUE_STORAGE);
        assert_eq!(settings["sending_queue"]["batch"]["max_size"], 100);
        assert_eq!(settings["retry_on_failure"]["max_elapsed_time"], "0s");
        assert_eq!(settings["compression"], "zstd");
        assert_eq!(problems(&delivery), vec![]);
        // What docs/delivery.md lists as defaults; the rest of them are the exporter's own.
        let mut usual = Map::new();
        apply("otlp_grpc", &mut usual, &Delivery::default(), 7 * 1024 * 1024);
        let queue = &usual["sending_queue"];
        assert_eq!((&queue["queue_size"], &queue["sizer"]), (&json!(7 * 1024 * 1024), &json!("bytes")));
        assert_eq!((&queue["batch"]["max_size"], &queue["batch"]["flush_timeout"]), (&json!(8192), &json!("200ms")));
        assert_eq!(queue.get("storage"), None);
        assert_eq!(usual["retry_on_failure"]["max_elapsed_time"], "300s");
        assert_eq!((usual.get("timeout"), usual.get("compression"), usual.get("tls")), (None, None, None));
        let resources = odigos_api::collectors_group::ResourcesSettings {
            memory_limiter_limit_mib: 550,
            ..odigos_api::collectors_group::ResourcesSettings::default()
        };
        let mebibytes = |queues| collector::queue_bytes(&resources, queues) / (1024 * 1024);
        assert_eq!((mebibytes(1), mebibytes(5), mebibytes(10_000)), (275, 55, 1), "half of the memory, shared");
        let mut plain = Map::new();
        apply("debug", &mut plain, &delivery, 1);
        assert!(plain.is_empty());
        assert_eq!(without_effect(&delivery, &["debug"]).len(), 5);
        let bad = Delivery { timeout: Some("5".into()), ..Delivery::default() };
        assert_eq!(problems(&bad)[0].0, "spec.delivery.timeout");
    }
}
