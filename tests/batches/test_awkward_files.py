"""Files as people have them, and what is said of each."""

import gzip
import re

import pytest

from worker.batches.lines import GB18030, UTF_8
from worker.batches.opening import InputForm
from worker.batches.operations import Operation
from worker.errors import BatchInputError

from .support import FILES, checked, checked_bytes, raw_rows

SCIENTIFIC = "phone_no_a: is in scientific notation"
DECIMAL = "phone_no_a: is written as a decimal number"
LOST_ZERO = "phone_no_a: has perhaps lost the leading zero"
MARKS = "phone_no_a: has spaces, dashes or other marks"
FULL_WIDTH = "phone_no_a: has full-width or other digits"
COUNTRY = "phone_no_a: has a country code"
NO_NUMBER = "phone_no_a: must be digits only"
COLUMNS = "row: has {} columns, the header has {}"

READ: dict[str, tuple[str, str, int, dict[int, str]]] = {
    # kind, encoding, good rows, and the bad ones by line
    "bom.csv": ("CSV, comma", UTF_8, 2, {}),
    "gb18030.csv": ("CSV, comma", GB18030, 3, {}),
    "late_gb18030.csv": ("CSV, comma", GB18030, 3, {}),
    "late_utf8.csv": ("CSV, comma", UTF_8, 2, {}),
    "either_at_first.csv": ("CSV, comma", GB18030, 3, {}),
    "one_bad_line.csv": ("CSV, comma", UTF_8, 2, {3: "row: is not utf-8"}),
    "semicolon.csv": ("CSV, semicolon", "ASCII", 2, {}),
    "sep_line.csv": ("CSV, semicolon", "ASCII", 1, {}),
    "tab.csv": ("CSV, tab", UTF_8, 1, {}),
    "quotes.csv": (
        "CSV, comma", UTF_8, 3,
        {6: "row: has quotes that do not match", 7: r"out_id: must not hold control characters (given: line\r\nend)"},
    ),
    "swallowed_rows.csv": ("CSV, comma", "ASCII", 1, {2: "out_id: must not hold control characters"}),
    "blank_lines.csv": ("CSV, comma", "ASCII", 2, {}),
    "one_carriage_return.csv": ("CSV, comma", "ASCII", 1, {2: "row: ends in a carriage return alone"}),
    "duplicates.csv": (
        "CSV, comma", "ASCII", 3,
        {line: f"row: is a duplicate of line {first}; remove one" for line, first in ((3, 2), (6, 5), (7, 2))},
    ),
    "columns.csv": (
        "CSV, comma", "ASCII", 1, {2: COLUMNS.format(2, 3), 4: COLUMNS.format(4, 3), 5: COLUMNS.format(4, 3)}
    ),
    "unnamed_column.csv": ("CSV, comma", "ASCII", 1, {3: "row: has a value in column 3, which has no name"}),
    "formula_errors.csv": ("CSV, comma", "ASCII", 1, dict.fromkeys((2, 4), "out_id: is the error of a formula")),
    "spoiled_numbers.csv": (
        "CSV, comma", UTF_8, 1,
        {
            2: SCIENTIFIC, 3: DECIMAL, 4: LOST_ZERO, 5: LOST_ZERO, 6: FULL_WIDTH, 7: MARKS, 8: MARKS, 9: COUNTRY,
            10: COUNTRY, 11: COUNTRY, 12: MARKS, 13: MARKS, 14: NO_NUMBER, 15: NO_NUMBER, 16: MARKS,
            17: "phone_no_a: is the error of a formula", 18: MARKS,
        },
    ),
    "mixed_operations.csv": ("CSV, comma", "ASCII", 11, {}),
    "wrong_operations.csv": (
        "CSV, comma", "ASCII", 0,
        {
            2: "op: is required (or --op for all rows): one of bind, rebind",
            3: "op: must be one of bind, rebind",
            4: "phone_no_a: is of no use for unbind; empty the cell, or leave the column out with --ignore",
            5: "bind_job_id: give one of bind_job_id, out_order_id, or subs_id and phone_no_x",
            6: "phone_no_x: is required",
            7: "bind_job_id: give one of bind_job_id, out_order_id, or subs_id and phone_no_x",
            8: "phone_no_a: is required by move-a",
            9: "expiration: give either expiration or expires_in",
            10: "new_phone_no_x: is of no use with mode same-x",
            11: "mode: must be new-x or same-x (given: sideways)",
            12: "phone_no_a: must be digits only: a mobile (11 digits starting with 1) or a landline with its area "
                "code (0571…) (given: 138); new_phone_no_x: is in scientific notation",
            13: "bind_job_id: must be the 26 letters and digits of a job's id",
        },
    ),
    "broken.jsonl": (
        "JSON lines", UTF_8, 3,
        {
            2: "row: is no JSON at its character 59", 3: "row: is no JSON at its character 1",
            6: "phone_no_a: must be text, in quotes", 7: "phone_no_a: is given twice, also as PhoneNoA",
            8: "row: gives a name twice", 9: "expires: is no known column; did you mean expires_in?",
            10: "row: must be a JSON object", 11: "row: has NaN, which is no JSON",
        },
    ),
    "numbers.xlsx": (
        "Excel, sheet 换绑 (the first shown of 2)", "", 3,
        {
            5: LOST_ZERO, 6: DECIMAL, 7: "out_order_id: is a number of more than 15 digits",
            8: "phone_no_x: is a number that may have lost its leading zero", 10: "out_order_id: is the error of a",
            11: COLUMNS.format(6, 5), 12: "out_order_id: is the error of a formula",
        },
    ),
    "whole.csv.gz": ("CSV, comma", "ASCII", 1, {}),
    "header_only.csv": ("CSV, comma", "ASCII", 0, {}),
}  # fmt: skip

