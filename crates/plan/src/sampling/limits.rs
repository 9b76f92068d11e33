//! How much of what people write about sampling a gateway takes: its sampler is one component, and one ConfigMap has to hold it.
//!
//! Owns the limits of one object, which admission enforces, and who goes first where all together are too much: objects that take more than
//! their share, then those that came last; of health probes those of the namespaces that have most. What is left out says so, and all others
//! stay. Never decides what a rule means.

use super::accept::Accepted;
use super::gate;
use super::predicate;
use super::probes::{self, Probe};
use super::rule::{Category, ContainerKey, Percentage, Rule};
use odigos_api::Finding;
use odigos_api::sampling::SamplingSpec;
use odigos_pipeline::ottl::Condition;
use odigos_pipeline::yaml;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Most rules of one object.
pub const MOST_RULES: usize = 250;
/// Bytes that the rules of one object may come to in the configuration of a gateway.
pub const OBJECT_LIMIT: usize = 256 * 1024;
/// Rules beyond which an object is not even read: so many cannot fit into a gateway.
pub(super) const MOST_READ: usize = 2_000;
/// Bytes of all rules together. The component that holds them has a ConfigMap of its own.
const TOTAL_LIMIT: usize = 900 * 1024;
/// Bytes that a condition is moved to the right by, at most.
const AROUND: usize = 40;

/// How many rules an object states.
#[must_use]
pub fn count(spec: &SamplingSpec) -> usize {
    spec.noisy_operations.len() + spec.highly_relevant_operations.len() + spec.cost_reduction_rules.len()
}

/// The conditions that a rule comes to, once for each policy in which they stand.
fn conditions(rule: &Rule) -> Vec<Condition> {
    let (matches, with) = (|| predicate::matches(rule), |gate| predicate::condition(rule, gate));
    let fail = || with(gate::fail(rule.percentage));
    let all = match rule.category {
        Category::Noisy => vec![fail(), (rule.percentage > Percentage::ZERO).then(matches)],
        // What keeps a trace, and twice what keeps others from deciding.
        Category::HighlyRelevant => vec![with(gate::pass(rule.percentage)), Some(matches()), Some(matches())],
        Category::CostReduction => vec![fail(), fail(), Some(matches())],
    };
    all.into_iter().flatten().collect()
}

/// Bytes of a rule in the configuration of a gateway.
fn rendered(rule: &Rule) -> usize {
    let size = |condition: Condition| yaml::to_string(&json!([condition.to_string()])).len() + AROUND;
    conditions(rule).into_iter().map(size).sum()
}

/// Bytes of rules in the configuration of a gateway.
#[must_use]
pub fn size<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> usize {
    rules.into_iter().map(rendered).sum()
}

/// Whether a policy for each rule fits, in which every cost reduction rule repeats what blocks it.
#[must_use]
pub fn fit_one_by_one(rules: &[&Rule]) -> bool {
    let of = |category: Category| rules.iter().copied().filter(move |rule| rule.category == category);
    let costly = of(Category::CostReduction).count();
    let blocking = (size(of(Category::CostReduction)) + size(of(Category::HighlyRelevant))) / 3;
    size(rules.iter().copied()) + costly * blocking <= TOTAL_LIMIT
}

impl Accepted {
    /// Leaves out the objects for whose rules a gateway has no room.
    pub(super) fn fit(&mut self) {
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for rule in &self.rules {
            *sizes.entry(&rule.origin.object).or_default() += rendered(rule);
        }
        let sizes: BTreeMap<String, usize> = sizes.into_iter().map(|(name, size)| (name.to_owned(), size)).collect();
        let mut order: Vec<&String> = sizes.keys().filter(|name| self.objects.contains_key(*name)).collect();
        order.sort_by_key(|name| {
            let created = self.objects[*name].created;
            // What was not created yet comes last.
            (sizes[*name] > OBJECT_LIMIT, created.is_none(), created, *name)
        });
        let mut total = 0;
        let mut late = BTreeSet::new();
        for name in order {
            match total + sizes[name] {
                sum if sum > TOTAL_LIMIT => drop(late.insert(name.clone())),
                sum => total = sum,
            }
        }
        for (name, size) in &sizes {
            let Some(facts) = self.objects.get_mut(name) else { continue };
            facts.rendered = *size;
            if late.contains(name) {
                let message = format!(
                    "its rules come to {} KiB of a gateway's configuration, and all rules together have {} KiB; use fewer rules, join them, or scope them by namespace",
                    size / 1024,
                    TOTAL_LIMIT / 1024
                );
                self.findings.push(facts.leave_out(message));
            }
        }
        self.rules.retain(|rule| !late.contains(&rule.origin.object));
    }

