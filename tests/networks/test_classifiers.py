"""Every classifier: as large as published, maps of the published sizes, and whatever methods ask of a network works."""

from __future__ import annotations

import sys
import types
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from stepping import own_generator  # noqa: F401 - in every test here
from torch import Tensor, nn
from torchvision import models

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.losses.bn_statistics import observe
from dfkd_core.networks.classifiers import (
    CLASSIFIERS,
    Classifier,
    build_classifier,
    check_network,
    parameter_count,
    students,
    title_of,
)

NAMES = [*CLASSIFIERS, "vgg13-bn+five-pools", "vgg13-bn+five-pools+hidden-512", "shufflenetv2+3x3"]
DEEP = (  # built as shallower ones are
    "resnet32", "resnet44", "resnet56", "resnet110", "resnet116", "resnet110x2", "resnet32x4", "resnet34", "resnet101",
    "resnet152", "wrn-40-1", "wrn-40-2", "vgg13-bn", "vgg16-bn", "vgg19-bn", "mobilenetv2",
)  # fmt: skip


def image_of(size: int, classes: int = 10, channels: int = 3) -> ImageSpec:
    return ImageSpec(channels, size, (0.5,) * channels, (0.25,) * channels, tuple(map(str, range(classes))))


def on_paper(name: str, size: int = 32, classes: int = 10) -> Classifier:
    """Its shapes alone, without numbers."""
    with torch.device("meta"):
        return build_classifier(name, image_of(size, classes))


# --- how large -------------------------------------------------------------------------------------------------

CHENYAOFO = {
    "resnet20": ("0.27", "0.28"), "resnet32": ("0.47", "0.47"), "resnet44": ("0.66", "0.67"),
    "resnet56": ("0.86", "0.86"), "vgg11-bn+five-pools+hidden-512": ("9.76", "9.80"),
    "vgg13-bn+five-pools+hidden-512": ("9.94", "9.99"), "vgg16-bn+five-pools+hidden-512": ("15.25", "15.30"),
    "vgg19-bn+five-pools+hidden-512": ("20.57", "20.61"), "mobilenetv2-half": ("0.70", "0.82"),
    "mobilenetv2": ("2.24", "2.35"), "shufflenetv2+3x3": ("1.26", "1.36"),
}  # fmt: skip
"""Millions of parameters on CIFAR-10 and CIFAR-100: README of github.com/chenyaofo/pytorch-cifar-models, Model Zoo."""
WEIAICUNZAI = {
    "vgg11-bn+five-pools+hidden-4096": "28.5", "vgg13-bn+five-pools+hidden-4096": "28.7",
    "vgg16-bn+five-pools+hidden-4096": "34.0", "resnet18": "11.2",
    "resnet34": "21.3", "resnet50": "23.7", "resnet101": "42.7", "resnet152": "58.3",
}  # fmt: skip
"""On CIFAR-100: README of github.com/weiaicunzai/pytorch-cifar100, Results. Its 39.0 of VGG-19 is 39.3 by its code."""
BEARPAW = {"resnet110": "1.7", "vgg19-bn": "20.0"}
"""On CIFAR-10: README of github.com/bearpaw/pytorch-classification, 1.70 and 20.04."""
WIDE = {"wrn-16-1": "0.2", "wrn-16-2": "0.7", "wrn-40-1": "0.6", "wrn-40-2": "2.2"}
"""On CIFAR-10: Zagoruyko & Komodakis, table 1 of arXiv 1612.03928, and table 4 of arXiv 1605.07146."""
TORCHVISION: dict[str, Any] = {
    "resnet18+7x7+maxpool": models.ResNet18_Weights, "resnet34+7x7+maxpool": models.ResNet34_Weights,
    "resnet50+7x7+maxpool": models.ResNet50_Weights, "resnet101+7x7+maxpool": models.ResNet101_Weights,
    "resnet152+7x7+maxpool": models.ResNet152_Weights,
    "vgg11-bn+five-pools+hidden-4096+grid-7": models.VGG11_BN_Weights,
    "vgg13-bn+five-pools+hidden-4096+grid-7": models.VGG13_BN_Weights,
    "vgg16-bn+five-pools+hidden-4096+grid-7": models.VGG16_BN_Weights,
    "vgg19-bn+five-pools+hidden-4096+grid-7": models.VGG19_BN_Weights,
    "shufflenetv2+3x3": models.ShuffleNet_V2_X1_0_Weights, "mobilenetv2": models.MobileNet_V2_Weights,
}  # fmt: skip
"""On ImageNet: what torchvision's documentation has as num_params, to the last one."""


