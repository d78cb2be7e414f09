"""What is asked: a prompt, and how it is to be answered, checked as far as that goes without the server."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._errors import ConfigurationError
from ._models import Sampling, did_you_mean, show

Messages = str | Sequence[Mapping[str, str]]

#: What `messages` may have; "prompter" is the wire's word for a user.
ROLES = ("system", "user", "assistant", "prompter")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Question:
    """
    A prompt, and what it is to be answered with; None fields are left out.

    Before it is sent it has a model, and values in place of a preset's name.
    """

    prompt: str
    model: str | None
    sampling: Mapping[str, Any] | str
    plugins: Sequence[Mapping[str, Any]]
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
            "sampling_parameters": self.sampling,
            "plugins": list(self.plugins),
            **{name: text for name, text in texts.items() if text is not None},
        }


def read_question(
    messages: Messages,
    *,
    model: str | None = None,
    sampling: Sampling | Mapping[str, Any] | str | None = None,
    system_prompt: str | None = None,
    user_profile: str | None = None,
    response_instructions: str | None = None,
    plugins: Sequence[Mapping[str, Any]] | None = None,
) -> Question:
    """
    Check the arguments of a user and return what is asked.

    Raises:
        ConfigurationError: names the argument and what is wrong with it.
    """
    prompt, system_prompt = read_messages(messages, system_prompt)
    check_name("model", model)
    check_text("user_profile", user_profile)
    check_text("response_instructions", response_instructions)
    return Question(
        prompt,
        model,
        _read_sampling(sampling),
        _read_plugins(plugins),
        system_prompt=system_prompt,
        user_profile=user_profile,
        response_instructions=response_instructions,
    )


def format_prompt(messages: Sequence[tuple[str, str]]) -> str:
    """Flatten (role, content) pairs into one prompt: the API takes no answers of others."""
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
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
        names = ["messages"]
    elif isinstance(messages, Sequence) and not isinstance(messages, (bytes, bytearray)):
        names = [f"messages[{index}]['content']" for index in range(len(messages))]
    else:
        raise ConfigurationError(
            f"messages must be a string or a list of {{'role', 'content'}}, not {type(messages).__name__}"
        )
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
    return [_read_message(index, item, f"messages[{index}]['content']", None) for index, item in enumerate(messages)]


def _read_message(index: int, item: Any, name: str, roles: Sequence[str] | None = ROLES) -> tuple[str, str]:
    if not isinstance(item, Mapping) or not {"role", "content"} <= item.keys():
        raise ConfigurationError(f"messages[{index}] must be a mapping with 'role' and 'content'")
    role, content = item["role"], item["content"]
    if roles is None:
        check_text(f"messages[{index}]['role']", role)
    elif role not in roles:
        raise ConfigurationError(f"messages[{index}]['role'] is unknown: {show(role)}{did_you_mean(role, ROLES)}")
    if not isinstance(content, str):
        raise ConfigurationError(f"{name} must be a string, not {type(content).__name__}")
    if not content:
        raise ConfigurationError(f"{name} is empty: there is nothing to answer")
    check_text(name, content)
    return "user" if role == "prompter" and roles else role, content


def check_text(name: str, value: Any) -> None:
    """
    Refuse a text that the server cannot store; None is allowed.

    Raises:
        ConfigurationError: if it is no string, or holds NUL or half a surrogate pair.
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
    Refuse what is no name; None is allowed.

    Raises:
        ConfigurationError: if it is empty, no string, or as `check_text`.
    """
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError(f"{argument} must be a name")
    check_text(argument, value)


def _read_sampling(sampling: Any) -> dict[str, Any] | str:
    if sampling is None or isinstance(sampling, str):
        return sampling or {}
    if isinstance(sampling, Mapping):
        sampling = Sampling.from_mapping(sampling)
    if not isinstance(sampling, Sampling):
        raise ConfigurationError(
            f"sampling must be a Sampling, a mapping or a preset's name, not {type(sampling).__name__}"
        )
    return sampling.to_json()


def _read_plugins(plugins: Any) -> list[dict[str, Any]]:
    if plugins is None:
        return []
    if isinstance(plugins, (str, bytes, Mapping)) or not isinstance(plugins, Sequence):
        raise ConfigurationError("plugins must be a list of mappings with 'url'")
    for index, plugin in enumerate(plugins):
        if not isinstance(plugin, Mapping) or not isinstance(plugin.get("url"), str):
            raise ConfigurationError(f"plugins[{index}] must be a mapping with 'url'")
        try:
            json.dumps(dict(plugin), allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"plugins[{index}] cannot be written as JSON: {error}") from error
    return [dict(plugin) for plugin in plugins]
