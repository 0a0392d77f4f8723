//! How entries are written: one ask, or many of one account in as few entries as they fit into.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use uc_domain::AccountId;
use uc_domain::account::{
    AccountState, Command, Draft, MAX_COMMANDS, OperationId, Origin, Rejection, apply,
};

use crate::entry::{StoredEntry, genesis};
use crate::journal::{
    Ask, Asked, Ledger, LedgerError, Outcome, directory_put, entry_of, happened, operation_id,
};
use crate::keys;
use crate::store::{
    AttributeValue, Condition, Item, Key, Put, StoreError, TransactError, bytes, item_size, text,
};
use crate::unrated::UnratedId;

/// The operation item's attributes: the entry, the place in it, the request's fingerprint.
pub(crate) const OPERATION_SEQ: &str = "q";
pub(crate) const OPERATION_POSITION: &str = "n";
pub(crate) const FINGERPRINT: &str = "f";
/// And which attempt wrote it: two sends of one request in one millisecond compose the same
/// entry to the byte, and only one of them was first.
pub(crate) const NONCE: &str = "r";
/// In place of the entry: the unrated item that keeps the request's usage until it is rated.
pub(crate) const UNRATED: &str = "u";

/// How long a write is tried before the caller hears 503.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// A machine whose clock is further than this from the store's does not write.
pub(crate) const MAX_SKEW_SECONDS: u64 = 60;
/// What an item may weigh, in bytes: the store takes less than 400 KiB.
const ITEM_LIMIT: usize = 400_000;
/// Items of one transaction at most.
const TRANSACTION_LIMIT: usize = 100;
/// Operation items that are looked up at once.
const LOOKUPS: usize = 8;

/// One of several things asked of one account at once.
pub struct Batched<'a, E> {
    /// The ask. `opens` is meant for asks on their own.
    pub ask: Ask<'a>,
    /// The decision, on the state that those before it leave. It may run several times.
    pub decide: Decide<'a, E>,
}

/// Chooses the command on an account's settled state, or says why not.
pub type Decide<'a, E> = &'a (dyn Fn(&AccountState) -> Result<Command, E> + Send + Sync);

/// What became of each ask; nothing where it is not known yet.
type Answers<E> = [Option<Result<Outcome, Asked<E>>>];

/// The nonce of one call.
pub(crate) type Nonce = [u8; 8];

