"""What each setting means, in Chinese, by its key."""

from collections.abc import Mapping
from typing import Final

from ui.texts_zh_machine import MACHINE
from ui.texts_zh_service import SERVICE

MEANINGS: Final[Mapping[str, str]] = {**MACHINE, **SERVICE}
