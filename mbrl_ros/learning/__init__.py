"""Training models on recorded driving."""
