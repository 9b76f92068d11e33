//! Tables of what people type, and what becomes of it.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use super::*;

#[test]
fn grpc_hostport_table() {
    for (input, off, on) in [
        ("collector", Some("collector:4317"), Some("collector:4317")),
        ("collector:9999", Some("collector:9999"), Some("collector:9999")),
        ("  collector:9999 ", Some("collector:9999"), Some("collector:9999")),
        ("grpc://c:1", Some("c:1"), None),
        ("http://c", Some("c:4317"), None),
        ("grpcs://c:1", None, Some("c:1")),
        ("https://c", None, Some("c:4317")),
        ("HTTPS://c", None, Some("c:4317")),
        ("[::1]", Some("[::1]:4317"), Some("[::1]:4317")),
        ("http://[::1]", Some("[::1]:4317"), None),
        ("[::1]:4317", Some("[::1]:4317"), Some("[::1]:4317")),
        ("::1", None, None),
        ("2001:db8::1:4317", None, None),
        ("c/", None, None),
        ("http://c/", None, None),
        ("c:4317/v1/traces", None, None),
        ("http://c:4317?x=1", None, None),
        ("http://u:p@c", None, None),
        (":4317", None, None),
        ("", None, None),
        ("c:port", None, None),
        ("c d:1", None, None),
        ("ftp://c", None, None),
        ("c:", None, None),
        ("c:0", None, None),
        ("c:70000", None, None),
        ("[::1", None, None),
        ("C.Example.COM:443", Some("C.Example.COM:443"), Some("C.Example.COM:443")),
    ] {
        assert_eq!(grpc_hostport(input, false).ok().as_deref(), off, "{input:?} off");
        assert_eq!(grpc_hostport(input, true).ok().as_deref(), on, "{input:?} on");
    }
}

#[test]
fn otlp_http_url_table() {
    let seq = |text: &str| otlp_http_url(text, Some(5341), Some("/ingest/otlp")).ok();
    let greptime = |text: &str| otlp_http_url(text, None, Some("/v1/otlp")).ok();
    for (input, plain, with_port, with_path) in [
        ("http://h", Some("http://h"), Some("http://h:5341/ingest/otlp"), Some("http://h/v1/otlp")),
        ("https://h:80", Some("https://h:80"), Some("https://h:80/ingest/otlp"), Some("https://h:80/v1/otlp")),
        ("http://h/", Some("http://h"), Some("http://h:5341/ingest/otlp"), Some("http://h/v1/otlp")),
        ("http://h/other", Some("http://h/other"), None, None),
        ("http://[::1]", Some("http://[::1]"), Some("http://[::1]:5341/ingest/otlp"), Some("http://[::1]/v1/otlp")),
        ("HTTP://h", Some("http://h"), Some("http://h:5341/ingest/otlp"), Some("http://h/v1/otlp")),
        ("http://u:p@h", Some("http://u:p@h"), Some("http://u:p@h:5341/ingest/otlp"), Some("http://u:p@h/v1/otlp")),
        ("http://h?x=1", None, None, None),
        ("http://h#f", None, None, None),
        ("http://h/v1/traces", Some("http://h"), Some("http://h:5341/ingest/otlp"), Some("http://h/v1/otlp")),
        (
            "http://h:4318/v1/logs/",
            Some("http://h:4318"),
            Some("http://h:4318/ingest/otlp"),
            Some("http://h:4318/v1/otlp"),
        ),
        (
            "http://h/v1/traces/v1/traces//",
            Some("http://h"),
            Some("http://h:5341/ingest/otlp"),
            Some("http://h/v1/otlp"),
        ),
        ("http://h/api/org/", Some("http://h/api/org"), None, None),
        ("http://h/otlp:4318", None, None, None),
        ("https://h/otlp/v1/metrics", Some("https://h/otlp"), None, None),
        ("http://h/%zz", None, None, None),
        ("http://[fe80::1%eth0]:4318", None, None, None),
        (
            "http://[fe80::1%25eth0]:4318",
            Some("http://[fe80::1%25eth0]:4318"),
            Some("http://[fe80::1%25eth0]:4318/ingest/otlp"),
            Some("http://[fe80::1%25eth0]:4318/v1/otlp"),
        ),
        ("http:/h:4318", None, None, None),
        ("http://http://h:4318", None, None, None),
        ("https://h:443:443", None, None, None),
        ("http://ötel.example", None, None, None),
        (
            "http://otel_collector.obs:4318",
            Some("http://otel_collector.obs:4318"),
            Some("http://otel_collector.obs:4318/ingest/otlp"),
            Some("http://otel_collector.obs:4318/v1/otlp"),
        ),
        (
            "http://otel.obs.svc.:4318",
            Some("http://otel.obs.svc.:4318"),
            Some("http://otel.obs.svc.:4318/ingest/otlp"),
            Some("http://otel.obs.svc.:4318/v1/otlp"),
        ),
        ("http://${env:HOST}:4318", None, None, None),
        ("h:4318", None, None, None),
        ("h", None, None, None),
        ("", None, None, None),
        ("ftp://h", None, None, None),
        ("http://h:port", None, None, None),
        ("http://", None, None, None),
    ] {
        assert_eq!(otlp_http_url(input, None, None).ok().as_deref(), plain, "{input:?}");
        assert_eq!(seq(input).as_deref(), with_port, "{input:?} seq");
        assert_eq!(greptime(input).as_deref(), with_path, "{input:?} greptime");
    }
}

