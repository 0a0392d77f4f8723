//! What providers' responses say was used, as disjoint quantities.
//!
//! The same figure is a subset in one provider's body and stands beside the others in the next;
//! here every unit ends up in one dimension. What is a subset is taken out of its total, and what
//! a body's details leave over is plain text. Figures that contradict each other are refused:
//! guessing would charge twice, or less than nothing.
//!
//! A provider is a file with its mapping and a table of cases, and a line in `PROVIDERS`. Bodies
//! may be raw or trimmed to what is read: the model, the usage, the service tier.

mod anthropic;
mod google;
mod openai;

use std::fmt;

use serde_json::{Map, Value};

use crate::Quantity;
use crate::ratios::{Parameters, Usage, is_model_name, is_parameter_value};

/// The providers, by the name that requests give.
const PROVIDERS: &[(&str, Reader)] =
    &[("anthropic", anthropic::read), ("google", google::read), ("openai", openai::read)];

type Reader = fn(&Body<'_>) -> Result<ResponseUsage, ProviderError>;

/// What a response says was used, in the terms of ratio tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseUsage {
    /// The model that the body names, where that could be in a table.
    pub model: Option<String>,
    /// Disjoint quantities; none is zero.
    pub usage: Usage,
    /// What prices may depend on, such as `service_class`; what is the standard is left out.
    pub parameters: Parameters,
}

/// Why a response's usage can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// No such provider.
    #[error("unknown provider; known are {}", Known)]
    UnknownProvider {
        /// As the request named it, shortened.
        provider: String,
    },
    /// The body doesn't say what was used: it is an error, a part of a stream, or too much was cut
    /// away. It never counts as nothing used.
    #[error("{detail}")]
    UsageMissing {
        /// What is not there.
        detail: String,
    },
    /// The body's figures can't all be true.
    #[error("{detail}")]
    Contradictory {
        /// What can't be.
        detail: String,
        /// Where, as a JSON pointer (RFC 6901) into the body.
        pointer: String,
    },
}

/// The known providers, for people.
struct Known;

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = PROVIDERS.iter().map(|(name, _)| *name).collect();
        f.write_str(&names.join(", "))
    }
}

/// What `body`, a response of `provider` (`anthropic`, `openai`), says was used. Which of the
/// provider's APIs it comes from is seen from the body.
///
/// # Errors
/// See [`ProviderError`].
pub fn usage_from_response(provider: &str, body: &Value) -> Result<ResponseUsage, ProviderError> {
    let Some((_, read)) = PROVIDERS.iter().find(|(name, _)| *name == provider) else {
        let provider = provider.chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(ProviderError::UnknownProvider { provider });
    };
    let Some(body) = body.as_object() else {
        return Err(missing("the response is not a JSON object"));
    };
    read(&Body { fields: body, pointer: String::new() })
}

fn missing(detail: impl Into<String>) -> ProviderError {
    ProviderError::UsageMissing { detail: detail.into() }
}

fn contradictory(pointer: String, detail: impl Into<String>) -> ProviderError {
    ProviderError::Contradictory { detail: detail.into(), pointer }
}

/// An object within a response, and where it is. A field that is `null` counts as absent: the
/// providers write both.
struct Body<'a> {
    fields: &'a Map<String, Value>,
    /// Of the readers' own field names only, which need no escapes.
    pointer: String,
}

impl<'a> Body<'a> {
    fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    fn at(&self, field: &str) -> String {
        format!("{}/{field}", self.pointer)
    }

    /// An object that may be absent.
    fn object(&self, field: &str) -> Result<Option<Self>, ProviderError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.as_object() {
            Some(fields) => Ok(Some(Body { fields, pointer: self.at(field) })),
            None => Err(contradictory(self.at(field), format!("{field} is not an object"))),
        }
    }

    /// A count that may be absent: an integer, not negative, at most 12 digits.
    fn count(&self, field: &str) -> Result<Option<u64>, ProviderError> {
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
    fn count_or_zero(&self, field: &str) -> Result<u64, ProviderError> {
        Ok(self.count(field)?.unwrap_or(0))
    }

    /// A count without which the usage is not known.
    fn required_count(&self, field: &str) -> Result<u64, ProviderError> {
        self.count(field)?.ok_or_else(|| missing(format!("the response has no {}", self.at(field))))
    }

    /// Counts that are parts of `total`, together at most as much; those absent are zero.
    fn parts<const N: usize>(
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
    fn check_total(&self, field: &str, sum: u64) -> Result<(), ProviderError> {
        match self.count(field)? {
            Some(total) if total != sum => Err(contradictory(
                self.at(field),
                format!("{field} is {total}, but its parts are {sum}"),
            )),
            _ => Ok(()),
        }
    }

    /// A text that becomes a parameter, unless it is one of `standard`.
    fn parameter(&self, field: &str, standard: &[&str]) -> Result<Option<String>, ProviderError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.as_str() {
            Some(text) if standard.contains(&text) => Ok(None),
            Some(text) if is_parameter_value(text) => Ok(Some(text.to_owned())),
            _ => Err(contradictory(
                self.at(field),
                format!("{field} is not a text of 1 to 64 printable characters"),
            )),
        }
    }

    /// The model that the body names, where a table could know it.
    fn model(&self) -> Option<String> {
        self.get("model").and_then(Value::as_str).filter(|m| is_model_name(m)).map(str::to_owned)
    }
}

impl ResponseUsage {
    /// Adds what was used of a dimension; nothing leaves no trace.
    fn add(&mut self, dimension: &str, count: u64) {
        if count > 0 {
            let quantity = Quantity::from_whole(count).expect("counts are read within the limit");
            let before = self.usage.insert(dimension.to_owned(), quantity);
            assert!(before.is_none(), "{dimension} is counted once");
        }
    }

    fn set(&mut self, parameter: &str, value: Option<String>) {
        self.parameters.extend(value.map(|value| (parameter.to_owned(), value)));
    }
}

/// The parameter that service tiers become: `batch`, `flex`, `priority` ... A tier that a table
/// doesn't know has the prices without a class.
const SERVICE_CLASS: &str = "service_class";

#[cfg(test)]
mod tests;
