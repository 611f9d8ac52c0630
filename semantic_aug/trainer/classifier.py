"""The classifier f of the class-aware losses, trained on the run's own training images and kept beside its state."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock

from semantic_aug import _distributed
from semantic_aug._progress import Progress
from semantic_aug._text import printable
from semantic_aug.data.dataset import ImageSet
from semantic_aug.evaluation.classifier import Judge, train_judge
from semantic_aug.evaluation.quality import agreement
from semantic_aug.trainer.config import TrainConfig

BATCH, LEARNING_RATE = 64, 0.05  # half of the judge's, for twice as many steps when there are few images
MOST = 3  # f sees at most this many times as many images as the run, and trains about four times as fast
SIGNIFICANT = 2.0  # how many standard errors above chance f has to be on held-out images


class Classifier(nn.Module):
    """The frozen classifier f: images (N, C, S, S) in [-1, 1] => features after each of four stages, and logits (N, K).

    It has the judge's architecture, with each batch norm folded into the convolution before it.
    """

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        layers: list[Any] = list(copy.deepcopy(judge.network))
        convolution, norm, *rest = layers
        blocks = [_fold_norms(layer) for layer in rest if isinstance(layer, BasicBlock)]
        start = rest.index(blocks[0])
        self.stem = nn.Sequential(fuse_conv_bn_eval(convolution, norm), *rest[:start])
        self.stages = nn.ModuleList(nn.Sequential(*pair) for pair in zip(blocks[::2], blocks[1::2], strict=True))
        self.head = nn.Sequential(*rest[start + len(blocks) :])
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The features of each stage (N, C_l, H_l, W_l), and the logits (N, K)."""
        features, x = [], self.stem(images)
        for stage in self.stages:
            features.append(x := stage(x))
        return features, self.head(x)


def _fold_norms(block: BasicBlock) -> BasicBlock:
    block.conv1, block.bn1 = fuse_conv_bn_eval(block.conv1, block.bn1), nn.Identity()
    block.conv2, block.bn2 = fuse_conv_bn_eval(block.conv2, block.bn2), nn.Identity()
    if block.downsample is not None:
        block.downsample = fuse_conv_bn_eval(*block.downsample)
    return block


def prepare_classifier(
    config: TrainConfig, data: ImageSet, held_out: ImageSet, path: Path, device: torch.device
) -> Classifier | None:
    """Train f in the first process and keep it in ``path``. Returns None if no loss uses it or it has learnt nothing.

    Prints its progress and results. All processes must call this function. On a CPU, a training that was killed repeats
    bit for bit. Raises ValueError if the file belongs to other images.
    """
    first = _distributed.rank_and_world()[0] == 0
    say: Callable[[str], object] = (lambda line: print(printable(line), flush=True)) if first else (lambda _: None)
    if len(data.classes) == 1:
        say(f"one class only ({data.classes[0]}): its covariance is also the pooled one, and no loss uses the class")
    if not config.uses_classifier:
        return None
    if first and not path.exists():
        _train(config, data, device, say).save(path)
    _distributed.wait()
    judge = Judge.load(path).to(device)
    if (judge.classes, judge.images) != (data.classes, len(data)):
        raise ValueError(
            f"{path} was trained on {judge.images} images of {judge.classes}, this run has {len(data)} of "
            f"{data.classes}; choose another --output"
        )
    return Classifier(judge) if has_learnt(judge, held_out, say) else None


def has_learnt(judge: Judge, held_out: ImageSet, say: Callable[[str], object]) -> bool:
    """Whether ``judge`` recognises held-out images better than chance. True if there are too few. Says the result."""
    chance = chance_accuracy(held_out.labels)
    if chance >= 1:
        say(f"the classifier is taken as it is: {len(held_out)} held-out images are too few to check it")
        return True
    accuracy = balanced_accuracy(judge, held_out)
    found = f"balanced accuracy {accuracy:.3f} on {len(held_out)} held-out images, by chance up to {chance:.3f}"
    if accuracy > chance:
        say(f"the classifier of the class-aware losses: {found}")
        return True
    say(f"warning: the classifier has learnt nothing ({found}); training goes on without the losses that ask it")
    return False


def _train(config: TrainConfig, data: ImageSet, device: torch.device, say: Callable[[str], object]) -> Judge:
    epochs = max(1, min(config.classifier_epochs, MOST * config.images // len(data)))
    say(f"training the classifier of the class-aware losses, {epochs} epochs of {len(data)} images")
    with Progress(epochs * len(data), what="images of the classifier's training") as progress:
        return train_judge(
            data,
            epochs=epochs,
            batch=BATCH,
            learning_rate=LEARNING_RATE,
            seed=config.seed + 1,  # not the run's seed, so that it differs from the judge that evaluates
            device=device,
            precision="bf16" if config.precision == "bf16" else "fp32",
            balanced=True,
            randaugment=True,
            say=lambda line: progress.say(line.replace("judge", "classifier", 1)),
            advance=progress.advance,
        )


@torch.no_grad()
def balanced_accuracy(judge: Judge, data: ImageSet, batch: int = 256) -> float:
    """The fraction of images that ``judge`` recognises, averaged over the classes that occur."""
    parts = [
        judge.logits(data.batch(slice(start, start + batch)).to(judge.device)).argmax(1).cpu()
        for start in range(0, len(data), batch)
    ]
    return agreement(torch.cat(parts), data.labels)["balanced_accuracy"]


def chance_accuracy(labels: Tensor) -> float:
    """The balanced accuracy that guessing exceeds in one case out of forty, for images with these labels.

    This is the mean recall of a guess, 1 / K for K classes, plus two standard errors. If it is 1 or more, no accuracy
    exceeds it.
    """
    if not len(labels):
        return 1.0
    counts = labels.unique(return_counts=True)[1]
    share = 1 / len(counts)
    error = (share * (1 - share) / counts).sum().sqrt() / len(counts)
    return share + SIGNIFICANT * float(error)
