//! From bounds of quantities to bounds of credits.
//!
//! More usage can cost less: past a threshold all of a request takes another row, and that may be
//! a cheaper one. So the ends of the bounds are not the ends of the credits. But between two
//! thresholds every row stays the same, and there more costs more. The box of all usages within
//! the bounds is therefore cut at the thresholds, and each cell is priced at its lowest and its
//! highest corner by the rows that hold inside of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bounds, Unsaid};
use crate::ratios::{
    Conditions, Model, PROMPT_TOKENS, Parameters, Rated, RatingError, RatioTable, Request, Usage,
    is_prompt_tokens,
};
use crate::{Credits, Quantity};

/// Into how many cells bounds may be cut.
const MAX_CELLS: usize = 256;
/// How many cells are priced at most, over all combinations of what is not said.
const MAX_PRICED: usize = 1_024;
/// Most times the expected credits that the most may be, where the request caps its output.
const CAPPED: i128 = 3;

/// What a request would cost: `min <= expected <= max`.
#[derive(Debug, Clone, PartialEq)]
pub struct Priced {
    /// At least.
    pub min: Credits,
    /// At most.
    pub max: Credits,
    /// At the expected usage.
    pub expected: Rated,
    /// Whether more than the expected usage was taken for the expected one, because the most would
    /// have been over three times as much.
    pub is_raised: bool,
    /// Parameters that are not said and that prices depend on, by dimension: the bounds cover all
    /// of their values.
    pub unsaid: BTreeMap<String, Vec<String>>,
}

/// Why a request can't be priced before the fact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// What rating refuses.
    #[error(transparent)]
    Rating(#[from] RatingError),
    /// The bounds reach over too many thresholds of the model.
    #[error("the bounds reach over more than {MAX_CELLS} combinations of tiers: narrow them")]
    TooManyTiers,
    /// The price depends on too much that is not said.
    #[error("the price depends on too many combinations of {names}: say them")]
    TooMuchUnsaid {
        /// The parameters, with commas.
        names: String,
    },
}

/// What a request would cost whose quantities are only known to lie within bounds. The usage of
/// `request` is not looked at. With `capped` the most is at most three times what is expected
/// wherever some usage within the bounds lets it be. Parameters that the request leaves out are
/// whatever `unsaid` lets them be: it is expected to cost what it does without them.
///
/// # Errors
/// See [`PriceError`].
pub fn price(
    table: &RatioTable,
    request: &Request<'_>,
    bounds: &BTreeMap<String, Bounds>,
    capped: bool,
    unsaid: &Unsaid,
) -> Result<Priced, PriceError> {
    let at = |of: fn(Bounds) -> Quantity| -> Usage {
        bounds.iter().map(|(name, bounds)| (name.clone(), of(*bounds))).collect()
    };
    let rate = |usage: &Usage, parameters: &Parameters| {
        table.rate(&Request { usage, parameters, ..*request })
    };
    let expected = rate(&at(Bounds::expected), request.parameters)?;
    let model = table.resolve(request.model).map(|resolved| resolved.model);
    let model = model.expect("what was rated has a model");
    let open = unsaid.of(table, model, request.parameters)?;
    let mut priced = Priced {
        min: expected.credits,
        max: expected.credits,
        expected,
        is_raised: false,
        unsaid: open.names,
    };
    if open.combinations.len() == 1 && bounds.values().all(|bounds| bounds.is_known()) {
        return Ok(priced);
    }
    let cells = cells(model, bounds)?;
    if cells.len() * open.combinations.len() > MAX_PRICED {
        let names: BTreeSet<String> = priced.unsaid.into_values().flatten().collect();
        return Err(PriceError::TooMuchUnsaid { names: Vec::from_iter(names).join(", ") });
    }
    let mut dearest = None;
    for cell in cells {
        let Some(Corners { low, high, inside, top }) = cell.corners(bounds) else { continue };
        for parameters in &open.combinations {
            let rate = |usage| table.rate_as(&Request { usage, parameters, ..*request }, &inside);
            priced.min = priced.min.min(rate(&low)?.credits);
            let most = rate(&high)?.credits;
            if most > priced.max || dearest.is_none() {
                priced.max = priced.max.max(most);
                dearest = Some((top.clone(), parameters));
            }
        }
    }
    if capped {
        let is_enough = |rated: &Rated| priced.max.micros() <= CAPPED * rated.credits.micros();
        let raised = (1..=4).map(|quarters| {
            let raised = |bounds: &Bounds| between(*bounds, quarters);
            let usage = bounds.iter().map(|(name, bounds)| (name.clone(), raised(bounds)));
            (usage.collect(), request.parameters)
        });
        if !is_enough(&priced.expected) {
            for (usage, parameters) in raised.chain(dearest) {
                let rated = rate(&usage, parameters)?;
                let enough = is_enough(&rated);
                if rated.credits > priced.expected.credits {
                    priced.expected = rated;
                    priced.is_raised = true;
                }
                if enough {
                    break;
                }
            }
        }
    }
    Ok(priced)
}

/// So many quarters of the way from what is expected to the most, in whole units where it matters.
fn between(bounds: Bounds, quarters: u64) -> Quantity {
    let (from, to) = (bounds.expected().millis(), bounds.max().millis());
    let way = ((to - from) / 1_000 * quarters / 4) * 1_000;
    if quarters == 4 { bounds.max() } else { up(from + way).min(bounds.max()) }
}

