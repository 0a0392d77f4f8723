//! What decides a refund or a clawback, and is not in an account's newest entry.
//!
//! All of it is written once and never changed: a charge, the terms a grant was opened with, the
//! `n`th refund or change of a payment. So it may be read before the account is: whoever was faster
//! has written number `n`, and the condition on that item tells.

use aws_sdk_dynamodb::primitives::Blob;
use uc_domain::account::{
    AccountState, Detail, GrantId, GrantTerms, HoldId, Money, Operation, OperationId, Origin,
    Source, Target,
};
use uc_domain::payments::{Payment, Reversals};
use uc_domain::{AccountId, Credits};

use crate::journal::{Happened, Ledger, LedgerError, operation_id};
use crate::keys;
use crate::store::{AttributeValue, Condition, Item, Key, Put, Query, SK, bytes, text};
use crate::write::{OPERATION_POSITION, OPERATION_SEQ};

/// A refund item's attribute: what was refunded of the charge so far.
pub(crate) const REFUNDED: &str = "refunded";
/// A payment change's attribute: all that became of the payment so far.
pub(crate) const REVERSALS: &str = "s";
/// Numbers have six digits: so many refunds of one charge, or changes of one payment, at most.
const MAX_NUMBER: u32 = 999_999;

/// A charge or capture, and what was given back of it.
#[derive(Debug, Clone)]
pub struct RefundEvidence {
    /// The charge or capture.
    pub charge: Operation,
    /// What was refunded of it so far.
    pub refunded: Credits,
    /// The number of the next refund of it, from 1.
    pub number: u32,
    /// The terms of the grants it took from, but for those that were voided and not bought.
    pub terms: Vec<GrantTerms>,
    /// The account's newest entry before that was asked.
    seen: u64,
}

impl RefundEvidence {
    /// Whether a grant may have been voided since, and is opened again in `state`, the entry to be:
    /// then the evidence has to be read again. Nothing else of it ever changes.
    pub const fn is_stale(&self, state: &AccountState) -> bool {
        state.last_void() > self.seen
    }
}

/// A payment that counted.
#[derive(Debug, Clone)]
pub struct PaymentEvidence {
    /// The account that it credited.
    pub account: AccountId,
    /// What it brought.
    pub payment: Payment,
    /// The terms of the grant that it opened.
    pub terms: GrantTerms,
    /// All that became of it so far.
    pub reversals: Reversals,
    /// The number of the next change of it, from 1.
    pub number: u32,
}

/// What a grant still brings.
#[derive(Debug, Clone)]
pub struct Brought {
    /// What it was opened with, less what was taken back of its payment.
    pub credits: Credits,
    /// Where it is a payment's: the put that fails where more became of the payment meanwhile. It
    /// takes the number of the payment's next change and says what the last one said.
    pub unchanged: Option<Put>,
}

