"""What the server's errors say, in Chinese, by their `reason`; templates of their `facts`.

Here are those of requests, sessions, people, models and settings; `texts_zh_faq_errors` has those
of the FAQ. A sentence has no full stop, for what can be done next follows it; where nothing is
given for that, the `code` of the error says it (`error_*_next`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Said:
    """What happened, and what the person can do next."""

    what: str
    then: str = ""


_REQUESTS: Final[Mapping[str, Said]] = {
    "starting": Said("服务器正在启动或停止", "请稍候再试。"),
    "no_request": Said("没有这个请求", "已完成的请求只保留一段时间，对话内容仍在会话中。"),
    "request_ended": Said("这个请求已经结束", "无需再做任何事。"),
    "request_open": Said("这个回答还没有结束", "请等它结束后再试。"),
    "no_answer": Said("没有这个回答", "不属于会话的回答只保留一段时间。"),
    "reply_cut": Said("回答提前中断", "请再问一次。"),
    "still_cancelling": Said("还有一个回答正在取消", "请稍后再试。"),
    "caller_gone": Said("调用方已经断开", "请再问一次。"),
    "bad_event_id": Said("Last-Event-ID 无效", "请去掉它再试。"),
    "bad_cursor": Said("分页标记无效", "请从头重新读取。"),
    "malformed": Said("请求的格式不符：{detail}", "接口文档在 /schema。"),
    "no_route": Said("没有这个地址", "接口文档在 /schema。"),
    "no_method": Said("这个地址不支持这种操作", "接口文档在 /schema。"),
    "unsupported": Said("不支持这项功能", "请去掉后再试。"),
    "body_too_large": Said(
        "内容过大，上限为 {limit} 字节", "请减少内容，或调高 server 设置中的上限。"
    ),
    "bad_body_type": Said("不接受这种类型的内容", "可用的类型：{kinds}。"),
    "too_many_connections": Said("打开的连接太多", "请关闭一些，或调高 server.connections。"),
    "foreign_host": Said(
        "不能用这个主机名访问", "请用 127.0.0.1，或把它加入 server.allowed_hosts。"
    ),
    "foreign_origin": Said("不接受来自网页的请求", "请从程序中调用。"),
    "no_key": Said("需要有效的密钥", "管理员密钥在数据目录的 admin.key 文件中。"),
    "not_yours": Said("没有这个对象，或它不属于您", "个人密钥只能看到自己的内容。"),
    "operator_only": Said("只有管理员可以查看日志", "请使用 admin.key 中的密钥。"),
    "role_may_not": Said("角色为 {role} 的密钥不能这样做", "请联系管理员。"),
    "key_of_another": Said("这个密钥属于另一个人", "请去掉 uid。"),
    "too_many_users": Said("一次最多读取 {bound} 位用户", "请分几次读取。"),
    "internal": Said("服务器内部出错", "请再试一次；详情见日志，也可运行 sluice doctor。"),
    "assistant_last": Said("最后一条消息是助手的，无法接着它写", "请加上一条用户消息。"),
    "empty_message": Said("有一条消息没有内容", "请填写内容。"),
    "too_many_texts": Said("文本超过 {bound} 条", "请分几次发送。"),
    "no_json_schema": Said("response_format 中没有 json_schema", "请加上它，或使用 json_object。"),
    "grammar_and_schema": Said("语法和 JSON 模式不能同时使用", "请去掉其中一个。"),
    "logprobs_missing": Said("top_logprobs 需要 logprobs", '请加上 "logprobs": true。'),
    "grammar": Said("语法无法使用", "请检查语法（GBNF）后再试。"),
    "json_schema": Said("JSON 模式无法使用", "请简化模式，或改用 grammar。"),
    "context_overflow": Said("问题超出了模型的上下文长度", "请缩短问题。"),
    "store_away": Said("存储没有响应", "它会自动重启，请几秒后再试。"),
    "store_full": Said(
        "存储的内存或磁盘已满，不再接受新内容",
        "请清理磁盘，或调高 store.memory_mb 后重新启动；已存的内容仍可读取。",
    ),
    "no_dead_letter": Said("没有这个被放弃的请求", "它们只保留一段时间。"),
    "bad_lines": Said(
        "第 {line} 行有误，共 {count} 行有误；没有导入任何内容", "请改正后重新导入。"
    ),
}

_PEOPLE: Final[Mapping[str, Said]] = {
    "no_session": Said("没有这个会话", "请新建一个会话。"),
    "too_many_sessions": Said(
        "会话数已达上限 {bound}", "请删除一些会话，或调高 sessions.sessions_kept。"
    ),
    "no_turn": Said("会话中没有这一轮对话", "较早的对话可能已按设置删除。"),
    "open": Said("这一轮还在回答", "请等它结束，或从前一轮开始分支。"),
    "no_user": Said("没有用户 {uid}", "请先用 PUT /api/users/{uid} 创建。"),
    "no_tag": Said("该用户没有标签 {tag}"),
    "tags_full": Said("每位用户最多 {bound} 个标签", "请先去掉一些。"),
    "tags_taken_off": Said("从该用户去掉的标签太多", "请改为修改规则。"),
    "tag_of_operator": Said("这个标签由管理员设置", "请联系管理员去掉它。"),
    "own_tags": Said("不能给自己设置标签", "只能修改属性。"),
    "attributes_full": Said("每位用户最多 {bound} 个属性", "请先去掉一些。"),
    "no_attribute": Said("没有属性 {name}", "可用的属性见设置 people.attributes。"),
    "bad_attribute": Said("属性 {name} 不能取这个值", "可选：{values}。"),
    "attribute_of_operator": Said("属性 {name} 由管理员设置"),
    "key_uid": Said("个人密钥必须有 uid，其他密钥不能有 uid"),
    "keys_full": Said("密钥数已达上限 {bound}", "请删除一些，或调高 people.keys_bound。"),
    "no_key_of_id": Said("没有这个密钥", "它可能已被撤销。"),
    "no_fragment": Said("没有提示词片段 {name}"),
    "fragments_full": Said(
        "提示词片段数已达上限 {bound}", "请删除一些，或调高 people.fragments_bound。"
    ),
    "message_moving": Said("这条消息正在移动", "请再发送一次。"),
    "idempotency_key": Said("这个幂等键已用于另一条消息", "请为每条消息使用不同的键。"),
    "no_message": Said("没有这条等待发送的消息", "它可能已经送达。"),
    "inbox_per_minute": Said("本分钟已写 {bound} 条消息，达到上限", "请稍后再写。"),
    "inbox_full": Said("收件箱已满", "请等对方阅读一些消息，或调高 inbox 设置中的上限。"),
    "bad_quiet_hours": Said("{hours} 不是有效的免打扰时段", "写法如 22:00-07:00，空表示没有。"),
    "bad_timezone": Said("没有时区 {zone}", "写法如 Asia/Shanghai，空表示服务器的时区。"),
    "deliver_too_late": Said("定时的时间太远", "上限见设置 inbox.kept_days。"),
    "would_expire": Said("消息会在送达之前过期", "请推迟过期时间。"),
}

_MACHINE: Final[Mapping[str, Said]] = {
    "model_changing": Said("正在换用另一个模型", "请等它就绪。"),
    "model_fixed": Said("模型已在命令行中指定", "请去掉该参数重新启动，再在这里选择。"),
    "no_model": Said("没有名为 {name} 的模型", "可用的模型见 F5。"),
    "no_embedding_model": Said("没有名为 {name} 的向量模型"),
    "same_model_name": Said("有两个模型同名：{names}", "请给其中一个文件改名。"),
    "weights_missing": Said("本机没有 {name} 的权重", "请先下载。"),
    "no_model_file": Said("找不到模型文件 {path}", "请改正设置 models.more。"),
    "chat_model_stays": Said("对话模型不能卸载", "可在设置 models.chat 中更换。"),
    "model_not_loaded": Said("{name} 没有加载"),
    "model_in_use": Said("有 {count} 个请求正在使用 {name}", "请等它们结束，或取消它们。"),
    "no_room": Said(
        "{name} 约需 {need} GB 内存，现有 {free} GB 可用",
        "请选择较小的模型，调低 worker.cache_tokens，或释放内存。",
    ),
    "no_disk_room": Said("磁盘上放不下 {name}", "请先清理磁盘。"),
    "models_lacking": Said(
        "模型还没有准备好", "下载完成后再试；管理员可在首次设置中选择或继续下载。"
    ),
    "not_downloaded": Said("模型没有下载成功", "请运行 sluice models pull 重试。"),
    "load_failed": Said("模型无法加载", "请选择其他模型，或联系管理员。"),
    "downloading": Said("{name} 正在下载", "请先暂停，或等它完成。"),
    "download": Said("无法从 {host} 取得文件", "请检查网络后继续下载；已下载的部分仍保留。"),
    "not_at_source": Said("{host} 上没有这个文件", "请检查设置 models.mirror，或从文件导入。"),
    "checksum": Said(
        "文件与登记的校验和不符",
        "请稍后再试，更换 models.mirror，或换一个文件导入。",
    ),
    "disk": Said(
        "磁盘空间不足：需要 {need} GB，可用 {free} GB",
        "请清理磁盘，或把 models.directory 设到更大的磁盘。",
    ),
    "pip": Said(
        "无法从 Python 软件包索引取得文件", "请检查网络和 pip 的设置后继续下载，或从文件导入。"
    ),
    "download_unwritten": Said("无法写入文件（{why}）", "请解决后继续下载。"),
    "being_fetched": Said("另一个进程正在下载这个文件", "请等它完成，或先暂停。"),
    "no_file": Said("没有文件 {path}", "请检查路径。"),
    "file_unread": Said("无法读取文件（{why}）", "请解决后再试。"),
    "unwritable_file": Said("无法写入 {path}（{why}）", "请选择您有权写入且空间足够的文件夹。"),
    "bad_address": Said("{address} 不是可以下载的地址", "请检查设置 models.mirror。"),
    "not_a_file": Said("{path} 不是文件", "请给出 GGUF 文件的路径。"),
    "linked_file": Said("{path} 是链接，只能读取真实的文件", "请给出链接指向的路径。"),
    "unsound_weights": Said(
        "{file} 不是完整有效的 GGUF 文件", "请重新下载，或换用该模型的另一个转换版本。"
    ),
    "bad_weights_name": Said(
        "“{name}”不能用作权重的名称", "请使用小写字母、数字、点、横线和下划线，不带 .gguf。"
    ),
    "weights_name_taken": Said("名称 {name} 已被其他权重使用", "请换一个名称。"),
    "weights_open_to_all": Said(
        "本机上的任何人都能修改 {directory} 中的权重", "请收紧该目录的权限，或换一个目录。"
    ),
    "no_archive": Said("{path} 不是 Sluice 写出的文件", "请换一个文件。"),
    "damaged_archive": Said("{path} 已损坏", "请换一个副本。"),
    "newer_archive": Said("{path} 由更新的 Sluice {version} 写成", "请用那个版本读取。"),
    "another_archive": Said("{path} 是另一种文件", "请换一个文件。"),
    "appliance_silent": Said("正在运行的 Sluice 没有响应", "请稍后再试。"),
    "no_download": Said("没有正在进行的下载", "请先开始下载。"),
    "library_broken": Said("推理库无法启动", "请运行 sluice devices 查看原因，或重新安装。"),
    "embedding_silent": Said("向量模型没有响应", "请运行 sluice doctor 检查。"),
    "no_embedding_worker": Said("没有正在运行的向量模型", "请稍后再试。"),
    "embedding_changed": Said("向量模型刚刚更换", "请再试一次。"),
    "not_embeddable": Said("这些文本无法转换成向量"),
    "no_setting": Said("没有名为 {name} 的设置", "是否指 {near}？"),
    "unknown_key": Said("设置文件中有未知的键 {key}", "是否指 {near}？否则请删除这一行。"),
    "bad_setting": Said("{key} 不能取这个值，应为 {wanted}", "请按说明填写。"),
    "no_choice": Said("{key} 没有这个选项", "请选择说明中列出的值。"),
    "not_toml": Said("这个值的写法不对", '请写数字、true 或 false，或 ["a", "b"] 这样的列表。'),
    "settings_not_toml": Said("设置文件不是有效的 TOML", "请改正或删除这个文件。"),
    "settings_not_written": Said("无法写入 {path}", "请检查所在目录和磁盘。"),
    "by_hand": Said("无法自动修改 {path} 中的 {name}", "请手工修改这个文件。"),
    "edited_since": Said("其间已被修改", "请重新读取后再改。"),
    "child_exists": Said("同名的子进程已经存在"),
    "child_needed": Said("其他部分还需要它"),
    "no_child": Said("没有这个子进程"),
    "address": Said("服务器地址或密钥的格式不对", "地址的形式如 http://127.0.0.1:8400。"),
    "bad_answer": Said("无法理解服务器的回答", "本程序与服务器的版本可能不同。"),
}

ERRORS: Final[Mapping[str, Said]] = {**_REQUESTS, **_PEOPLE, **_MACHINE}

FAILED: Final[Mapping[str, Said]] = {
    "deadline": Said("回答没有在时限内完成", "请再问一次。"),
    "engine_error": Said("模型在回答时出错", "请再问一次；若再次出错，请运行 sluice doctor。"),
    "no_room": Said("模型的缓存放不下这个请求", "请缩短问题，或稍后再试。"),
    "worker_lost": Said(
        "回答这个请求时工作进程多次退出", "请换个问法；管理员可在 /api/dead-letters 查看。"
    ),
    "internal": Said("内部出错", "请再问一次；详情见日志。"),
}
"""How an answer under way failed, where that means something else than as the answer to a call."""
