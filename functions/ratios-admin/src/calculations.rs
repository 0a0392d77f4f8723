//! Ratio tables out of what providers ask and what the operator wants to earn. Nothing is stored.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uc_calculator::costs::ProviderCosts;
use uc_calculator::import::{ImportError, csv, genai, litellm};
use uc_calculator::output;
use uc_calculator::output::WorkbookError;
use uc_calculator::{Calculation, CalculatorError, CalculatorSettings, calculate};
use uc_domain::ratios::{HeadDiff, ModelDiff, RatioTable, TableDiff};
use uc_http::scope::RatiosAdmin;
use uc_http::{Access, Code, LargeBody, Problem, openapi, parse_strict, problems};
use utoipa::ToSchema;

use crate::diff::{DiffCounts, TableName, Wanted, complete};
use crate::{Deps, faults, large_bytes, large_json, within};

const CSV: &str = "text/csv; charset=utf-8; header=present";
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// What the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// All of it.
    Json,
    /// A line for each row of the table.
    Csv,
    /// A spreadsheet with live formulas.
    Xlsx,
}

/// What providers ask, from one source.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is read without serde in the OpenAPI document")]
struct CostsRequest {
    /// `LiteLLM`'s table of model prices, as it is.
    litellm: Option<BTreeMap<String, Value>>,
    /// The data of genai-prices, as it is.
    genai_prices: Option<Vec<Value>>,
    /// CSV: `model`, `provider`, `feature`, `dimension`, `cost`, `currency`, and where they are
    /// wanted `per`, `when`, `name`.
    csv: Option<String>,
    /// The same, row by row.
    rows: Option<Vec<CostRowRequest>>,
}

/// What a number of units costs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CostRowRequest {
    /// The model's id in the table.
    model: String,
    /// Who asks it.
    provider: String,
    /// Of the model.
    feature: String,
    /// What is counted.
    dimension: String,
    /// In the currency's main unit, for `per` units.
    #[schema(value_type = openapi::Decimal)]
    cost: String,
    /// ISO 4217; the same in every row.
    currency: String,
    /// A power of ten; 1 where not given.
    per: Option<u64>,
    /// Conditions as in a ratio table.
    #[schema(value_type = Option<BTreeMap<String, Value>>)]
    when: Option<Value>,
    /// Of the model, for people.
    name: Option<String>,
}

/// What the operator decides.
#[derive(ToSchema)]
#[schema(as = CalculatorSettings)]
#[expect(dead_code, reason = "describes the calculator's type in the OpenAPI document")]
struct SettingsSchema {
    /// What a buyer pays for one credit: `amount` and `currency`, that of the costs.
    credit_price: BTreeMap<String, String>,
    /// The share of each price that is to remain: `default`, and by name in `features`,
    /// `providers`, `models`; the last counts first.
    margins: BTreeMap<String, Value>,
    /// How the table rounds.
    credit: Option<BTreeMap<String, Value>>,
    /// The table's price groups.
    groups: Option<BTreeMap<String, String>>,
    /// The least that a request costs, in credits; as margins.
    minimums: Option<BTreeMap<String, Value>>,
    /// By dimension: the least ratio, `credits` for `per` units.
    minimum_ratios: Option<BTreeMap<String, Value>>,
    /// Plans to hold against their prices: `plan`, `price`, `credits`, `group`.
    plans: Option<Vec<BTreeMap<String, Value>>>,
}

/// Costs, and what to make of them.
#[derive(ToSchema)]
#[schema(as = CalculationRequest)]
#[expect(dead_code, reason = "describes what is read without serde in the OpenAPI document")]
struct CalculationSchema {
    /// What providers ask; one source.
    #[schema(inline)]
    costs: CostsRequest,
    /// What the operator decides.
    settings: SettingsSchema,
    /// A table to compare with: a version's number, `current` or `draft`; for answers in JSON.
    compare_to: Option<String>,
    /// What the answer is; as `Accept` says where not given.
    format: Option<Format>,
}

/// The body, as far as it is the caller's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    costs: &'a RawValue,
    #[serde(borrow)]
    settings: &'a RawValue,
    compare_to: Option<Wanted>,
    format: Option<Format>,
}

/// Its costs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Costs<'a> {
    #[serde(borrow)]
    litellm: Option<&'a RawValue>,
    #[serde(borrow)]
    genai_prices: Option<&'a RawValue>,
    csv: Option<String>,
    #[serde(borrow)]
    rows: Option<&'a RawValue>,
}

/// What changes from a table to the calculated one.
#[derive(Serialize)]
struct DiffOf<'a> {
    from: TableName,
    counts: DiffCounts,
    head: &'a HeadDiff<'a>,
    models: &'a [ModelDiff<'a>],
}

/// The answer.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    calculation: &'a Calculation,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<DiffOf<'a>>,
}

