use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use uc_domain::ratios::{Model, RatioTable};

use super::*;

/// A table like those of providers' price lists: `models` models with costs, tiers and service
/// classes, prices of few digits. The seed decides about everything.
fn price_list(models: usize, seed: u64) -> Value {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut table = json!({
        "credit": {"scale": 4, "rounding": "up"},
        "groups": {"default": "1", "pro": "0.9", "byok": "0"},
        "features": {
            "text": {"dimensions": ["input_tokens", "output_tokens"]},
            "image": {"dimensions": ["output_images"]},
        },
        "models": {},
    });
    while table["models"].as_object().expect("an object").len() < models {
        let (id, body) = model(&mut random);
        table["models"][id] = body;
    }
    table
}

fn model(random: &mut fastrand::Rng) -> (String, Value) {
    const PROVIDERS: [&str; 8] = [
        "openai",
        "anthropic",
        "azure/eu",
        "azure/us",
        "bedrock/us-east-1",
        "vertex_ai",
        "openrouter/meta-llama",
        "together_ai/mistralai",
    ];
    const FAMILIES: [&str; 10] = [
        "gpt-5",
        "claude-opus-4",
        "gemini-3-pro",
        "llama-4-scout",
        "mistral-large",
        "qwen3-coder",
        "deepseek-v3",
        "command-r",
        "nova-lite",
        "grok-4-fast",
    ];
    const SIZES: [&str; 6] = ["", "-mini", "-nano", "-turbo", "-preview", "-instruct"];

    let pick = |random: &mut fastrand::Rng, from: &[&'static str]| from[random.usize(..from.len())];
    let id = format!(
        "{}/{}{}-{:04}-{:02}",
        pick(random, &PROVIDERS),
        pick(random, &FAMILIES),
        pick(random, &SIZES),
        random.u16(2_400..2_700),
        random.u8(1..29),
    );
    if random.u8(..8) == 0 {
        let price = u64::from(random.u8(1..20));
        let credits = format!("{}.5", price * 12);
        let cost = json!({"amount": format!("0.0{price:02}"), "currency": "USD"});
        let row = json!({"dimension": "output_images", "credits": credits, "per": 1, "cost": cost});
        return (id, json!({"feature": "image", "ratios": [row]}));
    }
    let input = random.u64(1..400) * 25;
    let output = input * random.u64(3..6);
    let (has_cache, has_batch, has_tier) =
        (random.u8(..5) < 2, random.u8(..8) == 0, random.u8(..20) == 0);
    let mut rows = Vec::new();
    let mut push = |dimension: &str, hundredths: u64, when: Value| {
        let credits = format!("{}.{:02}", hundredths / 100, hundredths % 100);
        let cost = format!("{}.{:05}", hundredths / 125_000, hundredths * 4 / 5 % 100_000);
        let mut row = json!({
            "dimension": dimension, "credits": credits, "per": 1_000_000,
            "cost": {"amount": cost, "currency": "USD"},
        });
        if when.is_object() {
            row["when"] = when;
        }
        rows.push(row);
    };
    let mut dimension = |name: &str, price: u64| {
        push(name, price * 100, Value::Null);
        if has_batch {
            push(name, price * 50, json!({"service_class": "batch"}));
        }
        if has_tier {
            push(name, price * 200, json!({"prompt_tokens": {"gt": 200_000}}));
        }
        if has_batch && has_tier {
            let when = json!({"service_class": "batch", "prompt_tokens": {"gt": 200_000}});
            push(name, price * 100, when);
        }
    };
    dimension("input_tokens", input);
    dimension("output_tokens", output);
    if has_cache {
        dimension("cache_read_tokens", input / 10 + 1);
    }
    (id, json!({"feature": "text", "ratios": rows}))
}

fn table(json: &Value) -> RatioTable {
    RatioTable::from_json(json).unwrap_or_else(|error| panic!("{error}"))
}

/// Packs a table after another version, and checks that it comes back.
fn packed(table: &RatioTable, borders: &[String]) -> (Parts, Vec<String>) {
    let parts = pack(table, borders).expect("it fits");
    assert!(parts.manifest.len() <= PART && parts.chunks.iter().all(|c| c.len() <= PART));
    let unpacked = unpack(&parts, &hash(&parts.manifest)).expect("just packed");
    assert!(unpacked.table == *table, "the table changes when it is stored");
    (parts, unpacked.borders)
}

#[test]
fn large_tables_take_few_parameters_and_changes_rewrite_three() {
    const CHANGES: usize = 24;

    let list = price_list(4_500, 1);
    let first = table(&list);
    let (parts, borders) = packed(&first, &[]);
    // Ratios follow from costs here, as in every table that the calculator made.
    assert!(parts.chunks.len() <= 32, "{} chunks", parts.chunks.len());
    assert!(parts.to_bytes().len() <= 90_000, "{} bytes", parts.to_bytes().len());
    assert_eq!(pack(&first, &borders), Ok(parts.clone()), "nothing changed");

    let old: HashSet<&Vec<u8>> = parts.chunks.iter().collect();
    let mut random = fastrand::Rng::with_seed(2);
    let ids: Vec<&str> = first.models().map(Model::id).collect();
    for step in 0..CHANGES {
        let id = ids[random.usize(..ids.len())];
        let (what, changed) = match step % 3 {
            0 => {
                let mut body = first.model_json(id).expect("it is there");
                body["ratios"][0]["credits"] = format!("{}.125", random.u32(1..90_000)).into();
                ("change", first.with_model(id, &body).expect("still complete"))
            }
            1 => {
                ("insert", first.with_model(&format!("{id}x"), &model(&mut random).1).expect("it"))
            }
            _ => ("delete", first.without_model(id).expect("it is there")),
        };
        let (again, _) = packed(&changed, &borders);
        let rewritten = 1 + again.chunks.iter().filter(|chunk| !old.contains(chunk)).count();
        assert!(rewritten <= 3, "{what} of {id} rewrites {rewritten}");
    }
}

#[test]
fn many_versions_keep_the_bounds() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut now = table(&price_list(400, 4));
    let (mut parts, mut borders) = packed(&now, &[]);
    for step in 0..120 {
        let ids: Vec<String> = now.models().map(|model| model.id().to_owned()).collect();
        let id = &ids[random.usize(..ids.len())];
        now = if random.u8(..3) == 0 {
            now.without_model(id).expect("it is there")
        } else {
            // Half of the time beside the same neighbours, where a group overflows soon.
            let id = if random.bool() { format!("anthropic/x{step}") } else { format!("{id}x") };
            now.with_model(&id, &model(&mut random).1).expect("complete")
        };
        let before = parts;
        (parts, borders) = packed(&now, &borders);
        let new = parts.chunks.iter().filter(|chunk| !before.chunks.contains(chunk)).count();
        assert!(new <= 2, "step {step} rewrites {new} chunks");
        let bytes: usize = parts.chunks.iter().map(Vec::len).sum();
        let least = bytes.div_ceil(PART);
        assert!(parts.chunks.len() <= 2 * least + 1, "{} of {least}", parts.chunks.len());
    }
}

