"""The blocking client, its chats and streams."""
