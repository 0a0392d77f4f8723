"""Fits the tokens that a unit of text comes to, for `uc_domain::estimates`.

Usage: python calibrate.py   (with numpy and scipy)

Reads texts.jsonl as count.py left it; held_out.jsonl is not read. `units` must count as
`Profile::of` in shared/domain/src/estimates/profile.rs does. Prints the rows of families.rs in
thousandths of a token: for each unit the least, the expected and the most.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
from scipy.optimize import linprog, lsq_linear
from scipy.sparse import eye, hstack

UNITS = ["texts", "words", "humps", "letters", "odd_pairs", "suffixes", "dense", "digits",
         "numbers", "marks", "more_marks", "blanks", "repeats", "accented", "combining",
         "cyrillic", "greek", "arabic", "hebrew", "devanagari", "indic", "thai", "kana", "han",
         "hangul", "typography", "symbols", "pictures", "rare_2", "rare_3", "rare_4", "english",
         "english_letters"]
FAMILIES = {
    "openai_o200k": ["o200k"],
    "openai_cl100k": ["cl100k"],
    "claude": ["claude-3"],
    "claude_4_7": ["claude-4.7"],
    "gemini": ["gemini", "gemma3"],
    "llama": ["llama3"],
    "mistral": ["mistral-v3", "mistral-tekken"],
    "deepseek": ["deepseek"],
    "qwen": ["qwen2.5", "qwen3.6"],
}
FREE = 4  # letters of a word that cost nothing beyond the word
LONG = 20  # a longer run of letters is no word
# The commonest words of English. Where they are a sixth of the words, a text is English.
COMMON = set("""a about all an and are as at be but by can for from has have he her his i if in is
it its me my no not of on one or our she so than that the their them they this to up us was we
what when which who will with would you your""".split())
# Pairs of letters that are in the words of hardly any language; a letter, and what follows it.
ODD = {
    "b": "cfgkmnpqvwxz", "c": "bdfgmnpqvwx", "d": "cfjpqx", "f": "bcdghjkmnpqsvwxz",
    "g": "bcfjmpqvxz", "h": "bcfghjkpqxz", "j": "bcdfgjlmpqrtvwxyz", "k": "bcfgpqxz",
    "l": "bcpqrxz", "m": "cjkqrxz", "n": "bx", "o": "q", "p": "bcdgkmnqvwxz",
    "q": "bcdfghijklmnpqrstvwxyz", "r": "qx", "s": "bx", "t": "bdfqx", "v": "bcdfghjkmpqtvwxz",
    "w": "bcdfgjkmpqtvwxz", "x": "bdfghjklmnqrsvwxyz", "y": "fjqvxy", "z": "cfjklmpqrsx",
}
# What no unit can be above: a token is at least a byte. (An eighth is left for what a tokenizer
# makes of a text before it counts, and a symbol may have a space before it.)
BYTES = {"repeats": 1, "marks": 1, "more_marks": 1, "blanks": 1, "dense": 1, "digits": 1,
         "accented": 2, "combining": 2, "cyrillic": 2, "greek": 2, "arabic": 2, "hebrew": 2,
         "devanagari": 3, "indic": 3, "thai": 3, "kana": 3, "han": 3, "hangul": 3,
         "typography": 3, "symbols": 4, "pictures": 5, "rare_2": 2, "rare_3": 3, "rare_4": 4,
         "texts": 1.5}
# And what the most of a unit is at least: some text comes to that much, though none here may.
FLOORS = {"words": 1.3, "english": 1.02, "combining": 2, "rare_2": 2, "rare_3": 3, "rare_4": 4.1,
          "dense": 0.95, "marks": 1, "more_marks": 0.8, "blanks": 1, "suffixes": 1,
          "symbols": 2.5, "typography": 1.5, "letters": 0.3, "odd_pairs": 0.4, "humps": 1.2}
# What is to be expected of a unit at least: few texts here have it.
EXPECTED = {"humps": 0.8}
MARGIN = 0.15  # what is added to the most
# What the least is at most: code, names and runs may be made of what has a token of its own.
CEILINGS = {"repeats": 0.0, "humps": 0.0, "suffixes": 0.0, "odd_pairs": 0.0, "blanks": 0.05,
            "words": 0.98, "english": 0.98, "numbers": 0.3, "letters": 0.12,
            "english_letters": 0.03, "accented": 0.15, "combining": 0.2, "symbols": 0.25,
            "pictures": 0.2, "typography": 0.4, "more_marks": 0.05, "marks": 0.4, "dense": 0.2}
BELOW = 0.2  # taken off the least of the rest


@cache
def kind(c):
    o = ord(c)
    if o < 0x80:
        if c.isalpha():
            return "letter"
        if c.isdigit():
            return "digits"
        return "blank" if c.isspace() else "marks"
    for name, ranges in KINDS:
        if any(a <= o <= b for a, b in ranges):
            return name
    return "rare_2" if o < 0x800 else "rare_3" if o < 0x10000 else "rare_4"


KINDS = [
    ("symbols", [(0xD7, 0xD7), (0xF7, 0xF7)]),
    ("typography", [(0xA0, 0xBF), (0x2010, 0x2027), (0x2030, 0x203A), (0x20AC, 0x20AC)]),
    ("accented", [(0xC0, 0x24F), (0x1E00, 0x1EFF)]),
    ("combining", [(0x300, 0x36F), (0x591, 0x5C7), (0x610, 0x61A), (0x64B, 0x65F),
                   (0x6D6, 0x6ED)]),
    ("greek", [(0x370, 0x3FF)]),
    ("cyrillic", [(0x400, 0x45F), (0x490, 0x4FF)]),
    ("hebrew", [(0x5D0, 0x5F4)]),
    ("arabic", [(0x600, 0x6FF)]),
    ("devanagari", [(0x900, 0x97F)]),
    ("indic", [(0x980, 0xD7F), (0x10A0, 0x10FF)]),
    ("thai", [(0xE00, 0xE7F)]),
    ("kana", [(0x3000, 0x30FF), (0xFF01, 0xFF1F)]),
    ("han", [(0x4E00, 0x9FFF)]),
    ("hangul", [(0xAC00, 0xD7A3)]),
    ("symbols", [(0x200B, 0x200F), (0x2028, 0x2BFF), (0xFE00, 0xFE0F)]),
    ("pictures", [(0x1F000, 0x1FAFF)]),
]


def units(text):
    n = dict.fromkeys(UNITS, 0)
    n["texts"] = 1
    previous, i, common = "", 0, 0
    while i < len(text):
        k = kind(text[i])
        if k in ("letter", "accented"):
            j = i
            while j < len(text) and kind(text[j]) in ("letter", "accented"):
                j += 1
            run = text[i:j]
            touches = previous == "digits" or (j < len(text) and kind(text[j]) == "digits")
            n["accented"] += sum(kind(c) == "accented" for c in run)
            upper = [kind(c) == "letter" and c.isupper() for c in run]
            starts = [0] + [k for k in range(1, len(run)) if upper[k]]
            humps = [run[s:e] for s, e in zip(starts, starts[1:] + [len(run)])]
            if touches or any(len(h) > LONG for h in humps) \
                    or len(run) > 1 and any(len(h) == 1 and h.isupper() for h in humps):
                n["dense"] += len(run)
            elif len(run) <= 2 and i > 1 and text[i - 1] in "'’" \
                    and kind(text[i - 2]) in ("letter", "accented"):
                n["suffixes"] += 1
            else:
                n["words"] += 1
                common += run.lower() in COMMON
                n["humps"] += len(humps) - 1
                n["letters"] += sum(max(0, len(h) - FREE) for h in humps)
                low = run.lower()
                n["odd_pairs"] += sum(b in ODD.get(a, "") for a, b in zip(low, low[1:]))
            previous, i = "letter", j
            continue
        if i and text[i] == text[i - 1] and k in ("marks", "blank"):
            n["repeats"] += 1
        elif k == "marks" and previous == "marks":
            n["more_marks"] += 1
        elif k == "blank":
            n["blanks"] += text[i] != " " or previous == "blank" or i + 1 == len(text)
        elif k == "digits":
            n["digits"] += 1
            run = run_of_digits + 1 if previous == "digits" else 1
            run_of_digits = run
            n["numbers"] += run % 3 == 1
        else:
            n[k] += 1
        previous = k
        i += 1
    if common * 6 >= n["words"]:
        n["english"], n["words"] = n["words"], 0
        n["english_letters"], n["letters"] = n["letters"], 0
    return n


def main(texts):
    profiles = np.array([[units(t["text"])[u] for u in UNITS] for t in texts], float)
    size = np.array([len(t["text"].encode()) for t in texts], float)
    every = {}
    for family, tokenizers in FAMILIES.items():
        true = np.concatenate([[t["tokens"][name] for t in texts] for name in tokenizers])
        x = np.tile(profiles, (len(tokenizers), 1))
        # Rare texts, runs and salads tell what the ends are, not what is to be expected.
        usual = np.tile([not t["id"].startswith(("run/", "rare/", "salad/", "rep/"))
                         for t in texts], len(tokenizers))
        weight = 1 / np.sqrt(true * np.maximum(true, 10)) * np.where(usual, 1, 0.25)
        top = np.array([BYTES.get(u, 6) for u in UNITS], float)
        expected = lsq_linear(x * weight[:, None], true * weight, (
            [EXPECTED.get(u, 0.03) for u in UNITS], np.maximum(top, 0.1))).x
        expected[0] = min(expected[0], 1)
        cost = np.where(usual, 1, 0.1) @ (x / true[:, None]) + 1e-3
        floor = np.array([FLOORS.get(u, 0) for u in UNITS])
        low = np.minimum(np.maximum(expected * 1.1 + 0.01, floor), top * 1.12)
        # A text that no bytes allow for may lie outside, at a price.
        most = linprog(np.concatenate([cost, 1e4 / true]), A_ub=hstack([-x, -eye(len(x))]),
                       b_ub=-true, bounds=[(l, max(t * 1.12, l)) for l, t in zip(low, top)]
                       + [(0, None)] * len(x))
        most = np.minimum(most.x[:len(UNITS)] * (1 + MARGIN), np.maximum(top * 1.12, low))
        most[0] += 1
        high = [min(e * 0.85, CEILINGS.get(u, 9)) for e, u in zip(expected, UNITS)]
        high[0] = 0
        least = linprog(-cost, A_ub=x, b_ub=true, bounds=[(0, h) for h in high]).x
        kept = np.array([0.93 if u in ("words", "english") else 1 - BELOW for u in UNITS])
        least = least * kept
        rows = np.rint(np.array([least, expected, most]) * 1000).astype(int)
        every[family] = rows
        report(family, texts, x, np.tile(size, len(tokenizers)), true, rows, tokenizers)
        print("[" + ", ".join(f"({l}, {m}, {h})" for l, m, h in rows.T) + "],")
    r = np.array(list(every.values()))
    every["default"] = np.array([r[:, 0].min(axis=0), np.median(r[:, 1], axis=0).astype(int),
                                   r[:, 2].max(axis=0)])
    return every


def bounds(x, size, rows):
    low, mid, high = (x @ rows.T / 1000).T
    high = np.minimum(np.ceil(high) + 1, np.floor(size * 9 / 8) + 3)
    return np.maximum(low // 1, 1), mid, high


def report(family, texts, x, size, true, rows, tokenizers):
    low, mid, high = bounds(x, size, rows)
    ok = (low <= true) & (true <= high)
    ratio = high / mid
    prose = np.tile([t["kind"] == "prose" for t in texts], len(tokenizers))
    usual = np.tile([not t["id"].startswith(("run/", "rare/", "salad/", "rep/"))
                     for t in texts], len(tokenizers))
    med = np.median
    print(f"// {family}: inside {ok.sum()} of {len(ok)};",
          f"most/least: prose {med((high / low)[prose]):.2f},",
          f"usual {med((high / low)[usual]):.2f};",
          f"most/expected: prose {med(ratio[prose]):.2f}, usual {med(ratio[usual]):.2f},",
          f"95% {np.quantile(ratio[usual], .95):.2f}; off {med(abs(mid / true - 1)[usual]):.3f}")
    ids = np.tile([t["id"] for t in texts], len(tokenizers))
    for name, i in zip(ids, range(len(true))):
        if not ok[i]:
            print("//   ", name, true[i], low[i], round(mid[i]), high[i])


if __name__ == "__main__":
    here = Path(__file__).with_name("texts.jsonl")
    rows = main([json.loads(line) for line in here.read_text(encoding="utf-8").splitlines()])
    print("// of a family that is not known")
    print("[" + ", ".join(f"({l}, {m}, {h})" for l, m, h in rows["default"].T) + "],")
