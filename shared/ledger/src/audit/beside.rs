//! What must lie beside a journal for some of its operations: what was refunded of a charge, what
//! became of a payment, that a hold or a grant was voided.
//!
//! Each refund is named by one item of its charge, and the items add up to at most what the charge
//! took. So two refunds that each gave everything back show, also where an item was taken away in
//! between: then the first one has no item, or both don't add up. The same with the changes of a
//! payment. All of it is read when an operation asks for it, so an audit keeps nothing of it, and
//! one that goes on behind a cursor checks as much as one from the beginning.

use futures_util::future::try_join_all;
use uc_domain::account::{Detail, Money, Operation, OperationId, Origin};
use uc_domain::journal::Entry;
use uc_domain::payments::{Payment, Reversals};
use uc_domain::{AccountId, Credits};

use super::{AT_ONCE, PAGE};
use crate::evidence::{REFUNDED, REVERSALS, read_payment};
use crate::journal::{Ledger, LedgerError, operation_id};
use crate::keys;
use crate::store::{Item, Key, PK, Query, SK, bytes, text};

/// What the items of a charge say of its refunds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refunds(Vec<Refund>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Refund {
    number: u32,
    refunded: Credits,
    by: OperationId,
}

impl Refunds {
    /// Adds an item, in any order.
    ///
    /// # Errors
    /// It is none.
    pub fn add(&mut self, item: &Item) -> Result<(), String> {
        let read = || {
            let number = text(item, SK)?.parse().ok()?;
            let refunded = text(item, REFUNDED)?.parse().ok()?;
            Some(Refund { number, refunded, by: operation_id(item).ok()? })
        };
        let refund = read().ok_or_else(|| unreadable(item))?;
        self.0.insert(self.0.partition_point(|other| other.number < refund.number), refund);
        Ok(())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The operation that the last of them names.
    pub fn last(&self) -> Option<OperationId> {
        self.0.last().map(|refund| refund.by)
    }

    /// Whether a refund is what its item says, and together with those before it at most what
    /// `charge` took.
    ///
    /// # Errors
    /// What is wrong.
    pub fn count_in(&self, refund: &Operation, charge: &Operation) -> Result<(), String> {
        let Detail::Refund { credits, refunded, .. } = refund.detail else { return Ok(()) };
        let (id, of) = (refund.id, charge.id);
        let Some(taken) = taken(charge).filter(|_| of < id) else {
            return Err(format!("{id} refunds {of}, which is no earlier charge"));
        };
        let Some(place) = self.0.iter().position(|item| item.by == id) else {
            return Err(format!("no item of {of} names its refund {id}"));
        };
        let in_order =
            |pair: &[Refund]| pair[0].refunded < pair[1].refunded && pair[0].by < pair[1].by;
        let numbered = (1..).zip(&self.0[..=place]).all(|(number, item)| item.number == number);
        if !numbered || !self.0[..=place].windows(2).all(in_order) {
            return Err(format!("the refunds of {of} before {id} do not follow each other"));
        }
        let before = place.checked_sub(1).map_or(Credits::ZERO, |at| self.0[at].refunded);
        if self.0[place].refunded != refunded || before.checked_add(credits) != Some(refunded) {
            return Err(format!("{id} is not what the items of {of} say"));
        }
        if refunded > taken {
            return Err(format!("{id} gives back {refunded} in all of {taken} that {of} took"));
        }
        Ok(())
    }
}

/// What a charge or capture took; `None` for other operations.
fn taken(operation: &Operation) -> Option<Credits> {
    matches!(operation.detail, Detail::Charge { .. } | Detail::Capture { .. })
        .then(|| -operation.credits())
}

fn unreadable(item: &Item) -> String {
    let part = |name| text(item, name).unwrap_or_default();
    format!("the item {} {} can't be read", part(PK), part(SK))
}

/// What the item of a payment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentItem {
    /// Whose it is.
    pub account: AccountId,
    /// The operation that brought its credits.
    pub operation: OperationId,
    /// How many.
    pub credits: Credits,
    /// What was paid for them, by which refunds of money are told in credits.
    paid: Option<Money>,
}

impl PaymentItem {
    /// Reads it.
    ///
    /// # Errors
    /// It is none.
    pub fn read(item: &Item) -> Result<Self, String> {
        let (account, operation, payment) = read_payment(item).ok_or_else(|| unreadable(item))?;
        let Payment { credits, paid } = payment;
        Ok(Self { account, operation, credits, paid })
    }

    /// Whether an operation of `account` is what brought its credits.
    ///
    /// # Errors
    /// It is not.
    pub fn names(&self, account: &AccountId, operation: &Operation) -> Result<(), String> {
        let is_it = matches!(operation.origin, Origin::Payment { .. })
            && matches!(&operation.detail, Detail::Grant { amount, paid, .. }
                if *amount == self.credits && *paid == self.paid)
            && self.operation == operation.id
            && self.account == *account;
        let Self { operation: id, credits, .. } = self;
        let paid = self.paid.as_ref().map(|paid| format!(" for {} {}", paid.amount, paid.currency));
        let paid = paid.unwrap_or_default();
        let what = || format!("the item of its payment says {credits} credits{paid} by {id}");
        if is_it { Ok(()) } else { Err(format!("{}: {}", operation.id, what())) }
    }
}

