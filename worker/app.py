"""The Celery application: `celery -A worker.app worker -Q axn.checkout`, or `axn worker --lanes checkout`.

Celery carries hints. The ledger is the truth, so its result backend, its retries and its countdowns stay unused.
"""

from celery import Celery
from kombu import Exchange, Queue

from worker.domain.durations import duration_ms
from worker.domain.job import Lane
from worker.settings import Settings, load_settings

_PUBLISH_TIMEOUT_S = 5


def build_app(settings: Settings) -> Celery:
    """The application for these settings."""
    app = Celery("axn", broker=settings.effective_broker_url, set_as_current=False)
    visibility_s = max(600, 4 * duration_ms(settings.lease) // 1000)
    app.conf.update(
        imports=("tasks.jobs", "tasks.bind", "tasks.update", "tasks.unbind", "tasks.callbacks"),
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
        worker_concurrency=settings.threads,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_soft_shutdown_timeout=duration_ms(settings.attempt_timeout) / 1000,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=_PUBLISH_TIMEOUT_S,
        task_publish_retry=True,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.2},
        broker_transport_options={
            "visibility_timeout": visibility_s,
            "socket_timeout": 30,
            "socket_connect_timeout": _PUBLISH_TIMEOUT_S,
            "socket_keepalive": True,
        },
    )
    return app


def __getattr__(name: str) -> Celery:
    """`app`, made when first asked for: a wrong setting is then reported, not met at import."""
    if name != "app":
        raise AttributeError(name)
    made = globals()["app"] = build_app(load_settings())
    return made
