//! The registration of the custom metrics API: whose it is. A cluster has one for its group; another product's is never touched.

use super::cluster::{Cluster, Reference, Where, text};
use super::report::Check;
use serde_json::Value;

/// Kind of a registration.
pub(super) const KIND: &str = "APIService";
/// Group and version of that kind.
const API: &str = "apiregistration.k8s.io/v1";

/// Whether the API server asks a Service of the control plane in `namespace`.
fn is_ours(live: &Value, namespace: &str) -> bool {
    text(live, "/spec/service/namespace") == namespace && text(live, "/spec/service/name").starts_with("odigos-")
}

/// Registrations that point to the control plane in `namespace`.
pub(super) async fn ours(cluster: &Cluster, namespace: &str) -> anyhow::Result<Vec<Reference>> {
    let all = cluster.list(API, KIND, Where::default()).await?;
    Ok(all.iter().filter(|one| is_ours(one, namespace)).map(Reference::of).collect())
}

/// Whether removing this would take a registration away from another product, which has taken it over.
pub(super) async fn is_anothers(cluster: &Cluster, reference: &Reference, namespace: &str) -> anyhow::Result<bool> {
    Ok(reference.kind == KIND && cluster.get(reference).await?.is_some_and(|live| !is_ours(&live, namespace)))
}

/// No other product has a registration that is to be applied.
pub(super) async fn check(cluster: &Cluster, objects: &[Value], namespace: &str) -> anyhow::Result<Check> {
    const CHECK: &str = "API services";
    let mut wanted = 0;
    for object in objects.iter().filter(|object| object["kind"] == KIND) {
        wanted += 1;
        let reference = Reference::of(object);
        if let Some(live) = cluster.get(&reference).await?
            && !is_ours(&live, namespace)
        {
            let whose = match text(&live, "/spec/service/name") {
                "" => "the API server itself".to_owned(),
                name => format!("Service {}/{name}", text(&live, "/spec/service/namespace")),
            };
            return Ok(Check::error(
                CHECK,
                format!("{reference} belongs to {whose}"),
                "a cluster has one server of custom metrics: leave customMetrics.enabled off, or remove the other",
            ));
        }
    }
    Ok(Check::ok(CHECK, if wanted == 0 { "none is needed" } else { "no other product has them" }))
}
