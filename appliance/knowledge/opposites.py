"""A guard between questions that share every word but one: open and close, 开户 and 销户.

Sentence models put opposites next to each other, for they are asked in the same places. So a
curated answer is never given directly, and a missed question never joins a group, when the one
names one side of a pair and the other only the other side, or when one of the two denies what the
other says.

A text that names both sides takes the one that its asking clause names ("I opened it by mistake,
how do I close it?"), and of those the one that is not over ("close what I opened"). Undoing goes
before what is undone: who cancels a booking names both. "Open or close" takes no side.
"""

import functools
import re

from appliance.knowledge.words import TEXTS_REMEMBERED, folded

_ON = r"(?:turn|switch)(?:s|es|ed|ing)?(?: (?!off\b)\w+){0,4} on"
_OFF = r"(?:turn|switch)(?:s|es|ed|ing)?(?: (?!on\b)\w+){0,4} off"
_SIGN = r"(?:log|sign)(?:s|g?ed|g?ing)?[ -]?"
_PAIRS = (
    (r"open(?:s|ed|ing)?", r"clos(?:e|es|ed|ing)"),
    (
        rf"activat\w*|enabl\w*|un(?:b?lock|freez)\w*|{_ON}",
        rf"deactivat\w*|disabl\w*|b?lock\w*|freez\w*|{_OFF}",
    ),
    (r"add(?:s|ed|ing)?|creat\w*", r"remov\w*|delet\w*"),
    (r"increas\w*|rais\w*|upgrad\w*", r"decreas\w*|reduc\w*|lower\w*|downgrad\w*"),
    (r"start\w*|begin\w*", r"stop\w*|end(?:s|ed|ing)?"),
    (r"deposit\w*|top(?:ping)? up", r"withdraw\w*"),
    (r"send\w*|sent", r"receiv\w*"),
    (r"buy\w*|bought", r"sell\w*|sold"),
    (r"before", r"after"),
    (r"arriv\w*|join(?:s|ed|ing)?", r"leav(?:e|es|ing)|depart\w*|quit\w*"),
    (rf"{_SIGN}(?:in|on)", rf"{_SIGN}(?:out|off)"),
    (r"check(?:s|ed|ing)?[ -]?in", r"check(?:s|ed|ing)?[ -]?out"),
    (r"install\w*", r"uninstall\w*"),
    (r"upload\w*", r"download\w*"),
    (r"import(?:s|ed|ing)?", r"export(?:s|ed|ing)?"),
    (r"connect(?:s|ed|ing)?", r"disconnect\w*"),
    (r"mut(?:e|es|ed|ing)", r"unmut\w*"),
    (r"show(?:s|n|ed|ing)?", r"hid(?:e|es|den|ing)"),
    (r"accept\w*|approv\w*", r"declin\w*|reject\w*|refus\w*"),
    (r"borrow\w*", r"return(?:s|ed|ing)?|give back"),
    (r"lost|lose|losing", r"f(?:ound|ind|inding)"),
)  # fmt: skip
_UNDOING = ((r"subscrib\w*|sign(?:ed|ing)? up|book\w*|reserv\w*", r"unsubscrib\w*|cancel\w*"),)
_CHINESE_PAIRS = (
    (
        "开户|开立|开设|开通|开启|打开|启用|激活|注册|开机|开门",
        "销户|关闭|关掉|关上|停用|注销|禁用|关机|关门",
    ),
    ("增加|提高|上调|添加|升级", "减少|降低|下调|删除|降级"),
    ("解冻|解锁", "冻结|锁定"),
    ("存款|存入|充值", "取款|取出|提现"),
    ("借入|借款|借用", "还款|归还"),
    ("买入|购买", "卖出|出售"),
    ("登录|登陆", "退出|登出"),
    ("加入|参加", "退出|离开"),
    ("连接|连上", "断开"),
    ("上传", "下载"),
    ("导入", "导出"),
    ("转入", "转出"),
    ("入住", "退房"),
    ("入职", "离职"),
    ("上班", "下班"),
    ("签到", "签退"),
    ("显示", "隐藏"),
    ("同意|接受|批准|允许", "拒绝|驳回|禁止"),
    ("开始", "结束|停止"),
    ("之前|以前", "之后|以后"),
    ("收款|收到", "付款|发送"),
)
_CHINESE_UNDOING = (
    ("订阅|预订|预定|预约|订购|报名|申请|开通|开启|打开|启用", "(?<!被)取消|退订|撤销|撤回"),
    ("绑定", "解绑|解除"),
    ("冻结|锁定|限制", "解冻|解锁|解除"),
)
_JOINED = r"\s*(?:\bor\b|\band\b|[/,、]|或者?|和|与|及|以及|还是|并)\s*"
_CLAUSE = re.compile(r"[^,.;!?。、]+")
_ASKING = re.compile(r"\b(?:how|what|where|when|who|can|could)\b|怎|如何|吗|能|可以|哪")
_OVER = re.compile(r"\b\w+ed\b")
_DENIAL = re.compile(
    r"\b(?:not|no|never|without|cannot|unable|(?:ca|wo|do|does|did|is|has|have)n['’]t)\b"
    r"|不(?!同|过|仅|久|少|错|好意思|小心|管|论|限|动产)|没|无法|未(?!来)"
)
_NO_DENIAL = re.compile(
    r"(.)[不没]\1|是否|能否|可否"
    r"|[对了]不起|差不多|说不定|不得[不已]|不锈|不粘|不干胶|不倒翁|不客气|不一样|不但|不只|不止"
    r"|不如|不然|不妨|不断(?![电网线货开供])|没关系|没问题"
)
"""Asking "can I or can I not", and words that hold a denial only as they are written."""


