"""What can go wrong, as a tree:

    PaleoError            something a person can mend: one sentence, exit code 1
    ├── ParamsError       params.yaml says something that cannot be meant
    ├── InputError        a file, folder or picture is not what it should be
    ├── GateError         the data set was refused by its expectations
    ├── ServiceError      a server (registry, tracking, web API) does not answer, or not as it should
    │   ├── HttpError     it answered with an error; `status` says which
    │   └── BudgetError   it may not be asked now, because today's requests are used up or it wants rest
    └── Interrupted       asked to stop; the work is saved; exit code 75: run it again

A failed *item* (one picture) is data, a `Rejection`; only a failed *stage* is an exception.
"""

EXIT_FAILED = 1
EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: "try again later"


class PaleoError(Exception):
    """A message for a person: what was wrong, where, and what to do."""

    exit_code = EXIT_FAILED


class ParamsError(PaleoError):
    pass


class InputError(PaleoError):
    pass


class GateError(PaleoError):
    pass


class ServiceError(PaleoError):
    pass


class HttpError(ServiceError):
    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class BudgetError(ServiceError):
    pass


class Interrupted(PaleoError):
    exit_code = EXIT_INTERRUPTED
