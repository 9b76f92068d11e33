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

/// What a message says at its end of a word that is none of the known ones: the nearest of them, or nothing.
#[must_use]
pub fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

/// What follows in `word` when its beginning is at most two letters away from `beginning`, but not the same. Case does not count.
#[must_use]
pub fn behind_misspelt<'a>(word: &'a str, beginning: &str) -> Option<&'a str> {
    if word.starts_with(beginning) {
        return None;
    }
    let lower = word.to_lowercase();
    let sizes = beginning.len().saturating_sub(2)..=beginning.len() + 2;
    let ends =
        sizes.filter(|end| lower.len() == word.len() && lower.is_char_boundary(*end) && word.is_char_boundary(*end));
    let separators = ['-', '_', '.', '/'];
    let found = ends.filter_map(|end| {
        let (head, _) = lower.split_at_checked(end)?;
        let rest = word.get(end..)?;
        // What separates the parts belongs to the beginning.
        let is_whole = rest.is_empty() || head.ends_with(separators) && !rest.starts_with(separators);
        Some((strsim::osa_distance(head, beginning), !is_whole, end, rest))
    });
    found.min().filter(|(far, ..)| *far <= 2).map(|(.., rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_is_recognised_although_it_is_misspelt() {
        for (word, expected) in [
            ("odigos.io/datastream-shop", Some("shop")),
            ("odigos.io/data-streams-shop", Some("shop")),
            ("odigos.io/data-stream_shop", Some("shop")),
            ("odigos.io/data_stream_shop", Some("shop")),
            ("odigos.io/data-streamshop", Some("shop")),
            ("odigos.io/Data-Stream-shop", Some("shop")),
            ("odigo.io/data-stream-shop", Some("shop")),
            ("odigos.io/data-stream", Some("")),
            ("odigos.io/data-stream-shop", None),
            ("odigos.io/workload-name", None),
            ("app.kubernetes.io/name", None),
            ("app", None),
        ] {
            assert_eq!(behind_misspelt(word, "odigos.io/data-stream-"), expected, "{word}");
        }
    }

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
