//! What must hold when a run is over.

use std::collections::HashMap;
use std::sync::Arc;

use uc_domain::AccountId;
use uc_domain::account::{Balance, Detail, Operation, Origin};
use uc_ledger::store::{Item, number};
use uc_ledger::{Happened, Ledger, Plans, keys};

use super::client::Book;
use super::errand::{Errand, Mark, payment_item};
use super::tally::Event;
use super::world::World;
use crate::memory_store::lock;

/// What a journal has of one mark.
struct Found {
    account: AccountId,
    operation: Operation,
    balance_after: Balance,
}

/// Everything that journals hold, by mark.
type FoundByMark = HashMap<Mark, Vec<Found>>;

/// Checks all accounts and all errands. Reads by the ledger itself, on a quiet store.
///
/// # Errors
/// The first thing that does not hold.
pub async fn check(
    world: &Arc<World>,
    ledger: &Ledger,
    accounts: &[AccountId],
    errands: &[Errand],
    book: &Book,
) -> Result<(), String> {
    let mut found = FoundByMark::new();
    let mut flows = Flows::default();
    for account in accounts {
        for happened in journal(world, ledger, account).await? {
            let Happened { operation, balance_after, .. } = happened;
            flows.add(&operation);
            check_expiry_item(world, account, &operation)?;
            if let Some(mark) = Mark::of(&operation) {
                let found = found.entry(mark).or_default();
                found.push(Found { account: account.clone(), operation, balance_after });
            }
        }
        let state = ledger.head(account).await.map_err(|error| error.to_string())?;
        if let Some(head) = state {
            flows.end(&head.entry.state);
        }
    }
    flows.check()?;
    for errand in errands {
        check_errand(errand, book, &found)?;
    }
    check_items(world, &found)?;
    check_subscriptions(ledger, accounts, &found, book).await?;
    check_directory(ledger, accounts).await
}

