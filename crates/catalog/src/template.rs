//! Evaluates templates: settings and secret references in, component settings and problems out.

use crate::destination::DestinationType;
use crate::normalise;
use crate::normalise::header::{self, Transport};
use crate::normaliser::{normalised, remarks};
use crate::render::{Instance, Problem, Reason, Secret, SecretFile};
use crate::schema::{
    Condition, EachExpression, FieldExpression, Normaliser, SecretExpression, SecretFileExpression, Switches, Template,
    Usage,
};
use odigos_api::Signal;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// What evaluating one destination has found so far.
pub(crate) struct Evaluation<'a> {
    pub(crate) instance: &'a Instance<'a>,
    pub(crate) definition: &'a DestinationType,
    pub(crate) signals: &'a BTreeSet<Signal>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    /// Variable and key of each value of the Secret that is read, with where it is used.
    pub(crate) environment: BTreeMap<(String, String), BTreeSet<Usage>>,
    pub(crate) files: BTreeSet<SecretFile>,
    /// Of the component that is evaluated.
    transport: Transport,
    /// Keys of the settings around what is evaluated, the outermost first.
    keys: Vec<String>,
}

/// Settings of exporters and authenticators that are sent as a header.
const HEADER_SETTINGS: [&str; 4] = ["access_token", "key", "private_key", "token"];

/// What older forms wrote for on and off.
const OLDER_WORDS: [&str; 4] = ["yes", "no", "create", "skip"];

impl<'a> Evaluation<'a> {
    pub(crate) fn new(
        instance: &'a Instance<'a>,
        definition: &'a DestinationType,
        signals: &'a BTreeSet<Signal>,
    ) -> Self {
        Self {
            instance,
            definition,
            signals,
            problems: Vec::new(),
            warnings: Vec::new(),
            environment: BTreeMap::new(),
            files: BTreeSet::new(),
            transport: Transport::Http,
            keys: Vec::new(),
        }
    }

    /// Begins a component.
    pub(crate) fn enter(&mut self, id: &str) {
        self.transport = Transport::of(id);
        self.keys.clear();
    }

    /// How a text is used at the place that is evaluated.
    fn usage(&self) -> Usage {
        let is_header = self.keys.iter().any(|key| key == "headers");
        if is_header { self.transport.usage() } else { Usage::Setting }
    }

