//! [`Body`]: how fields of a response are read, and what is refused.

use serde_json::{Map, Number, Value};

use crate::Quantity;
use crate::ratios::{is_model_name, is_parameter_value};

use super::{ProviderError, contradictory, missing};

/// What a body tells of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// What prices have no condition for.
    Standard,
    Value(String),
}

impl Told {
    /// The parameter's value, where prices may have a condition for it.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Value(value) => Some(value),
            Self::Nothing | Self::Standard => None,
        }
    }
}

/// Values that leave open what was used: what was asked for, or that nobody knows.
const LEFT_OPEN: [&str; 6] = [
    "auto",
    "not_available",
    "unspecified",
    "UNSPECIFIED",
    "TRAFFIC_TYPE_UNSPECIFIED",
    "SERVICE_TIER_UNSPECIFIED",
];

/// An object within a response, and where it is. A field that is `null` counts as absent: the
/// providers write both.
#[derive(Clone)]
pub(super) struct Body<'a> {
    fields: &'a Map<String, Value>,
    /// With its escapes (RFC 6901).
    pointer: String,
    /// Where fields are looked for that are not here: an earlier event of the stream.
    under: Option<Box<Body<'a>>>,
}

impl<'a> Body<'a> {
    pub fn new(fields: &'a Map<String, Value>, pointer: String) -> Self {
        Body { fields, pointer, under: None }
    }

    /// This object, and where a field is not in it, the field of `under`.
    pub fn over(self, under: Self) -> Self {
        Body { under: Some(Box::new(under)), ..self }
    }