    /// Adds the rules of health probes, as far as there is room for them.
    pub fn add_probes(&mut self, mut found: BTreeMap<ContainerKey, BTreeSet<Probe>>, keep: Percentage) {
        let room = TOTAL_LIMIT.saturating_sub(size(&self.rules));
        let all = probes::rules(&found, keep);
        if size(&all) <= room {
            return self.add(all);
        }
        let mut by_namespace: BTreeMap<&str, usize> = BTreeMap::new();
        for (key, probes) in &found {
            let paths: usize = probes.iter().map(|probe| probe.to_path().len()).sum();
            let names = key.source.namespace.len() + key.source.name.len() + key.container.len();
            *by_namespace.entry(&key.source.namespace).or_default() += paths + names;
        }
        let mut order: Vec<(usize, String)> =
            by_namespace.into_iter().map(|(namespace, size)| (size, namespace.to_owned())).collect();
        order.sort();
        let of_first = |count: usize| -> Vec<Rule> {
            let taken: BTreeSet<&str> = order.iter().take(count).map(|(_, namespace)| namespace.as_str()).collect();
            let of = found.iter().filter(|(key, _)| taken.contains(key.source.namespace.as_str()));
            probes::rules(&of.map(|(key, probes)| (key.clone(), probes.clone())).collect(), keep)
        };
        // The largest number of namespaces that fits lies in between.
        let (mut least, mut most) = (0, order.len());
        while least + 1 < most {
            let middle = usize::midpoint(least, most);
            if size(&of_first(middle)) <= room { least = middle } else { most = middle }
        }
        self.add(of_first(least));
        let late: Vec<&str> = order.iter().skip(least).map(|(_, namespace)| namespace.as_str()).collect();
        found.retain(|key, _| late.contains(&key.source.namespace.as_str()));
        let shown = late.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        self.left_out_probes = Some(format!(
            "the health probes of {} containers are not sampled, since rules for them do not fit into {} KiB: those of the namespaces that have most, {shown}{}",
            found.len(),
            room / 1024,
            if late.len() > 5 { " and others" } else { "" },
        ));
    }
}

