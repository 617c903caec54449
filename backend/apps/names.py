"""Names of people that others cannot confuse with another name, as far as that is possible without a register.

Two names that look the same have the same skeleton: https://www.unicode.org/reports/tr39/#Confusable_Detection. Here it
ignores case, width, marks and invisible characters, and the letters and digits of ASCII that look alike. A name has
letters of one alphabet, so that a Cyrillic letter cannot replace a Latin one. A name that is in another alphabet as a
whole can still look like one in Latin.
"""

import unicodedata

_ALPHABETS = {"LATIN", "GREEK", "CYRILLIC"}
_LOOK_ALIKE = str.maketrans("i1|0", "lllo")  # of folded text: I is i
_INVISIBLE = "\u115f\u1160\u2800"  # Hangul fillers and a blank Braille pattern, which count as letters and symbols


def skeleton(name: str) -> str:
    """Return what is equal for names that look the same; empty if nothing is visible."""
    folded = unicodedata.normalize("NFKC", name).casefold().translate(_LOOK_ALIKE)
    return "".join(
        each for each in folded if unicodedata.category(each) not in ("Mn", "Me", "Cf") and each not in _INVISIBLE
    )


def is_name(text: str) -> bool:
    """Return whether a text is one visible word in one alphabet."""
    alphabets = {unicodedata.name(each, "").partition(" ")[0] for each in unicodedata.normalize("NFKC", text)}
    return text.isprintable() and " " not in text and bool(skeleton(text)) and len(alphabets & _ALPHABETS) <= 1
