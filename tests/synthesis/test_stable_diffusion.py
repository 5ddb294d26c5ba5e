"""Stable Diffusion as a source, with a tiny pipeline of its classes that knows nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_knobs
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from stepping import own_generator, same, weights  # noqa: F401 - its own generator in every test here
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.runs.memory import foretold_peak
from dfkd_core.runs.request import make_spec
from dfkd_core.synthesis.guided import Film
from dfkd_core.synthesis.stable_diffusion import StableDiffusion, load_stable_diffusion, prompts_for, room

CPU = torch.device("cpu")
CIFAR10 = find_benchmark("cifar10").image
LABELS = torch.tensor([0, 1, 0])


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Knows letters, and no words."""
    folder.mkdir()
    letters = [chr(code) for code in range(33, 127)]
    known = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(known)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=40)


def write_pipeline(folder: Path, **scheduler: Any) -> Path:
    """A pipeline of the same classes as Stable Diffusion's, as small as they go."""
    torch.manual_seed(0)
    words = tokenizer(folder.parent / f"{folder.name}-tokenizer")
    width = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    text = CLIPTextModel(CLIPTextConfig(vocab_size=len(words), max_position_embeddings=40, **width))
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8, attention_head_dim=2,
    )  # fmt: skip
    autoencoder = AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4, sample_size=16,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    noise = DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        steps_offset=1,
        **scheduler,
    )
    pipeline = StableDiffusionPipeline(autoencoder, text, words, unet, noise, None, None, requires_safety_checker=False)
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    folder = write_pipeline(tmp_path_factory.mktemp("hub") / "tiny")
    return load_stable_diffusion(str(folder), CIFAR10.classes, CPU)


def brightness(images: Tensor) -> Tensor:
    return images.flatten(1).mean(dim=1)


def sample(model: StableDiffusion, seed: int = 1, image: ImageSpec = CIFAR10, **changes: Any) -> tuple[Tensor, Film]:
    torch.manual_seed(seed)
    usual = {"loss": brightness, "labels": LABELS, "steps": 5, "strength": 0.0, "class_guidance": 3.0, "image": image}
    return model.guided(**{**usual, **changes})


# --- synthesis -------------------------------------------------------------------------------------------------


def test_the_prompts_of_a_class_take_turns_wherever_its_images_stand(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With as many classes as prompts, classes in turn would each keep to one of them."""
    told: list[list[str]] = []
    encode = model.pipeline.encode_prompt
    monkeypatch.setattr(
        model.pipeline, "encode_prompt", lambda prompts, *more: told.append(prompts) or encode(prompts, *more)
    )
    sample(model, labels=torch.tensor([0, 1, 0, 1]), steps=1)
    (first, second, *_), (other, another, *_) = (prompts_for(name) for name in model.names[:2])
    assert told == [[first, other, second, another]] and len({*told[0]}) == 4


def test_the_prompts_of_a_class_take_turns_from_batch_to_batch(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if all were one batch: with as many images as classes, each would keep to its first prompt."""
    told: list[list[str]] = []
    encode = model.pipeline.encode_prompt
    monkeypatch.setattr(
        model.pipeline, "encode_prompt", lambda prompts, *more: told.append(prompts) or encode(prompts, *more)
    )
    labels = torch.arange(24) % len(model.names)
    sample(model, labels=labels, steps=1)
    for size in (4, 10):
        for made, part in zip(range(0, 24, size), labels.split(size), strict=True):
            sample(model, labels=part, steps=1, made=made)
    whole, *parts = told
    assert sum(parts[:6], []) == sum(parts[6:], []) == whole and len({*whole[::10]}) == 3


def test_unguided_it_makes_what_the_pipeline_itself_makes(model: StableDiffusion) -> None:
    """The same steps, guidance and prompts; the pipeline's own DDIM must be told to go at the same times."""
    images, film = sample(model)
    torch.manual_seed(1)
    start = torch.randn(3, 4, 8, 8)
    pipeline = model.pipeline
    prompts = [model.prompt(label, LABELS[:index].tolist().count(label)) for index, label in enumerate(LABELS.tolist())]
    theirs = StableDiffusionPipeline(
        **{**pipeline.components, "scheduler": DDIMScheduler.from_config(
            pipeline.scheduler.config, timestep_spacing="trailing", set_alpha_to_one=True, clip_sample=False
        )}, requires_safety_checker=False,
    )  # fmt: skip
    theirs.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": 5, "guidance_scale": 3.0, "height": 16, "width": 16}
    pixels = theirs(prompts, latents=start, output_type="pt", **settings).images
    assert film.timesteps.tolist() == theirs.scheduler.timesteps.tolist() == [999, 799, 599, 399, 199]
    pixels = F.interpolate(pixels, (32, 32), mode="bilinear", antialias=True)
    assert torch.allclose(CIFAR10.to_pixels(images), pixels, atol=1e-3)
    assert images.shape == (3, 3, 32, 32) and film.frames.shape == (5, 3, 3, 32, 32)


def test_the_gradient_reaches_the_latents_and_lowers_the_loss(model: StableDiffusion) -> None:
    before = [weights(part) for part in (model.pipeline.unet, model.pipeline.vae)]
    plain, guided = (sample(model, strength=strength)[0] for strength in (0.0, 0.5))
    assert (brightness(guided) < brightness(plain) - 0.02).all()
    again, other = sample(model, strength=0.5)[0], sample(model, seed=2, strength=0.5)[0]
    assert torch.equal(guided, again) and not torch.equal(guided, other)
    after = [part.state_dict() for part in (model.pipeline.unet, model.pipeline.vae)]
    assert all(map(same, before, after)) and not guided.requires_grad


def test_the_last_step_only_denoises(model: StableDiffusion) -> None:
    """Nothing after it would take away what a correction leaves in latents, which have no bound."""
    plain, guided = (sample(model, strength=strength, steps=1)[0] for strength in (0.0, 3.0))
    assert torch.equal(plain, guided)
    graphs: list[bool] = []

    def loss(images: Tensor) -> Tensor:
        graphs.append(torch.is_grad_enabled())
        return brightness(images)

    sample(model, loss=loss, strength=3.0, steps=3)
    assert graphs == [True, True, False]


def test_prompts_decide_what_is_made(model: StableDiffusion) -> None:
    one, other = (sample(model, labels=torch.tensor([label] * 3))[0] for label in (0, 1))
    assert not torch.allclose(one, other, atol=1e-4)
    own = prompts_for("airplane")
    assert [model.prompt(0, index) for index in range(4)] == [*own, own[0]]


def test_images_are_those_of_the_teacher(model: StableDiffusion) -> None:
    digits = find_benchmark("digits").image
    images, _ = sample(model, image=digits, steps=1)
    assert images.shape == (3, 1, 8, 8)
    pixels = digits.to_pixels(images)
    assert pixels.min() > -1e-5 and pixels.max() < 1 + 1e-5 and len(model.names) == 10


# --- memory ----------------------------------------------------------------------------------------------------


def test_images_are_the_same_however_many_are_predicted_at_once(model: StableDiffusion) -> None:
    """Also where the loss is one of the whole batch, as DiffDFKD's."""

    def spread(images: Tensor) -> Tensor:
        bright = brightness(images)
        return (bright - bright.mean()).square().sum().expand(len(images))

    for loss in (brightness, spread):
        whole, *others = (sample(replace(model, at_once=count), loss=loss, strength=0.5) for count in (3, 2, 1))
        for images, film in others:
            assert torch.allclose(images, whole[0], atol=1e-3) and torch.allclose(film.loss, whole[1].loss, atol=1e-4)
            assert torch.allclose(film.frames, whole[1].frames, atol=1e-3)


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_network_is_given_more_images_at_once(model: StableDiffusion, at_once: int) -> None:
    seen = dict[str, list[int]](unet=[], vae=[])
    decoder = model.pipeline.vae.post_quant_conv
    hooks = [
        model.pipeline.unet.register_forward_pre_hook(lambda _, given: seen["unet"].append(len(given[0]))),
        decoder.register_forward_pre_hook(lambda _, given: seen["vae"].append(len(given[0]))),
    ]
    sample(replace(model, at_once=at_once), strength=0.5)
    for hook in hooks:
        hook.remove()
    assert max(seen["unet"]) == 2 * at_once and max(seen["vae"]) == at_once, "the UNet sees each image twice"


@pytest.mark.parametrize(("free", "unused", "count"), [(80e9, 0.0, 8), (80e9, 6e9, 9), (5e9, 0.0, 1)])
def test_a_gpu_takes_as_many_images_as_it_has_room_for(
    monkeypatch: pytest.MonkeyPatch, free: float, unused: float, count: int
) -> None:
    held = {"mem_get_info": (int(free), 0), "memory_reserved": int(4e9 + unused), "memory_allocated": int(4e9)}
    for name, answer in held.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, answer=answer: answer)
    assert room(torch.device("cuda:0")) == count and room(CPU) == 1


