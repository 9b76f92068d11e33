//! Regular expressions of users: what a collector takes (RE2, as Go reads it), and the forms that statements need.
//!
//! A text is parsed once, by the parser of the `regex` crate; what that one takes and Go does not is refused, so a pattern that is
//! accepted here starts in every collector. Owns the place of capture groups. Never matches anything itself.

use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{
    AssertionKind, Ast, ClassPerlKind, ClassSet, ClassSetItem, ClassUnicodeKind, Flag, FlagsItemKind, GroupKind,
    HexLiteralKind, LiteralKind, RepetitionKind, RepetitionRange, Span,
};

/// Most repetitions that RE2 takes.
const MOST_REPETITIONS: u32 = 1000;
/// Longest text that is taken, in bytes.
const LONGEST: usize = 1000;
/// Most that a compiled expression may take, in bytes: a collector keeps several copies of each.
const LARGEST: usize = 512 * 1024;
/// General categories and scripts that both sides know by these names.
const UNICODE_NAMES: [&str; 49] = [
    "C",
    "Cc",
    "Cf",
    "Co",
    "Cs",
    "L",
    "Ll",
    "Lm",
    "Lo",
    "Lt",
    "Lu",
    "M",
    "Mc",
    "Me",
    "Mn",
    "N",
    "Nd",
    "Nl",
    "No",
    "P",
    "Pc",
    "Pd",
    "Pe",
    "Pf",
    "Pi",
    "Po",
    "Ps",
    "S",
    "Sc",
    "Sk",
    "Sm",
    "So",
    "Z",
    "Zl",
    "Zp",
    "Zs",
    "Arabic",
    "Armenian",
    "Cyrillic",
    "Devanagari",
    "Georgian",
    "Greek",
    "Han",
    "Hangul",
    "Hebrew",
    "Hiragana",
    "Katakana",
    "Latin",
    "Thai",
];

/// A regular expression that every collector takes.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    ast: Ast,
}

/// A piece of text that takes the place of another one.
struct Edit {
    from: usize,
    to: usize,
    text: String,
}