/// A calculated table, and what it earns.
#[derive(ToSchema)]
#[schema(as = Calculation)]
#[expect(dead_code, reason = "describes the calculator's type in the OpenAPI document")]
struct AnswerSchema {
    /// Complete, with the cost on every row: ready for `PUT /v1/ratios` or the draft.
    table: crate::RatioTableSchema,
    /// The settings that it follows from.
    settings: SettingsSchema,
    /// By model: `provider`, `feature`, `margin`, its `rows` with cost, ratio, price and effective
    /// margin, and the `worst` of them.
    models: BTreeMap<String, Value>,
    /// By plan: how many credits it can `affordable` give, and its `worst` model.
    plans: Vec<BTreeMap<String, Value>>,
    /// What to look at before publishing, each with its `kind`: `plan_over_cost`, `under_cost` ...
    warnings: Vec<BTreeMap<String, Value>>,
    /// What can't be expressed: `model`, `field`, `reason`. Where the reason begins with
    /// `taken over`, it is expressed, but not just as the source says, such as rounded up.
    omitted: Vec<BTreeMap<String, String>>,
    /// As `/v1/ratios/diff`, whole, from the table to compare with.
    diff: Option<BTreeMap<String, Value>>,
}

/// CSV (RFC 4180) with a line of names.
#[derive(ToSchema)]
#[schema(as = CsvText, value_type = String)]
#[expect(dead_code, reason = "describes a body in the OpenAPI document")]
struct CsvText(String);

/// An XLSX workbook.
#[derive(ToSchema)]
#[schema(as = Workbook, value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes a body in the OpenAPI document")]
struct Workbook(Vec<u8>);

problems!(
    CalculationProblems = NotFound,
    PayloadTooLarge,
    RatiosIncomplete,
    RatiosInvalid,
    LimitExceeded
);

/// A complete table from what providers ask, a price of a credit and margins; what each model
/// costs and earns; what plans can afford; what can't be expressed; and, where wanted, what would
/// change. Nothing is stored.
#[utoipa::path(
    post,
    path = "/v1/ratios/calculations",
    operation_id = "calculate_ratios",
    tag = "ratios",
    security(("bearer" = ["ratios:admin"])),
    request_body = CalculationSchema,
    responses(
        (status = 200, description = "The calculation", content(
            (AnswerSchema = "application/json"),
            (CsvText = "text/csv"),
            (Workbook = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        )),
        CalculationProblems
    )
)]
async fn calculate_ratios(
    _: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    headers: HeaderMap,
    LargeBody(body): LargeBody,
) -> Result<Response, Problem> {
    let Body { costs, settings, compare_to, format } = object("", &body)?;
    let settings: CalculatorSettings = parse_strict(settings.get().as_bytes())
        .map_err(|problem| within(&problem, "/settings"))?
        .body;
    let costs = read(object("/costs", costs.get().as_bytes())?)?;
    let format = format.unwrap_or_else(|| accepted(&headers));
    if compare_to.is_some() && format != Format::Json {
        let detail = "only an answer in JSON has the diff: ask for the format json, or for no diff";
        return Err(Problem::invalid_field("/compare_to", detail));
    }
    let compared = match compare_to {
        Some(wanted) => Some(complete(&deps, wanted).await?),
        None => None,
    };
    let calculation = calculate(&costs, &settings).map_err(refused)?;
    match format {
        Format::Json => answer(&headers, &calculation, compared.as_ref()),
        Format::Csv => {
            let csv = output::csv(&calculation).into_bytes();
            Ok(file("attachment; filename=\"ratios.csv\"", large_bytes(&headers, CSV, csv)?))
        }
        Format::Xlsx => {
            let workbook = output::workbook(&calculation).map_err(|error| match error {
                WorkbookError::TooManyRows(_) => {
                    Problem::new(Code::LimitExceeded, error.to_string())
                }
                WorkbookError::Write(_) => Problem::internal(&error),
            })?;
            Ok(file("attachment; filename=\"ratios.xlsx\"", large_bytes(&headers, XLSX, workbook)?))
        }
    }
}

fn answer(
    headers: &HeaderMap,
    calculation: &Calculation,
    compared: Option<&(TableName, RatioTable)>,
) -> Result<Response, Problem> {
    let diff = compared.map(|(name, table)| (name, TableDiff::between(table, &calculation.table)));
    let diff = diff.as_ref().map(|(name, diff)| DiffOf {
        from: **name,
        counts: diff.counts.into(),
        head: &diff.head,
        models: &diff.models,
    });
    large_json(headers, &Answer { calculation, diff })
}

/// Reads an object whose members are read later. Numbers in them are not touched.
fn object<'a, T: Deserialize<'a>>(place: &str, body: &'a [u8]) -> Result<T, Problem> {
    let refuse = |detail: String| match place {
        "" => Problem::invalid_request(format!("The body is not valid: {detail}.")),
        place => Problem::invalid_field(place, detail),
    };
    // What serde derives for a struct takes an array as well.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(refuse("write an object".to_owned()));
    }
    let text = std::str::from_utf8(body).map_err(|_| refuse("not UTF-8".to_owned()))?;
    serde_json::from_str(text).map_err(|error| refuse(error.to_string()))
}

