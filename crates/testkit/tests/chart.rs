//! The Helm chart: rendered by Helm, strict about values, and with no permission that is not needed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something unexpected happens"
)]

use odigos_api::names;
use odigos_testkit::chart::{lint, permissions, render, render_chart};
use odigos_tools::root;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

fn objects(rendered: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(rendered)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| !object.is_null())
        .collect()
}

fn title(object: &Value) -> String {
    format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
}

#[test]
fn helm_finds_nothing_wrong_and_renders_the_same_bytes() {
    lint().unwrap();
    assert_eq!(render("a", &[]).unwrap(), render("a", &[]).unwrap());
}

#[test]
fn values_that_do_not_exist_are_refused_by_name() {
    for (set, said) in [
        ("nonsense=1", "nonsense"),
        ("image.prefiks=x", "prefiks"),
        ("controllers.replicas=many", "replicas"),
        ("webhooks.pods=maybe", "pods"),
    ] {
        let refused = render("a", &[set]).unwrap_err().to_string();
        assert!(refused.contains(said), "{set}: {refused}");
    }
}

/// Values that an API server, a kubelet or the control plane could not use: Helm refuses them and names the value.
#[test]
fn values_that_cannot_work_are_refused_by_name() {
    for (set, named) in [
        ("config=null", "config"),
        ("controllers=null", "controllers"),
        ("agent.golang=null", "golang"),
        ("instrumentor.mountMethod=k8s-hostpath", "mountMethod"),
        ("instrumentor.agentEnvVarsInjectionMethod=loaded", "agentEnvVarsInjectionMethod"),
        ("config.mountMethod=k8s-hostpath", "mountMethod"),
        ("controllers.tolerations[0].operator=Exist", "operator"),
        ("controllers.tolerations[0].key=a,controllers.tolerations[0].effect=NoWay", "effect"),
        ("agent.tolerations[0].kee=a", "kee"),
        ("agent.tolerations[0].value=a", "tolerations/0"),
        ("controllers.resources.limit.memory=1Gi", "limit"),
        ("controllers.resources.limits.memory=512m", "memory"),
        ("agent.resources.requests.memory=64", "memory"),
        ("agent.golang.resources.limits.memory=256 MB", "memory"),
        ("config.runtimeDetection.resources.limits.cpu=much", "cpu"),
        ("controllers.priorityClassName=Very High", "priorityClassName"),
        ("agent.detectionPods.priorityClassName=a_b", "priorityClassName"),
        ("controllers.nodeSelector.disk=fast ssd", "disk"),
        ("controllers.log=info debug", "log"),
        ("agent.podLogs=/var/log/my pods", "podLogs"),
        ("image.tag=v 1", "tag"),
        ("images.gateway=a b", "gateway"),
        ("ignoredNamespaces={Shop}", "ignoredNamespaces"),
        ("ignoredNamespaces={*}", "ignoredNamespaces"),
        ("webhooks.ignoredNamespaces={team-*}", "ignoredNamespaces"),
        ("networkPolicies.scrapeFrom[0].podselector.matchLabels.a=b", "podselector"),
        ("networkPolicies.scrapeFrom[0].ipBlock.cidr=anywhere", "cidr"),
        ("networkPolicies.scrapeFrom[0].namespaceSelector.matchLabel.a=b", "matchLabel"),
        ("collectorGateway.minReplicas=-1", "minReplicas"),
        ("collectorGateway.maxReplicas=0", "maxReplicas"),
        ("collectorGateway.limitMemoryMiB=4", "limitMemoryMiB"),
        ("collectorGateway.queueVolume.size=1m", "size"),
        ("collectorGateway.deploymentName=My_Gateway", "deploymentName"),
        ("collectorGateway.pools[0].name=a,collectorGateway.pools[0].dataStream={x}", "dataStream"),
        ("collectorGateway.pools[0].name=a,collectorGateway.pools[0].minReplicas=-1", "minReplicas"),
        ("collectorGateway.pools[0].dataStreams={x}", "name"),
        ("metricsSources.spanMetrics.interval=1 minute", "interval"),
        ("sampling.k8sHealthProbesSampling.keepPercentage=101", "keepPercentage"),
        ("config.imagePullSecrets={Reg Cred}", "imagePullSecrets"),
        ("config.processors.additionalTypes={k8sattribute}", "additionalTypes"),
        ("config.userInstrumentationEnvs.languages.java.env.A B=c", "A B"),
        ("collectorGateway.clusterMetricsEnabled=true", "clusterMetrics: true"),
        ("config.collectorGateway.clusterMetricsEnabled=true", "clusterMetrics: true"),
        (
            "config.customContainerRuntimeSocketPath=/run/k3s/containerd/containerd.sock",
            "agent.containerRuntime.enabled: true",
        ),
        ("agent.containerRuntime.socket=/run/crio/crio.sock", "agent.containerRuntime.enabled: true"),
    ] {
        let refused = render("a", &[set]).map(|_| "rendered").unwrap_err().to_string();
        assert!(refused.contains(named), "{set}: {refused}");
        assert!(!refused.contains("nil pointer") && !refused.contains("panic"), "{set}: {refused}");
    }
}

