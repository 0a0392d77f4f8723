//! [`calculate`]: costs and settings in, a ratio table with all that it earns out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use uc_domain::Credits;
use uc_domain::account::Money;
use uc_domain::ratios::{
    Conditions, Cost, MatchedBy, Multiplier, Per, Ratio, RatioTable, Resolved, Rounding,
    TableError, is_model_name,
};

use crate::costs::{CostRow, ModelCosts, Omitted, ProviderCosts};
use crate::exact::{self, Fraction};
use crate::settings::{CalculatorSettings, Margin, MinimumRatio, Scoped, kind_of, pointer};

/// Most models, as in a table.
pub const MAX_MODELS: usize = 10_000;

/// What comes of costs and settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calculation {
    /// Complete and unambiguous, with the cost on every row: ready to be published.
    pub table: RatioTable,
    /// What it follows from.
    pub settings: CalculatorSettings,
    /// By the id in the table.
    pub models: BTreeMap<String, ModelCalculation>,
    /// In the order of the settings.
    pub plans: Vec<PlanCalculation>,
    /// What the operator should look at before publishing.
    pub warnings: Vec<Warning>,
    /// What the import could not take over, then what has no place in a table: each with its
    /// reason. A model of which one row can't be expressed is left out as a whole, for without
    /// that row another, cheaper one could apply.
    pub omitted: Vec<Omitted>,
}

/// What one model costs and earns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelCalculation {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who asks the costs.
    pub provider: String,
    /// The feature.
    pub feature: String,
    /// The margin that was asked for.
    pub margin: Margin,
    /// The least that a request costs, in credits; zero is none.
    pub minimum: Credits,
    /// In the order of the costs.
    pub rows: Vec<RowCalculation>,
    /// The least that a row earns in any price group that pays; `None` where nothing has a price.
    pub worst: Option<WorstMargin>,
}

/// What one row costs and earns, before price groups.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowCalculation {
    /// What is counted.
    pub dimension: String,
    /// When the row applies; `None` is always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Conditions>,
    /// The number of units that cost, ratio and price are for.
    pub per: Per,
    /// What the provider asks.
    pub cost: Amount,
    /// In credits: `cost / (1 - margin) / credit price`, rounded up to the next ratio.
    pub ratio: Ratio,
    /// What a buyer pays: the ratio times the price of a credit, exact.
    pub price: Amount,
    /// `(price - cost) / price`: never below the margin asked for. `None` where the price is zero.
    pub effective_margin: Option<EffectiveMargin>,
}

impl RowCalculation {
    /// What remains of the price in a price group; `None` where it pays nothing.
    pub fn margin_in(&self, group: Multiplier) -> Option<EffectiveMargin> {
        let price = exact::times(&exact::decimal(self.price.0), &multiplier(group));
        (price > exact::whole(0))
            .then(|| EffectiveMargin::of(&exact::over(&exact::decimal(self.cost.0), &price)))
    }
}

/// The least that a model's rows earn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorstMargin {
    /// In that row and group; below zero where the group pays less than the cost.
    pub margin: EffectiveMargin,
    /// The price group with the lowest multiplier above zero.
    pub group: String,
    /// The row's dimension.
    pub dimension: String,
    /// The row's conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Conditions>,
}

/// How many credits a plan can give.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanCalculation {
    /// Its name.
    pub plan: String,
    /// The price group of its subscribers.
    pub group: String,
    /// What it brings.
    pub price: Money,
    /// What it gives.
    pub credits: Credits,
    /// The most that it could give without ever costing more than it brings: the price over the
    /// highest cost of a credit, rounded down, at most 10^15. `None` where nothing costs anything.
    pub affordable: Option<Credits>,
    /// Where a credit costs most; `None` where nothing costs anything.
    pub worst: Option<CostliestRow>,
}

/// The row at which a credit costs the operator most.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostliestRow {
    /// The model's id.
    pub model: String,
    /// The row's dimension.
    pub dimension: String,
    /// The row's conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Conditions>,
    /// What one credit spent on it costs in the plan's price group, rounded up to 12 digits.
    /// `None` where the group pays nothing: then it has no bound.
    pub cost_per_credit: Option<Amount>,
}

