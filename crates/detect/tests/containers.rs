//! Several processes of a container (`spec/sources-and-instrumentation.md` 4.3, 4.7; scenarios 24, 25, 27–29 of section 7).

mod support;

use odigos_detect::container::{ContainerFound, ImageEnvironment, Outcome, condition, decide};
use odigos_detect::{Confidence, Detection, Environment, Language, Role};
use support::{Recorded, TestElf};

fn of(processes: &[Recorded]) -> ContainerFound {
    let mut detections: Vec<Detection> = processes.iter().map(Recorded::detect).collect();
    let found = decide("app", &detections, &ImageEnvironment::NotAsked);
    detections.reverse();
    assert_eq!(
        decide("app", &detections, &ImageEnvironment::NotAsked),
        found,
        "the order of processes does not matter"
    );
    found
}

fn java() -> Recorded {
    Recorded::new("/usr/bin/java", "java -jar app.jar").env(&[("JAVA_VERSION", "17.0.12+7")])
}

fn python() -> Recorded {
    Recorded::new("/usr/bin/python3.11", "python3 worker.py")
}

fn languages(found: &ContainerFound) -> (&str, &Outcome) {
    (&found.details.language, &found.outcome)
}

#[test]
fn wrappers_do_not_hide_the_application() {
    for wrapper in [
        Recorded::new("/usr/bin/dash", "sh -c java -jar app.jar"),
        Recorded::new("/sbin/tini", "tini -- java -jar app.jar"),
        Recorded::new("/usr/bin/dumb-init", "dumb-init java"),
        Recorded::new("/usr/bin/python3.11", "/usr/bin/python3 /usr/bin/supervisord -n"),
        Recorded::new("/usr/local/bin/dockerize", "dockerize java").elf(&TestElf::go("go1.20.1")),
    ] {
        let found = of(&[wrapper.at(10, 1, 1), java().at(11, 10, 7)]);
        assert_eq!(languages(&found), ("java", &Outcome::Clear));
        assert_eq!((found.details.runtime_version.as_str(), found.main_pid), ("17.0.12+7", Some(11)));
    }
}

#[test]
fn losers_and_contradictions() {
    let nginx = || Recorded::new("/usr/sbin/nginx", "nginx");
    let php = || Recorded::new("/usr/sbin/php-fpm8.2", "php-fpm");
    let cpp = || Recorded::new("/app/helper", "helper").maps(&["/usr/lib/libstdc++.so.6"]);
    let both = of(&[nginx().at(1, 0, 1), php().at(2, 1, 2)]);
    assert_eq!(languages(&both), ("php", &Outcome::Resolved(vec![Language::Nginx])));
    assert_eq!(condition(&[both]).reason, "ResolvedFromMultipleLanguages");

    let against = of(&[java().at(1, 0, 1), python().at(2, 1, 2)]);
    assert_eq!(languages(&against), ("unknown", &Outcome::Unresolved(vec![Language::Java, Language::Python])));
    let said = condition(std::slice::from_ref(&against));
    assert_eq!((said.status.as_str(), said.reason.as_str()), ("True", "UnresolvedMultipleLanguages"));
    assert!(said.message.contains("java, python"), "{}", said.message);
    assert_eq!(against.evidence.len(), 3, "both languages and the version: {:?}", against.evidence);

    assert_eq!(languages(&of(&[cpp().at(1, 0, 1), nginx().at(2, 1, 2)])).0, "nginx");
    assert_eq!(languages(&of(&[cpp().at(1, 0, 1), nginx().at(2, 1, 2), php().at(3, 1, 3)])).0, "php");
    assert_eq!(languages(&of(&[cpp().at(1, 0, 1)])), ("cplusplus", &Outcome::Clear));
}

#[test]
fn what_was_started_from_outside_does_not_count() {
    // A debug shell with a tool, and a probe, both started by the container runtime (parent 500 is outside).
    let debug = Recorded::new("/usr/bin/bash", "bash").at(30, 500, 40);
    let tool = Recorded::new("/usr/bin/python3.11", "python3 -m pdb").at(31, 30, 41);
    let probe =
        Recorded::new("/bin/grpc_health_probe", "grpc_health_probe").elf(&TestElf::go("go1.21.1")).at(32, 500, 50);
    let found = of(&[java().at(10, 500, 1), debug, tool, probe]);
    assert_eq!(languages(&found), ("java", &Outcome::Clear));
    // Containers that share the namespace of the pod have no process 1; the oldest one from outside is the first.
    let found = of(&[java().at(10, 500, 17), python().at(20, 500, 80)]);
    assert_eq!(languages(&found), ("java", &Outcome::Clear));
}

