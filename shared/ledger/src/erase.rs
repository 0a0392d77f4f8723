//! Erasing the personal data beside an account's entries and unrated usage. The journal itself stays
//! as it is.

use futures_util::future::try_join_all;
use uc_domain::AccountId;

use crate::entry::{PRIVATE, StoredEntry};
use crate::journal::{Ledger, LedgerError, gap};
use crate::keys;
use crate::store::{Key, Query, SK, StoreError, text};

/// Entries that one query reads at most.
const PAGE: u32 = 200;
/// Entries that are erased at the same time.
const AT_ONCE: usize = 25;

/// What was erased, and whether that was all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// Entries whose personal data are gone now and were there before.
    pub entries: u64,
    /// Unrated usage of which the same is true.
    pub unrated: u64,
    /// The last entry that was looked at, where there are more.
    pub next: Option<u64>,
}

impl Ledger {
    /// Erases who caused an account's operations and what was said about them, entry by entry
    /// from the one after `after` on, in at most `limit` entries, of which it keeps the keys. The bodies of the entries, and
    /// with them hashes, amounts and prices, stay.
    ///
    /// Again from the beginning does no harm, and finds what was written since.
    ///
    /// # Errors
    /// An entry is not what was written, or not there: then nothing was erased. That the newest ones
    /// are missing only an audit can tell. The store is
    /// unavailable: what was erased before stays erased.
    pub async fn erase_private(
        &self,
        account: &AccountId,
        after: u64,
        limit: u64,
    ) -> Result<Erased, LedgerError> {
        let pk = keys::journal(account);
        let (_, to) = keys::seq_range();
        let is_first = after == 0;
        let (mut after, mut left) = (after, limit.max(1));
        let mut written = Vec::new();
        // What is not as it was written is looked for first, in all of them: erasing would take what
        // tells it.
        let next = loop {
            let next = after.saturating_add(1);
            let query = Query {
                pk: pk.clone(),
                from: keys::seq(next),
                to: to.clone(),
                descending: false,
                limit: PAGE.min(u32::try_from(left).unwrap_or(PAGE)),
            };
            let items = self.store().query(&query).await?;
            if items.is_empty() {
                break None;
            }
            for (item, seq) in items.iter().zip(next..) {
                if StoredEntry::from_item(account, item)?.seq() != seq {
                    return Err(gap(account, seq));
                }
                after = seq;
            }
            let private = items.iter().filter(|item| item.contains_key(PRIVATE));
            written.extend(private.filter_map(|item| Some(Key::new(&pk, text(item, SK)?))));
            left = left.saturating_sub(items.len() as u64);
            if left == 0 {
                break Some(after);
            }
        };
        let mut erased = Erased { next, ..Erased::default() };
        if is_first {
            erased.unrated = self.erase_unrated(account).await?;
        }
        for keys in written.chunks(AT_ONCE) {
            try_join_all(keys.iter().map(|key| self.forget(key))).await?;
            erased.entries += keys.len() as u64;
        }
        Ok(erased)
    }

    async fn erase_unrated(&self, account: &AccountId) -> Result<u64, LedgerError> {
        let mut erased = 0;
        let mut after = None;
        loop {
            let page = self.unrated_page(Some(account), after.as_ref(), PAGE).await?;
            let said = page.items.iter().filter(|(_, unrated)| !unrated.private.is_empty());
            for (id, _) in said {
                match self.store().remove(&keys::unrated(id), PRIVATE).await {
                    Ok(()) => erased += 1,
                    // It has been rated meanwhile.
                    Err(StoreError::ConditionFailed) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            after = match page.next {
                Some(next) => Some(next),
                None => return Ok(erased),
            };
        }
    }

    async fn forget(&self, key: &Key) -> Result<(), LedgerError> {
        match self.store().remove(key, PRIVATE).await {
            Ok(()) => Ok(()),
            Err(StoreError::ConditionFailed) => {
                Err(LedgerError::Corrupt(format!("{} was there and is gone", key.sk)))
            }
            Err(error) => Err(error.into()),
        }
    }
}
