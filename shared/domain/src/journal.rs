//! The stored form of a journal entry: one byte that names the format, then CBOR (format 1), or
//! the same CBOR deflated (format 2) where that makes a large entry smaller.
//!
//! CBOR with numbered fields (`minicbor`) because it is compact and grows: a field or a kind that
//! is added later gets a new number, older bodies still decode, and a body that a newer program
//! wrote with a kind unknown here is refused with a clear error instead of being misread.
//! Model, dimension and condition texts stand once an entry, in a table of strings.
//!
//! How it grows without a new format:
//! - A new kind is a new variant. Programs that don't know it refuse the entry.
//! - A new field comes last and is absent where it says nothing (`Option`, or `default` with
//!   `skip_if`): then what older programs wrote still decodes and encodes as it was. It is no
//!   `Option` of an enum: an unknown variant would be read as `None`. One with `skip_if` is
//!   decoded with [`or_default`], as it is null where a later field is there.
//! - Limits (of grants, lines, digits, times) are checked when decoding. They may be raised, never
//!   lowered.
//! - Older programs skip fields of operations that they don't know: an operation is only read. The
//!   state is carried into the next entry, which would lose them without a trace, so a state with
//!   anything unknown in it is refused.

use std::borrow::Cow;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use crate::account::{
    AccountState, Balance, Detail, GrantId, HoldId, MAX_LINES, MAX_OPERATIONS, Money, Operation,
    OperationId, Origin, Posting, RatedItem, ReleaseCause, Rollover, Settings, Source, Target,
};
use crate::deflate::{deflate, inflate};
use crate::ratios::{
    Conditions, Line, MAX_PARAMETERS, Matched, Multiplier, Per, Rate, Ratio, is_name,
    is_parameter_value,
};
use crate::{Credits, Quantity, Timestamp};

#[cfg(test)]
mod tests;

/// The body as CBOR.
const FORMAT: u8 = 1;
/// The same, deflated.
const DEFLATED: u8 = 2;
/// A body up to this long is not deflated: an item of up to 1 KB costs the same, however small.
const DEFLATE_ABOVE: usize = 1_024;
/// What a body may inflate to. An item in the store has at most 400 KB, and CBOR of entries at
/// their limits less than twice that.
const INFLATED_LIMIT: usize = 1 << 20;

/// One atomic step of an account's journal: operations, and the state after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was written.
    pub time: Timestamp,
    /// What happened, in order; never empty.
    pub operations: Vec<Operation>,
    /// The state after all of it.
    pub state: AccountState,
    /// Salted digest of the personal data that is stored beside the entry, so that they can be
    /// erased while the chain of hashes still verifies.
    pub private_digest: Option<[u8; 32]>,
}

/// Why stored bytes are no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Written by a program that knows a newer format.
    #[error("journal format {0} is not known here: a newer version wrote it")]
    UnknownFormat(u8),
    /// Not what any version wrote.
    #[error("journal entry does not decode: {0}")]
    Malformed(String),
}

