//! [`Client`]: walks through its steps, dies, comes back and asks again. [`Book`]: what came of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;
use uc_domain::AccountId;
use uc_domain::account::{Balance, Operation, Settings};
use uc_ledger::{Ledger, Outcome, Plans, SubscriptionError, keys};

use super::errand::{Errand, Errands, Failure, failure, ledger_failure};
use super::executor::{Death, Mortal};
use super::network::Line;
use super::tally::{Event, Fault};
use super::world::{ClientClock, World};
use crate::memory_store::lock;

/// Times that an errand is asked again while nothing is known.
const RETRIES: u32 = 3;
/// No errand: a step that nobody needs to settle.
const NO_ERRAND: usize = usize::MAX;

/// One step of a client.
#[derive(Debug, Clone)]
pub enum Step {
    /// Runs an errand, until it is known what became of it or patience ends.
    Errand(usize),
    /// Settles an account, as the schedule does.
    Settle(AccountId),
    /// Grants what is due of all subscriptions, as the schedule does.
    GrantDue,
    /// Reads an account.
    Read(AccountId),
    /// The client's clock is set to so many milliseconds ahead.
    SetClock(i64),
    /// Time goes on by so many milliseconds.
    Jump(i64),
}

/// What is known of an errand.
#[derive(Debug, Default)]
pub struct Record {
    /// Its operation and the balance after it, as acknowledged.
    pub acknowledged: Option<(Operation, Balance)>,
    /// Calls so far.
    pub calls: u32,
    /// Acknowledgements that did not claim to be a replay.
    pub first_hand: u32,
    /// Calls that nothing is known of.
    pub unknown: u32,
    /// Why it was refused for good, if it was.
    pub excluded: Option<String>,
}

/// What is known of all errands, and of grants by the schedule.
#[derive(Debug, Default)]
pub struct Book {
    /// By errand.
    pub records: Vec<Record>,
    /// The highest entry that was acknowledged, by account.
    pub heads: std::collections::HashMap<AccountId, u64>,
    /// Periods that the schedule claims to have granted.
    pub periods: u64,
}

/// One client, and all that it needs.
pub struct Client {
    /// Its number.
    pub number: usize,
    /// Where it lives.
    pub world: Arc<World>,
    /// Its clock.
    pub clock: Arc<ClientClock>,
    /// All errands of the run.
    pub errands: Errands,
    /// Where it writes down what it learns.
    pub book: Arc<Mutex<Book>>,
}

impl Client {
    /// Walks through `steps`.
    pub async fn walk(self, steps: Vec<Step>) {
        for step in steps {
            sleep(Duration::from_millis(self.world.below(100))).await;
            match step {
                Step::Errand(index) => self.pursue(&self.errands[index]).await,
                Step::Settle(account) => self.settle(&account).await,
                Step::GrantDue => self.grant_due().await,
                Step::Read(account) => self.read(&account).await,
                Step::SetClock(offset) => {
                    self.world.fault(Fault::ClockStep);
                    self.clock.step(offset);
                }
                Step::Jump(millis) => {
                    self.world.fault(Fault::TimeJump);
                    self.world.note(|| format!("time goes on by {millis} ms"));
                    self.world.jump(millis);
                }
            }
        }
    }

    /// A new function for one call: it keeps nothing of what others knew.
    fn ledger(&self, errand: usize) -> (Ledger, u64) {
        let call = self.world.next_call();
        let (world, clock) = (Arc::clone(&self.world), Arc::clone(&self.clock));
        if clock.known_skew() > 60 {
            self.world.fault(Fault::Skewed);
        }
        let line = Line { world, clock: Arc::clone(&clock), client: self.number, errand, call };
        self.world.count(Event::Asked, 1);
        (Ledger::new(Arc::new(line), clock, Settings::default()), call)
    }

    fn death(&self) -> Death {
        if !self.world.strikes(Fault::Death) {
            return Death::Never;
        }
        if self.world.below(2) == 0 {
            Death::AfterPolls(u32::try_from(self.world.below(30)).expect("small"))
        } else {
            let longest = 3 * self.world.weather().latency + 5;
            Death::After(Duration::from_millis(self.world.below(longest)))
        }
    }

    async fn pursue(&self, errand: &Errand) {
        for _ in 0..=RETRIES {
            match self.attempt(errand).await {
                // At times the answer is asked for once more.
                Some(Ok(_)) if errand.has_key() && self.world.below(8) == 0 => {}
                Some(
                    Ok(_) | Err(Failure::Refused(_) | Failure::Excluded(_) | Failure::Fault(_)),
                ) => {
                    return;
                }
                Some(Err(Failure::Unknown(_))) | None if errand.has_key() => {
                    sleep(Duration::from_millis(self.world.below(500))).await;
                }
                Some(Err(Failure::Unknown(_))) | None => return,
            }
        }
    }

