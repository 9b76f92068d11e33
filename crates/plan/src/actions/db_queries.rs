//! Queries of databases (`spec/actions-and-rules.md` 2.8): literals to `?`, and operation and table read from them; compiled, and
//! evaluated.
//!
//! Owns what counts as a query of one operation and one table. Stock components know no SQL, so both kinds are approximations, and
//! [`TEMPLATES_DIFFER`] and [`INFERENCE_DIFFERS`] say where.

use super::item::{Body, Item};
use super::pattern::as_rust;
use super::problem::Problem;
use super::sql::{self, replace};
use super::transform::{Context, Group, attribute, cache, group_of, is_absent, is_match, is_there, set};
use odigos_api::action_kinds::DbQueryTemplatization;
use odigos_pipeline::ottl::{Condition, Expression, Path, Statement};

/// Where templates differ from what a parser of each dialect would make of a query.
pub(super) const TEMPLATES_DIFFER: &str = "the collector knows no dialect of SQL: text in double quotes is treated as a name, text between $$ is parsed like the query around it, a backslash always escapes within quotes, a nested comment ends with the inner one, a point in front of a number and a prefix in front of quotes stay (.5 becomes .?, N'a' becomes N?), ::type is removed within quotes and comments too unless literals are templated, and queries of 16 KiB or more are left as they are";
/// Where inference differs from what a parser would find.
pub(super) const INFERENCE_DIFFERS: &str = "the collector knows no dialect of SQL: only SELECT, INSERT, UPDATE and DELETE of one plainly named table are recognised; queries with joins, unions, subqueries, WITH, several tables or statements, and those of 16 KiB or more, are left as they are";

/// A cast of PostgreSQL.
const CAST: &str = r"::\w+(?:\[\])?";
/// Comments, once literals are gone.
const COMMENT: &str = r"(?s)--[^\n]*|/\*.*?\*/";
/// The operation of a query.
const OPERATION: &str = r"(?i)^\s*(?P<v>SELECT|INSERT|UPDATE|DELETE)\b";
/// The table of a query; of a SELECT, what stands behind the FROM that is in no parentheses.
const TABLE: &str = r#"(?is)^\s*(?:SELECT\b(?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*?\sFROM|INSERT\s+INTO|DELETE\s+FROM|UPDATE)\s+["`\[]?(?P<v>[A-Za-z_][\w$.#]{0,127})["`\]]?(?:[\s(;]|$)"#;
/// What makes it more than one operation or table, or something that is no table.
const MORE: &str = r"(?is)\b(?:JOIN|UNION|INTERSECT|EXCEPT|MINUS|USING|APPLY)\b|\S\s*\bSELECT\b|\bFROM\b.*\bFROM\b|^\s*UPDATE\b.*\bFROM\b|^\s*SELECT\b.*\bINTO\b|;\s*\S|\b(?:FROM|INTO|UPDATE)\s+(?:ONLY|LATERAL|TABLE|UNNEST|VALUES|LOW_PRIORITY|HIGH_PRIORITY|DELAYED|QUICK|IGNORE|OR|TOP|STATISTICS)\b|\bFROM\s+[^\s,()]+(?:\s+(?:AS\s+)?[^\s,()]+)?\s*,|^\s*UPDATE\s+[^\s,()]+(?:\s+(?:AS\s+)?[^\s,()]+)?\s*,|\bFROM\s+[^\s,()]+\s*\(";

/// Where operation and table are written, and where they stood before the conventions changed.
const WRITTEN: [(&str, &str, &str); 2] =
    [("db.operation.name", "db.operation", "o"), ("db.collection.name", "db.sql.table", "t")];

fn of_spans(scope: Option<Condition>, statements: Vec<Statement>) -> Group {
    let condition = Condition::All(scope.into_iter().chain([sql::has_query()]).collect());
    Group { context: Context::Span, condition: Some(condition), statements }
}

/// The group that makes templates of queries, for spans of `scope`.
pub(super) fn templating(
    kind: &DbQueryTemplatization,
    scope: Option<Condition>,
    problems: &mut Vec<Problem>,
) -> Option<Group> {
    let (literals, casts) = wanted(kind);
    if !literals && !casts {
        let message = "it changes nothing; set templatizeLiterals or removePostgresCastOperator to true";
        problems.push(Problem::new("spec.dbQueryTemplatization", message));
        return None;
    }
    let mut statements = sql::read();
    if literals {
        statements.extend(sql::hide_literals());
    }
    if casts {
        statements.push(Statement { condition: Some(sql::knows_casts()), ..replace("q", CAST, "") });
    }
    statements.extend(sql::write());
    Some(of_spans(scope, statements))
}

fn wanted(kind: &DbQueryTemplatization) -> (bool, bool) {
    (kind.templatize_literals == Some(true), kind.remove_postgres_cast_operator == Some(true))
}