impl Entry {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut strings = Strings::default();
        let operations = self
            .operations
            .iter()
            .map(|operation| PackedOperation::pack(operation, self.time, &mut strings))
            .collect();
        let body = Body {
            time: self.time,
            strings: strings.0,
            operations,
            state: self.state.clone(),
            private_digest: self.private_digest.map(ByteArray::from),
        };
        let mut bytes = vec![FORMAT];
        minicbor::encode(&body, &mut bytes).expect("writing to memory does not fail");
        // Beyond the limit, which no item in the store reaches, it could not be read again.
        if (DEFLATE_ABOVE + 1..=INFLATED_LIMIT).contains(&bytes.len()) {
            let deflated = deflate(&bytes[1..]);
            if deflated.len() + 1 < bytes.len() {
                return [&[DEFLATED][..], &deflated].concat();
            }
        }
        bytes
    }

    /// Reads the stored form, and checks what the state machine asserts.
    ///
    /// # Errors
    /// The bytes are of a newer format, or no entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let malformed = |detail: String| EntryError::Malformed(detail);
        let cbor = match bytes.split_first() {
            None => return Err(malformed("no bytes".into())),
            Some((&FORMAT, cbor)) => Cow::Borrowed(cbor),
            Some((&DEFLATED, deflated)) => {
                let cbor = inflate(deflated, INFLATED_LIMIT);
                Cow::Owned(cbor.ok_or_else(|| malformed("it does not inflate to 1 MiB".into()))?)
            }
            Some((format, _)) => return Err(EntryError::UnknownFormat(*format)),
        };
        let mut decoder = minicbor::Decoder::new(&cbor);
        let body: Body = decoder.decode().map_err(|error| malformed(error.to_string()))?;
        if decoder.position() != cbor.len() {
            return Err(malformed("bytes behind the end".into()));
        }
        body.state.check().map_err(|what| malformed(what.into()))?;
        if !(1..=MAX_OPERATIONS).contains(&body.operations.len()) {
            return Err(malformed("1 to 256 operations".into()));
        }
        let seq = body.state.seq();
        // Up to the last but one: the next entry needs a number, too.
        if !(1..OperationId::MAX_SEQ).contains(&seq) {
            return Err(malformed("no entry has this number".into()));
        }
        let operations = body
            .operations
            .into_iter()
            .zip(0..=u8::MAX)
            .map(|(packed, position)| {
                packed.unpack(OperationId { seq, position }, body.time, &body.strings)
            })
            .collect::<Result<_, _>>()
            .map_err(|what| malformed(what.into()))?;
        let private_digest = body.private_digest.map(ByteArray::into);
        let entry = Self { time: body.time, operations, state: body.state, private_digest };
        entry.work_back().ok_or_else(|| malformed("a balance is out of range".into()))?;
        Ok(entry)
    }

    /// The balance after each operation, in order: worked back from the state after all of them.
    pub fn balances(&self) -> Vec<Balance> {
        self.work_back().expect("checked when decoded, and by the state machine before")
    }

    /// `None` where a balance, the one before the entry included, would be out of range.
    fn work_back(&self) -> Option<Vec<Balance>> {
        let mut after = self.state.balance();
        let mut balances = vec![after; self.operations.len()];
        for (operation, balance) in self.operations.iter().zip(&mut balances).rev() {
            *balance = after;
            after.posted = after.posted.checked_sub(operation.credits())?;
            after.held = after.held.checked_sub(operation.held_change())?;
            after.available = after.posted.checked_sub(after.held)?;
            after.debt = after.debt.checked_sub(operation.debt_change())?;
            if after.debt.is_negative() || after.held.is_negative() {
                return None;
            }
        }
        Some(balances)
    }
}

/// The entry as it is encoded.
#[derive(Encode, Decode)]
struct Body {
    #[n(0)]
    time: Timestamp,
    #[n(1)]
    strings: Vec<String>,
    #[n(2)]
    operations: Vec<PackedOperation>,
    #[n(3)]
    #[cbor(decode_with = "decode_state")]
    state: AccountState,
    #[n(4)]
    private_digest: Option<ByteArray<32>>,
}

/// Reads a state, unless there is more in it than would be written again: see the module's text.
fn decode_state<C>(
    d: &mut minicbor::Decoder<'_>,
    ctx: &mut C,
) -> Result<AccountState, minicbor::decode::Error> {
    let start = d.position();
    let state: AccountState = d.decode_with(ctx)?;
    let mut known = Vec::new();
    minicbor::encode(&state, &mut known).expect("writing to memory does not fail");
    if d.input()[start..d.position()] != known {
        return Err(minicbor::decode::Error::message(
            "the state holds something that only a newer version knows",
        ));
    }
    Ok(state)
}

/// Reads a field that is absent where it says nothing: with a later field behind it, it is null.
/// A number that mostly is zero, and then takes no place.
fn some_of(credits: Credits) -> Option<Credits> {
    (!credits.is_zero()).then_some(credits)
}

pub(crate) fn or_default<'b, C, T: Decode<'b, C> + Default>(
    d: &mut minicbor::Decoder<'b>,
    ctx: &mut C,
) -> Result<T, minicbor::decode::Error> {
    if d.datatype()? == minicbor::data::Type::Null {
        d.null()?;
        return Ok(T::default());
    }
    d.decode_with(ctx)
}

/// Texts that stand once an entry.
#[derive(Default)]
struct Strings(Vec<String>);

impl Strings {
    fn intern(&mut self, text: &str) -> u32 {
        let index = self.0.iter().position(|known| known == text).unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        });
        u32::try_from(index).expect("a few hundred strings at most")
    }
}

fn text(strings: &[String], index: u32) -> Result<&String, &'static str> {
    usize::try_from(index).ok().and_then(|i| strings.get(i)).ok_or("no such string")
}

