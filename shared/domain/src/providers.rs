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
mod batch;
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

use std::collections::BTreeSet;
use std::{fmt, iter, mem};

use serde_json::Value;

use crate::Quantity;
use crate::ratios::{Parameters, Usage};

use body::{Body, Told};
use stream::Events;
pub(crate) use tools::own_dimension;

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
    google::VERTEX_AI,
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
///
/// Prices go by the prompt of a request, so what was asked of a model several times is never added
/// up here: each time is rated on its own, the sum of the lines is the response's price.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseUsage {
    /// The model that the body names, where that could be in a table.
    pub model: Option<String>,
    /// Disjoint quantities; none is zero.
    pub usage: Usage,
    /// What prices may depend on, such as `service_class`; what is the standard is left out.
    pub parameters: Parameters,
    /// The parameters that the body says are the standard.
    pub standard: BTreeSet<&'static str>,
    /// Whether this is a further step of the request before it, in [`further`](Self::further), and
    /// so no request of its own.
    pub is_step: bool,
    /// What else the body tells, each to be rated on its own: other responses, further steps of
    /// the same one, what other models did for it. Of these none has any further ones.
    pub further: Vec<Self>,
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

/// Whose names count where the table has none of a provider's own: Google sells its models twice,
/// by its Gemini API and by Vertex AI, some of them at different prices.
const ELSE_OF: [(&str, &str); 1] = [(google::VERTEX_AI.name, google::PROVIDER.name)];

/// The names to look for where a response of `provider`, by its own name, says that `model` answered,
/// the most exact first: qualified by the provider, as two sell the same model at different prices,
/// and as it is; then both without the collection it is in (`models/..`), as Google has it.
///
/// A router names the models of others by their owner, and such a name as it is means what the owner
/// sells: `google/gemma-3`, which is free of charge there, or `deepseek/deepseek-r1` for
/// `deepseek/deepseek-r1:free`. So it is looked for as the router's alone, where the owner is known,
/// or it is a name of `OpenRouter`, whose owners all sell.
pub fn names_of(provider: &str, model: &str) -> Vec<String> {
    let also = ELSE_OF.iter().filter(|(own, _)| *own == provider).map(|(_, also)| *also);
    let providers: Vec<&str> = iter::once(provider).chain(also).collect();
    let within = within_collection(model);
    let names = iter::once(model).chain(within);
    let of_name = |name: &str| {
        // Whose model it is stands before it where it is sold by another name of the same seller.
        let own = ELSE_OF.iter().filter(|(own, _)| *own == provider);
        let own = own.filter_map(|(own, also)| {
            Some(format!("{own}/{}", name.strip_prefix(also)?.strip_prefix('/')?))
        });
        let qualified = providers.iter().map(|provider| format!("{provider}/{name}"));
        let owner = name.split_once('/').and_then(|(owner, _)| canonical_name(owner));
        let of_another = owner
            .map_or(provider == openrouter::PROVIDER.name, |owner| !providers.contains(&owner));
        let as_it_is = Some(name.to_owned()).filter(|_| !of_another);
        qualified.chain(own).chain(as_it_is).collect::<Vec<_>>()
    };
    names.flat_map(of_name).collect()
}

/// Whose response has a model of these names, where they are as [`names_of`] gives them, and the
/// model as the response named it.
pub fn told_by(names: &[String]) -> Option<(&'static str, &str)> {
    let (provider, model) = names.first()?.split_once('/')?;
    let provider = canonical_name(provider)?;
    (names_of(provider, model) == names).then_some((provider, model))
}

/// The names to look for, by another table, where a response of `provider` had a model of `name`, one
/// of [`names_of`] what the response said.
pub fn names_again(provider: &str, name: &str) -> Vec<String> {
    let also = ELSE_OF.iter().filter(|(own, _)| *own == provider).map(|(_, also)| *also);
    let of = |provider: &str| name.strip_prefix(provider)?.strip_prefix('/');
    let model = iter::once(provider).chain(also).find_map(of).unwrap_or(name);
    names_of(provider, model)
}

/// A model's name within the collection that is written before it: `models/..`,
/// `publishers/google/models/..`.
fn within_collection(name: &str) -> Option<&str> {
    name.rsplit_once("models/").map(|(_, name)| name)
}

