//! A request before the fact, as a body tells it.
//!
//! Texts are read once, into profiles, where the body is: no text reaches anything that is kept or
//! logged.

mod gemini;
mod responses;

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use uc_domain::estimates::{self, Description, Detail, Image, Output, Profile, ServerTool};
use uc_domain::ratios::is_parameter_value;
use utoipa::ToSchema;

use self::gemini::{GeminiContent, Level, add_contents, add_gemini_parts, watched};
use self::responses::{Input, InputSchema};
use super::quantity::{Bounds, QuantityOrBounds};
use crate::Problem;

/// Messages, or parts of one, at most.
const MAX_MESSAGES: usize = 2_000;
const MAX_PARTS: usize = 500;
/// Calls of tools in one message at most.
const MAX_CALLS: usize = 500;
const MAX_TOOLS: usize = 256;
/// Pictures or videos of one kind at most.
const MAX_COUNT: u32 = 1_000;
/// Pixels of one side of a picture at most.
const MAX_SIDE: u32 = 65_535;
/// What `max_output_tokens` may be at most.
const MAX_OUTPUT_TOKENS: u64 = 1_000_000_000;

/// What is to be sent and made, before it is. Texts are counted, not kept. The answer's
/// `assumptions` say how each quantity came about. Nothing is expected to be cached, but the bounds
/// reach as far as the provider's cache may: they begin as if the prompt was read from it, and end as
/// if it was written to it, with providers that do so only when asked only where `cache_control`
/// asks for it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RequestDescription)]
pub struct Request {
    /// A prompt, or a text to embed.
    #[schema(value_type = Option<String>)]
    text: Option<Text>,
    /// Messages as `OpenAI` (Chat Completions) and Anthropic take them, instead of `text`.
    #[schema(max_items = 2_000)]
    messages: Option<Vec<Message>>,
    /// Messages as Gemini takes them, instead of `messages`.
    #[schema(max_items = 2_000)]
    contents: Option<Vec<GeminiContent>>,
    /// A text or items, as `OpenAI`'s Responses take them, instead of `text` and `messages`. What an
    /// earlier response holds is not in it: send its items.
    #[schema(value_type = Option<InputSchema>)]
    input: Option<Input>,
    /// The system prompt, where it is no message: a text, parts that are texts, or an object with
    /// Gemini's `parts`. Also as `instructions` or `systemInstruction`.
    #[serde(alias = "instructions", alias = "systemInstruction", alias = "system_instruction")]
    #[schema(value_type = Option<SystemSchema>)]
    system: Option<System>,
    /// Definitions of tools, as they are sent. Those that the provider runs and bills (searches,
    /// code, pages that are fetched ...), remote servers (MCP, connectors) and advisors are used up
    /// to `max_uses` times, 5 where that is not said.
    #[schema(max_items = 256)]
    tools: Option<Vec<Value>>,
    /// Remote servers whose tools the model may use, as Anthropic takes them beside `tools`.
    #[schema(max_items = 256)]
    mcp_servers: Option<Vec<Value>>,
    /// That all of the prompt is to be kept in the provider's cache, as Anthropic takes it. Parts,
    /// messages and tools may have one of their own. Its `ttl` says what a write costs.
    #[schema(value_type = Option<Value>)]
    cache_control: Option<CacheControl>,
    /// How closely pictures, video and pages are to be looked at, as Gemini's `generationConfig` says
    /// it: `MEDIA_RESOLUTION_LOW`, `_MEDIUM`, `_HIGH`. The bounds reach over all levels then.
    #[serde(alias = "mediaResolution")]
    #[schema(value_type = Option<String>)]
    media_resolution: Option<Level>,
    /// How to search the web, as Chat Completions take it, instead of a tool.
    web_search_options: Option<Map<String, Value>>,
    /// Characters of (further) text that is not shown: prose, code or markup in Latin letters. For
    /// other scripts send the text.
    #[schema(value_type = Option<QuantityOrBounds>)]
    characters: Option<Bounds>,
    /// Pictures that are sent, where they are not in messages.
    input_images: Option<InputImages>,
    /// How many words of text to write; a model writes half to twice as many. Reasoning comes on
    /// top: say `reasoning_tokens`, or a limit.
    #[schema(value_type = Option<QuantityOrBounds>)]
    words: Option<Bounds>,
    /// Tokens that will be written, instead of `words`; with reasoning where `reasoning_tokens`
    /// doesn't say it. A single number is what is expected: from a quarter of it to four times as
    /// many. Where nothing is said, text is expected to be answered with 500 tokens.
    #[schema(value_type = Option<QuantityOrBounds>)]
    output_tokens: Option<Bounds>,
    /// Tokens of reasoning, beside the answer. A single number is what is expected, as above.
    #[schema(value_type = Option<QuantityOrBounds>)]
    reasoning_tokens: Option<Bounds>,
    /// The request's own limit of output, reasoning included: the most. At least a third of it is
    /// expected then. Without it, or bounds of `output_tokens`, the answer says `unbounded`.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    max_output_tokens: Option<u64>,
    /// Pictures to make.
    images: Option<Images>,
    /// Video to make.
    video: Option<Video>,
    /// A text to speak.
    #[schema(value_type = Option<String>)]
    speech: Option<Text>,
    /// Characters of a text to speak, instead of `speech`.
    #[schema(value_type = Option<QuantityOrBounds>)]
    speech_characters: Option<Bounds>,
    /// Seconds of sound to write down.
    #[schema(value_type = Option<QuantityOrBounds>)]
    audio_seconds: Option<Bounds>,
    /// Pages to read.
    #[schema(value_type = Option<QuantityOrBounds>)]
    pages: Option<Bounds>,
}

