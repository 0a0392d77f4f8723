"""Our totals against litellm's cost functions, within the error of its floats.

For each entry of its table: every dimension alone and all of them together, both sides of every
tier's border and every window of the week, every service class and request parameter that
changes a price, and what is not counted in tokens. What is compared is our subtotal before
rounding, of a table made of its own data with no margin and one credit for a dollar.
"""

import argparse
import datetime
import json
import math
import os
import random
import re

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from litellm import cost_calculator
from litellm._internal_context import pinned_billing_time
from litellm.litellm_core_utils.llm_cost_calc.tool_call_cost_tracking import (
    StandardBuiltInToolCostTracking,
)
from litellm.litellm_core_utils.llm_cost_calc.utils import (
    flat_image_cost,
    generic_cost_per_token,
    get_provider_specific_geo_multiplier,
    get_provider_specific_speed_multiplier,
)
from litellm.llms.gemini.cost_calculator import (
    cost_per_google_maps_grounding_request,
    cost_per_web_search_request,
)
from litellm.llms.base_llm.ocr.transformation import OCRResponse, OCRUsageInfo
from litellm.types.utils import (
    CacheCreationTokenDetails,
    CompletionTokensDetailsWrapper,
    ImageObject,
    ImageResponse,
    PromptTokensDetailsWrapper,
    Usage,
)

from oracle import Differences, Ours

litellm.suppress_debug_info = True

PROMPT = [
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "cache_write_12h_tokens", "input_audio_tokens", "input_image_tokens", "input_video_tokens",
    "cache_read_audio_tokens", "cache_read_image_tokens",
]
OUTPUT = [
    "output_tokens", "output_audio_tokens", "output_image_tokens", "output_video_tokens",
    "output_reasoning_tokens",
]
TIERS = re.compile(r"_above_(\d+)k_tokens")
# How the names of fields end, and the service class that is.
CLASSES = {
    "_batches": "batch", "_flex": "flex", "_priority": "priority", "_ultrafast": "ultrafast",
    "_balanced": "balanced",
}
# A Wednesday, in no cheap hour.
WEDNESDAY = datetime.datetime(2026, 11, 18, 2, tzinfo=datetime.UTC)
# Kinds of differences.
WRITE = "a write to a cache that has no price"
BATCH = "no price in batches"
BORDER = "no price of the class above a border"
IMAGES = "cached images have a price that is not used"
CACHED = "cached at the price of text"
INSTANT = datetime.timedelta(milliseconds=1)


def provider_of(entry):
    """Whom the library's functions are told: its table names parts of some providers."""
    provider = entry.get("litellm_provider") or ""
    if provider.startswith("vertex_ai-"):
        return "vertex_ai"
    return "bedrock" if provider == "bedrock_converse" else provider


def usage_of(ours, parameters):
    """Our disjoint usage as theirs, whose totals hold their parts."""
    count = lambda name: ours.get(name, 0)
    cached = [count(f"cache_read_{part}tokens") for part in ("", "audio_", "image_")]
    written = [count(f"cache_write_{age}tokens") for age in ("", "1h_", "12h_")]
    prompt = sum(count(dimension) for dimension in PROMPT)
    output = sum(count(dimension) for dimension in OUTPUT)
    usage = Usage(
        prompt_tokens=prompt,
        completion_tokens=output,
        total_tokens=prompt + output,
        prompt_tokens_details=PromptTokensDetailsWrapper(
            cached_tokens=sum(cached),
            cached_tokens_details={"audio_tokens": cached[1], "image_tokens": cached[2]},
            cache_creation_tokens=sum(written),
            cache_creation_token_details=CacheCreationTokenDetails(
                ephemeral_5m_input_tokens=written[0],
                ephemeral_1h_input_tokens=written[1],
                ephemeral_12h_input_tokens=written[2],
            ),
            audio_tokens=count("input_audio_tokens") + cached[1],
            image_tokens=count("input_image_tokens") + cached[2],
            video_tokens=count("input_video_tokens"),
        ),
        completion_tokens_details=CompletionTokensDetailsWrapper(
            audio_tokens=count("output_audio_tokens"),
            image_tokens=count("output_image_tokens"),
            video_tokens=count("output_video_tokens"),
            reasoning_tokens=count("output_reasoning_tokens"),
        ),
    )
    for name in ("speed", "inference_geo"):
        if name in parameters:
            setattr(usage, name, parameters[name])
    return usage


