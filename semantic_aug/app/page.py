"""The interactive demo: pick an image, a class and a strength, and see the checkpoint's augmentations (Gradio)."""

import os
import tempfile
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torchvision.transforms.v2 import functional as F

from semantic_aug.app.views import MAX_BYTES, UNKNOWN, draws_html, read_upload, walk_html
from semantic_aug.data.dataset import ImageSet
from semantic_aug.figures import drawing, html
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.recommended import MODES, Mode
from semantic_aug.perturb import PERTURBATIONS

if TYPE_CHECKING:
    import gradio

    from semantic_aug.evaluation.classifier import Judge

DIRECTIONS = 5  # sliders
FURTHEST = 4.0  # range of a slider in standard deviations
STRONGEST = 2.0
OFFERED, PER_ROW = 21, 7  # images to pick from
# "interpolate" needs other images of the class, and here there is only one image.
OFFERED_PERTURBATIONS = [name for name in PERTURBATIONS if name != "interpolate"]

STYLE = (
    html.FIGURE_STYLE
    + """
.gradio-container { --paper: transparent; --ink: var(--body-text-color); --muted: var(--body-text-color-subdued);
  --accent: var(--color-accent); --wrong: #c0392b; max-width: 74rem !important; margin: 0 auto !important; }
.dark .gradio-container, .dark.gradio-container { --wrong: #ff8a80; }
.wall { display: flex; flex-wrap: wrap; gap: 10px; }
.wall figure { margin: 0; width: clamp(64px, 22%, 150px); }
.wall img { display: block; width: 100%; height: auto; border-radius: 6px; }
.wall figcaption { font-size: 0.8rem; color: var(--muted); padding-top: 3px; line-height: 1.35; }
.wall small { display: block; color: var(--ink); }
.wall small.wrong { color: var(--wrong); }
.beside { display: flex; flex-wrap: wrap; gap: 10px 20px; align-items: center; }
.beside .wall { flex: 0 0 auto; } .beside .wall figure { width: 132px; }
.beside p { flex: 1 1 14rem; margin: 0; color: var(--muted); font-size: 0.9rem; }
.large .wall figure { width: clamp(140px, 40%, 200px); }
.result .html-container, #message .html-container { padding: 0; }
.result h3 { font-size: 1rem; font-weight: 600; margin: 1.4rem 0 0.6rem; }
.result .bars, .result .bars :is(tr, th, td) { border: 0; }
.result .bars th { padding-right: 0.8rem; }
#walked { position: sticky; top: 0; z-index: 2; background: var(--body-background-fill); }
.message { color: var(--wrong); }
#message:not(:has(p)) { display: none; }
.narrow { flex: 0 0 auto !important; align-self: flex-start; width: auto !important; }
#gallery { border: 0; background: none; }
#gallery .grid-wrap { padding: 0; min-height: 0; }
#gallery .grid-container { grid-template-columns: repeat(var(--grid-cols), minmax(0, 1fr)); gap: 6px;
  grid-template-rows: none; grid-auto-rows: auto; }
#gallery .caption-label { display: none; }
#gallery .thumbnail-item { aspect-ratio: 1; height: auto; min-width: 0; }
"""
)


