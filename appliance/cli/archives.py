"""`sluice backup`, `restore` and `bundle`: what a machine has, as one verified file."""

import argparse
import os
import sys
import time
from argparse import SUPPRESS
from pathlib import Path

from appliance.errors import EXIT_OK
from appliance.runtime.options import Options

Commands = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_archives(commands: Commands) -> None:  # type: ignore[valid-type]
    """Adds the commands to the parser of `sluice`."""
    backup = commands.add_parser(  # type: ignore[attr-defined]
        "backup", help="write a verified backup, also while the appliance runs"
    )
    backup.add_argument("file", type=Path, metavar="FILE")
    backup.add_argument("--check", action="store_true", help="only check the backup in FILE")
    backup.set_defaults(run=_backup)
    restore = commands.add_parser(  # type: ignore[attr-defined]
        "restore", help="put a backup in the place of the data, which are kept beside"
    )
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.set_defaults(run=_restore)
    bundle = commands.add_parser(  # type: ignore[attr-defined]
        "bundle", help="models, settings and FAQ as one file, for machines without a network"
    )
    actions = bundle.add_subparsers(dest="action", metavar="ACTION", required=True)
    out = actions.add_parser("export", help="write the bundle")
    out.add_argument("--without-faq", action="store_true", help="leave the FAQ out")
    out.set_defaults(run=_bundle_export)
    into = actions.add_parser("import", help="take a bundle in; may be repeated")
    into.add_argument(
        "--overwrite", action="store_true", help="its FAQ goes before edits made here since"
    )
    into.set_defaults(run=_bundle_import)
    for parser in (out, into):
        parser.add_argument("file", type=Path, metavar="FILE")
    for parser in (backup, restore, out, into):
        parser.add_argument(
            "--data", type=Path, metavar="DIR", help="data directory", default=SUPPRESS
        )


def _backup(arguments: argparse.Namespace) -> int:
    from appliance.backup.backup import back_up, check, require_data
    from appliance.supervisor.directory import prepare_data_directory

    file = Path(arguments.file).expanduser()
    if not arguments.check:
        data = Options(data=arguments.data).data_directory
        if not os.path.lexists(data):
            require_data(data)  # before it is made
        back_up(prepare_data_directory(data), file)
    manifest = check(file)  # what was written is read again: a backup that fails is none
    size = file.stat().st_size
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(manifest.created_at_ms / 1000))
    _say(f"{file}: whole, {len(manifest.members)} files, {size:,} bytes, made {when}")
    return EXIT_OK


def _restore(arguments: argparse.Namespace) -> int:
    from appliance.backup.backup import restore
    from appliance.supervisor.directory import prepare_data_directory

    data = prepare_data_directory(Options(data=arguments.data).data_directory)
    manifest, replaced = restore(data, Path(arguments.file).expanduser())
    _say(f"restored {len(manifest.members)} files into {data}; the FAQ index is built anew")
    if replaced is not None:
        _say(f"what was there before lies in {replaced}")
    return EXIT_OK


def _bundle_export(arguments: argparse.Namespace) -> int:
    from appliance.cli.bundle import export

    return export(arguments)


def _bundle_import(arguments: argparse.Namespace) -> int:
    from appliance.cli.bundle import bring

    return bring(arguments)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
