//! [`Hold`], credits reserved for work in progress.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

use super::{GrantId, OperationId};
use crate::{Credits, Timestamp};

/// Names a hold by the operation that opened it: `hold_<seq>_<position>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct HoldId(#[n(0)] pub OperationId);

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hold_{}_{}", self.0.seq, self.0.position)
    }
}

impl FromStr for HoldId {
    type Err = crate::ids::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        OperationId::parse_with_prefix(text, "hold_").map(Self)
    }
}

/// An open hold: it keeps credits of grants for what is going on, and beyond them a part of the
/// credit line.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hold {
    /// Its name.
    #[n(0)]
    pub id: HoldId,
    /// When it was opened.
    #[n(1)]
    pub opened_at: Timestamp,
    /// From when on it reserves nothing.
    #[n(2)]
    pub expires_at: Timestamp,
    /// What it still reserves of which grant, each above zero, in the order in which they burn.
    #[n(3)]
    pub reserved: Vec<Reservation>,
    /// What it still reserves of the credit line, not negative.
    #[n(4)]
    pub unfunded: Credits,
    /// The ratio table's version whose prices hold until it ends.
    #[n(5)]
    pub ratio_version: Option<u64>,
}

/// What a hold reserves of one grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Reservation {
    /// The grant.
    #[n(0)]
    pub grant: GrantId,
    /// How much of it, above zero.
    #[n(1)]
    pub credits: Credits,
}

impl Hold {
    /// What it still reserves; zero where partial captures took all of it.
    pub fn credits(&self) -> Credits {
        Credits::from_micros(self.micros()).expect("checked after every change and every decoding")
    }

    pub(super) fn micros(&self) -> i128 {
        let reserved = self.reserved.iter().map(|part| part.credits.micros()).sum::<i128>();
        reserved + self.unfunded.micros()
    }
}

/// A hold that expired: it reserves nothing, but work that it was opened for may still be
/// captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ExpiredHold {
    /// Its name.
    #[n(0)]
    pub id: HoldId,
    /// When it expired.
    #[n(1)]
    pub expired_at: Timestamp,
    /// The ratio table's version whose prices it promised.
    #[n(2)]
    pub ratio_version: Option<u64>,
}
