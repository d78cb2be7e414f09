"""Who is let in, and what comes back when a request makes no sense."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest
import requests

from oa_client.local import LocalServer
from tests.local.support import PATIENCE, Puppet, User, exchange


def get(server: LocalServer, path: str, headers: dict[str, str]) -> requests.Response:
    """Send a GET with these headers and no credentials of its own."""
    return requests.get(server.url + path, headers=headers, timeout=PATIENCE, allow_redirects=False)


@pytest.mark.parametrize(
    ("header", "status", "detail"),
    [
        pytest.param(None, 403, "Not authenticated", id="none"),
        pytest.param("{token}", 403, "Not authenticated", id="no scheme"),
        pytest.param("bearer {token}", 403, "Not authenticated", id="lower-case scheme"),
        pytest.param("Bearer ", 403, "Not authenticated", id="empty"),
        pytest.param("Bearer garbage", 401, "Invalid token", id="garbage"),
        pytest.param("Bearer  {token}", 401, "Invalid token", id="two spaces"),
        pytest.param("Bearer tök€n", 401, "Invalid token", id="not ASCII"),
    ],
)
def test_the_wrong_bearer_is_refused(server: LocalServer, header: str | None, status: int, detail: str) -> None:
    """In the recorded words, whatever the header holds."""
    line = "" if header is None else f"Authorization: {header.format(token=server.token)}\r\n"
    for path in ("/auth/check", "/chats", "/chats/x/messages/y/events"):
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port(server)}\r\n{line}Connection: close\r\n\r\n"
        head, _, body = exchange(server, request.encode()).partition(b"\r\n\r\n")

        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert json.loads(body) == {"detail": detail}


def test_the_right_bearer_is_told_its_user(server: LocalServer) -> None:
    """The check answers with the user's id; the list of models needs no sign-in."""
    answer = get(server, "/auth/check", {"Authorization": f"Bearer {server.token}"})

    assert (answer.status_code, answer.json()) == (200, "local")
    assert get(server, "/configs/model_configs", {}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 403, id="nothing"),
        pytest.param({"Cookie": "next-auth.session-token=garbage"}, 403, id="garbage"),
        pytest.param({"Cookie": "next-auth.session-token="}, 403, id="empty"),
        pytest.param({"Cookie": "next-auth.session-token=gärbäge"}, 403, id="not ASCII"),
        pytest.param({"Cookie": "__Secure-next-auth.session-token={whole}"}, 403, id="name of an https site"),
        pytest.param({"Cookie": "a=b; next-auth.session-token={whole}; c=d"}, 200, id="among others"),
        pytest.param({"Authorization": "Bearer {whole}"}, 200, id="bearer instead"),
        pytest.param({"Authorization": "bearer {whole}"}, 403, id="lower-case bearer"),
        pytest.param(
            {"Authorization": "Bearer {whole}", "Cookie": "next-auth.session-token=x"}, 403, id="cookie beats bearer"
        ),
        pytest.param(
            {"Cookie": "next-auth.session-token.0={one}; next-auth.session-token.1={two}"}, 200, id="two chunks"
        ),
        pytest.param(
            {"Cookie": "next-auth.session-token.1={two}; next-auth.session-token.0={one}"}, 403, id="wrong order"
        ),
    ],
)
def test_the_session_cookie(server: LocalServer, headers: dict[str, str], status: int) -> None:
    """Only the right session is let in; others get an empty 403 without a content type."""
    (whole,) = server.cookies.values()
    parts = {"whole": whole, "one": whole[:9], "two": whole[9:]}
    answer = get(server, "/api/chat", {name: value.format(**parts) for name, value in headers.items()})

    assert answer.status_code == status
    assert status == 200 or (answer.content == b"" and "content-type" not in answer.headers)


