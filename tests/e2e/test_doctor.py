"""The doctor finds nothing wrong with a healthy profile."""

from client import Target
from diagnosis import examine
from eventually import LIMIT

from doctor.finding import Mark


def test_a_healthy_profile_gives_no_reason_to_complain(target: Target) -> None:
    findings = examine(target.url, timeout=LIMIT, ca=target.ca, idle=1)
    said = {(finding.code, finding.saw) for finding in findings if finding.mark is not Mark.GOOD}
    assert said == set()
