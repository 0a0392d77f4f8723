//! Pages of lists that are short enough to be read whole, and places in a journal.

use uc_domain::account::OperationId;

use crate::extract::{Page, PageQuery, decode_cursor, encode_cursor};
use crate::problem::Problem;

/// The page of `all` that the query asks for. `all` is sorted by `id`; `list` names the list, as
/// for [`encode_cursor`].
///
/// # Errors
/// `invalid_request` for a cursor of another list.
pub fn page_of<T>(
    list: &str,
    all: Vec<T>,
    query: &PageQuery,
    id: impl Fn(&T) -> &str,
) -> Result<Page<T>, Problem> {
    let after = query.cursor.as_deref().map(|cursor| decode_cursor(list, cursor)).transpose()?;
    let mut rest = all
        .into_iter()
        .skip_while(|item| after.as_deref().is_some_and(|after| id(item).as_bytes() <= after))
        .peekable();
    let items: Vec<T> = rest.by_ref().take(query.limit.get()).collect();
    let next_cursor = items
        .last()
        .filter(|_| rest.peek().is_some())
        .map(|last| encode_cursor(list, id(last).as_bytes()));
    Ok(Page { items, next_cursor })
}

/// The cursor of what comes after an operation in a list of operations.
pub fn operation_cursor(list: &str, last: OperationId) -> String {
    let mut position = last.seq.to_be_bytes().to_vec();
    position.push(last.position);
    encode_cursor(list, &position)
}

/// The operation that a cursor of [`operation_cursor`] stands after.
///
/// # Errors
/// `invalid_request` for a cursor of another list.
pub fn operation_of_cursor(list: &str, cursor: &str) -> Result<OperationId, Problem> {
    let bytes = decode_cursor(list, cursor)?;
    let (position, seq) = bytes
        .split_last()
        .and_then(|(position, seq)| Some((*position, seq.try_into().ok()?)))
        .ok_or_else(|| Problem::invalid_request("The cursor is not one of this list."))?;
    Ok(OperationId { seq: u64::from_be_bytes(seq), position })
}