def build(artifact: Artifact, name: str, sources: ImageSet, judge: "Judge | None" = None) -> "gradio.Blocks":
    """Build the page, see ``serve``. Its thumbnails are files below ``GRADIO_TEMP_DIR``."""
    gr = _gradio()
    offered = drawing.first_of_each_class(sources.labels, max(1, OFFERED // len(artifact.classes)))[:OFFERED]
    images, labels = sources.images[offered], sources.labels[offered].tolist()
    thumbnails = [(F.to_pil_image(each), artifact.classes[k]) for each, k in zip(images, labels, strict=True)]
    recommended = artifact.recommended
    origin = "drawn by the checkpoint, of nobody" if sources.name is None else f"from {sources.name}"

    def pick(event: gr.SelectData) -> tuple[Tensor, str, str]:  # type: ignore[name-defined]
        return images[event.index], artifact.classes[labels[event.index]], ""

    def upload(path: str) -> tuple[Any, str]:
        try:
            return read_upload(path), ""
        except ValueError as error:
            return gr.skip(), f'<p class="message" role="alert">{escape(str(error))}</p>'
        finally:
            Path(path).unlink(missing_ok=True)  # uploaded images are not kept

    def show_draws(
        image: Tensor, class_name: str, strength: float | None, mode: Mode, perturbation: str, seed: int | None
    ) -> str:  # a field that was emptied is None
        try:
            return draws_html(artifact, judge, image, class_name, strength or 0.0, mode, perturbation, seed or 0)
        except ValueError as error:
            return f'<p class="message" role="alert">{escape(str(error))}</p>'

    def show_walk(image: Tensor, class_name: str, mode: Mode, *deviations: float | None) -> str:
        return walk_html(artifact, judge, image, class_name, mode, [number or 0.0 for number in deviations])

    with gr.Blocks(title=f"semantic-aug: {name}", analytics_enabled=False) as blocks:
        gr.Markdown(
            f"# Semantic augmentation with {name}\n"
            "An image is encoded, moved by noise that has the covariance of its class, and decoded: another pose, "
            "light or shape, the same class."
        )
        image = gr.State(images[0])
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                gr.Markdown(f"**Pick an image** {origin}")
                gallery = gr.Gallery(
                    thumbnails, label="Images to pick from", show_label=False, columns=PER_ROW, height="auto",
                    allow_preview=False, format="png", interactive=False, buttons=[], elem_id="gallery",
                    selected_index=0,
                )  # fmt: skip
                uploaded = gr.UploadButton(
                    "Use an image of your own", size="sm", elem_id="upload", elem_classes="narrow"
                )
                message = gr.HTML(elem_id="message")
                class_name = gr.Dropdown(
                    [*artifact.classes, UNKNOWN], value=artifact.classes[labels[0]], label="Class", elem_id="class",
                    info="Whose covariance is used; unknown takes the one pooled over all classes.",
                )  # fmt: skip
                strength = gr.Slider(
                    0, max(STRONGEST, recommended.strength), recommended.strength, step=0.05, label="Strength",
                    elem_id="strength", info=f"Scales the covariance. Recommended: {recommended.strength:g}.",
                )  # fmt: skip
                mode = gr.Radio(
                    list(MODES), value=recommended.mode, label="Mode", elem_id="mode",
                    info="detail adds the change to the image; decode shows the decoded image, as the paper does.",
                )  # fmt: skip
                with gr.Accordion("More", open=False):
                    perturbation = gr.Dropdown(OFFERED_PERTURBATIONS, value="covariance", label="Perturbation")
                    seed = gr.Number(0, precision=0, minimum=0, maximum=2**31 - 1, label="Seed", elem_id="seed")
            with gr.Column(scale=3, min_width=320):
                with gr.Tab("Draws"):
                    drawn = gr.HTML(elem_id="draws", elem_classes="result")
                    again = gr.Button("Draw again", size="sm", elem_id="again", elem_classes="narrow")
                with gr.Tab("Directions"):
                    gr.Markdown(
                        f"Walk along the {DIRECTIONS} directions in which the class varies most, in standard "
                        f"deviations. Nobody has named them: what a direction changes is for you to see. Strength and "
                        f"perturbation play no part here."
                    )
                    walked = gr.HTML(elem_id="walked", elem_classes=["result", "large"])
                    sliders = [
                        gr.Slider(
                            -FURTHEST, FURTHEST, 0, step=0.25, label=f"Direction {number}", elem_id=f"walk{number}"
                        )
                        for number in range(1, min(DIRECTIONS, artifact.network.latent_dim) + 1)
                    ]
                    back = gr.Button("Back to the image", size="sm", elem_id="back", elem_classes="narrow")

        quick: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
        draw = {"fn": show_draws, "inputs": [image, class_name, strength, mode, perturbation, seed], "outputs": drawn}
        step = {"fn": show_walk, "inputs": [image, class_name, mode, *sliders], "outputs": walked}
        gr.on(
            [blocks.load, class_name.change, strength.change, mode.change, perturbation.change, seed.change],
            **draw,
            **quick,
        )
        gr.on([blocks.load, class_name.change, mode.change, *(slider.change for slider in sliders)], **step, **quick)
        for event in (
            gallery.select(pick, None, [image, class_name, message], **quick),
            uploaded.upload(upload, uploaded, [image, message], **quick),
        ):
            event.then(**draw, **quick)
            event.then(**step, **quick)
        again.click(lambda number: (number or 0) + 1, seed, seed, **quick)
        back.click(lambda: [0] * len(sliders), None, sliders, **quick)
    return blocks


def serve(
    artifact: Artifact, name: str, sources: ImageSet, judge: "Judge | None" = None, *, host: str | None = None,
    port: int | None = None, share: bool = False,
) -> None:  # fmt: skip
    """Serve the page until Ctrl-C. It uses system fonts and makes no requests to other machines, unless ``share``.

    Args:
        artifact, name: the checkpoint and its name on the page.
        sources: images to pick from. The first ones of each class are offered.
        judge: classifier whose predictions are shown.
        host, port: where to serve (None: Gradio's default, which is 127.0.0.1 and the first free port from 7860 on, or
            the values of ``GRADIO_SERVER_NAME`` and ``GRADIO_SERVER_PORT``).
        share: make a public link through Gradio's servers.

    Raises ValueError if Gradio is missing, the judge knows other classes, or the port is taken.
    """
    if judge is not None:
        judge.table(artifact.classes)  # raises for a judge of other classes
    gr = _gradio()
    theme = gr.themes.Base(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")).set(
        body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400",  # hard to read by default
        block_info_text_color="*neutral_500", block_info_text_color_dark="*neutral_400",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:  # no picture outlives the page
        os.environ["GRADIO_TEMP_DIR"] = folder
        blocks = build(artifact, name, sources, judge)
        try:
            blocks.launch(
                server_name=host, server_port=port, share=share, theme=theme, css=STYLE, max_file_size=4 * MAX_BYTES,
                footer_links=[], run_history=False, enable_monitoring=False, ssr_mode=False,
            )  # fmt: skip
        except OSError as error:
            where = f"{host or '127.0.0.1'}, port {port or '7860 to 7959'}"
            raise ValueError(f"cannot serve at {where}: it is taken, or not of this machine; choose another") from error


def _gradio() -> Any:
    # These are read when gradio is imported. They turn off usage statistics and requests to other machines.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError as error:
        raise ValueError('the page needs Gradio: pip install "semantic-aug[demo]"') from error
    return gradio
