"""Generators of methods with a pool: how they begin."""

from __future__ import annotations

import pytest
import torch
from stepping import own_generator  # noqa: F401 - in every test here
from torch import nn

from dfkd_core.networks.generators import (
    ConvGenerator,
    NoisyLayerGenerator,
    StagedGenerator,
    exchange_channels,
    reset,
)


def test_a_generator_forgets_everything_and_begins_as_dcgan_does() -> None:
    generator = ConvGenerator(64, 3, 16, width=16, epsilon=1e-5)
    generator(torch.randn(8, 64))
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.fill_(7)
    reset(generator)
    for part in generator.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            assert 0.017 < part.weight.std() < 0.023 and abs(part.weight.mean()) < 0.002 and not part.bias.any()
        if isinstance(part, nn.BatchNorm2d):
            assert abs(part.weight.mean() - 1) < 0.02 and 0 < part.weight.std() < 0.04 and not part.bias.any()
            assert part.eps == 1e-5 and not part.running_mean.any()


def test_a_noisy_layer_serves_one_image_of_each_class() -> None:
    embeddings = torch.randn(3, 5)
    generator = NoisyLayerGenerator(embeddings, 7, 4, channels=1, size=8, width=4, epsilon=1e-5)
    generator.renew()
    labels, inputs = torch.tensor([0, 1, 2, 0, 1, 2, 1]), []
    hook = generator.project.register_forward_pre_hook(lambda layer, given: inputs.append(given[0]))
    images = generator(labels)
    hook.remove()
    assert images.shape == (7, 1, 8, 8) and len(generator.noisy) == 3
    seen = embeddings[labels]
    unit = (seen - seen.mean(dim=0)) / (seen.var(dim=0, unbiased=False) + 1e-5).sqrt()
    expected = torch.stack([unit[index] @ generator.noisy[index // 3].weight.t() for index in range(7)])
    torch.testing.assert_close(inputs[0], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(inputs[0][0], inputs[0][3]), "the same class, another layer"


def test_a_generator_that_begins_anew_keeps_its_classes() -> None:
    generator = NoisyLayerGenerator(torch.randn(3, 5), 6, 4, channels=1, size=8, width=4, epsilon=1e-5)
    before = {name: kept.clone() for name, kept in generator.state_dict().items()}
    generator.begin_anew()
    after = generator.state_dict()
    assert torch.equal(before["embeddings"], after["embeddings"])
    assert not torch.equal(before["project.weight"], after["project.weight"])
    assert not torch.equal(before["decode.3.weight"], after["decode.3.weight"])


def test_features_can_be_taken_out_of_each_stage_and_put_in_again() -> None:
    generator = StagedGenerator(6, 3, 16, width=4, epsilon=1e-5).eval()
    latents = torch.randn(5, 6)
    *features, images = generator.features(latents)
    assert [tuple(one.shape[1:]) for one in features] == [(8, 4, 4), (8, 8, 8), (4, 16, 16)]
    torch.testing.assert_close(images, generator(latents))
    for stage, one in enumerate(features):
        torch.testing.assert_close(generator.from_features(one, stage), images)


@pytest.mark.parametrize("channels", [4, 5])
def test_half_of_the_channels_come_from_the_counterpart(channels: int) -> None:
    features = torch.arange(6.0)[:, None, None, None].expand(6, channels, 2, 2)
    exchanged = exchange_channels(features)[:, :, 0, 0]
    for index, row in enumerate(exchanged.tolist()):
        assert row.count(index) == (channels + 1) // 2 and row.count(5 - index) == channels // 2
    assert len({tuple(value == index for value in row) for index, row in enumerate(exchanged.tolist())}) > 1
