"""Where a call goes, and with which credentials."""

from __future__ import annotations

import itertools
from http.cookiejar import CookieJar
from types import MappingProxyType
from typing import Any

import pytest
from requests.cookies import RequestsCookieJar

from oa_client import ConfigurationError
from oa_client._accounts.target import Target, find_target, origin
from oa_client._wire.inference import Inference
from oa_client._wire.surface import DEFAULT_MODEL
from oa_client._wire.website import Website

URL, OTHER = "https://oa.example", "https://other.example"
NAME = "next-auth.session-token"
SECRET = "marker-of-a-secret"
Expected = tuple[str, type[Any], dict[str, str]]


def found(base_url: Any = None, cookies: Any = None, token: Any = None, **environ: str) -> Target | None:
    """Find a target; other names are variables of the environment."""
    return find_target(base_url, cookies, token, environ, Website())


def parts(target: Target | None) -> Expected | None:
    """Return address, surface and credentials of a target."""
    return None if target is None else (target.base_url, type(target.surface), dict(target.credentials.headers))


def signed(url: str, token: str) -> Expected:
    """Return the parts of a target with a token."""
    return url, Inference, {"Authorization": f"Bearer {token}"}


def with_cookies(url: str, cookies: str) -> Expected:
    """Return the parts of a target with cookies."""
    return url, Website, {"Cookie": cookies}


UNSIGNED: Expected = (URL, Website, {})


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        pytest.param({}, {}, None, id="nothing"),
        pytest.param({}, {"OA_BASE_URL": "", "OA_TOKEN": "", "OA_COOKIE": ""}, None, id="nothing but empty variables"),
        pytest.param({"base_url": URL}, {}, UNSIGNED, id="address"),
        pytest.param({"base_url": URL, "token": "t"}, {}, signed(URL, "t"), id="address and token"),
        pytest.param({"base_url": URL, "cookies": "a=b"}, {}, with_cookies(URL, "a=b"), id="address and cookies"),
        pytest.param({}, {"OA_BASE_URL": URL}, UNSIGNED, id="variable address"),
        pytest.param({}, {"OA_BASE_URL": URL, "OA_TOKEN": "t"}, signed(URL, "t"), id="variable address and token"),
        pytest.param(
            {}, {"OA_BASE_URL": URL, "OA_COOKIE": "a=b"}, with_cookies(URL, "a=b"), id="variable address and cookie"
        ),
        pytest.param(
            {},
            {"OA_BASE_URL": URL, "OA_COOKIE": "jwe"},
            with_cookies(URL, f"__Secure-{NAME}=jwe; {NAME}=jwe"),
            id="variable address and bare session token",
        ),
        pytest.param({"token": "t"}, {"OA_BASE_URL": URL}, signed(URL, "t"), id="token, variable address"),
        pytest.param(
            {"cookies": "a=b"}, {"OA_BASE_URL": URL}, with_cookies(URL, "a=b"), id="cookies, variable address"
        ),
        pytest.param(
            {"token": "t"}, {"OA_BASE_URL": URL, "OA_TOKEN": "u"}, signed(URL, "t"), id="token beats variable token"
        ),
        pytest.param(
            {"token": "t"}, {"OA_BASE_URL": URL, "OA_COOKIE": "a=b"}, signed(URL, "t"), id="token beats variable cookie"
        ),
        pytest.param(
            {"cookies": "a=b"},
            {"OA_BASE_URL": URL, "OA_TOKEN": "u"},
            with_cookies(URL, "a=b"),
            id="cookies beat variable token",
        ),
        pytest.param(
            {"token": "t"},
            {"OA_BASE_URL": URL, "OA_TOKEN": "u", "OA_COOKIE": "a=b"},
            signed(URL, "t"),
            id="token beats both variables",
        ),
        pytest.param(
            {"base_url": URL}, {"OA_BASE_URL": OTHER, "OA_TOKEN": "t"}, UNSIGNED, id="address beats variable address"
        ),
        pytest.param({"base_url": URL}, {"OA_TOKEN": "t"}, UNSIGNED, id="address, variable token of no origin"),
        pytest.param({"base_url": URL}, {"OA_COOKIE": "a=b"}, UNSIGNED, id="address, variable cookie of no origin"),
        pytest.param(
            {"base_url": URL},
            {"OA_TOKEN": "t", "OA_COOKIE": "a=b"},
            UNSIGNED,
            id="address, two variables of no origin",
        ),
        pytest.param(
            {"base_url": URL}, {"OA_BASE_URL": URL, "OA_TOKEN": "t"}, signed(URL, "t"), id="address of the origin"
        ),
        pytest.param(
            {"base_url": f"{URL}/path"},
            {"OA_BASE_URL": "HTTPS://OA.example:443/", "OA_TOKEN": "t"},
            signed(f"{URL}/path", "t"),
            id="same origin, written differently",
        ),
        pytest.param(
            {"base_url": URL, "token": "t"},
            {"OA_BASE_URL": OTHER, "OA_TOKEN": "u"},
            signed(URL, "t"),
            id="address and token beat variables",
        ),
    ],
)
def test_where_a_call_goes(arguments: dict[str, Any], environ: dict[str, str], expected: Expected | None) -> None:
    """Arguments beat the environment, and its credentials go only to the origin of its address."""
    assert expected == parts(found(**arguments, **environ))


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://oa.example", id="scheme"),
        pytest.param("https://oa.example:8443", id="port"),
        pytest.param("https://www.oa.example", id="subdomain"),
        pytest.param("https://oa.example.evil.example", id="longer host"),
        pytest.param("https://oa.example.", id="dot at the end"),
        pytest.param("https://example", id="shorter host"),
    ],
)
@pytest.mark.parametrize("variable", ["OA_TOKEN", "OA_COOKIE"])
def test_credentials_stay_at_their_origin(url: str, variable: str) -> None:
    """A credential of the environment does not go to an address that differs in scheme, host or port."""
    assert (url, Website, {}) == parts(found(url, OA_BASE_URL=URL, **{variable: SECRET}))