impl Ledger {
    /// What decides a refund. `None` where there is no such operation.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn refund_evidence(
        &self,
        account: &AccountId,
        charge: OperationId,
    ) -> Result<Option<RefundEvidence>, LedgerError> {
        let Some(Happened { operation, .. }) = self.operation(account, charge).await? else {
            return Ok(None);
        };
        let (refunded, number) = match self.refunds_so_far(account, charge).await? {
            None => (Credits::ZERO, 1),
            Some((number, refunded)) => (refunded, next(number)?),
        };
        let seen = self.seen(account).await?;
        let mut terms = Vec::new();
        for posting in &operation.postings {
            let Target::Grant(grant) = posting.target else { continue };
            let opened = self.terms(account, grant).await?;
            if opened.source == Source::Paid || !self.grant_was_voided(account, grant).await? {
                terms.push(opened);
            }
        }
        Ok(Some(RefundEvidence { charge: operation, refunded, number, terms, seen }))
    }

    /// The number of the last refund of a charge, and what was refunded with it in all. An item can be
    /// changed and no hash would tell: so it has to say what its refund does, which began where the
    /// item before it ends.
    async fn refunds_so_far(
        &self,
        account: &AccountId,
        charge: OperationId,
    ) -> Result<Option<(u32, Credits)>, LedgerError> {
        let pk = keys::refunds(account, charge);
        let (from, to) = ("000000".to_owned(), "999999".to_owned());
        let query = Query { pk, from, to, descending: true, limit: 2 };
        let items = self.store().query(&query).await?;
        let Some(item) = items.first() else { return Ok(None) };
        let number = text(item, SK).and_then(|sk| sk.parse::<u32>().ok()).unwrap_or_default();
        let corrupt = || {
            LedgerError::Corrupt(format!("refund {number} of {charge} is not what its item says"))
        };
        let said = |item: &Item| text(item, REFUNDED).and_then(|text| text.parse().ok());
        let before = match items.get(1) {
            None => Some(Credits::ZERO),
            Some(item) => said(item),
        };
        let by = self.operation(account, operation_id(item)?).await?.ok_or_else(corrupt)?;
        match by.operation.detail {
            Detail::Refund { charge: of, credits, refunded, .. }
                if of == charge
                    && said(item) == Some(refunded)
                    && before.and_then(|before| before.checked_add(credits)) == Some(refunded) =>
            {
                Ok(Some((number, refunded)))
            }
            _ => Err(corrupt()),
        }
    }

    /// The number of the account's newest entry.
    async fn seen(&self, account: &AccountId) -> Result<u64, LedgerError> {
        Ok(self.head(account).await?.map_or(0, |head| head.seq()))
    }

    /// The terms that a grant was opened with.
    async fn terms(&self, account: &AccountId, id: GrantId) -> Result<GrantTerms, LedgerError> {
        let corrupt = || LedgerError::Corrupt(format!("{id} of {account} has no opening"));
        let opening = self.operation(account, id.0).await?.ok_or_else(corrupt)?.operation;
        GrantTerms::opened_by(&opening).ok_or_else(corrupt)
    }

    /// What a grant was opened with, and what its payment, in `mode` of the provider, still brings of
    /// it; `None` where there was no such grant.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn brought(
        &self,
        account: &AccountId,
        id: GrantId,
        mode: &str,
    ) -> Result<Option<Brought>, LedgerError> {
        let Some(opening) = self.operation(account, id.0).await? else { return Ok(None) };
        let Detail::Grant { amount, .. } = opening.operation.detail else { return Ok(None) };
        let Origin::Payment { provider, payment } = &opening.operation.origin else {
            return Ok(Some(Brought { credits: amount, unchanged: None }));
        };
        let corrupt = || LedgerError::Corrupt(format!("payment {payment} of {provider}"));
        let evidence = self.payment_evidence(provider, mode, payment).await?.ok_or_else(corrupt)?;
        let PaymentEvidence { reversals, number, .. } = evidence;
        let credits = amount.checked_sub(reversals.taken).ok_or_else(corrupt)?;
        let key = keys::payment_change(provider, mode, payment, number);
        let unchanged = Some(payment_change_put(&key, account, &reversals));
        Ok(Some(Brought { credits, unchanged }))
    }

    /// Whether a grant was ever opened under this name.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn was_granted(&self, account: &AccountId, id: GrantId) -> Result<bool, LedgerError> {
        match self.terms(account, id).await {
            Ok(_) => Ok(true),
            Err(LedgerError::Corrupt(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a grant was voided.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn grant_was_voided(
        &self,
        account: &AccountId,
        grant: GrantId,
    ) -> Result<bool, LedgerError> {
        self.is_marked(&keys::voided_grant(account, grant)).await
    }

    /// Whether a hold was voided.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn hold_was_voided(
        &self,
        account: &AccountId,
        hold: HoldId,
    ) -> Result<bool, LedgerError> {
        self.is_marked(&keys::voided_hold(account, hold)).await
    }

    async fn is_marked(&self, key: &Key) -> Result<bool, LedgerError> {
        Ok(self.store().get(key).await?.is_some())
    }

    /// What decides a clawback. `None` where no such payment ever counted.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn payment_evidence(
        &self,
        provider: &str,
        mode: &str,
        payment: &str,
    ) -> Result<Option<PaymentEvidence>, LedgerError> {
        let key = keys::payment(provider, mode, payment);
        let Some(item) = self.store().get(&key).await? else { return Ok(None) };
        let corrupt = || LedgerError::Corrupt(format!("payment {payment} of {provider}"));
        let (account, operation, brought) = read_payment(&item).ok_or_else(corrupt)?;
        let opening = self.operation(&account, operation).await?.ok_or_else(corrupt)?.operation;
        let terms = GrantTerms::opened_by(&opening).ok_or_else(corrupt)?;
        let is_it = matches!(&opening.detail, Detail::Grant { amount, paid, .. }
            if *amount == brought.credits && *paid == brought.paid)
            && opening.origin
                == Origin::Payment { provider: provider.to_owned(), payment: payment.to_owned() };
        if !is_it {
            let what = format!("payment {payment} of {provider} is not what its item says");
            return Err(LedgerError::Corrupt(what));
        }
        let (reversals, number) = match self.newest_change(&key.pk).await? {
            None => (Reversals::default(), 1),
            Some((number, item)) => {
                let stored = bytes(&item, REVERSALS).ok_or_else(corrupt)?;
                (minicbor::decode(stored).map_err(|_| corrupt())?, next(number)?)
            }
        };
        let payment = brought;
        Ok(Some(PaymentEvidence { account, payment, terms, reversals, number }))
    }

    /// Writes that something became of a payment which moves no credits. False where somebody was
    /// faster.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn note_payment_change(&self, put: Put) -> Result<bool, LedgerError> {
        match self.store().put(put).await {
            Ok(()) => Ok(true),
            Err(crate::store::StoreError::ConditionFailed) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn newest_change(&self, pk: &str) -> Result<Option<(u32, Item)>, LedgerError> {
        let (from, to) = ("C#000000".to_owned(), "C#999999".to_owned());
        let query = Query { pk: pk.to_owned(), from, to, descending: true, limit: 1 };
        let Some(item) = self.store().query(&query).await?.into_iter().next() else {
            return Ok(None);
        };
        let number = text(&item, SK).and_then(|sk| sk.strip_prefix("C#")?.parse().ok());
        let corrupt = || LedgerError::Corrupt(format!("an item of {pk}"));
        Ok(Some((number.ok_or_else(corrupt)?, item)))
    }
}

fn next(number: u32) -> Result<u32, LedgerError> {
    if number >= MAX_NUMBER {
        return Err(LedgerError::Refused("999,999 refunds or changes are the most".to_owned()));
    }
    Ok(number + 1)
}

/// The put that says how much of a charge was refunded with its `number`th refund, and by which
/// operation.
pub fn refund_put(
    account: &AccountId,
    charge: OperationId,
    number: u32,
    refund: OperationId,
    refunded: Credits,
) -> Put {
    let mut item = keys::refund(account, charge, number).item();
    item.insert(OPERATION_SEQ.to_owned(), AttributeValue::N(refund.seq.to_string()));
    item.insert(OPERATION_POSITION.to_owned(), AttributeValue::N(refund.position.to_string()));
    item.insert(REFUNDED.to_owned(), AttributeValue::S(refunded.to_string()));
    Put { item, condition: Condition::NotExists }
}

/// The mark that a hold was voided.
pub fn voided_hold_put(account: &AccountId, hold: HoldId) -> Put {
    Put { item: keys::voided_hold(account, hold).item(), condition: Condition::NotExists }
}

/// The mark that a grant was voided.
pub fn voided_grant_put(account: &AccountId, grant: GrantId) -> Put {
    Put { item: keys::voided_grant(account, grant).item(), condition: Condition::NotExists }
}

/// The item of a payment that brought credits.
pub fn payment_put(
    key: &Key,
    account: &AccountId,
    operation: OperationId,
    brought: &Payment,
) -> Put {
    let text = |text: String| AttributeValue::S(text);
    let mut item = key.item();
    item.insert("account".to_owned(), text(account.to_string()));
    item.insert("operation".to_owned(), text(operation.to_string()));
    item.insert("credits".to_owned(), text(brought.credits.to_string()));
    if let Some(paid) = &brought.paid {
        item.insert("amount".to_owned(), text(paid.amount.to_string()));
        item.insert("currency".to_owned(), text(paid.currency.clone()));
    }
    Put { item, condition: Condition::NotExists }
}

pub(crate) fn read_payment(item: &Item) -> Option<(AccountId, OperationId, Payment)> {
    let account = text(item, "account")?.parse().ok()?;
    let operation = text(item, "operation")?.parse().ok()?;
    let credits = text(item, "credits")?.parse().ok()?;
    let paid = match (text(item, "amount"), text(item, "currency")) {
        (Some(amount), Some(currency)) => {
            Some(Money { amount: amount.parse().ok()?, currency: currency.to_owned() })
        }
        _ => None,
    };
    Some((account, operation, Payment { credits, paid }))
}

/// The put that says all that became of a payment of `account` with its `number`th change.
pub fn payment_change_put(key: &Key, account: &AccountId, reversals: &Reversals) -> Put {
    let encoded = minicbor::to_vec(reversals).expect("writing to memory does not fail");
    let mut item = key.item();
    item.insert("account".to_owned(), AttributeValue::S(account.to_string()));
    item.insert(REVERSALS.to_owned(), AttributeValue::B(Blob::new(encoded)));
    Put { item, condition: Condition::NotExists }
}
