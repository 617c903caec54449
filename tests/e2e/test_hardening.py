"""The containers as the engine reports them: user, capabilities, mounts, published ports."""

from stack import INNER_PORT, Stack, read_in

# The certificate service reads keys of any owner, and gives the published files to the user of the TLS service.
CERTS = "certs"
CERTS_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE"]


def test_every_container_is_confined(stack: Stack) -> None:
    for container in stack.containers():
        host = container.attrs["HostConfig"]
        is_certs = container.labels["com.docker.compose.service"] == CERTS
        assert container.attrs["Config"]["User"] == ("0:0" if is_certs else "10001:10001"), container.name
        assert host["ReadonlyRootfs"], container.name
        assert host["CapDrop"] == ["ALL"], container.name
        added = [name.removeprefix("CAP_") for name in host["CapAdd"] or []]
        assert added == (CERTS_CAPABILITIES if is_certs else []), container.name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], container.name
        assert not host["Privileged"], container.name


def test_the_processes_of_every_container_are_confined(stack: Stack) -> None:
    for container in stack.containers():
        if container.status != "running":
            continue
        status = read_in(container, "cat", "/proc/1/status")
        if container.labels["com.docker.compose.service"] == CERTS:
            assert "CapEff:\t0000000000000003" in status  # the two above, of capabilities(7)
        else:
            assert "CapEff:\t0000000000000000" in status
            assert read_in(container, "id", "-u") == "10001\n"
            assert container.exec_run(["cat", "/etc/shadow"]).exit_code != 0
        assert " / overlay ro," in read_in(container, "cat", "/proc/mounts")


def test_the_certificate_service_has_no_network(stack: Stack) -> None:
    assert list(stack.container(CERTS).attrs["NetworkSettings"]["Networks"]) == ["none"]


def test_only_one_port_is_published(stack: Stack) -> None:
    published = {
        (container.labels["com.docker.compose.service"], port)
        for container in stack.containers()
        for port, bindings in container.ports.items()
        if bindings
    }
    assert published == {(stack.profile, f"{INNER_PORT[stack.profile]}/tcp")}


def test_only_the_tls_service_mounts_the_key_and_only_read_only(stack: Stack) -> None:
    mounts = {
        (container.labels["com.docker.compose.service"], mount["RW"])
        for container in stack.containers()
        for mount in container.attrs["Mounts"]
        if mount["Destination"] == "/tls"
    }
    assert mounts == {(CERTS, True), (stack.profile, False)}
    listing = stack.read_in(stack.profile, "stat", "--dereference", "--format=%u %a", "/tls/current/server.key")
    assert listing == "10001 400\n"
