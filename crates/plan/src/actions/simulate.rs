//! What becomes of items in the pipelines of streams, by the rules alone: which Actions change them, which drop them, and how often a
//! destination gets them.
//!
//! Order is that of [`super::explain::in_order`]. Processors and sampling are left out: what they do is not known here.

use super::item::Item;
use super::{evaluate, failure};
use crate::streams::{Selection, enabled};
use odigos_api::action::Action;
use odigos_api::destination::Destination;

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
}

/// Sends an item through the Actions of a stream, which are in the order of [`super::explain::in_order`].
#[must_use]
pub fn through<'a>(
    actions: &[&Action],
    destinations: impl IntoIterator<Item = &'a Destination>,
    stream: &str,
    item: &Item,
) -> Outcome {
    let (mut current, mut by) = (Some(item.clone()), Vec::new());
    for action in actions {
        let Some(before) = current.take() else { break };
        let name = || action.metadata.name.clone().unwrap_or_default();
        if failure::is_dropped(&action.spec, &before) {
            by.push(name());
            break;
        }
        let mut after = before.clone();
        evaluate(&action.spec, &mut after);
        if after != before {
            by.push(name());
        }
        current = Some(after);
    }
    let takes =
        |one: &&Destination| one.spec.signals.contains(&item.signal()) && Selection::of(&one.spec).includes(stream);
    let taking = enabled(destinations).filter(takes);
    let destinations = taking.filter_map(|one| one.metadata.name.clone()).collect();
    Outcome { stream: stream.to_owned(), item: current, by, destinations }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::explain::in_order;
    use crate::actions::item::SpanKind;
    use crate::fixtures::destination_with;
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
        let out = |stream: &str| through(&in_order(&actions, stream), &destinations, stream, &span);
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
