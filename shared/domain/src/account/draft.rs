//! [`Draft`], the state machine itself.

use super::{
    AccountState, Charge, Command, Detail, Grant, GrantId, GrantRequest, MAX_COMMANDS, MAX_GRANTS,
    MAX_LINES, MAX_OPERATIONS, MAX_OTHER_GRANTS, Operation, OperationId, Origin, Overuse, Posting,
    Rejection, Settings, Target,
};
use crate::{Credits, Timestamp};

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
}

impl Draft {
    /// Starts the entry after `state`, and settles all that happened up to `now` in order of time.
    /// Where `now` lies before the state's own time, that one counts: time never runs backwards.
    pub fn open(state: &AccountState, now: Timestamp) -> Self {
        let mut state = state.clone();
        state.seq += 1;
        let mut draft = Self { state, operations: Vec::new(), commands: 0 };
        let before = draft.state.clone();
        draft.settle(now.max(before.settled_at));
        draft.assert_posted(&before, 0);
        draft
    }

    /// The state so far, settled: what a command should be rated against.
    pub const fn state(&self) -> &AccountState {
        &self.state
    }

    /// Whether there is anything to write: a draft that only looked has nothing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Applies one command and returns the operation's name.
    ///
    /// # Errors
    /// A [`Rejection`], in this order of precedence: the entry is full, invalid, a limit of the
    /// command, price group changed, insufficient credits, a limit of the balance. The draft is
    /// then what it was before.
    pub fn apply(&mut self, origin: Origin, command: &Command) -> Result<OperationId, Rejection> {
        // The operation itself, and the expiry of a grant whose period is over.
        if self.commands == MAX_COMMANDS || self.operations.len() + 2 > MAX_OPERATIONS {
            return Err(Rejection::LimitExceeded("an entry carries at most 96 operations"));
        }
        let before = self.state.clone();
        let operations = self.operations.len();
        let applied = match command {
            Command::Grant(request) => self.grant(origin, request),
            Command::Charge(charge) => self.charge(origin, charge),
            Command::Settings(settings) => self.change_settings(origin, settings),
        };
        match applied {
            Ok(id) => {
                // A grant for a period that is over expires in the entry that brings it.
                self.settle(self.state.settled_at);
                self.assert_posted(&before, operations);
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

    fn grant(&mut self, origin: Origin, request: &GrantRequest) -> Result<OperationId, Rejection> {
        let now = self.state.settled_at;
        let effective_at = request.effective_at.unwrap_or(now);
        if !request.amount.is_positive() {
            return Err(Rejection::Invalid("a grant is above zero"));
        }
        if request.expires_at.is_some_and(|expires_at| expires_at <= effective_at) {
            return Err(Rejection::Invalid("a grant expires after it becomes effective"));
        }
        let id = self.next_id();
        let mut grant = Grant {
            id: GrantId(id),
            source: request.source,
            priority: request.priority.unwrap_or(request.source.default_priority()),
            effective_at,
            expires_at: request.expires_at,
            remaining: request.amount,
        };
        let mut postings = Vec::new();
        if effective_at <= now {
            grant.remaining = self.pay_debt(request.amount, &mut postings);
        }
        let mut holder = grant.id;
        if grant.remaining.is_positive() {
            holder = self.insert(grant, &mut postings)?;
        }
        self.check_range()?;
        self.operations.push(Operation {
            id,
            origin,
            at: now,
            postings,
            detail: Detail::Grant {
                grant: holder,
                source: grant.source,
                priority: grant.priority,
                amount: request.amount,
                effective_at,
                expires_at: grant.expires_at,
                paid: request.paid.clone(),
            },
        });
        Ok(id)
    }

    fn charge(&mut self, origin: Origin, charge: &Charge) -> Result<OperationId, Rejection> {
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
            return Err(Rejection::LimitExceeded("a charge has at most 32 items and 32 lines"));
        }
        let settings = &self.state.settings;
        if charge.price_group.as_ref().is_some_and(|group| *group != settings.price_group) {
            return Err(Rejection::PriceGroupChanged(settings.price_group.clone()));
        }

        let capped = charge.max_credits.map_or(charge.credits, |max| max.min(charge.credits));
        let mut postings = Vec::new();
        let (overuse, credit_line) = (settings.overuse, settings.credit_line);
        let available = self.state.balance().available;
        let rest = self.burn(capped, &mut postings);
        if rest.is_positive() && overuse != Overuse::Forgive {
            let debt = self.state.debt.checked_add(rest);
            if overuse == Overuse::Refuse && debt.is_none_or(|debt| debt > credit_line) {
                let missing = self.state.debt.micros() + rest.micros() - credit_line.micros();
                return Err(Rejection::InsufficientCredits {
                    available,
                    required: capped,
                    shortfall: Credits::from_micros(missing).unwrap_or(Credits::MAX),
                });
            }
            self.state.debt = debt.ok_or(OVER_RANGE)?;
            postings.push(Posting { target: Target::Debt, credits: -rest });
        }
        self.check_range()?;
        let id = self.next_id();
        self.operations.push(Operation {
            id,
            origin,
            at: self.state.settled_at,
            postings,
            detail: Detail::Charge {
                requested: charge.credits,
                items: charge.items.clone(),
                ratio_version: charge.ratio_version,
                occurred_at: charge.occurred_at,
            },
        });
        Ok(id)
    }

    fn change_settings(
        &mut self,
        origin: Origin,
        settings: &Settings,
    ) -> Result<OperationId, Rejection> {
        if settings.credit_line.is_negative() {
            return Err(Rejection::Invalid("a credit line is not negative"));
        }
        let id = self.next_id();
        self.state.settings = settings.clone();
        self.operations.push(Operation {
            id,
            origin,
            at: self.state.settled_at,
            postings: Vec::new(),
            detail: Detail::Settings(settings.clone()),
        });
        Ok(id)
    }

    /// Brings the state to `now`: one expiry or activation after the other, in order of time; at
    /// one instant expiries first, then by id.
    fn settle(&mut self, now: Timestamp) {
        for (at, is_activation, id) in self.events(now) {
            // Debt may have taken all of a grant as it became effective: nothing is left to expire.
            let Some(index) = self.state.grants.iter().position(|grant| grant.id == id) else {
                continue;
            };
            let remaining = self.state.grants[index].remaining;
            let mut postings = Vec::new();
            let detail = if is_activation {
                let left = self.pay_debt(remaining, &mut postings);
                if left.is_positive() {
                    self.state.grants[index].remaining = left;
                    postings.push(Posting { target: Target::Grant(id), credits: left });
                } else {
                    self.state.grants.remove(index);
                }
                Detail::Activation { grant: id }
            } else {
                self.state.grants.remove(index);
                postings.push(Posting { target: Target::Grant(id), credits: -remaining });
                Detail::Expiry { grant: id }
            };
            let operation = self.next_id();
            let origin = Origin::System;
            self.operations.push(Operation { id: operation, origin, at, postings, detail });
        }
        self.state.settled_at = now;
        assert_eq!(self.state.check(), Ok(()), "after settling");
    }

    /// What time has brought up to `now` and is not settled, in the order in which it happened.
    ///
    /// All of it is known beforehand, as settling one brings about no other. It has to be: at one
    /// instant several grants become effective, and once the state's time is that instant, those
    /// that were not settled yet could not be told from those that were.
    fn events(&self, now: Timestamp) -> Vec<(Timestamp, bool, GrantId)> {
        let mut events = Vec::new();
        for grant in &self.state.grants {
            if self.state.is_pending(grant) {
                events.push((grant.effective_at, true, grant.id));
            }
            events.extend(grant.expires_at.map(|expires_at| (expires_at, false, grant.id)));
        }
        events.retain(|(at, ..)| *at <= now);
        events.sort_unstable();
        events
    }

    /// Debt first: what becomes spendable pays back overuse before anything else. Returns the
    /// rest.
    fn pay_debt(&mut self, amount: Credits, postings: &mut Vec<Posting>) -> Credits {
        let paid = self.state.debt.min(amount);
        if paid.is_positive() {
            self.state.debt = difference(self.state.debt, paid);
            postings.push(Posting { target: Target::Debt, credits: paid });
        }
        difference(amount, paid)
    }

    /// Spends live grants in burn order, and returns what they did not cover.
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
            let taken = grant.remaining.min(left);
            grant.remaining = difference(grant.remaining, taken);
            left = difference(left, taken);
            postings.push(Posting { target: Target::Grant(grant.id), credits: -taken });
        }
        self.state.grants.retain(|grant| grant.remaining.is_positive());
        left
    }

