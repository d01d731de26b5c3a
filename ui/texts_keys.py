"""Texts of the desk where keys of the API are made and revoked: `texts.keys`."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class KeyTexts:
    """Keys of people and services."""

    key_show_keys: str
    tip_show_keys: str
    key_create_key: str
    tip_create_key: str
    key_revoke_key: str
    tip_revoke_key: str
    key_create: str
    tip_create: str

    title: str
    none: str
    count: str
    name: str
    role: str
    person: str
    created: str
    until: str
    never: str
    expired: str
    role_admin: str
    role_service: str
    role_person: str
    may_admin: str
    may_service: str
    may_person: str
    about: str
    about_until: str
    about_expired: str

    new_title: str
    name_missing: str
    uid_missing: str
    uid_unneeded: str
    days: str
    days_unneeded: str
    days_wrong: str
    made_title: str
    made_body: str
    copied: str

    revoke_title: str
    revoke_body: str
    revoke_yes: str
    revoked: str

    refused: str
    refused_next: str
    refused_banner: str
    forbidden: str
    forbidden_next: str
    place_closed: str


ENGLISH: Final = KeyTexts(
    key_show_keys="Keys",
    tip_show_keys="See, make and revoke the keys of people and services",
    key_create_key="New key",
    tip_create_key="Make a key for a person or a service",
    key_revoke_key="Revoke",
    tip_revoke_key="Let nobody in with the marked key any more",
    key_create="Make",
    tip_create="Make the key and show it",
    title="Keys",
    none="No keys but the operator's own, which is in admin.key. A makes one.",
    count="Keys: {count}, and the operator's own, which is in admin.key",
    name="Name",
    role="Role",
    person="User",
    created="Made",
    until="Until",
    never="no end",
    expired="expired",
    role_admin="operator",
    role_service="service",
    role_person="person",
    may_admin="May do everything, as the operator may.",
    may_service="Asks and keeps profiles for anybody, writes into inboxes, reads the FAQ.",
    may_person="Sees and does only what is {uid}'s own: sessions, answers, profile, inbox.",
    about="{name}\n\n{may}\n\nMade {at}, id {id}",
    about_until="Lets in until {at}.",
    about_expired="Expired {at}: it lets nobody in any more. Make a new one and revoke this.",
    new_title="New key",
    name_missing="Give it a name, by which people know whose messages they are.",
    uid_missing="A person's key needs a user id: small letters, digits, - and _.",
    uid_unneeded="user id, for a person's key",
    days="Days",
    days_unneeded="days until it expires; empty: never",
    days_wrong="Days are a number from 1 to {most}, or nothing.",
    made_title="The new key of “{name}”",
    made_body="It is shown this once and nowhere kept: copy it now. Whoever has it is let in.",
    copied="Copied, if your terminal allows it; else mark it with the mouse.",
    revoke_title="Revoke this key?",
    revoke_body="Whoever uses “{name}” is let in no more, from now on. This cannot be undone.",
    revoke_yes="Revoke",
    revoked="“{name}” is revoked.",
    refused="The key has expired",
    refused_next="Ask the operator for a new key and start again with it.",
    refused_banner="This key has expired. Quit with Ctrl+Q, and start again with a new one.",
    forbidden="This key may not do that",
    forbidden_next="Ask the operator, who may.",
    place_closed="{place} is not for this key. Ask the operator for one that may use it.",
)

CHINESE: Final = KeyTexts(
    key_show_keys="密钥",
    tip_show_keys="查看、新建和吊销用户与服务的密钥",
    key_create_key="新建密钥",
    tip_create_key="为用户或服务新建一个密钥",
    key_revoke_key="吊销",
    tip_revoke_key="所选密钥从此不能再使用",
    key_create="新建",
    tip_create="新建密钥并显示出来",
    title="密钥",
    none="除管理员自己的密钥（在 admin.key 中）外没有密钥。按 A 新建。",
    count="密钥 {count} 个，另有管理员自己的密钥，在 admin.key 中",
    name="名称",
    role="角色",
    person="用户",
    created="创建时间",
    until="有效期至",
    never="不限",
    expired="已过期",
    role_admin="管理员",
    role_service="服务",
    role_person="个人",
    may_admin="可以做一切，与管理员相同。",
    may_service="可代任何人提问和维护资料，可向消息箱写入，可读取问答库。",
    may_person="只能查看和操作 {uid} 自己的会话、回答、资料和消息。",
    about="{name}\n\n{may}\n\n创建于 {at}，编号 {id}",
    about_until="有效期至 {at}。",
    about_expired="已于 {at} 过期，不能再使用。请新建一个，并吊销这个。",
    new_title="新建密钥",
    name_missing="请填写名称，人们凭它知道消息来自谁。",
    uid_missing="个人密钥需要用户编号：小写字母、数字、- 和 _。",
    uid_unneeded="用户编号，仅个人密钥需要",
    days="天数",
    days_unneeded="多少天后过期；不填则不过期",
    days_wrong="天数为 1 到 {most} 的数字，或不填。",
    made_title="“{name}”的新密钥",
    made_body="只显示这一次，也不会保存在任何地方：请立即复制。持有它的人即可使用。",
    copied="已复制（若终端允许）；否则请用鼠标选中。",
    revoke_title="吊销这个密钥？",
    revoke_body="使用“{name}”的人或程序从现在起不能再使用。此操作无法撤销。",
    revoke_yes="吊销",
    revoked="“{name}”已吊销。",
    refused="密钥已过期",
    refused_next="请向管理员索取新密钥，并用它重新启动。",
    refused_banner="此密钥已过期。请按 Ctrl+Q 退出，换用新密钥重新启动。",
    forbidden="此密钥不能这样做",
    forbidden_next="请联系管理员。",
    place_closed="此密钥不能使用“{place}”。如有需要，请向管理员索取另一个密钥。",
)
