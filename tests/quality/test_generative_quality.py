"""Figures of latent-variable models: worked examples, closed forms, and networks that come back as they were."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from points import gaussian, line, of_features
from torch import Tensor, nn

from dfkd_core.images import ImageSpec
from dfkd_core.networks.latent import Gaussian, Generated, Inferred, LatentNetwork, build_latent_model, draw_noise
from dfkd_core.provenance import processor
from dfkd_core.quality import latent as found

CPU = torch.device("cpu")
GREY = ImageSpec(1, 4, (0.5,), (0.5,), ("a", "b"))
COLOUR = ImageSpec(3, 32, (0.5,) * 3, (0.5,) * 3, ("a", "b"))

# --- earth mover's distance ------------------------------------------------------------------------------------


def test_points_that_are_all_shifted_are_moved_by_the_shift() -> None:
    points = gaussian(60, 0.0, 1.0, 1)
    shift = torch.tensor([3.0, 4, 0, 0, 0, 0], dtype=torch.float64)
    shuffled = (points + shift)[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    assert found.earth_movers_distance(points, shuffled) == pytest.approx(5.0)
    assert found.earth_movers_distance(points, points.flip(0)) == pytest.approx(0.0, abs=1e-12)


def test_the_cheapest_transport_is_taken_and_weights_are_even() -> None:
    # On a line the order stays: 0 → 1, 2 → 5; half of 0's neighbour 10 goes each way.
    assert found.earth_movers_distance(line(2, 0), line(1, 5)) == pytest.approx((1 + 3) / 2)
    assert found.earth_movers_distance(line(10), line(8, 16)) == pytest.approx((2 + 6) / 2)


# --- maximum mean discrepancy ----------------------------------------------------------------------------------


def test_mmd_of_equal_sets_is_zero_and_the_unbiased_one_below_it() -> None:
    points = gaussian(80, 1.0, 2.0, 1)
    discrepancy = found.maximum_mean_discrepancy(points, points.flip(0))
    assert discrepancy.root == pytest.approx(0.0, abs=1e-7) and discrepancy.squared < 0


def test_mmd_worked_by_hand() -> None:
    # Real 0 and 2: squared distances 0 4 4 0, mean 2, so k = exp(−d²/4). Generated 0 and 4.
    near, far = math.exp(-1), math.exp(-4)  # of distances 2 and 4
    within, own, between = (2 + 2 * near) / 4, (2 + 2 * far) / 4, (1 + far + near + near) / 4
    discrepancy = found.maximum_mean_discrepancy(line(0, 2), line(0, 4))
    assert discrepancy.root == pytest.approx(math.sqrt(within + own - 2 * between))
    assert discrepancy.squared == pytest.approx(near + far - 2 * between)


def test_the_unbiased_mmd_of_two_halves_of_one_distribution_is_around_zero() -> None:
    drawn = [
        found.maximum_mean_discrepancy(gaussian(60, 0.0, 1.0, 2), torch.randn(60, 6).double() @ _mixing())
        for _ in range(30)
    ]
    mean = sum(one.squared for one in drawn) / len(drawn)
    roots = sum(one.root for one in drawn) / len(drawn)
    assert abs(mean) < 0.01 < roots
    assert found.maximum_mean_discrepancy(gaussian(60, 0.0, 1.0, 2), gaussian(60, 9.0, 1.0, 3)).squared > 0.3


def _mixing() -> Tensor:
    return torch.randn(6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_mmd_survives_real_images_that_are_all_the_same() -> None:
    discrepancy = found.maximum_mean_discrepancy(line(1, 1, 1), line(5, 6, 7))
    assert math.isfinite(discrepancy.root) and discrepancy.root > 1


# --- nearest neighbour -----------------------------------------------------------------------------------------


def test_one_nearest_neighbour_cannot_tell_one_distribution_in_two_halves() -> None:
    torch.manual_seed(0)
    both = torch.randn(1200, 5, dtype=torch.float64)
    neighbour = found.one_nearest_neighbour(both[:600], both[600:])
    assert neighbour.accuracy == pytest.approx(0.5, abs=0.05)


def test_one_nearest_neighbour_tells_what_lies_apart_and_never_finds_a_point_itself() -> None:
    real = gaussian(50, 0.0, 1.0, 1)
    assert found.one_nearest_neighbour(real, real + 1000) == (1.0, 1.0, 1.0)
    assert found.one_nearest_neighbour(real, real.clone()) == (0.0, 0.0, 0.0), "every nearest one is the copy"


def test_one_nearest_neighbour_worked_by_hand() -> None:
    # Generated 2 and 2.1 lie among the real ones, next to each other; 2 of 3 real ones are nearest to a real one.
    neighbour = found.one_nearest_neighbour(line(0, 1, 3), line(2.5, 2.6))
    assert neighbour == pytest.approx((4 / 5, 2 / 3, 1.0))


# --- all together ----------------------------------------------------------------------------------------------


def test_the_slides_fid_is_the_root_of_the_standard_one() -> None:
    real = gaussian(300, 0.0, 1.0, 1)
    shifted = real + 2.0
    figures = found.figures(of_features(real), shifted)
    assert figures["fid"] == pytest.approx(6 * 4.0, rel=1e-6), "only the means differ, by 2 in each of 6 dimensions"
    assert figures["root_fid"] == pytest.approx(math.sqrt(24))
    assert figures["emd"] == pytest.approx(math.sqrt(24))
    discrepancy, neighbour = found.maximum_mean_discrepancy(real, shifted), found.one_nearest_neighbour(real, shifted)
    assert (figures["mmd_squared"], figures["root_mmd"]) == discrepancy
    assert (figures["one_nn"], figures["one_nn_real"], figures["one_nn_generated"]) == neighbour


# --- reconstruction --------------------------------------------------------------------------------------------


class Scaled(LatentNetwork):
    """Latents are pixels: the encoder multiplies by ``up``, the decoder by ``down``; the prior's std is ``spread``."""

    noise_shapes = ((1, 4, 4),)

    def __init__(self, up: float, down: float, spread: float = 1.0) -> None:
        super().__init__()
        self.up, self.down = (nn.Parameter(torch.tensor(value)) for value in (up, down))
        self.spread, self.dropout = spread, nn.Dropout(0.5)

    def decoder(self) -> list[nn.Module]:
        return []

    def _prior(self, like: Tensor) -> Gaussian:
        return Gaussian(torch.zeros_like(like), torch.full_like(like, self.spread))

    def generate(self, noise: Sequence[Tensor]) -> Generated:
        latent = self._prior(noise[0]).at(noise[0])
        return Generated(self.dropout(latent) * self.down, (self._prior(latent),), (latent,))

    def infer(self, images: Tensor, noise: Sequence[Tensor] | None = None) -> Inferred:
        posterior = Gaussian(images * self.up, torch.ones_like(images))
        latent = posterior.mean if noise is None else posterior.at(noise[0])
        return Inferred(self.dropout(latent) * self.down, (posterior,), (self._prior(latent),), (latent,))


