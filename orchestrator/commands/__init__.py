"""The commands of `latentswarm`.

A module named as a command has its arguments, in `command`, and is imported for `--help`: what is heavy it imports when
it is called. The others do what takes more than a page.
"""
