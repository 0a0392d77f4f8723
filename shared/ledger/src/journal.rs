//! [`Ledger`], reading and writing accounts.

use std::sync::Arc;

use uc_domain::account::{
    AccountState, Applied, Balance, Draft, Operation, OperationId, Origin, Rejection, Settings,
};
use uc_domain::journal::Entry;
use uc_domain::{AccountId, Timestamp};

use crate::audit::{AuditLimits, Difference};
use crate::entry::StoredEntry;
use crate::private::Private;
use crate::store::{
    AttributeValue, Condition, Item, Key, Put, Query, SK, Store, StoreError, TransactError, number,
    text,
};
use crate::unrated::UnratedId;
use crate::write::{MAX_SKEW_SECONDS, OPERATION_POSITION, OPERATION_SEQ, UNRATED};
use crate::{Clock, keys};

/// The directory item's attribute: when the account opened.
const OPENED_AT: &str = "at";

/// Operations or accounts on one page at most.
const MAX_PAGE: u32 = 100;

/// Why the ledger could not do its work. Nothing is half done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The store gives no answer, or throttles. Try again later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Others were faster for ten seconds. Try again later.
    #[error("the account is busy")]
    Busy,
    /// This machine's clock is too far from the store's to write times.
    #[error("the clock is {0} seconds from the store's")]
    ClockSkew(u64),
    /// The store refuses what this program asks: a fault of it or of its permissions.
    #[error("the store refuses: {0}")]
    Refused(String),
    /// What is stored can't be what was written. Nothing was overwritten.
    #[error("corrupt: {0}")]
    Corrupt(String),
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoAnswer(text) => Self::Unavailable(text),
            StoreError::Refused(text) => Self::Refused(text),
            StoreError::ConditionFailed => Self::Refused("an unexpected condition".to_owned()),
        }
    }
}

/// Why an asked operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Asked<E> {
    /// The caller's own decision, taken on the account's state.
    #[error("refused")]
    Decided(E),
    /// The state machine's.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The same key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The account has no journal, and this operation opens none.
    #[error("no such account")]
    AccountNotFound,
    /// A condition of the caller's further puts did not hold: which, and the item in the way.
    #[error("further put {0} was prevented")]
    Prevented(usize, Item),
    /// It is known, and waits to be priced, under this name.
    #[error("it waits to be priced as {0}")]
    Unrated(UnratedId),
    /// The ledger could not do its work.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl<E> Asked<E> {
    /// The same, with another reason where the caller decided against it.
    pub fn map_decided<F>(self, map: impl FnOnce(E) -> F) -> Asked<F> {
        match self {
            Self::Decided(reason) => Asked::Decided(map(reason)),
            Self::Rejected(rejection) => Asked::Rejected(rejection),
            Self::KeyReused => Asked::KeyReused,
            Self::AccountNotFound => Asked::AccountNotFound,
            Self::Prevented(index, item) => Asked::Prevented(index, item),
            Self::Unrated(id) => Asked::Unrated(id),
            Self::Ledger(error) => Asked::Ledger(error),
        }
    }
}

/// One thing asked of an account, but for the decision itself.
pub struct Ask<'a> {
    /// The account.
    pub account: &'a AccountId,
    /// Who asks, and the key under which it happens once.
    pub origin: Origin,
    /// A digest of the request: the same key with another one is an error.
    pub fingerprint: [u8; 16],
    /// Who caused it, and what was said about it.
    pub private: Private,
    /// Whether it opens an account that is not there yet.
    pub opens: bool,
    /// What else is written together with it.
    pub extra: Extra<'a>,
}

impl<'a> Ask<'a> {
    /// What a client asks of an account that is there, under an idempotency key.
    pub fn by_client(
        account: &'a AccountId,
        key: &str,
        fingerprint: [u8; 16],
        private: Private,
    ) -> Self {
        let origin = Origin::Client { key: key.to_owned() };
        Self { account, origin, fingerprint, private, opens: false, extra: &|_| Vec::new() }
    }
}

