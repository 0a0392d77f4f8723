//! What is to be priced, in the body of an estimate or a charge.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use uc_domain::account::RatedItem;
use uc_domain::providers::{
    ResponseUsage, canonical_name, names_again, names_of, told_by, usage_from_response,
};
use uc_domain::ratios::{
    Line, Multiplier, Parameters, PricedBy, Rated, RatioTable, Request, Usage, is_model_name,
    is_name, is_parameter_value,
};
use uc_domain::{Quantity, Timestamp};
use uc_ledger::{UnratedItem, UnratedRequest};
use utoipa::ToSchema;

use crate::openapi;
use crate::problem::{Code, FieldError, Problem};
use crate::refusals;

/// What each response counts as one of, where its model has a price for that; further steps of one
/// don't.
pub const REQUESTS: &str = "requests";
const ONE: Quantity = Quantity::from_whole(1).expect("one is a quantity");

/// Dimensions or parameters of one item at most.
const MAX_NAMES: usize = 32;

/// One item of usage: either `model` and `usage`, or a provider's response that tells them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The model's id, an alias of it, or a name that one of its match rules knows. With a
    /// provider's response it counts before the model that the response names as its own.
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
    /// At least one; several where a provider's response tells of several.
    requests: Vec<RequestOf>,
    pointer: String,
}

/// What was used in one request, or in one step of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RequestOf {
    /// The model's names, of which the first that the table knows counts; at least one.
    names: Vec<String>,
    /// Whether it is of a provider's response and begins a request.
    is_response: bool,
    usage: Usage,
    parameters: Parameters,
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
                let (names, is_response) = (vec![model], false);
                let request = RequestOf { names, is_response, usage, parameters };
                Ok(UsageOf { requests: vec![request], pointer })
            }
            (None, Some(provider), Some(response)) => {
                let read = usage_from_response(&provider, &response)
                    .map_err(|error| refusals::provider(&error, &pointer))?;
                let response = Response {
                    provider: canonical_name(&provider).unwrap_or(&provider),
                    own_model: read.model.as_deref(),
                    model: self.model.as_deref(),
                    parameters: &parameters,
                    pointer: &pointer,
                };
                let requests = read.requests().map(|read| response.request(read));
                let requests = requests.collect::<Result<_, _>>()?;
                Ok(UsageOf { requests, pointer })
            }
            _ => Err(Problem::invalid_field(
                pointer,
                "An item is model and usage, or provider and provider_response.",
            )),
        }
    }
}

/// A provider's response, with what its item says of it.
struct Response<'a> {
    provider: &'a str,
    /// The model that the response names as its own.
    own_model: Option<&'a str>,
    /// The model that the item names: it counts before the response's own, and not before those of
    /// others who took part.
    model: Option<&'a str>,
    parameters: &'a Parameters,
    pointer: &'a str,
}

impl Response<'_> {
    fn request(&self, read: &ResponseUsage) -> Result<RequestOf, Problem> {
        let is_own = read.model.as_deref() == self.own_model;
        let names = match (self.model.filter(|_| is_own), &read.model) {
            (Some(model), _) => vec![model.to_owned()],
            (None, Some(model)) => names_of(self.provider, model),
            (None, None) => {
                let detail = "The response names no model: name it in the request.";
                return Err(refused(Code::UsageMissing, detail, format!("{}/model", self.pointer)));
            }
        };
        let parameters = read.parameters_with(self.parameters).map_err(|name| {
            let pointer = format!("{}/parameters/{name}", self.pointer);
            refused(Code::UsageContradictory, "The response says otherwise.", pointer)
        })?;
        let (is_response, usage) = (!read.is_step, read.usage.clone());
        Ok(RequestOf { names, is_response, usage, parameters })
    }
}

fn refused(code: Code, detail: &'static str, pointer: String) -> Problem {
    Problem::new(code, detail).with_error(FieldError { pointer, detail: detail.to_owned() })
}

impl UsageOf {
    /// What of it is kept where no ratio prices it.
    pub fn kept(&self) -> UnratedItem {
        let requests = self.requests.iter().map(|request| UnratedRequest {
            names: request.names.clone(),
            is_response: request.is_response,
            usage: request.usage.clone(),
            parameters: request.parameters.clone(),
        });
        UnratedItem { requests: requests.collect() }
    }

    /// What was kept; `pointer` is how faults name it.
    pub fn of_kept(kept: UnratedItem, pointer: String) -> Self {
        let requests = kept.requests.into_iter().map(|request| {
            let UnratedRequest { names, is_response, usage, parameters } = request;
            RequestOf { names, is_response, usage, parameters }
        });
        Self { requests: requests.collect(), pointer }
    }

