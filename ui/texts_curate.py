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
    key_answer_miss: str
    tip_answer_miss: str
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
    key_send_answer: str
    tip_send_answer: str

    busy: str

    miss_title_open: str
    miss_title_dismissed: str
    miss_title_promoted: str
    miss_title_answered: str
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
    miss_answered: str
    miss_answering: str
    miss_waits: str
    miss_dismissed: str
    miss_reopened: str
    miss_promote_title: str
    miss_saved: str
    miss_saved_draft: str
    miss_answer_title: str
    miss_answer_note: str
    miss_answer_sure: str
    miss_answer_final: str
    miss_answer_leaving: str
    miss_sent: str
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

    key_checks: str
    tip_checks: str
    key_add_check: str
    tip_add_check: str
    key_save_check: str
    tip_save_check: str
    key_delete_check: str
    tip_delete_check: str
    key_run_checks: str
    tip_run_checks: str

    check_title: str
    check_result: str
    check_flipped: str
    check_passed: str
    check_failed: str
    check_not_asked: str
    check_none: str
    check_count: str
    check_last_run: str
    check_running: str
    check_ran: str
    check_goes_on: str
    check_expected: str
    check_found: str
    check_no_entry: str
    check_entry_gone: str
    check_flips: str
    check_flip: str
    check_add_title: str
    check_pick_title: str
    check_pick_no_entry: str
    check_saved_passed: str
    check_saved_failed: str
    check_delete_title: str
    check_delete_body: str
    check_delete_yes: str
    check_deleted: str
    cause_start: str
    cause_import: str
    cause_edit: str
    cause_asked: str
    cause_calibration: str
    cause_index: str
    cause_model: str
    cause_question: str

    key_import: str
    tip_import: str
    key_export: str
    tip_export: str
    key_dry_run: str
    tip_dry_run: str
    key_import_file: str
    tip_import_file: str

    import_title: str
    import_path: str
    import_hint: str
    import_looking: str
    import_line: str
    import_kind: str
    import_what: str
    import_at: str
    import_error: str
    import_edited_since: str
    import_same_question: str
    import_near: str
    import_near_line: str
    import_near_entry: str
    import_would: str
    import_mend: str
    import_ready: str
    import_nothing: str
    import_late_title: str
    import_late_body: str
    import_late_since: str
    import_late_yes: str
    import_storing: str
    import_done: str
    import_found: str
    export_title: str
    export_label: str
    export_writing: str
    export_unknown_kind: str

    key_deleted: str
    tip_deleted: str
    key_bring_back: str
    tip_bring_back: str

    deleted_title: str
    deleted_when: str
    deleted_count: str
    deleted_none: str
    deleted_back: str
    deleted_conflict: str


