//! Contents and media as Gemini takes them; either spelling.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use uc_domain::Quantity;
use uc_domain::estimates::{self, Description, Detail, MediaResolution, Profile};
use utoipa::ToSchema;

use super::{
    Bounds, Counted, Json, MAX_MESSAGES, MAX_PARTS, QuantityOrBounds, Role, Text, add_data,
    add_video, size,
};
use crate::Problem;

/// Frames of a second of video at most, in thousandths. Gemini, "Video understanding".
const MAX_FPS: u64 = 24_000;

/// A media resolution, as a text or as an object with `level`; `None` where it is left to the model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level(pub(super) Option<MediaResolution>);

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let level = value.get("level").unwrap_or(&value).as_str().unwrap_or_default();
        let level = level.to_ascii_lowercase();
        match level.strip_prefix("media_resolution_").unwrap_or(&level) {
            "unspecified" => Ok(Self(None)),
            "low" => Ok(Self(Some(MediaResolution::Low))),
            "medium" => Ok(Self(Some(MediaResolution::Medium))),
            "high" => Ok(Self(Some(MediaResolution::High))),
            "ultra_high" => Ok(Self(Some(MediaResolution::UltraHigh))),
            _ => Err(serde::de::Error::custom(
                "MEDIA_RESOLUTION_LOW, _MEDIUM, _HIGH, _ULTRA_HIGH or _UNSPECIFIED",
            )),
        }
    }
}

/// Which of a video is looked at.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = DescribedVideoMetadata)]
pub(super) struct VideoMetadata {
    /// Frames a second, above 0, at most 24; 1 where not given. May be a number with decimals.
    #[serde(default, deserialize_with = "frame_rate")]
    #[schema(value_type = Option<QuantityOrBounds>)]
    fps: Option<Bounds>,
    /// Where it begins, such as `12.5s`.
    #[serde(alias = "start_offset")]
    #[schema(value_type = Option<String>)]
    start_offset: Option<Offset>,
    /// Where it ends.
    #[serde(alias = "end_offset")]
    #[schema(value_type = Option<String>)]
    end_offset: Option<Offset>,
}

/// Bounds, or a number, by its shortest decimal text: that is what the body says.
fn frame_rate<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Bounds>, D::Error> {
    let mut value = Value::deserialize(deserializer)?;
    if value.is_f64() {
        let text = value.to_string();
        value = Value::from(text.strip_suffix(".0").unwrap_or(&text));
    }
    Option::deserialize(value).map_err(serde::de::Error::custom)
}

/// Thousandths of a second, from the beginning.
#[derive(Debug, Clone, Copy)]
struct Offset(u64);

impl Offset {
    /// `None` where it is no number of seconds with an `s` behind it.
    fn parse(text: &str) -> Option<u64> {
        let text = text.strip_suffix('s')?;
        let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |part: &str| {
            (1..=9).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !is_number(whole) || !is_number(rest) {
            return None;
        }
        let millis: u64 = format!("{rest:0<3}")[..3].parse().ok()?;
        Some(whole.parse::<u64>().ok()? * 1_000 + millis)
    }
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("seconds, such as 12.5s");
        Self::parse(&text).map(Self).ok_or_else(wrong)
    }
}

/// Seconds of a video that are looked at, and frames of them.
pub(super) fn watched(
    metadata: Option<VideoMetadata>,
    Bounds(seconds): Bounds,
    pointer: &str,
) -> Result<[estimates::Bounds; 2], Problem> {
    let refuse = |name: &str, detail: &'static str| {
        Err(Problem::invalid_field(format!("{pointer}/videoMetadata/{name}"), detail))
    };
    let [min, expected, max] =
        [seconds.min(), seconds.expected(), seconds.max()].map(Quantity::millis);
    let mut seconds = [min, expected, max];
    let mut fps = [1_000; 3];
    if let Some(VideoMetadata { fps: said, start_offset, end_offset }) = metadata {
        let start = start_offset.map_or(0, |offset| offset.0);
        let end = end_offset.map_or(u64::MAX, |offset| offset.0);
        if end <= start {
            return refuse("endOffset", "This is not behind the start.");
        }
        // Whoever says a start may have said how long the rest is: it is the most still.
        let cut = |millis: u64| millis.min(end).saturating_sub(start);
        let likely = if end_offset.is_some() { cut(expected) } else { expected };
        seconds = [cut(min), likely, max.min(end - start)];
        if let Some(Bounds(said)) = said {
            fps = [said.min(), said.expected(), said.max()].map(Quantity::millis);
            if fps[0] == 0 || fps[2] > MAX_FPS {
                return refuse("fps", "above 0, at most 24 frames a second");
            }
        }
    }
    // A frame that has begun is a frame.
    let frames = |n: usize| u128::from(seconds[n]) * u128::from(fps[n]);
    let whole = |product: u128| product.div_ceil(1_000_000).saturating_mul(1_000);
    let frames = [frames(0) / 1_000, whole(frames(1)), whole(frames(2))];
    let bounds = |[min, expected, max]: [u64; 3]| {
        let [min, expected, max] = [min, expected, max].map(Quantity::from_millis);
        let bounds = || estimates::Bounds::new(min?, expected?, max?);
        bounds().ok_or_else(|| Problem::invalid_field(pointer, "at most 12 digits"))
    };
    let frames = frames.map(|frames| u64::try_from(frames).unwrap_or(u64::MAX));
    Ok([bounds(seconds)?, bounds(frames)?])
}

