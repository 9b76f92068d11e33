//! Scenarios on whole clusters: manifests in, settled objects out.

use super::*;
use odigos_api::labels::STREAM_CLASS;
use odigos_api::names;
use proptest::prelude::*;
use serde_json::json;

const NOW: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

fn settled(manifests: &str) -> (World, Settled) {
    let mut world = World::new(names::DEFAULT_NAMESPACE);
    for object in read(manifests).unwrap() {
        world.insert(object).unwrap();
    }
    let settled = world.settle(NOW);
    (world, settled)
}

fn deployment(name: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{template: {{spec: {{containers: [{{name: app}}]}}}}}}\nstatus: {{availableReplicas: 1}}\n---\n"
    )
}

fn source(name: &str, kind: &str, workload: &str, labels: &str) -> String {
    format!(
        "apiVersion: odigos.io/v1alpha1\nkind: Source\nmetadata: {{name: {name}, namespace: shop, labels: {{{labels}}}}}\nspec: {{workload: {{name: {workload}, namespace: shop, kind: {kind}}}}}\n---\n"
    )
}

fn jaeger(name: &str, selector: &str) -> String {
    format!(
        "apiVersion: odigos.io/v1alpha1\nkind: Destination\nmetadata: {{name: {name}, namespace: odigos-system}}\nspec: {{type: jaeger, destinationName: {name}, data: {{JAEGER_URL: 'jaeger:4317'}}, signals: [TRACES]{selector}}}\n---\n"
    )
}

fn configs(world: &World) -> Vec<String> {
    world.configs.keys().map(|(namespace, name)| format!("{namespace}/{name}")).collect()
}

fn class_of(world: &World, name: &str) -> String {
    world.configs[&("shop".to_owned(), name.to_owned())].metadata.labels.as_ref().unwrap()[STREAM_CLASS].clone()
}

/// A workload that is named and that no Source covers is reported, in a finding and in the condition; one that is covered is not mentioned.
#[test]
fn rules_that_name_uncovered_workloads_say_so() {
    let named = |name: &str| format!("{{namespace: shop, kind: Deployment, name: {name}}}");
    let manifests = deployment("web")
        + &source("s", "Deployment", "web", "")
        + &jaeger("j", "")
        + &format!(
            "apiVersion: odigos.io/v1alpha1\nkind: InstrumentationRule\nmetadata: {{name: r, namespace: odigos-system}}\nspec: {{workloads: [{}, {}], metricsConfig: {{disabled: true}}}}\n---\n",
            named("web"),
            named("wbe")
        )
        + &format!(
            "apiVersion: odigos.io/v1alpha1\nkind: Sampling\nmetadata: {{name: a, namespace: odigos-system}}\nspec: {{noisyOperations: [{{sourceScopes: {{sources: [{}, {}]}}, percentageAtMost: 0}}]}}\n---\n",
            named("web"),
            named("wbe")
        );
    let (world, settled) = settled(&manifests);
    for (object, field) in [
        ("InstrumentationRule odigos-system/r", "spec.workloads[1]"),
        ("Sampling odigos-system/a", "spec.noisyOperations[0].sourceScopes"),
    ] {
        let found: Vec<&Finding> = settled
            .findings
            .iter()
            .filter(|one| one.object == object && one.message.starts_with("no Source"))
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].field, field);
        assert!(found[0].message.contains("Deployment shop/wbe"), "{found:?}");
    }
    let rule = world.rules.values().next().unwrap();
    let conditions = &rule.status.as_ref().unwrap().conditions;
    assert!(
        conditions
            .iter()
            .any(|one| one.message.contains("No Source covers Deployment shop/wbe, or it does not exist.")),
        "{conditions:?}"
    );
}

