//! [`MemoryStore`]: the table in memory, with every failure that the real one has.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use uc_ledger::store::{
    self, Condition, DUE_AT, DUE_SHARD, DueKey, Item, Key, PK, Put, Query, SK, Store, StoreError,
    TransactError,
};

/// Most bytes of an item.
const ITEM_LIMIT: usize = 400 << 10;
/// Most items and bytes of a transaction.
const TRANSACTION_ITEMS: usize = 100;
const TRANSACTION_LIMIT: usize = 4 << 20;

/// What somebody asks of the store.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    /// [`Store::get`].
    Get(&'a Key),
    /// [`Store::query`].
    Query(&'a Query),
    /// [`Store::query_due`] of a shard.
    QueryDue(&'a str),
    /// [`Store::put`].
    Put(&'a Put),
    /// [`Store::delete`].
    Delete(&'a Key),
    /// [`Store::remove`].
    Remove(&'a Key),
    /// [`Store::transact`].
    Transact(&'a [Put]),
}

/// What goes wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// It does not happen, and there is no answer.
    NotDone,
    /// It happens, but the answer is lost.
    AnswerLost,
    /// A transaction meets another one; anything else does not happen and has no answer.
    Conflict,
}

type Faults = Box<dyn FnMut(Operation<'_>) -> Option<StoreFault> + Send>;

/// A table in memory. Conditions, transactions, order and limits are those of the real one.
///
/// Every operation lets other tasks run before and after it, so that on a runtime of one thread
/// tasks interleave in an order that only the seed decides.
pub struct MemoryStore {
    items: Mutex<BTreeMap<(String, String), Item>>,
    faults: Mutex<Faults>,
    random: Mutex<fastrand::Rng>,
    skew_seconds: Mutex<u64>,
}

impl MemoryStore {
    /// An empty table in which nothing goes wrong.
    pub fn new(seed: u64) -> Self {
        Self {
            items: Mutex::default(),
            faults: Mutex::new(Box::new(|_| None)),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            skew_seconds: Mutex::default(),
        }
    }

    /// From now on, `faults` is asked before each operation what goes wrong with it.
    pub fn inject(&self, faults: impl FnMut(Operation<'_>) -> Option<StoreFault> + Send + 'static) {
        *lock(&self.faults) = Box::new(faults);
    }

    /// From now on, the machine's clock is so far from the store's.
    pub fn set_clock_skew_seconds(&self, seconds: u64) {
        *lock(&self.skew_seconds) = seconds;
    }

    /// All items, in order of their keys.
    pub fn items(&self) -> Vec<Item> {
        lock(&self.items).values().cloned().collect()
    }

    /// Writes an item behind everybody's back.
    pub fn tamper(&self, item: Item) {
        lock(&self.items).insert(key_of(&item), item);
    }

    async fn turn(&self, operation: Operation<'_>) -> Option<StoreFault> {
        let fault = (lock(&self.faults))(operation);
        self.pause().await;
        fault
    }

    async fn pause(&self) {
        let turns = lock(&self.random).u8(..4);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    /// Carries an operation out, but for what goes wrong.
    async fn with<T>(
        &self,
        operation: Operation<'_>,
        work: impl FnOnce(&mut BTreeMap<(String, String), Item>) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let fault = self.turn(operation).await;
        if matches!(fault, Some(StoreFault::NotDone | StoreFault::Conflict)) {
            return Err(StoreError::NoAnswer("injected: not done".to_owned()));
        }
        let answer = work(&mut lock(&self.items));
        self.pause().await;
        if fault == Some(StoreFault::AnswerLost) {
            return Err(StoreError::NoAnswer("injected: answer lost".to_owned()));
        }
        answer
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key_of(item: &Item) -> (String, String) {
    let part = |name| store::text(item, name).expect("an item has both keys").to_owned();
    (part(PK), part(SK))
}

fn holds(condition: &Condition, there: Option<&Item>) -> bool {
    match condition {
        Condition::None => true,
        Condition::NotExists => there.is_none(),
        Condition::Equals(name, value) => there.and_then(|item| item.get(*name)) == Some(value),
    }
}

fn refuse_large(item: &Item) -> Result<(), StoreError> {
    if store::item_size(item) > ITEM_LIMIT {
        return Err(StoreError::Refused("the item is larger than 400 KB".to_owned()));
    }
    Ok(())
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.with(Operation::Get(key), |items| {
            Ok(items.get(&(key.pk.clone(), key.sk.clone())).cloned())
        })
        .await
    }

    async fn query(&self, query: &Query) -> Result<Vec<Item>, StoreError> {
        self.with(Operation::Query(query), |items| {
            let from = (query.pk.clone(), query.from.clone());
            let to = (query.pk.clone(), query.to.clone());
            if from > to {
                return Err(StoreError::Refused("from is after to".to_owned()));
            }
            let found = items.range(from..=to).map(|(_, item)| item.clone());
            let limit = query.limit as usize;
            Ok(if query.descending {
                found.rev().take(limit).collect()
            } else {
                found.take(limit).collect()
            })
        })
        .await
    }

    async fn query_due(
        &self,
        shard: &str,
        until: &str,
        after: Option<&DueKey>,
        limit: u32,
    ) -> Result<Vec<DueKey>, StoreError> {
        self.with(Operation::QueryDue(shard), |items| {
            let order = |due: &DueKey| (due.due_at.clone(), due.key.pk.clone(), due.key.sk.clone());
            let mut due: Vec<DueKey> = items
                .values()
                .filter(|item| store::text(item, DUE_SHARD) == Some(shard))
                .filter_map(|item| {
                    let (pk, sk) = key_of(item);
                    let due_at = store::text(item, DUE_AT)?.to_owned();
                    Some(DueKey { key: Key { pk, sk }, due_at })
                })
                .filter(|due| due.due_at.as_str() <= until)
                .filter(|due| after.is_none_or(|after| order(due) > order(after)))
                .collect();
            due.sort_by_key(order);
            due.truncate(limit as usize);
            Ok(due)
        })
        .await
    }

    async fn put(&self, put: Put) -> Result<(), StoreError> {
        self.with(Operation::Put(&put), |items| {
            refuse_large(&put.item)?;
            let key = key_of(&put.item);
            if !holds(&put.condition, items.get(&key)) {
                return Err(StoreError::ConditionFailed);
            }
            items.insert(key, put.item.clone());
            Ok(())
        })
        .await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.with(Operation::Delete(key), |items| {
            items.remove(&(key.pk.clone(), key.sk.clone()));
            Ok(())
        })
        .await
    }

    async fn remove(&self, key: &Key, attribute: &'static str) -> Result<(), StoreError> {
        self.with(Operation::Remove(key), |items| {
            let item = items.get_mut(&(key.pk.clone(), key.sk.clone()));
            item.ok_or(StoreError::ConditionFailed)?.remove(attribute);
            Ok(())
        })
        .await
    }

    async fn transact(&self, puts: Vec<Put>) -> Result<(), TransactError> {
        let fault = self.turn(Operation::Transact(&puts)).await;
        match fault {
            Some(StoreFault::Conflict) => return Err(TransactError::Conflict),
            Some(StoreFault::NotDone) => {
                return Err(StoreError::NoAnswer("injected: not done".to_owned()).into());
            }
            Some(StoreFault::AnswerLost) | None => {}
        }
        let answer = transact(&mut lock(&self.items), puts);
        self.pause().await;
        if fault == Some(StoreFault::AnswerLost) {
            return Err(StoreError::NoAnswer("injected: answer lost".to_owned()).into());
        }
        answer
    }

    fn clock_skew_seconds(&self) -> u64 {
        *lock(&self.skew_seconds)
    }
}

fn transact(
    items: &mut BTreeMap<(String, String), Item>,
    puts: Vec<Put>,
) -> Result<(), TransactError> {
    let keys: Vec<_> = puts.iter().map(|put| key_of(&put.item)).collect();
    let size: usize = puts.iter().map(|put| store::item_size(&put.item)).sum();
    if puts.is_empty()
        || puts.len() > TRANSACTION_ITEMS
        || size > TRANSACTION_LIMIT
        || keys.iter().collect::<HashSet<_>>().len() < keys.len()
    {
        return Err(StoreError::Refused("not a possible transaction".to_owned()).into());
    }
    for put in &puts {
        refuse_large(&put.item)?;
    }
    let in_the_way: Vec<Option<Item>> = puts
        .iter()
        .zip(&keys)
        .map(|(put, key)| {
            let there = items.get(key);
            (!holds(&put.condition, there)).then(|| there.cloned().unwrap_or_default())
        })
        .collect();
    if in_the_way.iter().any(Option::is_some) {
        return Err(TransactError::Failed(in_the_way));
    }
    items.extend(keys.into_iter().zip(puts.into_iter().map(|put| put.item)));
    Ok(())
}
