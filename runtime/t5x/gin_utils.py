"""The gin command line: rewriting, parsing, checking and summarising configurations."""

import difflib
import importlib.metadata
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

import jax
from absl import app, flags, logging

import gin

# Entry points of this group offer folders of gin files, see `_installed_search_paths`.
SEARCH_PATHS_GROUP = "t5x.gin_search_paths"

_BINDING = re.compile(r"^\s*(?P<name>[A-Za-z_][\w/]*)\s*=", re.MULTILINE)
_REQUIREMENT = re.compile(_BINDING.pattern + r"\s*%gin\.REQUIRED\b", re.MULTILINE)


def rewrite_gin_args(args: Sequence[str]) -> list[str]:
    """Turns each `--gin.NAME=VALUE` into `--gin_bindings=NAME = VALUE` and leaves all other arguments alone.

    Args:
      args: command line arguments, in order.

    Returns:
      The rewritten arguments, in the same order.

    Raises:
      ValueError: when a `--gin.` argument holds no `=`.
    """

    def rewrite(arg: str) -> str:
        if not arg.startswith("--gin."):
            return arg
        if "=" not in arg:
            raise ValueError(
                f"Gin bindings must be of the form '--gin.NAME=VALUE', got {arg!r}. Strings need inner quotes: "
                "--gin.MODEL_DIR=\"'/tmp/model'\"."
            )
        name, value = arg[len("--gin.") :].split("=", 1)
        return f"--gin_bindings={name} = {value}"

    return [rewrite(arg) for arg in args]


