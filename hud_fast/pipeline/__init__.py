"""The stages from a scene file to a report, as functions: what the commands of ``hud-fast`` call.

Each takes options as frozen dataclasses and a `Reporter` that is told what goes on; none prints. Names are
resolved on first use, so that the command line's ``--help`` need not wait for numpy and torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hud_fast.pipeline.errors import InputError as InputError
    from hud_fast.pipeline.evaluate import evaluate_scene as evaluate_scene
    from hud_fast.pipeline.extract import extract_endmembers as extract_endmembers
    from hud_fast.pipeline.fit import fit_model as fit_model
    from hud_fast.pipeline.fit import fit_models as fit_models
    from hud_fast.pipeline.jobs import measure as measure
    from hud_fast.pipeline.jobs import sample_model as sample_model
    from hud_fast.pipeline.labelled_cubes import LabelledCubes as LabelledCubes
    from hud_fast.pipeline.options import ModelOptions as ModelOptions
    from hud_fast.pipeline.options import SampleOptions as SampleOptions
    from hud_fast.pipeline.options import SceneOptions as SceneOptions
    from hud_fast.pipeline.progress import Reporter as Reporter
    from hud_fast.pipeline.run import RunResult as RunResult
    from hud_fast.pipeline.run import run_scene as run_scene
    from hud_fast.pipeline.unmix import unmix_scene as unmix_scene

_HOME = {
    "errors": "InputError",
    "evaluate": "evaluate_scene",
    "extract": "extract_endmembers",
    "fit": "fit_model fit_models",
    "jobs": "measure sample_model",
    "labelled_cubes": "LabelledCubes",
    "options": "ModelOptions SampleOptions SceneOptions",
    "progress": "Reporter",
    "run": "RunResult run_scene",
    "unmix": "unmix_scene",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'hud_fast.pipeline' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"hud_fast.pipeline.{module}"), name)
    globals()[name] = value
    return value
