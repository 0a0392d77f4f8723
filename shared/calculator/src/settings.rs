//! [`CalculatorSettings`]: what the operator decides. It is the same in the body of a request and
//! in the command line's file: decimals are strings, and what is unknown or repeated is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use uc_domain::Credits;
use uc_domain::account::Money;
use uc_domain::ratios::{
    CreditRule, DEFAULT_GROUP, Exact, Multiplier, PROMPT_TOKENS, Per, Ratio, Rounding, is_label,
    is_model_name, is_name,
};

use crate::calculation::CalculatorError;

/// Most plans.
const MAX_PLANS: usize = 256;
/// Most price groups, as in a table.
const MAX_GROUPS: usize = 64;
/// Most characters of a plan's name.
const MAX_PLAN_NAME: usize = 128;

/// What a calculation follows from, beside the providers' costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalculatorSettings {
    /// What a buyer pays for one credit, in the currency of the costs.
    pub credit_price: CreditPrice,
    /// The share of each price that is to remain.
    pub margins: Scoped<Margin>,
    /// How the table rounds what a request costs: 4 decimal places, up, where not given.
    #[serde(default = "default_credit", deserialize_with = "credit_rule")]
    pub credit: CreditRule,
    /// The table's price groups. Only `default`, with 1, where not given.
    #[serde(default = "default_groups", deserialize_with = "multipliers")]
    pub groups: BTreeMap<String, Multiplier>,
    /// The least that a request costs in credits (a model's `minimum`). None where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimums: Option<Scoped<Credits>>,
    /// By dimension: the least ratio, also of what costs the operator nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique")]
    pub minimum_ratios: BTreeMap<String, MinimumRatio>,
    /// The plans whose credits are to be held against their prices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<PlanSetting>,
}

/// What a buyer pays for one credit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditPrice {
    /// How much.
    pub amount: UnitPrice,
    /// Three capital letters (ISO 4217).
    pub currency: String,
}

/// A price of one credit: above zero, at most 10^6, at most 12 significant digits, 10 of them
/// decimal places. So its product with a ratio is exact in 28 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitPrice(Ratio);

/// The share of a price that remains after the provider is paid: 0 up to but not including 1, at
/// most 4 decimal places; `"0.25"` is a quarter of the price.
///
/// A share of the price, not a markup on the cost: it adds up with what else is paid out of a
/// price (fees, taxes, the share of a reseller), it is what accounts report as gross margin, and
/// it can't be mistaken: a markup of 100% is a margin of 50%. `price = cost / (1 - margin)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Margin(u16);

/// A value with exceptions: that of a model counts before that of its provider, of its feature,
/// and the default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scoped<T> {
    /// What counts without exception.
    pub default: T,
    /// By feature.
    #[serde(default = "BTreeMap::new", skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(deserialize_with = "unique", bound(deserialize = "T: Deserialize<'de>"))]
    pub features: BTreeMap<String, T>,
    /// By provider.
    #[serde(default = "BTreeMap::new", skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(deserialize_with = "unique", bound(deserialize = "T: Deserialize<'de>"))]
    pub providers: BTreeMap<String, T>,
    /// By the model's id in the table.
    #[serde(default = "BTreeMap::new", skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(deserialize_with = "unique", bound(deserialize = "T: Deserialize<'de>"))]
    pub models: BTreeMap<String, T>,
}

/// The least ratio of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinimumRatio {
    /// Credits for `per` units.
    #[serde(deserialize_with = "text")]
    pub credits: Ratio,
    /// The number of units: a power of ten, at most 10^12.
    #[serde(deserialize_with = "per")]
    pub per: Per,
}

/// A plan that is sold, or is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSetting {
    /// Its name, 1 to 128 characters.
    pub plan: String,
    /// What it brings, in the currency of the costs.
    pub price: Money,
    /// All credits that are given for that price.
    pub credits: Credits,
    /// The price group of its subscribers; `default` where not given.
    #[serde(default = "default_group")]
    pub group: String,
}

impl CalculatorSettings {
    /// Settings with a price of a credit, one margin for all, and nothing else.
    pub fn new(credit_price: CreditPrice, margin: Margin) -> Self {
        Self {
            credit_price,
            margins: Scoped::all(margin),
            credit: default_credit(),
            groups: default_groups(),
            minimums: None,
            minimum_ratios: BTreeMap::new(),
            plans: Vec::new(),
        }
    }

