"""Our totals against genai-prices', exactly.

For each of its models: every dimension alone and all of them together, both sides of every tier's
border, of every date and of every window of the day, and every request parameter that changes a
price. What is compared is our subtotal before rounding, of a table made of its own data with no
margin and one credit for a dollar. And for every name in its rules, which model is meant.
"""

import argparse
import datetime
import itertools
import json
import random
from decimal import Context, Decimal, setcontext

from genai_prices import types
from genai_prices.data import providers
from genai_prices.units import _get_registry

from oracle import Differences, Ours
from units import SECONDS, UNITS, inclusive

# The package's request parameters that have another name here. Its standard class has a name.
PARAMETERS = {
    ("processing", "batch"): ("service_class", "batch"),
    ("service_tier", "default"): None,
    ("service_tier", "flex"): ("service_class", "flex"),
    ("service_tier", "priority"): ("service_class", "priority"),
    ("service_tier", "fast"): ("service_class", "fast"),
}

NOON = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
# A kind of difference.
WRITE = "a write to a cache that has no price"
# Another: Groq bills a transcription as ten seconds at least, which a price a second doesn't tell.
SHORT = "shorter than what is billed at least"
LEAST_SECONDS = {"groq/whisper-large-v3": 10, "groq/whisper-large-v3-turbo": 10}
INSTANT = datetime.timedelta(milliseconds=1)


def parameters(context):
    """A context as our parameters; `None` where it has two values for one of ours."""
    ours = [PARAMETERS.get(item, item) for item in context.items()]
    ours = [item for item in ours if item is not None]
    return dict(ours) if len({name for name, _ in ours}) == len(ours) else None


def contexts(model):
    """The empty context, what each variant asks for, and each two of them together."""
    wanted = [{}]
    for variant in model.price_variants or []:
        if variant.when not in wanted:
            wanted.append(variant.when)
    for one, other in itertools.combinations(wanted[1:], 2):
        if not one.keys() & other.keys() and one | other not in wanted:
            wanted.append(one | other)
    return [context for context in wanted if parameters(context) is not None]


def times(model):
    """Noon of a day, and both sides of all that changes a price."""
    conditional = model.prices if isinstance(model.prices, list) else []
    wanted = [NOON]
    for price in [*conditional, *(model.price_variants or [])]:
        match price.constraint:
            case types.StartDateConstraint(start_date=day):
                borders = [datetime.datetime.combine(day, datetime.time(), datetime.UTC)]
            case types.TimeOfDateConstraint(start_time=start, end_time=end):
                borders = [datetime.datetime.combine(NOON.date(), time, time.tzinfo or datetime.UTC)
                           for time in (start, end)]
            case None:
                borders = []
        wanted += [at for border in borders for at in (border - INSTANT, border)]
    return list(dict.fromkeys(wanted))


def tiers(model):
    """The borders of all tiers."""
    conditional = model.prices if isinstance(model.prices, list) else []
    parts = [part.prices for part in [*conditional, *(model.price_variants or [])]]
    if not conditional:
        parts.append(model.prices)
    prices = [price for part in parts for price in vars(part).values()]
    return sorted({
        tier.start for price in prices if isinstance(price, types.TieredPrices) for tier in price.tiers
    })


def is_prompt(dimension):
    return dimension.startswith(("input_", "cache_")) and dimension.endswith("_tokens")


def is_unpriced_write(dimension, units):
    """Whether tokens were written to a cache at no price of its own: the package has them as input."""
    own = {
        "cache_write_tokens": {"cache_write_tokens", "cache_write_5m_tokens"},
        "cache_write_1h_tokens": {"cache_write_1h_tokens"},
        "cache_write_12h_tokens": set(),
    }
    for kind in ("audio", "image", "video"):
        own[f"cache_write_{kind}_tokens"] = {"cache_write_tokens", f"cache_{kind}_write_tokens"}
    return dimension in own and not own[dimension] & units


def quantity(dimension, random, top):
    if dimension in SECONDS:
        return str(Decimal(random.randint(1, 1000 * min(top, 100_000))) / 1000)
    return random.randint(1, top)


def usages(priced, borders, random, dimensions):
    """Usages of one model at one time and with one context."""
    yield dict.fromkeys(dimensions, 0)
    for dimension in dimensions:
        yield {dimension: quantity(dimension, random, random.choice((9, 90_000, 900_000_000)))}
    if not priced:
        return
    some = random.sample(priced, random.randint(1, len(priced)))
    yield {dimension: quantity(dimension, random, 90_000) for dimension in some}
    yield {dimension: quantity(dimension, random, 90_000) for dimension in priced}
    prompt = [dimension for dimension in priced if is_prompt(dimension)]
    for border in borders:
        for total in (border - 1, border, border + 1):
            for dimension in prompt:
                yield {dimension: total}
            if not prompt:
                continue
            # All kinds of prompt tokens together are what meets the border.
            cuts = sorted(random.sample(range(1, total), len(prompt) - 1))
            shares = [end - start for start, end in zip([0, *cuts], [*cuts, total])]
            mixed = dict(zip(prompt, shares))
            yield mixed | {
                dimension: quantity(dimension, random, 90_000)
                for dimension in priced if dimension not in mixed
            }


