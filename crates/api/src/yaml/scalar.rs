//! What a scalar of YAML 1.1 means, as kubectl's reader decides it.
//!
//! Owns booleans (`yes`, `on`, `y` too), nulls and the numbers of Go's syntax. Never changes text that is quoted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use granit_parser::Tag;
use serde_json::{Number, Value};

/// Where the types of YAML itself live.
const YAML: &str = "tag:yaml.org,2002:";

/// The value of a scalar.
///
/// # Errors
/// The tag says another type than the text has, or the number is one that JSON lacks.
pub(super) fn resolve(text: &str, is_plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return if is_plain { plain(text) } else { Ok(Value::from(text)) };
    };
    let name = tag.suffix_in_namespace(YAML);
    let wrong = || Err(format!("the value is not of the type that its tag {} names", tag.original()));
    match (name.as_deref(), name.is_some().then(|| plain(text)).transpose()?) {
        (Some("int"), Some(Value::Number(number))) if !number.is_f64() => Ok(Value::Number(number)),
        (Some("float"), Some(Value::Number(number))) => Ok(Value::Number(number)),
        (Some("bool"), Some(Value::Bool(value))) => Ok(Value::Bool(value)),
        (Some("null"), Some(Value::Null)) => Ok(Value::Null),
        (Some("int" | "float" | "bool" | "null"), _) => wrong(),
        (Some("binary"), _) => {
            let packed: String = text.split_whitespace().collect();
            STANDARD.decode(packed).map_or_else(|_| wrong(), |bytes| Ok(Value::from(String::from_utf8_lossy(&bytes))))
        }
        _ => Ok(Value::from(text)),
    }
}

fn plain(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => return Err("infinite numbers and .nan cannot be part of an object".into()),
        _ if text.starts_with('.') => text.parse().ok().and_then(float).unwrap_or_else(|| Value::from(text)),
        _ if text.starts_with(['+', '-']) || text.starts_with(|c: char| c.is_ascii_digit()) => {
            let digits = text.replace('_', "");
            integer(&digits)
                .or_else(|| is_decimal(&digits).then(|| digits.parse().ok().and_then(float)).flatten())
                .unwrap_or_else(|| Value::from(text))
        }
        _ => Value::from(text),
    })
}

/// Integers with the prefixes of Go: `0x`, `0o`, `0b`, and a bare `0` for octal ones.
fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let amount = i128::from_str_radix(digits, base).ok()?;
    let amount = if negative { -amount } else { amount };
    i64::try_from(amount).map(Value::from).or_else(|_| u64::try_from(amount).map(Value::from)).ok()
}

/// Whether a text is a decimal number with an optional fraction and exponent.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(head, tail)| (head, Some(tail)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(head, tail)| (head, Some(tail)));
    let has_digits = match fraction {
        None | Some("") => digits(whole),
        Some(fraction) => digits(fraction) && (whole.is_empty() || digits(whole)),
    };
    has_digits && exponent.is_none_or(|tail| digits(tail.strip_prefix(['+', '-']).unwrap_or(tail)))
}

/// A float as an object carries it: whole ones are integers there.
pub(super) fn float(value: f64) -> Option<Value> {
    if value.fract() == 0.0 && value.abs() < 9e18 {
        return format!("{value:.0}").parse::<i64>().ok().map(Value::from);
    }
    Number::from_f64(value).map(Value::Number)
}
