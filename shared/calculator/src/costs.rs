//! [`ProviderCosts`]: what providers ask, in the terms of ratio tables. Importers make it, the
//! calculator turns it into a table.

mod document;

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uc_domain::ratios::{Conditions, Per};

/// What providers ask for their models.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProviderCosts {
    /// Three capital letters (ISO 4217); one for all.
    pub currency: String,
    /// The dimensions that each feature's models must price.
    pub features: BTreeMap<String, Vec<String>>,
    /// Of a dimension that a model may not price apart: what it then counts as, first choice first.
    pub parts: BTreeMap<String, Vec<String>>,
    /// By the id that the model gets in the table.
    pub models: BTreeMap<String, ModelCosts>,
    /// What could not be taken over, each with its reason; in the order of the source. Then what was,
    /// but not just as the source has it, such as a price that was rounded up: there the reason
    /// begins with [`Omitted::TAKEN_OVER`].
    pub omitted: Vec<Omitted>,
}

/// What one model costs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCosts {
    /// Who asks it, as margins name it: `openai`, `azure`.
    pub provider: String,
    /// A name for people.
    pub name: Option<String>,
    /// The feature, a key of [`ProviderCosts::features`].
    pub feature: String,
    /// Other names, which lead to no other model.
    pub aliases: Vec<String>,
    /// Prefixes of further names.
    pub starts_with: Vec<String>,
    /// The rows; unambiguous, as a ratio table's.
    pub costs: Vec<CostRow>,
}

/// What a number of units costs.
#[derive(Debug, Clone, PartialEq)]
pub struct CostRow {
    /// What is counted.
    pub dimension: String,
    /// In the currency's main unit for `per` units; not negative, at most 28 digits.
    pub amount: Decimal,
    /// The number of units.
    pub per: Per,
    /// When the row applies; `None` is always.
    pub when: Option<Conditions>,
}

/// Something in a source that a table can't express, that is not used, or that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Omitted {
    /// The model as the source names it.
    pub model: String,
    /// Which part of it; `None` is all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Why.
    pub reason: String,
}

impl Omitted {
    /// How the reason begins where it is about something that was taken over.
    pub const TAKEN_OVER: &str = "taken over: ";

    /// Whether this is about something that was taken over, not left out.
    pub fn is_taken_over(&self) -> bool {
        self.reason.starts_with(Self::TAKEN_OVER)
    }
}
