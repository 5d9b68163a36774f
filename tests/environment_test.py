import os
import subprocess
import sys

import pytest

from dmlcsr_jax import environment

FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler"
PROGRAM = """
import os, sys
from dmlcsr_jax import environment
print("started", flush=True)
environment.use_huge_pages()
print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), *sys.argv[1:], sep="|")
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"{FLAG}=false"),
        ("--xla_dump_to=there", f"--xla_dump_to=there {FLAG}=false"),
        (f"{FLAG}=true", f"{FLAG}=true"),
    ],
)
def test_a_flag_that_the_user_set_is_kept(monkeypatch, before, after):
    monkeypatch.setenv("XLA_FLAGS", before)
    environment.compute_in_order()
    assert os.environ["XLA_FLAGS"] == after


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has this setting")
@pytest.mark.parametrize(("own", "starts"), [(None, 2), ("glibc.malloc.check=0", 1)])
def test_a_program_restarts_once_with_the_same_arguments(own, starts):
    given = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    given |= {"GLIBC_TUNABLES": own} if own else {}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, "--flag=a b", "photo.jpg"]
    process = subprocess.Popen(command, env=given, stdout=subprocess.PIPE, text=True)
    *started, last = process.communicate()[0].splitlines()
    assert started == ["started"] * starts
    assert last == f"{process.pid}|{own or environment.HUGE_PAGES}|--flag=a b|photo.jpg"


@pytest.mark.parametrize(("variable", "below"), [("XDG_CACHE_HOME", ""), ("HOME", ".cache")])
def test_the_cache_lies_where_the_user_says(monkeypatch, tmp_path, variable, below):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    assert environment.cache_directory() == tmp_path / below / "dmlcsr_jax"


def test_the_compilation_cache_is_set_without_importing_jax(tmp_path):
    code = """
import os, sys
from dmlcsr_jax import environment
environment.use_compilation_cache()
assert "jax" not in sys.modules
import jax
print(jax.config.values["jax_compilation_cache_dir"])
"""
    env = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env | {"XDG_CACHE_HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(tmp_path / "dmlcsr_jax"), done.stderr