/// What a strict schema must not refuse: other ways to write the same, and nothing where a default may be taken away.
#[test]
fn usual_ways_to_write_values_are_accepted() {
    for set in [
        "collectorGateway.minReplicas=3,collectorGateway.queueVolume.size=10Gi",
        "controllers.resources.limits.memory=1.5Gi,controllers.resources.requests.cpu=0.1",
        "controllers.resources=null,controllers.nodeSelector=null,controllers.tolerations=null",
        "agent.tolerations[0].operator=Exists,agent.tolerations[0].effect=NoExecute,agent.tolerations[0].tolerationSeconds=60",
        "agent.tolerations[0].key=node-role.kubernetes.io/control-plane,agent.tolerations[0].value=",
        "collectorNode=null,resourceDetectors.ec2.enabled=true",
        "config.ui=null",
        "controllers.log=info\\,kube_client=debug",
        "image.tag=1.2.3-rc.1,images.gateway=r.example.com:5000/a/b@sha256:0123456789abcdef0123456789abcdef",
        "clusterMetrics=true,collectorGateway.clusterMetricsEnabled=true",
        "agent.containerRuntime.enabled=true,config.customContainerRuntimeSocketPath=/run/k3s/containerd/containerd.sock",
        "config.processors.additionalTypes={k8sattributes,memory_limiter}",
        "networkPolicies.scrapeFrom[0].namespaceSelector.matchExpressions[0].key=a,networkPolicies.scrapeFrom[0].namespaceSelector.matchExpressions[0].operator=Exists",
        "collectorGateway.pools[0].name=a,collectorGateway.pools[0].dataStreams={x},collectorGateway.pools[0].signals={TRACES},collectorGateway.pools[0].nodeSelector.zone=eu",
    ] {
        render("a", &[set]).unwrap_or_else(|error| panic!("{set}: {error}"));
    }
    let (configuration, findings) = effective(&["clusterMetrics=true", "collectorGateway.clusterMetricsEnabled=true"]);
    assert_eq!(configuration.flag("collectorGateway.clusterMetricsEnabled"), Some(true));
    assert_eq!(findings, Vec::<String>::new());
    let socket = "config.customContainerRuntimeSocketPath=/run/k3s/containerd/containerd.sock";
    assert_eq!(effective(&["agent.containerRuntime.enabled=true", socket]).1, Vec::<String>::new());
    let nowhere = effective(&["agent.containerRuntime.enabled=true", "agent.detection=false", socket]).1;
    assert!(nowhere.len() == 1 && nowhere[0].contains("mounts the socket"), "{nowhere:?}");
}

