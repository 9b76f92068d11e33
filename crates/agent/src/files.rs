//! The agents' files as a task of the process, and as the init container of a pod: when they are copied, who is notified.
//!
//! What is written where, and when a version may go, is in [`crate::install`].

use crate::install::{self, Install};
use anyhow::Context;
use odigos_api::labels::PREPARED_NODE;
use odigos_catalog::distribution::AGENTS_DIRECTORY;
use odigos_kit::apply::{Applier, reference};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// When versions of agents are removed that nobody has mounted any more.
const CLEAN: Duration = Duration::from_secs(6 * 3600);
/// When agents are installed again after a failure, e.g. a full disk.
const INSTALL_AGAIN: Duration = Duration::from_secs(60);

/// Tells schedulers that the node holds the agents' files.
#[derive(Debug)]
pub(crate) struct NodeLabel {
    /// Writes it.
    pub(crate) applier: Applier,
    /// Name of the node; absent when it shall not be labelled.
    pub(crate) node: Option<String>,
}

impl NodeLabel {
    async fn set(&self) -> bool {
        let Some(name) = &self.node else { return true };
        let node = reference("v1", "Node", "", name);
        let change = json!({"metadata": {"labels": {PREPARED_NODE: "true"}}});
        let outcome = self.applier.merge(&node, &change).await;
        if let Err(error) = &outcome {
            tracing::warn!(%error, node = name, label = PREPARED_NODE, "the node cannot be labelled");
        }
        outcome.is_ok()
    }
}

/// Installs the agents of the image, labels the node, and removes old versions from time to time.
pub(crate) async fn keep(install: Install, label: NodeLabel, stop: CancellationToken) {
    let mut is_labelled = false;
    loop {
        let own = install.clone();
        // Copying a hundred megabytes takes its time.
        let outcome = tokio::task::spawn_blocking(move || {
            let installed = own.install()?;
            if installed.is_some() {
                match own.clean(std::time::SystemTime::now()) {
                    Ok(removed) if removed.is_empty() => {}
                    Ok(removed) => tracing::info!(?removed, "old versions of agents are removed"),
                    Err(error) => tracing::warn!(%error, "old versions of agents are kept"),
                }
            }
            Ok::<_, std::io::Error>(installed)
        });
        let pause = match outcome.await {
            Ok(Ok(None)) => {
                tracing::info!(folder = %install.source.display(), "the image carries no agents");
                return stop.cancelled().await;
            }
            Ok(Ok(Some(installed))) => {
                if installed.is_new {
                    tracing::info!(version = installed.version, folders = ?installed.folders, "agents are installed");
                }
                is_labelled = is_labelled || label.set().await;
                if is_labelled { CLEAN } else { INSTALL_AGAIN }
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, folder = %install.target.display(), "the agents' files cannot be installed, it is tried again");
                INSTALL_AGAIN
            }
            Err(_) => INSTALL_AGAIN,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Copies folders of agents, as the init container of a pod does.
#[derive(clap::Parser, Debug)]
#[command(name = "odigos-agent copy", about)]
pub struct CopyArguments {
    /// Folder of the image with the agents' files.
    #[arg(long, default_value = "/instrumentations")]
    from: PathBuf,
    /// Folder that the agents' folders are copied into.
    #[arg(long, default_value = AGENTS_DIRECTORY)]
    to: PathBuf,
    /// Folders that are copied.
    #[arg(required = true)]
    folders: Vec<PathBuf>,
}

/// Copies agents; a folder that is there already, from a container that was started before, is copied over.
///
/// # Errors
/// When a folder is not in the image or cannot be written.
pub fn copy(arguments: &CopyArguments) -> anyhow::Result<()> {
    for folder in &arguments.folders {
        let is_inside = folder.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        anyhow::ensure!(is_inside, "{} is no folder of the agents", folder.display());
        let (from, to) = (arguments.from.join(folder), arguments.to.join(folder));
        install::copy(&from, &to)
            .with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))?;
    }
    Ok(())
}
