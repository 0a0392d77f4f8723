//! What providers' responses say was used, as disjoint quantities.
//!
//! The same figure is a subset in one provider's body and stands beside the others in the next;
//! here every unit ends up in one dimension, the finest that the body tells. What is a subset is
//! taken out of its total, and what a body's details leave over is plain text. Figures that
//! contradict each other are refused: guessing would charge twice, or less than nothing.
//!
//! A response is an object, raw or trimmed to what is read (the model, the usage, the service
//! tier); the last event of a stream that tells its usage; or all events of a stream, as an array.
//! What a field means that is `null`, zero or not there, each provider's module says. A zero that
//! is told is a zero; a total that is not there is not known, and never counts as zero.
//!
//! A provider is a file with its mapping, its `Provider` and a table of cases, and a line in
//! `PROVIDERS`. Those that speak `OpenAI`'s Chat Completions say how they differ by a
//! `chat::Chat`.

mod anthropic;
mod azure;
mod bedrock;
mod body;
mod cerebras;
mod chat;
mod cohere;
mod compatible;
mod deepseek;
mod fireworks;
mod google;
mod groq;
mod huggingface;
mod mistral;
mod openai;
mod openrouter;
mod perplexity;
mod stream;
mod together;
mod tools;
mod xai;

use std::collections::btree_map::Entry;
use std::fmt;

use serde_json::Value;

use crate::Quantity;
use crate::ratios::{Parameters, Usage};

use body::Body;
use stream::Events;

/// The providers.
const PROVIDERS: &[Provider] = &[
    anthropic::PROVIDER,
    azure::PROVIDER,
    bedrock::PROVIDER,
    cerebras::PROVIDER,
    cohere::PROVIDER,
    deepseek::PROVIDER,
    fireworks::PROVIDER,
    google::PROVIDER,
    groq::PROVIDER,
    huggingface::PROVIDER,
    mistral::PROVIDER,
    openai::PROVIDER,
    openrouter::PROVIDER,
    perplexity::PROVIDER,
    together::PROVIDER,
    xai::PROVIDER,
];

/// How the responses of one provider are read, whichever of its APIs they come from.
struct Provider {
    /// As requests name it, and as it stands before the names of its models.
    name: &'static str,
    /// Other names that requests may give.
    aliases: &'static [&'static str],
    /// Reads a response, or the last event of a stream that tells its usage.
    read: fn(&Body<'_>) -> Result<ResponseUsage, ProviderError>,
    /// Reads all events of a stream.
    read_stream: fn(&Events<'_>) -> Result<ResponseUsage, ProviderError>,
    /// Bodies, and what is read of them.
    #[cfg(test)]
    cases: fn() -> Vec<tests::Case>,
}

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
        let names: Vec<_> = PROVIDERS.iter().map(|provider| provider.name).collect();
        f.write_str(&names.join(", "))
    }
}

fn provider(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|p| p.name == name || p.aliases.contains(&name))
}

/// The provider's own name, by which its models are qualified (`<provider>/<model>`), where `name`
/// is that or an alias of it.
pub fn canonical_name(name: &str) -> Option<&'static str> {
    provider(name).map(|provider| provider.name)
}

/// What `response`, an answer of `provider`, says was used. Which of the provider's APIs it comes
/// from is seen from the body.
///
/// A response is an object, which may be the last event of a stream that tells its usage, or the
/// array of all events of a stream: at most 100,000, each an object, at the end perhaps the text
/// `[DONE]`. Events of one stream are one response, but for `OpenAI`'s Realtime sessions: their
/// responses are added up.
///
/// # Errors
/// See [`ProviderError`].
pub fn usage_from_response(
    provider: &str,
    response: &Value,
) -> Result<ResponseUsage, ProviderError> {
    let Some(provider) = self::provider(provider) else {
        let provider = provider.chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(ProviderError::UnknownProvider { provider });
    };
    match response {
        Value::Object(fields) => (provider.read)(&Body::new(fields, String::new())),
        Value::Array(events) => (provider.read_stream)(&Events::read(events)?),
        _ => Err(missing("the response is not a JSON object, nor an array of a stream's events")),
    }
}

fn missing(detail: impl Into<String>) -> ProviderError {
    ProviderError::UsageMissing { detail: detail.into() }
}

fn contradictory(pointer: String, detail: impl Into<String>) -> ProviderError {
    ProviderError::Contradictory { detail: detail.into(), pointer }
}

impl ResponseUsage {
    /// What is read of `body` before its usage: the model that it names.
    fn of(body: &Body<'_>) -> Self {
        Self { model: body.model(), ..Self::default() }
    }

    /// Adds what was used of a dimension; nothing leaves no trace. Each dimension is added once.
    fn add(&mut self, dimension: &str, count: u64) {
        self.add_quantity(
            dimension,
            Quantity::from_whole(count).expect("counts are read within the limit"),
        );
    }

    /// As [`Self::add`], of what may be fractional.
    fn add_quantity(&mut self, dimension: &str, quantity: Quantity) {
        if !quantity.is_zero() {
            let before = self.usage.insert(dimension.to_owned(), quantity);
            assert!(before.is_none(), "{dimension} is counted once");
        }
    }

    fn set(&mut self, parameter: &str, value: Option<String>) {
        self.parameters.extend(value.map(|value| (parameter.to_owned(), value)));
    }

    /// Adds another response of the same model and parameters, which stands at `pointer`.
    fn add_response(&mut self, other: Self, pointer: &str) -> Result<(), ProviderError> {
        if other.model != self.model || other.parameters != self.parameters {
            return Err(contradictory(
                pointer.to_owned(),
                "the responses of a stream have other models or parameters: charge them one by one",
            ));
        }
        for (dimension, quantity) in other.usage {
            match self.usage.entry(dimension) {
                Entry::Vacant(entry) => {
                    entry.insert(quantity);
                }
                Entry::Occupied(mut entry) => {
                    let sum = entry.get().checked_add(quantity).ok_or_else(|| {
                        let detail = format!("the sum of {} is over 12 digits", entry.key());
                        contradictory(pointer.to_owned(), detail)
                    })?;
                    entry.insert(sum);
                }
            }
        }
        Ok(())
    }
}

/// The parameter that service tiers become: `batch`, `flex`, `priority` ... A tier that a table
/// doesn't know has the prices without a class.
const SERVICE_CLASS: &str = "service_class";

#[cfg(test)]
mod tests;
