"""Files that nobody made by hand: too long, too many, made to harm; and whole files through narrow openings."""

import gzip
import io
import tracemalloc
import zipfile

import pytest

from worker.batches.opening import InputForm
from worker.batches.sources import Limits
from worker.errors import BatchInputError

from .support import FILES, checked, checked_bytes

HEADER = b"phone_no_a,expires_in\n"
GOOD = b"13800000000,2h\n"
SMALL = Limits(line_bytes=1 << 12, unpacked_bytes=1 << 20, packing_ratio=20, free_bytes=1 << 16, rows=10)


def of_sheet(rows: str, **parts: str) -> bytes:
    """An .xlsx file by hand."""
    held = io.BytesIO()
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = {
        "xl/workbook.xml": f'<x:workbook xmlns:x="u" xmlns:r="{relation}"><x:sheets>'
        '<x:sheet name="S" r:id="r1"/></x:sheets></x:workbook>',
        "xl/_rels/workbook.xml.rels": '<a><Relationship Id="r1" Target="/xl/worksheets/one.xml"/></a>',
        "xl/worksheets/one.xml": f"<worksheet><sheetData>{rows}</sheetData></worksheet>",
        **{name.replace("__", "/") + ".xml": text for name, text in parts.items()},
    }
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in package.items():
            packed.writestr(name, text)
    return held.getvalue()


def inline(*cells: str) -> str:
    return "<row>" + "".join(f'<c t="inlineStr"><is><t>{cell}</t></is></c>' for cell in cells) + "</row>"


@pytest.mark.parametrize("line", [b"1" * (10 << 20), b'13800000000,"' + b"x" * (10 << 20) + b'"'])
def test_one_line_of_ten_megabytes_is_passed_over_in_little_memory(line: bytes) -> None:
    tracemalloc.start()
    report, reasons, _ = checked_bytes(HEADER + GOOD + line + b"\n13800000001,2h\n")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (report.good, reasons) == (2, {3: "row: is longer than 1024 KiB"})
    assert peak - len(line) < 25 << 20  # the bytes themselves stand in the test's memory, and twice for a moment


@pytest.mark.parametrize("begin", [b"x", b'{"phone_no_a": "'])
def test_a_first_line_of_ten_megabytes_is_refused(begin: bytes) -> None:
    data = begin + b"1" * (10 << 20)
    if begin == b"x":
        with pytest.raises(BatchInputError, match="line 1 is longer than 1024 KiB; the first line must name"):
            checked_bytes(data)
    else:
        assert checked_bytes(data)[1] == {1: "row: is longer than 1024 KiB"}


def test_a_cell_that_is_too_long_is_refused() -> None:
    data = b"phone_no_a,expires_in,out_id\n13800000000,2h," + b"x" * 200_000 + b"\n13800000001,2h,y\n"
    report, reasons, _ = checked_bytes(data)
    assert (report.good, reasons) == (1, {2: "row: has a cell that is too long"})


