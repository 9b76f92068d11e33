//! What kubectl makes of texts; `crates/testkit/tests/manifests.rs` compares with kubectl itself.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn read(text: &str) -> Value {
    value(text).unwrap_or_else(|error| panic!("{error}\n{text}")).value
}

fn remarks(text: &str) -> Vec<String> {
    let all = value(text).unwrap().remarks;
    all.iter().map(|one| format!("{} {}: {}", one.line, one.path, &one.message[..20])).collect()
}

#[test]
fn merge_keys_are_applied_where_they_stand() {
    let base = "base: &base {name: base, size: 1}\n";
    let rows = [
        ("x: {<<: *base, name: own}", json!({"name": "own", "size": 1})),
        ("x: {name: own, <<: *base}", json!({"name": "base", "size": 1})),
        ("x: {<<: [*base, {name: second, more: 2}]}", json!({"name": "base", "size": 1, "more": 2})),
        ("x:\n  <<: {name: inline}\n  size: 3", json!({"name": "inline", "size": 3})),
        ("x: {\"<<\": quoted}", json!({"<<": "quoted"})),
        ("y: &y {<<: *base, size: 2}\nx: {<<: *y}", json!({"name": "base", "size": 2})),
    ];
    for (text, expected) in rows {
        assert_eq!(read(&format!("{base}{text}\n"))["x"], expected, "{text}");
    }
    assert!(value("x: {<<: 5}").unwrap_err().message.contains("mapping"));
    assert!(value("x: {<<: [5]}").is_err());
    assert_eq!(remarks("b: &b {a: 1}\nx:\n  a: 2\n  <<: *b\n"), ["4 x.a: the merge key << beh"]);
    assert_eq!(remarks("b: &b {a: 1}\nx:\n  <<: *b\n  a: 2\n"), [""; 0]);
}

