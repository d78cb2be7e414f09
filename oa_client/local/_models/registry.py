"""Find backends by name: our own, and those of other distributions."""

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

#: The entry points for backends of other distributions.
GROUP = "oa_client.backends"

Factory = Callable[..., "Backend | Sequence[Backend]"]

#: Our own backends, which another distribution cannot replace.
BACKENDS: dict[str, Factory] = {"embedded": Embedded, "lorem": Lorem, "openai": open_models}

MEMBERS = ("name", "description", "slots", "generate", "close")


class Choice:
    """
    The backends that the user has chosen: by name, or an object of their own.

    Choosing a plug-in imports it, but no other.

    Attributes:
        name: the name that the user gave, or that of the user's own backend.

    Args:
        options: the arguments for the factory.

    Raises:
        ValueError: if the name is unknown (the error lists the known names, the nearest first), or the backend does not
            take these options, or needs others.
        TypeError: if the user's object is not a backend.
        LocalServerError: if the plug-in cannot be imported, or several plug-ins have the name.
    """

    def __init__(self, backend: str | Backend, options: Mapping[str, Any]) -> None:
        self._options = options
        self._own: list[Backend] = []  # the user's own, which the user closes
        self._made: list[Backend] = []
        if isinstance(backend, str):
            self.name = backend
            self._factory = BACKENDS.get(backend) or _load(backend)
            _check_options(backend, self._factory, options)
        elif fault := _fault_of(backend):
            raise TypeError(f"this object is not a backend: {fault}")
        elif options:
            raise ValueError(f"a backend of your own takes no {next(iter(options))} here")
        else:
            self.name = backend.name
            self._own = [backend]

    def open(self) -> Sequence[Backend]:
        """
        Make the backends, at least one.

        Raises:
            LocalServerError: if that fails, or the result is not a backend.
        """
        if self._own:
            return self._own
        try:
            made = self._factory(**self._options)
        except LocalServerError:
            raise
        except Exception as error:
            raise LocalServerError(f"the backend {self.name!r} cannot start: {_told(error)}") from error
        self._made = list(made) if isinstance(made, Sequence) else [made]
        faults = [fault for backend in self._made if (fault := _fault_of(backend))]
        if faults or not self._made:
            self.close()
            raise LocalServerError(f"{self.name!r} is not a backend: {(*faults, 'it has no model')[0]}")
        return self._made

    def close(self) -> None:
        """Close the backends that were made, but not the user's own; may be called again."""
        made, self._made = self._made, []
        for backend in made:
            # Results that are not backends are closed too, as far as possible.
            if callable(close := getattr(backend, "close", None)):
                close()


def _fault_of(backend: object) -> str:
    """Return why an object is not a backend, or ""."""
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
    # Compared by their targets: an editable install and its checkout both list the same one.
    points = {point.value: point for point in entry_points(group=GROUP, name=name)}
    if not points:
        raise ValueError(f"no backend {name!r}: there are {', '.join(map(repr, _names(name)))}")
    if len(points) > 1:
        homes = " and ".join(sorted(map(_home, points.values())))
        raise LocalServerError(f"the backend {name!r} comes with {homes}: uninstall all but one")
    (point,) = points.values()
    try:
        factory = point.load()
    except Exception as error:
        raise LocalServerError(
            f"the backend {name!r} of {_home(point)} cannot be imported: {_told(error)}; "
            "update or uninstall that distribution"
        ) from error
    if not callable(factory):
        raise LocalServerError(f"the backend {name!r} of {_home(point)} is not a class or function: {point.value}")
    return factory  # type: ignore[no-any-return] # its result is checked after the call


def _names(wanted: str) -> list[str]:
    """Return the known names, the nearest to the wanted one first."""
    names = {*BACKENDS, *(point.name for point in entry_points(group=GROUP))}

    def distance(name: str) -> float:
        return -difflib.SequenceMatcher(None, wanted.lower(), name.lower()).ratio()

    return sorted(sorted(names), key=distance)


def _check_options(name: str, factory: Factory, options: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # it is not written in Python, so it must check its arguments itself
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
