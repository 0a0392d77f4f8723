//! [`Command`], what is asked of an account, and [`Rejection`], why not.

use super::{
    GrantId, GrantTerms, HoldId, Money, OperationId, Posting, RatedItem, Rollover, Settings,
    Source, Status,
};
use crate::{Credits, Timestamp};

/// What is asked of an account, together with all the evidence needed to decide it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Adds credits. Debt is paid first.
    ///
    /// With 64 grants there, a `paid` or `refund` grant is never refused: of all such grants the
    /// two of one source that expire closest to each other become one, with the later expiry.
    Grant(GrantRequest),
    /// Takes credits for usage.
    Charge(Charge),
    /// Replaces the settings. Opens the account where it is new.
    Settings(Settings),
    /// Reserves credits for work that is about to begin.
    Hold(HoldRequest),
    /// Lets a hold expire later.
    ExtendHold {
        /// The hold, which must be open.
        hold: HoldId,
        /// Milliseconds from now to its end, 1 to [`super::MAX_HOLD_MILLIS`]. It never ends sooner
        /// than it would have, and at most [`super::MAX_HOLD_LIFE_MILLIS`] after it was opened.
        millis: i64,
    },
    /// Charges for work that a hold was opened for.
    Capture(Capture),
    /// Gives back what a hold reserves.
    VoidHold(HoldId),
    /// Gives back what a charge or capture took, or a part of it.
    Refund(RefundRequest),
    /// Takes back what a payment brought: it was refunded or disputed.
    Clawback(PaymentChange),
    /// Gives back what a clawback took: a dispute was won.
    ClawbackReversal(PaymentChange),
    /// Forfeits what is left of a grant and no hold reserves.
    VoidGrant(GrantId),
    /// Waives debt: so much, or all of it.
    WriteOff(Option<Credits>),
}

/// Credits to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRequest {
    /// How many, above zero.
    pub amount: Credits,
    /// Where they come from.
    pub source: Source,
    /// Their place in the burn order; the source's default where none.
    pub priority: Option<u8>,
    /// From when on they count; at once where none.
    pub effective_at: Option<Timestamp>,
    /// From when on they are gone. May lie in the past for a period that was missed: then they
    /// pay debt, and the rest expires visibly.
    pub expires_at: Option<Timestamp>,
    /// What was paid for them.
    pub paid: Option<Money>,
    /// What becomes of them when they end; goes with `expires_at`.
    pub rollover: Option<Rollover>,
}

/// Usage to charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// What it costs, not negative. Where there are items, their sum.
    pub credits: Credits,
    /// How that came about; empty for fixed credits.
    pub items: Vec<RatedItem>,
    /// The ratio table's version that priced the items.
    pub ratio_version: Option<u64>,
    /// The price group that the items were rated under; must be the account's.
    pub price_group: Option<String>,
    /// At most this is taken; the excess is forgiven.
    pub max_credits: Option<Credits>,
    /// When the usage happened.
    pub occurred_at: Option<Timestamp>,
}

impl Charge {
    /// A charge of fixed credits, not negative, and nothing else.
    pub const fn fixed(credits: Credits) -> Self {
        Self {
            credits,
            items: Vec::new(),
            ratio_version: None,
            price_group: None,
            max_credits: None,
            occurred_at: None,
        }
    }
}

/// Credits to reserve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRequest {
    /// How many, above zero.
    pub credits: Credits,
    /// Milliseconds until it expires, 1 to [`super::MAX_HOLD_MILLIS`].
    pub millis: i64,
    /// Whether to reserve what there is where that is less.
    pub partial: bool,
    /// The ratio table's version whose prices hold until it ends.
    pub ratio_version: Option<u64>,
    /// The price group that `credits` were estimated under; must be the account's.
    pub price_group: Option<String>,
}

/// Usage to charge against a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The hold: open, or expired at most [`super::LATE_CAPTURE_MILLIS`] ago.
    pub hold: HoldId,
    /// The usage. What is above the hold is charged as any other usage.
    pub charge: Charge,
    /// Whether the work is done: then the hold ends, and what is left of it is given back.
    pub last: bool,
}

/// What of a charge to give back, with the evidence that decides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRequest {
    /// The charge or capture.
    pub charge: OperationId,
    /// How much, above zero; all that is left where none.
    pub credits: Option<Credits>,
    /// Evidence: the charge's postings.
    pub postings: Vec<Posting>,
    /// Evidence: what was refunded of it before.
    pub refunded: Credits,
    /// Evidence: the terms of the grants it took from, as they were opened.
    pub terms: Vec<GrantTerms>,
}

/// What becomes of the credits of a payment, with the evidence that decides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentChange {
    /// The payment, as its provider names it.
    pub payment: String,
    /// How many credits, above zero.
    pub credits: Credits,
    /// Evidence: the terms of the grant that the payment brought, as it was opened.
    pub terms: GrantTerms,
    /// Evidence: how many of the payment's credits are taken back so far, at most 10^12.
    pub taken: Credits,
    /// Evidence: how many of these voids had forfeited before.
    pub forfeited: Credits,
}

/// Why a command was not applied. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The command contradicts itself; the caller's validation should have caught it.
    #[error("{0}")]
    Invalid(&'static str),
    /// The account has not enough, and its settings refuse overuse.
    #[error("{required} credits are needed, {available} are available")]
    InsufficientCredits {
        /// What the account may spend: its balance, which may be negative.
        available: Credits,
        /// What was asked.
        required: Credits,
        /// What is missing, the credit line counted in.
        shortfall: Credits,
    },
    /// A bound of the account would be passed.
    #[error("{0}")]
    LimitExceeded(&'static str),
    /// The account is suspended or closed.
    #[error("the account is {}", .0.as_str())]
    AccountStatus(Status),
    /// The hold is not open, and was not lately: it was captured, voided, expired long ago, or
    /// never there.
    #[error("there is no such open hold")]
    HoldGone,
    /// The hold expired. It can still be captured.
    #[error("the hold expired at {0}")]
    HoldExpired(Timestamp),
    /// More is to be given back than is left of what the charge took.
    #[error("{left} credits are left to refund")]
    RefundExceedsCharge {
        /// What was taken and not given back yet.
        left: Credits,
    },
    /// Nothing of the grant is left that could be forfeited: it was used, expired, voided, or never
    /// there.
    #[error("nothing of the grant is left")]
    GrantGone,
    /// The grant's credits can't be forfeited for good, and why: what a payment brought would be
    /// taken once more where that is refunded.
    #[error("{0}")]
    GrantNotVoidable(&'static str),
    /// There is no debt, or less than is to be waived.
    #[error("the debt is {debt} credits")]
    ExceedsDebt {
        /// What is owed.
        debt: Credits,
    },
    /// The items were rated under another price group than the account's: rate them again.
    #[error("the account's price group is {0:?} now")]
    PriceGroupChanged(String),
}
