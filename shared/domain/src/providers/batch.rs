//! Lines of a batch's results, in which the response stands.
//!
//! | line | its response |
//! |---|---|
//! | `{"custom_id", "response": {"status_code", "body"}}` of `OpenAI` and those that copy it | `response.body` |
//! | `{"custom_id", "response"}` of Fireworks, and of Anthropic's models at Vertex AI | `response` |
//! | `{"custom_id", "result": {"type": "succeeded", "message"}}` of Anthropic | `result.message` |
//! | `{"key", "response"}` of Gemini, `{"request", "response", "status"}` of Vertex AI | `response` |
//! | `{"instance", "predictions", "status"}` of Vertex AI | the line |
//! | `{"metadata", "response"}` of Gemini, inline; without metadata nothing tells that it is of a batch | `response` |
//! | `{"recordId", "modelInput", "modelOutput"}` of Bedrock | `modelOutput` |
//! | `{"batch_request_id", "batch_result": {"response": {"<endpoint>"}}}` of xAI | `batch_result.response.<endpoint>` |
//!
//! A batch itself (`object` is `batch`) is refused, although `OpenAI` sums the usage of all its requests
//! there: the sum would cross a tier that no prompt reached.
//!
//! Only the line tells that a response was a batch's: `service_class` is `batch`, unless the response
//! names another. A request that failed, was cancelled or expired is not billed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::body::Body;
use super::{ProviderError, contradictory, missing};

/// What `service_class` a batch is of.
pub(super) const CLASS: &str = "batch";

/// What a line of a batch tells.
enum Line<'a> {
    /// What the request was answered.
    Response(Body<'a>),
    /// That the request was not.
    Failed,
    /// Neither.
    Unclear,
    /// It is no line of a batch.
    Other,
}

/// What usage is called that shows an object to be a response.
const USAGE: [&str; 3] = ["usage", "usageMetadata", "usage_metadata"];

/// By which a batch knows each of its requests.
const NAMES: [&str; 4] = ["custom_id", "key", "recordId", "batch_request_id"];

/// What names the lines that are had by pages.
const PAGED: [&str; 2] = ["custom_id", "batch_request_id"];

/// By which a response is known, where the line has no name.
const IDS: [&str; 2] = ["id", "responseId"];

/// All that a line of Gemini with a key has.
const KEYED: [&str; 4] = ["key", "response", "error", "metadata"];

/// All that an inline line of Gemini has.
const INLINE: [&str; 3] = ["response", "error", "metadata"];

fn has_usage(body: &Body<'_>) -> bool {
    USAGE.into_iter().any(|field| body.get(field).is_some_and(Value::is_object))
}