#[test]
fn the_example_takes_two_chunks() {
    let json = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../events/ratios.example.json"
    ))
    .expect("the example is there");
    let mut json: Value = serde_json::from_str(&json).expect("JSON");
    let models = json["models"].as_object_mut().expect("models");
    let surplus: Vec<String> = models.keys().skip(50).cloned().collect();
    models.retain(|id, _| !surplus.contains(id));
    let (parts, _) = packed(&table(&json), &[]);
    assert!(parts.chunks.len() <= 2, "{} chunks", parts.chunks.len());
}

#[test]
fn what_is_unusual_comes_back() {
    let rows: Vec<Value> = (0..256)
        .map(|n| {
            json!({"dimension": format!("d{n}"), "credits": format!("{}.{n}1", n * 7_919),
            "per": 10_u64.pow(n % 13), "when": {"quality": format!("q{}é", n * 104_729)}})
        })
        .map(|mut row| {
            if row["per"].as_u64() > Some(1_000_000_000) {
                row["credits"] = "999999999999000".into();
            }
            row
        })
        .collect();
    let json = json!({
        "credit": {"scale": 0, "rounding": "half_even"},
        "groups": {"default": "9.9999"},
        "features": {"f": {"dimensions": []}},
        "models": {
            "none": {"feature": "f", "ratios": []},
            "names": {"feature": "f", "name": "Näme \"…\"", "enabled": false, "minimum": "0.000001",
                "aliases": ["a", "b"], "match": [{"starts_with": "names-"}], "ratios": []},
            "cost": {"feature": "f", "ratios": [
                {"dimension": "d", "credits": "0", "per": 1_000_000_000_000_u64,
                 "when": {"d": {"gte": "0.5"}, "from": "2027-01-01T00:00:00Z",
                          "time_of_day": {"from": "22:00", "until": "06:00"}},
                 "cost": {"amount": "7922816251426433759354395033.5", "currency": "EUR"}}]},
            "many": {"feature": "f", "ratios": rows},
        },
    });
    packed(&table(&json), &[]);
    let empty = json!({"credit": json["credit"], "groups": json["groups"],
        "features": json["features"], "models": {}});
    let (parts, borders) = packed(&table(&empty), &[]);
    assert!(parts.chunks.is_empty() && borders.is_empty());
    packed(&table(&json), &borders);
    packed(&table(&empty), &packed(&table(&json), &[]).1);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut noise = |len| -> String { (0..len).map(|_| random.lowercase()).collect() };
    let small = price_list(1, 6);

    let mut models = small.clone();
    for _ in 0..3_500 {
        models["models"][noise(128)] =
            json!({"feature": "image", "ratios": small_row(), "name": noise(40)});
    }
    assert_eq!(pack(&table(&models), &[]), Err(PackError::Models));

    let mut head = small;
    for _ in 0..60 {
        let dimensions: Vec<String> = (0..10).map(|_| noise(60)).collect();
        head["features"][noise(60)] = json!({"dimensions": dimensions});
    }
    assert_eq!(pack(&table(&head), &[]), Err(PackError::Head));
}

