"""The kinds of personal data that can be told from other text by their form.

Names and addresses are not among them: without a model they cannot be told apart reliably.
"""

from __future__ import annotations

import re

from tunewright.data.checks.identifiers import (
    has_identity_card_form,
    is_bank_card,
    is_credit_code,
    is_identity_card,
    is_old_identity_card,
)
from tunewright.data.checks.masking import Kind

_LOOK_BACK = 24
_DIGITS = r"[0-9０-９][-0-9０-９ ()（）.]{5,}[0-9０-９Xx]"
# A number that is said to be another thing: "订单号：13800138000".
_OTHER_NUMBER = re.compile(
    r"(?:(?:订单|运单|快递|物流|流水|发票|票据|型|货|批|文|案|案件|合同|编|条形?码|序列|档案|工|学|"
    r"受理|单|版本|备案|许可证|产品|商品)(?:号码?|编号|编码|代码)|单号|编号|第|订单|案号|文号|型号|快递|物流|"
    r"(?:order|invoice|tracking|serial|ticket|case|part|item|product|reference|version)"
    r"\s*(?:no\.?|number|id|code|\#)?|isbn|sku|https?://[^\s\u4e00-\u9fff]*)"
    r"\s*[:#为是]?\s*[\"'“「]?$",
    re.IGNORECASE,
)
_REACHES = re.compile(
    r"电话|手机|联系|致电|拨打|热线|传真|微信|phone|mobile|tel|call|whatsapp|contact", re.IGNORECASE
)
_AMOUNT = re.compile(r"\s*(?:元|圆|块|万|亿|美元|美金|人民币|欧元|吨|股|千克|公斤|平方|%|％)")
_IN_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s@/]*$", re.IGNORECASE)
# RFC 2606: names that belong to nobody.
_NOBODYS = re.compile(r"(?:^|[.@])(?:example\.(?:com|org|net|cn)|example|invalid|test|localhost)$")
_SERVICES = frozenset({"git", "noreply", "no-reply", "donotreply", "mailer-daemon"})
_NO_IDS = re.compile(
    r"(?:wechat|weixin|iphone|ipad|android|windows|alipay|taobao|request|https?|config|login)",
    re.IGNORECASE,
)
_STANDARD = re.compile(r"新(?:GB|DB|HB|JB|YY|QB|DL|HJ|SH|SN|TB)[0-9]")


def _before(match: re.Match[str]) -> str:
    start = match.start()
    return match.string[max(0, start - _LOOK_BACK) : start]


def _is_said_otherwise(match: re.Match[str]) -> bool:
    return _OTHER_NUMBER.search(_before(match)) is not None


def _digits(match: re.Match[str]) -> str:
    return re.sub(r"[^0-9A-Za-z]", "", match.group())


def _always(match: re.Match[str]) -> bool:
    return True


def _identity_card(match: re.Match[str]) -> bool:
    number = _digits(match)
    # With a wrong check character it is a slip of the pen, if the text says what it is.
    named = "身份证" in _before(match) or "证件" in _before(match)
    return is_identity_card(number) or (named and has_identity_card_form(number))


def _bank_card(match: re.Match[str]) -> bool:
    return is_bank_card(_digits(match)) and not _is_said_otherwise(match)


def _credit_code(match: re.Match[str]) -> bool:
    return is_credit_code(match.group()) and not _is_said_otherwise(match)


def _mobile(match: re.Match[str]) -> bool:
    if _AMOUNT.match(match.string, match.end()):
        return False
    return _REACHES.search(_before(match)) is not None or not _is_said_otherwise(match)


def _email(match: re.Match[str]) -> bool:
    name, _, host = match.group().lower().rpartition("@")
    if name in _SERVICES or _NOBODYS.search(host):
        return False
    # "https://user:password@host" is an address with a password in it.
    return _IN_ADDRESS.search(match.string[max(0, match.start() - 200) : match.start()]) is None


