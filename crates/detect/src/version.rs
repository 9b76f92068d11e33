//! The version of a runtime (`spec/sources-and-instrumentation.md` 4.4, 4.10).
//!
//! What lies beside the runtime or is built into it counts first. A variable of the image is a hint: it may be left over from
//! another base image, so it counts only when nothing contradicts it, and then it may say more than the hard fact.

use crate::inspect::Found;
use crate::language::Language;
use crate::limits::{BESIDE_BYTES, VERSION_BYTES};
use crate::parse::Window;
use crate::parse::elf::Elf;
use crate::process::{Look, Process, base_name};

/// A version and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) text: String,
    pub(crate) rule: &'static str,
    pub(crate) seen: String,
}

impl Version {
    /// A version, when the text is one: digits first, then only what versions consist of.
    fn of(text: &str, rule: &'static str, seen: &str) -> Option<Self> {
        let text = text.trim();
        let is_plain = text.len() <= VERSION_BYTES
            && text.starts_with(|one: char| one.is_ascii_digit())
            && text.chars().all(|one| one.is_ascii_alphanumeric() || ".+-_~".contains(one));
        is_plain.then(|| Self { text: text.to_owned(), rule, seen: seen.to_owned() })
    }
}

/// Finds it.
pub(crate) fn find(
    process: &Process,
    look: &dyn Look,
    found: &Found,
    window: Option<&mut Window<'_>>,
    elf: Option<&Elf>,
) -> Option<Version> {
    match found.language {
        Language::Java => java(process, look),
        Language::Javascript => javascript(process, look, window, elf),
        Language::Python => python(process, elf),
        Language::Go => found.go.as_ref().and_then(|go| go_version(&go.toolchain)),
        Language::Dotnet => dotnet(process),
        Language::Php => php(process, window, elf),
        Language::Ruby => ruby(process),
        Language::Rust => rust(found, window, elf),
        _ => None,
    }
}

/// Prefers the hint where it agrees with the fact and says more.
fn reconciled(fact: Option<Version>, hint: Option<Version>) -> Option<Version> {
    match (fact, hint) {
        (Some(fact), Some(hint)) if extends(&hint.text, &fact.text) => Some(hint),
        (Some(fact), _) => Some(fact),
        (None, hint) => hint,
    }
}

/// Whether `longer` begins with all of `shorter` and continues at a boundary: `3.11.4` extends `3.11`.
fn extends(longer: &str, shorter: &str) -> bool {
    longer.strip_prefix(shorter).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '+', '-', '_']))
}

fn hint(process: &Process, name: &str) -> Option<Version> {
    let value = process.environment.get(name)?;
    Version::of(value.trim().trim_start_matches('v'), "environment", &format!("{name}={value}"))
}

/// The version among the parts of a path: `/opt/node-v18.20.4-linux-x64/bin/node`, `/versions/3.11.7/`. At least two numbers.
fn in_path(path: &str) -> Option<Version> {
    path.split('/').rev().skip(1).find_map(|part| {
        let start = part.find(|one: char| one.is_ascii_digit())?;
        let before = part.get(..start)?;
        let is_named = before.is_empty() || before == "v" || before.ends_with("-") || before.ends_with("-v");
        let numbers = leading_numbers(part.get(start..)?);
        // A name such as `glibc-2.36` or `x86_64` is no version of the runtime.
        let is_runtime = ["", "v", "node-v", "python-", "cpython-", "ruby-", "php-"].contains(&before);
        (is_named && is_runtime && numbers.matches('.').count() >= 2)
            .then(|| Version::of(numbers, "path", path))
            .flatten()
    })
}

/// The numbers with dots that a text begins with.
fn leading_numbers(text: &str) -> &str {
    let end = text.find(|one: char| !one.is_ascii_digit() && one != '.').unwrap_or(text.len());
    text.get(..end).unwrap_or_default().trim_end_matches('.')
}

/// The file `release` of the Java runtime, beside its `lib` or `bin`, with its path. Before Java 9 the runtime may be a
/// folder `jre` of a development kit, which has the file.
pub(crate) fn java_release(process: &Process, look: &dyn Look) -> Option<(String, String)> {
    let library = process.mapped.iter().find(|path| base_name(path) == "libjvm.so");
    // `<home>/lib/server/libjvm.so`, before Java 9 `<home>/lib/amd64/server/libjvm.so`.
    let of_library = library.and_then(|path| path.rfind("/lib/").and_then(|at| path.get(..at)));
    let home = of_library.or_else(|| process.executable.strip_suffix("/bin/java"))?;
    [Some(home), home.strip_suffix("/jre")].into_iter().flatten().find_map(|home| {
        let path = format!("{home}/release");
        let raw = look.file(&path, BESIDE_BYTES)?;
        let text = String::from_utf8_lossy(raw.get(..BESIDE_BYTES).unwrap_or(&raw)).into_owned();
        Some((path, text))
    })
}

