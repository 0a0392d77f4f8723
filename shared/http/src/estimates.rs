//! Items that are priced before the fact: in an estimate, and where a hold reserves for one.

mod describe;
mod quantity;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uc_domain::estimates::{self, Assumption, Description, PriceError, Priced, Unsaid};
use uc_domain::ratios::{
    Line, Matched, Multiplier, Parameters, RatingError, RatioTable, Request, Resolved, Usage,
};
use uc_domain::{Credits, Timestamp};
use utoipa::ToSchema;

use self::quantity::{Bounds, BoundsFields, QuantityOrBounds};
use crate::items::{self, Item, UsageOf};
use crate::problem::{Code, FieldError, Problem};
use crate::views::{LineSchema, MatchedSchema};
use crate::{openapi, refusals};

/// One item to estimate: a request before the fact; or as in a charge, but a quantity may have
/// bounds.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EstimateItem {
    /// The model's id or another of its names. In a comparison it is left out.
    #[schema(example = "openai/gpt-5.1")]
    model: Option<String>,
    /// What is to be sent and made.
    #[schema(value_type = Option<describe::Request>)]
    request: Option<Box<describe::Request>>,
    /// How much of each dimension.
    #[schema(value_type = Option<BTreeMap<String, QuantityOrBounds>>)]
    usage: Option<BTreeMap<String, Bounds>>,
    /// What prices may depend on.
    parameters: Option<BTreeMap<String, String>>,
    /// Whose response it is.
    provider: Option<String>,
    /// A provider's response, instead of model and usage.
    #[schema(value_type = Option<openapi::ProviderResponse>)]
    provider_response: Option<Value>,
}

/// What something would cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CreditBounds)]
pub struct CreditBounds {
    /// At least.
    #[schema(value_type = openapi::Decimal)]
    pub min: Credits,
    /// Most likely.
    #[schema(value_type = openapi::Decimal)]
    pub expected: Credits,
    /// At most.
    #[schema(value_type = openapi::Decimal)]
    pub max: Credits,
}

/// What one item would cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct EstimatedItem {
    /// The model in the ratio table.
    pub model: String,
    /// What it would cost.
    pub credits: CreditBounds,
    /// Whether the model's minimum is what counts at the expected usage.
    minimum_applied: bool,
    /// How the expected cost comes about.
    #[schema(value_type = Vec<LineSchema>)]
    lines: Vec<Line>,
    /// How the quantities of a `request` came about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<AssumptionSchema>, required = false)]
    assumptions: Vec<Assumption>,
    /// Some of the assumptions expect something else than they would without the request's limit of
    /// its output, and say so (`instead_of`), or the dearest of what is `unsaid`: with that limit
    /// `max` is at most three times `expected`. Never where the answer is `unbounded`.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    expected_raised: bool,
    /// When what is expected has another price for the first time, by date or time of day, while this may be
    /// done: in the 15 minutes after an estimate, or until the end that a hold has when it is opened.
    /// `credits` cover it at each of the prices until then; it is expected before. Of a
    /// `provider_response` it is known when: now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Instant>)]
    prices_change_at: Option<Timestamp>,
    /// Nothing limits what is written, how many pictures or how much sound a model makes of a text
    /// alone, how often a tool of the provider or a remote server is used and what that brings into
    /// the prompt, or what another model costs that is asked for advice: `max` is what was assumed,
    /// and what goes beyond costs more. With `max_output_tokens`, or bounds of `output_tokens`, and
    /// without the others it is a limit.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    unbounded: bool,
    /// By what the name in the request led to the model, where that was not the model's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<MatchedSchema>)]
    matched: Option<Matched>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Where the bounds of a quantity come from; those of one dimension are summed.
