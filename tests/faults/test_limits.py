"""As many websockets as a proxy is made for: one more is refused at once, the log says why, and the rest goes on."""

from pathlib import Path

import pytest
from client import UPGRADE, ask, target_of
from eventually import eventually
from fixtures import Connect, NewStack
from promise import promise
from stack import REPOSITORY

pytestmark = pytest.mark.profiles("nginx", "apache")

# Where the limit of 10,000 stands, what the log says, and where the image has the file.
LIMITS = {
    "nginx": ("nginx.conf", "limit_conn websockets 10000;", 'limiting connections by zone "websockets"', "/etc/nginx"),
    "apache": ("httpd.conf", '/wss(\\?|$)" 10000', "mod_qos(010)", "/etc/apache2"),
}
OVERRIDE = """
services:
  {profile}:
    volumes: ["{config}:{directory}/{name}:ro"]
"""


def test_one_more_than_the_limit_is_refused_and_the_page_goes_on(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect, tmp_path: Path
) -> None:
    name, line, complaint, directory = LIMITS[profile]
    config, override = tmp_path / name, tmp_path / "little-room.yaml"
    shipped = (REPOSITORY / profile / name).read_text()
    assert line in shipped
    config.write_text(shipped.replace(line, line.replace("10000", "3")))
    override.write_text(OVERRIDE.format(profile=profile, config=config, directory=directory, name=name))
    # Two replicas: a proxy's own limit is no reason to ask another one.
    stack = new_stack(profile, files=(REPOSITORY / "compose.yaml", override))
    stack.up("--scale=backend=2")
    target = target_of(stack, ca_file)
    opened = [connect(target) for _ in range(3)]
    for _ in range(5):
        with promise(2, "the refusal"):
            refused = ask(target, headers=UPGRADE)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert "none has room" in refused.text
    assert ask(target, path="/").status == 200
    assert complaint in stack.logs(profile)
    opened.pop().close()
    eventually(lambda: ask(target, headers=UPGRADE).status == 101, "there is room again")
    for ws in opened:
        ws.send("tom")
        assert ws.recv() == "ok"