#[test]
fn scalars_are_those_of_yaml_1_1() {
    let rows = [
        ("[yes, y, On, TRUE, tRue]", json!([true, true, true, true, "tRue"])),
        ("[no, N, off, False]", json!([false, false, false, false])),
        ("[\"yes\", 'no', !!str 5]", json!(["yes", "no", "5"])),
        ("[~, null, NULL]", json!([null, null, null])),
        ("[0644, 08, 0x1F, 0o17, 0b101, 1_000, +5, -0b11]", json!([420, 8, 31, 15, 5, 1000, 5, -3])),
        ("[1e3, 1.0, .5, 12e03, 0.1, 1.5e300, .e5, '.5']", json!([1000, 1, 0.5, 12000, 0.1, 1.5e300, ".e5", ".5"])),
        (
            "[190:20:30, 2026-01-02, 1.2.3, 0x, -x, +, 1e, 1-2]",
            json!(["190:20:30", "2026-01-02", "1.2.3", "0x", "-x", "+", "1e", "1-2"]),
        ),
        ("[18446744073709551615, -9223372036854775808]", json!([u64::MAX, i64::MIN])),
        (
            "[!!int \"5\", !!binary YWJj, !own bar, !!float 3, !!bool \"yes\", !!null \"\"]",
            json!([5, "abc", "bar", 3, true, null]),
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(read(text), expected, "{text}");
    }
    assert_eq!(read("on: 1\n5: 2\n0x10: 3\n"), json!({"true": 1, "5": 2, "16": 3}));
    for wrong in ["x: .inf", "x: !!int abc", "x: !!binary '*'", "null: 1", "{a: 1}: 2", "name: {{ .Values.name }}"] {
        assert!(value(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn documents_are_separated_and_one_error_ends_only_its_own() {
    let text = "\u{feff}# only a comment\n---\na: 1\n--- # second\n\u{feff}b: [\n---\nnull\n---\nc: 3\n--- {d: 4}\n---\ne: 5\n...\nf: 6\n";
    let found: Vec<String> = documents(text)
        .into_iter()
        .map(|one| match one {
            Ok(one) => format!("{} {} {} {}", one.number, one.line, one.value, one.remarks.len()),
            Err(error) => format!("{} {} error", error.document, error.line),
        })
        .collect();
    let expected =
        ["1 3 {\"a\":1} 0", "2 5 error", "3 9 {\"c\":3} 0", "4 10 error", "5 12 {\"e\":5} 1"].map(str::to_owned);
    assert_eq!(found, expected);
    assert_eq!(documents("---\n---\n# nothing\n"), []);
    assert_eq!(documents("a: 1\r\n---\r\nb: 2\r\n").len(), 2);
    // Line ends of CR alone separate nothing for kubectl.
    let old = documents("a: 1\r---\rb: 2\r");
    assert_eq!(old.len(), 1);
    assert_eq!(old[0].as_ref().unwrap().remarks.len(), 1);
    assert!(value("a: 1\n---\nb: 2\n").unwrap_err().message.contains("one document"));
    assert_eq!(read(""), Value::Null);
}

#[test]
fn json_values_may_follow_one_another() {
    let found = documents("{\"a\": 1}\n{\"b\": 1.0,\n\t\"c\": [{\"d\": 1, \"d\": 2}]} {\"e\": null}\n---\nf: 1\n");
    let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
    let shown: Vec<_> = found.iter().map(|one| (one.number, one.line, one.value.clone())).collect();
    let expected = [
        (1, 1, json!({"a": 1})),
        (2, 2, json!({"b": 1, "c": [{"d": 2}]})),
        (3, 3, json!({"e": null})),
        (4, 5, json!({"f": 1})),
    ];
    assert_eq!(shown, expected);
    assert_eq!(found[1].remarks[0].path, "c[0].d");
    // What is not JSON may still be YAML in braces.
    assert_eq!(read("{a: yes, \"b\": 1}"), json!({"a": true, "b": 1}));
}

#[test]
fn keys_that_are_set_twice_are_reported_with_their_path() {
    assert_eq!(
        remarks("metadata:\n  labels:\n    a/b: x\n    a/b: y\n"),
        ["4 metadata.labels[a/b]: the key is set twice"]
    );
    assert_eq!(read("a: 1\na: 2\n"), json!({"a": 2}));
    assert_eq!(remarks("items:\n- a: 1\n- b: 1\n  b: 2\n"), ["4 items[1].b: the key is set twice"]);
}

#[test]
fn byte_order_marks_and_utf_16_are_decoded() {
    let text = "a: \u{e4}\u{1f600}\n";
    let wide = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> { text.encode_utf16().flat_map(unit).collect() };
    let little = [vec![0xFF, 0xFE], wide(u16::to_le_bytes)].concat();
    let big = [vec![0xFE, 0xFF], wide(u16::to_be_bytes)].concat();
    let marked = [vec![0xEF, 0xBB, 0xBF], text.as_bytes().to_vec()].concat();
    for bytes in [&little, &big, &marked, &text.as_bytes().to_vec()] {
        assert_eq!(decode(bytes).unwrap(), text);
    }
    assert!(decode(b"a: \xff").unwrap_err().contains("byte 3"));
    assert!(decode(&little[..little.len() - 1]).is_err());
}

#[test]
fn aliases_are_limited() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 'b'..='j' {
        let before = char::from(level as u8 - 1);
        bomb.push_str(&format!("{level}: &{level} [{}]\n", vec![format!("*{before}"); 10].join(", ")));
    }
    assert!(value(&bomb).unwrap_err().message.contains("32 MiB"));
    assert!(value("a: &a [*a]").is_err());
    assert!(value("a: *b").is_err());
    assert!(value(&format!("{}1{}", "[".repeat(200), "]".repeat(200))).is_err());
    assert_eq!(read("a: &a {b: 1}\nc: [*a, *a]\n")["c"], json!([{"b": 1}, {"b": 1}]));
}

/// Texts that are small, or within the limit, and grow without end where they are read carelessly.
#[test]
fn texts_that_grow_are_ended_early() {
    let begin = std::time::Instant::now();
    let error = |text: &str| documents(text).into_iter().find_map(Result::err).map(|error| error.message);
    // Anchors within anchors, each of which keeps all that is in it.
    let nested: String = (0..100).map(|number| format!("&a{number} [")).collect();
    let anchors = format!("a: {nested}{}{}", "x".repeat(1 << 20), "]".repeat(100));
    assert!(error(&anchors).is_some_and(|message| message.contains("32 MiB")));
    // A long key over a long list: a path for each item would be terabytes.
    let list = format!("? {}\n: [{}]\n", "k".repeat(1 << 20), "1,".repeat(100_000));
    assert_eq!(error(&list), None);
    let json = format!("{{\"{}\": [{}1]}}", "k".repeat(1 << 20), "1,".repeat(100_000));
    assert_eq!(error(&json), None);
    // A remark on each of many keys below it.
    let twice = format!("{}:\n  {{{}}}\n", "k".repeat(1_000), "a: 1, ".repeat(20_000));
    let said = value(&twice).unwrap().remarks;
    assert!(said.len() == 1_000 && said[0].path.len() < 1_100 && said[0].path.ends_with('…'), "{}", said.len());
    // Many values, documents and levels.
    let values = "[],".repeat(NODE_LIMIT + 1);
    assert!(error(&format!("a: [{values}]")).is_some_and(|message| message.contains("values; split it")));
    assert!(error(&format!("{{\"a\": [{values}1]}}")).is_some_and(|message| message.contains("values; split it")));
    assert!(error(&"{}\n".repeat(DOCUMENT_LIMIT + 2)).is_some_and(|message| message.contains("documents")));
    assert!(error(&"---\na: 1\n".repeat(DOCUMENT_LIMIT + 2)).is_some_and(|message| message.contains("documents")));
    assert_eq!(documents(&"---\n".repeat(1 << 20)), []);
    for deep in ["[", "{a: ", "- ", "&a [", "? "] {
        assert!(error(&deep.repeat(1 << 20)).is_some(), "{deep}");
    }
    assert!(error(&" ".repeat(TEXT_LIMIT + 1)).is_some_and(|message| message.contains("larger than")));
    // Without optimisation, on a busy machine.
    assert!(begin.elapsed() < std::time::Duration::from_secs(120), "{:?}", begin.elapsed());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-z0-9:{}\\[\\]&*<!|>'\", \n\t#%.~\u{feff}]{0,80}") {
        let _ = documents(&text);
    }

    #[test]
    fn json_is_read_as_it_is(map in proptest::collection::btree_map("[a-z]{1,5}", "\\PC{0,12}", 0..6)) {
        let text = serde_json::to_string(&map).unwrap();
        prop_assert_eq!(read(&text), json!(map));
    }
}