#[test]
fn class_of_the_release_before_is_routed_until_pods_carry_the_new_one() {
    let a = || [String::from("a")].into();
    let (old, new) = (crate::streams::classes::earlier_class_id(&a()), crate::streams::class_id(&a()));
    let mut world = World::new(names::DEFAULT_NAMESPACE);
    let manifests = deployment("web")
        + &source("s", "Deployment", "web", "odigos.io/data-stream-a: 'true'")
        + &jaeger("j", ", sourceSelector: {dataStreams: [a]}");
    for object in read(&manifests).unwrap() {
        world.insert(object).unwrap();
    }
    let known = json!({"streamClasses": [{"id": old, "streams": ["a"]}]});
    let mut group = crate::fixtures::collectors_group(names::GATEWAY, known);
    group.metadata.namespace = Some(names::DEFAULT_NAMESPACE.to_owned());
    group.status.get_or_insert_default().served_stream_classes = vec![old.clone()];
    let key = (names::DEFAULT_NAMESPACE.to_owned(), names::GATEWAY.to_owned());
    world.groups.insert(key.clone(), group);
    let mut config = InstrumentationConfig::default();
    config.metadata.labels = Some([(STREAM_CLASS.to_owned(), old.clone())].into());
    world.configs.insert(("shop".to_owned(), "deployment-web".to_owned()), config);

    let settled = world.settle(NOW);
    assert_eq!(class_of(&world, "deployment-web"), new);
    let classes = &world.groups[&key].spec.stream_classes;
    let retired = |id: &str| classes.iter().find(|class| class.id == id).map(|class| class.retired_at.is_some());
    assert_eq!((retired(&new), retired(&old)), (Some(false), Some(true)), "what is under way still arrives");
    let text = settled.gateway.unwrap().config.to_yaml();
    let is_routed = |id: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == id);
    assert!(is_routed(&new) && is_routed(&old), "{text}");
    let after = NOW + crate::streams::DRAIN_PERIOD;
    world.settle(after);
    assert_eq!(world.groups[&key].spec.stream_classes.len(), 1);
}

/// What was detected stands in the manifests, as `odigos plan` reads it from a cluster.
fn detected(language: &str) -> String {
    format!(
        "apiVersion: odigos.io/v1alpha1\nkind: InstrumentationConfig\nmetadata: {{name: deployment-web, namespace: shop}}\nspec: {{agentInjectionEnabled: false}}\nstatus: {{runtimeDetailsByContainer: [{{containerName: app, language: {language}}}]}}\n---\n"
    )
}

#[test]
fn agents_are_decided_once_the_collectors_of_the_nodes_are_there() {
    let installed = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odigos-configuration, namespace: odigos-system}\ndata: {config.yaml: 'agentsImage: registry/agents:1'}\n---\n";
    let bare = || deployment("web") + &source("s", "Deployment", "web", "");
    let covered = || installed.to_owned() + &bare();
    let agent = |manifests: String| {
        let (world, _) = settled(&manifests);
        let config = &world.configs[&("shop".to_owned(), "deployment-web".to_owned())];
        let conditions = config.status.clone().unwrap().conditions;
        let reason = conditions.iter().find(|one| one.type_ == "AgentEnabled").unwrap().reason.clone();
        let first = config.spec.containers.first().map(|one| one.otel_distro_name.clone()).unwrap_or_default();
        (reason, config.spec.agent_injection_enabled, first)
    };
    let rows = [
        ("known", covered() + &detected("java") + &jaeger("d", ""), ("EnabledSuccessfully", true, "java-community")),
        ("31: no destination", covered() + &detected("java"), ("NoCollectedSignals", false, "")),
        ("not known yet", covered() + &jaeger("d", ""), ("WaitingForRuntimeInspection", false, "")),
        ("no files of it", bare() + &detected("java") + &jaeger("d", ""), ("NoAvailableAgent", false, "")),
        ("no agent for it", covered() + &detected("rust") + &jaeger("d", ""), ("NoAvailableAgent", false, "")),
    ];
    for (what, manifests, (reason, is_enabled, distribution)) in rows {
        assert_eq!(agent(manifests), (reason.to_owned(), is_enabled, distribution.to_owned()), "{what}");
    }
    let crashing = "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1-a, namespace: shop, labels: {pod-template-hash: '1'}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: u, controller: true}]}\nstatus: {containerStatuses: [{name: app, state: {waiting: {reason: CrashLoopBackOff}}}]}\n---\n";
    let before = agent(covered() + &detected("java") + &jaeger("d", "") + crashing);
    assert_eq!(before.0, "CrashLoopBackOff", "43: it crashes without an agent");
    assert!(!before.1);
}

