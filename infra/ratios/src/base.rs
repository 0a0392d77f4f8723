//! Which version a table's file was last compared with or taken from: a file beside it, so that
//! what somebody else published in between is not overwritten.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Deployments that are remembered for one file at most.
const MAX_DEPLOYMENTS: usize = 16;

/// By address of a deployment the version that was in force there.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bases {
    versions: BTreeMap<String, u64>,
}

/// `ratios.json.base` beside `ratios.json`; none where the table is no file.
fn beside(table: &Path) -> Option<PathBuf> {
    (table != Path::new("-")).then(|| {
        let mut name = OsString::from(table);
        name.push(".base");
        name.into()
    })
}

fn bases(path: &Path) -> Bases {
    let read = fs::read(path).ok();
    // What is not ours is as good as nothing: the push then asks.
    read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// The version that was in force at `url` when the table of this file was last compared with it.
pub fn of(table: &Path, url: &str) -> Option<u64> {
    bases(&beside(table)?).versions.get(key(url)).copied()
}

/// Remembers the version that is in force at `url`.
///
/// # Errors
/// The file beside the table can't be written.
pub fn remember(table: &Path, url: &str, version: u64) -> io::Result<()> {
    let Some(path) = beside(table) else { return Ok(()) };
    let mut bases = bases(&path);
    if bases.versions.len() >= MAX_DEPLOYMENTS && !bases.versions.contains_key(key(url)) {
        bases = Bases::default();
    }
    bases.versions.insert(key(url).to_owned(), version);
    fs::write(path, serde_json::to_vec(&bases)?)
}

fn key(url: &str) -> &str {
    url.trim_end_matches('/')
}
