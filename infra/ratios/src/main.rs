//! `cargo ratios`: ratio tables out of providers' prices, and between deployments.

mod base;
mod cli;
mod diff;
mod remote;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use serde_json::{Value, json};
use uc_calculator::costs::{Omitted, ProviderCosts};
use uc_calculator::{Calculation, CalculatorSettings, calculate, import, output};
use uc_domain::ratios::{RatioTable, TableDiff};

use crate::cli::{Cli, Command, Format, Target};
use crate::remote::{Deployment, RemoteError};

/// Most reasons that are listed.
const MAX_REASONS: usize = 20;
/// The largest file that is read.
const MAX_FILE: u64 = 64 << 20;

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    match act(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format_args!("ratios: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn act(command: Command) -> Result<(), Failure> {
    match command {
        Command::Import { source, from, out, only, list } => {
            let bytes = read(&source)?;
            let mut costs = match from {
                Format::Litellm => import::litellm::import(&bytes),
                Format::GenaiPrices => import::genai::import(&bytes),
                Format::Csv => import::csv::import(&bytes),
            }
            .map_err(|error| format!("{}: {error}", source.display()))?;
            if !only.is_empty() {
                costs.models.retain(|id, _| only.iter().any(|prefix| id.starts_with(prefix)));
            }
            write(&out, costs.to_json().as_bytes())?;
            let rows: usize = costs.models.values().map(|model| model.costs.len()).sum();
            tell(format_args!("{} models with {rows} costs", costs.models.len()));
            let (noted, left_out): (Vec<_>, Vec<_>) =
                costs.omitted.iter().partition(|omitted| omitted.is_taken_over());
            say("left out", &left_out, list);
            say("noted", &noted, list);
            Ok(())
        }
        Command::Calculate { costs, settings, credit_price, margin, out, csv, xlsx } => {
            let costs = ProviderCosts::from_json(&read(&costs)?)
                .map_err(|error| format!("{}: {error}", costs.display()))?;
            let settings = match settings {
                Some(path) => serde_json::from_slice(&read(&path)?)
                    .map_err(|error| format!("{}: {error}", path.display()))?,
                None => simple_settings(&costs, credit_price, margin)?,
            };
            let calculation = calculate(&costs, &settings)?;
            if let Some(path) = csv {
                write(&path, output::csv(&calculation).as_bytes())?;
            }
            if let Some(path) = xlsx {
                write(&path, &output::workbook(&calculation)?)?;
            }
            write(&out, &pretty(&calculation.table.to_json()))?;
            // What the import left out was said before.
            let new: Vec<_> = calculation.omitted.iter().skip(costs.omitted.len()).collect();
            say("left out", &new, true);
            report(&calculation);
            Ok(())
        }
        Command::Diff { old, new, json, target } => {
            let file = Path::new(&new);
            let ((old, from), (new, to)) = (named(&old, &target)?, named(&new, &target)?);
            if let Origin::Current(version) = from {
                tell(format_args!("version {version} is in force"));
                if to == Origin::File {
                    remember(file, &target, version);
                }
            }
            let mut shown = if json {
                pretty(&serde_json::to_value(TableDiff::between(&old, &new))?)
            } else {
                diff::lines(&old, &new).join("\n").into_bytes()
            };
            if !shown.ends_with(b"\n") {
                shown.push(b'\n');
            }
            write(Path::new("-"), &shown)
        }
        Command::Pull { version, out, target } => {
            let pulled = deployment(&target)?.pull(version)?;
            write(&out, &pretty(&pulled.table))?;
            tell(format_args!("version {}", pulled.version));
            if version.is_none() {
                remember(&out, &target, pulled.version);
            }
            Ok(())
        }
        Command::Push { table: path, over, no_lock, target } => {
            let table = table(&path)?.to_json();
            let deployment = deployment(&target)?;
            let over = match over.or_else(|| base::of(&path, &target.url)) {
                Some(over) => over,
                // Where nothing is published nothing is overwritten.
                None => match deployment.current()? {
                    0 => 0,
                    current => return Err(unseen(&path, current).into()),
                },
            };
            let progress = |progress: &str| tell(format_args!("{progress}"));
            let version =
                deployment.push(&table, over, !no_lock, progress).map_err(|error| match error {
                    RemoteError::Superseded(_) => format!("{error}\n{}", look_again(&path)).into(),
                    other => Failure::from(other),
                })?;
            remember(&path, &target, version);
            write(Path::new("-"), format!("version {version} is in force\n").as_bytes())
        }
    }
}

/// Why a push without `--over` does not happen.
fn unseen(path: &Path, current: u64) -> String {
    let path = path.display();
    format!(
        "version {current} is in force, and {path} was never compared with it: see what would \
         change by `ratios diff current {path}`, or say that it replaces this version by \
         `--over {current}`"
    )
}

/// What to do where another version is in force than the one that is to be replaced.
fn look_again(path: &Path) -> String {
    let path = path.display();
    format!("see what was published meanwhile by `ratios diff current {path}`, then push again")
}

/// Remembers beside the table which version is in force.
fn remember(table: &Path, target: &Target, version: u64) {
    if let Err(error) = base::remember(table, &target.url, version) {
        tell(format_args!(
            "a push of {} needs `--over {version}`: which version this is can't be written beside \
             it ({error})",
            table.display()
        ));
    }
}

fn deployment(target: &Target) -> Result<Deployment, Failure> {
    let key = target.key.as_ref().ok_or("name an API key in UC_API_KEY or by --key")?;
    Ok(Deployment::new(&target.url, key))
}

/// The settings of a command line without a file: what most need first.
fn simple_settings(
    costs: &ProviderCosts,
    credit_price: Option<String>,
    margin: Option<String>,
) -> Result<CalculatorSettings, Failure> {
    let settings = json!({
        "credit_price": {"amount": credit_price, "currency": costs.currency},
        "margins": {"default": margin},
    });
    Ok(serde_json::from_value(settings)?)
}

/// Where a table is from.
#[derive(PartialEq, Eq)]
enum Origin {
    File,
    Version,
    /// The version in force.
    Current(u64),
}

/// A table by a file's name, a version, or `current`.
fn named(name: &str, target: &Target) -> Result<(RatioTable, Origin), Failure> {
    let version = match name {
        "current" => None,
        _ => match name.parse() {
            Ok(version) => Some(version),
            Err(_) => return Ok((table(Path::new(name))?, Origin::File)),
        },
    };
    let pulled = deployment(target)?.pull(version)?;
    let origin = version.map_or(Origin::Current(pulled.version), |_| Origin::Version);
    Ok((RatioTable::from_json(&pulled.table)?, origin))
}

/// A complete table from a file.
fn table(path: &Path) -> Result<RatioTable, Failure> {
    let value: Value = serde_json::from_slice(&read(path)?)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    RatioTable::from_json(&value).map_err(|error| {
        let faults = error.faults().iter().map(|f| format!("\n  {}: {}", f.pointer, f.detail));
        format!("{}: {}", path.display(), faults.collect::<String>()).into()
    })
}

/// Says something on standard error; whether anybody reads it changes nothing of what is done.
fn tell(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{what}");
}

/// What was left out or changed: how often for which reason, or each.
fn say(what: &str, said: &[&Omitted], each: bool) {
    if said.is_empty() {
        return;
    }
    tell(format_args!("{} {what}{}", said.len(), if each { ":" } else { " (--list shows each):" }));
    if each {
        for Omitted { model, field, reason } in said {
            let field = field.as_ref().map(|field| format!(" {field}")).unwrap_or_default();
            tell(format_args!("  {model}{field}: {reason}"));
        }
        return;
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for omitted in said {
        *reasons.entry(&omitted.reason).or_default() += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(reason, count)| (usize::MAX - count, *reason));
    for (reason, count) in reasons.iter().take(MAX_REASONS) {
        tell(format_args!("  {count:>5}  {reason}"));
    }
    if let Some(more) = reasons.len().checked_sub(MAX_REASONS).filter(|more| *more > 0) {
        tell(format_args!("         and {more} more reasons"));
    }
}

/// The margin check: what every row leaves, and what the operator should look at.
fn report(calculation: &Calculation) {
    let rows: usize = calculation.models.values().map(|model| model.rows.len()).sum();
    tell(format_args!("{} models with {rows} ratios", calculation.models.len()));
    let worst = calculation
        .models
        .iter()
        .filter_map(|(id, model)| Some((id, model.worst.as_ref()?)))
        .min_by_key(|(_, worst)| worst.margin);
    if let Some((id, worst)) = worst {
        tell(format_args!(
            "worst margin {}: {id}, {}, group {}",
            worst.margin, worst.dimension, worst.group
        ));
    }
    for plan in &calculation.plans {
        let price = format!("{} {}", plan.price.amount, plan.price.currency);
        match (plan.affordable, &plan.worst) {
            (Some(affordable), Some(worst)) => tell(format_args!(
                "plan {} gives {} credits for {price}, can afford {affordable} (all spent on {}, {})",
                plan.plan, plan.credits, worst.model, worst.dimension
            )),
            _ => {
                tell(format_args!("plan {} gives {} credits for {price}", plan.plan, plan.credits));
            }
        }
    }
    for warning in &calculation.warnings {
        tell(format_args!("warning: {warning}"));
    }
}

fn pretty(value: &Value) -> Vec<u8> {
    let mut text =
        serde_json::to_vec_pretty(value).expect("keys are texts, and nothing else fails");
    text.push(b'\n');
    text
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let named = |error: io::Error| format!("{}: {error}", path.display());
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(named)?;
    } else {
        fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
            .map_err(named)?;
    }
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{} is larger than {MAX_FILE} bytes", path.display()).into());
    }
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let named = |error: io::Error| format!("{}: {error}", path.display());
    if path == Path::new("-") {
        match io::stdout().write_all(bytes) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(named)?,
        }
    } else {
        fs::write(path, bytes).map_err(named)?;
    }
    Ok(())
}
