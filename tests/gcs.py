"""gs:// for tests: a local folder that behaves as object storage does."""

import contextlib
import os
import pathlib
from unittest import mock

from array_record.python import array_record_module
from etils.epath import gpath
from etils.epath.testing import mock_epath
from orbax.checkpoint._src.path import gcs_utils


@contextlib.contextmanager
def fake_gcs(folder: pathlib.Path):
    """gs://NAME is `folder`/NAME: for epath, TensorStore and array_record. Yields `folder`.

    As in a bucket, folders exist as long as there are files in them, and appending replaces the file.
    """

    def local(path):
        text = os.fspath(path)
        return os.path.join(folder, text.removeprefix("gs://")) if text.startswith("gs://") else text

    def call(original, path, *others, **options):
        return original(local(path), *others, **options)

    def opened(original, path, mode):
        if local(path) != os.fspath(path) and "r" not in mode:
            os.makedirs(os.path.dirname(local(path)), exist_ok=True)
            mode = mode.replace("a", "w")
        return original(local(path), mode)

    def made(original, path, **options):
        if local(path) == os.fspath(path):
            original(path, **options)

    def move(original, path, target, **options):
        os.makedirs(os.path.dirname(local(target)), exist_ok=True)
        return original(local(path), local(target), **options)

    def removed(original, path):
        original(local(path))
        parent = pathlib.Path(local(path)).parent
        while parent != folder and folder in parent.parents and not any(parent.iterdir()):
            parent.rmdir()
            parent = parent.parent

    def found(original, pattern):
        paths = original(local(pattern))
        return paths if local(pattern) == pattern else [f"gs://{os.path.relpath(path, folder)}" for path in paths]

    def key_value_store(path):
        is_file = os.path.basename(path) == "_sharding"  # Orbax asks for it, and for the folders of databases
        return {"driver": "file", "path": local(path) if is_file else f"{local(path)}/"}

    reader = array_record_module.ArrayRecordReader

    def open_reader(path, **options):
        return reader(local(path), **options)

    names = ("exists", "isdir", "listdir", "stat")
    functions = dict.fromkeys(names, call) | {"open": opened, "makedirs": made, "mkdir": made, "glob": found}
    functions |= dict.fromkeys(("copy", "rename", "replace"), move) | {"remove": removed, "rmtree": removed}
    with (
        mock_epath(**functions),
        mock.patch.object(gpath, "_is_tf_installed", lambda: False),
        mock.patch.object(gcs_utils, "get_kvstore_for_gcs", key_value_store),
        mock.patch.object(gcs_utils, "is_hierarchical_namespace_enabled", lambda _: False),
        mock.patch.object(array_record_module, "ArrayRecordReader", open_reader),
    ):
        yield folder
