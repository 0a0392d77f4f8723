//! A request before the fact, as a body tells it.
//!
//! Texts are read once, into profiles, where the body is: no text reaches anything that is kept or
//! logged.

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use uc_domain::estimates::{self, Description, Image, Output, Profile};
use uc_domain::ratios::is_parameter_value;
use utoipa::ToSchema;

use super::quantity::{Bounds, QuantityOrBounds};
use crate::Problem;

/// Messages, or parts of one, at most.
const MAX_MESSAGES: usize = 2_000;
const MAX_PARTS: usize = 500;
const MAX_TOOLS: usize = 256;
/// Pictures or videos of one kind at most.
const MAX_COUNT: u32 = 1_000;
/// Pixels of one side of a picture at most.
const MAX_SIDE: u32 = 65_535;
/// What `max_output_tokens` may be at most.
const MAX_OUTPUT_TOKENS: u64 = 1_000_000_000;

/// What is to be sent and made, before it is. Texts are counted, not kept. The answer's
/// `assumptions` say how each quantity came about. Nothing is taken to be cached.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RequestDescription)]
pub struct Request {
    /// A prompt, or a text to embed.
    #[schema(value_type = Option<String>)]
    text: Option<Text>,
    /// Messages as `OpenAI` and Anthropic take them, instead of `text`.
    #[schema(max_items = 2_000)]
    messages: Option<Vec<Message>>,
    /// The system prompt, where it is no message.
    #[schema(value_type = Option<String>)]
    system: Option<Text>,
    /// Definitions of tools, as they are sent.
    #[schema(max_items = 256)]
    tools: Option<Vec<Value>>,
    /// Characters of (further) text that is not shown: prose, code or markup in Latin letters. For
    /// other scripts send the text.
    #[schema(value_type = Option<QuantityOrBounds>)]
    characters: Option<Bounds>,
    /// Pictures that are sent, where they are not in messages.
    input_images: Option<InputImages>,
    /// How many words of text to write; a model writes half to one and a half times as many.
    #[schema(value_type = Option<QuantityOrBounds>)]
    words: Option<Bounds>,
    /// Tokens that will be written, reasoning included, instead of `words`. A single number is what
    /// is expected: from a quarter of it to four times as many. Where nothing is said, text is
    /// expected to be answered with 500 tokens.
    #[schema(value_type = Option<QuantityOrBounds>)]
    output_tokens: Option<Bounds>,
    /// The request's own limit of output, reasoning included: the most. At least a third of it is
    /// expected then.
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

/// One message.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DescribedMessage)]
struct Message {
    #[expect(dead_code, reason = "that it is a role is all that counts")]
    role: Role,
    /// Who speaks.
    #[schema(value_type = Option<String>)]
    name: Option<Text>,
    /// A text, or parts.
    #[schema(value_type = ContentSchema)]
    content: Content,
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
}

#[derive(Debug, Clone)]
struct Content(Vec<Part>);

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
                Ok(Content(vec![Part::text(Profile::of(text))]))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                parts: A,
            ) -> Result<Content, A::Error> {
                let parts = serde::de::value::SeqAccessDeserializer::new(parts);
                Vec::deserialize(parts).map(Content)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A part of a message. What a picture or sound consists of (`image_url`, `source`, `input_audio`)
/// is not read and may be left out.
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
    /// Of a picture, in pixels; with `height`.
    #[schema(minimum = 1, maximum = 65_535)]
    width: Option<u32>,
    /// Of a picture, in pixels; with `width`.
    #[schema(minimum = 1, maximum = 65_535)]
    height: Option<u32>,
    /// Of sound: how long it is.
    #[schema(value_type = Option<QuantityOrBounds>)]
    seconds: Option<Bounds>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    image_url: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    source: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    input_audio: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    detail: Option<IgnoredAny>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    cache_control: Option<IgnoredAny>,
}

impl Part {
    fn text(profile: Profile) -> Self {
        Self {
            kind: PartKind::Text,
            text: Some(Text(profile)),
            width: None,
            height: None,
            seconds: None,
            image_url: None,
            source: None,
            input_audio: None,
            detail: None,
            cache_control: None,
        }
    }
}

/// What a part is, by the names of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DescribedPartKind)]
enum PartKind {
    Text,
    InputText,
    OutputText,
    Image,
    ImageUrl,
    InputImage,
    Audio,
    InputAudio,
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
                max_tokens: self.max_output_tokens,
            },
            speech: self.speech.map(|text| text.0),
            speech_characters: self.speech_characters.map(|bounds| bounds.0),
            audio_seconds: self.audio_seconds.map(|bounds| bounds.0),
            pages: self.pages.map(|bounds| bounds.0),
            ..Description::default()
        };
        asked.texts.extend(self.text.iter().chain(&self.system).map(|text| text.0));
        if let Some(messages) = self.messages {
            add_messages(&mut asked, messages, &format!("{pointer}/messages"))?;
        }
        if let Some(tools) = self.tools {
            if tools.len() > MAX_TOOLS {
                return refuse("/tools", "at most 256 tools");
            }
            asked.tools = Some(Profile::of(&Value::from(tools).to_string()));
        }
        if let Some(InputImages { count, width, height }) = self.input_images {
            let at = format!("{pointer}/input_images");
            check_count(count, &at)?;
            asked.input_images.push(Image { count, size: size(width, height, &at)? });
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
    for (index, Message { name, content, .. }) in messages.into_iter().enumerate() {
        asked.messages += 1;
        asked.texts.extend(name.map(|name| name.0));
        let at = format!("{pointer}/{index}/content");
        if content.0.len() > MAX_PARTS {
            return Err(Problem::invalid_field(at, "at most 500 parts"));
        }
        for (index, part) in content.0.into_iter().enumerate() {
            add_part(asked, part, &format!("{at}/{index}"))?;
        }
    }
    Ok(())
}

fn add_part(asked: &mut Description, part: Part, pointer: &str) -> Result<(), Problem> {
    let Part { kind, text, width, height, seconds, .. } = part;
    let is_image = matches!(kind, PartKind::Image | PartKind::ImageUrl | PartKind::InputImage);
    let is_audio = matches!(kind, PartKind::Audio | PartKind::InputAudio);
    for (name, there, may) in [
        ("text", text.is_some(), !is_image && !is_audio),
        ("width", width.is_some() || height.is_some(), is_image),
        ("seconds", seconds.is_some(), is_audio),
    ] {
        if there && !may {
            let detail = "This is not of a part of this type.";
            return Err(Problem::invalid_field(format!("{pointer}/{name}"), detail));
        }
    }
    if is_image {
        asked.input_images.push(Image { count: 1, size: size(width, height, pointer)? });
    } else if is_audio {
        let Some(Bounds(seconds)) = seconds else {
            return Err(Problem::invalid_field(pointer, "Say how long it is, in seconds."));
        };
        let sum = match asked.input_audio_seconds {
            Some(before) => before.checked_add(seconds),
            None => Some(seconds),
        };
        asked.input_audio_seconds =
            Some(sum.ok_or_else(|| Problem::invalid_field(pointer, "at most 12 digits"))?);
    } else {
        let Some(Text(profile)) = text else {
            return Err(Problem::invalid_field(pointer, "A part of this type has a text."));
        };
        asked.texts.push(profile);
    }
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
