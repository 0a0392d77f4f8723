//! What rating one request takes, by the size of the table: `cargo bench -p uc-domain`.
//!
//! Prints the median time of a rating with the fastest and slowest of the rounds, and where
//! Valgrind is installed the instructions of one: those are the same in every run. Fails where a
//! median is over its bar, or where the instructions grow with the table.

use std::env;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use uc_domain::Timestamp;
use uc_domain::ratios::{Multiplier, Parameters, RatioTable, Request, Usage};

mod common;

use common::{COUNTED, instructions};

/// Models of the tables.
const SIZES: [usize; 3] = [50, 4_500, 10_000];
/// Short and many: on a busy machine most of them are not interrupted.
const ROUNDS: usize = 401;
const RATINGS: u32 = 100;
/// The bar for the median.
const MOST: Duration = Duration::from_micros(20);
/// The bar for the instructions with 4,500 models, in hundredths of those with 50.
const MOST_GROWTH: u64 = 110;

fn main() -> ExitCode {
    if let Ok(counted) = env::var(COUNTED) {
        let (models, ratings) = counted.split_once(' ').expect("two numbers");
        let table = table(models.parse().expect("a number"));
        rate(&table, "by id", ratings.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    let mut within = true;
    println!("{:>7}  {:<10} {:>28}", "models", "named", "us: median (fastest-slowest)");
    for models in SIZES {
        let table = table(models);
        for named in ["by id", "by alias", "by prefix", "unknown"] {
            let mut times: Vec<_> = (0..ROUNDS)
                .map(|_| {
                    let started = Instant::now();
                    rate(&table, named, RATINGS);
                    started.elapsed() / RATINGS
                })
                .collect();
            times.sort();
            let micros = |time: Duration| {
                format!("{}.{:02}", time.as_nanos() / 1_000, time.as_nanos() % 1_000 / 10)
            };
            let (median, spread) = (times[ROUNDS / 2], (times[0], times[ROUNDS - 1]));
            within &= median <= MOST;
            println!(
                "{models:>7}  {named:<10} {:>12} ({}-{})",
                micros(median),
                micros(spread.0),
                micros(spread.1)
            );
        }
    }
    // Two sizes: Valgrind takes long to build a table.
    let count = |models: u32, ratings: u32| instructions(&format!("{models} {ratings}"));
    let a_rating = |models| Some((count(models, 1_100)? - count(models, 100)?) / 1_000);
    match (a_rating(50), a_rating(4_500)) {
        (Some(small), Some(large)) => {
            let growth = large * 100 / small;
            println!(
                "instructions of a rating by id: {small} of 50 models, {large} of 4,500: {}.{:02} \
                 times as many",
                growth / 100,
                growth % 100
            );
            within &= growth <= MOST_GROWTH;
        }
        _ => println!("no instructions counted: Valgrind is not installed"),
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn name(model: usize) -> String {
    format!("provider-{}/model-{}-{model}", model % 47, model % 10)
}

/// Models with tiers, classes and caches, as a third of the real ones have.
fn table(models: usize) -> RatioTable {
    let rows: Vec<Value> =
        ["input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"]
            .into_iter()
            .flat_map(|dimension| {
                [None, Some("batch"), Some("flex"), Some("priority")].into_iter().flat_map(
                    move |class| {
                        [None, Some(200_000)].into_iter().map(move |tier| {
                let mut when = Map::new();
                when.extend(class.map(|class| ("service_class".to_owned(), json!(class))));
                when.extend(tier.map(|t| ("prompt_tokens".to_owned(), json!({"gt": t}))));
                let mut row = json!({"dimension": dimension, "credits": "1.25", "per": 1_000_000});
                if !when.is_empty() {
                    row["when"] = when.into();
                }
                row
            })
                    },
                )
            })
            .collect();
    let bodies: Map<String, Value> = (0..models)
        .map(|model| {
            let (_, bare) = name(model)
                .split_once('/')
                .map(|(p, m)| (p.to_owned(), m.to_owned()))
                .expect("a slash");
            let body = json!({
                "feature": "text", "aliases": [format!("{bare}-alias")],
                "match": [{"starts_with": format!("{bare}-20")}], "ratios": rows,
            });
            (name(model), body)
        })
        .collect();
    let table = json!({
        "credit": {"scale": 4, "rounding": "up"},
        "groups": {"default": "1"},
        "features": {"text": {"dimensions": ["input_tokens", "output_tokens"]}},
        "models": bodies,
    });
    RatioTable::from_json(&table).expect("a complete table")
}

/// Rates a request of four dimensions above a tier border, again and again.
fn rate(table: &RatioTable, named: &str, times: u32) {
    let model = name(table.models().len() / 2);
    let bare = model.split_once('/').expect("a slash").1;
    let name = match named {
        "by id" => model.clone(),
        "by alias" => format!("{bare}-alias"),
        "by prefix" => format!("{bare}-2026-11-22"),
        _ => format!("{bare}-unknown"),
    };
    let usage: Usage = [
        ("input_tokens", "12345"),
        ("cache_read_tokens", "200000"),
        ("cache_write_tokens", "4096"),
        ("output_tokens", "2500"),
    ]
    .into_iter()
    .map(|(dimension, quantity)| (dimension.to_owned(), quantity.parse().expect("a quantity")))
    .collect();
    let parameters = Parameters::from([("service_class".to_owned(), "batch".to_owned())]);
    for _ in 0..times {
        let rated = table.rate(&Request {
            model: black_box(&name),
            usage: &usage,
            parameters: &parameters,
            at: Timestamp::MIN,
            multiplier: Multiplier::ONE,
        });
        assert_eq!(black_box(rated).is_ok(), named != "unknown");
    }
}
