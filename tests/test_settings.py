"""The settings: what they are by default, what they refuse, what they never show."""

import ipaddress
import os
import ssl
from datetime import timedelta
from typing import Any

import pytest
import redis
from kombu import Connection
from pydantic import ValidationError

from worker.domain.job import JobState
from worker.errors import SettingsError
from worker.ledger.assembly import build_retention
from worker.ledger.retention import Retention
from worker.local.redis_server import EmbeddedRedis
from worker.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("AXN_", "ALIBABA_CLOUD_")) and name != "AXN_REDIS_SERVER":
            monkeypatch.delenv(name)


def test_the_defaults_are_valid_and_as_the_provider_wants_them() -> None:
    settings = load_settings()
    assert settings.redis_url == "redis://127.0.0.1:6379/0"
    assert settings.endpoint == "https://dyplsapi.aliyuncs.com"
    assert (settings.signature, settings.answer_format) == ("v3", "json")
    assert settings.pace.bind_axn_per_second == 50
    assert settings.expiration_margin == timedelta(seconds=60)
    assert settings.callback_ports == (80, 443, 8080, 8443)
    assert not settings.callback_allow_http
    assert settings.lease_ms == 20_000


@pytest.mark.parametrize(
    ("lease", "attempt"),
    [("10s", "10s"), ("1s", "10s"), ("45s", "46s")],
)
def test_a_lease_that_does_not_outlast_an_attempt_is_refused(
    monkeypatch: pytest.MonkeyPatch, lease: str, attempt: str
) -> None:
    for name, value in (("LEASE", lease), ("ATTEMPT_TIMEOUT", attempt)):
        monkeypatch.setenv(f"AXN_{name}", value)
    with pytest.raises(SettingsError, match=r"^AXN_LEASE .* must be longer than AXN_ATTEMPT_TIMEOUT"):
        load_settings()


def test_a_lease_just_longer_than_an_attempt_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_LEASE", "10001ms")
    assert load_settings().lease_ms == 10_001


@pytest.mark.parametrize("depths", [("40ms", "41ms", "30ms"), ("50ms", "40ms", "41ms"), ("10ms", "20ms", "30ms")])
def test_a_lower_lane_that_runs_further_ahead_than_a_higher_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, depths: tuple[str, str, str]
) -> None:
    for lane, depth in zip(("CHECKOUT", "RENEWAL", "BATCH"), depths, strict=True):
        monkeypatch.setenv(f"AXN_PACE__{lane}_DEPTH", depth)
    named = r" >= ".join(
        rf"AXN_PACE__{lane}_DEPTH \({depth}\)"
        for lane, depth in zip(("CHECKOUT", "RENEWAL", "BATCH"), depths, strict=True)
    )
    with pytest.raises(SettingsError, match=rf"^{named} must hold"):
        load_settings()


def test_lanes_that_run_equally_far_ahead_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for lane in ("CHECKOUT", "RENEWAL", "BATCH"):
        monkeypatch.setenv(f"AXN_PACE__{lane}_DEPTH", "40ms")
    assert load_settings().pace.batch_depth == timedelta(milliseconds=40)


@pytest.mark.parametrize(
    ("redis_url", "broker_url"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/1"),
        ("redis://h", "redis://h/1"),
        ("redis://:pw@h:6380/", "redis://:pw@h:6380/1"),
        ("redis://h/4", "redis://h/5"),
        ("redis://h?db=2", "redis://h/3"),
        ("rediss://u:pw@h/1?ssl_cert_reqs=none", "rediss://u:pw@h/2?ssl_cert_reqs=none"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=1"),
        ("unix:///run/a%20b/redis.sock?db=3", "redis+socket:///run/a%20b/redis.sock?virtual_host=4"),
    ],
)
def test_the_broker_is_the_ledgers_server_with_the_next_database(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, broker_url: str
) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", redis_url)
    assert load_settings().effective_broker_url == broker_url


def test_kombu_reaches_the_next_database_of_a_unix_socket(
    monkeypatch: pytest.MonkeyPatch, redis_server: EmbeddedRedis
) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", redis_server.url(7))
    with (
        Connection(load_settings().effective_broker_url) as connection,
        connection.SimpleQueue("axn.test") as queue,
        redis.Redis.from_url(redis_server.url(8)) as next_database,
    ):
        queue.put("x")
        assert next_database.llen("axn.test") == 1
        queue.clear()


def test_a_broker_of_ones_own_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_BROKER_URL", "amqp://rabbit//")
    assert load_settings().effective_broker_url == "amqp://rabbit//"


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://h/0", "redis://h/zero", "unix:///s?db=x"])
def test_a_redis_url_that_leads_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", url)
    with pytest.raises(SettingsError, match=r"^AXN_REDIS_URL: must be redis://host:port/0"):
        load_settings()


def test_credentials_come_under_the_names_of_the_providers_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"):
        monkeypatch.setenv(f"ALIBABA_CLOUD_{name}", f"sdk-{name}")
    settings = load_settings()
    assert settings.access_key_id == "sdk-ACCESS_KEY_ID"
    assert settings.access_key_secret.get_secret_value() == "sdk-ACCESS_KEY_SECRET"
    assert settings.security_token.get_secret_value() == "sdk-SECURITY_TOKEN"


def test_our_own_names_stand_before_the_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "sdk")
    monkeypatch.setenv("AXN_ACCESS_KEY_ID", "own")
    assert load_settings().access_key_id == "own"


