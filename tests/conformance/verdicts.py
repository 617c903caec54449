"""The property of a test report that passes Autobahn's verdicts: the profile, and a verdict for each case."""

PROPERTY = "autobahn"