#[test]
fn the_documented_manifests_work() {
    let stream = settled(
        &(deployment("web")
            + &source("s", "Deployment", "web", "odigos.io/data-stream-example: \"true\"")
            + &jaeger("d", ", sourceSelector: {dataStreams: [example]}")),
    );
    let plan = stream.1.gateway.clone().unwrap();
    assert!(plan.config.to_yaml().contains("traces/stream.example:"));
    let class = class_of(&stream.0, "deployment-web");
    assert!(plan.config.to_yaml().contains(&format!("== \"{class}\"")));
    let plain = settled(&(deployment("web") + &source("s", "Deployment", "web", "") + &jaeger("d", "")));
    assert_eq!(class_of(&plain.0, "deployment-web"), "default");
    assert!(
        plain.1.gateway.unwrap().config.to_yaml().contains("- traces/stream.default")
            || plain.0.outputs.values().any(|object| object.to_string().contains("traces/stream.default"))
    );
    assert_eq!(plain.1.findings, vec![]);
}

#[test]
fn an_empty_cluster_has_a_gateway_and_no_node_collector() {
    let (world, settled) = settled("");
    assert_eq!(world.groups.keys().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), [names::GATEWAY]);
    assert!(settled.rounds <= 3);
    let kinds: Vec<String> = world.written_objects().iter().map(title).collect();
    assert!(kinds.contains(&"Deployment odigos-system/odigos-gateway".to_owned()), "{kinds:?}");
    assert!(!kinds.iter().any(|title| title.starts_with("DaemonSet")));
}

#[test]
fn s10_s11_s12_namespaces_and_exclusions() {
    let workloads = deployment("a")
        + "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: b, namespace: shop}\nspec: {template: {spec: {containers: []}}}\n---\n"
        + "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: c, namespace: shop}\n---\n"
        + "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: d, namespace: shop}\n---\n"
        + "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: e, namespace: shop}\n---\n"
        + "apiVersion: apps.openshift.io/v1\nkind: DeploymentConfig\nmetadata: {name: f, namespace: shop}\n---\n"
        + "apiVersion: v1\nkind: Pod\nmetadata: {name: g, namespace: shop, annotations: {kubernetes.io/config.source: file}}\n---\n";
    let all = settled(&(workloads.clone() + &source("ns", "Namespace", "shop", "")));
    let expected =
        ["cronjob-d", "daemonset-c", "deployment-a", "deploymentconfig-f", "rollout-e", "statefulset-b", "staticpod-g"];
    assert_eq!(configs(&all.0), expected.map(|name| format!("shop/{name}")));
    let off = source("excluded", "Deployment", "a", "")
        .replace("kind: Deployment}", "kind: Deployment}, disableInstrumentation: true");
    let without = settled(&(workloads.clone() + &source("ns", "Namespace", "shop", "") + &off));
    assert!(!configs(&without.0).contains(&"shop/deployment-a".to_owned()));
    let only = settled(
        &(workloads
            + &source("a", "Deployment", "a", "")
            + &source("ns", "Namespace", "shop", "")
                .replace("kind: Namespace}", "kind: Namespace}, disableInstrumentation: true")),
    );
    assert_eq!(configs(&only.0), ["shop/deployment-a"]);
}

