//! What documents show is what is so: the README's excerpt is rendered, and manifests and settings of all pages are accepted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something unexpected happens")]

use odigos_api::Severity;
use odigos_plan::configuration;
use odigos_plan::world::{World, read};
use std::path::{Path, PathBuf};

/// How a block with a part of the configuration begins.
const SETTINGS: &str = "# the product's configuration";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// YAML blocks of the README and of every page that is written by hand, with the page's name.
fn blocks() -> Vec<(String, String)> {
    let pages = std::fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let mut found = Vec::new();
    for path in pages.chain([repository().join("README.md")]) {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let parts = text.split("```yaml\n").skip(1).filter(|_| !text.starts_with("<!-- Generated"));
        found.extend(parts.map(|part| (name.clone(), part.split("```").next().unwrap().to_owned())));
    }
    found
}

/// Every manifest that a page shows, all of one page together: nothing of it is worth a finding, and destinations work.
#[test]
fn manifests_of_the_documents_are_accepted() {
    let mut pages: std::collections::BTreeMap<String, World> = std::collections::BTreeMap::new();
    let mut kinds = std::collections::BTreeSet::new();
    for (page, text) in blocks().into_iter().filter(|(_, text)| text.contains("apiVersion: odigos.io/v1alpha1")) {
        let world = pages.entry(page.clone()).or_insert_with(|| World::new("odigos-system"));
        for object in read(&text).unwrap_or_else(|error| panic!("{page}: {error:?}\n{text}")) {
            kinds.insert(object["kind"].as_str().unwrap_or_default().to_owned());
            world.insert(object).unwrap_or_else(|finding| panic!("{page}: {finding:?}"));
        }
    }
    for kind in ["Source", "Destination", "InstrumentationRule", "Sampling"] {
        assert!(kinds.contains(kind), "no page shows a {kind}: {kinds:?}");
    }
    for (page, mut world) in pages {
        let mut findings = world.settle(jiff::Timestamp::UNIX_EPOCH).findings;
        // Pages show a Source without the workload that it selects, and rules without the workloads that they are for.
        let of_cluster = |field: &str| field == "spec.workload" || field.starts_with("spec.scopes.");
        findings.retain(|finding| finding.severity == Severity::Error || !of_cluster(&finding.field));
        // What a rule costs is said beside it, whether it is right or wrong.
        findings.retain(|finding| finding.severity != Severity::Info);
        assert_eq!(findings, vec![], "{page}");
        for ((_, name), destination) in &world.destinations {
            let condition = &destination.status.as_ref().unwrap().conditions[0];
            assert_eq!(condition.status, "True", "{page}: {name}: {}", condition.message);
        }
    }
}

/// Settings that a page shows have keys and values that the product reads.
#[test]
fn settings_of_the_documents_are_accepted() {
    let settings: Vec<_> = blocks().into_iter().filter(|(_, text)| text.starts_with(SETTINGS)).collect();
    assert!(settings.len() >= 3, "{settings:?}");
    for (page, text) in settings {
        let effective = configuration::effective(&text, None, None, "odigos-system");
        assert!(effective.result.is_ok(), "{page}: {text}");
        assert_eq!(effective.findings, vec![], "{page}: {text}");
    }
}

#[test]
fn the_excerpt_of_the_readme_is_rendered() {
    let root = repository();
    let mut world = World::new("odigos-system");
    for file in ["10-shop.yaml", "20-sources.yaml", "30-destinations.yaml"] {
        let text = std::fs::read_to_string(root.join("deploy/samples").join(file)).unwrap();
        read(&text).unwrap().into_iter().for_each(|object| world.insert(object).unwrap());
    }
    let rendered = world.settle(jiff::Timestamp::UNIX_EPOCH).gateway.unwrap().config.to_yaml();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let section = readme.split("## What the gateway's ConfigMap shows").nth(1).unwrap();
    let excerpt = section.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    // The excerpt leaves pipelines out, so each of its pipelines is looked up by itself.
    let mut pipelines: Vec<String> = Vec::new();
    for line in excerpt.lines() {
        if line.starts_with("    ") && !line.starts_with("      ") {
            pipelines.push(String::new());
        }
        let last = pipelines.last_mut().unwrap();
        last.push_str(line);
        last.push('\n');
    }
    assert!(pipelines.len() >= 5);
    for pipeline in pipelines {
        assert!(rendered.contains(&pipeline), "the README shows what is not rendered:\n{pipeline}\n{rendered}");
    }
}