impl Pattern {
    /// Reads a pattern that is looked for everywhere.
    ///
    /// # Errors
    /// Why a collector would refuse it, or that it matches nothing at every place.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        Self::read(text)?.matching_something()
    }

    /// Reads a pattern whose matches are replaced; one that can only match at the start of a text may match an empty one.
    ///
    /// # Errors
    /// As those of [`Self::new`].
    pub(super) fn replaced(text: &str) -> Result<Self, String> {
        let pattern = Self::read(text)?;
        if pattern.matches_once() { Ok(pattern) } else { pattern.matching_something() }
    }

    /// Reads a pattern of which the first match counts, empty or not.
    ///
    /// # Errors
    /// Why a collector would refuse it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("an empty expression matches everywhere; write one that matches what is meant".to_owned());
        }
        if text.len() > LONGEST {
            return Err(format!("it has {} bytes; at most {LONGEST} are taken", text.len()));
        }
        let ast = Parser::new()
            .parse(text)
            .map_err(|error| format!("it is no regular expression (RE2): {}", error.kind()))?;
        check(&ast, 1)?;
        rust(text, LARGEST).map_err(|_| {
            "it becomes too large when it is compiled; repeat less, or name what is repeated more narrowly than with a dot".to_owned()
        })?;
        Ok(Self { text: text.to_owned(), ast })
    }

    fn matching_something(self) -> Result<Self, String> {
        match rust(&self.text, LARGEST).is_ok_and(|compiled| compiled.is_match("")) {
            true => Err("it matches the empty text, and so at every place; write one that matches what is meant, or one that begins with ^".to_owned()),
            false => Ok(self),
        }
    }

    /// Whether it can match at the start of a text alone.
    fn matches_once(&self) -> bool {
        fn begins(ast: &Ast) -> bool {
            match ast {
                Ast::Assertion(one) => matches!(one.kind, AssertionKind::StartLine | AssertionKind::StartText),
                Ast::Group(group) => begins(&group.ast),
                Ast::Alternation(alternation) => alternation.asts.iter().all(begins),
                Ast::Concat(concat) => {
                    concat.asts.iter().find(|one| !matches!(one, Ast::Flags(_) | Ast::Empty(_))).is_some_and(begins)
                }
                _ => false,
            }
        }
        // With the flag m, ^ is the start of every line.
        begins(&self.ast) && !self.has_flags_of_lines()
    }

    fn has_flags_of_lines(&self) -> bool {
        fn has(ast: &Ast) -> bool {
            let is_it = |item: &regex_syntax::ast::FlagsItem| item.kind == FlagsItemKind::Flag(Flag::MultiLine);
            let here = match ast {
                Ast::Flags(set) => set.flags.items.iter().any(is_it),
                Ast::Group(group) => {
                    matches!(&group.kind, GroupKind::NonCapturing(flags) if flags.items.iter().any(is_it))
                }
                _ => false,
            };
            here || children(ast).into_iter().any(has)
        }
        has(&self.ast)
    }

    /// Whether a capture group stands in another one, and one of them is repeated: which repetition it holds is not the same everywhere.
    pub(super) fn repeats_nested_groups(&self) -> bool {
        fn nests(ast: &Ast, is_within: bool) -> bool {
            let is_capture = matches!(ast, Ast::Group(group) if !matches!(group.kind, GroupKind::NonCapturing(_)));
            is_within && is_capture || children(ast).into_iter().any(|child| nests(child, is_within || is_capture))
        }
        fn repeats(ast: &Ast) -> bool {
            let mut found = Vec::new();
            if matches!(ast, Ast::Repetition(_)) {
                captures(ast, &mut found);
            }
            !found.is_empty() || children(ast).into_iter().any(repeats)
        }
        nests(&self.ast, false) && repeats(&self.ast)
    }

    /// How many capture groups it has.
    pub(super) fn groups(&self) -> usize {
        let mut found = Vec::new();
        captures(&self.ast, &mut found);
        found.len()
    }

    /// The text with its only capture group called `name`.
    pub(super) fn naming_its_group(&self, name: &str) -> String {
        let mut openings = Vec::new();
        captures(&self.ast, &mut openings);
        let edits = openings.iter().map(|(from, to)| Edit { from: *from, to: *to, text: format!("(?P<{name}>") });
        edited(&self.text, edits.collect())
    }

    /// The text as `(A)(?:B)(C)`, where `B` is the first capture group, so that a replacement can keep what stands around it.
    ///
    /// # Errors
    /// When there is no group, or it is not always part of a match, once.
    pub(super) fn around_its_first_group(&self) -> Result<String, String> {
        let parts = match &self.ast {
            Ast::Concat(concat) => concat.asts.iter().collect(),
            one => vec![one],
        };
        if self.groups() == 0 {
            return Err("it has no capture group: put what is to be masked in parentheses".to_owned());
        }
        let is_capture =
            |ast: &&Ast| matches!(ast, Ast::Group(group) if !matches!(group.kind, GroupKind::NonCapturing(_)));
        let first = parts.iter().position(|part| {
            let mut found = Vec::new();
            captures(part, &mut found);
            !found.is_empty()
        });
        let group = first.and_then(|at| parts.get(at)).copied().filter(is_capture);
        let Some(group) = group else {
            return Err("the first capture group must be at top level, not inside another group, an alternative or a repetition".to_owned());
        };
        let flags = parts.iter().take_while(|part| matches!(part, Ast::Flags(_))).count();
        if parts.iter().skip(flags).any(|part| matches!(part, Ast::Flags(_))) {
            return Err("flags such as (?i) must stand at its start".to_owned());
        }
        let begin = flags.checked_sub(1).and_then(|last| parts.get(last)).map_or(0, |last| last.span().end.offset);
        let Span { start, end } = *group.span();
        let mut edits = self.opened();
        let insert = |at: usize, text: &str| Edit { from: at, to: at, text: text.to_owned() };
        edits.push(insert(begin, "("));
        edits.push(insert(start.offset, ")"));
        edits.push(insert(end.offset, "("));
        edits.push(insert(self.text.len(), ")"));
        Ok(edited(&self.text, edits))
    }

    /// Every capture group as one that captures nothing.
    fn opened(&self) -> Vec<Edit> {
        let mut openings = Vec::new();
        captures(&self.ast, &mut openings);
        openings.into_iter().map(|(from, to)| Edit { from, to, text: "(?:".to_owned() }).collect()
    }
}

