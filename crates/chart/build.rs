//! Embeds every file of the chart: writes a table of paths and contents that `lib.rs` includes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let chart = here.join("../../charts/odigos").canonicalize()?;
    println!("cargo::rerun-if-changed={}", chart.display());
    let mut files = Vec::new();
    collect(&chart, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in files {
        let path = file.strip_prefix(&chart)?.to_string_lossy().replace('\\', "/");
        writeln!(table, "    ({path:?}, include_str!({:?})),", file.display().to_string())?;
    }
    table.push_str("]\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("files.rs"), table)?;
    Ok(())
}

/// Every file below `folder`; folders are watched too, so that a new file is noticed.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            println!("cargo::rerun-if-changed={}", path.display());
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
