//! Settings that were given and that nothing rendered uses: each with what would use it.
//!
//! Owns which places of a type's templates read a setting and under which conditions; the conditions are those of the catalogue file, so no type
//! has a list of its own. Never decides whether a value is right.

use crate::destination::DestinationType;
use crate::normalise;
use crate::render::{Problem, Reason, Secret, additions};
use crate::schema::{ComponentType, Condition, Field, Template};
use crate::template::{Evaluation, data_field};
use odigos_api::Signal;
use std::collections::{BTreeMap, BTreeSet};

/// What must be so for a place of a template to be rendered.
#[derive(Clone)]
enum Guard<'a> {
    Holds(&'a Condition),
    Fails(&'a Condition),
    /// One of these signals is sent.
    Sends(BTreeSet<Signal>),
}

/// Places that read each setting, each with its guards.
#[derive(Default)]
struct Places<'a> {
    by_name: BTreeMap<&'a str, Vec<Vec<Guard<'a>>>>,
    names: BTreeSet<&'a str>,
}

impl<'a> Places<'a> {
    fn of(definition: &'a DestinationType) -> Self {
        let rules = &definition.rendering;
        let names = definition.fields.iter().map(|field| field.name.as_str()).collect();
        let mut places = Self { names, ..Self::default() };
        let in_pipelines = rules.exporters.iter().chain(&rules.processors).chain(&rules.connectors);
        let components = in_pipelines.map(|one| (one, signals_of(definition, &one.id)));
        for (component, signals) in components.chain(rules.extensions.iter().map(|one| (one, None))) {
            let mut guards: Vec<Guard<'a>> = signals.map(Guard::Sends).into_iter().collect();
            if let Some(when) = &component.when {
                places.condition(when, &guards);
                guards.push(Guard::Holds(when));
            }
            places.text(&component.id, &guards);
            places.template(&component.settings, &guards);
        }
        for variable in &rules.variables {
            let guards: Vec<Guard<'a>> = variable.when.iter().map(Guard::Holds).collect();
            places.template(&variable.value, &guards);
        }
        places
    }

    fn add(&mut self, name: &'a str, guards: &[Guard<'a>]) {
        self.by_name.entry(name).or_default().push(guards.to_vec());
    }

    /// Settings whose values are part of a text.
    fn text(&mut self, text: &'a str, guards: &[Guard<'a>]) {
        let names: Vec<&str> =
            self.names.iter().copied().filter(|name| text.contains(&format!("{{{name}}}"))).collect();
        names.into_iter().for_each(|name| self.add(name, guards));
    }

    fn template(&mut self, template: &'a Template, guards: &[Guard<'a>]) {
        match template {
            Template::Literal(value) => {
                if let Some(text) = value.as_str() {
                    self.text(text, guards);
                }
            }
            Template::List(list) | Template::Concat(list) => list.iter().for_each(|item| self.template(item, guards)),
            Template::Map(map) => map.values().for_each(|item| self.template(item, guards)),
            Template::Field(field) => {
                self.add(&field.name, guards);
                field.secure.iter().for_each(|condition| self.condition(condition, guards));
            }
            Template::Secret(secret) => self.add(&secret.name, guards),
            Template::SecretFile(secret) => self.add(&secret.name, guards),
            Template::Each(each) => self.add(&each.name, guards),
            Template::Bool(condition) => self.condition(condition, guards),
            Template::If(condition, then, otherwise) => {
                self.condition(condition, guards);
                self.template(then, &[guards, &[Guard::Holds(condition)]].concat());
                if let Some(otherwise) = otherwise {
                    self.template(otherwise, &[guards, &[Guard::Fails(condition)]].concat());
                }
            }
        }
    }

    /// Settings whose value a condition reads. That a setting is there, or how it begins, decides nothing about it: what uses it does.
    fn condition(&mut self, condition: &'a Condition, guards: &[Guard<'a>]) {
        match condition {
            Condition::IsTrue(name)
            | Condition::IsLegacyTrue(name)
            | Condition::Equals(name, _)
            | Condition::EqualsIgnoringCase(name, _) => self.add(name, guards),
            Condition::IsSet(_)
            | Condition::Has(_)
            | Condition::HasItems(_)
            | Condition::HasSecret(_)
            | Condition::HasSignal(_)
            | Condition::StartsWith(..)
            | Condition::Contains(..) => {}
            Condition::Not(inner) => self.condition(inner, guards),
            // Each part counts only beside the others.
            Condition::All(parts) => {
                for (position, part) in parts.iter().enumerate() {
                    let others = parts.iter().enumerate().filter(|(n, _)| *n != position);
                    let others: Vec<Guard<'a>> = others.map(|(_, other)| Guard::Holds(other)).collect();
                    self.condition(part, &[guards, &others].concat());
                }
            }
            Condition::Any(parts) => parts.iter().for_each(|part| self.condition(part, guards)),
        }
    }
}

/// Signals whose pipelines hold a component; `None` where every pipeline does.
fn signals_of(definition: &DestinationType, id: &str) -> Option<BTreeSet<Signal>> {
    let pipelines = &definition.rendering.pipelines;
    let in_lists = |lists: [&[String]; 3]| lists.into_iter().flatten().any(|one| one == id);
    if in_lists([&pipelines.receivers, &pipelines.processors, &pipelines.exporters]) {
        return None;
    }
    let has = |signal: &Signal| {
        additions(pipelines, *signal).is_some_and(|one| in_lists([&one.receivers, &one.processors, &one.exporters]))
    };
    Some(definition.signals.iter().copied().filter(has).collect())
}

