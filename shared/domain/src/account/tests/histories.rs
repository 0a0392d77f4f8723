//! Random histories, against the model.
//!
//! `PROPTEST_CASES` says how many (256 where it does not; crowded ones and those that are settled
//! twice are a quarter), so that they can run for hours.

use std::cell::Cell;

use proptest::prelude::*;

use super::model::{Changes, Event, Model, Totals, What, World, target_name};
use super::{check_entry, micros, timestamp};
use crate::account::{
    AccountState, Applied, Capture, Charge, Command, Detail, Draft, GrantId, GrantRequest,
    GrantTerms, HoldId, HoldRequest, Operation, OperationId, Origin, Overuse, PaymentChange,
    Posting, RefundRequest, Rejection, Rollover, Settings, Source, Status, Target,
};
use crate::journal::Entry as StoredEntry;
use crate::{Credits, Timestamp};

const DAY: i64 = 86_400_000;

/// What is asked. Times are small numbers of milliseconds, so that instants often coincide.
#[derive(Debug, Clone)]
enum Step {
    Grant(Granted),
    Charge {
        credits: Credits,
        max: Option<Credits>,
        group: Option<&'static str>,
    },
    Settings {
        overuse: Overuse,
        line: Credits,
        group: &'static str,
        status: Status,
    },
    Hold {
        credits: Credits,
        millis: i64,
        partial: bool,
        group: Option<&'static str>,
        times: usize,
    },
    Extend {
        hold: Pick,
        millis: i64,
    },
    Capture {
        hold: Pick,
        credits: Credits,
        max: Option<Credits>,
        group: Option<&'static str>,
        last: bool,
    },
    VoidHold(Pick),
    Refund {
        charge: Pick,
        credits: Option<Credits>,
    },
    Clawback {
        grant: Pick,
        credits: Credits,
        /// Whether it is given back.
        won: bool,
    },
    VoidGrant(Pick),
    WriteOff(Option<Credits>),
}

#[derive(Debug, Clone)]
struct Granted {
    amount: Credits,
    source: Source,
    priority: Option<u8>,
    /// From and until, relative to now.
    from: Option<i64>,
    until: Option<i64>,
    /// Least, most, and the end relative to the grant's end.
    rollover: Option<(Credits, Credits, i64)>,
    /// How many alike.
    times: usize,
}

/// One of what is open, one of all that ever was, or one that never was.
#[derive(Debug, Clone)]
enum Pick {
    Open(usize),
    Ever(usize),
    Never,
}

/// One journal entry: how time moved, and what was asked, by a client or not.
type Entry = (i64, Vec<(bool, Step)>);

fn amount() -> impl Strategy<Value = Credits> {
    let micros = prop_oneof![
        20 => (-1..40_i128).prop_map(|whole| whole * 1_000_000),
        4 => -2..2_000_000_i128,
        1 => Just(400_000_000_000_000_000_000),
        1 => Just(1_000_000_000_000_000_000_000),
    ];
    micros.prop_map(|micros| Credits::from_micros(micros).unwrap())
}

fn small_amount() -> impl Strategy<Value = Credits> {
    prop_oneof![
        3 => amount(),
        9 => (1..12_u32).prop_map(Credits::from_whole),
    ]
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

fn pick() -> impl Strategy<Value = Pick> {
    let index = || 0..64_usize;
    prop_oneof![
        16 => index().prop_map(Pick::Open),
        4 => index().prop_map(Pick::Ever),
        1 => Just(Pick::Never),
    ]
}

fn group() -> impl Strategy<Value = Option<&'static str>> {
    prop::option::weighted(0.2, prop::sample::select(vec!["default", "pro"]))
}

fn hold_millis() -> impl Strategy<Value = i64> {
    prop_oneof![20 => 1..9_i64, 4 => Just(DAY), 1 => prop::sample::select(vec![0, -1, DAY + 1])]
}