/// Reads the costs from their source.
fn read(costs: Costs<'_>) -> Result<ProviderCosts, Problem> {
    let (place, costs) = match costs {
        Costs { litellm: Some(source), genai_prices: None, csv: None, rows: None } => {
            ("/costs/litellm", litellm::import(source.get().as_bytes()))
        }
        Costs { litellm: None, genai_prices: Some(source), csv: None, rows: None } => {
            ("/costs/genai_prices", genai::import(source.get().as_bytes()))
        }
        Costs { litellm: None, genai_prices: None, csv: Some(source), rows: None } => {
            ("/costs/csv", csv::import(source.as_bytes()))
        }
        Costs { litellm: None, genai_prices: None, csv: None, rows: Some(source) } => {
            let rows = parse_strict(source.get().as_bytes())
                .map_err(|problem| within(&problem, "/costs/rows"))?
                .body;
            ("/costs/rows", csv::import(&lines(rows)))
        }
        _ => {
            let detail = "one of litellm, genai_prices, csv and rows";
            return Err(Problem::invalid_field("/costs", detail));
        }
    };
    costs.map_err(|error| match error {
        ImportError::TooLarge => Problem::new(Code::PayloadTooLarge, error.to_string()),
        ImportError::TooManyModels => Problem::new(Code::LimitExceeded, error.to_string()),
        ImportError::Syntax { place: within, detail } => {
            let line = within.strip_prefix("line ").and_then(|line| line.parse::<usize>().ok());
            // The first row stands below the names of the columns.
            match line.and_then(|line| line.checked_sub(2)).filter(|_| place == "/costs/rows") {
                Some(row) => Problem::invalid_field(format!("{place}/{row}"), detail),
                None => Problem::invalid_field(place, format!("{within}: {detail}")),
            }
        }
    })
}

/// Rows as the CSV that the importer reads: there is one reader of costs. Texts have no line breaks,
/// so that each row is a line.
fn lines(rows: Vec<CostRowRequest>) -> Vec<u8> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut write = |fields: [&str; 9]| {
        writer.write_record(fields).expect("as many fields as columns, into memory");
    };
    write(["model", "provider", "feature", "dimension", "cost", "currency", "per", "when", "name"]);
    for row in rows {
        let CostRowRequest { model, provider, feature, dimension, cost, currency, .. } = &row;
        let per = row.per.map(|per| per.to_string()).unwrap_or_default();
        let when = row.when.as_ref().map(Value::to_string).unwrap_or_default();
        let name = row.name.as_deref().unwrap_or_default();
        write([model, provider, feature, dimension, cost, currency, &per, &when, name]);
    }
    writer.into_inner().expect("memory takes everything")
}

fn refused(error: CalculatorError) -> Problem {
    match error {
        CalculatorError::Settings { pointer, detail } => {
            Problem::invalid_field(format!("/settings{pointer}"), detail)
        }
        CalculatorError::Currency { .. } => {
            Problem::invalid_field("/settings/credit_price/currency", error.to_string())
        }
        CalculatorError::NoModels(_) => Problem::invalid_field("/costs", error.to_string()),
        CalculatorError::TooManyModels(_) => Problem::new(Code::LimitExceeded, error.to_string()),
        CalculatorError::Table(error) => {
            let problem = faults(&error);
            within(&problem, "/costs")
        }
    }
}

/// The format that `Accept` wants most; of several the first (RFC 9110, 12.5.1).
fn accepted(headers: &HeaderMap) -> Format {
    let named = |kind: &str| {
        let mut parts = kind.split(';').map(str::trim);
        let format = match parts.next()?.to_ascii_lowercase().as_str() {
            "application/json" | "application/*" | "*/*" => Format::Json,
            "text/csv" | "text/*" => Format::Csv,
            XLSX => Format::Xlsx,
            _ => return None,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse);
        // Of weight 0 it is not wanted at all; and what is no weight is none.
        weight.ok().filter(|weight| 0.0 < *weight && *weight <= 1.0_f32).map(|q| (format, q))
    };
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let formats = values.flat_map(|value| value.split(',')).filter_map(named).rev();
    let wanted = formats.max_by(|(_, a), (_, b)| a.total_cmp(b));
    wanted.map_or(Format::Json, |(format, _)| format)
}

/// An answer that is a file.
fn file(disposition: &'static str, answer: Response) -> Response {
    let disposition = HeaderValue::from_static(disposition);
    ([(header::CONTENT_DISPOSITION, disposition)], answer).into_response()
}

uc_http::operations!(Deps; calculate_ratios);
