//! The tables that name the tests behind each acceptance scenario and behind each promise of a document.
//!
//! Owns what must hold in `tests/scenarios.md` and `tests/documents.md`: that all rows are there and that the tests they
//! name exist. Never judges whether a test asserts what its row says; whoever writes the row has read the test.

use anyhow::Context;
use odigos_tools::root;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The table of acceptance scenarios, and how many scenarios there are.
const SCENARIOS: (&str, u32) = ("tests/scenarios.md", 66);
/// The table of what documents promise.
const DOCUMENTS: &str = "tests/documents.md";
/// Documents at the top of the repository that users and contributors rely on.
const TOP_DOCUMENTS: [&str; 3] = ["CONTRIBUTING.md", "README.md", "SECURITY.md"];
/// How a generated file begins; its sections come from data, so one row for all of it is enough.
const GENERATED: &str = "<!-- Generated";
/// Stands in the column of tests where a section promises nothing.
const NO_CLAIM: &str = "no claim";
/// Stands in the column of tests where nothing shows a promise; the last column says why.
const NOT_SHOWN: &str = "not shown";
/// Stands in the column of sections for the text before the first one.
const INTRODUCTION: &str = "–";

/// The documents, by path, with their sections in order.
type Documents = BTreeMap<String, Vec<String>>;
/// The text of a file of the repository, if there is one.
type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Checks both tables.
pub(super) fn check(problems: &mut Vec<String>) -> anyhow::Result<()> {
    let read = |file: &str| std::fs::read_to_string(root().join(file)).ok();
    let table = |path: &str| read(path).with_context(|| format!("failed to read {path}"));
    let (path, rows) = SCENARIOS;
    let found = wrong_scenarios(&table(path)?, rows, &read);
    problems.extend(found.iter().map(|problem| format!("{path}: {problem}")));
    let found = wrong_documents(&table(DOCUMENTS)?, &documents()?, &read);
    problems.extend(found.iter().map(|problem| format!("{DOCUMENTS}: {problem}")));
    Ok(())
}

/// Every document that speaks to users or contributors: those at the top, the pages of `docs`, and what charts bring along.
/// Decision records are history, not promises.
fn documents() -> anyhow::Result<Documents> {
    let mut paths: Vec<String> = TOP_DOCUMENTS.map(str::to_owned).into();
    for entry in std::fs::read_dir(root().join("docs"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        paths.extend(Path::new(&name).extension().is_some_and(|end| end == "md").then(|| format!("docs/{name}")));
    }
    for entry in std::fs::read_dir(root().join("charts"))? {
        let chart = format!("charts/{}", entry?.file_name().to_string_lossy());
        let files = ["README.md", "templates/NOTES.txt"].map(|file| format!("{chart}/{file}"));
        paths.extend(files.into_iter().filter(|file| root().join(file).exists()));
    }
    let mut documents = Documents::new();
    for path in paths {
        let text = std::fs::read_to_string(root().join(&path)).with_context(|| format!("failed to read {path}"))?;
        documents.insert(path, sections(&text));
    }
    Ok(documents)
}

/// Headings of the second level, in order, outside of code blocks.
fn sections(text: &str) -> Vec<String> {
    if text.starts_with(GENERATED) {
        return Vec::new();
    }
    let mut is_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        is_code ^= line.trim_start().starts_with("```");
        found.extend(line.strip_prefix("## ").filter(|_| !is_code).map(str::to_owned));
    }
    found
}

/// What does not hold in a table with this many scenarios.
fn wrong_scenarios(table: &str, rows: u32, read: Read<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut numbers: Vec<u32> = Vec::new();
    for line in table.lines() {
        let first = line.strip_prefix('|').and_then(|rest| rest.split('|').next());
        let Some(number) = first.and_then(|cell| cell.trim().parse::<u32>().ok()) else { continue };
        numbers.push(number);
        if line.contains(".rs::") == line.contains("| not shown |") {
            problems.push(format!("row {number} must either name tests or be not shown"));
        }
    }
    for number in 1..=rows {
        let times = numbers.iter().filter(|one| **one == number).count();
        if times != 1 {
            problems.push(format!("row {number} occurs {times} times"));
        }
    }
    for number in numbers.iter().filter(|one| !(1..=rows).contains(*one)) {
        problems.push(format!("there is no scenario {number}"));
    }
    problems.extend(wrong_references(table, read));
    problems
}