impl super::accept::ObjectFacts {
    /// Takes every rule of the object out of decisions, and says why.
    pub(super) fn leave_out(&mut self, message: String) -> Finding {
        self.enabled = 0;
        let finding = Finding::error(self.title.clone(), "spec", message.clone());
        self.left_out = Some(message);
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::SourceKey;
    use super::super::{accept, compile};
    use super::*;
    use odigos_api::WorkloadKind;
    use odigos_api::sampling::Sampling;
    use serde_json::Value;
    use std::time::{Duration, Instant};

    fn sampling(name: &str, created: &str, spec: &Value) -> Sampling {
        let metadata = json!({"name": name, "namespace": "odigos-system", "creationTimestamp": created});
        let object =
            json!({"apiVersion": odigos_api::API_VERSION, "kind": "Sampling", "metadata": metadata, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    fn routes(name: &str, count: usize, length: usize) -> Value {
        let rule = |number: usize| {
            let route = format!("/{name}/{number}/{}", "x".repeat(length));
            json!({"percentageAtMost": 10, "operation": {"httpServer": {"route": route}}})
        };
        json!({"costReductionRules": (0..count).map(rule).collect::<Vec<Value>>()})
    }

    #[test]
    fn object_that_takes_too_much_is_left_out_and_others_stay() {
        // Whoever came first pushes nobody out by growing.
        let all = [
            sampling("first", "2026-01-01T00:00:00Z", &routes("first", 240, 900)),
            sampling("second", "2026-01-02T00:00:00Z", &routes("second", 20, 20)),
            sampling("third", "2026-01-03T00:00:00Z", &routes("third", 20, 20)),
        ];
        let accepted = accept(&all);
        let out = |name: &str| accepted.objects[name].left_out.is_some();
        assert_eq!((out("first"), out("second"), out("third")), (true, false, false));
        assert_eq!(accepted.rules.len(), 40);
        let finding = accepted.findings.iter().find(|one| one.object.ends_with("/first")).unwrap();
        assert!(finding.message.contains("KiB") && finding.field == "spec", "{finding}");
        // Alone it stays: what worked before there was a limit works on.
        let one = accept(&[sampling("alone", "2026-01-01T00:00:00Z", &routes("alone", 300, 20))]);
        assert!(one.objects["alone"].left_out.is_none() && one.objects["alone"].rendered > OBJECT_LIMIT);
        let many = accept(&[sampling("many", "2026-01-01T00:00:00Z", &routes("many", MOST_READ + 1, 1))]);
        assert!(many.rules.is_empty() && many.objects["many"].left_out.is_some());
    }

    /// What is measured before is what the compiler makes, in every form that is taken.
    #[test]
    fn compiled_rules_are_no_larger_than_what_was_measured() {
        let accepted = accept(&[
            sampling("a", "2026-01-01T00:00:00Z", &routes("a", 100, 100)),
            sampling(
                "b",
                "2026-01-01T00:00:00Z",
                &json!({"highlyRelevantOperations": [{"error": true}], "noisyOperations": [{"percentageAtMost": 7, "operation": {"httpServer": {"routePrefix": "/b"}}}]}),
            ),
        ]);
        let rules: Vec<&Rule> = accepted.rules.iter().collect();
        for form in [compile::Form::Shared, compile::Form::ByCategory] {
            let text = yaml::to_string(&Value::Array(compile::compile(&rules, form).policies));
            assert!(text.len() <= size(rules.iter().copied()) + 2_000, "{} {form:?}", text.len());
        }
        assert!(!fit_one_by_one(&rules), "each of a hundred rules would repeat a hundred");
        assert!(fit_one_by_one(&rules[..5]));
    }

    #[test]
    fn probes_of_the_namespace_that_has_most_are_left_out() {
        let mut found: BTreeMap<ContainerKey, BTreeSet<Probe>> = BTreeMap::new();
        let mut add = |namespace: &str, number: usize, path: &str| {
            let name = format!("w{number}");
            let source = SourceKey { namespace: namespace.into(), kind: WorkloadKind::Deployment, name };
            found.insert(ContainerKey { source, container: "c".into() }, [Probe::parse(path)].into());
        };
        (0..500).for_each(|number| add("shop", number, "/healthz"));
        (0..600).for_each(|number| add("evil", number, &format!("/{number}/{}", "x".repeat(900))));
        let mut accepted = Accepted::default();
        accepted.add_probes(found, Percentage::ZERO);
        assert_eq!(accepted.rules.len(), 1);
        let said = accepted.left_out_probes.unwrap();
        assert!(said.contains("600 containers") && said.ends_with("have most, evil"), "{said}");
    }

    /// A thousand rules, in four objects: a second at most, without optimisation.
    #[test]
    fn thousand_rules_are_read_and_compiled_in_time() {
        let names = ["a", "b", "c", "d"];
        let all: Vec<Sampling> =
            names.iter().map(|name| sampling(name, "2026-01-01T00:00:00Z", &routes(name, 250, 12))).collect();
        let begin = Instant::now();
        let mut accepted = accept(&all);
        accepted.remark_vain();
        let rules: Vec<&Rule> = accepted.enabled().collect();
        let compiled = compile::compile(&rules, compile::Form::ByCategory);
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(10), "{} rules, {} conditions: {took:?}", rules.len(), compiled.conditions);
    }
}
