use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ratios::{Multiplier, Parameters, RatingError, RatioTable, Request, Usage};
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
        "dimensions": {"output_images": {"part_of": ["output_tokens"]}},
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
    let assumption = |(dimension, quantity): (&String, &Bounds)| Assumption {
        dimension: dimension.clone().into(),
        basis: Basis::Text,
        family: None,
        quantity: *quantity,
        unsaid: Vec::new(),
        instead_of: None,
        note: None,
    };
    let mut counted = Quantities {
        usage: bounds.clone(),
        parameters: Parameters::new(),
        unsaid: Unsaid::default(),
        assumptions: bounds.iter().map(assumption).collect(),
        swaps: Vec::new(),
        is_capped: capped,
        is_unbounded: false,
    };
    let request = request(model, &usage, &parameters);
    let priced = counted.price(table, &request)?;
    // What the assumptions expect is what the expected credits are of.
    let expected = counted.usage.iter().map(|(name, b)| (name.clone(), b.expected())).collect();
    let rated = table.rate(&Request { usage: &expected, ..request })?;
    assert_eq!(rated.credits, priced.expected.credits);
    assert_eq!(priced.is_raised, counted.assumptions.iter().any(|a| a.instead_of.is_some()));
    Ok(priced)
}

fn request<'a>(model: &'a str, usage: &'a Usage, parameters: &'a Parameters) -> Request<'a> {
    let at = Timestamp::from_millis(1_795_000_000_000).unwrap();
    Request { model, usage, parameters, at, multiplier: Multiplier::ONE }
}

