"""Recognises an error by the wording of a browser's engine: the table maps all wordings of an error to one kind.

Chrome, Firefox and Safari word the same error differently, and Safari translates some texts. The kind and its arguments
identify the error in all of them. The wordings were read from the engines' own error messages.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from events.grouping.reading.names import MASK, is_minified
from events.grouping.reading.texts import masked

# In a wording, <name> is an argument and <*> is any text. <property> is a property, whose name no minifier changes.
# <expression> is code: its last property is the argument. <nullish> is `undefined` or `null`.
# <constant> is a name of the platform or of a library. A wording without arguments may still end with a full stop.
_WORDINGS = {
    "access to a property of {nullish}: {property}": """
        Cannot read properties of <nullish> (reading '<property>')
        Cannot set properties of <nullish> (setting '<property>')
        Cannot read property '<property>' of <nullish>
        Cannot set property '<property>' of <nullish>
        Cannot read properties of <nullish>
        Cannot destructure property '<property>' of '<*>' as it is <nullish>.
        can't access property "<property>", <expression> is <nullish>
        can't access property <index>, <expression> is <nullish>
        <nullish> is not an object (evaluating '<evaluated>')
        <nullish> is not an object (evaluating '<evaluated>
        Unable to get property '<property>' of <nullish> or <*> reference
    """,
    "access to a property of {nullish}": """
        Cannot destructure '<*>' as it is <nullish>.
        <expression> is <nullish>
    """,
    "destructuring of undefined or null": """
        Right side of assignment cannot be destructured
    """,
    "not a function: {expression}": """
        <expression> is not a function
        <expression> is not a function. (In '<*>', '<*>' is <*>)
        <expression> is not a function. (In '<*>
        <*> is not a function (evaluating '<evaluated>')
    """,
    "not defined: {identifier}": """
        <identifier> is not defined
        Can't find variable: <identifier>
    """,
    "use before the declaration": """
        Cannot access '<*>' before initialization
        can't access lexical declaration '<*>' before initialization
        Cannot access uninitialized variable.
    """,
    "not iterable": """
        <*> is not iterable
        <*> is not iterable (cannot read property Symbol(Symbol.iterator))
        <*> is not a function or its return value is not iterable
        <*> is not a function (near '<*>')
        <*> is not a function (near '<*>
        can't access property Symbol.iterator, <*> is <*>
        Invalid attempt to destructure non-iterable instance.<*>
        Invalid attempt to spread non-iterable instance.<*>
        Invalid attempt to iterate non-iterable instance.<*>
        Spread syntax requires ...iterable[Symbol.iterator] to be a function<*>
    """,
    "not a constructor: {expression}": """
        <expression> is not a constructor
        <*> is not a constructor (evaluating 'new <expression>(<*>')
        <*> is not a constructor (evaluating 'new <expression>')
    """,
    "invalid JSON: end of the text": """
        Unexpected end of JSON input
        JSON.parse: unexpected end of data<*>
        JSON.parse: end of data<*>
        JSON.parse: unterminated string<*>
        JSON Parse error: Unexpected EOF
        JSON Parse error: Unterminated string
        Unterminated string in JSON<*>
    """,
    "invalid JSON": """
        Unexpected token <*> in JSON at position <*>
        Unexpected token <*> is not valid JSON
        <*> is not valid JSON
        Unexpected number in JSON at position <*>
        Unexpected string in JSON at position <*>
        Unexpected non-whitespace character after JSON<*>
        Expected <*> in JSON at position <*>
        Bad control character in string literal in JSON<*>
        Bad escaped character in JSON<*>
        No number after minus sign in JSON<*>
        JSON.parse: <*>
        JSON Parse error: <*>
        Unable to parse JSON string
        The string did not match the expected pattern.
    """,
    "stack overflow": """
        Maximum call stack size exceeded
        too much recursion
    """,
    "invalid array length": """
        Invalid array length
        invalid array length
        Array size is not a small enough positive integer.
        Array length must be a positive integer of safe magnitude.
        Invalid typed array length: <*>
        length cannot be negative
    """,
    "failed fetch": """
        Failed to fetch
        Failed to fetch (<*>)
        NetworkError when attempting to fetch resource.
        NetworkError when attempting to fetch resource. (<*>)
        Load failed
        Load failed (<*>)
        Network request failed
        The network connection was lost.
        The Internet connection appears to be offline.
        A server with the specified hostname could not be found.
        Could not connect to the server.
        La connexion réseau a été perdue.
        A conexão de rede foi perdida.
        A conexão à Internet parece estar inativa.
        La connessione è stata persa.
        Połączenie sieciowe zostało przerwane.
        Ağ bağlantısı kesildi.
        İnternet bağlantısı çevrimdışı gibi görünüyor.
        Nätverksanslutningen förlorades.
        Internetanslutningen verkar vara nedkopplad.
        Připojení k Internetu je patrně offline.
        인터넷 연결이 오프라인 상태입니다.
        Parece que la conexión a Internet está desactivada.
        يبدو أنه لا يوجد اتصال بالإنترنت.
        La connexion Internet semble interrompue.
        Die Netzwerkverbindung wurde unterbrochen.
        Es besteht anscheinend keine Verbindung zum Internet.
        Se ha perdido la conexión de red.
        La conexión a Internet parece estar desactivada.
        La connessione a Internet sembra essere offline.
        De netwerkverbinding is verbroken.
        Сетевое соединение потеряно.
        Вероятно, соединение с интернетом прервано.
        ネットワーク接続が切れました。
        インターネット接続がオフラインのようです。
        网络连接已中断。
        似乎已断开与互联网的连接。
        網路連線中斷。
        네트워크 연결이 유실되었습니다.
    """,
    "cancelled fetch": """
        cancelled
        canceled
        已取消
        取消
        iptal edildi
        annulé
        отменено
        Abgebrochen
        cancelado
        annullato
        geannuleerd
        キャンセルしました
        キャンセル済み
        취소됨
        anulowano
        avbruten
        avbrutet
        avbrutt
        annulleret
        peruttu
        vazgeçildi
        zrušeno
        zrušené
        скасовано
        megszakítva
        ακυρώθηκε
        đã hủy
        ยกเลิก
        ملغى
        בוטל
    """,
    "aborted operation": """
        The user aborted a request.
        signal is aborted without reason
        The operation was aborted.
        Fetch is aborted
        This operation was aborted
        Request aborted
    """,
    "node that is no child": """
        Failed to execute 'removeChild' on 'Node': The node to be removed is not a child of this node.
        Failed to execute 'insertBefore' on 'Node': The node before which the new node is to be inserted <*>
        Node.removeChild: The node to be removed is not a child of this node
        Node.insertBefore: Child to insert before is not a child of this node
        The object can not be found here.
    """,
    "invalid URI": """
        URI malformed
        malformed URI sequence
        URI error
    """,
    "module read as a script": """
        Unexpected token 'export'
        export declarations may only appear at top level of a module
        Unexpected keyword 'export'<*>
        Cannot use import statement outside a module
        import declarations may only appear at top level of a module
        Unexpected token '{'. import call expects <*>
    """,
    "operation timed out": """
        The request timed out.
        La requête a expiré.
        Zeitüberschreitung bei der Anforderung.
        Se ha agotado el tiempo de espera.
        Превышен лимит времени на запрос.
        要求がタイムアウトになりました。
        请求超时。
        signal timed out
        The operation timed out.
        The operation timed out
    """,
    "failed dynamic import": """
        Failed to fetch dynamically imported module: <*>
        Failed to fetch dynamically imported module
        error loading dynamically imported module: <*>
        error loading dynamically imported module
        Importing a module script failed.
        Importing binding name <*> is not found.
    """,
    "failed CSS preload": """
        Unable to preload CSS for <*>
        Unable to preload CSS
    """,
    "failed chunk": """
        Loading chunk <*> failed<*>
        ChunkLoadError: Loading chunk <*> failed<*>
    """,
    "failed CSS chunk": """
        Loading CSS chunk <*> failed<*>
    """,
    "ResizeObserver loop": """
        ResizeObserver loop <*>
    """,
    "script error without details": """
        Script error
        Script error.
    """,
    "extension context invalidated": """
        Extension context invalidated.
        Extension context invalidated
    """,
    "storage quota exceeded": """
        Failed to execute 'setItem' on 'Storage': Setting the value of '<*>' exceeded the quota.
        Failed to execute 'setItem' on 'Storage': Setting the value of '<*>
        Setting the value of '<*>' exceeded the quota.
        The quota has been exceeded.
        Persistent storage maximum size reached
        QuotaExceededError: DOM Exception 22
        Encountered full disk while opening backing store for indexedDB.open.
    """,
    "access to storage denied": """
        Failed to read the 'localStorage' property from 'Window': <*>
        Failed to read the 'sessionStorage' property from 'Window': <*>
        Failed to execute 'open' on 'IDBFactory': <*>
        Window.localStorage getter: <*>
        Window.sessionStorage getter: <*>
        The operation is insecure.
        A mutation operation was attempted on a database that did not allow mutations.
    """,
    "not allowed without permission or a user's action": """
        Failed to execute 'writeText' on 'Clipboard': <*>
        Failed to execute 'readText' on 'Clipboard': <*>
        Failed to execute 'write' on 'Clipboard': <*>
        Failed to execute 'read' on 'Clipboard': <*>
        Write permission denied.
        Read permission denied.
        Document is not focused.
        Clipboard write was blocked due to lack of user activation.
        Clipboard write is not allowed.
        Clipboard read request was blocked due to lack of user activation.
        Clipboard read operation is not allowed.
        The request is not allowed by the user agent or the platform in the current context<*>
    """,
    "port or device picker without a user's action": """
        Failed to execute 'requestPort' on 'Serial': Must be handling a user gesture<*>
        Failed to execute 'requestDevice' on 'USB': Must be handling a user gesture<*>
        Failed to execute 'requestDevice' on 'Bluetooth': Must be handling a user gesture<*>
        requestPort() requires user activation
        requestDevice() requires user activation
    """,
    "private field of another class": """
        Cannot read private member <*> from an object whose class did not declare it
        Cannot write private member <*> to an object whose class did not declare it
        can't access private field or method: object is not the right class
        can't set private field: object is not the right class
        can't get private field: object is not the right class
        Cannot access invalid private field (evaluating '<*>')
    """,
    "text that is not base64": """
        Failed to execute 'atob' on 'Window': <*>
        Failed to execute 'atob' on 'WorkerGlobalScope': <*>
        Failed to execute 'btoa' on 'Window': <*>
        String contains an invalid character
        The string contains invalid characters.
        Window.atob: <*>
    """,
    "object that cannot be cloned": """
        Failed to execute '<constant>' on '<constant>': <*> could not be cloned.
        <*> could not be cloned.
        <*> could not be cloned
        The object can not be cloned.
    """,
    "invalid date": """
        Invalid time value
        invalid date
        Invalid Date
        Invalid date
        date value is not finite in DateTimeFormat<*>
    """,
    "BigInt mixed with another type": """
        Cannot mix BigInt and other types, use explicit conversions
        can't convert BigInt to number
        Invalid mix of BigInt and other type<*>
        Cannot convert a BigInt value to a number
        Conversion from 'BigInt' to 'number' is not allowed.
    """,
    "text that is no BigInt": """
        Cannot convert <*> to a BigInt
        invalid BigInt syntax
        Failed to parse String to BigInt
    """,
    "write to a constant": """
        Assignment to constant variable.
        invalid assignment to const '<*>'
        Cannot assign to read only property '<*>' of object '<*>'
        "<*>" is read-only
        Attempted to assign to readonly property.
        Cannot set property <*> of <*> which has only a getter
        setting getter-only property "<*>"
    """,
    "object that is not extensible": """
        Cannot add property <*>, object is not extensible
        can't define property "<*>": <*> is not extensible
        Attempting to define property on object that is not extensible.
    """,
    "property that cannot be deleted": """
        Cannot delete property '<*>' of <*>
        property "<*>" is non-configurable and can't be deleted
        Unable to delete property.
    """,
    "undefined or null converted to an object": """
        Cannot convert undefined or null to object
        can't convert undefined to object
        can't convert null to object
        undefined is not an object (evaluating 'Object.<*>(<*>)')
        null is not an object (evaluating 'Object.<*>(<*>)')
    """,
    "symbol converted to a text": """
        Cannot convert a Symbol value to a string
        can't convert symbol to string
        Cannot convert a symbol to a string
    """,
    "circular structure as JSON": """
        Converting circular structure to JSON<*>
        cyclic object value
        JSON.stringify cannot serialize cyclic structures.
    """,
    "reduce of an empty array": """
        Reduce of empty array with no initial value
        reduce of empty array with no initial value
    """,
    "class called without new": """
        Class constructor <*> cannot be invoked without 'new'
        class constructors must be invoked with 'new'
        Cannot call a class constructor without |new|
        Cannot call a class constructor <*> without |new|
    """,
    "operand of in is no object": """
        Cannot use 'in' operator to search for '<*>' in <*>
        cannot use 'in' operator to search for <*> in <*>
        right-hand side of 'in' should be an object, got <*>
        <*> is not an Object. (evaluating '<*> in <*>')
    """,
    "operand of instanceof is no class": """
        Right-hand side of 'instanceof' is not <*>
        invalid 'instanceof' operand <*>
        Right hand side of instanceof is not <*>
        <*> is not a function. (evaluating '<*> instanceof <*>')
    """,
    "method called on another object": """
        Illegal invocation
        '<*>' called on an object that does not implement interface <*>.
        Can only call <*> on instances of <*>
    """,
    "text repeated a negative number of times": """
        Invalid count value: <*>
        repeat count must be non-negative
        String.prototype.repeat argument must be <*>
    """,
    "number of digits out of range": """
        to<*>() <*> argument must be between <*>
        to<*>() argument must be between <*>
        precision <*> out of range
    """,
    "read outside of a buffer": """
        Offset is outside the bounds of the DataView
        Start offset <*> is outside the bounds of the buffer
        offset is out of bounds
        argument <*> accesses an index that is out of range
        start offset of <*> is outside the bounds of the buffer
        invalid or out-of-range index
        Out of bounds access
        Range consisting of offset and length are out of bounds
        Length out of range of buffer
    """,
    "no memory for an array buffer": """
        Array buffer allocation failed
        allocation size overflow
        Out of memory
        out of memory
    """,
    "wasm: memory access out of bounds": """
        memory access out of bounds
        index out of bounds
        Out of bounds memory access
        Out of bounds memory access (evaluating '<*>')
    """,
    "wasm: unreachable code": """
        unreachable
        unreachable executed
        Unreachable code should not be executed
        Unreachable code should not be executed (evaluating '<*>')
    """,
    "wasm: division by zero": """
        divide by zero
        integer divide by zero
        Division by zero
        Division by zero (evaluating '<*>')
    """,
    "wasm: call of another type of function": """
        null function or function signature mismatch
        function signature mismatch
        indirect call to null
        indirect call signature mismatch
        call_indirect to a signature that does not match<*>
        call_indirect to a null table entry<*>
    """,
    "HTML read as a script": """
        Unexpected token '<'
        Unexpected token <
        expected expression, got '<'
    """,
    "validation: {constant} must be {type}": """
        <constant> must be a `<type>` type, but the final value was: <*>
    """,
    "validation: {constant} expected": """
        Invalid key: Expected "<constant>" but received <*>
    """,
    "validation: {constant} is required": """
        "<constant>" is required
        Validation error: Required at "<constant>"
        must have required property '<constant>'
        data must have required property '<constant>'
    """,
    "validation: {constant} {rule}": """
        "<constant>" <rule>
        data/<constant> <rule>
    """,
}
NOISE = {"ResizeObserver loop", "script error without details", "extension context invalidated"}

_ANY = "*"
_ARGUMENTS = {
    name: re.compile(pattern, re.DOTALL)
    for name, pattern in {
        _ANY: r".*",
        "nullish": r"undefined|null",
        "property": r"[^'\"]+",
        "index": r"(?!Symbol\.iterator)[\w.]+",
        "expression": r"(?:\([^'\"()]{0,80}\)|[^'\"\s()])+",
        "type": r"\w+",
        "evaluated": r".+",
        "identifier": r"[\w$]+",
        "constant": r"[\w.\[\]/-]+",
        "rule": r"(?:must|is not|length|fails|contains|does not).+",
    }.items()
}
_PIECE = re.compile(r"<(\w+|\*)>")
# `Failed to execute 'open' on 'SerialPort': …`: the names belong to the platform.
_PLATFORM = re.compile(
    r"Failed to (?:(?:execute|construct) '[\w.]{1,60}'|(?:read|set) the '[\w.]{1,60}' property)"
    r"(?: (?:on|from) '[\w.]{1,60}')?:? "
)
_OF_TYPE = re.compile(r"( of type '[\w.]{1,60}'\.?)")
_PREFIX = re.compile(
    r"(?:Uncaught |Unhandled (?:[Pp]romise )?[Rr]ejection:? )?(?:\(in promise\):? )?(?:\(?([A-Z]\w{0,40})\)?: )?"
)
# What is wrong in the JSON of a validation library: zod, ajv.
_ISSUE = re.compile(
    r"\"(?:code|expected|validation|keyword|instancePath)\"\s*:\s*\"([\w./-]{1,60})\""
    r"|\"(?:path|keys)\"\s*:\s*\[([^\]]{0,200})"
    r"|\"message\"\s*:\s*\"Invalid input: expected ([a-z]+), received ([a-z]+)\""
    r"|\"received\"\s*:\s*\"([a-z]{3,12})\""
)
_PATH_PART = re.compile(r"\"([\w$.-]{1,60})\"")
_MAX_ISSUES = 12
_SHORTEST = 10  # a shorter text after a prefix is not compared with the wordings


class Canonical(NamedTuple):
    """An error without the wording of its browser: `name` identifies it, `title` is the event's wording, masked."""

    name: str
    title: str
    is_noise: bool = False


class _Wording(NamedTuple):
    """A wording: the texts around its arguments, the names of the arguments ("*" for any text), and the kind."""

    texts: list[str]
    names: list[str]
    kind: str


class _Argument(NamedTuple):
    name: str
    start: int
    end: int


def _read_wordings() -> Iterator[_Wording]:
    for kind, wordings in _WORDINGS.items():
        for wording in filter(None, map(str.strip, wordings.splitlines())):
            pieces = _PIECE.split(wording.removesuffix("."))
            yield _Wording(pieces[::2], pieces[1::2], kind)


# Few wordings are compared with a message: those that begin with its first characters, those that begin with an
# argument and end with its last characters, and the others whose longest text is in it.
_ENDS = 4
_BY_BEGINNING: defaultdict[str, list[_Wording]] = defaultdict(list)
_BY_END: defaultdict[str, list[_Wording]] = defaultdict(list)
_OTHERS: list[tuple[str, _Wording]] = []
for _wording in _read_wordings():
    if len(_wording.texts[0]) >= _ENDS:
        _BY_BEGINNING[_wording.texts[0][:_ENDS]].append(_wording)
    elif len(_wording.texts[-1]) >= _ENDS:
        _BY_END[_wording.texts[-1][-_ENDS:]].append(_wording)
    else:
        _OTHERS.append((max(_wording.texts, key=len), _wording))


def split_prefix(message: str) -> tuple[str, str]:
    """Return the name of the error in front of a message, such as `Uncaught TypeError: `, or "", and the rest."""
    match = _PREFIX.match(message)
    if match is None or match[1] is None:
        return "", message[match.end() :] if match else message
    is_error = match[1].endswith(("Error", "Exception"))
    return (match[1], message[match.end() :]) if is_error else ("", message[match.start(1) :])


def canonical(message: str, *, in_bundle: bool) -> Canonical | None:
    """Return the error that a normalised message words, or None for a message of the page's own.

    `in_bundle`: the failing code is in a file with a hash in its name, where short names come from a minifier.
    """
    text = message.removesuffix(".")
    others = [wording for longest, wording in _OTHERS if longest in text]
    for wording in (*_BY_BEGINNING.get(text[:_ENDS], ()), *_BY_END.get(text[-_ENDS:], ()), *others):
        arguments = _arguments_of(wording, text)
        if arguments is not None:
            return _canonical(wording.kind, message, arguments, in_bundle)
    if message.startswith("Failed to ") and (found := _platform_error(message)):
        return found
    if message[:1] in ("[", "{") and (issues := _issues(message)):
        return Canonical(f"validation: {issues}", f"Validation: {issues}")
    return _behind_prefix(message, in_bundle=in_bundle)


def _platform_error(message: str) -> Canonical | None:
    """Return the error in a message such as `Failed to execute 'open' on 'SerialPort': …`: its names are constants."""
    end = 0
    while match := _PLATFORM.match(message, end):
        end = match.end()
    if not end:
        return None
    # The pieces at odd indexes are names of types, such as `of type 'Blob'`.
    pieces = _OF_TYPE.split(message[end:])
    words = "".join(masked(piece) if piece and index % 2 == 0 else piece for index, piece in enumerate(pieces))
    return Canonical(message[:end] + words, message[:end] + words)


def _behind_prefix(message: str, *, in_bundle: bool) -> Canonical | None:
    """Return the error after a prefix that the page added, as in `Connect failed: Failed to execute 'open' …`."""
    words, colon, rest = message.partition(": ")
    if not colon or len(rest) < _SHORTEST or words.startswith("Failed to "):
        return None
    found = canonical(rest, in_bundle=in_bundle)
    if found is None:
        return None
    prefix = masked(words)
    return Canonical(f"{prefix}: {found.name}", f"{prefix}: {found.title}")


def _arguments_of(wording: _Wording, text: str) -> list[_Argument] | None:
    """Return the arguments of a wording in a message without its full stop, or None if the message is another one."""
    texts = wording.texts
    if not (text.startswith(texts[0]) and text.endswith(texts[-1])):
        return None
    if len(texts) == 1:
        return [] if text == texts[0] else None
    found = []
    end = len(texts[0])
    for name, following in zip(wording.names, texts[1:-1], strict=False):
        start, end = end, text.find(following, end)
        if end < 0:
            return None
        found.append(_Argument(name, start, end))
        end += len(following)
    found.append(_Argument(wording.names[-1], end, len(text) - len(texts[-1])))
    is_valid = all(start <= stop and _ARGUMENTS[name].fullmatch(text, start, stop) for name, start, stop in found)
    return found if is_valid else None


def _canonical(kind: str, message: str, found: list[_Argument], in_bundle: bool) -> Canonical:
    title, end = "", 0
    arguments = dict.fromkeys(_ARGUMENTS, "")
    for name, start, stop in found:
        is_quoted = message[max(start - 1, 0)] in _QUOTATION_MARKS
        shown, argument = _argument(name, message[start:stop], in_bundle, is_quoted=is_quoted)
        for slot in ("property", "expression") if name == "evaluated" else (name,):
            arguments[slot] = argument
        title += message[end:start] + shown
        end = stop
    title = " ".join((title + message[end:]).split()).partition(" (In '")[0]
    return Canonical(kind.format(**arguments).rstrip(": "), title, kind in NOISE)


_IDENTIFIER = re.compile(r"[\w$.#-]*[^\W\d][\w$.#-]*", re.ASCII)
_QUOTATION_MARKS = "'\"`"


def _argument(name: str, text: str, in_bundle: bool, *, is_quoted: bool) -> tuple[str, str]:
    """Return an argument of a wording as the title shows it, and as it identifies the error."""
    if name in ("nullish", "type"):
        return text, text
    if name == "constant":
        shown = re.sub(r"(?<![\w])\d+(?!\w)", MASK, text)
        return shown, shown
    if name == "property":
        is_constant = _IDENTIFIER.fullmatch(text) and masked(text) != MASK
        return (text, text) if is_constant else (MASK, "")
    if name in ("expression", "evaluated", "identifier"):
        shown = _without_minified(text, in_bundle)
        last = _last_property(shown)
        return shown, "" if MASK in last else last
    shown = MASK if is_quoted or not _is_prose(text) else masked(text)
    if name == "rule":
        shown = re.sub(r"\[[^\]]*\]", f"[{MASK}]", masked(text))
    space = " " if text[:1] == " " else ""
    return space + shown, shown


def _is_prose(text: str) -> bool:
    """Return whether a text consists of words, and not of code with names that a minifier chose."""
    return re.fullmatch(r"[\w' ,.:;…-]+", text) is not None and text.count(" ") > 1


_NAME = re.compile(r"(?<![\w$.#])(\.?)([A-Za-z_$#][\w$]*)|\.([A-Za-z_$#][\w$]*)|\d[\w.]*|(['\"`]).*?(?:\4|$)")


def _without_minified(code: str, in_bundle: bool) -> str:
    """Return an expression with MASK for the names that a minifier chose, and for numbers and texts."""

    def judge(match: re.Match[str]) -> str:
        if match[3] is not None:  # a property: minifiers keep it, but not one that has a single letter
            return match[0] if len(match[3]) > 1 else f".{MASK}"
        if match[2] is None:
            return MASK
        return f"{match[1]}{MASK}" if is_minified(match[2], in_bundle=in_bundle) else match[0]

    return _NAME.sub(judge, code)


_ASSIGNMENT = re.compile(r"(?<![=!<>])=(?![=>])")


def _last_property(code: str) -> str:
    """Return the last property of an expression, or its only name: `open` of `this.port.open(…)`."""
    code = _ASSIGNMENT.split(code)[0].strip()
    if code.startswith("(") and code.endswith(")") and "," in code:  # (0, port.open)
        code = code[1:-1].rpartition(",")[2].strip()
    while code.endswith(")") and "(" in code:
        code = code[: code.rindex("(")]
    if code.endswith("]"):
        return ""
    last = re.split(r"[.\s(]", code)[-1]
    return last if re.fullmatch(r"[\w$#]+", last) else ""


def _issues(message: str) -> str:
    """Return the types and fields in the JSON of a validation library: `invalid_type string undefined model`."""
    found: list[str] = []
    for match in _ISSUE.finditer(message):
        word, fields, expected, received, kind = match.groups()
        if fields is not None:
            found += _PATH_PART.findall(fields)
        elif expected:
            found += [expected, received]
        elif word or "invalid_type" in found:
            found.append(word or kind)
        if len(found) >= _MAX_ISSUES:
            break
    return " ".join(dict.fromkeys(found))
