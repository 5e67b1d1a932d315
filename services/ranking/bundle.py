"""A model bundle: the three models of one training, their normalisation and calibration, in one folder without pickle."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from feature_repo.feature_rows import HEADS, FeatureRows, UserFeatures
from infra.storage import replace_atomically
from services.ranking import presets
from services.ranking.bundle_files import DESCRIPTION, BundleError
from services.ranking.calibration import Calibration, sigmoid
from services.ranking.collaborative import CollaborativeVectors
from services.ranking.compiled import MATCH_BLOCKS, REQUEST_BLOCKS, NotCompilable
from services.ranking.compiled import Request as RequestOfMember
from services.ranking.ensemble import Ensemble
from services.ranking.heavy import HeavyRanker
from services.ranking.id_hashing import hash_ids
from services.ranking.inputs import DWELL, OUTPUTS, history_tensors, row_tensors, tensor
from services.ranking.light import LightRanker
from services.ranking.members import CompiledMembers, Heavy, built, members_of
from services.ranking.normalise import Normaliser
from services.ranking.prepared_posts import LookedUp, PostModels, PreparedPosts
from services.ranking.two_tower import POST_BLOCKS, TwoTower, TwoTowerConfig

if TYPE_CHECKING:
    from feature_repo.snapshot import Snapshot

# 2: the heavy ranker bends by GELU in its tanh form; 3: knots in the calibration; 4: a context that reads back; 5: heads of all
# actions, surfaces of the model's own.
FORMAT = 5
_PARTS = ("heavy", "light", "two_tower", "normaliser", "calibration")
_OPTIONAL = ("vectors", "ensemble")  # parts that not every bundle has
RequestContext = tuple[RequestOfMember, ...]  # what all candidates of a request share, by member of the heavy ranker
_ROWS_PER_PASS = 4_096  # bounds the memory of scoring many rows that each have a history of their own


@dataclass(frozen=True)
class Predictions:
    """What a bundle says of n rows."""

    heavy: np.ndarray  # float32 (n, len(HEADS)): as `heavy_predict`
    final: np.ndarray  # float32 (n, len(HEADS)): as `predict`
    dwell_s: np.ndarray  # float32 (n,): as `predicted_dwell_s`


@dataclass
class ModelBundle:
    """Two-tower, light and heavy ranker that were trained together."""

    heavy: Heavy
    light: LightRanker
    two_tower: TwoTower
    normaliser: Normaliser
    calibration: Calibration
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)  # block -> column names it was trained on
    details: dict = field(default_factory=dict)  # seed, rows, days: whatever the training wants to remember
    vectors: CollaborativeVectors | None = None  # None: training met too few earlier exposures
    ensemble: Ensemble | None = None  # None: the heavy ranker's probabilities are the final ones

    def __post_init__(self) -> None:
        self.heavy.eval()
        self.two_tower.eval()

    @property
    def trained_heads(self) -> tuple[str, ...]:
        """The heads that training had enough exposures of either outcome for; the others answer their base rate."""
        return tuple(self.details.get("heads", HEADS))

    # ---- storage ------------------------------------------------------------------------------------------------
    @cached_property
    def version(self) -> str:
        """First 12 hex digits of the SHA-256 over every weight: equal weights have equal versions, wherever trained.

        A bundle is not changed after it is made; a changed one is a new object (see flows/training/negated.py).
        """
        digest = hashlib.sha256()
        for part, arrays in self._arrays().items():
            for name in sorted(arrays):
                digest.update(f"{part}/{name}{arrays[name].shape}".encode())
                digest.update(np.ascontiguousarray(arrays[name]).tobytes())
        return digest.hexdigest()[:12]

    def save(self, folder: Path) -> Path:
        """Write the bundle; the description comes last, so a folder with one is whole.

        Raises DiskFull where there is no room: a bundle that lay here before stays.
        """
        content = {
            "format": FORMAT,
            "version": self.version,
            "heads": list(HEADS),
            "heavy": presets.as_json(self.heavy.config),
            "members": len(members_of(self.heavy)),
            "two_tower": self.two_tower.config.as_json(),
            "names": {block: list(columns) for block, columns in self.names.items()},
            "details": self.details,
        }
        with ExitStack() as written:
            # All is written before anything takes its place, and what is entered first takes it last.
            description = written.enter_context(replace_atomically(folder / DESCRIPTION))
            description.write_text(json.dumps(content, indent=2, sort_keys=True))
            for part, arrays in self._arrays().items():
                temporary = written.enter_context(replace_atomically(folder / f"{part}.safetensors"))
                save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)
            for file in (DESCRIPTION, *(f"{part}.safetensors" for part in _OPTIONAL)):  # of a bundle that lay here before
                (folder / file).unlink(missing_ok=True)
        return folder

    @staticmethod
    def load(folder: Path, threads: int = 1) -> ModelBundle:
        """Read a bundle; `threads` sets torch's threads in this process. BundleError says what is wrong with the folder."""
        folder = Path(folder)
        if not (folder / DESCRIPTION).exists():
            raise BundleError(
                f"{folder} holds no {DESCRIPTION}: it is no model bundle, or its writing was cut off; train again"
            )
        content = json.loads((folder / DESCRIPTION).read_text())
        if content["format"] != FORMAT or tuple(content["heads"]) != HEADS:
            raise BundleError(
                f"{folder} is format {content['format']} with heads {content['heads']}; "
                f"this release reads format {FORMAT} with {list(HEADS)}: serve it with the release that built it, or retrain"
            )
        torch.set_num_threads(threads)
        there = [part for part in _OPTIONAL if (folder / f"{part}.safetensors").exists()]
        arrays = {part: load_arrays(folder / f"{part}.safetensors") for part in (*_PARTS, *there)}
        bundle = ModelBundle(
            heavy=_with_weights(built(presets.from_json(content["heavy"]), content.get("members", 1)), arrays["heavy"]),
            light=LightRanker.from_arrays(arrays["light"]),
            two_tower=_with_weights(TwoTower(TwoTowerConfig.from_json(content["two_tower"])), arrays["two_tower"]),
            normaliser=Normaliser.from_arrays(arrays["normaliser"]),
            calibration=Calibration.from_arrays(arrays["calibration"], tuple(content["details"].get("calibration", ()))),
            names={block: tuple(columns) for block, columns in content["names"].items()},
            details=content["details"],
            vectors=CollaborativeVectors.from_arrays(arrays["vectors"]) if "vectors" in there else None,
            ensemble=Ensemble.from_arrays(arrays["ensemble"]) if "ensemble" in there else None,
        )
        if bundle.version != content["version"]:
            raise BundleError(
                f"{folder}: weights hash to {bundle.version}, but {DESCRIPTION} says {content['version']}: it is damaged"
            )
        return bundle

    def _arrays(self) -> dict[str, dict[str, np.ndarray]]:
        arrays = {
            "heavy": {name: tensor.numpy() for name, tensor in self.heavy.state_dict().items()},
            "light": self.light.arrays(),
            "two_tower": {name: tensor.numpy() for name, tensor in self.two_tower.state_dict().items()},
            "normaliser": self.normaliser.arrays(),
            "calibration": self.calibration.arrays(),
        }
        return arrays | {part: getattr(self, part).arrays() for part in _OPTIONAL if getattr(self, part) is not None}

    # ---- ranking ------------------------------------------------------------------------------------------------
    def heavy_logits(
        self, rows: FeatureRows, looked_up: LookedUp | None = None, context: RequestContext | None = None
    ) -> np.ndarray:
        """Uncalibrated logits, float32 (n, len(HEADS)). See `predict` for the rest."""
        return self._outputs(rows, looked_up, context)[:, :DWELL]

    def predicted_dwell_s(self, rows: FeatureRows) -> np.ndarray:
        """Seconds that each row's post will typically be watched or read, float32 (n,)."""
        return _dwell_s(self._outputs(rows, None, None))

    def predictions(self, rows: FeatureRows) -> Predictions:
        """All that the bundle says of `rows`, from one pass of the heavy ranker."""
        rows = self.extended(rows)
        outputs = self._outputs(rows, None, None)
        heavy = self.calibration.apply(outputs[:, :DWELL])
        return Predictions(heavy, self._final(heavy, rows), _dwell_s(outputs))

    def _outputs(self, rows: FeatureRows, looked_up: LookedUp | None, context: RequestContext | None) -> np.ndarray:
        """The heavy ranker's, float32 (n, OUTPUTS)."""
        rows = self.extended(rows)
        if len(rows) == 0:
            return np.zeros((0, OUTPUTS), np.float32)
        if len(rows.history) == 1 and self._compiled is not None:
            if looked_up is not None and looked_up.posts.heavy is not None:
                return self._looked_up_logits(self._compiled, rows, looked_up, context or self.encode(rows))
            return self._compiled.score(row_tensors(rows, self.normaliser, self.heavy.config.bits))
        step = len(rows) if len(rows.history) == 1 else _ROWS_PER_PASS
        parts = []
        with torch.inference_mode():
            for start in range(0, len(rows), step):
                part = rows if step >= len(rows) else rows.take(np.arange(start, min(start + step, len(rows))))
                parts.append(self.heavy(row_tensors(part, self.normaliser, self.heavy.config.bits)).numpy())
        return np.concatenate(parts)

    def _looked_up_logits(
        self, compiled: CompiledMembers, rows: FeatureRows, looked_up: LookedUp, context: RequestContext
    ) -> np.ndarray:
        """The same, with all that is known of the posts alone looked up: of `rows` only MATCH_BLOCKS are read."""
        known = self.normaliser.widths
        blocks = {name: rows.blocks[name] for name in (*REQUEST_BLOCKS, *MATCH_BLOCKS) if name in known}
        tensors = {name: tensor(self.normaliser.apply(name, block)) for name, block in blocks.items()}
        return compiled.logits(context, looked_up.posts.heavy, compiled.matches(tensors), looked_up.row + 1)

    def encode(self, rows: FeatureRows) -> RequestContext | None:
        """What all candidates of a request share, encoded once from its first row; None where the ranker has no compiled form.

        The product and the blocks user and context are those of that row.
        """
        if self._compiled is None or len(rows.history) != 1 or len(rows) == 0:
            return None
        rows = self.extended(rows.take(np.zeros(1, np.int64)))
        return self._compiled.request(row_tensors(rows, self.normaliser, self.heavy.config.bits))

    @cached_property
    def _compiled(self) -> CompiledMembers | None:
        """The heavy ranker on the compiled kernel; None where it is one that only torch takes."""
        if not all(isinstance(member, HeavyRanker) for member in members_of(self.heavy)):
            return None
        try:
            return CompiledMembers(self.heavy, threads=torch.get_num_threads())
        except NotCompilable:
            return None

    @property
    def predicts_alike(self) -> bool:
        """Whether a candidate's probabilities are the same, bit for bit, whatever else is asked with it."""
        return self._compiled is not None

    def prepare(self, snapshot: Snapshot, moment_us: int) -> PreparedPosts:
        """What the light and the heavy ranker make of all posts of `snapshot` as of `moment_us`."""
        return PostModels(self.normaliser, self.light, self._compiled, self.vectors).prepare(snapshot, moment_us)

    def predict(
        self, rows: FeatureRows, looked_up: LookedUp | None = None, context: RequestContext | None = None
    ) -> np.ndarray:
        """Probability of each action by all that this bundle holds, float32 (n, len(HEADS)): what is served and judged.

        looked_up: the candidates among prepared posts, whose moment must be that of the rows' post blocks. context: what
        `encode` gave for rows of this user, surface and moment. Both save work and change nothing but rounding.
        """
        rows = self.extended(rows)
        return self._final(self.heavy_predict(rows, looked_up, context), rows)

    def _final(self, heavy: np.ndarray, rows: FeatureRows) -> np.ndarray:
        """`predict` from the heavy ranker's probabilities of extended `rows`."""
        if self.ensemble is None or len(rows) == 0:
            return heavy
        return self.ensemble.apply(heavy, rows, self.names.get("post", ()), torch.get_num_threads())

    def heavy_predict(
        self, rows: FeatureRows, looked_up: LookedUp | None = None, context: RequestContext | None = None
    ) -> np.ndarray:
        """Calibrated probability of each action by the heavy ranker alone, float32 (n, len(HEADS)).

        Rows that share a history (one request: `rows.history` has one row, the user block is the same in all) have their
        context encoded once. See `predict` for the rest.
        """
        return self.calibration.apply(self.heavy_logits(rows, looked_up, context))

    def light_score(self, rows: FeatureRows, looked_up: LookedUp | None = None) -> np.ndarray:
        """Probability of engagement by the light ranker, float32 (n,). looked_up: as in `predict`."""
        rows = self.extended(rows)
        posts = None if looked_up is None else looked_up.posts.light.take(looked_up.row + 1)
        return sigmoid(self.light.logits(rows, self.normaliser, posts))

    # ---- retrieval ----------------------------------------------------------------------------------------------
    def user_vector(self, user: UserFeatures) -> np.ndarray:
        """The user's retrieval vector, float32 (d,)."""
        with torch.inference_mode():
            block = torch.from_numpy(self.normaliser.apply("user", user.user))
            return self.two_tower.users(block, history_tensors(user.history, self.two_tower.config.bits))[0].numpy()

    def post_vectors(self, snapshot: Snapshot, *, trained_on: bool = True) -> np.ndarray:
        """Retrieval vectors of all posts of the snapshot in its order, float32 (n, d).

        trained_on: false for posts that came after training; their own ids say nothing, content and author speak for them.
        """
        bits = self.two_tower.config.bits
        blocks = {name: torch.from_numpy(self.normaliser.apply(name, snapshot.blocks[name])) for name in POST_BLOCKS}
        with torch.inference_mode():
            return self.two_tower.posts(
                blocks,
                torch.from_numpy(hash_ids(snapshot.post_id, bits.post)),
                torch.from_numpy(hash_ids(snapshot.author_id, bits.author)),
                torch.from_numpy(hash_ids(snapshot.topic, bits.topic)),
                known=None if trained_on else torch.zeros(len(snapshot.post_id)),
            ).numpy()

    def extended(self, rows: FeatureRows) -> FeatureRows:
        """`rows` as this bundle's models read them: checked, and with its collaborative vectors where it has some."""
        self._check(rows)
        return rows if self.vectors is None else self.vectors.extend(rows)

    def _check(self, rows: FeatureRows) -> None:
        """The rows must have the very columns of training: a silent shift by one column would rank nonsense."""
        for block, columns in self.names.items():
            found = rows.names.get(block)
            if found is not None and found != columns:
                odd = sorted(set(found).symmetric_difference(columns))[:5]
                raise BundleError(f"block {block!r} has other columns than the model was trained on (such as {odd}): retrain")


def _dwell_s(outputs: np.ndarray) -> np.ndarray:
    return np.expm1(np.maximum(outputs[:, DWELL], 0.0))


def _with_weights(module: torch.nn.Module, arrays: dict[str, np.ndarray]) -> torch.nn.Module:
    module.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return module
