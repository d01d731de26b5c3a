"""What the command line says about one run, folded into the settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from appliance.settings import Settings, default_data_directory

Missing = Literal["refuse", "ask", "fetch"]
T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, kw_only=True)
class Options:
    """None means: as the settings say. `missing` is what becomes of a start without models: it is
    refused, waits until somebody has chosen one, or fetches what the settings name."""

    data: Path | None = None
    host: str | None = None
    port: int | None = None
    model: str | None = None
    embedding_model: str | None = None
    engine: Literal["llama", "fake"] | None = None
    demo_faq: bool = False
    missing: Missing = "refuse"

    @property
    def data_directory(self) -> Path:
        return self.data or default_data_directory()

    def applied(self, settings: Settings) -> Settings:
        """The settings with every option that was given."""
        return msgspec.structs.replace(
            settings,
            server=_replaced(settings.server, host=self.host, port=self.port),
            models=_replaced(settings.models, chat=self.model, embedding=self.embedding_model),
            worker=_replaced(settings.worker, engine=self.engine),
        )


def _replaced(section: T, **given: object) -> T:
    return msgspec.structs.replace(section, **{k: v for k, v in given.items() if v is not None})