def _wechat(match: re.Match[str]) -> bool:
    value = match["value"]
    said = match["said"] is not None or any(character.isdigit() for character in value)
    return said and _NO_IDS.match(value) is None and not re.fullmatch(r"wx[0-9a-f]{16}", value)


def _plate(match: re.Match[str]) -> bool:
    body = re.sub(r"[^0-9A-Z]", "", match.group()[2:])
    digits = sum(character.isdigit() for character in body)
    return digits >= 3 and not _STANDARD.match(match.group())


def _old_identity_card(match: re.Match[str]) -> bool:
    return is_old_identity_card(match["value"])


def _landline(match: re.Match[str]) -> bool:
    return not _AMOUNT.match(match.string, match.end()) and not _is_said_otherwise(match)


def _kind_pattern(pattern: str, ignore_case: bool = True) -> re.Pattern[str]:
    return re.compile(pattern, re.VERBOSE | (re.IGNORECASE if ignore_case else re.NOFLAG))


_AREA = r"0(?:10|2[0-57-9]|[3-9][0-9]{2})"
_SAYS = r"\s*(?:[:=]|是|为|[(]|【|「)?\s*"

PERSONAL: tuple[Kind, ...] = (
    Kind(
        "identity card",
        {"en": "identity card", "zh": "身份证号"},
        _DIGITS,
        _kind_pattern(
            r"(?<![0-9A-Za-z])[1-9][0-9]{5}[\ -]?(?:18|19|20)[0-9]{6}[\ -]?[0-9]{3}[0-9X]"
            r"(?![0-9A-Za-z])"
        ),
        _identity_card,
    ),
    Kind(
        "identity card",
        {"en": "identity card", "zh": "身份证号"},
        _DIGITS,
        _kind_pattern(
            r"(?:身份证|证件)[^0-9\n]{0,12}(?P<value>(?<![0-9A-Za-z])[1-9][0-9]{14}(?![0-9A-Za-z]))"
        ),
        _old_identity_card,
    ),
    Kind(
        "credit code",
        {"en": "social credit code", "zh": "统一社会信用代码"},
        r"[1-9ANY][1-59][0-9]{6}[0-9A-Z]{10}",
        _kind_pattern(
            r"(?<![0-9A-Za-z])(?:1[1239]|2[19]|3[1-59]|4[19]|5[1239]|6[19]|7[129]|8[19]|9[1-3]|"
            r"A[19]|N[1239]|Y1)[0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}(?![0-9A-Za-z])",
            ignore_case=False,
        ),
        _credit_code,
        contact=True,
    ),
    Kind(
        "bank card",
        {"en": "bank card", "zh": "银行卡号"},
        _DIGITS,
        _kind_pattern(
            r"(?<![0-9A-Za-z._/=-])[34569][0-9]{3}(?:(?P<gap>[\ -])[0-9]{4}(?:(?P=gap)[0-9]{4})"
            r"(?:(?P=gap)[0-9]{1,4}){1,2}|[0-9]{12,15})(?![0-9A-Za-z])(?![.-][0-9])"
        ),
        _bank_card,
    ),
    Kind(
        "passport",
        {"en": "passport", "zh": "护照号"},
        r"护照|(?i:passport)",
        _kind_pattern(
            rf"(?:护照|passport)(?:\s*(?:号码?|no\.?|number|\#))?{_SAYS}"
            r"(?P<value>[A-Z]{0,2}[0-9]{7,9})(?![0-9A-Za-z])"
        ),
        _always,
    ),
    Kind(
        "e-mail",
        {"en": "e-mail", "zh": "邮箱"},
        r"[@＠]",
        _kind_pattern(
            r"(?<![0-9A-Za-z._%+-])[0-9A-Za-z][0-9A-Za-z._%+-]{0,62}[0-9A-Za-z_]"
            r"@(?:[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?\.){1,4}[A-Za-z]{2,12}"
            r"(?![0-9A-Za-z])"
        ),
        _email,
        contact=True,
    ),
    Kind(
        "mobile",
        {"en": "mobile number", "zh": "手机号"},
        _DIGITS,
        _kind_pattern(
            r"(?=[(+0-9])(?:(?<![0-9A-Z_*])|(?<=tel)|(?<=phone)|(?<=mobile)|(?<=vx)|(?<=wx))(?<![0-9][.-])"
            r"(?<![0-9]\ )(?:[(]?\+?(?:00)?86[)]?[\ -]?)?"
            r"1(?:3[0-9]|4[014-9]|5[0-35-9]|6[2567]|7[0-8]|8[0-9]|9[0-35-9])"
            r"(?P<gap>[\ -]?)[0-9]{4}(?P=gap)[0-9]{4}(?![0-9*])(?![.-][0-9])"
        ),
        _mobile,
        contact=True,
    ),
    Kind(
        "landline",
        {"en": "telephone number", "zh": "电话号码"},
        _DIGITS,
        _kind_pattern(
            rf"(?=[(0])(?<![0-9A-Z-])(?:[(]{_AREA}[)]\s?|{_AREA}\s?[-—－]\s?|"
            rf"(?:(?<=电话)|(?<=电话:)|(?<=座机)|(?<=座机:)|(?<=传真:)|(?<=热线:)){_AREA})[2-9][0-9]{{6,7}}"
            r"(?![0-9A-Z])(?!-[0-9]{5})"
        ),
        _landline,
        contact=True,
    ),
    Kind(
        "telephone",
        {"en": "telephone number", "zh": "电话号码"},
        _DIGITS,
        _kind_pattern(
            r"\b(?:tele)?(?:phone|call|tel|mobile|cell|fax|contact|text|whatsapp)\b[^0-9\n]{0,20}?"
            r"(?P<value>(?:\+?1[-.\ ]?)?(?:[(][2-9][0-9]{2}[)]\s?|[2-9][0-9]{2}[-.\ ])"
            r"[2-9][0-9]{2}[-.\ ][0-9]{4})(?![0-9])"
        ),
        _always,
        contact=True,
    ),
    Kind(
        "wechat",
        {"en": "WeChat id", "zh": "微信号"},
        r"(?:微信|威信|薇信|加[vV]|(?i:weixin|wechat|vx|wx|v信)).{0,8}[A-Za-z][-_A-Za-z0-9]{5}",
        _kind_pattern(
            r"(?:微信|威信|薇信|weixin|wechat|加\s?v|(?<![A-Z])(?:vx|wx|v信))"
            r"(?:\s*(?:id|号码?|账号|帐号))?(?P<said>\s*[:是为]|号)?\s*"
            r"(?P<value>(?<![A-Z])[A-Z][A-Z0-9_-]{5,19})(?![A-Z0-9_@./(=])"
        ),
        _wechat,
        contact=True,
    ),
    Kind(
        "qq",
        {"en": "QQ number", "zh": "QQ号"},
        r"(?:(?i:qq)|扣扣|企鹅).{0,6}[1-9１-９][0-9０-９]{4}",
        _kind_pattern(
            r"(?:(?<![A-Z])qq|扣扣|企鹅)(?:\s*(?:号码?|群号?|账号|帐号|id))?"
            rf"{_SAYS}(?P<value>[1-9][0-9]{{4,10}})(?![0-9A-Z@.])(?!\s*[元万亿人个名年])"
        ),
        _always,
        contact=True,
    ),
    Kind(
        "plate",
        {"en": "licence plate", "zh": "车牌号"},
        r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z].{0,2}[0-9A-Z]{4}",
        _kind_pattern(
            r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z]\s?[·•・.-]?\s?"
            r"(?:[DF][A-HJ-NP-Z0-9][0-9]{4}|[0-9]{5}[DF]|[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳])"
            r"(?![0-9A-Za-z])",
            ignore_case=False,
        ),
        _plate,
    ),
)
