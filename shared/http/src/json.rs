//! Strict JSON: what a body must be before a type looks at it, and the pointer of what is wrong.
//!
//! `serde_json` alone takes the last of two equal keys and any control character; a typo or a
//! proxy that reads a body differently must never change a price. What providers wrote
//! (`provider_response`) is not the caller's to mend, so in there only JSON's own grammar counts,
//! and that no field is there twice: no provider writes that, and which of two counts is meant
//! can't be known. The texts of a `request` that an estimate is of may have any length and line breaks.

use std::fmt::{self, Write as _};
use std::io::{self, Read};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ring::digest;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_path_to_error::Segment;

use crate::objects::Objects;
use crate::problem::{Code, FieldError, Problem};

/// The largest body, in bytes.
pub const BODY_LIMIT: usize = 1_000_000;
/// The largest body of `/ratios*`, in bytes, as it is sent.
pub const LARGE_BODY_LIMIT: usize = 4_000_000;
/// The largest body of `/ratios*` once it is inflated, in bytes.
pub const INFLATED_LIMIT: usize = 8_000_000;
/// How deep arrays and objects may be in one another.
pub const DEPTH_LIMIT: u8 = 32;
/// The longest string, in bytes.
pub const STRING_LIMIT: usize = 65_536;
/// The longest name of a field, in bytes: it comes back in pointers.
pub const NAME_LIMIT: usize = 1_024;
/// The longest text about one fault, in bytes: it may quote what was sent.
const DETAIL_LIMIT: usize = 400;

/// A JSON body of at most [`BODY_LIMIT`], checked and read as `T`, which should refuse unknown
/// fields. `#[serde(flatten)]` and untagged enums read from a copy and lose the pointer of a
/// fault: don't use them in `T`.
///
/// # Errors
/// `invalid_request` with the pointer of the fault, `payload_too_large`.
#[derive(Debug, Clone)]
pub struct StrictJson<T> {
    /// What was asked.
    pub body: T,
    /// The same as it was written, for [`fingerprint`].
    pub value: Value,
}

/// A [`StrictJson`] for `/ratios*`: up to [`LARGE_BODY_LIMIT`], or gzip that inflates to at most
/// [`INFLATED_LIMIT`].
#[derive(Debug, Clone)]
pub struct LargeJson<T>(pub StrictJson<T>);

/// The body of a [`LargeJson`], inflated, but not read: for what others write, whose numbers must
/// be read from their digits. Who takes it reads what is the caller's own with [`parse_strict`].
///
/// # Errors
/// `invalid_request` for another content type or encoding, `payload_too_large`.
#[derive(Debug, Clone)]
pub struct LargeBody(pub Bytes);

/// A body of at most [`BODY_LIMIT`], byte for byte: what a webhook's signature is over.
#[derive(Debug, Clone)]
pub struct RawBody(pub Bytes);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for StrictJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        if gzip(request.headers())? {
            return Err(Problem::invalid_request("Content-Encoding: this body is sent plain."));
        }
        parse_strict(&read(request, BODY_LIMIT).await?)
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for LargeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        parse_strict(&LargeBody::from_request(request, state).await?.0).map(Self)
    }
}

impl<S: Sync> FromRequest<S> for LargeBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let gzip = gzip(request.headers())?;
        let body = read(request, LARGE_BODY_LIMIT).await?;
        if gzip { inflate(&body).map(Bytes::from) } else { Ok(body) }.map(Self)
    }
}

impl<S: Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request, BODY_LIMIT).await.map(Self)
    }
}

/// The one value of a header that must not come twice.
pub(crate) fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::invalid_request(format!("{name}: sent more than once.")));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Problem::invalid_request(format!("{name}: visible ASCII only."))),
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let mut parts = single(headers, &CONTENT_TYPE)?.unwrap_or_default().split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let utf8 = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        name.eq_ignore_ascii_case("charset")
            && value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    if json && parts.all(utf8) {
        Ok(())
    } else {
        Err(Problem::invalid_request("Content-Type: send application/json (in UTF-8)."))
    }
}

/// Whether the body is compressed.
fn gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    match single(headers, &CONTENT_ENCODING)? {
        None => Ok(false),
        Some(encoding) if encoding.eq_ignore_ascii_case("identity") => Ok(false),
        Some(encoding) if encoding.eq_ignore_ascii_case("gzip") => Ok(true),
        Some(_) => Err(Problem::invalid_request("Content-Encoding: only gzip is known.")),
    }
}

