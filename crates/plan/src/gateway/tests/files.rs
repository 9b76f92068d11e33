//! A configuration that one ConfigMap cannot hold: its files, what items meet in them, and what is left out where nothing more fits.

use super::*;
use crate::config_files::{FILE_LIMIT, merged};
use crate::gateway::destinations::DestinationPlan;

const TEAMS: usize = 1_000;

/// A stream and a Destination with a password for each team, and an archive of everything.
fn teams(count: usize, endpoint: &str) -> Given {
    let name = |number: usize| format!("team-{number:04}");
    let mut destinations: Vec<Destination> = (0..count)
        .map(|number| {
            let data = json!({"OTLP_HTTP_ENDPOINT": endpoint, "OTLP_HTTP_BASIC_AUTH_USERNAME": "u"});
            let streams = json!({"dataStreams": [name(number)]});
            with_secret(destination_with(&name(number), "otlphttp", &["TRACES", "METRICS", "LOGS"], data, streams))
        })
        .collect();
    destinations.push(otlp("archive", &["TRACES", "METRICS", "LOGS"], json!({"dataStreams": ["*"]})));
    let names: Vec<String> = (0..count).map(name).collect();
    let sets: Vec<Vec<&str>> = names.iter().map(|name| vec![name.as_str()]).collect();
    let slices: Vec<&[&str]> = sets.iter().map(Vec::as_slice).collect();
    let mut given = Given::new(destinations).classes(&slices);
    for name in &names {
        given.secrets.insert(name.clone(), secret(&["OTLP_HTTP_BASIC_AUTH_PASSWORD"]));
        given.marks.insert(name.clone(), mark());
    }
    given
}

fn with_secret(mut destination: Destination) -> Destination {
    let name = destination.metadata.name.clone();
    destination.spec.secret_ref = serde_json::from_value(json!({ "name": name })).unwrap();
    destination
}

fn mark() -> SecretMark {
    let metadata = json!({
        "labels": {"odigos.io/destination-secret": "true"}, "annotations": {"odigos.io/destinations": "*"},
    });
    SecretMark::of(&serde_json::from_value(metadata).unwrap(), None)
}

fn read(plan: &GatewayPlan) -> Value {
    merged(plan.files.texts().iter().map(|text| serde_yaml::from_str(text).unwrap()))
}

/// The pipelines that items of a class come to, as the collector's routing connectors send them: the first row that is true, else the
/// defaults. What only leads to the next connector is followed.
fn reached(config: &Value, signal: &str, class: Option<&str>) -> BTreeSet<String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![format!("{signal}/in")]);
    while let Some(name) = open.pop() {
        for exporter in config["service"]["pipelines"][&name]["exporters"].as_array().unwrap() {
            let settings = &config["connectors"][exporter.as_str().unwrap()];
            let Some(rows) = settings["table"].as_array() else { continue };
            let is_met = |row: &&Value| {
                let condition = row["condition"].as_str().unwrap();
                match class {
                    Some(class) if condition.contains("!= nil") => class != "default",
                    Some(class) => condition.ends_with(&format!("== \"{class}\"")),
                    None => false,
                }
            };
            let met = rows.iter().find(is_met).map_or(&settings["default_pipelines"], |row| &row["pipelines"]);
            for target in met.as_array().unwrap() {
                let target = target.as_str().unwrap().to_owned();
                let receivers = &config["service"]["pipelines"][&target]["receivers"];
                assert!(receivers.as_array().unwrap().contains(exporter), "{target} does not receive from {exporter}");
                if target.contains("/routing.") {
                    open.push(target);
                } else {
                    reached.insert(target);
                }
            }
        }
    }
    reached
}

/// Everything but routing: components and pipelines, without the connectors that feed a pipeline.
fn without_routing(config: &Value) -> Value {
    let mut config = config.clone();
    config["connectors"].as_object_mut().unwrap().retain(|id, _| !id.starts_with("routing/"));
    let pipelines = config["service"]["pipelines"].as_object_mut().unwrap();
    pipelines.retain(|id, _| !id.contains("/routing."));
    for pipeline in pipelines.values_mut() {
        pipeline["receivers"].as_array_mut().unwrap().retain(|id| !id.as_str().unwrap().starts_with("routing/"));
    }
    config
}

