"""
What of the recordings of the real server the local one is compared with, and where it differs on purpose.

`python -m tests.local.fidelity` prints it as Markdown, for `docs/local-server-fidelity.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.local.told import COMPARED_HEADERS, TRANSCRIPTS, load

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "local-server-fidelity.md"

DEVIATIONS = {
    "calculator": "there is one plugin, a calculator, and it is used without a model's thoughts",
    "cut": "the recording holds only the beginning of the body",
    "disabled": "the chat cannot be switched off",
    "document": "there is no description of the API to be had",
    "elsewhere": "no other server is asked for a plugin, and the reason says so",
    "gzip": "nothing is compressed, nor are there ETags",
    "harm": "deleting a chat while it is answered does not abort the answers of others",
    "head": "the head of the answer to HEAD names a transfer encoding",
    "https": "the address begins with http, so that the cookie has no `__Secure-` in its name",
    "joined": "the text of a message is that of its tokens; a real worker has a say in both",
    "late": "the error was over before the recorder opened the stream, so that it saw nothing",
    "lost": "deleting a chat loses no other message",
    "one": "both servers are one, so that neither is there without the other",
    "operation": "the routes of those who run the server, /workers and /admin, are not there",
    "origin": "a page of another origin is not let in; the real servers let all in",
    "restart": "what was being written when the server was killed is aborted when it starts again with its store, "
    "instead of in progress for ever",
    "roles": "nobody has a role, so that nobody is banned",
    "safety": "no prompt is found unsafe",
    "signed": "every token has an expiry, be it never; there is none without one that could be refused",
    "stops": "the model stops within one token when the chat is deleted, and nobody hears what it would have said",
}
"""Where the local server differs, by a short name."""

ELSEWHERE = (
    "The rate limit is off unless it is set; the real server has 20 answers in 600 s.",
    "An answer that waited when the server was killed is written by the next one with the same store, "
    "unless it has waited too long by then. The real server's queue is in Redis, and may or may not be there.",
    "Counters of the queue begin with the server, and never drift.",
    "The request after a body of more than 1 MB is answered like any other; on the real website it fails after 6 s.",
    "A worker cannot be lost, and no answer with it: an error of the model ends its own answer only.",
    "A reader of the website that goes on after its client has left ends with the answer, "
    "when it can make no difference any more.",
    "The Host and the Origin of a request must be this machine's.",
    "Nobody signs in with Discord, GitHub or Google, and a debug login must be allowed.",
    "Prompts to the inference server may have 16 MB; the real one has no limit.",
    "There is no /metrics with numbers for those who run the server.",
    "The reason in a status line is HTTP's own, in the words of this Python; the website has some of its own, "
    "`400 Invalid JSON` and `413 Body exceeded 1mb limit`.",
)
"""Differences that no recording shows, or that are not compared."""

BOTH = (
    "account_delete",
    "assistant_message_errors",
    "assistant_message_ok",
    "create_chat",
    "create_chat_new_user",
    "delete_chat",
    "get_chat",
    "http_misc",
    "limit_message_length",
    "limit_model_not_allowed",
    "limit_rate",
    "limit_rate_counts_errors",
    "list_chats",
    "models_plugins",
    "prompter_message",
    "stream_accept_encoding",
    "stream_bad_targets",
    "stream_emoji_replacement_chars",
    "stream_empty_text",
    "stream_error_first",
    "stream_finished_message",
    "stream_general_error",
    "stream_http_methods",
    "stream_lorem_real_worker",
    "stream_mismatch",
    "stream_newlines",
    "stream_normal",
    "stream_safe_prompt",
    "stream_unicode",
    "stream_very_long_token",
    "stream_worker_dies",
    "update_chat",
    "vote_eval_report",
    "worker_dies_then_next_message",
)

REPLAYED = (
    *(f"{surface}/{name}" for name in BOTH for surface in ("inference", "website")),
    "inference/auth_bearer",
    "inference/auth_refresh",
    "inference/auth_trusted_client",
    "inference/hide_all",
    "inference/idle_worker_restarted",
    "inference/late2023_idle_worker_restarted",
    "inference/late2023_stream_normal",
    "inference/late2023_worker_dies_then_next_message",
    "website/auth_cookie",
)
"""The recordings whose requests are sent one after the other."""

SIDE_BY_SIDE = (
    "delete_chat_while_pending",
    "delete_chat_while_streaming",
    "message_states",
    "queue_position_expire",
    "stream_cancelled_by_other_request",
    "stream_cancelled_with_worker",
    "stream_disconnect_final_lost",
    "stream_disconnect_reconnect",
    "stream_disconnect_reconnect_fast",
    "stream_hang_in_progress",
    "stream_in_progress_not_cancelled",
    "stream_pending_forever_and_ping",
    "stream_pending_queue_positions",
    "stream_same_parent_not_cancelled",
    "stream_two_readers",
    "timeout",
    "timeout_nobody",
)

PERFORMED = (
    *(f"{surface}/{name}" for name in SIDE_BY_SIDE for surface in ("inference", "website")),
    "inference/late2023_delete_chat_while_streaming",
    "inference/late2023_disconnect_reconnect",
    "inference/late2023_two_readers",
    "inference/ping_sse_starlette_1_6_5",
    "inference/ping_sse_starlette_1_8_2",
)
"""Those in which streams go on side by side."""

OUTSIDE = {
    "inference/delete_chat_aborts_other_users": "harm",
    "inference/delete_chat_then_next_message_lost": "lost",
    "inference/server_killed_mid_stream": "restart",
    "inference/stream_plugin_intermediate": "calculator",
    "inference/stream_safe_prompt_forced": "safety",
    "website/auth_cookie_https_site": "https",
    "website/chat_disabled": "disabled",
    "website/delete_chat_aborts_other_users": "harm",
    "website/inference_down_behind_website": "one",
    "website/server_killed_mid_stream": "restart",
    "website/server_killed_stream_stays_open": "one",
    "website/stream_safe_prompt_forced": "safety",
}
"""The recordings that are not compared, with the name of the deviation."""

SKIPPED = {
    ("", "first message of 5000 chars: title is whole"): "cut",
    ("", "2 MB content (no limit by default)"): "cut",
    ("", "body over 1 MB (Next body parser)"): "cut",
    ("", "with Origin (CORS)"): "origin",
    ("", "CORS preflight"): "origin",
    ("", "the prompter message now has safety fields"): "safety",
    ("inference/prompter_message", "list"): "cut",
    ("inference/auth_bearer", "workers/sessions is open to all"): "operation",
    ("inference/auth_bearer", "token without exp"): "signed",
    ("inference/auth_refresh", "admin revokes"): "operation",
    ("inference/http_misc", "openapi"): "document",
    ("inference/models_plugins", "connection refused (3 tries)"): "elsewhere",
    ("website/auth_cookie", "banned"): "roles",
    ("website/auth_cookie", "assistant, banned"): "roles",
    ("website/auth_cookie", "cross-site Origin header, POST (no CSRF check on chat routes)"): "origin",
    ("website/auth_cookie", "OPTIONS preflight"): "origin",
    ("website/auth_cookie", "no User-Agent, no Accept"): "origin",  # lists the chat made there
    ("website/http_misc", "If-None-Match with the etag: 304"): "gzip",
    ("website/prompter_message", "list"): "cut",
    ("website/stream_http_methods", "HEAD"): "head",
    ("website/stream_error_first", "events"): "late",
    ("website/stream_error_first", "final message by REST"): "late",
    ("website/models_plugins", "with Accept-Encoding: gzip"): "gzip",
}
"""Steps that are not compared, by recording ("" being any) and label, with the name of the deviation."""

PARTLY = {
    "stream_emoji_replacement_chars": ("content", "joined"),
    "stream_mismatch": ("content", "joined"),
}
"""The fields that are not compared, by the recording's name on either server, and the name of the deviation."""

