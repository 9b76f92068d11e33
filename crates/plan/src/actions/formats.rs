//! How a key and its value stand in a text of a format (`spec/actions-and-rules.md` 2.4, 2.7).
//!
//! Owns what stands before the value. What of the value is taken differs: masking takes quoted ones whole, extraction a bare word.

use odigos_api::action_kinds::DataFormat;
use regex::escape;

/// The pattern of everything from the boundary before a key, which is taken literally, to its value.
pub(super) fn before_value(format: DataFormat, key: &str) -> String {
    let key = escape(key);
    match format {
        DataFormat::Json => format!(r#"(?:^|[\s{{,])["']?{key}["']?\s*:\s*"#),
        DataFormat::Sql => format!(r"(?:^|[\s,(]){key}\s*=\s*"),
        DataFormat::ResourcePath => format!("(?:^|/){key}/"),
    }
}
