"""A guard between questions that share every word but one: open and close, 开户 and 销户.

Sentence models put opposites next to each other, for they are asked in the same places. So a
curated answer is never given directly when the question names one side of a pair and the phrasing
only the other, or when one of the two denies what the other says.
"""

import re

from appliance.knowledge.words import folded

_PAIRS = (
    (r"open(?:s|ed|ing)?", r"clos(?:e|es|ed|ing)"),
    (r"activat\w*|enabl\w*|un(?:b?lock|freez)\w*", r"deactivat\w*|disabl\w*|b?lock\w*|freez\w*"),
    (r"add(?:s|ed|ing)?|creat\w*", r"remov\w*|delet\w*"),
    (r"increas\w*|rais\w*|upgrad\w*", r"decreas\w*|reduc\w*|lower\w*|downgrad\w*"),
    (r"start\w*|begin\w*", r"stop\w*|end(?:s|ed|ing)?"),
    (r"deposit\w*|top(?:ping)? up", r"withdraw\w*"),
    (r"send\w*|sent", r"receiv\w*"),
    (r"buy\w*|bought", r"sell\w*|sold"),
    (r"subscrib\w*|sign up", r"unsubscrib\w*|cancel\w*"),
    (r"before", r"after"),
    (r"arriv\w*", r"leav\w*|depart\w*"),
    (r"log ?in|sign ?in", r"log ?out|sign ?out"),
    (r"install\w*", r"uninstall\w*"),
    (r"lost|lose|losing", r"f(?:ound|ind|inding)"),
)  # fmt: skip
_CHINESE_PAIRS = (
    ("开户", "销户"),
    ("开通|开启|打开|启用|激活", "关闭|停用|注销|禁用"),
    ("增加|提高|上调|添加", "减少|降低|下调|删除"),
    ("解冻|解锁|解除", "冻结|锁定"),
    ("存款|存入|充值", "取款|取出|提现"),
    ("借入|借款", "还款|归还"),
    ("买入|购买", "卖出|出售"),
    ("登录", "退出|登出"),
    ("入职", "离职"),
    ("上班", "下班"),
    ("订阅", "退订"),
    ("绑定", "解绑"),
    ("开始", "结束|停止"),
    ("之前|以前", "之后|以后"),
    ("收款|收到", "付款|发送"),
)
_DENIAL = re.compile(
    r"\b(?:not|no|never|without|cannot|can't|won't|don't|doesn't|didn't|isn't|hasn't|haven't|unable)\b"
    r"|不(?!同|过|仅|久|少|错|好意思)|没|无法|未"
)
_BOTH_WAYS = re.compile(r"(.)[不没]\1|是否|能否|可否")
_WORDS = [
    (re.compile(rf"\b(?:{one})\b"), re.compile(rf"\b(?:{other})\b")) for one, other in _PAIRS
] + [(re.compile(one), re.compile(other)) for one, other in _CHINESE_PAIRS]


def are_opposite(question: str, phrasing: str) -> bool:
    """Whether the two may ask for opposite things, however near they are."""
    asked, told = folded(question), folded(phrasing)
    for one, other in _WORDS:
        for here, there in ((one, other), (other, one)):
            if _only(here, there, asked) and _only(there, here, told):
                return True
    return _denies(asked) != _denies(told)


def _only(named: re.Pattern[str], opposite: re.Pattern[str], text: str) -> bool:
    return bool(named.search(text)) and not opposite.search(text)


def _denies(text: str) -> bool:
    """Asking "can I or can I not" denies nothing."""
    return bool(_DENIAL.search(_BOTH_WAYS.sub("", text)))
