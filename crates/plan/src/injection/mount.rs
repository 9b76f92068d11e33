//! How the agents' files come into a pod: volumes, mounts, init containers, and the nodes that can run it
//! (`spec/sources-and-instrumentation.md` 5.5).
//!
//! Mounts are read-only, one for each folder. Virtual devices and CSI volumes are not offered: both tie pods to what nodes
//! have registered, and keep them pending where schedulers cannot know it.

use super::options::{CPU_REQUEST, LIMIT, MEMORY_REQUEST, MountMethod};
use super::pull_secret::{self, has_files_from_node};
use super::{LOADER, Subject, Target};
use odigos_api::labels::PREPARED_NODE;
use odigos_catalog::distribution::{AGENTS_DIRECTORY, Distribution, Files};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Where images keep the folders of agents.
const IN_IMAGE: &str = "/instrumentations";

/// What a namespace enforces of the Pod Security Standards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecurityLevel {
    /// Nothing, by its label: host paths are certain to be admitted.
    Privileged,
    /// It has no label, so the default of the cluster, a SecurityContextConstraint or a policy engine decides, which cannot be read.
    Unlabelled,
    /// No host paths, among others.
    Baseline,
    /// No root, no privileges.
    Restricted,
}

impl SecurityLevel {
    /// The level by the labels of a namespace; one that is not known counts as the strictest.
    #[must_use]
    pub fn of(labels: Option<&BTreeMap<String, String>>) -> Self {
        let label = labels.and_then(|labels| labels.get("pod-security.kubernetes.io/enforce"));
        match label.map(String::as_str) {
            None => Self::Unlabelled,
            Some("privileged") => Self::Privileged,
            Some("baseline") => Self::Baseline,
            Some(_) => Self::Restricted,
        }
    }
}

/// Whether a pod has the agents' files from its node, by its volumes: name, and whether each is a host path.
pub fn has_host_path<'a>(volumes: impl IntoIterator<Item = (&'a str, bool)>) -> bool {
    volumes.into_iter().any(|(name, is_host_path)| is_host_path && name == VOLUME)
}

/// Name of the volume with the agents' files of the release.
const VOLUME: &str = "odigos-agent";

/// Where the folders of one volume come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Node,
    /// `is_own`: the image is the release's own, which has a program for it and no shell.
    Copied {
        image: String,
        is_own: bool,
    },
    Image {
        image: String,
    },
}

/// Folders that containers need, by name of the volume.
type Volumes = BTreeMap<String, (Source, BTreeSet<String>)>;

/// Adds volumes, mounts, init containers and affinity; returns whether the pod has files of the release's own agents from their image.
pub(super) fn add(subject: &Subject<'_>, targets: &[Target<'_>], pod: &mut Value) -> Result<bool, String> {
    let mut volumes = Volumes::new();
    for target in targets {
        for (volume, source, folder) in wanted(subject, target)? {
            let container = pod.pointer_mut(&format!("/spec/containers/{}", target.index));
            let container = container.ok_or_else(|| format!("container {} is not in the pod", target.name))?;
            mount(container, &volume, &source, &folder)?;
            volumes.entry(volume).or_insert_with(|| (source, BTreeSet::new())).1.insert(folder);
        }
    }
    for (name, (source, folders)) in &volumes {
        add_volume(pod, name, source)?;
        if let Source::Copied { image, is_own } = source {
            let command = if *is_own { copied_by_agent(folders) } else { copied_by_shell(folders) };
            add_init_container(pod, name, image, &command, subject);
        }
    }
    if let Some(name) = &subject.options.pull_secret
        && volumes.values().any(|(source, _)| *source != Source::Node)
    {
        if subject.lacks_pull_secret {
            let namespace = &subject.workload.namespace;
            return Err(format!(
                "Secret {name} (agentImages.pullSecret) is not in namespace {namespace}; create it there"
            ));
        }
        pull_secret::add(pod, name)?;
    }
    let from_node = volumes.values().any(|(source, _)| *source == Source::Node);
    if from_node && !subject.options.has_karpenter {
        require_prepared_node(pod);
    }
    Ok(volumes.get(VOLUME).is_some_and(|(source, _)| *source != Source::Node))
}