/// Puts that join the transaction, made for the operation they belong to. Where one of their
/// conditions fails, nothing is written: [`Asked::Prevented`].
pub type Extra<'a> = &'a (dyn Fn(&Operation) -> Vec<Put> + Send + Sync);

/// What was read, or what can't be the one that was written: for who tells of it and looks at the
/// rest.
///
/// # Errors
/// Any other than [`LedgerError::Corrupt`].
pub fn readable<T>(read: Result<T, LedgerError>) -> Result<Result<T, String>, LedgerError> {
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(LedgerError::Corrupt(what)) => Ok(Err(what)),
        Err(error) => Err(error),
    }
}

/// An item of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key, which is to be an account's id.
    pub id: String,
    /// The account; `None` where it names none of the shard.
    pub account: Option<AccountId>,
}

/// An operation that happened, as a reader sees it.
#[derive(Debug, Clone)]
pub struct Happened {
    /// The operation.
    pub operation: Operation,
    /// The balance right after it.
    pub balance_after: Balance,
    /// Who caused it, and what was said about it, unless erased.
    pub private: Private,
}

/// The answer to an asked operation.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The operation.
    pub happened: Happened,
    /// The state after the entry that holds it.
    pub state: AccountState,
    /// Whether it had happened before, and this is the first answer again.
    pub replayed: bool,
    /// How often the write was tried again.
    pub retries: u32,
    /// How often of that because somebody was faster.
    pub conflicts: u32,
}

/// Operations, newest first.
#[derive(Debug, Clone)]
pub struct TransactionsPage {
    /// The operations.
    pub items: Vec<Happened>,
    /// Where the next page goes on: below this operation.
    pub next: Option<OperationId>,
}

/// Accounts, in the directory's order.
#[derive(Debug, Clone)]
pub struct AccountPage {
    /// The accounts, and when they opened.
    pub items: Vec<(AccountId, Timestamp)>,
    /// Where the next page goes on: shard, and the account that was last.
    pub next: Option<(u8, String)>,
}

/// A journal whose every entry follows from the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many entries it has.
    pub entries: u64,
    /// The hash of the last one; none for an empty journal.
    pub hash: Option<[u8; 32]>,
}

/// Why a journal does not verify.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The first entry that does not follow.
    #[error("entry {seq}: {what}")]
    Broken {
        /// Its place.
        seq: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The journal could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The journal of every account.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    defaults: Settings,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("defaults", &self.defaults).finish_non_exhaustive()
    }
}

