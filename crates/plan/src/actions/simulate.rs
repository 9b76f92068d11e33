//! What becomes of items in the pipelines of streams, by the rules alone: which Actions change them, which drop them, and how often a
//! destination gets them.
//!
//! Order and what is in force are those of [`super::running`]. Processors and sampling are left out: what they do is not known here.

use super::item::Item;
use super::running::Running;
use crate::streams::{Selection, enabled};
use odigos_api::destination::Destination;
use serde_json::Value;

/// An item behind the Actions of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The stream.
    pub stream: String,
    /// What it is afterwards; none where an Action dropped it.
    pub item: Option<Item>,
    /// Names of the Actions that changed or dropped it, in order.
    pub by: Vec<String>,
    /// Names of the Destinations that take it from this stream.
    pub destinations: Vec<String>,
    /// Settings of the processors that look at it. Collectors deliver an item once for all streams that have the same, whatever they do to
    /// this one.
    pub treatment: Vec<Value>,
}

/// Sends an item through the processors of a stream; `all` are those of [`super::running::running`].
#[must_use]
pub fn through<'a>(
    all: &[Running<'_>],
    destinations: impl IntoIterator<Item = &'a Destination>,
    stream: &str,
    item: &Item,
) -> Outcome {
    let (mut current, mut by) = (Some(item.clone()), Vec::new());
    let mut treatment = Vec::new();
    for one in all.iter().filter(|one| one.is_for(stream)) {
        let Some(before) = current.take() else { break };
        if one.concerns(&before) {
            treatment.push(one.step.rendered());
        }
        current = one.carry_out(before.clone());
        if current.as_ref() != Some(&before) {
            by.extend(one.names());
        }
    }
    let takes =
        |one: &&Destination| one.spec.signals.contains(&item.signal()) && Selection::of(&one.spec).includes(stream);
    let taking = enabled(destinations).filter(takes);
    let destinations = taking.filter_map(|one| one.metadata.name.clone()).collect();
    Outcome { stream: stream.to_owned(), item: current, by, destinations, treatment }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::item::SpanKind;
    use crate::actions::running::running;
    use crate::fixtures::destination_with;
    use odigos_api::action::Action;
    use serde_json::json;

    #[test]
    fn streams_and_destinations_get_versions_of_their_own() {
        let action = |name: &str, streams: &[&str], mut spec: serde_json::Value| -> Action {
            spec["signals"] = json!(["TRACES"]);
            spec["dataStreams"] = json!(streams);
            Action::new(name, serde_json::from_value(spec).unwrap())
        };
        let actions = [
            action("del", &["a"], json!({"deleteAttribute": {"attributeNamesToDelete": ["user.id"]}})),
            action("ren", &[], json!({"renameAttribute": {"renames": {"user.id": "user"}}})),
            action(
                "mask",
                &["c"],
                json!({"failurePolicy": "drop", "piiMasking": {"customRegexMaskings": [{"regex": "x"}]}}),
            ),
        ];
        let of = |name: &str, streams: &[&str], signal: &str| {
            destination_with(name, "otlp", &[signal], json!({}), json!({"dataStreams": streams}))
        };
        let destinations = [of("both", &["a", "b"], "TRACES"), of("one", &["b"], "TRACES"), of("logs", &["b"], "LOGS")];
        let mut span = Item::span("GET", SpanKind::Server);
        span.attributes.insert("user.id".into(), "7".into());
        let out = |stream: &str| through(&running(&actions, false), &destinations, stream, &span);
        let (a, b, c) = (out("a"), out("b"), out("c"));
        // Row 52: what is for all streams runs behind what the stream has with a lower hint.
        assert_eq!((a.item.unwrap().attributes.len(), a.by), (0, vec!["del".to_owned()]));
        assert_eq!((b.item.unwrap().attributes["user"].clone(), b.by), ("7".into(), vec!["ren".to_owned()]));
        assert_eq!(
            (a.destinations, b.destinations),
            (vec!["both".to_owned()], vec!["both".to_owned(), "one".to_owned()])
        );
        assert_eq!((c.item, c.by), (None, vec!["ren".to_owned(), "mask".to_owned()]));
    }
}
