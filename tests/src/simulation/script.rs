//! [`Script`]: what a seed's clients set out to do.

use std::sync::Arc;

use uc_domain::account::{Charge, GrantRequest, Origin, Overuse, Settings, Source};
use uc_domain::{AccountId, Credits, Timestamp};

use super::client::Step;
use super::errand::{Errand, Errands, Work, payment_origin};

const ACCOUNTS: [&str; 3] = ["acme", "umbra", "zeta"];
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// What a seed's clients set out to do.
pub struct Script {
    /// Everything that is wanted.
    pub errands: Errands,
    /// The accounts.
    pub accounts: Vec<AccountId>,
    /// What each client does, one after the other.
    pub steps: Vec<Vec<Step>>,
    /// How far each client's clock is ahead in milliseconds, and whether that is known to it.
    pub clocks: Vec<(i64, bool)>,
}

impl Script {
    /// The script of a seed, for a world that begins at `now`.
    pub fn of(random: &mut fastrand::Rng, now: Timestamp) -> Self {
        let mut author = Author { random, now, errands: Vec::new() };
        let accounts = author.random.usize(1..=ACCOUNTS.len());
        let accounts: Vec<AccountId> =
            ACCOUNTS[..accounts].iter().map(|id| id.parse().expect("an id")).collect();
        let clients = author.random.usize(2..=5);
        let mut steps = vec![Vec::new(); clients];
        for client in &mut steps {
            for number in 0..author.random.u8(3..=8) {
                client.push(author.step(&accounts, number == 0));
            }
        }
        // Some requests are sent by two clients: a page that was loaded twice, a queue's second
        // delivery.
        for _ in 0..author.random.u8(..4) {
            let (from, to) = (author.random.usize(..clients), author.random.usize(..clients));
            let step = steps[from][author.random.usize(..steps[from].len())].clone();
            if matches!(&step, Step::Errand(index) if author.errands[*index].has_key()) {
                let at = author.random.usize(..=steps[to].len());
                steps[to].insert(at, step);
            }
        }
        let clocks = (0..clients).map(|_| (author.offset(), author.random.u8(..3) == 0)).collect();
        Self { errands: Arc::from(author.errands), accounts, steps, clocks }
    }
}

struct Author<'a> {
    random: &'a mut fastrand::Rng,
    now: Timestamp,
    errands: Vec<Errand>,
}

