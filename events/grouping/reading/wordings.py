"""The wordings of each error in the browsers' engines: a table of kinds, without code.

Chrome, Firefox and Safari word the same error differently, and Safari translates some texts. The wordings were read
from the engines' own error messages. `errors` compares a message with them.
"""

# In a wording, <name> is an argument and <*> is any text. <property> is a property, whose name no minifier changes.
# <expression> is code: its last property is the argument. <nullish> is `undefined` or `null`.
# <constant> is a name of the platform or of a library. A wording without arguments may still end with a full stop.
WORDINGS = {
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
