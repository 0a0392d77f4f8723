use serde_json::{Map, Value, json};
use uc_domain::ratios::RatioTable;

use super::*;
use crate::costs::ProviderCosts;

const LITELLM: &str = include_str!("../../../../events/costs/litellm.json");
const GENAI: &str = include_str!("../../../../events/costs/genai-prices.json");
const CSV: &str = include_str!("../../../../events/costs/costs.csv");

/// The table without a margin: a credit is a dollar.
fn table(costs: &ProviderCosts) -> RatioTable {
    let model = |model: &ModelCosts| {
        let mut json = json!({
            "feature": model.feature,
            "aliases": model.aliases,
            "match": model.starts_with.iter().map(|p| json!({"starts_with": p})).collect::<Vec<_>>(),
            "ratios": ratios(&model.costs, &costs.currency),
        });
        if let Some(name) = &model.name {
            json["name"] = json!(name);
        }
        json
    };
    let models: Map<String, Value> =
        costs.models.iter().map(|(id, costs)| (id.clone(), model(costs))).collect();
    let required = |dimensions: &Vec<String>| json!({"dimensions": dimensions});
    let part_of = |wholes: &Vec<String>| json!({"part_of": wholes});
    let features = costs.features.iter().map(|(name, dimensions)| (name, required(dimensions)));
    let dimensions = costs.parts.iter().map(|(name, wholes)| (name, part_of(wholes)));
    let table = json!({
        "credit": {"scale": 6, "rounding": "up"},
        "groups": {"default": "1"},
        "features": features.collect::<BTreeMap<_, _>>(),
        "dimensions": dimensions.collect::<BTreeMap<_, _>>(),
        "models": models,
    });
    RatioTable::from_json(&table).unwrap()
}

/// What an import makes of a source, as text: `id | feature | names`, then its rows.
fn shown(costs: &ProviderCosts) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for (id, model) in &costs.models {
        let prefixes = model.starts_with.iter().map(|prefix| format!("{prefix}*"));
        let names: Vec<String> = model.aliases.iter().cloned().chain(prefixes).collect();
        line(format!("{id} | {} | {}", model.feature, names.join(" ")));
        for row in &model.costs {
            let when = row.when.as_ref().map(|when| format!(" {when}")).unwrap_or_default();
            let per = if row.per == Per::ONE { "" } else { "/M" };
            line(format!("  {} {}{per}{when}", row.dimension, row.amount));
        }
    }
    for omitted @ Omitted { model, field, reason } in &costs.omitted {
        let what = if omitted.is_taken_over() { "note" } else { "omitted" };
        let field = field.as_ref().map(|field| format!(" {field}")).unwrap_or_default();
        line(format!("{what}: {model}{field}: {reason}"));
    }
    text
}

