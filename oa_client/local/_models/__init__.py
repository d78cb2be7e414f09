"""The models: the embedded one, those of other servers, pseudo-Latin."""
