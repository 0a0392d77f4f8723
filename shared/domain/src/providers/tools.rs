//! [`Tools`]: what a provider's own tools did for a response, which is billed outside its tokens.

use std::collections::BTreeMap;

use crate::Quantity;
use crate::ratios::is_name;

use super::{ProviderError, ResponseUsage, contradictory};

/// Calls of tools, by dimension.
///
/// A tool that a reader has no dimension for becomes `<tool>_calls`: a table prices it by a row,
/// and a table without that row refuses the usage. So a new tool is never free, and needs no new
/// program.
#[derive(Default)]
pub(super) struct Tools(BTreeMap<String, u64>);

impl Tools {
    /// Adds `count` calls of `tool`, which are told at `pointer`, to `dimension`, or where that is
    /// `None` to one of the tool's own.
    pub fn add(
        &mut self,
        tool: &str,
        dimension: Option<&str>,
        count: u64,
        pointer: &str,
    ) -> Result<(), ProviderError> {
        if count == 0 {
            return Ok(());
        }
        let refuse = |detail: &str| contradictory(pointer.to_owned(), detail);
        let dimension = match dimension {
            Some(dimension) => dimension.to_owned(),
            None => own_dimension(tool).ok_or_else(|| {
                refuse("a tool's name is of letters, digits, _, . and -, from a letter, at most 58")
            })?,
        };
        let sum = self.0.entry(dimension).or_default();
        *sum += count;
        match Quantity::from_whole(*sum) {
            Some(_) => Ok(()),
            None => Err(refuse("the calls of the tools are over 12 digits")),
        }
    }

    /// The dimensions that were counted.
    pub fn dimensions(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Adds the calls to what was read, which has none of their dimensions.
    pub fn add_to(self, read: &mut ResponseUsage) {
        for (dimension, count) in self.0 {
            read.add(&dimension, count);
        }
    }
}

/// The dimension of a tool that has no other.
pub(crate) fn own_dimension(tool: &str) -> Option<String> {
    let name = tool.to_ascii_lowercase().replace(['.', '-'], "_");
    let name = name.strip_suffix("_calls").unwrap_or(&name);
    Some(format!("{name}_calls")).filter(|dimension| is_name(dimension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_without_a_dimension_have_their_own() {
        for (tool, expected) in [
            ("finance_search", Some("finance_search_calls")),
            ("browser.Automation", Some("browser_automation_calls")),
            ("telescope_calls", Some("telescope_calls")),
            ("", None),
            ("7up", None),
            ("a tool", None),
            ("a/b", None),
        ] {
            assert_eq!(own_dimension(tool).as_deref(), expected, "{tool}");
        }
        assert_eq!(own_dimension(&"x".repeat(58)).map(|d| d.len()), Some(64));
        assert_eq!(own_dimension(&"x".repeat(59)), None);
    }
}
