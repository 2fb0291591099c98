"""How much of the gap between best mix and oracle can be had from what a policy sees at all.

    python -m benchmarks.learnable_bound runs/tables/keep_skip.npz runs/tables/keep_skip_test.npz

and the same for other tables, see `benchmarks/README.md`.

No learning from rewards: a small network is told the SSIM of every schedule of the training
requests, and predicts them for the test requests from the features before the first decision. The
schedule with the best prediction at each price is taken. What is left to the oracle hangs on bits
that have not been drawn yet. Beside it a rule that knows each prompt's class (kind of ground,
number of objects) and takes what was best for the class in training. (The tables: first lines of
`configs/train/ppo_table.yaml`.)

Glossary: N requests, F features, L schedules.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jsonargparse import auto_cli
from rich.console import Console
from torch import Tensor, nn

from agents.search import all_schedules
from benchmarks.record import record
from envs.decision_table import DecisionTable, TabulatedRequest, load_table
from eval.front import (
    PRICES,
    Front,
    at_budgets,
    best_by_class,
    best_mix,
    interval,
    oracle,
    resample_weights,
    select,
)

NETWORKS, EPOCHS, BATCH = 3, 40, 64


def fit(inputs: Tensor, targets: Tensor, seed: int) -> nn.Module:
    """Train on all but a seventh of the rows, and keep what was best on that."""
    torch.manual_seed(seed)
    width = 128
    network = nn.Sequential(
        *(nn.Linear(inputs.shape[1], width), nn.GELU(), nn.Dropout(0.1)),
        *(nn.Linear(width, width), nn.GELU(), nn.Dropout(0.1)),
        nn.Linear(width, targets.shape[1]),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    train = len(inputs) * 6 // 7
    best, kept = float("inf"), network.state_dict()
    for _ in range(EPOCHS):
        network.train()
        for rows in torch.randperm(train).split(BATCH):
            loss = (network(inputs[rows]) - targets[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        decay.step()
        network.eval()
        with torch.no_grad():
            error = float((network(inputs[train:]) - targets[train:]).square().mean())
        if error < best:
            best, kept = error, {n: t.clone() for n, t in network.state_dict().items()}
    network.load_state_dict(kept)
    return network


def predict(training: DecisionTable, rows: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """[N, L] predicted SSIM for features [N, F], from these rows of the training table."""
    seen = training.features[rows, 0]
    centre, scale = seen.mean(0), seen.std(0) + 1e-6
    ssim = training.figures["ssim"][rows]
    mean, spread = ssim.mean(0), ssim.std(0) + 1e-9  # the unpruned schedule is 1 for all
    inputs, targets, wanted = (
        torch.tensor(values, dtype=torch.float32)
        for values in ((seen - centre) / scale, (ssim - mean) / spread, (asked - centre) / scale)
    )
    networks = [fit(inputs, targets, seed) for seed in range(NETWORKS)]
    with torch.no_grad():
        found = [network(wanted).numpy() for network in networks]
    return np.mean(found, axis=0) * spread + mean


def chosen(schedules: Front, prediction: np.ndarray) -> Front:
    """The schedule with the best prediction at each price of compute."""
    leaves = np.stack([(prediction - p * schedules.compute).argmax(1) for p in PRICES], axis=1)
    leaves = np.unique(leaves, axis=1)
    return select(schedules, "regression", leaves, [str(n) for n in range(leaves.shape[1])])


def classes(requests: Sequence[TabulatedRequest]) -> list[str]:
    """What the world says of each prompt: kind of ground and number of objects."""
    found = []
    for request in requests:
        things = request.label.partition(" on a ")[0].count(" and ") + 1
        found.append(f"{request.label.rpartition(' on a ')[2].split()[0]} {things}")
    return found


def run(
    training_table: str,
    test_table: str,
    name: str = "learnable_bound",
    sizes: list[int] = [256, 512, 1024, 2048, 4096],  # noqa: B006  read only
    budgets: list[float] = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8],  # noqa: B006
) -> None:
    """Measure, print, write the JSON.

    Args:
        training_table: what is learned from.
        test_table: measured on those of its requests that the other one does not have.
        name: of the JSON.
        sizes: numbers of training requests; more than there are means all.
        budgets: shares of the full cost at which fronts are compared.
    """
    torch.set_num_threads(1)
    training, held_out = (load_table(path) for path in (training_table, test_table))
    known = {request.key for request in training.requests}
    test_rows = [request for request in held_out.requests if request.key not in known]
    test = all_schedules(held_out, test_rows)
    asked = held_out.features[[request.row for request in test_rows], 0]
    weights = resample_weights(len(test_rows), 1000, 0)
    results = []
    for size in sizes:
        rows = np.arange(min(size, len(training.requests)))
        chosen_on = [training.requests[row] for row in rows]
        fixed_rules = all_schedules(training, chosen_on)
        mix = best_mix(fixed_rules, test)
        by_class = best_by_class(fixed_rules, classes(chosen_on), test, classes(test_rows))
        prediction = predict(training, rows, asked)
        fronts = (chosen(test, prediction), mix, oracle(test), by_class)
        ours, fixed, best, ruled = (at_budgets(front, "ssim", budgets) for front in fronts)
        many = [at_budgets(front, "ssim", budgets, weights).sum(1) for front in fronts]
        results.append(
            {
                "training_requests": len(rows),
                "recovered": float((ours - fixed).sum() / (best - fixed).sum()),
                "recovered_ci95": interval((many[0] - many[1]) / (many[2] - many[1])),
                "by_budget": ((ours - fixed) / (best - fixed)).tolist(),
                "rule_by_class": float((ruled - fixed).sum() / (best - fixed).sum()),
                "rule_by_class_by_budget": ((ruled - fixed) / (best - fixed)).tolist(),
            }
        )
        Console().print(results[-1])
    figures = {
        "fingerprint": training.fingerprint,
        "test_requests": len(test_rows),
        "schedules": test.compute.shape[1],
        "budgets": budgets,
        "results": results,
    }
    Console().print(f"written to {record(name, figures)}")


if __name__ == "__main__":
    auto_cli(run)
