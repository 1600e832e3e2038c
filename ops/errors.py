"""How a command ends: its exit status, and the errors of ops that are more than an OperatorError."""

from enum import IntEnum

from settings.problems import OperatorError


class ExitCode(IntEnum):
    """The exit statuses of every command."""

    OK = 0
    FAILED = 1
    """It ran and failed, the operator answered no, or what runs is not what is declared."""
    REFUSED = 2
    """It was not started: a wrong argument, a wrong config, or a check that failed."""
    INTERRUPTED = 130
    """Ended by Ctrl-C, as a shell reports it."""


class FailedError(OperatorError):
    """What was started has failed: `ExitCode.FAILED`. Every other OperatorError is `ExitCode.REFUSED`."""


class UnreachableError(OperatorError):
    """A server does not answer."""
