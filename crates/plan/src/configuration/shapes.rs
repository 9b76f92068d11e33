//! What a key of the configuration accepts.
//!
//! Owns the accepted set of every key of the table and what is wrong with a value outside it. What becomes of such a value is decided in
//! `values`; settings that depend on each other are judged in `relations`, sizes in [`crate::sizing`], pools in [`crate::pools`].

use super::amounts;
use super::texts::{Text, label_key_problem, label_value_problem};
use crate::duration;
use crate::sampling::Percentage;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// True or false, as text too.
    Flag,
    /// A whole number within these bounds, as text too. Where they exclude 0, it counts as not set.
    Number(i32, i32),
    /// A text.
    Text(Text),
    /// One of these texts.
    Word(&'static [&'static str]),
    /// A list of texts, each once.
    Texts(Text),
    /// Labels of Kubernetes objects.
    Labels,
    /// A number from 0 to 100, as text too.
    Percentage,
    /// A duration within these bounds.
    Duration(&'static str, &'static str),
    /// Durations in ascending order.
    Durations,
    /// A point in time.
    Time,
    /// An amount of storage, as Kubernetes writes it: a mebibyte at least.
    Quantity,
    /// Environment variables: a mapping, or a list of `name` and `value`.
    Variables,
    /// Requests and limits of a container.
    Resources,
    /// Tolerations of a pod.
    Tolerations,
    /// Dedicated pools of gateways.
    Pools,
    /// A mapping whose keys are in the table.
    Block,
    /// A mapping of any keys; only for keys that nothing reads.
    Free,
    /// A list of anything; only for keys that nothing reads.
    List,
}

/// A value that is not accepted, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Where in the value; empty for the whole of it.
    pub(super) at: Vec<Step>,
    /// What is wrong, without the value.
    pub(super) message: String,
    /// The part that is wrong where that is not the value, such as the key of a mapping.
    pub(super) part: Option<String>,
    /// Whether it stays although it is reported.
    pub(super) stays: bool,
}

/// A step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// When agents take new sampling rules.
pub(super) const HEAD_SAMPLING: [&str; 2] = ["off", "onRestart"];

/// Levels of collectors' logs.
pub(super) const LOG_LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

