//! Recomputing journals from their first entry.
//!
//! An entry is right when the one before leads to it: it has the next number, its hash follows
//! from the hash before and its own body, its personal data (where they were not erased) are those
//! that were written, its time is not earlier, its postings account for every grant and for the
//! debt in the states of both entries, and the state machine, asked the same again, comes to the
//! same operations and to the same state. And each of its operations is named by the item that
//! makes it happen once, refunds and changes of payments add up by their items ([`Refunds`],
//! [`Changes`]), and voids are marked.
//!
//! A rule of the state machine that changes must go on deciding old entries as it did: else their
//! audit says so.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use uc_domain::account::{
    AccountState, Applied, Capture, Charge, Command, Detail, Draft, GrantId, GrantRequest,
    HoldRequest, MAX_HOLD_MILLIS, Operation, Origin, RatedItem, ReleaseCause, Source, Target,
};
use uc_domain::journal::Entry;
use uc_domain::{AccountId, Credits, Timestamp};

use crate::checkpoint::Checkpoint;
use crate::entry::StoredEntry;
use crate::journal::{Ledger, LedgerError, operation_id};
use crate::keys;
use crate::store::{Key, Query};

mod beside;

pub use beside::{Changes, PaymentItem, Refunds, unmarked};

/// Entries that one query reads.
const PAGE: u32 = 200;
/// Operation items that are read at the same time.
const AT_ONCE: usize = 25;

/// The first place where a journal is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {seq}: {what}")]
pub struct Difference {
    /// The entry; one above the newest where something is missing there.
    pub seq: u64,
    /// What is wrong with it.
    pub what: String,
}

/// One journal while it is recomputed: the entry that was found right last.
#[derive(Debug)]
pub struct Audit {
    account: AccountId,
    last: Option<StoredEntry>,
}

impl Audit {
    /// Of an account from its first entry on.
    pub const fn new(account: AccountId) -> Self {
        Self { account, last: None }
    }

    /// The account.
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// The entry that was found right last; 0 before the first.
    pub fn seq(&self) -> u64 {
        self.last.as_ref().map_or(0, StoredEntry::seq)
    }

    /// What it holds; none before the first.
    pub fn entry(&self) -> Option<&Entry> {
        self.last.as_ref().map(|last| &last.entry)
    }

    /// Its hash; none before the first.
    pub fn hash(&self) -> Option<[u8; 32]> {
        self.last.as_ref().map(|last| last.hash)
    }

    /// Takes the next entry, as it was read or with the reason why it could not be.
    ///
    /// # Errors
    /// It does not follow from the one before.
    pub fn take(&mut self, read: Result<StoredEntry, LedgerError>) -> Result<(), Difference> {
        let seq = self.seq() + 1;
        let difference = |what: String| Difference { seq, what };
        let stored = read.map_err(|error| difference(error.to_string()))?;
        let last = self.last.as_ref();
        stored.verify(&self.account, last).map_err(|what| difference(what.to_owned()))?;
        let fresh;
        let before = if let Some(last) = last {
            &last.entry.state
        } else {
            // The defaults of that day are not known, and nothing of a first entry depends on
            // them: what it says of the settings afterwards was either asked, or they.
            fresh = AccountState::new(stored.entry.state.settings().clone());
            &fresh
        };
        follows(before, &stored.entry).map_err(difference)?;
        self.last = Some(stored);
        Ok(())
    }

    /// Compares the entry that was taken last with what a checkpoint saw there.
    ///
    /// # Errors
    /// It is another one.
    pub fn compare(&self, checkpoint: &Checkpoint) -> Result<(), Difference> {
        if self.seq() != checkpoint.seq || self.hash() == Some(checkpoint.hash) {
            return Ok(());
        }
        let what = format!(
            "the history was rewritten: the checkpoint of {} has another hash here",
            checkpoint.day
        );
        Err(Difference { seq: checkpoint.seq, what })
    }

    /// Says that there are no more entries.
    ///
    /// # Errors
    /// A checkpoint has seen more.
    pub fn end(&self, checkpoint: Option<&Checkpoint>) -> Result<(), Difference> {
        match checkpoint {
            Some(checkpoint) if checkpoint.seq > self.seq() => {
                let Checkpoint { day, seq, .. } = checkpoint;
                let what =
                    format!("the tail was cut: the checkpoint of {day} has seen entry {seq}");
                Err(Difference { seq: self.seq() + 1, what })
            }
            _ => Ok(()),
        }
    }
}

