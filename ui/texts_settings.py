"""Texts of the settings: `texts.settings`."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class SettingTexts:
    """The table of settings and the form for one of them."""

    key_show_settings: str
    tip_show_settings: str
    key_edit_setting: str
    tip_edit_setting: str
    key_reset_setting: str
    tip_reset_setting: str
    key_filter: str
    tip_filter: str
    key_save_setting: str
    tip_save_setting: str

    title: str
    count: str
    found: str
    filter: str
    setting: str
    value: str
    default: str
    no_value: str
    not_shown: str
    is_default: str
    in_file: str
    in_use: str
    one_of: str

    leaving: str
    hidden_hint: str
    would_do: str
    would_do_at_once: str
    saved: str
    saved_at_once: str
    changed_since: str
    conflict: str
    reset_title: str
    reset_body: str
    reset_yes: str


ENGLISH: Final = SettingTexts(
    key_show_settings="Settings",
    tip_show_settings="Read and change what stands in the settings file",
    key_edit_setting="Change",
    tip_edit_setting="Give the marked setting another value",
    key_reset_setting="Default",
    tip_reset_setting="Take the marked setting back to its default",
    key_filter="Filter",
    tip_filter="Go to the field for a part of a name or of its explanation",
    key_save_setting="Save",
    tip_save_setting="Write the value into the settings file",
    title="Settings  {file}",
    count="{count} settings; • set in the file: {set}; ↻ counts from the next start: {waiting}",
    found="Found: {count}",
    filter="Part of a name or of its explanation",
    setting="Setting",
    value="Value",
    default="Default",
    no_value="none",
    not_shown="not shown",
    is_default="Default: {value}",
    in_file="In the file: {value}",
    in_use="In use until the next start: {value}",
    one_of="One of: {values}",
    leaving="What you changed in this setting will be gone.",
    hidden_hint="Not shown; what you write takes its place",
    would_do="The server would take this. It counts from the next start.",
    would_do_at_once="The server would take this. It counts when the terminal UI is opened next.",
    saved="{key} is saved. It counts from the next start of the server.",
    saved_at_once="{key} is saved. It counts when the terminal UI is opened next.",
    changed_since="Not done: the file was changed meanwhile. It is shown as it is now.",
    conflict="Not saved: the file was changed meanwhile. This setting is now: {value} "
    "Save once more to replace it.",
    reset_title="Back to the default?",
    reset_body="{key} will be {value} again, from the next start on. The line stays in the file as "
    "a comment.",
    reset_yes="Default",
)

CHINESE: Final = SettingTexts(
    key_show_settings="设置",
    tip_show_settings="查看和修改设置文件的内容",
    key_edit_setting="修改",
    tip_edit_setting="给所选设置另一个值",
    key_reset_setting="默认",
    tip_reset_setting="把所选设置恢复为默认值",
    key_filter="筛选",
    tip_filter="转到筛选框，输入名称或说明的一部分",
    key_save_setting="保存",
    tip_save_setting="把这个值写入设置文件",
    title="设置  {file}",
    count="共 {count} 项；• 文件中已设置 {set} 项；↻ 下次启动生效 {waiting} 项",
    found="找到 {count} 项",
    filter="名称或说明的一部分",
    setting="设置",
    value="值",
    default="默认值",
    no_value="无",
    not_shown="不显示",
    is_default="默认值：{value}",
    in_file="文件中：{value}",
    in_use="下次启动前使用：{value}",
    one_of="可选：{values}",
    leaving="对这项设置的修改将丢失。",
    hidden_hint="不显示；您输入的内容将取代它",
    would_do="服务器可以接受，下次启动时生效。",
    would_do_at_once="服务器可以接受，下次打开终端界面时生效。",
    saved="{key} 已保存，服务器下次启动时生效。",
    saved_at_once="{key} 已保存，下次打开终端界面时生效。",
    changed_since="未完成：文件其间已被修改。现在显示的是最新内容。",
    conflict="未保存：文件其间已被修改，这项设置现在是：{value} 仍要替换请再保存一次。",
    reset_title="恢复默认值？",
    reset_body="{key} 从下次启动起恢复为 {value}。原来的一行作为注释留在文件中。",
    reset_yes="恢复默认",
)
