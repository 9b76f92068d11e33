//! Which rules can have to do with each other, found without comparing each with each.
//!
//! Owns the keys by which rules are found: what a rule may match is below its own key, and below every wider one. Gives more pairs than
//! match, never fewer; whether one covers or contradicts the other is for `explain` to decide.

use super::rule::{Alternative, ContainerKey, Operation, PathRule, Rule, Scope, SourceKey};
use std::collections::{BTreeMap, BTreeSet};

/// The operation of a rule by what tells most of them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OperationKey<'a> {
    Any,
    HttpServer(Option<&'a PathRule>),
    HttpClient(Option<&'a PathRule>),
    GrpcServer(Option<&'a str>),
    GrpcClient(Option<&'a str>),
    KafkaConsumer(Option<&'a str>),
    KafkaProducer(Option<&'a str>),
}

impl<'a> OperationKey<'a> {
    fn of(operation: &'a Operation) -> Self {
        match operation {
            Operation::Any => Self::Any,
            Operation::HttpServer { path, .. } => Self::HttpServer(path.as_ref()),
            Operation::HttpClient { path, .. } => Self::HttpClient(path.as_ref()),
            Operation::GrpcServer { service, .. } => Self::GrpcServer(service.as_deref()),
            Operation::GrpcClient { service, .. } => Self::GrpcClient(service.as_deref()),
            Operation::KafkaConsumer { topic } => Self::KafkaConsumer(topic.as_deref()),
            Operation::KafkaProducer { topic } => Self::KafkaProducer(topic.as_deref()),
        }
    }

    /// Keys of operations that may cover this one.
    fn wider(self) -> BTreeSet<Self> {
        let open = match self {
            Self::Any => Self::Any,
            Self::HttpServer(_) => Self::HttpServer(None),
            Self::HttpClient(_) => Self::HttpClient(None),
            Self::GrpcServer(_) => Self::GrpcServer(None),
            Self::GrpcClient(_) => Self::GrpcClient(None),
            Self::KafkaConsumer(_) => Self::KafkaConsumer(None),
            Self::KafkaProducer(_) => Self::KafkaProducer(None),
        };
        [self, open, Self::Any].into()
    }
}

/// One part of the scope of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ScopeKey<'a> {
    Everything,
    Source(&'a SourceKey),
    Namespace(&'a str),
    Language(&'a str),
    Alternatives(&'a [Alternative]),
    Containers(&'a BTreeSet<ContainerKey>),
}

impl<'a> ScopeKey<'a> {
    /// Keys under which a rule is found by those that it may cover: each entry of its first list, since what it covers has one of them.
    fn of(scope: &'a Scope) -> Vec<Self> {
        match scope {
            Scope::Lists { sources, .. } if !sources.is_empty() => sources.iter().map(Self::Source).collect(),
            Scope::Lists { namespaces, .. } if !namespaces.is_empty() => {
                namespaces.iter().map(|one| Self::Namespace(one)).collect()
            }
            Scope::Lists { languages, .. } if !languages.is_empty() => {
                languages.iter().map(|one| Self::Language(one)).collect()
            }
            Scope::Lists { .. } | Scope::Everything => vec![Self::Everything],
            Scope::AnyOf(alternatives) => vec![Self::Alternatives(alternatives)],
            Scope::Containers(containers) => vec![Self::Containers(containers)],
        }
    }

    /// Keys of scopes that may cover this one. A list is covered by one that has all of it, so its first entry finds that.
    fn wider(scope: &'a Scope) -> Vec<Self> {
        let mut keys = vec![Self::Everything];
        match scope {
            Scope::Everything => {}
            Scope::Lists { sources, namespaces, languages } => {
                keys.extend(sources.first().map(Self::Source));
                keys.extend(namespaces.first().map(|one| Self::Namespace(one)));
                keys.extend(languages.first().map(|one| Self::Language(one)));
            }
            Scope::AnyOf(alternatives) => keys.push(Self::Alternatives(alternatives)),
            Scope::Containers(containers) => keys.push(Self::Containers(containers)),
        }
        keys
    }
}

type Key<'a> = (OperationKey<'a>, ScopeKey<'a>);

fn own(rule: &Rule) -> Vec<Key<'_>> {
    let operation = OperationKey::of(&rule.operation);
    ScopeKey::of(&rule.scope).into_iter().map(|scope| (operation, scope)).collect()
}

fn wider(rule: &Rule) -> Vec<Key<'_>> {
    let operations = OperationKey::of(&rule.operation).wider();
    let scopes = ScopeKey::wider(&rule.scope);
    operations.iter().flat_map(|operation| scopes.iter().map(|scope| (*operation, *scope))).collect()
}

/// Rules by their keys.
pub(super) struct Neighbours<'a> {
    /// Positions by the keys of each rule.
    covering: BTreeMap<Key<'a>, Vec<usize>>,
    /// Positions by the keys of what may cover each rule.
    covered: BTreeMap<Key<'a>, Vec<usize>>,
}

impl<'a> Neighbours<'a> {
    pub(super) fn of(rules: &[&'a Rule]) -> Self {
        let mut found = Self { covering: BTreeMap::new(), covered: BTreeMap::new() };
        for (position, rule) in rules.iter().copied().enumerate() {
            for key in own(rule) {
                found.covering.entry(key).or_default().push(position);
            }
            for key in wider(rule) {
                found.covered.entry(key).or_default().push(position);
            }
        }
        found
    }

    /// Positions of other rules that may cover the rule at `position`, or that it may cover, in ascending order.
    pub(super) fn around(&self, rule: &Rule, position: usize) -> BTreeSet<usize> {
        let wide = wider(rule).into_iter().filter_map(|key| self.covering.get(&key));
        let narrow = own(rule).into_iter().filter_map(|key| self.covered.get(&key));
        wide.chain(narrow).flatten().copied().filter(|other| *other != position).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::explain::{contradiction, covers};
    use super::super::generate::{Random, random_rules};
    use super::*;

    #[test]
    fn rules_that_cover_or_contradict_each_other_are_neighbours() {
        let (mut related, mut pairs, mut looked_at) = (0, 0, 0);
        for seed in 0..400 {
            let mut random = Random::new(seed);
            let rules: Vec<Rule> = (0..4).flat_map(|_| random_rules(&mut random)).collect();
            let rules: Vec<&Rule> = rules.iter().collect();
            let neighbours = Neighbours::of(&rules);
            for (position, rule) in rules.iter().enumerate() {
                let around = neighbours.around(rule, position);
                looked_at += around.len();
                for (other, one) in rules.iter().enumerate().filter(|(other, _)| *other != position) {
                    pairs += 1;
                    if covers(one, rule) || covers(rule, one) || contradiction(one, rule).is_some() {
                        related += 1;
                        assert!(around.contains(&other), "seed {seed}: {rule:?} and {one:?}");
                    }
                }
            }
        }
        assert!(related > 1000 && looked_at < pairs / 2, "{related} related, {looked_at} of {pairs} looked at");
    }
}
