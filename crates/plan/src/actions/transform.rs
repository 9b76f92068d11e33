//! What an Action becomes: settings of a stock processor, as trees that are printed once.
//!
//! Owns the shapes of the processors `transform`, `resource` and `filter` (`spec/actions-and-rules.md` 2.10). Texts of users stand in trees
//! of [`odigos_pipeline::ottl`] alone, whose printer quotes them; in the `resource` processor they are escaped here.

use odigos_api::Signal;
use odigos_pipeline::expansion;
use odigos_pipeline::ottl::{Condition, Expression, Path, Statement};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where the statements of a group stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Context {
    /// Once for a resource.
    Resource,
    /// Once for an instrumentation scope.
    Scope,
    /// For each span.
    Span,
    /// For each event of a span.
    Event,
    /// For each data point.
    Point,
    /// For each log record.
    Log,
}

impl Context {
    /// Its name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Scope => "scope",
            Self::Span => "span",
            Self::Event => "spanevent",
            Self::Point => "datapoint",
            Self::Log => "log",
        }
    }

    /// Every context that items of a signal have, from the outermost.
    #[must_use]
    pub const fn of(signal: Signal) -> &'static [Self] {
        match signal {
            Signal::Traces => &[Self::Resource, Self::Scope, Self::Span, Self::Event],
            Signal::Metrics => &[Self::Resource, Self::Scope, Self::Point],
            Signal::Logs => &[Self::Resource, Self::Scope, Self::Log],
            Signal::Profiles => &[],
        }
    }
}

/// Statements of one context that run where a condition holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Where they stand.
    pub context: Context,
    /// When they run; always when absent.
    pub condition: Option<Condition>,
    /// What they do, in order.
    pub statements: Vec<Statement>,
}

/// An attribute of resources that is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whether it replaces one that is there.
    pub replaces: bool,
}

/// The settings of a processor.
#[derive(Clone, Debug, PartialEq)]
pub enum Settings {
    /// `resource`.
    Resource(Vec<Added>),
    /// `transform`: groups by signal.
    Transform(BTreeMap<Signal, Vec<Group>>),
    /// `filter`: drops the items of these signals, all of them or those for which a condition over their resource holds.
    Filter {
        /// Whose items are dropped.
        signals: Vec<Signal>,
        /// Which of them; all when absent.
        condition: Option<Condition>,
    },
    /// `k8s_attributes`.
    KubernetesAttributes(super::kubernetes::Extraction),
}

impl Settings {
    /// The processor's type.
    #[must_use]
    pub const fn component_type(&self) -> &'static str {
        match self {
            Self::Resource(_) => "resource",
            Self::Transform(_) => "transform",
            Self::Filter { .. } => "filter",
            Self::KubernetesAttributes(_) => "k8s_attributes",
        }
    }

    /// The settings as the collector reads them.
    #[must_use]
    pub fn rendered(&self) -> Value {
        match self {
            Self::Resource(all) => {
                let added = |one: &Added| {
                    let action = if one.replaces { "upsert" } else { "insert" };
                    let [key, value] = [&one.key, &one.value].map(|text| expansion::escaped(json!(text)));
                    json!({"key": key, "value": value, "action": action})
                };
                json!({"attributes": all.iter().map(added).collect::<Vec<_>>()})
            }
            Self::KubernetesAttributes(extraction) => extraction.rendered(),
            Self::Transform(signals) => {
                let mut settings = json!({"error_mode": "ignore"});
                for (signal, groups) in signals {
                    let groups: Vec<Value> = groups.iter().map(Group::rendered).collect();
                    settings[field(*signal)] = json!(groups);
                }
                settings
            }
            Self::Filter { signals, condition } => {
                let dropped = condition.as_ref().map_or_else(|| "true".to_owned(), ToString::to_string);
                // What cannot be judged is not let through either.
                let mut settings = json!({"error_mode": "propagate"});
                for signal in signals {
                    match signal {
                        Signal::Traces => settings["traces"] = json!({"span": [dropped]}),
                        Signal::Metrics => settings["metrics"] = json!({"metric": [dropped]}),
                        Signal::Logs => settings["logs"] = json!({"log_record": [dropped]}),
                        Signal::Profiles => {}
                    }
                }
                settings
            }
        }
    }
}

