//! Usage that no ratio priced, kept until somebody prices it.
//!
//! Parking uses up the request's key: the operation item is written, with the name of the unrated
//! item in place of an entry's. So whoever sends the request again, or another one under its key,
//! meets it as if the charge had happened. Rating replaces that operation item in the transaction
//! that writes the charge: it happens once, however often and by whomever it is asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use aws_sdk_dynamodb::primitives::Blob;
use minicbor::{Decode, Encode};
use uc_domain::account::{AccountState, Command, HoldId, Operation, Origin};
use uc_domain::deflate::{deflate, inflate};
use uc_domain::{AccountId, Credits, IdError, Quantity, Timestamp};

use crate::journal::{Ask, Asked, Ledger, LedgerError, Outcome, operation_id};
use crate::keys;
use crate::private::{self, Private, sha256};
use crate::store::{
    AttributeValue, Condition, Item, Put, Query, SK, StoreError, TransactError, bytes, text,
};
use crate::write::{
    FINGERPRINT, MAX_SKEW_SECONDS, NONCE, OPERATION_POSITION, OPERATION_SEQ, PATIENCE, Past,
    UNRATED, outcome, pause,
};

/// The attributes of an unrated item: account, key, body, private data.
const ACCOUNT: &str = "a";
const KEY: &str = "k";
const BODY: &str = "b";
const PRIVATE: &str = "x";

/// The body as CBOR, and the same deflated.
const FORMAT: u8 = 1;
const DEFLATED: u8 = 2;
/// A body up to this long is not deflated.
const DEFLATE_ABOVE: usize = 512;
/// What a body may inflate to: 20 items at their limits have less than 200 KB.
const INFLATED_LIMIT: usize = 1 << 20;

/// Unrated items on one page at most, and how many are looked through for one account's.
const MAX_PAGE: u32 = 100;
const LOOKED_THROUGH: usize = 500;

/// Names an unrated item: `un_`, the time in milliseconds (12 hexadecimal digits), the shard that
/// holds it (1), a hash of account and key (16). Sorts by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnratedId(String);

impl UnratedId {
    fn new(account: &AccountId, key: &str, at: Timestamp) -> Self {
        Self(format!("un_{:012x}{}", at.millis(), Self::whose(account, key)))
    }

    /// The digits that do not tell the time.
    fn whose(account: &AccountId, key: &str) -> String {
        let hash = sha256(&[account.as_str().as_bytes(), b"#", key.as_bytes()]);
        let short = u64::from_be_bytes(*hash.first_chunk().expect("32 bytes"));
        format!("{:x}{short:016x}", keys::unrated_shard_of(account))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether usage of this account under this key has it, whenever that came.
    pub fn is_of(&self, account: &AccountId, key: &str) -> bool {
        self.0[15..] == Self::whose(account, key)
    }

    /// The shard that holds it.
    pub(crate) fn shard(&self) -> u8 {
        u8::from_str_radix(&self.0[15..16], 16).expect("checked when it was made")
    }
}

impl fmt::Display for UnratedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UnratedId {
    type Err = IdError;

    fn from_str(id: &str) -> Result<Self, IdError> {
        let digits = id.strip_prefix("un_").ok_or(IdError)?;
        let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.len() != 29 || !digits.bytes().all(hexadecimal) {
            return Err(IdError);
        }
        Ok(Self(id.to_owned()))
    }
}

/// One item of usage, as it would have been rated.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UnratedItem {
    /// Its requests: several where a provider's response tells of several.
    #[n(0)]
    pub requests: Vec<UnratedRequest>,
}

/// What was used in one request. Nothing of a provider's response but its numbers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UnratedRequest {
    /// The model's names, of which the first that the table knows counts; at least one.
    #[n(0)]
    pub names: Vec<String>,
    /// Whether it is of a provider's response and begins a request.
    #[n(1)]
    pub is_response: bool,
    /// How much of each dimension.
    #[n(2)]
    pub usage: BTreeMap<String, Quantity>,
    /// What prices may depend on.
    #[n(3)]
    pub parameters: BTreeMap<String, String>,
}

