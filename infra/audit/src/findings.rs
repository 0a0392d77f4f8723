//! What an audit found.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uc_domain::AccountId;
use uc_ledger::Difference;

use crate::Failure;
use crate::cli::Options;

/// Differences that are kept and printed; the others are counted.
const SHOWN: usize = 20;

/// What an audit found so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Findings {
    /// Accounts looked at.
    pub accounts: u64,
    /// Journal entries recomputed.
    pub entries: u64,
    /// Signed checkpoints compared.
    pub checkpoints: u64,
    /// Accounts that differ, and other places that do.
    pub differing: u64,
    /// The first of them.
    pub shown: Vec<String>,
}

impl Findings {
    /// Notes the first difference of an account.
    pub fn differs(&mut self, account: &AccountId, difference: &Difference) {
        self.note(format!("{account}: {difference}"));
    }

    /// Notes what is wrong anywhere.
    pub fn note(&mut self, what: String) {
        self.differing += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(what);
        }
    }

    /// Adds what somebody else found.
    pub fn add(&mut self, other: Self) {
        self.accounts += other.accounts;
        self.entries += other.entries;
        self.checkpoints += other.checkpoints;
        self.differing += other.differing;
        let room = SHOWN.saturating_sub(self.shown.len());
        self.shown.extend(other.shown.into_iter().take(room));
    }

    /// The same, where there was anything to look at or need not have been: a wrong place is not
    /// right.
    pub(crate) fn of_something(self, options: &Options) -> Result<Self, Failure> {
        if self.accounts == 0 && self.differing == 0 && !options.allow_empty {
            return Err("there is no account: give --allow-empty where that is right".into());
        }
        Ok(self)
    }

    /// For people.
    pub fn text(&self, took: Duration) -> String {
        let Self { accounts, entries, checkpoints, differing, shown } = self;
        let mut text = String::new();
        for what in shown {
            let _ = writeln!(text, "{what}");
        }
        let more = differing.saturating_sub(shown.len() as u64);
        if more > 0 {
            let _ = writeln!(text, "and {more} more");
        }
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let a_second = entries.saturating_mul(1_000) / millis;
        let _ = write!(
            text,
            "{accounts} accounts, {entries} entries, {checkpoints} checkpoints: {differing} \
             differences; {}.{:03} s, {a_second} entries a second",
            millis / 1_000,
            millis % 1_000,
        );
        if let Some(peak) = peak_memory() {
            let _ = write!(text, ", at most {} MB of memory", peak / 1_024);
        }
        text
    }
}

/// The most memory that this process has had, in KB, where the system tells (Linux).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
