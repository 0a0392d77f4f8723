//! Plans and the periods of subscriptions.

use ::time::{Date, Month, OffsetDateTime};
use serde::{Deserialize, Serialize};

use crate::account::Money;
use crate::ids::{IdError, is_id};
use crate::{Credits, Timestamp};

/// How long a period is, in calendar months.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// One month.
    Month,
    /// Twelve months.
    Year,
}

impl Interval {
    const fn months(self) -> i64 {
        match self {
            Self::Month => 1,
            Self::Year => 12,
        }
    }
}

/// What is sold: so many credits at each renewal.
///
/// A subscription keeps a copy as it was when it was taken; an edited plan reaches new
/// subscribers only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What buyers read, 1 to 128 characters.
    pub name: String,
    /// How often the plan is billed.
    pub interval: Interval,
    /// How often credits come; never rarer than the plan is billed.
    pub credits_interval: Interval,
    /// How many come each time, above zero, at most 10^12.
    pub credits: Credits,
    /// What one billing interval costs. A label: nothing is computed with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// What becomes of credits that a period leaves; they expire with it where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollover: Option<PlanRollover>,
}

/// What rolls over when a period ends: `min(max, max(min, what is left))` credits, for the period
/// that follows and no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRollover {
    /// So much rolls over even where less is left, from 0 to `max`.
    #[serde(default)]
    pub min: Credits,
    /// At most so much rolls over, at most 10^12.
    pub max: Credits,
}

/// Why a plan is not acceptable: the field as a JSON pointer, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct PlanError {
    /// RFC 6901.
    pub pointer: &'static str,
    /// What is wrong and how to mend it.
    pub detail: &'static str,
}

impl Plan {
    /// Checks the limits that the fields' types don't.
    ///
    /// # Errors
    /// The first field that is out of its limits.
    pub fn check(&self) -> Result<(), PlanError> {
        let refuse = |pointer, detail| Err(PlanError { pointer, detail });
        let length = self.name.chars().count();
        if !(1..=128).contains(&length) || self.name.chars().any(char::is_control) {
            return refuse("/name", "1 to 128 characters, no control characters");
        }
        if !self.credits.is_positive() || self.credits > Credits::MAX_GRANT {
            return refuse("/credits", "above zero, at most 10^12");
        }
        if self.credits_interval > self.interval {
            return refuse(
                "/credits_interval",
                "credits come at least as often as the plan renews",
            );
        }
        if self.price.as_ref().is_some_and(|price| price.amount.is_negative()) {
            return refuse("/price/amount", "a price is not negative");
        }
        if let Some(PlanRollover { min, max }) = self.rollover {
            if max.is_negative() || max > Credits::MAX_GRANT {
                return refuse("/rollover/max", "from 0 to 10^12");
            }
            if min.is_negative() || min > max {
                return refuse("/rollover/min", "from 0 to max");
            }
        }
        Ok(())
    }
}

/// Names a plan or a subscription: the alphabet and length of an account id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PlanId(String);

impl PlanId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for PlanId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if is_id(text) { Ok(Self(text.to_owned())) } else { Err(IdError) }
    }
}

impl std::fmt::Display for PlanId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// When period `number` (from 0) of a subscription begins. Its end is the next one's beginning.
///
/// Counted from the anchor, not from the period before, so that a day which a month lacks comes
/// back: 31 January, 28 February, 31 March. `None` past the year 2999.
pub fn period_start(anchor: Timestamp, every: Interval, number: u32) -> Option<Timestamp> {
    let anchor_utc = anchor.to_utc();
    let months = i64::from(anchor_utc.year()) * 12
        + i64::from(u8::from(anchor_utc.month()) - 1)
        + every.months() * i64::from(number);
    let year = i32::try_from(months.div_euclid(12)).ok()?;
    let month = Month::try_from(u8::try_from(months.rem_euclid(12) + 1).ok()?).ok()?;
    let day = anchor_utc.day().min(month.length(year));
    let date = Date::from_calendar_date(year, month, day).ok()?;
    Timestamp::try_from(OffsetDateTime::new_utc(date, anchor_utc.time())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rolls_over_has_bounds() {
        let check = |rollover: &str, expected: Option<&str>| {
            let plan = format!(
                r#"{{"name": "P", "interval": "month", "credits_interval": "month",
                    "credits": "10", "rollover": {rollover}}}"#
            );
            let plan: Plan = serde_json::from_str(&plan).unwrap();
            let found = plan.check().err().map(|error| error.pointer);
            assert_eq!(found, expected, "{rollover}");
            let kept = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&kept).unwrap(), plan, "as it is kept");
        };
        check("null", None);
        check(r#"{"max": "0"}"#, None);
        check(r#"{"min": "5", "max": "5"}"#, None);
        check(r#"{"min": "5.000001", "max": "5"}"#, Some("/rollover/min"));
        check(r#"{"min": "-1", "max": "5"}"#, Some("/rollover/min"));
        check(r#"{"max": "-1"}"#, Some("/rollover/max"));
        check(r#"{"max": "1000000000000"}"#, None);
        check(r#"{"max": "1000000000000.000001"}"#, Some("/rollover/max"));
    }

    #[test]
    fn periods_are_counted_from_the_anchor() {
        let check = |anchor: &str, every, expected: &[&str]| {
            let anchor: Timestamp = anchor.parse().unwrap();
            for (number, expected) in (0..).zip(expected) {
                let start = period_start(anchor, every, number).unwrap();
                assert_eq!(start.to_string(), *expected, "period {number} of {anchor}");
            }
        };
        check(
            "2026-01-31T10:00:00Z",
            Interval::Month,
            &["2026-01-31T10:00:00Z", "2026-02-28T10:00:00Z", "2026-03-31T10:00:00Z"],
        );
        check(
            "2027-12-30T23:59:59.5Z",
            Interval::Month,
            &["2027-12-30T23:59:59.5Z", "2028-01-30T23:59:59.5Z", "2028-02-29T23:59:59.5Z"],
        );
        check(
            "2028-02-29T00:00:00Z",
            Interval::Year,
            &[
                "2028-02-29T00:00:00Z",
                "2029-02-28T00:00:00Z",
                "2030-02-28T00:00:00Z",
                "2031-02-28T00:00:00Z",
                "2032-02-29T00:00:00Z",
            ],
        );
        assert_eq!(period_start(Timestamp::MAX, Interval::Month, 1), None);
    }
}
