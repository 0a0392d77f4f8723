//! The numbers that rating multiplies, and the one place where their product is rounded.
//!
//! A line is `quantity * ratio / per * multiplier`. A quantity has at most 3 decimal places, a
//! ratio's places and `per`'s exponent are together at most 18, a multiplier has at most 4: that
//! is 25 places, so as an integer number of 10^-25 no product is ever rounded. Only [`round`]
//! rounds, once a request.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

use crate::decimal::{self, DecimalError};
use crate::{Credits, Quantity};

/// Most significant digits of a ratio.
const SIGNIFICANT_DIGITS: u64 = 1_000_000_000_000;

/// Reads a decimal that is not negative and takes its superfluous zeros off.
fn parse_unsigned(text: &str) -> Result<Decimal, DecimalError> {
    if text.starts_with('-') {
        return Err(DecimalError::OutOfRange("not negative"));
    }
    Ok(decimal::parse(text)?.normalize())
}

/// Credits for `per` units: a decimal that is not negative, of at most 12 significant digits and
/// at most 18 places, at most 10^15. Zero is a price: it must be written as `"0"`.
///
/// As text and in JSON a decimal string, without superfluous zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ratio {
    mantissa: u64,
    scale: u8,
}

impl Ratio {
    /// Most decimal places, and the most of places and `per`'s exponent together.
    pub const PLACES: u8 = 18;
    /// The largest ratio, the same bound as that of [`Credits`].
    const MAX: u64 = 1_000_000_000_000_000;

    /// `mantissa * 10^-scale`, as [`parts`](Self::parts) gave it. `None` where that is no ratio in
    /// lowest terms within the limits.
    pub const fn from_parts(mantissa: u64, scale: u8) -> Option<Self> {
        let lowest = scale == 0 || !mantissa.is_multiple_of(10);
        let mut significant = mantissa;
        while significant != 0 && significant.is_multiple_of(10) {
            significant /= 10;
        }
        if !lowest
            || scale > Self::PLACES
            || significant >= SIGNIFICANT_DIGITS
            || mantissa > Self::MAX
        {
            return None;
        }
        Some(Self { mantissa, scale })
    }

    /// Mantissa and decimal places: the ratio is `mantissa * 10^-scale`, in lowest terms.
    pub const fn parts(self) -> (u64, u8) {
        (self.mantissa, self.scale)
    }

    /// The ratio of a price group: exact, with up to 22 decimal places, as a decimal string.
    pub fn multiplied(self, multiplier: Multiplier) -> String {
        let product = i128::from(self.mantissa) * i128::from(multiplier.0);
        decimal::format_scaled(product, u32::from(self.scale) + Multiplier::PLACES)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&decimal::format_scaled(i128::from(self.mantissa), u32::from(self.scale)))
    }
}

impl FromStr for Ratio {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let decimal = parse_unsigned(text)?;
        let scale = u8::try_from(decimal.scale())
            .ok()
            .filter(|scale| *scale <= Self::PLACES)
            .ok_or(DecimalError::TooManyPlaces(u32::from(Self::PLACES)))?;
        u64::try_from(decimal.mantissa())
            .ok()
            .and_then(|mantissa| Self::from_parts(mantissa, scale))
            .ok_or(DecimalError::OutOfRange("at most 12 significant digits and at most 10^15"))
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The number of units that a ratio is for: a power of ten from 1 to 10^12. In JSON that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Per(u8);

impl Per {
    /// Largest exponent.
    pub const MAX_EXPONENT: u8 = 12;
    /// A ratio for one unit.
    pub const ONE: Self = Self(0);

    /// `10^exponent`. `None` over 12.
    pub const fn from_exponent(exponent: u8) -> Option<Self> {
        if exponent > Self::MAX_EXPONENT { None } else { Some(Self(exponent)) }
    }

    /// From the number of units. `None` where it is no power of ten from 1 to 10^12.
    pub fn from_units(units: u64) -> Option<Self> {
        (0..=Self::MAX_EXPONENT).map(Self).find(|per| per.units() == units)
    }

    /// The exponent, 0 to 12.
    pub const fn exponent(self) -> u8 {
        self.0
    }

    /// The number of units, 1 to 10^12.
    pub const fn units(self) -> u64 {
        10_u64.pow(self.0 as u32)
    }
}

impl Serialize for Per {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.units())
    }
}

/// What a price group multiplies lines and minimum by: not negative, below 10, at most 4 decimal
/// places. As text and in JSON a decimal string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Multiplier(u32);

impl Multiplier {
    /// Decimal places.
    pub const PLACES: u32 = 4;
    /// The prices as the table has them.
    pub const ONE: Self = Self(10_000);

    /// From ten-thousandths. `None` from 10 up.
    pub const fn from_ten_thousandths(parts: u32) -> Option<Self> {
        if parts >= 10 * Self::ONE.0 { None } else { Some(Self(parts)) }
    }

    /// Ten-thousandths, 0 to 99,999.
    pub const fn ten_thousandths(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Multiplier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&decimal::format_scaled(i128::from(self.0), Self::PLACES))
    }
}

impl FromStr for Multiplier {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let mut decimal = parse_unsigned(text)?;
        if decimal.scale() > Self::PLACES {
            return Err(DecimalError::TooManyPlaces(Self::PLACES));
        }
        decimal.rescale(Self::PLACES);
        u32::try_from(decimal.mantissa())
            .ok()
            .filter(|_| decimal.scale() == Self::PLACES)
            .and_then(Self::from_ten_thousandths)
            .ok_or(DecimalError::OutOfRange("a multiplier is below 10"))
    }
}

impl Serialize for Multiplier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Credits before rounding: not negative, an integer number of 10^-25 of a credit, at most 10^12
/// credits. As text and in JSON a plain decimal string with up to 25 decimal places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Exact(i128);

