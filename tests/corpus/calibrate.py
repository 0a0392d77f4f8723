"""Fits the tokens that a unit of text comes to, for `uc_domain::estimates`.

Usage: python calibrate.py   (with numpy and scipy)

Reads texts.jsonl as count.py left it. The texts on even lines are fitted; those on odd lines are
held out and only tell how good the result is. `units` must count as `Profile::of` in
shared/domain/src/estimates/profile.rs does. Prints the rows of families.rs in thousandths of a
token: for each unit the least, the expected and the most.
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import linprog, lsq_linear

UNITS = ["texts", "words", "humps", "letters", "dense", "digits", "marks", "more_marks", "blanks",
         "repeats", "accented", "cyrillic", "arabic", "indic", "cjk", "symbols", "english",
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
MARGIN = 0.12  # what is added to the most
BELOW = {"english": 0.12, "english_letters": 0.12, "digits": 0.12, "humps": 0.45, "letters": 0.4}
BELOW_ELSE = 0.27  # taken off the least: code and names may be made of the commonest words


def kind(c):
    o = ord(c)
    if o < 0x80:
        if c.isalpha():
            return "letter"
        if c.isdigit():
            return "digits"
        return "blank" if c.isspace() else "marks"
    if 0xC0 <= o < 0x250 and o not in (0xD7, 0xF7) or 0x1E00 <= o < 0x1F00:
        return "accented"
    if 0x370 <= o < 0x530 or 0x1F00 <= o < 0x2000:
        return "cyrillic"
    if 0x590 <= o < 0x900 or 0xFB1D <= o < 0xFE00 or 0xFE70 <= o < 0xFF00:
        return "arabic"
    if 0x900 <= o < 0x1100 or 0x1200 <= o < 0x1E00:
        return "indic"
    if 0x1100 <= o < 0x1200 or 0x2E80 <= o < 0xA4D0 or 0xAC00 <= o < 0xD7B0 \
            or 0xF900 <= o < 0xFB00 or 0xFF00 <= o < 0xFFF0 or 0x20000 <= o < 0x40000:
        return "cjk"
    return "symbols"


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
            else:
                n["words"] += 1
                common += run.lower() in COMMON
                n["humps"] += len(humps) - 1
                n["letters"] += sum(max(0, len(h) - FREE) for h in humps)
            previous, i = "letter", j
            continue
        if i and text[i] == text[i - 1] and k in ("marks", "blank", "symbols"):
            n["repeats"] += 1
        elif k == "marks" and previous == "marks":
            n["more_marks"] += 1
        elif k == "blank":
            n["blanks"] += text[i] != " " or previous == "blank" or i + 1 == len(text)
        else:
            n[k] += 1
        previous = k
        i += 1
    if common * 6 >= n["words"]:
        n["english"], n["words"] = n["words"], 0
        n["english_letters"], n["letters"] = n["letters"], 0
    return n


def main():
    texts = [json.loads(line) for line in
             Path(__file__).with_name("texts.jsonl").read_text(encoding="utf-8").splitlines()]
    profiles = np.array([[units(t["text"])[u] for u in UNITS] for t in texts], float)
    fitted = np.arange(len(texts)) % 2 == 0
    total = inside = 0
    every = []
    for family, tokenizers in FAMILIES.items():
        true = np.concatenate([[t["tokens"][name] for t in texts] for name in tokenizers])
        x = np.tile(profiles, (len(tokenizers), 1))
        fit = np.tile(fitted, len(tokenizers))
        weight = 1 / np.sqrt(true[fit] * np.maximum(true[fit], 10))
        expected = lsq_linear(x[fit] * weight[:, None], true[fit] * weight, (0.1, 3)).x
        expected[0] = min(expected[0], 1)
        a, b = x[fit], true[fit]
        cost = (a / b[:, None]).mean(axis=0)
        most = linprog(cost, A_ub=-a, b_ub=-b,
                       bounds=[(e * 1.15 + 0.01, max(4.5, e * 1.2)) for e in expected]).x
        least = linprog(-cost, A_ub=a, b_ub=b,
                        bounds=[(0, e * 0.85) for e in expected]).x
        below = np.array([1 - BELOW.get(unit, BELOW_ELSE) for unit in UNITS])
        most, least = most * (1 + MARGIN), least * below
        most[0], least[0] = most[0] + 1, 0
        rows = np.rint(np.array([least, expected, most]) * 1000).astype(int)
        low, mid, high = (x @ rows.T / 1000).T
        low = np.maximum(low, 1)
        ok = (low <= true) & (true <= high + 1)
        ratio = (high + 1) / low
        prose = np.tile([t["kind"] == "prose" for t in texts], len(tokenizers))
        print(f"// {family}: prose {np.median(ratio[prose]):.2f}, held out {ok[~fit].sum()} of {(~fit).sum()}, "
              f"most/least {np.median(ratio[~fit]):.2f}, "
              f"off {np.median(abs(mid / true - 1)):.3f}")
        for name, i in zip(np.tile([t["id"] for t in texts], len(tokenizers)), range(len(true))):
            if not ok[i]:
                print("//   ", name, true[i], low[i], mid[i], high[i])
        print("[" + ", ".join(f"({l}, {m}, {h})" for l, m, h in rows.T) + "],")
        every.append(rows)
        total, inside = total + (~fit).sum(), inside + ok[~fit].sum()
    print(f"// held out: {inside} of {total}")
    every = np.array(every)
    widest = zip(every[:, 0].min(axis=0), np.median(every[:, 1], axis=0).astype(int),
                 every[:, 2].max(axis=0))
    print("// of a family that is not known")
    print("[" + ", ".join(f"({l}, {m}, {h})" for l, m, h in widest) + "],")


main()
