//! [`Errand`], one thing that a client wants done once, and how it tells whether it was.

use std::fmt;
use std::sync::Arc;

use uc_domain::account::{
    AccountState, Capture, Charge, Command, Detail, GrantRequest, HoldRequest, Operation, Origin,
    RefundRequest, ReleaseCause, Settings, Source,
};
use uc_domain::plans::{Interval, Plan};
use uc_domain::{AccountId, Credits, Timestamp};
use uc_ledger::evidence::{refund_put, voided_hold_put};
use uc_ledger::store::{AttributeValue, Condition, Item, Put};
use uc_ledger::{
    Ask, Asked, Extra, Ledger, LedgerError, NewSubscription, Outcome, Plans, Private,
    SubscriptionError, keys,
};

/// Who processes payments here, and in which mode.
const PROVIDER: &str = "webhook";
const MODE: &str = "live";

/// The evidence for a refund is older than the account.
const STALE: &str = "stale";

/// What a client wants of an account. A further kind of operation is a variant here, its command
/// in [`Errand::decide`] and what must stand in the journal in [`Errand::is_done_by`].
#[derive(Debug, Clone)]
pub enum Work {
    /// Adds credits.
    Grant(GrantRequest),
    /// Takes credits.
    Charge(Charge),
    /// Takes all that there is, and declines where there is nothing: a decision that must be
    /// taken on the state that the entry follows.
    SpendAll,
    /// Changes the settings. `credit_line` is no other errand's.
    Settings(Settings),
    /// Brings credits in for a payment that counts once, whichever account it names.
    Payment(Credits),
    /// Makes a subscription, with the grant of its first period.
    Subscribe {
        /// Credits of each month.
        credits: Credits,
        /// When the first period began.
        anchor: Timestamp,
    },
    /// Reserves credits for so many milliseconds.
    Hold(Credits, i64),
    /// Takes credits from the hold that is open longest or expired first, and ends it if so;
    /// declines where there is none.
    Capture(Credits, bool),
    /// Gives back the hold that is open longest; declines where there is none.
    Void,
    /// Waives all debt; declines where there is none.
    WriteOff,
    /// Gives back a part of what the charge with this key took.
    Refund(Origin, Credits),
}

/// One thing that a client wants done once.
#[derive(Debug, Clone)]
pub struct Errand {
    /// Its place among all of a run.
    pub index: usize,
    /// The account.
    pub account: AccountId,
    /// The key under which it happens once. Errands that share one exclude each other.
    pub origin: Origin,
    /// What is wanted.
    pub work: Work,
    /// Whether it brings personal data along.
    pub private: bool,
}

/// Why an errand was not done.
#[derive(Debug)]
pub enum Failure {
    /// Nothing is known.
    Unknown(String),
    /// Refused as things are: it may be done another time.
    Refused(String),
    /// Refused for good: another errand has used its key.
    Excluded(String),
    /// What must not happen whatever goes wrong: the store holds, or is asked, what can't be.
    Fault(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(why) => write!(f, "not known: {why}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Excluded(why) => write!(f, "refused for good: {why}"),
            Self::Fault(why) => write!(f, "fault: {why}"),
        }
    }
}

/// By what an operation in a journal is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Mark {
    /// By its key.
    Key(Origin),
    /// Settings that were changed without one: by their credit line.
    CreditLine(Credits),
}

impl Mark {
    /// The mark of an operation; none for what time brought.
    pub fn of(operation: &Operation) -> Option<Self> {
        match (&operation.origin, &operation.detail) {
            (Origin::System, Detail::Settings(settings)) => {
                Some(Self::CreditLine(settings.credit_line))
            }
            (Origin::System, _) => None,
            (origin, _) => Some(Self::Key(origin.clone())),
        }
    }
}

impl Errand {
    /// By what its operation is recognised.
    pub fn mark(&self) -> Mark {
        match (&self.origin, &self.work) {
            (Origin::System, Work::Settings(settings)) => Mark::CreditLine(settings.credit_line),
            (origin, _) => Mark::Key(origin.clone()),
        }
    }

    /// Whether it can be asked again without being done again.
    pub fn has_key(&self) -> bool {
        self.origin != Origin::System
    }

    /// Asks for it.
    ///
    /// # Errors
    /// Why it was not done, as far as is known.
    pub async fn run(&self, ledger: Ledger) -> Result<Outcome, Failure> {
        if let Work::Subscribe { credits, anchor } = &self.work {
            return self.subscribe(ledger, *credits, *anchor).await;
        }
        if let Work::Refund(of, credits) = &self.work {
            return self.refund(ledger, of, *credits).await;
        }
        let extra = |operation: &Operation| self.extra(operation);
        let opens = matches!(self.work, Work::Grant(_) | Work::Settings(_) | Work::Payment(_));
        let ask = self.ask(opens, &extra);
        ledger.execute(&ask, |state| self.decide(state)).await.map_err(failure)
    }

