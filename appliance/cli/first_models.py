"""Models for a machine without a network, from a file that somebody brought along.

The first start's questions ask for it while the appliance runs and lacks models: a bundle, the
executable that brings the models along, or weights.
"""

import argparse
import zipfile
from pathlib import Path

from appliance.backup.archive import MANIFEST
from appliance.backup.layout import settings_of
from appliance.cli.starters import take_carried_in
from appliance.errors import NotFound, Unavailable
from appliance.settings import models_directory
from appliance.settings.file import change
from models.store import Store


def take(file: Path, data: Path) -> str:
    """Takes what a file has of models; returns the name of the chat model to use from now on.

    Raises NotFound without such a file, Unavailable when it cannot be read or there is no room,
    and what its contents do.
    """
    try:
        return _taken(file, data)
    except OSError as error:
        what = f"{error.filename or file}: {error.strerror or error}"
        raise Unavailable(
            what, hint="mend it and try again", reason="file_unread", facts={"why": what}
        ) from None


def _taken(file: Path, data: Path) -> str:
    if not file.is_file():
        raise NotFound(
            f"there is no file {file}",
            hint="check the path",
            reason="no_file",
            facts={"path": file},
        )
    settings = settings_of(data)
    store = Store(models_directory(settings))
    before = _chat_models(store)
    if _is_bundle(file):
        from appliance.cli.bundle import bring  # with an HTTP client, which takes a while to import

        bring(argparse.Namespace(data=data, file=file, overwrite=False))
    elif not take_carried_in(settings, file, patience_s=0.0):
        made = store.import_file(file)
        if made.kind == "chat":
            return made.name
        if made.name != store.catalogue.roles.embedding:
            change(data, "models", "embedding", made.name)  # to be used instead of the starter
    return _to_use(store, before, settings_of(data).models.chat or store.catalogue.roles.chat)


def _to_use(store: Store, before: set[str], meant: str) -> str:
    """The model that is meant, unless only another one has come."""
    came = sorted(_chat_models(store) - before)
    return meant if meant in came or not came else came[0]


def _chat_models(store: Store) -> set[str]:
    here = ("present", "unverified")
    return {one.name for one in store.listing() if one.kind == "chat" and one.state in here}


def _is_bundle(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as opened:
        return MANIFEST in opened.namelist()
