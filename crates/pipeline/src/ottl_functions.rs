//! The functions of the OpenTelemetry Transformation Language that the collector of this release knows, and the calls in a text.
//!
//! Owns the table: it was read from the modules of release [`RELEASE`] (`pkg/ottl/ottlfuncs`, `processor/transformprocessor`,
//! `internal/filter/filterottl`), and tests on the real collector hold it. Finds names of calls and nothing else: a statement with known
//! functions can still be wrong.

use odigos_api::Signal;

/// Release of the modules that the table was read from; the one that our collectors are built from.
pub const RELEASE: &str = "0.158.0";

/// Functions that change something; they begin a statement.
pub const EDITORS: [&str; 16] = [
    "append",
    "delete_index",
    "delete_key",
    "delete_matching_keys",
    "flatten",
    "keep_keys",
    "keep_matching_keys",
    "limit",
    "merge_maps",
    "replace_all_matches",
    "replace_all_patterns",
    "replace_match",
    "replace_pattern",
    "set",
    "stringify_all",
    "truncate_all",
];

/// Functions that yield a value, in every context.
#[rustfmt::skip]
pub const CONVERTERS: [&str; 105] = [
    "All", "Any", "Base64Decode", "Base64Encode", "Bool", "Coalesce", "CommunityID", "Concat", "ContainsValue",
    "ConvertAttributesToElementsXML", "ConvertCase", "ConvertTextToElementsXML", "Day", "Decode", "Double", "Duration",
    "ExtractGrokPatterns", "ExtractPatterns", "FNV", "Filter", "Find", "Format", "FormatTime", "GetXML", "HasPrefix", "HasSuffix",
    "Hex", "Hour", "Hours", "Index", "InsertXML", "Int", "IsBool", "IsDouble", "IsEmpty", "IsInCIDR", "IsInt", "IsList", "IsMap",
    "IsMatch", "IsString", "IsValidLuhn", "Keys", "Len", "Log", "MD5", "MapEach", "MapKeys", "Microseconds", "Milliseconds",
    "Minute", "Minutes", "Month", "Murmur3Hash", "Murmur3Hash128", "Nanosecond", "Nanoseconds", "Now", "ParseCSV", "ParseInt",
    "ParseJSON", "ParseKeyValue", "ParseSeverity", "ParseSimplifiedXML", "ParseXML", "ProfileID", "Reduce", "RemoveXML", "SHA1",
    "SHA256", "SHA512", "Second", "Seconds", "SliceToMap", "Sort", "SpanID", "Split", "String", "Substring", "Time", "ToCamelCase",
    "ToKeyValueString", "ToLowerCase", "ToSnakeCase", "ToUpperCase", "TraceID", "Trim", "TrimPrefix", "TrimSuffix", "TruncateTime",
    "URL", "UUID", "UUIDv7", "Unix", "UnixMicro", "UnixMilli", "UnixNano", "UnixSeconds", "UserAgent", "Values", "Weekday", "When",
    "XXH128", "XXH3", "Year",
];

/// Functions of one context alone, in statements of the transform processor.
const OF_CONTEXT: [(&str, &[&str]); 4] = [
    ("datapoint", &["convert_summary_count_val_to_sum", "convert_summary_sum_val_to_sum", "merge_histogram_buckets"]),
    ("log", &["ParseCEF", "ParseCLF", "ParseELF", "ParseLEEF"]),
    (
        "metric",
        &[
            "aggregate_on_attribute_value",
            "aggregate_on_attributes",
            "convert_exponential_histogram_to_histogram",
            "convert_gauge_to_sum",
            "convert_sum_to_gauge",
            "convert_summary_quantile_val_to_gauge",
            "copy_metric",
            "extract_count_metric",
            "extract_percentile_metric",
            "extract_sum_metric",
            "scale_metric",
        ],
    ),
    ("span", &["IsRootSpan", "set_semconv_span_name"]),
];

/// Functions of one context alone, in conditions of the filter processor.
const OF_FILTER: [(&str, &[&str]); 2] =
    [("metric", &["HasAttrKeyOnDatapoint", "HasAttrOnDatapoint"]), ("span", &["IsRootSpan"])];

