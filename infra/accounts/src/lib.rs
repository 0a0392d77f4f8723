//! Brings the balances of another system in, over a deployment's HTTP API.
//!
//! Every row is one request under an idempotency key that follows from what the row is: the same
//! file again, after a failure or by mistake, brings in what is missing and nothing twice.

mod rehearsal;
mod remote;
pub mod rows;

use std::collections::HashMap;
use std::sync::Mutex;

pub use remote::Deployment;

use crate::rehearsal::Rehearsal;
use crate::remote::Became;
use crate::rows::{Row, RowError};

/// Accounts that are worked on at the same time. The rows of one account keep their order.
const AT_ONCE: usize = 8;

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Balances brought in; in a dry run, that would be.
    pub balances: u64,
    /// Debts brought in; in a dry run, that would be.
    pub debts: u64,
    /// Rows that an earlier run had brought in.
    pub there: u64,
    /// Rows that were not brought in, and why, by line. Nothing of them changed.
    pub failed: Vec<RowError>,
}

impl Summary {
    /// For people.
    pub fn text(&self, dry_run: bool) -> String {
        let Self { balances, debts, there, failed } = self;
        let would = if dry_run { "would be " } else { "" };
        format!(
            "{balances} balances and {debts} debts {would}brought in, {there} there already, {} \
             failed",
            failed.len()
        )
    }
}

/// Brings the rows of a CSV file in; in a dry run it only looks at what is
/// there, and applies the rows to that in memory, by the ledger's own rules. A row that is
/// wrong is reported and keeps no other from being brought in.
///
/// # Errors
/// The file is none of this form: no row was looked at.
pub fn import(deployment: &Deployment, file: &[u8], dry_run: bool) -> Result<Summary, csv::Error> {
    let (rows, wrong) = rows::read(file)?;
    // The rows of one account by one worker, in their order.
    let mut workers: HashMap<String, usize> = HashMap::new();
    let mut work: Vec<Vec<Row>> = vec![Vec::new(); AT_ONCE];
    for row in rows {
        let next = workers.len() % AT_ONCE;
        let worker = *workers.entry(row.account.to_string()).or_insert(next);
        work[worker].push(row);
    }
    let summary = Mutex::new(Summary { failed: wrong, ..Summary::default() });
    std::thread::scope(|scope| {
        for rows in &work {
            let summary = &summary;
            scope.spawn(move || {
                let mut rehearsal = Rehearsal::default();
                for row in rows {
                    let became = if dry_run {
                        deployment.rehearse(row, &mut rehearsal)
                    } else {
                        deployment.bring_in(row)
                    };
                    let mut summary = summary.lock().expect("no worker panics");
                    match became {
                        Ok(Became::There) => summary.there += 1,
                        Ok(Became::New) if row.credits.is_negative() => summary.debts += 1,
                        Ok(Became::New) => summary.balances += 1,
                        Err(error) => summary.failed.push(RowError {
                            line: row.line,
                            what: format!("{}: {error}", row.account),
                        }),
                    }
                }
            });
        }
    });
    let mut summary = summary.into_inner().expect("no worker panics");
    summary.failed.sort_by_key(|failed| failed.line);
    Ok(summary)
}