/// A text, of which only the profile is taken.
#[derive(Debug, Clone, Copy)]
struct Text(Profile);

/// Any value, of which only the profile of its JSON text is taken.
#[derive(Debug, Clone, Copy)]
struct Json(Profile);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        // A text is sent as it is: `arguments` are JSON text already.
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(Self(Profile::of(&text)))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl serde::de::Visitor<'_> for Read {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(Profile::of(text)))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

/// How long what it is said of is to be kept in the provider's cache; an empty text where it leaves
/// that to the provider.
#[derive(Debug, Clone)]
struct CacheControl(String);

impl CacheControl {
    fn of(value: &Value) -> Self {
        let ttl = value.get("ttl").and_then(Value::as_str);
        Self(ttl.filter(|ttl| is_parameter_value(ttl)).unwrap_or_default().to_owned())
    }
}

impl<'de> Deserialize<'de> for CacheControl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self::of(&value))
    }
}

/// One message. What no provider counts (`id`, `tool_call_id` ...) is taken so that messages can be
/// sent as they are.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DescribedMessage)]
#[expect(dead_code, reason = "some fields are taken so that messages can be sent as they are")]
struct Message {
    role: Role,
    /// Who speaks.
    #[schema(value_type = Option<String>)]
    name: Option<Text>,
    /// A text, or parts; null or left out where there are only calls of tools.
    #[schema(value_type = Option<ContentSchema>)]
    content: Option<Content>,
    /// Calls of tools.
    #[schema(max_items = 500)]
    tool_calls: Option<Vec<ToolCall>>,
    /// The call of a function, as it was before `tool_calls`.
    function_call: Option<Called>,
    /// Why the model did not answer.
    #[schema(value_type = Option<String>)]
    refusal: Option<Text>,
    /// Thinking, as some providers give it.
    #[schema(value_type = Option<String>)]
    reasoning_content: Option<Text>,
    /// The same, as others give it.
    #[schema(value_type = Option<String>)]
    reasoning: Option<Text>,
    /// The same, in parts.
    #[schema(value_type = Option<Value>)]
    reasoning_details: Option<Json>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    prefix: Option<IgnoredAny>,
    /// What the model spoke, as `OpenAI` names it, with its `seconds`.
    audio: Option<Spoken>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    tool_call_id: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    annotations: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    id: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    status: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    phase: Option<IgnoredAny>,
    /// Not read: it is in the content, too.
    #[schema(value_type = Option<Value>)]
    parsed: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    citations: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    extra_content: Option<IgnoredAny>,
    /// What Cohere's models plan to do.
    #[schema(value_type = Option<String>)]
    tool_plan: Option<Text>,
    /// What Groq's tools did.
    #[schema(value_type = Option<Value>)]
    executed_tools: Option<Json>,
    /// Pictures that the model made, as `OpenRouter` gives them.
    #[schema(max_items = 500)]
    images: Option<Vec<Part>>,
    /// Not read.
    #[serde(rename = "type")]
    #[schema(value_type = Option<Value>)]
    kind: Option<IgnoredAny>,
    /// That all up to here is to be kept in the provider's cache, and how long.
    #[schema(value_type = Option<Value>)]
    cache_control: Option<CacheControl>,
}

/// An answer that was spoken, and is sent again by its id.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DescribedSpoken)]
#[expect(dead_code, reason = "some fields are taken so that messages can be sent as they are")]
struct Spoken {
    /// How long it is.
    #[schema(value_type = Option<QuantityOrBounds>)]
    seconds: Option<Bounds>,
    /// What it says.
    #[schema(value_type = Option<String>)]
    transcript: Option<Text>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    id: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    expires_at: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    data: Option<IgnoredAny>,
}

/// The call of a tool, as `OpenAI` gives it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DescribedToolCall)]
#[expect(dead_code, reason = "some fields are taken so that messages can be sent as they are")]
struct ToolCall {
    /// Not read.
    #[schema(value_type = Option<Value>)]
    id: Option<IgnoredAny>,
    /// Not read.
    #[serde(rename = "type")]
    #[schema(value_type = Option<Value>)]
    kind: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    index: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    extra_content: Option<IgnoredAny>,
    /// The function that is called.
    function: Option<Called>,
    /// A tool of one's own that is called.
    custom: Option<Called>,
}

/// What is called, and with what.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DescribedCall)]
#[expect(dead_code, reason = "some fields are taken so that messages can be sent as they are")]
struct Called {
    #[schema(value_type = Option<String>)]
    name: Option<Text>,
    #[schema(value_type = Option<Value>)]
    arguments: Option<Json>,
    #[schema(value_type = Option<Value>)]
    input: Option<Json>,
    /// Not read: the arguments, once more.
    #[schema(value_type = Option<Value>)]
    parsed_arguments: Option<IgnoredAny>,
}

/// Whose message it is; all count alike.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DescribedRole)]
enum Role {
    System,
    Developer,
    User,
    Assistant,
    Model,
    Tool,
    Function,
}

#[derive(Debug, Clone)]
enum Content {
    Text(Box<Profile>),
    Parts(Vec<Part>),
    /// An object, of which the JSON text counts: what a tool of the provider brought. Whether a
    /// file was in it, which the text is without.
    Json(Box<Profile>, bool),
}

