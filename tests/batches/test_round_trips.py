"""What is written in any dialect and encoding is read again as it was; and keys are counted rightly."""

import csv
import gzip
import io
import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.batches.bad_rows import BadRowsFile
from worker.batches.columns import FIELD_BY_NAME
from worker.batches.csv_table import as_it_was, harmless
from worker.batches.key_table import KeyTable
from worker.batches.lines import GB18030, UTF_8, evidence_of
from worker.batches.opening import InputForm
from worker.errors import BatchInputError

from .support import raw_rows

LETTERS = st.one_of(
    st.sampled_from("0123456789,;\t\"' =+-@上海拢£é𠮷\n\r"),
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
)
CELLS = st.text(LETTERS, max_size=12).map(lambda cell: "" if cell.isspace() else cell)
NAMES = st.lists(st.sampled_from(sorted(FIELD_BY_NAME)), min_size=1, max_size=5, unique_by=FIELD_BY_NAME.__getitem__)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    header = draw(NAMES)
    rows = draw(st.lists(st.lists(CELLS, min_size=len(header), max_size=len(header)), max_size=6))
    return header, rows


def expected(header: list[str], rows: list[list[str]]) -> list[dict[str, str]]:
    given_ = [{FIELD_BY_NAME[name]: cell for name, cell in zip(header, row, strict=True) if cell} for row in rows]
    return [row for row in given_ if row]


def written(header: list[str], rows: list[list[str]], delimiter: str, line_end: str, quoting: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow(header)
    for row in rows:
        text.write(line_end * (row == rows[0]))  # a blank line
        writer.writerow(row)
    return text.getvalue()


@given(
    table=tables(),
    dialect=st.tuples(
        st.sampled_from(",;\t"),
        st.sampled_from(["\n", "\r\n"]),
        st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ),
    encoding=st.sampled_from([UTF_8, "utf-8-sig", GB18030]),
    is_packed=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_csv_gives_back_what_was_written(
    table: tuple[list[str], list[list[str]]],
    dialect: tuple[str, str, int],
    encoding: str,
    is_packed: bool,
) -> None:
    header, rows = table
    delimiter, line_end, quoting = dialect
    if len(header) == 1:  # nothing shows the delimiter then
        quoting = csv.QUOTE_ALL
    if line_end == "\n":  # Python's writer does not quote a carriage return then
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
        rows = [["" if cell.isspace() else cell for cell in row] for row in rows]
    data = written(header, rows, delimiter, line_end, quoting).encode(encoding)
    told = None if encoding == "utf-8-sig" else encoding
    found = raw_rows(gzip.compress(data) if is_packed else data, InputForm(encoding=told))
    assert [row.given for row in found] == expected(header, rows)
    assert not any(row.faults for row in found)


@given(rows=st.lists(st.dictionaries(NAMES.map(lambda names: names[0]), CELLS, max_size=4), max_size=5))
@settings(max_examples=100, deadline=None)
def test_json_lines_give_back_what_was_written(rows: list[dict[str, str]]) -> None:
    rows = [row for row in rows if row and len({FIELD_BY_NAME[name] for name in row}) == len(row)]
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if rows:
        found = raw_rows(data, InputForm(encoding=UTF_8))
        assert [row.given for row in found] == [
            {FIELD_BY_NAME[name]: value for name, value in row.items() if value} for row in rows
        ]


@given(text=st.text(min_size=1), encoding=st.sampled_from([UTF_8, GB18030]))
@settings(max_examples=200, deadline=None)
def test_evidence_never_speaks_against_everyday_text(text: str, encoding: str) -> None:
    """UTF-8 is never taken for GB18030; GB18030 that holds everyday Chinese only is never taken for UTF-8."""
    line = text.encode(encoding, "ignore")
    is_everyday = text.encode("gb2312", "ignore").decode("gb2312") == text
    if encoding == UTF_8:
        assert evidence_of(line) in (UTF_8, None)
    elif is_everyday:
        assert evidence_of(line) in (GB18030, None)


EVERYDAY = st.text(st.characters(codec="gb2312", exclude_categories=["Cc"]), min_size=1, max_size=6)


@given(cities=st.lists(EVERYDAY, min_size=1, max_size=5), encoding=st.sampled_from([UTF_8, GB18030]))
@settings(max_examples=200, deadline=None)
def test_an_encoding_that_nobody_told_is_found_or_asked_for(cities: list[str], encoding: str) -> None:
    cities = [city for city in cities if not city.isspace()]
    data = "".join(f'"{city}",1\n' for city in ["expect_city", *(city.replace('"', "") or "x" for city in cities)])
    data = data.replace(",1", ",out_id", 1)
    try:
        found = [row.given.get("expect_city") for row in raw_rows(data.encode(encoding))]
    except BatchInputError as refused:
        assert "--encoding" in str(refused)  # noqa: PT017 - a question is right too
    else:
        assert found == [city.replace('"', "") or "x" for city in cities]


@given(cell=st.text(LETTERS, max_size=6))
def test_a_harmless_cell_is_no_formula_and_gives_the_cell_back(cell: str) -> None:
    assert as_it_was(harmless(cell)) == cell
    assert harmless(cell)[:1] not in tuple("=+-@\t\r")


@given(table=tables())
@settings(max_examples=100, deadline=None)
def test_bad_rows_are_read_again_as_they_were(table: tuple[list[str], list[list[str]]]) -> None:
    header, rows = table
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bad.csv"
        with BadRowsFile(path, header) as bad_rows:
            for line, row in enumerate(rows, 2):
                bad_rows.add(line, "=1+1 is wrong", row)
        assert path.exists() == bool(rows)
        found = raw_rows(path.read_bytes(), InputForm()) if rows else []
        assert [row.given for row in found if row.given] == expected(header, rows)


def test_a_key_table_knows_every_key_and_its_first_line() -> None:
    keys = KeyTable()
    known: dict[str, int] = {}
    rng = random.Random(7)
    for line in range(1, 20_001):
        key = f"{rng.choice((rng.getrandbits(128), rng.getrandbits(6) << 64, rng.getrandbits(12))):032x}"
        assert keys.first_line(key, line) == known.get(key, 0)
        known.setdefault(key, line)
    assert len(keys) == len(known) < 20_000