def test_secrets_are_in_no_repr_and_no_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("ACCESS_KEY_SECRET", "SECURITY_TOKEN", "CALLBACK_SECRET", "SENTRY_DSN")
    for name in secrets:
        monkeypatch.setenv(f"AXN_{name}", f"hidden-{name}")
    settings = load_settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hidden-" not in shown
    assert settings.callback_secret.get_secret_value() == "hidden-CALLBACK_SECRET"


def test_a_refused_setting_does_not_show_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", "http://:pa55word@h/0")
    for load in (load_settings, Settings):
        with pytest.raises((SettingsError, ValidationError)) as caught:
            load()
        assert "pa55word" not in str(caught.value)


def test_comma_lists_are_read_with_and_without_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_CALLBACK_PORTS", "443, 8443,")
    monkeypatch.setenv("AXN_CALLBACK_ALLOW_NETS", "10.1.0.0/16, fd00::/8")
    monkeypatch.setenv("AXN_CALLBACK_SCHEDULE", "1s, 5m,2h")
    settings = load_settings()
    assert settings.callback_ports == (443, 8443)
    assert settings.callback_allow_nets == (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8"))
    assert settings.callback_schedule == (timedelta(seconds=1), timedelta(minutes=5), timedelta(hours=2))


def test_an_empty_list_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_CALLBACK_PORTS", "")
    monkeypatch.setenv("AXN_CALLBACK_ALLOW_NETS", "")
    assert (load_settings().callback_ports, load_settings().callback_allow_nets) == ((), ())


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("AXN_SIGNATURE", "v9", "must be 'v3' or 'v1'"),
        ("AXN_TICK", "soon", "must be a span of time"),
        ("AXN_RESULT_TTL", "99999999999d", "must be at most 100 years"),
        ("AXN_IN_FLIGHT", "0", "must be greater than 0"),
        ("AXN_PACE__BIND_AXN_PER_SECOND", "0", "must be greater than 0"),
        ("AXN_RETRY__ATTEMPTS", "x", "must be a valid integer"),
        ("AXN_CALLBACK_ALLOW_NETS", "10.1.0.1/16", "must be networks such as 10.1.0.0/16"),
        ("AXN_PROVIDER_CONNECTIONS", "-1", "must be greater than or equal to 0"),
        ("AXN_CREDENTIALS", "sts", "must be 'static' or 'chain'"),
        ("AXN_CALLBACK_PORTS", "443,x", "must be a valid integer"),
        ("AXN_CALLBACK_ALLOW_HTTP", "perhaps", "must be a valid boolean"),
    ],
)
def test_a_wrong_value_is_refused_by_its_variables_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, rule: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=rf"^{variable}[^:;]*: {rule}"):
        load_settings()


@pytest.mark.parametrize(
    "proxy",
    [
        "proxy:3128",
        "https://u:pa55word@h:1",
        "http://h",
        "http://u:pa55word@h:1/x",
        "http://:1",
        "socks5://h:1",
        "http://h:99999",
        "http://[h:1",
        "http://h:1?pa55word",
    ],
)
def test_a_proxy_that_is_none_is_refused_unseen(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("AXN_HTTP_PROXY", proxy)
    with pytest.raises(SettingsError, match=r"^AXN_HTTP_PROXY: must be http://host:port or") as caught:
        load_settings()
    assert "pa55word" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["", "http://h:3128", "http://u:p%40w@h:3128/"])