impl Shape {
    /// What is expected, for messages and documents.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Flag => "true or false".into(),
            Self::Number(0, i32::MAX) => "a whole number from 0 on".into(),
            Self::Number(least, most) if least == most => format!("{least}"),
            Self::Number(least, most) => format!("a whole number from {least} to {most}"),
            Self::Text(text) => text.words().into(),
            Self::Word(all) => format!("one of {}", all.join(", ")),
            Self::Texts(Text::Any) => "a list of strings".into(),
            Self::Texts(text) => format!("a list of strings, each {}", text.words()),
            Self::Labels => "a mapping of strings to strings: labels".into(),
            Self::Percentage => "a number from 0 to 100".into(),
            Self::Duration(least, most) => format!("a duration from {least} to {most}, such as 30s or 1m30s"),
            Self::Durations => "a list of durations in ascending order, such as 2ms, 10ms, 1s".into(),
            Self::Time => "a time such as 2026-01-31T12:00:00Z".into(),
            Self::Quantity => "an amount of at least 1Mi, such as 2Gi".into(),
            Self::Variables => "a mapping, or a list of `name` and `value`".into(),
            Self::Resources => "`requests` and `limits` of `cpu` and `memory`".into(),
            Self::Tolerations => "a list of tolerations".into(),
            Self::Pools => "a list of pools".into(),
            Self::Block | Self::Free => "a mapping".into(),
            Self::List => "a list".into(),
        }
    }

    /// What of a value is not accepted. A text without anything is the way to set nothing, where texts are expected.
    pub(super) fn problems(self, value: &Value) -> Vec<Problem> {
        let unless =
            |fits: bool| if fits { Vec::new() } else { vec![Problem::whole(format!("expected {}", self.words()))] };
        match (self, value) {
            (_, Value::Null) => Vec::new(),
            (Self::Text(_) | Self::Word(_) | Self::Duration(..) | Self::Quantity | Self::Time, Value::String(text))
                if text.is_empty() =>
            {
                Vec::new()
            }
            (Self::Flag, Value::Bool(_)) | (Self::Block | Self::Free, Value::Object(_)) => Vec::new(),
            // Whoever reads pools judges them.
            (Self::List, Value::Array(_)) | (Self::Pools, _) => Vec::new(),
            // Helm and shells turn everything into texts.
            (Self::Flag, Value::String(text)) => unless(text.parse::<bool>().is_ok()),
            (Self::Number(least, most), value) => {
                let number = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
                unless(number.is_some_and(|number| (i64::from(least)..=i64::from(most)).contains(&number)))
            }
            (Self::Text(kind), Value::String(text)) => {
                let problem =
                    kind.problem(text).map(|message| Problem { stays: kind.stays(), ..Problem::whole(message) });
                problem.into_iter().collect()
            }
            (Self::Word(all), Value::String(text)) => unless(all.contains(&text.as_str())),
            (Self::Texts(kind), Value::Array(list)) => entries(kind, list),
            (Self::Labels, Value::Object(map)) => labels(map),
            (Self::Percentage, value) if percentage(value).is_some() => Vec::new(),
            // It stays, so that its rule is off: every guess would drop traces.
            (Self::Percentage, _) => {
                let message = format!("expected {}; the rule is off", self.words());
                vec![Problem { stays: true, ..Problem::whole(message) }]
            }
            (Self::Duration(least, most), Value::String(text)) => {
                let bounds = duration::milliseconds(least).zip(duration::milliseconds(most));
                let is_within = |amount: i64| bounds.is_some_and(|(least, most)| (least..=most).contains(&amount));
                unless(duration::milliseconds(text).is_some_and(is_within))
            }
            (Self::Durations, Value::Array(list)) => {
                let amounts: Option<Vec<i64>> =
                    list.iter().map(|one| one.as_str().and_then(duration::milliseconds)).collect();
                unless(amounts.is_some_and(|all| all.iter().all(|one| *one > 0) && all.is_sorted_by(|a, b| a < b)))
            }
            (Self::Time, Value::String(text)) => unless(text.parse::<Timestamp>().is_ok()),
            (Self::Quantity, Value::String(text)) => {
                amounts::storage_problem(text).map(Problem::whole).into_iter().collect()
            }
            (Self::Variables, value) => variables(value),
            (Self::Resources, Value::Object(map)) => {
                amounts::resources_problem(map).map(Problem::whole).into_iter().collect()
            }
            (Self::Tolerations, Value::Array(list)) => {
                let wrong = list.iter().enumerate().filter(|(_, one)| !is_toleration(one));
                wrong.map(|(index, _)| Problem::entry(index, "it is no toleration: `key`, `operator` Exists or Equal, `value`, `effect`, `tolerationSeconds`")).collect()
            }
            _ => unless(false),
        }
    }
}

impl Problem {
    fn whole(message: impl Into<String>) -> Self {
        Self { at: Vec::new(), message: message.into(), part: None, stays: false }
    }

    fn entry(index: usize, message: impl Into<String>) -> Self {
        Self { at: vec![Step::Index(index)], ..Self::whole(message) }
    }

    fn key(key: &str, message: impl Into<String>) -> Self {
        Self { at: vec![Step::Key(key.to_owned())], ..Self::whole(message) }
    }

    /// The same about a name instead of what it names.
    fn about(self, name: &str) -> Self {
        Self { part: Some(format!("{name:?}")), ..self }
    }
}

fn entries(kind: Text, list: &[Value]) -> Vec<Problem> {
    let mut found = Vec::new();
    for (index, one) in list.iter().enumerate() {
        let Some(text) = one.as_str() else {
            found.push(Problem::entry(index, "expected a string"));
            continue;
        };
        let problem = if text.is_empty() && kind != Text::Any {
            Some("the entry is empty".to_owned())
        } else if list.iter().take(index).any(|other| other == one) {
            Some("it is in the list twice".to_owned())
        } else {
            kind.problem(text)
        };
        let stays = kind.stays() && !text.is_empty();
        found.extend(problem.map(|message| Problem { stays, ..Problem::entry(index, message) }));
    }
    found
}

fn labels(map: &Map<String, Value>) -> Vec<Problem> {
    let problem = |(key, value): (&String, &Value)| {
        if let Some(message) = label_key_problem(key) {
            return Some(Problem::key(key, message).about(key));
        }
        let message = value.as_str().map_or(Some("expected a string"), label_value_problem)?;
        Some(Problem::key(key, message))
    };
    map.iter().filter_map(problem).collect()
}