fn grant(times: impl Strategy<Value = usize> + 'static) -> impl Strategy<Value = Step> {
    let priority = prop::sample::select(vec![0, 50, 100, 255]);
    let from = prop_oneof![2 => -9..1_i64, 3 => 1..6_i64];
    let rollover = (amount(), amount(), -1..8_i64, 0..4_u8).prop_map(
        |(one, other, after, least)| match least {
            0 => (one, other, after),
            1 => (Credits::ZERO, other, after),
            _ => (one.min(other), one.max(other), after),
        },
    );
    (
        (amount(), source(), prop::option::of(priority)),
        prop::option::of(from),
        prop::option::of(-6..9_i64),
        prop::option::weighted(0.25, rollover),
        times,
    )
        .prop_map(|((amount, source, priority), from, until, rollover, times)| {
            // Most rollovers are on grants that may have one.
            let fits = rollover.is_none_or(|(.., after)| after % 3 == 0)
                || !matches!(source, Source::Paid | Source::Refund);
            let until = if rollover.is_some() { until.or(Some(5)) } else { until };
            let source = if fits { source } else { Source::Plan };
            Step::Grant(Granted { amount, source, priority, from, until, rollover, times })
        })
}

fn step(times: impl Strategy<Value = usize> + Clone + 'static) -> impl Strategy<Value = Step> {
    let max = || prop::option::weighted(0.2, amount());
    let charge = (amount(), max(), group()).prop_map(|(credits, max, group)| Step::Charge {
        credits,
        max,
        group,
    });
    let status = prop_oneof![
        6 => Just(Status::Active),
        1 => Just(Status::Suspended),
        1 => Just(Status::Closed),
    ];
    let overuse = prop::sample::select(vec![Overuse::Record, Overuse::Refuse, Overuse::Forgive]);
    let prices = prop::sample::select(vec!["default", "pro"]);
    let settings = (overuse, amount(), prices, status)
        .prop_map(|(overuse, line, group, status)| Step::Settings { overuse, line, group, status });
    let hold = (small_amount(), hold_millis(), any::<bool>(), group(), times.clone()).prop_map(
        |(credits, millis, partial, group, times)| Step::Hold {
            credits,
            millis,
            partial,
            group,
            times,
        },
    );
    let extend = (pick(), hold_millis()).prop_map(|(hold, millis)| Step::Extend { hold, millis });
    let capture = (pick(), small_amount(), max(), group(), any::<bool>()).prop_map(
        |(hold, credits, max, group, last)| Step::Capture { hold, credits, max, group, last },
    );
    let refund = (pick(), prop::option::weighted(0.7, small_amount()))
        .prop_map(|(charge, credits)| Step::Refund { charge, credits });
    let clawback = (pick(), small_amount(), prop::bool::weighted(0.3))
        .prop_map(|(grant, credits, won)| Step::Clawback { grant, credits, won });
    let write_off = prop::option::weighted(0.6, small_amount()).prop_map(Step::WriteOff);
    prop_oneof![
        8 => grant(times),
        5 => charge,
        1 => settings,
        6 => hold,
        1 => extend,
        6 => capture,
        2 => pick().prop_map(Step::VoidHold),
        5 => refund,
        3 => clawback,
        2 => pick().prop_map(Step::VoidGrant),
        1 => write_off,
    ]
}

fn asked(step: impl Strategy<Value = Step>) -> impl Strategy<Value = (bool, Step)> {
    (any::<bool>(), step)
}

fn history(
    step: impl Strategy<Value = Step> + 'static,
    entries: usize,
) -> impl Strategy<Value = Vec<Entry>> {
    let wait = prop_oneof![
        9 => Just(0),
        24 => 1..5_i64,
        3 => -4..0_i64,
        3 => 10..40_i64,
        2 => prop::sample::select(vec![DAY, 6 * DAY, 7 * DAY, 7 * DAY + 1, 30 * DAY]),
    ];
    let line = prop::option::of((0..40_u32).prop_map(Credits::from_whole));
    let entries =
        prop::collection::vec((wait, prop::collection::vec(asked(step), 0..5)), 1..entries);
    (line, entries).prop_map(|(line, mut entries)| {
        // Half of the accounts begin with a credit line, for holds to reserve of.
        if let Some(line) = line {
            let (overuse, group, status) = (Overuse::Record, "default", Status::Active);
            entries.insert(0, (0, vec![(false, Step::Settings { overuse, line, group, status })]));
        }
        entries
    })
}

