"""A question: a prompt and the options of its answer, checked as far as possible without the server."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oa_client._values.argument import did_you_mean, show
from oa_client._values.errors import ConfigurationError
from oa_client._values.options import AnswerOptions, merge_options
from oa_client._values.plugin import Plugin
from oa_client._values.sampling import Sampling

Messages = str | Sequence[Mapping[str, Any]]

#: The roles in `messages`; "prompter" is the wire's word for a user.
ROLES = ("system", "user", "assistant", "prompter")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Question:
    """
    A prompt, and the options of its answer; None fields are left out.

    Before the client sends it, it names a model, and no preset or plugin by name.
    """

    prompt: str
    model: str | None
    sampling: Sampling | Mapping[str, Any]
    plugins: Sequence[Mapping[str, Any] | str]
    system_prompt: str | None = None
    user_profile: str | None = None
    response_instructions: str | None = None

    def to_json(self, parent_id: str) -> dict[str, Any]:
        """Return the body of the request for an answer, without the chat's id."""
        texts = {
            "system_prompt": self.system_prompt,
            "user_profile": self.user_profile,
            "user_response_instructions": self.response_instructions,
        }
        return {
            "parent_id": parent_id,
            "model_config_name": self.model,
            "sampling_parameters": self.sampling.to_json() if isinstance(self.sampling, Sampling) else self.sampling,
            "plugins": list(self.plugins),
            **{name: text for name, text in texts.items() if text is not None},
        }


def read_options(options: AnswerOptions, defaults: AnswerOptions | None = None) -> Question:
    """Check the options of an answer without a prompt; arguments and errors are those of `read_question`."""
    return _make_question("", merge_options(options, defaults or {}))


def read_question(messages: Messages, options: AnswerOptions, defaults: AnswerOptions | None = None) -> Question:
    """
    Check the arguments of a user and return the question.

    Args:
        messages: the prompt, or a conversation.
        options: for this answer.
        defaults: for options that are not given.

    Raises:
        ConfigurationError: names the argument and what is wrong with it.
        TypeError: as `merge_options`.
    """
    given = merge_options(options, defaults or {})
    prompt, system_prompt = read_messages(messages, options.get("system_prompt"))
    if system_prompt is not None:
        given["system_prompt"] = system_prompt
    return _make_question(prompt, given)


def _make_question(prompt: str, given: AnswerOptions) -> Question:
    check_name("model", given.get("model"))
    for name in ("system_prompt", "user_profile", "response_instructions"):
        check_text(name, given.get(name))
    return Question(
        prompt,
        given.get("model"),
        _read_sampling(given.get("sampling")),
        _read_plugins(given.get("plugins")),
        system_prompt=given.get("system_prompt"),
        user_profile=given.get("user_profile"),
        response_instructions=given.get("response_instructions"),
    )


def format_prompt(messages: Sequence[tuple[str, str]]) -> str:
    """Flatten (role, content) pairs into one prompt: the API takes no answers from clients."""
    if len(messages) == 1:
        return messages[0][1]
    return "\n".join([*(f"{role.capitalize()}: {content}" for role, content in messages), "Assistant:"])


def read_messages(messages: Any, system_prompt: str | None) -> tuple[str, str | None]:
    """
    Check the user's messages and return the prompt and the system prompt.

    Raises:
        ConfigurationError: names the argument and what is wrong with it.
    """
    check_text("system_prompt", system_prompt)
    if not isinstance(messages, Sequence) or isinstance(messages, (bytes, bytearray)):
        raise ConfigurationError(
            f"messages must be a string or a list of {{'role', 'content'}}, not {type(messages).__name__}"
        )
    if messages and all(isinstance(item, Mapping) and "type" in item and "role" not in item for item in messages):
        # The parts of one message, without its role.
        messages = _join_parts("messages", messages)
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
        names = ["messages"]
    else:
        names = [f"messages[{index}]['content']" for index in range(len(messages))]
    if not messages:
        raise ConfigurationError("messages is empty: there is nothing to answer")
    pairs = [_read_message(index, item, name) for index, (item, name) in enumerate(zip(messages, names, strict=True))]
    if pairs[0][0] == "system":
        if len(pairs) == 1:
            raise ConfigurationError("messages has only a system message: add one with the role 'user'")
        if system_prompt is not None:
            raise ConfigurationError("system_prompt is given and messages starts with a system message: choose one")
        system_prompt = pairs.pop(0)[1]
    return format_prompt(pairs), system_prompt


