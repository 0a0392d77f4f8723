//! [`ProviderCosts`] as JSON: what an import writes, for people to look at and to change, and what
//! a calculation reads.
//!
//! ```json
//! { "currency": "USD",
//!   "features": {"text": ["input_tokens", "output_tokens"]},
//!   "parts": {"cache_read_tokens": ["input_tokens"]},
//!   "models": {
//!     "openai/gpt-5.1": {
//!       "provider": "openai", "feature": "text", "aliases": ["gpt-5.1"],
//!       "costs": [{"dimension": "input_tokens", "amount": "1.25", "per": 1000000}] } },
//!   "omitted": [{"model": "other", "reason": "has no price"}] }
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uc_domain::ratios::{Conditions, Cost, Per};

use super::{CostRow, ModelCosts, Omitted, ProviderCosts};
use crate::import::{ImportError, MAX_BYTES, MAX_MODELS};
use crate::settings::{per, unique};

/// Most rows of a model, as in a ratio table.
const MAX_ROWS: usize = 256;
/// Most of what an import left out or changed that is carried on.
const MAX_SAID: usize = 200_000;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    currency: String,
    #[serde(deserialize_with = "unique")]
    features: BTreeMap<String, Vec<String>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique")]
    parts: BTreeMap<String, Vec<String>>,
    #[serde(deserialize_with = "unique")]
    models: BTreeMap<String, Model>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    omitted: Vec<Omitted>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    provider: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    feature: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    starts_with: Vec<String>,
    costs: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    dimension: String,
    amount: String,
    #[serde(deserialize_with = "per")]
    per: Per,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    when: Option<Conditions>,
}

impl ProviderCosts {
    /// The costs as JSON.
    pub fn to_json(&self) -> String {
        let row = |row: &CostRow| Row {
            dimension: row.dimension.clone(),
            amount: row.amount.to_string(),
            per: row.per,
            when: row.when.clone(),
        };
        let model = |model: &ModelCosts| Model {
            provider: model.provider.clone(),
            name: model.name.clone(),
            feature: model.feature.clone(),
            aliases: model.aliases.clone(),
            starts_with: model.starts_with.clone(),
            costs: model.costs.iter().map(row).collect(),
        };
        let document = Document {
            currency: self.currency.clone(),
            features: self.features.clone(),
            parts: self.parts.clone(),
            models: self.models.iter().map(|(id, costs)| (id.clone(), model(costs))).collect(),
            omitted: self.omitted.clone(),
        };
        serde_json::to_string_pretty(&document).expect("keys are texts, and nothing else can fail")
    }

    /// Reads what [`to_json`](Self::to_json) wrote, and perhaps somebody changed. Whether it makes
    /// a table is for the calculation to say.
    ///
    /// # Errors
    /// [`ImportError`], with the place.
    pub fn from_json(source: &[u8]) -> Result<Self, ImportError> {
        if source.len() > MAX_BYTES {
            return Err(ImportError::TooLarge);
        }
        let document: Document =
            serde_json::from_slice(source).map_err(|error| ImportError::json(&error))?;
        if document.models.len() > MAX_MODELS {
            return Err(ImportError::TooManyModels);
        }
        let wrong = |place: String, detail: String| ImportError::Syntax { place, detail };
        if document.omitted.len() > MAX_SAID {
            return Err(wrong("/omitted".to_owned(), format!("at most {MAX_SAID}")));
        }
        let mut models = BTreeMap::new();
        for (id, model) in document.models {
            if model.costs.len() > MAX_ROWS {
                return Err(wrong(id, format!("at most {MAX_ROWS} costs")));
            }
            let mut costs = Vec::with_capacity(model.costs.len());
            for row in model.costs {
                let amount = Cost::parse_amount(&row.amount).map_err(|error| {
                    wrong(format!("{id}, {}", row.dimension), error.to_string())
                })?;
                let Row { dimension, per, when, .. } = row;
                costs.push(CostRow { dimension, amount, per, when });
            }
            let Model { provider, name, feature, aliases, starts_with, .. } = model;
            let costs = ModelCosts { provider, name, feature, aliases, starts_with, costs };
            models.insert(id, costs);
        }
        let Document { currency, features, parts, omitted, .. } = document;
        Ok(Self { currency, features, parts, models, omitted })
    }
}
