"""Speed of the trainer compared with a plain loop: python -m benchmarks.speed.training [--images N] [--json FILE]

The plain loop is the simplest implementation with the same networks, losses and optimisers. It uses eager float32, the
contiguous memory format, and one call of a network for each kind of image, and computes LPIPS on every image. The
trainer runs like ``semantic-aug train --precision bf16``, with D active from the start. "one class" has no losses that
need classes and no draws, and with "lpips_every=1" it also computes LPIPS on every image, so that it does the same work
as the plain loop. "everything on" is conditional on 7 classes and has the class head, the classifier f and draws from
the start. "compiled" also has ``--compile``. The loops take turns. On a CPU the processor time is measured, so that
other programs on the machine have little effect. The images are noise, because the speed does not depend on their
content.
"""

import argparse
import contextlib
import io
import json
import platform
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks.speed.arms import clock
from semantic_aug.data.dataset import ImageSet
from semantic_aug.evaluation.lpips import Perceptual
from semantic_aug.model.networks import PRESETS, Discriminator, Encoder, Generator, NetworkConfig
from semantic_aug.trainer import losses
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.diffaugment import UNIFORMS, diffaugment
from semantic_aug.trainer.loop import train

IMAGES, CLASSES = 512, 7


def plain(config: TrainConfig, data: ImageSet, device: str) -> float:
    """Images per second of the plain loop."""
    network, n = config.network, config.batch
    encoder, generator = Encoder(network).to(device), Generator(network).to(device)
    discriminator, perceptual = Discriminator(network).to(device), Perceptual().to(device)
    autoencoder = [*encoder.parameters(), *generator.parameters()]
    optimizer_ae = torch.optim.Adam(autoencoder, config.learning_rate, betas=(0.5, 0.99))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), config.learning_rate, betas=(0.0, 0.99))

    def shown(images: torch.Tensor) -> torch.Tensor:
        return diffaugment(images, torch.rand(len(images), UNIFORMS, device=device))

    def step() -> None:
        x = data.batch(torch.randint(len(data), (n,))).to(device)
        mu, logvar = encoder(x)
        y = generator(mu + (0.5 * logvar).exp() * torch.randn_like(mu))
        sampled = generator(torch.randn_like(mu[: n // 2]))
        fake = torch.cat([y[: n // 2], sampled])
        d_loss = losses.hinge_discriminator(discriminator(shown(x)), discriminator(shown(fake.detach())))
        optimizer_d.zero_grad()
        d_loss.backward()
        optimizer_d.step()
        loss = losses.l1(x, y) + config.lpips_weight * perceptual(x, y).mean()
        loss = loss + config.kl_weight * losses.kl(mu, logvar) + 0.05 * losses.hinge_generator(discriminator(fake))
        optimizer_ae.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), config.gradient_clip)
        optimizer_ae.step()

    return _rate(step, config, device)


def _rate(step: Callable[[], None], config: TrainConfig, device: str) -> float:
    for _ in range(2):
        step()
    steps = max(config.log_images // config.batch, 1)
    began = clock(torch.device(device))
    for _ in range(steps):
        step()
    return steps * config.batch / (clock(torch.device(device)) - began)


def ours(config: TrainConfig, data: ImageSet, device: str, *, compile: bool = False) -> float:
    """Images per second of the trainer, from the second line of its log. The steps before it are for warming up."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
        patch("semantic_aug.trainer.loop.time.monotonic", partial(clock, torch.device(device))),
    ):
        train(config, data, data.subset([]), folder, device=device, compile=compile)
        lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return [line["images_per_s"] for line in lines if "images_per_s" in line][1]


def noise(network: NetworkConfig, classes: int) -> ImageSet:
    """Images of noise, with labels that are independent of them."""
    shape = (IMAGES, network.channels, network.image_size, network.image_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    names = [str(label) for label in range(classes)]
    return ImageSet(images, torch.arange(IMAGES) % classes, names, [Path(str(i)) for i in range(IMAGES)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line per loop and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1280, help="images to measure; as many come first to warm up")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--preset", default="fer2013-48")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="measure the compiled trainer too")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    network = PRESETS[options.preset]
    one, several = noise(network, 1), noise(network, CLASSES)
    common = {
        "images": 2 * options.images, "log_images": options.images, "snapshot_images": 10**9, "batch": options.batch,
        "adversarial_start": 0.0, "classifier_epochs": 1,
    }  # fmt: skip
    simple = TrainConfig(network=network, draw_start=1.0, data={"0": IMAGES}, **common)
    mixed = replace(simple, precision="bf16")
    everything = TrainConfig(
        network=replace(network, num_classes=CLASSES), draw_start=0.0, precision="bf16", **common
    )  # fmt: skip
    contenders = {
        "plain float32 loop": partial(plain, simple, one, options.device),
        "trainer, one class, lpips_every=1": partial(ours, replace(mixed, lpips_every=1), one, options.device),
        "trainer, one class": partial(ours, mixed, one, options.device),
        "trainer, everything on": partial(ours, everything, several, options.device),
    }
    if options.compile:
        name = "trainer, everything on"
        contenders[f"{name}, compiled"] = partial(contenders[name], compile=True)
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.repeats):
        for name, run in contenders.items():
            rates[name].append(run())
    base = statistics.median(rates["plain float32 loop"])
    result = {
        "preset": options.preset, "device": options.device, "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "images_per_s": {name: [round(rate, 1) for rate in values] for name, values in rates.items()},
        "ratio": {name: round(statistics.median(values) / base, 2) for name, values in rates.items()},
    }  # fmt: skip
    for name, values in rates.items():
        print(f"{name:<34} {statistics.median(values):8.1f} images/s   x {result['ratio'][name]:.2f}")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