    /// What an item of a charge was priced for, to be priced by another table; `None` where nothing
    /// was used, which leaves no line to tell the model.
    ///
    /// Several requests of one model are told apart where their rows differed. What was charged by
    /// equal rows is one line, and so one request; and all have the parameters of the first. See
    /// [`doubt_of_charged`].
    ///
    /// # Errors
    /// `limit_exceeded` where the sum of several lines is no quantity.
    pub fn of_charged(charged: &RatedItem) -> Result<Option<Self>, Problem> {
        let Some(first) = charged.lines.first() else { return Ok(None) };
        let mut requests: Vec<(&str, Vec<&Line>)> = Vec::new();
        for line in &charged.lines {
            let fits = |(model, lines): &&mut (&str, Vec<&Line>)| {
                *model == line.model() && lines.iter().all(|l| l.dimension() != line.dimension())
            };
            match requests.iter_mut().find(fits) {
                Some((_, lines)) => lines.push(line),
                None => requests.push((line.model(), vec![line])),
            }
        }
        let read = |(model, lines): (&str, Vec<&Line>)| {
            // The same request by another table: its name may lead elsewhere there, or nowhere.
            let is_first = model == first.model();
            let own = charged.matched.as_ref().filter(|_| is_first);
            let name = own.map_or(model, |matched| &*matched.name);
            let provider = charged.provider.as_ref().filter(|_| is_first);
            let names = match provider {
                Some(provider) => names_again(provider, name),
                None => vec![name.to_owned()],
            };
            let mut usage = usage_of(&lines)?;
            // That it was a response, which a table may price as a request, or not.
            let is_response = provider.is_some() && charged.requests == 1;
            if is_response && usage.get(REQUESTS) == Some(&ONE) {
                usage.remove(REQUESTS);
            }
            Ok(RequestOf { names, is_response, usage, parameters: charged.parameters.clone() })
        };
        let requests = requests.into_iter().map(read).collect::<Result<_, Problem>>()?;
        Ok(Some(Self { requests, pointer: String::new() }))
    }

    /// How many requests used something; one where none did.
    pub fn requests(&self) -> u32 {
        let used = self.requests.iter().filter(|request| !request.usage.is_empty()).count();
        u32::try_from(used.max(1)).expect("bodies are limited")
    }

    /// What the prices of the first request may depend on: what the caller said, and the provider's
    /// response.
    pub fn parameters(&self) -> Parameters {
        self.requests.first().map(|request| request.parameters.clone()).unwrap_or_default()
    }

    /// Whose response it was, where that named the model: of the request that names it to people.
    pub fn provider(&self) -> Option<&'static str> {
        let used = self.requests.iter().find(|request| !request.usage.is_empty());
        let told = used.or(self.requests.first()).filter(|told| told.is_response)?;
        told_by(&told.names).map(|(provider, _)| provider)
    }

    /// These and those as one item.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.requests.extend(other.requests);
        self
    }

    /// What it costs: of several requests the sum, each rated by its own prompt.
    ///
    /// # Errors
    /// `unknown_model`, `unpriced_dimension`, `limit_exceeded`, `invalid_request`.
    pub fn rate(
        &self,
        table: &RatioTable,
        multiplier: Multiplier,
        at: Timestamp,
    ) -> Result<Rated, Problem> {
        let named: Vec<_> = self.requests.iter().filter_map(|r| self.named(r, table)).collect();
        let requests: Vec<_> = named
            .iter()
            .map(|(model, usage, parameters)| Request { model, usage, parameters, at, multiplier })
            .collect();
        table.rate_together(&requests).map_err(|error| refusals::rating(&error, &self.pointer))
    }

    /// The same, where a newer table prices what `table` has no price for, and which of them did.
    ///
    /// # Errors
    /// As [`rate`](Self::rate).
    pub fn rate_filled(
        &self,
        (table, newer): (&RatioTable, &RatioTable),
        multiplier: Multiplier,
        at: Timestamp,
    ) -> Result<(Rated, PricedBy), Problem> {
        let named: Vec<_> = self
            .requests
            .iter()
            .map(|request| (request, [self.named(request, table), self.named(request, newer)]))
            .filter(|(_, named)| named.iter().any(Option::is_some))
            .collect();
        let requests: Vec<_> = named
            .iter()
            .map(|(used, named)| {
                let [own, theirs] = named.each_ref().map(|named| {
                    let (model, usage, parameters) = named.as_ref()?;
                    Some(Request { model, usage, parameters, at, multiplier })
                });
                let own = own.filter(|own| table.resolve(own.model).is_some() || theirs.is_none());
                // A price of the request itself goes with others of its table.
                let counts = |(request, table): (Option<Request<'_>>, &RatioTable)| {
                    let found = request.and_then(|request| table.resolve(request.model));
                    found.is_some_and(|found| found.model.prices(REQUESTS))
                };
                let is_counted =
                    used.is_response && (counts((own, table)) || counts((theirs, newer)));
                let own = own.filter(|own| !is_counted || table.rate(own).is_ok());
                [own, theirs]
            })
            .collect();
        table.rate_filled(newer, &requests).map_err(|error| refusals::rating(&error, &self.pointer))
    }

    /// The ids of the models that a table has for it.
    pub fn models<'a>(&'a self, table: &'a RatioTable) -> impl Iterator<Item = &'a str> {
        let named = self.requests.iter().filter_map(|request| self.named(request, table));
        named.filter_map(|(model, ..)| Some(table.resolve(model)?.model.id()))
    }

    /// The name by which the table knows a request's model, what was used of it, and by which
    /// parameters. `None` where the request used nothing, its model has no price, and others go
    /// with it: those who answered for it are charged.
    fn named<'a>(
        &'a self,
        request: &'a RequestOf,
        table: &RatioTable,
    ) -> Option<(&'a str, Cow<'a, Usage>, &'a Parameters)> {
        // Also one that is disabled: it must not be sold at the price of another.
        let known = request.names.iter().find(|name| table.knows(name));
        let model = known.or(request.names.last()).expect("a request has a name");
        let found = table.resolve(model);
        let others_used = || self.requests.iter().any(|other| !other.usage.is_empty());
        if found.is_none() && request.usage.is_empty() && others_used() {
            return None;
        }
        let mut usage = Cow::Borrowed(&request.usage);
        if request.is_response && found.is_some_and(|found| found.model.prices(REQUESTS)) {
            usage.to_mut().entry(REQUESTS.to_owned()).or_insert(ONE);
        }
        Some((model, usage, &request.parameters))
    }
}

