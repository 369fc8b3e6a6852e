"""The cloud's API: parameters, signatures, answers and what each of them means."""
