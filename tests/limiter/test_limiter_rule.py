"""An operator's rule: what it may say, and what becomes of one that is broken or too slow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from limiter_rig import Rig, serving, settings

from appliance.errors import CannotBoot
from appliance.limiter.core import Limiter as Decider
from appliance.limiter.core import Rules
from appliance.limiter.rule import SAMPLE, Question, Refuse, Run, Wait
from appliance.limiter.rule_child import Unfit, load, verdict
from appliance.limiter.rule_process import OperatorRule, check_rule
from appliance.limiter.service import LimiterService
from appliance.limiter.verdict import Action, Ask, Forecast
from appliance.limiter.verdict import Run as Runs
from appliance.settings import Settings
from appliance.settings.limiter import Limiter

HEAD = "from appliance.limiter.rule import Refuse, Run, Wait\n"
BY_NAME = (
    HEAD
    + """
import os, time

def decide(request, view):
    if request.uid == "banned":
        return Refuse("不在名单上 (not on the list)", retry_after_s=77)
    if request.uid == "chief":
        return Run()
    if request.uid == "batch":
        return Wait(priority="background")
    if request.uid == "hang":
        while True:
            pass
    if request.uid == "die":
        os._exit(3)
    if request.uid == "raise":
        return 1 / 0
    print("this is no answer")
    return None
