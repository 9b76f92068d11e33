//! The connection between node collectors and gateways: each side shows a certificate of the product's own authority.
//!
//! Owns the settings and volumes of both sides; [`change_over`] says when an installation that did without uses them. Never makes a
//! certificate.

pub mod change_over;
pub mod relief;

use odigos_api::names;
use serde_json::{Value, json};

/// Name of the volume; a pod that has it is of a release that uses certificates.
const VOLUME: &str = "certificate";
const DIRECTORY: &str = "/etc/odigos/certificate";
/// The one name in the certificate of every gateway: node collectors reach their pods by addresses that come and go.
pub const GATEWAY_NAME: &str = "gateway.odigos.internal";
/// The name in the certificate of node collectors, by which readers of their metrics know them too.
pub const NODE_NAME: &str = "node-collector.odigos.internal";
/// How often a collector reads its certificate again. Kubelets bring a changed Secret within two minutes.
const RELOAD: &str = "1m";

/// A side of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It listens.
    Gateway,
    /// It connects.
    Node,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Gateway, Self::Node];

    /// Secret with its certificate.
    #[must_use]
    pub fn secret(self) -> &'static str {
        match self {
            Self::Gateway => names::GATEWAY_CERTIFICATE,
            Self::Node => names::NODE_CERTIFICATE,
        }
    }

    /// The name in it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => GATEWAY_NAME,
            Self::Node => NODE_NAME,
        }
    }

    /// The volume of its pods. Node collectors run as root; gateways read it by their group.
    #[must_use]
    pub fn volume(self) -> Value {
        let mode = match self {
            Self::Gateway => 0o440,
            Self::Node => 0o400,
        };
        let items = ["ca.crt", "tls.crt", "tls.key"].map(|key| json!({"key": key, "path": key}));
        json!({"name": VOLUME, "secret": {"secretName": self.secret(), "defaultMode": mode, "items": items}})
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mount() -> Value {
        json!({"name": VOLUME, "mountPath": DIRECTORY, "readOnly": true})
    }

    /// `tls` of its receiver or exporter.
    #[must_use]
    pub fn settings(self) -> Value {
        match self {
            Self::Gateway => listening(),
            Self::Node => {
                let mut settings = certified();
                settings["ca_file"] = json!(file("ca.crt"));
                settings["server_name_override"] = json!(GATEWAY_NAME);
                settings
            }
        }
    }
}

fn file(name: &str) -> String {
    format!("{DIRECTORY}/{name}")
}

/// What both sides show.
fn certified() -> Value {
    json!({
        "cert_file": file("tls.crt"),
        "key_file": file("tls.key"),
        "reload_interval": RELOAD,
        "min_version": "1.3",
    })
}

/// `tls` of a server in a pod of either side, whose clients show a certificate of the same authority.
#[must_use]
pub fn listening() -> Value {
    let mut settings = certified();
    settings["client_ca_file"] = json!(file("ca.crt"));
    settings["client_ca_file_reload"] = json!(true);
    settings
}

/// Whether every node collector trusts the authorities of this hash: they read them when they start, and never again.
#[must_use]
pub fn is_trusted_by_nodes(authorities: &str, nodes: &[Value]) -> bool {
    let trusted = |pod: &Value| {
        let annotations = pod.pointer("/metadata/annotations");
        annotations.and_then(|all| all.get(odigos_api::labels::AUTHORITIES)).is_some_and(|found| found == authorities)
    };
    nodes.iter().all(trusted)
}

/// How long node collectors may keep a connection, in seconds. Each new one costs a gateway a handshake; short ones spread senders
/// over new replicas. About 20 handshakes a second for each gateway, in steps, since a change replaces the gateways; a cluster that
/// breathes around a step keeps the longer time.
#[must_use]
pub fn connection_seconds(nodes: usize, current: Option<u32>) -> u32 {
    const STEPS: [u32; 4] = [15, 60, 240, 900];
    let most = |seconds: u32| seconds as usize * 20;
    let wanted = STEPS.into_iter().find(|step| nodes <= most(*step)).unwrap_or(STEPS[3]);
    match current {
        Some(current) if STEPS.contains(&current) && current > wanted && nodes * 2 > most(wanted) => current,
        _ => wanted,
    }
}

/// The time that a rendered configuration states.
#[must_use]
pub fn stated_connection_seconds(configuration: &str) -> Option<u32> {
    let (_, rest) = configuration.split_once("max_connection_age:")?;
    rest.lines().next()?.trim().trim_matches('"').strip_suffix('s')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_last_longer_in_larger_clusters() {
        for (nodes, seconds) in [(0, 15), (300, 15), (301, 60), (1_200, 60), (5_000, 900), (50_000, 900)] {
            assert_eq!(connection_seconds(nodes, None), seconds, "{nodes}");
        }
        assert_eq!(connection_seconds(290, Some(60)), 60, "a cluster that breathes");
        assert_eq!(connection_seconds(150, Some(60)), 15);
        assert_eq!(stated_connection_seconds("a:\n  max_connection_age: 240s\n"), Some(240));
        assert_eq!(stated_connection_seconds("a: b\n"), None);
    }

    #[test]
    fn new_authority_is_used_when_every_node_has_read_it() {
        let node = |hash: &str| json!({"metadata": {"annotations": {odigos_api::labels::AUTHORITIES: hash}}});
        assert!(is_trusted_by_nodes("a", &[node("a")]) && is_trusted_by_nodes("a", &[]));
        assert!(!is_trusted_by_nodes("a", &[node("a"), node("b")]));
    }
}
