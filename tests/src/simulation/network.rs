//! [`Line`]: one call's way to the store, on which messages are lost, late, doubled.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use uc_ledger::store::{DueKey, Item, Key, Put, Query, Store, StoreError, TransactError};

use super::executor::give_way;
use super::tally::Fault;
use super::world::{ClientClock, World};
use crate::Table;
use crate::memory_store::lock;

/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How late after that a request may still be done, in milliseconds.
const LATEST: u64 = 3_000;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Throttled,
    RequestLost,
    AnswerLost,
    Late,
    Twice,
    Resent,
}

/// One call's way to the store.
pub struct Line {
    /// What lies at its other end.
    pub world: Arc<World>,
    /// The caller's clock.
    pub clock: Arc<ClientClock>,
    /// Whose call it is, for the trace.
    pub client: usize,
    /// The errand that it is for.
    pub errand: usize,
    /// Which call it is.
    pub call: u64,
}

impl Line {
    fn fate(&self) -> Fate {
        let strikes = |fault| self.world.strikes(fault);
        if self.world.is_out() {
            return if self.world.below(2) == 0 { Fate::Throttled } else { Fate::RequestLost };
        }
        match () {
            () if strikes(Fault::Throttled) => Fate::Throttled,
            () if strikes(Fault::RequestLost) => Fate::RequestLost,
            () if strikes(Fault::AnswerLost) => Fate::AnswerLost,
            () if strikes(Fault::Late) => Fate::Late,
            () if strikes(Fault::Twice) => Fate::Twice,
            () if strikes(Fault::Resent) => Fate::Resent,
            () => Fate::Answered,
        }
    }

    /// Sends a request and waits for the answer. The request goes its way whatever becomes of the
    /// caller.
    async fn send<T, E>(
        &self,
        writes: bool,
        what: String,
        work: impl Fn(&mut Table) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let world = Arc::clone(&self.world);
        let fate = self.fate();
        let (client, errand, call) = (self.client, self.errand, self.call);
        world.note(|| format!("client {client}, call {call}: {what}: {fate:?}"));
        give_way(turns(&world)).await;
        if fate == Fate::Throttled {
            return Err(StoreError::NoAnswer("throttled".to_owned()).into());
        }
        let (answer, answered) = oneshot::channel();
        if writes {
            world.departs(errand, call);
        }
        let way = async move {
            travel(&world).await;
            match fate {
                Fate::RequestLost => {
                    if writes {
                        world.arrives(errand, call);
                    }
                    // Whoever waits for it finds out by the time that passes.
                    sleep(2 * PATIENCE).await;
                    drop(answer);
                    return;
                }
                Fate::Late => sleep(PATIENCE + Duration::from_millis(world.below(LATEST))).await,
                _ => {}
            }
            let mut result = work(&mut lock(&world.table));
            world.note(|| format!("          call {call}: {what}: done"));
            if fate == Fate::Resent {
                travel(&world).await;
                result = work(&mut lock(&world.table));
            }
            travel(&world).await;
            match fate {
                Fate::AnswerLost => sleep(2 * PATIENCE).await,
                // The caller may be dead or gone.
                _ => drop(answer.send(result)),
            }
            if fate == Fate::Twice {
                sleep(Duration::from_millis(world.below(LATEST))).await;
                drop(work(&mut lock(&world.table)));
                world.note(|| format!("          call {call}: {what}: done again"));
            }
            if writes {
                world.arrives(errand, call);
            }
        };
        self.world.spawner.spawn(way);
        let answered = timeout(PATIENCE, answered).await;
        give_way(turns(&self.world)).await;
        match answered {
            Ok(Ok(result)) => result,
            _ => Err(StoreError::NoAnswer("timed out".to_owned()).into()),
        }
    }

    /// Less of what was found, at times; never nothing. Only entries can be so large.
    fn page(&self, partition: &str, mut found: Vec<Item>) -> Vec<Item> {
        let entries = partition.starts_with("A#");
        if entries && found.len() > 1 && self.world.strikes(Fault::HalfPage) {
            found.truncate(found.len().div_ceil(2));
        }
        found
    }
}

fn turns(world: &World) -> u8 {
    let most = world.weather().turns;
    u8::try_from(world.below(u64::from(most))).unwrap_or(most)
}

/// A message is on its way, and others overtake it.
async fn travel(world: &World) {
    give_way(turns(world)).await;
    let latency = world.below(world.weather().latency + 1);
    if latency > 0 {
        sleep(Duration::from_millis(latency)).await;
    }
}

#[async_trait]
impl Store for Line {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let wanted = key.clone();
        self.send(false, format!("get {} {}", key.pk, key.sk), move |table| Ok(table.get(&wanted)))
            .await
    }

    async fn query(&self, query: &Query) -> Result<Vec<Item>, StoreError> {
        let wanted = query.clone();
        let found =
            self.send(false, format!("query {}", query.pk), move |table| table.query(&wanted));
        found.await.map(|found| self.page(&query.pk, found))
    }

    async fn query_due(
        &self,
        shard: &str,
        until: &str,
        after: Option<&DueKey>,
        limit: u32,
    ) -> Result<Vec<DueKey>, StoreError> {
        let (shard, until, after) = (shard.to_owned(), until.to_owned(), after.cloned());
        self.send(false, format!("query due {shard}"), move |table| {
            Ok(table.query_due(&shard, &until, after.as_ref(), limit))
        })
        .await
    }

    async fn put(&self, put: Put) -> Result<(), StoreError> {
        self.send(true, "put".to_owned(), move |table| table.put(put.clone())).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let key = key.clone();
        let what = format!("delete {} {}", key.pk, key.sk);
        self.send(true, what, move |table| {
            table.delete(&key);
            Ok(())
        })
        .await
    }

    async fn remove(&self, key: &Key, attribute: &'static str) -> Result<(), StoreError> {
        let key = key.clone();
        let what = format!("remove {attribute} of {} {}", key.pk, key.sk);
        self.send(true, what, move |table| table.remove(&key, attribute)).await
    }

    async fn transact(&self, puts: Vec<Put>) -> Result<(), TransactError> {
        if self.world.strikes(Fault::Conflict) {
            give_way(turns(&self.world)).await;
            self.world.note(|| format!("client {}: transact: conflict", self.client));
            return Err(TransactError::Conflict);
        }
        let what = if self.world.is_traced() { describe(&puts) } else { String::new() };
        let result = self.send(true, what, move |table| table.transact(puts.clone())).await;
        match result {
            Err(TransactError::Failed(mut reasons)) => {
                let failed: Vec<usize> =
                    (0..reasons.len()).filter(|index| reasons[*index].is_some()).collect();
                if failed.len() > 1 && self.world.strikes(Fault::MaskedReason) {
                    let masked = self.world.below(failed.len() as u64);
                    let masked = failed[usize::try_from(masked).expect("small")];
                    self.world.note(|| format!("          reason {masked} hidden"));
                    reasons[masked] = None;
                }
                Err(TransactError::Failed(reasons))
            }
            other => other,
        }
    }

    fn clock_skew_seconds(&self) -> u64 {
        self.clock.known_skew()
    }
}

fn describe(puts: &[Put]) -> String {
    let text = |put: &Put, name| uc_ledger::store::text(&put.item, name).unwrap_or("?").to_owned();
    let names = puts.iter().map(|put| format!("{}/{}", text(put, "pk"), text(put, "sk")));
    format!("transact {}", names.collect::<Vec<_>>().join(" "))
}
