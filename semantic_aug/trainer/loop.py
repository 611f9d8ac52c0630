"""The training loop. Every step has a discriminator phase and an autoencoder phase."""

import platform
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

import semantic_aug
from semantic_aug import _distributed
from semantic_aug._io import own_folder, remove_all_left
from semantic_aug._random import seeded
from semantic_aug.data.dataset import ImageSet
from semantic_aug.data.orders import BalancedOrder, EndlessOrder
from semantic_aug.evaluation.lpips import Perceptual
from semantic_aug.evaluation.quality import reconstruction
from semantic_aug.figures import drawing
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.networks import NO_LABEL
from semantic_aug.model.recommended import Recommended
from semantic_aug.trainer import losses
from semantic_aug.trainer.alarms import alarms, spread
from semantic_aug.trainer.best import LOSS, keep_best, load_best, remove_best
from semantic_aug.trainer.classifier import prepare_classifier
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.diffaugment import diffaugment
from semantic_aug.trainer.fit import fit_statistics
from semantic_aug.trainer.log import Averages, RunLog
from semantic_aug.trainer.noise import StepNoise
from semantic_aug.trainer.pca import start_as_pca
from semantic_aug.trainer.state import TrainState, remove_old

if TYPE_CHECKING:
    from accelerate import Accelerator

STATE, PREVIEWS, BEST, CHECKPOINT, CLASSIFIER = "state", "previews", "best", "checkpoint", "classifier.safetensors"
SNAPSHOT_IMAGES = (
    1024  # held-out images measured, and training images whose statistics serve the picture, at a snapshot
)


class TrainingError(RuntimeError):
    """Training cannot continue. The last good state is kept."""


