//! Reading a document strictly: everything that is wrong with it, and where.
//!
//! Readers return `None` for what can't be used and go on, so that an administrator sees all
//! faults at once. A `null` is reported once, by [`Faults::nulls`], and by nobody else.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde_json::{Map, Value};

/// Most faults that are listed; the last one says that there are more.
const MAX_FAULTS: usize = 1_000;
/// Most characters of a key or value that a fault repeats: a document of one huge key must not
/// come back a thousand times.
const MAX_ECHO: usize = 128;

/// One thing that is wrong with a table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// Where, as a JSON pointer (RFC 6901) into what was given. Of a missing field the place where
    /// it should be.
    pub pointer: String,
    /// What is wrong, in one sentence for the administrator.
    pub detail: String,
}

/// Why a document is no ratio table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Something is missing; every missing field is listed (`ratios_incomplete`). What else is
    /// wrong is told when nothing is missing.
    #[error("the ratio table is incomplete: {}", Listed(.0))]
    Incomplete(Vec<Fault>),
    /// Nothing is missing, but something can't stand (`ratios_invalid`); every fault is listed.
    #[error("the ratio table is invalid: {}", Listed(.0))]
    Invalid(Vec<Fault>),
}

impl TableError {
    /// What is wrong, never empty, at most 1,000.
    pub fn faults(&self) -> &[Fault] {
        match self {
            Self::Incomplete(faults) | Self::Invalid(faults) => faults,
        }
    }
}

/// Everything that keeps a document from being a ratio table, both kinds at once: what an
/// administrator still has to do. At least one is not empty; at most 1,000 of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// What is missing.
    pub missing: Vec<Fault>,
    /// What is there, but can't stand. More may come up once nothing is missing.
    pub invalid: Vec<Fault>,
}

impl From<Findings> for TableError {
    fn from(findings: Findings) -> Self {
        if findings.missing.is_empty() {
            Self::Invalid(findings.invalid)
        } else {
            Self::Incomplete(findings.missing)
        }
    }
}

/// The first fault and the number of the others.
struct Listed<'a>(&'a [Fault]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [first, others @ ..] = self.0 {
            write!(f, "{}: {}", first.pointer, first.detail)?;
            if !others.is_empty() {
                write!(f, " (and {} more)", others.len())?;
            }
        }
        Ok(())
    }
}

/// A place in a document, as a chain on the stack: nothing is written out unless there is a fault.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    /// The place above and the last step; `None` is the root.
    step: Option<(&'a Path<'a>, Step<'a>)>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub const ROOT: Path<'static> = Path { step: None };

    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { step: Some((self, Step::Key(key))) }
    }

    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path { step: Some((self, Step::Index(index))) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((parent, step)) = self.step else { return Ok(()) };
        parent.fmt(f)?;
        f.write_char('/')?;
        match step {
            Step::Index(index) => write!(f, "{index}"),
            Step::Key(key) => {
                for c in echo(key).chars() {
                    match c {
                        '~' => f.write_str("~0")?,
                        '/' => f.write_str("~1")?,
                        c => f.write_char(c)?,
                    }
                }
                Ok(())
            }
        }
    }
}

/// The beginning of a text from outside, without control characters.
pub(super) fn echo(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_ECHO).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.replace(char::is_control, "\u{fffd}")
}

/// Collects all faults of a document.
#[derive(Default)]
pub(super) struct Faults {
    missing: Vec<Fault>,
    invalid: Vec<Fault>,
}

impl Faults {
    /// A field is not there or `null`.
    pub fn missing(&mut self, at: &Path<'_>, detail: impl fmt::Display) {
        push(&mut self.missing, at, detail);
    }

    /// A field is there, but can't stand.
    pub fn invalid(&mut self, at: &Path<'_>, detail: impl fmt::Display) {
        push(&mut self.invalid, at, detail);
    }

