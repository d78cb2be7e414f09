"""
The user's kept logins: one file in the configuration folder, which only the user can read.

It is never half written, and two processes that write at once do not undo each other's changes.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from oa_client._accounts.cookies import cookie_header
from oa_client._accounts.credentials import Login, TrustedClient
from oa_client._values.errors import ConfigurationError

FILE = "credentials.json"
_LOCK = "credentials.lock"
#: The fields of an entry of the file, each if known.
_TEXTS = ("token", "cookies", "username")
_TIMES = ("obtained_at", "expires_at")
_KNOWN = (*_TEXTS, *_TIMES, "trusted_client")


class LoginFile:
    """
    The file of kept logins; each call reads it again.

    Args:
        environ: names the folder in `$XDG_CONFIG_HOME`; without that it is the platform's own.

    Raises:
        ConfigurationError: by every method, if the file cannot be read or written, is not ours, or others can read it.
            It names the file and shows nothing from it.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._folder = _folder(environ)
        self._path = os.path.join(self._folder or "", FILE)

    def read(self, origin: str) -> Login | None:
        """Return the login for an origin, or None."""
        entry = self._load().get(origin)
        return None if entry is None else self._login(origin, entry)

    def urls(self) -> list[str]:
        """Return the address of each login as the user gave it, with its path."""
        return [_url(origin, entry) for origin, entry in sorted(self._load().items())]

    def write(self, origin: str, login: Login, url: str = "") -> None:
        """Keep a login, and the address that it was made at, in place of the origin's old one."""
        with self._changing() as entries:
            entries[origin] = _entry(login, url)

    def replace(self, origin: str, old: Login, new: Login) -> None:
        """Replace a login, if it is still kept: the user may have logged out, or in again."""
        with self._changing() as entries:
            entry = entries.get(origin)
            url = _url("", entry)
            if entry == _entry(old, url):
                entries[origin] = _entry(new, url)

    def remove(self, origin: str) -> bool:
        """Forget the login of an origin; return whether there was one."""
        if origin not in self._load():
            # This does not make the folder.
            return False
        with self._changing() as entries:
            return entries.pop(origin, None) is not None

    def _load(self) -> dict[str, Any]:
        if self._folder is None:
            return {}
        try:
            with open(self._path, encoding="utf-8") as file:
                mode = os.fstat(file.fileno()).st_mode
                if os.name == "posix" and mode & 0o077:
                    import shlex

                    raise ConfigurationError(
                        f"other users can read the credentials in {self._path}, so it is not used: "
                        f"chmod 600 {shlex.quote(self._path)}"
                    )
                data = json.load(file)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise self._failure("read", error) from error
        except ConfigurationError:
            raise
        except (ValueError, RecursionError):
            # The error of json holds the text.
            raise self._broken() from None
        if not isinstance(data, dict):
            raise self._broken()
        return data

    def _login(self, origin: str, entry: Any) -> Login:
        """Read an entry, with the checks of an argument."""
        try:
            values = {name: value for name, value in dict(entry).items() if name in _KNOWN}
            client = values.pop("trusted_client", None)
            if client is not None:
                values["token"] = TrustedClient(**client)
            elif not all(isinstance(values.get(name, ""), str) for name in _TEXTS):
                raise self._broken()
            if not all(isinstance(values.get(name, 0), (int, float)) for name in _TIMES):
                raise self._broken()
            login = Login(**values)
            if login.cookies is not None:
                cookie_header("cookies", login.cookies, origin)
            if not all(value.isascii() and value.isprintable() for value in login.headers.values()):
                raise self._broken()
        except (TypeError, ValueError):
            raise self._broken() from None
        if not login.headers:
            raise self._broken()
        return login

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """Yield the contents of the file, then write them back."""
        if self._folder is None:
            raise ConfigurationError("the login cannot be kept without a home folder: set $XDG_CONFIG_HOME")
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            with _locked(os.path.join(self._folder, _LOCK)):
                entries = self._load()
                yield entries
                self._save(entries)
        except OSError as error:
            raise self._failure("written", error) from error

    def _save(self, entries: Mapping[str, Any]) -> None:
        # A link leads to the file with the old secrets; the link stays.
        path = os.path.realpath(self._path)
        new = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(file, "w", encoding="utf-8") as stream:
                json.dump(entries, stream, indent=1)
                stream.flush()
                os.fsync(file)
            os.replace(new, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise

    def _broken(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self._path} is not as oa_client.login() writes it: mend it, or delete it and sign in again"
        )

    def _failure(self, what: str, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"{error.filename or self._path} cannot be {what}: {error.strerror}")


def _url(origin: str, entry: Any) -> str:
    url = entry.get("url") if isinstance(entry, dict) else None
    return url if isinstance(url, str) else origin


def _entry(login: Login, url: str) -> dict[str, Any]:
    if isinstance(login.token, TrustedClient):
        entry = {"trusted_client": asdict(login.token), **asdict(replace(login, token=None))}
    else:
        entry = asdict(login)
    entry["url"] = url
    return {name: value for name, value in entry.items() if value}


def _folder(environ: Mapping[str, str]) -> str | None:
    """Return the folder, or None if it has no place."""
    # It counts on other platforms too, if the user has set it there.
    base = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        if sys.platform == "win32":
            base = environ.get("APPDATA", "")
        elif sys.platform == "darwin":
            base = os.path.expanduser("~/Library/Application Support")
        else:
            base = os.path.expanduser("~/.config")
    return os.path.join(base, "oa-client") if os.path.isabs(base) else None


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Keep other processes and threads out; on Windows the last write wins."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # On a file system without locks, the last write wins.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
