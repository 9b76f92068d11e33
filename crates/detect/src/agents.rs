//! Agents of other vendors in a process (`spec/sources-and-instrumentation.md` 4.8).
//!
//! A table of marks and where they stand. What lies under the control plane's own root never counts, so it cannot find itself.

use crate::detection::shortened;
use crate::environment::{LD_PRELOAD, is_ours};
use crate::language::Language;
use crate::process::{Process, base_name};

/// An agent of another vendor, and what gives it away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OtherAgentFound {
    /// Name of the product.
    pub name: &'static str,
    /// Where it was seen.
    pub seen: String,
}

/// Where a mark stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The variable is set.
    Set,
    /// In the value of this variable.
    Variable(&'static str),
    /// In options of the Java machine: agents and properties, on the command line or in one of its variables; or a jar of
    /// that name is open, which tells agents that attached later.
    JavaOption,
    /// Required by Node.js before the program.
    NodeRequire,
    /// A word of the command line.
    Argument,
    /// A word of the command line is a program of that name.
    Program,
    /// The name of a mapped library begins with it.
    Library,
}

struct Mark {
    name: &'static str,
    language: Option<Language>,
    place: Place,
    text: &'static str,
}

const fn mark(language: Language, name: &'static str, place: Place, text: &'static str) -> Mark {
    Mark { name, language: Some(language), place, text }
}

const fn anywhere(name: &'static str, place: Place, text: &'static str) -> Mark {
    Mark { name, language: None, place, text }
}

use Language::{Dotnet, Java, Javascript, Php, Python, Ruby};

/// The table; marks of a language stand before those of any.
const MARKS: [Mark; 34] = [
    mark(Java, "Datadog", Place::JavaOption, "dd-java-agent"),
    mark(Java, "New Relic", Place::JavaOption, "newrelic.jar"),
    mark(Java, "OpenTelemetry", Place::JavaOption, "opentelemetry-javaagent"),
    mark(Java, "OpenTelemetry", Place::JavaOption, "wo11y-agent"),
    mark(Java, "Grafana", Place::JavaOption, "grafana-opentelemetry-java"),
    mark(Java, "Splunk", Place::JavaOption, "splunk-otel-javaagent"),
    mark(Java, "AWS", Place::JavaOption, "aws-opentelemetry-agent"),
    mark(Java, "Elastic", Place::JavaOption, "elastic-apm-agent"),
    mark(Java, "AppDynamics", Place::JavaOption, "appdynamics"),
    mark(Java, "Instana", Place::JavaOption, "instana"),
    mark(Javascript, "Datadog", Place::NodeRequire, "dd-trace"),
    mark(Javascript, "New Relic", Place::NodeRequire, "newrelic"),
    mark(Javascript, "OpenTelemetry", Place::NodeRequire, "@opentelemetry/auto-instrumentations-node"),
    mark(Javascript, "OpenTelemetry", Place::Argument, "@opentelemetry/auto-instrumentations-node"),
    mark(Python, "Datadog", Place::Program, "ddtrace-run"),
    // The launchers replace themselves by the program and leave their folder on the search path.
    mark(Python, "Datadog", Place::Variable("PYTHONPATH"), "ddtrace/bootstrap"),
    mark(Python, "New Relic", Place::Program, "newrelic-admin"),
    mark(Python, "New Relic", Place::Variable("PYTHONPATH"), "newrelic/bootstrap"),
    mark(Python, "OpenTelemetry", Place::Program, "opentelemetry-instrument"),
    mark(Python, "OpenTelemetry", Place::Variable("PYTHONPATH"), "opentelemetry/instrumentation/auto_instrumentation"),
    mark(Ruby, "Datadog", Place::Variable("RUBYOPT"), "datadog"),
    mark(Ruby, "Datadog", Place::Variable("RUBYOPT"), "ddtrace"),
    mark(Php, "Datadog", Place::Library, "ddtrace"),
    mark(Php, "New Relic", Place::Library, "newrelic"),
    // The profiler of OpenTelemetry is not among them: our own agent has the same identity.
    mark(Dotnet, "Datadog", Place::Variable("CORECLR_PROFILER"), "846f5f1c-"),
    mark(Dotnet, "New Relic", Place::Variable("CORECLR_PROFILER"), "36032161-"),
    anywhere("Datadog", Place::Set, "DD_TRACE_AGENT_URL"),
    anywhere("Datadog", Place::Set, "DD_INJECTION_ENABLED"),
    anywhere("Datadog", Place::Variable(LD_PRELOAD), "datadog-apm-inject"),
    anywhere("New Relic", Place::Set, "NEW_RELIC_CONFIG_FILE"),
    anywhere("Dynatrace", Place::Set, "DT_DYNAMIZER_TARGET_EXE"),
    anywhere("Dynatrace", Place::Variable(LD_PRELOAD), "/dynatrace/"),
    anywhere("Dynatrace", Place::Library, "liboneagent"),
    anywhere("AppDynamics", Place::Set, "APPDYNAMICS_CONTROLLER_HOST_NAME"),
];

