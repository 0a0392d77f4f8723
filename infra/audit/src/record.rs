//! What of an export matters to an audit, one record an item, in an order in which a journal can
//! be recomputed as it comes: by account, entry, kind.

use std::borrow::Cow;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use uc_domain::account::{GrantId, HoldId, OperationId};
use uc_domain::{AccountId, Timestamp};
use uc_ledger::store::{AttributeValue, Blob, Item, Key};
use uc_ledger::{UnratedId, keys};

/// The longest record: an item has at most 400 KB.
const MAX_RECORD: usize = 1 << 20;

/// An item of an export.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(borrow, rename = "Item")]
    item: Attributes<'a>,
}

/// The attributes that an audit reads.
#[derive(Debug, Deserialize)]
struct Attributes<'a> {
    #[serde(borrow)]
    pk: Attribute<'a>,
    #[serde(borrow)]
    sk: Attribute<'a>,
    #[serde(borrow, default)]
    b: Attribute<'a>,
    #[serde(borrow, default)]
    h: Attribute<'a>,
    #[serde(borrow, default)]
    x: Attribute<'a>,
    #[serde(borrow, default)]
    q: Attribute<'a>,
    #[serde(borrow, default)]
    n: Attribute<'a>,
    #[serde(borrow, default)]
    s: Attribute<'a>,
    #[serde(borrow, default)]
    k: Attribute<'a>,
    #[serde(borrow, default)]
    kid: Attribute<'a>,
    #[serde(borrow, default)]
    c: Attribute<'a>,
    #[serde(borrow, default)]
    u: Attribute<'a>,
    #[serde(borrow, default)]
    a: Attribute<'a>,
    #[serde(borrow, default)]
    account: Attribute<'a>,
    #[serde(borrow, default)]
    operation: Attribute<'a>,
    #[serde(borrow, default)]
    credits: Attribute<'a>,
    #[serde(borrow, default)]
    amount: Attribute<'a>,
    #[serde(borrow, default)]
    currency: Attribute<'a>,
    #[serde(borrow, default)]
    refunded: Attribute<'a>,
}

/// One attribute, of one of the types that are used here.
#[derive(Debug, Default, Deserialize)]
struct Attribute<'a> {
    #[serde(borrow, default, rename = "S")]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "N")]
    number: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "B")]
    bytes: Option<Cow<'a, str>>,
}

impl Attribute<'_> {
    fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    fn number(&self) -> Option<u64> {
        self.number.as_deref()?.parse().ok()
    }

    fn value(&self) -> Option<AttributeValue> {
        if let Some(bytes) = &self.bytes {
            let bytes = STANDARD.decode(bytes.as_bytes()).ok()?;
            return Some(AttributeValue::B(Blob::new(bytes)));
        }
        if let Some(text) = &self.text {
            return Some(AttributeValue::S(text.to_string()));
        }
        self.number.as_ref().map(|number| AttributeValue::N(number.to_string()))
    }
}

/// What a record is, in the order in which those of one entry come. What lies beside an operation
/// comes before the entry that has it; what belongs to no entry is of entry 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The account's item in the directory.
    Directory,
    /// An operation item of usage that waits to be priced.
    Parked,
    /// That usage.
    Unrated,
    /// What became of a payment.
    Change,
    /// The mark of a void, at the entry of the hold or grant.
    Mark,
    /// What was refunded of a charge, at the charge's entry.
    Refund,
    /// The item of a payment.
    Payment,
    /// A journal entry.
    Entry,
    /// An item that names one of its operations.
    Operation,
    /// An item that says which of its operations usage has become that had waited.
    Rated,
    /// A checkpoint of it.
    Checkpoint,
    /// The digest of a day over a shard's checkpoints. Of no account, so it comes before them; its
    /// entry is the shard.
    Digest,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Directory,
        Self::Parked,
        Self::Unrated,
        Self::Change,
        Self::Mark,
        Self::Refund,
        Self::Payment,
        Self::Entry,
        Self::Operation,
        Self::Rated,
        Self::Checkpoint,
        Self::Digest,
    ];
}

/// Where a record belongs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The account.
    pub account: String,
    /// The entry.
    pub seq: u64,
    /// What it is.
    pub kind: Kind,
}

/// One item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it belongs.
    pub place: Place,
    /// Names and values, as pairs of length and bytes.
    pub content: Vec<u8>,
}

/// What a line of an export is.
#[derive(Debug)]
pub enum Read1 {
    /// Something that the audit of an account needs.
    Record(Record),
    /// A key that verifies checkpoints.
    Key(String, [u8; 32]),
    /// Of no matter here.
    Other,
    /// Nothing that this program wrote.
    Wrong(String),
}

