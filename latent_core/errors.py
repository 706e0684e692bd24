"""Exceptions that are one line for the user: wrong input, and work that has come to nothing."""


class UserError(Exception):
    """Something the user gave is wrong.

    The message is one line that says what is wrong, where, and how to cure it. The command line prints it without a
    traceback and exits with code 2; anything else that is raised is a bug and keeps its traceback.
    """


class WorkFailed(Exception):
    """Everything was asked for rightly and carried out, and all of it has failed.

    The message is one line with the most frequent reason. The command line exits with code 1.
    """
