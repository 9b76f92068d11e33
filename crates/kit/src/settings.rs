//! Flags that every controller has.

use std::net::SocketAddr;

/// Flags that every controller has; each can be set by its environment variable too.
#[derive(clap::Args, Clone, Debug)]
pub struct CommonArguments {
    /// Namespace of the control plane.
    #[arg(long, env = "ODIGOS_NAMESPACE", default_value = odigos_api::names::DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// Address of health, metrics and log level.
    #[arg(long, env = "ODIGOS_ADMIN_ADDRESS", default_value = "0.0.0.0:8080")]
    pub admin_address: SocketAddr,
    /// Which log lines are written, e.g. info or debug,kube=info.
    #[arg(long, env = "ODIGOS_LOG", default_value = "info,kube_lease_manager=warn")]
    pub log: String,
    /// Work without electing a leader. Only where a single replica runs.
    #[arg(long, env = "ODIGOS_NO_LEADER_ELECTION")]
    pub no_leader_election: bool,
    /// Seconds after which a leader that is gone is replaced.
    #[arg(long, env = "ODIGOS_LEASE_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=300))]
    pub lease_seconds: u64,
}
