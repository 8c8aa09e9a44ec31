import math

from helpers.constants import IGNORE_INDEX
from helpers.studies.objects import (
    COLUMNS,
    Matches,
    count_errors,
    count_objects,
    group_errors,
    label_objects,
    match_objects,
    without_ignored,
)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.draw import disk

MASKS = arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 2)
)


def discs(*centers, radius=12, shape=(60, 100)) -> np.ndarray:
    """A mask of class 1 on class 0."""
    mask = np.zeros(shape, np.uint8)
    for center in centers:
        mask[disk(center, radius, shape=shape)] = 1
    return mask


class TestLabel:
    def test_pixels_that_touch_at_a_corner_are_one(self):
        mask = np.array([[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]])
        assert label_objects(mask, 1).tolist() == [[1, 0, 0, 0], [0, 1, 0, 2], [0, 0, 0, 2]]
        assert label_objects(mask, 7).max() == 0

    @given(MASKS, st.integers(1, 5))
    def test_every_object_is_of_its_class_and_large_enough(self, mask, least):
        labels = label_objects(mask, 1, min_area=least)
        areas = np.bincount(labels.ravel())[1:]
        assert (mask[labels > 0] == 1).all() and (areas >= least).all()
        if least == 1:
            assert (labels > 0).sum() == (mask == 1).sum()

    def test_what_touches_is_cut_at_its_neck(self):
        mask = discs((30, 30), (30, 52))
        assert label_objects(mask, 1).max() == 1
        labels = label_objects(mask, 1, split=1)
        assert labels.max() == 2 and ((labels > 0) == (mask == 1)).all()
        left, right = np.bincount(labels.ravel())[1:]
        assert abs(left - right) < 30 and labels[30, 30] != labels[30, 52]

    def test_a_split_that_is_deeper_than_the_neck_cuts_nothing(self):
        """The neck of two discs of radius 12, 22 apart, is about 7 pixels narrower on a side."""
        assert label_objects(discs((30, 30), (30, 52)), 1, split=9).max() == 1

    def test_a_rod_is_one(self):
        """All along its middle the distance is the same."""
        mask = np.zeros((30, 100), np.uint8)
        mask[10:20, 5:95] = 1
        assert label_objects(mask, 1, split=0.5).max() == 1

    @given(MASKS, st.floats(0.1, 20))
    def test_a_split_loses_no_pixel_and_joins_nothing(self, mask, depth):
        whole, cut = label_objects(mask, 1), label_objects(mask, 1, split=depth)
        assert ((whole > 0) == (cut > 0)).all() and cut.max() >= whole.max()
        for number in range(1, cut.max() + 1):
            assert len(np.unique(whole[cut == number])) == 1

    @pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.zeros((1, 2, 2), int)])
    def test_anything_but_a_mask_is_refused(self, mask):
        with pytest.raises(ValueError, match=r"a mask is integer \(H, W\), not .* use argmax"):
            label_objects(mask, 1)

    def test_a_split_by_nothing_is_refused(self):
        with pytest.raises(ValueError, match="split must be above 0 pixels, not 0"):
            label_objects(discs((30, 30)), 1, split=0)


class TestCount:
    def test_a_row_for_each_object(self):
        mask = np.zeros((20, 30), np.uint8)
        mask[5:9, 10:20] = mask[15:, 2:4] = 2
        first, second = count_objects(label_objects(mask, 2))
        assert list(first) == [*COLUMNS, "touches_border"]
        assert first == {
            "object": 1,
            "area_px": 40,
            "centroid_x": 14.5,
            "centroid_y": 6.5,
            "left": 10,
            "top": 5,
            "right": 20,
            "bottom": 9,
            "equivalent_diameter_px": pytest.approx(math.sqrt(4 * 40 / math.pi)),
            "touches_border": 0,
        }
        assert second["touches_border"] == 1 and second["area_px"] == 10

    @pytest.mark.parametrize("place", [(0, 5), (19, 5), (5, 0), (5, 29)])
    def test_every_border_is_one(self, place):
        mask = np.zeros((20, 30), np.uint8)
        mask[place] = 1
        (row,) = count_objects(label_objects(mask, 1))
        assert row["touches_border"] == 1

    def test_no_object_no_row(self):
        assert count_objects(label_objects(np.zeros((5, 5), int), 1)) == []


