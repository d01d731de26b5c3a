"""What is known of a request before its answer, as numbers of comparable size.

The embedding of the question says what is asked and the words say in what form the answer is
wanted (a list, a story, one word). On 2,000 instructions in English and Chinese, half of them held
out, the two together order answers better than either alone: see `tests/bench/lengths.py`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]

EMBEDDING_WEIGHT = 3.0  # a unit vector's coordinates are small: this makes them count
WORD_WEIGHT = 1.5
ASKED_FOR = re.compile(r"\d{1,4}")
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
# Han characters are letters to `\b`: without a space between, "用python写" holds no such word.
BORDER = re.compile(rf"(?<={HAN.pattern})(?=[a-z])|(?<=[a-z])(?={HAN.pattern})")
FORMS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\bhow\b|怎么|如何|怎样",
        r"\bwhat\b|什么",
        r"\bwhy\b|为什么|为何",
        r"\bwhich\b|哪",
        r"\bwho\b|\bwhere\b|\bwhen\b|谁|何时|几点",
        r"\bexplain|解释|说明",
        r"\bdescribe|描述|介绍",
        r"\blist\b|列出|列举",
        r"\bwrite\b|\bcompose|写",
        r"\bgenerate|\bcreate|生成|创建|创作",
        r"\bsummar|总结|概括|摘要",
        r"\btranslat|翻译",
        r"\bclassif|\bcategor|分类|归类",
        r"\bessay|\barticle|\breport|文章|作文|报告",
        r"\bstory|\bpoem|\bdialogue|\bscript|故事|诗|对话|剧本",
        r"\bcode\b|\bfunction\b|\bprogram|\bpython\b|\bsql\b|代码|函数|程序",
        r"\bexample|\binstance|例子|示例|举例",
        r"\bsteps?\b|\bprocess\b|\brecipe|步骤|流程|食谱",
        r"\bsentence|句",
        r"\bwords?\b|\bterm\b|词",
        r"\bparagraph|段",
        r"\bbrief|\bshort\b|\bconcise|简短|简要|简洁",
        r"\bdetail|\bin depth|详细|具体",
        r"\bedit\b|\brewrite|\brephrase|\bparaphrase|改写|重写|编辑|修改",
        r"\bconvert|\btransform|转换|改成",
        r"\bcorrect|\bfix\b|\bgrammar|纠正|改正|语法",
        r"\bname\b|\bidentify|\bfind\b|找出|识别|指出|名称",
        r"\bgive\b|\bprovide|\bsuggest|给出|提供|建议",
        r"\bcompare|\bdifference|比较|区别|不同",
        r"\bcalculate|\bcompute|\bsolve|计算|求解|等于",
        r"\btrue or false|\byes or no|是否|对错",
        r"\bplan\b|\bstrategy|\bdesign|计划|方案|设计",
        r"\btitle|\bheadline|\bslogan|\btagline|标题|口号|题目",
        r"\btweet|\bcaption|\bmessage|推文|短信",
        r"\bemail|\bletter|\bspeech|邮件|信件|一封|演讲",
        r"\bhow many|\bhow much|\bhow old|\bnumber of|多少|几个|数量",
        r"\bsynonym|\bantonym|\brhyme|\bcapital\b|同义|近义|反义|首都",
        r"\bchoose|\bselect\b|\bpick\b|\bodd one|选择|挑选|选出",
        r"\bsort|\barrange|\breorder|\brank\b|排序|排列",
        r"\bone\b|\bsingle\b|\ba\b|一个|一种|一句",
        r"\banaly|\bdiscuss|\bevaluate|分析|讨论|评价|评估",
        r"\badvantage|\bbenefit|\bpros\b|优点|好处|利弊",
    )
)
WORD_FEATURES = 8 + len(FORMS)


@dataclass(frozen=True)
class Asked:
    """A request as far as it is known when its length is predicted.

    `vector` is the question's embedding, of length 1 (empty when there is none yet).
    `answer_chars` is the length of the curated answer that the model will probably quote, 0 for
    none. `habit` is how much longer than others' this person's answers have been, as a
    logarithm, 0 for an unknown person.
    """

    text: str
    vector: Sequence[float] = ()
    answer_chars: int = 0
    habit: float = 0.0


def features(asked: Asked, embedding_size: int) -> Vector:
    """Numbers of the request, shape (WORD_FEATURES + embedding_size,).

    A missing embedding counts as the middle of all embeddings. Raises nothing: a vector of another
    size is a missing one.
    """
    row = np.zeros(WORD_FEATURES + embedding_size, dtype=np.float32)
    low = asked.text.lower()
    words = BORDER.sub(" ", low)
    wanted = ASKED_FOR.search(low)
    row[:8] = (
        np.log1p(len(low)) - 4.0,
        np.log1p(low.count(" ")) - 2.5,
        "\n" in low,
        "?" in low or "？" in low,
        np.log1p(int(wanted[0])) if wanted else 0.0,
        HAN.search(low) is not None,
        np.log1p(asked.answer_chars),
        asked.habit,
    )
    row[8:WORD_FEATURES] = [form.search(words) is not None for form in FORMS]
    row[:WORD_FEATURES] *= WORD_WEIGHT
    if len(asked.vector) == embedding_size:
        row[WORD_FEATURES:] = asked.vector
        row[WORD_FEATURES:] *= EMBEDDING_WEIGHT
    return row