    /// A value has another type than `expected`. A `null` has been reported as missing before.
    pub fn wrong_type(&mut self, at: &Path<'_>, value: &Value, expected: &str) {
        let found = match value {
            Value::Null => return,
            Value::Bool(_) => "a boolean",
            Value::Number(number) if number.is_f64() => "a number with a fraction or exponent",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        self.invalid(at, format_args!("write {expected}, not {found}"));
    }

    /// Reports every `null` in a document as missing.
    pub fn nulls(&mut self, value: &Value, at: &Path<'_>) {
        match value {
            Value::Null => self.missing(at, "fill this field: null is no value"),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.nulls(item, &at.index(index));
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    self.nulls(field, &at.key(name));
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// An object that has no other fields than `known`.
    pub fn object<'v>(
        &mut self,
        value: &'v Value,
        at: &Path<'_>,
        known: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        let object = self.any_object(value, at)?;
        for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
            self.invalid(&at.key(name), format_args!("unknown field; known are {known:?}"));
        }
        Some(object)
    }

    /// An object whose keys are data.
    pub fn any_object<'v>(
        &mut self,
        value: &'v Value,
        at: &Path<'_>,
    ) -> Option<&'v Map<String, Value>> {
        let object = value.as_object();
        if object.is_none() {
            self.wrong_type(at, value, "an object");
        }
        object
    }

    /// A field that must be there.
    pub fn required<'v>(
        &mut self,
        object: &'v Map<String, Value>,
        at: &Path<'_>,
        name: &str,
    ) -> Option<&'v Value> {
        let field = object.get(name);
        if field.is_none() {
            self.missing(&at.key(name), "missing field");
        }
        field
    }

    /// An array of at most `limit` items.
    pub fn array<'v>(
        &mut self,
        value: &'v Value,
        at: &Path<'_>,
        limit: usize,
    ) -> Option<&'v [Value]> {
        let Some(items) = value.as_array() else {
            self.wrong_type(at, value, "an array");
            return None;
        };
        if items.len() > limit {
            self.invalid(at, format_args!("at most {limit} items"));
            return None;
        }
        Some(items)
    }

    /// A text.
    pub fn text<'v>(&mut self, value: &'v Value, at: &Path<'_>) -> Option<&'v str> {
        let text = value.as_str();
        if text.is_none() {
            self.wrong_type(at, value, "a string");
        }
        text
    }

    /// A text that `T` reads: never a number, for a JSON number may have been rounded before.
    pub fn parse<T: FromStr<Err: fmt::Display>>(
        &mut self,
        value: &Value,
        at: &Path<'_>,
    ) -> Option<T> {
        match self.text(value, at)?.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.invalid(at, error);
                None
            }
        }
    }

    /// Whether as many are listed as will be: there is no use in looking on.
    pub fn is_full(&self) -> bool {
        self.invalid.len() >= MAX_FAULTS
    }

    /// What is missing first; else what is invalid; else nothing is wrong.
    pub fn into_result(self) -> Result<(), TableError> {
        Ok(self.into_findings()?)
    }

    /// All that is missing and invalid; else nothing is wrong.
    pub fn into_findings(self) -> Result<(), Findings> {
        let Self { missing, invalid } = self;
        if missing.is_empty() && invalid.is_empty() {
            return Ok(());
        }
        Err(Findings { missing, invalid })
    }
}

fn push(faults: &mut Vec<Fault>, at: &Path<'_>, detail: impl fmt::Display) {
    if faults.len() < MAX_FAULTS {
        faults.push(Fault { pointer: at.to_string(), detail: detail.to_string() });
    } else if let Some(last) = faults.last_mut().filter(|last| !last.detail.ends_with(MORE)) {
        last.detail.push_str(MORE);
    }
}

/// What the last fault says where there are more.
const MORE: &str = " (there are more faults, which are not listed)";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ratios::RatioTable;

    #[test]
    fn a_draft_tells_both_what_is_missing_and_what_is_wrong() {
        let pointers = |faults: &[Fault]| -> Vec<String> {
            faults.iter().map(|fault| fault.pointer.clone()).collect()
        };
        let check = |draft: Value, missing: &[&str], invalid: &[&str]| {
            let findings = RatioTable::examine(&draft).unwrap_err();
            assert_eq!(pointers(&findings.missing), missing, "{draft}");
            assert_eq!(pointers(&findings.invalid), invalid, "{draft}");
            // Publishing tells one of the two, as ever.
            let told = RatioTable::from_json(&draft).unwrap_err();
            let first = if missing.is_empty() { invalid } else { missing };
            assert_eq!(pointers(told.faults()), first, "{draft}");
            assert_eq!(matches!(told, TableError::Incomplete(_)), !missing.is_empty());
        };
        check(json!({}), &["/credit", "/groups", "/features", "/models"], &[]);
        check(json!([]), &[], &[""]);
        let mut draft = json!({
            "credit": {"scale": null, "rounding": "sideways"}, "groups": {"pro": "10"},
            "features": {"text": {"dimensions": ["input_tokens"]}},
            "models": {"a": {"feature": "text", "ratios": [{"dimension": "input_tokens", "per": 7}]}},
        });
        check(
            draft.clone(),
            &["/credit/scale", "/groups/default", "/models/a/ratios/0/credits"],
            &["/credit/rounding", "/groups/pro", "/models/a/ratios/0/per"],
        );
        draft["credit"] = json!({"scale": 4, "rounding": "up"});
        draft["groups"] = json!({"default": "1"});
        draft["models"]["a"]["ratios"][0]["credits"] = json!("1");
        check(draft.clone(), &[], &["/models/a/ratios/0/per"]);
        draft["models"]["a"]["ratios"][0]["per"] = json!(1000);
        assert_eq!(RatioTable::examine(&draft), Ok(RatioTable::from_json(&draft).unwrap()));
    }
}
