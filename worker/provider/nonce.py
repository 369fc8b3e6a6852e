"""SignatureNonce: fixed for an attempt, never the same for two of them."""

import hashlib
import hmac
import secrets

_SEED_BYTES = 16


def new_seed() -> str:
    """Random text for one job, from which the nonces of all its attempts follow."""
    return secrets.token_urlsafe(_SEED_BYTES)


def attempt_nonce(seed: str, attempt: int) -> str:
    """32 lower-case hexadecimal digits that follow from the job's random seed and the attempt's number.

    Sending the same attempt again asks the provider whether the first copy arrived: it refuses a nonce it has seen.
    Nonces must be unique among all customers of the provider, so the seed has to be random, not derived from a job id.
    """
    return hmac.new(seed.encode(), str(attempt).encode(), hashlib.sha256).hexdigest()[:32]