@pytest.mark.parametrize("path", ["/api/chat", "/chats", "/configs/model_configs", "/nothing"])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Host": "evil.example"}, id="foreign host"),
        pytest.param({"Host": "evil.example:{port}"}, id="foreign host, our port"),
        pytest.param({"Host": "127.0.0.1.evil.example:{port}"}, id="host that begins like ours"),
        pytest.param({"Host": "192.0.2.1:{port}"}, id="another machine"),
        pytest.param({"Host": "127.0.0.1:1"}, id="another port"),
        pytest.param({"Host": "127.0.0.1:{port}?x"}, id="host with a query"),
        pytest.param({"Host": "127.0.0.1:{port}@evil.example"}, id="host that looks like a login"),
        pytest.param({"Host": "x@127.0.0.1:{port}"}, id="login in the host"),
        pytest.param({"Host": "127.0.0.1:port"}, id="port that is no number"),
        pytest.param({"Host": "[::1"}, id="broken host"),
        pytest.param({"Origin": "https://evil.example"}, id="foreign origin"),
        pytest.param({"Origin": "null"}, id="null origin"),
        pytest.param({"Origin": "http://localhost:1"}, id="another local page"),
        pytest.param({"Origin": "https://localhost:{port}"}, id="another scheme"),
    ],
)
def test_foreign_pages_are_refused(server: LocalServer, path: str, headers: dict[str, str]) -> None:
    """Before anything else, good credentials or not."""
    answer = get(
        server,
        path,
        {
            "Authorization": f"Bearer {server.token}",
            **{name: value.format(port=port(server)) for name, value in headers.items()},
        },
    )

    assert answer.status_code == 403
    assert answer.text == "Not for you"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "127.0.0.2", "[::1]"])
def test_every_name_of_this_machine_is_good(server: LocalServer, host: str) -> None:
    """As Host and as Origin."""
    address = f"{host}:{port(server)}"

    assert get(server, "/configs/model_configs", {"Host": address, "Origin": f"http://{address}"}).ok


def test_a_request_without_host_is_refused(server: LocalServer) -> None:
    """Even where HTTP allows it."""
    assert exchange(server, b"GET /configs/model_configs HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403 ")


def test_only_this_machine_can_connect(server: LocalServer) -> None:
    """The address is 127.0.0.1, and nothing listens on the others."""
    assert urlsplit(server.url).hostname == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port(server)), timeout=PATIENCE)


def moved(target: str) -> dict[str, str]:
    """The headers with which the website sends a client elsewhere."""
    return {"location": target, "refresh": f"0;url={target}", "keep-alive": ""}


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "body"),
    [
        pytest.param("GET", "/nothing", 404, {}, b'{"detail":"Not Found"}', id="unknown path"),
        pytest.param("PATCH", "/chats", 405, {"allow": "GET"}, b'{"detail":"Method Not Allowed"}', id="method"),
        pytest.param("GET", "/auth/check/", 307, {"location": "{url}/auth/check"}, b"", id="slash"),
        pytest.param("GET", "/api/chat/", 308, moved("/api/chat"), b"/api/chat", id="slash on the website"),
        pytest.param("GET", "/api/chat/?after=x", 308, moved("/api/chat?after=x"), None, id="slash and query"),
        pytest.param("GET", "/api/%C3%A9%0D%0A/", 308, moved("/api/%C3%A9%0D%0A"), None, id="slash and no header"),
        pytest.param("GET", "/api/%00/", 308, moved("/api/%00"), None, id="slash after NUL"),
        pytest.param("GET", "/api/nothing", 404, {"content-type": "text/html; charset=utf-8"}, None, id="website"),
        pytest.param("PATCH", "/api/chat", 404, {"connection": "close"}, b"", id="method on the website"),
        pytest.param("GET", "/api/chat?include_hidden=maybe", 500, {}, b"Internal Server Error", id="flag"),
        pytest.param("GET", "/api/chat?after=x&before=y", 500, {}, b"Internal Server Error", id="two cursors"),
    ],
)
def test_what_is_not_there(
    server: LocalServer, method: str, path: str, status: int, headers: dict[str, str], body: bytes | None
) -> None:
    """Each surface says it in its own way."""
    answer = requests.request(
        method,
        server.url + path,
        headers={"Authorization": f"Bearer {server.token}"},
        cookies=server.cookies if path.startswith("/api") else None,
        allow_redirects=False,
        timeout=PATIENCE,
    )
    if path.startswith("/api"):
        headers = {"keep-alive": "timeout=5", **headers}

    assert answer.status_code == status
    assert (
        headers.items() == {name: answer.headers.get(name, "").replace(server.url, "{url}") for name in headers}.items()
    )
    assert body is None or answer.content == body


