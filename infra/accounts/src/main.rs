//! `cargo accounts`: brings the balances of another system in.
#![expect(clippy::doc_markdown, reason = "doc comments here are the help text")]

use std::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use account_tools::Deployment;
use clap::{Args, Parser, Subcommand};

/// The largest file that is read.
const MAX_FILE: u64 = 256 << 20;

/// Works on the accounts of a deployment, over its API.
#[derive(Debug, Parser)]
#[command(name = "account-tools", bin_name = "cargo accounts", version)]
struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
    /// Bring balances in from a CSV file with a header: account, credits (negative: a debt),
    /// and if wanted expires_at, source, reason, id
    ///
    /// The same file again brings in what is missing and nothing twice. Rows that are wrong are
    /// named by their line and change nothing; then it ends with 1.
    Import {
        /// The file
        file: PathBuf,
        /// Only look at what would happen
        #[arg(long)]
        dry_run: bool,
        /// Which deployment
        #[command(flatten)]
        target: Target,
    },
}

/// A deployment.
#[derive(Debug, Args)]
struct Target {
    /// The address of the deployment's API
    #[arg(long, env = "UC_URL", default_value = "http://127.0.0.1:9000")]
    url: String,
    /// An API key with the scopes grant, charge and read; better in the environment than on the
    /// command line
    #[arg(long, env = "UC_API_KEY", hide_env_values = true)]
    key: Option<String>,
}

fn main() -> ExitCode {
    match act(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("accounts: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether every row is in.
fn act(command: Command) -> Result<bool, Box<dyn Error>> {
    let Command::Import { file, dry_run, target } = command;
    let key = target.key.as_ref().ok_or("name an API key in UC_API_KEY or by --key")?;
    let deployment = Deployment::new(&target.url, key);
    let named = |error: &dyn Error| format!("{}: {error}", file.display());
    let bytes = read(&file).map_err(|error| named(&error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{} is larger than {MAX_FILE} bytes", file.display()).into());
    }
    let summary =
        account_tools::import(&deployment, &bytes, dry_run).map_err(|error| named(&error))?;
    for failed in &summary.failed {
        eprintln!("{failed}");
    }
    println!("{}", summary.text(dry_run));
    Ok(summary.failed.is_empty())
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
