"""The wordings of Chrome, Firefox and Safari for the same error, and the errors that must stay apart."""

import pytest

from events.grouping.reading.errors import canonical, split_prefix

# Chrome, Firefox and Safari; "" where an engine has no such text.
SAME = {
    "access to a property of undefined: pages": [
        "Cannot read properties of undefined (reading 'pages')",
        "Cannot set properties of undefined (setting 'pages')",
        "Cannot read property 'pages' of undefined",
        'can\'t access property "pages", e is undefined',
        "undefined is not an object (evaluating 'e.pages')",
        "undefined is not an object (evaluating 'this.codeplug.pages')",
        "undefined is not an object (evaluating 'e.pages=1')",
        "Cannot destructure property 'pages' of 'e' as it is undefined.",
    ],
    "access to a property of null: textContent": [
        "Cannot set properties of null (setting 'textContent')",
        'can\'t access property "textContent", document.querySelector(...) is null',
        "null is not an object (evaluating 'document.querySelector(`#a`).textContent=`b'",
    ],
    "not a function: map": [
        "t.map is not a function",
        "this.rows.map is not a function",
        "t.map is not a function. (In 't.map(e)', 't.map' is undefined)",
        "undefined is not a function (evaluating 't.map(e)')",
    ],
    "not a function": ["t is not a function", "n is not a function. (In 'n()', 'n' is undefined)"],
    "not defined: telemetry": ["telemetry is not defined", "Can't find variable: telemetry"],
    "not iterable": [
        "e is not iterable",
        "undefined is not iterable (cannot read property Symbol(Symbol.iterator))",
        "undefined is not a function (near '...e of t...')",
    ],
    "not a constructor": [
        "qe is not a constructor",
        "a is not a constructor (evaluating 'new a')",
        "Object is not a constructor (evaluating 'new ie[e](new E)')",
    ],
    "use before the declaration": [
        "Cannot access 'x' before initialization",
        "can't access lexical declaration 'x' before initialization",
        "Cannot access uninitialized variable.",
    ],
    "invalid JSON": [
        "Unexpected token '<', \"<!doctype \"... is not valid JSON",
        "Unexpected token < in JSON at position 0",
        "JSON.parse: unexpected character at line 1 column 1 of the JSON data",
        "JSON Parse error: Unrecognized token '<'",
        "The string did not match the expected pattern.",
    ],
    "invalid JSON: end of the text": [
        "Unexpected end of JSON input",
        "JSON.parse: unexpected end of data at line 1 column 1 of the JSON data",
        "JSON Parse error: Unexpected EOF",
    ],
    "stack overflow": ["Maximum call stack size exceeded", "too much recursion", "Maximum call stack size exceeded."],
    "invalid array length": [
        "Invalid array length", "invalid array length", "Array size is not a small enough positive integer.",
    ],
    "failed fetch": [
        "Failed to fetch", "NetworkError when attempting to fetch resource.", "Load failed",
        "The network connection was lost.", "网络连接已中断。",
    ],
    "cancelled fetch": ["cancelled", "已取消", "annulé", "отменено", "Abgebrochen"],
    "failed dynamic import": [
        "Failed to fetch dynamically imported module: https://radio.test/assets/Flash-BxY3_kQ2.js",
        "error loading dynamically imported module: https://radio.test/assets/Flash-Dlyohet9.js",
        "Importing a module script failed.",
    ],
    "failed CSS preload": ["Unable to preload CSS for /assets/Flash-BxY3_kQ2.css"],
    "ResizeObserver loop": [
        "ResizeObserver loop limit exceeded", "ResizeObserver loop completed with undelivered notifications.",
    ],
    "storage quota exceeded": [
        "Failed to execute 'setItem' on 'Storage': Setting the value of 'codeplug' exceeded the quota.",
        "The quota has been exceeded.",
    ],
    "access to storage denied": [
        "Failed to read the 'localStorage' property from 'Window': Access is denied for this document.",
        "The operation is insecure.",
    ],
    "not allowed without permission or a user's action": [
        "Failed to execute 'writeText' on 'Clipboard': Document is not focused.",
        "Clipboard write was blocked due to lack of user activation.",
        "The request is not allowed by the user agent or the platform in the current context, possibly because the"
        " user denied permission.",
    ],
    "port or device picker without a user's action": [
        "Failed to execute 'requestPort' on 'Serial': Must be handling a user gesture to show a permission request.",
        "requestPort() requires user activation",
    ],
    "text that is not base64": [
        "Failed to execute 'atob' on 'Window': The string to be decoded is not correctly encoded.",
        "String contains an invalid character",
        "The string contains invalid characters.",
    ],
    "object that cannot be cloned": [
        "Failed to execute 'postMessage' on 'Worker': ()=>Oe(100) could not be cloned.",
        "Function object could not be cloned.",
        "The object can not be cloned.",
    ],
    "write to a constant": [
        "Assignment to constant variable.", "invalid assignment to const 'x'", "\"x\" is read-only",
        "Attempted to assign to readonly property.",
    ],
    "wasm: memory access out of bounds": [
        "memory access out of bounds", "index out of bounds", "Out of bounds memory access (evaluating 'run()')",
    ],
    "wasm: unreachable code": ["unreachable", "unreachable executed", "Unreachable code should not be executed"],
}  # fmt: skip


