"""The half-hour soak: one of several processes per lane, at 70 % of what they can do, with faults all the time."""
