"""Whether a text has a character that a reader can see."""

import unicodedata

_INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Zs"}  # control and format characters, separators
_FILLERS = set("\u034f\u115f\u1160\u2800\u3164\uffa0")  # letters and marks to Unicode, nothing to the eye


def is_visible(text: str) -> bool:
    return any(unicodedata.category(each) not in _INVISIBLE and each not in _FILLERS for each in text)