    /// Checks what the fields' types don't.
    pub(crate) fn check(&self) -> Result<(), CalculatorError> {
        let refuse = |pointer: String, detail: &str| {
            Err(CalculatorError::Settings { pointer, detail: detail.to_owned() })
        };
        let currency = &self.credit_price.currency;
        if self.groups.len() > MAX_GROUPS {
            return refuse("/groups".to_owned(), "at most 64 price groups");
        }
        if !self.groups.contains_key(DEFAULT_GROUP) {
            return refuse("/groups".to_owned(), "the group \"default\" is missing");
        }
        if let Some(name) = self.groups.keys().find(|name| !is_label(name)) {
            let detail = "a price group has 1 to 64 characters of A-Z a-z 0-9 _ . -";
            return refuse(pointer(&["groups", name]), detail);
        }
        let sound = |minimum: &Credits| {
            !minimum.is_negative()
                && Exact::of_credits(*minimum, Multiplier::ONE)
                    .is_some_and(|exact| exact <= Exact::MAX_LINE)
        };
        if let Some(at) = self.minimums.as_ref().and_then(|all| all.find(|one| !sound(one))) {
            let at = [&["minimums"], at.as_slice()].concat();
            return refuse(pointer(&at), "a minimum is not negative, at most 10^9 credits");
        }
        for (dimension, minimum) in &self.minimum_ratios {
            let at = pointer(&["minimum_ratios", dimension]);
            if !is_name(dimension) || dimension == PROMPT_TOKENS {
                return refuse(at, "not a dimension");
            }
            let (_, places) = minimum.credits.parts();
            if places + minimum.per.exponent() > Ratio::PLACES {
                return refuse(at, "decimal places and zeros of `per` are together at most 18");
            }
        }
        if self.plans.len() > MAX_PLANS {
            return refuse("/plans".to_owned(), "at most 256 plans");
        }
        for (n, plan) in self.plans.iter().enumerate() {
            let at = |field| pointer(&["plans", &n.to_string(), field]);
            let length = plan.plan.chars().count();
            if !(1..=MAX_PLAN_NAME).contains(&length) || plan.plan.chars().any(char::is_control) {
                return refuse(at("plan"), "1 to 128 characters, no control characters");
            }
            if plan.price.currency != *currency {
                return refuse(at("price"), "not the currency of the price of a credit");
            }
            if plan.price.amount.is_negative() {
                return refuse(at("price"), "a price is not negative");
            }
            if !plan.credits.is_positive() || plan.credits > Credits::MAX_GRANT {
                return refuse(at("credits"), "above zero, at most 10^12");
            }
            if !self.groups.contains_key(&plan.group) {
                return refuse(at("group"), "no such price group");
            }
        }
        let odd = |name: &&String| !is_model_name(name);
        if let Some(name) = self.margins.models.keys().find(odd) {
            return refuse(pointer(&["margins", "models", name]), "not a model's id");
        }
        Ok(())
    }
}

/// What a feature is, where its name says its shape behind that.
pub(crate) fn kind_of(feature: &str) -> Option<&str> {
    feature.split_once('-').map(|(kind, _)| kind)
}

impl<T> Scoped<T> {
    /// One value for all.
    pub const fn all(default: T) -> Self {
        Self {
            default,
            features: BTreeMap::new(),
            providers: BTreeMap::new(),
            models: BTreeMap::new(),
        }
    }

    /// What counts for a model.
    pub fn of(&self, model: &str, provider: &str, feature: &str) -> &T {
        self.models
            .get(model)
            .or_else(|| self.providers.get(provider))
            .or_else(|| self.of_feature(feature))
            .unwrap_or(&self.default)
    }

    /// The exception for a feature. An importer's may name its shape behind what it is
    /// (`image-tokens`): one for `image` counts for that too.
    pub(crate) fn of_feature(&self, feature: &str) -> Option<&T> {
        self.features.get(feature).or_else(|| self.features.get(kind_of(feature)?))
    }

    /// The exceptions: by what, whose, and the value.
    pub(crate) fn exceptions(&self) -> impl Iterator<Item = ([&str; 2], &T)> {
        [("features", &self.features), ("providers", &self.providers), ("models", &self.models)]
            .into_iter()
            .flat_map(|(kind, map)| map.iter().map(move |(name, v)| ([kind, name.as_str()], v)))
    }

    /// Where a value is that `wanted` picks.
    fn find(&self, wanted: impl Fn(&T) -> bool) -> Option<Vec<&str>> {
        if wanted(&self.default) {
            return Some(vec!["default"]);
        }
        self.exceptions().find(|(_, value)| wanted(value)).map(|(at, _)| at.to_vec())
    }
}

impl UnitPrice {
    /// Most decimal places.
    const PLACES: u8 = 10;
    /// The largest price.
    const MAX: u64 = 1_000_000;
    /// One more than the largest number of 12 digits.
    const DIGITS: u64 = 1_000_000_000_000;

    /// Mantissa, at most 12 digits, and decimal places: in lowest terms.
    pub const fn parts(self) -> (u64, u8) {
        self.0.parts()
    }

