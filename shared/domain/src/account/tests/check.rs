//! States that no command makes: what is stored is checked before the state machine goes on from
//! it. Those without holds and rollovers are in the journal's tests.

use super::timestamp;
use crate::Credits;
use crate::account::{
    AccountState, Allowed, Command, Draft, ExpiredHold, GrantId, GrantRequest, HoldId, HoldRequest,
    MAX_HOLDS, MAX_LINGERING, MAX_ROLLOVERS, OperationId, Origin, Reservation, Rollover, Settings,
    Source,
};

fn credits(micros: i128) -> Credits {
    Credits::from_micros(micros).unwrap()
}

fn grant(source: Source, rollover: Option<Rollover>) -> Command {
    Command::Grant(GrantRequest {
        amount: credits(10),
        source,
        priority: None,
        effective_at: None,
        expires_at: Some(timestamp(100)),
        paid: None,
        rollover,
    })
}

fn hold(credits: Credits) -> Command {
    Command::Hold(HoldRequest {
        credits,
        millis: 50,
        partial: false,
        ratio_version: None,
        price_group: None,
    })
}

fn all_of_it() -> Rollover {
    Rollover { min: Credits::ZERO, max: Credits::MAX, expires_at: timestamp(200) }
}

/// Two grants of 10 millionths, of which the first rolls over; a hold of all but 5 of them and a
/// hold of 4, of which nothing is covered but those 5; and one that has expired.
fn base() -> AccountState {
    let settings = Settings { credit_line: credits(100), ..Settings::default() };
    let mut draft = Draft::open(&AccountState::new(settings), timestamp(0));
    for command in
        [hold(credits(1)), grant(Source::Plan, Some(all_of_it())), grant(Source::Paid, None)]
    {
        draft.apply(Origin::System, &command).unwrap();
    }
    let mut draft = Draft::open(&draft.finish().state, timestamp(60));
    for micros in [15, 9] {
        draft.apply(Origin::System, &hold(credits(micros))).unwrap();
    }
    draft.finish().state
}