/// What a span is afterwards, if the scope is for it.
pub(super) fn templated(kind: &DbQueryTemplatization, item: &mut Item) {
    if !matches!(item.body, Body::Span { .. }) {
        return;
    }
    let Some((key, query)) = sql::query(&item.attributes) else { return };
    let (literals, casts) = wanted(kind);
    let mut query = query.to_owned();
    if literals {
        query = sql::without_literals(&query);
    }
    if casts && sql::has_casts(&item.attributes) {
        query = sql::without_casts(&query);
    }
    item.attributes.insert(key.to_owned(), query.as_str().into());
}

/// The group that reads operation and table, for spans of `scope`.
pub(super) fn inference(scope: Option<Condition>) -> Group {
    let found = |pattern: &str| group_of(cache("q"), pattern, "v");
    let name = || Expression::from(Path::field("name"));
    let is_found = || is_there(cache("t"));
    let is_missing = |key: &str| {
        let index = Expression::Call("Index", vec![name(), cache(key)]);
        Condition::Less(index, Expression::Integer(0))
    };
    let mut statements = sql::read();
    statements.extend(sql::hide_literals());
    statements.push(replace("q", COMMENT, " "));
    let is_one =
        Condition::All(vec![is_match(cache("q"), TABLE), Condition::Not(Box::new(is_match(cache("q"), MORE)))]);
    statements.push(set(cache("t"), found(TABLE), Some(is_one)));
    let upper = Expression::Call("ConvertCase", vec![found(OPERATION), "upper".into()]);
    statements.push(set(cache("o"), upper, Some(is_found())));
    for (key, old, value) in WRITTEN {
        statements.push(set(
            attribute(key),
            cache(value),
            Some(Condition::All(vec![is_found(), is_absent(attribute(key)), is_absent(attribute(old))])),
        ));
    }
    let words = Expression::List(vec![cache("o"), cache("t")]);
    let condition = Condition::All(vec![is_found(), Condition::Any(vec![is_missing("o"), is_missing("t")])]);
    statements.push(set(name(), Expression::Call("Concat", vec![words, " ".into()]), Some(condition)));
    of_spans(scope, statements)
}

/// Operation and table of a query, if it has one of each.
fn read(query: &str) -> Option<(String, String)> {
    let query = as_rust(COMMENT).ok()?.replace_all(&sql::without_literals(query), " ").into_owned();
    let found = |pattern: &str| Some(as_rust(pattern).ok()?.captures(&query)?.name("v")?.as_str().to_owned());
    let table = found(TABLE)?;
    if as_rust(MORE).ok()?.is_match(&query) {
        return None;
    }
    Some((found(OPERATION)?.to_uppercase(), table))
}

/// What a span is afterwards, if the scope is for it.
pub(super) fn inferred(item: &mut Item) {
    let Body::Span { name, .. } = &mut item.body else { return };
    let Some((_, query)) = sql::query(&item.attributes) else { return };
    let Some((operation, table)) = read(query) else { return };
    if !name.contains(&operation) || !name.contains(&table) {
        *name = format!("{operation} {table}");
    }
    for ((key, old, _), value) in WRITTEN.into_iter().zip([operation, table]) {
        if !item.attributes.contains_key(key) && !item.attributes.contains_key(old) {
            item.attributes.insert(key.to_owned(), value.as_str().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn one_operation_and_one_table_or_nothing() {
        for (query, expected) in [
            ("SELECT * FROM users WHERE id=1", Some(("SELECT", "users"))),
            ("select a from \"shop\" u where b in (1, 2) order by a, b;", Some(("SELECT", "shop"))),
            ("SELECT EXTRACT(YEAR FROM x) FROM t", None),
            ("SELECT count(*), f(g(1)) FROM s.t", Some(("SELECT", "s.t"))),
            ("/* hint */ INSERT INTO `orders`(a) VALUES ('x join y; z')", Some(("INSERT", "orders"))),
            ("INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = 1, b = 2", Some(("INSERT", "t"))),
            ("UPDATE t AS u SET a = 1, b = 2", Some(("UPDATE", "t"))),
            ("DELETE FROM t", Some(("DELETE", "t"))),
            ("SELECT * FROM a JOIN b ON a.x = b.x", None),
            ("SELECT * FROM a, b", None),
            ("SELECT * FROM a x , b", None),
            ("SELECT 1 FROM a UNION SELECT 2 FROM b", None),
            ("SELECT * FROM (SELECT 1 FROM t) x", None),
            ("INSERT INTO t SELECT * FROM u", None),
            ("UPDATE t SET a = u.a FROM u", None),
            ("DELETE FROM t USING u", None),
            ("SELECT a INTO b FROM c", None),
            ("SELECT * FROM f (1)", None),
            ("SELECT * FROM ONLY t", None),
            ("DELETE FROM t; DROP TABLE t", None),
            ("WITH x AS (SELECT 1) SELECT * FROM x", None),
            ("SELECT 1", None),
            ("TRUNCATE t", None),
        ] {
            let found = read(query);
            assert_eq!(found.as_ref().map(|(a, b)| (a.as_str(), b.as_str())), expected, "{query}");
        }
    }
}
