"""Scores: open loop by horizon, closed loop by lap, and their reports."""