/// What the operator should look at.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Warning {
    /// A plan's credits cost more than its price where they are all spent on its worst model.
    PlanOverCost {
        /// The plan.
        plan: String,
        /// The worst model.
        model: String,
        /// What the plan gives.
        credits: Credits,
        /// What it can afford to give.
        affordable: Credits,
    },
    /// A price group pays less than these models cost.
    UnderCost {
        /// The price group.
        group: String,
        /// What it multiplies prices by; above zero.
        multiplier: Multiplier,
        /// The models' ids.
        models: Vec<String>,
    },
    /// A price group pays nothing, so what it uses of these models has no bound: right where its
    /// accounts pay the providers themselves.
    FreeGroup {
        /// The price group.
        group: String,
        /// The ids of the models that cost something.
        models: Vec<String>,
    },
    /// Sums are not rounded up, so a small request can cost less than its lines.
    RoundedSums {
        /// How they are rounded.
        rounding: Rounding,
    },
    /// Names of models that were left out lead to this one by a rule of it, and so to its prices.
    CaughtByRule {
        /// The model.
        model: String,
        /// Those that were left out.
        left_out: Vec<String>,
    },
    /// A setting is about something that the costs don't have: perhaps a typing error.
    UnusedSetting {
        /// Where in the settings, as a JSON pointer.
        pointer: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let few = |models: &[String]| {
            let shown = models.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let more = models.len().saturating_sub(3);
            if more == 0 { shown } else { format!("{shown} and {more} more") }
        };
        match self {
            Self::PlanOverCost { plan, model, credits, affordable } => write!(
                f,
                "plan {plan} gives {credits} credits and can afford {affordable} where all are \
                 spent on {model}"
            ),
            Self::UnderCost { group, multiplier, models } => write!(
                f,
                "group {group} pays {multiplier} of the price, under the cost of {}",
                few(models)
            ),
            Self::FreeGroup { group, models } => {
                write!(f, "group {group} pays nothing for {}", few(models))
            }
            Self::RoundedSums { rounding } => write!(
                f,
                "sums are rounded {rounding:?}: small requests can cost less than their lines"
            ),
            Self::CaughtByRule { model, left_out } => write!(
                f,
                "{} was left out and would be sold at the price of {model}, whose rule its name fits: \
                 give it a price, or a model of its own that is disabled",
                few(left_out)
            ),
            Self::UnusedSetting { pointer } => {
                write!(f, "the costs have nothing that {pointer} of the settings is about")
            }
        }
    }
}

/// An amount of money in the currency of the costs; in JSON a decimal string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(Decimal);

impl Amount {
    /// The amount, in the currency's main unit.
    pub const fn decimal(self) -> Decimal {
        self.0
    }
}

impl From<Decimal> for Amount {
    fn from(decimal: Decimal) -> Self {
        Self(decimal.normalize())
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The share of a price that remains, in ten-thousandths, rounded down. Below zero where the price
/// is below the cost. As text and in JSON a decimal string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EffectiveMargin(i64);

impl EffectiveMargin {
    /// Ten-thousandths of the price, at most 10,000.
    pub const fn ten_thousandths(self) -> i64 {
        self.0
    }

    /// What remains where `cost_share` of the price goes to the provider.
    fn of(cost_share: &Fraction) -> Self {
        let margin =
            exact::floor(&exact::rest(cost_share), 4).and_then(|parts| i64::try_from(parts).ok());
        Self(margin.expect("a cost is at most the price, and a multiplier at least 0.0001"))
    }
}

impl fmt::Display for EffectiveMargin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Decimal::new(self.0, 4).normalize().fmt(f)
    }
}