async fn read(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| {
        let length = length.to_str().ok()?;
        length.parse::<u64>().ok()
    });
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    match Limited::<Body>::new(request.into_body(), limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Err(_) => Err(Problem::invalid_request("The body ended early.")),
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::PayloadTooLarge, format!("At most {limit} bytes."))
}

/// Inflates at most one byte more than the limit, whatever the body claims to hold.
fn inflate(body: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut inflated = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(body)
        .take(INFLATED_LIMIT as u64 + 1)
        .read_to_end(&mut inflated);
    match read {
        Ok(length) if length > INFLATED_LIMIT => Err(too_large(INFLATED_LIMIT)),
        Ok(_) => Ok(inflated),
        Err(_) => Err(Problem::invalid_request("The body is not what gzip makes.")),
    }
}

/// Reads a body as the extractors do, without their limits of size.
///
/// # Errors
/// `invalid_request` with the pointer of the first fault.
pub fn parse_strict<T: DeserializeOwned>(body: &[u8]) -> Result<StrictJson<T>, Problem> {
    let value = parse_value(body)?;
    let body = parse_typed(&value)?;
    Ok(StrictJson { body, value })
}

/// Reads a value that was [parsed strictly](parse_strict) as a type of its own: one operation of a
/// batch, say. Pointers are relative to `value`.
///
/// # Errors
/// `invalid_request` with the pointer of the first fault.
pub fn parse_typed<T: DeserializeOwned>(value: &Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(Objects(value)).map_err(|error| {
        let mut pointer = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => push_index(&mut pointer, *index),
                Segment::Map { key } => push_key(&mut pointer, key),
                // A variant is no level of its own in the enums that are used here; what is
                // unknown lies deeper than the pointer can tell.
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        Problem::invalid_field(pointer, shorten(error.inner().to_string()))
    })
}

fn shorten(mut text: String) -> String {
    if text.len() > DETAIL_LIMIT {
        text.truncate(text.floor_char_boundary(DETAIL_LIMIT));
        text.push('…');
    }
    text
}

fn push_key(pointer: &mut String, key: &str) {
    pointer.push('/');
    for character in key.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

fn push_index(pointer: &mut String, index: usize) {
    // Writing to a string can't fail.
    let _ = write!(pointer, "/{index}");
}

fn parse_value(body: &[u8]) -> Result<Value, Problem> {
    if body.is_empty() {
        return Err(Problem::invalid_request("The body is empty; send JSON."));
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(Problem::invalid_request("The body is not UTF-8."));
    };
    let mut walk = Walk::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let node = Node { walk: &mut walk, place: Place::Request, depth: 0 };
    let parsed = node.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    match (parsed, walk.fault) {
        (Ok(value), _) => Ok(value),
        (Err(_), Some(FieldError { pointer, detail })) => {
            Err(Problem::invalid_field(pointer, detail))
        }
        (Err(error), None) => {
            Err(Problem::invalid_request(shorten(format!("The body is not JSON: {error}."))))
        }
    }
}

/// Where the walk through a body is, and the first fault it met: a `serde` error is only a text.
#[derive(Default)]
struct Walk {
    pointer: String,
    fault: Option<FieldError>,
}

impl Walk {
    fn refuse<E: serde::de::Error>(&mut self, detail: impl Into<String>) -> E {
        self.fault = Some(FieldError { pointer: self.pointer.clone(), detail: detail.into() });
        E::custom("refused")
    }

    fn check_text<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        if text.len() > STRING_LIMIT {
            return Err(self.refuse(format!("at most {STRING_LIMIT} bytes in a string")));
        }
        if text.chars().any(char::is_control) {
            return Err(self.refuse("no control characters"));
        }
        Ok(())
    }
}

/// What a value is, as far as strictness depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The body, one of its `items` or one of a batch's `operations`: may hold what a provider
    /// wrote.
    Request,
    /// The list of those.
    Requests,
    /// A request that an item describes before the fact: holds texts of any length, with line
    /// breaks.
    Described,
    /// The usage of a preview: a list of them, or one text of JSON lines, which are read strictly
    /// one by one. (In an item usage is an object, which is plain.)
    Usage,
    /// Something else of the caller's.
    Plain,
    /// What a provider wrote.
    Provider,
}