/// What the items of a payment say of what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes(Vec<Change>);

/// All that became of it by then.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    number: u32,
    reversals: Reversals,
}

impl Changes {
    /// Adds an item, in any order.
    ///
    /// # Errors
    /// It is none.
    pub fn add(&mut self, item: &Item) -> Result<(), String> {
        let read = || {
            let number = text(item, SK)?.strip_prefix("C#")?.parse().ok()?;
            let reversals: Reversals = minicbor::decode(bytes(item, REVERSALS)?).ok()?;
            Some(Change { number, reversals })
        };
        let change = read().ok_or_else(|| unreadable(item))?;
        self.0.insert(self.0.partition_point(|other| other.number < change.number), change);
        Ok(())
    }

    /// The numbers of those that moved credits.
    pub fn moving(&self) -> impl Iterator<Item = u32> {
        let taken = self.0.iter().map(|change| change.reversals.taken);
        let before = std::iter::once(Credits::ZERO).chain(taken);
        self.0
            .iter()
            .zip(before)
            .filter(|(now, before)| now.reversals.taken != *before)
            .map(|(now, _)| now.number)
    }

    /// Whether each says what can have become of the payment after the one before.
    ///
    /// # Errors
    /// Which does not.
    pub fn follow(&self, payment: &PaymentItem) -> Result<(), String> {
        let PaymentItem { credits, paid, .. } = payment;
        let payment = Payment { credits: *credits, paid: paid.clone() };
        let nothing = Reversals::default();
        let mut before = &nothing;
        for Change { number, reversals } in &self.0 {
            if !reversals.follows(before, &payment) {
                return Err(format!("the items of its payment do not follow: change {number}"));
            }
            before = reversals;
        }
        Ok(())
    }

    /// Whether a clawback, or its reversal, is what its item says, and what is taken back by then
    /// at most the `brought` credits.
    ///
    /// # Errors
    /// What is wrong.
    pub fn count_in(&self, operation: &Operation, brought: Credits) -> Result<(), String> {
        let id = operation.id;
        let (Some(number), Some(moved)) = (change_seen(operation), moved(operation)) else {
            return Err(format!("{id} is of no payment"));
        };
        let numbered = (1..).zip(&self.0).all(|(number, item)| item.number == number);
        let up_to = usize::try_from(number).ok().and_then(|number| self.0.get(..number));
        let Some([before @ .., now]) = up_to.filter(|_| numbered) else {
            return Err(format!("no item of its payment says what {id} changed"));
        };
        let micros = |Change { reversals, .. }: &Change| {
            (reversals.taken.micros(), reversals.forfeited.micros())
        };
        let (now_micros, before) = (micros(now), before.last().map_or((0, 0), micros));
        if (now_micros.0 - before.0, now_micros.1 - before.1) != moved {
            return Err(format!("{id} is not what the item of its payment says"));
        }
        let taken = now.reversals.taken;
        if taken.is_negative() || taken > brought {
            return Err(format!("{id} leaves {taken} taken back of {brought} brought"));
        }
        Ok(())
    }
}

/// The number of the payment's change that an operation is.
fn change_seen(operation: &Operation) -> Option<u32> {
    match &operation.origin {
        Origin::PaymentChange { number, .. } => Some(*number),
        _ => None,
    }
}

/// How many millionths of a credit a clawback or its reversal took back, and how many of these
/// voids had forfeited.
fn moved(operation: &Operation) -> Option<(i128, i128)> {
    match operation.detail {
        Detail::Clawback { credits, forfeited, .. } => Some((credits.micros(), forfeited.micros())),
        Detail::ClawbackReversal { credits, forfeited, .. } => {
            Some((-credits.micros(), -forfeited.micros()))
        }
        _ => None,
    }
}

/// That the mark of a void is not there.
pub fn unmarked(operation: &Operation) -> String {
    format!("no mark says what {} voided", operation.id)
}

/// What was found wrong, or nothing.
type Checked = Result<(), String>;

impl Ledger {
    /// What is wrong with what must lie beside an entry's operations.
    pub(super) async fn unaccounted(
        &self,
        account: &AccountId,
        entry: &Entry,
    ) -> Result<Option<String>, LedgerError> {
        for some in entry.operations.chunks(AT_ONCE) {
            let checks = some.iter().map(|operation| self.check_beside(account, operation));
            if let Some(what) = try_join_all(checks).await?.into_iter().find_map(Checked::err) {
                return Ok(Some(what));
            }
        }
        Ok(None)
    }