impl Serialize for EffectiveMargin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why nothing can be calculated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalculatorError {
    /// A setting is out of its limits.
    #[error("{pointer}: {detail}")]
    Settings {
        /// Where in the settings, as a JSON pointer.
        pointer: String,
        /// What is wrong.
        detail: String,
    },
    /// There is nothing to make a table of.
    #[error("no model of the costs has a place in a table{}", .0.as_deref().unwrap_or_default())]
    NoModels(
        /// What was left out of them, first of all.
        Option<String>,
    ),
    /// The price of a credit has another currency than the costs.
    #[error("the costs are in {costs:?}, the price of a credit is in {credits:?}")]
    Currency {
        /// Of the costs.
        costs: String,
        /// Of the price of a credit.
        credits: String,
    },
    /// More models than a table can have.
    #[error("at most {MAX_MODELS} models, not {0}")]
    TooManyModels(usize),
    /// What is not of one model makes no table, such as the features.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// A model with its prices, while the table is made.
struct Priced<'a> {
    costs: &'a ModelCosts,
    calculation: ModelCalculation,
    /// The row of which the largest share of the price goes to the provider, and that share.
    worst: Option<(usize, Fraction)>,
}

/// Gives every cost a ratio that leaves the margin asked for.
///
/// A ratio is `cost / (1 - margin) / credit price`, computed exactly and rounded up to the next
/// number that a table can hold, so that no margin is undercut. A cost of zero stays zero unless
/// [`CalculatorSettings::minimum_ratios`] says otherwise.
///
/// # Errors
/// See [`CalculatorError`]. What is wrong with one model is listed in [`Calculation::omitted`].
pub fn calculate(
    costs: &ProviderCosts,
    settings: &CalculatorSettings,
) -> Result<Calculation, CalculatorError> {
    settings.check()?;
    let credit_price = &settings.credit_price;
    if credit_price.currency != costs.currency
        || Cost::new(Decimal::ZERO, &costs.currency).is_none()
    {
        return Err(CalculatorError::Currency {
            costs: costs.currency.clone(),
            credits: credit_price.currency.clone(),
        });
    }
    if costs.models.len() > MAX_MODELS {
        return Err(CalculatorError::TooManyModels(costs.models.len()));
    }

    let mut omitted = costs.omitted.clone();
    let mut models = BTreeMap::new();
    for (id, model) in &costs.models {
        match price(id, model, settings) {
            Ok(priced) => {
                models.insert(id.as_str(), priced);
            }
            Err(reason) => omitted.push(reason),
        }
    }
    let table = table(costs, settings, &mut models, &mut omitted)?;
    if models.is_empty() {
        // An empty table in force would refuse every request.
        let first = omitted.first();
        let why = first.map(|first| format!(": {:?} was left out, {}", first.model, first.reason));
        return Err(CalculatorError::NoModels(why));
    }

    let lowest = settings
        .groups
        .iter()
        .filter(|(_, multiplier)| multiplier.ten_thousandths() > 0)
        .min_by_key(|(_, multiplier)| **multiplier);
    for model in models.values_mut() {
        if let (Some((row, share)), Some((group, multiplier))) = (&model.worst, lowest) {
            let row = &model.calculation.rows[*row];
            model.calculation.worst = Some(WorstMargin {
                margin: EffectiveMargin::of(&exact::over(share, &self::multiplier(*multiplier))),
                group: group.clone(),
                dimension: row.dimension.clone(),
                when: row.when.clone(),
            });
        }
    }
    let mut warnings = Vec::new();
    let plans = plans(settings, &models, &mut warnings);
    warn_of_groups(settings, &models, &mut warnings);
    if settings.credit.rounding() != Rounding::Up {
        warnings.push(Warning::RoundedSums { rounding: settings.credit.rounding() });
    }
    warn_of_caught(&table, &omitted, &mut warnings);
    warn_of_unused(settings, costs, &mut warnings);
    Ok(Calculation {
        table,
        settings: settings.clone(),
        models: models.into_iter().map(|(id, model)| (id.to_owned(), model.calculation)).collect(),
        plans,
        warnings,
        omitted,
    })
}

