"""Errors that speak to the user."""


class UserError(Exception):
    """The user's input is wrong: the message alone must tell what to change.

    The command line prints it without a traceback and exits with status 2.
    """


class MachineError(Exception):
    """The machine gives out: no space, no memory, no permission. The message tells what to change.

    The command line prints it without a traceback and exits with status 1; finished runs are kept.
    """
