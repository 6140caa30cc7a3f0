"""Lists the mutants of a module: its source with one operator or one condition changed.

Numbers and texts are not changed. Most are limits and messages that no test has to check. Expressions in an f-string
are not changed either, because the syntax tree of Python 3.11 does not contain their positions.
"""

import ast
from typing import NamedTuple

COMPARISONS: dict[type[ast.cmpop], tuple[str, list[str]]] = {
    ast.Eq: ("==", ["!="]),
    ast.NotEq: ("!=", ["=="]),
    ast.Lt: ("<", ["<=", ">="]),
    ast.LtE: ("<=", ["<", ">"]),
    ast.Gt: (">", [">=", "<="]),
    ast.GtE: (">=", [">", "<"]),
    ast.Is: ("is", ["is not"]),
    ast.IsNot: ("is not", ["is"]),
    ast.In: ("in", ["not in"]),
    ast.NotIn: ("not in", ["in"]),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, list[str]]] = {
    ast.Add: ("+", ["-"]),
    ast.Sub: ("-", ["+"]),
    ast.Mult: ("*", ["/"]),
    ast.Div: ("/", ["*"]),
    ast.FloorDiv: ("//", ["*"]),
    ast.Mod: ("%", ["*"]),
    ast.Pow: ("**", ["*"]),
    ast.BitOr: ("|", ["&"]),
    ast.BitAnd: ("&", ["|"]),
    ast.BitXor: ("^", ["|"]),
    ast.LShift: ("<<", [">>"]),
    ast.RShift: (">>", ["<<"]),
}
BOOLEAN: dict[type[ast.boolop], tuple[str, list[str]]] = {ast.And: ("and", ["or"]), ast.Or: ("or", ["and"])}


class Mutant(NamedTuple):
    path: str
    line: int
    lines: range  # of the statement, or of the head of a compound statement
    is_in_function: bool  # if not, it runs at import, before any test
    start: int  # in bytes of the source
    end: int
    after: str

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.end :]

    def describe(self, source: bytes) -> str:
        """Return the position, and the line before and after the change."""
        before, after = (text.splitlines()[self.line - 1].strip() for text in (source, self.apply(source)))
        return f"{self.path}:{self.line}\n    - {before.decode()}\n    + {after.decode()}"


def mutants_of(path: str, source: bytes) -> list[Mutant]:
    """Return the mutants of one module, in the order of its source."""
    finder = _Finder(path, source)
    finder.visit(ast.parse(source))
    return sorted(finder.mutants, key=lambda mutant: (mutant.start, mutant.end, mutant.after))


class _Finder(ast.NodeVisitor):
    def __init__(self, path: str, source: bytes) -> None:
        self.mutants: list[Mutant] = []
        self._path = path
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = range(0)
        self._is_in_function = False

    def visit(self, node: ast.AST) -> None:
        outer = self._lines
        if isinstance(node, ast.stmt | ast.match_case):
            head = node.pattern if isinstance(node, ast.match_case) else node
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else head.end_lineno
            self._lines = range(head.lineno, max(head.lineno, last) + 1)
        super().visit(node)
        self._lines = outer

    def generic_visit(self, node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns"):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outer = self._is_in_function
        for at_definition in (*node.decorator_list, node.args):
            self.visit(at_definition)
        self._is_in_function = True
        for statement in node.body:
            self.visit(statement)
        self._is_in_function = outer

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None: ...

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, operands, node.comparators, strict=False):
            self._replace_between(left, right, *COMPARISONS[type(operator)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._replace_between(left, right, *BOOLEAN[type(node.op)])
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in ARITHMETIC:
            self._replace_between(node.left, node.right, *ARITHMETIC[type(node.op)])
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if type(node.op) in ARITHMETIC:
            before, others = ARITHMETIC[type(node.op)]
            self._replace_between(node.target, node.value, f"{before}=", [f"{other}=" for other in others])
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            start = self._start_of(node)
            self._add(node.lineno, start, start + (3 if isinstance(node.op, ast.Not) else 1), "")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._negate(test)
        self.generic_visit(node)

    def _negate(self, test: ast.expr) -> None:
        """Add `not` to a condition without an operator. The methods above change conditions with an operator."""
        if isinstance(test, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            self._add(test.lineno, self._start_of(test), self._start_of(test), "not ")

    def _replace_between(self, left: ast.expr, right: ast.expr, before: str, others: list[str]) -> None:
        gap_start = self._offset(left.end_lineno or left.lineno, left.end_col_offset or 0)
        gap = self._source[gap_start : self._start_of(right)]
        words = b"\n".join(line.partition(b"#")[0].ljust(len(line)) for line in gap.split(b"\n"))
        start = gap_start + words.index(before.encode())
        line = self._source.count(b"\n", 0, start) + 1
        for other in others:
            self._add(line, start, start + len(before), other)

    def _add(self, line: int, start: int, end: int, after: str) -> None:
        self.mutants.append(Mutant(self._path, line, self._lines, self._is_in_function, start, end, after))

    def _start_of(self, node: ast.expr) -> int:
        return self._offset(node.lineno, node.col_offset)

    def _offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column
