//! Records histories of 16 clients on few accounts over HTTP and checks that they are
//! linearizable. At a failure: the round's seed and its history.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use uc_local::gateway::AllowedOrigins;
use uc_local::run_file::RunFile;
use uc_local::ssm::Quotas;
use uc_local::stack::Options;
use uc_local::wiring;
use uc_tests::client::Client;
use uc_tests::linearizability::{self, CLIENTS};

/// Checks that what clients see at the same time could have happened one after the other.
#[derive(Parser)]
#[command(name = "linearize", bin_name = "cargo linearize")]
struct Arguments {
    /// How many rounds to run; 100, or with `--minutes` as many as fit.
    #[arg(long)]
    rounds: Option<u64>,
    /// How long to run at most.
    #[arg(long)]
    minutes: Option<u64>,
    /// The first round's seed: what clients ask, not when.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The port of a stack that is running; without it, one in this process.
    #[arg(long)]
    port: Option<u16>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { rounds, minutes, seed, port } = arguments;
    let (stack, api) = if let Some(port) = port {
        let url = format!("http://127.0.0.1:{port}");
        (None, Client::new(&url).with_credential(&RunFile::read(port)?.api_key))
    } else {
        let origins = AllowedOrigins::Any;
        let options = Options { port: 0, data: None, origins, quotas: Quotas::Unlimited };
        let (stack, access, _) = wiring::start(&options, wiring::config()).await?;
        let api = Client::new(&stack.url()).with_credential(&access.api_key);
        (Some(stack), api)
    };
    let started = Instant::now();
    let time = minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let rounds = rounds.unwrap_or(if time.is_some() { u64::MAX } else { 100 });
    let tally = linearizability::run(&api, seed, rounds, time).await?;
    print!("{tally}");
    println!("{CLIENTS:>12}  clients");
    println!("{:>12.1?}  taken", started.elapsed());
    if let Some(stack) = stack {
        stack.shutdown().await?;
    }
    Ok(())
}
