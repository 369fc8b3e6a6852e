"""`axn bindings` with all its commands."""

from worker.cli import binding_adopt, binding_audit
from worker.cli.bindings import app

for of_bindings in (binding_adopt.adopt, binding_audit.audit, binding_audit.forget):
    app.command()(of_bindings)