@pytest.mark.parametrize(
    "base_url",
    [
        pytest.param("http://[bad", id="bracket"),
        pytest.param("https://oa.example:99999", id="port"),
        pytest.param("oa.example", id="no scheme"),
        pytest.param("//", id="nothing"),
    ],
)
def test_broken_variable_beside_an_address(base_url: str) -> None:
    """An address in the environment that is none does not stand in the way of one that is given."""
    assert UNSIGNED == parts(found(URL, OA_BASE_URL=base_url, OA_TOKEN="t"))


@pytest.mark.parametrize(
    ("arguments", "environ", "name"),
    [
        pytest.param({"token": SECRET}, {}, "token", id="token"),
        pytest.param({"cookies": f"a={SECRET}"}, {}, "cookies", id="cookies"),
        pytest.param({"cookies": {"a": SECRET}}, {"OA_TOKEN": SECRET}, "cookies", id="cookies and variable"),
        pytest.param({}, {"OA_TOKEN": SECRET}, "$OA_TOKEN", id="variable token"),
        pytest.param({}, {"OA_COOKIE": SECRET}, "$OA_COOKIE", id="variable cookie"),
    ],
)
def test_credential_without_an_address(arguments: dict[str, Any], environ: dict[str, str], name: str) -> None:
    """A credential without an address goes nowhere, and the error names it and the ways to give an address."""
    with pytest.raises(ConfigurationError) as caught:
        found(**arguments, **environ)

    assert str(caught.value).startswith(f"{name} is given without an address")
    assert "base_url" in str(caught.value)
    assert "$OA_BASE_URL" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "environ", "names"),
    [
        pytest.param({"cookies": SECRET, "token": SECRET}, {}, ("cookies", "token"), id="arguments"),
        pytest.param(
            {"base_url": URL, "cookies": SECRET, "token": SECRET}, {}, ("cookies", "token"), id="with address"
        ),
        pytest.param({"base_url": URL, "cookies": {}, "token": ""}, {}, ("cookies", "token"), id="empty"),
        pytest.param(
            {},
            {"OA_BASE_URL": URL, "OA_COOKIE": SECRET, "OA_TOKEN": SECRET},
            ("$OA_COOKIE", "$OA_TOKEN"),
            id="variables",
        ),
        pytest.param(
            {}, {"OA_COOKIE": SECRET, "OA_TOKEN": SECRET}, ("$OA_COOKIE", "$OA_TOKEN"), id="variables without address"
        ),
        pytest.param(
            {"base_url": URL},
            {"OA_BASE_URL": URL, "OA_COOKIE": SECRET, "OA_TOKEN": SECRET},
            ("$OA_COOKIE", "$OA_TOKEN"),
            id="variables of the origin",
        ),
    ],
)
def test_two_credentials(arguments: dict[str, Any], environ: dict[str, str], names: tuple[str, str]) -> None:
    """A token and cookies together are an error that names both and shows neither."""
    with pytest.raises(ConfigurationError) as caught:
        found(**arguments, **environ)

    assert all(name in str(caught.value) for name in names)
    assert "both" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_default_model() -> None:
    """A target whose server is not ours has the model that the original used."""
    target = found(URL)

    assert target is not None
    assert target.model == DEFAULT_MODEL == "OA_SFT_Llama_30B_6"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("http://h", "http://h", id="plain"),
        pytest.param("http://h///", "http://h", id="slashes"),
        pytest.param("https://h:8443/a/b/", "https://h:8443/a/b", id="path"),
        pytest.param("http://[::1]:80", "http://[::1]:80", id="IPv6"),
        pytest.param("HTTP://h", "HTTP://h", id="capitals"),
    ],
)
def test_good_address(given: str, expected: str) -> None:
    """An address is kept as it is, without slashes at its end."""
    target = found(given)

    assert target is not None
    assert expected == target.base_url


