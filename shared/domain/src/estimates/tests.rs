use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ratios::{Multiplier, Parameters, RatioTable, Request, Usage};
use crate::{Credits, Timestamp};

fn q(units: u64) -> Quantity {
    Quantity::from_whole(units).unwrap()
}

fn bounds(min: u64, expected: u64, max: u64) -> Bounds {
    Bounds::new(q(min), q(expected), q(max)).unwrap()
}

fn table(models: Value) -> RatioTable {
    RatioTable::from_json(&json!({
        "credit": {"scale": 4, "rounding": "up"},
        "groups": {"default": "1"},
        "features": {"any": {"dimensions": []}},
        "models": models,
    }))
    .unwrap()
}

fn price_of(
    table: &RatioTable,
    model: &str,
    bounds: &BTreeMap<String, Bounds>,
    capped: bool,
) -> Result<Priced, PriceError> {
    let (usage, parameters) = (Usage::new(), Parameters::new());
    price(table, &request(model, &usage, &parameters), bounds, capped)
}

fn request<'a>(model: &'a str, usage: &'a Usage, parameters: &'a Parameters) -> Request<'a> {
    let at = Timestamp::from_millis(1_795_000_000_000).unwrap();
    Request { model, usage, parameters, at, multiplier: Multiplier::ONE }
}

#[test]
fn what_a_text_is_made_of() {
    use profile::Unit as U;
    let check = |text: &str, characters: u64, expected: &[(U, u64)]| {
        let profile = Profile::of(text);
        let mut units = [0; Profile::UNITS];
        for (unit, count) in expected {
            units[*unit as usize] = *count;
        }
        assert_eq!(profile.units(), &units, "{text:?}");
        assert_eq!(profile.characters(), characters, "{text:?}");
    };
    check("", 0, &[]);
    check("Hi", 2, &[(U::Texts, 1), (U::Words, 1)]);
    check("a b", 3, &[(U::Texts, 1), (U::English, 2)]);
    check("The lighthouse", 14, &[(U::Texts, 1), (U::English, 2), (U::EnglishLetters, 6)]);
    check("Hello, world!", 13, &[(U::Texts, 1), (U::Words, 2), (U::Letters, 2), (U::Marks, 2)]);
    check("getHttpName", 11, &[(U::Texts, 1), (U::Words, 1), (U::Humps, 2), (U::OddPairs, 1)]);
    check("HTTP v2", 7, &[(U::Texts, 1), (U::Dense, 5), (U::Digits, 1), (U::Numbers, 1)]);
    check("12345", 5, &[(U::Texts, 1), (U::Digits, 5), (U::Numbers, 2)]);
    check("don't", 5, &[(U::Texts, 1), (U::Words, 1), (U::Marks, 1), (U::Suffixes, 1)]);
    check("xqz", 3, &[(U::Texts, 1), (U::Words, 1), (U::OddPairs, 2)]);
    check("  \n\n", 4, &[(U::Texts, 1), (U::Blanks, 1), (U::Repeats, 2)]);
    check("====x", 5, &[(U::Texts, 1), (U::Marks, 1), (U::Repeats, 3), (U::Words, 1)]);
    check("{\":[", 4, &[(U::Texts, 1), (U::Marks, 1), (U::MoreMarks, 3)]);
    check("Äpfel", 5, &[(U::Texts, 1), (U::Words, 1), (U::Accented, 1), (U::Letters, 1)]);
    check("день", 4, &[(U::Texts, 1), (U::Cyrillic, 4)]);
    check("日本語のテスト。", 8, &[(U::Texts, 1), (U::Han, 3), (U::Kana, 5)]);
    check("हाँ", 3, &[(U::Texts, 1), (U::Devanagari, 3)]);
    check("שָׁלוֹם", 7, &[(U::Texts, 1), (U::Hebrew, 4), (U::Combining, 3)]);
    check("e\u{301}", 2, &[(U::Texts, 1), (U::Words, 1), (U::Combining, 1)]);
    check("🎉🎉👍", 3, &[(U::Texts, 1), (U::Pictures, 3)]);
    check("“❤️”", 4, &[(U::Texts, 1), (U::Typography, 2), (U::Symbols, 2)]);
    check("ߊᏣ𠮷", 3, &[(U::Texts, 1), (U::RareTwo, 1), (U::RareThree, 1), (U::RareFour, 1)]);
    check(&"x".repeat(21), 21, &[(U::Texts, 1), (U::Dense, 21)]);
}

