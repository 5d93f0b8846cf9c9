"""The gin command line: rewriting, checking of macros, and standing in for `__main__`."""

import logging
import sys
import types

import pytest

import gin
from t5x import gin_utils

CONFIG = """
from __gin__ import dynamic_registration
import __main__ as train_script
TRAIN_STEPS = %gin.REQUIRED
MODEL_DIR = %gin.REQUIRED
BATCH_SIZE = 8
train_script.train:
  total_steps = %TRAIN_STEPS
  model_dir = %MODEL_DIR
  options = {'batch': (%BATCH_SIZE,)}
"""


@pytest.fixture
def entry_point(tmp_path):
    """A module with a function `train`, and the path of a configuration for it."""
    module = types.ModuleType("a_program")
    exec("def train(total_steps, model_dir, options): return total_steps, model_dir, options", module.__dict__)
    module.train.__module__ = "a_program"
    sys.modules["a_program"] = module
    file = tmp_path / "run.gin"
    file.write_text(CONFIG)
    yield module, str(file)
    gin.clear_config()
    gin.config._REGISTRY.pop("a_program.train")
    del sys.modules["a_program"]


def parse(entry_point, *bindings):
    module, file = entry_point
    return gin_utils.parse_for(module, "train", gin_files=[file], gin_bindings=bindings)


def test_gin_arguments_become_bindings_in_order_and_others_pass():
    args = ["prog", "--gin.A='x=y'", "--gin_file=a.gin", "--gin.train/utils.C.seed=3", "tail"]
    expected = ["prog", "--gin_bindings=A = 'x=y'", "--gin_file=a.gin", "--gin_bindings=train/utils.C.seed = 3", "tail"]
    assert gin_utils.rewrite_gin_args(args) == expected


def test_a_gin_argument_without_a_value_is_refused():
    with pytest.raises(ValueError, match=r"--gin.MODEL_DIR'"):
        gin_utils.rewrite_gin_args(["--gin.MODEL_DIR"])


def test_macros_reach_the_entry_point_of_a_module_that_stands_in_for_main(entry_point):
    real_main = sys.modules["__main__"]
    function = parse(entry_point, "TRAIN_STEPS = 3", "MODEL_DIR = 'd'")
    assert function() == (3, "d", {"batch": (8,)})
    assert sys.modules["__main__"] is real_main


def test_main_is_put_back_after_an_error(entry_point):
    real_main = sys.modules["__main__"]
    with pytest.raises(ValueError):
        parse(entry_point, "NOBODY = 1")
    assert sys.modules["__main__"] is real_main


def test_a_second_configuration_replaces_the_first(entry_point):
    assert parse(entry_point, "TRAIN_STEPS = 3", "MODEL_DIR = 'd'", "BATCH_SIZE = 16")()[2] == {"batch": (16,)}
    assert parse(entry_point, "TRAIN_STEPS = 4", "MODEL_DIR = 'e'")() == (4, "e", {"batch": (8,)})


def test_an_unread_macro_is_refused_with_its_near_name(entry_point):
    with pytest.raises(ValueError, match=r"TRAIN_STEP \(did you mean TRAIN_STEPS\?\)"):
        parse(entry_point, "TRAIN_STEP = 3", "MODEL_DIR = 'd'")


def test_missing_required_macros_are_all_named(entry_point):
    with pytest.raises(ValueError, match="Required macros not set: MODEL_DIR, TRAIN_STEPS"):
        parse(entry_point)


def test_a_macro_that_is_read_but_bound_nowhere_is_named(entry_point):
    with pytest.raises(ValueError, match="Required macro not set: ELSEWHERE"):
        parse(entry_point, "TRAIN_STEPS = 3", "MODEL_DIR = %ELSEWHERE")


def test_a_required_macro_may_not_become_none(entry_point):
    with pytest.raises(ValueError, match="Required macro set to None: TRAIN_STEPS"):
        parse(entry_point, "TRAIN_STEPS = None", "MODEL_DIR = 'd'")
    function = parse(entry_point, "TRAIN_STEPS = 3", "MODEL_DIR = 'd'", "BATCH_SIZE = None")
    assert function()[2] == {"batch": (None,)}


