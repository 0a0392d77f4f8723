//! [`Description`], a request before the fact, and what a model would count of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::media::{Media, Range, pixels};
use super::tools::{self, Uses};
use super::{Bounds, Family, Profile, ServerTool, Unsaid};
use crate::Quantity;
use crate::ratios::{Conditions, Model, PROMPT_TOKENS, Parameters, is_prompt_tokens};

/// Tokens written where a request for text says nothing of its output.
const DEFAULT_OUTPUT: u64 = 500;
/// Without a cap a model may write this many times what is expected, and this part of it.
const UNCAPPED: u64 = 4;
/// With a cap it is expected to write at least this part of it, so that the most is never more than
/// three times what is expected.
const CAPPED: u64 = 3;

/// Tokens that stand around a message: least, expected, most.
const A_MESSAGE: Range = [1, 4, 8];
/// Tokens that stand around all messages.
const ALL_MESSAGES: Range = [0, 3, 10];
/// Tokens of the prompt that tells a model to use tools.
const TOOL_PROMPT: Range = [0, 60, 900];
/// Tokens that stand around the call of a tool.
const A_CALL: Range = [0, 10, 40];
/// To how much the definitions of tools may shrink: some providers write them anew, shorter.
const TOOLS_SHRINK: u64 = 3;
/// Characters a second, spoken: most, expected, least.
const SPOKEN: [u64; 3] = [25, 15, 8];
/// Tokens of the transcript of a second, where a model counts its output.
const TRANSCRIPT: Range = [0, 4, 10];
/// Documents that one query ranks, and tokens of the longest that is one. Cohere, "Rerank": a search
/// unit is a query with up to 100 documents, and a longer document counts as several of 500 tokens.
const DOCUMENTS: u64 = 100;
const DOCUMENT: u64 = 500;
/// Characters of a written word, with the space behind it.
const WORD_CHARACTERS: Range = [4, 6, 9];
/// Seconds of sound where a model only makes sound and nothing is said of how long: what the tokens
/// of an answer come to.
const DEFAULT_SOUND: Range = [0, 20, 80];
/// Characters of an answer, where a model counts those.
const DEFAULT_CHARACTERS: Range = [1, 2_500, 10_000];
/// What pictures that are made are counted as: the first of these that a model prices.
const PICTURES: [&str; 3] = ["output_image_tokens", "output_pixels", "output_images"];
/// Pixels of a picture whose size is not said.
const PIXELS: Range = [512 * 512, 1_024 * 1_024, 2_048 * 2_048];

/// What the names of models contain that write down what they hear, and nothing else.
const TRANSCRIBERS: [&str; 5] = ["transcri", "whisper", "speech-to-text", "scribe", "-asr"];
/// What the names of models contain that read a text out, also where they price no sound.
const SPEAKERS: [&str; 3] = ["tts", "text-to-speech", "speech"];

/// What the names of models contain whose providers keep a prompt in a cache only where the request
/// asks for it. Anthropic, "Prompt caching".
const CACHED_WHEN_ASKED: [&str; 1] = ["claude"];
/// How long a prompt is kept in a cache where the request doesn't say it, and that names no
/// dimension of its own: what is written so is `cache_write_tokens`.
const USUAL_TTL: &str = "5m";
/// Kinds of a prompt's tokens, as dimensions name them.
const KINDS: [(&str, &str); 4] = [
    ("input_tokens", ""),
    ("input_image_tokens", "image_"),
    ("input_audio_tokens", "audio_"),
    ("input_video_tokens", "video_"),
];

/// Bounds in thousandths of a unit, while they are summed.
type Span = [u64; 3];

fn whole(range: Range) -> Span {
    range.map(|units| units.saturating_mul(1_000))
}

fn times(of: Bounds, each: Range) -> Span {
    let [min, expected, max] = span(of);
    let [least, middle, most] = each;
    let tokens = |millis: u64, each: u64| millis.saturating_mul(each);
    whole([
        tokens(min, least) / 1_000,
        tokens(expected, middle).div_ceil(1_000),
        tokens(max, most).div_ceil(1_000),
    ])
}

fn span(bounds: Bounds) -> Span {
    [bounds.min(), bounds.expected(), bounds.max()].map(Quantity::millis)
}

/// Pictures to make, or to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// How many.
    pub count: u32,
    /// Such as `1024x1024`: what prices depend on, as a parameter.
    pub size: Option<String>,
    /// Such as `high`.
    pub quality: Option<String>,
}

/// A picture in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// How many of this size.
    pub count: u32,
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    /// How closely it is to be looked at.
    pub detail: Detail,
}

/// How closely a picture is to be looked at, where the provider lets the request say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// As the model does where nothing is said.
    #[default]
    Auto,
    /// Scaled down to 512 pixels.
    Low,
    /// Scaled down where it is large.
    High,
    /// As it is.
    Original,
    /// As Gemini's requests say it.
    Level(MediaResolution),
}

/// How closely pictures, video and pages are to be looked at, as Gemini's requests say it. How many
/// tokens a level is differs from one generation of models to the next: only what is expected
/// follows from it, and the bounds are of all levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MediaResolution {
    /// `MEDIA_RESOLUTION_LOW`
    Low,
    /// `MEDIA_RESOLUTION_MEDIUM`
    Medium,
    /// `MEDIA_RESOLUTION_HIGH`
    High,
    /// `MEDIA_RESOLUTION_ULTRA_HIGH`
    UltraHigh,
}

/// Video to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Video {
    /// Of each.
    pub seconds: Bounds,
    /// How many.
    pub count: u32,
    /// Such as `1080p`.
    pub resolution: Option<String>,
}