/// Why a container cannot have a variable of this name, whatever the release of the API server.
fn variable_problem(name: &str) -> Option<&'static str> {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let fits = !name.is_empty() && name.chars().all(is_inner) && !name.starts_with(|c: char| c.is_ascii_digit());
    (!fits).then_some("no variable can have this name: letters, digits, _, - and . only, no digit first")
}

fn variables(value: &Value) -> Vec<Problem> {
    let is_value = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    let unread = "expected a string, a number or a flag as its value";
    // Which problem a variable has, from its name and value.
    let judge = |name: &str, value: Option<&Value>, at: Problem| match variable_problem(name) {
        Some(message) => Some(Problem { message: message.to_owned(), ..at.about(name) }),
        None if value.is_some_and(is_value) => None,
        None => Some(Problem { message: unread.to_owned(), ..at }),
    };
    match value {
        Value::Object(map) => {
            map.iter().filter_map(|(name, value)| judge(name, Some(value), Problem::key(name, ""))).collect()
        }
        Value::Array(list) => {
            let of_entry = |(index, one): (usize, &Value)| match one.get("name").and_then(Value::as_str) {
                Some(name) => judge(name, one.get("value"), Problem::entry(index, "")),
                None => Some(Problem::entry(index, "expected `name` and `value`")),
            };
            list.iter().enumerate().filter_map(of_entry).collect()
        }
        _ => vec![Problem::whole(format!("expected {}", Shape::Variables.words()))],
    }
}

