//! Functions of Go templates, sprig and Helm that are known here; each with exactly the arguments that it understands.

use super::value::{Nature, Value};
use std::collections::BTreeMap;
use std::rc::Rc;

type Answer = Result<Value, String>;

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Answer {
    use Value::{Bool, Int, List, Map, Nil, Text};
    let yes = |bool: bool| Ok(Bool(bool));
    let text = |text: String| Ok(Value::text(&text));
    match (name, arguments) {
        ("default", [fallback, given]) => Ok(if given.is_true() { given.clone() } else { fallback.clone() }),
        ("coalesce", all) => Ok(all.iter().find(|one| one.is_true()).cloned().unwrap_or(Nil)),
        ("ternary", [one, other, Bool(which)]) => Ok(if *which { one.clone() } else { other.clone() }),
        ("empty", [one]) => yes(!one.is_true()),
        ("not", [one]) => yes(!one.is_true()),
        ("eq", [one, others @ ..]) if !others.is_empty() => {
            let mut found = false;
            for other in others {
                found |= equal(one, other)?;
            }
            yes(found)
        }
        ("ne", [one, other]) => yes(!equal(one, other)?),
        ("lt", [Int(one), Int(other)]) => yes(one < other),
        ("le", [Int(one), Int(other)]) => yes(one <= other),
        ("gt", [Int(one), Int(other)]) => yes(one > other),
        ("ge", [Int(one), Int(other)]) => yes(one >= other),
        ("int", [Int(int)]) => Ok(Int(*int)),
        #[allow(clippy::cast_possible_truncation, reason = "numbers of values are within the exact range")]
        ("int", [Value::Float(float)]) => Ok(Int(float.trunc() as i64)),
        ("dict", pairs) if pairs.len() % 2 == 0 => {
            let mut entries = BTreeMap::new();
            for pair in pairs.chunks(2) {
                let [Text(key), value] = pair else { return Err("keys of dict are text".into()) };
                entries.insert(key.to_string(), value.clone());
            }
            Ok(Value::map(entries, Nature::Own))
        }
        ("list", items) => Ok(Value::list(items.to_vec())),
        ("append", [List(items), one]) => {
            Ok(Value::list(items.iter().cloned().chain(std::iter::once(one.clone())).collect()))
        }
        ("concat", lists) => {
            let mut all = Vec::new();
            for list in lists {
                let List(items) = list else { return Err("concat joins lists".into()) };
                all.extend(items.iter().cloned());
            }
            Ok(Value::list(all))
        }
        ("has", [one, List(items)]) => {
            let mut found = false;
            for item in items.iter() {
                found |= equal(one, item)?;
            }
            yes(found)
        }
        ("len", [List(items)]) => length(items.len()),
        ("len", [Map(map)]) => length(map.entries.borrow().len()),
        ("index", [Map(map), Text(key)]) if map.nature != Nature::Builtin => {
            Ok(map.entries.borrow().get(key.as_ref()).cloned().unwrap_or(Nil))
        }
        ("index", [List(items), Int(at)]) => {
            let item = usize::try_from(*at).ok().and_then(|at| items.get(at));
            item.cloned().ok_or_else(|| format!("index {at} of a list of {}", items.len()))
        }
        ("kindIs", [Text(kind), one]) if kind.as_ref() == "map" => yes(matches!(one, Map(_))),
        ("hasKey", [Map(map), Text(key)]) => yes(map.entries.borrow().contains_key(key.as_ref())),
        ("set", [Map(map), Text(key), value]) => {
            own(map)?.entries.borrow_mut().insert(key.to_string(), value.clone());
            Ok(Map(map.clone()))
        }
        ("merge", [Map(into), others @ ..]) if !others.is_empty() => {
            for other in others {
                let Map(from) = other else { return Err("merge joins maps".into()) };
                merge(own(into)?, from)?;
            }
            Ok(Map(into.clone()))
        }
        ("toYaml", [one]) => {
            let printed = odigos_pipeline::yaml::to_string(&one.to_json()?);
            text(printed.strip_suffix('\n').unwrap_or(&printed).to_owned())
        }
        ("fromYaml", [Text(yaml)]) => {
            let data: serde_json::Value = serde_yaml::from_str(yaml).map_err(|error| error.to_string())?;
            if !data.is_object() {
                return Err("fromYaml reads mappings".into());
            }
            Value::from_json(&data, Nature::Own)
        }
        ("indent", [Int(depth), Text(lines)]) => text(indented(*depth, lines)?),
        ("nindent", [Int(depth), Text(lines)]) => text(format!("\n{}", indented(*depth, lines)?)),
        ("printf", [Text(format), arguments @ ..]) => text(printed(format, arguments)?),
        ("quote", all) => {
            let parts: Vec<String> = present(all).map(|one| quoted(&one.print()?)).collect::<Result<_, _>>()?;
            text(parts.join(" "))
        }
        ("squote", all) => {
            let parts: Vec<String> =
                present(all).map(|one| Ok(format!("'{}'", one.print()?))).collect::<Result<_, String>>()?;
            text(parts.join(" "))
        }
        ("join", [Text(separator), List(items)]) => {
            let parts: Vec<String> = present(items).map(Value::print).collect::<Result<_, _>>()?;
            text(parts.join(separator))
        }
        ("trimSuffix", [Text(end), Text(all)]) => text(all.strip_suffix(end.as_ref()).unwrap_or(all).to_owned()),
        ("trimPrefix", [Text(start), Text(all)]) => text(all.strip_prefix(start.as_ref()).unwrap_or(all).to_owned()),
        ("base", [Text(path)]) => text(split_path(path)?.1.to_owned()),
        ("dir", [Text(path)]) => text(split_path(path)?.0.to_owned()),
        ("trim", [Text(all)]) => text(all.trim().to_owned()),
        ("lower", [Text(all)]) => text(all.to_lowercase()),
        ("upper", [Text(all)]) => text(all.to_uppercase()),
        ("replace", [Text(from), Text(to), Text(all)]) if !from.is_empty() => text(all.replace(from.as_ref(), to)),
        ("contains", [Text(part), Text(all)]) => yes(all.contains(part.as_ref())),
        ("hasPrefix", [Text(part), Text(all)]) => yes(all.starts_with(part.as_ref())),
        ("hasSuffix", [Text(part), Text(all)]) => yes(all.ends_with(part.as_ref())),
        ("required", [Text(message), Nil]) => Err(message.to_string()),
        ("required", [Text(message), Text(all)]) if all.is_empty() => Err(message.to_string()),
        ("required", [Text(_), one]) => Ok(one.clone()),
        ("fail", [Text(message)]) => Err(message.to_string()),
        (name, arguments) => {
            let kinds: Vec<&str> = arguments.iter().map(Value::kind).collect();
            Err(format!("the function {name} with ({}) is not known here", kinds.join(", ")))
        }
    }
}

