//! Durations as configuration files write them: Go's notation, e.g. `1m30s`.

/// Milliseconds of a duration such as `10s`, `1m30s`, `1.5h` or `500ms`; `None` for anything else, signs included.
#[must_use]
pub fn milliseconds(text: &str) -> Option<i64> {
    let mut rest = text;
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0_f64;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let factor = match unit {
            "ns" => 1e-6,
            "us" | "µs" => 1e-3,
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 6e4,
            "h" => 3.6e6,
            _ => return None,
        };
        total += number * factor;
        parts += 1;
        rest = tail;
    }
    // Anything longer than a century is a slip of the keyboard.
    (parts > 0 && total <= 3.2e12).then_some(total as i64)
}

/// Whether `text` is a duration above zero.
#[must_use]
pub fn is_positive(text: &str) -> bool {
    milliseconds(text).is_some_and(|amount| amount > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_notation() {
        for (text, expected) in [
            ("10s", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("500ms", Some(500)),
            ("0", Some(0)),
            ("abc", None),
            ("", None),
            ("10", None),
            ("-5s", None),
            ("5 s", None),
            ("s", None),
            ("99999999999999h", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
        assert!(!is_positive("0s") && is_positive("1ms"));
    }
}
