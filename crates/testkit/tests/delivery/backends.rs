//! Backends that can be had here: a real Prometheus, a Kafka broker, object storage by its protocol.

use super::{GRAPHLESS, SECRET, TURN, destination, plan, send, start, start_configuration, start_with};
use odigos_api::Signal;
use odigos_plan::gateway::destinations::SecretTarget;
use odigos_testkit::http::get;
use odigos_testkit::otlp::Sender;
use odigos_testkit::ports::free_port;
use odigos_testkit::process::{Process, eventually};
use odigos_testkit::recorder::Recorder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

const USER: Option<(&str, &str)> = Some(("shop", SECRET));

/// A real Prometheus that wants a user and a password: what it answers to queries is what arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_answers_queries_for_what_was_sent() {
    let _turn = TURN.lock().await;
    let (port, directory) = (free_port().unwrap(), tempfile::tempdir().unwrap());
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let configuration = file("prometheus.yaml", "global: {scrape_interval: 1h}\n");
    // bcrypt of the password of these tests, at the lowest cost.
    let users = "basic_auth_users: {shop: $2a$04$Y9qCHViS83DNEnFaIJ4Vs.nkdQWqX6ScODwgCgas8Tb1M4wdFurJ2}\n";
    let mut command = Command::new(odigos_tools::find("prometheus").unwrap());
    command
        .arg(format!("--config.file={configuration}"))
        .arg(format!("--web.config.file={}", file("web.yaml", users)))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
        .args(["--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=10y"]);
    let server = Process::start("prometheus", &mut command, &directory.path().join("prometheus.log")).unwrap();
    let ready = eventually("Prometheus is ready", Duration::from_secs(90), || async {
        get(port, "/-/ready", USER).await.is_some()
    });
    ready.await.unwrap_or_else(|error| panic!("{error}: {}", server.output()));
    let settings = json!({
        "PROMETHEUS_REMOTEWRITE_URL": format!("http://127.0.0.1:{port}/api/v1/write"),
        "PROMETHEUS_USE_AUTHENTICATION": "true", "PROMETHEUS_BASIC_AUTH_USERNAME": "shop",
    });
    let plan = plan(vec![destination("metrics", "prometheus", &settings, &json!({}))], GRAPHLESS);
    let gateway = start(&plan, &directory).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    let names: Vec<String> = (0..4).map(|n| format!("stored.item.{n}")).collect();
    sender.send(Signal::Metrics, &[("service.name", "shop")], &names).await.unwrap();
    let query = "/api/v1/query?time=1700000000&query=%7B__name__%3D~%22stored_item_.*%22%7D";
    let series = || async {
        let answer: Value = serde_json::from_str(&get(port, query, USER).await?).ok()?;
        answer.pointer("/data/result")?.as_array().cloned()
    };
    let all = eventually("four series", Duration::from_secs(90), || async {
        series().await.is_some_and(|found| found.len() == 4)
    });
    all.await.unwrap_or_else(|error| panic!("{error}: {}\n{}", server.output(), gateway.output()));
    for one in series().await.unwrap() {
        assert_eq!(one["metric"]["service_name"], "shop", "{one}");
        assert_eq!(one["metric"]["job"], "shop", "{one}");
        assert_eq!(one["value"][1], "1", "{one}");
    }
    assert!(!gateway.output().contains(SECRET), "no secret in a log");
}

