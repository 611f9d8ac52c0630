"""The training loop: discriminator phase and autoencoder phase of every step, read from top to bottom."""

import platform
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import semantic_aug
from semantic_aug import preview
from semantic_aug.artifact import Artifact
from semantic_aug.trainer import losses
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.data import EndlessOrder, ImageSet, seeded
from semantic_aug.trainer.diffaugment import diffaugment
from semantic_aug.trainer.evaluate import reconstruction
from semantic_aug.trainer.fit import fit_statistics
from semantic_aug.trainer.log import Averages, RunLog
from semantic_aug.trainer.pca import start_as_pca
from semantic_aug.trainer.perceptual import Perceptual
from semantic_aug.trainer.state import TrainState

if TYPE_CHECKING:
    from accelerate import Accelerator

STATE, PREVIEWS, CHECKPOINT = "state", "previews", "checkpoint"
SNAPSHOT_IMAGES = (
    1024  # held-out images measured, and training images whose statistics serve the picture, at a snapshot
)


class TrainingError(RuntimeError):
    """Training cannot go on; the last good state is kept."""


def train(
    config: TrainConfig,
    data: ImageSet,
    held_out: ImageSet,
    output: str | Path,
    *,
    every_image: ImageSet | None = None,
    device: str | None = None,
    minutes: float | None = None,
) -> Artifact | None:
    """Train, or go on training, and write the artifact to ``output/checkpoint``.

    Args:
        config: what to compute; the same as that of a state found below ``output``.
        data: training images. held_out: images to measure reconstruction on, never trained on.
        output: gets ``state/``, ``previews/``, ``log.jsonl`` and, at the end, ``checkpoint/``.
        every_image: images that the statistics count (None: ``data``).
        device: "cpu", "cuda", "cuda:1", "mps" or None (the best there is).
        minutes: ends this sitting after so long; the state is saved.

    Returns the artifact, or None where the sitting ended first. Ctrl-C saves the state and raises
    KeyboardInterrupt. Raises StateError, TrainingError, and OSError where nothing can be written.
    """
    output = Path(output)
    accelerator = _accelerator(config.precision, device)
    state = TrainState(config, accelerator.device)
    resumed = state.resume(output / STATE, config)
    if not resumed:
        start_as_pca(state.encoder, state.generator, data, config.seed)
        state.update_ema(decay=0)
    if state.images_seen >= config.images and (output / CHECKPOINT).exists():
        print(f"{output / CHECKPOINT} is finished ({state.images_seen} images); nothing to do")
        return Artifact.load(output / CHECKPOINT)
    perceptual = Perceptual(config.lpips_net).to(accelerator.device) if config.lpips_weight else None
    encoder, generator, discriminator, optimizer_ae, optimizer_d = accelerator.prepare(
        state.encoder, state.generator, state.discriminator, state.autoencoder_optimizer, state.discriminator_optimizer
    )
    order = EndlessOrder(len(data), config.seed)
    lpips_count = max(1, round(config.batch * config.lpips_fraction))
    averages = Averages()
    began, began_seconds = time.monotonic(), state.seconds
    logged_at, logged_images = began, state.images_seen

    with RunLog(output, config.images, state.images_seen) as log, _interrupt_flag() as interrupted:
        log.say(
            f"{'going on' if resumed else 'starting'} at {state.images_seen} of {config.images} images, "
            f"{len(data)} to train on, {len(held_out)} held out, on {accelerator.device}"
        )
        while state.images_seen < config.images:
            # Everything random at this step comes from (seed, images_seen), so that a resumed run repeats it.
            draws = seeded(config.seed, "step", state.images_seen)
            progress = state.images_seen / config.images
            adversarial = config.adversarial_weight > 0 and progress >= config.adversarial_start
            state.set_learning_rate(losses.learning_rate(progress, config.learning_rate, config.decay))

            x = data.batch(order(state.images_seen, config.batch))
            if config.flip:
                mirrored = torch.rand(len(x), generator=draws) < 0.5
                x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
            x = x.to(accelerator.device, memory_format=torch.channels_last)
            noise = torch.randn(len(x), config.network.latent_dim, generator=draws).to(x.device)

            # Encode, sample (Eq. 1), decode; with an active D decode draws from the prior as well.
            mu, logvar = encoder(x)
            z = mu + (0.5 * logvar).exp() * noise
            prior = torch.randn(len(x) // 2 if adversarial else 0, config.network.latent_dim, generator=draws)
            y, sampled = generator(torch.cat([z, prior.to(z.device)])).split([len(x), len(prior)])

            # Discriminator phase. D sees as many generated images as real ones, reconstructions and prior samples.
            if adversarial:
                fake = torch.cat([y[: len(x) - len(prior)], sampled])
                shown = torch.cat([x, fake.detach()])
                if config.uses_diffaugment:
                    shown = diffaugment(shown, draws)
                real_score, fake_score = discriminator(shown).chunk(2)
                d_loss = losses.hinge_discriminator(real_score, fake_score)
                _check_finite({"d_loss": d_loss}, state.images_seen, output)
                optimizer_d.zero_grad(set_to_none=True)
                accelerator.backward(d_loss)
                optimizer_d.step()
                averages.add(d_loss=d_loss, d_real=real_score.mean(), d_fake=fake_score.mean())

            # Autoencoder phase: L1 + LPIPS (Eq. 3), KL (Eq. 2), and the adversarial loss.
            kl_weight = losses.kl_weight(progress, config.kl_weight)
            terms = {"l1": losses.l1(x, y), "kl": losses.kl(mu, logvar)}
            loss = terms["l1"] + kl_weight * terms["kl"]
            if perceptual:
                with accelerator.autocast():
                    terms["lpips"] = perceptual(x[:lpips_count], y[:lpips_count]).float().mean()
                loss = loss + config.lpips_weight * terms["lpips"]
            if adversarial:
                discriminator.requires_grad_(False)
                fake = torch.cat([y[: len(x) - len(prior)], sampled])
                score = discriminator(diffaugment(fake, draws) if config.uses_diffaugment else fake)
                terms["g_loss"] = losses.hinge_generator(score)
                loss = loss + config.adversarial_weight * terms["g_loss"]
            optimizer_ae.zero_grad(set_to_none=True)
            accelerator.backward(loss)
            discriminator.requires_grad_(True)
            norm = accelerator.clip_grad_norm_(encoder.parameters(), config.gradient_clip)
            terms["grad_norm"] = torch.as_tensor(norm)
            _check_finite(terms, state.images_seen, output)
            optimizer_ae.step()
            averages.add(**terms)

            previous, state.images_seen = state.images_seen, state.images_seen + config.batch
            state.update_ema(losses.ema_decay(state.images_seen, config.batch, config.ema_images))
            state.seconds = began_seconds + time.monotonic() - began
            log.advance(config.batch)

            done = state.images_seen >= config.images
            stop = interrupted() or (minutes is not None and time.monotonic() - began >= 60 * minutes)
            if done or stop or _crosses(previous, state.images_seen, config.log_images):
                now = time.monotonic()
                rate = (state.images_seen - logged_images) / (now - logged_at)
                logged_at, logged_images = now, state.images_seen
                log.record(state.images_seen, averages.take() | {"kl_weight": kl_weight, "images_per_s": rate})
            if done or stop or _crosses(previous, state.images_seen, config.snapshot_images):
                state.save(output / STATE, config)
                _snapshot(state, config, data, held_out, perceptual, output, log)
            if stop and not done:
                log.say(f"stopped at {state.images_seen} of {config.images} images; the same command goes on")
                if interrupted():
                    raise KeyboardInterrupt
                return None

    artifact = _artifact(state, config, every_image or data)
    artifact.reconstruction = reconstruction(artifact, held_out, perceptual) if len(held_out) else {}
    artifact.save(output / CHECKPOINT, overwrite=True, half=True)
    print(f"wrote {output / CHECKPOINT}: {artifact.reconstruction}")
    return artifact


def _accelerator(precision: str, device: str | None) -> "Accelerator":
    from accelerate import Accelerator

    if device is not None:
        kind = torch.device(device).type
        if kind == "cuda":
            torch.cuda.set_device(device if ":" in device else 0)
    mixed = {"fp32": "no"}.get(precision, precision)
    return Accelerator(mixed_precision=mixed, cpu=device == "cpu")


def _crosses(before: int, after: int, interval: int) -> bool:
    return before // interval != after // interval


def _check_finite(terms: dict[str, Tensor], images_seen: int, output: Path) -> None:
    """Stop before a step that would spoil the weights, naming the term."""
    finite = torch.stack([term.detach().float() for term in terms.values()]).isfinite().tolist()
    for (name, term), good in zip(terms.items(), finite, strict=True):
        if not good:
            raise TrainingError(
                f"{name} is {float(term.detach())} in the step after {images_seen} images; "
                f"the last good state is kept in {output / STATE}"
            )


@contextmanager
def _interrupt_flag() -> Iterator:
    """Turn Ctrl-C into a flag, so that a step is never cut in two."""
    received: list[int] = []
    try:
        old = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    except ValueError:  # not the main thread: signals are somebody else's
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGINT, old)