WRONG = "Something went wrong"
PARSING = "There was an error parsing the body"


@pytest.mark.parametrize(
    ("body", "inference", "website"),
    [
        pytest.param(b'{"content": "\\ud800"}', (500, ""), (500, WRONG), id="half a character"),
        pytest.param(b'{"content": "a\\u0000"}', (500, ""), (500, WRONG), id="NUL"),
        pytest.param(b'{"content": "\xff"}', (400, PARSING), (200, "\ufffd"), id="not UTF-8"),
        pytest.param(b"[" * 100_000, (400, PARSING), (400, "Invalid JSON"), id="nested without end"),
        pytest.param(b'{"content": NaN}', (200, "nan"), (400, "Invalid JSON"), id="NaN"),
        pytest.param(b"[1]", (422, "value is not a valid dict"), (422, "field required"), id="a list"),
        pytest.param(b'{"content": []}', (422, "str type expected"), (422, "str type expected"), id="wrong type"),
        pytest.param(b'{"content": 5}', (200, "5"), (200, "5"), id="a number"),
    ],
)
def test_a_malformed_body_gets_an_answer(
    user: User, body: bytes, inference: tuple[int, str], website: tuple[int, str], capfd: pytest.CaptureFixture[str]
) -> None:
    """A refusal, or what the real server makes of it, and no traceback."""
    chat_id = user.create()
    path = f"/chats/{chat_id}/prompter_message"
    if user.surface == "website":
        path = "/api/chat/prompter_message"
        if body.startswith(b"{"):
            body = body[:-1] + f', "chat_id": "{chat_id}"}}'.encode()
    answer = user.send("POST", path, data=body, headers={"Content-Type": "application/json; charset=utf-8"})
    status, text = website if user.surface == "website" else inference

    assert answer.status_code == status
    assert text in answer.content.decode()
    assert capfd.readouterr().err == ""


PARAMETER = {"name": "q", "in_": "query", "description": "", "required": True, "schema_": {"type": "string"}}
ENDPOINT = {"path": "/", "type": "get", "summary": "", "operation_id": "x", "url": "u", "params": [PARAMETER]}


def plugin(**changes: object) -> dict[str, object]:
    """A plugin as a client names it."""
    config = {
        **dict.fromkeys(("schema_version", "name_for_model", "name_for_human"), "x"),
        **dict.fromkeys(("description_for_model", "description_for_human"), "x"),
        "api": {"type": "openapi", "url": "u"},
        "auth": {"type": "none"},
        **changes,
    }
    return {"url": "u", "plugin_config": config}


