"""Texts of keeping the FAQ right: `texts.curate`."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class CurateTexts:
    """Questions without a good answer, and how they get one."""

    key_misses: str
    tip_misses: str
    key_promote: str
    tip_promote: str
    key_add_to_entry: str
    tip_add_to_entry: str
    key_dismiss: str
    tip_dismiss: str
    key_reopen: str
    tip_reopen: str
    key_next_state: str
    tip_next_state: str
    key_write_draft: str
    tip_write_draft: str

    busy: str

    miss_title_open: str
    miss_title_dismissed: str
    miss_title_promoted: str
    miss_asked: str
    miss_people: str
    miss_last: str
    miss_count: str
    miss_none_open: str
    miss_none_settled: str
    miss_said: str
    miss_no_match: str
    miss_thumbs_down: str
    miss_wordings: str
    miss_askers: str
    miss_told: str
    miss_untold: str
    miss_dismissed: str
    miss_reopened: str
    miss_promote_title: str
    miss_saved: str
    miss_saved_draft: str
    miss_pick_title: str
    miss_pick_none: str
    miss_added: str

    draft_writing: str
    draft_waiting: str
    draft_done: str
    draft_stopped: str
    draft_failed: str
    draft_not_empty: str
    draft_running: str


ENGLISH: Final = CurateTexts(
    key_misses="Misses",
    tip_misses="See questions that got no good answer, and make entries of them",
    key_promote="Make entry",
    tip_promote="Write an entry for these questions; those who asked are told",
    key_add_to_entry="Add to entry",
    tip_add_to_entry="Add the wordings to an entry that has the answer already",
    key_dismiss="Dismiss",
    tip_dismiss="Take these questions and what is asked like them out of the list",
    key_reopen="Bring back",
    tip_reopen="Put these questions back into the list of open ones",
    key_next_state="Other list",
    tip_next_state="Show open, dismissed or promoted questions",
    key_write_draft="Draft",
    tip_write_draft="Have the model write a draft of the answer from the FAQ",
    busy="One moment: the last step is still under way.",
    miss_title_open="Questions without a good answer",
    miss_title_dismissed="Dismissed questions",
    miss_title_promoted="Questions that became entries",
    miss_asked="Asked",
    miss_people="People",
    miss_last="Last",
    miss_count="Groups: {count}, the most asked first",
    miss_none_open="Nothing here: every question found an answer so far.",
    miss_none_settled="Nothing here.",
    miss_said="Asked: {count}, people who can be told: {people}, first {first}, last {last}",
    miss_no_match="without a fitting entry: {count}",
    miss_thumbs_down="thumbs down: {count}",
    miss_wordings="Wordings",
    miss_askers="Who asked",
    miss_told="Became an entry; those who asked were told.",
    miss_untold="Became an entry; those who asked are told once it is published.",
    miss_dismissed="Dismissed, with what is asked like it. “{question}” is in the list of "
    "dismissed ones.",
    miss_reopened="Back in the list of open questions: “{question}”",
    miss_promote_title="New entry from a missed question",
    miss_saved="Saved. Those who asked are told: {count}",
    miss_saved_draft="Saved as a draft. Those who asked are told once it is published: {count}",
    miss_pick_title="Which entry answers “{question}”?",
    miss_pick_none="No entry was found that could answer it. Make a new entry instead.",
    miss_added="The wordings were added to “{question}”. Those who asked are told: {count}",
    draft_writing="The model is drafting the answer. Typing into it stops the model.",
    draft_waiting="The model will write a draft of the answer when it has time; place {place}.",
    draft_done="A draft by the model: read it, mend it, then save.",
    draft_stopped="The draft was stopped. The text is yours now.",
    draft_failed="No draft: {reason} Write the answer yourself, or ask for a draft again.",
    draft_not_empty="The answer is not empty. Delete it first to have a draft written.",
    draft_running="Not saved: the draft is still being written. Wait for its end, or change it.",
)

CHINESE: Final = CurateTexts(
    key_misses="未答",
    tip_misses="查看没有得到好答案的问题，并据此建立问答",
    key_promote="建问答",
    tip_promote="为这些问题写一条问答；提问者会得到通知",
    key_add_to_entry="并入问答",
    tip_add_to_entry="把这些问法加到已有答案的问答里",
    key_dismiss="忽略",
    tip_dismiss="把这些问题和类似的提问移出列表",
    key_reopen="放回",
    tip_reopen="把这些问题放回待处理列表",
    key_next_state="换列表",
    tip_next_state="显示待处理、已忽略或已建成问答的问题",
    key_write_draft="草拟",
    tip_write_draft="让模型根据问答库草拟回答",
    busy="请稍候：上一步还在进行。",
    miss_title_open="没有得到好答案的问题",
    miss_title_dismissed="已忽略的问题",
    miss_title_promoted="已建成问答的问题",
    miss_asked="次数",
    miss_people="人数",
    miss_last="最近",
    miss_count="共 {count} 组，问得最多的在前",
    miss_none_open="这里是空的：到目前为止每个问题都找到了答案。",
    miss_none_settled="这里是空的。",
    miss_said="共问 {count} 次，可通知 {people} 人，最早 {first}，最近 {last}",
    miss_no_match="没有合适的问答：{count}",
    miss_thumbs_down="差评：{count}",
    miss_wordings="问法",
    miss_askers="提问者",
    miss_told="已建成问答，提问者已得到通知。",
    miss_untold="已建成问答，发布后会通知提问者。",
    miss_dismissed="已忽略，类似的提问也不再列出。“{question}”在已忽略列表中。",
    miss_reopened="已放回待处理列表：“{question}”",
    miss_promote_title="由未答问题新建问答",
    miss_saved="已保存。得到通知的提问者：{count} 人",
    miss_saved_draft="已保存为草稿。发布后将通知提问者：{count} 人",
    miss_pick_title="哪一条问答能回答“{question}”？",
    miss_pick_none="没有找到可以回答它的问答，请改为新建一条。",
    miss_added="问法已加到“{question}”。得到通知的提问者：{count} 人",
    draft_writing="模型正在草拟回答。在回答栏里输入即可让它停下。",
    draft_waiting="模型有空时会草拟回答；排在第 {place} 位。",
    draft_done="这是模型的草稿：请阅读、修改，然后保存。",
    draft_stopped="草拟已停止，文字现在归您。",
    draft_failed="没有草稿：{reason} 请自行撰写，或再次草拟。",
    draft_not_empty="回答不是空的。请先删去，再让模型草拟。",
    draft_running="未保存：草稿还在写。请等它写完，或者直接修改。",
)