ENGLISH: Final = CurateTexts(
    key_misses="Misses",
    tip_misses="See questions that got no good answer, and make entries of them",
    key_promote="Make entry",
    tip_promote="Write an entry for these questions; those who asked are told",
    key_answer_miss="Reply",
    tip_answer_miss="Answer those who asked, without making an entry",
    key_add_to_entry="Add to entry",
    tip_add_to_entry="Add the wordings to an entry that has the answer already",
    key_dismiss="Dismiss",
    tip_dismiss="Take these questions and what is asked like them out of the list",
    key_reopen="Bring back",
    tip_reopen="Put these questions back into the list of open ones",
    key_next_state="Other list",
    tip_next_state="Show open, dismissed, promoted or answered questions",
    key_write_draft="Draft",
    tip_write_draft="Have the model write a draft of the answer from the FAQ",
    key_send_answer="Send",
    tip_send_answer="Send the answer to those who asked",
    busy="One moment: the last step is still under way.",
    miss_title_open="Questions without a good answer",
    miss_title_dismissed="Dismissed questions",
    miss_title_promoted="Questions that became entries",
    miss_title_answered="Questions that were answered without an entry",
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
    miss_answered="Answered without an entry; those who asked were told:",
    miss_answering="Answered without an entry; those who asked are being told:",
    miss_waits="waits",
    miss_dismissed="Dismissed, with what is asked like it. “{question}” is in the list of "
    "dismissed ones.",
    miss_reopened="Back in the list of open questions: “{question}”",
    miss_promote_title="New entry from a missed question",
    miss_saved="Saved. Those who asked are told: {count}",
    miss_saved_draft="Saved as a draft. Those who asked are told once it is published: {count}",
    miss_answer_title="An answer to those who asked",
    miss_answer_note="It goes to the inbox of those who asked, {count} in all, and into the "
    "conversations in which they were told that a person has been asked. The FAQ stays as it is.",
    miss_answer_sure="Send this answer?",
    miss_answer_final="It goes to those who asked, {count} in all, and cannot be called back.",
    miss_answer_leaving="What you wrote will be gone.",
    miss_sent="Sent. Those who asked are told: {count}",
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
    key_checks="Checks",
    tip_checks="See saved questions with the entry they should find, and what flipped",
    key_add_check="Add",
    tip_add_check="Save a question with the entry it should find",
    key_save_check="Save as check",
    tip_save_check="Have the question asked again after every change of the FAQ",
    key_delete_check="Remove",
    tip_delete_check="Ask this question no more",
    key_run_checks="Run now",
    tip_run_checks="Ask all of these questions now",
    check_title="Saved questions, asked again after every change",
    check_result="Result",
    check_flipped="Flipped",
    check_passed="passed",
    check_failed="FAILED",
    check_not_asked="not asked",
    check_none="Nothing is saved yet: press {key} here, or save a question you test.",
    check_count="Passed: {passed}, failed: {failed}",
    check_last_run="Passed: {passed}, failed: {failed}. Flipped at {when}, after {cause}: "
    "{flipped}",
    check_running="Asking… {asked} of {count}",
    check_ran="All were asked. Passed: {passed}, failed: {failed}, flipped: {flipped}",
    check_goes_on="Asked so far: {asked} of {count}. The rest goes on by itself; refresh with "
    "Ctrl+R.",
    check_expected="Should find: {entry}",
    check_found="Found at {when}: {entry}",
    check_no_entry="no entry",
    check_entry_gone="{id}, which is deleted",
    check_flips="Flips",
    check_flip="{when}, after {cause}: {was} → {now}; found {entry}",
    check_add_title="Save a question",
    check_pick_title="Which entry should “{question}” find?",
    check_pick_no_entry="No entry: the FAQ should not know it",
    check_saved_passed="Saved, and it passes now.",
    check_saved_failed="Saved. It fails now: another entry comes first, or none.",
    check_delete_title="Remove this question?",
    check_delete_body="“{question}” is not asked again after changes.",
    check_delete_yes="Remove",
    check_deleted="Removed.",
    cause_start="a start",
    cause_import="an import",
    cause_edit="an edit",
    cause_asked="being asked to",
    cause_calibration="a new calibration",
    cause_index="a new index",
    cause_model="another embedding model",
    cause_question="a new question",
    key_import="Import",
    tip_import="Take entries from a file, after a look at what that would do",
    key_export="Export",
    tip_export="Write every entry into a file which import takes back",
    key_dry_run="Look",
    tip_dry_run="See what the file would do; nothing is stored",
    key_import_file="Import",
    tip_import_file="Store the entries of the file that was looked at",
    import_title="Import entries from a file",
    import_path="Path of a .jsonl, .csv, .xlsx or .md file",
    import_hint="Enter shows what the file would do. Nothing is stored by that.",
    import_looking="Looking at the file…",
    import_line="Line",
    import_kind="Kind",
    import_what="What",
    import_at="Line {line}: {kind}",
    import_error="error",
    import_edited_since="edited since",
    import_same_question="same question",
    import_near="near",
    import_near_line="“{question}” means nearly the same as line {line}, “{other}”: {score}",
    import_near_entry="“{question}” means nearly the same as the entry “{other}”: {score}",
    import_would="New: {created}, changed: {updated}, unchanged: {unchanged}. Errors: {errors}, "
    "conflicts: {conflicts}, near: {duplicates}",
    import_mend="A file with errors is not taken. Mend its lines, then look again.",
    import_ready="Nothing is stored yet: Ctrl+S imports the file.",
    import_nothing="There is nothing to store: the FAQ says all of it already.",
    import_late_title="Replace newer edits?",
    import_late_body="Entries edited after this file was exported: {count}. Importing puts the "
    "file's text in their place; the edits stay in the history.",
    import_late_since="Somebody edited an entry of this file meanwhile. Importing puts the file's "
    "text in its place; the edit stays in the history.",
    import_late_yes="Replace",
    import_storing="Importing…",
    import_done="Imported. New: {created}, changed: {updated}, unchanged: {unchanged}",
    import_found="Found by meaning so far: {done} of {count}. This goes on when you leave.",
    export_title="Export all entries",
    export_label="File: .jsonl, .csv, .xlsx or .md",
    export_writing="Writing the file…",
    export_unknown_kind="The ending is not known. Use .jsonl, .csv, .xlsx or .md.",
    key_deleted="Deleted",
    tip_deleted="See deleted entries, and bring one back",
    key_bring_back="Bring back",
    tip_bring_back="Put the entry back into the FAQ as it was",
    deleted_title="Deleted entries",
    deleted_when="Deleted",
    deleted_count="Entries: {count}, the last deleted first",
    deleted_none="No deleted entry is remembered.",
    deleted_back="Back in the FAQ, as version {version}: “{question}”",
    deleted_conflict="Not brought back: somebody else changed the entry meanwhile. The list is as "
    "it is now.",
)

