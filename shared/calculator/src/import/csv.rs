//! Provider costs as CSV (RFC 4180): one price a record.
//!
//! | column | what |
//! |---|---|
//! | `model` | the model's id in the table |
//! | `provider` | who asks it |
//! | `feature` | of the model: `text`, `image` ... |
//! | `dimension` | what is counted |
//! | `cost` | a decimal, for `per` units |
//! | `currency` | three capital letters, the same in every record |
//! | `per` | a power of ten; 1 where empty or without the column |
//! | `when` | conditions as in a ratio table: JSON, or equalities such as `size=1024x1024;quality=hd` |
//! | `name` | of the model, for people |
//!
//! The header is required and names the columns in any order; an unknown one is refused. `per`,
//! `when` and `name` may be left out. Of one model, all records have the same provider and feature.
//! A feature requires what all its models always have a price for.

use std::collections::HashMap;

use ::csv::{ReaderBuilder, StringRecord, Trim};
use serde_json::{Map, Value};
use uc_domain::ratios::{Conditions, Per, is_label, is_name};

use super::json::Object;
use super::price::{Price, PriceError};
use super::{Collector, Draft, ImportError, Kind, MAX_BYTES, echo, row};
use crate::costs::{CostRow, ProviderCosts};
use crate::quoting::{Quoting, STRAY_QUOTE};

/// Most records: 10,000 models of 256 rows would be more than the bytes allow.
const MAX_RECORDS: usize = 200_000;
/// Longest field, in bytes.
const MAX_FIELD: usize = 4_096;

/// The columns, the required ones first.
const COLUMNS: [&str; 9] =
    ["model", "provider", "feature", "dimension", "cost", "currency", "per", "when", "name"];
const REQUIRED: usize = 6;

/// Reads costs from CSV.
///
/// # Errors
/// [`ImportError`] with the line, for everything but models whose name can't be one, or whose rows
/// contradict each other: those are in [`ProviderCosts::omitted`].
pub fn import(source: &[u8]) -> Result<ProviderCosts, ImportError> {
    if source.len() > MAX_BYTES {
        return Err(ImportError::TooLarge);
    }
    let source = source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source);
    let quoting = Quoting::of(source);
    let mut reader = ReaderBuilder::new().trim(Trim::Headers).from_reader(source);
    let header = reader.headers().map_err(|error| failed(&error))?.clone();
    let columns = Columns::of(&header)?;

    let mut currency: Option<String> = None;
    let mut drafts: Vec<Draft> = Vec::new();
    let mut by_model: HashMap<String, usize> = HashMap::new();
    let mut rounded = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let mut record = record.map_err(|error| failed(&error))?;
        let line = record.position().map_or(0, ::csv::Position::line);
        let wrong = |detail: String| ImportError::syntax(format!("line {line}"), detail);
        if number == MAX_RECORDS {
            return Err(wrong(format!("more than {MAX_RECORDS} records")));
        }
        if !quoting.is_clean(&record) {
            return Err(wrong(STRAY_QUOTE.to_owned()));
        }
        record.trim();
        if let Some(long) = record.iter().find(|field| field.len() > MAX_FIELD) {
            return Err(wrong(format!("{:?} is longer than {MAX_FIELD} bytes", echo(long))));
        }
        let field = |column: usize| columns.0[column].and_then(|n| record.get(n)).unwrap_or("");
        for (column, name) in COLUMNS.iter().enumerate().take(REQUIRED) {
            if field(column).is_empty() {
                return Err(wrong(format!("{name} is empty")));
            }
        }
        let [model, provider, feature, dimension, cost, unit, per, when, name] =
            std::array::from_fn(field);
        match &currency {
            None if unit.len() == 3 && unit.bytes().all(|b| b.is_ascii_uppercase()) => {
                currency = Some(unit.to_owned());
            }
            None => return Err(wrong("a currency is three capital letters".to_owned())),
            Some(first) if first == unit => {}
            Some(first) => {
                let both = format!("{:?} beside {first:?}: one currency for all", echo(unit));
                return Err(wrong(both));
            }
        }
        if !is_label(feature) {
            return Err(wrong("a feature has 1 to 64 characters of A-Z a-z 0-9 _ . -".to_owned()));
        }
        if !is_name(dimension) {
            return Err(wrong("a dimension has 1 to 64 characters of a-z 0-9 _".to_owned()));
        }
        let (cost, was_rounded) = read_cost(dimension, cost, per).map_err(wrong)?;
        if was_rounded {
            rounded.push((model.to_owned(), dimension.to_owned()));
        }
        let cost = CostRow { when: read_when(when).map_err(wrong)?, ..cost };

        let index = *by_model.entry(model.to_owned()).or_insert(drafts.len());
        match drafts.get_mut(index) {
            None => drafts.push(Draft {
                source: model.to_owned(),
                id: model.to_owned(),
                provider: provider.to_owned(),
                name: Some(name.to_owned()).filter(|name| !name.is_empty()),
                kind: Kind::Feature(feature.to_owned()),
                aliases: Vec::new(),
                starts_with: Vec::new(),
                costs: vec![cost],
            }),
            Some(draft) => {
                let Kind::Feature(first) = &draft.kind else { unreachable!("made above") };
                if draft.provider != provider || first != feature {
                    return Err(wrong(format!(
                        "{:?} has another provider or feature in an earlier line",
                        echo(model)
                    )));
                }
                if draft.name.is_none() && !name.is_empty() {
                    draft.name = Some(name.to_owned());
                }
                draft.costs.push(cost);
            }
        }
    }

    let currency = currency.ok_or_else(|| ImportError::syntax("line 2", "there is no record"))?;
    let mut collector = Collector::new(&currency);
    for (model, dimension) in rounded {
        collector.note(&model, Some(&dimension), super::ROUNDED);
    }
    for draft in drafts {
        collector.push(draft)?;
    }
    Ok(collector.finish())
}

