//! Which reports count, what they change, and how agents wait for one another.

use super::*;
use odigos_api::WorkloadKind;
use odigos_api::instrumentation_config::{EnvVar, InstrumentationConfigSpec, RuntimeDetails};
use odigos_api::source::ContainerOverride;
use odigos_detect::Confidence;
use odigos_detect::container::Outcome;

fn time(minute: u8) -> Time {
    Time(format!("2026-01-01T00:{minute:02}:00Z").parse().unwrap())
}

fn web() -> WorkloadRef {
    WorkloadRef::new("shop", WorkloadKind::Deployment, "web")
}

fn subject(pod: &str) -> Subject {
    let (uid, workload, created) = (format!("u-{pod}"), web(), Some(time(1)));
    Subject { uid, pod: pod.into(), workload, created, has_agents: false, containers: Vec::new() }
}

fn found(language: &str, image: &str) -> Finding {
    let details = RuntimeDetails {
        container_name: "app".into(),
        language: language.into(),
        observed_image: Some(ObservedImage { id: image.into(), pod_created: Some(time(50)) }),
        ..RuntimeDetails::default()
    };
    Finding::Found(vec![ContainerFound {
        details,
        outcome: Outcome::Clear,
        confidence: Confidence::High,
        main_pid: Some(1),
        obstacles: Vec::new(),
        evidence: Vec::new(),
        is_image_hidden: false,
    }])
}

fn config() -> InstrumentationConfig {
    let app = ContainerOverride { container_name: "app".into(), ..ContainerOverride::default() };
    let spec = InstrumentationConfigSpec { containers_overrides: vec![app], ..InstrumentationConfigSpec::default() };
    InstrumentationConfig::new("deployment-web", spec)
}

/// Applies what an agent submits as the API server would.
fn submit(config: &mut InstrumentationConfig, pod: &str, node: &str, finding: &Finding, insists: bool) -> bool {
    let Submission::Write(object) = submission(config, &subject(pod), node, finding, insists) else { return false };
    let reports = serde_json::from_value(object["status"]["runtimeReports"].clone()).unwrap();
    config.status.get_or_insert_default().runtime_reports = reports;
    true
}

/// Takes over what pods on these nodes bear out, as the instrumentor does; returns what was rejected.
fn settle(config: &mut InstrumentationConfig, pods: &[(&str, &str)]) -> Vec<Rejection> {
    let (mut findings, mut rejections) = (Vec::new(), Vec::new());
    for report in &config.status.clone().unwrap_or_default().runtime_reports {
        let pod = pods.iter().find(|(name, _)| *name == report.pod).map(|(name, node)| ReportedPod {
            uid: format!("u-{name}"),
            workload: Some(web()),
            node: (*node).into(),
            created: Some(time(2)),
        });
        match judge(report, &web(), pod.as_ref()) {
            Ok(finding) => findings.push(finding),
            Err(why) => rejections.push(why),
        }
    }
    let object = take_over(config, &web(), &findings, &[], time(30).0);
    config.status = Some(serde_json::from_value(object["status"].clone()).unwrap());
    rejections
}

fn languages(config: &InstrumentationConfig) -> Vec<String> {
    let details = config.status.iter().flat_map(|status| &status.runtime_details_by_container);
    details.map(|one| one.language.clone()).collect()
}

#[test]
fn report_counts_where_its_pod_runs_on_its_node() {
    let mut config = config();
    assert!(submit(&mut config, "web-a", "one", &found("java", "a"), false));
    assert_eq!(settle(&mut config, &[("web-a", "one")]), []);
    assert_eq!(languages(&config), ["java"]);
    let status = config.status.clone().unwrap();
    assert_eq!((status.runtime_reports.len(), status.conditions[0].reason.as_str()), (0, "DetectedSuccessfully"));
    // The age of a pod is what the API server says, not what the node says.
    let created = status.runtime_details_by_container[0].observed_image.clone().unwrap().pod_created;
    assert_eq!(created, Some(time(2)));
    assert!(!submit(&mut config, "web-b", "two", &found("java", "a"), false), "it is known");
}

#[test]
fn report_of_a_node_without_the_pod_changes_nothing() {
    let mut config = config();
    submit(&mut config, "web-a", "one", &found("java", "a"), false);
    settle(&mut config, &[("web-a", "one")]);
    let before = config.status.clone().unwrap();
    assert!(submit(&mut config, "web-a", "hostile", &found("python", "b"), false));
    assert_eq!(settle(&mut config, &[("web-a", "one")]), [Rejection::OtherNode]);
    assert!(submit(&mut config, "web-z", "hostile", &found("python", "b"), false));
    assert_eq!(settle(&mut config, &[("web-a", "one")]), [Rejection::NoPod]);
    let after = config.status.unwrap();
    assert_eq!(after.runtime_details_by_container, before.runtime_details_by_container);
    assert_eq!(after.conditions, before.conditions);
}

