//! [`ServerTool`]: a tool that the provider runs, as a request names it, and what a use of it comes
//! to. Who runs a tool is billed for its uses, and for what it brings into the prompt.
//!
//! The dimensions are those that the readers of responses give ([`crate::providers`]). What one use
//! brings is an assumption: no provider limits it, but by pages and chunks whose sizes it doesn't
//! tell before.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::media::{Media, Range};
use crate::providers::own_dimension;
use crate::ratios::{Parameters, is_parameter_value};

/// Uses at most where a request doesn't limit them.
const USES: u64 = 5;
/// The part of the most uses that is expected: as of a limit of the output.
const EXPECTED: u64 = 3;

/// Nothing that is billed as input: Google's search, and what is in the uses' price.
const NOTHING: Range = [0; 3];
/// Tokens of the results of a search: some ten pages' passages.
const RESULTS: Range = [0, 10_000, 25_000];
/// Tokens of a page that is fetched. "Web fetch tool": 2,500 an average page, 25,000 a large one.
const PAGE: Range = [0, 5_000, 25_000];
/// Tokens of the chunks that a search in files finds. "File search": 20 of 800.
const CHUNKS: Range = [0, 8_000, 16_000];
/// Tokens of what a program that was run wrote.
const PRINTED: Range = [0, 500, 5_000];
/// Tokens of what a tool of a remote server answers.
const ANSWERED: Range = [0, 2_500, 25_000];
/// Tokens of the definitions of such a server's tools: 4,000 were measured of one with 26 tools,
/// 55,000 of one with 93.
const DEFINED: Range = [0, 4_000, 60_000];
/// Tokens of an advice. "Advisor tool": 400 to 700 of text, at most its `max_tokens`.
const ADVICE: Range = [0, 700, 4_000];

/// What is known of a tool.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    /// How requests name it, in snake case and without a version.
    names: &'static [&'static str],
    /// What its uses are counted as: the first of these that a model prices.
    dimensions: &'static [&'static str],
    /// Whether a model that prices none of them is still billed for what a use brings: some
    /// providers bill nothing else.
    is_free: bool,
    /// Tokens of input that one use brings.
    brings: Range,
    /// Tokens of input that it brings without a use.
    defines: Range,
    /// What the parameter `grounding` says where it was used.
    grounding: Option<&'static str>,
}

const RULE: Rule = Rule {
    names: &[],
    dimensions: &[],
    is_free: false,
    brings: NOTHING,
    defines: NOTHING,
    grounding: None,
};

/// Whatever a model searches with; requests of models that always search need not name it.
static WEB_SEARCH: Rule = Rule {
    names: &["web_search", "web_search_preview", "web_search_premium", "browser_search"],
    dimensions: &["web_searches"],
    brings: RESULTS,
    ..RULE
};

static RULES: &[&Rule] = &[
    &WEB_SEARCH,
    &Rule { names: &["nova_grounding"], dimensions: &["web_searches"], brings: RESULTS, ..RULE },
    &Rule {
        names: &["google_search", "google_search_retrieval", "enterprise_web_search"],
        dimensions: &["web_searches"],
        grounding: Some("search"),
        ..RULE
    },
    &Rule {
        names: &["google_maps"],
        dimensions: &["maps_searches"],
        grounding: Some("maps"),
        ..RULE
    },
    &Rule { names: &["x_search"], dimensions: &["social_searches"], brings: RESULTS, ..RULE },
    &Rule {
        names: &["file_search", "collections_search", "document_library", "retrieval"],
        dimensions: &["file_searches"],
        is_free: true,
        brings: CHUNKS,
        grounding: Some("data"),
        ..RULE
    },
    &Rule {
        names: &["document_search", "attachment_search"],
        dimensions: &["document_searches"],
        is_free: true,
        brings: CHUNKS,
        ..RULE
    },
    &Rule {
        names: &["code_execution", "code_interpreter", "nova_code_interpreter"],
        dimensions: &["code_executions", CONTAINERS],
        is_free: true,
        brings: PRINTED,
        ..RULE
    },
    &Rule {
        names: &["image_generation"],
        dimensions: &[
            PICTURES,
            "image_gen_output_images",
            "output_images",
            "image_generation_calls",
        ],
        ..RULE
    },
    &Rule { names: &["shell"], dimensions: &[CONTAINERS], brings: PRINTED, ..RULE },
    &Rule {
        names: &["web_fetch", "url_context", "visit_website", "fetch_url"],
        dimensions: &["page_fetches"],
        is_free: true,
        brings: PAGE,
        grounding: Some("url"),
        ..RULE
    },
    // Servers of others, which the provider calls: by MCP, and what connects to one.
    &Rule {
        names: &["mcp", MCP_SERVERS, "mcp_server", "mcp_toolset", "connector"],
        dimensions: &["mcp_calls"],
        is_free: true,
        brings: ANSWERED,
        defines: DEFINED,
        ..RULE
    },
    &ADVISOR,
];

