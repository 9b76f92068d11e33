//! The decision about one container: step 3 of `spec/sources-and-instrumentation.md` 3.3, cause by cause in its order.

use super::reason::Reason;
use super::rules::Rules;
use super::{Seen, injection};
use odigos_api::Signal;
use odigos_api::agent_settings::{AgentLogs, AgentMetrics, AgentTraces};
use odigos_api::instrumentation_config::{ContainerAgentConfig, EnvInjectionMethod, RuntimeDetails};
use odigos_api::source::ContainerOverride;
use odigos_catalog::distribution::{self, Distribution, Files, LibcType, Parameter, Transport, Version};
use std::collections::{BTreeMap, BTreeSet};

/// What the decision about a container looks at.
pub(super) struct Subject<'a> {
    pub(super) seen: &'a Seen<'a>,
    pub(super) stated: &'a ContainerOverride,
    pub(super) details: Option<&'a RuntimeDetails>,
    /// Signals that the collectors take.
    pub(super) signals: &'a BTreeSet<Signal>,
    pub(super) decided_before: Option<&'a ContainerAgentConfig>,
}

/// The decision, with its reason also where the API leaves it empty.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decided {
    pub(super) reason: Reason,
    pub(super) config: ContainerAgentConfig,
    /// A rule switches its traces off.
    pub(super) is_silenced: bool,
    /// Variables that rules set, whatever destinations take.
    pub(super) rule_variables: BTreeMap<String, String>,
    /// What its agent is configured to send, before any rule.
    pub(super) signals: BTreeSet<Signal>,
}

impl Decided {
    pub(super) fn blocked(name: &str, reason: Reason, message: String) -> Self {
        let config = ContainerAgentConfig {
            container_name: name.to_owned(),
            agent_enabled: false,
            agent_enabled_reason: reason.as_str().to_owned(),
            agent_enabled_message: message,
            ..ContainerAgentConfig::default()
        };
        Self::without_agent(reason, config)
    }

    fn without_agent(reason: Reason, config: ContainerAgentConfig) -> Self {
        Self { reason, config, is_silenced: false, rule_variables: BTreeMap::new(), signals: BTreeSet::new() }
    }

    /// A container as it was decided before, without its agent.
    pub(super) fn rolled_back(seen: &Seen<'_>, mut config: ContainerAgentConfig) -> Self {
        let stored = Reason::parse(&config.agent_enabled_reason);
        if !config.agent_enabled && stored.is_some_and(|one| !one.is_failure_of_pods()) {
            return Self::without_agent(stored.unwrap_or(Reason::CrashLoopBackOff), config);
        }
        let (reason, message) = rolled_back(seen, stored);
        config.agent_enabled = false;
        reason.as_str().clone_into(&mut config.agent_enabled_reason);
        config.agent_enabled_message = message;
        Self::without_agent(reason, config)
    }
}

/// A cause that keeps the agent out.
type Blocked = (Reason, String);

/// Decides.
pub(super) fn decide(subject: &Subject<'_>) -> Decided {
    let name = &subject.stated.container_name;
    match enabled(subject) {
        Ok(decided) => decided,
        Err((reason, message)) => Decided::blocked(name, reason, message),
    }
}

