"""Cookies in every form that people have them, and which of them go to a website."""

from __future__ import annotations

import json
import os
import time
import traceback
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from requests.cookies import RequestsCookieJar

from oa_client import ConfigurationError
from oa_client._accounts.cookies import add_to_header, cookie_header, cookies_for, renew_header

URL, NAME, SECURE = "https://oa.example", "next-auth.session-token", "__Secure-next-auth.session-token"
SECRET = "marker-of-a-secret"
SOON, PAST = int(time.time()) + 86400, 1_000_000_000


def write(folder: Path, content: Any, name: str = "cookies") -> Path:
    """Write a file of text, of bytes, or of what becomes JSON."""
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def line(key: str = NAME, value: str = "x", domain: str = "oa.example", **fields: Any) -> str:
    """Return a line of a cookies.txt."""
    known = {"below": "FALSE", "path": "/", "secure": "TRUE", "expires": SOON, **fields}
    return "\t".join([domain, *(str(known[name]) for name in ("below", "path", "secure", "expires")), key, value])


EXTENSION = {
    "domain": "oa.example",
    "expirationDate": SOON + 0.25,
    "hostOnly": True,
    "httpOnly": True,
    "name": NAME,
    "path": "/",
    "sameSite": "lax",
    "secure": True,
    "session": False,
    "storeId": "0",
    "value": "x",
}
PLAYWRIGHT = {
    "name": NAME,
    "value": "x",
    "domain": "oa.example",
    "path": "/",
    "expires": SOON,
    "httpOnly": True,
    "secure": True,
    "sameSite": "Lax",
}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"# Netscape HTTP Cookie File\n\n{line()}\n", id="cookies.txt"),
        pytest.param(line(), id="cookies.txt without a head"),
        pytest.param(f"# Netscape HTTP Cookie File\r\n{line()}\r\n".encode(), id="cookies.txt of Windows"),
        pytest.param(f"\ufeff{line()}\n", id="cookies.txt with a mark at its start"),
        pytest.param(f"# HttpOnly cookies follow\n#HttpOnly_{line()}\n", id="cookies.txt, HttpOnly"),
        pytest.param(line(expires=0), id="cookies.txt, of the browser's session"),
        pytest.param(line(expires=""), id="cookies.txt, without an end"),
        pytest.param(line(expires=f"{SOON}.5"), id="cookies.txt, with a fraction"),
        pytest.param(line(expires="inf"), id="cookies.txt, without end"),
        pytest.param(f"{line()}\n{line('empty', '').rstrip()}\n", id="cookies.txt with an empty value"),
        pytest.param([EXTENSION], id="extension"),
        pytest.param([{**EXTENSION, "hostOnly": False, "domain": ".example"}], id="extension, of the domain"),
        pytest.param({"cookies": [PLAYWRIGHT], "origins": []}, id="Playwright"),
        pytest.param({"cookies": [{**PLAYWRIGHT, "expires": -1}]}, id="Playwright, of the browser's session"),
        pytest.param([{"name": NAME, "value": "x", "expiry": SOON}], id="Selenium, cut short"),
        pytest.param([{"name": NAME, "value": "x"}], id="names and values in a list"),
        pytest.param({NAME: "x"}, id="names to values"),
        pytest.param(EXTENSION, id="one cookie"),
        pytest.param({"name": NAME, "value": "x", "domain": "oa.example"}, id="one cookie, all of it texts"),
        pytest.param(
            f"{json.dumps(EXTENSION)}\n\n{json.dumps({**EXTENSION, 'name': 'b', 'domain': 'h'})}\n", id="JSON lines"
        ),
        pytest.param([{**EXTENSION, "secure": 1, "hostOnly": "False", "domain": ".oa.example"}], id="flags of others"),
        pytest.param(f'\n {{"{NAME}": "x"}}', id="JSON behind white space"),
    ],
)
def test_forms_of_a_file(tmp_path: Path, content: Any) -> None:
    """A cookies.txt and each JSON export give the session cookie."""
    assert f"{NAME}=x" == cookie_header("cookies", write(tmp_path, content), URL)


def test_one_cookie_as_a_mapping() -> None:
    """The object of one cookie is that cookie as an argument too, and goes where it belongs."""
    assert f"{NAME}=x" == cookie_header("cookies", {"name": NAME, "value": "x", "domain": "oa.example"}, URL)
    with pytest.raises(ConfigurationError, match=r"no cookie for oa\.example: 1 for other hosts"):
        cookie_header("cookies", {"name": NAME, "value": "x", "domain": "other.example"}, URL)


