//! Answers two prompts of an account on a running stack and says what that cost: one whose stream
//! breaks off, one whose stream comes to its end.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;
use streaming_example::{Credits, Turn, answer, provider};
use uuid::Uuid;

const PROMPT: &str = "Explain tides to a child.";
/// Tokens after which the first stream breaks off.
const BREAK_AFTER: usize = 12;

/// Streams from a made-up provider and charges an account for what was used.
#[derive(Debug, Parser)]
#[command(name = "streaming-example", version)]
struct Cli {
    /// Who pays
    #[arg(long, default_value = "streams")]
    account: String,
    /// The address of the deployment's API
    #[arg(long, env = "UC_URL", default_value = "http://127.0.0.1:9000")]
    url: String,
    /// An API key with the scopes estimate, charge and read; better in the environment than on the
    /// command line
    #[arg(long, env = "UC_API_KEY", hide_env_values = true)]
    key: String,
}

fn main() -> ExitCode {
    match act(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("streaming-example: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let credits = Credits::new(&cli.url, &cli.key);
    let show = |balance: &Value| {
        let figure = |name: &str| decimal(&balance[name]);
        let [posted, available, held] = ["posted", "available", "held"].map(figure);
        println!("{}: posted {posted}, available {available}, held {held}", cli.account);
    };
    show(&credits.balance(&cli.account)?);
    for break_after in [Some(BREAK_AFTER), None] {
        let turn = format!("turn-{}", Uuid::new_v4().simple());
        if break_after.is_some() {
            credits.lose_an_answer("/capture");
        }
        let provider = provider::start(break_after)?;
        print(&answer(&credits, &provider, &cli.account, &turn, PROMPT)?);
        show(&credits.balance(&cli.account)?);
    }
    Ok(())
}

fn print(turn: &Turn) {
    let Turn { text, broken, estimate, held, used, captured, replayed } = turn;
    let [min, expected, max] =
        ["min", "expected", "max"].map(|bound| decimal(&estimate["total"][bound]));
    println!();
    println!("estimated  {min} to {max}, {expected} expected");
    let (held, available) = (&held["hold"]["credits"], &held["balance"]["available"]);
    println!("held       {}, available {}", decimal(held), decimal(available));
    println!("streamed   {text}");
    if let Some(why) = broken {
        println!("broke off  {why}");
    }
    println!("used       {used}");
    let again = if *replayed { "; the first answer got lost, this is the second" } else { "" };
    println!("captured   {}{again}", decimal(&captured["operation"]["credits"]));
}

/// A decimal of an answer.
fn decimal(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}