/// Applies edits; of several at one place the shorter ones come first, in their order.
fn edited(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| (edit.from, edit.to));
    let (mut out, mut at) = (String::with_capacity(text.len() + 16), 0);
    for edit in edits {
        out.push_str(text.get(at..edit.from).unwrap_or_default());
        out.push_str(&edit.text);
        at = edit.to;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

fn children(ast: &Ast) -> Vec<&Ast> {
    match ast {
        Ast::Group(group) => vec![&group.ast],
        Ast::Repetition(repetition) => vec![&repetition.ast],
        Ast::Alternation(alternation) => alternation.asts.iter().collect(),
        Ast::Concat(concat) => concat.asts.iter().collect(),
        _ => Vec::new(),
    }
}

/// Where the opening of each capture group begins and ends, in the order of their numbers.
fn captures(ast: &Ast, found: &mut Vec<(usize, usize)>) {
    if let Ast::Group(group) = ast {
        let from = group.span.start.offset;
        match &group.kind {
            GroupKind::CaptureIndex(_) => found.push((from, from + 1)),
            GroupKind::CaptureName { name, .. } => found.push((from, name.span.end.offset + 1)),
            GroupKind::NonCapturing(_) => {}
        }
    }
    children(ast).into_iter().for_each(|child| captures(child, found));
}

/// Refuses what Go does not read, or reads otherwise; `repeated` is how often what stands around it repeats it.
fn check(ast: &Ast, repeated: u32) -> Result<(), String> {
    let mut within = repeated;
    match ast {
        Ast::Flags(set) => check_flags(&set.flags.items.iter().map(|item| &item.kind).collect::<Vec<_>>())?,
        Ast::Group(group) => match &group.kind {
            GroupKind::NonCapturing(flags) => {
                check_flags(&flags.items.iter().map(|item| &item.kind).collect::<Vec<_>>())?;
            }
            GroupKind::CaptureName { name, .. } => {
                if !name.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    return Err(format!("RE2 takes letters, digits and _ in the name of a group, not {:?}", name.name));
                }
            }
            GroupKind::CaptureIndex(_) => {}
        },
        Ast::Literal(literal) => check_literal(&literal.kind)?,
        Ast::ClassUnicode(class) => check_unicode(&class.kind)?,
        Ast::ClassBracketed(class) => check_set(&class.kind)?,
        Ast::Assertion(assertion) => check_assertion(&assertion.kind)?,
        Ast::Repetition(repetition) => {
            let most = match &repetition.op.kind {
                RepetitionKind::Range(RepetitionRange::Exactly(count) | RepetitionRange::AtLeast(count)) => *count,
                RepetitionKind::Range(RepetitionRange::Bounded(_, count)) => *count,
                RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => 0,
            };
            within = repeated.saturating_mul(most.max(1));
            if within > MOST_REPETITIONS {
                return Err(format!(
                    "RE2 repeats at most {MOST_REPETITIONS} times, all around it together, not {within}"
                ));
            }
            if matches!(*repetition.ast, Ast::Repetition(_)) {
                return Err("RE2 takes no repetition of a repetition; put the inner one in a group (?:…)".to_owned());
            }
        }
        Ast::Empty(_) | Ast::Dot(_) | Ast::ClassPerl(_) | Ast::Alternation(_) | Ast::Concat(_) => {}
    }
    children(ast).into_iter().try_for_each(|child| check(child, within))
}

fn check_flags(items: &[&FlagsItemKind]) -> Result<(), String> {
    let unknown = items.iter().any(|item| {
        let known = [Flag::CaseInsensitive, Flag::MultiLine, Flag::DotMatchesNewLine, Flag::SwapGreed];
        matches!(item, FlagsItemKind::Flag(flag) if !known.contains(flag))
    });
    if unknown { Err("RE2 knows the flags i, m, s and U alone".to_owned()) } else { Ok(()) }
}