/// The items that must name an entry's operations, with the operations' positions.
pub fn operation_items(account: &AccountId, entry: &Entry) -> Vec<(Key, u8)> {
    let item = |operation: &Operation| {
        Some((keys::operation(account, &operation.origin)?, operation.id.position))
    };
    entry.operations.iter().filter_map(item).collect()
}

/// Whether an entry follows from the state before it.
fn follows(before: &AccountState, entry: &Entry) -> Result<(), String> {
    if entry.time != entry.state.settled_at() {
        return Err("its time is not the time of its state".to_owned());
    }
    accounts_for(before, entry)?;
    // What decided these lies in other entries: they are held against the states, and what they
    // give back or take in all against the items that count it.
    let evidence_elsewhere = |operation: &Operation| {
        matches!(
            operation.detail,
            Detail::Refund { .. } | Detail::Clawback { .. } | Detail::ClawbackReversal { .. }
        )
    };
    if entry.operations.iter().any(evidence_elsewhere) {
        return given_back_adds_up(before, entry);
    }
    let mut draft = Draft::open(before, entry.time);
    for operation in &entry.operations {
        let Some(command) = command_of(operation) else { continue };
        match draft.apply(operation.origin.clone(), &command) {
            Ok(id) if id == operation.id => {}
            Ok(id) => return Err(format!("{} would be {id}", operation.id)),
            Err(rejection) => {
                return Err(format!("{} would be refused: {rejection}", operation.id));
            }
        }
    }
    let Applied { state, operations } = draft.finish();
    let differing = operations.iter().zip(&entry.operations).find(|(ours, theirs)| ours != theirs);
    if let Some((ours, _)) = differing {
        return Err(format!("{} does not follow from the state before", ours.id));
    }
    if operations.len() != entry.operations.len() {
        return Err(format!("{} operations follow from the state before", operations.len()));
    }
    if state != entry.state {
        return Err("the state does not follow from the state before".to_owned());
    }
    Ok(())
}

/// Whether what was given back, or taken back, is what the operations say, and nothing else of the
/// state changed with them but what time brought.
fn given_back_adds_up(before: &AccountState, entry: &Entry) -> Result<(), String> {
    // What is left of a clawback that voids have not forfeited.
    let part = |forfeited: Credits, credits: Credits| {
        let rest = forfeited.checked_sub(credits).filter(|rest| !rest.is_positive());
        rest.ok_or_else(|| "more was forfeited than was to be taken".to_owned())
    };
    let mut uncounted = 0;
    for operation in &entry.operations {
        let said = match operation.detail {
            Detail::Refund { credits, .. } => credits,
            Detail::Clawback { credits, forfeited, .. } => {
                uncounted -= forfeited.micros();
                part(forfeited, credits)?
            }
            Detail::ClawbackReversal { credits, forfeited, .. } => {
                uncounted += forfeited.micros();
                -part(forfeited, credits)?
            }
            _ => continue,
        };
        if operation.credits() != said {
            return Err(format!("{} says {said} credits", operation.id));
        }
    }
    let settled = before.settled(entry.time);
    let forfeited = |state: &AccountState| -> i128 {
        state.voided().iter().map(|voided| voided.forfeited.micros()).sum()
    };
    if forfeited(&settled) + uncounted != forfeited(&entry.state) {
        return Err("what voids have forfeited does not add up".to_owned());
    }
    let held = |state: &AccountState| -> Vec<_> {
        state.holds().iter().map(|hold| (hold.id, hold.credits(), hold.expires_at)).collect()
    };
    if held(&settled) != held(&entry.state) || settled.settings() != entry.state.settings() {
        return Err("the state does not follow from the state before".to_owned());
    }
    Ok(())
}