/// Another model, which is asked and charged as what it is.
static ADVISOR: Rule = Rule {
    names: &["advisor"],
    dimensions: &["advisor_calls"],
    is_free: true,
    brings: ADVICE,
    ..RULE
};

/// How Anthropic's requests, and Gemini's tools, name a list of servers.
const MCP_SERVERS: &str = "mcp_servers";

/// Tokens of a model that makes pictures for another: so many times what a picture of it comes to.
const PICTURES: &str = "image_gen_output_image_tokens";
/// What else such a model counts of a use: the prompt, and pictures that are changed.
pub(super) const FOR_PICTURES: [(&str, Range); 2] =
    [("image_gen_input_tokens", [0, 200, 4_000]), ("image_gen_input_image_tokens", [0, 0, 6_500])];
/// One for each container, of which a tool has one.
const CONTAINERS: &str = "code_sessions";

/// Models that search without being told to, by what their names contain: searches of a request,
/// and tokens of input that they bring.
static SEARCHING: &[(&str, Range, Range)] = &[
    ("sonar-deep-research", [0, 20, 60], NOTHING),
    ("sonar", [0, 1, 5], NOTHING),
    ("-search-preview", [0, 1, 1], NOTHING),
    ("-search-api", [0, 1, 1], RESULTS),
];

/// Searches of a request to a model that always searches, and tokens of input that they bring.
pub(super) fn searches(model: &str) -> Option<(Range, Range)> {
    let model = model.to_ascii_lowercase();
    let found = SEARCHING.iter().find(|(part, ..)| model.contains(part));
    found.map(|(_, searches, brought)| (*searches, *brought))
}

/// A tool that the provider runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTool {
    kind: Kind,
    max_uses: Option<u64>,
    /// Tokens that one use brings at most.
    max_brought: Option<u64>,
    parameters: Parameters,
    /// Of pictures that it makes: the model, the quality and the size, as far as they are said.
    picture: [Option<String>; 3],
    /// Whether it goes on in a container of an earlier request, of which only an id is told.
    is_in_old_container: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Known(&'static Rule),
    /// What uses of another tool would be counted as.
    Other(String),
}

/// What a tool comes to on a model.
pub(super) struct Uses {
    /// What they are counted as, where the model prices it; or where it must and doesn't.
    pub dimension: Option<String>,
    /// What they may be counted as, where it has no price.
    pub unpriced: Option<&'static str>,
    pub count: Range,
    /// How often it is used.
    pub times: Range,
    /// Tokens of input that all uses bring, with the prompt, which each may read again; nothing at
    /// all where that is in their price.
    pub brought: Range,
    /// Whether the request limits them.
    pub is_limited: bool,
}