#[test]
fn thousand_streams_with_a_destination_each_fit_and_mean_the_same() {
    let given = teams(TEAMS, "http://backend:4318");
    let seen = given.seen();
    let plan = given.plan();
    assert_eq!(plan.files.problem(), None);
    assert!(plan.destinations.values().all(|one| one.status == Status::True));
    let sizes: Vec<usize> = plan.files.texts().iter().map(String::len).collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|size| *size <= FILE_LIMIT), "{sizes:?}");
    assert!(sizes[0] < 128 * 1024, "what every gateway has, and the list of extensions: {sizes:?}");
    // As the collector merges the files, they are the configuration.
    let split = read(&plan);
    assert_eq!(split, plan.config.to_value());
    // And that means what the whole one would mean.
    let destinations = destinations::plan(&seen);
    let processors = Processors::of_role(
        CollectorRole::ClusterGateway,
        [],
        &given.set_aside,
        &given.group.spec.stream_classes,
        &Permission::of(&given.configuration),
    );
    let (whole, _) = assemble(&seen, &processors, &destinations.fragments);
    let whole = whole.to_value();
    assert_eq!(without_routing(&split), without_routing(&whole));
    let classes: Vec<&str> = given.group.spec.stream_classes.iter().map(|class| class.id.as_str()).collect();
    for signal in ["traces", "metrics", "logs"] {
        let connectors = split["connectors"].as_object().unwrap().keys();
        assert!(connectors.filter(|id| id.starts_with(&format!("routing/{signal}"))).count() > 1);
        for class in classes.iter().step_by(7).copied().map(Some).chain([Some("default"), Some("unknown"), None]) {
            assert_eq!(reached(&split, signal, class), reached(&whole, signal, class), "{signal} {class:?}");
        }
    }
    // Every object stays below half of what the API server stores.
    for one in objects::desired(&seen, &plan, &objects::Installation::default()) {
        let data = one.object["data"].as_object().into_iter().flat_map(|data| data.values()).filter_map(Value::as_str);
        assert!(data.map(str::len).sum::<usize>() <= 512 * 1024, "{}", one.title());
        assert!(one.object.get("data").is_some() || one.object.to_string().len() <= 768 * 1024, "{}", one.title());
    }
}

#[test]
fn files_do_not_depend_on_the_order_and_a_change_stays_where_it_is() {
    let mut given = teams(TEAMS / 2, "http://backend:4318");
    let before = given.plan().files;
    given.destinations.reverse();
    assert_eq!(given.plan().files, before);
    let changed = |after: &ConfigFiles| after.texts().iter().filter(|text| !before.texts().contains(text)).count();
    // Another backend for one team is in one file.
    let mut data = given.destinations[7].spec.data.clone();
    data.insert("OTLP_HTTP_ENDPOINT".into(), "http://elsewhere:4318".into());
    given.destinations[7].spec.data = data;
    assert_eq!(changed(&given.plan().files), 1);
    // One more team is in the file of its Destination, that of its stream, and those of its rows.
    let more = teams(TEAMS / 2 + 1, "http://backend:4318").plan().files;
    assert!(changed(&more) < before.texts().len(), "{} of {}", changed(&more), before.texts().len());
}

