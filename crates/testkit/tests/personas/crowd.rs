//! O-Destination at scale: more streams and Destinations than one ConfigMap holds stop nobody, the last one neither.
//!
//! Owns what becomes of a gateway whose configuration is in several ConfigMaps: how it grows, changes, fails and shrinks. Never decides
//! where it is cut (`plan::config_files`).

use crate::plane::{LIMIT, Plane};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use odigos_api::{API_VERSION, labels, names};
use odigos_plan::config_files::{FILE_LIMIT, merged, stored};
use odigos_testkit::control_plane::{NAMESPACE, apply, get_object};
use odigos_testkit::policy::Policy;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const TEAMS: usize = 640;

fn team(number: usize) -> String {
    format!("crowd-{number:03}")
}

/// The Secret and the Destination of a team, with a stream of its own.
fn objects(name: &str, endpoint: &str) -> [Value; 2] {
    let metadata = json!({
        "name": name, "namespace": NAMESPACE, "labels": {labels::DESTINATION_SECRET: "true"},
        "annotations": {labels::SECRET_DESTINATIONS: name},
    });
    [
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata,
            "stringData": {"OTLP_HTTP_BASIC_AUTH_PASSWORD": "secret"},
        }),
        json!({
            "apiVersion": API_VERSION, "kind": "Destination", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "type": "otlphttp", "destinationName": name, "signals": ["TRACES", "METRICS", "LOGS"],
                "data": {"OTLP_HTTP_ENDPOINT": endpoint, "OTLP_HTTP_BASIC_AUTH_USERNAME": "u"},
                "secretRef": {"name": name}, "sourceSelector": {"dataStreams": [name]},
            },
        }),
    ]
}

async fn create(plane: &Plane, name: &str, endpoint: &str) {
    for object in objects(name, endpoint) {
        apply(&plane.client, &object).await.unwrap();
    }
}

/// What the gateway's pods are to mount.
struct Mounted {
    /// Names of the ConfigMaps, the version first.
    names: Vec<String>,
    files: Vec<Value>,
    whole: Value,
}

impl Mounted {
    fn has(&self, name: &str, text: &str) -> bool {
        let exporters = self.whole["exporters"].as_object().into_iter().flatten();
        exporters.into_iter().any(|(id, one)| id.ends_with(name) && one.to_string().contains(text))
    }
}

/// Reads what the gateway's workload mounts; each of it must exist.
async fn mounted(plane: &Plane) -> Mounted {
    let maps: Api<ConfigMap> = Api::namespaced(plane.client.clone(), NAMESPACE);
    let found = get_object(&plane.client, "apps/v1", "Deployment", NAMESPACE, names::GATEWAY).await.unwrap();
    let volumes = found.data["spec"]["template"]["spec"]["volumes"].as_array().unwrap().clone();
    let config = volumes.iter().find(|one| one["name"] == "config").unwrap();
    let mut names = vec![stored::mounted_version(config).unwrap().to_owned()];
    let sources = config.pointer("/projected/sources").and_then(Value::as_array).cloned().unwrap_or_default();
    names.extend(sources.iter().skip(1).map(|one| one["configMap"]["name"].as_str().unwrap().to_owned()));
    let mut files = Vec::new();
    for name in &names {
        let map = maps.get_opt(name).await.unwrap().unwrap_or_else(|| panic!("{name} is mounted and does not exist"));
        let data = map.data.unwrap_or_default();
        assert!(data.values().map(String::len).sum::<usize>() <= FILE_LIMIT, "{name} is too large");
        files.push(serde_yaml::from_str(&data[names::GATEWAY_CONFIG_KEY]).unwrap());
    }
    let whole = merged(files.clone());
    Mounted { names, files, whole }
}

