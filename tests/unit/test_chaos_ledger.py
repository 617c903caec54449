"""The checker of tests/chaos finds what is lost in silence, and accepts what a notice of a gap covers."""

from chaos.ledger import Ledger, Message
from hypothesis import given
from hypothesis import strategies as st

ONE, TWO, THREE, FOUR = (Message("ann", number) for number in range(1, 5))


def _ledger(*positions: str) -> Ledger:
    """Return the ledger of a room in which Ann received her messages 1, 2 … at these positions, and Bob none."""
    ledger = Ledger(["ann", "bob"])
    for member in ("ann", "bob"):
        ledger.start(member, "a:0", gap=False)
    for number, position in enumerate(positions, 1):
        if position:
            ledger.receive("ann", position, Message("ann", number))
    return ledger


def _lost(ledger: Ledger) -> list[tuple[str, Message]]:
    return [(loss.member, loss.message) for loss in ledger.lost_in_silence()]


def test_nothing_is_lost_if_all_receive_all() -> None:
    ledger = _ledger("a:1", "a:2")
    ledger.receive("bob", "a:1", ONE)
    assert not ledger.have_all(TWO)
    ledger.receive("bob", "a:2", TWO)
    assert ledger.have_all(TWO)
    assert (_lost(ledger), ledger.missing, ledger.repeated) == ([], 0, [])


def test_a_message_that_one_member_received_and_another_did_not_is_lost_in_silence() -> None:
    ledger = _ledger("a:1", "a:2", "a:3")
    ledger.receive("bob", "a:1", ONE)
    ledger.receive("bob", "a:3", THREE)  # the jump in the offsets is no notice
    assert _lost(ledger) == [("bob", TWO)]
    assert ledger.missing == 1


def test_the_last_message_can_be_lost() -> None:
    ledger = _ledger("a:1", "a:2")
    ledger.receive("bob", "a:1", ONE)
    assert _lost(ledger) == [("bob", TWO)]


def test_a_message_at_two_positions_is_a_repetition() -> None:
    ledger = _ledger("a:1")
    ledger.receive("bob", "a:1", ONE)
    ledger.receive("bob", "a:2", ONE)
    assert ledger.repeated == [("bob", ONE)]


def test_a_gap_covers_the_positions_up_to_its_own_and_no_others() -> None:
    ledger = _ledger("a:1", "a:2", "a:3", "a:4")
    ledger.receive("bob", "a:1", ONE)
    ledger.start("bob", "a:2", gap=True)
    ledger.receive("bob", "a:4", FOUR)
    assert _lost(ledger) == [("bob", THREE)]
    assert ledger.missing == 2


def test_a_start_without_a_gap_covers_nothing_even_if_a_gap_follows() -> None:
    ledger = _ledger("a:1", "a:2", "a:3", "a:4")
    ledger.start("bob", "a:2", gap=False)
    ledger.start("bob", "a:3", gap=True)
    ledger.receive("bob", "a:4", FOUR)
    assert _lost(ledger) == [("bob", ONE), ("bob", TWO)]


def test_a_new_epoch_with_a_gap_covers_the_end_of_the_old_one() -> None:
    ledger = _ledger("a:7", "b:1", "c:1", "c:2")
    ledger.start("bob", "c:0", gap=True)
    assert _lost(ledger) == [("bob", THREE), ("bob", FOUR)]


def test_an_acknowledged_message_that_nobody_received_needs_a_gap_between_its_neighbours() -> None:
    ledger = _ledger("a:1", "", "a:2")
    ledger.acknowledge(TWO)
    for number, message in ((1, ONE), (2, THREE)):
        ledger.receive("bob", f"a:{number}", message)
    assert _lost(ledger) == [("ann", TWO), ("bob", TWO)]

    ledger = _ledger("a:1")
    ledger.acknowledge(TWO)
    ledger.receive("bob", "a:1", ONE)
    for member in ("ann", "bob"):
        ledger.start(member, "b:0", gap=True)
        ledger.receive(member, "b:1", THREE)
    assert _lost(ledger) == []


def test_a_message_that_is_neither_acknowledged_nor_received_is_not_kept() -> None:
    assert _ledger("a:1", "", "a:2").kept == {ONE, THREE}


def test_a_message_without_a_position_that_only_one_member_received_is_lost() -> None:
    ledger = _ledger("a:1", "", "a:2")
    for number, message in ((1, ONE), (2, THREE)):
        ledger.receive("bob", f"a:{number}", message)
    ledger.receive("bob", None, TWO)
    assert _lost(ledger) == [("ann", TWO)]


@given(st.lists(st.sampled_from(["received", "told", "lost"]), min_size=1, max_size=30), st.integers(0, 2))
def test_exactly_the_messages_without_a_notice_are_lost(fates: list[str], restarts: int) -> None:
    positions = [f"{'abc'[index * (restarts + 1) // len(fates)]}:{index + 1}" for index in range(len(fates))]
    ledger = _ledger(*positions)
    for number, (fate, position) in enumerate(zip(fates, positions, strict=True), 1):
        if fate == "received":
            ledger.receive("bob", position, Message("ann", number))
        else:
            ledger.start("bob", position, gap=fate == "told")
    expected = [("bob", Message("ann", number)) for number, fate in enumerate(fates, 1) if fate == "lost"]
    assert _lost(ledger) == expected
