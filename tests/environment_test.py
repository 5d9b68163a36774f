import importlib.machinery
import importlib.metadata
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

from dmlcsr_jax import environment

ROOT = pathlib.Path(__file__).parents[1]
FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler"
GPU_FLAG = "--xla_gpu_enable_latency_hiding_scheduler"
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


@pytest.fixture
def plugin(monkeypatch, tmp_path):
    """Installs JAX's plugin of this name, as far as the search for it can tell; pretends that none is there before."""

    def install(name):
        (tmp_path / "jax_plugins" / name).mkdir(parents=True)
        (tmp_path / "jax_plugins" / name / "__init__.py").touch()
        spec = importlib.machinery.ModuleSpec("jax_plugins", None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path / "jax_plugins")]
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    return install


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("", "", ""),
        ("libtpu", "", ""),
        ("xla_cuda13", "", f"{GPU_FLAG}=true"),
        ("xla_rocm7", "--xla_dump_to=there", f"--xla_dump_to=there {GPU_FLAG}=true"),
        ("xla_cuda12", f"{GPU_FLAG}=false", f"{GPU_FLAG}=false"),
        ("xla_cuda12", "flags.txt", "flags.txt"),  # XLA would look for a file of the longer name
    ],
)
def test_the_flag_for_gpus_is_set_where_jax_has_a_plugin_for_them(plugin, monkeypatch, name, before, after):
    if name:
        plugin(name)
    monkeypatch.setenv("XLA_FLAGS", before)
    environment.communicate_early()
    assert os.environ["XLA_FLAGS"] == after


@pytest.mark.parametrize("version", ["0.13.0", "1.0.0.dev20270101", None])
def test_a_jaxlib_that_may_not_know_the_flags_gets_none(monkeypatch, version):
    def read(_):
        if version is None:
            raise importlib.metadata.PackageNotFoundError
        return version

    monkeypatch.setattr(importlib.metadata, "version", read)
    monkeypatch.setenv("XLA_FLAGS", "")
    environment.compute_in_order()
    assert not os.environ["XLA_FLAGS"]


def test_every_jaxlib_that_may_be_installed_knows_the_flags():
    (line,) = (line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("jax>"))
    assert line.endswith(",<" + ".".join(map(str, environment.JAXLIB_END)))
    flags = os.environ | {"XLA_FLAGS": f"{FLAG}=false {GPU_FLAG}=true", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", "import jax; jax.devices()"], env=flags, check=True)


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
