//! Properties, against models that are simple rather than fast: decimal digits on paper for the
//! sums, a look at every request for the choice of row.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;

/// A natural number as decimal digits, the least significant first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Paper(Vec<u32>);

impl Paper {
    fn new(text: &str) -> Self {
        Self(text.chars().rev().map(|c| c.to_digit(10).unwrap()).collect())
    }

    fn carried(mut digits: Vec<u32>) -> Self {
        for place in 0.. {
            let Some(digit) = digits.get(place).copied() else { break };
            digits[place] = digit % 10;
            match digits.get_mut(place + 1) {
                Some(next) => *next += digit / 10,
                None if digit >= 10 => digits.push(digit / 10),
                None => {}
            }
        }
        Self(digits)
    }

    fn add(&self, other: &Self) -> Self {
        let places = self.0.len().max(other.0.len());
        let digit = |number: &Self, place| number.0.get(place).copied().unwrap_or(0);
        Self::carried((0..places).map(|place| digit(self, place) + digit(other, place)).collect())
    }

    fn times(&self, other: &Self) -> Self {
        let mut digits = vec![0; self.0.len() + other.0.len()];
        for (n, a) in self.0.iter().enumerate() {
            for (m, b) in other.0.iter().enumerate() {
                digits[n + m] += a * b;
            }
        }
        Self::carried(digits)
    }

    /// The number's digits before and behind a point with `places` behind it.
    fn split(&self, places: usize) -> (String, String) {
        let mut digits = self.0.clone();
        digits.resize(digits.len().max(places + 1), 0);
        let text = |part: &[u32]| part.iter().rev().map(u32::to_string).collect::<String>();
        (text(&digits[places..]), text(&digits[..places]))
    }

    fn is_over(&self, limit: &str) -> bool {
        let (digits, _) = self.split(0);
        let digits = digits.trim_start_matches('0');
        (digits.len(), digits) > (limit.len(), limit)
    }

    /// Rounded to `scale` of its `places`, as millionths.
    fn rounded(&self, places: usize, scale: usize, rounding: Rounding) -> i128 {
        let (kept, rest) = self.split(places - scale);
        let half = format!("5{}", "0".repeat(rest.len() - 1));
        let odd = kept.ends_with(['1', '3', '5', '7', '9']);
        let up = match rounding {
            Rounding::Up => rest.contains(|digit| digit != '0'),
            Rounding::Down => false,
            Rounding::HalfUp => rest >= half,
            Rounding::HalfEven => rest > half || (rest == half && odd),
        };
        let units: i128 = kept.parse().unwrap();
        (units + i128::from(up)) * 10_i128.pow(u32::try_from(6 - scale).unwrap())
    }
}

/// Digits and decimal places of a plain decimal.
fn digits(text: &str) -> (Paper, usize) {
    let places = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    (Paper::new(&text.replace('.', "")), places)
}

