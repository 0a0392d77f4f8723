//! Erasing what an account's journal says of people.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use uc_http::scope::KeysAdmin;
use uc_http::{
    AccountAccess, Problem, StrictQuery, decode_cursor, encode_cursor, openapi, problems,
};
use utoipa::{IntoParams, ToSchema};

use crate::{Deps, existing};

/// Entries that one call looks at: each that has personal data is a write of its own.
const LIMIT: u64 = 1_000;

/// Where to go on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EraseQuery {
    /// Where to go on: the call before said it as `next_cursor`.
    cursor: Option<String>,
}

/// What was erased.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErasedView {
    /// Journal entries, and requests that wait for their price, whose personal data were erased by
    /// this call.
    erased: u64,
    /// What to send as `cursor` for the rest; null where all is done.
    next_cursor: Option<String>,
}

problems!(EraseProblems = AccountNotFound);

/// Erases actors, descriptions, reasons and metadata of all operations of an account so far, and of
/// usage that waits for its price. What was charged and why stays, and so does the proof that
/// nothing else was changed: an audit passes as before. It can't be undone, so it asks for
/// `keys:admin`, which people hold who operate the deployment: a back end that gives credits must
/// not be able to erase who they were for.
///
/// Answers 202 while there is more: send the same request with the cursor. The request without a
/// cursor begins anew, which does no harm.
#[utoipa::path(
    delete,
    path = "/v1/accounts/{account}/personal-data",
    operation_id = "erase_personal_data",
    tag = "accounts",
    params(("account" = openapi::AccountId, Path), EraseQuery),
    security(("bearer" = ["keys:admin"])),
    responses(
        (status = 200, description = "All is erased", body = ErasedView),
        (status = 202, description = "There is more: go on with the cursor", body = ErasedView),
        EraseProblems
    )
)]
async fn erase_personal_data(
    access: AccountAccess<KeysAdmin>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<EraseQuery>,
) -> Result<(StatusCode, Json<ErasedView>), Problem> {
    let account = &access.account;
    let list = format!("personal-data/{account}");
    let position =
        query.cursor.as_deref().map(|cursor| decode_cursor(&list, cursor)).transpose()?;
    let after = match position.map(|position| position.try_into().map(u64::from_be_bytes)) {
        None => {
            existing(&deps, account).await?;
            0
        }
        Some(Ok(after)) => after,
        Some(Err(_)) => {
            return Err(Problem::invalid_request("The cursor is not one of this list."));
        }
    };
    let erased = deps.ledger.erase_private(account, after, LIMIT).await?;
    let next_cursor = erased.next.map(|next| encode_cursor(&list, &next.to_be_bytes()));
    let status = if next_cursor.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(ErasedView { erased: erased.entries + erased.unrated, next_cursor })))
}

uc_http::operations!(Deps; erase_personal_data);
