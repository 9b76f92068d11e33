//! The agent decision against the tables of `spec/sources-and-instrumentation.md` 3.3, 5.4 and its scenarios.

use super::*;
use crate::name_pattern::NamePatterns;
use odigos_api::agent_settings::{OtelDistros, TraceConfig};
use odigos_api::condition::Status;
use odigos_api::instrumentation_config::{
    EnvInjectionMethod, EnvVar, InstrumentationConfigSpec, InstrumentationConfigStatus, OtherAgent,
};
use odigos_api::instrumentation_rule::{InstrumentationLibrary, InstrumentationRuleSpec};
use odigos_api::scope::{SourceReference, SourcesScopes};

/// A world with one workload `shop/web`, ready collectors and every agent image.
struct Case {
    workload: WorkloadRef,
    has_running_pods: bool,
    config: InstrumentationConfig,
    backoff: Option<Backoff>,
    pull_secret: Option<LackingPullSecret>,
    signals: Option<Vec<Signal>>,
    rules: Vec<InstrumentationRule>,
    options: Options,
    streams: BTreeSet<String>,
}

fn details(container: &str, language: &str, version: &str) -> RuntimeDetails {
    RuntimeDetails {
        container_name: container.into(),
        language: language.into(),
        runtime_version: version.into(),
        libc_type: Some("glibc".into()),
        secure_execution_mode: Some(false),
        ..RuntimeDetails::default()
    }
}

impl Case {
    fn new(found: &[RuntimeDetails]) -> Self {
        let overrides = found.iter().map(|one| ContainerOverride {
            container_name: one.container_name.clone(),
            ..ContainerOverride::default()
        });
        let spec = InstrumentationConfigSpec { containers_overrides: overrides.collect(), ..Default::default() };
        let mut config = InstrumentationConfig::new("deployment-web", spec);
        config.status = Some(InstrumentationConfigStatus {
            runtime_details_by_container: found.to_vec(),
            ..InstrumentationConfigStatus::default()
        });
        let configured =
            ["dotnet-community", "php-community", "ruby-community", "nodejs-community-14", "python-community3.8"]
                .map(|name| (name.to_owned(), format!("registry/{name}:1")));
        Self {
            workload: WorkloadRef::new("shop", WorkloadKind::Deployment, "web"),
            has_running_pods: true,
            config,
            backoff: None,
            pull_secret: None,
            signals: Some(vec![Signal::Traces]),
            rules: Vec::new(),
            options: Options { agent_images: configured.into(), ..Options::default() },
            streams: BTreeSet::from(["default".to_owned()]),
        }
    }

    fn of(language: &str, version: &str) -> Self {
        Self::new(&[details("app", language, version)])
    }

    fn found(&mut self, index: usize) -> &mut RuntimeDetails {
        &mut self.config.status.as_mut().unwrap().runtime_details_by_container[index]
    }

    fn decide(&self) -> AgentDecision {
        let rules: Vec<&InstrumentationRule> = self.rules.iter().collect();
        decide(&Seen {
            workload: &self.workload,
            has_running_pods: self.has_running_pods,
            config: &self.config,
            data_streams: &self.streams,
            backoff_without_agent: self.backoff.as_ref(),
            pull_secret: self.pull_secret.as_ref(),
            node_collector: self.signals.as_deref().map_or(NodeCollector::NotReady, NodeCollector::Ready),
            rules: &rules,
            options: &self.options,
        })
    }

    fn spec(&self) -> AgentSpec {
        self.decide().spec.unwrap()
    }

    /// The only container's decision: distribution, or the reason against it.
    fn outcome(&self) -> String {
        let one = self.spec().containers.into_iter().next().unwrap();
        if one.agent_enabled { one.otel_distro_name } else { one.agent_enabled_reason }
    }

    /// Stores what was decided, as the instrumentor does.
    fn apply(&mut self) {
        if let Some(spec) = self.decide().spec {
            self.config.spec.agent_injection_enabled = spec.agent_injection_enabled;
            self.config.spec.containers = spec.containers;
            self.config.spec.agents_meta_hash = spec.agents_meta_hash;
            self.config.spec.workload_inputs_hash = spec.workload_inputs_hash;
            self.config.spec.cluster_inputs = spec.cluster_inputs;
        }
    }

    fn condition(&self) -> (Status, String) {
        let conditions = self.decide().conditions;
        assert_eq!(conditions[0].kind, AGENT_ENABLED);
        (conditions[0].status, conditions[0].reason.clone())
    }
}

fn rule(name: &str, spec: InstrumentationRuleSpec) -> InstrumentationRule {
    let mut rule = InstrumentationRule::new(name, spec);
    rule.metadata.namespace = Some("odigos-system".into());
    rule
}

fn distros(names: &[&str]) -> InstrumentationRuleSpec {
    let otel_distro_names = names.iter().map(|name| (*name).to_owned()).collect();
    InstrumentationRuleSpec { otel_distros: Some(OtelDistros { otel_distro_names }), ..Default::default() }
}

fn traces_off() -> InstrumentationRuleSpec {
    InstrumentationRuleSpec { trace_config: Some(TraceConfig { disabled: Some(true) }), ..Default::default() }
}