#[test]
fn everything_stands_in_the_namespace_of_the_release() {
    let sets = ["clusterMetrics=true", "customMetrics.enabled=true"];
    let rendered = render("somewhere", &sets).unwrap();
    assert!(!rendered.contains(names::DEFAULT_NAMESPACE), "no namespace is written into the chart");
    let cluster_wide = ["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "APIService"];
    for object in objects(&rendered) {
        let kind = object["kind"].as_str().unwrap();
        let is_admission = kind.ends_with("WebhookConfiguration") || kind.starts_with("ValidatingAdmissionPolicy");
        let is_cluster_wide = cluster_wide.contains(&kind) || is_admission;
        let namespace = object["metadata"]["namespace"].as_str();
        // What the API server says of its front proxy stands there, and only a binding there lets it be read.
        let expected = match title(&object).as_str() {
            "RoleBinding odigos-autoscaler-authentication-reader" => "kube-system",
            _ => "somewhere",
        };
        assert_eq!(namespace, (!is_cluster_wide).then_some(expected), "{}", title(&object));
    }
}

#[test]
fn kinds_and_budgets_can_be_left_out_and_kinds_are_kept() {
    let of_kind = |sets: &[&str], kind: &str| -> Vec<Value> {
        objects(&render("a", sets).unwrap()).into_iter().filter(|object| object["kind"] == kind).collect()
    };
    let kinds = of_kind(&[], "CustomResourceDefinition");
    assert_eq!(kinds.len(), odigos_api::crds::all().len() + odigos_api::crds::legacy().len());
    for kind in kinds {
        assert_eq!(kind["metadata"]["annotations"]["helm.sh/resource-policy"], "keep", "{}", title(&kind));
    }
    assert!(of_kind(&["crds.install=false"], "CustomResourceDefinition").is_empty());
    assert_eq!(of_kind(&[], "PodDisruptionBudget").len(), 3);
    // With one replica a budget would only keep nodes from being drained.
    assert!(of_kind(&["controllers.replicas=1"], "PodDisruptionBudget").is_empty());
}

#[test]
fn the_custom_metrics_api_comes_whole_or_not_at_all() {
    let plain = render("a", &[]).unwrap();
    for word in ["APIService", "custom-metrics", "custom.metrics.k8s.io", "extension-apiserver-authentication"] {
        assert!(!plain.contains(word), "{word}");
    }
    let with = objects(&render("a", &["customMetrics.enabled=true"]).unwrap());
    let named = |kind: &str, name: &str| {
        let found = with.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("{kind} {name}"))
    };
    let service = &named("APIService", "v1beta1.custom.metrics.k8s.io")["spec"]["service"];
    assert_eq!((&service["name"], &service["namespace"]), (&"odigos-autoscaler".into(), &"a".into()));
    let port = &named("Service", "odigos-autoscaler")["spec"]["ports"][0];
    assert_eq!(port["port"], service["port"]);
    let container = &named("Deployment", "odigos-autoscaler")["spec"]["template"]["spec"]["containers"][0];
    let ports = container["ports"].as_array().unwrap();
    assert!(ports.iter().any(|one| one["name"] == port["targetPort"]), "{ports:?}");
    assert!(container["args"].as_array().unwrap().iter().any(|one| one == "--custom-metrics"));
}

#[test]
fn pods_run_without_privileges_and_from_the_images_that_were_asked_for() {
    let sets = ["image.prefix=registry.test/x", "image.tag=v9", "images.scheduler=other.test/s@sha256:abc"];
    let mut images = Vec::new();
    for object in objects(&render("a", &sets).unwrap()) {
        if object["kind"] != "Deployment" {
            continue;
        }
        let pod = &object["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in pod["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["capabilities"]["drop"][0], "ALL");
            assert!(container["resources"]["limits"]["memory"].is_string());
            images.push(container["image"].as_str().unwrap().to_owned());
        }
    }
    images.sort();
    assert_eq!(
        images,
        ["other.test/s@sha256:abc", "registry.test/x/odigos-autoscaler:v9", "registry.test/x/odigos-instrumentor:v9"]
    );
}

