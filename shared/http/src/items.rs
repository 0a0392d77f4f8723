//! What is to be priced, in the body of an estimate or a charge.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use uc_domain::providers::{canonical_name, usage_from_response};
use uc_domain::ratios::{
    Multiplier, Parameters, Rated, RatioTable, Request, Usage, is_model_name, is_name,
    is_parameter_value,
};
use uc_domain::{Quantity, Timestamp};
use uc_ledger::UnratedItem;
use utoipa::ToSchema;

use crate::openapi;
use crate::problem::{Code, FieldError, Problem};
use crate::refusals;

/// What a response counts as one of, where its model has a price for that.
pub const REQUESTS: &str = "requests";
const ONE: Quantity = Quantity::from_whole(1).expect("one is a quantity");

/// Dimensions or parameters of one item at most.
const MAX_NAMES: usize = 32;

/// One item of usage: either `model` and `usage`, or a provider's response that tells them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The model's id, an alias of it, or a name that one of its match rules knows. With a
    /// provider's response it counts before the model that the response names.
    #[schema(example = "openai/gpt-5.1")]
    pub model: Option<String>,
    /// How much of each dimension was used.
    #[schema(value_type = Option<BTreeMap<String, openapi::Quantity>>)]
    pub usage: Option<BTreeMap<String, Quantity>>,
    /// What prices may depend on: `service_class`, `size`, `quality` ...
    pub parameters: Option<BTreeMap<String, String>>,
    /// Whose response it is: `openai`, `anthropic`, `google` ...
    pub provider: Option<String>,
    /// The response, whole or cut down to model and usage, or a stream's events. It is read and
    /// not kept.
    #[schema(value_type = Option<openapi::ProviderResponse>)]
    pub provider_response: Option<Value>,
}

/// An [`Item`] that says what was used of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageOf {
    model: String,
    /// The name to look for first: the provider's with the model that its response names. Two
    /// providers sell the same model at different prices.
    qualified: Option<String>,
    /// Whether it is a provider's response, which is of one request.
    is_response: bool,
    usage: Usage,
    parameters: Parameters,
    pointer: String,
}

impl Item {
    /// Reads the item; `pointer` is where it stands in the body.
    ///
    /// # Errors
    /// `invalid_request`, or what is wrong with the provider's response.
    pub fn read(self, pointer: String) -> Result<UsageOf, Problem> {
        let parameters = self.parameters.unwrap_or_default();
        check_parameters(&parameters, &format!("{pointer}/parameters"))?;
        if let Some(model) = &self.model {
            check_model(model, &format!("{pointer}/model"))?;
        }
        match (self.usage, self.provider, self.provider_response) {
            (Some(usage), None, None) => {
                check_names(&usage, &format!("{pointer}/usage"))?;
                let model = self.model.ok_or_else(|| {
                    Problem::invalid_field(format!("{pointer}/model"), "Usage is of a model.")
                })?;
                let is_response = false;
                Ok(UsageOf { model, qualified: None, is_response, usage, parameters, pointer })
            }
            (None, Some(provider), Some(response)) => {
                let read = usage_from_response(&provider, &response)
                    .map_err(|error| refusals::provider(&error, &pointer))?;
                let provider = canonical_name(&provider).unwrap_or(&provider);
                let qualified = read.model.as_ref().map(|model| format!("{provider}/{model}"));
                let (model, qualified) = match (self.model, read.model) {
                    (Some(model), _) => (model, None),
                    (None, Some(model)) => (model, qualified),
                    (None, None) => {
                        let detail = "The response names no model: name it in the request.";
                        return Err(Problem::new(Code::UsageMissing, detail).with_error(
                            FieldError {
                                pointer: format!("{pointer}/model"),
                                detail: detail.to_owned(),
                            },
                        ));
                    }
                };
                // The caller knows more than the response tells.
                let mut all = read.parameters;
                all.extend(parameters);
                let usage = read.usage;
                let is_response = true;
                Ok(UsageOf { model, qualified, is_response, usage, parameters: all, pointer })
            }
            _ => Err(Problem::invalid_field(
                pointer,
                "An item is model and usage, or provider and provider_response.",
            )),
        }
    }
}

