//! Pages of lists that are short enough to be read whole.

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