BAD_ADDRESSES = [
    pytest.param("", id="empty"),
    pytest.param(5, id="number"),
    pytest.param(b"http://h", id="bytes"),
    pytest.param(" http://h", id="space before"),
    pytest.param("http://h\n", id="line end"),
    pytest.param("http://h\r\nX: y", id="header"),
    pytest.param("h", id="host alone"),
    pytest.param("localhost:8000", id="host and port alone"),
    pytest.param("ftp://h", id="ftp"),
    pytest.param("file:///etc/passwd", id="file"),
    pytest.param("http://", id="no host"),
    pytest.param("http://:80", id="port alone"),
    pytest.param("http://h:0", id="port 0"),
    pytest.param("http://h:65536", id="port too large"),
    pytest.param("http://h:x", id="port word"),
    pytest.param("http://[::1", id="open bracket"),
    pytest.param("http://h?a=b", id="query"),
    pytest.param("http://h#a", id="fragment"),
    pytest.param("http://u@h", id="user"),
    pytest.param("http://:p@h", id="password"),
    pytest.param("http://h?", id="empty query"),
    pytest.param("http://h/#", id="empty fragment"),
    pytest.param("http://a b", id="space in the host"),
    pytest.param("http://h/a b", id="space in the path"),
    pytest.param("http://h\\x", id="backslash"),
]


@pytest.mark.parametrize("url", BAD_ADDRESSES)
def test_bad_address(url: Any) -> None:
    """What is no plain http or https address is refused, and the error names the argument."""
    with pytest.raises(ConfigurationError, match=r"^base_url "):
        found(url)