#[test]
fn other_urls_table() {
    type Rule = fn(&str) -> Result<String, String>;
    let cases: &[(Rule, &str, Option<&str>)] = &[
        (loki_url, "loki", Some("http://loki:3100/otlp")),
        (loki_url, "https://loki", Some("https://loki:3100/otlp")),
        (loki_url, "loki/otlp", Some("http://loki:3100/otlp")),
        (loki_url, "[::1]", Some("http://[::1]:3100/otlp")),
        (loki_url, "http://l/loki/api/v1/push", None),
        (loki_url, "https://l:3100/otlp/v1/logs", Some("https://l:3100/otlp")),
        (loki_url, "http://l:3100//", Some("http://l:3100/otlp")),
        (loki_url, "http://l:80/prefix", Some("http://l:80/prefix")),
        (loki_url, "http://l/?tenant=a", None),
        (loki_url, "http://l/", Some("http://l:3100/otlp")),
        (loki_url, "http://l/loki/api/v1/push/", None),
        (loki_url, "http://l/loki/api/v1/push?x=1", None),
        (loki_url, "http://l/tenant/api/prom/push", None),
        (loki_url, "http://l/otlp/v1/logs/", Some("http://l:3100/otlp")),
        (loki_url, "http://l/loki:3100", None),
        (grafana_loki_url, "https://l", Some("https://l/otlp")),
        (grafana_loki_url, "https://l/otlp/", Some("https://l/otlp")),
        (grafana_loki_url, "https://l/otlp/v1/logs", Some("https://l/otlp")),
        (grafana_loki_url, "https://l/otlp?x=1", None),
        (grafana_loki_url, "https://l/loki/api/v1/push", None),
        (grafana_prometheus_url, "https://p/api/prom/push/", Some("https://p/api/prom/push")),
        (grafana_prometheus_url, "https://p/api/prom/push#x", Some("https://p/api/prom/push")),
        (grafana_prometheus_url, "https://p/api/prom", None),
        (dynatrace_url, "https://a.live.dynatrace.com/", Some("https://a.live.dynatrace.com")),
        (dynatrace_url, "https://a.live.dynatrace.com/api/v2/otlp", Some("https://a.live.dynatrace.com")),
        (dynatrace_url, "https://g:9999/e/env/api/v2/otlp/v1/traces/", Some("https://g:9999/e/env")),
        (oracle_url, "https://o/", Some("https://o")),
        (oracle_url, "https://o/20200101/opentelemetry/private/v1/traces", Some("https://o")),
        (oracle_url, "https://o/20200101/opentelemetry", Some("https://o")),
        (oracle_url, "https://o/20200101/opentelemetry/v1/metrics?x=1", None),
        (url_rest, "https://q/", Some("q")),
        (url_rest, "q.example.com:443/x//", Some("q.example.com:443/x")),
        (url_rest, "https://q/api/v1/prom/remote/write", Some("q")),
        (url_rest, "https://q/v1/traces", Some("q")),
        (url_rest, "https://q?x=1", None),
        (url_rest, "https://q#x", None),
        (loki_url, "ftp://l", None),
        (loki_url, "", None),
        (prom_rw_url, "prom:9090", Some("http://prom:9090/api/v1/write")),
        (prom_rw_url, "http://m/api/v1/push", Some("http://m/api/v1/push")),
        (prom_rw_url, "http://p/", Some("http://p/api/v1/write")),
        (prom_rw_url, "ftp://p", None),
        (prom_rw_url, "http://m/api/v1/push/", Some("http://m/api/v1/push")),
        (prom_rw_url, "https://a/workspaces/w/api/v1/remote_write", Some("https://a/workspaces/w/api/v1/remote_write")),
        (prom_rw_url, "https://g/api/prom/push", Some("https://g/api/prom/push")),
        (prom_rw_url, "http://t:19291/api/v1/receive", Some("http://t:19291/api/v1/receive")),
        (prom_rw_url, "https://z/x/api/v1/write?api-version=1", Some("https://z/x/api/v1/write?api-version=1")),
        (prom_rw_url, "http://g:4000/v1/prometheus/write?db=p", Some("http://g:4000/v1/prometheus/write?db=p")),
        (prom_rw_url, "http://p?db=x", None),
        (prom_rw_url, "http://p/api/v1/write#x", None),
        (prom_rw_url, "HTTP://p:9090", Some("http://p:9090/api/v1/write")),
        (prom_rw_url, "", None),
        (clickhouse_url, "ch", Some("tcp://ch:9000")),
        (clickhouse_url, "http://ch:8123", Some("http://ch:8123")),
        (clickhouse_url, "https://ch", Some("https://ch:8443")),
        (clickhouse_url, "tcp://ch/db?x=1", Some("tcp://ch:9000/db?x=1")),
        (clickhouse_url, "[::1]", Some("tcp://[::1]:9000")),
        (clickhouse_url, "", None),
        (tempo_hostport, "http://tempo", Some("tempo:4317")),
        (tempo_hostport, "tempo:443", Some("tempo:443")),
        (tempo_hostport, "tempo:443/", Some("tempo:443")),
        (tempo_hostport, "[::1]", Some("[::1]:4317")),
        (tempo_hostport, "https://tempo", None),
    ];
    for (rule, input, expected) in cases {
        assert_eq!(rule(input).ok().as_deref(), *expected, "{input:?}");
    }
}