/// Describes [`Content`] in the `OpenAPI` document.
#[derive(ToSchema)]
#[schema(as = DescribedContent)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes another type in the OpenAPI document")]
enum ContentSchema {
    Text(String),
    Parts(Vec<Part>),
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Content;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or an array of parts")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(Box::new(Profile::of(text))))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                parts: A,
            ) -> Result<Content, A::Error> {
                let parts = serde::de::value::SeqAccessDeserializer::new(parts);
                Vec::deserialize(parts).map(Content::Parts)
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Content, A::Error> {
                let fields = serde::de::value::MapAccessDeserializer::new(map);
                let mut value = Value::deserialize(fields)?;
                let data = value
                    .pointer_mut("/content/source")
                    .filter(|source| source.get("type").and_then(Value::as_str) == Some("base64"));
                let data = data.and_then(|source| source.as_object_mut()?.remove("data"));
                let profile = Profile::of(&value.to_string());
                Ok(Content::Json(Box::new(profile), data.is_some()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The system prompt, as `OpenAI` and Anthropic take it, or as Gemini does.
#[derive(Debug, Clone)]
enum System {
    Content(Content),
    Gemini(GeminiContent),
}

/// Describes [`System`] in the `OpenAPI` document.
#[derive(ToSchema)]
#[schema(as = DescribedSystem)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes another type in the OpenAPI document")]
enum SystemSchema {
    Text(String),
    Parts(Vec<Part>),
    Gemini(GeminiContent),
}

impl<'de> Deserialize<'de> for System {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.is_object() {
            GeminiContent::deserialize(value).map(Self::Gemini)
        } else {
            Content::deserialize(value).map(Self::Content)
        }
        .map_err(serde::de::Error::custom)
    }
}

/// A part of a message. What a picture, sound or file consists of is not read and may be left out;
/// a document that is a text is.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DescribedPart)]
#[expect(dead_code, reason = "some fields are taken so that messages can be sent as they are")]
struct Part {
    #[serde(rename = "type")]
    kind: PartKind,
    /// Of a text.
    #[schema(value_type = Option<String>)]
    text: Option<Text>,
    /// Of a refusal.
    #[schema(value_type = Option<String>)]
    refusal: Option<Text>,
    /// Of thinking: a text, or parts.
    #[schema(value_type = Option<Value>)]
    thinking: Option<Json>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    closed: Option<IgnoredAny>,
    /// Of thinking that can't be read.
    #[schema(value_type = Option<String>)]
    data: Option<Text>,
    /// Of the call of a tool.
    #[schema(value_type = Option<String>)]
    name: Option<Text>,
    /// Of a tool that is named.
    #[schema(value_type = Option<String>)]
    #[serde(alias = "tool")]
    tool_name: Option<Text>,
    /// Of a document as Cohere takes it: a text, or an object of texts.
    #[schema(value_type = Option<Value>)]
    document: Option<Json>,
    /// Of the call of a tool: with what.
    #[schema(value_type = Option<Value>)]
    input: Option<Json>,
    /// Of what a tool answered: a text, or parts; of a tool of the provider also an object.
    #[schema(value_type = Option<Value>)]
    content: Option<Content>,
    /// Of a picture, in pixels; with `height`.
    #[schema(minimum = 1, maximum = 65_535)]
    width: Option<u32>,
    /// Of a picture, in pixels; with `width`.
    #[schema(minimum = 1, maximum = 65_535)]
    height: Option<u32>,
    /// Of a picture: how closely it is to be looked at; may stand in `image_url` too.
    detail: Option<DetailName>,
    /// Of sound and video: how long it is.
    #[schema(value_type = Option<QuantityOrBounds>)]
    seconds: Option<Bounds>,
    /// Of a document or file, also one that the provider's tool fetched: how many pages it has.
    #[schema(value_type = Option<QuantityOrBounds>)]
    pages: Option<Bounds>,
    /// Of a picture: a URL, or an object with `url` and `detail`.
    #[schema(value_type = Option<Value>)]
    image_url: Option<ImageUrl>,
    /// Of a picture or document. `data` of a source of the type `text` is read, and `content` of
    /// one of the type `content`.
    #[schema(value_type = Option<Value>)]
    source: Option<Source>,
    /// Of a document.
    #[schema(value_type = Option<String>)]
    title: Option<Text>,
    /// Of a document.
    #[schema(value_type = Option<String>)]
    context: Option<Text>,
    /// Of what a search found.
    #[schema(value_type = Option<String>)]
    url: Option<Text>,
    /// Of what a search found.
    #[schema(value_type = Option<String>)]
    page_age: Option<Text>,
    /// Of what a search found, as far as it can't be read.
    #[schema(value_type = Option<String>)]
    encrypted_content: Option<Text>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    from: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    to: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    caller: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    server_name: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    input_audio: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    video_url: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    document_url: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    document_name: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    reference_ids: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    index: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    file: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    file_id: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    file_url: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    file_data: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    filename: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    id: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    tool_use_id: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    is_error: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    signature: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    citations: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    annotations: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    logprobs: Option<IgnoredAny>,
    /// That all up to here is to be kept in the provider's cache, and how long.
    #[schema(value_type = Option<Value>)]
    cache_control: Option<CacheControl>,
}

impl Part {
    /// Whether it stands for all before it. One that failed has no content, and stands for nothing.
    fn is_compaction(&self) -> bool {
        self.kind == PartKind::Compaction && self.content.is_some()
    }
}

/// What a part is, by the names of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DescribedPartKind)]
enum PartKind {
    Text,
    InputText,
    OutputText,
    Refusal,
    Thinking,
    RedactedThinking,
    ToolUse,
    ServerToolUse,
    McpToolUse,
    ToolResult,
    McpToolResult,
    WebSearchToolResult,
    WebFetchToolResult,
    CodeExecutionToolResult,
    BashCodeExecutionToolResult,
    TextEditorCodeExecutionToolResult,
    ToolSearchToolResult,
    AdvisorToolResult,
    WebSearchResult,
    SearchResult,
    Compaction,
    ToolReference,
    ContainerUpload,
    Fallback,
    Reference,
    Image,
    ImageUrl,
    InputImage,
    Audio,
    InputAudio,
    Video,
    VideoUrl,
    InputVideo,
    Document,
    DocumentUrl,
    File,
    InputFile,
}

/// How a part is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Text,
    Thought,
    Call,
    Result,
    Found,
    Mark,
    Image,
    Audio,
    Video,
    Document,
}

impl PartKind {
    const fn counted(self) -> Counted {
        match self {
            Self::Text | Self::InputText | Self::OutputText | Self::Refusal => Counted::Text,
            Self::Thinking | Self::RedactedThinking => Counted::Thought,
            Self::ToolUse
            | Self::ServerToolUse
            | Self::McpToolUse
            | Self::ToolReference
            | Self::ContainerUpload => Counted::Call,
            Self::ToolResult
            | Self::SearchResult
            | Self::Compaction
            | Self::McpToolResult
            | Self::WebSearchToolResult
            | Self::WebFetchToolResult
            | Self::CodeExecutionToolResult
            | Self::BashCodeExecutionToolResult
            | Self::TextEditorCodeExecutionToolResult
            | Self::ToolSearchToolResult
            | Self::AdvisorToolResult => Counted::Result,
            Self::WebSearchResult => Counted::Found,
            Self::Fallback | Self::Reference => Counted::Mark,
            Self::Image | Self::ImageUrl | Self::InputImage => Counted::Image,
            Self::Audio | Self::InputAudio => Counted::Audio,
            Self::Video | Self::VideoUrl | Self::InputVideo => Counted::Video,
            Self::Document | Self::DocumentUrl | Self::File | Self::InputFile => Counted::Document,
        }
    }
}

/// How closely a picture is to be looked at.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DescribedDetail)]
enum DetailName {
    Auto,
    Low,
    High,
    Original,
}

impl From<DetailName> for Detail {
    fn from(name: DetailName) -> Self {
        match name {
            DetailName::Auto => Self::Auto,
            DetailName::Low => Self::Low,
            DetailName::High => Self::High,
            DetailName::Original => Self::Original,
        }
    }
}

/// A picture's URL, which is not read, and its detail.
#[derive(Debug, Clone, Copy)]
struct ImageUrl(Option<DetailName>);

impl<'de> Deserialize<'de> for ImageUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[expect(dead_code, reason = "taken so that messages can be sent as they are")]
            url: Option<IgnoredAny>,
            detail: Option<DetailName>,
        }
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = ImageUrl;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL, or an object with url and detail")
            }
            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<ImageUrl, E> {
                Ok(ImageUrl(None))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<ImageUrl, A::Error> {
                let fields = serde::de::value::MapAccessDeserializer::new(map);
                Fields::deserialize(fields).map(|fields| ImageUrl(fields.detail))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Where a picture, document or result comes from: its text or parts, if it is or has them.
#[derive(Debug, Clone)]
struct Source(Option<Content>);

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let content = match value.get("type").and_then(Value::as_str) {
            Some("text") => value.get("data").filter(|data| data.is_string()),
            Some("content") => value.get("content"),
            _ => Some(&value).filter(|value| value.is_string()),
        };
        content.map(Content::deserialize).transpose().map(Self).map_err(serde::de::Error::custom)
    }
}

