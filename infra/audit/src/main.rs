//! `cargo audit-ledger`: recomputes every journal of a table, or of an export of it.

use std::process::ExitCode;

use clap::Parser as _;
use uc_audit::cli::{Cli, Command};
use uc_audit::{Failure, Findings, export, generate, table};

fn main() -> ExitCode {
    let started = std::time::Instant::now();
    match act(Cli::parse().command) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(findings)) => {
            println!("{}", findings.text(started.elapsed()));
            if findings.differing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("audit: {error}");
            ExitCode::from(2)
        }
    }
}

fn act(command: Command) -> Result<Option<Findings>, Failure> {
    match command {
        Command::Export { paths, options } => export::audit(&paths, &options).map(Some),
        Command::Table { table, options } => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(options.parallel.get())
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let (name, store) = table::from_environment(table)?;
                table::audit(&name, store, &options).await.map(Some)
            })
        }
        Command::Generate { entries, accounts, seed, out } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(generate::export(entries, accounts, seed, &out))?;
            Ok(None)
        }
    }
}