@pytest.mark.parametrize("name", ["cookies.txt", "cookies.json"])
def test_name_of_a_file(name: str) -> None:
    """A file's name that is passed as text is not taken for a session token."""
    with pytest.raises(
        ConfigurationError, match=r"^cookies is the name of a file: to read it, pass cookies=pathlib\.Path"
    ):
        cookie_header("cookies", name, URL)


def test_chunks_of_a_file(tmp_path: Path) -> None:
    """The chunks of a long session token are put in order, and longer paths come first."""
    rows = [line(f"{NAME}.{number}", f"part{number}") for number in (1, 10, 0, 2)]
    content = "\n".join([line("wide", "w"), line("narrow", "n", path="/api"), *rows])

    assert (f"narrow=n; wide=w; {NAME}.0=part0; {NAME}.1=part1; {NAME}.2=part2; {NAME}.10=part10") == cookie_header(
        "cookies", write(tmp_path, content), URL
    )


@pytest.mark.parametrize(
    ("cookie", "url", "goes"),
    [
        pytest.param({}, URL, True, id="its host"),
        pytest.param({}, "https://OA.example:8443/base", True, id="its host, written differently"),
        pytest.param({}, "https://sub.oa.example", False, id="host below"),
        pytest.param({"below": "TRUE"}, "https://sub.oa.example", True, id="host below, of the domain"),
        pytest.param({"below": "TRUE", "domain": ".oa.example"}, URL, True, id="domain's own host"),
        pytest.param({"below": "TRUE"}, "https://xoa.example", False, id="host that ends alike"),
        pytest.param({"below": "TRUE"}, "https://example", False, id="host above"),
        pytest.param({"domain": "other.example"}, URL, False, id="other host"),
        pytest.param({"domain": "localhost", "secure": "FALSE"}, "http://localhost:3000", True, id="localhost"),
        pytest.param({"domain": "localhost.local", "secure": "FALSE"}, "http://localhost:3000", True, id="dotted name"),
        pytest.param({"domain": "127.0.0.1", "secure": "FALSE"}, "http://127.0.0.1:3000", True, id="IPv4"),
        pytest.param({"domain": "0.0.1", "below": "TRUE"}, "https://127.0.0.1", False, id="end of an IPv4"),
        pytest.param({"domain": "[::1]", "secure": "FALSE"}, "http://[::1]:3000", True, id="IPv6"),
        pytest.param({"path": "/api"}, URL, True, id="path above"),
        pytest.param({"path": "/api/chat"}, URL, True, id="path of the chat"),
        pytest.param({"path": "/ap"}, URL, False, id="path that begins alike"),
        pytest.param({"path": "/base"}, f"{URL}/base", True, id="path of the address"),
        pytest.param({"path": "/base/"}, URL, False, id="other path"),
        pytest.param({}, "http://oa.example", False, id="secure, to http"),
        pytest.param({"secure": "true"}, "http://oa.example", False, id="secure in lower case, to http"),
        pytest.param({"secure": "false", "below": "false"}, "http://oa.example", True, id="flags in lower case"),
        pytest.param({"below": "True"}, "https://sub.oa.example", True, id="host below, capitalised"),
        pytest.param({"secure": "FALSE"}, "http://oa.example", True, id="not secure, to http"),
        pytest.param({"expires": PAST}, URL, False, id="expired"),
    ],
)
def test_which_cookies_go(tmp_path: Path, cookie: dict[str, Any], url: str, goes: bool) -> None:
    """Domain, path, secure and expiry decide, as in a browser; what does not go is not sent along with what does."""
    rows = [line("other", "o", domain="", secure="FALSE"), line(**cookie)]
    header = cookie_header("cookies", write(tmp_path, "\n".join(rows)), url)

    assert goes == (f"{NAME}=x" in header)
    assert "other=o" in header


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        pytest.param([line(domain="a.example"), line(domain="b.example")], "2 for other hosts", id="other hosts"),
        pytest.param([line(expires=PAST)], "1 expired", id="expired"),
        pytest.param(
            [line(domain="a.example", expires=PAST), line(expires=PAST)], "1 for other hosts, 1 expired", id="both"
        ),
        pytest.param([line(path="/elsewhere")], "1 for other paths", id="path"),
        pytest.param([line("statistics", "no cookie;value")], "1 not to be sent", id="no value"),
        pytest.param(["# Netscape HTTP Cookie File"], "it is empty", id="empty"),
    ],
)
def test_no_cookie_is_left(tmp_path: Path, rows: list[str], why: str) -> None:
    """Where none goes to the address, the error names the file and the host, and says why."""
    path = write(tmp_path, "\n".join(rows))
    with pytest.raises(ConfigurationError) as caught:
        cookie_header("cookies", path, URL)

    assert f"cookies: {path} holds no cookie for oa.example: {why}" == str(caught.value)