/// A model's prices, or why it has no place in a table.
fn price<'a>(
    id: &str,
    costs: &'a ModelCosts,
    settings: &CalculatorSettings,
) -> Result<Priced<'a>, Omitted> {
    let omit = |field: Option<String>, reason: &str| Omitted {
        model: id.to_owned(),
        field,
        reason: reason.to_owned(),
    };
    if !is_model_name(id) {
        return Err(omit(None, "not a model's id in a table"));
    }
    let margin = *settings.margins.of(id, &costs.provider, &costs.feature);
    let minimum = settings
        .minimums
        .as_ref()
        .map_or(Credits::ZERO, |minimums| *minimums.of(id, &costs.provider, &costs.feature));
    let mut rows = Vec::with_capacity(costs.costs.len());
    let mut worst: Option<(usize, Fraction)> = None;
    for (n, row) in costs.costs.iter().enumerate() {
        let least = settings.minimum_ratios.get(&row.dimension);
        let (row, share) = price_row(row, margin, least, settings)
            .map_err(|reason| omit(Some(field(&row.dimension, row.when.as_ref())), reason))?;
        rows.push(row);
        if let Some(share) = share
            && worst.as_ref().is_none_or(|(_, worst)| share > *worst)
        {
            worst = Some((n, share));
        }
    }
    let calculation = ModelCalculation {
        name: costs.name.clone(),
        provider: costs.provider.clone(),
        feature: costs.feature.clone(),
        margin,
        minimum,
        rows,
        worst: None,
    };
    Ok(Priced { costs, calculation, worst })
}

/// A row's price, and the share of it that goes to the provider: `None` where the price is zero.
fn price_row(
    row: &CostRow,
    margin: Margin,
    least: Option<&MinimumRatio>,
    settings: &CalculatorSettings,
) -> Result<(RowCalculation, Option<Fraction>), &'static str> {
    if row.amount.is_sign_negative() && !row.amount.is_zero() {
        return Err("a cost is not negative");
    }
    let (price_mantissa, price_places) = settings.credit_price.amount.parts();
    let credit_price = exact::scaled(price_mantissa, u32::from(price_places));
    let cost = exact::decimal(row.amount);
    let share = exact::scaled(margin.cost_share(), 4);
    let mut wanted = exact::over(&cost, &exact::times(&share, &credit_price));
    if let Some(least) = least {
        let exponent = i32::from(row.per.exponent()) - i32::from(least.per.exponent());
        wanted = wanted.max(exact::times(&exact::ratio(least.credits), &exact::ten(exponent)));
    }
    let ratio = exact::ratio_up(&wanted, row.per)?;

    let (mantissa, places) = ratio.parts();
    // At most 10^15 * 10^12, with 18 + 10 places.
    let price = i128::from(mantissa) * i128::from(price_mantissa);
    let price = Decimal::from_i128_with_scale(price, u32::from(places + price_places));
    let share = (mantissa > 0)
        .then(|| exact::over(&cost, &exact::times(&exact::ratio(ratio), &credit_price)));
    let calculated = RowCalculation {
        dimension: row.dimension.clone(),
        when: row.when.clone(),
        per: row.per,
        cost: row.amount.into(),
        ratio,
        price: price.into(),
        effective_margin: share.as_ref().map(EffectiveMargin::of),
    };
    Ok((calculated, share))
}