def train(
    config: TrainConfig,
    data: ImageSet,
    held_out: ImageSet,
    output: str | Path,
    *,
    every_image: ImageSet | None = None,
    init: Artifact | None = None,
    device: str | None = None,
    compile: bool = False,
    minutes: float | None = None,
    command: str = "",
) -> Artifact | None:
    """Train, or continue training, and write the artifact to ``output/checkpoint``.

    Args:
        config: what to compute. It must be the same as that of a state found below ``output``.
        data: training images.
        held_out: images on which reconstruction is measured. They are never trained on.
        output: folder for ``state/``, ``previews/``, ``log.jsonl``, ``classifier.safetensors`` if a loss uses a
            classifier, and finally ``checkpoint/``. All processes must be able to see it. Only the first one writes.
        every_image: images to include in the statistics (None: ``data``).
        init: artifact whose E and G are the starting point (None: a PCA).
        device: "cpu", "cuda", "cuda:1", "mps" or None (the best device).
        compile: run the networks through ``torch.compile``.
        minutes: end this session after this time. The state is saved.
        command: the command line, which is recorded in the artifact.

    Returns the artifact, or None if the session ended first. Ctrl-C saves the state and raises KeyboardInterrupt.
    Raises StateError, TrainingError, and OSError if nothing can be written. Raises ValueError if the processes cannot
    share the batch evenly, if ``init`` has other networks, or if the networks or settings are for other classes than
    the data's.
    """
    output = Path(output)
    config = _of_data(config, data)
    accelerator = _accelerator(config.precision, device, compile)
    rank, world_size, first = accelerator.process_index, accelerator.num_processes, accelerator.is_main_process
    share, parts = config.share(world_size), config.accumulate
    state = TrainState(config, accelerator.device, accelerator.scaler)
    state.images_digest = data.digest()
    settings = {name: str(value) for name, value in asdict(config).items()}
    _distributed.check_equal(**settings, pixels=state.images_digest)
    resumed = state.resume(output / STATE, config)
    if first:  # what was left by a process that was killed
        remove_all_left(output)
        remove_old(output / STATE)
    state.note_processes(world_size)
    if not resumed:
        if init:
            state.start_from(init)
        else:
            start_as_pca(state.encoder, state.generator, data, config.seed)
        state.update_ema(decay=0)
    if state.images_seen >= config.images and (output / CHECKPOINT).exists():
        if first:
            remove_best(output / BEST)
            print(f"{output / CHECKPOINT} is finished ({state.images_seen} images); nothing to do")
        return Artifact.from_pretrained(output / CHECKPOINT)
    perceptual = Perceptual(config.lpips_net).to(accelerator.device) if config.lpips_weight else None
    # The optimizers are not prepared by accelerate. Otherwise each would count its steps on the GPU after resuming, and
    # would change fp16's scale in the middle of a step.
    networks = accelerator.prepare(*state.networks)
    encoder, generator, discriminator, *heads = networks
    balanced = config.sampling == "balanced"
    order = BalancedOrder(data.labels, config.seed) if balanced else EndlessOrder(len(data), config.seed)
    prior = torch.ones(len(data.classes)) if balanced else torch.tensor(data.counts())
    log_prior = (prior / prior.sum()).log().to(accelerator.device)
    averages = Averages()
    began, began_seconds = time.monotonic(), state.seconds
    classifier = prepare_classifier(config, data, held_out, output / CLASSIFIER, accelerator.device)
    logged_at, logged_images = time.monotonic(), state.images_seen

    with RunLog(output, config.images, state.images_seen, silent=not first) as log, _interrupt_flag() as interrupted:
        log.say(
            f"{'going on' if resumed else 'starting'} at {state.images_seen} of {config.images} images, "
            f"{len(data)} to train on, {len(held_out)} held out, on {accelerator.device}"
            + (f", in {world_size} processes" if world_size > 1 else "")
        )
        while state.images_seen < config.images:
            progress = state.images_seen / config.images
            adversarial = config.adversarial_weight > 0 and progress >= config.adversarial_start
            draws_join = state.running is not None and progress >= config.draw_start
            kl_weight = losses.kl_weight(progress, config.kl_weight)
            state.set_learning_rate(losses.learning_rate(progress, config.learning_rate, config.decay))
            step_noise = StepNoise.draw(config, state.images_seen)
            terms, latents, labels_seen = Averages(), [], []

            for part in range(parts):
                number = part * world_size + rank  # number of the share that this process computes now
                noise = step_noise.share(number, parts * world_size).to(accelerator.device)
                indices = order(state.images_seen + number * share, share)
                x, labels = data.batch(indices), data.labels[indices].to(accelerator.device)
                x = x.to(accelerator.device, memory_format=torch.channels_last)
                # The labels for G and D, some of them hidden.
                known = torch.where(noise.unlabelled.flatten() < config.label_dropout, NO_LABEL, labels)
                if config.flip:
                    x = torch.where((noise.mirror.flatten() < 0.5)[:, None, None, None], x.flip(3), x)

                with _gradients_summed_at_the_end(accelerator, networks, last=part == parts - 1):
                    # Encode, sample (Eq. 1) and decode. D sees as many generated images as real ones.
                    mu, logvar = encoder(x)
                    z = mu + (0.5 * logvar).exp() * noise.latent.flatten(0, 1)
                    if draws_join:
                        # Make two draws (Eq. 4) of every fourth image. D sees one of them in mode "decode" and the
                        # other in mode "detail".
                        assert state.running is not None
                        source, source_labels, pairs = x[::4], known[::4], (-1, 2)
                        step = state.running.step(labels[::4], noise.prior.unflatten(0, pairs))
                        z1, z2 = (mu[::4, None] + noise.strength.unflatten(0, pairs).sqrt() * step).unbind(1)
                        images = generator(torch.cat([z, z1, z2, mu[::4]]), torch.cat([known, source_labels.repeat(3)]))
                        y, y1, y2, y0 = images.split([share, *[share // 4] * 3])
                        real, real_labels = x[::2], known[::2]
                        fake = torch.cat([y1, (source + (y2 - y0)).clamp(-1, 1)])
                        fake_labels = source_labels.repeat(2)
                        shown_uniform = torch.cat([noise.shown[:, 0], noise.shown[::2, 3], noise.shown[1::2, 3]])
                        scored_uniform = torch.cat([noise.scored[::2, 1], noise.scored[1::2, 1]])
                    elif adversarial:
                        # Half reconstructions, half samples from the prior.
                        images = generator(torch.cat([z, noise.prior]), torch.cat([known, known[1::2]]))
                        y = images[:share]
                        real, real_labels = x, known
                        fake, fake_labels = torch.cat([y[::2], images[share:]]), torch.cat([known[::2], known[1::2]])
                        shown_uniform = torch.cat(
                            [noise.shown[:, :2].flatten(0, 1), noise.shown[:, 2], noise.shown[:, 3]]
                        )
                        scored_uniform = noise.scored.transpose(0, 1).flatten(0, 1)
                    else:
                        y = generator(z, known)

                    # Discriminator phase.
                    if adversarial:
                        shown = torch.cat([real, fake.detach()])
                        if config.uses_diffaugment:
                            shown = diffaugment(shown, shown_uniform)
                        real_score, fake_score = discriminator(shown, torch.cat([real_labels, fake_labels])).chunk(2)
                        d_loss = losses.hinge_discriminator(real_score, fake_score)
                        accelerator.backward(d_loss / parts)
                        terms.add(d_loss=d_loss, d_real=real_score.mean(), d_fake=fake_score.mean())

                    # Autoencoder phase. The losses on latents are KL (Eq. 2) and the class. The losses on images are
                    # L1 + LPIPS (Eq. 3), the outputs of f, the diversity of draws, and the adversarial loss.
                    kl = losses.kl(mu, logvar)
                    latent_loss = kl_weight * kl
                    if heads:
                        class_loss = losses.balanced_softmax(heads[0](z), labels, log_prior)
                        latent_loss = latent_loss + config.class_weight * class_loss
                        terms.add(class_loss=class_loss)
                    l1 = losses.l1(x, y)
                    loss = l1
                    terms.add(l1=l1, kl=kl)
                    if perceptual:
                        with accelerator.autocast():
                            lpips = perceptual(x[:: config.lpips_every], y[:: config.lpips_every]).float().mean()
                        loss = loss + config.lpips_weight * lpips
                        terms.add(lpips=lpips)
                    if classifier:
                        quarter = len(x[::4])
                        with accelerator.autocast():
                            with torch.no_grad():
                                real_features, real_logits = classifier(x[::4])
                            features, logits = classifier(torch.cat([y[::4], fake]) if draws_join else y[::4])
                        real_logits, logits = real_logits.float(), logits.float()
                        feature_distance = losses.feature_distance(real_features, [each[:quarter] for each in features])
                        divergence = losses.class_divergence(real_logits, logits[:quarter])
                        loss = loss + config.feature_weight * feature_distance + config.agreement_weight * divergence
                        terms.add(features=feature_distance, divergence=divergence)
                        if draws_join:
                            targets = real_logits.repeat(2, 1), labels[::4].repeat(2)
                            draw_loss = losses.draw_cross_entropy(logits[quarter:], *targets)
                            loss = loss + config.draw_weight * draw_loss
                            terms.add(draw_loss=draw_loss)
                    if draws_join:
                        neighbours = losses.change_ratio((source, x[1::4]), (mu[::4], mu[1::4]))
                        diversity = losses.diversity(losses.change_ratio((y1, y2), (z1, z2)), neighbours)
                        loss = loss - config.diversity_weight * diversity
                        terms.add(diversity=diversity)
                    if adversarial:
                        state.discriminator.requires_grad_(False)
                        if config.uses_diffaugment:
                            fake = diffaugment(fake, scored_uniform)
                        g_loss = losses.hinge_generator(state.discriminator(fake, fake_labels))
                        weight, total = config.adversarial_weight, _distributed.sum_over_processes
                        loss = losses.balanced(images, loss, g_loss, weight, total)
                        state.discriminator.requires_grad_(True)
                        terms.add(g_loss=g_loss)
                    accelerator.backward((loss + latent_loss) / parts)
                latents.append(mu.detach())
                labels_seen.append(labels)

            if state.scaler is not None:
                state.scaler.unscale_(state.autoencoder_optimizer)
            norm = torch.nn.utils.clip_grad_norm_(encoder.parameters(), config.gradient_clip)
            if config.precision != "fp16":  # the scaler of fp16 skips steps that overflow
                terms.add(grad_norm=torch.as_tensor(norm))
            stop = interrupted() or (minutes is not None and time.monotonic() - began >= 60 * minutes)
            figures, stop = _agreed(terms, stop)
            _check_finite(figures, state.images_seen, output)
            averages.add(**figures)
            state.step(discriminator=adversarial)

            previous, state.images_seen = state.images_seen, state.images_seen + config.batch
            if state.running is not None:
                memory = min(config.ema_images, len(data))
                decay = losses.ema_decay(state.images_seen, config.batch, memory)
                state.running.update(torch.cat(latents), torch.cat(labels_seen), decay)
            state.share_running_statistics()
            state.update_ema(losses.ema_decay(state.images_seen, config.batch, config.ema_images))
            state.seconds = began_seconds + time.monotonic() - began
            log.advance(config.batch)

            done = state.images_seen >= config.images
            if done or stop or _crosses(previous, state.images_seen, config.log_images):
                now = time.monotonic()
                rate = (state.images_seen - logged_images) / (now - logged_at)
                logged_at, logged_images = now, state.images_seen
                means = averages.take() | {"kl_weight": kl_weight, "images_per_s": rate}
                log.record(state.images_seen, means)
                log.warn(alarms(means, config.network.latent_dim))
            due = done or _crosses(previous, state.images_seen, config.snapshot_images)
            if due or stop:
                snapshot, held_out_loss = _snapshot(state, config, data, held_out, perceptual, output, log)
                settled = state.images_seen >= config.settled * config.images
                if first and due and held_out_loss is not None and settled:
                    keep_best(snapshot, held_out_loss, output / BEST)
                if first:  # last, so that a run that is killed before it repeats the snapshot
                    state.save(output / STATE, config)
            if stop and not done:
                log.say(f"stopped at {state.images_seen} of {config.images} images; the same command goes on")
                if interrupted():
                    raise KeyboardInterrupt
                return None

    artifact = _artifact(state, config, every_image or data)
    accelerator.wait_for_everyone()  # the first process may still be writing the best snapshot
    best = load_best(output / BEST)
    if best is not None and best.training["images_seen"] < state.images_seen:
        if first:
            print(
                f"the snapshot after {best.training['images_seen']} images becomes the checkpoint, because its "
                f"held-out loss, {best.training[LOSS]:.4f}, is lower than that of the end"
            )
        best = best.to(artifact.device)
        artifact = replace(best, statistics=fit_statistics(best.encoder, every_image or data))
        artifact.training["images"] = len(every_image or data)  # a snapshot's statistics are those of a few
    if command:
        artifact.training["command"] = command
    artifact.reconstruction = reconstruction(artifact, held_out, perceptual) if len(held_out) else {}
    if first:
        artifact.save(output / CHECKPOINT, overwrite=True, half=True)
        remove_best(output / BEST)
        measured = artifact.reconstruction
        error = f", L1 {measured['l1_mean']:.3f} on {len(held_out)} held-out images" if measured else ""
        print(f"wrote {output / CHECKPOINT}{error}")
    accelerator.wait_for_everyone()
    return artifact


def _of_data(config: TrainConfig, data: ImageSet) -> TrainConfig:
    """The configuration with the number of images of each class filled in."""
    if not config.data:
        config = replace(config, data=dict(zip(data.classes, data.counts(), strict=True)))
    if list(config.data) != data.classes:
        raise ValueError(f"config.data names the classes {list(config.data)}, the data has {data.classes}")
    if config.network.num_classes not in (0, len(data.classes)):
        raise ValueError(
            f"the networks are conditional on {config.network.num_classes} classes, the data has {len(data.classes)}; "
            f"set network.num_classes to that or, for networks without classes, to 0"
        )
    return config


def _accelerator(precision: str, device: str | None, compile: bool) -> "Accelerator":
    from accelerate import Accelerator

    _distributed.join(device)
    mixed = {"fp32": "no"}.get(precision, precision)
    return Accelerator(mixed_precision=mixed, cpu=device == "cpu", dynamo_backend="inductor" if compile else "no")


@contextmanager
def _gradients_summed_at_the_end(accelerator: "Accelerator", networks: Sequence[nn.Module], last: bool) -> Iterator:
    """Sum the gradients over the processes only in the backward pass of the last part of a batch."""
    with ExitStack() as stack:
        if not last:
            for network in networks:
                stack.enter_context(accelerator.no_sync(network))
        yield


def _agreed(terms: Averages, stop: bool) -> tuple[dict[str, Tensor], bool]:
    """The means of the terms over the processes, and whether any process has to stop, so that all do the same."""
    names, means = terms.tensor()
    agreed = _distributed.mean_over_processes(torch.cat([means, means.new_tensor([stop])])).cpu()
    return dict(zip(names, agreed[:-1], strict=True)), bool(agreed[-1] > 0)


def _crosses(before: int, after: int, interval: int) -> bool:
    return before // interval != after // interval


def _check_finite(terms: dict[str, Tensor], images_seen: int, output: Path) -> None:
    """Raise TrainingError before a step that would spoil the weights. The message names the term."""
    for name, term in terms.items():
        if not term.isfinite():
            raise TrainingError(
                f"{name} is {float(term)} in the step after {images_seen} images; "
                f"the last good state is kept in {output / STATE}"
            )


@contextmanager
def _interrupt_flag() -> Iterator:
    """Turn Ctrl-C into a flag, so that a step is never interrupted."""
    received: list[int] = []
    try:
        old = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    except ValueError:  # only the main thread can handle signals
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
        recommended=Recommended(shrinkage="pooled"),
        training={
            "images": len(data),
            "images_seen": state.images_seen,
            "seconds": round(state.seconds),
            "settings": {name: value for name, value in asdict(config).items() if name not in ("network", "data")},
            "device": _device_name(next(state.encoder.parameters()).device),
            "world_size": _distributed.rank_and_world()[1],
            "world_sizes": state.world_sizes,
            "versions": {
                "python": platform.python_version(),
                "semantic_aug": semantic_aug.__version__,
                "torch": torch.__version__,
            },
        },
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _snapshot(
    state: TrainState,
    config: TrainConfig,
    data: ImageSet,
    held_out: ImageSet,
    perceptual: Perceptual | None,
    output: Path,
    log: RunLog,
) -> tuple[Artifact, float | None]:
    """Measure the averaged networks on held-out images with all processes, and draw a picture of the results.

    Returns their artifact, with statistics of few images, and its held-out loss (Eq. 3), None without such images.
    """
    some = data.subset(torch.randperm(len(data), generator=seeded(config.seed, "snapshot"))[:SNAPSHOT_IMAGES])
    artifact = _artifact(state, config, some)
    shown, loss = held_out if len(held_out) else data, None
    if len(held_out):
        measured = held_out.subset(range(min(len(held_out), SNAPSHOT_IMAGES)))
        figures = reconstruction(artifact, measured, perceptual)
        loss = figures["l1_mean"] + config.lpips_weight * figures.get("lpips_mean", 0.0)
        figures = {f"held_out_{name}": value for name, value in figures.items() if name.endswith("_mean")}
        if not config.uses_draws:
            prior = torch.randn(256, config.network.latent_dim, generator=seeded(config.seed, "prior"))
            drawn = artifact.decode(prior.to(artifact.device))
            figures["prior_spread"] = spread(drawn) / max(spread(some.batch(slice(0, 256))), 1e-6)
        log.record(state.images_seen, figures)
        log.warn(alarms(figures, config.network.latent_dim))
    if not log.silent:
        chosen = drawing.first_of_each_class(shown.labels)
        picture = drawing.overview(artifact, shown.images[chosen], shown.labels[chosen], seed=config.seed)
        drawing.save(picture, own_folder(output / PREVIEWS) / f"{state.images_seen:012d}.png")
    return artifact, loss