/// Agents of other vendors, each once.
pub(crate) fn find(process: &Process, language: Language) -> Vec<OtherAgentFound> {
    let mut found: Vec<OtherAgentFound> = Vec::new();
    let fits = |one: &&Mark| one.language.is_none_or(|wanted| wanted == language);
    for one in MARKS.iter().filter(fits) {
        if found.iter().any(|agent| agent.name == one.name) {
            continue;
        }
        found.extend(seen(process, one).map(|seen| OtherAgentFound { name: one.name, seen: shortened(&seen) }));
    }
    found
}

fn seen(process: &Process, mark: &Mark) -> Option<String> {
    let holds = |text: &str| text.to_ascii_lowercase().contains(mark.text);
    match mark.place {
        Place::Set => {
            let value = process.environment.get(mark.text).filter(|value| !value.is_empty())?;
            Some(format!("{}={value}", mark.text))
        }
        Place::Variable(name) => {
            let value = process.environment.users(name).filter(|value| holds(value))?;
            Some(format!("{name}={value}"))
        }
        Place::JavaOption => java_options(process)
            .find(|option| {
                let is_telling =
                    ["-javaagent:", "-agentpath:", "-agentlib:", "-D"].iter().any(|one| option.starts_with(one));
                is_telling && !is_ours(option) && holds(option)
            })
            // What stands behind the first `=` may be a key of an account.
            .map(|option| option.split('=').next().unwrap_or(option).to_owned())
            .or_else(|| process.open.iter().find(|path| is_agent_jar(path, mark.text)).cloned()),
        Place::NodeRequire => node_requires(process).into_iter().find(|one| !is_ours(one) && holds(one)),
        Place::Argument => process.command_line.iter().find(|one| !is_ours(one) && holds(one)).cloned(),
        Place::Program => {
            process.command_line.iter().take(4).find(|one| base_name(one) == mark.text && !is_ours(one)).cloned()
        }
        Place::Library => {
            let is_it =
                |path: &&String| base_name(path).starts_with(mark.text) && path.contains(".so") && !is_ours(path);
            process.mapped.iter().find(is_it).cloned()
        }
    }
}

/// Options of the Java machine from everywhere it takes them.
fn java_options(process: &Process) -> impl Iterator<Item = &str> {
    let from_variables = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"].into_iter();
    let from_variables =
        from_variables.filter_map(|name| process.environment.get(name)).flat_map(str::split_whitespace);
    process.command_line.iter().map(String::as_str).chain(from_variables)
}

/// Whether the jar's own name begins with the mark: `newrelic.jar`, `dd-java-agent-1.40.jar`. Words that also name
/// ordinary libraries of a vendor do not count.
fn is_agent_jar(path: &str, mark: &str) -> bool {
    let name = base_name(path);
    !matches!(mark, "appdynamics" | "instana") && name.starts_with(mark) && name.ends_with(".jar") && !is_ours(path)
}

