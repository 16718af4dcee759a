"""The graph of nodes, described once, and starting it."""
