//! Counts that a collector keeps of what passes it, for whoever scrapes them.
//!
//! Owns how what a `count` connector says of each batch becomes totals on a port of the collector; never what is counted, nor
//! where. Facts: `spec/otel-collector.md` 1.3 and 11 (counts for each workload by the count connector).

use odigos_api::Signal;
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline};
use serde_json::{Value, json};

/// How long a total is kept that nothing is added to. Longer than any alert looks back.
const KEPT: &str = "1h";
/// Most series that a collector keeps totals of; the ones beyond are not counted, and no memory is lost to them.
const SERIES: u32 = 20_000;

/// Id of the connector of the counts `name`. Pipelines that are to be counted export to it.
#[must_use]
pub fn connector(name: &str) -> String {
    format!("count/{name}")
}

/// Counts what pipelines give to [`connector`], as `counted` says (settings of the connector), and shows the totals at `endpoint`.
///
/// The connector says how many items each batch had, with the times of the items, by resource. So each number gets the time at
/// which it is added, one after another behind the batch processor: a sum takes nothing that is older than its last part.
/// That processor also keeps whatever goes wrong here away from the pipelines that are counted.
pub fn add(config: &mut CollectorConfig, name: &str, counted: Value, endpoint: &str) {
    // Two slashes, which no Processor of a user has.
    let own = |kind: &str| format!("{kind}/counts/{name}");
    let (batch, transform, totals) = (own("batch"), own("transform"), own("deltatocumulative"));
    let exporter = format!("prometheus/{name}");
    config.add(ComponentKind::Connector, connector(name), counted);
    config.add(ComponentKind::Processor, batch.clone(), json!({"timeout": "1s"}));
    config.add(
        ComponentKind::Processor,
        transform.clone(),
        json!({
            "error_mode": "ignore",
            "metric_statements": [
                // What is wanted of the resource is among the attributes of the number already.
                {"context": "resource", "statements": ["delete_matching_keys(attributes, \".+\")"]},
                {"context": "datapoint", "statements": ["set(start_time_unix_nano, 0)", "set(time, Now())"]},
            ],
        }),
    );
    config.add(ComponentKind::Processor, totals.clone(), json!({"max_stale": KEPT, "max_streams": SERIES}));
    config.add(ComponentKind::Exporter, exporter.clone(), json!({"endpoint": endpoint, "metric_expiration": KEPT}));
    *config.pipeline(Signal::Metrics, name) = Pipeline {
        receivers: vec![connector(name)],
        processors: vec![batch, transform, totals],
        exporters: vec![exporter],
    };
}
