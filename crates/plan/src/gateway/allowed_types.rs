//! Which types of Destinations the configuration allows: those that reach beyond the backend that they name.
//!
//! Owns the list of such types with the reason of each. Never renders one.

use crate::configuration::Configuration;
use std::collections::BTreeSet;

/// Where the configuration lists further types.
pub const PATH: &str = "destinations.additionalTypes";

/// Types that are off unless the configuration lists them, and what each does.
const RESTRICTED: [(&str, &str); 2] =
    [("dynamic", "its author writes any settings of any exporter"), ("file", "it writes files inside the gateways")];

/// The types that have to be listed.
#[must_use]
pub fn names() -> Vec<&'static str> {
    RESTRICTED.iter().map(|(name, _)| *name).collect()
}

/// What is wrong with a type, as a sentence; nothing where it may be used.
#[must_use]
pub fn problem(configuration: &Configuration, type_id: &str) -> Option<String> {
    let allowed: BTreeSet<String> = configuration.texts(PATH).into_iter().collect();
    let (_, why) = RESTRICTED.iter().find(|(name, _)| *name == type_id)?;
    (!allowed.contains(type_id)).then(|| {
        format!("the type {type_id} is not allowed, since {why}; an administrator can set {PATH}: [{type_id}] in the configuration")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restricted_types_need_the_configuration() {
        let of = |text: &str| Configuration::parse(text).unwrap_or_default();
        assert_eq!(problem(&of(""), "otlp"), None);
        assert!(
            problem(&of(""), "dynamic").is_some_and(|text| text.contains("destinations.additionalTypes: [dynamic]"))
        );
        assert_eq!(problem(&of("destinations: {additionalTypes: [dynamic, file]}"), "file"), None);
        assert!(problem(&of("destinations: {additionalTypes: [dynamic]}"), "file").is_some());
    }
}
