//! What another table would mean: margins of its models, and what usage would have cost and earned.
//!
//! Money is as exact as credits: a cost is `quantity * amount / per` as an integer number of
//! 10^-25 of the currency's main unit, and what does not fit is refused, never rounded. Only a
//! margin is a quotient: it is rounded down, so that none is ever shown better than it is.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::diff::{Change, Price, pairs, rows};
use super::{Conditions, Cost, Line, Model, Multiplier, Per, Rated, Ratio, RatioTable, Row};
use crate::{Credits, Quantity, decimal};

/// What one credit is sold for: more than nothing, with the digits of a [`Ratio`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditPrice {
    amount: Ratio,
    currency: String,
}

impl CreditPrice {
    /// `None` for zero, or a currency that is not three capital letters (ISO 4217).
    pub fn new(amount: Ratio, currency: &str) -> Option<Self> {
        let (mantissa, _) = amount.parts();
        (mantissa > 0 && Cost::is_currency(currency))
            .then(|| Self { amount, currency: currency.to_owned() })
    }

    /// In the currency's main unit.
    pub const fn amount(&self) -> Ratio {
        self.amount
    }

    /// Three capital letters.
    pub fn currency(&self) -> &str {
        &self.currency
    }
}

/// Money, exactly: an integer number of 10^-25 of a currency's main unit, at most 10^12 of it;
/// below zero where more was paid than earned. As text and in JSON a plain decimal string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ExactMoney(i128);

impl ExactMoney {
    /// Decimal places.
    pub const PLACES: u32 = 25;
    const MAX: i128 = 10_i128.pow(12 + Self::PLACES);

    const fn from_scaled(scaled: i128) -> Option<Self> {
        if scaled > Self::MAX || scaled < -Self::MAX { None } else { Some(Self(scaled)) }
    }

    /// What a quantity costs the operator. `None` over the limit, or where that has more than 25
    /// decimal places.
    pub fn cost(quantity: Quantity, cost: &Cost, per: Per) -> Option<Self> {
        // Without superfluous zeros, as `Cost` keeps it.
        let amount = cost.amount();
        let places = Quantity::PLACES + amount.scale() + u32::from(per.exponent());
        i128::from(quantity.millis())
            .checked_mul(amount.mantissa())?
            .checked_mul(10_i128.pow(Self::PLACES.checked_sub(places)?))
            .and_then(Self::from_scaled)
    }

    /// What credits are sold for. `None` over the limit.
    pub fn value(credits: Credits, price: &CreditPrice) -> Option<Self> {
        let (mantissa, scale) = price.amount.parts();
        let places = Credits::PLACES + u32::from(scale);
        credits
            .micros()
            .checked_mul(i128::from(mantissa))?
            .checked_mul(10_i128.pow(Self::PLACES.checked_sub(places)?))
            .and_then(Self::from_scaled)
    }

    /// The sum, or `None` over the limit.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        Self::from_scaled(self.0 + other.0)
    }

    /// The difference, or `None` over the limit.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        Self::from_scaled(self.0 - other.0)
    }
}

impl fmt::Display for ExactMoney {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&decimal::format_scaled(self.0, Self::PLACES))
    }
}

impl Serialize for ExactMoney {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `1 - cost / revenue`, rounded down to six places: at most 1, below zero where the operator pays
/// more than is earned. As text and in JSON a decimal string, 0.25 for a quarter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Margin(i128);

impl Margin {
    /// Decimal places.
    pub const PLACES: u32 = 6;

    /// Of a row in a price group. `None` where the row has no cost in the price's currency, where
    /// it earns nothing, and where the cost is more than 10^12 times what is earned.
    pub fn of_row(row: &Row, multiplier: Multiplier, price: &CreditPrice) -> Option<Self> {
        let cost = row.cost().filter(|cost| cost.currency() == price.currency)?.amount();
        let (ratio, ratio_scale) = row.rate().credits().parts();
        let (unit, unit_scale) = price.amount.parts();
        // At most 10^15 * 10^15 * 10^5. Both are for `per` units, so that makes no difference.
        let revenue =
            u128::from(ratio) * u128::from(unit) * u128::from(multiplier.ten_thousandths());
        let places = u32::from(ratio_scale) + u32::from(unit_scale) + Multiplier::PLACES;
        let exponent = i64::from(places) - i64::from(cost.scale());
        Self::new(cost.mantissa().unsigned_abs(), revenue, exponent)
    }

