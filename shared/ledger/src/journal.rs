//! [`Ledger`], reading and writing accounts.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use tokio::time::Instant;
use uc_domain::account::{
    AccountState, Applied, Balance, Command, Draft, Operation, OperationId, Origin, Rejection,
    Settings,
};
use uc_domain::journal::Entry;
use uc_domain::{AccountId, Timestamp};

use crate::entry::{StoredEntry, genesis};
use crate::private::Private;
use crate::store::{
    AttributeValue, Condition, Item, Key, Put, Query, SK, Store, StoreError, TransactError, bytes,
    number, text,
};
use crate::{Clock, keys};

/// The operation item's attributes: the entry, the place in it, the request's fingerprint.
const OPERATION_SEQ: &str = "q";
const OPERATION_POSITION: &str = "n";
const FINGERPRINT: &str = "f";
/// And which attempt wrote it: two sends of one request in one millisecond compose the same
/// entry to the byte, and only one of them was first.
const NONCE: &str = "r";
/// The directory item's attribute: when the account opened.
const OPENED_AT: &str = "at";

/// How long a write is tried before the caller hears 503.
const PATIENCE: Duration = Duration::from_secs(10);
/// A machine whose clock is further than this from the store's does not write.
const MAX_SKEW_SECONDS: u64 = 60;
/// Operations or accounts on one page at most.
const MAX_PAGE: u32 = 100;
/// Entries that a verification reads at a time.
const VERIFY_PAGE: u32 = 200;

/// Why the ledger could not do its work. Nothing is half done.
#[derive(Debug, thiserror::Error)]
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

/// Puts that join the transaction, made for the operation they belong to. Where one of their
/// conditions fails, nothing is written: [`Asked::Prevented`].
pub type Extra<'a> = &'a (dyn Fn(&Operation) -> Vec<Put> + Send + Sync);

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

/// What an attempt to write came to.
enum Attempt {
    Written(Box<Outcome>),
    /// Somebody was faster: this is the head now.
    Behind(Box<StoredEntry>),
    /// Not known, or a passing obstacle.
    Again(String),
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

