//! The tables of cases of the state machine, through the ledger over a table in memory: each
//! command is a request of its own, and each request is sent twice.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::runtime::Runtime;
use uc_domain::account::{AccountState, Command, Operation, Origin, Rejection, Settings};
use uc_domain::{AccountId, Timestamp};
use uc_ledger::store::Store;
use uc_ledger::{Ask, Asked, Audit, Clock, Ledger, Outcome, Private, StoredEntry};
use uc_tests::{ManualClock, MemoryStore};

#[path = "../../shared/domain/src/account/tests/script.rs"]
mod script;

use script::{Case, Machine, check_all, timestamp};

/// A ledger with one account.
struct Stored {
    runtime: Runtime,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    ledger: Ledger,
    account: AccountId,
}

impl Stored {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new(0));
        let clock = Arc::new(ManualClock::new(timestamp(0)));
        let ledger = Ledger::new(
            Arc::clone(&store) as Arc<dyn Store>,
            Arc::clone(&clock) as Arc<dyn Clock>,
            Settings::default(),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { runtime, store, clock, ledger, account: "acct".parse().unwrap() }
    }

    fn head(&self) -> Option<StoredEntry> {
        self.runtime.block_on(self.ledger.head(&self.account)).unwrap()
    }

    /// Everything that is stored.
    fn written(&self) -> (Option<[u8; 32]>, usize) {
        (self.head().map(|head| head.hash), self.store.items().len())
    }

    fn send(&self, origin: &Origin, command: &Command) -> Result<Outcome, Rejection> {
        let ask = Ask {
            account: &self.account,
            origin: origin.clone(),
            fingerprint: [7; 16],
            private: Private::default(),
            opens: true,
            extra: &|_| Vec::new(),
        };
        let decide = |_: &AccountState| Ok::<_, Infallible>(command.clone());
        match self.runtime.block_on(self.ledger.execute(&ask, decide)) {
            Ok(outcome) => Ok(outcome),
            Err(Asked::Rejected(rejection)) => Err(rejection),
            Err(error) => panic!("{error}"),
        }
    }
}

impl Machine for Stored {
    fn open(&mut self, now: Timestamp) {
        self.clock.advance(now.millis() - self.clock.now().millis());
    }

    fn settings(&self) -> Settings {
        self.state().settings().clone()
    }

    fn apply(&mut self, origin: Origin, command: &Command) -> Result<Vec<Operation>, Rejection> {
        let before = self.written();
        let first = self.send(&origin, command);
        let after = self.written();
        let second = self.send(&origin, command);
        assert_eq!(self.written(), after, "the second changes nothing");
        match (first, second) {
            (Ok(first), Ok(second)) => {
                assert!(!first.replayed && second.replayed);
                assert_eq!(second.happened.operation, first.happened.operation);
                assert_eq!(second.happened.balance_after, first.happened.balance_after);
                assert_eq!(second.state, first.state);
                assert_ne!(before, after);
                Ok(self.head().expect("it was written").entry.operations)
            }
            (Err(first), Err(second)) => {
                assert_eq!(first, second);
                assert_eq!(before, after, "a rejection changes nothing");
                let happened = self.ledger.operation_of(&self.account, &origin);
                assert!(self.runtime.block_on(happened).unwrap().is_none(), "the key is free");
                Err(first)
            }
            (first, second) => panic!("{first:?}, then {second:?}"),
        }
    }

    fn look(&mut self) -> Vec<Operation> {
        let written = self.runtime.block_on(self.ledger.settle(&self.account)).unwrap();
        let again = self.runtime.block_on(self.ledger.settle(&self.account)).unwrap();
        assert!(!again, "settled once");
        let head = self.head().filter(|_| written);
        head.map_or_else(Vec::new, |head| head.entry.operations)
    }

    fn close(&mut self) {}

    fn state(&self) -> AccountState {
        let head = self.head();
        head.map_or_else(|| AccountState::new(Settings::default()), |head| head.entry.state)
    }

    /// The entries alone: the cases bring their own evidence, and write no items of it.
    fn finish(&mut self) {
        let mut audit = Audit::new(self.account.clone());
        for seq in 1..=self.state().seq() {
            let entry = self.runtime.block_on(self.ledger.entry(&self.account, seq)).unwrap();
            audit.take(Ok(entry.expect("there is no gap"))).unwrap();
        }
    }
}

/// All cases but those of entries that are full: here every command is an entry of its own.
#[test]
fn the_ledger_answers_as_the_tables_say() {
    let mut cases = script::cases();
    let full = |case: &Case| case.lines.iter().any(|line| line.contains("!limit entry"));
    cases.retain(|case| !full(case));
    check_all("the ledger", &cases, |_| Stored::new());
}
