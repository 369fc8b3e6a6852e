"""How histories are read while they are written."""

from pathlib import Path

from tests.chaos.histories import Tail


def test_each_line_is_read_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    tail = Tail(path)
    assert tail.new_events() == []
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n{"n"')
    assert tail.new_events() == [{"n": 1}, {"n": 2}]
    assert tail.new_events() == []
    with path.open("ab") as file:
        file.write(b': 3}\n{"cut by a kill\n{"n": 4}\n')
    assert tail.new_events() == [{"n": 3}, {"n": 4}]
