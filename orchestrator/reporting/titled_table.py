"""Table with a title for a terminal: the layout that all tables of results share."""

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


def titled_table(title: str) -> Table:
    """Return a table without columns; nothing in its title, which may be a name, is read as markup."""
    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
    )