def test_a_proxy_is_read_and_not_shown(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("AXN_HTTP_PROXY", proxy)
    assert load_settings().http_proxy.get_secret_value() == proxy
    assert "p%40w" not in repr(load_settings())


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_SIGNATURE", "v9")
    monkeypatch.setenv("AXN_DOUBT__WINDOW", "x")
    with pytest.raises(SettingsError, match=r"AXN_SIGNATURE: .*; AXN_DOUBT__WINDOW: "):
        load_settings()


def test_settings_do_not_change() -> None:
    with pytest.raises(Exception, match="frozen"):
        Settings().pool_key = "x"  # type: ignore[misc]


CLUSTER = "redis+cluster://a:6379,b:6379"
SENTINEL = "redis+sentinel://user:p%40ss@s1:26379,s2/orders/3?sentinel_password=sp"


@pytest.mark.parametrize(
    "url",
    [
        CLUSTER,
        f"{CLUSTER}/0",
        "rediss+cluster://user:pw@[::1]:7000",
        SENTINEL,
        "redis+sentinel://s1/orders",
    ],
)
def test_a_ledger_of_many_servers_is_accepted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", url)
    monkeypatch.setenv("AXN_BROKER_URL", "amqp://broker")
    assert load_settings().redis_url == url


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://a:port",
        "redis+cluster://a:70000",
        "redis+cluster://a/1",
        "redis+cluster://a?db=0",
        "redis+sentinel://s1",
        "redis+sentinel://s1/orders/x",
        "redis+cloud://a",
        "unix+cluster:///socket",
    ],
)
def test_a_url_that_leads_to_no_ledger_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", url)
    monkeypatch.setenv("AXN_BROKER_URL", "amqp://broker")
    with pytest.raises(SettingsError, match=r"^AXN_REDIS_URL: must be redis://.*redis\+sentinel://"):
        load_settings()


def test_tls_behind_sentinels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", "rediss+sentinel://s1/orders/0")
    with pytest.raises(SettingsError, match=r"^AXN_REDIS_URL: must not be rediss\+sentinel://: TLS is for one server"):
        load_settings()


@pytest.mark.parametrize(
    ("redis_url", "broker_url", "told"),
    [
        (CLUSTER, "", "AXN_BROKER_URL must be set where AXN_REDIS_URL is a cluster: Celery cannot use a Redis Cluster"),
        ("redis://one/0", CLUSTER, "AXN_BROKER_URL must not be a cluster: Celery cannot use a Redis Cluster"),
        ("redis://one/0", "rediss+sentinel://s1/orders/0", "AXN_BROKER_URL must not be rediss+sentinel://"),
    ],
)
def test_a_broker_that_celery_cannot_use_is_refused(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, broker_url: str, told: str
) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", redis_url)
    monkeypatch.setenv("AXN_BROKER_URL", broker_url)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert told in str(refused.value)


@pytest.mark.parametrize(("redis_url", "broker_url", "database"), [(SENTINEL, "", 4), ("redis://one/0", SENTINEL, 3)])
def test_sentinels_are_told_to_celery_in_its_notation(redis_url: str, broker_url: str, database: int) -> None:
    settings = Settings(redis_url=redis_url, broker_url=broker_url)
    assert settings.effective_broker_url == ";".join(
        f"sentinel://user:p%40ss@{host}:26379/{database}" for host in ("s1", "s2")
    )
    assert settings.broker_options == {"master_name": "orders", "sentinel_kwargs": {"password": "sp"}}


@pytest.mark.parametrize(
    ("url", "required"),
    [("rediss://one/0", True), ("rediss://one/0?ssl_cert_reqs=none", False)],
)
def test_celery_is_told_to_check_the_broker_s_certificate(url: str, required: bool) -> None:
    for settings in (Settings(broker_url=url), Settings(redis_url=url, broker_url="")):
        tls: Any = Connection(settings.effective_broker_url).ssl
        assert (tls["ssl_cert_reqs"] is ssl.CERT_REQUIRED) == required


def test_an_end_state_may_have_a_retention_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build_retention(load_settings()) == Retention(7 * 86_400_000)
    monkeypatch.setenv("AXN_RESULT_TTL", "1d")
    monkeypatch.setenv("AXN_RETENTION__FAILED", "90d")
    monkeypatch.setenv("AXN_RETENTION__BOUND", "1h")
    retention = build_retention(load_settings())
    hours = {state: retention.ms(state) / 3_600_000 for state in JobState}
    assert {state: span for state, span in hours.items() if span != 24} == {
        JobState.FAILED: 90 * 24, JobState.BOUND: 1, JobState.OLD_LEFT_BOUND: 1,
    }  # fmt: skip
    monkeypatch.setenv("AXN_RETENTION__EXPIRED", "0s")
    with pytest.raises(SettingsError, match="AXN_RETENTION__EXPIRED: must be at least 1ms"):
        load_settings()
