"""Planners: anything that turns a state into a control sequence."""
