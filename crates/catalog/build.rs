//! Reads every catalogue file at build time, so that a bad one fails the build with its name, and lists them for embedding.

// The crate's own schemas, compiled here too; the build script reads files, the crate never does.
#[path = "src/distribution/constraint.rs"]
#[allow(dead_code, reason = "the build script only parses")]
mod constraint;
#[path = "src/distribution/schema.rs"]
#[allow(dead_code, reason = "the build script only parses")]
mod distribution;
#[path = "src/distribution/mapping.rs"]
#[allow(dead_code, reason = "the build script only parses")]
mod mapping;
#[path = "src/schema.rs"]
#[allow(dead_code, reason = "the build script only parses; rendering uses the rest")]
mod schema;

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/schema.rs");
    println!("cargo::rerun-if-changed=src/distribution");
    let destinations = files("destinations")?;
    for (path, stem, text) in &destinations {
        let parsed = schema::File::parse(text).map_err(|error| format!("{}: {error}", path.display()))?;
        if &parsed.metadata.type_id != stem {
            return Err(format!("{}: metadata.type must be {stem:?}, the name of the file", path.display()).into());
        }
    }
    let distributions = files("distributions")?;
    let mut all = Vec::new();
    for (path, stem, text) in &distributions {
        let parsed = distribution::File::parse(text).map_err(|error| format!("{}: {error}", path.display()))?;
        if &parsed.metadata.name != stem {
            return Err(format!("{}: metadata.name must be {stem:?}, the name of the file", path.display()).into());
        }
        all.push(parsed);
    }
    distribution::check_together(&all)?;
    embed("files.rs", &destinations)?;
    embed("distributions.rs", &distributions)
}

/// Path, stem and text of a file.
type Read = (PathBuf, String, String);

/// Every file of a folder, by name.
fn files(folder: &str) -> Result<Vec<Read>, Box<dyn Error>> {
    let directory = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("data").join(folder);
    println!("cargo::rerun-if-changed={}", directory.display());
    let mut entries: Vec<_> = std::fs::read_dir(&directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    entries
        .into_iter()
        .map(|entry| {
            let path = entry.path();
            let text = std::fs::read_to_string(&path)?;
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
            Ok((path, stem, text))
        })
        .collect()
}

fn embed(name: &str, files: &[Read]) -> Result<(), Box<dyn Error>> {
    let mut list = String::from("pub(crate) const FILES: &[(&str, &str)] = &[\n");
    for (path, stem, _) in files {
        writeln!(list, "    ({stem:?}, include_str!({:?})),", path.display().to_string())?;
    }
    list.push_str("];\n");
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join(name), list)?;
    Ok(())
}