#[test]
fn languages_and_versions() {
    for (language, version, expected) in [
        ("java", "17.0.12+7", "java-community"),
        ("java", "", "java-community"),
        ("java", "1.8.0_292", "UnsupportedRuntimeVersion"),
        ("java", "7.0", "UnsupportedRuntimeVersion"),
        ("javascript", "20.17.0", "nodejs-community"),
        ("javascript", "14.21.3", "nodejs-community-14"),
        ("javascript", "18.0.0", "nodejs-community-14"),
        ("javascript", "8.17.0", "UnsupportedRuntimeVersion"),
        ("javascript", "", "nodejs-community"),
        ("python", "3.10.15", "python-community"),
        ("python", "3.13.0rc1", "python-community"),
        ("python", "3.8.20", "python-community3.8"),
        ("python", "3.6.15", "UnsupportedRuntimeVersion"),
        ("dotnet", "8.0.8", "dotnet-community"),
        ("php", "8.3.11", "php-community"),
        ("php", "8.5.0", "UnsupportedRuntimeVersion"),
        ("php", "", "MissingDistroParameter"),
        ("php", "8", "MissingDistroParameter"),
        ("ruby", "3.3.5", "ruby-community"),
        ("go", "1.22.3", "golang-community"),
        ("go", "1.18.1", "UnsupportedRuntimeVersion"),
        ("rust", "1.80.1", "NoAvailableAgent"),
        ("cplusplus", "", "NoAvailableAgent"),
        ("mysql", "", "NoAvailableAgent"),
        ("nginx", "", "NoAvailableAgent"),
        ("redis", "", "NoAvailableAgent"),
        ("postgres", "", "NoAvailableAgent"),
        ("unknown", "", "UnsupportedProgrammingLanguage"),
        ("ignored", "", "IgnoredContainer"),
    ] {
        assert_eq!(Case::of(language, version).outcome(), expected, "{language} {version}");
    }
}

#[test]
fn an_enabled_container_says_everything_that_admission_needs() {
    let case = Case::of("php", "8.3.11");
    let spec = case.spec();
    assert!(spec.agent_injection_enabled);
    assert_eq!(spec.pod_manifest_injection_optional, None);
    assert_eq!(spec.agents_meta_hash.len(), 16);
    let one = &spec.containers[0];
    assert_eq!(one.distro_params, [("RUNTIME_VERSION_MAJOR_MINOR".to_owned(), "8.3".to_owned())].into());
    assert_eq!((one.agent_enabled_reason.as_str(), one.agent_enabled_message.as_str()), ("", ""));
    assert!(one.traces.is_some() && one.metrics.is_none() && one.logs.is_none());
    assert_eq!(case.condition(), (Status::True, "EnabledSuccessfully".into()));
    assert_eq!(
        case.decide().conditions[0].message,
        "1 of 1 containers have an agent: app (php-community, experimental, not tried)."
    );
    let mut dotnet = Case::of("dotnet", "8.0.1");
    assert_eq!(dotnet.spec().containers[0].distro_params["LIBC_TYPE"], "glibc");
    dotnet.found(0).libc_type = None;
    assert_eq!(dotnet.outcome(), "MissingDistroParameter");
}

#[test]
fn what_stands_in_the_way_of_all_containers_comes_in_order() {
    // Everything is missing at once; causes are taken away one by one.
    let mut case = Case::of("java", "17");
    case.config.status.as_mut().unwrap().runtime_details_by_container.clear();
    case.has_running_pods = false;
    case.signals = None;
    case.backoff = Some(Backoff { pod: "web-1".into(), container: "init".into(), reason: "ImagePullBackOff".into() });
    let decision = case.decide();
    assert_eq!(decision.spec, None, "the spec is left as it was");
    let said: Vec<_> = decision.conditions.iter().map(|one| (one.kind, one.status, one.reason.as_str())).collect();
    let word = "CrashLoopBackOff";
    assert_eq!(said, [(AGENT_ENABLED, Status::False, word), (WORKLOAD_ROLLOUT, Status::False, word)]);
    assert!(decision.conditions[0].message.contains("init of pod web-1 does not start (ImagePullBackOff)"));

    case.backoff = None;
    assert_eq!(case.condition(), (Status::Unknown, "WaitingForNodeCollector".into()));
    case.signals = Some(Vec::new());
    assert_eq!(case.condition(), (Status::False, "NoCollectedSignals".into()));
    case.signals = Some(vec![Signal::Traces]);
    assert_eq!(case.condition(), (Status::Unknown, "RuntimeDetailsUnavailable".into()));
    case.has_running_pods = true;
    assert_eq!(case.condition(), (Status::Unknown, "WaitingForRuntimeInspection".into()));
    let spec = case.spec();
    assert_eq!((spec.agent_injection_enabled, spec.agents_meta_hash.as_str()), (false, ""));
    assert_eq!(spec.containers[0].agent_enabled_reason, "WaitingForRuntimeInspection");
    // Stated by the user, nothing has to run.
    case.has_running_pods = false;
    case.config.spec.containers_overrides[0].runtime_info = Some(details("", "java", ""));
    assert_eq!(case.condition(), (Status::True, "EnabledSuccessfully".into()));
    assert_eq!(case.outcome(), "java-community");
}

