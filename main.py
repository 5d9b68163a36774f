"""The command `dmlcsr` in a clone: `python main.py --help`."""

from dmlcsr_jax.cli import main

if __name__ == "__main__":
    main()