/// How much text is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Output {
    /// What is expected, reasoning included where `reasoning` doesn't say it.
    pub tokens: Option<Bounds>,
    /// Words of a text that is asked for.
    pub words: Option<Bounds>,
    /// Tokens of reasoning, beside the answer.
    pub reasoning: Option<Bounds>,
    /// The request's own limit.
    pub max_tokens: Option<u64>,
}

/// A request before the fact. What is not there is not asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// Texts that are sent; a message may have several.
    pub texts: Vec<Profile>,
    /// How many messages they are in; zero where the text is sent as it is.
    pub messages: u32,
    /// Calls of tools in the messages; what they say is among the texts.
    pub calls: u32,
    /// Thinking of earlier answers, which a provider may count or leave out.
    pub thoughts: Vec<Profile>,
    /// What the provider's tools brought in earlier turns and is sent again, partly encrypted: it
    /// may be counted as it is, or be less.
    pub echoes: Vec<Profile>,
    /// The definitions of tools, as JSON text.
    pub tools: Option<Profile>,
    /// Those of them that the provider runs.
    pub server_tools: Vec<ServerTool>,
    /// How long parts of the prompt are to be kept in the provider's cache, where the request marks
    /// some (`cache_control`): such as `1h`. Empty text where that is left to the provider.
    pub cache_ttls: BTreeSet<String>,
    /// Characters of further text that is not shown, in a language of Latin letters.
    pub characters: Option<Bounds>,
    /// Pictures that are sent.
    pub input_images: Vec<Image>,
    /// Sound that is sent in messages.
    pub input_audio_seconds: Option<Bounds>,
    /// Video that is sent in messages.
    pub input_video_seconds: Option<Bounds>,
    /// Frames of it that are looked at; one a second where that is not said.
    pub input_video_frames: Option<Bounds>,
    /// How closely video and pages are to be looked at, where the request says it.
    pub media_resolution: Option<MediaResolution>,
    /// Pages of documents that are sent in messages.
    pub input_pages: Option<Bounds>,
    /// Text to write.
    pub output: Output,
    /// Pictures to make.
    pub images: Option<Images>,
    /// Video to make.
    pub video: Option<Video>,
    /// Text to speak.
    pub speech: Option<Profile>,
    /// Characters of text to speak that is not shown.
    pub speech_characters: Option<Bounds>,
    /// Sound to write down.
    pub audio_seconds: Option<Bounds>,
    /// Pages to read.
    pub pages: Option<Bounds>,
}

/// What bounds of a quantity rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The kinds of characters of the texts.
    Text,
    /// What providers add around messages.
    Messages,
    /// The definitions of tools, and the prompt that goes with them.
    Tools,
    /// Thinking of earlier answers: all of it, or none.
    Thoughts,
    /// A number of characters.
    Characters,
    /// Pictures, by their sizes.
    InputImages,
    /// Seconds of sound.
    AudioSeconds,
    /// Video that is sent: its frames, and its sound, which may have a price of its own.
    InputVideo,
    /// Pages of documents that are sent.
    InputPages,
    /// `output_tokens`, as given; a single number may be off by the factor 4.
    OutputTokens,
    /// `words`, of which a model writes half to twice as many.
    Words,
    /// `reasoning_tokens`, as given; a single number may be off by the factor 4. Or a limit of the
    /// output, where reasoning has a price of its own.
    Reasoning,
    /// Nothing was said: 500 tokens. Of a model that only speaks it is what the text comes to,
    /// spoken, where that is more. Of a model that makes pictures it is one picture, beside what it
    /// writes; how many they are nothing limits.
    Default,
    /// `max_output_tokens`: that is the most, and at least a third of it is expected.
    MaxOutputTokens,
    /// Pictures to make, by number, quality and size.
    Images,
    /// Video to make.
    Video,
    /// Text to speak.
    Speech,
    /// Pages to read.
    Pages,
    /// It is one request, and the model has a price for that.
    Request,
    /// Uses of a tool that the provider runs: none to `max_uses`, of which a third is expected; 5
    /// where that is not said. Searches of a model that always searches.
    ToolUses,
    /// What such a tool brings into the prompt, with each use, and the prompt again. Of a remote
    /// server (MCP) with the definitions of its tools, whether they are used or not. What it brought
    /// in earlier turns and is sent again: all of it as it stands, or less.
    ToolResults,
    /// What another model brings into the prompt that is asked for advice. What that model itself
    /// costs is charged by its own prices, and is not in the bounds.
    Advisor,
    /// So much of the prompt may be read from the provider's cache. It is part of what other
    /// assumptions count, not beside it; the least is as if all of it was read, where that is
    /// cheaper.
    CacheRead,
    /// So much of the prompt may be written to the provider's cache, as above; the most is as if all
    /// of it was written, where that is dearer.
    CacheWrite,
}

/// Tokens of the prompt that may be counted as something else, because of the provider's cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// What they are counted as without a cache, such as `input_tokens`.
    pub from: &'static str,
    /// What they may be counted as, such as `cache_read_tokens`.
    pub to: String,
    /// [`Basis::CacheRead`] or [`Basis::CacheWrite`].
    pub basis: Basis,
}

/// Where bounds come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assumption {
    /// The dimension that they are of, or are part of.
    pub dimension: Cow<'static, str>,
    /// What they rest on.
    pub basis: Basis,
    /// The family whose tokenizer was assumed, where tokens were estimated from text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<&'static str>,
    /// The bounds.
    pub quantity: Bounds,
    /// Parameters that the request doesn't say and that prices of the dimension depend on: the
    /// credits' bounds cover all of their values. Only pricing tells them ([`super::Priced`]).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsaid: Vec<String>,
    /// What would be expected if the most had not to be at most three times what is expected in all
    /// ([`Quantities::price`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<Quantity>,
    /// What can't be told by numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

