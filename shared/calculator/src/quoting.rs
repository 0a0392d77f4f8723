//! Whether the quotes of a CSV file stand where they may. The reader takes what others refuse: it goes
//! on behind a quote that is closed in the middle of a field, and over line ends until one is closed,
//! so that a stray quote changes an amount or takes the rows along up to the next one.

use csv::StringRecord;

/// What is said of a record whose quotes are not clean.
pub const STRAY_QUOTE: &str = "a quote that is not closed in its line, or stands within a field: \
                               quote a field as a whole, and write a quote in it twice";

/// A file.
#[derive(Debug)]
pub struct Quoting<'a>(&'a [u8]);

impl<'a> Quoting<'a> {
    /// Of a file as its reader gets it.
    pub const fn of(file: &'a [u8]) -> Self {
        Self(file)
    }

    /// Whether a record of that file, untrimmed, is one line, and each field in it plain or quoted
    /// as a whole.
    pub fn is_clean(&self, record: &StringRecord) -> bool {
        let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let start = record.position().and_then(|at| usize::try_from(at.byte()).ok());
        let Some(from) = start.and_then(|start| self.0.get(start..)) else { return false };
        // Empty lines before it are no records.
        let from = &from[from.iter().position(|byte| !ends(byte)).unwrap_or(from.len())..];
        let mut rest = &from[..from.iter().position(ends).unwrap_or(from.len())];
        for (n, field) in record.iter().enumerate() {
            if n > 0 {
                let Some(after) = rest.strip_prefix(b",") else { return false };
                rest = after;
            }
            let is_quoted = rest.starts_with(b"\"");
            let written = if is_quoted {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field.to_owned()
            };
            let Some(after) = rest.strip_prefix(written.as_bytes()) else { return false };
            if !is_quoted && field.contains('"') {
                return false;
            }
            rest = after;
        }
        rest.is_empty()
    }
}
