//! Tables of section 5, and the rows of section 7 that are about pods (36, 44, 51–56, 58, 59).

use super::*;
use odigos_api::WorkloadKind;
use odigos_api::agent_settings::AgentTraces;
use odigos_api::instrumentation_config::{EnvVar, InstrumentationConfigStatus};
use odigos_api::labels::PREPARED_NODE;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A pod, its decision and its surroundings, to be changed by each case.
struct Case {
    pod: Value,
    config: InstrumentationConfig,
    level: Option<SecurityLevel>,
    has_host_path: bool,
    bounds: Bounds,
    has_prepared_nodes: bool,
    lacks_pull_secret: bool,
    options: Options,
    workload: WorkloadRef,
}

impl Case {
    fn new(distribution: &str) -> Self {
        let mut config = InstrumentationConfig::default();
        config.spec.service_name = "shop-web".into();
        config.spec.agent_injection_enabled = true;
        config.spec.agents_meta_hash = "0123456789abcdef".into();
        config.spec.containers = vec![ContainerAgentConfig {
            container_name: "app".into(),
            agent_enabled: true,
            otel_distro_name: distribution.into(),
            env_injection_method: Some(EnvInjectionMethod::PodManifest),
            traces: Some(AgentTraces::default()),
            ..ContainerAgentConfig::default()
        }];
        let details = RuntimeDetails { container_name: "app".into(), ..RuntimeDetails::default() };
        config.status = Some(InstrumentationConfigStatus {
            runtime_details_by_container: vec![details],
            ..InstrumentationConfigStatus::default()
        });
        let pod = json!({
            "metadata": {
                "generateName": "web-5d4f-", "labels": {"app": "web", "pod-template-hash": "5d4f"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f", "uid": "u-7", "controller": true}],
            },
            "spec": {
                "containers": [
                    {"name": "app", "image": "a", "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets", "readOnly": true}]},
                    {"name": "istio-proxy", "image": "b", "env": [{"name": "JAVA_TOOL_OPTIONS", "value": "-Dp=1"}]},
                ],
                "initContainers": [{"name": "first", "image": "c"}],
                "volumes": [{"name": "token", "emptyDir": {}}],
            },
        });
        let options = Options {
            namespace: "odigos-system".into(),
            agents_image: "registry/agents:1".into(),
            agent_images: BTreeMap::from(
                ["dotnet-community", "php-community", "ruby-community", "python-community3.8"]
                    .map(|name| (name.to_owned(), format!("registry/{name}:2"))),
            ),
            ..Options::default()
        };
        let workload = WorkloadRef::new("shop", WorkloadKind::Deployment, "web");
        Self {
            pod,
            config,
            level: Some(SecurityLevel::Privileged),
            has_host_path: false,
            bounds: Bounds::default(),
            has_prepared_nodes: true,
            lacks_pull_secret: false,
            options,
            workload,
        }
    }

    fn parameter(mut self, name: &str, value: &str) -> Self {
        self.config.spec.containers[0].distro_params.insert(name.into(), value.into());
        self
    }

    fn env(mut self, env: Value) -> Self {
        self.pod["spec"]["containers"][0]["env"] = env;
        self
    }

    fn env_from(mut self, sources: Value) -> Self {
        self.pod["spec"]["containers"][0]["envFrom"] = sources;
        self
    }

    fn details(&mut self) -> &mut RuntimeDetails {
        &mut self.config.status.as_mut().unwrap().runtime_details_by_container[0]
    }

    fn image(mut self, name: &str, value: &str) -> Self {
        self.details().env_from_container_runtime.push(EnvVar { name: name.into(), value: value.into() });
        self
    }

    fn process(mut self, name: &str, value: &str) -> Self {
        self.details().env_vars.push(EnvVar { name: name.into(), value: value.into() });
        self
    }

    fn loader(mut self) -> Self {
        self.config.spec.containers[0].env_injection_method = Some(EnvInjectionMethod::Loader);
        self
    }

    fn outcome_for(&self, pod: &Value) -> Outcome {
        inject(&Subject {
            pod,
            workload: &self.workload,
            config: &self.config,
            level: self.level,
            has_host_path: self.has_host_path,
            bounds: self.bounds,
            has_prepared_nodes: self.has_prepared_nodes,
            lacks_pull_secret: self.lacks_pull_secret,
            options: &self.options,
        })
    }

    fn outcome(&self) -> Outcome {
        self.outcome_for(&self.pod)
    }

    /// The pod with its agents; checks on the way that the patch makes it and that the same again changes nothing.
    fn injected(&self) -> Value {
        let pod = match self.outcome() {
            Outcome::Injected(pod) => *pod,
            other => panic!("{other:?}"),
        };
        assert_eq!(applied(&self.pod, &patch(&self.pod, &pod)), pod);
        assert_eq!(self.outcome_for(&pod), Outcome::Unchanged, "the same again");
        pod
    }

    fn refusal(&self) -> String {
        match self.outcome() {
            Outcome::Refused(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        variable(&self.injected(), name)
    }
}

/// The value that a container `app` would see in the manifest; references are shown by their kind.
fn variable(pod: &Value, name: &str) -> Option<String> {
    let list = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let entry = list.iter().rev().find(|one| one["name"] == name)?;
    Some(match entry.get("valueFrom") {
        Some(from) => from.as_object().unwrap().keys().next().unwrap().clone(),
        None => entry["value"].as_str().unwrap_or_default().to_owned(),
    })
}

/// Applies the few operations that `patch` uses.
fn applied(before: &Value, patch: &Value) -> Value {
    let mut after = before.clone();
    for operation in patch.as_array().unwrap() {
        let (parent, key) = operation["path"].as_str().unwrap().rsplit_once('/').unwrap();
        let key = key.replace("~1", "/").replace("~0", "~");
        let at = after.pointer_mut(parent).unwrap();
        match (operation["op"].as_str().unwrap(), at) {
            ("remove", Value::Object(map)) => drop(map.remove(&key)),
            (_, Value::Object(map)) => drop(map.insert(key, operation["value"].clone())),
            other => panic!("{other:?}"),
        }
    }
    after
}

const JAVA: &str = "-javaagent:/var/odigos/java/javaagent.jar";
const PYTHON: &str = "/var/odigos/python:/var/odigos/python/opentelemetry/instrumentation/auto_instrumentation";

#[test]
fn an_agent_is_put_behind_what_is_there() {
    let reference = |kind: &str| json!({kind: {"name": "settings", "key": "options"}});
    let java = || Case::new("java-community");
    let python = || Case::new("python-community");
    let rows: [(&str, Case, &str, String); 16] = [
        ("51: nothing there", java(), "JAVA_TOOL_OPTIONS", JAVA.into()),
        (
            "52: a literal",
            java().env(json!([{"name": "JAVA_TOOL_OPTIONS", "value": "-Dx=1"}])),
            "JAVA_TOOL_OPTIONS",
            format!("-Dx=1 {JAVA}"),
        ),
        ("an empty literal", java().env(json!([{"name": "JAVA_TOOL_OPTIONS"}])), "JAVA_TOOL_OPTIONS", JAVA.into()),
        (
            "52: a reference",
            python().env(json!([{"name": "PYTHONPATH", "valueFrom": reference("configMapKeyRef")}])),
            "PYTHONPATH",
            format!("$(ORIGINAL_PYTHONPATH):{PYTHON}"),
        ),
        (
            "the reference is kept",
            python().env(json!([{"name": "PYTHONPATH", "valueFrom": reference("configMapKeyRef")}])),
            "ORIGINAL_PYTHONPATH",
            "configMapKeyRef".into(),
        ),
        ("28: from the image", python().image("PYTHONPATH", "/app"), "PYTHONPATH", format!("/app:{PYTHON}")),
        (
            "dollars of the image are none of the manifest",
            java().image("JAVA_TOOL_OPTIONS", "-Da=$(B)"),
            "JAVA_TOOL_OPTIONS",
            format!("-Da=$$(B) {JAVA}"),
        ),
        (
            "the manifest counts more than the image",
            java().image("JAVA_TOOL_OPTIONS", "-Dimage").env(json!([{"name": "JAVA_TOOL_OPTIONS", "value": "-Dpod"}])),
            "JAVA_TOOL_OPTIONS",
            format!("-Dpod {JAVA}"),
        ),
        (
            "envFrom, by reference",
            java()
                .env_from(json!([{"configMapRef": {"name": "settings"}}]))
                .process("JAVA_TOOL_OPTIONS", "-Dmap")
                .image("JAVA_TOOL_OPTIONS", "-Dimage"),
            "JAVA_TOOL_OPTIONS",
            format!("$(ORIGINAL_JAVA_TOOL_OPTIONS) {JAVA}"),
        ),
        (
            "the image, beside an envFrom without it",
            python()
                .env_from(json!([{"secretRef": {"name": "settings"}}]))
                .process("PYTHONPATH", "/app")
                .image("PYTHONPATH", "/app"),
            "PYTHONPATH",
            format!("/app:{PYTHON}"),
        ),
        (
            "envFrom whose prefix cannot make the name",
            java()
                .env_from(json!([{"prefix": "APP_", "secretRef": {"name": "settings"}}]))
                .process("JAVA_TOOL_OPTIONS", "-Dscript"),
            "JAVA_TOOL_OPTIONS",
            JAVA.into(),
        ),
        (
            "a start script makes it again",
            java().process("JAVA_TOOL_OPTIONS", "-Dscript"),
            "JAVA_TOOL_OPTIONS",
            JAVA.into(),
        ),
        (
            "node",
            Case::new("nodejs-community").env(json!([{"name": "NODE_OPTIONS", "value": "--title=\"a b\""}])),
            "NODE_OPTIONS",
            "--title=\"a b\" --require /var/odigos/nodejs-community/autoinstrumentation.js".into(),
        ),
        (
            "php keeps its own directory",
            Case::new("php-community").parameter("RUNTIME_VERSION_MAJOR_MINOR", "8.3"),
            "PHP_INI_SCAN_DIR",
            ":/var/odigos/php/8.3".into(),
        ),
        (
            "ruby",
            Case::new("ruby-community")
                .parameter("RUNTIME_VERSION_MAJOR_MINOR", "3.3")
                .env(json!([{"name": "RUBYOPT", "value": "-W0"}])),
            "RUBYOPT",
            "-W0 -r/var/odigos/ruby/3.3/index.rb".into(),
        ),
        (
            "lists of .NET are joined",
            Case::new("dotnet-community")
                .parameter("LIBC_TYPE", "musl")
                .env(json!([{"name": "DOTNET_STARTUP_HOOKS", "value": "/own.dll"}])),
            "DOTNET_STARTUP_HOOKS",
            "/own.dll:/var/odigos/dotnet/net/OpenTelemetry.AutoInstrumentation.StartupHook.dll".into(),
        ),
    ];
    for (what, case, name, expected) in rows {
        assert_eq!(case.variable(name).as_deref(), Some(expected.as_str()), "{what}");
    }
}

#[test]
fn a_reference_that_may_lead_nowhere_leaves_no_text_unexpanded() {
    let optional = json!({"secretKeyRef": {"name": "settings", "key": "options", "optional": true}});
    let pod = Case::new("java-community").env(json!([{"name": "JAVA_TOOL_OPTIONS", "valueFrom": optional}])).injected();
    let list = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let names: Vec<&str> = list.iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(
        &names[..4],
        ["ODIGOS_POD_NAME", "ORIGINAL_JAVA_TOOL_OPTIONS", "ORIGINAL_JAVA_TOOL_OPTIONS", "JAVA_TOOL_OPTIONS"]
    );
    assert_eq!((&list[1]["value"], &list[2]["valueFrom"]), (&json!(""), &optional));
}

/// `$(NAME)` is a variable if there is one, `$$` a dollar; what comes of it is not looked at again.
fn expanded(value: &str, given: &BTreeMap<String, String>) -> String {
    let Some((before, rest)) = value.split_once('$') else { return value.to_owned() };
    let name = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (text, rest) = match (name, rest.strip_prefix('$')) {
        (_, Some(rest)) => ("$".to_owned(), rest),
        (Some((name, rest)), _) => (given.get(name).cloned().unwrap_or_else(|| format!("$({name})")), rest),
        _ => ("$".to_owned(), rest),
    };
    format!("{before}{text}{}", expanded(rest, given))
}

/// What the kubelet makes of a pod, by its own rules: `envFrom` in order, then `env`, each seeing what came before.
fn kubelet(pod: &Value, objects: &[(&str, &[(&str, &str)])], image: &[(&str, &str)]) -> BTreeMap<String, String> {
    let key = |name: &str, key: &str| {
        let object = objects.iter().find(|(one, _)| *one == name)?;
        object.1.iter().find(|(one, _)| *one == key).map(|(_, value)| (*value).to_owned())
    };
    let container = &pod["spec"]["containers"][0];
    let list = |field: &str| container[field].as_array().cloned().unwrap_or_default();
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    for source in list("envFrom") {
        let prefix = source["prefix"].as_str().unwrap_or_default();
        let name = ["configMapRef", "secretRef"].iter().find_map(|kind| source[*kind]["name"].as_str()).unwrap();
        for (key, value) in objects.iter().filter(|(one, _)| *one == name).flat_map(|(_, data)| data.iter()) {
            given.insert(format!("{prefix}{key}"), (*value).to_owned());
        }
    }
    for entry in list("env") {
        let name = entry["name"].as_str().unwrap().to_owned();
        let reference = ["configMapKeyRef", "secretKeyRef"].iter().find_map(|kind| entry["valueFrom"].get(*kind));
        if let Some(reference) = reference {
            // One that is optional and leads nowhere is passed over.
            if let Some(value) = key(reference["name"].as_str().unwrap(), reference["key"].as_str().unwrap()) {
                given.insert(name, value);
            }
            continue;
        }
        given.insert(name, expanded(entry["value"].as_str().unwrap_or_default(), &given));
    }
    for (name, value) in image {
        given.entry((*name).to_owned()).or_insert_with(|| (*value).to_owned());
    }
    given
}

/// Whatever ConfigMaps, Secrets and the image set, then or later: the user's value is in force, with ours behind it.
#[test]
fn what_env_from_sets_stays_where_it_is() {
    const NAME: &str = "JAVA_TOOL_OPTIONS";
    const IMAGE: [(&str, &str); 1] = [(NAME, "-Dimage=$(A)$5")];
    type Data = &'static [(&'static str, &'static str)];
    let sources = json!([
        {"configMapRef": {"name": "map"}}, {"prefix": "JAVA_", "secretRef": {"name": "secret", "optional": true}},
        {"prefix": NAME, "configMapRef": {"name": "whole"}}, {"prefix": "OTHER_", "configMapRef": {"name": "map"}},
    ]);
    let later: [(&str, Data, Data); 6] = [
        ("the map alone", &[(NAME, "-Dmap=$(A)")], &[]),
        ("the Secret counts more", &[(NAME, "-Dmap")], &[("TOOL_OPTIONS", "-Dsecret")]),
        ("changed since", &[(NAME, "-Dnew")], &[]),
        ("set to nothing", &[(NAME, "")], &[]),
        ("gone since", &[("A", "x")], &[]),
        ("other keys", &[("TOOL_OPTIONS", "-Dx")], &[(NAME, "-Dy")]),
    ];
    for (image, is_set) in [(&IMAGE[..], true), (&[][..], false)] {
        let mut case = Case::new("java-community").env_from(sources.clone()).process(NAME, "-Dmap=$(A)");
        if is_set {
            case = case.image(NAME, IMAGE[0].1);
        }
        let pod = case.injected();
        assert!(!pod.to_string().contains("-Dmap"), "no value is copied: {pod}");
        for (what, map, secret) in later {
            let objects: [(&str, &[(&str, &str)]); 2] = [("map", map), ("secret", secret)];
            let before = kubelet(&case.pod, &objects, image).remove(NAME).unwrap_or_default();
            let after = kubelet(&pod, &objects, image).remove(NAME).unwrap();
            assert_eq!(after, format!("{before} {JAVA}"), "{what}, with an image that sets {image:?}");
        }
    }
}

#[test]
fn dotnet_finds_its_library_for_each_libc() {
    for libc in ["musl", "glibc"] {
        let case = Case::new("dotnet-community").parameter("LIBC_TYPE", libc);
        let expected = format!("/var/odigos/dotnet/linux-{libc}/OpenTelemetry.AutoInstrumentation.Native.so");
        assert_eq!(case.variable("CORECLR_PROFILER_PATH"), Some(expected));
    }
}

#[test]
fn telemetry_says_what_it_is_about() {
    let pod = Case::new("java-community").injected();
    let expected = "k8s.pod.name=$(ODIGOS_POD_NAME),k8s.container.name=app,k8s.namespace.name=shop,k8s.deployment.name=web,\
                    odigos.workload.kind=Deployment,odigos.workload.name=web,k8s.replicaset.name=web-5d4f,k8s.replicaset.uid=u-7";
    for (name, expected) in [
        ("OTEL_RESOURCE_ATTRIBUTES", expected),
        ("OTEL_SERVICE_NAME", "shop-web"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://odigos-data-collection-local-traffic.odigos-system:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_LOGS_EXPORTER", "none"),
        ("ODIGOS_CONTAINER_NAME", "app"),
        ("ODIGOS_DISTRO_NAME", "java-community"),
        ("ODIGOS_POD_NAME", "fieldRef"),
        ("ODIGOS_WORKLOAD_NAMESPACE", "shop"),
    ] {
        assert_eq!(variable(&pod, name).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(pod["metadata"]["labels"][AGENTS_META_HASH], "0123456789abcdef");
    assert_eq!(pod["spec"]["containers"][0]["env"][0]["name"], "ODIGOS_POD_NAME", "others refer to it");
    for (kind, key) in [
        (WorkloadKind::StatefulSet, "k8s.statefulset.name=web"),
        (WorkloadKind::Rollout, "k8s.argoproj.rollout.name=web"),
        (WorkloadKind::DeploymentConfig, "k8s.deployment.name=web"),
        (WorkloadKind::StaticPod, "odigos.workload.kind=StaticPod"),
    ] {
        let mut case = Case::new("java-community");
        case.workload.kind = kind;
        let list = case.variable("OTEL_RESOURCE_ATTRIBUTES").unwrap();
        assert!(list.split(',').any(|one| one == key), "{list}");
        assert!(list.split(',').all(|one| one.split_once('=').is_some_and(|(key, _)| !key.is_empty())), "{list}");
    }
    assert_eq!(attributes::escaped("a b,c=d%é"), "a%20b%2Cc%3Dd%25%C3%A9");
}

/// A pair of which one half is the user's sends one protocol to the port of another.
#[test]
fn otlp_variables_are_the_users_or_ours_as_a_whole() {
    const HTTP: &str = "http://odigos-data-collection-local-traffic.odigos-system:4318";
    const GRPC: &str = "http://odigos-data-collection-local-traffic.odigos-system:4317";
    let unit = |pod: &Value| -> BTreeMap<String, String> {
        let list = pod["spec"]["containers"][0]["env"].as_array().unwrap();
        let names = list.iter().filter_map(|one| one["name"].as_str());
        let names = names.filter(|name| name.starts_with("OTEL_EXPORTER_OTLP") || name.ends_with("_EXPORTER"));
        names.map(|name| (name.to_owned(), variable(pod, name).unwrap())).collect()
    };
    let expected = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let with = |name: &str, value: &str| Case::new("java-community").env(json!([{"name": name, "value": value}]));
    for name in [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ] {
        let theirs = with(name, "http://otel:4317").injected();
        assert_eq!(unit(&theirs), expected(&[(name, "http://otel:4317")]), "their export goes on as it was");
        assert!(variable(&theirs, "JAVA_TOOL_OPTIONS").is_some(), "the agent comes all the same");
        let reference = json!([{"name": name, "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
        let theirs = Case::new("java-community").env(reference).injected();
        assert_eq!(unit(&theirs).len(), 1, "{name} by a reference");
        for seen in [
            Case::new("java-community").process(name, "http://otel:4317"),
            Case::new("java-community").image(name, "http://otel:4317"),
        ] {
            assert_eq!(unit(&seen.injected()), expected(&[]), "{name} by envFrom or by the image");
        }
        let none = with(name, "").injected();
        assert_eq!(unit(&none)["OTEL_TRACES_EXPORTER"], "otlp", "an empty value is none");
    }
    let exporters =
        [("OTEL_LOGS_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "otlp")];
    let ours =
        |more: &[(&str, &str)]| expected(&[&exporters[..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", HTTP)], more].concat());
    let signals = [
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
    ];
    let grpc = with("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").injected();
    let all = [&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")][..], &signals].concat();
    assert_eq!(unit(&grpc), ours(&all), "what is sent to our port speaks its protocol");
    let same = with("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf").injected();
    assert_eq!(unit(&same), ours(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]));
    let of_signal = with("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc").injected();
    let fitting = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", GRPC),
    ];
    assert_eq!(unit(&of_signal), ours(&fitting));
    let reference = json!([{"name": "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}}]);
    assert_eq!(unit(&Case::new("java-community").env(reference).injected()).len(), 1, "its value is unknown here");
}

/// What `envFrom` sets cannot be read at admission: where the user has no endpoint, ours is whole whatever it sets.
#[test]
fn otlp_variables_are_whole_beside_env_from() {
    const SETTINGS: [(&str, &str); 6] = [
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_LOGS_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
    ];
    const HTTP: &str = "http://odigos-data-collection-local-traffic.odigos-system:4318";
    let sources = json!([{"configMapRef": {"name": "settings"}}, {"prefix": "APP_", "secretRef": {"name": "other"}}]);
    let seen = Case::new("java-community").env_from(sources.clone());
    let runs = |pod: &Value, more: &[(&str, &str)]| {
        let all = [&SETTINGS[..], more].concat();
        kubelet(pod, &[("settings", &all)], &[])
    };
    let given = runs(&seen.injected(), &[]);
    for (name, expected) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", HTTP),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_LOGS_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
    ] {
        assert_eq!(given.get(name).map(String::as_str), Some(expected), "{name}");
    }
    // An endpoint that the process was seen with is theirs, and then all of it is.
    let theirs = Case::new("java-community").env_from(sources.clone());
    let theirs = theirs.process("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://otel:4317").injected();
    let given = runs(&theirs, &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://otel:4317")]);
    for (name, expected) in SETTINGS.into_iter().chain([("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://otel:4317")]) {
        assert_eq!(given.get(name).map(String::as_str), Some(expected), "{name}");
    }
    // With a language that a Source states, nobody has looked at a process.
    let mut unseen = Case::new("java-community").env_from(sources);
    unseen.config.status.as_mut().unwrap().runtime_details_by_container.clear();
    let given = runs(&unseen.injected(), &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://otel:4317")]);
    assert_eq!(given["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"], format!("{HTTP}/v1/traces"));
    assert_eq!(given["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"], "http/protobuf");
    // Without a source that can set them, there is nothing to set.
    let other = Case::new("java-community").env_from(json!([{"prefix": "APP_", "secretRef": {"name": "other"}}]));
    assert!(variable(&other.injected(), "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").is_none());
}

#[test]
fn what_the_user_says_counts_more() {
    let java = |env: Value| Case::new("java-community").env(env);
    let own = java(json!([
        {"name": "OTEL_SERVICE_NAME", "value": "mine"},
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://elsewhere"},
        {"name": "OTEL_TRACES_EXPORTER", "value": "console"},
        {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "team=x, k8s.pod.name=other"},
    ]));
    let pod = own.injected();
    assert_eq!(variable(&pod, "OTEL_SERVICE_NAME").as_deref(), Some("mine"));
    assert_eq!(variable(&pod, "OTEL_EXPORTER_OTLP_ENDPOINT").as_deref(), Some("http://elsewhere"));
    assert_eq!(variable(&pod, "OTEL_TRACES_EXPORTER").as_deref(), Some("console"));
    let list = variable(&pod, "OTEL_RESOURCE_ATTRIBUTES").unwrap();
    assert!(list.starts_with("team=x, k8s.pod.name=other,k8s.container.name=app,"), "{list}");
    assert!(!list.contains("ODIGOS_POD_NAME"), "{list}");
    let named = java(json!([{"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "service.name=mine"}]));
    assert_eq!(named.variable("OTEL_SERVICE_NAME"), None, "it would count more than the attribute");
    let reference = json!({"configMapKeyRef": {"name": "settings", "key": "attributes"}});
    let referred = java(json!([{"name": "OTEL_RESOURCE_ATTRIBUTES", "valueFrom": reference}]));
    let list = referred.variable("OTEL_RESOURCE_ATTRIBUTES").unwrap();
    assert!(list.starts_with("k8s.pod.name=") && list.ends_with(",$(ORIGINAL_OTEL_RESOURCE_ATTRIBUTES)"), "{list}");
    let mut wanted = java(json!([{"name": "FOO", "value": "users"}]));
    let pairs =
        |list: &[(&str, &str)]| list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    wanted.options.user_variables = BTreeMap::from([
        ("java".to_owned(), pairs(&[("FOO", "bar"), ("BAR", "baz")])),
        ("python".to_owned(), pairs(&[("PY", "1")])),
    ]);
    let pod = wanted.injected();
    assert_eq!(variable(&pod, "FOO").as_deref(), Some("users"));
    assert_eq!(variable(&pod, "BAR").as_deref(), Some("baz"));
    assert_eq!(variable(&pod, "PY"), None);
}

#[test]
fn a_loader_takes_the_place_of_the_manifest_or_makes_way() {
    let pod = Case::new("java-community").loader().injected();
    assert_eq!(variable(&pod, "LD_PRELOAD").as_deref(), Some("/var/odigos/loader/loader.so"));
    assert_eq!(variable(&pod, "JAVA_TOOL_OPTIONS"), None);
    assert_eq!(mounts(&pod), ["/var/odigos/java", "/var/odigos/loader"]);
    for own in ["", "/lib/own.so"] {
        let taken = || Case::new("java-community").loader().env(json!([{"name": "LD_PRELOAD", "value": own}]));
        let pod = taken().injected();
        assert_eq!(variable(&pod, "LD_PRELOAD").as_deref(), Some(own));
        assert_eq!(variable(&pod, "JAVA_TOOL_OPTIONS").as_deref(), Some(JAVA));
        let mut strict = taken();
        strict.options.injection = crate::agents::InjectionMode::Loader;
        assert!(strict.refusal().contains("LD_PRELOAD"));
    }
}

fn mounts(pod: &Value) -> Vec<String> {
    let list = pod["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
    let ours = list.iter().filter(|one| one["mountPath"].as_str().unwrap().starts_with("/var/odigos/"));
    ours.map(|one| {
        assert_eq!(one["readOnly"], true);
        one["mountPath"].as_str().unwrap().to_owned()
    })
    .collect()
}

/// Kind of the source of each volume of agents, and names of init containers and affinity.
fn artefacts(pod: &Value) -> (Vec<String>, Vec<String>, bool) {
    let volumes = pod["spec"]["volumes"].as_array().unwrap().iter().filter(|one| one["name"] != "token");
    let kind = |one: &Value| one.as_object().unwrap().keys().find(|key| *key != "name").unwrap().clone();
    let init =
        pod["spec"]["initContainers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
    (volumes.map(kind).collect(), init.collect(), pod["spec"].get("affinity").is_some())
}

#[test]
fn each_mount_method_leaves_its_own_marks_and_no_others() {
    use MountMethod::{Automatic, HostPath, ImageVolume, InitContainer};
    use SecurityLevel::{Baseline, Privileged, Restricted, Unlabelled};
    let rows = [
        (Automatic, Some(Privileged), true, Some(("hostPath", false, true))),
        (Automatic, Some(Privileged), false, Some(("emptyDir", true, false))),
        (Automatic, Some(Unlabelled), true, Some(("emptyDir", true, false))),
        (HostPath, Some(Unlabelled), true, Some(("hostPath", false, true))),
        (Automatic, Some(Baseline), true, Some(("emptyDir", true, false))),
        (Automatic, Some(Restricted), true, Some(("emptyDir", true, false))),
        (Automatic, None, true, Some(("emptyDir", true, false))),
        (HostPath, Some(Privileged), true, Some(("hostPath", false, true))),
        (HostPath, Some(Baseline), true, None),
        (HostPath, None, true, None),
        (HostPath, Some(Privileged), false, None),
        (InitContainer, Some(Privileged), true, Some(("emptyDir", true, false))),
        (ImageVolume, Some(Restricted), true, Some(("image", false, false))),
        (ImageVolume, Some(Privileged), false, Some(("image", false, false))),
    ];
    for (mount, level, prepared, expected) in rows {
        let mut case = Case::new("java-community");
        (case.options.mount, case.level, case.has_prepared_nodes) = (mount, level, prepared);
        let Some((volume, copies, affinity)) = expected else {
            assert!(case.refusal().contains("k8s-host-path"), "{mount:?} {level:?}");
            continue;
        };
        let pod = case.injected();
        let init: &[&str] = if copies { &["first", "odigos-agents"] } else { &["first"] };
        let (volumes, inits, has_affinity) = artefacts(&pod);
        assert_eq!((volumes, inits), (vec![volume.to_owned()], init.iter().map(|one| (*one).to_owned()).collect()));
        assert_eq!(has_affinity, affinity, "{mount:?} {level:?}");
        assert_eq!(mounts(&pod), ["/var/odigos/java"]);
    }
    // Pods of the workload run with files from the node already, so these are admitted.
    let mut existing = Case::new("java-community");
    (existing.level, existing.has_host_path) = (Some(Unlabelled), true);
    assert_eq!(artefacts(&existing.injected()).0, ["hostPath"]);
    // Nodes that were prepared by agents of earlier times.
    let mut without_agents = Case::new("java-community");
    without_agents.options.lacks_node_agents = true;
    assert_eq!(artefacts(&without_agents.injected()).0, ["emptyDir"]);
    without_agents.options.mount = HostPath;
    assert!(without_agents.refusal().contains("nodes have no agent"));
    let mut karpenter = Case::new("java-community");
    karpenter.options.has_karpenter = true;
    assert!(!artefacts(&karpenter.injected()).2);
    let go = Case::new("golang-community");
    assert_eq!(
        artefacts(&go.injected()),
        (vec![], vec!["first".to_owned()], false),
        "nothing comes into the container"
    );
    assert_eq!(go.variable("OTEL_TRACES_EXPORTER"), None, "the node's agent exports");
    assert_eq!(go.variable("ODIGOS_POD_NAME").as_deref(), Some("fieldRef"));
}

#[test]
fn pod_records_the_image_of_its_agents_where_the_files_come_from_it() {
    let recorded = |case: &Case| {
        let pod = case.injected();
        let text = pod.pointer("/metadata/annotations").unwrap()[CLUSTER_INPUTS].as_str().unwrap().to_owned();
        inputs::parse(&text).unwrap().contains_key(inputs::AGENTS_IMAGE)
    };
    let mut case = Case::new("java-community");
    assert!(!recorded(&case), "the agent of the node keeps its files up to date");
    case.level = Some(SecurityLevel::Unlabelled);
    assert!(recorded(&case));
    case.options.mount = MountMethod::ImageVolume;
    assert!(recorded(&case));
}

#[test]
fn files_that_the_release_does_not_have_come_from_the_configured_image() {
    let mut case = Case::new("python-community3.8");
    let pod = case.injected();
    let (volumes, inits, affinity) = artefacts(&pod);
    assert_eq!((volumes, affinity), (vec!["emptyDir".to_owned()], false), "no node has them");
    assert_eq!(inits, ["first", "odigos-agents-python-community3-8"]);
    assert_eq!(pod["spec"]["initContainers"][1]["image"], "registry/python-community3.8:2");
    case.options.agent_images.clear();
    assert!(case.refusal().contains("agentImages.python-community3.8"));
    let mut none = Case::new("java-community");
    (none.options.agents_image, none.options.mount) = (String::new(), MountMethod::InitContainer);
    assert!(none.refusal().contains("agentsImage"));
}

/// 44: what the copy asks for is allowed where nothing else is.
#[test]
fn the_copy_keeps_to_the_limit_range() {
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [
        {"type": "Container", "max": {"cpu": "200m", "memory": "128Mi"}, "min": {"cpu": "50m", "memory": "64Mi"}},
    ]}});
    let mut case = Case::new("java-community");
    case.level = Some(SecurityLevel::Unlabelled);
    case.bounds = Bounds::of([&serde_json::from_value(range).unwrap()]);
    let resources = case.injected()["spec"]["initContainers"][1]["resources"].clone();
    let expected = json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}});
    assert_eq!(resources, expected);
}

#[test]
fn the_copy_keeps_to_the_restricted_level() {
    let mut case = Case::new("java-community");
    case.level = Some(SecurityLevel::Restricted);
    let pod = case.injected();
    let security = &pod["spec"]["initContainers"][1]["securityContext"];
    for (pointer, expected) in [
        ("/allowPrivilegeEscalation", json!(false)),
        ("/runAsNonRoot", json!(true)),
        ("/capabilities/drop", json!(["ALL"])),
        ("/seccompProfile/type", json!("RuntimeDefault")),
        ("/runAsUser", json!(65532)),
    ] {
        assert_eq!(security.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert_eq!(pod["spec"]["containers"][0].get("securityContext"), None);
    case.options.is_openshift = true;
    assert_eq!(case.injected()["spec"]["initContainers"][1]["securityContext"].get("runAsUser"), None);
}

/// 55: the user's own terms are alternatives; each of them must still hold.
#[test]
fn required_affinity_is_narrowed_and_never_widened() {
    let mut case = Case::new("java-community");
    let term = |zone: &str| json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]});
    let terms =
        json!([term("a"), term("b"), {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]);
    case.pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] =
        terms;
    let pod = case.injected();
    let terms =
        &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let keys = |index: usize| {
        let list = terms[index]["matchExpressions"].as_array().unwrap();
        list.iter().map(|one| one["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(0), ["zone", PREPARED_NODE]);
    assert_eq!(keys(1), ["zone", PREPARED_NODE]);
    assert_eq!(keys(2), [PREPARED_NODE]);
    assert_eq!(terms[2]["matchFields"][0]["values"], json!(["n1"]));
}

#[test]
fn pods_that_stay_as_they_are() {
    type Change = fn(&mut Case);
    let rows: [(&str, Change); 7] = [
        ("injection is off", |case| case.config.spec.agent_injection_enabled = false),
        ("no container has an agent", |case| case.config.spec.containers[0].agent_enabled = false),
        ("no distribution", |case| case.config.spec.containers[0].otel_distro_name.clear()),
        ("the container is gone", |case| case.config.spec.containers[0].container_name = "other".into()),
        ("Windows by selector", |case| case.pod["spec"]["nodeSelector"]["kubernetes.io/os"] = json!("windows")),
        ("Windows by name", |case| case.pod["spec"]["os"]["name"] = json!("windows")),
        ("an image of a static pod", |case| {
            case.pod["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!("h");
        }),
    ];
    for (what, change) in rows {
        let mut case = Case::new("java-community");
        change(&mut case);
        assert_eq!(case.outcome(), Outcome::Unchanged, "{what}");
    }
}

#[test]
fn what_cannot_be_done_whole_is_not_done_at_all() {
    let with = |distribution: &str, env: Value| Case::new(distribution).env(env);
    let mounted = |path: &str, read_only: bool| {
        let mut case = Case::new("java-community");
        case.pod["spec"]["containers"][0]["volumeMounts"] =
            json!([{"name": "token", "mountPath": path, "readOnly": read_only}]);
        case
    };
    let changed = |change: fn(&mut Case)| {
        let mut case = Case::new("java-community");
        change(&mut case);
        case
    };
    let rows: [(&str, Case); 13] = [
        ("names no service", changed(|case| case.config.spec.service_name.clear())),
        ("no distribution \"lost\"", Case::new("lost")),
        (
            "CORECLR_PROFILER, which dotnet-community needs",
            with("dotnet-community", json!([{"name": "CORECLR_PROFILER", "value": "{other}"}]))
                .parameter("LIBC_TYPE", "musl"),
        ),
        (
            "OTEL_DOTNET_AUTO_HOME",
            with(
                "dotnet-community",
                json!([{"name": "OTEL_DOTNET_AUTO_HOME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
            )
            .parameter("LIBC_TYPE", "musl"),
        ),
        (
            "ORIGINAL_JAVA_TOOL_OPTIONS",
            with(
                "java-community",
                json!([
                    {"name": "ORIGINAL_JAVA_TOOL_OPTIONS", "value": "x"},
                    {"name": "JAVA_TOOL_OPTIONS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ]),
            ),
        ),
        (
            "ORIGINAL_JAVA_TOOL_OPTIONS, which would keep that",
            with("java-community", json!([{"name": "ORIGINAL_JAVA_TOOL_OPTIONS", "value": "x"}]))
                .env_from(json!([{"secretRef": {"name": "settings"}}]))
                .process("JAVA_TOOL_OPTIONS", "-Dpassword=x"),
        ),
        ("mounts something else at /var/odigos/java", mounted("/var/odigos/java/", true)),
        ("/var is mounted read-only", mounted("/var", true)),
        (
            "has a volume odigos-agent",
            changed(|case| case.pod["spec"]["volumes"][0] = json!({"name": "odigos-agent", "secret": {}})),
        ),
        ("dnsPolicy", changed(|case| case.pod["spec"]["hostNetwork"] = json!(true))),
        ("dnsPolicy", changed(|case| case.pod["spec"]["dnsPolicy"] = json!("Default"))),
        (
            "OpenTelemetry Operator",
            changed(|case| {
                case.pod["metadata"]["annotations"]["instrumentation.opentelemetry.io/inject-java"] = json!("true")
            }),
        ),
        ("read-only", mounted("/var/odigos", true)),
    ];
    for (expected, case) in rows {
        let reason = case.refusal();
        assert!(reason.contains(expected), "{expected}: {reason}");
        assert!(!reason.contains("password=x"), "no value of the user in a message");
    }
    let host = changed(|case| {
        case.pod["spec"]["hostNetwork"] = json!(true);
        case.pod["spec"]["dnsPolicy"] = json!("ClusterFirstWithHostNet");
    });
    assert_eq!(mounts(&host.injected()), ["/var/odigos/java"]);
    assert_eq!(mounts(&mounted("/var", false).injected()), ["/var/odigos/java"]);
}

/// 36: other containers, and everything of the container that is not ours.
#[test]
fn only_what_is_named_is_touched() {
    let mut case = Case::new("java-community");
    case.pod["spec"]["containers"][0]["securityContext"] = json!({"readOnlyRootFilesystem": true, "runAsUser": 65534});
    case.pod["spec"]["securityContext"] = json!({"runAsNonRoot": true});
    let pod = case.injected();
    let paths: Vec<String> =
        patch(&case.pod, &pod).as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        paths,
        [
            "/metadata/annotations",
            "/metadata/labels/odigos.io~1agents-meta-hash",
            "/spec/affinity",
            "/spec/containers/0/env",
            "/spec/containers/0/volumeMounts",
            "/spec/volumes",
        ]
    );
}

fn entry() -> impl Strategy<Value = Value> {
    let names = [
        "JAVA_TOOL_OPTIONS",
        "PYTHONPATH",
        "NODE_OPTIONS",
        "RUBYOPT",
        "PHP_INI_SCAN_DIR",
        "LD_PRELOAD",
        "DOTNET_SHARED_STORE",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_SERVICE_NAME",
        "ODIGOS_POD_NAME",
        "ORIGINAL_PYTHONPATH",
        "CORECLR_PROFILER",
        "A",
    ];
    let values = ["", "x", "a=b,", "/var/odigos/java/x", "$(A)", " "];
    (
        proptest::sample::select(names.to_vec()),
        proptest::option::of(proptest::sample::select(values.to_vec())),
        any::<bool>(),
    )
        .prop_map(|(name, value, optional)| match value {
            Some(value) => json!({"name": name, "value": value}),
            None => {
                json!({"name": name, "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k", "optional": optional}}})
            }
        })
}

proptest! {
    /// Whatever the pod: once is the same as twice, nothing of the user's is lost, and others' containers stay.
    #[test]
    fn doing_it_again_changes_nothing(
        env in proptest::collection::vec(entry(), 0..6),
        distribution in proptest::sample::select(odigos_catalog::distribution::all().keys().cloned().collect::<Vec<_>>()),
        mount in proptest::sample::select(vec![MountMethod::Automatic, MountMethod::InitContainer, MountMethod::ImageVolume]),
        uses_loader: bool,
        inherited in proptest::option::of("[a-z$()/: ]{0,12}"),
    ) {
        let mut case = Case::new(&distribution)
            .parameter("LIBC_TYPE", "glibc")
            .parameter("RUNTIME_VERSION_MAJOR_MINOR", "3.3")
            .env(json!(env));
        case.options.mount = mount;
        case.options.agent_images.insert("nodejs-community-14".into(), "registry/node:1".into());
        if uses_loader {
            case = case.loader();
        }
        if let Some(value) = inherited {
            case = case.image("JAVA_TOOL_OPTIONS", &value);
        }
        match case.outcome() {
            Outcome::Injected(pod) => {
                prop_assert_eq!(case.outcome_for(&pod), Outcome::Unchanged);
                prop_assert_eq!(&applied(&case.pod, &patch(&case.pod, &pod)), pod.as_ref());
                prop_assert_eq!(&pod["spec"]["containers"][1], &case.pod["spec"]["containers"][1]);
                for one in &env {
                    let text = one["value"].as_str().unwrap_or("$(ORIGINAL_");
                    let there = pod["spec"]["containers"][0]["env"].as_array().unwrap().iter().any(|entry| {
                        let same_name = entry["name"].as_str().unwrap().ends_with(one["name"].as_str().unwrap());
                        same_name && (entry == one || entry["value"].as_str().is_some_and(|value| value.contains(text.trim().trim_end_matches(','))) || entry.get("valueFrom") == one.get("valueFrom"))
                    });
                    prop_assert!(there, "{} is lost in {}", one, pod["spec"]["containers"][0]["env"]);
                }
            }
            Outcome::Refused(reason) => prop_assert!(!reason.is_empty()),
            Outcome::Unchanged => prop_assert!(false, "it has an agent"),
        }
        case.config.spec.agent_injection_enabled = false;
        prop_assert_eq!(case.outcome(), Outcome::Unchanged);
    }
}

/// Pods that take images of agents name the Secret of the registry, or get no agents where their namespace has none.
#[test]
fn pull_secret_is_named_where_an_image_is_pulled() {
    let mut case = Case::new("java-community");
    (case.options.mount, case.options.pull_secret) = (MountMethod::InitContainer, Some("registry".into()));
    assert_eq!(case.injected()["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));
    case.pod["spec"]["imagePullSecrets"] = json!([{"name": "own"}]);
    assert_eq!(case.injected()["spec"]["imagePullSecrets"], json!([{"name": "own"}, {"name": "registry"}]));
    case.lacks_pull_secret = true;
    assert!(case.refusal().contains("Secret registry (agentImages.pullSecret) is not in namespace shop"));
    // Files from the node take no image.
    case.options.mount = MountMethod::HostPath;
    assert_eq!(case.injected()["spec"]["imagePullSecrets"], json!([{"name": "own"}]));
    // Nothing is named where nothing is set.
    (case.options.mount, case.options.pull_secret) = (MountMethod::ImageVolume, None);
    assert_eq!(case.injected()["spec"]["imagePullSecrets"], json!([{"name": "own"}]));
}