/// What does not hold in the table of promises: every section of every document has a row, every row belongs to one, and
/// either names tests, or says that there is no claim, or that it is not shown, and why.
fn wrong_documents(table: &str, documents: &Documents, read: Read<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut covered: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut promises: BTreeSet<[&str; 3]> = BTreeSet::new();
    for (number, line) in table.lines().enumerate().filter(|(_, line)| is_row(line)) {
        let number = number + 1;
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [document, section, promise, tests, missing] = cells[..] else {
            problems.push(format!("line {number} has {} cells instead of 5", cells.len()));
            continue;
        };
        covered.insert((document, section));
        if !promises.insert([document, section, promise]) {
            problems.push(format!("line {number}: {document} promises {promise:?} twice in {section:?}"));
        }
        match documents.get(document) {
            None => problems.push(format!("line {number}: there is no document {document}")),
            Some(sections) if section != INTRODUCTION && !sections.iter().any(|one| one == section) => {
                problems.push(format!("line {number}: {document} has no section {section:?}"));
            }
            Some(_) => {}
        }
        let names_tests = references(tests).next().is_some();
        let is_excused = tests == NO_CLAIM || (tests == NOT_SHOWN && !missing.is_empty());
        if names_tests == is_excused || (promise.is_empty() && tests != NO_CLAIM) {
            problems.push(format!(
                "line {number} ({document}) must promise something and name tests, or be {NO_CLAIM:?}, or be {NOT_SHOWN:?} \
                 and say why"
            ));
        }
    }
    for (document, sections) in documents {
        if !covered.iter().any(|(one, _)| one == document) {
            problems.push(format!("{document} has no row"));
        }
        let bare = sections.iter().filter(|section| !covered.contains(&(document.as_str(), section.as_str())));
        problems.extend(bare.map(|section| {
            format!("{document} has no row for its section {section:?}: say what it promises and which test shows it")
        }));
    }
    problems.extend(wrong_references(table, read));
    problems
}

/// Whether a line is a row of a table, and neither its heading nor the line below.
fn is_row(line: &str) -> bool {
    let first = line.strip_prefix('|').and_then(|rest| rest.split('|').next()).map(str::trim);
    first.is_some_and(|first| first != "Document" && !first.chars().all(|letter| letter == '-'))
}

/// Tests that a text names, as file and function.
fn references(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let words = text.split(|letter: char| letter.is_whitespace() || "`|,;()".contains(letter));
    words.filter_map(|word| word.split_once("::")).filter(|(file, _)| file.ends_with(".rs") || file.ends_with(".go"))
}

