//! [`AccountState`] and what is read from it.

use minicbor::{Decode, Encode};

use super::{Draft, ExpiredHold, Grant, GrantId, Hold, HoldId, Settings, Status, VoidedGrant};
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
    /// Open holds, by id.
    #[n(5)]
    #[cbor(default, skip_if = "Vec::is_empty", decode_with = "crate::journal::or_default")]
    pub(super) holds: Vec<Hold>,
    /// Holds that expired and may still be captured, in the order in which they expired.
    #[n(6)]
    #[cbor(default, skip_if = "Vec::is_empty", decode_with = "crate::journal::or_default")]
    pub(super) expired_holds: Vec<ExpiredHold>,
    /// Grants of bought credits that were voided, in that order.
    #[n(7)]
    #[cbor(default, skip_if = "Vec::is_empty", decode_with = "crate::journal::or_default")]
    pub(super) voided: Vec<VoidedGrant>,
    /// The newest journal entry with a void of a grant; 0 before the first.
    #[n(8)]
    #[cbor(default, skip_if = "is_none_yet", decode_with = "crate::journal::or_default")]
    pub(super) last_void: u64,
    /// Operations of the next entry that were settled in memory only, so that a grant which rolled
    /// over there gets no name twice. Nothing that is stored has any.
    #[cbor(skip)]
    pub(super) unwritten: u8,
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
    /// The account is suspended.
    Suspended,
    /// The account is closed.
    Closed,
}

impl Allowed {
    /// The reason as in JSON, where new work should not start.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Yes => None,
            Self::InsufficientCredits => Some("insufficient_credits"),
            Self::Debt => Some("debt"),
            Self::Suspended => Some("suspended"),
            Self::Closed => Some("closed"),
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
            holds: Vec::new(),
            expired_holds: Vec::new(),
            voided: Vec::new(),
            last_void: 0,
            unwritten: 0,
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

