//! What of a database query is a literal, and which spans have one (`spec/actions-and-rules.md` 2.8).
//!
//! Owns the one expression that walks a query word by word, the same walk as a function, and where the query of a span stands. The walk
//! knows comments, quoted names, parameters and names, so nothing within them is taken for a literal. It knows no dialect, and
//! [`super::db_queries`] says what follows from that.

use super::item::{Attributes, Value};
use super::pattern::as_rust;
use super::transform::{attribute, cache, is_absent, is_match, is_there, set};
use odigos_pipeline::ottl::{Condition, Expression, Statement};

/// Longest query that is looked at, in bytes: a collector walks it with an expression that remembers where it was.
pub(super) const LONGEST: usize = 16 * 1024;
/// Where a query stands, and where it stood before the conventions changed.
pub(super) const TEXT: [&str; 2] = ["db.query.text", "db.statement"];
/// Where the kind of a database stands, and where it stood.
const SYSTEM: [&str; 2] = ["db.system.name", "db.system"];
/// Databases that are asked in SQL, by their names in both generations of the conventions.
const SQL_SYSTEMS: &str = "^(?:actian\\.ingres|aws\\.redshift|cache|clickhouse|cloudscape|cockroachdb|db2|derby|edb|exasol|firebird|firebirdsql|firstsql|gcp\\.spanner|greenplum|h2|h2database|hanadb|hive|hsqldb|ibm\\.db2|ibm\\.informix|ibm\\.netezza|informix|ingres|instantdb|interbase|intersystems_cache|mariadb|maxdb|microsoft\\.sql_server|mssql|mssqlcompact|mysql|netezza|oracle|oracle\\.db|other_sql|pervasive|pointbase|postgresql|presto|progress|redshift|sap\\.hana|sap\\.maxdb|snowflake|softwareag\\.adabas|spanner|sqlite|sybase|teradata|tidb|trino|vertica|yugabytedb)$";
/// The database that knows `::type`.
const POSTGRESQL: &str = "postgresql";
/// A literal that is put behind a query, so that every literal has one after it or is the last.
const END: &str = "\n0";

/// Everything before a literal, as one group, and the literal. What is before: comments, quoted names, parameters, names, and any other
/// character. What is there once is never looked at again, since each match begins where the last one ended.
const UP_TO_LITERAL: &str = r#"(?s)((?:--[^\n]*|/\*(?:[^*]|\*+[^*/])*\*+/|"[^"]*"|`[^`]*`|[$:@?]\w+|[\p{L}_][\p{L}\p{N}_$#]*|[^'0-9])*)(?:'(?:[^'\\]|\\.|'')*(?:'|$)|0[xXbBoO][0-9a-fA-F_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9][0-9_]*)?)"#;

fn is_sql(key: &str) -> Condition {
    is_match(attribute(key), SQL_SYSTEMS)
}

/// Whether a span has a query in SQL that is not too long.
pub(super) fn has_query() -> Condition {
    let [text, old_text] = TEXT;
    let [system, old_system] = SYSTEM;
    let is_text = |key: &str| {
        let most = Expression::Integer(i64::try_from(LONGEST).unwrap_or(i64::MAX));
        let length = Condition::Less(Expression::Call("Len", vec![attribute(key)]), most);
        [is_there(attribute(key)), Condition::Call("IsString", vec![attribute(key)]), length]
    };
    let [there, is_string, is_short] = is_text(old_text);
    Condition::All(vec![
        Condition::Any(vec![is_sql(system), Condition::All(vec![is_absent(attribute(system)), is_sql(old_system)])]),
        Condition::Any(vec![
            Condition::All(is_text(text).to_vec()),
            Condition::All(vec![is_absent(attribute(text)), there, is_string, is_short]),
        ]),
    ])
}

/// Whether the database of a span knows `::type`.
pub(super) fn knows_casts() -> Condition {
    let [system, old_system] = SYSTEM;
    Condition::Any(vec![
        Condition::Equal(attribute(system), POSTGRESQL.into()),
        Condition::All(vec![is_absent(attribute(system)), Condition::Equal(attribute(old_system), POSTGRESQL.into())]),
    ])
}

