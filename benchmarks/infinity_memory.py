"""What one image of Infinity 2B takes of a device's memory, counted, beside what is announced.

    python -m benchmarks.infinity_memory

No GPU and no weights: a whole generation in bfloat16 with guidance on a fake device
(`benchmarks/fake_device.py`), without the text encoder. How often the host waits is counted, too.
"""

from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.fake_device import fake_device, fake_text
from benchmarks.large_models import full_config
from benchmarks.record import record
from infinity_backend.memory import estimate_memory
from infinity_backend.request import ImageRequest

TEXT_TOKENS = 64


def measure(resolution: str, ratio: float, size: str = "2b") -> dict[str, Any]:
    """Bytes at the widest moment of the scales and of the decode, and copies to and from the host.

    Args:
        resolution: such as `1M`.
        ratio: of the last three scales.
        size: of the model.
    """
    config = full_config(size, resolution)
    memory = estimate_memory(config, torch.bfloat16)
    with fake_device(config) as (watch, stepper):
        weights = watch.peak_bytes = watch.live_bytes  # what making them took is past
        state = stepper.begin([ImageRequest("x")], fake_text(config, (TEXT_TOKENS,)))
        watch.counts.clear()
        for stage in range(stepper.num_stages):
            pruned = stage >= stepper.num_stages - 3
            decision = {"prune_ratio": ratio if pruned else 0.0, "guidance": True}
            state = stepper.advance(state, [decision])
        scales, watch.peak_bytes = watch.peak_bytes, watch.live_bytes
        stepper.vae.decode(state.codes)
        decode = watch.peak_bytes
    return {
        "resolution": resolution,
        "prune_ratio": ratio,
        "weights_bytes": weights,
        "scales_peak_bytes": scales,
        "decode_peak_bytes": decode,
        "announced_bytes": memory.weights + memory.each_image,
        "waits_per_scale": watch.counts["wait"] / stepper.num_stages,
    }


def main() -> None:
    """Count 0.06M, 0.25M and 1M; write `infinity_memory.json`."""
    rows = [measure(size, ratio) for size in ("0.06M", "0.25M", "1M") for ratio in (0.0, 0.4)]
    table = Table("resolution", "ratio", "weights GB", "scales GB", "decode GB", "announced GB")
    for row in rows:
        numbers = [row[f"{name}_bytes"] for name in ("weights", "scales_peak", "decode_peak")]
        shown = [f"{number / 1e9:.2f}" for number in [*numbers, row["announced_bytes"]]]
        table.add_row(row["resolution"], str(row["prune_ratio"]), *shown)
    console = Console()
    console.print(table)
    console.print(str(record("infinity_memory", {"dtype": "bfloat16", "rows": rows})))


if __name__ == "__main__":
    main()