@pytest.mark.parametrize("url", [item for item in BAD_ADDRESSES if isinstance(item.values[0], str) and item.values[0]])
def test_bad_address_in_the_environment(url: str) -> None:
    """The same addresses are refused in the environment, and the error names the variable."""
    with pytest.raises(ConfigurationError, match=r"^\$OA_BASE_URL "):
        found(OA_BASE_URL=url)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        pytest.param("oa.example.org", "https://oa.example.org", id="host"),
        pytest.param("oa.example.org:8000/api", "https://oa.example.org:8000", id="port and path"),
        pytest.param("//oa.example.org/", "https://oa.example.org", id="slashes"),
        pytest.param("htps://oa.example.org", "https://oa.example.org", id="another scheme"),
        pytest.param("http:/oa.example.org", "https://oa.example.org", id="one slash"),
        pytest.param("localhost:8000", "http://localhost:8000", id="this machine"),
        pytest.param("127.0.0.1:8000", "http://127.0.0.1:8000", id="its number"),
    ],
)
def test_address_without_a_scheme(url: str, meant: str) -> None:
    """The error has the address that was probably meant."""
    with pytest.raises(ConfigurationError) as caught:
        found(url)

    assert f"base_url is not an http or https URL: did you mean {meant}?" == str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("http://h/a b", "a space (write it as %20) at character 10", id="space in the path"),
        pytest.param("HTTP://h\n", "a line break or another invisible character at character 8", id="line end"),
        pytest.param("http://h\\x", "a backslash at character 8", id="backslash"),
    ],
)
def test_odd_character_in_an_address(url: str, words: str) -> None:
    """An http address with a character that no URL may have is not said to be none: the character is named."""
    with pytest.raises(ConfigurationError) as caught:
        found(url)

    assert f"base_url has {words}, which a URL cannot have" == str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"http://user:{SECRET}@h", id="password"),
        pytest.param(f"http://{SECRET}@h", id="user"),
        pytest.param(f"http://h/a?token={SECRET}", id="query"),
        pytest.param(f"http://h/a#{SECRET}", id="fragment"),
        pytest.param(f"ftp://user:{SECRET}@h", id="password of another scheme"),
        pytest.param(f"http://user:{SECRET}@h:99999", id="password and a wrong port"),
        pytest.param(f"http://user:{SECRET}@[h", id="password and a wrong host"),
        pytest.param(f"user:{SECRET}@h", id="password without scheme"),
        pytest.param(f"http:/user:{SECRET}@h", id="password after one slash"),
        pytest.param(f"h?token={SECRET}", id="query without scheme"),
        pytest.param(SECRET, id="something else"),
        pytest.param(f"{'e' * 40}.{'p' * 40}.{SECRET}", id="token"),
        pytest.param(f"oa.example.org/{SECRET}", id="path"),
    ],
)
@pytest.mark.parametrize("variable", [False, True], ids=["argument", "variable"])
def test_no_secret_of_an_address_is_shown(url: str, variable: bool) -> None:
    """The error for a bad address does not repeat what may be a credential in it."""
    with pytest.raises(ConfigurationError) as caught:
        found(OA_BASE_URL=url) if variable else found(url)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("http://H.example/path", ("http", "h.example", 80), id="default port of http"),
        pytest.param("HTTPS://h.example", ("https", "h.example", 443), id="default port of https"),
        pytest.param("https://h.example:80", ("https", "h.example", 80), id="port of its own"),
        pytest.param("ftp://h.example", ("ftp", "h.example", None), id="unknown scheme"),
    ],
)
def test_origin(url: str, expected: tuple[str, str, int | None]) -> None:
    """An origin is scheme, host and port, in lower case and with the port that the scheme stands for."""
    assert expected == origin(url)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost:8000", "api.localhost", "127.0.0.1", "127.8.8.8:1", "[::1]", "[::1]:8000"],
)
def test_loopback(host: str) -> None:
    """An address on this machine is known as one."""
    target = found(f"http://{host}/path")

    assert target is not None
    assert target.is_loopback


