//! Reads every catalogue file at build time, so that a bad one fails the build with its name, and lists them for embedding.

// The crate's own schema, compiled here too; the build script reads files, the crate never does.
#[path = "src/schema.rs"]
#[allow(dead_code, reason = "the build script only parses; rendering uses the rest")]
mod schema;

use std::fmt::Write as _;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("data/destinations");
    println!("cargo::rerun-if-changed={}", directory.display());
    println!("cargo::rerun-if-changed=src/schema.rs");
    let mut files: Vec<_> = std::fs::read_dir(&directory)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    let mut list = String::from("pub(crate) const FILES: &[(&str, &str)] = &[\n");
    for file in files {
        let path = file.path();
        let text = std::fs::read_to_string(&path)?;
        let parsed = schema::File::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        if parsed.metadata.type_id != stem {
            return Err(format!("{}: metadata.type must be {stem:?}, the name of the file", path.display()).into());
        }
        writeln!(list, "    ({stem:?}, include_str!({:?})),", path.display().to_string())?;
    }
    list.push_str("];\n");
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("files.rs"), list)?;
    Ok(())
}
