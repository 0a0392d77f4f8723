//! Estimates: what a request would cost before it runs.
//!
//! A [`Description`] says what is to be sent and made: texts, messages, images, seconds. For one
//! model it becomes [`Quantities`], bounds of each dimension that the model prices
//! ([`Description::quantities`]), and these become bounds of the credits ([`price`]). Nothing here
//! guesses in silence: every bound comes with the [`Assumption`] that it rests on.
//!
//! Of a text only its [`Profile`] is kept, a count of its kinds of characters. No tokenizer is
//! needed: how many tokens a profile comes to was fitted over texts of many kinds and languages,
//! a [`Family`] of models each.

mod families;
mod media;
mod price;
mod profile;
mod request;
#[cfg(test)]
mod tests;
mod tools;
mod unsaid;

use serde::Serialize;

pub use families::Family;
pub use price::{PriceError, Priced, price};
pub use profile::Profile;
pub use request::{
    Assumption, Basis, Description, Detail, Image, Images, MediaResolution, Output, OverLimit,
    Quantities, Swap, Video,
};
pub use tools::ServerTool;
pub use unsaid::Unsaid;

use crate::Quantity;

/// Bounds of a quantity that is not known yet: `min <= expected <= max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bounds {
    min: Quantity,
    expected: Quantity,
    max: Quantity,
}

impl Bounds {
    /// `None` where they are not in order.
    pub fn new(min: Quantity, expected: Quantity, max: Quantity) -> Option<Self> {
        (min <= expected && expected <= max).then_some(Self { min, expected, max })
    }

    /// Of a quantity that is known.
    pub const fn known(quantity: Quantity) -> Self {
        Self { min: quantity, expected: quantity, max: quantity }
    }

    /// At least.
    pub const fn min(self) -> Quantity {
        self.min
    }

    /// Most likely.
    pub const fn expected(self) -> Quantity {
        self.expected
    }

    /// At most.
    pub const fn max(self) -> Quantity {
        self.max
    }

    /// Whether all three are the same.
    pub fn is_known(self) -> bool {
        self.min == self.max
    }

    /// The bounds of a sum, or `None` over the limit of quantities.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            min: self.min.checked_add(other.min)?,
            expected: self.expected.checked_add(other.expected)?,
            max: self.max.checked_add(other.max)?,
        })
    }
}
