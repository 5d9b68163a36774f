"""Reading command lines, without a process."""

import json
import pathlib

import pytest
from ml_collections import ConfigDict

from configs import default
from dmlcsr_jax import __version__, command, command_flags
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.recipes import read_config

RECIPE = "--config=quickstart"


def parse(*arguments):
    return command.parse(["dmlcsr", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workdir=x"], ["--config"]),
        ([RECIPE], ["--workdir"]),
        ([RECIPE, "--mode=convert", "a.pth"], ["--workdir"]),
        (["--mode=evaluate"], ["--config"]),
        (["--config=nothing", "--workdir=x"], ["--config=nothing", "celebamask_hq", "quickstart"]),
        (["--config=configs/nothing.py", "--workdir=x"], ["configs/nothing.py"]),
        ([f"{RECIPE}:tiny", "--workdir=x"], ["tiny", "debug"]),
        ([RECIPE, "--workdir=x", "--config.model.witdh=8"], ["model.witdh", "model.width"]),
        ([RECIPE, "--workdir=x", "--config.training.epochs=many"], ["training.epochs", "many"]),
        ([RECIPE, "--workdir=x", "--config.model=tiny"], ["model", "backbone"]),
        ([RECIPE, "--workdir=x", "--mode=dance"], ["dance", "evaluate"]),
        ([RECIPE, "--workdir=x", "--wordir=y"], ["wordir"]),
        ([RECIPE, "--workdir=x", "--mode=predict", "--scales=big"], ["--scales=big", "0.75"]),
        (["--mode=predict", "--batch_size=0", "a.jpg"], ["--batch_size=0"]),
        (["--mode=predict", "--batch_size=many", "a.jpg"], ["batch_size", "many"]),
        ([RECIPE, "--workdir=x", "--mode=convert", "a.pth", "b.pth"], ["one file of weights", "2 files"]),
    ],
)
def test_mistakes_are_named(arguments, words):
    with pytest.raises(UserError) as refusal:
        parse(*arguments)
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_flags_and_fields_are_read():
    read = parse(
        f"{RECIPE}:debug",
        "--workdir",
        "runs/x",
        "--mode=predict",
        "--flip",
        "--scales=0.75,1",
        "--write=json",
        "photo.jpg",
        "folder/",
    )
    assert (read.mode, read.workdir, read.paths) == (
        "predict",
        pathlib.Path("runs/x"),
        ("photo.jpg", "folder/"),
    )
    assert (read.flip, read.scales, read.write) == (True, (0.75, 1.0), ("json",))
    assert read.config.model.width == 8


@pytest.mark.parametrize(
    ("arguments", "reads"),
    [
        (["--mode=predict", "--config.evaluation.split=test"], "evaluation.split"),
        (["--mode=evaluate", "--config.dataset.path=x", "--config.evaluation.batch_size=2"], "evaluation.batch_size"),
        (["--mode=prepare", "--config.dataset.bad_files=skip"], "dataset"),
        (["--mode=train", "--workdir=x"], None),
    ],
)
def test_fields_that_a_mode_does_not_read_are_refused(arguments, reads):
    parse(RECIPE, *arguments)
    if reads is None:
        assert parse(RECIPE, *arguments, "--config.input.height=64").config.input.height == 64
        return
    with pytest.raises(UserError, match=r"--config\.input\.height has no effect: .* reads only dataset") as refusal:
        parse(RECIPE, *arguments, "--config.input.height", "64")
    assert reads in str(refusal.value)


def test_predicting_files_reads_no_field():
    parse(RECIPE, "--workdir=x", "--mode=predict", "photo.jpg")
    with pytest.raises(UserError, match=r"--config\.dataset\.path has no effect: predict reads no field"):
        parse(RECIPE, "--workdir=x", "--mode=predict", "--config.dataset.path=x", "photo.jpg")
    with pytest.raises(UserError, match="has no effect on files; name a trained network with --workdir=DIR"):
        parse(RECIPE, "--mode=predict", "photo.jpg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode=export", "--flip"], "--flip belongs to --mode=predict or evaluate, not to --mode=export"),
        (["--mode=predict", "--formats=onnx", "a.jpg"], "--formats belongs to --mode=export, not to --mode=predict"),
        (["--mode=demo", "a.jpg"], "a.jpg: --mode=demo takes no files; to parse photos and videos, add --mode=predict"),
        (["a.jpg"], "a.jpg: --mode=train takes no files; to parse photos and videos, add --mode=predict"),
        (["--mode=predict"], "--mode=predict needs photos, videos or folders, such as photo.jpg"),
        (["--mode=evaluate", "--workdir=nowhere"], "--workdir=nowhere has no config.json; name the folder of a run"),
    ],
)
def test_what_a_mode_does_not_read_or_lacks_is_named(arguments, message):
    with pytest.raises(UserError, match=f"^{message}"):
        parse(*arguments)


