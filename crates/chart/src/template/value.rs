//! Values as Go templates see them: maps are shared and can be changed in place; numbers of files are floating point.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Numbers up to this magnitude are exact as floating point; also where Go begins to print exponents (10^6).
const EXACT: f64 = 9_007_199_254_740_992.0;
const EXPONENT: f64 = 1e6;

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    List(Rc<Vec<Value>>),
    Map(Rc<Map>),
    Files(Rc<BTreeMap<String, String>>),
}

/// Who may do what with a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Made by a template; `set` and `merge` change it.
    Own,
    /// Part of the values; a change would be seen by other templates, so there is none.
    Frozen,
    /// Offered by Helm; a field that is not known here is an error, not nothing.
    Builtin,
}

/// A map behind a reference.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) nature: Nature,
    pub(crate) entries: RefCell<BTreeMap<String, Value>>,
}

impl Value {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn list(items: Vec<Value>) -> Self {
        Self::List(Rc::new(items))
    }

    pub(crate) fn map(entries: BTreeMap<String, Value>, nature: Nature) -> Self {
        Self::Map(Rc::new(Map { nature, entries: RefCell::new(entries) }))
    }

    pub(crate) fn builtin<const N: usize>(entries: [(&str, Value); N]) -> Self {
        Self::map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(), Nature::Builtin)
    }

    pub(crate) fn files(files: BTreeMap<String, String>) -> Self {
        Self::Files(Rc::new(files))
    }

    /// What a template sees of the values.
    pub(crate) fn frozen(json: &serde_json::Value) -> Result<Self, String> {
        Self::from_json(json, Nature::Frozen)
    }

    /// Data as Helm reads them: every number is floating point.
    pub(crate) fn from_json(json: &serde_json::Value, nature: Nature) -> Result<Self, String> {
        Ok(match json {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(bool) => Self::Bool(*bool),
            serde_json::Value::String(text) => Self::text(text),
            serde_json::Value::Number(number) => match number.as_f64() {
                Some(float) if float.abs() <= EXACT => Self::Float(float),
                _ => return Err(format!("{number} is too large to be exact; write it as text")),
            },
            serde_json::Value::Array(items) => {
                Self::list(items.iter().map(|item| Self::from_json(item, nature)).collect::<Result<_, _>>()?)
            }
            serde_json::Value::Object(map) => {
                let entries = map.iter().map(|(key, value)| Ok((key.clone(), Self::from_json(value, nature)?)));
                Self::map(entries.collect::<Result<_, String>>()?, nature)
            }
        })
    }

    /// Data again, for `toYaml`.
    pub(crate) fn to_json(&self) -> Result<serde_json::Value, String> {
        Ok(match self {
            Self::Nil => serde_json::Value::Null,
            Self::Bool(bool) => (*bool).into(),
            Self::Int(int) => (*int).into(),
            Self::Float(float) => number(*float),
            Self::Text(text) => text.as_ref().into(),
            Self::List(items) => items.iter().map(Self::to_json).collect::<Result<Vec<_>, _>>()?.into(),
            Self::Map(map) => {
                let entries = map.entries.borrow();
                let pairs = entries.iter().map(|(key, value)| Ok((key.clone(), value.to_json()?)));
                serde_json::Value::Object(pairs.collect::<Result<_, String>>()?)
            }
            Self::Files(_) => return Err("files are no data".into()),
        })
    }

    /// What Go calls truth: anything that is not empty or zero.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(bool) => *bool,
            Self::Int(int) => *int != 0,
            Self::Float(float) => *float != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.entries.borrow().is_empty(),
            Self::Files(_) => true,
        }
    }

    /// How Go prints it inside text. Nothing prints as nothing, since Helm takes `<no value>` away.
    pub(crate) fn print(&self) -> Result<String, String> {
        match self {
            Self::Nil => Ok(String::new()),
            Self::Bool(bool) => Ok(bool.to_string()),
            Self::Int(int) => Ok(int.to_string()),
            Self::Float(float) if *float == 0.0 || (1e-4..EXPONENT).contains(&float.abs()) => {
                Ok(number(*float).to_string())
            }
            Self::Float(float) => Err(format!("{float} prints with an exponent; use int or toYaml")),
            Self::Text(text) => Ok(text.to_string()),
            other => Err(format!("a {} cannot be printed; use toYaml", other.kind())),
        }
    }

    /// Its kind, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nothing",
            Self::Bool(_) => "boolean",
            Self::Int(_) => "whole number",
            Self::Float(_) => "number of a file of values",
            Self::Text(_) => "text",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Files(_) => "set of files",
        }
    }

    /// The field `name`, as `.name` reaches it.
    pub(crate) fn field(&self, name: &str) -> Result<Self, String> {
        match self {
            Self::Map(map) => match map.entries.borrow().get(name) {
                Some(value) => Ok(value.clone()),
                None if map.nature == Nature::Builtin => Err(format!(".{name} is not offered here")),
                None => Ok(Self::Nil),
            },
            other => Err(format!(".{name} of a {}", other.kind())),
        }
    }
}

/// A floating point number as data: whole ones without a fraction.
fn number(float: f64) -> serde_json::Value {
    #[allow(clippy::cast_possible_truncation, reason = "whole and within the exact range")]
    let whole = float as i64;
    if float.fract() == 0.0 && float.abs() <= EXACT { whole.into() } else { float.into() }
}