#[test]
fn a24_a27_streams_of_each_workload() {
    let label = |stream: &str, value: &str| format!("odigos.io/data-stream-{stream}: \"{value}\"");
    let manifests = ["s1", "s2", "s3", "s4"].map(deployment).concat()
        + &source("s1", "Deployment", "s1", &label("a", "true"))
        + &source("s2", "Deployment", "s2", &label("b", "true"))
        + &source("s3", "Deployment", "s3", &(label("a", "true") + ", " + &label("b", "true")))
        + &source("s4", "Deployment", "s4", "")
        + &jaeger("d-1", ", sourceSelector: {dataStreams: [a]}")
        + &jaeger("d-2", ", sourceSelector: {dataStreams: [a, b]}");
    let (world, settled) = settled(&manifests);
    let yaml = settled.gateway.unwrap().config.to_yaml();
    for name in ["s1", "s2", "s3"] {
        assert!(yaml.contains(&class_of(&world, &format!("deployment-{name}"))), "{name}");
    }
    assert_eq!(class_of(&world, "deployment-s4"), "default");
    let stream = &world.data_streams[&("odigos-system".to_owned(), "a".to_owned())];
    let status = stream.status.clone().unwrap();
    assert_eq!((status.members, status.destinations), (2, vec!["d-1".to_owned(), "d-2".to_owned()]));
}

/// What a DataStream lists are the classes that its workloads carry, in a pool of their own too.
#[test]
fn data_stream_lists_the_class_of_a_workload_in_a_pool() {
    let pools =
        "collectorGateway: {pools: [{name: heavy, workloads: [{namespace: shop, kind: Deployment, name: s1}]}]}";
    let manifests = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: odigos-configuration, namespace: odigos-system}}\ndata: {{config.yaml: '{pools}'}}\n---\n"
    ) + &deployment("s1")
        + &source("s1", "Deployment", "s1", "odigos.io/data-stream-a: \"true\"")
        + &jaeger("d-1", ", sourceSelector: {dataStreams: [a]}");
    let (world, _) = settled(&manifests);
    let stream = &world.data_streams[&("odigos-system".to_owned(), "a".to_owned())];
    assert_eq!(stream.status.clone().unwrap().classes, [class_of(&world, "deployment-s1")]);
}

#[test]
fn two_sources_for_one_workload_are_reported_and_harm_nobody() {
    let manifests = deployment("web")
        + &deployment("api")
        + &source("one", "Deployment", "web", "")
        + &source("two", "Deployment", "web", "")
        + &source("api", "Deployment", "api", "");
    let (world, settled) = settled(&manifests);
    assert_eq!(configs(&world), ["shop/deployment-api"]);
    let errors: Vec<String> = settled
        .findings
        .iter()
        .filter(|finding| finding.severity == odigos_api::Severity::Error)
        .map(ToString::to_string)
        .collect();
    assert!(
        errors.iter().any(|error| error.contains("Deployment/shop/web") && error.contains("one, two")),
        "{errors:?}"
    );
    assert!(errors.iter().any(|error| error.contains("Source/shop/two")), "{errors:?}");
}

#[test]
fn broken_input_is_a_finding_and_the_rest_stands() {
    let manifests = deployment("web")
        + &source("s", "Deployment", "web", "")
        + &source("bad", "Deployment", "'^pay-['", "")
            .replace("kind: Deployment}", "kind: Deployment}, matchWorkloadNameAsRegex: true")
        + &jaeger("good", "")
        + &jaeger("url", "").replace("jaeger:4317", "ftp://x y")
        + &jaeger("secret", "").replace("signals", "secretRef: {name: nowhere}, signals")
        + &jaeger("kind", "").replace("type: jaeger", "type: nosuch")
        + &jaeger("empty", ", sourceSelector: {}");
    let (world, settled) = settled(&manifests);
    let of = |name: &str| {
        world.destinations[&("odigos-system".to_owned(), name.to_owned())].status.clone().unwrap().conditions[0]
            .reason
            .clone()
    };
    assert_eq!(
        ["good", "url", "secret", "kind", "empty"].map(of),
        ["TransformedToOtelcolConfig", "InvalidSetting", "SecretNotFound", "ErrConfigDestination", "EmptySelector"]
    );
    assert!(settled.findings.iter().any(|finding| finding.object == "Source shop/bad"));
    assert_eq!(configs(&world), ["shop/deployment-web"]);
}

