//! What a dimension counts as where a model doesn't price it apart.
//!
//! Providers' responses tell more than most prices ask: which of the prompt was cached audio,
//! which of the output was reasoning. A model that has one price for all of it needs no row for
//! each part. Which dimension is part of which is data of the table, so a part without a row is
//! refused unless the administrator said what it counts as: pictures that are priced as text
//! because somebody forgot their row would be sold under their cost.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::document::{Faults, Path};
use super::model::{self, read_dimension};

/// Most dimensions that a table says this of.
const MAX_DIMENSIONS: usize = 64;
/// Most dimensions that one can be a part of.
const MAX_WHOLES: usize = 8;

/// What is so without being said: where thinking has no price of its own it is output, with every
/// provider.
const ALWAYS: (&str, &str) = ("output_reasoning_tokens", "output_tokens");

/// A dimension's place among the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Dimension {
    /// What it counts as where it has no row: the first that has one, nearest first.
    part_of: Vec<String>,
}

/// The dimensions that are parts of others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Dimensions(BTreeMap<String, Dimension>);

impl Dimensions {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that are parts, with what each is part of.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, dimension)| (name.as_str(), dimension.part_of.as_slice()))
    }

    /// What a dimension is directly part of.
    fn wholes<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let said = self.0.get(name).map(|dimension| dimension.part_of.iter().map(String::as_str));
        let always = (said.is_none() && name == ALWAYS.0).then_some(ALWAYS.1);
        said.into_iter().flatten().chain(always)
    }

    /// Of the dimensions that one is part of, the first for which `find` finds something: those
    /// directly named in their order, then what those are part of.
    pub fn find<'a, T>(
        &'a self,
        name: &str,
        mut find: impl FnMut(&'a str) -> Option<T>,
    ) -> Option<T> {
        let mut seen: Vec<&str> = self.wholes(name).collect();
        let mut next = 0;
        while let Some(whole) = seen.get(next).copied() {
            if let Some(found) = find(whole) {
                return Some(found);
            }
            for further in self.wholes(whole) {
                if !seen.contains(&further) {
                    seen.push(further);
                }
            }
            next += 1;
        }
        None
    }

    /// Reads the section. Everything wrong is reported; `None` where something is.
    pub fn read(value: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let object = faults.any_object(value, at)?;
        if object.len() > MAX_DIMENSIONS {
            faults.invalid(at, format_args!("at most {MAX_DIMENSIONS} dimensions"));
            return None;
        }
        let mut dimensions = Some(BTreeMap::new());
        for (name, body) in object {
            let at = at.key(name);
            let name = read_dimension(&Value::String(name.clone()), &at, faults);
            let part_of = read_part_of(body, &at, faults);
            model::push(
                &mut dimensions,
                name.zip(part_of).map(|(name, part_of)| (name, Dimension { part_of })),
            );
        }
        let dimensions = Self(dimensions?);
        if let Some(name) = dimensions.cyclic() {
            faults.invalid(&at.key(name), "this dimension is a part of itself");
            return None;
        }
        Some(dimensions)
    }

    /// A dimension that is part of itself, if there is one: what remains when all are taken away
    /// that are parts only of what was taken before.
    fn cyclic(&self) -> Option<&str> {
        let mut left: BTreeMap<&str, &[String]> = self.iter().collect();
        loop {
            let before = left.len();
            let names: Vec<&str> = left.keys().copied().collect();
            left.retain(|_, part_of| part_of.iter().any(|whole| names.contains(&whole.as_str())));
            match left.first_key_value() {
                None => return None,
                Some((name, _)) if left.len() == before => return Some(name),
                Some(_) => {}
            }
        }
    }
}

fn read_part_of(body: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<Vec<String>> {
    let object = faults.object(body, at, &["part_of"])?;
    let value = faults.required(object, at, "part_of")?;
    let at = at.key("part_of");
    let items = faults.array(value, &at, MAX_WHOLES)?;
    if items.is_empty() {
        faults.invalid(&at, "name at least one dimension, or leave this one out");
        return None;
    }
    let mut wholes: Option<Vec<String>> = Some(Vec::with_capacity(items.len()));
    for (index, item) in items.iter().enumerate() {
        let at = at.index(index);
        let mut whole = read_dimension(item, &at, faults);
        if whole.as_ref().is_some_and(|name| wholes.iter().flatten().any(|known| known == name)) {
            faults.invalid(&at, "this dimension is listed twice");
            whole = None;
        }
        model::push(&mut wholes, whole);
    }
    wholes
}
