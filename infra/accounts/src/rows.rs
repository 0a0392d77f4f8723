//! The rows of a file of balances.
//!
//! | column | |
//! |---|---|
//! | `account` | the account's id |
//! | `credits` | what it has; negative: what it owes |
//! | `expires_at` | when they are gone, RFC 3339; never where empty. Not of a debt |
//! | `source` | where they come from; `migration` where empty. Not of a debt |
//! | `reason` | a text for people |
//! | `id` | names the row. Without it a row is named by account, source and expiry |
//!
//! The first two must be there. An amount is not part of a row's name: a row that was corrected
//! after it was brought in is refused, instead of being added to what is there.

use std::collections::HashMap;

use ring::digest;
use serde::Deserialize;
use uc_calculator::quoting::{Quoting, STRAY_QUOTE};
use uc_domain::account::Source;
use uc_domain::{AccountId, Credits, Timestamp};

/// Rows of one file at most.
const MAX_ROWS: usize = 1_000_000;
/// Characters of a reason at most.
const MAX_REASON: usize = 512;

/// A row as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    account: String,
    credits: String,
    #[serde(default)]
    expires_at: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    id: String,
}

/// A balance to bring in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands in the file, from 1.
    pub line: u64,
    /// Whose.
    pub account: AccountId,
    /// How much; never zero. Negative is a debt.
    pub credits: Credits,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Where it comes from.
    pub source: Source,
    /// For people.
    pub reason: String,
    /// Under which it happens once.
    pub key: String,
}

/// Why a row is not brought in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct RowError {
    /// Where it stands in the file, from 1.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

/// Reads a file: the rows that can be brought in, and what is wrong with the others.
///
/// # Errors
/// It is not CSV, lacks a column or has an unknown one.
pub fn read(file: &[u8]) -> Result<(Vec<Row>, Vec<RowError>), csv::Error> {
    // The reader counts a line that ends in CRLF with the next one.
    let ends = |(at, byte): &(usize, &u8)| **byte != b'\r' || file.get(at + 1) != Some(&b'\n');
    let file: Vec<u8> = file.iter().enumerate().filter(ends).map(|(_, byte)| *byte).collect();
    let quoting = Quoting::of(&file);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(&*file);
    let headers = reader.headers()?.clone();
    // The header alone tells: what is missing or unknown there is so in every row.
    let blank = csv::StringRecord::from(vec![""; headers.len()]);
    blank.deserialize::<Raw>(Some(&headers))?;
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    let mut named: HashMap<String, u64> = HashMap::new();
    for record in reader.into_records() {
        let mut record = match record {
            Ok(record) => record,
            // A row of another length, or one that is not UTF-8: the next one may be right.
            Err(error) if !error.is_io_error() => {
                let line = error.position().map_or(0, csv::Position::line);
                wrong.push(RowError { line, what: error.to_string() });
                continue;
            }
            Err(error) => return Err(error),
        };
        let line = record.position().map_or(0, csv::Position::line);
        let is_clean = quoting.is_clean(&record);
        record.trim();
        let read = if rows.len() == MAX_ROWS {
            Err(format!("a file has at most {MAX_ROWS} rows"))
        } else {
            let raw = record.deserialize::<Raw>(Some(&headers)).map_err(|error| error.to_string());
            raw.and_then(|raw| if is_clean { row(line, raw) } else { Err(STRAY_QUOTE.to_owned()) })
        };
        let read = read.and_then(|row| match named.insert(row.key.clone(), line) {
            Some(earlier) => Err(format!("is named like line {earlier}: give both an id")),
            None => Ok(row),
        });
        match read {
            Ok(row) => rows.push(row),
            Err(what) => wrong.push(RowError { line, what }),
        }
    }
    Ok((rows, wrong))
}

fn row(line: u64, raw: Raw) -> Result<Row, String> {
    let Raw { account, credits, expires_at, source, reason, id } = raw;
    let account: AccountId = account.parse().map_err(|error| format!("account: {error}"))?;
    let credits: Credits = credits.parse().map_err(|error| format!("credits: {error}"))?;
    if credits.is_zero() {
        return Err("credits: zero brings nothing in".to_owned());
    }
    if credits > Credits::MAX_GRANT {
        return Err("credits: at most 10^12".to_owned());
    }
    if credits.is_negative() && !(expires_at.is_empty() && source.is_empty()) {
        return Err("a debt has no expiry and no source".to_owned());
    }
    let expires: Option<Timestamp> = match expires_at.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|error| format!("expires_at: {error}"))?),
    };
    let source_name = if source.is_empty() { "migration" } else { &source };
    let source = serde_json::from_value(serde_json::json!(source_name))
        .map_err(|_| format!("source: there is none called {source_name:?}"))?;
    if reason.chars().count() > MAX_REASON {
        return Err(format!("reason: at most {MAX_REASON} characters"));
    }
    if reason.contains(char::is_control) {
        return Err("reason: no control characters".to_owned());
    }
    let reason = match (reason.as_str(), credits.is_negative()) {
        ("", true) => "migrated debt".to_owned(),
        ("", false) => "migrated balance".to_owned(),
        _ => reason,
    };
    let kind = if credits.is_negative() { "debt" } else { source_name };
    let expires_text = expires.map(|at| at.to_string()).unwrap_or_default();
    let name = match id.as_str() {
        "" => ["row", account.as_str(), kind, &expires_text].join("\n"),
        id => ["id", account.as_str(), id].join("\n"),
    };
    Ok(Row { line, account, credits, expires_at: expires, source, reason, key: key(&name) })
}

