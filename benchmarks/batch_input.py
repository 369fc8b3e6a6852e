"""Rows per second and memory of `axn batch check`, by format.

    python -m benchmarks.batch_input --rows 100000
    python -m benchmarks.batch_input --rows 1000000 --formats csv,xlsx

Each file is checked by a process of its own, whose peak memory the system tells. Beside it stands the peak of one that
checks a single row: the interpreter and the imports.
"""

import argparse
import gzip
import json
import multiprocessing
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from worker.batches.checking import check
from worker.batches.opening import InputForm, open_table
from worker.batches.operations import Operation
from worker.batches.row_rules import RowRules
from worker.callbacks.guard import ReceiverRules
from worker.clock import SystemClock
from worker.intake.acceptance import Acceptance, AcceptanceRules

HEADER = ("phone_no_a", "expiration", "out_order_id", "expect_city")
UPDATE_HEADER = ("op", "subs_id", "phone_no_x", "phone_no_a")


def _binds(rows: int) -> Iterator[tuple[str, ...]]:
    yield HEADER
    for number in range(rows):
        yield (
            str(13_800_000_000 + number),
            f"2099-12-01 {number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}",
            f"order-{number}",
            "上海",
        )


def _moves(rows: int) -> Iterator[tuple[str, ...]]:
    yield UPDATE_HEADER
    for number in range(rows):
        yield "move-a", str(1_000_000_000 + number), "17000000000", str(13_800_000_000 + number)


def _csv(path: Path, rows: Iterator[tuple[str, ...]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(",".join(row) + "\r\n" for row in rows)


def _csv_gz(path: Path, rows: Iterator[tuple[str, ...]]) -> None:
    with gzip.open(path, "wt", encoding="gb18030", compresslevel=3) as file:
        file.writelines(";".join(row) + "\n" for row in rows)


def _jsonl(path: Path, rows: Iterator[tuple[str, ...]]) -> None:
    names = next(rows)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n" for row in rows)


def _xlsx(path: Path, rows: Iterator[tuple[str, ...]]) -> None:
    """Shared texts, as Excel writes them: the costly kind."""
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    texts: dict[str, int] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as package:
        package.writestr(
            "xl/workbook.xml", f'<workbook xmlns:r="{relation}"><sheets><sheet name="S" r:id="r1"/></sheets></workbook>'
        )
        package.writestr(
            "xl/_rels/workbook.xml.rels",
            '<Relationships><Relationship Id="r1" Target="worksheets/sheet1.xml"/></Relationships>',
        )
        with package.open("xl/worksheets/sheet1.xml", "w") as part:
            part.write(b"<worksheet><sheetData>")
            for line, row in enumerate(rows, 1):
                cells = "".join(
                    f'<c r="{"ABCD"[column]}{line}" t="s"><v>{texts.setdefault(cell, len(texts))}</v></c>'
                    for column, cell in enumerate(row)
                )
                part.write(f'<row r="{line}">{cells}</row>'.encode())
            part.write(b"</sheetData></worksheet>")
        with package.open("xl/sharedStrings.xml", "w") as part:
            part.write(b"<sst>")
            for text in texts:
                part.write(f"<si><t>{text}</t></si>".encode())
            part.write(b"</sst>")


_WRITERS: dict[
    str, tuple[Callable[[Path, Iterator[tuple[str, ...]]], None], Callable[[int], Iterator[tuple[str, ...]]]]
] = {
    "csv": (_csv, _binds),
    "csv.gz": (_csv_gz, _binds),
    "jsonl": (_jsonl, _binds),
    "xlsx": (_xlsx, _binds),
    "moves.csv": (_csv, _moves),
}


def _peak_mb() -> float:
    """Of this process alone: getrusage tells its parent's too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _measure(path: str) -> tuple[int, float, float, float]:
    rules = AcceptanceRules("FC1", timedelta(seconds=60), ReceiverRules())
    row_rules = RowRules(Acceptance(rules, SystemClock()), None if "moves" in path else Operation.BIND)
    began, cpu_began = time.perf_counter(), time.process_time()
    with open_table(path, InputForm()) as (table, source):
        report = check(table, row_rules, most_rows=source.limits.rows, sink=None, tell=lambda _rows: None)
    if report.bad or report.stopped_by:
        raise SystemExit(f"{path}: {report}")
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    return report.good, took_s, cpu_s, _peak_mb()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--formats", default=",".join(_WRITERS))
    asked = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    print("| format | rows | s | CPU s | rows/CPU s | peak MB | of one row |\n|---|---|---|---|---|---|---|")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        for format_ in asked.formats.split(","):
            write, rows_of = _WRITERS[format_]
            figures = []
            for rows in (1, asked.rows):
                path = Path(folder) / f"{rows}.{format_}"
                write(path, rows_of(rows))
                with spawn.Pool(1) as pool:
                    figures.append(pool.apply(_measure, [str(path)]))
            (_, _, _, least_mb), (rows, took_s, cpu_s, peak_mb) = figures
            speed = f"{took_s:.1f} | {cpu_s:.1f} | {rows / cpu_s:,.0f}"
            print(f"| {format_} | {rows} | {speed} | {peak_mb:.0f} | {least_mb:.0f} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