    /// Does what is asked, once: reads the account, lets `decide` choose the command on its
    /// settled state, and writes the entry. A request that already happened is answered again
    /// from its entry, before any refusal.
    ///
    /// `decide` may run several times, each time on a newer state.
    ///
    /// # Errors
    /// See [`Asked`]; then nothing was written, unless the error is that the store is unavailable:
    /// then it may have been, and asking again with the same origin tells.
    pub async fn execute<E>(
        &self,
        ask: &Ask<'_>,
        decide: impl Fn(&AccountState) -> Result<Command, E>,
    ) -> Result<Outcome, Asked<E>> {
        let started = Instant::now();
        let mut head = self.head(ask.account).await?;
        let mut retries = 0;
        let mut conflicts = 0;
        let mut followed_conflict = false;
        let nonce: [u8; 8] = fastrand::u64(..).to_be_bytes();
        // What was sent. Of some of it nobody knows whether it was written.
        let mut sent = Vec::new();
        loop {
            let composed = match self.compose(ask, nonce, head.as_ref(), &decide) {
                Ok(composed) => composed,
                Err(refusal) => {
                    // It may have happened already: then this is a replay, not a refusal.
                    return match self.replay(ask, nonce).await? {
                        Some(outcome) => Ok(outcome),
                        None => Err(refusal),
                    };
                }
            };
            sent.push(Sent { id: composed.id, hash: composed.stored.hash });
            let skew = self.store.clock_skew_seconds();
            if skew > MAX_SKEW_SECONDS {
                return Err(LedgerError::ClockSkew(skew).into());
            }
            let obstacle = match self.attempt(ask, composed, nonce).await? {
                Attempt::Written(outcome) => {
                    return Ok(Outcome { retries, conflicts, ..*outcome });
                }
                Attempt::Behind(faster) => {
                    // No operation item tells, but the entry may be ours to the last byte: this
                    // write was done twice, or an earlier one has arrived late.
                    if let Some(own) = sent.iter().find(|sent| sent.hash == faster.hash) {
                        let outcome = outcome(*faster, own.id.position, false)?;
                        return Ok(Outcome { retries, conflicts, ..outcome });
                    }
                    conflicts += 1;
                    if !followed_conflict {
                        followed_conflict = true;
                        head = Some(*faster);
                        retries += 1;
                        if started.elapsed() > PATIENCE {
                            return Err(LedgerError::Busy.into());
                        }
                        continue;
                    }
                    None
                }
                Attempt::Again(text) => Some(text),
            };
            retries += 1;
            if started.elapsed() > PATIENCE {
                return Err(obstacle.map_or(LedgerError::Busy, LedgerError::Unavailable).into());
            }
            // Who lost a race runs again at once: waiting would let newcomers pass for ever. Who met
            // an obstacle waits for it to go.
            if obstacle.is_some() {
                pause(retries).await;
            }
            followed_conflict = false;
            head = match self.head(ask.account).await {
                Ok(head) => head,
                // Reading failed while it is unknown whether the write happened: try on.
                Err(LedgerError::Unavailable(_)) => head,
                Err(error) => return Err(error.into()),
            };
            // After the head: what arrives later than that is in the way of the next write.
            if ask.origin == Origin::System
                && let Some(outcome) = self.written(ask.account, &sent).await?
            {
                return Ok(Outcome { retries, conflicts, ..outcome });
            }
        }
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
        let (_, put) = StoredEntry::compose(account, head.hash, entry, 0, &Private::default());
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

    /// The next entry, and the operation in it that was asked for.
    fn compose<E>(
        &self,
        ask: &Ask<'_>,
        nonce: [u8; 8],
        head: Option<&StoredEntry>,
        decide: impl Fn(&AccountState) -> Result<Command, E>,
    ) -> Result<Composed, Asked<E>> {
        if head.is_none() && !ask.opens {
            return Err(Asked::AccountNotFound);
        }
        let fresh;
        let state = if let Some(head) = head {
            &head.entry.state
        } else {
            fresh = AccountState::new(self.defaults.clone());
            &fresh
        };
        let mut draft = Draft::open(state, self.clock.now());
        let command = decide(draft.state()).map_err(Asked::Decided)?;
        let id = draft.apply(ask.origin.clone(), &command)?;
        let entry = entry_of(draft);
        let previous = head.map_or_else(|| genesis(ask.account), |head| head.hash);
        let (stored, entry_put) =
            StoredEntry::compose(ask.account, previous, entry, id.position, &ask.private);

        let mut puts = Vec::new();
        if let Some(key) = keys::operation(ask.account, &ask.origin) {
            puts.push(operation_put(&key, id, ask.fingerprint, nonce));
        }
        let entry_index = puts.len();
        puts.push(entry_put);
        let operation = &stored.entry.operations[usize::from(id.position)];
        puts.extend((ask.extra)(operation));
        let extras = entry_index + 1..puts.len();
        if id.seq == 1 {
            puts.push(directory_put(ask.account, stored.entry.time));
        }
        puts.extend(Self::expiry_put(ask, &stored));
        Ok(Composed { stored, id, puts, entry_index, extras })
    }

    /// A day on which a grant ends is noted, so that the schedule settles accounts that sleep.
    /// Not for a subscription's grants: its next period settles them.
    fn expiry_put(ask: &Ask<'_>, stored: &StoredEntry) -> Option<Put> {
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

    async fn attempt<E>(
        &self,
        ask: &Ask<'_>,
        composed: Composed,
        nonce: [u8; 8],
    ) -> Result<Attempt, Asked<E>> {
        let Composed { stored, id, puts, entry_index, extras } = composed;
        let mut in_the_way = match self.store.transact(puts).await {
            Ok(()) => {
                return Ok(Attempt::Written(outcome(stored, id.position, false)?.into()));
            }
            Err(TransactError::Failed(in_the_way)) => in_the_way,
            Err(TransactError::Conflict) => return Ok(Attempt::Again("conflict".to_owned())),
            Err(TransactError::Store(StoreError::NoAnswer(text))) => {
                return Ok(Attempt::Again(text));
            }
            Err(TransactError::Store(error)) => return Err(LedgerError::from(error).into()),
        };
        let mut take = |index: usize| in_the_way.get_mut(index).and_then(Option::take);
        if entry_index == 1
            && let Some(operation) = take(0)
        {
            let outcome = self.replay_from(ask, &operation, nonce).await?;
            return Ok(Attempt::Written(outcome.into()));
        }
        // The caller's conditions come before the race for the entry: if they fail, no later
        // entry will do. It may be this very request that fulfilled them before: the operation's
        // reason is silent about it where it is a conflict with one more delivery.
        for index in extras {
            if let Some(item) = take(index) {
                return match self.replay(ask, nonce).await? {
                    Some(outcome) => Ok(Attempt::Written(outcome.into())),
                    None => Err(Asked::Prevented(index - entry_index - 1, item)),
                };
            }
        }
        match take(entry_index) {
            Some(item) if item.is_empty() => Ok(Attempt::Again("conflict".to_owned())),
            Some(item) => Ok(Attempt::Behind(StoredEntry::from_item(ask.account, &item)?.into())),
            None => Err(LedgerError::Refused("a condition that none was set for".into()).into()),
        }
    }

    /// Which of the writes that were sent was written, where no operation item tells.
    async fn written(
        &self,
        account: &AccountId,
        sent: &[Sent],
    ) -> Result<Option<Outcome>, LedgerError> {
        for sent in sent {
            let stored = self.entry(account, sent.id.seq).await?;
            if let Some(stored) = stored.filter(|stored| stored.hash == sent.hash) {
                return outcome(stored, sent.id.position, false).map(Some);
            }
        }
        Ok(None)
    }

    /// The answer to a request that already happened, if it did.
    async fn replay<E>(&self, ask: &Ask<'_>, nonce: [u8; 8]) -> Result<Option<Outcome>, Asked<E>> {
        let Some(key) = keys::operation(ask.account, &ask.origin) else { return Ok(None) };
        match self.store.get(&key).await.map_err(LedgerError::from)? {
            Some(item) => self.replay_from(ask, &item, nonce).await.map(Some),
            None => Ok(None),
        }
    }

    /// The first answer again, from the entry that an operation item names. Where this very call
    /// wrote it, only the answer had been lost.
    async fn replay_from<E>(
        &self,
        ask: &Ask<'_>,
        item: &Item,
        nonce: [u8; 8],
    ) -> Result<Outcome, Asked<E>> {
        if bytes(item, FINGERPRINT) != Some(ask.fingerprint.as_slice()) {
            return Err(Asked::KeyReused);
        }
        let id = operation_id(item)?;
        let stored = self
            .entry(ask.account, id.seq)
            .await?
            .ok_or_else(|| LedgerError::Corrupt(format!("{id} of {} has no entry", ask.account)))?;
        let replayed = bytes(item, NONCE) != Some(nonce.as_slice());
        Ok(outcome(stored, id.position, replayed)?)
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

    /// One operation by who asked for it: what became of a request whose answer was lost.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn operation_of(
        &self,
        account: &AccountId,
        origin: &Origin,
    ) -> Result<Option<Happened>, LedgerError> {
        let Some(key) = keys::operation(account, origin) else { return Ok(None) };
        let Some(item) = self.store.get(&key).await? else { return Ok(None) };
        self.operation(account, operation_id(&item)?).await
    }

    /// Operations newest first, below `before` if given, at most 100.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
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
        let mut items = Vec::new();
        let mut entries = self.store.query(&query).await?.into_iter();
        while let Some(item) = entries.next() {
            let stored = StoredEntry::from_item(account, &item)?;
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

    /// Recomputes a journal from its first entry: sequence, hashes, private data, postings.
    ///
    /// # Errors
    /// The first entry that does not follow, or that the journal could not be read.
    pub async fn verify(&self, account: &AccountId) -> Result<Verified, VerifyError> {
        let (mut from, to) = keys::seq_range();
        let mut previous: Option<StoredEntry> = None;
        loop {
            let query = Query {
                pk: keys::journal(account),
                from: from.clone(),
                to: to.clone(),
                descending: false,
                limit: VERIFY_PAGE,
            };
            let items = self.store.query(&query).await.map_err(LedgerError::from)?;
            if items.is_empty() {
                return Ok(Verified {
                    entries: previous.as_ref().map_or(0, StoredEntry::seq),
                    hash: previous.map(|previous| previous.hash),
                });
            }
            for item in items {
                let next = previous.as_ref().map_or(1, |previous| previous.seq() + 1);
                let broken = |what: String| VerifyError::Broken { seq: next, what };
                let stored = StoredEntry::from_item(account, &item)
                    .map_err(|error| broken(error.to_string()))?;
                stored
                    .verify(account, previous.as_ref())
                    .map_err(|what| broken(what.to_owned()))?;
                from = keys::seq(stored.seq() + 1);
                previous = Some(stored);
            }
        }
    }
}

fn entry_of(draft: Draft) -> Entry {
    let Applied { state, operations } = draft.finish();
    Entry { time: state.settled_at(), operations, state, private_digest: None }
}

/// An entry that was sent to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    id: OperationId,
    hash: [u8; 32],
}

/// An entry ready to be written.
struct Composed {
    stored: StoredEntry,
    id: OperationId,
    puts: Vec<Put>,
    entry_index: usize,
    extras: std::ops::Range<usize>,
}

fn outcome(stored: StoredEntry, position: u8, replayed: bool) -> Result<Outcome, LedgerError> {
    let happened = happened(&stored, position)?;
    Ok(Outcome { happened, state: stored.entry.state, replayed, retries: 0, conflicts: 0 })
}

fn happened(stored: &StoredEntry, position: u8) -> Result<Happened, LedgerError> {
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

fn operation_put(key: &Key, id: OperationId, fingerprint: [u8; 16], nonce: [u8; 8]) -> Put {
    let mut item = key.item();
    item.insert(OPERATION_SEQ.to_owned(), AttributeValue::N(id.seq.to_string()));
    item.insert(OPERATION_POSITION.to_owned(), AttributeValue::N(id.position.to_string()));
    item.insert(FINGERPRINT.to_owned(), AttributeValue::B(Blob::new(fingerprint)));
    item.insert(NONCE.to_owned(), AttributeValue::B(Blob::new(nonce)));
    Put { item, condition: Condition::NotExists }
}

fn operation_id(item: &Item) -> Result<OperationId, LedgerError> {
    let seq = number(item, OPERATION_SEQ);
    let position = number(item, OPERATION_POSITION).and_then(|n| u8::try_from(n).ok());
    seq.zip(position)
        .map(|(seq, position)| OperationId { seq, position })
        .ok_or_else(|| LedgerError::Corrupt("an operation item names no entry".to_owned()))
}

fn directory_put(account: &AccountId, opened_at: Timestamp) -> Put {
    let mut item = keys::directory(account).item();
    item.insert(OPENED_AT.to_owned(), AttributeValue::N(opened_at.millis().to_string()));
    Put { item, condition: Condition::None }
}

/// Waits a random while that grows with every retry, up to half a second.
async fn pause(retries: u32) {
    let longest = 10_u64.saturating_mul(1 << retries.min(6)).min(500);
    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=longest))).await;
}
