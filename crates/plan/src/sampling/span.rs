//! Spans as the judge sees them: just what sampling rules may look at.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Role of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpanKind {
    /// Not stated.
    #[default]
    Unspecified,
    /// Inside one process.
    Internal,
    /// Answers a request.
    Server,
    /// Sends a request.
    Client,
    /// Sends a message.
    Producer,
    /// Receives a message.
    Consumer,
}

/// Attributes with their values as texts. Values of other types are not looked at by any rule.
pub type Attributes = BTreeMap<String, String>;

/// A span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// 16 bytes.
    pub trace_id: [u8; 16],
    /// Whether it names a parent.
    pub has_parent: bool,
    /// Its role.
    pub kind: SpanKind,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds since 1970.
    pub end: u64,
    /// Whether its status is error.
    pub error: bool,
    /// Its attributes.
    pub attributes: Attributes,
    /// Attributes of the resource that sent it.
    pub resource: Arc<Attributes>,
}

impl Span {
    /// An attribute of the span.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }

    /// An attribute of its resource.
    #[must_use]
    pub fn of_resource(&self, key: &str) -> Option<&str> {
        self.resource.get(key).map(String::as_str)
    }
}
