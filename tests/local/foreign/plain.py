"""
A conversation by hand, with requests and sseclient: `python plain.py URL SURFACE CREDENTIAL`.

SURFACE is "website" (CREDENTIAL is the session cookie's value) or "inference" (a bearer token).
Prints what it saw as JSON. Written from what is known of the protocol, and from nothing of this project's.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import requests
import sseclient

SAMPLING = {"top_k": 50, "top_p": 0.95, "temperature": 0.75, "repetition_penalty": 1.2, "max_new_tokens": 12}


class Website:
    """The routes of the website."""

    def __init__(self, url: str, credential: str) -> None:
        self.root = f"{url}/api/chat"
        self.session = requests.Session()
        self.session.cookies.set("next-auth.session-token", credential)

    def create(self) -> Any:
        """Make a chat."""
        return self._json(self.session.post(self.root))

    def prompt(self, chat_id: str, parent_id: str | None, content: str) -> Any:
        """Say something."""
        body = {"chat_id": chat_id, "parent_id": parent_id, "content": content}
        return self._json(self.session.post(f"{self.root}/prompter_message", json=body))

    def answer(self, chat_id: str, parent_id: str, model: str) -> Any:
        """Ask for an answer."""
        body = {
            "chat_id": chat_id,
            "parent_id": parent_id,
            "model_config_name": model,
            "sampling_parameters": SAMPLING,
            "plugins": [],
        }
        return self._json(self.session.post(f"{self.root}/assistant_message", json=body))

    def events(self, chat_id: str, message_id: str) -> requests.Response:
        """Open the stream of an answer."""
        query = {"chat_id": chat_id, "message_id": message_id}
        return self.session.get(f"{self.root}/events", params=query, stream=True)

    def models(self) -> Any:
        """List the models."""
        return self._json(self.session.get(f"{self.root}/models"))

    def list(self) -> Any:
        """List the chats."""
        return self._json(self.session.get(self.root))

    def get(self, chat_id: str) -> Any:
        """Get a chat with its messages."""
        return self._json(self.session.get(self.root, params={"chat_id": chat_id}))

    def message(self, chat_id: str, message_id: str) -> Any:
        """Get a message."""
        return self._json(
            self.session.get(f"{self.root}/message", params={"chat_id": chat_id, "message_id": message_id})
        )

    def vote(self, chat_id: str, message_id: str, score: int) -> None:
        """Say how good an answer is."""
        body = {"chat_id": chat_id, "message_id": message_id, "score": score}
        self.session.post(f"{self.root}/vote", json=body).raise_for_status()

    def rename(self, chat_id: str, title: str) -> None:
        """Give a chat another title."""
        self.session.put(self.root, json={"chat_id": chat_id, "title": title}).raise_for_status()

    def delete(self, chat_id: str) -> None:
        """Delete a chat."""
        self.session.delete(self.root, params={"chat_id": chat_id}).raise_for_status()

    def _json(self, response: requests.Response) -> Any:
        response.raise_for_status()
        return response.json()


class Inference(Website):
    """The routes of the inference server."""

    def __init__(self, url: str, credential: str) -> None:
        self.root = f"{url}/chats"
        self.url = url
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {credential}"

    def create(self) -> Any:
        """Make a chat."""
        return self._json(self.session.post(self.root, json={}))

    def prompt(self, chat_id: str, parent_id: str | None, content: str) -> Any:
        """Say something."""
        body = {"parent_id": parent_id, "content": content}
        return self._json(self.session.post(f"{self.root}/{chat_id}/prompter_message", json=body))

    def answer(self, chat_id: str, parent_id: str, model: str) -> Any:
        """Ask for an answer."""
        body = {"parent_id": parent_id, "model_config_name": model, "sampling_parameters": SAMPLING}
        return self._json(self.session.post(f"{self.root}/{chat_id}/assistant_message", json=body))

    def events(self, chat_id: str, message_id: str) -> requests.Response:
        """Open the stream of an answer."""
        return self.session.get(f"{self.root}/{chat_id}/messages/{message_id}/events", stream=True)

    def models(self) -> Any:
        """List the models."""
        return self._json(self.session.get(f"{self.url}/configs/model_configs"))

    def get(self, chat_id: str) -> Any:
        """Get a chat with its messages."""
        return self._json(self.session.get(f"{self.root}/{chat_id}"))

    def message(self, chat_id: str, message_id: str) -> Any:
        """Get a message."""
        return self._json(self.session.get(f"{self.root}/{chat_id}/messages/{message_id}"))

    def vote(self, chat_id: str, message_id: str, score: int) -> None:
        """Say how good an answer is."""
        url = f"{self.root}/{chat_id}/messages/{message_id}/votes"
        self.session.post(url, json={"score": score}).raise_for_status()

    def rename(self, chat_id: str, title: str) -> None:
        """Give a chat another title."""
        self.session.put(f"{self.root}/{chat_id}", json={"title": title}).raise_for_status()

    def delete(self, chat_id: str) -> None:
        """Delete a chat."""
        self.session.delete(f"{self.root}/{chat_id}").raise_for_status()


def read(response: requests.Response) -> tuple[list[str], Any]:
    """The tokens of a stream, and its final message."""
    response.raise_for_status()
    texts = []
    client = sseclient.SSEClient(response)  # type: ignore[arg-type]  # as its README says
    for event in client.events():
        if event.event != "message":
            continue
        told = json.loads(event.data)
        if told["event_type"] == "token":
            texts.append(told["text"])
        elif told["event_type"] == "message":
            return texts, told["message"]
        elif told["event_type"] == "error":
            raise RuntimeError(told["error"])
    raise RuntimeError("the stream ended before the message")


def main(url: str, surface: str, credential: str) -> dict[str, Any]:
    """Two turns, a vote, a title, and away with it."""
    api = (Website if surface == "website" else Inference)(url, credential)
    model = api.models()[0]["name"]
    chat_id = api.create()["id"]
    parent_id = None
    turns = []
    for text in ("Hello", "And then?"):
        prompt = api.prompt(chat_id, parent_id, text)
        answer = api.answer(chat_id, prompt["id"], model)
        with api.events(chat_id, answer["id"]) as response:
            texts, message = read(response)
        parent_id = message["id"]
        turns.append([len(texts), "".join(texts) == message["content"]])
    api.vote(chat_id, str(parent_id), 1)
    api.rename(chat_id, "A conversation")
    messages = api.get(chat_id)["messages"]
    again = api.events(chat_id, str(parent_id))
    seen = {
        "turns": turns,
        "listed": [chat["title"] for chat in api.list()["chats"]],
        "roles": [message["role"] for message in sorted(messages, key=lambda message: message["created_at"])],
        "score": api.message(chat_id, str(parent_id))["score"],
        "events of a finished answer": [again.status_code, again.text],
    }
    api.delete(chat_id)
    return {**seen, "left": api.list()["chats"]}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
