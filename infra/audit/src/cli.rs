//! The command line: `audit` and its commands.
#![expect(clippy::doc_markdown, reason = "doc comments here are the help text")]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Parser, Subcommand};

/// Recomputes journals from their first entries, and says where the first difference is.
///
/// Ends with 0 where everything is right, 1 where something differs, 2 where it could not look.
#[derive(Debug, Parser)]
#[command(name = "audit", bin_name = "cargo audit-ledger", version)]
pub struct Cli {
    /// What to look at.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Audit an export of a table: files in DynamoDB's JSON format, gzipped or not, or directories
    /// of them
    Export {
        /// Files and directories
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// How
        #[command(flatten)]
        options: Options,
    },
    /// Audit the accounts of a table, by its directory. Region, credentials and endpoint come from
    /// the environment, as the AWS SDKs read it
    Table {
        /// The table; UC_TABLE where not given
        #[arg(long)]
        table: Option<String>,
        /// How
        #[command(flatten)]
        options: Options,
    },
    /// Write an export of made-up accounts, to measure with
    #[command(hide = true)]
    Generate {
        /// Journal entries in all
        #[arg(long, default_value_t = 1_000_000)]
        entries: u64,
        /// Accounts that share them
        #[arg(long, default_value_t = 1_000)]
        accounts: u32,
        /// The same seed gives the same operations
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where it goes; gzipped where the name ends in .gz
        out: PathBuf,
    },
}

/// How to audit.
#[derive(Debug, Args)]
pub struct Options {
    /// Keep in this file how far the audit is, and go on from there; removed at the end. An
    /// export's sorted parts are kept in a directory beside it until then
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// How many journals at once [default: the processors]
    #[arg(long, value_name = "N", default_value_t = processors())]
    pub parallel: NonZeroUsize,
    /// A public key that checkpoints may be signed with, as <id>.<base64url>; may be given several
    /// times. Without one, those that are in the table: then who can write the table could have
    /// put a key of their own there
    #[arg(long = "key", value_name = "KEY")]
    pub keys: Vec<PublicKey>,
    /// Nothing to look at is right as well. Else the audit fails where there is no account: the
    /// place may be a wrong one
    #[arg(long)]
    pub allow_empty: bool,
}

impl Options {
    /// The keys that the caller trusts, by their ids.
    pub(crate) fn trusted(&self) -> BTreeMap<String, [u8; 32]> {
        self.keys.iter().map(|key| (key.kid.clone(), key.key)).collect()
    }
}

fn processors() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// A public key and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The id in the signatures.
    pub kid: String,
    /// The Ed25519 key.
    pub key: [u8; 32],
}

impl FromStr for PublicKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let usage = "a key is <id>.<32 bytes in base64url>";
        let (kid, key) = text.split_once('.').ok_or(usage)?;
        let key = URL_SAFE_NO_PAD.decode(key).ok().and_then(|key| key.try_into().ok());
        Ok(Self { kid: kid.to_owned(), key: key.ok_or(usage)? })
    }
}
