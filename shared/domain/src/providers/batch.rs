//! Lines of a batch's results, in which the response stands.
//!
//! | line | its response |
//! |---|---|
//! | `{"custom_id", "response": {"status_code", "body"}}` of `OpenAI` and those that copy it | `response.body` |
//! | `{"custom_id", "result": {"type": "succeeded", "message"}}` of Anthropic | `result.message` |
//! | `{"key", "response"}` of Gemini, `{"request", "response", "status"}` of Vertex AI | `response` |
//! | `{"recordId", "modelInput", "modelOutput"}` of Bedrock | `modelOutput` |
//!
//! Only the line tells that a response was a batch's: `service_class` is `batch`, unless the response
//! names another. A request that failed, was cancelled or expired is not billed.

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
    /// It is no line of a batch.
    Other,
}

fn line<'a>(body: &Body<'a>) -> Result<Line<'a>, ProviderError> {
    let is_object = |field| body.get(field).is_some_and(Value::is_object);
    if body.text("custom_id").is_some() {
        for (holder, response) in [("response", "body"), ("result", "message")] {
            let Some(result) = body.object(holder)? else { continue };
            let status = result.get("status_code").and_then(Value::as_u64);
            if status.is_some_and(|status| status >= 400) {
                return Ok(Line::Failed);
            }
            return Ok(result.object(response)?.map_or(Line::Failed, Line::Response));
        }
        return Ok(if body.get("error").is_some() { Line::Failed } else { Line::Other });
    }
    let response = if is_object("modelInput") {
        "modelOutput"
    } else if body.text("key").is_some() || is_object("request") {
        "response"
    } else {
        return Ok(Line::Other);
    };
    // What went wrong stands in an error, or with Vertex AI in the status, beside an empty response.
    let answered = body.get(response).and_then(Value::as_object).is_some_and(|r| !r.is_empty());
    let status = body.text("status").is_some_and(|status| !status.is_empty());
    if !answered && (is_object("error") || status) {
        return Ok(Line::Failed);
    }
    Ok(body.object(response)?.map_or(Line::Other, Line::Response))
}

/// The response within a line; `None` where `body` is no line of a batch.
pub(super) fn response<'a>(body: &Body<'a>) -> Result<Option<Body<'a>>, ProviderError> {
    match line(body)? {
        Line::Response(response) => Ok(Some(response)),
        Line::Failed => {
            Err(missing("the line of a batch has no response: its request failed, at no cost"))
        }
        Line::Other => Ok(None),
    }
}

/// The responses of an array of lines, without those that failed, of which there may be all but
/// one; `None` where it is of something else.
pub(super) fn responses<'a>(lines: &'a [Value]) -> Result<Option<Vec<Body<'a>>>, ProviderError> {
    let mut responses: Vec<Body<'a>> = Vec::new();
    let mut are_lines = None;
    for (index, value) in lines.iter().enumerate() {
        let pointer = format!("/{index}");
        let body = value.as_object().map(|fields| Body::new(fields, pointer.clone()));
        let line = body.as_ref().map_or(Ok(Line::Other), line)?;
        let is_line = !matches!(line, Line::Other);
        if *are_lines.get_or_insert(is_line) != is_line {
            return Err(contradictory(pointer, "lines of a batch stand among other things"));
        }
        if let Line::Response(response) = line {
            responses.push(response);
        }
    }
    if are_lines == Some(true) && responses.is_empty() {
        return Err(missing("no line of the batch has a response: all failed, at no cost"));
    }
    Ok(Some(responses).filter(|responses| !responses.is_empty()))
}
