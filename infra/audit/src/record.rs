//! What of an export matters to an audit, one record an item, in an order in which a journal can
//! be recomputed as it comes: by account, entry, kind.

use std::borrow::Cow;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use uc_domain::AccountId;
use uc_ledger::keys;
use uc_ledger::store::{AttributeValue, Blob, Item, Key};

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

/// What a record is, in the order in which those of one entry come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A journal entry.
    Entry,
    /// An item that names one of its operations.
    Operation,
    /// A checkpoint of it.
    Checkpoint,
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
    let is_account = |text: &str| text.parse::<AccountId>().is_ok();
    if let Some(account) = pk.strip_prefix("A#") {
        return match keys::parse_seq(sk) {
            Some(seq) if is_account(account) => {
                let attributes = [
                    ("sk", &item.sk),
                    ("b", &item.b),
                    ("h", &item.h),
                    ("c", &item.c),
                    ("x", &item.x),
                ];
                record(account, seq, Kind::Entry, &attributes)
            }
            _ => wrong(),
        };
    }
    if let Some((account, _)) = pk.strip_prefix("O#").and_then(|rest| rest.split_once('#')) {
        return match item.q.number() {
            Some(seq) if is_account(account) => {
                record(account, seq, Kind::Operation, &[("pk", &item.pk), ("n", &item.n)])
            }
            _ => wrong(),
        };
    }
    if let Some(account) = pk.strip_prefix("C#").filter(|rest| !rest.contains('#')) {
        return match item.q.number() {
            Some(seq) if is_account(account) => {
                let attributes = [
                    ("sk", &item.sk),
                    ("q", &item.q),
                    ("h", &item.h),
                    ("kid", &item.kid),
                    ("s", &item.s),
                ];
                record(account, seq, Kind::Checkpoint, &attributes)
            }
            _ => wrong(),
        };
    }
    if pk == keys::CHECKPOINT_KEYS {
        return match item.k.value() {
            Some(AttributeValue::B(key)) => match key.as_ref().try_into() {
                Ok(key) => Read1::Key(sk.to_owned(), key),
                Err(_) => wrong(),
            },
            _ => wrong(),
        };
    }
    Read1::Other
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
        into.push(match kind {
            Kind::Entry => 0,
            Kind::Operation => 1,
            Kind::Checkpoint => 2,
        });
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
            let kind = match kind {
                0 => Kind::Entry,
                1 => Kind::Operation,
                2 => Kind::Checkpoint,
                _ => return None,
            };
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
