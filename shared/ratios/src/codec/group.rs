//! The encoding of a group of models, before compression.
//!
//! CBOR items without frames around them, of one kind after another (ids, shapes, names, numbers)
//! because like compresses best beside like. Ids leave out what they share with the one before.
//! A shape is all of a model's rows but for the numbers; most models of a provider have the same
//! one, so it is written once a group and then counted. Texts within shapes are, too. Ratios that
//! follow from the costs beside them are not written: see [`Share`].

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use minicbor::data::Type;
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};
use rust_decimal::Decimal;
use uc_domain::Credits;
use uc_domain::ratios::{Conditions, Cost, Model, ModelParts, Per, Rate, Ratio, Row};

use super::share::Share;

type Writer = Encoder<Vec<u8>>;

/// What a model has besides an id and aliases, bit by bit.
const DISABLED: u8 = 1;
/// A name for people that is not the id.
const NAMED: u8 = 2;
/// A minimum.
const MINIMUM: u8 = 4;
/// Match rules.
const MATCHED: u8 = 8;

/// How the ratios of a model are known: they stand beside the costs,
const WRITTEN: u8 = 0;
/// they follow from the costs by the [`Share`] that was said last,
const SAME_SHARE: u8 = 1;
/// or by this one.
const NEW_SHARE: u8 = 2;
/// The first format that says so; before, all were written.
const SHARES_SINCE: u8 = 3;

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
        let has = [
            (DISABLED, !model.enabled()),
            (NAMED, model.name() != model.id()),
            (MINIMUM, !model.minimum().is_zero()),
            (MATCHED, !model.match_rules().is_empty()),
        ];
        e.u8(has.iter().filter(|(_, has)| *has).map(|(flag, _)| flag).sum())?;
        if model.name() != model.id() {
            e.str(model.name())?;
        }
        if !model.minimum().is_zero() {
            e.str(&model.minimum().to_string())?;
        }
        e.u64(model.aliases().len() as u64)?;
        for alias in model.aliases() {
            // Most are the id without the provider, or with another one.
            let (id, alias) = (model.id(), alias.as_str());
            let pairs = id.bytes().rev().zip(alias.bytes().rev());
            let shared = pairs.take_while(|(a, b)| a == b).count();
            texts.write(&alias[..alias.len() - shared], e)?;
            e.u64(shared as u64)?;
        }
        if !model.match_rules().is_empty() {
            // As JSON: a new kind of rule needs no new format.
            e.str(&serde_json::to_string(model.match_rules()).expect("rules are texts"))?;
        }
    }

    let mut share = None;
    for model in models {
        let rows = model.ratios();
        let found = Share::of(rows, share);
        match found {
            None => e.u8(WRITTEN)?,
            Some(_) if found == share => e.u8(SAME_SHARE)?,
            Some(new) => {
                share = found;
                let (mantissa, scale) = new.parts();
                e.u8(NEW_SHARE)?.u64(mantissa)?.u8(scale)?
            }
        };
        write_rows(rows, found.is_some(), e)?;
    }
    Ok(())
}