impl Ledger {
    /// A ledger in `store`; accounts open with the settings `defaults`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, defaults: Settings) -> Self {
        Self { store, clock, defaults }
    }

    /// The settings that accounts open with.
    pub const fn defaults(&self) -> &Settings {
        &self.defaults
    }

    /// The store, for items that are not the journal's.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An account as of now, settled in memory; `None` where it has no journal.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn account(&self, account: &AccountId) -> Result<Option<AccountState>, LedgerError> {
        let head = self.head(account).await?;
        Ok(head.map(|head| head.entry.state.settled(self.clock.now())))
    }

    /// Writes what time has brought to an account and nobody has written yet: expiries and
    /// activations. Returns whether there was anything.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn settle(&self, account: &AccountId) -> Result<bool, LedgerError> {
        let Some(head) = self.head(account).await? else { return Ok(false) };
        let draft = Draft::open(&head.entry.state, self.clock.now());
        if draft.is_empty() {
            return Ok(false);
        }
        let skew = self.store.clock_skew_seconds();
        if skew > MAX_SKEW_SECONDS {
            return Err(LedgerError::ClockSkew(skew));
        }
        let entry = entry_of(draft);
        let (_, put) = StoredEntry::compose(account, head.hash, entry, &[]);
        match self.store.transact(vec![put]).await {
            Ok(()) => Ok(true),
            // Whoever was faster has settled as well.
            Err(TransactError::Failed(_)) => Ok(false),
            // Who was in the way may have failed: another run will tell.
            Err(TransactError::Conflict) => Err(LedgerError::Busy),
            Err(TransactError::Store(error)) => Err(error.into()),
        }
    }

    /// Accounts with a grant that ends within a UTC day, after `after` if given, at most 100.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn expiring(
        &self,
        day: Timestamp,
        shard: u8,
        after: Option<&AccountId>,
    ) -> Result<Vec<AccountId>, LedgerError> {
        let query = Query {
            pk: keys::expiry_day(day, shard),
            from: after.map_or_else(|| " ".to_owned(), |after| format!("{after} ")),
            to: "~".to_owned(),
            descending: false,
            limit: MAX_PAGE,
        };
        let parse = |item: &Item| {
            let id = text(item, SK).unwrap_or_default();
            id.parse().map_err(|_| LedgerError::Corrupt(format!("expiry item {id:?}")))
        };
        self.store.query(&query).await?.iter().map(parse).collect()
    }

    /// Forgets that an account has a grant that ends within a day that is over.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn forget_expiry(
        &self,
        day: Timestamp,
        account: &AccountId,
    ) -> Result<(), LedgerError> {
        Ok(self.store.delete(&keys::expiry(account, day)).await?)
    }

    /// A day on which a grant ends is noted, so that the schedule settles accounts that sleep.
    /// Not for a subscription's grants: its next period settles them.
    pub(crate) fn expiry_put(ask: &Ask<'_>, stored: &StoredEntry) -> Option<Put> {
        if matches!(ask.origin, Origin::Subscription { .. }) {
            return None;
        }
        let now = stored.entry.state.settled_at();
        stored.entry.operations.iter().rev().find_map(|operation| match operation.detail {
            uc_domain::account::Detail::Grant { expires_at: Some(expires_at), .. }
                if expires_at > now =>
            {
                let item = keys::expiry(ask.account, expires_at).item();
                Some(Put { item, condition: Condition::None })
            }
            _ => None,
        })
    }

    /// The newest entry of an account.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn head(&self, account: &AccountId) -> Result<Option<StoredEntry>, LedgerError> {
        let (from, to) = keys::seq_range();
        let query = Query { pk: keys::journal(account), from, to, descending: true, limit: 1 };
        let items = self.store.query(&query).await?;
        items.first().map(|item| StoredEntry::from_item(account, item)).transpose()
    }

    /// One entry.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn entry(
        &self,
        account: &AccountId,
        seq: u64,
    ) -> Result<Option<StoredEntry>, LedgerError> {
        let key = Key::new(keys::journal(account), keys::seq(seq));
        let item = self.store.get(&key).await?;
        item.map(|item| StoredEntry::from_item(account, &item)).transpose()
    }

    /// One operation by its id.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn operation(
        &self,
        account: &AccountId,
        id: OperationId,
    ) -> Result<Option<Happened>, LedgerError> {
        let Some(stored) = self.entry(account, id.seq).await? else { return Ok(None) };
        if usize::from(id.position) >= stored.entry.operations.len() {
            return Ok(None);
        }
        happened(&stored, id.position).map(Some)
    }

    /// One operation by who asked for it: what became of a request whose answer was lost. None for
    /// usage that waits to be priced.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt: also where the request is known and
    /// its entry is not there.
    pub async fn operation_of(
        &self,
        account: &AccountId,
        origin: &Origin,
    ) -> Result<Option<Happened>, LedgerError> {
        let Some(item) = self.item_of(account, origin).await? else { return Ok(None) };
        if item.contains_key(UNRATED) {
            return Ok(None);
        }
        let id = operation_id(&item)?;
        let stored = self.entry(account, id.seq).await?.ok_or_else(|| gap(account, id.seq))?;
        let happened = happened(&stored, id.position)?;
        // An entry that was taken away, and another written in its place.
        if happened.operation.origin != *origin {
            let what = format!("{id} of {account} is not what its key says");
            return Err(LedgerError::Corrupt(what));
        }
        Ok(Some(happened))
    }

    /// The usage that was parked for who asked, and waits to be priced.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn parked_for(
        &self,
        account: &AccountId,
        origin: &Origin,
    ) -> Result<Option<String>, LedgerError> {
        let item = self.item_of(account, origin).await?;
        Ok(item.and_then(|item| Some(text(&item, UNRATED)?.to_owned())))
    }

    /// What makes a request happen once, where it was accepted.
    async fn item_of(
        &self,
        account: &AccountId,
        origin: &Origin,
    ) -> Result<Option<Item>, LedgerError> {
        let Some(key) = keys::operation(account, origin) else { return Ok(None) };
        Ok(self.store.get(&key).await?)
    }

    /// Checks that entries that were read from `before` on downwards begin there.
    pub(crate) async fn begins_at(
        &self,
        account: &AccountId,
        before: Option<OperationId>,
        read: &[Item],
    ) -> Result<(), LedgerError> {
        let Some(before) = before.filter(|before| before.seq > 0) else { return Ok(()) };
        let first = read.first().and_then(|item| text(item, SK)).and_then(keys::parse_seq);
        if first == Some(before.seq) {
            return Ok(());
        }
        // A cursor is no proof that there was such an entry: it may be above the newest one.
        let is_below = self.head(account).await?.is_some_and(|head| before.seq < head.seq());
        if is_below && self.entry(account, before.seq).await?.is_none() {
            return Err(gap(account, before.seq));
        }
        Ok(())
    }

    /// Operations newest first, below `before` if given, at most 100.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt: also where an entry is not there.
    pub async fn transactions(
        &self,
        account: &AccountId,
        before: Option<OperationId>,
        limit: u32,
    ) -> Result<TransactionsPage, LedgerError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let (from, mut to) = keys::seq_range();
        if let Some(before) = before {
            to = keys::seq(before.seq);
        }
        // One more entry than asked for: the first may have been shown to its end, and the last
        // tells whether there is a next page.
        let query =
            Query { pk: keys::journal(account), from, to, descending: true, limit: limit + 1 };
        let read = self.store.query(&query).await?;
        self.begins_at(account, before, &read).await?;
        let mut items = Vec::new();
        let mut expected = None;
        let mut entries = read.into_iter();
        while let Some(item) = entries.next() {
            let stored = StoredEntry::from_item(account, &item)?;
            expected = Some(follows_down(account, expected, stored.seq())?);
            let balances = stored.entry.balances();
            for (operation, balance_after) in stored.entry.operations.iter().zip(balances).rev() {
                if before.is_some_and(|before| operation.id >= before) {
                    continue;
                }
                if items.len() == limit as usize {
                    let next = items.last().map(|last: &Happened| last.operation.id);
                    return Ok(TransactionsPage { items, next });
                }
                items.push(Happened {
                    operation: operation.clone(),
                    balance_after,
                    private: stored.private(operation.id.position)?,
                });
            }
            // The store may answer with less than was asked.
            if entries.len() == 0 && stored.seq() > 1 {
                let next = OperationId { seq: stored.seq(), position: 0 };
                // But with nothing new there may be nothing below.
                if before == Some(next) && self.entry(account, next.seq - 1).await?.is_none() {
                    return Err(gap(account, next.seq - 1));
                }
                return Ok(TransactionsPage { items, next: Some(next) });
            }
        }
        Ok(TransactionsPage { items, next: None })
    }

    /// Accounts in the directory's order (by shard, then id), after `after` if given, at most 100.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn accounts(
        &self,
        after: Option<(u8, String)>,
        limit: u32,
    ) -> Result<AccountPage, LedgerError> {
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        let mut items = Vec::new();
        let (first, mut last) = after.map_or((0, String::new()), |(shard, last)| (shard, last));
        for shard in first..keys::DIRECTORY_SHARDS {
            // One more for the account that was last, one more to know whether this was all.
            let query = Query {
                pk: keys::directory_shard(shard),
                from: if last.is_empty() { " ".to_owned() } else { last.clone() },
                to: "~".to_owned(),
                descending: false,
                limit: u32::try_from(limit - items.len() + 2).unwrap_or(MAX_PAGE + 2),
            };
            for item in self.store.query(&query).await? {
                let id = text(&item, SK).unwrap_or_default();
                if id == last {
                    continue;
                }
                if items.len() == limit {
                    return Ok(AccountPage { items, next: Some((shard, last)) });
                }
                let corrupt = || LedgerError::Corrupt(format!("directory item {id:?}"));
                let account = id.parse().map_err(|_| corrupt())?;
                let opened_at = number(&item, OPENED_AT)
                    .and_then(|millis| i64::try_from(millis).ok())
                    .and_then(|millis| Timestamp::from_millis(millis).ok())
                    .ok_or_else(corrupt)?;
                items.push((account, opened_at));
                id.clone_into(&mut last);
            }
            if items.len() < limit {
                last.clear();
            } else if shard + 1 < keys::DIRECTORY_SHARDS {
                return Ok(AccountPage { items, next: Some((shard, last)) });
            }
        }
        Ok(AccountPage { items, next: None })
    }

    /// The items of one shard of the directory by id, after `after` if given, at most `limit`.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn accounts_of(
        &self,
        shard: u8,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Listed>, LedgerError> {
        let query = Query {
            pk: keys::directory_shard(shard),
            // The least text after that one that an id can be.
            from: after.map_or_else(|| " ".to_owned(), |after| format!("{after} ")),
            to: "~".to_owned(),
            descending: false,
            limit,
        };
        let listed = |item: &Item| {
            let id = text(item, SK).unwrap_or_default().to_owned();
            let account = id.parse().ok();
            let account = account.filter(|account| keys::directory_shard_of(account) == shard);
            Listed { id, account }
        };
        Ok(self.store.query(&query).await?.iter().map(listed).collect())
    }

    /// Recomputes a whole journal from its first entry, as [`Ledger::audit`] does.
    ///
    /// # Errors
    /// The first entry that does not follow, or that the journal could not be read.
    pub async fn verify(&self, account: &AccountId) -> Result<Verified, VerifyError> {
        let audited = self.audit(account, None, None, AuditLimits::NONE, |_| ()).await?;
        match audited.difference {
            Some(Difference { seq, what }) => Err(VerifyError::Broken { seq, what }),
            None => Ok(Verified { entries: audited.seq, hash: audited.hash }),
        }
    }
}

