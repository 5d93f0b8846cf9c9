"""Public functions say what they do, and document exactly the arguments that they take.

Read from the source text, without importing anything. The rules:
  * A public function or method has a docstring, unless it is a property's setter, an overload, or overrides a method
    that a base class of this project documents.
  * An `Args:` section, wherever one stands, names exactly the parameters of the signature (a class's own section may
    serve its `__init__`). `*rest` and `**rest` may be written with or without the stars.
  * Without an `Args:` section a function takes at most one parameter, which its summary is about. More are allowed
    where something else speaks for them: the function overrides a documented method of this project, its docstring
    names each parameter in backquotes, or it says whose arguments it shares ("arguments as in `f`").
Private names, nested functions, Flax's `setup`, the methods of protocols (their class says what is called) and dunder
methods other than `__call__` are exempt.
"""

import ast
import re
import textwrap
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_ROOMS = ("distill_or_annotate", "tasks", "runtime/t5x", "benchmarks")

# Flax calls `setup` on every module; there is nothing to say of it that its name does not.
_EXEMPT = {"setup"}

_SECTION = re.compile(r"^(Args|Arguments|Returns|Yields|Raises|Attributes|Example|Examples|Source|Note|Notes):\s*$")
_ENTRY = re.compile(r"^(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)(?:\s*\([^)]*\))?:(?:\s|$)")


def documented_arguments(docstring):
    """Names in the `Args:` section of a cleaned docstring, or None when it has no such section."""
    lines = docstring.splitlines()
    starts = [number for number, line in enumerate(lines) if line.strip() in ("Args:", "Arguments:")]
    if not starts:
        return None
    names, indent = [], None
    outer = len(lines[starts[0]]) - len(lines[starts[0]].lstrip())
    for line in lines[starts[0] + 1 :]:
        if not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        if depth <= outer:
            break
        indent = depth if indent is None else indent
        if depth == indent and (entry := _ENTRY.match(line.strip())):
            names += [name.strip().lstrip("*") for name in entry[1].split(",")]
    return names


def parameters(function, is_method):
    """Names of a signature's parameters in order, without `self`, `cls` and names that begin with an underscore."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args]
    static = any(getattr(decorator, "id", None) == "staticmethod" for decorator in function.decorator_list)
    if is_method and not static:
        named = named[1:]
    rest = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [argument.arg for argument in [*named, *arguments.kwonlyargs, *rest] if not argument.arg.startswith("_")]


def _decorators(function):
    return {ast.unparse(decorator).split("(")[0].split(".")[-1] for decorator in function.decorator_list}


def _functions(body):
    """Functions of a class or module body, those under an `if` or `try` included."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.If | ast.Try):
            yield from _functions([*node.body, *node.orelse])


def _is_public(name):
    return name == "__call__" or (not name.startswith("_") and name not in _EXEMPT)


def _base_names(node):
    return [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases]


def _inherits_documentation(classes, node, method):
    """Whether a base class in `classes` (name to class) documents `method`."""
    for name in _base_names(node):
        base = classes.get(name)
        if base is None or base is node:
            continue
        own = [f for f in _functions(base.body) if f.name == method]
        if any(ast.get_docstring(f) for f in own) or _inherits_documentation(classes, base, method):
            return True
    return False


def _problems_of(function, where, owner, classes):
    overrides = owner is not None and _inherits_documentation(classes, owner, function.name)
    docstring = ast.get_docstring(function)
    taken = parameters(function, owner is not None)
    if docstring is None:
        if not overrides and not {"setter", "overload"} & _decorators(function):
            yield f"{where}: no docstring"
        return
    documented = documented_arguments(docstring)
    if documented is not None:
        if sorted(documented) != sorted(taken):
            yield f"{where}: documents ({', '.join(documented)}) but takes ({', '.join(taken)})"
    elif not overrides and len(taken) > 1 and not re.search(r"\barguments as in `\w+`", docstring):
        silent = [name for name in taken if not re.search(rf"`[^`]*\b{name}\b[^`]*`", docstring)]
        if silent:
            yield f"{where}: says nothing of {', '.join(silent)}"