class _Pair:
    """Two sides by their words. With `undoes`, the other side is the undoing of the one."""

    def __init__(self, one: str, other: str, *, undoes: bool = False) -> None:
        self._one, self._other = re.compile(one), re.compile(other)
        self._joined = re.compile(rf"(?:{one}){_JOINED}(?:{other})|(?:{other}){_JOINED}(?:{one})")
        self._undoes = undoes

    def side(self, text: str) -> int:
        """1 for the one, -1 for the other, 0 for neither or both."""
        if not self._names_both(text):
            return self._named(text)
        if self._joined.search(text):
            return 0
        for narrowed in (asking := _asking_clause(text), _OVER.sub("", asking)):
            if not self._names_both(narrowed):
                return self._named(narrowed)
        return -1 if self._undoes else 0

    def _names_both(self, text: str) -> bool:
        return bool(self._one.search(text) and self._other.search(text))

    def _named(self, text: str) -> int:
        return bool(self._one.search(text)) - bool(self._other.search(text))


def _bounded(words: str) -> str:
    return rf"\b(?:{words})\b"


_ALL = (
    *(_Pair(_bounded(one), _bounded(other)) for one, other in _PAIRS),
    *(_Pair(_bounded(one), _bounded(other), undoes=True) for one, other in _UNDOING),
    *(_Pair(one, other) for one, other in _CHINESE_PAIRS),
    *(_Pair(one, other, undoes=True) for one, other in _CHINESE_UNDOING),
)


def are_opposite(question: str, phrasing: str) -> bool:
    """Whether the two may ask for opposite things, however near they are."""
    return take_sides(question, phrasing) or _denies(question) != _denies(phrasing)


def take_sides(question: str, phrasing: str) -> bool:
    """Whether the two name the two sides of a pair; what is denied does not matter."""
    return any(
        asked * told < 0 for asked, told in zip(_sides(question), _sides(phrasing), strict=True)
    )


@functools.lru_cache(maxsize=TEXTS_REMEMBERED)
def _sides(text: str) -> tuple[int, ...]:
    plain = folded(text)
    return tuple(pair.side(plain) for pair in _ALL)


@functools.lru_cache(maxsize=TEXTS_REMEMBERED)
def _denies(text: str) -> bool:
    return bool(_DENIAL.search(_NO_DENIAL.sub("", folded(text))))


def _asking_clause(text: str) -> str:
    """The last clause that asks, or the last one."""
    clauses: list[str] = _CLAUSE.findall(text)
    asking = [clause for clause in clauses if _ASKING.search(clause)]
    return (asking or clauses or [text])[-1]
