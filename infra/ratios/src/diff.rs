//! What differs between two tables, for people.

use uc_domain::ratios::{Change, ModelChange, Price, RatioTable, TableDiff};

/// One line for every model that came or went, and for everything of a model that changed.
pub fn lines(from: &RatioTable, to: &RatioTable) -> Vec<String> {
    let diff = TableDiff::between(from, to);
    let counts = diff.counts;
    let mut lines = vec![format!(
        "{} models added, {} removed, {} changed, {} the same",
        counts.added, counts.removed, counts.changed, counts.unchanged
    )];
    if !diff.head.is_empty() {
        let head = serde_json::to_string(&diff.head).expect("keys are texts");
        lines.push(format!("~ {head}"));
    }
    for model in &diff.models {
        match &model.change {
            ModelChange::Added { to } => {
                lines.push(format!("+ {} ({} ratios)", model.model, to.ratios().len()));
            }
            ModelChange::Removed { from } => {
                lines.push(format!("- {} ({} ratios)", model.model, from.ratios().len()));
            }
            ModelChange::Changed(changes) => {
                lines.push(format!("~ {}", model.model));
                for row in &changes.ratios {
                    let when = row.when.map(|when| format!(" {when}")).unwrap_or_default();
                    let change = changed(&row.price, price);
                    lines.push(format!("    {}{when}: {change}", row.dimension));
                }
                let mut other = |name: &str, change: Option<String>| {
                    lines.extend(change.map(|change| format!("    {name}: {change}")));
                };
                other("feature", changes.feature.as_ref().map(|c| changed(c, ToString::to_string)));
                other("name", changes.name.as_ref().map(|c| changed(c, ToString::to_string)));
                other("enabled", changes.enabled.as_ref().map(|c| changed(c, ToString::to_string)));
                other("minimum", changes.minimum.as_ref().map(|c| changed(c, ToString::to_string)));
                for (name, list) in [("aliases", &changes.aliases), ("match", &changes.match_rules)]
                {
                    if let Some(list) = list {
                        let signed = |sign: char, names: &[&str]| {
                            names.iter().map(|name| format!("{sign}{name}")).collect::<Vec<_>>()
                        };
                        let both = [signed('+', &list.added), signed('-', &list.removed)].concat();
                        other(name, Some(both.join(" ")));
                    }
                }
            }
        }
    }
    lines
}

fn price(price: &Price<'_>) -> String {
    let credits = price.credits;
    let cost = price.cost.map(|cost| format!(" (cost {} {})", cost.amount(), cost.currency()));
    format!("{credits} per {}{}", price.per.units(), cost.unwrap_or_default())
}

fn changed<T>(change: &Change<T>, show: impl Fn(&T) -> String) -> String {
    let side = |side: &Option<T>| side.as_ref().map_or_else(|| "none".to_owned(), &show);
    format!("{} -> {}", side(&change.from), side(&change.to))
}