def token_cost(name, entry, ours, parameters, at):
    """What the library charges for tokens: by the calculation that it has for all providers. Those
    that it has for some leave out prices of its own table: Fireworks' classes, Perplexity's cache."""
    usage = usage_of(ours, parameters)
    provider = provider_of(entry)
    service_class = parameters.get("service_class")
    with pinned_billing_time(at):
        if service_class == "batch":
            return sum(cost_calculator.batch_cost_calculator(
                usage=usage, model=name, custom_llm_provider=provider,
            ))
        factor = get_provider_specific_geo_multiplier(model_info=entry, usage=usage)
        factor *= get_provider_specific_speed_multiplier(model_info=entry, usage=usage)
        return factor * sum(generic_cost_per_token(
            model=name, usage=usage, custom_llm_provider=provider, service_tier=service_class,
            data_residency=parameters.get("data_residency"),
            vertex_location="us-east5" if parameters.get("endpoint") == "regional" else None,
        ))


def prices_tokens(entry):
    return any(
        key.startswith(("input_cost_per_token", "output_cost_per_token"))
        or key == "tiered_pricing" and any("range" in tier for tier in entry[key])
        or re.match(r"(in|out)put_cost_per_(audio|image|video)_token", key)
        for key in entry
    )


def is_priced(entry, dimension):
    """Whether the library has a price for a dimension, its own or that of the plain tokens."""
    side = "input" if dimension in PROMPT else "output"
    fields = [f"{side}_cost_per_token"]
    kind = re.search(r"(audio|image|video)", dimension)
    if kind:
        fields.append(f"{side}_cost_per_{kind[1]}_token")
    if side == "output":
        fields += ["output_cost_per_image_token", "output_cost_per_reasoning_token"]
    if dimension.startswith("cache_"):
        fields = ["input_cost_per_token", "cache_read_input_token_cost",
                  "cache_creation_input_token_cost", "cache_read_input_audio_token_cost"]
    return any(field in entry for field in fields) or bool(entry.get("tiered_pricing"))


def is_unpriced_write(dimension, entry):
    """Whether tokens were written to a cache at no price of its own: the library has one for them,
    that of a shorter time or of plain input."""
    base = "cache_creation_input_token_cost"
    endings = {"cache_write_1h_tokens": "_above_1hr", "cache_write_12h_tokens": "_above_12hr"}
    if not dimension.startswith("cache_write"):
        return False
    fields = set(entry).union(*(entry.get("tiered_pricing") or []), entry.get("off_peak_pricing") or [])
    return base + endings.get(dimension, "") not in fields


# The field that prices a dimension, where the table has it; else that of the plain tokens counts.
FIELDS = {
    "cache_read_tokens": "cache_read_input_token_cost",
    "cache_write_tokens": "cache_creation_input_token_cost",
    "cache_write_1h_tokens": "cache_creation_input_token_cost_above_1hr",
    "cache_write_12h_tokens": "cache_creation_input_token_cost_above_12hr",
    "cache_read_audio_tokens": "cache_read_input_audio_token_cost",
    "cache_read_image_tokens": "cache_read_input_image_token_cost",
    "output_reasoning_tokens": "output_cost_per_reasoning_token",
} | {
    f"{side}_{kind}_tokens": f"{side}_cost_per_{kind}_token"
    for side in ("input", "output") for kind in ("audio", "image", "video")
}


def special(dimension, entry, parameters):
    """The kind of difference that is known of a dimension, by what the table itself says."""
    side = "input" if dimension in PROMPT else "output"
    field = FIELDS.get(dimension)
    plain = f"{side}_cost_per_token"
    cached = re.fullmatch(r"cache_read_(audio|image)_tokens", dimension)
    if cached:
        if dimension == "cache_read_image_tokens" and field in entry:
            return IMAGES
        own = entry.get(f"input_cost_per_{cached[1]}_token") or 0
        if field not in entry and own > (entry.get(plain) or 0):
            return CACHED
        if field not in entry:
            field = FIELDS["cache_read_tokens"]
    if parameters.get("service_class") == "batch":
        priced = field if field and any(name.startswith(field) for name in entry) else plain
        if not any(name.startswith(priced) and name.endswith("_batches") for name in entry):
            return BATCH
    return WRITE if is_unpriced_write(dimension, entry) else None


