"""The topics of the simulated world, with the words and names that its posts are written in."""

from __future__ import annotations

import numpy as np

from feature_repo.datasets.world.config import TOPICS

# One line a topic: its name, then its words.
_LINES = """
football goal keeper derby penalty transfer league winger crossbar
basketball dunk rebound playoffs buzzer triple court draft assist
cycling climb peloton gravel sprint breakaway stage cadence descent
music chorus vinyl setlist encore bassline album remix festival
film trailer director sequel premiere screenplay cameo festival reel
books chapter novel paperback author shelf prologue review library
cooking simmer garlic recipe dough skillet broth seasoning crust
coffee espresso roast grinder crema pourover beans latte aroma
travel itinerary hostel sunrise ferry passport backpack detour border
photography aperture shutter portrait grain exposure lens contrast golden
gardening seedlings compost pruning trellis harvest mulch bloom soil
astronomy telescope nebula orbit eclipse comet aperture launch crater
chemistry catalyst reagent titration polymer isotope flask yield bond
biology enzyme genome habitat species culture membrane fieldwork mutation
history archive dynasty treaty manuscript ruins empire chronicle artefact
politics ballot committee reform debate coalition amendment turnout mandate
economy inflation tariff wages markets budget surplus lending forecast
startups pivot runway founders pitch launch churn seed roadmap
programming compiler refactor deadlock kernel library patch benchmark merge
games speedrun boss patch loadout quest lobby pixel controller
fashion fabric runway vintage tailoring palette silhouette linen stitch
fitness squat tempo recovery plank intervals mobility deadlift stretch
pets puppy kitten adoption leash whiskers vet treats zoomies
weather storm forecast drizzle heatwave pressure frost monsoon gust
"""

NAMES = tuple(line.split()[0] for line in _LINES.split("\n") if line)
WORDS = np.array([line.split()[1:] for line in _LINES.split("\n") if line])  # (TOPICS, 8)
ENTITIES = np.array(["Aldara", "Bexley", "Corvin", "Dunmore", "Elspeth", "Farrow", "Galena", "Harlow"])
OPENINGS = np.array(
    ["thinking about", "today:", "hot take on", "finally", "a thread about", "who else loves", "so much", "new"]
)

assert len(NAMES) == TOPICS and WORDS.shape == (TOPICS, 8)


def compose(topic: np.ndarray, draws: np.ndarray) -> list[str]:
    """Texts of n posts: `topic` int (n,), `draws` uniforms (n, 4) that pick the opening, two words and an entity."""
    opening, first, step, entity = np.floor(draws * [len(OPENINGS), 8, 7, len(ENTITIES)]).astype(np.int64).T
    second = (first + 1 + step) % 8  # another word than the first
    return [
        f"{start} {one} and {two} with {name} #{NAMES[subject]}"
        for start, one, two, name, subject in zip(
            OPENINGS[opening], WORDS[topic, first], WORDS[topic, second], ENTITIES[entity], topic, strict=True
        )
    ]
