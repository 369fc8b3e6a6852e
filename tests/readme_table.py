"""Where the README holds the table of settings, and how it gets there: `make readme`."""

from pathlib import Path

from worker.cli.settings import settings_table

README = Path(__file__).parent.parent / "README.md"
BEGIN = "<!-- settings: written by `make readme` -->"
END = "<!-- end of settings -->"


def table_in_readme() -> str:
    """The table as the README shows it now."""
    return README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()


def write() -> None:
    """Put the table of today's settings into the README."""
    head, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(f"{head}{BEGIN}\n{settings_table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write()