/// Usage that could not be priced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrated {
    /// Whose usage it is.
    pub account: AccountId,
    /// The key of the request that told it.
    pub key: String,
    /// And its fingerprint.
    pub fingerprint: [u8; 16],
    /// When it was parked.
    pub parked_at: Timestamp,
    /// When it happened, where that was said.
    pub occurred_at: Option<Timestamp>,
    /// The version of the ratio table that did not price it, or not all of it.
    pub ratio_version: Option<u64>,
    /// The code of why it could not be priced.
    pub reason: String,
    /// The same for people.
    pub detail: String,
    /// What was used.
    pub items: Vec<UnratedItem>,
    /// At most this is to be taken.
    pub max_credits: Option<Credits>,
    /// The hold it is to be captured from, and whether that ends the hold.
    pub capture: Option<(HoldId, bool)>,
    /// Who caused it, and what was said about it.
    pub private: Private,
}

impl Unrated {
    /// When the usage happened, as far as is known: what dated ratios and the charge go by.
    pub fn used_at(&self) -> Timestamp {
        self.occurred_at.unwrap_or(self.parked_at)
    }
}

#[derive(Encode, Decode)]
struct Body {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    fingerprint: [u8; 16],
    #[n(1)]
    parked_at: Timestamp,
    #[n(2)]
    occurred_at: Option<Timestamp>,
    #[n(3)]
    reason: String,
    #[n(4)]
    detail: String,
    #[n(5)]
    items: Vec<UnratedItem>,
    #[n(6)]
    max_credits: Option<Credits>,
    #[n(7)]
    capture: Option<(HoldId, bool)>,
    #[n(8)]
    ratio_version: Option<u64>,
}

/// What became of usage that was to be parked.
#[derive(Debug, Clone)]
pub enum Parking {
    /// It is kept.
    Parked {
        /// Under this name.
        id: UnratedId,
        /// Whether it had been before.
        replayed: bool,
    },
    /// Somebody who knew a price has charged it.
    Happened(Box<Outcome>),
}

/// Unrated items, in the order of their shards, then by time.
#[derive(Debug, Clone)]
pub struct UnratedPage {
    /// The items.
    pub items: Vec<(UnratedId, Unrated)>,
    /// Where the next page goes on: after this one. A page may be short, or empty, and not the
    /// last.
    pub next: Option<UnratedId>,
}

impl Ledger {
    /// Keeps usage that could not be priced, once for its account and key, and uses up the key.
    /// The account must be there.
    ///
    /// # Errors
    /// [`Asked::KeyReused`], or that the ledger could not do its work: then it may have happened,
    /// and asking again tells.
    pub async fn park<E>(&self, unrated: &Unrated) -> Result<Parking, Asked<E>> {
        let started = Instant::now();
        let Unrated { account, key, fingerprint, .. } = unrated;
        let id = UnratedId::new(account, key, unrated.parked_at);
        let origin = Origin::Client { key: key.clone() };
        let operation = keys::operation(account, &origin).expect("a client's has a key");
        let past = Past::new(self, account, None);
        let mut marker = operation.item();
        marker.insert(FINGERPRINT.to_owned(), AttributeValue::B(Blob::new(*fingerprint)));
        marker.insert(NONCE.to_owned(), AttributeValue::B(Blob::new(past.nonce)));
        marker.insert(UNRATED.to_owned(), AttributeValue::S(id.to_string()));
        let puts = [marker, unrated_item(&id, unrated)]
            .map(|item| Put { item, condition: Condition::NotExists });
        let mut retries = 0;
        loop {
            let skew = self.store().clock_skew_seconds();
            if skew > MAX_SKEW_SECONDS {
                return Err(LedgerError::ClockSkew(skew).into());
            }
            let obstacle = match self.store().transact(puts.to_vec()).await {
                Ok(()) => return Ok(Parking::Parked { id, replayed: false }),
                Err(TransactError::Failed(in_the_way)) => {
                    let item = in_the_way.into_iter().next().flatten();
                    let item = item.ok_or_else(|| {
                        LedgerError::Corrupt(format!("{id} is there, and its operation is not"))
                    })?;
                    let ask = Ask {
                        account,
                        origin,
                        fingerprint: *fingerprint,
                        private: Private::default(),
                        opens: false,
                        extra: &|_| Vec::new(),
                    };
                    return match past
                        .replay(&ask, &item, &mut std::collections::HashMap::new())
                        .await
                    {
                        Ok(outcome) => Ok(Parking::Happened(outcome.into())),
                        Err(Asked::Unrated(id)) => {
                            Ok(Parking::Parked { id, replayed: !past.wrote(&item) })
                        }
                        Err(other) => Err(other),
                    };
                }
                Err(TransactError::Conflict) => "conflict".to_owned(),
                Err(TransactError::Store(StoreError::NoAnswer(text))) => text,
                Err(TransactError::Store(error)) => return Err(LedgerError::from(error).into()),
            };
            if started.elapsed() > PATIENCE {
                return Err(LedgerError::Unavailable(obstacle).into());
            }
            retries += 1;
            pause(retries).await;
        }
    }