@pytest.mark.parametrize("filler", [b"\n", b"x" * 100 + b"\n", b"0"])
def test_a_gzip_bomb_is_noticed_as_it_goes_off(filler: bytes) -> None:
    bomb = gzip.compress(HEADER + GOOD + filler * ((32 << 20) // len(filler)), compresslevel=1)
    report, _, _ = checked_bytes(bomb, form=InputForm(limits=Limits(free_bytes=1 << 16, packing_ratio=4)))
    assert "unpacks to more than 4 times its size" in report.stopped_by


def test_a_bomb_without_line_ends_takes_little_memory() -> None:
    bomb = gzip.compress(HEADER + GOOD + bytes([48]) * (64 << 20), compresslevel=1)
    tracemalloc.start()
    report, _, _ = checked_bytes(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "unpacks to more than 200 times its size" in report.stopped_by
    assert peak < 8 << 20


def test_a_file_that_unpacks_to_too_much_is_refused_though_it_packs_badly() -> None:
    rows = b"".join(b"%d,%dh\n" % (13800000000 + row * 7919, row * 31 % 97 + 2) for row in range(15_000))
    limits = Limits(unpacked_bytes=1 << 17)
    report, _, _ = checked_bytes(gzip.compress(HEADER + rows), form=InputForm(limits=limits))
    assert "unpacks to more than" in report.stopped_by
    assert "split it" in report.stopped_by


def test_too_many_rows_are_refused() -> None:
    rows = b"".join(b"%d,2h\n" % (13800000000 + row) for row in range(11))
    report, _, _ = checked_bytes(HEADER + rows, form=InputForm(limits=SMALL))
    assert (report.good, "more than 10 rows; split it" in report.stopped_by) == (10, True)


def test_too_many_blank_lines_are_refused() -> None:
    report, _, _ = checked_bytes(HEADER + b"\n" * 30, form=InputForm(limits=SMALL))
    assert "more than 20 lines, most of them blank" in report.stopped_by


@pytest.mark.parametrize("whole", [of_sheet(inline("phone_no_a") + " " * (1 << 20)), of_sheet("", big="x" * (2 << 20))])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(whole: bytes) -> None:
    with pytest.raises(BatchInputError, match="the file unpacks to more than"):
        checked_bytes(whole, form=InputForm(limits=SMALL))


@pytest.mark.parametrize(
    ("sheet", "why"),
    [
        (of_sheet(inline("phone_no_a", "x" * 40_000)), "a cell of more than 32767 characters"),
        (of_sheet(f'<row a="{"x" * (2 << 20)}"/>'), "an element of the sheet is too long"),
        (of_sheet('<row><c r="ZZZZ1" t="str"><v>x</v></c></row>'), "more columns than Excel can"),
        (of_sheet('<row r="2"/><row r="2"/>'), "row 2 comes after row 2"),
        (of_sheet('<row><c t="s"><v>7</v></c></row>'), "lacks a text"),
        (of_sheet("<row><c><v>x</v></c></row>"), "a number cell without a number"),
        (of_sheet("<row>"), "damaged or encrypted"),
        (of_sheet("", xl__workbook="<w/>"), "shows no sheet"),
        (of_sheet("", xl__workbook='<!DOCTYPE x [<!ENTITY a "b">]><w/>'), "has a document type"),
        (of_sheet("", xl___rels__workbook="<a/>"), "is empty"),
        (of_sheet(""), "the sheet S is empty"),
    ],
)
def test_a_sheet_made_to_harm_or_by_a_bad_program_is_refused(sheet: bytes, why: str) -> None:
    with pytest.raises(BatchInputError, match=why):
        checked_bytes(sheet)


def test_a_sheet_as_excel_writes_it_is_read() -> None:
    texts = "<si><t>phone_no_a</t></si><si><r><t>expi</t></r><r><t>ration</t></r><rPh><t>x</t></rPh></si>"
    styles = (
        '<s><numFmts><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd;@"/>'
        '<numFmt numFmtId="165" formatCode="0&quot;d&quot;"/>'
        '</numFmts><cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="22"/><xf numFmtId="165"/></cellXfs></s>'
    )
    rows = (
        '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c>'
        '<c r="C1" t="inlineStr"><is><t>is_recording_enabled</t></is></c>'
        '<c r="E1" t="inlineStr"><is><t>out_id</t></is></c></row>'
        '<row r="3"><c r="A3" s="3"><v>1.3800000001E10</v></c><c r="B3" s="1"><v>46388.5</v></c>'
        '<c r="C3" t="b"><v>1</v></c><c r="E3" t="str"><f>"a"</f><v>a</v></c></row>'
        '<row r="4"><c r="A4"><v>13800000002</v></c><c r="B4" s="2"><v>46388.500011</v></c><c r="F4" s="1"/></row>'
        '<row r="5"><c r="A5"><v>13800000003</v></c><c r="B5" t="str"><f>C5</f><v>2027-01-01 12:00:00</v></c>'
        '<c r="E5"><f>C5</f></c></row>'
    )
    report, reasons, _ = checked_bytes(
        of_sheet(rows, xl__sharedStrings=texts.join(("<sst>", "</sst>")), xl__styles=styles)
    )
    assert (report.good, list(reasons)) == (2, [5])
    assert reasons[5].startswith("out_id: is the error of a formula")


@pytest.mark.parametrize("name", ["bom.csv", "gb18030.csv", "numbers.xlsx", "broken.jsonl", "quotes.csv"])
def test_gzip_and_standard_input_change_nothing(name: str) -> None:
    plain, reasons, _ = checked(name)
    packed, same_reasons, _ = checked_bytes(gzip.compress((FILES / name).read_bytes()))
    assert (packed, same_reasons) == (plain, reasons)