    /// Of what was paid and earned. `None` where nothing was earned, and as for a row.
    pub fn of(cost: ExactMoney, revenue: ExactMoney) -> Option<Self> {
        let unsigned = |money: ExactMoney| u128::try_from(money.0).ok();
        Self::new(unsigned(cost)?, unsigned(revenue)?, 0)
    }

    /// Of `cost / revenue * 10^exponent`. `revenue` is at most 10^37.
    fn new(cost: u128, revenue: u128, exponent: i64) -> Option<Self> {
        /// 10^12 times, in millionths.
        const MOST: u128 = 1_000_000_000_000_000_000;

        if revenue == 0 {
            return None;
        }
        let share = quotient_up(cost, revenue, exponent + i64::from(Self::PLACES))?;
        let share = i128::try_from(share).ok().filter(|_| share <= MOST)?;
        Some(Self(10_i128.pow(Self::PLACES) - share))
    }
}

/// `dividend / divisor * 10^exponent`, rounded up. `None` where that does not fit. The divisor is
/// at most 10^37.
fn quotient_up(dividend: u128, divisor: u128, exponent: i64) -> Option<u128> {
    if exponent < 0 {
        let scaled = u32::try_from(-exponent).ok().and_then(|n| 10_u128.checked_pow(n));
        let divisor = scaled.and_then(|factor| divisor.checked_mul(factor));
        // A divisor that does not fit is larger than any dividend.
        return Some(
            divisor.map_or(u128::from(dividend > 0), |divisor| dividend.div_ceil(divisor)),
        );
    }
    let (mut quotient, mut rest) = (dividend / divisor, dividend % divisor);
    for _ in 0..exponent {
        if rest == 0 && quotient == 0 {
            break;
        }
        rest *= 10;
        quotient = quotient.checked_mul(10)?.checked_add(rest / divisor)?;
        rest %= divisor;
    }
    quotient.checked_add(u128::from(rest > 0))
}

impl fmt::Display for Margin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&decimal::format_scaled(self.0, Self::PLACES))
    }
}

impl Serialize for Margin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A price with its margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PricedRow<'a> {
    /// What the row asks and costs, before the price group.
    #[serde(flatten)]
    pub price: Price<'a>,
    /// In the price group; see [`Margin::of_row`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<Margin>,
}

/// A row in both tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowPreview<'a> {
    /// What is counted.
    pub dimension: &'a str,
    /// The conditions; absent is always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<&'a Conditions>,
    /// Its price before and after, whether or not it changed.
    #[serde(flatten)]
    pub price: Change<PricedRow<'a>>,
}

/// A model in both tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelPreview<'a> {
    /// Its id.
    pub model: &'a str,
    /// Whether what it asks, what it costs, or which models there are changes.
    pub changed: bool,
    /// The lowest margin of its rows that have one.
    pub margin: Change<Margin>,
    /// The least that a request costs, before the price group.
    pub minimum: Change<Credits>,
    /// Its rows, by dimension and conditions.
    pub ratios: Vec<RowPreview<'a>>,
}

/// A table, and the price group in it.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The table.
    pub table: &'a RatioTable,
    /// The multiplier that its group has there.
    pub multiplier: Multiplier,
}

/// Two tables side by side.
#[derive(Debug, Clone, Copy)]
pub struct Comparison<'a> {
    /// The one that counts.
    pub from: Side<'a>,
    /// The one that might.
    pub to: Side<'a>,
    /// What a credit is sold for; without it there are no margins.
    pub price: Option<&'a CreditPrice>,
}

