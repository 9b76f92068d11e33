//! Headers, credentials and addresses in requests of the real collector: each arrives as it is written, or is left out, or its Destination
//! alone is refused with a message that names field or key.

use super::*;
use base64::Engine as _;
use odigos_plan::gateway::destinations::SecretTarget;

/// Names and values of headers: what people write, and what no stack sends.
const HEADERS: [(&str, &str); 28] = [
    ("X-Team", "shop"),
    ("x_team.a", "shop"),
    ("x-empty", ""),
    ("x-blank", " shop "),
    ("x-dollar", "a$b$$c"),
    ("x-accent", "é"),
    ("x-bin", "shop"),
    ("x-other-bin", "é"),
    ("x!y", "shop"),
    ("x y", "shop"),
    ("x-colon:", "shop"),
    (":path", "/other"),
    ("xé", "shop"),
    ("x-line", "a\nb"),
    ("x-tab", "a\tb"),
    ("x-delete", "a\u{7f}b"),
    ("host", "other.example"),
    ("content-length", "5"),
    ("Transfer-Encoding", "gzip"),
    ("te", "trailers"),
    ("trailer", "x"),
    ("upgrade", "h2c"),
    ("keep-alive", "5"),
    ("grpc-timeout", "1n"),
    ("grpc-encoding", "zstd"),
    ("content-type", "text/plain"),
    ("content-encoding", "zstd"),
    ("user-agent", "mine"),
];

/// A destination that can be judged without its siblings: nothing of `plan` is asserted here.
fn plan_of(objects: Vec<Value>) -> GatewayPlan {
    let mut world = World::new(names::DEFAULT_NAMESPACE);
    let configuration = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION},
        "data": {names::CONFIGURATION_KEY: GRAPHLESS},
    });
    objects.into_iter().chain([configuration]).for_each(|object| world.insert(object).unwrap());
    let plan = world.settle(jiff::Timestamp::UNIX_EPOCH).gateway.unwrap();
    assert_eq!(plan.problems, vec![]);
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_arrive_as_written_or_are_reported() {
    let _turn = TURN.lock().await;
    let uncompressed = json!({"compression": "none"});
    let mut objects = Vec::new();
    let (mut sinks, mut recorders) = (Vec::new(), Vec::new());
    for (number, (name, value)) in HEADERS.iter().enumerate() {
        let pairs = json!([{"key": name, "value": value}]).to_string();
        let port = free_port().unwrap();
        sinks.push(Sink::listen(port).await.unwrap());
        let data = json!({"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}"), "OTLP_GRPC_HEADERS": pairs});
        objects.push(destination(&format!("g{number}"), "otlp", &data, &uncompressed));
        let port = free_port().unwrap();
        recorders.push(Recorder::listen(port, 200).await.unwrap());
        let data = json!({"OTLP_HTTP_ENDPOINT": format!("http://127.0.0.1:{port}"), "OTLP_HTTP_HEADERS": pairs});
        objects.push(destination(&format!("h{number}"), "otlphttp", &data, &uncompressed));
    }
    for object in &mut objects {
        object["spec"].as_object_mut().unwrap().remove("secretRef");
        object["spec"]["signals"] = json!(["TRACES"]);
    }
    let plan = plan_of(objects);
    let directory = tempfile::tempdir().unwrap();
    let gateway = start(&plan, &directory).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    sender.send(Signal::Traces, &[("service.name", "shop")], &["header".to_owned()]).await.unwrap();
    let (mut sent, mut left_out, mut refused) = (0, 0, 0);
    for (number, (name, value)) in HEADERS.iter().enumerate() {
        for transport in ["g", "h"] {
            let id = format!("{transport}{number}");
            let what = format!("{id} {name:?} {value:?}");
            let condition = &plan.destinations[&id];
            if condition.status.as_str() != "True" {
                assert!(condition.message.contains("_HEADERS: "), "{what}: {}", condition.message);
                assert!(!plan.config.to_yaml().contains(&format!("generic-{id}")), "{what}");
                refused += 1;
                continue;
            }
            let has_arrived = || async {
                match transport {
                    "g" => sinks[number].items().len() == 1,
                    _ => !recorders[number].requests().is_empty(),
                }
            };
            let arrived = eventually("a request arrives", Duration::from_secs(60), has_arrived).await;
            assert!(arrived.is_ok(), "{what} is rendered, and nothing arrives");
            let key = name.trim().to_lowercase();
            let found = match transport {
                "g" if key.ends_with("-bin") => {
                    let metadata = sinks[number].metadata().remove(0);
                    metadata.get_bin(&key).map(|found| String::from_utf8(found.to_bytes().unwrap().to_vec()).unwrap())
                }
                "g" => {
                    let metadata = sinks[number].metadata().remove(0);
                    metadata.get(&key).map(|found| found.to_str().unwrap().to_owned())
                }
                _ => recorders[number].requests()[0].headers.get(&key).cloned(),
            };
            let arrives_as_written = found.as_deref() == Some(value);
            let is_said = condition.message.contains("_HEADERS: ");
            assert!(arrives_as_written || is_said, "{what} arrives as {found:?}: {}", condition.message);
            match arrives_as_written {
                true => sent += 1,
                false => left_out += 1,
            }
        }
    }
    println!("{sent} headers arrive as written, {left_out} are left out or trimmed, {refused} are refused");
    assert!(sent >= 16 && left_out >= 12 && refused >= 14, "{sent} {left_out} {refused}");
}

