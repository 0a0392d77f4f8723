//! From prices that depend on several things to the rows of a table.
//!
//! A table asks that the choice between rows is unambiguous: where two rows can hold together, a
//! third has the conditions of both. Rows for *all* combinations of some axes, each of which has
//! "none of these" among its values, are just that. Of those, a row is left out where without it
//! another would be chosen that costs the same.

use serde_json::{Map, Value, json};
use uc_domain::ratios::{Conditions, PROMPT_TOKENS};

use super::price::Price;
use crate::costs::CostRow;

/// Most combinations that are looked at for one dimension.
const MAX_CELLS: usize = 4_096;
/// Most rows of a model in a ratio table.
const MAX_ROWS: usize = 256;

/// One value of an axis, as conditions of a row.
pub(super) type When = Vec<(String, Value)>;

/// What an axis is made of: each value once, ascending.
pub(super) fn ascending<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// What a price may depend on.
pub(super) struct Axis {
    /// The values but the first, which is none of them and has no conditions.
    values: Vec<When>,
    /// Whether a value holds only where the one before it does: tiers, and prices from a date on.
    /// Others exclude each other.
    nested: bool,
}

impl Axis {
    /// A parameter with some values.
    pub fn parameter(name: &str, values: impl IntoIterator<Item = String>) -> Self {
        Self::exclusive(values.into_iter().map(|value| vec![(name.to_owned(), value.into())]))
    }

    /// Values of which at most one holds.
    pub fn exclusive(values: impl IntoIterator<Item = When>) -> Self {
        Self { values: values.into_iter().collect(), nested: false }
    }

    /// Tiers by the size of the prompt, ascending. The border belongs to the lower one unless it
    /// is `inclusive`.
    pub fn tiers(borders: &[u64], inclusive: bool) -> Self {
        Self::thresholds(PROMPT_TOKENS, borders, inclusive)
    }

    /// Tiers by a quantity, ascending.
    pub fn thresholds(quantity: &str, borders: &[u64], inclusive: bool) -> Self {
        let kind = if inclusive { "gte" } else { "gt" };
        let value = |border: &u64| vec![(quantity.to_owned(), json!({ kind: border }))];
        Self { values: borders.iter().map(value).collect(), nested: true }
    }

    /// Prices from dates on, ascending.
    pub fn from_dates(dates: &[String]) -> Self {
        let value = |date: &String| vec![("from".to_owned(), date.clone().into())];
        Self { values: dates.iter().map(value).collect(), nested: true }
    }

    fn len(&self) -> usize {
        self.values.len() + 1
    }
}

/// Why there are no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum GridError {
    #[error("the price depends on too many things at once")]
    TooMany,
    #[error("not conditions of a ratio")]
    Conditions,
}

/// The rows of one dimension. `price` tells what a unit costs at a place: an index into each axis,
/// 0 being none of its values. Where it tells nothing there is no row.
pub(super) fn rows(
    dimension: &str,
    axes: &[Axis],
    mut price: impl FnMut(&[usize]) -> Option<Price>,
) -> Result<Vec<CostRow>, GridError> {
    let cells = axes.iter().try_fold(1_usize, |product, axis| product.checked_mul(axis.len()));
    let cells = cells.filter(|cells| *cells <= MAX_CELLS).ok_or(GridError::TooMany)?;

    // Whatever implies less comes before what implies more.
    let mut kept: Vec<(Vec<usize>, Price)> = Vec::new();
    for cell in 0..cells {
        let place = place(axes, cell);
        let Some(price) = price(&place) else { continue };
        let below = || kept.iter().filter(|(other, _)| implies(axes, &place, other));
        // The one that would be chosen without this row; where there is none, this row decides
        // between two.
        let chosen = below()
            .next_back()
            .filter(|(chosen, _)| below().all(|(other, _)| implies(axes, chosen, other)));
        if chosen.is_none_or(|(_, other)| *other != price) {
            if kept.len() == MAX_ROWS {
                return Err(GridError::TooMany);
            }
            kept.push((place, price));
        }
    }

    let mut rows = Vec::new();
    for (place, price) in kept {
        let conditions: Map<String, Value> = place
            .iter()
            .zip(axes)
            .filter_map(|(value, axis)| axis.values.get(value.checked_sub(1)?))
            .flatten()
            .cloned()
            .collect();
        let when = if conditions.is_empty() {
            None
        } else {
            let text = Value::Object(conditions).to_string();
            Some(Conditions::from_text(&text).map_err(|_| GridError::Conditions)?)
        };
        rows.push(super::row(dimension, price, when));
    }
    Ok(rows)
}

/// The place of a cell, the last axis changing fastest.
fn place(axes: &[Axis], mut cell: usize) -> Vec<usize> {
    let mut place = vec![0; axes.len()];
    for (value, axis) in place.iter_mut().zip(axes).rev() {
        *value = cell % axis.len();
        cell /= axis.len();
    }
    place
}