#[test]
fn report_about_a_pod_of_another_workload_or_an_earlier_pod_is_rejected() {
    let report = report(&subject("web-a"), "one", &found("java", "a"));
    let pod = ReportedPod { uid: "u-web-a".into(), workload: Some(web()), node: "one".into(), created: None };
    assert!(judge(&report, &web(), Some(&pod)).is_ok());
    let other = WorkloadRef::new("shop", WorkloadKind::Deployment, "till");
    let cases = [
        (ReportedPod { workload: Some(other), ..pod.clone() }, Rejection::OtherWorkload),
        (ReportedPod { workload: None, ..pod.clone() }, Rejection::OtherWorkload),
        (ReportedPod { uid: "u-later".into(), ..pod.clone() }, Rejection::NoPod),
        (ReportedPod { node: String::new(), ..pod.clone() }, Rejection::OtherNode),
    ];
    for (pod, expected) in cases {
        assert_eq!(judge(&report, &web(), Some(&pod)).unwrap_err(), expected);
    }
    let mut large = report;
    large.problem = "x".repeat(MAX_REPORT_SIZE + 1);
    assert_eq!(judge(&large, &web(), Some(&pod)).unwrap_err(), Rejection::TooLarge);
}

#[test]
fn details_of_a_release_without_reports_are_replaced_as_before() {
    let mut config = config();
    let known = RuntimeDetails { container_name: "app".into(), language: "java".into(), ..RuntimeDetails::default() };
    let status = config.status.get_or_insert_default();
    status.runtime_details_by_container = vec![known];
    // Its condition is still that of its agents.
    let draft = odigos_detect::container::condition(&[]);
    status.conditions = merged(&[], &[draft], None, time(1).0);
    let before = status.clone();
    assert_eq!(settle(&mut config, &[]), []);
    assert_eq!(config.status.clone().unwrap(), before);
    assert!(!submit(&mut config, "web-a", "one", &found("unknown", ""), false));
}

#[test]
fn failure_of_a_node_is_reported_while_nothing_is_known() {
    let mut config = config();
    assert!(submit(&mut config, "web-a", "one", &Finding::Failed("no permission".into()), false));
    settle(&mut config, &[("web-a", "one")]);
    assert_eq!(config.status.unwrap().conditions[0].reason, "Error");
}

#[test]
fn agents_wait_for_reports_of_others_and_not_for_ever() {
    let mut config = config();
    assert!(submit(&mut config, "web-a", "one", &found("java", "a"), false));
    let java = found("java", "a");
    assert_eq!(submission(&config, &subject("web-a"), "one", &java, true), Submission::Pending, "it is there");
    assert_eq!(submission(&config, &subject("web-b"), "two", &java, false), Submission::Pending);
    assert!(submit(&mut config, "web-b", "two", &java, true));
    let reports = config.status.clone().unwrap().runtime_reports;
    assert_eq!(reports.iter().map(|one| one.node.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    // One place for each node, and an end to it.
    assert!(submit(&mut config, "web-c", "two", &java, true));
    assert_eq!(config.status.as_ref().unwrap().runtime_reports.len(), 2);
    for index in 0..20 {
        submit(&mut config, &format!("web-n{index}"), &format!("n{index}"), &java, true);
    }
    assert_eq!(config.status.as_ref().unwrap().runtime_reports.len(), MAX_PENDING);
}

#[test]
fn variables_that_no_agent_extends_are_never_taken_over() {
    let variable = |name: &str| EnvVar { name: name.into(), value: "x".into() };
    let mut report = report(&subject("web-a"), "one", &found("java", "a"));
    let details = &mut report.containers[0].details;
    details.env_vars = vec![variable("JAVA_TOOL_OPTIONS"), variable("PASSWORD")];
    details.env_from_container_runtime = vec![variable("PATH"), variable("JAVA_TOOL_OPTIONS")];
    let pod = ReportedPod { uid: "u-web-a".into(), workload: Some(web()), node: "one".into(), created: None };
    let Ok(Finding::Found(found)) = judge(&report, &web(), Some(&pod)) else { panic!("rejected") };
    assert_eq!(found[0].details.env_vars, [variable("JAVA_TOOL_OPTIONS")]);
    assert_eq!(found[0].details.env_from_container_runtime, [variable("JAVA_TOOL_OPTIONS")]);
}

#[test]
fn only_names_of_pods_are_asked_for() {
    for (name, expected) in [
        ("web-5d4f-a", true),
        ("a.b", true),
        ("", false),
        ("../secrets/x", false),
        ("a/b", false),
        (".", false),
        ("A", false),
    ] {
        assert_eq!(is_pod_name(name), expected, "{name}");
    }
}

#[test]
fn agents_write_nothing_that_admission_refuses() {
    let written = |finding: &Finding| -> RuntimeReport {
        let mut object = config();
        assert!(submit(&mut object, "one", "node", finding, true));
        object.status.unwrap().runtime_reports.remove(0)
    };
    let long = written(&Finding::Failed("é".repeat(5_000)));
    assert_eq!(long.problem.chars().count(), MAX_PROBLEM_SIZE);
    let Finding::Found(mut found) = found("java", "a@sha256:1") else { unreachable!() };
    let value = |bytes: usize| EnvVar { name: "JAVA_TOOL_OPTIONS".into(), value: "x".repeat(bytes) };
    found[0].details.env_vars = vec![value(32 << 10), value(32 << 10)];
    assert_eq!(written(&Finding::Found(found.clone())).containers.len(), 1);
    found[0].details.env_vars = vec![value(32 << 10); 4];
    let large = written(&Finding::Found(found));
    assert!(large.containers.is_empty() && large.size() <= MAX_REPORT_SIZE, "{}", large.size());
    assert!(large.problem.contains("more than a report holds"), "{}", large.problem);
}
