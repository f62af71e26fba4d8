"""One error type per boundary; each carries what was wrong and what to do about it."""

from __future__ import annotations


class TunewrightError(Exception):
    """An expected failure, shown to the user without a traceback.

    Attributes:
        message: what was wrong, where, and what is allowed.
        hint: what to do next, or an empty string.
        exit_code: the process exit code that a command ends with.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class InputError(TunewrightError):
    """The user gave something that cannot be used; nothing was changed."""

    exit_code = 2


class ConfigError(InputError):
    """An unknown option, or a value outside its bounds."""


class DataError(InputError):
    """A data file that cannot be read or mapped; the message names the file and the row."""


class ModelError(InputError):
    """A base or adapter folder that cannot be found, trusted or understood."""


class NotFoundError(InputError):
    """A record that the store does not hold."""


class StorageError(TunewrightError):
    """The disk or the database refused; nothing half-written stays visible."""


class TrainingError(TunewrightError):
    """A run stopped by itself: non-finite loss, changed data on resume, no usable checkpoint."""


class LeaseLost(TunewrightError):  # noqa: N818 - it is no fault
    """The job that a process worked on is another's by now; nothing was written."""


class ServingError(TunewrightError):
    """An engine or a port that could not be started, or stopped answering."""


class EndpointError(TunewrightError):
    """A model's API elsewhere that refused us or gave no answers; what it did answer is kept."""


class EvidenceError(TunewrightError):
    """A tuned model that no evaluation speaks for; it is not deployed."""


class Interrupted(TunewrightError):  # noqa: N818 - it is no fault
    """The user asked a stage to stop; its state is saved and the hint says how to go on."""

    exit_code = 130
