"""Settings of an artifact that extends an earlier one with newer data."""

from typing import Annotated

from pydantic import Field

from eimf.config.base import HashedSettings


class ExtendSettings(HashedSettings):
    """Continue an `esim` artifact with newer data, rather than start anew (`eimf extend`)."""

    base: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Key of the `esim` artifact. Its users and items keep their numbers, its clusters their centroids, and its typical
    users are not asked about again as long as they fit. Unset: everything is made from the data alone."""
    beyond: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """A user is beyond the clusters if less similar to the nearest centroid than all but this share of the base's
    users are. Such users form clusters of their own, except those who were beyond them before."""

    @property
    def enabled(self) -> bool:
        return self.base is not None
