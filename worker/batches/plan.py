"""What the operator or the order system says of a batch, checked before anything of it is stored."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.batches.operations import Operation
from worker.callbacks.guard import ReceiverRules
from worker.domain.batch import BatchOptions, batch_id_for_name
from worker.domain.batch_hours import parse_hour
from worker.domain.callback_secret import check_secret_name
from worker.domain.job_ids import is_job_id
from worker.domain.masking import mask_value
from worker.errors import FieldFault, InvalidRequestError

MOST_WINDOW = 100_000
_MOST_PER_SECOND = 10_000
_LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """A batch to start.

    Attributes:
        name: under which it is known; the same name is the same batch.
        options: how it is run.
        operation: of rows that name none.
        defaults: of rows: pool_key, callback_url, callback_secret_name.
        skips_bad: bad rows are left out, where they would else stop all.
        by: who starts it.
    """

    name: str
    options: BatchOptions = field(default_factory=BatchOptions)
    operation: Operation | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)
    skips_bad: bool = False
    by: str = ""

    @property
    def batch_id(self) -> str:
        """Of its name."""
        return batch_id_for_name(self.name)


def operation_of(given: str | None) -> Operation | None:
    """The operation of this name, None for none.

    Raises:
        InvalidRequestError: there is none of this name.
    """
    try:
        return Operation(given) if given else None
    except ValueError:
        rule = f"must be one of {', '.join(Operation)}"
        raise InvalidRequestError([FieldFault("op", mask_value(given), rule)]) from None


def check_plan(plan: BatchPlan, receivers: ReceiverRules) -> None:
    """Raises InvalidRequestError, naming every fault."""
    options = plan.options
    faults = [*_faults_of_name(plan.name), *_faults_of_hours(options)]
    for name, value, least, most in (
        ("per_second", options.per_second, 0, _MOST_PER_SECOND), ("window", options.window, 1, MOST_WINDOW),
    ):  # fmt: skip
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            faults.append(FieldFault(name, mask_value(value), f"must be a whole number from {least} to {most}"))
    for name, url in (("callback_url", plan.defaults.get("callback_url")), ("finished_url", options.callback_url)):
        if url and (rule := receivers.fault_of(url)):
            faults.append(FieldFault(name, mask_value(url), rule))
    faults += _faults_of_secret(plan)
    if faults:
        raise InvalidRequestError(faults)


def batch_id_of(batch: str) -> str:
    """The id of the batch that is given by its id or by its name."""
    return batch if is_job_id(batch) else batch_id_for_name(batch)


def difference(options: BatchOptions, standing: BatchOptions) -> str:
    """What these options say otherwise than those of a batch that stands already; empty if nothing."""
    names = {"callback_url": "finished_url"}
    changed = []
    for one in dataclasses.fields(BatchOptions):
        new, old = getattr(options, one.name), getattr(standing, one.name)
        if new != old:
            changed.append(f"{names.get(one.name, one.name)} {old or 'none'}, not {new or 'none'}")
    return ", ".join(changed)


def _faults_of_name(name: str) -> list[FieldFault]:
    if not name:
        rule = "is required: whoever gives the same name and rows again goes on with the same batch"
    elif len(name) > _LONGEST_NAME or not name.isprintable() or name != name.strip():
        rule = f"must be at most {_LONGEST_NAME} printable characters, without blanks at its ends"
    elif is_job_id(name):
        rule = "must not have the form of an id (26 letters and digits)"
    else:
        return []
    return [FieldFault("name", mask_value(name), rule)]


def _faults_of_hours(options: BatchOptions) -> list[FieldFault]:
    hours = {"not_before": options.not_before, "not_after": options.not_after}
    faults = []
    for name, hour in hours.items():
        try:
            parse_hour(hour or "00:00")
        except ValueError as wrong:
            faults.append(FieldFault(name, mask_value(hour), str(wrong)))
    if bool(options.not_before) != bool(options.not_after):
        faults.append(FieldFault("not_after" if options.not_before else "not_before", "", "give both hours or none"))
    elif options.not_before and options.not_before == options.not_after:
        faults.append(FieldFault("not_after", options.not_after, "must be another hour than not_before"))
    return faults


def _faults_of_secret(plan: BatchPlan) -> list[FieldFault]:
    secret = plan.options.callback_secret_name or plan.defaults.get("callback_secret_name", "")
    if not secret:
        return []
    if not plan.options.callback_url and not plan.defaults.get("callback_url"):
        return [FieldFault("callback_secret_name", "", "is of no use without callback_url or finished_url")]
    try:
        check_secret_name(secret)
    except ValueError as wrong:
        return [FieldFault("callback_secret_name", "", str(wrong))]
    return []
