"""The errors a user can cause. Each says which field, what was found, and what to do; the command line prints one
line."""


class UserError(ValueError):
    """Something the user can mend: a setting, a file, a missing install.

    `field` is what the user wrote or has to write (a recipe key, a path, a column), `found` what is wrong with it,
    `remedy` the next thing to do.
    """

    def __init__(self, field: str, found: str, remedy: str) -> None:
        self.field, self.found, self.remedy = field, found, remedy
        super().__init__(f"{field}: {found}; {remedy}")


class DataError(UserError):
    """The events or the item table cannot be used as they are."""


class SettingError(UserError):
    """A recipe key or an option is unknown, out of range, or contradicts another."""


class ModelError(UserError):
    """A model directory or hub id cannot be loaded."""


class ArtifactError(UserError):
    """An artifact is missing, damaged, or belongs to something else."""


class MissingError(UserError):
    """A package, an asset or the network is needed and not there."""