/// Contexts of the statements and conditions of a signal.
#[must_use]
pub const fn contexts(signal: Signal) -> &'static [&'static str] {
    match signal {
        Signal::Traces => &["resource", "scope", "span", "spanevent"],
        Signal::Metrics => &["resource", "scope", "metric", "datapoint", "exemplar"],
        Signal::Logs => &["resource", "scope", "log"],
        Signal::Profiles => &["resource", "scope", "profile"],
    }
}

/// Whose text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Statements and conditions of the transform processor.
    Transform,
    /// Conditions of the filter processor.
    Filter,
}

impl Language {
    /// The functions that a text may call in one of these contexts.
    #[must_use]
    pub fn functions(self, contexts: &[&str]) -> Vec<&'static str> {
        let (editors, of_context): (&[&str], &[(&str, &[&str])]) = match self {
            Self::Transform => (&EDITORS, &OF_CONTEXT),
            Self::Filter => (&[], &OF_FILTER),
        };
        let own = of_context.iter().filter(|(context, _)| contexts.contains(context)).flat_map(|(_, names)| *names);
        editors.iter().chain(&CONVERTERS).chain(own).copied().collect()
    }
}

/// Words that a parenthesis may follow although they are no functions.
const KEYWORDS: [&str; 4] = ["and", "or", "not", "where"];

/// The names of the functions that a statement or condition calls, in their order.
///
/// ```
/// # use odigos_pipeline::ottl_functions::calls;
/// assert_eq!(calls(r#"set(name, Concat(["a("], "")) where not (IsMatch(name, "x\"y("))"#), ["set", "Concat", "IsMatch"]);
/// ```
#[must_use]
pub fn calls(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut word: Option<(usize, usize)> = None;
    let mut characters = text.char_indices();
    while let Some((position, c)) = characters.next() {
        match c {
            '"' => {
                word = None;
                while let Some((_, inside)) = characters.next() {
                    match inside {
                        '\\' => drop(characters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '(' => {
                let name = word.take().and_then(|(begin, end)| text.get(begin..end));
                found.extend(name.filter(|name| !KEYWORDS.contains(name)));
            }
            c if c.is_ascii_alphanumeric() || c == '_' => {
                let end = position + c.len_utf8();
                word = match word {
                    Some((begin, before)) if before == position => Some((begin, end)),
                    _ => Some((position, end)),
                };
            }
            // Blanks may stand between a name and its parenthesis.
            c if c.is_whitespace() => {}
            _ => word = None,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_outside_of_texts() {
        for (text, expected) in [
            (r#"set(span.attributes["a(b)"], "c(d)")"#, vec!["set"]),
            ("set (name, ParseJSON( body ))", vec!["set", "ParseJSON"]),
            (r#"attributes["x"] == 1 and (name == "y" or not (IsRootSpan()))"#, vec!["IsRootSpan"]),
            ("resource.attributes[\"k\"] != nil", vec![]),
            (r#"set(x, "a\\") where Foo(y)"#, vec!["set", "Foo"]),
            ("1 + (2 * 3) > Len(x)", vec!["Len"]),
            ("set(x, \"unclosed", vec!["set"]),
            ("", vec![]),
        ] {
            assert_eq!(calls(text), expected, "{text}");
        }
    }

    #[test]
    fn functions_are_those_of_the_context() {
        let of = |language: Language, contexts: &[&str], name: &str| language.functions(contexts).contains(&name);
        assert!(of(Language::Transform, &["span"], "set_semconv_span_name"));
        assert!(!of(Language::Transform, &["resource"], "set_semconv_span_name"));
        assert!(of(Language::Transform, contexts(Signal::Metrics), "merge_histogram_buckets"));
        assert!(!of(Language::Transform, contexts(Signal::Logs), "convert_sum_to_gauge"));
        assert!(of(Language::Filter, &["metric"], "HasAttrOnDatapoint") && !of(Language::Filter, &["span"], "set"));
    }
}
