"""The modes of main.py: they join the rooms of the house, and nothing but main.py imports them."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dmlcsr_jax import datasets, hosts
from dmlcsr_jax.console import console
from dmlcsr_jax.datasets.images import decode_image, decode_label
from dmlcsr_jax.datasets.prepared import Dataset
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.evaluation import evaluator
from dmlcsr_jax.evaluation.protocols import get_protocol
from dmlcsr_jax.inference import CenterFace, FaceParser, model_card
from dmlcsr_jax.inference.cases import Extremes, write_page
from dmlcsr_jax.inference.curves import plot_curves
from dmlcsr_jax.inference.export import check_formats, export_network, write_files
from dmlcsr_jax.inference.inputs import list_inputs
from dmlcsr_jax.inference.monitor import create_evaluate
from dmlcsr_jax.inference.parser import check_scales
from dmlcsr_jax.inference.predict import Options
from dmlcsr_jax.inference.predict import predict as run_predict
from dmlcsr_jax.models import prepare_variables
from dmlcsr_jax.models.pretrained import architecture, from_torch, to_torch
from dmlcsr_jax.models.weight_files import read_state_dict, write_state_dict
from dmlcsr_jax.training import checkpoints, loop
from dmlcsr_jax.training.logs import write_atomically
from dmlcsr_jax.training.plan import create_card, plan_run
from dmlcsr_jax.training.state import create_model
from dmlcsr_jax.training.steps import make_predict_step
from dmlcsr_jax.training.workdir import claim_workdir

NUM_EXAMPLES = 8  # of predict without arguments


def prepare(config: ConfigDict) -> None:
    """Builds the data set if it is not there, and shows what it holds and what was left out."""
    dataset = ready_dataset(config)
    for part in dataset.summary.show(dataset.spec, dataset.directory):
        console.print(part)


def ready_dataset(config: ConfigDict) -> Dataset:
    """The data set, built if it is not there; says its size."""
    dataset = hosts.first_then_others(lambda: datasets.prepare(config.dataset))
    counts = ", ".join(f"{count} {split}" for split, count in dataset.splits.items())
    console.print(f"data set {dataset.spec.name}: {counts}; {dataset.spec.num_classes} classes; in {dataset.directory}")
    return dataset


def train(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Trains, evaluating as it goes; leaves curves and pictures in the workdir."""
    if hosts.is_first():
        claim_workdir(workdir, config)
    dataset = ready_dataset(config)
    plan = plan_run(config, dataset, workdir)
    loop.train(config, dataset, plan, workdir, create_evaluate(config, dataset, plan.card, workdir))
    if hosts.is_first():
        console.print(f"curves: {plot_curves(workdir)}   examples: {workdir / 'examples.png'}")


def convert(
    config: ConfigDict,
    workdir: pathlib.Path,
    paths: Sequence[str],
    output: pathlib.Path | None,
    weights: str | None = None,
) -> None:
    """Published weights into a checkpoint of a new workdir, or, with `output`, the workdir's into a file of weights.

    The checkpoint's input convention is `config.input.channel_order`; its classes are those of the data set.
    """
    if output:
        variables, _ = checkpoints.load(workdir, weights)
        write_state_dict(output, to_torch(variables))
        console.print(f"written: {output}")
        return
    if len(paths) != 1:
        raise UserError(
            f"--mode=convert needs one file of weights, or --output=FILE to write one, not {len(paths)} files"
        )
    state_dict = read_state_dict(paths[0])
    fields = architecture(state_dict)
    num_classes = fields.pop("num_classes")
    config.model.update(fields)
    spec = datasets.get_spec(config.dataset.name)
    if spec.num_classes != num_classes:
        raise UserError(
            f"{paths[0]} has {num_classes} classes, config.dataset.name={spec.name} has {spec.num_classes}; "
            f"use --config=configs/published.py:NAME with the data set it was trained on"
        )
    variables = from_torch(state_dict)
    claim_workdir(workdir, config)
    checkpoints.save_variables(workdir / "checkpoints", variables, create_card(spec, config, workdir))
    console.print(f"written: {workdir}, {spec.name}, {num_classes} classes, {config.model.backbone}")


