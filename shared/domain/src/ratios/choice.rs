//! The check that makes the choice of row unambiguous.
//!
//! A request may fulfil the conditions of several rows of a dimension; the one applies whose
//! conditions imply all the others'. There must be one for every request. So for any two rows that
//! can hold together and neither implies the other, rows with the conditions of both must hold
//! wherever both do. (Then there is one: take a row that holds and that no other row that holds
//! implies. For any further row that holds there is a row that holds and implies both. It implies
//! the first, so it is the first; so the first implies them all.)

use std::collections::BTreeMap;

use super::conditions::{Conditions, Timeless};
use super::document::{Faults, Path};

/// A row of a model: its index, its dimension, its conditions.
pub(super) type Key<'a> = (usize, &'a str, &'a Conditions);

/// Reports every pair of rows between which a request could not choose. `at` is the array of rows.
pub(super) fn check(rows: &[Key<'_>], at: &Path<'_>, faults: &mut Faults) {
    let mut by_dimension: BTreeMap<&str, Vec<(usize, &Conditions, Timeless<'_>)>> = BTreeMap::new();
    for (index, dimension, conditions) in rows {
        by_dimension.entry(dimension).or_default().push((
            *index,
            conditions,
            conditions.timeless(),
        ));
    }
    for (dimension, rows) in by_dimension {
        let mut same: BTreeMap<&Timeless<'_>, Vec<&Conditions>> = BTreeMap::new();
        for (_, conditions, timeless) in &rows {
            same.entry(timeless).or_default().push(conditions);
        }
        for (n, (later, a, a_timeless)) in rows.iter().enumerate() {
            for (earlier, b, b_timeless) in &rows[..n] {
                if faults.is_full() {
                    return;
                }
                let here = at.index(*later);
                let there = at.index(*earlier);
                match (a.imply(b), b.imply(a)) {
                    (true, true) => faults.invalid(
                        &here,
                        format_args!("prices {dimension:?} under the same conditions as {there}"),
                    ),
                    (false, false) => {
                        let Some(both) = a_timeless.and(b_timeless) else { continue };
                        let with_both: Vec<_> = same
                            .get(&both)
                            .into_iter()
                            .flatten()
                            .copied()
                            .filter(|row| row.imply(a) && row.imply(b))
                            .collect();
                        if Conditions::some_instant(&[a, b], &with_both) {
                            faults.invalid(
                                &here,
                                format_args!(
                                    "a request can fulfil this row, {a}, and {there}, {b}: add a \
                                     row for {dimension:?} with the conditions of both"
                                ),
                            );
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}
