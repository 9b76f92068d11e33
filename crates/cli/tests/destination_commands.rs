//! `odigos destinations add` as a user runs it, without a cluster.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use std::io::Write;
use std::process::{Command, Stdio};

/// Exit code, standard output and standard error of `add … --dry-run` with that standard input.
fn add(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_odigos"));
    command.args(["destinations", "add"]).args(arguments).args(["--dry-run", "-o", "json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Where the arguments are refused, nothing reads the input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let out = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

const PEM: &str = odigos_catalog::example::CERTIFICATE;

#[test]
fn value_of_several_lines_is_read_whole() {
    let settings = ["otlp", "--set", "OTLP_GRPC_ENDPOINT=https://c:4317", "--set", "OTLP_GRPC_TLS_ENABLED=true"];
    let of = |more: &[&str], input: &str| {
        let (code, out, error) = add(&[&settings, more].concat(), input);
        assert_eq!((code, error.as_str()), (0, ""), "{out}");
        let objects: serde_json::Value = serde_json::from_str(&out).unwrap();
        objects[0]["spec"]["data"]["OTLP_GRPC_CA_PEM"].as_str().unwrap().to_owned()
    };
    assert_eq!(of(&["--set", "OTLP_GRPC_CA_PEM=-"], PEM), PEM.trim_end());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, PEM.replace('\n', "\r\n")).unwrap();
    let file = format!("OTLP_GRPC_CA_PEM={}", path.display());
    assert_eq!(of(&["--set-file", &file], ""), PEM.trim_end().replace('\n', "\r\n"));
}

#[test]
fn credential_is_judged_before_it_is_written_and_never_printed() {
    let settings = ["honeycomb", "--set", "HONEYCOMB_ENDPOINT=api.honeycomb.io", "--set", "HONEYCOMB_API_KEY=-"];
    for (input, expected, words) in [
        ("hidden-0123\n", 0, ""),
        ("${hidden:=changeme}\n", 0, "placeholder"),
        ("hidden\n\n", 2, "line break"),
        ("hidden\0", 2, "NUL"),
    ] {
        let (code, out, error) = add(&settings, input);
        assert_eq!(code, expected, "{error}");
        assert!(error.contains(words) && (!words.is_empty() || error.is_empty()), "{error}");
        assert!(!out.contains("hidden") && !error.contains("hidden"), "{out}{error}");
    }
}

#[test]
fn credential_that_nothing_uses_is_reported() {
    let settings =
        ["prometheus", "--set", "PROMETHEUS_REMOTEWRITE_URL=https://p", "--set", "PROMETHEUS_BEARER_TOKEN=-"];
    let (code, _, error) = add(&settings, "hidden\n");
    assert_eq!(code, 0, "{error}");
    assert!(
        error.contains("key PROMETHEUS_BEARER_TOKEN") && error.contains("PROMETHEUS_USE_AUTHENTICATION is true"),
        "{error}"
    );
    let (_, _, error) = add(&[&settings[..], &["--set", "PROMETHEUS_USE_AUTHENTICATION=true"]].concat(), "hidden\n");
    assert_eq!(error, "");
}

#[test]
fn what_cannot_be_meant_is_refused_with_a_way_out() {
    let url = "JAEGER_URL=jaeger:4317";
    let long = "a".repeat(242);
    for (arguments, words) in [
        (vec!["Jaeger", "--set", url], "did you mean jaeger?"),
        (vec!["jeager", "--set", url], "did you mean jaeger?"),
        (vec!["jaeger", "--set", "JAEGER_URl=x"], "did you mean JAEGER_URL?"),
        (vec!["jaeger", "--set", url, "--name", "UPPER"], "use upper"),
        (vec!["jaeger", "--set", url, "--name", "a_b"], "is not a name of an object"),
        (vec!["jaeger", "--set", url, "--name", &long], "241 are possible"),
        (vec!["jaeger", "--set", url, "--set", url], "set twice"),
        (vec!["jaeger", "--set", "JAEGER_URL=-", "--set", "JAEGER_CA_PEM=-"], "--set-file JAEGER_CA_PEM=PATH"),
        (vec!["jaeger", "--set-file", "JAEGER_CA_PEM=/does/not/exist"], "failed to read /does/not/exist"),
    ] {
        let (code, out, error) = add(&arguments, "x");
        assert!(code != 0 && out.is_empty(), "{arguments:?}: {out}");
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    let (code, ..) = add(&["jaeger", "--set", url, "--name", "checkout.jaeger-2"], "");
    assert_eq!(code, 0);
}
