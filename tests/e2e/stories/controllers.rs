//! Workloads whose pods come from controllers of their own: CronJobs, and the Rollouts of Argo's controller.

use crate::instrumentation::{LIMIT, a_backend_takes_all};
use anyhow::{Context, bail};
use odigos_api::API_VERSION;
use odigos_e2e::cluster::{Cluster, Pod, eventually, object};
use odigos_e2e::office::{self, CHAIN, Manner, Service};
use odigos_e2e::records::Records;
use odigos_e2e::shop;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "e2e-controllers";
const BACKENDS: &str = "e2e-controllers-backends";
const BACKEND: &str = "controllers";
const ARGO: &str = "e2e-argo-rollouts";
const ARGO_VERSION: &str = "argoproj.io/v1alpha1";

/// A Rollout with a template of its own.
const OWN: &str = "checkout";
/// A Rollout that refers to the template of a Deployment of that name.
const BORROWED: &str = "lent";
const ROLLOUTS: [&str; 2] = [OWN, BORROWED];
const REPLICAS: u32 = 2;
/// The CronJob. Its jobs ask the first Rollout, and stay long enough to be inspected.
const CRON_JOB: &str = "report";
const PROGRAM: &str = "import time, urllib.request; time.sleep(10); \
                       print(urllib.request.urlopen('http://checkout:8080/', timeout=5).read())";
const BY_HAND: [&str; 2] = ["by-hand-covered", "by-hand-uncovered"];

/// Argo's controller with its kinds, as its own module has them.
async fn install_argo(cluster: &Cluster) -> anyhow::Result<()> {
    for kind in argo_kinds()? {
        cluster.apply(&kind).await?;
    }
    cluster.apply(&shop::namespace(ARGO)).await?;
    let labels = json!({"app": ARGO});
    let account = object("v1", "ServiceAccount", ARGO, ARGO);
    let mut binding = object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "", ARGO);
    binding["roleRef"] =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    binding["subjects"] = json!([{"kind": "ServiceAccount", "name": ARGO, "namespace": ARGO}]);
    let mut deployment = object("apps/v1", "Deployment", ARGO, ARGO);
    deployment["spec"] = json!({
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "serviceAccountName": ARGO,
                "containers": [{
                    "name": "controller", "imagePullPolicy": "IfNotPresent", "args": ["--leader-elect=false"],
                    "image": cluster.image.replacen("odigos-e2e:", "odigos-e2e-argo-rollouts:", 1),
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
                }],
            },
        },
    });
    cluster.apply_all([account, binding, deployment]).await?;
    cluster.rolled_out("Deployment", (ARGO, ARGO), LIMIT).await
}

fn argo_kinds() -> anyhow::Result<Vec<Value>> {
    let folder =
        std::env::var_os("ODIGOS_E2E_ARGO_KINDS").context("ODIGOS_E2E_ARGO_KINDS is not set; run `cargo xtask e2e`")?;
    let mut kinds = Vec::new();
    for entry in std::fs::read_dir(PathBuf::from(folder))? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with("-crd.yaml") {
            kinds.push(odigos_api::yaml::value(&std::fs::read_to_string(&path)?)?.value);
        }
    }
    anyhow::ensure!(kinds.len() == 5, "{} kinds", kinds.len());
    Ok(kinds)
}