def is_over_classless_border(entry, question):
    """Whether the prompt is over a border above which there are standard prices, and none of its
    class."""
    wanted = question["parameters"].get("service_class")
    wanted = "priority" if wanted == "fast" else wanted
    ending = next((ending for ending, name in CLASSES.items() if name == wanted), None)
    if ending is None:
        return False
    prompt = sum(count for dimension, count in question["usage"].items() if dimension in PROMPT)
    return any(
        TIERS.search(key) and int(TIERS.search(key)[1]) * 1000 < prompt
        and not key.endswith(tuple(CLASSES)) and key + ending not in entry
        for key in entry
    )


def classes(entry):
    """The parameters that change a price of tokens."""
    wanted = [{}]
    for ending, name in CLASSES.items():
        if any(key.endswith(ending) and "token" in key for key in entry):
            wanted.append({"service_class": name})
    special = entry.get("provider_specific_entry") or {}
    if "us" in special:
        wanted.append({"inference_geo": "us"})
    if "fast" in special:
        wanted.append({"speed": "fast"})
        wanted.append({"speed": "fast", "inference_geo": "us"})
    if any(key.endswith("_priority") for key in entry):
        wanted.append({"service_class": "fast"})
    for region in ("eu", "us"):
        if f"regional_processing_uplift_multiplier_{region}" in entry:
            wanted.append({"data_residency": region})
            wanted += [{"data_residency": region} | given for given in wanted if len(given) == 1
                       and given.get("service_class") in ("flex", "priority")]
    if "fedramp_uplift_multiplier" in entry:
        wanted.append({"data_residency": "fedramp"})
        wanted += [{"data_residency": "fedramp"} | given for given in wanted if len(given) == 1
                   and given.get("service_class") in ("flex", "priority")]
    if "regional_endpoint_uplift_multiplier" in entry:
        wanted.append({"endpoint": "regional"})
    return wanted


def borders(entry):
    """The borders of all tiers of prompt tokens."""
    found = {int(match[1]) * 1000 for key in entry for match in [TIERS.search(key)] if match}
    for tier in entry.get("tiered_pricing") or []:
        found |= {int(border) for border in tier.get("range") or [] if border}
    return sorted(found)


def times(entry):
    """An hour of a Wednesday, and both sides of all windows from Friday to Monday."""
    wanted = [WEDNESDAY]
    cheap = entry.get("off_peak_pricing")
    if cheap:
        hours = {0}
        for window in cheap.get("windows") or []:
            texts = window["hours_utc"]
            for text in [texts] if isinstance(texts, str) else texts:
                hours |= {int(part[:2]) for part in text.split("-")}
        for day in range(2, 6):
            for hour in sorted(hours):
                at = WEDNESDAY.replace(hour=hour) + datetime.timedelta(days=day)
                wanted += [at - INSTANT, at]
    return wanted


def token_usages(dimensions, alone, tiers, generator):
    """Usages at one time and with one set of parameters."""
    yield dict.fromkeys(alone, 0)
    for dimension in alone:
        yield {dimension: generator.randint(1, generator.choice((9, 90_000, 900_000_000)))}
    if not dimensions:
        return
    yield {dimension: generator.randint(1, 20_000) for dimension in dimensions}
    some = generator.sample(dimensions, generator.randint(1, len(dimensions)))
    yield {dimension: generator.randint(1, 20_000) for dimension in some}
    prompt = [dimension for dimension in dimensions if dimension in PROMPT]
    for border in tiers if prompt else []:
        for total in (border - 1, border, border + 1):
            for dimension in prompt:
                yield {dimension: total}
            cuts = sorted(generator.sample(range(1, total), len(prompt) - 1))
            shares = [end - start for start, end in zip([0, *cuts], [*cuts, total])]
            yield dict(zip(prompt, shares)) | {
                dimension: generator.randint(1, 90_000)
                for dimension in dimensions if dimension in OUTPUT
            }


def token_cases(name, entry, generator, differences):
    for at in times(entry):
        for parameters in classes(entry):
            priced = [d for d in PROMPT + OUTPUT if is_priced(entry, d)]
            about = {f"{key}={value}" for key, value in parameters.items()}
            # What a rule knows to differ stays alone, so that it can hide nothing else.
            together = [
                dimension for dimension in priced
                if special(dimension, entry, parameters) is None
                and all(differences.rule(name, kind, {dimension} | about) is None
                        for kind in ("differs", "refused"))
            ]
            tiers = borders(entry) if at == WEDNESDAY else []
            for usage in token_usages(together, priced, tiers, generator):
                # Its tiers know no request without a prompt; nor does any provider.
                if entry.get("tiered_pricing") and any(usage.values()):
                    usage = {"input_tokens": 1} | usage
                cost = token_cost(name, entry, usage, parameters, at)
                yield usage, parameters, at, cost


