"""Enumerations that are numbers where they are stored and words where they are read."""

from enum import IntEnum


class Word(IntEnum):
    """A number with a word: `POST_RESERVED = 3` is stored as 3 and written as "post-reserved"."""

    @property
    def word(self) -> str:
        """The member as it is written on the wire."""
        return self.name.lower().replace("_", "-")