def _artifact(state: TrainState, config: TrainConfig, data: ImageSet) -> Artifact:
    return Artifact(
        encoder=state.ema_encoder,
        generator=state.ema_generator,
        network=config.network,
        statistics=fit_statistics(state.ema_encoder, data),
        classes=data.classes,
        training={
            "images": len(data),
            "images_seen": state.images_seen,
            "seconds": round(state.seconds),
            "seed": config.seed,
            "precision": config.precision,
            "world_size": 1,
            "versions": {
                "python": platform.python_version(),
                "semantic_aug": semantic_aug.__version__,
                "torch": torch.__version__,
            },
        },
    )


def _snapshot(
    state: TrainState, config: TrainConfig, data: ImageSet, held_out: ImageSet, perceptual: Perceptual | None,
    output: Path, log: RunLog,
) -> None:  # fmt: skip
    """Measure the averaged networks on held-out images and draw a picture of them."""
    some = data.subset(torch.randperm(len(data), generator=seeded(config.seed, "snapshot"))[:SNAPSHOT_IMAGES])
    artifact = _artifact(state, config, some)
    shown = held_out if len(held_out) else data
    if len(held_out):
        measured = held_out.subset(range(min(len(held_out), SNAPSHOT_IMAGES)))
        figures = reconstruction(artifact, measured, perceptual)
        log.record(state.images_seen, {f"held_out_{k}": v for k, v in figures.items() if k.endswith("_mean")})
    chosen = preview.first_of_each_class(shown.labels)
    picture = preview.overview(artifact, shown.images[chosen], shown.labels[chosen], seed=config.seed)
    preview.save(picture, output / PREVIEWS / f"{state.images_seen:012d}.png")
