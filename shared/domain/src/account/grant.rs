//! [`Grant`], credits that came in together.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

use super::{Detail, Operation, OperationId};
use crate::{Credits, Timestamp};

/// Where credits come from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Source {
    /// Bought: a payment stands behind them.
    #[n(0)]
    Paid,
    /// A plan's credits for one period.
    #[n(1)]
    Plan,
    /// Given away.
    #[n(2)]
    Promo,
    /// Given for trying the product.
    #[n(3)]
    Trial,
    /// Left over from an earlier period.
    #[n(4)]
    Rollover,
    /// Given back for a charge.
    #[n(5)]
    Refund,
    /// Brought along from another system.
    #[n(6)]
    Migration,
}

impl Source {
    /// The burn priority of a grant that names none: bought credits go last.
    pub const fn default_priority(self) -> u8 {
        match self {
            Self::Paid => 100,
            _ => 50,
        }
    }

    /// Whether what is left of grants of this source may roll over: of those that merge, the rule
    /// would get lost.
    pub const fn may_roll_over(self) -> bool {
        !self.merges()
    }

    /// Whether grants of this source merge when there are too many, instead of being refused.
    pub(super) const fn merges(self) -> bool {
        matches!(self, Self::Paid | Self::Refund)
    }

    /// The name, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Plan => "plan",
            Self::Promo => "promo",
            Self::Trial => "trial",
            Self::Rollover => "rollover",
            Self::Refund => "refund",
            Self::Migration => "migration",
        }
    }
}

/// Names a grant by the operation that opened it: `gr_<seq>_<position>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct GrantId(#[n(0)] pub OperationId);

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gr_{}_{}", self.0.seq, self.0.position)
    }
}

impl FromStr for GrantId {
    type Err = crate::ids::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        OperationId::parse_with_prefix(text, "gr_").map(Self)
    }
}

/// What is left of credits that came in together, and on which terms.
///
/// It counts in `[effective_at, expires_at)`: before, it is pending and no part of the balance;
/// from `expires_at` on it can't be spent, whether or not the expiry has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Grant {
    /// Its name.
    #[n(0)]
    pub id: GrantId,
    /// Where it comes from.
    #[n(1)]
    pub source: Source,
    /// Lower burns first.
    #[n(2)]
    pub priority: u8,
    /// From when on it counts.
    #[n(3)]
    pub effective_at: Timestamp,
    /// From when on it is gone, if ever.
    #[n(4)]
    pub expires_at: Option<Timestamp>,
    /// What is left of it, open holds' parts included. Above zero, but for a grant whose
    /// rollover brings something even where nothing is left, or that others were merged into.
    #[n(5)]
    pub remaining: Credits,
    /// What of it open holds reserve.
    #[n(6)]
    #[cbor(default, skip_if = "is_zero", decode_with = "crate::journal::or_default")]
    pub reserved: Credits,
    /// What becomes of it when it ends, where that is not just expiry.
    #[n(7)]
    pub rollover: Option<Rollover>,
    /// Whether others were merged into it: then its terms are not those that it was opened with,
    /// and it stays until its end, also where nothing is left, for what goes back to it.
    #[n(8)]
    #[cbor(default, skip_if = "is_false", decode_with = "crate::journal::or_default")]
    pub merged: bool,
}

/// What rolls over when a grant ends: `min(max, max(min, unreserved))` credits become a grant of
/// their own (the rule of `OpenMeter`'s entitlements).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Rollover {
    /// So much is there in the next period at least, from 0 to `max`.
    #[n(0)]
    pub min: Credits,
    /// At most so much rolls over.
    #[n(1)]
    pub max: Credits,
    /// When what rolled over ends.
    #[n(2)]
    pub expires_at: Timestamp,
}

impl Rollover {
    /// What rolls over at `at` where so much is left.
    pub(super) fn rolled(&self, left: Credits, at: Timestamp) -> Credits {
        if self.expires_at <= at { Credits::ZERO } else { left.max(self.min).min(self.max) }
    }
}

/// A grant without what is left of it: what it takes to open it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantTerms {
    /// Its name.
    pub id: GrantId,
    /// Where it comes from.
    pub source: Source,
    /// Lower burns first.
    pub priority: u8,
    /// From when on it counts.
    pub effective_at: Timestamp,
    /// From when on it is gone, if ever.
    pub expires_at: Option<Timestamp>,
    /// What becomes of it when it ends, where that is not just expiry.
    pub rollover: Option<Rollover>,
}

