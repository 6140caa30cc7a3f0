"""Bundles the invented app as a real bundler does: hashed files of minified lines, with version 3 source maps.

The bundler understands just enough TypeScript for the sources in `flasher/`. It removes comments, types and imports,
renames every identifier that the app declares, and writes almost everything on one line. Two versions of the same
sources get other names, other positions and other hashes.

The sources follow these conventions, because a full parser would be longer than everything else here:
- a type after a colon is a primitive type or a name such as `SerialPort`; values after a colon have other names;
- no `as`, no default exports, no regular expressions, no destructuring, no shorthand properties, no `${}`;
- `/*@name*/` marks the token at which an engine reports a frame. The mark is no part of the source.
"""

import hashlib
import json
import random
import re
import string
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

HASH_CHARACTERS = 8
_LINE_LIMIT = 4_000  # A module that begins after this column gets a new line.
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*[^@].*?\*/|/\*\*/)
    |(?P<mark>/\*@[\w-]+\*/)
    |(?P<text>"(?:[^"\\\n]|\\.)*")
    |(?P<number>0x[0-9a-f]+|\d+(?:\.\d+)?)
    |(?P<word>[A-Za-z_$][\w$]*)
    |(?P<sign>===|!==|=>|<=|>=|&&|\|\||\+\+|[+*/^&|-]=|<<|>>|[{}()\[\];,<>+*/%&|^!~?:=.-])""",
    re.VERBOSE | re.DOTALL,
)
_MARK = re.compile(r"/\*@[\w-]+\*/")
_TYPE = re.compile(r"[A-Z]\w*[a-z]\w*")
_PRIMITIVE_TYPES = frozenset(["number", "string", "boolean", "void", "unknown", "never"])
_KEYWORDS = frozenset([
    "async", "await", "break", "case", "catch", "class", "const", "constructor", "continue", "delete", "do", "else",
    "export", "extends", "false", "finally", "for", "from", "function", "get", "if", "import", "in", "instanceof",
    "let", "new", "null", "of", "return", "set", "static", "super", "switch", "this", "throw", "true", "try",
    "typeof", "undefined", "void", "while"
])  # fmt: skip
_RESERVED = frozenset(["as", "do", "if", "in", "is", "of"])
_GLOBALS = frozenset([
    "AbortController", "Array", "Boolean", "Date", "Error", "JSON", "Map", "Math", "Number", "Promise", "Set",
    "String", "TextEncoder", "TypeError", "Uint8Array", "clearTimeout", "crypto", "document", "fetch", "navigator",
    "performance", "setTimeout", "window"
])  # fmt: skip
_DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
_FIRST = string.ascii_letters + "_$"
_OTHER = string.ascii_letters + string.digits + "_$"


class Token(NamedTuple):
    """A word, number, text or sign of a source, with its place there; both numbers are 0-based."""

    text: str
    line: int
    column: int
    mark: str = ""
    renamed: bool = False
    function: str = ""  # the original name of the function around it; "A/<" in an arrow function inside of A
    owner: str = ""  # the class of that function


class FilePosition(NamedTuple):
    """A place in a file; both numbers are 1-based, as stacks have them."""

    file: str
    line: int
    column: int


class Mark(NamedTuple):
    """A marked token: where each engine reports it in the bundle, and where it is in the sources."""

    v8: FilePosition
    gecko: FilePosition
    webkit: FilePosition
    source: FilePosition
    function: str  # the minified name
    original_function: str
    owner: str  # the minified name of the class
    original_owner: str
    is_arrow: bool
    is_awaited: bool


class Chunk(NamedTuple):
    """One file of a bundle, and its source map as JSON text."""

    file: str
    code: str
    source_map: str


class Bundle(NamedTuple):
    """All files of one version, and its marked places by name."""

    chunks: list[Chunk]
    marks: dict[str, Mark]


def bundle(sources: Mapping[str, str], chunks: Mapping[str, Sequence[str]], seed: str) -> Bundle:
    """Bundle the sources (text by path, with marks). `chunks` lists the paths of each chunk, the lazy ones first."""
    modules = {path: _Module(path, text) for path, text in sources.items()}
    names = _short_names([token for module in modules.values() for token in module.tokens], seed)
    files: dict[str, str] = {}
    built = []
    marks: dict[str, Mark] = {}
    home = {name: chunk for chunk, paths in chunks.items() for path in paths for name in modules[path].exported}
    for chunk, paths in chunks.items():
        writer = _Writer(names)
        used = {token.text for path in paths for token in modules[path].tokens if token.renamed}
        for other in chunks:
            if other != chunk and (wanted := sorted(names[name] for name in used if home.get(name) == other)):
                writer.add_code(f'import{{{",".join(wanted)}}}from"./{_blank(other)}";')
        for path in paths:
            writer.add_module(modules[path], _imported_later(modules[path], chunks))
        exports = sorted(names[name] for path in paths for name in modules[path].exported)
        writer.add_code(f"export{{{','.join(exports)}}};")
        code = writer.code
        # The hash covers the code without hashes, which is therefore the same whichever chunk is written first.
        digest = hashlib.blake2b(code.encode(), digest_size=6).digest()
        files[chunk] = f"{chunk}-{urlsafe_b64encode(digest).decode()}.js"
        built.append((chunk, paths, writer, code))
    done = []
    for chunk, paths, writer, code in built:
        for other, file in files.items():
            code = code.replace(_blank(other), file)
        source_map = writer.source_map(files[chunk], [modules[path] for path in paths])
        done.append(Chunk(files[chunk], f"{code}//# sourceMappingURL={files[chunk]}.map\n", source_map))
        marks |= writer.marks(files[chunk])
    return Bundle(done, marks)


def _blank(chunk: str) -> str:
    """Return what stands for a file name until its hash is known; it has the same length."""
    return f"{chunk}-{'!' * HASH_CHARACTERS}.js"


def _imported_later(module: "_Module", chunks: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the file of the chunk for each `import("./...")` of a module, by the text of the token."""
    return {
        token.text: _blank(chunk)
        for token in module.tokens
        if token.text.startswith('"./')
        for chunk, paths in chunks.items()
        if f"src/{token.text[3:-1]}.ts" in paths
    }


