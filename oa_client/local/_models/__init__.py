"""Who answers: the embedded model, models of other servers, pseudo-Latin."""