@pytest.mark.parametrize(
    ("fields", "status", "detail"),
    [
        pytest.param({"sampling_parameters": {"top_k": 1e999}}, 500, None, id="infinite integer"),
        pytest.param({"sampling_parameters": {"top_p": 1e999}}, 500, None, id="infinite number"),
        pytest.param({"sampling_parameters": {"top_p": 10**400}}, 500, None, id="number beyond floats"),
        pytest.param({"sampling_parameters": {"top_k": []}}, 422, "value is not a valid integer", id="integer"),
        pytest.param({"sampling_parameters": []}, 200, None, id="empty list for an object"),
        pytest.param({"sampling_parameters": 1}, 422, "value is not a valid dict", id="object"),
        pytest.param({"plugins": {}}, 422, "value is not a valid list", id="plugins"),
        pytest.param({"plugins": [{"enabled": "off"}, 5]}, 422, "value is not a valid dict", id="plugin"),
        pytest.param({"plugins": [{"url": "u", "plugin_config": {}}]}, 422, "field required", id="plugin's fields"),
        pytest.param({"plugins": [plugin(contact_email="\ud800")]}, 500, None, id="plugin's text"),
        pytest.param({"plugins": [plugin(endpoints=[ENDPOINT])]}, 200, None, id="plugin's endpoint"),
        pytest.param(
            {"plugins": [plugin(endpoints=[{**ENDPOINT, "payload": {"a": "\ud800"}}])]}, 500, None, id="payload"
        ),
        pytest.param({"plugins": [{"url": "u", "trusted": []}]}, 422, "could not be parsed", id="boolean"),
    ],
)
def test_a_wrong_field_gets_an_answer(
    server: LocalServer, fields: dict[str, object], status: int, detail: str | None
) -> None:
    """The list of what is wrong, or a 500 where the real server stumbles."""
    user = User(server, "inference")
    chat_id = user.create()
    prompt = user.post_prompt(chat_id, content="hi").json()
    body = {"parent_id": prompt["id"], "model_config_name": "puppet", **fields}
    answer = user.send(
        "POST", f"/chats/{chat_id}/assistant_message", data=json.dumps(body).replace("Infinity", "1e999")
    )

    assert answer.status_code == status
    assert detail is None or detail in json.dumps(answer.json()["detail"])


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, (16 << 20) + 1])
def test_bodies_have_a_limit(user: User, size: int) -> None:
    """1 MB on the website, 16 MB on the inference server; the refusal is read even by who sends on."""
    chat_id = user.create()
    path, limit = f"/chats/{chat_id}/prompter_message", 16 << 20
    if user.surface == "website":
        path, limit = "/api/chat/prompter_message", 1 << 20
    body = json.dumps({"chat_id": chat_id, "content": ""}).encode()
    body = body.replace(b'""', b'"' + b"x" * (size - len(body)) + b'"')
    answer = user.send("POST", path, data=body, headers={"Content-Type": "application/json"})

    assert len(body) == size
    assert answer.status_code == (200 if size <= limit else 413)
    if size > limit:
        expected = "Body exceeded 1mb limit" if user.surface == "website" else '{"detail":"Request body is too large"}'
        assert answer.text == expected


@pytest.mark.parametrize(("levels", "status"), [(99, 200), (100, 500), (600, 500)])
def test_a_chat_with_nested_values_can_be_read(server: LocalServer, levels: int, status: int) -> None:
    """What is nested too deeply to be sent again is not taken; the chat is there either way."""
    user = User(server, "website")
    chat_id = user.create()
    prompt = user.post_prompt(chat_id, content="hi").json()
    nested = json.loads('{"a":' * levels + "1" + "}" * levels)
    plugins = [plugin(endpoints=[{**ENDPOINT, "payload": nested}])]
    answer = user.post_answer(chat_id, parent_id=prompt["id"], plugins=plugins)

    assert answer.status_code == status
    assert user.chat(chat_id).status_code == 200


def test_many_wrong_items_take_no_room(server: LocalServer) -> None:
    """Anybody may send them, and gets a list of what is wrong that does not grow with them."""
    url = f"{server.url}/configs/plugin_config"
    sizes = []
    for count in (50, 1000, 100_000):
        answer = requests.post(url, json=plugin(endpoints=[ENDPOINT, *[{}] * count]), timeout=PATIENCE)
        assert answer.status_code == 422
        sizes.append(len(answer.json()["detail"]))

    assert sizes[0] == sizes[1] == sizes[2] < 200


@pytest.mark.parametrize(("size", "status"), [(1 << 20, 422), ((1 << 20) + 1, 413)])
def test_what_anybody_may_send_has_a_limit_of_its_own(server: LocalServer, size: int, status: int) -> None:
    """1 MB, for a body of plain JSON that holds no plugin."""
    body = b'"' + b"x" * (size - 2) + b'"'

    assert requests.post(f"{server.url}/configs/plugin_config", data=body, timeout=PATIENCE).status_code == status


