//! The reader of manifests against kubectl: what the real one makes of each file of `kubectl_manifests` is what is read.
//!
//! `kubectl annotate --local` reads files as `kubectl apply` does and prints the objects; it needs no cluster.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something unexpected happens")]

use odigos_api::yaml;
use odigos_plan::world::manifests;
use odigos_tools::root;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const MARK: &str = "odigos.io/read-by";

/// The objects that kubectl reads, and what it says about those that it does not.
fn kubectl(file: &Path) -> (Vec<Value>, String) {
    let mut command = Command::new(odigos_tools::find("kubectl").unwrap());
    command.args(["annotate", "--local", "-o", "json", "-f"]).arg(file).arg(format!("{MARK}=kubectl"));
    let output = command.output().unwrap();
    let objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>().map(Result::unwrap);
    let objects = objects.map(|mut object| {
        let metadata = object["metadata"].as_object_mut().unwrap();
        let annotations = metadata["annotations"].as_object_mut().unwrap();
        annotations.remove(MARK).unwrap();
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
        object
    });
    (objects.collect(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn files_are_read_as_kubectl_reads_them() {
    let folder = root().join("crates/testkit/tests/kubectl_manifests");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 12, "the files are missing");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let text = yaml::decode(&bytes).unwrap();
        let ours: Vec<Value> = manifests(&text, "").objects.into_iter().map(|one| one.object).collect();
        let (theirs, said) = kubectl(&file);
        assert_eq!(said, "", "{}: kubectl reads every file of the folder", file.display());
        assert_eq!(ours, theirs, "{}", file.display());
    }
}

/// Texts that kubectl refuses: nothing is read of them, and a finding says so.
#[test]
fn what_kubectl_refuses_is_an_error() {
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("refused.yaml");
    for text in [
        "x: {<<: 5}\n",
        "x: [1, , 2]\n",
        "x: .inf\n",
        "null: 1\n",
        "x: &a [*a]\n",
        "x: *missing\n",
        "x: {{ .Values.name }}\n",
        "\tx: 1\n",
        "x: !!int abc\n",
        "- a\n",
    ] {
        let text = format!("{config}{text}");
        std::fs::write(&file, &text).unwrap();
        let (theirs, said) = kubectl(&file);
        assert!(theirs.is_empty() && said.contains("error"), "{text}: kubectl reads it: {theirs:?}");
        let ours = manifests(&text, "refused.yaml");
        assert_eq!(ours.objects, [], "{text}");
        let location = ours.findings[0].location.clone().unwrap();
        assert!(location.starts_with("refused.yaml:") && location.ends_with(", document 1"), "{location}");
    }
}