/// Pictures that are sent.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InputImages {
    /// How many of this size.
    #[schema(minimum = 1, maximum = 1_000)]
    count: u32,
    /// In pixels; with `height`.
    #[schema(minimum = 1, maximum = 65_535)]
    width: Option<u32>,
    /// In pixels; with `width`.
    #[schema(minimum = 1, maximum = 65_535)]
    height: Option<u32>,
    /// How closely they are to be looked at.
    detail: Option<DetailName>,
}

/// Pictures to make.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DescribedImages)]
struct Images {
    /// How many; one where not given.
    #[schema(minimum = 1, maximum = 1_000)]
    count: Option<u32>,
    /// Such as `1024x1024`: the parameter `size`.
    size: Option<String>,
    /// Such as `high`: the parameter `quality`.
    quality: Option<String>,
}

/// Video to make.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DescribedVideo)]
struct Video {
    /// How long each is.
    #[schema(value_type = QuantityOrBounds)]
    seconds: Bounds,
    /// How many; one where not given.
    #[schema(minimum = 1, maximum = 1_000)]
    count: Option<u32>,
    /// Such as `1080p`: the parameter `resolution`.
    resolution: Option<String>,
}

impl Request {
    /// What is asked; `pointer` is where it stands in the body.
    pub fn describe(self, pointer: &str) -> Result<Description, Problem> {
        let refuse =
            |at: &str, detail: &str| Err(Problem::invalid_field(format!("{pointer}{at}"), detail));
        if self.text.is_some() && self.messages.is_some() {
            return refuse("/messages", "Either text or messages.");
        }
        if self.contents.is_some() && (self.text.is_some() || self.messages.is_some()) {
            return refuse("/contents", "Either text, messages or contents.");
        }
        let is_other = self.text.is_some() || self.messages.is_some() || self.contents.is_some();
        if self.input.is_some() && is_other {
            return refuse("/input", "Either text, messages, contents or input.");
        }
        if self.words.is_some() && self.output_tokens.is_some() {
            return refuse("/words", "Either words or output_tokens.");
        }
        if self.speech.is_some() && self.speech_characters.is_some() {
            return refuse("/speech_characters", "Either speech or speech_characters.");
        }
        if self.max_output_tokens.is_some_and(|most| !(1..=MAX_OUTPUT_TOKENS).contains(&most)) {
            return refuse("/max_output_tokens", "1 to 10^9 tokens");
        }
        let mut asked = Description {
            characters: self.characters.map(|bounds| bounds.0),
            output: Output {
                tokens: self.output_tokens.map(|bounds| bounds.0),
                words: self.words.map(|bounds| bounds.0),
                reasoning: self.reasoning_tokens.map(|bounds| bounds.0),
                max_tokens: self.max_output_tokens,
            },
            speech: self.speech.map(|text| text.0),
            speech_characters: self.speech_characters.map(|bounds| bounds.0),
            audio_seconds: self.audio_seconds.map(|bounds| bounds.0),
            pages: self.pages.map(|bounds| bounds.0),
            ..Description::default()
        };
        asked.cache_ttls.extend(self.cache_control.map(|mark| mark.0));
        let resolution = self.media_resolution.and_then(|level| level.0);
        asked.media_resolution = resolution;
        asked.texts.extend(self.text.map(|text| text.0));
        match self.system {
            Some(System::Content(content)) => {
                add_content(&mut asked, content, &format!("{pointer}/system"))?;
            }
            Some(System::Gemini(content)) => {
                let at = format!("{pointer}/system/parts");
                add_gemini_parts(&mut asked, content.parts, resolution, &at)?;
            }
            None => {}
        }
        if let Some(messages) = self.messages {
            add_messages(&mut asked, messages, &format!("{pointer}/messages"))?;
        }
        if let Some(contents) = self.contents {
            add_contents(&mut asked, contents, resolution, &format!("{pointer}/contents"))?;
        }
        if let Some(input) = self.input {
            responses::add_input(&mut asked, input, &format!("{pointer}/input"))?;
        }
        if let Some(servers) = self.mcp_servers {
            if servers.len() > MAX_TOOLS {
                return refuse("/mcp_servers", "at most 256 servers");
            }
            let tools = self.tools.as_deref().unwrap_or_default();
            asked.server_tools = ServerTool::of_mcp_servers(&servers, tools);
        }
        if let Some(tools) = self.tools {
            if tools.len() > MAX_TOOLS {
                return refuse("/tools", "at most 256 tools");
            }
            let named = tools.iter().flat_map(ServerTool::named_in);
            asked.server_tools.extend(named.take(MAX_TOOLS + 1));
            if asked.server_tools.len() > MAX_TOOLS {
                return refuse("/tools", "at most 256 tools");
            }
            let marks = tools.iter().filter_map(|tool| tool.get("cache_control"));
            let marks = marks.filter(|mark| !mark.is_null());
            asked.cache_ttls.extend(marks.map(|mark| CacheControl::of(mark).0));
            asked.tools = Some(Profile::of(&Value::from(tools).to_string()));
        }
        if let Some(options) = self.web_search_options {
            asked.server_tools.push(ServerTool::by_web_search_options(&options));
        }
        if let Some(InputImages { count, width, height, detail }) = self.input_images {
            let at = format!("{pointer}/input_images");
            check_count(count, &at)?;
            let detail = detail.map_or(Detail::Auto, Detail::from);
            asked.input_images.push(Image { count, size: size(width, height, &at)?, detail });
        }
        if let Some(Images { count, size, quality }) = self.images {
            let at = format!("{pointer}/images");
            let count = count.unwrap_or(1);
            check_count(count, &at)?;
            check_value(size.as_deref(), &format!("{at}/size"))?;
            check_value(quality.as_deref(), &format!("{at}/quality"))?;
            asked.images = Some(estimates::Images { count, size, quality });
        }
        if let Some(Video { seconds, count, resolution }) = self.video {
            let at = format!("{pointer}/video");
            let count = count.unwrap_or(1);
            check_count(count, &at)?;
            check_value(resolution.as_deref(), &format!("{at}/resolution"))?;
            asked.video = Some(estimates::Video { seconds: seconds.0, count, resolution });
        }
        if asked.is_empty() {
            return refuse("", "Say what is to be sent or made, such as text or images.");
        }
        Ok(asked)
    }
}

