"""Dynamics models f(s, a) -> s': physics, learned, and both; how they are fitted, rolled out and saved."""