fn enabled(subject: &Subject<'_>) -> Result<Decided, Blocked> {
    let (seen, stated) = (subject.seen, subject.stated);
    let name = &stated.container_name;
    if let Some(entry) = seen.options.ignored_containers.matching(name) {
        let message = match entry == name {
            true => "The configuration lists it among ignoredContainers.".to_owned(),
            false => format!("The configuration lists {entry:?} among ignoredContainers."),
        };
        return Err((Reason::IgnoredContainer, message));
    }
    let details = subject.details.ok_or_else(|| {
        let message = "Nothing is known about what runs in it; it may not have run yet.".to_owned();
        (Reason::RuntimeDetailsUnavailable, message)
    })?;
    if details.language == "ignored" {
        return Err((Reason::IgnoredContainer, "The Source states that it is ignored.".to_owned()));
    }
    if matches!(details.language.as_str(), "unknown" | "") {
        let message =
            "Its language could not be found; state it with containerOverrides[].runtimeInfo.language of the Source.";
        return Err((Reason::UnsupportedProgrammingLanguage, message.to_owned()));
    }
    let rules = Rules::of(seen.rules, seen.workload, seen.data_streams, &details.language);
    let distribution = chosen(subject, details, &rules)?;
    let sent = seen.options.signals.signals(distribution, subject.signals);
    let signals = signals(&sent, distribution, &rules)?;
    if let Some(suffix) = &seen.options.trace_id_suffix
        && !(suffix.len() == 2 && suffix.bytes().all(|one| one.is_ascii_hexdigit()))
    {
        let message =
            format!("traceIdSuffix {suffix:?} of the configuration is not one byte as two hexadecimal digits.");
        return Err((Reason::InjectionConflict, message));
    }
    let method = injection::method(seen.options.injection, seen.options.has_loader, distribution, details)
        .map_err(|message| (Reason::InjectionConflict, message))?;
    let known = known_parameters(distribution, details);
    if let Some(message) = injection::conflict(distribution, &known, details) {
        return Err((Reason::InjectionConflict, message));
    }
    let parameters = complete(known, distribution, details, method)?;
    let uses_loader = method == Some(EnvInjectionMethod::Loader);
    // A rollback waits for nobody.
    if let Some(secret) = seen.pull_secret.filter(|one| one.concerns(distribution, uses_loader))
        && !super::is_rolled_back(seen)
    {
        return Err((Reason::MissingPullSecret, secret.message(&seen.workload.namespace)));
    }
    let is_silenced = rules.traces_off().is_some();
    let mut config = ContainerAgentConfig {
        container_name: name.clone(),
        agent_enabled: true,
        otel_distro_name: distribution.name.clone(),
        distro_params: parameters,
        env_injection_method: method,
        // What rules set for traces is recorded whether a destination takes them now or not.
        traces: (!is_silenced && distribution.signals.contains(&Signal::Traces)).then(AgentTraces::default),
        metrics: signals.contains(&Signal::Metrics).then(AgentMetrics::default),
        logs: signals.contains(&Signal::Logs).then(AgentLogs::default),
        ..ContainerAgentConfig::default()
    };
    let shortfalls = rules.record(&mut config, distribution, &details.language);
    let rule_variables = super::variables(&config, distribution);
    config.traces = config.traces.filter(|_| signals.contains(&Signal::Traces));
    if !shortfalls.is_empty() {
        config.agent_enabled_message = format!("Its agent cannot do what rules ask for: {}.", shortfalls.join("; "));
    }
    let reason = judged(subject, details)?;
    match &reason {
        (Reason::EnabledSuccessfully, _) => {}
        (reason, message) => {
            config.agent_enabled = *reason == Reason::EnabledWithOtherAgents;
            config.agent_enabled_reason = reason.as_str().to_owned();
            let rules = std::mem::take(&mut config.agent_enabled_message);
            config.agent_enabled_message = [message.as_str(), &rules].join(" ").trim_end().to_owned();
        }
    }
    Ok(Decided { reason: reason.0, config, is_silenced, rule_variables, signals: sent })
}

/// Why a rolled back workload has no agent: the cause that was remembered, else what the container said before.
fn rolled_back(seen: &Seen<'_>, stored: Option<Reason>) -> Blocked {
    let rollback = seen.config.status.as_ref().and_then(|status| status.rollback.as_ref());
    let stated = rollback.and_then(|rollback| Reason::parse(&rollback.reason)).or(stored);
    let reason = match stated {
        Some(failure @ (Reason::ImagePullBackOff | Reason::FailedCreate)) => failure,
        _ => Reason::CrashLoopBackOff,
    };
    let cause = rollback.map(|rollback| rollback.message.trim_end_matches('.')).filter(|cause| !cause.is_empty());
    let cause = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
    let message = format!(
        "Its pods failed with the agent, which was taken out again{cause}; annotate the Source with odigos.io/rollback-recovery \
         and the time to try once more."
    );
    (reason, message)
}