#[test]
fn nothing_and_only_helpers() {
    let nothing = of(&[]);
    assert_eq!((languages(&nothing), nothing.main_pid), (("unknown", &Outcome::NothingRuns), None));
    let shell = of(&[
        Recorded::new("/usr/bin/bash", "bash").at(1, 0, 1),
        Recorded::new("/usr/bin/sleep", "sleep 9").at(2, 1, 2),
    ]);
    assert_eq!(languages(&shell), ("unknown", &Outcome::Clear));
    assert_eq!(Recorded::new("/usr/bin/bash", "bash").detect().role, Role::Helper);
    // A supervisor that supervises nothing yet is all there is.
    let alone = of(&[Recorded::new("/usr/local/bin/dockerize", "dockerize").elf(&TestElf::go("go1.20.1")).at(1, 0, 1)]);
    assert_eq!((languages(&alone).0, alone.confidence), ("go", Confidence::High));
    assert_eq!(condition(&[of(&[java().at(1, 0, 1)])]).message, "app: java 17.0.12+7");
}

#[test]
fn a_version_counts_when_all_processes_agree() {
    let worker = |pid, version| python().env(&[("PYTHON_VERSION", version)]).at(pid, 1, pid);
    let agreed = of(&[worker(1, "3.11.4"), worker(2, "3.11.4"), worker(3, "3.11.4")]);
    assert_eq!(agreed.details.runtime_version, "3.11.4");
    let torn = of(&[worker(1, "3.11.4"), worker(2, "3.11.9")]);
    assert_eq!((torn.details.language.as_str(), torn.details.runtime_version.as_str()), ("python", ""));
}

#[test]
fn one_process_in_secure_mode_is_enough() {
    let mut worker = python().at(2, 1, 2);
    worker.process.secure_execution = Some(true);
    assert_eq!(of(&[python().at(1, 0, 1), worker]).details.secure_execution_mode, Some(true));
    assert_eq!(of(&[python().at(1, 0, 1)]).details.secure_execution_mode, Some(false));
}

#[test]
fn details_as_a_status_wants_them() {
    let mut capable = python()
        .env(&[("PYTHONPATH", "/app"), ("LD_PRELOAD", "/lib/j.so"), ("NEW_RELIC_CONFIG_FILE", "/nr.ini")])
        .maps(&["/lib/ld-musl-x86_64.so.1"])
        .at(1, 0, 1);
    capable.process.secure_execution = Some(true);
    let image = ImageEnvironment::Known(Environment::of([("PYTHONPATH", "/image"), ("PYTHON_VERSION", "3.11.2")]));
    let found = decide("app", &[capable.detect()], &image);
    let text = serde_json::to_value(&found.details).unwrap();
    assert_eq!(
        text,
        serde_json::json!({
            "containerName": "app",
            "language": "python",
            "runtimeVersion": "3.11",
            "envVars": [{"name": "LD_PRELOAD", "value": "/lib/j.so"}, {"name": "PYTHONPATH", "value": "/app"}],
            "envFromContainerRuntime": [{"name": "PYTHONPATH", "value": "/image"}],
            "otherAgents": [{"name": "New Relic"}],
            "libCType": "musl",
            "secureExecutionMode": true,
        })
    );
    assert!(found.evidence.iter().any(|one| one.rule == "other-agent" && one.seen == "NEW_RELIC_CONFIG_FILE=/nr.ini"));
}

#[test]
fn a_silent_container_runtime_matters_only_where_a_value_could_be_lost() {
    let failed = ImageEnvironment::Failed("timed out after 5 s".into());
    let of = |process: Recorded| decide("app", &[process.at(1, 0, 1).detect()], &failed).details.cri_error_message;
    assert_eq!(of(python()), None);
    assert_eq!(of(python().env(&[("PYTHONPATH", "")])), None);
    assert_eq!(of(python().env(&[("JAVA_TOOL_OPTIONS", "-Dx=1")])), None);
    assert_eq!(of(python().env(&[("PYTHONPATH", "/app")])).as_deref(), Some("timed out after 5 s"));
    assert_eq!(of(python().env(&[("LD_PRELOAD", "/x.so")])).as_deref(), Some("timed out after 5 s"));
}
