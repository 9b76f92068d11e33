//! Sizes of the collectors: presets, the user's own numbers, and the limits derived from them.
//!
//! Owns `spec/collectors-and-pipelines.md` 2.3 and 2.5. One table serves every way of installation; the limiter numbers
//! follow from the memory unless the user states them (scenario A8).

use crate::configuration::Configuration;
use odigos_api::Finding;
use odigos_api::collectors_group::ResourcesSettings;

/// Numbers of a preset: memory in MiB, CPU in thousandths of a core.
#[derive(Clone, Copy, Debug)]
struct Preset {
    name: &'static str,
    replicas: (i32, i32),
    gateway: Size,
    node: Size,
}

#[derive(Clone, Copy, Debug)]
struct Size {
    cpu: (i32, i32),
    memory: (i32, i32),
    /// Limit of the memory limiter where the preset states another than the formula gives.
    limiter: Option<(i32, i32, i32)>,
}

const fn size(cpu: (i32, i32), memory: (i32, i32), limiter: Option<(i32, i32, i32)>) -> Size {
    Size { cpu, memory, limiter }
}

const PRESETS: [Preset; 4] = [
    Preset {
        name: "size_s",
        replicas: (1, 5),
        gateway: size((300, 300), (300, 300), Some((250, 50, 200))),
        node: size((150, 300), (150, 300), Some((250, 50, 200))),
    },
    Preset {
        name: "size_m",
        replicas: (2, 8),
        gateway: size((1000, 1000), (600, 600), Some((550, 110, 440))),
        node: size((250, 500), (250, 500), Some((450, 90, 360))),
    },
    Preset {
        name: "size_l",
        replicas: (3, 12),
        gateway: size((1250, 1250), (850, 850), Some((800, 160, 640))),
        node: size((500, 750), (500, 750), Some((700, 140, 560))),
    },
    Preset {
        name: "size_xl",
        replicas: (5, 15),
        gateway: size((1500, 1500), (2000, 2000), Some((1950, 390, 1560))),
        node: size((1000, 1000), (1024, 1024), Some((974, 194, 779))),
    },
];

/// Names of the presets, for messages.
pub(crate) const PRESET_NAMES: [&str; PRESETS.len()] = {
    let mut names = [""; PRESETS.len()];
    let mut index = 0;
    while index < PRESETS.len() {
        names[index] = PRESETS[index].name;
        index += 1;
    }
    names
};

/// Smallest memory that a collector starts with.
const MINIMUM_MEMORY: i32 = 128;

fn preset(configuration: &Configuration) -> Option<&'static Preset> {
    let name = configuration.text("resourceSizePreset");
    // Without the key the numbers of a hand-written document stand alone; an unknown name means the default preset.
    match name {
        None if has_own_memory(configuration) => None,
        None => PRESETS.get(1),
        Some(name) => PRESETS.iter().find(|preset| preset.name == name).or(PRESETS.get(1)),
    }
}

fn has_own_memory(configuration: &Configuration) -> bool {
    ["collectorGateway", "collectorNode"].iter().any(|block| {
        ["requestMemoryMiB", "limitMemoryMiB"]
            .iter()
            .any(|key| configuration.number(&format!("{block}.{key}")).is_some())
    })
}

/// Hard limit, spike and soft garbage collection limit of the memory limiter for `base` MiB (2.3).
#[must_use]
pub const fn limits(base: i32) -> (i32, i32, i32) {
    let by_margin = base - 50;
    let by_share = base * 85 / 100;
    let hard = if by_margin > by_share { by_margin } else { by_share };
    (hard, hard * 20 / 100, hard * 80 / 100)
}

