//! `OpenAI`: Chat Completions, Embeddings, Responses, Images, transcriptions and speech, Realtime.
//!
//! Which API a body comes from is seen from its counts: `prompt_tokens` is Chat Completions or
//! Embeddings, as `chat.rs` reads them. The others name `input_tokens`. Images is told by its
//! `data`, by its event's type or, where those were cut away, by `input_tokens_details` that split
//! text from images; Realtime and transcriptions write `input_token_details`.
//!
//! | body | dimension |
//! |---|---|
//! | `input_tokens`, without what is below | `input_tokens` |
//! | `..details.audio_tokens`, `.image_tokens` | `input_audio_tokens`, `input_image_tokens` |
//! | `..details.cached_tokens` | `cache_read_tokens`; with `cached_tokens_details` by kind, `cache_read_audio_tokens`, `cache_read_image_tokens` |
//! | `..details.cache_write_tokens` | `cache_write_tokens`; those kept for 12 hours `cache_write_12h_tokens` |
//! | `output_tokens`, without what is below | `output_tokens` |
//! | `output_tokens_details.reasoning_tokens` | `output_reasoning_tokens` |
//! | `output_token_details.audio_tokens` of Realtime; all output of speech | `output_audio_tokens` |
//! | output of Images, but for `output_tokens_details.text_tokens` | `output_image_tokens` |
//! | `data` of Images without usage | `output_images` |
//! | `usage.seconds` of transcriptions billed by duration, else a transcription's `duration` | `audio_seconds` |
//! | `tool_usage.web_search`, else the searches among `output` | `web_searches` |
//! | `file_search_call` items of `output` | `file_searches` |
//! | Chat Completions with a `url_citation` among the annotations: their models search once | `web_searches` |
//! | containers of `code_interpreter_call` and hosted `shell_call` items of `output` | `code_sessions`, one for each container |
//! | `memory_limit` of the tools that used one, unless it is `1g` | the parameter `memory_limit` |
//! | `tools` with a `web_search_preview`, where there were searches | the parameter `web_search_tool` is `web_search_preview` |
//! | `tool_usage.image_gen`, another model's tokens | `image_gen_input_tokens`, `image_gen_output_image_tokens`, `image_gen_cache_read_tokens` ... |
//! | `image_generation_call` items that no `tool_usage` counts | `image_gen_output_images` |
//! | `svg_usage`, another model's tokens | `svg_input_tokens`, `svg_output_tokens`; the model is the parameter `svg_model` |
//!
//! Subsets: details are within their totals, cached and written tokens within the prompt (see
//! `chat.rs` for which kind was cached where that is not told), reasoning within the output.
//!
//! Outside the usage stand the tools: searches, containers, and other models' images. A container
//! lives on over several responses; each response that names it counts it, as a body can't tell
//! whether another did, nor for how many minutes it ran. Opening a page that was found, and finding
//! text in it, are free; so are searches and images that failed. The search models of Chat Completions search for every request, and show
//! it where they cite: who cuts bodies down to their usage prices `requests` of those models.
//!
//! A stream: Chat Completions tell all usage in the last part, the others in the event that ends
//! the response. Every `response.done` of a Realtime session is a response of its own and bills
//! the conversation again: each is rated by its own prompt, those without usage are nothing. A
//! transcription in such a session is billed as its own model, and must be charged apart. Whether
//! each of several streamed images tells its own usage or that of all is not documented: two ends
//! are refused.
//!
//! `service_tier` becomes `service_class`; an image's `size` and `quality` keep their names. The
//! body within a line of the Batch API's results doesn't tell that it is one: give the whole line,
//! or `service_class` as a parameter. Speech is told by its event's `type`: cut that away and its
//! output is text, which a table for speech doesn't price.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Quantity;

use super::body::{Body, Told};
use super::chat::{CHAT_DETAILS, Chat, Completion, Prompt};
use super::stream::Events;
use super::{
    Provider, ProviderError, ResponseUsage, SERVICE_CLASS, compatible, contradictory, missing,
};

pub(super) const PROVIDER: Provider = Provider {
    name: "openai",
    aliases: &[],
    read,
    read_stream,
    #[cfg(test)]
    cases: tests::cases,
};

/// The events that end a response, of the Responses API and of Realtime, and have it within.
const RESPONSE_ENDS: [&str; 4] =
    ["response.completed", "response.incomplete", "response.failed", "response.done"];

/// The event that has one item of a response's output, before the response ends.
const ITEM_DONE: &str = "response.output_item.done";

/// The event of a Realtime session that has a transcription's usage.
const TRANSCRIBED: &str = "conversation.item.input_audio_transcription.completed";

pub(super) fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    match body.object("response")? {
        Some(response) => read_response(&response, &[]),
        None => read_response(body, &[]),
    }
}

pub(super) fn read_stream(events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
    let is = |event: &Body<'_>, kinds: &[&str]| {
        event.text("type").is_some_and(|kind| kinds.contains(&kind))
    };
    let mut session = None;
    let (mut items, mut item_ids) = (Vec::new(), BTreeSet::new());
    let mut sum: Option<(ResponseUsage, bool)> = None;
    let mut ids = BTreeSet::new();
    for event in events.iter() {
        if let Some(update) = event.object("session")? {
            session = Some(update);
        }
        items.extend(item_done(event, &mut item_ids)?);
        let transcription = is(event, &[TRANSCRIBED]);
        let (told, pointer) = if transcription {
            (event.object("usage")?.map(|_| event.clone()), event.pointer().to_owned())
        } else if is(event, &RESPONSE_ENDS) {
            let response = event.object("response")?;
            (response.filter(|r| r.get("usage").is_some()), event.at("response"))
        } else {
            continue;
        };
        let Some(told) = told else {
            items.clear();
            continue;
        };
        if let Some(id) = told.text("id")
            && !ids.insert(id)
        {
            return Err(contradictory(told.at("id"), "the stream has this response twice"));
        }
        // A session's responses don't name their model.
        let told = match &session {
            Some(session) if !transcription => told.over(session.clone()),
            _ => told,
        };
        let read = read_response(&told, &items)?;
        items.clear();
        match &mut sum {
            None => sum = Some((read, transcription)),
            Some((_, of_transcriptions)) if *of_transcriptions != transcription => {
                return Err(contradictory(
                    pointer,
                    "transcriptions are billed as their own model: charge them apart from the \
                     responses",
                ));
            }
            Some((sum, _)) => sum.add_further(read),
        }
    }
    match sum {
        Some((sum, _)) => Ok(sum),
        None => read_chat_stream(events),
    }
}

/// The item of a response's output that an event of a stream tells to be done, the first time that it
/// does: a stream that was resumed may have it twice.
pub(super) fn item_done<'a>(
    event: &Body<'a>,
    ids: &mut BTreeSet<&'a str>,
) -> Result<Option<Body<'a>>, ProviderError> {
    if event.text("type") != Some(ITEM_DONE) {
        return Ok(None);
    }
    let item = event.object("item")?;
    // An empty id tells nothing.
    let is_new = |item: &Body<'a>| item.text("id").is_none_or(|id| id.is_empty() || ids.insert(id));
    Ok(item.filter(is_new))
}

/// All of them in a stream.
pub(super) fn items_done<'a>(events: &[Body<'a>]) -> Result<Vec<Body<'a>>, ProviderError> {
    let mut ids = BTreeSet::new();
    let items = events.iter().map(|event| item_done(event, &mut ids));
    items.filter_map(Result::transpose).collect()
}

fn read_chat_stream(events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
    let mut read = events.read_last(&[&["usage"]], read)?;
    let mut cited = false;
    for event in events.iter() {
        cited |= cites_pages(event)?;
    }
    if cited && !read.usage.contains_key(WEB_SEARCHES) {
        read.add(WEB_SEARCHES, 1);
    }
    Ok(read)
}

const WEB_SEARCHES: &str = "web_searches";

