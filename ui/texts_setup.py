"""Texts of the first start's questions: `texts.setup`."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class SetupTexts:
    """Language, model, FAQ and key, one after the other."""

    key_setup: str
    tip_setup: str
    key_skip_step: str
    tip_skip_step: str
    key_step_back: str
    tip_step_back: str
    key_take: str
    tip_take: str
    key_pause: str
    tip_pause: str
    key_bring: str
    tip_bring: str
    key_finish: str
    tip_finish: str
    key_copy_key: str
    tip_copy_key: str

    title: str
    step_language: str
    step_model: str
    step_faq: str
    step_key: str

    language_title: str
    language_body: str

    model_title: str
    model_machine: str
    model_gpu: str
    model_no_gpu: str
    model_waiting: str
    model_name: str
    model_size: str
    model_memory: str
    model_speed: str
    model_state: str
    model_suggested: str
    model_in_use: str
    model_here: str
    model_part: str
    model_absent: str
    model_damaged: str
    model_no_memory: str
    model_no_disk: str
    model_speed_unknown: str
    model_rate: str
    model_expect: str
    model_expect_gpu: str
    model_enter_keep: str
    model_enter_use: str
    model_enter_fetch: str
    model_enter_go_on: str
    model_enter_first: str
    model_enter_next: str
    model_enter_no_memory: str
    model_enter_no_disk: str
    download_running: str
    download_left: str
    download_pausing: str
    download_checking: str
    download_paused: str
    download_failed: str
    download_done: str
    lacking: str
    lacking_next: str
    bring_title: str
    bring_label: str
    bringing: str
    brought: str
    banner_choose: str
    banner_fetching: str
    banner_paused: str
    banner_failed: str
    banner_failed_why: str
    banner_soon: str
    taking: str
    taken: str
    trouble: str
    fixed: str

    faq_title: str
    faq_body: str
    faq_body_filled: str
    faq_demo: str
    faq_import: str
    faq_empty: str
    faq_keep: str
    faq_import_title: str
    faq_import_label: str
    faq_importing: str
    faq_imported: str
    faq_file_missing: str
    faq_file_odd: str
    faq_file_large: str
    faq_file_kind: str

    key_title: str
    key_body: str
    key_shown_before: str
    key_file: str
    key_copied: str
    key_next: str


ENGLISH: Final = SetupTexts(
    key_setup="Set-up",
    tip_setup="Go through language, model, FAQ and key again",
    key_skip_step="Skip",
    tip_skip_step="Leave this as it is and go on",
    key_step_back="Back",
    tip_step_back="Go back to the question before",
    key_take="Take it",
    tip_take="Take what is marked and go on",
    key_pause="Pause",
    tip_pause="Pause the download, or let it go on",
    key_bring="From a file",
    tip_bring="Take models from a file on this machine",
    key_finish="To the chat",
    tip_finish="Finish and ask the first question",
    key_copy_key="Copy",
    tip_copy_key="Copy the key to the clipboard",
    title="Set-up",
    step_language="Language",
    step_model="Model",
    step_faq="FAQ",
    step_key="Key",
    language_title="Which language should Sluice speak?",
    language_body="It changes menus and messages. Answers come in the language of the question.",
    model_title="Which model should answer?",
    model_machine="This machine: {cores} cores, {free} of {memory} of memory free, {gpus}, "
    "{disk} free on the disk.",
    model_gpu="GPU {names}",
    model_no_gpu="no GPU",
    model_waiting="Looking at the machine…",
    model_name="Model",
    model_size="Size",
    model_memory="Memory",
    model_speed="Tokens/s",
    model_state="State",
    model_suggested="Suggested for this machine.",
    model_in_use="in use",
    model_here="here",
    model_part="{percent} % here",
    model_absent="not here",
    model_damaged="damaged",
    model_no_memory="too large",
    model_no_disk="disk full",
    model_speed_unknown="?",
    model_rate="≈ {rate}",
    model_expect="About {rate} tokens a second for one person; an answer from the FAQ begins "
    "after about {wait}.",
    model_expect_gpu="It fits on the GPU; how fast it is there shows once it runs.",
    model_enter_keep="Enter keeps it.",
    model_enter_use="Enter takes it into use; the server starts anew, answers go on afterwards.",
    model_enter_fetch="Enter downloads it.",
    model_enter_go_on="Enter goes on with the download.",
    model_enter_first="Enter downloads it and takes it into use.",
    model_enter_next="It answers once it is here; Enter goes on.",
    model_enter_no_memory="This machine has too little free memory for it.",
    model_enter_no_disk="Free some space on the disk to download it.",
    download_running="Downloading {name}: {done} of {total}, {percent} %",
    download_left="about {left} left",
    download_pausing="Pausing {name}…",
    download_checking="Checking {name}…",
    download_paused="{name} is paused at {percent} %. P goes on.",
    download_failed="{name} was not downloaded: {reason}",
    download_done="{name} is here. Enter on it takes it into use.",
    lacking="There is no model here yet. Esc takes the starter, I one from a file.",
    lacking_next="Next: {names}, which finds entries of the FAQ.",
    bring_title="Models from a file",
    bring_label="Path of a GGUF file, a bundle, or sluice-full",
    bringing="Taking the models from {name}…",
    brought="{name} is here and is taken into use.",
    banner_choose="There is no model here yet, so nothing can be answered. F12 chooses one.",
    banner_fetching="Downloading {name}, {percent} %; questions wait for it.",
    banner_paused="{name} is paused at {percent} %; F12 goes on with it.",
    banner_failed="{name} was not downloaded: {reason} F12 tries again.",
    banner_failed_why="{name} was not downloaded. F12 tells why and tries again.",
    banner_soon="The models are being fetched; questions wait for them.",
    taking="Taking {name} into use: the server starts anew…",
    taken="{name} is in use.",
    trouble="The model did not start, the one before is in use again: {reason}",
    fixed="The model cannot be changed here: {reason}.",
    faq_title="What should it know?",
    faq_body="Answers come from the FAQ first. You can change all of it later (F3).",
    faq_body_filled="The FAQ has {count} entries already. You can change all of it later (F3).",
    faq_demo="Load the demo FAQ, made up for trying it out",
    faq_import="Import a file: CSV, XLSX, JSONL or Markdown",
    faq_empty="Start with an empty FAQ",
    faq_keep="Keep it as it is",
    faq_import_title="Import a FAQ",
    faq_import_label="Path of the file",
    faq_importing="Importing and reading through it…",
    faq_imported="FAQ: {created} new, {updated} changed, {unchanged} as before",
    faq_file_missing="There is no such file: {name}",
    faq_file_odd="This cannot be read as a file: {name}",
    faq_file_large="The file is larger than {limit}: {name}",
    faq_file_kind="Only {kinds} can be imported: {name}",
    key_title="Your key",
    key_body="Programs and other machines show this key to Sluice. It may do everything: give it "
    "to nobody, and make other keys for other people. It is shown only now.",
    key_shown_before="The key was shown when this was first set up.",
    key_file="It is kept in {path}, which only your account can read.",
    key_copied="The key was sent to the clipboard.",
    key_next="That is all. Enter leads to the chat; Ctrl+P finds everything else.",
)

CHINESE: Final = SetupTexts(
    key_setup="设置向导",
    tip_setup="重新选择语言、模型、问答库和密钥",
    key_skip_step="跳过",
    tip_skip_step="保持不变，继续下一步",
    key_step_back="上一步",
    tip_step_back="回到前一个问题",
    key_take="选定",
    tip_take="采用选中的一项，继续下一步",
    key_pause="暂停",
    tip_pause="暂停下载，或让它继续",
    key_bring="从文件",
    tip_bring="从本机上的文件取得模型",
    key_finish="开始对话",
    tip_finish="完成设置，提出第一个问题",
    key_copy_key="复制",
    tip_copy_key="把密钥复制到剪贴板",
    title="设置向导",
    step_language="语言",
    step_model="模型",
    step_faq="问答库",
    step_key="密钥",
    language_title="Sluice 使用哪种语言？",
    language_body="只影响菜单和提示；回答使用提问的语言。",
    model_title="由哪个模型来回答？",
    model_machine="本机：{cores} 个核心，内存 {memory}，可用 {free}，{gpus}，磁盘可用 {disk}。",
    model_gpu="显卡 {names}",
    model_no_gpu="没有显卡",
    model_waiting="正在了解本机…",
    model_name="模型",
    model_size="大小",
    model_memory="内存",
    model_speed="词元/秒",
    model_state="状态",
    model_suggested="推荐用于本机。",
    model_in_use="使用中",
    model_here="已下载",
    model_part="已有 {percent} %",
    model_absent="未下载",
    model_damaged="已损坏",
    model_no_memory="内存不足",
    model_no_disk="磁盘不足",
    model_speed_unknown="未知",
    model_rate="≈ {rate}",
    model_expect="一人使用时每秒约 {rate} 个词元；依据问答库的回答约 {wait}后开始。",
    model_expect_gpu="显卡装得下；速度要运行后才知道。",
    model_enter_keep="按 Enter 保留它。",
    model_enter_use="按 Enter 启用它：服务会重新启动，未完成的回答随后继续。",
    model_enter_fetch="按 Enter 下载。",
    model_enter_go_on="按 Enter 继续下载。",
    model_enter_first="按 Enter 下载并启用它。",
    model_enter_next="下载完成后即可回答；按 Enter 可先继续设置。",
    model_enter_no_memory="本机可用内存不够运行它。",
    model_enter_no_disk="请先腾出磁盘空间再下载。",
    download_running="正在下载 {name}：{done} / {total}，{percent} %",
    download_left="大约还需 {left}",
    download_pausing="正在暂停 {name}…",
    download_checking="正在校验 {name}…",
    download_paused="{name} 已暂停在 {percent} %。按 P 继续。",
    download_failed="{name} 没有下载成功：{reason}",
    download_done="{name} 已下载。选中它按 Enter 启用。",
    lacking="本机还没有模型。按 Esc 采用入门模型，按 I 从文件取得。",
    lacking_next="接着下载 {names}，用于查找问答条目。",
    bring_title="从文件取得模型",
    bring_label="GGUF 文件、模型包或 sluice-full 的路径",
    bringing="正在从 {name} 取得模型…",
    brought="{name} 已就位，即将启用。",
    banner_choose="本机还没有模型，暂时无法回答。按 F12 选择一个。",
    banner_fetching="正在下载 {name}，{percent} %；完成后再回答问题。",
    banner_paused="{name} 的下载已暂停在 {percent} %。按 F12 继续。",
    banner_failed="{name} 没有下载成功：{reason} 按 F12 重试。",
    banner_failed_why="{name} 没有下载成功。按 F12 查看原因并重试。",
    banner_soon="正在获取模型；完成后再回答问题。",
    taking="正在启用 {name}：服务正在重新启动…",
    taken="{name} 已启用。",
    trouble="新模型无法启动，已恢复原来的模型：{reason}",
    fixed="这里不能更换模型：{reason}。",
    faq_title="它应该知道些什么？",
    faq_body="回答首先来自问答库。以后随时可以修改（F3）。",
    faq_body_filled="问答库已有 {count} 条问答。以后随时可以修改（F3）。",
    faq_demo="载入演示问答库，内容纯属虚构，用于试用",
    faq_import="导入文件：CSV、XLSX、JSONL 或 Markdown",
    faq_empty="从空的问答库开始",
    faq_keep="保持现状",
    faq_import_title="导入问答库",
    faq_import_label="文件路径",
    faq_importing="正在导入并通读…",
    faq_imported="问答库：新增 {created} 条，更新 {updated} 条，未变 {unchanged} 条",
    faq_file_missing="没有这个文件：{name}",
    faq_file_odd="无法作为文件读取：{name}",
    faq_file_large="文件大于 {limit}：{name}",
    faq_file_kind="只能导入 {kinds}：{name}",
    key_title="您的密钥",
    key_body="程序和其他机器凭此密钥使用 Sluice。它什么都能做：请勿交给别人，"
    "可另外为他人创建密钥。密钥只在此刻显示一次。",
    key_shown_before="密钥在首次设置时已经显示过。",
    key_file="它保存在 {path}，只有您的账户可以读取。",
    key_copied="密钥已送往剪贴板。",
    key_next="设置完成。按 Enter 进入对话；Ctrl+P 可以找到其他一切。",
)