impl ServerTool {
    /// The provider's tools among what one entry of `tools` names: by its `type`, as `OpenAI`,
    /// Anthropic, xAI and Mistral take them, or by its fields, as Gemini does. A tool that the caller
    /// runs is none.
    pub fn named_in(tool: &Value) -> Vec<Self> {
        let Some(fields) = tool.as_object() else { return Vec::new() };
        if let Some(kind) = fields.get("type").and_then(Value::as_str) {
            return Self::of(kind, fields).into_iter().collect();
        }
        let servers = fields.iter().filter(|(name, _)| plain(name) == MCP_SERVERS);
        let servers = servers.filter_map(|(_, servers)| servers.as_array());
        let servers = servers.flat_map(|servers| Self::of_mcp_servers(servers, &[]));
        let known = |(name, said): (&String, &Value)| {
            // Bedrock: `{"systemTool": {"name": "nova_grounding"}}`.
            let said = said.as_object()?;
            let name = match said.get("name").and_then(Value::as_str) {
                Some(inner) if name == "systemTool" => inner,
                _ => name,
            };
            let tool = Self::of(name, said)?;
            matches!(tool.kind, Kind::Known(_)).then_some(tool)
        };
        servers.chain(fields.iter().filter_map(known)).collect()
    }

    /// Remote servers that a request names beside its tools, as Anthropic takes them: but for those
    /// that one of the tools is of (`mcp_toolset`), which count as that.
    pub fn of_mcp_servers(servers: &[Value], tools: &[Value]) -> Vec<Self> {
        let named: Vec<&Value> =
            tools.iter().filter_map(|tool| tool.get("mcp_server_name")).collect();
        let is_new = |server: &&Map<String, Value>| {
            server.get("name").is_none_or(|name| !named.contains(&name))
        };
        let servers = servers.iter().filter_map(Value::as_object).filter(is_new);
        servers.filter_map(|server| Self::of(MCP_SERVERS, server)).collect()
    }

    /// Searching by `web_search_options`, as Chat Completions say it.
    pub fn by_web_search_options(options: &Map<String, Value>) -> Self {
        Self::with(Kind::Known(&WEB_SEARCH), options)
    }

    fn of(name: &str, fields: &Map<String, Value>) -> Option<Self> {
        let name = plain(name);
        let rule = RULES.iter().find(|rule| rule.names.contains(&&*name));
        let kind = match rule {
            // A shell is the caller's own, unless it has a container.
            Some(_) if name == "shell" => {
                let environment = fields.get("environment").and_then(|of| of.get("type"));
                let environment = environment.and_then(Value::as_str).unwrap_or_default();
                Kind::Known(rule.filter(|_| environment.starts_with("container"))?)
            }
            Some(rule) => Kind::Known(rule),
            None => Kind::Other(own_dimension(&name)?),
        };
        let mut tool = Self::with(kind, fields);
        if name == "web_search_preview" {
            tool.parameters.insert("web_search_tool".to_owned(), name);
        }
        Some(tool)
    }

    fn with(kind: Kind, fields: &Map<String, Value>) -> Self {
        let number = |name: &str| fields.get(name).and_then(Value::as_u64);
        let container = fields.get("container").or(fields.get("environment"));
        let mut parameters = Parameters::new();
        for (name, value) in [
            ("search_context_size", fields.get("search_context_size")),
            ("memory_limit", container.and_then(|container| container.get("memory_limit"))),
        ] {
            let value = value.and_then(Value::as_str).filter(|value| is_parameter_value(value));
            // What has the usual memory says nothing of it.
            if let Some(value) = value.filter(|value| (name, *value) != ("memory_limit", "1g")) {
                parameters.insert(name.to_owned(), value.to_owned());
            }
        }
        let text = |name: &str| {
            let value = fields.get(name).and_then(Value::as_str);
            value.filter(|value| is_parameter_value(value)).map(str::to_owned)
        };
        Self {
            kind,
            picture: ["model", "quality", "size"].map(text),
            max_uses: number("max_uses"),
            // Of pages, and of advice.
            max_brought: number("max_content_tokens").or_else(|| number("max_tokens")),
            parameters,
            is_in_old_container: container.is_some_and(|container| {
                container.is_string() || container.get("container_id").is_some()
            }),
        }
    }

