"""The contact sheet: photograph, render and error side by side, with their numbers."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scenerep.captures import Capture
from scenerep.evaluation.measure import Evaluation, ViewScore, photograph
from scenerep.evaluation.pictures import heat, to_uint8
from scenerep.render import render
from scenerep.render.types import Backend
from scenerep.scenes import Scene

_CELL = 400  # longest side of a picture on the sheet, px
_GAP = 8
_LINE = 24
_AMPLIFY = 4.0
_INK, _PAPER, _SOFT = (20, 20, 20), (255, 255, 255), (105, 105, 105)


def pick_views(evaluation: Evaluation, most: int = 6) -> list[ViewScore]:
    """Up to `most` views from the worst to the best PSNR, evenly spread in rank, so that failures are seen first."""
    ranked = sorted(evaluation.views, key=lambda score: score.psnr)
    places = np.unique(np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int))
    return [ranked[i] for i in places]


def contact_sheet(
    scene: Scene, capture: Capture, evaluation: Evaluation, *, most: int = 6, backend: Backend = "auto"
) -> np.ndarray:
    """uint8 [h, w, 3]: a row for each of `pick_views`: photograph, render, 4 x mean absolute error of the channels.

    Scene, capture and backend are those that the evaluation was made with.
    """
    rows = [_row(scene, capture, score, evaluation, backend) for score in pick_views(evaluation, most)]
    title = f"PSNR {evaluation.psnr:.2f} dB   SSIM {evaluation.ssim:.4f}"
    if evaluation.psnr_masked is not None:
        title += f"   inside the mask {evaluation.psnr_masked:.2f} dB"
    title += f"   {len(evaluation.views)} held-out views   {evaluation.count:,} {scene.noun}"
    width = max(max(row.width for row in rows), 3 * _GAP + int(_font(18).getlength(title)))
    height = 2 * _LINE + sum(row.height for row in rows) + 2 * _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), title, _INK, _font(18))
    # Below this width the legend would run out of the paper.
    columns = "photograph | render | error" if width < 520 else f"photograph | render | absolute error x {_AMPLIFY:g}"
    draw.text((_GAP, _GAP + _LINE), f"{columns}; worst view first", _SOFT, _font(14))
    y = 2 * _LINE + _GAP
    for row in rows:
        sheet.paste(row, (0, y))
        y += row.height
    return np.asarray(sheet)


def _row(scene: Scene, capture: Capture, score: ViewScore, evaluation: Evaluation, backend: Backend) -> Image.Image:
    truth, valid, _, _ = photograph(capture, score.index, evaluation.background)
    camera = capture.camera(score.index)
    image = render(scene, camera, background=evaluation.background, backend=backend).rgb.clip(0.0, 1.0)
    error = np.abs(image - truth).mean(axis=2)
    if valid is not None:
        error = np.where(valid, error, 0.0)
    cells = [_cell(to_uint8(truth)), _cell(to_uint8(image)), _cell(heat(_AMPLIFY * error))]
    width, height = cells[0].size
    label = f"{score.name}   PSNR {score.psnr:.2f} dB   SSIM {score.ssim:.4f}"
    if score.psnr_masked is not None:
        label += f"   masked {score.psnr_masked:.2f} dB"
    label += f"   mean error {error.mean():.4f}, max {error.max():.2f}"
    font = _font(14)
    row_width = max(3 * width + 4 * _GAP, int(font.getlength(label)) + 2 * _GAP)
    row = Image.new("RGB", (row_width, height + _LINE + _GAP), _PAPER)
    ImageDraw.Draw(row).text((_GAP, 4), label, _INK, font)
    for i, cell in enumerate(cells):
        row.paste(cell, (_GAP + i * (width + _GAP), _LINE))
    return row


def _cell(picture: np.ndarray) -> Image.Image:
    """Scaled to `_CELL`; small pictures by whole numbers of sharp pixels, large ones averaged down."""
    image = Image.fromarray(picture)
    longest = max(image.size)
    if longest > _CELL:
        size = (max(1, round(image.width * _CELL / longest)), max(1, round(image.height * _CELL / longest)))
        return image.resize(size, Image.Resampling.BOX)
    factor = _CELL // longest
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