/// A model that asks a credit for each unit of these.
fn priced(dimensions: &[&str]) -> Value {
    let row = |name| json!({"dimension": name, "credits": "1", "per": 1});
    json!({"feature": "any", "ratios": dimensions.iter().map(row).collect::<Vec<_>>()})
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
        "openai/gpt-6": priced(&["input_tokens", "input_image_tokens", "output_tokens"]),
        "openai/gpt-apart": {"feature": "any", "ratios": [
            {"dimension": "input_tokens", "credits": "1", "per": 1},
            {"dimension": "output_reasoning_tokens", "credits": "2", "per": 1},
            {"dimension": "output_tokens", "credits": "1", "per": 1}]},
        "openai/embed": priced(&["input_tokens"]),
        "x/image": priced(&["output_images"]),
        "openai/gpt-image": priced(&["input_tokens", "output_image_tokens"]),
        "x/pixels": priced(&["output_pixels"]),
        "x/speech": priced(&["input_characters"]),
        "google/gemini-tts": priced(&["input_tokens", "output_audio_tokens"]),
        "openai/gpt-voice": priced(&["input_tokens", "output_tokens", "output_audio_tokens"]),
        "x/search": priced(&["input_tokens", "requests"]),
        "google/gemini-3.1-flash-image": {"feature": "any", "ratios": [
            {"dimension": "input_tokens", "credits": "1", "per": 1},
            {"dimension": "output_tokens", "credits": "1", "per": 1},
            {"dimension": "output_image_tokens", "credits": "20", "per": 1}]},
        "x/per-picture": priced(&["input_tokens", "output_images"]),
        "x/lyria": priced(&["input_tokens", "output_audio_seconds"]),
        "x/sound": priced(&["output_audio_seconds"]),
        "x/letters": priced(&["input_tokens", "output_characters"]),
        "x/find": {"feature": "any", "ratios": [
            {"dimension": "queries", "credits": "1", "per": 1},
            {"dimension": "queries", "credits": "5", "per": 1, "when": {"results": {"gt": 25}}}]},
        "google/gemini-edit": {"feature": "any", "ratios": [
            {"dimension": "input_tokens", "credits": "1", "per": 1},
            {"dimension": "input_images", "credits": "9", "per": 1},
            {"dimension": "output_tokens", "credits": "1", "per": 1}]},
        "x/edit": {"feature": "any", "ratios": [
            {"dimension": "input_images", "credits": "9", "per": 1},
            {"dimension": "output_images", "credits": "1", "per": 1}]},
        "openai/gpt-hear": priced(&["audio_seconds", "input_audio_tokens", "output_tokens", "output_image_tokens", "output_audio_tokens"]),
        "openai/gpt-transcribe": priced(&["audio_seconds", "input_audio_tokens", "output_tokens"]),
        "openai/gpt-audio": priced(&["input_audio_tokens", "output_tokens"]),
        "openai/old-tts": priced(&["input_tokens", "output_tokens"]),
        "x/rerank": priced(&["queries"]),
        "x/clips": priced(&["input_tokens", "video_seconds"]),
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
            sums.entry(dimension.into_owned())
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
    // An answer that is spoken: by a limit, by what is said, by default or what the text comes to.
    let [g, h, i] = Family::of("gemini").tokens(&Profile::of("Hello there"));
    for (asked, output) in [
        (words(None, None, Some(100)), bounds(1, 100, 100)),
        (words(Some(bounds(10, 20, 30)), None, None), bounds(10, 20, 30)),
        (words(None, Some(known(100)), None), bounds(384, 1_000, 3_825)),
        (text(), bounds(1, 500, 2_000)),
    ] {
        check(
            "google/gemini-tts",
            asked,
            &[("input_tokens", bounds(g, h, i)), ("output_audio_tokens", output)],
        );
    }
    let long = Description { texts: vec![Profile::of(&"a".repeat(9_000))], ..text() };
    let counted = long.quantities(table.model("google/gemini-tts").unwrap()).unwrap();
    assert_eq!(counted.usage["output_audio_tokens"], bounds(1, 15_000, 38_250));
    assert!(counted.is_unbounded && counted.assumptions[1].basis == Basis::Default);
    // A model that does both may speak all of it.
    check(
        "openai/gpt-voice",
        words(None, None, Some(900)),
        &[
            ("input_tokens", input),
            ("output_tokens", bounds(1, 500, 900)),
            ("output_audio_tokens", bounds(0, 500, 900)),
        ],
    );
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
    // A model without output takes the same text.
    check("openai/embed", text(), &[("input_tokens", bounds(a, b, c))]);
    // Of a text alone a model makes what it makes, and nothing limits how many or how long.
    let [g, h, i] = Family::of("gemini").tokens(&Profile::of("Hello there"));
    let message = ("input_tokens", bounds(g + 1, h + 7, i + 18));
    let input = ("input_tokens", bounds(a, b, c));
    let picture = ("output_image_tokens", bounds(0, 1_120, 1_120));
    let flash = "google/gemini-3.1-flash-image";
    for (model, asked, made) in [
        ("x/image", text(), vec![("output_images", bounds(0, 1, 1))]),
        ("x/pixels", text(), vec![("output_pixels", bounds(0, 1_048_576, 4_194_304))]),
        ("x/per-picture", text(), vec![input, ("output_images", bounds(0, 1, 1))]),
        (
            flash,
            words(None, None, Some(100)),
            vec![message, ("output_tokens", bounds(1, 100, 100)), picture],
        ),
        (
            flash,
            words(Some(bounds(1, 2, 3)), None, None),
            vec![
                message,
                ("output_tokens", bounds(1, 2, 3)),
                ("output_image_tokens", bounds(0, 0, 1_120)),
            ],
        ),
        (
            "x/lyria",
            words(None, None, Some(100)),
            vec![input, ("output_audio_seconds", bounds(0, 20, 80))],
        ),
        ("x/sound", text(), vec![("output_audio_seconds", bounds(0, 20, 80))]),
        ("x/letters", text(), vec![input, ("output_characters", bounds(1, 2_500, 10_000))]),
        ("x/clips", text(), vec![input]),
    ] {
        check(model, asked.clone(), &made);
        let counted = asked.quantities(table.model(model).unwrap()).unwrap();
        assert!(counted.is_unbounded, "{model}");
        let noted = counted.assumptions.iter().any(|a| a.note.is_some());
        assert_eq!(noted, !matches!(model, "x/letters" | "x/clips"), "{model}");
    }
    let long = Description { texts: vec![Profile::of(&"a".repeat(9_000))], ..text() };
    let counted = long.quantities(table.model("x/sound").unwrap()).unwrap();
    assert_eq!(counted.usage["output_audio_seconds"], bounds(0, 600, 1_125));
    // How many are asked for are as many as are made.
    let counted = images(2, None, None).quantities(table.model(flash).unwrap()).unwrap();
    assert_eq!(counted.usage["output_image_tokens"], bounds(2_240, 2_240, 2_240));
    // ... but it may write as well.
    assert_eq!(counted.usage["output_tokens"], bounds(0, 0, 2_000));
    assert!(counted.is_unbounded);
    let output = Output { max_tokens: Some(100), ..Output::default() };
    let capped = Description { output, ..images(2, None, None) };
    let counted = capped.quantities(table.model(flash).unwrap()).unwrap();
    assert_eq!(counted.usage["output_tokens"], bounds(0, 34, 100));
    assert!(!counted.is_unbounded && counted.is_capped);
    // What is heard is written down; a model that may do more with it may write more.
    let heard = |max_tokens| Description {
        audio_seconds: Some(known(10)),
        output: Output { max_tokens, ..Output::default() },
        ..Description::default()
    };
    let sound = ("input_audio_tokens", bounds(90, 100, 120));
    for (model, cap, written, unbounded) in [
        ("openai/gpt-transcribe", None, bounds(0, 40, 100), false),
        ("openai/gpt-transcribe", Some(50), bounds(0, 40, 50), false),
        ("openai/gpt-audio", None, bounds(0, 40, 2_000), true),
        ("openai/gpt-audio", Some(300), bounds(0, 100, 300), false),
    ] {
        check(model, heard(cap), &[sound, ("output_tokens", written)]);
        let counted = heard(cap).quantities(table.model(model).unwrap()).unwrap();
        assert_eq!(counted.is_unbounded, unbounded, "{model} {cap:?}");
    }
    // ... and speak, or draw.
    check(
        "openai/gpt-hear",
        heard(Some(300)),
        &[
            sound,
            ("output_tokens", bounds(0, 100, 300)),
            ("output_audio_tokens", bounds(0, 100, 300)),
            ("output_image_tokens", bounds(0, 0, 14_048)),
        ],
    );
    // Pictures that are read count tokens where an answer does.
    let read = |count| Description {
        input_images: vec![Image { count, size: None, detail: Detail::Auto }],
        output: Output { tokens: Some(bounds(1, 2, 3)), ..Output::default() },
        images: Some(Images { count: 1, size: None, quality: None }),
        ..Description::default()
    };
    let counted = read(2).quantities(table.model("google/gemini-edit").unwrap()).unwrap();
    assert!(counted.usage["input_tokens"].min() < q(200));
    let counted = read(2).quantities(table.model("x/edit").unwrap()).unwrap();
    assert_eq!(counted.usage["input_images"], known(2));
    // What a price depends on, and nobody can know before.
    let counted = text().quantities(table.model("x/find").unwrap()).unwrap();
    assert!(counted.is_unbounded);
    // Documents are ranked a hundred a query, and may be as many as there are tokens.
    check("x/rerank", text(), &[("queries", known(1))]);
    let documents = Description { texts: vec![Profile::of(&"A fox. ".repeat(150))], ..text() };
    check("x/rerank", documents, &[("queries", bounds(1, 1, 7))]);
    // A model that can't speak has no price for it.
    check("openai/embed", speech(), &[("input_characters", known(5))]);
    let [g, h, i] = Family::of("openai/old-tts").tokens(&Profile::of("Hello"));
    check(
        "openai/old-tts",
        speech(),
        &[("input_tokens", bounds(g, h, i)), ("output_tokens", bounds(4, 7, 15))],
    );
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
    // A limit, and what is said, are of the sound.
    for (tokens, max_tokens, output) in
        [(None, Some(8), bounds(5, 8, 8)), (Some(bounds(1, 2, 3)), None, bounds(1, 2, 3))]
    {
        let asked =
            Description { output: Output { tokens, max_tokens, ..Output::default() }, ..speech() };
        check(
            "google/gemini-tts",
            asked,
            &[("input_tokens", bounds(g, h, i)), ("output_audio_tokens", output)],
        );
    }
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

/// Tools as requests name them, on a model that prices some: uses and other quantities but those of
/// text, whether nothing bounds them, what they say that prices depend on.
#[test]
fn tools_of_the_provider() {
    let with_text =
        |dimensions: &[&str]| priced(&[&["input_tokens", "output_tokens"], dimensions].concat());
    let table = table(json!({
        "none": with_text(&[]),
        "claude": with_text(&["web_searches", "code_executions", "telescope_calls"]),
        "gpt": with_text(&["web_searches", "file_searches", "code_sessions",
            "image_gen_output_image_tokens", "image_gen_input_tokens"]),
        "gemini": with_text(&["web_searches", "maps_searches", "input_tool_tokens"]),
        "grok": with_text(&["web_searches", "social_searches", "file_searches", "code_executions"]),
        "sonar-pro": with_text(&["web_searches"]),
        "gpt-4o-search-preview": with_text(&["web_searches"]),
        "gpt-5-search-api": with_text(&["web_searches"]),
        "calls": with_text(&["mcp_calls", "advisor_calls"]),
        "answers": priced(&["output_tokens"]),
    }));
    let check = |model: &str, tools: &[Value], expected: &str| {
        let asked = Description {
            characters: Some(Bounds::known(q(0))),
            output: Output { tokens: Some(bounds(1, 2, 3)), ..Output::default() },
            server_tools: tools.iter().flat_map(ServerTool::named_in).collect(),
            ..Description::default()
        };
        let counted = asked.quantities(table.model(model).unwrap()).unwrap();
        let of_tools = counted.assumptions.iter().filter_map(|assumption| {
            let Assumption { dimension, quantity, basis, note, .. } = assumption;
            matches!(basis, Basis::ToolUses | Basis::ToolResults | Basis::Advisor).then(|| {
                let [min, likely, max] = [quantity.min(), quantity.expected(), quantity.max()];
                let noted = match basis {
                    Basis::Advisor => " of an advisor",
                    Basis::ToolUses if max == Quantity::ZERO => " without a price",
                    _ => "",
                };
                assert_eq!(note.is_some(), !noted.is_empty());
                format!("{dimension} {min} {likely} {max}{noted}")
            })
        });
        let unbounded = counted.is_unbounded.then(|| "unbounded".to_owned());
        let parameters = counted.parameters.iter().map(|(name, value)| format!("{name}={value}"));
        let got: Vec<_> = of_tools.chain(unbounded).chain(parameters).collect();
        assert_eq!(got.join(", "), expected, "{model} {tools:?}");
    };
    let typed = |kind: &str| json!({"type": kind});
    // With a limit the uses are within it; what they bring is not limited.
    let search = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 3});
    let found = "input_tokens 0 10000 75000, unbounded";
    check("claude", std::slice::from_ref(&search), &format!("web_searches 0 1 3, {found}"));
    // What must be billed and has no price is counted, and so refused; what may be is noted.
    check("none", &[search], &format!("web_searches 0 1 3, {found}"));
    check(
        "none",
        &[typed("code_interpreter")],
        "code_executions 0 0 0 without a price, input_tokens 0 1000 25000, unbounded",
    );
    let five = "input_tokens 0 20000 125000, unbounded";
    for (model, kind, uses, more) in [
        ("claude", "web_search_20260209", "web_searches", ""),
        ("gpt", "web_search", "web_searches", ""),
        ("gpt", "web_search_2025_08_26", "web_searches", ""),
        ("gpt", "web_search_preview", "web_searches", ", web_search_tool=web_search_preview"),
        (
            "gpt",
            "web_search_preview_2025_03_11",
            "web_searches",
            ", web_search_tool=web_search_preview",
        ),
        ("grok", "x_search", "social_searches", ""),
        ("gpt", "openrouter:web_search", "web_searches", ""),
    ] {
        check(model, &[typed(kind)], &format!("{uses} 0 2 5, {five}{more}"));
    }
    let chunks = "input_tokens 0 16000 80000, unbounded";
    let printed = "input_tokens 0 1000 25000, unbounded";
    check("gpt", &[typed("file_search")], &format!("file_searches 0 2 5, {chunks}"));
    check("grok", &[typed("collections_search")], &format!("file_searches 0 2 5, {chunks}"));
    check(
        "claude",
        &[typed("code_execution_20260120")],
        &format!("code_executions 0 2 5, {printed}"),
    );
    check("grok", &[typed("code_interpreter")], &format!("code_executions 0 2 5, {printed}"));
    // A container is one, however often code runs in it.
    for (container, said) in [
        (json!({"type": "auto"}), ""),
        (json!({"type": "auto", "memory_limit": "1g"}), ""),
        (json!({"type": "auto", "memory_limit": "4g"}), ", memory_limit=4g"),
    ] {
        let tool = json!({"type": "code_interpreter", "container": container});
        check("gpt", &[tool], &format!("code_sessions 0 1 1, {printed}{said}"));
    }
    let hosted = json!({"type": "shell", "environment": {"type": "container_auto"}});
    check("gpt", &[hosted], &format!("code_sessions 0 1 1, {printed}"));
    check("gpt", &[json!({"type": "shell", "environment": {"type": "local"}})], "");
    // Pages that are fetched cost what they are.
    let page = json!({"type": "web_fetch_20250910", "max_uses": 2, "max_content_tokens": 9_000});
    let fetched = "page_fetches 0 0 0 without a price, input_tokens 0 5000 18000, unbounded";
    check("claude", &[page], fetched);
    // Google's search brings nothing that is billed.
    for tool in [json!({"googleSearch": {}}), json!({"google_search": {}})] {
        check("gemini", &[tool], "web_searches 0 2 5, unbounded");
    }
    let both = json!({"googleMaps": {}, "urlContext": {}, "functionDeclarations": []});
    let pages = "page_fetches 0 0 0 without a price, input_tool_tokens 0 10000 125000, unbounded";
    check("gemini", &[both], &format!("maps_searches 0 2 5, {pages}"));
    let run = "code_executions 0 0 0 without a price, input_tool_tokens 0 1000 25000, unbounded";
    check("gemini", &[json!({"codeExecution": {}})], run);
    // Pictures by another model; a tool that is not known; the caller's own.
    check(
        "gpt",
        &[json!({"type": "image_generation", "model": "gpt-image-2", "quality": "low",
            "size": "1024x1536"})],
        "image_gen_output_image_tokens 0 316 790, image_gen_input_tokens 0 400 20000, unbounded",
    );
    check("claude", &[typed("telescope_20270101")], "telescope_calls 0 2 5, unbounded");
    // Servers of others: the definitions of their tools, and what those answer.
    let remote = "input_tokens 0 9000 485000, unbounded";
    let (url, label) = ("https://example.com/mcp", "docs");
    for (model, tool) in [
        ("gpt", json!({"type": "mcp", "server_label": label, "server_url": url})),
        ("gpt", json!({"type": "mcp", "server_label": label, "connector_id": "connector_gmail"})),
        ("grok", json!({"type": "mcp", "server_label": label, "server_url": url})),
        ("none", json!({"type": "mcp", "server_label": label, "server_url": url})),
        ("none", json!({"type": "mcp_server", "name": label, "url": url})),
        ("none", json!({"type": "connector", "connector_id": label})),
        ("claude", json!({"type": "mcp_toolset", "mcp_server_name": label})),
    ] {
        check(model, &[tool], remote);
    }
    let two = json!({"mcpServers": [{"name": label}, {"name": "more"}]});
    let twice = "input_tool_tokens 0 9000 485000, input_tool_tokens 0 9000 485000, unbounded";
    check("gemini", &[two], twice);
    let once = json!({"type": "mcp", "server_url": url, "max_uses": 1});
    check("calls", &[once], "mcp_calls 0 1 1, input_tokens 0 6500 145000, unbounded");
    let named = [json!({"type": "mcp_toolset", "mcp_server_name": label})];
    let servers = [json!({"type": "url", "name": label}), json!({"type": "url", "name": "more"})];
    assert_eq!(ServerTool::of_mcp_servers(&servers, &named).len(), 1);
    assert_eq!(ServerTool::of_mcp_servers(&servers, &[]).len(), 2);
    // Another model's advice is read by this one; what it costs is not foreseen.
    let advisor = json!({"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5",
        "max_uses": 3, "max_tokens": 2_048});
    let advice = "input_tokens 0 700 6144 of an advisor, unbounded";
    check("claude", std::slice::from_ref(&advisor), advice);
    check("calls", std::slice::from_ref(&advisor), &format!("advisor_calls 0 1 3, {advice}"));
    check("answers", &[advisor], "advisor_calls 0 0 0 of an advisor, unbounded");
    for tool in [
        json!({"name": "mcp", "description": "Mine.", "input_schema": {"type": "object"}}),
        json!({"type": "function", "name": "advisor", "parameters": {}}),
        json!({"name": "web_search", "description": "Mine.", "input_schema": {"type": "object"}}),
        json!({"type": "function", "name": "web_search", "parameters": {}}),
        json!({"type": "custom", "name": "code_execution"}),
        json!({"toolSpec": {"name": "nova_grounding"}}),
        json!({"type": 5}),
        json!("web_search"),
    ] {
        check("claude", &[tool], "");
    }
    let system = json!({"systemTool": {"name": "nova_grounding"}});
    check("claude", &[system], &format!("web_searches 0 2 5, {five}"));
    // Two of a kind add up; what they say differently is not said.
    let sized = |size: &str| json!({"type": "web_search", "search_context_size": size});
    let twice = "web_searches 0 2 5, input_tokens 0 20000 125000, web_searches 0 2 5, \
                 input_tokens 0 20000 125000, unbounded";
    check("gpt", &[sized("low"), sized("low")], &format!("{twice}, search_context_size=low"));
    check("gpt", &[sized("low"), sized("high")], twice);
    // Models that always search need no tool.
    check("sonar-pro", &[], "web_searches 0 1 5, unbounded");
    check("sonar-pro", &[sized("low")], "web_searches 0 1 5, unbounded, search_context_size=low");
    check("gpt-4o-search-preview", &[], "web_searches 0 1 1");
    let found = "web_searches 0 1 1, input_tokens 0 10000 25000, unbounded";
    check("gpt-5-search-api", &[], found);
    // The prompt may be read again with every use.
    let asked = Description {
        input_pages: Some(bounds(1, 1, 1)),
        output: Output { tokens: Some(bounds(1, 2, 3)), ..Output::default() },
        server_tools: ServerTool::named_in(&json!({"type": "web_search", "max_uses": 1})),
        ..Description::default()
    };
    let counted = asked.quantities(table.model("claude").unwrap()).unwrap();
    assert_eq!(counted.usage["input_tokens"], bounds(200, 13_000, 8_000 + 25_000 + 8_000));
}

