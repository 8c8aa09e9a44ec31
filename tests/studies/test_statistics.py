from helpers.studies.statistics import holm, paired_difference

import pytest
from scipy.stats import ttest_rel

# Hours of sleep that two drugs added for ten patients: Student 1908, and R's `sleep`.
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_students_own_example():
    """R: t.test(Pair(extra.1, extra.2) ~ 1) gives p = 0.002833, -2.4598858 to -0.7001142."""
    found = paired_difference(FIRST, SECOND)
    assert found.mean == pytest.approx(-1.58)
    assert (found.low, found.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-7)
    assert found.p == pytest.approx(0.002833, abs=5e-7)


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_it_is_scipys(count, level):
    found = paired_difference(FIRST[:count], SECOND[:count], level)
    theirs = ttest_rel(FIRST[:count], SECOND[:count])
    assert found.p == pytest.approx(theirs.pvalue)
    interval = theirs.confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_too_little_for_an_interval():
    assert repr(paired_difference([0.5], [0.25])) == (
        "Difference(mean=0.25, low=nan, high=nan, p=nan)"
    )
    assert paired_difference([0.5, 0.75], [0.25, 0.5]) == (0.25, 0.25, 0.25, 0)
    assert paired_difference([0.5, 0.75], [0.5, 0.75]) == (0, 0, 0, 1)
    for scores, baseline in (([], []), ([0.5, 0.6], [0.5])):
        with pytest.raises(ValueError, match="are no pairs"):
            paired_difference(scores, baseline)


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        # R: p.adjust(c(...), "holm")
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.04, 0.01, 0.03], [0.06, 0.03, 0.06]),
        ([0.9, 0.6, 0.001], [1, 1, 0.003]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm(p_values, corrected):
    assert holm(p_values) == pytest.approx(corrected)


def test_what_was_no_test_is_not_counted():
    assert holm([float("nan"), 0.01, 0.04])[1:] == pytest.approx([0.02, 0.04])
    assert str(holm([float("nan"), 0.01])[0]) == "nan"
