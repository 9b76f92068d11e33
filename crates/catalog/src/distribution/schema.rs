//! The shape of a distribution's file. Unknown keys are refused and every reference is checked, so a slip fails the build.
//!
//! Values of variables and names of directories may hold `{{agents}}`, the folder that all agents are below, and `{{PARAMETER}}` for
//! every parameter that the file declares. This module is compiled into the build script too, so it depends on nothing
//! else of the crate but `constraint` and `mapping`.

use super::constraint::Constraint;
use super::mapping::{RuleKind, Support};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The languages that a distribution may be for.
pub(crate) const LANGUAGES: [&str; 13] = [
    "cplusplus",
    "dotnet",
    "go",
    "java",
    "javascript",
    "mysql",
    "nginx",
    "php",
    "postgres",
    "python",
    "redis",
    "ruby",
    "rust",
];

/// A distribution's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) language: String,
    pub(crate) description: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Spec {
    /// Supported versions of the runtime; absent means any.
    #[serde(default)]
    pub(crate) versions: Option<String>,
    /// Used unless something else is asked for.
    #[serde(default)]
    pub(crate) is_default: bool,
    /// No agent of this distribution was tried with an application in a cluster; status says so.
    #[serde(default)]
    pub(crate) experimental: bool,
    /// Used instead where the version is not supported.
    #[serde(default)]
    pub(crate) fallback: Option<String>,
    pub(crate) libc: Vec<LibcType>,
    #[serde(default)]
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) attach: Attach,
    pub(crate) files: Files,
    /// Folders below the agents' folder that are mounted.
    #[serde(default)]
    pub(crate) directories: Vec<String>,
    /// A preloaded loader can set the appended variables.
    #[serde(default)]
    pub(crate) loader_capable: bool,
    #[serde(default)]
    pub(crate) environment: Vec<Variable>,
    pub(crate) telemetry: Telemetry,
    /// Blocks of an InstrumentationRule that the agent can express; those left out are not supported.
    #[serde(default)]
    pub(crate) rules: BTreeMap<RuleKind, Support>,
}

/// A C library that the agent runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LibcType {
    /// The GNU C library.
    Glibc,
    /// musl.
    Musl,
    /// No C library: the executable is static, or the agent does not run inside the process.
    None,
}

/// What must be known about a container beside its language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Parameter {
    /// `glibc` or `musl`.
    #[serde(rename = "LIBC_TYPE")]
    LibcType,
    /// The first two numbers of the runtime's version, e.g. `8.3`.
    #[serde(rename = "RUNTIME_VERSION_MAJOR_MINOR")]
    RuntimeVersionMajorMinor,
}

impl Parameter {
    /// Its name in `distroParams` and between double braces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LibcType => "LIBC_TYPE",
            Self::RuntimeVersionMajorMinor => "RUNTIME_VERSION_MAJOR_MINOR",
        }
    }
}

/// How the agent comes into the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// By variables that the runtime reads when it starts.
    Environment,
    /// From the node, through the kernel; the pod must have been created with its attributes.
    Ebpf,
}

/// Where the agent's files come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Files {
    /// The agents image of the release carries them.
    Included,
    /// From an image that the user names in the configuration.
    Configured,
    /// Nothing comes into the container.
    None,
}

/// A variable that the agent needs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, or the part that is appended.
    pub value: String,
    /// What happens to a value that is there already.
    pub existing: Existing,
    /// Between a value that is there and ours; only with `append`.
    #[serde(default)]
    pub separator: Option<String>,
    /// The separator stands before our part even when nothing else is there, because the empty part means something.
    #[serde(default)]
    pub keeps_separator: bool,
}

/// What happens to a value that a user or an image has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// Ours is put behind it.
    Append,
    /// It stays and ours is left out; the agent works with it.
    Keep,
    /// The agent cannot work with another value: it is not injected.
    Conflict,
}

/// What the agent sends, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Telemetry {
    #[serde(default)]
    pub(crate) traces: bool,
    #[serde(default)]
    pub(crate) metrics: bool,
    #[serde(default)]
    pub(crate) logs: bool,
    pub(crate) transport: Transport,
}