fn decimal(mantissa: u64, places: u8) -> String {
    let places = usize::from(places);
    let text = format!("{mantissa:0>width$}", width = places + 1);
    let (whole, fraction) = text.split_at(text.len() - places);
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

/// Numbers of all lengths: uniform ones are nearly always as long as they may be.
fn mantissa(most: u64) -> impl Strategy<Value = u64> {
    (0..=most, 0_u32..13).prop_map(|(number, fewer)| number / 10_u64.pow(fewer))
}

/// Quantity, ratio and exponent of `per`, within the limits.
fn priced() -> impl Strategy<Value = (String, String, u8)> {
    let quantity = (mantissa(999_999_999_999), 0_u8..=3);
    let ratio = (mantissa(999_999_999_999), 0_u8..=18)
        .prop_flat_map(|(m, places)| (Just(decimal(m, places)), 0..=12.min(18 - places)));
    (quantity, ratio).prop_map(|((q, places), (ratio, per))| (decimal(q, places), ratio, per))
}

const ROUNDINGS: [(Rounding, &str); 4] = [
    (Rounding::Up, "up"),
    (Rounding::Down, "down"),
    (Rounding::HalfUp, "half_up"),
    (Rounding::HalfEven, "half_even"),
];

proptest! {
    /// Rating is what comes out with digits on paper.
    #[test]
    fn rating_is_exact(
        priced in prop::collection::vec(priced(), 1..6),
        multiplier in mantissa(99_999),
        minimum in mantissa(1_000_000_000_000_000),
        scale in 0_usize..=6,
        rounding in 0_usize..4,
    ) {
        let multiplier = decimal(multiplier, 4);
        let minimum = decimal(minimum, 6);
        let (rounding, rounding_name) = ROUNDINGS[rounding];
        let rows: Vec<_> = priced.iter().enumerate().map(|(n, (_, ratio, per))| json!({
            "dimension": format!("d{n}"), "credits": ratio, "per": 10_u64.pow(u32::from(*per)),
        })).collect();
        let table = RatioTable::from_json(&json!({
            "credit": {"scale": scale, "rounding": rounding_name},
            "groups": {"default": multiplier},
            "features": {"any": {"dimensions": []}},
            "models": {"m": {"feature": "any", "minimum": minimum, "ratios": rows}},
        })).unwrap();
        let usage: Usage = priced.iter().enumerate()
            .map(|(n, (quantity, ..))| (format!("d{n}"), quantity.parse().unwrap()))
            .collect();
        let rated = table.rate(&Request {
            model: "m",
            usage: &usage,
            parameters: &Parameters::new(),
            at: Timestamp::MIN,
            multiplier: table.group("default").unwrap(),
        });

        let (multiplier, multiplier_places) = digits(&multiplier);
        let mut sum = Paper::new("0");
        let (mut any, mut over) = (false, false);
        for (quantity, ratio, per) in &priced {
            let ((quantity, a), (ratio, b)) = (digits(quantity), digits(ratio));
            any |= quantity.0.iter().any(|digit| *digit != 0);
            let places = a + b + usize::from(*per) + multiplier_places;
            let zeros = Paper::new(&format!("1{}", "0".repeat(25 - places)));
            let line = quantity.times(&ratio).times(&multiplier).times(&zeros);
            over |= line.is_over(&format!("1{}", "0".repeat(9 + 25)));
            sum = sum.add(&line);
        }
        if over {
            prop_assert!(matches!(rated, Err(RatingError::OverLimit { .. })), "{:?}", rated);
            return Ok(());
        }
        let rated = rated.unwrap();
        let (minimum, places) = digits(&minimum);
        let places = places + multiplier_places;
        let minimum = minimum.times(&multiplier);
        // A minimum that were rounded away would be none.
        let minimum = if any { minimum.rounded(places, scale, Rounding::Up) } else { 0 };
        let (whole, fraction) = sum.split(25);
        let whole = whole.trim_start_matches('0');
        let exact = format!("{}.{fraction}", if whole.is_empty() { "0" } else { whole });
        let exact = exact.trim_end_matches('0').trim_end_matches('.');
        prop_assert_eq!(rated.subtotal.to_string(), exact);
        let sum = sum.rounded(25, scale, rounding);
        prop_assert_eq!(rated.credits.micros(), sum.max(minimum));
        prop_assert_eq!(rated.minimum_applied, sum < minimum);
    }
}

/// Conditions over few values, so that all requests can be looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
struct When {
    class: Option<u8>,
    size: Option<u8>,
    /// Thousands of a unit from which it holds, and whether it is written as `gt`.
    prompt: Option<(u64, bool)>,
    output: Option<(u64, bool)>,
    /// Days of June 2026, which begins on a Monday: 1 to 4.
    from: Option<u8>,
    until: Option<u8>,
    hours: Option<(u8, u8)>,
    /// Bit 0 is Monday.
    weekdays: Option<u8>,
}

/// Days that are looked at: a week before the first date, the dates, a week after them.
const DAYS: usize = 18;
/// The first day of June among them.
const FIRST: u8 = 7;

#[derive(Debug, Clone, Copy)]
struct Asked {
    class: Option<u8>,
    size: Option<u8>,
    prompt: u64,
    output: u64,
    day: u8,
    hour: u8,
}

impl When {
    fn hours(self) -> [bool; 24] {
        let (from, until) = self.hours.unwrap_or((0, 24));
        std::array::from_fn(|hour| {
            let hour = u8::try_from(hour).unwrap();
            if from < until { from <= hour && hour < until } else { from <= hour || hour < until }
        })
    }

    fn days(self) -> [bool; DAYS] {
        std::array::from_fn(|day| {
            let day = u8::try_from(day).unwrap() + 1;
            self.from.is_none_or(|from| from + FIRST <= day)
                && self.until.is_none_or(|until| day < until + FIRST)
        })
    }

    /// Whether Monday, Tuesday ... is one of the days.
    fn weekdays(self) -> [bool; 7] {
        std::array::from_fn(|day| self.weekdays.is_none_or(|days| days >> day & 1 == 1))
    }

    /// Whether it holds on a day.
    fn on(self, day: usize) -> bool {
        // The first of June is a Monday, and so is the day a week before it.
        self.days()[day] && self.weekdays()[day % 7]
    }

    fn holds(self, asked: Asked) -> bool {
        self.class.is_none_or(|class| asked.class == Some(class))
            && self.size.is_none_or(|size| asked.size == Some(size))
            && self.prompt.is_none_or(|(from, _)| asked.prompt >= from)
            && self.output.is_none_or(|(from, _)| asked.output >= from)
            && self.on(usize::from(asked.day))
            && self.hours()[usize::from(asked.hour)]
    }

    fn implies(self, other: Self) -> bool {
        let inside = |ours: &[bool], theirs: &[bool]| {
            ours.iter().zip(theirs).all(|(ours, theirs)| !ours || *theirs)
        };
        let at_least = |ours: Option<(u64, bool)>, theirs: Option<(u64, bool)>| {
            theirs.is_none_or(|(theirs, _)| ours.is_some_and(|(ours, _)| ours >= theirs))
        };
        (other.class.is_none() || self.class == other.class)
            && (other.size.is_none() || self.size == other.size)
            && at_least(self.prompt, other.prompt)
            && at_least(self.output, other.output)
            && inside(&self.days(), &other.days())
            && inside(&self.hours(), &other.hours())
            && inside(&self.weekdays(), &other.weekdays())
    }

    fn to_json(self) -> Option<Value> {
        let mut when = serde_json::Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            when.extend(value.map(|value| (name.to_owned(), value)));
        };
        let threshold = |(from, above): (u64, bool)| {
            if above {
                let below = from - 1;
                json!({"gt": format!("{}.{:03}", below / 1_000, below % 1_000)})
            } else {
                json!({"gte": from / 1_000})
            }
        };
        set("class", self.class.map(|class| json!(class.to_string())));
        set("size", self.size.map(|size| json!(size.to_string())));
        set("prompt_tokens", self.prompt.map(threshold));
        set("output_tokens", self.output.map(threshold));
        set("from", self.from.map(|day| json!(format!("2026-06-{day:02}T00:00:00Z"))));
        set("until", self.until.map(|day| json!(format!("2026-06-{day:02}T00:00:00Z"))));
        set("time_of_day", self.hours.map(|(from, until)| {
            json!({"from": format!("{from:02}:00"), "until": format!("{:02}:00", until % 24)})
        }));
        set(
            "weekdays",
            self.weekdays.map(|days| {
                let names =
                    ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].into_iter().enumerate();
                names.filter(|(day, _)| days >> day & 1 == 1).map(|(_, name)| name).collect()
            }),
        );
        (!when.is_empty()).then(|| when.into())
    }
}

