"""Fetch errors: why nothing came from an address, with the stable codes that tables keep.

bad_address          not an http(s) address on port 80 or 443
private_address      it leads into a private network, to this machine or to a cloud's metadata service
no_such_host         its name does not resolve
too_many_redirects   more than five
redirect_loop        it leads back to where it was
gone                 404 or 410
refused_by_server    401, 403, 451 or another 4xx that a retry cannot change
server_failed        5xx or 429, also after several attempts; a response that is none
no_answer            no connection, or nothing sent on it
too_many_bytes       as received or decompressed
too_slow             fewer bytes a second than collect.download.min_bytes_per_second
too_long             more seconds in all than collect.download.max_seconds
truncated            fewer bytes than announced, or a part of the file
noai                 the host forbids its use for AI (X-Robots-Tag)
budget_used_up       the host allows no more requests for now: not for good
"""

from __future__ import annotations


class FetchError(Exception):
    """`code` is stable, the text is one sentence without its full stop; `status` is that of the response, or 0."""

    def __init__(self, code: str, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.code, self.status = code, status


class RetryableFetchError(FetchError):
    """What may succeed later; `wait_seconds` when the server says how much later."""

    def __init__(self, code: str, text: str, status: int = 0, wait_seconds: float | None = None) -> None:
        super().__init__(code, text, status)
        self.wait_seconds = wait_seconds
