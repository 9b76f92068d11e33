//! The modules that a Go program is linked from, as Go writes them into it.

use super::{Package, encoded};
use anyhow::{Context, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The modules of a program, its own first, then Go's standard library.
///
/// # Errors
/// When Go is missing, or the program says nothing.
pub(crate) fn packages(program: &Path, version: &str) -> anyhow::Result<Vec<Package>> {
    let output = Command::new("go").args(["version", "-m", "-json"]).arg(program).output();
    let output = output.context("failed to start go")?;
    if !output.status.success() {
        bail!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    let information = serde_json::from_slice(&output.stdout);
    let information = information.with_context(|| format!("{} names no modules", program.display()))?;
    modules(&information, version).with_context(|| program.display().to_string())
}

fn modules(information: &Value, own_version: &str) -> anyhow::Result<Vec<Package>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let go = text(&information["GoVersion"]).context("no version of Go")?;
    let go = go.strip_prefix("go").and_then(|rest| rest.split(' ').next()).context("no version of Go")?.to_owned();
    let main = text(&information["Main"]["Path"]).context("no module of its own")?;
    let mut packages = vec![
        Package { note: Some("of this repository".into()), ..module(&main, own_version) },
        Package { license: Some("BSD-3-Clause".into()), ..module("stdlib", &go) },
    ];
    for one in information["Deps"].as_array().context("no modules")? {
        // What is compiled is the replacement, where it is published: it has a digest of its own.
        let is_replaced = one["Replace"]["Sum"].is_string();
        let compiled = if is_replaced { &one["Replace"] } else { one };
        let path = text(&compiled["Path"]).context("a path")?;
        let version = text(&compiled["Version"]).context("a version")?;
        let note = match text(&compiled["Sum"]) {
            Some(sum) => format!("go.sum {sum}"),
            None if one["Replace"].is_object() => {
                "changed by a patch of this repository before it is compiled".to_owned()
            }
            None => bail!("{path} has no digest"),
        };
        packages.push(Package { note: Some(note), ..module(&path, &version) });
    }
    Ok(packages)
}

fn module(path: &str, version: &str) -> Package {
    let parts: Vec<String> = path.to_lowercase().split('/').map(encoded).collect();
    Package::new("golang", path, &parts.join("/"), version)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use serde_json::json;

    #[test]
    fn modules_are_named_with_their_digest_and_what_was_changed_says_so() {
        let information = json!({
            "GoVersion": "go1.26.8 X:nodwarf5", "Path": "odigos.io/go-agent", "Main": {"Path": "odigos.io/go-agent", "Version": "(devel)"},
            "Deps": [
                {"Path": "github.com/Masterminds/semver/v3", "Version": "v3.4.0", "Sum": "h1:Zog="},
                {"Path": "example.test/a", "Version": "v1.0.0", "Replace": {"Path": "example.test/b", "Version": "v2.0.0", "Sum": "h1:b="}},
                {"Path": "go.opentelemetry.io/auto", "Version": "v0.24.0", "Replace": {"Path": "../library", "Version": "(devel)"}},
            ],
        });
        let found = modules(&information, "0.1.0").unwrap();
        let purls: Vec<&str> = found.iter().map(|one| one.purl.as_str()).collect();
        assert_eq!(
            purls,
            [
                "pkg:golang/odigos.io/go-agent@0.1.0",
                "pkg:golang/stdlib@1.26.8",
                "pkg:golang/github.com/masterminds/semver/v3@v3.4.0",
                "pkg:golang/example.test/b@v2.0.0",
                "pkg:golang/go.opentelemetry.io/auto@v0.24.0",
            ]
        );
        assert_eq!(found[2].note.as_deref(), Some("go.sum h1:Zog="));
        assert_eq!(found[3].note.as_deref(), Some("go.sum h1:b="), "what is compiled is the replacement");
        assert!(found[4].note.as_deref().unwrap().contains("patch"));
        let without = json!({"GoVersion": "go1.26.8", "Main": {"Path": "m"}, "Deps": [{"Path": "p", "Version": "v1"}]});
        assert!(modules(&without, "0.1.0").is_err(), "a module without a digest is not passed over");
    }
}
