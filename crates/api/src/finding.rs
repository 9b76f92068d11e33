//! A finding: something about an object that a person should know, found while planning.

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work until it is mended.
    Error,
    /// It works, but probably not as meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// What is wrong, where, and what to do. Never holds a secret value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The object, as `Kind namespace/name`.
    pub object: String,
    /// The field, as a dotted path; empty when the object as a whole is meant.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Where the object was read, e.g. `web.yaml:12, document 2`; absent for objects of a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

impl Finding {
    fn new(severity: Severity, object: String, field: String, message: String) -> Self {
        Self { severity, object, field, message, location: None }
    }

    /// The same finding about an object that was read at `location`.
    #[must_use]
    pub fn at(self, location: impl Into<String>) -> Self {
        Self { location: Some(location.into()), ..self }
    }

    /// A finding of severity error.
    pub fn error(object: impl Into<String>, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, object.into(), field.into(), message.into())
    }

    /// A finding of severity warning.
    pub fn warning(object: impl Into<String>, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, object.into(), field.into(), message.into())
    }

    /// A finding of severity info.
    pub fn info(object: impl Into<String>, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, object.into(), field.into(), message.into())
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let field = if self.field.is_empty() { "-" } else { &self.field };
        write!(f, "{} {} {field}: {}", self.severity, self.object.replace(' ', "/"), self.message)?;
        match &self.location {
            Some(location) => write!(f, " ({location})"),
            None => Ok(()),
        }
    }
}
