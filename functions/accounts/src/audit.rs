//! An account's journal, recomputed for an auditor.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use uc_domain::AccountId;
use uc_http::scope::Read;
use uc_http::{
    Access, AccountPath, Code, Problem, StrictQuery, decode_cursor, encode_cursor, openapi,
    problems, refusals,
};
use uc_ledger::{AuditLimits, Audited, Checkpoint, Checkpoints, Difference, readable};
use utoipa::{IntoParams, ToSchema};

use crate::Deps;

/// What one call recomputes: it must be answered before the gateway's 29 seconds.
const LIMITS: AuditLimits = AuditLimits { entries: 2_000, time: Duration::from_secs(18) };

/// Where to go on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Where to go on: the call before said it as `next_cursor`.
    cursor: Option<String>,
}

/// The first place where a journal is not what it must be.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Difference)]
pub struct DifferenceView {
    /// The journal entry.
    seq: u64,
    /// What is wrong with it.
    #[schema(example = "the hash does not follow from the entry before and the body")]
    what: String,
}

/// The signed checkpoint that the journal was compared with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Checkpoint)]
pub struct CheckpointView {
    /// The UTC day on which it was taken.
    #[schema(example = "2026-11-26")]
    day: String,
    /// The entry that was the newest then.
    seq: u64,
    /// Its hash, in hexadecimal.
    hash: String,
}

/// How far a journal was recomputed, and what was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// Whose.
    #[schema(value_type = openapi::AccountId)]
    account: AccountId,
    /// Entries recomputed in this call.
    entries: u64,
    /// The entry up to which the journal is right.
    seq: u64,
    /// Its hash, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    /// Whether the whole journal is right: no difference, and the end was reached.
    verified: bool,
    /// The first difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<DifferenceView>,
    /// The newest checkpoint of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<CheckpointView>,
    /// What to send as `cursor` to go on; null where this was all.
    next_cursor: Option<String>,
}

problems!(AuditProblems = AccountNotFound);

/// Recomputes a journal from its first entry: sequence, hashes, personal data, time, the state
/// machine's every step, the items that make operations happen once, and the newest signed
/// checkpoint. At most 2,000 entries a call; a call that goes on first makes sure that the entry
/// where the last one stopped is still the same. Not with account tokens: it reads much.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}/audit",
    operation_id = "audit_account",
    tag = "accounts",
    params(("account" = openapi::AccountId, Path), AuditQuery),
    security(("bearer" = ["read"])),
    responses((status = 200, description = "How far, and what", body = AuditView), AuditProblems)
)]
async fn audit_account(
    _: Access<Read>,
    AccountPath(account): AccountPath,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<AuditQuery>,
) -> Result<Json<AuditView>, Problem> {
    let list = format!("audit/{account}");
    let after = query.cursor.as_deref().map(|cursor| position(&list, cursor)).transpose()?;
    let newest = Checkpoints::new(deps.ledger.clone()).newest(&account, None).await;
    let (checkpoint, forged) = match readable(newest)? {
        Ok(Some(checkpoint)) => {
            let forged = forged(&deps, &account, &checkpoint).await?;
            (Some(checkpoint), forged)
        }
        Ok(None) => (None, None),
        // Of no entry that could be told.
        Err(what) => (None, Some(Difference { seq: 1, what })),
    };
    let trusted = checkpoint.as_ref().filter(|_| forged.is_none());
    let audited = deps.ledger.audit(&account, after, trusted, LIMITS, |_| ()).await?;
    let Audited { entries, seq, hash, complete, difference } = audited;
    if seq == 0 && difference.is_none() && complete && checkpoint.is_none() && forged.is_none() {
        return Err(refusals::account_not_found(&account));
    }
    // A journal that is wrong in itself says more than a checkpoint that is.
    let difference = difference.or(forged);
    let next_cursor = hash.filter(|_| !complete && difference.is_none()).map(|hash| {
        let position = [&seq.to_be_bytes()[..], &hash].concat();
        encode_cursor(&list, &position)
    });
    Ok(Json(AuditView {
        verified: complete && difference.is_none(),
        entries,
        seq,
        hash: hash.map(|hash| hex(&hash)),
        difference: difference.map(|Difference { seq, what }| DifferenceView { seq, what }),
        checkpoint: checkpoint.map(|Checkpoint { day, seq, hash, .. }| CheckpointView {
            day,
            seq,
            hash: hex(&hash),
        }),
        next_cursor,
        account,
    }))
}

/// What is wrong with a checkpoint's signature.
async fn forged(
    deps: &Deps,
    account: &AccountId,
    checkpoint: &Checkpoint,
) -> Result<Option<Difference>, Problem> {
    let Checkpoint { day, seq, kid, .. } = checkpoint;
    // One that can't be read verifies nothing.
    let key = readable(deps.credentials.checkpoint_key(kid).await)?.ok().flatten();
    if key.is_some_and(|key| checkpoint.is_signed_by(account, &key)) {
        return Ok(None);
    }
    let what = format!("the checkpoint of {day} is not signed by the key {kid}");
    Ok(Some(Difference { seq: *seq, what }))
}

/// The entry that was found right last, and its hash. A cursor is no proof that it was: who makes
/// one up audits from a place of their own choice, and is told about that place.
fn position(list: &str, cursor: &str) -> Result<(u64, [u8; 32]), Problem> {
    let bytes = decode_cursor(list, cursor)?;
    let read = || {
        let (seq, hash) = bytes.split_first_chunk::<8>()?;
        let seq = u64::from_be_bytes(*seq);
        Some((seq, <[u8; 32]>::try_from(hash).ok()?)).filter(|_| (1..u64::MAX).contains(&seq))
    };
    read().ok_or_else(|| {
        Problem::new(Code::InvalidRequest, "The cursor is not one of this account's audit.")
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

uc_http::operations!(Deps; audit_account);
