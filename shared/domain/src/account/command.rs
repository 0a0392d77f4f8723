//! [`Command`], what is asked of an account, and [`Rejection`], why not.

use super::{Money, RatedItem, Settings, Source};
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
    /// The items were rated under another price group than the account's: rate them again.
    #[error("the account's price group is {0:?} now")]
    PriceGroupChanged(String),
}