fn is_toleration(value: &Value) -> bool {
    let Some(map) = value.as_object() else { return false };
    let text = |key: &str| map.get(key).map_or(Some(""), Value::as_str);
    let (Some(key), Some(operator), Some(effect), Some(stated)) =
        (text("key"), text("operator"), text("effect"), text("value"))
    else {
        return false;
    };
    let known = ["key", "operator", "value", "effect", "tolerationSeconds"];
    let is_complete = match operator {
        "Exists" => stated.is_empty(),
        "" | "Equal" => !key.is_empty(),
        _ => false,
    };
    let seconds = map.get("tolerationSeconds");
    map.keys().all(|key| known.contains(&key.as_str()))
        && is_complete
        && (key.is_empty() || label_key_problem(key).or_else(|| label_value_problem(stated)).is_none())
        && ["", "NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect)
        && seconds.is_none_or(|seconds| seconds.is_i64() && effect == "NoExecute")
}

/// A percentage, written as number or text.
pub(super) fn percentage(value: &Value) -> Option<Percentage> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Percentage::new(number).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Configuration, values};
    use super::*;
    use serde_json::json;

    fn problems_of(text: &str) -> Vec<String> {
        let mut configuration = Configuration::parse(text).unwrap();
        values::reject(&mut configuration).into_iter().map(|(path, message)| format!("{path}: {message}")).collect()
    }

    #[test]
    fn what_is_of_another_type_is_said() {
        let text = "ignoredNamespaces: 5\ncollectorGateway: [1]\nrollout: yes please\nallowConcurrentAgents: maybe\n";
        let found = problems_of(text);
        let paths: Vec<&str> = found.iter().filter_map(|one| one.split(':').next()).collect();
        assert_eq!(paths, ["allowConcurrentAgents", "collectorGateway", "ignoredNamespaces", "rollout"]);
        assert!(
            found[0].ends_with("expected true or false; \"maybe\" is ignored, the default is used: false"),
            "{found:?}"
        );
        assert_eq!(
            problems_of("ignoredContainers: [a, 1]\n"),
            ["ignoredContainers[1]: 1 is ignored: expected a string"]
        );
        let languages = "userInstrumentationEnvs: {languages: {java: {enabled: perhaps}}}";
        assert_eq!(
            problems_of(languages),
            [
                "userInstrumentationEnvs.languages.java.enabled: expected true or false; \"perhaps\" is ignored, the default is used: false"
            ]
        );
    }

    #[test]
    fn a_word_that_nobody_knows_is_said_with_those_that_are() {
        let found = problems_of("runtimeDetection: {mode: pods}\nmountMethod: ''\nresourceSizePreset: size_m\n");
        let expected = "runtimeDetection.mode: expected one of agent, none, pod; \"pods\" is ignored, the default is used: `agent`";
        assert_eq!(found, [expected]);
        assert_eq!(problems_of("mountMethod: host\nresourceSizePreset: [large]\n").len(), 2);
    }

    #[test]
    fn rejected_value_is_taken_out_and_the_others_stay() {
        let text = "collectorGateway: {nodeSelector: {zone: a, disk: fast ssd}, requestCPUm: -5, minReplicas: 3}\n\
                    imagePullSecrets: [regcred, Bad Name, regcred]\nautoRollback: {graceTime: soon}\n\
                    userInstrumentationEnvs: {languages: {java: {enabled: true, env: {'A B': c, GOOD: d}}}}\n";
        let mut configuration = Configuration::parse(text).unwrap();
        let found = values::reject(&mut configuration);
        let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "autoRollback.graceTime",
                "collectorGateway.nodeSelector.disk",
                "collectorGateway.requestCPUm",
                "imagePullSecrets[1]",
                "imagePullSecrets[2]",
                "userInstrumentationEnvs.languages.java.env.A B",
            ]
        );
        let again = Configuration::parse(&configuration.to_yaml()).unwrap();
        assert_eq!(again.get("rollbackGraceTime"), None, "no reader takes it from another spelling");
        assert_eq!(configuration.get("collectorGateway.nodeSelector"), Some(&json!({"zone": "a"})));
        assert_eq!(configuration.number("collectorGateway.minReplicas"), Some(3));
        assert_eq!(configuration.texts("imagePullSecrets"), ["regcred"]);
        assert_eq!(
            (configuration.get("collectorGateway.requestCPUm"), configuration.get("rollbackGraceTime")),
            (None, None)
        );
        assert_eq!(configuration.get("userInstrumentationEnvs.languages.java.env"), Some(&json!({"GOOD": "d"})));
    }

    #[test]
    fn what_may_be_a_credential_is_not_repeated() {
        let text = "collectorGateway: {httpsProxyAddress: 'http://me:secret@proxy example'}\n\
                    userInstrumentationEnvs: {languages: {java: {enabled: true, env: SECRET=secret}}}\n";
        let found = problems_of(text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|one| !one.contains("secret")), "{found:?}");
    }

    #[test]
    fn tolerations_are_what_an_api_server_takes() {
        let fits = |shape: Shape, value: Value| shape.problems(&value).is_empty();
        for (value, expected) in [
            (json!({"operator": "Exists"}), true),
            (
                json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}),
                true,
            ),
            (json!({"key": "a", "value": "b", "effect": "NoSchedule"}), true),
            (json!({"key": "a", "operator": "exists"}), false),
            (json!({"key": "a", "effect": "NoWay"}), false),
            (json!({"value": "b"}), false),
            (json!("a"), false),
        ] {
            assert_eq!(fits(Shape::Tolerations, json!([value.clone()])), expected, "{value}");
        }
    }

    #[test]
    fn message_shows_what_is_wrong_whether_key_or_value() {
        let text = "collectorGateway: {nodeSelector: {'disk type': fast, zone: 'eu 1'}}\n\
                    userInstrumentationEnvs: {languages: {java: {enabled: true, env: {'A B': c}}}}\n";
        let found = problems_of(text);
        assert!(
            found[0].starts_with(
                "collectorGateway.nodeSelector.disk type: \"disk type\" is ignored: no label can have this key"
            ),
            "{found:?}"
        );
        assert!(
            found[1]
                .starts_with("collectorGateway.nodeSelector.zone: \"eu 1\" is ignored: no label can have this value"),
            "{found:?}"
        );
        assert!(found[2].contains("env.A B: \"A B\" is ignored: no variable can have this name"), "{found:?}");
    }

    #[test]
    fn usual_ways_to_write_them_are_fine() {
        let text = "ignoredNamespaces: [a]\nrollbackDisabled: \"true\"\ncollectorGateway: {minReplicas: \"2\", maxReplicas: 4}\n\
                    mountMethod: k8s-host-path\nclusterName:\nrollout: {maxConcurrentRollouts: 0}\n\
                    sampling: {k8sHealthProbesSampling: {enabled: \"true\", keepPercentage: \"10\"}, tailSampling: {traceAggregationWaitDuration: 1m}}\n";
        assert_eq!(problems_of(text), [] as [String; 0]);
    }
}
