//! ClickHouse: the real engine parses, stores and answers; only the HTTP front before it is a stand-in, because no server
//! of a usable version is in any package registry (see `tests/tools/clickhouse/server.py`).

use super::{GRAPHLESS, SECRET, TURN, destination, plan, send, start, start_with};
use odigos_plan::gateway::destinations::SecretTarget;
use odigos_testkit::http::get;
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::{Process, eventually};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const USER: Option<(&str, &str)> = Some(("shop", SECRET));

/// A ClickHouse with the user and the password of these tests.
struct Store {
    port: u16,
    process: Process,
}

impl Store {
    async fn start(directory: &tempfile::TempDir) -> Self {
        let (port, folder) = (free_port().unwrap(), directory.path().join("clickhouse"));
        std::fs::create_dir(&folder).unwrap();
        let mut command = Command::new(odigos_tools::find("clickhouse").unwrap());
        command.arg(port.to_string()).arg(&folder).args(["shop", SECRET]);
        let process = Process::start("clickhouse", &mut command, &directory.path().join("clickhouse.log")).unwrap();
        let store = Self { port, process };
        let ready = eventually("ClickHouse is ready", Duration::from_secs(90), || async {
            store.rows("SELECT 1").await.is_some()
        });
        ready.await.unwrap_or_else(|error| panic!("{error}: {}", store.process.output()));
        store
    }

    /// Rows that answer a query; none when it is refused.
    async fn rows(&self, query: &str) -> Option<Vec<Value>> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = get(self.port, &format!("/?default_format=JSONEachRow&query={query}"), USER).await?;
        answer.lines().map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The only row that answers a query.
    async fn row(&self, query: &str) -> Value {
        let rows = self.rows(query).await.unwrap_or_else(|| panic!("{query}: {}", self.process.output()));
        assert_eq!(rows.len(), 1, "{query}: {rows:?}");
        rows[0].clone()
    }

    /// How many rows each table has; none as long as one of them is missing.
    async fn counts<const N: usize>(&self, tables: [&str; N]) -> Option<[u64; N]> {
        let mut counts = [0; N];
        for (count, table) in counts.iter_mut().zip(tables) {
            *count = self.rows(&format!("SELECT count() AS rows FROM {table}")).await?.first()?["rows"].as_u64()?;
        }
        Some(counts)
    }

    /// Settings of a destination that is this store.
    fn settings(&self, more: &Value) -> Value {
        let mut settings = json!({
            "CLICKHOUSE_ENDPOINT": format!("http://127.0.0.1:{}", self.port), "CLICKHOUSE_USERNAME": "shop",
            "CLICKHOUSE_CREATE_SCHEME": "true", "CLICKHOUSE_DATABASE_NAME": "otel",
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    }
}

/// Sends OTLP in its JSON form, which shows every field that the queries ask for.
async fn post(port: u16, path: &str, group: &str, scope: &str, items: &Value) {
    let attributes = attributes(&[("service.name", "market"), ("k8s.pod.name", "market-7d9c"), ("region", "eu")]);
    let (resource, scoped) = (json!({"attributes": attributes}), json!({"name": "till", "version": "2"}));
    let (list, inner) = items.as_object().unwrap().iter().next().unwrap();
    let body = json!({group: [{"resource": resource, scope: [{"scope": scoped, list: inner}]}]}).to_string();
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.lines().next().unwrap().contains(" 200 "), "{path}: {answer}");
}

fn attributes(pairs: &[(&str, &str)]) -> Vec<Value> {
    pairs.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect()
}

/// Parts of `found` that `expected` names.
fn assert_has(found: &Value, expected: &Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&found[key], value, "{key} in {found}");
    }
}

const NOW: &str = "1700000000000000000";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const TABLES: [&str; 3] = ["otel.otel_traces", "otel.otel_metrics_gauge", "otel.otel_logs"];

