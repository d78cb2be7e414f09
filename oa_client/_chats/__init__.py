"""A chat on the server, its branches, and the list of chats."""
