"""The metrics, in one place. Names and units by Prometheus' conventions: base units, `_total` for what only grows.

What this process did is counted as it happens; what stands in Redis is the same from every process, and is read when
somebody asks (`worker.observation.gauges`).
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
_ALIKE = "The same from every process."


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
        self.jobs_in_flight = Gauge(
            "axn_jobs_in_flight", "Jobs whose lease this process holds.", ["lane"], registry=registry
        )
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
        self.jobs_in_doubt = Gauge("axn_jobs_in_doubt", f"Jobs held for a person. {_ALIKE}", registry=registry)
        self.jobs_failed = Gauge("axn_jobs_failed", f"Failed jobs on record. {_ALIKE}", registry=registry)
        self.dead_callbacks = Gauge("axn_dead_callbacks", f"Callbacks given up, on record. {_ALIKE}", registry=registry)
        self.timetable_entries = Gauge(
            "axn_timetable_entries", f"Jobs and callbacks that are not finished. {_ALIKE}", registry=registry
        )
        self.timetable_late = Gauge(
            "axn_timetable_late_seconds", f"How long ago the earliest entry was due that nobody has taken. {_ALIKE}",
            registry=registry,
        )  # fmt: skip
        self.queue_messages = Gauge(
            "axn_queue_messages", f"Messages in a lane's queue. {_ALIKE}", ["lane"], registry=registry
        )
        self.queue_age = Gauge(
            "axn_queue_oldest_seconds",
            f"Age of the oldest message that waits, counted from the newest taken up; 0 where none waits. {_ALIKE}",
            ["lane"], registry=registry,
        )  # fmt: skip
        self.pace_limit = Gauge(
            "axn_pace_limit_per_second", f"Calls per second allowed now, all workers together. {_ALIKE}", ["action"],
            registry=registry,
        )  # fmt: skip
        self.pace_ceiling = Gauge(
            "axn_pace_ceiling_per_second", f"Calls per second allowed at most, by setting or order. {_ALIKE}",
            ["action"], registry=registry,
        )  # fmt: skip
        self.pace_used = Gauge(
            "axn_pace_used_per_second", f"Calls per second over the last minute, all workers together. {_ALIKE}",
            ["action"], registry=registry,
        )  # fmt: skip
        self.pace_throttled = Gauge(
            "axn_pace_throttled_per_second",
            f"Throttled calls per second over the last minute, all workers together. {_ALIKE}",
            ["action"], registry=registry,
        )  # fmt: skip
        self.pace_paused = Gauge(
            "axn_pace_paused",
            f"1 where a lane of an action is paused by order. {_ALIKE}",
            ["action", "lane"],
            registry=registry,
        )
        self.account_stopped = Gauge(
            "axn_account_stopped", f"1 while the provider refuses the account: nothing but probes is sent. {_ALIKE}",
            registry=registry,
        )  # fmt: skip
        self.circuit_open = Gauge(
            "axn_circuit_open",
            f"1 while calls are held back because the provider does not answer. {_ALIKE}",
            registry=registry,
        )
        self._add_renewals(registry)
        self._add_batches(registry)

    def _add_renewals(self, registry: CollectorRegistry) -> None:
        self.renewals = Counter(
            "axn_renewals", "Renewals settled in this process, by what became of the binding and the failure's code.",
            ["result", "code"], registry=registry,
        )  # fmt: skip
        self.renewals_kept = Gauge(
            "axn_renewals_kept", f"Bindings that are renewed before they end. {_ALIKE}", registry=registry
        )
        self.renewals_due = Gauge(
            "axn_renewals_due", f"Renewals whose time comes within so long, late ones included. {_ALIKE}", ["within"],
            registry=registry,
        )  # fmt: skip
        self.renewals_late = Gauge(
            "axn_renewals_late", f"Renewals whose time has come and that are not made yet. {_ALIKE}", registry=registry
        )
        self.renewals_late_longest = Gauge(
            "axn_renewals_late_seconds", f"How long ago the first of those was due that nobody has taken up. {_ALIKE}",
            registry=registry,
        )  # fmt: skip
        self.renewals_failing = Gauge(
            "axn_renewals_failing", f"Bindings whose last try of a renewal failed, to be tried again. {_ALIKE}",
            registry=registry,
        )  # fmt: skip
        self.ending_unrenewed = Gauge(
            "axn_bindings_ending_unrenewed",
            "Bindings that end before they can be renewed, as things stand: the pace is too low for all that are due, "
            f"or their renewals fail and they end within the hour. Looked at each minute. {_ALIKE}",
            ["why"], registry=registry,
        )  # fmt: skip
        self.first_unrenewed_end = Gauge(
            "axn_bindings_first_unrenewed_end_timestamp_seconds",
            f"When the first of those ends at the latest, Unix time; 0 where there is none. {_ALIKE}",
            registry=registry,
        )  # fmt: skip

    def _add_batches(self, registry: CollectorRegistry) -> None:
        self.batches = Gauge("axn_batches", f"Batches on record. {_ALIKE}", ["state"], registry=registry)
        self.batch_rows = Gauge(
            "axn_batch_rows",
            "Rows of the batches that run or are paused, by the state of their outcome; alive where their job has not "
            f"ended, not_begun where they have none. {_ALIKE}",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.batch_idle = Gauge(
            "axn_batch_idle_seconds",
            "Since when no row has begun or ended in the batch that stands still longest, of those that run, within "
            f"their hours, or that trouble has paused. {_ALIKE}",
            registry=registry,
        )  # fmt: skip