fn check_literal(kind: &LiteralKind) -> Result<(), String> {
    match kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            Err("RE2 knows no \\u; write \\x{…}".to_owned())
        }
        LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            Err("RE2 knows no \\u{…}; write \\x{…}".to_owned())
        }
        LiteralKind::Superfluous => Err("RE2 takes a backslash before punctuation alone".to_owned()),
        _ => Ok(()),
    }
}

fn check_assertion(kind: &AssertionKind) -> Result<(), String> {
    match kind {
        AssertionKind::StartLine
        | AssertionKind::EndLine
        | AssertionKind::StartText
        | AssertionKind::EndText
        | AssertionKind::WordBoundary
        | AssertionKind::NotWordBoundary => Ok(()),
        _ => Err("RE2 knows the word boundaries \\b and \\B alone".to_owned()),
    }
}

fn check_unicode(kind: &ClassUnicodeKind) -> Result<(), String> {
    let name = match kind {
        ClassUnicodeKind::OneLetter(letter) => letter.to_string(),
        ClassUnicodeKind::Named(name) => name.clone(),
        ClassUnicodeKind::NamedValue { name, value, .. } => format!("{name}={value}"),
    };
    if UNICODE_NAMES.contains(&name.as_str()) {
        Ok(())
    } else {
        Err(format!("\\p{{{name}}} is not among the classes that are supported: {}", UNICODE_NAMES.join(", ")))
    }
}

fn check_set(set: &ClassSet) -> Result<(), String> {
    match set {
        ClassSet::BinaryOp(_) => Err("RE2 knows no operators (&&, --, ~~) in a class".to_owned()),
        ClassSet::Item(item) => check_item(item),
    }
}

fn check_item(item: &ClassSetItem) -> Result<(), String> {
    match item {
        ClassSetItem::Bracketed(_) => {
            Err("RE2 reads no class within a class; escape the inner bracket as \\[".to_owned())
        }
        ClassSetItem::Literal(literal) => check_literal(&literal.kind),
        ClassSetItem::Range(range) => {
            [&range.start, &range.end].into_iter().try_for_each(|end| check_literal(&end.kind))
        }
        ClassSetItem::Unicode(class) => check_unicode(&class.kind),
        ClassSetItem::Union(union) => union.items.iter().try_for_each(check_item),
        ClassSetItem::Empty(_) | ClassSetItem::Ascii(_) | ClassSetItem::Perl(_) => Ok(()),
    }
}

/// The pattern for the `regex` crate, whose `\d`, `\s`, `\w` and `\b` know more letters than Go's.
pub(super) fn as_rust(text: &str) -> Result<regex::Regex, String> {
    rust(text, 8 * LARGEST)
}

fn rust(text: &str, largest: usize) -> Result<regex::Regex, String> {
    let ast = Parser::new().parse(text).map_err(|error| error.to_string())?;
    let mut edits = Vec::new();
    narrowed(&ast, &mut edits);
    regex::RegexBuilder::new(&edited(text, edits)).size_limit(largest).build().map_err(|error| error.to_string())
}

fn narrowed(ast: &Ast, edits: &mut Vec<Edit>) {
    let mut replace =
        |span: &Span, text: String| edits.push(Edit { from: span.start.offset, to: span.end.offset, text });
    match ast {
        Ast::ClassPerl(class) => replace(&class.span, perl(&class.kind, class.negated)),
        Ast::ClassBracketed(class) => {
            if let ClassSet::Item(item) = &class.kind {
                narrowed_item(item, edits);
            }
        }
        Ast::Assertion(one) if one.kind == AssertionKind::WordBoundary => replace(&one.span, r"(?-u:\b)".to_owned()),
        _ => {}
    }
    children(ast).into_iter().for_each(|child| narrowed(child, edits));
}

fn narrowed_item(item: &ClassSetItem, edits: &mut Vec<Edit>) {
    match item {
        ClassSetItem::Perl(class) => {
            let Span { start, end } = class.span;
            edits.push(Edit { from: start.offset, to: end.offset, text: perl(&class.kind, class.negated) });
        }
        ClassSetItem::Union(union) => union.items.iter().for_each(|one| narrowed_item(one, edits)),
        _ => {}
    }
}

