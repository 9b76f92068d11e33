//! Agent distributions: which agent a language gets, what must be known for it, what it puts into a container, what it can
//! express (`spec/sources-and-instrumentation.md` 1.5, 5.4, 5.6–5.9, `spec/actions-and-rules.md` 4.1).
//!
//! One YAML file for each in `data/distributions/`; the build checks it. Nothing here decides which container gets which.

mod constraint;
mod mapping;
mod schema;

pub use constraint::{Constraint, Version};
pub use mapping::{Headers, Libraries, LibraryVariable, RuleKind, Support};
pub use schema::{Attach, Existing, Files, LibcType, Parameter, Transport, Variable};

use odigos_api::Signal;
use schema::File;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

include!(concat!(env!("OUT_DIR"), "/distributions.rs"));

/// The folder in a container that all agents are below.
pub const AGENTS_DIRECTORY: &str = "/var/odigos";

/// An agent distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Its name, as users write it into `otelDistroName`.
    pub name: String,
    /// Name that people see.
    pub display_name: String,
    /// What it is, in a sentence.
    pub description: String,
    /// Language of the processes that it is for; `*` for any.
    pub language: String,
    /// Supported versions of the runtime; `None` means any.
    pub versions: Option<Constraint>,
    /// Whether its language gets it unless something else is asked for.
    pub is_default: bool,
    /// No agent of it was tried with an application in a cluster.
    pub is_experimental: bool,
    /// Used instead where the version is not supported.
    pub fallback: Option<String>,
    /// C libraries that it runs with.
    pub libc: Vec<LibcType>,
    /// What must be known about the container.
    pub parameters: Vec<Parameter>,
    /// How it comes into the process.
    pub attach: Attach,
    /// Where its files come from.
    pub files: Files,
    /// Folders below [`AGENTS_DIRECTORY`] that are mounted.
    pub directories: Vec<String>,
    /// Whether a preloaded loader can set the appended variables.
    pub is_loader_capable: bool,
    /// Variables that it needs.
    pub environment: Vec<Variable>,
    /// Signals that it sends.
    pub signals: BTreeSet<Signal>,
    /// How telemetry and settings travel.
    pub transport: Transport,
    /// Blocks of an InstrumentationRule that it can express; those that are absent it cannot.
    pub rules: BTreeMap<RuleKind, Support>,
}

impl Distribution {
    fn from_file(file: File) -> Self {
        let spec = file.spec;
        let telemetry = spec.telemetry;
        let signals =
            [(Signal::Traces, telemetry.traces), (Signal::Metrics, telemetry.metrics), (Signal::Logs, telemetry.logs)];
        Self {
            name: file.metadata.name,
            display_name: file.metadata.display_name,
            description: file.metadata.description,
            language: file.metadata.language,
            versions: spec.versions.and_then(|text| Constraint::parse(&text).ok()),
            is_default: spec.is_default,
            is_experimental: spec.experimental,
            fallback: spec.fallback,
            libc: spec.libc,
            parameters: spec.parameters,
            attach: spec.attach,
            files: spec.files,
            directories: spec.directories,
            is_loader_capable: spec.loader_capable,
            environment: spec.environment,
            signals: signals.into_iter().filter(|(_, sends)| *sends).map(|(signal, _)| signal).collect(),
            transport: telemetry.transport,
            rules: spec.rules,
        }
    }

    /// Variables that are joined with a value that is there already.
    pub fn appended(&self) -> impl Iterator<Item = &Variable> {
        self.environment.iter().filter(|variable| variable.existing == Existing::Append)
    }

    /// A value or a directory with its double braces filled in: `agents` and the parameters. One that is not given stays.
    #[must_use]
    pub fn filled(text: &str, parameters: &BTreeMap<String, String>) -> String {
        let mut text = text.replace("{{agents}}", AGENTS_DIRECTORY);
        for (name, value) in parameters {
            text = text.replace(&format!("{{{{{name}}}}}"), value);
        }
        text
    }
}

impl Variable {
    /// The value beside one that is there already (5.4): `None` where that one stays as it is. A value that already names
    /// something below [`AGENTS_DIRECTORY`] stays, so that doing it again changes nothing.
    #[must_use]
    pub fn joined(&self, original: &str, parameters: &BTreeMap<String, String>) -> Option<String> {
        let ours = Distribution::filled(&self.value, parameters);
        let separator = self.separator.as_deref().unwrap_or_default();
        match self.existing {
            _ if original.is_empty() && self.keeps_separator => Some(format!("{separator}{ours}")),
            _ if original.is_empty() => Some(ours),
            Existing::Append if !original.contains(&format!("{AGENTS_DIRECTORY}/")) => {
                Some(format!("{original}{separator}{ours}"))
            }
            _ => None,
        }
    }
}

/// All distributions by name.
pub fn all() -> &'static BTreeMap<String, Distribution> {
    static ALL: OnceLock<BTreeMap<String, Distribution>> = OnceLock::new();
    ALL.get_or_init(|| {
        // The build script has parsed every file, so none can fail here; a test counts them.
        let parsed = FILES.iter().filter_map(|(_, text)| File::parse(text).ok());
        parsed.map(Distribution::from_file).map(|one| (one.name.clone(), one)).collect()
    })
}

/// The distribution of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Distribution> {
    all().get(name)
}

/// The distribution that a language gets unless something else is asked for.
#[must_use]
pub fn default_for(language: &str) -> Option<&'static Distribution> {
    all().values().find(|one| one.is_default && one.language == language)
}

#[cfg(test)]
mod tests;
