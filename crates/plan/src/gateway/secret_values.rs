//! What is known of the values of Secrets: a digest, and what a collector or a container would make of them.
//!
//! Owns the rule which values reach the gateway as an escaped copy, which can be no environment variable at all, and what people are told about
//! a value, by where a Destination uses it. Never keeps a value, and no message holds a part of one.

use crate::objects::hash;
use odigos_api::destination::Destination;
use odigos_catalog::{Usage, usage};
use odigos_pipeline::expansion;
use std::collections::{BTreeMap, BTreeSet};

/// The keys of a Secret, each with what is known of its value.
pub type SecretKeys = BTreeMap<String, SecretValue>;

/// Longest value of an environment variable, in bytes: Linux takes 128 KiB for one with its name.
const LONGEST_VARIABLE: usize = 128 * 1024 - 1024;
/// Longest part of a key that a key of the escaped copy repeats; the API server takes 253 characters.
const LONGEST_KEY: usize = 200;

/// What is known of one value. The value itself never comes here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretValue {
    /// Digest of the value; a change of it rolls the pods.
    pub digest: String,
    /// Bytes of the value.
    pub size: usize,
    /// Whether a collector would make another text of it, so that it is handed over as an escaped copy.
    pub is_expanded: bool,
    /// Whether it holds `${…}`.
    pub holds_reference: bool,
    /// Why there is no escaped copy although it needs one.
    pub copy_failure: Option<String>,
    /// Why no container could start with it as an environment variable.
    obstacle: Option<&'static str>,
    /// What is probably not meant, of any use of the value.
    remarks: Vec<&'static str>,
    /// What is probably not meant in a value that is part of a request.
    variable_remarks: Vec<&'static str>,
    /// What is known of single uses: why it can never work there, and what is probably not meant.
    by_usage: BTreeMap<Usage, (Option<&'static str>, Vec<&'static str>)>,
}

impl SecretValue {
    /// Judges a value, which is dropped afterwards.
    ///
    /// ```
    /// # use odigos_plan::gateway::secret_values::SecretValue;
    /// assert!(SecretValue::of(b"p@$$w0rd").is_expanded);
    /// assert!(!SecretValue::of(b"us$er").is_expanded);
    /// ```
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        let mut known = Self { digest: hash(value, 64), size: value.len(), ..Self::default() };
        let Ok(text) = std::str::from_utf8(value) else {
            known.obstacle = Some("it is not UTF-8 text, which a collector needs here");
            // No text is no JSON and no PEM either.
            let of_texts = [Usage::GoogleCredentials, Usage::Certificates, Usage::PrivateKey];
            known.by_usage = of_texts.map(|usage| (usage, (usage.problem(""), Vec::new()))).into();
            return known;
        };
        if text.contains('\0') {
            known.obstacle = Some("it holds a NUL character, which no environment variable can hold");
        } else if text.len() > LONGEST_VARIABLE {
            known.obstacle = Some("it is longer than 127 KiB, which no environment variable can hold");
        }
        known.is_expanded = expansion::is_changed(text);
        known.holds_reference = expansion::holds_reference(text);
        if text.is_empty() {
            known.remarks.push("it is empty");
        } else if text.trim().is_empty() {
            known.remarks.push("it is blank");
        }
        let judged = usage::ALL.map(|usage| (usage, (usage.problem(text), usage.remarks(text))));
        let is_said =
            |(_, (problem, remarks)): &(Usage, (Option<&str>, Vec<&str>))| problem.is_some() || !remarks.is_empty();
        known.by_usage = judged.into_iter().filter(is_said).collect();
        if known.holds_reference {
            known.remarks.push(
                "it holds ${…} and is sent as it is written; a placeholder that no tool has filled in looks like this",
            );
        } else if text.contains("$$") {
            known
                .variable_remarks
                .push("it holds $$, which is sent as it is written; write one $ where it was doubled for a collector");
        }
        known
    }

    /// A value that does not exist yet: nothing is known of it, and `key` stands for its digest.
    #[must_use]
    pub fn to_come(key: &str) -> Self {
        Self { digest: hash(key, 64), ..Self::default() }
    }

    /// Why it can never work where it is used.
    #[must_use]
    pub fn problem(&self, usage: Usage) -> Option<&'static str> {
        self.by_usage.get(&usage).and_then(|(problem, _)| *problem)
    }

    /// Why a container cannot get it as an environment variable.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        let copy = self.copy_failure.as_ref().filter(|_| self.is_expanded).map(|failure| {
            format!(
                "it contains $$ or ${{…}}, which a collector expands, and writing its escaped copy failed: {failure}"
            )
        });
        self.obstacle.map(str::to_owned).or(copy)
    }

    /// What people should know about the value where it is used.
    #[must_use]
    pub fn remarks(&self, usages: &BTreeSet<Usage>) -> Vec<&'static str> {
        let is_variable = usages.iter().any(|usage| !usage.is_file());
        let more = if is_variable { self.variable_remarks.as_slice() } else { &[] };
        let of_usages = usages.iter().filter_map(|usage| self.by_usage.get(usage)).flat_map(|(_, remarks)| remarks);
        self.remarks.iter().chain(more).chain(of_usages).copied().collect()
    }
}

