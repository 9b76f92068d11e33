//! The connection test of a Destination: an empty request to its backend, from this machine (`spec/destinations.md` 4).
//!
//! Uses the very settings that the gateway's exporter gets. Resolves a name once and connects to what was checked. Rejects link-local
//! addresses and the metadata services of clouds, and addresses of private networks unless the user allows them: the request carries the
//! credentials of the Destination to wherever its author wrote.

use anyhow::{Context, bail};
use base64::Engine as _;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::api::Api;
use odigos_api::Signal;
use odigos_api::destination::Destination;
use odigos_catalog::render::{self, Instance, Secret};
use odigos_plan::gateway::destinations::{value_problems, value_remarks};
use odigos_plan::gateway::{SecretKeys, SecretValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

/// Which addresses a test may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those of the internet.
    Public,
    /// Those of private networks and this machine too.
    Private,
}

/// What came of a test.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) succeeded: bool,
    pub(crate) message: String,
}

/// Tests the Destination of that name.
pub(crate) async fn test(
    client: &Client,
    namespace: &str,
    name: &str,
    seconds: u64,
    reach: Reach,
) -> anyhow::Result<Outcome> {
    let destinations: Api<Destination> = Api::namespaced(client.clone(), namespace);
    let destination = destinations.get_opt(name).await.context("failed to read the Destination")?;
    let destination = destination.with_context(|| format!("there is no Destination {name} in {namespace}"))?;
    let spec = &destination.spec;
    let mut secrets: BTreeMap<String, String> = BTreeMap::new();
    let mut known = SecretKeys::new();
    if let Some(reference) = &spec.secret_ref {
        let api: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(client.clone(), namespace);
        let secret = api.get_opt(&reference.name).await.context("failed to read the Secret")?;
        let data = secret.with_context(|| format!("there is no Secret {}", reference.name))?.data.unwrap_or_default();
        known.extend(data.iter().map(|(key, value)| (key.clone(), SecretValue::of(&value.0))));
        secrets.extend(data.into_iter().map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned())));
    }
    let keys: BTreeSet<String> = secrets.keys().cloned().collect();
    let signals: BTreeSet<Signal> = spec.signals.iter().copied().filter(|signal| *signal != Signal::Profiles).collect();
    let secret = match &spec.secret_ref {
        Some(reference) => Secret::Keys { name: &reference.name, keys: &keys },
        None => Secret::None,
    };
    let instance = Instance { id: name, type_id: &spec.type_, data: &spec.data, signals: &signals, secret };
    let rendered = match render::render(&instance) {
        Ok(rendered) => rendered,
        Err(problems) => {
            let problems: Vec<String> =
                problems.into_iter().map(|one| format!("{}: {}", one.field, one.message)).collect();
            return Ok(Outcome { succeeded: false, message: problems.join("; ") });
        }
    };
    let reference = spec.secret_ref.as_ref().map(|reference| reference.name.as_str()).unwrap_or_default();
    let problems = value_problems(&rendered, Some(&known), reference);
    if let Some((field, message)) = problems.first() {
        return Ok(Outcome { succeeded: false, message: format!("{field}: {message}") });
    }
    let remarks = value_remarks(&rendered, Some(&known), reference).into_iter();
    let remarks: Vec<String> = remarks.map(|(_, remark)| format!("; warning: {remark}")).collect();
    let outcome =
        |succeeded, message: String| Ok(Outcome { succeeded, message: format!("{message}{}", remarks.concat()) });
    let otlp = rendered.exporters.iter().find(|(id, _)| id.starts_with("otlp_"));
    let Some((id, settings)) = otlp else {
        return Ok(Outcome {
            succeeded: false,
            message: format!("a connection test of the type {} is not supported", spec.type_),
        });
    };
    let variables: BTreeMap<String, String> = rendered
        .environment
        .iter()
        .filter_map(|used| Some((format!("${{env:{}}}", used.variable), secrets.get(&used.key)?.clone())))
        .collect();
    let mut probe = Probe::of(id, settings, &variables)?;
    if let Some(authenticator) = settings.pointer("/auth/authenticator").and_then(Value::as_str) {
        let extension = rendered.extensions.get(authenticator).unwrap_or(&Value::Null);
        match authorization(authenticator, extension, &variables) {
            Some(value) => probe.headers.push(("authorization".to_owned(), value)),
            None => {
                let kind = authenticator.split('/').next().unwrap_or_default();
                return Ok(Outcome {
                    succeeded: false,
                    message: format!("a connection test with the authenticator {kind} is not supported"),
                });
            }
        }
    }
    if let Some(path) = odigos_catalog::destination::find(&spec.type_).and_then(|one| one.connection_question()) {
        probe.ask(path);
    }
    let limit = Duration::from_secs(seconds);
    match tokio::time::timeout(limit, probe.send(limit, reach)).await {
        Ok(Ok(message)) => outcome(true, message),
        Ok(Err(error)) => outcome(false, format!("{error:#}")),
        Err(_) => outcome(
            false,
            format!("no answer within {seconds} s; addresses inside the cluster are not reachable from every machine"),
        ),
    }
}