@pytest.mark.parametrize(
    "host",
    ["oa.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "notlocalhost", "[2001:db8::1]"],
)
def test_no_loopback(host: str) -> None:
    """An address elsewhere is not taken for this machine's, whatever its name resembles."""
    target = found(f"http://{host}")

    assert target is not None
    assert not target.is_loopback


def plain_jar(**cookies: str) -> CookieJar:
    """Make a jar of cookies for every host."""
    jar = RequestsCookieJar()
    for name, value in cookies.items():
        jar.set(name, value)
    return jar


def jar_for(domain: str, **settings: Any) -> RequestsCookieJar:
    """Make a jar with the cookie a=b of one host."""
    jar = RequestsCookieJar()
    jar.set("a", "b", domain=domain, **settings)
    return jar


@pytest.mark.parametrize(
    ("cookies", "header"),
    [
        pytest.param({"a": "b"}, "a=b", id="mapping"),
        pytest.param(MappingProxyType({"a": "b", "c": "d"}), "a=b; c=d", id="mapping of another type"),
        pytest.param({"a": 'b=c, "d" e'}, 'a=b=c, "d" e', id="mapping with odd characters"),
        pytest.param(plain_jar(a="b", c="d"), "a=b; c=d", id="jar"),
        pytest.param(jar_for("oa.example"), "a=b", id="jar of the host"),
        pytest.param("a=b", "a=b", id="header"),
        pytest.param(" Cookie: a=b;c=d ; ", "a=b; c=d", id="header with its name"),
        pytest.param("a=b=c", "a=b=c", id="header with two signs"),
        pytest.param("jwe.of..parts", f"__Secure-{NAME}=jwe.of..parts; {NAME}=jwe.of..parts", id="bare token"),
        pytest.param(" jwe\n", f"__Secure-{NAME}=jwe; {NAME}=jwe", id="bare token with a line end"),
    ],
)
def test_forms_of_cookies(cookies: Any, header: str) -> None:
    """A mapping, a jar, a header and a bare session token all make one Cookie header."""
    assert with_cookies(URL, header) == parts(found(URL, cookies))


def test_name_of_a_bare_session_token() -> None:
    """A bare session token gets both names, the one first that the website looks for at the address's scheme."""
    assert with_cookies("http://h", f"{NAME}=jwe; __Secure-{NAME}=jwe") == parts(found("http://h", "jwe"))
    assert with_cookies("https://h", f"__Secure-{NAME}=jwe; {NAME}=jwe") == parts(found("https://h", "jwe"))


def test_chunks_of_a_session_token() -> None:
    """Numbered chunks stand side by side in the order of their numbers, whatever order they are given in."""
    numbers = [10, 2, 0, 11, 1, 9, 3, 8, 4, 7, 5, 6]
    cookies = {f"{NAME}.{number}": f"part{number}" for number in numbers}

    header = "; ".join(f"{NAME}.{number}=part{number}" for number in range(12))
    assert with_cookies(URL, header) == parts(found(URL, cookies))


@pytest.mark.parametrize("pairs", list(itertools.permutations(("t.0=x", "t.1=y", "t.2=z", "other=o"))))
def test_chunks_among_other_cookies(pairs: tuple[str, ...]) -> None:
    """Chunks stay in order and other cookies keep their values, in every order of the header."""
    target = found(URL, "; ".join(pairs))

    assert target is not None
    header = target.credentials.headers["Cookie"]
    assert "t.0=x; t.1=y; t.2=z" in header
    assert sorted(pairs) == sorted(header.split("; "))


def test_source_is_not_changed() -> None:
    """The caller's mapping stays as it was."""
    cookies = {"t.1": "y", "t.0": "x"}
    found(URL, cookies)

    assert [("t.1", "y"), ("t.0", "x")] == list(cookies.items())


def test_jar_is_not_changed() -> None:
    """The caller's jar stays as it was, its expired cookies included."""
    jar = jar_for("oa.example")
    jar.set("old", "x", domain="oa.example", expires=1)
    found(URL, jar)

    assert {"a", "old"} == {cookie.name for cookie in jar}


@pytest.mark.parametrize(
    "jar",
    [
        pytest.param(CookieJar(), id="empty"),
        pytest.param(jar_for("other.example"), id="another host"),
        pytest.param(jar_for("sub.oa.example"), id="another host below"),
        pytest.param(jar_for("oa.example", path="/elsewhere"), id="another path"),
        pytest.param(jar_for("oa.example", expires=1), id="expired"),
    ],
)
def test_jar_without_a_cookie_for_the_host(jar: CookieJar) -> None:
    """A jar that holds nothing for the address is an error that names its host."""
    with pytest.raises(ConfigurationError, match=r"^cookies: the jar holds no cookie for oa\.example"):
        found(URL, jar)


def test_secure_cookie_stays_off_plain_http() -> None:
    """A jar's cookie for secure connections does not go to an http address."""
    with pytest.raises(ConfigurationError, match="no cookie for"):
        found("http://oa.example", jar_for("oa.example", secure=True))


BAD_COOKIES = [
    pytest.param("", id="empty header"),
    pytest.param("  ", id="blank header"),
    pytest.param(";", id="separator alone"),
    pytest.param({}, id="empty mapping"),
    pytest.param(5, id="number"),
    pytest.param(b"a=b", id="bytes"),
    pytest.param(["a=b"], id="list"),
    pytest.param(f"a=b; {SECRET}", id="part without a name"),
    pytest.param(f"{SECRET}\ud83d", id="token beyond ASCII"),
    pytest.param(f"{SECRET}\0", id="token with NUL"),
    pytest.param(f"a={SECRET}\r\nX: y", id="header with a line end"),
    pytest.param(f"={SECRET}; a=", id="no name"),
    pytest.param(f"{SECRET} x=y", id="name with a space"),
    pytest.param({"a": f"{SECRET}\n"}, id="value with a line end"),
    pytest.param({"a": f"{SECRET};b=c"}, id="value with a separator"),
    pytest.param({"a": f"{SECRET}\xe9"}, id="value beyond ASCII"),
    pytest.param({"a": ""}, id="empty value"),
    pytest.param({"a": None}, id="no value"),
    pytest.param({"a": SECRET.encode()}, id="value of bytes"),
    pytest.param({"a": [SECRET]}, id="value in a list"),
    pytest.param({"": SECRET}, id="empty name"),
    pytest.param({5: SECRET}, id="name number"),
    pytest.param({f"{SECRET}\n": "x"}, id="name with a line end"),
    pytest.param({f"{SECRET}=": "x"}, id="name with a sign"),
    pytest.param(f"{SECRET}=", id="padded bare token"),
]


@pytest.mark.parametrize("cookies", BAD_COOKIES)
def test_bad_cookies(cookies: Any) -> None:
    """Cookies that cannot be sent are refused, and the error names the argument and shows no value."""
    with pytest.raises(ConfigurationError, match=r"^cookies") as caught:
        found(URL, cookies)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "cookie", [item for item in BAD_COOKIES if isinstance(item.values[0], str) and item.values[0] != ""]
)
def test_bad_cookie_in_the_environment(cookie: str) -> None:
    """The same headers are refused in the environment, and the error names the variable."""
    with pytest.raises(ConfigurationError, match=r"^\$OA_COOKIE") as caught:
        found(OA_BASE_URL=URL, OA_COOKIE=cookie)

    assert SECRET not in str(caught.value)


