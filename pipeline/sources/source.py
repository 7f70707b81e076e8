"""The contract of a picture source: its params, the hosts that it uses, and the pictures that it offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from pipeline.core.data_params import Host
from pipeline.core.param_types import SourceParams
from pipeline.core.records import ApiResponse, Candidate, Rejection, Request

Fetch = Callable[[Request], ApiResponse]
Offer = tuple[Candidate, bytes | Rejection | None]  # None: the picture is to be downloaded from its image_url
P = TypeVar("P", bound=SourceParams, contravariant=True)

POLITE = Host(connections=1, requests_per_second=1)  # for a public API that publishes no limit of its own


@dataclass(frozen=True)
class SourceContext:
    """What a source is handed: the project's folder and seed, access to web APIs, and its credentials.

    `credentials` are the values of the source's environment variables, empty unless all of them are set.
    """

    root: Path
    seed: int
    fetch: Fetch
    credentials: tuple[str, ...] = ()


class Source(Protocol[P]):
    """One kind of source. A plugin inherits from this class and states what differs from these defaults."""

    Params: ClassVar[type[SourceParams]]
    hosts: ClassVar[Mapping[str, Host]] = {}
    """Rate limits and daily budgets of the hosts that it uses; `collect.hosts` in params.yaml overrides them."""
    credentials: ClassVar[tuple[str, ...]] = ()
    """Names of environment variables with the credentials of a registered client."""
    wants_contact: ClassVar[bool] = False
    """Whether it is used only when `collect.contact` says how to reach whoever runs the project."""
    keeps_vanished: ClassVar[bool] = False
    """Whether a picture that it no longer offers stays, unless `collect.drop_vanished`; False where people edit it."""

    def check(self, params: P, root: Path) -> None:
        """InputError or ParamsError where nothing can be collected with these params; nothing is requested or read."""

    def pictures(self, params: P, context: SourceContext) -> Iterator[Offer]:
        """Candidates in the source's own order, each with its bytes, a Rejection, or None to download it.

        Raises
        ------
        ServiceError
            For what is wrong with the whole source, after everything that was found before was yielded.
        InputError, ParamsError
            For what people have to correct before anything is collected.
        """
        ...
