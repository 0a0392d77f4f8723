//! What lies beside the journal that is being recomputed: kept from where it comes in the order of
//! the records until the entry that needs it.
//!
//! Of charges, holds and grants only those are kept that an item names, and only until the last
//! operation that it tells of. So memory does not grow with a journal, but with what was refunded
//! or voided in it later on.

use std::collections::{BTreeMap, HashMap, HashSet};

use uc_domain::AccountId;
use uc_domain::account::{Detail, Operation, OperationId, Origin};
use uc_domain::journal::Entry;
use uc_ledger::audit::{Changes, PaymentItem, Refunds, unmarked};
use uc_ledger::store::text;
use uc_ledger::{Unrated, keys};

use crate::record::{Kind, Record};

/// What is wrong, for people.
type Wrong = String;

/// What lies beside one journal.
#[derive(Debug, Default)]
pub struct Beside {
    is_listed: bool,
    /// Operation items of usage that waits for its price, by the name of the usage.
    parked: HashMap<String, String>,
    /// Operation items of which usage on the list says that it waits, or has waited, under them.
    waiting: HashSet<String>,
    /// Marks of voids, by their partitions.
    marks: HashSet<String>,
    /// What was refunded of charges.
    refunds: BTreeMap<OperationId, Refunded>,
    /// Payments whose credits were taken back in part, or are brought by the next entry.
    payments: HashMap<String, Paid>,
}

#[derive(Debug, Default)]
struct Refunded {
    items: Refunds,
    charge: Option<Operation>,
    seen: usize,
}

#[derive(Debug, Default)]
struct Paid {
    item: Option<PaymentItem>,
    changes: Changes,
    has_opened: bool,
    seen: usize,
}

impl Beside {
    /// Takes an item that comes before the entry it belongs to.
    pub fn note(&mut self, account: &AccountId, record: &Record) -> Result<(), Wrong> {
        let item = record.item();
        let pk = text(&item, "pk").unwrap_or_default().to_owned();
        match record.place.kind {
            Kind::Directory => self.is_listed = true,
            Kind::Parked => {
                let id = text(&item, "u").unwrap_or_default().to_owned();
                self.parked.insert(id, pk);
            }
            Kind::Unrated => {
                let key = text(&item, "k").unwrap_or_default().to_owned();
                let operation = keys::operation(account, &Origin::Client { key });
                let operation = operation.map(|key| key.pk).unwrap_or_default();
                let id = text(&item, "sk").unwrap_or_default();
                let parked = self.parked.remove(id);
                // Usage that nobody can price any more is lost.
                Unrated::from_item(&item).map_err(|error| error.to_string())?;
                match parked {
                    Some(parked) if parked == operation => {}
                    // It was charged, and is still on the list.
                    None => {
                        self.waiting.insert(operation);
                    }
                    Some(_) => return Err(format!("the item {pk} {id} has another key")),
                }
            }
            Kind::Change => {
                self.payments.entry(pk).or_default().changes.add(&item)?;
            }
            Kind::Mark => {
                self.marks.insert(pk);
            }
            Kind::Refund => {
                let charge = pk.rsplit('#').next().and_then(|charge| charge.parse().ok());
                let charge = charge.ok_or_else(|| format!("the item {pk} names no charge"))?;
                self.refunds.entry(charge).or_default().items.add(&item)?;
            }
            Kind::Payment => {
                let read = PaymentItem::read(&item)?;
                self.payments.entry(pk).or_default().item = Some(read);
            }
            Kind::Entry | Kind::Operation | Kind::Rated | Kind::Checkpoint | Kind::Digest => {}
        }
        Ok(())
    }

    /// An operation item is there.
    pub fn named(&mut self, pk: &str) {
        self.waiting.remove(pk);
    }

