"""What the server's errors about the FAQ and its files say, in Chinese; see `texts_zh_errors`."""

from collections.abc import Mapping
from typing import Final

from ui.texts_zh_errors import Said

_ENTRIES: Final[Mapping[str, Said]] = {
    "no_entry": Said("没有这条问答", "它可能已被删除。"),
    "no_version": Said("这个版本没有保留", "请从历史中选择其他版本。"),
    "entry_busy": Said("其他人正在修改同样的问答", "请再试一次。"),
    "entry_not_deleted": Said("这条问答没有被删除", "请在历史中选择要恢复的版本。"),
    "faq_full": Said("问答库最多 {bound} 条", "请删除一些，或调高 faq.entries_bound。"),
    "blank_field": Said("{field} 没有内容", "请填写。"),
    "too_long": Said("{field} 过长或过多：上限为 {bound}", "请缩短。"),
    "missing_field": Said("缺少 {field}", "请填写。"),
    "bad_field": Said("{field} 的内容不符合要求", "请改正这一项。"),
    "bad_language": Said("language 应为 zh、en、pt-BR 这样的代码，或留空"),
    "bad_state": Said("state 应为 published 或 draft"),
    "bad_moment": Said("{field} 应为日期或时间，如 2026-12-31 或 2026-12-31T18:00+08:00"),
    "no_such_day": Said("{field}：没有 {day} 这一天"),
    "period_reversed": Said("有效期的结束 {end} 不在开始 {begin} 之后", "请对调，或去掉一个。"),
    "bad_etag": Said("If-Match 无效", "请使用 GET 返回的 ETag。"),
    "no_miss": Said("没有这个未答问题", "它可能已被处理。"),
    "miss_promoted": Said("这个问题已经成为一条问答", "请直接修改那条问答。"),
    "miss_answered": Said("这个问题已有另一个回答", "要发送新的回答，请先重新打开它。"),
    "answer_or_entry": Said("需要一个回答，或指定已有的问答"),
    "empty_answer": Said("回答是空的", "请写下要给提问者看的内容。"),
    "opposite": Said("“{told}”与“{asked}”意思相反", "请分成两条问答。"),
    "no_regression": Said("没有这个已存问题"),
    "regressions_full": Said(
        "最多保存 {bound} 个问题", "请删除一些，或调高 curation.regressions_bound。"
    ),
    "faq_degraded": Said("问答库的检索受限", "请等索引完成后再试。"),
    "index_starting": Said("索引正在启动", "请稍候再试。"),
    "index_behind": Said("部分问答还在建立索引", "请稍候再试。"),
    "index_rebuilding": Said("正在为新的向量模型重建索引", "请稍候再试。"),
    "index_busy": Said("等待索引的请求太多", "请稍后再试。"),
    "index_failed": Said("向量索引出错", "详情见日志；若持续出错，请重启或重建索引。"),
    "index_slow": Said("检索超时", "请再试一次。"),
    "lost": Said("向量索引正在重启", "请稍候再试。"),
    "refused": Said("向量索引拒绝连接", "请稍候再试。"),
    "closed": Said("向量索引已关闭"),
    "timeout": Said("向量索引没有及时响应", "请稍后再试。"),
    "collection": Said("向量索引不完整", "请重建索引。"),
}

_FILES: Final[Mapping[str, Said]] = {
    "no_import": Said("没有这次导入", "只保留最近的若干次。"),
    "bad_file_type": Said("不认识这种文件", "可用的类型：{kinds}。"),
    "bad_line": Said("这一行无法读取"),
    "no_header": Said("没有表头：第一行应列出 {columns}"),
    "cell_count": Said("有 {cells} 个单元格，而表头有 {columns} 列"),
    "unknown_column": Said("未知的列 {column}；可用：{known}"),
    "column_twice": Said("列 {column} 出现了两次"),
    "no_column": Said("缺少列 {column}；各列以逗号分隔"),
    "not_csv": Said("从这里开始不是有效的 CSV，请检查引号"),
    "stray_text": Said("文字不属于任何问题；问题以“## ”开头"),
    "open_comment": Said("注释 <!-- 没有以单独一行的 --> 结束"),
    "unknown_note": Said("应为 {notes} 之一，后接冒号"),
    "bad_workbook": Said("不是可以读取的工作簿，或者过大；请存为不带密码的 .xlsx"),
    "error_cell": Said("有一个单元格含有错误值"),
    "not_utf8": Said("不是 UTF-8 文本，请以 UTF-8 保存"),
    "bad_id": Said("id 应为 1 到 63 个 a-z、0-9、- 和 _，且不是保留的名称"),
    "bad_version": Said("version 应为导出时写入的数字，或留空"),
    "same_as_line": Said("{field} 与第 {line} 行相同"),
    "too_many_rows": Said("文件超过 {bound} 条，这是上限"),
}

FAQ_ERRORS: Final[Mapping[str, Said]] = {**_ENTRIES, **_FILES}

CONFLICTS: Final[Mapping[str, Said]] = {
    "edited_since": Said("{id} 在导出之后已被修改"),
    "same_question": Said("将替换问题相同的 {id} 的内容"),
}
"""What a line of a file would change, by the kind of conflict."""

SHORTAGES: Final[Mapping[str, Said]] = {
    "entries_refused": Said("有些问答无法建立索引，详情见日志"),
    "no_embedding_worker": Said("向量模型尚未就绪"),
    "embedding_changed": Said("向量模型已更换，正在重建索引"),
    "store_away": Said("存储没有响应"),
}
"""Why the index gives less than it should, where `FAQ_ERRORS` has no sentence or another one."""
