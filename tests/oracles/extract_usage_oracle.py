"""What we read of providers' responses against genai-prices' extract_usage.

For each provider and API that both read, bodies as the provider writes them: each field there,
absent, null or zero, parts within their totals. Our disjoint quantities, added up in the
package's units, must be what it reads. And bodies that are wrong: where we refuse one, the
package must as well.
"""

import argparse
import copy
import random
from decimal import Decimal

from genai_prices.data import providers

from oracle import Differences, Ours
from units import inclusive

# Its providers that we read, by our names.
PROVIDERS = {
    "anthropic": "anthropic",
    "aws": "bedrock",
    "azure": "azure",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "google": "google",
    "groq": "groq",
    "huggingface_cerebras": "huggingface",
    "huggingface_fireworks-ai": "huggingface",
    "huggingface_groq": "huggingface",
    "huggingface_hyperbolic": "huggingface",
    "huggingface_nebius": "huggingface",
    "huggingface_novita": "huggingface",
    "huggingface_nscale": "huggingface",
    "huggingface_ovhcloud": "huggingface",
    "huggingface_publicai": "huggingface",
    "huggingface_sambanova": "huggingface",
    "huggingface_together": "huggingface",
    "mistral": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "x-ai": "xai",
}
# Bodies of each provider and API that are compared.
BODIES = 200
# What the sums of all tokens are called, and counts of the cache that are parts of the prompt.
TOTALS = ("total_tokens", "totalTokens", "totalTokenCount")
WITHIN = ("cached_tokens", "cachedContentTokenCount")
# The package names what we have no dimension for: the kinds within a tool's prompt.
UNREAD = {f"input_{kind}_tool_tokens" for kind in ("text", "audio", "image", "video")}


class Maker:
    """Makes bodies. Fields that a provider may leave out are there, null or absent by chance."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def count(self, most=200_000):
        """A count; often nothing."""
        return self.random.choice((0, self.random.randint(0, min(9, most)), self.random.randint(0, most)))

    def maybe(self, chance=0.7):
        return self.random.random() < chance

    def split(self, total, parts):
        """`total` as so many counts."""
        cuts = sorted(self.random.randint(0, total) for _ in range(parts - 1))
        return [end - start for start, end in zip([0, *cuts], [*cuts, total])]

    def optional(self, fields):
        """Fields of which those that are nothing may be left out or be null."""
        kept = {}
        for name, value in fields.items():
            if value or self.maybe(0.5):
                kept[name] = value
            elif self.maybe(0.3):
                kept[name] = None
        return kept

    def details(self, name, fields):
        """An object of details; where it would say nothing it may be absent or null."""
        fields = self.optional(fields)
        if not any(fields.values()) and self.maybe(0.5):
            return {name: None} if self.maybe(0.5) else {}
        return {name: fields}

    def total(self, fields, total):
        return fields | ({"total_tokens": total} if self.maybe(0.8) else {})


def chat(make, has):
    """Chat Completions: reasoning is within the completion."""
    audio_in, text_in = (make.count() if has("input_audio_tokens") else 0), make.count()
    prompt = audio_in + text_in
    cached = make.count(prompt) if has("cache_read_tokens") else 0
    # Nobody writes sound to a cache and reports it here.
    written = make.count(max(text_in - cached, 0)) if has("cache_write_tokens") else 0
    audio_out = make.count() if has("output_audio_tokens") else 0
    reasoning, answer = make.count(), make.count()
    completion = audio_out + reasoning + answer
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    usage |= make.details("prompt_tokens_details", {
        "cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": audio_in,
    })
    usage |= make.details("completion_tokens_details", {
        "reasoning_tokens": reasoning, "audio_tokens": audio_out,
    })
    usage = make.total(usage, prompt + completion)
    return {"object": "chat.completion", "model": "m", "choices": [], "usage": usage}


def xai_chat(make, has):
    """xAI's Chat Completions: reasoning comes on top of the completion, and the total has both."""
    prompt, completion, reasoning = make.count(), make.count(), make.count()
    usage = {"prompt_tokens": prompt, "completion_tokens": completion,
             "total_tokens": prompt + completion + reasoning}
    usage |= make.details("prompt_tokens_details", {"cached_tokens": make.count(prompt)})
    usage |= make.details("completion_tokens_details", {"reasoning_tokens": reasoning})
    return {"object": "chat.completion", "model": "m", "choices": [], "usage": usage}


