"""What a unit of our disjoint dimensions counts as in genai-prices' units, which contain each other."""

from decimal import Decimal

UNITS = {
    "input_tokens": ["input_tokens"],
    "cache_read_tokens": ["input_tokens", "cache_read_tokens"],
    "cache_write_tokens": ["input_tokens", "cache_write_tokens", "cache_write_5m_tokens"],
    "cache_write_1h_tokens": ["input_tokens", "cache_write_tokens", "cache_write_1h_tokens"],
    "cache_write_12h_tokens": ["input_tokens", "cache_write_tokens"],
    "input_tool_tokens": ["input_tokens", "input_tool_tokens"],
    "output_tokens": ["output_tokens"],
    "output_reasoning_tokens": ["output_tokens", "output_reasoning_tokens"],
    "output_citation_tokens": ["output_tokens", "output_citation_tokens"],
    "input_characters": ["input_characters"],
    "input_pixels": ["input_pixels"],
    "text_messages": ["input_text_messages"],
    "audio_seconds": ["audio_seconds"],
    "input_audio_seconds": ["audio_seconds", "input_audio_seconds"],
    "output_audio_seconds": ["audio_seconds", "output_audio_seconds"],
    "pages": ["input_document_pages"],
    "annotated_pages": ["input_document_pages", "input_annotated_document_pages"],
    "queries": ["rerank_searches"],
    "web_searches": ["web_searches"],
    "social_searches": ["social_searches"],
    "file_searches": ["storage_searches"],
    "code_executions": ["code_executions"],
}
for kind in ("audio", "image", "video"):
    UNITS[f"input_{kind}_tokens"] = ["input_tokens", f"input_{kind}_tokens"]
    UNITS[f"output_{kind}_tokens"] = ["output_tokens", f"output_{kind}_tokens"]
    UNITS[f"cache_read_{kind}_tokens"] = [
        "input_tokens", f"input_{kind}_tokens", "cache_read_tokens", f"cache_{kind}_read_tokens",
    ]
    UNITS[f"cache_write_{kind}_tokens"] = [
        "input_tokens", f"input_{kind}_tokens", "cache_write_tokens", f"cache_{kind}_write_tokens",
    ]
SECONDS = {"audio_seconds", "input_audio_seconds", "output_audio_seconds"}



def inclusive(usage):
    """Our disjoint usage in the package's units. What is not given explicitly is guessed there."""
    counts = {unit: Decimal(0) for units in UNITS.values() for unit in units}
    for dimension, quantity in usage.items():
        for unit in UNITS.get(dimension, []):
            counts[unit] += Decimal(quantity)
    return counts