#[test]
fn values_table() {
    assert_eq!(integer(" 5 "), Ok(5));
    assert!(integer("many").unwrap_err().contains("many"));
    for (text, expected) in [("1", true), (" True ", true), ("TRUE", true), ("t", true), ("0", false), ("False", false)]
    {
        assert_eq!(boolean(text), Ok(expected), "{text:?}");
    }
    for text in ["yes", "on", "", "tRue", "2", "enabled"] {
        assert!(boolean(text).is_err(), "{text:?} is neither");
    }
    assert_eq!(string_list("[\"a\"]"), Ok(vec!["a".into()]));
    assert!(string_list("a,b").is_err() && string_list("[1]").is_err());
    assert_eq!(comma_list(" a, b ,,"), ["a", "b"]);
    assert_eq!(key_values("[{\"key\":\"a\",\"value\":\"b\"}]").unwrap().len(), 1);
    assert!(key_values("{}").is_err());
    assert!(duration("1m30s").is_ok() && duration("250ms").is_ok() && duration("5").is_err() && duration("").is_err());
    assert!(duration_at_least("0s", "100ms").is_err() && duration_at_least("99999us", "100ms").is_err());
    assert_eq!(duration_at_least(" 1m30s ", "100ms").as_deref(), Ok("1m30s"));
    assert!(pem("nonsense").is_err());
    assert!(absolute_path("/a/../b").is_err() && absolute_path("a").is_err() && absolute_path("/a/b.json").is_ok());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_them_panic(text in proptest::prelude::any::<String>()) {
        let _ = (grpc_hostport(&text, false), otlp_http_url(&text, Some(1), Some("/x")), loki_url(&text), prom_rw_url(&text));
        let _ = (clickhouse_url(&text), tempo_hostport(&text), integer(&text), string_list(&text), key_values(&text), duration(&text), pem(&text));
    }
}