#[test]
fn causes_of_one_container_come_in_order() {
    let mut case = Case::of("unknown", "");
    case.options.ignored_containers = ["app"].into_iter().collect();
    case.options.trace_id_suffix = Some("xyz".into());
    case.options.injection = InjectionMode::Loader;
    case.options.signals = inputs::SignalMode::AsNeeded;
    case.config.status.as_mut().unwrap().rollback_occurred = Some(true);
    case.found(0).other_agents = vec![OtherAgent { name: "Datadog".into() }];
    case.found(0).cri_error_message = Some("timed out".into());
    case.rules = vec![rule("off", traces_off())];
    type Mend = fn(&mut Case);
    let reasons: [(&str, Mend); 10] = [
        ("IgnoredContainer", |case| case.options.ignored_containers = NamePatterns::default()),
        ("UnsupportedProgrammingLanguage", |case| {
            *case.found(0) = RuntimeDetails { language: "rust".into(), ..case.found(0).clone() }
        }),
        ("NoAvailableAgent", |case| {
            *case.found(0) =
                RuntimeDetails { language: "java".into(), runtime_version: "6".into(), ..case.found(0).clone() }
        }),
        ("UnsupportedRuntimeVersion", |case| case.found(0).runtime_version = "17".into()),
        ("NoCollectedSignals", |case| case.rules.clear()),
        ("InjectionConflict", |case| case.options.trace_id_suffix = Some("a7".into())),
        ("InjectionConflict", |case| case.options.injection = InjectionMode::LoaderOrManifest),
        ("MissingDistroParameter", |case| case.found(0).cri_error_message = None),
        ("CrashLoopBackOff", |case| case.config.status.as_mut().unwrap().rollback_occurred = None),
        ("OtherAgentDetected", |case| case.options.allow_concurrent_agents = true),
    ];
    for (reason, mend) in reasons {
        assert_eq!(case.outcome(), reason);
        let (status, word) = case.condition();
        assert_eq!((status, word.as_str()), (Status::False, reason));
        mend(&mut case);
    }
    assert_eq!(case.outcome(), "java-community");
}

#[test]
fn the_worst_reason_of_all_containers_is_the_workloads() {
    let mut case = Case::new(&[
        details("proxy", "cplusplus", ""),
        details("app", "javascript", "8.17.0"),
        details("db", "unknown", ""),
    ]);
    assert_eq!(case.condition(), (Status::False, "NoAvailableAgent".into()));
    assert!(case.decide().conditions[0].message.starts_with("proxy: This release has no agent for cplusplus"));
    // One enabled container is enough.
    case.options.ignored_containers = ["prox*"].into_iter().collect();
    case.found(1).runtime_version = "20.1.0".into();
    let spec = case.spec();
    let words: Vec<&str> = spec.containers.iter().map(|one| one.agent_enabled_reason.as_str()).collect();
    assert_eq!(words, ["IgnoredContainer", "", "UnsupportedProgrammingLanguage"]);
    assert_eq!(case.condition(), (Status::True, "EnabledSuccessfully".into()));
    // A container of the template that was never looked at.
    case.config
        .spec
        .containers_overrides
        .push(ContainerOverride { container_name: "new".into(), ..Default::default() });
    assert_eq!(case.spec().containers[3].agent_enabled_reason, "RuntimeDetailsUnavailable");
    for pair in Reason::ALL.windows(2) {
        assert!(pair[0].priority() <= pair[1].priority());
        assert_eq!(Reason::parse(pair[0].as_str()), Some(pair[0]));
    }
}

#[test]
fn distributions_that_a_source_or_a_rule_asks_for() {
    let with = |language: &str, version: &str, name: &str| {
        let mut case = Case::of(language, version);
        case.config.spec.containers_overrides[0].otel_distro_name = Some(name.into());
        case
    };
    assert_eq!(with("cplusplus", "", "java-community").outcome(), "UnsupportedProgrammingLanguage");
    assert_eq!(with("java", "17", "python-community").outcome(), "UnsupportedProgrammingLanguage");
    assert_eq!(with("java", "17", "java-enterprise").outcome(), "NoAvailableAgent");
    assert_eq!(with("java", "6", "java-community").outcome(), "UnsupportedRuntimeVersion");
    assert_eq!(with("javascript", "20.9.0", "nodejs-community-14").outcome(), "nodejs-community-14");

    let ruled = |rules: Vec<InstrumentationRule>| {
        let mut case = Case::of("python", "3.11.1");
        case.rules = rules;
        case.outcome()
    };
    assert_eq!(
        ruled(vec![rule("a", distros(&["python-community3.8", "nope", "java-community"]))]),
        "python-community3.8"
    );
    let (later, earlier) = (rule("b", distros(&["python-community"])), rule("a", distros(&["python-community3.8"])));
    assert_eq!(ruled(vec![later, earlier]), "python-community", "the last one by name counts");
    // The Source wins over rules.
    let mut case = with("python", "3.11.1", "python-community");
    case.rules = vec![rule("a", distros(&["python-community3.8"]))];
    assert_eq!(case.outcome(), "python-community");
}

