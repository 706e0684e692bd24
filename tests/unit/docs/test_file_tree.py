"""The README's file tree is true."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_readme_ends_with_the_tree_as_it_is() -> None:
    specification = importlib.util.spec_from_file_location("file_tree", ROOT / "docs" / "file_tree.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    readme = (ROOT / "README.md").read_text()
    assert readme == module.with_tree(readme), "run `make tree`"
    assert readme.rstrip().endswith(module.END)
