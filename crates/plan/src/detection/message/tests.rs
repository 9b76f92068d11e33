//! Questions and answers of detection pods: back and forth, within a kubelet's limit, and written by an enemy.

use super::*;
use crate::detection::subject::Running;
use odigos_api::instrumentation_config::{EnvVar, ObservedImage};
use odigos_api::{WorkloadKind, WorkloadRef};
use odigos_detect::container::Outcome;
use odigos_detect::parse::Member;
use odigos_detect::{Confidence, Language};

fn subject(name: &str, containers: &[&str]) -> Subject {
    let running = |container: &&str| Running {
        name: (*container).to_owned(),
        member: Member { pod: format!("u-{name}"), container: "0".repeat(64) },
        image: format!("{container}@sha256:1"),
        set: BTreeSet::from(["NODE_OPTIONS".to_owned(), "PASSWORD".to_owned()]),
        has_env_from: false,
    };
    Subject {
        uid: format!("u-{name}"),
        pod: name.to_owned(),
        workload: WorkloadRef::new("shop", WorkloadKind::Deployment, name),
        created: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-01-01T00:00:00Z".parse().unwrap())),
        has_agents: true,
        containers: containers.iter().map(running).collect(),
    }
}

fn found(container: &str, language: &str, value: &str) -> ContainerFound {
    let details = RuntimeDetails {
        container_name: container.to_owned(),
        language: language.to_owned(),
        runtime_version: "20.17.0".into(),
        env_vars: vec![EnvVar { name: "NODE_OPTIONS".into(), value: value.to_owned() }],
        libc_type: Some("glibc".into()),
        secure_execution_mode: Some(false),
        observed_image: Some(ObservedImage { id: "never told".into(), pod_created: None }),
        ..RuntimeDetails::default()
    };
    ContainerFound {
        details,
        outcome: Outcome::Resolved(vec![Language::Cplusplus]),
        confidence: Confidence::High,
        main_pid: Some(7),
        obstacles: Vec::new(),
        evidence: Vec::new(),
        is_image_hidden: false,
    }
}

fn seen(containers: Vec<ContainerFound>, problems: &[&str]) -> Seen {
    Seen { containers, problems: problems.iter().map(|one| (*one).to_owned()).collect() }
}

#[test]
fn what_is_told_arrives_with_the_image_that_was_asked_about() {
    let request = Request { pods: vec![subject("web", &["app", "side"]), subject("cart", &["app"])] };
    assert_eq!(Request::parse(&request.to_json()).unwrap(), request);
    let text = answer(&[
        seen(vec![found("app", "javascript", "--title=x")], &["container side: none of its processes was found"]),
        seen(vec![], &["container app: no permission"]),
    ]);
    assert!(text.len() < 500 && !text.contains("never told"), "{text}");
    let told = read(&request, &text).unwrap();
    let Told::Found(containers, Some(problem)) = &told[0] else { panic!("{told:?}") };
    assert!(problem.contains("container side"));
    let app = &containers[0];
    assert_eq!((app.details.language.as_str(), app.details.env_vars[0].value.as_str()), ("javascript", "--title=x"));
    assert_eq!(app.outcome, Outcome::Resolved(vec![Language::Cplusplus]));
    let image = app.details.observed_image.as_ref().unwrap();
    assert_eq!((image.id.as_str(), &image.pod_created), ("app@sha256:1", &request.pods[0].created));
    assert_eq!(told[1], Told::Failed("container app: no permission".into()));
}

#[test]
fn only_what_matters_is_asked_and_first_what_is_missing() {
    let known = RuntimeDetails { container_name: "app".into(), language: "java".into(), ..RuntimeDetails::default() };
    let names = ["app".to_owned(), "side".to_owned()];
    let asked = asked(subject("web", &["proxy", "app", "side"]), &names, &[known]);
    let order: Vec<&str> = asked.containers.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(order, ["side", "app"], "what others put into pods is nobody's question");
    assert_eq!(asked.containers[0].set, BTreeSet::from(["NODE_OPTIONS".to_owned()]));
}

#[test]
fn what_does_not_fit_is_left_out_whole_and_asked_again() {
    let names: Vec<String> = (0..40).map(|index| format!("pod-{index}")).collect();
    let request = Request { pods: names.iter().map(|name| subject(name, &["app"])).collect() };
    let all: Vec<Seen> = names.iter().map(|_| seen(vec![found("app", "javascript", &"x".repeat(100))], &[])).collect();
    let text = answer(&all);
    assert!(text.len() <= LIMIT, "{}", text.len());
    let told = read(&request, &text).unwrap();
    let is_found = |one: &&Told| matches!(one, Told::Found(..));
    let fit = told.iter().filter(is_found).count();
    assert!(fit > 5 && fit < 40, "{fit}");
    assert_eq!(told.iter().filter(|one| **one == Told::LeftOut).count(), 40 - fit);
    assert!(is_found(&&told[0]), "the first always fits");
}

#[test]
fn what_never_fits_is_said() {
    let request = Request { pods: vec![subject("web", &["app"]), subject("cart", &["app"])] };
    let huge = found("app", "javascript", &"x".repeat(5000));
    let text = answer(&[seen(vec![huge], &[]), seen(vec![found("app", "javascript", "")], &[])]);
    assert!(text.len() <= LIMIT);
    let told = read(&request, &text).unwrap();
    assert!(matches!(&told[0], Told::Failed(why) if why.contains("5") && why.contains("runtimeInfo")), "{told:?}");
    assert!(matches!(&told[1], Told::Found(..)), "others are told all the same");
}

#[test]
fn many_problems_fit_too() {
    let all: Vec<Seen> = (0..60).map(|_| seen(vec![], &["é".repeat(400).as_str()])).collect();
    assert!(answer(&all).len() <= LIMIT);
}

#[test]
fn answers_of_an_enemy_are_refused_or_harmless() {
    let request = Request { pods: vec![subject("web", &["app"])] };
    for text in
        ["", "null", "[]", "{}", "{\"pods\":[]}", "{\"pods\":[{},{}]}", "the process was killed", &"[".repeat(4000)]
    {
        assert!(read(&request, text).is_err(), "{text}");
    }
    assert!(read(&request, &format!("{{\"pods\":[{{}}],\"x\":\"{}\"}}", "x".repeat(LIMIT))).is_err());
    let text = r#"{"pods":[{"c":[
        {"d":{"containerName":"other","language":"java"}},
        {"d":{"containerName":"app","language":"klingon","runtimeVersion":"VERSION","libCType":"x","envVars":[{"name":"PATH","value":"/x"}]}},
        {"d":{"containerName":"app","language":"java"}}]}]}"#;
    let told = read(&request, &text.replace("VERSION", &"1".repeat(99))).unwrap();
    let Told::Found(containers, None) = &told[0] else { panic!("{told:?}") };
    assert_eq!(containers.len(), 1, "one of what was asked, once");
    let details = &containers[0].details;
    assert_eq!((details.language.as_str(), details.runtime_version.as_str()), ("unknown", ""));
    assert!(details.env_vars.is_empty() && details.libc_type.is_none());
    assert_eq!(read(&request, "{\"pods\":[{}]}").unwrap(), [Told::Failed("it says nothing of the containers".into())]);
}