REFUSED = {
    "empty.csv": "the file is empty; its first line must name the columns",
    "blank.csv": "the file is empty",
    "no_header.csv": "line 1 must name the columns, such as phone_no_a or PhoneNoA; it has: 138****0000",
    "unknown_column.csv": "column 2, 'expire_in', is no known column; did you mean expires_in?",
    "doubled_column.csv": "columns 1 and 2 are both phone_no_a",
    "carriage_returns.csv": "line 1 ends in a carriage return alone; save the file with CRLF or LF",
    "utf16.csv": "the file is UTF-16",
    "array.json": "the file is a JSON array; write one object a line",
    "old_excel.xls": "the file is of the old Excel format; save it as .xlsx or CSV",
    "cut.xlsx": "the .xlsx file is damaged or cut short",
    "damaged.csv.gz": "the gzip file is damaged",
    "no such file": "cannot be read: No such file or directory",
}

STOPPED = {
    "both_encodings.csv": (1, "line 3 is UTF-8, but the lines before are GB18030"),
    "either.csv": (0, "line 2: it cannot be told whether the file is UTF-8 or GB18030; give --encoding utf-8 or"),
    "open_quote.csv": (1, "line 3: a quote that opens in this row does not close rightly (read to line 5)"),
}


def operation_of(name: str) -> Operation | None:
    return None if "operations" in name else Operation.BIND


@pytest.mark.parametrize("name", READ)
def test_a_file_is_read_and_its_bad_rows_are_named(name: str) -> None:
    kind, encoding, good, bad = READ[name]
    report, reasons, table = checked(name, operation_of(name))
    assert (table.kind, table.encoding, report.good, report.stopped_by) == (kind, encoding, good, "")
    assert {line: reasons[line][: len(reason)] for line, reason in bad.items() if line in reasons} == bad
    assert reasons.keys() == bad.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_at_all_is_refused(name: str) -> None:
    with pytest.raises(BatchInputError) as refused:
        checked(name)
    assert REFUSED[name] in str(refused.value)


@pytest.mark.parametrize("name", STOPPED)
def test_reading_stops_where_nobody_can_tell_what_follows(name: str) -> None:
    good, why = STOPPED[name]
    report, _, _ = checked(name)
    assert (report.good, report.bad) == (good, 0)
    assert why in report.stopped_by


