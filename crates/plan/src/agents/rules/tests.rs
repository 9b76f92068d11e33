//! Rules against `spec/actions-and-rules.md` 4: what each sets for each language, how they merge, what their status says.
//! Numbers are those of its scenarios.

use super::*;
use crate::agents::{self, AgentSpec, NodeCollector, Options};
use odigos_api::Signal;
use odigos_api::condition::{ConditionDraft, Status, merged};
use odigos_api::instrumentation_config::{
    InstrumentationConfig, InstrumentationConfigSpec, InstrumentationConfigStatus, RuntimeDetails,
};
use odigos_api::source::ContainerOverride;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Deployments of the namespace `shop`, each with one container `app`, whose agents send traces and metrics.
struct Plane {
    rules: Vec<InstrumentationRule>,
    workloads: Vec<InstrumentationConfig>,
    signals: Vec<Signal>,
    outdated: bool,
    stated: BTreeMap<String, BTreeSet<String>>,
    measures_network: bool,
}

fn version(language: &str) -> &'static str {
    match language {
        "javascript" => "20.17.0",
        "python" => "3.12.1",
        "dotnet" => "8.0.1",
        "php" => "8.3.1",
        "ruby" => "3.3.1",
        "go" => "1.22.1",
        _ => "17.0.12",
    }
}

impl Plane {
    fn new(languages: &[&str]) -> Self {
        let config = |(index, language): (usize, &&str)| {
            let spec = InstrumentationConfigSpec {
                containers_overrides: vec![ContainerOverride { container_name: "app".into(), ..Default::default() }],
                ..Default::default()
            };
            let mut config = InstrumentationConfig::new(&format!("deployment-{language}-{index}"), spec);
            config.metadata.namespace = Some("shop".into());
            let details = RuntimeDetails {
                container_name: "app".into(),
                language: (*language).into(),
                runtime_version: version(language).into(),
                libc_type: Some("glibc".into()),
                ..RuntimeDetails::default()
            };
            config.status = Some(InstrumentationConfigStatus {
                runtime_details_by_container: vec![details],
                ..InstrumentationConfigStatus::default()
            });
            config
        };
        Self {
            rules: Vec::new(),
            workloads: languages.iter().enumerate().map(config).collect(),
            signals: vec![Signal::Traces, Signal::Metrics],
            outdated: false,
            stated: BTreeMap::new(),
            measures_network: false,
        }
    }

    fn rule(mut self, name: &str, spec: Value) -> Self {
        let mut rule = InstrumentationRule::new(name, serde_json::from_value(spec).unwrap());
        rule.metadata.namespace = Some("odigos-system".into());
        self.rules.push(rule);
        self.decide();
        self
    }

    fn change(&mut self, index: usize, spec: Value) {
        self.rules[index].spec = serde_json::from_value(spec).unwrap();
    }

    fn decided(&self, config: &InstrumentationConfig) -> AgentSpec {
        let rules: Vec<&InstrumentationRule> = self.rules.iter().collect();
        let name = config.metadata.name.clone().unwrap();
        let workload = WorkloadRef::from_config_name("shop", &name).unwrap();
        let none = BTreeMap::new();
        let streams =
            crate::streams::membership(config.metadata.labels.as_ref().unwrap_or(&none), "shop", &BTreeSet::new());
        let images =
            ["dotnet-community", "php-community", "ruby-community", "nodejs-community-14", "python-community3.8"];
        let images = images.map(|name| (name.to_owned(), format!("registry/{name}:1")));
        let options = Options { agent_images: images.into(), ..Options::default() };
        let decision = agents::decide(&agents::Seen {
            workload: &workload,
            has_running_pods: true,
            config,
            data_streams: &streams,
            backoff_without_agent: None,
            pull_secret: None,
            node_collector: NodeCollector::Ready(&self.signals),
            rules: &rules,
            options: &options,
        });
        decision.spec.unwrap()
    }

    /// Stores the decisions, as the instrumentor does.
    fn decide(&mut self) {
        let decided: Vec<AgentSpec> = self.workloads.iter().map(|config| self.decided(config)).collect();
        for (config, decided) in self.workloads.iter_mut().zip(decided) {
            config.spec.agent_injection_enabled = decided.agent_injection_enabled;
            config.spec.containers = decided.containers;
            config.spec.agents_meta_hash = decided.agents_meta_hash;
            config.spec.workload_inputs_hash = decided.workload_inputs_hash;
            config.spec.cluster_inputs = decided.cluster_inputs;
        }
    }