/// Copies are kept for good, so what format 1 wrote stays readable.
#[test]
fn names_as_format_1_has_them() {
    let json = json!({
        "credit": {"scale": 0, "rounding": "up"}, "groups": {"default": "1"},
        "features": {"f": {"dimensions": []}},
        "models": {"a/b": {"feature": "f", "name": "B", "enabled": false, "minimum": "0.5",
            "aliases": ["b", "c"], "match": [{"starts_with": "b-"}], "ratios": []}},
    });
    let mut group = minicbor::Encoder::new(Vec::new());
    // One model, its id, its shape: the feature and no rows.
    group.u64(1).unwrap().u64(0).unwrap().str("a/b").unwrap();
    group.u64(0).unwrap().str("f").unwrap().u64(0).unwrap();
    group.bool(false).unwrap().str("B").unwrap().str("0.5").unwrap();
    group.array(2).unwrap().str("b").unwrap().str("c").unwrap();
    group.str(r#"[{"starts_with":"b-"}]"#).unwrap();
    let mut models = Vec::new();
    group::decode(&group.into_writer(), 1, &mut models, &mut HashMap::new()).unwrap();
    assert_eq!(models, table(&json).models().cloned().collect::<Vec<_>>());
}

/// Also what format 2 wrote: as now, but that all ratios stand beside their costs.
#[test]
fn ratios_as_format_2_has_them() {
    let cost = json!({"amount": "0.07", "currency": "USD"});
    let row = json!({"dimension": "d", "credits": "100", "per": 1, "cost": cost});
    let json = json!({
        "credit": {"scale": 0, "rounding": "up"}, "groups": {"default": "1"},
        "features": {"f": {"dimensions": []}},
        "models": {"a": {"feature": "f", "ratios": [row]}, "b": {"feature": "f", "ratios": [row]}},
    });
    let models = table(&json);
    let models: Vec<&Model> = models.models().collect();
    let now = group::encode(&models);
    // Both formats end with the numbers: here a new share and a cost, and the same share.
    let costs = [7, 2];
    let start = now.strip_suffix(&[2, 7, 4, 7, 2, 1, 7, 2][..]).expect("numbers");
    let ratio = [0x18, 100, 0];
    let before = [start, &ratio, &costs, &ratio, &costs].concat();
    for (group, format) in [(&now, 3), (&before, 2)] {
        let mut read = Vec::new();
        group::decode(group, format, &mut read, &mut HashMap::new()).unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), models, "format {format}");
    }
    // A ratio that does not follow is written, and so is one without a cost.
    for change in [json!({"credits": "100.000000001"}), json!({"cost": Value::Null})] {
        let mut json = json.clone();
        let row = json["models"]["b"]["ratios"][0].as_object_mut().unwrap();
        row.extend(change.as_object().unwrap().clone());
        row.retain(|_, value| !value.is_null());
        packed(&table(&json), &[]);
    }
}

