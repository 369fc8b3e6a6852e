"""The pace as people read it, within 80 columns: two tables, and a line for each order that stands."""

from collections.abc import Callable, Iterator, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from worker.cli.output import readable_age, readable_time
from worker.pace.state import AccountState, ActionState, Ceiling, CircuitState, Cut, LaneState, StopState

_UNKNOWN = "-"
_WHOLE_FROM = 1_000


def account_view(state: AccountState) -> Group:
    """All of it. What is not known is a dash."""
    lines = [_account_line(state), _circuit_line(state.circuit, state.at)]
    notes = [Text(line) for line in _notes(state)]
    return Group(*lines, Text(), _calls(state), Text(), _lanes(state), *([Text(), *notes] if notes else []))


def ceiling_line(action: ActionState) -> str:
    """The bound that holds now, and whose it is."""
    ceiling = action.ceiling
    whose = f"in place of the setting's {_exact(ceiling.setting)}" if ceiling.is_ordered else "the setting's"
    return f"{action.action}: at most {_exact(ceiling.per_second)} calls/s, {whose}{_since(ceiling)}"


def lane_lines(actions: Sequence[ActionState], chosen: Callable[[LaneState], bool]) -> Iterator[str]:
    """What holds for the chosen lanes of these actions; those ordered together in one line."""
    lanes_of: dict[tuple[str, str], list[str]] = {}
    for action in actions:
        for lane in filter(chosen, action.lanes):
            what = ("paused" if lane.is_paused else "not paused") + _since(lane)
            lanes_of.setdefault((action.action, what), []).append(lane.lane.value)
    actions_of: dict[str, list[str]] = {}
    for (action_name, what), lanes in lanes_of.items():
        actions_of.setdefault(f"{', '.join(lanes)} {what}", []).append(action_name)
    for order, names in actions_of.items():
        yield f"{order}: {', '.join(names)}"


def _account_line(state: AccountState) -> Text:
    if state.stop is None:
        return Text(f"account {state.account} at {readable_time(state.at)}: good")
    return Text(f"account {state.account} at {readable_time(state.at)}: {_stopped(state.stop, state.at)}", "bold red")


def _stopped(stop: StopState, now_ms: int) -> str:
    lasts = "" if stop.since is None else f" for {readable_age(now_ms - stop.since)}"
    return f"STOPPED{lasts}, refused with {stop.code or _UNKNOWN}, {_next_probe(stop.next_probe_at, now_ms)}"


def _circuit_line(circuit: CircuitState, now_ms: int) -> Text:
    if not circuit.is_open:
        return Text(f"endpoint {circuit.endpoint}: circuit closed")
    lasts = "" if circuit.opened_at is None else f" for {readable_age(now_ms - circuit.opened_at)}"
    probe = _next_probe(circuit.next_probe_at, now_ms)
    return Text(f"endpoint {circuit.endpoint}: circuit OPEN{lasts}, {probe}", "bold red")


def _next_probe(at: int | None, now_ms: int) -> str:
    if at is None:
        return f"next probe: {_UNKNOWN}"
    return f"next probe in {readable_age(at - now_ms)}" if at > now_ms else "next probe is due"


def _calls(state: AccountState) -> Table:
    table = _table("calls/s", "ceiling", "rate", "in use", "sent/min", "throttled", "unwell")
    for action in state.actions:
        traffic = action.traffic
        ceiling = _exact(action.ceiling.per_second) + ("*" if action.ceiling.is_ordered else "")
        if traffic is None:
            table.add_row(action.action, ceiling, *[_UNKNOWN] * 5)
            continue
        minute = traffic.last_minute
        counts = (_count(count) for count in (minute.sent, minute.throttled, minute.unwell))
        table.add_row(action.action, ceiling, _rough(traffic.rate), _rough(traffic.in_use), *counts)
    return table


def _lanes(state: AccountState) -> Table:
    table = _table("waiting", *(lane.lane.value for lane in state.actions[0].lanes), "last cut")
    for action in state.actions:
        waiting = (Text(*_waiting(lane)) for lane in action.lanes)
        last_cut = _UNKNOWN if action.traffic is None else _cut(action.traffic.last_cut, state.at)
        table.add_row(action.action, *waiting, last_cut)
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(names):
        table.add_column(name, no_wrap=True, overflow="fold", justify="right" if place else "left")
    return table


def _waiting(lane: LaneState) -> tuple[str, str]:
    return (f"{lane.waiting:,} paused", "bold yellow") if lane.is_paused else (f"{lane.waiting:,}", "")


def _cut(cut: Cut | None, now_ms: int) -> str:
    return "never" if cut is None else f"{readable_age(now_ms - cut.at)} ago to {_rough(cut.per_second)}"


def _notes(state: AccountState) -> Iterator[str]:
    yield from (ceiling_line(action) for action in state.actions if action.ceiling.is_ordered)
    yield from lane_lines(state.actions, lambda lane: lane.is_paused)
    for action in state.actions:
        if action.traffic and action.traffic.silent_until is not None:
            left = readable_age(action.traffic.silent_until - state.at)
            yield f"{action.action}: the provider asked for silence, {left} more"


def _since(order: Ceiling | LaneState) -> str:
    return "" if order.at is None else f", {readable_time(order.at)} by {order.by or _UNKNOWN}"


def _exact(per_second: float) -> str:
    return f"{per_second:,.10g}"


def _rough(per_second: float | None) -> str:
    if per_second is None:
        return _UNKNOWN
    return f"{per_second:,.0f}" if per_second >= _WHOLE_FROM else f"{per_second:.3g}"


def _count(count: int | None) -> str:
    return _UNKNOWN if count is None else f"{count:,}"
