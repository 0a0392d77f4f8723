//! What callers say about an operation: kept beside it, and erasable.

use std::collections::BTreeMap;

use uc_ledger::Private;

use crate::problem::Problem;

/// Labels of one operation at most.
const MAX_LABELS: usize = 20;
/// Bytes of all labels' names and values together at most.
const MAX_LABEL_BYTES: usize = 512;
/// Characters of an actor at most.
const MAX_ACTOR: usize = 128;
/// Characters of a text for people at most.
const MAX_TEXT: usize = 512;

/// Checks who caused an operation and what is said about it. An account token's own actor counts
/// before the body's. `text` is a description or a reason, after the pointer of its field.
///
/// # Errors
/// `invalid_request`.
pub fn private(
    token_actor: Option<&str>,
    actor: Option<&str>,
    text: Option<(&'static str, &str)>,
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<Private, Problem> {
    let within = |text: &str, most: usize| {
        !text.trim().is_empty() && (1..=most).contains(&text.chars().count())
    };
    if actor.is_some_and(|actor| !within(actor, MAX_ACTOR)) {
        return Err(Problem::invalid_field("/actor", "1 to 128 characters, not only blanks"));
    }
    if let Some((pointer, text)) = text
        && !within(text, MAX_TEXT)
    {
        return Err(Problem::invalid_field(pointer, "1 to 512 characters, not only blanks"));
    }
    let metadata = metadata.cloned().unwrap_or_default();
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if metadata.len() > MAX_LABELS || bytes > MAX_LABEL_BYTES || metadata.contains_key("") {
        let detail = "at most 20 labels, none without a name, 512 bytes together";
        return Err(Problem::invalid_field("/metadata", detail));
    }
    Ok(Private {
        actor: token_actor.or(actor).map(str::to_owned),
        description: text.map(|(_, text)| text.to_owned()),
        metadata,
    })
}
