"""All parts on one machine, as supervised child processes: demo and up."""
