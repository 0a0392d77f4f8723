//! From what providers ask to what credits pay for: provider costs in, complete ratio tables with
//! a margin out.
//!
//! Pure: no I/O and no clock. The HTTP function and the command line call the same code.

pub mod calculation;
pub mod costs;
mod exact;
pub mod import;
pub mod output;
pub mod quoting;
pub mod settings;

pub use calculation::{Calculation, CalculatorError, calculate};
pub use settings::CalculatorSettings;
