//! What a misspelt word was probably meant to be.
//!
//! Owns how far a known word may be from what was written. Never changes what was written.

/// The known word nearest to `word`: at most two letters away, and not more than a third of it. Case does not count.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let distance = |other: &str| strsim::osa_distance(&lower, &other.to_lowercase());
    let limit = (word.chars().count() / 3).clamp(1, 2);
    known.into_iter().map(|one| (distance(one), one)).min().filter(|(far, _)| *far <= limit).map(|(_, one)| one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["Destination", "DataStream", "Source", "JAEGER_TLS_ENABLED"];
        for (word, expected) in [
            ("Destinatoin", Some("Destination")),
            ("source", Some("Source")),
            ("JAEGER_TLS_ENABLE", Some("JAEGER_TLS_ENABLED")),
            ("Sauces", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
