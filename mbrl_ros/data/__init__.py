"""Rosbags in and out, synchronised and resampled into drives."""