#[test]
fn headers_must_be_ones_that_http_can_carry() {
    let of = |pairs: &str| header::headers(pairs, header::Transport::Http);
    assert_eq!(of("[{\"key\":\" X-Key \",\"value\":\"a b\"}]").unwrap().get("X-Key").map(String::as_str), Some("a b"));
    for (pairs, why) in [
        ("[{\"key\":\"X API Key\",\"value\":\"a\"}]", "' '"),
        ("[{\"key\":\"Authorization:\",\"value\":\"a\"}]", "':'"),
        ("[{\"key\":\":authority\",\"value\":\"a\"}]", "':'"),
        ("[{\"key\":\"x\",\"value\":\"a\\n\"}]", "no header can carry"),
        ("[{\"key\":\"X-Key\",\"value\":\"a\"},{\"key\":\"x-key\",\"value\":\"b\"}]", "twice"),
        ("x-key=a", "JSON"),
    ] {
        let error = of(pairs).unwrap_err().join("; ");
        assert!(error.contains(why), "{pairs}: {error}");
    }
}

#[test]
fn names_and_addresses_are_read_before_anything_is_appended() {
    type Rule = fn(&str) -> Result<String, String>;
    let port: Rule = |text| host_and_default_port(text, 443);
    let cases: &[(Rule, &str, Option<&str>)] = &[
        (port, "api.honeycomb.io", Some("api.honeycomb.io:443")),
        (port, "api.honeycomb.io:8443", Some("api.honeycomb.io:8443")),
        (port, "https://api.honeycomb.io/", Some("https://api.honeycomb.io:443")),
        (port, "https://api.honeycomb.io/path", None),
        (domain, "https://eu2.coralogix.com/", Some("eu2.coralogix.com")),
        (domain, "datadoghq.eu ", Some("datadoghq.eu")),
        (domain, "datadoghq.eu:443", None),
        (domain, "datadoghq.eu/x", None),
        (label, "us1", Some("us1")),
        (label, "https://ingest.us0.signalfx.com", None),
        (bucket, "otel-data", Some("otel-data")),
        (bucket, "s3://my-bucket/path", None),
        (version, "2.8.0", Some("2.8.0")),
        (version, "3.6", Some("3.6")),
        (version, "latest", None),
        (complete_url, "https://idp.example.com/token?x=1", Some("https://idp.example.com/token?x=1")),
        (complete_url, "idp.example.com/token", None),
        (complete_url, "https://idp/to ken", None),
        (
            azure_connection_string,
            "InstrumentationKey=0;IngestionEndpoint=https://x",
            Some("InstrumentationKey=0;IngestionEndpoint=https://x"),
        ),
        (azure_connection_string, "nonsense", None),
    ];
    for (rule, input, expected) in cases {
        assert_eq!(rule(input).ok().as_deref(), *expected, "{input:?}");
    }
    assert!(brokers("[\"k-0:9092\",\" k-1:9092 \"]").is_ok_and(|found| found == ["k-0:9092", "k-1:9092"]));
    for bad in ["[]", "[\"\"]", "[\"kafka-0\"]", "[\"SASL_SSL://k:9092\"]", "kafka-0:9092"] {
        assert!(brokers(bad).is_err(), "{bad}");
    }
    assert_eq!(tags("[]"), Ok(None));
    assert_eq!(tags(r#"[{"key":"","value":"b"}]"#), Ok(None));
    assert!(tags(r#"[{"key":"a","value":"b"}]"#).is_ok_and(|tags| tags.is_some()));
    assert!(tags(r#"[{"key":"a","value":"b;c"}]"#).unwrap_err()[0].contains("';'"));
    assert!(tags("[{\"key\":\"a\",\"value\":\"\"}]").is_err());
    // Everything that is wrong with a list is found at once.
    assert_eq!(brokers("[\"kafka-0\",\"k:9092\",\"SASL_SSL://k:9092\"]").unwrap_err().len(), 2);
    assert_eq!(
        tags(r#"[{"key":"a","value":""},{"key":"b","value":"x;y"},{"key":"c","value":"v"}]"#).unwrap_err().len(),
        2
    );
    assert_eq!(labels(r#"{"a": "", "": "b", "c": "d"}"#).unwrap_err().len(), 2);
}

#[test]
fn what_is_wrong_with_an_address_is_said_by_its_kind() {
    for (text, why) in [
        ("https://es-0:9200,https://es-1:9200", "several addresses"),
        ("a:1,b:2", "several addresses"),
        ("${env:HOST_IP}:4317", "variables"),
        ("$(HOST_IP):4317", "variables"),
        ("https://h:443:443", "two ports"),
        ("http:/h", "two slashes"),
        ("http://http://h", "two schemes"),
        ("dns:///h:1", "dns://"),
        ("unix:///var/run/x.sock", "unix://"),
        ("::1", "brackets"),
        ("-bad.obs:4317", "name of a host"),
        ("a%20b:4317", "'%'"),
    ] {
        let error = grpc_hostport(text, true).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn merge_keys_are_applied_or_refused() {
    let merged =
        yaml_map("endpoint: j:4317\ntls:\n  <<: &t {insecure: true}\nagain: {<<: *t, insecure: false}\n").unwrap();
    assert_eq!(merged["tls"], serde_json::json!({"insecure": true}));
    assert_eq!(merged["again"], serde_json::json!({"insecure": false}));
    assert!(yaml_map("tls: {<<: 5}").unwrap_err().contains("mapping"));
    assert_eq!(yaml_map("a: 1\na: 2").unwrap()["a"], 2);
}

#[test]
fn yaml_of_a_setting_is_read_as_manifests_are() {
    use serde_json::json;
    let read = |text: &str| yaml_map(text);
    let merged = json!({"base": {"insecure": true}, "tls": {"insecure": true, "ca_file": "/a"}});
    assert_eq!(read("base: &base {insecure: yes}\ntls: {<<: *base, ca_file: /a}\n"), Ok(merged));
    assert_eq!(read("\u{feff}endpoint: j:4317\n"), Ok(json!({"endpoint": "j:4317"})));
    for wrong in ["- a", "", "a: [", "a: 1\n---\nb: 2\n"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    let said = read("a: 1\nkey: *hunter2\n").unwrap_err();
    assert!(said.starts_with("it is not YAML: line 2") && !said.contains("hunter2"), "{said}");
}

#[test]
fn values_that_an_exporter_refuses_are_refused_before_it_starts() {
    for (text, good) in [
        ("0.8.2", true),
        ("0.11.0.1", true),
        ("1.1", true),
        ("2.8.0", true),
        ("v3.9", true),
        ("4.2.0", true),
        ("1.5", false),
        ("0.11", false),
        ("5.0.0", false),
        ("latest", false),
    ] {
        assert_eq!(kafka_version(text).is_ok(), good, "{text}");
    }
    for (text, good) in [
        ("/aws/odigos", true),
        ("/aws/{ClusterName}/{NodeName}", true),
        ("{X}", false),
        ("{", false),
        ("a:b", false),
        ("a*", false),
    ] {
        assert_eq!(log_name(text).is_ok(), good, "{text}");
    }
    assert!(labels(r#"{"a": "b"}"#).is_ok() && labels(r#"[{"key":"a","value":""}]"#).is_err());
    assert!(clickhouse_url("http://h/%zz").is_err() && clickhouse_url("http://u:p%40x@h/%20").is_ok());
    assert_eq!(string_list(r#"["a ", " ", ""]"#), Ok(vec!["a".to_owned()]));
}