#[derive(ToSchema)]
#[schema(as = Assumption)]
#[expect(dead_code, reason = "describes the domain's type in the OpenAPI document")]
struct AssumptionSchema {
    dimension: String,
    /// What of the request they rest on: `text`, `messages`, `tools`, `thoughts` (thinking of
    /// earlier answers), `characters`, `input_images`, `audio_seconds`, `input_video`,
    /// `input_pages`, `output_tokens`, `words`, `default` (nothing was said of the output),
    /// `reasoning`, `max_output_tokens`, `images`, `video`, `speech`, `pages`, `request`, `tool_uses`
    /// (of tools that the provider runs), `tool_results` (what those, and remote servers, bring into
    /// the prompt), `advisor` (what another model that is asked for advice brings into the prompt),
    /// `cache_read`, `cache_write` (what of the prompt the provider's cache may count as this: it is
    /// part of what other assumptions count).
    basis: String,
    /// Whose tokenizer was assumed, where tokens were estimated from text.
    family: Option<String>,
    quantity: BoundsFields,
    /// Parameters that prices of the dimension depend on and that the request doesn't say, such as
    /// `size`: `credits` lie within whatever they may be. They are expected without them, or where
    /// that has no price, as the middle of the values: the line's `rate` names it.
    unsaid: Option<Vec<String>>,
    /// What would be expected without the request's limit of its output (`expected_raised`).
    #[schema(value_type = Option<openapi::Quantity>)]
    instead_of: Option<uc_domain::Quantity>,
    /// What can't be told by numbers, such as what is not in the bounds.
    note: Option<String>,
}

/// An item that was read.
#[derive(Debug)]
pub struct AskedItem {
    model: Option<String>,
    what: What,
    parameters: Parameters,
    pointer: String,
}

#[derive(Debug)]
enum What {
    Request(Box<Description>),
    Usage(BTreeMap<String, estimates::Bounds>),
    Response(Box<UsageOf>),
}

impl EstimateItem {
    /// Reads the item; `pointer` is where it stands in the body.
    ///
    /// # Errors
    /// `invalid_request`, `limit_exceeded`, or what is wrong with the provider's response.
    pub fn read(self, pointer: String) -> Result<AskedItem, Problem> {
        let Self { model, request, usage, parameters, provider, provider_response } = self;
        let what = match (request, usage, &provider, &provider_response) {
            (Some(request), None, None, None) => {
                What::Request(Box::new(request.describe(&format!("{pointer}/request"))?))
            }
            (None, Some(usage), None, None) => {
                items::check_names(&usage, &format!("{pointer}/usage"))?;
                What::Usage(usage.into_iter().map(|(name, bounds)| (name, bounds.0)).collect())
            }
            (None, None, Some(_), Some(_)) => {
                let usage = None;
                let item = Item { model, usage, parameters, provider, provider_response };
                let what = What::Response(Box::new(item.read(pointer.clone())?));
                return Ok(AskedItem { model: None, what, parameters: Parameters::new(), pointer });
            }
            _ => {
                let detail = "An item is model and request, model and usage, or provider and \
                              provider_response.";
                return Err(Problem::invalid_field(pointer, detail));
            }
        };
        if let Some(model) = &model {
            items::check_model(model, &format!("{pointer}/model"))?;
        }
        let parameters = parameters.unwrap_or_default();
        items::check_parameters(&parameters, &format!("{pointer}/parameters"))?;
        Ok(AskedItem { model, what, parameters, pointer })
    }
}

/// What prices the items of one estimate.
#[derive(Debug)]
pub struct Prices<'a> {
    /// The ratio table.
    pub table: &'a RatioTable,
    /// The price group's multiplier.
    pub multiplier: Multiplier,
    /// When the work is to be done: from now on,
    pub now: Timestamp,
    /// until then.
    pub until: Timestamp,
}

