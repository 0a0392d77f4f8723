//! [`MemoryStore`]: the table in memory, with every failure that the real one has.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use uc_ledger::store::{DueKey, Item, Key, Put, Query, Store, StoreError, TransactError};

use crate::Table;

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

/// A [`Table`] as a store.
///
/// Every operation lets other tasks run before and after it, so that on a runtime of one thread
/// tasks interleave in an order that only the seed decides.
pub struct MemoryStore {
    table: Mutex<Table>,
    faults: Mutex<Faults>,
    random: Mutex<fastrand::Rng>,
}

impl MemoryStore {
    /// An empty table in which nothing goes wrong.
    pub fn new(seed: u64) -> Self {
        Self {
            table: Mutex::default(),
            faults: Mutex::new(Box::new(|_| None)),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
        }
    }

    /// From now on, `faults` is asked before each operation what goes wrong with it.
    pub fn inject(&self, faults: impl FnMut(Operation<'_>) -> Option<StoreFault> + Send + 'static) {
        *lock(&self.faults) = Box::new(faults);
    }

    /// All items, in order of their keys.
    pub fn items(&self) -> Vec<Item> {
        lock(&self.table).items().cloned().collect()
    }

    /// Writes an item behind everybody's back.
    pub fn tamper(&self, item: Item) {
        lock(&self.table).tamper(item);
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
        work: impl FnOnce(&mut Table) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let fault = self.turn(operation).await;
        if matches!(fault, Some(StoreFault::NotDone | StoreFault::Conflict)) {
            return Err(StoreError::NoAnswer("injected: not done".to_owned()));
        }
        let answer = work(&mut lock(&self.table));
        self.pause().await;
        if fault == Some(StoreFault::AnswerLost) {
            return Err(StoreError::NoAnswer("injected: answer lost".to_owned()));
        }
        answer
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.with(Operation::Get(key), |table| Ok(table.get(key))).await
    }

    async fn query(&self, query: &Query) -> Result<Vec<Item>, StoreError> {
        self.with(Operation::Query(query), |table| table.query(query)).await
    }

    async fn query_due(
        &self,
        shard: &str,
        until: &str,
        after: Option<&DueKey>,
        limit: u32,
    ) -> Result<Vec<DueKey>, StoreError> {
        self.with(Operation::QueryDue(shard), |table| {
            Ok(table.query_due(shard, until, after, limit))
        })
        .await
    }

    async fn put(&self, put: Put) -> Result<(), StoreError> {
        self.with(Operation::Put(&put), |table| table.put(put.clone())).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.with(Operation::Delete(key), |table| {
            table.delete(key);
            Ok(())
        })
        .await
    }

    async fn remove(&self, key: &Key, attribute: &'static str) -> Result<(), StoreError> {
        self.with(Operation::Remove(key), |table| table.remove(key, attribute)).await
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
        let answer = lock(&self.table).transact(puts);
        self.pause().await;
        if fault == Some(StoreFault::AnswerLost) {
            return Err(StoreError::NoAnswer("injected: answer lost".to_owned()).into());
        }
        answer
    }

    fn clock_skew_seconds(&self) -> u64 {
        0
    }
}