def second_cost(name, entry, seconds, _):
    return sum(cost_calculator.cost_per_token(
        model=name, custom_llm_provider=provider_of(entry), call_type="transcription",
        audio_transcription_file_duration=seconds,
    ))


def character_cost(name, entry, count, _):
    return sum(cost_calculator.cost_per_token(
        model=name, custom_llm_provider=provider_of(entry), call_type="speech",
        prompt_characters=count,
    ))


def image_cost(name, entry, count, _):
    if "output_cost_per_image" in entry:
        return flat_image_cost(entry, ImageResponse(data=[ImageObject()] * count))
    return cost_calculator.default_image_cost_calculator(
        model=name, custom_llm_provider=provider_of(entry), n=count, model_info=entry,
    )


def video_cost(name, entry, seconds, parameters):
    return cost_calculator.default_video_cost_calculator(
        model=name, duration_seconds=seconds, custom_llm_provider=provider_of(entry),
        model_info=entry, video_resolution=parameters.get("resolution"),
    )


def rerank_cost(name, entry, count, _):
    return sum(cost_calculator.rerank_cost(
        model=name, custom_llm_provider=provider_of(entry), billed_units={"search_units": count},
    ))


def search_cost(name, entry, count, _):
    return sum(cost_calculator.cost_per_token(
        model=name, custom_llm_provider=provider_of(entry), call_type="search",
        number_of_queries=count,
    ))


def page_cost(name, entry, count, _):
    usage = OCRUsageInfo(pages_processed=count)
    return sum(cost_calculator.ocr_cost(
        model=name, custom_llm_provider=provider_of(entry),
        response=OCRResponse(pages=[], model=name, usage_info=usage),
    ))


def web_search_cost(name, entry, count, parameters):
    size = parameters.get("search_context_size")
    return count * StandardBuiltInToolCostTracking.get_cost_for_web_search(
        web_search_options={"search_context_size": size} if size else None, model_info=entry,
    )


# What is not counted in tokens: a field, the modes in which the library bills it, our dimension
# and its function. Where more fields price one thing, the library's first choice comes first.
FLAT = [
    ("output_cost_per_second", {"audio_transcription"}, "audio_seconds", second_cost),
    ("input_cost_per_second", {"audio_transcription"}, "audio_seconds", second_cost),
    ("input_cost_per_character", {"audio_speech"}, "input_characters", character_cost),
    ("output_cost_per_image", {"image_generation"}, "output_images", image_cost),
    ("input_cost_per_image", {"image_generation"}, "output_images", image_cost),
    ("output_cost_per_video_per_second", {"video_generation"}, "video_seconds", video_cost),
    ("output_cost_per_second", {"video_generation"}, "video_seconds", video_cost),
    ("input_cost_per_query", {"rerank"}, "queries", rerank_cost),
    ("input_cost_per_query", {"search"}, "queries", search_cost),
    ("ocr_cost_per_page", {"ocr"}, "pages", page_cost),
    ("search_context_cost_per_query", {"chat", "responses"}, "web_searches", web_search_cost),
]


def is_fee(entry):
    """Perplexity's prices by the size of the context are of requests, not of single searches: the
    library multiplies them, too, but by one."""
    sizes = entry["search_context_cost_per_query"]
    return entry["litellm_provider"] == "perplexity" and len(set(sizes.values())) > 1


def grounded_cases(name, entry, generator):
    """Gemini's grounding where it costs once a prompt: a response says what it is grounded in."""
    is_gemini = "gemini" in name and entry["litellm_provider"].startswith(("gemini", "vertex_ai"))
    if not is_gemini or entry.get("web_search_billing_unit") is not None:
        return
    searched = entry.get("search_context_cost_per_query") is not None
    mapped = entry.get("google_maps_grounding_cost_per_query") is not None
    for grounding, searches, maps in [("search", 1, 0), ("search+url", 3, 0), ("maps", 0, 2), ("maps+search", 2, 3)]:
        if (searches and not searched) or (maps and not mapped):
            continue
        count = generator.randint(1, 9)
        usage = Usage(prompt_tokens_details=PromptTokensDetailsWrapper(
            web_search_requests=searches * count, google_maps_grounding_requests=maps * count,
        ))
        cost = cost_per_web_search_request(usage, entry) + cost_per_google_maps_grounding_request(usage, entry)
        quantities = {"requests": 1, "web_searches": searches * count, "maps_searches": maps * count}
        yield {d: n for d, n in quantities.items() if n}, {"grounding": grounding}, WEDNESDAY, cost


