//! The scopes of Actions, which are those of sampling rules: as a condition of a collector, and over one resource.
//!
//! An Action is for what its scope names, whether the control plane covers that or not, and without a scope for everything: a mask that
//! looked for more than its author wrote would let data pass. A sampling rule is for what the control plane covers.

use super::rule::Scope;
use super::span::{Attributes, Span};
use super::{accept, judge, predicate};
use crate::actions::item;
use odigos_api::scope::SourcesScopes;
use odigos_pipeline::ottl::Condition;
use std::sync::Arc;

/// The condition of a scope; none for everything.
///
/// # Errors
/// Field and what is wrong with it.
pub(crate) fn condition(scope: Option<&SourcesScopes>) -> Result<Option<Condition>, (String, String)> {
    let Some(lists) = scope else { return Ok(None) };
    match accept::lists_scope(lists)? {
        Scope::Everything => Ok(None),
        scope => Ok(Some(predicate::scope_of_action(&scope))),
    }
}

/// Whether a scope is for what a resource sends; one that cannot be read is for nothing.
pub(crate) fn holds(scope: Option<&SourcesScopes>, resource: &item::Attributes) -> bool {
    let Some(lists) = scope else { return true };
    match accept::lists_scope(lists) {
        Ok(Scope::Everything) => true,
        Ok(scope) => {
            let texts = resource.iter().filter_map(|(key, value)| Some((key.clone(), value.text()?.to_owned())));
            let resource: Attributes = texts.collect();
            judge::in_scope_of_action(&scope, &Span { resource: Arc::new(resource), ..Span::default() })
        }
        Err(_) => false,
    }
}
