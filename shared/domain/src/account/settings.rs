//! [`Settings`] of an account.

use minicbor::{Decode, Encode};

use crate::Credits;

/// What happens to a charge that is larger than what is there.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Encode,
    Decode,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Overuse {
    /// The rest becomes debt: usage that happened is never lost.
    #[default]
    #[n(0)]
    Record,
    /// The charge is rejected unless the rest fits into the credit line.
    #[n(1)]
    Refuse,
    /// What is there is taken; the rest is written as forgiven.
    #[n(2)]
    Forgive,
}

/// Whether an account may begin new work.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Encode,
    Decode,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Status {
    /// It may.
    #[default]
    #[n(0)]
    Active,
    /// Holds and charges are rejected. Holds that are open, or expired, are still captured: that
    /// work was allowed when it began. Credits come in and are given back as ever.
    #[n(1)]
    Suspended,
    /// As suspended, and nobody grants it credits by hand. Payments still count: money that came
    /// in is never lost.
    #[n(2)]
    Closed,
}

impl Status {
    /// Whether new work may begin.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Active)
    }

    /// The name, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "minicbor asks for a reference")]
    fn is_default(&self) -> bool {
        self.is_active()
    }
}

/// An account's settings. They are part of the state and change by an operation, so a charge
/// needs no second read and the journal tells which settings were in force.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Settings {
    /// What happens to a charge that is larger than what is there.
    #[n(0)]
    pub overuse: Overuse,
    /// How far below zero holds, and charges under [`Overuse::Refuse`], may go, and how far new
    /// work stays allowed; never negative.
    #[n(1)]
    pub credit_line: Credits,
    /// The group of the ratio table whose multiplier prices this account's usage.
    #[n(2)]
    pub price_group: String,
    /// Whether account tokens see the metadata of operations.
    #[n(3)]
    pub metadata_visible: bool,
    /// Whether it may begin new work.
    #[n(4)]
    #[cbor(default, skip_if = "Status::is_default", decode_with = "crate::journal::or_default")]
    pub status: Status,
}

impl Settings {
    /// The price group of accounts that name none; every ratio table has it.
    pub const DEFAULT_GROUP: &str = "default";
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            overuse: Overuse::Record,
            credit_line: Credits::ZERO,
            price_group: Self::DEFAULT_GROUP.to_owned(),
            metadata_visible: false,
            status: Status::Active,
        }
    }
}
