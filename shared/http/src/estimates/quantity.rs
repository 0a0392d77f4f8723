//! A quantity in an estimate: known, or bounds of one that is not.

use std::fmt;

use serde::Deserialize;
use uc_domain::{Quantity, estimates};
use utoipa::openapi::schema::OneOfBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::openapi;

/// [`estimates::Bounds`] in a body: a quantity, or an object with `min`, `expected` and `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds(pub estimates::Bounds);

impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Bounds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity, or an object with min, expected and max")
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Bounds, E> {
                Quantity::deserialize(serde::de::value::U64Deserializer::new(value)).map(known)
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Bounds, E> {
                Quantity::deserialize(serde::de::value::I64Deserializer::new(value)).map(known)
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Bounds, E> {
                value.parse().map(known).map_err(E::custom)
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Bounds, A::Error> {
                let fields = serde::de::value::MapAccessDeserializer::new(map);
                let BoundsFields { min, expected, max } = BoundsFields::deserialize(fields)?;
                estimates::Bounds::new(min, expected, max)
                    .map(Bounds)
                    .ok_or_else(|| serde::de::Error::custom("min <= expected <= max"))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

fn known(quantity: Quantity) -> Bounds {
    Bounds(estimates::Bounds::known(quantity))
}

/// Bounds of a quantity that is not known.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = QuantityBounds)]
pub struct BoundsFields {
    /// At least.
    #[schema(value_type = openapi::Quantity)]
    min: Quantity,
    /// Most likely.
    #[schema(value_type = openapi::Quantity)]
    expected: Quantity,
    /// At most.
    #[schema(value_type = openapi::Quantity)]
    max: Quantity,
}

/// Describes [`Bounds`] in the `OpenAPI` document.
pub enum QuantityOrBounds {}

impl ToSchema for QuantityOrBounds {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((BoundsFields::name().into_owned(), BoundsFields::schema()));
        BoundsFields::schemas(schemas);
    }
}

impl PartialSchema for QuantityOrBounds {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(openapi::Quantity::schema())
            .item(Ref::from_schema_name(BoundsFields::name()))
            .description(Some("A quantity that is known, or bounds of one that is not."))
            .into()
    }
}