/// Directory and name of a path that is absolute and as short as it can be; what Go would tidy first is not known here.
fn split_path(path: &str) -> Result<(&str, &str), String> {
    let is_tidy = |part: &str| !part.is_empty() && part != "." && part != "..";
    match path.rsplit_once('/') {
        Some((directory, name)) if path.starts_with('/') && path.split('/').skip(1).all(is_tidy) => {
            Ok((if directory.is_empty() { "/" } else { directory }, name))
        }
        _ => Err(format!("{path:?} is not an absolute path in its shortest form")),
    }
}

/// `.Files.Get` and `.Files.Glob`.
pub(super) fn file(files: &BTreeMap<String, String>, name: &str, arguments: &[Value]) -> Answer {
    let [Value::Text(asked)] = arguments else { return Err(format!(".Files.{name} needs one path")) };
    match name {
        "Get" => match files.get(asked.as_ref()) {
            Some(content) => Ok(Value::text(content)),
            // Helm would render nothing in its place.
            None => Err(format!("the chart has no file {asked}")),
        },
        "Glob" => {
            let (folder, pattern) = asked.rsplit_once('/').unwrap_or(("", asked));
            let (start, end) = match pattern.split_once('*') {
                Some((start, end)) if !end.contains(['*', '?', '[', '{']) => (start, end),
                _ => return Err("patterns other than folder/*.ending are not known here".into()),
            };
            if folder.contains(['*', '?', '[', '{']) || start.contains(['?', '[', '{', '\\']) {
                return Err("patterns other than folder/*.ending are not known here".into());
            }
            let found = files.iter().filter(|(path, _)| {
                let (within, name) = path.rsplit_once('/').unwrap_or(("", path));
                within == folder && name.len() >= pattern.len() - 1 && name.starts_with(start) && name.ends_with(end)
            });
            // The contents are bytes to Helm; only paths are of use.
            Ok(Value::map(found.map(|(path, _)| (path.clone(), Value::Nil)).collect(), Nature::Own))
        }
        _ => Err(format!(".Files.{name} is not known here")),
    }
}

