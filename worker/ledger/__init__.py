"""The jobs' records in Redis, and the timetable."""