#[test]
fn texts_that_are_no_manifests() {
    assert!(read("a: [").is_err());
    assert!(read("- 1").is_err());
    assert_eq!(read("---\n---\n").unwrap().len(), 0);
    assert_eq!(read("{\"kind\": \"List\", \"items\": [{\"kind\": \"A\"}, {\"kind\": \"B\"}]}").unwrap().len(), 2);
    let bomb: String = std::iter::once("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned())
        .chain((1..12).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(","))))
        .collect();
    assert!(read(&bomb).is_err(), "an alias bomb is refused");
    let mut world = World::new("odigos-system");
    assert_eq!(world.insert(json!({"metadata": {"name": "x"}})).unwrap_err().field, "kind");
    assert_eq!(
        world.insert(json!({"kind": "Source", "apiVersion": "odigos.io/v1alpha1"})).unwrap_err().field,
        "metadata.name"
    );
    let shapeless = json!({"kind": "Destination", "apiVersion": "odigos.io/v1alpha1", "metadata": {"name": "d"}, "spec": {"signals": 3}});
    assert_eq!(world.insert(shapeless).unwrap_err().object, "Destination odigos-system/d");
}

#[test]
fn no_secret_value_is_kept() {
    let manifests = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: odigos-system, labels: {odigos.io/destination-secret: 'true'}, annotations: {odigos.io/destinations: d}}\nstringData: {DATADOG_API_KEY: hunter2}\n---\n".to_owned()
        + "apiVersion: odigos.io/v1alpha1\nkind: Destination\nmetadata: {name: d, namespace: odigos-system}\nspec: {type: datadog, destinationName: d, data: {DATADOG_SITE: datadoghq.com}, secretRef: {name: s}, signals: [TRACES]}\n";
    let (world, settled) = settled(&manifests);
    assert_eq!(settled.findings, vec![]);
    assert!(!format!("{world:?}{settled:?}").contains("hunter2"));
    assert!(!serde_json::to_string(&world.written_objects()).unwrap().contains("hunter2"));
}