fn length(length: usize) -> Answer {
    i64::try_from(length).map(Value::Int).map_err(|error| error.to_string())
}

fn present(all: &[Value]) -> impl Iterator<Item = &Value> {
    all.iter().filter(|one| !matches!(one, Value::Nil))
}

/// Go compares only what has the same kind.
fn equal(one: &Value, other: &Value) -> Result<bool, String> {
    match (one, other) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Bool(one), Value::Bool(other)) => Ok(one == other),
        (Value::Int(one), Value::Int(other)) => Ok(one == other),
        (Value::Text(one), Value::Text(other)) => Ok(one == other),
        _ => Err(format!("a {} and a {} cannot be compared; use int for numbers", one.kind(), other.kind())),
    }
}

fn own(map: &Rc<super::value::Map>) -> Result<&Rc<super::value::Map>, String> {
    match map.nature {
        Nature::Own => Ok(map),
        Nature::Frozen | Nature::Builtin => Err("values are never changed by a template".into()),
    }
}

/// What `into` lacks, from `from`. Entries that are there but empty are where libraries differ.
fn merge(into: &Rc<super::value::Map>, from: &Rc<super::value::Map>) -> Result<(), String> {
    for (key, value) in from.entries.borrow().iter() {
        let found = into.entries.borrow().get(key).cloned();
        match (found, value) {
            (None, value) => {
                into.entries.borrow_mut().insert(key.clone(), value.clone());
            }
            (Some(Value::Map(inner)), Value::Map(other)) => merge(own(&inner)?, other)?,
            (Some(present), _) if present.is_true() => {}
            (Some(_), _) => return Err(format!("merge over the empty entry {key}")),
        }
    }
    Ok(())
}

fn indented(depth: i64, lines: &str) -> Result<String, String> {
    let padding = " ".repeat(usize::try_from(depth).map_err(|_| "indentation is not negative")?);
    Ok(format!("{padding}{}", lines.replace('\n', &format!("\n{padding}"))))
}

/// Text in double quotes with Go's escapes.
fn quoted(text: &str) -> Result<String, String> {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            ' '..='~' => out.push(c),
            c if c.is_alphanumeric() => out.push(c),
            other => return Err(format!("{other:?} cannot be quoted here")),
        }
    }
    out.push('"');
    Ok(out)
}

fn printed(format: &str, arguments: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut characters = format.chars();
    while let Some(c) = characters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let verb = characters.next().ok_or("printf ends with %")?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let argument = arguments.next().ok_or("printf lacks an argument")?;
        match (verb, argument) {
            ('s', Value::Text(_)) | ('d', Value::Int(_)) => out.push_str(&argument.print()?),
            ('v', Value::Text(_) | Value::Int(_) | Value::Bool(_) | Value::Float(_)) => {
                out.push_str(&argument.print()?)
            }
            ('q', Value::Text(text)) => out.push_str(&quoted(text)?),
            (verb, other) => return Err(format!("printf %{verb} with a {} is not known here", other.kind())),
        }
    }
    match arguments.next() {
        None => Ok(out),
        Some(_) => Err("printf has an argument too many".into()),
    }
}
