//! From bounds of quantities to bounds of credits.
//!
//! More usage can cost less: past a threshold all of a request takes another row, and that may be
//! a cheaper one. So the ends of the bounds are not the ends of the credits. But between two
//! thresholds every row stays the same, and there more costs more. The box of all usages within
//! the bounds is therefore cut at the thresholds, and each cell is priced at its lowest and its
//! highest corner by the rows that hold inside of it.
//!
//! What a cache does to a prompt moves tokens from one dimension to another ([`Swap`]). They stay
//! tokens of the prompt, so that its tiers stay what they are, and inside of a cell each token costs
//! the same wherever the others are: at each corner a dimension is moved as a whole to where it is
//! cheapest, or dearest. Only where a threshold is on one of these dimensions itself is the box
//! widened instead, so that every threshold cuts it: wider than can be, but never too narrow.

use std::collections::{BTreeMap, BTreeSet};

use super::{Assumption, Basis, Bounds, Quantities, Swap, Unsaid};
use crate::ratios::{
    Conditions, Model, PROMPT_TOKENS, Parameters, Rated, RatingError, RatioTable, Request,
    Resolved, Usage, is_prompt_tokens,
};
use crate::{Credits, Quantity, Timestamp};

/// Into how many cells bounds may be cut.
const MAX_CELLS: usize = 256;
/// How many cells are priced at most, over all combinations of what is not said.
const MAX_PRICED: usize = 4_096;
/// Most times the expected credits that the most may be, where the request caps its output.
const CAPPED: i128 = 3;
/// Of a prompt that is expected in a cache's dimension.
const WRITTEN: &str = "Expected to be written to the provider's cache, which is far dearer than \
                       the prompt itself: the most is at most three times what is expected.";

/// What a request would cost: `min <= expected <= max`.
#[derive(Debug, Clone, PartialEq)]
pub struct Priced {
    /// At least.
    pub min: Credits,
    /// At most.
    pub max: Credits,
    /// At the expected usage.
    pub expected: Rated,
    /// Whether other quantities were taken for the expected ones, because the most would have been
    /// over three times as much ([`Quantities::price`]).
    pub is_raised: bool,
    /// Parameters that are not said and that prices depend on, by dimension: the bounds cover all
    /// of their values.
    pub unsaid: BTreeMap<String, Vec<String>>,
    /// When what is expected has another price for the first time, while it may happen
    /// ([`Unsaid::until`]): the bounds cover it at each of its prices. It is expected to happen before.
    pub changes_at: Option<Timestamp>,
}

impl Priced {
    /// Whether the most is at most three times so much.
    fn is_near(&self, expected: &Rated) -> bool {
        self.max.micros() <= CAPPED * expected.credits.micros()
    }
}

/// Why a request can't be priced before the fact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// What rating refuses.
    #[error(transparent)]
    Rating(#[from] RatingError),
    /// The bounds reach over too many thresholds of the model.
    #[error(
        "the bounds reach over more than {MAX_CELLS} combinations of tiers, or {MAX_PRICED} of tiers \
         and times: narrow them"
    )]
    TooManyTiers,
    /// The price depends on too much that is not said.
    #[error("the price depends on too many combinations of {names}: say them")]
    TooMuchUnsaid {
        /// The parameters, with commas.
        names: String,
    },
}

/// What a request would cost whose quantities are only known to lie within bounds. The usage of
/// `request` is not looked at. Parameters that the request leaves out are whatever `unsaid` lets
/// them be. It is expected to cost what it does without them; where nothing has a price without
/// them, what it does with the middle one of the values, by its price.
///
/// # Errors
/// See [`PriceError`].
pub fn price(
    table: &RatioTable,
    request: &Request<'_>,
    bounds: &BTreeMap<String, Bounds>,
    unsaid: &Unsaid,
) -> Result<Priced, PriceError> {
    Ok(Found::of(table, request, bounds, unsaid, &[])?.priced)
}

/// Bounds of credits, and where some of them are.
struct Found {
    priced: Priced,
    /// What the expected credits are rated with.
    parameters: Parameters,
    /// A usage that is about the dearest, where any is dearer than another.
    dearest: Option<Dearest>,
}

struct Dearest {
    /// Before anything is moved.
    usage: Usage,
    parameters: Parameters,
    moved: Moved,
    at: Timestamp,
}