/// Each collector has an image of its own, and one value replaces both.
#[test]
fn collectors_run_the_images_of_their_role() {
    let images = |sets: &[&str]| -> [String; 2] {
        let all = objects(&render("a", sets).unwrap());
        let autoscaler = all.iter().find(|object| title(object) == "Deployment odigos-autoscaler").unwrap();
        let arguments = autoscaler["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().clone();
        let value = |name: &str| {
            let mut given = arguments.iter().filter_map(|one| one.as_str()?.strip_prefix(name));
            given.next().unwrap_or_else(|| panic!("{arguments:?}")).to_owned()
        };
        ["--gateway-image=", "--node-collector-image="].map(value)
    };
    let release = ["image.prefix=r.test/x", "image.tag=v9"];
    assert_eq!(images(&release), ["r.test/x/odigos-gateway:v9", "r.test/x/odigos-node-collector:v9"]);
    assert_eq!(images(&["images.collector=c.test/contrib:1"]), ["c.test/contrib:1", "c.test/contrib:1"]);
    let own = ["images.collector=c.test/contrib:1", "images.nodeCollector=c.test/n@sha256:abc"];
    assert_eq!(images(&own), ["c.test/contrib:1", "c.test/n@sha256:abc"]);
}

/// A release writes digests into the chart that it packages and into its manifests: nothing is named by a tag any more.
#[test]
fn packaged_chart_and_manifests_run_images_by_their_digest() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let copied = std::process::Command::new("cp").arg("-r").arg(root().join("charts/odigos")).arg(at("chart")).status();
    assert!(copied.unwrap().success());
    std::fs::copy(root().join("deploy/manifests/odigos.yaml"), at("odigos.yaml")).unwrap();
    std::fs::create_dir(at("digests")).unwrap();
    let pin = || {
        let mut command = std::process::Command::new(root().join("deploy/images/pin.sh"));
        command.args([at("digests"), at("chart"), at("odigos.yaml"), at("images.yaml")]).output().unwrap()
    };
    let images = [
        "odigos-instrumentor",
        "odigos-scheduler",
        "odigos-autoscaler",
        "odigos-agent",
        "odigos-gateway",
        "odigos-node-collector",
    ];
    let digest = |name: &str| format!("sha256:{:064x}", images.iter().position(|one| *one == name).unwrap() + 1);
    for name in &images[1..] {
        std::fs::write(
            at("digests").join(name),
            format!(
                "{}
",
                digest(name)
            ),
        )
        .unwrap();
    }
    let missing = pin();
    assert!(
        !missing.status.success()
            && String::from_utf8_lossy(&missing.stderr).contains("no digest of odigos-instrumentor")
    );
    std::fs::write(at("digests").join(images[0]), digest(images[0])).unwrap();
    let pinned = pin();
    assert!(pinned.status.success(), "{pinned:?}");
    let rendered = render_chart(&at("chart"), "a", &[]).unwrap();
    for text in [rendered, std::fs::read_to_string(at("odigos.yaml")).unwrap()] {
        for name in images {
            let reference = format!("ghcr.io/odigos-rs/{name}@{}", digest(name));
            assert!(text.contains(&reference), "{reference}");
        }
        assert!(!text.contains("ghcr.io/odigos-rs/odigos-agent:"), "the agents' image too");
        assert!(objects(&text).len() > 20);
    }
    // The chart in the command, which was built before there were digests, with the file that is written for it.
    let own = odigos_chart::Chart::embedded().unwrap();
    let values = odigos_chart::read(&std::fs::read_to_string(at("images.yaml")).unwrap()).unwrap();
    let release = odigos_chart::Release { name: "odigos".into(), namespace: "a".into(), service: "odigos".into() };
    let text = serde_json::to_string(&own.render(&values, &release).unwrap()).unwrap();
    for name in images {
        assert!(text.contains(&format!("ghcr.io/odigos-rs/{name}@{}", digest(name))), "{name}");
    }
    assert!(!text.contains("ghcr.io/odigos-rs/odigos-agent:"), "the agents' image too");
    assert!(!pin().status.success(), "what is pinned is not pinned again in silence");
}

/// Base images are fetched by digest: a release is not made before all of them have one, and one command writes them all.
#[test]
fn base_images_without_a_digest_stop_a_release() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let copied =
        std::process::Command::new("cp").arg("-r").arg(root().join("deploy/images")).arg(at("images")).status();
    assert!(copied.unwrap().success());
    // A registry whose digest of a tag is that of its name.
    std::fs::create_dir(at("bin")).unwrap();
    let docker = "#!/bin/sh\n[ \"$1 $2 $3\" = 'buildx imagetools inspect' ] || exit 1\nprintf 'sha256:%s' \"$(printf %s \"$4\" | sha256sum | cut -c1-64)\"\n";
    std::fs::write(at("bin/docker"), docker).unwrap();
    std::fs::set_permissions(at("bin/docker"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = |argument: &str| {
        let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
        let mut command = std::process::Command::new(root().join("deploy/images/base.sh"));
        command.arg(argument).env("PATH", path).env("ODIGOS_DOCKERFILES", at("images")).output().unwrap()
    };
    let listed = |text: &str| -> Vec<String> {
        let fetched = text.lines().filter_map(|line| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["FROM", image, ..] => Some((*image).to_owned()),
            ["COPY", from, ..] => from.strip_prefix("--from=").map(str::to_owned),
            _ => None,
        });
        fetched.filter(|image| image.contains(':')).collect()
    };
    let files = ["Dockerfile", "agents/dotnet/Dockerfile", "agents/php/Dockerfile", "agents/ruby/Dockerfile"];
    let images = || -> Vec<String> {
        files.iter().flat_map(|file| listed(&std::fs::read_to_string(at("images").join(file)).unwrap())).collect()
    };
    let before: Vec<String> = images().into_iter().map(|image| image.split('@').next().unwrap().to_owned()).collect();
    assert!(before.len() > 20, "{before:?}");
    // One that has a digest already is none of the problems, and one without is.
    let file = at("images").join("Dockerfile");
    let text = std::fs::read_to_string(&file).unwrap();
    let open: String = text
        .lines()
        .map(|line| match line.split_once("@sha256:") {
            Some((image, rest)) => format!("{image}{}\n", &rest[64..]),
            None => format!("{line}\n"),
        })
        .collect();
    std::fs::write(&file, open).unwrap();
    let refused = run("check");
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && message.contains("rust:") && !message.contains("scratch"), "{message}");
    for _ in 0..2 {
        let pinned = run("pin");
        assert!(pinned.status.success(), "{pinned:?}");
        assert!(run("check").status.success());
        let after = images();
        let digest = |image: &&String| image.split_once("@sha256:").is_some_and(|(_, digest)| digest.len() == 64);
        assert!(after.iter().all(|image| digest(&image)), "{after:?}");
        let tags: Vec<String> = after.iter().map(|image| image.split('@').next().unwrap().to_owned()).collect();
        assert_eq!(tags, before, "a digest follows its tag");
    }
}

