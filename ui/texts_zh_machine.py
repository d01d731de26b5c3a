"""What the settings of the machine mean, in Chinese, by key: server, models, workers, store, log.

The English explanations come from the server; a key without a text here is shown with that one.
"""

from collections.abc import Mapping
from typing import Final

MACHINE: Final[Mapping[str, str]] = {
    "server.host": "监听的地址。除本机回环地址外，都需要打开 `insecure`。",
    "server.port": "监听的端口；0 表示自动选一个空闲端口。",
    "server.insecure": (
        "允许不用 TLS 监听非回环地址：密钥和回答会以明文经过网络。"
        "更好的做法是在回环地址前放一个带 TLS 的反向代理。"
    ),
    "server.allowed_hosts": (
        "除回环地址和 `host` 外，客户端可以使用的主机名。其他主机名一律拒绝，以防 DNS 重绑定攻击。"
    ),
    "server.body_limit_bytes": "请求正文的最大字节数；问答库导入另有上限。",
    "server.import_limit_bytes": "问答库导入文件的最大字节数。",
    "server.connections": "同时处理的请求数上限，包括打开的事件流；超出时回答 503。",
    "server.keep_alive_s": "空闲的事件流每隔多少秒发一次注释，以保持连接。",
    "models.directory": "权重存放的目录；空表示用户数据目录下的 `models`。",
    "models.chat": "对话模型：`sluice models list` 中的名称，或文件路径；空表示入门模型。",
    "models.embedding": (
        "向量模型：名称或文件路径；空表示入门模型。更换后，启动时会重新计算问答库的向量；"
        "完成之前条目只按词语查找，状态中显示还剩多少。"
    ),
    "models.lora": (
        "叠加在对话模型上的 LoRA 适配器（GGUF）："
        '[{ path = "/path/to/adapter.gguf", scale = 1.0 }]。'
    ),
    "models.more": "其他可按名称调用的对话模型的路径。上述目录中的模型不必列出即可调用。",
    "models.aliases": (
        "客户端习惯使用的名称，* 代表任意结尾：除非有同名模型，它们都指对话模型。"
        "其他未知名称一律拒绝。"
    ),
    "models.loaded_bound": (
        "同时加载的模型数上限，包括对话模型；1 表示不加载其他模型。每个模型还需要一个线程。"
    ),
    "models.memory_bound_mb": (
        "所有已加载模型的内存上限（MB）；0 表示整机内存。只有剩余内存足够时才会加载模型。"
    ),
    "models.idle_unload_s": "按需加载的模型，空闲这么多秒后卸载。",
    "models.retry_after_s": "某个模型加载失败后，这么多秒之内对它的请求会被拒绝。",
    "models.mirror": "下载镜像：用这个地址代替 HTTPS 下载地址的协议和主机部分。",
    "worker.engine": '"llama" 运行真正的模型；"fake" 是用于测试的、结果固定的回声。',
    "worker.count": (
        "对话模型的工作进程数，每个进程各有一份模型；0 表示每块 GPU 一个，没有 GPU 时一个。"
    ),
    "worker.slots": "一个工作进程同时回答的请求数。",
    "worker.context_tokens": "一个请求的提示词加回答的最大长度（词元）。",
    "worker.cache_tokens": "一个工作进程的 KV 缓存大小（词元），由它的所有槽位共用。",
    "worker.warm_sequences": (
        "一个工作进程中，已结束但内容仍留在 KV 缓存里的请求数，这样下一轮只需计算新的部分。"
    ),
    "worker.warm_tokens": (
        "这些请求最多占用的词元数。注意力也要扫过它们：在 CPU 上，2,048 个使每步慢二十分之一，"
        "12,288 个慢三分之一。更早的对话几毫秒内即可从磁盘恢复。"
    ),
    "worker.step_tokens": "引擎每一步处理的词元数：提示词片段加正在生成的回答。",
    "worker.snapshot_bytes": (
        "为离开 KV 缓存的对话保留的磁盘空间，重启后也不必重新计算就能继续；0 表示不保留。"
    ),
    "worker.conversation_bytes": (
        "一个工作进程中，为没有会话的对话（如每次都附带历史的程序）保留同样内容的内存："
        "最长一小时，从不写入磁盘；0 表示不保留，`snapshot_bytes` 为 0 时也不保留。"
    ),
    "worker.gap_ms": (
        "有回答正在生成时，提示词分段计算，使任何回答等待下一个词元的时间不会明显超过这个毫秒数；"
        "等待的提示词多于正在生成的回答时为两倍。分段越短，回答越流畅，但首字越慢："
        "在较慢的 CPU 上有十六人使用时，用 500 代替 1000 会损失七分之一的词元。"
    ),
    "worker.kept_pace": (
        "当近来用得少的人正在得到回答时，引擎时间的这一部分归他；用量超过他一半以上的人共用其余部分："
        "大量占用者只会拖慢自己。若其余部分不够每人每秒一个词元，则每三秒一个。"
        "如果步长随并发增加，吞吐量会下降：CPU 上四个槽位时约四分之一。"
        "如果优先者的速度不到全体的一半（GPU 上人少时常见），则每步大家都参加；0 表示总是如此。"
    ),
    "worker.draft_tokens": (
        "根据提示词猜测、并在一步中验证的回答词元数上限；0 表示从不猜测。无益时会自动停止。"
    ),
    "worker.threads": "所有工作进程的 CPU 线程总数；0 表示物理核心数。",
    "worker.gpu_layers": "放在 GPU 上的层数；-1 表示有 GPU 时能放多少放多少。",
    "worker.device": "只使用这一块 GPU，名称见 `sluice doctor`；空表示使用全部。",
    "worker.heartbeat_s": "工作进程每隔多少秒报告一次；空闲时间隔加倍。",
    "worker.lost_after_s": "这么多秒没有报告的工作进程视为已退出。",
    "worker.lease_s": (
        "工作进程这么多秒没有续约，就不能再写它所占的请求。"
        "至少为 `heartbeat_s` 的三倍，至多为 `lost_after_s`。"
    ),
    "worker.wedged_after_s": (
        "有任务却这么多秒没有前进一步（或超过其最长一步的四倍，取较大者）的工作进程会被终止并重新启动。"
    ),
    "worker.probe_idle_s": "空闲的引擎每隔多少秒试算一个词元。",
    "store.memory_mb": (
        "存储可用的最大内存（MB）。超出后不再接受新内容（507），已存的仍可读取；不会丢弃任何内容。"
    ),
    "store.fsync": (
        "已受理的内容何时写入磁盘。进程退出不会丢失任何内容；"
        '断电时，"everysec" 约丢失最后一秒，"always" 不丢失，但每次写入都要等待磁盘。'
    ),
    "external.redis_url": "空表示启动内置的 Valkey；否则为 redis://、rediss:// 或 unix:// 地址。",
    "external.milvus_uri": "空表示启动内置的 Milvus Lite；否则为 http(s)://主机:端口。",
    "external.milvus_token": "外部 Milvus 的令牌。",
    "supervision.start_timeout_s": "子进程这么多秒还未就绪，就会被重新启动。",
    "supervision.stop_timeout_s": "按顺序停止全部进程的总时限（秒）。",
    "supervision.drain_timeout_s": "停止时等待正在生成的回答的秒数。",
    "supervision.restarts": "子进程在时间窗内重启超过这个次数，就不再重启。",
    "supervision.restart_window_s": "时间窗（秒）；运行超过这段时间的子进程重新视为正常。",
    "log.level": "记录的最低级别：debug、info、warning 或 error。",
    "log.file_bytes": "日志文件达到这个字节数时轮换。",
    "log.files_kept": "保留的旧日志文件数。",
    "log.kept_lines": "为 GET /api/logs 在内存中保留的最近行数。",
    "ui.language": "终端界面的语言；空表示按系统语言。",
    "ui.theme": "终端界面的配色，dark 为深色，light 为浅色；也可在界面中按 F8 切换。",
}