#[test]
fn rules_switch_traces_off_where_they_apply() {
    let other = SourceReference { namespace: "shop".into(), kind: "Deployment".into(), name: "other".into() };
    let scope = |scopes: SourcesScopes| InstrumentationRuleSpec { scopes: Some(scopes), ..traces_off() };
    let library = InstrumentationLibrary { name: "http".into(), language: "java".into(), span_kind: None };
    let off = "NoCollectedSignals";
    let on = "java-community";
    for (spec, expected) in [
        (traces_off(), off),
        (InstrumentationRuleSpec { disabled: Some(true), ..traces_off() }, on),
        (InstrumentationRuleSpec { instrumentation_libraries: Some(vec![library]), ..traces_off() }, on),
        (
            scope(SourcesScopes {
                namespaces: vec!["shop".into()],
                languages: vec!["java".into()],
                ..Default::default()
            }),
            off,
        ),
        (
            scope(SourcesScopes {
                namespaces: vec!["shop".into()],
                languages: vec!["go".into()],
                ..Default::default()
            }),
            on,
        ),
        (scope(SourcesScopes { sources: vec![other.clone()], ..Default::default() }), on),
        (InstrumentationRuleSpec { workloads: Some(vec![other]), ..traces_off() }, on),
        (InstrumentationRuleSpec { data_streams: Some(vec!["default".into()]), ..traces_off() }, off),
        (InstrumentationRuleSpec { data_streams: Some(vec!["b".into()]), ..traces_off() }, on),
    ] {
        let mut case = Case::of("java", "17");
        case.rules = vec![rule("off", spec)];
        case.options.signals = inputs::SignalMode::AsNeeded;
        assert_eq!(case.outcome(), expected, "{:?}", case.rules);
    }
    // Metrics are still taken.
    let mut case = Case::of("java", "17");
    case.rules = vec![rule("off", traces_off())];
    case.signals = Some(vec![Signal::Traces, Signal::Metrics]);
    let one = case.spec().containers.remove(0);
    assert!(one.agent_enabled && one.traces.is_none() && one.metrics.is_some());
    // An agent that sends only traces has nothing to send where only logs are taken, if it follows destinations.
    let mut case = Case::of("go", "1.22");
    case.signals = Some(vec![Signal::Logs]);
    assert_eq!(case.outcome(), "golang-community");
    case.options.signals = inputs::SignalMode::AsNeeded;
    assert_eq!(case.outcome(), off);
}

#[test]
fn blocks_of_a_rule_that_an_agent_can_express() {
    let rule: InstrumentationRuleSpec = serde_json::from_value(serde_json::json!({
        "headersCollection": {"headerKeys": ["x-id"]},
        "codeAttributes": {"function": true},
        "traceVerbosity": {"disabledLibraries": [{"language": "python", "libraryName": "flask"}]},
        "customInstrumentations": {"java": [{"className": "A", "methodName": "b"}]},
    }))
    .unwrap();
    let of = |name: &str| {
        let distribution = odigos_catalog::distribution::find(name).unwrap();
        let short = |how: &Expressed| match how {
            Expressed::Whole => "whole",
            Expressed::Except(_) => "except",
            Expressed::Nothing(_) => "nothing",
        };
        expressed(&rule, distribution, &distribution.language)
            .iter()
            .map(|(kind, how)| format!("{kind:?} {}", short(how)))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of("java-community"),
        ["HeadersCollection whole", "CodeAttributes nothing", "CustomInstrumentations whole"]
    );
    assert_eq!(of("python-community"), ["HeadersCollection whole", "CodeAttributes nothing", "TraceVerbosity whole"]);
    assert_eq!(of("golang-community"), ["HeadersCollection nothing", "CodeAttributes nothing"]);
}

#[test]
fn agents_of_other_vendors() {
    let mut case = Case::of("javascript", "20.1.0");
    case.found(0).other_agents = vec![OtherAgent { name: "New Relic".into() }, OtherAgent { name: "AWS".into() }];
    assert_eq!(case.outcome(), "OtherAgentDetected");
    assert!(case.spec().containers[0].agent_enabled_message.starts_with("New Relic, AWS runs in it"));
    case.config.spec.containers_overrides[0].allow_concurrent_agents = Some(true);
    let one = case.spec().containers.remove(0);
    assert_eq!((one.agent_enabled, one.agent_enabled_reason.as_str()), (true, "EnabledWithOtherAgents"));
    // The container's word wins over the cluster's.
    case.options.allow_concurrent_agents = true;
    case.config.spec.containers_overrides[0].allow_concurrent_agents = Some(false);
    assert_eq!(case.outcome(), "OtherAgentDetected");
}

