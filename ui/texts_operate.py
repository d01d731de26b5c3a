"""Texts of the operator's screens and of the inbox: `texts.operate`."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class OperateTexts:
    """Models, people, logs, trends, and messages."""

    key_models: str
    tip_models: str
    key_people: str
    tip_people: str
    key_logs: str
    tip_logs: str
    key_inbox: str
    tip_inbox: str
    key_load_model: str
    tip_load_model: str
    key_unload_model: str
    tip_unload_model: str
    key_download: str
    tip_download: str
    key_edit_tags: str
    tip_edit_tags: str
    key_look_up: str
    tip_look_up: str
    key_level: str
    tip_level: str
    key_open_line: str
    tip_open_line: str
    key_open_message: str
    tip_open_message: str
    key_read_all: str
    tip_read_all: str

    key_palette: str
    tip_palette: str
    palette_title: str
    palette_hint: str
    palette_session: str
    trend_tokens: str
    trend_running: str
    trend_waiting: str
    worker_cache: str
    worker_warm: str
    worker_draining: str

    models_name: str
    models_state: str
    models_size: str
    models_memory: str
    models_count: str
    models_default: str
    models_fetch: str
    models_loading: str
    models_unload_title: str
    models_unload_body: str
    models_unload_yes: str
    model_absent: str
    model_on_disk: str
    model_loaded: str
    model_draining: str
    model_unloading: str
    model_failed: str

    people_uid: str
    people_waiting: str
    people_running: str
    people_look_up: str
    people_hint: str
    people_bad_uid: str
    people_tier: str
    people_tags: str
    people_no_tags: str
    tag_by: str
    tag_rule: str
    tag_job: str
    tag_registration: str
    people_unknown: str
    people_attributes: str
    people_no_attributes: str
    people_limits: str
    people_no_limits: str
    people_limit: str
    limit_requests: str
    limit_tokens: str
    limit_day: str
    people_concurrency: str
    people_tags_label: str
    people_tags_saved: str
    people_bad_tag: str

    logs_filter: str
    logs_time: str
    logs_level: str
    logs_from: str
    logs_message: str
    logs_count: str
    logs_none: str
    level_debug: str
    level_info: str
    level_warning: str
    level_error: str
    line_debug: str
    line_info: str
    line_warning: str
    line_error: str
    priority_person: str
    priority_service: str
    priority_background: str
    tier_standard: str

    inbox_empty: str
    inbox_count: str
    inbox_answer_ready: str
    inbox_answer_found: str
    inbox_question_waiting: str
    inbox_from: str
    inbox_new: str
    inbox_time: str
    inbox_message: str


ENGLISH: Final = OperateTexts(
    key_models="Models",
    tip_models="See, load and unload models",
    key_people="People",
    tip_people="See who asks, their tags and what is left of their limits",
    key_logs="Logs",
    tip_logs="Read the server's last log lines",
    key_inbox="Inbox",
    tip_inbox="Read messages to you",
    key_load_model="Load",
    tip_load_model="Load the model, so that the first question does not wait for it",
    key_unload_model="Unload",
    tip_unload_model="Give the model's memory back; asking for it loads it again",
    key_download="Download",
    tip_download="Fetch the weights of the marked model",
    key_edit_tags="Tags",
    tip_edit_tags="Change the tags of the person",
    key_look_up="Look up",
    tip_look_up="Go to the field for a user id",
    key_level="Level",
    tip_level="Show more or fewer kinds of lines",
    key_open_line="Open",
    tip_open_line="Show the whole line",
    key_open_message="Open",
    tip_open_message="Read the message, and go to the conversation it is about",
    key_read_all="All read",
    tip_read_all="Mark all messages as read",
    key_palette="Commands",
    tip_palette="Find anything one can do here by a part of its name, and every session",
    palette_title="Commands",
    palette_hint="Type a part of a name; Enter does it",
    palette_session="session",
    trend_tokens="Tokens/s",
    trend_running="Running",
    trend_waiting="Waiting",
    worker_cache="Cache",
    worker_warm="Warm",
    worker_draining="{id}, draining",
    models_name="Model",
    models_state="State",
    models_size="On disk",
    models_memory="In memory",
    models_count="Models: {count}, loaded: {loaded}, {memory} of memory",
    models_default="It answers when no other is asked for.",
    models_fetch="Its weights are not here: D fetches them, or `sluice models pull {name}`.",
    models_loading="loading, {percent} %",
    models_unload_title="Unload this model?",
    models_unload_body="“{name}” gives its memory back. The next question for it waits until it is "
    "loaded again.",
    models_unload_yes="Unload",
    model_absent="not here",
    model_on_disk="on disk",
    model_loaded="loaded",
    model_draining="finishing",
    model_unloading="unloading",
    model_failed="failed",
    people_uid="User",
    people_waiting="Waiting",
    people_running="Running",
    people_look_up="User id, Enter shows it",
    people_hint="Those who ask now are listed; look up anybody else by id.",
    people_bad_uid="A user id has small letters, digits, - and _ only.",
    people_tier="{uid}: tier {tier}, priority {priority}, weight {weight}",
    people_tags="Tags: {tags}",
    people_no_tags="No tags.",
    tag_by="{tag} (by {source})",
    tag_rule="a rule",
    tag_job="past questions",
    tag_registration="registration",
    people_unknown="Nothing is stored about {uid} yet.",
    people_attributes="Profile",
    people_no_attributes="The profile is empty.",
    people_limits="Limits",
    people_no_limits="Nothing limits this person but the queue.",
    people_limit="{name}: {left} of {limit} left; used {used}, held {reserved}; back in {reset}",
    limit_requests="Requests per minute",
    limit_tokens="Tokens per minute",
    limit_day="Tokens per day",
    people_concurrency="At most {count} at a time",
    people_tags_label="Tags, separated by commas",
    people_tags_saved="Tags saved. They count from the next session on.",
    people_bad_tag="A tag has at most {limit} characters, and no slash.",
    logs_filter="Only lines with these words",
    logs_time="Time",
    logs_level="Level",
    logs_from="From",
    logs_message="Message",
    logs_count="Lines: {count}, {level} and worse",
    logs_none="No lines.",
    level_debug="details",
    level_info="news",
    level_warning="warnings",
    level_error="errors",
    line_debug="debug",
    line_info="info",
    line_warning="warning",
    line_error="error",
    priority_person="person",
    priority_service="service",
    priority_background="background",
    tier_standard="standard",
    inbox_empty="No messages. Answers that became ready while you were away are told here too.",
    inbox_count="Messages: {count}, unread: {unread}",
    inbox_answer_ready="Your answer is ready: {text}",
    inbox_answer_found="There is an answer now: {text}",
    inbox_question_waiting="A question waits for a person to answer it: {text}",
    inbox_from="From",
    inbox_new="Message from {sender}: {text}",
    inbox_time="Time",
    inbox_message="Message",
)

CHINESE: Final = OperateTexts(
    key_models="模型",
    tip_models="查看、加载和卸载模型",
    key_people="用户",
    tip_people="查看谁在提问、其标签和剩余额度",
    key_logs="日志",
    tip_logs="查看服务器最近的日志",
    key_inbox="消息",
    tip_inbox="阅读发给您的消息",
    key_load_model="加载",
    tip_load_model="提前加载模型，第一个问题就不必等待",
    key_unload_model="卸载",
    tip_unload_model="释放模型占用的内存；再次提问时会重新加载",
    key_download="下载",
    tip_download="下载所选模型的权重",
    key_edit_tags="标签",
    tip_edit_tags="修改该用户的标签",
    key_look_up="查询",
    tip_look_up="转到用户编号输入框",
    key_level="级别",
    tip_level="显示更多或更少种类的日志",
    key_open_line="打开",
    tip_open_line="显示完整的一条",
    key_open_message="打开",
    tip_open_message="阅读消息，并转到相关的会话",
    key_read_all="全部已读",
    tip_read_all="把所有消息标为已读",
    key_palette="命令",
    tip_palette="按名称的一部分查找这里能做的一切，以及所有会话",
    palette_title="命令",
    palette_hint="输入名称的一部分，按 Enter 执行",
    palette_session="会话",
    trend_tokens="词元/秒",
    trend_running="运行中",
    trend_waiting="等待中",
    worker_cache="缓存",
    worker_warm="预热",
    worker_draining="{id}，排空中",
    models_name="模型",
    models_state="状态",
    models_size="磁盘",
    models_memory="内存",
    models_count="模型 {count} 个，已加载 {loaded} 个，占内存 {memory}",
    models_default="未指定模型时由它回答。",
    models_fetch="尚未下载：按 D 下载，或用 `sluice models pull {name}`。",
    models_loading="加载中，{percent} %",
    models_unload_title="卸载这个模型？",
    models_unload_body="“{name}”将释放内存。下一个用到它的问题要等它重新加载。",
    models_unload_yes="卸载",
    model_absent="未下载",
    model_on_disk="在磁盘上",
    model_loaded="已加载",
    model_draining="收尾中",
    model_unloading="卸载中",
    model_failed="失败",
    people_uid="用户",
    people_waiting="等待",
    people_running="运行",
    people_look_up="用户编号，按 Enter 显示",
    people_hint="列出的是正在提问的人；其他人可按编号查询。",
    people_bad_uid="用户编号只能包含小写字母、数字、- 和 _。",
    people_tier="{uid}：等级 {tier}，优先级 {priority}，权重 {weight}",
    people_tags="标签：{tags}",
    people_no_tags="没有标签。",
    tag_by="{tag}（来自{source}）",
    tag_rule="规则",
    tag_job="以往提问",
    tag_registration="注册信息",
    people_unknown="还没有 {uid} 的任何资料。",
    people_attributes="资料",
    people_no_attributes="资料为空。",
    people_limits="额度",
    people_no_limits="除排队外没有任何限制。",
    people_limit="{name}：剩余 {left} / {limit}；已用 {used}，预留 {reserved}；{reset}后全部恢复",
    limit_requests="每分钟请求",
    limit_tokens="每分钟词元",
    limit_day="每天词元",
    people_concurrency="同时最多 {count} 个",
    people_tags_label="标签，用逗号分隔",
    people_tags_saved="标签已保存，从下一个会话起生效。",
    people_bad_tag="标签最多 {limit} 个字符，且不能含斜杠。",
    logs_filter="只看包含这些文字的日志",
    logs_time="时间",
    logs_level="级别",
    logs_from="来源",
    logs_message="内容",
    logs_count="共 {count} 条，级别：{level}及以上",
    logs_none="没有日志。",
    level_debug="调试信息",
    level_info="信息",
    level_warning="警告",
    level_error="错误",
    line_debug="调试",
    line_info="信息",
    line_warning="警告",
    line_error="错误",
    priority_person="个人",
    priority_service="服务",
    priority_background="后台",
    tier_standard="标准",
    inbox_empty="没有消息。您离开期间完成的回答也会在这里告知。",
    inbox_count="消息 {count} 条，未读 {unread} 条",
    inbox_answer_ready="您的回答已完成：{text}",
    inbox_answer_found="现在有答案了：{text}",
    inbox_question_waiting="有一个问题等待人工答复：{text}",
    inbox_from="来自",
    inbox_new="来自 {sender} 的消息：{text}",
    inbox_time="时间",
    inbox_message="消息",
)
