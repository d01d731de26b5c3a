"""What weights need of a machine's memory, from their header alone.

It stands apart from `boot` because the supervisor asks too, before anything is started.
"""

from pathlib import Path

from appliance.errors import CannotBoot, NotFound, SluiceError
from models.precheck import Header, precheck

CACHE_VALUE_BYTES = 2  # float16
WORKING_BYTES = 256 * 2**20  # compute buffers, logits and the process itself


def check_memory(
    chat: Header, embedding: Header | None, *, cache_tokens: int, available_bytes: int
) -> None:
    """Raises CannotBoot when weights, cache and working memory exceed what is available."""
    needed = needed_bytes(chat, cache_tokens)
    if embedding is not None:
        needed += embedding.size_bytes
    if needed > available_bytes:
        raise CannotBoot(
            f"the model needs about {_gigabytes(needed)} of memory "
            f"and {_gigabytes(available_bytes)} are free",
            hint="choose a smaller model, lower worker.cache_tokens, or free memory",
        )


def memory_bytes(path: Path, *, cache_tokens: int) -> int:
    """What a worker with these weights will need. Raises CannotBoot for no sound weights."""
    return needed_bytes(checked_header(path), cache_tokens)


def needed_bytes(chat: Header, cache_tokens: int) -> int:
    """Weights, KV cache and working memory."""
    return chat.size_bytes + cache_bytes(chat, cache_tokens) + WORKING_BYTES


def cache_bytes(chat: Header, cache_tokens: int) -> int:
    """Size of the KV cache: every layer keeps a key and a value per token and KV head."""
    heads = chat.number("attention.head_count", 1)
    width = chat.number("embedding_length") // max(heads, 1)
    kv_heads = chat.number("attention.head_count_kv", heads)
    per_token = kv_heads * (
        chat.number("attention.key_length", width) + chat.number("attention.value_length", width)
    )
    return cache_tokens * chat.number("block_count") * per_token * CACHE_VALUE_BYTES


def checked_header(path: Path) -> Header:
    """The header of weights that may be reached through a link, as caches of models do.

    Raises CannotBoot for what is missing or no sound model.
    """
    try:
        return precheck(path.resolve())
    except NotFound:
        raise CannotBoot(
            f"there is no model at {path}", hint="get it with `sluice models pull`"
        ) from None
    except SluiceError as error:
        raise CannotBoot(error.message, hint=error.hint) from None


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
