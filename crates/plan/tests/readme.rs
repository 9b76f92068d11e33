//! What the README shows of the sample is what is rendered.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use odigos_plan::world::{World, read};
use std::path::Path;

#[test]
fn the_excerpt_of_the_readme_is_rendered() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
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
