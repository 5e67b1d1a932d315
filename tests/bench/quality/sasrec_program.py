"""Run by RecTools' own environment, never imported: fit SASRec on `liked.parquet`, score `asked.parquet` with it, or both.

It imports nothing of this project and talks through the files of `--folder` alone.
"""

import argparse
import logging
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

SESSION = 30  # liked posts read, the newest ones; users have half as many on average
FACTORS, BLOCKS, ATTENTION_HEADS, NEGATIVES = 64, 2, 2, 32
_ROWS_PER_PASS = 2_048


def one_process_trainer(epochs: int) -> Trainer:
    """On the processor, without checkpoints and logs."""
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        deterministic=True,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def fit(folder: Path, seed: int, epochs: int) -> None:
    """Learn the next liked post; gBCE with sampled negatives, since a softmax over all posts costs ten times as much."""
    seed_everything(seed)
    liked = pd.read_parquet(folder / "liked.parquet")
    interactions = pd.DataFrame(
        {
            Columns.User: liked["user_id"],
            Columns.Item: liked["post_id"],
            Columns.Weight: 1.0,
            Columns.Datetime: pd.Timestamp("2022-01-01") + pd.to_timedelta(np.arange(len(liked)), unit="s"),  # the order alone
        }
    )
    model = SASRecModel(
        session_max_len=SESSION,
        n_factors=FACTORS,
        n_blocks=BLOCKS,
        n_heads=ATTENTION_HEADS,
        dropout_rate=0.2,
        loss="gBCE",
        n_negatives=NEGATIVES,
        lr=1e-3,
        batch_size=128,
        get_trainer_func=one_process_trainer,
        get_trainer_func_kwargs={"epochs": epochs},
    )
    model.fit(Dataset.construct(interactions))
    network, ids = model.torch_model.eval(), model.data_preparator.item_id_map
    torch.save({"network": network, "posts": torch.tensor(ids.external_ids[1:].astype(np.int64))}, folder / "fitted.pt")


def score(folder: Path) -> None:
    """Product of the sequence's last state and the candidate; NaN where there is no sequence or no such post."""
    kept = torch.load(folder / "fitted.pt", weights_only=False)  # written by `fit` above, in the same folder
    network, posts = kept["network"].eval(), kept["posts"].numpy()
    place = {int(post): number + 1 for number, post in enumerate(posts)}  # 0 is padding
    asked = pd.read_parquet(folder / "asked.parquet")
    out = np.full(len(asked), np.nan, np.float32)
    with torch.inference_mode():
        items = network.item_model.get_all_embeddings()
        for start in range(0, len(asked), _ROWS_PER_PASS):
            part = asked.iloc[start : start + _ROWS_PER_PASS]
            sequences = np.zeros((len(part), SESSION), np.int64)
            for row, liked in enumerate(part["liked"]):
                known = [place[post] for post in liked.tolist() if post in place][-SESSION:]
                if known:
                    sequences[row, -len(known) :] = known
            candidate = np.array([place.get(post, 0) for post in part["post_id"].tolist()])
            state = network.encode_sessions({"x": torch.from_numpy(sequences)}, items)[:, -1]
            found = (state * items[torch.from_numpy(candidate)]).sum(1).numpy()
            scored = (candidate > 0) & (sequences[:, -1] > 0)
            out[start : start + len(part)] = np.where(scored, found, np.nan)
    pd.DataFrame({"score": out}).to_parquet(folder / "scores.parquet")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("fit", "score", "fit-and-score"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=1)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(asked.threads)
    if "fit" in asked.what:
        fit(asked.folder, asked.seed, asked.epochs)
    if "score" in asked.what:
        score(asked.folder)


if __name__ == "__main__":
    main()