    /// Adds a grant in its place in burn order and returns where its credits are: in itself, or,
    /// where there are too many, in the one it was merged into.
    fn insert(&mut self, grant: Grant, postings: &mut Vec<Posting>) -> Result<GrantId, Rejection> {
        if grant.expires_at.is_some_and(|expires_at| expires_at <= self.state.settled_at) {
            // Its period is over. It is settled next, so it needs no place, and must not live on
            // in another grant.
            self.state.grants.push(grant);
            postings.push(Posting { target: Target::Grant(grant.id), credits: grant.remaining });
            return Ok(grant.id);
        }
        let others = self.state.grants.iter().filter(|g| !g.source.merges()).count();
        if !grant.source.merges()
            && (others == MAX_OTHER_GRANTS || self.state.grants.len() == MAX_GRANTS)
        {
            return Err(Rejection::LimitExceeded(
                "an account holds at most 64 grants, 60 of them neither paid nor refunds",
            ));
        }
        self.state.grants.push(grant);
        if !self.state.is_pending(&grant) {
            postings.push(Posting { target: Target::Grant(grant.id), credits: grant.remaining });
        }
        let mut holder = grant.id;
        if self.state.grants.len() > MAX_GRANTS {
            let (kept, gone) = self.merge(postings)?;
            if gone == grant.id {
                holder = kept;
            }
        }
        self.state.grants.sort_by(Grant::burn_order);
        Ok(holder)
    }