#[test]
fn families() {
    for (model, family) in [
        ("openai/gpt-5.1", "openai_o200k"),
        ("openai/gpt-4o-mini", "openai_o200k"),
        ("gpt-4.1", "openai_o200k"),
        ("openai/o3", "openai_o200k"),
        ("o4-mini", "openai_o200k"),
        ("azure/gpt-4-turbo", "openai_cl100k"),
        ("text-embedding-3-small", "openai_cl100k"),
        ("anthropic/claude-sonnet-4-5", "claude"),
        ("us.anthropic.claude-opus-4-6-v1:0", "claude"),
        ("anthropic/claude-opus-4-7", "claude_4_7"),
        ("anthropic/claude-sonnet-5-5", "claude_4_7"),
        ("google/gemini-3.8-flash", "gemini"),
        ("meta-llama/Llama-3.3-70B", "llama"),
        ("mistral/mistral-large-4", "mistral"),
        ("deepseek/deepseek-v4-pro", "deepseek"),
        ("Qwen/Qwen3-235B", "qwen"),
        ("cohere/command-a", "default"),
        ("opensource/model", "default"),
    ] {
        assert_eq!(Family::of(model).name(), family, "{model}");
    }
}

#[test]
fn what_models_count() {
    let table = table(json!({
        "openai/gpt-6": {"feature": "any", "ratios": [
            {"dimension": "input_tokens", "credits": "1", "per": 1},
            {"dimension": "input_image_tokens", "credits": "1", "per": 1},
            {"dimension": "output_tokens", "credits": "1", "per": 1}]},
        "openai/gpt-apart": {"feature": "any", "ratios": [
            {"dimension": "input_tokens", "credits": "1", "per": 1},
            {"dimension": "output_reasoning_tokens", "credits": "2", "per": 1},
            {"dimension": "output_tokens", "credits": "1", "per": 1}]},
        "openai/embed": {"feature": "any", "ratios": [
            {"dimension": "input_tokens", "credits": "1", "per": 1}]},
        "x/image": {"feature": "any", "ratios": [
            {"dimension": "output_images", "credits": "1", "per": 1}]},
        "openai/gpt-image": {"feature": "any", "ratios": [
            {"dimension": "input_tokens", "credits": "1", "per": 1},
            {"dimension": "output_image_tokens", "credits": "1", "per": 1}]},
        "x/pixels": {"feature": "any", "ratios": [
            {"dimension": "output_pixels", "credits": "1", "per": 1}]},
        "x/speech": {"feature": "any", "ratios": [
            {"dimension": "input_characters", "credits": "1", "per": 1}]},
        "google/gemini-tts": {"feature": "any", "ratios": [
            {"dimension": "input_tokens", "credits": "1", "per": 1},
            {"dimension": "output_audio_tokens", "credits": "1", "per": 1}]},
        "x/search": {"feature": "any", "ratios": [
            {"dimension": "input_tokens", "credits": "1", "per": 1},
            {"dimension": "requests", "credits": "1", "per": 1}]},
    }));
    let text = || Description { texts: vec![Profile::of("Hello there")], ..Description::default() };
    let words = |tokens, words, max_tokens| Description {
        output: Output { tokens, words, reasoning: None, max_tokens },
        ..text()
    };
    let images = |count, size: Option<&str>, quality: Option<&str>| Description {
        images: Some(Images {
            count,
            size: size.map(str::to_owned),
            quality: quality.map(str::to_owned),
        }),
        ..text()
    };
    let known = |n| bounds(n, n, n);
    let speech = || Description { speech: Some(Profile::of("Hello")), ..Description::default() };
    let check = |model: &str, asked: Description, expected: &[(&str, Bounds)]| {
        let model = table.model(model).unwrap();
        let counted = asked.quantities(model).unwrap();
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(name, b)| ((*name).to_owned(), *b)).collect();
        assert_eq!(counted.usage, expected, "{} {asked:?}", model.id());
        let mut sums: BTreeMap<String, Bounds> = BTreeMap::new();
        for Assumption { dimension, quantity, .. } in counted.assumptions {
            sums.entry(dimension.to_owned())
                .and_modify(|sum| *sum = sum.checked_add(quantity).unwrap())
                .or_insert(quantity);
        }
        assert_eq!(sums, counted.usage, "every quantity is explained");
    };
    let [a, b, c] = Family::of("openai/").tokens(&Profile::of("Hello there"));
    let [d, e, f] = Family::of("openai/gpt-6").tokens(&Profile::of("Hello there"));
    let input = bounds(d + 1, e + 7, f + 18);

    // Nothing is said of the output; a number; bounds; a cap; both.
    check(
        "openai/gpt-6",
        text(),
        &[("input_tokens", input), ("output_tokens", bounds(1, 500, 2_000))],
    );
    for (tokens, cap, output) in [
        (Some(known(100)), None, bounds(25, 100, 400)),
        (Some(bounds(10, 20, 30)), None, bounds(10, 20, 30)),
        (None, Some(900), bounds(1, 500, 900)),
        (None, Some(9_000), bounds(1, 3_000, 9_000)),
        (None, Some(200), bounds(1, 200, 200)),
        (Some(known(100)), Some(1_000), bounds(25, 334, 1_000)),
        (Some(known(1_000)), Some(100), bounds(100, 100, 100)),
        (Some(bounds(10, 20, 30)), Some(1_000), bounds(10, 20, 30)),
    ] {
        let asked = words(tokens, None, cap);
        check("openai/gpt-6", asked, &[("input_tokens", input), ("output_tokens", output)]);
    }
    // Reasoning: beside the answer, under a cap, and where it has a price of its own.
    let reasoning = |tokens, reasoning, max_tokens| Description {
        output: Output { tokens, words: None, reasoning: Some(reasoning), max_tokens },
        ..text()
    };
    for (asked, output, apart) in [
        (reasoning(Some(known(100)), known(1_000), None), bounds(275, 1_100, 4_400), None),
        (reasoning(Some(known(100)), known(1_000), Some(2_000)), bounds(275, 1_100, 2_000), None),
        (reasoning(None, bounds(10, 20, 30), Some(300)), bounds(11, 300, 300), None),
        (
            reasoning(Some(bounds(10, 20, 30)), bounds(1, 2, 3), Some(300)),
            bounds(11, 22, 33),
            Some((bounds(10, 20, 30), bounds(1, 2, 3))),
        ),
        (
            reasoning(Some(known(100)), known(50), None),
            bounds(37, 150, 600),
            Some((bounds(25, 100, 400), bounds(12, 50, 200))),
        ),
        (
            words(None, None, Some(900)),
            bounds(1, 500, 900),
            Some((bounds(1, 500, 900), bounds(0, 300, 900))),
        ),
    ] {
        check("openai/gpt-6", asked.clone(), &[("input_tokens", input), ("output_tokens", output)]);
        let Some((output, thoughts)) = apart else { continue };
        check(
            "openai/gpt-apart",
            asked,
            &[
                ("input_tokens", input),
                ("output_tokens", output),
                ("output_reasoning_tokens", thoughts),
            ],
        );
    }
    // Without a limit the answer says so.
    for (asked, unbounded) in [
        (text(), true),
        (words(Some(known(100)), None, None), true),
        (words(None, Some(known(100)), None), true),
        (words(Some(bounds(10, 20, 30)), None, None), false),
        (words(None, Some(known(100)), Some(500)), false),
    ] {
        let counted = asked.quantities(table.model("openai/gpt-6").unwrap()).unwrap();
        assert_eq!(counted.is_unbounded, unbounded, "{asked:?}");
    }
    // A model without output takes the same text; a model without tokens takes no text.
    check("openai/embed", text(), &[("input_tokens", bounds(a, b, c))]);
    check("x/image", text(), &[("input_tokens", bounds(a, b, c))]);
    // A prompt is free where only what is made has a price.
    check("x/image", images(2, None, None), &[("output_images", known(2))]);
    let [g, h, i] = Family::of("openai/gpt-image").tokens(&Profile::of("Hello there"));
    check(
        "openai/gpt-image",
        images(2, None, Some("high")),
        &[
            ("input_tokens", bounds(g, h, i)),
            ("output_image_tokens", bounds(5_488, 14_048, 28_096)),
        ],
    );
    check("x/pixels", images(1, Some("1024x512"), None), &[("output_pixels", known(524_288))]);
    check("x/speech", speech(), &[("input_characters", known(5))]);
    let [g, h, i] = Family::of("gemini").tokens(&Profile::of("Hello"));
    check(
        "google/gemini-tts",
        speech(),
        &[("input_tokens", bounds(g, h, i)), ("output_audio_tokens", bounds(5, 9, 22))],
    );
    check("x/search", text(), &[("input_tokens", bounds(a, b, c)), ("requests", known(1))]);
    let pictures = Description {
        input_images: vec![Image { count: 2, size: Some((1_024, 1_024)), detail: Detail::Auto }],
        ..Description::default()
    };
    check(
        "openai/gpt-6",
        pictures,
        &[
            ("input_image_tokens", bounds(2_048, 2_458, 3_524)),
            ("output_tokens", bounds(1, 500, 2_000)),
        ],
    );
}