/// An entry that must be there and is not.
pub(crate) fn gap(account: &AccountId, seq: u64) -> LedgerError {
    LedgerError::Corrupt(format!("entry {seq} of {account} is not there"))
}

/// Checks that entry `seq` is the `expected` one, if one is, of a journal that is read downwards.
/// Returns the one to expect next.
pub(crate) fn follows_down(
    account: &AccountId,
    expected: Option<u64>,
    seq: u64,
) -> Result<u64, LedgerError> {
    match expected.filter(|expected| *expected != seq) {
        Some(expected) => Err(gap(account, expected)),
        None => Ok(seq.saturating_sub(1)),
    }
}

pub(crate) fn entry_of(draft: Draft) -> Entry {
    let Applied { state, operations } = draft.finish();
    Entry { time: state.settled_at(), operations, state, private_digest: None }
}

pub(crate) fn happened(stored: &StoredEntry, position: u8) -> Result<Happened, LedgerError> {
    let index = usize::from(position);
    let balances = stored.entry.balances();
    match (stored.entry.operations.get(index), balances.get(index)) {
        (Some(operation), Some(balance)) => Ok(Happened {
            operation: operation.clone(),
            balance_after: *balance,
            private: stored.private(position)?,
        }),
        _ => Err(LedgerError::Corrupt(format!("entry {} has no {position}", stored.seq()))),
    }
}

pub(crate) fn operation_id(item: &Item) -> Result<OperationId, LedgerError> {
    let seq = number(item, OPERATION_SEQ);
    let position = number(item, OPERATION_POSITION).and_then(|n| u8::try_from(n).ok());
    seq.zip(position)
        .map(|(seq, position)| OperationId { seq, position })
        .ok_or_else(|| LedgerError::Corrupt("an operation item names no entry".to_owned()))
}

pub(crate) fn directory_put(account: &AccountId, opened_at: Timestamp) -> Put {
    let mut item = keys::directory(account).item();
    item.insert(OPENED_AT.to_owned(), AttributeValue::N(opened_at.millis().to_string()));
    Put { item, condition: Condition::None }
}