def test_its_peak_is_foretold_from_whole_batches_however_small(
    model: StableDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[int]()
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 123)
    guided = StableDiffusion.guided
    monkeypatch.setattr(
        StableDiffusion,
        "guided",
        lambda self, loss, labels, *more: made.append(len(labels)) or guided(self, loss, labels, *more),
    )
    folder = str(write_pipeline(tmp_path / "tiny"))
    for source, peak in (("stable-diffusion", 123), ("latents", None)):
        knobs = {**tiny_knobs("ukd"), "source": source, "synthesis_size": 3}
        assert foretold_peak(make_spec(knobs, method="ukd", diffusion=folder)) == peak
    assert made == [3, 3]


# --- prompts ---------------------------------------------------------------------------------------------------


def test_every_class_of_cifar10_and_attributes_of_celeba_have_prompts() -> None:
    prompts = [prompts_for(name) for name in CIFAR10.classes]
    assert len(prompts) == 10 and all(len(set(own)) == 3 for own in prompts)
    assert prompts[0][0] == "a photo of an airplane" and prompts[9][0] == "a photo of a truck"
    assert prompts_for("Eyeglasses") == ("a high-resolution portrait photo of a person with eyeglasses",)
    assert "handwritten digit 7" in prompts_for("7")[0]
    assert prompts_for("sea_lion")[0] == "a photo of a sea lion"


# --- loading ---------------------------------------------------------------------------------------------------


def refused(name: str) -> str:
    with pytest.raises(RequestError) as caught:
        load_stable_diffusion(name, CIFAR10.classes, CPU)
    assert caught.value.field == "diffusion"
    return str(caught.value)


def test_without_diffusers_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert "pip install diffusers transformers" in refused("anything")


def test_a_folder_without_a_pipeline_and_one_that_predicts_something_else_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "of a Stable Diffusion pipeline" in refused(str(tmp_path))
    assert "of a Stable Diffusion pipeline" in refused("no folder and no id")
    other = write_pipeline(tmp_path / "other", prediction_type="v_prediction")
    assert "epsilon" in refused(str(other))


def test_the_pipeline_is_frozen(model: StableDiffusion) -> None:
    parts = (model.pipeline.unet, model.pipeline.vae, model.pipeline.text_encoder)
    assert not any(part.training or any(one.requires_grad for one in part.parameters()) for part in parts)
