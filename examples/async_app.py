"""
Ask many things at once from one event loop, and give up on what takes too long.

    python examples/async_app.py "Why is the sky blue?" "Who wrote Hamlet?"

Asks the server that $OA_BASE_URL and $OA_TOKEN or $OA_COOKIE name, else a local one.
"""

from __future__ import annotations

import asyncio
import sys

from oa_client import AsyncClient, OAError

QUESTIONS = ["Why is the sky blue?", "What are the four seasons?", "Who wrote Hamlet?"]
PATIENCE = 60  # seconds


async def show(client: AsyncClient, question: str) -> int:
    """Print the answer to a question when it is whole, and return how many tokens it had."""
    count = 0
    async with client.stream(question, sampling={"max_new_tokens": 40}) as stream:
        async for _ in stream:
            count += 1
    print(f"{question}\n  {stream.text.strip()}")
    return count


async def main() -> None:
    """Ask all questions at once, then hold a short conversation."""
    async with AsyncClient() as client:
        tasks = [asyncio.wait_for(show(client, question), PATIENCE) for question in sys.argv[1:] or QUESTIONS]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            match result:
                case OAError():
                    print(f"no answer: {result}")
                case asyncio.TimeoutError():
                    print("gave up")
                case BaseException():
                    raise result
        print("tokens:", sum(result for result in results if isinstance(result, int)))

        chat = await client.create_chat(system_prompt="Answer in one sentence.", sampling={"max_new_tokens": 40})
        try:
            await chat.ask("What is the capital of France?")
            async for text in chat.stream("And of Italy?"):
                print(text, end="", flush=True)
            print(f"\n{len(await chat.thread())} messages")
        finally:
            await chat.delete()


if __name__ == "__main__":
    asyncio.run(main())
