//! [`Conditions`]: when a row applies, and which of two rows is the more specific.

use std::collections::BTreeMap;
use std::fmt;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::document::{Faults, Path};
use super::{Parameters, Usage, is_name, is_parameter_value};
use crate::{Quantity, Timestamp};

/// The quantity that thresholds may name beside the dimensions: the sum of the input and cache
/// tokens. It is derived, so it is no dimension of a row or of usage.
pub const PROMPT_TOKENS: &str = "prompt_tokens";

/// Most conditions of a row.
const MAX_CONDITIONS: usize = 8;

const FROM: &str = "from";
const UNTIL: &str = "until";
const TIME_OF_DAY: &str = "time_of_day";
const WEEKDAYS: &str = "weekdays";

/// The conditions of a row; all must hold. At least one, at most 8.
///
/// In JSON an object: a text is an equality on a parameter, `{"gt": 200000}` or `{"gte": 200000}`
/// a threshold on a quantity, `from` and `until` are times, `time_of_day` is
/// `{"from": "22:00", "until": "06:00"}` in UTC. All windows are half-open. `weekdays` is a list
/// such as `["sat", "sun"]`, also in UTC: with a window over midnight, each part of the window is
/// on the day that it is on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    equalities: BTreeMap<String, String>,
    thresholds: BTreeMap<String, Threshold>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    time_of_day: Option<TimeOfDay>,
    weekdays: Option<Weekdays>,
}

/// Why a text is not [`Conditions`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the conditions of a ratio: {0}")]
pub struct ConditionsError(String);

/// A quantity that must be reached or exceeded. Kept as it was written: providers differ at the
/// border, and an administrator should find their own words again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threshold {
    Above(Quantity),
    AtLeast(Quantity),
}

impl Threshold {
    /// The least number of thousandths that is enough. Quantities are whole thousandths, so both
    /// kinds are comparable.
    fn least(self) -> u64 {
        match self {
            Self::Above(quantity) => quantity.millis() + 1,
            Self::AtLeast(quantity) => quantity.millis(),
        }
    }
}

/// Minutes of the UTC day from `from` up to but not including `until`, over midnight where `until`
/// is the smaller. Neither empty nor the whole day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TimeOfDay {
    from: u16,
    until: u16,
}

/// Some days of the UTC week, neither none nor all: bit 0 is Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weekdays(u8);

impl Weekdays {
    /// As they are written, Monday first (ISO 8601).
    const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    /// All days.
    const ALL: u8 = 0b111_1111;
    /// 1 January 1970 was a Thursday.
    const FIRST: i64 = 3;

    /// Whether the day is one of them, counted from 1 January 1970.
    fn contains(self, day: i64) -> bool {
        self.0 & 1 << (day + Self::FIRST).rem_euclid(7) != 0
    }

    fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().enumerate().filter(move |(n, _)| self.0 & 1 << n != 0).map(|d| d.1)
    }
}

/// Minutes in a day.
const DAY: u16 = 1_440;
/// Milliseconds in a minute.
const MINUTE: i64 = 60_000;

impl TimeOfDay {
    fn contains(self, minute: u16) -> bool {
        Self::after(self.from, minute) < self.minutes()
    }

    /// Whether all of this is in `other`.
    fn is_within(self, other: Self) -> bool {
        Self::after(other.from, self.from) + self.minutes() <= other.minutes()
    }

    /// Its length, 1 to 1,439.
    fn minutes(self) -> u16 {
        Self::after(self.from, self.until)
    }

    /// Minutes from one time of day to the next time that it is another, 0 to 1,439.
    fn after(from: u16, to: u16) -> u16 {
        (to + DAY - from) % DAY
    }

    fn from_text(text: &str) -> Option<u16> {
        let (hours, minutes) = text.split_once(':')?;
        let two_digits = |part: &str, below: u16| {
            let value: u16 = part.parse().ok().filter(|value| *value < below)?;
            (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then_some(value)
        };
        Some(two_digits(hours, 24)? * 60 + two_digits(minutes, 60)?)
    }
}

/// What conditions are compared with.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub usage: &'a Usage,
    pub parameters: &'a Parameters,
    pub at: Timestamp,
}

impl Facts<'_> {
    /// Thousandths of a dimension or of [`PROMPT_TOKENS`]; what was not used is zero.
    fn millis(&self, name: &str) -> u64 {
        if name == PROMPT_TOKENS {
            let prompt = self.usage.iter().filter(|(dimension, _)| is_prompt_tokens(dimension));
            // Rating allows at most 32 quantities, whose sum is far from the end of 64 bits.
            prompt.fold(0, |sum, (_, quantity)| sum.saturating_add(quantity.millis()))
        } else {
            self.usage.get(name).map_or(0, |quantity| quantity.millis())
        }
    }
}