def read_any_messages(messages: Any) -> list[tuple[str, str]]:
    """
    Check messages with any roles, as the gpt4free provider takes them, and return (role, content) pairs.

    Raises:
        ConfigurationError: names what is wrong.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes, bytearray)) or not messages:
        raise ConfigurationError("messages must be a list of {'role', 'content'}, and not empty")
    pairs = [_read_message(index, item, f"messages[{index}]['content']", None) for index, item in enumerate(messages)]
    if len(pairs) == 1:
        _check_not_empty("messages[0]['content']", pairs[0][1])
    return pairs


def _read_message(index: int, item: Any, name: str, roles: Sequence[str] | None = ROLES) -> tuple[str, str]:
    if not isinstance(item, Mapping) or not {"role", "content"} <= item.keys():
        raise ConfigurationError(f"messages[{index}] must be a mapping with 'role' and 'content'")
    role, content = item["role"], item["content"]
    if roles is None:
        check_text(f"messages[{index}]['role']", role)
    elif role not in roles:
        raise ConfigurationError(f"messages[{index}]['role'] is unknown: {show(role)}{did_you_mean(role, ROLES)}")
    content = _join_parts(name, content)
    if roles is not None:
        _check_not_empty(name, content)
    check_text(name, content)
    return "user" if role == "prompter" and roles else role, content


def _join_parts(name: str, content: Any) -> str:
    """Return a message's text, which other libraries give as a list of parts as well."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence) or isinstance(content, (bytes, bytearray)):
        raise ConfigurationError(f"{name} must be a string or a list of text parts, not {type(content).__name__}")
    return "".join(_read_part(f"{name}[{index}]", part) for index, part in enumerate(content))


def _read_part(name: str, part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind is None:
        raise ConfigurationError(f"{name} must be {{'type': 'text', 'text': …}}")
    if kind != "text":
        raise ConfigurationError(f"{name} is of the type {show(kind)}, and the servers take only text")
    if not isinstance(part.get("text"), str):
        raise ConfigurationError(f"{name}['text'] must be a string, not {type(part.get('text')).__name__}")
    return str(part["text"])


def _check_not_empty(name: str, content: str) -> None:
    if not content:
        raise ConfigurationError(f"{name} is empty: there is nothing to answer")


def check_text(name: str, value: Any) -> None:
    """
    Refuse a text that the server cannot store; allow None.

    Raises:
        ConfigurationError: if it is not a string, or holds NUL or half a surrogate pair.
    """
    if value is None:
        return
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}")
    bad = _UNSTORABLE.search(value)
    if bad:
        what = "a NUL" if bad[0] == "\0" else "half of a surrogate pair"
        raise ConfigurationError(f"{name} has {what} at character {bad.start()}, which the server cannot store")


def check_name(argument: str, value: Any) -> None:
    """
    Refuse a value that is not a name; allow None.

    Raises:
        ConfigurationError: if it is empty or not a string, or as `check_text`.
    """
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError(f"{argument} must be a name, and not empty")
    check_text(argument, value)


def _read_sampling(sampling: Any) -> Sampling:
    if sampling is None:
        return Sampling()
    if isinstance(sampling, str):
        return Sampling(preset=sampling)
    if isinstance(sampling, Mapping):
        sampling = Sampling.from_mapping(sampling)
    if not isinstance(sampling, Sampling):
        raise ConfigurationError(
            f"sampling must be a Sampling, a mapping or a preset's name, not {type(sampling).__name__}"
        )
    return sampling


def _read_plugins(plugins: Any) -> list[Mapping[str, Any] | str]:
    if plugins is None:
        return []
    if isinstance(plugins, (str, bytes, Mapping, Plugin)) or not isinstance(plugins, Sequence):
        raise ConfigurationError("plugins must be a list: of Plugin values, names, URLs or mappings with 'url'")
    return [_read_plugin(f"plugins[{index}]", plugin) for index, plugin in enumerate(plugins)]


def _read_plugin(name: str, plugin: Any) -> Mapping[str, Any] | str:
    """Return a plugin as it is sent, or its name."""
    if isinstance(plugin, Plugin):
        return plugin.to_json()
    if isinstance(plugin, str):
        check_name(name, plugin)
        return {"url": plugin} if "://" in plugin else plugin
    if not isinstance(plugin, Mapping) or not isinstance(plugin.get("url"), str):
        raise ConfigurationError(f"{name} must be a Plugin, a name, a URL or a mapping with 'url'")
    try:
        json.dumps(dict(plugin), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name} cannot be written as JSON: {error}") from error
    return dict(plugin)
