use proptest::prelude::*;
use serde_json::{Map, Value, json};
use uc_domain::ratios::{Multiplier, RatioTable, Request};
use uc_domain::{Quantity, Timestamp};

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

/// What has another form than it should is told, and the model left out where it may hold a dearer
/// price.
#[test]
fn genai_data_of_another_form() {
    let check = |price: &str, fields: &str, expected: &str| {
        let prices = format!(r#""prices": {{"input_mtok": {price}}}"#);
        let model = format!(r#"{{"id": "m", {prices}{fields}}}"#);
        let source = format!(r#"[{{"id": "p", "models": [{model}]}}]"#);
        let costs = genai::import(source.as_bytes()).unwrap();
        let shown = shown(&costs);
        let told = shown.lines().find(|line| line.contains(expected));
        assert!(told.is_some(), "{model}: {shown}");
        let is_left_out = told.is_some_and(|told| told.contains("left out"));
        assert_eq!(costs.models.is_empty(), is_left_out, "{model}: {shown}");
    };
    let flex = r#"{"when": {"service_tier": "flex"}, "prices": {"input_mtok": 9}}"#;
    check("1", &format!(r#", "price_variants": {flex}"#), "price_variants: not a list: left out");
    check("1", &format!(r#", "price_variants": [{flex}]"#), "service_class");
    check("1", r#", "match": {"or": {"equals": "n"}}"#, "p/n");
    check("1", r#", "match": {"starts_with": 5}"#, r#"a rule of "starts_with" for no text"#);
    check("1", r#", "match": {"or": [{"equals": ["n"]}]}"#, r#"a rule of "equals" for no text"#);
    // A reseller has no name alone, for the maker's rule may not be one that can be taken over.
    let named = |id: &str| {
        format!(r#"{{"id": "{id}", "models": [{{"id": "m", "prices": {{"input_mtok": 1}}}}]}}"#)
    };
    for (provider, expected) in [("x-ai", "x-ai/m m xai/m"), ("openrouter", ""), ("acme", "")] {
        let costs = genai::import(format!("[{}]", named(provider)).as_bytes()).unwrap();
        let aliases: Vec<&str> =
            costs.models.values().flat_map(|model| &model.aliases).map(String::as_str).collect();
        assert_eq!(aliases.join(" "), expected.trim_start_matches("x-ai/m "), "{provider}");
    }
    // What several sell is nobody's alone, but the router's where one stands behind it.
    let model = r#""models": [{"id": "Q/m", "prices": {"input_mtok": 1}}]"#;
    let all = ["novita", "huggingface_novita", "huggingface_together"]
        .map(|id| format!(r#"{{"id": "{id}", {model}}}"#));
    for (providers, expected) in [(&all[..1], ""), (&all[..2], "huggingface/Q/m"), (&all[..], "")] {
        let costs = genai::import(format!("[{}]", providers.join(",")).as_bytes()).unwrap();
        let aliases: Vec<&str> =
            costs.models.values().flat_map(|model| &model.aliases).map(String::as_str).collect();
        assert_eq!(aliases.join(" "), expected, "{providers:?}");
    }
    for price in [
        r#"{"base": 1, "tiers": {}}"#,
        r#"{"base": 1, "tiers": [{"start": 5, "end": 10, "price": 2}]}"#,
        r#"{"base": 1, "tiers": [{"start": 5, "price": 3}, {"start": 5, "price": 2}]}"#,
        r#"{"base": 1, "tiers": [], "unit": "k"}"#,
    ] {
        check(price, "", "input_mtok: tiers of another form");
    }
}

#[test]
fn csv_file() {
    let costs = csv::import(CSV.as_bytes()).unwrap();
    check("csv", &costs);
    let crlf = format!("\u{feff}{}", CSV.replace('\n', "\r\n"));
    assert_eq!(csv::import(crlf.as_bytes()).unwrap(), costs);
    // A quote too many would take the next line along.
    let blanks = CSV.replace(",USD,", ", USD ,");
    assert_eq!(csv::import(blanks.as_bytes()).unwrap(), costs);
    for name in ["n", ""] {
        let quoted = CSV.replacen(",\n", &format!(",\"{name}\n"), 1);
        let quoted = quoted.replacen(",\n", &format!(",{name}\"\n"), 1);
        assert_ne!(quoted, CSV);
        let refused = csv::import(quoted.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains("a quote that is not closed"), "{refused}");
    }
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
    // All models that were made of one are its entry's.
    check(
        &[("ft:m", json!({"litellm_provider": "openai", "input_cost_per_token": 1e-6}))],
        &["openai/ft:m | text-by-input-tokens | ft:m openai/ft:m:* ft:m:*", "input_tokens 1/M"],
    );
    // Perplexity tells searches also where the request's price is all.
    check(
        &[(
            "perplexity/s",
            json!({
                "litellm_provider": "perplexity", "mode": "chat", "input_cost_per_token": 1e-6,
                "search_context_cost_per_query": {
                    "search_context_size_low": 0.005, "search_context_size_high": 0.012,
                },
            }),
        )],
        &[
            "perplexity/s | text-by-requests |",
            "requests 0.012",
            r#"requests 0.005 {"search_context_size":"low"}"#,
            "input_tokens 1/M",
            "web_searches 0",
            "output_citation_tokens 0/M",
            "output_reasoning_tokens 0/M",
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
            r#"input_tokens 1.3/M {"data_residency":"fedramp"}"#,
            r#"input_tokens 2.6/M {"data_residency":"fedramp","sea":"North"}"#,
            r#"input_tokens 5.2/M {"data_residency":"fedramp","moon":"yes"}"#,
            r#"input_tokens 10.4/M {"data_residency":"fedramp","moon":"yes","sea":"North"}"#,
            r#"input_tokens 1.2/M {"data_residency":"eu"}"#,
            r#"input_tokens 2.4/M {"data_residency":"eu","sea":"North"}"#,
            r#"input_tokens 4.8/M {"data_residency":"eu","moon":"yes"}"#,
            r#"input_tokens 9.6/M {"data_residency":"eu","moon":"yes","sea":"North"}"#,
            "omitted: m Sun_uplift_multiplier: not a parameter with a value",
            "omitted: m fedramp_uplift_multiplier: \
             regional_processing_uplift_multiplier_fedramp is the factor of the same, and no smaller",
        ],
    );
}

/// What an import makes of the text of a table of `LiteLLM`'s.
fn litellm_lines(table_text: &str) -> Vec<String> {
    let costs = litellm::import(table_text.as_bytes()).unwrap();
    table(&costs);
    shown(&costs).lines().map(|line| line.trim().to_owned()).collect()
}

/// An entry is left out where without one of its prices a cheaper one would apply.
#[test]
fn litellm_entries_left_out() {
    let check = |fields: &str, expected: Result<&str, &str>| {
        let lines = litellm_lines(&format!(
            r#"{{"m": {{"litellm_provider": "p", "mode": "chat", "input_cost_per_token": 1e-6,
                "output_cost_per_token": 2e-6, {fields}}}}}"#
        ));
        let is_left_out = lines[0].starts_with("omitted: ");
        let line = match expected {
            Ok(listed) => format!("omitted: m {listed}"),
            Err(fault) => format!(
                "omitted: m: {fault}: left out as a whole, for without this another, cheaper price \
                 could apply"
            ),
        };
        assert_eq!((is_left_out, lines.last()), (expected.is_err(), Some(&line)), "{fields}");
    };
    // A class, a tier, a modality, a unit of its own.
    for field in [
        "input_cost_per_token_priority",
        "input_cost_per_token_above_200k_tokens",
        "input_cost_per_audio_token",
        "cache_creation_input_token_cost_above_1hr",
        "output_cost_per_image_2K",
        "input_cost_per_token_batches",
        "regional_processing_uplift_multiplier_eu",
        "search_context_cost_per_query",
        "provider_specific_entry",
    ] {
        let (number, negative, huge, inside) = match field {
            "provider_specific_entry" => {
                (r#"{"fast": "n/a"}"#, r#"{"us": -1}"#, r#"{"us": 1e9}"#, true)
            }
            _ => (r#""n/a""#, "-1e-6", "1e400", false),
        };
        let place = |name: &str| if inside { format!("{field}/{name}") } else { field.to_owned() };
        let field = |value: &str| format!(r#""{field}": {value}"#);
        check(&field(number), Err(&format!("{}: not a number", place("fast"))));
        check(&field(negative), Err(&format!("{}: a price is not negative", place("us"))));
        let absurd = format!("{}: more than a million for one unit is no price", place("us"));
        check(&field(huge), Err(&absurd));
    }
    for value in [r#""NaN""#, r#""Infinity""#, r#""2,5e-6""#, "true", "[]", "{}"] {
        let field = format!(r#""input_cost_per_token_flex": {value}"#);
        check(&field, Err("input_cost_per_token_flex: not a number"));
    }
    let digits = format!(r#""output_cost_per_token_flex": 0.{}"#, "1".repeat(70));
    check(&digits, Err("output_cost_per_token_flex: not a number"));
    for (tiers, fault) in [
        ("[]", "not a list of 1 to 64 tiers"),
        (r#"[{"input_cost_per_token": 1e-6}]"#, "a tier without a range"),
        (r#"[{"range": [0, 9], "output_cost_per_token": 1}]"#, "a tier without an input price"),
        (r#"[{"range": [0, 0], "input_cost_per_token": 1}]"#, "a range ends before it begins"),
        (
            r#"[{"range": [0, 9], "input_cost_per_token": 1},
                {"range": [9, 3], "input_cost_per_token": 2}]"#,
            "a range ends before it begins",
        ),
    ] {
        let field = format!(r#""tiered_pricing": {tiers}"#);
        check(&field, Err(&format!("tiered_pricing: {fault}")));
    }
    let in_tier = |prices: &str| {
        format!(
            r#""tiered_pricing": [{{"range": [0, 9], "input_cost_per_token": 3e-6, {prices}}}]"#
        )
    };
    let fault = "tiered_pricing/output_cost_per_token: not a number";
    check(&in_tier(r#""output_cost_per_token": "x""#), Err(fault));
    let audio = "tiered_pricing/input_cost_per_audio_token: not known in a tier";
    check(&in_tier(r#""input_cost_per_audio_token": 4e-6"#), Err(audio));
    check(&in_tier(r#""input_cost_per_audio_token": 3e-6"#), Ok(audio));
    check(
        &in_tier(r#""input_cost_per_moon": 3e-6"#),
        Ok("input_tokens: tiered_pricing stands in for the entry's own price"),
    );

    // What stands in for it is no cheaper, or is.
    let replaced = "input_cost_per_token_priority: tiered_pricing stands in for the entry's own \
                    price";
    let tiers = in_tier(r#""cache_read_input_token_cost": 1e-6"#);
    check(&format!(r#""input_cost_per_token_priority": 3.1e-6, {tiers}"#), Err(replaced));
    check(&format!(r#""input_cost_per_token_priority": 3e-6, {tiers}"#), Ok(replaced));
    let resolutions = r#""output_cost_per_image_1K": 0.1, "output_cost_per_image_2K": 0.2"#;
    let class = "output_cost_per_image_2K_priority: a class or tier of a price that depends on the \
                 resolution";
    check(&format!(r#"{resolutions}, "output_cost_per_image_2K_priority": 0.4"#), Err(class));
    check(&format!(r#"{resolutions}, "output_cost_per_image_2K_priority": 0.1"#), Ok(class));
    let off_peak = |price: &str| {
        format!(
            r#""off_peak_pricing": {{"hours_utc": "25:00-26:00", "input_cost_per_token": {price}}}"#
        )
    };
    let hours = "off_peak_pricing/input_cost_per_token: hours are written as \"HH:MM-HH:MM\"";
    check(&off_peak("0.5e-6"), Ok(hours));
    check(&off_peak("1.5e-6"), Err(hours));
    check(&off_peak(r#""x""#), Err("off_peak_pricing/input_cost_per_token: not a number"));

    // A multiplier that makes a price of no price, which would leave the plain one.
    check(
        r#""input_cost_per_audio_token": 1000, "provider_specific_entry": {"us": 1001}"#,
        Err("input_audio_tokens: more than a million for one unit is no price"),
    );
    // A border, and a class of what has none.
    for above in ["above_99999999999k_tokens", "above_200k_tokens_above_1k_tokens", "above_x"] {
        let field = format!("input_cost_per_token_{above}");
        check(&format!(r#""{field}": 9"#), Err(&format!("{field}: a border that can't be read")));
    }
    let explicit = |class: &str| {
        format!(
            r#""explicit_cache_read_input_token_cost": 1e-7,
                "explicit_cache_read_input_token_cost_priority": {class}"#
        )
    };
    let class = "explicit_cache_read_input_token_cost_priority: explicit caching has one price for \
                 all classes";
    check(&explicit("2e-7"), Err(class));
    check(&explicit("1e-7"), Ok(class));
    // Nothing else can stand in for these.
    let unknown = "input_cost_per_moon: no dimension is known for this field";
    check(r#""input_cost_per_moon": "x""#, Ok(unknown));
    check(
        r#""input_dbu_cost_per_token": "x""#,
        Ok(
            "input_dbu_cost_per_token: in units of the provider; the price in dollars stands beside it",
        ),
    );
}

/// Of several entries that are one model, one can't be read.
#[test]
fn litellm_models_left_out() {
    let check = |entries: [(&str, &str); 3], left: &[&str], expected: (&str, &str)| {
        let entry = |(key, price): (&str, &str)| {
            format!(
                r#""{key}": {{"litellm_provider": "p", "mode": "image_generation",
                    "output_cost_per_image": {price}}}"#
            )
        };
        let lines = litellm_lines(&format!("{{{}}}", entries.map(entry).join(",")));
        let models: Vec<&str> =
            lines.iter().filter_map(|line| Some(line.split_once(" | ")?.0)).collect();
        let left_out = "left out as a whole, for without this another, cheaper price could apply";
        let omitted: Vec<String> =
            lines.iter().filter_map(|line| Some(line.strip_prefix("omitted: ")?.into())).collect();
        let (unreadable, with) = expected;
        assert_eq!(models, left, "{entries:?}");
        assert_eq!(
            omitted,
            [
                format!("{unreadable}: output_cost_per_image: not a number: {left_out}"),
                format!("{with}: {unreadable:?} is of the same model: {left_out}"),
            ],
        );
    };
    let (low, high) = ("low/512-x-512/i", "high/512-x-512/i");
    check([("p/i", "1"), (low, "2"), (high, r#""x""#)], &["p/low/512-x-512/i"], (high, "p/i"));
    check(
        [("p/j", "1"), (low, "2"), (high, r#""x""#)],
        &["p/j", "p/low/512-x-512/i"],
        (high, "p/i"),
    );
    let both = ["p/high/512-x-512/i", "p/low/512-x-512/i"];
    check([("p/i", r#""x""#), (low, "2"), (high, "3")], &both, ("p/i", "p/i"));
    check([("p/i", r#""x""#), ("i", "2"), ("p/j", "3")], &["p/j"], ("p/i", "p/i"));
    check([("p/i", "2"), ("i", r#""x""#), ("p/j", "3")], &["p/j"], ("i", "p/i"));
}

/// The dearer of two prices of the same is kept, in whatever order they are.
#[test]
fn litellm_prices_of_the_same() {
    let check = |mode: &str, fields: [&str; 2], expected: [&str; 2]| {
        for (first, second) in [(0, 1), (1, 0)] {
            let lines = litellm_lines(&format!(
                r#"{{"p/m": {{"litellm_provider": "p", "mode": "{mode}", {}, {}}}}}"#,
                fields[first], fields[second]
            ));
            assert_eq!(lines[1..], expected, "{fields:?}");
        }
    };
    let seconds = |input: &str, output: &str, expected: [&str; 2]| {
        let input = format!(r#""input_cost_per_second": {input}"#);
        let output = format!(r#""output_cost_per_second": {output}"#);
        check("audio_transcription", [&input, &output], expected);
    };
    let input_is_dearer =
        "omitted: p/m output_cost_per_second: input_cost_per_second prices the same, and is dearer";
    seconds("0.0002", "0.0001", ["audio_seconds 0.0002", input_is_dearer]);
    seconds("0.0002", "0", ["audio_seconds 0.0002", input_is_dearer]);
    let output_is_dearer =
        "omitted: p/m input_cost_per_second: output_cost_per_second prices the same, and is dearer";
    seconds("0.0001", "0.0002", ["audio_seconds 0.0002", output_is_dearer]);
    seconds("0", "0.0002", ["audio_seconds 0.0002", output_is_dearer]);
    check(
        "embedding",
        [r#""input_cost_per_token_cache_hit": 2e-6"#, r#""cache_read_input_token_cost": 1e-6"#],
        [
            "cache_read_tokens 2/M",
            "omitted: p/m cache_read_input_token_cost: input_cost_per_token_cache_hit prices the \
             same, and is dearer",
        ],
    );
    check(
        "embedding",
        [
            r#""input_cost_per_video_per_second": 0.1"#,
            r#""input_cost_per_video_per_second_above_8s_interval": 0.2"#,
        ],
        [
            "input_video_seconds 0.2",
            "omitted: p/m input_cost_per_video_per_second: \
             input_cost_per_video_per_second_above_8s_interval prices the same, and is dearer",
        ],
    );
    let factors = [
        r#""input_cost_per_token": 1e-6, "fedramp_uplift_multiplier": 1.2"#,
        r#""regional_processing_uplift_multiplier_fedramp": 1.1"#,
    ];
    for (first, second) in [(0, 1), (1, 0)] {
        let (first, second) = (factors[first], factors[second]);
        let lines = litellm_lines(&format!(
            r#"{{"p/m": {{"litellm_provider": "p", "mode": "embedding", {first}, {second}}}}}"#
        ));
        assert_eq!(
            lines[2..],
            [
                r#"input_tokens 1.2/M {"data_residency":"fedramp"}"#,
                "omitted: p/m regional_processing_uplift_multiplier_fedramp: \
                 fedramp_uplift_multiplier is the factor of the same, and no smaller",
            ]
        );
    }
}

/// Entries that are another name of one.
#[test]
fn litellm_further_names() {
    let check = |entries: &str, expected: &[&str]| {
        let lines = litellm_lines(&format!(
            r#"{{"openai/m": {{"litellm_provider": "openai", "input_cost_per_token": 1}},
                "bad": {{"litellm_provider": "openai", "input_cost_per_token": "x"}}, {entries}}}"#
        ));
        let lines: Vec<&str> = lines
            .iter()
            .map(String::as_str)
            .filter(|line| !line.starts_with("input_tokens ") && !line.starts_with("omitted: bad:"))
            .collect();
        assert_eq!(lines, expected, "{entries}");
    };
    let model = "openai/m | text-by-input-tokens |";
    let with = |names: &str| format!("{model} {names}");
    check(r#""a": {"alias_of": "openai/m"}"#, &[&with("openai/a a")]);
    check(r#""openai/a": {"alias_of": "openai/m"}"#, &[&with("openai/a")]);
    check(
        r#""a": {"alias_of": "openai/m", "input_cost_per_token": 1}"#,
        &[
            model,
            r#"omitted: a input_cost_per_token: whether this or the price of its "alias_of" holds is not said: left out as a whole, for without this another, cheaper price could apply"#,
        ],
    );
    check(
        r#""openai/a": {"alias_of": null, "litellm_provider": "openai", "input_cost_per_token": 1}"#,
        &["openai/a | text-by-input-tokens |", model],
    );
    // Over several steps, in whatever order.
    check(
        r#""openai/a": {"alias_of": "openai/b"}, "openai/b": {"alias_of": "openai/m"}"#,
        &[&with("openai/a openai/b")],
    );
    check(
        r#""a": {"alias_of": "b"}, "b": {"alias_of": "c"}, "c": {"alias_of": "b"},
            "d": {"alias_of": "d"}"#,
        &[
            model,
            r#"omitted: a alias_of: "b" leads in a circle, or over more than 64 names"#,
            r#"omitted: b alias_of: "c" leads in a circle, or over more than 64 names"#,
            r#"omitted: c alias_of: "b" leads in a circle, or over more than 64 names"#,
            r#"omitted: d alias_of: "d" leads in a circle, or over more than 64 names"#,
        ],
    );
    check(
        r#""a": {"alias_of": "nobody"}, "b": {"alias_of": "bad"}, "c": {"alias_of": 1}"#,
        &[
            model,
            "omitted: c alias_of: not the name of an entry",
            r#"omitted: a alias_of: there is no entry "nobody""#,
            r#"omitted: b alias_of: "bad" is left out"#,
        ],
    );
    // A name that is taken leads where it did.
    check(
        r#""n": {"litellm_provider": "openai", "input_cost_per_token": 2},
            "q/n": {"litellm_provider": "q", "input_cost_per_token": 3},
            "openai/n": {"alias_of": "openai/m"}, "n2": {"alias_of": "q/n"}"#,
        &[
            model,
            "openai/n | text-by-input-tokens | n",
            "q/n | text-by-input-tokens | q/n2 n2",
            r#"omitted: openai/n alias_of: "openai/n" is another model: of the prices of both the dearer hold there"#,
        ],
    );
    let lines = litellm_lines(
        r#"{"m": {"litellm_provider": "openai", "input_cost_per_token": 1},
            "openai/m": {"alias_of": "openai/n"},
            "openai/n": {"litellm_provider": "openai", "input_cost_per_token": 5}}"#,
    );
    assert_eq!(lines[..2], ["openai/m | text-by-input-tokens | m", "input_tokens 5000000/M"]);
    check(
        r#""o": {"litellm_provider": "openai", "input_cost_per_token": 2},
            "q/o": {"litellm_provider": "q", "input_cost_per_token": 3},
            "q/n": {"alias_of": "o"}, "openai/m2": {"alias_of": "openai/m"}, "x": {"alias_of": "q/n"}"#,
        &[
            &with("openai/m2"),
            "openai/o | text-by-input-tokens | o openai/q/n q/n openai/x x",
            "q/o | text-by-input-tokens |",
        ],
    );
}

/// Two entries for one model.
#[test]
fn litellm_entries_of_one_model() {
    let check = |bare: &str, named: &str, expected: (&str, &str)| {
        let entry = |key: &str, prices: &str| {
            format!(r#""{key}": {{"litellm_provider": "p", "mode": "chat", {prices}}}"#)
        };
        let (bare, named) = (entry("m", bare), entry("p/m", named));
        for table in [format!("{{{bare}, {named}}}"), format!("{{{named}, {bare}}}")] {
            let lines = litellm_lines(&table);
            assert!(lines.contains(&expected.0.to_owned()), "{table}: {lines:?}");
            assert_eq!(lines.last().map(String::as_str), Some(expected.1), "{table}");
        }
    };
    let (one, two) = (r#""input_cost_per_token": 1"#, r#""input_cost_per_token": 2"#);
    let bare_is_kept = r#"omitted: p/m: "m", which is the same model ("p/m"), is dearer"#;
    let named_is_kept = r#"omitted: m: "p/m", which is the same model, is dearer"#;
    let of_each = r#"omitted: m: "p/m", which is the same model, is dearer in some rows, cheaper in others: of each the dearer holds"#;
    check(two, one, ("input_tokens 2000000/M", bare_is_kept));
    check(one, two, ("input_tokens 2000000/M", named_is_kept));
    check(
        one,
        one,
        (
            "input_tokens 1000000/M",
            r#"omitted: m: "p/m", which is the same model, has the same prices"#,
        ),
    );
    // One more price: what the other has no price for is refused.
    let search = format!(r#"{one}, "search_context_cost_per_query": 0.01"#);
    check(&search, one, ("web_searches 0.01", bare_is_kept));
    // ... or counts as something else: a cheaper class is no dearer price.
    let batches = format!(r#"{one}, "input_cost_per_token_batches": 0.5"#);
    check(&batches, one, ("input_tokens 1000000/M", named_is_kept));
    let cached = format!(r#"{one}, "cache_read_input_token_cost": 0.1"#);
    check(&cached, one, ("input_tokens 1000000/M", named_is_kept));
    check(
        &format!(r#"{batches}, "output_cost_per_token": 1"#),
        one,
        ("input_tokens 1000000/M", of_each),
    );
    // Dearer in one tier, cheaper in another.
    let tiers =
        |above: &str| format!(r#"{one}, "input_cost_per_token_above_200k_tokens": {above}"#);
    check(&tiers("3"), two, ("input_tokens 2000000/M", of_each));
    check(
        &tiers("3"),
        &tiers("2"),
        (r#"input_tokens 3000000/M {"prompt_tokens":{"gt":200000}}"#, bare_is_kept),
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Of two sides, each asks what the dearer asks, wherever either has a price.
    #[test]
    fn the_dearer_of_each_price(prices in prop::collection::vec(prop::option::of(1_u8..6), 2 * 2 * 4)) {
        const WHEN: [&str; 4] = [
            "",
            r#"{"service_class":"batch"}"#,
            r#"{"prompt_tokens":{"gt":10}}"#,
            r#"{"prompt_tokens":{"gt":10},"service_class":"batch"}"#,
        ];
        const DIMENSIONS: [&str; 2] = ["input_tokens", "cache_read_tokens"];
        let side = |n: usize| -> Vec<CostRow> {
            let row = |m: usize| {
                let (dimension, when) = (DIMENSIONS[m / 4], WHEN[m % 4]);
                // Input always has a price, and what two rows would decide a third does.
                let decides = m % 4 == 3 && prices[n * 8 + m - 1].is_some() && prices[n * 8 + m - 2].is_some();
                let always = m == 0 || decides;
                let amount = Decimal::from(prices[n * 8 + m].or(always.then_some(3))?);
                let when = (!when.is_empty()).then(|| Conditions::from_text(when).unwrap());
                Some(CostRow { dimension: dimension.into(), amount, per: per(dimension), when })
            };
            (0..8).filter_map(row).collect()
        };
        let rated = |rows: &[CostRow], dimension: &str, class: &str, tokens: u64| {
            let costs = ProviderCosts { parts: standard_parts(), ..ProviderCosts::default() };
            let model = ModelCosts {
                provider: "p".into(),
                name: None,
                feature: "any".into(),
                aliases: Vec::new(),
                starts_with: Vec::new(),
                costs: rows.to_vec(),
            };
            let table = table(&ProviderCosts {
                currency: "USD".into(),
                features: [("any".into(), Vec::new())].into(),
                models: [("m".into(), model)].into(),
                ..costs
            });
            let usage = [(dimension.to_owned(), Quantity::from_whole(tokens).unwrap())];
            let rated = table.rate(&Request {
                model: "m",
                usage: &usage.into(),
                parameters: &serde_json::from_value(json!({"service_class": class})).unwrap(),
                at: Timestamp::MIN,
                multiplier: Multiplier::ONE,
            });
            rated.map_or(Decimal::NEGATIVE_ONE, |rated| {
                rated.lines[0].rate().credits().to_string().parse().unwrap()
            })
        };
        let (one, other) = (side(0), side(1));
        let dearer = dearer_of_each(&one, &other);
        for dimension in DIMENSIONS {
            for class in ["none", "batch"] {
                for tokens in [10, 11] {
                    let at = |rows: &[CostRow]| rated(rows, dimension, class, tokens);
                    prop_assert_eq!(at(&dearer), at(&one).max(at(&other)), "{} {} {}", dimension, class, tokens);
                }
            }
        }
    }
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