/// With detection pods there is no DaemonSet, no account of the agents, and one that may do nothing for the pods.
#[test]
fn without_agents_on_nodes_nothing_of_them_is_installed() {
    for (sets, accounts, roles) in
        [(&["agent.mode=pod"][..], 1, 1), (&["agent.mode=pod", "agent.detection=false"][..], 0, 0), (&[][..], 0, 0)]
    {
        let all = objects(&render("a", sets).unwrap());
        let count = |wanted: &str| all.iter().filter(|object| title(object) == wanted).count();
        assert_eq!(count("ServiceAccount odigos-detection"), accounts, "{sets:?}");
        assert_eq!(
            count("Role odigos-detection-pods") + count("RoleBinding odigos-detection-pods"),
            2 * roles,
            "{sets:?}"
        );
        let agents = all.iter().filter(|object| object["metadata"]["name"] == "odiglet").count();
        assert_eq!(agents == 0, !sets.is_empty(), "{sets:?}: {agents}");
        assert!(all.iter().all(|object| object["roleRef"]["name"] != "odigos-detection"));
    }
    let rendered = render("a", &["agent.mode=pod", "image.pullSecrets={one}"]).unwrap();
    let configuration =
        objects(&rendered).into_iter().find(|one| title(one) == "ConfigMap odigos-configuration").unwrap();
    let text = configuration["data"]["config.yaml"].as_str().unwrap();
    let options = odigos_plan::detection::Options::of(&odigos_plan::configuration::Configuration::parse(text).unwrap());
    assert_eq!(options.mode, odigos_plan::detection::Mode::Pod);
    assert!(options.image.ends_with("/odigos-agent:0.1.0") && options.pull_secrets == ["one"], "{options:?}");
    assert_eq!((options.most, options.tolerations.len(), options.node_selector.len()), (4, 1, 1));
    assert!(options.resources.contains_key("requests") && options.pull_policy == "IfNotPresent", "{options:?}");
}

#[test]
fn admission_fails_closed_for_destinations_alone_and_spares_the_system() {
    let rendered = render("a", &[]).unwrap();
    let mut seen = 0;
    for object in objects(&rendered) {
        for hook in object["webhooks"].as_array().into_iter().flatten() {
            seen += 1;
            let is_closed = hook["rules"][0]["resources"][0] == "destinations";
            assert_eq!(hook["failurePolicy"], if is_closed { "Fail" } else { "Ignore" }, "{}", hook["name"]);
            assert!(hook["timeoutSeconds"].as_u64().unwrap() <= 5, "{}", hook["name"]);
            if hook["rules"][0]["resources"][0] == "pods" {
                let spared = hook["namespaceSelector"]["matchExpressions"][0]["values"].as_array().unwrap();
                assert!(spared.iter().any(|one| one == "kube-system") && spared.iter().any(|one| one == "a"));
            }
        }
    }
    assert_eq!(seen, 8);
}

