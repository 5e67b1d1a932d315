"""Ids as their owners write them (whole numbers or text), and the int64 that stands for each inside the platform."""

from feature_repo.ids.id_table import Form, IdTable
from feature_repo.ids.id_texts import FIRST_ALLOTTED, MOST_ID_CHARACTERS, IdError, decimal_texts, id_texts, whole_numbers
from feature_repo.ids.remembered_ids import RememberedIds

__all__ = [
    "FIRST_ALLOTTED",
    "MOST_ID_CHARACTERS",
    "Form",
    "IdError",
    "IdTable",
    "RememberedIds",
    "decimal_texts",
    "id_texts",
    "whole_numbers",
]
