"""Texts of what one can do with a conversation beyond asking: `texts.chat`."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class ChatTexts:
    """Reading, copying, rating, branching, files, search and export."""

    key_read: str
    tip_read: str
    key_previous_turn: str
    tip_previous_turn: str
    key_next_turn: str
    tip_next_turn: str
    key_copy_answer: str
    tip_copy_answer: str
    key_copy_question: str
    tip_copy_question: str
    key_retry: str
    tip_retry: str
    key_edit_question: str
    tip_edit_question: str
    key_sources: str
    tip_sources: str
    key_source: str
    tip_source: str
    key_attach: str
    tip_attach: str
    key_detach: str
    tip_detach: str
    key_find: str
    tip_find: str
    key_export: str
    tip_export: str
    key_branch: str
    tip_branch: str

    copied: str
    nothing_to_copy: str
    asked_with_files: str
    question_cut: str
    key_next_question: str
    tip_next_question: str
    suggestions: str
    no_suggestions: str
    no_sources: str
    key_thumb_up: str
    tip_thumb_up: str
    key_thumb_down: str
    tip_thumb_down: str
    thumb_up: str
    thumb_down: str
    thumb_failed: str
    nothing_to_rate: str
    branch_title: str
    branched: str
    branch_too_soon: str
    branch_failed: str
    decided_direct: str
    decided_no_answer: str
    decided_person_asked: str
    decided_person: str
    did_you_mean: str
    source_gone: str
    source_as_cited: str
    source_title: str
    source_phrasings: str

    attach_title: str
    attach_label: str
    attach_full: str
    attach_missing: str
    attach_not_a_file: str
    attach_unreadable: str
    attach_too_large: str
    attach_not_text: str
    attach_empty: str
    attachment: str
    attachments_hint: str

    find_title: str
    find_placeholder: str
    find_hint: str
    find_none: str
    find_found: str
    find_stopped: str
    find_in_answer: str
    find_in_question: str
    find_in_title: str

    export_title: str
    export_label: str
    export_done: str
    export_exists: str
    export_failed: str
    export_no_answer: str
    export_partly: str


ENGLISH: Final = ChatTexts(
    key_read="Read",
    tip_read="Go to the conversation, to point at a turn and do something with it",
    key_previous_turn="Previous turn",
    tip_previous_turn="Point at the turn above",
    key_next_turn="Next turn",
    tip_next_turn="Point at the turn below",
    key_copy_answer="Copy",
    tip_copy_answer="Copy the answer pointed at, over SSH and in tmux too",
    key_copy_question="Copy question",
    tip_copy_question="Copy the question pointed at",
    key_retry="Retry",
    tip_retry="Send the question pointed at once more",
    key_edit_question="Edit",
    tip_edit_question="Put the question pointed at into the prompt, to change and send it",
    key_sources="Sources",
    tip_sources="Choose one of the FAQ entries behind the answer and read it",
    key_source="Open source",
    tip_source="Open the FAQ entry with that number",
    key_attach="Attach",
    tip_attach="Send a text file along with the question",
    key_detach="Detach",
    tip_detach="In an empty prompt, take away the file attached last",
    key_find="Find",
    tip_find="Find words in this and all other conversations",
    key_export="Export",
    tip_export="Write the conversation to a file, as Markdown or JSON",
    key_branch="Branch",
    tip_branch="Start a new session that goes on from the turn pointed at, or the last",
    copied="Copied: {count} characters.",
    nothing_to_copy="There is nothing to copy yet.",
    asked_with_files="with {name}, {lines} lines",
    question_cut="… and {count} more lines",
    key_next_question="Ask next",
    tip_next_question="Choose one of the related questions and ask it",
    suggestions="You may also want to ask",
    no_suggestions="No related questions are known for this answer.",
    no_sources="No FAQ entry stands behind this answer.",
    key_thumb_up="Good",
    tip_thumb_up="Thumbs up for the answer pointed at; once more takes it back",
    key_thumb_down="Bad",
    tip_thumb_down="Thumbs down for the answer pointed at; once more takes it back",
    thumb_up="You gave thumbs up",
    thumb_down="You gave thumbs down",
    thumb_failed="What you think of the answer was not stored.",
    nothing_to_rate="There is no finished answer here to give a thumb to.",
    branch_title="{title} (branch)",
    branched="This is a new session with the turns so far; the old one stays as it is.",
    branch_too_soon="This answer is not finished. Branch from it when it is.",
    branch_failed="The conversation was not branched.",
    decided_direct="the FAQ's own answer, no model",
    decided_no_answer="not covered by the FAQ",
    decided_person_asked="a person has been asked",
    decided_person="answered by a person",
    did_you_mean="Did you mean one of these? Pick it to ask it",
    source_gone="This entry is not in the FAQ any more. It read:",
    source_as_cited="As this entry read when the answer was made:",
    source_title="FAQ entry",
    source_phrasings="Also asked as:",
    attach_title="Attach a text file",
    attach_label="Path",
    attach_full="Not attached: at most {limit} files go with a question.",
    attach_missing="There is no such file. Check the path.",
    attach_not_a_file="That is a folder or a device, not a file. Name a file.",
    attach_unreadable="The file cannot be read. Check its permissions.",
    attach_too_large="Too large: a question with its files has at most {limit} characters.",
    attach_not_text="That is not a text file. Only text can be sent along.",
    attach_empty="The file is empty.",
    attachment="{name}, {lines} lines",
    attachments_hint="Ctrl+D in an empty prompt removes the last file",
    find_title="Find in conversations",
    find_placeholder="Words to find",
    find_hint="Type two letters or more; Enter opens what is chosen.",
    find_none="Nothing found.",
    find_found="Found: {count}",
    find_stopped="Found: {count}; these are the newest, there are more.",
    find_in_answer="answer",
    find_in_question="question",
    find_in_title="title",
    export_title="Export the conversation",
    export_label="File: .md for reading, .json for programs",
    export_done="Written: {path}",
    export_exists="That file exists already. Choose another name.",
    export_failed="The file could not be written: {reason}. Choose another place.",
    export_no_answer="No answer",
    export_partly="Reading the whole conversation…",
)

CHINESE: Final = ChatTexts(
    key_read="阅读",
    tip_read="转到对话，选中一轮问答并对其操作",
    key_previous_turn="上一轮",
    tip_previous_turn="选中上面的一轮问答",
    key_next_turn="下一轮",
    tip_next_turn="选中下面的一轮问答",
    key_copy_answer="复制",
    tip_copy_answer="复制所选回答，通过 SSH 和在 tmux 中也可以",
    key_copy_question="复制问题",
    tip_copy_question="复制所选问题",
    key_retry="重试",
    tip_retry="把所选问题再发送一次",
    key_edit_question="修改",
    tip_edit_question="把所选问题放回输入框，修改后再发送",
    key_sources="来源",
    tip_sources="选择回答所依据的问答并阅读",
    key_source="打开来源",
    tip_source="打开该编号的问答",
    key_attach="附件",
    tip_attach="随问题发送一个文本文件",
    key_detach="移除附件",
    tip_detach="在空的输入框中，移除最后附上的文件",
    key_find="查找",
    tip_find="在当前和所有会话中查找文字",
    key_export="导出",
    tip_export="把会话写入文件，Markdown 或 JSON 格式",
    key_branch="分支",
    tip_branch="从所选（或最后）一轮问答起另开一个会话",
    copied="已复制 {count} 个字符。",
    nothing_to_copy="还没有可复制的内容。",
    asked_with_files="附 {name}，{lines} 行",
    question_cut="…还有 {count} 行",
    key_next_question="追问",
    tip_next_question="选择一个相关问题并提问",
    suggestions="您可能还想问",
    no_suggestions="这个回答没有已知的相关问题。",
    no_sources="这个回答没有依据问答库。",
    key_thumb_up="点赞",
    tip_thumb_up="给所选回答点赞，再按一次则取消",
    key_thumb_down="点踩",
    tip_thumb_down="给所选回答点踩，再按一次则取消",
    thumb_up="您已点赞",
    thumb_down="您已点踩",
    thumb_failed="您对回答的评价未能保存。",
    nothing_to_rate="这里没有已完成的回答可供评价。",
    branch_title="{title}（分支）",
    branched="这是包含以上问答的新会话，原会话保持不变。",
    branch_too_soon="这个回答尚未完成，完成后才能从此处分支。",
    branch_failed="会话未能分支。",
    decided_direct="问答库原文，未经模型",
    decided_no_answer="问答库未涵盖此问题",
    decided_person_asked="已转交工作人员",
    decided_person="由工作人员答复",
    did_you_mean="您想问的是其中哪一个？选中即提问",
    source_gone="这条问答已不在问答库中，原文如下：",
    source_as_cited="生成回答时，这条问答的内容如下：",
    source_title="问答",
    source_phrasings="其他问法：",
    attach_title="附上文本文件",
    attach_label="路径",
    attach_full="未附上：一个问题最多附 {limit} 个文件。",
    attach_missing="没有这个文件，请检查路径。",
    attach_not_a_file="那是文件夹或设备，不是文件。请指定一个文件。",
    attach_unreadable="无法读取该文件，请检查权限。",
    attach_too_large="过大：问题连同文件最多 {limit} 个字符。",
    attach_not_text="那不是文本文件，只能附上文本。",
    attach_empty="文件是空的。",
    attachment="{name}，{lines} 行",
    attachments_hint="在空的输入框中按 Ctrl+D 移除最后一个文件",
    find_title="在会话中查找",
    find_placeholder="要查找的文字",
    find_hint="输入文字即可查找；按 Enter 打开所选的一项。",
    find_none="没有找到。",
    find_found="找到 {count} 处",
    find_stopped="找到 {count} 处；这些是最新的，还有更多。",
    find_in_answer="回答",
    find_in_question="问题",
    find_in_title="标题",
    export_title="导出会话",
    export_label="文件：.md 供阅读，.json 供程序使用",
    export_done="已写入 {path}",
    export_exists="该文件已存在，请换一个名字。",
    export_failed="无法写入文件：{reason}。请换一个位置。",
    export_no_answer="没有回答",
    export_partly="正在读取整个会话…",
)