/// So many grants that they merge, and so many holds that there is no place for another.
fn crowded_history() -> impl Strategy<Value = Vec<Entry>> {
    let soon = || prop::option::of(1..4_i64);
    let until = || prop::option::weighted(0.3, 4..9_i64);
    let filler =
        (prop::sample::select(vec![Source::Plan, Source::Paid]), soon(), until(), 45..61_usize)
            .prop_map(|(source, from, until, times)| {
                Step::Grant(Granted {
                    amount: Credits::from_whole(1),
                    source,
                    priority: None,
                    from,
                    until,
                    rollover: None,
                    times,
                })
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
        |(amount, source, priority, from, until, times)| {
            Step::Grant(Granted {
                amount: Credits::from_whole(amount),
                source,
                priority,
                // A period that is over began in the past.
                from: if until.is_some_and(|until| until <= 0) { Some(-3) } else { from },
                until,
                rollover: None,
                times,
            })
        },
    );
    let rolling =
        (1..5_u32, -3..5_i64, 0..3_u32, 1..20_usize).prop_map(|(amount, until, least, times)| {
            Step::Grant(Granted {
                amount: Credits::from_whole(amount),
                source: Source::Plan,
                priority: None,
                from: Some(-4),
                until: Some(until),
                rollover: Some((Credits::from_whole(least), Credits::from_whole(3), 4)),
                times,
            })
        });
    let charge = (0..6_u32).prop_map(|credits| Step::Charge {
        credits: Credits::from_whole(credits),
        max: None,
        group: None,
    });
    let hold = (1..9_u32, 1..9_i64, prop_oneof![3 => 1..4_usize, 1 => 30..66_usize]).prop_map(
        |(credits, millis, times)| Step::Hold {
            // Many at once are small, so that there is enough for them.
            credits: Credits::from_micros(
                i128::from(credits) * if times < 4 { 1_000_000 } else { 100_000 },
            )
            .unwrap(),
            millis,
            partial: true,
            group: None,
            times,
        },
    );
    let capture = (pick(), 0..6_u32, any::<bool>()).prop_map(|(hold, credits, last)| {
        let credits = Credits::from_whole(credits);
        Step::Capture { hold, credits, max: None, group: None, last }
    });
    let refund = (pick(), prop::option::of((1..4_u32).prop_map(Credits::from_whole)))
        .prop_map(|(charge, credits)| Step::Refund { charge, credits });
    let clawback = (pick(), (1..4_u32).prop_map(Credits::from_whole), any::<bool>())
        .prop_map(|(grant, credits, won)| Step::Clawback { grant, credits, won });
    let step = prop_oneof![
        10 => grant,
        1 => rolling,
        3 => charge,
        3 => hold,
        2 => capture,
        1 => pick().prop_map(Step::VoidHold),
        2 => refund,
        1 => clawback,
        2 => pick().prop_map(Step::VoidGrant),
    ];
    let line = Just(Step::Settings {
        overuse: Overuse::Record,
        line: Credits::from_whole(50),
        group: "default",
        status: Status::Active,
    });
    let steps = prop::collection::vec(asked(step), 1..5);
    let entries = prop::collection::vec((0..2_i64, steps), 1..13);
    (line, filler, entries).prop_map(|(line, filler, mut entries)| {
        entries.insert(0, (0, vec![(false, line), (false, filler)]));
        entries
    })
}

/// What `PROPTEST_CASES` says, or a part of it.
fn config(part: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.div_ceil(part), failure_persistence: None, ..config }
}

/// How much was checked, for `cargo evidence`.
#[derive(Default)]
struct Checked {
    histories: Cell<u64>,
    entries: Cell<u64>,
}

impl Checked {
    fn count(&self, last: &AccountState) {
        self.histories.update(|histories| histories + 1);
        self.entries.update(|entries| entries + last.seq());
    }

    fn tell(&self, what: &str) {
        let (histories, entries) = (self.histories.get(), self.entries.get());
        println!("evidence: model: {histories} {what}, {entries} entries checked one by one");
    }
}

#[test]
fn histories_agree_with_the_model() {
    let checked = Checked::default();
    proptest!(config(1), |(history in history(step(Just(1)), 25))| {
        checked.count(&check(&history).0);
    });
    checked.tell("random histories");
}

#[test]
fn crowded_histories_agree_with_the_model() {
    let checked = Checked::default();
    proptest!(config(4), |(history in crowded_history())| {
        checked.count(&check(&history).0);
    });
    checked.tell("histories of crowded accounts");
}