impl<'a> Comparison<'a> {
    /// All models of both tables, in the order of their ids.
    pub fn models(self) -> impl Iterator<Item = ModelPreview<'a>> {
        pairs(self.from.table.models(), self.to.table.models(), |model| model.id())
            .filter_map(move |(from, to)| self.model(from, to))
    }

    fn model(&self, from: Option<&'a Model>, to: Option<&'a Model>) -> Option<ModelPreview<'a>> {
        let priced = |row: Option<&'a Row>, side: &Side<'_>| {
            let row = row?;
            let margin = self.price.and_then(|p| Margin::of_row(row, side.multiplier, p));
            Some(PricedRow { price: Price::of(row), margin })
        };
        let of = |model: Option<&'a Model>| model.map_or(&[] as &[Row], Model::ratios);
        let ratios: Vec<RowPreview<'a>> = rows(of(from), of(to))
            .filter_map(|(from, to)| {
                let row = to.or(from)?;
                Some(RowPreview {
                    dimension: row.dimension(),
                    when: row.rate().when(),
                    price: Change { from: priced(from, &self.from), to: priced(to, &self.to) },
                })
            })
            .collect();
        let lowest = |of: fn(&Change<PricedRow<'a>>) -> Option<PricedRow<'a>>| {
            ratios.iter().filter_map(|row| of(&row.price)?.margin).min()
        };
        let margin = Change { from: lowest(|price| price.from), to: lowest(|price| price.to) };
        let minimum = Change { from: from.map(Model::minimum), to: to.map(Model::minimum) };
        let costs = |row: &Row| row.rate().credits().parts().0 > 0;
        let is_regrouped = self.from.multiplier != self.to.multiplier
            && to.is_some_and(|to| !to.minimum().is_zero() || to.ratios().iter().any(costs));
        let changed = is_regrouped
            || minimum.from != minimum.to
            || ratios.iter().any(|row| row.price.from != row.price.to)
            || from.map(Model::enabled) != to.map(Model::enabled);
        Some(ModelPreview { model: to.or(from)?.id(), changed, margin, minimum, ratios })
    }
}

/// A sum is over its limit: 10^15 credits, 10^12 of a currency, or 25 decimal places of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sum is over 10^15 credits or 10^12 of a currency, or has over 25 decimal places")]
pub struct OverLimit;

/// What usage came to by one table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    credits: Credits,
    costs: BTreeMap<String, ExactMoney>,
    uncosted_lines: u64,
}

impl Totals {
    /// Adds what one item came to by `table`.
    fn add(&mut self, table: &RatioTable, rated: &Rated, currency: Option<&str>) -> Option<()> {
        self.credits = self.credits.checked_add(rated.credits)?;
        for line in &rated.lines {
            let cost = row_of(table, line).and_then(Row::cost);
            if let Some(cost) = cost {
                let paid = ExactMoney::cost(line.quantity(), cost, line.rate().per())?;
                let sum = self.costs.entry(cost.currency().to_owned()).or_default();
                *sum = sum.checked_add(paid)?;
            }
            let counts = |cost: &Cost| currency.is_none_or(|wanted| cost.currency() == wanted);
            if !cost.is_some_and(counts) {
                self.uncosted_lines += 1;
            }
        }
        Some(())
    }

    /// What it cost the accounts.
    pub const fn credits(&self) -> Credits {
        self.credits
    }

    /// What it cost the operator, by currency.
    pub const fn costs(&self) -> &BTreeMap<String, ExactMoney> {
        &self.costs
    }

    /// How many lines have no cost in the table, or, where a price of credits is given, one in
    /// another currency: as if they cost nothing, they make what is earned look better than it is.
    pub const fn uncosted_lines(&self) -> u64 {
        self.uncosted_lines
    }

    /// What the credits are sold for, and what of it the operator pays. `None` over the limit.
    pub fn money(&self, price: &CreditPrice) -> Option<(ExactMoney, ExactMoney)> {
        let cost = self.costs.get(&price.currency).copied().unwrap_or_default();
        Some((ExactMoney::value(self.credits, price)?, cost))
    }
}

/// The row that priced a line.
fn row_of<'a>(table: &'a RatioTable, line: &Line) -> Option<&'a Row> {
    let rows = table.model(line.model())?.ratios();
    rows.iter().find(|row| row.dimension() == line.dimension() && row.rate() == line.rate())
}

/// What usage that both tables can price comes to by each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageTotals {
    /// How many items.
    pub items: u64,
    /// By the first table.
    pub from: Totals,
    /// By the second table.
    pub to: Totals,
    /// By model, as the first table names it.
    pub models: BTreeMap<String, (u64, Totals, Totals)>,
}