    /// Makes one grant of the two mergeable ones that are most alike. Returns the one kept and the
    /// one gone.
    ///
    /// There is always such a pair: at most 60 grants are not mergeable, so of 65 at least 5 are,
    /// and those are of 4 classes (paid or refund, live or pending).
    fn merge(&mut self, postings: &mut Vec<Posting>) -> Result<(GrantId, GrantId), Rejection> {
        let class = |grant: &Grant| (grant.source, self.state.is_pending(grant));
        let mergeable: Vec<Grant> =
            self.state.grants.iter().filter(|g| g.source.merges()).copied().collect();
        let (older, newer) = mergeable
            .iter()
            .enumerate()
            .flat_map(|(index, a)| mergeable[index + 1..].iter().map(move |b| (a, b)))
            .filter(|(a, b)| class(a) == class(b))
            .map(|(a, b)| if a.id < b.id { (*a, *b) } else { (*b, *a) })
            .min_by_key(|(a, b)| {
                let expiry = |g: &Grant| g.expires_at.map_or(i64::MAX, Timestamp::millis);
                let apart = expiry(a).abs_diff(expiry(b));
                // Equal terms first; ids make the choice deterministic.
                (apart, a.priority.abs_diff(b.priority), a.id, b.id)
            })
            .expect("five mergeable grants of four classes");
        let pending = self.state.is_pending(&older);
        self.state.grants.retain(|grant| grant.id != newer.id);
        let kept = self
            .state
            .grants
            .iter_mut()
            .find(|grant| grant.id == older.id)
            .expect("it was found above");
        kept.remaining = kept.remaining.checked_add(newer.remaining).ok_or(OVER_RANGE)?;
        // The terms that are better for the customer: the later expiry, the earlier start.
        kept.expires_at = older.expires_at.zip(newer.expires_at).map(|(a, b)| a.max(b));
        kept.effective_at = older.effective_at.min(newer.effective_at);
        kept.priority = older.priority.max(newer.priority);
        if !pending {
            postings.push(Posting { target: Target::Grant(newer.id), credits: -newer.remaining });
            postings.push(Posting { target: Target::Grant(older.id), credits: newer.remaining });
        }
        Ok((older.id, newer.id))
    }

    fn next_id(&self) -> OperationId {
        let position = u8::try_from(self.operations.len()).expect("room was made sure of before");
        OperationId { seq: self.state.seq, position }
    }

    /// Balances stay within 10^15 credits, pending grants counted in, so that their activation
    /// can't fail.
    fn check_range(&self) -> Result<(), Rejection> {
        let all = self.state.grants.iter().map(|grant| grant.remaining.micros()).sum::<i128>();
        let in_range = |micros: i128| Credits::from_micros(micros).map(|_| ()).ok_or(OVER_RANGE);
        in_range(all)?;
        in_range(-self.state.debt.micros())
    }

    /// I1: the postings of what was added account for the change of the posted balance.
    fn assert_posted(&self, before: &AccountState, operations: usize) {
        let added =
            self.operations[operations..].iter().map(|o| o.credits().micros()).sum::<i128>();
        let change = self.state.balance().posted.micros() - before.balance().posted.micros();
        assert_eq!(change, added, "postings account for the balance");
    }
}

const OVER_RANGE: Rejection = Rejection::LimitExceeded("a balance is at most 10^15 credits");

/// `larger - smaller`, where the caller has made sure of the order.
fn difference(larger: Credits, smaller: Credits) -> Credits {
    larger.checked_sub(smaller).filter(|rest| !rest.is_negative()).expect("smaller <= larger")
}