/// The table of the models. Those that can't be in it (a name that leads to another, rows between
/// which a request could not choose) are taken out, with what is wrong as their reason.
fn table(
    costs: &ProviderCosts,
    settings: &CalculatorSettings,
    models: &mut BTreeMap<&str, Priced<'_>>,
    omitted: &mut Vec<Omitted>,
) -> Result<RatioTable, CalculatorError> {
    loop {
        let bodies: serde_json::Map<String, Value> = models
            .iter()
            .map(|(id, model)| ((*id).to_owned(), body(model, &costs.currency)))
            .collect();
        let mut document = json!({
            "credit": settings.credit,
            "groups": settings.groups,
            "features": costs.features.iter()
                .map(|(name, dimensions)| (name.clone(), json!({ "dimensions": dimensions })))
                .collect::<serde_json::Map<_, _>>(),
            "models": bodies,
        });
        if !costs.parts.is_empty() {
            document["dimensions"] = costs
                .parts
                .iter()
                .map(|(name, part_of)| (name.clone(), json!({ "part_of": part_of })))
                .collect();
        }
        let error = match RatioTable::from_json(&document) {
            Ok(table) => return Ok(table),
            Err(error) => error,
        };
        let before = omitted.len();
        let mut guilty = BTreeSet::new();
        for fault in error.faults() {
            let Some((id, place)) = model_of(&fault.pointer) else { continue };
            if let Some((id, _)) = models.get_key_value(id.as_str())
                && guilty.insert(*id)
            {
                omitted.push(Omitted {
                    model: (*id).to_owned(),
                    field: (!place.is_empty()).then(|| place.to_owned()),
                    reason: fault.detail.clone(),
                });
            }
        }
        if omitted.len() == before {
            return Err(error.into());
        }
        models.retain(|id, _| !guilty.contains(id));
    }
}

/// The model that a pointer into a table leads into, and where in its body.
fn model_of(pointer: &str) -> Option<(String, &str)> {
    let rest = pointer.strip_prefix("/models/")?;
    let (id, place) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Some((id.replace("~1", "/").replace("~0", "~"), place))
}

/// A model as a table has it.
fn body(model: &Priced<'_>, currency: &str) -> Value {
    let Priced { costs, calculation, .. } = model;
    let ratios: Vec<Value> = calculation
        .rows
        .iter()
        .map(|row| {
            let mut body = json!({
                "dimension": row.dimension,
                "credits": row.ratio,
                "per": row.per,
                "cost": {"amount": row.cost.to_string(), "currency": currency},
            });
            if let Some(when) = &row.when {
                body["when"] = json!(when);
            }
            body
        })
        .collect();
    let mut body = json!({
        "feature": costs.feature,
        "aliases": costs.aliases,
        "match": costs.starts_with.iter()
            .map(|prefix| json!({ "starts_with": prefix }))
            .collect::<Vec<_>>(),
        "minimum": calculation.minimum,
        "ratios": ratios,
    });
    if let Some(name) = &costs.name {
        body["name"] = json!(name);
    }
    body
}

/// What each plan can afford to give.
fn plans(
    settings: &CalculatorSettings,
    models: &BTreeMap<&str, Priced<'_>>,
    warnings: &mut Vec<Warning>,
) -> Vec<PlanCalculation> {
    // A credit costs its price times the share that goes to the provider, so where that share is
    // the largest it costs most, in every price group.
    let mut worst: Option<(&str, &RowCalculation, &Fraction)> = None;
    for (id, model) in models {
        if let Some((row, share)) = &model.worst
            && worst.is_none_or(|(_, _, worst)| share > worst)
            && *share > exact::whole(0)
        {
            worst = Some((id, &model.calculation.rows[*row], share));
        }
    }
    let credit_price = exact::decimal(settings.credit_price.amount.decimal());
    let plan = |plan: &crate::settings::PlanSetting| {
        let multiplier = multiplier(settings.groups[&plan.group]);
        let mut calculated = PlanCalculation {
            plan: plan.plan.clone(),
            group: plan.group.clone(),
            price: plan.price.clone(),
            credits: plan.credits,
            affordable: None,
            worst: None,
        };
        let Some((model, row, share)) = worst else { return calculated };
        let cost = share * &credit_price;
        // In a group that pays nothing a credit buys without end: no number of them is affordable.
        let affordable = exact::whole(plan.price.amount.micros()) * &multiplier / &cost;
        let micros = exact::floor(&affordable, 0).unwrap_or(i128::MAX);
        let affordable = Credits::from_micros(micros).unwrap_or(Credits::MAX);
        let pays = multiplier > exact::whole(0);
        calculated.affordable = Some(affordable);
        calculated.worst = Some(CostliestRow {
            model: model.to_owned(),
            dimension: row.dimension.clone(),
            when: row.when.clone(),
            cost_per_credit: pays
                .then(|| exact::decimal_up(&(cost / multiplier), exact::DIGITS).into()),
        });
        if plan.credits > affordable {
            warnings.push(Warning::PlanOverCost {
                plan: plan.plan.clone(),
                model: model.to_owned(),
                credits: plan.credits,
                affordable,
            });
        }
        calculated
    };
    settings.plans.iter().map(plan).collect()
}