fn sometimes<T: Clone + std::fmt::Debug>(
    some: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.3, some)
}

fn when() -> impl Strategy<Value = When> {
    let threshold = || sometimes((prop_oneof![Just(10_000_u64), Just(20_000)], any::<bool>()));
    let hours = (0_u8..4, 1_u8..4).prop_map(|(from, long)| (from * 6, (from + long) % 4 * 6));
    (
        sometimes(0_u8..2),
        sometimes(0_u8..2),
        threshold(),
        threshold(),
        sometimes(1_u8..3),
        sometimes(3_u8..5),
        sometimes(hours),
        sometimes(prop::sample::select(vec![0b110_0000, 0b001_1111, 0b000_0011, 0b100_0010])),
    )
        .prop_map(|(class, size, prompt, output, from, until, hours, weekdays)| {
            // As a number of hours, a window up to midnight ends at 24.
            let hours = hours.map(|(from, until)| (from, if until == 0 { 24 } else { until }));
            When { class, size, prompt, output, from, until, hours, weekdays }
        })
        .prop_filter("never holds", |when| (0..DAYS).any(|day| when.on(day)))
}

impl When {
    /// The conditions of both; `None` where that is not one window, or never.
    fn and(self, other: Self) -> Option<Self> {
        let either = |a: Option<u8>, b: Option<u8>| match (a, b) {
            (Some(a), Some(b)) if a != b => None,
            (a, b) => Some(a.or(b)),
        };
        let hours = match (self.hours, other.hours) {
            (Some(_), Some(_)) => {
                let [ours, theirs] = [self.hours(), other.hours()];
                let both: Vec<_> = (0..24).filter(|h| ours[*h] && theirs[*h]).collect();
                let is_in = |hour: usize| both.contains(&(hour % 24));
                let mut begins = both.iter().filter(|hour| !is_in(**hour + 23));
                let mut ends = both.iter().filter(|hour| !is_in(**hour + 1));
                let window = (*begins.next()?, *ends.next()? + 1);
                if begins.next().is_some() {
                    return None;
                }
                Some((u8::try_from(window.0).unwrap(), u8::try_from(window.1).unwrap()))
            }
            (ours, theirs) => ours.or(theirs),
        };
        let later = |a: Option<u8>, b: Option<u8>| a.max(b);
        let earlier = |a: Option<u8>, b: Option<u8>| a.into_iter().chain(b).min();
        let weekdays = match (self.weekdays, other.weekdays) {
            (Some(ours), Some(theirs)) => Some(ours & theirs),
            (ours, theirs) => ours.or(theirs),
        };
        let both = Self {
            class: either(self.class, other.class)?,
            size: either(self.size, other.size)?,
            prompt: self.prompt.max(other.prompt),
            output: self.output.max(other.output),
            from: later(self.from, other.from),
            until: earlier(self.until, other.until),
            hours,
            weekdays,
        };
        (0..DAYS).any(|day| both.on(day)).then_some(both)
    }
}

