"""Original sources: their names, the lines around a position, and the function that encloses it."""

import pytest

from events.sourcemaps import originals

NAMES = [
    ("../../src/protocol.ts", "src/protocol.ts", True),
    ("webpack:///./src/a.ts?1f2e", "src/a.ts", True),
    ("webpack://app/./src/a.ts", "src/a.ts", True),
    ("file:///home/me/src/a.ts", "home/me/src/a.ts", True),
    ("https://example.org/src/a.ts", "src/a.ts", True),
    ("src/App.vue?vue&type=script", "src/App.vue", True),
    (r"C:\code\src\a.ts", "C:/code/src/a.ts", True),
    ("../../node_modules/.pnpm/lit@3/node_modules/lit/index.js", "node_modules/lit/index.js", False),
    ("webpack:///~/lit/index.js", "~/lit/index.js", False),
    ("\0vite/preload-helper.js", "vite/preload-helper.js", False),
    ("webpack/bootstrap", "webpack/bootstrap", False),
    ("../../../../etc/passwd", "etc/passwd", True),
    ("javascript:alert(1)", "javascript:alert(1)", False),
    ("src/\x1b[1m\u202ea.ts", "src/[1ma.ts", True),
    ("?", "?", False),
    ("", "(no name)", False),
    (None, "(no name)", False),
]


@pytest.mark.parametrize(("source", "file", "in_app"), NAMES)
def test_a_source_has_the_name_that_people_know(source: str | None, file: str, in_app: bool) -> None:
    assert originals.named(source) == (file, in_app)


def test_a_long_name_keeps_its_end() -> None:
    name = originals.named("a/" * 300 + "x.ts").file
    assert (len(name), name[0], name[-4:]) == (200, "…", "x.ts")


CODE = """\
import x from "y";
export class Protocol extends Base {
  constructor(port) {
    super(port); // constructor
  }
  private async writeBlock(block: number, { retry = 3 }: Options = {}): Promise<void> {
    if (!ack) {
      for (const x of y) {
        throw new ProtocolError("no"); // writeBlock
      }
    }
    setTimeout(() => {
      call(); // writeBlock
    }, 5);
    ports.forEach(function (p) {
      call(); // writeBlock
    });
    const ready = (a || b) && (
      call() // writeBlock
    );
  }
  async ofManyLines(
    a: number,
  ): Promise<void> {
    doThing(
      call(), // ofManyLines
    );
  }
  handler = async (event: Event): Promise<void> => {
    call(); // handler
  };
}
export const flash = async (radio: Radio) => {
  call(); // flash
};
const later = async (
  radio,
) => {
  call(); // later
};
function* gen() {
\tcall(); // gen
}
export default function () {
  call(); // None
}
const api = {
  open(port) { return call(port); }, // open
  close: (port) => call(port), // close
  read: function () {
    call(); // read
  },
};
function functional() { return 1; } call(); // None
call(); // None
"""


def test_the_enclosing_function_is_read_from_the_indentation() -> None:
    lines = originals.split(CODE)
    marked = [(number, text) for number, text in enumerate(lines, 1) if "// " in text]
    found = {}
    for number, text in marked:
        column = max(text.rfind(word) for word in ("call(", "throw", "super")) + 1
        found[number] = str(originals.enclosing_function(lines, number, column))
    assert found == {number: text.partition("// ")[2] for number, text in marked}


@pytest.mark.parametrize(
    "lines", [[], [""], ["}"], ["x" * 100_000], ["(" * 300] * 50, [" " * n + "a(" + ")" * 250 for n in range(40)]]
)
def test_code_of_any_shape_has_a_function_or_none(lines: list[str]) -> None:
    for line in (0, 1, len(lines), len(lines) + 1):
        for column in (0, 1, 200, 10**9):
            assert originals.enclosing_function(lines, line, column) in (None, "a")


CONTEXTS = [
    (["a", "b", "c"], 2, 1, (1, [(1, "a"), (2, "b"), (3, "c")])),
    (["a"], 1, 9, (9, [(1, "a")])),
    (["a"], 2, 1, None),
    ([], 1, 1, None),
    (["a\0\x1b\tb"], 1, 5, (5, [(1, "a\ufffd\ufffd\tb")])),
    (["x" * 300 + "!" + "y" * 300], 1, 301, (102, [(1, "…" + "x" * 100 + "!" + "y" * 99 + "…")])),
    (["x" * 200 + "!"], 1, 201, (102, [(1, "…" + "x" * 100 + "!")])),
    (["y" * 201, "b"], 2, 1, (1, [(1, "y" * 200 + "…"), (2, "b")])),
]


@pytest.mark.parametrize(("lines", "line", "column", "context"), CONTEXTS)
def test_lines_around_a_position_are_cut(lines: list[str], line: int, column: int, context: object) -> None:
    assert originals.context_of(lines, line, column) == context


def test_lines_end_as_browsers_count_them() -> None:
    assert originals.split("a\r\nb\rc\nd\u2028e\x0bf") == ["a", "b", "c", "d\u2028e\x0bf"]


@pytest.mark.parametrize(
    ("line", "text", "name"),
    [
        (1, "export class ProtocolError extends Error {", "ProtocolError"),
        (2, '  override name = "ProtocolError";', "ProtocolError"),
        (3, "  constructor(readonly block: number) {", "ProtocolError"),
        (4, '    super("No ACK");', "constructor"),
        (7, "  static of = (block: number) => {", "ProtocolError"),
        (8, "    return new ProtocolError(block);", "of"),
        (11, "class Plain {}", None),
    ],
)
def test_code_of_a_class_outside_its_methods_has_the_name_of_the_class(line: int, text: str, name: str | None) -> None:
    lines = """\
export class ProtocolError extends Error {
  override name = "ProtocolError";
  constructor(readonly block: number) {
    super("No ACK");
  }

  static of = (block: number) => {
    return new ProtocolError(block);
  };
}
class Plain {}
""".splitlines()
    assert lines[line - 1] == text
    assert originals.enclosing_function(lines, line, len(text) - len(text.lstrip()) + 1) == name