    fn decide(&self, state: &uc_domain::account::AccountState) -> Result<Command, String> {
        Ok(match &self.work {
            Work::Grant(request) => Command::Grant(request.clone()),
            Work::Charge(charge) => Command::Charge(charge.clone()),
            Work::SpendAll => {
                let available = state.balance().available;
                if !available.is_positive() {
                    return Err("nothing to spend".to_owned());
                }
                Command::Charge(Charge::fixed(available))
            }
            Work::Settings(settings) => Command::Settings(settings.clone()),
            Work::Payment(amount) => Command::Grant(GrantRequest {
                amount: *amount,
                source: Source::Paid,
                priority: None,
                effective_at: None,
                expires_at: None,
                paid: None,
                rollover: None,
            }),
            Work::Hold(credits, millis) => Command::Hold(HoldRequest {
                credits: *credits,
                millis: *millis,
                partial: false,
                ratio_version: None,
                price_group: None,
            }),
            Work::Capture(credits, last) => {
                let open = state.holds().first().map(|hold| hold.id);
                let hold = open.or(state.expired_holds().first().map(|hold| hold.id));
                let hold = hold.ok_or_else(|| "no hold".to_owned())?;
                Command::Capture(Capture { hold, charge: Charge::fixed(*credits), last: *last })
            }
            Work::Void => {
                let hold = state.holds().first().ok_or_else(|| "no hold".to_owned())?;
                Command::VoidHold(hold.id)
            }
            Work::WriteOff => Command::WriteOff(None),
            Work::Refund(..) => return Err("a refund needs evidence".to_owned()),
            Work::Subscribe { .. } => return Err("a subscription is no single command".to_owned()),
        })
    }

    /// Whether an operation is what was wanted.
    ///
    /// # Errors
    /// What differs.
    pub fn is_done_by(
        &self,
        operation: &Operation,
        available_after: Credits,
    ) -> Result<(), String> {
        let holds = match (&self.work, &operation.detail) {
            (Work::Grant(request), Detail::Grant { source, amount, expires_at, .. }) => {
                (*source, *amount, *expires_at)
                    == (request.source, request.amount, request.expires_at)
            }
            (Work::Charge(charge), Detail::Charge { requested, .. }) => {
                let cap = charge.max_credits.unwrap_or(Credits::MAX);
                *requested == charge.credits && -operation.credits() <= charge.credits.min(cap)
            }
            // Whatever was there at that moment: nothing is left.
            (Work::SpendAll, Detail::Charge { requested, .. }) => {
                available_after.is_zero() && *requested == -operation.credits()
            }
            (Work::Settings(wanted), Detail::Settings(settings)) => wanted == settings,
            (Work::Payment(wanted), Detail::Grant { source, amount, .. }) => {
                *source == Source::Paid && amount == wanted
            }
            (Work::Subscribe { credits, anchor }, Detail::Grant { effective_at, amount, .. }) => {
                (effective_at, amount) == (anchor, credits)
            }
            (Work::Hold(wanted, _), Detail::Hold { credits, .. }) => credits == wanted,
            (Work::Capture(wanted, ends), Detail::Capture { requested, last, .. }) => {
                (requested, last) == (wanted, ends) && -operation.credits() <= *wanted
            }
            (Work::Void, Detail::Release { cause, .. }) => *cause == ReleaseCause::Voided,
            (Work::WriteOff, Detail::WriteOff) => operation.credits().is_positive(),
            (Work::Refund(_, wanted), Detail::Refund { credits, .. }) => {
                credits == wanted && operation.credits() == *credits
            }
            _ => false,
        };
        if holds && operation.origin == self.origin {
            Ok(())
        } else {
            Err(format!("{self:?} is not what happened: {operation:?}"))
        }
    }

    /// The item of a payment, and the mark of a void, as the functions write them.
    fn extra(&self, operation: &Operation) -> Vec<Put> {
        if let Detail::Release { hold, cause: ReleaseCause::Voided, .. } = operation.detail {
            return vec![voided_hold_put(&self.account, hold)];
        }
        let (Work::Payment(credits), Origin::Payment { payment, .. }) = (&self.work, &self.origin)
        else {
            return Vec::new();
        };
        let mut item = keys::payment(PROVIDER, MODE, payment).item();
        let mut set = |name: &str, text| item.insert(name.to_owned(), AttributeValue::S(text));
        set("account", self.account.to_string());
        set("operation", operation.id.to_string());
        set("credits", credits.to_string());
        vec![Put { item, condition: Condition::NotExists }]
    }