/// `docs/install.md` lists what every account may do, grouped by verbs.
#[test]
fn install_page_lists_every_permission() {
    let table = permissions(&render("a", &["clusterMetrics=true", "customMetrics.enabled=true"]).unwrap()).unwrap();
    let mut verbs: BTreeMap<[&str; 3], Vec<&str>> = BTreeMap::new();
    for line in table.lines().filter(|line| !line.starts_with("other")) {
        let mut words = line.splitn(2, char::is_whitespace);
        let scope = words.next().unwrap();
        let rest: Vec<&str> = words.next().unwrap().trim_start().splitn(2, char::is_whitespace).collect();
        let (verb, resource) = rest[1].trim_start().split_once(char::is_whitespace).unwrap();
        verbs.entry([rest[0], scope, resource.trim_start()]).or_default().push(verb);
    }
    let mut rows: BTreeMap<[String; 3], Vec<&str>> = BTreeMap::new();
    for ([account, scope, resource], verbs) in verbs {
        rows.entry([account.into(), scope.into(), verbs.join(", ")]).or_default().push(resource);
    }
    let rows = rows.into_iter().map(|([account, scope, verbs], resources)| {
        format!("| `{account}` | {scope} | {verbs} | {} |\n", resources.join(", "))
    });
    let expected: String = rows.collect();
    let page = std::fs::read_to_string(odigos_tools::root().join("docs/install.md")).unwrap();
    let (_, rest) = page.split_once("| account | where | verbs | of |\n|---|---|---|---|\n").unwrap();
    let (found, _) = rest.split_once("\n\n").unwrap();
    assert_eq!(format!("{found}\n"), expected);
}

/// The Secret of a registry for images of agents: one name, to be read alone, and nothing where none is named.
#[test]
fn pull_secret_of_agents_adds_one_permission_where_it_is_named() {
    let table = |sets: &[&str]| permissions(&render("a", sets).unwrap()).unwrap();
    let before = table(&[]);
    let after = table(&["config.agentImages.pullSecret=registry"]);
    let added: Vec<&str> = after.lines().filter(|line| !before.lines().any(|one| one == *line)).collect();
    assert_eq!(added.len(), 1, "{added:?}");
    let words: Vec<&str> = added[0].split_whitespace().collect();
    assert_eq!(words, ["cluster", "odigos-instrumentor", "get", "secrets", "only", "registry"]);
    // Another image beside it, and no name at all.
    assert_eq!(table(&["config.agentImages.ruby-community=r/ruby:1"]), before);
    assert_eq!(table(&["config.agentImages.pullSecret="]), before);
}

/// The table itself is `tests/rbac.txt`, which `cargo xtask generate --check` compares; these are the rules that no table
/// may break.
#[test]
fn permissions_are_few() {
    let table = permissions(&render("a", &["clusterMetrics=true", "customMetrics.enabled=true"]).unwrap()).unwrap();
    assert!(table.lines().count() > 100, "{table}");
    let without_agents = permissions(&render("a", &["agent.mode=pod"]).unwrap()).unwrap();
    let table = table + &without_agents;
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (scope, verb, resource) = (words[0], words[2], words[3]);
        assert!(!line.contains('*'), "wildcard: {line}");
        assert!(!["escalate", "bind", "impersonate", "deletecollection"].contains(&verb), "{line}");
        assert!(!resource.contains("rbac.authorization"), "{line}");
        if scope == "cluster" {
            assert!(!resource.starts_with("secrets") && !resource.starts_with("configmaps"), "{line}");
            let writes = !["get", "list", "watch"].contains(&verb);
            let one_of_all = ["admissionregistration", "apiregistration"].iter().any(|group| resource.contains(group))
                && line.contains(" only ")
                && verb == "patch";
            let ours = resource.contains("odigos.io") || one_of_all;
            // Agents come with a restart, which is an annotation of the pod template.
            let restarts = verb == "patch"
                && words[1] == names::INSTRUMENTOR
                && [
                    "deployments.apps",
                    "statefulsets.apps",
                    "daemonsets.apps",
                    "rollouts.argoproj.io",
                    "deploymentconfigs.apps.openshift.io",
                ]
                .contains(&resource);
            // One pod goes ahead of a rollout, and missed ones are made anew: by eviction, so that budgets are kept.
            let evicts = words[1] == names::INSTRUMENTOR && (verb, resource) == ("create", "pods/eviction");
            let asks = words[1] == names::INSTRUMENTOR && resource == "subjectaccessreviews.authorization.k8s.io";
            let known = ours
                || restarts
                || evicts
                || asks
                || (verb, resource) == ("patch", "pods")
                || (verb, resource) == ("patch", "nodes")
                || resource.contains("/finalizers")
                || resource.starts_with("events.events");
            assert!(!writes || known, "writes to the whole cluster: {line}");
        }
        if resource == "secrets" && verb == "get" {
            let account = words[1];
            assert!(account == names::AUTOSCALER || line.contains(" only "), "{line}");
        }
    }
}