@pytest.mark.parametrize("name", CHENYAOFO)
def test_as_large_as_chenyaofos(name: str) -> None:
    counts = (parameter_count(on_paper(name, classes=classes)) / 1e6 for classes in (10, 100))
    assert tuple(f"{count:.2f}" for count in counts) == CHENYAOFO[name]


@pytest.mark.parametrize(("name", "millions"), WEIAICUNZAI.items())
def test_as_large_as_weiaicunzais(name: str, millions: str) -> None:
    assert f"{parameter_count(on_paper(name, classes=100)) / 1e6:.1f}" == millions


@pytest.mark.parametrize(("name", "millions"), [*BEARPAW.items(), *WIDE.items()])
def test_as_large_as_published_for_cifar10(name: str, millions: str) -> None:
    assert f"{parameter_count(on_paper(name)) / 1e6:.1f}" == millions


@pytest.mark.parametrize(("name", "published"), TORCHVISION.items())
def test_as_large_as_torchvisions(name: str, published: Any) -> None:
    assert parameter_count(on_paper(name, 224, 1000)) == published.DEFAULT.meta["num_params"]


def conv(inputs: int, outputs: int, side: int, groups: int = 1) -> int:
    """Parameters of a convolution without bias and of the BatchNorm behind it."""
    return side**2 * inputs * outputs // groups + 2 * outputs


def residual(stem: int, widths: tuple[int, ...], blocks: int) -> int:
    """Of a stem and stages of basic blocks, with a projection wherever the channels change."""
    total, inputs = conv(3, stem, 3), stem
    for width in widths:
        total += conv(inputs, width, 3) + (2 * blocks - 1) * conv(width, width, 3)
        total += conv(inputs, width, 1) * (inputs != width)
        inputs = width
    return total


def shuffled() -> int:
    """Of ShuffleNet V1's stages: 240, 480, 960 channels, three groups but for the first convolution."""
    total, inputs = conv(3, 24, 1), 24
    for width, blocks in ((240, 4), (480, 8), (960, 4)):
        for number in range(blocks):
            outputs, groups = width - inputs * (number == 0), 1 if inputs == 24 else 3
            middle = outputs // 4
            total += conv(inputs, middle, 1, groups) + conv(middle, middle, 3, middle) + conv(middle, outputs, 1, 3)
            inputs = width
    return total


def plain(*stages: tuple[int, ...]) -> int:
    """Of VGG's convolutions, which have biases."""
    widths = [3, *(width for stage in stages for width in stage)]
    return sum(conv(before, after, 3) + after for before, after in zip(widths, widths[1:], strict=False))


