//! The encoding of a group of models, before compression.
//!
//! CBOR items without frames around them, of one kind after another (ids, shapes, names, numbers)
//! because like compresses best beside like. Ids leave out what they share with the one before.
//! A shape is all of a model's rows but for the numbers; most models of a provider have the same
//! one, so it is written once a group and then counted. Texts within shapes are, too.

use std::collections::HashMap;
use std::convert::Infallible;

use minicbor::data::Type;
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};
use serde_json::{Map, Value};
use uc_domain::ratios::{Conditions, Cost, Model, Per, Ratio, Row};

type Writer = Encoder<Vec<u8>>;

/// Encodes models, which are in order of their ids.
pub fn encode(models: &[&Model]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    write(models, &mut encoder).expect("writing to memory does not fail");
    encoder.into_writer()
}

type Written = Result<(), minicbor::encode::Error<Infallible>>;

fn write(models: &[&Model], e: &mut Writer) -> Written {
    e.u64(models.len() as u64)?;

    let mut before = "";
    for model in models {
        let id = model.id();
        // Ids are ASCII and at most 128 long.
        let shared = id.bytes().zip(before.bytes()).take_while(|(a, b)| a == b).count();
        e.u64(shared as u64)?.str(&id[shared..])?;
        before = id;
    }

    let mut shapes = HashMap::new();
    let mut texts = Texts::default();
    for model in models {
        let shape = shape(model);
        let known = shapes.len() as u64;
        let index = *shapes.entry(shape.clone()).or_insert(known);
        e.u64(index)?;
        if index == known {
            let (feature, rows) = shape;
            texts.write(feature, e)?;
            e.u64(rows.len() as u64)?;
            for (dimension, per, when, currency) in rows {
                texts.write(dimension, e)?;
                e.u8(per)?;
                // No conditions and no currency are empty texts: neither can be one.
                texts.write(&when, e)?;
                texts.write(currency, e)?;
            }
        }
    }

    for model in models {
        let plain = model.name() == model.id()
            && model.enabled()
            && model.aliases().is_empty()
            && model.match_rules().is_empty()
            && model.minimum().is_zero();
        if plain {
            e.null()?;
            continue;
        }
        e.bool(model.enabled())?.str(model.name())?.str(&model.minimum().to_string())?;
        e.array(model.aliases().len() as u64)?;
        for alias in model.aliases() {
            e.str(alias)?;
        }
        // As JSON: a new kind of rule needs no new format.
        e.str(&serde_json::to_string(model.match_rules()).expect("rules are texts"))?;
    }

    for row in models.iter().flat_map(|model| model.ratios()) {
        let (mantissa, scale) = row.rate().credits().parts();
        e.u64(mantissa)?.u8(scale)?;
        if let Some(cost) = row.cost() {
            let amount = cost.amount();
            let parts = u64::try_from(amount.mantissa())
                .ok()
                .zip(u8::try_from(amount.scale()).ok())
                .filter(|(mantissa, scale)| Ratio::from_parts(*mantissa, *scale).is_some());
            match parts {
                Some((mantissa, scale)) => e.u64(mantissa)?.u8(scale)?,
                // A cost has fewer limits than a ratio.
                None => e.str(&amount.to_string())?,
            };
        }
    }
    Ok(())
}

/// A row without its numbers: dimension, exponent of `per`, conditions, currency of the cost.
type RowShape<'a> = (&'a str, u8, String, &'a str);

fn shape(model: &Model) -> (&str, Vec<RowShape<'_>>) {
    (model.feature(), model.ratios().iter().map(row_shape).collect())
}

fn row_shape(row: &Row) -> RowShape<'_> {
    (
        row.dimension(),
        row.rate().per().exponent(),
        row.rate().when().map_or_else(String::new, Conditions::to_text),
        row.cost().map_or("", Cost::currency),
    )
}

/// Writes a text in full the first time and then by number.
#[derive(Default)]
struct Texts {
    known: HashMap<String, u64>,
}

impl Texts {
    fn write(&mut self, text: &str, e: &mut Writer) -> Written {
        let next = self.known.len() as u64;
        if let Some(index) = self.known.get(text) {
            e.u64(*index)?;
        } else {
            self.known.insert(text.to_owned(), next);
            e.str(text)?;
        }
        Ok(())
    }
}