# --- reading -------------------------------------------------------------------------------------------------


class _Module:
    """The tokens of a source that reach the bundle."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = _MARK.sub("", text)
        self.exported: list[str] = []
        self.tokens = self._named(self._without_types(_tokens(text)))

    def _without_types(self, tokens: list[Token]) -> list[Token]:
        kept: list[Token] = []
        at = 0
        while at < len(tokens):
            token = tokens[at]
            following = tokens[at + 1].text if at + 1 < len(tokens) else ""
            if token.text == "import" and following != "(":
                while tokens[at].text != ";":
                    at += 1
            elif token.text == "export":
                words = [word for word in tokens[at + 1 : at + 4] if word.text not in _KEYWORDS]
                self.exported.append(words[0].text)
            elif token.text == ":" and _begins_type(tokens, at + 1):
                at = _end_of_type(tokens, at + 1)
                continue
            else:
                kept.append(token)
            at += 1
        return kept

    def _named(self, tokens: list[Token]) -> list[Token]:
        """Return the tokens with the functions around them; identifiers of the app are marked as renamed."""
        named: list[Token] = []
        scopes: list[tuple[str, str, bool]] = [("", "", False)]  # function, class, whether this is a class's body
        round_brackets = [0]
        announced: tuple[str, str, bool] | None = None
        for at, token in enumerate(tokens):
            before = tokens[at - 1].text if at else ""
            after = tokens[at + 1].text if at + 1 < len(tokens) else ""
            function, owner, in_class = scopes[-1]
            is_member = in_class and not round_brackets[-1] and before != "extends"
            is_key = after == ":" and before in ("{", ",") and not in_class
            renamed = (
                token.text[0] in _FIRST and token.text not in _KEYWORDS and token.text not in _GLOBALS
                and before != "." and not is_member and not is_key
            )  # fmt: skip
            if before == "function":
                announced = (token.text, "", False)
            elif before == "class":
                announced = ("", token.text, True)
            elif is_member and after == "(":
                announced = (token.text, owner, False)
            match token.text:
                case "{":
                    if before == "=>":
                        scopes.append((f"{function}/<", owner, False))
                    elif announced and not round_brackets[-1]:
                        scopes.append(announced)
                        announced = None
                    else:
                        scopes.append((function, owner, False))
                    round_brackets.append(0)
                case "}":
                    scopes.pop()
                    round_brackets.pop()
                case "(":
                    round_brackets[-1] += 1
                case ")":
                    round_brackets[-1] -= 1
            named.append(token._replace(renamed=renamed, function=function, owner=owner))
        return named


def _tokens(text: str) -> list[Token]:
    tokens = []
    mark = ""
    line = column = at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"line {line + 1}: the bundler does not know {text[at : at + 20]!r}")
        at = match.end()
        if match.lastgroup == "mark":
            mark = match[0][3:-2]
            continue
        if match.lastgroup != "space":
            tokens.append(Token(match[0], line, column, mark))
            mark = ""
        breaks = match[0].count("\n")
        line += breaks
        column = len(match[0]) - match[0].rindex("\n") - 1 if breaks else column + len(match[0])
    return tokens


def _begins_type(tokens: list[Token], at: int) -> bool:
    word = tokens[at].text
    return word in _PRIMITIVE_TYPES or (_TYPE.fullmatch(word) is not None and tokens[at + 1].text != "(")


def _end_of_type(tokens: list[Token], at: int) -> int:
    at += 1
    if tokens[at].text == "<":
        depth = 0
        while True:
            depth += {"<": 1, ">": -1, ">>": -2}.get(tokens[at].text, 0)
            at += 1
            if depth <= 0:
                break
    return at


def _short_names(tokens: Iterable[Token], seed: str) -> dict[str, str]:
    """Return a short name for each identifier of the app. The frequent ones get one letter; the seed decides which."""
    rng = random.Random(seed)  # noqa: S311 (demo data, not a secret)
    counts = Counter(token.text for token in tokens if token.renamed)
    singles = list(_FIRST)
    pairs = [a + b for a in _FIRST for b in _OTHER if a + b not in _RESERVED]
    rng.shuffle(singles)
    rng.shuffle(pairs)
    by_use = sorted(counts, key=lambda name: (-counts[name], name))
    return dict(zip(by_use, [*singles, *pairs], strict=False))


# --- writing -------------------------------------------------------------------------------------------------


class _Writer:
    """Writes a chunk, and remembers the place of every token."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._parts: list[str] = []
        self._line = 0
        self._column = 0
        self._last = ""
        # The token, its module, and its 0-based line and column in the chunk.
        self._placed: list[tuple[Token, _Module, int, int]] = []

    @property
    def code(self) -> str:
        return "".join([*self._parts, "\n"])

    def add_code(self, text: str) -> None:
        """Add code that belongs to no source."""
        self._write(text)
        self._last = ";"

    def add_module(self, module: _Module, files: Mapping[str, str]) -> None:
        """Add the code of a source. `files` has the file names of the chunks that it imports when they are needed."""
        for token in module.tokens:
            text = self._names[token.text] if token.renamed else token.text
            if text in files:
                text = f'"./{files[text]}"'
            if self._last and self._last[-1] in _OTHER and text[0] in _OTHER:
                self._write(" ")
            self._placed.append((token, module, self._line, self._column))
            self._write(text)
            self._last = text
        if self._column > _LINE_LIMIT:
            self._parts.append("\n")
            self._line += 1
            self._column = 0
        self._last = ""

    def _write(self, text: str) -> None:
        self._parts.append(text)
        self._column += len(text)

    def source_map(self, file: str, modules: Sequence[_Module]) -> str:
        """Return a version 3 map with a segment for every token."""
        sources = {module.path: number for number, module in enumerate(modules)}
        names: dict[str, int] = {}
        lines: list[list[str]] = [[] for _ in range(self._line + 1)]
        source = line = column = name = 0
        previous_line = previous_column = 0
        for token, module, at_line, at_column in self._placed:
            if at_line != previous_line:
                previous_line, previous_column = at_line, 0
            number = sources[module.path]
            fields = [at_column - previous_column, number - source, token.line - line, token.column - column]
            previous_column, source, line, column = at_column, number, token.line, token.column
            if token.renamed:
                index = names.setdefault(token.text, len(names))
                fields.append(index - name)
                name = index
            lines[at_line].append("".join(map(_vlq, fields)))
        content = {
            "version": 3,
            "file": file,
            "names": list(names),
            "sources": [f"../../{path}" for path in sources],
            "sourcesContent": [module.text for module in modules],
            "mappings": ";".join(",".join(segments) for segments in lines),
        }
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))

    def marks(self, file: str) -> dict[str, Mark]:
        found = {}
        for index, (token, module, _, _) in enumerate(self._placed):
            if not token.mark:
                continue
            v8 = self._placed[index]
            gecko = webkit = v8
            if token.text == "new" or self._placed[index + 1][0].text == "(":
                # Safari reports the bracket of a call; V8 and Firefox report its name.
                webkit = next(placed for placed in self._placed[index:] if placed[0].text == "(")
            else:
                # Of `this.a.b`, V8 reports `b`, Safari the dot before it, and Firefox where the statement begins.
                webkit = self._placed[index - 1]
                gecko = next(placed for placed in self._placed if placed[0].line == token.line and placed[1] is module)
            function, arrow, _ = token.function.partition("/<")
            found[token.mark] = Mark(
                v8=FilePosition(file, v8[2] + 1, v8[3] + 1),
                gecko=FilePosition(file, gecko[2] + 1, gecko[3] + 1),
                webkit=FilePosition(file, webkit[2] + 1, webkit[3] + 1),
                source=FilePosition(module.path, token.line + 1, token.column + 1),
                function=self._names.get(function, function) if not token.owner else function,
                original_function=function,
                owner=self._names.get(token.owner, token.owner),
                original_owner=token.owner,
                is_arrow=bool(arrow),
                is_awaited=self._is_awaited(index),
            )
        return found

    def _is_awaited(self, index: int) -> bool:
        while self._placed[index - 1][0].text == ".":
            index -= 2
        return self._placed[index - 1][0].text == "await"


def _vlq(value: int) -> str:
    """Return a number as base 64 digits of five bits, the least significant first; the first bit is the sign."""
    rest = value << 1 if value >= 0 else (-value << 1) | 1
    digits = ""
    while True:
        rest, digit = rest >> 5, rest & 31
        digits += _DIGITS[digit | 32 if rest else digit]
        if not rest:
            return digits