impl UsageTotals {
    /// Adds an item that both tables have rated.
    ///
    /// # Errors
    /// A sum would be over its limit; some sums may have grown.
    pub fn add(
        &mut self,
        comparison: &Comparison<'_>,
        from: &Rated,
        to: &Rated,
    ) -> Result<(), OverLimit> {
        let currency = comparison.price.map(CreditPrice::currency);
        let (count, old, new) = self.models.entry(from.model.clone()).or_default();
        *count += 1;
        self.items += 1;
        for (totals, side, rated) in [
            (&mut self.from, &comparison.from, from),
            (&mut self.to, &comparison.to, to),
            (old, &comparison.from, from),
            (new, &comparison.to, to),
        ] {
            totals.add(side.table, rated, currency).ok_or(OverLimit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::{Parameters, Request, Usage};
    use super::*;
    use crate::Timestamp;

    fn row(credits: &str, per: u64, cost: Option<(&str, &str)>) -> Value {
        let mut row = json!({"dimension": "input_tokens", "credits": credits, "per": per});
        if let Some((amount, currency)) = cost {
            row["cost"] = json!({"amount": amount, "currency": currency});
        }
        row
    }

    fn table(models: &[(&str, Value)]) -> RatioTable {
        let body = |row: &Value| json!({"feature": "text", "ratios": [row]});
        let models = models.iter().map(|(id, row)| ((*id).to_owned(), body(row)));
        let table = json!({
            "credit": {"scale": 4, "rounding": "up"},
            "groups": {"default": "1", "pro": "0.5", "byok": "0"},
            "features": {"text": {"dimensions": ["input_tokens"]}},
            "models": models.collect::<serde_json::Map<_, _>>(),
        });
        RatioTable::from_json(&table).unwrap_or_else(|error| panic!("{error}"))
    }

    fn dollars(amount: &str) -> CreditPrice {
        CreditPrice::new(amount.parse().unwrap(), "USD").unwrap()
    }

    #[test]
    fn margins() {
        let check =
            |credits: &str, cost: (&str, &str), price: &str, group: &str, expected: &str| {
                let table = table(&[("a", row(credits, 1_000_000, Some(cost)))]);
                let row = &table.model("a").unwrap().ratios()[0];
                let margin = Margin::of_row(row, table.group(group).unwrap(), &dollars(price));
                let shown = margin.map_or_else(|| "none".to_owned(), |margin| margin.to_string());
                assert_eq!(shown, expected, "{credits} credits at {price}, cost {cost:?}, {group}");
            };
        check("100", ("0.75", "USD"), "0.01", "default", "0.25");
        check("100", ("0.75", "USD"), "0.01", "pro", "-0.5");
        check("100", ("0.75", "USD"), "0.01", "byok", "none");
        check("100", ("0.75", "EUR"), "0.01", "default", "none");
        check("100", ("0", "USD"), "0.01", "default", "1");
        check("0", ("0", "USD"), "0.01", "default", "none");
        // Down, never up: 2/3 of the revenue is paid, and nearly all of it.
        check("3", ("2", "USD"), "1", "default", "0.333333");
        check("1", ("0.0000000001", "USD"), "1", "default", "0.999999");
        check("1", ("1.0000000001", "USD"), "1", "default", "-0.000001");
        // At the limits of the digits.
        check("0.000000000001", ("0.000000000001", "USD"), "1", "default", "0");
        check("1", ("0.000000000000000001", "USD"), "0.000000000000000001", "default", "0");
        check(
            "1",
            ("0.0000000000000000000000000001", "USD"),
            "1000000000000000",
            "default",
            "0.999999",
        );
        check("1", ("1000000000000", "USD"), "1", "default", "-999999999999");
        check("1", ("1000000000001", "USD"), "1", "default", "none");
        check(
            "0.000000000001",
            ("79228162514264337593543950335", "USD"),
            "0.000001",
            "default",
            "none",
        );
    }

    proptest! {
        /// Against fractions of small numbers, where nothing can overflow.
        #[test]
        fn a_margin_is_the_floor_of_the_fraction(
            credits in 1..100_000_i128, cost in 0..100_000_i128, cents in 1..1_000_i128,
            credits_places in 0..4_u32, cost_places in 0..4_u32,
        ) {
            let text = |value, places| decimal::format_scaled(value, places);
            let table = table(&[(
                "a", row(&text(credits, credits_places), 1000, Some((&text(cost, cost_places), "USD"))),
            )]);
            let row = &table.model("a").unwrap().ratios()[0];
            let margin = Margin::of_row(row, Multiplier::ONE, &dollars(&text(cents, 2))).unwrap();
            let revenue = credits * cents * 10_i128.pow(cost_places);
            let paid = cost * 10_i128.pow(credits_places + 2);
            let floor = ((revenue - paid) * 1_000_000).div_euclid(revenue);
            prop_assert_eq!(margin.to_string(), decimal::format_scaled(floor, 6));
        }

        #[test]
        fn a_quotient_is_rounded_up(
            dividend in 0..1_000_000_u128, divisor in 1..1_000_000_u128, exponent in -9..9_i64,
        ) {
            let power = |n: i64| 10_u128.pow(u32::try_from(n.max(0)).unwrap());
            let expected = (dividend * power(exponent)).div_ceil(divisor * power(-exponent));
            prop_assert_eq!(quotient_up(dividend, divisor, exponent), Some(expected));
        }
    }

    fn rate(table: &RatioTable, model: &str, millis: u64) -> Rated {
        let quantity = Quantity::from_millis(millis).unwrap();
        let usage = Usage::from([("input_tokens".to_owned(), quantity)]);
        let (parameters, at) = (Parameters::new(), Timestamp::MIN);
        let multiplier = Multiplier::ONE;
        table
            .rate(&Request { model, usage: &usage, parameters: &parameters, at, multiplier })
            .unwrap()
    }

    #[test]
    fn usage_is_summed_up_exactly() {
        let old = table(&[("a", row("3", 1000, Some(("0.01", "USD")))), ("b", row("1", 1, None))]);
        let new = table(&[
            ("a", row("2", 1000, Some(("0.02", "USD")))),
            ("b", row("1", 1, Some(("1.5", "EUR")))),
        ]);
        let price = dollars("0.01");
        let side = |table| Side { table, multiplier: Multiplier::ONE };
        let comparison = Comparison { from: side(&old), to: side(&new), price: Some(&price) };
        let mut totals = UsageTotals::default();
        for (model, millis) in [("a", 1_500_000), ("a", 500_000), ("b", 1_000)] {
            let (from, to) = (rate(&old, model, millis), rate(&new, model, millis));
            totals.add(&comparison, &from, &to).unwrap();
        }
        let shown = |totals: &Totals| {
            let (revenue, cost) = totals.money(&price).unwrap();
            let margin = Margin::of(cost, revenue).unwrap();
            let costs: Vec<_> = totals.costs().iter().map(|(c, m)| format!("{c} {m}")).collect();
            let (credits, uncosted) = (totals.credits(), totals.uncosted_lines());
            format!("{credits} {revenue} {margin} {uncosted} {}", costs.join(" "))
        };
        assert_eq!(totals.items, 3);
        assert_eq!(shown(&totals.from), "7 0.07 0.714285 1 USD 0.02");
        assert_eq!(shown(&totals.to), "5 0.05 0.2 1 EUR 1.5 USD 0.04");
        let (count, from, to) = &totals.models["a"];
        assert_eq!(
            (*count, &*shown(from), &*shown(to)),
            (2, "6 0.06 0.666666 0 USD 0.02", "4 0.04 0 0 USD 0.04")
        );

        // What is too fine or too much is refused, not rounded.
        let fine = table(&[("a", row("1", 1, Some(("0.0000000000000000000000001", "USD"))))]);
        let comparison = Comparison { from: side(&fine), to: side(&fine), price: None };
        let rated = rate(&fine, "a", 1_000);
        assert_eq!(totals.add(&comparison, &rated, &rated), Err(OverLimit));
    }

    #[test]
    fn models_side_by_side() {
        let old =
            table(&[("a", row("3", 1000, Some(("0.01", "USD")))), ("gone", row("1", 1, None))]);
        let new =
            table(&[("a", row("3", 1000, Some(("0.02", "USD")))), ("come", row("0", 1, None))]);
        let price = dollars("0.01");
        let side = |table| Side { table, multiplier: Multiplier::ONE };
        let comparison = Comparison { from: side(&old), to: side(&new), price: Some(&price) };
        let models: Vec<_> = comparison.models().collect();
        let row = |cost: &str, margin: &str| {
            json!({"credits": "3", "per": 1000, "cost": {"amount": cost, "currency": "USD"},
                   "margin": margin})
        };
        assert_eq!(
            serde_json::to_value(&models).unwrap(),
            json!([
                {"model": "a", "changed": true, "margin": {"from": "0.666666", "to": "0.333333"},
                 "minimum": {"from": "0", "to": "0"},
                 "ratios": [{"dimension": "input_tokens", "from": row("0.01", "0.666666"),
                             "to": row("0.02", "0.333333")}]},
                {"model": "come", "changed": true, "margin": {}, "minimum": {"to": "0"},
                 "ratios": [{"dimension": "input_tokens", "to": {"credits": "0", "per": 1}}]},
                {"model": "gone", "changed": true, "margin": {}, "minimum": {"from": "0"},
                 "ratios": [{"dimension": "input_tokens", "from": {"credits": "1", "per": 1}}]},
            ])
        );
        assert!(Comparison { to: side(&old), ..comparison }.models().all(|model| !model.changed));
    }
}
