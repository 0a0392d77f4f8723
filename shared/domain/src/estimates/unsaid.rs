//! [`Unsaid`]: parameters that prices depend on and that a description leaves open.

use std::collections::{BTreeMap, BTreeSet};

use super::PriceError;
use crate::Timestamp;
use crate::ratios::{Conditions, Model, Parameters, RatioTable};

/// Most combinations of values that are looked at. A dimension has no more of them than rows.
const MAX_COMBINATIONS: usize = 256;

/// Parameters that a request gets only where it asks for them: what it doesn't say is not so. (Of
/// the tools it names, a description tells itself by which one it searches.)
const ASKED_FOR: &[&str] = &[
    "service_class",
    "speed",
    "latency",
    "inference_geo",
    "data_residency",
    "endpoint",
    "route",
    "cache_type",
    "web_search_tool",
];

/// Of which dimensions a price may depend on something that a description doesn't say. Every
/// parameter may be open that the rows of these dimensions name, such as a picture's size, but for
/// what must be asked for (`service_class` ...). So may be when it happens. The default is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unsaid {
    /// Until when it may happen, at most some days after the time of the request: prices may change
    /// meanwhile. Where there is none, it happens at that time.
    pub until: Option<Timestamp>,
    pub(super) dimensions: BTreeSet<String>,
    /// What `grounding` may say: what the tools that are named ground in.
    pub(super) grounding: BTreeSet<&'static str>,
    /// Whether a container is used whose `memory_limit` an earlier request said.
    pub(super) has_old_container: bool,
}

/// What is open of a request to a model.
pub(super) struct Open {
    /// The parameters that are not said, by dimension.
    pub names: BTreeMap<String, Vec<String>>,
    /// What the parameters may be: first those that are said alone. Whatever the others are, the
    /// rows that price it are those of one of these.
    pub combinations: Vec<Parameters>,
}

impl Unsaid {
    /// Nothing but when it happens: until then.
    pub fn within(until: Timestamp) -> Self {
        Self { until: Some(until), ..Self::default() }
    }

    pub(super) fn of(
        &self,
        table: &RatioTable,
        model: &Model,
        said: &Parameters,
    ) -> Result<Open, PriceError> {
        let mut names = BTreeMap::new();
        let mut all = BTreeSet::from([Parameters::new()]);
        for dimension in &self.dimensions {
            let rows = table.rows_of(model, dimension);
            let conditions = rows.iter().filter_map(|row| row.rate().when());
            let mut own: BTreeSet<Parameters> =
                conditions.filter_map(|conditions| self.left_open(conditions, said)).collect();
            own.remove(&Parameters::new());
            if own.is_empty() {
                continue;
            }
            let named: BTreeSet<&String> = own.iter().flat_map(BTreeMap::keys).collect();
            let named: Vec<String> = named.into_iter().cloned().collect();
            names.insert(dimension.clone(), named);
            // A row that applies still does where nothing but its own parameters is said. So what
            // the rows of one dimension name is enough, and of several what they name together.
            let mut joined = all.clone();
            for (one, other) in all.iter().flat_map(|one| own.iter().map(move |b| (one, b))) {
                if other.iter().all(|(name, value)| one.get(name).is_none_or(|v| v == value)) {
                    let both = one.iter().chain(other);
                    joined
                        .insert(both.map(|(name, value)| (name.clone(), value.clone())).collect());
                }
                if joined.len() > MAX_COMBINATIONS {
                    let names: BTreeSet<String> = names.into_values().flatten().collect();
                    let names = Vec::from_iter(names).join(", ");
                    return Err(PriceError::TooMuchUnsaid { names });
                }
            }
            all = joined;
        }
        let with_said = |mut open: Parameters| {
            open.extend(said.iter().map(|(name, value)| (name.clone(), value.clone())));
            open
        };
        Ok(Open { names, combinations: all.into_iter().map(with_said).collect() })
    }

    /// When prices of these dimensions change, while it may happen.
    pub(super) fn changes<'a>(
        &self,
        table: &RatioTable,
        model: &Model,
        dimensions: impl Iterator<Item = &'a String>,
        at: Timestamp,
    ) -> BTreeSet<Timestamp> {
        let Some(until) = self.until else { return BTreeSet::new() };
        let rows = dimensions.flat_map(|dimension| table.rows_of(model, dimension));
        rows.filter_map(|row| row.rate().when()).flat_map(|when| when.changes(at, until)).collect()
    }

    /// What conditions ask for beside what is said; `None` where they can't hold.
    fn left_open(&self, conditions: &Conditions, said: &Parameters) -> Option<Parameters> {
        let mut open = Parameters::new();
        for (name, value) in conditions.equalities() {
            match said.get(name) {
                Some(said) if said == value => {}
                None if self.may_be(name, value) => {
                    open.insert(name.clone(), value.clone());
                }
                _ => return None,
            }
        }
        Some(open)
    }

    fn may_be(&self, name: &str, value: &str) -> bool {
        match name {
            "grounding" => value.split('+').all(|part| self.grounding.contains(part)),
            "memory_limit" => self.has_old_container,
            _ => !ASKED_FOR.contains(&name),
        }
    }
}