    pub(crate) fn problem(&mut self, reason: Reason, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { reason, field: field.into(), message: message.into() });
    }

    /// The setting of that name, unless it is absent or blank.
    pub(crate) fn setting(&self, name: &str) -> Option<&'a str> {
        self.instance.data.get(name).map(String::as_str).filter(|text| !text.trim().is_empty())
    }

    /// Every text of a template: the destination's name in place of `{id}`.
    pub(crate) fn named(&self, text: &str) -> String {
        let mut out = text.replace("{id}", self.instance.id);
        if out.contains('{') {
            for field in self.definition.fields.iter().filter(|field| !field.secret) {
                let placeholder = format!("{{{}}}", field.name);
                if out.contains(&placeholder) {
                    out = out.replace(&placeholder, self.setting(&field.name).unwrap_or_default().trim());
                }
            }
        }
        out
    }

    pub(crate) fn holds(&self, condition: &Condition) -> bool {
        let raw = |name: &str| self.instance.data.get(name).map(String::as_str);
        match condition {
            // What is no boolean is a problem of its own (`check_switches`).
            Condition::IsTrue(name) | Condition::IsLegacyTrue(name) => {
                self.setting(name).is_some_and(|text| normalise::boolean(text) == Ok(true))
            }
            Condition::IsSet(name) => self.setting(name).is_some(),
            Condition::Has(name) => raw(name).is_some(),
            Condition::HasItems(name) => self
                .setting(name)
                .is_some_and(|text| normalise::string_list(text).map_or(true, |items| !items.is_empty())),
            Condition::HasSecret(name) => {
                self.setting(name).is_some()
                    || matches!(&self.instance.secret, Secret::Keys { keys, .. } if keys.contains(name))
            }
            Condition::HasSignal(name) => self.signals.iter().any(|signal| signal.as_pipeline() == name),
            Condition::Equals(name, value) => raw(name) == Some(value),
            Condition::StartsWith(name, value) => raw(name).is_some_and(|text| {
                text.trim().get(..value.len()).is_some_and(|start| start.eq_ignore_ascii_case(value))
            }),
            Condition::Contains(name, value) => self.setting(name).is_some_and(|text| {
                let is_whole = |(position, found): (usize, &str)| {
                    !text[position + found.len()..].starts_with(|next: char| next.is_ascii_digit())
                };
                text.match_indices(value.as_str()).any(is_whole)
            }),
            Condition::EqualsIgnoringCase(name, value) => {
                raw(name).is_some_and(|text| text.eq_ignore_ascii_case(value))
            }
            Condition::Not(inner) => !self.holds(inner),
            Condition::All(parts) => parts.iter().all(|part| self.holds(part)),
            Condition::Any(parts) => parts.iter().any(|part| self.holds(part)),
        }
    }

    /// The value of a template; `None` means that its key is left out.
    pub(crate) fn value(&mut self, template: &Template) -> Option<Value> {
        match template {
            Template::Literal(Value::String(text)) => Some(Value::String(self.named(text))),
            Template::Literal(literal) => Some(literal.clone()),
            Template::List(list) => Some(Value::Array(list.iter().filter_map(|item| self.value(item)).collect())),
            Template::Map(map) => {
                let mut out = Map::new();
                for (key, item) in map {
                    self.keys.push(key.clone());
                    let value = self.value(item);
                    self.keys.pop();
                    if let Some(value) = value {
                        out.insert(self.named(key), value);
                    }
                }
                // A block of which nothing is left would only hide that nothing was set.
                (!out.is_empty() || map.is_empty()).then_some(Value::Object(out))
            }
            Template::Field(field) => self.field(field),
            Template::Secret(secret) => self.secret(secret),
            Template::SecretFile(file) => self.secret_file(file),
            Template::Concat(parts) => {
                let mut text = String::new();
                let mut whole = true;
                for part in parts {
                    // Every part is looked at, so that every problem is found.
                    match self.value(part) {
                        Some(Value::String(value)) => text.push_str(&value),
                        Some(value) => text.push_str(&value.to_string()),
                        None => whole = false,
                    }
                }
                whole.then_some(Value::String(text))
            }
            Template::Each(each) => self.each(each),
            Template::Bool(condition) => Some(Value::Bool(self.holds(condition))),
            Template::If(condition, then, otherwise) => {
                if self.holds(condition) {
                    self.value(then)
                } else {
                    otherwise.as_ref().and_then(|template| self.value(template))
                }
            }
        }
    }

    fn field(&mut self, field: &FieldExpression) -> Option<Value> {
        let Some(text) = self.setting(&field.name) else {
            if field.required {
                self.problem(Reason::InvalidSetting, data_field(&field.name), "it is required here, but missing");
            }
            return field.default.clone();
        };
        let secure = field.secure.as_ref().is_some_and(|condition| self.holds(condition));
        match normalised(&field.normaliser, text, secure) {
            Ok(value) => {
                if let Some(why) = value.as_str().and_then(|text| self.usage().problem(text)) {
                    self.problem(Reason::InvalidSetting, data_field(&field.name), why);
                }
                if matches!(field.normaliser, Normaliser::YamlMap) {
                    self.check_headers(&value, &field.name);
                }
                self.remark(field, text);
                Some(self.as_literal(&field.normaliser, value))
            }
            Err(problems) => {
                for why in problems.0 {
                    self.problem(Reason::InvalidSetting, data_field(&field.name), why);
                }
                None
            }
        }
    }

    /// What a normaliser has left out of a setting, or used although it looks wrong, is said.
    fn remark(&mut self, field: &FieldExpression, text: &str) {
        let found = remarks(&field.normaliser, text).into_iter();
        let found =
            found.map(|message| Problem { reason: Reason::InvalidSetting, field: data_field(&field.name), message });
        // One setting may be part of several components.
        let found: Vec<Problem> = found.filter(|one| !self.warnings.contains(one)).collect();
        self.warnings.extend(found);
    }

    /// A value in which nothing is expanded.
    fn as_literal(&mut self, normaliser: &Normaliser, value: Value) -> Value {
        match value {
            value if matches!(normaliser, Normaliser::YamlMap) => self.verbatim(value),
            Value::String(value) => Value::String(self.literal(&value)),
            Value::Object(map) => {
                let entries = map.into_iter().map(|(key, value)| {
                    let value = value.as_str().map_or(Value::Null, |value| Value::String(self.literal(value)));
                    (key, value)
                });
                Value::Object(entries.collect::<Map<_, _>>())
            }
            Value::Array(list) => list
                .into_iter()
                .map(|item| item.as_str().map_or(Value::Null, |item| Value::String(self.literal(item))))
                .collect(),
            value => value,
        }
    }

    /// Switches whose text is no boolean: read as off, TLS or authentication would be dropped in silence.
    pub(crate) fn check_switches(&mut self, switches: &Switches<'_>) {
        for (name, has_older_words) in switches {
            let Some(text) = self.setting(name) else { continue };
            let is_older = *has_older_words && OLDER_WORDS.iter().any(|word| text.trim().eq_ignore_ascii_case(word));
            if let Err(why) = normalise::boolean(text)
                && !is_older
            {
                self.problem(Reason::InvalidSetting, data_field(name), why);
            }
        }
    }

    /// A mapping as its author wrote it, except that `${KEY}` of the destination's own Secret becomes its variable and no
    /// other `$` is expanded.
    fn verbatim(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => {
                let mut out = text.replace('$', "$$");
                let keys: Vec<String> = match &self.instance.secret {
                    Secret::Keys { keys, .. } => keys.iter().cloned().collect(),
                    _ => Vec::new(),
                };
                for key in keys {
                    let placeholder = format!("$${{{key}}}");
                    if out.contains(&placeholder)
                        && let Some(reference) = self.reference(&key, self.usage())
                    {
                        out = out.replace(&placeholder, &reference);
                    }
                }
                Value::String(out)
            }
            Value::Array(list) => Value::Array(list.into_iter().map(|item| self.verbatim(item)).collect()),
            Value::Object(map) => {
                let entries = map.into_iter().map(|(key, item)| {
                    self.keys.push(key.clone());
                    let item = self.verbatim(item);
                    self.keys.pop();
                    (key, item)
                });
                Value::Object(entries.collect())
            }
            other => other,
        }
    }

    /// What is wrong with the headers of settings that were written for the exporter itself.
    fn check_headers(&mut self, value: &Value, name: &str) {
        match value {
            Value::Array(list) => list.iter().for_each(|item| self.check_headers(item, name)),
            Value::Object(map) => {
                for (key, item) in map {
                    match item {
                        Value::Object(written) if key == "headers" => {
                            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                            let written = written.iter().map(|(name, value)| (name.clone(), text(value)));
                            for why in header::checked(written, self.transport).err().unwrap_or_default() {
                                self.problem(Reason::InvalidSetting, data_field(name), why);
                            }
                        }
                        item => self.check_headers(item, name),
                    }
                }
            }
            _ => {}
        }
    }

    /// Checks a setting that no component holds.
    pub(crate) fn check(&mut self, name: &str, normaliser: &Normaliser) {
        if let Some(text) = self.setting(name)
            && let Err(problems) = normalised(normaliser, text, false)
        {
            problems.0.into_iter().for_each(|why| self.problem(Reason::InvalidSetting, data_field(name), why));
        }
    }

    /// A user's text as a literal of the configuration: every `$` is doubled, so that the collector expands nothing.
    /// The exceptions are `${KEY}` of a secret key of this type and, in headers, of any key of the destination's own Secret: it
    /// becomes the reference to that key.
    fn literal(&mut self, text: &str) -> String {
        let mut out = text.replace('$', "$$");
        let mut secrets: BTreeSet<String> =
            self.definition.fields.iter().filter(|field| field.secret).map(|field| field.name.clone()).collect();
        if let (Secret::Keys { keys, .. }, Usage::HttpHeader | Usage::GrpcHeader) =
            (&self.instance.secret, self.usage())
        {
            secrets.extend(keys.iter().cloned());
        }
        for key in secrets {
            let placeholder = format!("$${{{key}}}");
            if out.contains(&placeholder)
                && let Some(reference) = self.reference(&key, self.usage())
            {
                out = out.replace(&placeholder, &reference);
            }
        }
        out
    }

    fn each(&mut self, each: &EachExpression) -> Option<Value> {
        let text = self.setting(&each.name)?;
        match normalise::string_list(text) {
            Ok(items) => {
                let mut statements = Vec::new();
                for item in &items {
                    let escaped = item.replace('$', "$$").replace('\\', "\\\\").replace('"', "\\\"");
                    statements.push(Value::String(each.text.replace("{item}", &format!("\"{escaped}\""))));
                }
                Some(Value::Array(statements))
            }
            Err(why) => {
                self.problem(Reason::InvalidSetting, data_field(&each.name), why);
                None
            }
        }
    }

    fn secret(&mut self, secret: &SecretExpression) -> Option<Value> {
        if secret.optional && !self.holds(&Condition::HasSecret(secret.name.clone())) {
            return None;
        }
        let is_header = self.keys.last().is_some_and(|key| HEADER_SETTINGS.contains(&key.as_str()));
        let usage = match (secret.usage, self.usage()) {
            (Some(usage), _) => usage,
            (None, Usage::Setting) if is_header => self.transport.usage(),
            (None, usage) => usage,
        };
        if let Some(text) = self.setting(&secret.name) {
            // Works, but the credential is readable by everyone who may read Destinations.
            self.warnings.push(Problem {
                reason: Reason::InvalidSetting,
                field: data_field(&secret.name),
                message: format!(
                    "the credential is readable by everyone who may read Destinations; run `odigos destinations move-secret {}`",
                    self.instance.id
                ),
            });
            if let Some(why) = usage.problem(text) {
                self.problem(Reason::InvalidSetting, data_field(&secret.name), why);
            }
            let text = text.replace('$', "$$");
            return Some(Value::String(format!("{}{text}", secret.prefix)));
        }
        let reference = self.reference(&secret.name, usage)?;
        Some(Value::String(format!("{}{reference}", secret.prefix)))
    }

    /// The `${env:…}` reference to a key of the destination's Secret, or a problem.
    fn reference(&mut self, key: &str, usage: Usage) -> Option<String> {
        if !self.has_key(key) {
            return None;
        }
        let variable = variable_name(self.instance.id, key);
        let reference = format!("${{env:{variable}}}");
        self.environment.entry((variable, key.to_owned())).or_default().insert(usage);
        Some(reference)
    }

    fn secret_file(&mut self, file: &SecretFileExpression) -> Option<Value> {
        if !self.has_key(&file.name) {
            return None;
        }
        let path = self.named(&file.path);
        self.files.insert(SecretFile {
            key: file.name.clone(),
            path: path.clone(),
            usage: file.usage.unwrap_or(Usage::File),
        });
        Some(Value::String(path))
    }

    fn has_key(&mut self, key: &str) -> bool {
        match &self.instance.secret {
            Secret::Keys { keys, .. } if keys.contains(key) => true,
            Secret::Keys { name, .. } => {
                let message = format!("the Secret {name} has no key {key}; add it");
                self.problem(Reason::SecretKeyMissing, "spec.secretRef", message);
                false
            }
            // Reported once for the whole destination.
            Secret::Missing { .. } => false,
            Secret::None => {
                let message =
                    format!("a Secret with the key {key} is needed; create it in the same namespace and name it here");
                self.problem(Reason::SecretKeyMissing, "spec.secretRef", message);
                false
            }
        }
    }
}

pub(crate) fn data_field(name: &str) -> String {
    format!("spec.data.{name}")
}

/// Name of the environment variable for a Secret key of a destination: `D_<ID>_<HASH>_<KEY>`. The hash keeps names apart
/// that differ only in characters a variable cannot hold, so no two destinations ever share one.
pub(crate) fn variable_name(id: &str, key: &str) -> String {
    let upper = |text: &str| {
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect::<String>()
    };
    let digest = Sha256::digest(id.as_bytes());
    let hash: String = digest.iter().take(4).map(|byte| format!("{byte:02X}")).collect();
    format!("D_{}_{hash}_{}", upper(id), upper(key))
}