fn java(process: &Process, look: &dyn Look) -> Option<Version> {
    let fact = java_release(process, look).and_then(|(path, text)| {
        let of = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
            java_version(value.trim().trim_matches('"'))
        };
        // The runtime version has the build number; the other one is always there.
        let version = of("SEMANTIC_VERSION").or_else(|| of("JAVA_RUNTIME_VERSION")).or_else(|| of("JAVA_VERSION"))?;
        Version::of(&version, "file", &path)
    });
    let from_environment = process
        .environment
        .get("JAVA_VERSION")
        .and_then(|value| Version::of(&java_version(value)?, "environment", &format!("JAVA_VERSION={value}")));
    let from_home = process.environment.get("JAVA_HOME").and_then(|home| {
        let numbers = leading_numbers(home.split("jdk").nth(1)?.trim_start_matches('-'));
        Version::of(numbers, "environment", &format!("JAVA_HOME={home}"))
    });
    reconciled(fact, from_environment.or(from_home))
}

/// Java's spellings as one: `jdk-17.0.12+7` → `17.0.12+7`, `1.8.0_292-b10` → `8.0.292`, `17.0.15+6-Debian-1` → `17.0.15+6`.
fn java_version(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches("jdk").trim_start_matches('-');
    if let Some(update) = text.strip_prefix("8u").map(leading_numbers).filter(|update| !update.is_empty()) {
        return Some(format!("8.0.{update}"));
    }
    if let Some(old) = text.strip_prefix("1.") {
        // `1.8.0_292-b10`: the major number is the second one.
        let numbers: Vec<&str> =
            old.split(|one: char| !one.is_ascii_digit()).take_while(|one| !one.is_empty()).collect();
        return (!numbers.is_empty()).then(|| numbers.iter().take(3).copied().collect::<Vec<_>>().join("."));
    }
    let numbers = leading_numbers(text);
    if numbers.is_empty() {
        return None;
    }
    let build = text.get(numbers.len()..).and_then(|rest| rest.strip_prefix('+')).map(leading_numbers);
    Some(match build.filter(|build| !build.is_empty()) {
        Some(build) => format!("{numbers}+{build}"),
        None => numbers.to_owned(),
    })
}

fn javascript(
    process: &Process,
    look: &dyn Look,
    window: Option<&mut Window<'_>>,
    elf: Option<&Elf>,
) -> Option<Version> {
    let header = process.executable.rsplit_once("/bin/").and_then(|(prefix, _)| {
        let path = format!("{prefix}/include/node/node_version.h");
        let raw = look.file(&path, BESIDE_BYTES)?;
        let text = String::from_utf8_lossy(&raw).into_owned();
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name))?;
            line.trim().parse::<u32>().ok()
        };
        let (major, minor, patch) =
            (number("NODE_MAJOR_VERSION ")?, number("NODE_MINOR_VERSION ")?, number("NODE_PATCH_VERSION ")?);
        Version::of(&format!("{major}.{minor}.{patch}"), "file", &path)
    });
    let known = reconciled(header.or_else(|| in_path(&process.executable)), hint(process, "NODE_VERSION"));
    known.or_else(|| {
        // Official builds hold the address of their own headers.
        let range = elf?.section(".rodata")?.range;
        window?.find(range, b"/node-v", 32, |at| {
            let text = std::str::from_utf8(at.get(7..)?).unwrap_or_default();
            let numbers = leading_numbers(text);
            let is_whole = numbers.matches('.').count() == 2 && text.get(numbers.len()..)?.starts_with(['-', '.']);
            is_whole.then(|| Version::of(numbers, "build", &format!("node-v{numbers}"))).flatten()
        })
    })
}