/// Key of a value's copy inside [`odigos_api::names::ESCAPED_SECRETS`].
#[must_use]
pub fn copy_key(secret: &str, key: &str) -> String {
    let readable: String = key.chars().take(LONGEST_KEY).collect();
    format!("{readable}.{}", hash(format!("{secret}\u{0}{key}"), 32))
}

/// What the escaped copy holds: Secret and key of every value that a Destination may read and a collector would change.
#[must_use]
pub fn copied<'a>(
    destinations: impl IntoIterator<Item = &'a Destination>,
    secrets: &BTreeMap<String, SecretKeys>,
) -> BTreeSet<(String, String)> {
    let mut wanted = BTreeSet::new();
    for destination in destinations.into_iter().filter(|one| one.spec.disabled != Some(true)) {
        let Some(reference) = &destination.spec.secret_ref else { continue };
        let definition = odigos_catalog::destination::find(&destination.spec.type_);
        // A type whose settings are written by its user may refer to any key.
        let reads = |key: &str| definition.is_some_and(|one| one.reads_secret_key(key));
        let keys = secrets.get(&reference.name).into_iter().flatten();
        let keys = keys.filter(|(key, value)| value.is_expanded && reads(key));
        wanted.extend(keys.map(|(key, _)| (reference.name.clone(), key.clone())));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::destination;
    use serde_json::json;

    #[test]
    fn values_are_judged_and_never_repeated() {
        for (value, obstacle, words) in [
            ("secret-0123456789".as_bytes(), false, ""),
            (b"", false, "is empty"),
            (b"   ", false, "is blank"),
            (b"secret-key\n", false, "line break"),
            (b"secret\x1bkey", false, "control character"),
            (b" secret-key", false, "begins or ends with a blank"),
            (b"p@$$secret", false, "holds $$"),
            (b"${secret:=changeme}", false, "placeholder"),
            (b"\xff\xfe", true, ""),
            (b"secret\0", true, ""),
        ] {
            let known = SecretValue::of(value);
            let remarks = known.remarks(&[Usage::Setting].into());
            let problems = usage::ALL.map(|usage| known.problem(usage));
            let said = format!("{:?} {remarks:?}", known.obstacle());
            assert!(!format!("{problems:?}").contains("secret"), "{problems:?}");
            assert_eq!(known.obstacle().is_some(), obstacle, "{said}");
            assert!(said.contains(words) && !said.contains("secret"), "{said}");
            assert_eq!(words.is_empty(), remarks.is_empty() || obstacle, "{said}");
        }
        assert!(SecretValue::of(&vec![b'a'; 200_000]).obstacle().is_some());
        // A file may have several lines.
        assert!(SecretValue::of(b"{\n\"a\": 1}\n").remarks(&[Usage::File].into()).is_empty());
        assert_eq!(SecretValue::to_come("k").problem(Usage::OtlpUrl), None);
    }

    #[test]
    fn only_values_that_destinations_read_are_copied() {
        let mut one = destination("d", "honeycomb", &["TRACES"], json!({}));
        one.spec.secret_ref = Some(odigos_api::destination::SecretRef { name: "s".into() });
        let keys: SecretKeys = [("HONEYCOMB_API_KEY", "a$$b"), ("OTHER", "a$$b")]
            .map(|(key, value)| (key.to_owned(), SecretValue::of(value.as_bytes())))
            .into();
        let secrets = BTreeMap::from([("s".to_owned(), keys)]);
        let expected = BTreeSet::from([("s".to_owned(), "HONEYCOMB_API_KEY".to_owned())]);
        assert_eq!(copied([&one], &secrets), expected);
        one.spec.type_ = "dynamic".into();
        assert_eq!(copied([&one], &secrets).len(), 2);
        one.spec.disabled = Some(true);
        assert!(copied([&one], &secrets).is_empty());
    }

    #[test]
    fn keys_of_copies_are_distinct_and_legal() {
        assert_ne!(copy_key("a", "b.c"), copy_key("a.b", "c"));
        assert!(copy_key("a", &"k".repeat(253)).len() <= 253);
    }
}
