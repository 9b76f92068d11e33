//! What is installed already, by whom, and where.

use super::RELEASE;
use super::cluster::{Cluster, Where, text};
use super::record::Record;
use odigos_api::names;

/// An installation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// Installed by this tool, in the namespace that was asked about.
    Ours(Box<Record>),
    /// A release of Helm.
    Helm { release: String, namespace: String },
    /// Applied as plain manifests.
    Manifests { namespace: String },
    /// Installed by this tool in another namespace.
    Elsewhere { namespace: String },
    /// Controllers of that name that are not this product's.
    Foreign { namespace: String },
}

impl Found {
    /// What is installed, looking at `namespace` first.
    pub(super) async fn look(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        let record = Record::read(cluster, namespace).await?;
        let mut others = Vec::new();
        for name in [names::INSTRUMENTOR, names::SCHEDULER, names::AUTOSCALER] {
            let fields = format!("metadata.name={name}");
            let only = Where { fields: Some(&fields), ..Where::default() };
            for object in cluster.list_metadata("apps/v1", "Deployment", only).await? {
                let at = text(&object, "/metadata/namespace").to_owned();
                let release = text(&object, "/metadata/annotations/meta.helm.sh~1release-name");
                let part_of = text(&object, "/metadata/labels/app.kubernetes.io~1part-of");
                others.push(match text(&object, "/metadata/labels/app.kubernetes.io~1managed-by") {
                    _ if !release.is_empty() => Self::Helm { release: release.to_owned(), namespace: at },
                    _ if part_of != RELEASE => Self::Foreign { namespace: at },
                    super::MANAGER if at == namespace => continue,
                    super::MANAGER => Self::Elsewhere { namespace: at },
                    _ => Self::Manifests { namespace: at },
                });
            }
        }
        // Somebody else's comes first: it is what has to be said.
        Ok(match (others.into_iter().next(), record) {
            (Some(other), None) => other,
            (Some(other @ (Self::Helm { .. } | Self::Elsewhere { .. } | Self::Foreign { .. })), Some(_)) => other,
            (_, Some(record)) => Self::Ours(Box::new(record)),
            (None, None) => Self::elsewhere(cluster, namespace).await?,
        })
    }

    /// A record without controllers, left by an interrupted command in another namespace.
    async fn elsewhere(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        let fields = format!("metadata.name={}", names::DEPLOYMENT);
        let only = Where { fields: Some(&fields), ..Where::default() };
        let found = cluster.list_metadata("v1", "ConfigMap", only).await?;
        let other = found.iter().find(|one| {
            text(one, "/metadata/namespace") != namespace
                && text(one, "/metadata/labels/app.kubernetes.io~1managed-by") == super::MANAGER
        });
        Ok(match other {
            Some(one) => Self::Elsewhere { namespace: text(one, "/metadata/namespace").to_owned() },
            None => Self::Nothing,
        })
    }
}