/// The configuration that the chart writes with these values, as the scheduler makes it effective.
fn effective(sets: &[&str]) -> (odigos_plan::configuration::Configuration, Vec<String>) {
    let rendered = render("odigos-system", sets).unwrap_or_else(|error| panic!("{sets:?}: {error}"));
    let objects = objects(&rendered);
    let map = objects.iter().find(|object| title(object) == "ConfigMap odigos-configuration").unwrap();
    let text = map["data"]["config.yaml"].as_str().unwrap();
    let effective = odigos_plan::configuration::effective(text, None, None, "odigos-system");
    let findings = effective.findings.into_iter().map(|one| format!("{}: {}", one.field, one.message)).collect();
    (effective.result.unwrap(), findings)
}

#[test]
fn default_configuration_has_no_findings() {
    assert_eq!(effective(&[]).1, Vec::<String>::new());
    assert_eq!(effective(&["agent.mode=pod"]).1, Vec::<String>::new());
}

#[test]
fn documented_values_are_aliases_of_the_configuration() {
    for (set, path, expected) in [
        (
            "sampling.tailSampling.traceAggregationWaitDuration=45s",
            "sampling.tailSampling.traceAggregationWaitDuration",
            "\"45s\"",
        ),
        ("sampling.tailSampling.disabled=true", "sampling.tailSampling.disabled", "true"),
        ("sampling.dryRun=true", "sampling.dryRun", "true"),
        ("sampling.k8sHealthProbesSampling.enabled=true", "sampling.k8sHealthProbesSampling.enabled", "true"),
        ("sampling.spanSamplingAttributes.disabled=true", "sampling.spanSamplingAttributes.disabled", "true"),
        ("ResourceSizePreset=size_l", "resourceSizePreset", "\"size_l\""),
        ("collectorGateway.minReplicas=3", "collectorGateway.minReplicas", "3"),
        ("collectorGateway.maxReplicas=9", "collectorGateway.maxReplicas", "9"),
        ("collectorGateway.limitMemoryMiB=900", "collectorGateway.limitMemoryMiB", "900"),
        ("collectorGateway.serviceGraphDisabled=true", "collectorGateway.serviceGraph.disabled", "true"),
        ("collectorGateway.nodeSelector.zone=a", "collectorGateway.nodeSelector.zone", "\"a\""),
        ("collectorNode.limitMemoryMiB=700", "collectorNode.limitMemoryMiB", "700"),
        ("collectorNode.k8sNodeLogsDirectory=/mnt/log", "collectorNode.k8sNodeLogsDirectory", "\"/mnt/log\""),
        ("resourceDetectors.ec2.enabled=true", "collectorNode.resourceDetectors.ec2.enabled", "true"),
        ("metricsSources.hostMetrics.disabled=true", "metricsSources.hostMetrics.disabled", "true"),
        ("instrumentor.mountMethod=k8s-init-container", "mountMethod", "\"k8s-init-container\""),
        ("instrumentor.agentEnvVarsInjectionMethod=pod-manifest", "agentEnvVarsInjectionMethod", "\"pod-manifest\""),
        ("openshift.enabled=true", "openshiftEnabled", "true"),
        ("karpenter.enabled=true", "karpenterEnabled", "true"),
        ("allowConcurrentAgents.enabled=true", "allowConcurrentAgents", "true"),
        ("autoRollback.disabled=true", "rollbackDisabled", "true"),
        ("autoRollback.graceTime=7m", "rollbackGraceTime", "\"7m\""),
        ("rollout.maxConcurrentRollouts=4", "rollout.maxConcurrentRollouts", "4"),
        ("instrumentation.mode=optOut", "instrumentation.mode", "\"optOut\""),
    ] {
        let (configuration, findings) = effective(&[set]);
        let found = configuration.get(path).map(ToString::to_string).unwrap_or_default();
        assert_eq!(found, expected, "{set}");
        assert_ne!(effective(&[]).0.get(path).map(ToString::to_string), Some(found), "{set} changes something");
        assert_eq!(findings, Vec::<String>::new(), "{set}");
    }
    let (configuration, _) = effective(&["ignoredNamespaces={shop,team-*}", "ignoredContainers={mesh*}"]);
    assert!(configuration.texts("ignoredNamespaces").contains(&"team-*".to_owned()));
    assert!(configuration.texts("ignoredContainers").contains(&"mesh*".to_owned()));
    let both = ["collectorNode.limitMemoryMiB=700", "resourceDetectors.gcp.enabled=true"];
    let (configuration, _) = effective(&both);
    assert_eq!(configuration.number("collectorNode.limitMemoryMiB"), Some(700));
    assert_eq!(configuration.flag("collectorNode.resourceDetectors.gcp.enabled"), Some(true));
}