impl GrantTerms {
    /// Those on which an operation opened a grant; `None` where it opened none.
    pub fn opened_by(operation: &Operation) -> Option<Self> {
        match operation.detail {
            Detail::Grant {
                grant: id,
                source,
                priority,
                effective_at,
                expires_at,
                rollover,
                ..
            } => Some(Self { id, source, priority, effective_at, expires_at, rollover }),
            // For what had no grant to go back to.
            Detail::Refund { grant, .. } | Detail::ClawbackReversal { grant, .. } => {
                grant.map(|grant| Self::of_refund(grant, operation.at))
            }
            _ => None,
        }
    }

    /// The same for credits that were given back.
    pub(super) const fn as_refund(self) -> Self {
        let source = Source::Refund;
        Self { source, priority: source.default_priority(), ..self }
    }

    /// Those of a grant that is opened at `at` for credits that are given back and have no grant to
    /// go back to: 30 days.
    pub fn of_refund(id: GrantId, at: Timestamp) -> Self {
        let source = Source::Refund;
        let expires_at = Some(at.saturating_add_millis(super::REFUND_MILLIS));
        let priority = source.default_priority();
        Self { id, source, priority, effective_at: at, expires_at, rollover: None }
    }
}

impl Grant {
    /// A grant on these terms with `remaining` credits.
    pub(super) const fn on(terms: GrantTerms, remaining: Credits) -> Self {
        let GrantTerms { id, source, priority, effective_at, expires_at, rollover } = terms;
        let reserved = Credits::ZERO;
        let merged = false;
        Self {
            id,
            source,
            priority,
            effective_at,
            expires_at,
            remaining,
            reserved,
            rollover,
            merged,
        }
    }

    /// What is left of it and no hold reserves.
    pub fn unreserved(&self) -> Credits {
        self.remaining.checked_sub(self.reserved).unwrap_or(Credits::ZERO)
    }

    /// Whether its end has come.
    pub fn has_ended(&self, at: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= at)
    }

    /// Whether there is a reason to keep it in the state.
    pub(super) fn is_kept(&self) -> bool {
        self.remaining.is_positive()
            || self.merged
            || self.rollover.is_some_and(|rollover| rollover.min.is_positive())
    }

    /// The most millionths that it and what rolls over of it may come to, with what holds keep of
    /// it beyond its end: their range is checked beforehand, so that its end can't fail.
    pub(super) fn potential(&self) -> i128 {
        let remaining = self.remaining.micros();
        let rolled = |rollover: Rollover| self.reserved.micros() + rollover.min.micros();
        self.rollover.map_or(remaining, |rollover| remaining.max(rolled(rollover)))
    }

    /// Which of two grants is spent first: lower priority, sooner expiry (never is last), what
    /// rolled over before the rest and paid ones last, earlier effective, lower id. A total order,
    /// as ids are unique.
    ///
    /// What rolled over ends with the period that follows, so it must be spent before that
    /// period's own credits, which may roll over themselves. Their ids don't tell: a period is
    /// granted ahead of its start.
    pub fn burn_order(&self, other: &Self) -> Ordering {
        self.burn_key().cmp(&other.burn_key())
    }

    fn burn_key(&self) -> (u8, bool, Option<Timestamp>, u8, Timestamp, GrantId) {
        let class = match self.source {
            Source::Rollover => 0,
            Source::Paid => 2,
            _ => 1,
        };
        (
            self.priority,
            self.expires_at.is_none(),
            self.expires_at,
            class,
            self.effective_at,
            self.id,
        )
    }
}

/// A grant of bought credits that was voided, and what that forfeited: where its payment is then
/// refunded or disputed, that is not taken a second time. The credits are those of one payment, as
/// a void of a grant that others are in is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct VoidedGrant {
    /// Its name.
    #[n(0)]
    pub grant: GrantId,
    /// What it forfeited and no clawback has counted.
    #[n(1)]
    pub forfeited: Credits,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as minicbor calls it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(credits: &Credits) -> bool {
    credits.is_zero()
}