/// What the providers' guides, and the calculators of those who measured, say of pictures.
#[test]
fn pictures() {
    use media::Media;
    use request::Detail as D;
    let read = |model: &str, size: (u32, u32), detail: D, tokens: [u64; 3]| {
        assert_eq!(Media::of(model).image(Some(size), detail), tokens, "{model} {size:?}");
    };
    // Patches of 32 pixels, 1.2 tokens each; without a limit where nothing is said.
    read("openai/gpt-6.1-sol", (4_032, 3_024), D::Auto, [11_970, 14_364, 20_589]);
    read("openai/gpt-6.1-sol", (3_840, 2_160), D::Original, [8_160, 9_792, 14_036]);
    read("openai/gpt-6.1-sol", (4_032, 3_024), D::High, [2_000, 2_850, 4_300]);
    read("openai/gpt-6.1-sol", (4_032, 3_024), D::Low, [256, 308, 441]);
    read("openai/gpt-5.4", (4_032, 3_024), D::Original, [8_000, 11_400, 12_000]);
    read("openai/gpt-5.4-mini", (1_024, 1_024), D::Auto, [1_024, 1_659, 2_520]);
    // Tiles: 70 and 140, 85 and 170, 33 times as many.
    read("openai/gpt-5.1", (2_048, 4_096), D::High, [839, 975, 1_105]);
    read("openai/gpt-4o", (1_024, 1_024), D::Low, [65, 75, 85]);
    read("openai/gpt-4o-mini", (1_024, 1_024), D::High, [25_501, 25_501, 25_501]);

    let made = |model: &str, size: Option<&str>, quality: Option<&str>, tokens: [u64; 3]| {
        assert_eq!(Media::of(model).made(quality, size), tokens, "{model} {size:?} {quality:?}");
    };
    for (size, quality, tokens) in [
        ("1024x1024", "high", 7_024),
        ("1024x1024", "medium", 1_756),
        ("1536x1024", "high", 5_488),
        ("1024x1536", "low", 158),
        ("3840x2160", "high", 13_342),
    ] {
        made("openai/gpt-image-2", Some(size), Some(quality), [tokens; 3]);
    }
    made("openai/gpt-image-2", None, None, [158, 1_756, 7_024]);
    for (size, tokens) in [("0.5K", 747), ("1K", 1_120), ("2K", 1_680), ("4K", 2_520)] {
        made("google/gemini-3.1-flash-image", Some(size), None, [tokens; 3]);
    }
    made("google/gemini-2.5-flash-image", None, None, [1_290; 3]);
    made("google/gemini-4-image", Some("4K"), None, [2_000, 2_520, 2_520]);
    made("openai/gpt-image-1.5", Some("1024x1536"), Some("high"), [5_616, 6_240, 6_864]);
}