/// Resources of the gateway.
#[must_use]
pub fn gateway(configuration: &Configuration) -> ResourcesSettings {
    let preset = preset(configuration);
    let own = Own { configuration, block: "collectorGateway" };
    let size = preset.map(|preset| preset.gateway);
    let request = own.number("requestMemoryMiB");
    let limit = own.number("limitMemoryMiB");
    let (request, limit) = match (request, limit, size) {
        (Some(request), Some(limit), _) => (request, limit),
        // With a preset the two mirror each other when one is stated; without one the limit leaves a quarter of air.
        (Some(one), None, Some(_)) | (None, Some(one), Some(_)) => (one, one),
        (Some(request), None, None) => (request, request * 125 / 100),
        (None, Some(limit), None) => (limit.min(500), limit),
        (None, None, Some(size)) => size.memory,
        (None, None, None) => (500, 625),
    };
    let cpu = size.map_or((500, 1000), |size| size.cpu);
    let replicas = preset.map_or((1, 10), |preset| preset.replicas);
    let stated = own.memory_is_stated();
    let computed = size.and_then(|size| size.limiter).filter(|_| !stated).unwrap_or(limits(request.min(limit)));
    let (least, most) = range(own.number("minReplicas"), own.number("maxReplicas"), replicas);
    ResourcesSettings {
        min_replicas: Some(least),
        max_replicas: Some(most),
        ..own.settings((request.min(limit), limit), cpu, computed)
    }
}

/// Resources of the node collector.
#[must_use]
pub fn node(configuration: &Configuration) -> ResourcesSettings {
    let preset = preset(configuration);
    let own = Own { configuration, block: "collectorNode" };
    let size = preset.map(|preset| preset.node);
    let request = own.number("requestMemoryMiB");
    let limit = own.number("limitMemoryMiB");
    let (request, limit) = match (request, limit, size) {
        (Some(request), Some(limit), _) => (request, limit),
        (Some(one), None, Some(_)) => (one, one),
        (None, Some(limit), _) => (limit.min(256), limit),
        (Some(request), None, None) => (request, request * 2),
        (None, None, Some(size)) => size.memory,
        (None, None, None) => (256, 512),
    };
    let cpu = size.map_or((250, 500), |size| size.cpu);
    let stated = own.memory_is_stated();
    let computed = size.and_then(|size| size.limiter).filter(|_| !stated).unwrap_or(limits(limit));
    own.settings((request.min(limit), limit), cpu, computed)
}

/// A lower and an upper number that an API server accepts together: a default gives way to the other one, and of two that are stated the
/// upper one counts.
fn range(least: Option<i32>, most: Option<i32>, default: (i32, i32)) -> (i32, i32) {
    match (least, most) {
        (Some(least), Some(most)) => (least.min(most), most),
        (Some(least), None) => (least, default.1.max(least)),
        (None, Some(most)) => (default.0.min(most), most),
        (None, None) => default,
    }
}

/// The user's own numbers of one collector.
struct Own<'a> {
    configuration: &'a Configuration,
    block: &'static str,
}

impl Own<'_> {
    fn number(&self, key: &str) -> Option<i32> {
        self.configuration.number(&format!("{}.{key}", self.block)).filter(|number| *number > 0)
    }

    fn memory_is_stated(&self) -> bool {
        ["requestMemoryMiB", "limitMemoryMiB"].iter().any(|key| self.number(key).is_some())
    }

    fn settings(&self, memory: (i32, i32), cpu: (i32, i32), limiter: (i32, i32, i32)) -> ResourcesSettings {
        // A limiter at the container's limit would leave it to the kernel to end the collector.
        let hard = self.number("memoryLimiterLimitMiB").filter(|hard| *hard < memory.1).unwrap_or(limiter.0);
        // The other two follow the hard limit that is in force.
        let (spike, soft) = if hard == limiter.0 { (limiter.1, limiter.2) } else { (hard * 20 / 100, hard * 80 / 100) };
        let cpu = range(self.number("requestCPUm"), self.number("limitCPUm"), cpu);
        ResourcesSettings {
            min_replicas: None,
            max_replicas: None,
            memory_request_mib: memory.0,
            memory_limit_mib: memory.1,
            cpu_request_millicores: cpu.0,
            cpu_limit_millicores: cpu.1,
            memory_limiter_limit_mib: hard,
            // The collector does not start with a spike limit at the hard limit.
            memory_limiter_spike_limit_mib: self
                .number("memoryLimiterSpikeLimitMiB")
                .filter(|spike| *spike < hard)
                .unwrap_or(spike),
            gomemlimit_mib: self.number("goMemLimitMiB").filter(|soft| *soft <= memory.1).unwrap_or(soft),
        }
    }
}

/// Sizes that cannot work, each with what to change.
#[must_use]
pub fn findings(configuration: &Configuration, object: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (block, sizes) in [("collectorGateway", gateway(configuration)), ("collectorNode", node(configuration))] {
        findings.extend(findings_of(&Own { configuration, block }, &sizes, object, block));
    }
    findings
}

