//! [`Table`]: what the store keeps, and what each request does to it in one step.

use std::collections::{BTreeMap, HashSet};

use uc_ledger::store::{
    self, Condition, DUE_AT, DUE_SHARD, DueKey, Item, Key, PK, Put, Query, SK, StoreError,
    TransactError,
};

/// Most bytes of an item.
const ITEM_LIMIT: usize = 400 << 10;
/// Most items and bytes of a transaction.
const TRANSACTION_ITEMS: usize = 100;
const TRANSACTION_LIMIT: usize = 4 << 20;

/// A table in memory. Conditions, transactions, order and limits are those of the real one.
#[derive(Debug, Default)]
pub struct Table(BTreeMap<(String, String), Item>);

impl Table {
    /// One item.
    pub fn get(&self, key: &Key) -> Option<Item> {
        self.0.get(&(key.pk.clone(), key.sk.clone())).cloned()
    }

    /// All items, in order of their keys.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.0.values()
    }

    /// Items of one partition.
    ///
    /// # Errors
    /// The range is empty by its bounds, which the real table refuses.
    pub fn query(&self, query: &Query) -> Result<Vec<Item>, StoreError> {
        let from = (query.pk.clone(), query.from.clone());
        let to = (query.pk.clone(), query.to.clone());
        if from > to {
            return Err(StoreError::Refused("from is after to".to_owned()));
        }
        let found = self.0.range(from..=to).map(|(_, item)| item.clone());
        let limit = query.limit as usize;
        Ok(if query.descending {
            found.rev().take(limit).collect()
        } else {
            found.take(limit).collect()
        })
    }

    /// Keys of what is due in a shard.
    pub fn query_due(
        &self,
        shard: &str,
        until: &str,
        after: Option<&DueKey>,
        limit: u32,
    ) -> Vec<DueKey> {
        let order = |due: &DueKey| (due.due_at.clone(), due.key.pk.clone(), due.key.sk.clone());
        let mut due: Vec<DueKey> = self
            .items()
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
        due
    }

    /// Writes one item.
    ///
    /// # Errors
    /// Its condition does not hold, or it is too large.
    pub fn put(&mut self, put: Put) -> Result<(), StoreError> {
        refuse_large(&put.item)?;
        let key = key_of(&put.item);
        if !holds(&put.condition, self.0.get(&key)) {
            return Err(StoreError::ConditionFailed);
        }
        self.0.insert(key, put.item);
        Ok(())
    }

    /// Removes one item, whether or not it is there.
    pub fn delete(&mut self, key: &Key) {
        self.0.remove(&(key.pk.clone(), key.sk.clone()));
    }

    /// Removes one attribute of an item.
    ///
    /// # Errors
    /// There is no such item.
    pub fn remove(&mut self, key: &Key, attribute: &str) -> Result<(), StoreError> {
        let item = self.0.get_mut(&(key.pk.clone(), key.sk.clone()));
        item.ok_or(StoreError::ConditionFailed)?.remove(attribute);
        Ok(())
    }

    /// Writes an item behind everybody's back.
    pub fn tamper(&mut self, item: Item) {
        self.0.insert(key_of(&item), item);
    }

    /// Writes all or none.
    ///
    /// # Errors
    /// A condition does not hold, or a limit is passed.
    pub fn transact(&mut self, puts: Vec<Put>) -> Result<(), TransactError> {
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
                let there = self.0.get(key);
                (!holds(&put.condition, there)).then(|| there.cloned().unwrap_or_default())
            })
            .collect();
        if in_the_way.iter().any(Option::is_some) {
            return Err(TransactError::Failed(in_the_way));
        }
        self.0.extend(keys.into_iter().zip(puts.into_iter().map(|put| put.item)));
        Ok(())
    }
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
