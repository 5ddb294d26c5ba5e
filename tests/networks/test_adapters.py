"""Models of other kinds behind the protocol: diffusers' autoencoder, and a GAN with an encoder that is written here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from dfkd_core import methods
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.kit.contract import GenerativeProblem
from dfkd_core.losses.latent import gaussian_kl, guidance, latent_match, output_kl
from dfkd_core.networks.adapters import AutoencoderKLAdapter
from dfkd_core.networks.classifiers import freeze
from dfkd_core.networks.latent import Gaussian, Generated, Inferred, LatentNetwork, draw_noise
from dfkd_core.quality import latent as quality

CPU = torch.device("cpu")


# --- diffusers -------------------------------------------------------------------------------------------------


def tiny_autoencoder(**changes: object) -> AutoencoderKL:
    torch.manual_seed(0)
    settings = {
        "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (4, 8), "norm_num_groups": 2, "latent_channels": 2, "sample_size": 8,
    }  # fmt: skip
    return AutoencoderKL(**{**settings, **changes}).eval()


def pictures(count: int = 3, channels: int = 3, size: int = 8) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("shift", [None, 0.3])
def test_an_autoencoder_of_diffusers_sees_and_makes_what_it_does_alone(shift: float | None) -> None:
    alone = tiny_autoencoder(scaling_factor=0.2, shift_factor=shift)
    model, images = AutoencoderKLAdapter(alone, 8), pictures()
    assert isinstance(model, LatentNetwork) and model.noise_shapes == ((2, 4, 4),)
    with torch.no_grad():
        inferred, theirs = model.infer(images), alone.encode(images).latent_dist
        latent = (theirs.mean - (shift or 0.0)) * 0.2  # what a latent diffusion model is trained on
        assert torch.allclose(inferred.posterior[0].mean, latent)
        assert torch.allclose(inferred.posterior[0].std, theirs.std * 0.2)
        assert torch.allclose(inferred.images, alone(images).sample, atol=1e-5)
        assert torch.equal(model.generate(inferred.noise).images, inferred.images)
        noise = draw_noise(model, 3, CPU)
        drawn = model.infer(images, noise)
        assert torch.allclose(drawn.latents[0], latent + theirs.std * 0.2 * noise[0])
        assert model.generate(noise).images.shape == images.shape
    assert float(gaussian_kl(inferred.prior[0], Gaussian(torch.zeros(3, 2, 4, 4), torch.ones(3, 2, 4, 4))).sum()) == 0


def test_its_decoder_is_what_generates() -> None:
    model = AutoencoderKLAdapter(tiny_autoencoder(), 8)
    model.generate(draw_noise(model, 2, CPU)).images.sum().backward()
    used = sum(parameter.numel() for parameter in model.parameters() if parameter.grad is not None)
    assert quality.size_of(model)["decoder_parameters"] == used < quality.size_of(model)["parameters"]
    bare = AutoencoderKLAdapter(tiny_autoencoder(use_post_quant_conv=False, use_quant_conv=False), 8)
    assert len(bare.decoder()) == 1


def test_it_can_be_taught_by_a_larger_one_of_its_kind_and_guide() -> None:
    teacher = freeze(AutoencoderKLAdapter(tiny_autoencoder(block_out_channels=(8, 8)), 8))
    student = AutoencoderKLAdapter(tiny_autoencoder(), 8)
    optimizer = torch.optim.Adam([one for part in student.decoder() for one in part.parameters()], 3e-3)
    losses = []
    for _ in range(30):
        noise = draw_noise(teacher, 8, CPU)
        answers = teacher.generate(noise), student.generate(noise)
        loss = output_kl(*answers) + 0.1 * latent_match(answers[0].prior, answers[1].prior)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    images = pictures().requires_grad_()
    guidance(images, teacher.infer(images), ImageSpec(3, 8, (0.5,) * 3, (0.5,) * 3, ()), 1.0, 0.1).sum().backward()
    assert images.grad is not None and (images.grad.flatten(1).norm(dim=1) > 0).all()


def test_it_is_loaded_from_a_local_folder(tmp_path: Path) -> None:
    alone, images = tiny_autoencoder(), pictures()
    alone.save_pretrained(tmp_path / "vae")
    with torch.no_grad():
        loaded = AutoencoderKLAdapter.load(tmp_path / "vae", 8)(images)
        assert torch.equal(loaded, AutoencoderKLAdapter(alone, 8)(images))


def test_what_cannot_be_loaded_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="is no AutoencoderKL that can be loaded"):
        AutoencoderKLAdapter.load(tmp_path, 8)
    tiny_autoencoder().save_pretrained(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(RequestError, match="is no AutoencoderKL that can be loaded"):
        AutoencoderKLAdapter.load(tmp_path, 8)
    with pytest.raises(RequestError, match="multiple of 2"):
        AutoencoderKLAdapter(tiny_autoencoder(), 7)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(RequestError, match="needs the package diffusers: pip install diffusers"):
        AutoencoderKLAdapter.load(tmp_path, 8)


# --- a model of one's own --------------------------------------------------------------------------------------

IMAGE = ImageSpec(1, 4, (0.5,), (0.5,), ("a", "b"))
INSIDE = 3  # dimensions of the latent


class LinearGAN(LatentNetwork):
    """A GAN's generator x = Wz with an encoder that inverts it; it is as sure of its latents as ``SURE`` says."""

    noise_shapes = ((INSIDE,),)
    SURE = 0.5

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.generator, self.encoder = nn.Linear(INSIDE, 16, bias=False), nn.Linear(16, INSIDE, bias=False)
        nn.init.orthogonal_(self.generator.weight)
        self.encoder.weight.data = self.generator.weight.data.T.clone()

    def decoder(self) -> list[nn.Module]:
        return [self.generator]

    def _prior(self, latent: Tensor) -> Gaussian:
        return Gaussian(torch.zeros_like(latent), torch.ones_like(latent))

    def _picture(self, latent: Tensor) -> Tensor:
        return self.generator(latent).view(-1, 1, 4, 4)

    def generate(self, noise: Sequence[Tensor]) -> Generated:
        return Generated(self._picture(noise[0]), (self._prior(noise[0]),), (noise[0],))

    def infer(self, images: Tensor, noise: Sequence[Tensor] | None = None) -> Inferred:
        mean = self.encoder(images.flatten(1))
        posterior = Gaussian(mean, torch.full_like(mean, self.SURE))
        latent = mean if noise is None else posterior.at(noise[0])
        return Inferred(self._picture(latent), (posterior,), (self._prior(latent),), (latent,))