def test_every_flag_of_some_modes_exists():
    values = command_flags.define_flags(ConfigDict(), [])
    assert set(command_flags.MODES_OF_FLAG) <= set(values)
    assert {mode for modes in command_flags.MODES_OF_FLAG.values() for mode in modes} <= set(command_flags.MODES)


@pytest.mark.parametrize(("arguments", "answer"), [([], "--mode:"), (["-h"], "--mode:"), (["--version"], __version__)])
def test_help_and_version(arguments, answer):
    with pytest.raises(command.Help, match=answer):
        parse(*arguments)


def test_boxes_are_read():
    command = parse("--mode=predict", "--boxes=1,2,30,40;5,6.5,70,80", "--faces=auto", "photo.jpg")
    assert command.boxes == ((1, 2, 30, 40), (5, 6.5, 70, 80)) and command.faces == "auto"
    for boxes in ("1,2,3", "a,b,c,d"):
        with pytest.raises(UserError, match=f"--boxes={boxes}: give LEFT,TOP,RIGHT,BOTTOM"):
            parse("--mode=predict", f"--boxes={boxes}", "photo.jpg")


def test_parts_and_resuming_are_read():
    command = parse("--mode=predict", "--write=masks,cutout", "--parts=hair,hat", "--batch_size=8", "a.jpg")
    assert (command.write, command.parts) == (("masks", "cutout"), ("hair", "hat"))
    assert (command.batch_size, command.skip_existing) == (8, False)
    command = parse("--mode=predict", "--skip_existing", "a.jpg")
    assert (command.parts, command.batch_size, command.skip_existing) == ((), None, True)


def test_two_command_lines_do_not_share_state():
    assert parse(RECIPE, "--workdir=x", "--config.seed=3").config.seed == 3
    assert parse(RECIPE, "--workdir=y").config.seed == 0


def test_a_recipe_is_found_by_name_and_by_file(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text(
        "from dmlcsr_jax.configs import default\n"
        "def get_config(arg=''):\n"
        "    config = default.get_config()\n"
        "    config.training.epochs = 3\n"
        "    return default.finish(config, arg)\n"
    )
    assert parse(f"--config={own}:debug", "--workdir=x").config.model.backbone == "tiny"
    assert parse(f"--config={own}", "--workdir=x").config.training.epochs == 3
    assert parse("--config=lapa", "--mode=prepare").config.dataset.name == "lapa"


def test_a_workdir_brings_its_configuration(tmp_path):
    config = default.get_config("debug").to_dict()
    config["training"]["epochs"] = 5
    config["model"]["rematerialise"] = config["model"].pop("remat")  # as version 0.1.0 wrote it
    del config["label_noise"]  # a field that is newer than the file
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = parse(f"--workdir={tmp_path}", "--mode=evaluate", "--config.evaluation.split=test").config
    assert (found.training.epochs, found.evaluation.split, found.label_noise.share) == (5, "test", 0.0)
    assert "rematerialise" not in found.model
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json cannot be read as a configuration"):
        parse(f"--workdir={tmp_path}", "--mode=evaluate")


def test_images_and_the_demo_need_no_configuration(tmp_path):
    assert parse(f"--workdir={tmp_path}", "--mode=predict", "photo.jpg").paths == ("photo.jpg",)
    assert parse(f"--workdir={tmp_path}", "--mode=demo", "--port=8000").port == 8000


def test_the_shipped_weights_need_no_workdir():
    for arguments in (["--mode=predict", "photo.jpg"], ["--mode=demo"], ["--mode=export"]):
        assert parse(*arguments).workdir is None
    assert parse(RECIPE, "--mode=evaluate").workdir is None


def test_help_names_every_flag():
    with pytest.raises(command.Help) as shown:
        parse("--help")
    text = str(shown.value)
    fields = set(command.Command.__dataclass_fields__) - {"config", "paths"}
    assert all(f"--{name}" in text for name in fields) and all(f"  {mode} " in text for mode in command_flags.MODES)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3", r"its function get_config returns int; it must return a ConfigDict$"),
        (
            "config.optimizer.learning_rat = 1; return config",
            r"no field optimizer\.learning_rat; did you mean optimizer",
        ),
        (
            "config.trainin = {'epochs': 1}; return config",
            r"no field trainin\.epochs; did you mean training\.epochs\?$",
        ),
        ("raise ValueError('nothing')", r"ValueError: nothing$"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(body, message, tmp_path):
    recipe = tmp_path / "mine.py"
    head = "from dmlcsr_jax.configs import default\ndef get_config(arg=''):\n    config = default.get_config()\n"
    recipe.write_text(f"{head}    {body}\n")
    with pytest.raises(UserError, match=rf"^--config={recipe}: .*{message}"):
        read_config(str(recipe), None)


def test_a_recipe_without_get_config_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text("x = 1\n")
    with pytest.raises(UserError, match="its function get_config is missing"):
        read_config(str(tmp_path / "mine.py"), None)