impl UsageOf {
    /// What of it is kept where no ratio prices it.
    pub fn kept(&self) -> UnratedItem {
        UnratedItem {
            model: self.model.clone(),
            qualified: self.qualified.clone(),
            is_response: self.is_response,
            usage: self.usage.clone(),
            parameters: self.parameters.clone(),
        }
    }

    /// What was kept; `pointer` is how faults name it.
    pub fn of_kept(kept: UnratedItem, pointer: String) -> Self {
        let UnratedItem { model, qualified, is_response, usage, parameters } = kept;
        Self { model, qualified, is_response, usage, parameters, pointer }
    }

    /// How much of each dimension.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// What prices may depend on: what the caller said, and the provider's response.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What it costs.
    ///
    /// # Errors
    /// `unknown_model`, `unpriced_dimension`, `limit_exceeded`, `invalid_request`.
    pub fn rate(
        &self,
        table: &RatioTable,
        multiplier: Multiplier,
        at: Timestamp,
    ) -> Result<Rated, Problem> {
        let qualified = self.qualified.as_deref().filter(|name| table.resolve(name).is_some());
        let model = qualified.unwrap_or(&self.model);
        let mut usage = Cow::Borrowed(&self.usage);
        if self.is_response
            && table.resolve(model).is_some_and(|found| found.model.prices(REQUESTS))
        {
            usage.to_mut().entry(REQUESTS.to_owned()).or_insert(ONE);
        }
        let request =
            Request { model, usage: &usage, parameters: &self.parameters, at, multiplier };
        table.rate(&request).map_err(|error| refusals::rating(&error, &self.pointer))
    }
}

/// The multiplier of an account's price group.
///
/// # Errors
/// `conflict` where the table has no such group: usage is never priced by another one in silence.
pub fn multiplier(table: &RatioTable, group: &str) -> Result<Multiplier, Problem> {
    table.group(group).ok_or_else(|| {
        let detail = format!(
            "The account's price group {group} is not in the ratio table: publish it, or change \
             the account's settings."
        );
        Problem::new(Code::Conflict, detail)
    })
}

/// Checks a model's name.
///
/// # Errors
/// `invalid_request`.
pub fn check_model(name: &str, pointer: &str) -> Result<(), Problem> {
    if is_model_name(name) {
        return Ok(());
    }
    let detail = "A model's name has 1 to 128 characters of A-Z a-z 0-9 _ . : / @ + -.";
    Err(Problem::invalid_field(pointer, detail))
}

/// Checks the names and values of parameters.
///
/// # Errors
/// `invalid_request`, `limit_exceeded`.
pub fn check_parameters(parameters: &Parameters, pointer: &str) -> Result<(), Problem> {
    check_names(parameters, pointer)?;
    match parameters.iter().find(|(_, value)| !is_parameter_value(value)) {
        None => Ok(()),
        Some((name, _)) => {
            let detail = "A parameter's value has 1 to 64 printable characters.";
            Err(Problem::invalid_field(format!("{pointer}/{name}"), detail))
        }
    }
}

/// Checks the names of dimensions or parameters.
///
/// # Errors
/// `invalid_request`, `limit_exceeded`.
pub fn check_names<T>(names: &BTreeMap<String, T>, pointer: &str) -> Result<(), Problem> {
    if names.len() > MAX_NAMES {
        let detail = format!("at most {MAX_NAMES} entries");
        return Err(Problem::new(Code::LimitExceeded, format!("{pointer}: {detail}."))
            .with_error(FieldError { pointer: pointer.to_owned(), detail }));
    }
    match names.keys().find(|name| !is_name(name)) {
        Some(name) => {
            let shown: String = name.chars().take(64).collect();
            Err(Problem::invalid_field(
                pointer,
                format!("{shown:?} is no name: a to z, 0 to 9 and _, from a letter, at most 64"),
            ))
        }
        None => Ok(()),
    }
}
