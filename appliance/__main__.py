"""`sluice` and `python -m appliance`.

The children's commands come first and import only what they need: a guard starts in tens of
milliseconds, and no child loads the command line.
"""

import sys


def main() -> int:
    """Runs the command line; returns the exit status."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "guard":
        from appliance.supervisor import guard

        guard.main(sys.argv[2:])
    if command == "milvus":
        from appliance.vectors import server

        return server.main(sys.argv[2:])
    if command == "rule":
        from appliance.limiter import rule_child

        return rule_child.main()
    if command == "worker" and "--redis" not in sys.argv:
        from appliance.worker.main import main_supervised

        return main_supervised()
    from appliance.cli import main as command_line

    return command_line.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
