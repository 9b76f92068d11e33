//! How an agent learns what an InstrumentationRule asks for: which of its variables take which values
//! (`spec/actions-and-rules.md` 4.1).
//!
//! Data only; which rule is in force for which container is `plan`'s. What a block needs beyond this an agent cannot do, and
//! the rule's status says so. Compiled into the build script too, so it depends on nothing else.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Variables with their values.
pub type Values = BTreeMap<String, String>;

/// A block of an InstrumentationRule (`spec/actions-and-rules.md` 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuleKind {
    /// Bodies of requests, queries and messages.
    PayloadCollection,
    /// Headers of requests.
    HeadersCollection,
    /// Attributes about code.
    CodeAttributes,
    /// Traces off.
    TraceConfig,
    /// Which distributions are used.
    OtelDistros,
    /// Functions beside those of libraries.
    CustomInstrumentations,
    /// Libraries on and off.
    TraceVerbosity,
    /// Log levels of the agent.
    AgentDiagnostics,
    /// Logs from the kernel.
    EbpfLogCapture,
    /// Metrics of the network.
    NetworkMetrics,
}

impl RuleKind {
    /// Whether an agent receives it in variables of its own.
    #[must_use]
    pub const fn takes_variables(self) -> bool {
        !matches!(self, Self::TraceConfig | Self::OtelDistros)
    }

    /// The block's name in a rule.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PayloadCollection => "payloadCollection",
            Self::HeadersCollection => "headersCollection",
            Self::CodeAttributes => "codeAttributes",
            Self::TraceConfig => "traceConfig",
            Self::OtelDistros => "otelDistros",
            Self::CustomInstrumentations => "customInstrumentations",
            Self::TraceVerbosity => "traceVerbosity",
            Self::AgentDiagnostics => "agentDiagnostics",
            Self::EbpfLogCapture => "ebpfLogCapture",
            Self::NetworkMetrics => "networkMetrics",
        }
    }
}

/// How far an agent can express a block, and by what. Blocks that need no variables of their own (`traceConfig`,
/// `otelDistros`) have an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Support {
    /// What of the block the agent can never do, for people; absent when everything depends on what a rule asks.
    #[serde(default)]
    pub except: Option<String>,
    /// `headersCollection`: lists of names of headers.
    #[serde(default)]
    pub headers: Option<Headers>,
    /// `traceVerbosity`: libraries on and off.
    #[serde(default)]
    pub libraries: Option<Libraries>,
    /// `agentDiagnostics`: variables by level; a level that is absent cannot be chosen, one without variables is what the
    /// agent does anyway.
    #[serde(default)]
    pub levels: BTreeMap<String, Values>,
    /// `payloadCollection.dbQuery.sanitizationPolicy`: variables by policy.
    #[serde(default)]
    pub policies: BTreeMap<String, Values>,
    /// `customInstrumentations.java`: the variable that lists methods as `Class[method,method];Class[method]`.
    #[serde(default)]
    pub java_methods: Option<String>,
}

/// Variables that take a list of names of headers, separated by commas; each of them gets the same list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Headers {
    /// Their names.
    pub variables: Vec<String>,
    /// What stands for every header; absent where only names are taken.
    #[serde(default)]
    pub wildcard: Option<String>,
    /// The list holds regular expressions, so names are escaped.
    #[serde(default)]
    pub are_expressions: bool,
}

/// How libraries are switched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Libraries {
    /// What people may write before a library's name and the agent does not.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Off.
    pub disabled: LibraryVariable,
    /// On; absent where everything is on that is not switched off.
    #[serde(default)]
    pub enabled: Option<LibraryVariable>,
}

/// The variable, or the variables, that switch libraries one way.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum LibraryVariable {
    /// One variable that lists names, separated by commas.
    List(LibraryList),
    /// One variable for each library.
    Each(LibraryEach),
}

/// One variable that lists libraries.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LibraryList {
    /// Its name.
    pub list: String,
    /// Names that must stand in it beside those that are asked for.
    #[serde(default)]
    pub beside: Vec<String>,
}

/// One variable for each library.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LibraryEach {
    /// Its name, with `{{LIBRARY}}` where the library stands in capitals.
    pub each: String,
    /// What stands where the library's name has something other than letters and digits.
    pub joined_by: String,
    /// Its value.
    pub value: String,
}

impl LibraryEach {
    /// The variable of a library.
    #[must_use]
    pub fn variable(&self, library: &str) -> String {
        let words: Vec<&str> = library.split(|one: char| !one.is_ascii_alphanumeric()).collect();
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        self.each.replace("{{LIBRARY}}", &words.join(&self.joined_by).to_ascii_uppercase())
    }
}

impl Libraries {
    /// The name of a library as the agent spells it.
    #[must_use]
    pub fn spelled<'a>(&self, library: &'a str) -> &'a str {
        let library = library.trim();
        self.prefixes.iter().find_map(|prefix| library.strip_prefix(prefix.as_str())).unwrap_or(library)
    }
}

impl Support {
    /// Whether what is stated belongs to the block, and nothing is missing.
    pub(crate) fn check(&self, kind: RuleKind) -> Result<(), String> {
        let stated = [
            (RuleKind::HeadersCollection, self.headers.is_some(), "headers"),
            (RuleKind::TraceVerbosity, self.libraries.is_some(), "libraries"),
            (RuleKind::AgentDiagnostics, !self.levels.is_empty(), "levels"),
            (RuleKind::PayloadCollection, !self.policies.is_empty(), "policies"),
            (RuleKind::CustomInstrumentations, self.java_methods.is_some(), "javaMethods"),
        ];
        for (of, is_stated, key) in stated {
            if is_stated && of != kind {
                return Err(format!("{key} belongs to another block"));
            }
            if !is_stated && of == kind {
                return Err(format!("{key} is missing: it says how the agent receives the setting"));
            }
        }
        let known = |names: &BTreeMap<String, Values>, words: &[&str]| {
            names.keys().find(|name| !words.contains(&name.as_str())).cloned()
        };
        if let Some(unknown) = known(&self.levels, &["error", "warn", "info", "debug"]) {
            return Err(format!("{unknown} is no level"));
        }
        if let Some(unknown) = known(&self.policies, &["sanitized", "sanitized-or-full", "full"]) {
            return Err(format!("{unknown} is no policy"));
        }
        Ok(())
    }
}