def problems(source, name, classes=None):
    """What one module's docstrings lack, as lines `module:line object: problem`."""
    tree = ast.parse(source)
    classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)} if classes is None else classes
    found = []
    for function in _functions(tree.body):
        if _is_public(function.name):
            found += _problems_of(function, f"{name}:{function.lineno} {function.name}", None, classes)
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        where = f"{name}:{node.lineno} {node.name}"
        docstring = ast.get_docstring(node)
        if docstring is None:
            found.append(f"{where}: no docstring")
        elif (documented := documented_arguments(docstring)) is not None:
            init = next((f for f in _functions(node.body) if f.name == "__init__"), None)
            fields = [n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
            taken = fields if init is None else parameters(init, True)
            if sorted(documented) != sorted(taken):
                found.append(f"{where}: documents ({', '.join(documented)}) but takes ({', '.join(taken)})")
        if "Protocol" in _base_names(node):
            continue
        for function in _functions(node.body):
            if _is_public(function.name):
                place = f"{name}:{function.lineno} {node.name}.{function.name}"
                found += _problems_of(function, place, node, classes)
    return found


def _sources():
    files = [path for room in _ROOMS for path in sorted((_ROOT / room).rglob("*.py"))]
    return {path: path.read_text(encoding="utf-8") for path in files}


_SOURCES = _sources()
_CLASSES = {n.name: n for source in _SOURCES.values() for n in ast.parse(source).body if isinstance(n, ast.ClassDef)}


def test_all_rooms_are_read():
    assert all(any(path.is_relative_to(_ROOT / room) for path in _SOURCES) for room in _ROOMS)
    assert len(_SOURCES) > 90


@pytest.mark.parametrize("room", _ROOMS)
def test_public_functions_document_exactly_what_they_take(room):
    found = []
    for path, source in _SOURCES.items():
        if path.is_relative_to(_ROOT / room):
            found += problems(source, str(path.relative_to(_ROOT)), _CLASSES)
    assert found == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(): pass", "no docstring"),
        ("class C:\n  pass", "no docstring"),
        ("class C:\n  'C.'\n  def f(self): pass", "no docstring"),
        ("def f(a, b):\n  'Does.'", "says nothing of a, b"),
        ("def f(a, b):\n  'Does `a`.'", "says nothing of b"),
        ("def f(a, *, b):\n  '''Does.\n\n  Args:\n    a: first.\n  '''", "documents (a) but takes (a, b)"),
        ("def f(a):\n  '''Does.\n\n  Args:\n    a: first.\n    b: gone.\n  '''", "documents (a, b) but takes (a)"),
        ("class C:\n  'C.'\n  def f(self, a, b):\n    'Does.'", "says nothing of a, b"),
        (
            "class C:\n  '''C.\n\n  Args:\n    b: gone.\n  '''\n  def __init__(self, a): pass",
            "documents (b) but takes (a)",
        ),
        ("class A:\n  'A.'\nclass B(A):\n  'B.'\n  def f(self): pass", "no docstring"),
    ],
)
def test_a_docstring_that_lacks_something_is_found(source, expected):
    found = problems(textwrap.dedent(source), "module.py")
    assert len(found) == 1 and expected in found[0]


@pytest.mark.parametrize(
    "source",
    [
        "def _f(a): pass",
        "def f():\n  'Does.'\n  def inner(a): pass",
        "def f(a):\n  'Does it.'",
        "def f(a, b):\n  'Does it; arguments as in `g`.'",
        "class P(Protocol):\n  'P.'\n  def __call__(self, a, b): ...",
        "def f(a, b, *c, **d):\n  '''Does.\n\n  Args:\n    a, b: a.\n    *c: (of\n      it): c.\n    d: d.\n  '''",
        "class A:\n  'A.'\n  def f(self, a):\n    'Does `a`.'\nclass B(A):\n  'B.'\n  def f(self, a): pass",
        "class C:\n  'C.'\n  @property\n  def p(self):\n    'P.'\n  @p.setter\n  def p(self, value): pass",
        "class C:\n  'C.'\n  @staticmethod\n  def f(a):\n    '''Does.\n\n    Args:\n      a: it.\n    '''",
    ],
)
def test_a_docstring_that_lacks_nothing_passes(source):
    assert problems(source, "module.py") == []
