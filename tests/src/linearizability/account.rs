//! What one account does when requests come one after the other: the specification that histories
//! are held against. Whole credits only, one kind of grants that never end, no expiring holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stateright::semantics::SequentialSpec;

/// Names a request that moves credits; its `Idempotency-Key` is made of it.
pub type Key = u32;

/// What is asked of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Add credits.
    Grant(i64),
    /// Take credits.
    Charge(i64),
    /// Reserve credits, or as many as there are.
    Hold {
        /// How many.
        credits: i64,
        /// Whether fewer will do.
        partial: bool,
    },
    /// Charge for what a hold was opened for.
    Capture {
        /// The request that opened it.
        hold: Key,
        /// How many.
        credits: i64,
        /// Whether the hold ends.
        last: bool,
    },
    /// Give back what a hold reserves.
    Void {
        /// The request that opened it.
        hold: Key,
    },
    /// Give back what a charge or capture took, or all that is left of it.
    Refund {
        /// The request that took it.
        charge: Key,
        /// How many.
        credits: Option<i64>,
    },
    /// Look at the balance.
    Read,
}

/// A request: a read has a key as well, which nobody sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Its key.
    pub key: Key,
    /// What it asks.
    pub ask: Ask,
}

/// What an account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// Live credits minus debt.
    pub posted: i64,
    /// Posted minus held.
    pub available: i64,
    /// What open holds reserve.
    pub held: i64,
    /// Overuse not yet paid back.
    pub debt: i64,
}

/// What a request is answered, as far as it can be predicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It happened.
    Done {
        /// The operation's signed credits; of a hold what it reserves.
        credits: i64,
        /// The balance after it.
        balance: Balance,
    },
    /// It was looked at.
    Seen(Balance),
    /// It did not happen.
    Refused {
        /// The problem's code.
        code: String,
        /// What is available, or left to refund, where the problem says it.
        figure: Option<i64>,
    },
}

/// What becomes of a charge that is larger than what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overuse {
    /// It becomes debt.
    Record,
    /// The charge is refused.
    Refuse,
    /// It is not taken.
    Forgive,
}

/// A hold, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hold {
    reserved: i64,
    unfunded: i64,
    /// `hold_captured` or `hold_voided`.
    ended: Option<&'static str>,
}

impl Hold {
    fn credits(&self) -> i64 {
        self.reserved + self.unfunded
    }
}

/// An account.
#[derive(Debug, Clone)]
pub struct Account {
    overuse: Overuse,
    credit_line: i64,
    /// Credits that no hold reserves.
    free: i64,
    debt: i64,
    holds: BTreeMap<Key, Hold>,
    /// What each charge or capture took, and what was given back of it.
    taken: BTreeMap<Key, (i64, i64)>,
    /// What has happened under which key, and how it was answered.
    answered: BTreeMap<Key, (Ask, Answer)>,
    /// Steps that may still be tried, over all copies.
    budget: Arc<AtomicU64>,
}

