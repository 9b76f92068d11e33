//! Types of Processors that other distributions of the collector have, and what does the same here.
//!
//! Owns the words for a type that no stock collector has. Never decides which types there are.

/// A type, and what to use instead.
const REPLACED: [(&str, &str); 6] = [
    ("odigosextractattribute", "an Action with extractAttribute"),
    ("odigosurltemplate", "an Action with urlTemplatization"),
    ("odigospiimasking", "an Action with piiMasking"),
    ("odigossqlquery", "Actions with dbQueryTemplatization and inferDbAttributes"),
    ("odigosconditionalattributes", "a transform processor, whose statements take conditions,"),
    ("odigossampling", "a Sampling object"),
];

/// What to do about a type that no stock collector has, for the end of a sentence.
pub(super) fn hint(component_type: &str) -> String {
    match REPLACED.iter().find(|(type_, _)| *type_ == component_type) {
        Some((_, instead)) => format!("; it is a component of another distribution: use {instead} instead"),
        None if component_type.starts_with("odigos") => {
            "; it is a component of another distribution: use an Action or a transform processor instead".to_owned()
        }
        None => "; check the spelling".to_owned(),
    }
}
