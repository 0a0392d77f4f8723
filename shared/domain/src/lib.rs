//! The rules of Unified Credits, and nothing else: credits, ratio tables and rating, the account
//! state machine, plans.
//!
//! Everything here is a total, deterministic function of its arguments: no I/O, no clock, no
//! environment, no randomness, no async. Time and ids come in as arguments, so the same code runs
//! in a Lambda function, in a browser and in a simulation that replays a seed.

// The tables of cases run here and in other packages, by the same code and under the same name.
#[cfg(test)]
extern crate self as uc_domain;

pub mod account;
mod decimal;
pub mod deflate;
pub mod estimates;
pub mod journal;
pub mod payments;
pub mod plans;
pub mod providers;
pub mod ratios;

mod credits;
mod ids;
mod quantity;
mod time;

pub use credits::Credits;
pub use decimal::DecimalError;
pub use ids::{AccountId, IdError};
pub use quantity::Quantity;
pub use time::{Timestamp, TimestampError};