/// Rollback and agents of other vendors: what is decided once the agent itself is fit. A rollback keeps the name and the
/// parameters of the distribution.
fn judged(subject: &Subject<'_>, details: &RuntimeDetails) -> Result<Blocked, Blocked> {
    let seen = subject.seen;
    if super::is_rolled_back(seen) {
        let stored = subject.decided_before.and_then(|before| Reason::parse(&before.agent_enabled_reason));
        return Ok(rolled_back(seen, stored));
    }
    let others: Vec<&str> = details.other_agents.iter().map(|one| one.name.as_str()).collect();
    if others.is_empty() {
        return Ok((Reason::EnabledSuccessfully, String::new()));
    }
    let others = others.join(", ");
    let is_allowed = subject.stated.allow_concurrent_agents.unwrap_or(seen.options.allow_concurrent_agents);
    if is_allowed {
        return Ok((Reason::EnabledWithOtherAgents, format!("Runs beside {others}, which is allowed.")));
    }
    let message = format!(
        "{others} runs in it; two agents in a process may break it. Remove it, or set containerOverrides[].allowConcurrentAgents of the Source."
    );
    Err((Reason::OtherAgentDetected, message))
}

/// Words of the message about a distribution for another language than the container's.
const ANOTHER_LANGUAGE: &str = "is a distribution for";

/// Whether a message is about a distribution for another language than the container's.
#[must_use]
pub fn is_of_another_language(message: &str) -> bool {
    message.contains(ANOTHER_LANGUAGE)
}

/// The distribution: the one of the Source, else of a rule, else of the language; its fallback where the version wants it.
fn chosen(
    subject: &Subject<'_>,
    details: &RuntimeDetails,
    rules: &Rules<'_>,
) -> Result<&'static Distribution, Blocked> {
    let language = details.language.as_str();
    let mut chosen = match &subject.stated.otel_distro_name {
        Some(name) => {
            let found = distribution::find(name).ok_or_else(|| {
                let message = format!("There is no distribution {name:?} (containerOverrides[].otelDistroName of the Source).");
                (Reason::NoAvailableAgent, message)
            })?;
            if found.language != language {
                let message = format!("{name} {ANOTHER_LANGUAGE} {}, and the container runs {language}.", found.language);
                return Err((Reason::UnsupportedProgrammingLanguage, message));
            }
            found
        }
        None => rules.distribution(language).or_else(|| distribution::default_for(language)).ok_or_else(|| {
            let message = format!(
                "This release has no agent for {language}. What the application sends itself by OTLP to the collector of its node is collected all the same."
            );
            (Reason::NoAvailableAgent, message)
        })?,
    };
    while let Err(blocked) = supports(chosen, &details.runtime_version) {
        match chosen.fallback.as_deref().and_then(distribution::find) {
            Some(fallback) => chosen = fallback,
            None => return Err(blocked),
        }
    }
    let libc = match details.libc_type.as_deref() {
        Some("glibc") => Some(LibcType::Glibc),
        Some("musl") => Some(LibcType::Musl),
        _ => None,
    };
    if let Some(libc) = libc.filter(|libc| !chosen.libc.contains(libc)) {
        let message = format!("{} does not run with {libc:?}, which the container has.", chosen.name);
        return Err((Reason::NoAvailableAgent, message));
    }
    if chosen.transport == Transport::NodeAgent && subject.seen.options.lacks_node_agents {
        let message = format!(
            "{} works from the node, beside the agent there, and nodes have no agent in this installation (agent.mode of the chart, runtimeDetection.mode of the configuration).",
            chosen.name
        );
        return Err((Reason::NoAvailableAgent, message));
    }
    if chosen.files == Files::Included && subject.seen.options.lacks_agents {
        let message = format!(
            "The files of {} are not installed; name the image that holds the release's agents as agentsImage in the configuration.",
            chosen.name
        );
        return Err((Reason::NoAvailableAgent, message));
    }
    if chosen.files == Files::Configured && !subject.seen.options.agent_images.contains_key(&chosen.name) {
        let message = format!(
            "The release brings no files of {0}; name an image that has them as agentImages.{0} in the configuration.{1}",
            chosen.name,
            if chosen.is_experimental { " It is experimental, not tried." } else { "" }
        );
        return Err((Reason::NoAvailableAgent, message));
    }
    Ok(chosen)
}

