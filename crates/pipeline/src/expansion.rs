//! How a collector expands `$` in the strings of its configuration, and in what its references fetch.
//!
//! Owns escaping and the two limits of it: a value behind `${env:…}` is expanded like the text around it, and the search for references
//! ends at the first escaped one. Never reads a variable.

/// The text with every `$` doubled, so that a collector reads back exactly this text.
///
/// ```
/// assert_eq!(odigos_pipeline::expansion::escape("p@$$w0rd"), "p@$$$$w0rd");
/// ```
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

/// Whether a collector makes another text of this value when a reference fetches it: it halves `$$`, expands `${…}`, and joins a `$` at the end
/// with what follows.
#[must_use]
pub fn is_changed(value: &str) -> bool {
    value.contains("$$") || value.contains("${") || value.ends_with('$')
}

/// Whether the value holds `${…}`, which a collector takes for a reference.
#[must_use]
pub fn holds_reference(value: &str) -> bool {
    value.find("${").is_some_and(|begin| value[begin..].contains('}'))
}

/// The first variable of `text` that a collector leaves unexpanded, since an escaped `${…}` stands before it: in the text itself, or in the value
/// of a variable before it. `holds_escaped` says so of a variable's value.
#[must_use]
pub fn unexpanded_variable(text: &str, holds_escaped: impl Fn(&str) -> bool) -> Option<&str> {
    const REFERENCE: &str = "${env:";
    let mut begin = 0;
    let mut has_ended = false;
    while let Some(close) = text[begin..].find('}').map(|position| begin + position) {
        // As the collector does it: the nearest opening before the first closing.
        if let Some(open) = text[..=close].rfind("${").filter(|open| *open >= begin) {
            let is_escaped = text[..open].bytes().rev().take_while(|byte| *byte == b'$').count() % 2 == 1;
            let variable = text[open..close].strip_prefix(REFERENCE).filter(|_| !is_escaped);
            match variable {
                Some(variable) if has_ended => return Some(variable),
                Some(variable) => has_ended = holds_escaped(variable),
                None => has_ended = true,
            }
        }
        begin = close + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_a_collector_changes_are_found() {
        for (value, changed) in [
            ("0123456789", false),
            ("us$er", false),
            ("$1", false),
            ("a{b}", false),
            ("p@$$w0rd", true),
            ("a${HOME}b", true),
            ("a${b", true),
            ("ends with $", true),
        ] {
            assert_eq!(is_changed(value), changed, "{value}");
        }
        assert!(holds_reference("a${HOME}b") && !holds_reference("a}b${c"));
    }

    #[test]
    fn references_behind_an_escaped_one_are_found() {
        let none = |_: &str| false;
        for (text, expected) in [
            ("Bearer ${env:A}", None),
            ("${env:A} $${X}", None),
            ("$${X} ${env:A}", Some("A")),
            ("$${X} $${env:A}", None),
            ("$$${env:A}${env:B}", None),
            ("$${X ${env:A}", None),
            ("{}} ${env:A}", None),
        ] {
            assert_eq!(unexpanded_variable(text, none), expected, "{text}");
        }
        let first = |variable: &str| variable == "A";
        assert_eq!(unexpanded_variable("${env:A}:${env:B}", first), Some("B"));
        assert_eq!(unexpanded_variable("${env:B}:${env:A}", first), None);
    }
}