/// One message as Gemini takes it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DescribedGeminiContent)]
pub(super) struct GeminiContent {
    #[expect(dead_code, reason = "that it is a role is all that counts")]
    role: Option<Role>,
    #[serde(default)]
    #[schema(max_items = 500)]
    pub(super) parts: Vec<GeminiPart>,
}

/// A part of a message as Gemini takes it; either spelling.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = DescribedGeminiPart)]
#[expect(dead_code, reason = "some fields are taken so that messages can be sent as they are")]
pub(super) struct GeminiPart {
    #[schema(value_type = Option<String>)]
    text: Option<Text>,
    /// Whether the text is thinking.
    thought: Option<bool>,
    /// Not read.
    #[serde(alias = "thought_signature")]
    #[schema(value_type = Option<Value>)]
    thought_signature: Option<IgnoredAny>,
    /// Not read.
    #[serde(alias = "part_metadata")]
    #[schema(value_type = Option<Value>)]
    part_metadata: Option<IgnoredAny>,
    /// A picture, sound, video or document: what it is, is told by its MIME type.
    #[serde(alias = "inline_data")]
    inline_data: Option<GeminiData>,
    /// The same, in a file.
    #[serde(alias = "file_data")]
    file_data: Option<GeminiData>,
    /// The call of a tool.
    #[serde(alias = "function_call")]
    #[schema(value_type = Option<Value>)]
    function_call: Option<Json>,
    /// What the tool answered; its `parts` are counted as parts of a message are.
    #[serde(alias = "function_response")]
    #[schema(value_type = Option<Value>)]
    function_response: Option<FunctionResponse>,
    /// Code that a tool ran.
    #[serde(alias = "executable_code")]
    #[schema(value_type = Option<Value>)]
    executable_code: Option<Json>,
    /// What it gave.
    #[serde(alias = "code_execution_result")]
    #[schema(value_type = Option<Value>)]
    code_execution_result: Option<Json>,
    /// The call of a tool of the provider.
    #[serde(alias = "tool_call")]
    #[schema(value_type = Option<Value>)]
    tool_call: Option<Json>,
    /// What it answered.
    #[serde(alias = "tool_response")]
    #[schema(value_type = Option<Value>)]
    tool_response: Option<Json>,
    /// Of a picture, in pixels; with `height`.
    #[schema(minimum = 1, maximum = 65_535)]
    width: Option<u32>,
    /// Of a picture, in pixels; with `width`.
    #[schema(minimum = 1, maximum = 65_535)]
    height: Option<u32>,
    /// Of sound and video: how long it is.
    #[schema(value_type = Option<QuantityOrBounds>)]
    seconds: Option<Bounds>,
    /// Of a document: how many pages it has.
    #[schema(value_type = Option<QuantityOrBounds>)]
    pages: Option<Bounds>,
    /// Of video: which frames of it are looked at.
    #[serde(alias = "video_metadata")]
    video_metadata: Option<VideoMetadata>,
    /// How closely it is to be looked at: an object with `level`, as for `media_resolution` of the
    /// request.
    #[serde(alias = "media_resolution")]
    #[schema(value_type = Option<Value>)]
    media_resolution: Option<Level>,
}

/// What a tool answered: its JSON text without the `parts`, and these.
#[derive(Debug, Clone)]
struct FunctionResponse(Profile, Vec<GeminiPart>);

