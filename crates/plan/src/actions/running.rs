//! The processors of Actions as collectors run them, over items: what is not in force does nothing, and Actions that share a processor are
//! one.
//!
//! Owns their order over both collectors. Never decides what is in force: [`super::compile`] does. What a collector quarantined is not known
//! here.

use super::item::Item;
use super::transform::Settings;
use super::{Kind, Step, compile, evaluate, explain, failure, shared, url_paths};
use odigos_api::Signal;
use odigos_api::action::Action;

/// A processor with the Actions that it carries out.
#[derive(Clone, Debug)]
pub struct Running<'a> {
    /// The processor.
    pub step: Step,
    /// Its Actions, in the order of their names; more than one where they share it.
    pub actions: Vec<&'a Action>,
}

/// The processors of Actions, in the order in which they run; `measures_spans` tells whether nodes compute metrics from spans.
#[must_use]
pub fn running<'a>(actions: impl IntoIterator<Item = &'a Action>, measures_spans: bool) -> Vec<Running<'a>> {
    let mut all: Vec<&Action> = actions.into_iter().collect();
    all.sort_by_cached_key(|action| explain::rank(action, measures_spans));
    let compiled: Vec<(&Action, Step)> =
        all.into_iter().filter_map(|action| Some((action, compile(action).step?))).collect();
    let members = |id: &str| compiled.iter().filter(|(_, step)| step.id == id).map(|(action, _)| *action).collect();
    let joined = shared::joined(compiled.iter().map(|(action, step)| (*action, step)));
    joined
        .into_iter()
        .map(|step| {
            let actions: Vec<&Action> = members(&step.id);
            let place = actions.first().map(|action| explain::place(action, measures_spans));
            let role = place.map_or(step.role, |place| place.role);
            Running { step: Step { role, ..step }, actions }
        })
        .collect()
}

impl Running<'_> {
    /// Names of its Actions.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.actions.iter().filter_map(|action| action.metadata.name.clone())
    }

    /// Whether it is for the items of a stream.
    #[must_use]
    pub fn is_for(&self, stream: &str) -> bool {
        self.step.streams.as_ref().is_none_or(|names| names.iter().any(|name| name == stream))
    }

    /// Whether what it does to items is known without a cluster.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        !matches!(self.step.settings, Settings::KubernetesAttributes(_))
    }

    /// Whether it may do anything to an item, by its signal and, as far as the whole of it has scopes, its resource.
    #[must_use]
    pub fn concerns(&self, item: &Item) -> bool {
        self.step.signals.contains(&item.signal())
            && self.actions.iter().any(|action| failure::is_meant(&action.spec, item))
    }

    /// What becomes of an item; none where it is dropped.
    #[must_use]
    pub fn carry_out(&self, mut item: Item) -> Option<Item> {
        if self.step.drops() {
            let is_dropped = self.actions.iter().any(|action| failure::is_meant(&action.spec, &item));
            return (!is_dropped).then_some(item);
        }
        let templates: Vec<_> =
            self.actions.iter().filter_map(|action| action.spec.url_templatization.as_ref()).collect();
        let is_of_templates =
            self.actions.first().is_some_and(|action| Kind::of(&action.spec) == Some(Kind::UrlTemplatization));
        if is_of_templates {
            if item.signal() == Signal::Traces && self.step.signals.contains(&Signal::Traces) {
                url_paths::templated(&templates, &mut item);
            }
            return Some(item);
        }
        self.actions.iter().for_each(|action| evaluate(&action.spec, &mut item));
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use crate::actions::item::SpanKind;
    use odigos_api::CollectorRole;
    use serde_json::{Value, json};

    fn action(name: &str, mut spec: Value) -> Action {
        spec["signals"] = json!(["TRACES"]);
        Action::new(name, serde_json::from_value(spec).unwrap())
    }

    fn request(path: &str) -> Item {
        let mut item = Item::span("GET", SpanKind::Server);
        let attributes = [("http.request.method", "GET"), ("url.path", path)];
        item.attributes.extend(attributes.map(|(key, text)| (key.to_owned(), text.into())));
        item
    }

    fn after(actions: &[Action], measures_spans: bool, item: &Item) -> Option<Item> {
        running(actions, measures_spans).iter().try_fold(item.clone(), |item, one| one.carry_out(item))
    }

    /// Row 41 over two Actions: the one that disables the built-in placeholders counts for both, and rules come first.
    #[test]
    fn actions_that_share_a_processor_are_carried_out_together() {
        let all = [
            action("aa", json!({"urlTemplatization": {"default": [{}]}})),
            action(
                "bb",
                json!({"urlTemplatization": {"rules": [{"templates": ["/users/{user}"]}], "default": [{"disabled": true}]}}),
            ),
        ];
        let [one] = &running(&all, true)[..] else { panic!("they are one") };
        assert_eq!(
            (one.names().collect::<Vec<_>>(), one.step.role),
            (vec!["aa".to_owned(), "bb".to_owned()], CollectorRole::NodeCollector)
        );
        let after = after(&all, true, &request("/users/7")).unwrap();
        assert_eq!(after.attributes["http.route"], "/users/{user}".into());
        assert_eq!(after.attributes["odigos.url_templatization.result"], "custom_rule".into());
        let untouched = request("/orders/7");
        assert_eq!(self::after(&all, true, &untouched), Some(untouched), "built-in placeholders are off");
    }

    /// Where nodes compute metrics from spans, templates are made before anything that gateways run.
    #[test]
    fn order_is_that_of_the_collectors() {
        let all = [
            action("delp", json!({"deleteAttribute": {"attributeNamesToDelete": ["url.path"]}})),
            action("url", json!({"urlTemplatization": {"default": [{}]}})),
        ];
        let item = request("/users/1234");
        let on_node = after(&all, true, &item).unwrap();
        assert_eq!(on_node.attributes.get("http.route"), Some(&"/users/{id}".into()));
        assert!(!on_node.attributes.contains_key("url.path"));
        assert_eq!(after(&all, false, &item).unwrap().attributes.get("http.route"), None, "its path is deleted before");
    }

    #[test]
    fn what_is_not_in_force_does_nothing() {
        let half = action("half", json!({"renameAttribute": {"renames": {"a": "b", "c": ""}}}));
        let mut item = request("/");
        item.attributes.insert("a".into(), "1".into());
        assert_eq!(after(std::slice::from_ref(&half), true, &item), Some(item.clone()));
        let masks = json!({"failurePolicy": "drop", "piiMasking": {"customRegexMaskings": [{"regex": "no group"}]}});
        assert_eq!(after(&[action("mask", masks)], true, &item), None);
    }
}