fn perl(kind: &ClassPerlKind, negated: bool) -> String {
    let members = match kind {
        ClassPerlKind::Digit => "0-9",
        ClassPerlKind::Space => r"\t\n\f\r ",
        ClassPerlKind::Word => "0-9A-Za-z_",
    };
    format!("[{}{members}]", if negated { "^" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_does_not_read_is_refused() {
        for text in [
            "",
            "(",
            "a{1001}",
            "a**",
            r"[a&&b]",
            "[[a]b]",
            "(?x)a b",
            r"\u0041",
            r"\b{start}a",
            r"\p{Alphabetic}",
            r"\<a",
            "(?=a)",
            r"(a)\1",
            "(?:a{100}){100}",
            "(?P<a.b>x)",
            "(a*)",
            "a|",
            ".{0,1000}.{0,1000}x",
        ] {
            assert!(Pattern::new(text).is_err(), "{text}");
        }
        for text in ["a", r"[[:alpha:]]\d{1000}", "(?i)a", r"\x{41}\.", r"\p{L}\p{Greek}", "(?P<a>b)", "a+?", "é"] {
            assert!(Pattern::new(text).is_ok(), "{text}: {:?}", Pattern::new(text));
        }
        assert!(Pattern::new(&"a".repeat(LONGEST + 1)).is_err());
    }

    #[test]
    fn pattern_that_matches_nothing_is_taken_where_it_matches_once() {
        for text in ["^.*$", "^(a*)(b?)", r"\A(?:x|)", "(?i)^a*", "^(?:a|)|^b*", "(^.*)"] {
            assert!(Pattern::replaced(text).is_ok() && Pattern::new(text).is_err(), "{text}");
        }
        for text in ["a*", "(?m)^.*$", "^a|b*", "$", "(?:(?m)^)?"] {
            assert!(Pattern::replaced(text).is_err() && Pattern::read(text).is_ok(), "{text}");
        }
        let repeats = |text: &str| Pattern::read(text).unwrap().repeats_nested_groups();
        assert!(!repeats("((a)b)") && !repeats("(a)+") && repeats("((a)|b)+") && repeats("(a(b)*)"));
    }

    #[test]
    fn what_stands_around_the_first_group_is_kept() {
        let of = |text: &str| Pattern::new(text).unwrap().around_its_first_group();
        assert_eq!(of(r"api[_-]?key=([^\s&]+)").unwrap(), r"(api[_-]?key=)(?:[^\s&]+)()");
        assert_eq!(of("(a)").unwrap(), "()(?:a)()");
        assert_eq!(of("x(a(b))y(?P<n>c)z").unwrap(), "(x)(?:a(?:b))(y(?:c)z)");
        assert_eq!(of("(?i)k=(v)").unwrap(), "(?i)(k=)(?:v)()");
        for text in ["k=v", "k=(v)?", "a=(b)|c=(d)", "(?:k=(v))", "k=(?i)(v)"] {
            assert!(of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_group_of_an_extraction_is_named() {
        let of = |text: &str| Pattern::new(text).unwrap().naming_its_group("v");
        assert_eq!(of("req-([a-z0-9]+)"), "req-(?P<v>[a-z0-9]+)");
        assert_eq!(of("req-(?P<id>[a-z0-9]+)"), "req-(?P<v>[a-z0-9]+)");
        assert_eq!(Pattern::new("(a(b))").unwrap().groups(), 2);
    }

    #[test]
    fn classes_are_those_of_go() {
        let matches = |pattern: &str, text: &str| as_rust(pattern).unwrap().is_match(text);
        assert!(matches(r"^\d$", "7") && !matches(r"^\d$", "٧"));
        assert!(matches(r"^[\w-]+$", "a-b") && !matches(r"^[\w-]+$", "é"));
        assert!(!matches(r"\s", "\u{b}") && matches(r"^[a\D]$", "x"));
        assert!(matches(r"\ba\b", "éaé"), "letters beyond ASCII are no words there");
    }
}
