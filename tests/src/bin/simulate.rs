//! Runs the ledger over a store that fails by a seed, and prints what was seen. At a failure: the
//! seed and its trace.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use uc_tests::simulation::{self, Broken};

/// Runs the ledger over a store whose failures, delays and order come from a seed.
#[derive(Parser)]
#[command(name = "simulate", bin_name = "cargo simulate")]
struct Arguments {
    /// How many seeds to run; 10,000, or with `--minutes` as many as fit.
    #[arg(long)]
    seeds: Option<u64>,
    /// How long to run at most.
    #[arg(long)]
    minutes: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Prints the trace of the first seed, and runs no other.
    #[arg(long)]
    trace: bool,
    /// Counts the seeds that break instead of stopping at the first.
    #[arg(long)]
    go_on: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.trace {
        return explain(arguments.seed);
    }
    let started = Instant::now();
    let time = arguments.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let seeds = arguments.seeds.unwrap_or(if time.is_some() { u64::MAX } else { 10_000 });
    let report = simulation::run_many(arguments.seed, seeds, time, arguments.go_on);
    print!("{}{}", report.tally, report.tally.evidence());
    println!("{:>12.1?}  taken", started.elapsed());
    let Some(first) = report.broken.first() else { return ExitCode::SUCCESS };
    if arguments.go_on {
        for Broken { seed, what } in &report.broken {
            println!("seed {seed}: {what}");
        }
        println!("{:>12}  seeds broke", report.broken.len());
    }
    explain(first.seed)
}

/// Prints what happens in a seed.
fn explain(seed: u64) -> ExitCode {
    let (trace, result) = simulation::trace(seed);
    for line in trace {
        println!("{line}");
    }
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(Broken { what, .. }) => {
            eprintln!("seed {seed}: {what}");
            eprintln!("once more, with its trace: cargo simulate --seed {seed} --trace");
            ExitCode::FAILURE
        }
    }
}