/// Volume, source and folder for everything that a container needs.
fn wanted(subject: &Subject<'_>, target: &Target<'_>) -> Result<Vec<(String, Source, String)>, String> {
    let distribution = target.distribution;
    let folders = distribution.directories.iter().map(|one| Distribution::filled(one, &target.config.distro_params));
    let mut wanted = Vec::new();
    if distribution.files != Files::None {
        let is_included = distribution.files == Files::Included;
        let (volume, source) = source(subject, is_included, &distribution.name)?;
        wanted.extend(folders.map(|folder| (volume.clone(), source.clone(), folder)));
    }
    if target.uses_loader {
        let (volume, source) = source(subject, true, &distribution.name)?;
        wanted.push((volume, source, LOADER.to_owned()));
    }
    Ok(wanted)
}

fn source(subject: &Subject<'_>, is_included: bool, distribution: &str) -> Result<(String, Source), String> {
    let options = subject.options;
    let is_refused = matches!(subject.level, None | Some(SecurityLevel::Baseline | SecurityLevel::Restricted));
    let is_possible = !is_refused || subject.has_host_path;
    let comes_from_node =
        has_files_from_node(options, subject.level, subject.has_host_path, subject.has_prepared_nodes);
    let own_image = || match options.agents_image.as_str() {
        "" => Err("no image with the agents' files is configured (agentsImage of the configuration)".to_owned()),
        image => Ok(image.to_owned()),
    };
    let (volume, image) = if is_included {
        (VOLUME.to_owned(), own_image())
    } else {
        let image = options.agent_images.get(distribution).cloned();
        let missing =
            || format!("no image with the files of {distribution} is configured (agentImages.{distribution})");
        (format!("odigos-agent-{}", distribution.replace('.', "-")), image.ok_or_else(missing))
    };
    let source = match options.mount {
        MountMethod::HostPath if is_included && options.lacks_node_agents => {
            return Err("mountMethod is k8s-host-path, and nodes have no agent that would keep the files there (runtimeDetection.mode); k8s-init-container would work".into());
        }
        MountMethod::HostPath if is_included && !is_possible => {
            return Err("mountMethod is k8s-host-path, and the namespace's Pod Security level allows no host paths; k8s-init-container would work".into());
        }
        MountMethod::HostPath if is_included && !subject.has_prepared_nodes => {
            return Err(format!(
                "mountMethod is k8s-host-path, and no node has the agents' files yet (label {PREPARED_NODE})"
            ));
        }
        _ if is_included && comes_from_node => Source::Node,
        MountMethod::ImageVolume => Source::Image { image: image? },
        _ => Source::Copied { image: image?, is_own: is_included },
    };
    Ok((volume, source))
}

fn list_of<'a>(at: &'a mut Value, key: &str) -> Option<&'a mut Vec<Value>> {
    let map = at.as_object_mut()?;
    let list = map.entry(key).or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn mount(container: &mut Value, volume: &str, source: &Source, folder: &str) -> Result<(), String> {
    let path = format!("{AGENTS_DIRECTORY}/{folder}");
    let name = text(container, "name").to_owned();
    let Some(mounts) = list_of(container, "volumeMounts") else {
        return Err(format!("container {name}: volumeMounts is no list"));
    };
    if let Some(there) = mounts.iter().find(|one| text(one, "mountPath").trim_end_matches('/') == path) {
        if text(there, "name") == volume {
            return Ok(());
        }
        return Err(format!("container {name}: it mounts something else at {path}"));
    }
    // The container runtime could not make the folder inside of what is read-only.
    let covers = |one: &&Value| {
        let outer = text(one, "mountPath").trim_end_matches('/');
        let is_outer = path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
        is_outer && one.get("readOnly").and_then(Value::as_bool) == Some(true)
    };
    if let Some(outer) = mounts.iter().find(covers) {
        return Err(format!(
            "container {name}: {} is mounted read-only, so {path} cannot be",
            text(outer, "mountPath")
        ));
    }
    let sub_path = match source {
        Source::Image { .. } => format!("{}/{folder}", IN_IMAGE.trim_start_matches('/')),
        Source::Node | Source::Copied { .. } => folder.to_owned(),
    };
    mounts.push(json!({"name": volume, "mountPath": path, "subPath": sub_path, "readOnly": true}));
    Ok(())
}

