//! [`Operation`], one thing that happened to an account.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

use super::{GrantId, HoldId, Rollover, Settings, Source};
use crate::ids::IdError;
use crate::ratios::{Line, Matched, Parameters};
use crate::{Credits, Timestamp};

/// Names an operation by its place in the account's journal: `op_<seq>_<position>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId {
    /// The journal entry, from 1 to 2^56 - 1.
    pub seq: u64,
    /// The place within the entry, from 0.
    pub position: u8,
}

/// One integer, `seq * 256 + position`: states and postings name many.
impl<C> Encode<C> for OperationId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u64(self.seq << 8 | u64::from(self.position))?.ok()
    }
}

impl<'b, C> Decode<'b, C> for OperationId {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let packed = d.u64()?;
        // Lossless: the low byte.
        #[expect(clippy::cast_possible_truncation, reason = "the low byte is wanted")]
        let position = packed as u8;
        Ok(Self { seq: packed >> 8, position })
    }
}

impl OperationId {
    /// The largest sequence number.
    pub(crate) const MAX_SEQ: u64 = (1 << 56) - 1;

    pub(super) fn parse_with_prefix(text: &str, prefix: &str) -> Result<Self, IdError> {
        let (seq, position) =
            text.strip_prefix(prefix).and_then(|rest| rest.split_once('_')).ok_or(IdError)?;
        let canonical =
            |part: &str| part == "0" || (!part.starts_with('0') && !part.starts_with('+'));
        if !canonical(seq) || !canonical(position) {
            return Err(IdError);
        }
        let seq = seq.parse().map_err(|_| IdError)?;
        if seq > Self::MAX_SEQ {
            return Err(IdError);
        }
        Ok(Self { seq, position: position.parse().map_err(|_| IdError)? })
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op_{}_{}", self.seq, self.position)
    }
}

impl FromStr for OperationId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse_with_prefix(text, "op_")
    }
}

/// Who asked for an operation, with the key under which it happens once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A caller, under its idempotency key.
    Client {
        /// 1 to 255 visible ASCII characters.
        key: String,
    },
    /// A subscription, for one of its periods.
    Subscription {
        /// The subscription.
        id: String,
        /// The period, from 0.
        period: u32,
    },
    /// A payment.
    Payment {
        /// Who processed it.
        provider: String,
        /// The provider's name for it.
        payment: String,
    },
    /// What became of a payment later: refunds and disputes, numbered from 1.
    PaymentChange {
        /// Who processed it.
        provider: String,
        /// In which mode of the provider: `live`, `test`.
        mode: String,
        /// The provider's name for it.
        payment: String,
        /// The how manieth change of that payment it is.
        number: u32,
    },
    /// The ledger itself: what time brought about, settings.
    System,
}

/// An amount of money, as a label on a grant: nothing is computed with it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// A decimal, not negative, at most 10^15 with 6 fractional digits.
    pub amount: Credits,
    /// ISO 4217: three capital letters.
    pub currency: String,
}

/// What a posting changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A grant's remaining credits.
    Grant(GrantId),
    /// The account's debt.
    Debt,
}

/// The change that an operation makes to one grant, or to the debt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Posting {
    /// What it changes.
    pub target: Target,
    /// The change of the posted balance: positive where a grant grows or debt shrinks.
    pub credits: Credits,
}

/// One priced item of a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatedItem {
    /// What each dimension cost, before rounding.
    pub lines: Vec<Line>,
    /// What the item cost: the lines' sum, rounded, and at least the minimum.
    pub credits: Credits,
    /// Whether the minimum was what counted.
    pub minimum_applied: bool,
    /// By what the name in the request led to the model, where that was not its id.
    pub matched: Option<Matched>,
    /// What the request said that prices may depend on: all of it, not only what the rows asked
    /// for, so that another table can price the same request. At most
    /// [`MAX_PARAMETERS`](crate::ratios::MAX_PARAMETERS), each a name
    /// ([`is_name`](crate::ratios::is_name)) with a value
    /// ([`is_parameter_value`](crate::ratios::is_parameter_value)).
    pub parameters: Parameters,
    /// How many requests it was, as of a batch or with several turns: each was priced by its own
    /// prompt and parameters, and a line is the sum of those that one row priced. From 1.
    pub requests: u32,
    /// The version of the table that priced what the operation's own had no price for, where that
    /// was so: usage that was kept until it had one.
    pub filled_by: Option<u64>,
    /// Whose response it was read from ([`canonical_name`](crate::providers::canonical_name)), where
    /// that response named the model: another table may have it by a name that is more exact.
    pub provider: Option<String>,
}

