//! Random histories, against the model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::model::{Event, Model, What, World, target_name};
use super::{check_entry, micros, timestamp};
use crate::account::{
    AccountState, Applied, Charge, Command, Detail, Draft, GrantId, GrantRequest, Operation,
    OperationId, Origin, Overuse, Rejection, Settings, Source,
};
use crate::{Credits, Timestamp};

/// Times are small numbers of milliseconds, so that instants often coincide.
#[derive(Debug, Clone)]
enum Step {
    Grant {
        amount: Credits,
        source: Source,
        priority: Option<u8>,
        /// From and until, relative to now.
        from: Option<i64>,
        until: Option<i64>,
        /// How many alike.
        times: usize,
    },
    Charge {
        credits: Credits,
        max: Option<Credits>,
        group: Option<&'static str>,
    },
    Settings {
        overuse: Overuse,
        line: Credits,
        group: &'static str,
    },
}

/// One journal entry: how time moved, and what was asked.
type Entry = (i64, Vec<Step>);

fn amount() -> impl Strategy<Value = Credits> {
    let micros = prop_oneof![
        20 => (-2..40_i128).prop_map(|whole| whole * 1_000_000),
        4 => -2..2_000_000_i128,
        1 => Just(400_000_000_000_000_000_000),
        1 => Just(1_000_000_000_000_000_000_000),
    ];
    micros.prop_map(|micros| Credits::from_micros(micros).unwrap())
}

fn source() -> impl Strategy<Value = Source> {
    prop::sample::select(vec![
        Source::Paid,
        Source::Plan,
        Source::Promo,
        Source::Trial,
        Source::Rollover,
        Source::Refund,
        Source::Migration,
    ])
}

fn step(times: impl Strategy<Value = usize> + 'static) -> impl Strategy<Value = Step> {
    let group = || prop::sample::select(vec!["default", "pro"]);
    let overuse = prop::sample::select(vec![Overuse::Record, Overuse::Refuse, Overuse::Forgive]);
    let priority = prop::sample::select(vec![0, 50, 100, 255]);
    let from = prop_oneof![2 => -9..1_i64, 3 => 1..6_i64];
    let grant = (
        amount(),
        source(),
        prop::option::of(priority),
        prop::option::of(from),
        prop::option::of(-6..9_i64),
        times,
    )
        .prop_map(|(amount, source, priority, from, until, times)| Step::Grant {
            amount,
            source,
            priority,
            from,
            until,
            times,
        });
    let charge =
        (amount(), prop::option::weighted(0.2, amount()), prop::option::weighted(0.3, group()))
            .prop_map(|(credits, max, group)| Step::Charge { credits, max, group });
    let settings = (overuse, amount(), group()).prop_map(|(overuse, line, group)| Step::Settings {
        overuse,
        line: line.or_zero(),
        group,
    });
    prop_oneof![6 => grant, 6 => charge, 1 => settings]
}

fn history(
    step: impl Strategy<Value = Step> + 'static,
    entries: usize,
) -> impl Strategy<Value = Vec<Entry>> {
    let wait = prop_oneof![3 => Just(0), 8 => 1..5_i64, 1 => -4..0_i64, 1 => 10..40_i64];
    prop::collection::vec((wait, prop::collection::vec(step, 0..5)), 1..entries)
}

