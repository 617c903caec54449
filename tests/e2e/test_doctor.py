"""The doctor finds nothing wrong with a healthy profile."""

from client import Target
from diagnosis import examine
from eventually import LIMIT

from doctor.finding import Severity


def test_a_healthy_profile_has_no_warning_and_no_problem(target: Target) -> None:
    findings = examine(target.url, timeout=LIMIT, ca=target.ca, idle=1)
    found = {(finding.code, finding.saw) for finding in findings if finding.severity is not Severity.GOOD}
    assert found == set()
