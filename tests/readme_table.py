"""Where the settings are told, and how they get there: `make readme`.

docs/settings.md holds them all; README.md those that nobody leaves as they are.
"""

from collections.abc import Callable
from pathlib import Path

from worker.cli.settings import first_settings, settings_reference

ROOT = Path(__file__).parent.parent
BEGIN = "<!-- settings: written by `make readme` -->"
END = "<!-- end of settings -->"
PAGES: dict[str, Callable[[], str]] = {"README.md": first_settings, "docs/settings.md": settings_reference}


def tables_in(page: str) -> str:
    """The tables as a page shows them now."""
    return (ROOT / page).read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()


def write() -> None:
    """Put today's settings into the pages."""
    for page, made in PAGES.items():
        head, _, rest = (ROOT / page).read_text(encoding="utf-8").partition(BEGIN)
        (ROOT / page).write_text(f"{head}{BEGIN}\n{made()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write()
