//! The real ledger over a store whose every failure, delay and order comes from a seed.
//!
//! A run is a handful of clients with clocks of their own and a few accounts. They walk through a
//! script of errands while the network loses, delays and doubles their messages, and they die
//! between any two awaits. Then everything that nobody knows about is asked once more, and every
//! journal is checked: what was acknowledged is there exactly once, what was refused is not.
//!
//! One thread, one order: the same seed is the same run, to the last message. (Only salts, and so
//! hashes, differ; nothing depends on them.) Reads are strong, as the ledger asks for them, and
//! no function keeps a head: stale reads are those that somebody overtook.

mod check;
mod client;
mod errand;
mod executor;
mod network;
mod script;
mod tally;
mod world;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use uc_domain::account::{OperationId, Settings};
use uc_ledger::store::number;
use uc_ledger::{Ledger, keys};

use client::{Book, Client, Record};
use errand::{Errand, Failure};
use executor::Executor;
use network::Line;
use script::Script;
pub use tally::{Event, Fault, Tally};
use world::{ClientClock, Weather, World};

use crate::memory_store::lock;

/// A seed whose run went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The seed.
    pub seed: u64,
    /// What did not hold.
    pub what: String,
}

/// Runs one seed.
///
/// # Errors
/// Something did not hold.
pub fn run(seed: u64) -> Result<Tally, Broken> {
    catch(seed, || run_world(seed, false, &Mutex::default()))
}

/// What many runs came to.
#[derive(Debug)]
pub struct Report {
    /// What was seen in the seeds that hold.
    pub tally: Tally,
    /// The seeds that broke, without traces, in order.
    pub broken: Vec<Broken>,
}

/// Runs seeds from `first` on, on all processors, until there were `seeds` of them or the time is
/// over. Stops at the first that breaks, unless it is to `go_on`.
pub fn run_many(first: u64, seeds: u64, time: Option<Duration>, go_on: bool) -> Report {
    let started = Instant::now();
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let total = Mutex::new(Tally::default());
    let broken = Mutex::new(Vec::new());
    let worker = || {
        let mut tally = Tally::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let over = time.is_some_and(|time| started.elapsed() >= time);
            if number >= seeds || over || stop.load(Ordering::Relaxed) {
                break;
            }
            match run(first.wrapping_add(number)) {
                Ok(seen) => tally.add(&seen),
                Err(failure) => {
                    lock(&broken).push(failure);
                    stop.fetch_or(!go_on, Ordering::Relaxed);
                }
            }
        }
        lock(&total).add(&tally);
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(worker);
        }
    });
    let mut broken = std::mem::take(&mut *lock(&broken));
    broken.sort_by_key(|broken: &Broken| broken.seed);
    let tally = lock(&total).clone();
    Report { tally, broken }
}

/// What happens in a seed, line by line, and whether it holds.
pub fn trace(seed: u64) -> (Vec<String>, Result<Tally, Broken>) {
    let trace = Mutex::new(Vec::new());
    let result = catch(seed, || run_world(seed, true, &trace));
    let trace = lock(&trace).clone();
    (trace, result)
}

/// A fault of the program is a seed that broke, too.
fn catch(seed: u64, run: impl FnOnce() -> Result<Tally, String>) -> Result<Tally, Broken> {
    let panicked = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("?")))
    };
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(panicked)
        .map_err(|what| Broken { seed, what })
}

fn run_world(seed: u64, traced: bool, trace: &Mutex<Vec<String>>) -> Result<Tally, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    // The ledger's own dice: nonces, and how long it waits before it tries again.
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    runtime.block_on(async {
        let weather = Weather::of(&mut random);
        let world = Arc::new(World::new(random.u64(..), weather, traced));
        let script = Script::of(&mut random, world.now());
        let result = play(&world, &script, random.u64(..)).await;
        *lock(trace) = world.trace();
        result.and_then(|()| world.verdict())?;
        let mut tally = world.tally();
        tally.seeds = 1;
        Ok(tally)
    })
}

/// Lets the script's clients loose, asks once more for all that is not known, checks.
async fn play(world: &Arc<World>, script: &Script, order: u64) -> Result<(), String> {
    let records = script.errands.iter().map(|_| Record::default()).collect();
    let book = Arc::new(Mutex::new(Book { records, ..Book::default() }));
    let client = |number, offset, told| Client {
        number,
        world: Arc::clone(world),
        clock: Arc::new(ClientClock::new(Arc::clone(world), offset, told)),
        errands: Arc::clone(&script.errands),
        book: Arc::clone(&book),
    };
    for (number, (steps, (offset, told))) in script.steps.iter().zip(&script.clocks).enumerate() {
        world.spawner.spawn(client(number, *offset, *told).walk(steps.clone()));
    }
    let mut executor = Executor::new(world.spawner.clone(), order);
    executor.run().await?;
    world.calm_down();
    world.note(|| "all is calm".to_owned());

    let last = client(script.steps.len(), 0, true);
    let clock = Arc::clone(&last.clock);
    let errands = Arc::clone(&script.errands);
    let (quiet, accounts) = (Arc::clone(world), script.accounts.clone());
    let end = async move {
        let result = async {
            for errand in errands.iter().filter(|errand| errand.has_key()) {
                settle_errand(&last, errand).await?;
            }
            let (world, clock) = (Arc::clone(&quiet), Arc::clone(&clock));
            let line =
                Line { world, clock: Arc::clone(&clock), client: 0, errand: usize::MAX, call: 0 };
            let ledger = Ledger::new(Arc::new(line), clock, Settings::default());
            let book = std::mem::take(&mut *lock(&last.book));
            check::check(&quiet, &ledger, &accounts, &errands, &book).await
        };
        if let Err(what) = result.await {
            quiet.broken(format_args!("{what}"));
        }
    };
    world.spawner.spawn(end);
    executor.run().await
}

/// Asks once more for an errand that is not known, or was acknowledged: the answer must be what
/// the table says.
async fn settle_errand(client: &Client, errand: &Errand) -> Result<(), String> {
    let (is_acknowledged, is_unknown) = {
        let book = lock(&client.book);
        let record = &book.records[errand.index];
        (record.acknowledged.is_some(), record.unknown > 0)
    };
    // Of those that are known, one in two: the answer should never differ.
    if !is_unknown && (!is_acknowledged || errand.index.is_multiple_of(2)) {
        return Ok(());
    }
    let key = keys::operation(&errand.account, &errand.origin).expect("it has a key");
    let item = lock(&client.world.table).get(&key);
    let there = item.and_then(|item| {
        let position = u8::try_from(number(&item, "n")?).ok()?;
        Some(OperationId { seq: number(&item, "q")?, position })
    });
    if is_unknown && !is_acknowledged && there.is_some() {
        client.world.count(Event::Landed, 1);
    }
    let answer = client.attempt(errand).await;
    let is_right = match (&answer, there) {
        (Some(Ok(outcome)), Some(id)) => outcome.replayed && outcome.happened.operation.id == id,
        (Some(Ok(outcome)), None) => !outcome.replayed && !is_acknowledged,
        // As things are now; or for good, where its rival was faster.
        (Some(Err(Failure::Refused(_))), None) | (Some(Err(Failure::Excluded(_))), _) => {
            !is_acknowledged
        }
        _ => false,
    };
    if is_right {
        return Ok(());
    }
    Err(format!("{errand:?}: {there:?} was there, the answer is {answer:?}"))
}
