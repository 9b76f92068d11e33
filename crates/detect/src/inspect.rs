//! Which language a process is: every rule in a fixed order, then one ranking (`spec/sources-and-instrumentation.md` 4.3, 4.4).
//!
//! Quick rules look at the name of the executable and at Go's build information; only when none hits, the deep ones look at
//! mapped files, libraries and symbols. Where rules contradict each other, the surer one wins (a binary named `node`
//! that Go built is Go); C++ and nginx lose against everything; equally sure ones make the language unknown.

use crate::detection::{Confidence, Evidence};
use crate::language::Language;
use crate::parse::Window;
use crate::parse::elf::Elf;
use crate::parse::go::BuildInformation;
use crate::process::{Process, base_name};

/// A rule that hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) language: Language,
    pub(crate) confidence: Confidence,
    rule: &'static str,
    seen: String,
}

impl Hit {
    fn new(language: Language, confidence: Confidence, rule: &'static str, seen: &str) -> Self {
        Self { language, confidence, rule, seen: seen.to_owned() }
    }

    /// Whether it already says what a version was read from.
    pub(crate) fn tells(&self, rule: &str, seen: &str) -> bool {
        self.rule == rule && self.seen == seen
    }

    pub(crate) fn evidence(&self, process: &Process) -> Evidence {
        Evidence::new(process, self.rule, &format!("{} ({})", self.seen, self.language))
    }
}

/// What the rules say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) language: Language,
    pub(crate) confidence: Confidence,
    /// Every hit, the winners first.
    pub(crate) hits: Vec<Hit>,
    pub(crate) go: Option<BuildInformation>,
    /// The compiler's own line in `.comment`.
    pub(crate) rustc: Option<String>,
}

/// Runs the rules.
pub(crate) fn inspect(process: &Process, mut window: Option<&mut Window<'_>>, elf: Option<&Elf>) -> Found {
    let mut hits = Vec::new();
    let (program, is_argument) = process.program();
    if let Some(language) = by_name(program) {
        let (confidence, rule) =
            if is_argument { (Confidence::Low, "argument") } else { (Confidence::Medium, "executable") };
        hits.push(Hit::new(language, confidence, rule, program));
    }
    if process.executable.contains("oneagentdynamizer") {
        hits.push(Hit::new(Language::Go, Confidence::High, "executable", &process.executable));
    }
    // `thrust` is a Go program that stands before Ruby servers.
    let go = match (window.as_deref_mut(), elf) {
        (Some(window), Some(elf)) if program != "thrust" => BuildInformation::read(window, elf),
        _ => None,
    };
    hits.extend(go.iter().map(|go| Hit::new(Language::Go, Confidence::High, "build", &go.toolchain)));
    let mut rustc = None;
    if hits.is_empty() {
        deep(process, elf, &mut hits);
        if hits.iter().all(|hit| hit.language == Language::Cplusplus)
            && crate::launcher::helper(process).is_none()
            && let (Some(window), Some(elf)) = (window, elf)
        {
            rustc = rust(window, elf, &mut hits);
        }
    }
    let (language, confidence) = rank(&mut hits);
    Found { language, confidence, hits, go, rustc }
}

/// The ranking. Hits of the chosen language come first.
fn rank(hits: &mut [Hit]) -> (Language, Confidence) {
    let loses = |language: Language| matches!(language, Language::Cplusplus | Language::Nginx);
    // C++ loses against nginx too.
    let rank = |hit: &Hit| (!loses(hit.language), hit.language != Language::Cplusplus, hit.confidence);
    let Some(best) = hits.iter().map(rank).max() else { return (Language::Unknown, Confidence::Low) };
    hits.sort_by_key(|hit| std::cmp::Reverse(rank(hit)));
    let Some(first) = hits.first().map(|hit| hit.language) else { return (Language::Unknown, Confidence::Low) };
    let is_agreed = hits.iter().filter(|hit| rank(hit) == best).all(|hit| hit.language == first);
    (if is_agreed { first } else { Language::Unknown }, if is_agreed { best.2 } else { Confidence::Low })
}

/// A name without a version behind it: `php-fpm8.2` → `php-fpm`, `python3.13t` → `python`. The flag tells that there was one.
fn without_version(name: &str) -> (&str, bool) {
    // Letters at the end mark builds of Python: d for debugging, m for memory, t for threads without a global lock.
    let trimmed = name.trim_end_matches(['d', 'm', 't']);
    let trimmed = if trimmed.ends_with(|one: char| one.is_ascii_digit()) { trimmed } else { name };
    let stem = trimmed.trim_end_matches(|one: char| one.is_ascii_digit() || one == '.');
    let stem_without_dash = stem.strip_suffix('-').unwrap_or(stem);
    if stem.len() == trimmed.len() { (name, false) } else { (stem_without_dash, true) }
}

/// The language that a name stands for.
fn by_name(program: &str) -> Option<Language> {
    let exactly = match program {
        "java" => Some(Language::Java),
        "node" | "nodejs" | "npm" | "npx" | "yarn" => Some(Language::Javascript),
        "dotnet" => Some(Language::Dotnet),
        "mysqld" | "mariadbd" => Some(Language::Mysql),
        "nginx" => Some(Language::Nginx),
        "redis" | "redis-server" | "redis-sentinel" | "redis-cli" => Some(Language::Redis),
        "postgres" | "postgresql" | "psql" => Some(Language::Postgres),
        _ => None,
    };
    exactly.or_else(|| match without_version(program).0 {
        "python" => Some(Language::Python),
        "php" | "php-fpm" | "php-cgi" => Some(Language::Php),
        "ruby" | "rails" | "rails server" | "rake" | "rackup" | "puma" | "unicorn" | "gem" | "bundler" | "irb"
        | "pry" => Some(Language::Ruby),
        _ => None,
    })
}