async fn send_one_of_everything(port: u16) {
    let span = json!({
        "traceId": TRACE, "spanId": SPAN, "parentSpanId": "00f067aa0ba902b7", "name": "pay", "kind": 2,
        "startTimeUnixNano": NOW, "endTimeUnixNano": "1700000000012345678",
        "attributes": [
            {"key": "http.route", "value": {"stringValue": "/pay/{id}"}},
            {"key": "http.response.status_code", "value": {"intValue": "500"}},
            {"key": "paid", "value": {"boolValue": false}},
        ],
        "events": [{"timeUnixNano": "1700000000000000009", "name": "declined", "attributes": attributes(&[("card", "gold")])}],
        "links": [{"traceId": "11111111111111111111111111111111", "spanId": "2222222222222222"}],
        "status": {"code": 2, "message": "card declined"},
    });
    post(port, "/v1/traces", "resourceSpans", "scopeSpans", &json!({"spans": [span]})).await;
    let point = |more: Value| {
        let mut point = json!({"timeUnixNano": NOW, "attributes": attributes(&[("till", "3")])});
        point.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        [point]
    };
    let metrics = json!({"metrics": [
        {"name": "queue", "unit": "1", "gauge": {"dataPoints": point(json!({"asDouble": 2.5}))}},
        {"name": "sales", "unit": "EUR", "sum": {
            "isMonotonic": true, "aggregationTemporality": 2, "dataPoints": point(json!({"asInt": "7"})),
        }},
        {"name": "wait", "histogram": {"aggregationTemporality": 2, "dataPoints": point(
            json!({"count": "3", "sum": 6.0, "bucketCounts": ["1", "2"], "explicitBounds": [1.5]}),
        )}},
        {"name": "size", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": point(
            json!({"count": "4", "sum": 9.0, "scale": 1, "zeroCount": "1", "positive": {"offset": 2, "bucketCounts": ["3"]}}),
        )}},
        {"name": "age", "summary": {"dataPoints": point(
            json!({"count": "5", "sum": 10.0, "quantileValues": [{"quantile": 0.5, "value": 2.0}]}),
        )}},
    ]});
    post(port, "/v1/metrics", "resourceMetrics", "scopeMetrics", &metrics).await;
    let log = json!({
        "timeUnixNano": NOW, "traceId": TRACE, "spanId": SPAN, "attributes": attributes(&[("card", "gold")]),
        "body": {"stringValue": "{\"order\": \"o-17\", \"text\": \"an error at the till\"}"},
    });
    post(port, "/v1/logs", "resourceLogs", "scopeLogs", &json!({"logRecords": [log]})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clickhouse_answers_queries_for_what_was_sent() {
    let _turn = TURN.lock().await;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::start(&directory).await;
    let own = json!({
        "CLICKHOUSE_DATABASE_NAME": "team", "CLICKHOUSE_LOGS_TABLE": "lines", "CLICKHOUSE_TRACES_TABLE": "spans",
        "CLICKHOUSE_METRICS_TABLE_SUM": "sums", "HYPERDX_LOG_NORMALIZER": "true",
    });
    let plan = plan(
        vec![
            destination("usual", "clickhouse", &store.settings(&json!({})), &json!({})),
            destination("own-names", "clickhouse", &store.settings(&own), &json!({})),
        ],
        GRAPHLESS,
    );
    let gateway = start(&plan, &directory).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    const ITEMS: usize = 250;
    send(&sender, "kept", ITEMS).await;
    send_one_of_everything(gateway.around.http).await;
    let (wanted, once) = ([ITEMS as u64 + 1; 3], [1; 4]);
    let [sums, histograms, exponential, summaries] =
        ["sum", "histogram", "exponential_histogram", "summary"].map(|kind| format!("otel_metrics_{kind}"));
    // The exporter inserts each kind of metric on its own.
    let all = eventually("everything is stored", Duration::from_secs(90), || async {
        let rest = [&sums, &histograms, &exponential, &summaries].map(|table| format!("otel.{table}"));
        let own = ["sums", &histograms, &exponential, &summaries].map(|table| format!("team.{table}"));
        store.counts(TABLES).await == Some(wanted)
            && store.counts(rest.each_ref().map(String::as_str)).await == Some(once)
            && store.counts(["team.spans", "team.otel_metrics_gauge", "team.lines"]).await == Some(wanted)
            && store.counts(own.each_ref().map(String::as_str)).await == Some(once)
    });
    let said = || format!("{}\n{}", store.process.output(), gateway.output());
    if let Err(error) = all.await {
        panic!("{error}: {:?}\n{}", store.counts(TABLES).await, said());
    }

    // Each item once, by its id: a span's comes from its name.
    let ids = store.rows("SELECT SpanName, SpanId FROM otel.otel_traces WHERE ServiceName = 'shop'").await.unwrap();
    let mut found: Vec<(String, String)> =
        ids.iter().map(|row| (row["SpanName"].to_string(), row["SpanId"].to_string())).collect();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), ITEMS, "spans by name and id");
    let distinct = "SELECT uniqExact(Body) AS lines, countIf(ServiceName = 'shop') AS of_shop FROM otel.otel_logs";
    assert_has(&store.row(distinct).await, &json!({"lines": ITEMS + 1, "of_shop": ITEMS}));
    let distinct = "SELECT uniqExact(MetricName) AS names FROM otel.otel_metrics_gauge WHERE Value = 1";
    assert_has(&store.row(distinct).await, &json!({"names": ITEMS}));

    let span = store.row("SELECT * FROM otel.otel_traces WHERE SpanName = 'pay'").await;
    assert_has(
        &span,
        &json!({
            "TraceId": TRACE, "SpanId": SPAN, "ParentSpanId": "00f067aa0ba902b7", "SpanKind": "Server",
            "ServiceName": "market", "ScopeName": "till", "ScopeVersion": "2", "Duration": 12_345_678,
            "Timestamp": "2023-11-14 22:13:20.000000000", "StatusCode": "Error", "StatusMessage": "card declined",
            "SpanAttributes": {"http.route": "/pay/{id}", "http.response.status_code": "500", "paid": "false"},
            "Events.Timestamp": ["2023-11-14 22:13:20.000000009"], "Events.Name": ["declined"],
            "Events.Attributes": [{"card": "gold"}], "Links.SpanId": ["2222222222222222"],
        }),
    );
    assert_has(
        &span["ResourceAttributes"],
        &json!({"service.name": "market", "k8s.pod.name": "market-7d9c", "region": "eu"}),
    );
    // The view by which user interfaces find the time of a trace.
    let when = format!("SELECT Start FROM otel.otel_traces_trace_id_ts WHERE TraceId = '{TRACE}'");
    assert_has(&store.row(&when).await, &json!({"Start": "2023-11-14 22:13:20"}));

    let expected = [
        ("gauge", "queue", json!({"Value": 2.5, "MetricUnit": "1"})),
        ("sum", "sales", json!({"Value": 7, "MetricUnit": "EUR", "IsMonotonic": true, "AggregationTemporality": 2})),
        ("histogram", "wait", json!({"Count": 3, "Sum": 6, "BucketCounts": [1, 2], "ExplicitBounds": [1.5]})),
        (
            "exponential_histogram",
            "size",
            json!({"Count": 4, "Sum": 9, "Scale": 1, "ZeroCount": 1, "PositiveOffset": 2, "PositiveBucketCounts": [3]}),
        ),
        (
            "summary",
            "age",
            json!({"Count": 5, "Sum": 10, "ValueAtQuantiles.Quantile": [0.5], "ValueAtQuantiles.Value": [2]}),
        ),
    ];
    for (table, name, values) in expected {
        let row = store.row(&format!("SELECT * FROM otel.otel_metrics_{table} WHERE MetricName = '{name}'")).await;
        assert_has(&row, &values);
        assert_has(&row, &json!({"ServiceName": "market", "ScopeName": "till", "Attributes": {"till": "3"}}));
    }

    let log = "SELECT * FROM otel.otel_logs WHERE ServiceName = 'market' AND hasToken(lower(Body), 'error')";
    assert_has(
        &store.row(log).await,
        &json!({
            "TraceId": TRACE, "SpanId": SPAN, "LogAttributes": {"card": "gold"}, "SeverityNumber": 0, "SeverityText": "",
            "Body": "{\"order\": \"o-17\", \"text\": \"an error at the till\"}",
        }),
    );
    let normalised = store.row("SELECT * FROM team.lines WHERE ServiceName = 'market'").await;
    assert_has(&normalised, &json!({"SeverityNumber": 17, "SeverityText": "error", "TraceId": TRACE}));
    let fields = json!({"card": "gold", "order": "o-17", "text": "an error at the till"});
    assert_has(&normalised["LogAttributes"], &fields);
    assert!(!said().contains(SECRET), "no secret in a log");
    println!("{} items in each of two databases", 3 * (ITEMS + 1) + 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clickhouse_that_refuses_or_is_silent_does_no_harm_to_others() {
    let _turn = TURN.lock().await;
    let (before, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::start(&directory).await;
    let creator = vec![destination("creator", "clickhouse", &store.settings(&json!({})), &json!({}))];
    start(&plan(creator, GRAPHLESS), &before).await.stop();
    assert_eq!(store.counts(TABLES).await, Some([0; 3]), "the schema is there as soon as the collector is");

    let ready_made = |more: Value| {
        let mut settings = store.settings(&json!({"CLICKHOUSE_CREATE_SCHEME": "false"}));
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    };
    let (port, none) = (free_port().unwrap(), json!({}));
    // Takes connections and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at_silent = json!({"CLICKHOUSE_ENDPOINT": silent.local_addr().unwrap().to_string()});
    let sink = Sink::listen(port).await.unwrap();
    let plan = plan(
        vec![
            destination("user", "clickhouse", &ready_made(json!({})), &none),
            destination("stranger", "clickhouse", &ready_made(json!({})), &none),
            destination("elsewhere", "clickhouse", &ready_made(json!({"CLICKHOUSE_DATABASE_NAME": "missing"})), &none),
            destination("silent", "clickhouse", &ready_made(at_silent), &none),
            destination("other", "otlp", &json!({"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")}), &none),
        ],
        GRAPHLESS,
    );
    let password = plan.secrets.iter().find_map(|used| match &used.target {
        SecretTarget::Variable(name) if used.destination == "stranger" => Some(name.as_str()),
        _ => None,
    });
    let begun = Instant::now();
    let gateway = start_with(&plan, &directory, &[(password.unwrap(), "wr0ng")]).await;
    let started = begun.elapsed();
    // That is what the pods need; how much less it takes depends on the machine, and is printed.
    assert!(started < Duration::from_secs(30), "the probe of the gateway's pods has 30 s, the start took {started:?}");
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    send(&sender, "kept", 20).await;
    let all = eventually("the user and the other have everything", Duration::from_secs(90), || async {
        sink.items().len() == 60 && store.counts(TABLES).await == Some([20; 3])
    });
    if let Err(error) = all.await {
        panic!("{error}: {:?}\n{}", store.counts(TABLES).await, gateway.output());
    }
    let told = eventually("both refusals are told", Duration::from_secs(90), || async {
        let said = gateway.output();
        let is_told = |name: &str, status: &str| {
            said.lines().any(|line| line.contains("Exporting failed") && line.contains(name) && line.contains(status))
        };
        is_told("clickhouse-stranger", "[HTTP 403]") && is_told("clickhouse-elsewhere", "[HTTP 404]")
    });
    told.await.unwrap_or_else(|error| panic!("{error}: {}", gateway.output()));
    // Both have tried more than once by now.
    assert_eq!(store.counts(TABLES).await, Some([20; 3]), "nothing of the stranger is stored");
    assert_eq!(sink.items().len(), 60);
    let databases: Vec<Value> = store.rows("SHOW DATABASES").await.unwrap();
    assert!(databases.iter().all(|one| one["name"] != "missing"), "{databases:?}");
    let said = format!("{}{}", gateway.output(), store.process.output());
    assert!(!said.contains(SECRET) && !said.contains("wr0ng"), "no secret in a log");
    println!("started in {started:?} beside a silent one");
}

/// First byte of a connection to a listener that then hangs up.
async fn first_byte(listener: &tokio::net::TcpListener) -> u8 {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.read_u8().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clickhouse_speaks_tls_when_it_is_told_to_without_a_certificate_of_ones_own() {
    let _turn = TURN.lock().await;
    let listen = || tokio::net::TcpListener::bind("127.0.0.1:0");
    let (plain, secure) = (listen().await.unwrap(), listen().await.unwrap());
    let settings = |listener: &tokio::net::TcpListener, tls: &str| {
        json!({
            "CLICKHOUSE_ENDPOINT": listener.local_addr().unwrap().to_string(), "CLICKHOUSE_USERNAME": "shop",
            "CLICKHOUSE_DATABASE_NAME": "otel", "CLICKHOUSE_TLS_ENABLED": tls,
        })
    };
    let plan = plan(
        vec![
            destination("plain", "clickhouse", &settings(&plain, "false"), &json!({})),
            destination("secure", "clickhouse", &settings(&secure, "true"), &json!({})),
        ],
        GRAPHLESS,
    );
    let directory = tempfile::tempdir().unwrap();
    // Each looks at its tables when it starts, one after the other.
    let bytes = async { tokio::join!(first_byte(&plain), first_byte(&secure)) };
    let (gateway, bytes) = tokio::join!(start(&plan, &directory), tokio::time::timeout(Duration::from_secs(90), bytes));
    let (hello, handshake) = bytes.unwrap_or_else(|_| panic!("{}", gateway.output()));
    assert_eq!(hello, 0, "the native protocol's hello");
    assert_eq!(handshake, 0x16, "a TLS handshake");
}

/// What is upstream's, and documented: an exporter that cannot create its schema ends the collector that starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clickhouse_must_be_there_when_the_schema_is_to_be_created() {
    let _turn = TURN.lock().await;
    let settings = json!({
        "CLICKHOUSE_ENDPOINT": format!("http://127.0.0.1:{}", free_port().unwrap()), "CLICKHOUSE_USERNAME": "shop",
        "CLICKHOUSE_DATABASE_NAME": "otel", "CLICKHOUSE_CREATE_SCHEME": "true",
    });
    let plan = plan(vec![destination("away", "clickhouse", &settings, &json!({}))], GRAPHLESS);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("gateway.log");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let told = async {
        let is_over = || async { said().contains("failed to start \"clickhouse/clickhouse-away\" exporter") };
        eventually("it says which exporter", Duration::from_secs(60), is_over).await
    };
    let told = tokio::select! {
        _ = start(&plan, &directory) => panic!("the collector starts: this limit is gone, and so must the remark in the catalogue"),
        told = told => told,
    };
    told.unwrap_or_else(|error| panic!("{error}: {}", said()));
}