type Outcome = Result<i64, (&'static str, Option<i64>)>;

impl Account {
    /// A new account with so many credits. A search may try `steps` steps of it.
    pub fn new(overuse: Overuse, credit_line: i64, credits: i64, steps: u64) -> Self {
        Self {
            overuse,
            credit_line,
            free: credits,
            debt: 0,
            holds: BTreeMap::new(),
            taken: BTreeMap::new(),
            answered: BTreeMap::new(),
            budget: Arc::new(AtomicU64::new(steps)),
        }
    }

    /// Whether the steps were used up.
    pub fn is_exhausted(&self) -> bool {
        self.budget.load(Ordering::Relaxed) == 0
    }

    fn balance(&self) -> Balance {
        let reserved = self.holds.values().map(|hold| hold.reserved).sum::<i64>();
        let held = self.holds.values().map(Hold::credits).sum::<i64>();
        let posted = self.free + reserved - self.debt;
        Balance { posted, available: posted - held, held, debt: self.debt }
    }

    /// Takes from what is free; the rest is returned.
    fn burn(&mut self, credits: i64) -> i64 {
        let burnt = credits.min(self.free);
        self.free -= burnt;
        credits - burnt
    }

    /// Debt is paid before anything becomes free.
    fn give(&mut self, credits: i64) {
        let paid = credits.min(self.debt);
        self.debt -= paid;
        self.free += credits - paid;
    }

    /// Takes for usage, and returns how much was taken.
    fn take(&mut self, credits: i64) -> Outcome {
        let available = self.balance().available;
        let beyond = credits > available + self.credit_line;
        if self.overuse == Overuse::Refuse && credits > 0 && beyond {
            return Err(("insufficient_credits", Some(available)));
        }
        let rest = self.burn(credits);
        if self.overuse == Overuse::Forgive {
            return Ok(credits - rest);
        }
        self.debt += rest;
        Ok(credits)
    }

    fn hold(&mut self, key: Key, credits: i64, partial: bool) -> Outcome {
        let available = self.balance().available;
        let spendable = available + self.credit_line;
        let credits = match credits {
            credits if credits <= spendable => credits,
            _ if partial && spendable > 0 => spendable,
            _ => return Err(("insufficient_credits", Some(available))),
        };
        let unfunded = self.burn(credits);
        let hold = Hold { reserved: credits - unfunded, unfunded, ended: None };
        self.holds.insert(key, hold);
        Ok(credits)
    }

    fn capture(&mut self, key: Key, id: Key, credits: i64, last: bool) -> Outcome {
        let hold = self.open(id)?;
        let from_hold = credits.min(hold.credits());
        let reserved = from_hold.min(hold.reserved);
        let mut left = Hold {
            reserved: hold.reserved - reserved,
            unfunded: hold.unfunded - (from_hold - reserved),
            ended: None,
        };
        if last {
            let ended = Hold { reserved: 0, unfunded: 0, ended: Some("hold_captured") };
            self.holds.insert(id, ended);
        } else {
            self.holds.insert(id, left);
            left = Hold { reserved: 0, unfunded: 0, ended: None };
        }
        // What the hold promised of the credit line is taken however overuse is treated.
        let owed = self.burn(from_hold - reserved);
        self.debt += owed;
        let taken = from_hold + self.take(credits - from_hold)?;
        self.give(left.reserved);
        self.taken.insert(key, (taken, 0));
        Ok(-taken)
    }

    fn open(&self, id: Key) -> Result<Hold, (&'static str, Option<i64>)> {
        let hold = self.holds.get(&id).ok_or(("not_found", None))?;
        hold.ended.map_or(Ok(*hold), |code| Err((code, None)))
    }

    fn void(&mut self, id: Key) -> Outcome {
        let hold = self.open(id)?;
        self.holds.insert(id, Hold { reserved: 0, unfunded: 0, ended: Some("hold_voided") });
        self.give(hold.reserved);
        Ok(0)
    }

    fn refund(&mut self, charge: Key, credits: Option<i64>) -> Outcome {
        let (taken, refunded) = self.taken.get_mut(&charge).ok_or(("not_found", None))?;
        let left = *taken - *refunded;
        let credits = credits.unwrap_or(left);
        if left == 0 || credits > left {
            return Err(("refund_exceeds_charge", Some(left)));
        }
        *refunded += credits;
        self.give(credits);
        Ok(credits)
    }

    fn happen(&mut self, Request { key, ask }: Request) -> Outcome {
        match ask {
            Ask::Grant(credits) => {
                self.give(credits);
                Ok(credits)
            }
            Ask::Charge(credits) => {
                let taken = self.take(credits)?;
                self.taken.insert(key, (taken, 0));
                Ok(-taken)
            }
            Ask::Hold { credits, partial } => self.hold(key, credits, partial),
            Ask::Capture { hold, credits, last } => self.capture(key, hold, credits, last),
            Ask::Void { hold } => self.void(hold),
            Ask::Refund { charge, credits } => self.refund(charge, credits),
            Ask::Read => Ok(0),
        }
    }
}

impl SequentialSpec for Account {
    type Op = Request;
    type Ret = Answer;

    fn invoke(&mut self, request: &Request) -> Answer {
        let refused = |code: &str, figure| Answer::Refused { code: code.to_owned(), figure };
        match self.answered.get(&request.key) {
            Some((ask, answer)) if *ask == request.ask => return answer.clone(),
            Some(_) => return refused("idempotency_key_reused", None),
            None => {}
        }
        if request.ask == Ask::Read {
            return Answer::Seen(self.balance());
        }
        let mut next = self.clone();
        match next.happen(*request) {
            Ok(credits) => {
                let answer = Answer::Done { credits, balance: next.balance() };
                next.answered.insert(request.key, (request.ask, answer.clone()));
                *self = next;
                answer
            }
            // What is refused changes nothing, and uses up no key.
            Err((code, figure)) => refused(code, figure),
        }
    }

    fn is_valid_step(&mut self, request: &Request, answer: &Answer) -> bool {
        let less = |left: u64| left.checked_sub(1);
        let may = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        may && self.invoke(request) == *answer
    }
}
