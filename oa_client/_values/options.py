"""How an answer is to be made: the options of a client, a chat and a turn."""

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
    How an answer is to be made; all are optional, and None is as if left out.

    Attributes:
        model: a name of `Client.list_models`; one that is not in the list, where that was asked for, is refused.
        sampling: a `Sampling`, a mapping with its attributes, or the name of one of the model's presets. A preset,
            given alone or as `preset` beside other values, costs one more call, once for a client. Values that are
            None are the server's choice.
        system_prompt: instructions that stand before the chat.
        user_profile: what the model shall know of the user.
        response_instructions: how it shall answer.
        plugins: what the model may use: `Plugin` values, their names (which costs one more call, once for a client),
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
    Return the options, with the defaults where they name nothing.

    Raises:
        TypeError: if there is no option of a name, as Python raises it.
    """
    known = list(AnswerOptions.__annotations__)
    for name in options:
        if name not in known:
            raise TypeError(f"unexpected keyword argument {name!r}{did_you_mean(name, known)}")
    merged: dict[str, Any] = {**defaults, **{name: value for name, value in options.items() if value is not None}}
    return cast(AnswerOptions, merged)


def name_options(method: _F) -> _F:
    """Have the signature of a method name each of its `**options`, where `help()` and notebooks look."""
    signature = inspect.signature(method)
    given = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    options = [
        # A TypedDict keeps a string as a reference to its type, which would show as that.
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
