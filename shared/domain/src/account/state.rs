//! [`AccountState`] and what is read from it.

use minicbor::{Decode, Encode};

use super::{Draft, Grant, Settings};
use crate::{Credits, Timestamp};

/// An account after a journal entry: all that is needed to apply the next one.
///
/// Fields are added, never renumbered or reused: an older body decodes in a newer program.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AccountState {
    /// The journal entry that led here; 0 before the first.
    #[n(0)]
    pub(super) seq: u64,
    /// The time up to which everything is settled.
    #[n(1)]
    pub(super) settled_at: Timestamp,
    /// Live and pending grants in burn order, each with something left.
    #[n(2)]
    pub(super) grants: Vec<Grant>,
    /// Overuse not yet paid back, never negative.
    #[n(3)]
    pub(super) debt: Credits,
    /// The settings in force.
    #[n(4)]
    pub(super) settings: Settings,
}

/// An account's balance at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Balance {
    /// Remaining of live grants minus debt; may be negative.
    pub posted: Credits,
    /// Posted minus what open holds reserve.
    pub available: Credits,
    /// What open holds reserve.
    pub held: Credits,
    /// Overuse not yet paid back.
    pub debt: Credits,
}

/// Whether new work should start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// It may.
    Yes,
    /// There is nothing left to spend.
    InsufficientCredits,
    /// Overuse has to be paid back first.
    Debt,
}

impl Allowed {
    /// The reason as in JSON, where new work should not start.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Yes => None,
            Self::InsufficientCredits => Some("insufficient_credits"),
            Self::Debt => Some("debt"),
        }
    }
}

impl AccountState {
    /// An account that has no journal yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            seq: 0,
            settled_at: Timestamp::MIN,
            grants: Vec::new(),
            debt: Credits::ZERO,
            settings,
        }
    }

    /// The journal entry that led here; 0 before the first.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The time up to which everything is settled.
    pub const fn settled_at(&self) -> Timestamp {
        self.settled_at
    }

    /// The settings in force.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Overuse not yet paid back.
    pub const fn debt(&self) -> Credits {
        self.debt
    }

    /// Live and pending grants in burn order.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Whether a grant is not effective yet.
    pub fn is_pending(&self, grant: &Grant) -> bool {
        grant.effective_at > self.settled_at
    }

    /// What a reader sees at `now`: everything that time brought about is settled, in memory only.
    #[must_use]
    pub fn settled(&self, now: Timestamp) -> Self {
        let mut state = Draft::open(self, now).finish().state;
        // Reading is no entry.
        state.seq = self.seq;
        state
    }

    /// The balance as of [`Self::settled_at`].
    pub fn balance(&self) -> Balance {
        let posted = self.posted();
        Balance { posted, available: posted, held: Credits::ZERO, debt: self.debt }
    }

    /// Whether new work should start: while there is something to spend, the credit line counted
    /// in.
    pub fn allowed(&self) -> Allowed {
        let spendable = self.balance().available.micros() + self.settings.credit_line.micros();
        if spendable > 0 {
            Allowed::Yes
        } else if self.debt.is_positive() {
            Allowed::Debt
        } else {
            Allowed::InsufficientCredits
        }
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(|grant| !self.is_pending(grant))
    }

    /// I2 and I4 of the design, and all that the state machine relies on, so that no decoded state
    /// makes it fail. What breaks one is a fault of this crate, or stored bytes that were tampered
    /// with.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let grants = &self.grants;
        let holds = |condition: bool, what| if condition { Ok(()) } else { Err(what) };
        holds(!self.debt.is_negative(), "debt below zero")?;
        holds(!self.settings.credit_line.is_negative(), "credit line below zero")?;
        holds(grants.len() <= super::MAX_GRANTS, "too many grants")?;
        let others = grants.iter().filter(|g| !g.source.merges()).count();
        holds(others <= super::MAX_OTHER_GRANTS, "too many grants that don't merge")?;
        holds(grants.iter().all(|g| g.remaining.is_positive()), "an empty grant is kept")?;
        holds(grants.is_sorted_by(|a, b| a.burn_order(b).is_lt()), "grants out of burn order")?;
        let known = |(index, grant): (usize, &Grant)| {
            grant.id.0.seq <= self.seq && grants[..index].iter().all(|g| g.id != grant.id)
        };
        holds(grants.iter().enumerate().all(known), "a grant's id is not its own")?;
        // An empty period would expire before it becomes effective.
        let ends =
            |g: &Grant| g.expires_at.is_none_or(|end| end > g.effective_at.max(self.settled_at));
        holds(grants.iter().all(ends), "a grant's period is over")?;
        // Pending grants counted in: their activation can't fail.
        let all = grants.iter().map(|grant| grant.remaining.micros()).sum::<i128>();
        holds(Credits::from_micros(all).is_some(), "grants over 10^15")?;
        holds(
            self.debt.is_zero() || self.live().next().is_none(),
            "debt while there is something to spend",
        )
    }

    fn posted(&self) -> Credits {
        let live = self.live().map(|grant| grant.remaining.micros()).sum::<i128>();
        Credits::from_micros(live - self.debt.micros())
            .expect("checked after every change and every decoding")
    }
}