@pytest.mark.parametrize("flag", ["secure", "below"])
def test_unknown_flag(tmp_path: Path, flag: str) -> None:
    """A flag that is neither TRUE nor FALSE is refused, and the error names the line."""
    path = write(tmp_path, f"# Netscape HTTP Cookie File\n{line(**{flag: 'perhaps'})}")
    with pytest.raises(ConfigurationError, match=r"^cookies: line 2 of .*: fields 2 and 4 must be TRUE or FALSE"):
        cookie_header("cookies", path, URL)
    item = {**EXTENSION, "secure" if flag == "secure" else "hostOnly": "perhaps"}
    with pytest.raises(ConfigurationError, match=r"^cookies: item 1 of .*: hostOnly and secure must be true or false"):
        cookie_header("cookies", write(tmp_path, [item]), URL)


@pytest.mark.parametrize("secure", ["true", "TRUE", 1, True])
def test_secure_cookie_of_json(tmp_path: Path, secure: Any) -> None:
    """A Secure cookie of a JSON export stays away from http, whatever the flag is written as."""
    path = write(tmp_path, {**EXTENSION, "secure": secure})
    with pytest.raises(ConfigurationError, match=r"1 for https only$"):
        cookie_header("cookies", path, "http://oa.example")


def test_no_cookie_for_http_is_left(tmp_path: Path) -> None:
    """Cookies that go to the site's https address alone are told from others."""
    with pytest.raises(ConfigurationError, match=r"no cookie for oa\.example: 1 for https only$"):
        cookie_header("cookies", write(tmp_path, line()), "http://oa.example")


def test_odd_cookie_of_another_kind(tmp_path: Path) -> None:
    """What is no cookie value is left out, but not if it is the session's."""
    good = [line(), line("statistics", "a;b"), line("umlaut", "\xe9")]

    assert f"{NAME}=x" == cookie_header("cookies", write(tmp_path, "\n".join(good)), URL)
    with pytest.raises(ConfigurationError, match=r"the value of 'next-auth\.session-token' is not a cookie value"):
        cookie_header("cookies", write(tmp_path, line(value="\xe9")), URL)


@pytest.mark.parametrize("odd", ["", "\xe9", "a\nb", "a\tb"])
def test_odd_cookie_in_a_header(tmp_path: Path, odd: str) -> None:
    """What cannot be sent is left out of a header and of names and values in JSON, but not if it is the session's."""
    for value in (f"other={odd}; {NAME}=x; more={odd}", f"{NAME}=x; \xfc=y; other={odd}"):
        assert f"{NAME}=x" == cookie_header("cookies", value, URL)
    assert f"{NAME}=x" == cookie_header("cookies", write(tmp_path, {NAME: "x", "other": odd, "two words": "y"}), URL)

    for cookies in (f"a=b; {NAME}.1={odd}", write(tmp_path, {NAME: odd, "a": "b"}), {NAME: "x", "other": odd}):
        with pytest.raises(ConfigurationError, match=r"^cookies"):
            cookie_header("cookies", cookies, URL)