/// Of an advisor.
const ASKS_ANOTHER: &str = "The other model's own requests are not in these bounds: they are \
                            charged by that model's prices.";
/// Of a tool that a provider may bill or not.
const NO_PRICE: &str = "The tool's uses have no price with this model: a response that counts them \
                        can't be charged.";
/// Of what a cache may do.
const WAS_READ: &str = "Not beside the prompt's other tokens, but part of them: what is read from \
                        the provider's cache counts as this. The least takes all of it so, where \
                        that is cheaper; nothing of it is expected.";
const IS_WRITTEN: &str = "Not beside the prompt's other tokens, but part of them: what is written \
                          to the provider's cache counts as this. The most takes all of it so, \
                          where that is dearer; nothing of it is expected.";
/// Of a picture that nothing asked for.
const A_PICTURE: &str = "The model may make a picture of any text; say how many in images.";
/// Of sound that nothing asked for.
const A_SOUND: &str = "The model makes sound of any text; say what it speaks in speech.";

/// What a model would count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantities {
    /// Bounds of each dimension.
    pub usage: BTreeMap<String, Bounds>,
    /// What prices depend on, as far as the description says it: size, quality, resolution, and
    /// what tools say.
    pub parameters: Parameters,
    /// What else they may depend on.
    pub unsaid: Unsaid,
    /// What the bounds rest on.
    pub assumptions: Vec<Assumption>,
    /// What of the usage may be counted as something else; pricing takes it into the bounds.
    pub swaps: Vec<Swap>,
    /// Whether the request caps what is written.
    pub is_capped: bool,
    /// Whether nothing limits what is written, or how often a tool is used and what it brings: then
    /// the most is what was assumed, and what goes beyond costs more.
    pub is_unbounded: bool,
}

/// More than a quantity can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at most 12 digits a quantity: {0}")]
pub struct OverLimit(
    /// The dimension.
    pub Cow<'static, str>,
);

impl Description {
    /// Whether it asks for nothing at all.
    pub fn is_empty(&self) -> bool {
        let cache_ttls = self.cache_ttls.clone();
        *self == Self { output: self.output, cache_ttls, ..Self::default() }
            && self.output.tokens.is_none()
            && self.output.words.is_none()
    }

    /// What `model` would count, in the dimensions that it prices. What no dimension of the model
    /// can count is named by the usual one, so that rating refuses it; but a prompt for pictures,
    /// video or speech is free where the model has no price for input.
    ///
    /// # Errors
    /// [`OverLimit`].
    pub fn quantities(&self, model: &Model) -> Result<Quantities, OverLimit> {
        let mut counter = Counter {
            model,
            family: Family::of(model.id()),
            media: Media::of(model.id()),
            assumptions: Vec::new(),
            is_unbounded: false,
        };
        counter.input(self);
        counter.output(self);
        if !counter.makes_more_than_text(self) {
            counter.made_of_text(self);
        }
        counter.made(self);
        counter.tools(self);
        if model.prices("requests") {
            counter.add("requests", Basis::Request, None, whole([1; 3]));
        }
        let is_capped = self.output.max_tokens.is_some();
        let swaps = counter.swaps(self);
        let is_unbounded = counter.is_unbounded;
        let assumptions = counter.assumptions.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut usage: BTreeMap<String, Bounds> = BTreeMap::new();
        for Assumption { dimension, quantity, .. } in &assumptions {
            let sum = match usage.get(&**dimension) {
                Some(before) => {
                    before.checked_add(*quantity).ok_or_else(|| OverLimit(dimension.clone()))?
                }
                None => *quantity,
            };
            usage.insert(dimension.clone().into_owned(), sum);
        }
        // A price that depends on how much there will be of something that is not described.
        let is_told =
            |name: &str| usage.contains_key(name) || swaps.iter().any(|swap| swap.to == name);
        let rows = model.ratios().iter().filter(|row| is_told(row.dimension()));
        let thresholds = rows.filter_map(|row| row.rate().when()).flat_map(Conditions::thresholds);
        let mut amounts = thresholds.map(|(name, _)| name);
        let is_unknown = |name: &str| name != PROMPT_TOKENS && !is_told(name);
        let is_unbounded = is_unbounded || amounts.any(is_unknown);
        let unsaid = Unsaid {
            until: None,
            dimensions: usage.keys().chain(swaps.iter().map(|swap| &swap.to)).cloned().collect(),
            grounding: self.server_tools.iter().filter_map(ServerTool::grounding).collect(),
            has_old_container: self.server_tools.iter().any(ServerTool::is_in_old_container),
        };
        Ok(Quantities {
            usage,
            parameters: self.parameters(),
            unsaid,
            assumptions,
            swaps,
            is_capped,
            is_unbounded,
        })
    }

    fn parameters(&self) -> Parameters {
        let images = self.images.as_ref();
        let video = self.video.as_ref();
        let mut parameters = ServerTool::parameters(&self.server_tools);
        let made = [
            ("size", images.and_then(|images| images.size.as_ref())),
            ("quality", images.and_then(|images| images.quality.as_ref())),
            ("resolution", video.and_then(|video| video.resolution.as_ref())),
        ]
        .into_iter()
        // What is left to the provider is not said.
        .filter_map(|(name, value)| {
            Some((name.to_owned(), value.filter(|value| *value != "auto")?.clone()))
        });
        parameters.extend(made);
        parameters
    }

    /// Whether something other than text is to be made.
    fn makes_more_than_text(&self) -> bool {
        self.images.is_some()
            || self.video.is_some()
            || self.speech.is_some()
            || self.speech_characters.is_some()
            || self.pages.is_some()
    }
}