/// Rows as they come, and rows to which those with the conditions of two were added.
fn rows() -> impl Strategy<Value = Vec<When>> {
    (prop::collection::vec(when(), 1..5), any::<bool>()).prop_map(|(mut rows, closed)| {
        for first in 0.. {
            let Some(row) = rows.get(first).copied().filter(|_| closed) else { break };
            let both: Vec<_> = rows[..first].iter().filter_map(|other| row.and(*other)).collect();
            for both in both {
                let known = |other: &When| both.implies(*other) && other.implies(both);
                if rows.len() < 24 && !rows.iter().any(known) {
                    rows.push(both);
                }
            }
        }
        rows
    })
}

/// Every request that conditions can tell apart.
fn requests() -> Vec<Asked> {
    let values = [None, Some(0), Some(1)];
    let mut requests = Vec::new();
    for class in values {
        for size in values {
            for prompt in [0, 10_000, 20_000] {
                for output in [0, 10_000, 20_000] {
                    for day in 0..u8::try_from(DAYS).unwrap() {
                        for hour in [0, 6, 12, 18] {
                            requests.push(Asked { class, size, prompt, output, day, hour });
                        }
                    }
                }
            }
        }
    }
    requests
}

fn table_of(rows: &[When]) -> Value {
    let mut ratios = vec![
        json!({"dimension": "input_tokens", "credits": "0", "per": 1}),
        json!({"dimension": "cache_read_tokens", "credits": "0", "per": 1}),
        json!({"dimension": "output_tokens", "credits": "0", "per": 1}),
    ];
    for (n, row) in rows.iter().enumerate() {
        let mut ratio = json!({"dimension": "requests", "credits": n.to_string(), "per": 1});
        if let Some(when) = row.to_json() {
            ratio["when"] = when;
        }
        ratios.push(ratio);
    }
    json!({
        "credit": {"scale": 0, "rounding": "up"},
        "groups": {"default": "1"},
        "features": {"any": {"dimensions": []}},
        "models": {"m": {"feature": "any", "ratios": ratios}},
    })
}

