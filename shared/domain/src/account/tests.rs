//! Tests of the state machine: a table of cases, and random histories against a slow model.

mod cases;
mod check;
mod histories;
mod model;
mod script;

use script::timestamp;

use crate::account::{AccountState, Applied, Balance, Detail};
use crate::journal::Entry;

/// What every entry must satisfy, whatever led to it: it reads back as it was written, and what is
/// read leads from the balance before to the balance after, so that a replay is the first answer.
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
    let read = Entry::decode(&entry.encode()).expect("decodes");
    assert_eq!(read, entry, "as it was written");

    let mut balance = before.balance();
    for ((position, operation), next) in (0..=u8::MAX).zip(&read.operations).zip(read.balances()) {
        assert_eq!((operation.id.seq, operation.id.position), (after.seq(), position));
        let posted = balance.posted.checked_add(operation.credits()).unwrap();
        let debt = balance.debt.checked_add(operation.debt_change()).unwrap();
        let held = balance.held.checked_add(operation.held_change()).unwrap();
        let available = posted.checked_sub(held).unwrap();
        let expected = Balance { posted, available, held, debt };
        assert_eq!(next, expected, "balance after {}", operation.id);
        assert!(operation.postings.iter().all(|posting| !posting.credits.is_zero()));
        assert!(Detail::KINDS.contains(&operation.detail.kind()));
        balance = next;
    }
    assert_eq!(balance, after.balance());
}

/// The balance as integers, for sums over more than one entry.
fn micros(balance: Balance) -> (i128, i128) {
    (balance.posted.micros(), balance.debt.micros())
}
