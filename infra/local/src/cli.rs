//! The command line: `cargo local` and its commands.
#![expect(clippy::doc_markdown, reason = "doc comments here are the help text")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The gateway's port when none is given.
const PORT: u16 = 9000;

/// Runs Unified Credits on this machine: the API, its database, parameter store and queue, in one process.
///
/// Without a command it starts the stack and prints what to paste next; Ctrl-C ends it. The commands act on
/// the stack that is running.
#[derive(Debug, Parser)]
#[command(
    name = "cargo local",
    bin_name = "cargo local",
    version,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do instead of starting the stack.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to start it.
    #[command(flatten)]
    pub run: Run,
}

/// Starting the stack.
#[derive(Debug, Args)]
pub struct Run {
    /// The API's port on 127.0.0.1; 0 takes any free one
    #[arg(long, default_value_t = PORT)]
    pub port: u16,
    /// Keep everything in this directory; without it, in memory and gone at the end
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A web page's origin that may call the API; may be given several times [default: any]
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    pub origins: Vec<String>,
    /// Throttle the parameter store at an AWS account's quotas: 3 writes, 40 reads a second
    #[arg(long)]
    pub ssm_quotas: bool,
}

/// Which running stack a command acts on.
#[derive(Debug, Args)]
pub struct Target {
    /// The port of the running stack
    #[arg(long, default_value_t = PORT)]
    pub port: u16,
}

/// Which table a command reads.
#[derive(Debug, Args)]
pub struct Store {
    /// Where the DynamoDB emulator is. Without it the table UC_TABLE of the environment's AWS
    /// account, or the running local stack's
    #[arg(long, value_name = "URL")]
    pub dynamodb: Option<String>,
    /// Which stack
    #[command(flatten)]
    pub target: Target,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a credential: an API key, or with --account a token for that account
    Token {
        /// What it may do, such as charge,read
        #[arg(long, value_name = "SCOPES", value_delimiter = ',', required = true)]
        scope: Vec<String>,
        /// The account of an account token; without it, an API key is made
        #[arg(long)]
        account: Option<String>,
        /// Who is acting: a label that operations carry
        #[arg(long, requires = "account")]
        actor: Option<String>,
        /// How long an account token is good: 1h at most
        #[arg(long, value_name = "TIME", value_parser = seconds, requires = "account")]
        ttl: Option<i64>,
        /// Which stack
        #[command(flatten)]
        target: Target,
    },
    /// Send a signed payment webhook, as a payment provider does
    Pay {
        /// Who has paid
        #[arg(long, required_unless_present = "refund")]
        account: Option<String>,
        /// How many credits were bought, such as 100 or 12.5
        #[arg(long, required_unless_present = "refund")]
        credits: Option<String>,
        /// The payment's id; the same one twice counts once [default: a new one]
        #[arg(long, value_name = "ID")]
        payment: Option<String>,
        /// Say that the payment was refunded, all of it
        #[arg(long, requires = "payment", conflicts_with_all = ["account", "credits"])]
        refund: bool,
        /// Which stack
        #[command(flatten)]
        target: Target,
    },
    /// Move the clock forward by +30s, +15m, +2h or +31d, fire the schedule, print the new time
    Clock {
        /// How far; without it, print the time
        #[arg(value_name = "TIME", value_parser = seconds, allow_hyphen_values = true)]
        by: Option<i64>,
        /// Which stack
        #[command(flatten)]
        target: Target,
    },
    /// Fire the schedule once, and print what it did
    Schedule {
        /// Which stack
        #[command(flatten)]
        target: Target,
    },
    /// Send charges to the queue: JSON lines, each an operation of POST /v1/charges/batch
    Send {
        /// The file; without it, standard input
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Which stack
        #[command(flatten)]
        target: Target,
    },
    /// Print an account's journal, entry by entry, as JSON lines, and verify its hashes
    Journal {
        /// Whose
        #[arg(long)]
        account: String,
        /// This entry only
        #[arg(long)]
        seq: Option<u64>,
        /// Which table
        #[command(flatten)]
        store: Store,
    },
    /// Make what a new deployment lacks: the webhook's secret, the token key, a first API key.
    /// Region, credentials, UC_TABLE and UC_STACK come from the environment
    Bootstrap,
    /// Make the table, what a deployment lacks, and the example data, on other emulators
    Seed {
        /// Where the DynamoDB is, such as http://127.0.0.1:8000
        #[arg(long, value_name = "URL")]
        dynamodb: String,
        /// Where SSM is, such as http://127.0.0.1:4583
        #[arg(long, value_name = "URL")]
        ssm: String,
        /// The port of the API that runs on them, for the other commands
        #[command(flatten)]
        target: Target,
    },
    /// Run the SSM Parameter Store alone, for functions that run elsewhere
    Ssm {
        /// The port; 0 takes any free one
        #[arg(long)]
        port: u16,
        /// Keep the parameters in this directory
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Throttle at an AWS account's quotas: 3 writes, 40 reads a second
        #[arg(long)]
        ssm_quotas: bool,
    },
}

/// Reads a number and a unit, `s`, `m`, `h` or `d`, as seconds. A plus sign may stand before it.
fn seconds(text: &str) -> Result<i64, String> {
    let usage = || "a whole number and s, m, h or d, such as +31d".to_owned();
    let text = text.strip_prefix('+').unwrap_or(text);
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(usage)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(usage()),
    };
    if !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(usage());
    }
    let number: i64 = number.parse().map_err(|_| usage())?;
    number.checked_mul(unit).ok_or_else(usage)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        for (text, expected) in [
            ("+31d", Some(2_678_400)),
            ("2h", Some(7_200)),
            ("+15m", Some(900)),
            ("+30s", Some(30)),
            ("+0s", Some(0)),
            ("", None),
            ("+", None),
            ("d", None),
            ("31", None),
            ("-1d", None),
            ("++1d", None),
            ("1.5h", None),
            ("1é", None),
            ("99999999999999999d", None),
        ] {
            assert_eq!(seconds(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        for (line, accepted) in [
            ("", true),
            ("--port 9001 --data d", true),
            ("token --scope charge,read", true),
            ("token --scope read --account a --actor x --ttl 1h", true),
            ("token --scope read --ttl 1h", false),
            ("token", false),
            ("pay --account a --credits 100", true),
            ("pay --account a", false),
            ("pay --payment p --refund", true),
            ("pay --payment p --refund --credits 100", false),
            ("pay --refund", false),
            ("clock +31d", true),
            ("clock tomorrow", false),
            ("schedule --port 9001", true),
            ("send charges.jsonl", true),
            ("send --port 9001", true),
            ("ssm", false),
        ] {
            let arguments = std::iter::once("cargo local").chain(line.split_whitespace());
            assert_eq!(Cli::try_parse_from(arguments).is_ok(), accepted, "{line}");
        }
    }
}
