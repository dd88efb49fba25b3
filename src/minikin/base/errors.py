"""Every error a user can cause, drawn as a tree.

MinikinError
├── RecipeError       the recipe asks for something that is unknown, of the wrong type or contradictory
├── PlanError         no shape of model meets the budgets
├── DataError         a data file or record cannot be used
├── TokenizerError    a tokenizer file is missing or not of our kind
├── DecodingError     settings of how answers are written contradict each other
├── CheckpointError   a model directory or a saved state is missing, damaged or of another shape
├── DeviceError       the recipe asks for a device that is not there
├── TrainingError     training cannot go on
├── ExportError       a member cannot be written for another engine, or that engine is missing
├── AskError          an engine is asked for what it cannot answer
│   └── TooLongError  a prompt leaves no room for an answer
├── BusyError         an engine has too much to answer already
├── EngineError       an engine cannot be started, or died
├── StorageError      the disk refuses: full, read-only, no permission
└── Interrupted       the user or the system asked to stop; what was reached is saved

A message says where, what was found and what to do. They are caught once, in `app/cli`,
which prints the message on one line and exits with `exit_code`.
"""


class MinikinError(Exception):
    """Base of all errors that are answered by one line instead of a traceback."""

    exit_code = 1


class RecipeError(MinikinError):
    """The recipe asks for something that is unknown, of the wrong type or contradictory."""


class PlanError(MinikinError):
    """No shape of model meets the budgets."""


class DataError(MinikinError):
    """A data file or record cannot be used."""


class TokenizerError(MinikinError):
    """A tokenizer file is missing or not of our kind."""


class DecodingError(MinikinError):
    """Settings of how answers are written contradict each other, or one of them would mean nothing."""


class CheckpointError(MinikinError):
    """A model directory or a saved state is missing, damaged or of another shape."""


class DeviceError(MinikinError):
    """The recipe asks for a device that is not there."""


class TrainingError(MinikinError):
    """Training cannot go on: a loss that is not finite, or nothing to learn from."""


class ExportError(MinikinError):
    """A member cannot be written for another engine, or that engine is missing."""


class AskError(MinikinError):
    """An engine is asked for what it cannot answer; `field` is the part of the ask that is at fault."""

    def __init__(self, message: str, field: str = "prompt") -> None:
        super().__init__(message)
        self.field = field


class TooLongError(AskError):
    """A prompt leaves no room for an answer."""


class BusyError(MinikinError):
    """An engine has too much to answer already."""


class EngineError(MinikinError):
    """An engine cannot be started, or died."""


class StorageError(MinikinError):
    """The disk refuses: full, read-only or no permission."""


class Interrupted(MinikinError):
    """A signal asked to stop; what was reached is saved.

    `exit_code` follows the shells: 128 + the signal's number.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def in_a_line(error: BaseException) -> str:
    """What any error says, without line breaks; what it is, if it says nothing."""
    return " ".join(str(error).split()) or repr(error)
