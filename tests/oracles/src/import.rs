//! A ratio table of what providers ask, with no margin: one credit is one US dollar.

use serde_json::{Value, json};
use uc_calculator::import::{ImportError, genai, litellm};
use uc_calculator::{Calculation, CalculatorError, CalculatorSettings, calculate};

/// A table and what it was made of.
pub struct Imported {
    /// As `PUT /v1/ratios` takes it.
    pub table: Value,
    /// The ids of the models, what was left out, and notes of what was taken over otherwise than
    /// the source has it.
    pub summary: Value,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum ImportFailure {
    #[error("there is no import of {0:?}")]
    Source(String),
    #[error("settings: {0}")]
    Settings(#[from] serde_json::Error),
    #[error("{0}")]
    Import(#[from] ImportError),
    #[error("{0}")]
    Calculation(#[from] CalculatorError),
}

/// What the calculator makes of the data of a source.
pub fn calculated(
    source: &str,
    data: &[u8],
    credit_price: &str,
    margin: &str,
) -> Result<Calculation, ImportFailure> {
    let costs = match source {
        "genai" => genai::import(data)?,
        "litellm" => litellm::import(data)?,
        other => return Err(ImportFailure::Source(other.to_owned())),
    };
    let settings: CalculatorSettings = serde_json::from_value(json!({
        "credit_price": {"amount": credit_price, "currency": "USD"},
        "margins": {"default": margin},
    }))?;
    Ok(calculate(&costs, &settings)?)
}

/// Imports the data of a source.
pub fn import(source: &str, data: &[u8]) -> Result<Imported, ImportFailure> {
    let calculation = calculated(source, data, "1", "0")?;
    let (rounded, omitted): (Vec<_>, Vec<_>) =
        calculation.omitted.iter().partition(|omitted| omitted.is_taken_over());
    Ok(Imported {
        table: calculation.table.to_json(),
        summary: json!({
            "models": calculation.models.keys().collect::<Vec<_>>(),
            "omitted": omitted,
            "notes": rounded,
        }),
    })
}
