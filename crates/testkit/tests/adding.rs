//! `docs/adding-a-destination.md`, followed to the letter in a copy of the crates that it concerns.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something unexpected happens")]

use odigos_tools::root;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// The code block of a language in a section.
fn block<'a>(text: &'a str, section: &str, language: &str) -> &'a str {
    let section = text.split(section).nth(1).unwrap_or_else(|| panic!("no section {section}"));
    section.split(&format!("```{language}\n")).nth(1).unwrap().split("```").next().unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn cargo(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What is known of the outer build must not reach the inner one.
    command
        .args(arguments)
        .arg("--offline")
        .current_dir(folder)
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTFLAGS");
    if std::env::var_os("CARGO_TARGET_DIR").is_none() {
        command.env("CARGO_TARGET_DIR", root().join("target"));
    }
    command.output().unwrap()
}

#[test]
fn the_walk_through_works_as_written() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path();
    for one in ["api", "pipeline", "catalog"] {
        copy(&root().join("crates").join(one), &folder.join("crates").join(one));
    }
    // Only the three crates are members here, so the others are no dependencies of the workspace either.
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    std::fs::write(folder.join("Cargo.toml"), manifest.replace(", \"tests/e2e\"", "")).unwrap();
    std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let text = std::fs::read_to_string(root().join("docs/adding-a-destination.md")).unwrap();
    let file = folder.join("crates/catalog/data/destinations/mydest.yaml");
    let yaml = block(&text, "## 1. One file", "yaml");
    std::fs::write(&file, yaml).unwrap();
    let golden = folder.join("crates/catalog/tests/golden/examples.json");
    let mut examples: Value = serde_json::from_str(&std::fs::read_to_string(&golden).unwrap()).unwrap();
    let added: Value = serde_json::from_str(block(&text, "## 2. An example", "json")).unwrap();
    examples.as_object_mut().unwrap().extend(added.as_object().unwrap().clone());
    std::fs::write(&golden, examples.to_string()).unwrap();
    let command = block(&text, "## 3. Try it", "").trim();
    let words: Vec<&str> = command.strip_prefix("cargo ").unwrap().split(' ').collect();
    let out = cargo(folder, &words);
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    // A slip fails the build, and says where.
    std::fs::write(&file, yaml.replace("displayName: \"URL\"", "displayname: \"URL\"")).unwrap();
    let out = cargo(folder, &["check", "--package", "odigos-catalog"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("mydest.yaml") && said.contains("displayname"), "{said}");
    assert!(said.contains("line"), "{said}");
}
