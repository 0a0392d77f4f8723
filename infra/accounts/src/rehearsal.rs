//! What rows would come to, by the ledger's own rules: a dry run knows an account's grants and its
//! debt, and applies the rows to them in memory, in their order.

use std::collections::HashMap;

use serde_json::Value;
use uc_domain::account::{
    AccountState, Charge, Command, GrantRequest, HoldRequest, Origin, Rejection, Settings, Source,
    apply,
};
use uc_domain::{AccountId, Credits, Timestamp};

use crate::rows::Row;

/// How long what debt can't be paid with is put aside, in milliseconds.
const ASIDE_MILLIS: i64 = 60_000;

/// The accounts of a dry run, as the rows so far would leave them.
#[derive(Debug, Default)]
pub(crate) struct Rehearsal(HashMap<AccountId, AccountState>);

impl Rehearsal {
    /// Whether an account was seen.
    pub(crate) fn knows(&self, account: &AccountId) -> bool {
        self.0.contains_key(account)
    }

    /// An account as the deployment describes it; `None` where it is not there yet. False where
    /// the description can't be read.
    pub(crate) fn begin(&mut self, account: &AccountId, described: Option<&Value>) -> bool {
        let state = match described {
            Some(described) => state_of(described),
            None => Some(AccountState::new(Settings::default())),
        };
        state.map(|state| self.0.insert(account.clone(), state)).is_some()
    }

    /// Applies a row. A refused one changes nothing.
    pub(crate) fn apply(&mut self, row: &Row, now: Timestamp) -> Result<(), Rejection> {
        let Some(state) = self.0.get_mut(&row.account) else { return Ok(()) };
        let command = if row.credits.is_negative() {
            Command::Charge(Charge::fixed(-row.credits))
        } else {
            grant(row.credits, row.source, None, None, row.expires_at)
        };
        let now = now.max(state.settled_at());
        *state = apply(state, Origin::Client { key: row.key.clone() }, &command, now)?.state;
        Ok(())
    }
}

fn grant(
    amount: Credits,
    source: Source,
    priority: Option<u8>,
    effective_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
) -> Command {
    Command::Grant(GrantRequest {
        amount,
        source,
        priority,
        effective_at,
        expires_at,
        paid: None,
        rollover: None,
    })
}

/// A state with the grants and the debt of an account's description.
fn state_of(described: &Value) -> Option<AccountState> {
    let now: Timestamp = described["as_of"].as_str()?.parse().ok()?;
    let mut state = AccountState::new(Settings::default());
    let step = |state: &mut AccountState, command: &Command| {
        *state = apply(state, Origin::System, command, now).ok()?.state;
        Some(())
    };
    for described in described["grants"].as_array()? {
        let time = |name: &str| described[name].as_str().map(str::parse::<Timestamp>);
        let expires_at = time("expires_at").transpose().ok()?;
        // One that ended and lives on for holds takes no place.
        if expires_at.is_some_and(|expires_at| expires_at <= now) {
            continue;
        }
        let remaining: Credits = described["remaining"].as_str()?.parse().ok()?;
        // One of which nothing but what rolls over is left takes a place, too.
        let remaining = remaining.max(Credits::from_micros(1)?);
        let source = serde_json::from_value(described["source"].clone()).ok()?;
        let priority = u8::try_from(described["priority"].as_u64()?).ok();
        let effective_at = time("effective_at").transpose().ok()?;
        step(&mut state, &grant(remaining, source, priority, effective_at, expires_at))?;
    }
    let debt: Credits = described["balance"]["debt"].as_str()?.parse().ok()?;
    if debt.is_positive() {
        // With a debt there are grants only where holds reserve them.
        let available = state.balance().available;
        if available.is_positive() {
            let aside = HoldRequest {
                credits: available,
                millis: ASIDE_MILLIS,
                partial: false,
                ratio_version: None,
                price_group: None,
            };
            step(&mut state, &Command::Hold(aside))?;
        }
        step(&mut state, &Command::Charge(Charge::fixed(debt)))?;
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rows;

    #[test]
    fn rows_find_the_limits_that_the_ledger_has() {
        /// How many of `rows` (source and credits) an account with so many grants takes.
        fn check(there: (&str, usize), debt: &str, file: &[(&str, &str)], expected: &[bool]) {
            let as_of = "2026-11-26T00:00:00.000Z";
            let (source, count) = there;
            let grant = json!({"id": "gr_1_0", "source": source, "priority": 50, "remaining": "1",
                "pending": false, "effective_at": as_of});
            let described =
                json!({"as_of": as_of, "grants": vec![grant; count], "balance": {"debt": debt}});
            let lines = (0..)
                .zip(file)
                .map(|(number, (source, credits))| format!("acme,{credits},{source},{number}\n"));
            let text = std::iter::once("account,credits,source,id\n".to_owned()).chain(lines);
            let text: String = text.collect();
            let (rows, wrong) = rows::read(text.as_bytes()).unwrap();
            assert!(wrong.is_empty(), "{wrong:?}");
            let mut rehearsal = Rehearsal::default();
            assert!(rehearsal.begin(&rows[0].account, Some(&described)));
            let now = as_of.parse().unwrap();
            let taken: Vec<_> = rows.iter().map(|row| rehearsal.apply(row, now).is_ok()).collect();
            assert_eq!(taken, expected, "{count} of {source}, owing {debt}: {file:?}");
        }
        check(
            ("promo", 60),
            "0",
            &[("promo", "5"), ("paid", "5"), ("", "1")],
            &[false, true, false],
        );
        check(("promo", 59), "0", &[("trial", "5"), ("promo", "5")], &[true, false]);
        check(("paid", 64), "0", &[("paid", "5"), ("promo", "5")], &[true, false]);
        // What pays a debt needs no place, and what is left of it does.
        check(("promo", 60), "7", &[("promo", "5"), ("promo", "5")], &[true, false]);
        check(("promo", 0), "0", &[("", "1000000000000"), ("", "-5")], &[true, true]);
        let large = ("", "-900000000000000");
        check(("promo", 0), "0", &[large, large], &[true, false]);
    }
}
