"""Who gets which packet of an answer that several read."""

from __future__ import annotations

import asyncio

import pytest

from oa_client.local._answers.job import Job, LastPacket, Packet, TokenPacket
from oa_client.local._models.backends import Lorem

READERS = 3
TURNS = 20


def make_job() -> Job:
    """An answer of which nothing has been said."""
    return Job("answer", Lorem(), 60)


@pytest.mark.parametrize("burst", [pytest.param(1, id="one by one"), pytest.param(5, id="in bursts")])
def test_readers_take_turns(burst: int) -> None:
    """A reader who is quick to come back for more gets no more than those who have waited longer."""

    async def share() -> list[list[str]]:
        job = make_job()
        taken: list[list[str]] = [[] for _ in range(READERS)]

        async def read(texts: list[str]) -> None:
            while not isinstance(packet := await job.get(0.0), LastPacket):
                assert isinstance(packet, TokenPacket)
                texts.append(packet.text)
                await asyncio.sleep(0)

        readers = [asyncio.create_task(read(texts)) for texts in taken]
        for number in range(0, READERS * TURNS, burst):
            await asyncio.sleep(0)
            for text in range(number, number + burst):
                job.put(TokenPacket(str(text)), 0.0)
        for _ in readers:
            job.put(LastPacket({}), 0.0)
        await asyncio.gather(*readers)
        return taken

    taken = asyncio.run(share())

    assert sorted(int(text) for texts in taken for text in texts) == list(range(READERS * TURNS))
    assert [len(texts) for texts in taken] == [TURNS] * READERS


@pytest.mark.parametrize("waits", [pytest.param(True, id="waiting"), pytest.param(False, id="yet to come")])
def test_a_reader_that_leaves_with_its_packet(waits: bool) -> None:
    """What was handed to a reader who leaves before he has it goes to the next, before what came later."""

    async def leave() -> tuple[Packet, Packet]:
        job = make_job()
        first = asyncio.create_task(job.get(0.0))
        await asyncio.sleep(0)
        second = asyncio.create_task(job.get(0.0)) if waits else None
        await asyncio.sleep(0)
        job.put(TokenPacket("a"), 0.0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        job.put(TokenPacket("b"), 0.0)
        return await (second or job.get(0.0)), await job.get(0.0)

    assert asyncio.run(leave()) == (TokenPacket("a"), TokenPacket("b"))


def test_a_reader_that_leaves_without_one() -> None:
    """Whoever waits behind a reader who has just left is not passed over for him."""

    async def leave() -> tuple[Packet, bool]:
        job = make_job()
        first = asyncio.create_task(job.get(0.0))
        second = asyncio.create_task(job.get(0.0))
        await asyncio.sleep(0)
        first.cancel()
        job.put(TokenPacket("a"), 0.0)
        return await second, job.empty

    assert asyncio.run(leave()) == (TokenPacket("a"), True)