/// The pods mount all files, and every command of theirs reads all.
#[test]
fn pods_read_every_file() {
    let mut given = teams(TEAMS / 2, "http://backend:4318");
    given.configuration = Configuration::parse("collectorGateway: {queueVolume: {size: 2Gi}}").unwrap();
    given.destinations[0].spec.delivery = serde_json::from_value(json!({"persistentQueue": true})).unwrap();
    let seen = given.seen();
    let plan = given.plan();
    let all = objects::desired(&seen, &plan, &objects::Installation::default());
    let paths = plan.files.paths();
    assert!(paths.len() > 2);
    let pod = all.iter().find_map(|one| one.object.pointer("/spec/template/spec")).unwrap();
    let texts = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
    let expected: Vec<String> = paths.iter().map(|path| format!("--config={path}")).collect();
    assert_eq!(texts(&pod["initContainers"][0]["args"])[1..], expected);
    assert_eq!(texts(&pod["containers"][0]["args"])[..expected.len()], expected);
    let stored: Vec<String> = paths.iter().map(|path| format!("-stored={path}")).collect();
    assert!(texts(&pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]).ends_with(&stored));
    let sources = pod["volumes"][0]["projected"]["sources"].as_array().unwrap();
    let mounted: Vec<&str> = sources.iter().map(|one| one["configMap"]["name"].as_str().unwrap()).collect();
    let exists = |name: &&str| {
        all.iter().any(|one| one.object["metadata"]["name"] == **name && one.rank < crate::objects::Rank::Workload)
    };
    assert!(mounted.len() == paths.len() && mounted.iter().all(exists), "{mounted:?}");
}

#[test]
fn destinations_that_came_last_are_left_out_where_pods_are_full() {
    let mut given = teams(0, "");
    given.destinations.clear();
    for number in 0..1_800 {
        let name = format!("team-with-a-name-that-tells-what-it-does-{number:04}");
        let data = json!({"OTLP_HTTP_ENDPOINT": "http://backend:4318", "OTLP_HTTP_BASIC_AUTH_USERNAME": "u"});
        let mut one = with_secret(destination_with(&name, "otlphttp", &["LOGS"], data, Value::Null));
        let created = format!("2026-01-01T{:02}:{:02}:00Z", number / 60 % 24, number % 60);
        one.metadata.creation_timestamp = serde_json::from_value(json!(created)).unwrap();
        given.destinations.push(one);
        given.secrets.insert(name.clone(), secret(&["OTLP_HTTP_BASIC_AUTH_PASSWORD"]));
        given.marks.insert(name, mark());
    }
    let plan = given.plan();
    let out: BTreeSet<&String> =
        plan.destinations.iter().filter(|(_, one)| one.reason == "GatewayFull").map(|(name, _)| name).collect();
    assert!(!out.is_empty() && out.len() < 1_000, "{} are left out", out.len());
    let created = |name: &str| {
        let one = given.destinations.iter().find(|one| one.metadata.name.as_deref() == Some(name)).unwrap();
        one.metadata.creation_timestamp.clone().unwrap().0
    };
    let newest = plan.destinations.keys().filter(|name| !out.contains(name)).map(|name| created(name)).max();
    assert!(out.iter().all(|name| Some(created(name)) >= newest), "the last ones");
    assert!(plan.secrets.iter().all(|used| !out.contains(&used.destination)), "pods read nothing of them");
    let message = &plan.destinations[*out.first().unwrap()].message;
    assert!(message.contains("collectorGateway.pools"), "{message}");
    let text = objects::desired(&given.seen(), &plan, &objects::Installation::default());
    let pod = text.iter().find(|one| one.object["kind"] == "Deployment").unwrap();
    assert!(pod.object.to_string().len() < 3 * (1 << 19), "the rest fits into an object");
}

#[test]
fn destinations_that_came_last_are_left_out_where_the_environment_is_full() {
    let mut given = Given::new(Vec::new());
    for number in 0..20 {
        let name = format!("d-{number:02}");
        let data = json!({"OTLP_HTTP_ENDPOINT": "http://backend:4318", "OTLP_HTTP_BASIC_AUTH_USERNAME": "u"});
        given.destinations.push(with_secret(destination_with(&name, "otlphttp", &["LOGS"], data, Value::Null)));
        let value = SecretValue::of(&[b'x'; 100 * 1024]);
        given.secrets.insert(name.clone(), [("OTLP_HTTP_BASIC_AUTH_PASSWORD".to_owned(), value)].into());
        given.marks.insert(name, mark());
    }
    let plan = given.plan();
    let out: Vec<&str> = plan
        .destinations
        .iter()
        .filter(|(_, one)| one.reason == "GatewayFull")
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(out, ["d-15", "d-16", "d-17", "d-18", "d-19"]);
    assert!(plan.destinations["d-15"].message.contains("environment"), "{}", plan.destinations["d-15"].message);
}

