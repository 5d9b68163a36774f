"""A failure of the system names the file or folder that it is about."""

import errno
import os

import pytest

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.training.write_failures import writing


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "run/checkpoints/4",
            "^{folder}/run cannot be written any more .Permission denied.; the checkpoints",
        ),
        (
            "data/train.array_record",
            "^{folder}/data/train.array_record: Permission denied; the checkpoints in",
        ),
    ],
)
def test_the_message_names_what_failed(tmp_path, file, message):
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / file))
    with pytest.raises(UserError, match=message.format(folder=tmp_path)), writing(tmp_path / "run"):
        raise error


def test_other_errors_pass(tmp_path):
    with pytest.raises(KeyError), writing(tmp_path):
        raise KeyError("x")
