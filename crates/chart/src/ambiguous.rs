//! Scalars that YAML 1.1 readers (Helm, kubectl) and YAML 1.2 readers (this one) understand differently.
//!
//! Owns one check over text. A bare `on` is true for the one and a word for the other; it is refused rather than guessed.

/// Bare words that are booleans in YAML 1.1 only.
const WORDS: [&str; 16] =
    ["y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"];

/// The first line of `text` that holds such a scalar as a key or a value. Block scalars are looked at too: a false alarm
/// names its line, a wrong object would not.
pub(crate) fn find(text: &str) -> Option<&str> {
    let mut block: Option<usize> = None;
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        let content = line.trim();
        if let Some(outer) = block {
            if content.is_empty() || depth > outer {
                continue;
            }
            block = None;
        }
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if parts(content).any(|part| is_ambiguous(part.trim())) {
            return Some(content);
        }
        // The text of a block scalar is a string whatever it holds.
        if ends_with_block_header(content) {
            let dashes = content.split("- ").take_while(|part| part.trim().is_empty()).count();
            block = Some(depth + 2 * dashes);
        }
    }
    None
}

fn ends_with_block_header(content: &str) -> bool {
    let last = content.rsplit(' ').next().unwrap_or_default();
    let rest = last.strip_prefix(['|', '>']);
    rest.is_some_and(|rest| rest.chars().all(|c| c == '-' || c == '+' || c.is_ascii_digit()))
}

/// Keys and values of a line; pieces of quoted strings keep a quote or a space, so they cannot be mistaken.
fn parts(content: &str) -> impl Iterator<Item = &str> {
    let content = content.split(" #").next().unwrap_or(content);
    let mut quoted: Option<char> = None;
    let mut previous = ' ';
    content
        .split(move |c: char| {
            let before = std::mem::replace(&mut previous, c);
            match quoted {
                Some(quote) => {
                    if c == quote && before != '\\' {
                        quoted = None;
                    }
                    false
                }
                None if (c == '"' || c == '\'') && !before.is_alphanumeric() => {
                    quoted = Some(c);
                    false
                }
                None => matches!(c, '{' | '}' | '[' | ']' | ',') || (c == ' ' && matches!(before, ':' | '-')),
            }
        })
        .map(|part| part.trim_end_matches(':').trim_end_matches(" -"))
}

fn is_ambiguous(part: &str) -> bool {
    if WORDS.contains(&part) {
        return true;
    }
    let number = part.trim_start_matches(['+', '-']);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Octal, grouped digits, and base 60.
    (digits(number) && number.len() > 1 && number.starts_with('0'))
        || number.starts_with("0o")
        || (number.contains('_') && digits(&number.replace('_', "")))
        || number.split_once(':').is_some_and(|(left, right)| digits(left) && digits(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_scalars_are_found() {
        for text in ["a: on", "- no", "a: {b: yes, c: 1}", "y: 1", "[off]", "a: 012", "a: 1_000", "a: 1:30", "a: - on"]
        {
            assert!(find(text).is_some(), "{text}");
        }
        for text in [
            "a: \"on\"",
            "a: 'no, off'",
            "a: on time",
            "a: true",
            "a: |-\n  on\nb: 1",
            "# on",
            "a: 10",
            "a: 0",
            "a: 0.5",
            "image: x:1.30",
            "a: b # on",
            "a: x-012",
            "a: \"say \\\"on\\\", off\"",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
        assert_eq!(find("a: |\n  on\nb: off\n"), Some("b: off"));
        assert_eq!(find("- a: |\n    on\n  b: off\n"), Some("b: off"));
    }
}
