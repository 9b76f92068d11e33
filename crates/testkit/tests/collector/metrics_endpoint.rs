//! The metrics of the real collector: who reads them where, and that nothing of them changes on the way.
//!
//! Owns readers with and without a certificate, in place of the autoscaler and of any pod.

use crate::{certificate_files, destination, secret, settled};
use jiff::Timestamp;
use odigos_kit::certificates::{Authority, Mounted, Usage, client_config};
use odigos_plan::metrics_endpoint::READER_NAME;
use odigos_plan::mutual_tls::{GATEWAY_NAME, NODE_NAME};
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::http;
use odigos_testkit::process::eventually;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Asks the endpoint with this configuration of TLS; what it answers, header and body.
async fn read(port: u16, config: rustls::ClientConfig, server: &'static str) -> std::io::Result<String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(server.try_into().unwrap(), stream).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n").await?;
    let mut text = String::new();
    // Who closes without a farewell is an error at the end of what was read.
    let read = stream.read_to_string(&mut text).await;
    if text.is_empty() {
        read?;
    }
    Ok(text)
}

/// Names, labels and types: lines without their values.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| if line.starts_with('#') { line } else { line.rsplit_once(' ').unwrap().0 }.to_owned()).collect()
}

/// Series of one moment that another moment may lack: they come with what happens in between.
fn is_of_requests(line: &&String) -> bool {
    ["http_", "rpc_", "promhttp_", "otelcol_scraper_"].iter().any(|name| line.contains(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_read_with_a_certificate_and_are_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let authority = Authority::new(None, now).unwrap();
    certificate_files::write(directory.path(), &authority, &authority, now);
    let data = json!({"JAEGER_URL": "127.0.0.1:9"});
    let backend = destination("backend", "jaeger", &json!(["TRACES"]), &data, &["default"]);
    let settled = settled(&[secret(), backend], |_| {});
    let config = settled.gateway.as_ref().unwrap().config.to_yaml();
    let certificate = Some(directory.path().join("gateway"));
    let around =
        Surroundings { metrics_certificate: certificate, ..Surroundings::new(&directory.path().join("run")).unwrap() };
    let gateway = Collector::start("gateway", &config, around, &[]).await.unwrap();
    let port = gateway.around.secure_metrics;
    let certified = |authority: &Authority, name: &str| {
        let mut mounted = Mounted::next(None, authority, true, &[name.to_owned()], Usage::Client, now).unwrap();
        mounted.trusted = certificate_authority(directory.path());
        client_config(&mounted).unwrap()
    };

    let reader = || certified(&authority, READER_NAME);
    let begun = eventually("the endpoint answers", Duration::from_secs(30), || async {
        read(port, reader(), GATEWAY_NAME).await.is_ok_and(|text| text.contains("otelcol_process_uptime"))
    });
    begun.await.unwrap_or_else(|error| panic!("{error}: {}", gateway.output()));

    let mut roots = rustls::RootCertStore::empty();
    use rustls::pki_types::pem::PemObject;
    let trusted = certificate_authority(directory.path());
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let nobody = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let answer = read(port, nobody, GATEWAY_NAME).await;
    assert!(answer.is_err(), "without a certificate: {answer:?}");
    let answer = read(port, certified(&Authority::new(None, now).unwrap(), READER_NAME), GATEWAY_NAME).await;
    assert!(answer.is_err(), "with one of another authority: {answer:?}");
    let answer = read(port, certified(&authority, NODE_NAME), GATEWAY_NAME).await.unwrap();
    assert!(answer.contains("403") && !answer.contains("otelcol_"), "with one of a node collector: {answer}");
    assert!(http::get(port, "/metrics", None).await.is_none_or(|text| !text.contains("otelcol_")), "without TLS");

    let answer = read(port, reader(), GATEWAY_NAME).await.unwrap();
    assert!(!answer.contains("is not there"), "the service graph is read as well");
    let (header, secured) = answer.split_once("\r\n\r\n").unwrap();
    assert!(header.contains("200 OK") && header.to_lowercase().contains("text/plain; version=0.0.4"), "{header}");
    let plain = http::get(gateway.around.metrics, "/metrics", None).await.unwrap();
    let (secured, plain) = (series(secured), series(&plain));
    let missing: Vec<&String> = plain.difference(&secured).filter(|line| !is_of_requests(line)).collect();
    assert!(plain.len() > 50 && missing.is_empty(), "{missing:?}");
    let further: Vec<&String> = secured.difference(&plain).filter(|line| !is_of_requests(line)).collect();
    assert!(further.iter().all(|line| !line.contains("otelcol_")), "nothing of its own is altered: {further:?}");
}

/// The authority of the gateway's certificate.
fn certificate_authority(directory: &std::path::Path) -> String {
    std::fs::read_to_string(directory.join("gateway/ca.crt")).unwrap()
}
