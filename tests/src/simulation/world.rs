//! [`World`]: what all clients of one run share. [`Weather`]: how much goes wrong there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::time::Instant;
use uc_domain::Timestamp;
use uc_ledger::Clock;

use super::executor::Spawner;
use super::tally::{Event, Fault, Tally};
use crate::Table;
use crate::memory_store::lock;

/// How often each fault comes, and how long messages take.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Of a thousand calls that could meet the fault.
    permille: [u16; Fault::ALL.len()],
    /// Milliseconds that a message takes at most, each way.
    pub latency: u64,
    /// Turns that others get at most where somebody could be overtaken.
    pub turns: u8,
}

impl Weather {
    /// Nothing goes wrong and everything is at once; but lists come in pieces.
    pub const CALM: Self = {
        let mut permille = [0; Fault::ALL.len()];
        permille[Fault::HalfPage as usize] = 200;
        Self { permille, latency: 0, turns: 0 }
    };

    /// Some weather of a seed: of each fault none, some or much.
    pub fn of(random: &mut fastrand::Rng) -> Self {
        let mut permille = [0; Fault::ALL.len()];
        let much = *random.choice(&[0, 3, 10, 30]).expect("there are some");
        for fault in Fault::ALL {
            let heavy = match fault {
                Fault::HalfPage | Fault::MaskedReason => 200,
                Fault::Death | Fault::Conflict => 40,
                Fault::Outage => 2,
                _ => 15,
            };
            permille[*fault as usize] = random.u16(0..=2) * heavy * much / 10;
        }
        Self { permille, latency: *random.choice(&[1, 5, 200]).expect("some"), turns: 4 }
    }
}

/// A moment of the simulated world: the clock that everybody would like to have.
struct Time {
    started: Instant,
    jumped: AtomicI64,
}

/// What all clients of one run share.
pub struct World {
    /// What the store keeps.
    pub table: Mutex<Table>,
    /// Runs what nobody waits for.
    pub spawner: Spawner,
    weather: Mutex<Weather>,
    random: Mutex<fastrand::Rng>,
    tally: Mutex<Tally>,
    trace: Option<Mutex<Vec<String>>>,
    broken: Mutex<Option<String>>,
    /// Writes under way, by the errand and the call that sent them.
    under_way: Mutex<BTreeMap<(usize, u64), u32>>,
    outage_until: Mutex<Instant>,
    calls: AtomicU64,
    time: Time,
}

impl World {
    /// 2026-11-22T12:00:00Z in milliseconds since 1970, when every run begins.
    const BEGIN: i64 = 1_795_348_800_000;

    /// An empty world. Needs the runtime's paused clock.
    pub fn new(seed: u64, weather: Weather, traced: bool) -> Self {
        Self {
            table: Mutex::default(),
            spawner: Spawner::default(),
            weather: Mutex::new(weather),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            tally: Mutex::default(),
            trace: traced.then(Mutex::default),
            broken: Mutex::default(),
            under_way: Mutex::default(),
            outage_until: Mutex::new(Instant::now()),
            calls: AtomicU64::new(0),
            time: Time { started: Instant::now(), jumped: AtomicI64::new(0) },
        }
    }

    /// How it is at the moment.
    pub fn weather(&self) -> Weather {
        *lock(&self.weather)
    }

    /// From now on nothing goes wrong.
    pub fn calm_down(&self) {
        *lock(&self.weather) = Weather::CALM;
        *lock(&self.outage_until) = Instant::now();
    }

    /// Whether a fault comes now; counted if so.
    pub fn strikes(&self, fault: Fault) -> bool {
        let permille = self.weather().permille[fault as usize];
        let strikes = permille > 0 && lock(&self.random).u16(..1_000) < permille;
        if strikes {
            self.fault(fault);
        }
        strikes
    }