/// Thousandths, from and to, both included.
type Interval = (u64, u64);

/// A part of the box in which every threshold either holds everywhere or nowhere: an interval for
/// each quantity that has one inside of its bounds.
struct Cell<'a>(BTreeMap<&'a str, Interval>);

/// What a cell is priced at.
struct Corners {
    /// No usage in the cell has less of any dimension.
    low: Usage,
    /// None has more.
    high: Usage,
    /// One that is in the cell.
    inside: Usage,
    /// One that is in the cell and as high as can be.
    top: Usage,
}

fn cells<'a>(
    model: &'a Model,
    bounds: &BTreeMap<String, Bounds>,
) -> Result<Vec<Cell<'a>>, PriceError> {
    let mut cuts: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    let conditions = model.ratios().iter().filter_map(|row| row.rate().when());
    for (name, least) in conditions.flat_map(Conditions::thresholds) {
        let (from, to) = range(name, bounds);
        if from < least && least <= to {
            cuts.entry(name).or_default().insert(least);
        }
    }
    let mut cells = vec![Cell(BTreeMap::new())];
    for (name, cuts) in cuts {
        if cells.len() * (cuts.len() + 1) > MAX_CELLS {
            return Err(PriceError::TooManyTiers);
        }
        let (from, to) = range(name, bounds);
        let starts = [from].into_iter().chain(cuts.iter().copied());
        let ends = cuts.iter().map(|cut| cut - 1).chain([to]);
        let intervals: Vec<Interval> = starts.zip(ends).collect();
        cells = cells
            .iter()
            .flat_map(|cell| {
                intervals.iter().map(|interval| {
                    let mut quantities = cell.0.clone();
                    quantities.insert(name, *interval);
                    Cell(quantities)
                })
            })
            .collect();
    }
    Ok(cells)
}

/// Where a quantity that a threshold names can lie.
fn range(name: &str, bounds: &BTreeMap<String, Bounds>) -> Interval {
    if name == PROMPT_TOKENS {
        bounds.iter().filter(|(name, _)| is_prompt_tokens(name)).fold(
            (0, 0),
            |(from, to), (_, b)| {
                (from.saturating_add(b.min().millis()), to.saturating_add(b.max().millis()))
            },
        )
    } else {
        bounds.get(name).map_or((0, 0), |b| (b.min().millis(), b.max().millis()))
    }
}

impl Cell<'_> {
    /// `None` where nothing is in the cell.
    fn corners(&self, bounds: &BTreeMap<String, Bounds>) -> Option<Corners> {
        let mut sides: BTreeMap<&str, Interval> = bounds
            .iter()
            .map(|(name, b)| {
                let whole = (b.min().millis(), b.max().millis());
                (name.as_str(), self.0.get(name.as_str()).copied().unwrap_or(whole))
            })
            .collect();
        let usage = |of: &dyn Fn(&str, Interval) -> Quantity| -> Usage {
            bounds
                .keys()
                .filter_map(|name| Some((name.clone(), of(name, *sides.get(name.as_str())?))))
                .collect()
        };
        let Some((least, most)) = self.0.get(PROMPT_TOKENS).copied() else {
            let low = usage(&|_, (from, _)| up(from));
            let high = usage(&|_, (_, to)| down(to));
            return Some(Corners { inside: low.clone(), low, top: high.clone(), high });
        };
        let prompt = || sides.iter().filter(|(name, _)| is_prompt_tokens(name));
        let from: u64 = prompt().map(|(_, side)| side.0).sum();
        let to: u64 = prompt().map(|(_, side)| side.1).sum();
        if from > most || to < least {
            return None;
        }
        // How far a dimension can go in the cell while the others go the other way.
        let low = usage(&|name, (a, b)| {
            down(if is_prompt_tokens(name) { a.max(least.saturating_sub(to - b)) } else { a })
        });
        let high = usage(&|name, (a, b)| {
            up(if is_prompt_tokens(name) { b.min(most - (from - a)) } else { b })
        });
        let mut missing = least.saturating_sub(from);
        let mut excess = to.saturating_sub(most);
        let mut inside = Usage::new();
        let mut top = Usage::new();
        for (name, (a, b)) in std::mem::take(&mut sides) {
            let (mut lowest, mut highest) = (a, b);
            if is_prompt_tokens(name) {
                let more = missing.min(b - a);
                let less = excess.min(b - a);
                missing -= more;
                excess -= less;
                lowest += more;
                highest -= less;
            }
            inside.insert(name.to_owned(), up(lowest));
            top.insert(name.to_owned(), down(highest));
        }
        Some(Corners { low, high, inside, top })
    }
}

/// The least quantity that is not below so many thousandths: above 10^9 units a quantity has fewer
/// than three places.
fn up(millis: u64) -> Quantity {
    [1, 10, 100, 1_000]
        .into_iter()
        .find_map(|step| Quantity::from_millis(millis.next_multiple_of(step)))
        .unwrap_or(Quantity::MAX)
}

/// The largest quantity that is not above so many thousandths.
fn down(millis: u64) -> Quantity {
    [1, 10, 100, 1_000]
        .into_iter()
        .find_map(|step| Quantity::from_millis(millis - millis % step))
        .unwrap_or(Quantity::MAX)
}
