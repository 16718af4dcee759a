"""Errors a user can act on: each message names the file or topic, the field, and the fix."""


class MbrlError(Exception):
    """Base of every error this package raises on purpose; the command line prints it without a traceback."""


def in_short(error: BaseException) -> str:
    """The kind of an error that was not raised on purpose, and the first line of what it says."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


class ConfigError(MbrlError):
    """A configuration file or parameter is wrong."""


class DataError(MbrlError):
    """A recording cannot be used as it is."""


class ModelError(MbrlError):
    """A model, or the folder it was saved in, cannot be used as it is."""


class LayoutError(MbrlError):
    """Two parts disagree about names, units or shapes."""


class StoppedError(MbrlError):
    """Something was stopped on request before there was anything to keep."""
