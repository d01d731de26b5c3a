"""`sluice`: start or attach and open the UI; `sluice COMMAND` for everything else.

Exit statuses: 0 done or stopped in order, 1 a defect of ours, 2 wrong usage or input,
69 a needed part is away, 75 another appliance holds the data directory, 78 it cannot start as
configured, 143 stopped at once by a second signal.
"""

import argparse
import sys
from argparse import SUPPRESS
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance import __version__
from appliance.backup.layout import settings_of
from appliance.cli.archives import add_archives
from appliance.cli.simulate import add_simulate
from appliance.errors import EXIT_INTERNAL, EXIT_OK, Invalid, SluiceError
from appliance.runtime.options import Options
from appliance.settings import Settings, models_directory
from models.arguments import add_arguments


def main(argv: Sequence[str]) -> int:
    """Runs one command; returns its exit status."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except SluiceError as error:
        tell(error)
        return error.exit_status
    except KeyboardInterrupt:
        return EXIT_INTERNAL


def tell(error: SluiceError) -> None:
    """What happened and what to do next, on standard error."""
    sys.stderr.write(f"sluice: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"        {error.hint}\n")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sluice",
        description="A private question-answering service. Without a command: start it, or "
        "attach to the one that runs, and open the terminal UI.",
        epilog=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sluice {__version__}")
    _add_serving(parser, default=None)
    parser.set_defaults(run=_open)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    serving = commands.add_parser("serve", help="serve the API, without a UI")
    _add_serving(serving)
    serving.add_argument(
        "--demo-faq", action="store_true", help="load the demo FAQ if there was never an entry"
    )
    serving.add_argument(
        "--early",
        action="store_true",
        help="also print `serving ADDRESS` as soon as connections are taken; they are answered "
        "when the store is there, before the models are loaded",
    )
    serving.add_argument(
        "--missing",
        choices=["refuse", "ask", "fetch"],
        default="refuse",
        help="without models: refuse to start, or start and wait until one is chosen (PUT "
        "/api/setup), or start and fetch those that the settings name",
    )
    serving.set_defaults(run=_serve)

    tui = commands.add_parser("tui", help="open the UI of a running appliance")
    tui.add_argument("--url", help="its address; by default the one of the data directory")
    tui.add_argument("--key-file", type=Path, help="file with the key; by default admin.key")
    _add_data(tui)
    tui.add_argument(
        "--language", choices=["en", "zh"], help="by default ui.language, else the locale's"
    )
    tui.set_defaults(run=_tui)

    models = commands.add_parser("models", help="list, pull, verify or import weights")
    _add_data(models)
    models.add_argument(
        "--cache", action="store_true", help="use the directory of the project's tests"
    )
    add_arguments(models)
    models.set_defaults(run=_models)

    faq = commands.add_parser("faq", help="what is done to the FAQ of a running appliance")
    faq_commands = faq.add_subparsers(title="commands", metavar="COMMAND", required=True)
    reindex = faq_commands.add_parser(
        "reindex", help="make the search index anew while the present one serves"
    )
    _add_data(reindex)
    reindex.set_defaults(run=_reindex)

    doctor = commands.add_parser("doctor", help="look at machine and appliance, say what is wrong")
    _add_serving(doctor)
    doctor.set_defaults(run=_doctor)

    add_archives(commands)
    installing = commands.add_parser(
        "install", help="add a desktop entry, or with --service or --system a systemd service"
    )
    installing.add_argument("--service", action="store_true", help="a service of this user")
    _add_data(installing, default=None)
    installing.set_defaults(run=_install)
    removing = commands.add_parser("uninstall", help="remove exactly what `install` added")
    removing.set_defaults(run=_uninstall)
    for one in (installing, removing):
        one.add_argument("--system", action="store_true", help="a service of the system, as root")

    devices = commands.add_parser("devices", help="list what computes here, as JSON")
    devices.set_defaults(run=_devices)

    worker = commands.add_parser("worker", help="one worker for an external Valkey")
    _add_store(worker)
    worker.add_argument("--name", default="worker-x", help="first part of the worker's id")
    _add_data(worker)
    _add_models(worker)
    worker.set_defaults(run=_worker)

    limiter = commands.add_parser(
        "limiter", help="limiter and placement alone, for an external Valkey"
    )
    _add_store(limiter)
    _add_data(limiter)
    limiter.set_defaults(run=_limiter)

    simulated = commands.add_parser("simulate", help="replay a trace on simulated workers")
    add_simulate(simulated)
    return parser


def _add_data(parser: argparse.ArgumentParser, *, default: str | None = SUPPRESS) -> None:
    """A command keeps what was given before its name: `sluice --data D serve`."""
    parser.add_argument("--data", type=Path, metavar="DIR", help="data directory", default=default)


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--redis",
        metavar="URL",
        default="",
        help="the store to serve; by default external.redis_url of the settings, which a list of "
        "processes does not show",
    )


def _add_serving(parser: argparse.ArgumentParser, *, default: str | None = SUPPRESS) -> None:
    _add_data(parser, default=default)
    _add_models(parser, default=default)
    parser.add_argument("--host", metavar="H", help="address to listen on", default=default)
    parser.add_argument(
        "--port", type=_port, metavar="N", help="port; 0 picks a free one", default=default
    )


def _add_models(parser: argparse.ArgumentParser, *, default: str | None = SUPPRESS) -> None:
    """What a worker needs; it listens nowhere."""
    for name, metavar, meaning in (
        ("--model", "PATH", "chat model: a name or a GGUF file"),
        ("--embedding-model", "PATH", "embedding model"),
    ):
        parser.add_argument(name, metavar=metavar, help=meaning, default=default)
    parser.add_argument(
        "--engine", choices=["llama", "fake"], help="fake: no model, for tests", default=default
    )


def _port(text: str) -> int:
    if not text.isdigit() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        data=arguments.data,
        host=arguments.host,
        port=arguments.port,
        model=arguments.model,
        embedding_model=arguments.embedding_model,
        engine=arguments.engine,
        demo_faq=getattr(arguments, "demo_faq", False),
        missing=getattr(arguments, "missing", "refuse"),
    )


def _serve(arguments: argparse.Namespace) -> int:
    from appliance.cli.run_log import UI_LOG, bound_errors
    from appliance.cli.starters import take_carried
    from appliance.runtime.serving import Listener, print_ready, print_serving, serve
    from appliance.supervisor.directory import prepare_data_directory
    from appliance.supervisor.guard import die_with_parent

    die_with_parent()
    options = _options(arguments)
    data = prepare_data_directory(options.data_directory)
    take_carried(options.applied(settings_of(data)))
    if arguments.early:
        bound_errors(data / UI_LOG)
        return serve(options, Listener(ready=print_ready, serving=print_serving))
    return serve(options, Listener(ready=print_ready))


def _open(arguments: argparse.Namespace) -> int:
    from appliance.cli.attach import has_terminal, open_ui
    from appliance.cli.desktop import has_desktop, hold_window, open_without_terminal

    options = _options(arguments)
    if not has_terminal() and has_desktop():
        return open_without_terminal(options, sys.argv[1:])
    try:
        status = open_ui(options)
    except SluiceError as error:
        tell(error)
        status = error.exit_status
    hold_window(status)
    return status


def _install(arguments: argparse.Namespace) -> int:
    from appliance.cli.install import install

    return install(arguments)


def _uninstall(arguments: argparse.Namespace) -> int:
    from appliance.cli.install import uninstall

    return uninstall(arguments)


def _tui(arguments: argparse.Namespace) -> int:
    from appliance.cli.attach import attach_ui

    options = Options(data=arguments.data)
    return attach_ui(
        options, url=arguments.url, key_file=arguments.key_file, language=arguments.language
    )


def _models(arguments: argparse.Namespace) -> int:
    import platformdirs

    from appliance.supervisor.directory import prepare_data_directory
    from models.cli import run

    if arguments.cache:
        return run(arguments, platformdirs.user_cache_path("sluice") / "models")
    data = prepare_data_directory(Options(data=arguments.data).data_directory)
    settings = settings_of(data)
    return run(arguments, models_directory(settings), mirror=settings.models.mirror)


def _reindex(arguments: argparse.Namespace) -> int:
    from appliance.cli.faq import reindex

    return reindex(Options(data=arguments.data))


def _doctor(arguments: argparse.Namespace) -> int:
    from appliance.cli.doctor import examine

    return examine(_options(arguments))


def _devices(_: argparse.Namespace) -> int:
    import msgspec

    from appliance.worker.llama_library import load_library

    sys.stdout.write(msgspec.json.encode(load_library().devices()).decode() + "\n")
    return EXIT_OK


def _worker(arguments: argparse.Namespace) -> int:
    import msgspec

    from appliance.fleet.workers import snapshot_directory
    from appliance.runtime.children import lone_config
    from appliance.supervisor.directory import prepare_data_directory
    from appliance.worker import main as worker

    options = _options(arguments)
    data = prepare_data_directory(options.data_directory)
    settings = options.applied(settings_of(data))
    config = lone_config(settings, _store_of(arguments, settings))
    config = msgspec.structs.replace(
        config, name=arguments.name, snapshot_directory=str(snapshot_directory(data))
    )
    return worker.main(config)


def _limiter(arguments: argparse.Namespace) -> int:
    import asyncio

    from appliance.limiter.rule_process import check_rule
    from appliance.limiter.service import LimiterService
    from appliance.placement.service import PlacementService
    from appliance.runtime import logs
    from appliance.supervisor.directory import prepare_data_directory

    data = prepare_data_directory(Options(data=arguments.data).data_directory)
    settings = settings_of(data)
    redis_url = _store_of(arguments, settings)
    check_rule(settings.limiter)
    logs.set_up(data, settings.log)

    async def decide() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(LimiterService(redis_url, settings).run(), name="limiter")
            group.create_task(PlacementService(redis_url, settings).run(), name="placement")

    asyncio.run(decide())
    return EXIT_OK


def _store_of(arguments: argparse.Namespace, settings: Settings) -> str:
    """The external store's address. Raises Invalid without one."""
    url: str = arguments.redis or settings.external.redis_url
    if not url:
        raise Invalid(
            "there is no store to serve",
            hint="set external.redis_url in the settings, or give --redis URL",
        )
    return url