fn python(process: &Process, elf: Option<&Elf>) -> Option<Version> {
    let numbers_behind = |text: &str, stem: &str| {
        let rest = text.split(stem).nth(1)?;
        let numbers = leading_numbers(rest);
        numbers.contains('.').then(|| numbers.to_owned())
    };
    let path = in_path(&process.executable);
    let name = base_name(&process.executable);
    let from_name = numbers_behind(name, "python").and_then(|text| Version::of(&text, "executable", name));
    let libraries = elf.into_iter().flat_map(|elf| elf.needed.iter()).chain(&process.mapped);
    let from_library = libraries.into_iter().find_map(|library| {
        // `libpython3.11.so.1.0`, and the standard library's own modules in `/lib/python3.11/lib-dynload/`.
        let name = base_name(library);
        let text = numbers_behind(name, "libpython")
            .or_else(|| library.contains("/lib-dynload/").then(|| numbers_behind(library, "/python")).flatten())?;
        Version::of(&text, "library", library)
    });
    let fact = from_name.or(from_library);
    let fact = match (&fact, path) {
        (Some(short), Some(path)) if extends(&path.text, &short.text) => Some(path),
        (None, path) => path,
        _ => fact,
    };
    reconciled(fact, hint(process, "PYTHON_VERSION"))
}

/// `go1.22.3 X:boringcrypto` → `1.22.3`, `devel go1.23-abc …` → `1.23`.
fn go_version(toolchain: &str) -> Option<Version> {
    let text = toolchain.split("go").nth(1)?.split(' ').next()?;
    let numbers = leading_numbers(text);
    // Release candidates keep their mark: `1.23rc1`; what stands behind a dash is a commit.
    let marked = text.split('-').next().unwrap_or(numbers);
    Version::of(marked, "build", toolchain)
}

fn dotnet(process: &Process) -> Option<Version> {
    let fact = process.mapped.iter().find_map(|path| {
        let rest = path.split("/Microsoft.NETCore.App/").nth(1)?;
        Version::of(rest.split('/').next()?, "mapped", path)
    });
    reconciled(fact, hint(process, "DOTNET_VERSION"))
}

fn php(process: &Process, window: Option<&mut Window<'_>>, elf: Option<&Elf>) -> Option<Version> {
    // `php-fpm82`, `/usr/lib/php/8.2/`, `/etc/php82/`: at best two numbers.
    let short = |text: &str| {
        let at = text.rfind("php")?;
        let rest = text.get(at + 3..)?.trim_start_matches(|one: char| !one.is_ascii_digit());
        let numbers = leading_numbers(rest);
        match numbers.len() {
            2 if !numbers.contains('.') => Some(format!("{}.{}", numbers.get(..1)?, numbers.get(1..)?)),
            _ if numbers.contains('.') => Some(numbers.to_owned()),
            _ => None,
        }
    };
    let name = base_name(&process.executable);
    let mut fact = short(name).and_then(|text| Version::of(&text, "executable", name));
    for path in &process.mapped {
        let from_name = base_name(path).split(".so").next().and_then(short);
        let from_folder = || {
            let rest = path.split("/php/").nth(1)?;
            Some(leading_numbers(rest)).filter(|numbers| numbers.contains('.')).map(str::to_owned)
        };
        if let Some(seen) = from_name.or_else(from_folder).and_then(|text| Version::of(&text, "mapped", path))
            && fact.as_ref().is_none_or(|fact| extends(&seen.text, &fact.text) && seen.text.len() > fact.text.len())
        {
            fact = Some(seen);
        }
    }
    let known = reconciled(fact, hint(process, "PHP_VERSION"));
    if known.as_ref().is_some_and(|version| version.text.matches('.').count() >= 2) {
        return known;
    }
    let built = elf.and_then(|elf| elf.section(".rodata")).zip(window).and_then(|(section, window)| {
        window.find(section.range, b"X-Powered-By: PHP/", 16, |at| {
            let text = String::from_utf8_lossy(at.get(18..)?).into_owned();
            Version::of(leading_numbers(&text), "build", &format!("PHP/{}", leading_numbers(&text)))
        })
    });
    reconciled(known.clone(), built.clone()).filter(|version| version.text.contains('.')).or(built).or(known)
}