impl Quantities {
    /// What is told of the provider's cache, beside the assumptions: they are part of what those
    /// count, and expect nothing.
    pub fn cached(&self) -> impl Iterator<Item = Assumption> {
        let of = |Swap { from, to, basis }: &Swap| {
            let max = self.usage.get(*from)?.max();
            Some(Assumption {
                dimension: to.clone().into(),
                basis: *basis,
                family: None,
                quantity: Bounds::new(Quantity::ZERO, Quantity::ZERO, max)?,
                unsaid: Vec::new(),
                instead_of: None,
                note: Some(if *basis == Basis::CacheRead { WAS_READ } else { IS_WRITTEN }),
            })
        };
        self.swaps.iter().filter_map(of)
    }
}

/// Collects what a model counts.
struct Counter<'a> {
    model: &'a Model,
    family: &'static Family,
    media: &'static Media,
    assumptions: Vec<Result<Assumption, OverLimit>>,
    is_unbounded: bool,
}

impl Counter<'_> {
    /// The first of these dimensions that the model prices, else the last.
    fn first_priced(&self, names: &[&'static str]) -> &'static str {
        let priced = names.iter().find(|name| self.model.prices(name));
        priced.or(names.last()).expect("there is a name")
    }

    fn add(
        &mut self,
        dimension: impl Into<Cow<'static, str>>,
        basis: Basis,
        family: Option<&'static Family>,
        span: Span,
    ) {
        let dimension = dimension.into();
        let [min, expected, max] = span.map(Quantity::from_millis);
        let bounds = || Bounds::new(min?, expected?, max?);
        self.assumptions.push(match bounds() {
            Some(quantity) => {
                let family = family.map(Family::name);
                let unsaid = Vec::new();
                let (instead_of, note) = (None, None);
                Ok(Assumption { dimension, basis, family, quantity, unsaid, instead_of, note })
            }
            None => Err(OverLimit(dimension)),
        });
    }

    /// Says what can't be told by numbers of what was added last.
    fn note(&mut self, note: &'static str) {
        if let Some(Ok(assumption)) = self.assumptions.last_mut() {
            assumption.note = Some(note);
        }
    }

    /// Tokens of text; nothing where there are none.
    fn add_text(&mut self, dimension: &'static str, basis: Basis, tokens: Range) {
        if tokens != [0; 3] {
            self.add(dimension, basis, Some(self.family), whole(tokens));
        }
    }

    fn input(&mut self, asked: &Description) {
        let counts_characters =
            !self.model.prices("input_tokens") && self.model.prices("input_characters");
        let counts_queries = self.model.prices("queries");
        if counts_queries {
            self.add_queries(asked);
        }
        let is_free = (self.makes_more_than_text(asked) || self.makes_of_text() || counts_queries)
            && !counts_characters
            && !self.model.prices("input_tokens");
        if !is_free {
            let tools = asked.tools.as_ref();
            if counts_characters {
                let shown = asked.texts.iter().chain(&asked.thoughts).chain(&asked.echoes);
                let shown = shown.chain(tools);
                let shown = shown.fold(0, |sum: u64, text| sum.saturating_add(text.characters()));
                if shown > 0 {
                    self.add("input_characters", Basis::Text, None, whole([shown; 3]));
                }
                if let Some(characters) = asked.characters {
                    self.add("input_characters", Basis::Characters, None, span(characters));
                }
            } else {
                let texts = asked.texts.iter().map(|text| self.family.tokens(text));
                let texts = texts.fold([0; 3], plus);
                self.add_text("input_tokens", Basis::Text, texts);
                let thoughts = asked.thoughts.iter().map(|text| self.family.tokens(text));
                let [_, _, thoughts] = thoughts.fold([0; 3], plus);
                self.add_text("input_tokens", Basis::Thoughts, [0, thoughts / 2, thoughts]);
                let echoes = asked.echoes.iter().map(|text| self.family.tokens(text));
                let [_, _, echoes] = echoes.fold([0; 3], plus);
                self.add_text("input_tokens", Basis::ToolResults, [0, echoes / 2, echoes]);
                if let Some(tools) = tools {
                    let [least, expected, most] = self.family.tokens(tools);
                    let tools = [least / TOOLS_SHRINK, expected, most];
                    self.add_text("input_tokens", Basis::Tools, plus(tools, TOOL_PROMPT));
                }
                if let Some(characters) = asked.characters {
                    let tokens = self.tokens_of_characters(characters);
                    self.add_text("input_tokens", Basis::Characters, tokens);
                }
                if self.model.prices("output_tokens") {
                    let count = u64::from(asked.messages);
                    // A text on its own is sent as a message.
                    let count = if texts == [0; 3] { count } else { count.max(1) };
                    if count > 0 {
                        let around = A_MESSAGE.map(|tokens| tokens * count);
                        let calls = A_CALL.map(|tokens| tokens * u64::from(asked.calls));
                        let around = whole(plus(plus(around, calls), ALL_MESSAGES));
                        self.add("input_tokens", Basis::Messages, None, around);
                    }
                }
            }
        }
        if !asked.input_images.is_empty() {
            self.pictures(&asked.input_images);
        }
        if let Some(seconds) = asked.input_audio_seconds {
            self.heard(seconds, &["input_audio_tokens", "input_audio_seconds", "input_tokens"]);
        }
        if let Some(seconds) = asked.input_video_seconds {
            let names = ["input_video_tokens", "input_video_seconds", "input_tokens"];
            let dimension = self.first_priced(&names);
            if dimension == "input_video_seconds" {
                self.add(dimension, Basis::InputVideo, None, span(seconds));
            } else {
                let frames = asked.input_video_frames.unwrap_or(seconds);
                let frames = times(frames, self.media.frame(asked.media_resolution));
                // It may be silent.
                let [_, likely, most] = self.media.audio_in();
                let sound = times(seconds, [0, likely, most]);
                if self.model.prices("input_audio_tokens") {
                    self.add(dimension, Basis::InputVideo, None, frames);
                    self.add("input_audio_tokens", Basis::InputVideo, None, sound);
                } else {
                    self.add(dimension, Basis::InputVideo, None, plus(frames, sound));
                }
            }
        }
        if let Some(pages) = asked.input_pages {
            let dimension = self.first_priced(&["input_document_tokens", "input_tokens"]);
            self.add(
                dimension,
                Basis::InputPages,
                None,
                times(pages, self.media.page(asked.media_resolution)),
            );
        }
    }

    /// Pictures in the prompt, however many: together, as there may be thousands.
    fn pictures(&mut self, images: &[Image]) {
        // Who prices an answer's tokens counts those of pictures, even with a price for each.
        let counts_tokens = ["output_tokens", "output_image_tokens"];
        let counts_tokens = counts_tokens.iter().any(|name| self.model.prices(name));
        let names = if counts_tokens && self.model.prices("input_tokens") {
            &["input_image_tokens", "input_tokens"][..]
        } else {
            &["input_image_tokens", "input_images", "input_tokens"]
        };
        let dimension = self.first_priced(names);
        let all = images.iter().fold([0; 3], |sum, Image { count, size, detail }| {
            let each = match dimension {
                "input_images" => [1; 3],
                _ => self.media.image(*size, *detail),
            };
            plus(sum, each.map(|tokens| tokens.saturating_mul(u64::from(*count))))
        });
        self.add(dimension, Basis::InputImages, None, whole(all));
    }

    /// Queries of a model that ranks or finds: one, or one for each so many documents, of which the
    /// text may have as many as it has tokens.
    fn add_queries(&mut self, asked: &Description) {
        let texts = asked.texts.iter().map(|text| self.family.tokens(text));
        let hidden = asked.characters.map_or([0; 3], |of| self.tokens_of_characters(of));
        let [_, expected, most] = texts.fold(hidden, plus);
        if most > 0 {
            let likely = expected.div_ceil(DOCUMENTS * DOCUMENT).max(1);
            let queries = [1, likely, most.div_ceil(DOCUMENTS).max(likely)];
            self.add("queries", Basis::Text, Some(self.family), whole(queries));
        }
    }

    /// Sound in the first of these dimensions that the model prices.
    fn heard(&mut self, seconds: Bounds, names: &[&'static str]) {
        let dimension = self.first_priced(names);
        let quantity = if dimension.ends_with("_tokens") {
            times(seconds, self.media.audio_in())
        } else {
            span(seconds)
        };
        self.add(dimension, Basis::AudioSeconds, None, quantity);
    }

    fn tokens_of_characters(&self, characters: Bounds) -> Range {
        let [min, expected, max] = span(characters).map(|millis| millis.div_ceil(1_000));
        // A word and its space are 5 to 6 characters; the fewest tokens are those of plain prose,
        // the most those of code and of inflected languages.
        let least = Profile::imagined(min / 6, 50, 0, 0);
        let likely = Profile::imagined_english(expected / 6, 100, 20, 2);
        let most = Profile::imagined(max.div_ceil(5), 150, 80, 50);
        self.between(&least, &likely, &most)
    }

    fn between(&self, least: &Profile, likely: &Profile, most: &Profile) -> Range {
        let [least, ..] = self.family.tokens(least);
        let [_, likely, _] = self.family.tokens(likely);
        let [.., most] = self.family.tokens(most);
        let likely = likely.max(least);
        [least, likely, most.max(likely)]
    }

    fn output(&mut self, asked: &Description) {
        let Output { tokens, words, reasoning, max_tokens } = asked.output;
        if let Some(words) = words
            && !self.model.prices("output_tokens")
            && self.model.prices("output_characters")
        {
            let characters = times(words, WORD_CHARACTERS);
            self.add("output_characters", Basis::Words, None, characters);
            return;
        }
        let (written, only_speaks) = (self.written(), self.only_speaks());
        let (basis, [min, expected, max]) = match (tokens, words) {
            (Some(tokens), _) if tokens.is_known() => {
                let tokens = tokens.expected().millis().div_ceil(1_000);
                let most = tokens.saturating_mul(UNCAPPED);
                (Basis::OutputTokens, [tokens / UNCAPPED, tokens, most])
            }
            (Some(tokens), _) => {
                let [min, expected, max] = span(tokens);
                let whole = [min / 1_000, expected.div_ceil(1_000), max.div_ceil(1_000)];
                (Basis::OutputTokens, whole)
            }
            (None, Some(words)) if only_speaks => {
                (Basis::Words, self.tokens_of_sound(times(words, WORD_CHARACTERS)))
            }
            (None, Some(words)) => (Basis::Words, self.tokens_of_words(words)),
            (None, None) if asked.makes_more_than_text() || asked.audio_seconds.is_some() => {
                match self.written_beside(asked) {
                    Some(written) => written,
                    None => return,
                }
            }
            (None, None) if !self.model.prices(written) => return,
            (None, None) => {
                let read_out = || self.tokens_read_out(asked);
                let [_, expected, max] = if only_speaks { read_out() } else { [0; 3] };
                let most = DEFAULT_OUTPUT.saturating_mul(UNCAPPED);
                (Basis::Default, [1, expected.max(DEFAULT_OUTPUT), max.max(most)])
            }
        };
        let family = (basis == Basis::Words && !only_speaks).then_some(self.family);
        let is_given = tokens.is_some_and(|tokens| !tokens.is_known());
        let thinks_apart = self.model.prices("output_reasoning_tokens");
        let reasons = reasoning.map(|tokens| {
            let [min, expected, max] = span(tokens);
            let (min, max) = if tokens.is_known() {
                (min / UNCAPPED, max.saturating_mul(UNCAPPED))
            } else {
                (min, max)
            };
            [min / 1_000, expected.div_ceil(1_000), max.div_ceil(1_000)]
        });
        let Some(cap) = max_tokens else {
            self.is_unbounded = !is_given;
            self.add_written(asked, basis, family, whole([min, expected, max]));
            if let Some(reasons) = reasons {
                let dimension = if thinks_apart { "output_reasoning_tokens" } else { written };
                self.add(dimension, Basis::Reasoning, None, whole(reasons));
            }
            return;
        };
        let [least, likely, longest] = reasons.unwrap_or([0; 3]);
        // Of each part at least a third is expected of what the cap lets it be.
        let capped = |min: u64, expected: u64, most: u64| {
            let expected = expected.clamp(most.div_ceil(CAPPED), most);
            whole([min.min(expected), expected, most])
        };
        // Bounds that were given may end below the cap; what was guessed may not.
        let reasoning_is_given = reasoning.is_some_and(|tokens| !tokens.is_known());
        if thinks_apart && (!is_given || reasons.is_some()) {
            let most = if is_given { cap.min(max) } else { cap };
            let bounds = capped(min, expected, most);
            self.add_written(asked, Basis::MaxOutputTokens, family, bounds);
            let most = if reasoning_is_given { cap.min(longest) } else { cap };
            let bounds = capped(least, likely, most);
            self.add("output_reasoning_tokens", Basis::Reasoning, None, bounds);
        } else {
            let is_given = is_given && (reasons.is_none() || reasoning_is_given);
            let most = if is_given { cap.min(max.saturating_add(longest)) } else { cap };
            let (min, expected) = (min.saturating_add(least), expected.saturating_add(likely));
            let bounds = capped(min, expected, most);
            self.add_written(asked, Basis::MaxOutputTokens, family, bounds);
        }
    }

    /// What a model writes that is asked for something else than text: what it hears, or beside a
    /// picture or what it speaks, whatever it likes, thoughts among it. `None` where it writes
    /// nothing, or counts just what it hears.
    fn written_beside(&mut self, asked: &Description) -> Option<(Basis, Range)> {
        let is_heard = asked.audio_seconds.is_some();
        if !self.model.prices("output_tokens") || self.is_speaker_by_name() && !is_heard {
            return None;
        }
        let most = DEFAULT_OUTPUT.saturating_mul(UNCAPPED);
        let Some(seconds) = asked.audio_seconds else {
            return Some((Basis::Default, [0, 0, most]));
        };
        let [least, likely, longest] = times(seconds, TRANSCRIPT).map(|millis| millis / 1_000);
        if self.converses() {
            return Some((Basis::AudioSeconds, [least, likely, longest.max(most)]));
        }
        if self.model.prices("input_audio_tokens") {
            let transcript = [least, likely, longest];
            let cap = asked.output.max_tokens.unwrap_or(u64::MAX);
            let transcript = transcript.map(|tokens| tokens.min(cap));
            self.add("output_tokens", Basis::AudioSeconds, None, whole(transcript));
        }
        None
    }

    /// Whether something other than text is to be made, or what is heard only to be written down.
    fn makes_more_than_text(&self, asked: &Description) -> bool {
        asked.makes_more_than_text() || asked.audio_seconds.is_some() && !self.converses()
    }

    /// Whether the model answers what it hears, and not only writes it down.
    fn converses(&self) -> bool {
        self.model.prices("output_tokens") && !has_name_of(self.model, &TRANSCRIBERS)
    }

    /// Whether the model speaks, and says so with its output tokens.
    fn is_speaker_by_name(&self) -> bool {
        has_name_of(self.model, &SPEAKERS)
            && !self.model.prices("output_audio_tokens")
            && !self.model.prices("output_audio_seconds")
    }

    /// Whether the model makes pictures or sound of text, and nothing else.
    fn makes_of_text(&self) -> bool {
        let made = PICTURES.iter().chain(&["output_audio_tokens", "output_audio_seconds"]);
        !self.model.prices("output_tokens") && made.into_iter().any(|name| self.model.prices(name))
    }

    /// What a model makes of text alone that neither is text nor spoken by tokens. Nothing limits how
    /// much it is.
    fn made_of_text(&mut self, asked: &Description) {
        let writes = self.model.prices("output_tokens");
        let speaks = self.model.prices("output_audio_tokens");
        let is_said = asked.output.tokens.is_some() || asked.output.words.is_some();
        // Where the text is free, the pictures are what it is for.
        let mut texts = self.model.ratios().iter().filter(|row| row.dimension() == "output_tokens");
        let is_paid = texts.any(|row| row.rate().credits().parts().0 > 0);
        let pictures = if writes && is_paid { &PICTURES[..1] } else { &PICTURES[..] };
        let picture = pictures.iter().find(|name| self.model.prices(name));
        if let Some(dimension) = picture {
            let [_, expected, most] = self.a_picture(dimension, None, None);
            // Where text is asked for, that is what is expected.
            let is_text = is_said || asked.audio_seconds.is_some();
            let expected = if is_text { 0 } else { expected };
            self.add(*dimension, Basis::Default, None, whole([0, expected, most]));
            self.note(A_PICTURE);
        } else if self.model.prices("output_audio_seconds") && !speaks {
            let [_, expected, max] = spoken_for(characters_sent(asked));
            let [least, likely, most] = whole(DEFAULT_SOUND);
            let seconds = [least, expected.max(likely), max.max(most)];
            self.add("output_audio_seconds", Basis::Default, None, seconds);
            self.note(A_SOUND);
        } else if writes || speaks || is_said {
            return;
        } else if self.model.prices("output_characters") {
            self.add("output_characters", Basis::Default, None, whole(DEFAULT_CHARACTERS));
        } else if !self.model.ratios().iter().any(|row| is_made(row.dimension())) {
            return;
        }
        self.is_unbounded = true;
    }

    /// What an answer is counted as: of a model that prices no text, what it speaks.
    fn written(&self) -> &'static str {
        if self.only_speaks() { "output_audio_tokens" } else { "output_tokens" }
    }

    fn only_speaks(&self) -> bool {
        self.model.prices("output_audio_tokens") && !self.model.prices("output_tokens")
    }

    /// An answer. A model that writes and speaks may speak all of it, unless something else is
    /// asked for.
    fn add_written(
        &mut self,
        asked: &Description,
        basis: Basis,
        family: Option<&'static Family>,
        bounds: Span,
    ) {
        let written = self.written();
        self.add(written, basis, family, bounds);
        let spoken = "output_audio_tokens";
        if written != spoken && self.model.prices(spoken) && !self.makes_more_than_text(asked) {
            let [_, expected, max] = bounds;
            self.add(spoken, basis, family, [0, expected, max]);
        }
    }

    /// Tokens of characters that are spoken.
    fn tokens_of_sound(&self, characters: Span) -> Range {
        let [a, b, c] = spoken_for(characters);
        let [x, y, z] = self.media.audio_out();
        [(a, x), (b, y), (c, z)].map(|(millis, each)| millis.saturating_mul(each).div_ceil(1_000))
    }

    /// The same of all texts that are sent.
    fn tokens_read_out(&self, asked: &Description) -> Range {
        self.tokens_of_sound(characters_sent(asked))
    }

    fn tokens_of_words(&self, words: Bounds) -> Range {
        let [min, expected, max] = span(words).map(|millis| millis.div_ceil(1_000));
        let least = Profile::imagined(min / 2, 20, 0, 0);
        let likely = Profile::imagined_english(expected, 120, 20, 2);
        let most = Profile::imagined(max.saturating_mul(2), 250, 30, 5);
        self.between(&least, &likely, &most)
    }

    fn made(&mut self, asked: &Description) {
        if let Some(images) = &asked.images {
            let count = u64::from(images.count);
            let dimension = self.first_priced(&PICTURES);
            let (quality, size) = (images.quality.as_deref(), images.size.as_deref());
            let each = self.a_picture(dimension, quality, size);
            let all = each.map(|n| n.saturating_mul(count));
            self.add(dimension, Basis::Images, None, whole(all));
        }
        if let Some(video) = &asked.video {
            let seconds = span(video.seconds).map(|s| s.saturating_mul(u64::from(video.count)));
            self.add("video_seconds", Basis::Video, None, seconds);
        }
        if asked.speech.is_some() || asked.speech_characters.is_some() {
            self.spoken(asked);
        }
        if let Some(seconds) = asked.audio_seconds {
            // Who prices tokens, too, counts these.
            self.heard(seconds, &["input_audio_tokens", "input_audio_seconds", "audio_seconds"]);
        }
        if let Some(pages) = asked.pages {
            self.add("pages", Basis::Pages, None, span(pages));
        }
    }

    /// What one picture that is made counts.
    fn a_picture(&self, dimension: &str, quality: Option<&str>, size: Option<&str>) -> Range {
        match dimension {
            "output_image_tokens" => self.media.made(quality, size),
            "output_pixels" => {
                let size = size.and_then(pixels);
                size.map_or(PIXELS, |(width, height)| [width * height; 3])
            }
            _ => [1; 3],
        }
    }

    fn spoken(&mut self, asked: &Description) {
        let shown = asked.speech.as_ref().map_or(0, Profile::characters);
        let hidden = asked.speech_characters.map_or([0; 3], span);
        let characters = plus(whole([shown; 3]), hidden);
        let sound = ["output_audio_tokens", "output_audio_seconds"];
        let of_text = ["output_characters", "input_characters"];
        let prices = |name: &&str| self.model.prices(name);
        let is_priced = sound.iter().chain(&of_text).any(prices);
        if !is_priced && !has_name_of(self.model, &SPEAKERS) {
            // It can't. This is no part of anything, so that rating refuses it.
            self.add("input_characters", Basis::Speech, None, characters);
            return;
        }
        let dimension =
            self.first_priced(&["output_characters", "input_tokens", "input_characters"]);
        if dimension == "input_tokens" {
            let mut tokens = asked.speech.as_ref().map_or([0; 3], |text| self.family.tokens(text));
            if let Some(hidden) = asked.speech_characters {
                tokens = plus(tokens, self.tokens_of_characters(hidden));
            }
            self.add_text(dimension, Basis::Speech, tokens);
        } else {
            self.add(dimension, Basis::Speech, None, characters);
        }
        if self.model.prices("output_audio_tokens") {
            // What was said of the output is of the sound, where there is nothing but that.
            let Output { tokens, words, max_tokens, .. } = asked.output;
            if !self.only_speaks() || (tokens.is_none() && words.is_none()) {
                let most = max_tokens.unwrap_or(u64::MAX);
                let tokens = self.tokens_of_sound(characters).map(|tokens| tokens.min(most));
                self.add("output_audio_tokens", Basis::Speech, None, whole(tokens));
            }
        } else if self.model.prices("output_audio_seconds") {
            self.add("output_audio_seconds", Basis::Speech, None, spoken_for(characters));
        } else if self.model.prices("output_tokens") && self.is_speaker_by_name() {
            let tokens = self.tokens_of_sound(characters);
            self.add("output_tokens", Basis::Speech, None, whole(tokens));
        }
    }

    /// What the provider's cache may do to the prompt, in the dimensions that the model prices. Most
    /// providers keep prompts unasked; what is to be kept longer than usual has a dimension of its
    /// own with some, and must be asked for.
    fn swaps(&self, asked: &Description) -> Vec<Swap> {
        let is_unasked = !has_name_of(self.model, &CACHED_WHEN_ASKED);
        let unasked = is_unasked.then_some("");
        let ttls: BTreeSet<&str> =
            asked.cache_ttls.iter().map(String::as_str).chain(unasked).collect();
        if ttls.is_empty() {
            return Vec::new();
        }
        let mut swaps: Vec<Swap> = Vec::new();
        for (from, kind) in KINDS {
            let mut of_kind = self.assumptions.iter().flatten().filter(|of| of.dimension == from);
            if !of_kind.any(|assumption| !assumption.quantity.max().is_zero()) {
                continue;
            }
            let mut add = |names: &[String], basis| {
                let priced = names.iter().find(|name| self.model.prices(name));
                let swap = priced.map(|to| Swap { from, to: to.clone(), basis });
                swaps.extend(swap.filter(|swap| !swaps.contains(swap)));
            };
            let usual = |side| [format!("{side}_{kind}tokens"), format!("{side}_tokens")];
            add(&usual("cache_read"), Basis::CacheRead);
            for ttl in &ttls {
                let [own, all] = usual("cache_write");
                let names = match *ttl {
                    "" | USUAL_TTL => vec![own, all],
                    ttl => vec![format!("cache_write_{ttl}_tokens"), own, all],
                };
                add(&names, Basis::CacheWrite);
            }
        }
        swaps
    }

    /// Tools that the provider runs, after all else of the prompt: each use may read it again.
    fn tools(&mut self, asked: &Description) {
        let prompt = self.assumptions.iter().flatten();
        let prompt = prompt.filter(|assumption| is_prompt_tokens(&assumption.dimension));
        let prompt = prompt.fold(0, |sum: u64, assumption| {
            sum.saturating_add(assumption.quantity.max().millis() / 1_000)
        });
        let reads = ["input_tool_tokens", "input_tokens"];
        let read = reads.into_iter().find(|name| self.model.prices(name));
        let searches = tools::searches(self.model.id());
        if let Some((searches, brought)) = searches
            && self.model.prices("web_searches")
        {
            self.add("web_searches", Basis::ToolUses, None, whole(searches));
            let brings = read.filter(|_| brought[2] > 0);
            if let Some(dimension) = brings {
                self.add(dimension, Basis::ToolResults, None, whole(brought));
            }
            self.is_unbounded |= brings.is_some() || searches[2] > 1;
        }
        for tool in &asked.server_tools {
            // A model that always searches does it as often as it does.
            if searches.is_some() && tool.is_web_search() {
                continue;
            }
            let Some(uses) = tool.uses(|name| self.model.prices(name), prompt) else { continue };
            let Uses { dimension, unpriced, count, times, brought, is_limited } = uses;
            let is_priced = dimension.is_some();
            if let Some(dimension) = dimension {
                self.add(dimension, Basis::ToolUses, None, whole(count));
            } else if let Some(unpriced) = unpriced {
                self.add(unpriced, Basis::ToolUses, None, [0; 3]);
                self.note(NO_PRICE);
            }
            let brings = read.filter(|_| brought[2] > 0);
            if let Some(dimension) = brings {
                let basis = if tool.is_advisor() { Basis::Advisor } else { Basis::ToolResults };
                self.add(dimension, basis, None, whole(brought));
            }
            if tool.is_advisor() {
                if brings.is_none() {
                    self.add("advisor_calls", Basis::Advisor, None, [0; 3]);
                }
                self.note(ASKS_ANOTHER);
                self.is_unbounded = true;
            }
            for (dimension, each) in tools::FOR_PICTURES {
                if tool.makes_pictures() && self.model.prices(dimension) {
                    let all = std::array::from_fn(|n| times[n].saturating_mul(each[n]));
                    self.add(dimension, Basis::ToolResults, None, whole(all));
                }
            }
            // No provider limits what its tools bring.
            self.is_unbounded |= brings.is_some() || (is_priced && !is_limited);
        }
    }
}

/// Whether a model's id has one of these parts.
fn has_name_of(model: &Model, parts: &[&str]) -> bool {
    let id = model.id().to_ascii_lowercase();
    parts.iter().any(|part| id.contains(part))
}

/// Whether a dimension is of what a model makes.
fn is_made(dimension: &str) -> bool {
    dimension.starts_with("output_") || dimension == "video_seconds"
}

/// Characters of all texts that are sent.
fn characters_sent(asked: &Description) -> Span {
    let shown = asked.texts.iter();
    let shown = shown.fold(0, |sum: u64, text| sum.saturating_add(text.characters()));
    plus(whole([shown; 3]), asked.characters.map_or([0; 3], span))
}

/// How long characters take to be said.
fn spoken_for([min, expected, max]: Span) -> Span {
    let [fast, likely, slow] = SPOKEN;
    [min / fast, expected / likely, max.div_ceil(slow)]
}

fn plus(a: [u64; 3], b: [u64; 3]) -> [u64; 3] {
    std::array::from_fn(|n| a[n].saturating_add(b[n]))
}