    /// The price as a decimal.
    pub fn decimal(self) -> Decimal {
        let (mantissa, scale) = self.parts();
        Decimal::from_i128_with_scale(i128::from(mantissa), u32::from(scale))
    }
}

impl FromStr for UnitPrice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "the price of a credit is a plain decimal above zero, at most 10^6, \
                            with at most 12 significant digits and 10 decimal places";
        let price: Ratio = text.parse().map_err(|_| RULE)?;
        let (mantissa, places) = price.parts();
        let in_range = mantissa > 0
            && mantissa < Self::DIGITS
            && places <= Self::PLACES
            && mantissa <= Self::MAX * 10_u64.pow(u32::from(places));
        if in_range { Ok(Self(price)) } else { Err(RULE) }
    }
}

impl Margin {
    /// No margin: the price is the cost.
    pub const ZERO: Self = Self(0);
    /// Ten-thousandths of the whole.
    const WHOLE: u16 = 10_000;

    /// From ten-thousandths of the price. `None` from 1 up.
    pub const fn from_ten_thousandths(parts: u16) -> Option<Self> {
        if parts < Self::WHOLE { Some(Self(parts)) } else { None }
    }

    /// Ten-thousandths of the price, 0 to 9,999.
    pub const fn ten_thousandths(self) -> u16 {
        self.0
    }

    /// What is paid to the provider, in ten-thousandths of the price: 1 to 10,000.
    pub const fn cost_share(self) -> u16 {
        Self::WHOLE - self.0
    }
}

impl FromStr for Margin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<Multiplier>()
            .ok()
            .and_then(|share| u16::try_from(share.ten_thousandths()).ok())
            .and_then(Self::from_ten_thousandths)
            .ok_or("a margin is a plain decimal from 0 up to but not including 1, 4 decimal places")
    }
}

impl fmt::Display for Margin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Decimal::new(i64::from(self.0), 4).normalize().fmt(f)
    }
}

impl Serialize for Margin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Margin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer)
    }
}

impl fmt::Display for UnitPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for UnitPrice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnitPrice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer)
    }
}

fn default_credit() -> CreditRule {
    CreditRule::new(4, Rounding::Up).expect("a credit has 6 decimal places")
}

fn default_groups() -> BTreeMap<String, Multiplier> {
    BTreeMap::from([(default_group(), Multiplier::ONE)])
}

fn default_group() -> String {
    DEFAULT_GROUP.to_owned()
}

/// A JSON pointer (RFC 6901) of these steps.
pub(crate) fn pointer(steps: &[&str]) -> String {
    let mut pointer = String::new();
    for step in steps {
        pointer.push('/');
        pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
    }
    pointer
}

/// Reads what is written as a string; a number is refused.
fn text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a decimal string such as \"0.25\"")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(PhantomData))
}

/// Reads an object whose keys are data, and refuses a repeated one: which of two margins counts
/// must not depend on the reader.
pub(crate) fn unique<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Unique<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Unique<T> {
        type Value = BTreeMap<String, T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
            let mut read = BTreeMap::new();
            while let Some((name, value)) = object.next_entry::<String, T>()? {
                if read.contains_key(&name) {
                    return Err(A::Error::custom(format_args!("repeated field {name:?}")));
                }
                read.insert(name, value);
            }
            Ok(read)
        }
    }

    deserializer.deserialize_map(Unique(PhantomData))
}