/// The idempotency key of a row's name: `import-` and 32 hexadecimal digits.
fn key(name: &str) -> String {
    let digest = digest::digest(&digest::SHA256, name.as_bytes());
    digest.as_ref()[..16].iter().fold("import-".to_owned(), |key, byte| format!("{key}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_or_refused_by_line() {
        fn check(line: &str, expected: Result<(&str, &str), &str>) {
            let file = format!("account,credits,expires_at,source,reason,id\n{line}\n");
            let (rows, wrong) = read(file.as_bytes()).unwrap();
            match (rows.first(), wrong.first(), expected) {
                (Some(row), None, Ok((credits, reason))) => {
                    assert_eq!((&*row.credits.to_string(), &*row.reason), (credits, reason));
                    assert_eq!(row.line, 2);
                }
                (None, Some(wrong), Err(what)) => {
                    assert_eq!(wrong.line, 2);
                    assert!(wrong.what.contains(what), "{line}: {wrong}");
                }
                got => panic!("{line}: {got:?}"),
            }
        }
        check("acme,12.5,,,,", Ok(("12.5", "migrated balance")));
        check("acme,-3,,,,", Ok(("-3", "migrated debt")));
        check(
            "acme, 1 ,2999-01-01T00:00:00Z,paid,from the old one,7",
            Ok(("1", "from the old one")),
        );
        check("acme,0,,,,", Err("zero"));
        check("acme,1.0000001,,,,", Err("credits"));
        check("acme,1000000000000001,,,,", Err("credits"));
        check("acme,-1000000000000001,,,,", Err("credits"));
        check("acme,1000000000000,,,,", Ok(("1000000000000", "migrated balance")));
        check("acme,1000000000001,,,,", Err("credits: at most 10^12"));
        check("acme,1e3,,,,", Err("credits"));
        check("a b,1,,,,", Err("account"));
        check(",1,,,,", Err("account"));
        check("acme,1,tomorrow,,,", Err("expires_at"));
        check("acme,1,,gift,,", Err("source"));
        check("acme,-1,2999-01-01T00:00:00Z,,,", Err("a debt"));
        check("acme,1,,,", Err("fields"));
        check(&format!("acme,1,,,{},", "x".repeat(513)), Err("reason"));
        check("acme,1,,,\"one\ntwo\",", Err("a quote"));
        check("acme,1,,,,\"r1\nother,2,,,,r2\"", Err("a quote"));
        check("acme,1,,,,\"r1\nother,2,,,,r2", Err("a quote"));
        check("acme,1,,,\"\nother,2,,,\",", Err("a quote"));
        check("acme,1,,,,\"\nother,2,,,,\"", Err("a quote"));
        for stray in [
            "acme,\"1\"0,,,,",
            "\"\"acme,1,,,,",
            "acme,1,,,\"a\"b,",
            "acme,1,,,,\"r1",
            "acme, \"1\",,,,",
        ] {
            check(stray, Err("a quote"));
        }
        check("\"acme\",\"1\",,,\"say \"\"hi\"\", twice\",", Ok(("1", "say \"hi\", twice")));
        check("acme,1,,,, x ", Ok(("1", "migrated balance")));
        check("acme,1,,,one\ttwo,", Err("reason: no control"));
    }

    #[test]
    fn a_row_is_named_by_what_it_is_and_not_by_how_much() {
        let keys = |file: &str| -> (Vec<String>, Vec<u64>) {
            let (rows, wrong) = read(file.as_bytes()).unwrap();
            let lines = wrong.into_iter().map(|wrong| wrong.line).collect();
            (rows.into_iter().map(|row| row.key).collect(), lines)
        };
        let (one, _) = keys("account,credits\nacme,1\n");
        assert_eq!(keys("credits,account,reason\n2,acme,corrected\n").0, one);
        assert_ne!(keys("account,credits\nacme,-1\n").0, one);
        assert_ne!(keys("account,credits,id\nacme,1,a\n").0, one);
        let with_blanks = keys("\n\naccount,credits\n\nacme,1\n\n\nb,2\n");
        assert_eq!((with_blanks.0.len(), with_blanks.1), (2, vec![]));
        let twice = keys("account,credits,id\nacme,1,\nacme,2,\nacme,3,a\nacme,4,b\nacme,5,a\n");
        assert_eq!((twice.0.len(), twice.1), (3, vec![3, 6]));
        let from_a_spreadsheet = keys("account,credits\r\na,x\r\nb,1\r\nc,x\r\n");
        assert_eq!((from_a_spreadsheet.0.len(), from_a_spreadsheet.1), (1, vec![2, 4]));
        for bad in ["account\nacme\n", "account,credits,color\nacme,1,red\n", ""] {
            assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