/// Whether the conditions of a place hold only where those of another do.
fn implies(axes: &[Axis], place: &[usize], other: &[usize]) -> bool {
    place.iter().zip(other).zip(axes).all(|((ours, theirs), axis)| {
        *theirs == 0 || ours == theirs || axis.nested && ours > theirs
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::from_value;
    use uc_domain::ratios::{Multiplier, RatioTable, Request};
    use uc_domain::{Quantity, Timestamp};

    use super::*;

    fn price(text: &str) -> Price {
        Price::read(text, 0).unwrap().price
    }

    /// Rows as `amount when`.
    fn check(axes: &[Axis], table: impl Fn(&[usize]) -> &'static str, expected: &[&str]) {
        let prices = |place: &[usize]| Some(table(place)).filter(|t| !t.is_empty()).map(price);
        let rows: Vec<String> = rows("requests", axes, prices)
            .unwrap()
            .into_iter()
            .map(|row| {
                let when = row.when.map(|when| format!(" {when}")).unwrap_or_default();
                format!("{}{when}", row.amount)
            })
            .collect();
        assert_eq!(rows, expected);
    }

    fn classes() -> Axis {
        Axis::parameter("service_class", ["batch".to_owned(), "flex".to_owned()])
    }

    #[test]
    fn only_what_changes_a_price_is_a_row() {
        let tiers = || Axis::tiers(&[10, 20, 30], false);
        check(&[classes(), tiers()], |_| "1", &["1"]);
        check(
            &[classes()],
            |place| ["1", "0.5", "1"][place[0]],
            &["1", r#"0.5 {"service_class":"batch"}"#],
        );
        // The second tier costs what the first does; the third goes back to the base.
        check(
            &[tiers()],
            |place| ["1", "2", "2", "1"][place[0]],
            &["1", r#"2 {"prompt_tokens":{"gt":10}}"#, r#"1 {"prompt_tokens":{"gt":30}}"#],
        );
        // The last decides between the two before.
        check(
            &[classes(), Axis::tiers(&[10], true)],
            |place| [["1", "2"], ["0.5", "0.5"], ["1", "2"]][place[0]][place[1]],
            &[
                "1",
                r#"2 {"prompt_tokens":{"gte":10}}"#,
                r#"0.5 {"service_class":"batch"}"#,
                r#"0.5 {"prompt_tokens":{"gte":10},"service_class":"batch"}"#,
            ],
        );
        // Only together.
        check(
            &[classes(), Axis::tiers(&[10], false)],
            |place| if place == [1, 1] { "2" } else { "1" },
            &["1", r#"2 {"prompt_tokens":{"gt":10},"service_class":"batch"}"#],
        );
        check(
            &[classes()],
            |place| ["", "0.5", ""][place[0]],
            &[r#"0.5 {"service_class":"batch"}"#],
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The table chooses at each place the price that was given for it.
        #[test]
        fn every_place_has_its_price(prices in prop::collection::vec(1_u8..4, 3 * 3 * 3 * 3)) {
            let dates = ["2026-01-01T00:00:00Z".to_owned(), "2026-02-01T00:00:00Z".to_owned()];
            let window = |from: &str, until: &str| {
                vec![("time_of_day".to_owned(), json!({"from": from, "until": until}))]
            };
            let axes = [
                Axis::tiers(&[10, 20], false),
                Axis::from_dates(&dates),
                Axis::exclusive([window("06:00", "12:00"), window("22:00", "04:00")]),
                classes(),
            ];
            let at = |place: &[usize]| {
                let cell = place.iter().fold(0, |cell, value| cell * 3 + value);
                price(&prices[cell].to_string())
            };
            let rows = rows("input_tokens", &axes, |place| Some(at(place))).unwrap();
            let table = json!({
                "credit": {"scale": 6, "rounding": "up"},
                "groups": {"default": "1"},
                "features": {"any": {"dimensions": ["input_tokens"]}},
                "models": {"m": {"feature": "any", "ratios": super::super::ratios(&rows, "USD")}},
            });
            let table = RatioTable::from_json(&table).unwrap();
            for cell in 0..prices.len() {
                let place = place(&axes, cell);
                let tokens = [10, 20, 21][place[0]];
                let month = ["2025-12", "2026-01", "2026-02"][place[1]];
                let hour = ["05", "11", "23"][place[2]];
                let when: Timestamp = format!("{month}-15T{hour}:59:59Z").parse().unwrap();
                let class = ["none", "batch", "flex"][place[3]];
                let tokens = Quantity::from_whole(tokens).unwrap();
                let rated = table.rate(&Request {
                    model: "m",
                    usage: &[("input_tokens".to_owned(), tokens)].into(),
                    parameters: &from_value(json!({"service_class": class})).unwrap(),
                    at: when,
                    multiplier: Multiplier::ONE,
                });
                let expected = at(&place).amount(super::super::per("input_tokens")).to_string();
                prop_assert_eq!(rated.unwrap().lines[0].rate().credits().to_string(), expected);
            }
        }
    }
}
