"""The metrics, in one place. Names and units by Prometheus' conventions: base units, `_total` for what only grows.

What this process did is counted as it happens; what stands in Redis is the same from every process, and is read when
somebody asks (`worker.observation.gauges`).
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)


class Meters:
    """All of one process, in a registry of their own.

    A label's values are few and known: lanes, states, actions, and codes of the provider or of ours.
    """

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry(auto_describe=True)
        self.jobs_ended = Counter(
            "axn_jobs_ended", "Jobs that came to an end in this process.", ["kind", "lane", "state", "code"],
            registry=registry,
        )  # fmt: skip
        self.jobs_waiting_again = Counter(
            "axn_jobs_waiting_again", "Attempts after which a job waits for another.", ["lane", "code"],
            registry=registry,
        )  # fmt: skip
        self.leases_lost = Counter(
            "axn_leases_lost", "Attempts whose lease was lost before they could be settled.", ["lane"],
            registry=registry,
        )  # fmt: skip
        self.jobs_rescued = Counter(
            "axn_jobs_rescued", "Claims of jobs whose last worker died or stuck.", ["lane"], registry=registry
        )
        self.job_wait = Histogram(
            "axn_job_wait_seconds", "From a job's acceptance to its first attempt.", ["lane"], buckets=_WAITS,
            registry=registry,
        )  # fmt: skip
        self.calls = Counter(
            "axn_provider_calls", "Calls to the provider, by what must follow from their answer.",
            ["action", "verdict", "code"], registry=registry,
        )  # fmt: skip
        self.call_duration = Histogram(
            "axn_provider_call_seconds", "From sending a call to the end of its answer.", ["action"], buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.callbacks = Counter(
            "axn_callback_tries", "Tries of callbacks, by result: delivered, or the error's class.", ["result"],
            registry=registry,
        )  # fmt: skip
        self.callback_duration = Histogram(
            "axn_callback_try_seconds", "How long a try of a callback took.", buckets=_SECONDS, registry=registry
        )
        self.jobs_in_flight = Gauge("axn_jobs_in_flight", "Jobs whose lease this process holds.", registry=registry)
        self.loop_lag = Gauge(
            "axn_loop_lag_seconds", "How late the event loop was: the longest of the last ten seconds.",
            registry=registry,
        )  # fmt: skip
        self.redis_latency = Gauge(
            "axn_redis_latency_seconds", "One PING of the ledger's Redis, at the last reading.", registry=registry
        )
        self.redis_up = Gauge(
            "axn_redis_up", "1 where the ledger's Redis answered the last reading; what is read there is of then.",
            registry=registry,
        )  # fmt: skip
        self.jobs_in_doubt = Gauge("axn_jobs_in_doubt", "Jobs held for a person.", registry=registry)
        self.jobs_failed = Gauge("axn_jobs_failed", "Failed jobs on record.", registry=registry)
        self.dead_callbacks = Gauge("axn_dead_callbacks", "Callbacks given up, on record.", registry=registry)
        self.timetable_entries = Gauge(
            "axn_timetable_entries", "Jobs and callbacks that are not finished.", registry=registry
        )
        self.timetable_late = Gauge(
            "axn_timetable_late_seconds", "How long ago the earliest entry was due that nobody has taken.",
            registry=registry,
        )  # fmt: skip
        self.queue_messages = Gauge("axn_queue_messages", "Messages in a lane's queue.", ["lane"], registry=registry)
        self.queue_age = Gauge(
            "axn_queue_oldest_seconds",
            "Age of the oldest message that waits, counted from the newest taken up; 0 where none waits.", ["lane"],
            registry=registry,
        )  # fmt: skip
        self.pace_limit = Gauge(
            "axn_pace_limit_per_second", "Calls per second allowed now, all workers together.", ["action"],
            registry=registry,
        )  # fmt: skip
        self.pace_ceiling = Gauge(
            "axn_pace_ceiling_per_second", "Calls per second allowed at most, by setting or order.", ["action"],
            registry=registry,
        )  # fmt: skip
        self.pace_used = Gauge(
            "axn_pace_used_per_second", "Calls per second over the last minute, all workers together.", ["action"],
            registry=registry,
        )  # fmt: skip
        self.pace_throttled = Gauge(
            "axn_pace_throttled_per_second", "Throttled calls per second over the last minute, all workers together.",
            ["action"], registry=registry,
        )  # fmt: skip
        self.pace_paused = Gauge(
            "axn_pace_paused", "1 where a lane of an action is paused by order.", ["action", "lane"], registry=registry
        )
        self.account_stopped = Gauge(
            "axn_account_stopped", "1 while the provider refuses the account: nothing but probes is sent.",
            registry=registry,
        )  # fmt: skip
        self.circuit_open = Gauge(
            "axn_circuit_open", "1 while calls are held back because the provider does not answer.", registry=registry
        )