/// Whether a value asks for nothing: a switch that is off, an empty list, or what a form starts with.
fn asks_for_nothing(field: &Field, text: &str) -> bool {
    let text = text.trim();
    let is_off = normalise::boolean(text) == Ok(false) || text.eq_ignore_ascii_case("no");
    (field.component_type == ComponentType::Checkbox && is_off)
        || matches!(text, "" | "[]" | "{}")
        || field.initial_value.as_deref().is_some_and(|initial| initial.trim() == text)
}

/// What is said of every setting that was given and that nothing rendered uses.
pub(crate) fn findings(evaluation: &Evaluation<'_>) -> Vec<Problem> {
    let definition = evaluation.definition;
    let places = Places::of(definition);
    let in_secret = |name: &str| match &evaluation.instance.secret {
        Secret::Keys { name: secret, keys } if keys.contains(name) => Some((*secret).to_owned()),
        _ => None,
    };
    let mut found = Vec::new();
    for field in &definition.fields {
        let data = evaluation.setting(&field.name).filter(|text| !asks_for_nothing(field, text));
        let secret = in_secret(&field.name).filter(|_| field.secret && evaluation.setting(&field.name).is_none());
        if data.is_none() && secret.is_none() {
            continue;
        }
        let in_data = data_field(&field.name);
        // A remark of the type on it says more.
        if evaluation.warnings.iter().any(|warning| warning.field == in_data) && is_watched(definition, &field.name) {
            continue;
        }
        let Some(why) = why_unused(evaluation, &places, field) else { continue };
        let (field, message) = match secret {
            Some(secret) => {
                ("spec.secretRef".to_owned(), format!("key {} of Secret {secret} has no effect: {why}", field.name))
            }
            None => (in_data, format!("it has no effect: {why}")),
        };
        found.push(Problem { reason: Reason::InvalidSetting, field, message });
    }
    found
}

/// Whether a remark of the type is on the setting, or depends on it.
fn is_watched(definition: &DestinationType, name: &str) -> bool {
    definition.rendering.warnings.iter().any(|warning| {
        let mut read = vec![warning.field.clone()];
        warning.when.names(&mut read);
        read.iter().any(|one| one == name)
    })
}

/// Why nothing uses a setting; `None` where something does.
fn why_unused(evaluation: &Evaluation<'_>, places: &Places<'_>, field: &Field) -> Option<String> {
    // A form shows it for one signal alone, since what holds it is of that signal.
    if let [subject, "INCLUDES", signal] =
        field.render_condition.iter().map(String::as_str).collect::<Vec<_>>().as_slice()
        && *subject == "SIGNALS"
        && !evaluation.signals.iter().any(|one| one.as_pipeline() == *signal)
    {
        return Some(format!("it is used only where {signal} are sent"));
    }
    let Some(places) = places.by_name.get(field.name.as_str()) else {
        // What no template reads is read by remarks, or only checked.
        return (!is_watched(evaluation.definition, &field.name)).then(|| "nothing of this type uses it".to_owned());
    };
    let mut reasons: Vec<String> = Vec::new();
    for guards in places {
        let unmet: Vec<String> = guards.iter().filter_map(|guard| unmet(evaluation, guard)).collect();
        if unmet.is_empty() {
            return None;
        }
        let reason = unmet.join(" and ");
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    Some(format!("it is used only where {}", reasons.join(", or where ")))
}

/// What a guard lacks.
fn unmet(evaluation: &Evaluation<'_>, guard: &Guard<'_>) -> Option<String> {
    match guard {
        Guard::Holds(condition) => (!evaluation.holds(condition)).then(|| described(evaluation, condition, true)),
        Guard::Fails(condition) => evaluation.holds(condition).then(|| described(evaluation, condition, false)),
        Guard::Sends(signals) => signals.is_disjoint(evaluation.signals).then(|| {
            let names: Vec<&str> = signals.iter().map(|signal| signal.as_pipeline()).collect();
            format!("{} are sent", names.join(" or "))
        }),
    }
}

/// A condition in words, `wanted` or not, without those parts that are so already.
fn described(evaluation: &Evaluation<'_>, condition: &Condition, wanted: bool) -> String {
    let (is, begins, contains) =
        if wanted { ("is", "begins with", "contains") } else { ("is not", "does not begin with", "does not contain") };
    match condition {
        Condition::IsTrue(name) | Condition::IsLegacyTrue(name) => format!("{name} {is} true"),
        Condition::IsSet(name) | Condition::Has(name) | Condition::HasItems(name) => format!("{name} {is} set"),
        Condition::HasSecret(name) => format!("{name} {is} in the Secret"),
        Condition::HasSignal(signal) if wanted => format!("{signal} are sent"),
        Condition::HasSignal(signal) => format!("{signal} are not sent"),
        Condition::Equals(name, value) | Condition::EqualsIgnoringCase(name, value) => format!("{name} {is} {value}"),
        Condition::StartsWith(name, value) => format!("{name} {begins} {value}"),
        Condition::Contains(name, value) => format!("{name} {contains} {value}"),
        Condition::Not(inner) => described(evaluation, inner, !wanted),
        Condition::All(parts) | Condition::Any(parts) => {
            let needs_every = matches!(condition, Condition::All(_)) == wanted;
            let missing = parts.iter().filter(|part| evaluation.holds(part) != wanted);
            let words: Vec<String> = missing.map(|part| described(evaluation, part, wanted)).collect();
            words.join(if needs_every { " and " } else { " or " })
        }
    }
}

#[cfg(test)]
mod tests;
