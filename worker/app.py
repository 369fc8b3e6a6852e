"""The Celery application: `celery -A worker.app worker -Q axn.checkout`, or `axn worker --lanes checkout`.

Celery carries hints. The ledger is the truth, so its result backend, its retries and its countdowns stay unused.
"""

from celery import Celery
from kombu import Exchange, Queue

from worker.domain.durations import duration_ms
from worker.domain.job import Lane
from worker.settings import Settings, load_settings

_CONNECT_TIMEOUT_S = 2
_SOCKET_TIMEOUT_S = 3
"""Longer than a BRPOP waits (1 s). So long a broker that accepts and never answers holds a publish, an acknowledgement
(they stop the consumer meanwhile) or a reconnect."""
_HEALTH_CHECK_S = 2
"""A BRPOP unanswered for 1 s and this long is given up, and looked at as often: a silent connection costs 5 s, or 8 s
where an acknowledgement is lost first; with kombu's default 51 s."""
_RESTORE_INTERVAL_S = 5
"""How often messages of dead workers are looked for, past their visibility timeout: kombu's defaults make it 100 s."""


def build_app(settings: Settings) -> Celery:
    """The application for these settings."""
    app = Celery("axn", broker=settings.effective_broker_url, amqp="worker.broker:Amqp", set_as_current=False)
    visibility_s = max(600, 4 * duration_ms(settings.lease) // 1000)
    app.conf.update(
        imports=("tasks.jobs", "tasks.bind", "tasks.update", "tasks.unbind", "tasks.rebind", "tasks.callbacks"),
        # Exchange and key are what any Celery client makes up for `queue="axn.checkout"`, so that both meet.
        task_queues=[Queue(lane.queue, Exchange(lane.queue, "direct"), lane.queue) for lane in Lane],
        task_default_queue=Lane.CHECKOUT.queue,
        task_create_missing_queues=False,
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # A message is acknowledged when its jobs are settled: until then it counts against the prefetch, which is the
        # back-pressure. What a lost message would cost is one look of the timetable.
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_pool="threads",
        worker_consumer="worker.broker:Consumer",
        worker_concurrency=settings.threads,
        # It counts the pool's tasks alone, and would be undone by their acknowledgements. After a lost connection a
        # process may hold as many messages again; its jobs are bounded by AXN_IN_FLIGHT.
        worker_enable_prefetch_count_reduction=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_soft_shutdown_timeout=duration_ms(settings.attempt_timeout) / 1000,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A Redis that is full or read-only answers with errors that kombu counts against the channel. Left alone they
        # end the worker.
        broker_channel_error_retry=True,
        broker_connection_timeout=_CONNECT_TIMEOUT_S,
        task_publish_retry=True,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.2},
        broker_transport_options={
            "visibility_timeout": visibility_s,
            "unacked_restore_interval": _RESTORE_INTERVAL_S,
            "unacked_restore_throttle": 1,
            "socket_timeout": _SOCKET_TIMEOUT_S,
            "socket_connect_timeout": _CONNECT_TIMEOUT_S,
            "socket_keepalive": True,
            "health_check_interval": _HEALTH_CHECK_S,
            "client_name": "axn-broker",
            **settings.broker_options,
        },
    )
    return app


def __getattr__(name: str) -> Celery:
    """`app`, made when first asked for: a wrong setting is then reported, not met at import."""
    if name != "app":
        raise AttributeError(name)
    made = globals()["app"] = build_app(load_settings())
    return made
