//! What the oracles' scripts compare: our import, our rating and our readers of responses, on
//! JSON lines. Each question gets one line of answer, an error too, in the order of the questions.

mod import;

use std::fs;
use std::io::{self, BufRead as _, BufWriter, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};
use uc_domain::providers::{ProviderError, usage_from_response};
use uc_domain::ratios::{Model, Multiplier, RatingError, RatioTable, Request, TableError, Usage};
use uc_ratios::{Hash, PackError, Storage};

const USAGE: &str = "usage:
  uc-oracles import litellm|genai DATA TABLE   a ratio table with no margin, of providers' costs;
                                               what was taken and left out, to standard output
  uc-oracles store litellm|genai DATA          how many parameters the table takes, and how many a
                                               changed model writes; fails where it is too many
  uc-oracles rate TABLE                        {model, usage, parameters, at} -> {model, subtotal}
  uc-oracles read                              {provider, body} -> {usage, parameters}";

/// Why the program ends early. A question that has no good answer is no reason.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{USAGE}")]
    Usage,
    #[error("{0}: {1}")]
    File(String, io::Error),
    #[error("standard input or output: {0}")]
    Stream(#[from] io::Error),
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("not a question: {0}")]
    Question(String),
    #[error("{0}")]
    Import(#[from] import::ImportFailure),
    #[error("{0}")]
    Table(#[from] TableError),
    #[error("{0}")]
    Pack(#[from] PackError),
    #[error("{0}")]
    TooMany(String),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["import", source, data, table] => import_table(source, data, table),
        ["store", source, data] => store(source, data),
        ["rate", table] => rate(table),
        ["read"] => each_line(read),
        _ => Err(Failure::Usage),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn import_table(source: &str, data: &str, table: &str) -> Result<(), Failure> {
    let text = fs::read(data).map_err(|error| Failure::File(data.to_owned(), error))?;
    let imported = import::import(source, &text)?;
    RatioTable::from_json(&imported.table)?;
    fs::write(table, serde_json::to_vec(&imported.table)?)
        .map_err(|error| Failure::File(table.to_owned(), error))?;
    serde_json::to_writer(io::stdout().lock(), &imported.summary)?;
    Ok(())
}

/// Prices of a credit and margins that the table is stored with.
const CALCULATED: [(&str, &str); 3] = [("1", "0"), ("0.001", "0.3"), ("0.0123", "0.4567")];
/// Most chunks of the table, and most parameters that a changed model writes.
const MOST: (usize, usize) = (40, 3);
/// Models that are changed, one at a time.
const CHANGES: usize = 5;

fn store(source: &str, data: &str) -> Result<(), Failure> {
    let text = fs::read(data).map_err(|error| Failure::File(data.to_owned(), error))?;
    for (price, margin) in CALCULATED {
        let table = import::calculated(source, &text, price, margin)?.table;
        let stored = Storage::of(&table, None)?;
        let chunks = stored.parameters.len() - 1;
        let ids: Vec<&str> = table.models().map(Model::id).collect();
        let mut most = 0;
        for id in ids.iter().step_by(ids.len().div_ceil(CHANGES)) {
            let mut model = table.model_json(id).expect("one of its models");
            // Another price, which follows from no cost.
            model["ratios"][0]["credits"] = json!("1234.56789");
            let changed = Storage::of(&table.with_model(id, &model)?, Some(&stored))?;
            let is_new = |name: &&Hash| !stored.parameters.contains(name);
            most = most.max(changed.parameters.iter().filter(is_new).count());
        }
        let models = ids.len();
        let counts = format!(
            "{source}, a credit for {price} with margin {margin}: {models} models in {chunks} \
             chunks, a changed model writes at most {most} parameters"
        );
        println!("{counts}");
        if chunks > MOST.0 || most > MOST.1 {
            return Err(Failure::TooMany(format!("{counts}: at most {MOST:?}")));
        }
    }
    Ok(())
}

fn rate(table: &str) -> Result<(), Failure> {
    let text = fs::read(table).map_err(|error| Failure::File(table.to_owned(), error))?;
    let table = RatioTable::from_json(&serde_json::from_slice(&text)?)?;
    each_line(|question| rate_one(&table, question))
}

fn rate_one(table: &RatioTable, question: &Value) -> Result<Value, Failure> {
    let text =
        |name: &str| question[name].as_str().ok_or_else(|| Failure::Question(format!("no {name}")));
    let usage = serde_json::from_value(question["usage"].clone())?;
    let parameters = serde_json::from_value(question["parameters"].clone())?;
    let at = text("at")?;
    let request = Request {
        model: text("model")?,
        usage: &usage,
        parameters: &parameters,
        at: at.parse().map_err(|error| Failure::Question(format!("{at}: {error}")))?,
        multiplier: Multiplier::ONE,
    };
    Ok(match table.rate(&request) {
        Ok(rated) => json!({"model": rated.model, "subtotal": rated.subtotal}),
        Err(error) => json!({"error": rating_error(&error), "detail": error.to_string()}),
    })
}

fn rating_error(error: &RatingError) -> &'static str {
    match error {
        RatingError::UnknownModel { .. } => "unknown_model",
        RatingError::UnpricedDimension { .. } => "unpriced_dimension",
        RatingError::ReservedDimension => "reserved_dimension",
        RatingError::OverLimit { .. } => "limit_exceeded",
    }
}

fn read(question: &Value) -> Result<Value, Failure> {
    let provider =
        question["provider"].as_str().ok_or_else(|| Failure::Question("no provider".to_owned()))?;
    Ok(match usage_from_response(provider, &question["body"]) {
        Ok(read) => {
            // The oracle adds up what a body tells of several requests.
            let mut usage = Usage::new();
            for (dimension, quantity) in read.requests().flat_map(|request| &request.usage) {
                let sum = usage.entry(dimension.clone()).or_default();
                *sum = sum.checked_add(*quantity).ok_or_else(|| {
                    Failure::Question(format!("the sum of {dimension} is over the limit"))
                })?;
            }
            json!({"usage": usage, "parameters": read.parameters})
        }
        Err(error) => json!({"error": reading_error(&error), "detail": error.to_string()}),
    })
}

fn reading_error(error: &ProviderError) -> &'static str {
    match error {
        ProviderError::UnknownProvider { .. } => "provider_unknown",
        ProviderError::UsageMissing { .. } => "usage_missing",
        ProviderError::Contradictory { .. } => "usage_contradictory",
    }
}

/// Answers each line of standard input with a line.
fn each_line(answer: impl Fn(&Value) -> Result<Value, Failure>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        serde_json::to_writer(&mut out, &answer(&serde_json::from_str(&line?)?)?)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}
