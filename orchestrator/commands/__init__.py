"""The commands of `latentswarm`, a module each, with its arguments in `command`.

They are imported for `--help`: what is heavy they import when they are called, most of it from `orchestrator.jobs`.
"""