/// What people apply: two Rollouts with Services, and the CronJob.
fn manifests(cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    // A new revision would go to half of the pods first.
    let strategy =
        json!({"canary": {"maxUnavailable": 1, "steps": [{"setWeight": 50}, {"pause": {"duration": "1s"}}]}});
    for name in ROLLOUTS {
        let service = Service { name, next: None, ..CHAIN[1] };
        let mut objects = office::deployment(NAMESPACE, service, &cluster.image, REPLICAS, Manner::Plain);
        let mut deployment = objects.pop().context("there is a Deployment")?;
        all.append(&mut objects);
        let mut rollout = object(ARGO_VERSION, "Rollout", NAMESPACE, name);
        rollout["spec"] = deployment["spec"].clone();
        rollout["spec"]["strategy"] = strategy.clone();
        if name == BORROWED {
            rollout["spec"].as_object_mut().context("an object")?.remove("template");
            rollout["spec"]["workloadRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
            deployment["spec"]["replicas"] = json!(0);
            all.push(deployment);
        }
        all.push(rollout);
    }
    let mut cron_job = object("batch/v1", "CronJob", NAMESPACE, CRON_JOB);
    let container = json!({
        "name": "report", "image": cluster.image.replacen("odigos-e2e:", "odigos-e2e-python:", 1),
        "imagePullPolicy": "IfNotPresent", "args": ["-c", PROGRAM],
    });
    cron_job["spec"] = json!({
        "schedule": "* * * * *",
        "jobTemplate": {"spec": {
            "backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        }},
    });
    all.push(cron_job);
    Ok(all)
}

/// What belongs to the owners of the workloads: everything but the status, what the API server keeps, and the time of a restart.
async fn owned(cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
    let mut found = Vec::new();
    let rollouts = ROLLOUTS.map(|name| (ARGO_VERSION, "Rollout", name));
    let others = [("apps/v1", "Deployment", BORROWED), ("batch/v1", "CronJob", CRON_JOB)];
    for (version, kind, name) in rollouts.into_iter().chain(others) {
        let live = cluster.get(version, kind, (NAMESPACE, name)).await?.with_context(|| format!("no {name}"))?;
        let mut spec = live["spec"].clone();
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("restartAt");
        }
        let metadata = &live["metadata"];
        found.push(json!({
            "kind": kind, "spec": spec, "labels": metadata["labels"], "annotations": metadata["annotations"],
            "finalizers": metadata["finalizers"],
        }));
    }
    Ok(found)
}

async fn pods(cluster: &Cluster, name: &str) -> anyhow::Result<Vec<Pod>> {
    cluster.pods(NAMESPACE, &format!("app={name}")).await
}

/// Waits until every pod of both Rollouts is ready and carries an agent, or none does; one of two serves all the time.
async fn all_pods_have_agents(cluster: &Cluster, wanted: bool) -> anyhow::Result<()> {
    eventually(&format!("pods of Rollouts with agents: {wanted}"), LIMIT, || async {
        for name in ROLLOUTS {
            let now = pods(cluster, name).await?;
            assert!(now.iter().any(Pod::is_ready), "{name} serves while its pods are replaced");
        }
        for name in ROLLOUTS {
            let now = pods(cluster, name).await?;
            let as_wanted = now.iter().filter(|pod| pod.is_ready() && pod.has_agent() == wanted).count();
            anyhow::ensure!(now.len() == 2 && as_wanted == 2, "{name}: {as_wanted} of {}", now.len());
        }
        Ok(())
    })
    .await
}

async fn healthy(cluster: &Cluster) -> anyhow::Result<()> {
    eventually("the Rollouts are healthy", LIMIT, || async {
        for name in ROLLOUTS {
            let live = cluster.get(ARGO_VERSION, "Rollout", (NAMESPACE, name)).await?.context("no Rollout")?;
            let status = &live["status"];
            let is_healthy = status["phase"] == "Healthy" && status["availableReplicas"] == REPLICAS;
            anyhow::ensure!(is_healthy, "{name}: {status}");
        }
        Ok(())
    })
    .await
}

/// As `kubectl create job --from=cronjob/report NAME` does; returns its pod once there is one.
async fn create_job(cluster: &Cluster, name: &str) -> anyhow::Result<Pod> {
    let cron_job = cluster.get("batch/v1", "CronJob", (NAMESPACE, CRON_JOB)).await?.context("no CronJob")?;
    let mut job = object("batch/v1", "Job", NAMESPACE, name);
    job["metadata"]["annotations"] = json!({"cronjob.kubernetes.io/instantiate": "manual"});
    let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": CRON_JOB, "uid": cron_job["metadata"]["uid"], "controller": true});
    job["metadata"]["ownerReferences"] = json!([owner]);
    job["spec"] = cron_job["spec"]["jobTemplate"]["spec"].clone();
    cluster.apply(&job).await?;
    eventually("the job has a pod", Duration::from_secs(30), || async {
        let pods = cluster.pods(NAMESPACE, &format!("job-name={name}")).await?;
        pods.into_iter().next().with_context(|| format!("{name} has none"))
    })
    .await
}

/// Spans of a job, and of the Rollout that it asked, in one trace under the names of their workloads.
fn one_trace(records: &Records) -> anyhow::Result<String> {
    let (job, rollout) = (records.of("traces", CRON_JOB), records.of("traces", OWN));
    let trace = job.traces.keys().find(|trace| rollout.traces.contains_key(*trace));
    let trace = trace.with_context(|| format!("spans of jobs {:?}, of the Rollout {:?}", job.names, rollout.names))?;
    for (record, key, name) in [(&job, "k8s.cronjob.name", CRON_JOB), (&rollout, "k8s.argoproj.rollout.name", OWN)] {
        assert_eq!(record.resource.get(key).map(String::as_str), Some(name), "{:?}", record.resource);
        assert_eq!(record.resource.get("odigos.workload.name").map(String::as_str), Some(name));
    }
    Ok(trace.clone())
}

/// Rollouts are restarted by their own controller, the next job of a CronJob has an agent, and afterwards all is as it was.
pub(crate) async fn get_agents(cluster: Cluster) -> anyhow::Result<()> {
    install_argo(&cluster).await?;
    cluster.apply(&shop::namespace(NAMESPACE)).await?;
    a_backend_takes_all(&cluster, (BACKENDS, BACKEND)).await?;
    cluster.apply_all(manifests(&cluster)?).await?;
    healthy(&cluster).await?;
    let before = owned(&cluster).await?;

    let begun = Instant::now();
    cluster.apply(&shop::source(NAMESPACE, "Namespace", NAMESPACE, &[])).await?;
    create_job(&cluster, BY_HAND[0]).await?;
    all_pods_have_agents(&cluster, true).await?;
    println!("  all pods of Rollouts have agents {:.0} s after the Source", begun.elapsed().as_secs_f64());
    healthy(&cluster).await?;
    for name in ROLLOUTS {
        let live = cluster.get(ARGO_VERSION, "Rollout", (NAMESPACE, name)).await?.context("no Rollout")?;
        assert!(live["spec"]["restartAt"].is_string(), "{name} was restarted in its own way: {}", live["spec"]);
        assert_eq!(live["status"]["restartedAt"], live["spec"]["restartAt"], "its controller did so");
        let sets = cluster.list("apps/v1", "ReplicaSet", NAMESPACE, &format!("app={name}")).await?;
        let is_own = |set: &&Value| set.pointer("/metadata/ownerReferences/0/kind") == Some(&json!("Rollout"));
        assert_eq!(sets.iter().filter(is_own).count(), 1, "{name} has no new revision");
    }
    let restarted = uids(&cluster).await?;
    eventually("a job's trace goes through a Rollout", LIMIT, || async {
        let pods = cluster.pods(NAMESPACE, "batch.kubernetes.io/job-name").await?;
        let scheduled = pods.iter().filter(|pod| pod.name().starts_with(&format!("{CRON_JOB}-")));
        anyhow::ensure!(scheduled.clone().any(Pod::has_agent), "no scheduled job has an agent");
        one_trace(&arrived(&cluster).await?)
    })
    .await?;
    println!("  a scheduled job and a Rollout in one trace {:.0} s after the Source", begun.elapsed().as_secs_f64());
    assert_eq!(uids(&cluster).await?, restarted, "the Rollouts were restarted once");
    assert_eq!(owned(&cluster).await?, before, "nothing that belongs to the owners was changed");

    cluster.delete(API_VERSION, "Source", (NAMESPACE, &format!("namespace-{NAMESPACE}"))).await?;
    all_pods_have_agents(&cluster, false).await?;
    healthy(&cluster).await?;
    let pod = create_job(&cluster, BY_HAND[1]).await?;
    assert!(!pod.has_agent(), "{} has none", pod.name());
    let declared = &before[3]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    let container = &pod.0["spec"]["containers"][0];
    for field in ["env", "args", "command", "securityContext"] {
        assert_eq!(container[field], declared[field], "{field} of {}", pod.name());
    }
    assert_eq!(owned(&cluster).await?, before, "everything is as it was");
    println!("  without the Source everything is as it was");
    remove(&cluster).await
}

async fn uids(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for name in ROLLOUTS {
        all.extend(pods(cluster, name).await?.iter().map(Pod::uid));
    }
    all.sort();
    Ok(all)
}

async fn arrived(cluster: &Cluster) -> anyhow::Result<Records> {
    let pods = cluster.pods(BACKENDS, &format!("app={BACKEND}")).await?;
    let Some(pod) = pods.first() else { bail!("the backend has no pod") };
    cluster.ask(BACKENDS, &pod.name(), "/").await
}

/// The controller goes last: it finishes what is deleted.
async fn remove(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.delete(API_VERSION, "Destination", (&cluster.namespace, BACKEND)).await?;
    cluster.delete_namespaces(&[NAMESPACE, BACKENDS]).await?;
    cluster.delete("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", ("", ARGO)).await?;
    for kind in argo_kinds()? {
        let name = kind["metadata"]["name"].as_str().unwrap_or_default();
        cluster.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", ("", name)).await?;
    }
    cluster.delete_namespaces(&[ARGO]).await
}
