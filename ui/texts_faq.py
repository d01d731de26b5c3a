"""Texts of trying a question on the FAQ, and of its older versions: `texts.faq`."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class FaqTexts:
    """What would happen to a question, and why; how an entry was before."""

    key_test_question: str
    tip_test_question: str
    key_history: str
    tip_history: str
    key_restore: str
    tip_restore: str

    test_title: str
    test_label: str
    test_hint: str
    test_asking: str
    test_empty: str
    test_direct: str
    test_did_you_mean: str
    test_compose: str
    test_no_answer: str
    test_undecided: str
    test_evidence: str
    test_evidence_unknown: str
    test_found: str
    test_found_none: str
    test_answer: str
    test_prompt: str
    role_system: str
    role_user: str
    role_assistant: str

    history_title: str
    history_version: str
    history_when: str
    history_current: str
    history_is_current: str
    history_deleted: str
    history_restored: str
    history_conflict: str
    editor_conflict: str
    editor_flips: str
    key_preview: str
    tip_preview: str
    preview_note: str
    form_kept: str
    demo_title: str
    demo_body: str


ENGLISH: Final = FaqTexts(
    key_test_question="Test",
    tip_test_question="See what would happen to a question: decision, scores and prompt",
    key_history="History",
    tip_history="See the older versions of the entry, and bring one back",
    key_restore="Restore",
    tip_restore="Make this text the newest version; the others stay in the history",
    test_title="Test a question",
    test_label="Question",
    test_hint="Enter shows what would happen to the question. No model is asked, nothing is kept.",
    test_asking="Trying…",
    test_empty="Type a question first.",
    test_direct="Direct: the first entry's answer is given as it is, without the model.",
    test_did_you_mean="Did you mean: the marked entries are offered to pick from.",
    test_compose="Compose: the model answers from the marked entries.",
    test_no_answer="No answer: no entry is close enough to count.",
    test_undecided="Nothing was decided.",
    test_evidence="Certainty {evidence}; from {bar} on the FAQ answers by itself.",
    test_evidence_unknown="Certainty {evidence}; from where on the FAQ could answer by itself is "
    "not known yet.",
    test_found="Closest entries: score, closeness in meaning, question",
    test_found_none="The FAQ has no entry that could be compared.",
    test_answer="What would be said",
    test_prompt="What the model would be told",
    role_system="system",
    role_user="user",
    role_assistant="assistant",
    history_title="Versions of “{question}”",
    history_version="Version",
    history_when="Written",
    history_current="{version}, in use",
    history_is_current="This version is in use already.",
    history_deleted="This entry is deleted. Restoring a version brings it back.",
    history_restored="Version {old} is back, as version {new}.",
    history_conflict="Not restored: somebody else edited the entry meanwhile. Their version is in "
    "the list now; look at it, then restore once more if you still want to.",
    form_kept="What you had begun to write is still there: open that form again.",
    demo_title="Load the demo FAQ into this one?",
    demo_body=(
        "This FAQ has entries. Those of the demo come beside them, are made up, and would be "
        "answered from at once."
    ),
    key_preview="Preview",
    tip_preview="Show the entry as it is read when it is opened from an answer",
    preview_note="As it will be read; it is not saved yet.",
    editor_conflict="Not saved: somebody else edited the entry meanwhile. It says now: "
    "“{question}” {answer} Your text is still here; save once more to replace theirs.",
    editor_flips="Not saved: {count} of the saved questions would no longer find what they should: "
    "{questions} Save once more to publish it all the same.",
)

CHINESE: Final = FaqTexts(
    key_test_question="测试",
    tip_test_question="查看一个问题会得到怎样的处理：判定、分数和提示词",
    key_history="历史",
    tip_history="查看这条问答的旧版本，并可恢复其中之一",
    key_restore="恢复",
    tip_restore="以这份文字作为最新版本；其他版本仍留在历史里",
    test_title="测试一个问题",
    test_label="问题",
    test_hint="按 Enter 查看这个问题会得到怎样的处理。不调用模型，也不保存。",
    test_asking="正在测试…",
    test_empty="请先输入一个问题。",
    test_direct="直接回答：原样给出第一条的回答，不经模型。",
    test_did_you_mean="请用户选择：列出带标记的问答供选择。",
    test_compose="组织回答：由模型根据带标记的问答作答。",
    test_no_answer="没有答案：没有足够接近的问答。",
    test_undecided="没有作出判定。",
    test_evidence="把握 {evidence}；达到 {bar} 时由问答库直接回答。",
    test_evidence_unknown="把握 {evidence}；达到多少可由问答库直接回答，目前还不知道。",
    test_found="最接近的问答：分数、含义相近程度、问题",
    test_found_none="问答库里没有可比较的问答。",
    test_answer="将给出的回答",
    test_prompt="将交给模型的提示词",
    role_system="系统",
    role_user="用户",
    role_assistant="助手",
    history_title="“{question}”的各个版本",
    history_version="版本",
    history_when="写入时间",
    history_current="{version}（当前）",
    history_is_current="这已经是当前版本。",
    history_deleted="这条问答已被删除，恢复任一版本即可找回。",
    history_restored="版本 {old} 的文字已恢复，成为版本 {new}。",
    history_conflict="未恢复：其间有人修改了这条问答。新版本已列出，请先查看，仍要恢复就再按一次。",
    form_kept="写到一半的内容还在：重新打开原来的表单即可。",
    demo_title="把示例问答载入这个问答库？",
    demo_body="问答库中已有内容。示例问答纯属虚构，会与现有问答并存，并立即用于回答。",
    key_preview="预览",
    tip_preview="按从回答中打开时的样子显示这条问答",
    preview_note="阅读时的样子；尚未保存。",
    editor_conflict="未保存：其间有人修改了这条问答，现在是：“{question}”{answer} "
    "您的文字仍在这里；再保存一次即替换对方的内容。",
    editor_flips="未保存：发布后有 {count} 个检查问题将找不到应有的条目：{questions}"
    "再保存一次即照样发布。",
)
