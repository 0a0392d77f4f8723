//! What the embedded emulators share: a loopback listener and a thread of their own.
//!
//! Each emulator runs on one thread with a single-threaded runtime. Both answer from a lock, so more
//! threads would gain nothing, and `SQLite`'s synchronous writes must not hold up the gateway's threads.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

/// How long a stopping emulator waits for requests that are still running, before it drops them.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Why an emulator could not start, or did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// Another process listens there.
    #[error("port {port} is already in use; choose another one, or 0 for any free port")]
    PortInUse {
        /// The port that was asked for.
        port: u16,
    },
    /// The listener could not be opened for another reason.
    #[error("cannot listen on 127.0.0.1:{port}: {source}")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file or directory below `--data` cannot be used.
    #[error("cannot use {}: {reason}", path.display())]
    Data {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The emulator's store could not be opened, or its server failed.
    #[error("the embedded {name} failed: {reason}")]
    Failed {
        /// Which emulator.
        name: &'static str,
        /// What it says.
        reason: String,
    },
}

/// Opens a listener on the loopback interface; port 0 takes any free one.
///
/// # Errors
/// [`EmulatorError::PortInUse`], or [`EmulatorError::Listen`] for any other failure.
pub fn listen(port: u16) -> Result<TcpListener, EmulatorError> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => EmulatorError::PortInUse { port },
            _ => EmulatorError::Listen { port, source },
        })?;
    listener.set_nonblocking(true).map_err(|source| EmulatorError::Listen { port, source })?;
    Ok(listener)
}

/// A running emulator. Dropping it stops the server without waiting for it.
#[derive(Debug)]
pub struct Emulator {
    name: &'static str,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Emulator {
    /// Runs `serve` on its own thread. It is given the listener and a future that resolves when the
    /// emulator is to stop.
    pub(crate) fn spawn<S, F>(
        name: &'static str,
        listener: TcpListener,
        serve: S,
    ) -> Result<Self, EmulatorError>
    where
        S: FnOnce(tokio::net::TcpListener, Stopped) -> F + Send + 'static,
        F: Future<Output = Result<(), String>>,
    {
        let failed = |reason: io::Error| EmulatorError::Failed { name, reason: reason.to_string() };
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let listener = tokio::net::TcpListener::from_std(listener)
                        .map_err(|error| error.to_string())?;
                    let (graceful, stopping) = oneshot::channel::<()>();
                    let serving = serve(listener, Stopped(stopping));
                    tokio::pin!(serving);
                    tokio::select! {
                        ended = &mut serving => return ended,
                        // A dropped sender means a dropped emulator: stop as well.
                        _ = stopped => {}
                    }
                    drop(graceful);
                    tokio::time::timeout(SHUTDOWN_GRACE, serving).await.unwrap_or(Ok(()))
                })
            })
            .map_err(failed)?;
        Ok(Self { name, address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint to give an AWS SDK, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops accepting, lets running requests finish for up to two seconds, closes the store.
    ///
    /// # Errors
    /// [`EmulatorError::Failed`] if the server had failed before, or panicked.
    pub async fn shutdown(mut self) -> Result<(), EmulatorError> {
        drop(self.stop.take());
        let name = self.name;
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let ended = tokio::task::spawn_blocking(move || thread.join()).await;
        let reason = match ended {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(reason))) => reason,
            Ok(Err(_)) => "its thread panicked".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(EmulatorError::Failed { name, reason })
    }
}

/// Resolves when the emulator is to stop.
pub(crate) struct Stopped(oneshot::Receiver<()>);

impl Stopped {
    /// Waits for the stop.
    pub(crate) async fn wait(self) {
        // Never sent on: that the sender is gone is the signal.
        let _ = self.0.await;
    }
}
