"""Ids as their owners write them (whole numbers or text), and the int64 that stands for each inside the platform."""

from feature_repo.ids.id_table import Form, IdTable
from feature_repo.ids.id_texts import FIRST_ALLOTTED, MOST_ID_CHARACTERS, IdError, id_texts, whole_numbers

__all__ = ["FIRST_ALLOTTED", "MOST_ID_CHARACTERS", "Form", "IdError", "IdTable", "id_texts", "whole_numbers"]