/// Where dimensions are counted instead, as swaps let them.
type Moved = BTreeMap<String, String>;

/// The same quantities, where some are counted as something else. `None` over the limit of
/// quantities.
fn with_moved(usage: &Usage, moved: &Moved) -> Option<Usage> {
    let mut all = Usage::new();
    for (name, quantity) in usage {
        let sum = all.entry(moved.get(name).unwrap_or(name).clone()).or_insert(Quantity::ZERO);
        *sum = sum.checked_add(*quantity)?;
    }
    Some(all)
}

/// Widens bounds to all that swaps let them be, one dimension apart from the other.
fn widened(bounds: &BTreeMap<String, Bounds>, swaps: &[Swap]) -> BTreeMap<String, Bounds> {
    let mut wide = bounds.clone();
    for Swap { from, to, .. } in swaps {
        let Some(max) = bounds.get(&**from).map(|bounds| bounds.max()) else { continue };
        if let Some(from) = wide.get_mut(&**from) {
            from.min = Quantity::ZERO;
        }
        let to = wide.entry(to.clone()).or_insert(Bounds::known(Quantity::ZERO));
        to.max = to.max.checked_add(max).unwrap_or(Quantity::MAX);
    }
    wide
}

impl Found {
    fn of(
        table: &RatioTable,
        request: &Request<'_>,
        bounds: &BTreeMap<String, Bounds>,
        unsaid: &Unsaid,
        swaps: &[Swap],
    ) -> Result<Self, PriceError> {
        let usage: Usage =
            bounds.iter().map(|(name, bounds)| (name.clone(), bounds.expected())).collect();
        let rate = |parameters| table.rate(&Request { usage: &usage, parameters, ..*request });
        let without = rate(request.parameters);
        let Some(Resolved { model, .. }) = table.resolve(request.model) else {
            return Err(without.expect_err("what is rated has a model").into());
        };
        let open = unsaid.of(table, model, request.parameters)?;
        let (expected, parameters) = match without {
            Err(error @ RatingError::UnpricedDimension { .. }) => {
                let all = open.combinations.iter();
                let mut all: Vec<(Rated, &Parameters)> = all
                    .filter_map(|parameters| Some((rate(parameters).ok()?, parameters)))
                    .collect();
                all.sort_by_key(|(rated, _)| rated.credits);
                if all.is_empty() {
                    return Err(error.into());
                }
                let (rated, parameters) = all.swap_remove(all.len() / 2);
                (rated, parameters.clone())
            }
            rated => (rated?, request.parameters.clone()),
        };
        let (min, max) = (expected.credits, expected.credits);
        let dimensions = bounds.keys().chain(swaps.iter().map(|swap| &swap.to));
        let changes = unsaid.changes(table, model, dimensions, request.at);
        // Not every row that begins is one that prices this.
        let changes_at = changes.iter().copied().find(|at| {
            let later = Request { usage: &usage, parameters: &parameters, at: *at, ..*request };
            table.rate(&later).map_or(true, |later| later.lines != expected.lines)
        });
        let priced =
            Priced { min, max, expected, is_raised: false, unsaid: open.names, changes_at };
        let mut found = Self { priced, parameters, dearest: None };
        let conditions = model.ratios().iter().filter_map(|row| row.rate().when());
        let mut thresholds = conditions.flat_map(Conditions::thresholds).map(|(name, _)| name);
        let is_swapped = |name: &str| swaps.iter().any(|swap| name == swap.from || name == swap.to);
        let (bounds, swaps) = if thresholds.any(is_swapped) {
            (&widened(bounds, swaps), &[][..])
        } else {
            (bounds, swaps)
        };
        let is_one = open.combinations.len() == 1 && swaps.is_empty() && changes.is_empty();
        if !is_one || !bounds.values().all(|bounds| bounds.is_known()) {
            let cells = cells(model, bounds)?;
            if cells.len() * open.combinations.len() * (1 + changes.len()) > MAX_PRICED {
                let names: BTreeSet<String> = found.priced.unsaid.into_values().flatten().collect();
                if names.is_empty() {
                    return Err(PriceError::TooManyTiers);
                }
                return Err(PriceError::TooMuchUnsaid { names: Vec::from_iter(names).join(", ") });
            }
            for cell in cells {
                let Some(corners) = cell.corners(bounds) else { continue };
                found.reach(table, request, &corners, &open.combinations, swaps)?;
                for at in &changes {
                    let later = Request { at: *at, ..*request };
                    match found.reach(table, &later, &corners, &open.combinations, swaps) {
                        // Nothing is sold any more by then.
                        Ok(()) | Err(RatingError::UnpricedDimension { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        Ok(found)
    }

    /// Takes in what a cell costs, with every combination of parameters that prices it.
    fn reach(
        &mut self,
        table: &RatioTable,
        request: &Request<'_>,
        corners: &Corners,
        combinations: &[Parameters],
        swaps: &[Swap],
    ) -> Result<(), RatingError> {
        let mut outcome = Ok(());
        let mut is_priced = false;
        for parameters in combinations {
            let rate = |usage: &Usage| match table
                .rate_as(&Request { usage, parameters, ..*request }, &corners.inside)
            {
                Err(error @ RatingError::UnpricedDimension { .. }) => Ok(Err(error)),
                rated => rated.map(|rated| Ok(rated.credits)),
            };
            if let Ok(least) = rate(&corners.low)? {
                let is_better = |credits, least| credits < least;
                let (least, _) = moved_to(&corners.low, least, swaps, is_better, rate)?;
                self.priced.min = self.priced.min.min(least);
            }
            match rate(&corners.high)? {
                Ok(most) => {
                    is_priced = true;
                    let is_better = |credits, most| credits > most;
                    let (most, moved) = moved_to(&corners.high, most, swaps, is_better, rate)?;
                    if most > self.priced.max || self.dearest.is_none() {
                        self.priced.max = self.priced.max.max(most);
                        let (usage, parameters) = (corners.top.clone(), parameters.clone());
                        self.dearest = Some(Dearest { usage, parameters, moved, at: request.at });
                    }
                }
                Err(error) => outcome = Err(error),
            }
        }
        if is_priced { Ok(()) } else { outcome }
    }
}

/// The best credits of a usage, wherever swaps let it be counted, and where that is. What has no
/// price there is not counted there.
fn moved_to(
    usage: &Usage,
    mut best: Credits,
    swaps: &[Swap],
    is_better: impl Fn(Credits, Credits) -> bool,
    rate: impl Fn(&Usage) -> Result<Result<Credits, RatingError>, RatingError>,
) -> Result<(Credits, Moved), RatingError> {
    let mut moved = Moved::new();
    for Swap { from, to, .. } in swaps {
        let mut further = moved.clone();
        further.insert((*from).to_owned(), to.clone());
        let Some(usage) = with_moved(usage, &further) else { continue };
        if let Ok(credits) = rate(&usage)?
            && is_better(credits, best)
        {
            (best, moved) = (credits, further);
        }
    }
    Ok((best, moved))
}

impl Quantities {
    /// What they would cost. Where the request caps its output, and nothing else is unbounded, the
    /// most is at most three times what is expected: where it would be more, first more of the
    /// output is expected, then at least a third of all else, then the dearest of what is not said,
    /// then what comes near to the most, then that the prompt is written to a cache, and at last that
    /// it happens when it is dearest. The
    /// assumptions tell it
    /// ([`Assumption::instead_of`](super::Assumption::instead_of)), and what they expect is always
    /// what the expected credits are of.
    ///
    /// # Errors
    /// See [`PriceError`].
    pub fn price(
        &mut self,
        table: &RatioTable,
        request: &Request<'_>,
    ) -> Result<Priced, PriceError> {
        let found = Found::of(table, request, &self.usage, &self.unsaid, &self.swaps)?;
        let Found { mut priced, parameters, dearest } = found;
        if !self.is_capped || self.is_unbounded || priced.is_near(&priced.expected) {
            return Ok(priced);
        }
        let nothing = Moved::new();
        let now = request.at;
        let mut ways: Vec<(Vec<Quantity>, &Parameters, &Moved, Timestamp)> = Vec::new();
        let mut expect = |of: &dyn Fn(&Assumption) -> Quantity| {
            ways.push((self.assumptions.iter().map(of).collect(), &parameters, &nothing, now));
        };
        for quarters in 1..=4 {
            expect(&|assumption| match assumption.basis {
                Basis::MaxOutputTokens | Basis::Reasoning => between(assumption.quantity, quarters),
                _ => assumption.quantity.expected(),
            });
        }
        for quarters in 0..=4 {
            expect(&|assumption| {
                a_third(assumption.quantity).max(between(assumption.quantity, quarters))
            });
        }
        if let Some(Dearest { usage, parameters, moved, at }) = &dearest {
            let expected = self.assumptions.iter().map(|assumption| assumption.quantity.expected());
            ways.push((expected.collect(), parameters, &nothing, now));
            ways.push((self.shared_out(usage), parameters, &nothing, now));
            ways.push((self.shared_out(usage), parameters, moved, now));
            ways.push((self.shared_out(usage), parameters, moved, *at));
        }
        let mut chosen = None;
        for (quantities, parameters, moved, at) in ways {
            let usage = self.usage_of(&quantities);
            let Some(usage) = usage.and_then(|usage| with_moved(&usage, moved)) else { continue };
            let rated = match table.rate(&Request { usage: &usage, parameters, at, ..*request }) {
                Err(RatingError::UnpricedDimension { .. }) => continue,
                rated => rated?,
            };
            let is_near = priced.is_near(&rated);
            if rated.credits > priced.expected.credits {
                priced.expected = rated;
                chosen = Some((quantities, moved));
            }
            if is_near {
                break;
            }
        }
        if let Some((quantities, moved)) = chosen {
            priced.is_raised = true;
            self.expect(&quantities);
            self.count_as(moved);
        }
        Ok(priced)
    }

    /// Takes other quantities within the bounds, one an assumption, for the expected ones.
    fn expect(&mut self, quantities: &[Quantity]) {
        for (assumption, quantity) in self.assumptions.iter_mut().zip(quantities) {
            let Bounds { min, expected, max } = assumption.quantity;
            if *quantity != expected {
                assumption.quantity = Bounds { min, expected: *quantity, max };
                assumption.instead_of = Some(expected);
            }
        }
        for (dimension, expected) in self.usage_of(quantities).into_iter().flatten() {
            if let Some(bounds) = self.usage.get_mut(&dimension) {
                bounds.expected = expected;
            }
        }
    }

    /// Counts dimensions as others, where that is what is expected.
    fn count_as(&mut self, moved: &Moved) {
        for assumption in &mut self.assumptions {
            if let Some(to) = moved.get(&*assumption.dimension) {
                assumption.dimension = to.clone().into();
                assumption.note = Some(WRITTEN);
            }
        }
        for (from, to) in moved {
            let Some(bounds) = self.usage.remove(from) else { continue };
            let sum = self.usage.entry(to.clone()).or_insert(Bounds::known(Quantity::ZERO));
            *sum = sum.checked_add(bounds).unwrap_or(*sum);
        }
        self.swaps.retain(|swap| !moved.contains_key(swap.from));
    }

    /// How much of each dimension it is where it is so much of each assumption.
    fn usage_of(&self, quantities: &[Quantity]) -> Option<Usage> {
        let mut usage = Usage::new();
        for (assumption, quantity) in self.assumptions.iter().zip(quantities) {
            let sum = usage.entry(assumption.dimension.to_string()).or_insert(Quantity::ZERO);
            *sum = sum.checked_add(*quantity)?;
        }
        Some(usage)
    }

    /// How much of each assumption it is where so much of each dimension is used.
    fn shared_out(&self, usage: &Usage) -> Vec<Quantity> {
        let mut left: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, quantity) in usage {
            let least = self.usage.get(name).map_or(0, |bounds| bounds.min().millis());
            left.insert(name, quantity.millis().saturating_sub(least));
        }
        let share = |Assumption { dimension, quantity, .. }: &Assumption| {
            let mut at = quantity.min().millis();
            if let Some(left) = left.get_mut::<str>(dimension) {
                let more = (quantity.max().millis() - at).min(*left);
                *left -= more;
                at += more;
            }
            up(at).min(quantity.max())
        };
        self.assumptions.iter().map(share).collect()
    }
}

/// A third of the most, in whole units where it matters.
fn a_third(bounds: Bounds) -> Quantity {
    up(bounds.max().millis().div_ceil(3).next_multiple_of(1_000)).min(bounds.max())
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
