//! What is found out about one process.

use crate::agents::{self, OtherAgentFound};
use crate::inspect::{self, Hit};
use crate::language::{Language, Libc};
use crate::launcher;
use crate::obstacle::{self, Obstacle};
use crate::parse::Window;
use crate::parse::elf::Elf;
use crate::process::{Look, Process};
use crate::{limits, version};
use odigos_api::instrumentation_config::EnvVar;
use std::fmt;

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Only something that a process may choose freely, such as its first argument.
    Low,
    /// The name of the executable, or a loaded library that others use too.
    Medium,
    /// The runtime itself: its library, or what its compiler wrote.
    High,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

/// Why something is believed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Evidence {
    /// Number of the process inside the container.
    pub inner_pid: u32,
    /// One word for the rule: `executable`, `argument`, `mapped`, `library`, `build`, `symbol`, `environment`, `path`, `file`, `helper`, …
    pub rule: &'static str,
    /// What was seen, shortened.
    pub seen: String,
}

impl Evidence {
    pub(crate) fn new(process: &Process, rule: &'static str, seen: &str) -> Self {
        Self { inner_pid: process.inner_pid, rule, seen: shortened(seen) }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}: {} {}", self.inner_pid, self.rule, self.seen)
    }
}

/// A text for evidence: no control characters, at most [`limits::EVIDENCE_BYTES`].
pub(crate) fn shortened(text: &str) -> String {
    let mut short = String::new();
    for one in text.chars() {
        if short.len() + one.len_utf8() > limits::EVIDENCE_BYTES {
            short.push('…');
            break;
        }
        short.push(if one.is_control() { ' ' } else { one });
    }
    short
}

/// What part a process plays in its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It may be the application.
    Application,
    /// A shell, an init shim, a supervisor, or a tool of a health probe. Counts only when nothing else runs.
    Helper,
}

/// What is found out about one process. Small: it holds nothing of the view but what a status or a person needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Number of the process on the node.
    pub pid: u32,
    /// Number of its parent on the node.
    pub parent: u32,
    /// Number inside the container.
    pub inner_pid: u32,
    /// Start, in clock ticks since boot.
    pub started: u64,
    /// What part it plays.
    pub role: Role,
    /// Its language; [`Language::Unknown`] when no rule or contradicting rules hit.
    pub language: Language,
    /// Version of the runtime; `None` when nothing reliable says it.
    pub version: Option<String>,
    /// C library; `None` for static executables.
    pub libc: Option<Libc>,
    /// Secure mode of the kernel; `None` when unreadable.
    pub secure_execution: Option<bool>,
    /// Agents of other vendors, without repetition, those of the language first.
    pub other_agents: Vec<OtherAgentFound>,
    /// Variables that matter to agents, the user's part of them.
    pub environment: Vec<EnvVar>,
    /// What will keep an agent from working.
    pub obstacles: Vec<Obstacle>,
    /// How sure the language is.
    pub confidence: Confidence,
    /// Why, most telling first.
    pub evidence: Vec<Evidence>,
}

/// Finds out about one process. Asks `look` only where the view alone does not decide.
#[must_use]
pub fn detect(process: &Process, look: &dyn Look) -> Detection {
    let mut window = look.executable().map(Window::new);
    let elf = window.as_mut().and_then(Elf::read);
    let found = inspect::inspect(process, window.as_mut(), elf.as_ref());
    let helper = launcher::helper(process);
    let mut evidence: Vec<Evidence> = found.hits.iter().map(|hit: &Hit| hit.evidence(process)).collect();
    evidence.extend(helper.map(|what| Evidence::new(process, "helper", what)));
    let version = version::find(process, look, &found, window.as_mut(), elf.as_ref());
    // The build information tells both; once is enough.
    let told = version.iter().filter(|version| !found.hits.iter().any(|hit| hit.tells(version.rule, &version.seen)));
    evidence.extend(told.map(|version| Evidence::new(process, version.rule, &version.seen)));
    evidence.truncate(limits::EVIDENCE);
    Detection {
        pid: process.pid,
        parent: process.parent,
        inner_pid: process.inner_pid,
        started: process.started,
        role: if helper.is_some() { Role::Helper } else { Role::Application },
        language: found.language,
        version: version.map(|version| version.text),
        libc: libc(process, elf.as_ref()),
        secure_execution: process.secure_execution,
        other_agents: agents::find(process, found.language),
        environment: process.environment.for_status(),
        obstacles: obstacle::find(process, look, found.language),
        confidence: found.confidence,
        evidence,
    }
}

/// The C library: the one that is mapped; else the one whose loader the executable names (4.5). What is mapped comes
/// first, since a compatibility loader may pretend to be the other.
fn libc(process: &Process, elf: Option<&Elf>) -> Option<Libc> {
    let of = |path: &str| {
        let name = crate::process::base_name(path);
        if name.contains("musl") {
            Some(Libc::Musl)
        } else if name == "libc.so.6" || name.starts_with("libc-2.") || name.starts_with("ld-linux") {
            Some(Libc::Glibc)
        } else {
            None
        }
    };
    let mapped: Vec<Libc> = process.mapped.iter().filter_map(|path| of(path)).collect();
    if mapped.contains(&Libc::Musl) {
        return Some(Libc::Musl);
    }
    let interpreter = elf.and_then(|elf| elf.interpreter.as_deref());
    // On s390x and ppc64 the loader of glibc is called ld64.so.
    let of_loader = |path: &str| of(path).or_else(|| path.contains("/ld64.so").then_some(Libc::Glibc));
    mapped.first().copied().or_else(|| interpreter.and_then(of_loader))
}
