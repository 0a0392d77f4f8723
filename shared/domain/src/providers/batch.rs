//! Lines of a batch's results, in which the response stands.
//!
//! | line | its response |
//! |---|---|
//! | `{"custom_id", "response": {"status_code", "body"}}` of `OpenAI` and those that copy it | `response.body` |
//! | `{"custom_id", "result": {"type": "succeeded", "message"}}` of Anthropic | `result.message` |
//! | `{"key", "response"}` of Gemini, `{"request", "response"}` of Vertex AI | `response` |
//!
//! Only the line tells that a response was a batch's: `service_class` is `batch`, unless the response
//! names another. A request that failed, was cancelled or expired is not billed.

use serde_json::Value;

use super::body::Body;
use super::{ProviderError, contradictory, missing};

/// What `service_class` a batch is of.
pub(super) const CLASS: &str = "batch";

/// The response within a line; `None` where `body` is no line of a batch.
pub(super) fn response<'a>(body: &Body<'a>) -> Result<Option<Body<'a>>, ProviderError> {
    let is_object = |field| body.get(field).is_some_and(Value::is_object);
    if body.text("custom_id").is_some() {
        for (holder, response) in [("response", "body"), ("result", "message")] {
            let Some(result) = body.object(holder)? else { continue };
            return match result.object(response)? {
                Some(response) => Ok(Some(response)),
                None => Err(not_billed()),
            };
        }
        return if body.get("error").is_some() { Err(not_billed()) } else { Ok(None) };
    }
    if is_object("response") && (body.text("key").is_some() || is_object("request")) {
        return body.object("response");
    }
    Ok(None)
}

/// The responses of an array of lines; `None` where it is of something else.
pub(super) fn responses<'a>(lines: &'a [Value]) -> Result<Option<Vec<Body<'a>>>, ProviderError> {
    let mut responses: Vec<Body<'a>> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let pointer = format!("/{index}");
        let line = line.as_object().map(|fields| Body::new(fields, pointer.clone()));
        let response = match &line {
            Some(line) => response(line)?,
            None => None,
        };
        match response {
            Some(response) if responses.len() == index => responses.push(response),
            None if responses.is_empty() => {}
            _ => return Err(contradictory(pointer, "lines of a batch stand among other things")),
        }
    }
    Ok(Some(responses).filter(|responses| !responses.is_empty()))
}

fn not_billed() -> ProviderError {
    missing("the line of a batch has no response: its request failed and nothing was charged")
}
