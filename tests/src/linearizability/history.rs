//! What clients saw of one account, and whether it can have happened one after the other.

use std::fmt;
use std::time::Instant;

use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use super::account::{Account, Answer, Overuse, Request};

/// Steps that a search may try before it is given up. A history that is linearizable takes few:
/// nearly every answer has a balance that tells its place.
pub const STEPS: u64 = 200_000;

/// One request, from its first byte to the answer's last.
#[derive(Debug, Clone)]
pub struct Event<T = Instant> {
    /// Who asked. Each asks one thing after the other.
    pub client: usize,
    /// What.
    pub request: Request,
    /// When it was sent.
    pub sent: T,
    /// When the answer came, and what it was; nothing where there was none.
    pub answered: Option<(T, Answer)>,
}

/// Everything that was asked of one account.
#[derive(Debug, Clone)]
pub struct History<T = Instant> {
    /// How it treats overuse.
    pub overuse: Overuse,
    /// How far below zero it may go.
    pub credit_line: i64,
    /// What it had before.
    pub credits: i64,
    /// What was asked.
    pub events: Vec<Event<T>>,
}

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order in which every answer is right.
    Linearizable,
    /// There is none.
    Violated,
    /// None was found within the steps.
    Undecided,
}

impl<T: Copy + Ord> History<T> {
    /// Looks for an order of the requests in which every answer is the specification's, and a
    /// request that was answered before another one was sent comes first.
    ///
    /// # Panics
    /// Where a request was answered before it was sent.
    pub fn check(&self, steps: u64) -> Verdict {
        let account = Account::new(self.overuse, self.credit_line, self.credits, steps);
        let names = self.names();
        let mut tester = LinearizabilityTester::new(account.clone());
        for (_, is_answer, index) in self.points() {
            let event = &self.events[index];
            let recorded = match &event.answered {
                Some((_, answer)) if is_answer => tester.on_return(names[index], answer.clone()),
                _ => tester.on_invoke(names[index], event.request),
            };
            if let Err(error) = recorded {
                panic!("every request is sent once, and then answered: {error}");
            }
        }
        match tester.is_consistent() {
            true => Verdict::Linearizable,
            false if account.is_exhausted() => Verdict::Undecided,
            false => Verdict::Violated,
        }
    }

    /// What the tester takes for the one who asks: a name for each request, since time alone tells
    /// what comes after what. It tries names in their order. What changes nothing comes first: once
    /// it fits, having it done is never wrong, but what is done instead may make it fit no more.
    /// Then what changes something, the first answer first; then what may never have happened.
    fn names(&self) -> Vec<(u8, usize)> {
        let mut by_answer: Vec<usize> = (0..self.events.len()).collect();
        by_answer.sort_by_key(|index| self.events[*index].answered.as_ref().map(|(at, _)| *at));
        let mut names = vec![(0, 0); self.events.len()];
        for (place, index) in by_answer.into_iter().enumerate() {
            let class = match &self.events[index].answered {
                Some((_, Answer::Seen(_) | Answer::Refused { .. })) => 0,
                Some((_, Answer::Done { .. })) => 1,
                None => 2,
            };
            names[index] = (class, place);
        }
        names
    }

    /// Sending and answering in order of time; at one instant sending first, which asserts less.
    fn points(&self) -> Vec<(T, bool, usize)> {
        let events = self.events.iter().enumerate();
        let mut points: Vec<_> = events
            .flat_map(|(index, event)| {
                let answered = event.answered.as_ref().map(|(at, _)| (*at, true, index));
                [(event.sent, false, index)].into_iter().chain(answered)
            })
            .collect();
        points.sort_unstable();
        points
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { overuse, credit_line, credits, events } = self;
        writeln!(f, "{overuse:?}, credit line {credit_line}, {credits} credits at first")?;
        let Some(start) = events.iter().map(|event| event.sent).min() else { return Ok(()) };
        for (at, is_answer, index) in self.points() {
            let Event { client, request, answered, .. } = &events[index];
            let micros = at.duration_since(start).as_micros();
            match answered {
                Some((_, answer)) if is_answer => {
                    writeln!(f, "{micros:>9} us  client {client:>2}  <- {answer:?}")?;
                }
                _ => writeln!(f, "{micros:>9} us  client {client:>2}  -> {request:?}")?,
            }
        }
        Ok(())
    }
}
