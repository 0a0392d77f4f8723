//! What changed between two tables.
//!
//! What means nothing is no change: the order of rows, aliases, match rules and a feature's
//! dimensions. Rows are the same row where dimension and conditions are written alike, so that an
//! administrator finds their own words again: `{"gt": 9}` that became `{"gte": 10}` is a row gone
//! and a row come.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use serde::Serialize;

use super::{
    Conditions, Cost, CreditRule, MatchRule, Model, Multiplier, Per, Ratio, RatioTable, Row,
};
use crate::Credits;

/// A value before and after; `None` where there is none. Not both are `None`, and they differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change<T> {
    /// In the first table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<T>,
    /// In the second table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<T>,
}

impl<T: PartialEq> Change<T> {
    fn of(from: T, to: T) -> Option<Self> {
        (from != to).then_some(Self { from: Some(from), to: Some(to) })
    }
}

/// Names that came and went, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListChange<'a> {
    /// Only in the second table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<&'a str>,
    /// Only in the first table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<&'a str>,
}

impl<'a> ListChange<'a> {
    fn of(
        from: impl Iterator<Item = &'a String>,
        to: impl Iterator<Item = &'a String>,
    ) -> Option<Self> {
        let from: BTreeSet<&str> = from.map(String::as_str).collect();
        let to: BTreeSet<&str> = to.map(String::as_str).collect();
        let only = |these: &BTreeSet<&'a str>, others| these.difference(others).copied().collect();
        let change = Self { added: only(&to, &from), removed: only(&from, &to) };
        (!change.added.is_empty() || !change.removed.is_empty()).then_some(change)
    }
}

/// What changed of what is not of one model. Empty where nothing did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HeadDiff<'a> {
    /// How sums are rounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credit: Option<Change<CreditRule>>,
    /// Price groups, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<&'a str, Change<Multiplier>>,
    /// What features require, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub features: BTreeMap<&'a str, Change<BTreeSet<&'a str>>>,
    /// What dimensions are part of, by name; in the order in which they count.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dimensions: BTreeMap<&'a str, Change<&'a [String]>>,
}

impl HeadDiff<'_> {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a row asks, and what it costs the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Price<'a> {
    /// Credits for `per` units.
    pub credits: Ratio,
    /// The number of units that credits and cost are for.
    pub per: Per,
    /// What the operator pays for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<&'a Cost>,
}

impl<'a> Price<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        Self { credits: row.rate().credits(), per: row.rate().per(), cost: row.cost() }
    }
}

/// A row whose price changed, that came, or that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowDiff<'a> {
    /// What is counted.
    pub dimension: &'a str,
    /// The conditions; absent is always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<&'a Conditions>,
    /// Its price before and after.
    #[serde(flatten)]
    pub price: Change<Price<'a>>,
}

/// What changed of a model that both tables have; at least one thing did.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Changes<'a> {
    /// The feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<Change<&'a str>>,
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Change<&'a str>>,
    /// Whether it may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<Change<bool>>,
    /// Other names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aliases: Option<ListChange<'a>>,
    /// The prefixes of its match rules.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub match_rules: Option<ListChange<'a>>,
    /// The least that a request costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Change<Credits>>,
    /// The rows, by dimension and conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ratios: Vec<RowDiff<'a>>,
}

/// How a model changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum ModelChange<'a> {
    /// Only the second table has it.
    Added {
        /// The model there.
        to: &'a Model,
    },
    /// Only the first table has it.
    Removed {
        /// The model there.
        from: &'a Model,
    },
    /// Both have it.
    Changed(Box<Changes<'a>>),
}

/// A model that changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelDiff<'a> {
    /// Its id.
    pub model: &'a str,
    /// How it changed.
    #[serde(flatten)]
    pub change: ModelChange<'a>,
}

/// How many models changed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Only in the second table.
    pub added: usize,
    /// Only in the first table.
    pub removed: usize,
    /// In both, and different.
    pub changed: usize,
    /// In both, and the same.
    pub unchanged: usize,
}

/// All that changed from one table to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableDiff<'a> {
    /// How many models changed.
    pub counts: Counts,
    /// What is not of one model.
    pub head: HeadDiff<'a>,
    /// The models that changed, in the order of their ids.
    pub models: Vec<ModelDiff<'a>>,
}

impl<'a> TableDiff<'a> {
    /// What changed from one table to another. The work is linear in their sizes.
    pub fn between(from: &'a RatioTable, to: &'a RatioTable) -> Self {
        let mut counts = Counts::default();
        let mut models = Vec::new();
        for (from, to) in pairs(from.models(), to.models(), |model| model.id()) {
            let (model, change) = match (from, to) {
                (None, Some(to)) => {
                    counts.added += 1;
                    (to.id(), ModelChange::Added { to })
                }
                (Some(from), None) => {
                    counts.removed += 1;
                    (from.id(), ModelChange::Removed { from })
                }
                (Some(from), Some(to)) => {
                    let Some(changes) = changes(from, to) else {
                        counts.unchanged += 1;
                        continue;
                    };
                    counts.changed += 1;
                    (to.id(), ModelChange::Changed(Box::new(changes)))
                }
                (None, None) => continue,
            };
            models.push(ModelDiff { model, change });
        }
        Self { counts, head: head(from, to), models }
    }
}

