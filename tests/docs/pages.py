"""The pages, their blocks, and the commands in them."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("ops/**/*.md"), *ROOT.glob("tests/**/*.md")]
    if path.name != "CHANGELOG.md"
)
SHELLS = {"sh", "bash", "shell", "console"}
_HERE_DOCUMENT = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?")
_PROGRAMS = re.compile(
    r"(?:[A-Z][A-Z0-9_]*=\S*(?: |$))*"
    r"(?:$|axn|cat|celery|cp|curl|docker|export|jq|kubectl|make|openssl|pip|python3?|redis-cli|sudo|umask|zcat)(?: |$)"
)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code.

    Attributes:
        line: of the page, from 1.
        language: as its fence names it; empty where it is indented.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def first_line(self) -> str:
        return self.text.splitlines()[0]

    @property
    def has_commands(self) -> bool:
        """Whether somebody is to type it: by its language, or by the program that a line of it begins with."""
        if self.language:
            return self.language in SHELLS
        return any(line and _PROGRAMS.match(line) for line in self.text.splitlines()) and not self.is_python

    @property
    def is_python(self) -> bool:
        return self.language == "python" or (not self.language and bool(re.match(r"(?:from|import) \w", self.text)))

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """What is typed at once: a line, or more where they are continued or hold a here-document."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def _tokens(page: str) -> tuple[Token, ...]:
    return tuple(MarkdownIt("commonmark").enable("table").parse(text_of(page)))


def blocks(page: str) -> list[Block]:
    """All blocks of code of a page, in order."""
    return [
        Block(page, (token.map or [0])[0] + 1 + (token.type == "fence"), token.info.strip(), token.content)
        for token in _tokens(page)
        if token.type in ("fence", "code_block")
    ]


def inline_codes(page: str) -> list[str]:
    """All that stands between backticks within prose, on one line."""
    spans = [child for token in _tokens(page) if token.children for child in token.children]
    return [" ".join(span.content.split()) for span in spans if span.type == "code_inline"]


def links(page: str) -> list[str]:
    """All that is linked to, or shown as a picture."""
    spans = [child for token in _tokens(page) if token.children for child in token.children]
    return [str(target) for span in spans for name in ("href", "src") if (target := span.attrs.get(name))]


def anchors(page: str) -> set[str]:
    """The names that its headings can be linked by."""
    tokens = _tokens(page)
    titles = [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block, without comments; of a console's block without what it shows."""
    lines = list(enumerate(block.text.splitlines(), block.line))
    while lines:
        number, text = lines.pop(0)
        if block.language == "console":
            if not text.startswith("$ "):
                continue
            text = text[2:]
        while text.endswith("\\") and lines:
            text = text[:-1] + lines.pop(0)[1].strip()
        text = re.sub(r"(?:^|\s+)#(?: .*)?$", "", text)
        here = _HERE_DOCUMENT.search(text)
        while here and lines and not text.endswith(f"\n{here[1]}"):
            text = f"{text}\n{lines.pop(0)[1]}"
        if text.strip():
            yield Command(block.page, number, text.strip())