/// Waits until the gateway's pods run a configuration for which `is_there` holds.
async fn comes_to_run(plane: &Plane, what: &str, is_there: impl Fn(&Mounted) -> bool) -> Mounted {
    let runs = || async {
        let mounted = mounted(plane).await;
        let group = get_object(&plane.client, API_VERSION, "CollectorsGroup", NAMESPACE, names::GATEWAY).await;
        let hash = group.ok().and_then(|group| Some(group.data.pointer("/status/configHash")?.as_str()?.to_owned()));
        (hash.as_ref() == mounted.names.first() && is_there(&mounted)).then_some(mounted)
    };
    let came = eventually(what, 4 * LIMIT, || async { runs().await.is_some() }).await;
    assert!(came.is_ok(), "{what}: {:?}", plane.condition("CollectorsGroup", names::GATEWAY, "ConfigValid").await);
    mounted(plane).await
}

/// H4: a ConfigMap of 1 MiB was full with about 500 teams, and then nothing changed any more for anybody.
pub(crate) async fn many_destinations_stop_nobody(plane: &mut Plane) {
    let begun = Instant::now();
    for numbers in (0..TEAMS).collect::<Vec<_>>().chunks(32) {
        let all = numbers.iter().map(|number| async { create(plane, &team(*number), "http://backend:4318").await });
        futures::future::join_all(all).await;
    }
    println!("{TEAMS} Destinations are created after {:?}", begun.elapsed());
    let before = comes_to_run(plane, "every team is part of the gateway", |mounted| {
        (0..TEAMS).all(|number| mounted.has(&team(number), "backend"))
    })
    .await;
    println!("the gateway runs {} files after {:?}", before.files.len(), begun.elapsed());
    assert!(before.files.len() > 2 && before.has("payments-vault", "vault.payments"));
    let deployment = get_object(&plane.client, "apps/v1", "Deployment", NAMESPACE, names::GATEWAY).await.unwrap();
    let bytes = serde_json::to_string(&deployment).unwrap().len();
    println!("the Deployment has {} KiB", bytes / 1024);
    assert!(bytes <= 3 * (1 << 19) / 2, "half of what the API server stores: {bytes}");
    // The stable ConfigMap tells a reader where the rest is.
    let stable = get_object(&plane.client, "v1", "ConfigMap", NAMESPACE, names::GATEWAY).await.unwrap();
    assert_eq!(stored::parts_of(Some(stable.annotations())), before.names[1..]);

    one_more_converges(plane, &before).await;
    nothing_is_mounted_without_all_parts(plane).await;
    failure_names_its_destination(plane).await;
    left_over_parts_go(plane).await;
    few_are_one_file_again(plane).await;
}

async fn one_more_converges(plane: &Plane, before: &Mounted) {
    let begun = Instant::now();
    create(plane, "crowd-more", "http://more:4318").await;
    let after = comes_to_run(plane, "one more Destination is part of the gateway", |mounted| {
        mounted.has("crowd-more", "http://more:4318")
    })
    .await;
    let new = after.names.iter().filter(|name| !before.names.contains(name)).count();
    println!("one more after {:?}: {new} of {} files are new", begun.elapsed(), after.names.len());
    assert!(new < after.names.len(), "what did not change is shared");
    plane.comes_to_say("Destination", "crowd-more", "DestinationConfigured", "True/").await;
}

/// Parts are refused: the gateway stays with what it has, and goes on when they are taken.
async fn nothing_is_mounted_without_all_parts(plane: &Plane) {
    let policy = Policy {
        name: "no-parts",
        resource: "configmaps",
        expression: "!(has(object.metadata.labels) && 'odigos.io/config-part' in object.metadata.labels)",
        message: "refused by a test",
        namespace: None,
    };
    let probe = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "probe", "namespace": "shop", "labels": {labels::CONFIG_PART: "true"}},
    });
    policy.enforce(&plane.client, &probe).await.unwrap();
    let before = mounted(plane).await.names;
    create(plane, "crowd-refused", "http://refused:4318").await;
    plane.comes_to_say("CollectorsGroup", names::GATEWAY, "Deployed", "False/GatewayDeployedCreationFailed").await;
    for _ in 0..10 {
        // Fails where one of its ConfigMaps does not exist.
        assert_eq!(mounted(plane).await.names, before);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    policy.lift(&plane.client).await.unwrap();
    comes_to_run(plane, "it goes on", |mounted| mounted.has("crowd-refused", "http://refused:4318")).await;
}