@pytest.mark.parametrize("error", SAME)
def test_every_engine_words_one_error(error: str) -> None:
    named = {message: canonical(message, in_bundle=True) for message in SAME[error]}
    assert {message: found and found.name for message, found in named.items()} == dict.fromkeys(SAME[error], error)


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("t.map is not a function", "….map is not a function"),
        ('can\'t access property "bytes", e is undefined', 'can\'t access property "bytes", … is undefined'),
        ("undefined is not an object (evaluating 'e.rows[17].name')",
         "undefined is not an object (evaluating '….rows[…].name')"),
        ("Unable to preload CSS for /assets/Flash-BxY3_kQ2.css", "Unable to preload CSS for …"),
        ("e is not iterable", "… is not iterable"),
        ("Cannot access 'Qt' before initialization", "Cannot access '…' before initialization"),
        ("Qe.open is not a function. (In 'Qe.open(xT)', 'Qe.open' is undefined)", "….open is not a function."),
        ("(0 , r.map) is not a function", "(… , ….map) is not a function"),
        ("Failed to execute 'setItem' on 'Storage': Setting the value of 'channels of Ann' exceeded the quota.",
         "Failed to execute 'setItem' on 'Storage': Setting the value of '…' exceeded the quota."),
        ("Cannot read properties of undefined (reading 'Köln Relais')",
         "Cannot read properties of undefined (reading '…')"),
        ("Connect failed: Failed to execute 'open' on 'SerialPort': The port 'COM3' is busy.",
         "Connect failed: Failed to execute 'open' on 'SerialPort': The port '…' is busy."),
        ("Failed to execute 'open' on 'SerialPort': The port 'COM3' is busy.",
         "Failed to execute 'open' on 'SerialPort': The port '…' is busy."),
        ("Failed to execute 'write' on 'Writer': parameter 1 is not of type 'Blob'.",
         "Failed to execute 'write' on 'Writer': parameter … is not of type 'Blob'."),
    ],
)  # fmt: skip
def test_a_title_keeps_the_wording_without_its_values(message: str, title: str) -> None:
    found = canonical(message, in_bundle=True)
    assert found is not None
    assert found.title == title


APART = {
    "properties": [
        "Cannot read properties of undefined (reading 'a1')",
        "Cannot read properties of undefined (reading 'size')",
    ],
    "undefined and null": [
        "Cannot read properties of null (reading 'size')",
        "Cannot read properties of undefined (reading 'size')",
    ],
    "operations": ["Failed to execute 'open' on 'SerialPort': x", "Failed to execute 'close' on 'SerialPort': x"],
    "interfaces": ["Failed to execute 'open' on 'SerialPort': x", "Failed to execute 'open' on 'USBDevice': x"],
    "causes": ["Failed to execute 'open' on 'SerialPort': denied", "Failed to execute 'open' on 'SerialPort': busy"],
    "types": [
        "Failed to execute 'a' on 'B': c is not of type 'Blob'.",
        "Failed to execute 'a' on 'B': c is not of type 'File'.",
    ],
    "fields of zod": [
        f'[\n {{\n "code": "invalid_type",\n "expected": "string",\n "path": [\n "{field}"\n ]\n }}\n]'
        for field in ("model", "baudRate")
    ],
    "types of zod": [
        f'[\n {{\n "code": "invalid_type",\n "expected": "{kind}",\n "path": [\n "model"\n ]\n }}\n]'
        for kind in ("string", "number")
    ],
    "fields of joi": ['"model" is required', '"version" is required'],
    "rules of joi": ['"model" must be a string', '"model" must be a number'],
    "fields of ajv": ["must have required property 'model'", "must have required property 'version'"],
}  # fmt: skip


@pytest.mark.parametrize("kind", APART)
def test_the_arguments_of_an_error_distinguish_it(kind: str) -> None:
    found = [canonical(message, in_bundle=True) for message in APART[kind]]
    assert None not in found
    assert len({error and error.name for error in found}) == len(APART[kind])


@pytest.mark.parametrize(
    "message",
    ["No ACK", "The radio is not a function of this", "Handshake timed out", "no port", "x is undefined behaviour",
     "[1, 2]", "{}"],
)  # fmt: skip
def test_a_message_of_the_page_is_no_wording(message: str) -> None:
    assert canonical(message, in_bundle=False) is None


@pytest.mark.parametrize(
    ("message", "name", "rest"),
    [
        ("Uncaught TypeError: x is not a function", "TypeError", "x is not a function"),
        ("Uncaught (in promise) DOMException: gone", "DOMException", "gone"),
        ("TypeError: gone", "TypeError", "gone"),
        ("Uncaught gone", "", "gone"),
        ("Note: gone", "", "Note: gone"),
        ("", "", ""),
    ],
)
def test_a_browser_puts_the_name_in_front(message: str, name: str, rest: str) -> None:
    assert split_prefix(message) == (name, rest)


@pytest.mark.parametrize(
    "piece",
    ["x is not a function. (In '", "', '", "' is ", " is ", "(evaluating '", "Cannot set property a of ", "\"path\":[",
     "Failed to execute 'a' on 'b': ", " of type 'A'", "Expected a in JSON at position "],
)  # fmt: skip
def test_a_hostile_message_is_compared_in_one_pass(piece: str) -> None:
    """With a pattern that backtracks these take seconds to minutes."""
    text = (piece * 2_000)[:20_000]
    found = [canonical(f"{text}{end}", in_bundle=True) for end in ("", ")", "'", "')", " is undefined")]
    assert all(error is None or len(error.title) <= 3 * len(text) for error in found)
