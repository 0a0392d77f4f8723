//! `input` as `OpenAI`'s Responses take it.

use serde::Deserialize;
use serde_json::Value;
use uc_domain::estimates::{Description, Detail, Profile};
use utoipa::ToSchema;

use super::{Content, Counted, MAX_MESSAGES, Message, add_content, add_data, add_message};
use crate::Problem;

/// A text, or items.
#[derive(Debug, Clone)]
pub(super) enum Input {
    Text(Box<Profile>),
    Items(Vec<Item>),
}

/// Describes [`Input`] in the `OpenAPI` document: a text, or items as they are sent and received.
#[derive(ToSchema)]
#[schema(as = DescribedInput)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes another type in the OpenAPI document")]
pub(super) enum InputSchema {
    Text(String),
    Items(Vec<Value>),
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if let Value::String(text) = value {
            return Ok(Self::Text(Box::new(Profile::of(&text))));
        }
        Vec::deserialize(value).map(Self::Items).map_err(serde::de::Error::custom)
    }
}

/// One item, as it is counted.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// What somebody says.
    Message(Box<Message>),
    /// The call of a tool of the caller's, or what it answered: texts.
    Call(Vec<Profile>),
    /// What a tool of the caller's answered.
    Output(Content),
    /// A picture of the screen.
    Screen,
    /// Thinking, in words or not.
    Reasoning(Vec<Profile>),
    /// What a tool of the provider did: its JSON text. Whether it made a picture, which the text is
    /// without.
    Done(Box<Profile>, bool),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;

        let mut value = Value::deserialize(deserializer)?;
        let kind = value.get("type").map_or(Some("message"), Value::as_str).unwrap_or_default();
        let text_of = |value: &Value| match value {
            Value::String(text) => Profile::of(text),
            other => Profile::of(&other.to_string()),
        };
        let texts = |names: &[&str]| -> Vec<Profile> {
            names.iter().filter_map(|name| value.get(*name)).map(text_of).collect()
        };
        Ok(match kind {
            "message" => {
                Self::Message(Message::deserialize(value).map_err(D::Error::custom)?.into())
            }
            "function_call" | "custom_tool_call" => {
                Self::Call(texts(&["namespace", "name", "arguments", "input"]))
            }
            "function_call_output" | "custom_tool_call_output" => {
                let output = value.get_mut("output").map(Value::take).unwrap_or_default();
                Self::Output(Content::deserialize(output).map_err(D::Error::custom)?)
            }
            "computer_call_output" => Self::Screen,
            "shell_call_output" | "local_shell_call_output" | "apply_patch_call_output" => {
                Self::Call(texts(&["output"]))
            }
            "reasoning" => {
                let parts = ["summary", "content"].into_iter().filter_map(|name| value.get(name));
                let parts = parts.filter_map(Value::as_array).flatten();
                let words = parts.filter_map(|part| part.get("text"));
                let sealed = value.get("encrypted_content").filter(|sealed| sealed.is_string());
                Self::Reasoning(words.chain(sealed).map(text_of).collect())
            }
            "image_generation_call" => {
                let picture = value.as_object_mut().and_then(|fields| fields.remove("result"));
                let is_made = picture.is_some_and(|picture| picture.is_string());
                Self::Done(Box::new(text_of(&value)), is_made)
            }
            "apply_patch_call"
            | "code_interpreter_call"
            | "compaction"
            | "computer_call"
            | "file_search_call"
            | "local_shell_call"
            | "mcp_approval_request"
            | "mcp_approval_response"
            | "mcp_call"
            | "mcp_list_tools"
            | "shell_call"
            | "tool_search_call"
            | "tool_search_output"
            | "web_search_call" => Self::Done(Box::new(text_of(&value)), false),
            "item_reference" => {
                return Err(D::Error::custom("the item itself: what is referred to can't be read"));
            }
            _ => return Err(D::Error::custom("an item of a type that can be counted")),
        })
    }
}

/// Counts the input.
///
/// # Errors
/// `invalid_request` where something has no length that can be told, or there is too much.
pub(super) fn add_input(
    asked: &mut Description,
    input: Input,
    pointer: &str,
) -> Result<(), Problem> {
    let items = match input {
        Input::Text(profile) => {
            asked.messages += 1;
            asked.texts.push(*profile);
            return Ok(());
        }
        Input::Items(items) => items,
    };
    if items.len() > MAX_MESSAGES {
        return Err(Problem::invalid_field(pointer, "at most 2000 items"));
    }
    for (index, item) in items.into_iter().enumerate() {
        let at = format!("{pointer}/{index}");
        match item {
            Item::Message(message) => add_message(asked, *message, &at)?,
            Item::Call(texts) => {
                asked.calls += 1;
                asked.texts.extend(texts);
            }
            Item::Output(output) => {
                asked.calls += 1;
                add_content(asked, output, &format!("{at}/output"))?;
            }
            Item::Screen => {
                asked.calls += 1;
                add_data(asked, Counted::Image, None, Detail::Auto, None, None, &at)?;
            }
            Item::Reasoning(thoughts) => asked.thoughts.extend(thoughts),
            Item::Done(profile, is_picture) => {
                asked.echoes.push(*profile);
                if is_picture {
                    add_data(asked, Counted::Image, None, Detail::Auto, None, None, &at)?;
                }
            }
        }
    }
    Ok(())
}
