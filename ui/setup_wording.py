"""How the first start's questions say what the server knows: pure, and safe to show."""

from typing import Final

from appliance.schema.setup import DownloadStatus, SetupMachine, SetupModel, SetupStatus, UiLanguage
from ui.faq_files import KINDS, MAX_FAQ_BYTES, FaqFileError
from ui.safe_text import safe_line
from ui.said import error_said
from ui.texts import Texts
from ui.wording import duration, memory, model_note

LANGUAGES: Final[tuple[tuple[UiLanguage, str], ...]] = (("en", "English"), ("zh", "中文"))
BAR_CELLS: Final = 24
MODEL_FIXED: Final = "model_fixed"  # the reason of the error that choosing one then is
GOING: Final = ("running", "pausing", "checking")
STOPPED: Final = ("paused", "failed")


def machine_line(texts: Texts, machine: SetupMachine) -> str:
    words = texts.setup
    names = ", ".join(safe_line(name, 40) for name in machine.gpus)
    return words.model_machine.format(
        cores=machine.cores,
        free=memory(machine.free_bytes) or "0 GB",
        memory=memory(machine.memory_bytes),
        gpus=words.model_gpu.format(names=names) if names else words.model_no_gpu,
        disk=memory(machine.disk_free_bytes) or "0 GB",
    )


def weights_state(texts: Texts, model: SetupModel, download: DownloadStatus) -> str:
    """In a word or two, for a table of eighty columns; a star marks the suggested one."""
    words = texts.setup
    if model.chosen and model.state == "here":
        said = words.model_in_use
    elif download.name == model.name and download.state in GOING:
        said = words.model_part.format(percent=download.percent)
    elif model.state == "damaged":
        said = words.model_damaged
    elif model.obstacle == "memory":
        said = words.model_no_memory
    elif model.obstacle == "disk":
        said = words.model_no_disk
    elif model.state == "here":
        said = words.model_here
    elif model.state == "partial":
        percent = 100 * model.here_bytes // max(model.size_bytes, 1)
        said = words.model_part.format(percent=percent)
    else:
        said = words.model_absent
    return f"★ {said}" if model.recommended else said


def rate(texts: Texts, model: SetupModel) -> str:
    if model.tokens_per_s is None:
        return texts.setup.model_speed_unknown
    return texts.setup.model_rate.format(rate=_number(model.tokens_per_s))


def prospects(texts: Texts, model: SetupModel, status: SetupStatus) -> str:
    """What to expect of a model, and what Enter would do."""
    words = texts.setup
    note = model_note(texts, model.notes)
    if model.tokens_per_s is not None and model.first_word_s is not None:
        expect = words.model_expect.format(
            rate=_number(model.tokens_per_s), wait=duration(texts, model.first_word_s)
        )
    else:
        expect = words.model_expect_gpu if model.size_bytes else ""
    first = "  ".join(part for part in (note, safe_line(model.licence, 40)) if part)
    suggested = f"★ {words.model_suggested}" if model.recommended else ""
    last = " ".join(part for part in (suggested, _deed(texts, model, status)) if part)
    return "\n".join(part for part in (first, expect, last) if part)


def _deed(texts: Texts, model: SetupModel, status: SetupStatus) -> str:
    words, download = texts.setup, status.download
    if status.lacking and model.chosen and status.settled:
        return words.model_enter_next
    if model.chosen and not status.lacking:
        return words.model_enter_keep
    if download.name == model.name and download.state in GOING:
        return ""
    if model.obstacle == "memory":
        return words.model_enter_no_memory
    if model.obstacle == "disk":
        return words.model_enter_no_disk
    if status.lacking:
        return words.model_enter_first
    if model.state == "here":
        return words.model_enter_use
    return words.model_enter_go_on if model.state == "partial" else words.model_enter_fetch


def download_line(texts: Texts, download: DownloadStatus, left_s: float | None) -> str:
    """How far the download is; empty when there is none."""
    words, name = texts.setup, safe_line(download.name, 60)
    match download.state:
        case "none":
            return ""
        case "running":
            line = words.download_running.format(
                name=name,
                done=memory(download.done_bytes) or "0 MB",
                total=memory(download.total_bytes),
                percent=download.percent,
            )
            if left_s is not None:
                line += "  " + words.download_left.format(left=duration(texts, left_s))
            return f"{line}\n{_bar(download.percent)}"
        case "pausing":
            return words.download_pausing.format(name=name)
        case "checking":
            return words.download_checking.format(name=name)
        case "paused":
            return words.download_paused.format(name=name, percent=download.percent)
        case "failed":
            said = error_said(texts, download.reason, download.facts)
            reason = safe_line(f"{download.message} {download.hint}", 400)
            if said.what:
                reason = f"{said.what}。{said.then}"
            return words.download_failed.format(name=name, reason=reason)
        case "done":
            return words.download_done.format(name=name)


def trouble_line(texts: Texts, status: SetupStatus) -> str:
    """Why the model that was chosen last is not in use; empty when it is."""
    if not status.trouble:
        return ""
    said = error_said(texts, status.trouble_reason, status.trouble_facts)
    reason = said.what or safe_line(status.trouble, 300)
    return texts.setup.trouble.format(reason=reason)


def fixed_line(texts: Texts, status: SetupStatus) -> str:
    """Why no other model can be chosen; empty when one can."""
    if not status.fixed:
        return ""
    reason = error_said(texts, MODEL_FIXED, {}).what or safe_line(status.fixed, 200)
    return texts.setup.fixed.format(reason=reason)


def lacking_line(texts: Texts, status: SetupStatus) -> str:
    """What a server without models waits for, beside the download there is."""
    if not status.lacking:
        return ""
    if not status.settled:
        return texts.setup.lacking
    others = [safe_line(name, 60) for name in status.lacking if name != status.download.name]
    if not others or status.download.state not in (*GOING, "paused"):
        return ""
    return texts.setup.lacking_next.format(names=", ".join(others))


def file_words(texts: Texts, error: FaqFileError, name: str) -> str:
    """Why a FAQ file cannot be sent."""
    words, shown = texts.setup, safe_line(name, 100)
    return {
        "kind": words.faq_file_kind.format(kinds=" ".join(KINDS), name=shown),
        "missing": words.faq_file_missing.format(name=shown),
        "odd": words.faq_file_odd.format(name=shown),
        "large": words.faq_file_large.format(limit=memory(MAX_FAQ_BYTES), name=shown),
    }[error.problem]


def _bar(percent: int) -> str:
    full = BAR_CELLS * max(0, min(100, percent)) // 100
    return "━" * full + "─" * (BAR_CELLS - full)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}".removesuffix(".0")