def _package_parent() -> str:
    """The folder that holds the `t5x` package, so that `t5x/configs/...` resolves from anywhere."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _installed_search_paths() -> list[str]:
    """Folders that installed packages offer for includes, under the entry point group `t5x.gin_search_paths`.

    An entry point names a function without arguments that returns a list of folders.
    """
    found: list[str] = []
    for entry in importlib.metadata.entry_points(group=SEARCH_PATHS_GROUP):
        try:
            found += entry.load()()
        except Exception as error:  # a package that is half removed must not stop the runs that do without it
            logging.warning("No gin files of %s (%s): %s: %s", entry.name, entry.value, type(error).__name__, error)
    return found


def _macros() -> tuple[dict[str, Any], set[str]]:
    """The macros that are bound (name to value) and the names of those that some binding reads."""
    config = gin.config._CONFIG
    bound = {scope: values.get("value") for (scope, selector), values in config.items() if selector == "gin.macro"}
    references = gin.config.iterate_references(config)
    return bound, {"/".join(ref.scopes) for ref in references if ref.selector == "gin.macro"}


def _is_required_marker(value: Any) -> bool:
    return isinstance(value, gin.config.ConfigurableReference) and value.scopes == ["gin.REQUIRED"]


def _texts(parsed: Iterable[Any]) -> Iterator[str]:
    """Texts of gin files that were parsed, and of those they include."""
    for file in parsed:
        paths = [os.path.join(prefix, file.filename) for prefix in gin.config._LOCATION_PREFIXES]
        with open(next(filter(os.path.isfile, paths)), encoding="utf-8") as stream:
            yield stream.read()
        yield from _texts(file.includes)


def _with_near_names(names: Iterable[str], known: Iterable[str]) -> str:
    near = {name: difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.6) for name in names}
    return ", ".join(f"{n} (did you mean {' or '.join(near[n])}?)" if near[n] else n for n in sorted(names))


def check_macros(command_line_bindings: Sequence[str] = (), required: Iterable[str] = ()) -> None:
    """Checks that required macros have a value and that every macro given on the command line is read.

    Gin itself accepts a misspelt macro in silence, and names a missing one only beside a dump of the configuration. An
    unread macro of a file, which may serve several programs, is only warned of.

    Args:
      command_line_bindings: the bindings given after all files, as `NAME = VALUE`.
      required: macros that some file declares as `%gin.REQUIRED`; they must not be None.

    Raises:
      ValueError: naming the macros that are missing, None, or unread together with near names.
    """
    bound, read = _macros()
    unread = set(bound) - read
    given = {match["name"] for binding in command_line_bindings for match in _BINDING.finditer(binding)}
    if unread & given:
        raise ValueError(
            f"No binding reads the macro {_with_near_names(unread & given, read)} given on the command line, so it "
            f"would have no effect. Macros that are read: {', '.join(sorted(read))}."
        )
    if unread:
        logging.warning("Macros that no binding reads: %s.", _with_near_names(unread, read))
    missing = sorted(name for name in read if name not in bound or _is_required_marker(bound[name]))
    if missing:
        raise ValueError(
            f"Required macro{'s' if len(missing) > 1 else ''} not set: {', '.join(missing)}. Set each in a gin file or "
            f"on the command line, for example --gin.{missing[0]}=VALUE (strings need inner quotes: \"'text'\")."
        )
    empty = sorted(name for name in read & set(required) if bound[name] is None)
    if empty:
        raise ValueError(
            f"Required macro{'s' if len(empty) > 1 else ''} set to None: {', '.join(empty)}. Give a value; where none "
            f"is wanted, say so: [] as INITIAL_CHECKPOINT_PATH starts from scratch."
        )


def parse_gin_flags(
    gin_search_paths: Sequence[str],
    gin_files: Sequence[str],
    gin_bindings: Sequence[str],
    skip_unknown: bool | Sequence[str] = False,
    finalize_config: bool = True,
) -> None:
    """Parses files, then bindings, checks the macros and locks the configuration.

    Args:
      gin_search_paths: folders in which files and includes are looked for; the one that holds `t5x` is appended, and
        those that installed packages offer (entry point group `t5x.gin_search_paths`).
      gin_files: configuration files, later ones win.
      gin_bindings: single bindings `NAME = VALUE`, applied after all files.
      skip_unknown: gin's own option.
      finalize_config: False leaves the configuration open and unchecked, for callers that bind more afterwards.

    Raises:
      ValueError: see `check_macros`, and whatever gin finds wrong.
      OSError: when a file is not found.
    """
    for path in [*gin_search_paths, _package_parent(), *_installed_search_paths()]:
        if path not in gin.config._LOCATION_PREFIXES:
            gin.add_config_file_search_path(path)
    bindings = list(gin_bindings or [])
    parsed = gin.parse_config_files_and_bindings(
        list(gin_files or []), bindings, finalize_config=False, skip_unknown=skip_unknown
    )
    if finalize_config:
        check_macros(bindings, {match["name"] for text in _texts(parsed) for match in _REQUIREMENT.finditer(text)})
        gin.finalize()
    logging.info("Gin configuration:\n%s", gin.config_str())


def parse_for(
    module: ModuleType,
    function_name: str,
    *,
    gin_files: Sequence[str] = (),
    gin_bindings: Sequence[str] = (),
    gin_search_paths: Sequence[str] = (".",),
    finalize_config: bool = True,
) -> Callable[..., Any]:
    """Clears gin, parses a configuration as the command `python -m MODULE` would, and returns its entry point.

    Run configurations bind their entry point through `__main__`, so the module stands in for that while they are
    parsed. Not safe for use from two threads at once.

    Args:
      module: `t5x.train`, `t5x.eval` or `t5x.infer`.
      function_name: `train`, `evaluate` or `infer`.
      gin_files: as `--gin_file`.
      gin_bindings: as `--gin_bindings`, `NAME = VALUE`.
      gin_search_paths: as `--gin_search_paths`.
      finalize_config: see `parse_gin_flags`.

    Returns:
      The configured function, to be called without arguments before the next `parse_for`.

    Raises:
      ValueError: see `parse_gin_flags`.
    """
    gin.clear_config()
    function = getattr(module, function_name)
    known = gin.config._inverse_lookup(function)
    entry_point = gin.configurable(function) if known is None else known.wrapper
    real, sys.modules["__main__"] = sys.modules["__main__"], module
    try:
        parse_gin_flags(gin_search_paths, gin_files, gin_bindings, finalize_config=finalize_config)
    finally:
        sys.modules["__main__"] = real
    return entry_point


def get_gin_config_str(show_provenance: bool = False) -> str:
    """The operative configuration as text that gin can read again.

    Args:
      show_provenance: accepted for compatibility; gin-config 0.5 keeps no provenance.

    Returns:
      The bindings of all configurables called so far.
    """
    del show_provenance
    return gin.operative_config_str()


@gin.register(module="t5x.gin_utils")
def summarize_gin_config(model_dir: str, summary_writer: Any | None, step: int) -> None:
    """Writes the operative configuration to `config.gin` and to TensorBoard, on process 0 only.

    Args:
      model_dir: folder of the run, created when missing.
      summary_writer: a writer with `write_text`/`write_texts` (CLU) or None.
      step: step at which the text appears in TensorBoard.
    """
    if jax.process_index() != 0:
        return
    config = get_gin_config_str()
    os.makedirs(model_dir, exist_ok=True)
    path = os.path.join(model_dir, "config.gin")
    # Replaced as a whole: a reader never sees half a file.
    with open(f"{path}.tmp", "w", encoding="utf-8") as file:
        file.write(config)
    os.replace(f"{path}.tmp", path)
    if summary_writer is not None:
        summary_writer.write_texts(step, {"config": gin.markdown(config)})
        summary_writer.flush()


def run(main: Callable[[Sequence[str]], Any]) -> None:
    """Runs `main` under absl after rewriting `--gin.NAME=VALUE` arguments.

    Args:
      main: receives the arguments that are left over after parsing.
    """
    jax.config.parse_flags_with_absl()
    app.run(main, flags_parser=lambda args: app.parse_flags_with_usage(rewrite_gin_args(args)))


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, unless JAX's own settings name a folder or an empty one."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or jax.config.jax_compilation_cache_dir is not None:
        return
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    jax.config.update("jax_compilation_cache_dir", os.path.join(cache, "t5x", "compiled"))
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def run_entry_point(
    function: Callable[..., Any], prepare: Callable[[flags.FlagValues], Sequence[str] | None] = lambda flag_values: None
) -> None:
    """The program behind `python -m t5x.train`, `.eval` and `.infer`: flags, configuration, call.

    Args:
      function: the entry point, called without arguments once gin is configured.
      prepare: called with the flags before gin is; may return further bindings.
    """
    flags.DEFINE_multi_string("gin_file", None, "Gin configuration file; may be given several times, later ones win.")
    flags.DEFINE_multi_string("gin_bindings", [], "A binding, applied after all files; also --gin.NAME=VALUE.")
    flags.DEFINE_list("gin_search_paths", ["."], "Folders in which gin files are looked for.")
    flags.DEFINE_string("tfds_data_dir", None, "Folder used for every TFDS data set in place of the registered one.")

    def main(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"Too many arguments: {argv[1:]}. Bindings are written --gin.NAME=VALUE.")
        use_compilation_cache()
        given = flags.FLAGS
        bindings = [*given.gin_bindings, *(prepare(given) or ())]
        if given.tfds_data_dir:
            import seqio

            seqio.set_tfds_data_dir_override(given.tfds_data_dir)
        entry_point = gin.configurable(function)
        parse_gin_flags(given.gin_search_paths, given.gin_file, bindings)
        entry_point()

    run(main)


def sum_fn(var1: float, var2: float) -> float:
    """Adds two values, for sums of macros inside gin files.

    Args:
      var1: first term.
      var2: second term.

    Returns:
      `var1 + var2`.
    """
    return var1 + var2


def bool_fn(var1: Any) -> bool:
    """Truth value of a macro, for use inside gin files.

    Args:
      var1: any value.

    Returns:
      `bool(var1)`.
    """
    return bool(var1)


def string_split_fn(text: str, separator: str, maxsplit: int = -1, index: int | None = None) -> Any:
    """Splits a string inside a gin file.

    Args:
      text: the string.
      separator: what to split on.
      maxsplit: largest number of splits, -1 for all.
      index: return only this part when given.

    Returns:
      The list of parts, or one of them.
    """
    parts = text.split(separator, maxsplit)
    return parts if index is None else parts[index]
