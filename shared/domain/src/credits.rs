//! [`Credits`], the one unit.

use std::fmt;
use std::str::FromStr;

use crate::decimal::{self, DecimalError};

/// An amount of credits: a decimal with at most 6 fractional digits and a magnitude of at most
/// 10^15, held as an integer number of millionths. May be negative (a charge, a balance in debt).
///
/// As text and in JSON it is a decimal string (`"12.5"`), never a JSON number: a float would round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Credits(i128);

impl Credits {
    /// Fractional digits of a credit.
    pub const PLACES: u32 = 6;
    /// No credits.
    pub const ZERO: Self = Self(0);
    /// The largest magnitude, 10^15 credits.
    pub const MAX: Self = Self(1_000_000_000_000_000 * Self::ONE);
    /// The most that one grant, payment or period of a plan brings: 10^12 credits.
    pub const MAX_GRANT: Self = Self(1_000_000_000_000 * Self::ONE);
    /// Millionths in one credit.
    const ONE: i128 = 1_000_000;

    /// From millionths of a credit. `None` when the magnitude is over 10^15 credits.
    pub const fn from_micros(micros: i128) -> Option<Self> {
        if micros.unsigned_abs() > Self::MAX.0.unsigned_abs() {
            return None;
        }
        Some(Self(micros))
    }

    /// From whole credits.
    pub const fn from_whole(whole: u32) -> Self {
        // Lossless: at most 2^32 * 10^6, far below the limit. `as` because `From` is not const.
        Self(whole as i128 * Self::ONE)
    }

    /// Millionths of a credit.
    pub const fn micros(self) -> i128 {
        self.0
    }

    /// The sum, or `None` over the limit.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        Self::from_micros(self.0 + other.0)
    }

    /// The difference, or `None` over the limit.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        Self::from_micros(self.0 - other.0)
    }

    /// Whether this is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether this is zero.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether this is above zero.
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// Zero where this is negative, else this.
    #[must_use]
    pub const fn or_zero(self) -> Self {
        if self.is_negative() { Self::ZERO } else { self }
    }
}

impl std::ops::Neg for Credits {
    type Output = Self;
    /// The limits are symmetric, so this can't overflow.
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&decimal::format_scaled(self.0, Self::PLACES))
    }
}

impl FromStr for Credits {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        Self::from_micros(decimal::parse_scaled(text, Self::PLACES)?)
            .ok_or(DecimalError::OutOfRange("at most 10^15 credits"))
    }
}

impl serde::Serialize for Credits {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Credits {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Credits;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("credits as a decimal string such as \"12.5\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Credits, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// An integer where it fits into 64 bits (to 9.2 * 10^12 credits, practically always), else 16
/// bytes, big endian: CBOR's own integers end at 64 bits.
impl<C> minicbor::Encode<C> for Credits {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match i64::try_from(self.0) {
            Ok(small) => e.i64(small)?,
            Err(_) => e.bytes(&self.0.to_be_bytes())?,
        };
        Ok(())
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Credits {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let micros = if d.datatype()? == minicbor::data::Type::Bytes {
            let bytes = <[u8; 16]>::try_from(d.bytes()?)
                .map_err(|_| minicbor::decode::Error::message("credits are 16 bytes"))?;
            i128::from_be_bytes(bytes)
        } else {
            i128::from(d.i64()?)
        };
        Self::from_micros(micros)
            .ok_or_else(|| minicbor::decode::Error::message("credits over 10^15"))
    }
}