/// What an authenticator writes into the header `authorization`; `None` when it needs more than its settings.
fn authorization(authenticator: &str, settings: &Value, variables: &BTreeMap<String, String>) -> Option<String> {
    let text = |pointer: &str| settings.pointer(pointer).and_then(Value::as_str).map(|text| filled(text, variables));
    match authenticator.split('/').next()? {
        "basicauth" => {
            let pair = format!("{}:{}", text("/client_auth/username")?, text("/client_auth/password")?);
            Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
        }
        "bearertokenauth" => {
            let scheme = text("/scheme").unwrap_or_else(|| "Bearer".to_owned());
            Some(format!("{scheme} {}", text("/token")?))
        }
        _ => None,
    }
}

/// A setting as the collector would read it: variables in place, `$$` for `$`.
fn filled(text: &str, variables: &BTreeMap<String, String>) -> String {
    variables.iter().fold(text.replace("$$", "$"), |text, (name, value)| text.replace(name, value))
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    /// An empty export over gRPC.
    Grpc,
    /// An empty export over HTTP.
    Http,
    /// A `GET` that is answered only to those who may export.
    Question,
}

/// One request.
struct Probe {
    request: Request,
    /// With scheme.
    url: String,
    headers: Vec<(String, String)>,
    ca: Option<String>,
}

impl Probe {
    fn of(id: &str, settings: &Value, variables: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let fill = |text: &str| filled(text, variables);
        let text = |pointer: &str| settings.pointer(pointer).and_then(Value::as_str).map(fill);
        let grpc = id.starts_with("otlp_grpc");
        let insecure = settings.pointer("/tls/insecure").and_then(Value::as_bool) == Some(true);
        let endpoint =
            text("/traces_endpoint").or_else(|| text("/endpoint")).context("the exporter has no endpoint")?;
        let url = match (grpc, endpoint.contains("://")) {
            (true, false) if insecure => format!("http://{endpoint}"),
            (true, false) => format!("https://{endpoint}"),
            (false, _) if settings.get("traces_endpoint").is_none() => {
                format!("{}/v1/traces", endpoint.trim_end_matches('/'))
            }
            _ => endpoint,
        };
        let headers = settings.get("headers").and_then(Value::as_object).into_iter().flatten();
        let headers = headers.filter_map(|(key, value)| Some((key.to_lowercase(), fill(value.as_str()?)))).collect();
        let request = if grpc { Request::Grpc } else { Request::Http };
        Ok(Self { request, url, headers, ca: text("/tls/ca_pem") })
    }

    /// Asks at `path` instead: for backends that take an empty export from anybody.
    fn ask(&mut self, path: &str) {
        let base = self.url.trim_end_matches("/v1/traces");
        let base = if base.contains("://") { base.to_owned() } else { format!("https://{base}") };
        self.url = format!("{base}{path}");
        self.request = Request::Question;
    }