TABLES = {
    "resnet8x4": (residual(32, (64, 128, 256), 1), 256, "mdistiller/models/cifar/resnet.py"),
    "resnet32x4": (residual(32, (64, 128, 256), 5), 256, "mdistiller/models/cifar/resnet.py"),
    "resnet110": (residual(16, (16, 32, 64), 18), 64, "mdistiller/models/cifar/resnet.py"),
    "resnet116": (residual(16, (16, 32, 64), 19), 64, "DefangChen/SimKD models/resnet.py"),
    "resnet110x2": (residual(16, (32, 64, 128), 18), 128, "DefangChen/SimKD models/resnet.py"),
    "vgg11-bn": (plain((64,), (128,), (256,) * 2, (512,) * 4), 512, "mdistiller/models/cifar/vgg.py"),
    "vgg13-bn": (plain((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 4), 512, "mdistiller/models/cifar/vgg.py"),
    "vgg16-bn": (plain((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 6), 512, "mdistiller/models/cifar/vgg.py"),
    "shufflenetv1": (shuffled(), 960, "mdistiller/models/cifar/ShuffleNetv1.py"),
}
"""Where no count is published: the layers that the released code has, counted here, and the channels of the last."""


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("classes", [10, 100])
def test_as_large_as_its_table_of_layers(name: str, classes: int) -> None:
    layers, last, _ = TABLES[name]
    assert parameter_count(on_paper(name, classes=classes)) == layers + (last + 1) * classes


SIDES = {
    32: {
        "resnet8x4": ("stem 32 32, stage1 64 32, stage2 128 16, stage3 256 8"),
        "resnet110x2": ("stem 16 32, stage1 32 32, stage2 64 16, stage3 128 8"),
        "resnet50": ("stem 64 32, stage1 256 32, stage2 512 16, stage3 1024 8, stage4 2048 4"),
        "wrn-40-2": ("stem 16 32, stage1 32 32, stage2 64 16, stage3 128 8"),
        "vgg13-bn": ("stage1 64 32, stage2 128 16, stage3 256 8, stage4 512 4, stage5 512 4"),
        "vgg13-bn+five-pools": ("stage1 64 32, stage2 128 16, stage3 256 8, stage4 512 4, stage5 512 2"),
        "shufflenetv1": ("stem 24 32, stage1 240 16, stage2 480 8, stage3 960 4"),
        "shufflenetv2": ("stem 24 32, stage1 116 16, stage2 232 8, stage3 1024 4"),
        "mobilenetv2": ("stem 32 32, stage1 24 32, stage2 32 16, stage3 96 8, stage4 1280 4"),
    },
    64: {
        "resnet18": ("stem 64 64, stage1 64 64, stage2 128 32, stage3 256 16, stage4 512 8"),
        "vgg13-bn": ("stage1 64 64, stage2 128 32, stage3 256 16, stage4 512 8, stage5 512 4"),
    },
    224: {
        "resnet34+7x7+maxpool": ("stem 64 56, stage1 64 56, stage2 128 28, stage3 256 14, stage4 512 7"),
        "resnet50+7x7+maxpool": ("stem 64 56, stage1 256 56, stage2 512 28, stage3 1024 14, stage4 2048 7"),
        "shufflenetv2+3x3": ("stem 24 56, stage1 116 28, stage2 232 14, stage3 1024 7"),
        "mobilenetv2": ("stem 32 112, stage1 24 56, stage2 32 28, stage3 96 14, stage4 1280 7"),
    },
}
"""Channels and side of each map, as mdistiller's models print them for 32 pixels, and the papers' tables for 224."""


@pytest.mark.parametrize(("size", "name"), [(size, name) for size, names in SIDES.items() for name in names])
def test_maps_are_of_the_published_sizes(size: int, name: str) -> None:
    network = on_paper(name, size, 100).eval()
    seen = network.features(torch.empty(2, 3, size, size, device="meta"))
    said = ", ".join(f"{stage} {one.shape[1]} {one.shape[2]}" for stage, one in seen.maps.items())
    assert said == SIDES[size][name]
    assert seen.logits.shape == (2, 100) and seen.pooled.shape == (2, network.head.in_features)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("resnet50+7x7+maxpool", models.resnet50), ("mobilenetv2", models.mobilenet_v2),
     ("shufflenetv2+3x3", models.shufflenet_v2_x1_0)],
)  # fmt: skip
def test_large_images_are_computed_as_torchvision_does(name: str, theirs: Any) -> None:
    """The numbers of theirs put into ours in order, which is the same in both."""
    network, source = build_classifier(name, image_of(224, 7)).eval(), theirs(num_classes=7).eval()
    own = network.state_dict()
    network.load_state_dict(dict(zip(own, source.state_dict().values(), strict=True)))
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(network(images), source(images), atol=1e-4)


# --- what methods ask of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] * (one in DEEP)) for one in NAMES])
def test_a_step_on_tiny_images(name: str) -> None:
    """Logits are those of the features; BatchNorm statistics and all terms reach the images and every weight."""
    network = build_classifier(name, image_of(32, channels=1))
    images = torch.randn(4, 1, 32, 32, requires_grad=True)
    network.eval()
    seen, distance = observe(network, images)
    assert torch.equal(seen.logits, network(images)) and seen.logits.shape == (4, 10)
    assert torch.equal(network.head(seen.pooled), seen.logits)
    has_norms = any(isinstance(part, nn.BatchNorm2d) for part in network.modules())
    assert (distance.item() > 0) is has_norms
    (gradient,) = torch.autograd.grad(distance + seen.logits.square().sum(), images)
    assert gradient.isfinite().all() and gradient.abs().sum() > 0
    network.train()
    loss = network(images.detach()).logsumexp(dim=1).sum()
    loss.backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in network.parameters())


@pytest.mark.parametrize("size", [8, 28, 64])
@pytest.mark.parametrize(
    "name", ["wrn-16-1", "vgg11-bn", "shufflenetv1", "shufflenetv2", "mobilenetv2-half", "resnet8x4"]
)
def test_other_sizes(name: str, size: int) -> None:
    network = build_classifier(name, image_of(size)).eval()
    assert network(torch.randn(2, 3, size, size)).shape == (2, 10)


def test_five_pools_need_their_pixels() -> None:
    with pytest.raises(RequestError, match="size = 28: should be 32 pixels a side at least for five max-pools"):
        build_classifier("vgg13-bn+five-pools", image_of(28))


# --- names -----------------------------------------------------------------------------------------------------