/// Compares with what is kept beside this file; `UC_UPDATE=1` writes it anew.
fn check(name: &str, costs: &ProviderCosts) {
    assert_eq!(table(costs).models().len(), costs.models.len());
    let path = format!("{}/src/import/tests/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let shown = shown(costs);
    if std::env::var_os("UC_UPDATE").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (n, (ours, kept)) in shown.lines().zip(expected.lines()).enumerate() {
        assert_eq!(ours, kept, "{path}:{}", n + 1);
    }
    assert_eq!(shown.lines().count(), expected.lines().count(), "{path}");
}

#[test]
fn litellm_table() {
    check("litellm", &litellm::import(LITELLM.as_bytes()).unwrap());
}

#[test]
fn genai_data() {
    check("genai", &genai::import(GENAI.as_bytes()).unwrap());
}

#[test]
fn csv_file() {
    let costs = csv::import(CSV.as_bytes()).unwrap();
    check("csv", &costs);
    let crlf = format!("\u{feff}{}", CSV.replace('\n', "\r\n"));
    assert_eq!(csv::import(crlf.as_bytes()).unwrap(), costs);
}

/// Entries of `LiteLLM`'s table that make something special, as text.
#[test]
fn litellm_entries() {
    let check = |entries: &[(&str, Value)], expected: &[&str]| {
        let entries: Map<String, Value> =
            entries.iter().map(|(key, entry)| ((*key).to_owned(), entry.clone())).collect();
        let costs = litellm::import(json!(entries).to_string().as_bytes()).unwrap();
        table(&costs);
        assert_eq!(shown(&costs).lines().map(str::trim).collect::<Vec<_>>(), expected);
    };
    // By resolution, and another entry by quality and size: of both, the dearer.
    let pictures = |price: &str| {
        json!({
            "litellm_provider": "xai", "mode": "image_generation",
            "input_cost_per_image": price.parse::<serde_json::Number>().unwrap(),
        })
    };
    let mut by_resolution = pictures("0.06");
    by_resolution["output_cost_per_image_1K"] = json!(0.04);
    by_resolution["output_cost_per_image_2K"] = json!(0.07);
    check(
        &[("xai/i", by_resolution), ("low/1024-x-1024/i", pictures("0.05"))],
        &[
            "xai/i | image |",
            "output_images 0.06",
            r#"output_images 0.04 {"resolution":"1K"}"#,
            r#"output_images 0.07 {"resolution":"2K"}"#,
            r#"output_images 0.05 {"quality":"low","size":"1024x1024"}"#,
            r#"output_images 0.05 {"quality":"low","resolution":"1K","size":"1024x1024"}"#,
            r#"output_images 0.07 {"quality":"low","resolution":"2K","size":"1024x1024"}"#,
            "xai/low/1024-x-1024/i | image | low/1024-x-1024/i",
            "output_images 0.05",
        ],
    );
    // Uplifts, whatever they are called.
    check(
        &[(
            "m",
            json!({
                "litellm_provider": "p", "mode": "embedding", "input_cost_per_token": 1e-6,
                "fedramp_uplift_multiplier": 1.1,
                "moon_uplift_multiplier": 4,
                "regional_processing_uplift_multiplier_eu": 1.2,
                "regional_processing_uplift_multiplier_fedramp": 1.3,
                "sea_uplift_multiplier_North": 2,
                "Sun_uplift_multiplier": 3,
            }),
        )],
        &[
            "p/m | embedding | m",
            "input_tokens 1/M",
            r#"input_tokens 2/M {"sea":"North"}"#,
            r#"input_tokens 4/M {"moon":"yes"}"#,
            r#"input_tokens 8/M {"moon":"yes","sea":"North"}"#,
            r#"input_tokens 1.1/M {"data_residency":"fedramp"}"#,
            r#"input_tokens 2.2/M {"data_residency":"fedramp","sea":"North"}"#,
            r#"input_tokens 4.4/M {"data_residency":"fedramp","moon":"yes"}"#,
            r#"input_tokens 8.8/M {"data_residency":"fedramp","moon":"yes","sea":"North"}"#,
            r#"input_tokens 1.2/M {"data_residency":"eu"}"#,
            r#"input_tokens 2.4/M {"data_residency":"eu","sea":"North"}"#,
            r#"input_tokens 4.8/M {"data_residency":"eu","moon":"yes"}"#,
            r#"input_tokens 9.6/M {"data_residency":"eu","moon":"yes","sea":"North"}"#,
            "omitted: m Sun_uplift_multiplier: not a parameter with a value",
            "omitted: m regional_processing_uplift_multiplier_fedramp: another field prices the \
             same",
        ],
    );
}

#[test]
fn standard_parts_stand_in_a_table() {
    let none = ProviderCosts { parts: standard_parts(), ..ProviderCosts::default() };
    table(&none);
}

#[test]
fn what_is_no_source() {
    const HEADER: &str = "model,provider,feature,dimension,cost,currency,when";

    type Import = fn(&[u8]) -> Result<ProviderCosts, ImportError>;
    let check = |import: Import, source: &str, expected: &str| {
        let error = import(source.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{source:.80}: {error}");
    };
    let entries = |n: usize| {
        let entry = |n| format!(r#""m{n}":{{"litellm_provider":"p","input_cost_per_token":1}}"#);
        format!("{{{}}}", (0..n).map(entry).collect::<Vec<_>>().join(","))
    };
    check(litellm::import, "", "line 1, column 0: EOF while parsing a value");
    let place = litellm::import(b"").unwrap_err().to_string();
    assert!(!place.contains("at line"), "{place}");
    check(litellm::import, "[]", "expected an object");
    check(litellm::import, "{\"a\":\n{\"input_cost_per_token\": NaN}}", "line 2, column");
    check(litellm::import, "{\"a\": 1}", "model \"a\": ");
    check(litellm::import, "{\"a\": {}, \"a\": {}}", "\"a\" is there twice");
    check(
        litellm::import,
        "{\"a\": {\"mode\": \"x\", \"mode\": \"y\"}}",
        "\"mode\" is there twice",
    );
    check(litellm::import, &entries(MAX_MODELS + 1), "more than 10000 models");
    check(litellm::import, &" ".repeat(MAX_BYTES + 1), "more than 16777216 bytes");
    assert_eq!(litellm::import(entries(1_000).as_bytes()).unwrap().models.len(), 1_000);

    check(genai::import, "{}", "line 1, column 0");
    check(genai::import, "[{\"id\": \"a\"}]", "provider 0: has no list of models");
    check(genai::import, "[{\"models\": []}]", "provider 0: has no id");
    check(genai::import, "[{\"id\": \"a\", \"models\": [1]}]", "provider 0: has a model that");

    let csv = |record: &str| format!("{HEADER}\n{record}\n");
    check(csv::import, "", "line 1: the column \"model\" is missing");
    check(csv::import, &format!("{HEADER},colour\n"), "line 1: unknown column \"colour\"");
    check(csv::import, &format!("{HEADER},cost\n"), "line 1: the column \"cost\" is there twice");
    check(csv::import, &format!("{HEADER}\n"), "there is no record");
    for (record, expected) in [
        ("m,p,text,input_tokens,1,USD", "line 2"),
        ("m,p,text,input_tokens,,USD,", "line 2: cost is empty"),
        ("m,p,text,input_tokens,1e,USD,", "line 2: the cost \"1e\": not a number"),
        ("m,p,text,input_tokens,NaN,USD,", "line 2: the cost \"NaN\": not a number"),
        ("m,p,text,input_tokens,-1,USD,", "line 2: the cost \"-1\": a price is not negative"),
        ("m,p,text,input_tokens,1,usd,", "line 2: a currency is three capital letters"),
        ("m,p,text,Input,1,USD,", "line 2: a dimension has"),
        ("m,p,a b,input_tokens,1,USD,", "line 2: a feature has"),
        ("m,p,text,input_tokens,1,USD,size", "line 2: conditions are JSON, or equalities"),
        ("m,p,text,input_tokens,1,USD,a=1;a=2", "line 2: \"a\" is there twice"),
        (r#"m,p,text,input_tokens,1,USD,"{""a"":""1"",""a"":""2""}""#, "\"a\" is there twice"),
        ("m,p,text,input_tokens,1,USD,{}", "line 2: not the conditions of a ratio"),
        ("m,p,text,input_tokens,1,USD,\nm,p,text,x,1,EUR,", "line 3: \"EUR\" beside \"USD\""),
        ("m,p,text,x,1,USD,\nm,q,text,y,1,USD,", "line 3: \"m\" has another provider or feature"),
    ] {
        check(csv::import, &csv(record), expected);
    }
    // Of one model: what it says can't stand, the others can.
    let costs = csv::import(
        csv("=1+1,p,text,x,1,USD,\nm,p,text,x,1,USD,\nn,p,text,x,1,USD,a=1\nn,p,text,x,1,USD,b=1")
            .as_bytes(),
    );
    let costs = costs.unwrap();
    assert_eq!(costs.models.keys().collect::<Vec<_>>(), ["m"]);
    assert_eq!(costs.omitted.len(), 2);
}