def names(clause):
    """What a match rule says literally, whole or as a beginning. The import has no other rules, and
    lists those."""
    match clause:
        case types.ClauseOr(or_=clauses):
            for each in clauses:
                yield from names(each)
        case types.ClauseEquals(equals=name):
            yield name
        case types.ClauseStartsWith(starts_with=name):
            yield from (name, f"{name}-2026-01-01")


def compare_names(ours, taken, differences):
    """A name leads to the model to which the package's provider is led by it."""
    asked = []
    for provider in providers:
        for model in provider.models:
            for name in sorted({model.id, *names(model.match)}):
                found = provider.find_model(name)
                wanted = found and f"{provider.id}/{found.id}"
                if wanted in taken and "~" not in name:
                    question = {"model": f"{provider.id}/{name}", "usage": {}, "parameters": {},
                                "at": NOON.isoformat()}
                    asked.append((question, wanted))
    equal = 0
    for (question, wanted), answer in zip(asked, ours.ask([question for question, _ in asked])):
        if answer.get("model") == wanted:
            equal += 1
        else:
            differences.add(question["model"], "name", {"model"}, f"{question['model']} is {wanted}, "
                            f"we {answer}")
    print(f"genai-prices: {len(asked)} names, of which {equal} lead to the same model")


def cases(differences, omitted):
    """All questions with what the package says: the total, `None` where it has no price, and
    whether it has a write to a cache that has no price of its own."""
    registry = _get_registry()
    for provider in providers:
        for model in provider.models:
            name = f"{provider.id}/{model.id}"
            if name in omitted:
                continue
            generator = random.Random(name)
            for at, context in itertools.product(times(model), contexts(model)):
                keys = vars(model.get_prices(at, context))
                units = {registry.unit_for_price_key(key).usage_key for key in keys}
                priced = [dimension for dimension, counts in UNITS.items() if units & set(counts)]
                given = parameters(context)
                # What a rule knows to differ stays alone, so that it can hide nothing else.
                together = [
                    dimension for dimension in priced
                    if differences.rule(name, "differs", {dimension}) is None
                    and differences.rule(name, "refused", {dimension}) is None
                    and not is_unpriced_write(dimension, units)
                ]
                first = at == NOON and not context
                alone = UNITS if first else priced
                for usage in usages(together, tiers(model), generator, alone):
                    if not usage:
                        continue
                    total = model.calc_price(
                        types.Usage(**inclusive(usage)), provider, genai_request_timestamp=at, price_context=context,
                    ).total_price
                    if "requests" in units:
                        usage = usage | {"requests": 1}
                    used = [d for d, q in usage.items() if Decimal(q) and d != "requests"]
                    if any(dimension not in priced for dimension in used):
                        total = None
                    question = {"model": name, "usage": usage, "parameters": given,
                                "at": at.isoformat(timespec="milliseconds")}
                    yield question, total, any(is_unpriced_write(d, units) for d in used)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("table")
    parser.add_argument("imported", help="what the import took, and what it left out")
    parser.add_argument("--update", action="store_true", help="write the rules' counts anew")
    arguments = parser.parse_args()
    setcontext(Context(prec=60))

    differences = Differences("genai-prices")
    with open(arguments.imported, encoding="utf-8") as file:
        imported = json.load(file)
    taken = set(imported["models"])
    rounded = {each["model"] for each in imported["notes"]}
    omitted = {each["model"] for each in imported["omitted"] if "field" not in each}
    asked = list(cases(differences, omitted - taken))
    ours = Ours(arguments.program, "rate", arguments.table)
    compare_names(ours, taken, differences)
    answers = ours.ask([q for q, _, _ in asked])

    models = set()
    unpriced = 0
    for (question, total, writes), answer in zip(asked, answers):
        name = question["model"]
        about = {d for d, q in question["usage"].items() if Decimal(q) or len(question["usage"]) == 1}
        about |= {f"{key}={value}" for key, value in question["parameters"].items()}
        what = f"{question} they {total}, we {answer}"
        models.add(name)
        if "error" in answer:
            if total is None and answer["error"] == "unpriced_dimension":
                unpriced += 1
            elif writes and answer["error"] == "unpriced_dimension":
                differences.add(name, WRITE, about, what)
            elif answer["error"] == "unknown_model":
                differences.add(name, "unknown", {"model"}, what)
            else:
                differences.add(name, "refused", about, what)
            continue
        subtotal = Decimal(answer["subtotal"])
        seconds = sum(Decimal(q) for d, q in question["usage"].items() if d in SECONDS)
        if total is None:
            differences.add(name, "priced", about, what)
        # Prices an hour, and of more digits than a ratio has, are rounded up at the 12th.
        elif subtotal == total or (
            name in rounded and 0 < subtotal - total <= total * Decimal("1e-11")
        ):
            differences.equal += 1
        elif 0 < seconds < LEAST_SECONDS.get(name, 0):
            differences.add(name, SHORT, about, what)
        else:
            differences.add(name, "differs", about, what)
    print(f"genai-prices: {len(models)} models ({len(omitted - taken)} more are left out of the "
          f"import, which says why), {len(asked)} usages, of which {unpriced} have no price there "
          f"and are refused here")
    differences.finish("genai-prices", arguments.update)


if __name__ == "__main__":
    main()
