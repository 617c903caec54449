"""A plugin of certbot: it answers DNS-01 challenges (RFC 8555 section 8.4) with records in the challenge zone.

Not certbot-dns-rfc2136: that follows no CNAME, and sleeps instead of asking the name servers. Not a hook: certbot goes
on to ask the ACME server although a hook has failed.
"""

from collections.abc import Callable, Iterable
from typing import Any

from acme import challenges
from certbot import achallenges, errors, interfaces
from certbot.plugins import common

from certificates import CertificateError
from certificates.challenge_zone import OPTIONS, ChallengeZone
from certificates.dns_challenge import Record, add, challenge_name, delete, wait_until_published


class Authenticator(common.Plugin, interfaces.Authenticator):
    """Adds the TXT records, waits until all name servers have them, and deletes them after the validation."""

    description = "TXT records in a zone that is updated by RFC 2136"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._added: list[Record] = []

    @classmethod
    def add_parser_arguments(cls, add: Callable[..., None]) -> None:
        """Declare the options, those of ChallengeZone.options."""
        for option in OPTIONS:
            add(option)

    def prepare(self) -> None:
        """Do nothing: the settings were checked at the start."""

    def more_info(self) -> str:
        """Return the description."""
        return self.description

    def get_chall_pref(self, domain: str) -> Iterable[type[challenges.Challenge]]:  # noqa: ARG002
        """Return the only kind of challenge that has its answer in DNS."""
        return [challenges.DNS01]

    def perform(self, achalls: list[achallenges.AnnotatedChallenge]) -> list[challenges.ChallengeResponse]:
        """Publish the records of all challenges; certbot asks the ACME server only if this raises no error."""
        try:
            records = [self._record(each) for each in achalls]
            for record in records:
                add(self._zone, record)
                self._added.append(record)
            wait_until_published(self._zone, records)
        except CertificateError as error:
            raise errors.PluginError(str(error)) from None
        return [each.response(each.account_key) for each in achalls]

    def cleanup(self, achalls: list[achallenges.AnnotatedChallenge]) -> None:  # noqa: ARG002
        """Delete the records that were added."""
        while self._added:
            try:
                delete(self._zone, self._added.pop())
            except CertificateError as error:
                raise errors.PluginError(str(error)) from None

    @property
    def _zone(self) -> ChallengeZone:
        return ChallengeZone.from_options({option: str(self.conf(option)) for option in OPTIONS})

    def _record(self, challenge: achallenges.AnnotatedChallenge) -> Record:
        name = challenge_name(self._zone, challenge.identifier.value)
        return name, challenge.validation(challenge.account_key)
