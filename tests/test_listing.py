"""The list of chats, page by page, both ways, and what is done to all of them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from oa_client import (
    APIError,
    AsyncClient,
    AuthError,
    Client,
    ConfigurationError,
    ProtocolError,
)
from oa_client._chats.listing import Pager
from tests.scripted import (
    Connection,
    Handler,
    OpenAssistantScript,
    Request,
    ScriptedChat,
    chat_json,
    in_turn,
    message_json,
    stall,
)
from tests.test_async import cancel_when

#: What each server gives at a time when it is not told; the website takes no number.
DEFAULT_SIZES = {"website": 20, "inference": 10}


def cursor(chat_id: str) -> str:
    """Name a place in the list as the servers do."""
    return base64.b64encode(chat_id.encode()).decode()


class Library:
    """
    The chats of a user, listed as the real servers do.

    Args:
        script: whose list it answers.
        count: of chats; c0 is the oldest.
    """

    def __init__(self, script: OpenAssistantScript, count: int) -> None:
        self._script = script
        script.chats = {f"c{number}": ScriptedChat(f"c{number}") for number in range(count)}
        script.on_chats = self.answer

    def answer(self, connection: Connection, request: Request) -> None:
        """Send the page that was asked for."""
        query = request.query
        after, before = query.get("after"), query.get("before")
        assert after is None or before is None
        size = DEFAULT_SIZES[self._script.surface]
        if self._script.surface == "inference":
            size = int(query.get("limit", size))
        else:
            assert "limit" not in query
        hidden_too = query.get("include_hidden", "false") == "true"
        newest_first = [chat for chat in reversed(self._script.chats.values()) if not chat.deleted]
        listed = [chat.id for chat in newest_first if hidden_too or not chat.hidden]
        page, newer, older = self._cut(listed, after, before, size)
        chats = [chat_json(chat_id, hidden=self._script.chats[chat_id].hidden) for chat_id in page]
        self._script.send_json(connection, {"chats": chats, "next": older, "prev": newer})

    @staticmethod
    def _cut(
        listed: list[str], after: str | None, before: str | None, size: int
    ) -> tuple[list[str], str | None, str | None]:
        """Return a page, and the cursors to newer and to older ones."""

        def age(place: str) -> int:
            return int(base64.b64decode(place).decode()[1:])

        if before is not None:
            newer = [chat_id for chat_id in listed if int(chat_id[1:]) > age(before)]
            page = newer[-size:]
            return page, cursor(page[0]) if page else None, cursor(page[-1]) if page else before
        rest = [chat_id for chat_id in listed if after is None or int(chat_id[1:]) < age(after)]
        page = rest[:size]
        older = cursor(page[-1]) if len(rest) > size else None
        return page, (cursor(page[0]) if page and after else after), older


@pytest.fixture
def client(script: OpenAssistantScript) -> Iterator[Client]:
    """A client of the script that does not wait to try again; after it no connection is left."""
    with Client(script.url, **script.credentials, max_retries=0) as made:
        yield made
    script.wait_until(lambda: script.open_connections == 0)


def queries(script: OpenAssistantScript) -> list[dict[str, str]]:
    """Return what was asked of the list, but for the size of a page."""
    asked = [request.query for request in script.requests if script.route(request)[0] == "chats"]
    return [{name: value for name, value in query.items() if name != "limit"} for query in asked]


def newest_first(last: int, first: int = 0) -> list[str]:
    """Name the chats of a range of numbers, the newest first."""
    return [f"c{number}" for number in range(last, first - 1, -1)]


@pytest.mark.parametrize("count", [0, 1, 20, 21, 59, 60])
def test_all_chats(script: OpenAssistantScript, client: Client, count: int) -> None:
    """Iterating gives every chat once, the newest first, whatever the size of the pages."""
    Library(script, count)

    assert newest_first(count - 1) == [chat.id for chat in client.list_chats()]


def test_repr_says_how_far_it_is() -> None:
    """It asks for nothing."""
    with OpenAssistantScript("website") as script, Client(script.url, **script.credentials) as client:
        Library(script, 30)
        chats = client.list_chats()
        seen = [repr(chats)]
        next(chats)
        seen.append(repr(chats))
        list(chats)
        seen.append(repr(chats))

    assert 2 == len(script.requests)
    assert [
        "<ChatList: 0 pages read, more to come>",
        "<ChatList: 1 page read, more to come>",
        "<ChatList: 2 pages read, no more>",
    ] == seen


def test_three_pages_of_the_website() -> None:
    """The website is asked for page after page of twenty, and never told how many to give."""
    with OpenAssistantScript("website") as script, Client(script.url, **script.credentials) as client:
        Library(script, 60)
        chats = list(client.list_chats())

    assert 60 == len(chats)
    assert ["/api/chat", f"/api/chat?after={cursor('c40')}", f"/api/chat?after={cursor('c20')}"] == [
        request.target.replace("%3D", "=") for request in script.requests
    ]


def test_pages_of_the_inference_server() -> None:
    """The inference server is asked for as many chats at a time as it gives."""
    with OpenAssistantScript("inference") as script, Client(script.url, **script.credentials) as client:
        Library(script, 101)
        pages = list(client.list_chats().pages())

    assert [100, 1] == [len(page.chats) for page in pages]
    assert ["100", "100"] == [request.query["limit"] for request in script.requests]


def test_pages_are_asked_for_when_they_are_needed(script: OpenAssistantScript, client: Client) -> None:
    """Making the list asks for nothing, and no page is asked for before the one before it was used up."""
    Library(script, 101)
    chats = client.list_chats()
    calls = [len(script.calls)]
    next(chats)
    calls.append(len(script.calls))
    chats.pages()

    assert [0, 1, 1] == [*calls, len(script.calls)]


def test_older_ones(script: OpenAssistantScript, client: Client) -> None:
    """Behind a cursor come the older chats, the newest of them first."""
    Library(script, 30)

    assert newest_first(9) == [chat.id for chat in client.list_chats(after=cursor("c10"))]


def test_newer_ones(script: OpenAssistantScript, client: Client) -> None:
    """Before a cursor come the newer chats, the oldest of them first, to the newest."""
    Library(script, 130)

    assert newest_first(129, 11)[::-1] == [chat.id for chat in client.list_chats(before=cursor("c10"))]


def test_pages_of_newer_ones(script: OpenAssistantScript, client: Client) -> None:
    """A page has its newest chat first, whatever way it was come to, and leads both ways."""
    Library(script, 30)
    page = next(client.list_chats(before=cursor("c20")).pages())

    assert newest_first(29, 21) == [chat.id for chat in page.chats]
    assert (cursor("c29"), cursor("c21")) == (page.prev, page.next)
    assert newest_first(20) == [chat.id for chat in client.list_chats(after=page.next)]


def test_hidden_ones(script: OpenAssistantScript, client: Client) -> None:
    """Hidden chats are listed where that is asked for, and on each page of it."""
    Library(script, 120)
    for number in range(0, 120, 2):
        script.chats[f"c{number}"].hidden = True

    assert newest_first(119) == [chat.id for chat in client.list_chats(include_hidden=True)]
    assert {"true"} == {query["include_hidden"] for query in queries(script)}
    script.requests.clear()
    assert newest_first(119)[::2] == [chat.id for chat in client.list_chats()]
    assert not any("include_hidden" in query for query in queries(script))


def page(*chat_ids: str, older: str | None = None, newer: str | None = None) -> Callable[..., Any]:
    """Make an answer of one page."""

    def answer(script: OpenAssistantScript) -> Handler:
        value = {"chats": [chat_json(chat_id) for chat_id in chat_ids], "next": older, "prev": newer}
        return lambda connection, _: script.send_json(connection, value)

    return answer


def test_empty_page_is_the_end(script: OpenAssistantScript, client: Client) -> None:
    """A page without chats is the last, though a cursor leads on."""
    script.on_chats = in_turn(page("c2", older="x")(script), page(older="y")(script))
    pages = list(client.list_chats().pages())

    assert [["c2"]] == [[chat.id for chat in item.chats] for item in pages]
    assert 2 == len(script.calls)


@pytest.mark.parametrize("cursors", [["x", "x"], ["x", "y", "x"], ["x", "y", "z", "y"]])
@pytest.mark.parametrize("way", ["older", "newer"])
def test_circle(script: OpenAssistantScript, client: Client, cursors: list[str], way: str) -> None:
    """A list that leads back to where it was is an error, at the page that does, and no endless list."""
    script.on_chats = in_turn(*(page("c1", **{way: place})(script) for place in cursors))
    chats = client.list_chats(before="w") if way == "newer" else client.list_chats()
    with pytest.raises(ProtocolError, match="never ends"):
        list(chats)

    assert len(cursors) == len(script.calls)


def test_circle_to_the_beginning(script: OpenAssistantScript, client: Client) -> None:
    """A list that leads back to the cursor that it began with is an error."""
    script.on_chats = in_turn(page("c1", older="x")(script), page("c0", older="w")(script))
    with pytest.raises(ProtocolError, match="never ends"):
        list(client.list_chats(after="w"))


def test_going_on_after_an_error(script: OpenAssistantScript, client: Client) -> None:
    """A list that failed in the middle goes on with the page that failed."""
    library = Library(script, 250)

    def refuse(connection: Connection, _: Request) -> None:
        script.send_text(connection, "", 403)

    script.on_chats = in_turn(library.answer, refuse, library.answer)
    chats = client.list_chats()
    size = 20 if script.surface == "website" else 100
    first = [next(chats).id for _ in range(size)]
    with pytest.raises(AuthError):
        next(chats)

    assert newest_first(249) == first + [chat.id for chat in chats]


def test_page_that_nobody_took(script: OpenAssistantScript, client: Client) -> None:
    """A page is the next one until it was taken."""
    Library(script, 130)
    pager = Pager(client._engine, None, None, include_hidden=False)
    first, again = pager.ask(), pager.ask()

    assert first is not None
    assert first == again
    assert newest_first(129)[: len(first.chats)] == [chat.id for chat in pager.go_on(first)]
    assert first != pager.ask()


@pytest.mark.parametrize(
    "arguments",
    [{"after": "a", "before": "b"}, {"after": ""}, {"before": ""}, {"after": 5}, {"before": b"x"}],
)
def test_bad_cursors(script: OpenAssistantScript, client: Client, arguments: Any) -> None:
    """Two directions, or what is no cursor, are refused before anything is sent."""
    with pytest.raises(ConfigurationError, match=r"after|before"):
        client.list_chats(**arguments)

    assert [] == script.calls


def test_odd_cursors(script: OpenAssistantScript, client: Client) -> None:
    """A cursor is sent back as it came, whatever is in it."""
    odd = 'a&b=c #%"é\n\U0001f642'
    script.on_chats = in_turn(page("c1", older=odd)(script), page("c0")(script))

    assert ["c1", "c0"] == [chat.id for chat in client.list_chats()]
    assert odd == queries(script)[1]["after"]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([], id="list"),
        pytest.param({}, id="empty"),
        pytest.param({"chats": None, "next": None}, id="null"),
        pytest.param({"chats": [5]}, id="numbers"),
        pytest.param({"chats": [{"title": "x"}]}, id="no id"),
        pytest.param({"chats": [], "next": 5}, id="cursor"),
    ],
)
def test_answers_that_are_none(script: OpenAssistantScript, client: Client, value: Any) -> None:
    """What is no page of chats is a ProtocolError."""
    script.on_chats = lambda connection, _: script.send_json(connection, value)
    with pytest.raises(ProtocolError):
        list(client.list_chats())


# All of them.


def test_hide_all(script: OpenAssistantScript, client: Client) -> None:
    """Each chat that shows is hidden, on all pages, and the others are left alone."""
    Library(script, 45)
    script.chats["c3"].hidden = True
    client.hide_all_chats()

    assert [] == script.visible_chats
    assert 44 == script.calls.count("update")


def test_hide_all_while_another_client_deletes(script: OpenAssistantScript, client: Client) -> None:
    """A chat that is gone by the time it would be hidden is passed over."""
    library = Library(script, 3)

    def answer(connection: Connection, request: Request) -> None:
        library.answer(connection, request)
        # For the next requests: this one is over.
        script.chats["c1"].deleted = True
        script.on_chats = library.answer

    script.on_chats = answer
    client.hide_all_chats()

    assert [] == script.visible_chats
    assert [True, False, True] == [chat.hidden for chat in script.chats.values()]


def test_hide_all_with_a_server_in_trouble(script: OpenAssistantScript, client: Client) -> None:
    """A failure to hide a chat that is there is not passed over."""
    Library(script, 3)
    script.on_update = lambda connection, _: script.send_text(connection, "Internal Server Error", 500)
    with pytest.raises(APIError) as caught:
        client.hide_all_chats()

    assert 500 == caught.value.status
    assert 1 == script.calls.count("update")


def test_delete_all(script: OpenAssistantScript, client: Client) -> None:
    """Each chat is deleted, hidden ones too; one with an answer on its way is hidden, named, and deleted later."""
    Library(script, 25)
    script.chats["c3"].hidden = True
    answer = message_json("m1", "c7", "p1", state="in_progress")
    script.chats["c7"].messages["m1"] = answer
    later = client.delete_all_chats()

    assert ("c7",) == later
    assert 24 == len(script.deleted_chats)
    assert [] == script.visible_chats
    script.change_message("m1", state="complete", content="Hello")
    assert () == client.close()
    assert 25 == len(script.deleted_chats)


# For async code.


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_async_lists(script: OpenAssistantScript, anyio_backend: str) -> None:
    """Async lists give the same chats and pages, both ways."""
    Library(script, 130)
    async with AsyncClient(script.url, **script.credentials) as client:
        chats = [chat.id async for chat in client.list_chats()]
        newer = [chat.id async for chat in client.list_chats(before=cursor("c10"))]
        pages = [item async for item in client.list_chats(include_hidden=True).pages()]
        await client.hide_all_chats()
        hidden = [chat.id async for chat in client.list_chats()]
        later = await client.delete_all_chats()

    assert newest_first(129) == chats
    assert newest_first(129, 11)[::-1] == newer
    assert newest_first(129) == [chat.id for item in pages for chat in item.chats]
    assert ([], ()) == (hidden, later)
    assert 130 == len(script.deleted_chats)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_cancelled_page_comes_again(script: OpenAssistantScript, anyio_backend: str) -> None:
    """A page that was on its way when its task was cancelled is asked for again, and none is left out."""
    library = Library(script, 130)
    async with AsyncClient(script.url, **script.credentials) as client:
        chats = client.list_chats()
        seen = [(await anext(chats)).id]
        script.on_chats = stall

        async def read() -> None:
            async for chat in chats:
                seen.append(chat.id)

        await cancel_when(lambda: script.wait_until(lambda: script.calls.count("chats") == 2), read)
        script.on_chats = library.answer
        seen += [chat.id async for chat in chats]

    assert newest_first(129) == seen