    /// Open holds, in the order in which they were opened.
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// An open hold.
    pub fn hold(&self, id: HoldId) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.id == id)
    }

    /// Holds that expired and may still be captured, in the order in which they expired.
    pub fn expired_holds(&self) -> &[ExpiredHold] {
        &self.expired_holds
    }

    /// Grants of bought credits that were voided, and what of that no clawback has counted.
    pub fn voided(&self) -> &[VoidedGrant] {
        &self.voided
    }

    /// The newest journal entry with a void of a grant; 0 before the first. What was asked about
    /// voids later than that still holds.
    pub const fn last_void(&self) -> u64 {
        self.last_void
    }

    /// Whether a hold may be captured: it is open, or it expired not long ago.
    pub fn may_capture(&self, id: HoldId) -> bool {
        self.hold(id).is_some() || self.expired_holds.iter().any(|hold| hold.id == id)
    }

    /// A grant that is live, pending, or lives on for holds.
    pub fn grant(&self, id: GrantId) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.id == id)
    }

    /// Whether a grant's end has come, and it is there for the holds that reserve from it only.
    pub fn is_lingering(&self, grant: &Grant) -> bool {
        grant.has_ended(self.settled_at)
    }

    /// Whether a grant is not effective yet.
    pub fn is_pending(&self, grant: &Grant) -> bool {
        grant.effective_at > self.settled_at
    }

    /// What a reader sees at `now`: everything that time brought about is settled, in memory only.
    #[must_use]
    pub fn settled(&self, now: Timestamp) -> Self {
        let draft = Draft::open(self, now);
        let unwritten = draft.positions();
        let mut state = draft.finish().state;
        // Reading is no entry.
        state.seq = self.seq;
        state.unwritten = unwritten;
        state
    }

    /// The balance as of [`Self::settled_at`].
    pub fn balance(&self) -> Balance {
        let posted = self.posted();
        let held = self.holds.iter().map(Hold::micros).sum::<i128>();
        let in_range = |micros| {
            Credits::from_micros(micros).expect("checked after every change and every decoding")
        };
        let available = in_range(posted.micros() - held);
        Balance { posted, available, held: in_range(held), debt: self.debt }
    }

    /// Whether new work should start: while there is something to spend, the credit line counted
    /// in.
    pub fn allowed(&self) -> Allowed {
        match self.settings.status {
            Status::Active => {}
            Status::Suspended => return Allowed::Suspended,
            Status::Closed => return Allowed::Closed,
        }
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

    /// The invariants I2, I3 and I4 of ARCHITECTURE.md, and all that the state machine relies on, so that no decoded
    /// state makes it fail. What breaks one is a fault of this crate, or stored bytes that were
    /// tampered with.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let grants = &self.grants;
        let holds = |condition: bool, what| if condition { Ok(()) } else { Err(what) };
        holds(!self.debt.is_negative(), "debt below zero")?;
        holds(!self.settings.credit_line.is_negative(), "credit line below zero")?;
        let (lingering, places): (Vec<&Grant>, Vec<&Grant>) =
            grants.iter().partition(|grant| self.is_lingering(grant));
        holds(places.len() <= super::MAX_GRANTS, "too many grants")?;
        let others = places.iter().filter(|grant| !grant.source.merges()).count();
        holds(others <= super::MAX_OTHER_GRANTS, "too many grants that don't merge")?;
        holds(lingering.len() <= super::MAX_LINGERING, "too many grants that have ended")?;
        let unfit = |grant: &Grant| {
            grant.remaining.is_negative() || !grant.is_kept() || grant.reserved.is_negative()
        };
        holds(!grants.iter().any(unfit), "an empty grant is kept")?;
        holds(grants.is_sorted_by(|a, b| a.burn_order(b).is_lt()), "grants out of burn order")?;
        let known = |(index, grant): (usize, &Grant)| {
            grant.id.0.seq <= self.seq && grants[..index].iter().all(|g| g.id != grant.id)
        };
        holds(grants.iter().enumerate().all(known), "a grant's id is not its own")?;
        // An empty period would expire before it becomes effective.
        let ends = |g: &&Grant| g.expires_at.is_none_or(|end| end > g.effective_at);
        holds(places.iter().all(ends), "a grant's period is empty")?;
        let for_holds = |g: &&Grant| g.remaining == g.reserved && g.rollover.is_none();
        holds(lingering.iter().all(for_holds), "a grant's period is over")?;
        let rollover = |grant: &Grant| {
            grant.rollover.is_none_or(|rollover| {
                grant.expires_at.is_some()
                    && grant.source.may_roll_over()
                    && !rollover.min.is_negative()
                    && rollover.min <= rollover.max
            })
        };
        holds(grants.iter().all(rollover), "a rollover out of range")?;
        let rollovers = grants.iter().filter(|grant| grant.rollover.is_some()).count();
        holds(rollovers <= super::MAX_ROLLOVERS, "too many rollovers")?;
        self.check_holds()?;
        holds(self.voided.len() <= super::MAX_VOIDED, "too many voided grants")?;
        holds(self.last_void <= self.seq, "a void in an entry to come")?;
        let forfeits = |voided: &VoidedGrant| !voided.forfeited.is_negative();
        holds(self.voided.iter().all(forfeits), "a voided grant below zero")?;
        // Pending grants and rollovers counted in: they can't fail when their time comes.
        let all = grants.iter().map(Grant::potential).sum::<i128>();
        holds(Credits::from_micros(all).is_some(), "grants over 10^15")?;
        let unfunded = self.holds.iter().map(|hold| hold.unfunded.micros()).sum::<i128>();
        let owed = Credits::from_micros(self.debt.micros() + unfunded);
        holds(owed.is_some(), "debt and holds over 10^15")?;
        let held = self.holds.iter().map(Hold::micros).sum::<i128>();
        holds(Credits::from_micros(held).is_some(), "holds over 10^15")?;
        holds(
            self.debt.is_zero() || self.live().all(|grant| grant.unreserved().is_zero()),
            "debt while there is something to spend",
        )
    }

    /// I3: what grants say is reserved of them is what open holds reserve, and there.
    fn check_holds(&self) -> Result<(), &'static str> {
        let holds = |condition: bool, what| if condition { Ok(()) } else { Err(what) };
        holds(self.holds.len() <= super::MAX_HOLDS, "too many holds")?;
        holds(self.holds.is_sorted_by(|a, b| a.id < b.id), "holds out of order")?;
        holds(self.expired_holds.len() <= super::MAX_HOLDS, "too many expired holds")?;
        let late =
            |hold: &ExpiredHold| hold.expired_at <= self.settled_at && hold.id.0.seq <= self.seq;
        holds(self.expired_holds.iter().all(late), "an expired hold is not")?;
        let mut reserved = vec![0_i128; self.grants.len()];
        for hold in &self.holds {
            holds(hold.id.0.seq <= self.seq, "a hold's id is not its own")?;
            holds(hold.expires_at > self.settled_at, "a hold is over")?;
            holds(!hold.unfunded.is_negative(), "a hold below zero")?;
            for part in &hold.reserved {
                holds(part.credits.is_positive(), "an empty reservation is kept")?;
                let index = self.grants.iter().position(|grant| grant.id == part.grant);
                reserved[index.ok_or("a hold reserves from no grant")?] += part.credits.micros();
            }
        }
        for (grant, reserved) in self.grants.iter().zip(reserved) {
            holds(grant.reserved.micros() == reserved, "a grant and its holds differ")?;
            holds(grant.reserved <= grant.remaining, "more is reserved than there is")?;
            holds(reserved == 0 || !self.is_pending(grant), "a pending grant is reserved")?;
        }
        Ok(())
    }

    fn posted(&self) -> Credits {
        let live = self.live().map(|grant| grant.remaining.micros()).sum::<i128>();
        Credits::from_micros(live - self.debt.micros())
            .expect("checked after every change and every decoding")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as minicbor calls it")]
const fn is_none_yet(seq: &u64) -> bool {
    *seq == 0
}
