//! Recomputes every journal of a table, or of an export of it: the command `cargo audit-ledger`.

mod beside;
pub mod cli;
pub mod export;
mod findings;
pub mod generate;
mod record;
mod sorted;
pub mod table;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

pub use findings::Findings;

/// Why a state file is not gone on with.
const OTHER_KEYS: &str = "the state file is of an audit with other keys (--key): give the same, or remove it to begin anew";

/// A path beside `path`, of the same name with `end` behind it.
fn beside_path(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// What a state file keeps; `None` where there is none.
fn load<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let named = |error: &dyn Error| format!("{}: {error}", path.display()).into();
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| named(&error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(named(&error)),
    }
}

/// Writes a file wholly or not at all, whatever happens to this program.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let new = beside_path(path, ".new");
    fs::write(&new, bytes).map_err(|error| format!("{}: {error}", new.display()))?;
    Ok(fs::rename(new, path)?)
}

/// Why an audit could not look.
pub type Failure = Box<dyn Error + Send + Sync>;