/// `replace_pattern(cache["key"], pattern, replacement)`.
pub(super) fn replace(key: &str, pattern: &str, replacement: &str) -> Statement {
    Statement {
        editor: "replace_pattern",
        arguments: vec![cache(key), pattern.into(), replacement.into()],
        condition: None,
    }
}

/// The query into `cache["q"]`.
pub(super) fn read() -> Vec<Statement> {
    let [text, old_text] = TEXT;
    vec![set(cache("q"), attribute(text), None), set(cache("q"), attribute(old_text), Some(is_absent(attribute(text))))]
}

/// `cache["q"]` to where the query came from.
pub(super) fn write() -> Vec<Statement> {
    let [text, old_text] = TEXT;
    vec![
        set(attribute(text), cache("q"), Some(is_there(attribute(text)))),
        set(attribute(old_text), cache("q"), Some(is_absent(attribute(text)))),
    ]
}

/// Literals in `cache["q"]` to `?`.
pub(super) fn hide_literals() -> Vec<Statement> {
    let parts = Expression::List(vec![cache("q"), END.into()]);
    vec![
        set(cache("q"), Expression::Call("Concat", vec![parts, "".into()]), None),
        replace("q", UP_TO_LITERAL, "${1}?"),
        replace("q", r"\n\?$", ""),
    ]
}

