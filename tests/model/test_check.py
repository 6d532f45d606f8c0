"""A check compares values; texts are for people."""

import pytest
from cutover import model


@pytest.mark.parametrize(
    "expected, actual, passed",
    [(1, 1, True), (1, 2, False), (1, "1", False), (None, "None", False)],
)
def test_values_are_compared_not_their_texts(expected, actual, passed):
    check = model.equal("Same?", expected, actual, id="same")
    assert (check.expected, check.actual) == (str(expected), str(actual))
    assert check.passed is passed


def test_a_condition_decides_even_when_its_texts_are_the_same():
    checks = [model.holds("Quiet?", passed, "yes", "yes", id="quiet") for passed in (True, False)]
    assert [check.passed for check in checks] == [True, False]
    assert model.holds("Quiet?", False, "yes", "no", id="quiet").actual == "no"
