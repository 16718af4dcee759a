"""State estimation: a filter that predicts with a car model."""