#[test]
fn methods_of_injection() {
    let preload = |value: &str| vec![EnvVar { name: "LD_PRELOAD".into(), value: value.into() }];
    let loader = "Loader";
    let manifest = "PodManifest";
    let conflict = "InjectionConflict";
    // Secure mode, LD_PRELOAD → what each mode says: loader, with fallback, manifest.
    for (secure, preloaded, expected) in [
        (Some(false), None, [loader, loader, manifest]),
        (Some(false), Some("/var/odigos/loader/loader.so"), [loader, loader, manifest]),
        (Some(true), None, [conflict, manifest, manifest]),
        (None, None, [conflict, manifest, manifest]),
        (Some(false), Some("/lib/jemalloc.so"), [conflict, manifest, manifest]),
        (Some(false), Some(""), [conflict, manifest, manifest]),
    ] {
        let modes = ["loader", "anything else", "pod-manifest"];
        for (mode, expected) in modes.into_iter().zip(expected) {
            let mut case = Case::of("python", "3.11.1");
            case.options.has_loader = true;
            case.options.injection = InjectionMode::parse(mode);
            case.found(0).secure_execution_mode = secure;
            case.found(0).env_vars = preloaded.map(preload).unwrap_or_default();
            let one = case.spec().containers.remove(0);
            let said =
                one.env_injection_method.map_or(one.agent_enabled_reason.clone(), |method| format!("{method:?}"));
            assert_eq!(said, expected, "{secure:?} {preloaded:?} {mode}");
        }
    }
    // Nothing is appended for Go; without a loader the manifest it is.
    assert_eq!(Case::of("go", "1.22").spec().containers[0].env_injection_method, None);
    let method = Case::of("java", "17").spec().containers[0].env_injection_method;
    assert_eq!(method, Some(EnvInjectionMethod::PodManifest));
}

#[test]
fn a_variable_that_only_one_can_have() {
    let profiler = |value: &str| {
        let mut case = Case::of("dotnet", "8.0.1");
        case.found(0).env_vars = vec![EnvVar { name: "CORECLR_PROFILER".into(), value: value.into() }];
        case.outcome()
    };
    assert_eq!(profiler("{36032161-FFC0-4B61-B559-F6C5D41BAE5A}"), "InjectionConflict");
    assert_eq!(profiler("{918728dd-259f-4a6a-ac2b-b85e1b658318}"), "dotnet-community");
    // It is said before what is merely not known.
    let mut case = Case::of("dotnet", "8.0.1");
    case.found(0).libc_type = None;
    case.found(0).env_from_container_runtime = vec![EnvVar { name: "CORECLR_PROFILER".into(), value: "{x}".into() }];
    assert_eq!(case.outcome(), "InjectionConflict");
}

#[test]
fn files_that_nobody_brings() {
    let mut case = Case::of("ruby", "3.3.1");
    case.options.agent_images.clear();
    assert_eq!(case.outcome(), "NoAvailableAgent");
    assert!(case.spec().containers[0].agent_enabled_message.contains("agentImages.ruby-community"));
    let stated = crate::configuration::effective(
        "agentImages: {ruby-community: 'registry/ruby:1', php-community: ''}\nallowConcurrentAgents: true\n",
        None,
        None,
        "odigos-system",
    );
    let options = Options::of(&stated.result.unwrap());
    assert_eq!(options.agent_images.keys().collect::<Vec<_>>(), ["ruby-community"]);
    assert!(options.allow_concurrent_agents && options.ignored_containers.matches("istio-proxy"));
    case.options = options;
    assert_eq!(case.outcome(), "ruby-community");
}

#[test]
fn what_runs_is_not_taken_out_for_a_moment() {
    let mut case = Case::of("java", "17");
    case.apply();
    for signals in [None, Some(Vec::new())] {
        case.signals = signals;
        let decision = case.decide();
        assert_eq!(decision.spec, None);
        assert_eq!(case.condition(), (Status::True, "EnabledSuccessfully".into()));
        assert!(decision.conditions[0].message.ends_with("stay: app."), "{decision:?}");
    }
}

#[test]
fn a_rollback_keeps_what_was_chosen_and_its_cause() {
    for cause in ["CrashLoopBackOff", "ImagePullBackOff"] {
        let mut case = Case::of("ruby", "3.3.1");
        case.apply();
        case.config.status.as_mut().unwrap().rollback_occurred = Some(true);
        case.config.spec.containers[0].agent_enabled = false;
        case.config.spec.containers[0].agent_enabled_reason = cause.into();
        let spec = case.spec();
        assert_eq!((spec.agent_injection_enabled, spec.agents_meta_hash.as_str()), (false, ""));
        let one = &spec.containers[0];
        assert_eq!((one.agent_enabled_reason.as_str(), one.otel_distro_name.as_str()), (cause, "ruby-community"));
        assert!(one.distro_params.contains_key("RUNTIME_VERSION_MAJOR_MINOR"));
        assert_eq!(case.condition(), (Status::False, cause.into()));
    }
}

