//! `cargo local`: reads the command line and does what it says.

use std::error::Error;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use uc_http::Config;
use uc_ledger::SystemClock;
use uc_local::aws::Endpoints;
use uc_local::cli::{Cli, Command, Run};
use uc_local::gateway::AllowedOrigins;
use uc_local::run_file::RunFile;
use uc_local::ssm::Quotas;
use uc_local::stack::{self, Options};
use uc_local::{banner, commands, journal, schema, seed, ssm, wiring};

/// Threads for requests at least.
const MIN_THREADS: usize = 4;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What a function logs as an error is worth a line, and why a message was not done; the embedded
    // store's warnings are not.
    let worth_a_line =
        Targets::new().with_default(Level::ERROR).with_target("charge::queue", Level::WARN);
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
        .with(worth_a_line)
        .init();
    // Functions compute on these threads: some are left to answer others, and to keep time.
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).max(MIN_THREADS);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let done = runtime.map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            match cli.command {
                None => run(cli.run).await,
                Some(command) => act(command).await,
            }
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the stack until it is interrupted.
async fn run(run: Run) -> Result<(), Box<dyn Error>> {
    let origins = if run.origins.is_empty() {
        AllowedOrigins::Any
    } else {
        AllowedOrigins::Only(run.origins)
    };
    let quotas = quotas(run.ssm_quotas);
    let options = Options { port: run.port, data: run.data, origins, quotas };
    let (stack, access, _) = wiring::start(&options, wiring::config()).await?;
    let run_file = RunFile {
        port: stack.address().port(),
        api_key: access.api_key,
        webhook_secret: access.webhook_secret,
        dynamodb: stack.endpoints().dynamodb.clone(),
        queue: Some(stack.queues().charges.clone()),
    };
    let published = run_file.publish()?;
    println!("{}", banner::text(&stack.url(), &run_file, options.data.as_deref()));
    stack::interrupted().await?;
    drop(published);
    stack.shutdown().await?;
    Ok(())
}

fn quotas(throttle: bool) -> Quotas {
    if throttle { Quotas::Aws } else { Quotas::Unlimited }
}

async fn act(command: Command) -> Result<(), Box<dyn Error>> {
    let printed = match command {
        Command::Token { scope, account, actor, ttl, target } => {
            let grant = commands::Grant { scopes: scope, account, actor, ttl_seconds: ttl };
            commands::token(target.port, &grant).await?
        }
        Command::Pay { account, credits, payment, refund: _, target } => {
            let bought = account.zip(credits);
            commands::pay(target.port, bought.as_ref(), payment).await?
        }
        Command::Clock { by, target } => commands::clock(target.port, by).await?,
        Command::Schedule { target } => commands::schedule(target.port).await?,
        Command::Send { file, target } => {
            let lines = match file {
                Some(file) => std::fs::read_to_string(file)?,
                None => std::io::read_to_string(std::io::stdin())?,
            };
            commands::send_messages(target.port, &lines).await?
        }
        Command::Journal { account, seq, store } => {
            let account = account.parse()?;
            let table = std::env::var("UC_TABLE").ok();
            let emulated = |dynamodb| Endpoints { dynamodb, ssm: String::new() }.dynamodb_config();
            let config = match (store.dynamodb, &table) {
                (Some(url), _) => emulated(url),
                (None, Some(_)) => uc_ledger::aws::sdk_configs().tables,
                (None, None) => emulated(RunFile::read(store.target.port)?.dynamodb),
            };
            let table = table.unwrap_or_else(|| seed::TABLE.to_owned());
            journal::print(&config, table, &account, seq).await?
        }
        Command::Bootstrap => {
            let deployment = uc_http::Deployment::from_environment()?;
            seed::bootstrap(&deployment).await?.api_key
        }
        Command::Seed { dynamodb, ssm, target } => seed(dynamodb, ssm, target.port).await?,
        Command::Ssm { port, data, ssm_quotas } => {
            let _lock = data.as_deref().map(stack::claim).transpose()?;
            let ssm = ssm::start(port, data.as_deref(), quotas(ssm_quotas))?;
            println!("SSM listens on {}", ssm.url());
            stack::interrupted().await?;
            ssm.shutdown().await?;
            return Ok(());
        }
    };
    println!("{printed}");
    Ok(())
}

async fn seed(dynamodb: String, ssm: String, port: u16) -> Result<String, Box<dyn Error>> {
    let endpoints = Endpoints { dynamodb, ssm };
    let config = Config::from_environment().unwrap_or_else(|_| wiring::config());
    schema::create_table(&endpoints.dynamodb_client(), &config.table).await?;
    let deployment = uc_http::Deployment::new(
        config,
        &endpoints.dynamodb_config(),
        endpoints.ssm_config(),
        Arc::new(SystemClock),
    );
    let access = seed::bootstrap(&deployment).await?;
    seed::examples(&deployment).await?;
    let run_file = RunFile {
        port,
        api_key: access.api_key,
        webhook_secret: access.webhook_secret,
        dynamodb: endpoints.dynamodb,
        queue: None,
    };
    Ok(format!("ready; the keys are in {}", run_file.write()?.display()))
}
