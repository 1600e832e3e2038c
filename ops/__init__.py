"""What an operator runs around the program; `python -m ops --help` lists it."""


class OperatorError(Exception):
    """Something that the operator can mend: the message says what is wrong and what to do."""
