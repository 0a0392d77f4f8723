//! [`MemoryParameters`]: Parameter Store in memory, with every failure that the real one has.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use uc_ratios::{GET_LIMIT, Parameter, ParameterError, ParameterStore, VALUE_LIMIT};

/// What somebody asks of it.
#[derive(Debug, Clone, Copy)]
pub enum Call<'a> {
    /// [`ParameterStore::get`].
    Get(&'a [String]),
    /// [`ParameterStore::put`] of a name.
    Put(&'a str),
    /// [`ParameterStore::delete`].
    Delete(&'a [String]),
}

/// What goes wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFault {
    /// It is throttled.
    Throttled,
    /// It does not happen, and there is no answer.
    NotDone,
    /// It happens, but the answer is lost.
    AnswerLost,
    /// It takes so long.
    Slow(Duration),
    /// A put writes only the first half of the value, and reports success.
    Torn,
}

type Faults = Box<dyn FnMut(Call<'_>) -> Option<CallFault> + Send>;

/// Parameters in memory.
pub struct MemoryParameters {
    state: Mutex<State>,
    faults: Mutex<Faults>,
}

struct State {
    parameters: BTreeMap<String, Stored>,
    random: fastrand::Rng,
    /// A write is seen by all reads only after up to so many more.
    lag: u8,
    calls: usize,
    puts: Vec<String>,
}

struct Stored {
    value: String,
    secure: bool,
    /// What reads see for so many more times.
    before: Option<(u8, Option<String>)>,
}

impl MemoryParameters {
    /// No parameters, nothing goes wrong, and a write is seen by all reads only after up to `lag`
    /// more.
    pub fn new(seed: u64, lag: u8) -> Self {
        Self {
            state: Mutex::new(State {
                parameters: BTreeMap::new(),
                random: fastrand::Rng::with_seed(seed),
                lag,
                calls: 0,
                puts: Vec::new(),
            }),
            faults: Mutex::new(Box::new(|_| None)),
        }
    }

    /// From now on, `faults` is asked before each call what goes wrong with it.
    pub fn inject(&self, faults: impl FnMut(Call<'_>) -> Option<CallFault> + Send + 'static) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(faults);
    }

    /// All names.
    pub fn names(&self) -> Vec<String> {
        self.state().parameters.keys().cloned().collect()
    }

    /// The names written since the last time this was asked, in order.
    pub fn take_puts(&self) -> Vec<String> {
        std::mem::take(&mut self.state().puts)
    }

    /// The number of calls since the last time this was asked.
    pub fn take_calls(&self) -> usize {
        std::mem::take(&mut self.state().calls)
    }

    /// Writes a parameter behind everybody's back, a secure string or a plain one.
    pub fn set(&self, name: &str, value: &str, secure: bool) {
        let stored = Stored { value: value.to_owned(), secure, before: None };
        self.state().parameters.insert(name.to_owned(), stored);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets other tasks run and fails where it should.
    async fn turn(&self, call: Call<'_>) -> Result<Option<CallFault>, ParameterError> {
        let fault = self.faults.lock().unwrap_or_else(PoisonError::into_inner)(call);
        let turns = {
            let mut state = self.state();
            state.calls += 1;
            state.random.u8(..4)
        };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        match fault {
            Some(CallFault::Throttled) => Err(ParameterError::Throttled),
            Some(CallFault::NotDone) => Err(no_answer()),
            Some(CallFault::Slow(time)) => {
                tokio::time::sleep(time).await;
                Ok(None)
            }
            fault => Ok(fault),
        }
    }
}

fn no_answer() -> ParameterError {
    ParameterError::NoAnswer("injected".to_owned())
}

fn answer<T>(fault: Option<CallFault>, value: T) -> Result<T, ParameterError> {
    if fault == Some(CallFault::AnswerLost) { Err(no_answer()) } else { Ok(value) }
}

fn check_count(names: &[String]) -> Result<(), ParameterError> {
    if !(1..=GET_LIMIT).contains(&names.len()) {
        return Err(ParameterError::Refused("1 to 10 names".to_owned()));
    }
    Ok(())
}

#[async_trait]
impl ParameterStore for MemoryParameters {
    async fn get(&self, names: &[String], decrypt: bool) -> Result<Vec<Parameter>, ParameterError> {
        check_count(names)?;
        let fault = self.turn(Call::Get(names)).await?;
        let mut state = self.state();
        let mut found = Vec::new();
        for name in names {
            let Some(stored) = state.parameters.get_mut(name) else { continue };
            let value = match &mut stored.before {
                Some((reads @ 1.., before)) => {
                    *reads -= 1;
                    before.clone()
                }
                _ if stored.secure && !decrypt => Some("encrypted".to_owned()),
                _ => Some(stored.value.clone()),
            };
            found.extend(value.map(|value| Parameter { name: name.clone(), value }));
        }
        answer(fault, found)
    }

    async fn put(&self, name: &str, value: &str) -> Result<(), ParameterError> {
        if value.is_empty() || value.len() > VALUE_LIMIT {
            return Err(ParameterError::Refused("1 to 4,096 bytes".to_owned()));
        }
        let fault = self.turn(Call::Put(name)).await?;
        let mut state = self.state();
        let lag = state.lag;
        let lag = state.random.u8(..=lag);
        let before = state.parameters.get(name).map(|stored| stored.value.clone());
        let value = if fault == Some(CallFault::Torn) { &value[..value.len() / 2] } else { value };
        let stored = Stored { value: value.to_owned(), secure: false, before: Some((lag, before)) };
        state.parameters.insert(name.to_owned(), stored);
        state.puts.push(name.to_owned());
        answer(fault, ())
    }

    async fn delete(&self, names: &[String]) -> Result<(), ParameterError> {
        check_count(names)?;
        let fault = self.turn(Call::Delete(names)).await?;
        let mut state = self.state();
        for name in names {
            state.parameters.remove(name);
        }
        answer(fault, ())
    }
}
