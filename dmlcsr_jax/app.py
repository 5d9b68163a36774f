"""The modes of main.py: they join the rooms of the house, and nothing but main.py imports them."""

import json
import pathlib
from collections.abc import Sequence

import cv2
import numpy as np
from ml_collections import ConfigDict

from dmlcsr_jax import datasets
from dmlcsr_jax.console import console
from dmlcsr_jax.datasets.images import decode_image
from dmlcsr_jax.datasets.prepared import Dataset
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.evaluation import evaluator
from dmlcsr_jax.evaluation.protocols import get_protocol
from dmlcsr_jax.inference import FaceParser, ParsedFace, visualize
from dmlcsr_jax.inference.curves import plot_curves
from dmlcsr_jax.models.pretrained import architecture, from_torch, to_torch
from dmlcsr_jax.models.weight_files import read_state_dict, write_state_dict
from dmlcsr_jax.pipeline.input_pipeline import eval_batches
from dmlcsr_jax.training import checkpoints, loop
from dmlcsr_jax.training.logs import progress_bar, write_atomically
from dmlcsr_jax.training.state import TrainState, create_model
from dmlcsr_jax.training.steps import make_inspect_step, make_predict_step

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
NUM_EXAMPLES = 8  # pictures in the logs, and of predict without arguments


def prepare(config: ConfigDict) -> None:
    """Builds the data set if it is not there, and shows what it holds and what was left out."""
    dataset = ready_dataset(config)
    for part in dataset.summary.show(dataset.spec, dataset.directory):
        console.print(part)


def ready_dataset(config: ConfigDict) -> Dataset:
    """The data set, built if it is not there; says its size."""
    dataset = datasets.prepare(config.dataset)
    counts = ", ".join(f"{count} {split}" for split, count in dataset.splits.items())
    console.print(f"data set {dataset.spec.name}: {counts}; {dataset.spec.num_classes} classes; in {dataset.directory}")
    return dataset


