"""Every string the UI shows, by name; the two languages are `texts_en` and `texts_zh`.

The texts of a larger topic are a group of their own (`texts.chat` and so on), with both languages
in the group's module.

A text is a plain string or a template for `str.format` with named places; both languages have
the same places. No text holds a square bracket, so none can be taken for markup. `key_*` is what
a key is called in the footer, `tip_*` what it does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from ui.texts_chat import ChatTexts
from ui.texts_curate import CurateTexts
from ui.texts_faq import FaqTexts
from ui.texts_keys import KeyTexts
from ui.texts_messages import MessageTexts
from ui.texts_operate import OperateTexts
from ui.texts_settings import SettingTexts
from ui.texts_setup import SetupTexts

LOCALE_VARIABLES: Final = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")


@dataclass(frozen=True, kw_only=True)
class Texts:
    """One language. Field names start with the place where they are shown."""

    language: str
    chat: ChatTexts
    faq: FaqTexts
    curate: CurateTexts
    operate: OperateTexts
    keys: KeyTexts
    messages: MessageTexts
    settings: SettingTexts
    setup: SetupTexts

    # keys: what the footer says, and the tooltip
    key_help: str
    tip_help: str
    key_chat: str
    tip_chat: str
    key_faq: str
    tip_faq: str
    key_status: str
    tip_status: str
    key_theme: str
    tip_theme: str
    key_quit: str
    tip_quit: str
    quit_body: str
    key_send: str
    tip_send: str
    key_new_line: str
    tip_new_line: str
    key_new_session: str
    tip_new_session: str
    key_rename_session: str
    tip_rename_session: str
    key_delete_session: str
    tip_delete_session: str
    key_previous_session: str
    tip_previous_session: str
    key_next_session: str
    tip_next_session: str
    key_session_list: str
    tip_session_list: str
    key_back_to_prompt: str
    tip_back_to_prompt: str
    key_stop_answer: str
    tip_stop_answer: str
    key_ask_again: str
    tip_ask_again: str
    key_page_up: str
    tip_page_up: str
    key_page_down: str
    tip_page_down: str
    key_search: str
    tip_search: str
    key_leave_search: str
    tip_leave_search: str
    key_add_entry: str
    tip_add_entry: str
    key_edit_entry: str
    tip_edit_entry: str
    key_sort_entries: str
    tip_sort_entries: str
    key_delete_entry: str
    tip_delete_entry: str
    key_load_demo: str
    tip_load_demo: str
    key_refresh: str
    tip_refresh: str
    key_save: str
    tip_save: str
    key_close: str
    tip_close: str
    key_accept: str
    tip_accept: str
    key_complete: str
    tip_complete: str
    key_choose: str
    tip_choose: str

    # words used everywhere
    cancel: str
    seconds: str
    minutes: str
    hours: str
    days: str

    # the way to the server
    link_connecting: str
    link_connecting_banner: str
    link_away: str
    link_away_banner: str
    link_starting: str
    link_starting_banner: str
    link_starting_detail: str
    link_up: str
    link_refused: str
    link_refused_banner: str
    link_unsafe_banner: str
    link_foreign: str
    link_foreign_banner: str

    # chat
    chat_sessions: str
    chat_new: str
    chat_untitled: str
    chat_more_sessions: str
    chat_older: str
    chat_loading: str
    chat_empty: str
    chat_prompt: str
    chat_prompt_full: str
    chat_send_failed: str
    chat_wait_for_answer: str
    chat_rename_title: str
    chat_rename_label: str
    chat_delete_title: str
    chat_delete_body: str
    chat_delete_yes: str

    # a turn: the stages, the end, and what went wrong
    turn_sent: str
    turn_received: str
    turn_loading: str
    turn_waiting: str
    turn_waiting_eta: str
    turn_admitted: str
    turn_retrieved: str
    turn_retrieved_none: str
    turn_answering: str
    turn_stopping: str
    turn_reconnecting: str
    turn_degraded: str
    turn_sources: str
    turn_rate: str
    turn_tokens: str
    turn_first_word: str
    turn_finished: str
    turn_cut: str
    turn_stopped: str
    turn_stopped_next: str
    turn_failed: str
    turn_failed_next: str
    turn_refused: str
    turn_refused_retry: str
    turn_refused_next: str
    refused_queue_full: str
    refused_user_queue_full: str
    refused_shed: str
    refused_deadline: str
    refused_waited_out: str
    refused_no_worker: str
    refused_requests_per_minute: str
    refused_tokens_per_minute: str
    refused_tokens_per_day: str
    refused_too_large: str
    turn_lost: str
    turn_lost_next: str

    # errors: what happened, and what the person can do
    error_with_reason: str
    error_alone: str
    error_hint: str
    error_unreachable: str
    error_unreachable_next: str
    error_invalid: str
    error_invalid_next: str
    error_unauthorized: str
    error_unauthorized_next: str
    error_not_found: str
    error_not_found_next: str
    error_conflict: str
    error_conflict_next: str
    error_overloaded: str
    error_overloaded_next: str
    error_unavailable: str
    error_unavailable_next: str
    error_internal: str
    error_internal_next: str
    error_retry: str

    # FAQ
    faq_search: str
    faq_all_categories: str
    faq_all_languages: str
    faq_question: str
    faq_category: str
    faq_language: str
    faq_state: str
    faq_score: str
    faq_published: str
    faq_draft: str
    faq_count: str
    faq_count_more: str
    faq_sorting: str
    faq_found: str
    faq_found_literal: str
    faq_none: str
    faq_loading: str
    faq_answer: str
    faq_delete_title: str
    faq_delete_body: str
    faq_delete_yes: str
    faq_demo_loaded: str
    faq_demo_loading: str
    faq_saved: str
    faq_deleted: str
    faq_new_title: str
    faq_edit_title: str
    faq_phrasings: str
    faq_language_hint: str
    faq_save: str
    faq_question_missing: str
    faq_answer_missing: str
    faq_too_long: str
    faq_too_many_phrasings: str
    faq_bad_language: str
    faq_discard_title: str
    faq_discard_body: str
    faq_discard_yes: str

    # status
    status_summary: str
    status_ready: str
    status_not_ready: str
    status_queue_line: str
    status_queue_users: str
    status_queue_classes: str
    status_promises: str
    status_lengths: str
    status_placement: str
    status_placement_away: str
    class_person: str
    class_service: str
    class_background: str
    status_faq_line: str
    status_dead_line: str
    status_indexed: str
    status_not_indexed: str
    status_children: str
    status_workers: str
    status_name: str
    status_state: str
    status_pid: str
    status_restarts: str
    status_memory: str
    status_uptime: str
    status_detail: str
    status_worker: str
    status_engine: str
    status_model: str
    status_embedding: str
    status_device: str
    status_slots: str
    status_context: str
    status_speed: str
    status_waiting: str
    status_stale: str
    alarm_gpu_not_used: str
    alarm_gpu_partly_used: str
    alarm_gpu_driver_missing: str
    alarm_gpu_not_found: str
    alarm_gpu_backend_missing: str
    alarm_gpu_aborted: str
    alarm_rule_failed: str
    alarm_store_full: str
    alarm_unknown: str
    state_stopped: str
    state_starting: str
    state_ready: str
    state_backing_off: str
    state_failed: str
    state_stopping: str

    # help
    help_title: str
    help_everywhere: str
    help_chat: str
    help_faq: str
    help_status: str
    help_notes: str

    # before and after the screen
    start_no_terminal: str
    start_bad_address: str
    end_crashed: str
    end_crashed_log: str

    def word(self, name: str) -> str:
        """The text called `name`, here or in a group; the names of keys are unique."""
        if hasattr(self, name):
            return str(getattr(self, name))
        groups = (getattr(self, group) for group in GROUPS)
        return str(next(getattr(group, name) for group in groups if hasattr(group, name)))


GROUPS: Final = tuple(one.name for one in fields(Texts) if one.type is not str)


def language_of(environ: Mapping[str, str]) -> str:
    """ "zh" when the first locale variable that is set says so, else "en"."""
    locale = next((environ[name] for name in LOCALE_VARIABLES if environ.get(name)), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def texts_for(language: str) -> Texts:
    """The texts of a language tag ("zh-CN" is "zh"); every other language gets English."""
    if language.lower().startswith("zh"):
        from ui.texts_zh import CHINESE

        return CHINESE
    from ui.texts_en import ENGLISH

    return ENGLISH