#[test]
fn odd_names_and_endless_values_harm_nobody() {
    let long = "x".repeat(10_000);
    let odd = "a.b-c.0"; // every odd character that an object's name may have
    let stream = "odigos.io/data-stream-A_b.c-1";
    let manifests = deployment(odd)
        + &deployment("web")
        + &source("s.1-a", "Deployment", odd, &format!("{stream}: \"true\""))
        + &source("long", "Deployment", "web", "")
            .replace("kind: Deployment}", &format!("kind: Deployment}}, otelServiceName: {long}"))
        + &jaeger("d.1-a", ", sourceSelector: {dataStreams: [A_b.c-1]}")
        + &jaeger("long", "").replace("jaeger:4317", &format!("{long}:4317"))
        + &jaeger("dollar", "").replace("jaeger:4317", "$$(x)${env:HOME}:4317")
        + &jaeger("quoted", "").replace("destinationName: quoted", r#"destinationName: "a'b\"c: {}\n- #""#);
    let (world, settled) = settled(&manifests);
    assert_eq!(configs(&world), ["shop/deployment-a.b-c.0", "shop/deployment-web"]);
    let plan = settled.gateway.unwrap();
    assert_eq!(plan.problems, vec![]);
    let text = plan.config.to_yaml();
    assert!(text.contains("traces/stream.A_b.c-1:"), "the stream keeps its name");
    assert!(!text.contains("${env:HOME}"), "a value cannot read the collector's environment");
    for name in ["d.1-a", "quoted"] {
        assert_eq!(plan.destinations[name].status.as_str(), "True", "{name}: {}", plan.destinations[name].message);
    }
    serde_yaml::from_str::<serde_json::Value>(&text).unwrap();
}

/// A random cluster: workloads, sources and destinations, valid and broken ones mixed.
fn cluster() -> impl Strategy<Value = (Vec<String>, usize)> {
    let streams = proptest::sample::subsequence(vec!["a", "b", "c", "in", "void", "default"], 0..4);
    let source = (0..6_usize, streams.clone(), any::<bool>()).prop_map(|(workload, streams, namespace)| {
        let labels: Vec<String> =
            streams.iter().map(|stream| format!("odigos.io/data-stream-{stream}: \"true\"")).collect();
        let name = format!("s-{workload}-{namespace}");
        if namespace {
            source(&name, "Namespace", "shop", &labels.join(", "))
        } else {
            source(&name, "Deployment", &format!("w{workload}"), &labels.join(", "))
        }
    });
    let destination = (0..8_usize, streams, 0..6_u8).prop_map(|(id, streams, kind)| {
        let selector = format!(", sourceSelector: {{dataStreams: [{}]}}", streams.join(", "));
        match kind {
            0 => jaeger(&format!("broken-{id}"), &selector).replace("jaeger:4317", "https://x/y"),
            1 => jaeger(&format!("broken-{id}"), &selector).replace("type: jaeger", "type: nosuch"),
            2 => jaeger(&format!("good-{id}"), ""),
            3 => jaeger(&format!("good-{id}"), ", sourceSelector: {dataStreams: ['*']}"),
            _ => jaeger(&format!("good-{id}"), &selector),
        }
    });
    (proptest::collection::vec(source, 0..6), proptest::collection::vec(destination, 0..8)).prop_map(
        |(sources, destinations)| {
            let workloads = (0..6).map(|n| deployment(&format!("w{n}")));
            (workloads.chain(sources).chain(destinations).collect(), 0)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_cluster_renders_the_same_bytes_in_any_order_and_loses_no_valid_destination((documents, _) in cluster(), seed in any::<u64>()) {
        let (world, first) = settled(&documents.concat());
        let plan = first.gateway.unwrap();
        prop_assert_eq!(&plan.problems, &vec![]);
        prop_assert!(first.rounds <= 4);
        for ((_, name), destination) in &world.destinations {
            let condition = &destination.status.as_ref().unwrap().conditions[0];
            let expected = name.starts_with("good") || condition.reason == "EmptySelector";
            if name.starts_with("good") && condition.reason != "EmptySelector" {
                prop_assert_eq!(&condition.status, "True", "{}: {}", name, &condition.message);
            } else if !expected {
                prop_assert_eq!(&condition.status, "False");
            }
        }
        // Later documents of one name replace earlier ones, so only distinct ones may change places.
        let mut distinct: BTreeMap<String, String> = BTreeMap::new();
        for document in &documents {
            for object in read(document).unwrap() {
                distinct.insert(title(&object), document.clone());
            }
        }
        let mut shuffled: Vec<String> = distinct.into_values().collect();
        let turn = usize::try_from(seed % (shuffled.len() as u64 + 1)).unwrap();
        let turn = turn.min(shuffled.len());
        shuffled.rotate_left(turn);
        let (again, second) = settled(&shuffled.concat());
        prop_assert_eq!(second.gateway.unwrap().config.to_yaml(), plan.config.to_yaml());
        prop_assert_eq!(again.written_objects(), world.written_objects());
    }
}

#[test]
fn a_rule_that_makes_no_sense_is_told_where_it_does_not() {
    let rule = "apiVersion: odigos.io/v1alpha1\nkind: InstrumentationRule\nmetadata: {name: h, namespace: odigos-system}\nspec: {headersCollection: {headerKeys: [fine, 'a b']}}\n---\n";
    let (_, outcome) = settled(rule);
    let told: Vec<(&str, &str)> =
        outcome.findings.iter().map(|one| (one.object.as_str(), one.field.as_str())).collect();
    assert_eq!(told, [("InstrumentationRule odigos-system/h", "spec.headersCollection.headerKeys[1]")]);
}

fn configuration(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: odigos-configuration, namespace: odigos-system}}\ndata:\n  config.yaml: |\n{lines}---\n"
    )
}

