"""The doctor reports no problem and no warning for a healthy profile."""

from client import Target
from diagnosis import examine
from eventually import LIMIT

from doctor.finding import Severity


def test_a_healthy_profile_has_only_good_findings(target: Target) -> None:
    findings = examine(target.url, timeout=LIMIT, ca=target.ca, messages=True, idle=1)
    bad = {(finding.code, finding.saw) for finding in findings if finding.severity is not Severity.GOOD}
    assert bad == set()
