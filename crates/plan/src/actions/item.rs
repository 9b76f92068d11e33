//! A piece of telemetry as Actions see it: a span, a data point or a log record, with the scope and the resource that it is of.
//!
//! Owns the values that attributes can have. Knows no Action and no wire format.

use odigos_api::Signal;
use std::collections::BTreeMap;

/// What an attribute can hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Double(f64),
    /// A truth value.
    Boolean(bool),
    /// Values in order.
    List(Vec<Self>),
    /// Values by name.
    Map(Attributes),
}

/// Attributes by name.
pub type Attributes = BTreeMap<String, Value>;

impl Value {
    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

/// A span event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its attributes.
    pub attributes: Attributes,
}

/// What kind of span it is, as far as Actions ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpanKind {
    /// None of the others.
    #[default]
    Other,
    /// It answers a request.
    Server,
    /// It makes a request.
    Client,
}

/// What belongs to one kind of item alone.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A span.
    Span {
        /// Its name.
        name: String,
        /// Its kind.
        kind: SpanKind,
        /// Its events.
        events: Vec<Event>,
    },
    /// A data point of a metric.
    Point {
        /// The metric's name.
        metric: String,
    },
    /// A log record.
    Log {
        /// What it says.
        text: String,
    },
}

/// A span, a data point or a log record.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Attributes of its resource.
    pub resource: Attributes,
    /// Name of its instrumentation scope.
    pub scope_name: String,
    /// Attributes of its instrumentation scope.
    pub scope: Attributes,
    /// Its own attributes.
    pub attributes: Attributes,
    /// The rest.
    pub body: Body,
}

impl Item {
    /// A span with this name and nothing else.
    #[must_use]
    pub fn span(name: &str, kind: SpanKind) -> Self {
        Self::of(Body::Span { name: name.to_owned(), kind, events: Vec::new() })
    }

    /// An item without attributes.
    #[must_use]
    pub const fn of(body: Body) -> Self {
        Self {
            resource: Attributes::new(),
            scope_name: String::new(),
            scope: Attributes::new(),
            attributes: Attributes::new(),
            body,
        }
    }

    /// Its signal.
    #[must_use]
    pub const fn signal(&self) -> Signal {
        match self.body {
            Body::Span { .. } => Signal::Traces,
            Body::Point { .. } => Signal::Metrics,
            Body::Log { .. } => Signal::Logs,
        }
    }

    /// Every set of attributes that it has: of the resource, the scope, itself, and its events.
    pub fn levels(&mut self) -> impl Iterator<Item = &mut Attributes> {
        let events = match &mut self.body {
            Body::Span { events, .. } => events.as_mut_slice(),
            Body::Point { .. } | Body::Log { .. } => &mut [],
        };
        [&mut self.resource, &mut self.scope, &mut self.attributes]
            .into_iter()
            .chain(events.iter_mut().map(|event| &mut event.attributes))
    }
}
