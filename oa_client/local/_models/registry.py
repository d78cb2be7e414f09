"""Backends by name: our own, and those that other distributions bring."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from oa_client.local._errors import LocalServerError
from oa_client.local._models.backends import Backend, Lorem
from oa_client.local._models.embedded import Embedded
from oa_client.local._models.openai import open_models

GROUP = "oa_client.backends"
"""The entry points by which other distributions bring backends."""

Factory = Callable[..., "Backend | Sequence[Backend]"]

BACKENDS: dict[str, Factory] = {"embedded": Embedded, "lorem": Lorem, "openai": open_models}
"""Our own, which no other distribution can take the place of."""

MEMBERS = ("name", "description", "slots", "generate", "close")


class Choice:
    """
    The backends that a user has chosen: by a name, or one of their own.

    Choosing a plug-in imports it; the others are not touched.

    Attributes:
        name: what was asked for, or the name of one's own.

    Args:
        options: what a factory is called with.

    Raises:
        ValueError: if there is none of that name (the error lists those that there are, the nearest
            first), or it does not take these options, or needs others.
        TypeError: if one's own is none.
        LocalServerError: if the plug-in cannot be imported, or several have the name.
    """

    def __init__(self, backend: str | Backend, options: Mapping[str, Any]) -> None:
        self._options = options
        self._own: list[Backend] = []  # of the user's own, which the user closes
        self._made: list[Backend] = []
        if isinstance(backend, str):
            self.name = backend
            self._factory = BACKENDS.get(backend) or _load(backend)
            _check_options(backend, self._factory, options)
        elif fault := _fault_of(backend):
            raise TypeError(f"this is no backend: {fault}")
        elif options:
            raise ValueError(f"a backend of your own takes no {next(iter(options))} here")
        else:
            self.name = backend.name
            self._own = [backend]

    def open(self) -> Sequence[Backend]:
        """
        Have the backends made, at least one.

        Raises:
            LocalServerError: if that fails, or what is made is no backend.
        """
        if self._own:
            return self._own
        try:
            made = self._factory(**self._options)
        except LocalServerError:
            raise
        except Exception as error:
            raise LocalServerError(f"the backend {self.name!r} cannot be had: {_told(error)}") from error
        self._made = list(made) if isinstance(made, Sequence) else [made]
        faults = [fault for backend in self._made if (fault := _fault_of(backend))]
        if faults or not self._made:
            self.close()
            raise LocalServerError(f"the backend {self.name!r} is none: {(*faults, 'it has no model')[0]}")
        return self._made

    def close(self) -> None:
        """Close what was made; not one's own. Idempotent."""
        made, self._made = self._made, []
        for backend in made:
            # One that is no backend is closed too, as far as that can be done.
            if callable(close := getattr(backend, "close", None)):
                close()


def _fault_of(backend: object) -> str:
    """Why something is no backend, "" if it is one."""
    if missing := [name for name in MEMBERS if not hasattr(backend, name)]:
        return f"{type(backend).__name__} has no {', no '.join(missing)}"
    name, description, slots = (getattr(backend, member) for member in MEMBERS[:3])
    if not isinstance(name, str) or not name:
        return f"its name is {name!r}, not a text"
    if not isinstance(description, str):
        return f"its description is {description!r}, not a text"
    if not isinstance(slots, int) or slots < 1:
        return f"its slots are {slots!r}, not a number of at least 1"
    return ""


def _load(name: str) -> Factory:
    # By what they point to: an editable install and its checkout both show the same one.
    points = {point.value: point for point in entry_points(group=GROUP, name=name)}
    if not points:
        raise ValueError(f"no backend {name!r}: there are {', '.join(map(repr, _names(name)))}")
    if len(points) > 1:
        homes = " and ".join(sorted(map(_home, points.values())))
        raise LocalServerError(f"the backend {name!r} is brought by {homes}: uninstall all but one")
    (point,) = points.values()
    try:
        factory = point.load()
    except Exception as error:
        raise LocalServerError(
            f"the backend {name!r} of {_home(point)} cannot be imported: {_told(error)}; "
            "update or uninstall that distribution"
        ) from error
    if not callable(factory):
        raise LocalServerError(f"the backend {name!r} of {_home(point)} is no class or function: {point.value}")
    return factory  # type: ignore[no-any-return] # what it returns is looked at when it is called


def _names(wanted: str) -> list[str]:
    """The names that there are, the nearest to what is wanted first."""
    names = {*BACKENDS, *(point.name for point in entry_points(group=GROUP))}

    def distance(name: str) -> float:
        return -difflib.SequenceMatcher(None, wanted.lower(), name.lower()).ratio()

    return sorted(sorted(names), key=distance)


def _check_options(name: str, factory: Factory, options: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # it is not written in Python, and will say itself what it does not like
        return
    known = {parameter.name for parameter in parameters}
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        for option in options:
            if option not in known:
                raise ValueError(f"the backend {name!r} takes no {option}")
    for parameter in parameters:
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if not variadic and parameter.default is parameter.empty and parameter.name not in options:
            raise ValueError(f"the backend {name!r} needs {parameter.name}")


def _home(point: EntryPoint) -> str:
    return f"the distribution {point.dist.name}" if point.dist else f"an unknown distribution ({point.value})"


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
