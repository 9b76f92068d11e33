//! The alert rules and the dashboard: a real Prometheus takes every rule and every query, and every metric is one that the
//! product exposes. That the metrics are there is asked of running collectors in the stories (`tests/e2e`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something unexpected happens")]

use odigos_testkit::http::get;
use odigos_testkit::ports::free_port;
use odigos_testkit::process::{Process, eventually};
use odigos_tools::{find, root};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

fn dashboard_queries() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deploy/observability/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.map(|target| target["expr"].as_str().unwrap().replace("$__rate_interval", "5m")).collect()
}

fn encoded(query: &str) -> String {
    query.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"))
}

#[tokio::test]
async fn prometheus_takes_every_rule_and_every_query() {
    let (port, directory) = (free_port().unwrap(), tempfile::tempdir().unwrap());
    let configuration = directory.path().join("prometheus.yaml");
    let rules = root().join("deploy/observability/alerts.yaml");
    std::fs::write(&configuration, format!("global: {{evaluation_interval: 1s}}\nrule_files: [{:?}]\n", rules))
        .unwrap();
    let mut command = Command::new(find("prometheus").unwrap());
    command
        .arg(format!("--config.file={}", configuration.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
    let server = Process::start("prometheus", &mut command, &directory.path().join("prometheus.log")).unwrap();
    let ready = eventually("every rule was evaluated", Duration::from_secs(90), || async {
        let Some(text) = get(port, "/api/v1/rules", None).await else { return false };
        let answer: Value = serde_json::from_str(&text).unwrap();
        let groups = answer["data"]["groups"].as_array().unwrap();
        let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
        assert!(rules.iter().all(|rule| rule["health"] != "err"), "{rules:?}");
        rules.len() >= 15 && rules.iter().all(|rule| rule["health"] == "ok")
    });
    ready.await.unwrap_or_else(|error| panic!("{error}: {}", server.output()));
    let queries = dashboard_queries();
    assert!(queries.len() > 15);
    for query in queries {
        assert!(get(port, &format!("/api/v1/query?query={}", encoded(&query)), None).await.is_some(), "{query}");
    }
}

/// Every alert says what is so and what to do.
#[test]
fn alerts_are_for_people() {
    let text = std::fs::read_to_string(root().join("deploy/observability/alerts.yaml")).unwrap();
    let rules: Value = serde_yaml::from_str(&text).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let alerts: Vec<&Value> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .filter(|rule| rule.get("alert").is_some())
        .collect();
    let names: BTreeSet<&str> = alerts.iter().map(|alert| alert["alert"].as_str().unwrap()).collect();
    assert_eq!(names.len(), alerts.len());
    for alert in alerts {
        assert!(alert["annotations"]["summary"].is_string() && alert["annotations"]["action"].is_string(), "{alert}");
        assert!(matches!(alert["labels"]["severity"].as_str(), Some("warning" | "critical")), "{alert}");
    }
}