/// A condition with each part that `replace` knows in other words.
fn replaced(condition: &Condition, replace: &dyn Fn(&Condition) -> Option<Condition>) -> Condition {
    let all = |parts: &[Condition]| parts.iter().map(|part| replaced(part, replace)).collect();
    replace(condition).unwrap_or_else(|| match condition {
        Condition::All(parts) => Condition::All(all(parts)),
        Condition::Any(parts) => Condition::Any(all(parts)),
        Condition::Not(inner) => Condition::Not(Box::new(replaced(inner, replace))),
        other => other.clone(),
    })
}

impl Settings {
    /// The same settings with parts of their conditions in other words.
    pub(super) fn replacing(&self, replace: &dyn Fn(&Condition) -> Option<Condition>) -> Self {
        let in_other_words =
            |condition: &Option<Condition>| condition.as_ref().map(|condition| replaced(condition, replace));
        let statement = |one: &Statement| Statement { condition: in_other_words(&one.condition), ..one.clone() };
        let group = |one: &Group| Group {
            context: one.context,
            condition: in_other_words(&one.condition),
            statements: one.statements.iter().map(statement).collect(),
        };
        match self {
            Self::Transform(signals) => Self::Transform(
                signals.iter().map(|(signal, groups)| (*signal, groups.iter().map(group).collect())).collect(),
            ),
            Self::Filter { signals, condition } => {
                Self::Filter { signals: signals.clone(), condition: in_other_words(condition) }
            }
            Self::Resource(_) | Self::KubernetesAttributes(_) => self.clone(),
        }
    }
}

impl Group {
    /// The statements of a context, without condition.
    #[must_use]
    pub const fn always(context: Context, statements: Vec<Statement>) -> Self {
        Self { context, condition: None, statements }
    }

    fn rendered(&self) -> Value {
        let statements: Vec<String> = self.statements.iter().map(ToString::to_string).collect();
        let mut group = json!({"context": self.context.as_str(), "statements": statements});
        if let Some(condition) = &self.condition {
            group["conditions"] = json!([condition.to_string()]);
        }
        group
    }
}

/// The field of a `transform` processor that holds the groups of a signal.
const fn field(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "trace_statements",
        Signal::Metrics => "metric_statements",
        Signal::Logs => "log_statements",
        Signal::Profiles => "profile_statements",
    }
}

/// `attributes["key"]` of the context.
pub(super) fn attribute(key: &str) -> Expression {
    Path::keyed("attributes", key).into()
}

/// `cache["key"]`, which each item has for itself.
pub(super) fn cache(key: &str) -> Expression {
    Path::keyed("cache", key).into()
}

/// Whether a value is there.
pub(super) const fn is_there(value: Expression) -> Condition {
    Condition::NotEqual(value, Expression::Nil)
}

/// Whether a value is not there.
pub(super) const fn is_absent(value: Expression) -> Condition {
    Condition::Equal(value, Expression::Nil)
}

/// Whether a text matches a pattern.
pub(super) fn is_match(value: Expression, pattern: &str) -> Condition {
    Condition::Call("IsMatch", vec![value, pattern.into()])
}

/// What a named group of a pattern takes of a text.
pub(super) fn group_of(value: Expression, pattern: &str, group: &'static str) -> Expression {
    Expression::Element(Box::new(Expression::Call("ExtractPatterns", vec![value, pattern.into()])), group)
}

/// `set(target, value) where condition`.
pub(super) fn set(target: Expression, value: Expression, condition: Option<Condition>) -> Statement {
    Statement { editor: "set", arguments: vec![target, value], condition }
}

/// `delete_key(attributes, "key")`.
pub(super) fn delete(key: &str) -> Statement {
    Statement { editor: "delete_key", arguments: vec![Path::field("attributes").into(), key.into()], condition: None }
}