/// Whoever came early pushes nobody out by growing: what is beyond its share comes last.
#[test]
fn destination_that_takes_more_than_its_share_goes_first() {
    let mut given = Given::new(Vec::new());
    for (name, size) in [("a-grows", 120), ("b", 100), ("c", 100)] {
        let keys: Vec<String> =
            (0..if name == "a-grows" { 12 } else { 1 }).map(|number| format!("K{number}")).collect();
        let header = |key: &String| json!({"key": format!("x-{key}"), "value": format!("${{{key}}}")});
        let headers = Value::Array(keys.iter().map(header).collect()).to_string();
        let data = json!({"OTLP_HTTP_ENDPOINT": "http://backend:4318", "OTLP_HTTP_HEADERS": headers});
        given.destinations.push(with_secret(destination_with(name, "otlphttp", &["LOGS"], data, Value::Null)));
        let value = || SecretValue::of(&vec![b'x'; size * 1024]);
        given.secrets.insert(name.to_owned(), keys.into_iter().map(|key| (key, value())).collect());
        given.marks.insert(name.to_owned(), mark());
    }
    let plan = given.plan();
    let full = |name: &str| plan.destinations[name].reason == "GatewayFull";
    assert_eq!((full("a-grows"), full("b"), full("c")), (true, false, false), "{:?}", plan.destinations);
}

/// Names of Destinations that come to one variable: the hash in it has 32 bits, and whoever chooses both finds such names at once.
fn colliding() -> [String; 2] {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for number in 0_u32..1 << 20 {
        let separator = |bit: u32| if number >> bit & 1 == 1 { "-a" } else { ".a" };
        let name: String = std::iter::once("a").chain((0..20).map(separator)).collect();
        if let Some(other) = found.insert(crate::objects::hash(&name, 8), name.clone()) {
            return [other, name];
        }
    }
    panic!("there is none");
}

#[test]
fn two_destinations_never_share_a_variable() {
    let mut given = Given::new(Vec::new());
    let names = colliding();
    for (name, created) in names.iter().zip(["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"]) {
        let data = json!({"OTLP_HTTP_ENDPOINT": "http://backend:4318", "OTLP_HTTP_BASIC_AUTH_USERNAME": "u"});
        let mut one = with_secret(destination_with(name, "otlphttp", &["LOGS"], data, Value::Null));
        one.metadata.creation_timestamp = serde_json::from_value(json!(created)).unwrap();
        given.destinations.push(one);
        given.secrets.insert(name.clone(), secret(&["OTLP_HTTP_BASIC_AUTH_PASSWORD"]));
        given.marks.insert(name.clone(), mark());
    }
    let plan = given.plan();
    // Whoever came first keeps it.
    let (late, first) = (&plan.destinations[&names[0]], &plan.destinations[&names[1]]);
    assert_eq!((late.reason.as_str(), first.status), ("NameConflict", Status::True));
    assert!(late.message.contains(&names[1]) && late.message.contains("D_A_A_A"), "{}", late.message);
    let owners: Vec<&str> = plan.secrets.iter().map(|used| used.destination.as_str()).collect();
    assert_eq!(owners, [names[1].as_str()]);
    assert!(plan.findings.iter().any(|one| one.field == "metadata.name" && one.object.ends_with(&names[0])));
}

#[test]
fn as_few_destinations_as_possible_are_left_out() {
    let given = Given::new((0..10).map(|number| jaeger(&format!("d-{number}"), Value::Null)).collect());
    let mut all = destinations::plan(&given.seen());
    capacity::fit(&given.seen(), &mut all, "it is too large", |attempt: &DestinationPlan| attempt.fragments.len() <= 7);
    let out: Vec<&str> =
        all.conditions.iter().filter(|(_, one)| one.reason == "GatewayFull").map(|(name, _)| name.as_str()).collect();
    assert_eq!(out, ["d-7", "d-8", "d-9"]);
    assert_eq!(all.fragments.len(), 7);
    let mut all = destinations::plan(&given.seen());
    capacity::fit(&given.seen(), &mut all, "it is too large", |_: &DestinationPlan| false);
    assert_eq!(all.fragments.len(), 10, "where nothing helps, nothing is left out");
}
