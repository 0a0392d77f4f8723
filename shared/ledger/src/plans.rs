//! Plans and subscriptions, as items with conditions.

use serde::Serialize;
use uc_domain::account::{Command, GrantRequest, Origin, Rejection, Rollover, Source, Status};
use uc_domain::plans::{Plan, PlanId, PlanRollover, period_start};
use uc_domain::{AccountId, Timestamp};

use crate::journal::{Ask, Asked, Ledger, LedgerError, Outcome};
use crate::keys;
use crate::private::{Private, sha256};
use crate::store::{
    AttributeValue, Condition, DUE_AT, DUE_SHARD, DueKey, Item, Key, Put, Query, SK, StoreError,
    number, text,
};

const DOCUMENT: &str = "doc";
const UPDATED_AT: &str = "at";
const PLAN: &str = "plan";
const ANCHOR: &str = "anchor";
const NEXT_PERIOD: &str = "next";

/// A period is granted this long before it starts: longer than the schedule's interval of an
/// hour, so nobody is without credits in between.
const LEAD_MILLIS: i64 = 2 * 3_600_000;
/// Missed periods of one subscription that one call grants at most; the next call goes on.
const MAX_PERIODS: u32 = 36;
/// Plans that one deployment has at most, and subscriptions that one account has at most.
const MAX_LISTED: u32 = 500;

/// A plan as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanItem {
    /// Its id.
    pub id: PlanId,
    /// What is sold.
    #[serde(flatten)]
    pub plan: Plan,
    /// When it was last edited.
    pub updated_at: Timestamp,
}

/// One account's subscription, with the plan as it was when it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: String,
    /// The plan's id.
    pub plan_id: PlanId,
    /// The plan as it was when it was taken.
    pub plan: Plan,
    /// When the first period began; all others are counted from it.
    pub anchor: Timestamp,
    /// The first period that is not granted yet, from 0.
    pub next_period: u32,
}

/// A subscription to make.
#[derive(Debug, Clone)]
pub struct NewSubscription {
    /// Its id, the same for the same request.
    pub id: String,
    /// The plan's id.
    pub plan_id: PlanId,
    /// The plan.
    pub plan: Plan,
    /// When its first period begins.
    pub anchor: Timestamp,
    /// A digest of the request.
    pub fingerprint: [u8; 16],
    /// Who asked for it.
    pub private: Private,
}

/// A subscription that was made, or had been by the same request.
#[derive(Debug, Clone)]
pub struct Subscribed {
    /// The subscription as it was made.
    pub subscription: Subscription,
    /// The grant of its first period.
    pub outcome: Outcome,
}

/// What granting a subscription's due periods came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueOutcome {
    /// Periods granted by this call.
    pub granted: u32,
    /// Whether more are due.
    pub more: bool,
}

/// Why a subscription was not made or a period not granted.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    /// The ledger did not take the grant.
    #[error(transparent)]
    Grant(Box<Asked<std::convert::Infallible>>),
    /// The period lies beyond the year 2999.
    #[error("the period is out of the calendar's range")]
    OutOfRange,
    /// The store is unavailable, or what it holds is corrupt.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Plans and subscriptions.
#[derive(Debug, Clone)]
pub struct Plans {
    ledger: Ledger,
}