impl Exact {
    /// Decimal places.
    pub const PLACES: u32 = 25;
    /// No credits.
    pub const ZERO: Self = Self(0);
    /// The most that one line may come to: 10^9 credits.
    pub const MAX_LINE: Self = Self(1_000_000_000 * Self::ONE);
    /// One credit.
    const ONE: i128 = 10_i128.pow(Self::PLACES);
    const MAX: i128 = 1_000_000_000_000 * Self::ONE;

    /// From 10^-25ths of a credit. `None` below zero or over 10^12 credits.
    pub const fn from_scaled(scaled: i128) -> Option<Self> {
        if scaled < 0 || scaled > Self::MAX { None } else { Some(Self(scaled)) }
    }

    /// 10^-25ths of a credit.
    pub const fn scaled(self) -> i128 {
        self.0
    }

    /// The sum, or `None` over the limit.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        Self::from_scaled(self.0 + other.0)
    }

    /// `quantity * ratio / per * multiplier`. `None` over the limit, or where the ratio's places
    /// and `per`'s exponent are together more than 18.
    pub fn product(
        quantity: Quantity,
        ratio: Ratio,
        per: Per,
        multiplier: Multiplier,
    ) -> Option<Self> {
        let spare = Ratio::PLACES.checked_sub(ratio.scale.checked_add(per.0)?)?;
        // All factors are integers: an overflow on the way means that the product overflows,
        // but for a factor of zero, which is why the largest factor comes last.
        i128::from(quantity.millis())
            .checked_mul(i128::from(ratio.mantissa))?
            .checked_mul(i128::from(multiplier.0))?
            .checked_mul(10_i128.pow(u32::from(spare)))
            .and_then(Self::from_scaled)
    }

    /// Whole and fractional credits times a multiplier. `None` where that is negative or over the
    /// limit.
    pub fn of_credits(credits: Credits, multiplier: Multiplier) -> Option<Self> {
        const SPARE: u32 = Exact::PLACES - Credits::PLACES - Multiplier::PLACES;
        credits
            .micros()
            .checked_mul(i128::from(multiplier.0))?
            .checked_mul(10_i128.pow(SPARE))
            .and_then(Self::from_scaled)
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&decimal::format_scaled(self.0, Self::PLACES))
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// To which multiple of `10^-scale` a sum is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// The next one up: a part of a unit costs a unit.
    Up,
    /// The next one down.
    Down,
    /// The nearest; up from the middle.
    HalfUp,
    /// The nearest; from the middle to the even one.
    HalfEven,
}

impl Rounding {
    /// The name in a table, as it is written in JSON.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "up" => Self::Up,
            "down" => Self::Down,
            "half_up" => Self::HalfUp,
            "half_even" => Self::HalfEven,
            _ => return None,
        })
    }
}

/// How a table rounds: the decimal places of what is charged, and which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CreditRule {
    scale: u8,
    rounding: Rounding,
}

impl CreditRule {
    /// `None` for more places than [`Credits`] has, 6.
    pub const fn new(scale: u8, rounding: Rounding) -> Option<Self> {
        if scale as u32 > Credits::PLACES { None } else { Some(Self { scale, rounding }) }
    }

    /// Decimal places of what is charged, 0 to 6.
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// Which way.
    pub const fn rounding(self) -> Rounding {
        self.rounding
    }
}

/// Rounds to the rule's decimal places. `None` where the result is over the limit of [`Credits`],
/// which no [`Exact`] reaches.
pub fn round(exact: Exact, rule: CreditRule) -> Option<Credits> {
    let scale = u32::from(rule.scale);
    let unit = 10_i128.pow(Exact::PLACES - scale);
    let (units, rest) = (exact.0 / unit, exact.0 % unit);
    let up = match rule.rounding {
        Rounding::Up => rest > 0,
        Rounding::Down => false,
        Rounding::HalfUp => rest >= unit / 2,
        Rounding::HalfEven => rest > unit / 2 || (rest == unit / 2 && units % 2 == 1),
    };
    Credits::from_micros((units + i128::from(up)) * 10_i128.pow(Credits::PLACES - scale))
}

/// What the operator pays for the units of a ratio: makes margins computable, is on no rate card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cost {
    #[serde(serialize_with = "serialize_decimal")]
    amount: Decimal,
    #[serde(serialize_with = "serialize_currency")]
    currency: [u8; 3],
}

impl Cost {
    /// `None` for an amount below zero, or a currency that is not three capital letters (ISO 4217).
    pub fn new(amount: Decimal, currency: &str) -> Option<Self> {
        let letters =
            currency.as_bytes().try_into().ok().filter(|_| Self::is_currency(currency))?;
        if amount.is_sign_negative() {
            return None;
        }
        Some(Self { amount: amount.normalize(), currency: letters })
    }

    /// Reads an amount as strictly as every other decimal: not negative, at most 28 digits.
    ///
    /// # Errors
    /// [`DecimalError`] says what the text is instead.
    pub fn parse_amount(text: &str) -> Result<Decimal, DecimalError> {
        parse_unsigned(text)
    }

    pub(super) fn is_currency(text: &str) -> bool {
        text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase())
    }

    /// For `per` units of the ratio, in the currency's main unit.
    pub const fn amount(&self) -> Decimal {
        self.amount
    }

    /// Three capital letters.
    pub fn currency(&self) -> &str {
        letters(&self.currency)
    }
}

fn letters(currency: &[u8; 3]) -> &str {
    std::str::from_utf8(currency).expect("three capital letters")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde hands it over")]
fn serialize_currency<S: Serializer>(currency: &[u8; 3], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(letters(currency))
}

fn serialize_decimal<S: Serializer>(decimal: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(decimal)
}