#[test]
fn a_rollback_says_what_failed_and_waits_for_nobody() {
    let mut case = Case::new(&[details("app", "ruby", "3.3.1"), details("proxy", "cplusplus", "")]);
    case.apply();
    let rollback = odigos_api::rollout::Rollback {
        reason: "ImagePullBackOff".into(),
        message: "container odigos-agents of pod web-1: ErrImagePull, no such host.".into(),
        ..Default::default()
    };
    let status = case.config.status.as_mut().unwrap();
    (status.rollback_occurred, status.rollback) = (Some(true), Some(rollback));
    type Change = fn(&mut Case);
    let worlds: [(&str, Change); 4] = [
        ("as usual", |_| {}),
        ("the collectors are not ready", |case| case.signals = None),
        ("nobody takes anything", |case| case.signals = Some(Vec::new())),
        ("pods without agents fail now", |case| {
            case.backoff = Some(Backoff { pod: "p".into(), container: "c".into(), reason: "CrashLoopBackOff".into() });
        }),
    ];
    for (what, change) in worlds {
        change(&mut case);
        let spec = case.spec();
        assert!(!spec.agent_injection_enabled && spec.agents_meta_hash.is_empty(), "{what}");
        assert_eq!(spec.containers[0].agent_enabled_reason, "ImagePullBackOff", "{what}");
        assert_eq!(spec.containers[0].otel_distro_name, "ruby-community", "{what}");
        assert_eq!(spec.containers[1].agent_enabled_reason, "NoAvailableAgent", "{what}");
        let message = &case.decide().conditions[0].message;
        assert!(message.contains("(container odigos-agents of pod web-1: ErrImagePull, no such host)"), "{message}");
    }
}

#[test]
fn crashing_jobs_do_not_block() {
    let mut case = Case::of("java", "17");
    case.backoff = Some(Backoff { pod: "p".into(), container: "c".into(), reason: "CrashLoopBackOff".into() });
    case.workload = WorkloadRef::new("shop", WorkloadKind::CronJob, "web");
    assert_eq!(case.outcome(), "java-community");
    case.config.status.as_mut().unwrap().runtime_details_by_container.clear();
    case.has_running_pods = false;
    assert_eq!(case.condition().1, "WaitingForRuntimeInspection", "the next job will tell");
}

#[test]
fn hash_follows_what_concerns_the_workload() {
    let mut case = Case::new(&[details("app", "python", "3.11.1"), details("side", "rust", "")]);
    let first = case.spec().agents_meta_hash;
    case.found(0).runtime_version = "3.12.1".into();
    assert_eq!(case.spec().agents_meta_hash, first);
    case.config.spec.containers_overrides.reverse();
    assert_eq!(case.spec().agents_meta_hash, first, "the order of containers does not matter");
    case.apply();
    type Change = fn(&mut Case);
    let changes: [(&str, Change); 3] = [
        ("another distribution", |case| case.found(0).runtime_version = "3.8.1".into()),
        ("another service name", |case| case.config.spec.service_name = "checkout".into()),
        ("traces off", |case| case.rules = vec![rule("off", traces_off())]),
    ];
    let mut known = BTreeSet::from([first]);
    for (what, change) in changes {
        change(&mut case);
        assert!(known.insert(case.spec().agents_meta_hash), "{what}");
        case.apply();
        assert!(!known.insert(case.spec().agents_meta_hash), "{what}: the same again");
    }
}

#[test]
fn change_of_destinations_changes_no_agent() {
    for (language, version, takes) in [
        ("java", "17", [Signal::Metrics].as_slice()),
        ("go", "1.22.0", &[Signal::Metrics]),
        ("php", "8.3.1", &[Signal::Logs]),
    ] {
        let mut case = Case::of(language, version);
        case.signals = Some(takes.to_vec());
        let first = case.spec();
        assert!(first.agent_injection_enabled && first.containers[0].traces.is_some(), "{language}");
        case.apply();
        for taken in [vec![Signal::Traces], vec![Signal::Metrics, Signal::Traces], vec![Signal::Logs]] {
            case.signals = Some(taken);
            assert_eq!(case.spec(), first, "{language}");
        }
    }
}

#[test]
fn signals_as_needed_count_as_an_input_and_restart_nothing() {
    let mut case = Case::of("java", "17");
    case.options.signals = inputs::SignalMode::AsNeeded;
    case.signals = Some(vec![Signal::Metrics]);
    let headers = odigos_api::agent_settings::HeadersCollection { header_keys: vec!["x-id".into()] };
    let spec = InstrumentationRuleSpec { headers_collection: Some(headers), ..Default::default() };
    case.rules = vec![rule("headers", spec)];
    let first = case.spec();
    assert!(first.containers[0].traces.is_none() && first.containers[0].metrics.is_some());
    case.apply();
    case.signals = Some(vec![Signal::Metrics, Signal::Traces]);
    let second = case.spec();
    assert!(second.containers[0].traces.is_some(), "new pods send traces");
    assert_eq!(
        second.agents_meta_hash, first.agents_meta_hash,
        "what the rule sets for traces restarts nothing either"
    );
    assert_eq!(inputs::changed(&first.cluster_inputs, &second.cluster_inputs), [inputs::SIGNALS]);
    case.options.restarts_on_input_change = true;
    assert_ne!(case.spec().agents_meta_hash, first.agents_meta_hash);
}