/// How telemetry and settings reach and leave the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// OTLP over HTTP to the node's collector; exporters, endpoint, service name and resource attributes by `OTEL_*` variables.
    OtlpHttpByEnvironment,
    /// The node agent runs it and hands everything over.
    NodeAgent,
}

impl File {
    /// Reads a file and checks that it makes sense on its own.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file: Self = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        if file.api_version != "internal.odigos.io/v1beta1" || file.kind != "OtelDistribution" {
            return Err("apiVersion must be internal.odigos.io/v1beta1 and kind OtelDistribution".into());
        }
        if !LANGUAGES.contains(&file.metadata.language.as_str()) {
            return Err(format!("metadata.language {:?} is no language", file.metadata.language));
        }
        let spec = &file.spec;
        spec.versions
            .as_deref()
            .map(Constraint::parse)
            .transpose()
            .map_err(|error| format!("spec.versions: {error}"))?;
        if spec.libc.is_empty() {
            return Err("spec.libc must name at least one".into());
        }
        let telemetry = &spec.telemetry;
        if !(telemetry.traces || telemetry.metrics || telemetry.logs) {
            return Err("spec.telemetry must send something".into());
        }
        if (spec.attach == Attach::Environment) == spec.environment.is_empty() {
            return Err("spec.environment must be there exactly when spec.attach is environment".into());
        }
        if (spec.files == Files::None) != spec.directories.is_empty() {
            return Err("spec.directories must be there exactly when spec.files is not none".into());
        }
        for text in spec.environment.iter().map(|variable| &variable.value).chain(&spec.directories) {
            check_braces(text, &spec.parameters)?;
        }
        let mut names = BTreeSet::new();
        for variable in &spec.environment {
            if !names.insert(&variable.name) {
                return Err(format!("spec.environment names {} twice", variable.name));
            }
            if (variable.existing == Existing::Append) != variable.separator.is_some() {
                return Err(format!("{}: separator must be there exactly with append", variable.name));
            }
        }
        for (kind, support) in &spec.rules {
            support.check(*kind).map_err(|error| format!("spec.rules {kind:?}: {error}"))?;
            if kind.takes_variables() && spec.attach != Attach::Environment {
                return Err(format!("spec.rules {kind:?}: an agent outside the container takes no variables"));
            }
        }
        if spec.loader_capable && !spec.environment.iter().any(|variable| variable.existing == Existing::Append) {
            return Err("spec.loaderCapable needs a variable that is appended".into());
        }
        Ok(file)
    }
}

/// Every name in double braces must be `agents` or a declared parameter.
fn check_braces(text: &str, parameters: &[Parameter]) -> Result<(), String> {
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once("{{") {
        let Some((name, after)) = behind.split_once("}}") else {
            return Err(format!("{text:?} has no closing braces"));
        };
        if name != "agents" && !parameters.iter().any(|parameter| parameter.as_str() == name) {
            return Err(format!("{text:?} names {name}, which is not among spec.parameters"));
        }
        rest = after;
    }
    Ok(())
}

/// Checks what files say about each other: fallbacks exist, are of the same language and end; one default for a language.
#[allow(dead_code, reason = "the build script calls it, and tests do")]
pub(crate) fn check_together(files: &[File]) -> Result<(), String> {
    let mut defaults: BTreeMap<&str, &str> = BTreeMap::new();
    for file in files {
        let name = &file.metadata.name;
        if file.spec.is_default
            && let Some(other) = defaults.insert(&file.metadata.language, name)
        {
            return Err(format!("{other} and {name} are both the default for {}", file.metadata.language));
        }
        let mut seen = BTreeSet::from([name]);
        let mut next = &file.spec.fallback;
        while let Some(fallback) = next {
            let Some(other) = files.iter().find(|other| &other.metadata.name == fallback) else {
                return Err(format!("{name} falls back to {fallback}, which does not exist"));
            };
            if other.metadata.language != file.metadata.language || !seen.insert(fallback) {
                return Err(format!("{name} cannot fall back to {fallback}: another language, or in a circle"));
            }
            next = &other.spec.fallback;
        }
    }
    Ok(())
}
