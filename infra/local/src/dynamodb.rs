//! The embedded `DynamoDB`: dynoxide on `SQLite`, reached by the real AWS SDK over loopback.

use std::path::Path;

use dynoxide::Database;

use crate::emulator::{Emulator, EmulatorError, listen};

/// The database file below `--data`.
const FILE: &str = "dynamodb.sqlite";

/// Starts it on `127.0.0.1:port` (0: any free port), in memory, or in a file below `data`.
///
/// In a file, every acknowledged write survives the process being killed.
///
/// # Errors
/// When the port is taken or the database file cannot be opened.
pub fn start(port: u16, data: Option<&Path>) -> Result<Emulator, EmulatorError> {
    let listener = listen(port)?;
    let database = match data {
        None => Database::memory().map_err(|error| EmulatorError::Failed {
            name: "DynamoDB",
            reason: error.to_string(),
        })?,
        Some(directory) => {
            let path = directory.join(FILE);
            let open = |path: &Path| {
                let text = path.to_str().ok_or("the path is not valid UTF-8")?;
                Database::new(text).map_err(|error| error.to_string())
            };
            open(&path).map_err(|reason| EmulatorError::Data { path, reason })?
        }
    };
    Emulator::spawn("DynamoDB", listener, |listener, stopped| {
        dynoxide::server::serve_with_shutdown(listener, database, stopped.wait())
    })
}