#[test]
fn cluster_wide_inputs_restart_only_where_that_is_asked_for() {
    let mut case = Case::of("java", "17");
    case.apply();
    let first = case.config.spec.clone();
    let variables =
        |language: &str, value: &str| [(language.to_owned(), [("ZONE".to_owned(), value.to_owned())].into())].into();
    case.options.user_variables = variables("python", "a");
    assert_eq!(case.spec().cluster_inputs, first.cluster_inputs, "another language");
    case.options.user_variables = variables("java", "a");
    let changed = case.spec();
    assert_eq!(changed.agents_meta_hash, first.agents_meta_hash);
    assert_eq!(inputs::changed(&first.cluster_inputs, &changed.cluster_inputs), ["userInstrumentationEnvs"]);
    assert!(!inputs::annotation(&changed.cluster_inputs).contains("ZONE"), "no value and no name is recorded");

    case.options.restarts_on_input_change = true;
    assert_ne!(case.spec().agents_meta_hash, first.agents_meta_hash);
    case.apply();
    let second = case.config.spec.agents_meta_hash.clone();
    assert_eq!(case.spec().agents_meta_hash, second, "once");
    // Switched on while pods run with older inputs: they are restarted once as well.
    let since = "2026-01-31T12:00:00Z".parse().ok().map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
    let outdated = odigos_api::rollout::OutdatedInput { input: "userInstrumentationEnvs".into(), pods: 2, since };
    case.config.status.as_mut().unwrap().outdated_inputs = vec![outdated];
    case.apply();
    let third = case.config.spec.agents_meta_hash.clone();
    assert_ne!(third, second);
    assert_eq!(case.spec().agents_meta_hash, third, "until they are replaced");
    case.config.status.as_mut().unwrap().outdated_inputs.clear();
    assert_eq!(case.spec().agents_meta_hash, third);
}

#[test]
fn image_of_agents_is_an_input_that_restarts_nothing() {
    let mut case = Case::of("java", "17");
    case.options.agents_image = "registry/agents:1".into();
    case.apply();
    let first = case.config.spec.clone();
    case.options.agents_image = "registry/agents:2".into();
    case.options.restarts_on_input_change = true;
    let changed = case.spec();
    assert_eq!(inputs::changed(&first.cluster_inputs, &changed.cluster_inputs), [inputs::AGENTS_IMAGE]);
    assert_eq!(changed.agents_meta_hash, first.agents_meta_hash);
    // Pods of an earlier release record none, and count as current.
    let mut earlier = first.cluster_inputs.clone();
    earlier.remove(inputs::AGENTS_IMAGE);
    assert_eq!(inputs::changed(&earlier, &changed.cluster_inputs), [""; 0]);
    // Reported pods with older images restart nothing either, beside those that do.
    let since = "2026-01-31T12:00:00Z".parse().ok().map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
    let outdated = odigos_api::rollout::OutdatedInput { input: inputs::AGENTS_IMAGE.into(), pods: 2, since };
    case.config.status.as_mut().unwrap().outdated_inputs = vec![outdated];
    case.apply();
    assert_eq!(case.spec().agents_meta_hash, first.agents_meta_hash);
    assert!(!inputs::annotation(&first.cluster_inputs).contains("registry"), "only a digest is recorded");
}

#[test]
fn inputs_name_what_their_agents_read() {
    let mut case = Case::of("ruby", "3.3.1");
    case.apply();
    let first = case.config.spec.clone();
    case.options.agent_images.insert("ruby-community".into(), "registry/ruby:2".into());
    case.options.agent_images.insert("php-community".into(), "registry/php:2".into());
    assert_eq!(inputs::changed(&first.cluster_inputs, &case.spec().cluster_inputs), ["agentImages"]);
    let mut java = Case::of("java", "17");
    java.apply();
    let first = java.config.spec.clone();
    java.options.injection = InjectionMode::Manifest;
    java.options.agent_images.clear();
    assert_eq!(inputs::changed(&first.cluster_inputs, &java.spec().cluster_inputs), ["agentEnvVarsInjectionMethod"]);
}

/// What the first version of the hash was over, as an object of an older release records it.
fn decided_by_version_1(case: &mut Case, silenced: &[&str]) -> String {
    case.apply();
    let spec = &mut case.config.spec;
    spec.workload_inputs_hash.clear();
    spec.cluster_inputs.clear();
    let silenced = silenced.iter().map(|name| (*name).to_owned()).collect();
    spec.agents_meta_hash = hash::version_1_of(&spec.containers, &silenced);
    spec.agents_meta_hash.clone()
}