def test_the_method_teaches_any_model_of_the_protocol() -> None:
    teacher, student = freeze(LinearGAN(0)), LinearGAN(1)
    method_class = methods.find("ukd")
    config = method_class.Config.build("demo", {"distill_steps": 150, "batch_size": 16, "student_lr": 0.02})
    encoder = student.encoder.weight.clone()

    def apart() -> float:
        return float((student.generator.weight - teacher.generator.weight).detach().abs().max())

    before = apart()
    for _ in method_class(GenerativeProblem(teacher, student, IMAGE, CPU), config).train():
        pass
    assert before > 0.3 and apart() < 0.05
    assert torch.equal(student.encoder.weight, encoder), "nothing teaches it"


def test_guidance_pulls_images_to_what_such_a_model_knows() -> None:
    """x descends ‖x − WWᵀx‖² + kl·KL, so that what lies outside of W's range decays, and Wᵀx shrinks towards 0."""
    model, images = freeze(LinearGAN(0)), pictures(8, 1, 4)
    onto = model.generator.weight @ model.encoder.weight  # the projection onto what the generator can make
    guided = images.clone().requires_grad_()
    for _ in range(100):
        (gradient,) = torch.autograd.grad(guidance(guided, model.infer(guided), IMAGE, 1.0, 0.0).sum(), guided)
        guided = (guided.detach() - 0.25 * gradient).requires_grad_()
    expected = (images.flatten(1) @ onto.T).view_as(images)
    assert torch.allclose(guided, expected, atol=1e-4) and not torch.allclose(images, expected, atol=0.1)
    (gradient,) = torch.autograd.grad(guidance(guided, model.infer(guided), IMAGE, 0.0, 1.0).sum(), guided)
    latent = model.infer(guided).posterior[0].mean
    assert torch.allclose(gradient.flatten(1), latent @ model.encoder.weight, atol=1e-5), "½z²"


def test_such_a_model_is_measured() -> None:
    model = LinearGAN(0)
    assert quality.size_of(model) == {
        "parameters": 96, "decoder_parameters": 48, "megabytes": 96 * 4 / 1e6, "mebibytes": 96 * 4 / 2**20
    }  # fmt: skip
    images = model.generate(draw_noise(model, 40, CPU, torch.Generator().manual_seed(0))).images.detach()
    known = (IMAGE.to_pixels(images).clamp(0, 1) * 255).round().to(torch.uint8)
    fit = quality.reconstruction_error(model, known, IMAGE, CPU)
    foreign = ((pictures(40, 1, 4) + 1) * 127.5).round().to(torch.uint8)
    assert fit.mse < 0.2 * quality.reconstruction_error(model, foreign, IMAGE, CPU).mse
    other = quality.reconstruction_error(LinearGAN(1), known, IMAGE, CPU, encoder=model)
    assert other.mse > 5 * fit.mse
    assert quality.inference_times([model], CPU, batch=4, repeats=2)[0]["batch"] == 4