#[test]
fn settling_in_two_steps_is_settling_in_one() {
    let checked = Checked::default();
    proptest!(config(4), |(
        mut history in prop_oneof![
            3 => history(step(1..4_usize), 12).boxed(),
            1 => crowded_history().boxed(),
        ],
        ends in prop::collection::vec((1..20_i64, 0..3_u32, 1..9_i64), 0..4),
        (first, second) in (-2..30_i64, prop_oneof![0..30_i64, Just(7 * DAY), Just(7 * DAY + 1)]),
    )| {
        // What rolls over is named by the step in which it does.
        let rolling = ends.into_iter().map(|(until, least, after)| Step::Grant(Granted {
            amount: Credits::from_whole(2),
            source: Source::Plan,
            priority: None,
            from: None,
            until: Some(until),
            rollover: Some((Credits::from_whole(least), Credits::from_whole(3), after)),
            times: 1,
        }));
        history.push((0, rolling.map(|step| (false, step)).collect()));
        let (state, model) = check(&history);
        checked.count(&state);
        let first = state.settled_at().saturating_add_millis(first);
        let second = first.saturating_add_millis(second);
        let settle = |state: &AccountState, at| Draft::open(state, at).finish();

        let at_once = settle(&state, second);
        let begun = settle(&state, first);
        let ended = settle(&begun.state, second);
        // What rolled over in the second step is named by another entry.
        let text = |entries: &[&Applied]| {
            let operations: Vec<_> =
                entries.iter().flat_map(|applied| &applied.operations).collect();
            let contents: Vec<_> =
                operations.iter().map(|o| (o.at, &o.postings, &o.detail)).collect();
            let last = AccountState { seq: 0, ..entries.last().unwrap().state.clone() };
            let mut text = format!("{contents:?} {last:?}");
            for (index, operation) in operations.iter().enumerate() {
                text = text.replace(&format!("{:?}", operation.id), &format!("new {index}"));
            }
            text
        };
        prop_assert_eq!(text(&[&begun, &ended]), text(&[&at_once]));
        prop_assert_eq!(state.settled(first).settled(second), state.settled(second));
        for at in [first, second] {
            let at = at.max(state.settled_at());
            check_state(&model.at(at), &state.settled(at));
        }
    });
    checked.tell("histories settled twice");
}

/// What was found wrong once.
#[test]
fn histories_that_failed() {
    let huge = |times: i128| Credits::from_micros(times * 100_000_000_000_000_000_000).unwrap();
    let bought = Granted {
        amount: Credits::from_whole(5),
        source: Source::Paid,
        priority: Some(0),
        from: None,
        until: None,
        rollover: None,
        times: 1,
    };
    let rolling = |amount, from, until, least| Granted {
        amount,
        source: Source::Plan,
        from: Some(from),
        until: Some(until),
        rollover: Some((least, huge(6), 9)),
        ..bought.clone()
    };
    let grant = |granted: &Granted| Step::Grant(granted.clone());
    let many = Granted { source: Source::Plan, times: 60, ..bought.clone() };
    let later = Granted { from: Some(9), ..bought.clone() };
    let charge =
        |amount| Step::Charge { credits: Credits::from_whole(amount), max: None, group: None };
    let refund = Step::Refund { charge: Pick::Open(0), credits: None };
    let won = Step::Clawback { grant: Pick::Open(0), credits: Credits::from_whole(3), won: true };
    let hold = |credits| Step::Hold { credits, millis: DAY, partial: false, group: None, times: 1 };
    let histories: [&[Vec<Step>]; 4] = [
        // What comes back to a grant that is still to come would have no part in the balance.
        &[vec![grant(&later)], vec![won]],
        // What rolls over of a period that was missed takes a place.
        &[vec![grant(&many)], vec![grant(&rolling(huge(1), -3, 0, Credits::ZERO))]],
        // A bought grant is opened again though there is no place for others.
        &[vec![grant(&bought), charge(5), grant(&many)], vec![refund]],
        // What holds keep of a grant lives on beside what rolls over of it.
        &[vec![grant(&rolling(huge(5), 0, 4, huge(6))), hold(huge(5))], vec![], vec![]],
    ];
    for history in histories {
        let history: Vec<Entry> = history
            .iter()
            .map(|steps| (2, steps.iter().map(|step| (false, step.clone())).collect()))
            .collect();
        check(&history);
    }
}

