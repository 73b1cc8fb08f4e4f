"""The errors of cielo. Each says what was got, what was expected, and what to do; none holds a user's text."""

from __future__ import annotations


class CieloError(Exception):
    """The base of every error that cielo raises on purpose."""


class BundleError(CieloError):
    """A bundle is missing, incomplete, altered, or of a schema that this version does not read."""


class UnverifiedError(BundleError):
    """A compute type whose parity has not been shown on this kind of device was asked for."""


class ParityError(CieloError):
    """A parity check failed."""


class RecipeError(CieloError):
    """A recipe is not valid, or names something that is not there."""


class CheckpointError(CieloError):
    """A checkpoint cannot be found, or is not what its recipe says."""


class TableError(CieloError):
    """A table of input rows or of a knowledge base cannot be read."""


class CalibrationError(CieloError):
    """A calibration cannot be made from the mentions that were given."""


class CacheError(CieloError):
    """A file that was named as a result cache is something else."""


class TuningError(CieloError):
    """No thread plan could be measured."""


class MentionError(CieloError):
    """A mention cannot be linked as it was given."""


class OptionError(CieloError, ValueError):
    """An option has a value that is not allowed, or excludes another one."""


class ClosedError(CieloError):
    """A linker was used after it was closed, or in another process than the one that opened it."""


class DeviceError(CieloError):
    """The device or the compute type asked for is not to be had on this machine."""