    async fn check_beside(
        &self,
        account: &AccountId,
        operation: &Operation,
    ) -> Result<Checked, LedgerError> {
        let checked = match (&operation.detail, &operation.origin) {
            (Detail::Refund { charge, .. }, _) => {
                self.check_refund(account, operation, *charge).await
            }
            (
                Detail::Clawback { .. } | Detail::ClawbackReversal { .. },
                Origin::PaymentChange { provider, mode, payment, .. },
            ) => {
                let pk = keys::payment(provider, mode, payment).pk;
                self.check_change(account, operation, pk).await
            }
            (Detail::Clawback { .. } | Detail::ClawbackReversal { .. }, _) => {
                Ok(Err(format!("{} is of no payment", operation.id)))
            }
            (Detail::Grant { .. }, Origin::Payment { provider, payment }) => {
                self.check_payment(account, operation, (provider, payment)).await
            }
            _ => self.check_mark(account, operation).await,
        };
        match checked {
            // An entry that it needs was changed after it was recomputed.
            Err(LedgerError::Corrupt(what)) => Ok(Err(what)),
            checked => checked,
        }
    }

    async fn check_refund(
        &self,
        account: &AccountId,
        refund: &Operation,
        charge: OperationId,
    ) -> Result<Checked, LedgerError> {
        let Some(charged) = self.operation(account, charge).await? else {
            return Ok(Err(format!("{} refunds {charge}, which is not there", refund.id)));
        };
        let mut refunds = Refunds::default();
        let items = self.all(keys::refunds(account, charge), "0", "~").await?;
        let added = items.iter().try_for_each(|item| refunds.add(item));
        Ok(added.and_then(|()| refunds.count_in(refund, &charged.operation)))
    }

    async fn check_change(
        &self,
        account: &AccountId,
        operation: &Operation,
        pk: String,
    ) -> Result<Checked, LedgerError> {
        let id = operation.id;
        let item = self.store().get(&Key::new(pk.as_str(), "P")).await?;
        let Some(item) = item else { return Ok(Err(format!("{id}: its payment has no item"))) };
        let payment = match PaymentItem::read(&item) {
            Ok(payment) => payment,
            Err(what) => return Ok(Err(what)),
        };
        let Some(opening) = self.operation(account, payment.operation).await? else {
            return Ok(Err(format!("{id}: nothing brought what its payment says")));
        };
        if let Err(what) = payment.names(account, &opening.operation) {
            return Ok(Err(what));
        }
        let of = match &operation.origin {
            Origin::PaymentChange { provider, payment, .. } => {
                Some(Origin::Payment { provider: provider.clone(), payment: payment.clone() })
            }
            _ => None,
        };
        if of.is_some_and(|of| of != opening.operation.origin) {
            return Ok(Err(format!("{id} is of another payment than {}", opening.operation.id)));
        }
        let counted = self.changes(pk).await?.and_then(|changes| {
            changes.count_in(operation, payment.credits)?;
            changes.follow(&payment)?;
            Ok(changes)
        });
        let changes = match counted {
            Ok(changes) => changes,
            Err(what) => return Ok(Err(what)),
        };
        // Each of those before that moved credits is an operation, too.
        let Some(number) = change_seen(operation) else { return Ok(Ok(())) };
        for earlier in changes.moving().take_while(|earlier| *earlier < number) {
            let mut origin = operation.origin.clone();
            if let Origin::PaymentChange { number, .. } = &mut origin {
                *number = earlier;
            }
            if self.operation_of(account, &origin).await?.is_none() {
                return Ok(Err(format!("{id}: no operation is change {earlier} of its payment")));
            }
        }
        Ok(Ok(()))
    }

    async fn check_payment(
        &self,
        account: &AccountId,
        operation: &Operation,
        (provider, payment): (&str, &str),
    ) -> Result<Checked, LedgerError> {
        for mode in keys::PAYMENT_MODES {
            let key = keys::payment(provider, mode, payment);
            if let Some(item) = self.store().get(&key).await? {
                let changes = self.changes(key.pk).await?;
                return Ok(PaymentItem::read(&item).and_then(|read| {
                    read.names(account, operation)?;
                    changes?.follow(&read)
                }));
            }
        }
        Ok(Err(format!("{}: its payment has no item", operation.id)))
    }

    /// What the items of a payment say of what became of it.
    async fn changes(&self, pk: String) -> Result<Result<Changes, String>, LedgerError> {
        let mut changes = Changes::default();
        let items = self.all(pk, "C#0", "C#~").await?;
        Ok(items.iter().try_for_each(|item| changes.add(item)).map(|()| changes))
    }

    async fn check_mark(
        &self,
        account: &AccountId,
        operation: &Operation,
    ) -> Result<Checked, LedgerError> {
        let Some(key) = keys::mark(account, operation) else { return Ok(Ok(())) };
        let mark = self.store().get(&key).await?;
        Ok(mark.map(drop).ok_or_else(|| unmarked(operation)))
    }

    /// All items of a partition between two sort keys.
    async fn all(&self, pk: String, from: &str, to: &str) -> Result<Vec<Item>, LedgerError> {
        let mut all = Vec::new();
        let mut from = from.to_owned();
        loop {
            let (pk, to) = (pk.clone(), to.to_owned());
            let query = Query { pk, from, to, descending: false, limit: PAGE };
            let items = self.store().query(&query).await?;
            let Some(last) = items.last().and_then(|item| text(item, SK)) else { return Ok(all) };
            // The least text after that.
            from = format!("{last} ");
            all.extend(items);
        }
    }
}