/// Runs a history on the state machine and on the model, and returns the last state.
fn check(history: &[Entry]) -> (AccountState, Model) {
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
        let mut accepted = Vec::new();
        for (by_client, step) in steps {
            let origin =
                if *by_client { Origin::Client { key: "k".into() } } else { Origin::System };
            for _ in 0..times(step) {
                let Some(command) = command(step, time, &draft, &journal) else { continue };
                let untouched = draft.clone();
                let answer = draft.apply(origin.clone(), &command);
                match (&answer, model.ask(time, &origin, &command)) {
                    (Ok(id), Ok(world)) => {
                        assert!(world.events.iter().any(|event| event.id == *id));
                        accepted.push((origin.clone(), command.clone()));
                        model.accept(time, origin.clone(), command, world);
                    }
                    (Err(rejection), Err(expected)) => {
                        assert_eq!(
                            without_text(rejection.clone()),
                            without_text(expected),
                            "{command:?}"
                        );
                        assert_eq!(
                            draft.clone().finish(),
                            untouched.finish(),
                            "rejected is unchanged"
                        );
                    }
                    (_, expected) => {
                        let expected = expected.map(|world| world.events.last().cloned());
                        panic!("{command:?} got {answer:?}, expected {expected:?}")
                    }
                }
            }
        }
        if !draft.is_empty() {
            let applied = draft.finish();
            check_entry(&before, &applied);
            check_same_again(&before, timestamp(now), &accepted, &applied);
            journal.extend(applied.operations);
            state = applied.state;
            model.end_entry(time);
        }
        let world = model.by(time);
        check_state(&world, &state.settled(time));
        check_journal(&world, &journal);
    }
    // The account after all that can happen has happened.
    let end = timestamp(now).saturating_add_millis(60 * DAY);
    let last = Draft::open(&state, end).finish();
    journal.extend(last.operations);
    let world = model.at(end);
    check_state(&world, &last.state);
    check_journal(&world, &journal);
    (state, model)
}

/// Another function that read the entry before and is asked the same writes the same.
fn check_same_again(
    before: &AccountState,
    now: Timestamp,
    accepted: &[(Origin, Command)],
    applied: &Applied,
) {
    let mut draft = Draft::open(before, now);
    for (origin, command) in accepted {
        draft.apply(origin.clone(), command).unwrap();
    }
    let again = draft.finish();
    assert_eq!(again, *applied);
    let bytes = |applied: Applied| {
        let (time, private_digest) = (applied.state.settled_at(), None);
        let (operations, state) = (applied.operations, applied.state);
        StoredEntry { time, operations, state, private_digest }.encode()
    };
    assert_eq!(bytes(again), bytes(applied.clone()));
}

fn times(step: &Step) -> usize {
    match step {
        Step::Grant(Granted { times, .. }) | Step::Hold { times, .. } => *times,
        _ => 1,
    }
}

/// The command, with the evidence that a caller reads from the journal; none where there is
/// nothing that it could be about.
fn command(step: &Step, now: Timestamp, draft: &Draft, journal: &[Operation]) -> Option<Command> {
    let at = |millis| now.saturating_add_millis(millis);
    let charge_of = |credits, max, group: Option<&str>| Charge {
        credits,
        items: Vec::new(),
        ratio_version: None,
        price_group: group.map(str::to_owned),
        max_credits: max,
        occurred_at: None,
    };
    let told = || Told::of(draft, journal);
    let state = draft.state();
    Some(match step.clone() {
        Step::Grant(Granted { amount, source, priority, from, until, rollover, times: _ }) => {
            let expires_at = until.map(at);
            Command::Grant(GrantRequest {
                amount,
                source,
                priority,
                effective_at: from.map(at),
                expires_at,
                paid: None,
                rollover: rollover.map(|(min, max, after)| Rollover {
                    min,
                    max,
                    expires_at: expires_at.unwrap_or(now).saturating_add_millis(after),
                }),
            })
        }
        Step::Charge { credits, max, group } => Command::Charge(charge_of(credits, max, group)),
        Step::Settings { overuse, line, group, status } => Command::Settings(Settings {
            overuse,
            credit_line: line,
            price_group: group.into(),
            status,
            ..Settings::default()
        }),
        Step::Hold { credits, millis, partial, group, times: _ } => Command::Hold(HoldRequest {
            credits,
            millis,
            partial,
            ratio_version: Some(state.seq()),
            price_group: group.map(str::to_owned),
        }),
        Step::Extend { hold, millis } => {
            Command::ExtendHold { hold: told().hold(&hold, state), millis }
        }
        Step::Capture { hold, credits, max, group, last } => Command::Capture(Capture {
            hold: told().hold(&hold, state),
            charge: charge_of(credits, max, group),
            last,
        }),
        Step::VoidHold(hold) => Command::VoidHold(told().hold(&hold, state)),
        Step::Refund { charge, credits } => Command::Refund(told().refund(&charge, credits)?),
        Step::Clawback { grant, credits, won } => {
            let terms = told().payment(&grant)?;
            let payment = terms.id.to_string();
            let (taken, forfeited) = super::script::taken_back(&told().0, &payment);
            // No payment brings more than there can be.
            if !won {
                taken.checked_add(credits)?;
            }
            let change = PaymentChange { payment, credits, terms, taken, forfeited };
            if won { Command::ClawbackReversal(change) } else { Command::Clawback(change) }
        }
        Step::VoidGrant(grant) => Command::VoidGrant(told().grant(&grant, state)),
        Step::WriteOff(credits) => Command::WriteOff(credits),
    })
}