/// Values of credentials, some of which cannot stand in a URL or in a header.
const VALUES: [&str; 20] = [
    "s3cr3t",
    "p@$$w0rd",
    "a${HOME}b",
    "us$er",
    "a:b@c",
    "!$&'()*+,;=",
    "-._~",
    "a/b",
    "a?b",
    "a#b",
    "a b",
    "a\\b",
    "a\"b",
    "a[b]",
    "a%b",
    "a%2Fb",
    "é",
    "line\n",
    "two\nlines",
    "$",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_arrive_as_written_or_are_reported() {
    let _turn = TURN.lock().await;
    // A user and a password in a URL, a header over HTTP, and a header over gRPC.
    let uses = [
        ("qryn-oss", "QRYN_OSS_PASSWORD", json!({"QRYN_OSS_URL": "http://{}", "QRYN_OSS_USERNAME": "u"})),
        ("lumigo", "LUMIGO_TOKEN", json!({"LUMIGO_ENDPOINT": "http://{}"})),
        ("alibabacloud", "ALIBABA_TOKEN", json!({"ALIBABA_ENDPOINT": "{}"})),
    ];
    let uncompressed = json!({"compression": "none"});
    let mut objects = Vec::new();
    let (mut recorders, mut sinks) = (BTreeMap::new(), BTreeMap::new());
    for (number, value) in VALUES.iter().enumerate() {
        for (type_id, key, data) in &uses {
            let name = format!("{type_id}-{number}");
            let port = free_port().unwrap();
            match *type_id {
                "alibabacloud" => drop(sinks.insert(name.clone(), Sink::listen(port).await.unwrap())),
                _ => drop(recorders.insert(name.clone(), Recorder::listen(port, 200).await.unwrap())),
            }
            let mut object = destination(&name, type_id, &with_address(data, port), &uncompressed);
            object["spec"]["secretRef"]["name"] = json!(name);
            object["spec"]["signals"] = json!(["TRACES"]);
            let metadata = json!({
                "name": name, "labels": {"odigos.io/destination-secret": "true"},
                "annotations": {"odigos.io/destinations": "*"},
            });
            objects.push(object);
            objects
                .push(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {*key: value}}));
        }
    }
    let plan = plan_of(objects);
    // What the gateway's Deployment would set, from the Secret or from its escaped copy.
    let variables: Vec<(String, String)> = plan
        .secrets
        .iter()
        .filter_map(|used| {
            let SecretTarget::Variable(variable) = &used.target else { return None };
            let number: usize = used.destination.rsplit('-').next()?.parse().ok()?;
            let value = VALUES[number];
            let value = if used.is_escaped { odigos_pipeline::expansion::escape(value) } else { value.to_owned() };
            Some((variable.clone(), value))
        })
        .collect();
    let environment: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let directory = tempfile::tempdir().unwrap();
    let gateway = start_with(&plan, &directory, &environment).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    sender.send(Signal::Traces, &[("service.name", "shop")], &["credential".to_owned()]).await.unwrap();
    let (mut whole, mut said, mut refused) = (0, 0, 0);
    for (number, value) in VALUES.iter().enumerate() {
        for (type_id, key, _) in &uses {
            let name = format!("{type_id}-{number}");
            let condition = &plan.destinations[&name];
            let is_said = condition.message.contains(&format!("spec.secretRef: key {key} of Secret {name}: "));
            assert!(value.len() < 6 || !condition.message.contains(value), "{}", condition.message);
            if condition.status.as_str() != "True" {
                assert!(is_said, "{name} {value:?}: {}", condition.message);
                refused += 1;
                continue;
            }
            let has_arrived = || async {
                recorders.get(&name).is_some_and(|one| !one.requests().is_empty())
                    || sinks.get(&name).is_some_and(|one| !one.metadata().is_empty())
            };
            let arrived = eventually("a request arrives", Duration::from_secs(60), has_arrived).await;
            assert!(arrived.is_ok(), "{name} {value:?} is rendered, and nothing arrives");
            let header = |name: &str| recorders[name].requests()[0].headers["authorization"].clone();
            let found = match *type_id {
                "qryn-oss" => {
                    let pair = header(&name).trim_start_matches("Basic ").to_owned();
                    let pair = base64::engine::general_purpose::STANDARD.decode(pair).unwrap();
                    String::from_utf8(pair).unwrap().split_once(':').unwrap().1.to_owned()
                }
                "lumigo" => header(&name).trim_start_matches("LumigoToken ").to_owned(),
                _ => sinks[&name].metadata()[0].get("authentication").unwrap().to_str().unwrap().to_owned(),
            };
            if found == *value {
                whole += 1;
            } else {
                assert!(is_said, "{name}: {value:?} arrives as {found:?}: {}", condition.message);
                said += 1;
            }
        }
    }
    println!("{whole} credentials arrive as written, {said} otherwise with a remark, {refused} are refused");
    assert!(whole >= 35 && said >= 1 && refused >= 14, "{whole} {said} {refused}");
}
