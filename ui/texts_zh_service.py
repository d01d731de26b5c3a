"""What the settings of the service mean, in Chinese, by key: who is let in, what is told, the FAQ,
the inbox and the people. `texts_zh_machine` has the other ones.
"""

from collections.abc import Mapping
from typing import Final

SERVICE: Final[Mapping[str, str]] = {
    "limiter.tiers": (
        "按用户类别的限额，每类一个表 [[limiter.tiers]]，含 `name`，以及下列任意几项：weight、"
        "requests_per_minute、tokens_per_minute、tokens_per_day、concurrency、"
        "waiting（0 表示 queue_bound_per_user）、priority（person、service、background）、"
        "generation。"
        "带有标签 “tier:gold” 的用户属于 gold 类，其他人都属于 “standard”，"
        "除非这里写明，否则没有限额。"
    ),
    "limiter.generation_sessions": (
        "会话中的消息如何受理。service：公平排队。window：用户立即用完每分钟次数，之后等到这一分钟结束。"
        "bucket：同类的所有用户一起等待每分钟的配额。tier：由用户类别决定。"
    ),
    "limiter.generation_v1": "对 /v1 的调用如何受理，取值同上。",
    "limiter.half_life_s": "用户得到过的服务，经过这么多秒后只按一半计算。",
    "limiter.age_s": "等待的请求每过这么多秒升高一级。",
    "limiter.shortest_first": "同一用户的请求中，预计最短的先处理。",
    "limiter.kept_share": (
        "所有槽位的这一部分（两个以上时至少一个）不给占用很多槽位的人，让新来的人可以立即开始。"
        "这一部分越大，每一步中同行的请求越少：个人的回答更快，人多时总体更慢；0 表示不保留。"
    ),
    "limiter.embed_timeout_s": "受理时，为判断长度所需的向量最多等待的秒数。",
    "limiter.lease_s": "同一存储上有多个限流器时由一个做主；它崩溃后，过这么多秒由下一个接手。",
    "limiter.queue_bound": "等待中的请求总数上限。",
    "limiter.queue_bound_per_user": "每位用户等待中的请求数上限。",
    "limiter.news_interval_s": "等待的人最多每隔多少秒得知一次新的位次。",
    "limiter.reconcile_interval_s": "限流器每隔多少秒与存储核对一次。",
    "limiter.no_worker_after_s": "这么多秒没有任何工作进程存活时，以 503 拒绝。",
    "limiter.rule_file": (
        "您自己的规则：一个含有 decide(request, view) 的 Python 文件的路径，先于内置规则询问；"
        "它得知什么、可以回答什么，见 appliance/limiter/rule.py。它在单独的进程中运行。"
        "空表示只用内置规则。"
    ),
    "limiter.rule_timeout_s": "规则超过这么多秒就会被终止，由内置规则决定。",
    "limiter.rule_pause_s": "规则连续失败三次后，停用这么多秒。",
    "placement.policy": (
        "hybrid：总代价最小的工作进程，计入其缓存中已有的提示词，但不选明显落后的。"
        "cost：只看代价。pull：任意空闲的。运行中可以更改：PUT /api/placement。"
    ),
    "placement.lease_s": "负责分配的循环崩溃后，下一个在这么多秒后接手。",
    "placement.answer_timeout_s": "这么多秒内没有得到分配的请求，交给任意空闲的工作进程。",
    "placement.hold_s": (
        "所有工作进程都有足够的提示词要计算时，最多 16 个请求会等待第一个有空位的，最长这么多秒。"
    ),
    "placement.stall_s": "有任务却这么多秒没有消息的工作进程，不再得到新任务。",
    "requests.deadline_s": "请求经过这么多秒后结束，包括等待时间。",
    "requests.reply_ttl_s": "已完成的回答可以重新读取的秒数。",
    "requests.attempts": "使这么多个工作进程退出的请求会被放弃。",
    "requests.dead_letters_kept": "最多保留多少个这样被放弃的请求。",
    "requests.dead_letter_ttl_s": "每个被放弃的请求保留的秒数。",
    "requests.defaults.temperature": "选择词元的随机程度；0 表示总取最可能的。",
    "requests.defaults.top_k": "只保留最可能的这么多个词元；0 表示全部。",
    "requests.defaults.top_p": "其中只保留概率合计达到这个值的最可能的词元。",
    "requests.defaults.min_p": "其中只保留概率不低于最可能者的这个比例的词元。",
    "requests.defaults.repeat_penalty": "大于 1 时，出现过的词元更少出现；1 表示关闭。",
    "requests.defaults.presence_penalty": "从出现过的词元的 logit 中减去的值。",
    "requests.defaults.frequency_penalty": "词元每出现一次，从其 logit 中减去的值。",
    "requests.defaults.seed": "种子相同则结果相同；不设则每次重新抽取。",
    "requests.defaults.max_tokens": "回答的最大长度（词元）。",
    "requests.defaults.stop": "回答在这些词之前结束。",
    "sessions.turns_kept": "每个会话保留的轮数。",
    "sessions.sessions_kept": "每位用户的会话数上限；达到后不能再新建。",
    "sessions.history_chars": "放在问题之前的历史对话的字符数。放不下时，一次去掉较早的一半。",
    "sessions.kept_days": "早于这么多天的对话轮次和闲置这么多天的会话会被删除；0 表示全部保留。",
    "sessions.titles": (
        "没有标题的会话在第一次回答后的名称：问题的前几个词（“words”），"
        "或由模型空闲时拟定（“model”）。"
    ),
    "sessions.search_turns": "一次搜索最多查看一个人的多少轮对话。",
    "prompt.system": "系统提示词，对所有人相同。",
    "faq.matches": "放在问题之前的问答条数上限。",
    "faq.floor": (
        "问法太少、还无法学习时，相似度低于这个值的问答不算相符。"
        "无关的文本低于 0.35。问题与问答的语言不同时，取它的 0.6 倍。"
    ),
    "faq.direct": (
        "何时不用模型、直接给出问答的回答。exact：问题就是它的一个问法。"
        "calibrated：还包括逐个试问问答库自己的问法后，得知这类回答的错误不超过百分之一的情况。"
        "off：从不。"
    ),
    "faq.did_you_mean": "第一条只是猜测时，最多给出三条供选择。",
    "faq.no_answer": (
        "没有相符的问答时。model：由模型回答，并标明不在问答库中。say_so：告知没有答案。"
        "person：问题进入未答问题，由问答库的管理者回答，回答送到提问者的收件箱和会话。"
    ),
    "faq.persons": "no_answer 为 “person” 时，有问题开始等待人工回答，就在收件箱中通知这些用户。",
    "faq.entries_bound": "问答条数上限。",
    "faq.retrieval_timeout_s": "回答等待检索的最长秒数。",
    "inbox.bound": (
        "为一个人保留的消息数上限。超出时，最早的已读或已过期消息先删除；全部未读时拒绝新消息。"
    ),
    "inbox.scheduled_bound": "每个人等待定时发送的消息数上限。",
    "inbox.kept_days": "消息最迟在这么多天后过期。",
    "inbox.per_minute": "一个发送者每分钟可写的消息数上限；0 表示不限。",
    "inbox.quiet_hours": (
        "消息暂不送达的时段，如 “22:00-07:00”；空表示没有。"
        "个人的属性 quiet_hours 对其本人优先。紧急消息不等待。"
    ),
    "inbox.timezone": (
        "免打扰时段所用的时区，如 “Asia/Shanghai”；空表示本机时区。个人的属性 timezone 优先。"
    ),
    "inbox.left_after_s": "回答完成后这么多秒无人阅读，就通知提问者。",
    "inbox.related": "回答之后最多给出的相关问题数。",
    "curation.history_kept": "每条问答保留的旧版本数。",
    "curation.deleted_kept": "还能恢复的已删除问答数。",
    "curation.imports_kept": "还能查看的历史导入次数。",
    "curation.near_score": "与新问答的相似度不低于这个值的问答会在结果中列出，因为内容可能相同。",
    "curation.near_lines": "试导入时，文件中最多有多少行这样比较。",
    "curation.misses_kept": "保留的没有好答案的问题组数。",
    "curation.miss_score": "相似度不低于这个值的未答问题归为一组。",
    "curation.askers_kept": "每组中有答案时会得到通知的人数。",
    "curation.regressions_bound": "每次更改后重新提问的已存问题数上限。",
    "people.attributes": (
        "人员的属性，每个一个表 [[people.attributes]]，含 `name`，以及任意几项："
        "values（只允许这些值）、"
        "told（false 表示不告诉模型）、own（true 表示本人可用自己的密钥设置）。"
        "一个也不列时，接受任何名称。"
    ),
    "people.rules": (
        "由属性得出的标签，每个一个表 [[people.rules]]，含 `tag`、`attribute`，"
        "还可以有 `values`，属性须为其中之一。"
    ),
    "people.tagging": (
        "模型空闲时，是否阅读以往的问题，并加上词表中明显合适的标签。任何人都可以把它们永久去掉。"
    ),
    "people.tagging_after": "给一个人回答这么多次之后，模型再看一次。",
    "people.vocabulary": (
        "模型可以加上的标签，每个一个表 [[people.vocabulary]]，含 `tag` 和 `meaning`。"
        "用户类别从不在其中。"
    ),
    "people.keys_bound": "人员和服务的 API 密钥数上限（/api/keys）。",
    "people.fragments_bound": "提示词片段数上限（/api/fragments）。",
    "people.fragments_chars": "一个提示词中片段的最大字符数；最后的片段会被省去。",
}
