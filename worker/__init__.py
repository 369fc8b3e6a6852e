"""The engine between an order system and BindAxn.

The way of a job, and where it is written:

    producers     an order system's face: submit, submit_many, wait
    intake        checks a request, opens its job in the ledger, publishes its id
    messages      what a Celery message holds: job ids of one lane, never a phone number
    attempt       claim -> permit -> call -> settle -> announce; read this first
    pace          the rate that all workers share
    provider      the cloud's API: parameters, signatures, answers, what each answer means
    ledger        the jobs' records in Redis, the only truth, and the timetable of what must be looked at
    delivery      sends the callback a settled job owes
    ticker        publishes again whatever the timetable says is due
    bootstrap     the only place where these are put together

Beside the way: `sandbox` plays the provider and `receiver` a callback URL, both without knowing the engine; `local`
runs all parts on one machine; `cli` is the `axn` command.
"""

__version__ = "0.1.0"