    /// Compares with the next entry.
    pub fn take(&mut self, account: &AccountId, entry: &Entry) -> Result<(), Wrong> {
        let seq = entry.state.seq();
        if seq == 1 && !self.is_listed {
            return Err("the account is not in the directory".to_owned());
        }
        for operation in &entry.operations {
            self.open(account, operation)?;
            match (&operation.detail, &operation.origin) {
                (Detail::Refund { charge, .. }, _) => self.refund(operation, *charge)?,
                (Detail::Clawback { .. } | Detail::ClawbackReversal { .. }, origin) => {
                    self.change(operation, origin)?;
                }
                _ => {}
            }
            if keys::mark(account, operation).is_some_and(|key| !self.marks.remove(&key.pk)) {
                return Err(unmarked(operation));
            }
        }
        let of_entry = |paid: &Paid| {
            let item = paid.item.as_ref();
            item.is_some_and(|item| item.operation.seq == seq && !paid.has_opened)
        };
        if let Some((pk, _)) = self.payments.iter().find(|(_, paid)| of_entry(paid)) {
            return Err(format!("the item {pk} names no operation that brought it"));
        }
        Ok(())
    }

    /// What later operations may need to know of one.
    fn open(&mut self, account: &AccountId, operation: &Operation) -> Result<(), Wrong> {
        if let Some(refunded) = self.refunds.get_mut(&operation.id) {
            refunded.charge = Some(operation.clone());
        }
        let (Detail::Grant { .. }, Origin::Payment { provider, payment }) =
            (&operation.detail, &operation.origin)
        else {
            return Ok(());
        };
        let pk = keys::PAYMENT_MODES
            .map(|mode| keys::payment(provider, mode, payment).pk)
            .into_iter()
            .find(|pk| self.payments.get(pk).is_some_and(|paid| paid.item.is_some()));
        let Some((pk, paid)) = pk.and_then(|pk| self.payments.remove_entry(&pk)) else {
            return Err(format!("{}: its payment has no item", operation.id));
        };
        if let Some(item) = &paid.item {
            item.names(account, operation)?;
            paid.changes.follow(item)?;
        }
        if paid.changes.moving().next().is_some() {
            self.payments.insert(pk, Paid { has_opened: true, ..paid });
        }
        Ok(())
    }

    fn refund(&mut self, refund: &Operation, charge: OperationId) -> Result<(), Wrong> {
        let nothing = || format!("no item of {charge} names its refund {}", refund.id);
        let refunded = self.refunds.get_mut(&charge).ok_or_else(nothing)?;
        let charged = refunded.charge.as_ref().ok_or_else(nothing)?;
        refunded.items.count_in(refund, charged)?;
        refunded.seen += 1;
        if refunded.seen == refunded.items.count() {
            self.refunds.remove(&charge);
        }
        Ok(())
    }

    fn change(&mut self, operation: &Operation, origin: &Origin) -> Result<(), Wrong> {
        let id = operation.id;
        let Origin::PaymentChange { provider, mode, payment, .. } = origin else {
            return Err(format!("{id} is of no payment"));
        };
        let pk = keys::payment(provider, mode, payment).pk;
        let paid = self.payments.get_mut(&pk).filter(|paid| paid.has_opened);
        let nothing = || format!("no item of its payment says what {id} changed");
        let paid = paid.ok_or_else(nothing)?;
        let brought = paid.item.as_ref().ok_or_else(nothing)?.credits;
        paid.changes.count_in(operation, brought)?;
        paid.seen += 1;
        if paid.seen == paid.changes.moving().count() {
            self.payments.remove(&pk);
        }
        Ok(())
    }

    /// The journal has ended: what is left belongs to nothing in it.
    pub fn end(&self, entries: u64) -> Result<(), Wrong> {
        if entries == 0 {
            return Err("the account is in the directory, or has items, and no entry".to_owned());
        }
        if let Some((id, pk)) = self.parked.iter().next() {
            return Err(format!("the item {pk} says that {id} waits, which is not there"));
        }
        if let Some(pk) = self.waiting.iter().next() {
            return Err(format!("usage waits for its price without the item {pk}"));
        }
        if let Some(pk) = self.marks.iter().next() {
            return Err(format!("the item {pk} marks what was never voided"));
        }
        if let Some((charge, refunded)) = self.refunds.iter().next() {
            let by = refunded.items.last();
            let by = by.map_or_else(|| "nothing".to_owned(), |by| by.to_string());
            return Err(format!("an item says that {by} refunded {charge}, which is not there"));
        }
        let moved = |paid: &&Paid| paid.item.is_some() || paid.changes.moving().next().is_some();
        match self.payments.iter().find(|(_, paid)| moved(paid)) {
            Some((pk, _)) => Err(format!("the items of {pk} say more than what happened")),
            None => Ok(()),
        }
    }
}