def test_none_from_a_file_that_includes_the_requirement_is_refused_too(entry_point, tmp_path):
    module, file = entry_point
    outer = tmp_path / "outer.gin"
    outer.write_text(f"include '{file}'\nTRAIN_STEPS = 3\nMODEL_DIR = None\n")
    with pytest.raises(ValueError, match="set to None: MODEL_DIR"):
        gin_utils.parse_for(module, "train", gin_files=[str(outer)])


def test_an_unread_macro_of_a_file_is_a_warning(entry_point, tmp_path, caplog):
    module, file = entry_point
    outer = tmp_path / "outer.gin"
    outer.write_text(f"include '{file}'\nTRAIN_STEPS = 3\nMODEL_DIR = 'd'\nBACH_SIZE = 3\n")
    logger = logging.getLogger("absl")
    logger.propagate, before = True, logger.propagate
    try:
        # Other tests in this process may have left the logger quieter.
        with caplog.at_level(logging.WARNING, logger="absl"):
            assert gin_utils.parse_for(module, "train", gin_files=[str(outer)])()[2] == {"batch": (8,)}
    finally:
        logger.propagate = before
    assert "BACH_SIZE (did you mean BATCH_SIZE?)" in caplog.text


def test_the_configuration_is_locked_after_parsing(entry_point):
    parse(entry_point, "TRAIN_STEPS = 3", "MODEL_DIR = 'd'")
    assert gin.config_is_locked()
    with pytest.raises(RuntimeError, match="locked"):
        gin.bind_parameter("train.total_steps", 5)


def test_the_summary_parses_again_and_gives_the_same_bindings(entry_point, tmp_path):
    module, _ = entry_point
    parse(entry_point, "TRAIN_STEPS = 3", "MODEL_DIR = 'd'")()
    gin_utils.summarize_gin_config(str(tmp_path / "out"), None, 0)
    first = gin_utils.get_gin_config_str()
    gin.clear_config()
    again = gin_utils.parse_for(module, "train", gin_files=[str(tmp_path / "out" / "config.gin")])
    assert again() == (3, "d", {"batch": (8,)})
    assert gin_utils.get_gin_config_str() == first


def _install(folder, name, value):
    """A distribution on `sys.path`, as a wheel would leave it, that offers gin files."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{gin_utils.SEARCH_PATHS_GROUP}]\n{name} = {value}\n")


def test_files_that_an_installed_package_offers_are_found_from_anywhere(entry_point, tmp_path, monkeypatch):
    site, work = tmp_path / "site", tmp_path / "work"
    _install(site, "offering", "offering:folders")
    (site / "offering.py").write_text("def folders():\n    return [__file__.removesuffix('.py') + '_files']\n")
    (site / "offering_files" / "gin").mkdir(parents=True)
    (site / "offering_files" / "gin" / "sizes.gin").write_text("TRAIN_STEPS = 3\n")
    _install(site, "broken", "no_such_module:folders")
    work.mkdir()
    (work / "mine.gin").write_text(CONFIG + "include 'gin/sizes.gin'\nMODEL_DIR = 'd'\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(gin.config, "_LOCATION_PREFIXES", gin.config._LOCATION_PREFIXES[:])
    monkeypatch.chdir(work)
    module, _ = entry_point
    assert gin_utils.parse_for(module, "train", gin_files=["mine.gin"])() == (3, "d", {"batch": (8,)})


def test_functions_for_use_inside_gin_files():
    assert gin_utils.sum_fn(2, 3) == 5
    assert gin_utils.bool_fn([]) is False
    assert gin_utils.string_split_fn("a/b/c", "/", index=-1) == "c"
    assert gin_utils.string_split_fn("a/b/c", "/", maxsplit=1) == ["a", "b/c"]