def perplexity_chat(make, has):
    """Sonar: reasoning and citations stand beside the completion."""
    prompt, completion = make.count(), make.count()
    usage = {"prompt_tokens": prompt, "completion_tokens": completion,
             "total_tokens": prompt + completion}
    usage |= make.optional({
        "reasoning_tokens": make.count(), "citation_tokens": make.count(),
        "num_search_queries": make.count(40),
    })
    return {"object": "chat.completion", "model": "m", "choices": [], "usage": usage}


def embeddings(make, has):
    prompt = make.count()
    return {"object": "list", "model": "m", "data": [],
            "usage": {"prompt_tokens": prompt, "total_tokens": prompt}}


def responses(make, has):
    """Responses: as Chat Completions under other names."""
    given, answer = make.count(), make.count()
    cached = make.count(given) if has("cache_read_tokens") else 0
    written = make.count(given - cached) if has("cache_write_tokens") else 0
    usage = {"input_tokens": given, "output_tokens": answer}
    usage |= make.details("input_tokens_details", {
        "cached_tokens": cached, "cache_write_tokens": written,
    })
    reasoning = make.count(answer) if has("output_reasoning_tokens") else 0
    usage |= make.details("output_tokens_details", {"reasoning_tokens": reasoning})
    return {"object": "response", "model": "m", "output": [],
            "usage": make.total(usage, given + answer)}


def perplexity_responses(make, has):
    """Perplexity's Responses, with its own name of what was cached, and its tools' calls."""
    given, answer = make.count(), make.count()
    usage = {"input_tokens": given, "output_tokens": answer, "total_tokens": given + answer}
    usage |= make.details("input_tokens_details", {"cache_read_input_tokens": make.count(given)})
    usage |= make.details("output_tokens_details", {"reasoning_tokens": make.count(answer)})
    if make.maybe():
        usage["tool_calls_details"] = {"search_web": {"invocation": make.count(20)}}
    return {"object": "response", "model": "m", "output": [], "usage": usage}


def realtime(make, has):
    """Realtime's response.done: cached tokens by their kind, too."""
    kinds = ("text", "audio", "image")
    given = {kind: make.count() for kind in kinds}
    cached = {kind: make.count(given[kind]) for kind in kinds}
    text, audio = make.count(), make.count()
    usage = {
        "input_tokens": sum(given.values()), "output_tokens": text + audio,
        "input_token_details": {f"{kind}_tokens": given[kind] for kind in kinds} | {
            "cached_tokens": sum(cached.values()),
            "cached_tokens_details": {f"{kind}_tokens": cached[kind] for kind in kinds},
        },
        "output_token_details": {"text_tokens": text, "audio_tokens": audio},
    }
    usage["total_tokens"] = usage["input_tokens"] + usage["output_tokens"]
    return {"type": "response.done", "response": {"object": "realtime.response", "usage": usage}}


def images(make, has):
    text, pictures, answer = make.count(), make.count(), make.count()
    usage = {
        "input_tokens": text + pictures, "output_tokens": answer,
        "input_tokens_details": {"text_tokens": text, "image_tokens": pictures},
    }
    if make.maybe():
        written = make.count(answer)
        usage["output_tokens_details"] = {"text_tokens": written, "image_tokens": answer - written}
    return {"created": 1, "data": [{}], "usage": make.total(usage, text + pictures + answer)}


def anthropic(make, has):
    """Messages: what was cached stands beside the input."""
    short, long, answer = make.count(), make.count(), make.count()
    usage = {"input_tokens": make.count(), "output_tokens": answer}
    ages = {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long}
    usage |= make.optional({"cache_creation_input_tokens": short + long,
                            "cache_read_input_tokens": make.count()})
    if short + long:
        if make.maybe():
            usage["cache_creation"] = ages
    elif make.maybe():
        usage["cache_creation"] = ages if make.maybe() else None
    if has("output_reasoning_tokens"):
        usage |= make.details("output_tokens_details", {"thinking_tokens": make.count(answer)})
    if has("web_searches"):
        usage |= make.details("server_tool_use", {"web_search_requests": make.count(20)})
    return {"type": "message", "model": "m", "content": [], "usage": usage}


def converse(make, has):
    """Bedrock's Converse: what was cached stands beside the input."""
    short, long, given, answer, read = (make.count() for _ in range(5))
    usage = {"inputTokens": given, "outputTokens": answer,
             "totalTokens": given + answer + short + long + read}
    usage |= make.optional({"cacheReadInputTokens": read, "cacheWriteInputTokens": short + long})
    if make.maybe():
        usage["cacheDetails"] = [
            {"ttl": ttl, "inputTokens": count}
            for ttl, count in (("5m", short), ("1h", long)) if count
        ]
    return {"output": {}, "stopReason": "end_turn", "usage": usage}