BAD_TOKENS = [
    pytest.param(f"Bearer {SECRET}", id="scheme"),
    pytest.param(f"bearer {SECRET}", id="scheme in small letters"),
    pytest.param(f"{SECRET}\n", id="line end"),
    pytest.param(f"{SECRET}\r\nX: y", id="header"),
    pytest.param(f" {SECRET}", id="space"),
    pytest.param(f"{SECRET}\t", id="tab"),
    pytest.param(f"{SECRET}\xe9", id="beyond ASCII"),
    pytest.param(f"{SECRET}\ud83d", id="half a pair"),
    pytest.param(f"{SECRET}\0", id="NUL"),
    pytest.param(f"{SECRET}\x7f", id="DEL"),
]


@pytest.mark.parametrize(
    "token", [*BAD_TOKENS, pytest.param("", id="empty"), pytest.param(5, id="number"), pytest.param(b"t", id="bytes")]
)
def test_bad_token(token: Any) -> None:
    """A token that cannot be sent is refused, and the error names the argument and does not show it."""
    with pytest.raises(ConfigurationError, match=r"^token ") as caught:
        found(URL, token=token)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("token", BAD_TOKENS)
def test_bad_token_in_the_environment(token: str) -> None:
    """The same tokens are refused in the environment, and the error names the variable."""
    with pytest.raises(ConfigurationError, match=r"^\$OA_TOKEN ") as caught:
        found(OA_BASE_URL=URL, OA_TOKEN=token)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(found(URL, token=SECRET), id="token"),
        pytest.param(found(URL, cookies=SECRET), id="bare token"),
        pytest.param(found(URL, cookies={SECRET: SECRET}), id="cookies"),
    ],
)
def test_no_credential_in_the_repr(target: Target) -> None:
    """A target shows its address and no credential."""
    assert URL in repr(target)
    assert SECRET not in repr(target)
    assert SECRET not in str(target)