/// What mapped files and libraries say.
fn deep(process: &Process, elf: Option<&Elf>, hits: &mut Vec<Hit>) {
    for path in &process.mapped {
        let name = base_name(path);
        let hit = if name == "libjvm.so" {
            Some((Language::Java, Confidence::High))
        } else if name == "libcoreclr.so" {
            Some((Language::Dotnet, Confidence::High))
        } else if is_library(name, "libnode.so") {
            Some((Language::Javascript, Confidence::High))
        } else if is_library(name, "libruby") && name.contains(".so") {
            Some((Language::Ruby, Confidence::High))
        } else if is_php_library(name) {
            Some((Language::Php, Confidence::High))
        } else if has_versioned_folder(path, "php") {
            Some((Language::Php, Confidence::Medium))
        } else if path.contains("/ruby/") {
            Some((Language::Ruby, Confidence::Medium))
        } else if name.starts_with("libstdc++.so") || name.starts_with("libc++.so") {
            Some((Language::Cplusplus, Confidence::Medium))
        } else {
            None
        };
        if let Some((language, confidence)) = hit
            && !hits.iter().any(|hit| hit.language == language && hit.confidence >= confidence)
        {
            hits.push(Hit::new(language, confidence, "mapped", path));
        }
    }
    let python = elf.and_then(|elf| elf.needed.iter().find(|name| name.starts_with("libpython3")));
    hits.extend(python.map(|name| Hit::new(Language::Python, Confidence::High, "library", name)));
}

/// Whether a file name is `<stem>`, or that with a version behind.
fn is_library(name: &str, stem: &str) -> bool {
    name.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
}

/// The modules of Apache and of embedding servers: `libphp.so`, `libphp8.2.so`, `php82.so`, `mod_php7.so`.
fn is_php_library(name: &str) -> bool {
    let Some(stem) = name.split(".so").next().filter(|stem| stem.len() < name.len()) else { return false };
    matches!(without_version(stem).0, "libphp" | "mod_php") || (without_version(stem) == ("php", true))
}

/// Whether the path has the folder `<folder>` with a version as the next part: `/usr/lib/php/8.2/…`, `/php/20220829/`.
fn has_versioned_folder(path: &str, folder: &str) -> bool {
    let mut parts = path.split('/');
    parts.any(|part| part == folder)
        && parts.next().is_some_and(|part| part.starts_with(|one: char| one.is_ascii_digit()))
}

/// What the compiler left in the executable: its line in `.comment`, which stripping keeps, else names of symbols.
fn rust(window: &mut Window<'_>, elf: &Elf, hits: &mut Vec<Hit>) -> Option<String> {
    let line = elf.section(".comment").and_then(|section| {
        window.find(section.range, b"rustc version ", 64, |at| {
            let text = String::from_utf8_lossy(at);
            text.split('\0').next().map(str::to_owned)
        })
    });
    if let Some(line) = &line {
        hits.push(Hit::new(Language::Rust, Confidence::High, "build", line));
    } else if elf.has_symbol(window, "__rust_") {
        hits.push(Hit::new(Language::Rust, Confidence::High, "symbol", "__rust_"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_executables() {
        for (names, language) in [
            ("java", Language::Java),
            ("python python3 python3.11 python3.13t python3.8m python2.7 python-3.9", Language::Python),
            ("node nodejs npm npx yarn", Language::Javascript),
            ("dotnet", Language::Dotnet),
            ("php php8.2 php82 php-fpm php-fpm8.2 php-fpm82 php-cgi php-cgi8.1", Language::Php),
            ("ruby ruby3.1 ruby3.1.2 rails rake rackup puma unicorn gem gem3.0 bundler irb pry", Language::Ruby),
            ("mysqld mariadbd", Language::Mysql),
            ("nginx", Language::Nginx),
            ("redis redis-server redis-sentinel redis-cli", Language::Redis),
            ("postgres postgresql psql", Language::Postgres),
        ] {
            for name in names.split(' ') {
                assert_eq!(by_name(name), Some(language), "{name}");
            }
        }
        for name in [
            "",
            "javac2",
            "phpx",
            "node_exporter",
            "nodes",
            "rubyist",
            "postgres_exporter",
            "3.11",
            "pythonic",
            "php-fpm-exporter",
        ] {
            assert_eq!(by_name(name), None, "{name}");
        }
    }

    #[test]
    fn the_surer_rule_wins_and_equals_contradict() {
        let of = |hits: &[(Language, Confidence)]| {
            let mut hits: Vec<Hit> = hits.iter().map(|(language, how)| Hit::new(*language, *how, "r", "s")).collect();
            rank(&mut hits).0
        };
        use Confidence::{High, Low, Medium};
        assert_eq!(of(&[]), Language::Unknown);
        assert_eq!(of(&[(Language::Javascript, Medium), (Language::Go, High)]), Language::Go);
        assert_eq!(of(&[(Language::Java, High), (Language::Python, High)]), Language::Unknown);
        assert_eq!(of(&[(Language::Cplusplus, High), (Language::Python, Low)]), Language::Python);
        assert_eq!(of(&[(Language::Cplusplus, High), (Language::Nginx, Low)]), Language::Nginx);
        assert_eq!(of(&[(Language::Nginx, Medium), (Language::Php, Low)]), Language::Php);
        assert_eq!(of(&[(Language::Java, High), (Language::Ruby, Medium)]), Language::Java);
    }
}