fn multipliers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Multiplier>, D::Error> {
    #[derive(Deserialize)]
    struct Text(#[serde(deserialize_with = "text")] Multiplier);

    let mut multipliers = BTreeMap::new();
    for (name, Text(multiplier)) in unique::<D, Text>(deserializer)? {
        multipliers.insert(name, multiplier);
    }
    Ok(multipliers)
}

pub(crate) fn per<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Per, D::Error> {
    Per::from_units(u64::deserialize(deserializer)?)
        .ok_or_else(|| D::Error::custom("a power of ten from 1 to 1000000000000"))
}

fn credit_rule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CreditRule, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rule {
        scale: u8,
        rounding: String,
    }

    let Rule { scale, rounding } = Rule::deserialize(deserializer)?;
    let rounding = Rounding::from_name(&rounding).ok_or_else(|| {
        D::Error::custom("rounding is one of \"up\", \"down\", \"half_up\", \"half_even\"")
    })?;
    CreditRule::new(scale, rounding).ok_or_else(|| D::Error::custom("scale is from 0 to 6"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(changed: Value) -> Value {
        let mut settings = json!({
            "credit_price": {"amount": "0.001", "currency": "USD"},
            "margins": {"default": "0.3"},
        });
        let fields = settings.as_object_mut().unwrap();
        fields.extend(changed.as_object().unwrap().clone());
        settings
    }

    #[test]
    fn only_what_is_exact_is_read() {
        let check = |changed: Value, expected: Result<(), &str>| {
            let body = settings(changed).to_string();
            let read = serde_json::from_str::<CalculatorSettings>(&body)
                .map_err(|error| error.to_string())
                .and_then(|read| read.check().map(|()| read).map_err(|error| error.to_string()));
            match (&read, expected) {
                (Ok(read), Ok(())) => {
                    let again = serde_json::to_string(&read).unwrap();
                    assert_eq!(serde_json::from_str::<CalculatorSettings>(&again).unwrap(), *read);
                }
                (Err(error), Err(part)) => assert!(error.contains(part), "{body}: {error}"),
                _ => panic!("{body}: {read:?}, expected {expected:?}"),
            }
        };
        check(json!({}), Ok(()));
        check(
            json!({"margins": {"default": "0", "models": {"a/b": "0.9999"}, "providers": {"=x": "0.1"},
                   "features": {"text": "0.25"}}, "credit": {"scale": 6, "rounding": "half_even"},
                   "groups": {"default": "1", "byok": "0"}, "minimums": {"default": "0.01"},
                   "minimum_ratios": {"requests": {"credits": "0.5", "per": 1000}},
                   "plans": [{"plan": "Pro", "price": {"amount": "20", "currency": "USD"},
                              "credits": "1000", "group": "byok"}]}),
            Ok(()),
        );
        for bad in ["1", "-0.1", "0.00001", "1e-1", ".5", "30%", ""] {
            check(json!({"margins": {"default": bad}}), Err("a margin is"));
        }
        check(json!({"margins": {"default": 0.3}}), Err("a decimal string"));
        check(json!({"margins": {}}), Err("missing field `default`"));
        check(json!({"margins": {"default": "0", "model": {}}}), Err("unknown field"));
        check(json!({"margins": {"default": "0", "models": {"a b": "0"}}}), Err("model's id"));
        for bad in ["0", "-1", "1000000.1", "0.00000000001", "1.234567890123", "1e-3"] {
            let price = json!({"amount": bad, "currency": "USD"});
            check(json!({"credit_price": price}), Err("price of a credit"));
        }
        check(json!({"credit": {"scale": 7, "rounding": "up"}}), Err("scale"));
        check(json!({"credit": {"scale": 4, "rounding": "Up"}}), Err("rounding"));
        check(json!({"groups": {"pro": "1"}}), Err("default"));
        check(json!({"groups": {"default": "10"}}), Err("below 10"));
        check(json!({"groups": {"default": 1}}), Err("a decimal string"));
        check(json!({"groups": {"default": "1", "=x": "1"}}), Err("/groups/=x"));
        check(json!({"minimums": {"default": "-1"}}), Err("/minimums/default"));
        let minimum = json!({"credits": "0.0000001", "per": 1_000_000_000_000_u64});
        check(json!({"minimum_ratios": {"requests": minimum}}), Err("together at most 18"));
        let minimum = json!({"credits": "1", "per": 1024});
        check(json!({"minimum_ratios": {"requests": minimum}}), Err("power of ten"));
        let plan = |price: &str, currency: &str, credits: &str, group: &str| {
            let price = json!({"amount": price, "currency": currency});
            json!({"plans": [{"plan": "a", "price": price, "credits": credits, "group": group}]})
        };
        check(plan("0", "USD", "1", "default"), Ok(()));
        check(plan("-1", "USD", "1", "default"), Err("/plans/0/price"));
        check(plan("1", "EUR", "1", "default"), Err("/plans/0/price"));
        check(plan("1", "USD", "0", "default"), Err("/plans/0/credits"));
        check(plan("1", "USD", "1", "pro"), Err("/plans/0/group"));
    }

    #[test]
    fn a_repeated_name_is_refused() {
        let text = r#"{"default": "0", "models": {"a": "0.1", "a": "0.2"}}"#;
        let error = serde_json::from_str::<Scoped<Margin>>(text).unwrap_err();
        assert!(error.to_string().contains("repeated field \"a\""), "{error}");
    }

    #[test]
    fn a_model_counts_before_its_provider_and_that_before_its_feature() {
        let scoped: Scoped<Margin> = serde_json::from_value(json!({"default": "0.1",
            "features": {"text": "0.2"}, "providers": {"openai": "0.3"}, "models": {"m": "0.4"}}))
        .unwrap();
        let check = |model, provider, feature, expected: &str| {
            let found = scoped.of(model, provider, feature).to_string();
            assert_eq!(found, expected, "{model} {provider} {feature}");
        };
        check("m", "openai", "text", "0.4");
        check("n", "openai", "text", "0.3");
        check("n", "other", "text", "0.2");
        check("n", "other", "text-by-seconds", "0.2");
        check("n", "other", "image", "0.1");
    }
}