fn small_row() -> Value {
    json!([{"dimension": "output_images", "credits": "1", "per": 1}])
}

#[test]
fn parts_of_another_table_are_not_accepted() {
    let (parts, _) = packed(&table(&price_list(300, 7)), &[]);
    let (other, _) = packed(&table(&price_list(300, 8)), &[]);
    let manifest = hash(&parts.manifest);
    let check = |what: &str, change: &dyn Fn(&mut Parts)| {
        let mut changed = parts.clone();
        change(&mut changed);
        assert!(unpack(&changed, &manifest).is_err(), "{what}");
        let copied = Parts::from_bytes(&changed.to_bytes()).expect("its own encoding");
        assert_eq!(copied, changed, "{what}");
    };
    check("manifest of another", &|p| p.manifest.clone_from(&other.manifest));
    check("chunk of another", &|p| p.chunks[0].clone_from(&other.chunks[0]));
    check("chunks in another order", &|p| p.chunks.swap(0, 1));
    check("a chunk twice", &|p| p.chunks[1] = p.chunks[0].clone());
    check("a chunk missing", &|p| drop(p.chunks.pop()));
    check("a chunk too many", &|p| p.chunks.push(other.chunks[0].clone()));
    check("half a chunk", &|p| p.chunks[1].truncate(100));
    check("a bit", &|p| p.chunks[1][50] ^= 1);
    check("a bit of the manifest", &|p| p.manifest[5] ^= 1);
    assert!(Parts::from_bytes(&parts.to_bytes()[..4_000]).is_none(), "half a copy");
}

proptest! {
    /// Whatever bytes have the right hashes, reading them ends with a table or an error.
    #[test]
    fn any_bytes_end_with_an_error(
        head in proptest::collection::vec(any::<u8>(), 0..40),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let (parts, _) = packed(&table(&price_list(20, 9)), &[]);
        let mut group = Vec::new();
        std::io::Read::read_to_end(
            &mut flate2::bufread::DeflateDecoder::new(parts.chunks[0].as_slice()), &mut group,
        ).expect("just packed");
        for (index, byte) in flips {
            let len = group.len();
            group[index.index(len)] = byte;
        }
        let mut models = Vec::new();
        let _ = group::decode(&group, FORMAT, &mut models, &mut HashMap::new());
        let _ = unpack(&Parts { manifest: head.clone(), chunks: Vec::new() }, &hash(&head));
    }
}
