"""Write the README's file tree: every file with the first line of its own docstring or comment.

`make tree` runs it; a test compares the README with what it gives.
"""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- file tree: written by `make tree` -->", "<!-- end of file tree -->"

_WITHOUT_WORDS_OF_THEIR_OWN = {
    ".ci/run": "What continuous integration runs.",
    ".gitignore": "What git leaves alone.",
    "CHANGELOG.md": "What changed, release by release.",
    "LICENSE": "Apache-2.0.",
    "Makefile": "The front door: setup, demo, test, check, bench, drill, format, record, lock, tree.",
    "README.md": "This page.",
    "constraints.txt": "The versions that `make setup` installs.",
    "docs/curves.png": "The picture above.",
    "benchmarks/results/": "What was measured, with command, machine and versions.",
    "docs/train-your-own-latentrm.md": "From a reasoner and questions to a LatentRM, with numbers and costs.",
    "latent_core/bundled/coconut-paths/": "The bundled path-finding reasoner: checkpoint, tokenizer and model card.",
    "latent_core/bundled/latent-rm-tiny/": "The bundled LatentRM: checkpoint, tokenizer, calibrations and model card.",
    "deploy/slurm.sbatch": "A sweep on Slurm: Ray head on the first node, workers on the others.",
    "docs/clusters.md": "Ray jobs, Kubernetes and Slurm: install, submit, stop, resume, and who gets which node.",
    "docs/bring-your-own-model.md": "What loads; how to describe, inspect and convert a checkpoint.",
    "docs/statistics.md": "How values and intervals are made, how often intervals hold, what not to pool.",
    "docs/scaling.md": "What bounds a large run: messages, bytes, the driver, and 1,000 actors in simulation.",
    "docs/tasks.md": "Which questions can be asked, how answers are read and judged, and how to bring your own.",
    "docs/extending.md": "Samplers, graders and other kinds of your own, and how the store tells their code.",
    "docs/sweeps.md": "Spaces, search algorithms, objectives, early stopping, resume, and what MLflow shows.",
    "docs/mlflow-chart.png": "The curves of all trials in one chart of the MLflow UI.",
    "docs/mlflow-parent.png": "The page of a sweep's parent run in the MLflow UI.",
    "docs/mlflow-artifacts.png": "The pictures of a sweep among the artifacts of its parent run.",
    "docs/footguns.md": "What has bitten, and what to do about it.",
    "latent_core/bundled/coconut-tiny/": "The bundled word-problem reasoner: checkpoint, tokenizer and model card.",
    "findings/": "Outside libraries that behave as nobody would guess: scripts that show it, with versions.",
    "pyproject.toml": "Dependencies, and the settings of ruff, mypy, pytest and the import check.",
    "tests/unit/": "One file per module, in the same folders.",
}


def entries() -> list[str]:
    """Return what the tree lists, folder by folder: files that git knows or would add, and folders told as a whole."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    files = [path for path in listed if (ROOT / path).is_file() and not path.endswith("__init__.py")]
    folders = [entry for entry in _WITHOUT_WORDS_OF_THEIR_OWN if entry.endswith("/")]
    told = {next((folder for folder in folders if path.startswith(folder)), path) for path in files}
    return sorted(told, key=lambda entry: (Path(entry).parent.parts, entry))


def purpose(path: str) -> str:
    """Return one line about a file.

    Raises:
        ValueError: If it has none.
    """
    if path in _WITHOUT_WORDS_OF_THEIR_OWN:
        return _WITHOUT_WORDS_OF_THEIR_OWN[path]
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".py"):
        docstring = ast.get_docstring(ast.parse(text))
        if docstring:
            return docstring.splitlines()[0]
    elif text.startswith("# "):
        return text.splitlines()[0].removeprefix("# ")
    raise ValueError(f"{path} does not say in its first line what it is for")


def file_tree() -> str:
    """Return the tree as Markdown."""
    lines, folder = [], "."
    for entry in entries():
        parent = Path(entry).parent.as_posix()
        if parent != folder:
            folder = parent
            lines.append(f"{folder}/")
        name = Path(entry).name + ("/" if entry.endswith("/") else "")
        indent = "" if folder == "." else "  "
        lines.append(f"{indent}{name:<24} {purpose(entry)}")
    return "\n".join(["```", *lines, "```"])


def with_tree(readme: str) -> str:
    """Return the README with its tree replaced by the current one."""
    before, _, rest = readme.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{file_tree()}\n{END}{after}"


if __name__ == "__main__":
    file = ROOT / "README.md"
    file.write_text(with_tree(file.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(0)