fn head<'a>(from: &'a RatioTable, to: &'a RatioTable) -> HeadDiff<'a> {
    let set = |dimensions: &'a [String]| dimensions.iter().map(String::as_str).collect();
    let features = |table: &'a RatioTable| table.features().map(move |(n, d)| (n, set(d)));
    HeadDiff {
        credit: Change::of(from.credit_rule(), to.credit_rule()),
        groups: by_name(from.groups(), to.groups()),
        features: by_name(features(from), features(to)),
        dimensions: by_name(from.parts(), to.parts()),
    }
}

/// The entries that differ of two sorted lists.
fn by_name<'a, T: PartialEq>(
    from: impl Iterator<Item = (&'a str, T)>,
    to: impl Iterator<Item = (&'a str, T)>,
) -> BTreeMap<&'a str, Change<T>> {
    let mut changes = BTreeMap::new();
    for (from, to) in pairs(from, to, |entry| entry.0) {
        let Some(name) = from.as_ref().or(to.as_ref()).map(|entry| entry.0) else { continue };
        let (from, to) = (from.map(|entry| entry.1), to.map(|entry| entry.1));
        if from != to {
            changes.insert(name, Change { from, to });
        }
    }
    changes
}

fn changes<'a>(from: &'a Model, to: &'a Model) -> Option<Changes<'a>> {
    if from == to {
        return None;
    }
    let prefixes =
        |model: &'a Model| model.match_rules().iter().map(|MatchRule::StartsWith(prefix)| prefix);
    let ratios = rows(from.ratios(), to.ratios()).filter_map(|(from, to)| {
        let row = to.or(from)?;
        let (from, to) = (from.map(Price::of), to.map(Price::of));
        (from != to).then_some(RowDiff {
            dimension: row.dimension(),
            when: row.rate().when(),
            price: Change { from, to },
        })
    });
    let changes = Changes {
        feature: Change::of(from.feature(), to.feature()),
        name: Change::of(from.name(), to.name()),
        enabled: Change::of(from.enabled(), to.enabled()),
        aliases: ListChange::of(from.aliases().iter(), to.aliases().iter()),
        match_rules: ListChange::of(prefixes(from), prefixes(to)),
        minimum: Change::of(from.minimum(), to.minimum()),
        ratios: ratios.collect(),
    };
    // Where only an order changed, the models differ and say the same.
    (changes != Changes::default()).then_some(changes)
}

/// The rows of two models with the same dimension and conditions, side by side, in the order of
/// those.
pub(super) fn rows<'a>(
    from: &'a [Row],
    to: &'a [Row],
) -> impl Iterator<Item = (Option<&'a Row>, Option<&'a Row>)> {
    let keyed = |rows: &'a [Row]| -> BTreeMap<(&'a str, String), &'a Row> {
        let when = |row: &Row| row.rate().when().map_or_else(String::new, Conditions::to_text);
        rows.iter().map(|row| ((row.dimension(), when(row)), row)).collect()
    };
    let pairs = pairs(keyed(from).into_iter(), keyed(to).into_iter(), |(key, _)| key.clone());
    pairs.map(|(from, to)| (from.map(|(_, row)| row), to.map(|(_, row)| row)))
}

