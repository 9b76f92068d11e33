//! Admission: what is filled in and what is refused when users write objects, and what pods get when they start.
//!
//! Pure functions over the objects of a review (`spec/sources-and-instrumentation.md` 2.3–2.4, design 4.1); the server is
//! elsewhere. Whatever admission misses, the controllers decide the same way.

pub mod action;
pub mod destination;
pub mod pod;
pub mod processor;
pub mod sampling;
pub mod source;

/// One reason to refuse an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field, e.g. `spec.workload.name`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Refusal {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// What is said when an object is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Reasons to refuse it.
    pub refusals: Vec<Refusal>,
    /// Remarks that kubectl prints.
    pub warnings: Vec<String>,
}

/// The text of a refusal as the API server words it.
#[must_use]
pub fn refusal_text(refusals: &[Refusal]) -> String {
    let lines: Vec<String> =
        refusals.iter().map(|one| format!("{}: Invalid value: {}", one.field, one.message)).collect();
    lines.join("; ")
}
