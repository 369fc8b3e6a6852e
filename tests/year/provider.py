"""The sandbox without its network: calls go straight to its gateway, and every change of an end is on record."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from worker.http import HttpAnswer, MaybeSentError, NotSentError
from worker.sandbox.bindings import Binding
from worker.sandbox.config import AccessKey, Limit, PoolSpec, SandboxConfig
from worker.sandbox.gateway import Gateway
from worker.sandbox.requests import WireRequest

KEY_ID, SECRET, POOL_KEY = "year", "a-secret-of-the-year", "FC123456"
_UPDATE = "UpdateSubscription"


@dataclass(frozen=True, slots=True)
class Change:
    """One accepted updateExpire. Unix seconds."""

    at_s: float
    before_s: float
    after_s: float


class Now(Protocol):
    """Whose time it is: `tests.year.moving_time`."""

    def unix_s(self) -> float:
        """Unix seconds."""


class YearsProvider:
    """The provider, which can be away.

    Args:
        time_: its clock.
        numbers: how many X its one pool holds.
        update_per_second: how many updates it takes in one second.
        latency_ms: of each answer.
        seed: of its draws.
    """

    def __init__(
        self, time_: Now, *, numbers: int, update_per_second: int, latency_ms: int = 20, seed: int = 0
    ) -> None:
        config = SandboxConfig(
            pools=(PoolSpec(POOL_KEY, (("上海", numbers),)),),
            access_keys=(AccessKey(KEY_ID, SECRET),),
            limits=(Limit(_UPDATE, update_per_second),),
            magic_numbers=False,
            seed=seed,
        )
        self._time = time_
        self.gateway = Gateway(config, time_.unix_s)
        self._latency_s = latency_ms / 1000
        self.is_away = False
        self.changes: dict[str, list[Change]] = {}
        self.ended_s: dict[str, float] = {}
        self.repeated = 0
        self.lost_answers = 0
        self.before_next: list[Callable[[], None]] = []

    async def post(
        self, url: str, *, headers: Mapping[str, str], content: bytes = b"", total_timeout_ms: int
    ) -> HttpAnswer:
        """Takes the place of `HttpClient.post`.

        Raises:
            NotSentError: the provider is away.
            MaybeSentError: it has done what was asked, and its answer is lost.
        """
        if self.is_away:
            await asyncio.sleep(self._latency_s)
            raise NotSentError("connect_refused", "the provider is away")
        parts = urlsplit(url)
        names = tuple((name.lower(), value) for name, value in headers.items())
        wire = WireRequest("POST", f"{parts.path}?{parts.query}", names, content)
        binding = self._updated(headers.get("x-acs-action", ""), parts.query)
        before_s = binding.expires_at if binding is not None else 0.0
        reply = self.gateway.reply(wire)
        if binding is not None:
            self._note(binding, before_s, is_accepted=b'"Code": "OK"' in reply.body or b'"Code":"OK"' in reply.body)
        for act in self.before_next:
            act()
        self.before_next.clear()
        await asyncio.sleep(self._latency_s + reply.wait_s)
        if reply.ending != "answer":
            self.lost_answers += 1
            raise MaybeSentError("disconnected", "the answer is lost")
        return HttpAnswer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.body)

    def end(self, binding: Binding) -> None:
        """Somebody unbinds it at the provider's console."""
        self.ended_s[binding.subs_id] = self._time.unix_s()
        self.gateway.account.bindings.end(binding, "unbound", self._time.unix_s())

    def bindings(self) -> list[Binding]:
        """All ever made, oldest first, up to date."""
        book = self.gateway.account.bindings
        book.expire(self._time.unix_s())
        return list(book)

    def _updated(self, action: str, query: str) -> Binding | None:
        if action != _UPDATE:
            return None
        given = parse_qs(query)
        if given.get("OperateType") != ["updateExpire"]:
            return None
        return self.gateway.account.bindings.get(given["SubsId"][0])

    def _note(self, binding: Binding, before_s: float, *, is_accepted: bool) -> None:
        if binding.expires_at != before_s:
            change = Change(self._time.unix_s(), before_s, binding.expires_at)
            self.changes.setdefault(binding.subs_id, []).append(change)
        elif is_accepted:
            self.repeated += 1