/// What `response`, an answer of `provider`, says was used. Which of the provider's APIs it comes
/// from is seen from the body.
///
/// A response is an object, which may be the last event of a stream that tells its usage, or the
/// array of all events of a stream: at most 100,000, each an object, at the end perhaps the text
/// `[DONE]`. Events of one stream are one response, but for `OpenAI`'s Realtime sessions, whose
/// responses are read one by one. Events of several responses are refused: which of them would
/// count can't be told. A line of a batch's results is read as the response within it; an array of
/// such lines is as many responses.
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
        Value::Object(fields) => {
            let body = Body::new(fields, String::new());
            match batch::response(&body)? {
                Some(response) => of_batch(provider, &response),
                None => (provider.read)(&body),
            }
        }
        Value::Array(events) => match batch::responses(events)? {
            None => (provider.read_stream)(&Events::read(events)?),
            Some(responses) => {
                let mut read = responses.iter().map(|response| of_batch(provider, response));
                let mut sum = read.next().expect("there are lines")?;
                for read in read {
                    sum.add_further(read?);
                }
                Ok(sum)
            }
        },
        _ => Err(missing("the response is not a JSON object, nor an array of a stream's events")),
    }
}

/// Reads the response of a line of a batch.
fn of_batch(provider: &Provider, response: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    let mut read = (provider.read)(response)?;
    let further = read.further.iter_mut().map(|further| &mut further.parameters);
    for parameters in iter::once(&mut read.parameters).chain(further) {
        parameters.entry(SERVICE_CLASS.to_owned()).or_insert_with(|| batch::CLASS.to_owned());
    }
    Ok(read)
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

    /// Another of the same model and parameters, of which nothing was used yet.
    fn empty(&self) -> Self {
        let (model, parameters) = (self.model.clone(), self.parameters.clone());
        Self { model, parameters, standard: self.standard.clone(), ..Self::default() }
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

    fn set(&mut self, parameter: &'static str, told: Told) {
        match told {
            Told::Nothing => {}
            Told::Standard => {
                self.standard.insert(parameter);
            }
            Told::Value(value) => {
                self.parameters.insert(parameter.to_owned(), value);
            }
        }
    }

    /// The parameters, with what a request says of them: `said` may tell more than the body does,
    /// and not otherwise.
    ///
    /// # Errors
    /// The name of a parameter that the body contradicts.
    pub fn parameters_with<'a>(&self, said: &'a Parameters) -> Result<Parameters, &'a str> {
        let mut parameters = self.parameters.clone();
        for (name, value) in said {
            if !self.agrees(name, value) {
                return Err(name);
            }
            // What was left to the provider is as the body tells.
            parameters.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Ok(parameters)
    }

    /// Whether a parameter can have this value by what the body tells of it. What it tells was
    /// really used; but of a batch many bodies say that it was the standard.
    fn agrees(&self, parameter: &str, value: &str) -> bool {
        match self.parameters.get(parameter) {
            Some(told) => told == value || value == LEFT_TO_PROVIDER,
            None if !self.standard.contains(parameter) => true,
            None => {
                STANDARD.contains(&value) || (parameter == SERVICE_CLASS && value == batch::CLASS)
            }
        }
    }

    /// Adds another response, or a further step of this one, with all that it has.
    fn add_further(&mut self, mut other: Self) {
        let further = mem::take(&mut other.further);
        self.further.push(other);
        self.further.extend(further);
    }

    /// All that was asked of models, in order: this, and what is further.
    pub fn requests(&self) -> impl Iterator<Item = &Self> {
        iter::once(self).chain(&self.further)
    }
}

/// How requests may call what is the standard of a parameter.
const STANDARD: [&str; 7] =
    ["standard", "standard_only", "default", LEFT_TO_PROVIDER, "on_demand", "global", "1g"];

/// What a request asks for that lets the provider choose: it contradicts nothing.
const LEFT_TO_PROVIDER: &str = "auto";

/// The parameter that service tiers become: `batch`, `flex`, `priority` ... A tier that a table
/// doesn't know has the prices without a class.
const SERVICE_CLASS: &str = "service_class";

#[cfg(test)]
mod tests;
