//! What benchmarks share: counting instructions, which are the same in every run.

use std::env;
use std::process::Command;

/// Set in the process that Valgrind runs: what it is to do, and how often.
pub const COUNTED: &str = "UC_BENCH_COUNTED";

/// All instructions of a process that does this, by Valgrind; none where it is not installed.
pub fn instructions(what: &str) -> Option<u64> {
    let counted = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().ok()?)
        .env(COUNTED, what)
        .output()
        .ok()?;
    let report = String::from_utf8(counted.stderr).ok()?;
    let (_, count) = report.split_once("Collected :")?;
    count.split_whitespace().next()?.parse().ok()
}