fn add_messages(
    asked: &mut Description,
    messages: Vec<Message>,
    pointer: &str,
) -> Result<(), Problem> {
    if messages.len() > MAX_MESSAGES {
        return Err(Problem::invalid_field(pointer, "at most 2000 messages"));
    }
    // What stands before a compaction is not read again. Anthropic, "Compaction".
    let compacted = messages.iter().rposition(|message| match &message.content {
        Some(Content::Parts(parts)) => parts.iter().any(Part::is_compaction),
        _ => false,
    });
    for (index, message) in messages.into_iter().enumerate().skip(compacted.unwrap_or(0)) {
        add_message(asked, message, &format!("{pointer}/{index}"))?;
    }
    Ok(())
}

fn add_message(asked: &mut Description, message: Message, at: &str) -> Result<(), Problem> {
    let Message { name, content, tool_calls, function_call, refusal, audio, .. } = message;
    let calls = tool_calls.unwrap_or_default();
    let images = message.images.unwrap_or_default();
    let thoughts = [message.reasoning_content, message.reasoning].into_iter().flatten();
    let thoughts: Vec<Profile> = thoughts.map(|text| text.0).collect();
    let is_called = !calls.is_empty() || function_call.is_some();
    let is_said = content.is_some() || refusal.is_some() || audio.is_some();
    if !is_called && !is_said && thoughts.is_empty() && images.is_empty() {
        return Err(Problem::invalid_field(at, "A message has content or calls."));
    }
    if calls.len() > MAX_CALLS {
        return Err(Problem::invalid_field(format!("{at}/tool_calls"), "at most 500 calls"));
    }
    asked.messages += 1;
    asked.cache_ttls.extend(message.cache_control.map(|mark| mark.0));
    if let Some(Spoken { seconds, transcript, .. }) = audio {
        // Beside the sound a provider may count what it says, or not.
        asked.echoes.extend(transcript.map(|text| text.0));
        let at = format!("{at}/audio");
        add_data(asked, Counted::Audio, None, Detail::Auto, seconds, None, &at)?;
    }
    let texts = [name, refusal, message.tool_plan].into_iter().flatten();
    asked.texts.extend(texts.map(|text| text.0));
    asked.thoughts.extend(thoughts);
    asked.thoughts.extend(message.reasoning_details.map(|json| json.0));
    asked.echoes.extend(message.executed_tools.map(|json| json.0));
    if !images.is_empty() {
        add_content(asked, Content::Parts(images), &format!("{at}/images"))?;
    }
    if let Some(content) = content {
        add_content(asked, content, &format!("{at}/content"))?;
    }
    let called = calls.into_iter().flat_map(|call| [call.function, call.custom]);
    for Called { name, arguments, input, .. } in called.chain([function_call]).flatten() {
        asked.calls += 1;
        asked.texts.extend(name.map(|name| name.0));
        asked.texts.extend(arguments.into_iter().chain(input).map(|json| json.0));
    }
    Ok(())
}