#[test]
fn what_no_command_makes_is_refused() {
    let check = |change: &dyn Fn(&mut AccountState), expected: &str| {
        let mut state = base();
        assert_eq!(state.check(), Ok(()));
        change(&mut state);
        assert_eq!(state.check(), Err(expected));
    };
    let rollover = |change: fn(&mut Rollover)| {
        move |state: &mut AccountState| change(state.grants[0].rollover.as_mut().unwrap())
    };
    check(&|state| state.grants[0].expires_at = None, "a rollover out of range");
    check(&|state| state.grants[0].source = Source::Paid, "a rollover out of range");
    check(&rollover(|rollover| rollover.min = credits(-1)), "a rollover out of range");
    check(&rollover(|rollover| rollover.max = credits(-1)), "a rollover out of range");
    let bounds =
        |min, max| rollover_of(Rollover { min: credits(min), max: credits(max), ..all_of_it() });
    check(&bounds(2, 1), "a rollover out of range");
    let mut equal = base();
    bounds(1, 1)(&mut equal);
    assert_eq!(equal.check(), Ok(()));

    let many = |state: &mut AccountState, count: usize, end: Option<i64>| {
        let first = state.grants[0];
        state.grants.extend((0..).take(count).map(|position| {
            let id = GrantId(OperationId { seq: 2, position });
            crate::account::Grant {
                id,
                reserved: Credits::ZERO,
                remaining: if end.is_some() { Credits::ZERO } else { credits(1) },
                expires_at: end.map(timestamp).or(first.expires_at),
                rollover: first.rollover.filter(|_| end.is_none()),
                ..first
            }
        }));
        state.grants.sort_by(crate::account::Grant::burn_order);
    };
    let mut full = base();
    many(&mut full, MAX_ROLLOVERS - 1, None);
    assert_eq!(full.check(), Ok(()));
    check(&|state| many(state, MAX_ROLLOVERS, None), "too many rollovers");
    check(&|state| many(state, MAX_LINGERING + 1, Some(60)), "too many grants that have ended");
    // A grant whose end has come is there for what holds reserve of it, and only that.
    let end = |index: usize| {
        move |state: &mut AccountState| {
            state.grants[index].expires_at = Some(timestamp(60));
            state.grants.sort_by(crate::account::Grant::burn_order);
        }
    };
    check(&end(0), "a grant's period is over");
    check(
        &|state| {
            state.grants[0].rollover = None;
            state.grants[0].remaining = credits(11);
            end(0)(state);
        },
        "a grant's period is over",
    );
    check(&|state| state.grants[0].reserved = credits(-1), "an empty grant is kept");

    let too_many = |state: &mut AccountState| {
        let hold = state.holds[1].clone();
        state.holds.extend((1..).take(MAX_HOLDS - 1).map(|position| {
            let id = HoldId(OperationId { seq: 2, position: 2 + position });
            crate::account::Hold { id, reserved: Vec::new(), ..hold.clone() }
        }));
    };
    check(&too_many, "too many holds");
    let mut full = base();
    too_many(&mut full);
    full.holds.pop();
    assert_eq!(full.check(), Ok(()));
    check(&|state| state.holds.swap(0, 1), "holds out of order");
    check(&|state| state.holds[1].id = state.holds[0].id, "holds out of order");
    check(
        &|state| state.expired_holds = vec![state.expired_holds[0]; MAX_HOLDS + 1],
        "too many expired holds",
    );
    let mut full = base();
    full.expired_holds = vec![full.expired_holds[0]; MAX_HOLDS];
    assert_eq!(full.check(), Ok(()));
    let late = |change: fn(&mut ExpiredHold)| {
        move |state: &mut AccountState| change(&mut state.expired_holds[0])
    };
    check(&late(|hold| hold.expired_at = timestamp(61)), "an expired hold is not");
    check(&late(|hold| hold.id.0.seq = 3), "an expired hold is not");
    let mut just = base();
    just.expired_holds[0].expired_at = timestamp(60);
    just.expired_holds[0].id.0.seq = 2;
    assert_eq!(just.check(), Ok(()));
    check(&|state| state.holds[1].id.0.seq = 3, "a hold's id is not its own");
    check(&|state| state.holds[0].expires_at = timestamp(60), "a hold is over");
    check(&|state| state.holds[0].unfunded = credits(-1), "a hold below zero");
    check(
        &|state| {
            let grant = state.grants[1].id;
            state.holds[0].reserved.push(Reservation { grant, credits: Credits::ZERO });
        },
        "an empty reservation is kept",
    );
    check(&|state| state.holds[0].reserved[0].grant.0.seq = 2, "a hold reserves from no grant");
    check(&|state| state.holds[0].reserved[0].credits = credits(9), "a grant and its holds differ");
    check(&|state| state.grants[1].reserved = credits(9), "a grant and its holds differ");
    check(&|state| state.grants[0].remaining = credits(9), "more is reserved than there is");
    check(
        &|state| {
            state.grants[0].effective_at = timestamp(61);
            state.grants.sort_by(crate::account::Grant::burn_order);
        },
        "a pending grant is reserved",
    );
    check(&|state| state.holds[0].unfunded = Credits::MAX, "debt and holds over 10^15");
    let half = || credits(Credits::MAX.micros() / 2);
    check(
        &|state| {
            state.debt = half();
            state.holds[0].unfunded = half();
        },
        "debt and holds over 10^15",
    );
    check(
        &|state| {
            state.grants[1].remaining = Credits::MAX;
        },
        "grants over 10^15",
    );
    // What is reserved of grants and what is not covered, together.
    check(
        &|state| {
            let part = state.holds[0].reserved.last_mut().unwrap();
            let more = half().checked_sub(part.credits).unwrap();
            let grant = state.grants.iter_mut().find(|grant| grant.id == part.grant).unwrap();
            part.credits = half();
            grant.reserved = grant.reserved.checked_add(more).unwrap();
            grant.remaining = grant.remaining.checked_add(more).unwrap();
            state.holds[0].unfunded = credits(Credits::MAX.micros() - 100);
        },
        "holds over 10^15",
    );
}