    fn hash(&self) -> &str {
        &self.workloads[0].spec.agents_meta_hash
    }

    fn container(&self, index: usize) -> &ContainerAgentConfig {
        &self.workloads[index].spec.containers[0]
    }

    fn variables(&self, index: usize) -> BTreeMap<String, String> {
        let one = self.container(index);
        distribution::find(&one.otel_distro_name).map(|found| variables(one, found)).unwrap_or_default()
    }

    /// Variables as lines.
    fn lines(&self, index: usize) -> Vec<String> {
        self.variables(index).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn conditions(&self) -> Vec<Vec<ConditionDraft>> {
        let covered = self.workloads.iter().map(|config| Covered {
            workload: WorkloadRef::from_config_name("shop", config.metadata.name.as_deref().unwrap()).unwrap(),
            config,
            is_outdated: self.outdated,
            stated: self.stated.clone(),
        });
        let rules: Vec<&InstrumentationRule> = self.rules.iter().collect();
        report(&rules, &covered.collect::<Vec<_>>(), self.measures_network)
    }

    /// Stores the conditions, as the instrumentor does.
    fn store(&mut self) {
        let conditions = self.conditions();
        for (rule, drafts) in self.rules.iter_mut().zip(conditions) {
            rule.status.get_or_insert_default().conditions = merged(&[], &drafts, None, jiff::Timestamp::UNIX_EPOCH);
        }
    }

    /// The condition `Applied` of a rule: status, reason, message.
    fn applied(&self, index: usize) -> (Status, String, String) {
        let found = self.conditions()[index][1].clone();
        assert_eq!(found.kind, "Applied");
        (found.status, found.reason, found.message)
    }

    fn reason(&self) -> String {
        self.applied(0).1
    }
}

fn headers(keys: &[&str]) -> Value {
    json!({"headersCollection": {"headerKeys": keys}})
}

fn library(language: &str, name: &str) -> Value {
    json!({"language": language, "libraryName": name})
}

#[test]
fn what_each_rule_sets_for_each_language() {
    let levels = |level: &str| json!({"agentDiagnostics": {"openTelemetryComponentsLogLevel": level}});
    let policy = |word: &str| json!({"payloadCollection": {"dbQuery": {"sanitizationPolicy": word}}});
    let off = |language: &str, name: &str| json!({"traceVerbosity": {"disabledLibraries": [library(language, name)]}});
    let on = |language: &str, name: &str| json!({"traceVerbosity": {"enabledLibraries": [library(language, name)]}});
    let request = "OTEL_INSTRUMENTATION_HTTP_CLIENT_CAPTURE_REQUEST_HEADERS=x-a";
    let response = "OTEL_INSTRUMENTATION_HTTP_CLIENT_CAPTURE_RESPONSE_HEADERS=x-a";
    let table: Vec<(&str, Value, Vec<&str>)> = vec![
        (
            "java",
            headers(&["X-A"]),
            vec![
                request,
                response,
                "OTEL_INSTRUMENTATION_HTTP_SERVER_CAPTURE_REQUEST_HEADERS=x-a",
                "OTEL_INSTRUMENTATION_HTTP_SERVER_CAPTURE_RESPONSE_HEADERS=x-a",
            ],
        ),
        (
            "python",
            headers(&["x.a"]),
            vec![
                "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST=x\\.a",
                "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE=x\\.a",
                "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST=x\\.a",
                "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE=x\\.a",
            ],
        ),
        (
            "python",
            headers(&["*", "x-a"]),
            vec![
                "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST=.*",
                "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE=.*",
                "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST=.*",
                "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE=.*",
            ],
        ),
        (
            "php",
            headers(&["x-a"]),
            vec![
                request,
                response,
                "OTEL_PHP_INSTRUMENTATION_HTTP_REQUEST_HEADERS=x-a",
                "OTEL_PHP_INSTRUMENTATION_HTTP_RESPONSE_HEADERS=x-a",
            ],
        ),
        (
            "dotnet",
            headers(&["x-a"]),
            vec![
                "OTEL_DOTNET_AUTO_TRACES_ASPNETCORE_INSTRUMENTATION_CAPTURE_REQUEST_HEADERS=x-a",
                "OTEL_DOTNET_AUTO_TRACES_ASPNETCORE_INSTRUMENTATION_CAPTURE_RESPONSE_HEADERS=x-a",
                "OTEL_DOTNET_AUTO_TRACES_ASPNET_INSTRUMENTATION_CAPTURE_REQUEST_HEADERS=x-a",
                "OTEL_DOTNET_AUTO_TRACES_ASPNET_INSTRUMENTATION_CAPTURE_RESPONSE_HEADERS=x-a",
                "OTEL_DOTNET_AUTO_TRACES_GRPCNETCLIENT_INSTRUMENTATION_CAPTURE_REQUEST_METADATA=x-a",
                "OTEL_DOTNET_AUTO_TRACES_GRPCNETCLIENT_INSTRUMENTATION_CAPTURE_RESPONSE_METADATA=x-a",
                "OTEL_DOTNET_AUTO_TRACES_HTTP_INSTRUMENTATION_CAPTURE_REQUEST_HEADERS=x-a",
                "OTEL_DOTNET_AUTO_TRACES_HTTP_INSTRUMENTATION_CAPTURE_RESPONSE_HEADERS=x-a",
            ],
        ),
        ("javascript", headers(&["x-a"]), vec![]),
        ("ruby", headers(&["x-a"]), vec![]),
        ("go", headers(&["x-a"]), vec![]),
        ("java", policy("full"), vec!["OTEL_INSTRUMENTATION_COMMON_DB_STATEMENT_SANITIZER_ENABLED=false"]),
        ("java", policy("sanitized"), vec!["OTEL_INSTRUMENTATION_COMMON_DB_STATEMENT_SANITIZER_ENABLED=true"]),
        (
            "dotnet",
            policy("full"),
            vec![
                "OTEL_DOTNET_AUTO_ENTITYFRAMEWORKCORE_SET_DBSTATEMENT_FOR_TEXT=true",
                "OTEL_DOTNET_AUTO_ORACLEMDA_SET_DBSTATEMENT_FOR_TEXT=true",
                "OTEL_DOTNET_AUTO_SQLCLIENT_SET_DBSTATEMENT_FOR_TEXT=true",
            ],
        ),
        ("python", policy("full"), vec![]),
        (
            "java",
            off("java", "io.opentelemetry.spring-webmvc"),
            vec!["OTEL_INSTRUMENTATION_SPRING_WEBMVC_ENABLED=false"],
        ),
        ("java", on("java", "jdbc-datasource"), vec!["OTEL_INSTRUMENTATION_JDBC_DATASOURCE_ENABLED=true"]),
        (
            "javascript",
            off("javascript", "@opentelemetry/instrumentation-fs"),
            vec!["OTEL_NODE_DISABLED_INSTRUMENTATIONS=fs"],
        ),
        ("python", off("python", "flask"), vec!["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=flask"]),
        ("python", on("python", "flask"), vec![]),
        ("php", off("php", "io.opentelemetry.contrib.php.slim"), vec!["OTEL_PHP_DISABLED_INSTRUMENTATIONS=slim"]),
        (
            "dotnet",
            off("dotnet", "AspNetCore"),
            vec!["OTEL_DOTNET_AUTO_TRACES_ASPNETCORE_INSTRUMENTATION_ENABLED=false"],
        ),
        (
            "ruby",
            off("ruby", "OpenTelemetry::Instrumentation::Net::HTTP"),
            vec!["OTEL_RUBY_INSTRUMENTATION_NET_HTTP_ENABLED=false"],
        ),
        ("ruby", on("ruby", "Rack"), vec!["OTEL_RUBY_INSTRUMENTATION_RACK_ENABLED=true"]),
        ("java", off("python", "flask"), vec![]),
        ("java", levels("debug"), vec!["OTEL_JAVAAGENT_DEBUG=true"]),
        ("java", levels("error"), vec!["OTEL_JAVAAGENT_LOGGING=none"]),
        ("java", levels("info"), vec![]),
        ("java", levels("warn"), vec![]),
        ("javascript", levels("warn"), vec!["OTEL_LOG_LEVEL=warn"]),
        ("dotnet", levels("error"), vec!["OTEL_LOG_LEVEL=error"]),
        ("php", levels("warn"), vec!["OTEL_LOG_LEVEL=warning"]),
        ("ruby", levels("info"), vec!["OTEL_LOG_LEVEL=info"]),
        ("python", levels("warn"), vec!["OTEL_PYTHON_LOG_LEVEL=warning"]),
        ("go", levels("debug"), vec![]),
        // 61.
        (
            "java",
            json!({"customInstrumentations": {"java": [
                {"className": "D", "methodName": "x"}, {"className": "C", "methodName": "m2"}, {"className": "C", "methodName": "m1"},
            ]}}),
            vec!["OTEL_INSTRUMENTATION_METHODS_INCLUDE=C[m1,m2];D[x]"],
        ),
        ("php", json!({"customInstrumentations": {"php": [{"functionName": "pay"}]}}), vec![]),
        ("java", json!({"codeAttributes": {"function": true}}), vec![]),
        ("java", json!({"ebpfLogCapture": {"enabled": true}}), vec![]),
        ("java", json!({"payloadCollection": {"httpRequest": {}, "messaging": {}}}), vec![]),
    ];
    for (language, spec, expected) in table {
        let plane = Plane::new(&[language]).rule("r", spec.clone());
        assert_eq!(plane.lines(0), expected, "{language} {spec}");
    }
    // What is on by itself stays on.
    let plane = Plane::new(&["javascript"]).rule("r", on("javascript", "fs"));
    let list = plane.variables(0)["OTEL_NODE_ENABLED_INSTRUMENTATIONS"].clone();
    let names: Vec<&str> = list.split(',').collect();
    assert!(names.contains(&"fs") && names.contains(&"http") && !names.contains(&"host-metrics"), "{list}");
}

#[test]
fn rules_that_overlap_are_one() {
    let libraries = |name: &str| json!({"traceVerbosity": {"disabledLibraries": [library("java", name)], "enabledLibraries": [library("java", "jms")]}});
    let level = |level: &str| json!({"agentDiagnostics": {"odigosLogLevel": level}});
    let policy = |word: &str| json!({"payloadCollection": {"dbQuery": {"sanitizationPolicy": word}}});
    let pairs = [
        // 55, whatever the spelling.
        (headers(&["b", "A"]), headers(&["a"]), "OTEL_INSTRUMENTATION_HTTP_SERVER_CAPTURE_REQUEST_HEADERS", "a,b"),
        // 63.
        (level("warn"), level("debug"), "OTEL_JAVAAGENT_DEBUG", "true"),
        // 66: what keeps most to itself.
        (policy("full"), policy("sanitized"), "OTEL_INSTRUMENTATION_COMMON_DB_STATEMENT_SANITIZER_ENABLED", "true"),
        // On by one rule and off by another is off.
        (libraries("jdbc"), libraries("jms"), "OTEL_INSTRUMENTATION_JMS_ENABLED", "false"),
    ];
    for (one, other, name, value) in pairs {
        for (first, second) in [(&one, &other), (&other, &one)] {
            let plane = Plane::new(&["java"]).rule("x", first.clone()).rule("y", second.clone());
            assert_eq!(plane.variables(0).get(name).map(String::as_str), Some(value), "{one} {other}");
        }
    }
    let specs = [
        json!({"maxPayloadLength": 100}),
        json!({"maxPayloadLength": 50, "dropPartialPayloads": true, "mimeTypes": ["a"]}),
    ];
    let specs = specs.map(|http| serde_json::from_value(json!({"payloadCollection": {"httpRequest": http}})).unwrap());
    let http = merge::merged(specs.iter(), "java").payload_collection.unwrap().http_request.unwrap();
    assert_eq!((http.max_payload_length, http.drop_partial_payloads, http.mime_types), (Some(50), Some(true), None));
}

#[test]
fn a_rule_is_limited_to_its_scope_and_libraries() {
    // 54.
    let scoped = json!({"scopes": {"languages": ["java"]}, "headersCollection": {"headerKeys": ["x-request-id"]}});
    let plane = Plane::new(&["java", "python"]).rule("r", scoped);
    assert_eq!((plane.lines(0).len(), plane.lines(1).len()), (4, 0));
    assert_eq!(plane.applied(0), (Status::True, "Applied".into(), "In 1 of 1 container (1 workload).".into()));
    // 68.
    let empty = json!({"instrumentationLibraries": [], "headersCollection": {"headerKeys": ["a"]}});
    let plane = Plane::new(&["java"]).rule("r", empty);
    assert_eq!((plane.lines(0).len(), plane.reason()), (0, "NoMatchingSources".into()));
    let one =
        json!({"instrumentationLibraries": [{"name": "jdbc", "language": "java"}], "traceConfig": {"disabled": true}});
    let plane = Plane::new(&["java", "python"]).rule("r", one);
    assert_eq!(plane.lines(0), ["OTEL_INSTRUMENTATION_JDBC_ENABLED=false"]);
    assert!(plane.container(0).traces.is_some() && plane.container(1).traces.is_some());
    assert_eq!(plane.applied(0).2, "In 1 of 1 container (1 workload).");
    let limited = json!({"instrumentationLibraries": [{"name": "jdbc", "language": "java"}], "headersCollection": {"headerKeys": ["a"]}});
    let plane = Plane::new(&["java"]).rule("r", limited);
    assert_eq!((plane.lines(0).len(), plane.reason()), (0, "Unsupported".into()));
}

#[test]
fn what_an_agent_cannot_do_is_said_twice() {
    // 56.
    let plane = Plane::new(&["java", "javascript"]).rule("r", headers(&["*", "x-a"]));
    assert_eq!(plane.lines(0).len(), 4);
    let (status, reason, message) = plane.applied(0);
    assert_eq!((status, reason.as_str()), (Status::True, "PartiallyApplied"));
    assert_eq!(
        message,
        "In 1 of 2 containers (2 workloads). java-community (1 container): headersCollection: not all headers by *; the agent \
         takes names only. nodejs-community (1 container): headersCollection: the agent takes no list of headers by a variable."
    );
    assert_eq!(
        plane.container(1).agent_enabled_message,
        "Its agent cannot do what rules ask for: headersCollection: the agent takes no list of headers by a variable."
    );
    assert_eq!(plane.container(1).agent_enabled_reason, "", "which is no reason against the agent");
    // 65.
    let bodies = json!({"payloadCollection": {"httpRequest": {}}});
    let all = ["java", "javascript", "python", "dotnet", "php", "ruby", "go"];
    let plane = Plane::new(&all).rule("r", bodies);
    let (status, reason, message) = plane.applied(0);
    assert_eq!((status, reason.as_str()), (Status::False, "Unsupported"));
    assert!(message.starts_with(
        "In 0 of 7 containers (7 workloads). dotnet-community (1 container): payloadCollection: httpRequest"
    ));
    assert!(message.ends_with("2 more."), "{message}");
    // 64.
    let mut plane = Plane::new(&["java"]).rule("r", json!({"networkMetrics": {}}));
    assert_eq!(plane.reason(), "WaitingForClusterConfig");
    plane.measures_network = true;
    assert_eq!(plane.reason(), "Unsupported");
    let old = json!({"headSamplingFallbackFraction": {"fractionToKeep": 0.5}});
    assert!(Plane::new(&["java"]).rule("r", old).applied(0).2.contains("create a Sampling"));
}

#[test]
fn variables_of_the_user_stay_and_are_named() {
    // 62.
    let spec = json!({"traceVerbosity": {"disabledLibraries": [library("javascript", "fs")]}});
    let mut plane = Plane::new(&["javascript"]).rule("r", spec);
    assert_eq!(plane.reason(), "Applied");
    plane.stated = [("app".to_owned(), ["OTEL_NODE_DISABLED_INSTRUMENTATIONS".to_owned()].into())].into();
    let (_, reason, message) = plane.applied(0);
    assert_eq!(reason, "PartiallyApplied");
    let said = "Deployment shop/javascript-0: sets OTEL_NODE_DISABLED_INSTRUMENTATIONS itself, which stays.";
    assert!(message.ends_with(said), "{message}");
}

#[test]
fn traces_off() {
    // 57.
    let mut plane = Plane::new(&["java"]).rule("off", json!({"traceConfig": {"disabled": true}}));
    let silent = plane.hash().to_owned();
    assert!(plane.container(0).traces.is_none() && plane.container(0).metrics.is_some());
    assert_eq!(plane.reason(), "Applied");
    // The rule goes: the hash is another one, so pods are made anew.
    plane.rules.clear();
    plane.decide();
    assert_ne!(plane.hash(), silent);
    assert!(plane.container(0).traces.is_some());
    // An agent that sends nothing else.
    let plane = Plane::new(&["php"]).rule("off", json!({"traceConfig": {"disabled": true}}));
    assert_eq!(plane.container(0).agent_enabled_reason, "NoCollectedSignals");
    assert_eq!(plane.applied(0), (Status::True, "Applied".into(), "In 1 of 1 container (1 workload).".into()));
}

#[test]
fn metrics_and_logs_are_switched_off_for_workloads_with_and_without_agents() {
    let mut plane = Plane::new(&["java", "rust"]);
    plane.decide();
    let before = plane.hash().to_owned();
    plane = plane.rule("quiet", json!({"metricsConfig": {"disabled": true}, "logsConfig": {"disabled": true}}));
    assert_eq!(plane.hash(), before, "no pod restarts for it");
    assert_eq!(plane.applied(0), (Status::True, "Applied".into(), "In 2 of 2 containers (2 workloads).".into()));
    plane.outdated = true;
    assert_eq!(plane.applied(0).1, "Applied", "older pods are concerned as well");
    plane.outdated = false;
    let off = |plane: &Plane, index: usize| {
        let config = &plane.workloads[index];
        let workload = WorkloadRef::from_config_name("shop", config.metadata.name.as_deref().unwrap()).unwrap();
        let rules: Vec<&InstrumentationRule> = plane.rules.iter().collect();
        agents::signals_off(&rules, &workload, &["default".to_owned()].into(), config)
    };
    let both = BTreeSet::from([Signal::Metrics, Signal::Logs]);
    assert_eq!((off(&plane, 0), off(&plane, 1)), (both.clone(), both));
    plane.change(0, json!({"metricsConfig": {"disabled": true}, "scopes": {"languages": ["java"]}}));
    assert_eq!((off(&plane, 0), off(&plane, 1)), ([Signal::Metrics].into(), [].into()));
    plane.change(0, json!({"metricsConfig": {"disabled": true}, "dataStreams": ["other"]}));
    assert_eq!(off(&plane, 0), [].into());
    // Libraries have no metrics of their own: such a rule makes no sense.
    let libraries = json!([{"name": "jdbc", "language": "java"}]);
    plane.change(0, json!({"metricsConfig": {"disabled": true}, "instrumentationLibraries": libraries}));
    assert_eq!(off(&plane, 0), [].into());
    assert_eq!(problems(&plane.rules[0].spec)[0].field, "spec.metricsConfig");
}

#[test]
fn the_hash_follows_what_rules_set() {
    let mut plane = Plane::new(&["java"]);
    plane.decide();
    let plain = plane.hash().to_owned();
    plane = plane.rule("r", headers(&["a"]));
    let with = plane.hash().to_owned();
    assert_ne!(with, plain);
    plane.change(0, headers(&["b"]));
    plane.decide();
    assert!(plane.hash() != with && plane.hash() != plain);
    // What no agent can do restarts nothing, and neither do destinations.
    plane.change(0, json!({"codeAttributes": {"line": true, "function": true}}));
    plane.decide();
    assert_eq!(plane.hash(), plain);
    plane.signals = vec![Signal::Traces];
    plane.decide();
    assert_eq!(plane.hash(), plain);
    // One of another implementation stays until what it stands for changes.
    plane.workloads[0].spec.agents_meta_hash = "feedfeedfeedfeed".into();
    plane.decide();
    assert_eq!(plane.hash(), "feedfeedfeedfeed");
    plane.change(0, headers(&["a"]));
    plane.decide();
    assert_eq!(plane.hash(), with);
}

#[test]
fn a_rule_waits_for_restarts_and_says_so_when_it_goes() {
    // 58.
    let mut plane = Plane::new(&["java", "java"]).rule("r", headers(&["a"]));
    plane.outdated = true;
    let (status, reason, message) = plane.applied(0);
    assert_eq!((status, reason.as_str()), (Status::Unknown, "PendingRestart"));
    assert_eq!(
        message,
        "In 2 of 2 containers (2 workloads). 2 of them run in older pods; it holds when they are replaced."
    );
    plane.outdated = false;
    plane.store();
    assert_eq!(plane.rules[0].status.as_ref().unwrap().conditions[1].reason, "Applied");
    plane.change(0, json!({"disabled": true, "headersCollection": {"headerKeys": ["a"]}}));
    // Before the decisions are made anew, and before the pods are.
    assert_eq!(plane.reason(), "PendingRestart");
    plane.store();
    plane.decide();
    plane.outdated = true;
    assert_eq!(plane.applied(0).2, "No longer in force; 2 containers run with it until their pods are replaced.");
    assert!(plane.lines(0).is_empty());
    plane.outdated = false;
    assert_eq!(plane.reason(), "Disabled");
    plane.store();
    plane.outdated = true;
    assert_eq!(plane.reason(), "Disabled", "pods that are old for another cause are not its");
}

#[test]
fn distributions() {
    // 59.
    let plane = Plane::new(&["java"]).rule("r", json!({"otelDistros": {"otelDistroNames": ["jawa"]}}));
    assert_eq!(plane.container(0).otel_distro_name, "java-community");
    let (status, reason, message) = plane.applied(0);
    assert_eq!((status, reason.as_str()), (Status::False, "Unsupported"));
    assert!(message.contains("otelDistros: there is no distribution jawa; there are dotnet-community, "), "{message}");
    let names = json!({"otelDistros": {"otelDistroNames": ["nodejs-community-14", "nodejs-community-15"]}});
    let usual = json!({"otelDistros": {"otelDistroNames": ["nodejs-community"]}});
    let mut plane = Plane::new(&["javascript"]).rule("a", names).rule("b", usual);
    assert_eq!(plane.container(0).otel_distro_name, "nodejs-community", "the last by name");
    assert!(plane.applied(0).2.contains("otelDistros: another rule asks for nodejs-community."));
    assert!(plane.applied(0).2.contains("there is no distribution nodejs-community-15"));
    assert_eq!(plane.applied(1).1, "Applied");
    plane.workloads[0].spec.containers_overrides[0].otel_distro_name = Some("nodejs-community-14".into());
    plane.decide();
    assert_eq!(plane.container(0).otel_distro_name, "nodejs-community-14", "a Source beats rules");
    assert!(plane.applied(1).2.contains("otelDistros: the Source asks for nodejs-community-14."));
}

#[test]
fn rules_that_make_no_sense_stop_no_others() {
    let header = json!({"headersCollection": {"headerKeys": ["a"]}});
    for (spec, reason, field) in [
        (
            json!({"customInstrumentations": {"java": [{"className": "C"}]}}),
            "InvalidProbe",
            "customInstrumentations.java[0]",
        ),
        (
            json!({"customInstrumentations": {"java": [{"className": "C", "methodName": "a;B"}]}}),
            "InvalidProbe",
            "java[0]",
        ),
        (
            json!({"customInstrumentations": {"golang": [{"packageName": "p", "functionName": "f", "receiverName": "r", "receiverMethodName": "m"}]}}),
            "InvalidProbe",
            "golang[0]",
        ),
        (json!({"customInstrumentations": {"golang": [{"packageName": "p"}]}}), "InvalidProbe", "golang[0]"),
        (json!({"customInstrumentations": {"php": [{"className": "C"}]}}), "InvalidProbe", "php[0]"),
        (json!({"customInstrumentations": {"cpp": [{}]}}), "InvalidProbe", "cpp[0]"),
        (json!({"headersCollection": {"headerKeys": ["a", "b c"]}}), "InvalidHeader", "headerKeys[1]"),
        (
            json!({"traceVerbosity": {"disabledLibraries": [library("java", " ")]}}),
            "InvalidLibrary",
            "disabledLibraries[0]",
        ),
        (
            json!({"instrumentationLibraries": [{"name": "", "language": "java"}]}),
            "InvalidLibrary",
            "instrumentationLibraries[0]",
        ),
        (
            json!({"payloadCollection": {"dbQuery": {"maxPayloadLength": -1}}}),
            "InvalidLength",
            "dbQuery.maxPayloadLength",
        ),
    ] {
        // A good block beside it is not in force either; another rule is.
        let mut both = spec.clone();
        both["agentDiagnostics"] = json!({"odigosLogLevel": "debug"});
        let plane = Plane::new(&["java"]).rule("bad", both).rule("good", header.clone());
        let conditions = plane.conditions();
        assert_eq!((conditions[0][0].status, conditions[0][0].reason.as_str()), (Status::False, reason), "{spec}");
        assert!(conditions[0][0].message.contains(field), "{}", conditions[0][0].message);
        assert_eq!(plane.reason(), "InvalidRule");
        assert_eq!(plane.lines(0).len(), 4, "the headers of the good rule and nothing else");
        assert_eq!((conditions[1][0].reason.as_str(), plane.applied(1).1.as_str()), ("Valid", "Applied"));
    }
    for spec in [
        json!({"customInstrumentations": {"golang": [{"packageName": "p", "functionName": "f"}, {"packageName": "p", "receiverName": "r", "receiverMethodName": "m"}]}}),
        json!({"customInstrumentations": {"php": [{"functionName": "f"}], "cpp": [{"signature": "f()"}]}}),
        headers(&["*", "X-Request-Id"]),
    ] {
        assert_eq!(problems(&serde_json::from_value(spec.clone()).unwrap()), [], "{spec}");
    }
}

#[test]
fn a_rule_for_a_stream_names_the_others_that_see_it() {
    // 69.
    let spec = json!({"dataStreams": ["s1"], "headersCollection": {"headerKeys": ["a"]}});
    let mut plane = Plane::new(&["java", "java"]);
    let label = |name: &str| (format!("odigos.io/data-stream-{name}"), "true".to_owned());
    plane.workloads[0].metadata.labels = Some([label("s1"), label("s2")].into());
    plane = plane.rule("r", spec);
    assert_eq!((plane.lines(0).len(), plane.lines(1).len()), (4, 0));
    let (status, reason, message) = plane.applied(0);
    assert_eq!((status, reason.as_str()), (Status::True, "Applied"));
    assert!(message.ends_with("so the streams s2 see its effect too."), "{message}");
    let plane =
        Plane::new(&["java"]).rule("r", json!({"scopes": {"namespaces": ["other"]}, "codeAttributes": {"line": true}}));
    assert_eq!(plane.reason(), "NoMatchingSources");
}

#[test]
fn headers_with_credentials_are_collected_for_no_rule() {
    let injected = |language: &str, keys: &[&str]| {
        let plane = Plane::new(&[language]).rule("r", headers(keys));
        let one = plane.container(0);
        let distribution = distribution::find(&one.otel_distro_name).unwrap();
        let all = crate::agents::injected_variables(one, distribution);
        let values: BTreeSet<String> = all.into_values().collect();
        values.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(injected("java", &["X-A", "Authorization", "cookie"]), ["x-a"]);
    assert_eq!(injected("java", &["Set-Cookie"]), Vec::<String>::new());
    let expression = "(?!authorization$|proxy-authorization$|cookie$|set-cookie$).*";
    assert_eq!(injected("python", &["*"]), [expression], "as Python's re.fullmatch reads it");
}

/// What rules set must never keep a pod from being stored or a program from starting.
#[test]
fn rules_set_no_more_than_a_pod_holds() {
    let many = |count: usize| -> Value {
        let keys: Vec<String> = (0..count).map(|number| format!("x-{number}")).collect();
        json!({"headersCollection": {"headerKeys": keys}})
    };
    for spec in [
        many(257),
        json!({"headersCollection": {"headerKeys": ["x".repeat(513)]}}),
        json!({"traceVerbosity": {"disabledLibraries": [library("java", &"l".repeat(513))]}}),
        json!({"customInstrumentations": {"java": [{"className": "C".repeat(513), "methodName": "m"}]}}),
    ] {
        assert_eq!(problems(&serde_json::from_value(spec).unwrap())[0].reason, "TooLarge");
    }
    assert_eq!(Plane::new(&["java"]).rule("r", many(256)).lines(0).len(), 4);
    // Many rules of which none is too large.
    let mut plane = Plane::new(&["java"]);
    for rule in 0..8 {
        let keys: Vec<String> = (0..200).map(|number| format!("x-{rule}-{number}")).collect();
        plane = plane.rule(&format!("r{rule}"), json!({"headersCollection": {"headerKeys": keys}}));
    }
    assert_eq!(plane.lines(0), Vec::<String>::new());
    let message = &plane.container(0).agent_enabled_message;
    assert!(message.contains("at most 32768 are set"), "{message}");
}