    pub fn get(&self, field: &str) -> Option<&'a Value> {
        let own = self.fields.get(field).filter(|value| !value.is_null());
        own.or_else(|| self.under.as_ref()?.get(field))
    }

    /// Whether a field is in this object itself.
    pub fn has_own(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|value| !value.is_null())
    }

    /// Whether `field` is from an object above that which `other` is from.
    pub fn has_above(&self, field: &str, other: &str) -> bool {
        if self.has_own(field) || self.has_own(other) {
            return !self.has_own(other);
        }
        self.under.as_ref().is_some_and(|under| under.has_above(field, other))
    }

    /// Whether a field is in this object, though it be `null`.
    pub fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// A text that may be absent; what is no text counts as absent.
    pub fn text(&self, field: &str) -> Option<&'a str> {
        self.get(field).and_then(Value::as_str)
    }

    /// The pointer of a field, or of where it should be.
    pub fn at(&self, field: &str) -> String {
        if let Some(under) = &self.under
            && !self.has_own(field)
            && under.get(field).is_some()
        {
            return under.at(field);
        }
        // Some readers go through all fields, whatever their names.
        format!("{}/{}", self.pointer, field.replace('~', "~0").replace('/', "~1"))
    }

    /// The pointer of a field that is there, whatever it is, or else of the object that lacks it.
    pub fn blame(&self, field: &str) -> String {
        if self.get(field).is_some() { self.at(field) } else { self.pointer.clone() }
    }

    /// Where this object is.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The names of the fields that are here.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.fields.keys().map(String::as_str)
    }

    /// An object that may be absent.
    pub fn object(&self, field: &str) -> Result<Option<Self>, ProviderError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.as_object() {
            Some(fields) => Ok(Some(Body::new(fields, self.at(field)))),
            None => Err(contradictory(self.at(field), format!("{field} is not an object"))),
        }
    }

    /// An object below this one that may be absent, as any object above it may.
    pub fn object_at(&self, path: &[&str]) -> Result<Option<Self>, ProviderError> {
        let mut found = self.clone();
        for field in path {
            let Some(next) = found.object(field)? else { return Ok(None) };
            found = next;
        }
        Ok(Some(found))
    }

    /// The first object that is there, of several spellings.
    pub fn first_object(&self, fields: &[&str]) -> Result<Option<Self>, ProviderError> {
        match fields.iter().find(|field| self.get(field).is_some()) {
            Some(field) => self.object(field),
            None => Ok(None),
        }
    }

    /// An object that gateways write by several names, of several APIs. Where all that one counts is
    /// zero, it was filled in and tells nothing; else what two of them count they must count the same.
    pub fn one_object(&self, fields: &[&str]) -> Result<Option<Self>, ProviderError> {
        let mut told: Option<Self> = None;
        for field in fields {
            let Some(further) = self.object(field)? else { continue };
            told = Some(match told {
                Some(told) if !further.counts_something() => told,
                Some(told) if told.counts_something() => told.and_also(further)?,
                _ => further,
            });
        }
        Ok(told)
    }

    /// What both say, and count the same.
    fn and_also(self, further: Self) -> Result<Self, ProviderError> {
        for name in further.names() {
            let is_count = |body: &Self| body.get(name).is_some_and(Value::is_number);
            if !is_count(&self) || !is_count(&further) {
                continue;
            }
            let [first, second] = [self.count_or_zero(name)?, further.count_or_zero(name)?];
            if first != second {
                let detail = format!("{name} is {second}, but {first} at {}", self.at(name));
                return Err(contradictory(further.at(name), detail));
            }
        }
        Ok(further.over(self))
    }

    /// Whether a number here is not zero.
    fn counts_something(&self) -> bool {
        let is_zero = |number: &Number| number.as_u64() == Some(0);
        let own = self.fields.values().filter_map(Value::as_number).any(|number| !is_zero(number));
        own || self.under.as_ref().is_some_and(|under| under.counts_something())
    }

    /// The objects of a list that may be absent.
    pub fn list(&self, field: &str) -> Result<Vec<Self>, ProviderError> {
        let Some(value) = self.get(field) else { return Ok(Vec::new()) };
        let pointer = self.at(field);
        let Some(items) = value.as_array() else {
            return Err(contradictory(pointer, format!("{field} is not an array")));
        };
        let object = |(index, item): (usize, &'a Value)| {
            let pointer = format!("{pointer}/{index}");
            match item.as_object() {
                Some(fields) => Ok(Body::new(fields, pointer)),
                None => {
                    Err(contradictory(pointer, format!("{field} has an item that is no object")))
                }
            }
        };
        items.iter().enumerate().map(object).collect()
    }

    /// A count that may be absent: an integer, not negative, at most 12 digits.
    pub fn count(&self, field: &str) -> Result<Option<u64>, ProviderError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let count = value.as_u64().filter(|count| Quantity::from_whole(*count).is_some());
        match count {
            Some(count) => Ok(Some(count)),
            None => Err(contradictory(
                self.at(field),
                format!("{field} is not an integer from 0 to 999999999999"),
            )),
        }
    }

    /// A count that is zero where it is absent.
    pub fn count_or_zero(&self, field: &str) -> Result<u64, ProviderError> {
        Ok(self.count(field)?.unwrap_or(0))
    }

    /// A count without which the usage is not known.
    pub fn required_count(&self, field: &str) -> Result<u64, ProviderError> {
        self.count(field)?.ok_or_else(|| missing(format!("the response has no {}", self.at(field))))
    }

    /// A measure such as seconds, which may be fractional and may be absent: the decimal that is
    /// written, rounded up to thousandths.
    pub fn measure(&self, field: &str) -> Result<Option<Quantity>, ProviderError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.as_number().and_then(quantity_rounded_up) {
            Some(quantity) => Ok(Some(quantity)),
            None => Err(contradictory(
                self.at(field),
                format!("{field} is not a number from 0, of at most 12 digits"),
            )),
        }
    }

    /// As [`Self::measure`], of what may be written as a text too.
    pub fn measure_or_text(&self, field: &str) -> Result<Option<Quantity>, ProviderError> {
        let number = self.text(field).and_then(|text| text.parse::<Number>().ok());
        match number.as_ref().and_then(quantity_rounded_up) {
            Some(quantity) => Ok(Some(quantity)),
            None => self.measure(field),
        }
    }

    /// Counts that are parts of `total`, together at most as much; those absent are zero.
    pub fn parts<const N: usize>(
        &self,
        fields: [&str; N],
        total: u64,
        of: &str,
    ) -> Result<[u64; N], ProviderError> {
        let mut parts = [0; N];
        let mut sum = 0_u64;
        for (part, field) in parts.iter_mut().zip(fields) {
            *part = self.count_or_zero(field)?;
            sum += *part;
            if sum > total {
                return Err(contradictory(
                    self.at(field),
                    format!("the parts of {of} up to {field} are {sum}, more than its {total}"),
                ));
            }
        }
        Ok(parts)
    }

    /// A total that, where it is there, must be the sum of its parts.
    pub fn check_total(&self, field: &str, sum: u64) -> Result<(), ProviderError> {
        match self.count(field)? {
            Some(total) if total != sum => Err(contradictory(
                self.at(field),
                format!("{field} is {total}, but its parts are {sum}"),
            )),
            _ => Ok(()),
        }
    }

    /// A text that becomes a parameter, unless it is one of `standard`.
    pub fn parameter(&self, field: &str, standard: &[&str]) -> Result<Told, ProviderError> {
        let Some(value) = self.get(field) else { return Ok(Told::Nothing) };
        match value.as_str() {
            Some(text) if standard.contains(&text) => {
                Ok(if LEFT_OPEN.contains(&text) { Told::Nothing } else { Told::Standard })
            }
            Some(text) if is_parameter_value(text) => Ok(Told::Value(text.to_owned())),
            _ => Err(contradictory(
                self.at(field),
                format!("{field} is not a text of 1 to 64 printable characters"),
            )),
        }
    }

    /// The model that the body names, where a table could know it.
    pub fn model(&self) -> Option<String> {
        self.text("model").filter(|model| is_model_name(model)).map(str::to_owned)
    }

    /// Whether this is what providers answer instead of a response: the ways of all of them to
    /// say so, none of which a response has.
    pub fn is_error(&self) -> bool {
        let kind = |field| matches!(self.text(field), Some("error"));
        kind("type")
            || kind("object")
            || ["error", "errors", "__type", "detail"].iter().any(|field| self.get(field).is_some())
            || self.text("message").is_some()
    }

    /// Why a response without usage can't be charged; `hint` says where the usage would be.
    pub fn no_usage(&self, hint: &str) -> ProviderError {
        if self.is_error() {
            missing("the response is an error and has no usage: nothing was used or charged")
        } else {
            missing(format!("the response has no usage; {hint}"))
        }
    }
}