/// Reads one line of an export.
pub fn read_line(line: &[u8]) -> Read1 {
    let item = match serde_json::from_slice::<Line<'_>>(line) {
        Ok(line) => line.item,
        Err(error) => return Read1::Wrong(format!("a line of the export: {error}")),
    };
    let (pk, sk) = (item.pk.text(), item.sk.text());
    let wrong = || Read1::Wrong(format!("the item {pk} {sk} is not what it must be"));
    let record = |account: &str, seq, kind, attributes: &[(&str, &Attribute<'_>)]| {
        let mut content = Vec::new();
        for (name, attribute) in attributes {
            match attribute.value() {
                Some(AttributeValue::B(value)) => push(&mut content, name, b'B', value.as_ref()),
                Some(AttributeValue::S(value)) => push(&mut content, name, b'S', value.as_bytes()),
                Some(AttributeValue::N(value)) => push(&mut content, name, b'N', value.as_bytes()),
                _ => {}
            }
        }
        let place = Place { account: account.to_owned(), seq, kind };
        Read1::Record(Record { place, content })
    };
    let of = |account: &str| account.parse::<AccountId>().ok();
    let key = [("pk", &item.pk), ("sk", &item.sk)];
    let with = |more: &[(&'static str, &Attribute<'_>)], account: &str, seq, kind| {
        record(account, seq, kind, &[&key[..], more].concat())
    };
    let place = match pk.split_once('#') {
        Some(("A", account)) => of(account).zip(keys::parse_seq(sk)).map(|(_, seq)| {
            let attributes = [("b", &item.b), ("h", &item.h), ("c", &item.c), ("x", &item.x)];
            with(&attributes, account, seq, Kind::Entry)
        }),
        Some(("O", rest)) if sk == "O" => rest.split_once('#').and_then(|(account, path)| {
            of(account)?;
            let mark = |at: OperationId| with(&[], account, at.seq, Kind::Mark);
            if let Some(hold) = path.strip_prefix("hold#") {
                return hold.parse().ok().map(|HoldId(at)| mark(at));
            }
            if let Some(grant) = path.strip_prefix("grant#") {
                return grant.parse().ok().map(|GrantId(at)| mark(at));
            }
            if item.u.text.is_some() {
                item.u.text().parse::<UnratedId>().ok()?;
                return Some(with(&[("u", &item.u)], account, 0, Kind::Parked));
            }
            let named = [("q", &item.q), ("n", &item.n)];
            Some(with(&named, account, item.q.number()?, Kind::Operation))
        }),
        Some(("F", rest)) => rest.split_once('#').and_then(|(account, charge)| {
            of(account)?;
            let charge: OperationId = charge.parse().ok()?;
            let said = [("refunded", &item.refunded), ("q", &item.q), ("n", &item.n)];
            Some(with(&said, account, charge.seq, Kind::Refund))
        }),
        Some(("P", rest)) if rest.split('#').count() == 3 => {
            let account = item.account.text();
            of(account).and_then(|_| {
                let said = [
                    ("account", &item.account),
                    ("operation", &item.operation),
                    ("credits", &item.credits),
                    ("amount", &item.amount),
                    ("currency", &item.currency),
                    ("s", &item.s),
                ];
                if sk != "P" {
                    return sk.starts_with("C#").then(|| with(&said, account, 0, Kind::Change));
                }
                let operation: OperationId = item.operation.text().parse().ok()?;
                Some(with(&said, account, operation.seq, Kind::Payment))
            })
        }
        Some(("D", _)) => of(sk)
            .filter(|account| keys::directory(account).pk == pk)
            .map(|_| with(&[], sk, 0, Kind::Directory)),
        Some(("X", day)) => of(sk).and_then(|account| {
            let (day, _) = day.split_once('#')?;
            let day: Timestamp = format!("{day}T00:00:00Z").parse().ok()?;
            (keys::expiry(&account, day).pk == pk).then_some(Read1::Other)
        }),
        Some(("U", id)) if sk == "U" => id.parse::<UnratedId>().ok().and_then(|_| {
            let account = of(item.a.text())?;
            let named = [("q", &item.q), ("n", &item.n)];
            Some(with(&named, account.as_str(), item.q.number()?, Kind::Rated))
        }),
        Some(("U", _)) => sk.parse().ok().filter(|id| keys::unrated(id).pk == pk).and_then(|_| {
            let account = of(item.a.text())?;
            let said = [("a", &item.a), ("k", &item.k), ("b", &item.b), ("x", &item.x)];
            Some(with(&said, account.as_str(), 0, Kind::Unrated))
        }),
        Some(("C", rest)) if rest.starts_with("progress#") => Some(Read1::Other),
        Some(("C", rest)) if rest.starts_with("digest#") => (0..keys::DIRECTORY_SHARDS)
            .find(|shard| keys::checkpoint_digests(*shard) == pk)
            .map(|shard| {
                let said = [("n", &item.n), ("h", &item.h), ("kid", &item.kid), ("s", &item.s)];
                with(&said, "", u64::from(shard), Kind::Digest)
            }),
        Some(("C", account)) => of(account).zip(item.q.number()).map(|(_, seq)| {
            let said = [("q", &item.q), ("h", &item.h), ("kid", &item.kid), ("s", &item.s)];
            with(&said, account, seq, Kind::Checkpoint)
        }),
        Some(("S", account)) => of(account)
            .filter(|_| sk.starts_with("S#") || sk.starts_with("P#"))
            .map(|_| Read1::Other),
        Some(("K", _)) if pk == keys::CHECKPOINT_KEYS => match item.k.value() {
            Some(AttributeValue::B(key)) => {
                key.as_ref().try_into().ok().map(|key| Read1::Key(sk.to_owned(), key))
            }
            _ => None,
        },
        _ if [keys::PLANS, keys::API_KEYS, keys::TOKEN_KEYS].contains(&pk) => Some(Read1::Other),
        // Ratio tables, which are verified by their own hashes when they are read.
        Some(("R", _)) => Some(Read1::Other),
        _ => None,
    };
    place.unwrap_or_else(wrong)
}