/// Modules that Node.js loads before the program.
fn node_requires(process: &Process) -> Vec<String> {
    let options = process.environment.get("NODE_OPTIONS").unwrap_or_default().split_whitespace();
    let words: Vec<&str> = process.command_line.iter().map(String::as_str).chain(options).collect();
    let is_require =
        |word: &str| matches!(word, "-r" | "--require" | "--import" | "--loader" | "--experimental-loader");
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        if at > 0 && words.get(at - 1).is_some_and(|before| is_require(before)) {
            found.push((*word).to_owned());
        } else if let Some((option, module)) = word.split_once('=')
            && is_require(option)
        {
            found.push(module.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    fn names(process: &Process, language: Language) -> Vec<&'static str> {
        find(process, language).into_iter().map(|one| one.name).collect()
    }

    fn with(command_line: &[&str], environment: &[(&str, &str)], mapped: &[&str]) -> Process {
        Process {
            command_line: command_line.iter().map(|one| (*one).to_owned()).collect(),
            environment: Environment::of(environment.iter().copied()),
            mapped: mapped.iter().map(|one| (*one).to_owned()).collect(),
            ..Process::default()
        }
    }

    #[test]
    fn every_row_of_the_table() {
        type Row<'a> = (Language, &'a [&'a str], &'a [(&'a str, &'a str)], &'a [&'a str], &'a [&'a str]);
        let rows: [Row<'_>; 36] = [
            (Language::Go, &[], &[("DD_TRACE_AGENT_URL", "http://a:8126")], &[], &["Datadog"]),
            (Language::Go, &[], &[("DD_INJECTION_ENABLED", "tracer")], &[], &["Datadog"]),
            (Language::Go, &[], &[("DD_INJECTION_ENABLED", "")], &[], &[]),
            (Language::Ruby, &[], &[("LD_PRELOAD", "/opt/datadog-apm-inject/inject.so")], &[], &["Datadog"]),
            (Java, &["java", "-javaagent:/opt/dd-java-agent.jar"], &[], &[], &["Datadog"]),
            (Java, &["java"], &[("JAVA_TOOL_OPTIONS", "-Xmx1g -javaagent:/dd/dd-java-agent.jar")], &[], &["Datadog"]),
            (Java, &["java"], &[("JDK_JAVA_OPTIONS", "-javaagent:/nr/newrelic.jar")], &[], &["New Relic"]),
            (Java, &["java", "-jar", "dd-java-agent-viewer.jar"], &[], &[], &[]),
            (Javascript, &["node", "a.js"], &[("NODE_OPTIONS", "--require dd-trace/init")], &[], &["Datadog"]),
            (Javascript, &["node", "-r", "newrelic", "a.js"], &[], &[], &["New Relic"]),
            (Javascript, &["node", "--import=newrelic/esm.mjs", "a.js"], &[], &[], &["New Relic"]),
            (Javascript, &["node", "newrelic-report.js"], &[], &[], &[]),
            (Ruby, &["puma"], &[("RUBYOPT", "-rdatadog/auto_instrument")], &[], &["Datadog"]),
            (Ruby, &["puma"], &[("RUBYOPT", "-rddtrace")], &[], &["Datadog"]),
            (Python, &["python3", "/usr/bin/ddtrace-run", "app.py"], &[], &[], &["Datadog"]),
            (Python, &["python3", "app.py"], &[("PYTHONPATH", "/x/ddtrace/bootstrap:/app")], &[], &["Datadog"]),
            (Php, &[], &[], &["/usr/lib/php/20220829/ddtrace.so"], &["Datadog"]),
            (Php, &[], &[], &["/usr/lib/php/20220829/newrelic-20220829.so"], &["New Relic"]),
            (Dotnet, &[], &[("CORECLR_PROFILER", "{846F5F1C-F9AE-4B07-969E-05C26BC060D8}")], &[], &["Datadog"]),
            (Dotnet, &[], &[("CORECLR_PROFILER", "{36032161-FFC0-4B61-B559-F6C5D41BAE5A}")], &[], &["New Relic"]),
            (Dotnet, &[], &[("CORECLR_PROFILER", "{918728DD-259F-4A6A-AC2B-B85E1B658318}")], &[], &[]),
            (Python, &[], &[("NEW_RELIC_CONFIG_FILE", "/nr.ini")], &[], &["New Relic"]),
            (Java, &["java", "-javaagent:/nr/newrelic.jar"], &[("NEW_RELIC_CONFIG_FILE", "/x")], &[], &["New Relic"]),
            (Java, &[], &[("DT_DYNAMIZER_TARGET_EXE", "x")], &[], &["Dynatrace"]),
            (Java, &[], &[("LD_PRELOAD", "/opt/dynatrace/oneagent/liboneagentproc.so")], &[], &["Dynatrace"]),
            (Java, &[], &[], &["/opt/x/liboneagentproc.so"], &["Dynatrace"]),
            (Java, &["java", "-javaagent:/a/opentelemetry-javaagent-2.1.jar"], &[], &[], &["OpenTelemetry"]),
            (Java, &["java", "-javaagent:/a/wo11y-agent.jar"], &[], &[], &["OpenTelemetry"]),
            (
                Java,
                &["java"],
                &[("JAVA_TOOL_OPTIONS", "-javaagent:/var/odigos/java/opentelemetry-javaagent.jar")],
                &[],
                &[],
            ),
            (
                Javascript,
                &["node", "--require", "@opentelemetry/auto-instrumentations-node/register"],
                &[],
                &[],
                &["OpenTelemetry"],
            ),
            (
                Python,
                &["/usr/bin/python3", "/usr/local/bin/opentelemetry-instrument", "flask"],
                &[],
                &[],
                &["OpenTelemetry"],
            ),
            (Java, &["java", "-javaagent:/g/grafana-opentelemetry-java.jar"], &[], &[], &["Grafana"]),
            (Java, &["java", "-javaagent:/s/splunk-otel-javaagent.jar"], &[], &[], &["Splunk"]),
            (Java, &["java", "-javaagent:/a/aws-opentelemetry-agent.jar"], &[], &[], &["AWS"]),
            (
                Java,
                &["java", "-javaagent:/e/elastic-apm-agent.jar", "-Dappdynamics.agent.x=1"],
                &[],
                &[],
                &["Elastic", "AppDynamics"],
            ),
            (
                Java,
                &["java", "-agentpath:/opt/instana/agent.so"],
                &[("APPDYNAMICS_CONTROLLER_HOST_NAME", "c")],
                &[],
                &["Instana", "AppDynamics"],
            ),
        ];
        for (language, command_line, environment, mapped, expected) in rows {
            let process = with(command_line, environment, mapped);
            assert_eq!(names(&process, language), expected, "{process:?}");
        }
    }

    #[test]
    fn what_we_put_there_ourselves_is_no_other_agent() {
        let environment = [(
            "PYTHONPATH",
            "/app:/var/odigos/python:/var/odigos/python/opentelemetry/instrumentation/auto_instrumentation",
        )];
        assert!(names(&with(&["python3"], &environment, &[]), Python).is_empty());
        let environment =
            [("NODE_OPTIONS", "--require /var/odigos/n/@opentelemetry/auto-instrumentations-node/register")];
        assert!(names(&with(&["node"], &environment, &[]), Javascript).is_empty());
    }

    #[test]
    fn keys_of_accounts_never_become_evidence() {
        let options =
            ["java", "-Dappdynamics.agent.accountAccessKey=secret", "-javaagent:/e/elastic-apm-agent.jar=token=secret"];
        let found = find(&with(&options, &[], &[]), Java);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|one| !one.seen.contains("secret")), "{found:?}");
    }

    #[test]
    fn an_agent_that_attached_later_shows_as_an_open_jar() {
        let mut process = with(&["java", "-jar", "app.jar"], &[], &[]);
        process.open = vec!["/app/app.jar".into(), "/app/lib/newrelic-api.jar".into()];
        assert!(names(&process, Java).is_empty());
        process.open.push("/tmp/elastic-apm-agent-1.50.jar".into());
        assert_eq!(names(&process, Java), ["Elastic"]);
    }
}
