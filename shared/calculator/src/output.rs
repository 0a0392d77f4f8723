//! A [`Calculation`](crate::Calculation) for other programs. As JSON it is what serde makes of it.
//!
//! Names come from outside, and a spreadsheet takes a text that begins like a formula for one. In
//! CSV such a text gets an apostrophe in front, which spreadsheets take as "this is text"; in a
//! workbook texts are cells of the type text, marked so that editing them keeps them text.
//!
//! Equal calculations give equal bytes. (The workbook's library asks the clock for a date before it
//! is told one. In a browser, where there is no clock to ask, take the CSV.)

mod csv;
mod workbook;

pub use self::csv::csv;
pub use self::workbook::{WorkbookError, workbook};

/// Whether a spreadsheet could take a text for a formula: it begins with `=`, `+`, `-` or `@`, also
/// in their full-width forms, perhaps after white space; or with a tab or line break, which some
/// take off.
fn like_a_formula(text: &str) -> bool {
    text.starts_with(['\t', '\r', '\n'])
        || text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}

#[cfg(test)]
mod tests;