/// The row that a table chooses, by its ratio.
fn chosen(table: &RatioTable, asked: Asked) -> Option<usize> {
    let quantity = |millis| Quantity::from_millis(millis).unwrap();
    let mut usage = Usage::from([
        ("requests".to_owned(), quantity(1_000)),
        ("output_tokens".to_owned(), quantity(asked.output)),
        // The prompt is the sum of both.
        ("input_tokens".to_owned(), quantity(asked.prompt / 2)),
        ("cache_read_tokens".to_owned(), quantity(asked.prompt / 2)),
    ]);
    usage.retain(|_, quantity| !quantity.is_zero());
    let parameters = [("class", asked.class), ("size", asked.size)]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_string())))
        .collect();
    // Day 0 is a week before the first of June.
    let midnight: Timestamp = "2026-05-25T00:00:00Z".parse().unwrap();
    let hours = i64::from(asked.day) * 24 + i64::from(asked.hour);
    let rated = table.rate(&Request {
        model: "m",
        usage: &usage,
        parameters: &parameters,
        at: midnight.saturating_add_millis(hours * 3_600_000),
        multiplier: Multiplier::ONE,
    });
    match rated {
        Ok(rated) => {
            let line = rated.lines.iter().find(|line| line.dimension() == "requests").unwrap();
            Some(line.rate().credits().to_string().parse().unwrap())
        }
        Err(RatingError::UnpricedDimension { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// A table is accepted exactly where every possible request has one most specific row; that
    /// row is chosen, in whatever order the rows are written; and the table survives its JSON.
    #[test]
    fn choice_is_unambiguous(
        rows in rows(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 24),
    ) {
        let requests = requests();
        let best = |asked: Asked| {
            let holding: Vec<_> = (0..rows.len()).filter(|n| rows[*n].holds(asked)).collect();
            let best: Vec<_> = holding.iter().copied()
                .filter(|n| holding.iter().all(|m| rows[*n].implies(rows[*m])))
                .collect();
            (holding.len(), best)
        };
        let decided = requests.iter().all(|asked| {
            let (holding, best) = best(*asked);
            holding == 0 || best.len() == 1
        });
        let table = RatioTable::from_json(&table_of(&rows));
        prop_assert_eq!(table.is_ok(), decided, "{:#?}", table);
        let Ok(table) = table else { return Ok(()) };

        let mut reversed = table_of(&rows);
        reversed["models"]["m"]["ratios"].as_array_mut().unwrap().reverse();
        let reversed = RatioTable::from_json(&reversed).unwrap();
        for pick in picks {
            let asked = *pick.get(&requests);
            let expected = best(asked).1.first().copied();
            prop_assert_eq!(chosen(&table, asked), expected, "{:?}", asked);
            prop_assert_eq!(chosen(&reversed, asked), expected, "{:?}", asked);
        }

        let text = serde_json::to_string(&table.to_json()).unwrap();
        let again = RatioTable::from_json(&serde_json::from_str(&text).unwrap());
        prop_assert_eq!(again.as_ref(), Ok(&table));
        prop_assert_eq!(serde_json::to_string(&again.unwrap().to_json()).unwrap(), text);
        for row in table.model("m").unwrap().ratios() {
            if let Some(when) = row.rate().when() {
                prop_assert_eq!(&Conditions::from_text(&when.to_text()).unwrap(), when);
            }
        }
    }
}

/// A value where another should be, of every type and with texts that are read as something.
fn any_value() -> impl Strategy<Value = Value> {
    let texts = ["", "0", "-1", "1.5", "x", "up", "2026-06-01T00:00:00Z", "06:00", "text", "a/b"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![0_u64, 1, 10, 1_000_000]).prop_map(Value::from),
        Just(json!(1.5)),
        prop::sample::select(texts.to_vec()).prop_map(Value::from),
    ];
    let keys = ["dimension", "credits", "per", "when", "from", "gt", "default", "input_tokens"];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(keys.to_vec()), inner, 0..3)
                .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

/// All places in a document.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{n}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                places(field, &format!("{at}/{}", name.replace('/', "~1")), found);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever stands in a table, it is a table that survives its JSON, or there are faults, each
    /// at a place that exists or could.
    #[test]
    fn any_document_is_a_table_or_has_faults(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any_value()), 1..4),
    ) {
        let mut json = super::base();
        for (place, value) in edits {
            let mut found = Vec::new();
            places(&json, "", &mut found);
            let place: &String = place.get(&found);
            *json.pointer_mut(place).unwrap() = value;
        }
        match RatioTable::from_json(&json) {
            Ok(table) => prop_assert_eq!(RatioTable::from_json(&table.to_json()), Ok(table)),
            Err(error) => {
                prop_assert!(!error.faults().is_empty());
                for fault in error.faults() {
                    let parent = fault.pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
                    prop_assert!(json.pointer(parent).is_some(), "{:?} {}", fault, json);
                }
            }
        }
    }
}
