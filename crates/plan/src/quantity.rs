//! Amounts as Kubernetes writes them, e.g. `100m`, `64Mi`, `1e3`.
//!
//! Owns reading them. Never writes them (`objects`).

/// The number of a quantity; `None` for what is none, and for amounts below zero.
#[must_use]
pub(crate) fn parse(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 16] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
        ("", 1.0),
    ];
    UNITS.into_iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        (number.is_finite() && number >= 0.0).then_some(number * factor)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_the_api_server_reads_them() {
        let cases = [
            ("1", Some(1.0)),
            ("100m", Some(0.1)),
            ("2Ki", Some(2048.0)),
            ("1e3", Some(1000.0)),
            ("1E", Some(1e18)),
            ("1E3", Some(1000.0)),
            ("x", None),
            ("-1", None),
            ("inf", None),
        ];
        for (text, number) in cases {
            assert_eq!(parse(text), number, "{text}");
        }
    }
}
