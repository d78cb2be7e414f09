"""What both servers speak: every path, query and body, and how to read an answer."""
