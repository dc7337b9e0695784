"""Compiles the hot path when the wheel is built with SIDECAR_COMPILE=1; the same source runs as it is without that.

mypyc turns typed modules into C, gcc turns that into extension modules which lie beside their sources in
the wheel. It needs a C compiler, and runtime.txt, build.txt and compile.txt of requirements/. SIDECAR_COMPILE=quick leaves gcc's
optimizer out, for tests.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HOT = (
    "sidecar/control/folding/catch_up.py",
    "sidecar/control/folding/cursor.py",
    "sidecar/control/folding/fold.py",
    "sidecar/control/folding/ledger.py",
    "sidecar/control/folding/planned.py",
    "sidecar/control/folding/spools.py",
    "sidecar/control/folding/work.py",
    "sidecar/control/metrics/counts.py",
    "sidecar/control/metrics/key_use.py",
    "sidecar/control/metrics/keys.py",
    "sidecar/control/metrics/state.py",
    "sidecar/control/networks.py",
    "sidecar/control/totals/bounded.py",
    "sidecar/control/totals/nested.py",
    "sidecar/control/totals/rows.py",
    "sidecar/control/totals/series.py",
    "sidecar/control/totals/sums.py",
    "sidecar/control/usage/blocks.py",
    "sidecar/events/spool.py",
    "sidecar/events/wire.py",
    "sidecar/hubs/form_places.py",
    "sidecar/hubs/json_objects.py",
    "sidecar/hubs/json_places.py",
    "sidecar/hubs/model.py",
    "sidecar/hubs/routing.py",
    "sidecar/hubs/usage/*.py",
    "sidecar/keys/cache.py",
    "sidecar/keys/digest.py",
    "sidecar/keys/lookup.py",
    "sidecar/redaction.py",
    "sidecar/taken.py",
    "sidecar/worker/*.py",
    "sidecar/worker/authz/*.py",
    "sidecar/worker/client/*.py",
    "sidecar/worker/upstream/*.py",
)
"""What runs for each request or for each event. Left out is what mostly looks into msgspec's structs, which the
interpreter reaches faster than compiled code does."""


LOCAL_CALLS = ["-fvisibility=hidden", "-fno-semantic-interposition"]
"""One module of ours calls the next directly, not through the table in which a linker lets others replace functions: a tenth of
the compiled code's time. gcc and clang both know them."""
NO_WARNINGS = ["-Wno-all"]
"""setuptools asks for all that Python was built with. Nobody reads what a compiler thinks of C that another one wrote, and gcc looks for
it three times as long as it compiles."""


class CompileHook(BuildHookInterface):  # type: ignore[type-arg,misc]
    """Adds the compiled modules to a wheel."""

    _target: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless this is an editable installation or nobody asked for it."""
        if version == "editable" or os.environ.get("SIDECAR_COMPILE", "") not in ("1", "quick"):
            return
        root = Path(self.root)
        # Of this build alone: where a frontend puts the wheel may lie beside what another one compiles.
        target = Path(tempfile.mkdtemp(prefix="compiled-"))
        self._target = target
        for module in compile_modules(root, target):
            build_data["force_include"][str(module)] = str(module.relative_to(target / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled: it is in the wheel now."""
        del version, build_data, artifact_path
        if self._target is not None:
            shutil.rmtree(self._target)


def compile_modules(root: Path, target: Path) -> list[Path]:
    """Compile HOT of the project in `root`; the extension modules lie below `target`/lib as they belong into the package's parent."""
    try:
        from mypyc.build import mypycify
        from setuptools import Distribution
    except ImportError as error:
        raise SystemExit(f"SIDECAR_COMPILE=1 needs what runtime.txt, build.txt and compile.txt of requirements/ name: {error}") from None
    shutil.rmtree(target, ignore_errors=True)
    os.chdir(root)
    files = sorted(str(path) for pattern in HOT for path in Path().glob(pattern) if is_compilable(path))
    python = f"--python-version={sys.version_info.major}.{sys.version_info.minor}"
    extensions = mypycify(
        ["--strict", python, *files],
        opt_level="0" if os.environ.get("SIDECAR_COMPILE") == "quick" else "2",
        debug_level="0",
        group_name="hub_auth_sidecar",
        target_dir=str(target / "c"),
    )
    for extension in extensions:
        # A list of its own: mypyc gives all extensions the same one.
        extension.extra_compile_args = [*extension.extra_compile_args, *LOCAL_CALLS, *NO_WARNINGS]
    command = Distribution({"name": "sidecar", "ext_modules": extensions}).get_command_obj("build_ext")
    command.build_temp, command.build_lib = str(target / "o"), str(target / "lib")
    command.ensure_finalized()
    command.run()
    return sorted((target / "lib").rglob("*.so"))


def is_compilable(path: Path) -> bool:
    """Whether a module holds code only: what msgspec decodes into must stay a plain class, or it decodes nothing, silently."""
    return path.name != "__init__.py" and not re.search(r"\(msgspec\.Struct\b", path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    compile_modules(Path(__file__).parent, Path(sys.argv[1]))