/// What the journal tells, the entry that is being made included.
struct Told(Vec<Operation>);

impl Told {
    fn of(draft: &Draft, journal: &[Operation]) -> Self {
        Self([journal, &draft.clone().finish().operations].concat())
    }

    fn hold(&self, pick: &Pick, state: &AccountState) -> HoldId {
        let open: Vec<_> = state.holds().iter().map(|hold| hold.id).collect();
        let holds = |operation: &&Operation| matches!(operation.detail, Detail::Hold { .. });
        let ever = self.0.iter().filter(holds).map(|operation| HoldId(operation.id)).collect();
        one_of(pick, open, ever).unwrap_or(HoldId(NEVER))
    }

    fn grant(&self, pick: &Pick, state: &AccountState) -> GrantId {
        let open: Vec<_> = state.grants().iter().map(|grant| grant.id).collect();
        let ever = self.0.iter().filter_map(terms).map(|terms| terms.id).collect();
        one_of(pick, open, ever).unwrap_or(GrantId(NEVER))
    }

    /// The grant of a payment.
    fn payment(&self, pick: &Pick) -> Option<GrantTerms> {
        let paid = |terms: &GrantTerms| terms.source == Source::Paid;
        let ever: Vec<_> = self.0.iter().filter_map(terms).filter(paid).collect();
        one_of(pick, ever.clone(), ever)
    }

    fn refund(&self, pick: &Pick, credits: Option<Credits>) -> Option<RefundRequest> {
        let is_charge = |operation: &&Operation| {
            matches!(operation.detail, Detail::Charge { .. } | Detail::Capture { .. })
        };
        let ever: Vec<_> = self.0.iter().filter(is_charge).collect();
        let mut took = ever.clone();
        took.retain(|operation| !operation.postings.is_empty());
        let charge = one_of(pick, took, ever)?;
        let before = |operation: &Operation| match operation.detail {
            Detail::Refund { charge: of, refunded, .. } if of == charge.id => Some(refunded),
            _ => None,
        };
        let named = |id| charge.postings.iter().any(|posting| posting.target == Target::Grant(id));
        Some(RefundRequest {
            charge: charge.id,
            credits,
            postings: charge.postings.clone(),
            refunded: self.0.iter().filter_map(before).next_back().unwrap_or(Credits::ZERO),
            terms: self.0.iter().filter_map(terms).filter(|terms| named(terms.id)).collect(),
        })
    }
}

const NEVER: OperationId = OperationId { seq: 1_000_000, position: 0 };

fn one_of<T: Clone>(pick: &Pick, open: Vec<T>, ever: Vec<T>) -> Option<T> {
    match pick {
        Pick::Open(index) if !open.is_empty() => Some(open[index % open.len()].clone()),
        Pick::Open(index) | Pick::Ever(index) if !ever.is_empty() => {
            Some(ever[index % ever.len()].clone())
        }
        _ => None,
    }
}

