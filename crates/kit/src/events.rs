//! Kubernetes Events: what happened to an object, for people who look at it with kubectl.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

/// Longest note that the API server takes, in bytes.
const NOTE_LIMIT: usize = 1024;
/// Longest action that the API server takes, in characters.
const ACTION_LIMIT: usize = 128;

/// Publishes Events in the name of a binary.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

/// The object that an Event is about.
#[must_use]
pub fn about(api_version: &str, kind: &str, namespace: &str, name: &str, uid: Option<&str>) -> ObjectReference {
    ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: uid.map(str::to_owned),
        ..ObjectReference::default()
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// Events of the binary `name`. Repeated ones fold into a series.
    #[must_use]
    pub fn new(client: Client, name: &str) -> Self {
        Self { recorder: Recorder::new(client, Reporter::from(name.to_owned())) }
    }

    /// Publishes a warning; failing to do so is logged and nothing more.
    pub async fn warn(&self, object: &ObjectReference, reason: &str, note: &str) {
        self.publish(object, EventType::Warning, reason, note).await;
    }

    /// Publishes a warning about a part of the object, such as a field: warnings about other parts do not fold into its series.
    pub async fn warn_about_part(&self, object: &ObjectReference, reason: &str, part: &str, note: &str) {
        let action: String = format!("Read {part}").chars().take(ACTION_LIMIT).collect();
        self.publish_with(object, EventType::Warning, reason, &action, note).await;
    }

    /// Publishes what went well.
    pub async fn note(&self, object: &ObjectReference, reason: &str, note: &str) {
        self.publish(object, EventType::Normal, reason, note).await;
    }

    async fn publish(&self, object: &ObjectReference, type_: EventType, reason: &str, note: &str) {
        self.publish_with(object, type_, reason, "Reconcile", note).await;
    }

    async fn publish_with(&self, object: &ObjectReference, type_: EventType, reason: &str, action: &str, note: &str) {
        let mut end = note.len().min(NOTE_LIMIT);
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: note.get(..end).map(str::to_owned),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, object).await {
            tracing::debug!(%error, reason, "an event could not be published");
        }
    }
}