/// An Argo Rollout that runs the template of a Deployment, which Argo has scaled to zero.
fn rollout_with_reference(kind: &str) -> String {
    let template =
        "{spec: {containers: [{name: app, livenessProbe: {httpGet: {path: /live, port: 8080}}}, {name: helper}]}}";
    let holder = match kind {
        "PodTemplate" => format!(
            "apiVersion: v1\nkind: PodTemplate\nmetadata: {{name: web, namespace: shop}}\ntemplate: {template}\n---\n"
        ),
        _ => format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: web, namespace: shop}}\nspec: {{replicas: 0, template: {template}}}\n---\n"
        ),
    };
    let probes = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odigos-configuration, namespace: odigos-system}\ndata: {config.yaml: 'sampling: {k8sHealthProbesSampling: {enabled: true}}'}\n---\n";
    format!(
        "{probes}{holder}apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {{name: web, namespace: shop}}\nspec: {{replicas: 5, workloadRef: {{apiVersion: apps/v1, kind: {kind}, name: web}}}}\n---\n"
    )
}

#[test]
fn ignored_namespace_is_reported_on_its_sources_and_covers_nothing() {
    let (world, settled) = settled(
        &(deployment("web") + &source("ns", "Namespace", "shop", "") + &configuration("ignoredNamespaces: [shop]")),
    );
    assert_eq!(configs(&world), Vec::<String>::new());
    let finding = settled.findings.iter().find(|one| one.object == "Source shop/ns").unwrap();
    assert!(finding.message.contains("ignoredNamespaces"), "{finding:?}");
}

#[test]
fn opt_out_covers_without_sources_and_never_the_control_plane() {
    let own = deployment("own").replace("namespace: shop", "namespace: odigos-system");
    let (world, _) = settled(&(deployment("web") + &own + &configuration("instrumentation: {mode: optOut}")));
    assert_eq!(configs(&world), ["shop/deployment-web"]);
    assert_eq!(class_of(&world, "deployment-web"), "default");
    let excluded = source("ns", "Namespace", "shop", "")
        .replace("kind: Namespace}", "kind: Namespace}, disableInstrumentation: true");
    let (world, _) = settled(&(deployment("web") + &excluded + &configuration("instrumentation: {mode: optOut}")));
    assert_eq!(configs(&world), Vec::<String>::new());
}

#[test]
fn a_rollout_is_covered_with_the_template_that_it_refers_to() {
    let overrides = "apiVersion: odigos.io/v1alpha1\nkind: Source\nmetadata: {name: web, namespace: shop}\nspec: {workload: {kind: Rollout, name: web, namespace: shop}, containerOverrides: [{containerName: app, runtimeInfo: {containerName: app, language: java, runtimeVersion: '17'}}, {containerName: typo, otelDistroName: java-community}]}\n---\n";
    for kind in ["Deployment", "ReplicaSet", "PodTemplate"] {
        let (world, settled) = settled(&(rollout_with_reference(kind) + overrides));
        assert_eq!(configs(&world), ["shop/rollout-web"], "{kind}");
        let spec = &world.configs[&("shop".to_owned(), "rollout-web".to_owned())].spec;
        let names: Vec<&str> = spec.containers_overrides.iter().map(|one| one.container_name.as_str()).collect();
        assert_eq!(names, ["app", "helper"], "{kind}");
        assert_eq!(spec.containers_overrides[0].runtime_info.as_ref().unwrap().language, "java");
        assert_eq!(spec.workload_collector_config[0].container_name, "app", "its health probes are known");
        let found: Vec<&Finding> = settled.findings.iter().filter(|one| one.object == "Source shop/web").collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].field, "spec.containerOverrides[1].containerName");
        assert!(found[0].message.contains("it has: app, helper"), "{found:?}");
    }
    let nobody =
        rollout_with_reference("Deployment").replace("kind: Deployment, name: web", "kind: Deployment, name: other");
    let (world, _) = settled(&(nobody + overrides));
    let config = &world.configs[&("shop".to_owned(), "rollout-web".to_owned())];
    let conditions = &config.status.as_ref().unwrap().conditions;
    let enabled = conditions.iter().find(|one| one.type_ == "AgentEnabled").unwrap();
    assert!(
        enabled.message.contains("Deployment other (spec.workloadRef), which does not exist"),
        "{}",
        enabled.message
    );
}

