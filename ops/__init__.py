"""What an operator runs around the program; `python -m ops --help` lists it."""
