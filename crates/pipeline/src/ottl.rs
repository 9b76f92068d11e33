//! The OpenTelemetry Transformation Language: a tree for the statements that are rendered, and its one printer.
//!
//! Conditions are built, then printed, so quoting and precedence are right by construction. Strings are doubled at `$`,
//! since the collector expands the text before OTTL reads it. Never parses OTTL.

use crate::config::literal;

/// An expression that yields a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A path such as `attributes["k8s.pod.name"]` or `metric.name`.
    Path(Path),
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// `nil`.
    Nil,
    /// A list of values.
    List(Vec<Self>),
    /// A function call, name and arguments.
    Call(&'static str, Vec<Self>),
    /// An element of a map that an expression yields.
    Element(Box<Self>, &'static str),
    /// The difference of two numbers.
    Minus(Box<Self>, Box<Self>),
}

/// A path: dotted fields, then at most one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    fields: &'static str,
    key: Option<String>,
}

impl Path {
    /// A path without a key, e.g. `metric.name`.
    #[must_use]
    pub const fn field(fields: &'static str) -> Self {
        Self { fields, key: None }
    }

    /// A path into a map, e.g. `attributes["http.route"]`.
    pub fn keyed(fields: &'static str, key: impl Into<String>) -> Self {
        Self { fields, key: Some(key.into()) }
    }
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Equality of two values.
    Equal(Expression, Expression),
    /// Inequality of two values.
    NotEqual(Expression, Expression),
    /// The left value is the right one or more; texts are compared by bytes.
    AtLeast(Expression, Expression),
    /// The left value is less than the right one.
    Less(Expression, Expression),
    /// A call that yields a boolean, e.g. `IsMatch`.
    Call(&'static str, Vec<Expression>),
    /// All of them; the empty list is `true`.
    All(Vec<Self>),
    /// Any of them; the empty list is `false`.
    Any(Vec<Self>),
    /// The opposite.
    Not(Box<Self>),
}

/// An editor call with an optional condition, e.g. `set(a, b) where c`.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Name of the editor function.
    pub editor: &'static str,
    /// Its arguments.
    pub arguments: Vec<Expression>,
    /// When it runs; always when absent.
    pub condition: Option<Condition>,
}

impl Path {
    /// Its dotted fields, e.g. `span.attributes`.
    #[must_use]
    pub const fn fields(&self) -> &'static str {
        self.fields
    }

    /// Its key, if it has one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl From<Path> for Expression {
    fn from(path: Path) -> Self {
        Self::Path(path)
    }
}

impl From<String> for Expression {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Expression {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.fields)?;
        match &self.key {
            Some(key) => write!(f, "[{}]", text(key)),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Text(value) => f.write_str(&text(value)),
            Self::Integer(number) => number.fmt(f),
            Self::Nil => f.write_str("nil"),
            Self::List(items) => write!(f, "[{}]", joined(items)),
            Self::Call(name, arguments) => write!(f, "{name}({})", joined(arguments)),
            Self::Element(map, key) => write!(f, "{map}[{}]", text(key)),
            Self::Minus(left, right) => write!(f, "({left} - {right})"),
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nested = |parts: &[Self], word: &str| {
            let parts: Vec<String> = parts
                .iter()
                .map(|part| match part {
                    Self::All(inner) | Self::Any(inner) if inner.len() > 1 => format!("({part})"),
                    _ => part.to_string(),
                })
                .collect();
            parts.join(word)
        };
        match self {
            Self::Equal(left, right) => write!(f, "{left} == {right}"),
            Self::NotEqual(left, right) => write!(f, "{left} != {right}"),
            Self::AtLeast(left, right) => write!(f, "{left} >= {right}"),
            Self::Less(left, right) => write!(f, "{left} < {right}"),
            Self::Call(name, arguments) => write!(f, "{name}({})", joined(arguments)),
            Self::All(parts) if parts.is_empty() => f.write_str("true"),
            Self::Any(parts) if parts.is_empty() => f.write_str("false"),
            Self::All(parts) => f.write_str(&nested(parts, " and ")),
            Self::Any(parts) => f.write_str(&nested(parts, " or ")),
            Self::Not(inner) => write!(f, "not ({inner})"),
        }
    }
}

impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.editor, joined(&self.arguments))?;
        match &self.condition {
            Some(condition) => write!(f, " where {condition}"),
            None => Ok(()),
        }
    }
}

fn joined(items: &[Expression]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A text literal of OTTL inside a collector configuration.
fn text(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in literal(value).chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_and_quoting() {
        let class = || Expression::from(Path::keyed("attributes", "odigos.stream.class"));
        let condition = Condition::All(vec![
            Condition::Any(vec![
                Condition::Equal(class(), "c1".into()),
                Condition::Call("IsMatch", vec![class(), "^a\\d+\"$".into()]),
            ]),
            Condition::Not(Box::new(Condition::NotEqual(class(), Expression::Nil))),
        ]);
        assert_eq!(
            condition.to_string(),
            r#"(attributes["odigos.stream.class"] == "c1" or IsMatch(attributes["odigos.stream.class"], "^a\\d+\"$$")) and not (attributes["odigos.stream.class"] != nil)"#
        );
        assert_eq!(Condition::All(vec![]).to_string(), "true");
    }

    #[test]
    fn statements() {
        let statement = Statement {
            editor: "set",
            arguments: vec![
                Path::field("metric.name").into(),
                Expression::Call(
                    "Concat",
                    vec![Expression::List(vec!["a".into(), Expression::Integer(3)]), ".".into()],
                ),
            ],
            condition: Some(Condition::Equal(Path::field("metric.name").into(), "b".into())),
        };
        assert_eq!(statement.to_string(), r#"set(metric.name, Concat(["a", 3], ".")) where metric.name == "b""#);
    }
}
