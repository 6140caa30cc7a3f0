"""Which parts of a text are values, which are constants, and which names are hashes or come from a minifier."""

import pytest

from events.grouping.reading.names import is_hash, is_minified, stable_name
from events.grouping.reading.texts import masked, normalised

MASKED = {
    "addresses of every scheme": [
        ("GET https://radio.test/a/b.bin?x=1#y failed", "GET … failed"),
        ("open wss://alpha.test/ws?token=abc.", "open …."),
        ("(file:///home/ann/tool/index.html)", "(…)"),
        ("at blob:https://radio.test/0b6c1f0e-93a1-4c55-8d2f-0e6f1b2a3c4d", "at …"),
        ("from data:text/plain;base64,SGk=", "from …"),
        ("chrome-extension://abcdefgh/a.js, moz-extension://x/b.js", "…"),
        ("capacitor://localhost/index.js and webpack-internal:///./src/a.ts", "… and …"),
        ("about:blank is open", "… is open"),
    ],
    "addresses that a client has shortened": [
        ("GET …/b.bin failed", "GET … failed"),
        ("blob:…/0b6c1f0e-93a1 failed", "… failed"),
    ],
    "paths": [
        (r"Cannot read C:\Users\Ann Smith\Downloads\fw.bin now", "Cannot read … now"),
        ("Cannot read D:/radio/fw.bin now", "Cannot read … now"),
        (r"Cannot read \\nas\radio\fw.bin now", "Cannot read … now"),
        ("Cannot read /home/ann/fw.bin: denied", "Cannot read …: denied"),
        ("Cannot read ~/fw and ./a/fw", "Cannot read … and …"),
        ("TX/RX and/or nothing / here", "TX/RX and/or nothing / here"),
    ],
    "numbers of every script and grouping": [
        ("wrote 1,024 of 2,00,000", "wrote … of …"),
        ("1 024 octets, 12\u00a0288 octets", "… octets, … octets"),
        ("12'288 und 1’024 Bytes", "… und … Bytes"),
        ("كتابة ١٬٠٢٤ بايت", "كتابة … بايت"),
        ("moved by -5, +5 and −0.25", "moved by … and …"),
        ("45% at 12:30:05 on 2026-02-12T18:00:00.000Z", "…% at … on …"),
        ("after 1000ms, 5 kB and 9600baud", "after … ms, … kB and … baud"),
        ("写入第12页失败", "写入第…页失败"),
    ],
    "bytes": [
        ("RX 06", "RX …"),
        ("Unexpected reply ab cd", "Unexpected reply …"),
        ("Unexpected reply 0e 69 34 e6", "Unexpected reply …"),
        ("got ff", "got …"),
        ("got ab", "got …"),
        ("Bad packet [171, 205, 36]", "Bad packet […]"),
        ("Bad frame 0xab,0xcd", "Bad frame …"),
        ("RX be ad de", "RX …"),
        ("Leído 12 de 48 bytes", "Leído … de … bytes"),
        ("must be ad hoc", "must be ad hoc"),
    ],
    "ids": [
        ("device ff:ff:ff:ff:ff:fa", "device …"),
        ("job FFFFFFFF-FFFF-4FFF-8FFF-FFFFFFFFFFFF", "job …"),
        ("serial A50285BI", "serial …"),
        ("token Zm9vYmFyYmF6cXV4MTIz", "token …"),
        ("commit c7d3953 and 0x01b0000000000000f2", "commit … and …"),
        ("extension ajdoecjhplhoahggfmgflfnlechcljoc", "extension …"),
        ("a facade, decades old", "a facade, decades old"),
        ("UV-5RM and STM32 and utf8Text", "UV-…RM and STM… and utf…Text"),
    ],
    "versions": [
        (f"Firmware {version} is too old", "Firmware … is too old")
        for version in ("10.7.2", "10.8.0-RC3", "2025.12.0-beta.1", "4.2.8-12-g8d288d5", "4.5.1-dirty", "2.5.5.e182ae7")
    ],
    "file names": [
        (f"File {name} is too large", "File … is too large")
        for name in ("fw.bin", "f4hwn.bandscope (1).bin", "firmware_IJV_v2.9.R5.bin", "codeplug.JSON")
    ],
    "persons": [
        ("Contact DL0XYZ has no id", "Contact … has no id"),
        ("Contact 9A1AA has no id", "Contact … has no id"),
        ("Contact N0CALL-9 has no id", "Contact … has no id"),
        ("Mail to ann.smith@radio.test, please", "Mail to …, please"),
    ],
    "devices": [("no COM3, no /dev/ttyUSB0, no ttyACM12", "no …, no …, no …")],
    "quoted texts of every language": [
        ('no "a b"', 'no "…"'),
        ("no 'a'", "no '…'"),
        ("no `a`", "no `…`"),
        ("no “a”", "no “…”"),
        ("no ‘a’", "no ‘…’"),
        ("kein „COM3“", "kein „…“"),
        ("kein »COM3«", "kein »…«"),
        ("pas « COM3 »", "pas «…»"),
        ("нет ‹COM3›", "нет ‹…›"),
        ("ポート「COM3」を", "ポート「…」を"),
        ("『x』 《y》", "『…』 《…》"),
        ("串口“COM3”", "串口“…”"),
        ("can't open 'COM3': it's \"busy\"", "can't open '…': it's \"…\""),
        ("the users' data isn't here", "the users' data isn't here"),
        ("it said 'can't'", "it said '…'"),
        ("Impossible d’ouvrir", "Impossible d’ouvrir"),
        ('an open "quote\nends with its line', 'an open "quote ends with its line'),
    ],
    "codes distinguish failures": [
        ("Minified React error #130; visit https://react.dev/errors/130 now", "Minified React error #130; visit … now"),
        ("NG0100: Expression has changed", "NG0100: Expression has changed"),
        ("error TS2304: no name", "error TS2304: no name"),
        ("HTTP 404, status 503, status code 401", "HTTP 404, status 503, status code 401"),
        ("code 19, errno -71", "code 19, errno -71"),
        ("error code 0x80070005", "error code 0x80070005"),
        ("item #130, ESC 1, block 404", "item #…, ESC …, block …"),
    ],
    "white space": [("too  many\nspaces\t", "too many spaces"), ("   ", "…"), ("5", "…")],
}


