"""The modes of the command line that need JAX. They join the subpackages, and only `cli.py` imports them.

Predict and demo are in `parse_modes.py`.
"""

import dataclasses
import hashlib
import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dmlcsr_jax import checkpoints, datasets, hosts
from dmlcsr_jax.console import console, print_plain, repeat_warnings, warn
from dmlcsr_jax.datasets.checks import pixel_warning, require_training_pixels
from dmlcsr_jax.datasets.layout import find_images
from dmlcsr_jax.datasets.prepared import Dataset, Source, decode_example
from dmlcsr_jax.datasets.sides import describe
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.evaluation.curves import plot_curves
from dmlcsr_jax.evaluation.evaluator import Evaluator, Scores, score_table
from dmlcsr_jax.evaluation.label_maps import score_label_maps
from dmlcsr_jax.evaluation.page import Extremes, write_page
from dmlcsr_jax.inference import model_card, web
from dmlcsr_jax.inference.export import check_formats, export_network, write_files
from dmlcsr_jax.models import TestTimeAugmentation, create_model
from dmlcsr_jax.models.pretrained import architecture, from_torch, to_torch
from dmlcsr_jax.models.weight_files import read_state_dict, write_state_dict
from dmlcsr_jax.paths import Path, absolute, local_path
from dmlcsr_jax.training import loop
from dmlcsr_jax.training.experiment import Experiment
from dmlcsr_jax.training.monitor import create_evaluate
from dmlcsr_jax.training.plan import create_metadata, describe_more_epochs, plan_run
from dmlcsr_jax.training.workdir import claim_workdir

NUM_EXAMPLES = 8  # that predict parses if no files are named


def prepare(config: ConfigDict, *, clean: bool = False) -> None:
    """Builds the data set unless it is there, and shows what it holds and what was left out.

    With `clean`, the prepared copies of its source are removed instead.
    """
    experiment = Experiment.from_config(config)
    if clean:
        for line in datasets.remove_copies(experiment.dataset):
            print_plain(line)
        return
    dataset = prepare_dataset(experiment)
    warn_of_data(experiment, dataset, splits=tuple(dataset.splits))
    for part in dataset.summary.show(dataset.spec, dataset.directory):
        print_plain(part) if isinstance(part, str) else console.print(part)
    repeat_warnings()


def prepare_dataset(experiment: Experiment) -> Dataset:
    """The data set, built unless it is there; prints its size."""
    dataset = hosts.first_then_others(lambda: datasets.prepare(experiment.dataset))
    counts = ", ".join(f"{count} {split}" for split, count in dataset.splits.items())
    print_plain(f"data set {dataset.spec.name}: {counts}; {dataset.spec.num_classes} classes; in {dataset.directory}")
    for line in dataset.summary.file_warnings():
        warn(line)
    return dataset


def warn_of_data(experiment: Experiment, dataset: Dataset, splits: Sequence[str]) -> None:
    """Says which classes change places when mirrored, and what may be wrong with the data of these splits."""
    warnings = [*dataset.warnings, pixel_warning(dataset, splits)]
    if experiment.augmentation.flip_probability:
        print_plain(describe(dataset.spec.flip_pairs))
        warnings += dataset.mirror_warnings
    for line in filter(None, warnings):
        warn(line)


def train(config: ConfigDict, workdir: Path) -> None:
    """Trains, evaluating regularly; leaves curves and example images in the workdir."""
    experiment = Experiment.from_config(config)
    earlier_epochs = claim_workdir(workdir, config.to_dict()) if hosts.is_first() else None
    dataset = prepare_dataset(experiment)
    require_training_pixels(dataset)
    warn_of_data(
        experiment, dataset, [split for split in dataset.splits if split in ("train", experiment.evaluation.split)]
    )
    plan = plan_run(experiment, dataset, workdir)
    if earlier_epochs and earlier_epochs < experiment.training.epochs:
        print_plain(describe_more_epochs(experiment, plan.epoch_steps, earlier_epochs))
    evaluator = create_evaluator(experiment, dataset, plan.metadata)
    evaluate = create_evaluate(evaluator, experiment.evaluation.split, workdir)
    loop.train(experiment, plan, workdir, evaluate)
    if hosts.is_first():
        print_plain(f"curves: {plot_curves(workdir)}   examples: {workdir / 'examples.png'}")
    repeat_warnings()