/// The new pods do not start with what is in one of the parts; only that is left out, compared with all files of those that serve.
async fn failure_names_its_destination(plane: &Plane) {
    create(plane, "crowd-bad", "http://bad:4318").await;
    let words = "Error: cannot start pipelines: failed to start \"otlp_http/generic-crowd-bad\" exporter: no route";
    let id = {
        let is_there = |mounted: &Mounted| mounted.has("crowd-bad", "http://bad:4318");
        let came = || async { is_there(&mounted(plane).await) };
        eventually("the bad one is rendered", 2 * LIMIT, came).await.unwrap();
        let mounted = mounted(plane).await;
        let exporters = mounted.whole["exporters"].as_object().unwrap();
        exporters.keys().find(|id| id.ends_with("crowd-bad")).unwrap().clone()
    };
    let words = words.replace("otlp_http/generic-crowd-bad", &id);
    plane.gateways_fail("http://bad:4318", &words).await;
    plane.comes_to_say("Destination", "crowd-bad", "DestinationConfigured", "False/ExporterStartFailed").await;
    let after = comes_to_run(plane, "it runs without", |mounted| !mounted.has("crowd-bad", "")).await;
    assert!((0..TEAMS).all(|number| after.has(&team(number), "backend")), "all other Destinations are still served");
}

/// Parts that no kept version has are deleted.
async fn left_over_parts_go(plane: &Plane) {
    let maps: Api<ConfigMap> = Api::namespaced(plane.client.clone(), NAMESPACE);
    let selector = ListParams::default().labels(&format!("{}={}", labels::CONFIG_OF, names::GATEWAY));
    let is_tidy = || async {
        let all = maps.list(&selector).await.unwrap().items;
        let (parts, versions): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|map| map.labels().contains_key(labels::CONFIG_PART));
        let used: BTreeSet<String> =
            versions.iter().flat_map(|map| stored::parts_of(map.metadata.annotations.as_ref())).collect();
        versions.len() <= 3 && parts.iter().all(|part| used.contains(&part.name_any())) && parts.len() == used.len()
    };
    eventually("three versions and their parts are left", 3 * LIMIT, is_tidy).await.unwrap();
}

async fn few_are_one_file_again(plane: &Plane) {
    let group = kube::core::GroupVersionKind::gvk(odigos_api::GROUP, odigos_api::VERSION, "Destination");
    let (resource, _) = kube::discovery::pinned_kind(&plane.client, &group).await.unwrap();
    let api: Api<DynamicObject> = Api::namespaced_with(plane.client.clone(), NAMESPACE, &resource);
    for numbers in (10..TEAMS).collect::<Vec<_>>().chunks(32) {
        let all = numbers.iter().map(|number| {
            let (api, name) = (api.clone(), team(*number));
            async move { api.delete(&name, &DeleteParams::default()).await.map(drop).unwrap() }
        });
        futures::future::join_all(all).await;
    }
    let after = comes_to_run(plane, "it is one file again", |mounted| mounted.files.len() == 1).await;
    assert!(after.has(&team(3), "backend") && after.has("crowd-more", "more") && !after.has(&team(300), ""));
    let stable = get_object(&plane.client, "v1", "ConfigMap", NAMESPACE, names::GATEWAY).await.unwrap();
    let annotations: BTreeMap<String, String> = stable.annotations().clone();
    assert_eq!(stored::parts_of(Some(&annotations)), Vec::<String>::new());
}
