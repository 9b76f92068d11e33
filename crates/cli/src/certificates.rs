//! `odigos certificates`: what collectors are certified by, a certificate for whoever reads their metrics, and another authority.
//!
//! Owns arguments, and the Secrets of readers. The autoscaler certifies collectors and replaces the authority (`odigos-autoscaler`); this asks it to.
//! Never prints a key, unless the Secret itself is asked for.

use crate::lifecycle::MANAGER;
use crate::output::{self, Manifests};
use crate::{Failure, live};
use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use odigos_api::{labels, names};
use odigos_kit::certificates::{Authority, CA_VALIDITY, Mounted, Usage, is_due, validity_end};
use odigos_plan::metrics_endpoint::READER_NAME;
use odigos_plan::mutual_tls::{GATEWAY_NAME, NODE_NAME};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// How long collectors need until all of them show and trust what stands in their Secrets: kubelets and collectors look every minute or two.
const TAKEN: SignedDuration = SignedDuration::from_mins(10);
/// How often a rotation that is waited for is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Arguments of `odigos certificates`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Namespace of the control plane.
    #[arg(short, long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE, global = true)]
    namespace: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show the authority and the certificates of collectors: since when, until when, by which authority.
    Status,
    /// Write a certificate for a reader of collectors' metrics, such as your Prometheus, into a Secret.
    #[command(after_help = "\
Examples:
  odigos certificates reader --name collectors-reader --in monitoring
  odigos certificates reader --name collectors-reader --in monitoring --days 90
  odigos certificates reader --name collectors-reader -o yaml > secret.yaml     for another cluster or a vault

The Secret has tls.crt, tls.key and ca.crt. A certificate that is still good for a third of its time stays; run the command again before it
ends, for example from a CronJob, and after `odigos certificates rotate`.")]
    Reader {
        /// Name of the Secret.
        #[arg(long)]
        name: String,
        /// Namespace of the Secret. Default: that of the control plane.
        #[arg(long = "in", value_name = "NAMESPACE")]
        target: Option<String>,
        /// For how many days.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=180))]
        days: u16,
        /// Print the Secret, and write nothing.
        #[arg(short, long, value_enum)]
        output: Option<Manifests>,
    },
    /// Have the autoscaler make another authority and certify collectors by it; no item is lost.
    #[command(after_help = "\
The authority before stays trusted until the next rotation. To make certificates worthless that are in wrong hands, rotate with --wait, and ten
minutes later once more.

