//! A real etcd and kube-apiserver, and a kube-controller-manager where owners and garbage collection matter.

use crate::leftovers;
use crate::ports::free_port;
use crate::process::{Process, eventually};
use anyhow::Context;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use odigos_api::crds;
use odigos_tools as tools;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What the names of temporary directories begin with.
pub(crate) const DIRECTORY_PREFIX: &str = "odigos-api-";

/// File of the admission configuration, where there is one.
const ADMISSION: &str = "admission.yaml";

/// Token of the administrator.
const ADMIN_TOKEN: &str = "admin-token";

/// Name and files of the certificate that the API server shows to aggregated APIs.
const FRONT_PROXY: &str = "front-proxy-client";

/// A running API server.
#[derive(Debug)]
pub struct ApiServer {
    directory: tempfile::TempDir,
    etcd: Process,
    server: Option<Process>,
    manager: Option<Process>,
    etcd_port: u16,
    port: u16,
}

/// Every kind of the product, those of older releases among them.
fn kinds() -> impl Iterator<Item = CustomResourceDefinition> {
    crds::all().into_iter().chain(crds::legacy())
}

async fn client_of(kubeconfig: Kubeconfig) -> anyhow::Result<Client> {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

impl ApiServer {
    /// Starts etcd and the API server, with the kinds of this repository installed.
    ///
    /// # Errors
    /// When a tool is missing or does not become ready.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with_pod_security(None).await
    }

    /// The same with a Pod Security level that holds where a namespace has no label, which is how distributions of Kubernetes set it.
    ///
    /// # Errors
    /// When a tool is missing or does not become ready.
    pub async fn start_with_pod_security(level: Option<&str>) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix(DIRECTORY_PREFIX).tempdir()?;
        leftovers::note_directory(directory.path());
        let (etcd_port, peer_port, port) = (free_port()?, free_port()?, free_port()?);
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        let mut command = Command::new(tools::find("etcd")?);
        command
            .arg(format!("--data-dir={}", directory.path().join("etcd").display()))
            .args([
                format!("--listen-client-urls={}", at(etcd_port)),
                format!("--advertise-client-urls={}", at(etcd_port)),
            ])
            .args([
                format!("--listen-peer-urls={}", at(peer_port)),
                format!("--initial-advertise-peer-urls={}", at(peer_port)),
            ])
            .arg(format!("--initial-cluster=default={}", at(peer_port)))
            .args(["--unsafe-no-fsync", "--log-level=error"]);
        let etcd = Process::start("etcd", &mut command, &directory.path().join("etcd.log"))?;
        write_credentials(directory.path(), port)?;
        if let Some(level) = level {
            let configuration = json!({
                "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",
                "plugins": [{"name": "PodSecurity", "configuration": {
                    "apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
                    "defaults": {"enforce": level, "enforce-version": "latest"}, "exemptions": {"namespaces": ["kube-system"]},
                }}],
            });
            std::fs::write(directory.path().join(ADMISSION), configuration.to_string())?;
        }
        let mut api = Self { directory, etcd, server: None, manager: None, etcd_port, port };
        api.start_server().await?;
        api.install_kinds().await?;
        Ok(api)
    }

    /// Starts (again) only the API server; the data are those of etcd.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_server(&mut self) -> anyhow::Result<()> {
        let path = self.directory.path();
        let file = |name: &str| path.join(name).display().to_string();
        let mut command = Command::new(tools::find("kube-apiserver")?);
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port))
            .args([
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--service-cluster-ip-range=10.0.0.0/24",
            ])
            .arg(format!("--secure-port={}", self.port))
            .arg(format!("--cert-dir={}", file("certificates")))
            .arg(format!("--token-auth-file={}", file("tokens.csv")))
            .arg("--authorization-mode=RBAC")
            .args(["--service-account-issuer=https://odigos.test", "--api-audiences=odigos"])
            .arg(format!("--service-account-signing-key-file={}", file("service-account.key")))
            .arg(format!("--service-account-key-file={}", file("service-account.pub")))
            // It hands requests for aggregated APIs on, and shows this certificate there.
            .arg(format!("--requestheader-client-ca-file={}", file("front-proxy-ca.crt")))
            .arg(format!("--requestheader-allowed-names={FRONT_PROXY}"))
            .args(["--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group"])
            .arg("--requestheader-extra-headers-prefix=X-Remote-Extra-")
            .arg(format!("--proxy-client-cert-file={}", file(&format!("{FRONT_PROXY}.crt"))))
            .arg(format!("--proxy-client-key-file={}", file(&format!("{FRONT_PROXY}.key"))))
            .arg(format!("--audit-policy-file={}", file("audit-policy.yaml")))
            .arg(format!("--audit-log-path={}", file("audit.log")))
            .arg("--audit-log-mode=blocking")
            // Nothing here makes service accounts or their tokens, so pods are admitted without.
            .args(["--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none", "--v=0"]);
        if path.join(ADMISSION).exists() {
            command.arg(format!("--admission-control-config-file={}", file(ADMISSION)));
        }
        self.server = Some(Process::start("kube-apiserver", &mut command, &path.join("apiserver.log"))?);
        let client = self.client().await?;
        let ready = eventually("the API server is ready", Duration::from_secs(90), || async {
            let request = http_get("/readyz");
            client.request_text(request).await.is_ok()
        });
        match ready.await {
            Ok(()) => Ok(()),
            Err(error) => {
                let tails =
                    [Some(&self.etcd), self.server.as_ref()].map(|one| one.map(Process::tail).unwrap_or_default());
                Err(error.context(tails.join("\n")))
            }
        }
    }

    /// Ends the API server; etcd keeps the data.
    pub fn stop_server(&mut self) {
        self.server = None;
    }

    /// Starts a controller manager: Deployments get pods, owners take their objects with them.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_controller_manager(&mut self) -> anyhow::Result<()> {
        self.start_controller_manager_with(&[])
    }

    /// Starts it with further controllers of Kubernetes beside the usual ones.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_controller_manager_with(&mut self, further: &[&str]) -> anyhow::Result<()> {
        const USUAL: [&str; 8] = [
            "deployment-controller",
            "replicaset-controller",
            "statefulset-controller",
            "daemonset-controller",
            "garbage-collector-controller",
            "namespace-controller",
            "cronjob-controller",
            "job-controller",
        ];
        let controllers = [&USUAL, further].concat().join(",");
        let path = self.directory.path();
        let port = free_port()?;
        let mut command = Command::new(tools::find("kube-controller-manager")?);
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig().display()))
            .args([
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                "--use-service-account-credentials=false",
                "--v=0",
            ])
            .arg(format!("--controllers={controllers}"))
            .arg(format!("--secure-port={port}"))
            .args(["--kube-api-qps=200", "--kube-api-burst=400", "--concurrent-gc-syncs=10"]);
        self.manager = Some(Process::start("kube-controller-manager", &mut command, &path.join("manager.log"))?);
        Ok(())
    }

    async fn install_kinds(&self) -> anyhow::Result<()> {
        let client = self.client().await?;
        let api: kube::Api<CustomResourceDefinition> = kube::Api::all(client);
        for crd in kinds() {
            api.create(&kube::api::PostParams::default(), &crd)
                .await
                .with_context(|| format!("{:?} is refused", crd.metadata.name))?;
        }
        for crd in kinds() {
            let name = crd.metadata.name.unwrap_or_default();
            eventually(&format!("{name} is served"), Duration::from_secs(60), || async {
                let found = api
                    .get(&name)
                    .await
                    .ok()
                    .and_then(|crd| crd.status)
                    .and_then(|status| status.conditions)
                    .unwrap_or_default();
                found.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
            })
            .await?;
        }
        Ok(())
    }

    /// The directory of its files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Keeps the directory when the handle is dropped; returns it.
    pub fn keep(&mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.directory.path().to_path_buf()
    }

    /// A kubeconfig of the administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// A kubeconfig of a service account, which must exist when this is called for the first time.
    ///
    /// # Errors
    /// When no token is given out.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> anyhow::Result<PathBuf> {
        let path = self.directory.path().join(format!("kubeconfig-{namespace}-{account}"));
        // Controllers are started again while the API server is away.
        if path.exists() {
            return Ok(path);
        }
        let accounts: kube::Api<ServiceAccount> = kube::Api::namespaced(self.client().await?, namespace);
        let answer = accounts
            .create_token_request(account, &kube::api::PostParams::default(), &TokenRequest::default())
            .await
            .with_context(|| format!("no token of the service account {namespace}/{account}"))?;
        let token = answer.status.and_then(|status| status.token).context("the API server gave no token")?;
        write_kubeconfig(&path, self.port, &token)?;
        Ok(path)
    }

    /// A client of an aggregated API on this machine, with the certificate of the API server's front proxy, or with another one of the
    /// same authority (`somebody`); with neither it shows none.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub async fn client_of(&self, port: u16, certificate: Option<&str>) -> anyhow::Result<Client> {
        let file =
            |name: &str, ending: &str| self.directory.path().join(format!("{name}.{ending}")).display().to_string();
        let user =
            certificate.map(|name| json!({"client-certificate": file(name, "crt"), "client-key": file(name, "key")}));
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true}}],
            "users": [{"name": "user", "user": user.unwrap_or_else(|| json!({}))}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
        });
        client_of(serde_json::from_value(kubeconfig)?).await
    }

    /// A client with the token that a pod of a service account has.
    ///
    /// # Errors
    /// When no token is given out.
    pub async fn client_in_pod(&self, namespace: &str, account: &str, pod: &str) -> anyhow::Result<Client> {
        client_of(Kubeconfig::read_from(self.kubeconfig_in_pod(namespace, account, pod).await?)?).await
    }

    /// A client with a token of a service account.
    ///
    /// # Errors
    /// When no token is given out.
    pub async fn client_as(&self, namespace: &str, account: &str) -> anyhow::Result<Client> {
        client_of(Kubeconfig::read_from(self.kubeconfig_of(namespace, account).await?)?).await
    }

    /// A kubeconfig with the token that a pod of a service account has.
    ///
    /// # Errors
    /// When no token is given out.
    pub async fn kubeconfig_in_pod(&self, namespace: &str, account: &str, pod: &str) -> anyhow::Result<PathBuf> {
        let accounts: kube::Api<ServiceAccount> = kube::Api::namespaced(self.client().await?, namespace);
        let request = serde_json::from_value(json!({
            "spec": {"audiences": [], "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod}},
        }))?;
        let answer = accounts.create_token_request(account, &kube::api::PostParams::default(), &request).await?;
        let token = answer.status.and_then(|status| status.token).context("the API server gave no token")?;
        let path = self.directory.path().join(format!("kubeconfig-of-pod-{pod}"));
        write_kubeconfig(&path, self.port, &token)?;
        Ok(path)
    }

    /// A client of the administrator.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        client_of(Kubeconfig::read_from(self.kubeconfig())?).await
    }

    /// Writes and conflicts by the first word of the user agent, from the audit log.
    #[must_use]
    pub fn audited(&self) -> BTreeMap<String, Audited> {
        let text = std::fs::read_to_string(self.directory.path().join("audit.log")).unwrap_or_default();
        let mut by_agent: BTreeMap<String, Audited> = BTreeMap::new();
        for line in text.lines() {
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            let word = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            if word("/stage") != "ResponseComplete" {
                continue;
            }
            let agent = word("/userAgent").split(['/', ' ']).next().unwrap_or_default().to_owned();
            let entry = by_agent.entry(agent).or_default();
            if event.pointer("/responseStatus/code").and_then(Value::as_i64) == Some(403) {
                entry.forbidden.insert(format!("{} {}", word("/verb"), word("/requestURI")));
            }
            if word("/verb") == "watch" {
                // Only its end is known here.
                continue;
            }
            entry.requests += 1;
            // Leases are renewed whether or not anything happens.
            let write = matches!(word("/verb"), "create" | "update" | "patch" | "delete")
                && word("/objectRef/resource") != "leases";
            if write {
                entry.writes += 1;
                let resource = format!(
                    "{}{}",
                    word("/objectRef/resource"),
                    match word("/objectRef/subresource") {
                        "" => String::new(),
                        sub => format!("/{sub}"),
                    }
                );
                *entry.by_resource.entry(resource).or_default() += 1;
            }
            if event.pointer("/responseStatus/code").and_then(Value::as_i64) == Some(409) {
                entry.conflicts += 1;
            }
        }
        by_agent
    }
}