fn add_content(asked: &mut Description, content: Content, pointer: &str) -> Result<(), Problem> {
    let parts = match content {
        Content::Text(profile) => {
            asked.texts.push(*profile);
            return Ok(());
        }
        Content::Parts(parts) => parts,
        Content::Json(..) => {
            return Err(Problem::invalid_field(pointer, "a text, or an array of parts"));
        }
    };
    if parts.len() > MAX_PARTS {
        return Err(Problem::invalid_field(pointer, "at most 500 parts"));
    }
    let compacted = parts.iter().rposition(Part::is_compaction);
    for (index, part) in parts.into_iter().enumerate().skip(compacted.unwrap_or(0)) {
        add_part(asked, part, &format!("{pointer}/{index}"))?;
    }
    Ok(())
}

fn add_part(asked: &mut Description, part: Part, pointer: &str) -> Result<(), Problem> {
    let counted = part.kind.counted();
    let is = |kinds: &[Counted]| kinds.contains(&counted);
    for (name, there, may) in [
        ("text", part.text.is_some(), is(&[Counted::Text])),
        ("thinking", part.thinking.is_some(), is(&[Counted::Thought])),
        ("input", part.input.is_some(), is(&[Counted::Call])),
        ("content", part.content.is_some(), is(&[Counted::Result])),
        ("width", part.width.is_some() || part.height.is_some(), is(&[Counted::Image])),
        ("detail", part.detail.is_some(), is(&[Counted::Image])),
        ("seconds", part.seconds.is_some(), is(&[Counted::Audio, Counted::Video])),
        (
            "pages",
            part.pages.is_some(),
            is(&[Counted::Document]) || part.kind == PartKind::WebFetchToolResult,
        ),
    ] {
        if there && !may {
            let detail = "This is not of a part of this type.";
            return Err(Problem::invalid_field(format!("{pointer}/{name}"), detail));
        }
    }
    asked.cache_ttls.extend(part.cache_control.map(|mark| mark.0));
    match counted {
        Counted::Text => {
            let Some(Text(profile)) = part.text.or(part.refusal) else {
                return Err(Problem::invalid_field(pointer, "A part of this type has a text."));
            };
            asked.texts.push(profile);
        }
        Counted::Thought => {
            asked.thoughts.extend(part.thinking.map(|json| json.0));
            asked.thoughts.extend(part.data.map(|text| text.0));
        }
        Counted::Call => {
            asked.calls += 1;
            asked.texts.extend(part.name.into_iter().chain(part.tool_name).map(|name| name.0));
            asked.texts.extend(part.input.map(|input| input.0));
        }
        Counted::Mark => {}
        Counted::Result => {
            asked.calls += 1;
            if part.kind == PartKind::SearchResult {
                asked.texts.extend(part.title.map(|text| text.0));
                if let Some(Source(Some(source))) = part.source {
                    add_content(asked, source, &format!("{pointer}/source"))?;
                }
            }
            match part.content {
                Some(Content::Json(profile, has_file)) if part.kind != PartKind::ToolResult => {
                    asked.echoes.push(*profile);
                    if has_file {
                        add_data(
                            asked,
                            Counted::Document,
                            None,
                            Detail::Auto,
                            None,
                            part.pages,
                            pointer,
                        )?;
                    }
                }
                Some(content) => add_content(asked, content, &format!("{pointer}/content"))?,
                None => {}
            }
        }
        Counted::Found => {
            let found = [part.title, part.url, part.page_age, part.encrypted_content];
            asked.echoes.extend(found.into_iter().flatten().map(|text| text.0));
        }
        Counted::Document if part.document.is_some() => {
            asked.texts.extend(part.document.map(|json| json.0));
        }
        Counted::Document => {
            asked.texts.extend(part.title.into_iter().chain(part.context).map(|text| text.0));
            match part.source {
                Some(Source(Some(content))) => {
                    add_content(asked, content, &format!("{pointer}/source/content"))?;
                }
                _ => add_data(asked, counted, None, Detail::Auto, None, part.pages, pointer)?,
            }
        }
        Counted::Image | Counted::Audio | Counted::Video => {
            let detail = part.detail.or(part.image_url.and_then(|url| url.0));
            let detail = detail.map_or(Detail::Auto, Detail::from);
            let size = size(part.width, part.height, pointer)?;
            add_data(asked, counted, size, detail, part.seconds, None, pointer)?;
        }
    }
    Ok(())
}