/// Tests that are named and do not exist, or are no tests.
fn wrong_references(table: &str, read: Read<'_>) -> BTreeSet<String> {
    let problem = |(file, name): (&str, &str)| {
        let Some(text) = read(file) else { return Some(format!("{file} does not exist")) };
        let keyword = if file.ends_with(".go") { "func" } else { "fn" };
        let Some(position) = text.find(&format!("{keyword} {name}(")) else {
            return Some(format!("{file} has no {keyword} {name}"));
        };
        let is_test = file.contains("test") || text.find("#[cfg(test)]").is_some_and(|tests| tests < position);
        (!is_test).then(|| format!("{file}::{name} is no test"))
    };
    references(table).filter_map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> Option<String> {
        match file {
            "tests/a.rs" => Some("fn one() {}\nasync fn two() {}\n".to_owned()),
            "src/b.rs" => Some("fn decide() {}\n#[cfg(test)]\nmod tests {\n    fn decides() {}\n}\n".to_owned()),
            "go/c_test.go" => Some("func TestC(t *testing.T) {\n".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn scenarios_occur_once_and_name_what_exists() {
        let of = |table: &str| wrong_scenarios(table, 2, &read);
        let one = "| 1 | it works | API server | `tests/a.rs::one`, `tests/a.rs::two` | |\n";
        let two = "| 2 | it stops | not shown | | no test stops it |\n";
        assert_eq!(of(&format!("# Scenarios\n| Nr. | What |\n|---|---|\n{one}{two}")), [""; 0]);
        assert_eq!(of(one), ["row 2 occurs 0 times"]);
        assert_eq!(of(&format!("{one}{two}{two}")), ["row 2 occurs 2 times"]);
        assert_eq!(of(&format!("{one}{two}{}", two.replace('2', "3"))), ["there is no scenario 3"]);
        assert_eq!(of(&format!("{two}{}", one.replace("::one", "::on"))), ["tests/a.rs has no fn on"]);
        assert_eq!(of(&format!("{two}{}", one.replace("a.rs::two", "c.rs::two"))), ["tests/c.rs does not exist"]);
        let unproven = two.replace("not shown", "cluster");
        assert_eq!(of(&format!("{one}{unproven}")), ["row 2 must either name tests or be not shown"]);
    }

    #[test]
    fn every_section_of_a_document_has_a_row() {
        let documents = Documents::from([
            ("README.md".to_owned(), sections("# Name\n## Use\n```\n## no heading\n```\n## Licence\n")),
            ("docs/all.md".to_owned(), sections("<!-- Generated by a task. -->\n## one\n## two\n")),
        ]);
        let of = |table: &str| wrong_documents(table, &documents, &read);
        let head = "| Document | Section | Promise | Tests | What is missing |\n|---|---|---|---|---|\n";
        let rows = "| README.md | – | it is fast | not shown | measured once |\n\
                    | README.md | Use | it works | `src/b.rs::decides`, `go/c_test.go::TestC` | |\n\
                    | README.md | Licence | | no claim | |\n\
                    | docs/all.md | – | all types | `tests/a.rs::one` | |\n";
        let whole = format!("# Documents\n{head}{rows}");
        assert_eq!(of(&whole), [""; 0]);
        let without = |part: &str| {
            let kept = whole.lines().filter(|line| !line.contains(part)).collect::<Vec<_>>().join("\n");
            of(&kept).join("; ")
        };
        assert!(without("docs/all.md").contains("docs/all.md has no row"), "{}", without("docs/all.md"));
        assert!(without("| Use |").contains("README.md has no row for its section \"Use\""), "{}", without("| Use |"));
        let changed = |from: &str, to: &str| of(&whole.replace(from, to)).join("; ");
        assert!(changed("| Use |", "| Usage |").contains("README.md has no section \"Usage\""));
        assert!(changed("docs/all.md", "docs/gone.md").contains("there is no document docs/gone.md"));
        let twice = of(&format!("{whole}| docs/all.md | – | all types | `tests/a.rs::two` | |\n")).join("; ");
        assert!(twice.contains("line 8: docs/all.md promises \"all types\" twice"), "{twice}");
        assert!(changed("measured once", "").contains("must promise something and name tests"));
        assert!(changed("`src/b.rs::decides`, `go/c_test.go::TestC`", "by hand").contains("must promise something"));
        assert!(changed("| it works |", "| |").contains("must promise something"));
        assert!(changed("| no claim | |", "| no claim |").contains("line 6 has 4 cells instead of 5"));
        assert_eq!(changed("b.rs::decides", "b.rs::decide"), "src/b.rs::decide is no test");
        assert_eq!(changed("::TestC", "::TestD"), "go/c_test.go has no func TestD");
        assert_eq!(changed("tests/a.rs::one", "tests/a.rs::three"), "tests/a.rs has no fn three");
    }
}
