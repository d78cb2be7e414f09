"""Users, their credentials and their chats, in SQLite."""