fn line<'a>(body: &Body<'a>) -> Result<Line<'a>, ProviderError> {
    let inner = |field| body.get(field).and_then(Value::as_object);
    let response = inner("response").map(|fields| Body::new(fields, body.at("response")));
    let is_whole = |body: &Body<'_>| body.text("object") == Some("batch");
    if is_whole(body) || response.as_ref().is_some_and(is_whole) {
        return Err(missing(
            "this is a whole batch, whose sum can't be priced by the prompt of each request: give \
             the lines of its output file",
        ));
    }
    let is_page = |field| {
        let lines = body.get(field).and_then(Value::as_array);
        lines.is_some_and(|lines| {
            lines.iter().any(|line| PAGED.iter().any(|name| line.get(name).is_some()))
        })
    };
    if let Some(field) = ["results", "data"].into_iter().find(|field| is_page(field)) {
        return Err(missing(format!(
            "this is a page of a batch's results: give the lines of its {field}"
        )));
    }
    let is_object = |field| inner(field).is_some();
    // It has nothing else: an error and metadata are in a failed response, too.
    let is_inline = || {
        let has = |field: &str| body.has_own(field);
        let is_one = response.as_ref().map_or(has("error"), has_usage);
        is_one && has("metadata") && body.names().all(|name| INLINE.contains(&name))
    };
    if is_object("instance") && body.get("status").is_some_and(Value::is_string) {
        let answered = !body.list("predictions")?.is_empty();
        return Ok(match answered {
            true => Line::Response(body.clone()),
            false if has_failed(body) => Line::Failed,
            false => Line::Unclear,
        });
    }
    if body.text("custom_id").is_some() {
        for (holder, response) in [("response", "body"), ("result", "message")] {
            let Some(result) = body.object(holder)? else { continue };
            let status = result.get("status_code").and_then(Value::as_u64);
            if status.is_some_and(|status| status >= 400) {
                return Ok(Line::Failed);
            }
            if let Some(response) = result.object(response)? {
                return Ok(Line::Response(response));
            }
            if has_usage(&result) {
                return Ok(Line::Response(result));
            }
            let kind = result.text("type");
            let failed = kind.is_some_and(|kind| kind != "succeeded") || has_failed(body);
            return Ok(if failed { Line::Failed } else { Line::Unclear });
        }
        return Ok(if has_failed(body) { Line::Failed } else { Line::Other });
    }
    if body.text("batch_request_id").is_some() {
        let result = body.object("batch_result")?;
        let result = result.as_ref().unwrap_or(body);
        let by_endpoint = result.object("response")?;
        let mut endpoints = by_endpoint.iter().flat_map(Body::names);
        return Ok(match (&by_endpoint, endpoints.next(), endpoints.next()) {
            (Some(response), Some(endpoint), None) => match response.object(endpoint)? {
                Some(response) if response.is_error() && !has_usage(&response) => Line::Failed,
                Some(response) => Line::Response(response),
                None => Line::Unclear,
            },
            (_, None, _) if has_failed(result) || has_failed(body) => Line::Failed,
            _ => Line::Unclear,
        });
    }
    if is_object("request") && response.as_ref().is_some_and(has_usage) && !body.has("status") {
        return Err(missing(
            "this has a request and a response, as a line of a batch, but no status: give the line \
             as it is, or the response alone",
        ));
    }
    let response = if is_object("modelInput") {
        "modelOutput"
    } else if body.text("key").is_some() && body.names().all(|name| KEYED.contains(&name))
        || is_object("request") && body.has("status")
        || is_inline()
    {
        "response"
    } else {
        return Ok(Line::Other);
    };
    // What went wrong stands beside an empty response, or none.
    let answered = inner(response).is_some_and(|response| !response.is_empty());
    if !answered && has_failed(body) {
        return Ok(Line::Failed);
    }
    Ok(body.object(response)?.map_or(Line::Other, Line::Response))
}

/// Whether a line says that its request failed: in an error, or with Vertex AI in the status.
fn has_failed(line: &Body<'_>) -> bool {
    let status = line.text("status").is_some_and(|status| !status.is_empty());
    line.get("error").is_some() || status
}

/// The response within a line; `None` where `body` is no line of a batch.
pub(super) fn response<'a>(body: &Body<'a>) -> Result<Option<Body<'a>>, ProviderError> {
    match line(body)? {
        Line::Response(response) => Ok(Some(response)),
        Line::Failed => {
            Err(missing("the line of a batch has no response: its request failed, at no cost"))
        }
        Line::Unclear => Err(unclear()),
        Line::Other => Ok(None),
    }
}

/// The responses of an array of lines, without those that failed, of which there may be all but
/// one; `None` where it is of something else.
pub(super) fn responses<'a>(lines: &'a [Value]) -> Result<Option<Vec<Body<'a>>>, ProviderError> {
    let mut responses: Vec<Body<'a>> = Vec::new();
    let mut names = BTreeSet::new();
    let mut are_lines = None;
    for (index, value) in lines.iter().enumerate() {
        let pointer = format!("/{index}");
        let body = value.as_object().map(|fields| Body::new(fields, pointer.clone()));
        let line = body.as_ref().map_or(Ok(Line::Other), line)?;
        let is_line = !matches!(line, Line::Other);
        if *are_lines.get_or_insert(is_line) != is_line {
            return Err(contradictory(pointer, "lines of a batch stand among other things"));
        }
        match line {
            Line::Response(response) => {
                let name = body.as_ref().and_then(|body| NAMES.iter().find_map(|n| body.text(n)));
                let name = name.or_else(|| IDS.iter().find_map(|id| response.text(id)));
                let name = name.filter(|name| !name.is_empty());
                if name.is_some_and(|name| !names.insert(name)) {
                    return Err(contradictory(pointer, "the batch has this line twice"));
                }
                responses.push(response);
            }
            // What it used would be lost among the others.
            Line::Unclear => return Err(unclear()),
            Line::Failed | Line::Other => {}
        }
    }
    if are_lines == Some(true) && responses.is_empty() {
        return Err(missing("no line of the batch has a response: all failed, at no cost"));
    }
    Ok(Some(responses).filter(|responses| !responses.is_empty()))
}

fn unclear() -> ProviderError {
    missing("a line of a batch tells neither what was used nor that its request failed")
}
