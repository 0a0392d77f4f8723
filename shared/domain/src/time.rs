//! [`Timestamp`], an instant that came in from outside.

use std::fmt;
use std::str::FromStr;

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;

/// A UTC instant in milliseconds since 1970, between the years 2000 and 2999.
///
/// As text RFC 3339 in UTC. Read with any offset and with or without fractional seconds (what is
/// below a millisecond is cut off).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text or number is not a [`Timestamp`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Not RFC 3339.
    #[error("write a time as RFC 3339 in UTC, such as \"2026-11-22T09:30:00Z\"")]
    Syntax,
    /// Outside the years 2000 to 2999.
    #[error("a time lies between the years 2000 and 2999")]
    OutOfRange,
}

impl Timestamp {
    /// 2000-01-01T00:00:00Z.
    pub const MIN: Self = Self(946_684_800_000);
    /// 2999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(32_503_679_999_999);

    /// From milliseconds since 1970.
    ///
    /// # Errors
    /// Outside the years 2000 to 2999.
    pub const fn from_millis(millis: i64) -> Result<Self, TimestampError> {
        if millis < Self::MIN.0 || millis > Self::MAX.0 {
            return Err(TimestampError::OutOfRange);
        }
        Ok(Self(millis))
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The instant `millis` later (earlier where negative), kept within the range of the type.
    #[must_use]
    pub const fn saturating_add_millis(self, millis: i64) -> Self {
        let sum = self.0.saturating_add(millis);
        if sum < Self::MIN.0 {
            Self::MIN
        } else if sum > Self::MAX.0 {
            Self::MAX
        } else {
            Self(sum)
        }
    }

    /// As calendar date and time of day.
    pub fn to_utc(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .expect("the years 2000 to 2999 are within the calendar's range")
    }
}

impl TryFrom<OffsetDateTime> for Timestamp {
    type Error = TimestampError;

    fn try_from(at: OffsetDateTime) -> Result<Self, TimestampError> {
        i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000))
            .map_err(|_| TimestampError::OutOfRange)
            .and_then(Self::from_millis)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_utc().format(&Rfc3339).map_err(|_| fmt::Error)?;
        f.pad(&text)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|_| TimestampError::Syntax)
            .and_then(Self::try_from)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<C> minicbor::Encode<C> for Timestamp {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.i64(self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Timestamp {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::from_millis(d.i64()?).map_err(minicbor::decode::Error::custom)
    }
}
