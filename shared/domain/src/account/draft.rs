//! [`Draft`], the state machine itself.

use std::collections::BTreeSet;

use super::{
    AccountState, Charge, Command, Detail, ExpiredHold, GrantId, Hold, HoldId, LATE_CAPTURE_MILLIS,
    MAX_COMMANDS, MAX_HOLDS, MAX_LINES, MAX_OPERATIONS, Operation, OperationId, Origin, Overuse,
    Posting, Rejection, ReleaseCause, Reservation, Settings, Source, Status, Target,
};
use crate::{Credits, Timestamp};

mod corrections;
mod grants;
mod holds;

/// The state after a journal entry, and the operations that led to it: first what time brought,
/// then what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The state after all operations.
    pub state: AccountState,
    /// What happened, in order.
    pub operations: Vec<Operation>,
}

/// Applies one command: [`Draft::open`], [`Draft::apply`], [`Draft::finish`].
///
/// # Errors
/// As [`Draft::apply`].
pub fn apply(
    state: &AccountState,
    origin: Origin,
    command: &Command,
    now: Timestamp,
) -> Result<Applied, Rejection> {
    let mut draft = Draft::open(state, now);
    draft.apply(origin, command)?;
    Ok(draft.finish())
}

/// The next journal entry while it is being put together.
#[derive(Debug, Clone)]
pub struct Draft {
    state: AccountState,
    operations: Vec<Operation>,
    commands: usize,
    /// Positions before the first operation here: see [`AccountState::settled`].
    unwritten: u8,
}

impl Draft {
    /// Starts the entry after `state`, and settles all that happened up to `now` in order of time.
    /// Where `now` lies before the state's own time, that one counts: time never runs backwards.
    pub fn open(state: &AccountState, now: Timestamp) -> Self {
        let mut next = state.clone();
        next.seq += 1;
        let unwritten = std::mem::take(&mut next.unwritten);
        let mut draft = Self { state: next, operations: Vec::new(), commands: 0, unwritten };
        if draft.settle(now.max(state.settled_at)) {
            draft.assert_sound(state, 0);
        }
        draft
    }

    /// The state so far, settled: what a command should be rated against.
    pub const fn state(&self) -> &AccountState {
        &self.state
    }

    /// How many positions of the entry are used up.
    pub(super) fn positions(&self) -> u8 {
        u8::try_from(usize::from(self.unwritten) + self.operations.len())
            .expect("room was made sure of before")
    }

    /// Whether there is anything to write: a draft that only looked has nothing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Applies one command and returns the operation's name.
    ///
    /// # Errors
    /// A [`Rejection`], in this order of precedence: the entry is full, invalid, a limit of the
    /// command, the account's status, what is named is not there or has ended, price group
    /// changed, insufficient credits or more than there is to give back, a limit of the balance or
    /// of how many there are. The draft is then what it was before.
    pub fn apply(&mut self, origin: Origin, command: &Command) -> Result<OperationId, Rejection> {
        // The operation itself, and a second one: the expiry of a grant whose period is over, or the
        // release of what a last capture left of its hold. And what rolls over, which may be over
        // as well.
        let rolls_over = matches!(command, Command::Grant(request) if request.rollover.is_some());
        let room = self.operations.len() + if rolls_over { 4 } else { 2 };
        if self.commands == MAX_COMMANDS || room > MAX_OPERATIONS {
            return Err(Rejection::LimitExceeded("an entry carries at most 96 operations"));
        }
        let before = self.state.clone();
        let operations = self.operations.len();
        let applied = match command {
            Command::Grant(request) => self.grant(origin, request),
            Command::Charge(charge) => self.charge(origin, charge),
            Command::Settings(settings) => self.change_settings(origin, settings),
            Command::Hold(request) => self.hold(origin, request),
            Command::ExtendHold { hold, millis } => self.extend_hold(origin, *hold, *millis),
            Command::Capture(capture) => self.capture(origin, capture),
            Command::VoidHold(hold) => self.void_hold(origin, *hold),
            Command::Refund(request) => self.refund(origin, request),
            Command::Clawback(change) => self.claw_back(origin, change),
            Command::ClawbackReversal(change) => self.reverse_clawback(origin, change),
            Command::VoidGrant(grant) => self.void_grant(origin, *grant),
            Command::WriteOff(credits) => self.write_off(origin, *credits),
        };
        match applied {
            Ok(id) => {
                // A grant for a period that is over expires in the entry that brings it.
                self.settle(self.state.settled_at);
                self.assert_sound(&before, operations);
                self.commands += 1;
                Ok(id)
            }
            Err(rejection) => {
                // What was changed before the rejection leaves no trace.
                self.state = before;
                self.operations.truncate(operations);
                Err(rejection)
            }
        }
    }