/// Whether a chat's answer, or a part of it, cites pages of the web.
pub(super) fn cites_pages(body: &Body<'_>) -> Result<bool, ProviderError> {
    if body.get("choices").is_none() {
        return Ok(false);
    }
    for choice in body.list("choices")? {
        let Some(message) = choice.first_object(&["message", "delta"])? else { continue };
        for annotation in message.list("annotations")? {
            if annotation.text("type") == Some("url_citation") {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// `items` were told before the response itself, which has its `output` only where it was not cut
/// away.
fn read_response(body: &Body<'_>, items: &[Body<'_>]) -> Result<ResponseUsage, ProviderError> {
    let mut read = ResponseUsage::of(body);
    read.set(SERVICE_CLASS, body.parameter("service_tier", Chat::OPENAI.standard_tiers)?);
    let Some(usage) = body.object("usage")? else {
        match compatible::transcription(body)? {
            Some(transcription) => return Ok(transcription),
            None => images_without_usage(&mut read, body)?,
        }
        return Ok(read);
    };
    if Chat::is_usage(&usage)? {
        Chat::OPENAI.read_usage(&mut read, &usage)?;
        read.add(WEB_SEARCHES, u64::from(cites_pages(body)?));
    } else if let Some(seconds) = duration(&usage)? {
        read.add_quantity("audio_seconds", seconds);
    } else if is_images(body, &usage)? {
        images(&mut read, body, &usage)?;
    } else {
        response(&mut read, body, &usage, items)?;
    }
    Ok(read)
}

/// The seconds that a transcription is billed by, where it is not billed by tokens.
fn duration(usage: &Body<'_>) -> Result<Option<Quantity>, ProviderError> {
    match usage.text("type") {
        Some("duration") => {
            let at = usage.at("seconds");
            usage
                .measure("seconds")?
                .map(Some)
                .ok_or_else(|| missing(format!("the response has no {at}")))
        }
        None if usage.get("input_tokens").is_none() => usage.measure("seconds"),
        _ => Ok(None),
    }
}

/// Responses, Realtime, transcriptions and speech.
fn response(
    read: &mut ResponseUsage,
    body: &Body<'_>,
    usage: &Body<'_>,
    items: &[Body<'_>],
) -> Result<(), ProviderError> {
    let (input, output) = input_and_output(usage)?;
    prompt(read, usage, input)?;
    if body.text("type") == Some("speech.audio.done") {
        read.add("output_audio_tokens", output);
    } else {
        let details = usage.one_object(&OUTPUT_DETAILS)?;
        Completion { total: output, of: "output_tokens", reasoning_inside: true }
            .add_to(read, details.as_ref())?;
    }
    tools(read, body, &all_items(body, items)?)
}

/// The details of each side, also where a gateway wrote them as another API does.
const INPUT_DETAILS: [&str; 3] = ["input_tokens_details", "input_token_details", CHAT_DETAILS[0]];
const OUTPUT_DETAILS: [&str; 3] =
    ["output_tokens_details", "output_token_details", CHAT_DETAILS[1]];

/// The items of a response's output, and those that were told before it and are not among them: a
/// gateway may leave out, too, what is no message. Others give an item another id each time: so none
/// is added to as many of its kind as were told, and of fewer those that none of them looks like.
pub(super) fn all_items<'a>(
    body: &Body<'a>,
    told_before: &[Body<'a>],
) -> Result<Vec<Body<'a>>, ProviderError> {
    let mut items = body.list("output")?;
    let kind = |item: &Body<'a>| item.text("type");
    let id = |item: &Body<'a>| item.text("id").filter(|id| !id.is_empty());
    let ids: BTreeSet<_> = items.iter().filter_map(id).collect();
    for kind_told in told_before.iter().map(kind).collect::<BTreeSet<_>>() {
        let told = || told_before.iter().filter(|item| kind(item) == kind_told);
        let told_ids: BTreeSet<_> = told().filter_map(id).collect();
        let there: Vec<_> = items.iter().filter(|item| kind(item) == kind_told).collect();
        let missing = told().count().saturating_sub(there.len());
        let is_told = |item: &Body<'a>| id(item).is_some_and(|id| told_ids.contains(id));
        let others = there.into_iter().filter(|item| !is_told(item));
        let mut others: Vec<_> = others.map(what_counts).collect();
        let left_out = told().filter(|item| id(item).is_none_or(|id| !ids.contains(id)));
        let mut left_out: Vec<_> = left_out.cloned().collect();
        left_out.retain(|item| {
            let own = what_counts(item);
            let same = others.iter().position(|other| *other == own);
            same.map(|same| others.swap_remove(same)).is_none()
        });
        left_out.truncate(missing);
        items.extend(left_out);
    }
    Ok(items)
}

/// What decides whether an item of the output is billed, and as what, apart from its type.
fn what_counts<'a>(item: &Body<'a>) -> impl PartialEq + use<'a> {
    let action = item.get("action").and_then(|action| action.get("type"));
    (item.text("name"), action, has_failed(item), item.text("container_id"))
}

fn prompt(read: &mut ResponseUsage, usage: &Body<'_>, input: u64) -> Result<(), ProviderError> {
    let details = usage.one_object(&INPUT_DETAILS)?;
    let [cached] = match &details {
        Some(details) => details.parts(["cached_tokens"], input, "input_tokens")?,
        None => [0],
    };
    Prompt { total: input, of: "input_tokens", cached }.add_to(read, details.as_ref())
}

/// What `OpenAI`'s own tools did for a response whose output are these `items`.
fn tools(
    read: &mut ResponseUsage,
    body: &Body<'_>,
    items: &[Body<'_>],
) -> Result<(), ProviderError> {
    let mut web_searches = 0;
    let mut file_searches = 0;
    let mut images = 0;
    let mut containers = BTreeSet::new();
    let mut unnamed_containers = 0;
    let mut in_containers = BTreeSet::new();
    for item in items {
        match item.text("type") {
            Some("web_search_call") => web_searches += u64::from(is_search(item)?),
            Some("file_search_call") => file_searches += u64::from(!has_failed(item)),
            Some("image_generation_call") => images += u64::from(!has_failed(item)),
            Some("code_interpreter_call") => {
                in_containers.insert("code_interpreter");
                match item.text("container_id") {
                    Some(container) => {
                        containers.insert(container);
                    }
                    None => unnamed_containers += 1,
                }
            }
            // Without a container the caller's own shell ran.
            Some("shell_call") => {
                if let Some(environment) = item.object("environment")?
                    && let Some(container) = environment.text("container_id")
                {
                    in_containers.insert("shell");
                    containers.insert(container);
                }
            }
            _ => {}
        }
    }
    offered_tools(read, body, &in_containers)?;
    let counted = body.object("tool_usage")?;
    if let Some(counted) = &counted
        && let Some(searches) = counted.object("web_search")?
    {
        web_searches = searches.required_count("num_requests")?;
    }
    read.add(WEB_SEARCHES, web_searches);
    if web_searches == 0 {
        read.parameters.remove(WEB_SEARCH_TOOL);
    }
    read.add("file_searches", file_searches);
    read.add("code_sessions", unnamed_containers + to_count(containers.len()));
    let generated = match &counted {
        Some(counted) => counted.object("image_gen")?,
        None => None,
    };
    let counted = match &generated {
        Some(generated) => image_gen(read, generated)?,
        None => false,
    };
    // Their price must not be lost where their tokens are.
    read.add("image_gen_output_images", if counted { 0 } else { images });
    Ok(())
}

/// Whether a `web_search_call` searched: one that was trimmed of its action counts.
pub(super) fn is_search(item: &Body<'_>) -> Result<bool, ProviderError> {
    let action = item.object("action")?;
    let kind = action.as_ref().and_then(|action| action.text("type"));
    Ok(!has_failed(item) && matches!(kind, None | Some("search")))
}

/// Whether the call of a tool failed. That such calls are billed is not documented: nothing came of
/// them, and so they are not.
pub(super) fn has_failed(item: &Body<'_>) -> bool {
    item.text("status") == Some("failed")
}

const WEB_SEARCH_TOOL: &str = "web_search_tool";

/// What of the tools that a response could use decides their prices; `in_containers` are the types
/// of those that ran in a container.
fn offered_tools(
    read: &mut ResponseUsage,
    body: &Body<'_>,
    in_containers: &BTreeSet<&str>,
) -> Result<(), ProviderError> {
    let mut memory: Option<Told> = None;
    for tool in body.list("tools")? {
        let Some(kind) = tool.text("type") else { continue };
        if kind.starts_with("web_search_preview") {
            read.set(WEB_SEARCH_TOOL, Told::Value("web_search_preview".to_owned()));
        }
        // A container that was there before is named, and nothing says how large it is.
        let container = ["container", "environment"].into_iter().find(|field| {
            in_containers.contains(kind) && tool.get(field).is_some_and(Value::is_object)
        });
        let Some(field) = container else { continue };
        let Some(container) = tool.object(field)? else { continue };
        let limit = container.parameter("memory_limit", &["1g"])?;
        if memory.as_ref().is_some_and(|other| other.value() != limit.value()) {
            return Err(contradictory(
                container.blame("memory_limit"),
                "containers of several sizes have several prices: charge the sessions as usage",
            ));
        }
        memory = Some(limit);
    }
    read.set("memory_limit", memory.unwrap_or(Told::Nothing));
    Ok(())
}

/// The tokens of the model that made images for a response; whether it made any.
fn image_gen(read: &mut ResponseUsage, generated: &Body<'_>) -> Result<bool, ProviderError> {
    let (input, output) = input_and_output(generated)?;
    let images_in = match generated.one_object(&INPUT_DETAILS)? {
        Some(details) => image_tokens(&details, input, "input_tokens")?,
        None => 0,
    };
    let images_out = match generated.one_object(&OUTPUT_DETAILS)? {
        Some(details) => image_tokens(&details, output, "output_tokens")?,
        None => output,
    };
    let [cached] = generated.parts(["cached_tokens"], input, "input_tokens")?;
    let text_in = input - images_in;
    let (cached_text, cached_images) = match generated.object("cached_tokens_details")? {
        Some(details) => {
            let [images] = details.parts(["cached_image_tokens"], images_in, "images")?;
            let [text] = details.parts(["cached_text_tokens"], text_in, "text")?;
            generated.check_total("cached_tokens", images + text)?;
            (text, images)
        }
        // Text is first.
        None => (cached.min(text_in), cached.saturating_sub(text_in)),
    };
    read.add("image_gen_input_tokens", text_in - cached_text);
    read.add("image_gen_input_image_tokens", images_in - cached_images);
    read.add("image_gen_cache_read_tokens", cached_text);
    read.add("image_gen_cache_read_image_tokens", cached_images);
    read.add("image_gen_output_tokens", output - images_out);
    read.add("image_gen_output_image_tokens", images_out);
    Ok(output > 0)
}

fn images(
    read: &mut ResponseUsage,
    body: &Body<'_>,
    usage: &Body<'_>,
) -> Result<(), ProviderError> {
    let (input, output) = input_and_output(usage)?;
    prompt(read, usage, input)?;
    let images = match usage.one_object(&OUTPUT_DETAILS)? {
        Some(details) if details.get("image_tokens").is_some() => {
            image_tokens(&details, output, "output_tokens")?
        }
        // What is not text is images.
        Some(details) => {
            let [text] = details.parts(["text_tokens"], output, "output_tokens")?;
            output - text
        }
        None => output,
    };
    read.add("output_image_tokens", images);
    read.add("output_tokens", output - images);
    if let Some(svg) = body.object("svg_usage")? {
        let (input, output) = input_and_output(&svg)?;
        let [_] = svg.parts(["reasoning_tokens"], output, "output_tokens")?;
        read.add("svg_input_tokens", input);
        read.add("svg_output_tokens", output);
        read.set("svg_model", svg.parameter("model", &[])?);
    }
    image_parameters(read, body)
}

fn images_without_usage(read: &mut ResponseUsage, body: &Body<'_>) -> Result<(), ProviderError> {
    let count = image_data(body).filter(|_| !body.is_error()).unwrap_or(0);
    if count == 0 {
        return Err(body.no_usage(
            "of a stream, ask for it (stream_options.include_usage) and give the last part, or all",
        ));
    }
    read.add("output_images", count);
    image_parameters(read, body)
}

fn image_parameters(read: &mut ResponseUsage, body: &Body<'_>) -> Result<(), ProviderError> {
    read.set("size", body.parameter("size", &["auto"])?);
    read.set("quality", body.parameter("quality", &["auto"])?);
    Ok(())
}

/// The number of images in `data`, where it is a list of images: embeddings and lists of other
/// things name their kind in `object`.
fn image_data(body: &Body<'_>) -> Option<u64> {
    let data = body.get("data")?.as_array()?;
    let all_images = body.get("object").is_none()
        && data.iter().all(|item| item.is_object() && item.get("object").is_none());
    all_images.then(|| to_count(data.len()))
}

/// Whether a usage that names `input_tokens` is of Images.
fn is_images(body: &Body<'_>, usage: &Body<'_>) -> Result<bool, ProviderError> {
    match body.text("type") {
        Some("image_generation.completed" | "image_edit.completed") => return Ok(true),
        Some(_) => return Ok(false),
        None => {}
    }
    if ["object", "output", "text"].iter().any(|field| body.get(field).is_some()) {
        return Ok(false);
    }
    let split =
        usage.object("input_tokens_details")?.is_some_and(|d| d.get("image_tokens").is_some());
    let reasoned = usage
        .object("output_tokens_details")?
        .is_some_and(|details| details.get("reasoning_tokens").is_some());
    Ok(body.get("data").is_some() || (split && !reasoned))
}

fn input_and_output(usage: &Body<'_>) -> Result<(u64, u64), ProviderError> {
    let input = usage.required_count("input_tokens")?;
    let output = usage.required_count("output_tokens")?;
    usage.check_total("total_tokens", input + output)?;
    Ok((input, output))
}

/// How many of `total` tokens are images; what the details leave over is text.
fn image_tokens(details: &Body<'_>, total: u64, of: &str) -> Result<u64, ProviderError> {
    let [images, _] = details.parts(["image_tokens", "text_tokens"], total, of)?;
    Ok(images)
}

/// The number of items of a list, which memory bounds.
fn to_count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::providers::tests::{
        Case,
        Expected::{Contradictory, Missing, Usage},
        case, check_provider, count, fixture, side,
    };
    use crate::providers::{ProviderError, usage_from_response};

    const CHAT: &str = "https://platform.openai.com/docs/api-reference/chat/object";
    const CHAT_STREAM: &str = "https://platform.openai.com/docs/api-reference/chat-streaming";
    const CACHING: &str = "https://platform.openai.com/docs/guides/prompt-caching";
    const AUDIO: &str = "https://platform.openai.com/docs/guides/audio";
    const PREDICTED: &str = "https://platform.openai.com/docs/guides/predicted-outputs";
    const EMBEDDINGS: &str = "https://platform.openai.com/docs/api-reference/embeddings/create";
    const RESPONSES: &str = "https://platform.openai.com/docs/api-reference/responses/object";
    const RESPONSES_STREAM: &str =
        "https://platform.openai.com/docs/api-reference/responses-streaming";
    const PRICING: &str = "https://platform.openai.com/docs/pricing";
    const IMAGES: &str = "https://platform.openai.com/docs/api-reference/images/object";
    const IMAGES_STREAM: &str = "https://platform.openai.com/docs/api-reference/images-streaming";
    const TRANSCRIPTION: &str =
        "https://platform.openai.com/docs/api-reference/audio/createTranscription";
    const SPEECH: &str = "https://platform.openai.com/docs/api-reference/audio/createSpeech";
    const REALTIME: &str =
        "https://platform.openai.com/docs/api-reference/realtime-server-events/response/done";
    const REALTIME_COSTS: &str = "https://platform.openai.com/docs/guides/realtime-costs";
    const ERRORS: &str = "https://platform.openai.com/docs/guides/error-codes";
    const WEB_SEARCH: &str = "https://platform.openai.com/docs/guides/tools-web-search";
    const SHELL: &str = "https://developers.openai.com/api/docs/guides/tools-shell";
    const CODE: &str = "https://platform.openai.com/docs/guides/tools-code-interpreter";
    const BATCH: &str = "https://platform.openai.com/docs/guides/batch";
    const WHISPER: &str =
        "https://platform.openai.com/docs/api-reference/audio/verbose-json-object";
    const IMAGE_ENDS: &str = "https://platform.openai.com/docs/api-reference/images-streaming/\
                              image_generation/completed";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        [
            chat(),
            chat_streams(),
            embeddings(),
            responses(),
            tools(),
            batches(),
            searches(),
            containers(),
            images(),
            audio(),
            speech(),
            realtime(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn chat() -> Vec<Case> {
        let usage = |usage: Value| json!({"model": "m", "usage": usage});
        let details = |details: Value| {
            usage(json!({
                "prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": details
            }))
        };
        vec![
            case(
                CHAT,
                json!({
                    "id": "chatcmpl-1", "object": "chat.completion",
                    "model": "gpt-5.1-2025-11-13", "choices": [], "service_tier": "default",
                    "usage": {
                        "prompt_tokens": 2006, "completion_tokens": 412, "total_tokens": 2418,
                        "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
                        "completion_tokens_details": {
                            "reasoning_tokens": 256, "audio_tokens": 0,
                            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0
                        }
                    }
                }),
                Usage(
                    "gpt-5.1-2025-11-13: cache_read_tokens 1920, input_tokens 86, \
                     output_reasoning_tokens 256, output_tokens 156",
                ),
            ),
            case(
                AUDIO,
                usage(json!({
                    "prompt_tokens": 340, "completion_tokens": 121, "total_tokens": 461,
                    "prompt_tokens_details": {
                        "audio_tokens": 290, "text_tokens": 30, "image_tokens": 20
                    },
                    "completion_tokens_details": {"audio_tokens": 96, "text_tokens": 25}
                })),
                Usage(
                    "m: input_audio_tokens 290, input_image_tokens 20, input_tokens 30, \
                     output_audio_tokens 96, output_tokens 25",
                ),
            ),
            // More was cached than there is text: the rest of it is audio.
            case(
                CACHING,
                usage(json!({
                    "prompt_tokens": 100, "completion_tokens": 1,
                    "prompt_tokens_details": {"cached_tokens": 70, "audio_tokens": 60}
                })),
                Usage(
                    "m: cache_read_audio_tokens 30, cache_read_tokens 40, input_audio_tokens 30, \
                     output_tokens 1",
                ),
            ),
            case(
                CACHING,
                usage(json!({
                    "prompt_tokens": 100, "completion_tokens": 0,
                    "prompt_tokens_details": {
                        "cached_tokens": 20, "cache_write_tokens": 50,
                        "cache_write_tokens_details": {"ttl_30m_tokens": 10, "ttl_12h_tokens": 40}
                    }
                })),
                Usage(
                    "m: cache_read_tokens 20, cache_write_12h_tokens 40, cache_write_tokens 10, \
                     input_tokens 30",
                ),
            ),
            // Tokens of a prediction that were rejected are output too.
            case(
                PREDICTED,
                usage(json!({
                    "prompt_tokens": 5, "completion_tokens": 9,
                    "completion_tokens_details": {
                        "accepted_prediction_tokens": 4, "rejected_prediction_tokens": 3
                    }
                })),
                Usage("m: input_tokens 5, output_tokens 9"),
            ),
            // `null` is absent; a zero that is told is a zero.
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": null,
                    "prompt_tokens_details": null, "completion_tokens_details": null
                })),
                Usage("m: input_tokens 5, output_tokens 3"),
            ),
            case(
                CHAT,
                usage(json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})),
                Usage("m: "),
            ),
            case(
                PRICING,
                json!({
                    "service_tier": "priority",
                    "usage": {"prompt_tokens": 1, "completion_tokens": 1}
                }),
                Usage("-: input_tokens 1, output_tokens 1 service_class=priority"),
            ),
            // A tool call is output as any other.
            case(
                CHAT,
                json!({
                    "model": "gpt-4o-2024-08-06", "object": "chat.completion",
                    "choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": [{
                        "type": "function", "function": {"name": "f", "arguments": "{}"}
                    }]}}],
                    "usage": {"prompt_tokens": 82, "completion_tokens": 17, "total_tokens": 99}
                }),
                Usage("gpt-4o-2024-08-06: input_tokens 82, output_tokens 17"),
            ),
            // Counts of another API that a gateway writes beside: zeros are not told, others agree.
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 5, "completion_tokens": 3, "input_tokens": 0, "output_tokens": 0
                })),
                Usage("m: input_tokens 5, output_tokens 3"),
            ),
            case(
                RESPONSES,
                usage(json!({
                    "prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 5, "output_tokens": 3
                })),
                Usage("m: input_tokens 5, output_tokens 3"),
            ),
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 5, "completion_tokens": 3, "input_tokens": 5, "output_tokens": 3
                })),
                Usage("m: input_tokens 5, output_tokens 3"),
            ),
            case(
                CHAT,
                json!({"usage": {
                    "prompt_tokens": 9, "completion_tokens": 5, "input_tokens": 9,
                    "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4},
                    "output_tokens_details": {"reasoning_tokens": 3}
                }}),
                Usage(
                    "-: cache_read_tokens 4, input_tokens 5, output_reasoning_tokens 3, \
                     output_tokens 2",
                ),
            ),
            case(
                CHAT,
                json!({"usage": {
                    "prompt_tokens": 9, "completion_tokens": 5, "input_tokens": 9,
                    "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
                    "input_tokens_details": {"cached_tokens": 4}
                }}),
                Contradictory("/usage/input_tokens_details/cached_tokens"),
            ),
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 5, "completion_tokens": 3, "input_tokens": 500,
                    "output_tokens": 3
                })),
                Contradictory("/usage/input_tokens"),
            ),
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 5, "completion_tokens": 0, "input_tokens": 5, "output_tokens": 3
                })),
                Contradictory("/usage/output_tokens"),
            ),
            case(CHAT, usage(json!({})), Missing("/usage/input_tokens")),
            case(CHAT, usage(json!({"prompt_tokens": 8})), Missing("/usage/completion_tokens")),
            case(CHAT, usage(json!({"completion_tokens": 8})), Missing("/usage/prompt_tokens")),
            case(ERRORS, json!({"error": {"type": "tokens"}}), Missing("nothing was used")),
            case(CHAT, json!({"usage": "none"}), Contradictory("/usage")),
            case(
                CHAT,
                usage(json!({"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 11})),
                Contradictory("/usage/total_tokens"),
            ),
            case(
                CHAT,
                details(json!({"cached_tokens": 11})),
                Contradictory("/usage/prompt_tokens_details/cached_tokens"),
            ),
            case(
                CHAT,
                details(json!({"audio_tokens": 6, "text_tokens": 6})),
                Contradictory("/usage/prompt_tokens_details/text_tokens"),
            ),
            case(
                CACHING,
                details(json!({"cached_tokens": 6, "cache_write_tokens": 6})),
                Contradictory("/usage/prompt_tokens_details/cache_write_tokens"),
            ),
            case(
                CACHING,
                details(json!({
                    "cache_write_tokens": 6, "cache_write_tokens_details": {"ttl_12h_tokens": 5}
                })),
                Contradictory("/usage/prompt_tokens_details/cache_write_tokens"),
            ),
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 5,
                    "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 2}
                })),
                Contradictory("/usage/completion_tokens_details/reasoning_tokens"),
            ),
        ]
    }

    fn chat_streams() -> Vec<Case> {
        let chunk = |usage: Value| {
            json!({
                "id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4o-mini",
                "choices": [], "usage": usage
            })
        };
        let last = chunk(json!({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}));
        let mut other = last.clone();
        other["id"] = json!("chatcmpl-2");
        vec![
            case(
                CHAT_STREAM,
                fixture(include_str!("../../../../events/responses/openai-chat-stream.json")),
                Usage(
                    "gpt-5.1-2025-11-13: cache_read_tokens 1024, input_tokens 96, output_tokens 9",
                ),
            ),
            case(CHAT_STREAM, last.clone(), Usage("gpt-4o-mini: input_tokens 9, output_tokens 4")),
            case(
                CHAT_STREAM,
                json!([chunk(Value::Null), chunk(Value::Null), last, "[DONE]"]),
                Usage("gpt-4o-mini: input_tokens 9, output_tokens 4"),
            ),
            // What the last part was trimmed of, the first has.
            case(
                CHAT_STREAM,
                json!([
                    {"model": "m", "service_tier": "flex", "choices": [{}]},
                    {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
                ]),
                Usage("m: input_tokens 1, output_tokens 2 service_class=flex"),
            ),
            case(CHAT_STREAM, json!([last, other]), Contradictory("/1/id")),
            case(
                CHAT_STREAM,
                json!([
                    chunk(Value::Null),
                    chunk(json!({
                        "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 1
                    }))
                ]),
                Contradictory("/1/usage/total_tokens"),
            ),
            case(CHAT_STREAM, chunk(Value::Null), Missing("include_usage")),
            case(CHAT_STREAM, json!([chunk(Value::Null), "[DONE]"]), Missing("broke off, or")),
            case(
                ERRORS,
                json!([chunk(Value::Null), {"error": {"code": "server_error"}}]),
                Missing("broke off with an error"),
            ),
        ]
    }

    fn embeddings() -> Vec<Case> {
        vec![
            case(
                EMBEDDINGS,
                json!({
                    "object": "list", "model": "text-embedding-3-small",
                    "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
                    "usage": {"prompt_tokens": 8, "total_tokens": 8}
                }),
                Usage("text-embedding-3-small: input_tokens 8"),
            ),
            case(
                EMBEDDINGS,
                json!({"model": "m", "usage": {"prompt_tokens": 8, "total_tokens": 8}}),
                Usage("m: input_tokens 8"),
            ),
            case(
                EMBEDDINGS,
                json!({"usage": {"prompt_tokens": 0, "total_tokens": 0}}),
                Usage("-: "),
            ),
            case(
                EMBEDDINGS,
                json!({"usage": {"prompt_tokens": 8, "total_tokens": 9}}),
                Contradictory("/usage/total_tokens"),
            ),
            case(EMBEDDINGS, json!({"object": "list", "data": [{}]}), Missing("no usage")),
        ]
    }

    fn responses() -> Vec<Case> {
        let response = json!({
            "id": "resp_1", "object": "response", "status": "completed", "error": null,
            "model": "gpt-5.4-mini-2026-03-17", "service_tier": "flex",
            "output": [{"type": "reasoning"}, {"type": "message"}],
            "usage": {
                "input_tokens": 5328, "input_tokens_details": {"cached_tokens": 4096},
                "output_tokens": 870, "output_tokens_details": {"reasoning_tokens": 640},
                "total_tokens": 6198
            }
        });
        let read = Usage(
            "gpt-5.4-mini-2026-03-17: cache_read_tokens 4096, input_tokens 1232, \
             output_reasoning_tokens 640, output_tokens 230 service_class=flex",
        );
        let event = |kind: &str, response: &Value| json!({"type": kind, "response": response});
        let mut started = response.clone();
        started["usage"] = Value::Null;
        let mut failed = started.clone();
        failed["error"] = json!({"code": "server_error", "message": ""});
        vec![
            case(RESPONSES, response.clone(), read),
            // The end was trimmed of its output: the items came before it.
            case(
                RESPONSES_STREAM,
                json!([
                    {"type": "response.output_item.done", "output_index": 0,
                     "item": {"type": "web_search_call", "status": "completed",
                              "action": {"type": "search", "query": "q"}}},
                    {"type": "response.completed", "response": {
                        "id": "r", "model": "m", "output": [],
                        "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
                    }}
                ]),
                Usage("m: input_tokens 3, output_tokens 2, web_searches 1"),
            ),
            // It lists its message alone; or one of two calls, by no id or another.
            case(
                RESPONSES_STREAM,
                json!([
                    {"type": "response.output_item.done",
                     "item": {"id": "ws_1", "type": "web_search_call"}},
                    {"type": "response.output_item.done", "item": {"id": "m", "type": "message"}},
                    {"type": "response.completed", "response": {
                        "output": [{"id": "m", "type": "message"}],
                        "usage": {"input_tokens": 3, "output_tokens": 2}
                    }}
                ]),
                Usage("-: input_tokens 3, output_tokens 2, web_searches 1"),
            ),
            case(
                RESPONSES_STREAM,
                json!([
                    {"type": "response.output_item.done",
                     "item": {"id": "ws_1", "type": "web_search_call"}},
                    {"type": "response.output_item.done",
                     "item": {"id": "ws_2", "type": "web_search_call"}},
                    {"type": "response.output_item.done",
                     "item": {"id": "fs_1", "type": "file_search_call"}},
                    {"type": "response.completed", "response": {
                        "output": [{"type": "web_search_call"},
                                   {"id": "fs_9", "type": "file_search_call"}],
                        "usage": {"input_tokens": 3, "output_tokens": 2}
                    }}
                ]),
                Usage("-: file_searches 1, input_tokens 3, output_tokens 2, web_searches 2"),
            ),
            case(
                RESPONSES_STREAM,
                json!([
                    {"type": "response.output_item.done", "item": {
                        "id": "a", "type": "web_search_call", "action": {"type": "open_page"}
                    }},
                    {"type": "response.output_item.done", "item": {
                        "id": "b", "type": "web_search_call", "action": {"type": "search"}
                    }},
                    {"type": "response.completed", "response": {
                        "output": [{"id": "c", "type": "web_search_call",
                                    "action": {"type": "open_page"}}],
                        "usage": {"input_tokens": 3, "output_tokens": 2}
                    }}
                ]),
                Usage("-: input_tokens 3, output_tokens 2, web_searches 1"),
            ),
            case(RESPONSES_STREAM, event("response.completed", &response), read),
            case(RESPONSES_STREAM, event("response.incomplete", &response), read),
            case(
                RESPONSES_STREAM,
                json!([
                    event("response.created", &started),
                    {"type": "response.output_text.delta", "delta": "a"},
                    event("response.failed", &response)
                ]),
                read,
            ),
            case(RESPONSES_STREAM, event("response.failed", &failed), Missing("an error")),
            case(RESPONSES_STREAM, json!([event("response.created", &started)]), Missing("broke")),
            case(
                RESPONSES_STREAM,
                json!([event("response.completed", &response), event("response.done", &response)]),
                Contradictory("/1/response/id"),
            ),
            case(
                RESPONSES,
                json!({"usage": {
                    "input_tokens": 281_600, "output_tokens": 1_930,
                    "input_tokens_details": {
                        "cached_tokens": 204_800, "cache_write_tokens": 71_680
                    }
                }}),
                Usage(
                    "-: cache_read_tokens 204800, cache_write_tokens 71680, input_tokens 5120, \
                     output_tokens 1930",
                ),
            ),
            // A gateway wrote the details by the names of several APIs.
            case(
                RESPONSES,
                json!({"object": "response", "usage": {
                    "input_tokens": 100, "output_tokens": 50,
                    "input_tokens_details": {"audio_tokens": 20, "cached_tokens": 40},
                    "input_token_details": {"image_tokens": 10, "cached_tokens": 40},
                    "prompt_tokens_details": {"cached_tokens": 0},
                    "output_tokens_details": {"reasoning_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": 30}
                }}),
                Usage(
                    "-: cache_read_tokens 40, input_audio_tokens 20, input_image_tokens 10, \
                     input_tokens 30, output_reasoning_tokens 30, output_tokens 20",
                ),
            ),
            case(
                RESPONSES,
                json!({"object": "response", "usage": {
                    "input_tokens": 100, "output_tokens": 50,
                    "input_tokens_details": {"audio_tokens": 20},
                    "input_token_details": {"audio_tokens": 10}
                }}),
                Contradictory("/usage/input_token_details/audio_tokens"),
            ),
            case(
                IMAGES,
                json!({"data": [{"b64_json": ""}], "usage": {
                    "input_tokens": 9, "output_tokens": 1_100,
                    "input_tokens_details": {"text_tokens": 9, "image_tokens": 0},
                    "output_token_details": {"image_tokens": 1_000, "text_tokens": 100}
                }}),
                Usage("-: input_tokens 9, output_image_tokens 1000, output_tokens 100"),
            ),
            case(
                RESPONSES,
                json!({"object": "response", "output": [], "usage": {
                    "input_tokens": 0, "output_tokens": 0, "total_tokens": 0
                }}),
                Usage("-: "),
            ),
            case(RESPONSES, json!({"object": "response", "usage": {}}), Missing("input_tokens")),
            case(RESPONSES, json!({}), Missing("no usage")),
            case(
                RESPONSES,
                json!({"object": "response", "usage": {"input_tokens": 1}}),
                Missing("/usage/output_tokens"),
            ),
            case(
                RESPONSES,
                json!({"object": "response", "usage": {
                    "input_tokens": 5, "output_tokens": 5, "total_tokens": 9
                }}),
                Contradictory("/usage/total_tokens"),
            ),
            case(
                RESPONSES,
                json!({"usage": {
                    "input_tokens": 5, "output_tokens": 5,
                    "output_tokens_details": {"reasoning_tokens": 6}
                }}),
                Contradictory("/usage/output_tokens_details/reasoning_tokens"),
            ),
        ]
    }

    fn tools() -> Vec<Case> {
        let with = |output: Value, tool_usage: Value| {
            json!({
                "model": "m", "output": output, "tool_usage": tool_usage,
                "usage": {"input_tokens": 1, "output_tokens": 1}
            })
        };
        vec![
            case(
                PRICING,
                fixture(include_str!("../../../../events/responses/openai-responses-tools.json")),
                Usage(
                    "gpt-5.4-mini-2026-03-17: code_sessions 1, file_searches 1, \
                     input_tokens 1820, output_reasoning_tokens 192, output_tokens 240, \
                     web_searches 1",
                ),
            ),
            // Opening a page is free, and so is what failed; an item that was trimmed of its action counts.
            case(
                PRICING,
                with(
                    json!([
                        {"type": "web_search_call", "action": {"type": "search", "query": "a"}},
                        {"type": "web_search_call", "action": {"type": "open_page"}},
                        {"type": "web_search_call"},
                        {"type": "web_search_call", "status": "failed"},
                        {"type": "file_search_call", "status": "failed"},
                        {"type": "message"}
                    ]),
                    Value::Null,
                ),
                Usage("m: input_tokens 1, output_tokens 1, web_searches 2"),
            ),
            // The provider's own count of searches goes before the items; another model's tokens
            // have names of their own.
            case(
                RESPONSES,
                with(
                    json!([{"type": "web_search_call"}, {"type": "image_generation_call"}]),
                    json!({
                        "web_search": {"num_requests": 3},
                        "image_gen": {
                            "input_tokens": 10, "output_tokens": 20, "total_tokens": 30,
                            "input_tokens_details": {"image_tokens": 4, "text_tokens": 6},
                            "cached_tokens": 5,
                            "cached_tokens_details": {
                                "cached_text_tokens": 2, "cached_image_tokens": 3
                            }
                        }
                    }),
                ),
                Usage(
                    "m: image_gen_cache_read_image_tokens 3, image_gen_cache_read_tokens 2, \
                     image_gen_input_image_tokens 1, image_gen_input_tokens 4, \
                     image_gen_output_image_tokens 20, input_tokens 1, output_tokens 1, \
                     web_searches 3",
                ),
            ),
            // Images whose tokens nobody counted are not free.
            case(
                RESPONSES,
                with(
                    json!([
                        {"type": "image_generation_call", "status": "completed"},
                        {"type": "image_generation_call", "status": "failed"}
                    ]),
                    Value::Null,
                ),
                Usage("m: image_gen_output_images 1, input_tokens 1, output_tokens 1"),
            ),
            case(
                RESPONSES,
                with(
                    json!([]),
                    json!({
                        "web_search": {"num_requests": 0},
                        "image_gen": {
                            "input_tokens": 0, "output_tokens": 0, "total_tokens": 0,
                            "input_tokens_details": {"image_tokens": 0, "text_tokens": 0}
                        }
                    }),
                ),
                Usage("m: input_tokens 1, output_tokens 1"),
            ),
            case(
                PRICING,
                with(
                    json!([
                        {"type": "file_search_call"}, {"type": "file_search_call"},
                        {"type": "code_interpreter_call", "container_id": "cntr_1"},
                        {"type": "code_interpreter_call", "container_id": "cntr_1"},
                        {"type": "code_interpreter_call", "container_id": "cntr_2"}
                    ]),
                    Value::Null,
                ),
                Usage("m: code_sessions 2, file_searches 2, input_tokens 1, output_tokens 1"),
            ),
            case(
                RESPONSES,
                with(
                    json!([]),
                    json!({"image_gen": {
                        "input_tokens": 1, "output_tokens": 1, "cached_tokens": 2
                    }}),
                ),
                Contradictory("/tool_usage/image_gen/cached_tokens"),
            ),
            case(RESPONSES, with(json!([]), json!({"web_search": {}})), Missing("num_requests")),
            case(RESPONSES, with(json!([7]), Value::Null), Contradictory("/output/0")),
        ]
    }

    fn images() -> Vec<Case> {
        vec![
            case(
                IMAGES,
                json!({
                    "created": 1, "data": [{"b64_json": ""}],
                    "size": "1024x1024", "quality": "medium",
                    "usage": {
                        "total_tokens": 1443, "input_tokens": 387, "output_tokens": 1056,
                        "input_tokens_details": {"text_tokens": 64, "image_tokens": 323}
                    }
                }),
                Usage(
                    "-: input_image_tokens 323, input_tokens 64, output_image_tokens 1056 \
                     quality=medium size=1024x1024",
                ),
            ),
            // Trimmed; details that leave a remainder; text among the output.
            case(
                IMAGES,
                json!({"model": "gpt-image-2", "usage": {
                    "input_tokens": 100, "output_tokens": 50,
                    "input_tokens_details": {"image_tokens": 60, "cached_tokens": 70},
                    "output_tokens_details": {"image_tokens": 45, "text_tokens": 5}
                }}),
                Usage(
                    "gpt-image-2: cache_read_image_tokens 30, cache_read_tokens 40, \
                     input_image_tokens 30, output_image_tokens 45, output_tokens 5",
                ),
            ),
            case(
                IMAGES,
                json!({
                    "data": [{}], "usage": {
                        "input_tokens": 1, "output_tokens": 2,
                        "output_tokens_details": {"text_tokens": 2}
                    },
                    "svg_usage": {
                        "model": "gpt-6", "input_tokens": 3, "output_tokens": 4,
                        "reasoning_tokens": 2, "total_tokens": 7
                    }
                }),
                Usage(
                    "-: input_tokens 1, output_tokens 2, svg_input_tokens 3, svg_output_tokens 4 \
                     svg_model=gpt-6",
                ),
            ),
            case(
                IMAGES,
                json!({"created": 1, "data": [{"url": "a"}, {"url": "b"}]}),
                Usage("-: output_images 2"),
            ),
            case(
                IMAGE_ENDS,
                json!([
                    {"type": "image_generation.completed", "usage": {
                        "input_tokens": 9, "output_tokens": 4160, "total_tokens": 4169
                    }},
                    {"type": "image_generation.completed", "usage": {
                        "input_tokens": 9, "output_tokens": 1056, "total_tokens": 1065
                    }}
                ]),
                Contradictory("/1"),
            ),
            case(
                IMAGES_STREAM,
                json!([
                    {"type": "image_generation.partial_image", "b64_json": ""},
                    {
                        "type": "image_generation.completed", "size": "auto", "quality": "high",
                        "usage": {"input_tokens": 9, "output_tokens": 4160, "total_tokens": 4169}
                    }
                ]),
                Usage("-: input_tokens 9, output_image_tokens 4160 quality=high"),
            ),
            case(IMAGES, json!({"created": 1, "data": []}), Missing("no usage")),
            case(
                IMAGES,
                json!({"data": [{}], "usage": {
                    "input_tokens": 9, "output_tokens": 1,
                    "input_tokens_details": {"text_tokens": 5, "image_tokens": 5}
                }}),
                Contradictory("/usage/input_tokens_details/text_tokens"),
            ),
        ]
    }

    fn audio() -> Vec<Case> {
        vec![
            case(
                TRANSCRIPTION,
                json!({"text": "", "usage": {
                    "type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59,
                    "input_token_details": {"text_tokens": 4, "audio_tokens": 10}
                }}),
                Usage("-: input_audio_tokens 10, input_tokens 4, output_tokens 45"),
            ),
            case(
                TRANSCRIPTION,
                json!([
                    {"type": "transcript.text.delta", "delta": "a"},
                    {"type": "transcript.text.done", "text": "a", "usage": {
                        "type": "tokens", "input_tokens": 14, "output_tokens": 45,
                        "total_tokens": 59, "input_token_details": {"audio_tokens": 14}
                    }}
                ]),
                Usage("-: input_audio_tokens 14, output_tokens 45"),
            ),
            case(
                TRANSCRIPTION,
                json!({"text": "", "usage": {"type": "duration", "seconds": 7}}),
                Usage("-: audio_seconds 7"),
            ),
            case(
                TRANSCRIPTION,
                json!({"model": "whisper-1", "usage": {"type": "duration", "seconds": 8.4704}}),
                Usage("whisper-1: audio_seconds 8.471"),
            ),
            case(
                TRANSCRIPTION,
                fixture(include_str!(
                    "../../../../events/responses/openai-transcription-duration.json"
                )),
                Usage("-: audio_seconds 8.471"),
            ),
            case(TRANSCRIPTION, json!({"usage": {"seconds": 0.5}}), Usage("-: audio_seconds 0.5")),
            case(
                WHISPER,
                json!({
                    "task": "transcribe", "language": "english", "duration": 8.470_000_267,
                    "text": "a", "segments": []
                }),
                Usage("-: audio_seconds 8.471"),
            ),
            case(
                WHISPER,
                json!({"task": "transcribe", "duration": "8.47", "text": "a"}),
                Usage("-: audio_seconds 8.47"),
            ),
            case(
                WHISPER,
                json!({"task": "transcribe", "duration": "8.47s", "text": "a"}),
                Contradictory("/duration"),
            ),
            case(TRANSCRIPTION, json!({"usage": {"type": "duration", "seconds": 0}}), Usage("-: ")),
            case(
                TRANSCRIPTION,
                json!({"usage": {"type": "duration", "seconds": -1.5}}),
                Contradictory("/usage/seconds"),
            ),
            case(TRANSCRIPTION, json!({"usage": {"type": "duration"}}), Missing("/usage/seconds")),
            // whisper-1 in the format json tells nothing.
            case(TRANSCRIPTION, json!({"text": "Hello."}), Missing("no duration")),
        ]
    }

    fn speech() -> Vec<Case> {
        let done = |usage: Value| json!({"type": "speech.audio.done", "usage": usage});
        let delta = json!({"type": "speech.audio.delta", "audio": ""});
        let usage = json!({"input_tokens": 14, "output_tokens": 101, "total_tokens": 115});
        let read = Usage("-: input_tokens 14, output_audio_tokens 101");
        vec![
            case(SPEECH, json!([delta, delta, done(usage.clone())]), read),
            case(SPEECH, done(usage), read),
            case(
                SPEECH,
                done(json!({"input_tokens": 3, "output_tokens": 0, "total_tokens": 3})),
                Usage("-: input_tokens 3"),
            ),
            case(SPEECH, json!([delta, done(Value::Null)]), Missing("broke off, or")),
            case(SPEECH, json!([delta]), Missing("broke off, or")),
            case(SPEECH, done(json!({"input_tokens": 3})), Missing("/usage/output_tokens")),
            case(
                SPEECH,
                json!([
                    delta,
                    done(json!({
                        "input_tokens": 3, "output_tokens": 4, "total_tokens": 6
                    }))
                ]),
                Contradictory("/1/usage/total_tokens"),
            ),
        ]
    }

    fn batches() -> Vec<Case> {
        let line = |id: &str, body: Value| {
            json!({
                "id": "batch_req_1", "custom_id": id, "error": null,
                "response": {"status_code": 200, "request_id": "r", "body": body}
            })
        };
        let chat = |input: u64| {
            json!({
                "id": "chatcmpl-1", "object": "chat.completion", "model": "m",
                "service_tier": "default",
                "usage": {"prompt_tokens": input, "completion_tokens": 2}
            })
        };
        let failed = json!({
            "custom_id": "a", "response": null, "error": {"code": "batch_expired", "message": ""}
        });
        vec![
            case(
                BATCH,
                line("a", chat(9)),
                Usage("m: input_tokens 9, output_tokens 2 service_class=batch"),
            ),
            case(
                BATCH,
                json!([line("a", chat(9)), line("b", chat(7))]),
                Usage(
                    "m: input_tokens 9, output_tokens 2 service_class=batch \
                     & m: input_tokens 7, output_tokens 2 service_class=batch",
                ),
            ),
            case(BATCH, json!([line("a", chat(9)), chat(7)]), Contradictory("/1")),
            case(BATCH, json!([chat(7), line("a", chat(9))]), Contradictory("/1")),
            // What failed is not billed, and keeps nothing else from being.
            case(
                BATCH,
                json!([failed, line("b", chat(7)), {
                    "custom_id": "c", "response": {"status_code": 400, "body": {"error": {}}}
                }]),
                Usage("m: input_tokens 7, output_tokens 2 service_class=batch"),
            ),
            case(
                BATCH,
                json!([line("a", chat(9)), line("b", chat(7)), line("a", chat(9))]),
                Contradictory("/2"),
            ),
            // The batch itself, with a sum that no request was.
            case(
                BATCH,
                json!({"id": "batch_1", "object": "batch", "model": "m", "status": "completed",
                       "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}),
                Missing("the lines of its output file"),
            ),
            case(BATCH, json!([failed, failed]), Missing("all failed, at no cost")),
            case(BATCH, failed, Missing("its request failed, at no cost")),
            case(
                BATCH,
                line("a", json!({"error": {"message": "", "code": "x"}})),
                Missing("nothing was used"),
            ),
        ]
    }

    fn searches() -> Vec<Case> {
        let answer = |annotations: Value| json!([{"index": 0, "message": {"content": "", "annotations": annotations}}]);
        let usage = json!({"prompt_tokens": 16, "completion_tokens": 9, "total_tokens": 25});
        let page = json!({"type": "url_citation", "url_citation": {"url": "https://example.com"}});
        let response = |tools: Value, output: Value| {
            json!({
                "model": "m", "tools": tools, "output": output,
                "usage": {"input_tokens": 2, "output_tokens": 1}
            })
        };
        let search = json!([{"type": "web_search_call", "action": {"type": "search"}}]);
        vec![
            case(
                WEB_SEARCH,
                json!({
                    "object": "chat.completion", "model": "gpt-4o-search-preview",
                    "choices": answer(json!([page, page])), "usage": usage
                }),
                Usage("gpt-4o-search-preview: input_tokens 16, output_tokens 9, web_searches 1"),
            ),
            case(
                WEB_SEARCH,
                json!({"model": "m", "choices": answer(json!([])), "usage": usage}),
                Usage("m: input_tokens 16, output_tokens 9"),
            ),
            case(
                WEB_SEARCH,
                json!([
                    {"id": "c", "model": "m", "choices": [{"delta": {"annotations": [page]}}]},
                    {"id": "c", "model": "m", "choices": [], "usage": usage}
                ]),
                Usage("m: input_tokens 16, output_tokens 9, web_searches 1"),
            ),
            // The two tools have two prices; what did not search has neither.
            case(
                PRICING,
                response(json!([{"type": "web_search_preview_2025_03_11"}]), search.clone()),
                Usage(
                    "m: input_tokens 2, output_tokens 1, web_searches 1 \
                     web_search_tool=web_search_preview",
                ),
            ),
            case(
                PRICING,
                response(json!([{"type": "web_search"}]), search),
                Usage("m: input_tokens 2, output_tokens 1, web_searches 1"),
            ),
            case(
                PRICING,
                response(json!([{"type": "web_search_preview"}]), json!([])),
                Usage("m: input_tokens 2, output_tokens 1"),
            ),
        ]
    }

    fn containers() -> Vec<Case> {
        let shell = |memory: Value| {
            json!({"type": "shell", "environment": {
                "type": "container_auto", "memory_limit": memory
            }})
        };
        let code = |memory: &str| {
            json!({"type": "code_interpreter", "container": {
                "type": "auto", "memory_limit": memory
            }})
        };
        let in_shell = |container: &str| {
            json!({"type": "shell_call", "status": "completed", "environment": {
                "type": "container_reference", "container_id": container
            }})
        };
        let run = json!({"type": "code_interpreter_call", "container_id": "cntr_1"});
        let response = |tools: Value, output: Value| {
            json!({
                "model": "m", "tools": tools, "output": output,
                "usage": {"input_tokens": 2, "output_tokens": 1}
            })
        };
        vec![
            case(
                SHELL,
                response(
                    json!([shell(Value::Null)]),
                    json!([in_shell("cntr_1"), in_shell("cntr_1"), {"type": "shell_call_output"}]),
                ),
                Usage("m: code_sessions 1, input_tokens 2, output_tokens 1"),
            ),
            // The caller's own.
            case(
                SHELL,
                response(
                    json!([{"type": "shell", "environment": {"type": "local"}}]),
                    json!([
                        {"type": "shell_call", "environment": {"type": "local"}},
                        {"type": "shell_call", "environment": null}
                    ]),
                ),
                Usage("m: input_tokens 2, output_tokens 1"),
            ),
            // Both ran in the one container.
            case(
                CODE,
                response(json!([code("4g"), shell(json!("4g"))]), json!([run, in_shell("cntr_1")])),
                Usage("m: code_sessions 1, input_tokens 2, output_tokens 1 memory_limit=4g"),
            ),
            case(
                CODE,
                response(json!([code("1g"), shell(json!("64g"))]), json!([run])),
                Usage("m: code_sessions 1, input_tokens 2, output_tokens 1"),
            ),
            case(
                CODE,
                response(
                    json!([{"type": "code_interpreter", "container": "cntr_1"}]),
                    json!([run]),
                ),
                Usage("m: code_sessions 1, input_tokens 2, output_tokens 1"),
            ),
            case(
                CODE,
                response(json!([code("4g"), shell(json!("16g"))]), json!([run, in_shell("c")])),
                Contradictory("/tools/1/environment/memory_limit"),
            ),
        ]
    }

    fn realtime() -> Vec<Case> {
        let done = |id: &str, usage: Value| {
            json!({"type": "response.done", "event_id": "e", "response": {
                "object": "realtime.response", "id": id, "status": "completed",
                "output": [{"type": "message"}], "usage": usage
            }})
        };
        let usage = json!({
            "total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 112, "audio_tokens": 13, "image_tokens": 7, "cached_tokens": 70,
                "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 5, "image_tokens": 1}
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91}
        });
        let transcribed = json!({
            "type": "conversation.item.input_audio_transcription.completed", "item_id": "i",
            "transcript": "", "usage": {
                "type": "tokens", "input_tokens": 22, "output_tokens": 13, "total_tokens": 35,
                "input_token_details": {"text_tokens": 13, "audio_tokens": 9}
            }
        });
        let session =
            json!({"type": "session.created", "session": {"model": "gpt-realtime", "id": "s"}});
        let mut too_much = usage.clone();
        too_much["input_token_details"]["cached_tokens_details"]["audio_tokens"] = json!(14);
        too_much["input_token_details"]["cached_tokens_details"]["text_tokens"] = json!(55);
        vec![
            case(
                REALTIME,
                done("resp_1", usage.clone()),
                Usage(
                    "-: cache_read_audio_tokens 5, cache_read_image_tokens 1, \
                     cache_read_tokens 64, input_audio_tokens 8, input_image_tokens 6, \
                     input_tokens 48, output_audio_tokens 91, output_tokens 30",
                ),
            ),
            case(
                REALTIME_COSTS,
                fixture(include_str!("../../../../events/responses/openai-realtime.json")),
                Usage(
                    "gpt-realtime: input_audio_tokens 41, input_tokens 119, \
                     output_audio_tokens 91, output_tokens 30 \
                     & gpt-realtime: cache_read_audio_tokens 64, cache_read_tokens 128, \
                     input_audio_tokens 57, input_tokens 133, output_audio_tokens 115, \
                     output_tokens 40",
                ),
            ),
            // Trimmed: details of this spelling are no image's.
            case(
                REALTIME,
                json!({"model": "gpt-realtime", "usage": {
                    "input_tokens": 9, "output_tokens": 2,
                    "input_token_details": {"image_tokens": 4}
                }}),
                Usage("gpt-realtime: input_image_tokens 4, input_tokens 5, output_tokens 2"),
            ),
            // Each response bills the conversation again; one without usage is nothing.
            case(
                REALTIME_COSTS,
                json!([
                    session,
                    done("resp_1", usage.clone()),
                    done("resp_2", Value::Null),
                    done("resp_3", usage.clone())
                ]),
                Usage(
                    "gpt-realtime: cache_read_audio_tokens 5, cache_read_image_tokens 1, \
                     cache_read_tokens 64, input_audio_tokens 8, input_image_tokens 6, \
                     input_tokens 48, output_audio_tokens 91, output_tokens 30 \
                     & gpt-realtime: cache_read_audio_tokens 5, cache_read_image_tokens 1, \
                     cache_read_tokens 64, input_audio_tokens 8, input_image_tokens 6, \
                     input_tokens 48, output_audio_tokens 91, output_tokens 30",
                ),
            ),
            case(
                REALTIME_COSTS,
                json!([transcribed, transcribed]),
                Usage(
                    "-: input_audio_tokens 9, input_tokens 13, output_tokens 13 \
                     & -: input_audio_tokens 9, input_tokens 13, output_tokens 13",
                ),
            ),
            case(
                REALTIME_COSTS,
                json!([done("resp_1", usage.clone()), transcribed]),
                Contradictory("/1"),
            ),
            case(
                REALTIME,
                json!([done("resp_1", usage.clone()), done("resp_1", usage)]),
                Contradictory("/1/response/id"),
            ),
            case(
                REALTIME,
                done("resp_1", too_much),
                Contradictory(
                    "/response/usage/input_token_details/cached_tokens_details/audio_tokens",
                ),
            ),
            case(REALTIME, json!([session]), Missing("no event")),
            case(
                REALTIME,
                done("resp_1", json!({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0})),
                Usage("-: "),
            ),
        ]
    }

    proptest! {
        /// Whatever was cached of whichever kind, a response adds up to its totals, and a session
        /// to its responses.
        #[test]
        fn sessions_add_up(
            totals in prop::collection::vec((0_u64..30, 0_u64..30), 1..4),
            [audio, image, text, cached, by_audio, by_image, by_text, out_audio] in
                [count(), count(), count(), count(), count(), count(), count(), count()],
        ) {
            let done = |(input, output): &(u64, u64)| json!({"type": "response.done", "response": {
                "usage": {
                    "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
                    "input_token_details": {
                        "audio_tokens": audio, "image_tokens": image, "text_tokens": text,
                        "cached_tokens": cached, "cached_tokens_details": {
                            "audio_tokens": by_audio, "image_tokens": by_image,
                            "text_tokens": by_text
                        }
                    },
                    "output_token_details": {"audio_tokens": out_audio}
                }
            }});
            let events: Value = totals.iter().map(done).collect();
            match usage_from_response("openai", &events) {
                Ok(read) => {
                    prop_assert_eq!(side(&read, false), totals.iter().map(|t| t.0).sum::<u64>());
                    prop_assert_eq!(side(&read, true), totals.iter().map(|t| t.1).sum::<u64>());
                }
                Err(ProviderError::Contradictory { pointer, .. }) => {
                    prop_assert!(events.pointer(&pointer).is_some(), "{} {}", events, pointer);
                }
                Err(error) => prop_assert!(false, "{events}: {error}"),
            }
        }
    }

    #[test]
    fn responses_of_a_session_stay_apart() {
        let done = |model: &str, input: u64| {
            json!({"type": "response.done", "response": {
                "model": model, "usage": {"input_tokens": input, "output_tokens": 0}
            }})
        };
        let check = |events: Value, expected| check_provider("openai", &events, expected);
        check(json!([done("a", 1), done("a", 2)]), Usage("a: input_tokens 1 & a: input_tokens 2"));
        check(json!([done("a", 1), done("b", 2)]), Usage("a: input_tokens 1 & b: input_tokens 2"));
    }
}