#[derive(Encode, Decode)]
struct PackedOperation {
    #[n(0)]
    detail: PackedDetail,
    #[n(1)]
    origin: PackedOrigin,
    /// Absent: the entry's time.
    #[n(2)]
    at: Option<Timestamp>,
    #[n(3)]
    postings: Vec<PackedPosting>,
}

#[derive(Encode, Decode)]
struct PackedPosting {
    /// Absent: the debt.
    #[n(0)]
    grant: Option<GrantId>,
    #[n(1)]
    credits: Credits,
}

#[derive(Encode, Decode)]
enum PackedOrigin {
    #[n(0)]
    Client(#[n(0)] String),
    #[n(1)]
    Subscription(#[n(0)] String, #[n(1)] u32),
    #[n(2)]
    Payment(#[n(0)] String, #[n(1)] String),
    #[n(3)]
    System,
    #[n(4)]
    PaymentChange(#[n(0)] String, #[n(1)] String, #[n(2)] String, #[n(3)] u32),
}

#[derive(Encode, Decode)]
enum PackedDetail {
    #[n(0)]
    Grant {
        #[n(0)]
        grant: GrantId,
        #[n(1)]
        source: Source,
        #[n(2)]
        priority: u8,
        #[n(3)]
        amount: Credits,
        /// Absent: the entry's time.
        #[n(4)]
        effective_at: Option<Timestamp>,
        #[n(5)]
        expires_at: Option<Timestamp>,
        #[n(6)]
        paid: Option<(Credits, String)>,
        #[n(7)]
        rollover: Option<Rollover>,
    },
    #[n(1)]
    Activation(#[n(0)] GrantId),
    #[n(2)]
    Expiry(#[n(0)] GrantId),
    #[n(3)]
    Charge {
        #[n(0)]
        requested: Credits,
        #[n(1)]
        items: Vec<PackedItem>,
        #[n(2)]
        ratio_version: Option<u64>,
        #[n(3)]
        occurred_at: Option<Timestamp>,
    },
    #[n(4)]
    Settings(#[n(0)] Settings),
    #[n(5)]
    Hold {
        #[n(0)]
        credits: Credits,
        #[n(1)]
        expires_at: Timestamp,
        #[n(2)]
        ratio_version: Option<u64>,
        /// Absent: what is reserved.
        #[n(3)]
        requested: Option<Credits>,
    },
    #[n(6)]
    HoldExtension(#[n(0)] HoldId, #[n(1)] Timestamp),
    #[n(7)]
    Capture {
        #[n(0)]
        hold: HoldId,
        #[n(1)]
        requested: Credits,
        #[n(2)]
        items: Vec<PackedItem>,
        #[n(3)]
        ratio_version: Option<u64>,
        #[n(4)]
        occurred_at: Option<Timestamp>,
        #[n(5)]
        from_hold: Credits,
        #[n(6)]
        late: bool,
        #[n(7)]
        last: bool,
    },
    #[n(8)]
    Release(#[n(0)] HoldId, #[n(1)] Credits, #[n(2)] PackedCause),
    #[n(9)]
    Refund {
        #[n(0)]
        charge: OperationId,
        #[n(1)]
        credits: Credits,
        #[n(2)]
        refunded: Credits,
        #[n(3)]
        grant: Option<GrantId>,
    },
    #[n(10)]
    Clawback(#[n(0)] String, #[n(1)] Credits, #[n(2)] Option<Credits>),
    #[n(11)]
    ClawbackReversal(
        #[n(0)] String,
        #[n(1)] Credits,
        #[n(2)] Option<GrantId>,
        #[n(3)] Option<Credits>,
    ),
    #[n(12)]
    GrantVoid(#[n(0)] GrantId, #[n(1)] Credits),
    #[n(13)]
    WriteOff,
}

#[derive(Clone, Copy, Encode, Decode)]
#[cbor(index_only)]
enum PackedCause {
    #[n(0)]
    Expired,
    #[n(1)]
    Captured,
    #[n(2)]
    Voided,
}

#[derive(Encode, Decode)]
struct PackedItem {
    #[n(0)]
    credits: Credits,
    #[n(1)]
    minimum_applied: bool,
    #[n(2)]
    lines: Vec<PackedLine>,
    /// Absent: the request named the model by its id.
    #[n(3)]
    matched: Option<PackedMatched>,
    /// Names and values. Absent: none.
    #[n(4)]
    parameters: Option<Vec<(u32, u32)>>,
    /// Absent: one.
    #[n(5)]
    requests: Option<u32>,
    #[n(6)]
    filled_by: Option<u64>,
    /// Absent: the request named the model.
    #[n(7)]
    provider: Option<u32>,
}

#[derive(Encode, Decode)]
struct PackedMatched {
    #[n(0)]
    name: u32,
    /// Absent: the name is an alias.
    #[n(1)]
    starts_with: Option<u32>,
}

#[derive(Encode, Decode)]
struct PackedLine {
    #[n(0)]
    model: u32,
    #[n(1)]
    dimension: u32,
    #[n(2)]
    quantity: Quantity,
    #[n(3)]
    ratio_mantissa: u64,
    #[n(4)]
    ratio_scale: u8,
    #[n(5)]
    per_exponent: u8,
    #[n(6)]
    when: Option<u32>,
    /// Absent: 1.
    #[n(7)]
    multiplier: Option<u32>,
    /// Absent: none.
    #[n(8)]
    parts: Option<Vec<(u32, Quantity)>>,
}

impl PackedOperation {
    fn pack(operation: &Operation, time: Timestamp, strings: &mut Strings) -> Self {
        let origin = match operation.origin.clone() {
            Origin::Client { key } => PackedOrigin::Client(key),
            Origin::Subscription { id, period } => PackedOrigin::Subscription(id, period),
            Origin::Payment { provider, payment } => PackedOrigin::Payment(provider, payment),
            Origin::System => PackedOrigin::System,
            Origin::PaymentChange { provider, mode, payment, number } => {
                PackedOrigin::PaymentChange(provider, mode, payment, number)
            }
        };
        let detail = match &operation.detail {
            Detail::Grant {
                grant,
                source,
                priority,
                amount,
                effective_at,
                expires_at,
                paid,
                rollover,
            } => PackedDetail::Grant {
                rollover: *rollover,
                grant: *grant,
                source: *source,
                priority: *priority,
                amount: *amount,
                effective_at: Some(*effective_at).filter(|at| *at != time),
                expires_at: *expires_at,
                paid: paid.as_ref().map(|paid| (paid.amount, paid.currency.clone())),
            },
            Detail::Activation { grant } => PackedDetail::Activation(*grant),
            Detail::Expiry { grant } => PackedDetail::Expiry(*grant),
            Detail::Charge { requested, items, ratio_version, occurred_at } => {
                PackedDetail::Charge {
                    requested: *requested,
                    items: items.iter().map(|item| PackedItem::pack(item, strings)).collect(),
                    ratio_version: *ratio_version,
                    occurred_at: *occurred_at,
                }
            }
            Detail::Settings(settings) => PackedDetail::Settings(settings.clone()),
            Detail::Hold { requested, credits, expires_at, ratio_version } => PackedDetail::Hold {
                credits: *credits,
                expires_at: *expires_at,
                ratio_version: *ratio_version,
                requested: Some(*requested).filter(|requested| requested != credits),
            },
            Detail::HoldExtension { hold, expires_at } => {
                PackedDetail::HoldExtension(*hold, *expires_at)
            }
            Detail::Capture {
                hold,
                requested,
                items,
                ratio_version,
                occurred_at,
                from_hold,
                late,
                last,
            } => PackedDetail::Capture {
                hold: *hold,
                requested: *requested,
                items: items.iter().map(|item| PackedItem::pack(item, strings)).collect(),
                ratio_version: *ratio_version,
                occurred_at: *occurred_at,
                from_hold: *from_hold,
                late: *late,
                last: *last,
            },
            Detail::Release { hold, released, cause } => {
                let cause = match cause {
                    ReleaseCause::Expired => PackedCause::Expired,
                    ReleaseCause::Captured => PackedCause::Captured,
                    ReleaseCause::Voided => PackedCause::Voided,
                };
                PackedDetail::Release(*hold, *released, cause)
            }
            Detail::Refund { charge, credits, refunded, grant } => PackedDetail::Refund {
                charge: *charge,
                credits: *credits,
                refunded: *refunded,
                grant: *grant,
            },
            Detail::Clawback { payment, credits, forfeited } => {
                PackedDetail::Clawback(payment.clone(), *credits, some_of(*forfeited))
            }
            Detail::ClawbackReversal { payment, credits, grant, forfeited } => {
                let forfeited = some_of(*forfeited);
                PackedDetail::ClawbackReversal(payment.clone(), *credits, *grant, forfeited)
            }
            Detail::GrantVoid { grant, credits } => PackedDetail::GrantVoid(*grant, *credits),
            Detail::WriteOff => PackedDetail::WriteOff,
        };
        let postings = operation
            .postings
            .iter()
            .map(|posting| PackedPosting {
                grant: match posting.target {
                    Target::Grant(grant) => Some(grant),
                    Target::Debt => None,
                },
                credits: posting.credits,
            })
            .collect();
        Self { detail, origin, at: Some(operation.at).filter(|at| *at != time), postings }
    }

    fn unpack(
        self,
        id: OperationId,
        time: Timestamp,
        strings: &[String],
    ) -> Result<Operation, &'static str> {
        let origin = match self.origin {
            PackedOrigin::Client(key) => Origin::Client { key },
            PackedOrigin::Subscription(id, period) => Origin::Subscription { id, period },
            PackedOrigin::Payment(provider, payment) => Origin::Payment { provider, payment },
            PackedOrigin::System => Origin::System,
            PackedOrigin::PaymentChange(provider, mode, payment, number) => {
                Origin::PaymentChange { provider, mode, payment, number }
            }
        };
        let detail = match self.detail {
            PackedDetail::Grant {
                grant,
                source,
                priority,
                amount,
                effective_at,
                expires_at,
                paid,
                rollover,
            } => Detail::Grant {
                rollover,
                grant,
                source,
                priority,
                amount,
                effective_at: effective_at.unwrap_or(time),
                expires_at,
                paid: paid.map(|(amount, currency)| Money { amount, currency }),
            },
            PackedDetail::Activation(grant) => Detail::Activation { grant },
            PackedDetail::Expiry(grant) => Detail::Expiry { grant },
            PackedDetail::Charge { requested, items, ratio_version, occurred_at } => {
                let items = unpack_items(items, strings)?;
                Detail::Charge { requested, items, ratio_version, occurred_at }
            }
            PackedDetail::Settings(settings) => Detail::Settings(settings),
            PackedDetail::Hold { credits, expires_at, ratio_version, requested } => {
                let requested = requested.unwrap_or(credits);
                Detail::Hold { requested, credits, expires_at, ratio_version }
            }
            PackedDetail::HoldExtension(hold, expires_at) => {
                Detail::HoldExtension { hold, expires_at }
            }
            PackedDetail::Capture {
                hold,
                requested,
                items,
                ratio_version,
                occurred_at,
                from_hold,
                late,
                last,
            } => Detail::Capture {
                hold,
                requested,
                items: unpack_items(items, strings)?,
                ratio_version,
                occurred_at,
                from_hold,
                late,
                last,
            },
            PackedDetail::Release(hold, released, cause) => {
                let cause = match cause {
                    PackedCause::Expired => ReleaseCause::Expired,
                    PackedCause::Captured => ReleaseCause::Captured,
                    PackedCause::Voided => ReleaseCause::Voided,
                };
                Detail::Release { hold, released, cause }
            }
            PackedDetail::Refund { charge, credits, refunded, grant } => {
                Detail::Refund { charge, credits, refunded, grant }
            }
            PackedDetail::Clawback(payment, credits, forfeited) => {
                Detail::Clawback { payment, credits, forfeited: forfeited.unwrap_or_default() }
            }
            PackedDetail::ClawbackReversal(payment, credits, grant, forfeited) => {
                let forfeited = forfeited.unwrap_or_default();
                Detail::ClawbackReversal { payment, credits, grant, forfeited }
            }
            PackedDetail::GrantVoid(grant, credits) => Detail::GrantVoid { grant, credits },
            PackedDetail::WriteOff => Detail::WriteOff,
        };
        let postings: Vec<_> = self
            .postings
            .into_iter()
            .map(|posting| Posting {
                target: posting.grant.map_or(Target::Debt, Target::Grant),
                credits: posting.credits,
            })
            .collect();
        // Of everything and of the debt alone, both of which are read later.
        for of in [|_| true, |target| target == Target::Debt] {
            let counted = postings.iter().filter(|p: &&Posting| of(p.target));
            let sum = counted.map(|posting| posting.credits.micros()).sum::<i128>();
            Credits::from_micros(sum).ok_or("postings over 10^15")?;
        }
        Ok(Operation { id, origin, at: self.at.unwrap_or(time), postings, detail })
    }
}

fn unpack_items(
    items: Vec<PackedItem>,
    strings: &[String],
) -> Result<Vec<RatedItem>, &'static str> {
    let lines = items.iter().map(|item| item.lines.len()).sum::<usize>();
    if lines.max(items.len()) > MAX_LINES {
        return Err("too many lines");
    }
    items.into_iter().map(|item| item.unpack(strings)).collect()
}

impl PackedItem {
    fn pack(item: &RatedItem, strings: &mut Strings) -> Self {
        let lines = item
            .lines
            .iter()
            .map(|line| {
                let rate = line.rate();
                let (ratio_mantissa, ratio_scale) = rate.credits().parts();
                PackedLine {
                    model: strings.intern(line.model()),
                    dimension: strings.intern(line.dimension()),
                    quantity: line.quantity(),
                    ratio_mantissa,
                    ratio_scale,
                    per_exponent: rate.per().exponent(),
                    when: rate.when().map(|when| strings.intern(&when.to_text())),
                    multiplier: Some(line.multiplier())
                        .filter(|multiplier| *multiplier != Multiplier::ONE)
                        .map(Multiplier::ten_thousandths),
                    parts: Some(line.parts()).filter(|parts| !parts.is_empty()).map(|parts| {
                        parts.iter().map(|(name, part)| (strings.intern(name), *part)).collect()
                    }),
                }
            })
            .collect();
        let matched = item.matched.as_ref().map(|matched| PackedMatched {
            name: strings.intern(&matched.name),
            starts_with: matched.starts_with.as_ref().map(|prefix| strings.intern(prefix)),
        });
        let parameters = item.parameters.iter();
        let parameters =
            parameters.map(|(name, value)| (strings.intern(name), strings.intern(value)));
        Self {
            credits: item.credits,
            minimum_applied: item.minimum_applied,
            lines,
            matched,
            parameters: Some(parameters.collect()).filter(|pairs: &Vec<_>| !pairs.is_empty()),
            requests: Some(item.requests).filter(|requests| *requests > 1),
            filled_by: item.filled_by,
            provider: item.provider.as_ref().map(|provider| strings.intern(provider)),
        }
    }

    fn unpack(self, strings: &[String]) -> Result<RatedItem, &'static str> {
        let lines = self
            .lines
            .into_iter()
            .map(|line| {
                let when = line
                    .when
                    .map(|when| {
                        Conditions::from_text(text(strings, when)?).map_err(|_| "conditions")
                    })
                    .transpose()?;
                let rate = Rate::new(
                    Ratio::from_parts(line.ratio_mantissa, line.ratio_scale).ok_or("ratio")?,
                    Per::from_exponent(line.per_exponent).ok_or("per")?,
                    when,
                )
                .ok_or("rate")?;
                let multiplier = line
                    .multiplier
                    .map_or(Some(Multiplier::ONE), Multiplier::from_ten_thousandths)
                    .ok_or("multiplier")?;
                let parts = line.parts.unwrap_or_default();
                if parts.len() > MAX_LINES {
                    return Err("too many parts");
                }
                let parts = parts
                    .into_iter()
                    .map(|(name, part)| Ok((text(strings, name)?.clone(), part)))
                    .collect::<Result<_, &'static str>>()?;
                Line::new(
                    text(strings, line.model)?.clone(),
                    text(strings, line.dimension)?.clone(),
                    line.quantity,
                    rate,
                    multiplier,
                )
                .and_then(|line| line.with_parts(parts))
                .ok_or("line")
            })
            .collect::<Result<_, &'static str>>()?;
        let matched = self.matched.map(|matched| {
            let name = text(strings, matched.name)?.clone();
            let starts_with = matched.starts_with.map(|prefix| text(strings, prefix).cloned());
            Ok::<_, &'static str>(Matched { name, starts_with: starts_with.transpose()? })
        });
        let parameters = self.parameters.unwrap_or_default();
        if parameters.len() > MAX_PARAMETERS {
            return Err("too many parameters");
        }
        let parameters = parameters
            .into_iter()
            .map(|(name, value)| {
                let (name, value) = (text(strings, name)?, text(strings, value)?);
                let fit = is_name(name) && is_parameter_value(value);
                fit.then(|| (name.clone(), value.clone())).ok_or("parameter")
            })
            .collect::<Result<_, &'static str>>()?;
        if self.requests.is_some_and(|requests| requests <= 1) {
            return Err("one request is not told");
        }
        Ok(RatedItem {
            credits: self.credits,
            minimum_applied: self.minimum_applied,
            lines,
            matched: matched.transpose()?,
            parameters,
            requests: self.requests.unwrap_or(1),
            filled_by: self.filled_by,
            provider: self.provider.map(|provider| text(strings, provider).cloned()).transpose()?,
        })
    }
}