    /// The entry's state and operations.
    pub fn finish(self) -> Applied {
        Applied { state: self.state, operations: self.operations }
    }

    fn charge(&mut self, origin: Origin, charge: &Charge) -> Result<OperationId, Rejection> {
        Self::check_charge(charge)?;
        self.check_active()?;
        self.check_group(charge.price_group.as_ref())?;
        let capped = charge.max_credits.map_or(charge.credits, |max| max.min(charge.credits));
        let mut postings = Vec::new();
        self.take(capped, &mut postings)?;
        self.check_range()?;
        Ok(self.push(
            origin,
            postings,
            Detail::Charge {
                requested: charge.credits,
                items: charge.items.clone(),
                ratio_version: charge.ratio_version,
                occurred_at: charge.occurred_at,
            },
        ))
    }

    fn check_charge(charge: &Charge) -> Result<(), Rejection> {
        let items = charge.items.iter().map(|item| item.credits.micros()).sum::<i128>();
        if charge.credits.is_negative()
            || charge.max_credits.is_some_and(Credits::is_negative)
            || charge.items.iter().any(|item| item.credits.is_negative())
        {
            return Err(Rejection::Invalid("a charge is not negative"));
        }
        if !charge.items.is_empty() && items != charge.credits.micros() {
            return Err(Rejection::Invalid("a charge is the sum of its items"));
        }
        let lines = charge.items.iter().map(|item| item.lines.len()).sum::<usize>();
        if lines.max(charge.items.len()) > MAX_LINES {
            return Err(Rejection::LimitExceeded("a charge has at most 32 lines"));
        }
        Ok(())
    }

    fn check_active(&self) -> Result<(), Rejection> {
        let status = self.state.settings.status;
        if status.is_active() { Ok(()) } else { Err(Rejection::AccountStatus(status)) }
    }

    fn check_group(&self, rated_under: Option<&String>) -> Result<(), Rejection> {
        let group = &self.state.settings.price_group;
        if rated_under.is_some_and(|rated_under| rated_under != group) {
            return Err(Rejection::PriceGroupChanged(group.clone()));
        }
        Ok(())
    }

    /// Takes credits for usage: what is there and nobody reserves, and beyond that as the account
    /// treats overuse.
    fn take(&mut self, amount: Credits, postings: &mut Vec<Posting>) -> Result<(), Rejection> {
        let (overuse, credit_line) = (self.state.settings.overuse, self.state.settings.credit_line);
        let available = self.state.balance().available;
        let spendable = available.micros() + credit_line.micros();
        if overuse == Overuse::Refuse && amount.is_positive() && amount.micros() > spendable {
            return Err(Rejection::InsufficientCredits {
                available,
                required: amount,
                shortfall: clamped(amount.micros() - spendable),
            });
        }
        let rest = self.burn(amount, postings);
        if overuse == Overuse::Forgive { Ok(()) } else { self.owe(rest, postings) }
    }

    /// Overuse becomes debt.
    fn owe(&mut self, amount: Credits, postings: &mut Vec<Posting>) -> Result<(), Rejection> {
        self.state.debt = self.state.debt.checked_add(amount).ok_or(OVER_RANGE)?;
        post(postings, Target::Debt, -amount);
        Ok(())
    }

    fn change_settings(
        &mut self,
        origin: Origin,
        settings: &Settings,
    ) -> Result<OperationId, Rejection> {
        if settings.credit_line.is_negative() {
            return Err(Rejection::Invalid("a credit line is not negative"));
        }
        self.state.settings = settings.clone();
        Ok(self.push(origin, Vec::new(), Detail::Settings(settings.clone())))
    }

    /// Brings the state to `now`, one event after the other in order of time; at one instant holds
    /// expire first, then grants, then grants become effective; then by id.
    ///
    /// The events of grants and holds that are there are known beforehand. They have to be: at one
    /// instant several grants become effective, and once the state's time is that instant, those
    /// that were not settled yet could not be told from those that were. Only what rolls over is a
    /// grant more, which ends later.
    ///
    /// Returns whether there were any: what is due is all that time changes.
    fn settle(&mut self, now: Timestamp) -> bool {
        let mut events = self.events(now);
        let settled = !events.is_empty();
        while let Some((at, event)) = events.pop_first() {
            match event {
                Event::HoldExpiry(id) => self.expire_hold(id, at),
                Event::GrantExpiry(id) => {
                    let rolled = self.expire_grant(id, at);
                    events.extend(rolled.filter(|(end, _)| *end <= now));
                }
                Event::Activation(id) => self.activate(id, at),
            }
        }
        self.state.settled_at = now;
        let oldest = now.saturating_add_millis(-LATE_CAPTURE_MILLIS);
        self.state.expired_holds.retain(|hold| hold.expired_at > oldest);
        settled
    }