"""
)


def written(folder: Path, text: str) -> Path:
    path = folder / "rule.py"
    path.write_text(text, encoding="utf-8")
    return path


def by(uid: str) -> Question:
    return msgspec.structs.replace(SAMPLE, request=msgspec.structs.replace(SAMPLE.request, uid=uid))


@pytest.mark.unit
def test_a_rule_says_run_wait_refuse_or_nothing(tmp_path: Path) -> None:
    decide = load(written(tmp_path, BY_NAME))
    assert verdict(decide, by("chief")) == Run()
    assert verdict(decide, by("batch")) == Wait(priority="background")
    assert verdict(decide, by("banned")) == Refuse("不在名单上 (not on the list)", 77)
    assert verdict(decide, by("anybody")) is None
    with pytest.raises(Unfit, match=r"line 18: ZeroDivisionError"):
        verdict(decide, by("raise"))


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("def decide(request, view:\n    pass\n", r"line 1: .*"),
        ("x = 1\n", r"no function decide"),
        ("import nothing_like_it\n", r"line 1: ModuleNotFoundError"),
        ("raise SystemExit(0)\n", r"line 1: SystemExit"),
        ("def decide(request):\n    return None\n", r"TypeError"),
        ("def decide(request, view):\n    return 'run'\n", r"returned str; Run\(\)"),
        (HEAD + "def decide(r, v):\n    return Refuse('')\n", r"wrong Refuse"),
        (HEAD + "def decide(r, v):\n    return Refuse('no', retry_after_s=-1)\n", r"wrong Refuse"),
        (HEAD + "def decide(r, v):\n    return Wait(priority='boss')\n", r"wrong Wait"),
        (HEAD + "def decide(r, v):\n    return Refuse(object())\n", r"wrong Refuse"),
    ],
)
def test_a_bad_rule_is_told_with_its_line(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(Unfit, match=wrong):
        verdict(load(written(tmp_path, text)), SAMPLE)


@pytest.mark.integration
def test_a_bad_file_is_a_clear_error_at_the_start(tmp_path: Path) -> None:
    check_rule(Limiter())
    check_rule(Limiter(rule_file=str(written(tmp_path, BY_NAME))))
    with pytest.raises(CannotBoot, match="cannot be read: No such file") as missing:
        check_rule(Limiter(rule_file=str(tmp_path / "none.py")))
    assert "decide(request, view)" in missing.value.hint
    with pytest.raises(CannotBoot, match="not an absolute path"):
        check_rule(Limiter(rule_file="rule.py"))
    bad = written(tmp_path, "def decide(request, view):\n    return runn\n")
    with pytest.raises(CannotBoot, match="line 2: NameError"):
        check_rule(Limiter(rule_file=str(bad)))


@contextlib.asynccontextmanager
async def running(path: Path, *, limit_s: float = 2.0) -> AsyncIterator[OperatorRule]:
    rule = OperatorRule(path, limit_s=limit_s, pause_s=600.0)
    task = asyncio.create_task(rule.run())
    try:
        async with asyncio.timeout(30):
            await rule.ready.wait()
            yield rule
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.integration
@pytest.mark.parametrize("poison", ["hang", "die"])
async def test_a_rule_that_hangs_or_dies_is_started_again(tmp_path: Path, poison: str) -> None:
    async with running(written(tmp_path, BY_NAME), limit_s=1.0) as rule:
        assert await rule.decide(by("chief")) == Run()
        assert await rule.decide(by(poison)) is None
        assert (rule.status.state, rule.status.failures) == ("failing", 1)
        assert ("1000 ms" if poison == "hang" else "process ended") in rule.status.error
        assert await rule.decide(by("chief")) is None  # at once: the built-in rule goes on
        await rule.ready.wait()
        assert await rule.decide(by("chief")) == Run()
        assert (rule.status.state, rule.status.decided, rule.status.error) == ("in_force", 2, "")


@pytest.mark.integration
async def test_a_rule_that_keeps_failing_is_set_aside(tmp_path: Path) -> None:
    async with running(written(tmp_path, BY_NAME)) as rule:
        for _ in range(3):
            assert await rule.decide(by("raise")) is None
        while rule.status.state != "set_aside":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert "ZeroDivisionError" in rule.status.error
        assert await rule.decide(by("chief")) is None


def ruled_by(path: Path) -> Settings:
    chosen = settings()
    limits = msgspec.structs.replace(chosen.limiter, rule_file=str(path), rule_timeout_s=2.0)
    return msgspec.structs.replace(chosen, limiter=limits)


async def in_force(service: LimiterService) -> None:
    assert service.rule is not None
    async with asyncio.timeout(30):
        await service.rule.ready.wait()


@pytest.mark.integration
async def test_the_limiter_does_what_the_rule_says(
    rig: Rig, valkey_url: str, tmp_path: Path
) -> None:
    async with serving(valkey_url, ruled_by(written(tmp_path, BY_NAME))) as service:
        await in_force(service)
        await rig.workers(1)
        first = await rig.ask("someone")
        await rig.decided([first])
        batch, other = await rig.ask("batch"), await rig.ask("other")
        chief, banned = await rig.ask("chief"), await rig.ask("banned")
        found = await rig.decided([batch, other, chief, banned])
        assert found["refused"] == [banned]
        assert await rig.reason(banned) == "rule"
        order = [first]
        while len(order) < 4:
            await rig.end(order[-1])
            order += await rig.let_in([batch, other, chief])
        assert order == [first, chief, other, batch]
        assert service.status.rule is not None
        assert (service.status.rule.state, service.status.rule.failures) == ("in_force", 0)


@pytest.mark.integration
async def test_without_a_working_rule_the_built_in_one_decides_and_says_so(
    rig: Rig, valkey_url: str, tmp_path: Path
) -> None:
    async with serving(valkey_url, ruled_by(written(tmp_path, BY_NAME))) as service:
        await in_force(service)
        await rig.workers(2)
        ids = [await rig.ask("raise"), await rig.ask("die")]
        assert (await rig.decided(ids)).keys() == {"queued"}
        assert service.status.rule is not None
        assert service.status.rule.state == "failing"
        assert service.status.rule.failures == 2


@pytest.mark.integration
async def test_a_successor_keeps_to_what_the_rule_said(
    rig: Rig, valkey_url: str, tmp_path: Path
) -> None:
    chosen = ruled_by(written(tmp_path, BY_NAME))
    await rig.workers(1)
    async with serving(valkey_url, chosen) as service:
        await in_force(service)
        first = await rig.ask("someone")
        await rig.decided([first])
        waiting = [await rig.ask("other"), await rig.ask("chief")]
        await rig.decided(waiting)
    written(tmp_path, HEAD + "def decide(r, v):\n    return Refuse('everybody out')\n")
    async with serving(valkey_url, chosen) as service:
        await in_force(service)
        await rig.end(first)
        assert await rig.let_in(waiting) == [waiting[1]]
        assert await rig.in_state(waiting, "refused") == []


@pytest.mark.unit
def test_what_a_rule_puts_ahead_still_passes_no_slot_and_no_concurrency() -> None:
    made = Decider(Rules(), 0.0)
    made.workers_changed(1, 0.0)

    def ask(name: str, *, ahead: bool) -> Ask:
        return Ask(name, name, "standard", "person", 1, 0, Forecast(5, 8, 10), 1e9, ahead)

    def runs(actions: list[Action]) -> list[str]:
        return [one.request_id for one in actions if isinstance(one, Runs)]

    assert runs(made.arrived(ask("a", ahead=False), 0.0)) == ["a"]
    assert runs(made.arrived(ask("b", ahead=False), 0.0)) == []
    assert runs(made.arrived(ask("c", ahead=True), 0.0)) == []
    assert made.running == 1
    assert made.known() == ["c", "b", "a"]
    assert runs(made.ended("a", None, 1.0)) == ["c"]
