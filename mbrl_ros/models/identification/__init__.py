"""Fitting a parametric model to recorded driving."""