    async fn subscribe(
        &self,
        ledger: Ledger,
        credits: Credits,
        anchor: Timestamp,
    ) -> Result<Outcome, Failure> {
        let Origin::Subscription { id, .. } = &self.origin else {
            return Err(Failure::Refused("a subscription has its own key".to_owned()));
        };
        let plan = Plan {
            name: "Starter".to_owned(),
            interval: Interval::Month,
            credits_interval: Interval::Month,
            credits,
            price: None,
            rollover: None,
        };
        let new = NewSubscription {
            id: id.clone(),
            plan_id: "starter".parse().expect("an id"),
            plan,
            anchor,
            fingerprint: self.fingerprint(),
            private: self.private(),
        };
        match Plans::new(ledger).subscribe(&self.account, new).await {
            Ok(subscribed) => Ok(subscribed.outcome),
            Err(SubscriptionError::Grant(error)) => Err(failure(*error)),
            Err(SubscriptionError::Ledger(error)) => Err(ledger_failure(error)),
            Err(SubscriptionError::OutOfRange) => Err(Failure::Refused("out of range".to_owned())),
        }
    }

    /// As the function for charges does it: evidence first, and again where others were faster.
    async fn refund(
        &self,
        ledger: Ledger,
        of: &Origin,
        credits: Credits,
    ) -> Result<Outcome, Failure> {
        for _ in 0..8 {
            let charge = ledger.operation_of(&self.account, of).await.map_err(ledger_failure)?;
            let Some(charge) = charge.map(|happened| happened.operation.id) else {
                return self.no_charge(ledger).await;
            };
            let evidence = ledger.refund_evidence(&self.account, charge).await;
            let Some(evidence) = evidence.map_err(ledger_failure)? else {
                return self.no_charge(ledger).await;
            };
            let number = evidence.number;
            let extra = |refund: &Operation| match refund.detail {
                Detail::Refund { refunded, .. } => {
                    vec![refund_put(&self.account, charge, number, refund.id, refunded)]
                }
                _ => Vec::new(),
            };
            let ask = self.ask(false, &extra);
            let command = Command::Refund(RefundRequest {
                charge,
                credits: Some(credits),
                postings: evidence.charge.postings.clone(),
                refunded: evidence.refunded,
                terms: evidence.terms.clone(),
            });
            let decide = |state: &AccountState| {
                if evidence.is_stale(state) { Err(STALE) } else { Ok(command.clone()) }
            };
            match ledger.execute(&ask, decide).await {
                Err(Asked::Prevented(..) | Asked::Decided(STALE)) => {}
                answer => return answer.map_err(failure),
            }
        }
        Err(Failure::Unknown("others are always faster".to_owned()))
    }

    /// What it asks of the ledger, with what is to be written beside the entry.
    fn ask<'a>(&'a self, opens: bool, extra: Extra<'a>) -> Ask<'a> {
        Ask {
            account: &self.account,
            origin: self.origin.clone(),
            fingerprint: self.fingerprint(),
            private: self.private(),
            opens,
            extra,
        }
    }

    /// There is nothing to refund: but the key may have been used.
    async fn no_charge(&self, ledger: Ledger) -> Result<Outcome, Failure> {
        let ask = self.ask(false, &|_| Vec::new());
        ledger.execute(&ask, |_| Err("no such charge")).await.map_err(failure)
    }

    fn fingerprint(&self) -> [u8; 16] {
        let mut fingerprint = [0; 16];
        fingerprint[..8].copy_from_slice(&(self.index as u64).to_be_bytes());
        fingerprint
    }

    fn private(&self) -> Private {
        Private {
            actor: self.private.then(|| format!("member {}", self.index)),
            ..Private::default()
        }
    }
}

/// What an error of the ledger tells about an errand.
pub fn failure<E: std::fmt::Debug>(error: Asked<E>) -> Failure {
    match error {
        Asked::Decided(reason) => Failure::Refused(format!("{reason:?}")),
        Asked::Rejected(rejection) => Failure::Refused(rejection.to_string()),
        Asked::AccountNotFound => Failure::Refused("no such account".to_owned()),
        Asked::KeyReused => Failure::Excluded("key reused".to_owned()),
        Asked::Unrated(id) => Failure::Fault(format!("nothing was kept, and here is {id}")),
        Asked::Prevented(index, _) => Failure::Excluded(format!("put {index} prevented")),
        Asked::Ledger(error) => ledger_failure(error),
    }
}

/// What the ledger itself can't do tells nothing about the errand.
pub fn ledger_failure(error: LedgerError) -> Failure {
    match error {
        LedgerError::Unavailable(_) | LedgerError::Busy | LedgerError::ClockSkew(_) => {
            Failure::Unknown(error.to_string())
        }
        LedgerError::Refused(_) | LedgerError::Corrupt(_) => Failure::Fault(error.to_string()),
    }
}

/// The payment that an item stands for: its name, account and operation.
pub fn payment_item(item: &Item) -> Option<(String, String, String)> {
    let text = |name| uc_ledger::store::text(item, name).map(str::to_owned);
    let pk = text("pk")?;
    let payment = pk.strip_prefix(&format!("P#{PROVIDER}#{MODE}#"))?;
    Some((payment.to_owned(), text("account")?, text("operation")?))
}

/// The key of a payment.
pub fn payment_origin(payment: String) -> Origin {
    Origin::Payment { provider: PROVIDER.to_owned(), payment }
}

/// All errands of a run.
pub type Errands = Arc<[Errand]>;
