"""`python -m worker.cli`: the axn command without its script, for child processes."""

from worker.cli.main import main

main()