Exit codes: 0 asked for, with --wait finished; 1 the rotation before is not finished, or this one is not within --timeout; 2 failed to read the
cluster.")]
    Rotate {
        /// Wait until the other authority is there and collectors are certified by it.
        #[arg(long)]
        wait: bool,
        /// For how many minutes to wait.
        #[arg(long, value_name = "MINUTES", default_value_t = 60, requires = "wait", value_parser = clap::value_parser!(u16).range(1..=600))]
        timeout: u16,
    },
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let client = live::client().await?;
    let namespace = arguments.namespace.as_str();
    let now = Timestamp::now();
    match &arguments.command {
        Command::Status => output::text(&Known::read(&client, namespace).await?.table(now)),
        Command::Reader { name, target, days, output } => {
            let authority = Known::read(&client, namespace).await?.authority;
            let target = target.as_deref().unwrap_or(namespace);
            reader(&client, &authority, (target, name), *days, *output, now).await?;
        }
        Command::Rotate { wait, timeout } => {
            let known = Known::read(&client, namespace).await?;
            if let Some(obstacle) = known.obstacle(now) {
                return Err(Failure::Exit(1, anyhow::anyhow!("{obstacle}")));
            }
            request(&client, namespace, now).await?;
            output::text(
                "another authority is asked for: the autoscaler makes it within ten minutes, and certifies collectors by it once all of them trust it\n",
            );
            if *wait {
                let limit = Duration::from_secs(u64::from(*timeout) * 60);
                finished(&client, namespace, &known.authority.certificate, limit).await?;
            } else {
                output::text("whether it has begun, and how far it is: odigos certificates status\n");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the authority older than one may be: the leading autoscaler replaces it, and keeps it trusted.
async fn request(client: &Client, namespace: &str, now: Timestamp) -> anyhow::Result<()> {
    let made = (now - CA_VALIDITY).to_string();
    let change = json!({"data": {"made": ByteString(made.into_bytes())}});
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(names::COLLECTOR_AUTHORITY, &parameters, &Patch::Merge(&change))
        .await
        .context("failed to ask for another authority")?;
    Ok(())
}

/// Waits until collectors are certified by another authority than `before`.
async fn finished(client: &Client, namespace: &str, before: &str, limit: Duration) -> Result<(), Failure> {
    let mut has_begun = false;
    let wait = async {
        loop {
            // The API server may be away for a moment.
            if let Ok(known) = Known::read(client, namespace).await {
                let begins = known.authority.certificate != before;
                if begins && !has_begun {
                    output::text("the other authority is made; collectors come to trust it\n");
                }
                has_begun |= begins;
                if begins && known.is_current() {
                    break output::text("collectors are certified by the other authority\n");
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let waited = tokio::time::timeout(limit, wait).await;
    waited.map_err(|_| {
        let what = match has_begun {
            true => "collectors are not all certified by the other authority yet",
            false => "no other authority was made: is an autoscaler running?",
        };
        Failure::Exit(1, anyhow::anyhow!("{what} (odigos certificates status)"))
    })
}

/// What stands in the Secrets of collectors.
struct Known {
    authority: Authority,
    /// Name of the Secret, whose it is, and what is in it.
    certificates: Vec<(&'static str, &'static str, Option<Mounted>)>,
}

impl Known {
    async fn read(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let read = async |name: &str| {
            api.get_opt(name).await.with_context(|| format!("failed to read Secret {namespace}/{name}"))
        };
        let name = names::COLLECTOR_AUTHORITY;
        let Some(secret) = read(name).await? else {
            bail!("there is no Secret {namespace}/{name}: is the product installed there (-n)?")
        };
        let authority = Authority::read(name, &secret).context("the autoscaler has not made an authority yet")?;
        let mut certificates = Vec::new();
        for (name, holder) in [(names::GATEWAY_CERTIFICATE, GATEWAY_NAME), (names::NODE_CERTIFICATE, NODE_NAME)] {
            let secret = read(name).await?;
            certificates.push((
                name,
                holder,
                secret.and_then(|secret| Mounted::read(&secret.data.unwrap_or_default())),
            ));
        }
        Ok(Self { authority, certificates })
    }

    /// Whether every collector is certified by the current authority.
    fn is_current(&self) -> bool {
        let is_of_it = |one: &Option<Mounted>| one.as_ref().is_some_and(|one| one.issuer == self.authority.certificate);
        self.certificates.iter().all(|(_, _, one)| is_of_it(one))
    }

    /// Whether another authority was asked for, or is due, and is not there yet.
    fn is_asked_for(&self, now: Timestamp) -> bool {
        is_due(self.authority.made, CA_VALIDITY, now)
    }

    /// Why there may be no other authority yet: collectors that are certified by the one before the last are trusted by nobody.
    fn obstacle(&self, now: Timestamp) -> Option<String> {
        if self.is_asked_for(now) {
            return Some("the rotation that was asked for has not begun: is an autoscaler running? Try again later (odigos certificates status)".into());
        }
        let youngest = self.certificates.iter().filter_map(|(_, _, one)| Some(one.as_ref()?.made)).max();
        if !self.is_current() {
            return Some("collectors are not all certified by the current authority yet, and would lose each other: try again later (odigos certificates status)".into());
        }
        let age = youngest.map(|made| now.duration_since(made));
        age.is_some_and(|age| age < TAKEN).then(|| {
            "certificates are younger than ten minutes, and collectors may not have read them yet: try again later"
                .into()
        })
    }

    fn table(&self, now: Timestamp) -> String {
        let date = |time: Option<Timestamp>| time.map_or_else(|| "?".to_owned(), |time| format!("{time:.0}"));
        let mut rows = vec![["SECRET", "FOR", "MADE", "UNTIL", "AUTHORITY"].map(str::to_owned).to_vec()];
        let authority = &self.authority;
        let is_asked_for = self.is_asked_for(now);
        let mut state =
            if authority.previous.is_some() { "current; the one before is trusted too" } else { "current" }.to_owned();
        if is_asked_for {
            state.push_str("; rotation asked for, not begun");
        }
        rows.push(vec![
            names::COLLECTOR_AUTHORITY.to_owned(),
            "all collectors".to_owned(),
            // What it says of itself then is no date.
            if is_asked_for { "?".to_owned() } else { date(Some(authority.made)) },
            date(validity_end(&authority.certificate)),
            state,
        ]);
        for (name, holder, one) in &self.certificates {
            let by = match one {
                None => "none yet",
                Some(one) if one.issuer == authority.certificate => "current",
                Some(_) => "the one before",
            };
            let (made, end) =
                (one.as_ref().map(|one| one.made), one.as_ref().and_then(|one| validity_end(&one.certificate)));
            rows.push(vec![(*name).to_owned(), (*holder).to_owned(), date(made), date(end), by.to_owned()]);
        }
        output::aligned(&rows, &[])
    }
}

/// Writes or prints the Secret of a reader.
async fn reader(
    client: &Client,
    authority: &Authority,
    (namespace, name): (&str, &str),
    days: u16,
    printed: Option<Manifests>,
    now: Timestamp,
) -> anyhow::Result<()> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let validity = SignedDuration::from_hours(i64::from(days) * 24);
    if printed.is_none() {
        let before = api.get_opt(name).await.with_context(|| format!("failed to read Secret {namespace}/{name}"))?;
        let is_ours = |secret: &Secret| {
            secret.metadata.labels.as_ref().is_some_and(|all| all.contains_key(labels::METRICS_READER))
        };
        ensure!(
            before.as_ref().is_none_or(is_ours),
            "Secret {namespace}/{name} exists and was not written by this command: choose another name"
        );
        let current = before.and_then(|secret| Mounted::read(&secret.data.unwrap_or_default()));
        let stays = current.filter(|one| one.issuer == authority.certificate && one.trusted == authority.bundle());
        let end = stays.as_ref().and_then(|one| validity_end(&one.certificate));
        if let Some(end) = end.filter(|end| end.duration_since(now) > validity / 3) {
            output::text(&format!("Secret {namespace}/{name} is good until {end:.0}\n"));
            return Ok(());
        }
    }
    let made = Mounted::issue(authority, &[READER_NAME.to_owned()], Usage::Client, validity, now)?;
    let end = validity_end(&made.certificate).context("failed to read the certificate")?;
    let data: BTreeMap<_, _> =
        made.data().into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))).collect();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace, "labels": {labels::METRICS_READER: "true"}},
        "data": data,
    });
    match printed {
        Some(Manifests::Yaml) => output::text(&odigos_pipeline::yaml::to_string(&secret)),
        Some(Manifests::Json) => output::text(&format!("{}\n", serde_json::to_string_pretty(&secret)?)),
        None => {
            let parameters = PatchParams::apply(MANAGER).force();
            api.patch(name, &parameters, &Patch::Apply(&secret)).await.context("failed to write the Secret")?;
            output::text(&format!(
                "wrote Secret {namespace}/{name}, good until {end:.0}\n\
                 read https://POD:8889/metrics with its tls.crt, tls.key and ca.crt, and the server name {GATEWAY_NAME} for gateways, {NODE_NAME} for node collectors\n"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn known(authority: &Authority, issuers: [&Authority; 2], minutes: i64) -> Known {
        let made = now() - SignedDuration::from_mins(minutes);
        let one = |issuer: &Authority| {
            let validity = SignedDuration::from_hours(24);
            Some(Mounted::issue(issuer, &["a".to_owned()], Usage::Both, validity, made).unwrap())
        };
        let certificates = vec![("gateway", "g", one(issuers[0])), ("node", "n", one(issuers[1]))];
        Known { authority: authority.clone(), certificates }
    }

    #[test]
    fn rotation_waits_until_the_one_before_is_finished() {
        let old = Authority::new(None, now() - SignedDuration::from_hours(48)).unwrap();
        let new = Authority::new(Some(old.certificate.clone()), now() - SignedDuration::from_hours(1)).unwrap();
        let obstacle = |one: &Known| one.obstacle(now());
        assert!(obstacle(&known(&new, [&new, &old], 60)).unwrap().contains("not all certified"));
        assert!(obstacle(&known(&new, [&new, &new], 9)).unwrap().contains("ten minutes"));
        assert_eq!(obstacle(&known(&new, [&new, &new], 10)), None);
        let mut empty = known(&new, [&new, &new], 60);
        empty.certificates[0].2 = None;
        assert!(obstacle(&empty).is_some());
    }

    /// Two requests are two rotations: a second one before the first has begun would be lost.
    #[test]
    fn second_rotation_is_refused_while_the_first_has_not_begun() {
        let old = Authority::new(None, now() - SignedDuration::from_hours(48)).unwrap();
        let mut asked = known(&old, [&old, &old], 60);
        assert_eq!(asked.obstacle(now()), None);
        assert!(!asked.table(now()).contains("rotation asked for"));
        asked.authority.made = now() - CA_VALIDITY;
        assert!(asked.obstacle(now()).unwrap().contains("has not begun"));
        let table = asked.table(now());
        let line = table.lines().nth(1).unwrap();
        assert!(line.ends_with("rotation asked for, not begun") && !line.contains("2025"), "{table}");
    }

    #[test]
    fn status_says_by_which_authority_each_is_certified() {
        let old = Authority::new(None, now()).unwrap();
        let new = Authority::new(Some(old.certificate.clone()), now()).unwrap();
        let table = known(&new, [&new, &old], 5).table(now());
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].ends_with("current; the one before is trusted too"), "{table}");
        assert!(lines[2].starts_with("gateway") && lines[2].ends_with("  current"), "{table}");
        assert!(lines[3].starts_with("node") && lines[3].ends_with("the one before"), "{table}");
        assert!(!table.contains("PRIVATE") && !table.contains("BEGIN"), "{table}");
    }
}