@pytest.mark.parametrize("kind", MASKED)
def test_a_value_is_masked_and_a_constant_is_not(kind: str) -> None:
    assert {text: masked(normalised(text)) for text, _ in MASKED[kind]} == dict(MASKED[kind])


def test_texts_that_look_the_same_are_the_same() -> None:
    assert normalised("Gera\u0308t\r\nnicht\rda\u200b") == normalised("Ger\u00e4t\nnicht\nda")


HASHES = ["BxY3_kQ2", "Dlyohet9", "DkSgZiZm", "-xY3_kQ2", "rI9kO5c1", "HZQ4WSXJ", "ABQXWSXJ", "3fa81c22", "6a695f91",
          "d41d8cd98f00b204e9800998ecf8427e", "e0421477c1d8e485f2a4"]  # fmt: skip
NAMES = ["Settings", "Firmware", "FlashDialog", "renderer", "uploader2", "codeplug", "scrollbar", "SettingsPage",
         "protocol", "polyfills", "README", "index", "vendor", "runtime", "bootloader", "serial-port"]  # fmt: skip


def test_a_hash_is_known_by_its_letters() -> None:
    assert [text for text in HASHES if not is_hash(text)] == []
    assert [text for text in NAMES if is_hash(text)] == []


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("index-BxY3_kQ2.js", "index-….js"),
        ("index--xY3_kQ2.js", "index-….js"),
        ("index.3fa81c22.min.js", "index.….min.js"),
        ("runtime.e0421477c1d8e485f2a4.bundle.js", "runtime.….bundle.js"),
        ("4.6a695f91.chunk.js", "….….chunk.js"),
        ("editor+scrollbar.433bb1fc9b0973e8a945.css", "editor+scrollbar.….css"),
        ("chunk-HZQ4WSXJ.js", "chunk-….js"),
        ("3a5e3b5e4f5a6b7c.js", "….js"),
        ("page-Settings.js", "page-Settings.js"),
        ("uv-k5-flasher.js", "uv-k5-flasher.js"),
        ("codeplug-renderer-BxY3_kQ2.js", "codeplug-renderer-….js"),
        ("LICENSE", "LICENSE"),
    ],
)
def test_a_file_keeps_the_stable_part_of_its_name(file: str, name: str) -> None:
    assert stable_name(file) == name


def test_a_minified_name_is_known_by_its_shape() -> None:
    everywhere = ["t", "Qe", "$e", "_0x3fa1", "a1", "e$"]
    in_bundles = ["go", "Xtq", "kQz", "abt", "bcdf"]
    never = ["flash", "run", "getReader", "readBlock", "Port", "open"]
    assert all(is_minified(name, in_bundle=False) for name in everywhere)
    assert [name for name in in_bundles if not is_minified(name, in_bundle=True)] == []
    assert [name for name in [*in_bundles, *never] if is_minified(name, in_bundle=False)] == []
    assert [name for name in never if is_minified(name, in_bundle=True)] == []


@pytest.mark.parametrize(
    "character",
    ["0", "a1", "'", "“", "ff ", "-", "1.", "a_", "http://", "_1", "'a", "0x", "\u0301", "a:/", "…/", "C:\\a ", "a@",
     "(1)", "a (1)", "a.b-", "#", "» ", "1 "],
)  # fmt: skip
def test_a_hostile_text_is_read_in_one_pass(character: str) -> None:
    """With a pattern that backtracks these take seconds to minutes."""
    text = (character * 5_000)[:5_000]
    assert len(masked(normalised(text))) <= 15_000
