"""Interpreter for raylets: asks a fork server for the workers of a Ray cluster.

`orchestrator/pipeline/fork_server.py` writes a copy of this file, which raylets call in place of the real interpreter.
Everything else that is called with it, and every worker when no server answers, becomes the real one. It starts in
hundredths of a second, since it needs the standard library alone, and that without `site`.
"""

import json
import os
import resource
import socket
import sys

ADDRESS = "fork"
"""Name of the server's socket, beside this file."""
_WORKER = "default_worker.py"
_WORKER_WITH_ENVIRONMENT = "setup_worker.py"
_ENVIRONMENT = "--serialized-runtime-env-context"
_LANGUAGE = "--language"


def main() -> None:
    """Leave a worker to the server, or become the interpreter; called with nothing, tell that it can be called."""
    arguments = sys.argv[1:]
    if not arguments:
        return
    worker = arguments if arguments[0].endswith(_WORKER) else without_environment(arguments)
    if not (worker and ask_for_fork(worker)):
        os.execv(sys.executable, [sys.executable, *arguments])


def without_environment(arguments: list[str]) -> list[str] | None:
    """Return what starts a worker whose runtime environment is a few variables of Ray's own, which are set here.

    Ray Train gives such to its controller and its workers. Other variables may be read when a library is imported,
    which a fork has behind it.

    Args:
        arguments: Of Ray's program that sets an environment up and then starts the worker.
    """
    if not arguments[0].endswith(_WORKER_WITH_ENVIRONMENT):
        return None
    said: dict[str, str] = {}
    worker = []
    for argument in arguments[1:]:
        name, _, value = argument.partition("=")
        if name in (_ENVIRONMENT, _LANGUAGE):
            said[name] = value
        else:
            worker.append(argument)
    if said.get(_LANGUAGE) != "PYTHON" or not worker or not worker[0].endswith(_WORKER):
        return None
    environment = json.loads(said.get(_ENVIRONMENT) or "{}")
    variables = environment.pop("env_vars", {})
    interpreter = environment.pop("py_executable", sys.executable)
    if interpreter != sys.executable or any(environment.values()):
        return None
    # Ray replaces names of other variables in a value.
    if not all(name.startswith("RAY_") and "$" not in value for name, value in variables.items()):
        return None
    os.environ.update(variables)
    return worker


def ask_for_fork(worker: list[str]) -> bool:
    """Ask the server for a worker; returns whether it has forked one."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    message = json.dumps([worker, dict(os.environ), os.getcwd(), limit, os.nice(0)]).encode()
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(os.path.join(os.path.dirname(__file__), ADDRESS))
            socket.send_fds(server, [len(message).to_bytes(8, "big")], [0, 1, 2])
            server.sendall(message)
            return bool(server.recv(1))
    except OSError:
        return False


if __name__ == "__main__":
    main()
