"""What a client's calls run on: the connection to its server, what is open, and whose turn it is."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from oa_client._accounts.credentials import Credentials, Login
from oa_client._accounts.target import Target
from oa_client._calls.catalog import Catalog
from oa_client._calls.cleanup import DEADLINE, Cleanup, start_all
from oa_client._calls.exchange import Exchange, snapshot
from oa_client._calls.life import LOST_ANSWERS, State
from oa_client._calls.place import Place
from oa_client._calls.process import Process
from oa_client._calls.reply import Reply
from oa_client._calls.turns import Turn, Turns
from oa_client._net.body import Body, LostBody
from oa_client._net.interrupt import Interrupted
from oa_client._net.transport import Transport
from oa_client._values.errors import APIError, ConfigurationError, OAError, RateLimitError, TransportError, reworded
from oa_client._values.hidden import Hidden
from oa_client._values.question import Question
from oa_client._values.timeout import Timeout
from oa_client._wire.call import Call
from oa_client._wire.inference import Inference
from oa_client._wire.surface import Surface, check_size

_T = TypeVar("_T")

#: Told of each exchange that is made in this context: who runs a call in another thread can stop it with that.
note_exchange: ContextVar[Callable[[Exchange], None] | None] = ContextVar("note_exchange", default=None)


@dataclass(frozen=True, slots=True)
class _Link:
    """What is needed to talk to one server."""

    transport: Transport
    cleanup: Cleanup


class Engine:
    """
    Runs the calls of one client, from whatever thread. All methods raise as the calls do that they make.

    Args:
        target: the server; None is the local one, which is started with the first call.
        transport: the class that connects to it.
        connection: its other arguments.
        timeout: limits of each exchange.
        max_retries: how often a call may be repeated.
        serialize: whether to ask for an answer only when no other is pending.

    Attributes:
        target: the server; None before the local one is started.
        catalog: the models and plugins of the server.
        missing: what the client was made without, though it needs it: it was pickled, and these are secret.
    """

    def __init__(
        self,
        target: Target | None,
        transport: type[Transport],
        connection: Hidden[dict[str, Any]],
        timeout: Timeout,
        max_retries: int,
        serialize: bool,
    ) -> None:
        self.target = target
        self.missing: tuple[str, ...] = ()
        self.catalog = Catalog()
        self._transport = transport
        self._connection = connection
        self._timeout = timeout
        self._max_retries = max_retries
        self._serialize = serialize
        self._closed = False
        self._process = Process()
        self._lock = threading.RLock()
        # As in `Interrupt`, nobody says `with self._changed`.
        self._changed = threading.Condition(self._lock)
        # For the start of the local server, which takes a while: an event loop may have to wait for the other.
        self._connecting = threading.RLock()
        self._link: _Link | None = None
        self._turns = Turns() if self._serialize else None
        self._exchanges: weakref.WeakSet[Exchange] = weakref.WeakSet()
        if target is not None:
            # Starting the local server takes a while, so that waits for the first call.
            self._connect()

    def _connect(self) -> _Link:
        """Return what is needed to talk to the server; without an address, start the local one first."""
        with self._connecting:
            if self._link is None:
                is_own = self.target is None
                if self.target is None:
                    self.target = _local_target()
                transport = self._transport(self.target, **self._connection.value)
                self._link = _Link(transport, Cleanup(transport, is_own))
            return self._link

    def exchange(self, keep: bool) -> Exchange:
        """
        Make an exchange that `stop()` can end.

        Args:
            keep: whether a chat that it makes is to stay.
        """
        self._process.check()
        if self.missing:
            raise ConfigurationError(
                f"the client was pickled, and with it not its {' and '.join(self.missing)}: make one with "
                "Client(**settings), where settings is what client.settings(with_credentials=True) returned"
            )
        self._check_open()
        link = self._connect()
        target = link.transport.target
        target.credentials.warn_of_expiry(target.base_url)
        with self._lock:
            self._check_open()
            exchange = Exchange(link.transport, self._timeout, self._max_retries, None if keep else link.cleanup)
            self._exchanges.add(exchange)
        note = note_exchange.get()
        if note is not None:
            note(exchange)
        start_all()
        return exchange

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigurationError("the client is closed: make a new one")

    @contextmanager
    def guard(self, exchange: Exchange) -> Iterator[None]:
        """Clean up after calls that fail, and describe their errors."""
        try:
            exchange.thread = threading.get_ident()
            yield
        except BaseException as error:
            if exchange.life.progress is State.REFUSED:
                # Nothing is queued, so the chat can go at once.
                exchange.delete_chat()
            exchange.leave_chat()
            if not isinstance(error, GeneratorExit):
                # The garbage collector may be at it, and starts no thread.
                exchange.clean_up()
            if isinstance(error, Interrupted):
                raise exchange.closed_meanwhile() from error
            if isinstance(error, OAError):
                exchange.describe(error)
            raise
        finally:
            exchange.thread = None
            with self._lock:
                self._changed.notify_all()

    @contextmanager
    def exchanging(self) -> Iterator[Exchange]:
        """Make an exchange for calls that make no chat, and clean up after it."""
        exchange = self.exchange(keep=True)
        with self.guard(exchange):
            yield exchange

    def send(self, make_call: Callable[[Surface], Call[_T]]) -> _T:
        """Send one call."""
        with self.exchanging() as exchange:
            return exchange.send(make_call(exchange.surface))

    def open(
        self, question: Question, place: Place, note: Callable[[Exchange], object]
    ) -> Generator[Turn, None, Reply]:
        """
        Ask, and open the events; a generator, which waits as `Turn.come` does.

        Its steps are not generators of their own, so that each call is a few frames away from the user's.

        Args:
            question: what is asked.
            place: where the prompt goes.
            note: is told of the exchange.
        """
        exchange = self.exchange(place.keep)
        exchange.chat_id = place.chat_id
        note(exchange)
        life, turns = exchange.life, self._turns
        with self.guard(exchange), place.around(exchange) as turn:
            try:
                if turn:
                    yield from turn.come()
                check_size(exchange.surface, question)
                question = self.catalog.complete(exchange, question)
                chat_id = place.chat_id or exchange.create_chat()
                prompt_id = place.put(exchange, chat_id, question.prompt)
                with turns.turn(exchange) if turns else nullcontext() as turn:
                    if turn:
                        yield from turn.come()
                    exchange.clock.ask()
                    life.ask()
                    message_id = self._post_assistant(exchange, chat_id, prompt_id, question)
                    life.take(message_id, partial(turns.end, message_id) if turns else None)
                    if turns:
                        turns.begin(chat_id, message_id, exchange.timeout.first_token)
                body = self._open_events(exchange, chat_id, message_id)
            except OAError as error:
                life.fail(error)
                raise
            return Reply(exchange, body, chat_id, message_id)

    def ask(self, question: Question, keep: bool, note: Callable[[Exchange], object]) -> Generator[Turn, None, Reply]:
        """Ask in a chat of its own, as `open` does."""
        return self.open(question, Place(keep), note)

    def _post_assistant(self, exchange: Exchange, chat_id: str, prompt_id: str, question: Question) -> str:
        try:
            return exchange.send(exchange.surface.post_assistant(chat_id, prompt_id, question))
        except APIError as error:
            if error.status != 500:
                raise
            # The real server means 429 here, and fails over it. Its other reasons for a 500 are a parent that does
            # not exist, which was just made, and a database that is down, which fails the next call too.
            try:
                exchange.send(exchange.surface.get_chat(chat_id))
            except OAError:
                raise error from None
            raise reworded(
                error,
                RateLimitError,
                f"{error}: this is probably the rate limit (the real server allows 20 answers in about 11 minutes, "
                "and counts refused ones): wait some minutes",
            ) from error

    def _open_events(self, exchange: Exchange, chat_id: str, message_id: str) -> Body:
        try:
            body: Body = exchange.send(exchange.surface.open_events(chat_id, message_id))
            return body
        except Interrupted:
            raise
        except TransportError as error:
            # The answer was asked for, so the reply looks for it on the server, as after a break in mid-answer.
            return LostBody(error)
        except APIError as error:
            if error.status not in LOST_ANSWERS:
                raise
            return LostBody(error)

    def delete_later(self, chat_id: str) -> None:
        """Have a chat deleted, in the background, when its answers are final."""
        cleanup = self._connect().cleanup
        cleanup.leave(chat_id)
        cleanup.start()

    def stop(self) -> None:
        """End all that is open, and refuse what is new. Waits for nothing."""
        if not self._process.is_this:
            return
        with self._lock:
            self._closed = True
            exchanges = list(self._exchanges)
        for exchange in exchanges:
            exchange.stop()
            exchange.clean_up()

    def close(self, timeout: float, given_up: threading.Event | None = None) -> tuple[str, ...]:
        """
        End all that is open, delete what chats are left, and close the connections.

        Args:
            timeout: seconds to wait for answers to be final.
            given_up: set if nobody waits for it any more: then all goes on that has begun, for the next call of this.

        Returns:
            the ids of the chats that could not be deleted in time.
        """
        if not self._process.is_this:
            # A forked child leaves all to the parent.
            return ()
        timeout = min(timeout, DEADLINE)
        deadline = monotonic() + timeout
        self.stop()
        with self._lock:
            # Whoever is between two calls may leave a chat yet. But nobody below a signal's handler can go on.
            own = threading.get_ident()
            self._changed.wait_for(
                lambda: all(exchange.thread in (None, own) for exchange in snapshot(self._exchanges)), timeout
            )
            link = self._link
        undeleted: tuple[str, ...] = ()
        given_up = given_up or threading.Event()
        if link is not None and not given_up.is_set():
            undeleted = link.cleanup.close(max(0.0, deadline - monotonic()), given_up)
        if given_up.is_set():
            return undeleted
        if link is not None:
            link.transport.close()
        return undeleted


def _local_target() -> Target:
    """Start the local server, or find the one that runs."""
    ways_out = (
        "; or name a server: pass base_url= (with token= or cookies=), or set $OA_BASE_URL (with $OA_TOKEN or "
        "$OA_COOKIE)"
    )
    from oa_client.local import LocalServerError, shared_server

    try:
        server = shared_server()
    except LocalServerError as error:
        # Not from the error itself, of which this says everything.
        raise ConfigurationError(
            f"no address is given, and the local server does not start: {error}{ways_out}"
        ) from error.__cause__
    return Target(server.url, Inference(), Credentials(Login(token=server.token)), server.model)
