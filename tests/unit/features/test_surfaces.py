"""Codes of surfaces and media kinds never move: models have learnt them."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.surfaces import KNOWN_MEDIA, MEDIA_CODES, check_surface, media_code, surface_code, surface_codes


def test_the_code_of_a_surface_is_fixed_by_its_name_whatever_it_is():
    assert surface_codes(["for_you", "news", "", "Startseite: für dich"]).tolist() == [
        surface_code("for_you"),
        surface_code("news"),
        0,
        surface_code("Startseite: für dich"),
    ]
    assert [surface_code("for_you"), surface_code("history_before")] == [100537969, 196350301]


def test_the_codes_of_a_thousand_surfaces_differ_and_fit_an_int32():
    codes = surface_codes([f"surface {number}" for number in range(1000)])
    assert codes.dtype == np.int32
    assert codes.min() >= 0
    assert len(np.unique(codes)) == 1000


def test_media_kinds_have_fixed_codes_and_others_a_stable_one_behind_them():
    assert [media_code(kind) for kind in KNOWN_MEDIA] == list(range(len(KNOWN_MEDIA)))
    assert all(len(KNOWN_MEDIA) <= media_code(f"kind {number}") < MEDIA_CODES for number in range(200))


def test_the_name_that_undated_history_has_is_no_surfaces():
    check_surface("history")
    with pytest.raises(ValueError, match="surface 'history_before' is the platform's own name .*; name the surface otherwise"):
        check_surface("history_before")