/// So many grants that they merge.
fn crowded_history() -> impl Strategy<Value = Vec<Entry>> {
    let soon = || prop::option::of(1..4_i64);
    let filler = (prop::sample::select(vec![Source::Plan, Source::Paid]), soon(), 45..61_usize);
    let filler = filler.prop_map(|(source, from, times)| Step::Grant {
        amount: Credits::from_whole(1),
        source,
        priority: None,
        from,
        until: None,
        times,
    });
    let source = prop::sample::select(vec![
        Source::Paid,
        Source::Paid,
        Source::Refund,
        Source::Refund,
        Source::Promo,
    ]);
    let priority = prop::option::of(prop::sample::select(vec![0, 50, 52, 100]));
    let until = prop::option::weighted(0.7, -2..9_i64);
    let grant = (1..5_u32, source, priority, soon(), until, 1..3_usize).prop_map(
        |(amount, source, priority, from, until, times)| Step::Grant {
            amount: Credits::from_whole(amount),
            source,
            priority,
            // A period that is over began in the past.
            from: if until.is_some_and(|until| until <= 0) { Some(-3) } else { from },
            until,
            times,
        },
    );
    let charge = (0..6_u32).prop_map(|credits| Step::Charge {
        credits: Credits::from_whole(credits),
        max: None,
        group: None,
    });
    let step = prop_oneof![5 => grant, 1 => charge];
    let entries = prop::collection::vec((0..2_i64, prop::collection::vec(step, 1..5)), 1..16);
    (filler, entries).prop_map(|(filler, mut entries)| {
        entries.insert(0, (0, vec![filler]));
        entries
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn histories_agree_with_the_model(history in history(step(Just(1)), 25)) {
        check(&history);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn crowded_histories_agree_with_the_model(history in crowded_history()) {
        check(&history);
    }

    #[test]
    fn settling_in_two_steps_is_settling_in_one(
        history in history(step(1..4_usize), 12),
        (first, second) in (-2..30_i64, 0..30_i64),
    ) {
        let state = check(&history);
        let first = state.settled_at().saturating_add_millis(first);
        let second = first.saturating_add_millis(second);
        let settle = |state: &AccountState, at| Draft::open(state, at).finish();

        let at_once = settle(&state, second);
        let begun = settle(&state, first);
        let ended = settle(&begun.state, second);
        let contents = |applied: &Applied| -> Vec<_> {
            applied.operations.iter().map(|o| (o.at, o.postings.clone(), o.detail.clone())).collect()
        };
        prop_assert_eq!([contents(&begun), contents(&ended)].concat(), contents(&at_once));
        prop_assert_eq!(state.settled(first).settled(second), state.settled(second));
        prop_assert_eq!(
            AccountState { seq: 0, ..ended.state },
            AccountState { seq: 0, ..at_once.state }
        );
    }
}

/// Runs a history on the state machine and on the model, and returns the last state.
fn check(history: &[Entry]) -> AccountState {
    let first = Settings::default();
    let mut state = AccountState::new(first.clone());
    let mut model = Model::new(first);
    let mut journal: Vec<Operation> = Vec::new();
    let mut now = 0;
    for (wait, steps) in history {
        now = (now + wait).max(0);
        let before = state.clone();
        let time = timestamp(now).max(state.settled_at());
        let mut draft = Draft::open(&state, timestamp(now));
        for command in steps.iter().flat_map(|step| commands(step, time)) {
            let untouched = draft.clone();
            // A name that comes after all others, for where none is given.
            let none = OperationId { seq: u64::MAX, position: 0 };
            let answer = draft.apply(Origin::System, &command);
            let id = GrantId(*answer.as_ref().unwrap_or(&none));
            match (&answer, model.ask(time, id, &command)) {
                (Ok(_), Ok(world)) => model.accept(time, id, command, world),
                (Err(rejection), Err(expected)) => {
                    assert_eq!(
                        without_text(rejection.clone()),
                        without_text(expected),
                        "{command:?}"
                    );
                    assert_eq!(draft.clone().finish(), untouched.finish(), "rejected is unchanged");
                }
                (_, expected) => panic!("{command:?} got {answer:?}, expected {expected:?}"),
            }
        }
        if !draft.is_empty() {
            let applied = draft.finish();
            check_entry(&before, &applied);
            journal.extend(applied.operations);
            state = applied.state;
        }
        check_world(&model.at(time), &state.settled(time), &journal);
    }
    // The account after all that can happen has happened.
    let end = timestamp(now).saturating_add_millis(100);
    let last = Draft::open(&state, end).finish();
    journal.extend(last.operations);
    check_world(&model.at(end), &last.state, &journal);
    state
}

fn commands(step: &Step, now: Timestamp) -> Vec<Command> {
    match step.clone() {
        Step::Grant { amount, source, priority, from, until, times } => {
            let at = |millis| now.saturating_add_millis(millis);
            let request = GrantRequest {
                amount,
                source,
                priority,
                effective_at: from.map(at),
                expires_at: until.map(at),
                paid: None,
                rollover: None,
            };
            vec![Command::Grant(request); times]
        }
        Step::Charge { credits, max, group } => vec![Command::Charge(Charge {
            credits,
            items: Vec::new(),
            ratio_version: None,
            price_group: group.map(str::to_owned),
            max_credits: max,
            occurred_at: None,
        })],
        Step::Settings { overuse, line, group } => vec![Command::Settings(Settings {
            overuse,
            credit_line: line,
            price_group: group.into(),
            ..Settings::default()
        })],
    }
}

/// Compares kind and figures, not the wording.
fn without_text(rejection: Rejection) -> Rejection {
    match rejection {
        Rejection::Invalid(_) => Rejection::Invalid(""),
        Rejection::LimitExceeded(_) => Rejection::LimitExceeded(""),
        other => other,
    }
}

fn check_world(world: &World, state: &AccountState, journal: &[Operation]) {
    let expected: Vec<_> = world
        .in_burn_order()
        .into_iter()
        .map(|lot| (lot.id, lot.source, lot.priority, lot.from, lot.until, lot.left, lot.started))
        .collect();
    let actual: Vec<_> = state
        .grants()
        .iter()
        .map(|grant| {
            let live = !state.is_pending(grant);
            let left = grant.remaining.micros();
            (
                grant.id,
                grant.source,
                grant.priority,
                grant.effective_at,
                grant.expires_at,
                left,
                live,
            )
        })
        .collect();
    assert_eq!(actual, expected, "grants in burn order");
    assert_eq!(micros(state.balance()), (world.posted(), world.debt));
    assert_eq!(*state.settings(), world.settings);

    // What was settled in memory only is not in the journal yet.
    let written = journal.iter().map(event).collect::<Vec<_>>();
    assert_eq!(written, world.events[..written.len()]);
    let pending_only: i128 = world.events[written.len()..]
        .iter()
        .inspect(|(what, ..)| assert!(matches!(what, What::Activation(_) | What::Expiry(_))))
        .flat_map(|(.., changes)| changes.values())
        .sum();

    // I1: the posted balance is the sum of all postings.
    let sum: i128 = journal.iter().map(|operation| operation.credits().micros()).sum();
    assert_eq!(state.balance().posted.micros(), sum + pending_only);
    // I2, I4.
    assert!(world.debt >= 0 && world.lots.iter().all(|lot| lot.left > 0));
    assert!(world.debt == 0 || world.lots.iter().all(|lot| !lot.started));
    // I7: what came in is still there, was taken without becoming debt, or expired.
    let remaining: i128 = world.lots.iter().map(|lot| lot.left).sum();
    assert_eq!(world.granted, remaining + world.taken - world.debt + world.expired);
    // What was asked was taken or forgiven.
    let asked: i128 = journal.iter().filter_map(requested).sum();
    assert_eq!(asked, world.taken + world.forgiven);
}

fn requested(operation: &Operation) -> Option<i128> {
    match &operation.detail {
        Detail::Charge { requested, .. } => Some(requested.micros()),
        _ => None,
    }
}

fn event(operation: &Operation) -> Event {
    let what = match &operation.detail {
        Detail::Grant { .. } => What::Grant,
        Detail::Charge { .. } => What::Charge,
        Detail::Settings(_) => What::Settings,
        Detail::Activation { grant } => What::Activation(*grant),
        Detail::Expiry { grant } => What::Expiry(*grant),
        _ => unimplemented!(),
    };
    let mut changes = BTreeMap::new();
    for posting in &operation.postings {
        *changes.entry(target_name(posting.target)).or_default() += posting.credits.micros();
    }
    changes.retain(|_, change| *change != 0);
    (what, operation.at, changes)
}