#[test]
fn config_wins_over_an_alias_and_the_contradiction_is_reported() {
    let sets = ["config.sampling.dryRun=true", "sampling.dryRun=false", "sampling.tailSampling.disabled=true"];
    let (configuration, findings) = effective(&sets);
    assert_eq!(configuration.flag("sampling.dryRun"), Some(true));
    assert_eq!(configuration.flag("sampling.tailSampling.disabled"), Some(true), "what config leaves out is taken");
    let begins = ["sampling.dryRun: another value of the chart", "sampling.dryRun: it has no effect"];
    assert_eq!(findings.len(), begins.len(), "{findings:?}");
    assert!(findings.iter().zip(begins).all(|(finding, begin)| finding.starts_with(begin)), "{findings:?}");
    // false is an answer as well.
    let (configuration, findings) = effective(&["config.sampling.dryRun=false", "sampling.dryRun=true"]);
    assert_eq!((configuration.flag("sampling.dryRun"), findings.len()), (Some(false), 1), "{findings:?}");
    let (_, agreeing) = effective(&["config.sampling.dryRun=true", "sampling.dryRun=true"]);
    assert_eq!(agreeing, Vec::<String>::new());
}

/// What the finding of the scheduler says; the chart says the same before anything is installed.
const HEAD_SAMPLING: &str = "sampling.headSampling: no agent of this release takes sampling rules, so the setting has no effect: ratio samplers of agents keep other traces than gateways, and agents know neither routes nor errors when a trace begins. Gateways apply all rules; remove the setting";

#[test]
fn chart_rejects_head_sampling_in_the_words_of_the_finding() {
    let text = "sampling: {headSampling: onRestart}";
    let findings = odigos_plan::configuration::effective(text, None, None, "odigos-system").findings;
    let found: Vec<String> = findings.into_iter().map(|one| format!("{}: {}", one.field, one.message)).collect();
    assert_eq!(found, [HEAD_SAMPLING]);
    assert!(effective(&["sampling.headSampling=off"]).1.is_empty());
}

#[test]
fn documented_values_without_an_effect_are_refused_with_what_to_use() {
    for (set, said) in [
        ("nodeSelector.zone=a", "controllers.nodeSelector"),
        ("imagePrefix=registry.example.com", "image.prefix"),
        ("imagePullSecrets={a}", "image.pullSecrets"),
        ("clusterName=prod", "k8s.cluster.name"),
        ("pdb.enabled=true", "controllers.podDisruptionBudget"),
        ("logLevel=debug", "controllers.log"),
        ("odiglet.tolerations={}", "agent.tolerations"),
        ("autoscaler.resources.limits.cpu=1", "controllers.resources"),
        ("instrumentor.logLevel=debug", "controllers.log"),
        ("ui.uiMode=readonly", "no UI"),
        ("onPremToken=x", "enterprise"),
        ("signals={traces}", "Destinations"),
        ("ownTelemetry.metricsStore.disabled=false", "odigosOwnMetricsEnabled"),
        ("config.smapling.dryRun=true", "smapling"),
        ("image.prefix=my registry", "prefix"),
        ("image.pullSecrets={Bad Name}", "pullSecrets"),
        ("images.gateway=r.test/a b", "gateway"),
        ("sampling.headSampling=onRestart", HEAD_SAMPLING),
        ("config.sampling.headSampling=onRestart", HEAD_SAMPLING),
        ("sampling.tailSampling.disable=true", "disable"),
        ("collectorGateway.minReplicas=many", "minReplicas"),
    ] {
        let refused = render("a", &[set]).unwrap_err().to_string();
        assert!(refused.contains(said), "{set}: {refused}");
    }
}
