"""Product and media codes never move: models have learnt them."""

from __future__ import annotations

from feature_repo.products import KNOWN_PRODUCTS, PRODUCT_BUCKETS, media_code, product_bucket


def test_known_products_have_their_own_fixed_buckets():
    assert [product_bucket(name) for name in ("tab_0", "tab_14", "for_you", "following", "history_before")] == [
        0,
        14,
        15,
        16,
        17,
    ]
    assert len({product_bucket(name) for name in KNOWN_PRODUCTS}) == len(KNOWN_PRODUCTS)


def test_an_unknown_product_gets_a_stable_bucket_away_from_the_known_ones():
    assert product_bucket("search") == 19
    assert all(len(KNOWN_PRODUCTS) <= product_bucket(f"new_{number}") < PRODUCT_BUCKETS for number in range(200))


def test_media_codes_are_fixed():
    assert [media_code(kind) for kind in ("NORMAL", "AD", "UNKNOWN")] == [0, 1, 2]
