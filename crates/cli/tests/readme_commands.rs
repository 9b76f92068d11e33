//! The README's commands that need no cluster, run as they are written.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use std::path::Path;
use std::process::{Command, Output};

fn odigos(arguments: &[&str]) -> Output {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_odigos"));
    // No cluster may be reached by accident.
    command.args(arguments).current_dir(repository).env("KUBECONFIG", "/nonexistent").env_remove("ODIGOS_NAMESPACE");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn commands_without_a_cluster_answer_as_the_readme_says() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
    let section = readme.split("## First five minutes").nth(1).unwrap();
    let block = section.split("```\n").nth(1).unwrap().split("```").next().unwrap();
    let commands: Vec<&str> = block.lines().map(|line| line.split(" #").next().unwrap().trim()).collect();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in &commands {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        let out = odigos(&words);
        // One destination of the sample is broken on purpose, which is a finding of severity error.
        let expected = i32::from(words.contains(&"deploy/samples"));
        assert_eq!(out.status.code(), Some(expected), "{command}: {}", text(&out.stderr));
        assert!(!out.stdout.is_empty(), "{command}");
    }
    let rendered = odigos(&["render", "-f", "deploy/samples"]);
    let (objects, findings) = (text(&rendered.stdout), text(&rendered.stderr));
    for kind in ["Deployment", "DaemonSet", "HorizontalPodAutoscaler", "InstrumentationConfig"] {
        assert!(objects.contains(&format!("\nkind: {kind}\n")), "{kind} is not among the objects");
    }
    assert!(findings.starts_with("error Destination/odigos-system/broken spec.data.JAEGER_URL: "), "{findings}");
    let gateway = text(&odigos(&["render", "-f", "deploy/samples", "--collector", "gateway"]).stdout);
    assert!(gateway.contains("traces/stream.shop:") && !gateway.contains("kind: Deployment"), "{gateway}");
    let described = text(&odigos(&["describe", "destination", "broken", "-f", "deploy/samples"]).stdout);
    assert!(described.contains("spec.data.JAEGER_URL") && described.contains("\nTo do "), "{described}");
    let installed = odigos(&["install", "--dry-run", "-o", "yaml"]);
    assert_eq!(installed.status.code(), Some(0), "it needs no cluster: {}", text(&installed.stderr));
    assert!(text(&installed.stdout).contains("\nkind: CustomResourceDefinition\n"));
    let unreadable = odigos(&["render", "-f", "deploy/nothing-is-here"]);
    assert_eq!(unreadable.status.code(), Some(2), "{}", text(&unreadable.stderr));
}