/// The quantities of a request's lines, each of which may be of parts of others.
fn usage_of(lines: &[&Line]) -> Result<Usage, Problem> {
    let mut usage = Usage::new();
    let mut add = |dimension: &str, quantity: Quantity| {
        if quantity.is_zero() {
            return Ok(());
        }
        let sum = usage.entry(dimension.to_owned()).or_default();
        let Some(more) = sum.checked_add(quantity) else {
            let detail = format!("The charge's {dimension} add up to no quantity.");
            return Err(Problem::new(Code::LimitExceeded, detail));
        };
        *sum = more;
        Ok(())
    };
    for line in lines {
        let mut own = line.quantity();
        for (dimension, part) in line.parts() {
            own = own.checked_sub(*part).unwrap_or_default();
            add(dimension, *part)?;
        }
        add(line.dimension(), own)?;
    }
    Ok(usage)
}

/// What an item of a charge is known as, beside what was used.
#[derive(Debug, Clone, Copy)]
pub struct KnownAs {
    requests: u32,
    is_filled: bool,
    is_response: bool,
}

impl From<&RatedItem> for KnownAs {
    fn from(item: &RatedItem) -> Self {
        Self {
            requests: item.requests,
            is_filled: item.filled_by.is_some(),
            is_response: item.provider.is_some(),
        }
    }
}

/// Why an item of a charge that is priced by another table may not be what it would have cost there:
/// it was several requests, which its lines don't tell apart; another table filled in; or the table
/// prices requests, and whether the charge was one is not known, as its own table did not count any.
pub fn doubt_of_charged(
    table: &RatioTable,
    rated: &Rated,
    KnownAs { requests, is_filled, is_response }: KnownAs,
) -> Option<&'static str> {
    if is_filled {
        return Some(
            "the item had prices of two tables, which may count it as different dimensions",
        );
    }
    if requests > 1 {
        let reason = "the item was several requests, which the charge keeps as sums: here their \
                      prompts count together";
        return Some(reason);
    }
    let priced = table.model(&rated.model).is_some_and(|model| model.prices(REQUESTS));
    let counted = rated.lines.iter().any(|line| line.dimension() == REQUESTS);
    (priced && !counted && !is_response)
        .then_some("a table has a price of requests, which the charge did not count")
}

/// The multiplier of an account's price group: that of the table which prices, or of the newest one
/// where the group is newer than the table.
///
/// # Errors
/// `unknown_price_group` where neither has such a group: usage is never priced by another one in
/// silence.
pub fn multiplier(
    table: &RatioTable,
    newest: Option<&RatioTable>,
    group: &str,
) -> Result<Multiplier, Problem> {
    table.group(group).or_else(|| newest?.group(group)).ok_or_else(|| {
        let detail = format!(
            "The account's price group {group} is not in the ratio table: publish it, or change \
             the account's settings."
        );
        Problem::new(Code::UnknownPriceGroup, detail)
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
