"""Cursors of lists: opaque to clients, an offset from the start inside."""

import base64
import binascii

from appliance.errors import Invalid


def encode_offset(offset: int) -> str:
    return base64.urlsafe_b64encode(f"o{offset}".encode()).decode().rstrip("=")


def decode_offset(cursor: str | None) -> int:
    """The offset in a cursor, 0 for none. Raises Invalid for what we did not make."""
    if not cursor:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith("o") or not text[1:].isdigit() or len(text) > 12:
        raise Invalid(
            "the cursor is not one of ours",
            hint="start again without a cursor",
            reason="bad_cursor",
        )
    return int(text[1:])
