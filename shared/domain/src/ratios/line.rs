//! [`Line`]: one dimension of a request, and what it came to.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::SerializeStruct as _;

use super::{Conditions, Exact, Multiplier, Per, Ratio};
use crate::Quantity;

/// The row of a table that priced a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rate {
    credits: Ratio,
    per: Per,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_shared")]
    when: Option<Arc<Conditions>>,
}

#[expect(clippy::ref_option, reason = "as serde hands it over")]
fn serialize_shared<S: serde::Serializer>(
    when: &Option<Arc<Conditions>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    when.as_deref().serialize(serializer)
}

impl Rate {
    /// `None` where the ratio's decimal places and `per`'s exponent are together more than 18:
    /// then a line could not be exact.
    pub fn new(credits: Ratio, per: Per, when: Option<Conditions>) -> Option<Self> {
        Self::sharing(credits, per, when.map(Arc::new))
    }

    /// As [`new`](Self::new), with conditions that several rows have: a table has many rows and
    /// few conditions.
    pub fn sharing(credits: Ratio, per: Per, when: Option<Arc<Conditions>>) -> Option<Self> {
        let (_, scale) = credits.parts();
        (scale + per.exponent() <= Ratio::PLACES).then_some(Self { credits, per, when })
    }

    /// Credits for `per` units.
    pub const fn credits(&self) -> Ratio {
        self.credits
    }

    /// The number of units that the credits are for.
    pub const fn per(&self) -> Per {
        self.per
    }

    /// The conditions under which the row applies; `None` is always.
    pub fn when(&self) -> Option<&Conditions> {
        self.when.as_deref()
    }
}

/// One dimension of a rated request: everything that its credits follow from, so that it can be
/// explained for good, whatever the table says by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    model: String,
    dimension: String,
    quantity: Quantity,
    rate: Rate,
    multiplier: Multiplier,
    /// In the order of their names; usually none.
    parts: Vec<(String, Quantity)>,
    /// Follows from the others; kept so that reading it can't fail.
    credits: Exact,
}

impl Line {
    /// Rates one dimension. `None` where that comes to more than 10^9 credits.
    pub fn new(
        model: String,
        dimension: String,
        quantity: Quantity,
        rate: Rate,
        multiplier: Multiplier,
    ) -> Option<Self> {
        let credits = Exact::product(quantity, rate.credits, rate.per, multiplier)
            .filter(|credits| *credits <= Exact::MAX_LINE)?;
        Some(Self { model, dimension, quantity, rate, multiplier, parts: Vec::new(), credits })
    }

    /// The same line, with what of its quantity was used of other dimensions, in the order of
    /// their names. `None` where that is more than the quantity.
    pub fn with_parts(self, parts: Vec<(String, Quantity)>) -> Option<Self> {
        let sum = parts.iter().try_fold(0_u64, |sum, (_, part)| sum.checked_add(part.millis()))?;
        (sum <= self.quantity.millis()).then_some(Self { parts, ..self })
    }

    /// Whether two lines are of one row of the table: what they count can be added.
    pub(super) fn is_of_row(&self, other: &Self) -> bool {
        self.dimension == other.dimension
            && self.model == other.model
            && self.rate == other.rate
            && self.multiplier == other.multiplier
    }

    /// Both together. `None` where that is over 12 digits or 10^9 credits.
    ///
    /// # Panics
    /// Where they are of two rows.
    pub(super) fn plus(&self, other: &Self) -> Option<Self> {
        assert!(self.is_of_row(other), "lines of two rows stay apart");
        let mut parts: BTreeMap<&str, Quantity> = BTreeMap::new();
        for (dimension, part) in self.parts.iter().chain(&other.parts) {
            let sum = parts.entry(dimension).or_default();
            *sum = sum.checked_add(*part)?;
        }
        let parts = parts.into_iter().map(|(name, part)| (name.to_owned(), part)).collect();
        let Self { model, dimension, rate, .. } = self.clone();
        let quantity = self.quantity.checked_add(other.quantity)?;
        Self::new(model, dimension, quantity, rate, self.multiplier)?.with_parts(parts)
    }

    /// The model's id in the table.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What was counted.
    pub fn dimension(&self) -> &str {
        &self.dimension
    }

    /// How much of it.
    pub const fn quantity(&self) -> Quantity {
        self.quantity
    }

    /// The row that priced it.
    pub const fn rate(&self) -> &Rate {
        &self.rate
    }

    /// The price group's multiplier.
    pub const fn multiplier(&self) -> Multiplier {
        self.multiplier
    }

    /// What of the quantity was used of other dimensions, which the table says are parts of this
    /// one and which the model doesn't price apart; in the order of their names.
    pub fn parts(&self) -> &[(String, Quantity)] {
        &self.parts
    }

    /// `quantity * credits / per * multiplier`, not rounded; at most 10^9 credits.
    pub const fn credits(&self) -> Exact {
        self.credits
    }
}

/// Written as an object by dimension.
struct Parts<'a>(&'a [(String, Quantity)]);

impl Serialize for Parts<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(dimension, quantity)| (dimension, quantity)))
    }
}

impl Serialize for Line {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_struct("Line", 7)?;
        line.serialize_field("model", &self.model)?;
        line.serialize_field("dimension", &self.dimension)?;
        line.serialize_field("quantity", &self.quantity)?;
        if self.parts.is_empty() {
            line.skip_field("parts")?;
        } else {
            line.serialize_field("parts", &Parts(&self.parts))?;
        }
        line.serialize_field("rate", &self.rate)?;
        line.serialize_field("multiplier", &self.multiplier)?;
        line.serialize_field("credits", &self.credits)?;
        line.end()
    }
}