    /// One call for an errand, by a function that may die.
    pub async fn attempt(&self, errand: &Errand) -> Option<Result<Outcome, Failure>> {
        let (ledger, call) = self.ledger(errand.index);
        lock(&self.book).records[errand.index].calls += 1;
        let result = Mortal::new(errand.run(ledger), self.death()).await;
        self.world.note(|| {
            let known = match &result {
                Some(Ok(outcome)) => {
                    let id = outcome.happened.operation.id;
                    format!("{id}{}", if outcome.replayed { ", replayed" } else { "" })
                }
                Some(Err(failure)) => failure.to_string(),
                None => "dies".to_owned(),
            };
            let number = self.number;
            format!("client {number}, call {call}: errand {} -> {known}", errand.index)
        });
        let mut book = lock(&self.book);
        let record = &mut book.records[errand.index];
        match &result {
            Some(Ok(outcome)) => {
                self.acknowledge(errand, record, outcome);
                let head = book.heads.entry(errand.account.clone()).or_default();
                *head = outcome.state.seq().max(*head);
            }
            Some(Err(Failure::Refused(_))) => {
                self.world.count(Event::Refused, 1);
                // What another function sent before it died may still be done.
                if self.world.others_under_way(errand.index, call) {
                    record.unknown += 1;
                }
            }
            Some(Err(Failure::Excluded(why))) => {
                self.world.count(Event::Refused, 1);
                record.excluded = Some(why.clone());
            }
            Some(Err(Failure::Fault(what))) => self.world.broken(format_args!("{what}")),
            Some(Err(Failure::Unknown(_))) | None => {
                self.world.count(Event::Unknown, 1);
                record.unknown += 1;
            }
        }
        result
    }

    fn acknowledge(&self, errand: &Errand, record: &mut Record, outcome: &Outcome) {
        let world = &self.world;
        world.count(Event::Acknowledged, 1);
        world.count(Event::Replayed, outcome.replayed.into());
        world.count(Event::Conflict, outcome.conflicts.into());
        world.count(Event::Retried, outcome.retries.into());
        record.first_hand += u32::from(!outcome.replayed);
        let happened = &outcome.happened;
        if outcome.replayed && record.calls == 1 {
            world.broken(format_args!("{errand:?}: the only call for it claims to be a replay"));
        }
        if let Err(what) = errand.is_done_by(&happened.operation, happened.balance_after.available)
        {
            world.broken(format_args!("{what}"));
        }
        let answer = (happened.operation.clone(), happened.balance_after);
        match &record.acknowledged {
            Some(first) if *first != answer => {
                world.broken(format_args!("{errand:?}: {first:?}, then {answer:?}"));
            }
            _ => record.acknowledged = Some(answer),
        }
    }

    async fn settle(&self, account: &AccountId) {
        let (ledger, call) = self.ledger(NO_ERRAND);
        let result = Mortal::new(ledger.settle(account), self.death()).await;
        let number = self.number;
        self.world.note(|| format!("client {number}, call {call}: settle {account}: {result:?}"));
        if let Some(Err(error)) = result {
            self.check(&ledger_failure(error));
        }
    }

    async fn grant_due(&self) {
        for shard in 0..keys::DUE_SHARDS {
            let (ledger, call) = self.ledger(NO_ERRAND);
            let plans = Plans::new(ledger);
            let Ok(due) = plans.due(shard, None, 10).await else { continue };
            for due in due {
                let result = Mortal::new(plans.grant_due(&due.key), self.death()).await;
                self.world.note(|| format!("call {call}: grant {}: {result:?}", due.key.sk));
                match result {
                    Some(Ok(outcome)) => lock(&self.book).periods += u64::from(outcome.granted),
                    Some(Err(SubscriptionError::Ledger(error))) => {
                        self.check(&ledger_failure(error));
                    }
                    Some(Err(SubscriptionError::Grant(error))) => self.check(&failure(*error)),
                    None => {}
                    Some(Err(error @ SubscriptionError::OutOfRange)) => {
                        self.world.broken(format_args!("{}: {error}", due.key.sk));
                    }
                }
            }
        }
    }

    async fn read(&self, account: &AccountId) {
        let seen_before = lock(&self.book).heads.get(account).copied().unwrap_or_default();
        let (ledger, _) = self.ledger(NO_ERRAND);
        self.world.count(Event::Reads, 1);
        match ledger.account(account).await {
            Ok(state) => {
                let seq = state.map_or(0, |state| state.seq());
                if seq < seen_before {
                    self.world.broken(format_args!(
                        "{account} was read at entry {seq} after {seen_before} was acknowledged"
                    ));
                }
            }
            Err(error) => self.check(&ledger_failure(error)),
        }
    }

    /// Being unavailable is no fault of the ledger; anything else is.
    fn check(&self, failure: &Failure) {
        if let Failure::Excluded(what) | Failure::Fault(what) = failure {
            self.world.broken(format_args!("{what}"));
        }
    }
}
