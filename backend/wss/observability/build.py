"""The version of this server and the commit from which it was built: its image has them as environment variables."""

import os

UNKNOWN = "unknown"  # outside of an image
VERSION = os.environ.get("WSS_VERSION") or UNKNOWN
# Images that plain `docker compose build` makes do not have it.
REVISION = os.environ.get("WSS_REVISION") or UNKNOWN