    /// Whether the store can't be reached; an outage may begin.
    pub fn is_out(&self) -> bool {
        let now = Instant::now();
        let begins = self.weather().permille[Fault::Outage as usize];
        if begins > 0 && now >= *lock(&self.outage_until) && self.below(1_000) < begins.into() {
            let while_ = std::time::Duration::from_millis(self.below(15_000));
            *lock(&self.outage_until) = now + while_;
            self.note(|| format!("outage of {while_:?}"));
        }
        let out = now < *lock(&self.outage_until);
        if out {
            self.fault(Fault::Outage);
        }
        out
    }

    /// A random number below `end`, or zero.
    pub fn below(&self, end: u64) -> u64 {
        if end == 0 { 0 } else { lock(&self.random).u64(..end) }
    }

    /// Counts a fault.
    pub fn fault(&self, fault: Fault) {
        lock(&self.tally).fault(fault);
    }

    /// Counts events.
    pub fn count(&self, event: Event, times: u64) {
        lock(&self.tally).count(event, times);
    }

    /// What was counted.
    pub fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    /// Writes a line of the trace, where there is one.
    pub fn note(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let at = self.time.started.elapsed().as_millis();
            lock(trace).push(format!("{at:>7} ms  {}", line()));
        }
    }

    /// Whether there is a trace.
    pub fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    /// A name for the next call.
    pub fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// The trace so far.
    pub fn trace(&self) -> Vec<String> {
        self.trace.as_ref().map(|trace| lock(trace).clone()).unwrap_or_default()
    }

    /// Something is as it must never be. The first one counts.
    pub fn broken(&self, what: fmt::Arguments<'_>) {
        self.note(|| format!("BROKEN: {what}"));
        lock(&self.broken).get_or_insert_with(|| what.to_string());
    }

    /// What is as it must never be, if anything is.
    pub fn verdict(&self) -> Result<(), String> {
        lock(&self.broken).clone().map_or(Ok(()), Err)
    }

    /// A write of an errand was sent by a call.
    pub fn departs(&self, errand: usize, call: u64) {
        *lock(&self.under_way).entry((errand, call)).or_default() += 1;
    }

    /// It is done, or lost.
    pub fn arrives(&self, errand: usize, call: u64) {
        let mut under_way = lock(&self.under_way);
        let left = under_way.get_mut(&(errand, call)).expect("it departed");
        *left -= 1;
        if *left == 0 {
            under_way.remove(&(errand, call));
        }
    }

    /// Whether a write of an errand is under way that another call sent.
    pub fn others_under_way(&self, errand: usize, call: u64) -> bool {
        let under_way = lock(&self.under_way);
        under_way.range((errand, 0)..=(errand, u64::MAX)).any(|((_, other), _)| *other != call)
    }

    /// The right time.
    pub fn now(&self) -> Timestamp {
        self.time_of(0)
    }

    /// Time goes on by so many milliseconds, and nothing happens in them.
    pub fn jump(&self, millis: i64) {
        self.time.jumped.fetch_add(millis, Ordering::Relaxed);
    }

    fn time_of(&self, offset: i64) -> Timestamp {
        let elapsed = i64::try_from(self.time.started.elapsed().as_millis()).expect("hours");
        let jumped = self.time.jumped.load(Ordering::Relaxed);
        Timestamp::from_millis(Self::BEGIN + elapsed + jumped + offset).expect("a few years")
    }
}

/// One client's clock: off by some minutes.
pub struct ClientClock {
    world: std::sync::Arc<World>,
    offset: AtomicI64,
    /// Whether the store's answers tell how far it is off.
    told: bool,
}

impl ClientClock {
    /// A clock that is `offset` milliseconds ahead.
    pub fn new(world: std::sync::Arc<World>, offset: i64, told: bool) -> Self {
        Self { world, offset: offset.into(), told }
    }

    /// It is so far ahead now.
    pub fn step(&self, offset: i64) {
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// How far it is known to be off, in seconds.
    pub fn known_skew(&self) -> u64 {
        let offset = self.offset.load(Ordering::Relaxed);
        if self.told { offset.unsigned_abs() / 1_000 } else { 0 }
    }
}

impl Clock for ClientClock {
    fn now(&self) -> Timestamp {
        self.world.time_of(self.offset.load(Ordering::Relaxed))
    }
}
