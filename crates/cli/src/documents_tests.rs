//! Commands that documents show: each one is a command of this program, with arguments that it knows.
//!
//! Owns reading them out of the pages. Never runs one: `tests/readme_commands.rs` runs those that need no cluster.

use crate::Arguments;
use clap::Parser;
use clap::error::ErrorKind;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pages by name, without the generated one.
fn pages() -> Vec<(String, String)> {
    let top = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| repository().join(name));
    let docs = std::fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.chain(top).filter(|path| path.extension().is_some_and(|end| end == "md"));
    let named = pages
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap()));
    named.filter(|(_, text)| !text.starts_with("<!-- Generated")).collect()
}

/// Words of a command line without its comment; quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in line.split(" #").next().unwrap_or_default().chars() {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(one), _) if one == letter => quote = None,
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Commands in code blocks, continued lines joined.
fn in_blocks(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in text.split("```").skip(1).step_by(2) {
        let joined = block.replace("\\\n", " ");
        let lines = joined.lines().map(|line| line.trim().trim_start_matches("$ ").to_owned());
        found.extend(lines.filter(|line| line.starts_with("odigos ")));
    }
    found
}

/// Commands in running text, with optional parts included and one command for each alternative.
fn in_text(text: &str) -> Vec<String> {
    let outside: String = text.split("```").step_by(2).collect();
    let quoted = outside.split('`').skip(1).step_by(2).filter(|part| part.starts_with("odigos "));
    // `odigos COMMAND --help` stands for all of them.
    let quoted = quoted.filter(|part| !part.starts_with("odigos COMMAND"));
    let mut found = Vec::new();
    for part in quoted {
        let part = part.replace(['[', ']'], "").replace('\n', " ");
        let alternatives = part.split(' ').find(|word| word.contains("\\|")).unwrap_or_default();
        match alternatives {
            "" => found.push(part),
            all => found.extend(all.split("\\|").map(|one| part.replace(all, one))),
        }
    }
    found
}

#[test]
fn commands_of_the_documents_are_known() {
    let (mut blocks, mut mentioned) = (0, 0);
    for (page, text) in pages() {
        for line in in_blocks(&text) {
            let error = Arguments::try_parse_from(words(&line)).err();
            let is_known = error.as_ref().is_none_or(|error| error.kind() == ErrorKind::DisplayVersion);
            assert!(is_known, "{page}: {line}: {error:?}");
            blocks += 1;
        }
        for line in in_text(&text) {
            // Running text names commands without their arguments; what it does name is known.
            let error = Arguments::try_parse_from(words(&line)).err().map(|error| error.kind());
            let is_known = matches!(
                error,
                None | Some(
                    ErrorKind::MissingRequiredArgument
                        | ErrorKind::MissingSubcommand
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                        | ErrorKind::DisplayHelp
                        | ErrorKind::DisplayVersion
                )
            );
            assert!(is_known, "{page}: {line}: {error:?}");
            mentioned += 1;
        }
    }
    assert!(blocks >= 25 && mentioned >= 20, "{blocks} in blocks, {mentioned} in running text");
}

#[test]
fn commands_are_read_as_a_shell_reads_them() {
    assert_eq!(words("odigos plan -f 'a b.yaml'  # what would change"), ["odigos", "plan", "-f", "a b.yaml"]);
    assert_eq!(in_blocks("```\n$ odigos install \\\n  --yes\nkubectl get pods\n```\n"), ["odigos install    --yes"]);
    assert_eq!(
        in_text("Say `odigos why [POD]` or `odigos describe a\\|b NAME`."),
        ["odigos why POD", "odigos describe a NAME", "odigos describe b NAME"]
    );
    assert!(Arguments::try_parse_from(words("odigos plant -f x")).is_err());
}
