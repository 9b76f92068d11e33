//! Requests and limits of the init container within the LimitRanges of a namespace, which would refuse the pod otherwise.
//!
//! Owns how a LimitRange is read and what is made of the amounts that the configuration names. Of what it says of whole pods only the
//! largest amount counts: an init container alone may not exceed it, and adds nothing to what the containers take. Never reads a cluster.

use crate::quantity;
use k8s_openapi::api::core::v1::LimitRange;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// What containers of a namespace may request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Millicores.
    pub cpu: Range,
    /// MiB.
    pub memory: Range,
}

/// Smallest and largest amount, and how many times the request a limit may be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Range {
    least: Option<i64>,
    most: Option<i64>,
    ratio: Option<f64>,
}

impl Bounds {
    /// Reads all LimitRanges of a namespace: each of them must be kept.
    #[must_use]
    pub fn of<'a>(ranges: impl IntoIterator<Item = &'a LimitRange>) -> Self {
        let mut bounds = Self::default();
        let items = ranges.into_iter().flat_map(|range| range.spec.iter().flat_map(|spec| &spec.limits));
        for item in items.filter(|item| matches!(item.type_.as_str(), "Container" | "Pod")) {
            let is_pod = item.type_ == "Pod";
            for (range, name, unit) in [(&mut bounds.cpu, "cpu", 0.001), (&mut bounds.memory, "memory", 1_048_576.0)] {
                let amount =
                    |all: &Option<BTreeMap<String, Quantity>>| quantity::parse(all.as_ref()?.get(name)?.0.trim());
                // Rounded into the range.
                let most = amount(&item.max).map(|most| (most / unit).floor() as i64);
                range.most = [range.most, most].into_iter().flatten().min();
                if is_pod {
                    continue;
                }
                let least = amount(&item.min).map(|least| (least / unit).ceil() as i64);
                range.least = range.least.max(least);
                let ratio = amount(&item.max_limit_request_ratio);
                range.ratio = [range.ratio, ratio].into_iter().flatten().reduce(f64::min);
            }
        }
        bounds
    }
}

impl Range {
    /// Request and limit, as near to the wanted ones as the range allows.
    #[must_use]
    pub fn fit(&self, (request, limit): (i64, i64)) -> (i64, i64) {
        let within = |amount: i64| {
            let amount = self.most.map_or(amount, |most| amount.min(most));
            self.least.map_or(amount, |least| amount.max(least)).max(1)
        };
        let limit = within(limit);
        let mut request = within(request).min(limit);
        if let Some(ratio) = self.ratio.filter(|ratio| *ratio >= 1.0) {
            request = request.max((limit as f64 / ratio).ceil() as i64).min(limit);
        }
        (request, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn bounds(limits: &[Value]) -> Bounds {
        let range = json!({"metadata": {"name": "r"}, "spec": {"limits": limits}});
        Bounds::of([&serde_json::from_value(range).unwrap()])
    }

    #[test]
    fn amounts_are_moved_into_the_range() {
        assert_eq!(Bounds::of([]).cpu.fit((10, 300)), (10, 300));
        let found = bounds(&[json!({
            "type": "Container", "max": {"cpu": "200m", "memory": "256Mi"}, "min": {"cpu": "0.05", "memory": "64Mi"},
        })]);
        assert_eq!((found.cpu.fit((10, 300)), found.memory.fit((32, 300))), ((50, 200), (64, 256)));
        assert_eq!(found.cpu.fit((500, 900)), (200, 200));
        // Each of several, and what is not about containers or pods does not count.
        let found = bounds(&[
            json!({"type": "Container", "max": {"memory": "1Gi"}}),
            json!({"type": "Container", "max": {"memory": "100M"}}),
            json!({"type": "PersistentVolumeClaim", "max": {"memory": "1Mi"}}),
            json!({"type": "Pod", "max": {"memory": "200Mi"}, "min": {"memory": "150Mi"}}),
        ]);
        assert_eq!(found.memory.fit((32, 300)), (32, 95));
        let found = bounds(&[json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "4", "memory": "1"}})]);
        assert_eq!((found.cpu.fit((10, 300)), found.memory.fit((32, 300))), ((75, 300), (300, 300)));
    }
}
