//! By which names models are found.

use std::collections::BTreeMap;

use super::{MatchRule, Model};

/// Aliases and prefixes, each with the id of its model. A name has one owner.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Index {
    aliases: BTreeMap<String, String>,
    prefixes: BTreeMap<String, String>,
}

impl Index {
    /// Adds the names of a model, which no other has.
    pub fn add(&mut self, model: &Model) {
        let own = |name: &String| (name.clone(), model.id().to_owned());
        self.aliases.extend(model.aliases().iter().map(own));
        self.prefixes.extend(model.match_rules().iter().map(|MatchRule::StartsWith(p)| own(p)));
    }

    /// Removes the names of a model.
    pub fn remove(&mut self, model: &Model) {
        for alias in model.aliases() {
            self.aliases.remove(alias);
        }
        for MatchRule::StartsWith(prefix) in model.match_rules() {
            self.prefixes.remove(prefix);
        }
    }

    /// The id of the model with this alias.
    pub fn by_alias(&self, name: &str) -> Option<&str> {
        self.aliases.get(name).map(String::as_str)
    }

    /// The longest prefix of this name, and the id of its model.
    pub fn by_prefix(&self, name: &str) -> Option<(&str, &str)> {
        (1..=name.len())
            .rev()
            .filter_map(|len| name.get(..len))
            .find_map(|prefix| self.prefixes.get_key_value(prefix))
            .map(|(prefix, id)| (prefix.as_str(), id.as_str()))
    }
}

/// Finds names that two models claim, while a table is read.
pub(super) struct Names<'a> {
    /// Whether a name is a model's id. Ids go first, so an alias that is one would lead nowhere.
    pub is_id: &'a dyn Fn(&str) -> bool,
    pub index: Index,
}

impl Names<'_> {
    /// Claims an alias for the model `id`; fails with the id of the model that has it.
    pub fn claim_alias(&mut self, alias: &str, id: &str) -> Result<(), String> {
        if (self.is_id)(alias) {
            return Err(alias.to_owned());
        }
        claim(&mut self.index.aliases, alias, id)
    }

    /// Claims a prefix for the model `id`; fails with the id of the model that has it.
    pub fn claim_prefix(&mut self, prefix: &str, id: &str) -> Result<(), String> {
        claim(&mut self.index.prefixes, prefix, id)
    }
}

fn claim(owners: &mut BTreeMap<String, String>, name: &str, id: &str) -> Result<(), String> {
    if let Some(owner) = owners.get(name) {
        return Err(owner.clone());
    }
    owners.insert(name.to_owned(), id.to_owned());
    Ok(())
}