    async fn send(&self, limit: Duration, reach: Reach) -> anyhow::Result<String> {
        let url = url::Url::parse(&self.url).context("the endpoint is no URL")?;
        let host = url.host_str().context("the endpoint names no host")?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(4317);
        refuse(&host, &[], reach)?;
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), port))
            .await
            .with_context(|| format!("{host} cannot be resolved from here"))?
            .collect();
        let found: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
        refuse(&host, &found, reach)?;
        // The connection goes to these addresses: a second look-up might have another answer.
        if self.request == Request::Grpc {
            self.send_grpc(limit, addresses).await
        } else {
            self.send_http(addresses).await
        }
    }

    async fn send_grpc(&self, limit: Duration, addresses: Vec<SocketAddr>) -> anyhow::Result<String> {
        let mut endpoint = Endpoint::from_shared(self.url.clone())?.connect_timeout(limit).timeout(limit);
        if self.url.starts_with("https://") {
            let mut tls = ClientTlsConfig::new().with_enabled_roots();
            if let Some(ca) = &self.ca {
                tls = tls.ca_certificate(Certificate::from_pem(ca));
            }
            endpoint = endpoint.tls_config(tls)?;
        }
        let connector = tower::service_fn(move |_: hyper::Uri| {
            let addresses = addresses.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(TcpStream::connect(addresses.as_slice()).await?)) }
        });
        let channel = endpoint
            .connect_with_connector(connector)
            .await
            .with_context(|| format!("failed to reach {}", self.url))?;
        let mut request = tonic::Request::new(ExportTraceServiceRequest::default());
        for (key, value) in &self.headers {
            let key: tonic::metadata::MetadataKey<tonic::metadata::Ascii> =
                key.parse().context("a header has no legal name")?;
            request
                .metadata_mut()
                .insert(key, value.parse().map_err(|_| anyhow::anyhow!("a header has no legal value"))?);
        }
        match TraceServiceClient::new(channel).export(request).await {
            Ok(_) => Ok(format!("{} took an empty request", self.url)),
            Err(status) => bail!("{} answered {:?}: {}", self.url, status.code(), status.message()),
        }
    }

    async fn send_http(&self, addresses: Vec<SocketAddr>) -> anyhow::Result<String> {
        let builder = hyper_rustls::HttpsConnectorBuilder::new();
        // As the exporter does it: with an authority of its own, no other one counts.
        let builder = match &self.ca {
            Some(ca) => builder.with_tls_config(trusting(ca)?),
            None => builder.with_native_roots()?,
        };
        let resolver = tower::service_fn(move |_: Name| {
            let addresses = addresses.clone();
            async move { Ok::<_, std::io::Error>(addresses.into_iter()) }
        });
        let mut connector = HttpConnector::new_with_resolver(resolver);
        connector.enforce_http(false);
        let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build(connector);
        let mut request = if self.request == Request::Question {
            hyper::Request::get(&self.url)
        } else {
            hyper::Request::post(&self.url).header("content-type", "application/x-protobuf")
        };
        for (key, value) in &self.headers {
            request = request.header(key, value);
        }
        let response = client
            .request(request.body(Empty::<Bytes>::new())?)
            .await
            .with_context(|| format!("failed to reach {}", self.url))?;
        let status = response.status();
        if status.is_success() {
            return Ok(format!("{} answered {status}", self.url));
        }
        let said = match Limited::new(response.into_body(), ANSWER_LIMIT).collect().await {
            Ok(body) => String::from_utf8_lossy(&body.to_bytes()).chars().take(200).collect(),
            Err(_) => format!("an answer of more than {} KiB", ANSWER_LIMIT / 1024),
        };
        bail!("{} answered {status}: {said}", self.url)
    }
}

/// How much of a refusal is read, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

/// TLS that trusts the authorities of a PEM text and no others.
fn trusting(ca: &str) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls::pki_types::CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.context("failed to read the CA of the Destination")?)?;
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Rejects what only a machine itself should reach, and private networks where the user did not allow them.
fn refuse(host: &str, addresses: &[IpAddr], reach: Reach) -> anyhow::Result<()> {
    let names = ["metadata.google.internal", "metadata", "instance-data"];
    if names.contains(&host.to_lowercase().trim_end_matches('.')) {
        bail!("{host} is a metadata service; it is never asked");
    }
    let literal: Option<IpAddr> = host.parse().ok();
    for address in literal.iter().chain(addresses) {
        let address = behind_nat64(address.to_canonical());
        if is_special(address) {
            bail!("{host} leads to {address}, a link-local or metadata address; it is never asked");
        }
        if reach == Reach::Public && is_private(address) {
            bail!(
                "{host} leads to {address}, an address of a private network or of this machine; pass --allow-private if the credentials of the Destination may go there"
            );
        }
    }
    Ok(())
}

/// The address that a NAT64 gateway makes of one under the prefix that all of them share (RFC 6052).
fn behind_nat64(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::from([a, b, c, d])
        }
        other => other,
    }
}

/// Link-local addresses and those of metadata services: any provider's, Alibaba's and Azure's.
fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let metadata = [[100, 100, 100, 200], [168, 63, 129, 16]];
            v4.is_link_local() || v4.is_unspecified() || metadata.contains(&v4.octets())
        }
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_unicast_link_local() || v6.segments()[..2] == [0xfd00, 0x0ec2],
    }
}