/// What one client did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// All requests.
    pub requests: usize,
    /// Creates, updates, patches and deletes, Leases aside.
    pub writes: usize,
    /// Writes by resource.
    pub by_resource: BTreeMap<String, usize>,
    /// Answers 409.
    pub conflicts: usize,
    /// What was asked for without the permission: verb and path.
    pub forbidden: BTreeSet<String>,
}

fn http_get(path: &str) -> tonic::codegen::http::Request<Vec<u8>> {
    let mut request = tonic::codegen::http::Request::new(Vec::new());
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    request
}

fn write_credentials(directory: &Path, port: u16) -> anyhow::Result<()> {
    std::fs::write(directory.join("tokens.csv"), format!("{ADMIN_TOKEN},admin,admin,system:masters\n"))?;
    std::fs::write(
        directory.join("audit-policy.yaml"),
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived, ResponseStarted]\nrules:\n  - {level: Metadata}\n",
    )?;
    let write = |name: &str, text: String| std::fs::write(directory.join(name), text);
    let signing = KeyPair::generate()?;
    write("service-account.key", signing.serialize_pem())?;
    write("service-account.pub", signing.public_key_pem())?;
    let mut authority = named("front-proxy-ca")?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    write("front-proxy-ca.crt", authority.self_signed(&key)?.pem())?;
    let authority = Issuer::new(authority, key);
    for name in [FRONT_PROXY, "somebody"] {
        let mut certificate = named(name)?;
        certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        write(&format!("{name}.crt"), certificate.signed_by(&key, &authority)?.pem())?;
        write(&format!("{name}.key"), key.serialize_pem())?;
    }
    write_kubeconfig(&directory.join("kubeconfig"), port, ADMIN_TOKEN)
}

/// A certificate that says only whose it is.
fn named(name: &str) -> anyhow::Result<CertificateParams> {
    let mut certificate = CertificateParams::new(Vec::new())?;
    certificate.distinguished_name = DistinguishedName::new();
    certificate.distinguished_name.push(DnType::CommonName, name);
    Ok(certificate)
}

fn write_kubeconfig(path: &Path, port: u16, token: &str) -> anyhow::Result<()> {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true}}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
    });
    std::fs::write(path, odigos_pipeline::yaml::to_string(&kubeconfig))?;
    Ok(())
}
