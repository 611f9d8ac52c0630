"""Speed of the trainer compared with a plain loop: python -m benchmarks.speed.training [--images N] [--json FILE]

The plain loop is the simplest implementation with the same networks, losses and optimisers. It uses eager float32, the
contiguous memory format, and one call of a network for each kind of image, and computes LPIPS on every image. The
trainer runs like ``semantic-aug train --precision bf16``, with D active from the start. With "lpips_every=1" it also
computes LPIPS on every image, so that both do the same work. The loops take turns. The images are noise, because the
speed does not depend on their content.
"""

import argparse
import contextlib
import io
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch

from semantic_aug.data.dataset import ImageSet
from semantic_aug.evaluation.lpips import Perceptual
from semantic_aug.model.networks import PRESETS, Discriminator, Encoder, Generator
from semantic_aug.trainer import losses
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.diffaugment import UNIFORMS, diffaugment
from semantic_aug.trainer.loop import train


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


def _rate(step, config: TrainConfig, device: str) -> float:
    for _ in range(2):
        step()
    steps = config.images // config.batch
    _synchronise(device)
    began = time.perf_counter()
    for _ in range(steps):
        step()
    _synchronise(device)
    return steps * config.batch / (time.perf_counter() - began)


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def ours(config: TrainConfig, data: ImageSet, device: str) -> float:
    """Images per second of the trainer, from the second line of its log. The steps before it are for warming up."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        train(config, data, data.subset([]), folder, device=device)
        lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return [line["images_per_s"] for line in lines if "images_per_s" in line][1]


def main() -> None:
    """Print one line per loop and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--preset", default="fer2013-48")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    network = PRESETS[options.preset]
    size = network.image_size
    images = torch.randint(0, 256, (512, network.channels, size, size), dtype=torch.uint8)
    data = ImageSet(images, torch.zeros(512, dtype=torch.int64), ["noise"], [Path(str(i)) for i in range(512)])

    def config(**more) -> TrainConfig:
        return TrainConfig(
            network=network, images=2 * options.images, batch=64, adversarial_start=0.0, log_images=options.images,
            snapshot_images=10**9, data={"noise": 512}, draw_start=1.0, **more,
        )  # fmt: skip

    contenders = {
        "plain float32 loop": lambda: plain(config(), data, options.device),
        "trainer, lpips_every=1": lambda: ours(config(precision="bf16", lpips_every=1), data, options.device),
        "trainer": lambda: ours(config(precision="bf16"), data, options.device),
    }
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
        print(f"{name:<24} {statistics.median(values):8.1f} images/s   x {result['ratio'][name]:.2f}")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