def bytes_images(count: int = 30) -> Tensor:
    drawn = torch.randint(0, 256, (count, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    return drawn.to(torch.uint8)


def test_what_a_network_gives_back_is_held_against_pixels() -> None:
    images = bytes_images()
    pixels = images.double() / 255
    mse = float((pixels - (pixels * 0.5 + 0.25)).square().mean())  # half of what lies between −1 and 1
    error = found.reconstruction_error(Scaled(2.0, 0.25), images, GREY, CPU)
    assert error.mse == pytest.approx(mse, rel=1e-5) and error.psnr == pytest.approx(-10 * math.log10(mse), rel=1e-5)


def test_a_reconstruction_is_clamped_to_what_an_image_can_show() -> None:
    images = torch.where(bytes_images() > 127, 255, 0).to(torch.uint8)  # −1 and 1, doubled, are still black and white
    assert found.reconstruction_error(Scaled(1.0, 2.0), images, GREY, CPU) == (0.0, None)


def test_a_student_without_an_encoder_takes_its_teachers_through_shared_noise() -> None:
    images = bytes_images()
    # z = 2x, of the teacher's prior ε = 2x/4; of the student's, z = 2·2x/4 = x, and x̂ = ½·x.
    teacher, student = Scaled(2.0, 0.5, spread=4.0), Scaled(77.0, 0.5, spread=2.0)
    half = found.reconstruction_error(Scaled(1.0, 0.5), images, GREY, CPU)
    assert found.reconstruction_error(student, images, GREY, CPU, teacher).mse == pytest.approx(half.mse, rel=1e-5)
    assert found.reconstruction_error(student, images, GREY, CPU).mse > 2 * half.mse


def test_all_levels_of_a_ladder_are_shared_as_noise() -> None:
    torch.manual_seed(0)
    model = build_latent_model("lvae-4", COLOUR).eval()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(found.reconstruct(model, images, model), found.reconstruct(model, images), atol=1e-4)


def test_the_parts_of_a_large_set_weigh_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found.reconstruction_error(Scaled(1.0, 0.3), bytes_images(), GREY, CPU)
    monkeypatch.setattr(found.quality, "BATCH", 7)  # 30 images: the last part has two
    assert found.reconstruction_error(Scaled(1.0, 0.3), bytes_images(), GREY, CPU).mse == pytest.approx(whole.mse)


# --- size and speed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "parameters"), [(128, 5_386_496), (32, 366_656), (8, 30_416)])
def test_an_lvae_is_as_large_as_published(width: int, parameters: int) -> None:
    size = found.size_of(build_latent_model(f"lvae-{width}", COLOUR))
    assert size["parameters"] == parameters
    assert size["megabytes"] == pytest.approx(4 * parameters / 1e6)
    assert size["mebibytes"] == pytest.approx({128: 20.55, 32: 1.40, 8: 0.116}[width], abs=0.005)
    assert 0.4 * parameters < size["decoder_parameters"] < 0.6 * parameters


def test_the_decoder_is_what_generates() -> None:
    model = build_latent_model("conv-vae-8", COLOUR)
    model.generate(draw_noise(model, 2, CPU))[0].sum().backward()
    used = sum(parameter.numel() for parameter in model.parameters() if parameter.grad is not None)
    assert found.size_of(model)["decoder_parameters"] == used


def test_times_are_those_of_the_batch_on_the_named_device() -> None:
    model, seen = Scaled(1.0, 1.0), list[int]()
    model.dropout.register_forward_hook(lambda module, given, made: seen.append(len(given[0])))
    (times,) = found.inference_times([model], CPU, batch=3, repeats=4)
    assert seen == [3] * (found.WARM_UP + 4)
    assert times["batch"] == 3 and times["repeats"] == 4 and times["device"] == f"{processor()}, 1 thread"
    assert times["milliseconds"] > 0 and times["spread"] > 0


def test_a_slower_network_takes_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each on a clock that its own forward moves: 2 ms, and 5, 6, 7 … ms in turn."""
    now = [0.0]
    monkeypatch.setattr(found.time, "perf_counter", lambda: now[0])

    class Ticking(Scaled):
        def __init__(self, first: float, growth: float) -> None:
            super().__init__(1.0, 1.0)
            self.takes, self.growth = first, growth

        def generate(self, noise: Sequence[Tensor]) -> Generated:
            now[0] += self.takes / 1000
            self.takes += self.growth
            return super().generate(noise)

    even, rising = found.inference_times([Ticking(2.0, 0.0), Ticking(5.0, 1.0)], CPU, batch=2, repeats=3)
    assert even["milliseconds"] == pytest.approx(2.0) and even["spread"] == pytest.approx(0.0, abs=1e-9)
    assert rising["milliseconds"] == pytest.approx(8.0) and rising["spread"] == pytest.approx(1.0), "8, 9 and 10"


def test_measuring_leaves_modes_and_generators_alone() -> None:
    model, teacher = Scaled(1.0, 0.5), Scaled(1.0, 0.5)
    model.train()
    teacher.train()
    teacher.dropout.eval()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = found.reconstruction_error(model, bytes_images(), GREY, CPU, teacher)
    assert found.reconstruction_error(model, bytes_images(), GREY, CPU, teacher) == first, "dropout was off"
    found.inference_times([model, teacher], CPU, batch=2, repeats=2)
    assert torch.equal(torch.rand(4), expected)
    assert model.training and model.dropout.training and teacher.training and not teacher.dropout.training
