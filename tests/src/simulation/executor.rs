//! [`Executor`]: runs tasks one at a time, in an order that a seed decides.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::memory_store::lock;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Polls that one run takes at most: what takes more goes in circles.
const MAX_POLLS: u64 = 2_000_000;

/// Hands tasks to a running [`Executor`].
#[derive(Clone, Default)]
pub struct Spawner(Arc<Mutex<Vec<Work>>>);

impl Spawner {
    /// Runs `work` beside everything else.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        lock(&self.0).push(Box::pin(work));
    }
}

/// Whether a task wants to be polled.
struct Ready {
    set: AtomicBool,
    /// Who waits until any task is ready.
    waiting: Arc<Mutex<Option<Waker>>>,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.set.store(true, Ordering::Relaxed);
        if let Some(waiting) = lock(&self.waiting).take() {
            waiting.wake();
        }
    }
}

/// Runs tasks one at a time: of those that are ready, the seed picks the next. Where none is, the
/// runtime's paused clock goes on to the next timer.
pub struct Executor {
    tasks: Vec<(Work, Arc<Ready>)>,
    spawned: Spawner,
    waiting: Arc<Mutex<Option<Waker>>>,
    random: fastrand::Rng,
    polls: u64,
}

impl Executor {
    /// Runs what `spawned` is given, in the order of `seed`.
    pub fn new(spawned: Spawner, seed: u64) -> Self {
        Self {
            tasks: Vec::new(),
            spawned,
            waiting: Arc::default(),
            random: fastrand::Rng::with_seed(seed),
            polls: 0,
        }
    }

    /// Runs until no task is left.
    ///
    /// # Errors
    /// The tasks go in circles.
    pub async fn run(&mut self) -> Result<(), String> {
        // Fairness among tasks is the seed's affair.
        tokio::task::unconstrained(poll_fn(|context| self.poll(context))).await
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<Result<(), String>> {
        loop {
            for work in lock(&self.spawned.0).drain(..) {
                let ready = Ready { set: true.into(), waiting: Arc::clone(&self.waiting) };
                self.tasks.push((work, Arc::new(ready)));
            }
            if self.tasks.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let ready = self.tasks.iter().enumerate();
            let ready = ready.filter(|(_, (_, ready))| ready.set.load(Ordering::Relaxed));
            let ready: Vec<usize> = ready.map(|(index, _)| index).collect();
            let Some(&next) = self.random.choice(&ready) else {
                *lock(&self.waiting) = Some(context.waker().clone());
                return Poll::Pending;
            };
            self.polls += 1;
            if self.polls > MAX_POLLS {
                return Poll::Ready(Err(format!("no end after {MAX_POLLS} polls")));
            }
            let (work, ready) = &mut self.tasks[next];
            ready.set.store(false, Ordering::Relaxed);
            let waker = Waker::from(Arc::clone(ready));
            if work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                drop(self.tasks.swap_remove(next));
            }
        }
    }
}

/// Lets others run, `turns` times.
pub async fn give_way(mut turns: u8) {
    poll_fn(|context| {
        if turns == 0 {
            return Poll::Ready(());
        }
        turns -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// When a function dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// It does not.
    Never,
    /// Where it would go on for this time: between two of its awaits.
    AfterPolls(u32),
    /// After so long, whatever it waits for.
    After(Duration),
}

/// A function that may die: its future is dropped where it stands.
pub struct Mortal<F> {
    future: Pin<Box<F>>,
    polls_left: Option<u32>,
    end: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Mortal<F> {
    /// Runs `future` until its end, or until its `death`: then there is no result.
    pub fn new(future: F, death: Death) -> Self {
        let (polls_left, end) = match death {
            Death::Never => (None, None),
            Death::AfterPolls(polls) => (Some(polls), None),
            Death::After(while_) => {
                let end = tokio::time::sleep_until(Instant::now() + while_);
                (None, Some(Box::pin(end)))
            }
        };
        Self { future: Box::pin(future), polls_left, end }
    }
}

impl<F: Future> Future for Mortal<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(left) = &mut self.polls_left {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => return Poll::Ready(None),
            }
        }
        if self.end.as_mut().is_some_and(|end| end.as_mut().poll(context).is_ready()) {
            return Poll::Ready(None);
        }
        self.future.as_mut().poll(context).map(Some)
    }
}