/// Credits of pictures, video or a search, by what is said: least, expected, most; and what is not
/// said.
#[test]
fn what_is_not_said_may_be_anything() {
    let row = |dimension: &str, credits: u32, when: Value| {
        let mut row = json!({"dimension": dimension, "credits": credits.to_string(), "per": 1});
        if when != Value::Null {
            row["when"] = when;
        }
        row
    };
    let pictures = |credits, when| row("output_images", credits, when);
    let batch = |mut when: Value| {
        when["service_class"] = "batch".into();
        when
    };
    let table = table(json!({
        "pictures": {"feature": "any", "ratios": [
            pictures(50, Value::Null),
            pictures(5, batch(json!({}))),
            pictures(20, json!({"size": "small"})),
            pictures(2, batch(json!({"size": "small"}))),
            pictures(70, json!({"size": "large"})),
            pictures(7, batch(json!({"size": "large"}))),
            pictures(90, json!({"size": "large", "quality": "high"})),
            pictures(9, batch(json!({"size": "large", "quality": "high"}))),
            pictures(30, json!({"size": "small", "quality": "high"})),
            pictures(3, batch(json!({"size": "small", "quality": "high"})))]},
        "fees": {"feature": "any", "ratios": [
            pictures(10, Value::Null),
            pictures(20, json!({"size": "large"})),
            row("requests", 1, Value::Null),
            row("requests", 5, json!({"size": "small"})),
            row("requests", 3, json!({"hurry": "very"}))  ,
            row("requests", 7, json!({"hurry": "very", "size": "small"}))]},
        "video": {"feature": "any", "ratios": [
            row("video_seconds", 10, Value::Null),
            row("video_seconds", 8, json!({"resolution": "720p"})),
            row("video_seconds", 30, json!({"resolution": "4k"})),
            row("video_seconds", 4, json!({"speed": "fast"})),
            row("video_seconds", 3, json!({"speed": "fast", "resolution": "720p"})),
            row("video_seconds", 5, json!({"speed": "fast", "resolution": "4k"}))]},
        "whole": {"feature": "any", "ratios": [
            row("input_tokens", 0, Value::Null),
            row("output_tokens", 10, Value::Null),
            row("output_tokens", 40, json!({"quality": "high"}))]},
        "search": {"feature": "any", "ratios": [
            row("input_tokens", 0, Value::Null),
            row("output_tokens", 0, Value::Null),
            row("requests", 0, Value::Null),
            row("requests", 35, json!({"grounding": "search"})),
            row("requests", 99, json!({"grounding": "maps+search"})),
            row("maps_searches", 0, Value::Null),
            row("web_searches", 10, Value::Null),
            row("web_searches", 30, json!({"web_search_tool": "web_search_preview"})),
            row("code_sessions", 3, Value::Null),
            row("code_sessions", 100, json!({"memory_limit": "64g"})),
            row("file_searches", 1, Value::Null),
            row("file_searches", 2, json!({"search_context_size": "high"}))]},
        "qualities": {"feature": "any", "ratios": [
            pictures(80, json!({"quality": "high"})),
            pictures(10, json!({"quality": "low"})),
            pictures(20, json!({"quality": "medium"}))]},
        "kinds": {"feature": "any", "ratios": [
            pictures(10, json!({"quality": "low", "size": "small"})),
            pictures(30, json!({"quality": "high", "size": "large"})),
            row("requests", 5, json!({"size": "small"})),
            row("requests", 1, json!({"size": "large"}))]},
        "classes": {"feature": "any", "ratios": [
            pictures(8, json!({"service_class": "batch"}))]},
        "resolutions": {"feature": "any", "ratios": [
            row("video_seconds", 9, json!({"resolution": "720p"})),
            row("video_seconds", 30, json!({"resolution": "4k"}))]},
    }));
    let images = || {
        let images = Images { count: 2, size: None, quality: None };
        Description { images: Some(images), ..Description::default() }
    };
    let video = || {
        let video = Video { seconds: bounds(1, 2, 3), count: 1, resolution: None };
        Description { video: Some(video), ..Description::default() }
    };
    let tool = |tool: Value| Description {
        characters: Some(Bounds::known(q(0))),
        output: Output { tokens: Some(Bounds::known(q(0))), ..Output::default() },
        server_tools: ServerTool::named_in(&tool),
        ..Description::default()
    };
    let check = |model: &str, asked: &Description, said: &[(&str, &str)], expected: &str| {
        let counted = asked.quantities(table.model(model).unwrap()).unwrap();
        let mut parameters = counted.parameters.clone();
        parameters.extend(said.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        let usage = Usage::new();
        let request = request(model, &usage, &parameters);
        let priced = match price(&table, &request, &counted.usage, &counted.unsaid) {
            Ok(priced) => priced,
            Err(error) => {
                let unpriced =
                    matches!(error, PriceError::Rating(RatingError::UnpricedDimension { .. }));
                assert!(unpriced && expected == "refused", "{model} {said:?}: {error}");
                return;
            }
        };
        let credits = [priced.min, priced.expected.credits, priced.max].map(|c| c.to_string());
        let unsaid = priced.unsaid.iter().map(|(name, of)| format!("{name}: {}", of.join(" ")));
        let got: Vec<_> = std::iter::once(credits.join(" ")).chain(unsaid).collect();
        assert_eq!(got.join("; "), expected, "{model} {said:?} {asked:?}");
    };
    let size = |value| ("size", value);
    let class = ("service_class", "batch");
    check("pictures", &images(), &[], "40 100 180; output_images: quality size");
    let left_to_it = Some("auto".to_owned());
    let auto = Images { count: 2, size: left_to_it.clone(), quality: left_to_it };
    let auto = Description { images: Some(auto), ..Description::default() };
    check("pictures", &auto, &[], "40 100 180; output_images: quality size");
    check("pictures", &images(), &[size("large")], "140 140 180; output_images: quality");
    check("pictures", &images(), &[size("small"), ("quality", "high")], "60 60 60");
    check("pictures", &images(), &[size("odd")], "100 100 100");
    check("pictures", &images(), &[("quality", "high")], "60 100 180; output_images: size");
    // Nobody gets a batch's price without asking for it, and then gets it for every size.
    check("pictures", &images(), &[class], "4 10 18; output_images: quality size");
    // A picture is not large for one dimension and small for another.
    check("fees", &images(), &[], "21 21 43; output_images: size; requests: hurry size");
    check("fees", &images(), &[size("small")], "25 25 27; requests: hurry");
    check("video", &video(), &[], "8 20 90; video_seconds: resolution");
    check("video", &video(), &[("resolution", "4k")], "30 60 90");
    check("video", &video(), &[("speed", "fast")], "3 8 15; video_seconds: resolution");
    // Where nothing has a price but with something that is not said, it may be any of that.
    check("qualities", &images(), &[], "20 40 160; output_images: quality");
    check("qualities", &images(), &[("quality", "medium")], "40 40 40");
    check("qualities", &images(), &[("quality", "odd")], "refused");
    check("kinds", &images(), &[], "25 61 61; output_images: quality size; requests: size");
    check("kinds", &images(), &[size("small")], "25 25 25; output_images: quality");
    check("kinds", &images(), &[size("odd")], "refused");
    check("classes", &images(), &[], "refused");
    check("classes", &images(), &[class], "16 16 16");
    check("resolutions", &video(), &[], "9 60 90; video_seconds: resolution");
    let text = Description { texts: vec![Profile::of("A fox")], ..Description::default() };
    check("qualities", &text, &[], "0 20 80; output_images: quality");
    // The prices of what a picture counts as.
    let both = "20 20 80080; output_images: quality; output_tokens: quality";
    check("whole", &images(), &[], both);
    // What a request says of a tool is known: by which it searches, and the memory it asks for.
    check("search", &tool(json!({})), &[], "0 0 0");
    check("search", &tool(json!({"type": "web_search"})), &[], "0 20 50");
    check("search", &tool(json!({"type": "web_search_preview"})), &[], "0 60 150");
    let grounded = tool(json!({"google_search": {}}));
    check("search", &grounded, &[], "0 20 85; requests: grounding");
    let grounded = tool(json!({"google_search": {}, "google_maps": {}}));
    check("search", &grounded, &[], "0 20 149; requests: grounding");
    let code = |container: Value| tool(json!({"type": "code_interpreter", "container": container}));
    check("search", &code(json!({"type": "auto"})), &[], "0 3 3");
    check("search", &code(json!({"type": "auto", "memory_limit": "64g"})), &[], "0 100 100");
    check("search", &code(json!("cntr_1")), &[], "0 3 100; code_sessions: memory_limit");
    let files = tool(json!({"type": "file_search"}));
    check("search", &files, &[], "0 2 10; file_searches: search_context_size");
}

#[test]
fn what_is_not_said_has_a_limit() {
    let parameters = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let rows: Vec<Value> = parameters
        .iter()
        .flat_map(|name| {
            let dimension = format!("part_{name}");
            [json!({}), json!({"when": {*name: "x"}})].map(|mut row| {
                row["dimension"] = json!(dimension);
                row["credits"] = json!("1");
                row["per"] = json!(1);
                row
            })
        })
        .collect();
    let table = table(json!({"m": {"feature": "any", "ratios": rows}}));
    let (usage, said) = (Usage::new(), Parameters::new());
    for (count, fits) in [(8, true), (9, false)] {
        let names = parameters[..count].iter().map(|name| format!("part_{name}"));
        let bounds = names.clone().map(|name| (name, bounds(1, 1, 1))).collect();
        let unsaid = Unsaid { dimensions: names.collect(), ..Unsaid::default() };
        let priced = price(&table, &request("m", &usage, &said), &bounds, &unsaid);
        match priced {
            Ok(_) => assert!(fits),
            Err(error) => {
                assert!(!fits);
                assert_eq!(error, PriceError::TooMuchUnsaid { names: parameters.join(", ") });
            }
        }
    }
}

/// Prices by date and time of day: what may be done until then costs what it does at one of them.
#[test]
fn prices_that_change_meanwhile() {
    let row = |credits: &str, when: Value| json!({"dimension": "output_tokens", "credits": credits, "per": 1, "when": when});
    let by_night = json!({"feature": "any", "ratios": [
        {"dimension": "output_tokens", "credits": "2", "per": 1},
        row("1", json!({"time_of_day": {"from": "01:00", "until": "04:00"}})),
        row("4", json!({"time_of_day": {"from": "04:00", "until": "05:00"}})),
        row("9", json!({"weekdays": ["sun"]})),
        row("9", json!({"weekdays": ["sun"], "time_of_day": {"from": "01:00", "until": "04:00"}})),
        row("9", json!({"weekdays": ["sun"], "time_of_day": {"from": "04:00", "until": "05:00"}})),
    ]});
    let dated = json!({"feature": "any", "ratios": [
        row("2", json!({"until": "2026-11-20T12:00:00Z"})),
        row("7", json!({"from": "2026-11-20T12:00:00Z", "until": "2026-11-20T13:00:00Z"})),
    ]});
    let table = table(json!({"night": by_night, "dated": dated}));
    let check = |model, at: &str, until: &str, expected: &str| {
        let instant = |text: &str| text.parse::<Timestamp>().unwrap();
        let (usage, said) = (Usage::new(), Parameters::new());
        let request = Request { at: instant(at), ..request(model, &usage, &said) };
        let of = |bounds: Bounds| {
            let bounds = BTreeMap::from([("output_tokens".to_owned(), bounds)]);
            price(&table, &request, &bounds, &Unsaid::within(instant(until))).unwrap()
        };
        let known = of(bounds(10, 10, 10));
        let changes = known.changes_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let told = format!("{} {} {} {changes}", known.min, known.expected.credits, known.max);
        assert_eq!(told, expected, "{model} {at} {until}");
        let wide = of(bounds(5, 10, 20));
        assert_eq!(wide.min.micros() * 2, known.min.micros(), "{model} {at} {until}");
        assert_eq!(wide.max.micros(), known.max.micros() * 2, "{model} {at} {until}");
    };
    for (at, until, expected) in [
        ("2026-11-20T00:58:00Z", "2026-11-20T00:59:59.999Z", "20 20 20 -"),
        ("2026-11-20T00:58:00Z", "2026-11-20T01:00:00Z", "10 20 20 2026-11-20T01:00:00Z"),
        ("2026-11-20T01:00:00Z", "2026-11-20T03:59:00Z", "10 10 10 -"),
        ("2026-11-20T03:00:00Z", "2026-11-20T04:30:00Z", "10 10 40 2026-11-20T04:00:00Z"),
        // A whole day is every price, and begins by the next change.
        ("2026-11-20T04:59:59.999Z", "2026-11-21T04:30:00Z", "10 40 40 2026-11-20T05:00:00Z"),
        ("2026-11-21T23:50:00Z", "2026-11-21T23:59:00Z", "20 20 20 -"),
        ("2026-11-21T23:50:00Z", "2026-11-22T00:05:00Z", "20 20 90 2026-11-22T00:00:00Z"),
    ] {
        check("night", at, until, expected);
    }
    for (at, until, expected) in [
        ("2026-11-20T11:59:00Z", "2026-11-20T11:59:59Z", "20 20 20 -"),
        ("2026-11-20T11:59:00Z", "2026-11-20T12:14:00Z", "20 20 70 2026-11-20T12:00:00Z"),
        // By then it is sold no more: what it costs before is all it can cost.
        ("2026-11-20T12:59:00Z", "2026-11-20T13:14:00Z", "70 70 70 2026-11-20T13:00:00Z"),
    ] {
        check("dated", at, until, expected);
    }
}

/// What a limit of the output raises of what is expected: nothing where the most is no limit, as
/// little as it must where it is, and the assumptions say what.
#[test]
fn what_a_limit_of_the_output_raises() {
    let table = table(json!({
        "m": {"feature": "any", "ratios": [
            {"dimension": "input_tokens", "credits": "0.5", "per": 1},
            {"dimension": "output_tokens", "credits": "1", "per": 1},
            {"dimension": "web_searches", "credits": "900", "per": 1},
            {"dimension": "web_searches", "credits": "9000", "per": 1,
             "when": {"search_context_size": "high"}}]},
        "tiers": {"feature": "any", "ratios": [
            {"dimension": "input_tokens", "credits": "1", "per": 1},
            {"dimension": "input_tokens", "credits": "9", "per": 1, "when": {"prompt_tokens": {"gt": 3_000}}},
            {"dimension": "output_tokens", "credits": "1", "per": 1}]},
        "openai/gpt-search-preview": {"feature": "any", "ratios": [
            {"dimension": "input_tokens", "credits": "0", "per": 1},
            {"dimension": "output_tokens", "credits": "0", "per": 1},
            {"dimension": "web_searches", "credits": "1", "per": 1},
            {"dimension": "web_searches", "credits": "9", "per": 1,
             "when": {"search_context_size": "high"}}]},
    }));
    let check = |model: &str, seconds: Bounds, tool: Value, cap: u64, raised: &[Basis]| {
        let asked = Description {
            input_video_seconds: Some(seconds),
            output: Output { max_tokens: Some(cap), ..Output::default() },
            server_tools: ServerTool::named_in(&tool),
            ..Description::default()
        };
        let mut counted = asked.quantities(table.model(model).unwrap()).unwrap();
        let before = counted.clone();
        let (usage, parameters) = (Usage::new(), Parameters::new());
        let priced = counted.price(&table, &request(model, &usage, &parameters)).unwrap();
        let of: Vec<Basis> = counted
            .assumptions
            .iter()
            .filter_map(|assumption| assumption.instead_of.map(|_| assumption.basis))
            .collect();
        assert_eq!(of, raised, "{model} {seconds:?} {tool} {cap}: {:?}", counted.assumptions);
        // A tool makes it unbounded: then nothing is raised.
        let is_within = priced.max.micros() <= 3 * priced.expected.credits.micros();
        assert!(if counted.is_unbounded { !is_within } else { is_within }, "{priced:?}");
        // What is expected in all is what the assumptions expect, by the prices that are shown.
        for line in &priced.expected.lines {
            let assumptions = counted.assumptions.iter();
            let of_line = assumptions.filter(|assumption| assumption.dimension == line.dimension());
            let expected = of_line.map(|assumption| assumption.quantity.expected().millis());
            let expected: u64 = expected.sum();
            assert_eq!(expected, line.quantity().millis());
        }
        for (one, other) in counted.assumptions.iter().zip(&before.assumptions) {
            assert_eq!(
                one.instead_of.unwrap_or(one.quantity.expected()),
                other.quantity.expected()
            );
            assert_eq!(
                (one.quantity.min(), one.quantity.max()),
                (other.quantity.min(), other.quantity.max())
            );
        }
    };
    let none = json!({});
    let exactly = |n| bounds(n, n, n);
    check("m", exactly(0), none.clone(), 100, &[]);
    // 300 tokens a second are expected, and 2,000 at most: as much as the output can bear.
    check("m", exactly(1), none.clone(), 300, &[]);
    check("m", exactly(1), none.clone(), 3_000, &[Basis::MaxOutputTokens]);
    check("m", exactly(1), none.clone(), 9, &[Basis::InputVideo]);
    // A search is no output, and what it brings has no limit.
    check("m", exactly(1), json!({"type": "web_search", "max_uses": 5}), 9, &[]);
    // Past a threshold.
    check("tiers", exactly(2), none.clone(), 9, &[Basis::InputVideo]);
    // What is not said.
    check("openai/gpt-search-preview", exactly(1), none, 9, &[]);
}

/// What the providers' guides, and the calculators of those who measured, say of pictures.
#[test]
fn pictures() {
    use media::Media;
    use request::Detail as D;
    let read = |model: &str, size: (u32, u32), detail: D, tokens: [u64; 3]| {
        assert_eq!(Media::of(model).image(Some(size), detail), tokens, "{model} {size:?}");
    };
    // Up to as many tiles of 768 pixels as it has, 258 tokens each.
    for detail in [D::Auto, D::Level(request::MediaResolution::High)] {
        let [_, _, most] = Media::of("google/gemini-2.5-flash").image(Some((4_000, 3_000)), detail);
        assert_eq!(most, 24 * 258);
    }
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

    /// Whatever is not said, it costs no less than min and no more than max, and both are reached.
    #[test]
    fn what_is_not_said_is_covered(
        prices in proptest::collection::vec(proptest::option::of(0_u32..50), 24),
        said in proptest::option::of(0_usize..4),
    ) {
        const VALUES: [&str; 4] = ["p", "q", "r", "none of these"];
        let mut prices = prices.into_iter();
        let mut rows = Vec::new();
        for (dimension, first, second) in [("output_images", "a", "b"), ("requests", "b", "c")] {
            let mut add = |when: Value| {
                let Some(Some(credits)) = prices.next() else { return };
                let credits = credits.to_string();
                let row = json!({"dimension": dimension, "credits": credits, "per": 1, "when": when});
                rows.push(row);
            };
            for value in &VALUES[..3] {
                add(json!({first: value}));
                for other in &VALUES[..3] {
                    add(json!({first: value, second: other}));
                }
            }
            rows.push(json!({"dimension": dimension, "credits": "25", "per": 1}));
        }
        let table = table(json!({"m": {"feature": "any", "ratios": rows}}));
        let known = Bounds::known(q(1));
        let dimensions = ["output_images", "requests"].map(str::to_owned);
        let bounds = dimensions.clone().into_iter().map(|name| (name, known)).collect();
        let unsaid = Unsaid { dimensions: dimensions.clone().into(), ..Unsaid::default() };
        let given = said.map(|n| ("b".to_owned(), VALUES[n].to_owned())).into_iter().collect();
        let usage = Usage::new();
        let priced = price(&table, &request("m", &usage, &given), &bounds, &unsaid).unwrap();
        let usage: Usage = dimensions.into_iter().map(|name| (name, q(1))).collect();
        let mut costs = Vec::new();
        for [a, b, c] in (0..64).map(|n| [n % 4, n / 4 % 4, n / 16].map(|n| VALUES[n])) {
            let mut parameters: Parameters =
                [("a", a), ("b", b), ("c", c)].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
            parameters.extend(given.clone());
            costs.push(table.rate(&request("m", &usage, &parameters)).unwrap().credits);
        }
        prop_assert_eq!(priced.min, *costs.iter().min().unwrap());
        prop_assert_eq!(priced.max, *costs.iter().max().unwrap());
        let without = table.rate(&request("m", &usage, &given)).unwrap().credits;
        prop_assert_eq!(priced.expected.credits, without);
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

/// Credits of a prompt of 4 tokens, or 2 to 8, with 3 of output, by what the provider's cache may do:
/// least, expected, most, and what is said of it.
#[test]
fn what_a_cache_may_do() {
    let row = |(dimension, credits): &(&str, u32)| json!({"dimension": dimension, "credits": credits.to_string(), "per": 1});
    let model = |prompt: &[(&str, u32)]| {
        let mut rows: Vec<Value> = prompt.iter().map(row).collect();
        rows.push(row(&("input_tokens", 10)));
        rows.push(row(&("output_tokens", 1)));
        rows
    };
    let table = |rows: Vec<Value>, id: &str| table(json!({id: {"feature": "any", "ratios": rows}}));
    let claude = || {
        model(&[
            ("cache_read_tokens", 1),
            ("cache_write_tokens", 12),
            ("cache_write_1h_tokens", 20),
        ])
    };
    let check = |id: &str, rows: Vec<Value>, ttls: &[&str], capped: bool, expected: &str| {
        let table = table(rows, id);
        let asked = Description {
            // Nothing around it: no model that is here counts a text's tokens otherwise.
            input_pages: Some(Bounds::known(q(1))),
            cache_ttls: ttls.iter().map(|ttl| (*ttl).to_owned()).collect(),
            output: Output { tokens: Some(bounds(3, 3, 3)), ..Output::default() },
            ..Description::default()
        };
        let mut counted = asked.quantities(table.model(id).unwrap()).unwrap();
        let prompt = bounds(4, 5, 10);
        counted.assumptions[0].quantity = prompt;
        counted.usage.insert("input_tokens".to_owned(), prompt);
        counted.usage.insert("output_tokens".to_owned(), Bounds::known(q(3)));
        counted.assumptions[1].quantity = Bounds::known(q(3));
        (counted.is_capped, counted.is_unbounded) = (capped, false);
        let (usage, parameters) = (Usage::new(), Parameters::new());
        let priced = counted.price(&table, &request(id, &usage, &parameters)).unwrap();
        let credits = [priced.min, priced.expected.credits, priced.max].map(|c| c.to_string());
        assert!(!capped || priced.max.micros() <= 3 * priced.expected.credits.micros());
        let cached = counted.cached().map(|of| {
            assert!(of.note.is_some() && of.quantity.max() == q(10));
            format!("{}", of.dimension)
        });
        let got: Vec<_> = std::iter::once(credits.join(" ")).chain(cached).collect();
        assert_eq!(got.join(", "), expected, "{id} {ttls:?} {capped}");
    };
    let read = "cache_read_tokens";
    let write = "cache_write_tokens";
    // Anthropic keeps what it is asked to keep; what is kept longer is dearer.
    check("x/claude", claude(), &[], false, "43 53 103");
    check("x/claude", claude(), &[""], false, &format!("7 53 123, {read}, {write}"));
    check("x/claude", claude(), &["5m"], false, &format!("7 53 123, {read}, {write}"));
    check(
        "x/claude",
        claude(),
        &["1h"],
        false,
        &format!("7 53 203, {read}, cache_write_1h_tokens"),
    );
    let both = format!("7 53 203, {read}, {write}, cache_write_1h_tokens");
    check("x/claude", claude(), &["", "1h"], false, &both);
    // Where the output has a limit, more is expected.
    check("x/claude", claude(), &["1h"], true, &format!("7 73 203, {read}, cache_write_1h_tokens"));
    // Others do it unasked, in the usual way.
    check("x/gpt", claude(), &[], false, &format!("7 53 123, {read}, {write}"));
    check("x/gpt", model(&[(read, 1)]), &[], false, &format!("7 53 103, {read}"));
    check("x/gpt", model(&[(read, 1)]), &["1h"], false, &format!("7 53 103, {read}"));
    check("x/gpt", model(&[]), &["1h"], false, "43 53 103");
    // A read that is dearer is no least, and nothing that is free.
    check("x/gpt", model(&[(read, 11)]), &[], false, &format!("43 53 113, {read}"));
    // Far dearer than three times the prompt: it is expected to be written.
    check("x/gpt", model(&[(write, 90)]), &[], true, "43 903 903");
    // Tiers of the prompt count what is cached; a threshold on what is cached widens the bounds.
    let tier = |dimension: &str, credits: u32, on: &str| {
        let credits = credits.to_string();
        json!({"dimension": dimension, "credits": credits, "per": 1, "when": {on: {"gt": 6}}})
    };
    let mut tiers = claude();
    tiers.push(tier("input_tokens", 100, "prompt_tokens"));
    tiers.push(tier(read, 2, "prompt_tokens"));
    check("x/gpt", tiers, &[], false, &format!("7 53 1003, {read}, {write}"));
    let mut tiers = model(&[(read, 1)]);
    tiers.push(tier("output_tokens", 7, read));
    check("x/gpt", tiers, &[], false, &format!("3 53 131, {read}"));
}

proptest! {
    /// However a cache splits a prompt, it costs no less than min and no more than max; both are
    /// reached where no threshold is on what it splits.
    #[test]
    fn a_cache_stays_within_the_bounds(
        rates in proptest::collection::vec(0_u32..30, 6),
        (least, more) in (0_u64..20, 0_u64..20),
        threshold in 1_u64..40,
        on in 0_usize..3,
    ) {
        const ON: [&str; 3] = [crate::ratios::PROMPT_TOKENS, "input_tokens", "cache_read_tokens"];
        let names = ["input_tokens", "cache_read_tokens", "cache_write_tokens"];
        let rows: Vec<Value> = rates.iter().enumerate().map(|(n, rate)| {
            let mut row =
                json!({"dimension": names[n % 3], "credits": rate.to_string(), "per": 1});
            if n >= 3 {
                row["when"] = json!({ON[on]: {"gt": threshold}});
            }
            row
        }).collect();
        let table = table(json!({"m": {"feature": "any", "ratios": rows}}));
        let asked = Description { input_pages: Some(Bounds::known(q(1))), ..Description::default() };
        let mut counted = asked.quantities(table.model("m").unwrap()).unwrap();
        prop_assert_eq!(counted.swaps.len(), 2);
        let prompt = bounds(least, least, least + more);
        counted.assumptions[0].quantity = prompt;
        counted.usage.insert("input_tokens".to_owned(), prompt);
        let (usage, parameters) = (Usage::new(), Parameters::new());
        let priced = counted.price(&table, &request("m", &usage, &parameters)).unwrap();
        let mut costs = Vec::new();
        for all in least..=least + more {
            for read in 0..=all {
                for written in 0..=all - read {
                    let split = [all - read - written, read, written];
                    let usage: Usage =
                        names.iter().zip(split).map(|(name, n)| ((*name).to_owned(), q(n))).collect();
                    let cost = table.rate(&request("m", &usage, &parameters)).unwrap().credits;
                    prop_assert!(priced.min <= cost && cost <= priced.max, "{split:?}: {cost}");
                    costs.push(cost);
                }
            }
        }
        if on == 0 && more == 0 {
            prop_assert_eq!(priced.min, *costs.iter().min().unwrap());
            prop_assert_eq!(priced.max, *costs.iter().max().unwrap());
        }
    }
}

/// Tokens of 60 seconds of video, by what a model prices of it and by what is looked at.
#[test]
fn video_is_frames_and_sound() {
    let table = table(json!({
        "gemini-2.5-flash": priced(&["input_tokens", "input_audio_tokens"]),
        "gemini-3": priced(&["input_tokens"]),
        "gemini-apart": priced(&["input_tokens", "input_video_tokens", "input_audio_tokens"]),
        "gemini-seconds": priced(&["input_video_seconds", "input_audio_tokens"]),
    }));
    let check = |model: &str, frames: Option<u64>, level, expected: &[(&str, Bounds)]| {
        let asked = Description {
            input_video_seconds: Some(Bounds::known(q(60))),
            input_video_frames: frames.map(|frames| Bounds::known(q(frames))),
            media_resolution: level,
            ..Description::default()
        };
        let counted = asked.quantities(table.model(model).unwrap()).unwrap();
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(name, b)| ((*name).to_owned(), *b)).collect();
        assert_eq!(counted.usage, expected, "{model} {frames:?} {level:?}");
        let all = counted.assumptions.iter().all(|of| of.basis == Basis::InputVideo);
        assert!(all && counted.assumptions.len() == expected.len());
    };
    let sound = ("input_audio_tokens", bounds(0, 1_920, 2_040));
    let pictures = bounds(3_960, 16_080, 17_760);
    check("gemini-2.5-flash", None, None, &[("input_tokens", pictures), sound]);
    check("gemini-apart", None, None, &[("input_video_tokens", pictures), sound]);
    check("gemini-3", None, None, &[("input_tokens", bounds(3_960, 18_000, 19_800))]);
    check("gemini-seconds", None, None, &[("input_video_seconds", bounds(60, 60, 60))]);
    // 24 frames a second; a low resolution.
    let frames = bounds(95_040, 385_920, 426_240);
    check("gemini-2.5-flash", Some(1_440), None, &[("input_tokens", frames), sound]);
    let low = bounds(3_960, 4_200, 17_760);
    let level = Some(MediaResolution::Low);
    check("gemini-2.5-flash", None, level, &[("input_tokens", low), sound]);
}