CHINESE: Final = CurateTexts(
    key_misses="未答",
    tip_misses="查看没有得到好答案的问题，并据此建立问答",
    key_promote="建问答",
    tip_promote="为这些问题写一条问答；提问者会得到通知",
    key_answer_miss="答复",
    tip_answer_miss="直接答复提问者，不建立问答",
    key_add_to_entry="并入问答",
    tip_add_to_entry="把这些问法加到已有答案的问答里",
    key_dismiss="忽略",
    tip_dismiss="把这些问题和类似的提问移出列表",
    key_reopen="放回",
    tip_reopen="把这些问题放回待处理列表",
    key_next_state="换列表",
    tip_next_state="显示待处理、已忽略、已建成问答或已答复的问题",
    key_write_draft="草拟",
    tip_write_draft="让模型根据问答库草拟回答",
    key_send_answer="发送",
    tip_send_answer="把答复发给提问者",
    busy="请稍候：上一步还在进行。",
    miss_title_open="没有得到好答案的问题",
    miss_title_dismissed="已忽略的问题",
    miss_title_promoted="已建成问答的问题",
    miss_title_answered="已直接答复的问题",
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
    miss_answered="已直接答复，提问者已得到通知：",
    miss_answering="已直接答复，正在通知提问者：",
    miss_waits="在等答复",
    miss_dismissed="已忽略，类似的提问也不再列出。“{question}”在已忽略列表中。",
    miss_reopened="已放回待处理列表：“{question}”",
    miss_promote_title="由未答问题新建问答",
    miss_saved="已保存。得到通知的提问者：{count} 人",
    miss_saved_draft="已保存为草稿。发布后将通知提问者：{count} 人",
    miss_answer_title="答复提问者",
    miss_answer_note="答复会发到 {count} 位提问者的收件箱；被告知已转交工作人员的，"
    "还会出现在其会话中。问答库保持不变。",
    miss_answer_sure="发送这条答复？",
    miss_answer_final="它会发给 {count} 位提问者，发出后无法收回。",
    miss_answer_leaving="已写的内容将会丢失。",
    miss_sent="已发送。得到通知的提问者：{count} 人",
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
    key_checks="校验",
    tip_checks="查看已保存的问题、应找到的问答，以及结果的变化",
    key_add_check="添加",
    tip_add_check="保存一个问题和它应找到的问答",
    key_save_check="存为校验",
    tip_save_check="问答库每次改动后都重新测试这个问题",
    key_delete_check="移除",
    tip_delete_check="不再测试这个问题",
    key_run_checks="立即测试",
    tip_run_checks="现在就测试全部问题",
    check_title="已保存的问题，每次改动后重新测试",
    check_result="结果",
    check_flipped="变化",
    check_passed="通过",
    check_failed="✗ 未过",
    check_not_asked="未测",
    check_none="还没有保存问题：在这里按 {key}，或在测试问题时保存。",
    check_count="通过 {passed}，未过 {failed}",
    check_last_run="通过 {passed}，未过 {failed}；{when} 因{cause}而变化的：{flipped}",
    check_running="正在测试… {asked}/{count}",
    check_ran="全部测试完毕。通过 {passed}，未过 {failed}，有变化 {flipped}",
    check_goes_on="已测试 {asked}/{count}。其余会自行继续；按 Ctrl+R 刷新。",
    check_expected="应找到：{entry}",
    check_found="{when} 找到：{entry}",
    check_no_entry="没有问答",
    check_entry_gone="{id}（已删除）",
    check_flips="变化",
    check_flip="{when}，因{cause}：{was} → {now}；找到 {entry}",
    check_add_title="保存一个问题",
    check_pick_title="“{question}”应找到哪一条？",
    check_pick_no_entry="没有：问答库不应有答案",
    check_saved_passed="已保存，目前通过。",
    check_saved_failed="已保存。目前未过：排在最前的是别的问答，或没有问答。",
    check_delete_title="移除这个问题？",
    check_delete_body="“{question}”以后改动时不再测试。",
    check_delete_yes="移除",
    check_deleted="已移除。",
    cause_start="启动",
    cause_import="导入",
    cause_edit="编辑",
    cause_asked="要求",
    cause_calibration="重新校准",
    cause_index="新的索引",
    cause_model="更换嵌入模型",
    cause_question="新的问题",
    key_import="导入",
    tip_import="从文件导入问答，先查看会有什么结果",
    key_export="导出",
    tip_export="把全部问答写入文件，可再导入",
    key_dry_run="查看",
    tip_dry_run="查看文件会带来什么；不会保存",
    key_import_file="导入",
    tip_import_file="保存已查看文件里的问答",
    import_title="从文件导入问答",
    import_path=".jsonl、.csv、.xlsx 或 .md 文件的路径",
    import_hint="按 Enter 查看文件会带来什么，此时不会保存。",
    import_looking="正在查看文件…",
    import_line="行",
    import_kind="类型",
    import_what="说明",
    import_at="第 {line} 行：{kind}",
    import_error="错误",
    import_edited_since="其间有改动",
    import_same_question="问题相同",
    import_near="相近",
    import_near_line="“{question}”与第 {line} 行“{other}”含义相近：{score}",
    import_near_entry="“{question}”与问答“{other}”含义相近：{score}",
    import_would="新增 {created}，改动 {updated}，不变 {unchanged}。错误 {errors}，"
    "冲突 {conflicts}，相近 {duplicates}",
    import_mend="有错误的文件不会被导入。请改正这些行，再查看一次。",
    import_ready="尚未保存：按 Ctrl+S 导入。",
    import_nothing="没有需要保存的内容：问答库里已经都有了。",
    import_late_title="替换较新的修改？",
    import_late_body="文件导出后又有修改的问答：{count} 条。导入会以文件内容替换；"
    "修改仍留在历史里。",
    import_late_since="其间有人修改了文件里的一条问答。导入会以文件内容替换；修改仍留在历史里。",
    import_late_yes="替换",
    import_storing="正在导入…",
    import_done="已导入。新增 {created}，改动 {updated}，不变 {unchanged}",
    import_found="已可按含义找到：{done}/{count}。离开后会继续。",
    export_title="导出全部问答",
    export_label="文件：.jsonl、.csv、.xlsx 或 .md",
    export_writing="正在写入文件…",
    export_unknown_kind="不认识这个扩展名。请使用 .jsonl、.csv、.xlsx 或 .md。",
    key_deleted="已删除",
    tip_deleted="查看已删除的问答，并可恢复",
    key_bring_back="恢复",
    tip_bring_back="把这条问答原样放回问答库",
    deleted_title="已删除的问答",
    deleted_when="删除时间",
    deleted_count="共 {count} 条，最近删除的在前",
    deleted_none="没有可恢复的已删除问答。",
    deleted_back="已放回问答库，成为版本 {version}：“{question}”",
    deleted_conflict="未恢复：其间有人改动了这条问答。列表已是最新。",
)
