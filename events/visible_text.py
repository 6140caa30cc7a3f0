"""Whether a text has a visible character."""

import unicodedata

_INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Zs"}  # control and format characters, separators
_FILLERS = set("\u034f\u115f\u1160\u2800\u3164\uffa0")  # Unicode calls these letters or marks, but they are blank.


def is_visible(text: str) -> bool:
    return any(unicodedata.category(each) not in _INVISIBLE and each not in _FILLERS for each in text)
