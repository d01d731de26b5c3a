"""Who may import what inside the UI; read from the source, so that nothing has to run."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from ui import keys

pytestmark = pytest.mark.unit

ROOT = Path(inspect.getfile(keys)).parent
MODULES = sorted(ROOT.rglob("*.py"))
PURE = (
    *("turns", "entries", "wording", "safe_text", "answers", "attachments", "citations", "drafts"),
    *("exporting", "searching", "texts", "texts_en", "texts_zh", "texts_chat"),
    *(
        "texts_faq",
        "texts_curate",
        "texts_operate",
        "texts_setup",
        "texts_keys",
        "texts_settings",
        "faq_files",
        "faq_exports",
    ),
    "setup_wording",
    "setting_values",
)
HEADLESS = (
    *PURE,
    "client",
    "operating",
    "curating",
    "setting_up",
    "conversations",
    "finding",
    "inbox",
    "link",
    "clock",
)


def imports(path: Path) -> set[str]:
    """Every name imported anywhere in a module, as dotted paths."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def importers(*prefixes: str) -> set[str]:
    return {
        name_of(path)
        for path in MODULES
        if any(name == p or name.startswith(f"{p}.") for name in imports(path) for p in prefixes)
    }


def test_only_the_client_knows_http() -> None:
    assert importers("httpx", "httpx_sse") == {"client"}


def test_no_widget_imports_the_client_or_a_screen() -> None:
    users = importers("ui.client", "ui.operating", "ui.conversations", "ui.screens")
    assert [name for name in users if name.startswith("widgets")] == []


def test_the_headless_modules_know_no_widget() -> None:
    assert importers("textual", "rich").isdisjoint(HEADLESS)


def test_of_the_appliance_only_its_records_and_errors_are_known() -> None:
    names = {name for path in MODULES for name in imports(path) if name.startswith("appliance.")}
    assert {".".join(name.split(".")[:2]) for name in names} == {
        "appliance.schema",
        "appliance.errors",
    }


def test_text_reaches_the_screen_only_through_plain() -> None:
    """R21: a bare `Static`, `Label`, `Input` or `TextArea` would read markup or take any paste."""
    risky = {f"textual.widgets.{kind}" for kind in ("Static", "Label", "Input", "TextArea")}
    users = {name_of(path): imports(path) & risky for path in MODULES}
    makers: set[str] = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and f"textual.widgets.{node.func.id}" in users[name_of(path)]
            ):
                makers.add(name_of(path))
    assert makers == set()
    bases = {
        name_of(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and {ast.unparse(base) for base in node.bases} & {"Static", "Label", "Input", "TextArea"}
    }
    assert bases == {"widgets.plain"}


def test_notifications_are_never_markup() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".notify"):
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert given.get("markup") == "False", f"{path.name}:{node.lineno}"


def test_importing_the_app_loads_no_server() -> None:
    code = (
        "import sys, ui.app;"
        "heavy = {'litestar', 'pymilvus', 'redis', 'llama_cpp', 'numpy', 'uvicorn'};"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
