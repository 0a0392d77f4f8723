//! Estimates against what was counted: the texts of `tests/corpus`, with the tokens that real
//! tokenizers made of them, priced by the example table. Those of `held_out.jsonl` were never fitted.
//!
//! `cargo test -p uc-tests --test estimates -- --nocapture` prints the shares.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use uc_domain::estimates::{Bounds, Description, Detail, Image, Images, Output, Profile, Video};
use uc_domain::ratios::{Multiplier, Parameters, RatioTable, Request, Usage};
use uc_domain::{Credits, Quantity, Timestamp};

/// What share of the cases must lie within their bounds, in hundredths.
const SHARE: usize = 99;
/// Whose tokenizer, and a model that is estimated and charged by it.
const MODELS: [(&str, &str); 12] = [
    ("o200k", "openai/gpt-5.1"),
    ("cl100k", "openai/gpt-4-turbo"),
    ("claude-3", "anthropic/claude-sonnet-4-5"),
    ("claude-4.7", "anthropic/claude-opus-5-5"),
    ("gemini", "google/gemini-3.8-flash"),
    ("gemma3", "google/gemini-3.8-flash"),
    ("llama3", "meta/llama-3.3-70b"),
    ("mistral-v3", "mistral/mistral-large-4"),
    ("mistral-tekken", "mistral/mistral-large-4"),
    ("deepseek", "deepseek/deepseek-v4-pro"),
    ("qwen2.5", "qwen/qwen3-max"),
    ("qwen3.6", "qwen/qwen3-max"),
];

#[derive(Deserialize)]
struct Text {
    id: String,
    kind: String,
    text: String,
    tokens: BTreeMap<String, u64>,
}

