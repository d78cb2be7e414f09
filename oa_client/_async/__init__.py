"""The async client, its chats and streams."""