    /// Charges unrated usage, once, under its request's key, and takes it off the list. `decide`
    /// is as for [`Self::execute`].
    ///
    /// # Errors
    /// As [`Self::execute`]; then it stays on the list.
    pub async fn rate_unrated<E>(
        &self,
        id: &UnratedId,
        unrated: &Unrated,
        decide: impl Fn(&AccountState) -> Result<Command, E>,
    ) -> Result<Outcome, Asked<E>> {
        let account = &unrated.account;
        // Whoever asks for this again finds the charge when the item has gone.
        let extra = |operation: &Operation| {
            let mut item = keys::rated(id).item();
            let number = |number: u64| AttributeValue::N(number.to_string());
            item.insert(ACCOUNT.to_owned(), AttributeValue::S(account.to_string()));
            item.insert(OPERATION_SEQ.to_owned(), number(operation.id.seq));
            item.insert(OPERATION_POSITION.to_owned(), number(operation.id.position.into()));
            vec![Put { item, condition: Condition::None }]
        };
        let ask = Ask {
            account,
            origin: Origin::Client { key: unrated.key.clone() },
            fingerprint: unrated.fingerprint,
            private: unrated.private.clone(),
            opens: false,
            extra: &extra,
        };
        let outcome = self.execute_parked(&ask, id, decide).await?;
        self.store().delete(&keys::unrated(id)).await.map_err(LedgerError::from)?;
        Ok(outcome)
    }

    /// An unrated item, as long as it is on the list.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn unrated(&self, id: &UnratedId) -> Result<Option<Unrated>, LedgerError> {
        let item = self.store().get(&keys::unrated(id)).await?;
        item.map(|item| read(&item).map(|(_, unrated)| unrated)).transpose()
    }

    /// The charge that an unrated item has become, if it has, and whose it is.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn rated(&self, id: &UnratedId) -> Result<Option<Outcome>, LedgerError> {
        let Some(item) = self.store().get(&keys::rated(id)).await? else { return Ok(None) };
        let corrupt = || LedgerError::Corrupt(format!("the charge of {id}"));
        let account: AccountId =
            text(&item, ACCOUNT).and_then(|id| id.parse().ok()).ok_or_else(corrupt)?;
        let operation = operation_id(&item)?;
        let stored = self.entry(&account, operation.seq).await?.ok_or_else(corrupt)?;
        outcome(&stored, operation.position, true).map(Some)
    }

    /// Unrated items after `after`, of one account or of all, at most 100.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn unrated_page(
        &self,
        account: Option<&AccountId>,
        after: Option<&UnratedId>,
        limit: u32,
    ) -> Result<UnratedPage, LedgerError> {
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        let shards = match account {
            Some(account) => keys::unrated_shard_of(account)..=keys::unrated_shard_of(account),
            None => 0..=keys::UNRATED_SHARDS - 1,
        };
        let mut items = Vec::new();
        let mut looked_through = 0;
        let mut last = after.cloned();
        for shard in shards {
            if after.is_some_and(|after| after.shard() > shard) {
                continue;
            }
            let mut from = match after {
                Some(after) if after.shard() == shard => format!("{after} "),
                _ => "un_".to_owned(),
            };
            loop {
                let query = Query {
                    pk: keys::unrated_shard(shard),
                    from: from.clone(),
                    to: "un_~".to_owned(),
                    descending: false,
                    limit: MAX_PAGE,
                };
                let found = self.store().query(&query).await?;
                if found.is_empty() {
                    break;
                }
                for item in &found {
                    // The page is full, and there is more.
                    if items.len() == limit || looked_through == LOOKED_THROUGH {
                        return Ok(UnratedPage { items, next: last });
                    }
                    looked_through += 1;
                    let (id, unrated) = read(item)?;
                    from = format!("{id} ");
                    last = Some(id.clone());
                    if account.is_none_or(|account| unrated.account == *account) {
                        items.push((id, unrated));
                    }
                }
            }
        }
        Ok(UnratedPage { items, next: None })
    }
}