/// Addresses of private networks, of providers' networks, and of this machine.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn special_addresses_are_refused() {
        for host in [
            "169.254.169.254",
            "fe80::1",
            "metadata.google.internal",
            "100.100.100.200",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "0.0.0.0",
            "168.63.129.16",
            "64:ff9b::169.254.169.254",
            "64:ff9b::168.63.129.16",
        ] {
            assert!(refuse(host, &[], Reach::Private).is_err(), "{host}");
        }
        assert!(refuse("collector.example.com", &["169.254.1.1".parse().unwrap()], Reach::Private).is_err());
        for address in [
            "10.0.0.1",
            "127.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "100.64.0.1",
            "::1",
            "fd12::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
        ] {
            let address = [address.parse().unwrap()];
            assert!(refuse("collector.example.com", &address, Reach::Public).is_err(), "{address:?}");
            assert!(refuse("collector.example.com", &address, Reach::Private).is_ok(), "{address:?}");
        }
        assert!(refuse("collector.example.com", &["192.0.2.1".parse().unwrap()], Reach::Public).is_ok());
    }

    #[test]
    fn a_probe_has_the_exporters_address_and_headers() {
        let variables = [("${env:D_K}".to_owned(), "secret".to_owned())].into();
        let settings = json!({"endpoint": "https://h:1/otlp", "headers": {"Authorization": "Bearer ${env:D_K}"}});
        let probe = Probe::of("otlp_http/x", &settings, &variables).unwrap();
        assert_eq!((probe.url.as_str(), probe.headers[0].1.as_str()), ("https://h:1/otlp/v1/traces", "Bearer secret"));
        let plain =
            Probe::of("otlp_grpc/x", &json!({"endpoint": "h:4317", "tls": {"insecure": true}}), &variables).unwrap();
        assert_eq!(plain.url, "http://h:4317");
    }

    #[test]
    fn authenticators_that_need_no_other_server_are_played() {
        let variables = [("${env:D_K}".to_owned(), "secret".to_owned())].into();
        let basic = json!({"client_auth": {"username": "me", "password": "${env:D_K}"}});
        assert_eq!(authorization("basicauth/x", &basic, &variables).unwrap(), "Basic bWU6c2VjcmV0");
        let bearer = json!({"token": "${env:D_K}"});
        assert_eq!(authorization("bearertokenauth/x", &bearer, &variables).unwrap(), "Bearer secret");
        assert_eq!(authorization("oauth2client/x", &json!({"client_id": "a"}), &variables), None);
        // Never half a credential.
        assert_eq!(authorization("basicauth/x", &json!({"client_auth": {"username": "me"}}), &variables), None);
    }

    /// A server with a certificate of an authority of its own.
    #[tokio::test]
    async fn own_authority_of_a_destination_is_trusted_over_http() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(authority.signing_key.serialize_der()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![authority.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(server));
        for (ca, is_trusted) in [(Some(authority.cert.pem()), true), (None, false)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
            let mut settings = json!({"endpoint": url});
            if let Some(ca) = ca {
                settings["tls"] = json!({"ca_pem": ca});
            }
            let probe = Probe::of("otlp_http/x", &settings, &BTreeMap::new()).unwrap();
            let answer = async {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = vec![0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
            };
            let address = listener.local_addr().unwrap();
            let (outcome, ()) = tokio::join!(probe.send_http(vec![address]), answer);
            assert_eq!(outcome.is_ok(), is_trusted, "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn refusal_without_end_is_not_read_to_its_end() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // A name that nobody resolves: the connection goes to the address that was checked.
        let settings = json!({"endpoint": format!("http://backend.invalid:{}", address.port())});
        let probe = Probe::of("otlp_http/x", &settings, &BTreeMap::new()).unwrap();
        let endless = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\n\r\n").await;
            // Until the other side has had enough.
            while stream.write_all(&[b'a'; 4096]).await.is_ok() {}
        };
        let (outcome, ()) = tokio::join!(probe.send_http(vec![address]), endless);
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("500") && error.contains("more than 64 KiB"), "{error}");
    }

    #[tokio::test]
    async fn honeycomb_is_asked_about_its_key() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        for (status, is_fine) in [("200 OK", true), ("401 Unauthorized", false)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            let settings = json!({"endpoint": address, "headers": {"x-honeycomb-team": "key"}});
            let mut probe = Probe::of("otlp_http/x", &settings, &BTreeMap::new()).unwrap();
            probe.ask("/1/auth");
            let answer = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = vec![0; 4096];
                let length = stream.read(&mut asked).await.unwrap();
                let text = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(text.as_bytes()).await.unwrap();
                String::from_utf8_lossy(&asked[..length]).to_lowercase()
            };
            let (outcome, asked) = tokio::join!(probe.send(Duration::from_secs(5), Reach::Private), answer);
            assert_eq!(outcome.is_ok(), is_fine, "{outcome:?}");
            assert!(asked.starts_with("get /1/auth ") && asked.contains("x-honeycomb-team: key"), "{asked}");
        }
    }
}
