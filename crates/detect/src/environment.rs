//! Variables that matter: which are read, which go into a status, and what of a value is the control plane's own.
//!
//! Owns `spec/sources-and-instrumentation.md` 4.7 and the rule against finding oneself (4.8). A process that carries an
//! agent of ours shows our options beside the user's; a status holds only the user's.

use odigos_api::instrumentation_config::EnvVar;
use odigos_api::names::NODE_SERVICE;
use std::collections::BTreeMap;

/// Root of everything that the control plane puts into a container.
pub const AGENT_ROOT: &str = "/var/odigos";

/// Variables that an agent distribution extends or sets, and that a user may have set before (4.7, 5.3, 5.4).
pub const AGENT_VARIABLES: [&str; 9] = [
    "CORECLR_PROFILER",
    "DOTNET_ADDITIONAL_DEPS",
    "DOTNET_SHARED_STORE",
    "DOTNET_STARTUP_HOOKS",
    "JAVA_TOOL_OPTIONS",
    "NODE_OPTIONS",
    "PHP_INI_SCAN_DIR",
    "PYTHONPATH",
    "RUBYOPT",
];

/// Variables that say where an SDK sends to. A user who sets one of them exports by himself, and all of OTLP is left to him.
pub const OTLP_ENDPOINTS: [&str; 4] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];

/// The variable through which libraries are preloaded.
pub const LD_PRELOAD: &str = "LD_PRELOAD";

/// Variables that rules read beside those: versions, homes, marks of agents. `ORIGINAL_` keeps a user's value that came
/// from a reference (5.4).
const READ_BY_RULES: [&str; 20] = [
    "APPDYNAMICS_CONTROLLER_HOST_NAME",
    "DD_INJECTION_ENABLED",
    "DD_TRACE_AGENT_URL",
    "DJANGO_SETTINGS_MODULE",
    "DOTNET_VERSION",
    "DT_DYNAMIZER_TARGET_EXE",
    "JAVA_HOME",
    "JAVA_VERSION",
    "JDK_JAVA_OPTIONS",
    "LD_PRELOAD",
    "NEW_RELIC_CONFIG_FILE",
    "NODE_VERSION",
    "ORIGINAL_JAVA_TOOL_OPTIONS",
    "ORIGINAL_NODE_OPTIONS",
    "ORIGINAL_PYTHONPATH",
    "PHP_VERSION",
    "PYTHON_VERSION",
    "RUBY_VERSION",
    "_JAVA_OPTIONS",
    "PYTHONSAFEPATH",
];

/// The variables of a process, or of an image, that rules read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Whether a variable is kept.
    #[must_use]
    pub fn is_wanted(name: &str) -> bool {
        READ_BY_RULES.contains(&name) || AGENT_VARIABLES.contains(&name) || OTLP_ENDPOINTS.contains(&name)
    }

    /// Of pairs; those that nobody reads are dropped.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in pairs {
            if Self::is_wanted(name) && value.len() <= crate::limits::VALUE_BYTES {
                environment.insert_first(name, value);
            }
        }
        environment
    }

    pub(crate) fn insert_first(&mut self, name: &str, value: &str) {
        self.0.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// The value as the process sees it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The user's part of a value: without what the control plane added. `None` when the variable is not set, or only
    /// by the control plane.
    #[must_use]
    pub fn users(&self, name: &str) -> Option<String> {
        let value = self.get(name)?;
        if OTLP_ENDPOINTS.contains(&name) {
            return users_endpoint(value);
        }
        if !value.contains(AGENT_ROOT) {
            return Some(value.to_owned());
        }
        if let Some(original) = self.get(&format!("ORIGINAL_{name}")) {
            return Some(original.to_owned());
        }
        let rest = without_ours(name, value);
        (!rest.is_empty()).then_some(rest)
    }

    /// Whether the value holds something that the control plane put there.
    #[must_use]
    pub fn has_ours(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.split(separator(name)).any(is_ours))
    }

    /// Whether a status names the variable.
    #[must_use]
    pub fn is_in_status(name: &str) -> bool {
        status_variables().any(|known| known == name)
    }

    /// What a status says of the process: preloaded libraries and variables of agents, the user's part, by name.
    #[must_use]
    pub fn for_status(&self) -> Vec<EnvVar> {
        let mut found: Vec<EnvVar> = status_variables()
            .filter_map(|name| Some(EnvVar { name: name.to_owned(), value: self.users(name)? }))
            .collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        found
    }
}

fn status_variables() -> impl Iterator<Item = &'static str> {
    AGENT_VARIABLES.into_iter().chain(OTLP_ENDPOINTS).chain(["DJANGO_SETTINGS_MODULE", LD_PRELOAD])
}