impl Unrated {
    /// Reads an item of unrated usage as it is stored.
    ///
    /// # Errors
    /// It can't be read.
    pub fn from_item(item: &Item) -> Result<(UnratedId, Self), LedgerError> {
        read(item)
    }
}

fn unrated_item(id: &UnratedId, unrated: &Unrated) -> Item {
    let body = Body {
        fingerprint: unrated.fingerprint,
        parked_at: unrated.parked_at,
        occurred_at: unrated.occurred_at,
        reason: unrated.reason.clone(),
        detail: unrated.detail.clone(),
        items: unrated.items.clone(),
        max_credits: unrated.max_credits,
        capture: unrated.capture,
        ratio_version: unrated.ratio_version,
    };
    let mut bytes = vec![FORMAT];
    minicbor::encode(&body, &mut bytes).expect("writing to memory does not fail");
    if bytes.len() > DEFLATE_ABOVE {
        bytes = [&[DEFLATED][..], &deflate(&bytes[1..])].concat();
    }
    let mut item = keys::unrated(id).item();
    item.insert(ACCOUNT.to_owned(), AttributeValue::S(unrated.account.to_string()));
    item.insert(KEY.to_owned(), AttributeValue::S(unrated.key.clone()));
    item.insert(BODY.to_owned(), AttributeValue::B(Blob::new(bytes)));
    if let Some(sealed) = private::seal(&[(0, &unrated.private)]) {
        item.insert(PRIVATE.to_owned(), AttributeValue::B(Blob::new(sealed)));
    }
    item
}

fn read(item: &Item) -> Result<(UnratedId, Unrated), LedgerError> {
    let sk = text(item, SK).unwrap_or_default();
    let corrupt = || LedgerError::Corrupt(format!("the unrated item {sk:?}"));
    let id = sk.parse().map_err(|_| corrupt())?;
    let account = text(item, ACCOUNT).and_then(|id| id.parse().ok()).ok_or_else(corrupt)?;
    let key = text(item, KEY).ok_or_else(corrupt)?.to_owned();
    let body: Body = match bytes(item, BODY).and_then(<[u8]>::split_first) {
        Some((&FORMAT, cbor)) => minicbor::decode(cbor).ok(),
        Some((&DEFLATED, deflated)) => {
            inflate(deflated, INFLATED_LIMIT).and_then(|cbor| minicbor::decode(&cbor).ok())
        }
        _ => None,
    }
    .ok_or_else(corrupt)?;
    // Gone where they were erased.
    let private = match bytes(item, PRIVATE) {
        Some(sealed) => {
            private::open(sealed).map_err(|_| corrupt())?.remove(&0).unwrap_or_default()
        }
        None => Private::default(),
    };
    let Body {
        fingerprint,
        parked_at,
        occurred_at,
        reason,
        detail,
        items,
        max_credits,
        capture,
        ratio_version,
    } = body;
    let unrated = Unrated {
        account,
        key,
        fingerprint,
        parked_at,
        occurred_at,
        ratio_version,
        reason,
        detail,
        items,
        max_credits,
        capture,
        private,
    };
    Ok((id, unrated))
}