/// What of the sizes of a dedicated pool cannot work; `path` is where its settings are, `configuration` has them as those of gateways.
#[must_use]
pub fn findings_of_pool(configuration: &Configuration, object: &str, path: &str) -> Vec<Finding> {
    let own = Own { configuration, block: "collectorGateway" };
    findings_of(&own, &gateway(configuration), object, path)
}

/// What of one collector's own numbers is not used, and what is used instead.
fn findings_of(own: &Own<'_>, sizes: &ResourcesSettings, object: &str, path: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if sizes.memory_limit_mib < MINIMUM_MEMORY {
        let message =
            format!("{} MiB are too little for a collector; use at least {MINIMUM_MEMORY}", sizes.memory_limit_mib);
        findings.push(Finding::error(object, format!("{path}.limitMemoryMiB"), message));
    }
    let memory = format!("the memory limit of {} MiB", sizes.memory_limit_mib);
    let hard = format!("the memory limiter's {} MiB", sizes.memory_limiter_limit_mib);
    let rejected = "an API server rejects that";
    for (key, used, bound, why) in [
        ("requestMemoryMiB", sizes.memory_request_mib, format!("above {memory}"), rejected),
        (
            "requestCPUm",
            sizes.cpu_request_millicores,
            format!("above limitCPUm {}", sizes.cpu_limit_millicores),
            rejected,
        ),
        (
            "memoryLimiterLimitMiB",
            sizes.memory_limiter_limit_mib,
            format!("not below {memory}"),
            "the kernel would end the collector first",
        ),
        (
            "memoryLimiterSpikeLimitMiB",
            sizes.memory_limiter_spike_limit_mib,
            format!("not below {hard}"),
            "the collector does not start with it",
        ),
        ("goMemLimitMiB", sizes.gomemlimit_mib, format!("above {memory}"), "the kernel would end the collector first"),
        (
            "minReplicas",
            sizes.min_replicas.unwrap_or_default(),
            format!("above maxReplicas {}", sizes.max_replicas.unwrap_or_default()),
            rejected,
        ),
    ] {
        if let Some(stated) = own.number(key).filter(|stated| *stated != used) {
            let message = format!("{stated} is {bound}, and {why}; {used} is used. Write a lower number");
            findings.push(Finding::error(object, format!("{path}.{key}"), message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(text: &str) -> (ResourcesSettings, ResourcesSettings) {
        let configuration = Configuration::parse(text).unwrap();
        (gateway(&configuration), node(&configuration))
    }

    fn trio(settings: &ResourcesSettings) -> (i32, i32, i32) {
        (settings.memory_limiter_limit_mib, settings.memory_limiter_spike_limit_mib, settings.gomemlimit_mib)
    }

    #[test]
    fn golden_values_of_the_formula() {
        for (base, expected) in [
            (128, (108, 21, 86)),
            (256, (217, 43, 173)),
            (333, (283, 56, 226)),
            (334, (284, 56, 227)),
            (512, (462, 92, 369)),
            (600, (550, 110, 440)),
            (1024, (974, 194, 779)),
        ] {
            assert_eq!(limits(base), expected, "{base}");
        }
    }

    #[test]
    fn a4_the_default_preset() {
        let (gateway, node) = sizes("{}");
        assert_eq!((gateway.min_replicas, gateway.max_replicas), (Some(2), Some(8)));
        assert_eq!((gateway.memory_request_mib, gateway.memory_limit_mib), (600, 600));
        assert_eq!((gateway.cpu_request_millicores, gateway.cpu_limit_millicores), (1000, 1000));
        assert_eq!(trio(&gateway), (550, 110, 440));
        assert_eq!((node.memory_request_mib, node.memory_limit_mib, trio(&node)), (250, 500, (450, 90, 360)));
    }

    #[test]
    fn a5_a6_numbers_without_a_preset() {
        let (gateway, _) = sizes("collectorGateway: {requestMemoryMiB: 256}");
        assert_eq!((gateway.memory_limit_mib, trio(&gateway)), (320, (217, 43, 173)));
        let (_, node) = sizes("collectorNode: {limitMemoryMiB: 512}");
        assert_eq!((node.memory_request_mib, trio(&node)), (256, (462, 92, 369)));
    }

    #[test]
    fn a7_a8_own_numbers_over_a_preset() {
        let (gateway, _) = sizes("resourceSizePreset: size_m\ncollectorGateway: {MinReplicas: 3, limitMemoryMiB: 400}");
        assert_eq!(gateway.min_replicas, Some(3));
        assert_eq!(trio(&gateway), (350, 70, 280));
        let (gateway, _) = sizes("resourceSizePreset: size_m\ncollectorGateway: {goMemLimitMiB: 300}");
        assert_eq!(trio(&gateway), (550, 110, 300));
    }

    #[test]
    fn every_preset_is_sound() {
        for preset in PRESETS {
            let configuration = Configuration::parse(&format!("resourceSizePreset: {}", preset.name)).unwrap();
            assert_eq!(findings(&configuration, "x"), vec![], "{}", preset.name);
        }
    }

    /// As `docs/scaling.md` lists them.
    #[test]
    fn presets_bound_the_replicas_of_gateways() {
        for (preset, least, most) in [("size_s", 1, 5), ("size_m", 2, 8), ("size_l", 3, 12), ("size_xl", 5, 15)] {
            let (gateway, _) = sizes(&format!("resourceSizePreset: {preset}"));
            assert_eq!((gateway.min_replicas, gateway.max_replicas), (Some(least), Some(most)), "{preset}");
        }
    }

    #[test]
    fn number_that_another_excludes_is_not_used() {
        let (gateway, node) = sizes(
            "collectorGateway: {requestMemoryMiB: 800, limitMemoryMiB: 600, requestCPUm: 2000, limitCPUm: 500, memoryLimiterSpikeLimitMiB: 700, goMemLimitMiB: 900, minReplicas: 9, maxReplicas: 5}\n\
             collectorNode: {memoryLimiterLimitMiB: 500, requestMemoryMiB: 250, limitMemoryMiB: 500}",
        );
        assert_eq!((gateway.memory_request_mib, gateway.memory_limit_mib), (600, 600));
        assert_eq!((gateway.cpu_request_millicores, gateway.cpu_limit_millicores), (500, 500));
        assert_eq!((gateway.min_replicas, gateway.max_replicas), (Some(5), Some(5)));
        assert_eq!((trio(&gateway), trio(&node)), ((550, 110, 440), (450, 90, 360)));
    }

    #[test]
    fn default_gives_way_to_a_stated_number() {
        let (gateway, node) = sizes(
            "resourceSizePreset: size_m\ncollectorGateway: {minReplicas: 9, requestCPUm: 2000}\ncollectorNode: {limitCPUm: 100}",
        );
        assert_eq!((gateway.min_replicas, gateway.max_replicas), (Some(9), Some(9)));
        assert_eq!((gateway.cpu_request_millicores, gateway.cpu_limit_millicores), (2000, 2000));
        assert_eq!((node.cpu_request_millicores, node.cpu_limit_millicores), (100, 100));
    }

    #[test]
    fn sizes_that_cannot_work_are_named() {
        let configuration = Configuration::parse(
            "collectorGateway: {requestMemoryMiB: 800, limitMemoryMiB: 600, requestCPUm: 2000, limitCPUm: 500, memoryLimiterLimitMiB: 600, \
             memoryLimiterSpikeLimitMiB: 700, goMemLimitMiB: 900, minReplicas: 9, maxReplicas: 5}\n\
             collectorNode: {limitMemoryMiB: 64, requestMemoryMiB: 64}",
        )
        .unwrap();
        let fields: Vec<String> = findings(&configuration, "x").into_iter().map(|finding| finding.field).collect();
        assert_eq!(
            fields,
            [
                "collectorGateway.requestMemoryMiB",
                "collectorGateway.requestCPUm",
                "collectorGateway.memoryLimiterLimitMiB",
                "collectorGateway.memoryLimiterSpikeLimitMiB",
                "collectorGateway.goMemLimitMiB",
                "collectorGateway.minReplicas",
                "collectorNode.limitMemoryMiB",
            ]
        );
        let (gateway, _) = sizes("collectorGateway: {requestMemoryMiB: 800, limitMemoryMiB: 600}");
        assert_eq!((gateway.memory_request_mib, gateway.memory_limit_mib), (600, 600));
    }
}
