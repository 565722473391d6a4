"""The errors this package raises on purpose.

Each message says in a sentence or two what is wrong, with which file or setting, and the way out. The command-line
programs print the message without a traceback and exit with the error's ``exit_code``.
"""

MAX_LETTERS = 300  # of another package's words: Keras shows whole configurations


class EmotionError(Exception):
    """Base of all errors that you can mend."""

    exit_code = 1


class MediaError(EmotionError):
    """A media file that is missing, empty, broken, or holds neither frames nor sound."""


class ConfigError(EmotionError, ValueError):
    """A setting with an unknown name, a wrong type or an impossible value."""

    exit_code = 2


class InputTypeError(EmotionError, TypeError):
    """A value of a type that a function does not take."""

    exit_code = 2


class DatasetError(EmotionError):
    """A data set that is missing, empty or of an unknown layout."""

    exit_code = 2


class RunError(EmotionError):
    """A model folder that is missing, incomplete, or does not agree with itself."""

    exit_code = 2


class FileError(EmotionError):
    """A file or folder that the system will not read or write: no space, no permission, a name too long."""


def first_line(error: Exception) -> str:
    """Returns the first line of another package's error, cut if it is long, or its type if it has no message."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= MAX_LETTERS else f"{line[:MAX_LETTERS]}..."
