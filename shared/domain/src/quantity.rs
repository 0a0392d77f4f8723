//! [`Quantity`], how much of one dimension was used.

use std::fmt;
use std::str::FromStr;

use crate::decimal::{self, DecimalError};

/// A quantity of one dimension (tokens, images, seconds): at most 12 digits, 3 of them fractional,
/// never negative. Held as an integer number of thousandths.
///
/// In JSON an integer or a decimal string; a JSON float is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(u64);

impl Quantity {
    /// Fractional digits of a quantity.
    pub const PLACES: u32 = 3;
    /// Nothing used.
    pub const ZERO: Self = Self(0);
    /// The largest quantity: 999,999,999,999 units.
    pub const MAX: Self = Self(Self::MAX_WHOLE * 1_000);
    const MAX_WHOLE: u64 = 999_999_999_999;

    /// From thousandths of a unit. `None` when it takes more than 12 digits.
    pub const fn from_millis(millis: u64) -> Option<Self> {
        // Digits before and behind the point count together: 12.345 takes five.
        let digits_limit = if millis.is_multiple_of(1_000) {
            Self::MAX.0
        } else if millis.is_multiple_of(100) {
            99_999_999_999_900
        } else if millis.is_multiple_of(10) {
            9_999_999_999_990
        } else {
            999_999_999_999
        };
        if millis > digits_limit { None } else { Some(Self(millis)) }
    }

    /// From whole units. `None` over 12 digits.
    pub const fn from_whole(whole: u64) -> Option<Self> {
        if whole > Self::MAX_WHOLE { None } else { Some(Self(whole * 1_000)) }
    }

    /// Thousandths of a unit.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whether nothing was used.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or `None` over the limit.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        Self::from_millis(self.0 + other.0)
    }

    /// The difference, or `None` where it would be negative.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(millis) => Self::from_millis(millis),
            None => None,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&decimal::format_scaled(i128::from(self.0), Self::PLACES))
    }
}

impl FromStr for Quantity {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let millis = decimal::parse_scaled(text, Self::PLACES)?;
        if text.starts_with('-') {
            return Err(DecimalError::OutOfRange("a quantity is not negative"));
        }
        u64::try_from(millis)
            .ok()
            .and_then(Self::from_millis)
            .ok_or(DecimalError::OutOfRange("at most 12 digits, 3 of them fractional"))
    }
}

/// An integer where it is whole, else a decimal string.
impl serde::Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1_000) {
            serializer.serialize_u64(self.0 / 1_000)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> serde::Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerOrText;
        impl serde::de::Visitor<'_> for IntegerOrText {
            type Value = Quantity;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity: an integer or a decimal string, at most 12 digits")
            }
            fn visit_u64<E: serde::de::Error>(self, whole: u64) -> Result<Quantity, E> {
                Quantity::from_whole(whole)
                    .ok_or_else(|| E::custom("out of range: at most 12 digits"))
            }
            fn visit_i64<E: serde::de::Error>(self, whole: i64) -> Result<Quantity, E> {
                u64::try_from(whole)
                    .map_err(|_| E::custom("out of range: a quantity is not negative"))
                    .and_then(|whole| self.visit_u64(whole))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quantity, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(IntegerOrText)
    }
}

impl<C> minicbor::Encode<C> for Quantity {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u64(self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Quantity {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::from_millis(d.u64()?)
            .ok_or_else(|| minicbor::decode::Error::message("quantity over 12 digits"))
    }
}