impl Prices<'_> {
    /// What an item would cost, on `model` or the one that it names.
    ///
    /// # Errors
    /// `unknown_model`, `unpriced_dimension`, `limit_exceeded`, `invalid_request`.
    pub fn of(&self, asked: &AskedItem, model: Option<&str>) -> Result<EstimatedItem, Problem> {
        let AskedItem { what, parameters, pointer, .. } = asked;
        let model = model.or(asked.model.as_deref()).ok_or_else(|| {
            Problem::invalid_field(format!("{pointer}/model"), "Which model is it for?")
        });
        match what {
            What::Response(usage) => {
                let rated = usage.rate(self.table, self.multiplier, self.now)?;
                let (min, max) = (rated.credits, rated.credits);
                let unsaid = BTreeMap::new();
                let changes_at = None;
                let priced =
                    Priced { min, max, expected: rated, is_raised: false, unsaid, changes_at };
                Ok(EstimatedItem::new(priced, Vec::new()))
            }
            What::Usage(bounds) => {
                let unsaid = &Unsaid::within(self.until);
                let priced =
                    estimates::price(self.table, &self.request(model?, parameters), bounds, unsaid)
                        .map_err(|error| match error {
                            PriceError::Rating(error) => refusals::rating(&error, pointer),
                            _ => too_wide(&error, pointer),
                        })?;
                Ok(EstimatedItem::new(priced, Vec::new()))
            }
            What::Request(description) => {
                let name = model?;
                let at = format!("{pointer}/request");
                let Some(Resolved { model, .. }) = self.table.resolve(name) else {
                    let error = RatingError::UnknownModel { name: name.to_owned() };
                    return Err(refusals::rating(&error, pointer));
                };
                let mut counted =
                    description.quantities(model).map_err(|error| too_wide(&error, &at))?;
                counted.unsaid.until = Some(self.until);
                let parameters = merged(parameters, counted.parameters.clone(), pointer)?;
                let priced = counted.price(self.table, &self.request(name, &parameters)).map_err(
                    |error| match error {
                        // The dimensions are not the caller's: what asks for them is.
                        PriceError::Rating(RatingError::UnpricedDimension { .. }) => {
                            let detail = error.to_string();
                            Problem::new(Code::UnpricedDimension, detail.clone())
                                .with_error(FieldError { pointer: at, detail })
                        }
                        PriceError::Rating(error) => refusals::rating(&error, pointer),
                        _ => too_wide(&error, &at),
                    },
                )?;
                let cached: Vec<Assumption> = counted.cached().collect();
                counted.assumptions.extend(cached);
                let mut item = EstimatedItem::new(priced, counted.assumptions);
                item.unbounded = counted.is_unbounded;
                Ok(item)
            }
        }
    }

    /// Usage aside: that is what has bounds.
    fn request<'r>(&self, model: &'r str, parameters: &'r Parameters) -> Request<'r> {
        static NOTHING: Usage = Usage::new();
        let (at, multiplier) = (self.now, self.multiplier);
        Request { model, usage: &NOTHING, parameters, at, multiplier }
    }
}

impl AskedItem {
    /// The model that it names.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Where it stands in the body.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// Whether it is a provider's response: then it is known what was used.
    pub fn is_response(&self) -> bool {
        matches!(self.what, What::Response(_))
    }
}

/// What the request says of size, quality and resolution beside the parameters that are given.
fn merged(
    given: &Parameters,
    mut described: Parameters,
    pointer: &str,
) -> Result<Parameters, Problem> {
    for (name, value) in given {
        if described.insert(name.clone(), value.clone()).is_some_and(|other| other != *value) {
            let detail = "The request says otherwise.";
            return Err(Problem::invalid_field(format!("{pointer}/parameters/{name}"), detail));
        }
    }
    Ok(described)
}

fn too_wide(error: &dyn std::error::Error, pointer: &str) -> Problem {
    let detail = error.to_string();
    Problem::new(Code::LimitExceeded, detail.clone())
        .with_error(FieldError { pointer: pointer.to_owned(), detail })
}

impl EstimatedItem {
    fn new(priced: Priced, mut assumptions: Vec<Assumption>) -> Self {
        let Priced { min, max, expected, is_raised, mut unsaid, changes_at } = priced;
        for assumption in &mut assumptions {
            assumption.unsaid = unsaid.remove(&*assumption.dimension).unwrap_or_default();
        }
        Self {
            model: expected.model,
            credits: CreditBounds { min, expected: expected.credits, max },
            minimum_applied: expected.minimum_applied,
            lines: expected.lines,
            assumptions,
            expected_raised: is_raised,
            prices_change_at: changes_at,
            unbounded: false,
            matched: expected.matched,
        }
    }
}