/// Where each of [`COLUMNS`] is.
struct Columns([Option<usize>; COLUMNS.len()]);

impl Columns {
    fn of(header: &StringRecord) -> Result<Self, ImportError> {
        let wrong = |detail: String| ImportError::syntax("line 1", detail);
        let mut columns = [None; COLUMNS.len()];
        for (n, name) in header.iter().enumerate() {
            let column = COLUMNS.iter().position(|known| *known == name).ok_or_else(|| {
                wrong(format!("unknown column {:?}; known are {COLUMNS:?}", echo(name)))
            })?;
            if columns[column].replace(n).is_some() {
                return Err(wrong(format!("the column {name:?} is there twice")));
            }
        }
        match columns.iter().take(REQUIRED).position(Option::is_none) {
            Some(missing) => Err(wrong(format!("the column {:?} is missing", COLUMNS[missing]))),
            None => Ok(Self(columns)),
        }
    }
}

fn failed(error: &::csv::Error) -> ImportError {
    let line = error.position().map_or(1, ::csv::Position::line);
    ImportError::syntax(format!("line {line}"), error)
}

/// The row without its conditions, and whether the cost was rounded.
fn read_cost(dimension: &str, cost: &str, per: &str) -> Result<(CostRow, bool), String> {
    let units = if per.is_empty() { Ok(1) } else { per.parse() };
    let per = units
        .ok()
        .and_then(Per::from_units)
        .ok_or("per is a power of ten from 1 to 1000000000000")?;
    let wrong = |error: PriceError| format!("the cost {:?}: {error}", echo(cost));
    let read = Price::read(cost, per.exponent()).map_err(wrong)?;
    // As the operator wrote it, not by the million as the other imports.
    let row = CostRow { amount: read.price.amount(per), per, ..row(dimension, read.price, None) };
    Ok((row, read.rounded))
}

fn read_when(text: &str) -> Result<Option<Conditions>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let json = if text.starts_with('{') {
        serde_json::from_str::<Object<'_>>(text).map_err(|error| error.to_string())?;
        text.to_owned()
    } else {
        let mut equalities = Map::new();
        for pair in text.split(';') {
            let (name, value) = pair
                .split_once('=')
                .ok_or("conditions are JSON, or equalities such as size=1024x1024;quality=hd")?;
            let value = Value::from(value.trim());
            if equalities.insert(name.trim().to_owned(), value).is_some() {
                return Err(format!("{:?} is there twice", echo(name.trim())));
            }
        }
        Value::Object(equalities).to_string()
    };
    Conditions::from_text(&json).map(Some).map_err(|error| error.to_string())
}