#[test]
fn a_deployment_whose_pods_are_a_rollouts_is_not_covered_a_second_time() {
    let all = source("all", "Namespace", "shop", "");
    let (world, _) = settled(&(rollout_with_reference("Deployment") + &all));
    assert_eq!(configs(&world), ["shop/rollout-web"]);
    let (world, settled_) = settled(&(rollout_with_reference("Deployment") + &source("web", "Deployment", "web", "")));
    assert!(configs(&world).is_empty());
    let found: Vec<&str> = settled_
        .findings
        .iter()
        .filter(|one| one.object == "Source shop/web")
        .map(|one| one.message.as_str())
        .collect();
    assert!(found.iter().any(|one| one.contains("Rollout shop/web runs its pod template")), "{found:?}");
    // Both have pods while a Deployment is taken over.
    let both = rollout_with_reference("Deployment").replace("replicas: 0", "replicas: 2");
    let (world, _) = settled(&(both + &all));
    assert_eq!(configs(&world), ["shop/deployment-web", "shop/rollout-web"]);
}

#[test]
fn pods_are_those_of_the_owners_that_their_labels_and_jobs_tell() {
    let pod = |name: &str, kind: &str, owner: &str, labels: &str| {
        let version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{{labels}}}, ownerReferences: [{{apiVersion: {version}, kind: {kind}, name: {owner}, uid: u, controller: true}}]}}\nspec: {{containers: [{{name: app}}]}}\n---\n"
        )
    };
    let job = |name: &str, owner: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, namespace: shop{owner}}}\nspec: {{template: {{spec: {{containers: [{{name: app}}]}}}}}}\n---\n"
        )
    };
    let cron = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: import, namespace: shop}\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{name: app}]}}}}}\n---\n".to_owned();
    let owned = ", ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: import, uid: u, controller: true}]";
    let manifests = cron
        + &source("import", "CronJob", "import", "odigos.io/data-stream-batch: 'true'")
        + &deployment("web")
        + &source("web", "Deployment", "web", "odigos.io/data-stream-web: 'true'")
        + &job("import-by-hand", owned)
        + &job("import-20260814", "")
        + &pod("scheduled", "Job", "import-29380000", "")
        + &pod("by-hand", "Job", "import-by-hand", "")
        + &pod("dated", "Job", "import-20260814", "")
        + &pod("own-set", "ReplicaSet", "web-v2", "app: web")
        + &pod("deployed", "ReplicaSet", "web-5d4f", "pod-template-hash: 5d4f")
        + &jaeger("d", ", sourceSelector: {dataStreams: [batch, web]}");
    let (world, _) = settled(&manifests);
    let of = |name: &str| world.pods[&("shop".to_owned(), name.to_owned())].workload.as_ref().map(ToString::to_string);
    let class = |name: &str| world.pods[&("shop".to_owned(), name.to_owned())].stream_class.clone();
    assert_eq!(of("scheduled").as_deref(), Some("CronJob shop/import"));
    assert_eq!(of("by-hand").as_deref(), Some("CronJob shop/import"));
    assert_eq!(class("by-hand"), Some(class_of(&world, "cronjob-import")));
    assert_eq!(of("dated").as_deref(), Some("Job shop/import-20260814"));
    assert_eq!((of("own-set"), class("own-set")), (None, None));
    assert_eq!(class("deployed"), Some(class_of(&world, "deployment-web")));
}
