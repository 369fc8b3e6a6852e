"""The server as the command starts it, and what it must not depend on."""

import ast
import asyncio
import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError, ClientSession

import worker.sandbox
from worker.sandbox.server import _base_url, serve

from .conftest import CONFIG, Clock, Sandbox
from .signing_client import SigningClient


async def test_serving_tells_the_base_url_and_ends_with_its_task(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(CONFIG, on_ready=ready.set_result))
    base = await ready
    assert base.startswith("http://127.0.0.1:")
    async with ClientSession() as session:
        client = SigningClient(session, base, time.time)
        sandbox = Sandbox(client, Clock(time.time()))
        await sandbox.bind()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(OSError, match="Cannot connect"):
            await client.admin("GET", "health")
    assert "15000000000" not in caplog.text


async def test_a_held_connection_does_not_hold_up_the_end() -> None:
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(replace(CONFIG, latency_ms=60_000), on_ready=ready.set_result))
    async with ClientSession() as session:
        sandbox = Sandbox(SigningClient(session, await ready, time.time), Clock(time.time()))
        waiting = asyncio.create_task(sandbox.bind())
        async with asyncio.timeout(5):
            while not await sandbox.bindings():
                pass
            task.cancel()
            results = await asyncio.gather(task, waiting, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert isinstance(results[1], ClientConnectionError)


async def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(CONFIG, on_ready=ready.set_result))
    port = int((await ready).rsplit(":", 1)[1])
    with pytest.raises(OSError, match="address already in use"):
        await serve(replace(CONFIG, port=port), on_ready=lambda _: None)
    task.cancel()


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert _base_url("::1", 80) == "http://[::1]:80"


def test_the_sandbox_imports_nothing_of_the_engine() -> None:
    [folder] = worker.sandbox.__path__
    for path in Path(folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert all(name.startswith("worker.sandbox") for name in names if name.split(".")[0] == "worker"), path