def create_evaluator(
    experiment: Experiment,
    dataset: Dataset,
    metadata: checkpoints.CheckpointMetadata,
    augmentation: TestTimeAugmentation = TestTimeAugmentation(),
) -> Evaluator:
    """The evaluator of `config.evaluation` for a checkpoint's network."""
    settings = experiment.evaluation
    return Evaluator(
        model=create_model(metadata.spec.num_classes, **metadata.model),
        preprocessing=metadata.preprocessing,
        source=dataset.source(settings.split),
        spec=dataset.spec,
        size=metadata.size,
        batch_size=settings.batch_size,
        protocol=settings.protocol,
        augmentation=augmentation,
    )


def evaluate(
    config: ConfigDict,
    workdir: Path,
    output: Path,
    *,
    weights: str | None = None,
    augmentation: TestTimeAugmentation = TestTimeAugmentation(),
) -> None:
    """Scores the best checkpoint on `config.evaluation.split`: a table, `evaluation.json`, and `evaluation.html`."""
    weights = weights or checkpoints.choose_weights(workdir)
    variables, metadata = checkpoints.load(workdir, weights)
    experiment = Experiment.from_config(config)
    dataset = prepare_dataset(experiment)
    if dataset.spec.class_names != metadata.spec.class_names:
        raise UserError(
            f"config.dataset.name={experiment.dataset.name} has the classes {', '.join(dataset.spec.class_names)}; "
            f"the checkpoint of {workdir} has {', '.join(metadata.spec.class_names)}"
        )
    evaluator, extremes = create_evaluator(experiment, dataset, metadata, augmentation), Extremes(dataset.spec)
    split = experiment.evaluation.split
    title = f"{workdir}, {split}"
    if warning := pixel_warning(dataset, [split]):
        warn(warning)
    result = evaluator(variables, observe=extremes)
    print_plain(f"scored {title}, {evaluator}")
    console.print(score_table({weights: result}, title))
    result["protocol"] = evaluator.protocol
    _write_scores(output, result, extremes, title=f"{title}, {evaluator}", source=dataset.source(split))


def evaluate_label_maps(config: ConfigDict, folder: Path, output: Path) -> None:
    """Scores label maps that any program wrote, FOLDER/NAME.png for each example of `config.evaluation.split`."""
    experiment = Experiment.from_config(config)
    folder = local_path(folder, "--predictions", "copy the label maps into a local folder")
    dataset, split = prepare_dataset(experiment), experiment.evaluation.split
    source, extremes = dataset.source(split), Extremes(dataset.spec)
    result = score_label_maps(folder, source, dataset.spec, observe=extremes)
    title = f"{folder}, {split}"
    console.print(score_table({"label maps": result}, title))
    result["protocol"] = "original_size"
    _write_scores(output, result, extremes, title=title, source=source)


def _write_scores(output: Path, result: Scores, extremes: Extremes, *, title: str, source: Source) -> None:
    """Writes `evaluation.json` and `evaluation.html`, and repeats the warnings."""
    repeat_warnings()
    if not hosts.is_first():
        return
    write_files(output, {"evaluation.json": json.dumps(result, indent=2)})
    write_page(
        output / "evaluation.html",
        title=title,
        result=result,
        extremes=extremes,
        example=lambda index: decode_example(source[index]),
    )
    print_plain(f"written: {output / 'evaluation.json'}, {output / 'evaluation.html'}")


def example_images(config: ConfigDict) -> list[tuple[str, pathlib.Path | np.ndarray]]:
    """The first images of the evaluation split, or of a folder of images without label maps, with their names."""
    experiment = Experiment.from_config(config)
    split = experiment.evaluation.split
    settings = experiment.dataset
    is_folder = settings.name == "folder" and settings.path
    files = find_images(pathlib.Path(settings.path).expanduser(), split) if is_folder else {}
    if files:
        count = min(NUM_EXAMPLES, len(files))
        print_plain(f"no image is named: parsing {count} of the {len(files)} images in {settings.path}")
        return [(name.replace("/", "_"), path) for name, path in itertools.islice(files.items(), NUM_EXAMPLES)]
    source = prepare_dataset(experiment).source(split)
    examples = (decode_example(source[index]) for index in range(min(NUM_EXAMPLES, len(source))))
    return [(name.replace("/", "_"), image) for name, image, _ in examples]