/// Whether the version is supported. One that is not known is tried.
fn supports(distribution: &Distribution, version: &str) -> Result<(), Blocked> {
    let Some(constraint) = distribution.versions.as_ref().filter(|_| !version.is_empty()) else { return Ok(()) };
    match Version::parse(version) {
        Some(known) if constraint.allows(&known) => Ok(()),
        Some(_) => {
            let message = format!("{} supports {constraint}, and the container runs {version}.", distribution.name);
            Err((Reason::UnsupportedRuntimeVersion, message))
        }
        None => Err((Reason::UnsupportedRuntimeVersion, format!("Failed to read {version:?} as a version."))),
    }
}

/// What is said of a rule that leaves nothing to send, before and behind its name.
const RULE: &str = "InstrumentationRule ";
const SWITCHES_OFF: &str = " switches off all that would be sent";

/// The InstrumentationRule that a message of `NoCollectedSignals` names as its cause.
///
/// ```
/// use odigos_plan::agents::silencing_rule;
/// assert_eq!(silencing_rule("app: InstrumentationRule quiet switches off all that would be sent."), Some("quiet"));
/// assert_eq!(silencing_rule("No destination takes anything; create one."), None);
/// ```
#[must_use]
pub fn silencing_rule(message: &str) -> Option<&str> {
    let before = message.split_once(SWITCHES_OFF)?.0;
    before.rsplit_once(RULE).map(|(_, name)| name)
}

/// What the agent shall send: of what it is configured to send, what no rule switches off.
fn signals(
    sent: &BTreeSet<Signal>,
    distribution: &Distribution,
    rules: &Rules<'_>,
) -> Result<BTreeSet<Signal>, Blocked> {
    let off = rules.traces_off();
    let left: BTreeSet<Signal> =
        sent.iter().copied().filter(|signal| off.is_none() || *signal != Signal::Traces).collect();
    if !left.is_empty() {
        return Ok(left);
    }
    let message = match off {
        Some(rule) if !sent.is_empty() => format!("{RULE}{rule}{SWITCHES_OFF}."),
        _ => format!("No destination takes what {} sends, and agents.signals is asNeeded.", distribution.name),
    };
    Err((Reason::NoCollectedSignals, message))
}

/// Values that the distribution needs, as far as they are known.
fn known_parameters(distribution: &Distribution, details: &RuntimeDetails) -> BTreeMap<String, String> {
    let value = |parameter: Parameter| match parameter {
        Parameter::LibcType => details.libc_type.clone().filter(|libc| !libc.is_empty()),
        Parameter::RuntimeVersionMajorMinor => {
            Version::parse(&details.runtime_version).and_then(|version| version.major_minor())
        }
    };
    let known = distribution.parameters.iter();
    known.filter_map(|parameter| Some((parameter.as_str().to_owned(), value(*parameter)?))).collect()
}

/// Insists on all of them, and on the image's environment where a value of it could be lost.
fn complete(
    known: BTreeMap<String, String>,
    distribution: &Distribution,
    details: &RuntimeDetails,
    method: Option<EnvInjectionMethod>,
) -> Result<BTreeMap<String, String>, Blocked> {
    if let Some(missing) = distribution.parameters.iter().find(|parameter| !known.contains_key(parameter.as_str())) {
        let (what, field) = match missing {
            Parameter::LibcType => ("C library", "libCType"),
            Parameter::RuntimeVersionMajorMinor => ("version", "runtimeVersion"),
        };
        let message = format!(
            "{} needs to know the {what} of the container, which could not be found; state it with containerOverrides[].runtimeInfo.{field} of the Source.",
            distribution.name
        );
        return Err((Reason::MissingDistroParameter, message));
    }
    match &details.cri_error_message {
        // A variable is set, and it is not known whether by the image: extending it could lose the image's value.
        Some(why) if method == Some(EnvInjectionMethod::PodManifest) => {
            let message = format!("The environment of the image could not be read: {why}.");
            Err((Reason::MissingDistroParameter, message))
        }
        _ => Ok(known),
    }
}
