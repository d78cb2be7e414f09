"""The choice of the server, and the credentials for it, in every form that people have them."""