def test_a_body_without_end_is_not_read_to_its_end(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past a second limit the server stops reading."""
    monkeypatch.setattr("oa_client.local._surfaces.http.MOST_DISCARDED", (1 << 20) + 1)
    user = User(server, "website")
    try:
        answer = user.send("POST", "/api/chat", data=b"x" * (8 << 20), headers={"Content-Type": "application/json"})
    except requests.RequestException:  # how it looks to a client that does not listen while it sends
        return

    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/chats", "/api/chat"])
def test_a_client_that_leaves_in_mid_request_is_no_error(
    server: LocalServer, path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The connection ends, nothing is printed, and the server goes on."""
    (session,) = server.cookies.values()
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port(server)}\r\nAuthorization: Bearer {server.token}\r\n"
        f"Cookie: next-auth.session-token={session}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
    )
    with socket.create_connection(("127.0.0.1", port(server)), timeout=PATIENCE) as connection:
        connection.sendall(request.encode())
    User(server, "inference").settle()

    assert capfd.readouterr().err == ""


def test_models_are_the_real_one_and_an_alias(user: User) -> None:
    """The alias says what answers; other names are refused."""
    path = "/api/chat/models" if user.surface == "website" else "/configs/model_configs"
    models = user.send("GET", path).json()
    chat_id = user.create()
    prompt = user.post_prompt(chat_id, content="hi").json()
    refused = user.post_answer(chat_id, parent_id=prompt["id"], model_config_name="gpt-5")

    assert [model["name"] for model in models] == ["puppet", "OA_SFT_Llama_30B_6"]
    assert "puppet, which answers" in models[1]["description"]
    assert [len(model["parameter_configs"]) for model in models] == [8, 8]
    assert refused.status_code == 422
    assert list(refused.json().values()) == ["Model gpt-5 not found"]


def test_the_real_name_is_the_model_that_is_told(user: User, puppet: Puppet) -> None:
    """Work parameters hold its name, whichever was sent, and a seed that can pass 2^53."""
    chat_id = user.create()
    prompt = user.post_prompt(chat_id, content="hi").json()
    answers = [
        user.post_answer(chat_id, parent_id=prompt["id"], model_config_name=name).json()["work_parameters"]
        for name in ("puppet", "OA_SFT_Llama_30B_6")
    ]

    assert [answer["model_config"]["model_id"] for answer in answers] == ["puppet", "puppet"]
    assert all(0 <= answer["seed"] < 2**64 for answer in answers)


def test_events_are_framed_as_recorded(user: User, puppet: Puppet) -> None:
    """CRLF, ASCII, one event a chunk, and the headers of each surface."""
    chat_id, answer_id = user.ask("hi")
    puppet.play("hi").finish("é")
    (session,) = user.server.cookies.values()
    raw = exchange(
        user.server,
        (
            f"GET {user.events_path(chat_id, answer_id)} HTTP/1.1\r\nHost: 127.0.0.1:{port(user.server)}\r\n"
            f"Authorization: Bearer {user.server.token}\r\nCookie: next-auth.session-token={session}\r\n"
            "Connection: close\r\n\r\n"
        ).encode(),
    )
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = {line.lower() for line in head.decode().split("\r\n")[1:] if not line.startswith("date:")}
    token = b'data: {"event_type": "token", "text": "\\u00e9"}\r\n\r\n'

    assert f"{len(token):x}\r\n".encode() + token + b"\r\n" in body
    assert body.endswith(b"}}\r\n\r\n\r\n0\r\n\r\n")
    assert raw.isascii()
    if user.surface == "website":
        assert lines == {"keep-alive: timeout=5", "connection: close", "transfer-encoding: chunked"}
    else:
        assert "content-type: text/event-stream; charset=utf-8" in lines
        assert "cache-control: no-cache" in lines


def port(server: LocalServer) -> int:
    """The server's port."""
    number = urlsplit(server.url).port
    assert number is not None
    return number
