"""DINO and DreamSim: that the right model is called in the right way; weights are not at hand."""

import sys
import types

import pytest
import torch
from safetensors.torch import save_file

from base.torchvision_stub import import_torchvision
from eval.metrics import features as features_module
from eval.metrics.features import DINO_MODEL, Dino, DreamSim
from eval.metrics.protocol import MetricUnavailableError
from tests.eval.test_metrics import pictures


def test_dino_is_the_cosine_of_the_class_tokens_of_the_weights_in_the_cache(tmp_path, monkeypatch):
    import_torchvision()
    import timm

    torch.manual_seed(0)
    model = timm.create_model(DINO_MODEL, pretrained=False, num_classes=0, global_pool="token")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    found = {f"timm/{DINO_MODEL}": str(tmp_path / "model.safetensors")}
    monkeypatch.setattr(
        features_module.huggingface_hub,
        "try_to_load_from_cache",
        lambda repository, file: found.get(repository),
    )
    metric = Dino()
    images, others = pictures(1), pictures(1, seed=1)
    assert metric(images, images, []).item() == pytest.approx(1, abs=1e-5)
    with torch.inference_mode():
        tokens = [
            model.eval().fc_norm(model.forward_features(metric._prepared(batch))[:, 0])
            for batch in (images, others)
        ]
    expected = torch.cosine_similarity(*tokens)
    assert torch.allclose(metric(images, others, []), expected, atol=1e-5)
    found.clear()
    with pytest.raises(MetricUnavailableError, match="is not in the cache"):
        Dino()


def test_dreamsim_gets_prepared_images_and_its_folder(tmp_path, monkeypatch):
    asked = {}

    class Model:
        def eval(self):
            return self

        def __call__(self, images, references):
            return (images - references).abs().mean(dim=(1, 2, 3))

    def dreamsim(pretrained, device, cache_dir):
        asked.update(pretrained=pretrained, device=device, cache_dir=cache_dir)
        return Model(), lambda image: torch.full((1, 3, 2, 2), float(image.getpixel((0, 0))[0]))

    monkeypatch.setitem(sys.modules, "dreamsim", types.SimpleNamespace(dreamsim=dreamsim))
    with pytest.raises(MetricUnavailableError, match="no DreamSim weights"):
        DreamSim(folder=tmp_path / "missing")
    metric = DreamSim(folder=tmp_path)
    assert asked == {"pretrained": True, "device": "cpu", "cache_dir": str(tmp_path)}
    images, others = pictures(3), pictures(3, seed=1)
    expected = (images[:, 0, 0, 0].int() - others[:, 0, 0, 0].int()).abs().float()
    assert torch.equal(metric(images, others, []), expected)
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    with pytest.raises(MetricUnavailableError, match="needs the package"):
        DreamSim(folder=tmp_path)
