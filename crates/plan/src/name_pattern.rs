//! Names in lists of the configuration, such as `ignoredNamespaces`: exact, or with `*` for any text.
//!
//! Owns matching and what is wrong with an entry; knows nothing of what the names are of. Never a regular expression: these
//! lists hold plain names in every installation, and a dot must not start to match anything.

/// A list of names, some with `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamePatterns(Vec<String>);

impl NamePatterns {
    /// The list as the configuration holds it.
    #[must_use]
    pub const fn new(entries: Vec<String>) -> Self {
        Self(entries)
    }

    /// The first entry that matches a name.
    #[must_use]
    pub fn matching(&self, name: &str) -> Option<&str> {
        self.0.iter().map(String::as_str).find(|pattern| matches(pattern, name))
    }

    /// Whether any entry matches a name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.matching(name).is_some()
    }
}

impl<T: Into<String>> FromIterator<T> for NamePatterns {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        Self(entries.into_iter().map(Into::into).collect())
    }
}

/// Whether a name matches; `*` stands for any text, also for none.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    // Each part at its first place leaves the most for those behind it.
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(tail)
}

/// Why an entry can match no name of a Kubernetes object, if so.
#[must_use]
pub fn problem(pattern: &str) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '*');
    if pattern.is_empty() {
        return Some("an empty entry matches nothing".to_owned());
    }
    if pattern.chars().all(|c| c == '*') {
        return Some(format!("{pattern:?} matches every name"));
    }
    let bad = pattern.chars().find(|c| !is_allowed(*c))?;
    Some(format!("{pattern:?} matches nothing: no name holds {bad:?}; write a name, with * for any text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stands_for_any_text_and_nothing_else_is_special() {
        for (pattern, name, expected) in [
            ("shop", "shop", true),
            ("shop", "shops", false),
            ("istio*", "istio-proxy", true),
            ("istio*", "istio", true),
            ("istio-*", "istio", false),
            ("*-system", "kube-system", true),
            ("*-system", "kube-systems", false),
            ("team-*-dev", "team-a-dev", true),
            ("team-*-dev", "team-dev", false),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a**c", "abc", true),
            ("*", "x", true),
            ("a.c", "abc", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn entry_that_can_match_nothing_is_a_problem() {
        for pattern in ["", "*", "SHOP", "^kube-.*$", "a/b", " shop"] {
            assert!(problem(pattern).is_some(), "{pattern}");
        }
        for pattern in ["shop", "kube-*", "*-system", "7up"] {
            assert_eq!(problem(pattern), None);
        }
    }
}
