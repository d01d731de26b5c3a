"""What one may ask for: the models of the store, those named in the settings, and the fake ones.

A name is looked up among the models that are known; only then do the aliases count, the names
that clients send by habit (`gpt-4o`, or the name of this product). They and "" mean the chat model
of the settings. Any other name is refused with the names there are.
"""

import functools
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from appliance.errors import Invalid, NotFound
from appliance.fleet.workers import cache_tokens
from appliance.settings import Settings, models_directory
from appliance.worker.fake_model import parse
from appliance.worker.memory import memory_bytes
from models.store import Store

NAMES_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Weights:
    """`path` is what a worker is told; "" while the weights are not here. `missing` says why."""

    name: str
    path: str
    size_bytes: int
    missing: str = ""
    notes: dict[str, str] = field(default_factory=dict)


class Source(Protocol):
    """Where models come from; the first one is the chat model."""

    def listing(self) -> list[Weights]: ...

    def needed_bytes(self, weights: Weights) -> int:
        """Memory of one worker with these weights. Raises CannotBoot for unsound ones."""


class Shelf:
    """Finds models by name. Methods read files: call them on a thread."""

    def __init__(self, settings: Settings, chat_path: str) -> None:
        """Raises Invalid when a setting names two models alike."""
        self._aliases = settings.models.aliases
        fake = settings.worker.engine == "fake"
        self._source: Source = _FakeSource(settings) if fake else _StoreSource(settings, chat_path)
        names = [weights.name for weights in self._source.listing()]
        self.default = names[0]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise Invalid(
                f"two models are called {', '.join(sorted(twice))}",
                hint="rename one of the files in models.more, or import it under another name",
                reason="same_model_name",
                facts={"names": ", ".join(sorted(twice))},
            )

    def listing(self) -> list[Weights]:
        """Every model, the chat model first."""
        return self._source.listing()

    def resolve(self, asked: str) -> str:
        """The name of a model as requests carry it: "" for the chat model. Raises NotFound."""
        if not asked or asked == self.default:
            return ""
        known = self._source.listing()
        if any(weights.name == asked for weights in known):
            self._here(asked, known)
            return asked
        if any(fnmatchcase(asked, alias) for alias in self._aliases):
            return ""
        names = ", ".join(weights.name for weights in known if weights.path)[:1000]
        raise NotFound(
            f"no model is called {asked[:100]!r}",
            hint=f"there are: {names}",
            reason="no_model",
            facts={"name": asked[:100]},
        )

    def find(self, name: str) -> Weights:
        """Weights that are here. Raises NotFound."""
        return self._here(name, self._source.listing())

    def needed_bytes(self, weights: Weights) -> int:
        """Memory that one worker with these weights takes. Raises CannotBoot."""
        return self._source.needed_bytes(weights)

    def _here(self, name: str, known: list[Weights]) -> Weights:
        weights = next((one for one in known if one.name == name), None)
        if weights is None:
            raise NotFound(
                f"no model is called {name[:100]!r}",
                hint="see GET /api/models",
                reason="no_model",
                facts={"name": name[:100]},
            )
        if not weights.path:
            raise NotFound(
                f"the weights of {name} are not here",
                hint=weights.missing,
                reason="weights_missing",
                facts={"name": name},
            )
        return weights


class _StoreSource:
    def __init__(self, settings: Settings, chat_path: str) -> None:
        self._store = Store(models_directory(settings))
        self._cache_tokens = cache_tokens(settings)
        self._chat = Path(chat_path).resolve()
        self._more = [Path(text).expanduser().absolute() for text in settings.models.more]
        missing = [path for path in self._more if not path.is_file()]
        if missing:
            raise Invalid(
                f"there is no model at {missing[0]}",
                hint="mend models.more",
                reason="no_model_file",
                facts={"path": missing[0]},
            )

    def listing(self) -> list[Weights]:
        chat: Weights | None = None
        others = []
        for one in self._store.listing():
            if one.kind != "chat":
                continue
            here = one.state in ("present", "unverified")
            weights = Weights(
                name=one.name,
                path=str(one.path) if here else "",
                size_bytes=one.size_bytes,
                missing="" if here else f"run `sluice models pull {one.name}`",
                notes=one.entry.notes if one.entry else {},
            )
            if one.path.resolve() == self._chat:
                chat = weights
            else:
                others.append(weights)
        chat = chat or _of_file(self._chat)
        # A chat model from elsewhere may be called like one of the store: then that is hidden.
        others = [weights for weights in others if weights.name != chat.name]
        more = [_of_file(path) for path in self._more if path.is_file()]
        return [chat, *others, *(one for one in more if Path(one.path).resolve() != self._chat)]

    def needed_bytes(self, weights: Weights) -> int:
        return worker_bytes(Path(weights.path), self._cache_tokens)


class _FakeSource:
    """The models the fake engine pretends to have, see `worker.fake_model`."""

    def __init__(self, settings: Settings) -> None:
        self._texts = (settings.models.chat, *settings.models.more)

    def listing(self) -> list[Weights]:
        return [
            Weights(name=model.name, path=text or model.name, size_bytes=model.memory_bytes)
            for text in self._texts
            for model in [parse(text)]
        ]

    def needed_bytes(self, weights: Weights) -> int:
        return parse(weights.path).memory_bytes


def worker_bytes(path: Path, cache_tokens: int) -> int:
    """Memory that one worker with the weights at `path` takes. Raises CannotBoot, OSError."""
    return _needed_bytes(path, path.stat().st_mtime_ns, cache_tokens)


def _of_file(path: Path) -> Weights:
    name = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).lstrip("._-")[:100] or "model"
    size_bytes = path.stat().st_size if path.is_file() else 0
    return Weights(name=name, path=str(path), size_bytes=size_bytes)


@functools.lru_cache(maxsize=256)
def _needed_bytes(path: Path, _changed_ns: int, tokens: int) -> int:
    """Reading a header with its vocabulary takes a tenth of a second: once per version."""
    return memory_bytes(path, cache_tokens=tokens)
