//! The rate card: the table as a buyer may see it, without costs, match rules and disabled models.

use serde::Serialize;

use super::{Conditions, Multiplier, Per, RatioTable};
use crate::Credits;

/// A model on the rate card, with one price group's prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RateCardModel<'a> {
    /// The model's id.
    pub id: &'a str,
    /// The name for people.
    pub name: &'a str,
    /// The feature it belongs to.
    pub feature: &'a str,
    /// Other names that requests may use.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub aliases: &'a [String],
    /// The least that a request costs, rounded as it is charged; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Credits>,
    /// The prices.
    pub ratios: Vec<RateCardRatio<'a>>,
}

/// A price on the rate card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RateCardRatio<'a> {
    /// What is counted.
    pub dimension: &'a str,
    /// Credits for `per` units: exact, as a decimal string, with up to 22 decimal places.
    pub credits: String,
    /// The number of units that the credits are for.
    pub per: Per,
    /// The conditions under which the row applies; absent is always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<&'a Conditions>,
}

impl RatioTable {
    /// One enabled model as a buyer in a price group may see it, by its id alone.
    pub fn rate_card_model(&self, id: &str, multiplier: Multiplier) -> Option<RateCardModel<'_>> {
        let model = self.model(id).filter(|model| model.enabled())?;
        let minimum = self.minimum_of(model, multiplier);
        let ratios = model.ratios().iter().map(|row| RateCardRatio {
            dimension: row.dimension(),
            credits: row.rate().credits().multiplied(multiplier),
            per: row.rate().per(),
            when: row.rate().when(),
        });
        Some(RateCardModel {
            id: model.id(),
            name: model.name(),
            feature: model.feature(),
            aliases: model.aliases(),
            minimum: Some(minimum).filter(|minimum| !minimum.is_zero()),
            ratios: ratios.collect(),
        })
    }
}
