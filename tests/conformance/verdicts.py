"""How a test says what the judge's verdict on each case was: as a property of its report.

Its value: the profile, and a verdict for each case.
"""

PROPERTY = "autobahn"