impl Place {
    fn field(self, name: &str) -> Self {
        match self {
            Self::Provider => Self::Provider,
            Self::Described => Self::Described,
            Self::Request if name == "provider_response" => Self::Provider,
            Self::Request if name == "request" => Self::Described,
            Self::Request if matches!(name, "items" | "operations") => Self::Requests,
            Self::Request if name == "usage" => Self::Usage,
            _ => Self::Plain,
        }
    }

    fn element(self) -> Self {
        match self {
            Self::Provider => Self::Provider,
            Self::Described => Self::Described,
            Self::Requests | Self::Usage => Self::Request,
            _ => Self::Plain,
        }
    }
}

/// One value, read with the rules of its place.
struct Node<'w> {
    walk: &'w mut Walk,
    place: Place,
    depth: u8,
}

impl Node<'_> {
    /// Goes one level down. `serde_json` itself ends at 128, which is what a provider's body gets.
    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.place != Place::Provider && self.depth > DEPTH_LIMIT {
            return Err(self.walk.refuse(format!("at most {DEPTH_LIMIT} levels deep")));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| self.walk.refuse("out of range"))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
        if !matches!(self.place, Place::Provider | Place::Described | Place::Usage) {
            self.walk.check_text(&text)?;
        }
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut sequence: A) -> Result<Value, A::Error> {
        self.enter()?;
        let here = self.walk.pointer.len();
        let mut values = Vec::new();
        loop {
            push_index(&mut self.walk.pointer, values.len());
            let node =
                Node { walk: &mut *self.walk, place: self.place.element(), depth: self.depth };
            let Some(value) = sequence.next_element_seed(node)? else { break };
            values.push(value);
            self.walk.pointer.truncate(here);
        }
        self.walk.pointer.truncate(here);
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        self.enter()?;
        let here = self.walk.pointer.len();
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let theirs = self.place == Place::Provider;
            if name.len() <= NAME_LIMIT {
                push_key(&mut self.walk.pointer, &name);
            } else if !theirs {
                return Err(self.walk.refuse(format!("at most {NAME_LIMIT} bytes in a name")));
            }
            if !theirs {
                self.walk.check_text(&name)?;
            }
            if fields.contains_key(&name) {
                return Err(self.walk.refuse("this field is there twice"));
            }
            let place = self.place.field(&name);
            let node = Node { walk: &mut *self.walk, place, depth: self.depth };
            let value = entries.next_value_seed(node)?;
            fields.insert(name, value);
            self.walk.pointer.truncate(here);
        }
        Ok(Value::Object(fields))
    }
}

/// What tells whether two requests with one idempotency key are the same: the first 16 bytes of
/// the SHA-256 of `[method, path, body]` as JSON without spaces, names sorted by their bytes.
///
/// Spaces and the order of fields make no difference, `1` and `"1"` do. Fingerprints are stored
/// for good, so this never changes. `path` is the decoded one: `%7C` and `|` are one account.
pub fn fingerprint(method: &str, path: &str, body: &Value) -> [u8; 16] {
    let mut hash = Hash(digest::Context::new(&digest::SHA256));
    hash.update(b"[");
    hash.scalar(method);
    hash.update(b",");
    hash.scalar(path);
    hash.update(b",");
    hash.value(body);
    hash.update(b"]");
    let digest = hash.0.finish();
    let mut short = [0; 16];
    short.copy_from_slice(&digest.as_ref()[..16]);
    short
}

struct Hash(digest::Context);

impl Hash {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn scalar(&mut self, scalar: &(impl serde::Serialize + ?Sized)) {
        serde_json::to_writer(self, scalar).expect("a hash takes all that is written");
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Array(values) => {
                let mut separator: &[u8] = b"[";
                for value in values {
                    self.update(separator);
                    self.value(value);
                    separator = b",";
                }
                self.update(if values.is_empty() { b"[]" } else { b"]" });
            }
            Value::Object(fields) => {
                // The map is sorted only as long as nobody turns on `serde_json`'s
                // `preserve_order`, and a fingerprint must not depend on a build's features.
                let mut sorted: Vec<_> = fields.iter().collect();
                sorted.sort_unstable_by_key(|(name, _)| *name);
                let mut separator: &[u8] = b"{";
                for (name, value) in sorted {
                    self.update(separator);
                    self.scalar(name);
                    self.update(b":");
                    self.value(value);
                    separator = b",";
                }
                self.update(if fields.is_empty() { b"{}" } else { b"}" });
            }
            scalar => self.scalar(scalar),
        }
    }
}

impl io::Write for &mut Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