/// Whether a dimension is part of the prompt: `input_tokens`, `input_audio_tokens`,
/// `cache_read_tokens`, `cache_write_tokens` ...
pub(crate) fn is_prompt_tokens(dimension: &str) -> bool {
    (dimension.starts_with("input_") || dimension.starts_with("cache_"))
        && dimension.ends_with("_tokens")
}

impl Conditions {
    /// No conditions: what a row without `when` has.
    pub(super) const ALWAYS: &Self = &Self {
        equalities: BTreeMap::new(),
        thresholds: BTreeMap::new(),
        from: None,
        until: None,
        time_of_day: None,
        weekdays: None,
    };

    /// As canonical JSON text: equal conditions give the same text.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("the keys are texts and nothing else can fail")
    }

    /// From JSON text.
    ///
    /// # Errors
    /// Where the text is not JSON, or not the conditions that a table could have.
    pub fn from_text(text: &str) -> Result<Self, ConditionsError> {
        serde_json::from_str(text).map_err(|error| ConditionsError(error.to_string()))
    }

    /// The quantities that have thresholds, and the least thousandths that are enough.
    pub(crate) fn thresholds(&self) -> impl Iterator<Item = (&str, u64)> {
        self.thresholds.iter().map(|(name, threshold)| (name.as_str(), threshold.least()))
    }

    /// The parameters that must have a value, and which.
    pub const fn equalities(&self) -> &Parameters {
        &self.equalities
    }

    /// Whether all of them hold.
    pub(super) fn hold(&self, facts: &Facts<'_>) -> bool {
        self.equalities
            .iter()
            .all(|(name, value)| facts.parameters.get(name).is_some_and(|given| given == value))
            && self.thresholds.iter().all(|(name, t)| facts.millis(name) >= t.least())
            && self.hold_at(facts.at.millis())
    }

    /// The instants after `at`, up to `until` but at most a week of days, at which those on the time
    /// may begin or cease to hold.
    pub(crate) fn changes(
        &self,
        at: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = Timestamp> {
        let day = i64::from(DAY) * MINUTE;
        let daily = self.time_of_day.into_iter().flat_map(|time| [time.from, time.until]);
        let daily = daily.chain(self.weekdays.map(|_| 0)).flat_map(move |minute| {
            let after = (i64::from(minute) * MINUTE - at.millis() - 1).rem_euclid(day) + 1;
            let first = at.saturating_add_millis(after);
            (0..7).map(move |later| first.saturating_add_millis(later * day))
        });
        let within = move |time: &Timestamp| at < *time && *time <= until;
        self.from.into_iter().chain(self.until).chain(daily).filter(within)
    }

    /// Whether those on the time hold at an instant, in milliseconds since 1970.
    fn hold_at(&self, at: i64) -> bool {
        let minute = at.div_euclid(MINUTE).rem_euclid(i64::from(DAY));
        let day = at.div_euclid(MINUTE * i64::from(DAY));
        (self.begin()..self.end()).contains(&at)
            && self.weekdays.is_none_or(|days| days.contains(day))
            && self
                .time_of_day
                .is_none_or(|time| u16::try_from(minute).is_ok_and(|minute| time.contains(minute)))
    }

    /// The first millisecond of the window.
    fn begin(&self) -> i64 {
        self.from.unwrap_or(Timestamp::MIN).millis()
    }

    /// The first millisecond after the window.
    fn end(&self) -> i64 {
        self.until.map_or(Timestamp::MAX.millis() + 1, Timestamp::millis)
    }

    /// Whether `other` holds wherever this does: this has all its equalities, thresholds at least
    /// as high, and windows inside. A preorder; two rows that imply each other are the same.
    pub fn imply(&self, other: &Self) -> bool {
        other.equalities.iter().all(|(name, value)| self.equalities.get(name) == Some(value))
            && other.thresholds.iter().all(|(name, theirs)| {
                self.thresholds.get(name).is_some_and(|ours| ours.least() >= theirs.least())
            })
            && self.begin() >= other.begin()
            && self.end() <= other.end()
            && other
                .time_of_day
                .is_none_or(|theirs| self.time_of_day.is_some_and(|ours| ours.is_within(theirs)))
            && other
                .weekdays
                .is_none_or(|theirs| self.weekdays.is_some_and(|ours| ours.is_within(theirs)))
    }

    /// The conditions but those on the time, in a form in which equal means equivalent.
    pub(super) fn timeless(&self) -> Timeless<'_> {
        Timeless {
            equalities: self.equalities.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect(),
            thresholds: self.thresholds.iter().map(|(n, t)| (n.as_str(), t.least())).collect(),
        }
    }

    /// Whether there is an instant at which the times of all of `rows` hold and those of none of
    /// `but`.
    ///
    /// Only finitely many instants need a look. The wanted set is made of half-open windows, so
    /// where it is not empty it has a first instant, and there some window begins or ends. That is
    /// either a date, or a time of day on one of the days after the latest date before it: the
    /// first such day (were it a later one, the day before would be in the set as well), or with
    /// weekdays, which change at midnight, one of the first week.
    pub(super) fn some_instant(rows: &[&Self], but: &[&Self]) -> bool {
        const LATEST: i64 = Timestamp::MAX.millis();
        let all = || rows.iter().chain(but);
        let dates = ascending(all().flat_map(|row| [row.begin(), row.end()]));
        let by_weekday = all().any(|row| row.weekdays.is_some());
        let times_of_day = all()
            .filter_map(|row| row.time_of_day)
            .flat_map(|time| [time.from, time.until])
            .chain(by_weekday.then_some(0));
        let times_of_day = ascending(times_of_day.map(i64::from));
        let days = if by_weekday { 7 } else { 1 };
        let wanted = |at: i64| {
            at <= LATEST
                && rows.iter().all(|row| row.hold_at(at))
                && !but.iter().any(|row| row.hold_at(at))
        };
        dates.into_iter().any(|date| {
            wanted(date)
                || times_of_day.iter().any(|minute| {
                    let day = i64::from(DAY) * MINUTE;
                    let first = date + (minute * MINUTE - date).rem_euclid(day);
                    (0..days).any(|later| wanted(first + later * day))
                })
        })
    }

    /// Reads `when`. Everything wrong is reported; `None` where something is.
    pub(super) fn read(value: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let Some(object) = value.as_object() else {
            faults.wrong_type(at, value, "an object of conditions");
            return None;
        };
        if object.is_empty() {
            faults.invalid(at, "leave `when` out where a ratio always applies");
            return None;
        }
        if object.len() > MAX_CONDITIONS {
            faults.invalid(at, format_args!("at most {MAX_CONDITIONS} conditions"));
            return None;
        }
        let mut conditions = Self::default();
        let mut sound = true;
        for (name, value) in object {
            sound &= conditions.read_one(name, value, &at.key(name), faults).is_some();
        }
        if sound && !Self::some_instant(&[&conditions], &[]) {
            faults.invalid(at, "these times never hold");
            sound = false;
        }
        sound.then_some(conditions)
    }

    fn read_one(
        &mut self,
        name: &str,
        value: &Value,
        at: &Path<'_>,
        faults: &mut Faults,
    ) -> Option<()> {
        match (name, value) {
            (FROM, _) => self.from = Some(faults.parse(value, at)?),
            (UNTIL, _) => self.until = Some(faults.parse(value, at)?),
            (TIME_OF_DAY, _) => self.time_of_day = Some(read_time_of_day(value, at, faults)?),
            (WEEKDAYS, _) => self.weekdays = Some(read_weekdays(value, at, faults)?),
            _ if !is_name(name) => {
                faults.invalid(at, "a name has 1 to 64 characters of a-z 0-9 _, a letter first");
                return None;
            }
            (_, Value::Object(_)) => {
                self.thresholds.insert(name.to_owned(), read_threshold(value, at, faults)?);
            }
            (PROMPT_TOKENS, _) => {
                faults.wrong_type(at, value, "a threshold such as {\"gt\": 200000}");
                return None;
            }
            (_, Value::String(text)) if is_parameter_value(text) => {
                self.equalities.insert(name.to_owned(), text.clone());
            }
            (_, Value::String(_)) => {
                faults.invalid(at, "a parameter's value has 1 to 64 printable characters");
                return None;
            }
            _ => {
                faults.wrong_type(at, value, "a parameter's value as text, or a threshold");
                return None;
            }
        }
        Some(())
    }
}