def flat_parameters(entry, dimension):
    yield {}
    if dimension == "video_seconds":
        for key in entry:
            if key.startswith("output_cost_per_second_"):
                yield {"resolution": key.removeprefix("output_cost_per_second_")}
    if dimension in ("web_searches", "requests"):
        for key in entry["search_context_cost_per_query"]:
            yield {"search_context_size": key.removeprefix("search_context_size_")}


def flat_cases(name, entry, generator):
    done = set()
    for field, modes, dimension, cost in FLAT:
        if entry.get(field) is None or entry.get("mode") not in modes or dimension in done:
            continue
        done.add(dimension)
        if dimension == "web_searches" and is_fee(entry):
            dimension = "requests"
        for parameters in flat_parameters(entry, dimension):
            # A search without a number of queries is one query there.
            least = 1 if cost is search_cost else 0
            for count in (least, generator.randint(1, 9), generator.randint(10, 90_000)):
                yield {dimension: count}, parameters, WEDNESDAY, cost(name, entry, count, parameters)
    yield from grounded_cases(name, entry, generator)


def cases(differences, omitted, skipped):
    for name, entry in litellm.model_cost.items():
        if name in omitted:
            continue
        try:
            key = litellm.get_model_info(
                model=name, custom_llm_provider=provider_of(entry),
            )["key"]
        except Exception:  # The library raises nothing narrower.
            key = None
        # The library's name for it leads to another entry, which has its own turn.
        if key != name:
            skipped.append(name)
            continue
        generator = random.Random(name)
        found = list(flat_cases(name, entry, generator))
        if prices_tokens(entry):
            found += token_cases(name, entry, generator, differences)
        for usage, parameters, at, cost in found:
            priced = all(
                not quantity or dimension not in PROMPT + OUTPUT or is_priced(entry, dimension)
                for dimension, quantity in usage.items()
            )
            yield {"model": name, "usage": usage, "parameters": parameters,
                   "at": at.isoformat(timespec="milliseconds")}, cost if priced else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("table")
    parser.add_argument("imported", help="what the import took, and what it left out")
    parser.add_argument("--update", action="store_true", help="write the rules' counts anew")
    arguments = parser.parse_args()

    differences = Differences("litellm")
    with open(arguments.imported, encoding="utf-8") as file:
        imported = json.load(file)
    skipped = []
    omitted = {each["model"] for each in imported["omitted"] if "field" not in each}
    asked = list(cases(differences, omitted, skipped))
    answers = Ours(arguments.program, "rate", arguments.table).ask([q for q, _ in asked])
    models = {question["model"] for question, _ in asked}
    unpriced = 0
    for (question, cost), answer in zip(asked, answers):
        name = question["model"]
        about = {d for d, q in question["usage"].items() if q or len(question["usage"]) == 1}
        about |= {f"{key}={value}" for key, value in question["parameters"].items()}
        what = f"{question} they {cost}, we {answer}"
        known = {
            special(dimension, litellm.model_cost[name], question["parameters"])
            for dimension, quantity in question["usage"].items() if quantity
        }
        if cost is None:
            if answer.get("error") == "unpriced_dimension":
                unpriced += 1
            else:
                differences.add(name, "priced", about, what)
        elif "error" in answer:
            kind = "unknown" if answer["error"] == "unknown_model" else "refused"
            if kind == "refused" and any(
                is_unpriced_write(d, litellm.model_cost[name]) for d, q in question["usage"].items() if q
            ):
                kind = WRITE
            differences.add(name, kind, {"model"} if kind == "unknown" else about, what)
        elif math.isclose(float(answer["subtotal"]), cost, rel_tol=1e-9, abs_tol=1e-18):
            differences.equal += 1
        else:
            kind = next((kind for kind in (IMAGES, CACHED, BATCH) if kind in known), "differs")
            if kind == "differs" and differences.rule(name, kind, about) is None \
                    and is_over_classless_border(litellm.model_cost[name], question):
                kind = BORDER
            differences.add(name, kind, about, what)
    print(f"litellm: {len(models)} models ({len(omitted)} more are left out of the import, which says "
          f"why, and {len(skipped)} names lead to another entry there), {len(asked)} usages, of which "
          f"{unpriced} have no price there and are refused here")
    differences.finish("litellm", arguments.update)


if __name__ == "__main__":
    main()