/// What was asked of the state machine, as far as it matters for what came of it; `None` for what
/// time brought.
fn command_of(operation: &Operation) -> Option<Command> {
    match &operation.detail {
        Detail::Activation { .. }
        | Detail::Expiry { .. }
        | Detail::Release { cause: ReleaseCause::Expired | ReleaseCause::Captured, .. }
        | Detail::Refund { .. }
        | Detail::Clawback { .. }
        | Detail::ClawbackReversal { .. } => None,
        // What rolled over when a grant ended.
        Detail::Grant { source: Source::Rollover, .. } if operation.origin == Origin::System => {
            None
        }
        Detail::Grant {
            source,
            priority,
            amount,
            effective_at,
            expires_at,
            paid,
            rollover,
            ..
        } => Some(Command::Grant(GrantRequest {
            amount: *amount,
            source: *source,
            priority: Some(*priority),
            effective_at: Some(*effective_at),
            expires_at: *expires_at,
            paid: paid.clone(),
            rollover: *rollover,
        })),
        Detail::Charge { requested, items, ratio_version, occurred_at } => {
            let usage = (*requested, &items[..], *ratio_version, *occurred_at);
            Some(Command::Charge(charge_of(operation, usage)))
        }
        Detail::Capture { hold, requested, items, ratio_version, occurred_at, last, .. } => {
            let usage = (*requested, &items[..], *ratio_version, *occurred_at);
            let charge = charge_of(operation, usage);
            Some(Command::Capture(Capture { hold: *hold, charge, last: *last }))
        }
        Detail::Hold { requested, credits, expires_at, ratio_version } => {
            Some(Command::Hold(HoldRequest {
                credits: *requested,
                millis: expires_at.millis() - operation.at.millis(),
                partial: credits < requested,
                ratio_version: *ratio_version,
                price_group: None,
            }))
        }
        Detail::HoldExtension { hold, expires_at } => {
            // One that changed nothing was for less than that.
            let millis = (expires_at.millis() - operation.at.millis()).min(MAX_HOLD_MILLIS);
            Some(Command::ExtendHold { hold: *hold, millis })
        }
        Detail::Release { hold, cause: ReleaseCause::Voided, .. } => Some(Command::VoidHold(*hold)),
        Detail::GrantVoid { grant, .. } => Some(Command::VoidGrant(*grant)),
        Detail::WriteOff => Some(Command::WriteOff(Some(operation.credits()))),
        Detail::Settings(settings) => Some(Command::Settings(settings.clone())),
    }
}

/// The usage that a charge or capture was of.
fn charge_of(
    operation: &Operation,
    (credits, items, ratio_version, occurred_at): (
        Credits,
        &[RatedItem],
        Option<u64>,
        Option<Timestamp>,
    ),
) -> Charge {
    Charge {
        credits,
        items: items.to_vec(),
        ratio_version,
        price_group: None,
        // What was not taken was forgiven, for whichever reason: the same is taken again.
        max_credits: Some(-operation.credits()),
        occurred_at,
    }
}

/// Whether the postings lead from every grant's remaining credits, and from the debt, before the
/// entry to those after it. Not by the state machine: it would not see its own faults.
fn accounts_for(before: &AccountState, entry: &Entry) -> Result<(), String> {
    // A pending grant is no part of the balance yet: its activation posts it.
    let live = |state: &AccountState| -> BTreeMap<GrantId, i128> {
        let grants = state.grants().iter().filter(|grant| !state.is_pending(grant));
        grants.map(|grant| (grant.id, grant.remaining.micros())).collect()
    };
    let mut grants = live(before);
    let mut debt = before.debt().micros();
    for posting in entry.operations.iter().flat_map(|operation| &operation.postings) {
        match posting.target {
            Target::Grant(id) => *grants.entry(id).or_default() += posting.credits.micros(),
            Target::Debt => debt -= posting.credits.micros(),
        }
    }
    if debt != entry.state.debt().micros() {
        return Err("the postings do not account for the debt".to_owned());
    }
    let after = live(&entry.state);
    let all = grants.keys().chain(after.keys());
    let of = |grants: &BTreeMap<GrantId, i128>, id| grants.get(id).copied().unwrap_or_default();
    match all.into_iter().find(|id| of(&grants, id) != of(&after, id)) {
        Some(id) => Err(format!("the postings do not account for the grant {id}")),
        None => Ok(()),
    }
}

/// What one call recomputes at most.
#[derive(Debug, Clone, Copy)]
pub struct AuditLimits {
    /// Entries.
    pub entries: u64,
    /// Time; looked at between pages of entries.
    pub time: Duration,
}

impl AuditLimits {
    /// Whole journals.
    pub const NONE: Self = Self { entries: u64::MAX, time: Duration::MAX };
}

/// How far a journal was recomputed, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// Entries recomputed in this call.
    pub entries: u64,
    /// The entry up to which the journal is right; 0 where not even the first is.
    pub seq: u64,
    /// Its hash.
    pub hash: Option<[u8; 32]>,
    /// Whether the end was reached.
    pub complete: bool,
    /// The first difference; nothing is recomputed behind it.
    pub difference: Option<Difference>,
}