fn ruby(process: &Process) -> Option<Version> {
    let mut library = None;
    let mut folder = None;
    for path in &process.mapped {
        let name = base_name(path);
        if name.starts_with("libruby") && name.contains(".so.") {
            let numbers = name.split(".so.").nth(1).map(leading_numbers).unwrap_or_default();
            library = library.or_else(|| Version::of(numbers, "mapped", path).filter(|one| one.text.contains('.')));
        }
        if let Some(rest) = path.split("/ruby/").nth(1) {
            let numbers = leading_numbers(rest);
            let found = Version::of(numbers, "mapped", path).filter(|one| one.text.matches('.').count() == 2);
            // The folder names the interface, whose last number is always zero; anything else is a real version.
            if folder.as_ref().is_none_or(|one: &Version| one.text.ends_with(".0")) {
                folder = found.or(folder);
            }
        }
    }
    let real = folder.clone().filter(|one| !one.text.ends_with(".0"));
    let fact =
        library.filter(|one| one.text.matches('.').count() == 2).or(real).or_else(|| in_path(&process.executable));
    let hint = hint(process, "RUBY_VERSION");
    match (fact, folder) {
        (Some(fact), _) => reconciled(Some(fact), hint),
        // Only the interface is known: a hint of the same major and minor says more.
        (None, Some(folder)) => {
            let minor = folder.text.rsplit_once('.').map(|(minor, _)| minor.to_owned()).unwrap_or_default();
            hint.filter(|hint| extends(&hint.text, &minor)).or(Some(folder))
        }
        (None, None) => hint,
    }
}

fn rust(found: &Found, window: Option<&mut Window<'_>>, elf: Option<&Elf>) -> Option<Version> {
    if let Some(line) = &found.rustc {
        return Version::of(line.split(' ').nth(2)?, "build", line);
    }
    // Paths of the standard library hold the commit of the compiler.
    let range = elf?.section(".rodata")?.range;
    window?.find(range, b"/rustc/", 41, |at| {
        let commit = std::str::from_utf8(at.get(7..47)?).ok()?;
        let is_commit = at.get(47) == Some(&b'/') && commit.bytes().all(|one| one.is_ascii_hexdigit());
        let rule = "build";
        is_commit.then(|| Version { text: commit.to_owned(), rule, seen: format!("/rustc/{commit}") })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_java() {
        for (text, version) in [
            ("17.0.12+7", Some("17.0.12+7")),
            ("jdk-17.0.12+7", Some("17.0.12+7")),
            ("17.0.15+6-Debian-1deb12u1", Some("17.0.15+6")),
            ("jdk-11.0.27+6", Some("11.0.27+6")),
            ("21", Some("21")),
            ("1.8.0_292", Some("8.0.292")),
            ("1.8.0_292-b10", Some("8.0.292")),
            ("jdk8u292-b10", Some("8.0.292")),
            ("8u412", Some("8.0.412")),
            ("zulu", None),
            ("", None),
        ] {
            assert_eq!(java_version(text).as_deref(), version, "{text}");
        }
    }

    #[test]
    fn a_hint_counts_only_where_it_agrees() {
        let version = |text: &str, rule| Version::of(text, rule, "");
        let of = |fact: Option<&str>, hint: Option<&str>| {
            reconciled(fact.and_then(|text| version(text, "file")), hint.and_then(|text| version(text, "environment")))
                .map(|version| version.text)
        };
        assert_eq!(of(Some("3.11"), Some("3.11.4")).as_deref(), Some("3.11.4"));
        assert_eq!(of(Some("3.11"), Some("3.1.4")).as_deref(), Some("3.11"));
        assert_eq!(of(Some("17.0.12"), Some("11.0.27+6")).as_deref(), Some("17.0.12"));
        assert_eq!(of(None, Some("11.0.27+6")).as_deref(), Some("11.0.27+6"));
        assert_eq!(of(None, None), None);
    }

    #[test]
    fn versions_are_plain_words() {
        for bad in ["", "latest", "1.2;rm", "1 2", "\u{1b}1", &"1".repeat(65)] {
            assert_eq!(Version::of(bad, "", ""), None, "{bad:?}");
        }
        assert_eq!(go_version("go1.22.3 X:boringcrypto").unwrap().text, "1.22.3");
        assert_eq!(go_version("devel go1.23-4f2a Mon Jan 1").unwrap().text, "1.23");
        assert_eq!(go_version("go1.23rc1").unwrap().text, "1.23rc1");
        assert_eq!(in_path("/opt/node-v18.20.4-linux-x64/bin/node").unwrap().text, "18.20.4");
        assert_eq!(in_path("/home/me/.pyenv/versions/3.11.7/bin/python3.11").unwrap().text, "3.11.7");
        assert_eq!(in_path("/nix/store/x-glibc-2.36.1/bin/node"), None);
    }
}
