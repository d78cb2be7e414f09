"""
Sign in, say who that is, keep the login for other programs, and forget it.

    python examples/accounts.py

Signs in at the server that $OA_BASE_URL and $OA_TOKEN or $OA_COOKIE name, else at a local one, which takes any name.
A login that was kept for that server before is replaced, and forgotten.
"""

from __future__ import annotations

import os

from oa_client import AuthError, Client, User, login, logout
from oa_client.local import LocalServer


def show(user: User) -> None:
    """Print who somebody is: the inference server tells the id, the website the rest."""
    print(f"signed in as {user.name or user.id}, role: {user.role or 'not told'}")
    if user.expires_at is not None:
        print(f"until {user.expires_at:%Y-%m-%d}")


def visit(url: str, **credential: str) -> None:
    """Sign in with a credential, use it from a client that is given none, and sign out."""
    show(login(url, **credential))
    try:
        # The variables of the environment would come before what is kept.
        for name in ("OA_TOKEN", "OA_COOKIE"):
            os.environ.pop(name, None)
        with Client(url) as client:
            print(client.ask("Hello", sampling={"max_new_tokens": 20}))
    finally:
        print("signed out:", logout(url))
    try:
        with Client(url) as client:
            client.whoami()
    except AuthError:
        print("nobody is signed in any more")


def main() -> None:
    """Sign in with what the environment has."""
    url = os.environ.get("OA_BASE_URL")
    if url is None:
        with LocalServer(debug_login=True) as server:
            visit(server.url, username="ada")
    elif "OA_TOKEN" in os.environ:
        visit(url, token=os.environ["OA_TOKEN"])
    else:
        visit(url, cookies=os.environ["OA_COOKIE"])


if __name__ == "__main__":
    main()