/// What is no text: by its size, its length or its pages.
fn add_data(
    asked: &mut Description,
    counted: Counted,
    size: Option<(u32, u32)>,
    detail: Detail,
    seconds: Option<Bounds>,
    pages: Option<Bounds>,
    pointer: &str,
) -> Result<(), Problem> {
    let (sum, more, missing) = match counted {
        Counted::Audio => {
            (&mut asked.input_audio_seconds, seconds, "Say how long it is, in seconds.")
        }
        Counted::Video => {
            let Some(seconds) = seconds else {
                return Err(Problem::invalid_field(pointer, "Say how long it is, in seconds."));
            };
            return add_video(asked, watched(None, seconds, pointer)?, pointer);
        }
        Counted::Document => {
            (&mut asked.input_pages, pages, "Say how many pages it has, in pages.")
        }
        _ => {
            asked.input_images.push(Image { count: 1, size, detail });
            return Ok(());
        }
    };
    let Some(Bounds(more)) = more else {
        return Err(Problem::invalid_field(pointer, missing));
    };
    add_bounds(sum, more, pointer)
}

/// Seconds of video, and frames of them.
fn add_video(
    asked: &mut Description,
    [seconds, frames]: [estimates::Bounds; 2],
    pointer: &str,
) -> Result<(), Problem> {
    add_bounds(&mut asked.input_video_seconds, seconds, pointer)?;
    add_bounds(&mut asked.input_video_frames, frames, pointer)
}

fn add_bounds(
    sum: &mut Option<estimates::Bounds>,
    more: estimates::Bounds,
    pointer: &str,
) -> Result<(), Problem> {
    let total = match *sum {
        Some(before) => before.checked_add(more),
        None => Some(more),
    };
    *sum = Some(total.ok_or_else(|| Problem::invalid_field(pointer, "at most 12 digits"))?);
    Ok(())
}

fn size(
    width: Option<u32>,
    height: Option<u32>,
    pointer: &str,
) -> Result<Option<(u32, u32)>, Problem> {
    match (width, height) {
        (None, None) => Ok(None),
        (Some(width), Some(height)) => {
            let fits = |side| (1..=MAX_SIDE).contains(&side);
            if fits(width) && fits(height) {
                Ok(Some((width, height)))
            } else {
                Err(Problem::invalid_field(pointer, "1 to 65535 pixels a side"))
            }
        }
        _ => Err(Problem::invalid_field(pointer, "Both width and height, or neither.")),
    }
}

fn check_count(count: u32, pointer: &str) -> Result<(), Problem> {
    if (1..=MAX_COUNT).contains(&count) {
        return Ok(());
    }
    Err(Problem::invalid_field(format!("{pointer}/count"), "1 to 1000"))
}

