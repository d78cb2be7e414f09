"""The options of an answer, for a client, a chat or a turn."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar, cast

from oa_client._values.argument import did_you_mean
from oa_client._values.plugin import Plugin
from oa_client._values.sampling import Sampling

_F = TypeVar("_F", bound=Callable[..., Any])


class AnswerOptions(TypedDict, total=False):
    """
    The options of an answer. All are optional, and None counts as left out.

    Attributes:
        model: a name from `Client.list_models`. If the client has fetched the list, it refuses other names.
        sampling: a `Sampling`, a mapping with its attributes, or the name of one of the model's presets. The first
            preset that a client uses, alone or as `preset` beside other values, costs one more call. The server chooses
            values that are None.
        system_prompt: instructions before the chat.
        user_profile: facts about the user, for the model.
        response_instructions: how the model shall answer.
        plugins: the plugins that the model may use: `Plugin` values, names (the first costs a client one more call),
            URLs of their configurations, or mappings with "url".
    """

    model: str | None
    sampling: Sampling | Mapping[str, Any] | str | None
    system_prompt: str | None
    user_profile: str | None
    response_instructions: str | None
    plugins: Sequence[Plugin | Mapping[str, Any] | str] | None


def merge_options(options: AnswerOptions, defaults: AnswerOptions) -> AnswerOptions:
    """
    Return the options, with defaults for those that are not given.

    Raises:
        TypeError: if an option does not exist, as Python raises it.
    """
    known = list(AnswerOptions.__annotations__)
    for name in options:
        if name not in known:
            raise TypeError(f"unexpected keyword argument {name!r}{did_you_mean(name, known)}")
    merged: dict[str, Any] = {**defaults, **{name: value for name, value in options.items() if value is not None}}
    return cast(AnswerOptions, merged)


def name_options(method: _F) -> _F:
    """Name each of a method's `**options` in its signature, for `help()` and notebooks."""
    signature = inspect.signature(method)
    given = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    options = [
        # A TypedDict keeps a string as a reference to its type, and help() would show the reference.
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=getattr(annotation, "__forward_arg__", annotation),
        )
        for name, annotation in AnswerOptions.__annotations__.items()
    ]
    method.__signature__ = signature.replace(parameters=[*given, *options])  # type: ignore[attr-defined] # inspect's
    return method