/// A broker of the Kafka library that the collector uses, which wants a user and a password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_gets_a_record_of_each_signal_and_only_with_the_password() {
    use base64::Engine as _;
    let _turn = TURN.lock().await;
    let (port, directory) = (free_port().unwrap(), tempfile::tempdir().unwrap());
    let topics = ["otlp_spans", "otlp_metrics", "otlp_logs", "everything"];
    let mut command = Command::new(odigos_tools::find("kafka").unwrap());
    command.arg(port.to_string()).args(["shop", SECRET, "PLAIN", "-", "-", "-"]).args(topics);
    let broker = Process::start("kafka", &mut command, &directory.path().join("kafka.log")).unwrap();
    let ready = eventually("the broker is ready", Duration::from_secs(90), || async { broker.output() != "" });
    ready.await.unwrap();
    let settings = |user: &str, more: Value| {
        let mut settings = json!({
            "KAFKA_PROTOCOL_VERSION": "2.8.0", "KAFKA_BROKERS": format!("[\"127.0.0.1:{port}\"]"),
            "KAFKA_AUTH_METHOD": "plain_text", "KAFKA_USERNAME": user, "KAFKA_RETRY_ON_FAILURE_ENABLED": "false",
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    };
    let one_topic =
        json!({"KAFKA_TOPIC": "everything", "KAFKA_PRODUCER_COMPRESSION": "zstd", "KAFKA_ENCODING": "otlp_json"});
    let plan = plan(
        vec![
            destination("usual", "kafka", &settings("shop", json!({})), &json!({})),
            destination("one-topic", "kafka", &settings("shop", one_topic), &json!({})),
            // Refused by the broker; the others must not notice.
            destination(
                "stranger",
                "kafka",
                &settings("somebody-else", json!({"KAFKA_TOPIC": "everything"})),
                &json!({}),
            ),
        ],
        GRAPHLESS,
    );
    let gateway = start(&plan, &directory).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    send(&sender, "queued", 4).await;
    let records = || -> Vec<(String, String)> {
        let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        let output = broker.output();
        let pairs = output.lines().filter_map(|line| line.split_once(' '));
        pairs.map(|(topic, value)| (topic.to_owned(), String::from_utf8_lossy(&decode(value)).into_owned())).collect()
    };
    let all = eventually("a record of each signal twice", Duration::from_secs(90), || async { records().len() >= 6 });
    all.await.unwrap_or_else(|error| panic!("{error}: {:?}\n{}", records(), gateway.output()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut by_topic: BTreeMap<String, usize> = BTreeMap::new();
    for (topic, value) in records() {
        let items = (0..4).filter(|n| value.contains(&format!("queued.item.{n}"))).count();
        assert_eq!(items, 4, "{topic}");
        assert_eq!(value.starts_with('{'), topic == "everything", "{topic}");
        *by_topic.entry(topic).or_default() += 1;
    }
    let expected = [("everything", 3), ("otlp_logs", 1), ("otlp_metrics", 1), ("otlp_spans", 1)];
    assert_eq!(by_topic, expected.map(|(topic, count)| (topic.to_owned(), count)).into());
    assert!(!gateway.output().contains(SECRET), "no secret in a log");
}

/// Listeners of managed Kafka want TLS, and many of them SCRAM. A client without either sends nothing there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_gets_records_over_tls_with_scram() {
    let _turn = TURN.lock().await;
    let (port, directory) = (free_port().unwrap(), tempfile::tempdir().unwrap());
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (certificate, key) =
        (file("broker.pem", authority.cert.pem()), file("broker-key.pem", authority.signing_key.serialize_pem()));
    let mut command = Command::new(odigos_tools::find("kafka").unwrap());
    command
        .arg(port.to_string())
        .args(["shop", SECRET, "SCRAM-SHA-512", &certificate, &key, "-"])
        .args(["trusted", "other"]);
    let broker = Process::start("kafka", &mut command, &directory.path().join("kafka.log")).unwrap();
    let ready = eventually("the broker is ready", Duration::from_secs(90), || async { broker.output() != "" });
    ready.await.unwrap();
    let settings = |topic: &str, more: Value| {
        let mut settings = json!({
            "KAFKA_PROTOCOL_VERSION": "2.8.0", "KAFKA_BROKERS": format!("[\"localhost:{port}\"]"), "KAFKA_TOPIC": topic,
            "KAFKA_AUTH_METHOD": "scram_sha_512", "KAFKA_USERNAME": "shop", "KAFKA_RETRY_ON_FAILURE_ENABLED": "false",
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    };
    let plan = plan(
        vec![
            destination(
                "trusting",
                "kafka",
                &settings("trusted", json!({"KAFKA_TLS_ENABLED": "true", "KAFKA_CA_PEM": authority.cert.pem()})),
                &json!({}),
            ),
            destination("without-tls", "kafka", &settings("other", json!({})), &json!({})),
            destination("without-ca", "kafka", &settings("other", json!({"KAFKA_TLS_ENABLED": "true"})), &json!({})),
        ],
        GRAPHLESS,
    );
    let gateway = start(&plan, &directory).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    send(&sender, "sealed", 2).await;
    let topics = || -> Vec<String> {
        let output = broker.output();
        output.lines().filter_map(|line| line.split_once(' ')).map(|(topic, _)| topic.to_owned()).collect()
    };
    let all = eventually("a record of each signal", Duration::from_secs(90), || async { topics().len() >= 3 });
    all.await.unwrap_or_else(|error| panic!("{error}: {:?}\n{}", topics(), gateway.output()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(topics(), ["trusted"; 3]);
    assert!(!gateway.output().contains(SECRET), "no secret in a log");
}

/// The recorder plays object storage: what counts is the name of each object, its signature and what is in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_gets_one_object_for_each_batch_under_the_hour_in_both_encodings() {
    let _turn = TURN.lock().await;
    let port = free_port().unwrap();
    let storage = Recorder::listen(port, 200).await.unwrap();
    let settings = |bucket: &str, marshaler: &str| json!({"S3_BUCKET": bucket, "S3_REGION": "eu-west-1", "S3_PARTITION": "hour", "S3_MARSHALER": marshaler});
    let plan = plan(
        vec![
            destination("text", "s3", &settings("as-json", "otlp_json"), &json!({})),
            destination("binary", "s3", &settings("as-proto", "otlp_proto"), &json!({})),
        ],
        GRAPHLESS,
    );
    let directory = tempfile::tempdir().unwrap();
    let address = format!("http://127.0.0.1:{port}");
    let identity = [
        ("AWS_ENDPOINT_URL_S3", address.as_str()),
        ("AWS_ACCESS_KEY_ID", "test-identity"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let gateway = start_with(&plan, &directory, &identity).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    send(&sender, "stored", 5).await;
    let all = eventually("an object for each signal and encoding", Duration::from_secs(90), || async {
        storage.requests().len() >= 6
    });
    all.await.unwrap_or_else(|error| panic!("{error}: {:?}\n{}", storage.requests(), gateway.output()));
    let mut objects = storage.requests();
    for object in &mut objects {
        object.path = object.path.replace("%3D", "=");
    }
    for signal in Signal::PIPELINES {
        for (bucket, is_text) in [("as-json", true), ("as-proto", false)] {
            let word = signal.as_pipeline();
            let start = format!("/{bucket}/year=");
            let of_signal: Vec<_> = objects
                .iter()
                .filter(|one| one.path.starts_with(&start) && one.path.contains(&format!("/{word}_")))
                .collect();
            assert_eq!(of_signal.len(), 1, "{word} in {bucket}");
            let object = of_signal[0];
            assert!(object.path.contains("/hour=") && !object.path.contains("/minute="), "{}", object.path);
            let signed = object.headers.get("authorization").map(String::as_str).unwrap_or_default();
            assert!(signed.contains("Credential=test-identity/") && signed.contains("/eu-west-1/s3/"), "{signed}");
            let text = String::from_utf8_lossy(&object.body);
            assert_eq!(text.contains("\"service.name\""), is_text, "{word} in {bucket}");
            for n in 0..5 {
                assert!(text.contains(&format!("stored.item.{n}")), "{word} in {bucket}: item {n}");
            }
        }
    }
    assert!(!gateway.output().contains(SECRET), "no secret in a log");
}

/// Brokers with mutual TLS take nothing from a client without a certificate. It comes from the Secret as mounted files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_gets_records_from_clients_with_a_certificate() {
    let _turn = TURN.lock().await;
    let (port, directory) = (free_port().unwrap(), tempfile::tempdir().unwrap());
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let client = rcgen::generate_simple_self_signed(["odigos".to_owned()]).unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let certificate = file("broker.pem", &authority.cert.pem());
    let key = file("broker-key.pem", &authority.signing_key.serialize_pem());
    let clients = file("clients.pem", &format!("{}{}", authority.cert.pem(), client.cert.pem()));
    let mut command = Command::new(odigos_tools::find("kafka").unwrap());
    command
        .arg(port.to_string())
        .args(["shop", SECRET, "SCRAM-SHA-512", &certificate, &key, &clients])
        .args(["known", "other"]);
    let broker = Process::start("kafka", &mut command, &directory.path().join("kafka.log")).unwrap();
    let ready = eventually("the broker is ready", Duration::from_secs(90), || async { broker.output() != "" });
    ready.await.unwrap();
    let of = |name: &str, topic: &str, secret: &str| {
        let settings = json!({
            "KAFKA_PROTOCOL_VERSION": "2.8.0", "KAFKA_BROKERS": format!("[\"localhost:{port}\"]"), "KAFKA_TOPIC": topic,
            "KAFKA_AUTH_METHOD": "scram_sha_512", "KAFKA_USERNAME": "shop", "KAFKA_RETRY_ON_FAILURE_ENABLED": "false",
            "KAFKA_TLS_ENABLED": "true", "KAFKA_CA_PEM": authority.cert.pem(),
        });
        let mut one = destination(name, "kafka", &settings, &json!({}));
        one["spec"]["secretRef"]["name"] = json!(secret);
        one
    };
    let pair = [
        ("KAFKA_CLIENT_CERT_PEM", client.cert.pem()),
        ("KAFKA_CLIENT_KEY_PEM", client.signing_key.serialize_pem()),
        ("KAFKA_PASSWORD", SECRET.to_owned()),
    ];
    let data: BTreeMap<&str, String> = pair.into_iter().collect();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "client"}, "stringData": data});
    let plan = plan(vec![secret, of("known", "known", "client"), of("unknown", "other", "all")], GRAPHLESS);
    // Each file where the gateway's pod mounts it, below this test's own directory.
    let mut configuration = plan.config.to_yaml();
    let mut mounted = 0;
    for used in &plan.secrets {
        let SecretTarget::File(path) = &used.target else { continue };
        let own = file(&format!("mounted{path}"), &data[used.key.as_str()]);
        configuration = configuration.replace(path.as_str(), &own);
        mounted += 1;
    }
    assert_eq!(mounted, 2, "{:?}", plan.secrets);
    assert!(!configuration.contains("PRIVATE KEY"), "no value of a Secret in the configuration");
    let gateway = start_configuration(&plan, &configuration, &directory, &[]).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    send(&sender, "known", 2).await;
    let topics = || -> Vec<String> {
        let output = broker.output();
        output.lines().filter_map(|line| line.split_once(' ')).map(|(topic, _)| topic.to_owned()).collect()
    };
    let all = eventually("a record of each signal", Duration::from_secs(90), || async { topics().len() >= 3 });
    all.await.unwrap_or_else(|error| panic!("{error}: {:?}\n{}", topics(), gateway.output()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(topics(), ["known"; 3]);
}
