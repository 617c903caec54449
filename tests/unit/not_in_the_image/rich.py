"""In the way of the package `rich`, which the doctor needs: structlog would import it in each server of a test.

That takes a third of the CPU time of a start, and the backend's image has no such package.
"""

raise ImportError("the backend's image has no rich")