#[test]
fn past_a_cliff_more_may_cost_less() {
    let table = table(json!({
        "tiers": {"feature": "any", "minimum": "2", "ratios": [
            {"dimension": "input_tokens", "credits": "1", "per": 1},
            {"dimension": "input_tokens", "credits": "0.1", "per": 1, "when": {"prompt_tokens": {"gt": 100}}},
            {"dimension": "output_tokens", "credits": "1", "per": 1},
            {"dimension": "output_tokens", "credits": "10", "per": 1, "when": {"prompt_tokens": {"gt": 200}}},
            {"dimension": "cache_read_tokens", "credits": "0", "per": 1}]},
    }));
    let check = |usage: &[(&str, Bounds)], capped, expected: [&str; 3]| {
        let usage = usage.iter().map(|(name, b)| ((*name).to_owned(), *b)).collect();
        let priced = price_of(&table, "tiers", &usage, capped).unwrap();
        let got = [priced.min, priced.expected.credits, priced.max].map(|c| c.to_string());
        assert_eq!(got, expected, "{usage:?}");
    };
    let input = |min, expected, max| ("input_tokens", bounds(min, expected, max));
    check(&[input(10, 20, 30)], false, ["10", "20", "30"]);
    check(&[input(0, 1, 2)], false, ["0", "2", "2"]);
    // The dearest is just below the cliff, the cheapest just above it.
    check(&[input(50, 150, 200)], false, ["10.0001", "15", "100"]);
    // What is cached counts for the threshold.
    let cached = ("cache_read_tokens", bounds(100, 100, 100));
    check(&[input(50, 50, 50), cached], false, ["5", "5", "5"]);
    check(&[input(0, 90, 90), ("cache_read_tokens", bounds(0, 5, 20))], false, ["0", "90", "90"]);
    // The last one that is dear, and with a cap the expected one is near the most.
    check(&[input(50, 150, 200)], true, ["10.0001", "100", "100"]);
    // The output's tier is the prompt's.
    let output = ("output_tokens", bounds(1, 10, 10));
    check(&[input(150, 150, 250), output], false, ["16", "25", "125"]);
    check(&[input(150, 150, 250), output], true, ["16", "122.5", "125"]);
}