def test_a_bad_line_within_quotes_stops_the_reading() -> None:
    report, _, _ = checked_bytes(b'phone_no_a,expires_in,out_id\n13800000000,2h,"a\nb\xff\n13800000001,2h,c\n')
    assert "line 2: a quote that opens in this row does not close rightly (read to line 3)" in report.stopped_by


def test_a_line_of_another_encoding_is_bad_and_decides_nothing() -> None:
    data = "phone_no_a,expires_in,expect_city\n13800000000,2h,é\n".encode("latin-1")
    report, reasons, table = checked_bytes(data + "13800000001,2h,上海\n".encode())
    assert (report.good, reasons, table.encoding) == (1, {2: "row: is neither UTF-8 nor GB18030"}, UTF_8)


def test_every_awkward_file_is_tested() -> None:
    tested = READ.keys() | REFUSED.keys() | STOPPED.keys() | {"cut.csv.gz"}
    assert {path.name for path in FILES.iterdir()} - {".gitattributes"} == tested - {"no such file"}


def test_a_gzip_file_that_is_cut_short_is_never_taken_for_whole() -> None:
    with pytest.raises(BatchInputError, match="cut short"):
        checked("cut.csv.gz")
    long = gzip.compress(b"phone_no_a,expires_in\n" + b"".join(b"%d,2h\n" % (13800000000 + i) for i in range(20_000)))
    report, _, _ = checked_bytes(long[: len(long) // 2])
    assert report.good > 1000
    assert "cut short" in report.stopped_by


@pytest.mark.parametrize(("encoding", "city"), [(GB18030, "拢"), (UTF_8, "£")])
def test_the_operator_s_word_on_the_encoding_is_taken(encoding: str, city: str) -> None:
    rows = raw_rows((FILES / "either.csv").read_bytes(), InputForm(encoding=encoding))
    assert [row.given["expect_city"] for row in rows] == [city, city]


def test_cells_are_taken_as_they_are() -> None:
    form = InputForm(ignored=frozenset({"备注"}))
    assert raw_rows((FILES / "quotes.csv").read_bytes(), form)[0].given["out_id"] == 'a, "b"'
    cities = [row.given["expect_city"] for row in raw_rows((FILES / "gb18030.csv").read_bytes())]
    assert cities == ["上海", "杭州", "𠮷林"]
    first, second, third, *_ = raw_rows((FILES / "numbers.xlsx").read_bytes(), form)
    assert first.given == {
        "phone_no_a": "13800000000", "expiration": "2027-01-01 12:00:00", "out_order_id": "order-1"
    }  # fmt: skip
    assert (second.given["phone_no_a"], second.given["out_order_id"]) == ("13800000001", "42")
    assert (third.given["expiration"], third.given["phone_no_x"]) == ("2027-01-01 00:00:00", "95013000000000")


def test_messages_are_one_line_each_and_hold_no_whole_number() -> None:
    for path in FILES.iterdir():
        try:
            _, reasons, _ = checked(path.name, operation_of(path.name))
            told = list(reasons.values())
        except BatchInputError as refused:
            told = [str(refused)]
        for message in told:
            assert message.isprintable(), path.name
            assert not re.search(r"\d{7}", message.replace("2027-01-01", "")), (path.name, message)


@pytest.mark.parametrize("name", ["PhoneNoA", "phone_no_a", "A号码", " A号码 "])
def test_a_column_has_a_name_of_each_kind(name: str) -> None:
    report, _, _ = checked_bytes(f"{name},expires_in\n13800000000,2h\n".encode())
    assert report.good == 1


@pytest.mark.parametrize("asked", ["PhoneNoBB", "phone no b", "b号码", "phonenob"])
def test_the_nearest_name_is_told(asked: str) -> None:
    with pytest.raises(BatchInputError, match=r"did you mean (PhoneNoB|phone_no_b|B号码)\?"):
        checked_bytes(f"PhoneNoA,{asked}\n".encode())