def export(
    config: ConfigDict,
    workdir: Path,
    output: Path,
    *,
    formats: Sequence[str],
    weights: str | None = None,
) -> None:
    """Writes the best checkpoint as `model.FORMAT`, with the model cards `model.FORMAT.md` and `.json`.

    Safetensors come with `model.json` and the model card `README.md`; the folder can be used in place of a workdir.
    "web" is a folder of its own.
    """
    check_formats(formats)
    checkpoint = checkpoints.find_checkpoint(workdir)
    variables, metadata = checkpoints.load(checkpoint, weights)
    metadata, about = _describe_checkpoint(config, workdir, checkpoint, metadata)
    print_plain(f"exporting {checkpoint}, and comparing the result with it on drawn faces")
    files, graph = {}, about
    exported = export_network(variables, metadata, formats)
    if "safetensors" in exported:  # a graph beside weights says that it was made of them
        graph = about | {"weights": hashlib.sha256(exported["safetensors"][0]).hexdigest()}
    for name, (content, parity) in exported.items():
        file = f"model.{'onnx' if name == 'web' else name}"
        card = model_card.describe(file, metadata, parity, about if name == "safetensors" else graph)
        print_plain(f"{file}: {len(content) / 1e6:.1f} MB; {parity}")
        if name == "web":
            write_files(output / "web", web.site(content, metadata.spec, card))
            print_plain(f"written: {output / 'web'}; its README.md says how to serve it")
            continue
        if name == "safetensors":
            texts = {"README.md": model_card.render(card), "model.json": checkpoints.encode_metadata(metadata, about)}
        else:
            texts = {f"{file}.md": model_card.render(card), f"{file}.json": json.dumps(card, indent=2)}
        files |= {file: content} | texts
    if files:
        write_files(output, files)
        print_plain(f"written: {', '.join(files)} in {output}")


def _describe_checkpoint(
    config: ConfigDict, workdir: Path, checkpoint: Path, metadata: checkpoints.CheckpointMetadata
) -> tuple[checkpoints.CheckpointMetadata, dict[str, Any]]:
    """The metadata with all terms, and what model cards say of the checkpoint; an exported folder knows both itself."""
    about = checkpoints.read_card(checkpoint)
    if not about:
        if not len(config):
            raise UserError(f"{workdir} has no config.json; name a configuration, such as --config=quickstart")
        experiment = Experiment.from_config(config)
        terms = experiment.dataset.terms or metadata.spec.terms
        metadata = dataclasses.replace(
            metadata,
            spec=dataclasses.replace(metadata.spec, terms=terms),
            inherited_terms=metadata.inherited_terms or experiment.initial.terms(),
        )
        data = model_card.describe_data(metadata, experiment.dataset.path, experiment.initial.sources)
        origin = {"run": absolute(workdir).name, "step": checkpoint.name}
        about = {"training_data": data, "scores": None, "notes": "", "checkpoint": origin}
    home = checkpoint if checkpoints.is_exported(checkpoint) else workdir
    found = {"scores": model_card.read_scores(home), "notes": model_card.read_notes(home)}
    return metadata, about | {name: value for name, value in found.items() if value}


def convert(config: ConfigDict, workdir: Path, path: Path) -> None:
    """Published PyTorch weights into a checkpoint of a new workdir.

    The checkpoint's preprocessing is that of `config.input.channel_order`; its classes are those of the data set.
    """
    state_dict = read_state_dict(path)
    fields = architecture(state_dict)
    num_classes = fields.pop("num_classes")
    config.update({"model": fields})
    experiment = Experiment.from_config(config)
    spec = datasets.get_spec(experiment.dataset.name)
    if spec.num_classes != num_classes:
        raise UserError(
            f"{path} has {num_classes} classes, config.dataset.name={spec.name} has {spec.num_classes}; "
            f"use --config=configs/published.py:NAME with the data set it was trained on"
        )
    variables = from_torch(state_dict)
    claim_workdir(workdir, config.to_dict())
    checkpoints.save_variables(workdir / "checkpoints", variables, create_metadata(spec, experiment, workdir))
    print_plain(f"written: {workdir}, {spec.name}, {num_classes} classes, {fields['backbone']}")


def convert_back(workdir: Path, output: Path, weights: str | None = None) -> None:
    """The weights of a workdir's best checkpoint into a file with the published PyTorch names."""
    variables, metadata = checkpoints.load(workdir, weights)
    write_state_dict(output, to_torch(variables, create_model(metadata.spec.num_classes, **metadata.model).backbone))
    print_plain(f"written: {output}")