impl Plans {
    /// The plans and subscriptions beside `ledger`.
    pub const fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    /// Keeps a plan, in place of the one with this id if there is one. Subscriptions keep the plan
    /// they were made with.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn put_plan(&self, id: &PlanId, plan: Plan) -> Result<PlanItem, LedgerError> {
        let updated_at = self.ledger.now();
        let mut item = Key::new(keys::PLANS, id.as_str()).item();
        item.insert(DOCUMENT.to_owned(), document(&plan));
        item.insert(UPDATED_AT.to_owned(), millis(updated_at));
        self.ledger.store().put(Put { item, condition: Condition::None }).await?;
        Ok(PlanItem { id: id.clone(), plan, updated_at })
    }

    /// One plan.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn plan(&self, id: &PlanId) -> Result<Option<PlanItem>, LedgerError> {
        let item = self.ledger.store().get(&Key::new(keys::PLANS, id.as_str())).await?;
        item.as_ref().map(plan_item).transpose()
    }

    /// All plans, by id.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn plans(&self) -> Result<Vec<PlanItem>, LedgerError> {
        self.list(keys::PLANS, " ", "~").await?.iter().map(plan_item).collect()
    }

    /// Makes a subscription and grants its first period, in one transaction. The same request
    /// again is answered again. The periods that follow come with the schedule.
    ///
    /// # Errors
    /// The grant was not taken, or the store is unavailable; then there is no subscription.
    pub async fn subscribe(
        &self,
        account: &AccountId,
        new: NewSubscription,
    ) -> Result<Subscribed, SubscriptionError> {
        let NewSubscription { id, plan_id, plan, anchor, fingerprint, private } = new;
        let subscription = Subscription { id, plan_id, plan, anchor, next_period: 1 };
        let item = subscription_item(account, &subscription)?;
        let mut snapshot = keys::snapshot(account, &subscription.id).item();
        snapshot.insert(DOCUMENT.to_owned(), document(&subscription.plan));
        let puts = [item, snapshot].map(|item| Put { item, condition: Condition::NotExists });
        let outcome =
            self.grant_period(account, &subscription, 0, fingerprint, private, &puts).await?;
        Ok(Subscribed { subscription, outcome })
    }

    /// One of an account's subscriptions.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn subscription(
        &self,
        account: &AccountId,
        id: &str,
    ) -> Result<Option<Subscription>, LedgerError> {
        let store = self.ledger.store();
        let Some(item) = store.get(&keys::subscription(account, id)).await? else {
            return Ok(None);
        };
        let snapshot = store.get(&keys::snapshot(account, id)).await?;
        subscription(&item, snapshot.as_ref()).map(Some)
    }

    /// An account's subscriptions, by id.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn subscriptions(
        &self,
        account: &AccountId,
    ) -> Result<Vec<Subscription>, LedgerError> {
        let pk = keys::subscriptions(account);
        let snapshots = self.list(&pk, "P#", "P#~").await?;
        let items = self.list(&pk, "S#", "S#~").await?;
        items
            .iter()
            .map(|item| {
                let id = subscription_id(item)?;
                let key = format!("P#{id}");
                let snapshot = snapshots.iter().find(|s| text(s, SK) == Some(&key));
                subscription(item, snapshot)
            })
            .collect()
    }

    /// Subscriptions of a shard that have a period to grant, after `after` if given.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn due(
        &self,
        shard: u8,
        after: Option<&DueKey>,
        limit: u32,
    ) -> Result<Vec<DueKey>, LedgerError> {
        let until = keys::due_at(self.ledger.now());
        Ok(self.ledger.store().query_due(&shard.to_string(), &until, after, limit).await?)
    }

    /// Grants the due periods of the subscription that `key` names, one after the other. However
    /// many callers do it at once, each period is granted once. Those of a closed account pass
    /// without a grant.
    ///
    /// # Errors
    /// A grant was not taken, or the store is unavailable; the period stays due.
    pub async fn grant_due(&self, key: &Key) -> Result<DueOutcome, SubscriptionError> {
        let corrupt = || LedgerError::Corrupt(format!("subscription {} {}", key.pk, key.sk));
        let account: AccountId = key
            .pk
            .strip_prefix("S#")
            .and_then(|account| account.parse().ok())
            .ok_or_else(corrupt)?;
        let store = self.ledger.store();
        let id = key.sk.strip_prefix("S#").ok_or_else(corrupt)?;
        let snapshot = store.get(&keys::snapshot(&account, id)).await.map_err(LedgerError::from)?;
        let mut granted = 0;
        for _ in 0..MAX_PERIODS {
            let Some(item) = store.get(key).await.map_err(LedgerError::from)? else {
                return Ok(DueOutcome { granted, more: false });
            };
            let before = subscription(&item, snapshot.as_ref())?;
            let due = text(&item, DUE_AT).ok_or_else(corrupt)?;
            if due > keys::due_at(self.ledger.now()).as_str() {
                return Ok(DueOutcome { granted, more: false });
            }
            let period = before.next_period;
            let after = Subscription { next_period: period + 1, ..before };
            let put = Put {
                item: subscription_item(&account, &after)?,
                condition: Condition::Equals(NEXT_PERIOD, AttributeValue::N(period.to_string())),
            };
            let fingerprint = period_fingerprint(&after.id, period);
            let moved = [put];
            let result = self
                .grant_period(&account, &after, period, fingerprint, Private::default(), &moved)
                .await;
            match result {
                Ok(outcome) if !outcome.replayed => granted += 1,
                // Another scheduler was faster; the item tells where to go on.
                Ok(_) => {}
                Err(SubscriptionError::Grant(error)) if matches!(*error, Asked::Prevented(..)) => {}
                Err(SubscriptionError::Grant(error)) if is_closed(&error) => {
                    // No grant settles what the period before has left, and the next one is far.
                    self.ledger.settle(&account).await?;
                    let [put] = moved;
                    match store.put(put).await {
                        Ok(()) | Err(StoreError::ConditionFailed) => {}
                        Err(error) => return Err(LedgerError::from(error).into()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(DueOutcome { granted, more: true })
    }

    async fn grant_period(
        &self,
        account: &AccountId,
        subscription: &Subscription,
        period: u32,
        fingerprint: [u8; 16],
        private: Private,
        puts: &[Put],
    ) -> Result<Outcome, SubscriptionError> {
        let (starts_at, ends_at) = period_bounds(subscription, period)?;
        let rollover = match subscription.plan.rollover {
            Some(PlanRollover { min, max }) => {
                let next = period.checked_add(1).ok_or(SubscriptionError::OutOfRange)?;
                let (_, expires_at) = period_bounds(subscription, next)?;
                Some(Rollover { min, max, expires_at })
            }
            None => None,
        };
        let command = Command::Grant(GrantRequest {
            amount: subscription.plan.credits,
            source: Source::Plan,
            priority: None,
            effective_at: Some(starts_at),
            expires_at: Some(ends_at),
            paid: None,
            rollover,
        });
        let ask = Ask {
            account,
            origin: Origin::Subscription { id: subscription.id.clone(), period },
            fingerprint,
            private,
            opens: true,
            extra: &|_| puts.to_vec(),
        };
        self.ledger
            .execute(&ask, |_| Ok(command.clone()))
            .await
            .map_err(|error| SubscriptionError::Grant(Box::new(error)))
    }

    async fn list(&self, pk: &str, from: &str, to: &str) -> Result<Vec<Item>, LedgerError> {
        let query = Query {
            pk: pk.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            descending: false,
            limit: MAX_LISTED,
        };
        Ok(self.ledger.store().query(&query).await?)
    }
}

impl Subscription {
    /// The period that a time lies in or that comes next: its begin and end. For readers.
    pub fn current_period(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        (0..self.next_period)
            .rev()
            .filter_map(|period| period_bounds(self, period).ok())
            .find(|(starts_at, _)| *starts_at <= now)
            .or_else(|| period_bounds(self, 0).ok())
    }
}

/// `[begin, end)` of a period.
fn period_bounds(
    subscription: &Subscription,
    period: u32,
) -> Result<(Timestamp, Timestamp), SubscriptionError> {
    let every = subscription.plan.credits_interval;
    let start = |period| period_start(subscription.anchor, every, period);
    start(period).zip(period.checked_add(1).and_then(start)).ok_or(SubscriptionError::OutOfRange)
}

/// Whether a grant was refused since its account is closed.
fn is_closed(error: &Asked<std::convert::Infallible>) -> bool {
    matches!(error, Asked::Rejected(Rejection::AccountStatus(Status::Closed)))
}

fn period_fingerprint(id: &str, period: u32) -> [u8; 16] {
    let digest = sha256(&[b"period\n", id.as_bytes(), b"\n", &period.to_be_bytes()]);
    *digest.first_chunk().expect("32 bytes have 16")
}

fn millis(at: Timestamp) -> AttributeValue {
    AttributeValue::N(at.millis().to_string())
}

fn document(plan: &Plan) -> AttributeValue {
    let text = serde_json::to_string(&plan).expect("a plan is plain data");
    AttributeValue::S(text)
}

fn plan_of(item: &Item) -> Option<Plan> {
    serde_json::from_str(text(item, DOCUMENT)?).ok()
}

fn timestamp(item: &Item, name: &str) -> Option<Timestamp> {
    i64::try_from(number(item, name)?).ok().and_then(|ms| Timestamp::from_millis(ms).ok())
}

fn plan_item(item: &Item) -> Result<PlanItem, LedgerError> {
    let id = text(item, SK).unwrap_or_default();
    match (id.parse(), plan_of(item), timestamp(item, UPDATED_AT)) {
        (Ok(id), Some(plan), Some(updated_at)) => Ok(PlanItem { id, plan, updated_at }),
        _ => Err(LedgerError::Corrupt(format!("plan {id:?}"))),
    }
}

fn subscription_item(
    account: &AccountId,
    subscription: &Subscription,
) -> Result<Item, SubscriptionError> {
    let (next_starts_at, _) = period_bounds(subscription, subscription.next_period)?;
    let due_at = next_starts_at.saturating_add_millis(-LEAD_MILLIS);
    let mut item = keys::subscription(account, &subscription.id).item();
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set(PLAN, AttributeValue::S(subscription.plan_id.to_string()));
    set(ANCHOR, millis(subscription.anchor));
    set(NEXT_PERIOD, AttributeValue::N(subscription.next_period.to_string()));
    set(DUE_SHARD, AttributeValue::S(keys::due_shard(account)));
    set(DUE_AT, AttributeValue::S(keys::due_at(due_at)));
    Ok(item)
}

fn subscription_id(item: &Item) -> Result<&str, LedgerError> {
    text(item, SK)
        .and_then(|sk| sk.strip_prefix("S#"))
        .ok_or_else(|| LedgerError::Corrupt("a subscription's key".to_owned()))
}

fn subscription(item: &Item, snapshot: Option<&Item>) -> Result<Subscription, LedgerError> {
    let id = subscription_id(item)?;
    let plan_id = text(item, PLAN).and_then(|id| id.parse().ok());
    let next_period = number(item, NEXT_PERIOD).and_then(|n| u32::try_from(n).ok());
    match (plan_id, snapshot.and_then(plan_of), timestamp(item, ANCHOR), next_period) {
        (Some(plan_id), Some(plan), Some(anchor), Some(next_period)) => {
            Ok(Subscription { id: id.to_owned(), plan_id, plan, anchor, next_period })
        }
        _ => Err(LedgerError::Corrupt(format!("subscription {id:?}"))),
    }
}