def gemini(make, has):
    """generateContent: modalities of everything, thoughts and tools' prompts beside the rest."""
    kinds = ("TEXT", "AUDIO", "IMAGE", "VIDEO", "DOCUMENT")
    tally = lambda counts: [
        {"modality": kind, "tokenCount": count} for kind, count in counts.items() if count
    ]
    given = {kind: make.count() for kind in make.random.sample(kinds, make.random.randint(1, 3))}
    cached = {kind: make.count(count) if make.maybe(0.4) else 0 for kind, count in given.items()}
    tool = {"TEXT": make.count()} if make.maybe(0.3) else {}
    answer = {kind: make.count() for kind in make.random.sample(kinds[:3], make.random.randint(1, 2))}
    thoughts = make.count()
    sums = {
        "promptTokenCount": sum(given.values()), "candidatesTokenCount": sum(answer.values()),
        "thoughtsTokenCount": thoughts, "toolUsePromptTokenCount": sum(tool.values()),
    }
    usage = make.optional(sums | {"cachedContentTokenCount": sum(cached.values())})
    usage["promptTokenCount"] = sums["promptTokenCount"]
    usage["totalTokenCount"] = sum(sums.values())
    lists = {"promptTokensDetails": given, "cacheTokensDetails": cached,
             "toolUsePromptTokensDetails": tool, "candidatesTokensDetails": answer}
    # All of them, or none: a breakdown of the cache alone is no body of Google's.
    if make.maybe(0.8):
        usage |= {name: tally(counts) for name, counts in lists.items() if counts or make.maybe()}
    return {"modelVersion": "m", "candidates": [], "usageMetadata": usage}


def cohere(make, has):
    """Chat: what is billed, beside what went through the model."""
    given, answer = make.count(), make.count()
    return {"id": "1", "finish_reason": "COMPLETE", "message": {}, "usage": {
        "billed_units": {"input_tokens": given, "output_tokens": answer},
        "tokens": {"input_tokens": given + make.count(), "output_tokens": answer},
    }}


def cohere_embeddings(make, has):
    return {"id": "1", "embeddings": {}, "meta": {"billed_units": {"input_tokens": make.count()}}}


def ocr(make, has):
    body = {"model": "m", "pages": [],
            "usage_info": {"pages_processed": make.count(1000), "doc_size_bytes": make.count()}}
    return body | ({"document_annotation": "{}"} if has("input_annotated_document_pages") else {})


# How a provider's API writes its bodies: by name, else by what they are called where many share
# it. `None` is compared nowhere, each with its reason.
SHAPES = {
    "x-ai:chat": xai_chat,
    "x-ai:default": None,  # The old gRPC interface of xAI's own library, no HTTP body.
    "x-ai:realtime": None,  # Billed by time, which no body that is documented tells.
    "perplexity:default": perplexity_chat,
    "perplexity:responses": perplexity_responses,
    "perplexity:decisions": None,  # No documented body.
    "openrouter:decisions": None,  # No documented body.
    "openrouter:systemone": None,  # No documented body.
    "openrouter:default": responses,
    "openai:live": None,  # An event at a session's end, billed by time.
    "openai:images": images,
    "aws:default": converse,
    "anthropic:default": anthropic,
    "anthropic:chat": None,  # The compatibility layer, which Anthropic documents to report no cache.
    "google:default": gemini,
    "cohere:default": cohere,
    "cohere:tokens": None,  # Another reading of the same body; `billed_units` is what is billed.
    "cohere:embeddings": cohere_embeddings,
    "mistral:ocr": ocr,
    "mistral:ocr_annotated": ocr,
    ":anthropic": anthropic,
    ":chat": chat,
    ":default": chat,
    ":responses": responses,
    ":realtime": realtime,
    ":embeddings": embeddings,
}


def shape_of(provider, flavor):
    name = f"{provider}:{flavor}"
    return SHAPES[name] if name in SHAPES else SHAPES[f":{flavor}"]


def holder(body, path):
    """The object of a body that has the last step of a path; `None` where there is none."""
    for step in path[:-1]:
        body = body.get(step) if isinstance(body, dict) and isinstance(step, str) else None
    return body if isinstance(body, dict) else None