fn rollover_of(rollover: Rollover) -> impl Fn(&mut AccountState) {
    move |state| state.grants[0].rollover = Some(rollover)
}

#[test]
fn what_is_there_is_found() {
    let state = base();
    for hold in state.holds() {
        assert_eq!(state.hold(hold.id), Some(hold));
    }
    for grant in state.grants() {
        assert_eq!(state.grant(grant.id), Some(grant));
    }
    let nobody = OperationId { seq: 9, position: 9 };
    assert_eq!((state.hold(HoldId(nobody)), state.grant(GrantId(nobody))), (None, None));
    let expired = state.expired_holds.iter().map(|hold| hold.id);
    let holds: Vec<_> = state.holds().iter().map(|hold| hold.id).chain(expired).collect();
    assert_eq!(holds.len(), 3);
    for hold in holds {
        assert!(state.may_capture(hold));
    }
    assert!(!state.may_capture(HoldId(nobody)));
}

#[test]
fn the_last_void_is_named_by_its_entry() {
    let mut state = base();
    assert_eq!(state.last_void(), 0);
    for _ in 0..2 {
        let grant = grant(Source::Plan, None);
        let mut draft = Draft::open(&state, timestamp(60));
        let grant = GrantId(draft.apply(Origin::System, &grant).unwrap());
        draft.apply(Origin::System, &Command::VoidGrant(grant)).unwrap();
        state = draft.finish().state;
        assert_eq!(state.last_void(), state.seq());
    }
}

#[test]
fn ids() {
    let check = |text: &str, expected: Option<(u64, u8)>| {
        let expected = expected.map(|(seq, position)| OperationId { seq, position });
        let id: Option<OperationId> = text.parse().ok();
        assert_eq!(id, expected, "{text}");
        assert_eq!(id.map(|id| id.to_string()), expected.map(|_| text.to_owned()));
        let of = |prefix: &str| text.replacen("op_", prefix, 1);
        assert_eq!(of("gr_").parse().ok(), expected.map(GrantId), "{text}");
        assert_eq!(of("hold_").parse().ok(), expected.map(HoldId), "{text}");
    };
    check("op_1_0", Some((1, 0)));
    check("op_0_255", Some((0, 255)));
    check("op_72057594037927935_12", Some(((1 << 56) - 1, 12)));
    for text in [
        "op_72057594037927936_12",
        "op_1_256",
        "op_01_0",
        "op_1_00",
        "op_+1_0",
        "op_1_+0",
        "op_-1_0",
        "op_1",
        "op_1_",
        "op__1",
        "op_1_0_0",
        "1_0",
        "OP_1_0",
        "op_1_0 ",
        "",
        "op_99999999999999999999_0",
    ] {
        check(text, None);
    }
}

/// As they are in JSON and in settings.
#[test]
fn names() {
    let sources = [
        (Source::Paid, "paid"),
        (Source::Plan, "plan"),
        (Source::Promo, "promo"),
        (Source::Trial, "trial"),
        (Source::Rollover, "rollover"),
        (Source::Refund, "refund"),
        (Source::Migration, "migration"),
    ];
    assert!(sources.iter().all(|(source, name)| source.as_str() == *name));
    let allowed = [
        (Allowed::Yes, None),
        (Allowed::InsufficientCredits, Some("insufficient_credits")),
        (Allowed::Debt, Some("debt")),
        (Allowed::Suspended, Some("suspended")),
        (Allowed::Closed, Some("closed")),
    ];
    assert!(allowed.iter().all(|(allowed, reason)| allowed.reason() == *reason));
}