fn push(content: &mut Vec<u8>, name: &str, kind: u8, value: &[u8]) {
    // Names have a few letters, and an item has at most 400 KB.
    content.push(u8::try_from(name.len()).expect("a short name"));
    content.extend_from_slice(name.as_bytes());
    content.push(kind);
    content.extend_from_slice(&u32::try_from(value.len()).expect("a short value").to_le_bytes());
    content.extend_from_slice(value);
}

impl Record {
    /// The item again, as the store would give it.
    pub fn item(&self) -> Item {
        let mut item = Key::new(format!("A#{}", self.place.account), "").item();
        let mut rest = self.content.as_slice();
        while let Some((name, kind, value)) = next(&mut rest) {
            let text = || String::from_utf8_lossy(value).into_owned();
            let value = match kind {
                b'B' => AttributeValue::B(Blob::new(value)),
                b'S' => AttributeValue::S(text()),
                _ => AttributeValue::N(text()),
            };
            item.insert(String::from_utf8_lossy(name).into_owned(), value);
        }
        item
    }

    /// Appends its stored form.
    pub fn write(&self, into: &mut Vec<u8>) {
        let Place { account, seq, kind } = &self.place;
        let length = 1 + account.len() + 8 + 1 + self.content.len();
        into.extend_from_slice(&u32::try_from(length).expect("a short record").to_le_bytes());
        into.push(u8::try_from(account.len()).expect("an id has at most 128 bytes"));
        into.extend_from_slice(account.as_bytes());
        into.extend_from_slice(&seq.to_le_bytes());
        into.push(*kind as u8);
        into.extend_from_slice(&self.content);
    }

    /// The next stored one; `None` at the end.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut length = [0; 4];
        match from.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let torn = || io::Error::new(io::ErrorKind::InvalidData, "a part of the audit is torn");
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_RECORD {
            return Err(torn());
        }
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes)?;
        let parse = || {
            let (account_length, rest) = bytes.split_first()?;
            let (account, rest) = rest.split_at_checked(usize::from(*account_length))?;
            let (seq, rest) = rest.split_first_chunk::<8>()?;
            let (kind, content) = rest.split_first()?;
            let kind = *Kind::ALL.get(usize::from(*kind))?;
            let account = String::from_utf8(account.to_vec()).ok()?;
            let place = Place { account, seq: u64::from_le_bytes(*seq), kind };
            Some(Self { place, content: content.to_vec() })
        };
        parse().map(Some).ok_or_else(torn)
    }

    /// Bytes that it takes in memory, about.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.place.account.len() + self.content.len()
    }
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], u8, &'a [u8])> {
    let (length, after) = rest.split_first()?;
    let (name, after) = after.split_at_checked(usize::from(*length))?;
    let (kind, after) = after.split_first()?;
    let (length, after) = after.split_first_chunk::<4>()?;
    let (value, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some((name, *kind, value))
}
