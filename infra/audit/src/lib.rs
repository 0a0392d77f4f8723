//! Recomputes every journal of a table, or of an export of it: the command `cargo audit-ledger`.

mod beside;
pub mod cli;
pub mod export;
mod findings;
pub mod generate;
mod record;
mod sorted;
pub mod table;

use std::error::Error;

pub use findings::Findings;

/// Why an audit could not look.
pub type Failure = Box<dyn Error + Send + Sync>;
