//! The stack as one value: emulators, clock, gateway, schedule and queue, started together and stopped together.

use std::fs::{self, File, TryLockError};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
#[cfg(unix)]
use tokio::signal::unix::SignalKind;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use uc_ledger::DynamoStore;

use crate::aws::Endpoints;
use crate::clock::{ClockError, MovableClock};
use crate::emulator::{Emulator, EmulatorError, listen};
use crate::functions::Function;
use crate::gateway::{AllowedOrigins, Connected, Gateway, Route, RouteError};
use crate::queue::QueueUrls;
use crate::schedule::Schedule;
use crate::server::serve;
use crate::ssm::Quotas;
use crate::{dynamodb, queue, ssm};

/// How a stack is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The gateway's port on 127.0.0.1; 0 takes any free one.
    pub port: u16,
    /// Where everything is kept. `None`: in memory, gone at the end.
    pub data: Option<PathBuf>,
    /// Which web pages may call the API.
    pub origins: AllowedOrigins,
    /// Whether the parameter store throttles.
    pub quotas: Quotas,
}

/// What runs behind the gateway.
pub struct Deployment {
    /// Every function.
    pub functions: Vec<Function>,
    /// Which requests reach which function.
    pub routes: Vec<Route>,
    /// The function that the schedule fires.
    pub scheduled: Function,
    /// The function that the queue's messages are handed to.
    pub consumer: Function,
    /// The API's description, in JSON.
    pub openapi: Bytes,
    /// The store behind the functions, for what it has cost.
    pub store: Option<Arc<DynamoStore>>,
}

/// Why a stack did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A port is taken, or an emulator failed.
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// The clock's offset cannot be kept.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The functions' routes cannot be served together.
    #[error(transparent)]
    Routes(#[from] RouteError),
    /// The functions could not be made ready.
    #[error("{0}")]
    Deployment(String),
}

/// A running stack.
pub struct Stack {
    address: SocketAddr,
    endpoints: Endpoints,
    clock: Arc<MovableClock>,
    schedule: Schedule,
    queues: QueueUrls,
    emulators: [Emulator; 3],
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    firing: JoinHandle<()>,
    consuming: JoinHandle<()>,
    /// Held while the stack runs, so that no second one writes to the same directory.
    _lock: Option<File>,
}

impl Stack {
    /// Starts the emulators, lets `deploy` make the functions against them, then opens the gateway.
    ///
    /// # Errors
    /// [`StackError`]; what had started is stopped again.
    pub async fn start<D, F, E>(options: &Options, deploy: D) -> Result<Self, StackError>
    where
        D: FnOnce(Endpoints, Arc<MovableClock>) -> F,
        F: Future<Output = Result<Deployment, E>>,
        E: std::fmt::Display,
    {
        // The port first: it is what most often cannot be had, and nothing else has happened yet.
        let listener = listen(options.port)?;
        let failed = |source| EmulatorError::Listen { port: options.port, source };
        let address = listener.local_addr().map_err(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;

        let data = options.data.as_deref();
        let lock = data.map(claim).transpose()?;
        let clock = Arc::new(MovableClock::open(data)?);
        let (sqs, queues) = queue::start(0).await?;
        let emulators = [dynamodb::start(0, data)?, ssm::start(0, data, options.quotas)?, sqs];
        let endpoints = Endpoints { dynamodb: emulators[0].url(), ssm: emulators[1].url() };

        let deployment = deploy(endpoints.clone(), Arc::clone(&clock))
            .await
            .map_err(|error| StackError::Deployment(error.to_string()))?;
        let schedule = Schedule::new(deployment.scheduled, Arc::clone(&clock));
        let mut gateway = Gateway::new(
            deployment.functions,
            deployment.routes,
            deployment.openapi,
            Arc::clone(&clock),
        )?
        .with_origins(options.origins.clone())
        .with_schedule(schedule.clone());
        if let Some(store) = deployment.store {
            gateway = gateway.with_store(store);
        }
        let gateway = Arc::new(gateway);

        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let connect = |peer| Connected { gateway: Arc::clone(&gateway), peer };
            let stopped = async {
                // Never sent on: that the sender is gone is the signal.
                let _ = stopped.await;
            };
            serve(listener, connect, stopped).await;
        });
        let firing = tokio::spawn(schedule.clone().run());
        let urls = queues.urls().clone();
        let consuming = tokio::spawn(queues.consume(deployment.consumer, Arc::clone(&clock)));
        Ok(Self {
            address,
            endpoints,
            clock,
            schedule,
            queues: urls,
            emulators,
            stop,
            serving,
            firing,
            consuming,
            _lock: lock,
        })
    }

    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The API's base, such as `http://127.0.0.1:9000`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the emulators are.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Where messages are sent to.
    pub fn queues(&self) -> &QueueUrls {
        &self.queues
    }

    /// The clock of every function.
    pub fn clock(&self) -> &Arc<MovableClock> {
        &self.clock
    }

    /// The schedule.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Stops taking requests, answers those that are running, stops the emulators.
    ///
    /// # Errors
    /// When an emulator had failed.
    pub async fn shutdown(self) -> Result<(), StackError> {
        self.firing.abort();
        self.consuming.abort();
        drop(self.stop);
        // It ends when the running requests have: at most the gateway's time-out.
        let _ = self.serving.await;
        for emulator in self.emulators {
            emulator.shutdown().await?;
        }
        Ok(())
    }
}

/// Waits for Ctrl-C, or for the signal that asks a process to end.
///
/// # Errors
/// When the operating system does not let it listen for them.
pub async fn interrupted() -> io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminated = tokio::signal::unix::signal(SignalKind::terminate())?;
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// Makes the data directory, readable by its owner only, and takes its lock: nobody else uses it while the
/// returned file is open.
///
/// # Errors
/// [`EmulatorError::Data`] when it cannot be made, or somebody else uses it.
pub fn claim(directory: &Path) -> Result<File, EmulatorError> {
    let failed = |reason: String| EmulatorError::Data { path: directory.to_owned(), reason };
    let claim = || -> io::Result<File> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(directory)?;
        File::create(directory.join("lock"))
    };
    let lock = claim().map_err(|error| failed(error.to_string()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(failed("another `cargo local` is using it".to_owned()))
        }
        Err(TryLockError::Error(error)) => Err(failed(error.to_string())),
    }
}