impl Ledger {
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
        let answers = self.run(ask.account, &[ask], None, |_, state| decide(state)).await;
        answers.into_iter().next().expect("an answer for each ask")
    }

    /// The same for a request whose usage was parked as `id`: its operation item is replaced.
    pub(crate) async fn execute_parked<E>(
        &self,
        ask: &Ask<'_>,
        id: &UnratedId,
        decide: impl Fn(&AccountState) -> Result<Command, E>,
    ) -> Result<Outcome, Asked<E>> {
        let answers = self.run(ask.account, &[ask], Some(id), |_, state| decide(state)).await;
        answers.into_iter().next().expect("an answer for each ask")
    }

    /// Does many things that are asked of one account, each once, in the order given: up to 96 in
    /// one entry, in as few entries as they fit into. The answers are those that
    /// [`Self::execute`] would give one after the other, in the same order: what is refused holds
    /// up none of the others, and what has happened before, in an earlier call or as an earlier
    /// one of these, is answered again.
    ///
    /// Two asks with the same key are decided in order: where the first one happens, the second
    /// is its replay, or [`Asked::KeyReused`].
    ///
    /// # Panics
    /// If an ask is of another account.
    pub async fn execute_batch<E>(
        &self,
        account: &AccountId,
        batch: &[Batched<'_, E>],
    ) -> Vec<Result<Outcome, Asked<E>>> {
        let asks: Vec<_> = batch.iter().map(|batched| &batched.ask).collect();
        assert!(asks.iter().all(|ask| ask.account == account), "a batch is of one account");
        self.run(account, &asks, None, |index, state| (batch[index].decide)(state)).await
    }

    async fn run<E>(
        &self,
        account: &AccountId,
        asks: &[&Ask<'_>],
        parked: Option<&UnratedId>,
        decide: impl Fn(usize, &AccountState) -> Result<Command, E>,
    ) -> Vec<Result<Outcome, Asked<E>>> {
        let mut answers: Vec<_> = asks.iter().map(|_| None).collect();
        let past = Past::new(self, account, parked);
        let failed = self.answer(&past, asks, decide, &mut answers).await.err();
        // Each is answered, or all that are not failed for the same reason.
        let failure = || failed.clone().unwrap_or(LedgerError::Busy);
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(failure().into()))).collect()
    }

    /// Writes until every ask has its answer.
    async fn answer<E>(
        &self,
        past: &Past<'_>,
        asks: &[&Ask<'_>],
        decide: impl Fn(usize, &AccountState) -> Result<Command, E>,
        answers: &mut Answers<E>,
    ) -> Result<(), LedgerError> {
        let started = Instant::now();
        let account = past.account;
        let mut head = self.head(account).await?;
        let mut tries = Tries::default();
        let mut followed_conflict = false;
        // What was sent. Of some of it nobody knows whether it was written.
        let mut history: Vec<Sent> = Vec::new();
        let mut most = MAX_COMMANDS;
        loop {
            let pending: Vec<usize> =
                (0..asks.len()).filter(|index| answers[*index].is_none()).collect();
            if pending.is_empty() {
                return Ok(());
            }
            let Composed { entry, refused, same } =
                self.compose(past, asks, &pending[..], head.as_ref(), most, &decide);
            let Some(Next { stored, placed, puts, entry_index }) = entry else {
                // They may have happened already: then they are replays, not refusals.
                let seq = head.as_ref().map_or(0, StoredEntry::seq);
                past.refuse(asks, refused, &history, seq, answers).await;
                continue;
            };
            if placed.len() > 1
                && (puts.len() > TRANSACTION_LIMIT
                    || item_size(&puts[entry_index].item) > ITEM_LIMIT)
            {
                most = placed.len() / 2;
                continue;
            }
            let skew = self.store().clock_skew_seconds();
            if skew > MAX_SKEW_SECONDS {
                return Err(LedgerError::ClockSkew(skew));
            }
            let sent = Sent { seq: stored.seq(), hash: stored.hash, placed, is_unknown: false };
            let obstacle = match self.store().transact(puts).await {
                Ok(()) => {
                    sent.answer(&stored, &mut tries, answers);
                    answer_same(asks, &same, answers);
                    past.refuse(asks, refused, &history, stored.seq(), answers).await;
                    head = Some(stored);
                    followed_conflict = false;
                    continue;
                }
                Err(TransactError::Failed(in_the_way)) => {
                    let entry = in_the_way.get(entry_index).cloned().flatten();
                    let unnamed = in_the_way.iter().flatten().any(Item::is_empty);
                    let progress =
                        past.answer_prevented(asks, &sent, in_the_way, &mut tries, answers).await?;
                    match entry {
                        // Others were in the way, and are not any more.
                        None if progress => continue,
                        None if unnamed => Some((sent, "conflict".to_owned())),
                        None => {
                            let what = "a condition that none was set for";
                            return Err(LedgerError::Refused(what.into()));
                        }
                        Some(item) if item.is_empty() => Some((sent, "conflict".to_owned())),
                        Some(item) => {
                            let faster = StoredEntry::from_item(account, &item)?;
                            // No operation item tells, but the entry may be ours to the last byte:
                            // this write was done twice, or an earlier one has arrived late.
                            let hash = faster.hash;
                            if sent.hash == hash || history.iter().any(|sent| sent.hash == hash) {
                                history.push(sent);
                                for own in history.iter_mut().filter(|sent| sent.hash == hash) {
                                    own.answer_by_hash(&faster, &mut tries, answers);
                                    // Of the others their operation items tell, whose reasons may
                                    // have been hidden: they are looked up before any refusal.
                                    own.is_unknown = true;
                                }
                                head = Some(faster);
                                continue;
                            }
                            history.push(sent);
                            tries.conflicts += 1;
                            if progress || !followed_conflict {
                                followed_conflict = true;
                                head = Some(faster);
                                tries.retries += 1;
                                if started.elapsed() > PATIENCE {
                                    return Err(LedgerError::Busy);
                                }
                                continue;
                            }
                            None
                        }
                    }
                }
                Err(TransactError::Conflict) => Some((sent, "conflict".to_owned())),
                Err(TransactError::Store(StoreError::NoAnswer(text))) => Some((sent, text)),
                Err(TransactError::Store(error)) => return Err(error.into()),
            };
            tries.retries += 1;
            if started.elapsed() > PATIENCE {
                return Err(
                    obstacle.map_or(LedgerError::Busy, |(_, text)| LedgerError::Unavailable(text))
                );
            }
            // Who lost a race runs again at once: waiting would let newcomers pass for ever. Who met
            // an obstacle waits for it to go.
            if let Some((mut sent, _)) = obstacle {
                sent.is_unknown = true;
                history.push(sent);
                pause(tries.retries).await;
            }
            followed_conflict = false;
            head = match self.head(account).await {
                Ok(head) => head,
                // Reading failed while it is unknown whether the write happened: try on.
                Err(LedgerError::Unavailable(_)) => head,
                Err(error) => return Err(error),
            };
            // After the head: what arrives later than that is in the way of the next write.
            if pending.iter().any(|index| asks[*index].origin == Origin::System) {
                self.answer_written(account, &history, &mut tries, answers).await?;
            }
        }
    }

    /// The next entry: of the pending asks, in their order, at most `most` and as many as fit.
    fn compose<E>(
        &self,
        past: &Past<'_>,
        asks: &[&Ask<'_>],
        pending: &[usize],
        head: Option<&StoredEntry>,
        most: usize,
        decide: impl Fn(usize, &AccountState) -> Result<Command, E>,
    ) -> Composed<E> {
        let account = past.account;
        let fresh;
        let state = if let Some(head) = head {
            &head.entry.state
        } else {
            fresh = AccountState::new(self.defaults().clone());
            &fresh
        };
        let now = self.now();
        let mut draft = Draft::open(state, now);
        let (mut placed, mut refused, mut same) = (Vec::new(), Vec::new(), Vec::new());
        let mut by_origin: HashMap<&Origin, usize> = HashMap::new();
        for &index in pending {
            let ask = asks[index];
            if placed.len() == most {
                break;
            }
            if head.is_none() && placed.is_empty() && !ask.opens {
                refused.push((index, Asked::AccountNotFound));
                continue;
            }
            if let Some(first) = by_origin.get(&ask.origin) {
                same.push((index, *first));
                continue;
            }
            let command = match decide(index, draft.state()) {
                Ok(command) => command,
                Err(reason) => {
                    refused.push((index, Asked::Decided(reason)));
                    continue;
                }
            };
            match draft.apply(ask.origin.clone(), &command) {
                Ok(id) => {
                    placed.push((index, id));
                    if ask.origin != Origin::System {
                        by_origin.insert(&ask.origin, index);
                    }
                }
                // The entry's limit is none of the command's: the next entry will have it first.
                Err(Rejection::LimitExceeded(_))
                    if !placed.is_empty()
                        && !matches!(
                            apply(draft.state(), ask.origin.clone(), &command, now),
                            Err(Rejection::LimitExceeded(_))
                        ) =>
                {
                    break;
                }
                Err(rejection) => refused.push((index, rejection.into())),
            }
        }
        if placed.is_empty() {
            return Composed { entry: None, refused, same };
        }
        let privates: Vec<_> =
            placed.iter().map(|(index, id)| (id.position, &asks[*index].private)).collect();
        let previous = head.map_or_else(|| genesis(account), |head| head.hash);
        let (stored, entry_put) =
            StoredEntry::compose(account, previous, entry_of(draft), &privates);

        // Where conditions fail, the operations are looked at first, then what is written with
        // them, then the entry.
        let mut puts = Vec::with_capacity(placed.len() + 3);
        let mut placements = Vec::with_capacity(placed.len());
        for (index, id) in placed {
            let ask = asks[index];
            let item = keys::operation(account, &ask.origin).map(|key| {
                puts.push(past.operation_put(&key, id, ask.fingerprint));
                puts.len() - 1
            });
            let operation = &stored.entry.operations[usize::from(id.position)];
            let extras = puts.len();
            puts.extend((ask.extra)(operation));
            placements.push(Placed { index, id, item, extras: extras..puts.len() });
        }
        let entry_index = puts.len();
        puts.push(entry_put);
        if stored.seq() == 1 {
            puts.push(directory_put(account, stored.entry.time));
        }
        if let Some(first) = placements.first() {
            puts.extend(Self::expiry_put(asks[first.index], &stored));
        }
        let entry = Some(Next { stored, placed: placements, puts, entry_index });
        Composed { entry, refused, same }
    }

    /// Answers from what was sent and written, where no operation item tells.
    async fn answer_written<E>(
        &self,
        account: &AccountId,
        history: &[Sent],
        tries: &mut Tries,
        answers: &mut Answers<E>,
    ) -> Result<(), LedgerError> {
        for sent in history {
            let stored = self.entry(account, sent.seq).await?;
            if let Some(stored) = stored.filter(|stored| stored.hash == sent.hash) {
                sent.answer_by_hash(&stored, tries, answers);
            }
        }
        Ok(())
    }
}

/// How often a write was tried again since somebody was told.
#[derive(Debug, Default)]
struct Tries {
    retries: u32,
    conflicts: u32,
}

/// An ask in an entry.
struct Placed {
    /// Which ask.
    index: usize,
    /// What it became.
    id: OperationId,
    /// Its operation item among the puts; what the ledger does by itself has none.
    item: Option<usize>,
    /// Its further puts.
    extras: std::ops::Range<usize>,
}

/// An entry ready to be written.
struct Next {
    stored: StoredEntry,
    placed: Vec<Placed>,
    puts: Vec<Put>,
    entry_index: usize,
}

/// What the pending asks come to, on one head.
struct Composed<E> {
    /// What there is to write, if anything.
    entry: Option<Next>,
    /// What is refused.
    refused: Vec<(usize, Asked<E>)>,
    /// Asks with the key of an earlier one in the entry, and that one.
    same: Vec<(usize, usize)>,
}

/// An entry that was sent to the store.
struct Sent {
    seq: u64,
    hash: [u8; 32],
    placed: Vec<Placed>,
    /// Whether nobody knows if it was written.
    is_unknown: bool,
}

impl Sent {
    /// Whether an ask was among what was sent.
    fn has(&self, index: usize) -> bool {
        self.placed.iter().any(|placed| placed.index == index)
    }

    /// It was written: answers the asks in it.
    fn answer<E>(&self, stored: &StoredEntry, tries: &mut Tries, answers: &mut Answers<E>) {
        self.answer_those(|_| true, stored, tries, answers);
    }

    /// The very bytes were written: answers the asks in it that have no operation item. Of others
    /// the item tells who wrote them: two sends of one request in one millisecond compose the same
    /// bytes.
    fn answer_by_hash<E>(&self, stored: &StoredEntry, tries: &mut Tries, answers: &mut Answers<E>) {
        self.answer_those(|placed| placed.item.is_none(), stored, tries, answers);
    }

    fn answer_those<E>(
        &self,
        those: impl Fn(&Placed) -> bool,
        stored: &StoredEntry,
        tries: &mut Tries,
        answers: &mut Answers<E>,
    ) {
        for placed in self.placed.iter().filter(|placed| those(placed)) {
            answers[placed.index] = Some(
                outcome(stored, placed.id.position, false)
                    .map(|outcome| tries.told(outcome))
                    .map_err(Asked::from),
            );
        }
    }
}

impl Tries {
    /// Told with one outcome, and counted once.
    fn told(&mut self, outcome: Outcome) -> Outcome {
        let Self { retries, conflicts } = std::mem::take(self);
        Outcome { retries, conflicts, ..outcome }
    }
}

/// Answers asks whose key an earlier one of the entry has.
fn answer_same<E>(asks: &[&Ask<'_>], same: &[(usize, usize)], answers: &mut Answers<E>) {
    for (index, first) in same {
        let first_outcome = match &answers[*first] {
            Some(Ok(outcome)) => outcome.clone(),
            // Not there: looked up like any other.
            _ => continue,
        };
        let is_same = asks[*index].fingerprint == asks[*first].fingerprint;
        answers[*index] = Some(if is_same {
            Ok(Outcome { replayed: true, retries: 0, conflicts: 0, ..first_outcome })
        } else {
            Err(Asked::KeyReused)
        });
    }
}

/// What has happened before, as one call sees it.
pub(crate) struct Past<'l> {
    ledger: &'l Ledger,
    account: &'l AccountId,
    pub(crate) nonce: Nonce,
    /// The unrated item that the call is to charge.
    parked: Option<&'l UnratedId>,
}

impl<'l> Past<'l> {
    pub(crate) fn new(
        ledger: &'l Ledger,
        account: &'l AccountId,
        parked: Option<&'l UnratedId>,
    ) -> Self {
        Self { ledger, account, nonce: fastrand::u64(..).to_be_bytes(), parked }
    }

    fn operation_put(&self, key: &Key, id: OperationId, fingerprint: [u8; 16]) -> Put {
        let mut item = key.item();
        item.insert(OPERATION_SEQ.to_owned(), AttributeValue::N(id.seq.to_string()));
        item.insert(OPERATION_POSITION.to_owned(), AttributeValue::N(id.position.to_string()));
        item.insert(FINGERPRINT.to_owned(), AttributeValue::B(Blob::new(fingerprint)));
        item.insert(NONCE.to_owned(), AttributeValue::B(Blob::new(self.nonce)));
        let condition = match self.parked {
            None => Condition::NotExists,
            Some(id) => Condition::Equals(UNRATED, AttributeValue::S(id.to_string())),
        };
        Put { item, condition }
    }

    /// Refuses, except what has happened before: that is answered again. And what was sent for an
    /// entry above `seq`, the newest: it may still arrive, so nobody may say that it did not happen.
    async fn refuse<E>(
        &self,
        asks: &[&Ask<'_>],
        refused: Vec<(usize, Asked<E>)>,
        history: &[Sent],
        seq: u64,
        answers: &mut Answers<E>,
    ) {
        let store = self.ledger.store();
        let looked_up: Vec<_> = stream::iter(refused)
            .map(|(index, refusal)| {
                let key = keys::operation(self.account, &asks[index].origin);
                async move {
                    match key {
                        Some(key) => (index, refusal, store.get(&key).await),
                        None => (index, refusal, Ok(None)),
                    }
                }
            })
            .buffered(LOOKUPS)
            .collect()
            .await;
        let mut entries = HashMap::new();
        for (index, refusal, item) in looked_up {
            let is_under_way = |sent: &Sent| sent.is_unknown && sent.seq > seq && sent.has(index);
            answers[index] = Some(match item {
                Ok(None) if history.iter().any(is_under_way) => {
                    let what = "what was sent before may still be written";
                    Err(LedgerError::Unavailable(what.to_owned()).into())
                }
                Ok(None) => Err(refusal),
                Ok(Some(item)) if self.is_parked(&item) => Err(refusal),
                // A later one of this call has the key: when this one was asked, none had.
                Ok(Some(item))
                    if self.wrote(&item)
                        && !history.iter().any(|sent| sent.is_unknown && sent.has(index)) =>
                {
                    Err(refusal)
                }
                Ok(Some(item)) => self.replay(asks[index], &item, &mut entries).await,
                Err(error) => Err(LedgerError::from(error).into()),
            });
        }
    }

    /// Answers what conditions prevented: asks that had happened before, and asks whose further
    /// puts met something. Returns whether there was any.
    async fn answer_prevented<E>(
        &self,
        asks: &[&Ask<'_>],
        sent: &Sent,
        mut in_the_way: Vec<Option<Item>>,
        tries: &mut Tries,
        answers: &mut Answers<E>,
    ) -> Result<bool, LedgerError> {
        let mut progress = false;
        let mut entries = HashMap::new();
        let mut take = |put: usize| in_the_way.get_mut(put).and_then(Option::take);
        for placed in &sent.placed {
            let mut operation = placed.item.and_then(&mut take);
            if operation.as_ref().is_some_and(Item::is_empty) {
                // The store says that it is there and not what it is.
                let key = keys::operation(self.account, &asks[placed.index].origin);
                let key = key.expect("what has an item has a key");
                operation = self.ledger.store().get(&key).await?;
            }
            if let Some(item) = operation {
                let answer = self.replay(asks[placed.index], &item, &mut entries).await;
                answers[placed.index] = Some(answer.map(|outcome| tries.told(outcome)));
                progress = true;
                continue;
            }
            // The caller's conditions come before the race for the entry: if they fail, no later
            // entry will do.
            let first = placed.extras.start;
            let met = placed.extras.clone().find_map(|put| Some((put - first, take(put)?)));
            if let Some((put, item)) = met {
                // It may be this very request that fulfilled them before: the operation's reason is
                // silent about it where it is a conflict with one more delivery.
                let ask = asks[placed.index];
                let done = match keys::operation(self.account, &ask.origin) {
                    Some(key) => self.ledger.store().get(&key).await?,
                    None => None,
                };
                answers[placed.index] = Some(match done.filter(|done| !self.is_parked(done)) {
                    Some(done) => {
                        let answer = self.replay(ask, &done, &mut entries).await;
                        answer.map(|outcome| tries.told(outcome))
                    }
                    None => Err(Asked::Prevented(put, item)),
                });
                progress = true;
            }
        }
        Ok(progress)
    }

    /// Whether this very call wrote an operation item.
    pub(crate) fn wrote(&self, item: &Item) -> bool {
        bytes(item, NONCE) == Some(self.nonce.as_slice())
    }

    /// Whether this is the operation item that the call is to replace.
    fn is_parked(&self, item: &Item) -> bool {
        self.parked.is_some_and(|id| text(item, UNRATED) == Some(id.as_str()))
    }

    /// The first answer again, from the entry that an operation item names. Where this very call
    /// wrote it, only the answer had been lost.
    pub(crate) async fn replay<E>(
        &self,
        ask: &Ask<'_>,
        item: &Item,
        entries: &mut HashMap<u64, StoredEntry>,
    ) -> Result<Outcome, Asked<E>> {
        if bytes(item, FINGERPRINT) != Some(ask.fingerprint.as_slice()) {
            return Err(Asked::KeyReused);
        }
        if let Some(id) = text(item, UNRATED) {
            let corrupt = || LedgerError::Corrupt(format!("an operation item names {id}"));
            return Err(Asked::Unrated(id.parse().map_err(|_| corrupt())?));
        }
        let id = operation_id(item)?;
        let stored = match entries.entry(id.seq) {
            std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => {
                let stored = self.ledger.entry(self.account, id.seq).await?.ok_or_else(|| {
                    LedgerError::Corrupt(format!("{id} of {} has no entry", self.account))
                })?;
                free.insert(stored)
            }
        };
        let outcome = outcome(stored, id.position, !self.wrote(item))?;
        // An entry that was taken away, and another written in its place.
        if outcome.happened.operation.origin != ask.origin {
            let what = format!("{id} of {} is not what its key says", self.account);
            return Err(LedgerError::Corrupt(what).into());
        }
        Ok(outcome)
    }
}

pub(crate) fn outcome(
    stored: &StoredEntry,
    position: u8,
    replayed: bool,
) -> Result<Outcome, LedgerError> {
    Ok(Outcome {
        happened: happened(stored, position)?,
        state: stored.entry.state.clone(),
        replayed,
        retries: 0,
        conflicts: 0,
    })
}

/// Waits a random while that grows with every retry, up to half a second.
pub(crate) async fn pause(retries: u32) {
    let longest = 10_u64.saturating_mul(1 << retries.min(6)).min(500);
    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=longest))).await;
}
