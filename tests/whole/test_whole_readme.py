"""What the README shows works as it stands there: its shell and Python examples are run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Running

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SHOWN_URL = "http://127.0.0.1:8400"
READMES = ("README.md", "README.zh.md")


def example(readme: str, language: str, appliance: Running) -> str:
    """The one block of a language that calls the appliance, with the port that this one has."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (found,) = [block for block in blocks if SHOWN_URL in block]
    return str(found).replace(SHOWN_URL, appliance.url)


def run(appliance: Running, home: Path, *command: str) -> str:
    """What a command writes, in a home whose appliance this is."""
    place = home / ".local/share"
    place.mkdir(parents=True)
    (place / "sluice").symlink_to(appliance.data)
    done = subprocess.run(
        command,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("readme", READMES)
def test_the_tour_in_the_shell_teaches_the_door_code(
    appliance: Running, tmp_path: Path, readme: str
) -> None:
    said = run(appliance, tmp_path, "sh", "-eu", "-c", example(readme, "sh", appliance))
    texts: dict[str, str] = {}
    for line in re.findall(r"data: (\{.*\})$", said, re.MULTILINE):
        chunk = json.loads(line)
        delta = chunk["choices"][0]["delta"]
        texts[chunk["id"]] = texts.get(chunk["id"], "") + delta.get("content", "")
    (before, after) = texts.values()
    assert "7341" not in before
    assert "7341" in after


@pytest.mark.parametrize("readme", READMES)
def test_the_openai_client_answers_streams_and_embeds(
    appliance: Running, tmp_path: Path, readme: str
) -> None:
    code = example(readme, "python", appliance)
    lines = run(appliance, tmp_path, sys.executable, "-c", code).splitlines()
    assert len(lines) >= 2
    assert int(re.findall(r"\d+$", lines[-1])[0]) > 0


def test_both_readmes_show_the_same_commands_and_paths() -> None:
    named = [
        set(re.findall(r"`((?:/api/|/v1/|make |sluice )[^`]*)`", (ROOT / one).read_text("utf-8")))
        for one in READMES
    ]
    assert named[0] ^ named[1] == set()
