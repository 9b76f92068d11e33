//! What collectors get for the examples of `docs/actions.md`: the first example of each section, compiled.

use anyhow::{Context, bail};
use odigos_api::action::{Action, ActionSpec};
use odigos_pipeline::yaml;
use odigos_plan::actions::compile;
use serde_json::{Value, json};

/// The line before what is generated; the example stands before it.
const MARK: &str = "Rendered for `signals: [TRACES]`, as the Action `example`:";
/// How many sections have such a line.
const KINDS: usize = 10;
/// Statements of one context that are shown.
const SHOWN: usize = 4;

/// The document with every block behind a mark as it is rendered now.
pub(crate) fn document(current: &str) -> anyhow::Result<String> {
    let (mut out, mut example, mut replaced) = (String::new(), String::new(), 0);
    let mut lines = current.lines();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        if line.starts_with("## ") {
            example.clear();
        }
        if line == "```yaml" && example.is_empty() {
            for line in lines.by_ref() {
                out.push_str(line);
                out.push('\n');
                if line == "```" {
                    break;
                }
                example.push_str(line);
                example.push('\n');
            }
        }
        if line != MARK {
            continue;
        }
        out.push_str(&format!("```yaml\n{}```\n", rendered(&example)?));
        replaced += 1;
        if lines.next() != Some("```yaml") {
            bail!("docs/actions.md: a block of YAML is expected behind {MARK:?}");
        }
        lines.by_ref().take_while(|line| *line != "```").for_each(drop);
    }
    if replaced != KINDS {
        bail!("docs/actions.md: {replaced} of {KINDS} sections have the line {MARK:?}");
    }
    Ok(out)
}

fn rendered(example: &str) -> anyhow::Result<String> {
    let mut spec: Value = serde_yaml::from_str(example).with_context(|| format!("failed to parse {example}"))?;
    spec["signals"] = json!(["TRACES"]);
    let spec: ActionSpec = serde_json::from_value(spec).with_context(|| format!("failed to parse {example}"))?;
    let compiled = compile(&Action::new("example", spec));
    if !compiled.problems.is_empty() {
        bail!("docs/actions.md: an example is refused: {:?}", compiled.problems);
    }
    let step = compiled.step.with_context(|| format!("nothing is rendered for {example}"))?;
    let mut settings = step.settings.rendered();
    shorten(&mut settings);
    Ok(yaml::to_string(&json!({step.id: settings})))
}

/// Leaves out what is only more of the same.
fn shorten(settings: &mut Value) {
    match settings {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value {
                    Value::Array(all) if key == "statements" && all.len() > SHOWN + 1 => {
                        let more = all.len() - SHOWN;
                        all.truncate(SHOWN);
                        all.push(json!(format!("… {more} more")));
                    }
                    other => shorten(other),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(shorten),
        _ => {}
    }
}