/// Price groups in which something is sold under its cost.
fn warn_of_groups(
    settings: &CalculatorSettings,
    models: &BTreeMap<&str, Priced<'_>>,
    warnings: &mut Vec<Warning>,
) {
    for (group, multiplier) in &settings.groups {
        let paid = self::multiplier(*multiplier);
        let under_cost: Vec<String> = models
            .iter()
            .filter(|(_, model)| model.worst.as_ref().is_some_and(|(_, share)| *share > paid))
            .map(|(id, _)| (*id).to_owned())
            .collect();
        if under_cost.is_empty() {
            continue;
        }
        let group = group.clone();
        warnings.push(if multiplier.ten_thousandths() == 0 {
            Warning::FreeGroup { group, models: under_cost }
        } else {
            Warning::UnderCost { group, multiplier: *multiplier, models: under_cost }
        });
    }
}

/// Models that were left out and that a rule of another one would sell at its price.
fn warn_of_caught(table: &RatioTable, omitted: &[Omitted], warnings: &mut Vec<Warning>) {
    let mut caught: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for omitted in omitted.iter().filter(|one| one.field.is_none() && !one.is_taken_over()) {
        if let Some(Resolved { model, by: MatchedBy::Prefix(_) }) = table.resolve(&omitted.model) {
            caught.entry(model.id()).or_default().insert(&omitted.model);
        }
    }
    warnings.extend(caught.into_iter().map(|(model, left_out)| Warning::CaughtByRule {
        model: model.to_owned(),
        left_out: left_out.into_iter().map(str::to_owned).collect(),
    }));
}

/// Exceptions for what the costs don't have.
fn warn_of_unused(
    settings: &CalculatorSettings,
    costs: &ProviderCosts,
    warnings: &mut Vec<Warning>,
) {
    let models = &costs.models;
    let providers: BTreeSet<&str> = models.values().map(|model| model.provider.as_str()).collect();
    let dimensions: BTreeSet<&str> =
        models.values().flat_map(|model| &model.costs).map(|row| row.dimension.as_str()).collect();
    let known = |[kind, name]: [&str; 2]| match kind {
        "features" => {
            costs.features.keys().any(|feature| feature == name || kind_of(feature) == Some(name))
        }
        "providers" => providers.contains(name),
        _ => models.contains_key(name) || costs.omitted.iter().any(|omitted| omitted.model == name),
    };
    let mut unused = |section, [kind, name]: [&str; 2]| {
        let pointer = pointer(&[section, kind, name]);
        warnings.push(Warning::UnusedSetting { pointer });
    };
    for (at, _) in settings.margins.exceptions().filter(|(at, _)| !known(*at)) {
        unused("margins", at);
    }
    let minimums = settings.minimums.iter().flat_map(Scoped::exceptions);
    for (at, _) in minimums.filter(|(at, _)| !known(*at)) {
        unused("minimums", at);
    }
    for dimension in settings.minimum_ratios.keys() {
        if !dimensions.contains(dimension.as_str()) {
            let pointer = pointer(&["minimum_ratios", dimension]);
            warnings.push(Warning::UnusedSetting { pointer });
        }
    }
}

/// A price group's multiplier, exactly.
pub(crate) fn multiplier(multiplier: Multiplier) -> Fraction {
    exact::scaled(multiplier.ten_thousandths(), 4)
}

/// Names a row for people.
pub(crate) fn field(dimension: &str, when: Option<&Conditions>) -> String {
    when.map_or_else(|| dimension.to_owned(), |when| format!("{dimension} when {when}"))
}

#[cfg(test)]
mod tests;