    /// What time has brought up to `now` and is not settled.
    fn events(&self, now: Timestamp) -> BTreeSet<(Timestamp, Event)> {
        let holds = self.state.holds.iter();
        let holds = holds.map(|hold| (hold.expires_at, Event::HoldExpiry(hold.id)));
        let ends = self.state.grants.iter();
        let ends = ends.filter_map(|grant| Some((grant.expires_at?, Event::GrantExpiry(grant.id))));
        let pending = self.state.grants.iter().filter(|grant| self.state.is_pending(grant));
        let starts = pending.map(|grant| (grant.effective_at, Event::Activation(grant.id)));
        holds.chain(ends).chain(starts).filter(|(at, _)| *at <= now).collect()
    }

    /// A hold's time is over at `at`.
    fn expire_hold(&mut self, id: HoldId, at: Timestamp) {
        let index = self.state.holds.iter().position(|hold| hold.id == id);
        let hold = self.state.holds.remove(index.expect("only its expiry ends it while settling"));
        let expired = ExpiredHold { id, expired_at: at, ratio_version: hold.ratio_version };
        self.state.expired_holds.push(expired);
        if self.state.expired_holds.len() > MAX_HOLDS {
            // The oldest: its usage can still be charged, if no longer captured.
            self.state.expired_holds.remove(0);
        }
        self.release(Origin::System, &hold, at, ReleaseCause::Expired);
    }

    /// Gives back what a hold, which has left the state, still reserves: an operation.
    fn release(
        &mut self,
        origin: Origin,
        hold: &Hold,
        at: Timestamp,
        cause: ReleaseCause,
    ) -> OperationId {
        let mut postings = Vec::new();
        for part in &hold.reserved {
            let grant = self.reserved_grant(part);
            grant.reserved = difference(grant.reserved, part.credits);
            if grant.has_ended(at) {
                grant.remaining = difference(grant.remaining, part.credits);
                post(&mut postings, Target::Grant(part.grant), -part.credits);
            } else {
                let paid = part.credits.min(self.state.debt);
                let grant = self.reserved_grant(part);
                grant.remaining = difference(grant.remaining, paid);
                self.state.debt = difference(self.state.debt, paid);
                post(&mut postings, Target::Grant(part.grant), -paid);
                post(&mut postings, Target::Debt, paid);
            }
        }
        self.state.grants.retain(super::Grant::is_kept);
        let detail = Detail::Release { hold: hold.id, released: hold.credits(), cause };
        self.push_at(origin, at, postings, detail)
    }

    fn reserved_grant(&mut self, part: &Reservation) -> &mut super::Grant {
        let of = |grant: &&mut super::Grant| grant.id == part.grant;
        self.state.grants.iter_mut().find(of).expect("a hold reserves from grants that are there")
    }

    /// A grant's end has come at `at`. Returns the end of what rolled over; nothing does in a closed
    /// account.
    ///
    /// The end of a grant that came when it was over takes effect as it comes: no operation is of a
    /// time before that of the entry below it, or what happened until some day could not be found
    /// without reading all that was written since.
    fn expire_grant(&mut self, id: GrantId, at: Timestamp) -> Option<(Timestamp, Event)> {
        let takes_effect = at.max(self.state.settled_at);
        // Debt may have taken all of a grant as it became effective: nothing is left to expire.
        let index = self.state.grants.iter().position(|grant| grant.id == id)?;
        let grant = &mut self.state.grants[index];
        let left = grant.unreserved();
        let rollover = grant.rollover.take();
        // What holds reserve lives on until they end.
        grant.remaining = grant.reserved;
        grant.merged = false;
        self.state.grants.retain(super::Grant::is_kept);
        if left.is_positive() {
            let posting = Posting { target: Target::Grant(id), credits: -left };
            let detail = Detail::Expiry { grant: id };
            self.push_at(Origin::System, takes_effect, vec![posting], detail);
        }
        let rollover = rollover.filter(|_| self.state.settings.status != Status::Closed)?;
        let amount = rollover.rolled(left, at);
        if amount.is_zero() {
            return None;
        }
        let mut postings = Vec::new();
        let grant = GrantId(self.next_id());
        let rest = self.pay_debt(amount, &mut postings);
        self.place_rolled_over(grant, at, rollover.expires_at, rest, &mut postings);
        let source = Source::Rollover;
        let detail = Detail::Grant {
            grant,
            source,
            priority: source.default_priority(),
            amount,
            effective_at: at,
            expires_at: Some(rollover.expires_at),
            paid: None,
            rollover: None,
        };
        self.push_at(Origin::System, takes_effect, postings, detail);
        Some((rollover.expires_at, Event::GrantExpiry(grant)))
    }

