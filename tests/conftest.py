"""Before JAX starts: the processor, seen as four devices, so that synchronization is tested everywhere."""

import os
import pathlib
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
# Most of the time goes into compiling; what two tests share is compiled once.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(tempfile.gettempdir(), "dmlcsr_jax_tests_xla")))
# Converted networks and the choice of engines likewise, away from the user's own.
os.environ["XDG_CACHE_HOME"] = str(pathlib.Path(tempfile.gettempdir(), "dmlcsr_jax_tests_cache"))


def pytest_collection_modifyitems(items):
    """Files of real runs come first: they take longest, so that the work stays balanced."""
    first = ("resume_test.py", "hosts_test.py", "main_test.py")
    items.sort(key=lambda item: item.path.name not in first)
