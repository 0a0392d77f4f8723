//! What the state machine takes for one charge: `cargo bench -p uc-domain --bench apply`.
//!
//! Prints the instructions of one charge over five grants, in an account with little and with much
//! behind it, and fails where they are over the bar.

use std::env;
use std::hint::black_box;

use uc_domain::account::{
    AccountState, Charge, Command, Draft, GrantRequest, HoldRequest, Origin, Settings, Source,
    apply,
};
use uc_domain::{Credits, Timestamp};

mod common;

use common::{COUNTED, instructions};

/// Instructions of a charge over five grants at most.
const BAR: u64 = 10_000;

fn main() {
    if let Ok(counted) = env::var(COUNTED) {
        let mut numbers = counted.split(' ').map(|number| number.parse::<u32>().expect("a number"));
        let mut next = || numbers.next().expect("three numbers");
        let (entries, holds, times) = (next(), next(), next());
        let state = account(entries, holds);
        for _ in 0..times {
            let applied = apply(black_box(&state), client(), &charge(45), Timestamp::MIN);
            assert!(black_box(applied).is_ok());
        }
        return;
    }
    for (entries, holds) in [(1, 0), (1_000, 0), (1, 2)] {
        let count = |times| instructions(&format!("{entries} {holds} {times}"));
        let (Some(few), Some(many)) = (count(100), count(1_100)) else {
            return println!("no instructions counted: Valgrind is not installed");
        };
        let each = (many - few) / 1_000;
        println!("after {entries:>5} entries, with {holds} holds: {each} instructions a charge");
        assert!(each <= BAR || holds > 0, "a charge over five grants is over {BAR} instructions");
    }
}

fn client() -> Origin {
    Origin::Client { key: "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b".to_owned() }
}

fn charge(credits: u32) -> Command {
    Command::Charge(Charge {
        credits: Credits::from_whole(credits),
        items: Vec::new(),
        ratio_version: Some(17),
        price_group: None,
        max_credits: None,
        occurred_at: None,
    })
}

/// An account of five grants of ten credits, after so many entries.
fn account(entries: u32, holds: u32) -> AccountState {
    let mut draft = Draft::open(&AccountState::new(Settings::default()), Timestamp::MIN);
    for priority in 1..=5 {
        let request = GrantRequest {
            amount: Credits::from_whole(10 + entries),
            source: Source::Promo,
            priority: Some(priority),
            effective_at: None,
            expires_at: None,
            paid: None,
            rollover: None,
        };
        draft.apply(client(), &Command::Grant(request)).expect("a grant");
    }
    for _ in 0..holds {
        let request = HoldRequest {
            credits: Credits::from_whole(1),
            millis: 60_000,
            partial: false,
            ratio_version: None,
            price_group: None,
        };
        draft.apply(client(), &Command::Hold(request)).expect("a hold");
    }
    let mut state = draft.finish().state;
    for _ in 0..entries {
        state = apply(&state, client(), &charge(1), Timestamp::MIN).expect("a charge").state;
    }
    state
}
