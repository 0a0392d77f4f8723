//! The command line: `ratios` and its commands.
#![expect(clippy::doc_markdown, reason = "doc comments here are the help text")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Makes ratio tables from what providers ask, and carries them between deployments.
///
/// import -> calculate -> diff -> push: costs from a price list, a table with a margin, what it
/// would change, and its publication. Files and `-` (standard input or output) may be named.
#[derive(Debug, Parser)]
#[command(name = "ratios", bin_name = "cargo ratios", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A deployment.
#[derive(Debug, Args)]
pub struct Target {
    /// The address of the deployment's API
    #[arg(long, env = "UC_URL", default_value = "http://127.0.0.1:9000")]
    pub url: String,
    /// An API key with the scope ratios:admin; better in the environment than on the command line
    #[arg(long, env = "UC_API_KEY", hide_env_values = true)]
    pub key: Option<String>,
}

/// What a price list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// LiteLLM's model_prices_and_context_window.json
    Litellm,
    /// genai-prices' data.json
    GenaiPrices,
    /// A line a price: model, provider, feature, dimension, cost, currency, per, when, name
    Csv,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read a price list, write providers' costs in the terms of ratio tables
    Import {
        /// The price list
        source: PathBuf,
        /// What it is
        #[arg(long, value_enum)]
        from: Format,
        /// Where the costs go, as JSON
        #[arg(long, default_value = "-")]
        out: PathBuf,
        /// Only models whose id begins so; may be given several times
        #[arg(long, value_name = "PREFIX")]
        only: Vec<String>,
        /// Print every part that could not be taken over, and not only how many for which reason
        #[arg(long)]
        list: bool,
    },
    /// Make a complete ratio table of costs, with the price of a credit and margins
    Calculate {
        /// The costs that `import` wrote
        costs: PathBuf,
        /// The settings as a JSON file: price of a credit, margins, groups, plans
        #[arg(long, required_unless_present_all = ["credit_price", "margin"])]
        settings: Option<PathBuf>,
        /// What a buyer pays for one credit, such as 0.001
        #[arg(long, requires = "margin", conflicts_with = "settings")]
        credit_price: Option<String>,
        /// The share of each price that is to remain, such as 0.3
        #[arg(long, requires = "credit_price", conflicts_with = "settings")]
        margin: Option<String>,
        /// Where the table goes, as JSON
        #[arg(long, default_value = "-")]
        out: PathBuf,
        /// Where cost, price and margin of every row go, as CSV
        #[arg(long)]
        csv: Option<PathBuf>,
        /// Where the spreadsheet with live formulas goes
        #[arg(long)]
        xlsx: Option<PathBuf>,
    },
    /// Tell what differs between two tables: files, `current`, or versions such as 3
    ///
    /// Of `diff current FILE` the version in force is kept in FILE.base: a push of FILE replaces
    /// that version, and no other one.
    Diff {
        /// The old table
        old: String,
        /// The new table
        new: String,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Where versions are
        #[command(flatten)]
        target: Target,
    },
    /// Write the table of a deployment to a file
    ///
    /// Without --version, the version in force is kept in OUT.base, as by `diff`.
    Pull {
        /// Which version; without it, the one in force
        #[arg(long)]
        version: Option<u64>,
        /// Where the table goes, as JSON
        #[arg(long, default_value = "-")]
        out: PathBuf,
        /// Which deployment
        #[command(flatten)]
        target: Target,
    },
    /// Publish a table, and wait until it is in force
    Push {
        /// The table
        table: PathBuf,
        /// Which version it replaces; without it, the one that `diff current`, `pull` or `push` last
        /// saw with this file. Where another one is in force by now, nothing is published
        #[arg(long)]
        over: Option<u64>,
        /// End at once that charges may name older versions: for a wrong price
        #[arg(long)]
        no_lock: bool,
        /// Which deployment
        #[command(flatten)]
        target: Target,
    },
}