/// Walks through two sorted lists at once: those with the same key side by side.
pub(super) fn pairs<T, K: Ord>(
    from: impl Iterator<Item = T>,
    to: impl Iterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> impl Iterator<Item = (Option<T>, Option<T>)> {
    fn next_if<T>(list: &mut Peekable<impl Iterator<Item = T>>, take: bool) -> Option<T> {
        if take { list.next() } else { None }
    }

    let (mut from, mut to) = (from.peekable(), to.peekable());
    std::iter::from_fn(move || {
        let order = match (from.peek(), to.peek()) {
            (None, None) => return None,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => key(a).cmp(&key(b)),
        };
        Some((next_if(&mut from, order.is_le()), next_if(&mut to, order.is_ge())))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn table(models: Value) -> Value {
        json!({
            "credit": {"scale": 4, "rounding": "up"},
            "groups": {"default": "1", "pro": "0.9"},
            "features": {"text": {"dimensions": ["input_tokens"]}},
            "models": models,
        })
    }

    fn row(credits: &str) -> Value {
        json!({"dimension": "input_tokens", "credits": credits, "per": 1000})
    }

    fn model(ratios: Value) -> Value {
        json!({"feature": "text", "ratios": ratios})
    }

    fn read(table: &Value) -> RatioTable {
        RatioTable::from_json(table).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The counts added, removed, changed, unchanged, then head and models.
    #[track_caller]
    fn check(from: &Value, to: &Value, counts: [usize; 4], head: Value, models: Value) {
        let (from, to) = (read(from), read(to));
        let diff = TableDiff::between(&from, &to);
        let Counts { added, removed, changed, unchanged } = diff.counts;
        assert_eq!([added, removed, changed, unchanged], counts);
        assert_eq!(serde_json::to_value(&diff.head).unwrap(), head);
        assert_eq!(serde_json::to_value(&diff.models).unwrap(), models);
        // The other way round everything is the other way round.
        let back = TableDiff::between(&to, &from);
        assert_eq!([back.counts.removed, back.counts.added], counts[..2]);
        assert_eq!(back.models.len(), diff.models.len());
    }

    #[test]
    fn tables() {
        let cost = |amount: &str| json!({"amount": amount, "currency": "USD"});
        let same = table(json!({"a": model(json!([row("1")]))}));
        check(&same, &same, [0, 0, 0, 1], json!({}), json!([]));

        let mut costly = row("2");
        costly["cost"] = cost("1");
        let mut batch = row("0.5");
        batch["when"] = json!({"service_class": "batch"});
        let mut to = table(json!({
            "a": model(json!([batch, costly])), "b": model(json!([row("3")])),
        }));
        to["models"]["a"]["name"] = json!("A");
        to["models"]["a"]["minimum"] = json!("0.1");
        to["models"]["a"]["enabled"] = json!(false);
        to["models"]["a"]["aliases"] = json!(["x"]);
        to["models"]["a"]["match"] = json!([{"starts_with": "x-"}]);
        let price = |credits: &str| json!({"credits": credits, "per": 1000});
        check(
            &same,
            &to,
            [1, 0, 1, 0],
            json!({}),
            json!([
                {
                    "model": "a", "change": "changed",
                    "name": {"from": "a", "to": "A"}, "enabled": {"from": true, "to": false},
                    "aliases": {"added": ["x"]}, "match": {"added": ["x-"]},
                    "minimum": {"from": "0", "to": "0.1"},
                    "ratios": [
                        {"dimension": "input_tokens", "from": price("1"),
                         "to": {"credits": "2", "per": 1000, "cost": cost("1")}},
                        {"dimension": "input_tokens", "when": {"service_class": "batch"},
                         "to": price("0.5")},
                    ],
                },
                {
                    "model": "b", "change": "added",
                    "to": {"feature": "text", "name": "b", "enabled": true, "ratios": [row("3")]},
                },
            ]),
        );

        let mut to = same.clone();
        to["credit"] = json!({"scale": 2, "rounding": "up"});
        to["groups"] = json!({"default": "1", "byok": "0"});
        to["features"]["image"] = json!({"dimensions": ["output_images"]});
        to["dimensions"] = json!({"cache_read_audio_tokens": {"part_of": ["cache_read_tokens"]}});
        check(
            &same,
            &to,
            [0, 0, 0, 1],
            json!({
                "credit": {"from": {"scale": 4, "rounding": "up"},
                           "to": {"scale": 2, "rounding": "up"}},
                "groups": {"byok": {"to": "0"}, "pro": {"from": "0.9"}},
                "features": {"image": {"to": ["output_images"]}},
                "dimensions": {"cache_read_audio_tokens": {"to": ["cache_read_tokens"]}},
            }),
            json!([]),
        );

        // An order says nothing; the same price in other words is a change of words.
        let mut from = table(json!({"a": model(json!([row("1"), batch]))}));
        from["models"]["a"]["aliases"] = json!(["x", "y"]);
        let mut to = table(json!({"a": model(json!([batch, row("1.0")]))}));
        to["models"]["a"]["aliases"] = json!(["y", "x"]);
        check(&from, &to, [0, 0, 0, 1], json!({}), json!([]));
        to["models"]["a"]["ratios"][1]["per"] = json!(1_000_000);
        to["models"]["a"]["ratios"][1]["credits"] = json!("1000");
        let ratios = json!([{
            "dimension": "input_tokens", "from": price("1"),
            "to": {"credits": "1000", "per": 1_000_000},
        }]);
        check(
            &from,
            &to,
            [0, 0, 1, 0],
            json!({}),
            json!([{"model": "a", "change": "changed", "ratios": ratios}]),
        );
    }

    proptest! {
        #[test]
        fn counts_and_models_are_those_of_the_sets(
            from in prop::collection::btree_map("[a-f]", 1..4_u8, 0..6),
            to in prop::collection::btree_map("[a-f]", 1..4_u8, 0..6),
        ) {
            let make = |models: &BTreeMap<String, u8>| {
                let models = models.iter().map(|(id, price)| {
                    (id.clone(), model(json!([row(&price.to_string())])))
                });
                read(&table(Value::Object(models.collect())))
            };
            let (old, new) = (make(&from), make(&to));
            let diff = TableDiff::between(&old, &new);
            let changed: Vec<&str> = ["a", "b", "c", "d", "e", "f"]
                .into_iter()
                .filter(|id| from.get(*id) != to.get(*id))
                .collect();
            let listed: Vec<&str> = diff.models.iter().map(|model| model.model).collect();
            prop_assert_eq!(listed, changed);
            let both = from.keys().filter(|id| to.contains_key(*id)).count();
            let Counts { added, removed, changed, unchanged } = diff.counts;
            prop_assert_eq!((added, removed), (to.len() - both, from.len() - both));
            prop_assert_eq!(changed + unchanged, both);
            prop_assert!(diff.head.is_empty());
        }
    }
}
