"""Builds atrion, and compiles its hot modules with mypyc.

`ATRION_COMPILE=1` compiles or fails, `ATRION_COMPILE=0` does not compile. Without it the build compiles
where it can and is pure Python where it cannot, so that a source install needs no C compiler.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# What compiles: paths and globs, from this directory. Those that match nothing are skipped.
COMPILED = (
    "src/atrion/physics/*.py",
    "src/atrion/sensing/*.py",
    "src/atrion/control/*.py",
    "src/atrion/state/blending.py",
    "src/atrion/state/published_state.py",
    "src/atrion/integrations/_arrivals.py",
    "src/atrion/integrations/_asgi_admission.py",
    "src/atrion/integrations/_exchange.py",
    "src/atrion/integrations/_loop_thread.py",
    "src/atrion/integrations/_names.py",
    "src/atrion/integrations/_routers.py",
)
# What stays Python among them: names of files. Frozen dataclasses gain nothing, and what wraps functions must be one.
PURE = (
    "__init__.py",
    "config.py",
    "decorators.py",
    "observer.py",
    "plain_function.py",
    "profiles.py",
    "route_log.py",
    "rules.py",
    "snapshot.py",
    "wrappers.py",
)

HERE = Path(__file__).parent
MODE = os.environ.get("ATRION_COMPILE", "")
if MODE not in {"", "0", "1"}:
    sys.exit(f"ATRION_COMPILE is {MODE!r}; set it to 1 (compile), to 0 (pure Python), or not at all.")


def compiled_files() -> list[str]:
    """Files to compile, relative to this directory."""
    found = {path for pattern in COMPILED for path in HERE.glob(pattern) if path.name not in PURE}
    return sorted(path.relative_to(HERE).as_posix() for path in found)


def extensions() -> list[Extension]:
    """The compiled modules; none where the build is pure."""
    # Only commands that build code need them, and mypyc takes seconds.
    if MODE == "0" or not {"bdist_wheel", "build", "build_ext", "editable_wheel"}.intersection(sys.argv):
        return []
    files = compiled_files()
    if not files:
        return []
    try:
        from mypyc.build import mypycify

        # The build depends on these files alone: not on settings found in a parent folder, nor on errors
        # in what they import. The group's shared library lands in the package, as atrion/_core__mypyc.
        mypy_options = ["--config-file=", "--follow-imports=silent"]
        # Level 3 makes the library larger and no faster: requests then find less of it in the processor's caches.
        found = mypycify([*mypy_options, *files], opt_level="2", debug_level="0", group_name="atrion._core")
    except (Exception, SystemExit) as exc:  # mypyc exits on a type error
        if MODE == "1":
            raise
        print(f"atrion: not compiled, mypyc failed ({exc!r}); pure Python.", file=sys.stderr)
        return []
    if os.name == "posix":
        for extension in found:
            # Functions of one module that another calls are then inlined; a symbol that others see is not.
            extension.extra_compile_args.append("-fvisibility=hidden")
            if sys.platform == "linux":
                # Python's functions are then called directly, without a stub that has to be read into a cache as well.
                extension.extra_compile_args.append("-fno-plt")
    return found


class BuildExt(build_ext):
    """Compiles all modules or none: they share one library, so half of them cannot be imported."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as exc:
            if MODE == "1":
                raise
            reason = type(exc).__name__  # the message is the compiler's whole command line
            print(f"atrion: not compiled, the C compiler failed ({reason}); pure Python.", file=sys.stderr)
            for output in self.get_outputs():
                Path(output).unlink(missing_ok=True)
            self.extensions.clear()


def options() -> dict[str, dict[str, str]]:
    """Keeps the metadata that installers ask for first out of the source tree."""
    if "egg_info" not in sys.argv:
        return {}
    scratch = tempfile.mkdtemp(prefix="atrion-egg-info-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return {"egg_info": {"egg_base": scratch}}


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt}, options=options())