/// The texts that were fitted, and those that were not.
fn corpora() -> [(&'static str, Vec<Text>); 2] {
    [
        ("fitted", include_str!("../corpus/texts.jsonl")),
        ("held out", include_str!("../corpus/held_out.jsonl")),
    ]
    .map(|(name, texts)| {
        (name, texts.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    })
}

/// The example table, with models for the tokenizers that it has none for.
fn table() -> RatioTable {
    let table: Value =
        serde_json::from_str(include_str!("../../events/ratios.example.json")).unwrap();
    let mut table = RatioTable::from_json(&table).unwrap();
    for id in ["openai/gpt-4-turbo", "meta/llama-3.3-70b", "qwen/qwen3-max"] {
        let body = json!({"feature": "text", "ratios": [
            {"dimension": "input_tokens", "credits": "1250", "per": 1_000_000},
            {"dimension": "output_tokens", "credits": "5000", "per": 1_000_000},
        ]});
        table = table.with_model(id, &body).unwrap();
    }
    table
}

fn whole(units: u64) -> Quantity {
    Quantity::from_whole(units).unwrap()
}

fn known(units: u64) -> Bounds {
    Bounds::known(whole(units))
}

struct Priced {
    min: Credits,
    expected: Credits,
    max: Credits,
    actual: Credits,
}

impl Priced {
    fn is_within(&self) -> bool {
        self.min <= self.actual && self.actual <= self.max
    }
}

/// What a description is estimated at on a model, and what its tokens then cost.
fn case(table: &RatioTable, model: &str, asked: &Description, input: u64, output: u64) -> Priced {
    let resolved = table.resolve(model).unwrap().model;
    let mut counted = asked.quantities(resolved).unwrap();
    let used = [("input_tokens", input), ("output_tokens", output)];
    let used: Usage = used
        .into_iter()
        .filter(|(name, _)| resolved.prices(name))
        .map(|(name, tokens)| (name.to_owned(), whole(tokens)))
        .collect();
    let request = Request {
        model,
        usage: &used,
        parameters: &Parameters::new(),
        at: Timestamp::from_millis(1_795_000_000_000).unwrap(),
        multiplier: Multiplier::ONE,
    };
    let actual = table.rate(&request).unwrap().credits;
    // Nothing is cached here. Bounds that reach as far as a cache may would hide what is guessed of
    // the texts; what must be in order is so with them as well.
    let with_cache = counted.clone().price(table, &request).unwrap();
    counted.swaps.clear();
    let priced = counted.price(table, &request).unwrap();
    for priced in [&with_cache, &priced] {
        let expected = priced.expected.credits;
        assert!(priced.min <= expected && expected <= priced.max, "{model} {asked:?}");
        if asked.output.max_tokens.is_some() {
            let limit = 3 * expected.micros();
            assert!(priced.max.micros() <= limit, "{model}: {} of {expected}", priced.max);
        }
    }
    assert!(with_cache.min <= priced.min && priced.max <= with_cache.max);
    let expected = priced.expected.credits;
    Priced { min: priced.min, expected, max: priced.max, actual }
}

/// The middle one of hundredths.
fn median(mut hundredths: Vec<i128>) -> i128 {
    hundredths.sort_unstable();
    hundredths[hundredths.len() / 2]
}

/// Limits of output that applications set, whatever the answer will be.
const CAPS: [u64; 5] = [64, 256, 1_024, 4_096, 16_384];
/// Tokens of reasoning before an answer.
const REASONING: [u64; 6] = [0, 192, 576, 832, 1_024, 1_250];

/// Requests as callers make them, and what came. An answer ends at the cap; nothing else in a
/// request follows from the answer but what its writer would guess of it.
#[test]
fn actual_charges_lie_within_the_bounds() {
    let table = table();
    for (name, texts) in corpora() {
        let (mut within, mut all) = (0, 0);
        let mut to_expected = Vec::new();
        for (index, prompt) in texts.iter().enumerate() {
            // The answer is some other text.
            let answer = &texts[(index * 31 + 7) % texts.len()];
            let is_language = matches!(&*answer.kind, "prose" | "latin" | "chat")
                && !answer.id.starts_with("salad/");
            let words = answer.text.split_whitespace().count() as u64;
            for (turn, (tokenizer, model)) in MODELS.into_iter().enumerate() {
                let turn = index + turn;
                let (mut input, mut output) = (prompt.tokens[tokenizer], answer.tokens[tokenizer]);
                let mut asked = Description {
                    texts: vec![Profile::of(&prompt.text)],
                    messages: 1,
                    ..Description::default()
                };
                let mut tokens_around = 7;
                let cap = CAPS[turn % CAPS.len()];
                let thought = REASONING[turn % REASONING.len()];
                asked.output = match index % 4 {
                    0 => {
                        output = (output + thought).min(cap);
                        Output { max_tokens: Some(cap), ..Output::default() }
                    }
                    // A guess by the length, to the next power of two, and of the reasoning.
                    1 => {
                        let guess = (answer.text.len() as u64 / 4).next_power_of_two();
                        let thought = REASONING[2..][turn % 4];
                        output += thought;
                        Output {
                            tokens: Some(known(guess)),
                            reasoning: Some(known(1_000)),
                            ..Output::default()
                        }
                    }
                    // So many words were asked for; fewer or more come.
                    2 if is_language && words > 0 => {
                        let words = (words * [70, 100, 140][turn % 3]).div_ceil(100);
                        Output { words: Some(known(words)), ..Output::default() }
                    }
                    // The next turn of a conversation, with a cap.
                    _ => {
                        asked.texts.push(Profile::of(&answer.text));
                        asked.messages = 2;
                        input += output;
                        output = (output + thought).min(cap);
                        tokens_around = 11;
                        Output { max_tokens: Some(cap), ..Output::default() }
                    }
                };
                let priced = case(&table, model, &asked, input + tokens_around, output);
                let ok = priced.is_within();
                if !ok {
                    println!(
                        "outside: {} -> {} on {tokenizer}: {} not in {} to {}",
                        prompt.id, answer.id, priced.actual, priced.min, priced.max
                    );
                }
                to_expected.push(priced.max.micros() * 100 / priced.expected.micros());
                all += 1;
                within += usize::from(ok);
            }
        }
        let middle = median(to_expected);
        println!("estimate coverage, {name}: {within} of {all}; most over expected {middle}%");
        assert!(within * 100 >= all * SHARE, "{name}");
        assert!(middle <= 300, "bounds that wide tell nothing");
    }
}

/// The input alone: no bound of an output hides what the texts' bounds are.
#[test]
fn tokens_of_texts_lie_within_the_bounds() {
    let table = table();
    for (name, texts) in corpora() {
        let (mut within, mut all) = (0, 0);
        let (mut widths, mut prose, mut to_expected) = (Vec::new(), Vec::new(), Vec::new());
        for text in &texts {
            for (tokenizer, model) in MODELS {
                let bounds = tokens_of(&table, model, &text.text);
                let tokens = whole(text.tokens[tokenizer]);
                all += 1;
                within += usize::from(bounds.min() <= tokens && tokens <= bounds.max());
                let of = |part: Quantity| {
                    i128::from(bounds.max().millis()) * 100 / i128::from(part.millis())
                };
                widths.push(of(bounds.min()));
                to_expected.push(of(bounds.expected()));
                if text.kind == "prose" {
                    prose.push(of(bounds.min()));
                }
            }
        }
        let (middle, of_prose) = (median(widths), median(prose));
        let to_expected = median(to_expected);
        println!("token coverage, {name}: {within} of {all}");
        println!(
            "token width, {name}: most over least {middle}% at the median, {of_prose}% in English \
             prose; most over expected {to_expected}%"
        );
        assert!(within * 100 >= all * SHARE, "{name}");
        assert!(
            middle <= 450 && of_prose <= 300 && to_expected <= 200,
            "too wide to tell anything"
        );
    }
}

/// Bounds of what a text's tokens come to on a model.
fn tokens_of(table: &RatioTable, model: &str, text: &str) -> Bounds {
    let asked = Description {
        texts: vec![Profile::of(text)],
        output: Output { tokens: Some(known(0)), ..Output::default() },
        ..Description::default()
    };
    asked.quantities(table.model(model).unwrap()).unwrap().assumptions[0].quantity
}

/// Texts that are made to be more, or less, than they look; tokens by `o200k_base`.
#[test]
fn texts_that_are_hard_to_guess() {
    let table = table();
    for (text, times, tokens) in [
        ("\u{1f602}", 200, 200),
        ("\u{2764}\u{fe0f}", 200, 200),
        ("-", 500, 8),
        ("word ", 14_000, 14_001),
        ("\u{20bb7}", 200, 800),
        ("\u{301}", 20_000, 20_000),
        ("Great job!!! \u{1f389}\u{1f389}\u{1f389}\u{1f389} \u{1f602}\u{1f602}", 10, 130),
    ] {
        let bounds = tokens_of(&table, "openai/gpt-5.1", &text.repeat(times));
        let tokens = whole(tokens);
        assert!(bounds.min() <= tokens && tokens <= bounds.max(), "{text} {times}: {bounds:?}");
    }
}

/// Text that is not shown: only its length in characters is.
#[test]
fn characters_of_latin_text() {
    let table = table();
    let latin = |text: &&Text| {
        matches!(&*text.kind, "prose" | "latin" | "markdown" | "chat" | "code")
            && text.text.len() > 100
            && !text.id.starts_with("salad/")
    };
    for (name, texts) in corpora() {
        let (mut within, mut all) = (0, 0);
        for text in texts.iter().filter(latin) {
            for (tokenizer, model) in MODELS {
                let asked = Description {
                    characters: Some(known(text.text.chars().count() as u64)),
                    output: Output { tokens: Some(known(0)), ..Output::default() },
                    ..Description::default()
                };
                all += 1;
                let priced = case(&table, model, &asked, text.tokens[tokenizer], 0);
                let ok = priced.is_within();
                if !ok {
                    println!("outside: {} on {tokenizer} by its characters", text.id);
                }
                within += usize::from(ok);
            }
        }
        println!("estimate coverage by characters alone, {name}: {within} of {all}");
        assert!(within * 100 >= all * SHARE, "{name}");
    }
}

/// What the providers' guides say that pictures, sound and video come to: "Images and vision",
/// "Image generation" and its calculator, "Vision", "Understand and count tokens".
#[test]
fn what_is_no_text_lies_within_the_bounds() {
    let table = table();
    let (mut within, mut all) = (0, 0);
    let mut check = |model: &str, asked: &Description, dimension: &str, quantity: u64| {
        let resolved = table.resolve(model).unwrap().model;
        let counted = asked.quantities(resolved).unwrap();
        let bounds = counted.usage[dimension];
        let quantity = whole(quantity);
        let ok = bounds.min() <= quantity && quantity <= bounds.max();
        if !ok {
            println!("outside: {model} {asked:?}: {quantity} not in {bounds:?}");
        }
        all += 1;
        within += usize::from(ok);
        // No number of tokens is a guess over more than two orders of magnitude.
        assert!(bounds.max().millis() <= 100 * bounds.expected().millis(), "{model} {bounds:?}");
    };
    for (model, width, height, detail, tokens) in [
        // 70 and 140 a tile of 512 pixels, after scaling to 768 on the short side.
        ("openai/gpt-5.1", 512, 512, Detail::Auto, 210),
        ("openai/gpt-5.1", 1_024, 1_024, Detail::Auto, 630),
        ("openai/gpt-5.1", 2_048, 4_096, Detail::High, 910),
        ("openai/gpt-5.1", 2_048, 4_096, Detail::Low, 70),
        // 2,833 and 5,667 a tile.
        ("openai/gpt-4o-mini", 1_024, 1_024, Detail::Auto, 25_501),
        ("openai/gpt-4o-mini", 512, 512, Detail::High, 8_500),
        ("openai/gpt-4o-mini", 512, 512, Detail::Low, 2_833),
        // Patches of 32 pixels, at most 1,536, times 1.62; or 1.2, as was billed.
        ("openai/gpt-5.4-mini", 1_024, 1_024, Detail::Auto, 1_659),
        ("openai/gpt-5.4-mini", 1_800, 2_400, Detail::High, 2_353),
        ("openai/gpt-5.4-mini", 1_600, 1_600, Detail::High, 3_000),
        // At most 2,500 where nothing is said, 10,000 as it is.
        ("openai/gpt-5.4", 1_600, 1_600, Detail::Auto, 3_000),
        ("openai/gpt-5.4", 3_840, 2_160, Detail::Original, 9_792),
        // Without a limit.
        ("openai/gpt-6.1-sol", 4_032, 3_024, Detail::Auto, 14_364),
        ("openai/gpt-6.1-sol", 3_840, 2_160, Detail::Auto, 9_792),
        ("openai/gpt-6.1-sol", 3_840, 2_160, Detail::Low, 308),
        // Width times height by 750.
        ("anthropic/claude-sonnet-4-5", 200, 200, Detail::Auto, 54),
        ("anthropic/claude-sonnet-4-5", 1_000, 1_000, Detail::Auto, 1_334),
        ("anthropic/claude-sonnet-4-5", 1_092, 1_092, Detail::Auto, 1_590),
        // 258 a picture of up to 384 pixels, or a tile of 768.
        ("google/gemini-2.5-flash", 384, 384, Detail::Auto, 258),
        ("google/gemini-2.5-flash", 960, 540, Detail::Auto, 1_548),
        // By the media resolution: 1,120 where nothing is said.
        ("google/gemini-3.8-flash", 1_024, 1_024, Detail::Auto, 1_120),
        ("google/gemini-3.8-flash", 4_000, 3_000, Detail::Auto, 1_120),
    ] {
        for size in [Some((width, height)), None] {
            let asked = Description {
                input_images: vec![Image { count: 1, size, detail }],
                ..Description::default()
            };
            check(model, &asked, "input_tokens", tokens);
        }
    }
    for (model, size, quality, tokens) in [
        ("openai/gpt-image-2", Some("1024x1024"), Some("high"), 7_024),
        ("openai/gpt-image-2", Some("1536x1024"), Some("high"), 5_488),
        ("openai/gpt-image-2", Some("1792x1024"), Some("high"), 5_063),
        ("openai/gpt-image-2", Some("3584x2048"), Some("high"), 12_329),
        ("openai/gpt-image-2", Some("1024x1024"), Some("medium"), 1_756),
        ("openai/gpt-image-2", None, None, 1_756),
        ("google/gemini-3.1-flash-image", Some("0.5K"), None, 747),
        ("google/gemini-3.1-flash-image", Some("1K"), None, 1_120),
        ("google/gemini-3.1-flash-image", Some("2K"), None, 1_680),
        ("google/gemini-3.1-flash-image", Some("4K"), None, 2_520),
        ("google/gemini-3.1-flash-image", None, None, 1_120),
    ] {
        let [size, quality] = [size, quality].map(|value| value.map(str::to_owned));
        let images = Some(Images { count: 1, size, quality });
        check(
            model,
            &Description { images, ..Description::default() },
            "output_image_tokens",
            tokens,
        );
    }
    // 32 tokens a second heard, 25 spoken at the pace of a reader: 150 words, or 900 characters, a
    // minute. A recording and a video are as long as they are.
    let seconds = Some(known(60));
    for (model, asked, dimension, quantity) in [
        (
            "google/gemini-3.8-flash",
            Description { input_audio_seconds: seconds, ..Description::default() },
            "input_tokens",
            1_920,
        ),
        (
            "google/gemini-3.8-flash-tts",
            Description { speech_characters: Some(known(900)), ..Description::default() },
            "output_audio_tokens",
            1_500,
        ),
        (
            "deepgram/nova-3",
            Description { audio_seconds: seconds, ..Description::default() },
            "audio_seconds",
            60,
        ),
        (
            "google/veo-3.1-fast-generate-001",
            Description {
                video: Some(Video { seconds: known(8), count: 2, resolution: None }),
                ..Description::default()
            },
            "video_seconds",
            16,
        ),
    ] {
        check(model, &asked, dimension, quantity);
    }
    println!("estimate coverage, pictures, sound and video: {within} of {all}");
    assert_eq!(within, all);
}
