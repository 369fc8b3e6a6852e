"""Hypothesis without its clock: a busy machine is no fault of the code."""

from hypothesis import settings

settings.register_profile("axn", deadline=None)
settings.load_profile("axn")