def evaluate(
    config: ConfigDict,
    workdir: pathlib.Path,
    weights: str | None = None,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
) -> None:
    """Scores the best checkpoint on `config.evaluation.split`: a table, `evaluation.json`, and `evaluation.html`.

    `flip` and `scales` average over views of each picture, see `FaceParser`.
    """
    check_scales(scales)
    weights = weights or checkpoints.choose_weights(workdir)
    variables, card = checkpoints.load(workdir, weights)
    dataset = ready_dataset(config)
    if dataset.spec.class_names != card.spec.class_names:
        raise UserError(
            f"config.dataset.name={config.dataset.name} has the classes {', '.join(dataset.spec.class_names)}; "
            f"the checkpoint of {workdir} has {', '.join(card.spec.class_names)}"
        )
    split, protocol = config.evaluation.split, get_protocol(config.evaluation.protocol)
    flip = flip or protocol.flip
    source, extremes = dataset.source(split), Extremes(dataset.spec)
    model = create_model(card.spec.num_classes, ConfigDict(card.model))
    flip_table = dataset.spec.flip_table() if flip else None
    result = evaluator.evaluate(
        make_predict_step(model, card.convention, flip_table=flip_table, scales=tuple(scales)),
        prepare_variables(model, variables),
        source,
        dataset.spec,
        size=card.size,
        batch_size=config.evaluation.batch_size,
        original_size=protocol.original_size,
        observe=extremes,
    )
    title = f"{workdir}, {split}, {protocol.text}"
    title += ", averaged with the mirror image" if flip and not protocol.flip else ""
    title += f", averaged over scales {', '.join(map(str, scales))}" if tuple(scales) != (1.0,) else ""
    console.print(f"scored {title}")
    console.print(evaluator.score_table({weights: result}, f"{workdir}, {split}"))
    if not hosts.is_first():
        return
    result["protocol"] = config.evaluation.protocol
    write_atomically(workdir / "evaluation.json", json.dumps(result, indent=2))
    write_page(workdir / "evaluation.html", title, result, extremes, lambda index: _example(source[index]), card.spec)
    console.print(f"written: {workdir / 'evaluation.json'}, {workdir / 'evaluation.html'}")


def predict(
    config: ConfigDict,
    workdir: pathlib.Path,
    paths: Sequence[str],
    output: pathlib.Path,
    writing: Options,
    faces: str = "whole",
    **options: Any,
) -> None:
    """Parses pictures and videos; without any named, some examples of `config.evaluation.split`.

    `faces` is "whole" (the picture is the face) or "detect"; `options` are those of `FaceParser.load`.
    """
    inputs = list_inputs(paths) if paths else None
    parser = load_parser(workdir, faces, **options)
    run_predict(parser, inputs or example_pictures(config), output, writing)


def load_parser(workdir: pathlib.Path, faces: str, **options: Any) -> FaceParser:
    """The workdir's parser, with a detector where `faces` is "detect"."""
    return FaceParser.load(workdir, detector=CenterFace() if faces == "detect" else None, **options)


def demo(workdir: pathlib.Path, port: int, faces: str = "whole", **options: Any) -> None:
    """Serves a page on this machine where pictures can be parsed, until it is stopped."""
    from dmlcsr_jax.inference.demo import serve  # Gradio is an extra, and takes seconds to load

    serve(load_parser(workdir, faces, batch_size=1, **options), port)


def export(
    config: ConfigDict,
    workdir: pathlib.Path,
    output: pathlib.Path,
    formats: Sequence[str],
    weights: str | None = None,
) -> None:
    """Writes the best checkpoint as `model.FORMAT`, with `model.FORMAT.md` and `.json` that say what it is."""
    check_formats(formats)
    scores = model_card.read_scores(workdir)
    checkpoint = checkpoints.find_checkpoint(workdir)
    variables, card = checkpoints.load(checkpoint, weights)
    origin = {"run": workdir.absolute().name, "step": checkpoint.name}
    console.print(f"exporting {checkpoint}, and comparing what comes out with it on drawn faces")
    files = {}
    for name, (data, parity) in export_network(variables, card, formats).items():
        file = f"model.{name}"
        about = model_card.describe(file, card, parity, config, scores, origin)
        files |= {file: data, f"{file}.md": model_card.render(about), f"{file}.json": json.dumps(about, indent=2)}
        console.print(f"{file}: {len(data) / 1e6:.1f} MB; {parity}")
    write_files(output, files)
    console.print(f"written: {', '.join(files)} in {output}")


def example_pictures(config: ConfigDict) -> list[tuple[str, np.ndarray]]:
    """The first pictures of the evaluation split, with their names."""
    source = ready_dataset(config).source(config.evaluation.split)
    return [_example(source[index])[:2] for index in range(min(NUM_EXAMPLES, len(source)))]


def _example(encoded: Mapping[str, Any]) -> tuple[str, np.ndarray, np.ndarray]:
    """Name, picture and label map of one entry of a source."""
    name = encoded["name"]
    return name, decode_image(encoded["image"], name), decode_label(encoded["label"], name)
