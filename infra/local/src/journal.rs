//! An account's journal, readable.

use std::sync::Arc;

use aws_types::SdkConfig;
use serde_json::{Value, json};
use uc_domain::AccountId;
use uc_domain::account::Settings;
use uc_http::views::OperationView;
use uc_ledger::store::Store;
use uc_ledger::{
    AuditLimits, Checkpoints, Difference, DynamoStore, Happened, Ledger, LedgerError, StoredEntry,
    SystemClock, readable,
};

/// Why a journal can't be printed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store does not answer, or an entry can't be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An entry does not follow from the one before.
    #[error("{right}\nthe journal does not verify: {difference}")]
    Difference {
        /// The entries before it, as they would be printed.
        right: String,
        /// The first difference.
        difference: Difference,
    },
    /// There is nothing to print.
    #[error("{0} has no such entry")]
    Missing(AccountId),
}

/// The entries of an account as JSON, one a line; the last line says that all hashes verify. With
/// `seq` that entry alone.
///
/// # Errors
/// [`JournalError`].
pub async fn print(
    config: &SdkConfig,
    table: String,
    account: &AccountId,
    seq: Option<u64>,
) -> Result<String, JournalError> {
    let clock = Arc::new(SystemClock);
    let store = DynamoStore::new(config, table, clock.clone());
    let ledger = Ledger::new(Arc::new(store) as Arc<dyn Store>, clock, Settings::default());
    let missing = || JournalError::Missing(account.clone());
    if let Some(seq) = seq {
        let stored = ledger.entry(account, seq).await?.ok_or_else(missing)?;
        return Ok(line(account, &stored)?.to_string());
    }
    let checkpoints = Checkpoints::new(ledger.clone());
    let (checkpoint, unreadable) = match readable(checkpoints.newest(account, None).await)? {
        Ok(checkpoint) => (checkpoint, None),
        Err(what) => (None, Some(Difference { seq: 1, what })),
    };
    let mut lines = Vec::new();
    let each = |stored: &StoredEntry| {
        lines.push(line(account, stored).map(|line| line.to_string()));
    };
    let audited = ledger.audit(account, None, checkpoint.as_ref(), AuditLimits::NONE, each).await?;
    let mut lines = lines.into_iter().collect::<Result<Vec<_>, _>>()?;
    if let Some(difference) = audited.difference.or(unreadable) {
        // What is right is of use to whoever looks for what went wrong.
        return Err(JournalError::Difference { right: lines.join("\n"), difference });
    }
    if lines.is_empty() {
        return Err(missing());
    }
    let hash = audited.hash.map(hex);
    lines.push(json!({"verified": audited.seq, "hash": hash}).to_string());
    Ok(lines.join("\n"))
}

fn line(account: &AccountId, stored: &StoredEntry) -> Result<Value, LedgerError> {
    let operations = stored
        .entry
        .operations
        .iter()
        .zip(stored.entry.balances())
        .map(|(operation, balance_after)| {
            let private = stored.private(operation.id.position)?;
            let happened = Happened { operation: operation.clone(), balance_after, private };
            Ok(OperationView::new(happened, true))
        })
        .collect::<Result<Vec<_>, LedgerError>>()?;
    Ok(json!({
        "seq": stored.seq(),
        "time": stored.entry.time,
        "bytes": stored.size(account),
        "operations": operations,
        "hash": hex(stored.hash),
    }))
}

fn hex(hash: [u8; 32]) -> String {
    let (halves, _) = hash.as_chunks::<16>();
    halves
        .iter()
        .fold(String::new(), |hex, half| format!("{hex}{:032x}", u128::from_be_bytes(*half)))
}