    /// A grant becomes effective at `at`: debt is paid from it first.
    fn activate(&mut self, id: GrantId, at: Timestamp) {
        let Some(index) = self.state.grants.iter().position(|grant| grant.id == id) else { return };
        let mut postings = Vec::new();
        let left = self.pay_debt(self.state.grants[index].remaining, &mut postings);
        self.state.grants[index].remaining = left;
        post(&mut postings, Target::Grant(id), left);
        self.state.grants.retain(super::Grant::is_kept);
        self.push_at(Origin::System, at, postings, Detail::Activation { grant: id });
    }

    /// Debt first: what becomes spendable pays back overuse before anything else. Returns the
    /// rest.
    fn pay_debt(&mut self, amount: Credits, postings: &mut Vec<Posting>) -> Credits {
        let paid = self.state.debt.min(amount);
        self.state.debt = difference(self.state.debt, paid);
        post(postings, Target::Debt, paid);
        difference(amount, paid)
    }

    /// Spends what live grants have and no hold reserves, in burn order, and returns what they did
    /// not cover.
    fn burn(&mut self, amount: Credits, postings: &mut Vec<Posting>) -> Credits {
        let settled_at = self.state.settled_at;
        let mut left = amount;
        for grant in &mut self.state.grants {
            if left.is_zero() {
                break;
            }
            if grant.effective_at > settled_at {
                continue;
            }
            let taken = grant.unreserved().min(left);
            grant.remaining = difference(grant.remaining, taken);
            left = difference(left, taken);
            post(postings, Target::Grant(grant.id), -taken);
        }
        self.state.grants.retain(super::Grant::is_kept);
        left
    }

    fn next_id(&self) -> OperationId {
        OperationId { seq: self.state.seq, position: self.positions() }
    }

    /// Adds an operation of now.
    fn push(&mut self, origin: Origin, postings: Vec<Posting>, detail: Detail) -> OperationId {
        self.push_at(origin, self.state.settled_at, postings, detail)
    }

    fn push_at(
        &mut self,
        origin: Origin,
        at: Timestamp,
        postings: Vec<Posting>,
        detail: Detail,
    ) -> OperationId {
        let id = self.next_id();
        self.operations.push(Operation { id, origin, at, postings, detail });
        id
    }

    /// Balances stay within 10^15 credits: pending grants and what may roll over counted in, so
    /// that their time can't bring a failure, and what holds reserve of the credit line.
    fn check_range(&self) -> Result<(), Rejection> {
        let state = &self.state;
        let all = state.grants.iter().map(super::Grant::potential).sum::<i128>();
        let unfunded = state.holds.iter().map(|hold| hold.unfunded.micros()).sum::<i128>();
        let in_range = |micros: i128| Credits::from_micros(micros).map(|_| ()).ok_or(OVER_RANGE);
        in_range(all)?;
        in_range(state.holds.iter().map(Hold::micros).sum::<i128>())?;
        in_range(state.debt.micros() + unfunded)
    }

    /// I1: the postings of what was added account for the change of the posted balance. And all
    /// that a state must be.
    fn assert_sound(&self, before: &AccountState, operations: usize) {
        assert_eq!(self.state.check(), Ok(()), "after the operations");
        let added =
            self.operations[operations..].iter().map(|o| o.credits().micros()).sum::<i128>();
        let change = self.state.balance().posted.micros() - before.balance().posted.micros();
        assert_eq!(change, added, "postings account for the balance");
    }
}

/// What time brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    HoldExpiry(HoldId),
    GrantExpiry(GrantId),
    Activation(GrantId),
}

/// Adds to what an operation changes: a target that it changes already is named once.
fn post(postings: &mut Vec<Posting>, target: Target, credits: Credits) {
    if credits.is_zero() {
        return;
    }
    let Some(index) = postings.iter().position(|posting| posting.target == target) else {
        postings.push(Posting { target, credits });
        return;
    };
    let sum = postings[index].credits.checked_add(credits).expect("parts of a balance in range");
    postings[index].credits = sum;
    if sum.is_zero() {
        postings.remove(index);
    }
}

/// Credits of so many millionths, or the most there can be.
fn clamped(micros: i128) -> Credits {
    Credits::from_micros(micros).unwrap_or(Credits::MAX)
}

const OVER_RANGE: Rejection = Rejection::LimitExceeded("a balance is at most 10^15 credits");

/// When a grant ends, in milliseconds; one without an end after all others.
fn end_millis(expires_at: Option<Timestamp>) -> i64 {
    expires_at.map_or(i64::MAX, Timestamp::millis)
}

/// `larger - smaller`, where the caller has made sure of the order.
fn difference(larger: Credits, smaller: Credits) -> Credits {
    larger.checked_sub(smaller).filter(|rest| !rest.is_negative()).expect("smaller <= larger")
}
