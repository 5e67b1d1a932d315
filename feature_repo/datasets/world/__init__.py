"""A seeded simulator of a small social network; whatever is computed on it is labelled simulated."""

from feature_repo.datasets.world.config import TasteShift, WorldConfig
from feature_repo.datasets.world.posts import with_later_days
from feature_repo.datasets.world.simulation import World

__all__ = ["TasteShift", "World", "WorldConfig", "with_later_days"]