fn check_value(value: Option<&str>, pointer: &str) -> Result<(), Problem> {
    if value.is_none_or(is_parameter_value) {
        return Ok(());
    }
    Err(Problem::invalid_field(pointer, "1 to 64 printable characters"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn describe(request: Value) -> Result<Description, Problem> {
        serde_json::from_value::<Request>(request).expect("a request").describe("")
    }

    /// Messages are taken as they were received.
    #[test]
    fn parts_of_all_kinds() {
        for (message, texts, thoughts) in [
            (json!({"content": [{"type": "compaction", "content": "So far."}]}), 1, 0),
            (json!({"content": [{"type": "compaction", "content": null}]}), 0, 0),
            (
                json!({"content": [{"type": "search_result", "source": "https://example.com",
                    "title": "A", "content": [{"type": "text", "text": "B"}]}]}),
                3,
                0,
            ),
            (
                json!({"content": [{"type": "tool_result", "tool_use_id": "a", "content": [
                    {"type": "tool_reference", "tool_name": "look"}]}]}),
                1,
                0,
            ),
            (
                json!({"content": [{"type": "fallback", "from": {"model": "a"},
                    "to": {"model": "b"}}, {"type": "container_upload", "file_id": "f"}]}),
                0,
                0,
            ),
            (
                json!({"content": [{"type": "document", "title": "A", "source": {
                    "type": "content", "content": [{"type": "text", "text": "B"}]}}]}),
                2,
                0,
            ),
            // As Mistral, Cohere, Groq, OpenRouter and the SDKs have them.
            (json!({"content": null, "reasoning_content": "B"}), 0, 1),
            (
                json!({"content": [{"type": "document_url", "pages": 1,
                    "document_url": "https://example.com/a.pdf"},
                    {"type": "reference", "reference_ids": [1]},
                    {"type": "document", "document": {"id": "a", "data": "A"}}]}),
                1,
                0,
            ),
            (
                json!({"tool_plan": "A", "citations": [], "executed_tools": [{"index": 0}],
                    "images": [{"type": "image_url", "image_url": {"url": "data:a"}, "index": 0}],
                    "parsed": null, "tool_calls": [{"id": "a", "type": "function",
                        "extra_content": {"google": {"thought_signature": "a"}},
                        "function": {"name": "B", "arguments": "{}", "parsed_arguments": {}}}]}),
                3,
                0,
            ),
            (
                json!({"content": "A", "prefix": true, "reasoning": "B",
                    "reasoning_details": [{"type": "reasoning.text", "text": "B"}]}),
                1,
                2,
            ),
            (
                json!({"content": [{"type": "text", "text": "A"}, {"type": "thinking",
                    "closed": true, "thinking": [{"type": "text", "text": "B"}]}]}),
                1,
                1,
            ),
        ] {
            let mut message = message;
            message["role"] = json!("assistant");
            let asked = describe(json!({"messages": [message.clone()]})).expect("described");
            assert_eq!((asked.texts.len(), asked.thoughts.len()), (texts, thoughts), "{message}");
        }
    }

    /// What a compaction stands for is not sent to the model again.
    #[test]
    fn only_what_follows_a_compaction_is_read() {
        let compacted = |summary: Value| {
            let asked = describe(json!({"system": "Always.", "messages": [
                {"role": "user", "content": [{"type": "document", "source": {"type": "url"}}]},
                {"role": "assistant", "content": [{"type": "text", "text": "Before."},
                    {"type": "compaction", "content": summary}, {"type": "text", "text": "A"}]},
                {"role": "user", "content": "B"}]}));
            asked.map(|asked| (asked.texts.len(), asked.messages))
        };
        assert_eq!(compacted(json!("In short.")).expect("described"), (4, 2));
        // One that failed stands for nothing: the document's pages are asked for.
        assert!(compacted(Value::Null).is_err());
    }

    /// `input` as it is sent to Responses, and as they give it back.
    #[test]
    fn what_responses_take() {
        let check = |input: Value, counted: [usize; 4], calls: u32, messages: u32| {
            let asked = describe(json!({"instructions": "Be kind.", "input": input.clone()}));
            let asked = asked.expect("described");
            let lengths = [&asked.texts, &asked.thoughts, &asked.echoes].map(Vec::len);
            let [texts, thoughts, echoes] = lengths;
            let images = asked.input_images.len();
            assert_eq!([texts, thoughts, echoes, images], counted, "{input}");
            assert_eq!((asked.calls, asked.messages), (calls, messages), "{input}");
        };
        let said = json!({"type": "message", "id": "m", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}]});
        let seen = json!({"role": "user", "content": [{"type": "input_text", "text": "Look"},
            {"type": "input_image", "image_url": "https://example.com/a.png"}]});
        let called = json!({"type": "function_call", "id": "f", "call_id": "c", "name": "look",
            "arguments": "{}", "status": "completed"});
        let answered = json!({"type": "function_call_output", "call_id": "c", "output": "ok"});
        let shown = json!({"type": "function_call_output", "call_id": "c", "output": [
            {"type": "input_image", "file_id": "f"}]});
        let thought = json!({"type": "reasoning", "id": "r", "summary": [
            {"type": "summary_text", "text": "So"}], "encrypted_content": "gAAAAA"});
        let searched = json!({"type": "web_search_call", "id": "w", "status": "completed",
            "action": {"type": "search", "query": "tides"}});
        let painted = json!({"type": "image_generation_call", "id": "i", "result": "iVBORw0K"});
        check(json!("Hello"), [2, 0, 0, 0], 0, 1);
        check(json!([said, seen]), [3, 0, 0, 1], 0, 2);
        check(json!([called, answered, shown]), [4, 0, 0, 1], 3, 0);
        check(json!([thought, searched, painted]), [1, 2, 2, 1], 0, 0);
        for wrong in [
            json!([{"type": "item_reference", "id": "m"}]),
            json!([{"type": "another"}]),
            json!([{"type": 1}]),
            json!([{"role": "user", "contents": "a"}]),
            json!({"role": "user", "content": "a"}),
            json!([1]),
        ] {
            let request = json!({"input": wrong.clone()});
            assert!(serde_json::from_value::<Request>(request).is_err(), "{wrong}");
        }
        assert!(describe(json!({"input": "A", "text": "B"})).is_err());
    }

    #[test]
    fn what_gemini_takes() {
        let asked = describe(json!({"systemInstruction": {"parts": [{"text": "Be kind."}]},
            "contents": [{"parts": [{"fileData": {"fileUri": "https://example.com/watch"},
                "seconds": 10}]}]}));
        let asked = asked.expect("described");
        assert_eq!((asked.texts.len(), asked.input_video_frames.is_some()), (1, true));
        for (fps, frames) in [(json!(0.5), 5), (json!(2.0), 20), (json!("1.5"), 15), (json!(1), 10)]
        {
            let asked = describe(json!({"contents": [{"role": "model"}, {"parts": [
                {"toolCall": {"id": "a"}}, {"toolResponse": {"id": "a"}},
                {"fileData": {"mimeType": "video/mp4"}, "seconds": 10,
                    "videoMetadata": {"fps": fps}}]}]}));
            let asked = asked.expect("described");
            let counted = asked.input_video_frames.expect("frames");
            assert_eq!(counted.expected().millis(), frames * 1_000, "{fps}");
            assert_eq!(asked.texts.len(), 2);
        }
    }

    /// Pictures and pages are counted as what they are, wherever their base64 stands.
    #[test]
    fn files_in_results_are_no_text() {
        let long = "iVBORw0K".repeat(10_000);
        let answered = |data: &Value| {
            json!({"contents": [{"role": "user", "parts": [{"functionResponse": {
                "name": "look", "response": {"ok": true}, "parts": [data]}}]}]})
        };
        let fetched = |data: Option<&str>, pages: Option<u32>| {
            json!({"messages": [{"role": "assistant", "content": [{
                "type": "web_fetch_tool_result", "tool_use_id": "a", "pages": pages, "content": {
                    "type": "web_fetch_result", "url": "https://example.com/a.pdf", "content": {
                        "type": "document", "source": {"type": "base64",
                            "media_type": "application/pdf", "data": data}}}}]}]})
        };
        let check = |request: Value, images: usize, has_pages: bool| {
            let asked = describe(request).expect("described");
            let texts = asked.texts.iter().chain(&asked.echoes);
            assert!(texts.map(Profile::characters).sum::<u64>() < 500);
            assert_eq!(asked.input_images.len(), images);
            assert_eq!(asked.input_pages.is_some(), has_pages);
        };
        let picture = json!({"inlineData": {"mimeType": "image/png", "data": &long}});
        check(answered(&picture), 1, false);
        let document = json!({"mimeType": "application/pdf", "data": &long});
        check(answered(&json!({"inline_data": document, "pages": 2})), 0, true);
        check(fetched(Some(&long), Some(3)), 0, true);
        assert!(describe(answered(&json!({"inlineData": document}))).is_err());
        assert!(describe(fetched(Some(&long), None)).is_err());
    }
}