fn add_volume(pod: &mut Value, name: &str, source: &Source) -> Result<(), String> {
    let (kind, value) = match source {
        Source::Node => ("hostPath", json!({"path": AGENTS_DIRECTORY})),
        Source::Copied { .. } => ("emptyDir", json!({})),
        Source::Image { image } => ("image", json!({"reference": image, "pullPolicy": "IfNotPresent"})),
    };
    let Some(volumes) = list_of(&mut pod["spec"], "volumes") else { return Err("spec.volumes is no list".into()) };
    match volumes.iter().find(|one| text(one, "name") == name) {
        None => {
            let mut volume = json!({"name": name});
            volume[kind] = value;
            volumes.push(volume);
            Ok(())
        }
        Some(there) if there.get(kind).is_some() => Ok(()),
        Some(_) => Err(format!("it has a volume {name} of its own; that name is taken by agents")),
    }
}

/// Images of other distributions come from users, and have what images usually have.
fn copied_by_shell(folders: &BTreeSet<String>) -> Vec<String> {
    let copy = |folder: &String| {
        format!("rm -rf {AGENTS_DIRECTORY}/{folder} && cp -r {IN_IMAGE}/{folder} {AGENTS_DIRECTORY}/{folder}")
    };
    let copies: Vec<String> = folders.iter().map(copy).collect();
    vec!["sh".into(), "-c".into(), format!("umask 022 && {}", copies.join(" && "))]
}

fn copied_by_agent(folders: &BTreeSet<String>) -> Vec<String> {
    let fixed = ["/odigos-agent", "copy", "--from", IN_IMAGE, "--to", AGENTS_DIRECTORY];
    fixed.into_iter().map(str::to_owned).chain(folders.iter().cloned()).collect()
}

/// The copy runs as nobody, without any privilege, so that it starts where only that is allowed.
fn add_init_container(pod: &mut Value, volume: &str, image: &str, command: &[String], subject: &Subject<'_>) {
    let name = volume.replacen("odigos-agent", "odigos-agents", 1);
    let options = subject.options;
    let amount = |key: &str, default: i64| options.init_resources.get(key).copied().unwrap_or(default);
    let cpu = subject.bounds.cpu.fit((amount("requestCPUm", CPU_REQUEST), amount("limitCPUm", LIMIT)));
    let memory =
        subject.bounds.memory.fit((amount("requestMemoryMiB", MEMORY_REQUEST), amount("limitMemoryMiB", LIMIT)));
    let mut security = json!({
        "privileged": false,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    if !options.is_openshift {
        security["runAsUser"] = json!(65532);
        security["runAsGroup"] = json!(65532);
    }
    let container = json!({
        "name": name,
        "image": image,
        "command": command,
        "resources": {
            "requests": {"cpu": format!("{}m", cpu.0), "memory": format!("{}Mi", memory.0)},
            "limits": {"cpu": format!("{}m", cpu.1), "memory": format!("{}Mi", memory.1)},
        },
        "securityContext": security,
        "volumeMounts": [{"name": volume, "mountPath": AGENTS_DIRECTORY}],
    });
    let Some(containers) = list_of(&mut pod["spec"], "initContainers") else { return };
    if !containers.iter().any(|one| text(one, "name") == name) {
        containers.push(container);
    }
}

/// Only nodes with the files will do, beside what the user requires: terms are alternatives, so each of them gets it.
fn require_prepared_node(pod: &mut Value) {
    let expression = json!({"key": PREPARED_NODE, "operator": "In", "values": ["true"]});
    let required = &mut pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let Some(terms) = list_of(or_object(required), "nodeSelectorTerms") else { return };
    if terms.is_empty() {
        terms.push(json!({}));
    }
    for term in terms {
        let Some(expressions) = list_of(term, "matchExpressions") else { continue };
        if !expressions.iter().any(|one| text(one, "key") == PREPARED_NODE) {
            expressions.push(expression.clone());
        }
    }
}

fn or_object(value: &mut Value) -> &mut Value {
    if value.is_null() {
        *value = json!({});
    }
    value
}
