"""A FAQ to try the product with: an invented maker of water meters, its offices and its customers.

Chinese and English entries, not translations of each other, full of facts that no model can know:
so a right answer shows that it came from the FAQ. The ids are fixed; loading it twice changes
nothing.
"""

from importlib.resources import files
from typing import Final

from appliance.knowledge.exchange import Format

FORM: Final[Format] = "jsonl"
_LANGUAGES = ("zh", "en")


def load_demo() -> bytes:
    """The demo FAQ as a file to import, in the form `FORM`."""
    folder = files("appliance.knowledge") / "demo"
    return b"".join((folder / f"{language}.jsonl").read_bytes() for language in _LANGUAGES)