def test_lists_have_what_suits_the_images_by_family() -> None:
    digits, small, large = (students(size) for size in (8, 32, 224))
    assert list(digits)[:6] == ["lenet5", "lenet5-half", "lenet5-bn", "lenet5-half-bn", "resnet8", "resnet20"]
    assert "vgg13-bn" not in digits and "resnet110" not in digits
    assert {"resnet110", "wrn-40-2", "vgg13-bn", "shufflenetv1", "mobilenetv2-half"} < set(small)
    assert list(large) == [
        "resnet18+7x7+maxpool", "resnet34+7x7+maxpool", "resnet50+7x7+maxpool",
        *(f"vgg{depth}-bn+five-pools+hidden-4096+grid-7" for depth in (11, 13, 16)), "shufflenetv2+3x3", "mobilenetv2",
        "mobilenetv2-half",
    ]  # fmt: skip
    assert small["resnet32x4"] == "ResNet-32×4" and large["resnet18+7x7+maxpool"] == "ResNet-18 (7x7, maxpool)"
    families = [CLASSIFIERS[name].family for name in small]
    assert families == sorted(families, key=families.index), "none is torn apart"
    for size, names in ((8, digits), (32, small), (224, large)):
        assert all(parameter_count(on_paper(name, size)) for name in names)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet9", "should be one of lenet5, lenet5-half, .+, or timm:NAME"),
        ("lenet5+7x7", "has no such option; LeNet-5 has none"),
        ("resnet50+option-a", "has no such option; ResNet-50 has 7x7, maxpool"),
        ("vgg16-bn+7x7", "VGG-16 has five-pools, hidden-512, hidden-4096, grid-7"),
    ],
)
def test_a_name_that_is_none(name: str, says: str) -> None:
    for refuse in (lambda: build_classifier(name, image_of(32)), lambda: check_network(name)):
        with pytest.raises(RequestError, match=says):
            refuse()
    assert title_of("no such") == "no such"


# --- timm ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(find_spec("timm") is not None, reason="it is installed")
def test_without_timm_one_sentence_says_so() -> None:
    for refuse in (lambda: build_classifier("timm:resnet26", image_of(32)), lambda: check_network("timm:resnet26")):
        with pytest.raises(
            RequestError, match="^network = 'timm:resnet26': needs the package timm: pip install timm.$"
        ):
            refuse()
    assert "timm" not in sys.modules


@pytest.mark.skipif(find_spec("timm") is None, reason="it is not installed")
@pytest.mark.parametrize("name", ["resnet26", "regnetx_002", "efficientnet_b0"])
def test_a_network_of_timm(name: str) -> None:
    network = build_classifier(f"timm:{name}", image_of(32)).eval()
    seen = network.features(torch.randn(2, 3, 32, 32))
    assert seen.logits.shape == (2, 10) and torch.allclose(seen.pooled, seen.maps["body"].mean(dim=(2, 3)), atol=1e-6)
    with pytest.raises(RequestError, match="is none of timm's names"):
        build_classifier("timm:no-such", image_of(32))
    with pytest.raises(RequestError, match="should end in the mean of its last map"):
        build_classifier("timm:convnext_atto", image_of(32))


class LikeTimms(nn.Module):
    """The members of timm's networks that are used."""

    default_cfg = {"classifier": "fc"}

    def __init__(self, channels: int, classes: int, scale: float = 1.0) -> None:
        super().__init__()
        self.conv1, self.fc = nn.Conv2d(channels, 5, 3), nn.Linear(5, classes)
        self.num_features, self.scale = 5, scale

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, classes: int) -> None:
        self.fc = nn.Identity()

    def forward_features(self, images: Tensor) -> Tensor:
        return self.conv1(images)

    def forward_head(self, last_map: Tensor) -> Tensor:
        return self.fc(self.scale * last_map.mean(dim=(2, 3)))


@pytest.fixture
def like_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something in timm's place with two networks, of which one does more than average."""

    def create_model(name: str, pretrained: bool, num_classes: int, in_chans: int) -> nn.Module:
        assert not pretrained, "nothing is fetched"
        return LikeTimms(in_chans, num_classes, 2.0 if name == "scaled" else 1.0)

    module = types.ModuleType("timm")
    module.list_models = lambda pattern="*": ["plain", "scaled"]  # type: ignore[attr-defined]
    module.create_model = create_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", module)


def test_what_timm_gives_is_a_classifier(like_timm: None) -> None:
    network = build_classifier("timm:plain", image_of(8, 4, channels=1))
    seen = network.features(torch.randn(2, 1, 8, 8))
    assert seen.logits.shape == (2, 4) and seen.maps["body"].shape == (2, 5, 6, 6)
    assert set(network.state_dict()) == {
        *(f"stages.body.network.conv1.{kind}" for kind in ("weight", "bias")), "head.weight", "head.bias",
    }  # fmt: skip
    with pytest.raises(RequestError, match="should end in the mean"):
        build_classifier("timm:scaled", image_of(8))
    with pytest.raises(RequestError, match="is none of timm's names: plain, scaled"):
        build_classifier("timm:other", image_of(8))
