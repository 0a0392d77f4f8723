//! `cargo ratios`: ratio tables out of providers' prices, and between deployments.

mod cli;
mod diff;
mod remote;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use serde_json::{Value, json};
use uc_calculator::calculation::Warning;
use uc_calculator::costs::{Omitted, ProviderCosts};
use uc_calculator::{Calculation, CalculatorSettings, calculate, import, output};
use uc_domain::ratios::{RatioTable, TableDiff};

use crate::cli::{Cli, Command, Format, Target};
use crate::remote::Deployment;

/// Most reasons that are listed.
const MAX_REASONS: usize = 20;
/// The largest file that is read.
const MAX_FILE: u64 = 64 << 20;

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    match act(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ratios: {error}");
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
            let rows: usize = costs.models.values().map(|model| model.costs.len()).sum();
            eprintln!("{} models with {rows} costs", costs.models.len());
            let (noted, left_out): (Vec<_>, Vec<_>) =
                costs.omitted.iter().partition(|omitted| omitted.is_taken_over());
            say("left out", &left_out, list);
            say("noted", &noted, list);
            write(&out, costs.to_json().as_bytes())
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
            // What the import left out was said before.
            let new: Vec<_> = calculation.omitted.iter().skip(costs.omitted.len()).collect();
            say("left out", &new, true);
            report(&calculation);
            if let Some(path) = csv {
                write(&path, output::csv(&calculation).as_bytes())?;
            }
            if let Some(path) = xlsx {
                write(&path, &output::workbook(&calculation)?)?;
            }
            write(&out, &pretty(&calculation.table.to_json()))
        }
        Command::Diff { old, new, json, target } => {
            let (old, new) = (named(&old, &target)?, named(&new, &target)?);
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
            eprintln!("version {}", pulled.version);
            write(&out, &pretty(&pulled.table))
        }
        Command::Push { table, over, no_lock, target } => {
            let table = self::table(&table)?.to_json();
            let deployment = deployment(&target)?;
            let over = match over {
                Some(over) => over,
                None => deployment.current()?,
            };
            let version =
                deployment.push(&table, over, !no_lock, |progress| eprintln!("{progress}"))?;
            println!("version {version} is in force");
            Ok(())
        }
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

/// A table by a file's name, a version, or `current`.
fn named(name: &str, target: &Target) -> Result<RatioTable, Failure> {
    let version = match name {
        "current" => None,
        _ => match name.parse() {
            Ok(version) => Some(version),
            Err(_) => return table(Path::new(name)),
        },
    };
    let pulled = deployment(target)?.pull(version)?;
    Ok(RatioTable::from_json(&pulled.table)?)
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

/// What was left out or changed: how often for which reason, or each.
fn say(what: &str, said: &[&Omitted], each: bool) {
    if said.is_empty() {
        return;
    }
    eprintln!("{} {what}{}", said.len(), if each { ":" } else { " (--list shows each):" });
    if each {
        for Omitted { model, field, reason } in said {
            let field = field.as_ref().map(|field| format!(" {field}")).unwrap_or_default();
            eprintln!("  {model}{field}: {reason}");
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
        eprintln!("  {count:>5}  {reason}");
    }
    if let Some(more) = reasons.len().checked_sub(MAX_REASONS).filter(|more| *more > 0) {
        eprintln!("         and {more} more reasons");
    }
}

/// The margin check: what every row leaves, and what the operator should look at.
fn report(calculation: &Calculation) {
    let rows: usize = calculation.models.values().map(|model| model.rows.len()).sum();
    eprintln!("{} models with {rows} ratios", calculation.models.len());
    let worst = calculation
        .models
        .iter()
        .filter_map(|(id, model)| Some((id, model.worst.as_ref()?)))
        .min_by_key(|(_, worst)| worst.margin);
    if let Some((id, worst)) = worst {
        eprintln!(
            "worst margin {}: {id}, {}, group {}",
            worst.margin, worst.dimension, worst.group
        );
    }
    for plan in &calculation.plans {
        let price = format!("{} {}", plan.price.amount, plan.price.currency);
        match (plan.affordable, &plan.worst) {
            (Some(affordable), Some(worst)) => eprintln!(
                "plan {} gives {} credits for {price}, can afford {affordable} (all spent on {}, {})",
                plan.plan, plan.credits, worst.model, worst.dimension
            ),
            _ => eprintln!("plan {} gives {} credits for {price}", plan.plan, plan.credits),
        }
    }
    for warning in &calculation.warnings {
        eprintln!("warning: {}", said_of(warning));
    }
}

fn said_of(warning: &Warning) -> String {
    let few = |models: &[String]| {
        let shown = models.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let more = models.len().saturating_sub(3);
        if more == 0 { shown } else { format!("{shown} and {more} more") }
    };
    match warning {
        Warning::PlanOverCost { plan, model, credits, affordable } => format!(
            "plan {plan} gives {credits} credits and can afford {affordable} where all are spent \
             on {model}"
        ),
        Warning::UnderCost { group, multiplier, models } => {
            format!(
                "group {group} pays {multiplier} of the price, under the cost of {}",
                few(models)
            )
        }
        Warning::FreeGroup { group, models } => {
            format!("group {group} pays nothing for {}", few(models))
        }
        Warning::RoundedSums { rounding } => {
            format!("sums are rounded {rounding:?}: small requests can cost less than their lines")
        }
        Warning::UnusedSetting { pointer } => {
            format!("the costs have nothing that {pointer} of the settings is about")
        }
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
        io::stdout().write_all(bytes).map_err(named)?;
    } else {
        fs::write(path, bytes).map_err(named)?;
    }
    Ok(())
}