/// All operations of a journal that verifies, oldest first.
async fn journal(
    world: &World,
    ledger: &Ledger,
    account: &AccountId,
) -> Result<Vec<Happened>, String> {
    let verified = ledger.verify(account).await.map_err(|e| format!("{account}: {e}"))?;
    let mut operations = Vec::new();
    let mut before = None;
    loop {
        let page = ledger.transactions(account, before, 40).await;
        let page = page.map_err(|error| format!("{account}: {error}"))?;
        operations.extend(page.items);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    operations.reverse();
    let entries = operations.iter().filter(|happened| happened.operation.id.position == 0).count();
    if verified.entries != entries as u64 {
        return Err(format!("{account}: {} entries, {entries} listed", verified.entries));
    }
    if !operations.is_sorted_by_key(|happened| happened.operation.id) {
        return Err(format!("{account}: the list is out of order"));
    }
    world.count(Event::Verified, 1);
    world.count(Event::Entries, verified.entries);
    world.count(Event::Operations, operations.len() as u64);
    Ok(operations)
}

/// What flowed into and out of all accounts: nothing comes from nowhere.
#[derive(Default)]
struct Flows {
    granted: i128,
    used: i128,
    expired: i128,
    there: i128,
}

impl Flows {
    fn add(&mut self, operation: &Operation) {
        let credits = operation.credits().micros();
        match &operation.detail {
            Detail::Grant { amount, .. } => self.granted += amount.micros(),
            Detail::Charge { .. } | Detail::Capture { .. } => self.used -= credits,
            // Of a release: what belonged to grants that had ended is gone.
            Detail::Expiry { .. } | Detail::Release { .. } => self.expired -= credits,
            Detail::GrantVoid { credits, .. } => self.expired += credits.micros(),
            // Given back, taken back, waived.
            Detail::Refund { .. }
            | Detail::Clawback { .. }
            | Detail::ClawbackReversal { .. }
            | Detail::WriteOff => self.granted += credits,
            // They move what was granted, or nothing.
            Detail::Activation { .. }
            | Detail::Settings(_)
            | Detail::Hold { .. }
            | Detail::HoldExtension { .. } => {}
        }
    }

    fn end(&mut self, state: &uc_domain::account::AccountState) {
        let pending = state.grants().iter().filter(|grant| state.is_pending(grant));
        self.there += pending.map(|grant| grant.remaining.micros()).sum::<i128>();
        self.there += state.balance().posted.micros();
    }

    fn check(&self) -> Result<(), String> {
        let Self { granted, used, expired, there } = self;
        if granted - used - expired == *there {
            return Ok(());
        }
        Err(format!("granted {granted} - used {used} - expired {expired} is not {there}"))
    }
}

/// A day on which a grant ends is noted, so that the schedule comes by. (A subscription's next
/// period does so itself.)
fn check_expiry_item(
    world: &World,
    account: &AccountId,
    operation: &Operation,
) -> Result<(), String> {
    if let Detail::Grant { expires_at: Some(end), .. } = operation.detail
        && end > operation.at
        && !matches!(operation.origin, Origin::Subscription { .. })
        && lock(&world.table).get(&keys::expiry(account, end)).is_none()
    {
        return Err(format!("nothing notes that {} of {account} ends", operation.id));
    }
    Ok(())
}

/// An acknowledged errand is there exactly once and as acknowledged; one that nobody knows about
/// at most once; a refused one not at all.
fn check_errand(errand: &Errand, book: &Book, found: &FoundByMark) -> Result<(), String> {
    let record = &book.records[errand.index];
    let all = found.get(&errand.mark()).map_or(&[][..], Vec::as_slice);
    if all.len() > 1 {
        let ids: Vec<_> = all.iter().map(|f| format!("{} {}", f.account, f.operation.id)).collect();
        return Err(format!("{errand:?} happened {} times: {ids:?}", all.len()));
    }
    let done = all.iter().find(|found| {
        found.account == errand.account
            && errand.is_done_by(&found.operation, found.balance_after.available).is_ok()
    });
    match (&record.acknowledged, done) {
        (Some((operation, balance)), Some(found))
            if (operation, balance) == (&found.operation, &found.balance_after) => {}
        (Some((operation, _)), _) => {
            return Err(format!("{errand:?} was acknowledged as {operation:?}, and is not there"));
        }
        (None, Some(found)) if record.unknown == 0 => {
            return Err(format!("{errand:?} was refused, and happened: {}", found.operation.id));
        }
        (None, _) => {}
    }
    if record.first_hand > 1 {
        return Err(format!("{errand:?}: {} answers claim to be the first", record.first_hand));
    }
    match &record.excluded {
        Some(why) if all.is_empty() || done.is_some() => {
            Err(format!("{errand:?} was refused for good ({why}), without a rival"))
        }
        _ => Ok(()),
    }
}

/// Operation and payment items name operations that are theirs, and none is missing.
fn check_items(world: &World, found: &FoundByMark) -> Result<(), String> {
    let table = lock(&world.table);
    let mut keyed = 0;
    for (mark, all) in found {
        let Mark::Key(origin) = mark else { continue };
        keyed += all.len();
        for Found { account, operation, .. } in all {
            let key = keys::operation(account, origin).expect("it has a key");
            let item = table.get(&key);
            let place = item.as_ref().and_then(place_of);
            if place != Some((operation.id.seq, operation.id.position.into())) {
                return Err(format!("{} of {account} has the item {item:?}", operation.id));
            }
        }
    }
    // Marks of voids name no operation.
    let names = |item: &&Item| partition(item).starts_with("O#") && place_of(item).is_some();
    let items = table.items().filter(names).count();
    if items != keyed {
        return Err(format!("{items} operation items for {keyed} operations"));
    }
    let mut payments: Vec<_> = table.items().filter_map(payment_item).collect();
    let mut paid: Vec<_> = found
        .values()
        .flatten()
        .filter_map(|found| match &found.operation.origin {
            Origin::Payment { payment, .. } => {
                Some((payment.clone(), found.account.to_string(), found.operation.id.to_string()))
            }
            _ => None,
        })
        .collect();
    payments.sort();
    paid.sort();
    if payments != paid {
        return Err(format!("payments {payments:?} do not match {paid:?}"));
    }
    Ok(())
}

fn partition(item: &Item) -> &str {
    uc_ledger::store::text(item, "pk").unwrap_or_default()
}

/// The entry that an operation item names, and the place in it.
fn place_of(item: &Item) -> Option<(u64, u64)> {
    number(item, "q").zip(number(item, "n"))
}

/// Every period below a subscription's next one was granted, each once, and none beyond.
async fn check_subscriptions(
    ledger: &Ledger,
    accounts: &[AccountId],
    found: &FoundByMark,
    book: &Book,
) -> Result<(), String> {
    let plans = Plans::new(ledger.clone());
    let (mut granted, mut by_schedule) = (0, 0);
    for account in accounts {
        let all = plans.subscriptions(account).await.map_err(|error| error.to_string())?;
        for subscription in all {
            granted += subscription.next_period;
            by_schedule += u64::from(subscription.next_period) - 1;
            for period in 0..subscription.next_period {
                let origin = Origin::Subscription { id: subscription.id.clone(), period };
                let times = found.get(&Mark::Key(origin)).map_or(0, Vec::len);
                if times != 1 {
                    return Err(format!("{} period {period}: {times} times", subscription.id));
                }
            }
        }
    }
    let of_subscriptions =
        found.keys().filter(|mark| matches!(mark, Mark::Key(Origin::Subscription { .. })));
    if of_subscriptions.count() != granted as usize {
        return Err("a period is granted that no subscription has".to_owned());
    }
    if book.periods > by_schedule {
        return Err(format!("{} periods claimed, {by_schedule} granted", book.periods));
    }
    Ok(())
}

/// The directory has each account that has a journal, and no other.
async fn check_directory(ledger: &Ledger, accounts: &[AccountId]) -> Result<(), String> {
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = ledger.accounts(after, 2).await.map_err(|error| error.to_string())?;
        listed.extend(page.items.into_iter().map(|(account, _)| account));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut open = Vec::new();
    for account in accounts {
        let state = ledger.account(account).await.map_err(|error| error.to_string())?;
        if state.is_some() {
            open.push(account.clone());
        }
    }
    listed.sort();
    open.sort();
    if listed == open { Ok(()) } else { Err(format!("{listed:?} are listed, {open:?} are open")) }
}