impl Ledger {
    /// Recomputes a journal from its first entry, or goes on behind the entry and the hash at
    /// which an earlier call stopped, and shows every entry that is right to `each`. Where it
    /// comes by the checkpoint, or ends before it, the two are compared.
    ///
    /// # Errors
    /// The store is unavailable. What is wrong with the journal is no error but the result.
    pub async fn audit(
        &self,
        account: &AccountId,
        after: Option<(u64, [u8; 32])>,
        checkpoint: Option<&Checkpoint>,
        limits: AuditLimits,
        mut each: impl FnMut(&StoredEntry),
    ) -> Result<Audited, LedgerError> {
        let started = Instant::now();
        let mut audit = Audit::new(account.clone());
        let found = |audit: &Audit, entries, complete, difference| {
            let (seq, hash) = (audit.seq(), audit.hash());
            Ok(Audited { entries, seq, hash, complete, difference })
        };
        if let Some((seq, hash)) = after {
            match self.resume(account, seq, hash).await? {
                Ok(last) => audit.last = Some(last),
                Err(difference) => return found(&audit, 0, false, Some(difference)),
            }
        }
        let (_, to) = keys::seq_range();
        let mut entries = 0;
        while entries < limits.entries && started.elapsed() < limits.time {
            let left = limits.entries - entries;
            let query = Query {
                pk: keys::journal(account),
                from: keys::seq(audit.seq() + 1),
                to: to.clone(),
                descending: false,
                limit: PAGE.min(u32::try_from(left).unwrap_or(PAGE)),
            };
            let items = self.store().query(&query).await?;
            if items.is_empty() {
                let ended = audit.end(checkpoint).err();
                return found(&audit, entries, true, ended);
            }
            for item in items {
                let taken = audit.take(StoredEntry::from_item(account, &item));
                let taken = taken.and_then(|()| checkpoint.map_or(Ok(()), |c| audit.compare(c)));
                if let Err(difference) = taken {
                    return found(&audit, entries, false, Some(difference));
                }
                let last = audit.last.as_ref().expect("it was taken");
                if let Some(difference) = self.differs_beside(account, &last.entry).await? {
                    return found(&audit, entries, false, Some(difference));
                }
                each(last);
                entries += 1;
            }
        }
        found(&audit, entries, false, None)
    }

    /// The entry at which an earlier call stopped, if it is still the one that was found right:
    /// its body gives the hash that the caller kept.
    async fn resume(
        &self,
        account: &AccountId,
        seq: u64,
        hash: [u8; 32],
    ) -> Result<Result<StoredEntry, Difference>, LedgerError> {
        let changed = || {
            let what = "it is not the entry that was found right before".to_owned();
            Ok(Err(Difference { seq, what }))
        };
        let before = match seq {
            0 | 1 => None,
            _ => match self.entry(account, seq - 1).await {
                Ok(Some(before)) => Some(before.hash),
                Ok(None) | Err(LedgerError::Corrupt(_)) => return changed(),
                Err(error) => return Err(error),
            },
        };
        match self.entry(account, seq).await {
            Ok(Some(last)) if last.hash == hash && last.chains(account, before) => Ok(Ok(last)),
            Ok(_) | Err(LedgerError::Corrupt(_)) => changed(),
            Err(error) => Err(error),
        }
    }

    /// What is wrong with the items that must be there with an entry's operations.
    async fn differs_beside(
        &self,
        account: &AccountId,
        entry: &Entry,
    ) -> Result<Option<Difference>, LedgerError> {
        if let Some(difference) = self.misnamed(account, entry).await? {
            return Ok(Some(difference));
        }
        let seq = entry.state.seq();
        Ok(self.unaccounted(account, entry).await?.map(|what| Difference { seq, what }))
    }

    /// What is wrong with the items that must name an entry's operations.
    async fn misnamed(
        &self,
        account: &AccountId,
        entry: &Entry,
    ) -> Result<Option<Difference>, LedgerError> {
        let seq = entry.state.seq();
        let items = operation_items(account, entry);
        for some in items.chunks(AT_ONCE) {
            let read = some.iter().map(|(key, _)| self.store().get(key));
            let read = try_join_all(read).await?;
            for ((_, position), item) in some.iter().zip(read) {
                let named = item.map(|item| operation_id(&item)).transpose();
                let what = match named {
                    Ok(Some(id)) if id.seq == seq && id.position == *position => continue,
                    Ok(Some(id)) => format!("the item of op_{seq}_{position} names {id}"),
                    Ok(None) => format!("no item names op_{seq}_{position}"),
                    Err(error) => format!("the item of op_{seq}_{position}: {error}"),
                };
                return Ok(Some(Difference { seq, what }));
            }
        }
        Ok(None)
    }
}