/// The terms of the grant that an operation opened.
fn terms(operation: &Operation) -> Option<GrantTerms> {
    let id = GrantId(operation.id);
    match operation.detail {
        Detail::Grant { source, priority, effective_at, expires_at, rollover, .. } => {
            Some(GrantTerms { id, source, priority, effective_at, expires_at, rollover })
        }
        Detail::Refund { grant: Some(_), .. } | Detail::ClawbackReversal { grant: Some(_), .. } => {
            Some(GrantTerms {
                id,
                source: Source::Refund,
                priority: 50,
                effective_at: operation.at,
                expires_at: Some(operation.at.saturating_add_millis(30 * DAY)),
                rollover: None,
            })
        }
        _ => None,
    }
}

/// Compares kind and figures, not the wording.
fn without_text(rejection: Rejection) -> Rejection {
    match rejection {
        Rejection::Invalid(_) => Rejection::Invalid(""),
        Rejection::LimitExceeded(_) => Rejection::LimitExceeded(""),
        Rejection::GrantNotVoidable(_) => Rejection::GrantNotVoidable(""),
        other => other,
    }
}

/// A grant, as far as both sides know it.
type Line = (
    (GrantId, Source, u8),
    (Timestamp, Option<Timestamp>),
    (i128, i128),
    (bool, bool),
    Option<Rollover>,
);

fn check_state(world: &World, state: &AccountState) {
    let expected: Vec<Line> = world
        .in_burn_order()
        .into_iter()
        .map(|lot| {
            (
                (lot.id, lot.source, lot.priority),
                (lot.from, lot.until),
                (world.left(lot.id), world.reserved(lot.id)),
                (lot.started, lot.over),
                lot.rollover,
            )
        })
        .collect();
    let actual: Vec<Line> = state
        .grants()
        .iter()
        .map(|grant| {
            (
                (grant.id, grant.source, grant.priority),
                (grant.effective_at, grant.expires_at),
                (grant.remaining.micros(), grant.reserved.micros()),
                (!state.is_pending(grant), state.is_lingering(grant)),
                grant.rollover,
            )
        })
        .collect();
    assert_eq!(actual, expected, "grants in burn order");

    let expected: Vec<_> = world
        .hands
        .iter()
        .map(|hand| {
            let parts = world.held_parts(hand.id);
            (hand.id, hand.opened, hand.until, hand.unfunded, hand.ratio_version, parts)
        })
        .collect();
    let actual: Vec<_> = state
        .holds()
        .iter()
        .map(|hold| {
            let parts = hold.reserved.iter().map(|part| (part.grant, part.credits.micros()));
            let unfunded = hold.unfunded.micros();
            let parts = parts.collect::<Vec<_>>();
            (hold.id, hold.opened_at, hold.expires_at, unfunded, hold.ratio_version, parts)
        })
        .collect();
    assert_eq!(actual, expected, "holds");
    let late = state.expired_holds().iter();
    let late: Vec<_> = late.map(|hold| (hold.id, hold.expired_at, hold.ratio_version)).collect();
    assert_eq!(late, world.late);
    let voids = state.voided().iter();
    let voids = voids.map(|voided| (voided.grant, voided.forfeited.micros()));
    assert_eq!(voids.collect::<Vec<_>>(), world.voids);

    assert_eq!(micros(state.balance()), (world.posted(), world.debt));
    assert_eq!(*state.settings(), world.settings);

    // I2: nothing below zero. I3: what is held is reserved or unfunded, and reserved is there.
    assert!(world.debt >= 0);
    for grant in state.grants() {
        assert!(!grant.reserved.is_negative() && grant.reserved <= grant.remaining);
    }
    let held: i128 = state.holds().iter().map(|hold| hold.credits().micros()).sum();
    assert_eq!((state.balance().held.micros(), held), (world.held(), world.held()));
    let reserved: i128 = state.grants().iter().map(|grant| grant.reserved.micros()).sum();
    let unfunded: i128 = state.holds().iter().map(|hold| hold.unfunded.micros()).sum();
    assert_eq!(held, reserved + unfunded);
    // I4: who owes has nothing to spend.
    assert!(world.debt == 0 || world.spendable() == 0);
}

