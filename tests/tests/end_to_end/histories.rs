//! What 16 clients see of three accounts is what one client could have seen, one request after the
//! other: see `uc_tests::linearizability`.

use uc_tests::linearizability::account::{Answer, Ask, Balance, Overuse, Request};
use uc_tests::linearizability::history::{Event, History, STEPS, Verdict};
use uc_tests::linearizability::{self, Tally};

use super::stack::shared;

/// Rounds of a plain run; `UC_ROUNDS=100 UC_SEED=7` for others, or `cargo linearize` for hours.
const ROUNDS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_are_linearizable() {
    let number = |name: &str| Some(std::env::var(name).ok()?.parse().expect("a number"));
    let (seed, rounds) = (number("UC_SEED").unwrap_or(0), number("UC_ROUNDS").unwrap_or(ROUNDS));
    let tally = linearizability::run(&shared().api(), seed, rounds, None).await;
    let tally = tally.unwrap_or_else(|broken| panic!("{broken}"));
    for line in tally.to_string().lines() {
        println!("evidence: linearizability: {}", line.trim().replacen("  ", " ", 1));
    }
    // Histories in which nothing meets prove little.
    for what in ["captures", "charges", "grants", "holds", "reads", "refunds", "voids"] {
        assert!(tally.of(&format!("requests: {what}")) > 0, "never: {what}\n{tally}");
    }
    assert!(tally.of("replayed") > 0, "never: replayed\n{tally}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_answer_that_is_changed_is_noticed() {
    let histories = linearizability::record(&shared().api(), 1, &mut Tally::default()).await;
    for history in histories.unwrap() {
        assert_eq!(history.check(STEPS), Verdict::Linearizable, "{history}");
        // Every search for what is not there takes all its steps.
        for index in (0..history.events.len()).step_by(5) {
            let mut changed = history.clone();
            let Some((_, answer)) = &mut changed.events[index].answered else { continue };
            match answer {
                Answer::Done { balance, .. } | Answer::Seen(balance) => balance.posted += 1_000,
                Answer::Refused { .. } => "another_code".clone_into(code(answer)),
            }
            assert_ne!(changed.check(STEPS / 200), Verdict::Linearizable, "{index} of {history}");
        }
    }
}

fn code(answer: &mut Answer) -> &mut String {
    match answer {
        Answer::Refused { code, .. } => code,
        other => panic!("{other:?} is no refusal"),
    }
}

/// A request of the client, sent and answered at these times.
type Case = (usize, u32, Ask, u64, Option<(u64, Answer)>);

fn check(name: &str, expected: Verdict, cases: &[Case]) {
    let events = cases.iter().map(|(client, key, ask, sent, answered)| Event {
        client: *client,
        request: Request { key: *key, ask: *ask },
        sent: *sent,
        answered: answered.clone(),
    });
    let history = History {
        overuse: Overuse::Refuse,
        credit_line: 0,
        credits: 100,
        events: events.collect(),
    };
    assert_eq!(history.check(STEPS), expected, "{name}");
}

/// So much was done, and this was the balance then, without holds and debt.
fn done(credits: i64, posted: i64) -> Answer {
    Answer::Done { credits, balance: Balance { posted, available: posted, held: 0, debt: 0 } }
}

fn held(credits: i64, posted: i64) -> Answer {
    let balance = Balance { posted, available: posted - credits, held: credits, debt: 0 };
    Answer::Done { credits, balance }
}

fn seen(posted: i64) -> Answer {
    Answer::Seen(Balance { posted, available: posted, held: 0, debt: 0 })
}

fn refused(code: &str, figure: Option<i64>) -> Answer {
    Answer::Refused { code: code.to_owned(), figure }
}

#[test]
fn the_checker_can_fail() {
    use Verdict::{Linearizable, Violated};
    let ten = Ask::Charge(10);
    let first = || (0, 1, ten, 0, Some((9, done(-10, 90))));
    let too_much = Ask::Charge(95);
    let capture = Ask::Capture { hold: 1, credits: 30, last: true };
    let back = Ask::Refund { charge: 1, credits: None };

    check("two at once", Linearizable, &[first(), (1, 2, ten, 5, Some((8, done(-10, 80))))]);
    check("a lost update", Violated, &[first(), (1, 2, ten, 5, Some((8, done(-10, 90))))]);
    let before = |at| (1, 2, Ask::Read, at, Some((at + 3, seen(100))));
    check("a read at the same time", Linearizable, &[first(), before(8)]);
    check("a stale read", Violated, &[first(), before(10)]);

    let again = |answer| (1, 1, ten, 20, Some((25, answer)));
    check("a replay", Linearizable, &[first(), again(done(-10, 90))]);
    check("charged twice", Violated, &[first(), again(done(-10, 80))]);
    let other = |answer| (1, 1, Ask::Charge(11), 20, Some((25, answer)));
    let reused = refused("idempotency_key_reused", None);
    check("a key reused", Linearizable, &[first(), other(reused.clone())]);
    check("a key taken for used", Violated, &[(0, 1, ten, 0, Some((9, reused)))]);

    let lost = || (0, 1, ten, 0, None);
    let read = |at, posted| (1, 2, Ask::Read, at, Some((at + 1, seen(posted))));
    check("no answer, never done", Linearizable, &[lost(), read(10, 100), read(20, 100)]);
    check("no answer, done later", Linearizable, &[lost(), read(10, 100), read(20, 90)]);
    check("no answer, undone", Violated, &[lost(), read(10, 90), read(20, 100)]);

    let no = |available| refused("insufficient_credits", Some(available));
    check("refused", Linearizable, &[first(), (1, 2, too_much, 5, Some((8, no(90))))]);
    check(
        "refused too early",
        Violated,
        &[(1, 2, too_much, 0, Some((3, no(90)))), (0, 1, ten, 4, Some((9, done(-10, 90))))],
    );
    check("both fit", Violated, &[first(), (1, 2, too_much, 5, Some((8, done(-95, 5))))]);

    let hold = || (0, 1, Ask::Hold { credits: 30, partial: false }, 0, Some((9, held(30, 100))));
    let captured = |client, key, at, answer| (client, key, capture, at, Some((at + 5, answer)));
    let gone = refused("hold_captured", None);
    check(
        "captured by one of two",
        Linearizable,
        &[hold(), captured(1, 2, 10, gone.clone()), captured(2, 3, 11, done(-30, 70))],
    );
    check(
        "captured twice",
        Violated,
        &[hold(), captured(1, 2, 10, done(-30, 70)), captured(2, 3, 11, done(-30, 40))],
    );
    check(
        "refunded twice",
        Violated,
        &[
            first(),
            (1, 2, back, 10, Some((15, done(10, 100)))),
            (2, 3, back, 10, Some((15, done(10, 110)))),
        ],
    );
}