/// Scheme, host and port of an endpoint that is not the collector of the node; credentials, path and query may be secrets.
fn users_endpoint(value: &str) -> Option<String> {
    let value = value.trim();
    let (scheme, rest) = value.split_once("://").unwrap_or(("", value));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let is_ours = host.strip_prefix(NODE_SERVICE).is_some_and(|rest| rest.starts_with('.'));
    if host.is_empty() || is_ours {
        return None;
    }
    Some(if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") })
}

/// What separates the parts of a variable's value.
const fn separator(name: &str) -> char {
    // NODE_OPTIONS, JAVA_TOOL_OPTIONS and RUBYOPT hold options; all others hold paths.
    match name.as_bytes() {
        b"JAVA_TOOL_OPTIONS" | b"NODE_OPTIONS" | b"RUBYOPT" | b"JDK_JAVA_OPTIONS" | b"_JAVA_OPTIONS" => ' ',
        _ => ':',
    }
}

/// Options whose argument is a word of its own.
const TAKES_ARGUMENT: [&str; 6] = ["--require", "-r", "--import", "--loader", "--experimental-loader", "-I"];

/// A value without parts that name something under [`AGENT_ROOT`]. Other parts keep their text, quotes and order.
fn without_ours(name: &str, value: &str) -> String {
    let separator = separator(name);
    let mut kept: Vec<&str> = Vec::new();
    for part in value.split(separator) {
        if !is_ours(part) {
            kept.push(part);
        } else if separator == ' ' && kept.last().is_some_and(|option| TAKES_ARGUMENT.contains(option)) {
            kept.pop();
        }
    }
    kept.join(&separator.to_string()).trim_matches(separator).to_owned()
}

/// Whether a part names something that the control plane put into the container.
pub(crate) fn is_ours(part: &str) -> bool {
    part.match_indices(AGENT_ROOT).any(|(at, _)| {
        let before = part.get(..at).and_then(|text| text.chars().next_back());
        let behind = part.get(at + AGENT_ROOT.len()..).and_then(|text| text.chars().next());
        // `/data/var/odigos` and `/var/odigos-of-mine` belong to somebody else.
        let begins =
            before.is_none_or(|one| !one.is_alphanumeric() && !"-_./".contains(one)) || part.starts_with("-r/");
        begins && behind.is_none_or(|one| one == '/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_options_are_not_the_users() {
        for (name, seen, users) in [
            ("JAVA_TOOL_OPTIONS", "-Dx=1 -javaagent:/var/odigos/java/javaagent.jar", Some("-Dx=1")),
            ("JAVA_TOOL_OPTIONS", "-javaagent:/var/odigos/java/javaagent.jar", None),
            (
                "NODE_OPTIONS",
                "--max-old-space-size=99 --require /var/odigos/nodejs-community/a.js",
                Some("--max-old-space-size=99"),
            ),
            ("NODE_OPTIONS", "--require ./own.js", Some("--require ./own.js")),
            ("PYTHONPATH", "/app:/var/odigos/python:/var/odigos/python/opentelemetry", Some("/app")),
            ("LD_PRELOAD", "/var/odigos/loader/loader.so", None),
            ("LD_PRELOAD", "", Some("")),
            ("RUBYOPT", "-r/var/odigos/ruby/3.3/index.rb -W0", Some("-W0")),
            ("PHP_INI_SCAN_DIR", ":/var/odigos/php/8.3", None),
            ("JAVA_TOOL_OPTIONS", "-javaagent:/data/var/odigos/x.jar", Some("-javaagent:/data/var/odigos/x.jar")),
            ("PYTHONPATH", "/var/odigos-of-mine", Some("/var/odigos-of-mine")),
        ] {
            let environment = Environment::of([(name, seen)]);
            assert_eq!(environment.users(name).as_deref(), users, "{name}={seen}");
        }
        let referenced = Environment::of([
            ("ORIGINAL_PYTHONPATH", "/from/config"),
            ("PYTHONPATH", "/from/config:/var/odigos/python"),
        ]);
        assert_eq!(referenced.users("PYTHONPATH").as_deref(), Some("/from/config"));
    }

    #[test]
    fn endpoints_are_kept_without_secrets_and_without_ours() {
        for (seen, users) in [
            ("http://otel:4317", Some("http://otel:4317")),
            ("https://me:secret@otlp.example.com/v1/traces?api_key=abc", Some("https://otlp.example.com")),
            ("otel:4317", Some("otel:4317")),
            ("http://odigos-data-collection-local-traffic.odigos-system:4318", None),
            (" ", None),
        ] {
            let environment = Environment::of([("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", seen)]);
            assert_eq!(environment.users("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").as_deref(), users, "{seen}");
            assert_eq!(environment.for_status().len(), usize::from(users.is_some()), "{seen}");
        }
    }

    #[test]
    fn a_status_holds_variables_of_agents_only() {
        let environment = Environment::of([
            ("PYTHON_VERSION", "3.11.9"),
            ("PYTHONPATH", "/app"),
            ("LD_PRELOAD", "/lib/x.so"),
            ("HOME", "/home/me"),
        ]);
        let names: Vec<String> = environment.for_status().into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["LD_PRELOAD", "PYTHONPATH"]);
    }
}
