//! Figures of the documents are those of the code: a sentence that names a limit, a time or a number stands beside the declaration that
//! has it, so that neither changes without the other.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| format!("{path}: {error}"))
}

/// A text in one line, without what documents emphasise.
fn flat(text: &str) -> String {
    text.replace(['`', '*'], "").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Page, a part of its sentence, file, and what the file declares.
#[rustfmt::skip] // A table: one row a line.
const FIGURES: &[(&str, &str, &str, &str)] = &[
    ("actions.md", "at most 64 rules or expressions", "plan/src/actions/limits.rs", "MOST: usize = 64;"),
    ("actions.md", "512 attributes, pairs or templates", "plan/src/actions/limits.rs", "MOST_NAMES: usize = 512;"),
    ("actions.md", "names and keys have at most 256 bytes", "plan/src/actions/limits.rs", "LONGEST_NAME: usize = 256;"),
    ("actions.md", "values and templates 1,024", "plan/src/actions/limits.rs", "LONGEST_TEXT: usize = 1024;"),
    ("actions.md", "names of 4,096 bytes or more are not renamed", "plan/src/actions/limits.rs", "LONGEST_SPAN_NAME: usize = 4096;"),
    ("actions.md", "expressions 1,000", "plan/src/actions/pattern.rs", "LONGEST: usize = 1000;"),
    ("actions.md", "Queries of 16 KiB or more", "plan/src/actions/sql.rs", "LONGEST: usize = 16 * 1024;"),
    ("actions.md", "More than 200 templates", "plan/src/actions/shared.rs", "MOST_TEMPLATES: usize = 200;"),
    ("data-streams.md", "stream labels of a Source | 16 |", "api/src/labels.rs", "STREAM_LABEL_LIMIT: usize = 16;"),
    ("data-streams.md", "in a namespace | 128 |", "plan/src/admission/source.rs", "PATTERN_QUOTA: usize = 128;"),
    ("data-streams.md", "dataStreams.maxPerNamespace, 256 |", "plan/src/scheduling.rs", "DEFAULT_STREAM_QUOTA: usize = 256;"),
    ("data-streams.md", "sets of streams in the cluster | 4096 |", "plan/src/streams/classes.rs", "CLASS_LIMIT: usize = 4096;"),
    ("data-streams.md", "32 files of 512 KiB", "plan/src/config_files.rs", "MOST_FILES: usize = 32;"),
    ("data-streams.md", "32 files of 512 KiB", "plan/src/config_files.rs", "FILE_LIMIT: usize = CONFIG_MAP_LIMIT / 2;"),
    ("data-streams.md", "| 1,020 KiB |", "plan/src/config_files.rs", "PART_LIMIT: usize = CONFIG_MAP_LIMIT - 4096;"),
    ("data-streams.md", "1.25 MiB of the object of a pod", "plan/src/gateway/capacity.rs", "OBJECT_LIMIT: usize = 5 * (1 << 20) / 4;"),
    ("data-streams.md", "1.5 MiB of values |", "plan/src/gateway/capacity.rs", "ENVIRONMENT_LIMIT: usize = 3 * (1 << 20) / 2;"),
    ("data-streams.md", "more than 128 KiB of values, or more than 80 KiB of the object", "plan/src/gateway/capacity.rs", "[OBJECT_LIMIT / 16, ENVIRONMENT_LIMIT / 12];"),
    ("data-streams.md", "keeps its route for two minutes", "plan/src/streams/classes.rs", "DRAIN_PERIOD: SignedDuration = SignedDuration::from_secs(120);"),
    ("data-streams.md", "calls in two readings are told", "plan/src/trace_cuts.rs", "TOLD_AFTER: u32 = 2;"),
    ("data-streams.md", "It is read once a minute", "plan/src/trace_cuts.rs", "ROUND: SignedDuration = SignedDuration::from_secs(60);"),
    ("delivery.md", "a gateway for up to 40 seconds", "plan/src/gateway/objects.rs", "DRAINED_SECONDS: u32 = 40;"),
    ("delivery.md", "a node collector for up to 20", "plan/src/node/objects.rs", "DRAINED_SECONDS: u32 = 20;"),
    ("delivery.md", "4 MiB after decompression", "plan/src/receivers.rs", "LARGEST_REQUEST_MIB: i64 = 4;"),
    ("delivery.md", "64 requests at a time on a gRPC connection", "plan/src/receivers.rs", "CONCURRENT_REQUESTS: i64 = 64;"),
    ("delivery.md", "batches of 2 MiB", "plan/src/receivers.rs", "LARGEST_BATCH: i64 = 2 * 1024 * 1024;"),
    ("delivery.md", "one request, decoded | 32 MiB", "plan/src/receivers.rs", "LARGEST_DECODED_MIB: i64 = 8 * LARGEST_REQUEST_MIB;"),
    ("delivery.md", "16, of one address 8 |", "../deploy/collector/requestlimitextension/config.go", "Requests: 16, RequestsPerSender: 8,"),
    ("delivery.md", "requests that wait | 1,024", "../deploy/collector/requestlimitextension/config.go", "Waiting: 1024"),
    ("delivery.md", "5 s while others wait for their turn", "../deploy/collector/requestlimitextension/limits.go", "receiveContended = 5 * time.Second"),
    ("delivery.md", "else 30 s | ended", "../deploy/collector/requestlimitextension/limits.go", "receiveLongest = 30 * time.Second"),
    ("delivery.md", "a window of 8 MiB", "../deploy/collector/requestlimitextension/decompress.go", "zstdWindow = 8 << 20"),
    ("delivery.md", "more than 127 KiB", "plan/src/gateway/secret_values.rs", "LONGEST_VARIABLE: usize = 128 * 1024 - 1024;"),
    ("instrumentation.md", "A pod can report at most 4096 bytes", "plan/src/detection/message.rs", "LIMIT: usize = 4096;"),
    ("instrumentation.md", "after 10 seconds, then at doubling intervals of up to one hour", "plan/src/detection/pods.rs", "(SignedDuration::from_secs(10), SignedDuration::from_hours(1));"),
    ("instrumentation.md", "looks again every 30 seconds", "instrumentor/src/pull_secrets.rs", "RECHECK: Duration = Duration::from_secs(30);"),
    ("instrumentation.md", "at most 16 for a pod", "detect/src/presence.rs", "INSTANCES: usize = 16;"),
    ("instrumentation.md", "connected for three minutes", "detect/src/presence.rs", "SILENT: Duration = Duration::from_secs(180);"),
    ("instrumentation.md", "A request times out after 5 s", "agent/src/container_runtime.rs", "LIMIT: Duration = Duration::from_secs(5);"),
    ("rollouts.md", "failed twice or more within ten minutes", "plan/src/instrumentation/pods.rs", "REPEATED: u32 = 2;"),
    ("rollouts.md", "failed twice or more within ten minutes", "plan/src/instrumentation/pods.rs", "RECENT: SignedDuration = SignedDuration::from_mins(10);"),
    ("rollouts.md", "Rejected pods are given 60 s", "plan/src/instrumentation/creation.rs", "GRACE: SignedDuration = SignedDuration::from_secs(60);"),
    ("rollouts.md", "when admission has served for 20 s", "plan/src/instrumentation/rollout.rs", "SETTLING: SignedDuration = SignedDuration::from_secs(20);"),
    ("rollouts.md", "again an hour later at the earliest", "plan/src/instrumentation/healing.rs", "TRY_AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(1);"),
    ("rules.md", "at most 256 entries", "plan/src/agents/rules/validate.rs", "MAX_ENTRIES: usize = 256;"),
    ("rules.md", "of 512 characters", "plan/src/agents/rules/validate.rs", "MAX_CHARACTERS: usize = 512;"),
    ("rules.md", "is at most 32 KiB", "plan/src/agents/rules.rs", "MAX_VARIABLES: usize = 32 << 10;"),
    ("sampling.md", "with up to 20 rules", "plan/src/sampling/compile.rs", "PER_RULE_LIMIT: usize = 20;"),
    ("sampling.md", "more than 500 conditions", "plan/src/sampling/compile.rs", "CONDITION_LIMIT: usize = 500;"),
    ("sampling.md", "of more than three that one loses to", "plan/src/sampling/vain.rs", "MOST_TOLD: usize = 3;"),
    ("scaling.md", "in two rounds (20 s)", "plan/src/scaling.rs", "ROUNDS: u32 = 2;"),
    ("scaling.md", "every 10 seconds, in parallel with a timeout of one second", "autoscaler/src/scaling.rs", "ROUND: Duration = Duration::from_secs(10);"),
    ("scaling.md", "every 10 seconds, in parallel with a timeout of one second", "autoscaler/src/scrape.rs", "PATIENCE: Duration = Duration::from_secs(1);"),
    ("scaling.md", "the current number + 2, for 15 minutes", "plan/src/scaling.rs", "LEASE: SignedDuration = SignedDuration::from_mins(15);"),
    ("scaling.md", "the current number + 2, for 15 minutes", "plan/src/scaling.rs", "STEP: i32 = 2;"),
    ("scaling.md", "whose queue is over 70 % full", "plan/src/scaling.rs", "FULL: f64 = 0.7;"),
    ("scaling.md", "the 20 most loaded gateways and 50 most loaded destinations", "plan/src/scaling/figures.rs", "SHOWN: (usize, usize) = (20, 50);"),
    ("scaling.md", "for two minutes no gateway was reachable", "plan/src/scaling.rs", "UNHEARD_ROUNDS: u32 = 12;"),
    ("scaling.md", "At most 16 pools", "plan/src/pools.rs", "LIMIT: usize = 16;"),
    ("scaling.md", "none of the three newest versions", "plan/src/objects.rs", "KEPT_VERSIONS: usize = 3;"),
    ("scaling.md", "a routing table of more than 128 KiB", "plan/src/config_files/cascade.rs", "MOST: usize = 128 * 1024;"),
    ("security.md", "connections at once | 256 | 128 |", "kit/src/https/listener.rs", "total: 256, per_peer: 64,"),
    ("security.md", "connections at once | 256 | 128 |", "kit/src/admin.rs", "total: 128, per_peer: 32,"),
    ("security.md", "(IPv6: one network of 64 bits) | 64 | 32 |", "kit/src/connections/table.rs", "(u128::MAX << 64)"),
    ("security.md", "without a further request after (HTTP/1: 10 s) | 5 min | 2 min |", "kit/src/https/listener.rs", "idle: Duration::from_secs(300), request: Duration::from_secs(30), age: Duration::from_secs(3600),"),
    ("security.md", "without a further request after (HTTP/1: 10 s) | 5 min | 2 min |", "kit/src/admin.rs", "idle: Duration::from_secs(120), request: Duration::from_secs(30), age: Duration::from_secs(3600),"),
    ("security.md", "It keeps 64 connections, 8 of one address", "../deploy/collector/metricsendpointextension/connections.go", "mostConnections = 64"),
    ("security.md", "It keeps 64 connections, 8 of one address", "../deploy/collector/metricsendpointextension/connections.go", "mostOfAddress = 8"),
    ("security.md", "may take 10 s, an answer 30 s", "../deploy/collector/metricsendpointextension/server.go", "longestAnswer = 30 * time.Second"),
    ("security.md", "A report of more than 128 KiB", "api/src/runtime_report.rs", "MAX_REPORT_SIZE: usize = 128 << 10;"),
    ("security.md", "certificates of both kinds of collectors (a month)", "kit/src/certificates.rs", "MOUNTED_VALIDITY: SignedDuration = SignedDuration::from_hours(30 * 24);"),
    ("security.md", "the authority (a year", "kit/src/certificates.rs", "CA_VALIDITY: SignedDuration = SignedDuration::from_hours(365 * 24);"),
    ("security.md", "within an hour after the configuration came", "plan/src/quarantine/memory.rs", "NEW: SignedDuration = SignedDuration::from_mins(60);"),
    ("security.md", "have run for five minutes without it", "plan/src/quarantine/memory.rs", "SETTLED: SignedDuration = SignedDuration::from_mins(5);"),
    ("security.md", "tried again after 30 minutes", "plan/src/quarantine.rs", "RETRY_AFTER: SignedDuration = SignedDuration::from_mins(30);"),
    ("install.md", "inspects up to eight containers", "plan/src/detection/pods.rs", "CONTAINERS: usize = 8;"),
    ("install.md", "its deadline is five minutes", "plan/src/detection/pods.rs", "DEADLINE_SECONDS: i64 = 300;"),
    ("install.md", "24 hours after new node collectors began", "plan/src/mutual_tls/change_over.rs", "LIMIT: SignedDuration = SignedDuration::from_hours(24);"),
];

#[test]
fn figures_of_the_documents_are_those_of_the_code() {
    let mut wrong = Vec::new();
    for (page, sentence, file, declaration) in FIGURES {
        if !flat(&read(&format!("docs/{page}"))).contains(&flat(sentence)) {
            wrong.push(format!("docs/{page} does not say {sentence:?}"));
        }
        if !flat(&read(&format!("crates/{file}"))).contains(&flat(declaration)) {
            wrong.push(format!("{file} does not declare {declaration:?}, as docs/{page} says"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The releases of components that documents name are those of the modules that the collectors are built of.
#[test]
fn releases_of_the_documents_are_those_of_the_modules() {
    let modules = read("deploy/collector/go.mod");
    let direct = modules.lines().filter(|line| !line.contains("// indirect") && !line.contains("=>"));
    let components = ["/connector/", "/exporter/", "/extension/", "/processor/", "/receiver/"];
    let mut releases: BTreeSet<(u32, u32)> = BTreeSet::new();
    for line in direct.clone().filter(|line| components.iter().any(|part| line.contains(part))) {
        let Some((_, version)) = line.rsplit_once(" v") else { continue };
        let mut numbers = version.split('.').filter_map(|part| part.parse().ok());
        // Components of other authors count by themselves.
        releases.extend(numbers.next().zip(numbers.next()).filter(|_| line.contains("opentelemetry")));
    }
    let named = |(major, minor): &(u32, u32)| format!("{major}.{minor}");
    let (first, last) = (named(releases.first().unwrap()), named(releases.last().unwrap()));
    let core = direct.clone().find(|line| line.contains("go.opentelemetry.io/collector/otelcol ")).unwrap();
    let core = core.rsplit_once(" v").unwrap().1.split('.').take(2).collect::<Vec<_>>().join(".");
    let claim = format!("core {core}, contrib modules {first} to {last}");
    assert!(flat(&read("README.md")).contains(&claim), "README.md does not say {claim:?}");
    let claim = format!("releases {first} to {last} of the components");
    assert!(flat(&read("docs/install.md")).contains(&claim), "docs/install.md does not say {claim:?}");
}

/// Collectors of this repository have extensions of their own; whoever reads what is stock and what is not finds each by its name.
#[test]
fn documents_name_every_extension_of_our_own() {
    let folders = std::fs::read_dir(repository().join("deploy/collector")).unwrap();
    let names = folders.filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let folders: Vec<String> = names.filter(|name| name.ends_with("extension")).collect();
    let words = ["no", "one", "two", "three", "four"];
    let (readme, install) = (flat(&read("README.md")), flat(&read("docs/install.md")));
    let claim = format!("{} extensions of our own", words[folders.len()]);
    assert!(readme.contains(&claim), "README.md does not say {claim:?}");
    for folder in folders {
        let source = read(&format!("deploy/collector/{folder}/config.go"));
        let name = source.split("MustNewType(\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(readme.contains(name) && install.contains(name), "{name} is not named");
    }
}

#[test]
fn documents_count_the_types_of_destinations() {
    let count = odigos_catalog::destination::types().len();
    for (page, claim) in [
        ("README.md", format!("all {count} types")),
        ("README.md", format!("| {count} destination types |")),
        ("docs/destinations.md", format!("{count} types of backends")),
    ] {
        assert!(flat(&read(page)).contains(&claim), "{page} does not say {claim:?}");
    }
}
