"""`python -m wss.config` checks the settings of the proxies in front of a server that is not our backend."""

import os
import sys

from wss.config.environment import SettingError
from wss.config.proxy import read_upstream_settings

if __name__ == "__main__":
    try:
        read_upstream_settings(os.environ)
    except SettingError as error:
        sys.exit(f"error: {error}")
