//! Writes an export of made-up accounts, to measure an audit with: by the real ledger, over a
//! store that keeps heads alone and writes everything else to the export.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use uc_domain::account::{Charge, Command, GrantRequest, Origin, RatedItem, Settings, Source};
use uc_domain::ratios::{
    CreditRule, Exact, Line, Multiplier, Parameters, Per, Rate, Ratio, Rounding, round,
};
use uc_domain::{AccountId, Credits, Quantity, Timestamp};
use uc_ledger::store::{
    AttributeValue, DueKey, Item, Key, PK, Put, Query, Store, StoreError, TransactError, text,
};
use uc_ledger::{Ask, Clock, Ledger, Private};

use crate::Failure;

/// Writes `entries` journal entries of `accounts` accounts, a million by a thousand take a minute of one processor.
///
/// # Errors
/// The file can't be written.
pub async fn export(entries: u64, accounts: u32, seed: u64, out: &Path) -> Result<(), Failure> {
    let file = BufWriter::with_capacity(1 << 20, File::create(out)?);
    let gzip = out.extension().is_some_and(|extension| extension == "gz");
    let file: Box<dyn Write + Send> =
        if gzip { Box::new(GzEncoder::new(file, Compression::fast())) } else { Box::new(file) };
    let sink = Arc::new(Sink { out: Mutex::new(file), heads: Mutex::default() });
    let clock = Arc::new(Ticking(Mutex::new(START)));
    let ledger = Ledger::new(
        Arc::clone(&sink) as Arc<dyn Store>,
        Arc::clone(&clock) as _,
        Settings::default(),
    );
    let mut random = fastrand::Rng::with_seed(seed);
    let accounts = accounts.max(1);
    for number in 0..entries {
        let account: AccountId = format!("workspace_{:08}", random.u32(0..accounts)).parse()?;
        clock.tick(random.i64(1..500));
        let ask = Ask {
            account: &account,
            origin: Origin::Client { key: format!("0192f3a4-7b1c-7def-8a90-{number:012}") },
            fingerprint: [7; 16],
            private: Private { actor: Some("member_0192f3".to_owned()), ..Private::default() },
            opens: true,
            extra: &|_| Vec::new(),
        };
        let now = clock.now();
        let (kind, tokens) = (random.u8(..40), random.u64(1..200_000));
        let decide = |state: &uc_domain::account::AccountState| {
            let opens = state.seq() == 1 || kind == 0;
            Ok::<_, Infallible>(if opens { grant(now, tokens) } else { charge(tokens) })
        };
        ledger.execute(&ask, decide).await.map_err(|error| error.to_string())?;
    }
    sink.locked().flush()?;
    Ok(())
}

/// The year 2026.
const START: i64 = 1_767_225_600_000;
/// A day in milliseconds.
const DAY: i64 = 86_400_000;

fn grant(now: Timestamp, more: u64) -> Command {
    Command::Grant(GrantRequest {
        amount: Credits::from_whole(1_000),
        source: if more.is_multiple_of(3) { Source::Paid } else { Source::Promo },
        priority: None,
        effective_at: None,
        expires_at: Some(now.saturating_add_millis(DAY)),
        paid: None,
        rollover: None,
    })
}

/// A charge of two lines, as a text model makes it.
fn charge(tokens: u64) -> Command {
    let line = |dimension: &str, mantissa, tokens| {
        let rate = Rate::new(Ratio::from_parts(mantissa, 2)?, Per::from_exponent(6)?, None)?;
        let quantity = Quantity::from_whole(tokens)?;
        let model = "openai/gpt-5.1".to_owned();
        Line::new(model, dimension.to_owned(), quantity, rate, Multiplier::ONE)
    };
    let lines: Vec<_> =
        [line("input_tokens", 125, tokens), line("output_tokens", 1_000, tokens / 3 + 1)]
            .into_iter()
            .flatten()
            .collect();
    let exact = lines.iter().map(|line| line.credits().scaled()).sum();
    let rule = CreditRule::new(4, Rounding::Up);
    let credits = Exact::from_scaled(exact).zip(rule).and_then(|(sum, rule)| round(sum, rule));
    let credits = credits.unwrap_or_default();
    Command::Charge(Charge {
        credits,
        items: vec![RatedItem {
            lines,
            credits,
            minimum_applied: false,
            matched: None,
            parameters: Parameters::new(),
            requests: 1,
            filled_by: None,
            provider: None,
        }],
        ratio_version: Some(1),
        price_group: None,
        max_credits: None,
        occurred_at: None,
    })
}

/// A clock that is moved.
struct Ticking(Mutex<i64>);

impl Ticking {
    fn tick(&self, millis: i64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += millis;
    }
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let millis = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Timestamp::from_millis(millis).unwrap_or(Timestamp::MAX)
    }
}

/// Keeps the newest entry of each journal, and writes all items to the export.
struct Sink {
    out: Mutex<Box<dyn Write + Send>>,
    heads: Mutex<HashMap<String, Item>>,
}

impl Sink {
    fn locked(&self) -> MutexGuard<'_, Box<dyn Write + Send>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An item as a line of an export.
pub fn line(item: &Item) -> Value {
    let attributes: Map<String, Value> = item
        .iter()
        .map(|(name, value)| {
            let value = match value {
                AttributeValue::S(text) => json!({"S": text}),
                AttributeValue::N(number) => json!({"N": number}),
                AttributeValue::B(bytes) => json!({"B": STANDARD.encode(bytes)}),
                _ => Value::Null,
            };
            (name.clone(), value)
        })
        .collect();
    json!({"Item": attributes})
}

#[async_trait]
impl Store for Sink {
    async fn get(&self, _: &Key) -> Result<Option<Item>, StoreError> {
        Ok(None)
    }

    async fn query(&self, query: &Query) -> Result<Vec<Item>, StoreError> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(heads.get(&query.pk).cloned().into_iter().collect())
    }

    async fn query_due(
        &self,
        _: &str,
        _: &str,
        _: Option<&DueKey>,
        _: u32,
    ) -> Result<Vec<DueKey>, StoreError> {
        Ok(Vec::new())
    }

    async fn put(&self, put: Put) -> Result<(), StoreError> {
        writeln!(self.locked(), "{}", line(&put.item))
            .map_err(|error| StoreError::Refused(error.to_string()))
    }

    async fn delete(&self, _: &Key) -> Result<(), StoreError> {
        Ok(())
    }

    async fn remove(&self, _: &Key, _: &'static str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn transact(&self, puts: Vec<Put>) -> Result<(), TransactError> {
        for put in puts {
            if let Some(pk) = text(&put.item, PK).filter(|pk| pk.starts_with("A#")) {
                let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
                heads.insert(pk.to_owned(), put.item.clone());
            }
            self.put(put).await?;
        }
        Ok(())
    }

    fn clock_skew_seconds(&self) -> u64 {
        0
    }
}