impl<'de> Deserialize<'de> for FunctionResponse {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let parts = value.as_object_mut().and_then(|fields| fields.remove("parts"));
        let parts = parts.filter(|parts| !parts.is_null());
        let parts = parts.map(Vec::deserialize).transpose().map_err(serde::de::Error::custom)?;
        Ok(Self(Profile::of(&value.to_string()), parts.unwrap_or_default()))
    }
}

/// Data of which only the type is read.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = DescribedGeminiData)]
#[expect(dead_code, reason = "some fields are taken so that messages can be sent as they are")]
struct GeminiData {
    /// Such as `image/png`. A file without one is a video, by its URL.
    #[serde(alias = "mime_type")]
    mime_type: Option<String>,
    /// Not read.
    #[schema(value_type = Option<Value>)]
    data: Option<IgnoredAny>,
    /// Not read.
    #[serde(alias = "file_uri")]
    #[schema(value_type = Option<Value>)]
    file_uri: Option<IgnoredAny>,
    /// Not read.
    #[serde(alias = "display_name")]
    #[schema(value_type = Option<Value>)]
    display_name: Option<IgnoredAny>,
}

pub(super) fn add_contents(
    asked: &mut Description,
    contents: Vec<GeminiContent>,
    resolution: Option<MediaResolution>,
    pointer: &str,
) -> Result<(), Problem> {
    if contents.len() > MAX_MESSAGES {
        return Err(Problem::invalid_field(pointer, "at most 2000 messages"));
    }
    for (index, GeminiContent { parts, .. }) in contents.into_iter().enumerate() {
        asked.messages += 1;
        add_gemini_parts(asked, parts, resolution, &format!("{pointer}/{index}/parts"))?;
    }
    Ok(())
}

pub(super) fn add_gemini_parts(
    asked: &mut Description,
    parts: Vec<GeminiPart>,
    resolution: Option<MediaResolution>,
    pointer: &str,
) -> Result<(), Problem> {
    if parts.len() > MAX_PARTS {
        return Err(Problem::invalid_field(pointer, "at most 500 parts"));
    }
    for (index, part) in parts.into_iter().enumerate() {
        let at = format!("{pointer}/{index}");
        let is_thought = part.thought == Some(true);
        let into = if is_thought { &mut asked.thoughts } else { &mut asked.texts };
        into.extend(part.text.map(|text| text.0));
        let jsons = [
            part.function_call,
            part.executable_code,
            part.code_execution_result,
            part.tool_call,
            part.tool_response,
        ];
        for Json(profile) in jsons.into_iter().flatten() {
            asked.calls += 1;
            asked.texts.push(profile);
        }
        if let Some(FunctionResponse(profile, parts)) = part.function_response {
            asked.calls += 1;
            asked.texts.push(profile);
            add_gemini_parts(asked, parts, resolution, &format!("{at}/functionResponse/parts"))?;
        }
        // Links to videos need no type. Gemini, "Video understanding".
        let untyped = if part.inline_data.is_some() { "" } else { "video" };
        let Some(data) = part.inline_data.or(part.file_data) else { continue };
        let mime_type = data.mime_type.as_deref().unwrap_or(untyped);
        let counted = match mime_type.split('/').next() {
            Some("image") => Counted::Image,
            Some("audio") => Counted::Audio,
            Some("video") => Counted::Video,
            Some("application" | "text") => Counted::Document,
            _ => {
                let detail = "What is of this type can't be counted.";
                return Err(Problem::invalid_field(at, detail));
            }
        };
        let size = size(part.width, part.height, &at)?;
        let own = part.media_resolution.and_then(|level| level.0);
        asked.media_resolution = asked.media_resolution.max(own);
        let detail = own.or(resolution).map_or(Detail::Auto, Detail::Level);
        if let (Counted::Video, Some(seconds)) = (counted, part.seconds) {
            let watched = watched(part.video_metadata, seconds, &at)?;
            add_video(asked, watched, &at)?;
            continue;
        }
        if part.video_metadata.is_some() && !matches!(counted, Counted::Video) {
            let detail = "This is not of a part of this type.";
            return Err(Problem::invalid_field(format!("{at}/videoMetadata"), detail));
        }
        add_data(asked, counted, size, detail, part.seconds, part.pages, &at)?;
    }
    Ok(())
}
