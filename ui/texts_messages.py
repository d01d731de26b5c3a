"""Texts of the desk of messages that wait for their time: `texts.messages`."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class MessageTexts:
    """Messages to a person, sent by the operator, now or later."""

    key_show_messages: str
    tip_show_messages: str
    key_write_message: str
    tip_write_message: str
    key_withdraw_message: str
    tip_withdraw_message: str
    key_send_message: str
    tip_send_message: str

    title: str
    none: str
    count: str
    due: str
    sender: str
    message: str
    about: str
    urgent: str

    new_title: str
    text: str
    text_missing: str
    when: str
    when_now: str
    when_wrong: str
    calm: str
    at_once: str
    leaving: str
    delivered: str
    scheduled: str
    scheduled_quiet: str

    withdraw_title: str
    withdraw_body: str
    withdraw_yes: str
    withdrawn: str


ENGLISH: Final = MessageTexts(
    key_show_messages="Messages",
    tip_show_messages="See what waits to be delivered to the marked user, and write",
    key_write_message="Write",
    tip_write_message="Write a message, for now or for later",
    key_withdraw_message="Withdraw",
    tip_withdraw_message="Never deliver the marked message",
    key_send_message="Send",
    tip_send_message="Send it, or let it wait for its time",
    title="Messages to {uid} that wait",
    none="Nothing waits for {uid}. A writes a message, for now or for later.",
    count="Waiting for {uid}: {count}",
    due="Due",
    sender="From",
    message="Message",
    about="Due {due}, written {written} by {sender}",
    urgent="It does not wait for the end of quiet hours.",
    new_title="Message to {uid}",
    text="Text",
    text_missing="Write the message first.",
    when="When",
    when_now="now; or 08:30, or 2026-05-01 08:30",
    when_wrong="The time is like 08:30 or 2026-05-01 08:30, and is still to come.",
    calm="Not in quiet hours",
    at_once="In quiet hours too",
    leaving="The message was not sent.",
    delivered="The message is in the inbox of {uid}.",
    scheduled="The message waits until {due}.",
    scheduled_quiet="{uid} has quiet hours: the message waits until {due}.",
    withdraw_title="Withdraw this message?",
    withdraw_body="It is never delivered, and is gone. This cannot be undone.",
    withdraw_yes="Withdraw",
    withdrawn="The message is withdrawn.",
)

CHINESE: Final = MessageTexts(
    key_show_messages="定时消息",
    tip_show_messages="查看等待送达所选用户的消息，或写一条",
    key_write_message="写消息",
    tip_write_message="写一条消息，立即或稍后送达",
    key_withdraw_message="撤回",
    tip_withdraw_message="所选消息不再送达",
    key_send_message="发送",
    tip_send_message="发送，或等到指定时间",
    title="等待送达 {uid} 的消息",
    none="没有等待送达 {uid} 的消息。按 A 写一条，立即或稍后送达。",
    count="等待送达 {uid} 的消息 {count} 条",
    due="送达时间",
    sender="来自",
    message="消息",
    about="{due} 送达，{sender} 写于 {written}",
    urgent="免打扰时段内也会送达。",
    new_title="给 {uid} 的消息",
    text="内容",
    text_missing="请先填写内容。",
    when="时间",
    when_now="立即；或 08:30，或 2026-05-01 08:30",
    when_wrong="时间请写成 08:30 或 2026-05-01 08:30，并且尚未过去。",
    calm="避开免打扰时段",
    at_once="免打扰时段也送达",
    leaving="消息还没有发送。",
    delivered="消息已送达 {uid} 的消息箱。",
    scheduled="消息将于 {due} 送达。",
    scheduled_quiet="{uid} 正在免打扰时段：消息将于 {due} 送达。",
    withdraw_title="撤回这条消息？",
    withdraw_body="它将不再送达并被删除。此操作无法撤销。",
    withdraw_yes="撤回",
    withdrawn="消息已撤回。",
)