/// What an operation did, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// Credits came in. Where they are effective later, `credits` is zero and an
    /// [`Detail::Activation`] follows.
    Grant {
        /// The grant that holds them: a new one, or an older one they were merged into.
        grant: GrantId,
        /// Where they come from.
        source: Source,
        /// Their place in the burn order.
        priority: u8,
        /// What came in, before debt was paid from it.
        amount: Credits,
        /// From when on they count.
        effective_at: Timestamp,
        /// From when on they are gone.
        expires_at: Option<Timestamp>,
        /// What was paid for them.
        paid: Option<Money>,
        /// What becomes of them when they end.
        rollover: Option<Rollover>,
    },
    /// A grant became effective.
    Activation {
        /// The grant.
        grant: GrantId,
    },
    /// What was left of a grant is gone.
    Expiry {
        /// The grant.
        grant: GrantId,
    },
    /// Usage was charged.
    Charge {
        /// What it was rated at. `requested + credits` (which is negative) is what was forgiven.
        requested: Credits,
        /// How that came about; empty for a charge of fixed credits.
        items: Vec<RatedItem>,
        /// The ratio table's version that priced the items.
        ratio_version: Option<u64>,
        /// When the usage happened, where that was said.
        occurred_at: Option<Timestamp>,
    },
    /// The settings changed to these.
    Settings(Settings),
    /// Credits were reserved.
    Hold {
        /// What was asked for.
        requested: Credits,
        /// What is reserved.
        credits: Credits,
        /// From when on it reserves nothing.
        expires_at: Timestamp,
        /// The ratio table's version whose prices hold until it ends.
        ratio_version: Option<u64>,
    },
    /// A hold will expire later.
    HoldExtension {
        /// The hold.
        hold: HoldId,
        /// From when on it reserves nothing.
        expires_at: Timestamp,
    },
    /// Usage was charged against a hold.
    Capture {
        /// The hold.
        hold: HoldId,
        /// What it was rated at, as of a charge.
        requested: Credits,
        /// How that came about; empty for fixed credits.
        items: Vec<RatedItem>,
        /// The ratio table's version that priced the items.
        ratio_version: Option<u64>,
        /// When the usage happened, where that was said.
        occurred_at: Option<Timestamp>,
        /// How much of what the hold reserved was used up.
        from_hold: Credits,
        /// Whether the hold had expired before.
        late: bool,
        /// Whether the hold ended with it.
        last: bool,
    },
    /// A hold ended, and what was left of it is no longer reserved: what grants that go on lent it
    /// is spendable again, what belonged to grants that had ended is forfeited.
    Release {
        /// The hold.
        hold: HoldId,
        /// What was left of it.
        released: Credits,
        /// Why it ended.
        cause: ReleaseCause,
    },
    /// Credits of a charge were given back.
    Refund {
        /// The charge or capture.
        charge: OperationId,
        /// How many.
        credits: Credits,
        /// How many of that charge's credits were given back so far, these included.
        refunded: Credits,
        /// The grant that was opened for what had no place to go back to.
        grant: Option<GrantId>,
    },
    /// What a payment brought was taken back.
    Clawback {
        /// The payment.
        payment: String,
        /// How many credits.
        credits: Credits,
        /// How many of them a void of its grant had forfeited: these are not in the postings.
        forfeited: Credits,
    },
    /// What a clawback took was given back.
    ClawbackReversal {
        /// The payment.
        payment: String,
        /// How many credits.
        credits: Credits,
        /// Where the credits are that paid no debt.
        grant: Option<GrantId>,
        /// How many of them a void has forfeited: they were not taken, and don't come back.
        forfeited: Credits,
    },
    /// What was left of a grant was forfeited.
    GrantVoid {
        /// The grant.
        grant: GrantId,
        /// How many credits; those of a grant that was still to come were no part of the balance.
        credits: Credits,
    },
    /// Debt was waived.
    WriteOff,
}

/// Why a hold ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReleaseCause {
    /// Its time was over.
    Expired,
    /// A last capture took less than it reserved.
    Captured,
    /// It was given back.
    Voided,
}

impl Detail {
    /// All that [`Self::kind`] says.
    pub const KINDS: [&'static str; 16] = [
        "grant",
        "activation",
        "expiry",
        "charge",
        "settings",
        "hold",
        "hold_extension",
        "capture",
        "hold_expiry",
        "hold_release",
        "hold_void",
        "refund",
        "clawback",
        "clawback_reversal",
        "grant_void",
        "write_off",
    ];

    /// The kind's name, as in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Grant { .. } => "grant",
            Self::Activation { .. } => "activation",
            Self::Expiry { .. } => "expiry",
            Self::Charge { .. } => "charge",
            Self::Settings(_) => "settings",
            Self::Hold { .. } => "hold",
            Self::HoldExtension { .. } => "hold_extension",
            Self::Capture { .. } => "capture",
            Self::Release { cause: ReleaseCause::Expired, .. } => "hold_expiry",
            Self::Release { cause: ReleaseCause::Captured, .. } => "hold_release",
            Self::Release { cause: ReleaseCause::Voided, .. } => "hold_void",
            Self::Refund { .. } => "refund",
            Self::Clawback { .. } => "clawback",
            Self::ClawbackReversal { .. } => "clawback_reversal",
            Self::GrantVoid { .. } => "grant_void",
            Self::WriteOff => "write_off",
        }
    }
}

/// One thing that happened to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its name.
    pub id: OperationId,
    /// Who asked for it.
    pub origin: Origin,
    /// When it took effect: for an expiry or activation the instant it was due, else the entry's
    /// time.
    pub at: Timestamp,
    /// The changes it made.
    pub postings: Vec<Posting>,
    /// What it did.
    pub detail: Detail,
}

impl Operation {
    /// The change of the posted balance: the sum of the postings.
    pub fn credits(&self) -> Credits {
        self.sum(|_| true)
    }

    /// The change of the debt: positive where it grew.
    pub fn debt_change(&self) -> Credits {
        -self.sum(|target| target == Target::Debt)
    }

    /// The change of what open holds reserve.
    pub fn held_change(&self) -> Credits {
        match self.detail {
            Detail::Hold { credits, .. } => credits,
            Detail::Capture { from_hold, .. } => -from_hold,
            Detail::Release { released, .. } => -released,
            _ => Credits::ZERO,
        }
    }

    fn sum(&self, of: impl Fn(Target) -> bool) -> Credits {
        let micros = self.postings.iter().filter(|p| of(p.target)).map(|p| p.credits.micros());
        Credits::from_micros(micros.sum()).expect("a change lies between two balances in range")
    }
}