class TestMatch:
    def test_counts_what_is_right_too_many_and_missed(self):
        truth = label_objects(discs((15, 15), (15, 50), (45, 80), radius=8), 1)
        predicted = label_objects(discs((15, 17), (45, 20), (45, 80), radius=8), 1)
        matches = match_objects(predicted, truth)
        assert matches[:3] == (2, 1, 1) and matches.count_error == 0
        assert matches.precision == matches.recall == matches.f1 == 2 / 3
        shifted = match_objects(*(label_objects(discs((15, x), radius=8), 1) for x in (15, 17)))
        assert matches.iou_sum == pytest.approx(1 + shifted.iou_sum)
        assert matches.panoptic_quality == pytest.approx(2 / 3 * matches.iou_sum / 2)

    def test_one_to_one_also_at_exactly_the_threshold(self):
        """Both halves of an object have an IoU of 0.5 with it."""
        truth = np.ones((2, 4), int)
        predicted = np.array([[1, 1, 2, 2]] * 2)
        assert match_objects(predicted, truth) == (1, 1, 0, 0.5)
        assert match_objects(truth, predicted) == (1, 0, 1, 0.5)
        assert match_objects(predicted, truth, min_iou=0.51) == (0, 2, 1, 0)

    @given(MASKS)
    def test_a_mask_matches_itself(self, mask):
        labels = label_objects(mask, 1)
        n = labels.max()
        assert match_objects(labels, labels) == (n, 0, 0, n)

    def test_nothing_against_something(self):
        empty, one = np.zeros((5, 5), int), np.ones((5, 5), int)
        assert match_objects(empty, one) == (0, 0, 1, 0)
        nothing = match_objects(empty, empty)
        assert nothing == (0, 0, 0, 0) and math.isnan(nothing.f1) and math.isnan(nothing.recall)
        assert match_objects(one, empty).precision == 0

    def test_images_add_up(self):
        total = Matches.total([Matches(1, 2, 3, 0.75), Matches(4, 0, 1, 3.0)])
        assert total == (5, 2, 4, 3.75) and total.count_error == -2
        assert Matches.total([]) == (0, 0, 0, 0)

    def test_sizes_that_differ_are_refused(self):
        with pytest.raises(ValueError, match="must be of one size"):
            match_objects(np.ones((2, 2), int), np.ones((2, 3), int))

    def test_what_the_truth_ignores_does_not_count(self):
        truth, mask = discs((30, 30)), discs((30, 30), (30, 70))
        truth[:, 50:] = IGNORE_INDEX
        labels = (label_objects(part, 1) for part in (without_ignored(mask, truth), truth))
        assert match_objects(*labels)[:3] == (1, 0, 0)


class TestCountErrors:
    def test_of_numbers(self):
        errors = count_errors([3, 5, 0], [4, 3, 0])
        assert errors.bias == pytest.approx(1 / 3) and errors.mean_absolute == 1
        assert errors.root_mean_square == pytest.approx(math.sqrt(5 / 3))

    @pytest.mark.parametrize(("predicted", "truth"), [([1], [1, 2]), ([], [])])
    def test_lengths_are_checked(self, predicted, truth):
        with pytest.raises(ValueError, match="one each"):
            count_errors(predicted, truth)


def test_errors_of_groups_whatever_their_order():
    found, truth = [11, 9, 30, 8], [10, 10, 20, 10]
    assert group_errors(found, truth, ["b", "a", "b", "a"]) == pytest.approx([-0.15, 0.3])
    assert group_errors([3], [4], ["x"]) == pytest.approx([-0.25])
