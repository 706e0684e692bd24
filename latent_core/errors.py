"""The one exception that stands for wrong input."""


class UserError(Exception):
    """Something the user gave is wrong.

    The message is one line that says what is wrong, where, and how to cure it. The command line prints it without a
    traceback and exits with code 2; anything else that is raised is a bug and keeps its traceback.
    """