/// The query of a span in SQL, with the attribute that it stands in.
pub(super) fn query(attributes: &Attributes) -> Option<(&'static str, &str)> {
    let of = |keys: [&'static str; 2]| keys.into_iter().find(|key| attributes.contains_key(*key));
    let system = attributes.get(of(SYSTEM)?)?.text()?;
    let key = of(TEXT)?;
    let text = attributes.get(key)?.text().filter(|text| text.len() < LONGEST)?;
    as_rust(SQL_SYSTEMS).is_ok_and(|systems| systems.is_match(system)).then_some((key, text))
}

/// Whether the database of a span knows `::type`.
pub(super) fn has_casts(attributes: &Attributes) -> bool {
    let system = SYSTEM.into_iter().find_map(|key| attributes.get(key));
    system.and_then(Value::text) == Some(POSTGRESQL)
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// How long the run of characters is that `text` begins with.
fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// How long the quoted text is that `text` begins with.
fn quoted(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '\'' if chars.peek().is_some_and(|(_, next)| *next == '\'') => drop(chars.next()),
            '\'' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// How long the number is that `text` begins with.
fn number(text: &str) -> usize {
    // Digits may be in groups, as in 1_000.
    let digits = |at: usize| run(text.get(at..).unwrap_or_default(), |c| c.is_ascii_digit() || c == '_');
    if text.starts_with('0') && text.get(1..).is_some_and(|rest| rest.starts_with(['x', 'X', 'b', 'B', 'o', 'O'])) {
        let other = run(text.get(2..).unwrap_or_default(), |c| c.is_ascii_hexdigit() || c == '_');
        if other > 0 {
            return 2 + other;
        }
    }
    let mut end = digits(0);
    if text.get(end..).is_some_and(|rest| rest.starts_with('.')) {
        end += 1 + digits(end + 1);
    }
    let rest = text.get(end..).unwrap_or_default();
    if rest.starts_with(['e', 'E']) {
        let sign = usize::from(rest.get(1..).is_some_and(|rest| rest.starts_with(['+', '-'])));
        let begins = text.get(end + 1 + sign..).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let exponent = if begins { digits(end + 1 + sign) } else { 0 };
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

/// How long the piece is that `text` begins with, and whether it is a literal.
fn piece(text: &str, name: Option<&regex::Regex>) -> (usize, bool) {
    let first = text.chars().next().unwrap_or_default();
    let closed = |mark: char| text.get(1..).and_then(|rest| rest.find(mark)).map(|at| at + 2);
    let behind = |from: usize| text.get(from..).unwrap_or_default();
    let kept = match first {
        '\'' => return (quoted(text), true),
        '0'..='9' => return (number(text), true),
        '-' if text.starts_with("--") => Some(run(text, |c| c != '\n')),
        '/' if text.starts_with("/*") => behind(2).find("*/").map(|at| at + 4),
        '"' | '`' => closed(first),
        '$' | ':' | '@' | '?' => Some(1 + run(behind(1), is_word)).filter(|length| *length > 1),
        _ => name.and_then(|name| name.find(text)).map(|found| found.end()),
    };
    (kept.unwrap_or(first.len_utf8()), false)
}

/// A query with `?` in the place of every literal. A text that is cut off within a literal ends with it.
pub(super) fn without_literals(query: &str) -> String {
    let whole = format!("{query}{END}");
    let name = as_rust(r"^[\p{L}_][\p{L}\p{N}_$#]*").ok();
    let (mut rest, mut out) = (whole.as_str(), String::with_capacity(query.len()));
    while !rest.is_empty() {
        let (length, is_literal) = piece(rest, name.as_ref());
        let (taken, behind) = rest.split_at(length);
        out.push_str(if is_literal { "?" } else { taken });
        rest = behind;
    }
    out.strip_suffix("\n?").map_or(out.clone(), str::to_owned)
}

/// A query without `::type` and `::type[]`.
pub(super) fn without_casts(query: &str) -> String {
    let (mut rest, mut out) = (query, String::with_capacity(query.len()));
    while let Some(first) = rest.chars().next() {
        let cast = rest.strip_prefix("::").map(|behind| run(behind, is_word)).filter(|length| *length > 0);
        rest = match cast {
            Some(length) => {
                let behind = rest.get(2 + length..).unwrap_or_default();
                behind.strip_prefix("[]").unwrap_or(behind)
            }
            None => {
                out.push(first);
                rest.get(first.len_utf8()..).unwrap_or_default()
            }
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_nothing_else() {
        for (query, expected) in [
            ("WHERE id = 1 AND name = 'alice'", "WHERE id = ? AND name = ?"),
            ("a = $1 AND b = :name AND t1.col2 = @p3 OR c = ?", "a = $1 AND b = :name AND t1.col2 = @p3 OR c = ?"),
            ("x = 'it''s' OR y = 'a\\'b'", "x = ? OR y = ?"),
            ("x = TRUE AND y IS NULL -- don't 5\nAND z = 5", "x = TRUE AND y IS NULL -- don't 5\nAND z = ?"),
            ("/* it's 7 */ a = 7 /* open 7", "/* it's 7 */ a = ? /* open ?"),
            ("\"col 1\" = 1 and `it's` = 1.5e-3", "\"col 1\" = ? and `it's` = ?"),
            ("a = 0xFF, b = 0x, c = .5, d = -5", "a = ?, b = ?x, c = .?, d = -?"),
            ("LIMIT 10", "LIMIT ?"),
            ("v = 1_000 AND w = 1_0.5_0e1_0 AND b = 0b1_01 AND o = 0o17", "v = ? AND w = ? AND b = ? AND o = ?"),
            ("w = .5 AND n = N'abc' AND e = E'a\\'b'", "w = .? AND n = N? AND e = E?"),
            ("a = 'cut off", "a = ?"),
            ("IN (1,2,3)", "IN (?,?,?)"),
            ("", ""),
            ("größe1 = 1", "größe1 = ?"),
        ] {
            assert_eq!(without_literals(query), expected, "{query}");
            let pattern = as_rust(UP_TO_LITERAL).unwrap();
            let end = as_rust(r"\n\?$").unwrap();
            let whole = format!("{query}{END}");
            assert_eq!(end.replace(&pattern.replace_all(&whole, "${1}?"), ""), expected, "{query}");
        }
        assert_eq!(without_casts("a::int, b::text[] , :::x, c::"), "a, b , :, c::");
    }
}