@pytest.mark.parametrize("name", ["Cookie: ", "cookie:", " COOKIE:  "])
def test_header_with_its_name(name: str) -> None:
    """A header may be copied with its name, however that is written; elsewhere the word is left alone."""
    assert f"{NAME}=x; a=cookie:b" == cookie_header("cookies", f"{name}{NAME}=x; a=cookie:b", URL)
    with pytest.raises(ConfigurationError, match="is empty"):
        cookie_header("cookies", name, URL)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"{SECRET}", id="a token alone"),
        pytest.param(f"{NAME}={SECRET}", id="a header"),
        pytest.param(line(value=SECRET).replace("\t", " "), id="blanks for tabs"),
        pytest.param(f"{line()}\tmore\t{SECRET}", id="too many fields"),
        pytest.param(line(value=SECRET, expires="never"), id="no time"),
        pytest.param(f"[{SECRET}", id="no JSON"),
        pytest.param("[" * 100_000, id="deep JSON"),
        pytest.param(f'["{SECRET}"]', id="a list of texts"),
        pytest.param([{"name": NAME}], id="no value"),
        pytest.param([{"name": NAME, "value": 5, "domain": SECRET}], id="a number for a value"),
        pytest.param([{**EXTENSION, "value": SECRET, "domain": 5}], id="a number for a domain"),
        pytest.param({SECRET: 5}, id="an object with a number"),
        pytest.param({SECRET: {}}, id="an object with an object"),
        pytest.param({f"{SECRET}\n": "x"}, id="an object whose key is no name"),
        pytest.param({"cookies": {NAME: SECRET}}, id="no storage state"),
        pytest.param(f"{SECRET}\xff".encode("latin-1"), id="no text"),
    ],
)
def test_broken_file(tmp_path: Path, content: Any) -> None:
    """What is in no form is an error that names argument and file, and neither it nor a cause shows what is in it."""
    path = write(tmp_path, content)
    with pytest.raises(ConfigurationError) as caught:
        cookie_header("cookies", path, URL)

    assert "cookies" in str(caught.value)
    assert str(path) in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in f"{error}{vars(error)}{error.args}"
        error = error.__cause__
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("path", ["missing", ".", "nul\0"])
def test_unreadable_file(tmp_path: Path, path: str) -> None:
    """A file that cannot be read is an error that names the argument."""
    with pytest.raises(ConfigurationError, match=r"^cookies: .* (cannot be read: |is not a text file)"):
        cookie_header("cookies", tmp_path / path, URL)


@pytest.mark.skipif(os.name == "nt", reason="a path is text there")
def test_path_of_bytes(tmp_path: Path) -> None:
    """Anything with a path will do, also one of bytes."""

    class Named:
        def __fspath__(self) -> bytes:
            return os.fsencode(path)

    path = write(tmp_path, line())

    assert f"{NAME}=x" == cookie_header("cookies", Named(), URL)


def jar_of(*cookies: tuple[str, str]) -> CookieJar:
    """Return a jar as an answer has set it."""
    jar = RequestsCookieJar()
    for key, value in cookies:
        jar.set(key, value, domain="oa.example")
    return jar


def test_jar_of_a_host_without_a_dot() -> None:
    """A jar's cookies of localhost go there, under both names that they may have in it."""
    for domain in ("localhost", "localhost.local"):
        jar = RequestsCookieJar()
        jar.set("a", "b", domain=domain)

        assert ["a"] == [cookie.name for cookie in cookies_for(jar, "http://localhost:3000")]
        assert [] == list(cookies_for(jar, "http://elsewhere:3000"))


@pytest.mark.parametrize(
    ("header", "new", "expected"),
    [
        pytest.param(f"{NAME}=old", [(NAME, "new")], f"{NAME}=new", id="one"),
        pytest.param(f"a=b; {NAME}=old; c=d", [(NAME, "new")], f"a=b; c=d; {NAME}=new", id="among others"),
        pytest.param(f"{NAME}=old; {SECURE}=old", [(SECURE, "new")], f"{SECURE}=new", id="both names"),
        pytest.param(
            f"{NAME}=old",
            [(f"{NAME}.1", "y"), (f"{NAME}.0", "x"), ("csrf", "z")],
            f"{NAME}.0=x; {NAME}.1=y",
            id="chunks for one",
        ),
        pytest.param(f"{NAME}.0=x; {NAME}.1=y; {NAME}.2=z", [(NAME, "new")], f"{NAME}=new", id="one for chunks"),
        pytest.param(f"{NAME}=old", [("csrf", "z")], None, id="no session cookie"),
        pytest.param(f"{NAME}=old", [(NAME, "")], None, id="empty"),
        pytest.param("", [(NAME, "new")], f"{NAME}=new", id="nothing before"),
    ],
)
def test_renewed_header(header: str, new: list[tuple[str, str]], expected: str | None) -> None:
    """New session cookies take the place of all old ones, in chunks or whole; others stay."""
    assert expected == renew_header(header, jar_of(*new))


def test_cookies_beside_the_credentials() -> None:
    """What a server has set goes along, but none twice, and no session cookie beside another one."""
    assert f"a=1; {NAME}=x; lb=2" == add_to_header(f"a=1; {NAME}=x", f"a=3; lb=2; {NAME}=y; {NAME}.0=z; {SECURE}=y")
    assert f"a=1; {NAME}=y" == add_to_header("a=1", f"a=3; {NAME}=y")
