//! Text on a screen: folded lines and ages.

use jiff::Timestamp;

/// Columns of a screen that nobody has to scroll sideways.
pub(crate) const WIDTH: usize = 110;

/// A label and a text that is folded beside it; an empty label keeps the column.
pub(crate) fn field(label: &str, width: usize, text: &str) -> String {
    let mut out = String::new();
    for (index, line) in folded(text, WIDTH.saturating_sub(width + 2)).iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        out.push_str(format!("{label:<width$}  {line}").trim_end());
        out.push('\n');
    }
    out
}

/// Lines of at most `width` characters, broken between words.
pub(crate) fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { continue };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Time that has passed, in its largest unit.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// Items with commas, or a word for none.
pub(crate) fn listed(items: &[String], none: &str) -> String {
    if items.is_empty() { none.to_owned() } else { items.join(", ") }
}