fn check_journal(world: &World, journal: &[Operation]) {
    let written: Vec<Event> = journal.iter().map(event).collect();
    assert_eq!(written.len(), world.events.len());
    for (written, expected) in written.iter().zip(&world.events) {
        let mut expected = Event::clone(expected);
        // Refunds go by the order in which a charge took; else a journal may choose.
        if !matches!(expected.what, What::Charge { .. } | What::Capture { .. }) {
            expected.changes.0.sort();
        }
        assert_eq!(*written, expected);
    }
    // I1: the posted balance is the sum of all postings.
    let sum: i128 = journal.iter().map(|operation| operation.credits().micros()).sum();
    assert_eq!(world.posted(), sum);
    // I6: no entry and no place in one is left out.
    let mut last = OperationId { seq: 0, position: 0 };
    for operation in journal {
        let OperationId { seq, position } = operation.id;
        let follows = seq == last.seq && position == last.position + 1;
        assert!(follows || (seq, position) == (last.seq + 1, 0), "{last} {}", operation.id);
        last = operation.id;
    }
    // I7: every credit that came in is there or went somewhere, by the model and by the journal.
    let Totals {
        granted,
        used,
        forgiven,
        expired,
        forfeited,
        clawed_back,
        given_back,
        written_off,
    } = world.totals.clone();
    assert_eq!(
        world.all() - world.debt,
        granted - used - expired - forfeited - clawed_back + given_back + written_off
    );
    let mut told = Totals::default();
    let mut asked = 0;
    for operation in journal {
        let change = operation.credits().micros();
        match &operation.detail {
            Detail::Grant { amount, .. } => told.granted += amount.micros(),
            Detail::Charge { requested, .. } | Detail::Capture { requested, .. } => {
                told.used -= change;
                asked += requested.micros();
            }
            Detail::Expiry { .. } => told.expired -= change,
            Detail::Release { .. } => told.forfeited -= change,
            Detail::GrantVoid { credits, .. } => told.forfeited += credits.micros(),
            Detail::Clawback { .. } => told.clawed_back -= change,
            Detail::Refund { .. } | Detail::ClawbackReversal { .. } => told.given_back += change,
            Detail::WriteOff => told.written_off += change,
            Detail::Activation { .. }
            | Detail::Settings(_)
            | Detail::Hold { .. }
            | Detail::HoldExtension { .. } => {}
        }
    }
    assert_eq!(asked, used + forgiven);
    assert_eq!(Totals { forgiven, ..told }, world.totals);
}

/// An operation as the model would tell it.
fn event(operation: &Operation) -> Event {
    let what = match &operation.detail {
        Detail::Grant { grant, source, priority, amount, expires_at, .. } => What::Grant {
            grant: *grant,
            source: *source,
            priority: *priority,
            amount: amount.micros(),
            until: *expires_at,
        },
        Detail::Activation { grant } => What::Activation(*grant),
        Detail::Expiry { grant } => What::Expiry(*grant),
        Detail::Charge { requested, .. } => What::Charge { requested: requested.micros() },
        Detail::Settings(_) => What::Settings,
        Detail::Hold { requested, credits, expires_at, .. } => What::Hold {
            requested: requested.micros(),
            credits: credits.micros(),
            until: *expires_at,
        },
        Detail::HoldExtension { hold, expires_at } => {
            What::Extension { hold: *hold, until: *expires_at }
        }
        Detail::Capture { hold, requested, from_hold, late, last, .. } => What::Capture {
            hold: *hold,
            requested: requested.micros(),
            from_hold: from_hold.micros(),
            late: *late,
            last: *last,
        },
        Detail::Release { hold, released, cause } => {
            What::Release { hold: *hold, released: released.micros(), cause: *cause }
        }
        Detail::Refund { charge, credits, refunded, grant } => What::Refund {
            charge: *charge,
            credits: credits.micros(),
            refunded: refunded.micros(),
            grant: *grant,
        },
        Detail::Clawback { credits, forfeited, .. } => {
            What::Clawback { credits: credits.micros(), forfeited: forfeited.micros() }
        }
        Detail::ClawbackReversal { credits, grant, forfeited, .. } => {
            let forfeited = forfeited.micros();
            What::Reversal { credits: credits.micros(), grant: *grant, forfeited }
        }
        Detail::GrantVoid { grant, credits } => {
            What::Void { grant: *grant, credits: credits.micros() }
        }
        Detail::WriteOff => What::WriteOff,
    };
    let mut changes = Changes::default();
    for Posting { target, credits } in &operation.postings {
        changes.0.push((target_name(*target), credits.micros()));
    }
    if !matches!(what, What::Charge { .. } | What::Capture { .. }) {
        changes.0.sort();
    }
    Event { id: operation.id, what, at: operation.at, changes }
}
