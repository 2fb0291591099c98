import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_msssim import ms_ssim
from safetensors.torch import save_file

from base.errors import ConfigError
from base.torchvision_stub import import_torchvision
from eval.metrics import clip as clip_module
from eval.metrics.clip import Clip, official_folder
from eval.metrics.lpips import TRUNK_FILES, Lpips
from eval.metrics.protocol import MetricUnavailableError
from eval.metrics.registry import METRICS, MetricSettings, make_metrics

TINY_CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 32, "head_width": 16, "layers": 1},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def pictures(count=3, side=48, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3))
    return torch.from_numpy(values.astype(np.uint8))


@pytest.fixture(autouse=True)
def no_cached_weights(tmp_path, monkeypatch):
    """Tests see the same whether or not this machine has downloaded weights."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch_hub"))
    monkeypatch.setattr(
        clip_module.huggingface_hub, "try_to_load_from_cache", lambda repository, file: None
    )


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory):
    import_torchvision()
    from open_clip.model import CLIP

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip")
    model = CLIP(
        TINY_CLIP["embed_dim"], vision_cfg=TINY_CLIP["vision_cfg"], text_cfg=TINY_CLIP["text_cfg"]
    )
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    config = {"model_cfg": TINY_CLIP, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def test_psnr_has_a_plain_and_two_capped_forms():
    metrics, _ = make_metrics(["psnr"], MetricSettings())
    images = pictures(2)
    other = images.clone()
    other[1, 0, 0, 0] ^= 1
    values = {metric.name: metric(images, other, []).tolist() for metric in metrics}
    exact = 10 * np.log10(255**2 * 48 * 48 * 3)
    assert values["psnr"] == [float("inf"), pytest.approx(exact)]
    assert values["psnr_capped50"] == [50.0, 50.0]
    assert values["psnr_capped100"] == [100.0, pytest.approx(exact)]


def test_differences_are_exact():
    images, others = pictures(seed=1), pictures(seed=2)
    difference = images.double() - others.double()
    metrics, _ = make_metrics(["mse", "mae", "max_abs"], MetricSettings())
    mse, mae, max_abs = (metric(images, others, []) for metric in metrics)
    assert torch.equal(mse, difference.square().mean(dim=(1, 2, 3)))
    assert torch.equal(mae, difference.abs().mean(dim=(1, 2, 3)))
    assert torch.equal(max_abs, difference.abs().amax(dim=(1, 2, 3)))


def test_another_window_of_ssim_is_another_name():
    names = [
        make_metrics(["ssim"], MetricSettings(ssim_window=window))[0][0].name
        for window in ("gaussian11", "uniform7", "legacy3")
    ]
    assert names == ["ssim", "ssim_uniform7", "ssim_legacy3"]


def test_ms_ssim_is_the_packages():
    images, others = pictures(2, side=176), pictures(2, side=176, seed=5)
    ((metric,), _) = make_metrics(["ms_ssim"], MetricSettings())
    x, y = (batch.permute(0, 3, 1, 2) / 255 for batch in (images, others))
    expected = ms_ssim(x, y, data_range=1.0, size_average=False)
    assert torch.equal(metric(images, others, []), expected)
    assert metric.minimum_side == 161


@pytest.mark.parametrize("net", TRUNK_FILES)
def test_lpips_without_weights_is_a_stand_in_and_says_so(net):
    metric = Lpips(net)
    assert metric.name == "lpips_standin"
    assert "STAND-IN" in metric.provenance
    images, others = pictures(2), pictures(2, seed=1)
    assert metric(images, images, []).tolist() == [0.0, 0.0]
    assert (metric(images, others, []) > 1e-3).all()
    smallest = pictures(1, side=metric.minimum_side)
    assert torch.isfinite(metric(smallest, smallest, [])).all()


@pytest.mark.parametrize("net", TRUNK_FILES)
def test_lpips_remembers_references_within_its_limit(net):
    plain, keeping = Lpips(net), Lpips(net, kept_bytes=2**24)
    images, others = pictures(4), pictures(4, seed=1)
    expected = plain(images, others, [])
    for order in ([0, 1, 2, 3], [3, 1], [2, 2, 0], [0, 1, 2, 3]):
        found = keeping(images[order], others[order], [])
        assert torch.allclose(found, expected[order], rtol=1e-5, atol=1e-8)
    assert len(keeping.kept) == 4
    assert keeping(others, others, []).abs().max() < 1e-10
    keeping.kept.limit_bytes = keeping.kept.used_bytes // 2
    assert torch.allclose(keeping(images, images.flip(0), []), plain(images, images.flip(0), []))
    assert len(keeping.kept) <= 2


def test_the_stand_in_is_the_same_every_time():
    images, others = pictures(2), pictures(2, seed=1)
    assert torch.equal(Lpips()(images, others, []), Lpips()(images, others, []))


def test_lpips_uses_imagenet_weights_that_are_in_the_cache():
    torchvision = import_torchvision()
    torch.manual_seed(3)
    network = torchvision.models.alexnet(weights=None)
    images, others = pictures(1), pictures(1, seed=1)
    stand_in = Lpips()
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(network.state_dict(), cache / TRUNK_FILES["alex"])
    metric = Lpips()
    assert metric.name == "lpips"
    assert TRUNK_FILES["alex"] in metric.provenance
    assert metric(images, others, []) != stand_in(images, others, [])
    first = metric._network.get_submodule("net.slice1.0").weight
    assert torch.equal(first, network.features[0].weight)
    assert Lpips(trunk="stand-in").name == "lpips_standin"


def test_lpips_with_damaged_weights_is_not_computed(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"not weights")
    settings = MetricSettings(lpips_trunk=tmp_path / "weights.pth")
    metrics, not_computed = make_metrics(["lpips", "mse"], settings)
    assert [metric.name for metric in metrics] == ["mse"]
    assert "does not hold this trunk's ImageNet weights" in not_computed["lpips"]


def test_clip_is_the_cosine_of_the_models_features(tiny_clip):
    import open_clip

    metric = Clip(tiny_clip)
    images, prompts = pictures(2, side=40), ["a red ball", "two cats"]
    model, prepare = open_clip.create_model_from_pretrained(f"local-dir:{tiny_clip}")
    tokens = open_clip.get_tokenizer(f"local-dir:{tiny_clip}")(prompts)
    inputs = torch.stack([prepare(Image.fromarray(image.numpy())) for image in images])
    with torch.no_grad():
        expected = torch.cosine_similarity(model.encode_image(inputs), model.encode_text(tokens))
    assert torch.allclose(metric(images, None, prompts), expected, atol=1e-6)
    assert metric.name == "clip"
    assert "weights" in metric.provenance


def test_clip_image_compares_with_the_reference(tiny_clip):
    ((metric,), _) = make_metrics(["clip_image"], MetricSettings(clip_model=tiny_clip))
    images, others = pictures(2, side=40), pictures(2, side=40, seed=4)
    assert metric.name == "clip_image"
    assert torch.allclose(metric(images, images, []), torch.ones(2), atol=1e-5)
    features = [metric._image_features(batch) for batch in (images, others)]
    expected = torch.cosine_similarity(*features)
    assert torch.allclose(metric(images, others, []), expected, atol=1e-6)
    ((shipped,), _) = make_metrics(["clip_image"], MetricSettings(shipped_clip=tiny_clip))
    assert shipped.name == "clip_image_scenes"
    assert "SMALL CLIP" in shipped.provenance


def test_clip_cuts_long_prompts_and_takes_any_text(tiny_clip):
    prompts = ["word " * 500, "", "猫 \ud800".encode("utf-8", "replace").decode()]
    assert torch.isfinite(Clip(tiny_clip)(pictures(3), None, prompts)).all()


def test_the_shipped_clip_has_a_name_of_its_own(tiny_clip):
    (shipped,), _ = make_metrics(["clip"], MetricSettings(shipped_clip=tiny_clip))
    (given,), _ = make_metrics(["clip"], MetricSettings(clip_model=tiny_clip))
    assert (shipped.name, given.name) == ("clip_scenes", "clip")


def test_the_official_clip_is_found_in_the_cache(tiny_clip, monkeypatch):
    assert official_folder() is None
    monkeypatch.setattr(
        clip_module.huggingface_hub,
        "try_to_load_from_cache",
        lambda repository, file: str(tiny_clip / file),
    )
    settings = MetricSettings(shipped_clip=tiny_clip)
    assert [metric.name for metric in make_metrics(["clip"], settings)[0]] == ["clip"]


def test_clip_without_weights_is_not_computed(tmp_path):
    assert "no CLIP weights" in make_metrics(["clip"], MetricSettings())[1]["clip"]
    settings = MetricSettings(clip_model=tmp_path)
    assert "no usable open_clip model" in make_metrics(["clip"], settings)[1]["clip"]


def test_clip_without_its_weights_file_never_runs_on_random_ones(tiny_clip, tmp_path):
    (tmp_path / "open_clip_config.json").write_text(
        (tiny_clip / "open_clip_config.json").read_text()
    )
    with pytest.raises(MetricUnavailableError, match="no usable open_clip model"):
        Clip(tmp_path)


def test_unknown_metrics_and_settings_are_errors():
    with pytest.raises(ConfigError, match="expected some of"):
        make_metrics(["fid"], MetricSettings())
    with pytest.raises(ConfigError, match="expected some of"):
        make_metrics([], MetricSettings())
    with pytest.raises(ConfigError, match="SSIM window"):
        make_metrics(["ssim"], MetricSettings(ssim_window="box"))
    with pytest.raises(ConfigError, match="LPIPS net"):
        make_metrics(["lpips"], MetricSettings(lpips_net="resnet"))


def test_every_metric_has_a_name_and_a_provenance(tiny_clip):
    metrics, not_computed = make_metrics(list(METRICS), MetricSettings(shipped_clip=tiny_clip))
    assert set(not_computed) <= {"dino", "dreamsim"}
    names = [metric.name for metric in metrics]
    assert len(set(names)) == len(names)
    assert all(metric.provenance and metric.minimum_side >= 1 for metric in metrics)