impl Author<'_> {
    fn step(&mut self, accounts: &[AccountId], first: bool) -> Step {
        let account = accounts[self.random.usize(..accounts.len())].clone();
        match self.random.u8(..40) {
            _ if first => self.errand(account, true),
            0..=1 => Step::Settle(account),
            2..=3 => Step::GrantDue,
            4..=6 => Step::Read(account),
            7 => Step::SetClock(self.offset()),
            8 => Step::Jump(self.random.i64(1..=10) * MINUTE),
            9 => Step::Jump(self.random.i64(1..=40) * DAY),
            10..=12 if !self.errands.is_empty() => self.rival(accounts),
            _ => self.errand(account, false),
        }
    }

    /// A clock that is right, some seconds off, or minutes.
    fn offset(&mut self) -> i64 {
        match self.random.u8(..4) {
            0 => 0,
            1 => self.random.i64(-5 * MINUTE..=5 * MINUTE),
            _ => self.random.i64(-30_000..=30_000),
        }
    }

    fn credits(&mut self) -> Credits {
        Credits::from_micros(self.random.i128(1..=100_000_000)).expect("100 at most")
    }

    fn add(&mut self, account: AccountId, origin: Option<Origin>, work: Work) -> Step {
        let index = self.errands.len();
        let origin = origin.unwrap_or_else(|| Origin::Client { key: format!("key-{index}") });
        let private = self.random.u8(..4) == 0;
        self.errands.push(Errand { index, account, origin, work, private });
        Step::Errand(index)
    }

    fn errand(&mut self, account: AccountId, opening: bool) -> Step {
        let index = self.errands.len();
        match self.random.u8(..20) {
            0..=9 if opening => self.grant(account),
            0..=2 => self.grant(account),
            3..=4 => {
                let work = Work::Payment(self.credits());
                self.add(account, Some(payment_origin(format!("pay-{index}"))), work)
            }
            5..=6 => {
                let credits = self.credits();
                let anchor = self.now.saturating_add_millis(-self.random.i64(0..=100) * DAY);
                let origin = Origin::Subscription { id: format!("sub-{index}"), period: 0 };
                self.add(account, Some(origin), Work::Subscribe { credits, anchor })
            }
            7..=9 => {
                let overuse = [Overuse::Record, Overuse::Refuse, Overuse::Forgive];
                let settings = Settings {
                    overuse: overuse[self.random.usize(..overuse.len())],
                    // No other errand has this one.
                    credit_line: Credits::from_micros(index as i128 + 1).expect("small"),
                    ..Settings::default()
                };
                let origin = (self.random.u8(..3) > 0).then_some(Origin::System);
                self.add(account, origin, Work::Settings(settings))
            }
            10 => self.add(account, None, Work::SpendAll),
            11..=12 => {
                let millis = *self.random.choice(&[1_000, MINUTE, 60 * MINUTE]).expect("some");
                let work = Work::Hold(self.credits(), millis);
                self.add(account, None, work)
            }
            13..=14 => {
                let work = Work::Capture(self.credits(), self.random.bool());
                self.add(account, None, work)
            }
            15 => {
                let work = if self.random.bool() { Work::Void } else { Work::WriteOff };
                self.add(account, None, work)
            }
            16 => self.refund(account),
            _ => {
                let max_credits = (self.random.u8(..4) == 0).then(|| self.credits());
                let charge = Charge { max_credits, ..Charge::fixed(self.credits()) };
                self.add(account, None, Work::Charge(charge))
            }
        }
    }

    /// Gives back a part of an earlier charge, if there is one.
    fn refund(&mut self, account: AccountId) -> Step {
        let charges: Vec<_> = self
            .errands
            .iter()
            .filter(|errand| errand.account == account && errand.has_key())
            .filter(|errand| matches!(errand.work, Work::Charge(_) | Work::Capture(..)))
            .map(|errand| errand.origin.clone())
            .collect();
        if charges.is_empty() {
            return self.add(account, None, Work::SpendAll);
        }
        let of = charges[self.random.usize(..charges.len())].clone();
        let part = Credits::from_micros(self.credits().micros() / 8 + 1).expect("small");
        self.add(account, None, Work::Refund(of, part))
    }

    fn grant(&mut self, account: AccountId) -> Step {
        let sources = [Source::Paid, Source::Promo, Source::Trial, Source::Migration];
        let now = self.now;
        let later = |minutes: i64| now.saturating_add_millis(minutes * MINUTE);
        let starts = *self.random.choice(&[0, 0, 0, 1, 5, 2 * 24 * 60]).expect("some");
        let ends = *self.random.choice(&[-1, -1, 1, 2, 6, 24 * 60]).expect("some");
        let request = GrantRequest {
            amount: self.credits(),
            source: sources[self.random.usize(..sources.len())],
            priority: None,
            effective_at: (starts > 0).then(|| later(starts)),
            expires_at: (ends > 0).then(|| later(starts + ends)),
            paid: None,
            rollover: None,
        };
        self.add(account, None, Work::Grant(request))
    }

    /// An errand that contradicts an earlier one: the same key with another request, the same
    /// payment for another account or with other credits.
    fn rival(&mut self, accounts: &[AccountId]) -> Step {
        let earlier = self.errands[self.random.usize(..self.errands.len())].clone();
        let other = accounts[self.random.usize(..accounts.len())].clone();
        match &earlier.origin {
            Origin::Client { .. } => {
                let charge = Work::Charge(Charge::fixed(self.credits()));
                self.add(earlier.account, Some(earlier.origin), charge)
            }
            Origin::Payment { .. } => {
                let work = Work::Payment(self.credits());
                self.add(other, Some(earlier.origin), work)
            }
            Origin::Subscription { .. } | Origin::PaymentChange { .. } | Origin::System => {
                self.errand(other, false)
            }
        }
    }
}