def faults(make, extractor, body):
    """The body with one thing wrong, and what that is."""
    steps = lambda path: [path] if isinstance(path, str) else list(path)
    root = steps(extractor.root)
    paths = [root + steps(mapping.path) for mapping in extractor.mappings]
    paths = [path for path in paths
             if (found := holder(body, path)) is not None and found.get(path[-1]) is not None]
    required = [root + steps(mapping.path) for mapping in extractor.mappings if mapping.required]
    wrong = {"negative": -1, "text": "12", "fraction": 1.5, "huge": 10**12}
    for fault, value in wrong.items():
        changed = copy.deepcopy(body)
        path = make.random.choice(paths)
        holder(changed, path)[path[-1]] = value
        yield fault, changed
    for path in required:
        changed = copy.deepcopy(body)
        if (found := holder(changed, path)) is not None:
            found.pop(path[-1], None)
            yield "missing", changed
    total = next((holder(body, root + [name]) for name in TOTALS
                  if (holder(body, root + [name]) or {}).get(name)), None)
    if total is not None:
        changed = copy.deepcopy(body)
        holder(changed, root + ["any"])[next(name for name in TOTALS if total.get(name))] += 1_000_003
        yield "total", changed
    for mapping in extractor.mappings:
        path = root + steps(mapping.path)
        if mapping.dest == "cache_read_tokens" and path[-1] in WITHIN:
            changed = copy.deepcopy(body)
            found = holder(changed, path)
            if found is not None and path[-1] in found:
                found[path[-1]] = 10**11
                yield "parts", changed
    yield "no usage", {name: value for name, value in body.items() if name != root[0]}


def cases():
    """Our questions, with the package's reading or its error."""
    for provider in providers:
        if provider.id not in PROVIDERS:
            continue
        for extractor in provider.extractors or []:
            flavor = extractor.api_flavor
            shape = shape_of(provider.id, flavor)
            if shape is None:
                continue
            name = f"{provider.id}:{flavor}"
            make = Maker(name)
            mapped = {mapping.dest for mapping in extractor.mappings}
            for number in range(BODIES):
                body = shape(make, mapped.__contains__)
                bodies = [("sound", body)]
                if number < BODIES // 10:
                    bodies += faults(make, extractor, body)
                for fault, body in bodies:
                    try:
                        _, usage = provider.extract_usage(body, api_flavor=flavor)
                        read = usage._reported_values()
                    except ValueError as error:
                        read = error
                    yield name, fault, {"provider": PROVIDERS[provider.id], "body": body}, read


def compared(ours, theirs):
    """The units in which two readings differ."""
    units = inclusive(ours)
    plain = lambda side: sum(
        Decimal(quantity) for dimension, quantity in ours.items()
        if dimension.startswith(side) and dimension.endswith("_tokens")
        and not any(kind in dimension for kind in ("audio", "image", "video", "reasoning", "citation"))
    )
    units["input_text_tokens"] = plain(("input_", "cache_"))
    units["output_text_tokens"] = plain("output_")
    units["cache_text_read_tokens"] = Decimal(ours.get("cache_read_tokens", 0))
    named = (set(theirs) | {unit for unit, count in units.items() if count and "_text_" not in unit}) - UNREAD
    # What a body tells only by the sum of others, the package has no count of: how long a cache is
    # kept, and that more was cached than is text. Their sums are compared.
    implied = {"cache_write_5m_tokens"} | {f"cache_{kind}_read_tokens" for kind in ("audio", "image", "video")}
    named -= implied - set(theirs)
    return {unit for unit in named if units.get(unit, 0) != theirs.get(unit, 0)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--update", action="store_true", help="write the rules' counts anew")
    arguments = parser.parse_args()

    differences = Differences("extract_usage")
    asked = list(cases())
    answers = Ours(arguments.program, "read").ask([question for _, _, question, _ in asked])
    refused = 0
    for (name, fault, question, read), answer in zip(asked, answers):
        what = f"{question} they {read}, we {answer}"
        if "error" in answer and isinstance(read, ValueError):
            refused += 1
        elif answer.get("error") == "provider_unknown":
            differences.add(name, "unknown provider", {"provider"}, what)
        elif "error" in answer:
            differences.add(name, "refused", {fault}, what)
        elif isinstance(read, ValueError):
            differences.add(name, "read", {fault}, what)
        elif units := compared(answer["usage"], read):
            # Each unit needs a reason of its own.
            for unit in units:
                differences.add(name, "differs", {unit}, what)
        else:
            differences.equal += 1
    apis = {name for name, *_ in asked}
    print(f"extract_usage: {len(apis)} APIs of {len({n.split(':')[0] for n in apis})} providers, "
          f"{len(asked)} bodies; {refused} are refused by both")
    differences.finish("extract_usage", arguments.update)


if __name__ == "__main__":
    main()