/// Equalities and the least thousandths of thresholds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timeless<'a> {
    equalities: BTreeMap<&'a str, &'a str>,
    thresholds: BTreeMap<&'a str, u64>,
}

impl Timeless<'_> {
    /// What holds exactly where both hold, or `None` where no request can fulfil both.
    pub fn and(&self, other: &Self) -> Option<Self> {
        let at_odds = |(name, value): (&&str, &&str)| {
            self.equalities.get(*name).is_some_and(|ours| ours != value)
        };
        if other.equalities.iter().any(at_odds) {
            return None;
        }
        let mut both = self.clone();
        both.equalities.extend(&other.equalities);
        for (name, theirs) in &other.thresholds {
            let least = both.thresholds.entry(name).or_default();
            *least = (*least).max(*theirs);
        }
        Some(both)
    }
}

fn read_threshold(value: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<Threshold> {
    let object = faults.object(value, at, &["gt", "gte"])?;
    let (kind, key, bound): (fn(Quantity) -> Threshold, _, _) =
        match (object.get("gt"), object.get("gte")) {
            (Some(bound), None) => (Threshold::Above, "gt", bound),
            (None, Some(bound)) => (Threshold::AtLeast, "gte", bound),
            _ => {
                faults.invalid(at, "a threshold is either {\"gt\": n} or {\"gte\": n}");
                return None;
            }
        };
    let at = at.key(key);
    let quantity = match bound {
        Value::String(_) => faults.parse(bound, &at)?,
        Value::Number(number) if number.is_u64() => {
            let Some(quantity) = number.as_u64().and_then(Quantity::from_whole) else {
                faults.invalid(&at, "at most 12 digits");
                return None;
            };
            quantity
        }
        Value::Number(number) if number.is_i64() => {
            faults.invalid(&at, "a quantity is not negative");
            return None;
        }
        _ => {
            faults.wrong_type(&at, bound, "a quantity as an integer or a decimal string");
            return None;
        }
    };
    let threshold = kind(quantity);
    if threshold.least() == 0 {
        faults.invalid(&at, "every quantity is at least zero: leave this condition out");
        return None;
    }
    Some(threshold)
}

/// Each once.
fn ascending(values: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut values: Vec<i64> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn read_time_of_day(value: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<TimeOfDay> {
    let object = faults.object(value, at, &[FROM, UNTIL])?;
    let mut minute = |name| {
        let value = faults.required(object, at, name)?;
        let at = at.key(name);
        let text = faults.text(value, &at)?;
        let minute = TimeOfDay::from_text(text);
        if minute.is_none() {
            faults.invalid(&at, "write a time of day in UTC from \"00:00\" to \"23:59\"");
        }
        minute
    };
    let (from, until) = (minute(FROM), minute(UNTIL));
    let time = TimeOfDay { from: from?, until: until? };
    if time.minutes() == 0 {
        faults.invalid(at, "from and until are the same time of day");
        return None;
    }
    Some(time)
}

fn read_weekdays(value: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<Weekdays> {
    let mut days = 0;
    for (index, item) in faults.array(value, at, Weekdays::NAMES.len())?.iter().enumerate() {
        let at = at.index(index);
        let name = faults.text(item, &at)?;
        let Some(day) = Weekdays::NAMES.iter().position(|known| *known == name) else {
            faults.invalid(&at, format_args!("one of {:?}", Weekdays::NAMES));
            return None;
        };
        if days & 1 << day != 0 {
            faults.invalid(&at, "this day is listed twice");
            return None;
        }
        days |= 1 << day;
    }
    if days == 0 || days == Weekdays::ALL {
        faults.invalid(at, "one to six days: leave `weekdays` out for all of them");
        return None;
    }
    Some(Weekdays(days))
}

/// One condition as it is written in JSON.
enum Written<'a> {
    Equality(&'a str),
    Threshold(Threshold),
    Date(Timestamp),
    TimeOfDay(TimeOfDay),
    Weekdays(Weekdays),
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        match self {
            Self::Equality(value) => serializer.serialize_str(value),
            Self::Date(date) => date.serialize(serializer),
            Self::Weekdays(days) => serializer.collect_seq(days.names()),
            Self::Threshold(threshold) => {
                let mut map = serializer.serialize_map(Some(1))?;
                match threshold {
                    Threshold::Above(quantity) => map.serialize_entry("gt", quantity)?,
                    Threshold::AtLeast(quantity) => map.serialize_entry("gte", quantity)?,
                }
                map.end()
            }
            Self::TimeOfDay(window) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry(FROM, &time(window.from))?;
                map.serialize_entry(UNTIL, &time(window.until))?;
                map.end()
            }
        }
    }
}

/// In the order of the names, so that the text is canonical.
impl Serialize for Conditions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = BTreeMap::new();
        written.extend(self.equalities.iter().map(|(n, v)| (n.as_str(), Written::Equality(v))));
        written.extend(self.thresholds.iter().map(|(n, t)| (n.as_str(), Written::Threshold(*t))));
        written.extend(self.from.map(|date| (FROM, Written::Date(date))));
        written.extend(self.until.map(|date| (UNTIL, Written::Date(date))));
        written.extend(self.time_of_day.map(|time| (TIME_OF_DAY, Written::TimeOfDay(time))));
        written.extend(self.weekdays.map(|days| (WEEKDAYS, Written::Weekdays(days))));
        serializer.collect_map(written)
    }
}

impl<'de> Deserialize<'de> for Conditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let mut faults = Faults::default();
        faults.nulls(&value, &Path::ROOT);
        let conditions = Self::read(&value, &Path::ROOT, &mut faults);
        faults.into_result().map_err(serde::de::Error::custom)?;
        conditions.ok_or_else(|| serde::de::Error::custom("not conditions"))
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}
