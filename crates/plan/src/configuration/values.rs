//! Values of the configuration that no key accepts.
//!
//! Owns what becomes of them: they are taken out of the document, so that no reader takes them for something else, and reported with the
//! value, what is used instead and what is expected. What a key accepts is in `shapes`; never judges what depends on another key.

use super::keys::{Effect, KEYS, Key};
use super::shapes::{Problem, Shape, Step};
use super::texts::Text;
use super::{ALIASES, Configuration, child};
use serde_json::{Map, Value};

/// Longest part of a value that a message repeats.
const SHOWN: usize = 60;

/// Takes out what is not accepted; path and message of each value, in the order of paths.
pub(super) fn reject(configuration: &mut Configuration) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rejected = Vec::new();
    for key in KEYS.iter().filter(|key| is_judged(key)) {
        for (steps, value) in at(&configuration.root, key.path) {
            for problem in key.shape.problems(value) {
                let path = shown_path(configuration, &steps, &problem.at);
                found.push((path, message(key, value, &problem)));
                if !problem.stays {
                    rejected.push([steps.clone(), problem.at].concat());
                }
            }
        }
    }
    // From the end, so that positions in lists stay what they are.
    rejected.iter().rev().for_each(|steps| remove(&mut configuration.root, steps));
    // Whoever reads the document again would take it from there.
    for (written, meant) in ALIASES {
        if configuration.get(meant).is_none() {
            let steps: Vec<Step> = written.split('.').map(|name| Step::Key(name.to_owned())).collect();
            remove(&mut configuration.root, &steps);
        }
    }
    found.sort();
    found
}

/// What of a value that stands elsewhere is not accepted by a key of the table, which takes it out: `None` when nothing is left of it.
pub(crate) fn accepted(path: &str, value: &Value) -> (Option<Value>, Vec<String>) {
    let Some(key) = KEYS.iter().find(|key| key.path == path) else { return (Some(value.clone()), Vec::new()) };
    let problems = key.shape.problems(value);
    let mut left = value.clone();
    let taken_out: Vec<_> = problems.iter().filter(|problem| !problem.stays).collect();
    let is_left = taken_out.iter().all(|problem| !problem.at.is_empty());
    taken_out.iter().rev().for_each(|problem| remove(&mut left, &problem.at));
    (is_left.then_some(left), problems.iter().map(|problem| message(key, value, problem)).collect())
}

/// Other spellings are judged under the key that they mean, unread keys are reported whatever they hold.
fn is_judged(key: &Key) -> bool {
    match key.effect {
        Effect::Active => true,
        Effect::Alias => key.shape == Shape::Block,
        Effect::None => false,
    }
}

/// The value, what is used instead, and what is expected.
fn message(key: &Key, value: &Value, problem: &Problem) -> String {
    let part = problem.at.iter().try_fold(value, |value, step| match step {
        Step::Key(name) => value.get(name),
        Step::Index(index) => value.get(index),
    });
    // What may be a credential is not repeated.
    let shown = match (&problem.part, key.shape) {
        (Some(part), _) => part.clone(),
        (None, Shape::Variables | Shape::Text(Text::Proxy)) => "the value".to_owned(),
        (None, _) => short(part.unwrap_or(value)),
    };
    let message = &problem.message;
    if problem.stays {
        return if message.contains(&shown) { message.clone() } else { format!("{shown}: {message}") };
    }
    if !problem.at.is_empty() {
        return format!("{shown} is ignored: {message}");
    }
    match default(key) {
        Some(default) => format!("{message}; {shown} is ignored, the default is used: {default}"),
        None => format!("{message}; {shown} is ignored"),
    }
}

/// The default as the documentation of a key states it.
pub(super) fn default(key: &Key) -> Option<&'static str> {
    let (_, default) = key.doc.rsplit_once("Default: ")?;
    Some(default.trim_end_matches('.'))
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// The path as it is written: that of another spelling where the value came from there.
fn shown_path(configuration: &Configuration, steps: &[Step], within: &[Step]) -> String {
    let text = |steps: &[Step]| {
        let mut text = String::new();
        for step in steps {
            match step {
                Step::Key(name) if text.is_empty() => text.push_str(name),
                Step::Key(name) => text.push_str(&format!(".{name}")),
                Step::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    };
    let path = text(steps);
    let alias = ALIASES.iter().find(|(written, meant)| {
        meant.eq_ignore_ascii_case(&path)
            && configuration.get(written).is_some_and(|one| configuration.get(meant) == Some(one))
    });
    let path = alias.map_or(path, |(written, _)| (*written).to_owned());
    let within = text(within);
    if within.is_empty() || within.starts_with('[') { format!("{path}{within}") } else { format!("{path}.{within}") }
}

/// The values at a path of the table, each with the way to it.
fn at<'a>(root: &'a Value, path: &str) -> Vec<(Vec<Step>, &'a Value)> {
    let mut found = vec![(Vec::new(), root)];
    for part in path.split('.') {
        let mut below = Vec::new();
        for (steps, value) in found {
            let with = |name: &str| [steps.clone(), vec![Step::Key(name.to_owned())]].concat();
            match value.as_object().filter(|_| part == "*") {
                // What the table names beside it is no choice.
                Some(map) => {
                    let chosen = map.iter().filter(|(name, _)| {
                        !KEYS.iter().any(|key| path.replacen('*', name, 1).eq_ignore_ascii_case(key.path))
                    });
                    below.extend(chosen.map(|(name, value)| (with(name), value)));
                }
                None => below.extend(child(value, part).map(|value| (with(part), value))),
            }
        }
        found = below;
    }
    found
}

fn remove(root: &mut Value, steps: &[Step]) {
    let Some((last, way)) = steps.split_last() else { return };
    let mut at = Some(root);
    for step in way {
        at = at.and_then(|at| match (step, at) {
            (Step::Key(name), Value::Object(map)) => entry(map, name),
            (Step::Index(index), Value::Array(list)) => list.get_mut(*index),
            _ => None,
        });
    }
    match (last, at) {
        (Step::Key(name), Some(Value::Object(map))) => {
            map.retain(|one, _| !one.eq_ignore_ascii_case(name));
        }
        (Step::Index(index), Some(Value::Array(list))) if *index < list.len() => drop(list.remove(*index)),
        _ => {}
    }
}

fn entry<'a>(map: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Value> {
    let key = map.keys().find(|one| one.eq_ignore_ascii_case(name))?.clone();
    map.get_mut(&key)
}