#[test]
fn upgrade_restarts_nothing() {
    let headers = odigos_api::agent_settings::HeadersCollection { header_keys: vec!["x-id".into()] };
    let headers = InstrumentationRuleSpec { headers_collection: Some(headers), ..Default::default() };
    for (rules, silenced) in [
        (vec![], [].as_slice()),
        (vec![rule("headers", headers.clone())], &[]),
        (vec![rule("off", traces_off())], &["app"]),
    ] {
        for taken in [vec![Signal::Metrics], vec![Signal::Metrics, Signal::Traces]] {
            let mut case = Case::new(&[details("app", "java", "17"), details("side", "rust", "")]);
            case.rules = rules.clone();
            case.signals = Some(taken);
            // The older release sent only what destinations took.
            case.options.signals = inputs::SignalMode::AsNeeded;
            let older = decided_by_version_1(&mut case, silenced);
            case.options.signals = inputs::SignalMode::All;
            case.options.restarts_on_input_change = true;
            case.options.user_variables = [("java".to_owned(), [("A".to_owned(), "b".to_owned())].into())].into();
            assert_eq!(case.spec().agents_meta_hash, older, "{silenced:?} {:?}", case.signals);
            // From then on it is compared by the present version, and what concerns the workload restarts it.
            case.apply();
            assert!(!case.config.spec.workload_inputs_hash.is_empty());
            assert_eq!(case.spec().agents_meta_hash, older);
            case.config.spec.service_name = "checkout".into();
            assert_ne!(case.spec().agents_meta_hash, older);
        }
    }
    // A rule that came with the upgrade is a change.
    let mut case = Case::of("java", "17");
    case.signals = Some(vec![Signal::Metrics, Signal::Traces]);
    let older = decided_by_version_1(&mut case, &[]);
    case.rules = vec![rule("off", traces_off())];
    assert_ne!(case.spec().agents_meta_hash, older);
}

#[test]
fn hash_of_another_implementation_stays_while_nothing_it_stands_for_changes() {
    let mut case = Case::of("python", "3.8.1");
    let _ = decided_by_version_1(&mut case, &[]);
    case.config.spec.agents_meta_hash = "feedfeedfeedfeed".into();
    assert_eq!(case.spec().agents_meta_hash, "feedfeedfeedfeed");
    case.found(0).runtime_version = "3.11.1".into();
    assert_ne!(case.spec().agents_meta_hash, "feedfeedfeedfeed");
}

#[test]
fn what_works_from_the_node_needs_an_agent_there() {
    let mut case = Case::of("go", "1.22.0");
    assert_eq!(case.outcome(), "golang-community");
    case.options.lacks_node_agents = true;
    assert_eq!(case.outcome(), "NoAvailableAgent");
    let message = case.spec().containers[0].agent_enabled_message.clone();
    assert!(message.contains("nodes have no agent"), "{message}");
    let mut java = Case::of("java", "17.0.12+7");
    java.options.lacks_node_agents = true;
    assert_eq!(java.outcome(), "java-community", "files come by init containers");
}

/// The distribution was offered by an earlier release, attached nothing, and left only a label in pods.
#[test]
fn distribution_that_was_withdrawn_is_missing_and_restarts_nothing() {
    let mut case = Case::of("cplusplus", "");
    let withdrawn = "opentelemetry-ebpf-instrumentation";
    case.config.spec.containers_overrides[0].otel_distro_name = Some(withdrawn.into());
    let spec = &mut case.config.spec;
    (spec.agent_injection_enabled, spec.pod_manifest_injection_optional) = (true, Some(true));
    spec.agents_meta_hash = "aaaaaaaaaaaaaaaa".into();
    assert_eq!(case.outcome(), "NoAvailableAgent");
    let decided = case.spec();
    assert_eq!((decided.agents_meta_hash.as_str(), decided.pod_manifest_injection_optional), ("", Some(true)));
    case.config.spec.containers_overrides[0].otel_distro_name = None;
    let message = &case.spec().containers[0].agent_enabled_message;
    assert!(
        message.starts_with("This release has no agent for cplusplus.") && !message.contains(withdrawn),
        "{message}"
    );
}

/// The Secret for images of agents is named, and the namespace has none.
#[test]
fn missing_pull_secret_enables_nothing_and_takes_nothing_out() {
    let lacking =
        |has_files_from_node| LackingPullSecret { name: "registry".into(), is_absent: true, has_files_from_node };
    let mut case = Case::of("java", "17");
    case.pull_secret = Some(lacking(false));
    assert_eq!(case.outcome(), "MissingPullSecret");
    assert!(!case.spec().agent_injection_enabled);
    let message = &case.decide().conditions[0].message;
    assert!(message.contains("Secret registry") && message.contains("namespace shop"), "{message}");
    // Files from the node take no image; those that users bring always do.
    case.pull_secret = Some(lacking(true));
    assert_eq!(case.outcome(), "java-community");
    let mut ruby = Case::of("ruby", "3.1");
    ruby.pull_secret = Some(lacking(true));
    assert_eq!(ruby.outcome(), "MissingPullSecret");
    let mut go = Case::of("go", "1.22");
    go.pull_secret = Some(lacking(false));
    assert_eq!(go.outcome(), "golang-community");
    // Agents that run stay, and the workload is not restarted while it is so.
    let mut running = Case::of("java", "17");
    let spec = running.spec();
    running.config.spec.agent_injection_enabled = true;
    running.config.spec.containers = spec.containers;
    running.pull_secret = Some(lacking(false));
    let decision = running.decide();
    assert_eq!(decision.spec, None);
    let said: Vec<_> = decision.conditions.iter().map(|one| (one.kind, one.reason.as_str())).collect();
    assert_eq!(said, [(AGENT_ENABLED, "MissingPullSecret"), (WORKLOAD_ROLLOUT, "MissingPullSecret")]);
}
