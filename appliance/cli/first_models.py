"""The models of a first start: fetched, or brought along where there is no network.

Nothing can be asked in the UI yet, for the appliance that it shows needs them to start. So who has
no network is asked here for a file: a bundle, the executable that brings the models along, or
weights. What is asked is in both languages, for none was chosen yet.
"""

import argparse
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from appliance.backup.archive import MANIFEST
from appliance.backup.layout import settings_of
from appliance.cli.starters import fetch_starters, take_carried_in
from appliance.errors import NotFound, SluiceError, Unavailable
from appliance.runtime.options import Options
from appliance.settings import models_directory
from appliance.settings.file import change
from models.store import Store

QUESTION = """
Without a network, name a file: a bundle, the executable with models (sluice-full), or a GGUF file.
没有网络时，请给出文件：模型包、自带模型的可执行文件（sluice-full）或 GGUF 文件。
Enter tries again, Ctrl+C leaves. 回车重试，Ctrl+C 退出。
> """


def await_models(options: Options, data: Path, ask: Callable[[], str] | None = None) -> None:
    """Returns once the models that the settings name are here.

    Raises Unavailable when they cannot be fetched and nobody answers.
    """
    while True:
        try:
            fetch_starters(options.applied(settings_of(data)))
            return
        except Unavailable as error:
            _say(f"\nsluice: {error.message}\n{QUESTION}")
            line = (ask or sys.stdin.readline)()
            if not line:
                raise
        if named := line.strip().strip("'\""):
            try:
                take(Path(named).expanduser().absolute(), data)
            except SluiceError as error:
                _say(f"\nsluice: {error.message}\n        {error.hint}\n")


def take(file: Path, data: Path) -> None:
    """Takes what a file has of models. Raises what reading it does."""
    if not file.is_file():
        raise NotFound(f"there is no file {file}", hint="check the path")
    settings = settings_of(data)
    if _is_bundle(file):
        from appliance.cli.bundle import bring  # with an HTTP client, which takes a while to import

        bring(argparse.Namespace(data=data, file=file))
    elif not take_carried_in(settings, file):
        store = Store(models_directory(settings))
        made = store.import_file(file)
        if made.name not in (store.catalogue.roles.chat, store.catalogue.roles.embedding):
            change(data, "models", made.kind, made.name)  # to be used instead of the starter
        _say(f"{made.name}: sha256 {made.sha256}\n")


def _is_bundle(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as opened:
        return MANIFEST in opened.namelist()


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
