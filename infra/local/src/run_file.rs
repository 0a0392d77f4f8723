//! How the commands find the running stack: a file that only its owner may read.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a command needs to act on a running stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// The gateway's port.
    pub port: u16,
    /// An API key with every scope.
    pub api_key: String,
    /// The secret that payment webhooks are signed with, `whsec_...`.
    pub webhook_secret: String,
    /// Where its `DynamoDB` is.
    pub dynamodb: String,
    /// Where its queue of charges is; none where there is no SQS.
    #[serde(default)]
    pub queue: Option<String>,
}

/// Why there is no run file to use.
#[derive(Debug, thiserror::Error)]
pub enum RunFileError {
    /// No stack has left one for this port.
    #[error("no local stack runs on port {port}; start one with `cargo local --port {port}`")]
    NotRunning {
        /// The port that was asked for.
        port: u16,
    },
    /// It is there, but cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
}

impl RunFile {
    /// Reads what the stack on `port` has written.
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn read(port: u16) -> Result<Self, RunFileError> {
        let path = path(port);
        let read = || Ok(serde_json::from_slice(&fs::read(&path)?)?);
        read().map_err(|source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => RunFileError::NotRunning { port },
            _ => RunFileError::File { path: path.clone(), source },
        })
    }

    /// Writes it, and removes it when the guard is dropped.
    ///
    /// # Errors
    /// [`RunFileError::File`].
    pub fn publish(&self) -> Result<Published, RunFileError> {
        self.write().map(|path| Published { path })
    }

    /// Writes it, for a stack that others start and stop.
    ///
    /// # Errors
    /// [`RunFileError::File`].
    pub fn write(&self) -> Result<PathBuf, RunFileError> {
        let path = path(self.port);
        write_new(&path, &serde_json::to_vec(self).unwrap_or_default())
            .map_err(|source| RunFileError::File { path: path.clone(), source })?;
        Ok(path)
    }
}

/// A run file, for as long as the stack runs.
#[derive(Debug)]
pub struct Published {
    path: PathBuf,
}

impl Drop for Published {
    fn drop(&mut self) {
        // If it cannot be removed, the commands find that nothing listens there.
        let _ = fs::remove_file(&self.path);
    }
}

/// In the user's own directory for such files where there is one, else in the directory for temporary
/// files. The port is in the name: stacks on several ports don't disturb each other.
fn path(port: u16) -> PathBuf {
    let directory = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|directory| directory.is_dir())
        .unwrap_or_else(std::env::temp_dir);
    directory.join(format!("unified-credits-{port}.json"))
}

/// Writes a file that did not exist: in a directory that others can write to, an existing one could be
/// theirs, or a link to somewhere else.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(content)
}