/// Decodes a group into the `models` of a table's JSON and returns its first id.
pub fn decode(group: &[u8], models: &mut Map<String, Value>) -> Result<String, Error> {
    let mut d = Decoder::new(group);
    // Every model takes some bytes: a wrong count must not reserve memory.
    let count = length(&mut d)?.min(group.len());

    let mut ids: Vec<String> = Vec::with_capacity(count);
    for _ in 0..count {
        let shared = length(&mut d)?;
        let before = ids.last().map_or("", String::as_str);
        let start = before.get(..shared).ok_or_else(|| Error::message("id"))?;
        ids.push(format!("{start}{}", d.str()?));
    }

    let mut shapes: Vec<(String, Vec<DecodedShape>)> = Vec::new();
    let mut texts = Vec::new();
    let mut shape_of = Vec::with_capacity(count);
    for _ in 0..count {
        let index = length(&mut d)?;
        if index == shapes.len() {
            let feature = read_text(&mut d, &mut texts)?.to_owned();
            let rows = length(&mut d)?.min(group.len());
            let rows =
                (0..rows).map(|_| read_shape(&mut d, &mut texts)).collect::<Result<_, _>>()?;
            shapes.push((feature, rows));
        } else if index > shapes.len() {
            return Err(Error::message("shape"));
        }
        shape_of.push(index);
    }

    let mut bodies = Vec::with_capacity(count);
    for _ in 0..count {
        bodies.push(read_names(&mut d)?);
    }

    for ((id, mut body), index) in ids.iter().zip(bodies).zip(shape_of) {
        let (feature, rows) = &shapes[index];
        let rows = rows.iter().map(|row| read_row(&mut d, row)).collect::<Result<_, _>>()?;
        body.insert("feature".to_owned(), Value::String(feature.clone()));
        body.insert("ratios".to_owned(), Value::Array(rows));
        models.insert(id.clone(), Value::Object(body));
    }
    if d.position() != group.len() {
        return Err(Error::message("something follows the group"));
    }
    ids.into_iter().next().ok_or_else(|| Error::message("an empty group"))
}

struct DecodedShape {
    dimension: String,
    per: u64,
    when: Option<Value>,
    currency: Option<String>,
}

fn length(d: &mut Decoder<'_>) -> Result<usize, Error> {
    usize::try_from(d.u64()?).map_err(|_| Error::message("length"))
}

fn read_text<'t>(d: &mut Decoder<'_>, texts: &'t mut Vec<String>) -> Result<&'t str, Error> {
    let index = if d.datatype()? == Type::String {
        texts.push(d.str()?.to_owned());
        texts.len() - 1
    } else {
        length(d)?
    };
    texts.get(index).map(String::as_str).ok_or_else(|| Error::message("text"))
}

fn read_shape(d: &mut Decoder<'_>, texts: &mut Vec<String>) -> Result<DecodedShape, Error> {
    let dimension = read_text(d, texts)?.to_owned();
    let per = Per::from_exponent(d.u8()?).ok_or_else(|| Error::message("per"))?.units();
    let when = match read_text(d, texts)? {
        "" => None,
        when => Some(serde_json::from_str(when).map_err(Error::custom)?),
    };
    let currency = Some(read_text(d, texts)?).filter(|text| !text.is_empty());
    Ok(DecodedShape { dimension, per, when, currency: currency.map(ToOwned::to_owned) })
}

/// The fields of a model that are not about its rows; those that say nothing are left out.
fn read_names(d: &mut Decoder<'_>) -> Result<Map<String, Value>, Error> {
    let mut body = Map::new();
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(body);
    }
    body.insert("enabled".to_owned(), d.bool()?.into());
    body.insert("name".to_owned(), d.str()?.into());
    body.insert("minimum".to_owned(), d.str()?.into());
    let aliases = d.array_iter::<&str>()?.collect::<Result<Vec<_>, _>>()?;
    body.insert("aliases".to_owned(), aliases.into());
    body.insert("match".to_owned(), serde_json::from_str(d.str()?).map_err(Error::custom)?);
    Ok(body)
}

fn read_row(d: &mut Decoder<'_>, shape: &DecodedShape) -> Result<Value, Error> {
    let mut row = Map::new();
    row.insert("dimension".to_owned(), Value::String(shape.dimension.clone()));
    row.insert("credits".to_owned(), read_decimal(d)?.into());
    row.insert("per".to_owned(), shape.per.into());
    if let Some(when) = &shape.when {
        row.insert("when".to_owned(), when.clone());
    }
    if let Some(currency) = &shape.currency {
        let amount =
            if d.datatype()? == Type::String { d.str()?.to_owned() } else { read_decimal(d)? };
        let cost = Map::from_iter([
            ("amount".to_owned(), amount.into()),
            ("currency".to_owned(), currency.as_str().into()),
        ]);
        row.insert("cost".to_owned(), Value::Object(cost));
    }
    Ok(Value::Object(row))
}

fn read_decimal(d: &mut Decoder<'_>) -> Result<String, Error> {
    let (mantissa, scale) = (d.u64()?, usize::from(d.u8()?));
    if scale > usize::from(Ratio::PLACES) {
        return Err(Error::message("number"));
    }
    // Digits and a point by hand: this is done for every row, and 128-bit division is slow.
    let mut text = format!("{mantissa:0width$}", width = scale + 1);
    if scale > 0 {
        text.insert(text.len() - scale, '.');
    }
    Ok(text)
}
