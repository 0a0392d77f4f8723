//! What happened in an account, by kind, actor, model and time.

use uc_domain::account::{Detail, Operation, OperationId, RatedItem};
use uc_domain::{AccountId, Timestamp};

use crate::entry::StoredEntry;
use crate::journal::{Happened, Ledger, LedgerError, TransactionsPage, follows_down, gap};
use crate::keys;
use crate::store::Query;

/// Entries that one page reads at most, however few of them have what is looked for: half a
/// megabyte, about 60 read units.
const MAX_READ: u64 = 500;
/// Operations on one page at most.
const MAX_PAGE: u32 = 100;

/// Which operations are looked for. What is not named does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Their kind, such as `charge`.
    pub kind: Option<String>,
    /// Who caused them. What was erased is found no more.
    pub actor: Option<String>,
    /// A model of which they have a line, by its id in the ratio table.
    pub model: Option<String>,
    /// The first instant.
    pub from: Option<Timestamp>,
    /// The first instant after the last.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// Whether everything is looked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn takes(&self, operation: &Operation, actor: Option<&str>) -> bool {
        let of_model = |model: &String| {
            let mut lines = rated_items(&operation.detail).iter().flat_map(|item| &item.lines);
            lines.any(|line| line.model() == model)
        };
        self.kind.as_deref().is_none_or(|kind| kind == operation.detail.kind())
            && self.from.is_none_or(|from| from <= operation.at)
            && self.to.is_none_or(|to| operation.at < to)
            && self.actor.as_deref().is_none_or(|wanted| actor == Some(wanted))
            && self.model.as_ref().is_none_or(of_model)
    }
}

/// What an operation priced by the ratio table; nothing for one that has no prices.
pub fn rated_items(detail: &Detail) -> &[RatedItem] {
    match detail {
        Detail::Charge { items, .. } | Detail::Capture { items, .. } => items,
        _ => &[],
    }
}

impl Ledger {
    /// Operations that `filter` takes, newest first, below `before` if given, at most 100. Reads
    /// at most 500 entries: a page may be short, and even empty, and still have a next one.
    ///
    /// A position in the journal stays what it is, so pages go on rightly while entries are added.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt: also where an entry is not there
    /// that has to be read.
    pub async fn filtered(
        &self,
        account: &AccountId,
        filter: &Filter,
        before: Option<OperationId>,
        limit: u32,
    ) -> Result<TransactionsPage, LedgerError> {
        if filter.is_empty() {
            return self.transactions(account, before, limit).await;
        }
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        let (from, mut to) = keys::seq_range();
        // The entry that must come next, where one must.
        let mut expected = None;
        match (before, filter.to) {
            (Some(before), _) => to = keys::seq(before.seq),
            (None, Some(instant)) => match self.first_since(account, instant).await? {
                Some(seq) => (to, expected) = (keys::seq(seq), Some(seq)),
                None => return Ok(TransactionsPage { items: Vec::new(), next: None }),
            },
            (None, None) => {}
        }
        let mut items: Vec<Happened> = Vec::new();
        let mut left = MAX_READ;
        loop {
            let query = Query {
                pk: keys::journal(account),
                from: from.clone(),
                to: to.clone(),
                descending: true,
                limit: u32::try_from(left).unwrap_or(u32::MAX),
            };
            let read = self.store().query(&query).await?;
            if expected.is_none() {
                self.begins_at(account, before, &read).await?;
            }
            if read.is_empty() {
                let page = TransactionsPage { items, next: None };
                return expected.map_or(Ok(page), |seq| Err(gap(account, seq)));
            }
            for item in read {
                let stored = StoredEntry::from_item(account, &item)?;
                expected = Some(follows_down(account, expected, stored.seq())?);
                // No operation takes effect after the entry that holds it, and entries are in
                // order of time.
                if filter.from.is_some_and(|from| stored.entry.time < from) {
                    return Ok(TransactionsPage { items, next: None });
                }
                let balances = stored.entry.balances();
                for (operation, balance_after) in stored.entry.operations.iter().zip(balances).rev()
                {
                    if before.is_some_and(|before| operation.id >= before) {
                        continue;
                    }
                    let private = stored.private(operation.id.position)?;
                    if !filter.takes(operation, private.actor.as_deref()) {
                        continue;
                    }
                    items.push(Happened { operation: operation.clone(), balance_after, private });
                    if items.len() == limit {
                        let first = operation.id.seq == 1 && operation.id.position == 0;
                        let next = Some(operation.id).filter(|_| !first);
                        return Ok(TransactionsPage { items, next });
                    }
                }
                if stored.seq() <= 1 {
                    return Ok(TransactionsPage { items, next: None });
                }
                left -= 1;
                if left == 0 {
                    let next = Some(OperationId { seq: stored.seq(), position: 0 });
                    return Ok(TransactionsPage { items, next });
                }
                to = keys::seq(stored.seq() - 1);
            }
        }
    }

    /// The first entry that was written at `instant` or later, else the newest one: what took
    /// effect before `instant` is in it (an expiry that was written late) or below, as no operation
    /// takes effect before the time of the entry below its own. By bisection: 20 reads for a million
    /// entries.
    async fn first_since(
        &self,
        account: &AccountId,
        instant: Timestamp,
    ) -> Result<Option<u64>, LedgerError> {
        let Some(head) = self.head(account).await? else { return Ok(None) };
        let (mut low, mut high) = (1, head.seq());
        while low < high {
            let middle = low + (high - low) / 2;
            let stored = self.entry(account, middle).await?.ok_or_else(|| gap(account, middle))?;
            if stored.entry.time < instant {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(Some(low))
    }
}