/// The number's shortest decimal text, read without float arithmetic. `None` where it is negative
/// or over the limit.
fn quantity_rounded_up(number: &Number) -> Option<Quantity> {
    if let Some(whole) = number.as_u64() {
        return Quantity::from_whole(whole);
    }
    let text = number.to_string();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    // digits * 10^-places, in thousandths.
    let shift = 3_i32.checked_sub(places)?;
    let millis = if shift >= 0 {
        digits.checked_mul(10_u128.checked_pow(shift.unsigned_abs())?)?
    } else {
        // What no power of ten holds is less than a thousandth, or nothing.
        match 10_u128.checked_pow(shift.unsigned_abs()) {
            Some(divisor) => digits.div_ceil(divisor),
            None => u128::from(digits > 0),
        }
    };
    let millis = u64::try_from(millis).ok()?;
    // The more digits before the point, the fewer behind it: up to the next that can be held.
    [1, 10, 100, 1_000]
        .into_iter()
        .find_map(|unit: u64| Quantity::from_millis(millis.div_ceil(unit).checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn measures_are_the_decimal_that_is_written() {
        for (written, expected) in [
            ("7", Some("7")),
            ("7.3", Some("7.3")),
            ("0.1", Some("0.1")),
            ("0.30000000000000004", Some("0.301")),
            ("59.9995", Some("60")),
            ("1e-7", Some("0.001")),
            ("1e-300", Some("0.001")),
            ("0.0", Some("0")),
            ("-0.0", None),
            ("1.5e3", Some("1500")),
            ("123456789012.0", Some("123456789012")),
            ("12345678901.25", Some("12345678901.3")),
            ("999999999999", Some("999999999999")),
            ("999999999999.5", None),
            ("1e300", None),
            ("-1", None),
            ("-7.3", None),
        ] {
            let number: Number = serde_json::from_str(written).unwrap();
            let read = quantity_rounded_up(&number).map(|quantity| quantity.to_string());
            assert_eq!(read.as_deref(), expected, "{written}");
        }
    }

    #[test]
    fn a_field_is_read_from_the_uppermost_that_has_it() {
        let events = json!([{"a": 1, "b": 2, "c": {"d": 3}}, {"a": 4, "b": null}]);
        let body =
            |index: usize| Body::new(events[index].as_object().unwrap(), format!("/{index}"));
        let both = body(1).over(body(0));
        assert_eq!(both.count("a").unwrap(), Some(4));
        assert_eq!(both.count("b").unwrap(), Some(2));
        let inner = both.object("c").unwrap().unwrap();
        for (pointer, expected) in [
            (both.at("a"), "/1/a"),
            (both.at("b"), "/0/b"),
            (both.at("e"), "/1/e"),
            (inner.at("d"), "/0/c/d"),
        ] {
            assert_eq!(pointer, expected);
        }
    }
}
