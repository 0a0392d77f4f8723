//! Tests of the state machine: a table of cases, and random histories against a slow model.

mod cases;
mod histories;
mod model;
mod script;

use crate::Timestamp;
use crate::account::{AccountState, Applied, Balance};
use crate::journal::Entry;

/// Day 0 of the tests, 2026-01-01.
const DAY_0: i64 = 1_767_225_600_000;

/// What every entry must satisfy, whatever led to it: it reads back as it was written, and its
/// operations lead from the balance before to the balance after.
fn check_entry(before: &AccountState, applied: &Applied) {
    let after = &applied.state;
    assert_eq!(after.check(), Ok(()));
    assert_eq!(after.seq(), before.seq() + 1);
    let entry = Entry {
        time: after.settled_at(),
        operations: applied.operations.clone(),
        state: after.clone(),
        private_digest: None,
    };
    assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(&entry), "as it was written");

    let (mut balance, operations) = (before.balance(), &applied.operations);
    for ((position, operation), next) in (0..=u8::MAX).zip(operations).zip(entry.balances()) {
        assert_eq!((operation.id.seq, operation.id.position), (after.seq(), position));
        let posted = balance.posted.checked_add(operation.credits()).unwrap();
        let debt = balance.debt.checked_add(operation.debt_change()).unwrap();
        let held = balance.held.checked_add(operation.held_change()).unwrap();
        let available = posted.checked_sub(held).unwrap();
        let expected = Balance { posted, available, held, debt };
        assert_eq!(next, expected, "balance after {}", operation.id);
        assert!(operation.postings.iter().all(|posting| !posting.credits.is_zero()));
        balance = next;
    }
    assert_eq!(balance, after.balance());
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(DAY_0 + millis).unwrap()
}

/// The balance as integers, for sums over more than one entry.
fn micros(balance: Balance) -> (i128, i128) {
    (balance.posted.micros(), balance.debt.micros())
}