DIFFERENT = {
    "delete_chat_while_streaming": "stops",
    "late2023_delete_chat_while_streaming": "stops",
}
"""What else differs, by the recording's name on either server: tokens that are not compared."""


def recordings() -> list[str]:
    """All recordings, by surface and name."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in TRANSCRIPTS.glob("*/*.json"))


def reasons(name: str) -> list[str]:
    """The names of the deviations that a recording shows."""
    short = name.partition("/")[2]
    labels = {step.get("label") for step in load(name)["steps"]}
    found = {reason for (recording, label), reason in SKIPPED.items() if recording in ("", name) and label in labels}
    found |= {PARTLY[short][1]} if short in PARTLY else set()
    found |= {DIFFERENT[short]} if short in DIFFERENT else set()
    return sorted(found)


def written() -> str:
    """All this as Markdown."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "## What was compared"
    yield ""
    yield "| what was recorded | inference server | website |"
    yield "|---|---|---|"
    names = recordings()
    for short in sorted({name.partition("/")[2] for name in names}):
        cells = [_verdict(f"{surface}/{short}", names) for surface in ("inference", "website")]
        name = next(name for name in names if name.endswith(f"/{short}"))
        description = " ".join(load(name)["description"].split()).replace("|", "\\|")
        yield f"| {description} (`{short}`) | {cells[0]} | {cells[1]} |"
    yield ""
    yield "## Headers that are compared"
    yield ""
    for surface, headers in COMPARED_HEADERS.items():
        yield f"- {surface}: {', '.join(f'`{name}`' for name in headers)}"
    yield ""
    yield "## Deviations"
    yield ""
    for name, reason in DEVIATIONS.items():
        yield f"- `{name}`: {reason}"
    yield ""
    yield "## Deviations that are not compared"
    yield ""
    for reason in ELSEWHERE:
        yield f"- {reason}"


def _verdict(name: str, names: list[str]) -> str:
    if name not in names:
        return ""
    if name in OUTSIDE:
        return f"not compared: `{OUTSIDE[name]}`"
    if found := reasons(name):
        return "same, but for " + ", ".join(f"`{reason}`" for reason in found)
    return "same"


if __name__ == "__main__":
    print(written())
