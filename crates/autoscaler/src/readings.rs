//! A collector's own metrics, as far as scaling looks at them, out of the Prometheus text format.
//!
//! Owns which metrics of the stock collector mean what; spellings of every release since 0.154 are taken. Never decides.

use jiff::Timestamp;
use odigos_plan::collector::STRIP_CLASS;
use odigos_plan::scaling::{ExporterReading, Reading};
use prometheus_parse::{Sample, Scrape, Value};
use std::collections::BTreeMap;

/// What all metrics that are looked at begin with; histograms of hundreds of lines are passed over unread.
const PREFIXES: [&str; 4] = ["otelcol_receiver_", "otelcol_processor_", "otelcol_exporter_", "otelcol_process_uptime"];

/// Reads a scrape.
///
/// # Errors
/// When the text is not in the format.
pub(crate) fn read(text: &str, at: Timestamp) -> std::io::Result<Reading> {
    let lines = text.lines().filter(|line| PREFIXES.iter().any(|prefix| line.starts_with(prefix)));
    let scrape = Scrape::parse(lines.map(|line| Ok(line.to_owned())))?;
    let exporters = BTreeMap::new();
    let mut reading = Reading {
        at,
        uptime: 0.0,
        accepted: 0.0,
        refused: 0.0,
        refused_for_memory: 0.0,
        exporters,
        pipelines: BTreeMap::new(),
    };
    let mut queues: BTreeMap<(&str, &str), (f64, f64)> = BTreeMap::new();
    for sample in &scrape.samples {
        let Some(number) = number(sample) else { continue };
        let label = |name: &str| sample.labels.get(name).unwrap_or_default();
        let name = sample.metric.strip_suffix("_total").unwrap_or(&sample.metric);
        if name.starts_with("otelcol_process_uptime") {
            reading.uptime = number;
        } else if let Some(what) = name.strip_prefix("otelcol_receiver_") {
            // Scrapers of the gateway's own metrics are nobody's items.
            if label("receiver").starts_with("prometheus/") {
                continue;
            }
            if what.starts_with("accepted_") {
                reading.accepted += number;
            } else if what.starts_with("refused_") {
                reading.refused += number;
            }
        } else if let Some(what) = name.strip_prefix("otelcol_processor_") {
            // Older: `refused_spans`; since then `memory_limiter_refused_spans`.
            if what.strip_prefix("memory_limiter_").unwrap_or(what).starts_with("refused_") {
                reading.refused_for_memory += number;
            }
            // The first processor of the pipeline of a stream is called after it.
            let pipeline = label("processor").strip_prefix(STRIP_CLASS).and_then(|rest| rest.strip_prefix('/'));
            if let (Some(pipeline), "incoming_items") = (pipeline, what) {
                *reading.pipelines.entry(pipeline.to_owned()).or_default() += number;
            }
        } else if let Some(what) = name.strip_prefix("otelcol_exporter_") {
            let exporter = label("exporter");
            let entry = reading.exporters.entry(exporter.to_owned()).or_default();
            match what {
                "queue_size" => queues.entry((exporter, label("data_type"))).or_default().0 += number,
                "queue_capacity" => queues.entry((exporter, label("data_type"))).or_default().1 += number,
                what if what.starts_with("sent_") => entry.sent += number,
                what if what.starts_with("send_failed_") => entry.failed += number,
                what if what.starts_with("enqueue_failed_") => entry.not_queued += number,
                _ => {}
            }
        }
    }
    for ((exporter, _), (size, capacity)) in queues {
        let entry: &mut ExporterReading = reading.exporters.entry(exporter.to_owned()).or_default();
        if capacity > 0.0 {
            entry.queue = entry.queue.max(size / capacity);
        }
    }
    Ok(reading)
}

fn number(sample: &Sample) -> Option<f64> {
    match &sample.value {
        Value::Counter(number) | Value::Gauge(number) | Value::Untyped(number) if number.is_finite() => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As collector 0.158 writes it, and two lines as older releases do.
    const TEXT: &str = r#"# HELP otelcol_exporter_sent_spans Number of spans successfully sent to destination. [Alpha]
# TYPE otelcol_exporter_sent_spans counter
otelcol_exporter_sent_spans{exporter="otlp_grpc/jaeger-a",server_address="127.0.0.1",server_port="9"} 3
otelcol_exporter_sent_metric_points{exporter="otlp_grpc/jaeger-a"} 4
otelcol_exporter_send_failed_spans{error_permanent="false",error_type="Unavailable",exporter="otlp_grpc/jaeger-a"} 5
otelcol_exporter_send_failed_spans{error_permanent="true",error_type="Internal",exporter="otlp_grpc/jaeger-a"} 1
otelcol_exporter_enqueue_failed_spans{exporter="otlp_grpc/jaeger-a"} 9
otelcol_exporter_queue_capacity{data_type="traces",exporter="otlp_grpc/jaeger-a"} 3000
otelcol_exporter_queue_capacity{data_type="logs",exporter="otlp_grpc/jaeger-a"} 3000
otelcol_exporter_queue_size{data_type="traces",exporter="otlp_grpc/jaeger-a"} 1500
otelcol_exporter_queue_size{data_type="logs",exporter="otlp_grpc/jaeger-a"} 0
otelcol_exporter_queue_batch_send_size_bucket{exporter="otlp_grpc/jaeger-a",le="10"} 12
otelcol_processor_memory_limiter_refused_log_records{processor="memory_limiter"} 7
otelcol_processor_refused_spans_total{processor="memory_limiter"} 2
otelcol_processor_memory_limiter_accepted_spans{processor="memory_limiter"} 12
otelcol_processor_incoming_items{otel_signal="traces",processor="resource/stream-class/stream.shop"} 30
otelcol_processor_incoming_items{otel_signal="logs",processor="resource/stream-class/stream.shop"} 12
otelcol_processor_incoming_items{otel_signal="logs",processor="resource/stream-class"} 5
otelcol_receiver_accepted_log_records{receiver="otlp",transport="grpc"} 100
otelcol_receiver_accepted_metric_points{receiver="prometheus/self-metrics",transport="http"} 5000
otelcol_receiver_refused_log_records{receiver="otlp",transport="grpc"} 7
otelcol_receiver_refused_spans_total{receiver="otlp",transport="http"} 2e3
otelcol_receiver_failed_spans{receiver="otlp",transport="http"} 1
otelcol_process_uptime 8.062541728
process_cpu NaN
"#;

    #[test]
    fn the_counters_that_matter_are_summed() {
        let reading = read(TEXT, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(reading.uptime, 8.062541728);
        assert_eq!((reading.accepted, reading.refused, reading.refused_for_memory), (100.0, 2007.0, 9.0));
        let exporter = ExporterReading { sent: 7.0, failed: 6.0, not_queued: 9.0, queue: 0.5 };
        assert_eq!(reading.exporters, BTreeMap::from([("otlp_grpc/jaeger-a".to_owned(), exporter)]));
        assert_eq!(reading.pipelines, BTreeMap::from([("stream.shop".to_owned(), 42.0)]));
    }

    #[test]
    fn what_is_no_scrape_says_nothing() {
        let reading = read("<html>\n\notelcol_receiver_refused_spans{receiver=\"otlp\"} lots\n", Timestamp::UNIX_EPOCH);
        assert!(
            reading.is_err() || reading.is_ok_and(|reading| reading.refused == 0.0 && reading.exporters.is_empty())
        );
    }
}