def train(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Trains, evaluating as it goes; leaves curves and pictures in the workdir."""
    loop.claim_workdir(workdir, config)
    dataset = ready_dataset(config)
    plan = loop.plan_run(config, dataset, workdir)
    loop.train(config, dataset, plan, workdir, create_evaluate(config, dataset, plan.card, workdir))
    console.print(f"curves: {plot_curves(workdir)}   examples: {workdir / 'examples.png'}")


def create_evaluate(
    config: ConfigDict, dataset: Dataset, card: checkpoints.Card, workdir: pathlib.Path
) -> loop.Evaluate:
    """What the loop calls to score a state: prints the table, logs scores and a picture, returns the mean F1."""
    split = config.evaluation.split
    source = dataset.source(split)
    model = create_model(dataset.spec.num_classes, config.model)
    protocol = get_protocol(config.evaluation.protocol)
    predict = make_predict_step(model, card.convention, dataset.spec.flip_table() if protocol.flip else None)
    inspect = make_inspect_step(model, card.convention)
    shown, _ = next(iter(eval_batches(source, size=card.size, batch_size=min(NUM_EXAMPLES, len(source)))))

    def evaluate(state: TrainState, log: loop.RunLog, step: int) -> float:
        result = evaluator.evaluate(
            predict,
            state.variables,
            source,
            dataset.spec,
            size=card.size,
            batch_size=config.evaluation.batch_size,
            original_size=protocol.original_size,
        )
        console.print(f"scored {protocol.text} ({config.evaluation.protocol})")
        console.print(evaluator.score_table(result, f"{split} after step {step}"))
        scores = {f"{split}/{name}": value for name, value in result.items() if not isinstance(value, dict)}
        scores |= {f"{split}_f1/{name}": value for name, value in (result["f1"] | result["merged_f1"]).items()}
        log.scalars(step, {name: value for name, value in scores.items() if value is not None})
        labels, edges = map(np.asarray, inspect(state.variables, shown.images))
        picture = visualize.panel(shown.images, shown.labels, labels, edges, dataset.spec)
        log.picture(step, f"{split}/input_label_prediction_edge", picture)
        write_picture(workdir / "examples.png", picture)
        return result["mean_f1"] or 0.0

    return evaluate


def convert(config: ConfigDict, workdir: pathlib.Path, paths: Sequence[str], output: pathlib.Path | None) -> None:
    """Published weights into a checkpoint of a new workdir, or, with `output`, the workdir's into a file of weights.

    The checkpoint's input convention is `config.input.channel_order`; its classes are those of the data set.
    """
    if output:
        variables, _ = checkpoints.load(workdir)
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
    loop.claim_workdir(workdir, config)
    checkpoints.save_variables(workdir / "checkpoints", variables, loop.create_card(spec, config, workdir))
    console.print(f"written: {workdir}, {spec.name}, {num_classes} classes, {config.model.backbone}")


def evaluate(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Scores the best checkpoint on `config.evaluation.split`: a table, and `evaluation.json`."""
    variables, card = checkpoints.load(workdir)
    dataset = ready_dataset(config)
    if dataset.spec.class_names != card.spec.class_names:
        raise UserError(
            f"config.dataset.name={config.dataset.name} has the classes {', '.join(dataset.spec.class_names)}; "
            f"the checkpoint of {workdir} has {', '.join(card.spec.class_names)}"
        )
    split, protocol = config.evaluation.split, get_protocol(config.evaluation.protocol)
    model = create_model(card.spec.num_classes, ConfigDict(card.model))
    result = evaluator.evaluate(
        make_predict_step(model, card.convention, dataset.spec.flip_table() if protocol.flip else None),
        variables,
        dataset.source(split),
        dataset.spec,
        size=card.size,
        batch_size=config.evaluation.batch_size,
        original_size=protocol.original_size,
    )
    console.print(f"scored {protocol.text} ({config.evaluation.protocol})")
    console.print(evaluator.score_table(result, f"{workdir}, {split}"))
    result["protocol"] = config.evaluation.protocol
    write_atomically(workdir / "evaluation.json", json.dumps(result, indent=2))
    console.print(f"written: {workdir / 'evaluation.json'}")


def predict(config: ConfigDict, workdir: pathlib.Path, paths: Sequence[str], output: pathlib.Path) -> None:
    """Parses pictures and folders of pictures; without any, some examples of `config.evaluation.split`.

    Writes NAME.png (class numbers with a palette) and NAME_overlay.jpg, each at the picture's own size.
    """
    parser = FaceParser.load(workdir)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output={output} cannot be written ({error.strerror}); name another folder") from error
    pictures = list_pictures(paths) if paths else example_pictures(config)
    failed = []
    with progress_bar("predicting") as progress:
        task = progress.add_task("", total=len(pictures), text="")
        for name, picture in pictures:
            progress.advance(task)
            try:
                (face,) = parser(picture)
            except UserError as error:
                failed.append(str(error))
                continue
            write_face(output / name, face, parser.spec)
    console.print(f"written: {len(pictures) - len(failed)} label maps and overlays in {output}")
    if failed:
        raise UserError(f"{len(failed)} of {len(pictures)} pictures were left out: {'; '.join(failed)}")


def list_pictures(paths: Sequence[str]) -> list[tuple[str, pathlib.Path]]:
    """Names to write under, and files: of a folder all its pictures; names that meet get their suffix too."""
    files = []
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
            if not found:
                raise UserError(f"{path} has no pictures ({', '.join(PICTURE_SUFFIXES)})")
            files += found
        elif path.exists():
            files.append(path)
        else:
            raise UserError(f"{path} does not exist; name pictures or folders of pictures")
    stems = [file.stem for file in files]
    return [(file.stem if stems.count(file.stem) == 1 else file.name, file) for file in files]


def example_pictures(config: ConfigDict) -> list[tuple[str, np.ndarray]]:
    """The first pictures of the evaluation split, with their names."""
    source = ready_dataset(config).source(config.evaluation.split)
    examples = [source[index] for index in range(min(NUM_EXAMPLES, len(source)))]
    return [(example["name"], decode_image(example["image"], example["name"])) for example in examples]


def write_face(path: pathlib.Path, face: ParsedFace, spec: datasets.FaceSpec) -> None:
    """Writes `path`.png, the label map, and `path`_overlay.jpg."""
    visualize.save_indexed_png(path.with_name(f"{path.name}.png"), face.labels, spec)
    write_picture(path.with_name(f"{path.name}_overlay.jpg"), face.overlay())


def write_picture(path: pathlib.Path, image: np.ndarray) -> None:
    """Writes an [H, W, 3] uint8 RGB picture in the format of its suffix."""
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise UserError(f"{path} cannot be written; is the disk full?")