    /// What it says that prices depend on. What two tools say differently is not said.
    pub(super) fn parameters(tools: &[Self]) -> Parameters {
        let mut said: BTreeMap<&String, Option<&String>> = BTreeMap::new();
        for (name, value) in tools.iter().flat_map(|tool| &tool.parameters) {
            let one = said.entry(name).or_insert(Some(value));
            *one = one.filter(|before| *before == value);
        }
        said.into_iter().filter_map(|(name, value)| Some((name.clone(), value?.clone()))).collect()
    }

    pub(super) fn grounding(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Known(rule) => rule.grounding,
            Kind::Other(_) => None,
        }
    }

    pub(super) const fn is_in_old_container(&self) -> bool {
        self.is_in_old_container
    }

    pub(super) fn is_web_search(&self) -> bool {
        self.kind == Kind::Known(&WEB_SEARCH)
    }

    /// What it comes to where a model prices these dimensions, with so many tokens of prompt at
    /// most; nothing of a tool that is unknown and has no price.
    pub(super) fn uses(&self, prices: impl Fn(&str) -> bool, prompt: u64) -> Option<Uses> {
        let (dimension, rule) = match &self.kind {
            Kind::Known(rule) => {
                let priced = rule.dimensions.iter().find(|dimension| prices(dimension));
                (priced.map(|dimension| (*dimension).to_owned()), *rule)
            }
            Kind::Other(own) => (Some(own.clone()).filter(|own| prices(own)), &RULE),
        };
        let Rule { is_free, brings, defines, .. } = *rule;
        let named = rule.dimensions.first().copied();
        // What is always billed and has no price is refused, as its charge would be.
        let dimension = dimension.or_else(|| Some(named.filter(|_| !is_free)?.to_owned()));
        if dimension.is_none() && !is_free {
            return None;
        }
        let is_of_others = defines != NOTHING || self.is_advisor();
        let unpriced = named.filter(|_| dimension.is_none() && !is_of_others);
        let most = self.max_uses.unwrap_or(USES);
        let uses = [0, most.div_ceil(EXPECTED), most];
        let times = |each: Range| std::array::from_fn(|n| uses[n].saturating_mul(each[n]));
        let [_, expected, largest] = brings;
        let largest = self.max_brought.unwrap_or(largest);
        let brought = if brings == NOTHING {
            NOTHING
        } else {
            let again = prompt.saturating_add(defines[2]);
            let all = times([0, expected.min(largest), largest.saturating_add(again)]);
            std::array::from_fn(|n| all[n].saturating_add(defines[n]))
        };
        let is_container = dimension.as_deref() == Some(CONTAINERS);
        let count = match dimension.as_deref() {
            Some(CONTAINERS) => uses.map(|uses| uses.min(1)),
            Some(PICTURES) => {
                let [model, quality, size] = self.picture.each_ref().map(Option::as_deref);
                times(Media::of(model.unwrap_or("gpt-image")).made(quality, size))
            }
            _ => uses,
        };
        let is_limited = self.max_uses.is_some() || is_container;
        Some(Uses { dimension, unpriced, count, times: uses, brought, is_limited })
    }

    /// Whether another model is asked, which has prices of its own.
    pub(super) fn is_advisor(&self) -> bool {
        self.kind == Kind::Known(&ADVISOR)
    }

    /// Whether it makes pictures by another model.
    pub(super) fn makes_pictures(&self) -> bool {
        matches!(self.kind, Kind::Known(Rule { dimensions: [PICTURES, ..], .. }))
    }
}

/// A tool's name in snake case, without who has it before and a version behind:
/// `web_search_20250305`, `openrouter:web_search`, `googleSearch`.
fn plain(name: &str) -> String {
    let name = name.rsplit(':').next().unwrap_or_default();
    let mut plain = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !plain.is_empty() && !plain.ends_with('_') {
            plain.push('_');
        }
        plain.push(c.to_ascii_lowercase());
    }
    let is_version = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    while let Some((before, last)) = plain.rsplit_once('_')
        && is_version(last)
    {
        plain.truncate(before.len());
    }
    plain
}
