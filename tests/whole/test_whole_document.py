"""The API keeps to its OpenAPI document, and the page that shows it needs no network."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Running
from soak import much

from appliance.knowledge.entries import valid_id

pytestmark = pytest.mark.integration

# Left out: Litestar's answer to OPTIONS, which names one method of many.
NOT_ASKED = "allow_header_conformance"
SECONDS = much("40", "180")
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.soak
def test_the_api_keeps_to_its_document(appliance: Running, tmp_path: Path) -> None:
    found = subprocess.run(
        [
            *(
                sys.executable,
                "-c",
                "import sys, schemathesis.cli as cli; sys.exit(cli.schemathesis())",
            ),
            *("--config-file", str(CONFIG)),
            *("run", f"{appliance.url}/schema/openapi.json"),
            *("--header", f"Authorization: Bearer {appliance.key}"),
            *("--phases", "coverage,fuzzing", "--max-examples", "2", "--max-time", SECONDS),
            *("--exclude-path-regex", "/events"),  # these never end by themselves
            *("--exclude-operation-id", "ApiSetupChangeSetup"),  # takes any made-up model into use
            *("--exclude-checks", NOT_ASKED, "--request-timeout", "60", "--warnings", "off"),
            *("--no-color", "--seed", "1"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    tested = re.search(r"Tested: (\d+)", found.stdout)
    assert tested is not None, found.stdout[-3000:]
    assert int(tested[1]) > 60


def test_the_document_says_of_bodies_what_is_taken(appliance: Running) -> None:
    with httpx.Client(headers={"Authorization": f"Bearer {appliance.key}"}) as client:
        document = client.get(f"{appliance.url}/schema/openapi.json").json()
    acknowledged = document["components"]["schemas"]["InboxAck"]
    assert acknowledged["additionalProperties"] is False
    assert acknowledged["properties"]["ids"]["items"]["type"] == "string"
    for path, item in document["paths"].items():
        for method, operation in item.items():
            (error,) = operation["responses"]["default"]["content"].values()
            assert error["schema"]["$ref"].endswith("/ErrorBody"), (method, path)


def test_the_page_shows_every_path_without_a_key_or_a_network(appliance: Running) -> None:
    page = httpx.get(f"{appliance.url}/schema")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "/api/sessions/{session_id}/messages" in page.text
    assert "<script" not in page.text
    assert not re.search(r"(src|href)=\"?https?:", page.text)
    assert appliance.key not in page.text
    linked = set(re.findall(r'href="#([^"]+)"', page.text))
    assert linked
    assert linked <= set(re.findall(r'id="([^"]+)"', page.text))


def patterns(part: Any) -> Iterator[str]:
    """Every pattern of a document."""
    if isinstance(part, dict):
        yield from (one for name, one in part.items() if name == "pattern" and isinstance(one, str))
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from patterns(inner)


def test_no_pattern_lets_a_last_line_break_pass_and_no_route_is_named_like_an_entry(
    appliance: Running,
) -> None:
    with appliance.client() as client:
        document = client.get("/schema/openapi.json").json()
    found = set(patterns(document))
    assert len(found) > 4
    assert [one for one in found if one.endswith("$")] == []
    below = {path.split("/")[3] for path in document["paths"] if path.startswith("/api/faq/")}
    names = {name for name in below if name and not name.startswith("{")}
    assert {"search", "misses"} <= names
    assert [name for name in names if valid_id(name)] == []
