"""Where the verdicts of a run are counted: by profile, by group."""

from collections import Counter

import pytest

Table = dict[str, dict[str, Counter[str]]]

TABLE = pytest.StashKey[Table]()