/// A table with tiers on the prompt and on one dimension, cheaper and dearer ones.
fn any_table() -> impl Strategy<Value = RatioTable> {
    let tiers = || proptest::collection::btree_map(1_u32..60, 0_u32..30, 0..4);
    (tiers(), tiers(), tiers(), 0_u32..30, 0..3_u32, any::<bool>()).prop_map(
        |(input, output, cached, base, minimum, inclusive)| {
            let border = if inclusive { "gte" } else { "gt" };
            let mut rows = Vec::new();
            for (dimension, tiers, on) in [
                ("input_tokens", input, "prompt_tokens"),
                ("output_tokens", output, "output_tokens"),
                ("cache_read_tokens", cached, "prompt_tokens"),
            ] {
                rows.push(json!({"dimension": dimension, "credits": base.to_string(), "per": 10}));
                for (threshold, credits) in tiers {
                    rows.push(json!({
                        "dimension": dimension, "credits": credits.to_string(), "per": 10,
                        "when": {on: {border: threshold}},
                    }));
                }
            }
            let minimum = minimum.to_string();
            table(json!({"m": {"feature": "any", "minimum": minimum, "ratios": rows}}))
        },
    )
}

proptest! {
    /// Whatever is used within the bounds costs no less than min and no more than max.
    #[test]
    fn bounds_hold(
        table in any_table(),
        sides in proptest::collection::vec((0_u64..60, 0_u64..30, 0_u64..30), 3),
        points in proptest::collection::vec((0_u64..1_000, 0_u64..1_000, 0_u64..1_000), 40),
        capped in any::<bool>(),
    ) {
        let names = ["input_tokens", "output_tokens", "cache_read_tokens"];
        let usage: BTreeMap<String, Bounds> = names
            .iter()
            .zip(&sides)
            .map(|(name, (a, b, c))| ((*name).to_owned(), bounds(*a, a + b, a + b + c)))
            .collect();
        let priced = price_of(&table, "m", &usage, capped).unwrap();
        prop_assert!(priced.min <= priced.expected.credits);
        prop_assert!(priced.expected.credits <= priced.max);
        let cost = |at: &dyn Fn(usize, &Bounds) -> u64| {
            let usage: Usage = usage
                .iter()
                .enumerate()
                .map(|(n, (name, b))| (name.clone(), Quantity::from_millis(at(n, b)).unwrap()))
                .collect();
            table.rate(&request("m", &usage, &Parameters::new())).unwrap().credits
        };
        for (a, b, c) in points {
            let at = |n: usize, b_: &Bounds| {
                let (from, to) = (b_.min().millis(), b_.max().millis());
                let parts = [a, b, c][n];
                from + (to - from) / 1_000 * parts
            };
            let credits = cost(&at);
            prop_assert!(priced.min <= credits && credits <= priced.max, "{credits}");
        }
    }

    /// With one dimension that varies the bounds are tight, which is tried out unit by unit; and
    /// with a cap the most is at most three times what is expected.
    #[test]
    fn bounds_are_tight(table in any_table(), from in 0_u64..60, length in 0_u64..60, cached in 0_u64..30) {
        let usage = BTreeMap::from([
            ("input_tokens".to_owned(), bounds(from, from, from + length)),
            ("cache_read_tokens".to_owned(), bounds(cached, cached, cached)),
        ]);
        let priced = price_of(&table, "m", &usage, false).unwrap();
        let capped = price_of(&table, "m", &usage, true).unwrap();
        let costs: Vec<Credits> = (from * 1_000..=(from + length) * 1_000)
            // On a border, just past it, just below it.
            .filter(|millis| matches!(millis % 1_000, 0 | 1 | 999))
            .map(|millis| {
                let usage = Usage::from([
                    ("input_tokens".to_owned(), Quantity::from_millis(millis).unwrap()),
                    ("cache_read_tokens".to_owned(), q(cached)),
                ]);
                table.rate(&request("m", &usage, &Parameters::new())).unwrap().credits
            })
            .collect();
        let (least, most) = (*costs.iter().min().unwrap(), *costs.iter().max().unwrap());
        prop_assert_eq!(priced.min, least);
        prop_assert_eq!(priced.max, most);
        prop_assert_eq!(capped.max, priced.max);
        prop_assert!(capped.max.micros() <= 3 * capped.expected.credits.micros());
    }

    /// No text has bounds out of order, and only no text has no tokens; and never far more than
    /// bytes.
    #[test]
    fn tokens_are_in_order(text in any::<String>()) {
        for model in ["gpt-5", "gpt-4", "claude-3", "claude", "gemini", "llama3", "qwen", "x"] {
            let [least, expected, most] = Family::of(model).tokens(&Profile::of(&text));
            prop_assert!(least <= expected && expected <= most);
            prop_assert_eq!(most == 0, text.is_empty());
            let bytes = text.len() as u64;
            prop_assert!(most <= bytes + bytes / 8 + 3);
        }
    }
}