/// The numbers of a model's rows, the ratios only where they don't follow from the costs.
fn write_rows(rows: &[Row], follow: bool, e: &mut Writer) -> Written {
    for row in rows {
        if !follow {
            let (mantissa, scale) = row.rate().credits().parts();
            e.u64(mantissa)?.u8(scale)?;
        }
        if let Some(cost) = row.cost() {
            let amount = cost.amount();
            match (u64::try_from(amount.mantissa()), u8::try_from(amount.scale())) {
                (Ok(mantissa), Ok(scale)) => e.u64(mantissa)?.u8(scale)?,
                // An amount has up to 28 digits.
                _ => e.str(&amount.to_string())?,
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

/// Conditions that were read, by their text: a table has a few dozen, each in many groups.
pub type KnownConditions = HashMap<String, Arc<Conditions>>;

/// Decodes a group of a format; its models follow those that are there.
pub fn decode(
    group: &[u8],
    format: u8,
    models: &mut Vec<Model>,
    known: &mut KnownConditions,
) -> Result<(), Error> {
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
            let rows = (0..rows)
                .map(|_| read_shape(&mut d, &mut texts, known))
                .collect::<Result<_, _>>()?;
            shapes.push((feature, rows));
        } else if index > shapes.len() {
            return Err(Error::message("shape"));
        }
        shape_of.push(index);
    }

    let first = models.len();
    let mut parts = Vec::with_capacity(count);
    for id in ids {
        parts.push(read_names(id, &mut d, &mut texts)?);
    }
    let mut known_share = None;
    for (mut parts, index) in parts.into_iter().zip(shape_of) {
        let (feature, rows) = &shapes[index];
        parts.feature.clone_from(feature);
        let known = if format < SHARES_SINCE { WRITTEN } else { d.u8()? };
        let share = match known {
            WRITTEN => None,
            SAME_SHARE => Some(known_share.ok_or_else(|| Error::message("share"))?),
            NEW_SHARE => {
                let share = Share::from_parts(d.u64()?, d.u8()?);
                known_share = Some(share.ok_or_else(|| Error::message("share"))?);
                known_share
            }
            _ => return Err(Error::message("share")),
        };
        let rows = rows.iter().map(|row| read_row(&mut d, row, share));
        parts.ratios = rows.collect::<Result<_, _>>()?;
        models.push(Model::from_published(parts));
    }
    if d.position() != group.len() || models.len() == first {
        return Err(Error::message("something follows the group, or it is empty"));
    }
    Ok(())
}

struct DecodedShape {
    dimension: Arc<str>,
    per: Per,
    when: Option<Arc<Conditions>>,
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

fn read_shape(
    d: &mut Decoder<'_>,
    texts: &mut Vec<String>,
    known: &mut KnownConditions,
) -> Result<DecodedShape, Error> {
    let dimension = read_text(d, texts)?.into();
    let per = Per::from_exponent(d.u8()?).ok_or_else(|| Error::message("per"))?;
    let when = match read_text(d, texts)? {
        "" => None,
        when => {
            if !known.contains_key(when) {
                let conditions = Conditions::from_text(when).map_err(Error::custom)?;
                known.insert(when.to_owned(), Arc::new(conditions));
            }
            known.get(when).cloned()
        }
    };
    let currency = Some(read_text(d, texts)?).filter(|text| !text.is_empty());
    Ok(DecodedShape { dimension, per, when, currency: currency.map(ToOwned::to_owned) })
}

/// What a model has besides feature and rows.
fn read_names(
    id: String,
    d: &mut Decoder<'_>,
    texts: &mut Vec<String>,
) -> Result<ModelParts, Error> {
    let mut parts = ModelParts {
        id,
        name: None,
        feature: String::new(),
        enabled: true,
        aliases: Vec::new(),
        match_rules: Vec::new(),
        minimum: Credits::ZERO,
        ratios: Vec::new(),
    };
    match d.datatype()? {
        Type::Null => {
            d.null()?;
            return Ok(parts);
        }
        // As format 1 has it.
        Type::Bool => {
            parts.enabled = d.bool()?;
            parts.name = Some(d.str()?.to_owned());
            parts.minimum = d.str()?.parse().map_err(Error::custom)?;
            parts.aliases = d.array_iter()?.collect::<Result<_, _>>()?;
            parts.match_rules = serde_json::from_str(d.str()?).map_err(Error::custom)?;
            return Ok(parts);
        }
        _ => {}
    }
    let flags = d.u8()?;
    if flags > DISABLED | NAMED | MINIMUM | MATCHED {
        return Err(Error::message("flags"));
    }
    parts.enabled = flags & DISABLED == 0;
    if flags & NAMED != 0 {
        parts.name = Some(d.str()?.to_owned());
    }
    if flags & MINIMUM != 0 {
        parts.minimum = d.str()?.parse().map_err(Error::custom)?;
    }
    for _ in 0..length(d)? {
        let start = read_text(d, texts)?;
        let shared = length(d)?;
        let from = parts.id.len().checked_sub(shared);
        let end = from.and_then(|from| parts.id.get(from..));
        let end = end.ok_or_else(|| Error::message("alias"))?;
        parts.aliases.push(format!("{start}{end}"));
    }
    if flags & MATCHED != 0 {
        parts.match_rules = serde_json::from_str(d.str()?).map_err(Error::custom)?;
    }
    Ok(parts)
}

fn read_row(d: &mut Decoder<'_>, shape: &DecodedShape, share: Option<Share>) -> Result<Row, Error> {
    let mut written = None;
    if share.is_none() {
        written = Ratio::from_parts(d.u64()?, d.u8()?);
    }
    let mut cost = None;
    if let Some(currency) = &shape.currency {
        let amount = if d.datatype()? == Type::String {
            d.str()?.parse().map_err(Error::custom)?
        } else {
            let (mantissa, scale) = (d.u64()?, d.u8()?);
            written = share.map_or(written, |share| share.ratio((mantissa, scale), shape.per));
            Decimal::try_from_i128_with_scale(mantissa.into(), scale.into())
                .map_err(Error::custom)?
        };
        cost = Some(Cost::new(amount, currency).ok_or_else(|| Error::message("cost"))?);
    }
    let rate = written
        .and_then(|credits| Rate::sharing(credits, shape.per, shape.when.clone()))
        .ok_or_else(|| Error::message("ratio"))?;
    Ok(Row::from_published(Arc::clone(&shape.dimension), rate, cost))
}
