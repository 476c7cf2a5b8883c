"""What a word is to the search: the same for what is indexed and for what is asked."""

import re
from typing import Final

LONGEST_WORD: Final = 64
"""Words are compared by so many characters."""
_WORD: Final = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text in order: runs of letters and digits, in lower case; everything else only separates them."""
    return [word[:LONGEST_WORD] for word in _WORD.findall(text.casefold())]
