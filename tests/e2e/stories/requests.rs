//! What the product asks of the API server, as the API server's own audit log tells it.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Requests by who asked, what and of what, e.g. `odigos-scheduler patch leases`.
pub(crate) type Requests = BTreeMap<String, usize>;

/// Where the cluster that `cargo xtask e2e` makes keeps the log; `None` on other clusters.
fn log() -> Option<PathBuf> {
    std::env::var_os("RUN").map(|run| PathBuf::from(run).join("log/audit.log")).filter(|log| log.is_file())
}

/// Bytes that the log has now.
pub(crate) fn mark() -> u64 {
    log().and_then(|log| std::fs::metadata(log).ok()).map_or(0, |metadata| metadata.len())
}

/// What the product's binaries asked since `mark`; `None` where there is no log.
pub(crate) fn since(mark: u64) -> anyhow::Result<Option<Requests>> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let Some(log) = log() else { return Ok(None) };
    let mut file = std::fs::File::open(log)?;
    file.seek(SeekFrom::Start(mark))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let mut requests = Requests::new();
    // The last line may be half a one.
    for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let word = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let agent = word("/userAgent").split('/').next().unwrap_or_default();
        // A watch is noted when it begins and when it ends.
        let is_end = word("/verb") == "watch" && word("/stage") == "ResponseComplete";
        if agent.starts_with("odigos-") && agent != "odigos-e2e" && !is_end {
            let what = format!("{agent} {} {}", word("/verb"), word("/objectRef/resource"));
            *requests.entry(what).or_default() += 1;
        }
    }
    Ok(Some(requests))
}

/// The most frequent, for people.
pub(crate) fn most(requests: &Requests) -> String {
    let mut all: Vec<_> = requests.iter().collect();
    all.sort_by_key(|(what, count)| (std::cmp::Reverse(**count), (*what).clone()));
    let rows: Vec<String> = all.iter().take(6).map(|(what, count)| format!("{count} {what}")).collect();
    rows.join(", ")
}
